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

import torch
import torch.nn.functional as F
from torch import Tensor

from wlib import seeds
from wlib.check import require
from wlib.core import nets
from wlib.data import ImageSet
from wlib.free import inversion
from wlib.free.generator import (
    Fitted,
    MetaGenerator,
    checked,
    placed,
    recover,
    stored_fit_generator,
)
from wlib.free.inversion import Objective
from wlib.free.teachers import Teachers


# ---- with the teachers ------------------------------------------------------------------------
def pixels(teachers: Teachers, *, steps: int = 200, rate: float = 0.1, per_class: int = 12,
           objective: Objective | None = None, seed: int = 0, engine: str = "auto",
           device: str = "auto") -> ImageSet:
    """Images whose pixels themselves take the steps, each the logistic function of a number that
    starts normal. PURER (arXiv 2303.11183) inverts so; smoothness and statistics are switched on in
    the objective: `Objective(statistics=0.1, variation=0.5)`."""
    return pixel_stages(teachers, (steps,), rate=rate, per_class=per_class, objective=objective,
                        seed=seed, engine=engine, device=device)[steps]


def pixel_stages(teachers: Teachers, at: Sequence[int], *, rate: float = 0.1, per_class: int = 12,
                 objective: Objective | None = None, seed: int = 0, engine: str = "auto",
                 device: str = "auto") -> dict[int, ImageSet]:
    """What `pixels` gives after each number of steps in `at`, in one run."""
    teachers = placed(teachers, device)
    objective = checked(teachers, objective, per_class, rate)
    require(len(at) > 0 and all(isinstance(k, int) and k >= 0 for k in at), "steps", at,
            "whole numbers ≥ 0")
    targets, steps = inversion.interleaved(teachers.ways, per_class), max(at)
    numbers = [t.number for t in teachers.members]
    starts = [{"pixels": torch.randn(len(targets), *teachers.shape,
                                     generator=seeds.generator(seed, 0, n)).to(teachers.device)}
              for n in numbers]
    jitter = [inversion.crops(steps, len(targets), objective.pad, seed, 1, n) for n in numbers]
    walks = inversion.walks(teachers, range(len(teachers)), starts, _logistic, steps=steps,
                            rates={"pixels": rate}, targets=targets, jitter=jitter,
                            objective=objective, keep=at, engine=engine)
    return {k: inversion.collected(teachers, [w.images[k] for w in walks], targets) for k in at}


def _logistic(variables) -> Tensor:
    return variables["pixels"].sigmoid()


def fresh(teachers: Teachers, like: MetaGenerator, *, steps: int = 200, rate: float = 5e-3,
          seed: int = 0, **settings) -> ImageSet:
    """`recover` from a new generator for each teacher, see `fresh_generators`. The methods before
    FREE take 200 steps or more; how far five go is a matter of the rate."""
    return recover(teachers, fresh_generators(teachers, like, seed), steps=steps, rate=rate,
                   seed=seed, **settings)


def fresh_generators(teachers: Teachers, like: MetaGenerator, seed: int = 0
                     ) -> list[MetaGenerator]:
    """A new generator for each teacher, built like `like`; its weights depend on `seed` and the
    teacher's number."""
    require(isinstance(like, MetaGenerator), "like", like, "a MetaGenerator")
    return [nets.fresh(like, seeds.base(seeds.generator(seed, 2, t.number)))
            for t in teachers.members]


def joint(teachers: Teachers, generator: MetaGenerator, *, epochs: int, steps: int = 5,
          **settings) -> Fitted:
    """A generator trained for all teachers at once, without adaptation: what meta-learning must
    beat. As many gradients as `fit_generator` takes in `epochs` epochs of `steps` steps."""
    require(isinstance(steps, int) and steps >= 1, "steps", steps, "a whole number ≥ 1")
    return stored_fit_generator(teachers, generator, epochs=epochs * steps, steps=1,
                                **settings)


# ---- without them -----------------------------------------------------------------------------
def untrained(teachers: Teachers, like: MetaGenerator, *, per_class: int = 12, spread: float = 0.3,
              seed: int = 0) -> ImageSet:
    """Images of a new generator for each teacher: a class is a point in its noise space, its images
    come from normal noise of standard deviation `spread` around it."""
    require(isinstance(like, MetaGenerator), "like", like, "a MetaGenerator")
    require(like.shape == teachers.shape, "like", f"images of shape {like.shape}",
            f"the teachers' shape {teachers.shape}")

    @torch.no_grad()
    def images(member, classes, targets):
        centers = torch.stack([_normal((like.nz,), seed, 3, k) for k in classes])   # (C, nz)
        noise = _normal((len(targets), like.nz), seed, 4, member.number)
        net = nets.fresh(like, seeds.base(seeds.generator(seed, 2, member.number)))
        return net(centers[targets] + spread * noise)

    return _each(teachers, per_class, images)


def templates(teachers: Teachers, *, per_class: int = 12, noise: float = 0.2, seed: int = 0
              ) -> ImageSet:
    """For each class one image of uniform noise, the same in every teacher, and on each copy more
    noise of standard deviation `noise`."""
    def images(member, classes, targets):
        fixed = torch.stack([torch.rand(teachers.shape, generator=seeds.generator(seed, 3, k))
                             for k in classes])                                     # (C, C', H, W)
        grain = _normal((len(targets), *teachers.shape), seed, 4, member.number)
        return (fixed[targets] + noise * grain).clamp(0, 1)

    return _each(teachers, per_class, images)


def blobs(teachers: Teachers, *, per_class: int = 12, noise: float = 0.05, cells: int = 4,
          pad: int = 4, seed: int = 0) -> ImageSet:
    """For each class one smooth image, the same in every teacher (normal numbers on a grid of
    `cells` × `cells`, enlarged, between 0 and 1), shifted by up to `pad` pixels, with noise."""
    require(isinstance(cells, int) and cells >= 1, "cells", cells, "a whole number ≥ 1")

    def images(member, classes, targets):
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


def _each(teachers: Teachers, per_class: int, images: Callable) -> ImageSet:
    """Images made teacher by teacher from its number, its classes' places and the targets."""
    targets = inversion.interleaved(teachers.ways, per_class)
    made = [images(member, classes, targets) for member, classes in
            zip(teachers.members, teachers.ids.tolist(), strict=True)]
    return inversion.collected(teachers, made, targets)


def _normal(shape: tuple[int, ...], *path: int) -> Tensor:
    return torch.randn(shape, generator=seeds.generator(*path))
