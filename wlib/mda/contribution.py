"""What the inputs of every layer contribute to its outputs, class by class (MDA, section 3.2.1).

Letters: B images, K classes (rows), P inputs and Q outputs of a layer, T taps of a kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib.check import require, require_one_of, whole
from wlib.mda import cutcheck, wiring
from wlib.mda.wiring import Wiring, check_classes, check_samples

CELLS = 2**23           # numbers held at once while one class's samples are summed: 32 MB


# ---- which samples speak for a class -----------------------------------------------------------
def select(net: nn.Module, images: Tensor, labels: Tensor, per_class: int,
           correct: bool = True, at_once: int | None = None) -> Tensor:
    """The images (indices) that the network is surest of: `per_class` of every class.

    Sure is a high probability of the true class; ties go to the lower index (the paper's appendix
    B). Wrongly classified images are left out; the official code, with `correct=False`, takes
    them too. A class with fewer images gives what it has, one with none is an error. A graph
    network needs all its nodes at once: `at_once` counts what goes through the network together.
    """
    classes = wiring.trace(net).classes
    check_samples(images, labels, classes)
    require(whole(per_class), "per_class", per_class, "a whole number ≥ 1")
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
    outputs = torch.tensor(sorted(classes), device=labels.device)
    chosen = torch.isin(labels, outputs)
    require(bool(chosen.any()), "classes", classes, "classes that the labels contain")
    return images[chosen], torch.searchsorted(outputs, labels[chosen])


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
                  nodes: Tensor | None = None,
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
    wanted = check_classes(range(wires.classes) if classes is None else classes, wires.classes)
    if classes is not None:
        own = torch.isin(labels, torch.tensor(wanted, device=labels.device))
        if nodes is None:
            images, labels = images[own], labels[own]
        else:
            nodes = nodes[own[nodes]]
    labels = (labels if nodes is None else labels[nodes]).cpu()
    rows, outputs = torch.arange(len(labels)), labels
    if per == "class":
        missing = sorted(set(wanted) - set(labels.tolist()))
        require(not missing, "labels", f"no image of class {missing[:5]}",
                f"at least one of each of the {len(wanted)} classes")
        outputs = torch.tensor(wanted)
        rows = torch.searchsorted(outputs, labels)
    if nodes is None:
        _one_row_per_image(net, wires, images)
    sums = _sums(net, wires, images, nodes)                                    # (B, P, T)
    weights = {name: _filters(net, wires, name, fold_norm) for name in sums}   # (Q, P, T)
    few = images if nodes is not None else images[:cutcheck.IMAGES].clone()
    some = per == "class" and len(wanted) < wires.classes
    return Contributions(wires, sums, weights, rows, outputs, features_first, few, some)


def _sums(net: nn.Module, wires: Wiring, images: Tensor,
          nodes: Tensor | None) -> dict[str, Tensor]:
    """The `window_sums` of all samples for every layer that votes, from the head to the stem."""
    found: dict[str, list[Tensor]] = {name: [] for name in reversed(wires.voting)}

    def watch(name: str, module: nn.Module, x: Tensor) -> None:
        if name in found:
            u = window_sums(module, x, wires.layers[name].taps)
            found[name].append((u if nodes is None else u[nodes]).cpu())

    at_once = None if nodes is None else len(images)
    wiring.require_finite(wiring.logits(net, images, watch, at_once))
    return {name: torch.cat(parts) for name, parts in found.items()}


def _one_row_per_image(net: nn.Module, wires: Wiring, images: Tensor) -> None:
    """Refuse views folded into the batch, or places before it: whose is a row?"""
    maps = any(isinstance(m, nn.Conv2d) for m in net.modules())
    images, rows = images[:2 if maps else wiring.AT_ONCE], {}
    wiring.logits(net, images, lambda name, module, x: rows.update({name: len(x)}),
                  at_once=len(images))
    for name in wires.voting:
        require(rows[name] == len(images), f"net.{name}",
                f"{rows[name]} rows of {len(images)} images",
                "one row per image, to tell whose contribution it is")


def window_sums(layer: Any, x: Tensor, taps: int = 1) -> Tensor:
    """What each tap of a kernel sees of each input channel, summed over all places: (B,P,T).

    Σ_hw (c[q,p] ∗ a[p]) = Σ_t c[q,p,t] · Σ_hw (what tap t sees of a[p]): the sum over places goes
    before the product, which saves H·W times the multiplications and the tensor (B,Q,P,H,W). Two
    products with matrices of ones and zeros, one per side, take the sums.
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
    layer = wires.layers[name]
    module: Any = net.get_submodule(name)
    weight = module.weight.detach().cpu().clone()
    weight = (weight.flatten(2) if layer.kind == "conv"
              else weight.reshape(len(weight), -1, layer.taps))
    norm: Any = net.get_submodule(wires.norm_of[name]) if name in wires.norm_of else None
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
