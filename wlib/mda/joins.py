"""Joined parts held against whole sources, measured: the experiments of notebook 22.

`Sources` are named sources of several seeds; what is chosen of them is {source: classes}. An arm is
a way to answer for the chosen classes of all sources at once; `answers` has them all.

Letters: B images, K outputs, P features that a last layer reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from wlib import mda, store
from wlib.core import score, train
from wlib.core.pool import Pool
from wlib.data import ImageSet
from wlib.mda import cutting, lego, wiring
from wlib.mda.sources import Images, own_masks, together, together_all

KINDS = {"scaled": "class", "one scale a source": "source",
         "one temperature a source": "temperature", "z-score": "z-score"}
Chosen = Mapping[str, Sequence[int]]             # the classes that are chosen of each source


class Sources:
    """Named sources: their images, and a pool of networks of each, one per seed.

    `i` counts the seeds. What has been measured once is kept.
    """

    def __init__(self, images: Mapping[str, Images], pools: Mapping[str, Pool]):
        self.images, self.pools = dict(images), dict(pools)
        self._kept: dict[tuple, Any] = {}

    def networks(self, chosen: Chosen, i: int) -> list[nn.Module]:
        """The whole networks of seed number i."""
        return [self.pools[name].network(i) for name in chosen]

    def parts(self, chosen: Chosen, i: int) -> list[nn.Module]:
        """The parts of seed number i, by the five images of each class that each is surest of."""
        return [self._part(name, i, classes) for name, classes in chosen.items()]

    def _part(self, name: str, i: int, classes: Sequence[int]) -> nn.Module:
        net = self.pools[name].network(i)
        masks = self._once((name, i), own_masks, net, self.images[name].fit)
        return self._once((name, i, tuple(classes)), mda.disassemble, net, masks, classes)

    def _once(self, key: tuple, make: Callable, *args: Any) -> Any:
        if key not in self._kept:
            self._kept[key] = make(*args)
        return self._kept[key]

    def together(self, chosen: Chosen) -> Images:
        """The images of the chosen classes, labeled as the outputs of the joined network."""
        return together_all([self.images[name] for name in chosen], list(chosen.values()))

    def answers(self, chosen: Chosen, i: int, split: str) -> dict[str, Tensor]:
        """`answers` of seed number i to a split of the images, through the store."""
        key = str(dict(chosen)), i, split
        if key not in self._kept:
            images = [self.images[name] for name in chosen]
            self._kept[key] = store.cached(
                answers, self.networks(chosen, i), self.parts(chosen, i), list(chosen.values()),
                [own.held for own in images], [getattr(own, split) for own in images])
        return self._kept[key]

    def scales(self, chosen: Chosen, parts: Sequence[nn.Module]) -> list[lego.Scale]:
        """One scale per class of every part, fitted to the held-out images."""
        return fitted(parts, [together([self.images[name].held], [classes])
                              for name, classes in chosen.items()])

    def starts(self, chosen: Chosen, i: int) -> dict[str, nn.Module | Pool]:
        """What is fine-tuned: {arm: pool of one}, and for "scratch" the shape that starts anew."""
        parts = self.parts(chosen, i)
        scales, build = self.scales(chosen, parts), partial(lego.assemble, parts)
        dense = partial(build, execution="dense")
        nets = {"dense": dense(lego.common(scales)), "winning logits at 1": dense(scales),
                "not scaled": dense(), "zeros held": build(lego.common(scales))}
        return {arm: Pool.stack([net]) for arm, net in nets.items()} | {"scratch": dense()}


# ---- the arms ----------------------------------------------------------------------------------
def answers(nets: Sequence[nn.Module], parts: Sequence[nn.Module],
            chosen: Sequence[Sequence[int]], held: Sequence[ImageSet],
            judged: Sequence[ImageSet]) -> dict[str, Tensor]:
    """What each arm answers to the judged images of the chosen classes: {arm: (B,)}.

    With the `truth` (B,); the `size` of every part's winning logits, the mean over its classes; and
    how many classes of each part had no usable size (`clamped`). An answer of −1 is a class that
    was not chosen. `held` fits scales and the router; `judged` fits one arm that says so.
    """
    held, own = ([together([images], [classes])
                  for images, classes in zip(sets, chosen, strict=True)] for sets in (held, judged))
    images = together(judged, chosen)
    counts = torch.tensor([len(images) for images in own])
    source = torch.arange(len(nets)).repeat_interleave(counts)
    x, truth = images.floats(), images.labels
    return ({"truth": truth} | _of_parts(parts, x, source, held, own)
            | _of_sources(nets, chosen, x, source, held, truth))


def _of_parts(parts: Sequence[nn.Module], x: Tensor, source: Tensor, held: Sequence[ImageSet],
              judged: Sequence[ImageSet]) -> dict[str, Tensor]:
    """Answers of joined parts, and of the parts apart, each asked for the images of its source."""
    z = [wiring.logits(part, x) for part in parts]
    scales = {arm: fitted(parts, held, kind) for arm, kind in KINDS.items()}
    return {arm: largest(z, own) for arm, own in scales.items()} | {
        "padded": largest(z), "parts apart": largest_of(z, source),
        "fitted on the judged images": largest(z, fitted(parts, judged)),
        "size": torch.stack([1 / scale.factor[0] for scale in scales["one scale a source"]]),
        "clamped": torch.tensor([len(scale.clamped) for scale in scales["scaled"]])}


def _of_sources(nets: Sequence[nn.Module], chosen: Sequence[Sequence[int]], x: Tensor,
                source: Tensor, held: Sequence[ImageSet], truth: Tensor) -> dict[str, Tensor]:
    """Answers of the whole sources, and of base, which shows each image to its own source."""
    z, features = zip(*(read(net, x) for net in nets), strict=True)
    outputs = [logits[:, classes] for logits, classes in zip(z, chosen, strict=True)]
    likely = [logits.softmax(1)[:, classes] for logits, classes in zip(z, chosen, strict=True)]
    restricted = [mda.disassemble(net, {}, classes)
                  for net, classes in zip(nets, chosen, strict=True)]
    route = torch.from_numpy(router(nets, held).predict(torch.cat(features, 1).numpy()))  # (B,)
    named = torch.stack([logits.argmax(1) for logits in z])[source, torch.arange(len(x))]
    return {"restricted sources": largest(outputs),
            "restricted and scaled": largest(outputs, fitted(restricted, held)),
            "softmax then restricted": largest(likely), "source router": largest_of(outputs, route),
            "base": torch.where(named == torch.tensor([*chain(*chosen)])[truth], truth, -1)}


def largest(logits: Sequence[Tensor], scales: Sequence[lego.Scale] | None = None) -> Tensor:
    """The largest output (B,) over several networks' logits side by side, scaled if there are
    scales."""
    if scales is not None:
        logits = [z * s.factor + s.shift for z, s in zip(logits, scales, strict=True)]
    return torch.cat(list(logits), 1).argmax(1)


def largest_of(logits: Sequence[Tensor], source: Tensor) -> Tensor:
    """The largest output (B,) of one network for each image, that of number `source` (B,)."""
    owner = torch.cat([torch.full(z.shape[1:], n) for n, z in enumerate(logits)])
    return torch.cat(list(logits), 1).masked_fill(owner != source[:, None], -torch.inf).argmax(1)


def fitted(nets: Sequence[nn.Module], sets: Sequence[ImageSet],
           kind: str = "class") -> list[lego.Scale]:
    """The scale of every network, from images of its own classes."""
    return [lego.scaling(net, images.floats(), images.labels, kind)
            for net, images in zip(nets, sets, strict=True)]


def read(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of a network (B,K), and the features that its last layer reads (B,P)."""
    head, seen = wiring.trace(net).head, []

    def watch(name: str, layer: nn.Module, a: Tensor) -> None:
        if name == head:
            seen.append(a.flatten(1).cpu())

    return wiring.logits(net, x, watch), torch.cat(seen)


def features(nets: Sequence[nn.Module], x: Tensor) -> np.ndarray:
    """What the last layers of several networks read, side by side: (B, P₁ + P₂ + …)."""
    return torch.cat([read(net, x)[1] for net in nets], 1).numpy()


def router(nets: Sequence[nn.Module], held: Sequence[ImageSet]) -> GridSearchCV:
    """A logistic regression on all features that says which source to ask, fitted to held-out
    images."""
    source = np.repeat(range(len(held)), [len(images) for images in held])
    learner = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(learner, {"logisticregression__C": [0.01, 0.1, 1]}, cv=3)
    return search.fit(features(nets, torch.cat([images.floats() for images in held])), source)


# ---- what an answer is worth -------------------------------------------------------------------
def points(found: Mapping[str, Tensor], arm: str) -> Tensor:
    """100 where an arm is right, weighted so that all classes count the same: (B,)."""
    counts = found["truth"].bincount()
    weight = len(found["truth"]) / (counts * len(counts))
    return 100 * (found[arm] == found["truth"]) * weight[found["truth"]]


def factor(found: Mapping[str, Tensor]) -> float:
    """How many times larger the winning logits of one source are than those of another."""
    return (found["size"].max() / found["size"].min()).item()


def confusion(runs: Sequence[Mapping[str, Tensor]], arm: str, names: Sequence[str]) -> pd.DataFrame:
    """Percent of the images of each class (rows) that get each answer (columns), of all runs."""
    pairs = torch.cat([found["truth"] * len(names) + found[arm] for found in runs])
    counts = pairs.bincount(minlength=len(names) ** 2).view(len(names), -1).double()
    percent = 100 * counts / counts.sum(1, keepdim=True)
    return pd.DataFrame(percent.numpy(), list(names), list(names))


def foreign(cells: pd.DataFrame, rows: Sequence[int], first: int) -> float:
    """Percent of the images of some classes of a confusion that get a class of the other source;
    the first `first` classes are those of one source."""
    side = np.arange(len(cells)) >= first
    return np.mean([cells.to_numpy()[row, side != side[row]].sum() for row in rows]).item()


def frequent_errors(cells: pd.DataFrame, most: int) -> pd.DataFrame:
    """The largest cells of a confusion off its diagonal: `image`, `answer` and `percent`."""
    errors = cells.to_numpy() * (1 - np.eye(len(cells)))
    rows, columns = np.unravel_index(np.argsort(-errors, axis=None)[:most], errors.shape)
    return pd.DataFrame({"image": cells.index[rows], "answer": cells.columns[columns],
                         "percent": errors[rows, columns]})


# ---- padding -----------------------------------------------------------------------------------
def differences(parts: Sequence[nn.Module], images: ImageSet) -> dict[str, float]:
    """Largest difference of a joined network's logits to those of its parts, {how: logits}."""
    x = images.floats()
    own = torch.cat([wiring.logits(part, x) for part in parts], 1)
    built = {"padded": lego.assemble(parts, execution="dense"),
             "parts side by side": lego.assemble(parts, execution="grouped"),
             "wrong block order": lego.assemble(parts[::-1], execution="dense")}
    return {how: (wiring.logits(net, x) - own).abs().max().item() for how, net in built.items()}


def blocks(net: nn.Module) -> tuple[dict[str, Tensor], float]:
    """Sizes (Q,P) of the first, a middle and the last layer's weights, summed over kernels; and the
    fraction of exact zeros among the weights behind the first layer."""
    weights = {name: net.get_parameter(f"{name}.weight").detach().abs().cpu()
               for name, layer in wiring.trace(net).layers.items() if layer.kind in ("conv", "fc")}
    names = list(weights)
    behind = torch.cat([weights[name].flatten() for name in names[1:]])
    return ({name: weights[name].flatten(2).sum(2) if weights[name].ndim > 2 else weights[name]
             for name in (names[0], names[len(names) // 2], names[-1])},
            (behind == 0).double().mean().item())


def operations(parts: Sequence[nn.Module], shape: tuple[int, ...], execution: str) -> int:
    """Multiply-accumulates of the joined network for one image."""
    return cutting.cost(lego.assemble(parts, execution=execution), shape).macs


# ---- fine-tuning -------------------------------------------------------------------------------
def fine_tuned(starts: Sequence[Mapping[str, nn.Module | Pool]], images: Images, *,
               seeds: Sequence[int], lrs: Sequence[float], epochs: int,
               device: str = "auto") -> list[dict[str, Pool]]:
    """Every arm's networks after training, {arm: pool of one} per seed.

    The first seed's validation images choose the learning rate of each arm.
    """
    among: dict[str, Sequence[float]] = {}
    runs: list[dict[str, Pool]] = []
    for start, seed in zip(starts, seeds, strict=True):
        runs.append({})
        for arm, begin in start.items():
            tries = {lr: train.stored_fit(begin, images.fit, seeds=[seed], epochs=epochs,
                                          batch=32, lr=lr, device=device)
                     for lr in among.get(arm, lrs)}
            right = {lr: score.accuracy(pool, images.validation).item()
                     for lr, pool in tries.items()}
            best = max(right, key=right.__getitem__)
            among[arm], runs[-1][arm] = [best], tries[best]
    return runs


def probe(parts: Sequence[nn.Module], images: Images,
          strengths: Sequence[float]) -> dict[str, Tensor]:
    """Answers {split: (B,)} of a logistic regression on the parts' features; the validation images
    choose among `strengths` (C of scikit-learn)."""
    x, y, z = (features(parts, split.floats())
               for split in (images.fit, images.validation, images.test))
    fits = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
            .fit(x, images.fit.labels) for c in strengths]
    best = max(fits, key=lambda fit: fit.score(y, images.validation.labels))
    return {"validation": torch.from_numpy(best.predict(y)),
            "test": torch.from_numpy(best.predict(z))}


def points_after(tuned: Pool | Mapping[str, Tensor], images: Images, split: str) -> Tensor:
    """`points` (B,) of a pool of one, or of a linear probe, on a split of the images."""
    own = getattr(images, split)
    named = score.predictions(tuned, own)[0].cpu() if isinstance(tuned, Pool) else tuned[split]
    return points({"truth": own.labels, "named": named}, "named")


def energy_of_zeros(start: Pool, tuned: Pool) -> float:
    """The fraction of a network's squared weights that lies where it began with zeros."""
    before, after = start.flat()[0], tuned.flat()[0]
    return (after[before == 0].square().sum() / after.square().sum()).item()
