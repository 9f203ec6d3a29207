"""Sampled weights as a start for fine-tuning, beside starts that cost less.

    cases = [zoos(s, Setting())["shared"].learned(11) for s in range(3)]
    lr_of = chosen_lrs(cases, 1, steps, lrs)
    points = curves(cases[0], lr_of, 10, steps)["sampled"]             # (10, S)

Letters: n data sets of the zoo, m others, K classes, d features, D weights, S numbers of steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
from torch import Tensor

from wlib import store
from wlib.check import require
from wlib.core import matching
from wlib.core.pool import Pool
from wlib.d2nwg import pipeline, rivals, zoo
from wlib.d2nwg.training import Training
from wlib.data import ImageSet
from wlib.data.universes import Counts, DataSet

NAMES = ("sampled", "nearest network", "pretrained on the zoo", "mean of the zoo", "random start")
MOVED = ("sampled", "mean of the zoo")          # what the order of a zoo's hidden units changes
ORACLE = "codec reconstruction of the oracle"
SHOTS = 5                                       # images of each class in a condition


# ---- a zoo, and a generator that learns from it -------------------------------------------------
@dataclass(frozen=True)
class Setting:
    """Data sets that differ in style, a zoo of them and a generator that learns from it."""

    sets: int = 12                              # data sets in the zoo
    unseen: int = 15                            # data sets never seen
    choosing: int = 4                           # data sets that choose settings
    counts: Sequence[int] = (30, 10, 10, 20)    # train, support, validation, test images per class
    zoo_steps: int = 80                         # training steps of a network
    denoising: int = 500                        # training steps of the denoiser
    width: int = 128                            # of the denoiser
    components: int = 16                        # numbers of a condition


@dataclass(frozen=True, eq=False)
class Case:
    """A zoo of one seed, data sets by part ("train", "validation", "unseen"), and a generator."""

    seed: int
    setting: Setting
    sets: Mapping[str, list[DataSet]]
    features: Mapping[str, Tensor]              # by part: (m, K, 10, d)
    members: zoo.Zoo
    device: str = "auto"
    generator: pipeline.Generator | None = None

    def learned(self, size: int, *, width: int | None = None, steps: int | None = None) -> Case:
        """With a generator of the zoo whose codec keeps `size` numbers; kept in the store."""
        known, setting = self.members.weights, self.setting
        design = pipeline.Design(min(size, len(known) - 1), components=setting.components)
        training = Training(steps or setting.denoising, shots=SHOTS, width=width or setting.width)
        return replace(self, generator=pipeline.learn(known, self.features["train"], design,
                                                      training, seed=self.seed,
                                                      device=self.device))

    def first(self, count: int) -> Case:
        """With a zoo of the first `count` networks, and no generator yet."""
        return replace(self, members=self.members[:count], generator=None,
                       sets={**self.sets, "train": self.sets["train"][:count]},
                       features={**self.features, "train": self.features["train"][:count]})

    def showing(self, part: str, sets: Sequence[DataSet]) -> Case:
        """With other data sets as a part of its own."""
        support = pipeline.support(sets, 10, device=self.device)
        return replace(self, sets={**self.sets, part: list(sets)},
                       features={**self.features, part: support})

    def sample(self, part: str, n: int, count: int | None = None) -> Tensor:
        """Networks (m, n, D) for the first data sets of a part, from five images per class."""
        return self._made().sample(self.features[part][:count, :, :SHOTS], n, seed=self.seed,
                                   device=self.device)

    def conditions(self, part: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """What the generator makes of the same images (m, q), and of the zoo's, with all ten."""
        encode = self._made().condition
        return encode(self.features[part][:count, :, :SHOTS]), encode(self.features["train"])

    def through_codec(self, weights: Tensor) -> Tensor:
        """What the codec leaves of weights (…, D)."""
        return self._made().reconstruct(weights)

    def points(self, weights: Tensor, part: str, images: str = "test") -> Tensor:
        """Accuracy in points (m, n) of networks (m, n, D) for the first data sets of a part."""
        return pipeline.points(weights, self.sets[part][:len(weights)], like=self.members.pool,
                               part=images)

    def _made(self) -> pipeline.Generator:
        require(self.generator is not None, "case", "a case without a generator",
                "one that has learned: case.learned(size)")
        return cast(pipeline.Generator, self.generator)


def zoos(seed: int, setting: Setting, device: str = "auto") -> dict[str, Case]:
    """Zoos on the same data sets by their start, as in `zoo.by_start`."""
    sets = pipeline.of_styles(setting.sets, setting.unseen, setting.choosing,
                              counts=Counts(*setting.counts), seed=seed)._asdict()
    features = {part: pipeline.support(some, 10, device=device) for part, some in sets.items()}
    made = zoo.by_start(sets["train"], steps=setting.zoo_steps, seed=seed, device=device)
    return {start: Case(seed, setting, sets, features, members, device)
            for start, members in made.items()}


def oracles(case: Case, count: int | None = None) -> Tensor:
    """Networks (m, D) trained like the zoo's on the first unseen data sets: none can be a copy.

    For an aligned zoo, in its order of hidden units.
    """
    start = "shared" if case.members.start == "shared" else "independent"
    pool = zoo.trained(case.sets["unseen"][:count], start=start, steps=case.setting.zoo_steps,
                       seed=case.seed, device=case.device).pool
    if case.members.start == "aligned":
        pool = matching.aligned(pool, case.members.pool[:1])
    return pool.flat()


# ---- starts and their courses -------------------------------------------------------------------
def starts_of(case: Case, part: str, count: int | None = None) -> dict[str, Tensor]:
    """A network (m, D) from each of `NAMES` for the first data sets of a part."""
    known, (c, memory) = case.members.weights, case.conditions(part, count)
    whole = zoo.pretrained(case.sets["train"], steps=10 * case.setting.zoo_steps, seed=case.seed,
                           device=case.device).flat()
    fresh = zoo.shared_start(seed=case.seed).flat().expand(len(c), -1) \
        if case.members.start == "shared" \
        else rivals.RandomStart(zoo.tiny_cnn())(c, 1, case.seed)[:, 0]
    return {"sampled": case.sample(part, 1, count)[:, 0],
            "nearest network": rivals.Retrieval().fit(memory, known)(c)[:, 0],
            "pretrained on the zoo": whole.expand(len(c), -1),
            "mean of the zoo": known.mean(0).expand(len(c), -1), "random start": fresh}


def course(case: Case, weights: Tensor, part: str, steps: Sequence[int], lr: float,
           images: str = "test") -> Tensor:
    """Points (m, S) on the way, as m starts (m, D) are fine-tuned, each on a data set of its own.

    The batches depend on the seed alone, so that all starts see the same. Kept in the store.
    """
    own = case.sets[part][:len(weights)]
    return store.cached(_tuned, weights, zoo.shared_start(seed=case.seed), [d.train for d in own],
                        [getattr(d, images) for d in own], list(steps), lr,
                        (case.seed, case.device))


def _tuned(weights: Tensor, like: Pool, train: list[ImageSet], judge: list[ImageSet],
           steps: Sequence[int], lr: float, order: tuple[int, str]) -> Tensor:
    return 100 * zoo.curves(like.with_flat(weights), train, judge, steps=steps, lr=lr,
                            seed=order[0], device=order[1])


def chosen_lrs(cases: Sequence[Case], count: int, steps: Sequence[int], lrs: Sequence[float],
                 names: Sequence[str] = NAMES) -> dict[str, float]:
    """Each start's learning rate: the one with the largest area on validation images.

    Mean over the first `count` validation data sets of all cases.
    """
    begin = [starts_of(case, "validation", count) for case in cases]

    def area(name: str, lr: float) -> float:
        return float(np.mean([zoo.area(steps, course(
            case, weights[name], "validation", steps, lr, "validation")).mean()
            for case, weights in zip(cases, begin, strict=True)]))

    return {name: max(lrs, key=partial(area, name)) for name in names}


def curves(case: Case, lr_of: Mapping[str, float], count: int, steps: Sequence[int]
           ) -> dict[str, Tensor]:
    """Points (m, S) on the first unseen data sets from each start in `lr_of`, by name."""
    begin = starts_of(case, "unseen", count)
    if ORACLE in lr_of:
        begin[ORACLE] = case.through_codec(oracles(case, count))
    return {name: course(case, begin[name], "unseen", steps, lr) for name, lr in lr_of.items()}
