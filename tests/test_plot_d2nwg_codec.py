"""Figures of notebook 41: what is drawn is what the numbers say, for one seed and one panel too."""

import numpy as np
import pandas as pd
import pytest
from figured import crossed, levels, means, titles, words
from matplotlib.colors import to_rgba

from wlib import plot
from wlib.plot import d2nwg_codec

ARMS, OURS = {"shared": "#111111", "own": "#222222"}, {"sampled": plot.METHOD}


def test_values_are_told_with_their_interval_and_equal_ones_as_what_they_are():
    assert d2nwg_codec.in_words([1, 2, 3], "%") == "2.0 ± 2.5 %"
    assert d2nwg_codec.in_words([40, 40, 40.00001], "points") == "40 points"
    assert d2nwg_codec.in_words([40]) == "40 (one seed, no interval)"


def test_a_table_has_a_row_per_group_in_order_of_appearance():
    frame = pd.DataFrame([{"start": start, "L": size, "seed": s, "seen": size + s, "unseen": 5}
                          for s in (-1, 0, 1) for start in ("own", "all") for size in (8, 4)])
    made = d2nwg_codec.in_table(frame, ["start", "L"], {"unseen": "u", "seen": "s"})
    assert made.index.tolist() == [("own", 8), ("own", 4), ("all", 8), ("all", 4)]
    assert list(made) == ["u", "s"] and made.loc[("all", 4)].tolist() == ["5", "4.0 ± 2.5"]
    one = d2nwg_codec.in_table(frame, ["L"], {"unseen": "u"})
    assert one.index.tolist() == [8, 4] and one.index.name == "L"


def test_a_map_has_each_network_at_its_place_in_its_color_and_shape():
    places, turn = np.arange(8.0).reshape(4, 2), np.array([-60, 0, 30, 60])
    figure = d2nwg_codec.zoo_map({"shared": places, "own": -places}, turn, [0, 1, 0, 0], title="t")
    light, dark = figure.axes[0].collections
    assert light.get_offsets().tolist() == places[[0, 2, 3]].tolist()
    assert light.get_array().tolist() == [-60, 30, 60] and dark.get_array().tolist() == [0]
    assert figure.axes[1].collections[1].get_offsets().tolist() == [[-2, -3]]
    assert titles(figure)[:2] == ["shared", "own"] and "degrees" in figure.axes[2].get_ylabel()
    assert words(figure.legends[0].get_texts()) == ["light on dark", "dark on light"]
    assert len(d2nwg_codec.zoo_map({"one": places}, turn, [0] * 4, title="none dark").axes) == 2


@pytest.mark.parametrize("order", [["seen", "unseen"], ["unseen", "seen"]])
def test_a_ceiling_hangs_over_its_own_panel_in_any_order(order, seeds):
    frame = crossed(seeds, "accuracy", lambda p, n: n + len(p), networks=order, size=[4, 60])
    figure = d2nwg_codec.ceilings(frame, {"seen": 0.9, "unseen": 0.8}, arms=OURS, title="t")
    for axis, title, part in zip(figure.axes, titles(figure), order, strict=True):
        (a, low), (b, high) = means(axis, seeds)["sampled"]
        assert (low, high) == (4 + len(part), 60 + len(part)) and abs(a - 4) + abs(b - 60) < 1
        assert levels(axis) == [0.1, {"seen": 0.9, "unseen": 0.8}[part]]
        assert title == f"networks of {'the zoo' if part == 'seen' else 'unseen data sets'}"
        assert axis.get_xticks().tolist() == [4, 60] and len(figure.legends) == 1


def test_accuracies_are_dots_beside_chance_lines_over_sizes_and_bars(seeds):
    frame = crossed(seeds, "accuracy", lambda n, a: len(n), networks=["a", "bb"], arm=list(ARMS))
    axis, = d2nwg_codec.means(frame, arms=ARMS, title="t").axes
    assert means(axis, seeds) == {"shared": [(1, -0.08), (2, 0.92)], "own": [(1, 0.08), (2, 1.08)]}
    assert words(axis.get_yticklabels()) == ["a", "bb"] and 0.1 in levels(axis, "x")
    assert axis.get_xlim() == (0, 1.01) and np.diff(axis.get_ylim()) < 0
    frame = crossed(seeds, "accuracy", lambda n: n / 100, of=[15, 60])
    axis, = d2nwg_codec.zoo_sizes(frame, arms=OURS, title="t").axes
    assert means(axis, seeds) == {"sampled": [(0, 0.15), (1, 0.6)]} and levels(axis) == [0.1]
    assert words(axis.get_xticklabels()) == ["15", "60"] and axis.get_ylim()[0] == 0
    frame = crossed(seeds, "accuracy", lambda n: len(n) / 100, network=["in, shared", "out"])
    axis, = d2nwg_codec.spans(frame, title="t").axes
    assert [(bar.get_width().round(2), bar.get_facecolor()) for bar in axis.patches] == [
        (0.1, to_rgba(plot.METHOD)), (0.03, to_rgba(plot.CONTROL))]
    assert words(axis.get_yticklabels()) == ["in, shared", "out"]
    assert words(axis.texts) == ["chance"]
