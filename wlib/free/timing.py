"""How fast is FREE, in steps, operations and seconds, to equal accuracy?

Rivals get longer and longer runs until the teachers are right about their images as often as about
FREE's (`steps_needed`). `equal_accuracy` does so for a pool, `regime` for another kind of teacher.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.flop_counter import FlopCounterMode

from wlib import store
from wlib.data.sets import ImageSet
from wlib.free import pipeline, rivals
from wlib.free.experiments import PIXELS, Recipe
from wlib.free.generator import MetaGenerator, fit_generator, judge, recover, stages, stored
from wlib.free.inversion import Recovery
from wlib.free.pipeline import Sizes
from wlib.free.teachers import Teachers, Training, trained

PUBLISHED, QUICK, PIXEL = ("fresh generator, as published", "fresh generator at its best rate",
                           "pixel inversion")


# ---- what the teachers say ----------------------------------------------------------------------
Make = Callable[..., ImageSet]      # `recover` or a rival: of teachers, settings, seed and device


def cross_entropy(teachers: Teachers, make: Make, *arguments: Any, **settings: Any) -> float:
    """Mean cross-entropy of teachers on the images that `make` recovers from them."""
    found = judge(teachers, make(teachers, *arguments, **settings))
    return float(found["cross-entropy"].mean())


def best_lr(lrs: Sequence[float], teachers: Teachers, make: Make, *arguments: Any,
            settings: Recovery, seed: int = 0, device: str = "auto") -> float:
    """The learning rate of `make` with the lowest cross-entropy; all are kept in the store."""
    found = {lr: store.cached(cross_entropy, teachers, make, *arguments, seed=seed, device=device,
                              settings=replace(settings, lr=lr)) for lr in lrs}
    return min(found, key=found.__getitem__)


def curve(teachers: Teachers, start: MetaGenerator | Sequence[MetaGenerator], settings: Recovery, *,
          seed: int = 0, device: str = "auto") -> pd.DataFrame:
    """`judge` after 0, 1, … steps from a generator, as many as the settings say, in the store.

    One row per teacher and step `k`.
    """
    return store.cached(_curve, teachers, start, settings, seed, device)


def _curve(teachers: Teachers, start: MetaGenerator | Sequence[MetaGenerator], settings: Recovery,
           seed: int, device: str) -> pd.DataFrame:
    made = stages(teachers, start, range(settings.steps + 1), settings, seed=seed, device=device)
    return pd.concat([judge(teachers, images).assign(k=k) for k, images in made.items()],
                     ignore_index=True)


# ---- steps to equal accuracy --------------------------------------------------------------------
def steps_needed(accuracy: Callable[[list[int]], np.ndarray], target: float, first: int,
                 longest: int) -> tuple[int, bool]:
    """Steps, at least one, until `accuracy(steps)` reaches the target, or `longest`; and whether.

    Runs begin with `first` steps and are doubled. One of more than 50 steps is looked at about 50
    times: an answer above 50 is that much too large at most.
    """
    until = min(first, longest)
    while True:
        at = list(range(1, until + 1, max(1, until // 50)))
        good = np.flatnonzero(accuracy(at) >= target)
        if len(good) or until >= longest:
            return (at[good[0]] if len(good) else longest), len(good) > 0
        until = min(2 * until, longest)


def steps_to(at: np.ndarray, values: np.ndarray, goal: float) -> tuple[float, bool]:
    """Steps at which a curve first reaches `goal`, or its last; and whether it does.

    Between two numbers of steps in `at` the curve is taken as straight over their logarithm.
    """
    high = np.flatnonzero(values >= goal)
    if not len(high):
        return float(at[-1]), False
    i = high[0]
    if i == 0:
        return float(at[0]), True
    share = (goal - values[i - 1]) / (values[i] - values[i - 1])
    return float(at[i - 1] * (at[i] / at[i - 1]) ** share), True


def fresh_until(teachers: Teachers, like: MetaGenerator, target: float, settings: Recovery, *,
                first: int, longest: int, seed: int = 0, device: str = "auto"
                ) -> tuple[int, bool]:
    """`steps_needed` of fresh generators."""
    begin = rivals.fresh_generators(teachers, like, seed)

    def accuracy(at: list[int]) -> np.ndarray:
        return _accuracies(teachers, stages(teachers, begin, at, settings, seed=seed,
                                            device=device))

    return steps_needed(accuracy, target, first, longest)


def pixels_until(teachers: Teachers, target: float, settings: Recovery, *, first: int, longest: int,
                 seed: int = 0, device: str = "auto") -> tuple[int, bool]:
    """`steps_needed` of pixels."""
    def accuracy(at: list[int]) -> np.ndarray:
        return _accuracies(teachers, rivals.pixel_stages(teachers, at, settings, seed=seed,
                                                         device=device))

    return steps_needed(accuracy, target, first, longest)


def _accuracies(teachers: Teachers, images: Mapping[int, ImageSet]) -> np.ndarray:
    """Mean accuracy of the teachers on their images after each number of steps."""
    return np.array([judge(teachers, some)["accuracy"].mean() for some in images.values()])


@dataclass(frozen=True)
class Race:
    """How rivals are given steps until they are as good as FREE.

    longest: steps that a generator gets at most; pixels get as many operations.
    published_lr: learning rate of a fresh generator as published.
    quick_lrs: of which a fresh generator in a hurry has the best.
    pixel_lrs: of which pixels have the best.
    operations: of a generator's step, in steps on pixels (see `flops`).
    """

    longest: int = 60
    published_lr: float = 1e-3
    quick_lrs: tuple[float, ...] = (0.01, 0.02, 0.04)
    pixel_lrs: tuple[float, ...] = (0.1, 0.3)
    operations: float = 1.0


def equal_accuracy(seen: Teachers, new: Teachers, ready: MetaGenerator, recipe: Recipe,
                   race: Race, *, seed: int = 0, device: str = "auto") -> pd.DataFrame:
    """One row per rival: the steps until teachers `new` accept its images as they accept FREE's.

    `ready` is the practiced generator. Learning rates are chosen on up to five teachers of `seen`.
    Columns: arm, seed, steps, reached, target (FREE's accuracy), lr.
    """
    like, settings = recipe.start(seen, seed), recipe.recovery
    own: dict[str, Any] = {"seed": seed, "device": device}
    on_pixels = replace(settings, objective=PIXELS, steps=round(race.operations * recipe.steps))
    lrs = {PUBLISHED: race.published_lr,
           QUICK: best_lr(race.quick_lrs, seen[:5], rivals.fresh, like, settings=settings, **own),
           PIXEL: best_lr(race.pixel_lrs, seen[:5], rivals.pixels, settings=on_pixels, **own)}
    target = _target(new, ready, settings, own)
    found = {arm: store.cached(fresh_until, new, like, target, replace(settings, lr=lrs[arm]),
                               first=first, longest=race.longest, **own)
             for arm, first in ((PUBLISHED, 100), (QUICK, 25))}
    found[PIXEL] = store.cached(pixels_until, new, target, replace(on_pixels, lr=lrs[PIXEL]),
                                first=50, longest=round(race.operations * race.longest), **own)
    return pd.DataFrame([{"arm": arm, "seed": seed, "steps": steps, "reached": reached,
                          "target": target, "lr": lrs[arm]}
                         for arm, (steps, reached) in found.items()])


def _target(teachers: Teachers, ready: MetaGenerator, settings: Recovery, own: dict[str, Any]
            ) -> float:
    images = stored(recover, teachers, ready, settings, **own)
    return judge(teachers, images)["accuracy"].mean()


def regime(domain: str, kind: tuple[str, int, int], recipe: Recipe, race: Race,
           training: Mapping[str, Any], *, seed: int = 0, images: int = 0,
           device: str = "auto") -> dict[str, Any]:
    """Steps to equal accuracy for one kind of teacher: its architecture, classes and pixels.

    `training` has `samples`, `count` (teachers, of whom the last is timed), `width` and `epochs`;
    `images` is the seed of the images. The meta-training is shared by 100 teachers.
    """
    name, ways, size = kind
    world = pipeline.universe([domain], Sizes(training["samples"], choosing=1, episodes=1),
                              size=size, seed=images)
    settings = recipe.recovery
    own: dict[str, Any] = {"seed": seed, "device": device}
    pool = trained(world.fit, Training(ways, (name,), training["width"],
                                       epochs=training["epochs"]), count=training["count"], **own)
    like, ready = recipe.start(pool, seed), recipe.practiced(pool, **own)
    target = _target(pool[-1:], ready, settings, own)
    quick = best_lr(race.quick_lrs, pool[:-1], rivals.fresh, like, settings=settings, **own)
    (slow, there), (fast, _) = (
        store.cached(fresh_until, pool[-1:], like, target, replace(settings, lr=lr), first=first,
                     longest=race.longest, **own)
        for lr, first in ((race.published_lr, 100), (quick, 25)))
    practice = recipe.epochs * recipe.per_epoch * recipe.steps / 100
    return {"teachers": f"{name}, {ways} classes, {size} px", "accuracy": target,
            "published": slow, "there": there, "quick": fast,
            "with": slow / (recipe.steps + practice), "without": slow / recipe.steps,
            "best": slow / fast}


# ---- operations and seconds ---------------------------------------------------------------------
def flops(make: Make, teacher: Teachers, *arguments: Any, settings: Recovery | None = None) -> int:
    """Floating-point operations of one step of `make` for one teacher, forward and backward."""
    counts = []
    for steps in (1, 2):
        alone = replace(settings or Recovery(), steps=steps, engine="loop")
        with FlopCounterMode(display=False) as counter:
            make(teacher, *arguments, settings=alone, device="cpu")
        counts.append(counter.get_total_flops())
    return counts[1] - counts[0]


def seconds_of(teachers: Teachers, recipe: Recipe, clock: str, *, device: str = "auto"
               ) -> dict[str, float]:
    """Seconds of a step for one teacher and of an epoch of meta-training, the least of three.

    `clock` names a function of `time`: "process_time" counts what the CPU does for this process.
    """
    two, start = teachers[:2], recipe.start(teachers, 0)
    settings = replace(recipe.recovery, steps=5)
    on_pixels = replace(settings, objective=PIXELS)
    works: dict[str, Callable[[], object]] = {
        "generator": lambda: recover(two, start, settings, device=device),
        "pixels": lambda: rivals.pixels(two, on_pixels, device=device),
        "epoch": lambda: fit_generator(teachers, start, recipe.training, epochs=1, device=device)}
    parts = {"generator": 10, "pixels": 10, "epoch": 1}
    taken: dict[str, list[float]] = {name: [] for name in works}
    for name in [*works] * 3:                        # in turn, so that a busy moment hits all
        taken[name].append(_seconds(works[name], clock) / parts[name])
    return {name: min(values) for name, values in taken.items()}


def seconds(make: Callable[..., Any], arguments: Sequence[Any], settings: Mapping[str, Any]
            ) -> float:
    """How long `make(*arguments, **settings)` takes; `store.cached` keeps such a number."""
    return _seconds(lambda: make(*arguments, **settings), "perf_counter")


def _seconds(work: Callable[[], object], clock: str) -> float:
    begun = getattr(time, clock)()
    work()
    return getattr(time, clock)() - begun
