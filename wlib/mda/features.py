"""What is known of a tensor on its way through a network: its axes, and the wires on one of them.

Part of `flow`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import fx

UNKNOWN = "no rule says how its channels are wired"
CHANNELS, BATCH = "channels", "batch"


class Batch:
    """The identity of a batch: two tensors have it in common if neither was folded into it."""


@dataclass(frozen=True, eq=False)
class Feature:
    """A tensor: the wire of each channel, None for the image and what is made of it.

    `axes` says what each axis holds: BATCH, CHANNELS, a size, or None where the size is not known;
    it is None itself where their number is not known, and channels are then last.
    """

    wires: Any = None                   # list[int], or None
    axes: Any = None                    # tuple, or None
    batch: Batch | None = None          # None: a parameter or buffer
    pieces: tuple[int, ...] = ()
    flat: bool = False                  # flattened: an unknown number of features per channel
    source: str | None = None           # the layer it comes from, with nothing between
    path: str | None = None             # the parameter or buffer that it is
    last: str = ""                      # a softmax over the channels, which only outputs may have

    @property
    def axis(self) -> int:
        return -1 if self.axes is None else self.axes.index(CHANNELS)

    @property
    def depth(self) -> int:
        """The channels' place from the right: 1 if they are last."""
        return 1 if self.axes is None else len(self.axes) - self.axis

    def at(self, dim: Any) -> Any:
        """What an axis holds; UNKNOWN where the tensor's layout does not tell."""
        if not isinstance(dim, int) or isinstance(dim, bool):
            return UNKNOWN
        if self.axes is None:
            return CHANNELS if dim == -1 and self.wires else UNKNOWN
        return self.axes[dim] if -len(self.axes) <= dim < len(self.axes) else UNKNOWN

    def place(self, dim: int) -> int:
        return dim % len(self.axes)


@dataclass(frozen=True, eq=False)
class Number:
    """A number of the trace; `of` is the tensor whose channels, or whose batch, it counts."""

    of: Feature | None = None
    batch: Batch | None = None


@dataclass(frozen=True, eq=False)
class Shape:
    of: Feature


# ---- what becomes of a tensor's axes -----------------------------------------------------------
def softmax(x: Feature, dim: Any, name: str) -> Feature | None:
    """Over places it is an activation; over the channels only outputs may go through it."""
    held = x.at(dim) if x.axes is not None or dim != 1 else CHANNELS
    if held in (BATCH, UNKNOWN) or x.flat:
        return None
    if held != CHANNELS:
        return replace(x, source=None)
    if x.axes not in (None, (BATCH, CHANNELS)) or name not in ("softmax", "log_softmax"):
        return None
    return replace(x, source=None, last=name)


def places(x: Feature, size: Any = None, rank: int | None = None) -> Feature | None:
    """Pooling and padding: the channels are second, places follow; a map of fewer axes is none."""
    if x.axes is None or len(x.axes) < 3 or x.axes[:2] != (BATCH, CHANNELS) or x.flat or (
            rank not in (None, len(x.axes))):
        return None
    return replace(x, axes=(BATCH, CHANNELS, *[1 if is_one(size) else None] * (len(x.axes) - 2)),
                   source=None)


def rank_of(name: str) -> int | None:
    """The axes that max_pool2d or AvgPool2d wants: two more than its name says."""
    return int(name[-2]) + 2 if name[-1:] == "d" and name[-2:-1].isdigit() else None


def is_one(size: Any) -> bool:
    return size == 1 or isinstance(size, (tuple, list)) and all(s == 1 for s in size)


def opaque_places(x: Feature, size: Any) -> Feature:
    """The same of a tensor that is never cut: a map of one place, if that is what is left."""
    return Feature(axes=(BATCH, None, 1, 1) if is_one(size) else None, batch=x.batch)


def flattened(x: Feature, start: Any, end: Any) -> Feature | None:
    """Axes become one; where channels are among them they must be the first."""
    if x.axes is None or UNKNOWN in (x.at(start), x.at(end)):
        return None
    start, end = x.place(start), x.place(end)
    inside = x.axes[start:end + 1]
    if BATCH in inside or (CHANNELS in inside and inside[0] != CHANNELS):
        return None
    one = all(a == 1 for a in inside if a != CHANNELS)
    label = CHANNELS if CHANNELS in inside else 1 if one else None
    flat = x.flat or label == CHANNELS and not one
    if flat and end != len(x.axes) - 1:
        return None
    return replace(x, axes=(*x.axes[:start], label, *x.axes[end + 1:]), flat=flat,
                   source=x.source if len(inside) == 1 else None)


def one_batch(features: list[Feature]) -> Batch | None:
    """The batch that tensors have in common: as long as another, it need not be the same."""
    batches = {f.batch for f in features}
    return Batch() if len(batches) > 1 else next(iter(batches), None)


def broadcast(a: tuple, b: tuple) -> tuple:
    """Axes of an elementwise result, aligned from the right."""
    size = max(len(a), len(b))
    pairs = zip((1,) * (size - len(a)) + a, (1,) * (size - len(b)) + b, strict=True)
    return tuple(CHANNELS if CHANNELS in (x, y) and x in (1, CHANNELS) or x == CHANNELS else
                 BATCH if BATCH in (x, y) else y if x == 1 else x for x, y in pairs)


# ---- what a node of the trace says --------------------------------------------------------------
def name_of(target: Any) -> str:
    """An operation's name, the same for torch.relu_, F.relu and x.relu(); user functions' own."""
    if isinstance(target, str):
        return target.rstrip("_") if not target.startswith("_") else target
    home = getattr(target, "__module__", None) or "torch"
    name = getattr(target, "__name__", str(target))
    if home.split(".")[0] in ("torch", "torchvision", "_operator", "builtins", "math"):
        return name.rstrip("_") if not name.startswith("_") else name
    return f"{home}.{name}"


def given(node: fx.Node, index: int, name: str, otherwise: Any = None) -> Any:
    """An argument of a call, by its place or its name."""
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, otherwise)
