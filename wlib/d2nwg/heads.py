"""Heads: one linear layer on what a frozen encoder says of images, for many data sets at once.

    sets = [Features(encoder(s.train), s.train.labels, s.classes) for s in data_sets]
    pool = stored_fit(sets)                        # one head per data set, weights (T, K·d + K)
    zoo.Zoo(data_sets, pool, start="zero")

Letters: T data sets, B images, K classes, d features.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib import store
from wlib.check import require, whole
from wlib.core import nets
from wlib.core.pool import Pool


def head(classes: int, width: int) -> nn.Sequential:
    """One linear layer on features of an image, width·K + K weights: what `fit` trains."""
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), fc=nn.Linear(width, classes)))


def rows(weights: Tensor, classes: int) -> Tensor:
    """Heads (…, K·d + K) class by class, weights and bias of each: (…, K, d + 1)."""
    require(isinstance(weights, Tensor) and weights.ndim >= 1 and weights.shape[-1] % classes == 0
            and weights.shape[-1] > classes, "weights", weights,
            f"heads of {classes} classes: K·d weights and K biases")
    weight, bias = weights[..., :-classes], weights[..., -classes:]
    return torch.cat([weight.unflatten(-1, (classes, -1)), bias[..., None]], dim=-1)


def from_rows(rows: Tensor) -> Tensor:
    """Heads (…, K·d + K) of `rows` (…, K, d + 1): `rows` the other way round."""
    return torch.cat([rows[..., :-1].flatten(-2), rows[..., -1]], dim=-1)


@dataclass(frozen=True, eq=False)
class Features:
    """What a frozen encoder says of images: `values` (B, d), `labels` (B,), K class names.

    To networks it looks like an `ImageSet` of d channels of one pixel.
    """

    values: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        v, y = self.values, self.labels
        require(isinstance(v, Tensor) and v.ndim == 2 and v.is_floating_point() and v.numel() > 0,
                "values", v, "features (B, d)")
        require(bool(torch.isfinite(v).all()), "values", "NaN or infinity", "finite features")
        require(isinstance(y, Tensor) and y.dtype == torch.int64 and y.shape == v.shape[:1],
                "labels", y, f"an int64 tensor of shape ({len(v)},)")
        require(0 <= int(y.min()) and int(y.max()) < len(self.classes), "labels",
                f"labels from {int(y.min())} to {int(y.max())}",
                f"labels from 0 to {len(self.classes) - 1}, one for each of the classes")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice | Tensor) -> Features:
        """The chosen images' features (slice, mask or indices) with the same classes."""
        return Features(self.values[index], self.labels[index], self.classes)

    def floats(self, device: str | torch.device = "cpu") -> Tensor:
        """float32 (B, d, 1, 1)."""
        return self.values.to(device).float()[:, :, None, None]

    def digest(self) -> str:
        """One hash of features, labels and class names."""
        return store.digest({"values": self.values, "labels": self.labels}) + repr(self.classes)


def fit(sets: Sequence[Features], *, decay: float = 1e-3, iterations: int = 200,
        device: str = "auto") -> Pool:
    """Multinomial logistic regression on each of T sets of features, all at once: a pool of heads.

    Each minimizes mean cross-entropy + decay/2 ‖W‖² (not the bias) over all its features, from
    zero; scikit-learn's C is 1/(decay · B). The sum of these convex problems is one more, which
    L-BFGS solves: what a head is depends on the others no more than on the solver's tolerance.
    """
    sets = list(sets)
    require(len(sets) > 0 and all(isinstance(s, Features) for s in sets), "sets", sets,
            "at least one Features")
    shapes = sorted({(s.values.shape[1], len(s.classes)) for s in sets})
    require(len(shapes) == 1, "sets", f"(width, classes) {shapes}", "one width and as many classes")
    require(isinstance(decay, (int, float)) and decay >= 0, "decay", decay, "a number ≥ 0")
    require(whole(iterations, 1), "iterations", iterations,
            "a whole number ≥ 1")
    (width, classes), (x, y, fraction) = shapes[0], _padded(sets, nets.resolve_device(device))
    weight = torch.zeros(len(sets), classes, width).to(x).requires_grad_()
    bias = torch.zeros(len(sets), 1, classes).to(x).requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=iterations, history_size=20,
                               tolerance_grad=1e-7, tolerance_change=1e-12,
                               line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = torch.baddbmm(bias, x, weight.transpose(1, 2))                   # (T, B, K)
        each = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
        total = (each * fraction.flatten()).sum() + decay / 2 * weight.square().sum()
        total.backward()
        return total

    solver.step(loss)
    template = Pool.stack([head(classes, width)])
    return template.with_flat(torch.cat([weight.detach().flatten(1), bias.detach().flatten(1)],
                                        1).cpu())


def stored_fit(sets: Sequence[Features], *, device: str = "auto", **settings: Any) -> Pool:
    """`fit`, kept in the store."""
    rows = store.cached(_fitted, list(sets), str(nets.resolve_device(device)), settings)
    return Pool.stack([head(len(sets[0].classes), sets[0].values.shape[1])]).with_flat(rows)


def _fitted(sets: list[Features], device: str, settings: dict[str, Any]) -> Tensor:
    return fit(sets, device=device, **settings).flat()


def _padded(sets: list[Features], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Features (T, B, d), labels (T, B) and each image's fraction of its set (T, B), 0 if padding.

    In double precision: in single the line search stops before the weights have settled.
    """
    x = nn.utils.rnn.pad_sequence([s.values.double() for s in sets], batch_first=True)
    y = nn.utils.rnn.pad_sequence([s.labels for s in sets], batch_first=True)
    fraction = nn.utils.rnn.pad_sequence([torch.full((len(s),), 1 / len(s), dtype=x.dtype)
                                          for s in sets], batch_first=True)
    return x.to(device), y.to(device), fraction.to(device)
