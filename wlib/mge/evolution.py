"""E-MGE: evolution of networks without training, after Wang et al. (arXiv 2402.17486).

A reconstruction like `wlib.mge`: which operators there are is known, their numbers are arguments
here. A population of μ networks (`parents`) has λ children per generation (`offspring`); the best
μ of both live on (a (μ+λ) strategy), so what was reached is never lost. Letters: N networks,
B validation images.

    fitness = evolution.Fitness(validation)
    population, state = evolution.evolve(seed_network, fitness, operators.Redraw(0.99))
    best = evolution.choose(population, state.judged)
    evolution.final(best, validation, test).accuracy
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from wlib import seeds, store
from wlib.check import require, require_one_of, whole
from wlib.core import score
from wlib.core.pool import Pool
from wlib.mge.discriminator import require_disjoint
from wlib.mge.operators import blend, crossover
from wlib.mge.racing import judged as judge_images
from wlib.mge.racing import overtake, ranked
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

    def __post_init__(self) -> None:
        require(hasattr(self.data, "floats") and len(self.data) > 0, "data", self.data,
                "an ImageSet with images")
        for name in ("alpha", "beta", "robust", "sd"):
            _number(name, getattr(self, name), 0, math.inf)

    def judge(self, pool: Pool) -> Judged:
        """All that fitness needs to know of each network, found once: "errors" (N, B) bool,
        "cross-entropy" (N, B) in nats and its mean, "loss" (N,), and "noise accuracy" (N,), zero
        unless `robust` asks for it."""
        require(isinstance(pool, Pool), "pool", pool, "a Pool")
        device = pool.device
        errors, losses = judge_images(pool, self.data.floats(device), self.data.labels.to(device),
                                    self.engine)
        noisy = score.noise_accuracy(pool, self.data, self.sd, engine=self.engine).cpu() \
            if self.robust else torch.zeros(len(pool), dtype=torch.float64)
        return {"errors": errors, "cross-entropy": losses, "loss": losses.mean(1),
                "noise accuracy": noisy}

    def quality(self, judged: Judged) -> Tensor:
        """Quality (N,) of judged networks, whoever they compete with."""
        return accuracy(judged) + self.robust * judged["noise accuracy"]

    def values(self, judged: Judged, known: int | None = None) -> Tensor:
        """Fitness (N,) of networks that compete; "the others" are the first `known`, or all."""
        apart = diversity(judged["errors"], known)
        return self.alpha * self.quality(judged) + self.beta * apart

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


def _number(name: str, value: Any, least: float, most: float) -> None:
    require(isinstance(value, (int, float)) and not isinstance(value, bool)
            and least <= value <= most and value < math.inf, name, value,
            f"a number from {least} to {most}" if most < math.inf else f"a number ≥ {least}")


# ---- the loop -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Evolution:
    """The sizes and rules of an evolution."""

    parents: int = 10           # μ networks live on
    offspring: int = 40         # λ children per generation, λ ≥ μ
    fusion: float = 0.5         # fraction of children made of two parents, else a copy of one
    mutation: float = 0.7       # fraction of the fused that are mutated as well; a copy always is
    search: str = "evolution"   # or "random": every child is a fresh mutant of a seed network
    keep_seed: bool = True      # the seed network is in the first population, not mutants alone
    race: int | None = None     # a child leaves when it cannot reach the parent in this place

    def __post_init__(self) -> None:
        for name in ("parents", "offspring"):
            require(whole(getattr(self, name)), name, getattr(self, name), "a whole number ≥ 1")
        require(self.parents <= self.offspring, "parents", self.parents,
                f"at most as many as offspring, {self.offspring}")
        _number("fusion", self.fusion, 0, 1)
        _number("mutation", self.mutation, 0, 1)
        require_one_of("search", self.search, SEARCHES)
        require(isinstance(self.keep_seed, bool), "keep_seed", self.keep_seed, "True or False")
        if self.race is not None:
            require(whole(self.race), "race", self.race, "a whole number ≥ 1")
            require(self.race <= self.parents, "race", self.race,
                    f"a place among the {self.parents} parents")


@dataclass
class EvolutionState:
    """All that happened, and all that going on needs."""

    population: Pool            # the μ networks that live, the fittest first
    judged: Judged              # what `Fitness.judge` said of them
    began: dict[str, Any]       # what the run was started with
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

    def state(self) -> dict[str, Any]:
        """What the store keeps."""
        return {"parameters": self.population.parameters, "buffers": self.population.buffers,
                "judged": self.judged, "began": self.began, "records": self.records}

    @classmethod
    def restored(cls, state: dict[str, Any], pool: Pool) -> EvolutionState:
        """A state out of the store; `pool` gives the architecture and the device."""
        population = Pool(pool.template, state["parameters"], state["buffers"]).to(pool.device)
        return cls(population, state["judged"], state["began"], state["records"])


def evolve(pool: Pool, fitness: Fitness, mutate: Callable[[Pool, int], Pool],
           generations: int = 10, settings: Evolution = Evolution(), *,
           first: Pool | None = None, generator: torch.Generator | int = 0,
           state: EvolutionState | None = None) -> tuple[Pool, EvolutionState]:
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
    alone. Returns the last population, the fittest first, and the state. Hand the state back
    (with the same arguments; `generations` may grow) to go on: the result is that of an unbroken
    run, bit for bit. `stored_evolve` does so by itself.
    """
    require(isinstance(settings, Evolution), "settings", settings, "an Evolution")
    require(whole(generations, 0), "generations", generations, "a whole number ≥ 0")
    _check(pool, fitness, mutate, settings, first)
    began = asdict(settings) | {
        "generator": seeds.base(generator), "pool": _digest(pool),
        "first": _digest(first) if first is not None else None, "fitness": fitness.digest(),
        "mutate": json.dumps(store.describe(mutate, "mutate"))}
    require(state is None or isinstance(state, EvolutionState) and state.began == began, "state",
            state if not isinstance(state, EvolutionState) else _changed(state.began, began),
            "that of a run with these arguments")
    if state is None:
        first = first or _first(pool, mutate, began)
        judged = fitness.judge(first)
        state = _select(EvolutionState(first, judged, began), first, judged, fitness, len(first),
                        {"evaluations": len(first), "image passes": len(first) * fitness.passes})
    while state.generations < generations:
        state = _next(state, pool, fitness, mutate)
    return state.population, state


def stored_evolve(pool: Pool, fitness: Fitness, mutate: Callable[[Pool, int], Pool],
                  generations: int = 10, settings: Evolution = Evolution(), *,
                  generator: int = 0) -> tuple[Pool, EvolutionState]:
    """`evolve`, with each generation kept in the store under a key of its own: a run that was
    killed goes on where it was, and a generation more costs a generation."""
    state = EvolutionState.restored(
        store.resume(_evolved, pool, fitness, mutate, settings, seeds.base(generator),
                     steps=generations, every=1), pool)
    return state.population, state


def _evolved(pool: Pool, fitness: Fitness, mutate: Callable[[Pool, int], Pool],
             settings: Evolution, generator: int, *, state: dict[str, Any] | None, steps: int
             ) -> dict[str, Any]:
    """`evolve` from a kept state on, for the store."""
    going = None if state is None else EvolutionState.restored(state, pool)
    return evolve(pool, fitness, mutate, steps, settings, generator=generator,
                  state=going)[1].state()


def _check(pool: Pool, fitness: Fitness, mutate: Any, settings: Evolution, first: Pool | None
           ) -> None:
    require(isinstance(pool, Pool), "pool", pool, "a Pool of seed networks")
    require(isinstance(fitness, Fitness), "fitness", fitness, "a Fitness")
    require(callable(mutate), "mutate", mutate, "a function (pool, generator) -> pool")
    parents = settings.parents
    require(first is not None or not settings.keep_seed or len(pool) <= parents, "pool", pool,
            f"at most {parents} seed networks, the size of the population")
    require(first is None or isinstance(first, Pool) and len(first) == parents
            and first.difference(pool) is None, "first", first,
            f"a pool of {parents} networks of the seed's architecture")
    require(settings.race is None or fitness.robust == 0, "race", settings.race,
            "None where quality counts noise accuracy")


def _digest(pool: Pool) -> str:
    """A pool's digest; networks of a class without source, typed at a prompt, are known in this
    process by the class itself."""
    try:
        return pool.digest()
    except ValueError:
        return (json.dumps(identity.parts(pool.template, code=identity.loaded))
                + identity.digest(pool.parameters | pool.buffers))


def _changed(old: dict[str, Any], new: dict[str, Any]) -> str:
    return "one with another " + ", ".join(k for k in new if old.get(k) != new[k])


def _first(pool: Pool, mutate: Callable[[Pool, int], Pool], began: dict[str, Any]) -> Pool:
    """The first population: the seed networks, unless they may not live on, and mutants."""
    members = list(pool) if began["keep_seed"] else []
    members += [mutate(pool[k % len(pool)], _seed(began, 0, k))
                for k in range(began["parents"] - len(members))]
    return Pool.cat(members)


def _next(state: EvolutionState, pool: Pool, fitness: Fitness,
          mutate: Callable[[Pool, int], Pool]) -> EvolutionState:
    """One generation more."""
    s, number = state.began, state.generations + 1
    counts = {"blends": 0, "crossovers": 0, "mutations": 0}
    children = Pool.cat([_child(k, number, state, pool, mutate, counts)
                         for k in range(s["offspring"])])
    counts |= {"evaluations": len(children), "image passes": len(children) * fitness.passes}
    population = state.population
    if s["race"] is None:
        judged = fitness.judge(children)
    else:
        stay, judged, counts["image passes"] = overtake(children, fitness, state.judged,
                                                        s["race"])
        counts["left early"] = len(children) - len(stay)
        if len(stay) == 0:
            return _select(state, population, state.judged, fitness, s["parents"], counts)
        children = children[stay]
    return _select(state, Pool.cat([population, children]),
                   {k: torch.cat([t, judged[k]]) for k, t in state.judged.items()},
                   fitness, s["parents"], counts)


def _child(k: int, number: int, state: EvolutionState, pool: Pool,
           mutate: Callable[[Pool, int], Pool], counts: dict[str, int]) -> Pool:
    """Child k of a generation: fused or copied, and mutated; or a fresh mutant of a seed."""
    s, population = state.began, state.population
    if s["search"] == "random":
        counts["mutations"] += 1
        return mutate(pool[k % len(pool)], _seed(s, number, k))
    g = seeds.generator(s["generator"], number, k)
    fuse, cross, u, change = torch.rand(4, generator=g, dtype=torch.float64).tolist()
    mother, *father = torch.randperm(len(population), generator=g)[:2].tolist()
    child = population[mother]
    fused = fuse < s["fusion"] and len(father) > 0
    if fused:
        counts["crossovers" if cross < 0.5 else "blends"] += 1
        other = population[father[0]]
        child = crossover(child, other, g) if cross < 0.5 else blend(child, other, u)
    if fused and change >= s["mutation"]:
        return child
    counts["mutations"] += 1
    return mutate(child, _seed(s, number, k))


def _seed(began: dict[str, Any], number: int, k: int) -> int:
    return seeds.base(seeds.generator(began["generator"], number, k, 0))


def _select(state: EvolutionState, pool: Pool, judged: Judged, fitness: Fitness, known: int,
            counts: dict[str, int]) -> EvolutionState:
    """The fittest live on; what happened is noted."""
    values = fitness.values(judged, known)
    order = ranked(values, judged)[: state.began["parents"]]
    kept = {k: t[order] for k, t in judged.items()}
    right, last = accuracy(kept), state.records[-1] if state.records else {}
    record = {"generation": len(state.records), "best accuracy": float(right.max()),
              "mean accuracy": float(right.mean()), "best loss": float(kept["loss"].min()),
              "mean loss": float(kept["loss"].mean()), "best fitness": float(values[order].max()),
              "mean fitness": float(values[order].mean()),
              "diversity": float(diversity(kept["errors"]).mean())}
    record |= {k: last.get(k, 0) + counts[k] for k in ("evaluations", "image passes")}
    record |= {k: counts.get(k, 0) for k in ("left early", "blends", "crossovers", "mutations")}
    return replace(state, population=pool[order], judged=kept,
                   records=[*state.records, record])


# ---- the end --------------------------------------------------------------------------------
def choose(pool: Pool, judged: Judged) -> Pool:
    """The network (a pool of one) of the best validation accuracy, of equals the one of the
    smaller validation loss. `judged` is what `Fitness.judge` said of the pool."""
    require(isinstance(pool, Pool) and len(judged["errors"]) == len(pool), "judged",
            judged["errors"], f"what Fitness.judge said of {pool!r}")
    return pool[int(ranked(accuracy(judged), judged)[0])]


class Final(NamedTuple):
    """What the chosen networks reach: accuracies (N,) and error sets (N, test images) bool."""

    validation: Tensor
    accuracy: Tensor
    errors: Tensor


def final(pool: Pool, validation: Any, test: Any, engine: str = "auto") -> Final:
    """The one look at the test images, for networks chosen without them. Validation and test sets
    with an image in common are refused."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require_disjoint("test", test, validation)
    errors = score.errors(pool, test, engine)
    return Final(score.accuracy(pool, validation, engine), 1 - errors.double().mean(1), errors)
