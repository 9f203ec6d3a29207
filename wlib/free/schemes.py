"""Schemes from a pool of networks to a learner, and one search that tunes them alike.

FREE makes images with a generator that has practiced on the whole pool; methods before it take a
fresh generator for each network, or move pixels. Whatever the scheme, its learner walks and replays
(`pipeline.meta_learn`). A comparison is fair only where each scheme is at its best, so `tuned` puts
the same search, on the same pools and episodes of validation classes, before all three.

    found = tuned(Scheme("FREE"), pools, world.validation)
    images = recovered(found.best, teachers, seed)
    student = learned(found.best, start, teachers, images, seed)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from wlib.check import require, require_one_of, whole
from wlib.core.pool import Pool
from wlib.core.tuning import Searched, search
from wlib.data.sets import ImageSet
from wlib.free import experiments, pipeline, rivals
from wlib.free.experiments import Recipe
from wlib.free.generator import stored
from wlib.free.inversion import Objective, Recovery
from wlib.free.pipeline import MetaLearning, Tasks
from wlib.free.teachers import Teachers

MAKERS = ("FREE", "fresh generator", "pixel inversion")
PRACTICED = 5               # steps of a recovery in FREE's meta-training, as in the paper
# Where each search begins; `core.tuning` widens what turns out too narrow. The rate that images are
# made at has another scale for pixels, and as many values.
GRIDS: Mapping[str, Sequence[float]] = {
    "replay_lr": (3e-3, 1e-2, 3e-2), "statistics": (0.03, 0.1, 0.3), "lr": (1e-2, 2e-2, 4e-2),
    "walk_lr": (1e-2, 3e-2, 1e-1), "per_class": (8, 12, 18), "ngf": (4, 8, 16),
    "epochs": (30, 60, 120)}
PIXEL_LR = (0.1, 0.2, 0.4)
IDLE = {"FREE": (), "fresh generator": ("epochs",), "pixel inversion": ("epochs", "ngf")}


@dataclass(frozen=True)
class Scheme:
    """From a pool to a learner.

    maker: what makes the images, one of `MAKERS`, in
    steps: of a recovery, at
    lr: as learning rate, in FREE's practice too.
    statistics: weight of the loss on the statistics of BatchNorm, and
    variation: of that on neighboring pixels.
    per_class: recovered images of each class of a network.
    epochs: of FREE's practice.
    nz, ngf: size of a generator.
    replay_lr: learning rate of replay, in
    turns: of a walk and
    per_turn: steps of replay, the walk at
    walk_lr: as learning rate.
    """

    maker: str = "FREE"
    steps: int = 20
    lr: float = 1e-2
    statistics: float = 0.1
    variation: float = 0.0
    per_class: int = 12
    epochs: int = 60
    nz: int = 64
    ngf: int = 8
    replay_lr: float = 1e-2
    turns: int = 10
    per_turn: int = 15
    walk_lr: float = 2e-2

    def __post_init__(self) -> None:
        require_one_of("maker", self.maker, MAKERS)
        for name in ("steps", "per_class", "epochs", "turns", "per_turn"):
            require(whole(getattr(self, name)), name, getattr(self, name), "a whole number ≥ 1")

    @property
    def recovery(self) -> Recovery:
        """How images are made once a generator has practiced, or without practice."""
        wanted = Objective(statistics=self.statistics, variation=self.variation)
        return Recovery(self.steps, self.lr, per_class=self.per_class, objective=wanted)

    @property
    def recipe(self) -> Recipe:
        """FREE's practice."""
        return Recipe(self.nz, self.ngf, self.epochs, steps=PRACTICED, lr=self.lr,
                      per_class=self.per_class, objective=self.recovery.objective)

    @property
    def learning(self) -> MetaLearning:
        """How the learner learns."""
        return MetaLearning(turns=self.turns, steps=self.per_turn, walk_lr=self.walk_lr,
                            lr=self.replay_lr)

    def practice_for(self, teachers: int) -> float:
        """Steps of practice that each of so many networks has to pay for."""
        return self.epochs * self.recipe.per_epoch * PRACTICED / teachers \
            if self.maker == "FREE" else 0.0


# What the search of notebook 34 found at profile study, on two pools of 20 networks. For pixels,
# whose images cost the most, it asked only for the rate of replay. Images a class are equal by
# rule, and rivals have FREE's time: its 20 steps and a twentieth of its practice.
TUNED: Mapping[str, Scheme] = {
    "FREE": Scheme("FREE", statistics=0.3, lr=0.01, replay_lr=0.03, walk_lr=0.1),
    "fresh generator": Scheme("fresh generator", 50, statistics=0.1, lr=0.01, replay_lr=0.003,
                              walk_lr=0.01),
    "pixel inversion": Scheme("pixel inversion", 207, statistics=0.1, variation=0.5, lr=0.2,
                              replay_lr=0.003)}


def recovered(scheme: Scheme, teachers: Teachers, seed: int, *, device: str = "auto") -> ImageSet:
    """The images that a scheme makes of all networks of a pool, kept in the store."""
    if scheme.maker == "FREE":
        return experiments.recovered(teachers, scheme.recipe, seed, recovery=scheme.recovery,
                                     device=device)
    if scheme.maker == "pixel inversion":
        return stored(rivals.pixels, teachers, scheme.recovery, seed=seed, device=device)
    like = scheme.recipe.start(teachers, seed)
    return stored(rivals.fresh, teachers, like, scheme.recovery, seed=seed, device=device)


def learned(scheme: Scheme, start: Pool, teachers: Teachers, images: ImageSet, seed: int, *,
            device: str = "auto") -> Pool:
    """The learner that a scheme ends in, kept in the store."""
    return experiments.learned(start, teachers, images, scheme.learning, seed=seed, device=device)


def points(scheme: Scheme, pools: Mapping[int, Teachers], tasks: Tasks, *, width: int = 16,
           device: str = "auto") -> list[float]:
    """Accuracy of the scheme's learner of each pool on `tasks`, in points; `pools` are by seed."""
    found = []
    for seed, teachers in pools.items():
        images = recovered(scheme, teachers, seed, device=device)
        start = pipeline.start_of(teachers, seed, width=width)
        student = learned(scheme, start, teachers, images, seed, device=device)
        found.append(experiments.accuracy(student, tasks, device=device).mean().item())
    return found


def tuned(scheme: Scheme, pools: Mapping[int, Teachers], tasks: Tasks, *,
          settings: Sequence[str] = tuple(GRIDS), rounds: int = 2, most: int = 8, width: int = 16,
          device: str = "auto") -> Searched[Scheme]:
    """The best settings of a scheme, on pools that nothing is measured on and validation tasks.

    Of `settings`, names of `GRIDS`, those are tuned that the maker uses.
    """
    for name in settings:
        require_one_of("settings", name, GRIDS)
    grids = {name: GRIDS[name] for name in settings if name not in IDLE[scheme.maker]}
    if scheme.maker == "pixel inversion" and "lr" in grids:
        grids["lr"] = PIXEL_LR

    def score(some: Scheme) -> float:
        return fmean(points(some, pools, tasks, width=width, device=device))

    least = scheme.learning.shots + scheme.learning.queries      # images of a class in an episode
    return search(score, scheme, grids, rounds=rounds, most=most,
                  limits={"per_class": (least, math.inf)})


def equal_time(scheme: Scheme, free: Scheme, teachers: int, ratio: float = 1.0) -> Scheme:
    """A rival with as many steps as FREE takes for each network of a pool, practice included.

    `ratio`: operations of a generator's step, in steps of the rival's own.
    """
    return replace(scheme, steps=round(ratio * (free.steps + free.practice_for(teachers))))
