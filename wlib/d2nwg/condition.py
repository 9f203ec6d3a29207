"""From a data set to a condition: images of each class by their features, and vectors of them.

    features = backbones.glyph_features(images)                     # (B, 64)
    sets = by_class(features, images.labels, count=20)              # (C, 20, 64)
    c = per_class(draw(sets, 5, seeds.generator(0)))                # (C, 128)

| encoder        | gives       | order of classes | order of images | weights at the paper's size |
|----------------|-------------|------------------|-----------------|-----------------------------|
| `concatenated` | (C·d)       | counts           | does not count  | none                        |
| `Components`   | (size)      | counts           | does not count  | none that learn             |
| `per_class`    | (C, 2d)     | its rows follow  | does not count  | none                        |
| `SetEncoder`   | (size)      | does not count   | does not count  | 1,893,632                   |
| `MLPEncoder`   | (size)      | counts           | counts          | 2,098,380                   |

The last two learn, and are in `encoders`. Features may only come from training images: what is
scored later must not have been seen in a condition.

Letters: B images, C classes, S images of a class, d features, n data sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wlib.check import finite, require, whole


def require_floats(name: str, value: Any, *dims: int) -> Tensor:
    """The value without its graph, if it is a finite float tensor of as many dimensions."""
    wanted = " or ".join(map(str, dims))
    require(isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 0
            and value.ndim in dims, name, value, f"a float tensor of {wanted} dimensions")
    require(finite(value), name, "NaN or infinity", "finite numbers")
    return value.detach()


def by_class(features: Tensor, labels: Tensor, count: int = 20, classes: int | None = None
             ) -> Tensor:
    """The first `count` images' features of every class, (C, count, d), of features (B, d).

    The released code keeps 20 per class and draws 5 of them at a time. `classes` is C, where the
    labels alone would not tell that the last class has no image.
    """
    require_floats("features", features, 2)
    require(isinstance(labels, Tensor) and labels.shape == features.shape[:1]
            and not labels.is_floating_point(), "labels", labels, f"({len(features)},) whole "
            "numbers, one per image")
    require(whole(count), "count", count, "a whole number ≥ 1")
    found = torch.bincount(labels, minlength=classes or 0)
    require(classes is None or len(found) == classes, "labels", f"label {len(found) - 1}",
            f"labels below classes = {classes}")
    require(int(found.min()) >= count, "features", f"{int(found.min())} images of class "
            f"{int(found.argmin())}", f"at least count = {count} of every class")
    return torch.stack([features[labels == k][:count] for k in range(len(found))])


def draw(features: Tensor | Sequence[Tensor], shots: int | None, rng: torch.Generator
         ) -> Tensor:
    """`shots` images of every class at random, no image twice: (…, C, shots, d).

    `features` is (…, C, S, d), or a list with (S, d) for each class where their S differ. With
    `shots=None` all images stay, in their order, and nothing is drawn.
    """
    if not isinstance(features, Tensor):
        require(isinstance(shots, int) and len(features) > 0, "shots", shots,
                "a whole number for classes of different sizes, at least one")
        for k, own in enumerate(features):
            require_floats(f"features[{k}]", own, 2)
            _enough(f"features[{k}]", len(own), shots)
        return torch.stack([draw(own[None], shots, rng)[0] for own in features])
    require(features.ndim >= 3, "features", features, "(…, classes, images, d)")
    if shots is None:
        return features
    _enough("features", features.shape[-2], shots)
    order = torch.rand(features.shape[:-1], generator=rng)                # (…, C, S)
    chosen = order.argsort(-1)[..., :shots].to(features.device)
    return features.gather(-2, chosen[..., None].expand(*chosen.shape, features.shape[-1]))


def _enough(name: str, images: int, shots: int | None) -> None:
    require(whole(shots), "shots", shots, "a whole number ≥ 1")
    require(shots is not None and shots <= images, name, f"{images} images of a class",
            f"at least shots = {shots}")


def concatenated(sets: Tensor) -> Tensor:
    """The class means one after another: (…, C, S, d) to (…, C·d), bound to their order."""
    return sets.mean(-2).flatten(-2)


def per_class(sets: Tensor) -> Tensor:
    """Of each class its mean and the mean over all classes: (…, C, S, d) to (…, C, 2d).

    Other classes in another order give the same rows in that order.
    """
    means = sets.mean(-2)                                                      # (…, C, d)
    return torch.cat([means, means.mean(-2, keepdim=True).expand_as(means)], dim=-1)


class Components(nn.Module):
    """`concatenated`, brought to its first principal components of unit spread: (…, size).

    Fitted on the sets of a zoo (`Components.fit`), then frozen. Where a zoo has few data sets, all
    of C·d numbers would tell them apart by what they share with no other.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, mean: Tensor, basis: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)            # (C·d,)
        self.register_buffer("basis", basis)          # (C·d, size), divided by the spread

    @classmethod
    def fit(cls, sets: Tensor, size: int = 16) -> Components:
        """Of sets of features (n, C, S, d); at most n − 1 components."""
        require_floats("sets", sets, 4)
        require(whole(size) and size < len(sets), "size", size,
                f"a whole number from 1 to {len(sets) - 1}, one less than data sets")
        rows = concatenated(sets).double()
        _, spread, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
        require(float(spread[size - 1]) > 1e-9 * float(spread[0]), "size", size,
                "a number at which the data sets still differ")
        sd = spread[:size] / math.sqrt(len(rows))
        return cls(rows.mean(0).float(), (directions[:size].T / sd).float())

    def forward(self, sets: Tensor) -> Tensor:
        return (concatenated(sets) - self.mean) @ self.basis
