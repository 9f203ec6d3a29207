"""The trials of zoos and codecs: hand-computed cases on tiny networks, and one small world."""

import pytest
import torch
from small import images

from wlib import seeds
from wlib.core import nets, train
from wlib.core.batchnorm import recalibrate
from wlib.core.pool import Pool
from wlib.d2nwg import codec, codec_trials, pipeline, zoo
from wlib.d2nwg.codec_trials import SpanSetting, VAESetting, Zoos
from wlib.data.universes import Counts, DataSet


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path_factory.getbasetemp() / "store"))


@pytest.fixture(scope="module")
def zoos(tmp_path_factory):
    """Three networks of a few steps per start, two unseen data sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WLIB_STORE", str(tmp_path_factory.getbasetemp() / "store"))
        world = pipeline.of_styles(3, 2, 1, counts=Counts(4, 1, 2, 2), seed=0)
        return Zoos.trained(world, 0, steps=3, copies=2, device="cpu")


def data_set(name, **spec):
    return DataSet(name, "train", *(images(9, seed=i) for i in range(4)), spec)


def naming(*classes):
    """Networks that always name one class, each by its number and how large its bias is."""
    pool = Pool.stack([nets.build("mlp", classes=3, size=8, hidden=(2,))] * len(classes))
    weights = torch.zeros(len(classes), pool.size)
    for row, (k, bias) in zip(weights, classes, strict=True):
        row[pool.size - 3 + k] = bias         # the last layer's biases come last
    return pool.with_flat(weights)


# ---- zoos by their start ------------------------------------------------------------------------
def test_three_zoos_of_which_one_is_another_in_a_common_order(zoos):
    apart, aligned = (zoos.members[arm] for arm in ("independent", "aligned"))
    assert {*zoos.members} == {*zoos.oracles} == {*zoos.copies} == {*codec_trials.ARMS}
    assert torch.equal(aligned.weights[0], apart.weights[0])
    reference, tests = apart.weights[0], [data.test for data in apart.sets]
    for zoo_of in (zoos.members, zoos.oracles, zoos.copies):
        before, after = (zoo_of[arm].weights for arm in ("independent", "aligned"))
        assert torch.allclose(before.sort(1).values, after.sort(1).values)
        assert ((after - reference).norm(dim=1) <= (before - reference).norm(dim=1) + 1e-5).all()
    assert torch.equal(zoo.accuracy(apart.pool, tests), zoo.accuracy(aligned.pool, tests))
    assert len(zoos.copies["shared"]) == 2 and len(zoos.oracles["shared"]) == 2


def test_means_are_those_of_networks_that_name_one_class():
    """Of nine test images of a data set six are of class 0, two of class 1, one of class 2."""
    few = images(18, seed=3)[torch.tensor([0, 3, 6, 9, 12, 15, 1, 4, 2])]
    uneven = DataSet("a", "train", *(images(9, seed=i) for i in range(3)), few)
    # The mean of the first and the last copy names 1, that of all three 0.
    copies = zoo.Zoo([uneven], naming((0, 1), (0, 1), (1, 1.5)), [0, 0, 0])
    members = zoo.Zoo([uneven, data_set("b")], naming((0, 1), (2, 2)))      # their mean names 2
    arms = codec_trials.ARMS
    bare = Zoos(7, None, dict.fromkeys(arms, members), {}, dict.fromkeys(arms, copies))
    table = codec_trials.means_of_networks(bare)
    assert table["arm"].tolist() == [arm for arm in arms for _ in range(5)]
    assert set(table["seed"]) == {7}
    assert table.set_index("networks")["accuracy"][:5].to_dict() == pytest.approx({
        "single copies": 14 / 27, "mean of two copies": 4 / 9, "mean of all copies": 6 / 9,
        "networks of the zoo": (6 / 9 + 1 / 3) / 2, "mean of the zoo": (1 / 9 + 1 / 3) / 2})


def test_weights_on_a_line_are_as_far_apart_as_their_turns():
    """Turns 0, 10, 30 lie in order on a line; a fourth network has the other polarity."""
    sets = [data_set(name, turn=turn, inverted=dark) for name, turn, dark in
            (("a", 0, False), ("b", 10, False), ("c", 30, False), ("d", 11, True))]
    pool = naming(*[(0, 1)] * 4)
    for turns, rank in (([0, 1, 3, 1.1], 1.0), ([0, 3, 1, 3.5], -1.0)):
        line = pool.with_flat(torch.tensor(turns)[:, None] * torch.ones(pool.size))
        bare = Zoos(0, None, dict.fromkeys(codec_trials.ARMS, zoo.Zoo(sets, line)), {}, {})
        row = codec_trials.likeness(bare).iloc[0]
        assert row["rank"] == pytest.approx(rank)
    # The nearest on the second line: a-c, b-d, c-a, d-b. Polarities agree in a and c.
    assert row["polarity"] == 50


# ---- networks after a linear codec --------------------------------------------------------------
def test_a_codec_of_full_rank_keeps_its_own_networks_and_part_of_others(zoos):
    members, oracles = zoos.members["shared"], zoos.oracles["shared"]
    seen, unseen, short, _ = codec_trials.ceiling(members, oracles, [(3, 2), (2, 1)])
    assert seen["kept"] == pytest.approx(1, abs=1e-5)
    assert seen["accuracy"] == pytest.approx(members.accuracy().mean().item())
    W = members.weights.double()
    basis = torch.linalg.svd(W - W.mean(0), full_matrices=False)[2][:2]
    off = oracles.weights.double() - W.mean(0)
    kept = (off @ basis.T).square().sum() / off.square().sum()
    assert unseen["kept"] == pytest.approx(kept.item(), abs=1e-4) and 0 < kept < 1
    assert (short["of"], short["size"], short["networks"]) == (2, 1, "seen")
    table = codec_trials.ceilings(zoos, [[3, 2]])
    assert table["arm"].tolist() == [arm for arm in codec_trials.ARMS for _ in range(2)]
    assert table["kept"][:2].tolist() == pytest.approx([seen["kept"], unseen["kept"]])


def test_real_sets_come_one_by_one(zoos):
    real = zoos.world.unseen[:1]
    row, = codec_trials.real_networks(zoos, real, steps=3, device="cpu").to_dict("records")
    assert row["set"] == real[0].name and row["seed"] == 0
    assert row["trained"] == pytest.approx(100 * zoos.oracles["shared"].accuracy()[0].item())


# ---- networks trained inside a span -------------------------------------------------------------
def test_training_stays_in_the_span_and_its_first_step_is_adam_s(zoos):
    span = codec_trials.span_of(zoos.members["shared"].weights)
    mean, basis, sd = span
    pool, target = zoos.members["shared"].pool[0], zoos.world.unseen[0].train
    same, once, more = (codec_trials.trained_within(span, pool, target, steps, 0.1, 0, "cpu")
                        for steps in (0, 1, 20))
    assert torch.allclose(same, mean)
    z = (once - mean) @ basis / sd            # Adam's first step: the rate, against the gradient
    assert torch.allclose(z.abs(), torch.full((2,), 0.1), atol=1e-3)
    off = more - mean
    assert torch.allclose(basis @ (basis.T @ off), off, atol=1e-4) and off.norm() > 0
    with torch.no_grad():
        x, y = target.floats(), target.labels
        loss = [torch.nn.functional.cross_entropy(pool.with_flat(w[None]).network(0)(x), y)
                for w in (mean, more)]
    assert loss[1] < loss[0]


def test_random_directions_are_orthonormal_and_of_the_zoo_s_overall_spread(zoos):
    spans = codec_trials.spans(zoos, 3)
    mean, basis, sd = spans["trained in random directions"]
    own = spans["trained in the span, shared"]
    assert torch.allclose(basis.T @ basis, torch.eye(2), atol=1e-5) and torch.equal(mean, own[0])
    assert torch.allclose(sd.square().sum(), own[2].square().sum())
    assert not torch.allclose(basis, codec_trials.spans(zoos, 4)["trained in random directions"][1])


def test_validation_images_choose_the_learning_rate_and_test_images_score(zoos):
    setting = SpanSetting(1, 3, (0.0, 0.5), 0)
    found = codec_trials.span_accuracies(zoos, setting, "cpu").set_index("network")["accuracy"]
    span = codec_trials.span_of(zoos.members["independent"].weights)
    pool, one = zoos.members["shared"].pool[0], zoos.world.unseen[0]
    tried = torch.stack([codec_trials.trained_within(span, pool, one.train, 3, lr, 0, "cpu")
                         for lr in (0.0, 0.5)])
    best = tried[zoo.accuracy(tried, one.validation, like=pool).argmax()][None]
    assert found["trained in the span, independent"] == pytest.approx(
        zoo.accuracy(best, one.test, like=pool).item())
    assert len(found) == 6 and found["trained freely"] == pytest.approx(
        zoos.oracles["shared"].accuracy()[0].item())


# ---- autoencoders, scales, BatchNorm ------------------------------------------------------------
def test_autoencoders_stand_beside_linear_codecs_of_their_size(zoos):
    vaes = codec_trials.autoencoders(zoos, VAESetting((1, 5, 9), (4,), 12), "cpu")
    assert {*vaes} == {(start, size) for start in zoo.STARTS for size in (1, 2)}   # the rank is 2
    assert [row["epoch"] for row in vaes["shared", 1].history] == [2, 4, 6, 8, 10, 12]
    table = codec_trials.codecs_compared(zoos, vaes).set_index(["start", "L", "codec"])
    assert len(table) == 8 and table["seen"]["shared", 2, "PCA"] == pytest.approx(
        100 * zoos.members["shared"].accuracy().mean().item())


def test_scales_of_four_networks_on_a_cross():
    """Weights (±3, 0), (0, ±1): spreads 3/√2 and 1/√2, and over both √(5/2)."""
    weights = torch.tensor([[3., 0], [-3, 0], [0, 1], [0, -1]])
    vae = codec.VAE.fit(
        weights, 1, training=codec.VAETraining(hidden=(4,), epochs=1), device="cpu")
    table = codec_trials.latent_scales(weights, vae, 5).set_index("latent")
    raw, whole, each = (table.loc[f"PCA, {name}"] for name in (
        "as it is", "one number for the whole zoo", "each dimension its own"))
    assert raw[["widest", "narrowest", "largest"]].tolist() == pytest.approx(
        [4.5 ** 0.5, 0.5 ** 0.5, 3], abs=1e-4)
    assert whole["widest"] == pytest.approx((4.5 / 2.5) ** 0.5, abs=1e-4)
    assert each[["widest", "narrowest"]].tolist() == pytest.approx([1, 1], abs=1e-4)
    assert each["largest"] == pytest.approx(2 ** 0.5, abs=1e-4) and set(table["seed"]) == {5}


def test_a_first_batch_of_all_is_exact_and_a_smaller_one_is_not():
    latents, rng = torch.arange(6.0)[:, None], seeds.generator(0)
    assert codec_trials.batch_scale_error(latents, 6, rng, 5) == pytest.approx(0, abs=1e-3)
    # Pairs of 0, …, 5 are 1 to 5 apart, their spread is that over √2; the whole's is √3.5.
    worst = 100 * (1 - 1 / 7 ** 0.5)
    assert codec_trials.batch_scale_error(latents, 2, rng) == pytest.approx(
        max(worst, 100 * (5 / 7 ** 0.5 - 1)), abs=0.1)


def test_statistics_of_the_right_images_bring_batchnorm_back():
    sets = [DataSet(name, "train", *(images(9, size=16, seed=seed + i) for i in range(4)))
            for name, seed in (("a", 0), ("b", 10))]
    found = codec_trials.batchnorm_points(sets, 0, 3).set_index("statistics")["points"]
    pool = Pool.cat([train.fit("conv4", data.train, seeds=[0], epochs=3, width=8, batch=16,
                               lr=3e-3, device="cpu") for data in sets])

    def points(pool, some=slice(None)):
        return 100 * zoo.accuracy(pool, [data.test for data in sets[some]]).mean().item()

    anew = Pool.cat([recalibrate(pool[i], data.train) for i, data in enumerate(sets)])
    borrowed = pool[0].with_flat(pool[1].flat())
    assert found.to_dict() == pytest.approx({
        "trained networks": points(pool), "statistics anew from training images": points(anew),
        "statistics of the first network, others scored": points(borrowed, slice(1, 2)),
        "statistics of a fresh network": found["statistics of a fresh network"]}, abs=1e-3)
