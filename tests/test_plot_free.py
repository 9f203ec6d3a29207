"""Figures of part III: what is drawn is what the numbers say, and nothing is lost on the way."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from figured import words
from PIL import Image

from wlib import plot

FRAME = pd.DataFrame([{"arm": arm, "seed": s, "one": base + s, "five": 2 * base + s}
                      for arm, base in (("ours", 30.0), ("theirs", 50.0)) for s in range(3)])


def dots(axis):
    """Where an axis has the means of its error bars, as (x, y), from top to bottom."""
    return [(float(bar.lines[0].get_xdata()[i]), float(bar.lines[0].get_ydata()[i]))
            for bar in axis.containers for i in range(len(bar.lines[0].get_xdata()))]


def test_a_row_has_its_mean_each_seed_and_the_level():
    arms = {"theirs": "#111111", "ours": "#222222"}
    figure = plot.free.ranked(FRAME, {"one": "points", "five": "points, five"}, arms=arms,
                              title="t", levels={"one": {"chance": 20.0}})
    one, five = figure.axes
    assert dots(one) == [(51.0, 0.0), (31.0, 1.0)] and dots(five) == [(101.0, 0.0), (61.0, 1.0)]
    assert words(one.get_yticklabels()) == ["theirs", "ours"]
    low, high = one.get_ylim()
    assert low > high, "the first arm stands on top"
    seeds = [line.get_xdata() for line in one.lines if line.get_marker() == "|"]
    assert [50.0, 51.0, 52.0] in [list(values) for values in seeds]
    assert [20.0, 20.0] in [list(line.get_xdata()) for line in one.lines]
    assert "chance" in one.texts[0].get_text() and not five.texts


def test_pairs_stand_on_lines_of_their_own_side_by_side():
    frame = pd.DataFrame([{"learner": name, "pool": pool, "seed": s, "points": at + s}
                          for name, at in (("walk", 30.0), ("joint", 40.0))
                          for pool in ("mixed", "uniform") for s in range(2)])
    figure = plot.free.paired(frame, "points", name="learner", arm="pool", arms=plot.free.POOLS,
                              title="t", xlabel="points", level={"start": 25.0})
    axis, = figure.axes
    found = dots(axis)
    names = words(axis.get_yticklabels())
    assert sorted(names) == ["joint", "walk"]
    for x, y in found:
        assert x == {"walk": 30.5, "joint": 40.5}[names[round(y)]]
    assert len({y for _, y in found}) == 4, "no dot hides another"
    assert words(figure.legends[0].get_texts()) == ["start", "mixed", "uniform"]


def test_cosines_are_written_into_small_maps_and_have_no_signed_zero():
    cosines = np.array([[1.0, -0.04], [-0.04, 1.0]])
    figure = plot.free.cosine_maps({"before": cosines, "after": -cosines}, ["a", "b"], title="t")
    written = [words(axis.texts) for axis in figure.axes[:2]]
    assert written == [["1.0", "0.0", "0.0", "1.0"], ["-1.0", "0.0", "0.0", "-1.0"]]
    many = plot.free.cosine_maps({"before": np.eye(10)}, [str(i) for i in range(10)], title="t")
    assert not many.axes[0].texts


def test_adaptation_marks_the_steps_that_the_claim_is_about():
    frame = pd.DataFrame([{"arm": "meta", "seed": s, "k": k, "cross-entropy": 2.0 / (1 + k),
                           "accuracy": k / 20} for s in range(3) for k in (0, 5, 20)])
    figure = plot.free.adaptation(frame, arms={"meta": plot.METHOD}, marked=5, title="t")
    left, right = figure.axes
    assert "nats" in left.get_ylabel() and right.get_ylabel() == "accuracy"
    for axis in (left, right):
        assert [1, 1] in [list(line.get_xdata()) for line in axis.lines], "the second place, k = 5"
        assert axis.get_ylim()[0] == 0


# ---- the explorer -------------------------------------------------------------------------------
STEPS = (0, 2)


def recoveries(classes=5, teachers=2):
    """Curves and images of teachers that do not exist."""
    random = np.random.default_rng(0)
    curves = {(arm, t): [3.0 - t, 2.0, 1.0 + t] for arm in plot.free.ARMS for t in range(teachers)}
    images = {(arm, t, k): random.integers(0, 256, (classes, 28, 28), dtype=np.uint8)
              for arm in plot.free.ARMS for t in range(teachers) for k in STEPS}
    return curves, images


def test_each_teacher_and_step_has_a_frame_with_its_images_and_numbers():
    curves, images = recoveries()
    classes = [list("ABCDE"), list("FG<IJ")]
    box = plot.free.recovery_explorer(curves, images, teachers=2, steps=STEPS, classes=classes,
                                      start=(1, 0))
    first, second, frames = box.children
    assert first.options == ("1", "2") and second.options == ("0", "2") and first.index == 1
    page = frames.children[1].children[1].value
    assert "Teacher 2 (held out), classes F, G, &lt;, I, J" in page
    assert "after 2 steps: 2.00 nats by the meta-generator, 2.00 nats by the fresh" in page
    strips = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
              for data in re.findall(r"base64,([^']+)'", page)]
    for strip, arm in zip(strips, plot.free.ARMS, strict=True):
        wanted = np.concatenate(list(images[arm, 1, 2]), axis=1)
        assert np.array_equal(strip, wanted // 16 * 17), "sixteen grays of the very images"
    for svg in re.findall(r"<svg.*?</svg>", page, re.S):
        assert ElementTree.fromstring(svg).get("aria-label")


def test_one_step_is_written_in_the_singular():
    words = plot.free.recovery_caption({"meta-generator": [2.0, 1.0]}, 1, 1, "AB")
    assert "after 1 step: 1.00 nats" in words
