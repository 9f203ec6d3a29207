"""What all figures share: the look, sizes and markers, how a figure is shown, means over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from wlib import claims
from wlib.check import require

COLUMN, FULL = (5.2, 3.4), (7.6, 3.2)      # inches at final size: text of 9 points and more
MARKERS = "os^Dvp*X"
Drawn = tuple[plt.Figure, str]      # a figure, and its text for readers who do not see it


def theme() -> None:
    """The book's look: opaque, colorblind-safe, vector lines, text of at least 9 points."""
    import seaborn as sns  # late: whoever only wants a color need not wait for it

    sns.set_theme(style="whitegrid", palette="colorblind", rc={
        "figure.figsize": COLUMN, "figure.facecolor": "white", "savefig.facecolor": "white",
        "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10, "legend.fontsize": 9,
        "xtick.labelsize": 9, "ytick.labelsize": 9, "axes.titlelocation": "left",
        "axes.titleweight": "bold", "figure.constrained_layout.use": True, "grid.color": "#e3e3e3",
        "svg.fonttype": "path", "svg.hashsalt": "weights-as-data", "legend.frameon": False})
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
        set_matplotlib_formats("svg", metadata={"Date": None})
    except Exception:      # outside Jupyter there is no inline backend to set
        pass


def show(figure: plt.Figure, alt: str) -> None:
    """Display a figure once, with its text for readers who do not see it."""
    from IPython.display import display
    require(isinstance(alt, str) and len(alt) > 20, "alt", alt, "a sentence with the finding")
    display(figure, metadata={"alt": alt})
    plt.close(figure)


def headline(figure: plt.Figure, title: str) -> None:
    """The title of a figure of several panels, or of one whose names take the left: at its edge."""
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)


def over_seeds(frame: pd.DataFrame, by: Sequence[str], column: str) -> pd.DataFrame:
    """Mean over seeds and half-width of its 95 % t-interval, for each group: `mean`, `half`."""
    rows = []
    for key, part in frame.groupby(list(by), sort=False, observed=True):
        interval = claims.interval(part.groupby("seed")[column].mean().to_numpy())
        half = interval.high - interval.mean
        rows.append({**dict(zip(by, key, strict=True)), "mean": interval.mean,
                     "half": half if np.isfinite(half) else np.nan})      # one seed: no bar
    return pd.DataFrame(rows)
