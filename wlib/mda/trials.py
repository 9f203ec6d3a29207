"""Parts held against their rivals, measured: the experiments of notebook 21.

Each function takes one network, the images that speak for its classes (`spoken`) and those that
judge, and gives a table or tensors, which `store.cached` keeps. Accuracies are fractions.

Letters: B images, K classes, n wires.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from wlib import mda
from wlib.core import batchnorm
from wlib.core.pool import Pool
from wlib.data import ImageSet
from wlib.mda import cutting, selectors, wiring
from wlib.mda.sources import masks_of, surest

# What the paper's text and its code leave open, choice by choice.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {}, "official order": {"mode": "official"},
    "averaged features": {"features_first": True}, "at least (≥)": {"strict": False},
    "wrong images too": {"correct": False}, "norm folded": {"fold_norm": True},
    "all as in the code": {"mode": "official", "correct": False},
    "all as in the text": {"features_first": True, "strict": False}}


def four_sets(count: int) -> list[list[int]]:
    """Three classes, the next seven, the first half and the second half of `count` classes."""
    return [list(range(3)), list(range(3, min(10, count))), list(range(count // 2)),
            list(range(count // 2, count))]


def of(images: ImageSet, classes: Sequence[int]) -> ImageSet:
    """The images of some classes, with the labels that they have."""
    return images[torch.isin(images.labels, torch.tensor(classes))]


def right(net: nn.Module, images: ImageSet, classes: Sequence[int] | None = None) -> Tensor:
    """Which images (B,) a network with all outputs gets right, choosing among `classes`."""
    z = wiring.logits(net, images.floats(), at_once=250)                       # (B, K)
    if classes is not None:
        others = torch.ones(z.shape[1]).index_fill(0, torch.tensor(classes), 0).bool()
        z = z.masked_fill(others, -torch.inf)
    return z.argmax(1) == images.labels


def accuracy(net: nn.Module, images: ImageSet, classes: Sequence[int]) -> float:
    """The fraction right of the images of some classes, choosing among these."""
    return right(net, of(images, classes), classes).double().mean().item()


# ---- rivals of equal width ---------------------------------------------------------------------
def rivals(net: nn.Module, spoken: ImageSet, seed: int, draws: int = 1) -> dict[str, Tensor]:
    """Scores of all wires (n,) by other ways to choose; `spoken`: for the part's classes alone."""
    x, y = spoken.floats(), spoken.labels
    found = {f"random {d}": selectors.random(net, 1000 * seed + d) for d in range(draws)}
    return found | {"largest weights (L1)": selectors.l1(net),
                    "mean activation": selectors.mean_activation(net, x),
                    "Taylor": selectors.taylor(net, x, y, sorted(set(y.tolist())))}


def cuts(net: nn.Module, masks: mda.Masks, spoken: ImageSet, classes: Sequence[int], seed: int,
         draws: int) -> Iterator[tuple[str, nn.Module]]:
    """Every rival's (arm, network) for some classes, as wide as MDA's thresholds make it."""
    wires = wiring.trace(net)
    keep, _ = mda.kept(wires, masks, classes, head="full")
    yield "logit restriction", net
    yield "MDA", cutting.narrow(net, keep, wires)
    for arm, scores in rivals(net, of(spoken, classes), seed, draws).items():
        yield arm, cutting.narrow(net, selectors.pick(wires, scores, like=keep), wires)


def trial(net: nn.Module, spoken: ImageSet, images: ImageSet, draws: int,
          seed: int) -> dict[str, list[Tensor]]:
    """Which images of its classes each part gets right: {arm: a fraction per image, set by set}.

    The mean of `draws` random choices stands for random channels.
    """
    masks = masks_of(net, spoken)
    found: dict[str, list[Tensor]] = {"source": []}
    for number, classes in enumerate(four_sets(len(images.classes))):
        own = of(images, classes)
        found["source"].append(right(net, own))
        for arm, part in cuts(net, masks, spoken, classes, 10 * seed + number, draws):
            found.setdefault(arm, []).append(right(part, own, classes))
    drawn = [found.pop(arm) for arm in list(found) if arm.startswith("random ")]
    mean = [torch.stack(hits).double().mean(0) for hits in zip(*drawn, strict=True)]
    return {arm: [hits.double() for hits in sets] for arm, sets in found.items()} | {
        "random channels": mean}


# ---- what a cut breaks, and what it leaves -----------------------------------------------------
def recalibrated(net: nn.Module, spoken: ImageSet, fitted: ImageSet, images: ImageSet,
                 seed: int) -> pd.DataFrame:
    """Accuracy of parts as cut, and with BatchNorm's statistics measured anew on `fitted`."""
    masks, rows = masks_of(net, spoken), []
    for number, classes in enumerate(four_sets(len(images.classes))):
        theirs = of(fitted, classes)
        for arm, part in cuts(net, masks, spoken, classes, 10 * seed + number, 1):
            fresh = batchnorm.recalibrate(Pool.stack([part]), theirs, batches=4, batch=50)
            for name, made in (("as cut", part), ("measured anew", fresh.network(0))):
                rows.append({"arm": _arm(arm), "statistics": name,
                             "accuracy": accuracy(made, images, classes)})
    return pd.DataFrame(rows)


def sweep(net: nn.Module, spoken: ImageSet, images: ImageSet, fractions: Sequence[float],
          seed: int) -> pd.DataFrame:
    """Accuracy of parts over their cost, for every way to choose: one row per point."""
    wires, masks, rows = wiring.trace(net), masks_of(net, spoken), []
    shape = images.images[0].shape
    for number, classes in enumerate(four_sets(len(images.classes))):
        scores = {"MDA": mda.wire_scores(wires, masks, classes)} | rivals(
            net, of(spoken, classes), 10 * seed + number)
        keeps = {(arm, fraction): selectors.pick(wires, values, fraction=fraction)
                 for arm, values in scores.items() for fraction in fractions}
        keeps["thresholds", 0.0] = mda.kept(wires, masks, classes, head="full")[0]
        keeps["logit restriction", 1.0] = torch.ones(wires.wires, dtype=torch.bool)
        for (arm, fraction), keep in keeps.items():
            part = cutting.narrow(net, keep, wires)
            rows.append({"arm": _arm(arm), "set": number, "fraction": fraction,
                         "macs": cutting.cost(part, shape).macs,
                         "accuracy": accuracy(part, images, classes)})
    return pd.DataFrame(rows).assign(macs=lambda f: f["macs"] / cutting.cost(net, shape).macs)


def abroad(net: nn.Module, spoken: ImageSet, images: ImageSet, draws: int,
           seed: int) -> pd.DataFrame:
    """Accuracy of full-head parts of three and of seven classes on their own and on all others."""
    masks, rows = masks_of(net, spoken), []
    for number, (size, classes) in enumerate(zip(("three", "seven"),
                                                 four_sets(len(images.classes)), strict=False)):
        own = torch.isin(images.labels, torch.tensor(classes))
        for arm, part in cuts(net, masks, spoken, classes, 10 * seed + number, draws):
            hits, name = right(part, images).double(), _arm(arm)
            name = "source" if name == "logit restriction" else name
            rows += [{"part": size, "arm": name, "on": on, "accuracy": hits[some].mean().item()}
                     for on, some in (("own", own), ("other", ~own))]
    return pd.DataFrame(rows)


def depths(net: nn.Module, spoken: ImageSet, validation: ImageSet, test: ImageSet, draws: int,
           seed: int) -> pd.DataFrame:
    """Accuracy of parts on each split, mean over four sets, with the last n layers cut."""
    wires, masks, rows = wiring.trace(net), masks_of(net, spoken), []
    layers = [name for name, layer in reversed(wires.voting.items()) if layer.reads is not None]
    for number, classes in enumerate(four_sets(wires.classes)):
        scores = [selectors.random(net, 1000 * (10 * seed + number) + d) for d in range(draws)]
        for n in range(len(layers) + 1):
            last = {name: masks[name] for name in layers[:n]}
            keep, _ = mda.kept(wires, last, classes, head="full")
            choices = [("MDA", keep)] + [("random channels", selectors.pick(wires, s, like=keep))
                                         for s in scores]
            for arm, choice in choices:
                part = cutting.narrow(net, choice, wires)
                rows.append({"arm": arm, "layers": n} | {
                    split: accuracy(part, images, classes)
                    for split, images in (("validation", validation), ("test", test))})
    return pd.DataFrame(rows).groupby(["arm", "layers"], as_index=False).mean()


def singles(net: nn.Module, spoken: ImageSet, images: ImageSet, arms: Sequence[str], draws: int,
            seed: int) -> pd.DataFrame:
    """Parts of one class each, by some of the ways to choose ("source" keeps all): accuracy on
    their own images, and AUC against all others."""
    masks, rows = masks_of(net, spoken), []
    for c in range(len(images.classes)):
        mine = images.labels == c
        for arm, part in cuts(net, masks, spoken, [c], 100 * seed + c, draws):
            name = "source" if arm == "logit restriction" else _arm(arm)
            if name in arms:
                z = wiring.logits(part, images.floats(), at_once=250)[:, [c]]  # its one output
                rows.append({"arm": name, "AUC": roc_auc_score(mine, z[:, 0]),
                             "accuracy": (z[mine].argmax(1) == 0).double().mean().item()})
    return pd.DataFrame(rows)


def variants(net: nn.Module, fitted: ImageSet, images: ImageSet,
             per_class: int = 5) -> pd.DataFrame:
    """Parts by each reading of the method (`VARIANTS`): accuracy and weights kept in percent,
    means over four sets."""
    wires, shape, rows = wiring.trace(net), images.images[0].shape, []
    known: dict[tuple, dict[str, float]] = {}
    spoken = {correct: fitted[surest(net, fitted, per_class, correct)]
              for correct in (True, False)}
    for name, settings in VARIANTS.items():
        given = {key: value for key, value in settings.items() if key != "correct"}
        masks = masks_of(net, spoken[settings.get("correct", True)], **given)
        for classes in four_sets(len(images.classes)):
            keep, _ = mda.kept(wires, masks, classes, head="full")
            cut = str(classes), keep.numpy().tobytes()           # most readings choose alike
            if cut not in known:
                part = cutting.narrow(net, keep, wires)
                small, whole = (cutting.cost(n, shape).weights for n in (part, net))
                known[cut] = {"accuracy": 100 * accuracy(part, images, classes),
                              "weights": 100 * small / whole}
            rows.append({"variant": name} | known[cut])
    return pd.DataFrame(rows).groupby("variant", sort=False, as_index=False).mean()


def _arm(name: str) -> str:
    """An arm's name, one for all random draws."""
    return "random channels" if name.startswith("random ") else name


# ---- the explorer ------------------------------------------------------------------------------
def tour(net: nn.Module, spoken: ImageSet, images: ImageSet,
         positions: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """What the explorer shows for each set of classes: what stays, and what the part knows."""
    wires, masks, shown = wiring.trace(net), masks_of(net, spoken), []
    whole, y = wiring.logits(net, images.floats(), at_once=250), images.labels
    weights = sum(p.numel() for p in net.parameters())
    for classes in positions:
        chosen, own = torch.tensor(sorted(classes)), torch.isin(y, torch.tensor(classes))
        keep, _ = mda.kept(wires, masks, classes, head="full")
        z = wiring.logits(cutting.narrow(net, keep, wires), images.floats(), at_once=250)
        small = cutting.narrow(net, mda.kept(wires, masks, classes)[0], wires)
        hits = (z.argmax(1) == y).double()
        pruned, restricted = ((chosen[answers[own][:, chosen].argmax(1)] == y[own]).double()
                              .mean().item() for answers in (z, whole))
        shown.append({
            "classes": chosen.tolist(), "pruned": pruned, "restricted": restricted,
            "stays": {name: keep[layer.writes] for name, layer in wires.voting.items()
                    if name != wires.head},
            "weights": sum(p.numel() for p in small.parameters()) / weights,
            "every": [hits[y == c].mean().item() for c in range(len(images.classes))]})
    return shown
