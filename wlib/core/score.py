"""Judge a whole pool in one call: what its networks get right, and how sure we are of that.

Letters: N networks, B inputs, K classes, C channels, H×W pixels, T places of a sequence.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wlib.check import require, whole
from wlib.core.batches import Data, Images, Inputs
from wlib.core.pool import Pool
from wlib.seeds import generator


def predictions(pool: Pool, data: Data, engine: str = "auto") -> Tensor:
    """The class each network names for each input, (N, B) int64; (N, B, T) for outputs (B, T, K).

    Here and below `data` is an `ImageSet`, or a pair (inputs, labels): what `Pool.logits` takes,
    and the right classes, int64 (B,) or (B, T).
    """
    return _named(pool, *_check(pool, data), engine)


def _named(pool: Pool, inputs: Any, labels: Tensor, engine: str) -> Tensor:
    named = torch.empty(len(pool), *labels.shape, dtype=torch.int64, device=pool.device)
    for networks, rows, logits in pool.outputs(inputs, engine):
        _check_labels(labels[rows], logits)
        named[networks, rows] = logits.argmax(-1)
    return named


def errors(pool: Pool, data: Data, engine: str = "auto") -> Tensor:
    """Which inputs each network gets wrong, bool of `predictions`' shape: its error set."""
    inputs, labels = _check(pool, data)
    return _named(pool, inputs, labels, engine) != labels


def accuracy(pool: Pool, data: Data, engine: str = "auto") -> Tensor:
    """Share of labels that each network gets right, (N,) in [0, 1]."""
    return 1 - errors(pool, data, engine).double().flatten(1).mean(1)


def loss(pool: Pool, data: Data, engine: str = "auto") -> Tensor:
    """Mean cross-entropy of each network, (N,) in nats."""
    inputs, labels = _check(pool, data)
    total = torch.zeros(len(pool), dtype=torch.float64, device=pool.device)
    for networks, rows, logits in pool.outputs(inputs, engine):
        _check_labels(labels[rows], logits)
        _check_classes(labels, logits)
        targets = labels[rows].expand(logits.shape[:-1])                        # (n, b)
        losses = F.cross_entropy(logits.double().movedim(-1, 1), targets, reduction="none")
        total[networks] += losses.flatten(1).sum(1)
    return total / labels.numel()


def calibration(pool: Pool, data: Data, bins: int = 15, engine: str = "auto") -> Tensor:
    """Expected calibration error of each network, (N,): mean |confidence − accuracy| over bins of
    equal width, weighted by the inputs in each."""
    inputs, labels = _check(pool, data)
    require(whole(bins, 1), "bins", bins, "a whole number ≥ 1")
    logits = pool.logits(inputs, engine).double()
    _check_labels(labels, logits)
    confidence, named = logits.softmax(-1).flatten(1, -2).max(-1)               # (N, B) each
    right = (named == labels.flatten()).double()
    which = (confidence * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(len(pool), bins, dtype=torch.float64, device=pool.device)
    gap.scatter_add_(1, which, confidence - right)
    return gap.abs().sum(1) / labels.numel()


# ---- comparing networks ---------------------------------------------------------------------
def iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of error sets (…, B) and (…, B): intersection over union, 1 where both are empty."""
    for argument, value in (("a", a), ("b", b)):
        require(isinstance(value, Tensor) and value.dtype == torch.bool and value.ndim >= 1,
                argument, value, "a bool tensor (…, B)")
    require(a.shape[-1] == b.shape[-1], "b", b, f"the {a.shape[-1]} images of a")
    union = (a | b).sum(-1).double()
    return torch.where(union == 0, 1.0, (a & b).sum(-1) / union.clamp(min=1))


def pairwise_iou(errors: Tensor) -> Tensor:
    """`iou` of every pair of networks, (N, N), from error sets (N, B)."""
    require(isinstance(errors, Tensor) and errors.dtype == torch.bool and errors.ndim == 2,
            "errors", errors, "a bool tensor (N, B)")
    e = errors.double()
    both = e @ e.T                                                              # (N, N)
    union = e.sum(1)[:, None] + e.sum(1)[None] - both
    return torch.where(union == 0, 1.0, both / union.clamp(min=1))


def agreement(predictions: Tensor) -> Tensor:
    """Share of images for which two networks name the same class, (N, N), from (N, B)."""
    require(isinstance(predictions, Tensor) and predictions.ndim == 2
            and not predictions.is_floating_point() and predictions.numel() > 0,
            "predictions", predictions, "classes (N, B)")
    return torch.stack([(predictions == row).double().mean(1) for row in predictions])


def ks_distance(a: Tensor, b: Tensor) -> Tensor:
    """Two-sample Kolmogorov–Smirnov distance of each row of `a` (N, P) to `b` (Q,) or (N, Q).

    The largest gap between the two empirical distribution functions, 0 to 1. A distance and not a
    p-value: at the size of a network every difference is significant.
    """
    for argument, value, shapes in (("a", a, (2,)), ("b", b, (1, 2))):
        require(isinstance(value, Tensor) and value.ndim in shapes and value.numel() > 0, argument,
                value, "tensors (N, P) and (Q,) or (N, Q)")
        require(bool(torch.isfinite(value).all()), argument, "NaN or infinity", "finite numbers")
    require(b.ndim == 1 or len(b) == len(a), "b", b, f"(Q,) or ({len(a)}, Q)")
    b = b.to(a.device).double().sort(dim=-1).values
    others = b.expand(len(a), -1) if b.ndim == 1 else b
    return torch.stack([_ks(row.double().sort().values, other)           # bounds the memory
                        for row, other in zip(a, others, strict=True)])


def _ks(a: Tensor, b: Tensor) -> Tensor:
    """Kolmogorov–Smirnov distance of two sorted samples (P,) and (Q,).

    Between two jumps of a's distribution function that of b only rises, so the gap is largest at a
    jump (a above b) or right before one (b above a).
    """
    jump = torch.arange(1, len(a) + 1, device=a.device, dtype=torch.float64)
    above = jump / len(a) - torch.searchsorted(b, a, right=True).double() / len(b)
    below = torch.searchsorted(b, a).double() / len(b) - (jump - 1) / len(a)
    return torch.maximum(above.max(), below.max())


# ---- under attack ---------------------------------------------------------------------------
def noise_accuracy(pool: Pool, data: Images, sd: float = 0.1, seed: int = 0, engine: str = "auto"
                   ) -> Tensor:
    """Accuracy (N,) under Gaussian noise on the pixels (sd in units of the full range, clamped).

    Every network sees the same noise.
    """
    _check_images(pool, data)
    require(isinstance(sd, (int, float)) and sd >= 0, "sd", sd,
            "a standard deviation of at least 0")
    images = data.floats()
    noisy = images + sd * torch.randn(images.shape, generator=generator(seed))
    return _accuracy_on(pool, noisy.clamp(0, 1), data.labels, engine)


def fgsm(pool: Pool, data: Images, eps: float) -> Tensor:
    """Images (N, B, C, H, W) moved by eps along the sign of each network's own loss gradient
    (fast gradient sign method, Goodfellow et al. 2015), clamped to [0, 1]; eps in the same unit."""
    _check_images(pool, data)
    require(isinstance(eps, (int, float)) and eps >= 0, "eps", eps,
            "a distance of at least 0 in the maximum norm")
    start = data.floats(pool.device).to(pool.dtype)
    return torch.stack([(start + eps * _gradient(pool, i, start, data.labels).sign()).clamp(0, 1)
                        for i in range(len(pool))])


def pgd(pool: Pool, data: Images, eps: float, steps: int = 10, step: float | None = None,
        seed: int = 0) -> Tensor:
    """Images (N, B, C, H, W) after `steps` steps of projected gradient ascent on each network's
    own loss from a random start in the eps-ball (Madry et al. 2018); step size 2.5·eps/steps."""
    _check_images(pool, data)
    require(isinstance(eps, (int, float)) and eps >= 0, "eps", eps,
            "a distance of at least 0 in the maximum norm")
    require(whole(steps, 1), "steps", steps, "a whole number ≥ 1")
    step = 2.5 * eps / steps if step is None else step
    require(isinstance(step, (int, float)) and step >= 0, "step", step, "a step of at least 0")
    clean = data.floats(pool.device).to(pool.dtype)
    attacked = []
    for i in range(len(pool)):
        jump = torch.rand(clean.shape, generator=generator(seed, i)).to(clean)
        x = (clean + eps * (2 * jump - 1)).clamp(0, 1)
        for _ in range(steps):
            x = x + step * _gradient(pool, i, x, data.labels).sign()
            x = (clean + (x - clean).clamp(-eps, eps)).clamp(0, 1)
        attacked.append(x)
    return torch.stack(attacked)


def attacked_accuracy(pool: Pool, images: Tensor, labels: Tensor, engine: str = "auto") -> Tensor:
    """Accuracy (N,) on given floats: (B, C, H, W) for all, or (N, B, C, H, W), one set each."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require(isinstance(images, Tensor) and images.ndim in (4, 5)
            and images.shape[-4] == len(labels), "images", images, f"{len(labels)} images")
    return _accuracy_on(pool, images, labels, engine)


def _gradient(pool: Pool, i: int, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient of network i's loss with respect to the images, in bounded memory."""
    net = pool.network(i).requires_grad_(False)
    parts = []
    for x, y in zip(images.split(250), labels.to(images.device).split(250), strict=True):
        x = x.detach().requires_grad_()
        logits = net(x)
        _check_classes(y, logits)
        cross_entropy = F.cross_entropy(logits, y, reduction="sum")
        parts.append(torch.autograd.grad(cross_entropy, x)[0])
    return torch.cat(parts)


def _accuracy_on(pool: Pool, images: Tensor, labels: Tensor, engine: str) -> Tensor:
    right = torch.zeros(len(pool), dtype=torch.float64, device=pool.device)
    labels = labels.to(pool.device)
    for networks, part, logits in pool.outputs(images, engine, own=images.ndim == 5):
        right[networks] += (logits.argmax(-1) == labels[part]).sum(1)
    return right / len(labels)


def _check(pool: Pool, data: Data) -> tuple[Any, Tensor]:
    """What the networks are given, and the labels on their device."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    if hasattr(data, "floats") and hasattr(data, "labels") and len(data) > 0:
        return data, data.labels.to(pool.device)
    good = isinstance(data, tuple) and len(data) == 2 and isinstance(data[1], Tensor) \
        and data[1].dtype == torch.int64 and data[1].numel() > 0
    require(good, "data", data, "an ImageSet with images, or (inputs, labels) with int64 labels")
    inputs = Inputs.of(data[0], pool.device, pool.dtype)
    require(len(data[1]) == len(inputs), "data", f"{len(data[1])} labels",
            f"one for each of {len(inputs)}")
    return inputs, data[1].to(pool.device)


def _check_images(pool: Pool, data: Images) -> None:
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require(hasattr(data, "floats") and hasattr(data, "labels") and len(data) > 0, "data", data,
            "an ImageSet with images")


def _check_labels(labels: Tensor, logits: Tensor) -> None:
    """Labels (b, …) must be one for each row of outputs (n, b, …, K)."""
    require(logits.shape[1:-1] == labels.shape, "data", f"labels {tuple(labels.shape)}",
            f"{tuple(logits.shape[1:-1])}, the networks' outputs without the last axis, K classes")


def _check_classes(labels: Tensor, logits: Tensor) -> None:
    require(int(labels.max()) < logits.shape[-1], "data", f"labels up to {int(labels.max())}",
            f"labels below {logits.shape[-1]}, the networks' outputs")
