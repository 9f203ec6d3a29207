"""Conditions: draws of images, what permutations change, attention written out, alignment."""

import importlib.util
import json
import math
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import few, images
from torch import nn

from wlib import seeds
from wlib.d2nwg import backbones
from wlib.d2nwg.backbones import (
    BASE,
    clip_features,
    glyph_backbone,
    glyph_features,
    vision_features,
)
from wlib.d2nwg.condition import by_class, concatenated, draw, per_class
from wlib.d2nwg.encoders import (
    ISAB,
    MAB,
    PMA,
    Alignment,
    MLPEncoder,
    SetEncoder,
    alignment_loss,
    fit_encoder,
)
from wlib.d2nwg.stored import stored_encoder
from wlib.data import ImageSet, glyphs

needs_clip = pytest.mark.skipif(importlib.util.find_spec("open_clip") is None,
                                reason="the extra 'clip' (open_clip) is not installed")


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count(net):
    return sum(p.numel() for p in net.parameters())


# ---- sets of features ---------------------------------------------------------------------------
def test_the_first_images_of_every_class():
    x, labels = features(7, 2), torch.tensor([1, 0, 1, 1, 0, 1, 0])
    sets = by_class(x, labels, 2)
    assert torch.equal(sets, x[torch.tensor([[1, 4], [0, 2]])])
    assert by_class(x, labels, 3, classes=2).shape == (2, 3, 2)


@given(classes=st.integers(1, 4), total=st.integers(1, 6), data=st.data(), seed=st.integers(0, 99))
@few
def test_a_draw_takes_images_of_their_class_and_none_twice(classes, total, data, seed):
    shots = data.draw(st.integers(1, total))
    lead = data.draw(st.sampled_from([(), (3,)]))
    sets = torch.arange(math.prod(lead) * classes * total * 2).view(*lead, classes, total, 2) * 1.0
    drawn = draw(sets, shots, seeds.generator(seed))
    assert drawn.shape == (*lead, classes, shots, 2)
    for own, some in zip(sets.flatten(0, -3), drawn.flatten(0, -3), strict=True):
        rows = {tuple(r) for r in some.tolist()}
        assert len(rows) == shots and rows <= {tuple(r) for r in own.tolist()}
    assert torch.equal(drawn, draw(sets, shots, seeds.generator(seed)))


def test_a_draw_takes_every_image_equally_often():
    sets = torch.eye(4).expand(3000, 1, 4, 4)
    often = draw(sets, 2, seeds.generator(0)).sum((1, 2)).mean(0)
    assert (often - 0.5).abs().max() < 0.05


def test_classes_of_different_sizes():
    parts = [features(3, 2), features(5, 2)]
    drawn = draw(parts, 2, seeds.generator(0))
    assert drawn.shape == (2, 2, 2)
    for own, some in zip(parts, drawn, strict=True):
        assert all((own == row).all(1).any() for row in some)
    sets = features(2, 3, 4)
    assert draw(sets, None, seeds.generator(0)) is sets


def test_conditions_by_hand():
    sets = torch.tensor([[[1.0, 2], [3, 4]], [[0, 0], [2, 2]]])                     # (C, S, d)
    assert concatenated(sets).tolist() == [2, 3, 1, 1]
    assert per_class(sets).tolist() == [[2, 3, 1.5, 2], [1, 1, 1.5, 2]]
    many = torch.stack([sets, sets + 1])
    assert torch.equal(concatenated(many)[0], concatenated(sets))
    assert torch.equal(per_class(many)[0], per_class(sets))


# ---- what permutations change -------------------------------------------------------------------
@pytest.fixture(scope="module")
def paper():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SetEncoder(), MLPEncoder()


def test_encoders_are_of_the_paper_s_size(paper):
    assert [count(net) for net in paper] == [1_893_632, 2_098_380]
    assert [net(features(2, 10, 5, 512)).shape for net in paper] == [(2, 1024)] * 2


def test_the_paper_s_set_encoder_sees_sets(paper):
    x = features(1, 10, 5, 512)
    out, other = paper[0](x), paper[0](features(1, 10, 5, 512, seed=1))
    assert (paper[0](x.flip(2)) - out).abs().max() < 1e-6
    assert (paper[0](x.flip(1)) - out).abs().max() < 1e-6
    assert (other - out).abs().max() > 1e-3
    assert (paper[1](x.flip(2)) - paper[1](x)).abs().max() > 1e-3
    assert (paper[1](x.flip(1)) - paper[1](x)).abs().max() > 1e-3


@given(classes=st.integers(1, 5), shots=st.integers(1, 4), seed=st.integers(0, 99))
@few
def test_invariances(classes, shots, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, classes, shots, 6, generator=g)
    order, images = torch.randperm(classes, generator=g), torch.randperm(shots, generator=g)
    torch.manual_seed(seed)
    net = SetEncoder(6, 4, width=8, inducing=3)
    near = {"rtol": 1e-4, "atol": 1e-5}
    for f in (net, per_class, concatenated):
        torch.testing.assert_close(f(x[:, :, images]), f(x), **near)
    torch.testing.assert_close(net(x[:, order]), net(x), **near)
    torch.testing.assert_close(per_class(x[:, order]), per_class(x)[:, order], **near)
    torch.testing.assert_close(net(x)[:1], net(x[:1]), **near)          # data sets stay apart


def test_the_mlp_encoder_is_bound_to_order_and_slices_for_fewer_classes():
    net, x = MLPEncoder(6, classes=4, shots=3, size=5), features(2, 2, 3, 6)
    out = net(x)
    assert (out - net(x.flip(1))).abs().max() > 1e-4
    assert (out - net(x.flip(2))).abs().max() > 1e-4
    rows = []
    for sets in x:                      # columns image by image, in each the classes that there are
        flat = torch.stack([sets[c, s] for s in range(3) for c in range(2)])           # (S·C, d)
        hidden = flat.T @ net.mix.weight[:, :6].T + net.mix.bias                       # (d, 4)
        rows.append(net.leave(torch.where(hidden > 0, hidden, 0.01 * hidden).flatten()))
    torch.testing.assert_close(out, torch.stack(rows))


# ---- attention written out ----------------------------------------------------------------------
def plain_mab(block, queries, members):
    """A second implementation, for one set: loops over heads and queries, no batches."""
    q, k, v = block.query(queries), block.key(members), block.value(members)
    width, part = q.shape[1], q.shape[1] // block.heads
    rows = []
    for i in range(len(q)):
        parts = []
        for h in range(block.heads):
            own = slice(h * part, (h + 1) * part)
            weights = torch.tensor([math.exp(float(q[i, own] @ key[own]) / math.sqrt(width))
                                    for key in k])
            weights = weights / weights.sum()
            parts.append(q[i, own] + sum(w * value[own] for w, value in zip(weights, v,
                                                                           strict=True)))
        rows.append(torch.cat(parts))
    o = torch.stack(rows)
    return o + torch.relu(block.out(o))


def plain_pool(pool, members):
    for isab in pool.within:
        members = plain_mab(isab.spread, members, plain_mab(isab.gather, isab.points[0], members))
    row = plain_mab(pool.pool.look, pool.pool.seed[0], members)
    for block in pool.after:
        row = plain_mab(block, row, row)
    return pool.leave(row)[0]


@torch.no_grad()
def test_attention_is_the_plain_one():
    q, x = features(2, 3, 5), features(2, 4, 6)
    block, isab, pma = MAB(5, 6, 8, heads=2), ISAB(6, 8, heads=4, inducing=3), PMA(8)
    for i in range(2):
        torch.testing.assert_close(block(q, x)[i], plain_mab(block, q[i], x[i]))
        points = plain_mab(isab.gather, isab.points[0], x[i])
        within = plain_mab(isab.spread, x[i], points)
        torch.testing.assert_close(isab(x)[i], within)
        torch.testing.assert_close(pma(isab(x))[i], plain_mab(pma.look, pma.seed[0], within))


@torch.no_grad()
def test_the_set_encoder_is_the_plain_one():
    net, x = SetEncoder(6, 4, width=8, inducing=3), features(2, 3, 2, 6)
    for sets, out in zip(x, net(x), strict=True):
        of_class = torch.stack([plain_pool(net.images, s) for s in sets])
        torch.testing.assert_close(out, net.leave(plain_pool(net.classes, of_class)),
                                   rtol=1e-4, atol=1e-5)


# ---- alignment ----------------------------------------------------------------------------------
def test_the_alignment_loss_is_the_released_one():
    eye = torch.eye(2)
    W = torch.tensor([[1, 2], [0, 1], [-1, 0.5]])
    D = torch.tensor([[0.5, 1], [1, 0], [-1, -1]])
    for args, want in (((eye, eye), 0.5822031), ((eye.flip(0), eye), 1.0443203),
                       ((torch.zeros(2, 2),) * 2, math.log(2)), ((3 * eye, 3 * eye), 0.0012340),
                       ((W, D), 0.8325904), ((W, D, 2.0), 0.7566179)):
        assert float(alignment_loss(*args)) == pytest.approx(want, abs=1e-6)


@given(rows=st.integers(1, 5), temperature=st.floats(0.5, 3), seed=st.integers(0, 99))
@few
def test_the_alignment_loss_pair_by_pair(rows, temperature, seed):
    W, D = features(2, rows, 3, seed=seed).double()
    total = 0.0
    targets = torch.stack([torch.softmax(torch.stack(
        [(D[i] @ D[j] + W[i] @ W[j]) / 2 * temperature for j in range(rows)]), 0)
        for i in range(rows)])
    for i in range(rows):
        for j in range(rows):
            of_row = W[i] @ D[j] / temperature - torch.logsumexp(W[i] @ D.T / temperature, 0)
            of_column = W[j] @ D[i] / temperature - torch.logsumexp(W @ D[i] / temperature, 0)
            total -= targets[i, j] * of_row + targets[j, i] * of_column
    assert float(alignment_loss(W, D, temperature)) == pytest.approx(float(total / rows / 2))
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    assert float(alignment_loss(W[order], D[order])) == pytest.approx(float(alignment_loss(W, D)))


def test_alignment_teaches_the_encoder_and_nothing_else():
    net = SetEncoder(4, 3, width=8, inducing=2)
    sets, latents = features(12, 2, 6, 4), features(12, 3, seed=1)
    before = {k: p.clone() for k, p in net.named_parameters()}
    kept = sets.clone(), latents.clone()
    how = Alignment(epochs=8, lr=1e-2, shots=3)
    aligned, losses = fit_encoder(net, sets, latents, how, device="cpu")
    assert len(losses) == 8 and losses[-1] < losses[0]
    assert all(torch.equal(p, before[k]) for k, p in net.named_parameters())
    assert torch.equal(sets, kept[0]) and torch.equal(latents, kept[1])
    with torch.no_grad():
        loss = [alignment_loss(latents, n(sets)) for n in (net, aligned)]
    assert loss[1] < loss[0]
    again, same = stored_encoder(net, sets, latents, how, device="cpu")
    assert same == losses and all(torch.equal(p, q) for p, q in
                                  zip(again.parameters(), aligned.parameters(), strict=True))
    assert stored_encoder(net, sets, latents, how, device="cpu")[1] == losses
    other = fit_encoder(net, sets, latents, how, seed=1, device="cpu")[1]
    assert other != losses


def test_alignment_does_one_plain_step():
    net = SetEncoder(4, 3, width=8, inducing=2)
    sets, latents = features(5, 2, 2, 4), features(5, 3, seed=1)
    loss = alignment_loss(latents, net(sets))
    gradients = dict(zip([k for k, _ in net.named_parameters()],
                      torch.autograd.grad(loss, list(net.parameters())), strict=True))
    aligned, losses = fit_encoder(net, sets, latents, Alignment(epochs=1, shots=None), device="cpu")
    assert losses == [pytest.approx(loss.item(), rel=1e-4)]
    moved = dict(aligned.named_parameters())
    for k, p in net.named_parameters():             # AdamW's first step: the rate, by the sign
        clear = gradients[k].abs() > 1e-3
        torch.testing.assert_close((moved[k] - p)[clear], -1e-4 * gradients[k].sign()[clear],
                                   rtol=1e-2, atol=1e-6)


# ---- frozen features ----------------------------------------------------------------------------
def test_the_glyph_encoder_has_seen_no_character_of_a_task():
    tasks = glyphs.characters_of("letters")
    assert len(BASE) > 300 and len(set(BASE)) == len(BASE)
    assert not {glyphs.base_of(c) for c in BASE} & {glyphs.base_of(c) for c in tasks}
    assert set("0123456789") <= set(tasks)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WLIB_STORE", str(tmp_path_factory.mktemp("store")))
        first = glyph_backbone(samples=2, epochs=1, device="cpu")
        again = glyph_backbone(samples=2, epochs=1, device="cpu")
    assert all(torch.equal(p, q) for p, q in zip(first.parameters(), again.parameters(),
                                                 strict=True))
    return first


def test_glyph_features_are_normalized_and_frozen(backbone, monkeypatch):
    some = images(300, size=28)
    x = glyph_features(some, backbone, device="cpu")
    assert x.shape == (300, 64) and not x.requires_grad
    assert not any(p.requires_grad for p in backbone.parameters())
    torch.testing.assert_close(x.mean(1), torch.zeros(300), rtol=0, atol=1e-4)
    torch.testing.assert_close(x.var(1, correction=0), torch.ones(300), rtol=0, atol=1e-2)
    torch.testing.assert_close(glyph_features(some[7], backbone, device="cpu")[0], x[7])
    monkeypatch.setattr(backbones, "glyph_backbone", lambda device: backbone)
    assert torch.equal(glyph_features(some, device="cpu"), x)


def test_torchvision_features_come_from_the_user_s_weights(tmp_path):
    from torchvision.models import resnet18

    net = resnet18(weights=None).eval()
    torch.save(net.state_dict(), tmp_path / "resnet18.pth")
    some = images(3, size=8, channels=3)
    x = vision_features(some, tmp_path / "resnet18.pth", size=32, device="cpu")
    assert x.shape == (3, 512)
    seen = backbones._as_seen(some.floats(), 32, *backbones.IMAGENET)
    body = nn.Sequential(*list(net.children())[:-1], nn.Flatten())
    torch.testing.assert_close(x, body(seen).detach(), rtol=1e-4, atol=1e-5)
    with pytest.raises(FileNotFoundError, match="there is no file .*nothing.pth.*glyph_features"):
        vision_features(some, tmp_path / "nothing.pth")


def test_images_are_shown_as_a_network_has_learned_to_see_them():
    white = ImageSet(torch.full((1, 1, 4, 4), 255, dtype=torch.uint8), torch.tensor([0]), ("a",))
    seen = backbones._as_seen(white.floats(), 8, (0.5, 0.4, 0.3), (0.1, 0.2, 0.5))
    assert seen.shape == (1, 3, 8, 8)
    assert seen.amax((0, 2, 3)).tolist() == pytest.approx([5, 3, 1.4], rel=1e-4)


class Blurred(nn.Module):
    """A stand-in with CLIP's interface."""

    def encode_image(self, x):
        return x.mean((2, 3))


def test_clip_features_of_a_model_of_one_s_own():
    x = clip_features(images(3, size=8), model=Blurred(), size=16, device="cpu")
    assert x.shape == (3, 3)


@needs_clip
def test_clip_features_by_open_clip(tmp_path):
    """The whole path with a small model that was never trained, in CLIP's own format."""
    import open_clip

    config = {"embed_dim": 16,
              "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16,
                             "image_size": 32},
              "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2,
                           "layers": 1}}
    (tmp_path / "tiny-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    net = open_clip.create_model("tiny-clip").eval()
    torch.save(net.state_dict(), tmp_path / "tiny.pt")
    some = images(5, size=8)
    x = clip_features(some, tmp_path / "tiny.pt", model="tiny-clip", size=32, device="cpu")
    assert x.shape == (5, 16)
    seen = backbones._as_seen(some.floats(), 32, *backbones.CLIP)
    with torch.no_grad():
        torch.testing.assert_close(x, net.encode_image(seen), rtol=1e-4, atol=1e-5)


def test_without_open_clip_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ImportError, match=r"weights-as-data\[clip\]"):
        clip_features(images(2), "weights.pt")


# ---- bad input ----------------------------------------------------------------------------------
@pytest.mark.parametrize("work, message", [
    (lambda: by_class(features(4, 2), torch.tensor([0, 0, 1, 0]), 2),
     "features: got '1 images of class 1', want at least count = 2"),
    (lambda: by_class(features(2, 2), torch.tensor([0, 0]), 1, classes=2),
     "features: got '0 images of class 1'"),
    (lambda: by_class(features(2, 2), torch.tensor([0, 3]), 1, classes=2),
     "labels: got 'label 3', want labels below classes = 2"),
    (lambda: by_class(features(2, 2), torch.tensor([0]), 1), r"labels: .* want \(2,\)"),
    (lambda: by_class(torch.full((2, 2), math.nan), torch.tensor([0, 0]), 1), "features: got 'NaN"),
    (lambda: by_class(features(2, 2), torch.tensor([0, 0]), 0), "count: got 0"),
    (lambda: draw(features(2, 3, 4), 4, seeds.generator(0)),
     "features: got '3 images of a class', want at least shots = 4"),
    (lambda: draw(features(2, 3, 4), 0, seeds.generator(0)), "shots: got 0"),
    (lambda: draw(features(3, 4), 1, seeds.generator(0)), r"features: .* want \(…, classes"),
    (lambda: draw([features(3, 4), features(1, 4)], 2, seeds.generator(0)),
     r"features\[1\]: got '1 images of a class'"),
    (lambda: draw([features(3, 4)], None, seeds.generator(0)), "shots: got None"),
    (lambda: SetEncoder(6, 4, width=8)(features(2, 3, 2, 5)), r"sets: .* images, 6\)"),
    (lambda: SetEncoder(6, 4, width=9), "width: got 9, want a multiple of heads = 2"),
    (lambda: MLPEncoder(6, 4, 3, 5)(features(2, 5, 3, 6)), "sets: .* at most 4 classes, 3 images"),
    (lambda: MLPEncoder(6, 4, 3, 5)(features(2, 4, 2, 6)), "sets: .* at most 4 classes, 3 images"),
    (lambda: alignment_loss(features(2, 3), features(3, 3)), r"D: .* want the shape .*\(2, 3\)"),
    (lambda: alignment_loss(features(2, 3), features(2, 3), 0), "temperature: got 0"),
    (lambda: fit_encoder(SetEncoder(4, 3, width=8), features(5, 2, 2, 4), features(4, 3)),
     "latents: .* want one row for each of 5 data sets"),
    (lambda: fit_encoder(per_class, features(5, 2, 2, 4), features(5, 3)), "encoder: got"),
    (lambda: glyph_features(images(4, size=8)), r"images: .* want an ImageSet of shape \(1, 28"),
    (lambda: clip_features(features(4, 3, 8, 8), model=Blurred()), "images: .* an ImageSet"),
    (lambda: clip_features(images(2), model=nn.Identity()), "model: .* with encode_image"),
])
def test_bad_input_is_refused(work, message):
    with pytest.raises(ValueError, match=message):
        work()
