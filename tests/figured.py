"""What tests of figures share: tables to draw, and what a figure shows of them."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd


# ---- tables -------------------------------------------------------------------------------------
def table(arms, value, **columns):
    """A row per arm and seed: the value of the arm, a little more at the second seed."""
    return pd.DataFrame([{"arm": arm, "seed": s, value: level + 0.01 * s} | columns
                         for arm, level in arms.items() for s in (0, 1)])


def crossed(seeds, name, value, **levels):
    """A row per combination of levels and seed; the column `name` has value(*levels) + seed."""
    rows = [dict(zip(levels, row, strict=True)) for row in product(*levels.values())]
    return pd.DataFrame([{"arm": "sampled", **row, "seed": s, name: value(*row.values()) + s}
                         for row in rows for s in seeds])


# ---- figures ------------------------------------------------------------------------------------
def drawn(figure, alt, *said):
    """A figure that shows what its text says."""
    text = " ".join([alt, *words(figure.findobj(plt.Text))])
    assert all(part in text for part in said), text


def means(axis, seeds):
    """{label: [(x, mean), …]}; of three seeds each has its t-interval, of one seed none."""
    for bar in axis.containers:
        ends = [both for both in bar.lines[2][0].get_segments() if len(both)]
        assert len(ends) == (len(bar.lines[0].get_xdata()) if len(seeds) == 3 else 0)
        assert np.allclose([np.ptp(both, axis=0).max() / 2 for both in ends], 4.302653 / 3 ** 0.5)
    return {bar.get_label(): [tuple(at) for at in bar.lines[0].get_xydata().round(2).tolist()]
            for bar in axis.containers}


def levels(axis, way="y"):
    """Where lines go across (y) or up (x) at one number."""
    data = [getattr(line, f"get_{way}data")() for line in axis.lines]
    return [float(v[0]) for v in data if len(v) == 2 and v[0] == v[1]]


def words(texts):
    return [text.get_text() for text in texts]


def titles(figure):
    return [axis.get_title() or axis.get_title(loc="left") for axis in figure.axes]
