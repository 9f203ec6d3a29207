"""Copies of a toy zoo in three numbers, of which the codec keeps two: everything by hand."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from wlib.core.pool import Pool
from wlib.d2nwg import copies, rivals
from wlib.d2nwg.copies import HELD, RIVALS
from wlib.d2nwg.memorization import CODEC, PLAIN, mark

ZOO = torch.tensor([[0.0, 0, 0], [3, 0, 4], [0, 9, 1]])
MEMORY, ASKED = torch.tensor([[0.0], [1], [9]]), torch.tensor([[0.9], [7]])
ONES = torch.ones(1, 3)


class Signs(nn.Module):
    """Each weight names the class of one image, 0 where it is not negative."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return torch.stack([x @ self.weight, -x @ self.weight], -1)                   # (E, 2)


@dataclass
class Toy:
    """What `copies` asks of a case: samples are all ones, points fall with the distance to ZOO[1].
    """

    seed: int = 0
    count: int = 3
    width: int = 0
    sets: dict = field(default_factory=lambda: {"unseen": [SimpleNamespace(
        test=(torch.eye(3), torch.tensor(labels))) for labels in ([0, 0, 0], [1, 1, 0])]})

    @property
    def members(self):
        return SimpleNamespace(weights=ZOO[:self.count], pool=Pool.stack([Signs()]))

    def conditions(self, part, count=None):
        return ASKED[:count], MEMORY[:self.count]

    def sample(self, part, n, count=None):
        far = {"train": 0, "unseen": self.width}[part]
        return (ONES + far).expand(len(ASKED[:count]), n, 3)

    def through_codec(self, weights):
        return weights * torch.tensor([1.0, 1, 0])

    def points(self, weights, part, images="test"):
        return 100 - (weights - ZOO[1]).norm(dim=2)

    def first(self, count):
        return replace(self, count=count)

    def learned(self, size, *, width, steps):
        assert (size, steps) == (7, 5)
        return replace(self, width=width)


def test_noise_moves_the_nearest_network_where_the_codec_keeps_it():
    found = copies.noisy(Toy(), "unseen", 0.5, 4)
    assert found.shape == (2, 4, 3)
    plain = rivals.Noisy(0.5).fit(MEMORY, ZOO)(ASKED, 4, 0)
    torch.testing.assert_close(found[..., :2], plain[..., :2])
    assert found[0, :, 2].tolist() == [4] * 4 and found[1, :, 2].tolist() == [1] * 4
    assert torch.equal(copies.noisy(Toy(), "unseen", 0, 1, 1), ZOO[None, 1:2])
    assert torch.equal(copies.noisy(Toy(), "unseen", 0.5, 4, 1), found[:1])


def test_a_midpoint_lies_between_the_two_nearest():
    assert copies.midpoints(Toy(), "unseen").tolist() == [[[1.5, 0, 2]], [[1.5, 4.5, 2.5]]]


@pytest.mark.parametrize("noises, best", [
    ([0.01, 0.1, 50.0], 0.1), ([0.01, 50.0, 0.1], 0.01), ([50.0, 0.01], 50.0)])
def test_the_noise_is_the_largest_before_copies_get_worse_than_samples(noises, best):
    made = ZOO[1] + torch.tensor([[[0.6, 0, 0]]])               # samples get 99.4 points
    assert copies.chosen_noise(Toy(), "unseen", made, noises) == best


def test_candidates_are_samples_and_two_that_copy():
    made, sd = copies.candidates(Toy(), "unseen", 1, 2, [0.01, 0.1])
    assert tuple(made) == RIVALS and sd == 0.1                  # samples are far from ZOO[1]
    assert torch.equal(made["sampled"], torch.ones(1, 2, 3))
    assert torch.equal(made["network with noise"], copies.noisy(Toy(), "unseen", 0.1, 2, 1))
    assert made["mean of two networks"].tolist() == [[[1.5, 0, 2]]]


def test_distances_are_within_a_view():
    found = copies.distances(Toy(count=2), {"made": torch.tensor([[[0.0, 0, 3]], [[3, 1, 0]]])})
    assert {name: far.tolist() for name, far in found.items()} == {
        (PLAIN, "zoo"): [5, 5], (PLAIN, "made"): [3, pytest.approx(10 ** 0.5)],
        (CODEC, "zoo"): [3, 3], (CODEC, "made"): [0, 1]}


def test_a_fraction_is_the_median_over_the_fifth_percentile():
    within = torch.arange(101).double()
    assert mark(within) == 5
    assert copies.fraction(torch.tensor([1.0, 2, 90]), within) == pytest.approx(40)


def test_errors_are_scored_by_accuracy_and_by_overlap(monkeypatch):
    weights = torch.tensor([[1.0, 1, -1], [1, -1, -1]])[:, None]            # by data set
    made = {"sampled": weights, "mean of two networks": weights[[0, 0]]}
    monkeypatch.setattr(copies, "oracles", lambda case: weights[:, 0])
    rows = copies.errors(Toy(), made, 0.2, 2)
    assert [row["level"] for row in rows if row["arm"] == "network with noise"] == [0, .5, 1, 2] * 2
    assert {row["seed"] for row in rows} == {0} and len(rows) == 14
    by = {arm: [(row["points"], row["novelty"]) for row in rows if row["arm"] == arm]
          for arm in ("sampled", HELD, "mean of two networks")}
    # Every weight of the zoo names class 0, so it errs on no image, then on the first two. The
    # samples err on the third image, then on the first and the third.
    own = [(pytest.approx(200 / 3), 1), (pytest.approx(100 / 3), pytest.approx(2 / 3))]
    assert by["sampled"] == by[HELD] == own
    assert by["mean of two networks"] == [own[0], (0, pytest.approx(1 / 3))]


def test_novelty_is_read_off_a_line_and_not_beyond_its_ends():
    line = [(60, 0.2), (20, 0.8), (40, 0.4)]
    assert [copies.read_off(line, points) for points in (30, 40, 10, 90)] == \
        pytest.approx([0.6, 0.4, 0.8, 0.2])


def test_capacity_has_a_row_for_each_zoo_and_width():
    rows = copies.capacity(Toy(), 7, [1, 4], [2, 3], 5)
    assert [(row["arm"], row["width"]) for row in rows] == [
        (f"zoo of {n}", w) for n in (2, 3) for w in (1, 4)]
    # The zoo after the codec is (0, 0, 0), (3, 0, 0) and (0, 9, 0), its mark 3. Samples come out of
    # a codec: (1, 1, 1) for seen data sets, and here 1 + width for unseen ones.
    assert [row["own"] for row in rows] == [pytest.approx(100 * 3 ** 0.5 / 3)] * 4
    assert [row["share"] for row in rows] == pytest.approx([100, 100 * 54 ** 0.5 / 3] * 2)
    assert [row["seen"] for row in rows] == [pytest.approx(100 - 14 ** 0.5)] * 4
