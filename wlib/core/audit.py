"""The controls that could win: changes to a network that know nothing of the method under test.

Each is matched to the method in *measured* distance: relative to its own network, tensor by tensor
or as a whole, every control lies exactly as far from the seed network as the method's child does
(`zero_fill` and `shuffle` as near as whole weights allow). `min_l2` and `z_u` tell whether
generated networks lie too near to those that a generator learned from (`d2nwg.memorization` has the
whole battery). Letters: N networks, M = N·children, P weights, L tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.stats import rankdata
from torch import Tensor

from wlib import seeds
from wlib.check import require, require_one_of
from wlib.core.pool import Pool

CONTROLS = ("noise", "noise-norm", "pruning", "shuffled weights")


def distance(pool: Pool, origin: Pool, per: str = "network") -> Tensor:
    """Relative distance ρ = ‖w' − w‖/‖w‖ of each network (M) to its origin.

    `origin` has M networks or a divisor N of M (then each stands for M/N in a row). The result is
    (M, 1) for `per="network"` and (M, L), tensor by tensor, for `per="tensor"`.
    """
    start, moved = _origin(pool, origin), pool.flat().double()
    return torch.stack([(moved[:, s] - start[:, s]).norm(dim=1) / _norm(start[:, s])
                        for s in _spans(pool, per)], dim=1)


def cosine(pool: Pool, origin: Pool) -> Tensor:
    """Cosine (M,) between each network's weights and its origin's."""
    start, moved = _origin(pool, origin), pool.flat().double()
    return torch.cosine_similarity(moved, start, dim=1)


def sd_ratio(pool: Pool, origin: Pool) -> Tensor:
    """Spread of each tensor over its origin's, (M, L): 1 where the distribution's width is kept.

    A tensor that was constant and still is (a fresh BatchNorm's, a single weight) has kept it too.
    """
    start, moved = _origin(pool, origin), pool.flat().double()
    spread = [(moved[:, s].std(1, correction=0), start[:, s].std(1, correction=0))
              for s in _spans(pool, "tensor")]
    return torch.stack([torch.where(new == old, 1.0, new / old) for new, old in spread], dim=1)


def noise(pool: Pool, distance: Tensor, keep_norm: bool = False,
          generator: torch.Generator | int = 0) -> Pool:
    """Gaussian noise of exactly the given relative distance: w' = w + ρ‖w‖ g/‖g‖.

    `distance` is (M, 1), or (M, L) tensor by tensor, with M a multiple of the pool's N. With
    `keep_norm` the noise is made orthogonal to w and the sum is turned so that ‖w'‖ = ‖w‖ while
    the distance stays ρ: w' = cos w + sin ‖w‖ g/‖g‖ with cos = 1 − ρ²/2 (so ρ ≤ 2). A tensor of a
    single weight has no other direction to turn to and stays as it is.
    """
    _check_distance(distance)

    def move(w: Tensor, rho: Tensor, source: torch.Generator) -> Tensor:
        g = torch.randn(len(w), generator=source, dtype=torch.float64).to(w)
        if not keep_norm:
            return w + rho * w.norm() * g / g.norm()
        if len(w) == 1:
            return w
        g = g - (g @ w) / w.square().sum().clamp(min=1e-300) * w
        cos, sin = 1 - rho ** 2 / 2, rho * (1 - rho ** 2 / 4).clamp(min=0).sqrt()
        return cos * w + sin * w.norm() * g / g.norm().clamp(min=1e-300)

    if keep_norm:
        require(bool((distance <= 2).all()), "distance", float(distance.max()),
                "at most 2, the far side of the sphere")
    return _each(pool, distance, move, generator)


def zero_fill(pool: Pool, distance: Tensor) -> Pool:
    """The smallest weights set to zero, as many as the given relative distance allows.

    This is magnitude pruning. `distance` as in `noise`; from 1 on nothing is left.
    """
    def move(w: Tensor, rho: Tensor, _: torch.Generator) -> Tensor:
        order = w.abs().argsort(stable=True)
        gone = w[order].square().cumsum(0) <= (rho * w.norm()) ** 2 * (1 + 1e-12)
        w = w.clone()
        w[order[gone]] = 0
        return w
    return _each(pool, distance, move, 0)


def shuffle(pool: Pool, distance: Tensor, generator: torch.Generator | int = 0) -> Pool:
    """Randomly chosen weights that trade places in a ring, as many as the relative distance
    allows: the distribution of the weights stays exactly as it was. `distance` as in `noise`."""
    def move(w: Tensor, rho: Tensor, g: torch.Generator) -> Tensor:
        order = torch.randperm(len(w), generator=g).to(w.device)
        if len(w) < 2:
            return w
        ring = w[order]
        steps = (ring[1:] - ring[:-1]).square().cumsum(0)        # weights 0…k pass theirs on
        closing = (ring[1:] - ring[0]).square()                  # and the last goes to the first
        miss = ((steps + closing).sqrt() - rho * w.norm()).abs()
        if miss.min() >= rho * w.norm():                         # nearest is to move nothing
            return w
        size = int(miss.argmin()) + 2
        w = w.clone()
        w[order[:size]] = ring[:size].roll(1)
        return w
    return _each(pool, distance, move, generator)


def control(name: str, pool: Pool, distance: Tensor, generator: torch.Generator | int = 0) -> Pool:
    """The control of this name at the given relative distance, as in `noise`.

    "noise", "noise-norm" (`noise` with `keep_norm`), "pruning" (`zero_fill`) or "shuffled weights"
    (`shuffle`).
    """
    require_one_of("name", name, CONTROLS)
    if name == "pruning":
        return zero_fill(pool, distance)
    if name == "shuffled weights":
        return shuffle(pool, distance, generator)
    return noise(pool, distance, name == "noise-norm", generator)


def mean(pool: Pool) -> Pool:
    """The network whose weights and buffers are the mean of the pool's: a pool of one."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    buffers = {k: (t.double().mean(0, keepdim=True).to(t.dtype)) for k, t in pool.buffers.items()}
    return Pool(pool.template, {k: t.double().mean(0, keepdim=True).to(t.dtype)
                                for k, t in pool.parameters.items()}, buffers)


# ---- near the zoo or not ----------------------------------------------------------------------
def min_l2(a: Tensor, b: Tensor, *, own: bool = False) -> Tensor:
    """Euclidean distance of each row of `a` (n, D) to the nearest row of `b` (m, D): (n,).

    `own=True`, where `a` is `b`: no row counts as its own neighbor.
    """
    far = l2(a, b)
    if own:
        require(len(a) == len(b) >= 2, "own", own, "False unless a is b, of at least two networks")
        far.fill_diagonal_(math.inf)
    return far.min(1).values


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (n, m) of rows (n, D) and (m, D)."""
    for name, value in (("a", a), ("b", b)):
        require(isinstance(value, Tensor) and value.ndim == 2 and value.numel() > 0
                and value.is_floating_point(), name, value, "weights (n, D)")
        require(bool(torch.isfinite(value).all()), name, "NaN or infinity", "finite weights")
    require(a.shape[1] == b.shape[1], "b", b, f"the {a.shape[1]} weights a network of a")
    # Not by |a|² + |b|² − 2ab, which loses the digits that tell a copy from a near copy.
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist")


def z_u(held_out: Tensor, generated: Tensor) -> float:
    """The statistic Z_U of copying (Meehan et al., arXiv 2004.05675), from distances to the zoo.

    Do generated networks (m,) lie nearer to it than held-out ones (n,)?

    U counts the pairs in which the generated network lies farther off than the held-out one (a tie
    is half a pair), Z_U = (U − nm/2) / √(nm(n + m + 1)/12). Far below 0: copies of what was
    learned from; far above: off the mark. It lies within ±√(3nm/(n + m + 1)), so few networks
    cannot show much: below −5 it gets with 18 of each or more.
    """
    for name, value in (("held_out", held_out), ("generated", generated)):
        require(isinstance(value, Tensor) and value.ndim == 1 and len(value) > 0
                and bool(torch.isfinite(value).all()), name, value, "finite distances (n,)")
    n, m = len(held_out), len(generated)
    ranks = rankdata(torch.cat([generated, held_out]).double().cpu().numpy())   # ties share a rank
    u = ranks[:m].sum() - m * (m + 1) / 2
    return float((u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12))


def _each(pool: Pool, distance: Tensor, move: Callable[[Tensor, Tensor, torch.Generator], Tensor],
          generator: torch.Generator | int) -> Pool:
    """Apply move(weights (n,), ρ, generator) to every span of every network."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    _check_distance(distance)
    require(len(distance) % len(pool) == 0, "distance", distance,
            f"as many rows as networks or a multiple of {len(pool)}")
    spans = _spans(pool, "network" if distance.shape[1] == 1 else "tensor")
    require(distance.shape[1] == len(spans), "distance", distance,
            f"1 or {len(spans)} columns, one per tensor")
    base, times = seeds.base(generator), len(distance) // len(pool)
    rows = pool.flat().double().repeat_interleave(times, dim=0)
    for i, row in enumerate(rows):
        source = seeds.generator(base, i // times, i % times)
        for span, rho in zip(spans, distance[i].double(), strict=True):
            row[span] = move(row[span].clone(), rho.to(row.device), source)
    return pool.with_flat(rows.to(pool.dtype))


def _check_distance(distance: Tensor) -> None:
    require(isinstance(distance, Tensor) and distance.ndim == 2 and distance.numel() > 0,
            "distance", distance, "a tensor (M, 1) or (M, tensors), as audit.distance gives it")
    require(bool(torch.isfinite(distance).all() and (distance >= 0).all()), "distance",
            f"{float(distance.min())} to {float(distance.max())}",
            "finite distances of at least 0")


def _origin(pool: Pool, origin: Pool) -> Tensor:
    for argument, value in (("pool", pool), ("origin", origin)):
        require(isinstance(value, Pool), argument, value, "a Pool")
    require(pool.difference(origin) is None and len(pool) % len(origin) == 0, "origin", origin,
            f"the architecture of {pool!r} and a divisor of its {len(pool)} networks")
    return origin.flat().double().repeat_interleave(len(pool) // len(origin), dim=0)


def _spans(pool: Pool, per: str) -> list[slice]:
    require_one_of("per", per, ("network", "tensor"))
    return [slice(0, pool.size)] if per == "network" else list(pool.segments().values())


def _norm(x: Tensor) -> Tensor:
    return x.norm(dim=1).clamp(min=1e-300)
