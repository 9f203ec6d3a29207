"""Universes of data sets, for learning what weights a data set asks for.

| universe     | its data sets differ by                                | unseen sets have        |
|--------------|--------------------------------------------------------|-------------------------|
| `characters` | which ten characters they hold, in one order for all   | other characters        |
| `styles`     | three faces, a turn, a scale, dark on light or the     | other families of faces |
|              | reverse, the paper's texture; always the digits 0 to 9 | or other threes of them |
| `real`       | where they come from: `mnist5k`, `digits`, your own    | nothing in common       |

A `DataSet` has four parts whose images no other part holds: training, support (what a condition
may look at), validation (what may choose) and test (what may not).

    base = styles("train", 60)
    unseen = [*styles("test", 15), real("mnist5k"), real("digits")]
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wlib import seeds, store
from wlib.check import require, require_one_of, whole
from wlib.data import glyphs
from wlib.data.imagesets import load
from wlib.data.sets import SPLITS, ImageSet, first, place_in_class, shaped

PARTS = ("train", "support", "validation", "test")
UNSEEN = ("faces", "combinations")
DIGITS = tuple("0123456789")


class Counts(NamedTuple):
    """Images per class in each part of a data set."""

    train: int = 60
    support: int = 20
    validation: int = 20
    test: int = 50


COUNTS = Counts()


@dataclass(frozen=True, eq=False)
class DataSet:
    """One data set: a name, the split it is in as a whole, and four parts with the same classes.

    `spec` says what it is, in plain values. Refuses parts that lack a class or share an image.
    """

    name: str
    split: str
    train: ImageSet
    support: ImageSet
    validation: ImageSet
    test: ImageSet
    spec: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(isinstance(self.name, str) and self.name != "", "name", self.name, "a text")
        require_one_of("split", self.split, SPLITS)
        owner: dict[str, str] = {}
        for name, part in self.parts.items():
            require(isinstance(part, ImageSet), name, part, "an ImageSet")
            require(part.classes == self.train.classes, name, part.classes,
                    f"the classes of train, {self.train.classes}")
            require(part.images.shape[1:] == self.train.images.shape[1:], name, part.images,
                    f"images of train's shape {tuple(self.train.images.shape[1:])}")
            _require_images(part, 1, name)
            for key in part.hashes():
                require(owner.setdefault(key, name) == name, name,
                        f"an image that {owner[key]} of {self.name!r} holds too",
                        "images of its own")

    @property
    def parts(self) -> dict[str, ImageSet]:
        """The four parts by name."""
        return {name: getattr(self, name) for name in PARTS}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def number(self) -> int:
        """A whole number that stands for the name: random draws depend on it, not on places."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:4])

    def shots(self, count: int) -> ImageSet:
        """The first `count` support images of each class: what a condition is made of."""
        _require_images(self.support, count, f"support of {self.name!r}")
        return first(self.support, count)

    def digest(self) -> str:
        """One hash of name, split and all images."""
        every = [self.name, self.split, *(part.digest() for part in self.parts.values())]
        return hashlib.sha256(json.dumps(every).encode()).hexdigest()

    def __repr__(self) -> str:
        sizes = " + ".join(str(len(part)) for part in self.parts.values())
        return f"DataSet({self.name!r}, {self.split}, {self.train.counted}, {sizes} images)"


def _require_images(part: ImageSet, least: int, argument: str) -> None:
    require(whole(least, 1), "count", least, "a whole number ≥ 1")
    found = part.labels.bincount(minlength=len(part.classes))
    poorest = int(found.argmin())
    require(int(found[poorest]) >= least, argument,
            f"{int(found[poorest])} images of class {part.classes[poorest]!r}",
            f"at least {least} of each class")


def require_disjoint(sets: Sequence[DataSet]) -> None:
    """Refuse data sets of which two have one name or share an image."""
    names = [s.name for s in sets]
    twice = next((n for n in names if names.count(n) > 1), None)
    require(twice is None, "sets", f"two called {twice!r}", "a name of its own for each")
    owner: dict[str, str] = {}
    for s in sets:
        for part in s.parts.values():
            for key in part.hashes():
                require(owner.setdefault(key, s.name) == s.name, "sets",
                        f"an image that is in {owner[key]!r} and in {s.name!r}",
                        "data sets without a common image")


# ---- data sets that differ in their classes ---------------------------------------------------
def letters(split: str) -> list[str]:
    """The letters and digits that data sets of a split are made of: 397 / 127 / 134.

    A letter goes with its accented forms and its cases. No symbol is among them: those are left for
    an image encoder to learn.
    """
    require_one_of("split", split, SPLITS)
    return [c for c in glyphs.characters_of("letters") if glyphs.split_of(c) == split]


def characters(split: str, count: int, *, ways: int = 10, counts: Counts = COUNTS,
               seed: int = 0) -> list[DataSet]:
    """`count` data sets of `ways` characters of the split each, in the order of `letters`.

    Images are gray, 28×28, in the faces that hold all letters. Data set i depends on `seed`, split
    and i alone; the order of classes is the same for all sets because a random order would give
    one data set 10! right answers.
    """
    pool = letters(split)
    require(isinstance(ways, int) and 2 <= ways <= len(pool), "ways", ways,
            f"a whole number from 2 to the {len(pool)} characters of {split!r}")
    faces = tuple(glyphs.faces_holding(glyphs.characters_of("letters")))

    def spec(rng: torch.Generator) -> dict:
        chosen = torch.randperm(len(pool), generator=rng)[:ways].sort().values
        return {"characters": "".join(pool[k] for k in chosen.tolist())}

    def images(spec: dict, samples: int, own: int) -> ImageSet:
        return load("glyphs", characters=spec["characters"], faces=faces, samples=samples, seed=own)

    return _universe("characters", split, count, counts, seed, spec, images)


# ---- data sets that differ in their style -----------------------------------------------------
def styles(split: str, count: int, *, unseen: str = "faces", channels: int = 1,
           counts: Counts = COUNTS, seed: int = 0) -> list[DataSet]:
    """`count` data sets of the ten digits, 28×28, each in a style of its own.

    A style: three faces, a turn within ±60°, a scale from 0.7 to 1.2, dark on light or light on
    dark, the depth (up to 0.4), waves (1 to 5 across) and direction of the paper's texture, and
    with `channels=3` the two colors. `unseen="faces"` gives each split families of faces of its
    own (8 / 4 / 7 faces), "combinations" all 19 faces but no three of them to two splits. Data
    set i depends on `seed`, split and i alone.
    """
    require_one_of("split", split, SPLITS)
    require_one_of("unseen", unseen, UNSEEN)
    require(channels in (1, 3), "channels", channels, "1 or 3")

    def spec(rng: torch.Generator) -> dict:
        def between(low: float, high: float) -> float:
            return round(low + (high - low) * float(torch.rand((), generator=rng)), 3)

        chosen = {"faces": _three_faces(split, unseen, rng), "turn": between(-60, 60),
                  "scale": between(0.7, 1.2), "inverted": between(0, 1) < 0.5,
                  "texture": between(0, 0.4), "waves": between(1, 5), "direction": between(0, 180)}
        if channels == 1:
            return chosen | {"dark": (0.0,), "light": (1.0,)}
        return chosen | {"dark": tuple(between(0, 0.35) for _ in range(3)),
                         "light": tuple(between(0.65, 1) for _ in range(3))}

    return _universe("styles", split, count, counts, seed, spec, _styled_set)


def _three_faces(split: str, unseen: str, rng: torch.Generator) -> tuple[str, ...]:
    """Three faces at random, in the order of `glyphs.FACES`."""
    faces = [f for f in glyphs.faces_holding(DIGITS)
             if unseen == "combinations" or glyphs.FACES[f][1] == split]
    while True:
        chosen = torch.randperm(len(faces), generator=rng)[:3].sort().values.tolist()
        three = tuple(faces[k] for k in chosen)
        if unseen == "faces" or _split_of_three(three) == split:
            return three


def _split_of_three(faces: tuple[str, ...]) -> str:
    """60/20/20 % by the hash of the names, so that no triple is in two splits, whatever the seed"""
    fraction = int.from_bytes(hashlib.sha256("/".join(faces).encode()).digest()[:8]) / 2**64
    return "train" if fraction < 0.6 else "validation" if fraction < 0.8 else "test"


def _styled_set(spec: dict, samples: int, own: int) -> ImageSet:
    images, labels = store.cached(styled, spec, samples, own)
    return ImageSet(images, labels, DIGITS)


def styled(spec: dict, samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Digits in one style: images uint8 (B, C, 28, 28) and labels (B,), `samples` of each digit.

    `spec` as `styles` makes it. Image i depends on `seed` and i alone.
    """
    drawn, labels, _ = glyphs.draw("train", characters=DIGITS, faces=spec["faces"],
                                   samples=samples, look=glyphs.Look(noise=0.0), seed=seed)
    ink = _turned(drawn.float() / 255, spec["turn"], spec["scale"])               # (B, 1, H, W)
    phases = np.random.default_rng([seed, 0]).random(len(ink))
    paper = spec["texture"] * _waves(ink.shape[-1], spec["waves"], spec["direction"], phases)
    mix = ink + (1 - ink) * paper
    dark, light = (torch.tensor(spec[k]).view(1, -1, 1, 1) for k in ("dark", "light"))
    pen, ground = (dark, light) if spec["inverted"] else (light, dark)
    image = ground + mix * (pen - ground)                                         # (B, C, H, W)
    grain = np.random.default_rng([seed, 1]).standard_normal(image.shape, np.float32)
    image = image + 0.05 * torch.from_numpy(grain)
    return (image * 255).round().clamp(0, 255).byte(), labels


def _turned(ink: Tensor, degrees: float, scale: float) -> Tensor:
    """Images turned clockwise about their middle and enlarged, outside is 0."""
    cos, sin = (f(math.radians(degrees)) / scale for f in (math.cos, math.sin))
    matrix = torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0]]).expand(len(ink), 2, 3)
    grid = F.affine_grid(matrix, list(ink.shape), align_corners=False)
    return F.grid_sample(ink, grid, align_corners=False)


def _waves(size: int, waves: float, direction: float, phases: np.ndarray) -> Tensor:
    """One sine wave per image, (B, 1, size, size) in [0, 1], each with its phase in turns."""
    place = torch.arange(size) * (2 * math.pi * waves / size)
    angle = math.radians(direction)
    across = math.cos(angle) * place + math.sin(angle) * place[:, None]           # (H, W)
    shift = torch.from_numpy(2 * math.pi * phases).float().view(-1, 1, 1, 1)
    return 0.5 + 0.5 * torch.sin(across + shift)


# ---- what the universes share -----------------------------------------------------------------
def _universe(kind: str, split: str, count: int, counts: Counts, seed: int,
              spec: Callable, images: Callable) -> list[DataSet]:
    """Data sets i = 0 … count − 1: spec(generator) and, part by part, images(spec, samples, seed).
    """
    require(whole(count), "count", count, "a whole number ≥ 1")
    counts = _counts(counts)
    place = SPLITS.index(split)
    sets = []
    for i in range(count):
        chosen = spec(seeds.generator(seed, place, i))
        parts = {name: images(chosen, samples, seeds.base(seeds.generator(seed, place, i, number)))
                 for number, (name, samples) in enumerate(zip(PARTS, counts, strict=True))}
        sets.append(DataSet(f"{kind} {split} {i}", split, **parts,
                            spec={"universe": kind, **chosen}))
    return sets


def _counts(counts: Sequence[int]) -> Counts:
    four = isinstance(counts, (tuple, list)) and len(counts) == len(PARTS)
    require(four and all(map(whole, counts)), "counts", counts,
            "four whole numbers ≥ 1: " + ", ".join(PARTS))
    return Counts(*counts)


# ---- data sets that were not made for this ----------------------------------------------------
def real(name: str, *, counts: Counts = COUNTS, channels: int = 1, size: int = 28,
         split: str = "test", root: str | Path | None = None) -> DataSet:
    """A set of `wlib.data` as one more data set: `mnist5k`, `digits`, or one whose files you have.

    Training and support images come from its training split, the others from their own. `split`
    is where the set as a whole stands: unseen, unless said otherwise.
    """
    parts = [shaped(load(name, s, root=root), channels, size) for s in SPLITS]
    return divided(name, *parts, counts=counts, split=split)


def divided(name: str, train: ImageSet, validation: ImageSet, test: ImageSet, *,
            counts: Counts = COUNTS, split: str = "test") -> DataSet:
    """A `DataSet` of images of one's own: of each class the first so many as `counts` says.

    The first training images are trained on, the next are support. Validation and test may have
    fewer than asked for. Raises `ValueError` where a class has too few training images.
    """
    counts = _counts(counts)
    need = counts.train + counts.support
    _require_images(train, need, f"train (of {name!r}, train + support = {need})")
    place = place_in_class(train)
    return DataSet(name, split, train[place <= counts.train],
                   train[(place > counts.train) & (place <= need)],
                   first(validation, counts.validation), first(test, counts.test),
                   spec={"universe": "real", "source": name})
