"""`Pool`: N networks of one architecture as stacked tensors.

Letters: N networks, P weights per network, B inputs, K classes. A pool is immutable in spirit:
every method returns a new pool and shares what it can.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from wlib import store
from wlib.check import finite, require, require_one_of, short, whole
from wlib.core import nets, templates
from wlib.core.batches import Inputs

ENGINES = ("auto", "loop", "vmap")
FORM = "wlib pool 1"
IMAGES_AT_ONCE = 250      # keeps a layer's features in a CPU's cache; measured by `wlib bench`
VMAP_CELLS = 2**27        # input values × networks held at once by the vmap engine
# What a network's own code, torch and vmap say of inputs that do not fit, or that vmap cannot take.
TROUBLE = (RuntimeError, TypeError, ValueError, IndexError, AssertionError)


class Pool:
    """N networks of one architecture: `parameters` and `buffers`, each {name: (N, …)}.

    `template` gives the structure; its own weights are never used. Make pools with `Pool.stack`,
    `train.fit` or from another pool (`with_flat`, indexing, `Pool.cat`).
    """

    def __init__(self, template: nn.Module, parameters: dict[str, Tensor],
                 buffers: dict[str, Tensor] | None = None):
        self.template = template
        self.parameters = dict(parameters)
        self.buffers = dict(buffers or {})
        require(len(self.parameters) > 0, "template", type(template).__name__,
                "a network with weights")
        dtypes = {str(t.dtype) for t in self.parameters.values()}
        require(len(dtypes) == 1 and self.dtype.is_floating_point, "parameters", dtypes,
                "one floating dtype for all weights")
        sizes = {name: len(t) for name, t in (self.parameters | self.buffers).items()}
        require(len(set(sizes.values())) == 1, "parameters", sizes, "as many networks each")
        require(len(self) > 0, "pool", "no networks", "at least one")
        for name, tensor in self.parameters.items():
            if not finite(tensor):
                bad = int((~torch.isfinite(_rows(tensor))).any(1).nonzero()[0])
                raise ValueError(f"{name}: got NaN or infinity in network {bad}, "
                                 "want finite weights")

    # ---- making pools -------------------------------------------------------------------------
    @classmethod
    def stack(cls, networks: Sequence[nn.Module]) -> Pool:
        """A pool of these networks (copied): one architecture, weights of one floating dtype.

        A weight or buffer that several layers share is one tensor here, and stays shared.
        """
        require(not isinstance(networks, nn.Module), "networks", type(networks).__name__,
                "a list of networks: [network] for a pool of one")
        networks = list(networks)
        require(len(networks) > 0, "networks", networks, "at least one nn.Module")
        for i, net in enumerate(networks):
            templates.require_plain(net, f"networks[{i}]")
            differ = None if net is networks[0] else _difference(net, networks[0],
                                                                 f"networks[{i}]")
            require(differ is None, f"networks[{i}]", type(net).__name__, "the architecture of "
                    f"networks[0] ({type(networks[0]).__name__}), from which it differs in "
                    f"{differ}: a pool holds one architecture with many weights")
        return cls(templates.blank(networks[0]),
                   _stack([dict(net.named_parameters()) for net in networks]),
                   _stack([dict(net.named_buffers()) for net in networks]))

    @classmethod
    def cat(cls, pools: Sequence[Pool]) -> Pool:
        """One pool of all networks of several, in order."""
        pools = list(pools)
        require(len(pools) > 0, "pools", pools, "at least one Pool")
        first = pools[0]
        for i, pool in enumerate(pools):
            require(isinstance(pool, Pool), f"pools[{i}]", pool, "a Pool")
            differ = pool.difference(first)
            require(differ is None, f"pools[{i}]", pool, f"the architecture of pools[0], {first!r},"
                    f" from which it differs in {differ}")
        return cls(first.template,
                   {k: torch.cat([p.parameters[k] for p in pools]) for k in first.parameters},
                   {k: torch.cat([p.buffers[k] for p in pools]) for k in first.buffers})

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Pool:
        """The pool of the chosen networks; an integer gives a pool of one."""
        if not isinstance(index, slice):
            index = self._chosen(index)
        return Pool(self.template, {k: t[index] for k, t in self.parameters.items()},
                    {k: t[index] for k, t in self.buffers.items()})

    def _chosen(self, index: int | Tensor | Sequence[int]) -> slice | Tensor:
        wanted = f"whole numbers from {-len(self)} to {len(self) - 1}, or a mask of {len(self)}"
        try:
            chosen = torch.as_tensor(index, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"index: got {short(index)}, want {wanted}") from None
        if chosen.dtype == torch.bool:
            require(chosen.shape == (len(self),), "index", index, wanted)
            return chosen
        require(not chosen.is_floating_point() and chosen.ndim <= 1 and chosen.numel() > 0
                and bool((-len(self) <= chosen).all() and (chosen < len(self)).all()),
                "index", index, wanted)
        if chosen.ndim == 0:
            return slice(int(chosen), int(chosen) + 1 or None)
        return chosen

    def __iter__(self) -> Iterator[Pool]:
        """Pools of one, in order."""
        return (self[i] for i in range(len(self)))

    def repeat(self, times: int) -> Pool:
        """Each network `times` times in a row (N·times)."""
        require(whole(times, 1), "times", times, "a whole number ≥ 1")
        return self[torch.arange(len(self)).repeat_interleave(times)]

    def to(self, device: str | torch.device) -> Pool:
        """The pool on a device ('auto', 'cpu', 'cuda', …)."""
        device = nets.resolve_device(device)
        return Pool(self.template, {k: t.to(device) for k, t in self.parameters.items()},
                    {k: t.to(device) for k, t in self.buffers.items()})

    # ---- weights as one vector ----------------------------------------------------------------
    def flat(self) -> Tensor:
        """All weights as rows (N, P), in the order of `named_parameters`; buffers stay out."""
        return torch.cat([_rows(t) for t in self.parameters.values()], dim=1)

    def with_flat(self, weights: Tensor) -> Pool:
        """A pool with these weights (M, P).

        Buffers travel along: with M = N each network keeps its own, with N = 1 all get the one,
        and with M a multiple of N each network's are repeated M/N times in a row.
        """
        size = self.size
        require(isinstance(weights, Tensor) and weights.ndim == 2 and weights.shape[1] == size
                and len(weights) > 0, "weights", weights, f"a tensor (networks, {size})")
        require(weights.is_floating_point(), "weights", weights, "floating-point numbers")
        require(len(weights) % len(self) == 0, "weights", weights,
                f"a multiple of {len(self)} rows")
        parameters, start = {}, 0
        for name, tensor in self.parameters.items():
            stop = start + tensor[0].numel()
            part = weights[:, start:stop].reshape(len(weights), *tensor.shape[1:])
            parameters[name] = part.to(device=tensor.device, dtype=tensor.dtype)
            start = stop
        times = len(weights) // len(self)
        return Pool(self.template, parameters,
                    {k: t.repeat_interleave(times, dim=0) for k, t in self.buffers.items()})

    def segments(self) -> dict[str, slice]:
        """Where each tensor lies in a row of `flat()`."""
        spans, start = {}, 0
        for name, tensor in self.parameters.items():
            spans[name] = slice(start, start + tensor[0].numel())
            start = spans[name].stop
        return spans

    @property
    def size(self) -> int:
        """P, the number of weights of one network."""
        return sum(t[0].numel() for t in self.parameters.values())

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(iter(self.parameters.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The floating dtype of the weights."""
        return next(iter(self.parameters.values())).dtype

    # ---- using the networks -------------------------------------------------------------------
    def network(self, i: int) -> nn.Module:
        """Network i as an ordinary `nn.Module` in evaluation mode, with weights of its own."""
        require(isinstance(i, int) and -len(self) <= i < len(self), "i", i,
                f"a whole number below {len(self)}")
        return templates.filled(self.template, self.state(i))

    def state(self, i: int) -> dict[str, Tensor]:
        """Weights and buffers of network i, for `torch.func.functional_call`; nothing is copied."""
        return {k: t[i] for k, t in (self.parameters | self.buffers).items()}

    def logits(self, inputs: Any, engine: str = "auto", batch: int = IMAGES_AT_ONCE,
               own: bool = False) -> Tensor:
        """What every network says of every input: (N, B, K), or (N, B, …) as its outputs are.

        `inputs` is an `ImageSet`, a tensor (B, …) of floats or integers, or a tuple or dict of
        tensors for networks that take several. With `own=True` each network has inputs of its
        own: (N, B, …). The engine is "loop" (one network after another), "vmap" (all at once) or
        "auto" (see `engine`). Working memory is bounded.
        """
        rows: list[list[Tensor]] = []
        for _, part, values in self.outputs(inputs, engine, batch, own):
            if part.start == 0:
                rows.append([])
            rows[-1].append(values)                                       # (n, b, K)
        return torch.cat([torch.cat(row, dim=1) for row in rows])         # (N, B, K)

    @torch.no_grad()
    def outputs(self, inputs: Any, engine: str = "auto", batch: int = IMAGES_AT_ONCE,
                own: bool = False) -> Iterator[tuple[slice, slice, Tensor]]:
        """Logits piece by piece: (networks, rows, logits (n, b, K)), all inputs of some networks
        before the next networks."""
        require(whole(batch, 1), "batch", batch, "a whole number ≥ 1")
        given = Inputs.of(inputs, self.device, self.dtype, len(self) if own else None)
        stacked = self.engine(engine) == "vmap"
        group = max(1, VMAP_CELLS // (batch * given.cells * 32)) if stacked else 1
        for first in range(0, len(self), group):
            networks = slice(first, min(first + group, len(self)))
            state = {k: t[networks] for k, t in (self.parameters | self.buffers).items()}
            for start in range(0, len(given), batch):
                part = slice(start, min(start + batch, len(given)))
                piece, values = given.piece(networks, part), None
                if stacked and networks.stop - first > 1:
                    values = self._stacked(state, piece, engine)
                    stacked = values is not None
                yield networks, part, self._in_turn(state, piece) if values is None else values

    def _stacked(self, state: dict[str, Tensor], piece: Inputs, engine: str) -> Tensor | None:
        """Outputs (n, b, …) of all networks at once; None where "auto" must do without."""
        try:
            values = vmap(self._outputs, in_dims=(0, 0 if piece.own else None))(
                state, (piece.positional, piece.named))
            fits = isinstance(values, Tensor) and values.shape[1:2] == (len(piece),)
            return values if fits else None      # the loop refuses it
        except torch.OutOfMemoryError:
            raise
        except TROUBLE as problem:
            if engine == "auto":
                return None
            self._in_turn(state, piece)      # tells first if it is the inputs that do not fit
            raise ValueError("engine: got 'vmap', want 'auto' or 'loop': these networks run one by "
                             f"one, but not stacked ({problem})") from problem

    def _in_turn(self, state: dict[str, Tensor], piece: Inputs) -> Tensor:
        """Outputs (n, b, …), one network after another."""
        rows = []
        for i in range(len(next(iter(state.values())))):
            given = piece.of_network(i)
            try:
                rows.append(self._outputs({k: t[i] for k, t in state.items()},
                                          (given.positional, given.named)))
            except torch.OutOfMemoryError:
                raise
            except TROUBLE as problem:
                hint = "; own=True says that each network has a batch of its own" \
                    if not piece.own and len(piece) == len(self) > 1 else ""
                raise ValueError(f"inputs: got {given!r}, want what {self!r} takes ({problem})"
                                 f"{hint}") from problem
            last = rows[-1] if isinstance(rows[-1], Tensor) else type(rows[-1]).__name__
            require(isinstance(last, Tensor) and last.shape[:1] == (len(piece),), "outputs", last,
                    f"one tensor with a row for each of {len(piece)} inputs; a module around a "
                    "network that gives several, or puts the batch second, can choose")
        return torch.stack(rows)

    def _outputs(self, state: dict[str, Tensor], given: tuple[tuple, dict[str, Tensor]]) -> Any:
        return functional_call(self.template, state, *given)

    def engine(self, engine: str = "auto") -> str:
        """The engine that 'auto' stands for: vmap on CUDA and for linear networks, else loop.

        On a CPU a stack of convolutional networks runs slower under vmap than one after another,
        while small linear layers gain: `wlib bench` measures where this rule loses.
        """
        require_one_of("engine", engine, ENGINES)
        if engine != "auto":
            return engine
        return "vmap" if len(self) > 1 and (nets.stacked(self.device) or self._linear()) \
            else "loop"

    def _linear(self) -> bool:
        return all(isinstance(m, nn.Linear) for m in self.template.modules()
                   if any(True for _ in m.parameters(recurse=False)))

    # ---- keeping ------------------------------------------------------------------------------
    def save(self, path: str | os.PathLike) -> None:
        """Write a safetensors file; its header holds what `nets.build` made the networks from, and
        an outline of their architecture."""
        built = isinstance(self.template, nets.Network)
        header = {"networks": str(len(self)),
                  "spec": json.dumps(getattr(self.template, "spec", None) if built else None)}
        with contextlib.suppress(ValueError):     # an attribute that has no description
            header["outline"] = json.dumps(store.identity.outline(self.template))
        store.tensorfiles.write(Path(path), FORM, {
            f"{kind}/{k}": t for kind, group in (("parameters", self.parameters),
                                                 ("buffers", self.buffers))
            for k, t in group.items()}, header)

    @classmethod
    def load(cls, path: str | os.PathLike, template: nn.Module | None = None) -> Pool:
        """Read what `save` wrote; a network not built by `nets.build` needs its `template`.

        `ValueError` for a template of another architecture: other settings, ties or layers.
        """
        header, tensors = store.tensorfiles.read(Path(path), FORM, "Pool.save")
        spec = json.loads(header["spec"])
        require(spec is not None or template is not None, "template", None,
                "a network of the saved architecture: the file holds none that nets.build knows")
        template = nets.build(**spec) if template is None else template
        templates.require_plain(template, "template")
        template = templates.blank(template)
        _require_outline(json.loads(header.get("outline", "{}")), template)

        def group(kind: str, named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
            shapes = {k: tuple(t.shape) for k, t in named}
            stored = {k.removeprefix(f"{kind}/"): t for k, t in tensors.items()
                      if k.startswith(f"{kind}/")}
            require({k: tuple(t.shape[1:]) for k, t in stored.items()} == shapes, "template",
                    type(template).__name__, f"the {kind} of the saved networks")
            return {k: stored[k] for k in shapes}

        return cls(template, group("parameters", template.named_parameters()),
                   group("buffers", template.named_buffers()))

    def digest(self) -> str:
        """A hash of architecture, weights and buffers."""
        return store.identity.architecture(self.template) + store.identity.digest(
            self.parameters | self.buffers)

    def difference(self, other: Pool) -> str | None:
        """What but weights differs between the networks of two pools, by its name, or None."""
        if self._shapes() != other._shapes():
            return "the shapes of its weights"
        return None if self.template is other.template else _difference(
            self.template, other.template, "pool")

    def _shapes(self) -> dict[str, tuple]:
        return {k: (tuple(t.shape[1:]), t.dtype) for k, t in
                (self.parameters | self.buffers).items()}

    def __repr__(self) -> str:
        return (f"Pool of {len(self)} × {type(self.template).__name__} "
                f"({self.size:,} weights, {self.device})")


def _difference(a: nn.Module, b: nn.Module, name: str) -> str | None:
    found = store.identity.difference(a, b, name)
    return "its class" if found == "" else found


def _require_outline(saved: dict[str, str], template: nn.Module) -> None:
    """Refuse a template that differs in what both have; what only one has, such as an attribute
    that another version of PyTorch adds, cannot be compared."""
    found = store.identity.outline(template, "template") if saved else {}
    differ = [path or "its class" for path in saved if found.get(path, saved[path]) != saved[path]]
    require(not differ, "template", type(template).__name__, "a network of the saved architecture, "
            f"from which it differs in {differ and differ[0]}")


def _stack(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {k: torch.stack([s[k].detach() for s in states]) for k in states[0]}


def _rows(tensor: Tensor) -> Tensor:
    """(N, …) as (N, n), a single number of each network included."""
    return tensor.reshape(len(tensor), tensor[0].numel())
