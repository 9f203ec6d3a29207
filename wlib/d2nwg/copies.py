"""Are samples copies of the zoo? Distances, errors and capacity, beside rivals that do copy.

    made, sd = candidates(case, "unseen", 20, 10, noises)         # samples and two that copy
    far = distances(case, made | {HELD: oracles(case)[:, None]})
    fraction(far[CODEC, "sampled"], far[CODEC, "zoo"])            # % of the mark

`case` is a `starts.Case` with a generator. Letters: n networks of the zoo, m data sets, M networks
for each, D weights, E test images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wlib.core import audit, score
from wlib.d2nwg import memorization, rivals
from wlib.d2nwg.memorization import CODEC, PLAIN, mark
from wlib.d2nwg.starts import Case, oracles
from wlib.data import ImageSet

HELD = "held-out trained networks"
RIVALS = ("sampled", "network with noise", "mean of two networks")


# ---- rivals that copy ---------------------------------------------------------------------------
def noisy(case: Case, part: str, sd: float, n: int, count: int | None = None) -> Tensor:
    """The nearest network of the zoo with noise in the directions that the codec keeps: (m, n, D).

    Noise in all directions would lose most of its length in the codec and look like a bare copy.
    """
    known, (c, memory) = case.members.weights, case.conditions(part, count)
    near = rivals.Retrieval().fit(memory, known)(c)                                # (m, 1, D)
    moved = rivals.Noisy(sd).fit(memory, known)(c, n, case.seed)                   # (m, n, D)
    return near + case.through_codec(moved) - case.through_codec(near)


def midpoints(case: Case, part: str, count: int | None = None) -> Tensor:
    """The mean of the zoo's two networks with the nearest conditions: (m, 1, D)."""
    c, memory = case.conditions(part, count)
    near = torch.cdist(c, memory).topk(2, largest=False).indices                   # (m, 2)
    return case.members.weights[near].mean(1, keepdim=True)


def chosen_noise(case: Case, part: str, made: Tensor, noises: Sequence[float]) -> float:
    """The largest noise at which copies get as many validation images right as samples (m, n, D).

    The smallest of all where even that leaves fewer.
    """
    goal = case.points(made, part, "validation").mean()
    return max(takewhile(lambda sd: case.points(noisy(case, part, sd, 2, len(made)), part,
                                                "validation").mean() >= goal, noises),
               default=noises[0])


def candidates(case: Case, part: str, count: int, n: int, noises: Sequence[float]
               ) -> tuple[dict[str, Tensor], float]:
    """`RIVALS` for the first data sets of a part, (m, n or 1, D) each, and the chosen noise."""
    made = case.sample(part, n, count)
    sd = chosen_noise(case, part, made, noises)
    return {"sampled": made, "network with noise": noisy(case, part, sd, n, count),
            "mean of two networks": midpoints(case, part, count)}, sd


# ---- distances ----------------------------------------------------------------------------------
def distances(case: Case, made: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """Distance of networks (m, n, D) to the nearest of the zoo, (m·n,), by view and name.

    The views are "as it is" and "through the codec", where zoo and networks have both gone through
    it. "zoo" is the distance of each member to the nearest other one.
    """
    found = {}
    for view, seen in ((PLAIN, lambda w: w), (CODEC, case.through_codec)):
        known = seen(case.members.weights)
        found[view, "zoo"] = audit.min_l2(known, known, own=True)
        found |= {(view, name): audit.min_l2(seen(weights).flatten(0, 1), known)
                  for name, weights in made.items()}
    return found


def fraction(distances: Tensor, within: Tensor) -> float:
    """Median distance to the zoo, in % of the mark."""
    return 100 * distances.median().item() / mark(within)


# ---- errors -------------------------------------------------------------------------------------
def errors(case: Case, made: Mapping[str, Tensor], sd: float, count: int) -> list[dict[str, Any]]:
    """Accuracy and novelty of errors on the first unseen data sets: a row per network and level.

    `made` are `candidates` for all unseen data sets. Copies come with none, half, once and twice
    the noise `sd`, the level; three networks of each kind count.
    """
    def wrong(weights: Tensor, images: ImageSet) -> Tensor:
        return score.errors(case.members.pool[:1].with_flat(weights), images).cpu()    # (n, E)

    kinds = {("sampled", 0.0): made["sampled"], (HELD, 0.0): oracles(case)[:, None],
             ("mean of two networks", 0.0): made["mean of two networks"]}
    kinds |= {("network with noise", level): noisy(case, "unseen", level * sd, 3)
              for level in (0.0, 0.5, 1.0, 2.0)}
    rows = []
    for i, own in enumerate(case.sets["unseen"][:count]):
        known = wrong(case.members.weights, own.test)
        for (arm, level), weights in kinds.items():
            missed = wrong(weights[i, :3], own.test)
            rows.append({"arm": arm, "level": level, "seed": case.seed,
                         "points": 100 * (~missed).double().mean().item(),
                         "novelty": memorization.novelty(missed, known).mean().item()})
    return rows


def read_off(line: Sequence[tuple[float, float]], points: float) -> float:
    """The novelty at so many points, read off a line of (points, novelty) in any order.

    Beyond an end of the line it is that of the end.
    """
    return float(np.interp(points, *np.array(sorted(line, key=lambda at: at[0])).T))


# ---- capacity -----------------------------------------------------------------------------------
def capacity(case: Case, size: int, widths: Sequence[int], amounts: Sequence[int], steps: int
             ) -> list[dict[str, Any]]:
    """How near samples of denoisers lie, by width and size of the zoo: a row for each.

    `share` is for unseen data sets, `own` for seen ones, both in % of the mark of that zoo and
    after the codec; `seen` is the accuracy in points for seen ones.
    """
    rows, shown = [], min(amounts)
    for count in amounts:
        for width in widths:
            small = case.first(count).learned(size, width=width, steps=steps)
            new, old = (small.sample(part, 3, shown) for part in ("unseen", "train"))
            known = small.through_codec(small.members.weights)
            within = audit.min_l2(known, known, own=True)
            share, own = (fraction(audit.min_l2(made.flatten(0, 1), known), within)
                          for made in (new, old))
            rows.append({"arm": f"zoo of {count}", "width": width, "seed": case.seed,
                         "seen": small.points(old, "train").mean().item(),
                         "share": share, "own": own})
    return rows
