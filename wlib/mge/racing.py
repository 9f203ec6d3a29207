"""Racing: find the best of many networks without judging every one on every image.

Candidates are judged on a growing prefix of the images, and after each round some leave.

- `overtake`, where their parents are known on all images: the hardest images come first, and a
  child leaves once even the luckiest end would leave it behind. No chance is taken.
- `screen`, where the seed network is known on all images: which candidates make at most `slack`
  errors more. Most of their errors are the seed network's, so the images that it gets wrong come
  first and are all looked at; of the others a candidate breaks few, and looking stops as soon as
  the errors found so far leave little doubt.
- `race`, where nothing is known: images come in random order, and a candidate leaves that, beyond
  a stated doubt, is not among the best.

The doubt is exact: a prefix is a random sample without replacement, of the images on which just
one of two networks is right, or of those that the seed network got right. So the count that one
of them wins, and that of the errors found, follow a hypergeometric distribution (McNemar's test
for a finite set).

Letters: N networks, μ parents, B images, m images seen so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import gammaln
from scipy.stats import hypergeom
from torch import Tensor

from wlib.check import require, whole
from wlib.core.pool import Pool
from wlib.seeds import generator

ROUNDS = 20, 1.5     # `overtake` begins with a twentieth of the images; then by such factors


def ranked(values: Tensor, judged: dict[str, Tensor]) -> Tensor:
    """Numbers (N,) of networks by their values (N,), the best first; of equals the one of the
    smaller loss. `judged` is what `evolution.Fitness.judge` said of them."""
    return torch.from_numpy(np.lexsort((judged["loss"].numpy(), -values.numpy())))


def overtake(children: Pool, fitness: Any, known: dict[str, Tensor], place: int
             ) -> tuple[Tensor, dict[str, Tensor], int]:
    """The children that reach the fitness of the parent in this place (1 is the fittest): their
    numbers, what `fitness.judge` would say of them, and the image passes spent.

    `fitness` is a `evolution.Fitness`, `known` what it said of the parents. Errors and loss only
    grow with every image, so the most that a child can still reach is known after each round; the
    images that the parents find hardest come first, because errors gather there. A child exactly
    as fit as the parent stays if its loss is no larger.
    """
    values, device, count = fitness.values(known), children.device, len(fitness.data)
    rank = ranked(values, known)[place - 1]
    goal, goal_loss, slack = float(values[rank]), float(known["loss"][rank]), 1e-12
    images, labels = fitness.data.floats(device), fitness.data.labels.to(device)
    order = known["cross-entropy"].mean(0).argsort(descending=True, stable=True)
    errors = torch.zeros(len(children), count, dtype=torch.bool)
    losses = torch.zeros(len(children), count, dtype=torch.float64)
    alive, passes = torch.arange(len(children)), 0
    stops = schedule(count, max(1, count // ROUNDS[0]), ROUNDS[1])
    for start, stop in zip([0, *stops], stops, strict=False):
        part = order[start:stop]
        at = part.to(device)
        errors[alive.unsqueeze(1), part], losses[alive.unsqueeze(1), part] = judged(
            children if len(alive) == len(children) else children[alive], images[at], labels[at],
            fitness.engine)
        passes += len(alive) * len(part)
        best = reachable(fitness, errors[alive][:, order[:stop]], known["errors"][:, order])
        behind = losses[alive].mean(1) > goal_loss + slack
        alive = alive[~((best < goal - slack) | (best <= goal + slack) & behind)]
        if len(alive) == 0:
            break
    return alive, {"errors": errors[alive], "cross-entropy": losses[alive],
                   "loss": losses[alive].mean(1), "noise accuracy": torch.zeros(
                       len(alive), dtype=torch.float64)}, passes


def reachable(fitness: Any, seen: Tensor, parents: Tensor) -> Tensor:
    """The most fitness (N,) that children with these errors (N, m) on the first m images can end
    with, given the parents' errors on all (μ, B).

    Each error to come costs alpha/B of quality and may add diversity: at best it lies outside
    every parent's error set. The sum is concave in their number k, so that the best k is found by
    halving.
    """
    m, count = seen.shape[1], parents.shape[1]
    errors = seen.double().sum(1, keepdim=True)                                 # (N, 1)
    both = seen.double() @ parents[:, :m].double().T                            # (N, μ)
    union = errors + parents.double().sum(1) - both
    empty = 1.0 if m == count else 0.0              # two empty sets are equal, while they are empty

    def value(k: Tensor) -> Tensor:                                             # (N, 1)
        overlap = torch.where(union + k == 0, empty, both / (union + k).clamp(min=1))
        return (fitness.alpha * (1 - (errors + k) / count)
                + fitness.beta * (1 - overlap.mean(1, keepdim=True)))

    low = torch.zeros_like(errors)
    high = torch.full_like(errors, count - m)
    while bool((low < high).any()):
        middle = ((low + high) / 2).floor()
        rises = (value(middle + 1) > value(middle)) & (low < high)
        low, high = torch.where(rises, middle + 1, low), torch.where(rises, high, middle)
    return value(low)[:, 0]


class Race(NamedTuple):
    """How a race ended. Survivors have been judged on all images."""

    survivors: list[int]            # numbers of the networks, ascending
    errors: Tensor                  # (survivors, B) bool, images in the order of the data
    loss: Tensor                    # (survivors,) mean cross-entropy in nats
    passes: int                     # forward passes of one image, of all networks together
    rounds: list[tuple[int, int]]   # images seen by the end of a round, networks left after it


@dataclass(frozen=True)
class Rounds:
    """How a race goes on, and how much doubt it leaves."""

    error: float = 0.05     # probability of a wrong decision, over all rounds together
    first: int = 50         # images in the first round
    growth: float = 1.5     # then so many times as many
    seed: int = 0           # of the order of the images

    def __post_init__(self) -> None:
        require(whole(self.first), "first", self.first, "a whole number ≥ 1")
        require(isinstance(self.error, (int, float)) and 0 <= self.error < 1, "error", self.error,
                "a probability in [0, 1)")
        require(isinstance(self.growth, (int, float)) and self.growth > 1, "growth", self.growth,
                "a factor above 1")

    def stops(self, images: int) -> list[int]:
        """How many of the images have been seen when each round ends."""
        return schedule(images, self.first, self.growth)


def race(pool: Pool, data: Any, keep: int, *, reference: Tensor | None = None, slack: int = 0,
         rounds: Rounds = Rounds(), engine: str = "auto") -> Race:
    """Race the networks of a pool on `data` for the `keep` best by accuracy.

    With a `reference`, the error set (B,) of a network known on all images, candidates run against
    it and not against each other: one leaves once it cannot end with fewer or as many errors,
    `slack` errors more included. The best candidate is dropped wrongly (though it is the best, or
    though it reaches the reference) with a probability of at most `rounds.error`, whatever the
    networks. At least `keep` survive if there is no reference; with one, all may leave.
    """
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require(hasattr(data, "floats") and len(data) > 0, "data", data, "an ImageSet with images")
    images, labels = data.floats(pool.device), data.labels.to(pool.device)
    losses = torch.zeros(len(pool), dtype=torch.float64)

    def judge(who: Tensor, which: Tensor) -> Tensor:
        wrong, lost = judged(pool[who], images[which], labels[which], engine)
        losses[who] += lost.sum(1)
        return wrong

    survivors, errors, passes, ends = eliminate(judge, len(pool), len(data), keep, rounds,
                                                reference=reference, slack=slack)
    return Race(survivors, errors, losses[survivors] / len(data), passes, ends)


def judged(pool: Pool, images: Tensor, labels: Tensor, engine: str = "auto"
           ) -> tuple[Tensor, Tensor]:
    """Error sets (N, B) bool and cross-entropies (N, B) in nats from one pass over the images
    (floats, on the pool's device); both on the CPU."""
    wrong = torch.empty(len(pool), len(labels), dtype=torch.bool)
    losses = torch.empty(len(pool), len(labels), dtype=torch.float64)
    for networks, part, logits in pool.outputs(images, engine):
        targets = labels[part].expand(logits.shape[:2])                         # (n, b)
        wrong[networks, part] = (logits.argmax(-1) != targets).cpu()
        losses[networks, part] = F.cross_entropy(logits.double().transpose(1, 2), targets,
                                               reduction="none").cpu()
    return wrong, losses


def eliminate(judge: Callable[[Tensor, Tensor], Tensor], candidates: int, images: int, keep: int,
              rounds: Rounds, *, reference: Tensor | None = None, slack: int = 0
              ) -> tuple[list[int], Tensor, int, list[tuple[int, int]]]:
    """The race itself, whoever runs: judge(numbers of candidates, numbers of images) gives the
    errors (candidates, images) bool. Returns survivors, their errors, passes and rounds."""
    _check(candidates, images, keep, reference, slack)
    order = torch.randperm(images, generator=generator(rounds.seed))
    stops, error = rounds.stops(images), rounds.error
    wrong = torch.zeros(candidates, images, dtype=torch.bool)
    worse = torch.zeros(candidates, candidates, dtype=torch.bool)    # [i, j]: i is worse than j
    alive, passes, ends = torch.arange(candidates), 0, []
    for start, stop in zip([0, *stops], stops, strict=False):
        part = order[start:stop]
        wrong[alive.unsqueeze(1), part] = judge(alive, part)
        passes += len(alive) * len(part)
        if stop < images:
            seen, tests = wrong[alive][:, order[:stop]], len(stops) - 1
            if reference is None:
                level = error * keep / max(1, candidates - 1) / tests
                worse[alive.unsqueeze(1), alive] |= _worse(seen, seen, images, level)
                out = worse[alive].sum(1) >= keep
            else:
                out = _behind(seen, reference, order[:stop], slack, error / tests)
            alive = alive[~out]
        ends.append((stop, len(alive)))
        if len(alive) == 0:
            break
    return alive.tolist(), wrong[alive], passes, ends


def _worse(seen: Tensor, others: Tensor, images: int, level: float, most: int | None = None
           ) -> Tensor:
    """Which networks (n) are worse than which others (o): (n, o) bool, from the error sets (·, m)
    on the images seen so far."""
    a, b = seen.double(), others.double()
    lost = a @ (1 - b).T                             # images that only the other gets right
    differ = (lost + (1 - a) @ b.T).long()           # images that just one gets right
    limits = torch.from_numpy(_limits(seen.shape[1], images, most, level))
    return lost.long() >= limits[differ]


def _behind(seen: Tensor, reference: Tensor, order: Tensor, slack: int, level: float) -> Tensor:
    """Which networks (n,) will end with more errors than the reference (B,) and `slack` more."""
    total, images = int(reference.sum()), len(reference)
    if slack == 0:
        return _worse(seen, reference[order].unsqueeze(0), images, level, 2 * total)[:, 0]
    allowed = min(images, total + slack)
    limit = quantile(np.array([images]), np.array([allowed]), np.array([len(order)]), level)
    return seen.sum(1) >= int(limit[0])


@lru_cache(maxsize=256)
def _limits(seen: int, images: int, most: int | None, level: float) -> np.ndarray:
    """For every number n of seen images that tell two networks apart (0 to `seen`): how many of
    them one must lose to be called worse.

    If it is no worse, it loses at most half of all the T images that tell them apart, and the n
    seen are a random sample of those. T is not known, but at most n plus the images not seen, and
    at most `most`; the larger T, the longer the tail (its parity apart), so the largest counts.
    """
    n = np.arange(seen + 1)
    most_of = np.minimum(n + images - seen, images if most is None else most)
    limits = np.zeros(seen + 1, dtype=np.int64)
    for t in (most_of, most_of - 1):
        possible = t >= n                # else no network that is no worse shows n differences
        limits[possible] = np.maximum(limits[possible], quantile(
            t[possible], t[possible] // 2, n[possible], level))
    limits[0] = 1                        # no difference, nothing to say
    return limits


def quantile(total: np.ndarray, marked: np.ndarray, drawn: np.ndarray, level: float) -> np.ndarray:
    """The least x ≥ mean at which P(X ≥ x) ≤ `level` for hypergeometric X, elementwise: of `total`
    balls `marked` are marked, and X of `drawn` without replacement are."""
    total, marked, drawn = (np.asarray(v, dtype=np.float64)[:, None]
                            for v in (total, marked, drawn))
    width = math.ceil(6 * math.sqrt(drawn.max(initial=0))) + 2      # the rest weighs below e⁻⁷⁰
    x = np.floor(drawn * marked / np.maximum(total, 1)) + np.arange(width)
    can = (x <= np.minimum(drawn, marked)) & (drawn - x <= total - marked)
    safe = np.where(can, x, np.maximum(0, drawn - (total - marked)))
    weight = np.exp(_log_choose(marked, safe) + _log_choose(total - marked, drawn - safe)
                    - _log_choose(total, drawn)) * can
    tail = weight[:, ::-1].cumsum(1)[:, ::-1]
    low = np.column_stack([tail <= level * (1 + 1e-12), np.ones(len(x), dtype=bool)])
    return (x[:, 0] + low.argmax(1)).astype(np.int64)


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def schedule(images: int, first: int, growth: float) -> list[int]:
    """How many images have been seen when each round ends."""
    stops = [min(first, images)]
    while stops[-1] < images:
        stops.append(min(images, math.ceil(stops[-1] * growth)))
    return stops


def _check(candidates: int, images: int, keep: int, reference: Tensor | None, slack: int) -> None:
    for argument, value, least in (("keep", keep, 1), ("slack", slack, 0)):
        require(whole(value, least), argument, value, f"a whole number ≥ {least}")
    require(keep <= candidates, "keep", keep, f"at most the {candidates} networks")
    require(reference is None or isinstance(reference, Tensor) and reference.dtype == torch.bool
            and reference.shape == (images,), "reference", reference,
            f"a bool tensor ({images},), an error set")


# ---- screening ----------------------------------------------------------------------------------
class Screened(NamedTuple):
    """What came out for each candidate, and what it took."""

    accepted: Tensor        # (N,) bool
    images: Tensor          # (N,) how many images were looked at
    passes: int             # of all candidates together


def screen(pool: Pool, data: Any, reference: Tensor, slack: int = 0, *,
           rounds: Rounds = Rounds(first=300), engine: str = "auto") -> Screened:
    """Which networks make at most `slack` errors more than the error set `reference` (B,) holds.

    `reference` is what `score.errors(seed_network, data)` gives. Each candidate is decided wrongly
    with a probability of at most `rounds.error`, whatever it is; at 0 every image that can
    matter is looked at.
    """
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require(hasattr(data, "floats") and len(data) > 0, "data", data, "an ImageSet with images")
    images, labels = data.floats(pool.device), data.labels.to(pool.device)

    def judge(who: Tensor, which: Tensor) -> Tensor:
        return judged(pool[who], images[which], labels[which], engine)[0]

    return decide(judge, len(pool), len(data), reference, slack, rounds)


def decide(judge: Callable[[Tensor, Tensor], Tensor], candidates: int, images: int,
           reference: Tensor, slack: int, rounds: Rounds) -> Screened:
    """The screening itself: judge(numbers of candidates, numbers of images) gives the errors
    (candidates, images) bool."""
    require(reference is not None, "reference", reference,
            f"a bool tensor ({images},), an error set")
    _check(candidates, images, 1, reference, slack)
    order = torch.randperm(images, generator=generator(rounds.seed))
    hard, rest = order[reference.cpu()[order]], order[~reference.cpu()[order]]
    seen = torch.full((candidates,), len(hard))
    accepted = torch.zeros(candidates, dtype=torch.bool)
    everyone = torch.arange(candidates)
    kept = judge(everyone, hard).sum(1) if len(hard) else torch.zeros(candidates, dtype=torch.long)
    allowed = len(hard) + slack - kept                  # errors that each may make on the rest
    found = torch.zeros(candidates, dtype=torch.long)   # and those that it has made
    stops = rounds.stops(len(rest)) if len(rest) else []
    level = rounds.error / max(1, len(stops) - 1)              # the last round leaves no doubt
    alive = everyone[allowed >= 0] if stops else everyone[:0]
    for start, stop in zip([0, *stops], stops, strict=False):
        if len(alive) == 0:
            break
        found[alive] += judge(alive, rest[start:stop]).sum(1)
        seen[alive] += stop - start
        good, bad = _verdicts(found[alive], allowed[alive], stop, len(rest), level)
        accepted[alive[good]] = True
        alive = alive[~(good | bad)]
    if not stops:
        accepted = allowed >= 0
    return Screened(accepted, seen, int(seen.sum()))


def _verdicts(found: Tensor, allowed: Tensor, stop: int, total: int, level: float
              ) -> tuple[Tensor, Tensor]:
    """Who is good beyond doubt and who is bad, after `stop` of `total` images.

    A bad candidate makes allowed + 1 errors or more: were it bad, so few would have been found
    with a probability below `level`. A good one makes `allowed` at most: so many, likewise.
    """
    f, a = found.numpy(), allowed.numpy()
    if stop == total:
        good = f <= a
        return torch.from_numpy(good), torch.from_numpy(~good)
    least = np.clip(a + 1, 0, total)                    # errors of the best among the bad
    most = np.clip(a, 0, total)                         # errors of the worst among the good
    good = hypergeom.cdf(f, total, least, stop) <= level
    bad = (hypergeom.sf(f - 1, total, most, stop) <= level) | (f > a)
    good |= a >= total                                  # it may make every error that is left
    return torch.from_numpy(good & ~bad), torch.from_numpy(bad)
