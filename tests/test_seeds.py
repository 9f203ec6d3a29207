"""Generators depend on their whole path and on nothing else."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import few

from wlib import seeds


def draw(*path):
    return torch.rand(4, generator=seeds.generator(*path)).tolist()


def test_equal_paths_draw_equal_numbers_and_leave_the_global_state_alone():
    before = torch.random.get_rng_state()
    assert draw(3, 1, 4) == draw(3, 1, 4) == draw(np.int64(3), 1, 4)
    assert torch.equal(before, torch.random.get_rng_state())


def test_paths_that_look_alike_are_unrelated():
    paths = [(), (0,), (0, 0), (0, 0, 0), (1,), (1, 0), (0, 1), (2**32,), (2**40, 1)]
    for a, b in itertools.combinations(paths, 2):
        assert draw(*a) != draw(*b), (a, b)


@few
@given(st.lists(st.integers(0, 2**60), max_size=4), st.lists(st.integers(0, 2**60), max_size=4))
def test_different_paths_differ(a, b):
    assert (draw(*a) == draw(*b)) == (a == b)


@pytest.mark.parametrize("bad", [-1, 1.0, True, "1", None])
def test_bad_path_is_refused(bad):
    with pytest.raises(ValueError, match="seed"):
        seeds.generator(0, bad)


def test_base_takes_a_number_or_one_draw_of_a_generator():
    assert seeds.base(7) == seeds.base(np.int32(7)) == 7
    a, b = (torch.Generator().manual_seed(1) for _ in range(2))
    first = seeds.base(a)
    assert first == seeds.base(b) >= 0
    assert seeds.base(a) != first, "a generator moves on"
    for bad in (-1, 0.5, True, None, "0"):
        with pytest.raises(ValueError, match="generator"):
            seeds.base(bad)
