"""Parts joined: padding changes nothing, scales do what they say, the result is an ordinary net."""

import math

import pytest
import torch
from cutnets import Random, drawn, drawn_keep, fewer, found, lived, some, zeroed
from hypothesis import assume, given
from hypothesis import strategies as st
from small import images
from torch import nn
from torchvision import models

from wlib import mda
from wlib.core import nets, train
from wlib.core.pool import Pool
from wlib.mda import cutting, lego, wiring


def parts_of(net, *splits, seed=0):
    masks = found(net, seed=seed)
    return [mda.disassemble(net, masks, classes) for classes in splits]


# ---- the identity -----------------------------------------------------------------------------
@fewer
@given(drawn, st.integers(0, 99))
def test_both_executions_give_the_concatenated_logits(net, seed):
    x, _ = some(4, seed=seed)
    parts = parts_of(net, [0], [1, 3], [2], seed=seed)
    wanted = torch.cat([part(x) for part in parts], dim=1)
    assert torch.equal(lego.assemble(parts)(x), wanted)
    if wiring.trace(net).unpaddable:
        with pytest.raises(ValueError, match="concatenation"):
            lego.assemble(parts, execution="dense")
        return
    dense = lego.assemble(parts, execution="dense")
    torch.testing.assert_close(dense(x), wanted, rtol=1e-5, atol=1e-5)
    assert type(dense) is type(net) and dense.names == ((0, 0), (1, 0), (1, 1), (2, 0))


@fewer
@given(drawn, st.integers(0, 99))
def test_padding_is_zero_and_keeps_the_parts_apart(net, seed):
    x, _ = some(4, seed=seed)
    assume(not wiring.trace(net).unpaddable)
    a, b = parts_of(net, [0, 1], [2, 3], seed=seed)
    dense, grouped = (lego.assemble([a, b], execution=e) for e in ("dense", "grouped"))
    given = sum(p.numel() for part in (a, b) for n, p in part.named_parameters()
                if n.endswith("weight") and p.ndim > 1)
    assert sum(int((p != 0).sum()) for n, p in dense.named_parameters()
               if n.endswith("weight") and p.ndim > 1) <= given
    first = dense(x)[:, :2]
    with torch.no_grad():
        for module in b.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.mul_(100)
    torch.testing.assert_close(lego.assemble([a, b], execution="dense")(x)[:, :2], first,
                               rtol=1e-5, atol=1e-5)
    assert torch.equal(lego.assemble([a, b])(x)[:, :2], grouped(x)[:, :2])


@pytest.mark.parametrize("name", [
    "googlenet", "mobilenet_v2", *(pytest.param(n, marks=pytest.mark.book) for n in (
        "resnet18", "resnet50", "resnext50_32x4d", "vgg11_bn", "densenet121", "mnasnet0_5",
        "mobilenet_v3_small", "efficientnet_b0"))])
def test_torchvisions_networks_can_be_padded(name):
    settings = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        net = getattr(models, name)(num_classes=3, **settings)
    net = lived(net.to_empty(device="cpu"))
    wires, x = wiring.trace(net), torch.randn(2, 3, 32, 32)
    parts = [cutting.narrow(net, drawn_keep(wires, i, 0.3), wires) for i in (1, 2)]
    with torch.no_grad():
        wanted = torch.cat([part(x) for part in parts], dim=1)
        got = lego.assemble(parts, execution="dense")(x)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


def test_a_wrong_block_order_is_not_the_identity():
    net = lived(Random(["branches"], 5, flat=False))
    x, _ = some(4)
    parts = parts_of(net, [0, 1], [2, 3])
    dense = lego.assemble(parts, execution="dense")
    widths = [part.reduce.in_channels for part in parts]
    branchwise = dense.reduce.weight.detach().clone()
    with torch.no_grad():                      # [A₁ A₂ B₁ B₂] where the data comes [A₁ B₁ A₂ B₂]
        dense.reduce.weight.zero_()
        first = parts[0].reduce.out_channels
        dense.reduce.weight[:first, :widths[0]] = parts[0].reduce.weight
        dense.reduce.weight[first:, widths[0]:] = parts[1].reduce.weight
    assert not torch.equal(dense.reduce.weight, branchwise)
    assert (dense(x) - torch.cat([p(x) for p in parts], 1)).abs().max() > 1e-2


def test_wide_costs_more_than_side_by_side():
    net = lived(nets.build("vgg", classes=4))
    keep = drawn_keep(wiring.trace(net), 1)
    parts = [cutting.narrow(net, keep)] * 2
    one, grouped, dense = (cutting.cost(n, (1, 28, 28)) for n in (
        parts[0], lego.assemble(parts), lego.assemble(parts, execution="dense")))
    assert grouped == (2 * one.weights, 2 * one.macs)
    assert dense.macs > 1.8 * grouped.macs and dense.weights > 1.8 * grouped.weights


@pytest.mark.parametrize("execution", ["grouped", "dense"])
def test_the_result_trains_saves_and_exports(execution, tmp_path):
    nets_ = [lived(nets.build("vgg", classes=3, size=8, widths=(4, 6)), seed) for seed in (0, 1)]
    parts = [mda.disassemble(net, {}, [0, 2]) for net in nets_]
    joined, x = lego.assemble(parts, execution=execution), torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(torch.export.export(joined, (x,)).module()(x), joined(x))
    torch.save(joined.state_dict(), tmp_path / "net.pt")
    again = lego.assemble(parts[::-1], execution=execution)
    again.load_state_dict(torch.load(tmp_path / "net.pt"))
    assert torch.equal(again(x), joined(x))
    pool = Pool.stack([joined])
    tuned = train.fit(pool, images(classes=4, size=8), epochs=1, device="cpu")
    assert not torch.equal(tuned.flat(), pool.flat())
    assert mda.disassemble(joined, {}, [1, 3])(x).shape == (4, 2)      # and can be cut again


def test_grouped_takes_parts_of_any_architecture():
    parts = [lived(nets.build(n, classes=2)) for n in ("lenet", "vgg")]
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(lego.assemble(parts)(x), torch.cat([p(x) for p in parts], 1))
    with pytest.raises(ValueError, match=r"parts\[1\].*architecture"):
        lego.assemble(parts, execution="dense")


# ---- scaling ----------------------------------------------------------------------------------
class Fixed(nn.Module):
    """Logits that are the image's own numbers."""

    def __init__(self, bias=True, k=3):
        super().__init__()
        self.same = nn.Linear(k, k, bias=bias)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(k))
            if bias:
                self.same.bias.zero_()

    def forward(self, x):
        return self.same(x)


Z = torch.tensor([[4., 0, 0], [2, 1, 0], [0, 6, 1], [5, 3, 0], [0, 0, 0.5], [0, 0, 1.5]])
Y = torch.tensor([0, 0, 1, 1, 2, 2])                           # the fourth is wrong


def test_one_scale_a_class_by_hand():
    scale = lego.scaling(Fixed(), Z, Y)
    assert scale.factor.tolist() == pytest.approx([1 / 3, 1 / 6, 1]) and not scale.clamped
    assert not scale.shift.any()
    part = lego.scaled(Fixed(), scale)
    right = Z.argmax(1) == Y
    winning = part(Z).max(1).values[right]
    for c in range(3):
        assert winning[Y[right] == c].mean().item() == pytest.approx(1, abs=1e-5)


def test_one_scale_a_source_and_its_temperature_and_z_scores():
    scale = lego.scaling(Fixed(), Z, Y, "source")
    assert scale.factor.tolist() == pytest.approx([1 / 2.8] * 3)       # (4 + 2 + 6 + .5 + 1.5) / 5
    assert torch.equal(lego.scaled(Fixed(), scale)(Z).argmax(1), Z.argmax(1))
    z = lego.scaled(Fixed(), lego.scaling(Fixed(), Z, Y, "z-score"))(Z)
    assert z.mean().item() == pytest.approx(0, abs=1e-6)
    assert z.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    best = lego.scaling(Fixed(), Z, Y, "temperature").factor
    losses = [nn.functional.cross_entropy(Z * s, Y) for s in (0.9 * best[0], best[0],
                                                              1.1 * best[0])]
    assert len(best.unique()) == 1 and losses[1] < losses[0] and losses[1] < losses[2]
    one = Fixed(k=1)
    assert lego.scaling(one, Z[:, :1] + 1, Y * 0, "temperature").factor.tolist() == pytest.approx(
        [1 / (Z[:, 0].mean() + 1).item()])


def test_scales_are_never_nan_negative_or_huge():
    labels = torch.tensor([0, 0, 1, 1, 1, 1])                  # no image of class 2
    scale = lego.scaling(Fixed(), Z, labels)
    assert scale.clamped == (2,) and scale.factor[2] == pytest.approx(1 / 4)    # (4 + 2 + 6) / 3
    for z in (Z - 100, Z * 0, Z * 1e-9):
        for kind in lego.SCALINGS:
            scale = lego.scaling(Fixed(), z, Y, kind)
            assert scale.factor.isfinite().all() and scale.shift.isfinite().all()
            assert (scale.factor > 0).all() and (scale.factor <= 2000).all()
    wrong = lego.scaling(Fixed(), Z, (Z.argmax(1) + 1) % 3)
    assert wrong.clamped == (0, 1, 2) and wrong.factor.tolist() == [1, 1, 1]


def test_the_common_factor_restores_the_size_and_changes_no_answer():
    scales = [lego.scaling(Fixed(), z, Y) for z in (Z, 3 * Z)]
    restored = lego.common(scales)
    mean = sum(1 / s.factor.double() for s in scales).sum() / 6
    for before, after in zip(scales, restored, strict=True):
        torch.testing.assert_close(after.factor, before.factor * mean.float())
    parts = [Fixed(), Fixed()]
    a, b = (lego.assemble(parts, s)(Z).argmax(1) for s in (scales, restored))
    assert torch.equal(a, b)


@pytest.mark.parametrize("execution", ["grouped", "dense"])
def test_scales_are_folded_into_the_head(execution):
    net = lived(Random(["residual"], 2))
    x, y = some(4)
    parts = parts_of(net, [0, 1], [2, 3])
    held = [mda.of_classes(x, y, c) for c in ([0, 1], [2, 3])]
    for kind in lego.SCALINGS:
        scales = [lego.scaling(p, *d, kind) for p, d in zip(parts, held, strict=True)]
        wanted = torch.cat([p(x) * s.factor + s.shift for p, s in zip(parts, scales, strict=True)],
                           dim=1)
        got = lego.assemble(parts, scales, execution)(x)
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-4)
    assert torch.equal(lego.assemble(parts, [1.0, 1])(x), lego.assemble(parts)(x))


def test_a_head_without_bias_gets_one_for_a_shift():
    part = lego.scaled(Fixed(bias=False), lego.Scale(torch.ones(3), torch.tensor([0., 1, 2])))
    assert part(Z[:1]).tolist() == [[4, 1, 2]]


# ---- classes in two sources -------------------------------------------------------------------
def test_outputs_of_one_name_become_one():
    names = [("cat", "dog", "owl"), ("dog", "fox", "cat")]
    z, parts = Z[:2], [Fixed(), Fixed()]
    assert lego.assemble(parts, names=names).names == ("cat", "dog", "owl", "dog", "fox", "cat")
    merged = lego.assemble(parts, [1, 2], names=names, merge="max")
    assert merged.names == ("cat", "dog", "owl", "fox")
    assert merged(z).tolist() == [[4, 8, 0, 0], [2, 4, 0, 2]]
    soft = lego.assemble(parts, names=names, merge="logsumexp", execution="dense")(z)
    assert soft[0, 0].item() == pytest.approx(math.log(math.exp(4) + 1), abs=1e-5)
    assert soft[0, 2].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(torch.export.export(merged, (z,)).module()(z), merged(z))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")      # to be gone from torch one day
@pytest.mark.parametrize("how", ["max", "logsumexp"])
def test_merged_networks_script(how):
    parts, (x, _) = parts_of(lived(Random(["gate"], 0)), [0, 1], [2, 3]), some(4)
    for merged in (lego.assemble(parts), lego.assemble(parts, names=["ab", "ca"], merge=how)):
        torch.testing.assert_close(torch.jit.script(merged)(x), merged(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", ["max", "logsumexp"])
@pytest.mark.parametrize("execution", ["grouped", "dense"])
def test_merged_networks_are_cut_and_joined_again(how, execution):
    """Outputs of one name are one wire: kept with all their columns, or dropped with them."""
    net = lived(Random(["residual", "gate"], 0))
    parts, (x, y) = parts_of(net, [0, 1, 2], [1, 3]), some(4, seed=3)
    merged = lego.assemble(parts, names=["abc", "bd"], merge=how, execution=execution)
    wires, whole = wiring.trace(merged), merged(x)
    assert wires.classes == 4 and merged.names == ("a", "b", "c", "d")
    part = mda.disassemble(merged, {}, [1, 3])
    torch.testing.assert_close(part(x), whole[:, [1, 3]])
    assert part.names == ("b", "d") and part[1].groups == [[0, 1], [2]]
    keep = drawn_keep(wires, 1)
    cut = cutting.narrow(merged, keep, wires)
    torch.testing.assert_close(cut(x), zeroed(merged, wires, keep)(x), rtol=1e-5, atol=1e-5)
    small = mda.part(merged, x, y, [1, 2]).network
    assert small.names == ("b", "c") and small(x).shape == (len(x), 2)
    again = lego.assemble([part, net], names=[part.names, "aceg"], merge="max")
    torch.testing.assert_close(again(x), torch.cat([part(x), net(x)], 1))
    assert again.names == ("b", "d", "a", "c", "e", "g")
    with pytest.raises(ValueError, match="makes one output of several"):
        lego.assemble([merged, merged], execution="dense")


# ---- refusals ---------------------------------------------------------------------------------
class Normal(nn.Module):
    def __init__(self, mean):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(x - self.mean)


def test_bad_input_is_refused_before_work_starts():
    lenet = nets.build("lenet")
    for call, words in [
            (lambda: lego.assemble([]), "parts"),
            (lambda: lego.assemble([lenet, "lenet"]), "parts"),
            (lambda: lego.assemble([lenet, nets.build("lenet", channels=3)]), "channels of 3"),
            (lambda: lego.assemble([lenet, nets.build("lenet", size=32)]), "image size of 32"),
            (lambda: lego.assemble([Normal(0.5), Normal(0.4)], execution="dense"),
             r"parts\[1\].*another tensor mean"),
            (lambda: lego.assemble([lenet], execution="sparse"), "execution"),
            (lambda: lego.assemble([lenet], scales=[1, 2]), "scales"),
            (lambda: lego.assemble([lenet], scales=[-1]), "positive"),
            (lambda: lego.assemble([lenet], scales=[lego.Scale(torch.ones(3), torch.zeros(3))]),
             "each of 10"),
            (lambda: lego.assemble([lenet], merge="max"), "names"),
            (lambda: lego.assemble([lenet], names=[["a"]]), "names"),
            (lambda: lego.assemble([lenet], merge="mean"), "merge"),
            (lambda: lego.scaling(Fixed(), Z, Y, "softmax"), "kind"),
            (lambda: lego.scaling(Fixed(), Z, Y + 1), "labels"),
            (lambda: lego.scaled(nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(1)), 1.0),
             "last layer"),
            (lambda: lego.scaled(nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1),
                                               nn.Flatten()), 1.0), "last layer")]:
        with pytest.raises(ValueError, match=words):
            call()


def test_padding_refuses_a_sum_of_a_concatenation_and_one_tensor():
    class Tangled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(2, n, 1) for n in (2, 2, 4))
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            both = torch.cat([self.a(x), self.b(x)], dim=1) + self.c(x)
            return self.head(both.mean((2, 3)))

    parts = [Tangled(), Tangled()]
    with pytest.raises(ValueError, match="adds a concatenation"):
        lego.assemble(parts, execution="dense")
    assert lego.assemble(parts)(torch.rand(1, 2, 3, 3)).shape == (1, 4)
