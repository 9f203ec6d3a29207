"""Screening: accept or reject each of many networks on as few images as that takes.

A generated network is accepted if it makes at most `slack` errors more than its seed network. Most
of its errors are the seed network's, so the images that the seed network gets wrong come first and
are all looked at. Of the others, which it got right, a candidate breaks few: they come in random
order, and looking stops as soon as the errors found so far leave little doubt. The doubt is exact,
since what is seen of the rest is a random sample without replacement (a hypergeometric law).

Letters: N candidates, B images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import hypergeom
from torch import Tensor

from wlib.check import require
from wlib.core.pool import Pool
from wlib.mge import race
from wlib.seeds import generator


class Screened(NamedTuple):
    """What came out for each candidate, and what it took."""

    accepted: Tensor        # (N,) bool
    images: Tensor          # (N,) how many images were looked at
    passes: int             # of all candidates together


def screen(pool: Pool, data, bar: Tensor, slack: int = 0, *, error: float = 0.05,
           first: int = 300, growth: float = 1.5, seed: int = 0, engine: str = "auto") -> Screened:
    """Which networks make at most `slack` errors more than the error set `bar` (B,) holds.

    `bar` is what `score.errors(seed_network, data)` gives. Each candidate is decided wrongly with
    a probability of at most `error`, whatever it is; 0 looks at every image that can matter.
    """
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require(hasattr(data, "floats") and len(data) > 0, "data", data, "an ImageSet with images")
    images, labels = data.floats(pool.device), data.labels.to(pool.device)

    def judge(who: Tensor, which: Tensor) -> Tensor:
        return race.judged(pool[who], images[which], labels[which], engine)[0]

    return decide(judge, len(pool), len(data), bar, slack, error=error, first=first,
                  growth=growth, seed=seed)


def decide(judge, candidates: int, images: int, bar: Tensor, slack: int = 0, *,
           error: float = 0.05, first: int = 300, growth: float = 1.5, seed: int = 0) -> Screened:
    """The screening itself: judge(numbers of candidates, numbers of images) gives the errors
    (candidates, images) bool."""
    require(bar is not None, "bar", bar, f"a bool tensor ({images},), an error set")
    race._check(candidates, images, 1, bar, slack, error, first, growth)
    order = torch.randperm(images, generator=generator(seed))
    hard, rest = order[bar.cpu()[order]], order[~bar.cpu()[order]]
    seen = torch.full((candidates,), len(hard))
    accepted = torch.zeros(candidates, dtype=torch.bool)
    everyone = torch.arange(candidates)
    kept = judge(everyone, hard).sum(1) if len(hard) else torch.zeros(candidates, dtype=torch.long)
    allowed = len(hard) + slack - kept                  # errors that each may make on the rest
    found = torch.zeros(candidates, dtype=torch.long)   # and those that it has made
    stops = race.schedule(len(rest), first, growth) if len(rest) else []
    level = error / max(1, len(stops) - 1)              # the last round leaves no doubt
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


def _verdicts(found, allowed, stop, total, level) -> tuple[Tensor, Tensor]:
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
