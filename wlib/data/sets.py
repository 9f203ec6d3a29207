"""Labeled images, few-shot tasks drawn from them, and sets made of sets.

    some = ImageSet(images, labels, ("cat", "dog"))             # uint8 (B,C,H,W), int64 (B,)
    tasks = list(episodes(some, ways=2, shots=1, queries=5, count=10, seed=0))
    restrict(some, ["dog"])                                     # the dogs alone, labeled 0
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wlib.check import require, require_one_of, whole

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labeled images: `images` uint8 (B,C,H,W), `labels` int64 (B,), `classes` K names."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        require(isinstance(images, Tensor) and images.dtype == torch.uint8 and images.ndim == 4
                and images.numel() > 0, "images", images,
                "a uint8 tensor of shape (B, C, H, W) with at least one image")
        require(images.shape[1] in (1, 3), "images", images, "1 or 3 channels")
        require(isinstance(labels, Tensor) and labels.dtype == torch.int64
                and labels.shape == images.shape[:1], "labels", labels,
                f"an int64 tensor of shape ({len(images)},), one label per image")
        object.__setattr__(self, "classes", tuple(self.classes))
        require(len(self.classes) > 0 and all(isinstance(c, str) for c in self.classes)
                and len(set(self.classes)) == len(self.classes), "classes", self.classes,
                "at least one class name, all different strings")
        low, high = int(labels.min()), int(labels.max())
        require(low >= 0 and high < len(self.classes), "labels", f"labels from {low} to {high}",
                f"labels from 0 to {len(self.classes) - 1}, one for each of the classes")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> ImageSet:
        """The chosen images (number, slice, mask or indices) as a set with the same classes."""
        if isinstance(index, (int, np.integer)):
            require(bool(-len(self) <= index < len(self)), "index", index,
                    f"a number from {-len(self)} to {len(self) - 1}")
            index = [int(index)]
        elif not isinstance(index, slice):
            index = torch.as_tensor(index)
        return ImageSet(self.images[index], self.labels[index], self.classes)

    def __repr__(self) -> str:
        return f"ImageSet({len(self)} images, {tuple(self.images.shape[1:])}, {self.counted})"

    @property
    def counted(self) -> str:
        """Its number of classes, in words."""
        return f"{len(self.classes)} class{'' if len(self.classes) == 1 else 'es'}"

    @property
    def channels(self) -> int:
        """1 for gray, 3 for color."""
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """Height in pixels."""
        return self.images.shape[2]

    def floats(self, device: str | torch.device = "cpu") -> Tensor:
        """What networks take: float32 (B,C,H,W) in [0, 1]."""
        return self.images.to(device).float() / 255

    def take(self, count: int, seed: int = 0) -> ImageSet:
        """A seeded sample of `count` images in which each class keeps its fraction."""
        require(isinstance(count, int) and 1 <= count <= len(self), "count", count,
                f"a whole number from 1 to {len(self)}, the number of images")
        rng = np.random.default_rng(seed)
        labels = self.labels.numpy()
        quota = _quotas(np.bincount(labels, minlength=len(self.classes)), count, rng)
        chosen = [rng.permutation(np.flatnonzero(labels == k))[:n]
                  for k, n in enumerate(quota) if n]
        return self[np.sort(np.concatenate(chosen))]

    def hashes(self) -> list[str]:
        """One hash per image, of its pixels and shape: equal hashes mean equal images."""
        return hashes_of(self.images.numpy())

    def digest(self) -> str:
        """One hash of images, order, labels and class names."""
        whole = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
        whole.update(self.images.contiguous().numpy().tobytes())
        whole.update(self.labels.contiguous().numpy().tobytes())
        return whole.hexdigest()


def _quotas(counts: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """`total` divided in proportion to `counts`, largest remainders first, ties at random."""
    exact = counts * (total / counts.sum())
    quota = np.minimum(np.floor(exact + 1e-9).astype(int), counts)
    order = np.lexsort((rng.random(len(counts)), -(exact - quota).round(9)))
    for k in order[: total - quota.sum()]:
        quota[k] += 1
    return quota


def hashes_of(images: np.ndarray) -> list[str]:
    """One hash per image uint8 (B,C,H,W), of its pixels and shape."""
    shape = repr(images.shape[1:]).encode()
    return [hashlib.sha256(shape + image.tobytes()).hexdigest() for image in images]


# ---- few-shot tasks ---------------------------------------------------------------------------


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
        require(whole(value), argument, value, "a whole number ≥ 1")
    require(whole(seed, 0), "seed", seed, "a whole number ≥ 0")
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


def _episode(images: ImageSet, pools: dict[int, np.ndarray], able: list[int], ways: int, shots: int,
             queries: int, rng: np.random.Generator) -> Episode:
    chosen = rng.permutation(able)[:ways]
    rows = np.stack([rng.permutation(pools[k])[: shots + queries] for k in chosen])  # (N,K+Q)
    names = tuple(images.classes[k] for k in chosen)

    def part(block: np.ndarray) -> ImageSet:
        labels = torch.arange(ways).repeat_interleave(block.shape[1])
        return ImageSet(images.images[block.ravel()], labels, names)

    return Episode(part(rows[:, :shots]), part(rows[:, shots:]))


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
    names: list[str] = []
    labels: list[Tensor] = []
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
    if size is not None and size != images.size:
        x = F.interpolate(x.float(), size=(size, size), mode="bilinear", antialias=True,
                          align_corners=False).round().clamp(0, 255).byte()
    return images if x is images.images else ImageSet(x.contiguous(), images.labels,
                                                      images.classes)
