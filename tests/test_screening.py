"""Screening decides as judging all images would, but for the error that it states."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import few, images

from wlib import mge
from wlib.core import score, train
from wlib.mge import racing


def decide(wrong, reference, slack, **settings):
    """Screen candidates whose errors (N, B) are known; every image is asked for once at most."""
    asked = torch.zeros(wrong.shape, dtype=torch.long)

    def judge(who, which):
        asked[who.unsqueeze(1), which] += 1
        return wrong[who][:, which]

    found = racing.decide(judge, len(wrong), wrong.shape[1], reference, slack,
                          racing.Rounds(**{"first": 300} | settings))
    assert asked.max() <= 1 and torch.equal(asked.sum(1), found.images)
    assert found.passes == int(asked.sum())
    return found


def family(count, size, broken, mended, seed):
    """A seed network's error set, and candidates that break and mend some of its answers."""
    g = torch.Generator().manual_seed(seed)
    reference = torch.rand(size, generator=g) < 0.04
    coin = torch.rand(count, size, generator=g)
    return reference, torch.where(reference, coin >= mended, coin < broken)


@few
@given(st.data())
def test_without_error_it_decides_as_all_images_do(data):
    size = data.draw(st.integers(1, 60))
    bits = st.lists(st.booleans(), min_size=size, max_size=size)
    reference = torch.tensor(data.draw(bits))
    wrong = torch.tensor(data.draw(st.lists(bits, min_size=1, max_size=5)))
    slack = data.draw(st.integers(0, size))
    found = decide(wrong, reference, slack, error=0, first=data.draw(st.integers(1, 70)))
    assert torch.equal(found.accepted, wrong.sum(1) <= reference.sum() + slack)


@pytest.mark.parametrize("broken", [0.012, 0.018])
def test_wrong_decisions_are_no_more_frequent_than_stated(broken):
    """Candidates around the border, where it is hardest: 1,000 images, ten errors allowed."""
    mistakes, count = {"good": 0, "bad": 0}, {"good": 0, "bad": 0}
    for trial in range(12):
        reference, wrong = family(400, 1000, broken, 0.1, trial)
        truth = wrong.sum(1) <= reference.sum() + 10
        found = decide(wrong, reference, 10, error=0.1, seed=trial)
        for kind, mine in {"good": truth, "bad": ~truth}.items():
            mistakes[kind] += int((found.accepted != truth)[mine].sum())
            count[kind] += int(mine.sum())
    for kind in mistakes:
        assert count[kind] > 500
        assert mistakes[kind] / count[kind] <= 0.1 + 3 * (0.1 * 0.9 / count[kind]) ** 0.5


def test_it_does_err_now_and_then():
    """An error that never happened would have been paid for with images."""
    reference, wrong = family(4000, 1000, 0.014, 0.1, 0)
    found = decide(wrong, reference, 10, error=0.2)
    assert 0 < int((found.accepted != (wrong.sum(1) <= reference.sum() + 10)).sum()) < 800


def test_near_copies_are_accepted_on_less_than_half_of_the_images():
    reference, wrong = family(200, 1000, 0.002, 0.05, 1)
    found = decide(wrong, reference, 10)
    assert found.accepted.all() and found.passes < 200 * 1000 / 2


def test_the_hopeless_leave_at_once():
    reference, wrong = family(50, 1000, 0.5, 0.0, 2)
    found = decide(wrong, reference, 10, first=50)
    assert not found.accepted.any() and int(found.images.max()) <= int(reference.sum()) + 50


@pytest.mark.parametrize("reference, accepted", [(torch.ones(8, dtype=torch.bool), True),
                                                 (torch.zeros(8, dtype=torch.bool), False)])
def test_a_seed_network_that_is_always_or_never_wrong(reference, accepted):
    found = decide(torch.ones(3, 8, dtype=torch.bool), reference, 0)
    assert found.accepted.tolist() == [accepted] * 3


def test_networks_are_screened_like_their_error_sets():
    data = images(60, seed=3)
    network = train.fit("mlp", data, epochs=3)
    children = mge.generate(network, 6, 0.7)
    reference, wrong = score.errors(network, data)[0], score.errors(children, data)
    found = racing.screen(children, data, reference, 3, rounds=racing.Rounds(error=0, first=10))
    assert torch.equal(found.accepted, wrong.sum(1) <= reference.sum() + 3)


@pytest.mark.parametrize("change, name", [
    ({"reference": torch.zeros(5, dtype=torch.bool)}, "reference"),
    ({"reference": torch.zeros(60)}, "reference"), ({"reference": None}, "reference"),
    ({"slack": -1}, "slack"), ({"slack": 0.5}, "slack"), ({"pool": None}, "pool"),
    ({"data": None}, "data")])
def test_bad_input_is_refused(change, name):
    data = images(60)
    given_ = {"pool": train.fit("mlp", data, epochs=0), "data": data,
              "reference": torch.zeros(60, dtype=torch.bool)} | change
    with pytest.raises(ValueError, match=f"^{name}: got"):
        racing.screen(given_.pop("pool"), given_.pop("data"), given_.pop("reference"), **given_)
