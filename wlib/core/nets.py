"""The architectures by name: `build("lenet", classes=10, channels=1)`.

| name | what | weights at 28×28, 1 channel, 10 classes |
|---|---|---|
| `mlp` | two hidden layers | 64-32: 52,650 |
| `lenet` | LeNet-5 with ReLU and max pooling | 61,706 |
| `conv4` | four convolutions of equal width, the few-shot standard | 64 wide: 112,330 |
| `vgg` | a small VGG: three blocks of two convolutions with BatchNorm | 16-32-64: 72,666 |
| `resnet` | a small ResNet of torchvision's basic blocks | 16-32-64: 77,754 |
"""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from wlib.check import did_you_mean, require, require_one_of, whole


class Network(nn.Sequential):
    """A stack of named layers that remembers the `spec` it was built from."""

    spec: dict


class MaxPool2(nn.MaxPool2d):
    """`nn.MaxPool2d(2)`, bit for bit, ten times faster on a CPU where no gradient is asked for.

    torch's kernel also finds where each maximum lies, which only the backward pass needs; it takes
    half of a LeNet's forward time. Two elementwise maxima over slices do without.
    """

    def __init__(self):
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return super().forward(x)
        height, width = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2     # an odd rest is dropped
        rows = torch.maximum(x[..., 0:height:2, :width], x[..., 1:height:2, :width])
        return torch.maximum(rows[..., 0::2], rows[..., 1::2])


def build(name: str, classes: int = 10, channels: int = 1, size: int = 28, **settings) -> Network:
    """A freshly initialized network (from torch's global generator, as in any `nn.Module`).

    Takes images (B, channels, size, size), gives logits (B, classes). Settings by architecture:
    `mlp` hidden=(64, 32); `lenet` padding=2 at 28×28, else 0; `conv4` width=64;
    `vgg` widths=(16, 32, 64); `resnet` widths=(16, 32, 64), blocks=1.
    """
    require_one_of("name", name, ARCHITECTURES)
    for argument, value in (("classes", classes), ("channels", channels), ("size", size)):
        _require_count(argument, value)
    maker = ARCHITECTURES[name]
    known = maker.__kwdefaults__ or {}
    for setting in settings:
        if setting not in known:
            raise ValueError(f"{setting}: not a setting of {name!r}, want one of "
                             f"{', '.join(known)}{did_you_mean(setting, known)}")
    for argument in {"width", "blocks"} & set(settings):
        _require_count(argument, settings[argument])
    for argument in {"hidden", "widths"} & set(settings):
        widths = settings[argument]
        require(isinstance(widths, (tuple, list)) and (argument == "hidden" or len(widths) > 0),
                argument, widths, "a tuple of widths")
        for width in widths:
            _require_count(argument, width)
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in (known | settings).items()}
    net = Network(maker(classes, channels, size, **settings))
    net.spec = {"name": name, "classes": classes, "channels": channels, "size": size, **settings}
    return net


def _require_count(argument, value):
    require(whole(value, 1), argument, value,
            "a whole number ≥ 1")


def fresh(spec: str | nn.Module | Callable[[], nn.Module], seed: int, **settings) -> nn.Module:
    """A network of this kind whose initial weights depend on `seed` alone.

    `spec` is a name for `build`, a module (copied; its layers' own `reset_parameters` initialize
    it anew, and a weight that no layer resets stays as it is), or a function that returns a
    module. The global random state is left as it was.
    """
    require(isinstance(spec, (str, nn.Module)) or callable(spec), "spec", spec,
            "an architecture's name, an nn.Module or a function that returns one")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(spec, str):
            return build(spec, **settings)
        if not isinstance(spec, nn.Module):
            net = spec()
            require(isinstance(net, nn.Module), "spec()", net, "an nn.Module")
            return net
        net = copy.deepcopy(spec)
        for module in net.modules():
            for reset in ("reset_parameters", "_reset_parameters"):   # the latter: attention
                getattr(module, reset, lambda: None)()
        return net


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """'auto' is CUDA where there is one, else the CPU; anything else is torch's own name."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device: got {device!r}, want 'auto', 'cpu', 'cuda', …") from None
    require(resolved.type != "cuda" or torch.cuda.is_available(), "device", str(device),
            "a device of this machine (CUDA is not available here)")
    return resolved


def stacked(device: torch.device) -> bool:
    """Whether engine "auto" runs networks stacked there: on CUDA, and where that is rehearsed."""
    return device.type == "cuda" or os.environ.get("WLIB_STACKED") == "1"


def _mlp(classes, channels, size, *, hidden=(64, 32)):
    widths = [channels * size * size, *hidden]
    layers = [("flatten", nn.Flatten())]
    for i, (n_in, n_out) in enumerate(pairwise(widths), start=1):
        layers += [(f"fc{i}", nn.Linear(n_in, n_out)), (f"relu{i}", nn.ReLU())]
    return OrderedDict([*layers, (f"fc{len(widths)}", nn.Linear(widths[-1], classes))])


def _lenet(classes, channels, size, *, padding=None):
    padding = (2 if size == 28 else 0) if padding is None else padding
    require(whole(padding, 0), "padding", padding, "a whole number ≥ 0")
    side = ((size + 2 * padding - 4) // 2 - 4) // 2   # two 5×5 convolutions, each pooled by two
    require(side >= 1, "size", size, "large enough for two 5×5 convolutions and poolings")
    return OrderedDict([
        ("conv1", nn.Conv2d(channels, 6, 5, padding=padding)), ("relu1", nn.ReLU()),
        ("pool1", MaxPool2()),
        ("conv2", nn.Conv2d(6, 16, 5)), ("relu2", nn.ReLU()), ("pool2", MaxPool2()),
        ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(16 * side * side, 120)), ("relu3", nn.ReLU()),
        ("fc2", nn.Linear(120, 84)), ("relu4", nn.ReLU()),
        ("fc3", nn.Linear(84, classes)),
    ])


def _convolution(n_in, n_out):
    return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]


def _conv4(classes, channels, size, *, width=64):
    require(size >= 16, "size", size, "at least 16, for four poolings")
    layers, side = OrderedDict(), size
    for i, n_in in enumerate([channels, width, width, width], start=1):
        layers[f"block{i}"] = nn.Sequential(*_convolution(n_in, width), MaxPool2())
        side //= 2
    layers["flatten"] = nn.Flatten()
    layers["head"] = nn.Linear(width * side * side, classes)
    return layers


def _vgg(classes, channels, size, *, widths=(16, 32, 64)):
    require(size >= 2 ** len(widths), "size", size, f"at least {2 ** len(widths)}")
    layers = OrderedDict()
    for i, (n_in, n_out) in enumerate(pairwise([channels, *widths]), start=1):
        layers[f"block{i}"] = nn.Sequential(
            *_convolution(n_in, n_out), *_convolution(n_out, n_out), MaxPool2())
    return _with_pooled_head(layers, widths[-1], classes)


def _resnet(classes, channels, size, *, widths=(16, 32, 64), blocks=1):
    layers = OrderedDict(stem=nn.Sequential(*_convolution(channels, widths[0])))
    for i, (n_in, n_out) in enumerate(pairwise([widths[0], *widths]), start=1):
        stride = 1 if i == 1 else 2
        shortcut = None if stride == 1 and n_in == n_out else nn.Sequential(
            nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))
        first = BasicBlock(n_in, n_out, stride, shortcut)
        rest = [BasicBlock(n_out, n_out) for _ in range(blocks - 1)]
        layers[f"stage{i}"] = nn.Sequential(first, *rest)
    return _with_pooled_head(layers, widths[-1], classes)


def _with_pooled_head(layers, width, classes):
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["head"] = nn.Linear(width, classes)
    return layers


ARCHITECTURES = {"mlp": _mlp, "lenet": _lenet, "conv4": _conv4, "vgg": _vgg, "resnet": _resnet}
