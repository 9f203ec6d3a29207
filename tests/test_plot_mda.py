"""Figures of joined parts: titles and texts say what the tables say, and all of it is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figured import words

from wlib import plot
from wlib.plot import mda_joined


@pytest.fixture
def shown(monkeypatch):
    """What a figure function shows: (figure, text)."""
    found = []
    monkeypatch.setattr(mda_joined, "show", lambda figure, alt: found.append((figure, alt)))
    return found


def title(figure):
    return figure.get_suptitle() or figure.axes[0].get_title() or figure.axes[0].get_title("left")


def test_blocks_leave_exact_zeros_white(shown):
    block = np.array([[1.0, 0.0], [0.0, 2.0]])
    plot.mda.show_blocks({"first": np.ones((2, 3)), "last": block}, empty=0.5)
    (figure, alt), = shown
    first, last = (axis.images[0].get_array() for axis in figure.axes)
    assert not first.mask.any() and (last.mask == (block == 0)).all()
    assert figure.axes[0].get_xlabel() == "3 inputs" and figure.axes[0].get_ylabel() == "2 outputs"
    assert "50%" in title(figure) and "50%" in alt


def test_confusions_tell_of_the_arm_and_the_groups(shown):
    cells = pd.DataFrame([[90.0, 10.0], [40.0, 60.0]], ["A", "B"], ["A", "B"])
    taken = pd.DataFrame({"twins": [41.0, 10.0], "others": [2.0, 3.0]}, ["padded", "scaled"])
    plot.mda.show_confusions({"padded": cells, "scaled": cells.T}, taken, "scaled")
    (figure, alt), = shown
    assert title(figure) == "Scaled parts give 10% of twins and 3% of others to the wrong source"
    assert "padded: 41% of twins and 2% of others" in alt and "2 classes" in alt
    assert words(figure.axes[0].texts) == ["90", "10", "40", "60"]


def test_gaps_follow_the_order_of_the_pairs(shown):
    gap = {"scaled": (-2.0, -9.0), "padded": (-3.0, -12.0), "parts apart": (0.0, 1.0),
           "whole": (-1.0, -4.0), "router": (-5.0, -1.0)}
    frame = pd.DataFrame([{"pair": pair, "seed": s, "arm": arm, "gap": values[at] + s - 0.5}
                          for at, pair in enumerate(("3+7", "1+1")) for s in (0, 1)
                          for arm, values in gap.items()])
    plot.mda.show_gaps(frame, controls=["whole", "router"])
    (figure, alt), = shown
    axis, = figure.axes
    assert words(axis.get_xticklabels()) == ["3+7", "1+1"]
    assert title(figure).endswith("-2 points for 3+7 classes, -9 for 1+1 classes")
    assert "whole: -1.0 and -4.0" in alt                   # −2.5 on average, router −3
    labels = words(figure.legends[0].get_texts())
    assert {*gap} <= {*labels} and len(axis.containers) == len(gap)


def test_a_gap_can_be_drawn_along_another_column(shown):
    frame = pd.DataFrame([{"width": w, "seed": s, "arm": arm, "gap": s - 0.5 - 8 / w}
                          for w in (4, 8) for s in (0, 1) for arm in ("scaled", "whole")])
    plot.mda.show_gaps(frame, ["whole"], "width", "width {}", "channels")
    (figure, alt), = shown
    axis, = figure.axes
    assert words(axis.get_xticklabels()) == ["4", "8"] and axis.get_xlabel() == "channels"
    assert title(figure) == "Scaled parts against base: -2 points for width 4, -1 for width 8"
    assert "-2.0 for width 4" in alt


def test_sizes_part_the_dots_at_the_limit(shown):
    frame = pd.DataFrame({"factor": [1.2, 1.4, 3.0], "gain": [1.0, 2.0, 6.0],
                          "kind": ["alike", "alike", "stopped early"]})
    plot.mda.show_sizes(frame, limit=1.5)
    (figure, alt), = shown
    axis, = figure.axes
    assert title(figure) == ("Scaling: +6.0 points where logits differ more than 1.5-fold, "
                             "+1.5 below")
    assert "(1 dots)" in alt and "(2 dots)" in alt
    dots = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axis.lines
            if line.get_linestyle() == "None"}
    assert dots == {"alike": [(1.2, 1.0), (1.4, 2.0)], "stopped early": [(3.0, 6.0)]}


def test_sizes_with_no_pair_above_the_limit_gain_nothing_there(shown):
    plot.mda.show_sizes(pd.DataFrame({"factor": [1.2], "gain": [1.0], "kind": ["alike"]}), 1.5)
    assert "+0.0 points" in title(shown[0][0])


def test_tuned_networks_are_told_from_their_rivals(shown):
    right = {"scaled, not fine-tuned": 0.4, "dense": 0.75, "zeros held": 0.7, "scratch": 0.5,
             "linear probe": 0.8, "restricted sources, not fine-tuned": 0.6}
    frame = pd.DataFrame([{"arm": arm, "seed": s, "accuracy": value} for arm, value in
                          right.items() for s in (0, 1)])
    plot.mda.show_tuned(frame, epochs=3)
    (figure, alt), = shown
    axis, = figure.axes
    assert title(figure) == "Fine-tuning: +35 points; a linear probe ends 5 points higher"
    names = words(axis.get_yticklabels())
    assert names[1:4] == ["dense, epochs: 3", "zeros held, epochs: 3",
                          "same shape from scratch, epochs: 3"]
    assert [bar.get_width() for bar in axis.patches] == list(right.values())
    colors = [bar.get_facecolor() for bar in axis.patches]
    assert colors[1] == colors[2] != colors[0] == colors[3] == colors[4]
    assert "dense 75.0%" in alt and "without fine-tuning 40.0%" in alt
