"""A refusal names the argument, what came, what is wanted, and the nearest name."""

import numpy as np
import pytest
import torch

from wlib.check import did_you_mean, finite, require, require_one_of, short


def test_a_refusal_names_argument_value_and_wish():
    require(True, "rate", 1, "anything")
    with pytest.raises(ValueError, match=r"^rate: got -1, want a positive number$"):
        require(False, "rate", -1, "a positive number")


def test_an_unknown_name_meets_the_options_and_the_nearest_one():
    require_one_of("order", "energy", ["raw", "energy"])
    with pytest.raises(ValueError, match="order: got 'energie', want one of energy, raw; "
                                         "did you mean 'energy'"):
        require_one_of("order", "energie", ["raw", "energy"])
    with pytest.raises(ValueError, match="want one of energy, raw$"):
        require_one_of("order", 17, ["raw", "energy"])
    assert did_you_mean("zzz", ["raw"]) == ""


def test_values_are_shown_short():
    assert short(torch.zeros(2, 3)) == "Tensor of torch.float32 with shape (2, 3)"
    assert short(np.zeros(4)) == "ndarray of float64 with shape (4,)"
    assert short("x" * 500).endswith("…") and len(short("x" * 500)) == 80
    assert short([1]) == "[1]"


def test_finite_numbers_have_finite_ends():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        good = torch.tensor([[1, -2], [3, torch.finfo(dtype).max]], dtype=dtype)
        assert finite(good) and finite(good[:0]) and finite(good.requires_grad_())
        for bad in (float("nan"), float("inf"), -float("inf")):
            assert not finite(torch.tensor([1, bad, 2], dtype=dtype))
