"""The explorer of parts in notebook 21: which channels stay, what the part knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ipywidgets import VBox

from wlib.plot.colors import METHOD, REDRAWN
from wlib.plot.explore import Chart, explorer, frame

SQUARES = 240           # of all strips of an explorer's frame together
FRAMES = 50             # of an explorer: with its figures the page stays below a megabyte


def mda_explorer(positions: Mapping[tuple[int, int], Mapping], names: Sequence[str], *,
                 starts: Sequence[int], counts: Sequence[int], images: int,
                 start: Sequence[int] | None = None) -> VBox:
    """An explorer of parts: where their classes begin, how many they are, what stays and knows.

    A position, under (first class, number of classes), has `classes`, the sorted chosen ones,
    `stays` {layer: bool (Q,)}, `every`, the accuracy of the part with all outputs on each of the K
    classes, `pruned` and `restricted`, the accuracy on its own classes of the part and of the
    whole network restricted to them, and `weights`, the share kept.
    """
    def picture(first: int, count: int) -> str:
        part = positions[first, int(count)]
        return frame([strips(part), _known(part, names)],
                     mda_caption(part, names, images=images))

    step = -(-len(starts) * len(counts) // FRAMES)      # where frames are many: every other start
    step = max(1, min(step, len(starts) - 1))
    start = None if start is None else [start[0] // step, *start[1:]]
    # Slider positions are shown as they are; the classes' names say more than their numbers.
    first_of = {names[b]: b for b in starts[::step]}
    return explorer({"classes from": list(first_of), "number of classes": list(counts)},
                    lambda name, count: picture(first_of[name], count), start=start)


def mda_caption(part: Mapping, names: Sequence[str], *, images: int) -> str:
    """All numbers of one position in a sentence or two."""
    own = [names[c] for c in part["classes"]]
    stays = sum(int(np.asarray(mask).sum()) for mask in part["stays"].values())
    total = sum(len(mask) for mask in part["stays"].values())
    every = np.asarray(part["every"], float)
    others = np.delete(every, part["classes"])
    foreign = f" and {others.mean():.0%} of the others" if len(others) else ""
    return (f"Part for {' '.join(own)}: {stays} of {total} channels stay, {part['weights']:.0%} of "
            f"the weights. With all outputs it gets {every[part['classes']].mean():.0%} of its "
            f"own images right{foreign} ({images} validation images in all). Among its own "
            f"classes alone the part gets {part['pruned']:.0%}, the whole network restricted to "
            f"them {part['restricted']:.0%}.")


def strips(part: Mapping) -> str:
    """A row of squares per layer, full where a channel stays; of wide layers, some channels."""
    masks = {name: np.asarray(mask, bool) for name, mask in part["stays"].items()}
    chart, left, most = Chart("Channels that stay, by layer"), 74, max(8, SQUARES // len(masks))
    wide = (chart.WIDTH - 6 - left) / min(most, max(map(len, masks.values())))
    high, gap = (chart.HEIGHT - 30) / len(masks), min(1.0, 0.2 * wide)
    every, stays = [], []                       # runs of squares; the dashes begin anew in each
    for number, (name, mask) in enumerate(masks.items()):
        shown = mask[np.linspace(0, len(mask) - 1, min(most, len(mask))).round().astype(int)]
        y = round(30 + high * (number + 0.5))
        chart.text(left - 6, y + 4, name, "text-anchor='end'")
        every.append(f"M{left} {y}h{wide * len(shown) - gap:.1f}")
        edges = np.diff(shown.astype(int), prepend=0, append=0)
        stays += [f"M{left + wide * a:.1f} {y}h{wide * (b - a) - gap:.1f}" for a, b in zip(
            np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)]
    square = (f"stroke-width='{min(16.0, 0.7 * high):.1f}' "
              f"stroke-dasharray='{wide - gap:.2f} {gap:.2f}'")
    chart.path("".join(every), "currentColor", f"{square} stroke-opacity='.18'")
    if stays:
        chart.path("".join(stays), METHOD, square)
    counts = ", ".join(f"{name} {int(mask.sum())} of {len(mask)}" for name, mask in masks.items())
    return chart.svg(f"Channels that stay: {counts}.")


def _known(part: Mapping, names: Sequence[str]) -> str:
    """What the part with all outputs knows of each class, and of its own beside the whole."""
    every, own = np.asarray(part["every"], float), set(part["classes"])
    chart = Chart("What it knows, all outputs kept")
    chart.x, chart.y = (-0.6, len(every) - 0.4), (0, 1)      # classes have names, not ticks
    for value in (0.0, 0.5, 1.0):
        chart.path(f"M{chart.LEFT} {chart.up(value):.1f}H{chart.RIGHT}", "currentColor",
                   "stroke-opacity='.2'")
        chart.text(chart.LEFT - 5, chart.up(value) + 4, f"{value:.0%}", "text-anchor='end'")
    thick = 0.7 * (chart.RIGHT - chart.LEFT) / len(every)
    for chosen, color, word in ((True, METHOD, "own classes"), (False, REDRAWN, "others")):
        bars = "".join(f"M{chart.across(c):.1f} {chart.BOTTOM}V{chart.up(v):.1f}"
                       for c, v in enumerate(every) if (c in own) == chosen)
        if bars:
            chart.path(bars, color, f"stroke-width='{thick:.1f}'")
        chart.key(word, color)
    for c, name in enumerate(names if len(names) <= 26 else ()):       # more would not fit
        chart.text(chart.across(c), chart.BOTTOM + 15, name[:3], "text-anchor='middle'"
                   + (" font-weight='700'" if c in own else ""))
    chart.text((chart.LEFT + chart.RIGHT) / 2, chart.HEIGHT - 8,
               f"own classes only: part {part['pruned']:.0%}, whole {part['restricted']:.0%}",
               "text-anchor='middle'")
    return chart.svg("With all outputs the part knows " + ", ".join(
        f"{name} {v:.0%}" for name, v in zip(names, every, strict=True)) + ".")
