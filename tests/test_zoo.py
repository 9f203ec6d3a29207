"""Zoos: the tiny CNN, training with both engines, and judging many networks at once."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small import few, images

from wlib.core import audit, nets, score, train
from wlib.core.pool import Pool
from wlib.d2nwg import zoo
from wlib.d2nwg.zoo import Zoo, accuracy, area, curves, descend, tiny_cnn, trained
from wlib.data import domains
from wlib.data.universes import PARTS, Counts, DataSet, styles


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path_factory.getbasetemp() / "store"))


def data_set(name="a", split="train", seed=0, count=24, **settings):
    parts = [images(count, seed=100 * seed + i, **settings) for i in range(4)]
    return DataSet(name, split, *parts)


def mlp(classes=3):
    return nets.build("mlp", classes=classes, size=8, hidden=(6,))


SETS = [data_set("a", "train"), data_set("b", "train", 1), data_set("c", "validation", 2),
        data_set("d", "test", 3)]


def small(sets=SETS, **settings):
    return trained(sets, mlp(), **{"steps": 6, "batch": 10, "device": "cpu"} | settings)


# ---- the tiny CNN -----------------------------------------------------------------------------
def test_the_tiny_cnn_has_the_paper_s_size():
    counts = {(c, s): [p.numel() for p in tiny_cnn(10, c, s).parameters()]
              for c, s in ((1, 28), (3, 28), (3, 32))}
    assert sum(counts[1, 28]) == 2464 and sum(counts[3, 28]) == 2864
    assert np.add.reduceat(counts[1, 28], range(0, 10, 2)).tolist() == [208, 1206, 100, 740, 210]
    assert np.add.reduceat(counts[3, 28], range(0, 10, 2)).tolist() == [608, 1206, 100, 740, 210]
    assert sum(counts[3, 32]) == 3424                  # larger images, larger first linear layer


def test_the_tiny_cnn_computes_what_the_paper_says():
    net, x = tiny_cnn(), torch.rand(3, 1, 28, 28)
    w = dict(net.named_parameters())
    h = F.leaky_relu(F.max_pool2d(F.conv2d(x, w["conv1.weight"], w["conv1.bias"]), 2))
    h = F.leaky_relu(F.max_pool2d(F.conv2d(h, w["conv2.weight"], w["conv2.bias"]), 2))
    h = F.leaky_relu(F.conv2d(h, w["conv3.weight"], w["conv3.bias"])).flatten(1)         # (B, 36)
    h = F.leaky_relu(F.linear(h, w["fc1.weight"], w["fc1.bias"]))
    torch.testing.assert_close(net(x), F.linear(h, w["fc2.weight"], w["fc2.bias"]))
    assert h.shape == (3, 20)


def test_weights_as_rows_and_back_are_bit_for_bit_the_same():
    nets_ = [nets.fresh(tiny_cnn(), i) for i in range(3)]
    pool, x = Pool.stack(nets_), torch.rand(4, 1, 28, 28)
    padded = F.pad(pool.flat(), (0, 2864 - 2464))
    again = pool.with_flat(padded[:, :2464])
    with torch.no_grad():
        for i, net in enumerate(nets_):
            assert torch.equal(again.network(i)(x), net.eval()(x))


@pytest.mark.parametrize("settings", [{"size": 19}, {"classes": 0}, {"channels": 1.5}])
def test_the_tiny_cnn_refuses(settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}: "):
        tiny_cnn(**settings)


# ---- training ---------------------------------------------------------------------------------
def test_both_engines_do_the_same():
    start = Pool.stack([nets.fresh(tiny_cnn(3, size=20), i) for i in range(3)])
    sets = [images(30, size=20, seed=s) for s in range(2)]
    sets.append(sets[0])                                                # two share a set
    results = {e: descend(start, sets, order=[5, 6, 7], keep=(0, 1, 5), batch=12, engine=e,
                          device="cpu") for e in ("loop", "vmap")}
    for one, other in zip(*results.values(), strict=True):
        torch.testing.assert_close(one.flat(), other.flat(), rtol=1e-4, atol=1e-5)
    assert torch.equal(results["loop"][0].flat(), start.flat())
    assert not torch.equal(results["loop"][1].flat(), results["loop"][2].flat())


def test_training_is_what_wlib_train_does():
    data = images(30)
    start = Pool.stack([mlp()])
    epochs = train.fit(start, data, seeds=[4], epochs=3, batch=8, lr=3e-3, device="cpu",
                       engine="loop")
    steps = descend(start, data, order=4, keep=(12,), batch=8, lr=3e-3, device="cpu")[0]
    torch.testing.assert_close(steps.flat(), epochs.flat())


def test_members_of_a_shared_start_begin_alike_and_others_do_not():
    shared, own = (small(start=s, steps=0) for s in zoo.STARTS)
    assert (shared.weights == shared.weights[0]).all()
    assert len(own.weights.unique(dim=0)) == len(SETS)
    moved = small()
    assert len(moved.weights.unique(dim=0)) == len(SETS)
    assert shared.start == "shared" and own.start == "independent"


def test_a_network_is_the_same_in_whatever_zoo():
    whole = small(each=2)
    assert whole.of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    alone = small([SETS[2]])
    assert torch.equal(alone.weights[0], whole.weights[4])
    assert not torch.equal(whole.weights[4], whole.weights[5])
    assert small().digest() == small().digest() != small(seed=1).digest()


def test_a_killed_run_goes_on_where_it_was(monkeypatch, tmp_path):
    uninterrupted = small()
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    real, calls = zoo.descend, []

    def killed(*args, **kwargs):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(zoo, "descend", killed)
    with pytest.raises(KeyboardInterrupt):
        small()
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2            # one entry per network
    monkeypatch.setattr(zoo, "descend", lambda *a, **k: calls.append(1) or real(*a, **k))
    again = small()
    assert len(calls) == 4 and torch.equal(again.weights, uninterrupted.weights)


def test_pretraining_is_on_all_data_sets_together():
    sets = SETS[:2]
    found = zoo.pretrained(sets, mlp(), steps=9, batch=10, device="cpu")
    start = zoo.shared_start(mlp())
    assert torch.equal(start.flat(), small(sets, steps=0).weights[:1])
    whole = domains.joined([s.train for s in sets])
    expected = descend(start, whole, keep=(9,), batch=10, device="cpu", engine="loop")[0]
    assert torch.equal(found.flat(), expected.flat())
    with pytest.raises(ValueError, match=r"^parts\[1\]: .*classes of parts\[0\]"):
        zoo.pretrained([SETS[0], data_set("e", classes=2)], mlp(), steps=1)


def test_sets_of_different_size_are_trained_in_turn():
    start = Pool.stack([mlp(), mlp()])
    sets = [images(24), images(30)]
    found, expected = (descend(start, sets, keep=(3,), engine=e, device="cpu")[0].flat()
                       for e in ("auto", "loop"))
    assert torch.equal(found, expected)


def test_the_vmap_engine_keeps_blocks(monkeypatch, tmp_path):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    monkeypatch.setattr(zoo, "BLOCK", 3)
    together = small(engine="vmap")
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2            # three networks and one
    torch.testing.assert_close(together.weights, small(engine="loop").weights)


def test_networks_learn_their_data_sets():
    sets = styles("train", 2, counts=Counts(20, 2, 2, 10))
    some = trained(sets, steps=100, batch=25, lr=5e-3, device="cpu")
    assert some.pool.size == 2464 and len(some) == 2
    own, fresh = some.accuracy(), trained(sets, steps=0, device="cpu").accuracy()
    assert own.min() > 0.4 > 0.25 > fresh.max()
    swapped = accuracy(some.pool, [sets[1].test, sets[0].test])
    assert (own > swapped).all()


def test_the_mean_of_a_shared_start_is_good_and_of_independent_ones_at_chance():
    """One data set, several networks: the start alone decides whether their mean is a network."""
    data = data_set("one", size=20, count=90, classes=4)
    found = {}
    for start in zoo.STARTS:
        some = trained([data], tiny_cnn(4, size=20), start=start, each=4, steps=80, batch=20,
                       lr=5e-3, device="cpu")
        assert some.accuracy().min() > 0.9
        found[start] = float(accuracy(audit.mean(some.pool), data.test)[0])
    assert found["shared"] > 0.9 and found["independent"] < 0.6


@pytest.mark.parametrize("argument, make", [
    ("sets", lambda: small([])), ("start", lambda: small(start="common")),
    ("each", lambda: small(each=0)), ("steps", lambda: small(steps=-1)),
    ("sets", lambda: small([SETS[0], data_set("a", seed=5)])),
    ("engine", lambda: small(engine="gpu")),
    ("networks", lambda: trained(SETS, mlp(2), steps=1, device="cpu")),
    ("net", lambda: descend(Pool.stack([mlp(2)]), images(), device="cpu")),
    ("inputs", lambda: trained([data_set(size=12)], mlp(), steps=1, device="cpu")),
    ("keep", lambda: descend(Pool.stack([mlp()]), images(), keep=(3, 1))),
    ("sets", lambda: descend(Pool.stack([mlp()]), [images()] * 2)),
    ("order", lambda: descend(Pool.stack([mlp()]), images(), order=[1, 2])),
    ("lr", lambda: descend(Pool.stack([mlp()]), images(), lr=0)),
    ("batch", lambda: descend(Pool.stack([mlp()]), images(), batch=0)),
    ("start", lambda: descend(Pool.stack([nets.build("vgg", classes=3, size=8)]), images())),
    ("sets", lambda: descend(Pool.stack([mlp()] * 2), [images(24), images(30)], engine="vmap",
                             device="cpu"))])
def test_training_refuses(argument, make):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        make()


# ---- the zoo ----------------------------------------------------------------------------------
def test_splits_are_by_data_set():
    whole = small(each=2)
    parts = {s: whole.split(s) for s in ("train", "validation", "test")}
    assert [len(p) for p in parts.values()] == [4, 2, 2]
    assert [s.name for p in parts.values() for s in p.sets] == list("abcd")
    assert torch.equal(parts["test"].weights, whole.weights[6:])
    assert parts["test"].of.tolist() == [0, 0] and parts["test"].start == "shared"
    assert [s["split"] for s in whole.specs] == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    with pytest.raises(ValueError, match="a split that has data sets: test$"):
        parts["test"].split("train")


def test_chosen_networks_keep_their_data_sets():
    whole = small(each=2)
    some = whole[[7, 2, 3]]
    assert [s.name for s in some.sets] == ["b", "d"] and some.of.tolist() == [1, 0, 0]
    assert torch.equal(some.weights, whole.weights[[7, 2, 3]])
    assert len(whole[1]) == 1 and len(whole[2:]) == 6
    assert whole[torch.arange(8) > 5].digest() == whole[-2:].digest()
    torch.testing.assert_close(some.accuracy(), whole.accuracy()[[7, 2, 3]])
    assert repr(some) == "Zoo(3 networks of 411 weights, shared start, 2 data sets)"


def test_other_networks_can_stand_in():
    whole = small()
    other = whole.with_pool(whole.pool.with_flat(whole.weights + 1), "moved")
    assert other.start == "moved" and other.digest() != whole.digest()
    assert other.sets == whole.sets


def bad_weights():
    pool = Pool.stack([mlp()] * 4)
    rows = pool.flat()
    rows[2, 5] = torch.nan
    return pool.with_flat(rows)


@pytest.mark.parametrize("message, make", [
    (r"networks\[2\]: .*one architecture", lambda: Zoo(SETS, [mlp(), mlp(), mlp(4), mlp()])),
    ("fc1.weight: got NaN or infinity in network 2", lambda: Zoo(SETS, bad_weights())),
    ("of: .*each of the 4 data sets", lambda: Zoo(SETS, [mlp()] * 3)),
    ("of: ", lambda: Zoo(SETS, [mlp()] * 4, of=[0, 1, 2, 2])),
    ("of: ", lambda: Zoo(SETS, [mlp()] * 4, of=[0, 1, 2, 4])),
    ("sets: .*name of its own", lambda: Zoo([SETS[0], SETS[0]], [mlp()] * 2)),
    ("sets: .*at least one DataSet", lambda: Zoo([], [mlp()])),
    ("networks: got .*2 outputs.*at least 3, the classes of", lambda: Zoo(SETS, [mlp(2)] * 4)),
    ("index: ", lambda: small()[9]), ("name: ", lambda: small().split("base"))])
def test_a_zoo_refuses(message, make):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


# ---- judging ----------------------------------------------------------------------------------
def test_many_candidates_for_many_data_sets():
    whole = small()
    tests = [s.test for s in whole.sets]
    weights = whole.weights[:, None] + 0.3 * torch.randn(4, 3, whole.pool.size)
    table = accuracy(weights, tests, like=whole.pool)                                    # (T, M)
    for t, test in enumerate(tests):
        for m in range(3):
            alone = score.accuracy(whole.pool[:1].with_flat(weights[t, m][None]), test)
            assert float(table[t, m]) == float(alone[0])
    assert torch.equal(accuracy(weights[0], tests[0], like=whole.pool), table[0])
    own = accuracy(whole.pool, tests)
    assert own.tolist() == [float(accuracy(whole.pool[i], t)[0]) for i, t in enumerate(tests)]
    shared = accuracy(whole.pool, [tests[0], tests[1], tests[0], tests[1]])
    assert shared[2] == accuracy(whole.pool[2], tests[0])[0]


@pytest.mark.parametrize("argument, make", [
    ("like", lambda p: accuracy(p.flat(), images())),
    ("networks", lambda p: accuracy(torch.zeros(3), images(), like=p)),
    ("images", lambda p: accuracy(torch.zeros(2, 1, p.size), [images()], like=p)),
    ("images", lambda p: accuracy(p, [images()])),
    ("weights", lambda p: accuracy(torch.zeros(2, 9), images(), like=p))])
def test_judging_refuses(argument, make):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        make(Pool.stack([mlp(), mlp()]))


def test_fine_tuning_curves_begin_at_the_start_and_are_paired():
    whole, data = small(), SETS[3]
    starts = whole.pool[[0, 0, 1]]
    found = curves(starts, data.train, data.test, steps=(0, 5, 20), batch=10, lr=0.02,
                   device="cpu")
    assert found.shape == (3, 3) and torch.equal(found[0], found[1])     # the same batches
    torch.testing.assert_close(found[:, 0], accuracy(starts, data.test))
    assert (found[:, 2] > found[:, 0]).all()
    both = curves(whole.pool[[0, 1]], [SETS[3].train, SETS[2].train],
                  [SETS[3].test, SETS[2].test], steps=(0, 5, 20), batch=10, lr=0.02,
                  device="cpu")
    torch.testing.assert_close(both[0], found[0])


@few
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.integers(1, 50))
def test_the_area_is_the_mean_over_the_steps(values, scale):
    steps = [0, scale, 3 * scale]
    curve = torch.tensor(values, dtype=torch.float64)
    fine = np.interp(np.arange(3 * scale * 10 + 1) / 10, steps, values)
    np.testing.assert_allclose(float(area(steps, curve)),
                               np.trapezoid(fine) / (3 * scale * 10), atol=1e-6)
    assert float(area(steps, torch.full((3,), 0.25))) == pytest.approx(0.25)


def test_areas_refuse():
    with pytest.raises(ValueError, match="^steps: "):
        area([0, 0], torch.zeros(2))
    with pytest.raises(ValueError, match="^curves: "):
        area([0, 1], torch.zeros(3))


def test_conditions_need_no_test_image():
    """What training and conditions may look at and what judges share no image, over all sets."""
    seen = {part: {h for s in SETS for h in getattr(s, part).hashes()} for part in PARTS}
    assert not (seen["train"] | seen["support"]) & (seen["validation"] | seen["test"])
