"""A learner as a function: features and head, BatchNorm's three ways, the inner loop by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from small import Own, few, lived
from torch import nn
from torch.func import grad, vmap

from wlib.core import nets
from wlib.core.pool import Pool
from wlib.free import learner

NETS = {"mlp": lambda: nets.fresh("mlp", 0, classes=3, size=16, hidden=(6,)),
        "conv4": lambda: nets.fresh("conv4", 0, classes=3, size=16, width=4),
        "resnet": lambda: nets.fresh("resnet", 0, classes=3, size=16, widths=(4, 6)),
        "own": Own}
SHAPE = (1, 16, 16)


@pytest.fixture(params=NETS)
def pool(request):
    return Pool.stack([lived(NETS[request.param]())])


@pytest.fixture
def one():
    return Pool.stack([lived(NETS["conv4"]())])


def noise(count, seed=0):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


# ---- the network as a function ------------------------------------------------------------------
def test_with_its_own_statistics_the_function_is_the_network(pool):
    x, w = noise(7), learner.weights(pool)
    parts = learner.body(pool, SHAPE, transductive=None)
    torch.testing.assert_close(parts.logits(w, x), pool.logits(x)[0], rtol=1e-5, atol=1e-5)
    support, query = parts.both(w, x[:3], x[3:])
    torch.testing.assert_close(torch.cat([support, query]), parts.features(w, x))


def test_transductive_is_the_networks_own_training_mode(pool):
    x, w = noise(7), learner.weights(pool)
    parts = learner.body(pool, SHAPE)
    expected = pool.network(0).train()(x)
    torch.testing.assert_close(parts.logits(w, x), expected, rtol=1e-4, atol=1e-5)
    support, query = parts.both(w, x[:3], x[3:])
    torch.testing.assert_close(support, parts.features(w, x[:3]))
    torch.testing.assert_close(query, parts.features(w, x[3:]))


def test_by_support_alone_a_query_image_does_not_depend_on_the_others(one):
    x, w = noise(9), learner.weights(one)
    parts = learner.body(one, SHAPE, transductive=False, support=4)
    all_five = parts.of_query(w, x[:4], x[4:])
    for i in range(5):
        torch.testing.assert_close(parts.of_query(w, x[:4], x[4 + i:5 + i]), all_five[i:i + 1],
                                   rtol=1e-4, atol=1e-5)
    whole = learner.body(one, SHAPE)
    torch.testing.assert_close(parts.both(w, x[:4], x[4:])[0], whole.features(w, x[:4]),
                               rtol=1e-4, atol=1e-5)
    alone = whole.of_query(w, x[:4], x[4:6])
    assert (whole.of_query(w, x[:4], x[4:])[:2] - alone).abs().max() > 1e-3


def test_statistics_of_the_first_images_by_hand():
    layer = lived(nn.BatchNorm2d(3))
    x = noise(6).expand(-1, 3, -1, -1) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    part = x[:2]
    mean, var = part.mean((0, 2, 3)), part.var((0, 2, 3), correction=0)
    expected = F.batch_norm(x, mean, var, layer.weight, layer.bias, eps=layer.eps)
    torch.testing.assert_close(learner.BatchStatistics(layer, 2)(x), expected)
    torch.testing.assert_close(learner.BatchStatistics(layer, 6)(x),
                               learner.BatchStatistics(layer, None)(x))
    torch.testing.assert_close(learner.BatchStatistics(layer, fused=False)(x),
                               learner.BatchStatistics(layer)(x))
    plain = learner.BatchStatistics(nn.BatchNorm2d(3, affine=False), 2)(x)
    torch.testing.assert_close(plain, F.batch_norm(x, mean, var))


@pytest.mark.parametrize("counted, fused", [(None, True), (None, False), (1, True)])
def test_statistics_of_one_value_are_refused(counted, fused):
    """They would make every feature the layer's bias, or the others' enormous."""
    norm = learner.BatchStatistics(nn.BatchNorm1d(3), counted, fused)
    with pytest.raises(ValueError, match="^images: got 'one.*want at least 2: BatchNorm"):
        norm(torch.rand(2 if counted else 1, 3))
    norm(torch.rand(2, 3, 2)[: counted])


def test_a_gradient_through_a_gradient_through_vmap():
    """Here torch's fused operation is wrong (2.14); one by one it is right."""
    layer = lived(nn.BatchNorm2d(3)).double()
    x = torch.rand(5, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    x.requires_grad_()

    def second(norm):
        def f(x):
            gradient = grad(lambda x: norm(x).sin().square().sum())
            return gradient(x).cos().sum()
        return f

    stacked = vmap(second(learner.BatchStatistics(layer, fused=False)))(x).sum()
    in_turn = sum(second(learner.BatchStatistics(layer))(part) for part in x)
    torch.testing.assert_close(*(torch.autograd.grad(y, x)[0] for y in (stacked, in_turn)))


@pytest.mark.parametrize("transductive", [True, False, None])
def test_stacked_episodes_are_episodes_one_by_one(one, transductive):
    parts, w = learner.body(one, SHAPE, transductive, 3), learner.weights(one)
    support, query = noise(12).view(4, 3, *SHAPE), noise(20, 1).view(4, 5, *SHAPE)
    stacked = vmap(lambda s, q: parts.both(w, s, q))(support, query)
    for i in range(4):
        for got, want in zip(stacked, parts.both(w, support[i], query[i]), strict=True):
            torch.testing.assert_close(got[i], want, rtol=1e-4, atol=1e-5)


def test_nothing_is_hidden_in_the_function(one):
    """Weights alone decide; neither they nor the pool's buffers change by use."""
    before = one.digest()
    parts, w = learner.body(one, SHAPE), learner.weights(one)
    first = parts.logits(w, noise(5))
    parts.logits({k: t * 2 for k, t in w.items()}, noise(5, 1))
    assert torch.equal(parts.logits(w, noise(5)), first)
    assert one.digest() == before
    assert all(t.device.type == "meta" for t in parts.module.parameters())


def test_weights_in_and_out(pool):
    w = learner.weights(pool)
    again = learner.with_weights(pool, w)
    assert again.digest() == pool.digest()
    assert all(t.is_contiguous() for t in again.parameters.values())
    moved = learner.with_weights(pool, {k: t + 1 for k, t in w.items()})
    assert torch.equal(moved.flat(), pool.flat() + 1)


def test_a_stored_learner_is_made_once(one, tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    first = learner.stored(doubled, one, times=3.0)
    assert torch.equal(first.flat(), one.flat() * 3)
    assert learner.stored(doubled, one, times=3.0).digest() == first.digest()
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    learner.stored(doubled, one, times=2.0)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def doubled(pool, times):
    return pool.with_flat(pool.flat() * times)


# ---- the inner loop -----------------------------------------------------------------------------
def test_a_step_of_maml_on_a_linear_regression():
    """By hand: gradient (−0.5, −2), weights (0.05, 0.2), query loss 3.78125."""
    x, y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([1.0, 2.0])

    def loss(w):
        return (x @ w["w"] - y).square().mean() / 2

    for first_order, gradient in ((False, (-2.6125, -2.2)), (True, (-2.75, -2.75))):
        start = {"w": torch.zeros(2, requires_grad=True)}
        near = learner.adapt(loss, start, 1, 0.1, first_order)["w"]
        torch.testing.assert_close(near.detach(), torch.tensor([0.05, 0.2]))
        query = (near.sum() - 3).square() / 2
        assert query.item() == pytest.approx(3.78125)
        query.backward()
        torch.testing.assert_close(start["w"].grad, torch.tensor(gradient))


@few
@given(st.integers(0, 4), st.floats(0.01, 0.4), st.integers(0, 99))
def test_first_order_takes_the_gradient_at_the_end_of_the_walk(steps, lr, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(3, 3, generator=g)
    w = torch.rand(3, generator=g).requires_grad_()

    def loss(w):
        return (a @ w["w"]).square().sum() / 2 + w["w"].sin().sum()

    end = learner.adapt(loss, {"w": w}, steps, lr, first_order=True)["w"]
    loss({"w": end}).backward()
    at = end.detach().requires_grad_()
    loss({"w": at}).backward()
    torch.testing.assert_close(w.grad, at.grad)


def test_prototypes_are_a_linear_layer_by_hand():
    """f = (1, 2) and class means (0, 0), (2, 2): distances −5 and −1, linear form 0 and 4."""
    support = torch.tensor([[1.0, -1.0], [2.0, 1.0], [-1.0, 1.0], [2.0, 3.0]])
    weight, bias = learner.prototypes(support, torch.tensor([0, 1, 0, 1]), 2)
    logits = F.linear(torch.tensor([[1.0, 2.0]]), weight, bias)
    assert logits.tolist() == [[0.0, 4.0]]
    torch.testing.assert_close(logits.softmax(1), torch.tensor([[-5.0, -1.0]]).softmax(1))


@few
@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 99))
def test_prototypes_give_the_softmax_of_distances(ways, shots, size, seed):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(ways).repeat(shots)[torch.randperm(ways * shots, generator=g)]
    support = torch.randn(ways * shots, size, generator=g, dtype=torch.float64)
    query = torch.randn(6, size, generator=g, dtype=torch.float64)
    means = torch.stack([support[labels == k].mean(0) for k in range(ways)])
    expected = (-torch.cdist(query, means).square()).softmax(1)
    got = F.linear(query, *learner.prototypes(support, labels, ways)).softmax(1)
    torch.testing.assert_close(got, expected)


# ---- refusals -----------------------------------------------------------------------------------
class Softmaxed(Own):
    def forward(self, x):
        return super().forward(x).softmax(1)


@pytest.mark.parametrize("net", [nn.Sequential(nn.Conv2d(1, 3, 16), nn.Flatten()),
                                 nn.Linear(16, 3), Softmaxed()])
def test_a_learner_without_a_body_is_refused(net):
    with pytest.raises(ValueError, match="^learner: .*body for features"):
        learner.body(Pool.stack([net]), SHAPE)


def test_refusals(one):
    with pytest.raises(ValueError, match="^images: .*takes"):
        learner.body(one, (3, 16, 16))
    with pytest.raises(ValueError, match="^learner: .*a Pool"):
        learner.body(nn.Linear(2, 2), SHAPE)
    with pytest.raises(ValueError, match="^transductive"):
        learner.body(one, SHAPE, "yes")
    with pytest.raises(ValueError, match="^support: got None"):
        learner.body(one, SHAPE, False)
    with pytest.raises(ValueError, match="^learner: .*one network"):
        learner.require_one(one.repeat(2))
    with pytest.raises(ValueError, match="^learner"):
        learner.stored(doubled, None)
