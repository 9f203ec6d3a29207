"""The source networks of part II: what is held out stays out, and training is reproducible."""

import pytest
import torch

from wlib.data import ImageSet
from wlib.mda import sources


def small(**settings):
    return sources.images(ways=3, samples=(6, 2, 2), held=2, **settings)


def test_held_out_images_are_the_last_of_each_class_and_in_no_other_split():
    parts = small()
    assert [len(part) for part in parts] == [12, 6, 6, 6]
    assert parts.held.labels.bincount().tolist() == [2, 2, 2]
    hashes = [set(part.hashes()) for part in parts]
    assert len(set.union(*hashes)) == sum(map(len, hashes))
    whole = sources.load("glyphs", "train", characters="ABD", style="color", samples=6,
                         seed=0)
    assert set(whole[12:].hashes()) == hashes[1]          # drawn class by class in turn


def test_the_two_look_alikes_are_the_only_ones():
    first = [letters[0] for letters in sources.ALPHABETS.values()]
    assert first[:2] == ["A", "Α"] and ord(first[1]) == 0x391
    every = "".join(sources.ALPHABETS.values())
    assert len(set(every)) == len(every) == 60


def test_real_sets_keep_their_classes_and_splits():
    parts = sources.images("digits", held=3)
    assert parts.fit.classes == tuple("0123456789") and len(parts.held) == 30
    fewer = sources.images("digits", samples=(20, 5, 5), held=3)
    assert [len(part) for part in fewer] == [170, 30, 50, 50]
    assert set(fewer.test.hashes()) <= set(parts.test.hashes())


def test_training_goes_on_from_the_fast_start_and_repeats(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    data = small().fit
    one = sources.trained("vgg", data, seeds=[3], epochs=1, widths=[4, 4, 4], device="cpu")
    two = sources.trained("vgg", data, seeds=[1, 3], epochs=1, widths=(4, 4, 4), device="cpu")
    assert torch.equal(one.flat()[0], two.flat()[1]) and not torch.equal(*two.flat())
    start = sources.train.fit("vgg", data, seeds=[3], epochs=1, batch=16, lr=1e-3,
                              widths=(4, 4, 4), device="cpu")
    assert not torch.equal(start.flat(), one.flat())


def test_networks_of_torchvision_are_built_for_the_classes():
    data = small().fit
    assert sources.design("lenet", data) == "lenet"
    assert sources.design("resnet18", data).fc.out_features == 3
    assert sources.design("googlenet", data).aux1 is None


def test_bad_input_is_refused():
    data = ImageSet(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), "ab")
    for held in (0, 2, 1.5):
        with pytest.raises(ValueError, match="held: got .* images of the smallest class"):
            sources.divide(data, held)
    with pytest.raises(ValueError, match="ways: got 21, want a whole number from 1 to 20"):
        sources.images(ways=21)
    with pytest.raises(ValueError, match="alphabet: got 'latin'.*Latin"):
        sources.images(alphabet="latin")
    with pytest.raises(ValueError, match="architecture: got 'resnet19'.*resnet1"):
        sources.design("resnet19", data)
    with pytest.raises(ValueError, match="samples: got"):
        sources.images(samples=(10, 10))


def test_images_of_other_channels_are_not_put_together():
    color, gray = small().test, small(style="gray").test
    with pytest.raises(ValueError, match=r"sets: got .*\(3, 32, 32\), \(1, 28, 28\).*one shape"):
        sources.together([color, gray], [[0], [1]])
    assert len(sources.together([gray, gray], [[0], [1]])) == 4
