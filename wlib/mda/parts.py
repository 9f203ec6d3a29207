"""The cut: the part of a network that some classes need, a network of its own (section 3.2.2).

Letters: K classes (rows of masks), n wires of a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wlib.check import finite, require, require_one_of
from wlib.mda import cutcheck, cutting, wiring
from wlib.mda.contribution import contributions
from wlib.mda.voting import Masks, masks, on_wires
from wlib.mda.wiring import Wiring, check_classes


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
    part: Any = cutting.narrow(net, keep, wires)
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
    """How strongly any of the classes asks for each wire (n,): the largest fraction of votes.

    Masks without scores give zeros. For cuts to a width of one's choice (`selectors`).
    """
    scores = torch.zeros(wires.wires)
    for name, votes in getattr(masks, "scores", {}).items():
        layer = wires.layers[name]
        if layer.reads is not None:
            wanted = votes[list(classes)].amax(0, keepdim=True)                 # (1, P)
            scores = torch.maximum(scores, on_wires(wanted, layer.features, wires.wires)[0])
    return scores


# ---- all of it in one call ---------------------------------------------------------------------
class Part(NamedTuple):
    """A part with the masks it was cut by, and how much of the whole network is in it."""

    network: nn.Module
    masks: Masks                # {layer: (K,P) bool}, of the part's classes; other rows are empty
    channels: dict[str, float]  # the fraction of its outputs that each layer with a mask keeps
    weights: float              # the fraction of all weights
    macs: float                 # the fraction of an image's multiply-accumulates


def part(net: nn.Module, images: Tensor, labels: Tensor, classes: Sequence[int],
         mode: str = "graph", **thresholds: Any) -> Part:
    """The part of a network that some of its classes need: from the network to the cut in one call.

    `images` (B,C,H,W), `labels` (B,) with at least one image of each of these classes; those of
    other classes are not looked at. `mode` and `thresholds` (conv, fc, strict) go to `masks`.
    """
    found = masks(contributions(net, images, labels, classes=classes), mode=mode, **thresholds)
    cut = disassemble(net, found, classes)
    small, whole = (cutting.cost(n, images[0]) for n in (cut, net))
    return Part(cut, found, {
        name: len(cut.get_parameter(f"{name}.weight")) / len(net.get_parameter(f"{name}.weight"))
        for name in found},
        small.weights / whole.weights, small.macs / whole.macs)
