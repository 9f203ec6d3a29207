"""Rival selectors: scores by hand or by a second way, and choices of equal width."""

import pytest
import torch
from cutnets import drawn, fewer, found, lived, some
from hypothesis import given
from hypothesis import strategies as st
from small import Own
from torch import nn

from wlib import mda
from wlib.core import nets
from wlib.mda import cutting, selectors, wiring


@pytest.fixture
def vgg():
    return lived(nets.build("vgg", classes=4, channels=2, size=8, widths=(5, 6)))


def test_scores_of_filters_by_hand():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[0., 0], [3, 4], [0, -1]]))
        net[2].weight.zero_()
    assert selectors.l1(net).tolist() == [0, 7, 1, 0, 0]
    far = [5 + 1, 5 + 34 ** 0.5, 1 + 34 ** 0.5]
    assert selectors.geometric_median(net)[:3].tolist() == pytest.approx(far, abs=1e-3)


def test_a_residual_streams_score_is_the_mean_of_its_writers():
    net = lived(nets.build("resnet", classes=2, widths=(4, 6)))
    wires = wiring.trace(net)
    name = "stage1.0.conv2"
    writers = [net.stem[0].weight, net.get_submodule(name).weight]
    wanted = sum(w.detach().flatten(1).abs().sum(1) for w in writers) / 2
    torch.testing.assert_close(selectors.l1(net)[wires.layers[name].writes], wanted)


def test_mean_activation_is_that_behind_the_rectifier(vgg):
    x, _ = some(4, 3, (2, 8, 8))
    seen = {}
    hook = vgg.get_submodule("block1.2").register_forward_hook(
        lambda m, i, o: seen.update(a=o.detach()))
    scores, wires = selectors.mean_activation(vgg, x), wiring.trace(vgg)
    hook.remove()
    torch.testing.assert_close(scores[wires.layers["block1.0"].writes], seen["a"].mean((0, 2, 3)))
    lenet = lived(nets.build("lenet", classes=3))
    images = torch.rand(5, 1, 28, 28)
    pooled = {}
    lenet.pool2.register_forward_hook(lambda m, i, o: pooled.update(a=o.detach()))
    scores = selectors.mean_activation(lenet, images)
    torch.testing.assert_close(scores[wiring.trace(lenet).layers["conv2"].writes],
                               pooled["a"].mean((0, 2, 3)))


def test_taylor_is_the_first_order_effect_of_a_channel():
    net = lived(Own()).double()
    x, y = torch.randn(6, 1, 5, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    a = net.norm(net.conv(x)).relu().mean((2, 3)).detach()                # what the head reads

    def loss(a):
        return nn.functional.cross_entropy(net.head(a), y, reduction="none")

    effect = torch.zeros(4)
    for p in range(4):
        step = torch.zeros(4).double()
        step[p] = 1e-6
        gradient = (loss(a * (1 + step)) - loss(a * (1 - step))) / 2e-6
        effect[p] = gradient.abs().mean()
    scores, wires = selectors.taylor(net, x, y), wiring.trace(net)
    torch.testing.assert_close(scores[wires.layers["conv"].writes], effect, rtol=1e-4, atol=1e-6)
    assert all(p.grad is None for p in net.parameters())
    few_classes = selectors.taylor(net, x[:2], y[:2], classes=[0, 1])
    assert few_classes.shape == scores.shape
    with pytest.raises(ValueError, match="labels"):
        selectors.taylor(net, x, y, classes=[0, 1])


@pytest.mark.filterwarnings("ignore")
def test_group_norm_of_a_chain_is_the_size_of_what_leaves_with_a_channel():
    pytest.importorskip("torch_pruning")
    net = lived(nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 1),
                              nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    scores = selectors.group_norm(net, (1, 6, 6))
    size = sum(t.detach().square().sum() for t in (net[0].weight[0], net[2].weight[:, 0]))
    other = sum(t.detach().square().sum() for t in (net[0].weight[1], net[2].weight[:, 1]))
    assert (scores[0] / scores[1]).item() == pytest.approx(float(size / other), rel=0.5)
    assert len(scores) == 9 and scores[:6].min() > 0
    resnet = lived(nets.build("resnet", classes=2))
    assert (selectors.group_norm(resnet, (1, 28, 28)) > 0).float().mean() > 0.9


@fewer
@given(drawn, st.integers(0, 99))
def test_choices_are_as_wide_as_the_part_they_are_compared_with(net, seed):
    wires = wiring.trace(net)
    keep, _ = mda.kept(wires, found(net, seed=seed), [0, 2])
    rival = selectors.pick(wires, selectors.random(net, seed), like=keep)
    part, other = (cutting.narrow(net, k, wires) for k in (keep, rival))
    shapes = [[tuple(p.shape) for p in n.parameters()] for n in (part, other)]
    assert shapes[0] == shapes[1] and torch.equal(rival[wires.outputs], keep[wires.outputs])
    assert torch.equal(selectors.pick(wires, keep.float(), like=keep), keep)


def test_shares_keep_the_best_of_every_stream(vgg):
    wires, scores = wiring.trace(vgg), selectors.l1(vgg)
    assert selectors.pick(wires, scores, fraction=1.0).all()
    half = selectors.pick(wires, scores, fraction=0.5)
    for layer in wires.layers.values():
        if layer.kind == "conv":
            own = scores[layer.writes]
            assert own[half[layer.writes]].min() > own[~half[layer.writes]].max()
            assert int(half[layer.writes].sum()) == round(0.5 * len(own))
    assert half[wires.outputs].all()
    least = selectors.pick(wires, scores, fraction=1e-9)
    assert cutting.narrow(vgg, least)(torch.rand(1, 2, 8, 8)).shape == (1, 4)


def test_a_budget_of_operations_is_used_and_kept(vgg):
    full = cutting.cost(vgg, (2, 8, 8)).macs
    scores = selectors.l1(vgg)
    keep = selectors.pick_macs(vgg, scores, full // 2, (2, 8, 8))
    used = cutting.cost(cutting.narrow(vgg, keep), (2, 8, 8)).macs
    assert 0.3 * full < used <= full // 2
    assert selectors.pick_macs(vgg, scores, full, (2, 8, 8)).float().mean() > 0.95
    tiny = selectors.pick_macs(vgg, scores, 1, (2, 8, 8))
    assert torch.equal(tiny, selectors.pick(wiring.trace(vgg), scores, fraction=1e-9))


@pytest.mark.filterwarnings("ignore")                # what Torch-Pruning calls is deprecated
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_scores_of_other_types_of_numbers_are_the_same_scores(vgg, dtype):
    x, y = some(4, 3, (2, 8, 8))
    ways = {"l1": selectors.l1, "median": selectors.geometric_median,
            "activation": lambda n: selectors.mean_activation(n, x),
            "taylor": lambda n: selectors.taylor(n, x, y)}
    try:
        import torch_pruning  # noqa: F401
        ways["group norm"] = lambda n: selectors.group_norm(n, x[0])
    except ImportError:
        pass
    wanted = {name: score(vgg) for name, score in ways.items()}
    other = vgg.to(dtype)
    for name, score in ways.items():
        near = 1e-4 if dtype == torch.float64 else 0.1
        torch.testing.assert_close(score(other), wanted[name], rtol=near,
                                   atol=near * wanted[name].max().item())


def test_random_scores_depend_on_the_seed_alone(vgg):
    a, b, c = (selectors.random(vgg, seed) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_bad_choices_are_refused(vgg):
    wires, scores = wiring.trace(vgg), selectors.l1(vgg)
    for settings in ({}, {"like": scores > 0, "fraction": 0.5}, {"fraction": 0}, {"fraction": 1.5},
                     {"like": scores}):
        with pytest.raises(ValueError, match="like|fraction"):
            selectors.pick(wires, scores, **settings)
    with pytest.raises(ValueError, match="scores"):
        selectors.pick(wires, scores[:-1], fraction=0.5)
