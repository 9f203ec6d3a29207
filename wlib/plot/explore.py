"""Explorers that need no kernel: sliders joined to frames that were computed before.

A frame is HTML with small charts in it. The sliders choose frames in the reader's browser, so the
cell works in Jupyter and on a page alike; executing the notebook saves all that the page needs.
The charts are SVG written here: dozens are made in no time, weigh little, stay sharp, and take the
page's own ink and letters in light and dark.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from PIL import Image

from wlib.check import require

LIMIT = 400_000         # bytes of all frames: a page with its figures stays below a megabyte


# ---- the controls -------------------------------------------------------------------------------
def explorer(controls: Mapping[str, Sequence], frame: Callable[..., str], *,
             start: Sequence[int] | None = None) -> widgets.VBox:
    """Sliders over the positions of `controls` and the frame of the positions chosen.

    `controls` maps a slider's name to its positions; `frame(*positions)` gives HTML with all
    pictures in it and is called once for every combination, now. `start` has an index for each
    slider (default: the first positions). `ValueError` where the frames are too many for a page.
    """
    require(isinstance(controls, Mapping) and 1 <= len(controls) <= 3, "controls", controls,
            "one to three names with their positions")
    for name, positions in controls.items():
        require(len(positions) >= 2, f"controls[{name!r}]", positions, "at least two positions")
    start = [0] * len(controls) if start is None else list(start)
    require(len(start) == len(controls)
            and all(0 <= i < len(p) for i, p in zip(start, controls.values(), strict=True)),
            "start", start, "an index into each control's positions")
    sliders = [_slider(name, positions, index)
               for (name, positions), index in zip(controls.items(), start, strict=True)]
    made: list[str] = []
    frames = _frames(sliders, list(controls.values()), frame, (), made)
    size = sum(len(text.encode()) for text in made)
    require(size <= LIMIT, "frame", f"{len(made)} frames of {size:,} bytes together",
            f"at most {LIMIT:,} bytes: fewer positions or smaller pictures")
    return widgets.VBox([*sliders, frames]).add_class("explorer")


def _slider(name: str, positions: Sequence, index: int) -> widgets.SelectionSlider:
    """A slider that steps from position to position; arrow keys move it."""
    labels = [f"{value:g}" if isinstance(value, int | float) else str(value) for value in positions]
    require(len(set(labels)) == len(labels), f"controls[{name!r}]", labels, "distinct positions")
    return widgets.SelectionSlider(
        options=labels, index=index, description=name, style={"description_width": "initial"},
        layout={"width": "32em", "max_width": "100%"})


def _frames(sliders: Sequence[widgets.SelectionSlider], positions: Sequence[Sequence],
            frame: Callable[..., str], chosen: tuple, made: list[str]) -> widgets.Widget:
    """A stack for the first slider, of stacks for the others; the last ones hold the frames."""
    if not sliders:
        made.append(frame(*chosen))
        return widgets.HTML(made[-1])
    children = [_frames(sliders[1:], positions[1:], frame, (*chosen, value), made)
                for value in positions[0]]
    stack = widgets.Stack(children, selected_index=sliders[0].index)
    widgets.jslink((sliders[0], "index"), (stack, "selected_index"))
    return stack


def frame(charts: Sequence[str], caption: str) -> str:
    """Charts side by side, below one another where the screen is narrow, over their caption."""
    require(len(charts) > 0, "charts", charts, "at least one")
    return (f'<div style="display:flex;flex-wrap:wrap;gap:4px 12px">{"".join(charts)}</div>'
            f'<p class="explorer-caption" style="line-height:1.5;margin:0.5em 0;max-width:46em;'
            f'white-space:normal">{html.escape(caption)}</p>')


# ---- the charts ---------------------------------------------------------------------------------
class Chart:
    """A small chart as inline SVG, in the ink of the page it stands on.

    `x` and `y` are the limits of the axes; without them there is only the title. Lines differ in
    color and in dashes; `key` names them in a row under the title. With `whole`, x counts things.
    """

    x: tuple[float, float]      # unset where there is only the title
    y: tuple[float, float]
    WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 330, 236, 46, 322, 46, 196

    def __init__(self, title: str, x: tuple[float, float] | None = None,
                 y: tuple[float, float] | None = None, *, xlabel: str = "", ylabel: str = "",
                 percent: bool = False, whole: bool = False):
        self.parts: list[str] = []
        self.named = self.LEFT
        self.text(self.LEFT, 14, title, "font-weight='600'")
        if x is None or y is None:
            return
        self.x, self.y = x, y
        for value in self._ticks(y, 4):
            height = self.up(value)
            self.path(f"M{self.LEFT} {height:.1f}H{self.RIGHT}", "currentColor",
                      "stroke-opacity='.2'")
            self.text(self.LEFT - 5, height + 4, f"{round(100 * value, 6):g}%" if percent
                      else f"{value:g}", "text-anchor='end'")
        for value in self._ticks(x, 5, whole):
            self.text(self.across(value), self.BOTTOM + 15, f"{value:g}", "text-anchor='middle'")
        middle = (self.TOP + self.BOTTOM) / 2
        self.text((self.LEFT + self.RIGHT) / 2, self.HEIGHT - 8, xlabel, "text-anchor='middle'")
        self.text(0, 0, ylabel, f"text-anchor='middle' transform='translate(10 {middle}) "
                                f"rotate(-90)'")

    @staticmethod
    def _ticks(limits: tuple[float, float], count: int, whole: bool = False) -> np.ndarray:
        ticks = MaxNLocator(count, integer=whole).tick_values(*limits)
        values = np.round(ticks, 9) + 0.0                                   # no "-0"
        return values[(values >= limits[0]) & (values <= limits[1])]

    def across(self, x: ArrayLike) -> Any:
        """Pixels from the left, as many as values."""
        low, high = self.x
        return self.LEFT + (np.asarray(x, float) - low) / (high - low) * (self.RIGHT - self.LEFT)

    def up(self, y: ArrayLike) -> Any:
        """Pixels from the top, as many as values."""
        low, high = self.y
        return self.BOTTOM - (np.asarray(y, float) - low) / (high - low) * (self.BOTTOM - self.TOP)

    def text(self, x: float, y: float, words: str, style: str = "") -> None:
        """Words in the page's ink, their base line starting at pixel (x, y)."""
        if words:
            self.parts.append(f"<text x='{x:.4g}' y='{y:.4g}' {style}>{html.escape(words)}</text>")

    def path(self, d: str, color: str, style: str = "", fill: str = "none") -> None:
        """A path in pixels."""
        self.parts.append(f"<path d='{d}' stroke='{color}' fill='{fill}' {style}/>")

    def stems(self, x: ArrayLike, y: ArrayLike, color: str, name: str) -> None:
        """A stem from zero to each value."""
        zero = self.up(0.0)
        self.path("".join(f"M{a:.1f} {zero:.1f}V{b:.1f}" for a, b in zip(
            self.across(x), self.up(y), strict=True)), color, "stroke-width='1.4'")
        self.key(name, color)

    def line(self, x: ArrayLike, y: ArrayLike, color: str, name: str, *, width: float = 1.5,
             dashes: str = "") -> None:
        """A line through points."""
        style = f"stroke-width='{width}'" + (f" stroke-dasharray='{dashes}'" if dashes else "")
        points = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(
            self.across(x), self.up(y), strict=True))
        self.path(f"M{points}", color, style)
        self.key(name, color, style)

    def steps(self, edges: ArrayLike, heights: ArrayLike, color: str, name: str, *,
              filled: bool = False) -> None:
        """A histogram: its outline, or its area."""
        across, up, base = self.across(edges), self.up(heights), self.up(0.0)
        outline = "".join(f"V{h:.1f}H{right:.1f}" for h, right in zip(up, across[1:], strict=True))
        self.path(f"M{across[0]:.1f} {base:.1f}{outline}V{base:.1f}", "none" if filled else color,
                  "stroke-width='1.5'", color if filled else "none")
        self.key(name, color, "stroke-width='6'" if filled else "stroke-width='2'")

    def dot(self, x: float, y: float, color: str) -> None:
        """A point made out."""
        self.parts.append(f"<circle cx='{self.across(x):.1f}' cy='{self.up(y):.1f}' r='4.5' "
                          f"fill='{color}'/>")

    def key(self, name: str, color: str, style: str = "stroke-width='5'") -> None:
        """The next name in the row under the title."""
        self.path(f"M{self.named} 29h18", color, style)
        self.text(self.named + 22, 33, name)
        self.named += 40 + round(6.1 * len(name))

    def tiles(self, tiles: ArrayLike, top: float, limit: float, name: str) -> None:
        """A row of square arrays (n, h, h), blue below zero and red above, white at zero."""
        import seaborn  # noqa: F401 -- brings the color map; late, because it takes a second

        tiles = np.asarray(tiles, float)
        shades = colormaps["vlag"]((tiles / limit + 1) / 2, bytes=True)      # (n, h, h, 4)
        shades = np.pad(shades, ((0, 0), (0, 0), (0, 1), (0, 0)))            # a clear column
        strip = np.concatenate(list(shades), axis=1)[:, :-1]
        file = io.BytesIO()
        Image.fromarray(strip).save(file, "png", optimize=True)
        width, data = self.RIGHT - self.LEFT, base64.b64encode(file.getvalue()).decode()
        height = width * strip.shape[0] / strip.shape[1]
        self.text(self.LEFT - 6, top + height / 2 + 4, name, "text-anchor='end'")
        self.parts.append(
            f"<image x='{self.LEFT}' y='{top}' width='{width}' height='{height:.1f}' "
            f"style='image-rendering:pixelated' href='data:image/png;base64,{data}'/>")

    def svg(self, alt: str) -> str:
        """The chart with its text for readers who do not see it."""
        require(isinstance(alt, str) and len(alt) > 20, "alt", alt, "a sentence with the finding")
        return (f"<svg role='img' aria-label='{html.escape(alt)}' width='{self.WIDTH}' "
                f"height='{self.HEIGHT}' viewBox='0 0 {self.WIDTH} {self.HEIGHT}' "
                f"style='max-width:100%;height:auto' font-size='12' fill='currentColor'>"
                f"{''.join(self.parts)}</svg>")
