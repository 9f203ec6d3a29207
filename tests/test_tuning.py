"""A grid that grows until its best point has neighbors: hand-computed searches."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wlib.core.tuning import search, tune


def peak_at(place):
    return lambda value: -abs(math.log10(value) - math.log10(place))


def test_a_grid_with_its_peak_inside_is_left_as_it_is():
    found = tune(peak_at(0.003), [1e-3, 3e-3, 1e-2])
    assert list(found.scores) == [1e-3, 3e-3, 1e-2]
    assert found.best == 3e-3 and not found.at_edge


def test_a_grid_is_widened_by_its_own_factor_until_the_best_has_neighbors():
    found = tune(peak_at(0.1), [1e-3, 1e-2])
    assert list(found.scores) == [1e-3, 1e-2, 0.1, 1.0]
    assert found.best == 0.1 and not found.at_edge
    down = tune(peak_at(1e-4), [1e-3, 1e-2])
    assert list(down.scores) == [1e-5, 1e-4, 1e-3, 1e-2] and down.best == 1e-4


def test_whole_numbers_stay_whole_and_limits_are_kept():
    found = tune(float, [5, 10, 20], limits=(1, 50))
    assert list(found.scores) == [5, 10, 20, 40] and found.at_edge
    assert all(isinstance(value, int) for value in found.scores)
    least = tune(lambda n: -n, [2, 4])
    assert list(least.scores) == [1, 2, 4] and least.best == 1 and least.at_edge


def test_the_search_says_so_where_it_ends_at_an_edge():
    assert tune(float, [1.0, 2.0], most=5).at_edge
    assert len(tune(float, [1.0, 2.0], most=5).scores) == 5


def test_no_value_is_scored_twice_and_lower_can_be_better():
    asked = []

    def loss(value):
        asked.append(value)
        return abs(math.log2(value) - 3)

    found = tune(loss, [1.0, 2.0], better="lower")
    assert found.best == 8.0 and len(asked) == len(set(asked)) == len(found.scores)


@given(st.floats(-6, 3))
def test_the_best_of_a_smooth_score_is_always_found(power):
    found = tune(peak_at(10**power), [1e-2, 1e-1], most=20)
    assert not found.at_edge
    assert abs(math.log10(found.best) - power) <= 0.51


@dataclass(frozen=True)
class Both:
    rate: float = 1e-3
    steps: int = 10


def valley(both):
    """Best at a rate of 0.1 for 40 steps; the best rate is the smaller, the more steps."""
    return -(math.log10(both.rate * both.steps / 4)) ** 2 - (math.log2(both.steps / 40)) ** 2


def test_a_search_tunes_one_setting_after_another_and_asks_again():
    grids = {"rate": [1e-3, 1e-2, 1e-1], "steps": [10, 20, 40]}
    found = search(valley, Both(), grids, rounds=3)
    assert found.best == Both(0.1, 40)
    assert not any(one.at_edge for one in found.found.values())
    assert (0, "rate") in found.found and found.found[0, "rate"].best == 1.0  # at 10 steps
    once = search(valley, Both(0.1, 40), grids, rounds=3)
    assert {turn for turn, _ in once.found} == {0} and once.best == Both(0.1, 40)


def test_a_search_refuses_what_is_no_setting():
    with pytest.raises(ValueError, match="step"):
        search(valley, Both(), {"step": [1, 2]})


@pytest.mark.parametrize(("grid", "other"), [([1.0], {}), ([2.0, 1.0], {}), ([0.0, 1.0], {}),
                                             ([1.0, 2.0], {"better": "best"}),
                                             ([1.0, 2.0, 3.0], {"most": 2})])
def test_what_is_no_grid_is_refused(grid, other):
    with pytest.raises(ValueError, match="got"):
        tune(float, grid, **other)
