"""The source networks that part II cuts and joins: letters, and networks trained on them.

Each source has classes of its own. The last training images of each class are *held out*: they
train nothing and choose no channels, so that whatever is fitted to logits can be fitted to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wlib import store
from wlib.check import require, require_one_of, whole
from wlib.core import nets, train
from wlib.core.pool import Pool
from wlib.data import SPLITS, ImageSet, load
from wlib.mda.contribution import contributions, of_classes, select
from wlib.mda.voting import Masks, masks

# Class 0 of Latin and of Greek, A and alpha, look alike in every face; no two others do.
ALPHABETS = {"Latin": "ABDEFGHJKLMNPQRTUVXY", "Greek": "ΑΓΔΞΣΦΨΩβγδεζηθλμξπφ",
             "Cyrillic": "БДЖЛЧШЩЪЫЬЭЮЯдзйлфцщ"}
SAMPLES = (150, 40, 60)        # images per class: training, validation, test
LR = 1e-3                      # at twice this some networks never leave the start


class Images(NamedTuple):
    """A source's images: `fit` trains, `held` is fitted to logits, then validation and test."""

    fit: ImageSet
    held: ImageSet
    validation: ImageSet
    test: ImageSet


def images(name: str = "glyphs", alphabet: str = "Latin", *, ways: int = 10,
           samples: Sequence[int] | None = None, held: int = 20, style: str = "color",
           seed: int = 0) -> Images:
    """The images of one source, `held` of each class held out of the training split.

    `glyphs` renders the first `ways` letters of an alphabet, `samples` of each for the three
    splits (default `SAMPLES`). Every other name of `wlib.data.load` has its own classes and
    images, of which `samples`, if given, takes so many per class on average.
    """
    require_one_of("alphabet", alphabet, ALPHABETS)
    require(whole(ways) and ways <= len(ALPHABETS[alphabet]), "ways", ways,
            f"a whole number from 1 to {len(ALPHABETS[alphabet])}")
    require(samples is None or len(samples) == len(SPLITS), "samples", samples,
            "one number per split: three")
    if name == "glyphs":
        letters = ALPHABETS[alphabet][:ways]
        sets = [load(name, split, characters=letters, style=style, samples=count, seed=seed)
                for split, count in zip(SPLITS, samples or SAMPLES, strict=True)]
    else:
        sets = [load(name, split) for split in SPLITS]
        if samples is not None:
            sets = [full.take(min(len(full), count * len(full.classes)), seed=seed)
                    for full, count in zip(sets, samples, strict=True)]
    return Images(*divide(sets[0], held), *sets[1:])


def divide(images: ImageSet, held: int) -> tuple[ImageSet, ImageSet]:
    """A set in two: all but the last `held` images of each class, and those."""
    counts = images.labels.bincount(minlength=len(images.classes))
    require(whole(held) and held < int(counts.min()), "held", held,
            f"a whole number ≥ 1 below the {int(counts.min())} images of the smallest class")
    late = torch.zeros(len(images), dtype=torch.bool)
    for k in range(len(images.classes)):
        late[(images.labels == k).nonzero().flatten()[-held:]] = True
    return images[~late], images[late]


def together(sets: Sequence[ImageSet], picks: Sequence[Sequence[int]]) -> ImageSet:
    """The images of the chosen classes of several sets, labeled from 0 over the sets in order.

    `ValueError` where the sets' images differ in channels or size: no network could see them all.
    """
    shapes = [tuple(own.images.shape[1:]) for own in sets]
    require(len(set(shapes)) == 1, "sets", f"images of shapes {shapes}", "one shape (C, H, W)")
    images, labels = [], []
    names: list[str] = []
    for number, (own, classes) in enumerate(zip(sets, picks, strict=True), start=1):
        chosen, renumbered = of_classes(own.images, own.labels, classes)
        images.append(chosen)
        labels.append(renumbered + len(names))
        names += [f"{own.classes[k]} of source {number}" for k in classes]
    return ImageSet(torch.cat(images), torch.cat(labels), tuple(names))


def together_all(sources: Sequence[Images], picks: Sequence[Sequence[int]]) -> Images:
    """`together` for every split of several sources."""
    return Images(*(together(split, picks) for split in zip(*sources, strict=True)))


def trained(architecture: str, data: ImageSet, *, seeds: Sequence[int], epochs: int = 6,
            batch: int = 16, widths: Sequence[int] = (8, 16, 32), device: str = "auto") -> Pool:
    """Networks trained on the images, one per seed, each kept in the store.

    A fast start of `epochs` passes, then a third as many in larger batches at a quarter of the
    learning rate: without this calm end the last steps decide how good a network is.
    `architecture` is a name of `wlib.core.nets` or of torchvision; `widths` are those of "vgg"
    and "resnet".
    """
    own = {"widths": tuple(widths)} if architecture in ("vgg", "resnet") else {}
    started = train.stored_fit(design(architecture, data), data, seeds=seeds, epochs=epochs,
                               batch=batch, lr=LR, device=device, **own)
    return Pool.cat([train.stored_fit(started[i], data, seeds=[seed], epochs=max(1, epochs // 3),
                                      batch=2 * batch, lr=LR / 4, device=device)
                     for i, seed in enumerate(seeds)])


def design(architecture: str, data: ImageSet) -> str | nn.Module:
    """What `core.train` takes: a name of `core.nets`, or a network of torchvision to start anew."""
    if architecture in nets.ARCHITECTURES:
        return architecture
    from torchvision import models  # late, because it takes a second to import

    require_one_of("architecture", architecture, [*nets.ARCHITECTURES, *models.list_models()])
    more = {"aux_logits": False, "init_weights": True} if architecture == "googlenet" else {}
    return nets.fresh(
        partial(models.get_model, architecture, num_classes=len(data.classes), **more), 0)


# ---- the images that speak for the classes ----------------------------------------------------
def surest(net: nn.Module, images: ImageSet, per_class: int = 5, correct: bool = True) -> Tensor:
    """The images (indices) that speak for the classes: the network is right and surest of them.

    Where it gets none of a class right, images that it gets wrong speak too.
    """
    x, y = images.floats(), images.labels
    try:
        return select(net, x, y, per_class, correct)
    except ValueError:                    # there is a class of which the network gets none right
        return select(net, x, y, per_class, correct=False)


def masks_of(net: nn.Module, spoken: ImageSet, mode: str = "graph", strict: bool = True,
             **settings: Any) -> Masks:
    """The masks of all classes from the images that speak for them."""
    found = contributions(net, spoken.floats(), spoken.labels, **settings)
    return masks(found, mode=mode, strict=strict)


def own_masks(net: nn.Module, images: ImageSet) -> Masks:
    """`masks_of` the images of a source, by the five of each class that its network is surest of.

    The choice is kept in the store: it asks for an answer to every image.
    """
    return masks_of(net, images[store.cached(surest, net, images)])
