"""Other ways to choose channels, the rivals of MDA's contributions, at equal width and equal cut.

A selector gives a score to every wire of a network (n,). `pick` takes the best of each stream (what
one layer writes, or all blocks of a residual stage), as many as another cut kept there or a
fraction of them, and `cutting.narrow` cuts. So rivals differ in nothing but the choice.

    keep, _ = mda.kept(wires, masks, classes)
    rival = cutting.narrow(net, pick(wires, l1(net), like=keep))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib import seeds
from wlib.check import require
from wlib.mda import cutting, wiring
from wlib.mda.wiring import Layer, Wiring, check_samples


# ---- scores of wires ---------------------------------------------------------------------------
def random(net: nn.Module, seed: int = 0) -> Tensor:
    """Scores (n,) that depend on the seed alone."""
    return torch.rand(wiring.trace(net).wires, generator=seeds.generator(seeds.base(seed)))


def l1(net: nn.Module) -> Tensor:
    """Sum of the absolute weights of the filter that writes a wire (Li et al. 2017)."""
    return _of_filters(net, lambda w: w.abs().sum(1))


def geometric_median(net: nn.Module) -> Tensor:
    """Sum of a filter's distances to all filters of its layer (FPGM, He et al. 2019).

    A filter near all others can be spared: they say the same.
    """
    return _of_filters(net, lambda w: torch.cdist(w[None], w[None])[0].sum(1))


def mean_activation(net: nn.Module, images: Tensor) -> Tensor:
    """Mean size of a wire where layers read it, after BatchNorm and ReLU, over the images."""
    wires = wiring.trace(net)
    total, meetings = torch.zeros(2, wires.wires, dtype=torch.float64)

    def watch(name: str, module: nn.Module, x: Tensor) -> None:
        layer = wires.layers[name]
        if layer.reads is not None:
            size = per_channel(x.double().abs(), layer).mean(2).sum(0)                 # (P,)
            total.index_add_(0, layer.reads, size.cpu())
            meetings.index_add_(0, layer.reads, torch.full((len(layer.reads),), float(len(x)),
                                                           dtype=torch.float64))

    wiring.logits(net, images, watch)
    return (total / meetings.clamp(min=1)).float()


def taylor(net: nn.Module, images: Tensor, labels: Tensor,
           classes: Sequence[int] | None = None) -> Tensor:
    """|activation × gradient| of a wire, summed over places, mean over images (Molchanov 2017).

    The change of the cross-entropy if the wire were zero, to first order. With `classes` the loss
    is over these outputs alone, and the labels must be among them.
    """
    wires = wiring.trace(net)
    check_samples(images, labels, wires.classes)
    chosen = list(range(wires.classes)) if classes is None else sorted(classes)
    require(set(labels.tolist()) <= set(chosen), "labels", sorted(set(labels.tolist())),
            f"labels among the classes {chosen}")
    first = next(net.parameters())
    total = torch.zeros(wires.wires, dtype=torch.float64)
    inputs: dict[str, Tensor] = {}
    hooks = [net.get_submodule(name).register_forward_pre_hook(
        lambda m, x, name=name: inputs.__setitem__(name, x[0]))
        for name, layer in wires.layers.items() if layer.kind != "norm" and layer.reads is not None]
    try:
        with wiring.evaluating(net), torch.enable_grad():
            for x, y in zip(images.split(64), labels.split(64), strict=True):
                x = x.to(first.device, first.dtype).detach().requires_grad_()
                z = net(x)[:, chosen].float()
                y = torch.searchsorted(torch.tensor(chosen), y.cpu()).to(first.device)
                gradients = torch.autograd.grad(F.cross_entropy(z, y, reduction="sum"),
                                             list(inputs.values()))
                for (name, a), gradient in zip(inputs.items(), gradients, strict=True):
                    layer = wires.layers[name]
                    effect = per_channel(a.detach().double() * gradient.double(), layer)
                    effect = effect.sum(2).abs().sum(0)                        # (P,)
                    total.index_add_(0, layer.reads, effect.cpu())
    finally:
        for hook in hooks:
            hook.remove()
    return (total / len(images)).float()


def group_norm(net: nn.Module, image: Tensor | tuple[int, ...]) -> Tensor:
    """Torch-Pruning's group norm: the size of all weights that leave with a wire (Fang 2023).

    `image` is one image or its shape (C,H,W). Needs the package `torch-pruning`, which finds the
    groups itself; a network whose groups it does not find is refused.
    """
    try:
        import torch_pruning
    except ImportError as error:
        raise ImportError("group_norm needs Torch-Pruning: pip install torch-pruning") from error
    wires = wiring.trace(net)
    shape = image.shape[-3:] if isinstance(image, Tensor) else tuple(image)
    names = {module: name for name, module in net.named_modules()}
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    scores = torch.zeros(wires.wires)
    with wiring.evaluating(net), torch.enable_grad():
        first = next(net.parameters())
        graph = torch_pruning.DependencyGraph().build_dependency(
            net, torch.zeros(1, *shape, device=first.device, dtype=first.dtype), verbose=False)
        for group in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]):
            layer = wires.layers.get(names[group[0].dep.target.module])
            found = importance(group)
            if layer is None or found is None:
                continue
            require(len(found) == len(layer.writes), "net", layer.name,
                    "layers that Torch-Pruning groups channel by channel")
            scores[layer.writes] = found.float().cpu()
    return scores


def _of_filters(net: nn.Module, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Scores of filters (Q,) from weights (Q, …), for each wire the mean over its writers."""
    wires = wiring.trace(net)
    total, writers = torch.zeros(2, wires.wires)
    for name, layer in wires.layers.items():
        if layer.kind != "norm":
            module: Any = net.get_submodule(name)
            weight = module.weight.detach().cpu().float()
            total.index_add_(0, layer.writes, score(weight.flatten(1)))
            writers.index_add_(0, layer.writes, torch.ones(len(layer.writes)))
    return total / writers.clamp(min=1)


def per_channel(x: Tensor, layer: Layer) -> Tensor:
    """(B,P,places) of a layer's input: a map, features flattened from one, or the last axis."""
    if layer.kind == "fc" and x.ndim > 2:
        x = x.flatten(1, -2).movedim(-1, 1)
    return x.reshape(len(x), len(layer.reads), -1)


# ---- choices -----------------------------------------------------------------------------------
def streams(wires: Wiring) -> Tensor:
    """(n,) a number for each wire: wires that the same layers write are one stream.

    What a layer writes is one stream, and so is what all blocks of a residual stage write.
    """
    writers: list[set] = [set() for _ in range(wires.wires)]
    for name, layer in wires.layers.items():
        if layer.kind != "norm":
            for wire in layer.writes.tolist():
                writers[wire].add(name)
    numbers: dict[frozenset, int] = {}
    return torch.tensor([numbers.setdefault(frozenset(w), len(numbers)) for w in writers])


def pick(wires: Wiring, scores: Tensor, like: Tensor | None = None,
         fraction: float | None = None) -> Tensor:
    """The wires to keep (n,): the best of every stream, at least one.

    As many as `like` (n,) bool keeps there, with its outputs; or a `fraction` in (0, 1] of them,
    with all outputs. Pinned wires come first, ties go to the lower wire.
    """
    require((like is None) != (fraction is None), "like, fraction", (like is None, fraction),
            "one of the two")
    require(isinstance(scores, Tensor) and scores.shape == (wires.wires,), "scores", scores,
            f"a number for each of {wires.wires} wires")
    require(like is None or (like.dtype == torch.bool and like.shape == scores.shape), "like",
            like, f"a bool for each of {wires.wires} wires")
    require(fraction is None or 0 < fraction <= 1, "fraction", fraction, "a fraction in (0, 1]")
    keep = wires.pinned.clone()
    scores = scores.masked_fill(wires.pinned, torch.inf)
    numbers = streams(wires)
    for stream in range(int(numbers.max()) + 1):
        members = (numbers == stream).nonzero().flatten()
        count = (int(like[members].sum()) if like is not None else
                 round((fraction or 0) * len(members)))
        best = scores[members].sort(descending=True, stable=True).indices
        keep[members[best[:max(1, count)]]] = True
    keep[wires.outputs] = True if like is None else like[wires.outputs]
    return keep


def pick_macs(net: nn.Module, scores: Tensor, macs: int, image: Tensor | tuple[int, ...],
              steps: int = 10) -> Tensor:
    """The wires of the largest common fraction at which the cut network costs at most `macs`.

    Found by halving; what costs the least (a wire per stream) is returned where nothing fits.
    """
    wires, low, high = wiring.trace(net), 0.0, 1.0
    best = pick(wires, scores, fraction=1e-9)
    for _ in range(steps):
        middle = (low + high) / 2
        keep = pick(wires, scores, fraction=middle)
        if cutting.cost(cutting.narrow(net, keep, wires), image).macs <= macs:
            best, low = keep, middle
        else:
            high = middle
    return best
