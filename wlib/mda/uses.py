"""What parts are good for, measured: patterns, compression, students, graphs (notebook 23).

Each function takes one seed's networks and gives tables and tensors, which `store.cached` keeps.
Accuracies are 0 or 100 for every image, and percent where they are means.

Letters: B images, K classes, P channels, n wires.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from wlib import mda
from wlib.core import nets, train
from wlib.core.pool import Pool
from wlib.data import ImageSet
from wlib.mda import cutting, graphs, lego, routes, selectors, wiring
from wlib.mda.sources import Images, own_masks, together_all

CRITERIA = ("largest weights (L1)", "geometric median", "Taylor", "group norm")
FIELDS = ((0,), (1,), (1, 2), (3, 4, 5))         # the sets of classes that a graph is cut for


def percent(net: nn.Module, images: ImageSet) -> Tensor:
    """100 for every image (B,) that a network gets right, 0 for the others."""
    return 100.0 * (wiring.logits(net, images.floats()).argmax(1) == images.labels)


# ---- patterns ----------------------------------------------------------------------------------
def votes(net: nn.Module, x: Tensor, start: Tensor) -> dict[str, Tensor]:
    """{layer: (B,P)}, each image's fraction of votes for every channel, from its output `start`."""
    return routes.channels(net, routes.of_images(net, x, start, mode="graph").scores)


def activations(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """{layer: (B,P)}, the mean activation of every channel that a layer reads, from 0 to 1."""
    layers = wiring.trace(net).voting
    found: dict[str, list[Tensor]] = {}

    def watch(name: str, module: nn.Module, a: Tensor) -> None:
        if name in layers and layers[name].reads is not None:
            mean = selectors.per_channel(a, layers[name]).mean(2)              # (B, P)
            found.setdefault(name, []).append(mean.cpu())

    wiring.logits(net, x, watch)
    return {name: mda.relative(torch.cat(parts)) for name, parts in found.items()}


def patterns(net: nn.Module, untrained: nn.Module,
             images: ImageSet) -> dict[str, dict[str, Tensor]]:
    """{arm: {layer: (B,P)}}: what each arm knows of the images, channel by channel."""
    x, y = images.floats(), images.labels
    return {"contributions": votes(net, x, y), "mean activation": activations(net, x),
            "untrained network": votes(untrained, x, y),
            "class not told": votes(net, x, torch.zeros_like(y))}


# ---- compression -------------------------------------------------------------------------------
def rankings(net: nn.Module, images: ImageSet, masks: mda.Masks,
             seed: int) -> dict[str, Tensor]:
    """Scores of all wires (n,) by criterion: contributions, four rivals, and chance."""
    wires, x, y = wiring.trace(net), images.floats(), images.labels
    return {"contributions": mda.wire_scores(wires, masks, range(wires.classes)),
            "largest weights (L1)": selectors.l1(net),
            "geometric median": selectors.geometric_median(net),
            "Taylor": selectors.taylor(net, x, y),
            "group norm": selectors.group_norm(net, x[0]),
            "random": selectors.random(net, seed)}


def compressed(net: nn.Module, masks: mda.Masks, scores: Mapping[str, Tensor],
               images: Images) -> dict[str, nn.Module]:
    """The part for all classes, and by each criterion a network of no more operations.

    A rival keeps one fraction of the channels in every layer, or the part's own widths: what does
    better on the validation images.
    """
    wires, image = wiring.trace(net), images.fit.floats()[0]
    keep, _ = mda.kept(wires, masks, range(wires.classes))
    part = mda.disassemble(net, masks, range(wires.classes))
    macs, cuts = cutting.cost(part, image).macs, {"full network": net, "part": part}
    for arm in CRITERIA:
        shapes = [selectors.pick_macs(net, scores[arm], macs, image),
                  selectors.pick(wires, scores[arm], like=keep)]
        cuts[arm] = max((cutting.narrow(net, shape, wires) for shape in shapes),
                        key=lambda cut: percent(cut, images.validation).mean().item())
    return cuts


def compression(net: nn.Module, images: Images, fractions: Sequence[float], epochs: int, seed: int,
                chance: int = 0) -> dict[str, Any]:
    """The part for all classes and its rivals at equal cost, before and after fine-tuning.

    Gives `test` {arm: (B,)} of the networks as cut, a `curve` of validation accuracy over
    `fractions` of channels by criterion, and a `table` of costs and validation accuracies. `seed`
    orders the images of fine-tuning, `chance` draws the random scores.
    """
    wires = wiring.trace(net)
    masks = own_masks(net, images.fit)
    scores = rankings(net, images.fit, masks, chance)
    curve, table = [], []
    for fraction in fractions:
        for arm, own in scores.items():
            cut = cutting.narrow(net, selectors.pick(wires, own, fraction=fraction), wires)
            curve.append({"arm": arm, "fraction": fraction, **_row(cut, images, "accuracy")})
    cuts, device = compressed(net, masks, scores, images), next(net.parameters()).device.type
    for arm, cut in cuts.items():
        tuned = train.fit(Pool.stack([cut]), images.fit, seeds=[seed], epochs=epochs, batch=32,
                          lr=1e-3, device=device).network(0)
        after = percent(tuned, images.validation).mean().item()
        table.append({"arm": arm, **_row(cut, images, "before"), "after": after})
    return {"test": {arm: percent(cut, images.test) for arm, cut in cuts.items()},
            "curve": pd.DataFrame(curve), "table": pd.DataFrame(table)}


def _row(net: nn.Module, images: Images, accuracy: str) -> dict[str, float]:
    """A network's cost for one image, and its accuracy on the validation images."""
    return {**cutting.cost(net, images.fit.floats()[0])._asdict(),
            accuracy: percent(net, images.validation).mean().item()}


# ---- joined parts and students -----------------------------------------------------------------
@dataclass(frozen=True)
class Teaching:
    """How joined parts and students learn from the same teacher."""

    lrs: Sequence[float]                # every student takes the best one by validation images
    epochs: int                         # passes over the images, for all students
    beside: Sequence[str] = ()          # more students: "student from source A", "joined shape …"


def side_by_side(networks: Sequence[nn.Module], images: Sequence[Images],
                 chosen: Sequence[Sequence[int]], cut: bool) -> tuple[nn.Module, nn.Module]:
    """Sources for their chosen classes as one network, without and with scales: whole and side by
    side, or cut (`cut`) and padded. The scales are fitted to the held-out images."""
    parts, scales = [], []
    for net, own, classes in zip(networks, images, chosen, strict=True):
        masks = own_masks(net, own.fit) if cut else {}
        parts.append(mda.disassemble(net, masks, classes))
        held = mda.of_classes(own.held.floats(), own.held.labels, classes)
        scales.append(lego.scaling(parts[-1], *held))
    execution = "dense" if cut else "grouped"
    return (lego.assemble(parts, execution=execution),
            lego.assemble(parts, lego.common(scales), execution))


def students(networks: Sequence[nn.Module], new: nn.Module, images: Sequence[Images],
             chosen: Sequence[Sequence[int]], distill: Callable[..., nn.Module],
             teaching: Teaching, seed: int) -> dict[str, Any]:
    """Joined parts and students, each at its best learning rate, taught by the same teacher.

    The teacher is the uncut `networks` side by side, restricted to the `chosen` classes and
    scaled; `new` is the student that begins from nothing. `distill(student, x, targets, lr,
    epochs, seed)` teaches one. Gives `test` {arm: (B,)}, a `table` of costs and validation
    accuracies, and a `grid` of validation accuracies by learning rate.
    """
    both = together_all(images, chosen)
    restricted, teacher = side_by_side(networks, images, chosen, cut=False)
    _, joined = side_by_side(networks, images, chosen, cut=True)
    starts = {"joined parts": joined, "distilled student": new,
              "student from source A": mda.disassemble(networks[0], {},
                                                       range(len(both.fit.classes))),
              "joined shape from scratch": nets.fresh(joined, 1000 + seed)}
    x = both.fit.floats(next(new.parameters()).device)
    targets = wiring.logits(teacher, x).to(x.device)                           # (B, K)
    found = {"restricted sources": restricted, "restricted and scaled": teacher,
             "not fine-tuned": joined}
    grid = []
    for arm in ["joined parts", "distilled student", *teaching.beside]:
        tries = {lr: distill(copy.deepcopy(starts[arm]), x, targets, lr, teaching.epochs, seed)
                 for lr in teaching.lrs}
        right = {lr: percent(net, both.validation).mean().item() for lr, net in tries.items()}
        found[arm] = tries[max(right, key=right.__getitem__)]
        grid += [{"arm": arm, "lr": lr, "accuracy": a} for lr, a in right.items()]
    table = [{"arm": arm, **_row(net, both, "accuracy")} for arm, net in found.items()]
    return {"test": {arm: percent(net, both.test) for arm, net in found.items()},
            "table": pd.DataFrame(table), "grid": pd.DataFrame(grid)}


# ---- graphs ------------------------------------------------------------------------------------
def graph_parts(name: str, epochs: int, draws: int, seed: int, device: str) -> pd.DataFrame:
    """Accuracy on test nodes of a graph network's parts and their rivals: a row per set of fields.

    `draws` random choices of as many channels as the part's are averaged.
    """
    papers = graphs.load(name, seed)
    net = graphs.fit(papers, seed=seed, epochs=epochs, device=device).eval()
    taken = net.links @ papers.features.to(net.links.device)                   # Â X, once for all
    masks = mda.masks(mda.contributions(net, papers.features, papers.labels, nodes=papers.train),
                      mode="graph")
    wires, everything, rows = wiring.trace(net), range(len(papers.classes)), []

    @torch.no_grad()
    def right(net: Any, outputs: Sequence[int], names: Sequence[int], nodes: Tensor) -> float:
        answers = net.eval().mixed(taken)[:, list(outputs)].argmax(1).cpu()
        named = torch.tensor(list(names))[answers]
        return 100 * (named == papers.labels)[nodes].float().mean().item()

    for fields in FIELDS:
        nodes = papers.test[torch.isin(papers.labels[papers.test], torch.tensor(fields))]
        part: Any = mda.disassemble(net, masks, fields)
        own = range(len(fields))
        keep, _ = mda.kept(wires, masks, fields)
        picks = [selectors.pick(wires, selectors.random(net, 1000 * seed + draw), like=keep)
                 for draw in range(draws)]
        chance = [right(cutting.narrow(net, pick, wires), own, fields, nodes) for pick in picks]
        rows.append({"fields": ", ".join(map(str, fields)), "several": len(fields) > 1,
                     "hidden": part.one.out_features,
                     "source": right(net, everything, everything, nodes),
                     "part": right(part, own, fields, nodes),
                     "logit restriction": right(net, fields, fields, nodes),
                     "random channels": float(np.mean(chance))})
    return pd.DataFrame(rows)
