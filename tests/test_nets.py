"""The architectures: counts of weights, shapes, refusals, fresh starts."""

import pytest
import torch
from small import Own
from torch import nn

from wlib.core import nets

NAMES = sorted(nets.ARCHITECTURES)


def count(net):
    return sum(p.numel() for p in net.parameters())


def test_R14_lenet_counts():
    assert count(nets.build("lenet")) == 61_706
    assert count(nets.build("lenet", padding=0)) == 44_426
    assert count(nets.build("lenet", channels=3, size=32)) == 62_006
    by_layer = [count(m) for m in nets.build("lenet").children() if count(m)]
    assert by_layer == [156, 2_416, 48_120, 10_164, 850]


@pytest.mark.parametrize(("name", "weights"), [("mlp", 52_650), ("conv4", 112_330),
                                               ("vgg", 72_666), ("resnet", 77_754)])
def test_counts_of_the_module_table(name, weights):
    assert count(nets.build(name)) == weights


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("classes", "channels", "size"), [(10, 1, 28), (3, 3, 32), (1, 2, 16)])
def test_every_architecture_maps_images_to_logits(name, classes, channels, size):
    net = nets.build(name, classes=classes, channels=channels, size=size).eval()
    assert net(torch.rand(2, channels, size, size)).shape == (2, classes)
    again = nets.build(**net.spec)
    assert str(again) == str(net)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 1, 5, 7), (3, 2, 9, 2), (0, 1, 4, 4)])
def test_fast_pooling_equals_torchs_bit_for_bit(shape):
    x = torch.randn(shape)
    pool, reference = nets.MaxPool2(), torch.nn.MaxPool2d(2)
    with torch.no_grad():
        assert torch.equal(pool(x), reference(x))
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    pool(a).square().sum().backward()
    reference(b).square().sum().backward()
    assert torch.equal(a.grad, b.grad)


def test_settings_change_the_network():
    assert nets.build("conv4", width=8)[0][0].out_channels == 8
    assert [m.out_features for m in nets.build("mlp", hidden=(5,)) if isinstance(m, nn.Linear)] \
        == [5, 10]
    assert count(nets.build("mlp", hidden=())) == 7_850
    assert len(nets.build("resnet", blocks=2).stage1) == 2


@pytest.mark.parametrize(("arguments", "named"), [
    ({"name": "lenett"}, "did you mean 'lenet'"), ({"name": 3}, "name"),
    ({"name": "lenet", "classes": 0}, "classes"), ({"name": "lenet", "channels": 1.5}, "channels"),
    ({"name": "lenet", "size": -3}, "size"), ({"name": "lenet", "size": 8}, "size"),
    ({"name": "conv4", "size": 8}, "size"), ({"name": "vgg", "size": 4}, "size"),
    ({"name": "conv4", "widht": 8}, "did you mean 'width'"),
    ({"name": "lenet", "hidden": (3,)}, "hidden"),
    ({"name": "conv4", "width": 0}, "width"), ({"name": "mlp", "hidden": (0,)}, "hidden"),
    ({"name": "mlp", "hidden": 3}, "hidden"), ({"name": "vgg", "widths": ()}, "widths"),
    ({"name": "resnet", "widths": (4, -1)}, "widths"), ({"name": "resnet", "blocks": 0}, "blocks"),
    ({"name": "lenet", "padding": -1}, "padding"),
])
def test_bad_settings_are_refused_by_name(arguments, named):
    with pytest.raises(ValueError, match=named):
        nets.build(**arguments)


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("spec", ["mlp", Own(), Own, lambda: nets.build("mlp", hidden=(3,))])
def test_fresh_depends_on_the_seed_alone(spec):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, other = weights(nets.fresh(spec, 0)), weights(nets.fresh(spec, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(6)
    assert torch.equal(one, weights(nets.fresh(spec, 0)))
    assert not torch.equal(one, other)


def test_fresh_leaves_the_readers_module_as_it_was_and_resets_attention():
    attention = nn.MultiheadAttention(4, 2)
    with torch.no_grad():
        attention.in_proj_weight.zero_()
    assert nets.fresh(attention, 0).in_proj_weight.abs().sum() > 0
    assert attention.in_proj_weight.abs().sum() == 0


def test_fresh_refuses_what_is_no_network():
    for bad in (3, None, lambda: "net"):
        with pytest.raises(ValueError, match="spec"):
            nets.fresh(bad, 0)


def test_devices():
    auto = nets.resolve_device("auto").type
    assert auto == ("cuda" if torch.cuda.is_available() else "cpu")
    assert nets.resolve_device("cpu") == nets.resolve_device(torch.device("cpu"))
    for bad in ("cpuu", None, 1.5):
        with pytest.raises(ValueError, match="device"):
            nets.resolve_device(bad)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="CUDA is not available"):
            nets.resolve_device("cuda")
