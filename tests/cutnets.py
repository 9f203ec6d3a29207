"""Networks to cut, and second implementations to hold the library against."""

import copy

import torch
from hypothesis import settings
from hypothesis import strategies as st
from small import few
from torch import nn

from wlib import mda

fewer = settings(few, max_examples=8)       # a drawn network costs more than a drawn number


class Residual(nn.Module):
    def __init__(self, width, g):
        super().__init__()
        inner = int(torch.randint(2, 7, (), generator=g))
        self.one, self.norm1 = nn.Conv2d(width, inner, 3, padding=1), nn.BatchNorm2d(inner)
        self.two, self.norm2 = nn.Conv2d(inner, width, 1), nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(self.norm2(self.two(torch.relu(self.norm1(self.one(x))))) + x)


class Branches(nn.Module):
    def __init__(self, width, g):
        super().__init__()
        a, b = (int(n) for n in torch.randint(1, 5, (2,), generator=g))
        self.left = nn.Sequential(nn.Conv2d(width, a, 1), nn.BatchNorm2d(a), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(width, b, 3, padding=1, bias=False), nn.ReLU())
        self.width = a + b + width

    def forward(self, x):
        return torch.cat([self.left(x), x, self.right(x)], dim=1)


class Depthwise(nn.Module):
    def __init__(self, width, g, groups=None):
        super().__init__()
        self.depth = nn.Conv2d(width, 2 * width, 3, padding=1, groups=groups or width, bias=False)
        self.norm, self.width = nn.BatchNorm2d(2 * width), 2 * width

    def forward(self, x):
        return nn.functional.relu6(self.norm(self.depth(x)))


class Gate(nn.Module):
    """Squeeze and excitation: channels multiplied by what their means say."""

    def __init__(self, width, g):
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 3, 1), nn.Conv2d(3, width, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True)))))


KINDS = {"residual": Residual, "branches": Branches, "depthwise": Depthwise, "gate": Gate}


class Random(nn.Module):
    """A small network (B,2,6,6) → (B,classes): the named blocks, strides and heads drawn."""

    def __init__(self, kinds, seed, classes=4, flat=True):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        width = int(torch.randint(3, 7, (), generator=g))
        self.stem = nn.Sequential(nn.Conv2d(2, width, 3, padding=1), nn.BatchNorm2d(width),
                                  nn.ReLU())
        self.blocks = nn.ModuleList()
        for kind in kinds:
            self.blocks.append(KINDS[kind](width, g))
            width = getattr(self.blocks[-1], "width", width)
        self.reduce = nn.Conv2d(width, 5, 3, stride=2, padding=1)
        self.flat = flat
        if flat:
            self.hidden = nn.Linear(5 * 9, 7)
        self.head = nn.Linear(7 if flat else 5, classes)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = torch.relu(self.reduce(x))
        if self.flat:
            return self.head(torch.relu(self.hidden(torch.flatten(x, 1))))
        return self.head(x.mean((2, 3)))


drawn = st.builds(lambda kinds, seed, flat: lived(Random(kinds, seed, flat=flat), seed),
                  st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3),
                  st.integers(0, 99), st.booleans())


def lived(net, seed=0):
    """The network with drawn weights, and BatchNorm statistics as if it had been trained."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                fan = module.weight[0].numel()
                module.weight.copy_(torch.randn(module.weight.shape, generator=g) * fan ** -0.5)
                if module.bias is not None:
                    module.bias.copy_(torch.randn(module.bias.shape, generator=g) * 0.2)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                shape = (module.num_features,)
                if module.track_running_stats:
                    module.running_mean.copy_(torch.randn(shape, generator=g) * 0.3)
                    module.running_var.copy_(torch.rand(shape, generator=g) + 0.5)
                if module.affine:
                    module.weight.copy_(torch.rand(shape, generator=g) + 0.5)
                    module.bias.copy_(torch.randn(shape, generator=g) * 0.3)
    return net.eval()


def some(net_or_classes, per_class=3, shape=(2, 6, 6), seed=0):
    """Random images and labels, as many of every class."""
    classes = net_or_classes if isinstance(net_or_classes, int) else 4
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes * per_class) % classes
    return torch.randn(len(labels), *shape, generator=g), labels


def zeroed(net, wires, keep):
    """A copy of the uncut network with the dropped channels zeroed where they are read."""
    net = copy.deepcopy(net)
    for layer in wires.layers.values():
        if layer.reads is not None and layer.kind != "norm":
            stays = keep[layer.features].float()

            def zero(module, inputs, stays=stays):
                x = inputs[0]
                return x * (stays[:, None, None] if isinstance(module, nn.Conv2d) else stays)

            net.get_submodule(layer.name).register_forward_pre_hook(zero)
    return net


def drawn_keep(wires, seed, share=0.6):
    """A random choice of wires with a channel in every layer and all outputs."""
    keep = torch.rand(wires.wires, generator=torch.Generator().manual_seed(seed)) < share
    for layer in wires.layers.values():
        if not keep[layer.writes].any():
            keep[layer.writes[0]] = True
    keep[wires.outputs] = True
    return keep | wires.pinned


def found(net, mode="graph", seed=0, **settings):
    """Masks of a drawn network on random images."""
    x, y = some(4, seed=seed)
    return mda.masks(mda.contributions(net, x, y), mode=mode, **settings)
