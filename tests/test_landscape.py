"""Accuracy under noise: what no noise leaves, what all of it takes, and that draws are counted."""

import pytest
import torch

from wlib.core import audit, landscape, nets, score
from wlib.core.pool import Pool
from wlib.data import load


@pytest.fixture(scope="module")
def images():
    return load("digits", "validation").take(40)


@pytest.fixture(scope="module")
def pool():
    return Pool.stack([nets.fresh("mlp", i, hidden=(8,)) for i in range(2)])


def test_without_noise_the_accuracy_is_the_pools_own(pool, images):
    own = score.accuracy(pool, images).mean().item()
    rows = landscape.under_noise(pool, images, [0.0], draws=3)
    assert [row["per"] for row in rows] == ["network", "tensor"]
    assert all(row["accuracy"] == pytest.approx(own) for row in rows)


def test_a_row_is_the_mean_over_noisy_copies_of_every_network(pool, images):
    row = landscape.under_noise(pool, images, [0.1, 2.0], draws=2, seed=7)[2]
    copies = audit.noise(pool, torch.full((4, 1), 2.0), generator=7)
    each = [score.accuracy(copies[i], images).item() for i in range(4)]
    assert (row["rho"], row["per"]) == (2.0, "network")
    assert row["accuracy"] == pytest.approx(sum(each) / 4)


@pytest.mark.parametrize("wrong", [{"distances": []}, {"draws": 0}, {"draws": 1.5},
                                   {"distances": [-0.1]}])
def test_what_cannot_be_drawn_is_refused(pool, images, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))[:8]):
        landscape.under_noise(pool, images, **{"distances": [0.1], "draws": 1} | wrong)
