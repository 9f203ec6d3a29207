"""Figures of part IV: what is drawn is what the numbers say, for one seed and one panel too."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from figured import crossed, levels, means, titles, words

from wlib import plot

ARMS, OURS = {"shared": "#111111", "own": "#222222"}, {"sampled": plot.METHOD}


def test_sizes_of_a_zoo_stand_on_a_logarithmic_axis(seeds):
    frame = crossed(seeds, "points", lambda a, n: n + len(a), arm=["ridge"], size=[200, 50])
    axis, = plot.d2nwg.growth(frame, title="t", level={"prototype head": 70}).axes
    assert means(axis, seeds)["ridge"] == [(50, 55), (200, 205)]
    assert words(axis.get_xticklabels()) == ["50", "200"] and axis.get_xscale() == "log"
    assert 70 in levels(axis) and "points" in axis.get_ylabel()


def test_standings_have_a_row_per_arm_from_the_top_and_room_for_chance():
    table = pd.DataFrame({"arm": ["ours", "theirs"], "label": ["method", "control"], "mean":
                          [61.6, 40], "half": [2, np.inf], "seeds": [[60, 63.2], [40]]})
    axis, = plot.d2nwg.standings(table, title="t", xlabel="points", level={"chance": 10}).axes
    ours, theirs = axis.containers
    assert np.allclose(ours.lines[2][0].get_segments(), [[[59.6, 0], [63.6, 0]]])
    assert theirs.lines[0].get_xydata().tolist() == [[40, 1]] and not theirs.has_xerr
    assert [[60, 0], [63.2, 0]] in [line.get_xydata().tolist() for line in axis.lines]
    assert words(axis.texts) == ["62", "40", " chance"] and axis.get_xlim()[0] < 10
    assert words(axis.get_yticklabels()) == ["ours", "theirs"] and np.diff(axis.get_ylim()) < 0


def test_pairs_name_means_over_seeds_and_have_a_diagonal():
    frame = pd.DataFrame({"name": ["", "", "r", "r"], "x": [20, 30, 40, 60], "y": [25, 15, 50, 80]})
    figures = [plot.d2nwg.pairs(frame[:n], xlabel="a", ylabel="b", title="t") for n in (1, 4)]
    both = figures[1].axes[0]
    assert [line.get_xydata().tolist() for line in both.lines] == [
        [[20, 25], [30, 15]], [[50, 65]], [[12, 12], [83, 83]]]
    assert (both.get_xlabel(), both.get_ylabel(), *both.get_xlim()) == ("a", "b", 12, 83)
    assert words(figures[1].legends[0].get_texts()) == ["r (mean over seeds)"]
    assert not figures[0].legends


@pytest.mark.parametrize("starts", [["shared", "own"], ["own"]])
def test_courses_stand_in_the_panel_of_their_start(starts, seeds):
    frame = crossed(seeds, "points", lambda s, k: k + len(s), start=list(ARMS), step=[0, 60])
    figure = plot.d2nwg_worth.courses(frame, {s.upper(): s for s in starts}, ["sampled"], title="t")
    for axis, name in zip(figure.axes, starts, strict=True):
        assert means(axis, seeds) == {"sampled": [(0, len(name)), (1, 60 + len(name))]}
        assert words(axis.get_xticklabels()) == ["0", "60"] and axis.get_legend() is None
    assert titles(figure) == [s.upper() for s in starts] and len(figure.legends) == 1


def test_a_sweep_has_its_columns_in_panels_and_the_mark_at_a_hundred(seeds):
    frame = crossed(seeds, "share", lambda w: w / 8, width=[32, 128])
    figure = plot.d2nwg_worth.sweep(frame.eval("own = share + 10\nseen = share + 20"), title="t")
    for axis, title, more in zip(figure.axes, titles(figure), (0, 10, 20), strict=True):
        assert means(axis, seeds) == {"sampled": [(0, 4 + more), (1, 16 + more)]}
        assert title.endswith("points" if more == 20 else "%")
        assert axis.get_yscale() == ("linear" if more == 20 else "log")
        assert (100 in levels(axis)) == (more < 20) == (axis.get_legend() is None)


@pytest.mark.parametrize("names", [["zoo", "sampled"], ["zoo"]])
def test_histograms_share_bins_and_lose_nobody(names):
    found = {"zoo": np.array([1.1, 1.1, 3, 4]), "sampled": np.array([0, 2.0])}
    heights = {"zoo": [0, 0.5, 0.25, 0.25], "sampled": [0.5, 0.5, 0, 0]}
    some = {name: found[name] for name in names}
    figure = plot.d2nwg_worth.distances(some, 1.5, title="t", bins=4)
    for axis, name in zip(figure.axes, names, strict=True):
        assert [bar.get_height() for bar in axis.patches] == heights[name]
        assert np.allclose([bar.get_x() for bar in axis.patches], [0, 1.02, 2.04, 3.06])
        assert axis.get_ylabel() == name and levels(axis, "x") == [1.5]
    assert "distance" in figure.axes[-1].get_xlabel()


@pytest.mark.parametrize("names, limit", [(["seen", "unseen"], 4), (["unseen"], 1)])
def test_a_sample_is_above_its_nearest_on_one_scale(names, limit):
    values = {"seen": torch.tensor([[1.0, 2], [3, -4], [0, 0]]), "unseen": torch.ones(2, 2)}
    figure = plot.d2nwg_worth.beside({name: values[name] for name in names}, title="t")
    for axis, name in zip(figure.axes[:-1], names, strict=True):
        image, rows = axis.images[0], ["sampled", "nearest 1", "nearest 2"][:len(values[name])]
        assert np.array_equal(image.get_array(), values[name])
        assert image.get_clim() == (-limit, limit) and words(axis.get_yticklabels()) == rows
    assert figure.axes[-1].get_ylabel() == "weight" and figure.get_suptitle() == "t"


@pytest.mark.parametrize("names", [["sampled", "trained"], ["sampled"]])
def test_a_decision_is_drawn_at_its_place_in_the_color_of_its_class(names):
    classes, places = torch.randint(10, (len(names), 3, 3)), torch.tensor([[0.0, 10], [2, 14]])
    maps = SimpleNamespace(classes=classes, places=places, low=places[0], high=places[1])
    figure = plot.d2nwg_worth.decisions(maps, torch.tensor([0, 8]), names, title="t")
    for axis, wanted in zip(figure.axes, classes, strict=True):
        (image,), (dots,) = axis.images, axis.collections
        assert np.array_equal(image.get_array(), wanted) and image.origin == "lower"
        assert list(image.get_extent()) == [-0.5, 2.5, 9, 15], "a cell's middle is its point"
        assert np.array_equal(dots.get_offsets(), places) and list(dots.get_array()) == [0, 8]
        assert dots.get_clim() == image.get_clim() and dots.get_cmap() == image.get_cmap()
    assert titles(figure) == names


def test_accuracy_stands_over_novelty_and_levels_are_joined():
    frame = pd.DataFrame([
        ("sampled", 0, 0.2, 60), ("sampled", 0, 0.4, 80), ("network with noise", 0, 0.1, 50),
        ("network with noise", 2, 0.9, 10)], columns=["arm", "level", "novelty", "points"])
    axis = plot.d2nwg_worth.trade_off(frame, title="t").axes[0]
    small, large, _, joined = axis.lines[:4]
    assert small.get_xydata().tolist() == [[0.2, 60], [0.4, 80]]
    assert np.allclose(large.get_xydata(), [[0.3, 70]]) and large.get_label() == "sampled"
    assert joined.get_xydata().tolist() == [[0.1, 50], [0.9, 10]]
