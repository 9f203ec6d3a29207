"""FREE's rivals: other ways from networks to images, and images that owe the networks nothing.

All give what `recover` gives, an `ImageSet` teacher by teacher with the classes of each
in turn, so that whatever is learned from recovered images can be learned from these.

| function    | images                                                          | teacher used? |
|-------------|-----------------------------------------------------------------|---------------|
| `pixels`    | moved pixel by pixel, without a generator                       | yes           |
| `fresh`     | of a new generator for each teacher, not meta-learned           | yes           |
| `joint`     | (a generator) trained for all teachers at once                  | yes           |
| `untrained` | of a new generator; a class is a neighborhood in its noise      | no            |
| `templates` | a fixed noise image for each class, with more noise             | no            |
| `blobs`     | a fixed smooth image for each class, shifted, with noise        | no            |
| `shuffled`  | recovered ones whose labels are permuted within each teacher    | the link is cut |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from wlib import seeds
from wlib.check import require, whole
from wlib.core import nets
from wlib.data.sets import ImageSet
from wlib.free import inversion
from wlib.free.generator import (
    MetaGenerator,
    MetaTraining,
    TrainState,
    placed,
    recover,
    stored_fit_generator,
)
from wlib.free.inversion import Recovery, Variables
from wlib.free.teachers import Teacher, Teachers


# ---- with the teachers ------------------------------------------------------------------------
def pixels(teachers: Teachers, settings: Recovery | None = None, *, seed: int = 0,
           device: str = "auto") -> ImageSet:
    """Images whose pixels themselves take the steps (by default 200 at 0.1), each the logistic
    function of a number that starts normal. PURER (arXiv 2303.11183) inverts so; smoothness and
    statistics are switched on in the objective: `Objective(statistics=0.1, variation=0.5)`."""
    how = settings or Recovery(steps=200, lr=0.1)
    return pixel_stages(teachers, (how.steps,), how, seed=seed, device=device)[how.steps]


def pixel_stages(teachers: Teachers, at: Sequence[int], settings: Recovery, *, seed: int = 0,
                 device: str = "auto") -> dict[int, ImageSet]:
    """What `pixels` gives after each number of steps in `at` (not the settings'), in one run."""
    teachers = placed(teachers, device)
    shape = teachers.ways * settings.per_class, *teachers.shape
    begin = [{"pixels": _normal(shape, seed, 0, t.number).to(teachers.device)}
             for t in teachers.members]
    return inversion.staged(teachers, begin, _logistic, at, settings, seed)


def _logistic(variables: Variables) -> Tensor:
    return variables["pixels"].sigmoid()


def fresh(teachers: Teachers, like: MetaGenerator, settings: Recovery | None = None, *,
          seed: int = 0, device: str = "auto") -> ImageSet:
    """`recover` from a new generator for each teacher, see `fresh_generators`. The methods before
    FREE take 200 steps or more (by default at 5e-3); how far five go is a matter of the rate."""
    return recover(teachers, fresh_generators(teachers, like, seed),
                   settings or Recovery(steps=200, lr=5e-3), seed=seed, device=device)


def fresh_generators(teachers: Teachers, like: MetaGenerator, seed: int = 0
                     ) -> list[MetaGenerator]:
    """A new generator for each teacher, built like `like`; its weights depend on `seed` and the
    teacher's number."""
    require(isinstance(like, MetaGenerator), "like", like, "a MetaGenerator")
    return [cast(MetaGenerator, nets.fresh(like, seeds.base(seeds.generator(seed, 2, t.number))))
            for t in teachers.members]


def joint(teachers: Teachers, generator: MetaGenerator, settings: MetaTraining, *, epochs: int,
          seed: int = 0, device: str = "auto") -> TrainState:
    """A generator trained for all teachers at once, without adaptation: what meta-learning must
    beat. As many gradients as `fit_generator` takes in so many epochs with these settings."""
    plain = replace(settings, recovery=replace(settings.recovery, steps=1))
    return stored_fit_generator(teachers, generator, plain, seed=seed, device=device,
                                epochs=epochs * settings.recovery.steps)


# ---- without them -----------------------------------------------------------------------------
def untrained(teachers: Teachers, like: MetaGenerator, *, per_class: int = 12, spread: float = 0.3,
              seed: int = 0) -> ImageSet:
    """Images of a new generator for each teacher: a class is a point in its noise space, its images
    come from normal noise of standard deviation `spread` around it."""
    require(isinstance(like, MetaGenerator), "like", like, "a MetaGenerator")
    require(like.shape == teachers.shape, "like", f"images of shape {like.shape}",
            f"the teachers' shape {teachers.shape}")

    @torch.no_grad()
    def images(member: Teacher, classes: list[int], targets: Tensor) -> Tensor:
        centers = torch.stack([_normal((like.nz,), seed, 3, k) for k in classes])   # (C, nz)
        noise = _normal((len(targets), like.nz), seed, 4, member.number)
        net = nets.fresh(like, seeds.base(seeds.generator(seed, 2, member.number)))
        return net(centers[targets] + spread * noise)

    return _each(teachers, per_class, images)


def templates(teachers: Teachers, *, per_class: int = 12, noise: float = 0.2, seed: int = 0
              ) -> ImageSet:
    """For each class one image of uniform noise, the same in every teacher, and on each copy more
    noise of standard deviation `noise`."""
    def images(member: Teacher, classes: list[int], targets: Tensor) -> Tensor:
        fixed = torch.stack([torch.rand(teachers.shape, generator=seeds.generator(seed, 3, k))
                             for k in classes])                                     # (C, C', H, W)
        grain = _normal((len(targets), *teachers.shape), seed, 4, member.number)
        return (fixed[targets] + noise * grain).clamp(0, 1)

    return _each(teachers, per_class, images)


def blobs(teachers: Teachers, *, per_class: int = 12, noise: float = 0.05, cells: int = 4,
          pad: int = 4, seed: int = 0) -> ImageSet:
    """For each class one smooth image, the same in every teacher (normal numbers on a grid of
    `cells` × `cells`, enlarged, between 0 and 1), shifted by up to `pad` pixels, with noise."""
    require(whole(cells), "cells", cells, "a whole number ≥ 1")

    def images(member: Teacher, classes: list[int], targets: Tensor) -> Tensor:
        grids = torch.stack([_normal((teachers.shape[0], cells, cells), seed, 3, k)
                             for k in classes])
        fixed = F.interpolate(grids, size=teachers.shape[1:], mode="bicubic", align_corners=False)
        where = inversion.crops(1, len(targets), pad, seed, 5, member.number).offsets[0]
        moved = inversion.shifted((2 * fixed).sigmoid()[targets], where, pad)
        grain = _normal((len(targets), *teachers.shape), seed, 4, member.number)
        return (moved + noise * grain).clamp(0, 1)

    return _each(teachers, per_class, images)


def shuffled(teachers: Teachers, images: ImageSet, *, seed: int = 0) -> ImageSet:
    """Recovered images with their labels permuted within each teacher: the same images and as many
    of each class, but what an image shows says no more about its label than chance does."""
    require(len(images) % len(teachers) == 0, "images", f"{len(images)} images",
            f"as many for each of {len(teachers)} teachers")
    parts = images.labels.split(len(images) // len(teachers))
    labels = [part[torch.randperm(len(part), generator=seeds.generator(seed, t.number))]
              for part, t in zip(parts, teachers.members, strict=True)]
    return ImageSet(images.images, torch.cat(labels), images.classes)


def _each(teachers: Teachers, per_class: int,
          images: Callable[[Teacher, list[int], Tensor], Tensor]) -> ImageSet:
    """Images made teacher by teacher from its number, its classes' places and the targets."""
    targets = inversion.interleaved(teachers.ways, per_class)
    made = [images(member, classes, targets) for member, classes in
            zip(teachers.members, teachers.ids.tolist(), strict=True)]
    return inversion.as_set(teachers, made)


def _normal(shape: tuple[int, ...], *path: int) -> Tensor:
    return torch.randn(shape, generator=seeds.generator(*path))
