"""Kinds of figure: what a table holds is drawn, and a label that there is not is refused."""

import pandas as pd
import pytest
from figured import words

from wlib import plot

ROWS = pd.DataFrame([{"arm": arm, "x": x, "y": x / 10 + seed / 100, "at": at, "seed": seed}
                     for arm in "ab" for x in (1, 2) for at in "pq" for seed in range(3)])
TABLE = pd.DataFrame({"arm": ["a", "b"], "mean": [0.2, 0.4], "half": [0.1, 0.1]})


def test_lines_have_their_labels_arms_and_levels():
    axis = plot.lines(ROWS, "x", "y", arms=["a", "b"], title="t", ylabel="share",
                      level={"chance": 0.1}).axes[0]
    assert (axis.get_title(loc="left") or axis.get_title(), axis.get_xlabel()) == ("t", "x")
    assert axis.get_ylabel() == "share"
    assert axis.get_legend_handles_labels()[1] == ["chance", "a", "b"]
    assert axis.yaxis.get_major_formatter()(0.5) == "50%"


def test_bars_have_their_labels_colors_and_levels():
    axis = plot.bars(TABLE, name="arm", value="mean", half="half", colors={"b": "#ff0000"},
                     level={"chance": 0.3}, percent=False, xlabel="share").axes[0]
    assert axis.get_xlabel() == "share" and axis.texts[0].get_text() == "chance"
    assert words(axis.get_yticklabels()) == ["a", "b"]
    assert axis.patches[1].get_facecolor() == (1.0, 0.0, 0.0, 1.0)
    assert axis.xaxis.get_major_formatter()(0.5) != "50%"


def test_panels_share_a_legend_and_the_first_says_what_is_measured():
    figure = plot.panels(ROWS, "at", "x", "y", arms={"a": "#000000", "b": "#ff0000"}, title="t",
                         ylabel="share", levels={"q": {"chance": 0.1}}, categorical=False)
    first, second = figure.axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("share", " ")
    assert second.get_legend_handles_labels()[1][0] == "chance" and len(figure.legends) == 1


@pytest.mark.parametrize("draw", [lambda **wrong: plot.lines(ROWS, "x", "y", arms=["a"], **wrong),
                                  lambda **wrong: plot.bars(TABLE, name="arm", value="mean",
                                                            **wrong)])
def test_an_unknown_label_is_refused(draw):
    with pytest.raises(AttributeError, match="levels"):
        draw(levels={"chance": 0.1})
