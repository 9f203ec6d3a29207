"""What networks are given: one tensor or several, with a common first axis.

Images (B, C, H, W), sequences (B, T, F), tokens (B, T), or a tuple or dict of such tensors, which
`forward` takes in order or by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wlib.check import require, short

Images = Any    # an `ImageSet`, whose package lies above this one
Data = Any      # an `ImageSet`, or a pair (inputs, labels)
WANTED = ("an ImageSet, a tensor (B, …), or a tuple or dict of tensors with one first axis B ≥ 1, "
          "in the order or by the names of the networks' arguments")


@dataclass(frozen=True)
class Inputs:
    """Tensors (B, …) by position and by name; with `own`, (N, B, …), a batch for each network."""

    positional: tuple[Tensor, ...]
    named: dict[str, Tensor]
    own: bool = False

    @classmethod
    def of(cls, value: Any, device: torch.device, dtype: torch.dtype, networks: int | None = None
           ) -> Inputs:
        """What a caller gave, on the device, with floats of the dtype and integers as they are;
        `Inputs` are that already.

        With `networks` each tensor's first axis is one of that many networks.
        """
        if isinstance(value, cls):
            return value
        own = networks is not None
        given = value.floats(device) if hasattr(value, "floats") else value
        given = (given,) if isinstance(given, Tensor) else given
        named = given if isinstance(given, dict) else {}
        positional = tuple(given) if isinstance(given, (tuple, list)) else ()
        tensors = [*positional, *named.values()]
        require(len(tensors) > 0 and all(isinstance(t, Tensor) and t.ndim > own for t in tensors)
                and all(isinstance(name, str) for name in named), "inputs", value, WANTED)
        counts = {t.shape[own] for t in tensors}
        require(len(counts) == 1 and 0 not in counts, "inputs", value, WANTED)
        require(not own or {len(t) for t in tensors} == {networks}, "inputs", value,
                f"one batch for each of {networks} networks (N, B, …), as own=True says")
        return cls(positional, named, own).each(
            lambda t: t.to(device=device, dtype=dtype if t.is_floating_point() else None))

    def each(self, change: Callable[[Tensor], Tensor], own: bool | None = None) -> Inputs:
        """The same with every tensor changed."""
        return Inputs(tuple(change(t) for t in self.positional),
                      {k: change(t) for k, t in self.named.items()},
                      self.own if own is None else own)

    def piece(self, networks: slice, part: slice) -> Inputs:
        """Rows `part` of the batch, for these networks."""
        return self.each(lambda t: t[networks, part] if self.own else t[part])

    def of_network(self, i: int) -> Inputs:
        """What network i is given."""
        return self.each(lambda t: t[i], own=False) if self.own else self

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, by position and then by name."""
        return [*self.positional, *self.named.values()]

    def __len__(self) -> int:
        """B, the rows of the batch."""
        return self.tensors[0].shape[self.own]

    @property
    def cells(self) -> int:
        """Numbers in one row of all tensors."""
        return sum(t[0, 0].numel() if self.own else t[0].numel() for t in self.tensors)

    def __repr__(self) -> str:
        shapes = [short(t) for t in self.positional]
        return ", ".join(shapes + [f"{k}: {short(t)}" for k, t in self.named.items()])
