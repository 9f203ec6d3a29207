"""BatchNorm's running statistics anew, for networks whose weights have changed.

A BatchNorm layer divides by the spread that its inputs had in training. Other weights before it
give other inputs, so a generated network needs its own statistics. They are averages over a few
batches of images: no labels, no gradients, no step.
"""

from __future__ import annotations

import torch
from torch import nn

from wlib.check import require, whole
from wlib.core.pool import Pool
from wlib.seeds import generator

NORM = nn.modules.batchnorm._BatchNorm      # the base of BatchNorm in every number of dimensions


@torch.no_grad()
def recalibrate(pool: Pool, images, batches: int = 10, batch: int = 100, seed: int = 0) -> Pool:
    """The pool with the running means and variances of every BatchNorm layer computed anew.

    Each network sees the same images, at most `batches` batches of `batch` drawn by `seed` from
    the `ImageSet` (fewer where it has fewer; never a batch that is not full); its statistics are
    the plain averages over the batches. Weights stay as they are, other layers work as in
    evaluation (no dropout), and a pool without such layers is returned itself.
    """
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    require(hasattr(images, "floats") and len(images) >= 2, "images", images,
            "an ImageSet with at least 2 images")
    for argument, value, least in (("batches", batches, 1), ("batch", batch, 2)):
        require(whole(value, least),
                argument, value, f"a whole number ≥ {least}")
    if not any(keeps_statistics(m) for m in pool.template.modules()):
        return pool
    size = min(batch, len(images))
    order = torch.randperm(len(images), generator=generator(seed))
    parts = order[: len(images) // size * size].split(size)[:batches]
    seen = [images[part].floats(pool.device).to(pool.dtype) for part in parts]
    buffers = [_statistics(pool.network(i), seen) for i in range(len(pool))]
    return Pool(pool.template, pool.parameters,
                {k: torch.stack([b[k] for b in buffers]) for k in pool.buffers})


def keeps_statistics(module: nn.Module) -> bool:
    """Whether this layer is a BatchNorm with running statistics."""
    return isinstance(module, NORM) and module.running_mean is not None


def _statistics(net: nn.Module, batches) -> dict[str, torch.Tensor]:
    for module in net.modules():
        if keeps_statistics(module):
            module.reset_running_stats()
            module.momentum = None          # torch's word for the plain average
            module.train()
    for x in batches:
        net(x)
    return dict(net.named_buffers())
