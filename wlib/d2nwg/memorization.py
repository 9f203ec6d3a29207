"""Copies or not: how near generated networks lie to those that a generator learned from.

After "Generative Modeling of Weights: Generalization or Memorization?" (arXiv 2506.07998): distance
in weights, overlap of errors, and rivals that need no learning (a member plus noise, an average of
members). A lossy codec pulls everything toward what it learned from, so distances through a codec
are compared with distances through the same codec. Networks whose hidden units may be permuted are
brought into one order first (`wlib.core.matching`).

Letters: n networks or m, D weights, E test images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from wlib import seeds
from wlib.check import require, whole
from wlib.core import audit
from wlib.core.audit import min_l2, z_u
from wlib.core.pool import IMAGES_AT_ONCE, Pool
from wlib.d2nwg.codec import Codec
from wlib.d2nwg.rivals import Averaged, Noisy, Rival
from wlib.data import ImageSet

COPYING = -5.0     # a Z_U below this: what was generated lies too near to the zoo
PLAIN, CODEC = "as it is", "through the codec"       # how zoo and networks are looked at


# ---- distance in weights ----------------------------------------------------------------------
def beside(generated: Tensor, zoo: Tensor, *, neighbors: int = 3, places: int = 100, seed: int = 0
           ) -> Tensor:
    """Each generated network's weights over those of its nearest members, nearest first, at the
    same random places: (m, 1 + neighbors, places), for a heat map in which a copy shows."""
    require(isinstance(neighbors, int) and 1 <= neighbors <= len(zoo), "neighbors", neighbors,
            f"a whole number from 1 to {len(zoo)}")
    require(isinstance(places, int) and 1 <= places <= zoo.shape[1], "places", places,
            f"a whole number from 1 to {zoo.shape[1]}")
    far = audit.l2(generated, zoo)
    near = zoo[far.topk(neighbors, largest=False).indices]                   # (m, neighbors, D)
    at = torch.randperm(zoo.shape[1], generator=seeds.generator(seed))[:places].sort().values
    return torch.cat([generated[:, None], near], dim=1)[..., at.to(zoo.device)]


def mark(within: Tensor) -> float:
    """The 5th percentile of distances within the zoo (n,): what lies nearer may be a copy."""
    return float(np.quantile(within.cpu().numpy(), 0.05))


# ---- overlap of errors ------------------------------------------------------------------------
def error_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of every two error sets (n, E) and (m, E), intersection over union: (n, m).

    1 where both are empty, as two faultless networks err alike; the study's own code has 0.
    """
    for name, value in (("a", a), ("b", b)):
        require(isinstance(value, Tensor) and value.dtype == torch.bool and value.ndim == 2
                and value.numel() > 0, name, value, "error sets, a bool tensor (n, E)")
    require(a.shape[1] == b.shape[1], "b", b, f"the {a.shape[1]} images of a")
    x, y = a.double(), b.double()
    both = x @ y.T                                                                 # (n, m)
    union = x.sum(1)[:, None] + y.sum(1) - both
    return torch.where(union == 0, 1.0, both / union.clamp(min=1))


def novelty(errors: Tensor, zoo_errors: Tensor, *, own: bool = False) -> Tensor:
    """1 − the largest overlap of errors with a member of the zoo, (n,) in [0, 1].

    `own=True`, where both are the zoo's: no member counts as its own neighbor.
    """
    overlap = error_iou(errors, zoo_errors)
    if own:
        require(overlap.shape[0] == overlap.shape[1] >= 2, "own", own,
                "False unless both are the zoo's, of at least two networks")
        overlap.fill_diagonal_(0)
    return 1 - overlap.max(1).values


# ---- where networks decide --------------------------------------------------------------------
class DecisionMap(NamedTuple):
    """Classes (N, G, G) named on a grid with corners `low` and `high` (2,), and where the images
    lie on it, `places` (B, 2), in units of the two components; [n, row, column] is at (x, y) =
    (low[0] + column·step, low[1] + row·step)."""

    classes: Tensor
    low: Tensor
    high: Tensor
    places: Tensor


def decision_map(pool: Pool, images: ImageSet, grid: int = 300) -> DecisionMap:
    """What networks say on the plane of the two principal components of standardized test images.

    Each pixel is standardized; a point of the plane becomes an image again by undoing both steps.
    """
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require(hasattr(images, "floats") and len(images) >= 3, "images", images,
            "an ImageSet of at least three images")
    require(whole(grid, 2), "grid", grid, "a whole number ≥ 2")
    floats = images.floats()
    flat = floats.flatten(1).double().numpy()
    plane = make_pipeline(StandardScaler(), PCA(2, random_state=0)).fit(flat)
    places = torch.from_numpy(plane.transform(flat))                               # (B, 2)
    low, high = places.min(0).values, places.max(0).values
    x, y = (torch.linspace(float(a), float(b), grid, dtype=torch.float64)
            for a, b in zip(low, high, strict=True))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)    # (G², 2)
    named = []
    for part in points.split(8 * IMAGES_AT_ONCE):                                  # bounded memory
        made = torch.from_numpy(plane.inverse_transform(part.numpy())).float()
        named.append(pool.logits(made.unflatten(1, floats.shape[1:])).argmax(-1).cpu())
    return DecisionMap(torch.cat(named, 1).unflatten(1, (grid, grid)), low, high, places)


# ---- all together -----------------------------------------------------------------------------
def battery(generated: Tensor, zoo: Tensor, held_out: Tensor, *, codec: Codec | None = None,
            errors: Callable[[Tensor], Tensor] | None = None,
            noises: Sequence[float] = (0.02, 0.04), members: int = 16,
            generator: torch.Generator | int = 0) -> pd.DataFrame:
    """How near generated weights (m, D) lie to the zoo (n, D) they were learned from, and rivals.

    `held_out` (h, D) are networks trained like the zoo's, on other data or from other seeds: none
    of them can be a copy. One row for the zoo itself (each member to the others), held-out,
    generated, zoo plus noise of each standard deviation and averages of `members`. `neighbors` are
    the zoo "as it is" and, with a `codec`, "through the codec": there all but the generated, which
    come out of it, are encoded and decoded too. Columns: `distance`, the median of `min_l2`; `z_u`
    against held-out; `near`, the fraction nearer to the zoo than the mark, the smaller of the 5th
    percentiles of zoo and held-out; `verdict`, "copies" if the median lies below the mark or
    Z_U below −5. With `errors`, a function from weights (k, D) to error sets (k, E) on images you
    choose, also the median `novelty` and the mean `accuracy`.
    """
    count = len(generated)
    rivals: dict[str, Rival] = {f"zoo + noise {sd:g}": Noisy(sd, nearest=False) for sd in noises}
    if len(zoo) >= members:
        rivals[f"average of {members}"] = Averaged(members)
    blank = zoo.new_zeros(len(zoo), 1)
    kinds = {"zoo": zoo, "held-out": held_out, "generated": generated} | {
        name: rival.fit(blank, zoo)(zoo.new_zeros(1, 1), count, generator)[0]
        for name, rival in rivals.items()}
    views = {PLAIN: lambda w: w}
    if codec is not None:
        views[CODEC] = lambda w: codec.decode(codec.encode(w)).detach().to(w)
    judged = {name: _judged(errors, w) for name, w in kinds.items()} if errors else {}
    rows = []
    for view, seen in views.items():
        near = seen(zoo)
        far = {name: min_l2(w if name == "generated" else seen(w), near, own=name == "zoo")
               for name, w in kinds.items()}
        for name, distances in far.items():
            rows.append({"networks": name, "neighbors": view,
                         **_row(distances, far["zoo"], far["held-out"]),
                         **_of_errors(name, judged)})
    return pd.DataFrame(rows)


def _judged(errors: Callable[[Tensor], Tensor], weights: Tensor) -> Tensor:
    found = errors(weights)
    require(isinstance(found, Tensor) and found.dtype == torch.bool and found.ndim == 2
            and len(found) == len(weights), "errors", found,
            f"a function that gives a bool tensor ({len(weights)}, E) for as many networks")
    return found


def _row(distances: Tensor, zoo: Tensor, held_out: Tensor) -> dict:
    # A codec may move held-out networks nearer to the zoo than its members are to each other.
    limit = min(mark(zoo), mark(held_out))
    distance, z = float(distances.median()), z_u(held_out, distances)
    return {"distance": distance, "z_u": z, "near": float((distances < limit).double().mean()),
            "verdict": "copies" if distance < limit or z < COPYING else "no copies"}


def _of_errors(name: str, judged: dict[str, Tensor]) -> dict:
    if not judged:
        return {}
    own = judged[name]
    return {"novelty": float(novelty(own, judged["zoo"], own=name == "zoo").median()),
            "accuracy": float(1 - own.double().mean())}
