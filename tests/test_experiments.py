"""Arms, their settings and their points: the choosing data sets choose, the asked ones score."""

import numpy as np
import pytest
import torch

from wlib import seeds
from wlib.d2nwg import backbones, experiments, pipeline, rivals
from wlib.d2nwg.experiments import HeadGrid, StyleSetting


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))


@pytest.fixture
def world():
    """Heads of three classes on four features, each the prototypes of its data set."""
    rng = seeds.generator(0)

    def part(m):
        centers = 3 * torch.randn(m, 3, 1, 4, generator=rng)
        x = centers + torch.randn(m, 3, 12, 4, generator=rng) / 2
        return {"new": x[:, :, :5], "values": x[:, :, 5:].flatten(1, 2),
                "labels": torch.arange(3).repeat_interleave(7).expand(m, -1)}

    support = part(6)["new"]
    return {"zoo": rivals.Prototype()(support.mean(2))[:, 0], "support": support,
            "choosing": part(2), "query": part(4)}


def naming(k):
    """A head of three classes on four features that always names class k, for every data set."""
    weights = torch.zeros(15)
    weights[12 + k] = 1
    return torch.clone, lambda features: weights.expand(len(features), 1, -1)


def test_the_choosing_data_sets_choose_and_the_query_ones_score(world):
    features, sets = world["choosing"]["new"], experiments.questions(world["choosing"])
    ones = [type(s)(s.values, torch.ones_like(s.labels), s.classes) for s in sets]
    zeros = [type(s)(s.values, torch.zeros_like(s.labels), s.classes) for s in sets]
    like = experiments.pool_of(3, 4)
    arms = {"sampled": {k: naming(k) for k in range(3)}, "nearest network": {0: naming(2)},
            "mean of the zoo": {0: naming(0)}}
    found = experiments.judged(arms, (features, ones), (features, zeros), like)
    assert found["sampled"]["setting"] == 1 and found["sampled"]["choosing"] == 100
    assert found["sampled"]["points"].tolist() == [0, 0]
    assert found["mean of the zoo"]["points"].tolist() == [100, 100]
    # Chance is best by what chooses, though the zoo's mean would be on what is scored.
    trivial = experiments.with_trivial(found, 100 / 3)["best trivial rival"]
    assert trivial["setting"] == "chance"
    assert trivial["points"].tolist() == pytest.approx([100 / 3] * 2)


def test_all_arms_answer_and_a_rival_is_the_one_by_hand(world):
    grid = HeadGrid(codes=(2,), lengths=(2,), strengths=(1.0, 1e6), decays=(0.1,))
    found = experiments.head_points(world, 6, 5, 0, 2, grid, "cpu")
    assert set(found) == {"prototype head", "logistic regression", "ridge per class", "ridge",
                          "nearest network", "mean of the zoo", "sampled", "random head",
                          "chance", "best trivial rival", "shuffled condition"}
    assert all(arm["points"].shape == (4,) for arm in found.values())
    new, sets = world["query"]["new"], experiments.questions(world["query"])
    means = new.mean(2)
    nearest = [[100 * (torch.cdist(images.values, mean).argmin(1) == images.labels).float().mean()]
               for images, mean in zip(sets, means, strict=True)]
    assert found["prototype head"]["points"].tolist() == pytest.approx(
        [float(value[0]) for value in nearest], abs=1e-3)
    assert found["ridge per class"]["setting"] == 1.0             # 1e6 leaves no map at all
    again = experiments.head_points(world, 6, 5, 0, 2, grid, "cpu")
    assert torch.equal(found["sampled"]["points"], again["sampled"]["points"])


def test_the_best_three_are_those_that_the_scores_name(world):
    sets, like = experiments.questions(world["query"])[:1], experiments.pool_of(3, 4)
    good = rivals.Prototype()(world["query"]["new"][:1].mean(2))          # (1, 1, 15)
    weights = torch.cat([torch.zeros(1, 3, 15), good.expand(-1, 3, -1)], 1)
    by_good = experiments.best_three(weights, torch.tensor([[0., 0, 0, 1, 1, 1]]), sets, like)
    by_bad = experiments.best_three(weights, torch.tensor([[1., 1, 1, 0, 0, 0]]), sets, like)
    torch.testing.assert_close(by_good, pipeline.points(good, sets, like=like)[:, 0])
    assert by_bad.item() == pytest.approx(100 / 3, abs=1e-3) and by_good.item() > 80


def test_a_tenfold_zoo_is_worth_the_slope_over_the_logarithm():
    sizes, rng = [10, 30, 100], seeds.generator(3)
    points = torch.rand(3, 2, 5, generator=rng).double()
    want = np.polyfit(np.log10(sizes), points.flatten(1).numpy(), 1)[0]
    np.testing.assert_allclose(experiments.tenfold(sizes, points).flatten().numpy(), want)
    assert experiments.tenfold([1, 10], torch.tensor([10.0, 25.0])).item() == pytest.approx(15)


@pytest.mark.parametrize("fifty", [0, 4])
def test_whole_networks_answer_for_unseen_styles(monkeypatch, fifty):
    monkeypatch.setattr(backbones, "glyph_backbone", lambda **_: torch.nn.Flatten())
    setting = StyleSetting(sets=4, unseen=2, choosing=2, counts=(10, 10, 2, 2), data=("digits",),
                           zoo_steps=2, denoising=2, sizes=(2,), samples=2, fifty=fifty,
                           strengths=(1.0,), decays=(0.1,), noises=(0.01,), bandwidths=(0.4,))
    found = experiments.style_points(0, setting, "cpu")
    assert all(arm["points"].shape == (3,) for arm in found.values())        # digits come last
    kept = {arm for arm in found if arm.startswith("best three")}
    assert len(kept) == (5 if fifty else 0)
    if fifty:
        best, other = (found[f"best three by {name}"]["points"] for name in ("test", "validation"))
        assert bool((best >= other - 1e-4).all())
        assert torch.equal(found["sampled"]["points"], found["mean of fifty samples"]["points"])
