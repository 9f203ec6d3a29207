"""Training: a member depends on its own seed alone, whatever the engine and the company."""

import pytest
import torch
import torch.nn.functional as F
from small import Own, images
from torch import nn

from wlib.core import nets, score, train
from wlib.core.pool import Pool
from wlib.ground import entries

SPECS = {"mlp": ("mlp", {"hidden": (6,)}), "lenet": ("lenet", {}), "conv4": ("conv4", {"width": 4}),
         "vgg": ("vgg", {"widths": (4, 6)}), "resnet": ("resnet", {"widths": (4, 6)}),
         "own": (Own, {})}


@pytest.fixture(scope="module")
def data():
    return images(36, size=16)


@pytest.fixture(scope="module")
def small():
    return images(24, size=4)


def close(a, b, tolerance=1e-4):
    for name, tensor in (a.parameters | a.buffers).items():
        torch.testing.assert_close((b.parameters | b.buffers)[name], tensor, rtol=tolerance,
                                   atol=tolerance)


def same(a, b):
    return all(torch.equal(t, (b.parameters | b.buffers)[k])
               for k, t in (a.parameters | a.buffers).items())


@pytest.mark.parametrize("name", SPECS)
def test_both_engines_give_the_same_members_and_so_does_a_member_alone(name, data, monkeypatch):
    """Weights, BatchNorm statistics and counts; the last batch of an epoch is smaller."""
    spec, settings = SPECS[name]
    monkeypatch.setattr(train, "OPTIMIZER", torch.optim.SGD)     # Adam enlarges last digits
    how = {"epochs": 2, "batch": 16, "lr": 1e-3, **settings}
    loop = train.fit(spec, data, seeds=(3, 8), engine="loop", **how)
    start = train.fit(spec, data, seeds=(3, 8), epochs=0, **settings)
    assert not same(loop, start), "something was learned"
    close(loop, train.fit(spec, data, seeds=(3, 8), engine="vmap", **how))
    alone = train.fit(spec, data, seeds=(8,), engine="loop", **how)
    assert same(loop[1], alone)
    close(alone, train.fit(spec, data, seeds=(8,), engine="vmap", **how))


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_a_pool_is_trained_by_the_plain_training_loop(engine, small):
    """A second implementation: torch's ordinary loop over the documented batches."""
    pool = train.fit("mlp", small, seeds=(0, 5), hidden=(4,), epochs=2, batch=9, lr=0.01,
                     engine=engine)
    for i, seed in enumerate((0, 5)):
        net = nets.fresh("mlp", seed, classes=3, size=4, hidden=(4,))
        step = torch.optim.Adam(net.parameters(), lr=0.01)
        for part in train._batches(24, seed, 2, 9):
            step.zero_grad()
            F.cross_entropy(net(small.floats()[part]), small.labels[part]).backward()
            step.step()
        close(Pool.stack([net]), pool[i], 1e-5)


def test_batches_see_every_image_once_an_epoch_in_a_new_order():
    batches = train._batches(10, 0, 2, 4)
    assert [len(b) for b in batches] == [4, 4, 2] * 2
    first, second = torch.cat(batches[:3]), torch.cat(batches[3:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()


class Flat(nn.Module):
    """BatchNorm after a layer without pixels: it cannot learn from one image alone."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.norm(self.first(x.flatten(1))).relu())


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_an_image_left_alone_joins_the_batch_before_where_batchnorm_asks_for_two(
        engine, monkeypatch):
    monkeypatch.setattr(train, "OPTIMIZER", torch.optim.SGD)     # Adam enlarges last digits
    data = images(13, size=4)
    pool = train.fit(Flat, data, seeds=(0, 5), epochs=2, batch=4, lr=0.1,
                     engine=engine)
    for i, seed in enumerate((0, 5)):
        net = nets.fresh(Flat, seed).train()
        step = torch.optim.SGD(net.parameters(), lr=0.1)
        for order in torch.cat(train._batches(13, seed, 2, 13)).split(13):
            for part in order.split([4, 4, 5]):
                step.zero_grad()
                F.cross_entropy(net(data.floats()[part]), data.labels[part]).backward()
                step.step()
        close(Pool.stack([net]), pool[i], 1e-5)
    assert [len(b) for b in train._batches(5, 0, 2, 4, join=True)] == [5, 5]


def test_only_such_networks_get_a_larger_batch(small):
    """Whoever trained before with a last batch of one trains on the same batches still."""
    data = small[:9]
    for spec, batch, joined in (("mlp", 4, False), (Own, 4, False), (Flat, 4, True),
                                (Flat, 5, False), (Flat, 9, False)):
        start = train.fit(spec, data, epochs=0)
        before = torch.random.get_rng_state()
        assert train._needs_two(start, data, batch) is joined
        assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("count, batch, named", [(1, 8, "data: got '1 image'"),
                                                 (6, 1, "batch: got 1")])
def test_one_image_alone_is_refused_where_batchnorm_asks_for_two(count, batch, named, small):
    with pytest.raises(ValueError, match=f"^{named}, want at least 2: BatchNorm"):
        train.fit(Flat, small[:count], epochs=1, batch=batch)
    train.fit(Own, small[:count], epochs=1, batch=batch)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_equal_seeds_are_bit_equal_twice_and_different_seeds_differ(engine, small):
    def fit(*seeds):
        return train.fit("mlp", small, seeds=seeds, epochs=2, hidden=(4,), engine=engine)
    torch.manual_seed(1)
    one = fit(0, 1)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert same(one, fit(0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.equal(one.flat()[0], one.flat()[1])
    assert not same(one[0], fit(2))


def test_something_is_learned(small):
    pool = train.fit("mlp", small, seeds=(0, 1), epochs=40, lr=0.01, hidden=(16,), batch=12)
    assert score.accuracy(pool, small).min() > 0.9


def test_no_epoch_returns_the_fresh_networks(small):
    pool = train.fit("mlp", small, seeds=(4,), epochs=0, hidden=(4,))
    assert same(pool, Pool.stack([nets.fresh("mlp", 4, classes=3, size=4, hidden=(4,))]))


def test_a_pool_is_trained_further(small):
    start = train.fit("mlp", small, seeds=(0, 1), epochs=1, hidden=(4,))
    further = train.fit(start, small, seeds=(7, 8), epochs=1)
    assert len(further) == 2 and not same(further, start)
    alone = train.fit(start[1], small, seeds=(8,), epochs=1)
    close(further[1], alone)
    spread = train.fit(start[0], small, seeds=(7, 8, 9), epochs=1)
    assert len(spread) == 3
    close(spread[0], further[0])


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_frozen_weights_stay(engine, small):
    net = Own()
    net.conv.weight.requires_grad_(False)
    pool = train.fit(net, small, seeds=(0, 1), epochs=1, engine=engine, lr=0.1)
    start = train.fit(net, small, seeds=(0, 1), epochs=0)
    moved = {k for k, t in pool.parameters.items() if not torch.equal(t, start.parameters[k])}
    assert "conv.weight" not in moved and "norm.weight" in moved and "head.weight" in moved


class Dropping(nn.Module):
    """Dropout as a function, which no list of layers shows."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.two(F.dropout(self.one(x.flatten(1)).relu(), 0.5, self.training))


class Looking(Dropping):
    """A look at the data, which vmap cannot take."""

    def forward(self, x):
        x = self.one(x.flatten(1))
        return self.two(x.relu() if x.mean() > 0 else x)


@pytest.mark.parametrize("spec", [Dropping, Looking])
def test_what_cannot_be_trained_stacked_is_trained_in_turn(spec, small):
    trained = train.fit(spec, small, seeds=(1, 2), epochs=2)
    assert same(trained, train.fit(spec, small, seeds=(1, 2), epochs=2, engine="loop"))
    assert same(trained[1], train.fit(spec, small, seeds=[2], epochs=2))
    with pytest.raises(ValueError, match="^engine: got 'vmap', want 'auto' or 'loop'"):
        train.fit(spec, small, seeds=(1, 2), epochs=1, engine="vmap")


def test_dropout_trains_in_a_loop_alone_or_together(small):
    def spec():
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout1d(0.5), nn.Linear(8, 3))
    pool = train.fit(spec, small, seeds=(0, 1), epochs=2)
    assert same(pool[1], train.fit(spec, small, seeds=(1,), epochs=2))
    with pytest.raises(ValueError, match="engine.*dropout"):
        train.fit(spec, small, seeds=(0, 1), epochs=2, engine="vmap")


def test_a_head_of_more_classes_is_allowed_and_images_may_be_doubles(small):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).double()
    pool = train.fit(net, small, epochs=1)
    assert pool.dtype == torch.float64 and pool.logits(small).shape == (1, 24, 5)


def test_stored_fit_keeps_each_seed_by_itself(small, tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    how = {"epochs": 1, "hidden": (4,), "batch": 8}
    kept = train.stored_fit("mlp", small, seeds=(0, 1), **how)
    assert same(kept, train.fit("mlp", small, seeds=(0, 1), engine="loop", **how))
    assert kept.template.spec["hidden"] == (4,)
    monkeypatch.setattr(train, "_train_in_turn", None)       # whatever is trained now fails
    assert same(train.stored_fit("mlp", small, seeds=(1, 0), **how), kept[[1, 0]])
    with pytest.raises(TypeError):
        train.stored_fit("mlp", small, seeds=(2,), **how)
    assert len(list(entries.root().rglob("*.safetensors"))) == 2


def test_stored_fit_of_the_readers_module_and_of_a_pool(small, tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    first = train.stored_fit(Own(), small, seeds=(0,), epochs=1)
    assert isinstance(first.network(0), Own)
    assert same(train.stored_fit(first, small, seeds=(1, 2), epochs=1)[1],
                train.fit(first, small, seeds=(2,), epochs=1))
    assert same(train.stored_fit(Own, small, seeds=(0,), epochs=1), train.fit(
        Own, small, seeds=(0,), epochs=1))


@pytest.mark.parametrize(("arguments", "named"), [
    ({"spec": "mpl"}, "name.*did you mean 'mlp'"), ({"spec": 3}, "spec"),
    ({"seeds": ()}, "seeds"), ({"seeds": (1, 1)}, "seeds"), ({"seeds": (-1,)}, "seeds"),
    ({"seeds": (0.5,)}, "seeds"), ({"epochs": -1}, "epochs"), ({"epochs": 1.5}, "epochs"),
    ({"batch": 0}, "batch"), ({"lr": 0}, "lr"), ({"lr": "fast"}, "lr"),
    ({"lr": float("nan")}, "lr"), ({"engine": "fast"}, "engine"),
    ({"device": "tpu9"}, "device"), ({"width": 3}, "width"), ({"data": torch.rand(3, 1, 4, 4)},
                                                             "data"),
    ({"spec": Own(), "hidden": (3,)}, "settings"), ({"spec": Own(classes=2)}, "spec"),
    ({"spec": nn.Conv2d(1, 3, 3)}, "spec"), ({"spec": nets.build("lenet")}, "inputs"),
    ({"spec": Pool.stack([Own()] * 2), "seeds": (0, 1, 2)}, "spec")])
def test_bad_arguments_are_refused_by_name(arguments, named, small):
    with pytest.raises(ValueError, match=named):
        train.fit(**{"spec": "mlp", "data": small, "epochs": 1} | arguments)


def test_stored_fit_refuses_by_name(small, tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    for seeds in ((), (1, 1), (-1,)):
        with pytest.raises(ValueError, match="seeds"):
            train.stored_fit("mlp", small, seeds=seeds)
    with pytest.raises(ValueError, match="spec"):
        train.stored_fit(Pool.stack([Own()] * 2), small, seeds=(0, 1))
    with pytest.raises(ValueError, match="epochs"):
        train.stored_fit("mlp", small, seeds=(0,), epochs=-1)


def test_diverged_training_is_refused_with_the_tensor(small):
    with pytest.raises(ValueError, match="NaN or infinity"):
        train.fit("mlp", small, epochs=30, lr=1e30, hidden=(4,))
