"""Which inputs of every layer a class needs, by the votes of what they contribute to (MDA).

Letters: K classes (rows), P inputs and Q outputs of a layer, n wires of a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wlib.check import require, require_one_of
from wlib.mda.contribution import Contributions
from wlib.mda.wiring import Layer, Wiring

EPS = 1e-5              # of the official code; the paper only says that it is small
MODES = ("official", "graph")
Thresholds = Mapping[str, tuple[float, float]]       # (α, β) by a layer's kind


# ---- masks (equations 5 to 10 and 16) ----------------------------------------------------------
class Masks(dict):
    """{layer: (K,P) bool}, with `scores` {layer: (K,P)}, fractions of votes before the threshold,
    and `rescued`, the (layer, row) pairs in which no input passed and the strongest was kept.

    `classes` are the outputs that were asked for, all where None; `images` are to check a cut by.
    """

    classes: tuple[int, ...] | None = None
    images: Tensor | None = None

    def __init__(self, masks: dict[str, Tensor], scores: dict[str, Tensor],
                 rescued: Sequence[tuple[str, int]] = ()):
        super().__init__(masks)
        self.scores, self.rescued = scores, tuple(rescued)

    def among(self, classes: Tensor, count: int) -> Masks:
        """Rows of some classes as rows of all `count`, where those not asked for need nothing."""
        def whole(rows: Tensor) -> Tensor:
            return rows.new_zeros(count, rows.shape[1]).index_copy(0, classes, rows)

        every = Masks({n: whole(m) for n, m in self.items()},
                      {n: whole(s) for n, s in self.scores.items()},
                      [(name, int(classes[row])) for name, row in self.rescued])
        every.classes = tuple(classes.tolist())
        return every


def masks(contributions: Mapping[str, Tensor], conv: tuple[float, float] = (0.3, 0.2),
          fc: tuple[float, float] = (0.4, 0.3), mode: str = "official", strict: bool = True,
          wires: Wiring | None = None) -> Masks:
    """Which inputs of every layer each class needs, from the head to the stem: {layer: (K,P)}.

    `conv` and `fc` are the thresholds (α, β). `strict` compares by > as the official code does,
    else by ≥ as the paper writes.

    mode="official": layers in the reverse order of their definition, each one's mask over its
    inputs taken for the next one's outputs, and everything taken where the sizes disagree
    (behind a flattening, at a shortcut). On a plain chain this is the method, elsewhere chance.
    mode="graph": masks follow the wires. An output is needed if any layer needs it that reads it
    later; a flattened channel is one input; a row in which nothing passes keeps its strongest
    input. The masks say what stays for all readers of a wire, so that the blocks of a residual
    stream agree.

    `contributions` comes from the function of that name; a plain dict of tensors needs `wires`,
    the network's `wiring.trace`.
    """
    require_one_of("mode", mode, MODES)
    for name, pair in (("conv", conv), ("fc", fc)):
        require(isinstance(pair, (tuple, list)) and len(pair) == 2, name, pair,
                "two thresholds (α, β)")
    known: Any = getattr(contributions, "wiring", None) if wires is None else wires
    require(isinstance(known, Wiring), "wires", known,
            "the network's wiring.trace(net), for contributions that do not carry it")
    for name in known.voting:
        require(name in contributions, "contributions", sorted(contributions),
                f"the layer {name}, as all of {', '.join(known.voting)}")
    classes = getattr(contributions, "classes", torch.arange(known.classes))
    follow = _chain_masks if mode == "official" else _graph_masks
    found = follow(contributions, known, classes, {"conv": conv, "fc": fc}, strict)
    if getattr(contributions, "some", False):
        found = found.among(classes, known.classes)
    found.images = getattr(contributions, "images", None)
    return found


def relative(v: Tensor) -> Tensor:
    """Equations 5 and 8: min-max along the last axis."""
    least = v.amin(-1, keepdim=True)
    return (v - least) / (v.amax(-1, keepdim=True) - least + EPS)


def vote(rows: Iterable[Tensor], alpha: float, beta: float,
         strict: bool = True) -> tuple[Tensor, Tensor]:
    """The mask over a layer's inputs and the fraction of votes behind it, (K,P) each.

    `rows` are K contributions (q,P), to the q outputs that a class needs. Each of these outputs
    votes for the inputs whose relative contribution passes α (equation 9); the inputs whose votes,
    relative to each other, pass β are needed in turn (equations 6, 8, 10 and 16).
    """
    passes = torch.gt if strict else torch.ge
    counts = torch.stack([passes(relative(v), alpha).sum(0) for v in rows])    # (K, P)
    votes = relative(counts)                                                   # (K, P)
    return passes(votes, beta), votes


def _rows(contributions: Mapping[str, Tensor], name: str, whole: bool,
          needed: Tensor) -> Iterator[Tensor]:
    """The contributions to what each class needs, (q,P) each; outputs not needed do not vote."""
    if isinstance(contributions, Contributions):
        return contributions.rows(name, whole, needed)
    return (v[need] for v, need in zip(contributions[name], needed, strict=True))


def _chain_masks(contributions: Mapping[str, Tensor], wires: Wiring, classes: Tensor,
                 thresholds: Thresholds, strict: bool) -> Masks:
    """The official code's order, layer by layer."""
    found, scores = {}, {}
    needed = F.one_hot(classes, wires.classes).bool()                          # (K, outputs)
    for name in reversed(wires.defined):
        layer = wires.layers[name]
        if needed.shape[1] != len(layer.writes):
            needed = torch.ones(len(classes), len(layer.writes), dtype=torch.bool)
        rows, (alpha, beta) = _rows(contributions, name, False, needed), thresholds[layer.kind]
        needed, scores[name] = vote(rows, alpha, beta, strict)
        found[name] = needed
    return Masks(found, scores)


def _graph_masks(contributions: Mapping[str, Tensor], wires: Wiring, classes: Tensor,
                 thresholds: Thresholds, strict: bool) -> Masks:
    """Along the wires: a layer must deliver what the layers that run after it need of its outputs.

    Class 0 of a chain 3 → 4 → 3 needs output 0, which alone votes in the last layer. If hidden
    unit 3 alone passes, it alone votes below. A wire with two readers is kept if either needs it.
    """
    found, scores, rescued = {}, {}, []
    wanted = torch.zeros(len(classes), wires.wires, dtype=torch.bool)             # (K, n)
    wanted[torch.arange(len(classes)), wires.outputs[classes]] = True
    wanted[:, wires.pinned] = True                                                # they stay anyhow
    for name, layer in reversed(wires.voting.items()):
        needed = wanted[:, layer.writes]                                          # (K, Q)
        rows, (alpha, beta) = _rows(contributions, name, True, needed), thresholds[layer.kind]
        mask, votes = vote(rows, alpha, beta, strict)
        for row in (needed.any(1) & ~mask.any(1)).nonzero().flatten().tolist():
            mask[row, votes[row].argmax()] = True
            rescued.append((name, row))
        found[name], scores[name] = mask, votes
        if layer.reads is not None:
            channels = layer.reads if mask.shape[1] == len(layer.reads) else layer.features
            wanted |= on_wires(mask.float(), channels, wires.wires) > 0
    for name, layer in wires.voting.items():
        if layer.reads is not None:
            found[name] = wanted[:, layer.features]
            scores[name] = _spread(scores[name], layer)
    return Masks(found, scores, rescued)


def on_wires(values: Tensor, channels: Tensor, n: int) -> Tensor:
    """The largest value among a wire's channels, (K,n) from (K,P)."""
    blank = torch.zeros(len(values), n, dtype=values.dtype)
    return blank.scatter_reduce(1, channels.expand(len(values), -1), values, "amax")


def _spread(values: Tensor, layer: Layer) -> Tensor:
    """Values of a layer's channels, for each of its features."""
    return values if values.shape[1] == len(layer.features) else values.repeat_interleave(
        layer.taps, dim=1)
