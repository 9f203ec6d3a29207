"""The neighborhood of a network: how well it works when noise is added to its weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wlib.check import require, whole
from wlib.core import audit, score
from wlib.core.pool import Pool


def under_noise(pool: Pool, data, distances: Sequence[float], draws: int, seed: int = 0
                ) -> list[dict[str, float | str]]:
    """Accuracy under Gaussian noise of each relative distance, over the network and per tensor.

    A row has "rho", the distance; "per", "network" (all weights as one vector) or "tensor" (every
    tensor moves that far by itself); and "accuracy", the mean over `draws` noisy copies of each
    network of the pool. `data` as in `score.accuracy`, noise as in `audit.noise`. `ValueError` if
    there is nothing to draw or a distance is negative.
    """
    require(len(distances) > 0, "distances", distances, "at least one relative distance")
    require(whole(draws, 1), "draws", draws, "a whole number ≥ 1")
    rows: list[dict[str, float | str]] = []
    for rho in distances:
        for per, columns in {"network": 1, "tensor": len(pool.parameters)}.items():
            far = torch.full((draws * len(pool), columns), rho)
            copies = audit.noise(pool, far, generator=seed)
            rows.append({"rho": rho, "per": per,
                         "accuracy": score.accuracy(copies, data).mean().item()})
    return rows
