"""What can be told apart is told apart, what is the same stays the same, the rest is refused."""

import collections
import copy
import dataclasses
import enum
import functools
import os
import pathlib
import re
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import Own, lived
from torch import nn
from torchvision.models import resnet18, vit_b_16

from wlib.core import nets
from wlib.core.pool import Pool
from wlib.store import identity


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Settings:
    rate: float = 0.1
    rest: object = None


class Free:
    def __init__(self, value):
        self.value = value

    def method(self, x):
        return x


class Slots:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


Point = collections.namedtuple("Point", "x y")


def cycle():
    around = [1]
    around.append(around)
    return around


def times(k):
    return lambda x: k * x


# No two have one description.
VALUES = {
    "numbers": lambda: [1, True, 1.0, 1j, "1", b"1", bytearray(b"1"), np.float32(1), np.float64(1),
                        np.int64(1), np.bool_(True), Number.ONE, torch.tensor(1), np.array(1)],
    "floats": lambda: [0.0, -0.0, float("nan"), float("inf"), 1e-300],
    "containers": lambda: [[1, 2], (1, 2), {1, 2}, frozenset({1, 2}), {1: 2}, {"1": 2},
                           [[1], 2], [[1, 2]], [[1], [2]], [], (), {}, set(), [None], "", None,
                           collections.deque([1, 2]), torch.Size([1, 2]), Point(1, 2),
                           collections.OrderedDict({1: 2}), collections.Counter({1: 2}),
                           collections.defaultdict(int, {1: 2}), range(1, 3), slice(1, 3), cycle()],
    "orders": lambda: [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    "objects": lambda: [pathlib.Path("a"), "a", re.compile("a"), re.compile("b"), Color.RED,
                        Color.BLUE, Settings(), Settings(0.2), Settings(rest=[1]), Free(1), Free(2),
                        Slots(1), Slots(2), Free([1]), Free(Free(1)), Point(1, 3), ...],
    "tensors": lambda: [torch.ones(2), torch.ones(2).double(), torch.ones(2, 1), torch.zeros(2),
                        np.ones(2), np.ones(2, "float32"), np.zeros(2), np.array(["a", 1], object)],
    "names": lambda: [torch.float32, "torch.float32", torch.float64, torch.device("cpu"), "cpu",
                      np.dtype("float32"), np, torch, int, float, Free, Settings],
    "functions": lambda: [F.relu, torch.relu, torch.tanh, F.tanh, torch.Tensor.tanh, np.exp, np.sin,
                          np.mean, len, F.max_pool2d, F.adaptive_max_pool2d, times(1), times(2),
                          functools.partial(F.leaky_relu, negative_slope=0.1),
                          functools.partial(F.leaky_relu, negative_slope=0.2), lambda x: x,
                          Free(1).method, Free(2).method, Free.method, "".join, ",".join],
    "networks": lambda: [lived(nn.Linear(2, 2), 0), lived(nn.Linear(2, 2), 1), nn.ReLU(), nn.Tanh(),
                         nn.ReLU().eval(), [nn.ReLU()], Own().requires_grad_(False)],
}


@pytest.fixture(autouse=True)
def same_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("kind", VALUES)
def test_what_differs_is_told_apart_and_what_is_equal_is_not(kind):
    told = []
    for _ in range(2):
        torch.manual_seed(0)
        told.append([repr(identity.describe(value)) for value in VALUES[kind]()])
    assert told[0] == told[1] and len(set(told[0])) == len(told[0])


def test_aliases_and_interning_make_no_difference():
    inner = [1]
    assert identity.describe([inner, inner]) == identity.describe([[1], [1]]) == [[1], [1]]
    assert identity.describe(["ab", "".join("ab")]) == ["ab", "ab"]


def test_descriptions_are_the_same_in_every_process():
    code = ("import sys; sys.path.insert(0, 'tests'); import torch, test_identity as t;"
            "print([(torch.manual_seed(0), [t.identity.describe(v) for v in make()])[1:]"
            " for make in [*t.VALUES.values(), t.NETS]])")
    found = {subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                            text=True, cwd=pathlib.Path(__file__).parents[1],
                            env=os.environ | {"PYTHONHASHSEED": seed}).stdout for seed in "12"}
    assert len(found) == 1 and len(found.pop()) > 1000


@pytest.mark.parametrize("value", [
    object(), threading.Lock(), (i for i in [1]), sys.stdout, torch.eye(2).to_sparse(),
    torch.ones(2, device="meta"), torch.ones(2).as_subclass(type("Odd", (torch.Tensor,), {}))])
def test_what_is_not_understood_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^thing: got"):
        identity.describe(value, "thing")
    with pytest.raises(ValueError, match=r"^thing\[1\]\['a'\]\[0\]: got"):
        identity.describe([1, {"a": (value,)}], "thing")
    for network in (Net(value), nn.Sequential(Net([value]))):
        with pytest.raises(ValueError, match=r"^network\.(0\.)?extra(\[0\])?: got"):
            identity.architecture(network)


# ---- networks ---------------------------------------------------------------------------------
class Net(nn.Module):
    def __init__(self, extra=None):
        super().__init__()
        self.layer, self.extra = nn.Linear(2, 2), extra

    def forward(self, x):
        return self.layer(x)

    def doubled(self, x):
        return 2 * x


def changed(change):
    net = Net()
    change(net)
    return net


def tied():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    return net


def shared():
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, layer)


def NETS():
    """Networks of which no two are one architecture, though their weights may be equal."""
    encoder = functools.partial(nn.TransformerEncoderLayer, 4, 2, 8, 0.0)
    return [
        *[Net(value) for kind in sorted(set(VALUES) - {"networks"}) for value in VALUES[kind]()],
        Net(nn.Linear(2, 2)), Net(nn.ReLU()), Net([nn.ReLU()]), Net([nn.ReLU().eval()]),
        changed(lambda n: n.layer.register_forward_hook(times(1))),
        changed(lambda n: n.layer.register_forward_hook(times(2))),
        changed(lambda n: n.register_forward_hook(times(1))),
        changed(lambda n: n.register_forward_hook(times(1), always_call=True)),
        changed(lambda n: n.register_forward_hook(times(1), with_kwargs=True)),
        changed(lambda n: n.layer.register_forward_pre_hook(times(1))),
        changed(lambda n: n.layer.register_full_backward_hook(times(1))),
        changed(lambda n: n.register_state_dict_post_hook(times(1))),
        changed(lambda n: n.layer.weight.requires_grad_(False)),
        changed(lambda n: n.register_buffer("more", torch.ones(2))),
        changed(lambda n: n.register_buffer("more", torch.ones(2), persistent=False)),
        changed(lambda n: n.register_buffer("more", None)),
        changed(lambda n: setattr(n, "forward", times(1))),
        changed(lambda n: setattr(n, "forward", n.doubled)),
        changed(lambda n: setattr(n, "alias", n.layer)), changed(Net.double),
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), tied(), shared(),
        nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Sequential(nn.Linear(2, 3), nn.Tanh()),
        nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3, padding=1),
        nn.Conv2d(1, 1, 3, padding="same"), nn.Conv2d(1, 1, 3, bias=False),
        nn.BatchNorm2d(2), nn.BatchNorm2d(2, eps=1e-3), nn.BatchNorm2d(2, momentum=None),
        nn.LSTM(2, 3), nn.LSTM(2, 3, batch_first=True), nn.GRU(2, 3),
        encoder(), encoder(activation="gelu"), encoder(norm_first=True), encoder(activation=F.silu),
        encoder(layer_norm_eps=1e-3), encoder(batch_first=True),
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
        nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))]


def test_one_architecture_is_equal_weights_aside():
    for one, other in zip(NETS(), NETS(), strict=True):
        assert identity.difference(one, one) is None
        assert identity.difference(one, other) is None, one
        assert identity.architecture(one) == identity.architecture(other)


def test_other_architectures_differ():
    networks = NETS()
    found = [identity.architecture(net) for net in networks]
    assert len(set(found)) == len(found)
    for one, other in zip(networks, networks[1:], strict=False):
        assert identity.difference(one, other) is not None


@pytest.mark.parametrize("change, path", [
    (lambda n: setattr(n[1], "extra", 2), "1.extra"), (lambda n: n.append(nn.ReLU()), "_modules"),
    (lambda n: setattr(n[0], "in_features", 5), "0.in_features"),
    (lambda n: n[1].layer.bias.requires_grad_(False), "1.layer.bias")])
def test_the_difference_is_named(change, path):
    one = nn.Sequential(nn.Linear(2, 2), Net(1))
    other = copy.deepcopy(one)
    change(other)
    assert identity.difference(one, other) == path


@pytest.mark.parametrize("make", [Own, nets.build, resnet18, lambda: vit_b_16(image_size=32),
                                  lambda: nn.LSTM(2, 3), tied, shared,
                                  lambda: nn.Transformer(4, 2, 1, 1, 8, batch_first=True)],
                         ids=["own", "lenet", "resnet", "vit", "lstm", "tied", "shared", "former"])
def test_copies_training_and_weights_are_no_difference(make):
    net = make() if make is not nets.build else make("lenet")
    other = lived(copy.deepcopy(net), 1)
    assert identity.difference(net.train(), other.eval()) is None
    assert identity.architecture(net) == identity.architecture(other)


def test_parts_of_the_network_itself_are_told_by_name():
    """So references of every kind cost nothing and end no recursion."""
    def knotted():
        net = Net()
        net.extra = [net, net.layer.weight, weakref.ref(net), net.doubled]
        net.layer.parent = (net,)
        outside = Net()
        outside.extra, net.more = [net], [outside]
        return net

    torch.manual_seed(0)
    one = knotted()
    torch.manual_seed(0)
    assert identity.difference(one, knotted()) is None
    assert identity.describe(one) != identity.describe(knotted())


def test_classes_need_a_source_for_a_key_but_not_to_be_compared():
    scope = {"Net": Net, "__name__": "__main__"}
    exec("class Unread(Net):\n    def forward(self, x):\n        return x", scope)
    one, other = scope["Unread"](), scope["Unread"]()
    assert identity.difference(one, other) is None and identity.difference(one, Net()) == ""
    assert len(Pool.stack([one, other])) == 2
    with pytest.raises(ValueError, match="network: Unread.*source cannot be read"):
        identity.architecture(one)


def test_lazy_layers_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"network\.0\.weight.*run one batch through it first"):
        identity.architecture(nn.Sequential(nn.LazyLinear(3)))
