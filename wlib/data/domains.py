"""Images whose classes, and not only themselves, are divided: for pools that meet new classes.

`images(domain, split)` gives classes to learn from ("train", also called base classes), others to
choose by ("validation") and others again to be judged on ("test"). No class is in two splits, nor
is one that looks like it:

| domain         | classes train/validation/test | what decides                                    |
|----------------|-------------------------------|-------------------------------------------------|
| `glyphs`       | 397 / 127 / 134               | hash of the base letter: e, È and ę go together |
| `color glyphs` | 397 / 127 / 134               | the same, so that the two can stand in one pool |
| `digits`       | 6 / 2 / 2, handwritten        | the same: no base digit is a test glyph         |
| `cifarfs`      | 64 / 16 / 20 of CIFAR-100     | Bertinetto et al.'s lists (`cifarfs`)      |
| `miniimagenet` | your files                    | folders `miniimagenet/train/CLASS/*.jpg`, …     |
| `cub`          | your files                    | folders `cub/train/CLASS/*.jpg`, …              |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from wlib.check import require, require_one_of
from wlib.data import cifarfs, glyphs
from wlib.data.imagesets import SPLITS, ImageSet, load

FOLDERS = ("miniimagenet", "cub")
DOMAINS = ("glyphs", "color glyphs", "digits", "cifarfs", *FOLDERS)


def images(domain: str, split: str = "train", *, samples: int = 20, channels: int | None = None,
           size: int | None = None, characters: str | Sequence[str] | None = None,
           root: str | Path | None = None, seed: int = 0) -> ImageSet:
    """At most `samples` images of each class that a domain has in this split.

    `channels` and `size` (height and width in pixels) bring domains to one shape; by default each
    keeps its own, folders 84. `characters` and `seed` are for glyphs, as in `glyphs.draw`;
    `root` is the folder of downloaded sets. Raises `FileNotFoundError` where files are missing.
    """
    require_one_of("domain", domain, DOMAINS)
    require_one_of("split", split, SPLITS)
    require(isinstance(samples, int) and samples >= 1, "samples", samples, "a whole number ≥ 1")
    require(channels in (None, 1, 3), "channels", channels, "1, 3 or None")
    require(size is None or isinstance(size, int) and 4 <= size <= 512, "size", size,
            "a whole number of pixels from 4 to 512, or None")
    glyphic = domain.endswith("glyphs")
    require(characters is None or glyphic, "characters", characters, f"None for {domain!r}")
    if glyphic:
        style = "color" if domain.startswith("color") else "grey"
        found = load("glyphs", split, by="character", characters=characters, style=style,
                     samples=samples, seed=seed)
    elif domain == "digits":
        whole = joined([load("digits", s, size=size or 28) for s in SPLITS])
        found = restrict(whole, [c for c in whole.classes if glyphs.split_of(c) == split])
    elif domain == "cifarfs":
        whole = joined([load("cifar100", s, root=root) for s in SPLITS])
        found = restrict(whole, cifarfs.CLASSES[split])
    else:
        found = _folder(domain, split, root, size or 84, channels or 3)
    return shaped(first(found, samples), channels, size)


def _folder(domain: str, split: str, root, size: int, channels: int) -> ImageSet:
    from wlib.data import realsets  # here, because torchvision takes a second to import

    folder = realsets.root_of(root) / domain / split
    if not folder.is_dir():
        raise FileNotFoundError(f"{domain}: there is no folder {folder}, want one directory of "
                                f"images per class in it; name its root with root= or the variable "
                                f"WLIB_DATA, or use a domain that needs no files: glyphs, digits")
    part, classes = realsets.read_folder(folder, size, channels)
    return ImageSet(torch.from_numpy(part.images), torch.from_numpy(part.labels), classes)


# ---- sets made of sets ------------------------------------------------------------------------
def joined(parts: Sequence[ImageSet]) -> ImageSet:
    """The images of several sets of the same classes and shape, in order, as one set."""
    for i, part in enumerate(parts):
        require(part.classes == parts[0].classes, f"parts[{i}]", part.classes,
                "the classes of parts[0]")
    return ImageSet(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts]),
                    parts[0].classes)


def mixed(sets: Mapping[str, ImageSet]) -> ImageSet:
    """Several domains as one set of all their classes, each called "domain: class".

    All images must have one shape. A single domain keeps the names it has.
    """
    require(isinstance(sets, Mapping) and len(sets) > 0, "sets", sets,
            "image sets by the name of their domain")
    shapes = {name: tuple(part.images.shape[1:]) for name, part in sets.items()}
    require(len(set(shapes.values())) == 1, "sets", shapes,
            "images of one shape: see channels= and size= of wlib.data.domains.images")
    if len(sets) == 1:
        return next(iter(sets.values()))
    names, labels = [], []
    for domain, part in sets.items():
        labels.append(part.labels + len(names))
        names += [f"{domain}: {c}" for c in part.classes]
    return ImageSet(torch.cat([p.images for p in sets.values()]), torch.cat(labels), tuple(names))


def restrict(images: ImageSet, classes: Sequence[str]) -> ImageSet:
    """The images of these classes alone, labeled 0, 1, … in the order given."""
    for c in classes:
        require_one_of("classes", c, images.classes)
    require(len(classes) > 0 and len(set(classes)) == len(classes), "classes", classes,
            "at least one class, none twice")
    new = torch.full((len(images.classes),), -1)
    new[[images.classes.index(c) for c in classes]] = torch.arange(len(classes))
    labels = new[images.labels]
    return ImageSet(images.images[labels >= 0], labels[labels >= 0], tuple(classes))


def place_in_class(images: ImageSet) -> torch.Tensor:
    """Of each image, how many of its class there are up to it: 1, 2, …, (B,)."""
    one_hot = F.one_hot(images.labels, len(images.classes))                       # (B, K)
    return one_hot.cumsum(0).gather(1, images.labels[:, None]).squeeze(1)


def first(images: ImageSet, samples: int) -> ImageSet:
    """The first `samples` images of each class, in the order they have."""
    return images[place_in_class(images) <= samples]


def shaped(images: ImageSet, channels: int | None = None, size: int | None = None) -> ImageSet:
    """The images with so many channels (gray ones repeated) and pixels (bilinear, antialiased)."""
    x = images.images
    if channels not in (None, images.channels):
        require(channels == 3, "channels", channels, "3, or None: colors cannot be made gray here")
        x = x.expand(-1, 3, -1, -1)
    if size not in (None, images.size):
        x = F.interpolate(x.float(), size=(size, size), mode="bilinear", antialias=True,
                          align_corners=False).round().clamp(0, 255).byte()
    return images if x is images.images else ImageSet(x.contiguous(), images.labels,
                                                      images.classes)
