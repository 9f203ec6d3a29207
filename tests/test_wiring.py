"""The wiring of hand-made networks, of torchvision's, and what is refused by name."""

import pytest
import torch
from cutnets import KINDS, Random, drawn, fewer
from hypothesis import given
from small import Own
from torch import nn
from torchvision import models

from wlib.core import nets
from wlib.mda import selectors, wiring


def shape_only(name, **settings):
    """A torchvision network without the cost of its weights: tracing needs none."""
    with torch.device("meta"):
        return getattr(models, name)(num_classes=3, **settings)


def same(a, b):
    return a.tolist() == b.tolist()


def test_a_chain_hands_every_layers_outputs_to_the_next():
    wires = wiring.trace(nets.build("lenet"))
    assert list(wires.layers) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    layers = list(wires.layers.values())
    assert layers[0].reads is None
    for above, below in zip(layers[1:], layers[:-1], strict=True):
        assert same(above.reads, below.writes)
    assert [layer.kind for layer in layers] == ["conv", "conv", "fc", "fc", "fc"]
    assert wires.layers["fc1"].taps == 25 and len(wires.layers["fc1"].features) == 400
    assert wires.layers["fc1"].features[:26].tolist() == [6] * 25 + [7]
    assert same(wires.outputs, wires.layers["fc3"].writes) and wires.head == "fc3"
    assert wires.wires == 6 + 16 + 120 + 84 + 10 and int(selectors.streams(wires).max()) == 4


def test_the_order_is_that_of_running_not_of_definition():
    wires = wiring.trace(Own())
    assert list(wires.layers) == ["conv", "norm", "head"] and wires.defined == ("head", "conv")
    assert wires.norm_of == {"conv": "norm"} and wires.head == "head"


def test_a_residual_stream_is_one_set_of_wires():
    wires = wiring.trace(shape_only("resnet18"))
    for stage in ("layer1", "layer2"):
        one, two = (wires.layers[f"{stage}.{i}.conv2"].writes for i in (0, 1))
        assert same(one, two)
    assert same(wires.layers["layer2.0.downsample.0"].writes, wires.layers["layer2.0.conv2"].writes)
    assert same(wires.layers["conv1"].writes, wires.layers["layer1.1.conv2"].writes)
    assert same(wires.layers["layer2.0.conv1"].reads, wires.layers["conv1"].writes)
    assert not set(wires.layers["layer2.0.conv1"].writes.tolist()) & set(
        wires.layers["layer2.0.conv2"].writes.tolist())


def test_a_concatenation_lines_up_wires_and_remembers_its_pieces():
    net = Random(["branches"], seed=1, flat=False)
    wires, block = wiring.trace(net), net.blocks[0]
    left, stem, right = (wires.layers[n].writes for n in
                         ("blocks.0.left.0", "stem.0", "blocks.0.right.0"))
    assert same(wires.layers["reduce"].reads, torch.cat([left, stem, right]))
    assert wires.layers["reduce"].pieces == (len(left), len(stem), len(right))
    assert sum(wires.layers["reduce"].pieces) == block.width


def test_a_group_of_a_convolution_is_one_wire():
    net = nn.Sequential(nn.Conv2d(1, 6, 1), nn.Conv2d(6, 12, 1, groups=3), nn.Conv2d(12, 2, 1),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten())
    wires = wiring.trace(net)
    assert wires.layers["1"].reads.tolist() == [0, 0, 1, 1, 2, 2]
    assert wires.layers["1"].writes.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert wires.head is None and wires.classes == 2      # averaging lies between head and logits
    assert not wires.layers["1"].votes


def test_streams_are_what_one_set_of_layers_writes():
    net = Random(["residual", "branches"], seed=3)
    wires = wiring.trace(net)
    for name in ("stem.0", "blocks.0.one", "blocks.1.left.0"):
        assert len(selectors.streams(wires)[wires.layers[name].writes].unique()) == 1
    assert same(selectors.streams(wires)[wires.layers["stem.0"].writes],
                selectors.streams(wires)[wires.layers["blocks.0.two"].writes])


@fewer
@given(drawn)
def test_every_layer_is_found_and_the_network_left_as_it_was(net):
    net.train()
    modes = [m.training for m in net.modules()]
    wires = wiring.trace(net)
    assert [m.training for m in net.modules()] == modes and net.training
    weighted = {name for name, m in net.named_modules() if next(m.parameters(recurse=False), None)
                is not None}
    assert set(wires.layers) == weighted and not wires.unused
    for name, layer in wires.layers.items():
        module = net.get_submodule(name)
        width = getattr(module, "out_channels", None) or getattr(module, "out_features", None)
        assert len(layer.writes) == (width or module.num_features)
        assert int(layer.writes.max()) < wires.wires


def test_googlenets_auxiliary_heads_are_not_reached():
    wires = wiring.trace(shape_only("googlenet", init_weights=False))
    assert wires.unused == ("aux1", "aux2")
    assert len(wires.layers["inception4a.branch1.conv"].pieces) == 4


def test_all_offline_architectures_and_blocks_have_wires():
    for name in nets.ARCHITECTURES:
        assert wiring.trace(nets.build(name)).classes == 10
    assert wiring.trace(Random(sorted(KINDS), 0)).classes == 4


# ---- refusals ---------------------------------------------------------------------------------
class Data(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


class Shaped(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 1), nn.Linear(18, 2)

    def forward(self, x):
        return self.fc(self.conv(x).view(-1, 18))


class Sized(Shaped):
    def forward(self, x):
        x = self.conv(x)
        return self.fc(x.view(x.size(0), -1))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return self.conv(self.conv(x)).mean((2, 3))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.mix = nn.Conv2d(1, 4, 1), nn.MultiheadAttention(4, 2)

    def forward(self, x):
        x = self.conv(x).flatten(2).permute(2, 0, 1)
        return self.mix(x, x, x)[0].mean(0)


def mixing(layer):
    return nn.Sequential(nn.Conv2d(1, 4, 1), layer, nn.Flatten(), nn.Linear(36, 2))


@pytest.mark.parametrize(("net", "words"), [
    (mixing(nn.GroupNorm(2, 4)), r"1 \(GroupNorm\).*several channels"),
    (mixing(nn.LayerNorm([4, 3, 3])), r"1 \(LayerNorm\).*all channels"),
    (mixing(nn.Softmax(1)), r"1 \(Softmax\)"),
    (nn.Sequential(Data()), r"0 \(Data\).*look at data"),
    (nn.Sequential(Shaped()), r"view in 0 \(Shaped\).*flatten"),
    (Twice(), r"conv \(Conv2d\).*twice"),
    (nn.Sequential(Attention()), r"0.mix \(MultiheadAttention\).*attention"),
    (nn.ReLU(), "logits"),
    (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Linear(5, 2)), "other axes than batch and channels"),
    (nn.Sequential(nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)),
     r"3 \(Linear\).*5 features where 4"),
    (nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(1, 4, 1))), "computed from"),
    (mixing(models.convnext.LayerNorm2d(4)), "LayerNorm2d.*all channels"),
    ("lenet", "an nn.Module")])
def test_what_cannot_be_cut_is_refused_by_name(net, words):
    with pytest.raises(ValueError, match=words):
        wiring.trace(net)


def test_a_flattening_by_view_can_be_cut_unless_its_width_is_a_number():
    assert wiring.trace(Sized()).layers["fc"].taps == 9


def test_bad_samples_are_refused():
    x, y = torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 2, 1])
    wiring.check_samples(x, y, 3)
    for bad in ((x.to(torch.uint8), y), (x[:0], y[:0]), (x, y.float()), (x, y[:2]), (x, y - 1),
                (x, y + 1), (x / 0, y)):
        with pytest.raises(ValueError, match="images|labels"):
            wiring.check_samples(*bad, 3)
