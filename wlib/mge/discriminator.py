"""MGE's discriminator: which children of a network still work as well as it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from wlib.check import require
from wlib.core import score
from wlib.core.pool import Pool
from wlib.mge.generator import check_pool

CRITERIA = ("ks", "accuracy", "noise accuracy", "gap", "fgsm accuracy")    # the cheapest first


@dataclass(frozen=True)
class Limits:
    """How far a child may fall behind its own seed network, and how it is tested."""

    accuracy: float = 0.01      # validation accuracy: at most this much lower (0.01 is one point)
    gap: float = 0.01           # training minus validation accuracy: this much higher
    robust: float = 0.02        # accuracy under pixel noise, and under attack: this much lower
    ks: float = 0.02            # Kolmogorov-Smirnov distance of all weights to the seed's: at most
    sd: float = 0.1             # spread of the Gaussian noise on the pixels
    eps: float = 0.1            # step of the attack, made on the judged network itself
    seed: int = 0               # of the noise
    engine: str = "auto"        # see `Pool.outputs`

    def __post_init__(self) -> None:
        for name in ("accuracy", "gap", "robust", "ks"):
            value = getattr(self, name)
            require(isinstance(value, (int, float)) and not isinstance(value, bool)
                    and 0 <= value <= 1, name, value, "a fraction in [0, 1]")

    def of(self, criterion: str) -> float:
        """What is allowed in a criterion."""
        return {"accuracy": self.accuracy, "gap": self.gap, "ks": self.ks}.get(criterion,
                                                                               self.robust)


def discriminate(pool: Pool, seed_pool: Pool, data: Any, *, train: Any = None,
                 limits: Limits = Limits(), lazy: bool = False,
                 reference: pd.DataFrame | None = None) -> pd.DataFrame:
    """Which networks of a pool work as well as the network they come from.

    `pool` has a multiple of `seed_pool`'s networks, the children of one in a row, as `generate`
    lays them; `data` and `train` are `ImageSet`s, the validation and the training images, and
    must have no image in common. A network is accepted if it meets every criterion within its
    limit; the gap is asked only if `train` is given.

    The frame has a row per network: network, parent, the quantities in `CRITERIA`, a bool per
    criterion ("ks ok", "accuracy ok", …) and accepted. `attrs` holds "acceptance rate",
    "criteria", "image passes" (forward passes of one image; a gradient counts as three) and
    "reference", what the seed networks reached: hand it back to judge more children without
    judging the seeds again.

    With `lazy`, a network that fails a criterion is not judged by the costlier ones: their
    quantities are NaN, their columns False.
    """
    require(isinstance(limits, Limits), "limits", limits, "a Limits")
    _check_family(pool, seed_pool)
    if train is not None:
        require_disjoint("train", train, data)
    criteria = [c for c in CRITERIA if c != "gap" or train is not None]
    if reference is None:
        reference = _reached(criteria, seed_pool, data, train, limits)
    require(isinstance(reference, pd.DataFrame) and len(reference) == len(seed_pool)
            and set(criteria) <= set(reference.columns), "reference", reference,
            'what attrs["reference"] held after judging children of the same seed networks')
    count = len(pool)
    parent = torch.arange(count) // (count // len(seed_pool))
    frame = _nothing_known(parent, criteria)
    alive, passes = torch.ones(count, dtype=torch.bool), 0
    for c in criteria:
        who = alive.nonzero().flatten() if lazy else torch.arange(count)
        if len(who) == 0:
            break
        values, images = _quantity(c, pool[who], seed_pool[parent[who]], data, train, limits)
        if c == "gap":
            values = values - torch.tensor(frame["accuracy"].to_numpy())[who]
        excess = values - torch.tensor(reference[c].to_numpy())[parent[who]]
        good = (excess if c in ("ks", "gap") else -excess) <= limits.of(c) + 1e-9   # for rounding
        frame.loc[who.tolist(), c] = values.tolist()
        frame.loc[who.tolist(), f"{c} ok"] = good.tolist()
        alive[who] &= good
        passes += images * len(who)
    frame["accepted"] = alive.tolist()
    frame.attrs.update({"acceptance rate": float(alive.double().mean()), "criteria": criteria,
                        "image passes": passes, "reference": reference})
    return frame


def _check_family(pool: Pool, seed_pool: Pool) -> None:
    check_pool(pool)
    check_pool(seed_pool)
    require(len(pool) % len(seed_pool) == 0 and pool.difference(seed_pool) is None, "pool", pool,
            f"the architecture of {seed_pool!r} and a multiple of its {len(seed_pool)} networks")


def _nothing_known(parent: Tensor, criteria: list[str]) -> pd.DataFrame:
    """The table before anything is judged: no quantity, no criterion met."""
    return pd.DataFrame({"network": range(len(parent)), "parent": parent.tolist()}
                        | dict.fromkeys(CRITERIA, float("nan"))
                        | dict.fromkeys([f"{c} ok" for c in criteria], False))


def _reached(criteria: list[str], seed_pool: Pool, data: Any, train: Any, limits: Limits
             ) -> pd.DataFrame:
    """What the seed networks themselves reach."""
    own = pd.DataFrame({c: _quantity(c, seed_pool, seed_pool, data, train, limits)[0]
                        for c in criteria})
    if "gap" in criteria:
        own["gap"] -= own["accuracy"]
    return own


def _quantity(name: str, pool: Pool, parents: Pool, data: Any, train: Any, limits: Limits
              ) -> tuple[Tensor, int]:
    """One quantity (N,) of each network, and the image passes that it costs for one; in place of
    the gap the training accuracy."""
    engine = limits.engine
    if name == "ks":
        return score.ks_distance(pool.flat(), parents.flat()).cpu(), 0
    if name == "accuracy":
        return score.accuracy(pool, data, engine).cpu(), len(data)
    if name == "noise accuracy":
        noisy = score.noise_accuracy(pool, data, limits.sd, limits.seed, engine)
        return noisy.cpu(), len(data)
    if name == "gap":
        return score.accuracy(pool, train, engine).cpu(), len(train)
    fooled = [score.attacked_accuracy(network, score.fgsm(network, data, limits.eps), data.labels)
              for network in pool]                  # in turn: each is attacked by its own images
    return torch.cat(fooled).cpu(), 4 * len(data)


def require_disjoint(name: str, images: Any, others: Any) -> None:
    """Refuse two image sets that share an image."""
    for argument, value in ((name, images), ("data", others)):
        require(hasattr(value, "hashes") and len(value) > 0, argument, value, "an ImageSet")
    shared = len(set(images.hashes()) & set(others.hashes()))
    require(shared == 0, name, f"{shared} images that are also in the other set",
            "no image in common")
