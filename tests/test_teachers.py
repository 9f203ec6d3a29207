"""Pools of teachers, and the classes that they learn, are chosen by and are judged on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small import Own, few, images
from torch import nn

from wlib import store
from wlib.core import nets
from wlib.data import SPLITS, ImageSet, cifarfs, domains, glyphs
from wlib.data.sets import first, mixed, restrict
from wlib.free.teachers import Teacher, Teachers, Training, accuracy, stacked, tasks, trained

BASE = images(96, 12, size=16)
LATIN = {"characters": "latin", "samples": 4}


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path_factory.getbasetemp() / "store"))


def small(count=4, sets=BASE, seed=0, **settings):
    how = Training(**{"ways": 3, "width": 4, "epochs": 1} | settings)
    return trained(sets, how, count=count, seed=seed, device="cpu")


# ---- domains ----------------------------------------------------------------------------------
@pytest.mark.parametrize("domain", ["glyphs", "color glyphs"])
def test_no_glyph_is_in_two_splits_nor_a_class_with_its_base_letter(domain):
    parts = {s: domains.images(domain, s, **LATIN) for s in SPLITS}
    hashes = [h for p in parts.values() for h in p.hashes()]
    assert len(set(hashes)) == len(hashes)
    letters = [{glyphs.base_of(c) for c in p.classes} for p in parts.values()]
    assert not letters[0] & letters[1] and not letters[0] & letters[2]
    assert not letters[1] & letters[2] and all(letters)


def test_no_test_class_looks_like_a_base_class():
    classes = {s: glyphs.plan(s, by="character")[0] for s in SPLITS}
    assert [len(classes[s]) for s in SPLITS] == [397, 127, 134]
    pairs = glyphs.look_alikes([c for part in classes.values() for c in part], ["DejaVu Sans"])
    place = {c: s for s, part in classes.items() for c in part}
    assert not [pair for pair in pairs if place[pair[0]] != place[pair[1]]]


def test_handwritten_digits_are_divided_as_the_glyphs_are():
    parts = {s: domains.images("digits", s, samples=500) for s in SPLITS}
    assert [p.classes for p in parts.values()] == [tuple("013569"), tuple("28"), tuple("47")]
    assert sum(len(p) for p in parts.values()) == 1797        # every image of every digit
    hashes = [set(p.hashes()) for p in parts.values()]
    assert not hashes[0] & hashes[1] and not hashes[0] & hashes[2]
    for split, part in parts.items():
        drawn = domains.images("glyphs", split, characters="digits", samples=1)
        assert drawn.classes == part.classes


def test_cifarfs_divides_the_hundred_classes(monkeypatch):
    lists = cifarfs.CLASSES
    assert [len(lists[s]) for s in SPLITS] == [64, 16, 20]
    everything = sorted(c for part in lists.values() for c in part)
    assert len(set(everything)) == 100
    whole = images(300, 100, size=32, channels=3)
    fake = ImageSet(whole.images, whole.labels, everything)
    thirds = dict(zip(SPLITS, [fake[:100], fake[100:200], fake[200:]], strict=True))
    monkeypatch.setattr(domains, "load", lambda name, split, root: thirds[split])
    parts = {s: domains.images("cifarfs", s) for s in SPLITS}
    assert [p.classes for p in parts.values()] == [lists[s] for s in SPLITS]
    assert [len(p) for p in parts.values()] == [3 * 64, 3 * 16, 3 * 20]
    truth = {h: everything[k] for h, k in zip(fake.hashes(), fake.labels.tolist(), strict=True)}
    assert [p.classes[k] for p in parts.values() for k in p.labels] \
        == [truth[h] for p in parts.values() for h in p.hashes()]
    assert [len(domains.images("cifarfs", s, samples=2)) for s in SPLITS] == [128, 32, 40]


def test_cifarfs_without_files_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="CIFAR-100"):
        domains.images("cifarfs", root=tmp_path)


@pytest.mark.parametrize("domain", domains.FOLDERS)
def test_folders_have_splits_of_their_own(tmp_path, domain):
    for split, name in (("train", "cat"), ("train", "dog"), ("test", "owl")):
        for i in range(3):
            path = tmp_path / domain / split / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 30, 3), 9 * i, np.uint8)).save(path)
    base = domains.images(domain, root=tmp_path, samples=2)
    assert base.classes == ("cat", "dog") and tuple(base.images.shape) == (4, 3, 84, 84)
    assert domains.images(domain, "test", root=tmp_path, size=28).images.shape[-1] == 28
    with pytest.raises(FileNotFoundError, match="validation"):
        domains.images(domain, "validation", root=tmp_path)


def test_domains_come_in_one_shape_and_keep_their_classes_apart():
    sets = {d: domains.images(d, channels=3, size=32, samples=2,
                              **({} if d == "digits" else {"characters": "digits"}))
            for d in ("glyphs", "color glyphs", "digits")}
    whole = mixed(sets)
    assert tuple(whole.images.shape) == (36, 3, 32, 32) and len(whole.classes) == 18
    assert whole.classes[0] == "glyphs: 0" and whole.classes[-1] == "digits: 9"
    digits = restrict(whole, ["digits: 9", "digits: 0"])
    assert torch.equal(digits.images[digits.labels == 0],
                       restrict(sets["digits"], ["9"]).images)
    assert not torch.equal(whole.images[:, 0], whole.images[:, 2])          # color stays color
    with pytest.raises(ValueError, match="sets: .*one shape"):
        mixed({"a": images(6, 3, size=8), "b": images(6, 3, size=16)})


def test_restricted_sets_are_labeled_anew():
    ten = images(20, 10)
    two = restrict(ten, ["c3", "c0"])
    assert two.classes == ("c3", "c0") and two.labels.tolist() == [1, 0, 1, 0]
    assert torch.equal(two.images, ten.images[[0, 3, 10, 13]])


@few
@given(st.integers(1, 9), st.integers(0, 5))
def test_the_first_images_of_each_class_are_taken(samples, seed):
    order = torch.randperm(24, generator=torch.Generator().manual_seed(seed))
    whole = images()[order]
    some = first(whole, samples)
    assert some.labels.bincount().tolist() == [min(samples, 8)] * 3
    for k in range(3):
        assert torch.equal(some.images[some.labels == k], whole.images[whole.labels == k][:samples])


@pytest.mark.parametrize("argument, given", [
    ("domain", {"domain": "glyph"}), ("split", {"split": "base"}), ("samples", {"samples": 0}),
    ("channels", {"channels": 2}), ("size", {"size": 3}),
    ("characters", {"domain": "digits", "characters": "latin"}),
    ("channels", {"domain": "color glyphs", "channels": 1, "samples": 1, "characters": "latin"})])
def test_domains_refuse(argument, given):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        domains.images(**{"domain": "glyphs"} | given)


# ---- which tasks ------------------------------------------------------------------------------
@few
@given(st.integers(1, 12), st.integers(0, 3), st.booleans())
def test_a_task_depends_on_seed_and_place_alone(count, seed, deal):
    sets = {"a": BASE, "b": images(30, 10, size=16)}
    settings = {"ways": 3, "architectures": ("conv4", "resnet10"), "deal": deal, "seed": seed}
    assert tasks(sets, count=count, **settings) == tasks(sets, count=12, **settings)[:count]


def test_domains_and_architectures_take_turns():
    planned = tasks({"a": BASE, "b": BASE}, count=8, ways=3, architectures=("conv4", "resnet18"))
    assert {(t.domain, t.architecture) for t in planned[:4]} \
        == {(d, a) for d in "ab" for a in ("conv4", "resnet18")}
    assert all(c.startswith(f"{t.domain}: ") for t in planned for c in t.classes)


def test_dealt_classes_come_back_only_after_all_have_come():
    for turn in range(3):
        hand = tasks(BASE, count=12, ways=3, deal=True)[4 * turn:4 * turn + 4]
        assert sorted(c for t in hand for c in t.classes) == sorted(BASE.classes)
    lots = tasks(BASE, count=4, ways=3)
    assert all(len(set(t.classes)) == 3 for t in lots)
    assert len({c for t in lots for c in t.classes}) < 12      # at random, some come twice


# ---- training ---------------------------------------------------------------------------------
def test_teachers_differ_in_weights_and_architecture():
    pool = small(6, architectures=("conv4", "resnet10", "resnet18"))
    assert [t.architecture for t in pool.members] == ["conv4", "resnet10", "resnet18"] * 2
    assert len({store.architecture(t.net) for t in pool.members}) == 3
    assert len({store.digest(t.net.state_dict()) for t in pool.members}) == 6
    twins = [(0, 3), (1, 4), (2, 5)]
    for i, j in twins:       # of one architecture, no tensor of weights is shared or equal
        for a, b in zip(pool.members[i].net.parameters(), pool.members[j].net.parameters(),
                        strict=True):
            assert a.data_ptr() != b.data_ptr()
        assert not torch.equal(next(pool.members[i].net.parameters()),
                               next(pool.members[j].net.parameters()))
    assert [places for places, _ in stacked(pool)] == [list(t) for t in twins]
    for places, together in stacked(pool):
        x = BASE[:5].floats()
        for row, i in enumerate(places):
            torch.testing.assert_close(together.logits(x)[row], pool.members[i].net(x))


def test_resnets_have_the_named_depth():
    pool = small(3, architectures=("conv4", "resnet10", "resnet18"))
    layers = [sum(isinstance(m, (nn.Conv2d, nn.Linear)) and getattr(m, "kernel_size", 0) != (1, 1)
                  for m in t.net.modules()) for t in pool.members]
    assert layers == [5, 10, 18]


def test_a_teacher_is_the_same_whatever_pool_it_is_trained_in():
    few_, more = small(2), small(4)
    assert few_.digest() == more[:2].digest()
    assert few_.digest() != small(2, seed=1).digest()


def test_teachers_learn_their_classes():
    pool = small(2, images(240, 12, size=16), width=8, epochs=12)
    new = images(60, 12, size=16, seed=1)
    assert accuracy(pool, new).min() > 0.8
    with pytest.raises(ValueError, match="images: .*teacher 0"):
        accuracy(pool, new[new.labels != new.classes.index(pool.members[0].classes[0])])


def test_every_teacher_is_kept_in_the_store(monkeypatch, tmp_path):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    small(2)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    small(3)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_no_teacher_saw_a_test_class_or_image():
    base, test = (domains.images("glyphs", s, **LATIN) for s in ("train", "test"))
    pool = small(3, base)
    assert set(pool.covered) <= set(base.classes) and not set(pool.names) & set(test.classes)
    assert not set(base.hashes()) & set(test.hashes())


# ---- a pool of one's own ----------------------------------------------------------------------
def own(*classes, **settings):
    return Teacher(Own(len(classes)), classes, **settings)


def test_any_network_can_be_a_teacher_and_is_left_as_it_was():
    net = Own().train()
    pool = Teachers([Teacher(net, "abc"), own("c", "d", "a")], (1, 8, 8))
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert pool.names == tuple("abcd") and pool.ids.tolist() == [[0, 1, 2], [2, 3, 0]]
    assert [t.number for t in pool.members] == [0, 1] and pool.ways == 3
    assert not any(t.net.training for t in pool.members)
    assert Teachers([own("d", "a")], (1, 8, 8), names="abcd").ids.tolist() == [[3, 0]]


def test_chosen_teachers_keep_number_and_names():
    pool = Teachers([own("a", "b"), own("c", "d"), own("e", "f")], (1, 8, 8))
    last = pool[2]
    assert len(last) == 1 and last.members[0].number == 2 and last.ids.tolist() == [[4, 5]]
    assert [t.number for t in pool[[2, 0]].members] == [2, 0]
    assert last.digest() == pool[1:][-1].digest() != pool[1].digest()
    assert [len(t) for t in pool] == [1, 1, 1]


@pytest.mark.parametrize("argument, make", [
    ("members", lambda: Teachers([own("a", "b"), own("a", "b", "c")], (1, 8, 8))),
    ("members", lambda: Teachers([], (1, 8, 8))),
    ("members", lambda: Teachers([own("a", "b", number=3), own("c", "d", number=3)], (1, 8, 8))),
    ("members", lambda: Teachers([Teacher(Own(5), "abc")], (1, 8, 8))),
    ("shape", lambda: Teachers([own("a", "b")], (3, 8, 8))),
    ("shape", lambda: Teachers([own("a", "b")], (8, 8))),
    ("names", lambda: Teachers([own("a", "b")], (1, 8, 8), names="ac")),
    ("classes", lambda: own("a", "a")), ("net", lambda: Teacher(None, "ab")),
    ("index", lambda: Teachers([own("a", "b")], (1, 8, 8))[1]),
    ("index", lambda: Teachers([own("a", "b")], (1, 8, 8))[[0, 0]]),
    ("ways", lambda: small(ways=13)), ("count", lambda: small(0)),
    ("width", lambda: small(width=3)),
    ("architectures", lambda: small(architectures=("conv5",))),
    ("sets", lambda: small(sets=[BASE])), ("classes", lambda: restrict(BASE, ["x"]))])
def test_pools_refuse(argument, make):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        make()


def test_teachers_of_different_numbers_of_classes_are_named():
    with pytest.raises(ValueError, match="teachers of 2 and 3 classes"):
        Teachers([own("a", "b"), own("a", "b", "c")], (1, 8, 8))


def test_conv4_has_the_paper_s_size():
    """29,541, 32,901 and 28,485 weights count the convolutions' biases, which BatchNorm cancels."""
    for channels, size, count in ((3, 32, 29_541), (3, 84, 32_901), (1, 28, 28_485)):
        net = nets.build("conv4", classes=5, channels=channels, size=size, width=32)
        assert sum(p.numel() for p in net.parameters()) + 4 * 32 == count
