"""Networks as people write them: each is cut rightly or refused by name, never cut wrongly.

The oracle is the whole network with the dropped channels set to zero. It stands here a second
time, apart from `wlib.mda.cutcheck`, and the check of the cut itself is switched off.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from cutnets import drawn_keep, lived, zeroed
from torch import nn
from torchvision.ops import FrozenBatchNorm2d, SqueezeExcitation

from wlib import mda
from wlib.mda import cutcheck, cutting, lego, wiring


class Small(nn.Module):
    """A convolution of 8 channels and a linear layer of 4 outputs, run by a function given."""

    def __init__(self, forward, **more):
        super().__init__()
        self.c, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
        for name, module in more.items():
            setattr(self, name, module)
        self.how = (forward,)

    def forward(self, x):
        return self.how[0](self, x)


def lit(s, x):
    return F.relu(s.c(x))


def seen(s, x):
    return lit(s, x).mean((2, 3))


class Standardized(nn.Conv2d):
    def forward(self, x):
        w = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.std(
            (1, 2, 3), keepdim=True)
        return F.conv2d(x, w, self.bias)


class Cosine(nn.Linear):
    def forward(self, x):
        return F.linear(F.normalize(x), F.normalize(self.weight))


class LoRA(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.a, self.b = nn.Parameter(torch.randn(2, sizes[0])), nn.Parameter(
            torch.randn(sizes[1], 2))

    def forward(self, x):
        return super().forward(x) + x @ self.a.T @ self.b.T


class Padding(nn.Conv2d):
    def forward(self, x):
        return super().forward(F.pad(x, (1, 1, 1, 1)))


class Renamed(nn.Conv2d):
    """A subclass that computes as its base does."""

    def __init__(self, width):
        super().__init__(3, width, 3)


class Called(nn.Linear):
    """The base's computation, called by hand as timm does."""

    def forward(self, x):
        return F.linear(x, self.weight, bias=self.bias)


class ActNorm(nn.BatchNorm2d):
    """A BatchNorm with its activation, as timm writes it."""

    def forward(self, x):
        torch._assert(x.ndim == 4, "maps")
        return F.relu(F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                                   False, 0.1, self.eps))


class SE(nn.Module):
    """Squeeze and excitation as it is written most often."""

    def __init__(self, width=8):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(width, 3, bias=False), nn.ReLU(),
                                nn.Linear(3, width, bias=False), nn.Sigmoid())

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.pool(x).view(b, c)
        return x * self.fc(y).view(b, c, 1, 1).expand_as(x)


class Residual(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.one, self.two = nn.Conv2d(width, 6, 3, padding=1), nn.Conv2d(6, width, 3, padding=1)

    def forward(self, x):
        return F.relu(x + self.two(F.relu(self.one(x))))


def shuffled(x, groups=2):
    b, c, h, w = x.size()
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, -1, h, w)


def param(*shape, seed=0):
    return nn.Parameter(torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) + 0.5)


CUT = {
    # what was cut wrongly, with no word
    "channel axis −1": Small(lambda s, x: s.fc2(F.relu(s.fc(seen(s, x))) / 2), fc2=nn.Linear(4, 3)),
    "batch folded": Small(lambda s, x: s.fc3(F.relu(s.fc(seen(s, x.view(-1, 3, 8, 8))))),
                          fc3=nn.Linear(4, 3)),
    "subclass": Small(lambda s, x: s.fc(F.relu(s.r(x)).mean((2, 3))), r=Renamed(8)),
    "layers called by hand": Small(lambda s, x: s.e(s.d(seen(s, x))), d=Called(8, 6),
                                   e=Called(6, 4)),
    "if on the image's size": Small(lambda s, x: s.fc(seen(s, F.interpolate(x, scale_factor=2)
                                                           if x.shape[-1] < 4 else x))),
    "activated norm": Small(lambda s, x: s.fc(s.n(s.c(x)).mean((2, 3))), n=ActNorm(8)),
    "one slope": Small(lambda s, x: s.fc(s.p(s.c(x)).mean((2, 3))), p=nn.PReLU()),
    "slopes": Small(lambda s, x: s.fc(s.p(s.c(x)).mean((2, 3))), p=nn.PReLU(8)),
    "slopes as numbers": Small(lambda s, x: s.fc(F.prelu(s.c(x), s.p).mean((2, 3))), p=param(8)),
    # what was refused or crashed
    "log softmax": Small(lambda s, x: F.log_softmax(s.fc(seen(s, x)), dim=1)),
    "softmax module": Small(lambda s, x: s.soft(s.fc(seen(s, x))), soft=nn.Softmax(-1)),
    "SE": Small(lambda s, x: s.fc(s.se(lit(s, x)).mean((2, 3))), se=SE()),
    "SE by None": Small(lambda s, x: s.fc(((h := lit(s, x)) * torch.sigmoid(
        s.g(h.mean((2, 3))))[:, :, None, None]).mean((2, 3))), g=nn.Linear(8, 8)),
    "SE of torchvision": Small(lambda s, x: s.fc(s.se(lit(s, x)).mean((2, 3))),
                               se=SqueezeExcitation(8, 3)),
    "width in a view": Small(lambda s, x: s.wide(F.relu(s.d(lit(s, x))).view(-1, 5 * 16)),
                             d=nn.Conv2d(8, 5, 3), wide=nn.Linear(80, 4)),
    "view by size": Small(lambda s, x: s.wide(lit(s, x).view(x.size(0), -1)),
                          wide=nn.Linear(8 * 36, 4)),
    "batch by −1": Small(lambda s, x: s.fc(F.adaptive_avg_pool2d(h := lit(s, x), 1).view(
        -1, h.size(1)))),
    "gain": Small(lambda s, x: s.fc((lit(s, x) * s.g).mean((2, 3))), g=param(1, 8, 1, 1)),
    "layer scale": Small(lambda s, x: s.fc((lit(s, x) * s.g.view(1, -1, 1, 1)).mean((2, 3))),
                         g=param(8)),
    "positions": Small(lambda s, x: s.fc((lit(s, x) + s.g).mean((2, 3))), g=param(8, 6, 6)),
    "gain of places": Small(lambda s, x: s.fc((lit(s, x) * s.g).mean((2, 3))), g=param(6)),
    "temperature": Small(lambda s, x: s.fc(seen(s, x)) / s.t, t=param(1)),
    "a number with axes": Small(lambda s, x: s.fc(seen(s, x) * s.t), t=param(1, 1)),
    "more axes by a number": Small(lambda s, x: s.last(F.relu(s.d((seen(s, x) * s.t).permute(
        2, 3, 0, 1))).mean((2, 3))), t=param(1, 1, 1, 1), d=nn.Conv2d(8, 6, 1),
        last=nn.Linear(6, 4)),
    "mean before": Small(lambda s, x: s.fc(seen(s, x - s.m)), m=param(1, 3, 1, 1)),
    "frozen norm": Small(lambda s, x: s.fc(F.relu(s.n(s.c(x))).mean((2, 3))),
                         n=FrozenBatchNorm2d(8)),
    "norm first": Small(lambda s, x: s.fc(seen(s, s.n(x))), n=nn.BatchNorm2d(3)),
    "depthwise stem": Small(lambda s, x: s.fc(seen(s, s.d(x))), d=nn.Conv2d(3, 3, 3, groups=3)),
    "spatial gate": Small(lambda s, x: s.last(F.relu(s.d((h := lit(s, x)) * torch.sigmoid(
        s.g(torch.cat([h.mean(1, keepdim=True), h.amax(1, keepdim=True)], 1))))).mean((2, 3))),
        g=nn.Conv2d(2, 1, 3, padding=1), d=nn.Conv2d(8, 6, 1), last=nn.Linear(6, 4)),
    "padding": Small(lambda s, x: s.fc(F.pad(lit(s, x), (1, 0, 2, 1)).mean((2, 3)))),
    "padded convolution": Small(lambda s, x: s.fc(F.relu(s.d(s.p(lit(s, x)))).mean((2, 3))),
                                p=nn.ZeroPad2d(1), d=nn.Conv2d(8, 8, 3)),
    "functions": Small(lambda s, x: s.fc(F.selu(F.celu(-torch.abs(s.c(x)).pow(2))).neg().mean(
        (2, 3)))),
    "some channels": Small(lambda s, x: s.fc2(torch.cat([s.d(h := lit(s, x))[:, 2:], h[:, :2]], 1)
                                              .mean((2, 3))), d=nn.Conv2d(8, 6, 1),
                           e=nn.Conv2d(8, 8, 1), fc2=nn.Sequential(
                               nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4))),
    "all channels by their number": Small(lambda s, x: s.fc(lit(s, x)[:, :8].mean((2, 3)))),
    "chunks": Small(lambda s, x: s.last(s.e((h := s.d(lit(s, x)).chunk(2, 1))[0] * h[1]).mean(
        (2, 3))),
                    d=nn.Conv2d(8, 6, 1), e=nn.Conv2d(3, 7, 1), last=nn.Linear(7, 4)),
    "split": Small(lambda s, x: s.last(s.e(torch.split(s.d(lit(s, x)), [2, 4], 1)[1]).mean((2, 3))),
                   d=nn.Conv2d(8, 6, 1), e=nn.Conv2d(4, 7, 1), last=nn.Linear(7, 4)),
    "strides": Small(lambda s, x: s.fc(lit(s, x)[:, :, ::2, 1:].mean((2, 3)))),
    "places in a row": Small(lambda s, x: s.fc(lit(s, x).flatten(2).mean(2))),
    "last axis": Small(lambda s, x: s.fc(F.relu(s.m(lit(s, x).permute(0, 2, 3, 1))).mean((1, 2))),
                       m=nn.Linear(8, 8)),
    "cat of vectors": Small(lambda s, x: s.last(torch.cat([h := seen(s, x), s.fc(h)], dim=-1)),
                            last=nn.Linear(12, 4)),
    "cat by keyword": Small(lambda s, x: s.last(torch.cat(tensors=[h := seen(s, x), s.fc(h)],
                                                          dim=1)), last=nn.Linear(12, 4)),
    "x + fc(x), flattened": Small(lambda s, x: s.last((h := lit(s, x).flatten(1)) + s.w(h)),
                                  w=nn.Linear(288, 288), last=nn.Linear(288, 4)),
    "shuffle": Small(lambda s, x: s.last(s.e(shuffled(s.d(lit(s, x)))).mean((2, 3))),
                     d=nn.Conv2d(8, 6, 1), e=nn.Conv2d(6, 7, 1), last=nn.Linear(7, 4)),
    "residual": Small(lambda s, x: s.fc(s.b(lit(s, x)).mean((2, 3))), b=Residual()),
    "asserts": Small(lambda s, x: s.fc(seen(s, _sure(x)))),
    "feature kept": Small(lambda s, x: s.fc(_kept(s, seen(s, x)))),
    "interpolation": Small(lambda s, x: s.fc(F.interpolate(lit(s, x), size=x.shape[-2:]).mean(
        (2, 3)))),
    "pooling over places alone": Small(lambda s, x: s.last(F.max_pool2d(lit(s, x).flatten(2), 2)
                                                           .flatten(1)), last=nn.Sequential(
                                           nn.Linear(72, 9), nn.ReLU(), nn.Linear(9, 4))),
    "padding of channels": Small(lambda s, x: s.last(s.p(lit(s, x).flatten(2)).mean(2)),
                                 p=nn.ZeroPad2d(1), last=nn.Sequential(
                                     nn.Linear(10, 9), nn.ReLU(), nn.Linear(9, 4))),
    "norm of vectors": Small(lambda s, x: s.last(s.n(seen(s, x))), n=nn.InstanceNorm1d(5),
                             last=nn.Sequential(nn.Linear(8, 9), nn.ReLU(), nn.Linear(9, 4))),
    "bias used elsewhere": Small(lambda s, x: s.last(F.relu(s.d(
        lit(s, x) + s.c.bias.view(-1, 1, 1))).mean((2, 3))), d=nn.Conv2d(8, 6, 1),
        last=nn.Linear(6, 4)),
    "norm used elsewhere": Small(lambda s, x: s.last(F.relu(s.d(
        s.n(lit(s, x)) * s.n.weight.view(1, -1, 1, 1))).mean((2, 3))), n=nn.BatchNorm2d(8),
        d=nn.Conv2d(8, 6, 1), last=nn.Linear(6, 4)),
    "bias used with other channels": Small(lambda s, x: s.last(F.relu(s.e(F.relu(s.d(
        lit(s, x))) * s.c.bias.view(1, -1, 1, 1))).mean((2, 3))), d=nn.Conv2d(8, 8, 1),
        e=nn.Conv2d(8, 6, 1), last=nn.Linear(6, 4)),
    "image less the mean of its colors": Small(lambda s, x: s.fc(
        seen(s, x - x.mean(1, keepdim=True)))),
    "transposed": Small(lambda s, x: s.last(s.e(s.t(s.d(lit(s, x)))).mean((2, 3))),
                        d=nn.Conv2d(8, 6, 1), t=nn.ConvTranspose2d(6, 5, 2), e=nn.Conv2d(5, 9, 1),
                        last=nn.Linear(9, 4)),
}


def _sure(x):
    assert x.ndim == 4, "an image"
    return x


def _kept(s, h):
    s.feat = h
    return h


def net_of(name, seed=0):
    return lived(copy.deepcopy(CUT[name]), seed)


REFUSED = {
    "sum of channels": (Small(lambda s, x: s.fc((h := seen(s, x)) / h.sum(-1, keepdim=True))),
                        r"sum in the network.*all channels"),
    "mean of channels": (Small(lambda s, x: s.fc((h := seen(s, x)) - h.mean(-1, keepdim=True))),
                         r"mean in the network.*all channels"),
    "unfolded batch": (Small(lambda s, x: s.fc(seen(s, x.view(-1, 3, 8, 8)).view(x.size(0), -1))),
                       "view in the network"),
    "channels in the batch": (Small(lambda s, x: s.fc((h := lit(s, x)).reshape(
        h.size(0) * h.size(1), -1).mean(1).reshape(-1, 8))), "the number of channels"),
    "standardized": (Small(lambda s, x: s.fc(F.relu(s.w(lit(s, x))).mean((2, 3))),
                           w=Standardized(8, 8, 3)), r"w \(Standardized\)"),
    "cosine": (Small(lambda s, x: s.w(seen(s, x)), w=Cosine(8, 4)), r"w \(Cosine\)"),
    "LoRA": (Small(lambda s, x: s.w(seen(s, x)), w=LoRA(8, 4)), r"w \(LoRA\)"),
    "outputs that depend on places": (Small(lambda s, x: lit(s, x).flatten(1)), "logits"),
    "maps as outputs": (Small(lambda s, x: lit(s, x)), "logits"),
    "layer norm": (Small(lambda s, x: s.fc(F.layer_norm(seen(s, x), (8,)))), "layer_norm.*all"),
    "two inputs": (nn.Bilinear(3, 3, 2), "more than one input"),
    "data parallel": (nn.DataParallel(Small(lambda s, x: s.fc(seen(s, x)))), r"net\.module"),
    "length": (Small(lambda s, x: s.fc(seen(s, x)) * len(x)), r"x\.shape\[0\]"),
    "loop": (Small(lambda s, x: torch.stack([s.fc(seen(s, y[None])) for y in x])), "loops over"),
    "data": (Small(lambda s, x: s.fc(seen(s, x)) if x.sum() > 0 else x), "look at data"),
    "other ways by size": (Small(lambda s, x: s.fc(seen(s, x)) if x.shape[-1] < 99 else s.g(
        seen(s, x)), g=nn.Linear(8, 4)), "another size"),
    "hooked": (Small(lambda s, x: s.fc(seen(s, x))), "hooks"),
}
REFUSED["hooked"][0].c.register_forward_hook(lambda m, i, o: 2 * o)


@pytest.mark.parametrize("name", CUT)
def test_what_people_write_is_cut_rightly(name):
    net, oracle = net_of(name), net_of(name)
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    wires = wiring.trace(net)
    assert not hasattr(net, "feat") and not wires.pinned.all()
    full = net(x)                                # keeps a graph, as after training
    for seed in range(4):
        keep = drawn_keep(wires, seed, 0.5)
        part = cutting.narrow(net, keep, wires)
        torch.testing.assert_close(part(x), zeroed(oracle, wires, keep)(x), rtol=1e-4, atol=1e-5)
        cutcheck.check(net, part, wires, keep, x)
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in net.parameters())
    assert not torch.allclose(part(x), full, rtol=1e-2)
    same = cutting.narrow(net, torch.ones_like(keep), wires)
    torch.testing.assert_close(same(x), full)
    two = mda.disassemble(net, {}, [0, 2], images=x)             # checked by itself
    torch.testing.assert_close(two(x), cutcheck.renormalized(full[:, [0, 2]], wires.softmax))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cut_is_refused_with_true_words(name):
    net, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        wiring.trace(net)


# ---- the check at the end of the cut ------------------------------------------------------------
class Counting(nn.Module):
    """Code that the trace cannot see through: it runs outside of torch."""

    def forward(self, x):
        return x * (1 + getattr(x, "shape", (0, 9))[1]) if isinstance(x, torch.Tensor) else x


def test_the_check_refuses_what_the_rules_did_not_see():
    net = lived(Small(lambda s, x: s.fc(s.count(F.relu(s.d(lit(s, x)))).mean((2, 3))),
                      count=Counting(), d=nn.Conv2d(8, 8, 1)))
    x, wires = torch.rand(3, 3, 8, 8), wiring.trace(net)
    masks = {"fc": torch.arange(8).expand(4, 8) < 5, "d": torch.arange(8).expand(4, 8) < 6}
    with pytest.raises(ValueError, match="first in what fc gets"):
        mda.disassemble(net, masks, [0, 1], images=x)
    with pytest.raises(ValueError, match="first in what fc gets"):
        mda.disassemble(net, masks, [0, 1])                      # on noise
    part = mda.disassemble(net, masks, [0, 1], check=False)
    wanted = zeroed(net, wires, mda.kept(wires, masks, [0, 1])[0])(x)[:, :2]
    assert not torch.allclose(part(x), wanted, rtol=0.1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_check_knows_the_digits_of_a_type(dtype):
    net = net_of("residual").to(dtype)
    wires = wiring.trace(net)
    keep, x = drawn_keep(wires, 0), torch.rand(3, 3, 8, 8).to(dtype)
    part = cutting.narrow(net, keep, wires)
    cutcheck.check(net, part, wires, keep, x)
    with torch.no_grad():
        part.fc.weight[:, 0] += 20
    with pytest.raises(ValueError, match="the outputs"):
        cutcheck.check(net, part, wires, keep, x)


def test_what_is_not_finite_is_refused():
    net, x, y = net_of("residual"), torch.rand(8, 3, 8, 8), torch.arange(8) % 4
    for call in (mda.contributions, lego.scaling, lambda *a: mda.select(*a, 1, correct=False)):
        with pytest.raises(ValueError, match="images.*NaN"):
            call(net, x.masked_fill(x > 0.99, torch.nan), y)
    with torch.no_grad():
        net.b.one.weight[0, 0] = torch.nan
    for call in (mda.contributions, lego.scaling, lambda *a: mda.select(*a, 1, correct=False)):
        with pytest.raises(ValueError, match="not finite"):
            call(net, x, y)
    for given in ({"images": x}, {}, {"check": False}):
        with pytest.raises(ValueError, match="b.one.weight: got 'NaN or infinity'"):
            mda.disassemble(net, {}, [0, 1], **given)


# ---- joined -------------------------------------------------------------------------------------
def normed(norm):
    return lived(Small(lambda s, x: s.fc(F.relu(s.n(s.c(x))).mean((2, 3))), n=norm))


@pytest.mark.parametrize(("one", "two"), [
    (nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False)),
    (nn.BatchNorm2d(8), nn.BatchNorm2d(8, track_running_stats=False)),
    (nn.BatchNorm2d(8), nn.BatchNorm2d(8, eps=0.1)),
    (nn.InstanceNorm2d(8), nn.InstanceNorm2d(8, affine=True)),
    (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)), (nn.PReLU(init=0.1), nn.PReLU(init=0.2)),
    (nn.ReLU(), nn.ReLU6()), (nn.GELU(), nn.GELU("tanh"))])
def test_networks_of_other_settings_are_not_padded(one, two):
    parts, x = [normed(one), normed(two)], torch.rand(3, 3, 8, 8)
    with pytest.raises(ValueError, match=r"parts\[1\].*architecture"):
        lego.assemble(parts, execution="dense")
    wanted = torch.cat([p(x) for p in parts], 1)
    torch.testing.assert_close(lego.assemble(parts)(x), wanted)
    same = lego.assemble([parts[0]] * 2, execution="dense")
    torch.testing.assert_close(same(x), torch.cat([parts[0](x)] * 2, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["slopes", "slopes as numbers", "gain", "layer scale", "positions",
                                  "frozen norm", "activated norm", "SE", "one slope",
                                  "gain of places"])
def test_parts_with_rows_of_their_own_are_padded(name):
    net, x = net_of(name), torch.rand(3, 3, 8, 8)
    wires = wiring.trace(net)
    parts = [cutting.narrow(net, drawn_keep(wires, seed, 0.5), wires) for seed in (1, 2)]
    dense = lego.assemble(parts, execution="dense", images=x)
    torch.testing.assert_close(dense(x), torch.cat([p(x) for p in parts], 1), rtol=1e-4, atol=1e-5)
    again = mda.disassemble(dense, {}, [0, 5], images=x)
    torch.testing.assert_close(again(x), dense(x)[:, [0, 5]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["log softmax", "spatial gate", "width in a view", "shuffle"])
def test_what_goes_over_channels_is_joined_side_by_side_alone(name):
    parts, x = [net_of(name, seed) for seed in (0, 1)], torch.rand(3, 3, 8, 8)
    with pytest.raises(ValueError, match="parts.*grouped"):
        lego.assemble(parts, execution="dense")
    torch.testing.assert_close(lego.assemble(parts)(x), torch.cat([p(x) for p in parts], 1))


def test_parts_that_treat_the_image_each_in_their_way_are_joined_side_by_side():
    x = torch.rand(2, 3, 8, 8)
    parts = [net_of("residual"), nn.Sequential(nn.Upsample(scale_factor=2), net_of("residual")),
             net_of("mean before"), nn.Sequential(nn.Flatten(), nn.Linear(192, 5))]
    torch.testing.assert_close(lego.assemble(parts)(x), torch.cat([p(x) for p in parts], 1))


def test_shared_weights_are_neither_cut_nor_scaled():
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net[2].weight = net[0].weight
    for call in (wiring.trace, lambda n: lego.scaled(n, 2.), lambda n: mda.disassemble(n, {}, [0])):
        with pytest.raises(ValueError, match="0.weight and 2.weight hold the same"):
            call(net)


@pytest.mark.parametrize("classes", [[0.6, 1.2], torch.tensor([True, True, False]), "01", [True],
                                     [None], torch.tensor([0., 1])])
def test_classes_are_whole_numbers(classes):
    with pytest.raises(ValueError, match="classes"):
        wiring.check_classes(classes, 3)
    assert wiring.check_classes(torch.tensor([2, 0]), 3) == (0, 2)


def test_images_of_the_wanted_classes_are_enough():
    net, x, y = net_of("residual"), torch.rand(16, 3, 8, 8), torch.arange(16) % 4
    every = mda.masks(mda.contributions(net, x, y), mode="graph")
    own = (y == 1) | (y == 3)
    for images, labels in ((x, y), (x[own], y[own])):
        some = mda.masks(mda.contributions(net, images, labels, classes=[3, 1]), mode="graph")
        assert all(torch.equal(some[n][[1, 3]], every[n][[1, 3]]) for n in every)
        a, b = (mda.disassemble(net, m, [1, 3]) for m in (some, every))
        torch.testing.assert_close(a(x), b(x))
    with pytest.raises(ValueError, match="classes of the masks"):
        mda.disassemble(net, some, [0, 1])


# ---- networks with names, devices and types of their own ----------------------------------------
def test_names_that_the_network_uses_itself_stay_its_own():
    class Named(Small):
        def __init__(self):
            super().__init__(lambda s, x: s.classes(seen(s, x)))
            self.classes, self.spec, self.image_size = nn.Linear(8, 4), "mine", "any"

    net, x = lived(Named()), torch.rand(2, 3, 8, 8)
    part = mda.disassemble(net, {}, [0, 2])
    assert part.classes.out_features == 2 and part.spec == "mine" and part.image_size == "any"
    again = mda.disassemble(part, {}, [1])
    torch.testing.assert_close(again(x), net(x)[:, [2]])
    joined = lego.assemble([part, part], execution="dense")
    torch.testing.assert_close(joined(x), torch.cat([part(x)] * 2, 1))


def test_a_joined_network_does_not_say_that_it_is_its_first_part():
    net = net_of("residual")
    parts = [mda.disassemble(net, {}, c) for c in ([0, 1], [2, 3])]
    joined = lego.assemble(parts, execution="dense")
    assert not hasattr(joined, "classes") and not hasattr(joined, "rescued")
    assert mda.disassemble(joined, {}, [3]).classes == (3,)
    assert mda.disassemble(parts[1], {}, [1]).classes == (1,)


def test_linear_layers_over_places_give_what_they_contribute():
    class Places(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.flat = nn.Conv2d(3, 6, 1), nn.Flatten(2)
            self.one, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x):                    # 16 places of 6 features
            return self.head(F.relu(self.one(self.flat(self.c(x)).transpose(1, 2))).mean(1))

    net = lived(Places())
    x, y = torch.randn(9, 3, 4, 4), torch.arange(9) % 3
    found = mda.contributions(net, x, y)["one"]
    s = (net.c(x).flatten(2).sum(2)[:, None] * net.one.weight).detach()  # (B, Q, P)
    torch.testing.assert_close(found, torch.stack([s[y == k].relu().sum(0) for k in range(3)]),
                               rtol=1e-4, atol=1e-4)
    masks = mda.masks(mda.contributions(net, x, y), mode="graph")
    assert mda.disassemble(net, masks, [0])(x).shape == (9, 1)


PADDED_WRONGLY = {
    "two heads": lambda s, x: torch.cat([s.fc(h := seen(s, x)), s.two(h)], 1),
    "one channel meets all": lambda s, x: s.fc(((h := lit(s, x)) * s.gate(h)).mean((2, 3))),
    "all channels by their number": lambda s, x: s.fc(lit(s, x)[:, :8].mean((2, 3)))}


@pytest.mark.parametrize("name", PADDED_WRONGLY)
def test_what_changes_when_it_is_padded_is_refused_unchecked_too(name):
    nets = [lived(Small(PADDED_WRONGLY[name], two=nn.Linear(8, 2), gate=nn.Conv2d(8, 1, 1)), seed)
            for seed in (0, 1)]
    with pytest.raises(ValueError, match="parts.0.: .*want a network without it"):
        lego.assemble(nets, execution="dense", check=False)


def test_a_part_has_no_output_that_was_not_asked_for():
    parts = [lived(copy.deepcopy(CUT["gain"]), seed) for seed in (0, 1)]
    joined = lego.assemble(parts)
    with pytest.raises(ValueError, match=r"classes: got \(1, 2\), want outputs .4. among them"):
        mda.disassemble(joined, {}, [1, 2])
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(mda.disassemble(joined, {}, [1, 6])(x), joined(x)[:, [1, 6]])


@pytest.mark.parametrize("forward", [
    lambda s, x: s.fc(F.relu(s.d(lit(s, torch.cat([x, x.flip(3)])))).mean((2, 3)).view(
        2, -1, 8).amax(0)),
    lambda s, x: s.fc(F.relu(s.e(lit(s, x).flatten(2).permute(2, 0, 1))).mean(0)),
    lambda s, x: s.fc(seen(s, x) * torch.sigmoid(s.e(s.state)))], ids=[
        "views in the batch", "places before the batch", "one row for all images"])
def test_rows_that_are_not_one_per_image_contribute_to_no_class(forward):
    net = lived(Small(forward, d=nn.Conv2d(8, 8, 1), e=nn.Linear(8, 8),
                      state=nn.Parameter(torch.rand(1, 8), requires_grad=False)))
    x, y = torch.randn(36, 3, 8, 8), torch.arange(36) % 4        # as many as there are places
    assert mda.disassemble(net, {}, [0, 2], images=x)(x).shape == (36, 2)
    with pytest.raises(ValueError, match=r"net\.[cde]: .* rows of 2 images.*one row per image"):
        mda.contributions(net, x, y)


def test_an_image_that_is_too_small_is_refused_by_torch_itself():
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        mda.contributions(net_of("residual"), torch.rand(4, 3, 2, 2), torch.arange(4))


def test_arguments_with_defaults_are_taken_at_them():
    class Optional(Small):
        def forward(self, x, return_features=False, scale=2.0):
            h = seen(self, x)
            return (self.fc(h), h) if return_features else self.fc(h * scale)

    net, x = lived(Optional(None)), torch.rand(2, 3, 8, 8)
    part = mda.disassemble(net, {}, [1, 2])
    torch.testing.assert_close(part(x), net(x)[:, 1:3])
    assert part(x, return_features=True)[1].shape == (2, 8)


def test_a_head_for_training_alone_is_left_out_and_weights_that_serve_stay():
    class Auxiliary(Small):
        def forward(self, x):
            h = seen(self, x) * self.gain["all"]
            return (self.fc(h), self.aux(h)) if self.training else self.fc(h)

    net = lived(Auxiliary(None, aux=nn.Linear(8, 4), gain=nn.ParameterDict(
        {"all": param(8)})))
    part, x = mda.disassemble(net, {}, [0, 1]), torch.rand(2, 3, 8, 8)
    assert part.aux is None and net.aux is not None and part.gain["all"].shape == (8,)
    torch.testing.assert_close(part(x), net(x)[:, :2])
