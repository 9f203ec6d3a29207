"""Real image sets in files: torchvision's, with their checksums, and a folder of one's own.

torchvision parses every file but those in MNIST's format, of which it would take whatever is in an
unpacked one: these are read here, packed or not, and known by their content.  GTSRB has no checksum
once unpacked, so its images are counted.  Downloads go to a temporary folder and are moved when
whole.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
from PIL import Image, ImageMode, ImageOps, UnidentifiedImageError
from torchvision import datasets
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.datasets.utils import calculate_md5

from wlib.check import require
from wlib.ground import surroundings

OFFLINE = ("mnist5k", "digits", "glyphs")
GTSRB_COUNTS = {"train": 26_640, "test": 12_630}  # torchvision's archives


class Part(NamedTuple):
    """One file's worth of a set: uint8 (B,C,H,W), int64 (B,), names of groups of frames (B,)."""

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None


Files = list[tuple[Path, str | None]]  # with MD5 sums
Read = tuple[Part, Part, Sequence[str]]  # train, test and the classes' names


class Real(NamedTuple):
    """How a set is kept under the data root and read from there."""

    title: str
    kept: tuple[str, ...]  # what lies directly under the root
    files: Callable[[Path], Files]
    fetch: Callable[[Path], None]
    read: Callable[[Path, int], Read]


def root_of(root: str | Path | None) -> Path:
    """The data root: `root`, else the variable WLIB_DATA, else the user's data folder."""
    if root is None:
        root = surroundings.folder("WLIB_DATA")
    if root is None:
        from platformdirs import user_data_dir

        try:
            root = user_data_dir("weights-as-data", appauthor=False)
        except RuntimeError as error:  # a user without a home folder
            raise OSError(f"no folder of data sets ({error}); name one with the variable WLIB_DATA"
                          ) from error
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
        if md5 is None:  # what it holds is checked when it is read
            continue
        found = calculate_md5(path)
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


# The SHA-256 sums of what the published archives hold.  MNIST's are as many projects list them;
# Fashion-MNIST's are those of Debian's files, which have torchvision's MD5 sums once the headers of
# the archives (a name, a time in 2017) are put back.  Of Kuzushiji-MNIST we have none: it is known
# by its archives' MD5 sums (torchvision's) alone.
CONTENTS = {
    "MNIST": {
        "train-images-idx3-ubyte":
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte":
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte":
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte":
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"},
    "FashionMNIST": {
        "train-images-idx3-ubyte":
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte":
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte":
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte":
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"},
}
# Where a system's own package puts a set: Debian's and Ubuntu's dataset-fashion-mnist.
PACKAGED = {"FashionMNIST": Path("/usr/share/datasets/fashion-mnist")}


def _idx(cls: Any, title: str) -> Real:
    """MNIST and the sets in its format: four files, packed or not."""
    def files(root: Path) -> Files:
        places = [root / cls.__name__ / "raw", PACKAGED.get(cls.__name__)]
        return [(_first_there([place / kept for place in places if place
                               for kept in (name, name.removesuffix(".gz"))]), None)
                for name, _ in cls.resources]

    def fetch(root: Path) -> None:
        cls(root, download=True)

    def read(root: Path, size: int) -> Read:
        arrays = [_idx_array(cls, path) for path, _ in files(root)]
        train, test = [Part(images[:, None], labels.astype(np.int64))
                       for images, labels in (arrays[:2], arrays[2:])]
        return train, test, [c.split(" - ")[0] for c in cls.classes]

    return Real(title, (cls.__name__,), files, fetch, read)


def _first_there(paths: Sequence[Path]) -> Path:
    """The first of the paths that exists, else the first."""
    return next((path for path in paths if path.exists()), paths[0])


def _idx_array(cls: Any, path: Path) -> np.ndarray:
    """The bytes of an idx file in their shape, once its content is known to be the published."""
    packed, name = path.read_bytes(), path.name.removesuffix(".gz")
    try:
        content = gzip.decompress(packed) if packed.startswith(b"\x1f\x8b") else packed
    except (OSError, EOFError, zlib.error):
        content = b""  # cut or damaged
    archive, known = dict(cls.resources)[f"{name}.gz"], CONTENTS.get(cls.__name__, {}).get(name)
    want = f"its content with the SHA-256 sum {known}, packed or not" if known else \
        f"in the archive with the MD5 sum {archive}; unpacked or packed anew it cannot be checked"
    require(hashlib.sha256(content).hexdigest() == known
            or hashlib.md5(packed).hexdigest() == archive, "root", path.name, f"the {name} that "
            f"was published for {cls.__name__} ({want}); {path} is another: delete it and fetch "
            "it again")
    dims = content[3]
    shape = np.frombuffer(content, ">u4", dims, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dims).reshape(shape).copy()


def _cifar(cls: Any, title: str) -> Real:
    def files(root: Path) -> Files:
        meta = [cls.meta["filename"], cls.meta["md5"]]
        return [(root / cls.base_folder / name, md5)
                for name, md5 in [*cls.train_list, *cls.test_list, meta]]

    def fetch(root: Path) -> None:
        cls(root, download=True)

    def read(root: Path, size: int) -> Read:
        with warnings.catch_warnings():  # the published pickles are older than NumPy 2.4's rule
            warnings.filterwarnings("ignore", message=".*align should be passed")
            parts = [cls(root, train=train) for train in (True, False)]
        train, test = [Part(np.ascontiguousarray(p.data.transpose(0, 3, 1, 2)),
                            np.array(p.targets, dtype=np.int64)) for p in parts]
        return train, test, parts[0].classes

    return Real(title, (cls.base_folder,), files, fetch, read)


def _svhn() -> Real:
    def files(root: Path) -> Files:
        return [(root / datasets.SVHN.split_list[split][1], datasets.SVHN.split_list[split][2])
                for split in ("train", "test")]

    def fetch(root: Path) -> None:
        for split in ("train", "test"):
            datasets.SVHN(root, split, download=True)

    def read(root: Path, size: int) -> Read:
        train, test = [Part(np.ascontiguousarray(p.data), p.labels.astype(np.int64).reshape(-1))
                       for p in (datasets.SVHN(root, split) for split in ("train", "test"))]
        return train, test, "0123456789"

    return Real("Street View House Numbers", ("train_32x32.mat", "test_32x32.mat"), files, fetch,
                read)


def _stl10() -> Real:
    def labeled() -> Any:
        """torchvision wants the 2.7 GB of unlabeled images to be there too; we do not."""
        return type("STL10", (datasets.STL10,), {"train_list": datasets.STL10.train_list[:2]})

    def files(root: Path) -> Files:
        cls = labeled()
        return [(root / cls.base_folder / name, md5) for name, md5 in
                [*cls.train_list, *cls.test_list]]

    def fetch(root: Path) -> None:
        labeled()(root, download=True)

    def read(root: Path, size: int) -> Read:
        train, test = [Part(np.ascontiguousarray(p.data), p.labels.astype(np.int64))
                       for p in (labeled()(root, split) for split in ("train", "test"))]
        return train, test, "airplane bird car cat deer dog horse monkey ship truck".split()

    return Real("STL-10", (datasets.STL10.base_folder,), files, fetch, read)


def _gtsrb() -> Real:
    def files(root: Path) -> Files:
        base = root / "gtsrb"
        return [(base / name, None) for name in ("GTSRB/Training", "GTSRB/Final_Test/Images",
                                                 "GT-final_test.csv")]

    def fetch(root: Path) -> None:
        for split in ("train", "test"):
            datasets.GTSRB(root, split, download=True)

    def read(root: Path, size: int) -> Read:
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
        return parts[0], parts[1], [f"{k:05d}" for k in range(43)]

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


BITS, WHITE = 258, 262  # a TIFF's tags: bits of a sample, and whether 0 is white (0) or black (1)
# PNGs that Pillow reads as 8 bits while their transparent color keeps its old number.
UNSCALED = ("L;2", "L;4", "RGB;16B")
SYSTEMS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"}  # folders that no user made


def read_folder(root: str | Path | None, size: int | None,
                channels: int | None) -> tuple[Part, tuple[str, ...]]:
    """All images of a folder with one directory per class, and the directories' names.

    With `size` each is cut to its middle square and resized; else all must have one size.
    `channels`: 1, 3, or None for 1 where every image is gray.  What is hidden (a name that begins
    with a dot) or a system's own (`SYSTEMS`) is passed over.
    """
    base = Path(root or "")
    require(root is not None and base.is_dir(), "root", root,
            "the path of a folder with one directory of images per class")
    paths = {folder.name: sorted(p for p in folder.rglob("*") if _is_image(p.relative_to(base), p))
             for folder in sorted(base.iterdir())
             if folder.is_dir() and not _is_hidden(folder.name)}
    require(len(paths) > 0, "root", str(root), "a folder with one directory of images per class")
    for name, inside in paths.items():
        require(len(inside) > 0, "root", f"no images in {name!r}",
                f"images ({', '.join(IMG_EXTENSIONS)}) in every directory of {root}")
    every = [path for inside in paths.values() for path in inside]
    if channels is None:
        channels = 1 if all(_is_gray(path) for path in every) else 3
    images = [picture(path, size, "L" if channels == 1 else "RGB") for path in every]
    for path, image in zip(every, images, strict=True):
        require(image.shape == images[0].shape, "size", f"{path.parent.name}/{path.name} of "
                f"{image.shape[2]}×{image.shape[1]} pixels beside "
                f"{images[0].shape[2]}×{images[0].shape[1]}", "size= where images differ")
    labels = np.repeat(np.arange(len(paths)), [len(inside) for inside in paths.values()])
    return Part(np.stack(images), labels.astype(np.int64)), tuple(paths)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEMS


def _is_image(inside: Path, path: Path) -> bool:
    return (path.suffix.lower() in IMG_EXTENSIONS and not any(map(_is_hidden, inside.parts))
            and not path.is_dir())


def picture(path: str | Path, size: int | None, mode: str) -> np.ndarray:
    """One image file as uint8 (C,H,W), upright; with `size` cut to its middle square and resized.

    Gray of 16 bits and floats from 0 to 1 are scaled to 0 … 255; what is transparent shows white.
    """
    with _opened(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        image = _in_bytes(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert(mode)
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _is_gray(path: Path) -> bool:
    with _opened(path) as image:
        return ImageMode.getmode(image.mode).basemode == "L"


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """The image in a file; whatever goes wrong while it is read is told with the file's name.

    Pillow has errors of a dozen kinds, from files cut short to texts too long for their purpose.
    It gets the open file: of a path it maps some TIFFs and mixes up those that lie on their side.
    """
    try:
        with open(path, "rb") as file, Image.open(file) as image:
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a camera's JPEG with its preview
                raise ValueError(f"{frames} pictures in one file")
            if "transparency" in image.info and image.tile and image.tile[0].args in UNSCALED:
                raise ValueError("one of its colors stands for transparent, in 2, 4 or 16 bits, "
                                 "and cannot be told from others: save it with an alpha channel")
            yield image
    except Exception as error:
        unknown = isinstance(error, UnidentifiedImageError)
        raise ValueError(f"root: got {path}, want an image that can be read "
                         f"({'its format is unknown' if unknown else error})") from error


def _in_bytes(image: Image.Image) -> Image.Image:
    """Gray of more than 8 bits as bytes: Pillow itself clips it, or takes it for black."""
    wide = image.mode.startswith("I;16") or image.mode == "I" and image.format in ("PNG", "PPM")
    if image.mode == "I" and not wide:
        raise ValueError("whole numbers of 32 bits or with a sign, of which none is white: save "
                         "it with 8 or 16 bits")
    if not wide and image.mode != "F":
        return image
    tags = getattr(image, "tag_v2", {})  # a TIFF may have 12 bits of 16, and 0 for white
    top = 2 ** tags.get(BITS, (16,))[0] - 1 if wide else 1
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= top):
        raise ValueError(f"gray values from {low:g} to {high:g}, where black is 0 and white {top}")
    if tags.get(WHITE) == 0:
        values = top - values
    values[values == image.info.get("transparency")] = top
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))
