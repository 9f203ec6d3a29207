"""Cut networks against uncut ones with channels zeroed, and against Torch-Pruning's DepGraph."""

import copy

import pytest
import torch
from cutnets import Random, drawn, drawn_keep, fewer, lived, some, zeroed
from hypothesis import given
from hypothesis import strategies as st
from small import images
from torch import nn
from torchvision import models

from wlib.core import nets, train
from wlib.core.pool import Pool
from wlib.mda import cutting, selectors, wiring

# Every family of layers that torchvision's classifiers are made of; sizes that keep tests short.
TORCHVISION = {
    "alexnet": 64, "vgg11_bn": 32, "resnet18": 32, "resnet50": 32, "resnext50_32x4d": 32,
    "googlenet": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 32, "densenet121": 32,
    "squeezenet1_1": 32, "mnasnet0_5": 32, "efficientnet_b0": 32, "regnet_y_400mf": 32}
QUICK = ("mobilenet_v2", "googlenet")


def torchvision(name):
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    slow = "cpu" if name.startswith("regnet") else "meta"        # to draw weights that lived() sets
    with torch.device(slow):
        net = getattr(models, name)(num_classes=3, **settings)
    return lived(net.to_empty(device="cpu"))


@fewer
@given(drawn, st.integers(0, 999))
def test_the_cut_network_is_the_full_one_with_dropped_channels_zeroed(net, seed):
    wires, (x, _) = wiring.trace(net), some(4)
    keep = drawn_keep(wires, seed)
    part = cutting.narrow(net, keep)
    torch.testing.assert_close(part(x), zeroed(net, wires, keep)(x), rtol=1e-5, atol=1e-5)
    assert (cutting.cost(part, x[0]).macs < cutting.cost(net, x[0]).macs) == (not keep.all())


@fewer
@given(drawn)
def test_keeping_everything_is_the_identity(net):
    wires, (x, _) = wiring.trace(net), some(4)
    before = {k: t.clone() for k, t in net.state_dict().items()}
    part = cutting.narrow(net, torch.ones(wires.wires, dtype=torch.bool))
    assert all(torch.equal(before[k], t) for k, t in part.state_dict().items())
    torch.testing.assert_close(part(x), net(x), rtol=1e-4, atol=1e-5)
    for tensor in part.parameters():
        tensor.data.zero_()
    assert all(torch.equal(before[k], t) for k, t in net.state_dict().items())


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.book)
                                  for n in TORCHVISION])
def test_torchvisions_networks_pass_the_identity_tests(name):
    net, size = torchvision(name), TORCHVISION[name]
    wires = wiring.trace(net)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    keep = drawn_keep(wires, 1)
    part = cutting.narrow(net, keep, wires)
    with torch.no_grad():
        full = net(x)
        wanted = zeroed(net, wires, keep)(x)
        near = dict(rtol=1e-4, atol=1e-5 * wanted.abs().max().item())
        torch.testing.assert_close(cutting.narrow(net, torch.ones_like(keep), wires)(x), full,
                                   **near)
        torch.testing.assert_close(part(x), wanted, **near)
        assert (wanted - full).abs().max() > 1e-3 * full.abs().max()
    smaller, whole = (cutting.cost(n, (3, size, size)) for n in (part, net))
    assert smaller.macs < 0.6 * whole.macs and smaller.weights < 0.6 * whole.weights
    if name == "googlenet":                          # without its auxiliary heads it still trains
        part.train()(x)[0].sum().backward()
        assert part.aux1 is None and part.fc.weight.grad is not None and net.aux1 is not None


def depgraph(net, wires, keep, shape):
    """The same cut by Torch-Pruning: one group for each stream, from its first writer."""
    tp = pytest.importorskip("torch_pruning")
    net = copy.deepcopy(net)
    graph = tp.DependencyGraph().build_dependency(net, torch.randn(1, *shape), verbose=False)
    streams = selectors.streams(wires)
    for stream in range(int(streams.max()) + 1):
        name, layer = next((n, w) for n, w in wires.layers.items()
                           if w.kind != "norm" and (streams[w.writes] == stream).any())
        drop = (streams[layer.writes] == stream) & ~keep[layer.writes]
        module = net.get_submodule(name)
        cut = (tp.prune_linear_out_channels if layer.kind == "fc" else
               tp.prune_depthwise_conv_out_channels if layer.kind == "grouped"
               and module.groups == module.out_channels else tp.prune_conv_out_channels)
        if drop.any():
            graph.get_pruning_group(module, cut, idxs=drop.nonzero().flatten().tolist()).prune()
    return net


@pytest.mark.filterwarnings("ignore")                # what Torch-Pruning calls is deprecated
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.book)
                                  for n in ("resnet50", "googlenet", "densenet121")]
                         + ["mobilenet_v2"])
def test_torch_pruning_cuts_the_same(name):
    """With one mask a stream DepGraph gives the same network."""
    net = torchvision(name)
    wires, x = wiring.trace(net), torch.randn(1, 3, 32, 32)
    keep = drawn_keep(wires, 2)
    theirs = depgraph(net, wires, keep, x[0].shape)
    with torch.no_grad():
        torch.testing.assert_close(cutting.narrow(net, keep, wires)(x), theirs(x),
                                   rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_torch_pruning_fails_where_a_convolution_has_groups_of_several_channels():
    """Why the slicing is our own (ResNeXt and RegNet fail the same way)."""
    net = lived(nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1, groups=2), nn.ReLU(),
                              nn.Conv2d(8, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    wires, x = wiring.trace(net), torch.randn(2, 1, 2, 2)
    keep = torch.ones(wires.wires, dtype=torch.bool)
    keep[wires.layers["1"].writes[0]] = False                              # the first group
    torch.testing.assert_close(cutting.narrow(net, keep)(x), zeroed(net, wires, keep)(x))
    with pytest.raises(Exception):  # noqa: B017
        depgraph(net, wires, keep, (1, 2, 2))(x)


def test_a_cut_network_is_an_ordinary_one(tmp_path):
    net = lived(nets.build("resnet", classes=3))
    wires = wiring.trace(net)
    part = cutting.narrow(net, drawn_keep(wires, 3))
    x = torch.rand(4, 1, 28, 28)
    assert type(part) is type(net) and not hasattr(part, "spec") and part.image_size == 28
    torch.testing.assert_close(Pool.stack([part]).logits(x)[0], part(x))
    exported = torch.export.export(part, (x,)).module()
    torch.testing.assert_close(exported(x), part(x))
    torch.save(part.state_dict(), tmp_path / "part.pt")
    other = cutting.narrow(net, drawn_keep(wires, 3))
    other.load_state_dict(torch.load(tmp_path / "part.pt"))
    assert torch.equal(other(x), part(x))
    fitted = train.fit(Pool.stack([part]), images(size=28), epochs=1, device="cpu")
    assert not torch.equal(fitted.flat(), Pool.stack([part]).flat())


def test_cost_counts_what_can_be_counted_by_hand():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2))
    assert cutting.cost(net, (1, 5, 5)) == (4 * 9 + 4 + 8 + 74, 4 * 9 * 9 + 72)
    assert cutting.cost(net, torch.zeros(1, 5, 5)).macs == 396 and net.training
    grouped = nn.Sequential(nn.Conv2d(4, 8, 1, groups=2, bias=False))
    assert cutting.cost(grouped, (4, 3, 3)) == (16, 16 * 9)


def test_frozen_weights_stay_frozen():
    net = lived(Random(["residual"], 0))
    net.stem.requires_grad_(False)
    part = cutting.narrow(net, drawn_keep(wiring.trace(net), 0))
    assert not part.stem[0].weight.requires_grad and part.head.weight.requires_grad


def test_no_layer_can_be_emptied_and_choices_must_fit():
    net = Random(["branches"], 0)
    wires = wiring.trace(net)
    keep = torch.ones(wires.wires, dtype=torch.bool)
    keep[wires.layers["hidden"].writes] = False
    with pytest.raises(ValueError, match="no output of hidden"):
        cutting.narrow(net, keep)
    for bad in (keep[:-1], keep.float()):
        with pytest.raises(ValueError, match="keep"):
            cutting.narrow(net, bad)
