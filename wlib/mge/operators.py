"""What makes new networks of those that live: mutation by redraw or noise, fusion of two."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import torch

from wlib import seeds
from wlib.core import audit
from wlib.core.pool import Pool
from wlib.mge.cosine import dct, idct
from wlib.mge.generator import generate, trainable, with_trainable


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


@dataclass(frozen=True)
class Either:
    """One of several mutations, drawn for each child with equal probability."""

    mutations: tuple[Redraw | Noise, ...]

    def __call__(self, pool: Pool, generator: int) -> Pool:
        coin = torch.randint(len(self.mutations), (), generator=seeds.generator(generator, 2))
        return self.mutations[int(coin)](pool, generator)

    def digest(self) -> str:
        return " or ".join(mutation.digest() for mutation in self.mutations)


# ---- fusion ---------------------------------------------------------------------------------
def blend(a: Pool, b: Pool, u: float | torch.Tensor) -> Pool:
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


def _fused(a: Pool, b: Pool, weights: torch.Tensor) -> Pool:
    child = with_trainable(a, weights.to(a.dtype))
    buffers = {k: ((t + b.buffers[k]) / 2 if t.is_floating_point() else t)
               for k, t in a.buffers.items()}
    return Pool(child.template, child.parameters, buffers)
