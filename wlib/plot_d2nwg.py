"""The figures of part IV: zoos and codecs, diffusion, unseen data sets, what samples are worth.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np

from wlib.plot import FULL


# ---- 41: zoos and codecs ------------------------------------------------------------------------
def zoo_map(maps: Mapping, turn, dark, *, title: str):
    """Two principal components of the networks of some zoos, (n, 2) each, side by side: colored by
    the turn of their data sets in degrees (n,), squares where `dark` (n,) says dark on light."""
    turn, dark = np.asarray(turn, float), np.asarray(dark, bool)
    figure, axes = plt.subplots(1, len(maps), figsize=(FULL[0], 3.6), squeeze=False)
    for axis, (name, places) in zip(axes[0], maps.items(), strict=True):
        places = np.asarray(places, float)
        for part, marker, word in ((~dark, "o", "light on dark"), (dark, "s", "dark on light")):
            dots = axis.scatter(*places[part].T, c=turn[part], cmap="cividis", vmin=-60, vmax=60,
                                marker=marker, s=42, edgecolors="white", linewidths=0.6,
                                label=word)
        axis.set(xlabel="first component", ylabel="second component" if axis is axes[0, 0] else "")
        axis.set_title(name, fontsize=10, fontweight="normal")
    bar = figure.colorbar(dots, ax=list(axes[0]), label="turn of the data set, degrees")
    bar.set_ticks([-60, -30, 0, 30, 60])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


# ---- 42: diffusion ------------------------------------------------------------------------------


# ---- 43: unseen data sets -----------------------------------------------------------------------


# ---- 44: a start or a copy ----------------------------------------------------------------------
