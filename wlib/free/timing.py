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
from wlib.data import ImageSet
from wlib.free import pipeline, rivals
from wlib.free.experiments import PIXELS, Recipe
from wlib.free.generator import (
    MetaGenerator,
    fit_generator,
    judge,
    recover,
    stages,
    stored,
)
from wlib.free.teachers import Teachers, trained

PUBLISHED, QUICK, PIXEL = ("fresh generator, as published", "fresh generator at its best rate",
                           "pixel inversion")


# ---- what the teachers say ----------------------------------------------------------------------
def cross_entropy(teachers: Teachers, make: Callable[..., ImageSet], *arguments, **settings
                  ) -> float:
    """Mean cross-entropy of teachers on the images that `make` recovers from them."""
    found = judge(teachers, make(teachers, *arguments, **settings))
    return float(found["cross-entropy"].mean())


def best_rate(rates: Sequence[float], teachers: Teachers, make: Callable[..., ImageSet],
              *arguments, **settings) -> float:
    """The learning rate of `make` with the lowest cross-entropy; all are kept in the store."""
    found = {rate: store.cached(cross_entropy, teachers, make, *arguments, rate=rate, **settings)
             for rate in rates}
    return min(found, key=found.get)


def curve(teachers: Teachers, start: MetaGenerator | Sequence[MetaGenerator], *, longest: int,
          **settings) -> pd.DataFrame:
    """`judge` after 0, 1, … `longest` steps from a generator: a row per teacher and step `k`.
    `settings` are those of `stages`; kept in the store."""
    return store.cached(_curve, teachers, start, longest, settings)


def _curve(teachers, start, longest, settings):
    made = stages(teachers, start, range(longest + 1), **settings)
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


def fresh_until(teachers: Teachers, like: MetaGenerator, target: float, *, first: int,
                longest: int, **settings) -> tuple[int, bool]:
    """`steps_needed` of fresh generators; `settings` are those of `stages`, seed among them."""
    begin = rivals.fresh_generators(teachers, like, settings["seed"])
    return steps_needed(lambda at: _accuracies(teachers, stages(teachers, begin, at, **settings)),
                        target, first, longest)


def pixels_until(teachers: Teachers, target: float, *, first: int, longest: int, **settings
                 ) -> tuple[int, bool]:
    """`steps_needed` of pixels; `settings` are those of `rivals.pixel_stages`."""
    return steps_needed(
        lambda at: _accuracies(teachers, rivals.pixel_stages(teachers, at, **settings)),
        target, first, longest)


def _accuracies(teachers: Teachers, images: Mapping[int, ImageSet]) -> np.ndarray:
    """Mean accuracy of the teachers on their images after each number of steps."""
    return np.array([judge(teachers, some)["accuracy"].mean() for some in images.values()])


@dataclass(frozen=True)
class Race:
    """How rivals are given steps until they are as good as FREE.

    longest: steps that a generator gets at most; pixels get as many operations.
    published_rate: learning rate of a fresh generator as published.
    quick_rates: of which a fresh generator in a hurry has the best.
    pixel_rates: of which pixels have the best.
    operations: of a generator's step, in steps on pixels (see `flops`).
    """

    longest: int = 60
    published_rate: float = 1e-3
    quick_rates: tuple[float, ...] = (0.01, 0.02, 0.04)
    pixel_rates: tuple[float, ...] = (0.1, 0.3)
    operations: float = 1.0


def equal_accuracy(seen: Teachers, new: Teachers, ready: MetaGenerator, recipe: Recipe,
                   race: Race, *, seed: int = 0, device: str = "auto") -> pd.DataFrame:
    """A row per rival: the steps until teachers `new` accept its images as they accept FREE's.

    `ready` is the practiced generator. Rates are chosen on up to five teachers of `seen`.
    Columns: arm, seed, steps, reached, target (FREE's accuracy), rate.
    """
    like, own = recipe.start(seen, seed), {"seed": seed, "device": device}
    common = own | {"per_class": recipe.per_class}
    target = _target(new, ready, recipe, own)
    quick = best_rate(race.quick_rates, seen[:5], rivals.fresh, like, steps=recipe.steps, **common)
    pixel = best_rate(race.pixel_rates, seen[:5], rivals.pixels, objective=PIXELS,
                      steps=round(race.operations * recipe.steps), **common)
    limit = {"longest": race.longest, **common}
    found = {PUBLISHED: store.cached(fresh_until, new, like, target, first=100,
                                     rate=race.published_rate, **limit),
             QUICK: store.cached(fresh_until, new, like, target, first=25, rate=quick, **limit),
             PIXEL: store.cached(
                 pixels_until, new, target, first=50, rate=pixel, objective=PIXELS,
                 **limit | {"longest": round(race.operations * race.longest)})}
    rates = {PUBLISHED: race.published_rate, QUICK: quick, PIXEL: pixel}
    return pd.DataFrame([{"arm": arm, "seed": seed, "steps": steps, "reached": reached,
                          "target": target, "rate": rates[arm]}
                         for arm, (steps, reached) in found.items()])


def _target(teachers, ready, recipe, own) -> float:
    images = stored(recover, teachers, ready, **recipe.walk, **own)
    return judge(teachers, images)["accuracy"].mean()


def regime(domain: str, kind: tuple[str, int, int], recipe: Recipe, race: Race,
           training: Mapping[str, Any], *, seed: int = 0, images: int = 0,
           device: str = "auto") -> dict[str, Any]:
    """Steps to equal accuracy for one kind of teacher: its architecture, classes and pixels.

    `training` has `samples`, `count` (teachers, of whom the last is timed), `width` and `epochs`;
    `images` is the seed of the images. The meta-training is shared by 100 teachers.
    """
    name, ways, size = kind
    fit = pipeline.universe([domain], samples=training["samples"], choosing=1, episodes=1,
                            size=size, seed=images).fit
    pool = trained(fit, ways=ways, architectures=(name,), seed=seed, device=device,
                   **{key: training[key] for key in ("count", "width", "epochs")})
    own = {"seed": seed, "device": device}
    like, ready = recipe.start(pool, seed), recipe.practiced(pool, **own)
    target, common = _target(pool[-1:], ready, recipe, own), own | {"per_class": recipe.per_class}
    quick = best_rate(race.quick_rates, pool[:-1], rivals.fresh, like, steps=recipe.steps, **common)
    (slow, there), (fast, _) = (
        store.cached(fresh_until, pool[-1:], like, target, rate=rate, first=first,
                     longest=race.longest, **common)
        for rate, first in ((race.published_rate, 100), (quick, 25)))
    practice = recipe.epochs * recipe.per_epoch * recipe.steps / 100
    return {"teachers": f"{name}, {ways} classes, {size} px", "accuracy": target,
            "published": slow, "there": there, "quick": fast,
            "with": slow / (recipe.steps + practice), "without": slow / recipe.steps,
            "best": slow / fast}


# ---- operations and seconds ---------------------------------------------------------------------
def flops(make: Callable[..., ImageSet], teacher: Teachers, *arguments, **settings) -> int:
    """Floating-point operations of one step of `make` for one teacher, forward and backward."""
    counts = []
    for steps in (1, 2):
        with FlopCounterMode(display=False) as counter:
            make(teacher, *arguments, steps=steps, engine="loop", device="cpu", **settings)
        counts.append(counter.get_total_flops())
    return counts[1] - counts[0]


def seconds_of(teachers: Teachers, recipe: Recipe, clock: str, *, device: str = "auto"
               ) -> dict[str, float]:
    """Seconds of a step for one teacher and of an epoch of meta-training, the least of three.

    `clock` names a function of `time`: "process_time" counts what the CPU does for this process.
    """
    two, start, own = teachers[:2], recipe.start(teachers, 0), {"device": device}
    walk = {"rate": recipe.rate, "per_class": recipe.per_class, "steps": 5, **own}
    meta = replace(recipe, epochs=1).meta
    works = {"generator": lambda: recover(two, start, **walk),
             "pixels": lambda: rivals.pixels(two, objective=PIXELS, **walk),
             "epoch": lambda: fit_generator(teachers, start, seed=0, **meta, **own)}
    parts, taken = {"generator": 10, "pixels": 10, "epoch": 1}, {name: [] for name in works}
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
