"""The simplest few-shot learner: a query image has the label of the nearest support image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from wlib.data.sets import ImageSet, episodes


def few_shot(images: ImageSet, project: Callable[[np.ndarray], Any], *, count: int, seed: int,
             ways: int = 5, shots: int = 1, queries: int = 10) -> float:
    """Share of query images that the nearest support image names rightly, mean over episodes.

    `project` takes images as rows (B, C·H·W) of numbers in [0, 1] and gives features (B, D);
    nearest is by cosine. The other arguments, and errors, are those of `episodes`.
    """
    def features(part: ImageSet) -> torch.Tensor:
        return F.normalize(torch.as_tensor(project(part.floats().flatten(1).numpy())), dim=1)

    right = []
    for task in episodes(images, ways=ways, shots=shots, queries=queries, count=count, seed=seed):
        nearest = (features(task.query) @ features(task.support).T).argmax(1)
        named = task.support.labels[nearest]
        right.append((named == task.query.labels).double().mean().item())
    return float(np.mean(right))
