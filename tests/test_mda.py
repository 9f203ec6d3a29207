"""MDA's masks and parts: by hand, against the official procedure, and what its algebra says."""

import copy

import pytest
import torch
from cutnets import drawn, fewer, found, lived, some, zeroed
from hypothesis import given
from hypothesis import strategies as st
from official import official_masks, partial_maps
from small import Own, few
from torch import nn
from torchvision import models

from wlib import mda
from wlib.core import nets
from wlib.mda import cutting, wiring

HEAD = torch.tensor([[2, -1, 0, 3], [1, 1, -2, 0], [0, 4, 1, -1]]).float()
BELOW = torch.tensor([[1, 0, 2], [0, 3, 1], [2, 2, -1], [-1, 1, 4]]).float()
SAMPLES = torch.tensor([[1, 2, 1], [2, 0, 1], [0, 1, 3]]).float()


@pytest.fixture
def chain():
    """Two linear layers, 3 → 4 → 3, without biases, and one sample a class."""
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(BELOW)
        net[2].weight.copy_(HEAD)
    return net


# ---- by hand ----------------------------------------------------------------------------------
def test_a_linear_layers_contributions_and_masks_by_hand():
    v = mda.partial_sums(torch.tensor([1., 2, 3, 1])[None, :, None], HEAD[..., None])
    assert v.tolist() == [[2, 0, 0, 3], [1, 2, 0, 0], [0, 8, 3, 0]]
    assert mda.relative(v).tolist() == [pytest.approx(row, abs=1e-4) for row in
                                        ([.6667, 0, 0, 1], [.5, 1, 0, 0], [0, 1, .375, 0])]
    for needed, mask in (([1, 0, 0], [1, 0, 0, 1]), ([1, 0, 1], [1, 1, 0, 1]),
                         ([1, 1, 1], [1, 1, 0, 1])):
        got, fractions = mda.vote([v[torch.tensor(needed).bool()]], 0.4, 0.3)
        assert got.int().tolist() == [mask]
    assert fractions[0].tolist() == pytest.approx([1, 1, 0, .5], abs=1e-4)


def test_a_convolutions_contributions_by_hand():
    conv = nn.Conv2d(2, 2, 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1, 0], [0, 1]], [[-1, 1], [0, 0]]],
                                        [[[0, -1], [1, 0]], [[1, 1], [0, -1]]]]))
    x = torch.tensor([[[1, 2, 0], [0, 1, 1], [2, 0, 1]], [[0, 1, 1], [1, 0, 2], [1, 1, 0]]])
    u = mda.window_sums(conv, x[None].float())
    s = torch.einsum("bpt,qpt->bqp", u, conv.weight.flatten(2))
    assert s[0].tolist() == [[7, 2], [-1, 3]]
    v = mda.partial_sums(u, conv.weight.detach().flatten(2))
    assert v.tolist() == [[7, 2], [0, 3]]              # the ReLU comes after the sum over places
    assert mda.relative(v).tolist() == [pytest.approx([1, 0], abs=1e-5),
                                        pytest.approx([0, 1], abs=1e-5)]


def test_masks_and_parts_of_a_chain_by_hand(chain):
    c = mda.contributions(chain, SAMPLES, torch.arange(3))
    assert list(c) == ["2", "0"] and c["2"].shape == (3, 3, 4) and c["0"].shape == (3, 4, 3)
    masks = mda.masks(c)
    assert masks["2"].int().tolist() == [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert masks["0"].int().tolist() == [[0, 1, 1], [1, 0, 1], [0, 1, 1]]
    both = mda.disassemble(chain, masks, [0, 2], head="full")
    assert both[0].weight.tolist() == BELOW[[1, 3]].tolist()
    assert both(SAMPLES).tolist() == [[8, 7, 23], [5, 1, 2], [33, 6, 11]]
    assert mda.disassemble(chain, masks, [2, 0])(SAMPLES).tolist() == [[8, 23], [5, 2], [33, 11]]
    one = mda.disassemble(chain, masks, [0], head="full")
    assert one(SAMPLES).tolist() == [[15, 0, -5], [6, 0, -2], [39, 0, -13]]
    assert one.classes == (0, 1, 2) and one.rescued == ()
    assert torch.equal(chain[0].weight, BELOW) and torch.equal(chain[2].weight, HEAD)


def test_equal_votes_leave_an_empty_mask():
    v = torch.tensor([[3., 0, 1], [0, 2, 5], [1, 1, 1]])
    mask, fractions = mda.vote([v], 0, 0.2, strict=False)
    assert not mask.any() and fractions.tolist() == [[0, 0, 0]]           # all tie
    for strict in (True, False):
        mask, _ = mda.vote([v], 0.3, 0.2, strict)
        assert mask.tolist() == [[False, False, True]]


# ---- the official procedure -------------------------------------------------------------------
@pytest.mark.parametrize(("name", "settings"), [
    ("mlp", {}), ("lenet", {}), ("conv4", {}), ("vgg", {"channels": 3, "widths": (8, 12)}),
    ("vgg", {"channels": 1, "widths": (24, 16, 8)})])
@pytest.mark.parametrize("seed", [0, 1])
def test_masks_equal_the_official_codes_bit_for_bit(name, settings, seed, monkeypatch):
    net = lived(nets.build(name, classes=5, size=28, **settings), seed)
    x, y = some(5, 4, (settings.get("channels", 1), 28, 28), seed)
    values, wanted = official_masks(net, x, y, 5)
    monkeypatch.setattr(wiring, "AT_ONCE", 7)               # of 20 images
    c = mda.contributions(net, x, y)
    masks = mda.masks(c)
    for v, mask, layer in zip(values, wanted, c, strict=True):
        torch.testing.assert_close(c[layer], v, rtol=1e-4, atol=1e-3)
        # Decisions: none is nearer to its threshold than 1e-5 of itself, far above rounding.
        assert torch.equal(masks[layer], mask.bool())
    plain = {layer: c[layer] for layer in c}                      # without its wiring
    again = mda.masks(plain, wires=wiring.trace(net))
    assert all(torch.equal(again[layer], masks[layer]) for layer in c)


def test_the_official_order_is_that_of_definition():
    net = lived(Own())
    x, y = some(3, 4, (1, 6, 6))
    _, wanted = official_masks(net, x, y, 3)
    masks = mda.masks(mda.contributions(net, x, y))
    assert list(masks) == ["conv", "head"]
    assert all(torch.equal(m, w.bool()) for m, w in zip(masks.values(), wanted, strict=True))


@few
@given(st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 2]), st.sampled_from([0, 1, 2, "same"]),
       st.sampled_from([1, 2]), st.sampled_from(["zeros", "reflect"]), st.integers(0, 99))
def test_window_sums_equal_explicit_partial_maps(kernel, stride, padding, dilation, mode, seed):
    if padding == "same" and stride == 2:
        padding = 1
    conv = nn.Conv2d(3, 4, (kernel, 2), stride, padding, (dilation, 1), padding_mode=mode)
    x = torch.randn(5, 3, 11, 9, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        place = copy.deepcopy(conv)
        padded = nn.functional.pad(x, conv._reversed_padding_repeated_twice,
                                   "constant" if mode == "zeros" else mode)
        place.padding, place.padding_mode = (0, 0), "zeros"
        s = partial_maps(place, padded, *conv(x).shape[2:]).sum((3, 4))       # (B, Q, P)
        u, weight = mda.window_sums(conv, x), conv.weight.flatten(2)
        torch.testing.assert_close(torch.einsum("bpt,qpt->bqp", u, weight), s, rtol=1e-4,
                                   atol=1e-4)
        torch.testing.assert_close(mda.partial_sums(u, weight), s.relu().sum(0), rtol=1e-4,
                                   atol=1e-4)
        torch.testing.assert_close(mda.partial_sums(u, weight, features_first=True),
                                   s.sum(0).relu(), rtol=1e-4, atol=1e-4)


def test_a_linear_layer_behind_a_flattening_is_the_convolution_that_it_is():
    net = lived(nets.build("lenet", classes=3))
    x, y = some(3, 4, (1, 28, 28))
    fc1, seen = net.fc1, {}
    hook = fc1.register_forward_pre_hook(lambda m, i: seen.update(a=i[0]))
    with torch.no_grad():
        net(x)
        hook.remove()
        conv = nn.Conv2d(16, 120, 5)
        conv.weight.copy_(fc1.weight.view(120, 16, 5, 5))
        s = partial_maps(conv, seen["a"].view(-1, 16, 5, 5), 1, 1).sum((3, 4)).relu()
    whole = torch.stack(list(mda.contributions(net, x, y).rows("fc1", whole=True)))
    torch.testing.assert_close(whole, torch.stack([s[y == k].sum(0) for k in range(3)]),
                               rtol=1e-4, atol=1e-4)


# ---- the corrections --------------------------------------------------------------------------
@fewer
@given(drawn, st.integers(0, 99))
def test_masks_along_wires_agree_between_readers(net, seed):
    masks, wires = found(net, seed=seed), wiring.trace(net)
    answers: dict[int, list] = {}
    for name, layer in wires.voting.items():
        if layer.reads is not None:
            for wire, row in zip(layer.features.tolist(), masks[name].T.tolist(), strict=True):
                assert answers.setdefault(wire, row) == row            # one answer for one wire
    assert masks["head"].any(1).all()                                  # the head always asks


@fewer
@given(drawn, st.integers(0, 99), st.sampled_from(mda.MODES), st.sampled_from(["pruned", "full"]))
def test_parts_equal_the_masked_network_and_are_smaller(net, seed, mode, head):
    masks, (x, _) = found(net, mode, seed), some(4, seed=1)
    wires = wiring.trace(net)
    classes = [[0], [1, 3], [0, 1, 2, 3]][seed % 3]
    keep, rescued = mda.kept(wires, masks, classes, head)
    part = mda.disassemble(net, masks, classes, head)
    wanted = zeroed(net, wires, keep)(x)
    torch.testing.assert_close(part(x), wanted[:, classes] if head == "pruned" else wanted,
                               rtol=1e-5, atol=1e-5)
    for module in part.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            assert 0 not in module.weight.shape
    assert part.rescued == rescued
    small, full = cutting.cost(part, x[0]), cutting.cost(net, x[0])
    assert not keep.all()                                           # the masks really drop channels
    assert small.weights < full.weights and small.macs < full.macs


@fewer
@given(drawn)
def test_with_no_masks_a_part_is_the_network_with_restricted_logits(net):
    x, _ = some(4)
    torch.testing.assert_close(mda.disassemble(net, {}, [2, 0])(x), net(x)[:, [0, 2]])
    whole = mda.disassemble(net, {}, range(4))
    assert all(torch.equal(t, net.state_dict()[k]) for k, t in whole.state_dict().items())
    torch.testing.assert_close(whole(x), net(x), rtol=1e-4, atol=1e-5)
    half = {n: m for n, m in found(net).items() if n in ("head", "hidden")}     # some layers only
    part = mda.disassemble(net, half, [1])
    assert part.reduce.in_channels == net.reduce.in_channels


@fewer
@given(drawn)
def test_thresholds_of_zero_and_at_least_keep_everything(net):
    masks = found(net, conv=(0, 0), fc=(0, 0), strict=False)
    x, _ = some(4)
    assert all(m.all() for m in masks.values())
    whole = mda.disassemble(net, masks, range(4))
    assert all(torch.equal(t, net.state_dict()[k]) for k, t in whole.state_dict().items())
    torch.testing.assert_close(whole(x), net(x), rtol=1e-4, atol=1e-5)
    below = found(net, conv=(-1, -1), fc=(-1, -1))
    assert all(m.all() for m in below.values())
    assert not all(m.all() for m in found(net, conv=(0, 0), fc=(0, 0)).values())


@fewer
@given(drawn, st.sampled_from(mda.MODES))
def test_more_classes_need_more(net, mode):
    masks, wires = found(net, mode), wiring.trace(net)
    keep = [mda.kept(wires, masks, t, "full")[0] for t in ([0], [1], [0, 1])]
    rescued = mda.kept(wires, masks, [0])[1] + mda.kept(wires, masks, [1])[1]
    assert rescued or torch.equal(keep[0] | keep[1], keep[2])
    for name in masks:
        assert torch.equal(masks[name][[0, 1]].any(0), masks[name][0] | masks[name][1])


@fewer
@given(drawn, st.integers(0, 99))
def test_order_and_number_of_a_classs_images_change_nothing(net, seed):
    x, y = some(4)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    masks = mda.masks(mda.contributions(net, x, y), mode="graph")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "AT_ONCE", 5)
        shuffled = mda.masks(mda.contributions(net, x[order], y[order]), mode="graph")
    c, doubled = (mda.contributions(net, x.repeat(n, 1, 1, 1), y.repeat(n)) for n in (1, 2))
    same = sum(int((masks[n] != shuffled[n]).sum()) for n in masks)
    assert same == 0
    for name in c:
        torch.testing.assert_close(doubled[name], 2 * c[name], rtol=1e-4, atol=1e-4)


def test_a_row_for_every_image():
    net = lived(nets.build("vgg", classes=4, channels=2, size=8, widths=(5, 6)))
    x, y = some(4, 3, (2, 8, 8))
    single, summed = (mda.contributions(net, x, y, per=per) for per in ("image", "class"))
    for name in summed:
        assert single[name].shape[0] == len(y)
        torch.testing.assert_close(
            torch.stack([single[name][y == k].sum(0) for k in range(4)]), summed[name],
            rtol=1e-4, atol=1e-4)
    alone = mda.masks(mda.contributions(net, x[:1], y[:1], per="image"))
    assert torch.equal(alone["head"][0], mda.masks(single)["head"][0])


def test_folding_the_norm_flips_what_a_negative_factor_flips():
    net = lived(Own())
    x, y = some(3, 4, (1, 6, 6))
    with torch.no_grad():
        net.norm.weight[1] *= -1
    plain, folded = (mda.contributions(net, x, y, fold_norm=f)["conv"] for f in (False, True))
    factor = (net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()).detach()
    torch.testing.assert_close(folded[:, [0, 2, 3]], plain[:, [0, 2, 3]]
                               * factor[[0, 2, 3], None], rtol=1e-4, atol=1e-5)
    s = mda.window_sums(net.conv, x)[:, 0] @ net.conv.weight[1].flatten().detach() * factor[1]
    torch.testing.assert_close(folded[:, 1, 0], torch.stack(
        [s[y == k].relu().sum() for k in range(3)]), rtol=1e-4, atol=1e-5)


def test_contributions_are_those_of_the_moment_and_leave_the_network_alone():
    net = lived(Own()).train()
    before = {k: t.clone() for k, t in net.state_dict().items()}
    x, y = some(3, 4, (1, 6, 6))
    c = mda.contributions(net, x, y)
    first = c["conv"]
    assert net.training and all(torch.equal(before[k], t) for k, t in net.state_dict().items())
    assert len(c) == 2 and not net.conv._forward_pre_hooks
    with torch.no_grad():
        net.conv.weight.zero_()
    assert torch.equal(c["conv"], first)


def test_an_unread_branch_is_rescued_and_named():
    net = lived(models.googlenet(num_classes=3, init_weights=False).inception3a)
    net = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))
    net = nn.Sequential(nn.Conv2d(3, 192, 1), *net)
    wires = wiring.trace(net)
    layer = wires.layers["4"]
    mask = torch.zeros(2, 256, dtype=torch.bool)
    mask[:, :64] = True                                         # the first branch alone
    keep, rescued = mda.kept(wires, {"4": mask}, [0])
    assert "1.branch2.1.conv" in rescued and "1.branch1.conv" not in rescued
    assert int(keep[layer.reads].sum()) == 64 + 3
    part = mda.disassemble(net, {"4": mask}, [0])
    assert part(torch.rand(1, 3, 8, 8)).shape == (1, 1)


class GraphNet(nn.Module):
    """Two graph convolutions on nodes (n,F): Â relu(Â X W₁) W₂."""

    def __init__(self, links):
        super().__init__()
        self.register_buffer("links", links)
        self.one, self.two = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.two(self.links @ torch.relu(self.one(self.links @ x)))


def test_a_graph_network_is_cut_too():
    g = torch.Generator().manual_seed(0)
    links = torch.softmax(torch.randn(100, 100, generator=g), 1)
    net, x, y = lived(GraphNet(links)), torch.rand(100, 5, generator=g), torch.arange(100) % 3
    nodes = torch.arange(0, 100, 7)
    c = mda.contributions(net, x, y, nodes=nodes)
    with torch.no_grad():
        a = (links @ torch.relu(net.one(links @ x)))[nodes]                    # not negative
    wanted = torch.stack([net.two.weight.detach().clamp(min=0) * a[y[nodes] == k].sum(0)
                          for k in range(3)])
    torch.testing.assert_close(c["two"], wanted)
    masks = mda.masks(c, mode="graph")
    part = mda.disassemble(net, masks, [0, 2])
    keep, wires = mda.kept(wiring.trace(net), masks, [0, 2])[0], wiring.trace(net)
    assert part.one.out_features < 8
    torch.testing.assert_close(part(x), zeroed(net, wires, keep)(x)[:, [0, 2]])
    surest = mda.select(net, x, y, 2, correct=False, at_once=100)
    assert y[surest].tolist() == [0, 0, 1, 1, 2, 2]


# ---- choosing samples -------------------------------------------------------------------------
class Fixed(nn.Module):
    """Logits that are the image's own numbers."""

    def __init__(self):
        super().__init__()
        self.same = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(3))

    def forward(self, x):
        return self.same(x.flatten(1))


def test_the_surest_images_of_each_class_are_chosen():
    x = torch.tensor([[3., 0, 0], [1, 0, 0], [3, 0, 0], [0, 5, 1], [0, 1, 4], [0, 0, 2]])
    y = torch.tensor([0, 0, 0, 1, 1, 2])
    assert mda.select(Fixed(), x, y, 2).tolist() == [0, 2, 3, 5]       # ties: the first
    assert mda.select(Fixed(), x, y, 2, correct=False).tolist() == [0, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="no correctly classified image of class 1"):
        mda.select(Fixed(), x[[0, 4]], y[[0, 4]], 1)


def test_images_of_some_classes_are_renumbered():
    x, y = torch.arange(6.)[:, None], torch.tensor([4, 1, 0, 4, 2, 1])
    images, labels = mda.of_classes(x, y, [4, 1])
    assert images.flatten().tolist() == [0, 1, 3, 5] and labels.tolist() == [1, 0, 1, 0]
    with pytest.raises(ValueError, match="classes"):
        mda.of_classes(x, y, [3])


# ---- refusals ---------------------------------------------------------------------------------
def test_bad_input_is_refused_before_work_starts(chain):
    y = torch.arange(3)
    masks = mda.masks(mda.contributions(chain, SAMPLES, y))
    for call, words in [
            (lambda: mda.contributions(chain, SAMPLES, y + 1), "labels from 1 to 3"),
            (lambda: mda.contributions(chain, SAMPLES, y.clamp(max=1)), "no image of class .2"),
            (lambda: mda.contributions(chain, SAMPLES, y, per="sample"), "per"),
            (lambda: mda.contributions(chain, SAMPLES[:0], y[:0]), "images"),
            (lambda: mda.select(chain, SAMPLES, y, 0), "per_class"),
            (lambda: mda.masks({"0": torch.ones(3, 4, 3)}), "wires"),
            (lambda: mda.masks({"0": torch.ones(3, 4, 3)}, wires=wiring.trace(chain)), "layer 2"),
            (lambda: mda.masks(mda.contributions(chain, SAMPLES, y), mode="code"), "mode"),
            (lambda: mda.masks(mda.contributions(chain, SAMPLES, y), fc=0.3), "fc"),
            (lambda: mda.disassemble(chain, masks, []), "classes"),
            (lambda: mda.disassemble(chain, masks, [0, 3]), "from 0 to 2"),
            (lambda: mda.disassemble(chain, masks, [1, 1]), "different"),
            (lambda: mda.disassemble(chain, masks, None), "classes"),
            (lambda: mda.disassemble(chain, masks, [0], head="half"), "head"),
            (lambda: mda.disassemble(chain, {"9": masks["2"]}, [0]), "masks.*'9'"),
            (lambda: mda.disassemble(chain, {"2": masks["2"][:, :2]}, [0]), r"masks\['2'\]"),
            (lambda: mda.disassemble(chain, {"2": masks["2"].int()}, [0]), r"masks\['2'\]"),
            (lambda: mda.disassemble(nn.Sequential(nn.Conv2d(1, 2, 1), nn.GroupNorm(1, 2)), {},
                                     [0]), "GroupNorm")]:
        with pytest.raises(ValueError, match=words):
            call()


@fewer
@given(drawn, st.permutations(range(4)), st.sampled_from(["graph", "official"]))
def test_a_part_in_one_call_is_the_part_that_masks_of_all_classes_give(net, order, mode):
    """Only the wanted classes' images are looked at, and the restricted network gives the same."""
    classes, (x, y) = order[:2], some(4)
    wanted = mda.disassemble(net, found(net, mode), classes)
    x[~torch.isin(y, torch.tensor(classes))] = 9.0
    got = mda.part(net, x, y, classes, mode=mode)
    of_classes = x[torch.isin(y, torch.tensor(classes))]
    torch.testing.assert_close(got.network(of_classes), wanted(of_classes), rtol=1e-5, atol=1e-5)
    assert str(got.network) == str(wanted)
    assert got.network.classes == wanted.classes == tuple(sorted(classes))
    assert got.weights == pytest.approx(cutting.cost(wanted, x[0]).weights
                                        / cutting.cost(net, x[0]).weights)
    assert got.channels["head"] == 0.5 and 0 < min(got.channels.values())
    assert not got.masks["head"][[c for c in range(4) if c not in classes]].any()


def test_a_part_in_one_call_by_hand(chain):
    """Of the four hidden units class 0 needs the last alone (see the chain's masks above)."""
    got = mda.part(chain, SAMPLES, torch.arange(3), [0])
    assert got.masks["2"].int().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert got.channels == {"0": 1 / 4, "2": 1 / 3}
    assert got.weights == got.macs == (1 * 3 + 1 * 1) / (4 * 3 + 3 * 4)
    with pytest.raises(ValueError, match=r"labels: got 'no image of class \[1\]', want at least"):
        mda.part(chain, SAMPLES[[0, 2]], torch.tensor([0, 2]), [0, 1])
    with pytest.raises(ValueError, match="classes"):
        mda.part(chain, SAMPLES, torch.arange(3), [5])
