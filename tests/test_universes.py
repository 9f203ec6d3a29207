"""Data sets come in splits that share no image, and neither characters nor faces where promised."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import few, images

from wlib import seeds
from wlib.data import SPLITS, ImageSet, glyphs, universes
from wlib.data.universes import Counts, DataSet, characters, divided, letters, real, styles

TINY = Counts(3, 2, 1, 1)


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path_factory.getbasetemp() / "store"))


# ---- what splits keep apart -------------------------------------------------------------------
def test_letters_fall_into_three_parts_without_a_common_base_letter():
    parts = {s: letters(s) for s in SPLITS}
    assert [len(p) for p in parts.values()] == [397, 127, 134]
    bases = [{glyphs.base_of(c) for c in p} for p in parts.values()]
    assert len(set().union(*bases)) == sum(map(len, bases))
    pairs = glyphs.look_alikes([c for p in parts.values() for c in p], ["DejaVu Sans"])
    place = {c: s for s, p in parts.items() for c in p}
    assert all(place[a] == place[b] for a, b in pairs)
    assert not set(place) & set(glyphs.ALPHABETS["symbols"])


def test_sets_of_two_splits_share_no_character_and_no_image():
    sets = [s for split in SPLITS for s in characters(split, 3, counts=TINY)]
    universes.require_disjoint(sets)
    held = {split: {c for s in sets if s.split == split for c in s.classes} for split in SPLITS}
    assert not held["train"] & held["test"] and not held["train"] & held["validation"]
    assert not held["validation"] & held["test"]


def test_classes_have_one_order_in_all_sets():
    order = glyphs.characters_of("letters")
    for s in characters("train", 4, counts=TINY):
        places = [order.index(c) for c in s.classes]
        assert places == sorted(places) and "".join(s.classes) == s.spec["characters"]
    assert all(s.classes == universes.DIGITS for s in styles("train", 2, counts=TINY))


def test_styles_of_two_splits_share_no_face_and_no_image():
    sets = [s for split in SPLITS for s in styles(split, 4, counts=TINY)]
    universes.require_disjoint(sets)
    faces = {split: {f for s in sets if s.split == split for f in s.spec["faces"]}
             for split in SPLITS}
    assert all(glyphs.FACES[f][1] == split for split, some in faces.items() for f in some)
    assert all(len(s.spec["faces"]) == 3 for s in sets)


def test_or_no_three_faces():
    threes = {split: {universes._three_faces(split, "combinations", seeds.generator(i))
                      for i in range(60)} for split in SPLITS}
    few_ = styles("test", 3, unseen="combinations", counts=Counts(1, 1, 1, 1))
    assert not {s.spec["faces"] for s in few_} & threes["train"]
    assert not threes["train"] & threes["test"] and not threes["train"] & threes["validation"]
    assert not threes["validation"] & threes["test"]
    assert len({f for some in threes.values() for three in some for f in three}) > 15


def test_real_sets_have_the_shape_of_the_style_universe():
    sets = [real("mnist5k", counts=TINY), real("digits", counts=TINY), *styles("train", 1,
                                                                              counts=TINY)]
    universes.require_disjoint(sets)
    assert len({tuple(s.train.images.shape) for s in sets}) == 1
    assert len({s.classes for s in sets}) == 1 and sets[0].split == "test"
    assert real("digits", counts=TINY, channels=3).train.channels == 3


def test_a_set_that_lacks_files_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="KMNIST"):
        real("kmnist", root=tmp_path)


# ---- one draw ---------------------------------------------------------------------------------
@pytest.mark.parametrize("universe", [characters, styles])
def test_a_data_set_depends_on_seed_and_place_alone(universe):
    two, three = universe("train", 2, counts=TINY), universe("train", 3, counts=TINY)
    assert [s.digest() for s in two] == [s.digest() for s in three[:2]]
    assert [s.number for s in two] == [s.number for s in three[:2]]
    other = universe("train", 2, counts=TINY, seed=1)
    assert not {h for s in two for h in s.train.hashes()} & \
        {h for s in other for h in s.train.hashes()}
    assert two[0].spec != other[0].spec and two[0].spec != two[1].spec


@pytest.mark.parametrize("universe", [characters, styles])
def test_fewer_images_are_the_first_of_more(universe):
    some = universe("train", 1, counts=TINY)[0]
    more = universe("train", 1, counts=Counts(5, 2, 1, 1))[0]
    assert torch.equal(some.train.images, more.train.images[:len(some.train)])
    assert torch.equal(some.train.labels, more.train.labels[:len(some.train)])


@few
@given(st.integers(0, 20), st.sampled_from(SPLITS), st.sampled_from([1, 3]))
def test_styles_stay_in_their_ranges(seed, split, channels):
    spec = styles(split, 1, channels=channels, counts=Counts(1, 1, 1, 1), seed=seed)[0].spec
    assert -60 <= spec["turn"] <= 60 and 0.7 <= spec["scale"] <= 1.2
    assert 0 <= spec["texture"] <= 0.4 and len(spec["dark"]) == len(spec["light"]) == channels
    assert min(spec["light"]) - max(spec["dark"]) >= 0.3


def plain(**changes):
    spec = {"faces": ["DejaVu Sans"], "turn": 0.0, "scale": 1.0, "inverted": False, "texture": 0.0,
            "waves": 2.0, "direction": 0.0, "dark": (0.0,), "light": (1.0,)}
    return universes.styled(spec | changes, 4)[0].float() / 255


def test_the_style_is_what_the_spec_says():
    upright, labels = plain(), universes.styled(
        {"faces": ["DejaVu Sans"], "turn": 0.0, "scale": 1.0, "inverted": False, "texture": 0.0,
         "waves": 2.0, "direction": 0.0, "dark": (0.0,), "light": (1.0,)}, 4)[1]
    ink = glyphs.draw("train", characters="0123456789", faces=["DejaVu Sans"], samples=4,
                      look=glyphs.Look(noise=0.0))[0].float() / 255
    assert labels.tolist() == [*range(10)] * 4
    assert (upright - ink).abs().mean() < 0.05 and (upright - ink).abs().max() < 0.3   # noise only
    dark = plain(inverted=True)
    assert dark.mean() > 0.7 > 0.3 > upright.mean()
    quarter = plain(turn=90.0)                                     # clockwise
    assert (quarter - torch.rot90(ink, -1, (2, 3))).abs().mean() < 0.05
    assert plain(scale=0.7).mean() < 0.7 * upright.mean()
    paper = ink < 0.01
    assert upright[paper].mean() < 0.05 and 0.15 < plain(texture=0.4)[paper].mean() < 0.25
    red = plain(dark=(0.1, 0.2, 0.3), light=(1.0, 0.7, 0.8))
    assert red.shape[1] == 3
    assert (red.permute(1, 0, 2, 3)[:, paper[:, 0]].mean(1)
            - torch.tensor([0.1, 0.2, 0.3])).abs().max() < 0.02


def test_waves_run_across():
    one = universes._waves(28, 3.0, 0.0, np.array([0.0]))[0, 0]
    assert (one.std(0) < 1e-6).all() and one[0].std() > 0.3
    spectrum = torch.fft.rfft(one[0] - one[0].mean()).abs()
    assert int(spectrum.argmax()) == 3


# ---- data sets of one's own -------------------------------------------------------------------
def own(count=24, seed=0, **changes):
    parts = {name: images(count, seed=seed + i) for i, name in enumerate(universes.PARTS)}
    return DataSet(**{"name": "mine", "split": "train"} | parts | changes)


def test_the_first_support_images_make_a_condition():
    s = own()
    assert s.shots(2).labels.bincount().tolist() == [2, 2, 2]
    assert torch.equal(s.shots(2).images, s.support.images[:6])
    with pytest.raises(ValueError, match="support of 'mine': got .8 images of class 'c0'.*9"):
        s.shots(9)


def test_own_images_are_divided():
    s = divided("mine", images(30), images(6, seed=1), images(9, seed=2),
                counts=Counts(6, 3, 5, 2))
    assert [len(p) for p in s.parts.values()] == [18, 9, 6, 6] and s.spec["source"] == "mine"
    assert not set(s.train.hashes()) & set(s.support.hashes())
    with pytest.raises(ValueError, match=r"train \(of 'mine'.*got .10 images of class 'c0'.* 11"):
        divided("mine", images(30), images(6, seed=1), images(9, seed=2),
                counts=Counts(6, 5, 5, 2))


def test_parts_may_share_no_image_and_lack_no_class():
    with pytest.raises(ValueError, match="test: got .an image that train of 'mine' holds too"):
        own(test=images(seed=0))
    with pytest.raises(ValueError, match="validation: got .0 images of class 'c2'"):
        own(validation=images(2, seed=9))
    with pytest.raises(ValueError, match="support: .*classes of train"):
        own(support=images(seed=1, classes=4))
    with pytest.raises(ValueError, match="support: .*shape"):
        own(support=images(seed=1, size=12))


def test_sets_that_overlap_are_named():
    with pytest.raises(ValueError, match="sets: .*an image that is in 'mine' and in 'yours'"):
        universes.require_disjoint([own(), own(name="yours", seed=3)])
    with pytest.raises(ValueError, match="two called 'mine'"):
        universes.require_disjoint([own(), own(seed=50)])


@pytest.mark.parametrize("argument, make", [
    ("split", lambda: characters("tests", 1)), ("split", lambda: styles("encoder", 1)),
    ("split", lambda: letters("tests")), ("count", lambda: characters("train", 0)),
    ("ways", lambda: characters("train", 1, ways=398)),
    ("counts", lambda: styles("train", 1, counts=(1, 2, 3))),
    ("counts", lambda: styles("train", 1, counts=(1, 0, 3, 4))),
    ("unseen", lambda: styles("train", 1, unseen="face")),
    ("channels", lambda: styles("train", 1, channels=2)), ("name", lambda: real("mnist6k")),
    ("split", lambda: own(split="base")), ("name", lambda: own(name="")),
    ("train", lambda: own(train=None)), ("count", lambda: own().shots(0))])
def test_universes_refuse(argument, make):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        make()


def test_a_data_set_shows_what_it_is():
    assert repr(own()) == "DataSet('mine', train, 3 classes, 24 + 24 + 24 + 24 images)"
    assert own().digest() == own().digest() != own(name="other").digest()
    assert isinstance(own().parts["support"], ImageSet)
