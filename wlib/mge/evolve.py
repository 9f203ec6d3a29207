"""E-MGE: evolution of networks without training, after Wang et al. (arXiv 2402.17486).

A reconstruction like `wlib.mge`: which operators there are is known, their numbers are arguments
here. A population of μ networks (`parents`) has λ children per generation (`offspring`); the best μ
of both live on (a (μ+λ) strategy), so what was reached is never lost. Letters: N networks,
B validation images.

    fitness = evolve.Fitness(validation)
    population, history = evolve.evolve(seed_network, fitness, mutate=evolve.Redraw(0.99))
    best = evolve.choose(population, history.judged)
    evolve.final(best, validation, test).accuracy
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from wlib import seeds, store
from wlib.check import require, require_one_of, whole
from wlib.core import audit, score
from wlib.core.pool import Pool
from wlib.mge.generator import dct, generate, idct, require_disjoint, trainable, with_trainable
from wlib.mge.race import judged as judge_images
from wlib.mge.race import overtake
from wlib.store import identity

SEARCHES = ("evolution", "random")
Judged = dict[str, Tensor]


# ---- fitness --------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Fitness:
    """What selection rewards: alpha · quality + beta · diversity, on the `ImageSet` `data`.

    Quality is accuracy, plus `robust` times the accuracy under Gaussian pixel noise of `sd`;
    diversity of a network is the mean over the others of 1 − IoU of their error sets.
    """

    data: Any
    alpha: float = 1.0
    beta: float = 0.1
    robust: float = 0.0
    sd: float = 0.1
    engine: str = "auto"

    def __post_init__(self):
        require(hasattr(self.data, "floats") and len(self.data) > 0, "data", self.data,
                "an ImageSet with images")
        for name in ("alpha", "beta", "robust", "sd"):
            _number(name, getattr(self, name), 0, math.inf)

    def judge(self, pool: Pool) -> Judged:
        """All that fitness needs to know of each network, found once: "errors" (N, B) bool,
        "nats" (N, B) and their mean, "loss" (N,), and "noise accuracy" (N,), zero unless `robust`
        asks for it."""
        require(isinstance(pool, Pool), "pool", pool, "a Pool")
        device = pool.device
        errors, nats = judge_images(pool, self.data.floats(device), self.data.labels.to(device),
                                    self.engine)
        noisy = score.noise_accuracy(pool, self.data, self.sd, engine=self.engine).cpu() \
            if self.robust else torch.zeros(len(pool), dtype=torch.float64)
        return {"errors": errors, "nats": nats, "loss": nats.mean(1), "noise accuracy": noisy}

    def values(self, judged: Judged, known: int | None = None) -> Tensor:
        """Fitness (N,) of networks that compete; "the others" are the first `known`, or all."""
        quality = accuracy(judged) + self.robust * judged["noise accuracy"]
        return self.alpha * quality + self.beta * diversity(judged["errors"], known)

    @property
    def passes(self) -> int:
        """Image passes that judging one network takes."""
        return len(self.data) * (2 if self.robust else 1)

    def digest(self) -> str:
        return json.dumps([self.data.digest(), self.alpha, self.beta, self.robust, self.sd])


def accuracy(judged: Judged) -> Tensor:
    """Validation accuracy (N,) of judged networks."""
    return 1 - judged["errors"].double().mean(1)


def diversity(errors: Tensor, known: int | None = None) -> Tensor:
    """Mean of 1 − IoU of each error set (N, B) with those of the others among the first `known`
    networks (or all): (N,), and 0 where there are no others."""
    count = len(errors) if known is None else known
    apart = 1 - score.pairwise_iou(errors)[:, :count]                   # a network with itself: 0
    others = count - (torch.arange(len(errors)) < count).double()
    return apart.sum(1) / others.clamp(min=1)


# ---- mutation: (pool, generator) -> pool, one mutant of each network --------------------------
@dataclass(frozen=True)
class Redraw:
    """MGE's generator as a mutation: see `generate`."""

    energy: float = 0.95
    per: str = "network"
    order: str = "energy"
    redraw: str = "normal"

    def __call__(self, pool: Pool, generator: int) -> Pool:
        return generate(pool, 1, self.energy, self.per, self.order, self.redraw, generator)

    def digest(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of relative distance ρ as a mutation, the control: see `audit.noise`.

    `Noise.like(energy)` goes as far as `Redraw(energy)` does, ρ = √(2(1 − energy)).
    """

    distance: float
    keep_norm: bool = True
    per: str = "network"

    @classmethod
    def like(cls, energy: float, keep_norm: bool = True, per: str = "network") -> Noise:
        return cls((2 * (1 - energy)) ** 0.5, keep_norm, per)

    def __call__(self, pool: Pool, generator: int) -> Pool:
        moving = trainable(pool)
        columns = 1 if self.per == "network" else len(moving.parameters)
        rho = torch.full((len(pool), columns), float(self.distance))
        return with_trainable(pool, audit.noise(moving, rho, self.keep_norm, generator).flat())

    def digest(self) -> str:
        return json.dumps(asdict(self))


# ---- fusion ---------------------------------------------------------------------------------
def blend(a: Pool, b: Pool, u: float | Tensor) -> Pool:
    """Each network of `a` mixed with that of `b` in the same place: u·a + (1−u)·b."""
    u = torch.as_tensor(u, dtype=torch.float64).expand(len(a)).unsqueeze(1)
    x, y = trainable(a).flat().double(), trainable(b).flat().double()
    return _fused(a, b, y + u.to(y.device) * (x - y))


def crossover(a: Pool, b: Pool, generator: torch.Generator | int = 0) -> Pool:
    """Children of the networks of `a` and `b` in the same place: each coefficient of the cosine
    transform of all weights comes from one or the other, by a coin of its own."""
    base = seeds.base(generator)
    x, y = (dct(trainable(p).flat().double()) for p in (a, b))
    coins = torch.stack([torch.randint(2, (x.shape[1],), generator=seeds.generator(base, i))
                         for i in range(len(a))]).bool().to(x.device)
    return _fused(a, b, idct(torch.where(coins, x, y)))


def _fused(a: Pool, b: Pool, weights: Tensor) -> Pool:
    child = with_trainable(a, weights.to(a.dtype))
    buffers = {k: ((t + b.buffers[k]) / 2 if t.is_floating_point() else t)
               for k, t in a.buffers.items()}
    return Pool(child.template, child.parameters, buffers)


# ---- the loop -------------------------------------------------------------------------------
@dataclass
class History:
    """All that happened, and all that going on needs."""

    population: Pool            # the μ networks that live, the fittest first
    judged: Judged              # what `Fitness.judge` said of them
    settings: dict[str, Any]    # what the run was started with
    records: list[dict[str, Any]] = field(default_factory=list)     # one per generation, from 0

    @property
    def frame(self) -> pd.DataFrame:
        """A row per generation, 0 the first population: generation, best and mean of accuracy, loss
        and fitness, diversity, evaluations and image passes so far, children that left a race
        early, counts of the operators."""
        return pd.DataFrame(self.records)

    @property
    def generations(self) -> int:
        return len(self.records) - 1


def evolve(pool: Pool, fitness: Fitness, *, mutate: Callable[[Pool, int], Pool],
           generations: int = 10, parents: int = 10, offspring: int = 40, fusion: float = 0.5,
           mutation: float = 0.7, search: str = "evolution", keep_seed: bool = True,
           first: Pool | None = None, race: int | None = None,
           generator: torch.Generator | int = 0, history: History | None = None
           ) -> tuple[Pool, History]:
    """Evolve a population from the seed network (or networks) in `pool`.

    Every child is, with probability `fusion`, made of two distinct parents (by `blend` or
    `crossover`, equally often), else a copy of one; it is mutated with probability `mutation`, a
    copy always. The fittest μ = `parents` of parents and children live on; of equal fitness, the
    smaller validation loss goes first. Diversity counts against the parents, so a child gains
    nothing by differing from children that die at once. Parents are never judged again.

    The first population is `first` (a pool of μ) or else the seed networks and mutants of them in
    turn, up to μ. With `keep_seed=False` it is mutants alone: then the result may be worse than
    the seed, which with it is impossible on the validation images at beta = 0. Whether it is
    better on other images is open either way.

    `search="random"` is the same loop with the same evaluations, but every child is a fresh mutant
    of a seed network.

    `race` is a place among the parents, 1 to μ: a child is judged on the images that the parents
    find hardest first, and leaves once it can no longer reach the fitness of the parent in this
    place, which is a certainty and no guess. With `race=parents` nothing else changes; with a
    smaller number fewer children live on, and fewer images are looked at.

    `mutate` takes (pool, whole number) and gives one mutant of each network: `Redraw`, `Noise` or
    a function made by def. Child k of generation g depends on the generator, g, k and the parents
    alone. Returns the last population, the fittest first, and the history. Hand the history back
    (with the same arguments; `generations` may grow) to go on: the result is that of an unbroken
    run, bit for bit. `stored_evolve` does so by itself.
    """
    base = seeds.base(generator)
    settings = _settings(pool, fitness, mutate, generations, parents, offspring, fusion, mutation,
                         search, keep_seed, first, race, base)
    require(history is None or isinstance(history, History) and history.settings == settings,
            "history", history if not isinstance(history, History) else _changed(
                history.settings, settings), "the history of a run with these arguments")
    history = history or _begin(pool, fitness, mutate, settings, first)
    while history.generations < generations:
        history = _next(history, pool, fitness, mutate)
    return history.population, history


def stored_evolve(pool: Pool, fitness: Fitness, *, mutate: Callable[[Pool, int], Pool],
                  generations: int = 10, generator: int = 0, **settings) -> tuple[Pool, History]:
    """`evolve`, with each generation kept in the store under a key of its own: a run that was
    killed goes on where it was, and a generation more costs a generation."""
    require("history" not in settings, "history", "one", "none: the store keeps it")
    state = None
    for number in range(max(1, generations + 1)):
        state = store.cached(_stored_generation, pool, fitness, mutate, settings | {
            "generator": seeds.base(generator)}, min(number, generations), state)
    history = _unpack(state, pool)
    return history.population, history


def _stored_generation(pool, fitness, mutate, settings, number, state):
    history = None if state is None else _unpack(state, pool)
    _, history = evolve(pool, fitness, mutate=mutate, generations=number, history=history,
                        **settings)
    return {"parameters": history.population.parameters, "buffers": history.population.buffers,
            "judged": history.judged, "settings": history.settings, "records": history.records}


def _unpack(state, pool) -> History:
    population = Pool(pool.template, state["parameters"], state["buffers"]).to(pool.device)
    return History(population, state["judged"], state["settings"], state["records"])


def _settings(pool, fitness, mutate, generations, parents, offspring, fusion, mutation, search,
              keep_seed, first, race, base) -> dict[str, Any]:
    """The arguments that make a run what it is, after a look at each."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool of seed networks")
    require(isinstance(fitness, Fitness), "fitness", fitness, "a Fitness")
    require(callable(mutate), "mutate", mutate, "a function (pool, generator) -> pool")
    for name, value, least in (("generations", generations, 0), ("parents", parents, 1),
                               ("offspring", offspring, 1)):
        require(whole(value, least), name, value, f"a whole number ≥ {least}")
    require(parents <= offspring, "parents", parents, f"at most as many as offspring, {offspring}")
    _number("fusion", fusion, 0, 1)
    _number("mutation", mutation, 0, 1)
    require_one_of("search", search, SEARCHES)
    require(isinstance(keep_seed, bool), "keep_seed", keep_seed, "True or False")
    require(first is not None or not keep_seed or len(pool) <= parents, "pool", pool,
            f"at most {parents} seed networks, the size of the population")
    require(first is None or isinstance(first, Pool) and len(first) == parents
            and first.difference(pool) is None, "first", first,
            f"a pool of {parents} networks of the seed's architecture")
    if race is not None:
        require(whole(race), "race", race, "a whole number ≥ 1")
        require(race <= parents, "race", race, f"a place among the {parents} parents")
        require(fitness.robust == 0, "race", race, "None where quality counts noise accuracy")
    return {"parents": parents, "offspring": offspring, "fusion": fusion, "mutation": mutation,
            "search": search, "keep_seed": keep_seed, "race": race, "generator": base,
            "pool": _told(pool), "first": _told(first) if first is not None else None,
            "fitness": fitness.digest(), "mutate": json.dumps(store.describe(mutate, "mutate"))}


def _told(pool: Pool) -> str:
    """A pool's digest; networks of a class without source, typed at a prompt, are told in this
    process by the class itself."""
    try:
        return pool.digest()
    except ValueError:
        return (json.dumps(identity.parts(pool.template, code=identity.loaded))
                + identity.digest(pool.parameters | pool.buffers))


def _changed(old: dict, new: dict) -> str:
    return "one with another " + ", ".join(k for k in new if old.get(k) != new[k])


def _number(name, value, least, most):
    require(isinstance(value, (int, float)) and not isinstance(value, bool)
            and least <= value <= most and value < math.inf, name, value,
            f"a number from {least} to {most}" if most < math.inf else f"a number ≥ {least}")


def _begin(pool, fitness, mutate, settings, first) -> History:
    """The first population, judged."""
    if first is None:
        members = list(pool) if settings["keep_seed"] else []
        members += [mutate(pool[k % len(pool)], _seed(settings, 0, k))
                    for k in range(settings["parents"] - len(members))]
        first = Pool.cat(members)
    judged = fitness.judge(first)
    return _select(History(first, judged, settings), first, judged, fitness, len(first),
                   {"evaluations": len(first), "image passes": len(first) * fitness.passes})


def _next(history, pool, fitness, mutate) -> History:
    """One generation more."""
    s, number = history.settings, history.generations + 1
    counts = {"blends": 0, "crossovers": 0, "mutations": 0}
    children = Pool.cat([_child(k, number, history, pool, mutate, counts)
                         for k in range(s["offspring"])])
    counts |= {"evaluations": len(children), "image passes": len(children) * fitness.passes}
    population = history.population
    if s["race"] is None:
        judged = fitness.judge(children)
    else:
        stay, judged, counts["image passes"] = overtake(children, fitness, history.judged,
                                                        s["race"])
        counts["left early"] = len(children) - len(stay)
        if len(stay) == 0:
            return _select(history, population, history.judged, fitness, s["parents"], counts)
        children = children[stay]
    return _select(history, Pool.cat([population, children]),
                   {k: torch.cat([t, judged[k]]) for k, t in history.judged.items()},
                   fitness, s["parents"], counts)


def _child(k, number, history, pool, mutate, counts) -> Pool:
    """Child k of a generation: fused or copied, and mutated; or a fresh mutant of a seed."""
    s, population = history.settings, history.population
    if s["search"] == "random":
        counts["mutations"] += 1
        return mutate(pool[k % len(pool)], _seed(s, number, k))
    g = seeds.generator(s["generator"], number, k)
    fuse, cross, u, change = torch.rand(4, generator=g, dtype=torch.float64).tolist()
    one, *two = torch.randperm(len(population), generator=g)[:2].tolist()
    child = population[one]
    fused = fuse < s["fusion"] and len(two) > 0
    if fused:
        counts["crossovers" if cross < 0.5 else "blends"] += 1
        other = population[two[0]]
        child = crossover(child, other, g) if cross < 0.5 else blend(child, other, u)
    if fused and change >= s["mutation"]:
        return child
    counts["mutations"] += 1
    return mutate(child, _seed(s, number, k))


def _seed(settings, number, k) -> int:
    return seeds.base(seeds.generator(settings["generator"], number, k, 0))


def _select(history, pool, judged, fitness, known, counts) -> History:
    """The fittest live on; what happened is noted."""
    values = fitness.values(judged, known)
    order = np.lexsort((judged["loss"].numpy(), -values.numpy()))[: history.settings["parents"]]
    order = torch.from_numpy(order.copy())
    kept = {k: t[order] for k, t in judged.items()}
    right, last = accuracy(kept), history.records[-1] if history.records else {}
    record = {"generation": len(history.records), "best accuracy": float(right.max()),
              "mean accuracy": float(right.mean()), "best loss": float(kept["loss"].min()),
              "mean loss": float(kept["loss"].mean()), "best fitness": float(values[order].max()),
              "mean fitness": float(values[order].mean()),
              "diversity": float(diversity(kept["errors"]).mean())}
    record |= {k: last.get(k, 0) + counts[k] for k in ("evaluations", "image passes")}
    record |= {k: counts.get(k, 0) for k in ("left early", "blends", "crossovers", "mutations")}
    return replace(history, population=pool[order], judged=kept,
                   records=[*history.records, record])


# ---- the end --------------------------------------------------------------------------------
def choose(pool: Pool, judged: Judged) -> Pool:
    """The network (a pool of one) of the best validation accuracy, of equals the one of the
    smaller validation loss. `judged` is what `Fitness.judge` said of the pool."""
    require(isinstance(pool, Pool) and len(judged["errors"]) == len(pool), "judged",
            judged["errors"], f"what Fitness.judge said of {pool!r}")
    best = np.lexsort((judged["loss"].numpy(), -accuracy(judged).numpy()))[0]
    return pool[int(best)]


class Final(NamedTuple):
    """What the chosen networks reach: accuracies (N,) and error sets (N, test images) bool."""

    validation: Tensor
    accuracy: Tensor
    errors: Tensor


def final(pool: Pool, validation, test, engine: str = "auto") -> Final:
    """The one look at the test images, for networks chosen without them. Validation and test sets
    that share an image are refused."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require_disjoint("test", test, validation)
    errors = score.errors(pool, test, engine)
    return Final(score.accuracy(pool, validation, engine), 1 - errors.double().mean(1), errors)
