"""Racing: find the best of many networks without judging every one on every image.

Candidates are judged on a growing prefix of the images, in random order. After each round those
leave that, beyond reasonable doubt, are not among the best. The doubt is computed exactly: of the
images on which just one of two networks is right, a prefix is a random sample without replacement,
so the count that one of them wins follows a hypergeometric law (McNemar's test for a finite set).

Letters: N networks, B images, m images seen so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import hypergeom
from torch import Tensor

from wlib.check import require
from wlib.pool import Pool
from wlib.seeds import generator


class Race(NamedTuple):
    """How a race ended. Survivors have been judged on all images."""

    survivors: list[int]            # numbers of the networks, ascending
    errors: Tensor                  # (survivors, B) bool, images in the order of the data
    loss: Tensor                    # (survivors,) mean cross-entropy in nats
    passes: int                     # forward passes of one image, of all networks together
    rounds: list[tuple[int, int]]   # images seen by the end of a round, networks left after it


def race(pool: Pool, data, keep: int, *, bar: Tensor | None = None, slack: int = 0,
         error: float = 0.05, first: int = 50, growth: float = 1.5, seed: int = 0,
         engine: str = "auto") -> Race:
    """Race the networks of a pool on `data` for the `keep` best by accuracy.

    With a `bar`, the error set (B,) of a network known on all images, candidates run against it
    and not against each other: one leaves once it cannot end with fewer or as many errors,
    `slack` errors more included. The best candidate is dropped wrongly (though it is the best, or
    though it reaches the bar) with a probability of at most `error`, over all rounds together,
    whatever the networks. Rounds end after `first` images, then `growth` times as many, in an
    order drawn by `seed`. At least `keep` survive if there is no bar; with one, all may leave.
    """
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require(hasattr(data, "floats") and len(data) > 0, "data", data, "an ImageSet with images")
    images, labels = data.floats(pool.device), data.labels.to(pool.device)
    nats = torch.zeros(len(pool), dtype=torch.float64)

    def judge(who: Tensor, which: Tensor) -> Tensor:
        wrong, lost = judged(pool[who], images[which], labels[which], engine)
        nats[who] += lost.cpu()
        return wrong.cpu()

    survivors, errors, passes, rounds = eliminate(
        judge, len(pool), len(data), keep, bar=bar, slack=slack, error=error, first=first,
        growth=growth, seed=seed)
    return Race(survivors, errors, nats[survivors] / len(data), passes, rounds)


def judged(pool: Pool, images: Tensor, labels: Tensor, engine: str = "auto"
           ) -> tuple[Tensor, Tensor]:
    """Error sets (N, B) and summed cross-entropies (N,) in one pass over the images."""
    wrong = torch.empty(len(pool), len(labels), dtype=torch.bool, device=labels.device)
    nats = torch.zeros(len(pool), dtype=torch.float64, device=labels.device)
    for networks, part, logits in pool.outputs(images, engine):
        targets = labels[part].expand(logits.shape[:2])
        wrong[networks, part] = logits.argmax(-1) != targets
        nats[networks] += F.cross_entropy(logits.double().transpose(1, 2), targets,
                                          reduction="none").sum(1)
    return wrong, nats


def eliminate(judge: Callable[[Tensor, Tensor], Tensor], candidates: int, images: int, keep: int,
              *, bar: Tensor | None = None, slack: int = 0, error: float = 0.05, first: int = 50,
              growth: float = 1.5, seed: int = 0
              ) -> tuple[list[int], Tensor, int, list[tuple[int, int]]]:
    """The race itself, whoever runs: judge(numbers of candidates, numbers of images) gives the
    errors (candidates, images) bool. Returns survivors, their errors, passes and rounds."""
    order = torch.randperm(images, generator=generator(seed))
    alive, passes, rounds = torch.arange(candidates), 0, []
    wrong = torch.zeros(candidates, images, dtype=torch.bool)
    stops = schedule(images, first, growth)
    for start, stop in zip([0, *stops], stops, strict=False):
        part = order[start:stop]
        wrong[alive.unsqueeze(1), part] = judge(alive, part)
        passes += len(alive) * len(part)
        rounds.append((stop, len(alive)))
    return alive.tolist(), wrong[alive], passes, rounds


def schedule(images: int, first: int, growth: float) -> list[int]:
    """How many images have been seen when each round ends."""
    stops = [min(first, images)]
    while stops[-1] < images:
        stops.append(min(images, math.ceil(stops[-1] * growth)))
    return stops
