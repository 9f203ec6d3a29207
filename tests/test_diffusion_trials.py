"""The trials of diffusion on the zoo's own data sets: hand-computed cases on tiny networks."""

import pytest
import torch
from small import images
from torch import nn

from wlib import seeds, store
from wlib.core import nets
from wlib.core.pool import Pool
from wlib.d2nwg import backbones, diffusion_trials, encoders, rivals, zoo
from wlib.d2nwg.diffusion_trials import Seen
from wlib.data.universes import Counts, DataSet


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path_factory.getbasetemp() / "store"))


def made(shift=0.1):
    """Three data sets of three classes, two networks each, features that tell the sets apart."""
    sets = [DataSet(name, "train", *(images(18, size=28, seed=10 * k + i) for i in range(4)))
            for k, name in enumerate("abc")]
    rng = seeds.generator(0)
    pool = Pool.stack([nets.build("mlp", classes=3, size=28, hidden=(2,))] * 6)
    base = torch.randn(3, 1, pool.size, generator=rng)
    weights = base + shift * torch.randn(3, 2, pool.size, generator=rng)
    support = 5 * torch.randn(3, 3, 1, 4, generator=rng) + torch.randn(3, 3, 10, 4, generator=rng)
    members = zoo.Zoo(sets, pool.with_flat(weights.flatten(0, 1)), [0, 0, 1, 1, 2, 2], "shared")
    return Seen(4, members, support, "cpu")


@pytest.fixture(scope="module")
def seen():
    return made()


@pytest.fixture(scope="module")
def generator(seen, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WLIB_STORE", str(tmp_path_factory.getbasetemp() / "store"))
        return seen.learn(3, 1e-3, steps=3)


# ---- a zoo whose data sets are asked for --------------------------------------------------------
def test_points_are_of_a_data_set_s_own_images(seen):
    assert seen.shown.shape == (3, 3, 5, 4) and torch.equal(seen.shown, seen.support[:, :, :5])
    assert torch.equal(seen.copies[1, 1], seen.members.weights[3])
    naming = torch.zeros(3, 3, seen.members.pool.size)
    naming[:, :, -3:] = torch.eye(3)           # network k of each data set always names class k
    uneven = seen.members.sets[0].test.labels.bincount(minlength=3)
    assert seen.points(naming)[0].tolist() == pytest.approx((100 * uneven / 18).tolist())
    for part in ("test", "validation"):
        own = [zoo.accuracy(seen.members.pool[[2 * k, 2 * k + 1]], getattr(data, part))
               for k, data in enumerate(seen.members.sets)]
        assert torch.allclose(seen.points(seen.copies, part), 100 * torch.stack(own))


def test_trained_zoos_have_two_networks_per_data_set(monkeypatch):
    monkeypatch.setattr(diffusion_trials.pipeline, "support",
                        lambda sets, count, device: torch.zeros(len(sets), 10, count, 64))
    trained = Seen.trained(0, 2, Counts(4, 10, 1, 1), 2, "cpu")
    assert trained.copies.shape == (2, 2, 2464) and trained.members.start == "shared"
    assert not torch.equal(trained.copies[:, 0], trained.copies[:, 1])
    assert trained.shown.shape == (2, 10, 5, 64)


def test_a_sampler_sees_what_it_is_shown_and_without_conditions_nothing(seen, generator):
    plain = seen.sample(generator, 2)
    assert torch.equal(plain, generator.sample(seen.shown, 2, seed=4, device="cpu"))
    other = seen.sample(generator, 2, seen.shown.roll(1, 0))
    assert other.shape == plain.shape and not torch.allclose(other, plain)
    free = seen.learn(3, 1e-3, steps=3, conditioned=False)
    with pytest.raises(ValueError, match="no encoder"):
        diffusion_trials.rival(seen, free, rivals.Retrieval())
    drawn = seen.sample(free, 2)
    whole = free.sample(None, 6, seed=4, device="cpu")[0]
    assert torch.equal(drawn, whole.view(3, 2, -1))


def test_the_generator_with_the_best_samples_on_validation_images_is_kept(seen):
    grid = [[2, 1e-3], [4, 1e-2], [5, 1e-2]]
    choice = diffusion_trials.choose(seen, grid, 2, 4)
    tried = [seen.learn(size, lr, steps=4) for size, lr in grid]
    points = [seen.points(seen.sample(tuned, 2), "validation").mean().item() for tuned in tried]
    best = points.index(max(points))
    assert choice.tried["samples"].tolist() == pytest.approx(points)
    assert [choice.size, choice.lr] == grid[best]
    assert torch.equal(seen.sample(choice.generator, 2), seen.sample(tried[best], 2))
    assert choice.tried["codec"].iloc[2] == pytest.approx(       # 5 numbers keep all 6 networks
        seen.points(seen.copies, "validation").mean().item())


def test_a_zoo_s_hash_tells_seed_features_and_device(seen):
    members, x = seen.members, seen.support
    others = [Seen(5, members, x, "cpu"), Seen(4, members, x + 1, "cpu"), Seen(4, members, x),
              made(0.2)]
    assert len({str(store.describe(case)) for case in (seen, *others)}) == 5
    assert store.describe(made()) == store.describe(seen)


# ---- rivals -------------------------------------------------------------------------------------
def test_on_its_own_data_sets_the_nearest_network_is_the_stored_one(seen, generator):
    nearest = diffusion_trials.rival(seen, generator, rivals.Retrieval())
    assert torch.equal(nearest, seen.copies[:, :1])


def test_noise_is_as_long_as_samples_are_far(seen):
    aside = torch.zeros(seen.members.pool.size)
    aside[0] = 1
    samples = seen.copies[:, :1] + torch.tensor([0.01, 0.02, 0.05]).view(3, 1, 1) * aside
    assert diffusion_trials.noise_like(seen, samples) == pytest.approx(
        0.02 / seen.members.pool.size ** 0.5, rel=1e-3)


def test_validation_images_choose_the_bandwidth(seen, generator):
    widths = (0.01, 1.0, 30.0)
    tried = [diffusion_trials.rival(seen, generator, rivals.LatentKDE(generator.codec, width), 3)
             for width in widths]
    points = [seen.points(weights, "validation").mean().item() for weights in tried]
    kept = diffusion_trials.kernel_density(seen, generator, widths, 3)
    assert torch.equal(kept, tried[points.index(max(points))])


# ---- encoders -----------------------------------------------------------------------------------
def test_a_frozen_encoder_has_unit_spread_and_does_not_learn(seen):
    frozen = diffusion_trials.Frozen(encoders.SetEncoder(4, 3, width=8, inducing=2), seen.support)
    out = frozen(seen.support)
    assert torch.allclose(out.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(out.std(0, correction=0), torch.ones(3), atol=1e-4)
    assert not any(p.requires_grad for p in frozen.parameters())


def test_encoders_differ_in_what_their_names_say(seen, generator):
    made = {name: diffusion_trials.encoder_of(name, seen, generator, 2)
            for name in diffusion_trials.ENCODERS}
    aligned, joint, frozen, bound = made.values()
    assert isinstance(frozen, diffusion_trials.Frozen)
    assert isinstance(bound, encoders.MLPEncoder)
    first, second = (torch.cat([p.flatten() for p in net.parameters()]) for net in (aligned, joint))
    assert first.shape == second.shape and not torch.equal(first, second)
    assert torch.equal(second, torch.cat([p.flatten() for p in frozen.encoder.parameters()]))
    assert torch.allclose(joint(seen.shown), joint(seen.shown.flip(1)), atol=1e-4)
    assert not torch.allclose(bound(seen.shown), bound(seen.shown.flip(1)), atol=1e-4)


# ---- seconds ------------------------------------------------------------------------------------
def test_of_three_times_the_median_counts(monkeypatch):
    ticks = iter([0, 5, 5, 6, 10, 13])
    monkeypatch.setattr(diffusion_trials, "clock", lambda device: next(ticks))
    calls = []
    assert diffusion_trials.median_seconds(calls.append, "cpu") == 3 and calls == [0, 1, 2]


def test_samplers_are_scored_and_timed(seen, generator, monkeypatch):
    monkeypatch.setattr(diffusion_trials, "SAMPLERS", {"DDIM, 5 steps": {"steps": 5}})
    ticks = iter([0, 3, 3, 6, 6, 9])
    monkeypatch.setattr(diffusion_trials, "clock", lambda device: next(ticks))
    row, = diffusion_trials.samplers(seen, generator, 2).to_dict("records")
    assert row == {"sampler": "DDIM, 5 steps", "seed": 4, "ms": 3000 / 6, "points": pytest.approx(
        seen.points(seen.sample(generator, 2, steps=5)).mean().item())}


def test_costs_add_up(seen, generator, monkeypatch):
    """Training 2 s; codec 1 s and 0.5 s for ten steps; 9 s for three data sets, 4 s to keep."""
    def seconds(function, *given):
        if function is diffusion_trials.answer_seconds:
            arm, _, _, places, count, scoring = given
            assert count == (50 if scoring and arm == "sampled networks" else 1)
            return 4.0 if scoring else 3.0 * len(places)
        return {"training_seconds": 2.0, "learning_seconds": (1.0, 0.5)}[function.__name__]

    monkeypatch.setattr(diffusion_trials.store, "cached", seconds)
    choice = diffusion_trials.Choice(generator, 3, 1e-3, None)
    table = diffusion_trials.costs(seen, choice, zoo_steps=5, denoising=100, many=50)
    assert table["arm"].tolist() == ["sampled networks", "ridge", "nearest network"]
    for _, row in table.iterrows():
        assert row[2:].tolist() == [2, 6 * 2 + 1 + 5, 3, 4, 150, 200]


def test_an_answer_begins_with_the_images(seen, generator, monkeypatch):
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(784, 4)).requires_grad_(False)
    monkeypatch.setattr(backbones, "glyph_backbone", lambda device: backbone)
    ticks = iter(range(1000))
    monkeypatch.setattr(diffusion_trials, "clock", lambda device: next(ticks))
    for arm in diffusion_trials.COSTED:
        assert diffusion_trials.answer_seconds(arm, seen, generator, [0, 2], 1, True) == 1
    x = diffusion_trials._features([seen.members.sets[2]], backbone, "cpu")
    shots = seen.members.sets[2].shots(5)
    assert x.shape == (1, 3, 5, 4) and torch.allclose(
        x[0, 1], backbone(shots.floats()[shots.labels == 1]), atol=1e-5)


def test_seconds_of_training_and_learning_are_those_of_the_clock(seen, generator):
    pool, images = seen.members.pool[0], seen.members.sets[0].train
    one = diffusion_trials.training_seconds(pool, images, 3, "cpu")
    two = diffusion_trials.learning_seconds(seen, generator.diffusion.encoder, 3, 1e-3, 2)
    assert one > 0 and len(two) == 2 and min(two) > 0
