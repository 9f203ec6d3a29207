"""Racing: an honest error, exact limits, and fewer images looked at."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom
from small import few, images
from torch import nn

from wlib import mge
from wlib.core import score, train
from wlib.mge import racing


@few
@given(st.data())
def test_the_quantile_is_scipys(data):
    total = data.draw(st.integers(1, 300))
    marked, drawn = (data.draw(st.integers(0, total)) for _ in range(2))
    level = data.draw(st.sampled_from([0.2, 0.05, 1e-3, 1e-6]))
    x = int(racing.quantile([total], [marked], [drawn], level)[0])
    start = int(np.floor(drawn * marked / total))
    tails = hypergeom.sf(np.arange(start, drawn + 2) - 1, total, marked, drawn)
    assert x == start + int(np.argmax(tails <= level * (1 + 1e-9)))


@pytest.mark.parametrize("level", [0.1, 0.01, 0.001])
def test_no_smaller_set_of_differences_has_a_longer_tail(level):
    """`_limits` looks at the two largest sets that are possible; here at all of them."""
    images = 60
    for seen in (5, 20, 40):
        for most in (None, 24):
            limits = racing._limits(seen, images, most, level)
            for n in range(1, seen + 1):
                top = n + images - seen if most is None else min(most, n + images - seen)
                if top >= n:
                    totals = np.arange(n, top + 1)
                    each = racing.quantile(totals, totals // 2, np.full_like(totals, n), level)
                    assert limits[n] >= each.max()


def run(wrong, keep, reference=None, slack=0, **settings):
    survivors, errors, passes, rounds = racing.eliminate(
        lambda who, which: wrong[who][:, which], len(wrong), wrong.shape[1], keep,
        racing.Rounds(**settings), reference=reference, slack=slack)
    assert torch.equal(errors, wrong[survivors])
    assert passes == sum(n * (b - a) for n, a, b in zip(
        [len(wrong), *[left for _, left in rounds]], [0, *[stop for stop, _ in rounds]],
        [stop for stop, _ in rounds], strict=False))
    return survivors, passes, rounds


def families(random, count, images, spread):
    """Error sets of related networks: common hard images, own luck, different ability."""
    hard = random.normal(size=images)
    skill = spread * random.normal(size=(count, 1))
    luck = random.normal(size=(count, images))
    return torch.from_numpy(hard + 0.5 * luck - skill > 0.8)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("keep", [1, 3])
def test_the_best_is_dropped_no_more_often_than_stated(spread, keep):
    random, lost, trials = np.random.default_rng(0), 0, 300
    for trial in range(trials):
        wrong = families(random, 6, 200, spread)
        survivors, _, _ = run(wrong, keep, error=0.2, first=20, seed=trial)
        lost += int(wrong.sum(1).min()) not in wrong[survivors].sum(1).tolist()
        assert len(survivors) >= keep
    assert lost / trials <= 0.2


@pytest.mark.parametrize("slack", [0, 4])
def test_who_reaches_the_bar_is_dropped_no_more_often_than_stated(slack):
    """The worst case: candidates exactly as good as the reference asks for."""
    random, lost, trials = np.random.default_rng(1), 0, 400
    for trial in range(trials):
        reference = families(random, 1, 200, 0.0)[0]
        wrong = reference[torch.from_numpy(random.permutation(200))].unsqueeze(0).clone()
        wrong[0, (~wrong[0]).nonzero().flatten()[:slack]] = True
        survivors, _, _ = run(wrong, 1, reference, slack, error=0.2, first=20, seed=trial)
        lost += len(survivors) == 0
    assert 0 < lost / trials <= 0.2


def test_clear_cases_take_few_images():
    random = np.random.default_rng(2)
    rates = np.where(np.arange(50) < 5, 0.05, 0.5)
    wrong = torch.from_numpy(random.random((50, 1000)) < rates[:, None])
    survivors, passes, _ = run(wrong, 5)
    assert set(survivors) == set(range(5)) and passes < 50_000 / 4
    _, against, _ = run(wrong[5:], 1, reference=wrong[0])
    assert against < 45 * 1000 / 4


def test_with_no_error_allowed_only_certainties_count():
    reference = torch.zeros(100, dtype=torch.bool)
    wrong = torch.zeros(2, 100, dtype=torch.bool)
    wrong[1] = True
    survivors, passes, _ = run(wrong, 1, reference=reference, error=0.0, first=10)
    assert survivors == [0] and passes == 100 + 10


@few
@given(st.integers(1, 40), st.integers(1, 20), st.floats(1.01, 3))
def test_rounds_grow_and_end_with_all_images(images, first, growth):
    stops = racing.schedule(images, first, growth)
    assert stops[-1] == images and stops[0] == min(first, images)
    assert all(a < b for a, b in zip(stops, stops[1:], strict=False))


# ---- with networks ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def data():
    return images(120, seed=1)


@pytest.fixture(scope="module")
def pool():
    seed = train.fit("mlp", images(90, seed=2), epochs=20, hidden=(12,), lr=0.01, device="cpu")
    return mge.generate(seed, 8, 0.6)


def test_survivors_have_been_judged_on_all_images(pool, data):
    found = racing.race(pool, data, 2, rounds=racing.Rounds(first=20, error=0.2))
    assert torch.equal(found.errors, score.errors(pool, data)[found.survivors])
    assert torch.allclose(found.loss, score.loss(pool, data)[found.survivors])
    assert len(found.survivors) >= 2 and found.passes <= 8 * 120
    again = racing.race(pool, data, 2, rounds=racing.Rounds(first=20, error=0.2))
    assert again.survivors == found.survivors and again.rounds == found.rounds
    assert found.errors.sum(1).min() == score.errors(pool, data).sum(1).min()


def test_nobody_may_reach_the_bar(pool, data):
    wrong = mge.generate(pool[0], 2, 0.01)
    found = racing.race(wrong, data, 1, reference=torch.zeros(len(data), dtype=torch.bool),
                        rounds=racing.Rounds(first=10))
    assert found.survivors == [] and found.errors.shape == (0, 120) and found.loss.shape == (0,)


@pytest.mark.parametrize(("arguments", "named"), [
    ({"pool": nn.Linear(2, 2)}, "pool"), ({"data": torch.zeros(3)}, "data"), ({"keep": 0}, "keep"),
    ({"keep": 9}, "keep"), ({"keep": 1.5}, "keep"), ({"slack": -1}, "slack"),
    ({"slack": 0.5}, "slack"), ({"reference": 0.9}, "reference"),
    ({"reference": torch.zeros(5, dtype=torch.bool)}, "reference"),
    ({"reference": torch.zeros(120)}, "reference"), ({"rounds": racing.Rounds(seed=-1)}, "seed")])
def test_race_refuses_by_name(arguments, named, pool, data):
    with pytest.raises(ValueError, match=f"^{named}"):
        racing.race(**{"pool": pool, "data": data, "keep": 2} | arguments)


@pytest.mark.parametrize(("settings", "named"), [
    ({"error": 1}, "error"), ({"error": -0.1}, "error"), ({"error": "5%"}, "error"),
    ({"first": 0}, "first"), ({"first": True}, "first"), ({"growth": 1}, "growth"),
    ({"growth": None}, "growth")])
def test_rounds_refuse_by_name(settings, named):
    with pytest.raises(ValueError, match=f"^{named}: got"):
        racing.Rounds(**settings)
