"""Arms compared: every number by hand, no number of its own beside the verdict's."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from wlib import claims
from wlib.claims.comparison import Comparison, readings, side_by_side, stands

SEEDS = [7, 3, 5]
POINTS = {"method": [90.0, 92.0, 94.0], "rival": [88.0, 91.0, 91.0], "chance": [10.0, 10.0, 10.0]}
IMAGES = {"method": [[100.0, 50.0, 0.0], [100.0, 100.0, 100.0]],                  # (2, 3)
          "rival": [[0.0, 50.0, 0.0], [100.0, 0.0, 100.0]]}


def close(found, low, mean, high):
    np.testing.assert_allclose(found, (low, mean, high), rtol=1e-12, atol=1e-12)


def test_means_and_leads_over_seeds_are_those_computed_by_hand():
    arms = Comparison(POINTS, SEEDS)
    half = stats.t.ppf(0.975, 2) * 2 / math.sqrt(3)                     # standard deviation 2
    close(arms.interval("method"), 92 - half, 92, 92 + half)
    half = stats.t.ppf(0.975, 2) * 1 / math.sqrt(3)                     # of 2, 1, 3
    close(arms.lead("method", "rival"), 2 - half, 2, 2 + half)
    assert arms.mean("rival") == 90 and arms.per_seed("rival").tolist() == [88, 91, 91]
    assert arms.words(["chance"], unit=True) == {"chance": "10.000 ± 0.000 points"}


def test_the_images_add_their_share_to_an_interval():
    arms = Comparison(IMAGES, [0, 1])
    mean, error = 75, np.std([100, 75, 50], ddof=1) / math.sqrt(3)
    half = math.hypot(stats.t.ppf(0.975, 1) * np.std([50, 100], ddof=1) / math.sqrt(2),
                      stats.norm.ppf(0.975) * error)
    close(arms.interval("method"), mean - half, mean, mean + half)
    gap = np.array([[100, 0, 0], [0, 100, 0]])                          # paired, image by image
    half = math.hypot(0, stats.norm.ppf(0.975) * gap.mean(0).std(ddof=1) / math.sqrt(3))
    close(arms.lead("method", "rival"), 100 / 3 - half, 100 / 3, 100 / 3 + half)
    assert arms.per_seed("rival").tolist() == pytest.approx([50 / 3, 200 / 3])


def test_where_lower_is_better_a_lead_is_above_zero_all_the_same():
    arms = Comparison(POINTS, SEEDS, better="lower")
    assert arms.lead("rival", "method").mean == 2
    assert arms.ranking() == ["chance", "rival", "method"]
    assert arms.closest("rival", ["method"])[0] == "method"
    assert arms.closest("method") == ("chance", arms.lead("method", "chance"))


def test_the_closest_rival_is_the_best_of_those_allowed():
    arms = Comparison(POINTS, SEEDS)
    assert arms.ranking() == ["method", "rival", "chance"]
    assert arms.ranking(["chance", "method"]) == ["method", "chance"]
    name, gap = arms.closest("method")
    assert name == "rival" and gap == arms.lead("method", "rival")
    assert arms.closest("method", ["chance"])[0] == "chance"
    assert arms.others("method") == ["rival", "chance"] and arms.others("method", "rival") == [
        "chance"]


def test_tensors_arrays_and_lists_of_rows_are_the_same_values():
    rows = np.array(IMAGES["method"])
    every = Comparison({"array": rows, "tensor": torch.tensor(rows, requires_grad=True),
                        "rows": list(torch.tensor(rows)), "whole": rows.astype(int)}, [0, 1])
    assert all(every[arm].tolist() == rows.tolist() and every[arm].dtype == float
               for arm in every.values)


def test_a_table_with_one_row_per_arm_and_seed_is_read_in_the_order_of_the_seeds():
    frame = pd.DataFrame([{"who": arm, "seed": s, "points": value} for arm, row in POINTS.items()
                          for s, value in zip(SEEDS, row, strict=True)])
    twice = pd.concat([frame.assign(points=frame["points"] + d) for d in (-1, 1)])
    for rows in (frame, frame[::-1], twice):
        arms = Comparison.from_frame(rows, "points", SEEDS, arm="who", unit="%")
        assert {arm: arms[arm].tolist() for arm in arms.values} == POINTS and arms.unit == "%"
    back = Comparison(POINTS, SEEDS).frame("points").rename(columns={"arm": "who"})
    pd.testing.assert_frame_equal(back, frame)


def test_a_part_of_the_images_and_differences_to_one_arm():
    arms = Comparison(IMAGES, [0, 1])
    assert arms.part(slice(0, 2))["method"].tolist() == [[100, 50], [100, 100]]
    assert arms.part(np.array([2, 0]))["rival"].tolist() == [[0, 0], [100, 100]]
    assert arms.part(slice(1, 2))["method"].tolist() == [50, 100]       # one image: seeds alone
    gain = arms.minus("rival")
    assert list(gain.values) == ["method"]
    assert gain["method"].tolist() == [[100, 0, 0], [0, 100, 0]]
    close(gain.interval("method"), *arms.lead("method", "rival"))


def test_tables_say_means_and_leads_in_words():
    arms = Comparison(POINTS, SEEDS)
    table = arms.table("accuracy", over="rival", arms=["method", "rival"])
    assert table.to_dict("list") == {
        "arm": ["method", "rival"], "accuracy": ["92.0 ± 5.0", "90.0 ± 4.3"],
        "against rival": ["2.0 ± 2.5", "–"]}
    assert list(arms.table("accuracy")) == ["arm", "accuracy"]
    assert arms.words(["rival"]) == {"rival": "90.0 ± 4.3"}
    both = side_by_side({"all": arms, "few": Comparison({"method": POINTS["rival"]}, SEEDS)})
    assert both.loc["method"].tolist() == ["92.0 ± 5.0", "90.0 ± 4.3"]
    assert both.loc["rival"].tolist() == ["90.0 ± 4.3", "–"]
    assert side_by_side({"all": arms}, ["rival"]).index.tolist() == ["rival"]


@pytest.mark.parametrize("low, high, says", [(0.1, 2, "beats"), (-2, -0.1, "loses to"),
                                             (-1, 1, "ties with"), (0, 2, "ties with"),
                                             (-math.inf, math.inf, "ties with")])
def test_an_interval_stands_where_all_of_it_lies(low, high, says):
    gap = claims.Interval(low, 1.0, high)
    assert stands(gap, "beats", "loses to", "ties with") == says


def test_readings_are_rows_in_the_words_of_a_table():
    gap = claims.Interval(1.0, 2.0, 3.0)
    table = readings({("D1", "sampled", "nearest"): gap}, "%")
    assert table.loc[0].tolist() == ["D1", "sampled", "nearest", "2.0 ± 1.0 %", "ahead"]


def test_a_report_has_what_measure_would_have_been_given():
    by_hand, report = (claims.Report("none", seeds=[0, 1]) for _ in range(2))
    by_hand.measure("x", IMAGES["method"], unit="%", better="lower", resampled="zoos",
                    controls={"rival": IMAGES["rival"]}, references={"itself": IMAGES["method"]})
    arms = Comparison(IMAGES, [0, 1], "%", "lower", "zoos")
    arms.report(report, "x", "method", controls=["rival"], references={"itself": "method"})
    assert report.measures == by_hand.measures
    assert arms.lead("method", "rival") == claims.advantage(report.measures["x"], "rival")
    with pytest.raises(ValueError, match=r"seeds: got \[0, 1\], want \[1, 0\], as the report"):
        arms.report(claims.Report("none", seeds=[1, 0]), "x", "method")


# ---------------------------------------------------------------- whatever the values
FINITE = st.floats(-1e6, 1e6)


@st.composite
def pairs(draw):
    shape = (draw(st.integers(2, 5)), draw(st.integers(2, 5)))[:draw(st.integers(1, 2))]
    values = {arm: draw(arrays(float, shape, elements=FINITE)) for arm in "abc"}
    better, order = st.sampled_from(["higher", "lower"]), st.permutations(range(shape[0]))
    return values, draw(better), draw(order)


@given(pairs())
def test_leads_are_antisymmetric_and_do_not_mind_the_order_of_seeds(case):
    values, better, order = case
    arms = Comparison(values, range(len(order)), better=better)
    low, mean, high = arms.lead("a", "b")
    close(arms.lead("b", "a"), -high, -mean, -low)
    again = Comparison({arm: v[list(order)] for arm, v in values.items()}, order, better=better)
    np.testing.assert_allclose(again.lead("a", "b"), (low, mean, high), rtol=1e-9, atol=1e-6)
    sign = 1 if better == "higher" else -1
    np.testing.assert_allclose(mean, sign * (arms.mean("a") - arms.mean("b")), rtol=1e-9, atol=1e-6)


@given(pairs())
def test_no_rival_leaves_a_smaller_lead_than_the_closest(case):
    values, better, order = case
    arms = Comparison(values, range(len(order)), better=better)
    name, gap = arms.closest("a")
    assume(abs(arms.mean("b") - arms.mean("c")) > 1e-6)
    assert gap.mean == min(arms.lead("a", rival).mean for rival in "bc")
    assert name == next(arm for arm in arms.ranking() if arm != "a")


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize("change, words", [
    ({"values": {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0]}}, r"values\['b'\].*with S = 3 seeds"),
    ({"values": {"a": [1.0, math.nan, 3.0]}}, r"values\['a'\].*finite numbers"),
    ({"values": {"a": [[1.0], [2.0], [3.0]]}}, r"values\['a'\].*at least two images"),
    ({"values": {"a": np.ones((3, 4)), "b": np.ones((3, 5))}},
     r"values: got \[4, 5\].*same images"),
    ({"values": {"a": ["x", "y", "z"]}}, r"values\['a'\].*real numbers"),
    ({"values": {}}, "values: got .*at least one arm"),
    ({"seeds": [1, 1, 2]}, "seeds: .*none twice"),
    ({"seeds": []}, "seeds: .*at least one"),
    ({"unit": ""}, "unit: .*want a unit"),
    ({"better": "larger"}, "better: .*want one of higher, lower"),
])
def test_what_is_no_comparison_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Comparison(**{"values": POINTS, "seeds": SEEDS} | change)


@pytest.mark.parametrize("ask", [
    lambda arms: arms["methd"], lambda arms: arms.interval("methd"),
    lambda arms: arms.lead("method", "methd"), lambda arms: arms.others("methd"),
    lambda arms: arms.closest("methd"), lambda arms: arms.minus("methd"),
    lambda arms: arms.ranking(["methd"]), lambda arms: arms.table("points", over="methd"),
    lambda arms: arms.words(["methd"])])
def test_an_arm_that_is_not_there_is_refused_with_the_nearest_name(ask):
    with pytest.raises(ValueError, match="arm: got 'methd'.*did you mean 'method'"):
        ask(Comparison(POINTS, SEEDS))


def test_what_does_not_fit_together_is_refused():
    arms = Comparison({"images": np.eye(3), "seeds": [1.0, 2.0, 3.0]}, SEEDS)
    with pytest.raises(ValueError, match=r"values\['seeds'\].*shape \(S,B\)"):
        arms.part(slice(1))
    with pytest.raises(ValueError, match=r"values\['seeds'\].*like that of 'images'"):
        arms.minus("images")
    with pytest.raises(ValueError, match="rivals: .*at least one"):
        arms.closest("images", [])


@pytest.mark.parametrize("change, words", [
    ({"points": [1.0, 2.0, math.nan]}, r"frame\['points'\].*some are missing"),
    ({"seed": [7, 3, 4]}, r"frame: seeds of 'a'.*want the seeds \[7, 3, 5\]"),
    ({"arm": ["b"] * 4, "seed": [*SEEDS, 9], "points": [1.0, 2.0, 3.0, 4.0]},
     r"frame: seeds of 'b': got \[7, 3, 5, 9\]"),
    ({"arm": ["a", "a", "b"]}, r"frame: seeds of 'a': got \[7, 3\]"),
])
def test_a_table_with_gaps_is_refused(change, words):
    whole = {"arm": ["a", "a", "a"], "seed": SEEDS, "points": [1.0, 2.0, 3.0]}
    frame = pd.DataFrame(whole | change)
    with pytest.raises(ValueError, match=words):
        Comparison.from_frame(frame, "points", SEEDS)
    with pytest.raises(ValueError, match="want a table with the column 'accuracy'"):
        Comparison.from_frame(frame, "accuracy", SEEDS)
