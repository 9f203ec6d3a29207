"""Real image sets in files: torchvision's, with their checksums, and a folder of one's own.

torchvision parses every file.  What it leaves unchecked is checked here: it reads MNIST's unpacked
files, whatever is in them, so we unpack the checked archives afresh; GTSRB has no checksum once
unpacked, so its images are counted.  Downloads go to a temporary folder and are moved when whole.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision import datasets
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.datasets.utils import calculate_md5

from wlib.check import require

OFFLINE = ("mnist5k", "digits", "glyphs")
GTSRB_COUNTS = {"train": 26_640, "test": 12_630}  # torchvision's archives


class Part(NamedTuple):
    """One file's worth of a set: uint8 (B,C,H,W), int64 (B,) and, where frames belong together,
    the name of each image's group (B,)."""

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None


class Real(NamedTuple):
    """How a set is kept under the data root and read from there."""

    title: str
    kept: tuple[str, ...]  # what lies directly under the root
    files: Callable[[Path], list[tuple[Path, str | None]]]  # with MD5 sums
    fetch: Callable[[Path], None]
    read: Callable[[Path, int], tuple[Part, Part, Sequence[str]]]


def root_of(root: str | Path | None) -> Path:
    """The data root: `root`, else the variable WLIB_DATA, else the user's data folder."""
    if root is None:
        root = os.environ.get("WLIB_DATA")
    if root is None:
        from platformdirs import user_data_dir

        root = user_data_dir("weights-as-data", appauthor=False)
    require(isinstance(root, (str, Path)), "root", root, "the path of a folder")
    return Path(root).expanduser()


def read(name: str, root: str | Path | None, download: bool,
         size: int) -> tuple[Part, Part, tuple[str, ...]]:
    """What a set's training and test files hold, and the names of its classes.

    Raises `FileNotFoundError` where files are missing and `ValueError` where one has not the
    content that was published.
    """
    real, folder = REAL[name], root_of(root)
    missing = [path for path, _ in real.files(folder) if not path.exists()]
    if missing and download:
        _download(name, real, folder)
    elif missing:
        raise FileNotFoundError(
            f"{name} ({real.title}): {missing[0].relative_to(folder)} is not in the data root "
            f"{folder}; fetch the set with download=True, name another folder with root= or the "
            f"variable WLIB_DATA, or use a set that needs no files: {', '.join(OFFLINE)}")
    for path, md5 in real.files(folder):
        found = calculate_md5(path) if md5 else None
        require(found == md5, "root", str(path.relative_to(folder)), "a file with the MD5 sum "
                f"{md5}, as published for {name}; this one in {folder} has {found}: delete it and "
                "fetch it again")
    train, test, classes = real.read(folder, size)
    return train, test, tuple(classes)


def _download(name: str, real: Real, folder: Path) -> None:
    """Fetch a set into a folder beside the others, then move it into place."""
    for kept in real.kept:
        require(not (folder / kept).is_dir(), "download", f"a folder {kept} with files missing",
                f"all of {name} or nothing in {folder / kept}: delete it first")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as here:
        try:
            real.fetch(Path(here))
        except (URLError, OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"{name} ({real.title}): could not be fetched into {folder} ({error}); "
                f"sets that need no files: {', '.join(OFFLINE)}") from error
        for path in Path(here).iterdir():
            os.replace(path, folder / path.name)


# --------------------------------------------------------------------------- torchvision's sets


def _idx(cls: type, title: str) -> Real:
    """MNIST and the sets in its format, from the four archives that have published checksums."""
    def files(root):
        return [(root / cls.__name__ / "raw" / name, md5) for name, md5 in cls.resources]

    def fetch(root):
        cls(root, download=True)

    def read(root, size):
        with _unpacked(cls, root) as fresh:
            parts = [cls(fresh, train=train) for train in (True, False)]
            train, test = [Part(p.data.numpy()[:, None], p.targets.numpy().astype(np.int64))
                           for p in parts]
        return train, test, [c.split(" - ")[0] for c in cls.classes]

    return Real(title, (cls.__name__,), files, fetch, read)


@contextmanager
def _unpacked(cls: type, root: Path) -> Iterator[Path]:
    """A temporary root that holds the set's archives unpacked."""
    with tempfile.TemporaryDirectory() as fresh:
        raw = Path(fresh) / cls.__name__ / "raw"
        raw.mkdir(parents=True)
        for name, _ in cls.resources:
            with (gzip.open(root / cls.__name__ / "raw" / name) as packed,
                  open(raw / name.removesuffix(".gz"), "wb") as plain):
                shutil.copyfileobj(packed, plain)
        yield Path(fresh)


def _cifar(cls: type, title: str) -> Real:
    def files(root):
        meta = [cls.meta["filename"], cls.meta["md5"]]
        return [(root / cls.base_folder / name, md5)
                for name, md5 in [*cls.train_list, *cls.test_list, meta]]

    def fetch(root):
        cls(root, download=True)

    def read(root, size):
        with warnings.catch_warnings():  # the published pickles are older than NumPy 2.4's rule
            warnings.filterwarnings("ignore", message=".*align should be passed")
            parts = [cls(root, train=train) for train in (True, False)]
        train, test = [Part(np.ascontiguousarray(p.data.transpose(0, 3, 1, 2)),
                            np.array(p.targets, dtype=np.int64)) for p in parts]
        return train, test, parts[0].classes

    return Real(title, (cls.base_folder,), files, fetch, read)


def _svhn() -> Real:
    def files(root):
        return [(root / datasets.SVHN.split_list[split][1], datasets.SVHN.split_list[split][2])
                for split in ("train", "test")]

    def fetch(root):
        for split in ("train", "test"):
            datasets.SVHN(root, split, download=True)

    def read(root, size):
        train, test = [Part(np.ascontiguousarray(p.data), p.labels.astype(np.int64).reshape(-1))
                       for p in (datasets.SVHN(root, split) for split in ("train", "test"))]
        return train, test, "0123456789"

    return Real("Street View House Numbers", ("train_32x32.mat", "test_32x32.mat"), files, fetch,
                read)


def _stl10() -> Real:
    def labeled() -> type:
        """torchvision wants the 2.7 GB of unlabeled images to be there too; we do not."""
        return type("STL10", (datasets.STL10,), {"train_list": datasets.STL10.train_list[:2]})

    def files(root):
        cls = labeled()
        return [(root / cls.base_folder / name, md5) for name, md5 in
                [*cls.train_list, *cls.test_list]]

    def fetch(root):
        labeled()(root, download=True)

    def read(root, size):
        train, test = [Part(np.ascontiguousarray(p.data), p.labels.astype(np.int64))
                       for p in (labeled()(root, split) for split in ("train", "test"))]
        return train, test, ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey",
                             "ship", "truck")

    return Real("STL-10", (datasets.STL10.base_folder,), files, fetch, read)


def _gtsrb() -> Real:
    def files(root):
        base = root / "gtsrb"
        return [(base / "GTSRB" / "Training", None), (base / "GTSRB" / "Final_Test" / "Images",
                None), (base / "GT-final_test.csv", None)]

    def fetch(root):
        for split in ("train", "test"):
            datasets.GTSRB(root, split, download=True)

    def read(root, size):
        parts = []
        for split, count in GTSRB_COUNTS.items():
            samples = datasets.GTSRB(root, split)._samples  # (path, label)
            require(len(samples) == count, "root", f"{len(samples)} {split} images of gtsrb",
                    f"{count} in {root / 'gtsrb'}; delete the folder and fetch it again")
            # Training files are named CLASS/TRACK_FRAME.ppm: one track is one sign, driven past.
            tracks = [f"{label}/{Path(path).name.split('_')[0]}" for path, label in samples]
            parts.append(Part(np.stack([picture(path, size, "RGB") for path, _ in samples]),
                              np.array([label for _, label in samples], dtype=np.int64),
                              np.array(tracks) if split == "train" else None))
        return *parts, [f"{k:05d}" for k in range(43)]

    return Real("German traffic signs", ("gtsrb",), files, fetch, read)


REAL = {
    "mnist": _idx(datasets.MNIST, "MNIST"),
    "fashion": _idx(datasets.FashionMNIST, "Fashion-MNIST"),
    "kmnist": _idx(datasets.KMNIST, "Kuzushiji-MNIST"),
    "cifar10": _cifar(datasets.CIFAR10, "CIFAR-10"),
    "cifar100": _cifar(datasets.CIFAR100, "CIFAR-100"),
    "svhn": _svhn(),
    "stl10": _stl10(),
    "gtsrb": _gtsrb(),
}


# --------------------------------------------------------------------------- one's own images


def read_folder(root: str | Path | None, size: int | None,
                channels: int | None) -> tuple[Part, tuple[str, ...]]:
    """All images of a folder with one directory a class, and the directories' names.

    With `size` each is cut to its middle square and resized; else all must have one size.
    `channels`: 1, 3, or None for 1 where every image is grey.
    """
    require(root is not None and Path(root).is_dir(), "root", root,
            "the path of a folder with one directory of images a class")
    paths = {folder.name: sorted(p for p in folder.rglob("*")
                                 if p.suffix.lower() in IMG_EXTENSIONS)
             for folder in sorted(Path(root).iterdir())
             if folder.is_dir() and not folder.name.startswith(".")}
    require(len(paths) > 0, "root", str(root), "a folder with one directory of images a class")
    for name, inside in paths.items():
        require(len(inside) > 0, "root", f"no images in {name!r}",
                f"images ({', '.join(IMG_EXTENSIONS)}) in every directory of {root}")
    every = [path for inside in paths.values() for path in inside]
    if channels is None:
        channels = 1 if all(_is_grey(path) for path in every) else 3
    images = [picture(path, size, "L" if channels == 1 else "RGB") for path in every]
    for path, image in zip(every, images, strict=True):
        require(image.shape == images[0].shape, "size", f"{path.parent.name}/{path.name} of "
                f"{image.shape[2]}×{image.shape[1]} pixels beside "
                f"{images[0].shape[2]}×{images[0].shape[1]}", "size= where images differ")
    labels = np.repeat(np.arange(len(paths)), [len(inside) for inside in paths.values()])
    return Part(np.stack(images), labels.astype(np.int64)), tuple(paths)


def picture(path: str | Path, size: int | None, mode: str) -> np.ndarray:
    """One image file as uint8 (C,H,W), upright; with `size` cut to its middle square and resized.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image).convert(mode)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"root: got {path}, want an image that can be read ({error})") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode in ("1", "L", "LA", "I", "I;16", "F")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"root: got {path}, want an image that can be read ({error})") from error
