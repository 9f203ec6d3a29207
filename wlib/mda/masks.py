"""MDA: cut a network into parts that do some of its classes (Hu et al., "Model LEGO", 2203.13453).

From the head to the stem, each layer's inputs are asked what they contribute to the outputs that
a class needs, and the inputs that matter become the outputs needed of the layers that write them.
The channels that the chosen classes need are cut out as a network of their own, without training.

    chosen = mda.select(net, images, labels, per_class=5)
    found = mda.masks(mda.contributions(net, images[chosen], labels[chosen]))
    part = mda.disassemble(net, found, classes=[0, 1, 2])
    part = mda.part(net, images, labels, classes=[0, 1, 2]).network        # or all of it at once

Equations carry the paper's numbers. The paper's text and its official code differ; the default is
what the code does, the options are what the text says or what the wiring asks for.

Letters: B images, K classes (rows), P inputs and Q outputs of a layer, T taps of a kernel, n wires.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib.check import finite, require, require_one_of
from wlib.mda import cutcheck, cutting, wiring
from wlib.mda.wiring import Layer, Wiring, check_samples

EPS = 1e-5              # of the official code; the paper only says that it is small
MODES = ("official", "graph")
CELLS = 2**23           # numbers held at once while one class's samples are summed: 32 MB


# ---- which samples speak for a class -----------------------------------------------------------
def select(net: nn.Module, images: Tensor, labels: Tensor, per_class: int,
           correct: bool = True, at_once: int = 64) -> Tensor:
    """The images (indices) that the network is surest of: `per_class` of every class.

    Sure is a high probability of the true class; ties go to the lower index (the paper's appendix
    B). Wrongly classified images are left out; the official code, with `correct=False`, takes
    them too. A class with fewer images gives what it has, one with none is an error.
    """
    classes = wiring.trace(net).classes
    check_samples(images, labels, classes)
    require(isinstance(per_class, int) and not isinstance(per_class, bool) and per_class >= 1,
            "per_class", per_class, "a whole number ≥ 1")
    outputs = wiring.require_finite(wiring.logits(net, images, at_once=at_once))    # (B, K)
    sure = outputs.softmax(1).gather(1, labels.cpu()[:, None])[:, 0]           # (B,)
    usable = outputs.argmax(1) == labels.cpu() if correct else torch.ones_like(sure).bool()
    chosen = []
    for c in labels.unique().tolist():
        of_class = ((labels.cpu() == c) & usable).nonzero().flatten()
        require(len(of_class) > 0, "images", f"no correctly classified image of class {c}",
                "at least one of each class (correct=False takes wrong ones too)")
        order = sure[of_class].sort(descending=True, stable=True).indices
        chosen.append(of_class[order[:per_class]])
    return torch.cat(chosen)


def of_classes(images: Tensor, labels: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The images of some classes, with labels renumbered as a part's outputs: 0, 1, … ascending."""
    classes = torch.tensor(sorted(classes), device=labels.device)
    chosen = torch.isin(labels, classes)
    require(bool(chosen.any()), "classes", classes.tolist(), "classes that the labels contain")
    return images[chosen], torch.searchsorted(classes, labels[chosen])


# ---- contributions (equations 3, 4 and 15) -----------------------------------------------------
class Contributions(Mapping):
    """{layer: (K,Q,P)}, head first: what input p gives to output q on the samples of class k.

    Computed from the window sums when asked for, row by row, so that no more than one layer is
    ever held: a VGG-16's all at once would fill a gigabyte. `rows` counts a sample's row,
    `classes` says which output a row starts from, `some` that rows are classes, but not all of
    them; `images` are some of the images that were read.
    """

    def __init__(self, wires: Wiring, sums: dict[str, Tensor], weights: dict[str, Tensor],
                 rows: Tensor, classes: Tensor, features_first: bool, images: Tensor | None = None,
                 some: bool = False):
        self.wiring, self.classes, self.images, self.some = wires, classes, images, some
        self._sums, self._weights = sums, weights             # (B,P,T) and (Q,P,T)
        self._samples = [(rows == r).nonzero().flatten() for r in range(len(classes))]
        self._features_first = features_first

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)

    def __contains__(self, name: object) -> bool:
        return name in self._sums                # without computing it

    def __getitem__(self, name: str) -> Tensor:
        return torch.stack(list(self.rows(name)))                              # (K, Q, P)

    def rows(self, name: str, whole: bool = False,
             needed: Tensor | None = None) -> Iterator[Tensor]:
        """One row (Q,P) after the other; with `needed` (K,Q) bool, of its needed outputs alone.

        The inputs of a linear layer behind a flattening are features, P = C·H·W. With `whole` they
        are channels, P = C, and the layer is read as the H×W convolution that it is.
        """
        sums, weight = self._sums[name], self._weights[name]
        if self.wiring.layers[name].kind == "fc" and not whole:
            sums, weight = sums.flatten(1)[..., None], weight.flatten(1)[..., None]
        for row, samples in enumerate(self._samples):
            own = weight if needed is None else weight[needed[row]]
            yield partial_sums(sums[samples], own, self._features_first)


def contributions(net: nn.Module, images: Tensor, labels: Tensor, *, per: str = "class",
                  features_first: bool = False, fold_norm: bool = False,
                  nodes: Tensor | None = None, at_once: int = 64,
                  classes: Sequence[int] | None = None) -> Contributions:
    """What every input of every layer contributes to the layer's outputs, class by class.

    `images` (B,C,H,W), `labels` (B,), an image of every class. One pass of the images through the
    network keeps, of each layer's input, the sums that a kernel's taps see (`window_sums`). With
    `classes` only images of these are read, and the masks serve parts of them.

    `per="image"` makes a row of every image, for the route of a single sample. `features_first`
    sums the samples' features before the ReLU, as the paper's appendix B says, where the official
    code rectifies each sample. `fold_norm` multiplies each filter by the factor of the BatchNorm
    behind it, whose sign equation 4 ignores.

    In a graph network the "images" are its nodes (n,F), which it needs all at once; `nodes` are
    the indices of those that count as samples.
    """
    require_one_of("per", per, ("class", "image"))
    wires = wiring.trace(net)
    check_samples(images, labels, wires.classes)
    wanted = range(wires.classes) if classes is None else check_classes(classes, wires.classes)
    if classes is not None:
        own = torch.isin(labels, torch.tensor(wanted, device=labels.device))
        if nodes is None:
            images, labels = images[own], labels[own]
        else:
            nodes = nodes[own[nodes]]
    if nodes is not None:
        labels, at_once = labels[nodes], len(images)
    labels = labels.cpu()
    if per == "class":
        classes = torch.tensor(wanted)
        missing = sorted(set(wanted) - set(labels.tolist()))
        require(not missing, "labels", f"no image of class {missing[:5]}",
                f"at least one of each of the {len(wanted)} classes")
        rows = torch.searchsorted(classes, labels)
    else:
        rows, classes = torch.arange(len(labels)), labels
    if nodes is None:
        maps = any(isinstance(m, nn.Conv2d) for m in net.modules())
        _one_row_an_image(net, wires, images[:2 if maps else at_once])
    found: dict[str, list[Tensor]] = {name: [] for name in reversed(wires.voting)}

    def watch(name, module, x):
        if name in found:
            u = window_sums(module, x, wires.layers[name].taps)
            found[name].append((u if nodes is None else u[nodes]).cpu())

    wiring.require_finite(wiring.logits(net, images, watch, at_once))
    sums = {name: torch.cat(parts) for name, parts in found.items()}           # (B, P, T)
    weights = {name: _filters(net, wires, name, fold_norm) for name in sums}   # (Q, P, T)
    few = images if nodes is not None else images[:cutcheck.IMAGES].clone()
    some = per == "class" and len(classes) < wires.classes
    return Contributions(wires, sums, weights, rows, classes, features_first, few, some)


def _one_row_an_image(net: nn.Module, wires: Wiring, images: Tensor) -> None:
    """Refuse views folded into the batch, or places before it: whose is a row?"""
    rows: dict[str, int] = {}
    wiring.logits(net, images, lambda name, module, x: rows.update({name: len(x)}),
                  at_once=len(images))
    for name in wires.voting:
        require(rows[name] == len(images), f"net.{name}",
                f"{rows[name]} rows of {len(images)} images",
                "one row per image, to tell whose contribution it is")


def window_sums(layer: nn.Module, x: Tensor, taps: int = 1) -> Tensor:
    """What each tap of a kernel sees of each input channel, summed over all places: (B,P,T).

    Σ_hw (c[q,p] ∗ a[p]) = Σ_t c[q,p,t] · Σ_hw (what tap t sees of a[p]): the sum over places goes
    before the product, which saves H·W times the multiplications and the tensor (B,Q,P,H,W). Two
    products with matrices of ones and zeros, one a side, take the sums.
    """
    if isinstance(layer, nn.Linear):
        x = x.flatten(1, -2).sum(1) if x.ndim > 2 else x         # (B, places, P): of all places
        return x.reshape(len(x), -1, taps)
    padding = layer.padding
    if isinstance(padding, str) or layer.padding_mode != "zeros":
        sides = layer._reversed_padding_repeated_twice                 # left, right, top, bottom
        x = F.pad(x, sides, mode="constant" if layer.padding_mode == "zeros"
                  else layer.padding_mode)
        padding = (0, 0)
    high, wide = (_seen(x.shape[2 + i], layer.kernel_size[i], layer.stride[i], padding[i],
                        layer.dilation[i]).to(x) for i in (0, 1))
    return (high @ (x @ wide.T)).flatten(2)                                    # (B, P, kh·kw)


def _seen(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """(kernel, size): 1 for every time that a tap of a one-dimensional kernel meets a place."""
    places = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    met = torch.arange(kernel)[:, None] * dilation + torch.arange(places) * stride - padding
    inside = (met >= 0) & (met < size)
    return torch.zeros(kernel, size).scatter_add(1, met.clamp(0, size - 1), inside.float())


def _filters(net: nn.Module, wires: Wiring, name: str, fold_norm: bool) -> Tensor:
    """A layer's weights as (Q,P,T), a copy."""
    layer, module = wires.layers[name], net.get_submodule(name)
    weight = module.weight.detach().cpu().clone()
    weight = (weight.flatten(2) if layer.kind == "conv"
              else weight.reshape(len(weight), -1, layer.taps))
    norm = net.get_submodule(wires.norm_of[name]) if name in wires.norm_of else None
    if fold_norm and norm is not None and norm.running_var is not None:
        factor = (norm.running_var + norm.eps).rsqrt()
        factor = factor if norm.weight is None else factor * norm.weight.detach()
        weight = weight * factor.cpu()[:, None, None]
    return weight


def partial_sums(sums: Tensor, weight: Tensor, features_first: bool = False) -> Tensor:
    """Equations 3 and 4 over the samples of one class: Σ_b ReLU(Σ_t c[q,p,t] u[b,p,t]), (Q,P).

    `sums` u (b,P,T), `weight` c (Q,P,T). With one tap the sign of u·c splits, so that no tensor
    (b,Q,P) is needed: Σ_b ReLU(c u) = ReLU(c) Σ_b ReLU(u) + ReLU(−c) Σ_b ReLU(−u).
    """
    if features_first:
        sums = sums.sum(0, keepdim=True)
    if sums.shape[2] == 1:
        up, down = sums.clamp(min=0).sum(0).T, (-sums).clamp(min=0).sum(0).T   # (1, P) each
        c = weight[..., 0]
        result = c.clamp(min=0).mul_(up)
        return result.add_((-c).clamp_(min=0).mul_(down)) if down.any() else result
    u, c = sums.transpose(0, 1), weight.permute(1, 2, 0)               # (P, b, T), (P, T, Q)
    at_once = max(1, CELLS // max(1, c.shape[0] * c.shape[2]))
    return sum((part @ c).relu_().sum(1) for part in u.split(at_once, dim=1)).T


# ---- masks (equations 5 to 10 and 16) ----------------------------------------------------------
class Masks(dict):
    """{layer: (K,P) bool}, with `scores` {layer: (K,P)}, the share of votes before the threshold,
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
        def whole(rows):
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
    wires = getattr(contributions, "wiring", None) if wires is None else wires
    require(isinstance(wires, Wiring), "wires", wires,
            "the network's wiring.trace(net), for contributions that do not carry it")
    for name in wires.voting:
        require(name in contributions, "contributions", sorted(contributions),
                f"the layer {name}, as all of {', '.join(wires.voting)}")
    classes = getattr(contributions, "classes", torch.arange(wires.classes))
    follow = _down_the_chain if mode == "official" else _up_the_wires
    found = follow(contributions, wires, classes, {"conv": conv, "fc": fc}, strict)
    if getattr(contributions, "some", False):
        found = found.among(classes, wires.classes)
    found.images = getattr(contributions, "images", None)
    return found


def relative(v: Tensor) -> Tensor:
    """Equations 5 and 8: min-max along the last axis."""
    least = v.amin(-1, keepdim=True)
    return (v - least) / (v.amax(-1, keepdim=True) - least + EPS)


def vote(rows: Iterable[Tensor], alpha: float, beta: float,
         strict: bool = True) -> tuple[Tensor, Tensor]:
    """The mask over a layer's inputs and the share of votes behind it, (K,P) each.

    `rows` are K contributions (q,P), to the q outputs that a class needs. Each of these outputs
    votes for the inputs whose relative contribution passes α (equation 9); the inputs whose votes,
    relative to each other, pass β are needed in turn (equations 6, 8, 10 and 16).
    """
    passes = torch.gt if strict else torch.ge
    counts = torch.stack([passes(relative(v), alpha).sum(0) for v in rows])    # (K, P)
    shares = relative(counts)                                                  # (K, P)
    return passes(shares, beta), shares


def _rows(contributions, name: str, whole: bool, needed: Tensor) -> Iterator[Tensor]:
    """The contributions to what each class needs, (q,P) each; outputs not needed do not vote."""
    if isinstance(contributions, Contributions):
        return contributions.rows(name, whole, needed)
    return (v[need] for v, need in zip(contributions[name], needed, strict=True))


def _down_the_chain(contributions, wires, classes, thresholds, strict) -> Masks:
    """The official code's order, layer by layer."""
    found, scores = {}, {}
    needed = F.one_hot(classes, wires.classes).bool()                          # (K, outputs)
    for name in reversed(wires.defined):
        layer = wires.layers[name]
        if needed.shape[1] != len(layer.writes):
            needed = torch.ones(len(classes), len(layer.writes), dtype=torch.bool)
        rows = _rows(contributions, name, False, needed)
        needed, scores[name] = vote(rows, *thresholds[layer.kind], strict)
        found[name] = needed
    return Masks(found, scores)


def _up_the_wires(contributions, wires, classes, thresholds, strict) -> Masks:
    """Along the wires: a layer is asked for what those that run after it need of its outputs."""
    found, scores, rescued = {}, {}, []
    lit = torch.zeros(len(classes), wires.wires, dtype=torch.bool)             # (K, n)
    lit[torch.arange(len(classes)), wires.outputs[classes]] = True
    lit[:, wires.pinned] = True                                                # they stay anyhow
    for name, layer in reversed(wires.voting.items()):
        needed = lit[:, layer.writes]                                          # (K, Q)
        rows = _rows(contributions, name, True, needed)
        mask, share = vote(rows, *thresholds[layer.kind], strict)
        for row in (needed.any(1) & ~mask.any(1)).nonzero().flatten().tolist():
            mask[row, share[row].argmax()] = True
            rescued.append((name, row))
        found[name], scores[name] = mask, share
        if layer.reads is not None:
            channels = layer.reads if mask.shape[1] == len(layer.reads) else layer.features
            lit |= _on_wires(mask.float(), channels, wires.wires) > 0
    for name, layer in wires.voting.items():
        if layer.reads is not None:
            found[name] = lit[:, layer.features]
            scores[name] = _spread(scores[name], layer)
    return Masks(found, scores, rescued)


def _on_wires(values: Tensor, channels: Tensor, n: int) -> Tensor:
    """The largest value among a wire's channels, (K,n) from (K,P)."""
    blank = torch.zeros(len(values), n, dtype=values.dtype)
    return blank.scatter_reduce(1, channels.expand(len(values), -1), values, "amax")


def _spread(values: Tensor, layer: Layer) -> Tensor:
    """Values of a layer's channels, for each of its features."""
    return values if values.shape[1] == len(layer.features) else values.repeat_interleave(
        layer.taps, dim=1)


# ---- the cut -----------------------------------------------------------------------------------
def disassemble(net: nn.Module, masks: Mapping[str, Tensor], classes: Sequence[int],
                head: str = "pruned", images: Tensor | None = None,
                check: bool = True) -> nn.Module:
    """The part of a network that some of its classes need: a network of its own, truly smaller.

    What any of the classes needs stays (section 3.2.2). head="pruned" leaves the chosen outputs,
    in ascending order; head="full" keeps all, as the released script does. A layer without a mask
    keeps all of its inputs, so that `disassemble(net, {}, classes)` is the network with its logits
    restricted. The network itself stays as it was.

    The part has the attributes `classes`, what its outputs are, and `rescued`, the layers that
    would have been left empty and keep their strongest channel; an attribute that the network has
    under such a name stays the network's.

    With `check` the part and the network with the dropped channels set to zero run on a few images
    (`images`, else those behind the masks, else noise), and a difference is refused with the first
    layer that differs (`cutcheck`). Where no images are known and noise of no usual size
    fits, nothing is checked.
    """
    wires = wiring.trace(net)
    for name, tensor in net.named_parameters():
        require(finite(tensor), name, "NaN or infinity", "finite weights")
    classes = check_classes(classes, wires.classes)
    keep, rescued = kept(wires, masks, classes, head)
    part = cutting.narrow(net, keep, wires)
    images = getattr(masks, "images", None) if images is None else images
    if check:
        images = cutcheck.noise(net, wires) if images is None else images
        if images is not None:
            cutcheck.check(net, part, wires, keep, images)
    ours = hasattr(net, "rescued") and isinstance(net.classes, tuple)
    if ours or not hasattr(net, "classes"):
        part.classes = classes if head == "pruned" else tuple(range(wires.classes))
    part.rescued = rescued
    names = getattr(net, "names", None)          # of a joined network
    if head == "pruned" and isinstance(names, tuple) and len(names) == wires.classes:
        part.names = tuple(names[c] for c in classes)
    return part


def kept(wires: Wiring, masks: Mapping[str, Tensor], classes: Sequence[int],
         head: str = "pruned") -> tuple[Tensor, tuple[str, ...]]:
    """The wires (n,) that `disassemble` keeps, and the layers that would have been left empty."""
    require_one_of("head", head, ("pruned", "full"))
    classes = check_classes(classes, wires.classes)
    known = getattr(masks, "classes", None)
    require(known is None or set(classes) <= set(known), "classes", classes,
            f"some of {known}, the classes of the masks")
    for name in masks:
        require(name in wires.voting, "masks", name, f"layers of {', '.join(wires.voting)}")
    keep = wires.pinned.clone()
    for name, layer in wires.voting.items():
        if layer.reads is None:
            continue                                           # the image is never cut
        if name in masks:
            mask = masks[name].cpu()
            require(mask.dtype == torch.bool
                    and mask.shape == (wires.classes, len(layer.features)), f"masks[{name!r}]",
                    mask, f"bool of shape ({wires.classes}, {len(layer.features)})")
            keep[layer.features[mask[list(classes)].any(0)]] = True
        else:
            keep[layer.reads] = True
    keep[wires.outputs] = (head == "full") | wires.pinned[wires.outputs]
    keep[wires.outputs[list(classes)]] = True
    strength, rescued = wire_scores(wires, masks, classes), []
    for layer in wires.layers.values():
        if not keep[layer.writes].any():
            keep[layer.writes[strength[layer.writes].argmax()]] = True         # ties: the first
            rescued.append(layer.name)
    more = sorted(set(keep[wires.outputs].nonzero().flatten().tolist()) - set(classes))
    require(head == "full" or not more, "classes", classes, f"outputs {more[:9]} among them: the "
            "layers that write them cannot do without (a part that was joined can be taken itself)")
    return keep, tuple(rescued)


def wire_scores(wires: Wiring, masks: Mapping[str, Tensor], classes: Sequence[int]) -> Tensor:
    """How strongly any of the classes asks for each wire (n,): the largest share of votes.

    Masks without scores give zeros. For cuts to a width of one's choice (`selectors`).
    """
    scores = torch.zeros(wires.wires)
    for name, share in getattr(masks, "scores", {}).items():
        layer = wires.layers[name]
        if layer.reads is not None:
            asked = share[list(classes)].amax(0, keepdim=True)                 # (1, P)
            scores = torch.maximum(scores, _on_wires(asked, layer.features, wires.wires)[0])
    return scores


# ---- all of it in one call ---------------------------------------------------------------------
class Part(NamedTuple):
    """A part with the masks it was cut by, and how much of the whole network is in it."""

    network: nn.Module
    masks: Masks                # {layer: (K,P) bool}, of the part's classes; other rows are empty
    channels: dict[str, float]  # the share of its outputs that each layer with a mask keeps
    weights: float              # the share of all weights
    macs: float                 # the share of an image's multiply-accumulates


def part(net: nn.Module, images: Tensor, labels: Tensor, classes: Sequence[int],
         mode: str = "graph", **thresholds) -> Part:
    """The part of a network that some of its classes need: from the network to the cut in one call.

    `images` (B,C,H,W), `labels` (B,) with at least one image of each of these classes; those of
    other classes are not looked at. `mode` and `thresholds` (conv, fc, strict) go to `masks`.
    """
    found = masks(contributions(net, images, labels, classes=classes), mode=mode, **thresholds)
    cut = disassemble(net, found, classes)
    small, whole = (cutting.cost(n, images[0]) for n in (cut, net))
    return Part(cut, found, {
        name: len(cut.get_submodule(name).weight) / len(net.get_submodule(name).weight)
        for name in found}, small.weights / whole.weights, small.macs / whole.macs)


def check_classes(classes: Sequence[int], count: int) -> tuple[int, ...]:
    """Classes in ascending order, refused unless all exist, once each, and there are any."""
    whole = classes.tolist() if hasattr(classes, "tolist") else classes
    try:
        numbers = [c for c in whole if isinstance(c, Integral) and not isinstance(c, bool)]
        numbers = [int(c) for c in numbers] if len(numbers) == len(whole) else []
    except TypeError:
        numbers = []
    require(len(numbers) > 0 and len(set(numbers)) == len(numbers)
            and all(0 <= c < count for c in numbers), "classes", classes,
            f"different whole numbers from 0 to {count - 1}, at least one")
    return tuple(sorted(numbers))
