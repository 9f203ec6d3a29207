"""A universe of small images without a download: characters drawn in the faces matplotlib ships.

Every image is one character in one face, fitted to a box, thickened or thinned, warped, dimmed and
covered with noise: gray 28×28, or 32×32 with colors and a textured background.  `draw` makes one
split; `by` says what the splits of one `seed` keep apart:

| `by`        | train, validation, test differ in | and so the test split promises              |
|-------------|-----------------------------------|---------------------------------------------|
| "sample"    | the random draws only             | no image, but every (character, face), was  |
|             |                                   | seen in training                            |
| "character" | the characters, 60/20/20 % by the | no test character was seen, nor another one |
|             | hash of the base letter           | with its base letter (e, È and ę go         |
|             |                                   | together); faces are the same               |
| "face"      | the families of faces: DejaVu     | no test face was seen, nor a face of its    |
|             | Sans and Mono, DejaVu Serif,      | family; no test glyph looks like a training |
|             | STIX and Computer Modern          | glyph of its class; characters are the same |

Under "character" and "face" no (character, face) of the test split was seen in training.  Which
split a character or a face belongs to never depends on what else is drawn, nor on the seed.

Image i is of class i mod K and depends on seed, split, its character and its number alone, not on
how many images are drawn: fewer `samples` give the first images of more.
"""

from __future__ import annotations

import functools
import hashlib
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wlib.check import require, require_one_of
from wlib.data.alphabets import ALPHABETS

BY = ("sample", "character", "face")
STYLES = {"gray": (1, 28), "color": (3, 32)}  # channels, size
CELL, BOX = 56, 40  # pixels: a glyph's longer side is fitted to BOX in the middle of a CELL
CHUNK = 2048  # images rendered at a time: bounded memory
LOOK_ALIKE = 0.05  # two bitmaps with a lower cosine distance, at 28×28, count as one
SAME = 0.005  # … and as the very same shape

# Faces by name: file in matplotlib's font folder, and the split they are in when by="face".
# DejaVu's Sans and Mono share many outlines, so they stand on one side.
FACES = {
    name: (file + ".ttf", split)
    for split, prefix, files in (
        ("train", "DejaVu Sans", {"": "DejaVuSans", " Bold": "DejaVuSans-Bold",
                                  " Oblique": "DejaVuSans-Oblique",
                                  " Bold Oblique": "DejaVuSans-BoldOblique"}),
        ("train", "DejaVu Sans Mono", {"": "DejaVuSansMono", " Bold": "DejaVuSansMono-Bold",
                                       " Oblique": "DejaVuSansMono-Oblique",
                                       " Bold Oblique": "DejaVuSansMono-BoldOblique"}),
        ("validation", "DejaVu Serif", {"": "DejaVuSerif", " Bold": "DejaVuSerif-Bold",
                                        " Italic": "DejaVuSerif-Italic",
                                        " Bold Italic": "DejaVuSerif-BoldItalic"}),
        ("test", "STIX General", {"": "STIXGeneral", " Bold": "STIXGeneralBol",
                                  " Italic": "STIXGeneralItalic",
                                  " Bold Italic": "STIXGeneralBolIta"}),
        ("test", "Computer Modern", {" Roman": "cmr10", " Sans": "cmss10",
                                     " Typewriter": "cmtt10"}),
    )
    for name, file in ((prefix + style, file) for style, file in files.items())
}

# Computer Modern keeps TeX's own encoding: only here does a code point hold what Unicode says.
_MODERN = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                    "!#$%&()*+,-./:;=?@[]")

# Some base letters have twenty accented forms: with this salt, of 30,000 tried, the hashes come
# near 60/20/20 % in every alphabet and in all the letters.  Nothing else was looked at.
_SALT = 20077


@dataclass(frozen=True)
class Look:
    """How characters look.

    style: "gray", one channel of 28×28 pixels, or "color", three of 32×32 with a textured paper.
    warp: 1 is ±15° of turn, scale 0.75–1.15, shear ±0.2 and shift ±2 pixels of 28; 0 is none.
    stroke: 1 is up to a pixel thicker or half a pixel thinner; 0 is none.
    noise: its standard deviation, where white is 1.
    """

    style: str = "gray"
    warp: float = 1.0
    stroke: float = 1.0
    noise: float = 0.05

    def __post_init__(self) -> None:
        require_one_of("style", self.style, STYLES)
        for name, limit in (("warp", 2), ("stroke", 2), ("noise", 1)):
            value = getattr(self, name)
            require(isinstance(value, (int, float)) and 0 <= value <= limit, name, value,
                    f"a number from 0 to {limit}")


def draw(split: str, *, characters: str | Sequence[str] | None = None,
         faces: Sequence[str] | None = None, by: str = "sample", samples: int = 20,
         look: Look | None = None, seed: int = 0) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Images uint8 (B,C,H,W), labels int64 (B,) and class names of one split of the universe.

    `characters`: the name of a list (see `characters_of`) or the characters themselves, look-alikes
    and all; default "letters", with by="face" those of them that faces of all three splits hold.
    A named list loses, with by="face", what two splits would show in one shape (as I, a bare bar).
    `faces`: names from `FACES`; default all that hold all the characters.  `samples`: images per
    class.  Raises `ValueError` for what does not exist, faces that lack a character, an empty
    split, and splits that could not be told apart.
    """
    require_one_of("by", by, BY)
    require(_whole(samples) and samples >= 1, "samples", samples, "a whole number ≥ 1")
    require(_whole(seed) and seed >= 0, "seed", seed, "a whole number ≥ 0")
    look = look or Look()
    require(by != "sample" or look.warp > 0 or look.noise > 0, "warp, noise", "both 0",
            'one above 0 when by="sample": else train and test would hold the same images')
    classes, allowed = plan(split, characters, faces, by)
    channels, size = STYLES[look.style]
    images = torch.empty(samples, len(classes), channels, size, size, dtype=torch.uint8)
    group = max(1, CHUNK // samples)  # characters at a time
    for start in range(0, len(classes), group):
        streams = [(c, _stream(f"{seed}/{split}/{c}/dice"), _stream(f"{seed}/{split}/{c}/noise"))
                   for c in classes[start:start + group]]
        for first in range(0, samples, CHUNK):
            images[first:first + CHUNK, start:start + group] = _render(
                streams, allowed, min(CHUNK, samples - first), look)
    labels = torch.arange(len(classes)).repeat(samples)
    return images.flatten(0, 1), labels, tuple(classes)


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


# --------------------------------------------------------------------------- what is drawn


def plan(split: str, characters: str | Sequence[str] | None = None,
         faces: Sequence[str] | None = None, by: str = "sample") -> tuple[list[str], list[str]]:
    """The characters and the faces that `draw` uses for one split."""
    wanted = characters_of(("shared" if by == "face" else "letters")
                           if characters is None else characters)
    holding = faces_holding(wanted, faces)
    if by == "character":
        wanted = [c for c in wanted if split_of(c) == split]
        require(len(wanted) > 0, "characters", characters,
                f"some whose base letter falls in the {split} split")
    if by == "face":
        alike = _alike_across_splits(tuple(wanted), tuple(holding))
        named = characters is None or isinstance(characters, str) and wanted != list(characters)
        require(named or not alike, "characters", "".join(alike),
                'with by="face" characters that look different in the faces of each split')
        wanted = [c for c in wanted if c not in alike]
        holding = [face for face in holding if FACES[face][1] == split]
        require(len(holding) > 0, "faces", faces if faces is not None else "faces by default",
                f"some of the {split} split that hold all the characters: "
                f"{', '.join(face for face, (_, s) in FACES.items() if s == split)}")
    return wanted, holding


def characters_of(characters: str | Sequence[str]) -> list[str]:
    """A list by its name ("letters", "all", "shared" or one of `ALPHABETS`), or any characters.

    "letters" holds every letter and digit, "all" symbols too, "shared" the letters and digits that
    the DejaVu and the STIX faces both hold.
    """
    named = {**ALPHABETS, "all": "".join(ALPHABETS.values()),
             "letters": "".join(text for name, text in ALPHABETS.items() if name != "symbols")}
    if isinstance(characters, str) and characters == "shared":
        stix = [face for face in FACES if face.startswith("STIX")]
        return [c for c in named["letters"] if not any(_missing(face, c) for face in stix)]
    chosen = list(named.get(characters, characters) if isinstance(characters, str) else characters)
    require(len(chosen) > 0 and all(isinstance(c, str) and len(c) == 1 for c in chosen),
            "characters", characters, "single characters, at least one, or the name of a list: "
            + ", ".join([*named, "shared"]))
    require(len(set(chosen)) == len(chosen), "characters", characters,
            "no character twice, or the name of a list: " + ", ".join([*named, "shared"]))
    return chosen


def faces_holding(characters: Sequence[str], faces: Sequence[str] | None = None) -> list[str]:
    """The faces that hold all `characters`; refuses `faces` of which one does not."""
    if faces is None:
        holding = [face for face in FACES if not _missing(face, characters)]
        require(len(holding) > 0, "characters", "".join(characters),
                "characters that one face holds all of")
        return holding
    faces = [faces] if isinstance(faces, str) else list(faces)
    require(len(faces) > 0 and len(set(faces)) == len(faces), "faces", faces,
            "at least one face, none twice")
    for face in faces:
        require_one_of("faces", face, FACES)
        missing = _missing(face, characters)
        require(not missing, "faces", face, f"faces that hold all the characters; this one lacks "
                f"{len(missing)}, the first {missing[0]!r}" if missing else "")
    return faces


def _missing(face: str, characters: Sequence[str]) -> list[str]:
    if face.startswith("Computer Modern"):
        return [c for c in characters if c not in _MODERN]
    return [c for c in characters if ord(c) not in _charmap(face)]


def split_of(character: str) -> str:
    """The split of a character when by="character": 60/20/20 % by the hash of its base letter."""
    key = hashlib.sha256(f"{_SALT}/{base_of(character)}".encode()).digest()[:8]
    number = int.from_bytes(key) / 2**64
    return "train" if number < 0.6 else "validation" if number < 0.8 else "test"


def base_of(character: str) -> str:
    """A name that a letter shares with its accented forms and its other case."""
    plain = unicodedata.normalize("NFKD", character)[0]
    name = unicodedata.name(plain, plain).split(" WITH ")[0]
    return " ".join(word for word in name.split() if word not in ("SMALL", "CAPITAL", "FINAL"))


# --------------------------------------------------------------------------- glyphs


@functools.cache
def _font(face: str) -> Any:
    import matplotlib
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FACES[face][0]))


@functools.cache
def _charmap(face: str) -> frozenset[int]:
    return frozenset(_font(face).get_charmap())


@functools.lru_cache(maxsize=30_000)
def glyph(face: str, character: str) -> np.ndarray:
    """One glyph, uint8 (CELL, CELL), its longer side fitted to BOX and its box in the middle."""
    from matplotlib.ft2font import LoadFlags

    font = _font(face)
    font.set_size(BOX, 72)
    x0, y0, x1, y1 = font.load_char(ord(character), flags=LoadFlags.NO_HINTING).bbox
    longer = max(x1 - x0, y1 - y0) / 64  # FreeType counts in 64ths of a pixel
    require(longer > 0, "characters", character, f"a character that {face} draws with ink")
    font.set_size(BOX * (BOX - 1) / longer, 72)  # one pixel less: edges fall between pixels
    font.set_text(character, 0.0, flags=LoadFlags.NO_HINTING)
    font.draw_glyphs_to_bitmap(antialiased=True)
    ink = font.get_image()
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    ink = ink[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    cell = np.zeros((CELL, CELL), np.uint8)
    top, left = (CELL - ink.shape[0]) // 2, (CELL - ink.shape[1]) // 2
    cell[top:top + ink.shape[0], left:left + ink.shape[1]] = ink
    return cell


def distances(cells: Tensor, others: Tensor) -> Tensor:
    """Cosine distances (N,M) between glyphs (N,CELL,CELL) and (M,CELL,CELL), seen at 28×28."""
    def seen(glyphs: Tensor) -> Tensor:
        return F.normalize(F.avg_pool2d(glyphs.float()[:, None], 2).flatten(1), dim=1)

    return 1 - seen(cells) @ seen(others).T


def look_alikes(characters: Sequence[str], faces: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of characters that some face draws alike, in the order of `characters`."""
    nearest = torch.full((len(characters), len(characters)), math.inf)
    for face in faces:
        cells = _cells(face, characters)
        nearest = torch.minimum(nearest, distances(cells, cells))
    return [(characters[i], characters[j])
            for i, j in (nearest < LOOK_ALIKE).triu(1).nonzero().tolist()]


@functools.lru_cache(maxsize=64)
def _alike_across_splits(characters: tuple[str, ...], faces: tuple[str, ...]) -> list[str]:
    """The characters that two faces of different splits draw in the same shape."""
    alike = torch.zeros(len(characters), dtype=torch.bool)
    seen: list[tuple[str, Tensor]] = []
    for face in faces:
        flat = F.avg_pool2d(_cells(face, characters).float()[:, None], 2).flatten(1)  # (K, 784)
        flat = F.normalize(flat, dim=1)
        for split, other in seen:
            if split != FACES[face][1]:
                alike |= 1 - (flat * other).sum(1) < SAME
        seen.append((FACES[face][1], flat))
    return [c for c, yes in zip(characters, alike.tolist(), strict=True) if yes]


def _cells(face: str, characters: Sequence[str]) -> Tensor:
    return torch.from_numpy(np.stack([glyph(face, c) for c in characters]))


# --------------------------------------------------------------------------- images


def _render(streams: Sequence[tuple[str, np.random.Generator, np.random.Generator]],
            faces: Sequence[str], samples: int, look: Look) -> Tensor:
    """The next images uint8 (samples, K, C, H, W) of K characters, each with its two streams."""
    channels, size = STYLES[look.style]
    dice = np.stack([dice.random((samples, 18)) for _, dice, _ in streams])  # (K, samples, 18)
    cells = np.stack([glyph(faces[int(u * len(faces))], c)
                      for (c, _, _), row in zip(streams, dice[..., 0], strict=True) for u in row])
    draws = torch.from_numpy(dice).flatten(0, 1)  # (B, 18)
    ink = _stroked(cells, draws[:, 1], look.stroke)[:, None]  # (B, 1, CELL, CELL)
    ink = _warped(ink, draws[:, 2:7], look.warp, size)  # (B, 1, H, W)
    image = (_colored(ink, draws[:, 8:18]) if look.style == "color"
             else ink * (0.6 + 0.4 * draws[:, 7]).float().view(-1, 1, 1, 1))
    if look.noise:
        shape = (samples, channels, size, size)
        grain = np.stack([grains.standard_normal(shape, np.float32) for _, _, grains in streams])
        image = image + look.noise * torch.from_numpy(grain).flatten(0, 1)
    image = (image * 255).round_().clamp_(0, 255).byte()
    return image.unflatten(0, (len(streams), samples)).transpose(0, 1)


def _stream(key: str) -> np.random.Generator:
    """Random numbers of one character: image s takes the s-th row, however many are drawn."""
    name = hashlib.sha256(key.encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(name)))


def _stroked(cells: np.ndarray, dice: Tensor, stroke: float) -> Tensor:
    """Strokes up to one cell pixel thicker on each side, or half a pixel thinner, as floats.

    The largest and the smallest of 3×3 bytes: twenty times faster than max-pooling floats.
    """
    amount = stroke * (1.5 * dice - 0.5)
    thick = (amount > 0).numpy()
    other = np.empty_like(cells)
    other[thick] = _of_neighbors(np.maximum, cells[thick])
    other[~thick] = _of_neighbors(np.minimum, cells[~thick])
    ink = torch.from_numpy(cells).float()
    fraction = amount.abs().float().view(-1, 1, 1)
    return ink.lerp_(torch.from_numpy(other).float(), fraction).clamp_(0, 255).div_(255)


def _of_neighbors(extreme: np.ufunc, cells: np.ndarray) -> np.ndarray:
    """The maximum or minimum over 3×3 pixels; the border is empty and stays so."""
    rows = cells.copy()
    rows[:, 1:-1] = extreme(extreme(cells[:, :-2], cells[:, 1:-1]), cells[:, 2:])
    both = rows.copy()
    both[:, :, 1:-1] = extreme(extreme(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])
    return both


def _warped(ink: Tensor, dice: Tensor, warp: float, size: int) -> Tensor:
    """Each glyph turned, scaled, sheared and shifted, then sampled at `size` × `size`."""
    turn, scale, shear, right, down = (warp * (2 * dice - 1)).unbind(1)  # each in [-warp, warp]
    turn = turn * math.radians(15)
    scale = 0.95 + 0.05 * (1 - min(warp, 1)) + 0.2 * scale
    cos, sin = torch.cos(turn) / scale, torch.sin(turn) / scale
    matrix = torch.stack([cos, 0.2 * shear * cos - sin, sin, 0.2 * shear * sin + cos], 1)
    a, b, c, d = matrix.float().view(-1, 4, 1, 1).unbind(1)
    at = (torch.arange(size) + 0.5) * (2 / size) - 1
    x = at.view(1, 1, size) - (right * (4 / 28)).float().view(-1, 1, 1)
    y = at.view(1, size, 1) - (down * (4 / 28)).float().view(-1, 1, 1)
    grid = torch.stack([a * x + b * y, c * x + d * y], dim=-1)  # (B, H, W, 2)
    return F.grid_sample(ink, grid, align_corners=False)


def _colored(ink: Tensor, dice: Tensor) -> Tensor:
    """Colored strokes on a colored background with waves: (B,1,H,W) to (B,3,H,W) in [0, 1]."""
    size = ink.shape[-1]
    paper, pen = dice[:, :3], dice[:, 3:6]
    gap = (pen - paper).mean(1, keepdim=True)
    push = (0.4 * torch.where(gap < 0, -1.0, 1.0) - gap) / 2  # until brightness differs by 0.4
    push = torch.where(gap.abs() < 0.4, push, 0.0)
    paper, pen = ((paper - push).clamp(0, 1).float(), (pen + push).clamp(0, 1).float())
    depth, angle, waves, phase = dice[:, 6:].unbind(1)
    frequency = (2 * math.pi / size) * (1 + 4 * waves)  # one to five waves across the image
    place = torch.arange(size, dtype=torch.float64)
    across = (torch.cos(math.pi * angle) * frequency).view(-1, 1, 1) * place
    along = (torch.sin(math.pi * angle) * frequency).view(-1, 1, 1) * place.view(1, -1, 1)
    wave = torch.sin(across + along + 2 * math.pi * phase.view(-1, 1, 1))
    texture = (1 + 0.3 * depth.view(-1, 1, 1) * wave).float().unsqueeze(1)  # (B, 1, H, W)
    return paper[:, :, None, None] * texture * (1 - ink) + pen[:, :, None, None] * ink
