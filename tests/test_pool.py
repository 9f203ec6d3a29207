"""Pools: both engines equal, buffers travel, files are whole or refused."""

import json
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from small import Own, few, images, lived
from torch import nn
from torchvision.models import mobilenet_v2, resnet18

from wlib import mda, mge
from wlib.core import audit, nets
from wlib.core.pool import ENGINES, IMAGES_AT_ONCE, Pool

SHAPES = {"mlp": {"hidden": (6,)}, "lenet": {}, "conv4": {"width": 4}, "vgg": {"widths": (4, 6)},
          "resnet": {"widths": (4, 6)}}
MAKERS = {name: (lambda name=name, settings=settings: nets.build(
    name, classes=3, channels=1, size=16, **settings)) for name, settings in SHAPES.items()}
MAKERS |= {"own": Own,
           "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(256, 3)),
           "resnet18": lambda: nn.Sequential(nn.Conv2d(1, 3, 1), resnet18(num_classes=3)),
           "mobilenet_v2": lambda: nn.Sequential(nn.Conv2d(1, 3, 1), mobilenet_v2(num_classes=3))}


@pytest.fixture(scope="module")
def networks():
    """Two lived-in networks of every architecture, the reader's own among them."""
    return {name: [lived(maker(), i) for i in range(2)] for name, maker in MAKERS.items()}


@pytest.fixture(scope="module")
def x():
    return images(5, size=16).floats()


def same(a, b):
    assert a.parameters.keys() == b.parameters.keys() and a.buffers.keys() == b.buffers.keys()
    return all(torch.equal(t, (b.parameters | b.buffers)[k])
               for k, t in (a.parameters | a.buffers).items())


def mlps(count, hidden=(4,), **settings):
    return Pool.stack([nets.fresh("mlp", i, classes=3, size=4, hidden=hidden, **settings)
                       for i in range(count)])


# ---- every architecture -----------------------------------------------------------------------
@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_networks_go_in_and_come_out_the_same(name, networks):
    pool = Pool.stack(networks[name])
    for i, net in enumerate(networks[name]):
        back = pool.network(i)
        assert not back.training and type(back) is type(net)
        state = net.state_dict()
        assert list(state) == list(back.state_dict())
        assert all(torch.equal(v, state[k]) for k, v in back.state_dict().items())
        row = torch.cat([p.flatten() for p in net.parameters()])
        assert torch.equal(pool.flat()[i], row)
    assert pool.size == len(row) and len(pool) == 2
    assert pool.segments()[list(pool.parameters)[-1]].stop == pool.size


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("engine", ENGINES)
@torch.no_grad()
def test_logits_are_the_networks_own(name, engine, networks, x):
    pool = Pool.stack(networks[name])
    expected = torch.stack([net(x) for net in networks[name]])
    torch.testing.assert_close(pool.logits(x, engine), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pool.logits(x, engine, batch=2), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lenet", "resnet", "own"])
@pytest.mark.parametrize("engine", ["loop", "vmap"])
@torch.no_grad()
def test_own_images_for_each_network(name, engine, networks, x):
    pool = Pool.stack(networks[name])
    own = torch.stack([x, x.flip(0)])
    expected = torch.stack([net(z) for net, z in zip(networks[name], own, strict=True)])
    torch.testing.assert_close(pool.logits(own, engine, 3, own=True), expected, rtol=1e-4,
                               atol=1e-5)


def test_logits_of_an_image_set_are_those_of_its_floats(networks):
    data = images(7, size=16)
    pool = Pool.stack(networks["lenet"])
    assert torch.equal(pool.logits(data), pool.logits(data.floats()))
    assert not pool.logits(data).requires_grad


def test_vmap_takes_a_few_networks_at_a_time(monkeypatch):
    pool, z = mlps(5), torch.rand(6, 1, 4, 4)
    whole = pool.logits(z, "vmap")
    monkeypatch.setattr("wlib.core.pool.VMAP_CELLS", 2 * 3 * 16 * 32)   # 2 networks, 3 images
    pieces = [(n.stop - n.start, i.stop - i.start) for n, i, _ in pool.outputs(z, "vmap", 3)]
    assert pieces == [(2, 3)] * 4 + [(1, 3)] * 2
    torch.testing.assert_close(pool.logits(z, "vmap", 3), whole)
    own = z.expand(5, *z.shape)
    torch.testing.assert_close(pool.logits(own, "vmap", 3, own=True), whole)
    assert max(n.stop - n.start for n, *_ in pool.outputs(own, "vmap", 3, own=True)) == 2


def test_memory_is_bounded_by_the_batch():
    largest = max(values.shape[1] for _, _, values in mlps(2).outputs(torch.rand(700, 1, 4, 4)))
    assert largest == IMAGES_AT_ONCE


def test_the_default_engine():
    linear, conv = mlps(2), Pool.stack([Own(), Own()])
    assert linear.engine() == "vmap" and linear[0].engine() == "loop"
    assert conv.engine() == ("loop" if conv.device.type == "cpu" else "vmap")
    assert conv.engine("vmap") == "vmap" and linear.engine("loop") == "loop"
    with pytest.raises(ValueError, match="engine"):
        linear.engine("gpu")


def test_everything_stays_on_the_pools_device():
    pool = mlps(2)
    for tensor in (pool.flat(), pool.logits(torch.rand(2, 1, 4, 4)), pool[0].flat(),
                   pool.with_flat(pool.flat().double()).flat(), *pool.state(1).values()):
        assert tensor.device == pool.device
    assert pool.to("cpu").device.type == "cpu"
    assert next(pool.network(0).parameters()).device == pool.device


# ---- any module, any inputs --------------------------------------------------------------------
class Recurrent(nn.Module):
    """Sequences (B, T, 3) to logits (B, 2)."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTM(3, 4, 2, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Language(nn.Module):
    """Tokens (B, T) to logits (B, T, 7), with the embedding's weight as the decoder's."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.body = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)
        self.decoder = nn.Linear(8, 7)
        self.decoder.weight = self.embed.weight

    def forward(self, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.decoder(self.body(self.embed(tokens), mask=mask, is_causal=True))


class Two(nn.Module):
    """A sequence and an integer each."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Embedding(5, 4)

    def forward(self, x, kind, *, scale=None):
        y = self.one(x).mean(1) * self.two(kind)
        return y if scale is None else y * scale[:, None]


class Gained(nn.Module):
    """A weight that is a single number, a weight without a number, and a buffer of two names."""

    def __init__(self):
        super().__init__()
        self.gain, self.none = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.zeros(0, 3))
        self.layer = nn.Linear(3, 2)
        self.register_buffer("shift", torch.ones(2))
        self.layer.register_buffer("same", self.shift)

    def forward(self, x):
        return self.gain * self.layer(x) + self.shift + self.layer.same


def normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.Tanh(),
                         nn.utils.parametrizations.spectral_norm(nn.Linear(4, 2)))


def integers(high, *shape):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(high))


KINDS = {"recurrent": (Recurrent, lambda: torch.rand(5, 6, 3)),
         "language": (Language, lambda: integers(7, 5, 6)),
         "two": (Two, lambda: (torch.rand(5, 6, 3), integers(5, 5))),
         "two by name": (Two, lambda: {"kind": integers(5, 5), "x": torch.rand(5, 6, 3),
                                       "scale": torch.rand(5)}),
         "gained": (Gained, lambda: torch.rand(5, 3)),
         "normed": (normed, lambda: torch.rand(5, 3))}


def called(net, given):
    if isinstance(given, dict):
        return net(**given)
    return net(*given) if isinstance(given, tuple) else net(given)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_networks_of_every_kind_answer_as_they_do_alone(kind, tmp_path):
    make, inputs = KINDS[kind]
    given, nets_ = inputs(), [lived(make(), i) for i in range(3)]
    expected = torch.stack([called(net, given) for net in nets_])
    assert not torch.allclose(expected[0], expected[1])
    pool = Pool.stack(nets_)
    for engine, batch in (("auto", 250), ("auto", 2), ("loop", 2)):
        torch.testing.assert_close(pool.logits(given, engine, batch), expected)
    rows = {k: t[None].expand(3, *t.shape) for k, t in given.items()} if isinstance(
        given, dict) else tuple(t[None].expand(3, *t.shape) for t in (
            given if isinstance(given, tuple) else (given,)))
    torch.testing.assert_close(pool.logits(rows, batch=2, own=True), expected)
    for i, net in enumerate(nets_):
        torch.testing.assert_close(called(pool.network(i), given), expected[i])
        assert torch.equal(pool.flat()[i], torch.cat([p.flatten() for p in net.parameters()]))
    assert same(pool.with_flat(pool.flat()), pool) and pool.digest() == Pool.stack(nets_).digest()
    pool.save(tmp_path / "pool")
    back = Pool.load(tmp_path / "pool", make())
    assert same(back, pool) and torch.equal(back.logits(given, "loop"), pool.logits(given, "loop"))
    assert back.digest() == pool.digest()
    children = mge.generate(pool, 2, energy=0.9)
    assert len(children) == 6 and children.logits(given).shape == (6, *expected.shape[1:])
    assert audit.distance(children, pool).shape[0] == 6


@pytest.mark.parametrize("kind", ["two", "gained"])
def test_vmap_takes_other_networks_and_inputs_too(kind):
    make, inputs = KINDS[kind]
    pool, given = Pool.stack([lived(make(), i) for i in range(3)]), inputs()
    torch.testing.assert_close(pool.logits(given, "vmap", 2), pool.logits(given, "loop"))


def test_what_is_tied_travels_as_one_and_stays_tied():
    """Through the pool, its children and its file; the tie is part of the architecture."""
    pool = Pool.stack([lived(Language(), i) for i in range(2)])
    assert pool.size == sum(p.numel() for p in Language().parameters())
    for net in (pool.network(1), mge.generate(pool, 1).network(1), pool.template):
        assert net.decoder.weight is net.embed.weight
        assert "decoder.weight" in net.state_dict()
    untied = Language()
    untied.decoder.weight = nn.Parameter(untied.embed.weight.detach().clone())
    with pytest.raises(ValueError, match=r"networks\[1\].*differs in decoder.weight"):
        Pool.stack([Language(), untied])
    gained = Pool.stack([Gained()]).network(0)
    assert gained.layer.same is gained.shift and gained.shift.grad_fn is None


def test_a_copy_of_a_network_shares_nothing_with_it():
    for make in (Language, Gained, Recurrent):
        pool, net = Pool.stack([make()]), Pool.stack([make()]).network(0)
        assert all(p.is_meta for p in [*pool.template.parameters(), *pool.template.buffers()])
        assert all(p.is_leaf and p.requires_grad for p in net.parameters())


@torch.no_grad()
def pruned():
    layer = nn.Linear(3, 3)
    nn.utils.prune.l1_unstructured(layer, "weight", 0.5)
    return nn.Sequential(layer)


def old_style(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")           # torch would rather have the new ones
        return nn.Sequential(nn.Linear(3, 3), getattr(nn.utils, name)(nn.Linear(3, 3)))


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(torch.jit.trace(nn.Linear(3, 3), torch.rand(2, 3)))


def with_a_computed_attribute():
    net = nn.Linear(3, 3)
    net.twice = 2 * net.weight
    return net


@pytest.mark.parametrize(("make", "words"), [
    (lambda: old_style("weight_norm"), r"\[0\]\.1: .*WeightNorm.*remove_weight_norm"),
    (lambda: old_style("spectral_norm"), r"\[0\]\.1: .*SpectralNorm.*remove_spectral_norm"),
    (pruned, r"\[0\]\.0: .*prune\.remove\(layer, name\)"),
    (scripted, r"\[0\]\.0: .*scripted module.*eager module"),
    (lambda: nn.Sequential(nn.LazyLinear(3)), r"\[0\]\.0\.weight: .*run one batch through it"),
    (with_a_computed_attribute, r"\[0\]\.twice: .*detach\(\)"),
    (lambda: torch.compile(nn.Linear(3, 3)), r"\[0\]: .*compiled module.*_orig_mod")])
def test_what_cannot_be_taken_apart_is_refused_with_what_to_do(make, words):
    with pytest.raises(ValueError, match=f"^networks{words}"):
        Pool.stack([make()])


def test_what_was_advised_helps():
    layer = pruned()
    nn.utils.prune.remove(layer[0], "weight")
    lazy = nn.Sequential(nn.LazyLinear(3))
    lazy(torch.rand(2, 5))
    for net in (layer, lazy, torch.compile(nn.Linear(3, 3))._orig_mod):
        assert len(Pool.stack([net])) == 1


class Tossing(nn.Module):
    """Looks at the data, or draws: nothing for vmap."""

    def __init__(self, look):
        super().__init__()
        self.layer, self.look = nn.Linear(3, 2), look

    def forward(self, x):
        x = self.layer(x)
        return x * 2 if self.look and x.sum() > 0 else F.dropout(x, 0.0 if self.look else 0.5)


@pytest.mark.parametrize("look", [True, False])
def test_auto_falls_back_and_vmap_says_why_it_cannot(look):
    pool, x = Pool.stack([Tossing(look), Tossing(look)]), torch.rand(5, 3)
    assert pool.engine() == "vmap"
    found = pool.logits(x, batch=2)
    assert found.shape == (2, 5, 2) and (found != 0).any()
    if look:                                          # what draws says other things each time
        assert torch.equal(found, pool.logits(x, "loop", batch=2))
    with pytest.raises(ValueError, match="^engine: got 'vmap', want 'auto' or 'loop'.*stacked"):
        pool.logits(x, "vmap")
    with pytest.raises(ValueError, match="^inputs: got"):
        pool.logits(torch.rand(5, 4), "vmap")         # the inputs are to blame, not the engine


class Odd(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.Linear(3, 2), how

    def forward(self, x):
        y = self.layer(x)
        return {"tuple": (y, x), "dict": {"logits": y}, "sum": y.sum(), "mean": y.mean(0)}[self.how]


@pytest.mark.parametrize("how", ["tuple", "dict", "sum", "mean"])
@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_other_than_one_row_per_input_are_refused(how, engine):
    pool = Pool.stack([Odd(how), Odd(how)])
    with pytest.raises(ValueError, match="^outputs: got.*one tensor with a row for each of 5"):
        pool.logits(torch.rand(5, 3), engine)


# ---- indexing, flat, cat ----------------------------------------------------------------------
@few
@given(st.data())
def test_indexing_is_that_of_the_rows(data):
    pool = mlps(5)
    pool.buffers["b"] = torch.arange(5)
    index = data.draw(st.one_of(
        st.integers(-5, 4), st.slices(5).filter(lambda s: (s.step or 1) > 0
                                                and len(range(*s.indices(5)))),
        st.lists(st.integers(-5, 4), min_size=1, max_size=6),
        st.lists(st.booleans(), min_size=5, max_size=5).filter(any)))
    rows = torch.arange(5)[[index] if isinstance(index, int) else index]
    part = pool[index]
    assert part.buffers["b"].tolist() == rows.tolist()
    assert torch.equal(part.flat(), pool.flat()[rows])


def test_single_numbers_of_every_kind_give_a_pool_of_one():
    pool = mlps(3)
    for i in (1, -2, np.int64(1), torch.tensor(1), torch.tensor([1]), slice(1, 2), [1]):
        assert len(pool[i]) == 1 and torch.equal(pool[i].flat(), pool.flat()[1:2]), i
    assert [torch.equal(net.flat()[0], pool.flat()[i]) for i, net in enumerate(pool)] == [True] * 3


@pytest.mark.parametrize("bad", [3, -4, [], [0, 3], 0.5, "0", None, [True], torch.zeros(0),
                                 slice(2, 2), torch.zeros(3, dtype=torch.bool), [[0, 1]], True])
def test_bad_index_is_refused(bad):
    with pytest.raises(ValueError, match="index|pool"):
        mlps(3)[bad]


@few
@given(st.integers(1, 4), st.sampled_from(["mlp", "vgg", "own"]))
def test_flat_and_with_flat_are_inverse(count, name):
    pool = Pool.stack([lived(MAKERS[name](), i) for i in range(count)])
    back = pool.with_flat(pool.flat())
    assert same(pool, back)
    changed = pool.with_flat(pool.flat() * 2)
    assert all(torch.equal(t, 2 * pool.parameters[k]) for k, t in changed.parameters.items())


def test_buffers_travel_with_new_weights():
    pool = Pool.stack([lived(Own(), i) for i in range(2)])
    w = torch.rand(6, pool.size)
    many = pool.with_flat(w)
    for k, t in pool.buffers.items():
        assert torch.equal(many.buffers[k], t.repeat_interleave(3, 0))
        assert torch.equal(pool.repeat(3).buffers[k], t.repeat_interleave(3, 0))
        assert torch.equal(pool[1].with_flat(w).buffers[k], t[[1] * 6])
    assert torch.equal(many.flat(), w)
    assert many.with_flat(w.double()).dtype == torch.float32, "the pool's dtype stays"
    assert int(many.network(5).norm.num_batches_tracked) == int(pool.network(1).norm
                                                                .num_batches_tracked)


def test_a_network_taken_out_is_independent():
    pool = mlps(2)
    before = pool.flat()
    with torch.no_grad():
        for p in pool.network(0).parameters():
            p.zero_()
    assert torch.equal(pool.flat(), before)


def test_cat_keeps_order_and_refuses_mixtures():
    pool = mlps(3)
    assert same(Pool.cat([pool[:1], pool[1:]]), pool)
    tanh = Pool.stack([nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 3))])
    relu = Pool.stack([nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3))])
    for bad in ([pool, mlps(1, hidden=(5,))], [tanh, relu], [pool, "pool"], []):
        with pytest.raises(ValueError, match="pools"):
            Pool.cat(bad)


@pytest.mark.parametrize("bad", [
    [], [3], [Own(), nets.build("mlp")], [Own(3), Own(4)], [Own(), Own().double()],
    [nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.Tanh())]])
def test_stack_refuses_mixtures(bad):
    with pytest.raises(ValueError, match="networks"):
        Pool.stack(bad)


def with_weights_of(net, source):
    net.load_state_dict(source.state_dict())
    return net


def by_hand(settings):
    """Two networks of equal weights and shapes that differ in what `forward` reads."""
    one, other = (ByHand(**each) for each in settings)
    return [one, with_weights_of(other, one)]


class ByHand(nn.Module):
    def __init__(self, act=F.relu, power=1, shift=None):
        super().__init__()
        self.layer, self.act, self.power, self.shift = nn.Linear(4, 3), act, power, shift

    def forward(self, x):
        y = self.act(self.layer(x.flatten(1))) ** self.power
        return y if self.shift is None else y + self.shift


def encoders():
    settings = {"d_model": 4, "nhead": 2, "dim_feedforward": 8, "batch_first": True}
    one = nn.TransformerEncoderLayer(**settings)
    return [one, with_weights_of(nn.TransformerEncoderLayer(**settings, norm_first=True), one)]


OTHERS = {"activation": lambda: by_hand([{"act": F.relu}, {"act": torch.tanh}]),
          "number": lambda: by_hand([{"power": 2}, {"power": 4}]),
          "tensor": lambda: by_hand([{"shift": torch.zeros(3)}, {"shift": torch.ones(3)}]),
          "lambda": lambda: by_hand([{"act": scaled(2)}, {"act": scaled(3)}]),
          "encoder": encoders,
          "frozen": lambda: [Own(), Own().requires_grad_(False)]}


def scaled(k):
    return lambda x: k * x


@pytest.mark.parametrize(("kind", "named"), [
    ("activation", "differs in act"), ("number", "differs in power"), ("lambda", "differs in act"),
    ("tensor", "differs in shift"), ("encoder", "differs in norm_first"),
    ("frozen", "differs in head.weight")])
def test_networks_that_compute_differently_are_no_pool(kind, named):
    one, other = OTHERS[kind]()
    with pytest.raises(ValueError, match=rf"^networks\[1\].*{named}"):
        Pool.stack([one, other])
    one, other = Pool.stack([one]), Pool.stack([other])
    with pytest.raises(ValueError, match=rf"^pools\[1\].*{named}"):
        Pool.cat([one, other])
    assert one.difference(other) and one.difference(one[:1]) is None
    changed = other.with_flat(one.flat())
    assert torch.equal(one.flat(), changed.flat()) and one.digest() != changed.digest()


def test_networks_that_differ_in_weights_alone_are_a_pool():
    for kind in OTHERS:
        first, again = OTHERS[kind]()[0], OTHERS[kind]()[0]
        pool = Pool.stack([first, again])
        assert same(pool, Pool.cat([Pool.stack([first]), Pool.stack([again])]))
        assert pool[:1].digest() == Pool.stack([first]).digest()


@pytest.mark.parametrize("bad", [nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)),
                                 nn.ModuleList([nn.Linear(3, 3)])])
def test_brackets_forgotten_are_not_taken_for_a_pool_of_layers(bad):
    with pytest.raises(ValueError, match=r"networks.*a list of networks.*\[network\]"):
        Pool.stack(bad)


def test_stack_refuses_what_it_cannot_hold():
    with pytest.raises(ValueError, match="with weights"):
        Pool.stack([nn.ReLU()])
    with pytest.raises(ValueError, match="one floating dtype"):
        Pool.stack([nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_with_tensor_and_network(value):
    w = mlps(3).flat()
    w[2, 0] = value
    with pytest.raises(ValueError, match=r"fc1.weight.*network 2"):
        mlps(3).with_flat(w)


@pytest.mark.parametrize("bad", [torch.zeros(3, 7), torch.zeros(0, 83), torch.zeros(4, 83),
                                 torch.zeros(83), torch.zeros(3, 83, dtype=torch.long), "w",
                                 np.zeros((3, 83))])
def test_with_flat_refuses(bad):
    assert mlps(3).size == 83
    with pytest.raises(ValueError, match="weights"):
        mlps(3).with_flat(bad)


@pytest.mark.parametrize("bad", [
    torch.rand(2, 5), torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.rand(2, 1, 5, 5),
    torch.rand(0, 1, 4, 4), torch.rand(4, 2, 1, 4, 4), "images", None, np.zeros((2, 1, 4, 4)), (),
    (torch.rand(2, 1, 4, 4), torch.rand(3, 1, 4, 4)), (torch.rand(2, 1, 4, 4), 3), {}, {"x": 1},
    (torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)), {"other": torch.rand(2, 1, 4, 4)},
    torch.tensor(1.0)])
@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_logits_refuse_inputs_that_do_not_fit(bad, engine):
    with pytest.raises(ValueError, match="^inputs: got"):
        mlps(3).logits(bad, engine)


@pytest.mark.parametrize("bad", [torch.rand(2, 5, 1, 4, 4), torch.rand(3, 0, 16), torch.rand(3),
                                 (torch.rand(3, 5, 16), torch.rand(3, 4, 16))])
def test_logits_refuse_own_inputs_that_do_not_fit(bad):
    with pytest.raises(ValueError, match="^inputs: got"):
        mlps(3).logits(bad, own=True)


def test_a_batch_for_each_network_must_be_said():
    own = torch.rand(3, 5, 1, 4, 4)
    with pytest.raises(ValueError, match="^inputs: got.*own=True"):
        mlps(3).logits(own)
    assert mlps(3).logits(own, own=True).shape == (3, 5, 3)


def test_other_bad_calls():
    pool = mlps(2)
    for i in (2, -3, "0", 0.0):
        with pytest.raises(ValueError, match="i:"):
            pool.network(i)
    for batch in (0, 2.5):
        with pytest.raises(ValueError, match="batch"):
            pool.logits(torch.rand(1, 1, 4, 4), batch=batch)
    with pytest.raises(ValueError, match="times"):
        pool.repeat(0)
    with pytest.raises(ValueError, match="device"):
        pool.to("nowhere")


# ---- files ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["mlp", "vgg", "own"])
def test_save_and_load(name, networks, tmp_path, x):
    pool, path = Pool.stack(networks[name]), tmp_path / "pool.safetensors"
    for part in (pool, pool[1], pool[0].with_flat(pool.flat()), pool.repeat(2)):
        part.save(path)
        back = Pool.load(path, template=Own() if name == "own" else None)
        assert same(part, back)
        # Rows of `with_flat` lie otherwise than the file's tensors.
        torch.testing.assert_close(part.logits(x), back.logits(x), rtol=1e-4, atol=1e-5)
        assert part.digest() == back.digest()
    assert [p.name for p in tmp_path.iterdir()] == ["pool.safetensors"]


def test_the_file_says_what_it_holds(tmp_path):
    mlps(2).save(tmp_path / "p")
    with safe_open(tmp_path / "p", "pt") as file:
        assert json.loads(file.metadata()["spec"])["hidden"] == [4]
        assert file.metadata()["networks"] == "2"


def test_load_refuses_missing_damaged_foreign_and_mismatched_files(tmp_path):
    path = tmp_path / "p.safetensors"
    with pytest.raises(ValueError, match="path"):
        Pool.load(path)
    mlps(2).save(path)
    whole = path.read_bytes()
    with pytest.raises(ValueError, match="template"):
        Pool.load(path, template=nets.build("lenet"))
    for damaged in (b"", whole[:20], whole[:-5], b"\xff" * 200):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="path"):
            Pool.load(path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="path"):
        Pool.load(path)
    Pool.stack([Own()]).save(path)
    with pytest.raises(ValueError, match="template"):
        Pool.load(path)
    with pytest.raises(ValueError, match="template"):
        Pool.load(path, template=Own(classes=4))
    with pytest.raises(ValueError, match="template"):
        Pool.load(path, template="own")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.safetensors"
    mlps(2).save(path)
    before = path.read_bytes()

    def fail(tensors, name, metadata):
        name.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("wlib.store.tensorfiles.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        mlps(3).save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_digest_tells_pools_apart():
    pool, gain = mlps(2), Pool.stack([nets.fresh(lambda: Own(gain=2.0), 0)])
    assert pool.digest() == mlps(2).digest()
    others = [pool[:1], pool[[1, 0]], pool.with_flat(pool.flat() * 1.001), gain,
              Pool.stack([nets.fresh(Own, 0)])]
    assert torch.equal(gain.flat(), others[-1].flat()), "they differ in an attribute alone"
    assert len({p.digest() for p in [pool, *others]}) == 6


class Plus(nn.Module):
    """Three layers, the last tied to one of the others, and a function."""

    def __init__(self, tied="a", function=torch.relu):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(3, 3, bias=False) for _ in range(3))
        self.c.weight = getattr(self, tied).weight
        self.function = function

    def forward(self, x):
        return self.c(self.function(self.b(self.function(self.a(x)))))


@pytest.mark.parametrize("other, path", [({"tied": "b"}, "c.weight"),
                                         ({"function": torch.tanh}, "function")])
def test_a_template_that_computes_otherwise_is_refused_for_a_file(other, path, tmp_path):
    Pool.stack([Plus()]).save(tmp_path / "pool")
    frozen = Plus().double().requires_grad_(False)     # computes the same
    x = torch.randn(4, 3)
    assert torch.equal(Pool.load(tmp_path / "pool", frozen).logits(x),
                       Pool.load(tmp_path / "pool", Plus()).logits(x))
    with pytest.raises(ValueError, match=f"saved architecture, from which it differs in {path}$"):
        Pool.load(tmp_path / "pool", Plus(**other))


def test_a_built_network_that_was_changed_needs_its_template(tmp_path):
    net = nets.build("mlp", hidden=(4,))
    relu = next(path for path, layer in net.named_modules() if isinstance(layer, nn.ReLU))
    net.set_submodule(relu, nn.Tanh())
    pool = Pool.stack([net])
    pool.save(tmp_path / "pool")
    with pytest.raises(ValueError, match="saved architecture, from which it differs"):
        Pool.load(tmp_path / "pool")
    x = torch.randn(2, 1, 28, 28)
    assert torch.equal(Pool.load(tmp_path / "pool", net).logits(x), pool.logits(x))


def test_an_attribute_named_spec_is_no_recipe(tmp_path):
    net = Plus()
    net.spec = {1, 2}
    Pool.stack([net]).save(tmp_path / "pool")
    with pytest.raises(ValueError, match="template: got None"):
        Pool.load(tmp_path / "pool")


def hold_in_a_list(net):
    net.weights = [net.a.weight]


def hold_by_name(net):
    net.__dict__["weight"] = net.a.weight


def hold_in_a_function(net):
    net.function = lambda x: torch.relu(net.a(x))


def hold_in_a_hook(net):
    net.a.register_forward_hook(lambda *_: net.b.weight.sum())


@pytest.mark.parametrize("hold", [hold_in_a_list, hold_by_name, hold_in_a_function, hold_in_a_hook])
def test_what_other_weights_could_not_reach_is_refused(hold):
    """`functional_call` would read the old weights there, and of a copy without weights nothing."""
    net = Plus()
    hold(net)
    with pytest.raises(ValueError, match=r"networks\[0\].*a part of the network kept beside it"):
        Pool.stack([net])


def test_a_cut_network_of_the_book_s_own_is_kept(tmp_path):
    """It is no longer what `nets.build` made, so a file of it names no recipe."""
    net = nets.fresh("vgg", 0, classes=3, channels=3, size=16, widths=(4, 6)).eval()
    part = mda.disassemble(net, {}, [0, 2])
    pool = Pool.stack([part])
    pool.save(tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match="template: got None"):
        Pool.load(tmp_path / "part.safetensors")
    again = Pool.load(tmp_path / "part.safetensors", template=part)
    assert torch.equal(again.flat(), pool.flat())


def test_a_loaded_pool_does_not_hang_on_its_file(tmp_path):
    pool = Pool.stack([nets.fresh("mlp", 0)])
    pool.save(tmp_path / "a.safetensors")
    loaded = Pool.load(tmp_path / "a.safetensors")
    with open(tmp_path / "a.safetensors", "r+b") as file:     # in place: a view would see it
        file.write(b"\0" * (tmp_path / "a.safetensors").stat().st_size)
    assert torch.equal(loaded.flat(), pool.flat())
