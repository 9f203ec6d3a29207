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

from collections.abc import Sequence
from pathlib import Path

import torch

from wlib.check import require, require_one_of, whole
from wlib.data import cifarfs, glyphs
from wlib.data.imagesets import load
from wlib.data.sets import SPLITS, ImageSet, first, joined, restrict, shaped

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
    require(whole(samples), "samples", samples, "a whole number ≥ 1")
    require(channels in (None, 1, 3), "channels", channels, "1, 3 or None")
    require(size is None or isinstance(size, int) and 4 <= size <= 512, "size", size,
            "a whole number of pixels from 4 to 512, or None")
    glyphic = domain.endswith("glyphs")
    require(characters is None or glyphic, "characters", characters, f"None for {domain!r}")
    if glyphic:
        style = "color" if domain.startswith("color") else "gray"
        found = load("glyphs", split, by="character", characters=characters, style=style,
                     samples=samples, seed=seed)
    elif domain == "digits":
        every = joined([load("digits", s, size=size or 28) for s in SPLITS])
        found = restrict(every, [c for c in every.classes if glyphs.split_of(c) == split])
    elif domain == "cifarfs":
        every = joined([load("cifar100", s, root=root) for s in SPLITS])
        found = restrict(every, cifarfs.CLASSES[split])
    else:
        found = _folder(domain, split, root, size or 84, channels or 3)
    return shaped(first(found, samples), channels, size)


def _folder(domain: str, split: str, root: str | Path | None, size: int, channels: int
            ) -> ImageSet:
    from wlib.data import realsets  # here, because torchvision takes a second to import

    folder = realsets.root_of(root) / domain / split
    if not folder.is_dir():
        raise FileNotFoundError(f"{domain}: there is no folder {folder}, want one directory of "
                                f"images per class in it; name its root with root= or the variable "
                                f"WLIB_DATA, or use a domain that needs no files: glyphs, digits")
    part, classes = realsets.read_folder(folder, size, channels)
    return ImageSet(torch.from_numpy(part.images), torch.from_numpy(part.labels), classes)
