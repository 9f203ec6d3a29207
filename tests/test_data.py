"""Image sets: what each split promises, the files of real sets, episodes, and every refusal."""

import csv
import gzip
import hashlib
import os
import pickle
import struct
import time
import zlib

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import datasets

from wlib.data import SPLITS, ImageSet, assign, episodes, glyphs, load, realsets, sets
from wlib.data import imagesets as data

PACKAGED = realsets.PACKAGED  # before a test takes it away
QUICK = settings(max_examples=25, deadline=None)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("WLIB_DATA", raising=False)
    monkeypatch.setattr(realsets, "PACKAGED", {})  # whatever this machine has installed


def random_set(per_class=(5, 5, 5), channels=1, size=6, seed=0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(per_class)).repeat_interleave(torch.tensor(per_class))
    images = torch.randint(0, 256, (len(labels), channels, size, size), generator=generator)
    return ImageSet(images.byte(), labels, tuple(f"class {k}" for k in range(len(per_class))))


def all_splits(name, **given):
    return {split: load(name, split, **given) for split in SPLITS}


def assert_disjoint(parts):
    hashes = [set(part.hashes()) for part in parts.values()]
    assert sum(map(len, hashes)) == len(set().union(*hashes))


# --------------------------------------------------------------------------- ImageSet


def test_image_set_properties_by_hand():
    images = torch.tensor([[[[0, 255]]], [[[51, 102]]]], dtype=torch.uint8)  # (2, 1, 1, 2)
    whole = ImageSet(images, torch.tensor([1, 0]), ["a", "b"])
    assert (len(whole), whole.channels, whole.size, whole.classes) == (2, 1, 1, ("a", "b"))
    assert whole.floats().dtype == torch.float32
    torch.testing.assert_close(whole.floats().flatten(), torch.tensor([0, 1, 0.2, 0.4]))
    expected = hashlib.sha256(b"(1, 1, 2)" + bytes([51, 102])).hexdigest()
    assert whole.hashes()[1] == expected
    assert "2 images" in repr(whole) and "2 classes" in repr(whole)


@pytest.mark.parametrize("index, rows", [
    (1, [1]), (-1, [14]), (slice(2, 4), [2, 3]), ([3, 0], [3, 0]), (np.array([7]), [7]),
    (torch.tensor([4, 4]), [4, 4]), (torch.arange(15) < 2, [0, 1])])
def test_indexing_gives_a_set(index, rows):
    whole = random_set()
    part = whole[index]
    assert torch.equal(part.images, whole.images[rows]) and part.classes == whole.classes
    assert torch.equal(part.labels, whole.labels[rows])


@pytest.mark.parametrize("change, named", [
    (dict(images=torch.zeros(3, 1, 2, 2)), "images"),
    (dict(images=torch.zeros(3, 2, 2, dtype=torch.uint8)), "images"),
    (dict(images=torch.zeros(3, 2, 2, 2, dtype=torch.uint8)), "images"),
    (dict(images=torch.zeros(0, 1, 2, 2, dtype=torch.uint8)), "images"),
    (dict(images=np.zeros((3, 1, 2, 2), np.uint8)), "images"),
    (dict(labels=torch.tensor([0, 1])), "labels"),
    (dict(labels=torch.tensor([0.0, 1, 1])), "labels"),
    (dict(labels=torch.tensor([0, 1, 2])), "labels"),
    (dict(labels=torch.tensor([-1, 1, 0])), "labels"),
    (dict(classes=()), "classes"),
    (dict(classes=("a", "a")), "classes"),
    (dict(classes=(0, 1)), "classes")])
def test_image_set_refuses(change, named):
    right = dict(images=torch.zeros(3, 1, 2, 2, dtype=torch.uint8), labels=torch.tensor([0, 1, 1]),
                 classes=("a", "b"))
    ImageSet(**right)
    with pytest.raises(ValueError, match=f"^{named}: got .*want"):
        ImageSet(**{**right, **change})


def test_index_out_of_range_and_empty_choice_are_refused():
    with pytest.raises(ValueError, match="^index: got 15"):
        random_set()[15]
    with pytest.raises(ValueError, match="^images"):
        random_set()[torch.zeros(15, dtype=torch.bool)]


def test_digest_sees_pixels_labels_names_and_order():
    whole = random_set()
    other = ImageSet(whole.images, whole.labels, ("x", "y", "z"))
    swapped = whole[[1, 0, *range(2, 15)]]
    relabeled = ImageSet(whole.images, 2 - whole.labels, whole.classes)
    assert whole.digest() == random_set().digest()
    assert len({s.digest() for s in (whole, other, swapped, relabeled)}) == 4


@QUICK
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 99), st.data())
def test_take_keeps_fractions(per_class, seed, draw):
    whole = random_set(tuple(per_class))
    count = draw.draw(st.integers(1, len(whole)))
    part = whole.take(count, seed)
    assert len(part) == count == len(set(part.hashes()))
    wanted = np.array(per_class) * count / len(whole)
    found = np.bincount(part.labels.numpy(), minlength=len(per_class))
    assert (abs(found - wanted) < 1).all()
    assert torch.equal(part.images, whole.take(count, seed).images)


def test_take_by_hand_and_refusals():
    assert random_set((6, 3, 3)).take(4).labels.tolist() == [0, 0, 1, 2]
    assert random_set((20,)).take(5, 1).hashes() != random_set((20,)).take(5, 2).hashes()
    for count in (0, 16, 2.0):
        with pytest.raises(ValueError, match="^count: got"):
            random_set().take(count)


# --------------------------------------------------------------------------- splits


@QUICK
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=60),
       st.randoms(use_true_random=False))
def test_no_image_and_no_group_is_in_two_splits(pairs, random):
    hashes = np.array([f"{image:02d}" for image, _ in pairs])
    labels = np.array([label for _, label in pairs])
    part = assign(hashes, labels, data.FRACTIONS)
    for key in set(hashes):
        assert len(set(part[hashes == key]) - {-1}) == 1  # kept, in one split
    order = list(range(len(pairs)))
    random.shuffle(order)
    again = assign(hashes[order], labels[order], data.FRACTIONS)
    assert (again == part[order]).all()  # whatever the order of the file
    groups = np.array([f"{label}/{int(image) % 3}" for image, label in pairs])
    grouped = assign(hashes, labels, data.FRACTIONS, groups)
    for name in set(groups):
        assert len(set(grouped[groups == name]) - {-1}) <= 1


def test_shares_by_hand():
    hashes, labels = np.array(list("jihgfedcba")), np.zeros(10, int)
    assert assign(hashes, labels, data.FRACTIONS).tolist() == [0] * 6 + [1] * 2 + [2] * 2
    assert sorted(assign(hashes[:3], labels[:3], data.FRACTIONS)) == [0, 1, 2]
    assert assign(hashes[:1], labels[:1], data.FRACTIONS).tolist() == [0]
    both = assign(np.array(["a", "a"]), np.array([0, 1]), data.FRACTIONS)
    assert both.tolist() == [0, 0]
    # "a" is a training image of class 0 and a test image of class 1: only the latter stays
    hashes, labels = np.array(["0", "1", "a", "a", "b", "c"]), np.array([0, 0, 0, 1, 1, 1])
    assert assign(hashes, labels, data.FRACTIONS).tolist() == [2, 1, -1, 2, 1, 0]


def test_mnist5k_is_the_whole_file_in_stratified_disjoint_splits():
    parts = all_splits("mnist5k")
    assert [len(p) for p in parts.values()] == [3000, 1000, 1000]
    assert_disjoint(parts)
    for part, count in zip(parts.values(), (300, 100, 100), strict=True):
        assert part.images.shape[1:] == (1, 28, 28) and part.classes == tuple("0123456789")
        assert part.labels.bincount().tolist() == [count] * 10
        assert part.labels[:100].bincount(minlength=10).min() >= 3  # well mixed from the start
    ink = sum(part.images.long().sum() for part in parts.values())
    assert ink == data._mnist5k_arrays()[0].sum(dtype=np.int64)
    assert parts["test"].digest() == load("mnist5k", "test", root="ignored").digest()
    # the split is part of what recorded results mean: it may not move
    assert parts["test"].digest().startswith(MNIST5K_TEST)


MNIST5K_TEST = "efa3f6de0444"


def test_digits_are_enlarged_and_disjoint():
    parts = all_splits("digits")
    assert_disjoint(parts)
    assert sum(map(len, parts.values())) == 1797
    assert parts["train"].images.shape[1:] == (1, 28, 28)
    small = all_splits("digits", size=8)
    assert_disjoint(small)
    for split in SPLITS:
        assert torch.equal(small[split].labels, parts[split].labels)
    shrunk = torch.nn.functional.avg_pool2d(
        load("digits", size=32).floats(), 4)  # enlarged fourfold, then averaged
    assert (shrunk - small["train"].floats()).abs().mean() < 0.06


# --------------------------------------------------------------------------- glyphs


def test_the_universe_is_as_large_as_promised():
    letters, everything = glyphs.characters_of("letters"), glyphs.characters_of("all")
    assert len(letters) >= 500 and len(everything) >= 1000
    assert len(set(everything)) == len(everything) and set(letters) < set(everything)
    assert len(glyphs.FACES) == 19
    assert len(glyphs.faces_holding(everything)) >= 12
    assert len(glyphs.faces_holding(glyphs.characters_of("shared"))) == 16
    assert len(glyphs.faces_holding("0aA")) == 19
    assert "A" in letters and "Α" not in letters  # of Latin A and Greek alpha one is left


@pytest.mark.parametrize("face", ["DejaVu Sans", "DejaVu Serif Italic", "STIX General"])
def test_no_list_holds_look_alikes(face):
    characters = glyphs.characters_of("shared" if face.startswith("STIX") else "all")
    assert glyphs.look_alikes(characters, [face]) == []
    assert glyphs.look_alikes(["A", "Α", "B"], [face]) == [("A", "Α")]


def test_glyphs_are_centered_fitted_and_never_blank():
    for face in glyphs.FACES:
        for character in "1Wo-":
            cell = glyphs.glyph(face, character)
            rows, columns = np.flatnonzero(cell.any(1)), np.flatnonzero(cell.any(0))
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert glyphs.BOX - 2 <= max(height, width) <= glyphs.BOX + 1
            assert abs(rows[0] + rows[-1] - glyphs.CELL + 1) <= 1
            assert abs(columns[0] + columns[-1] - glyphs.CELL + 1) <= 1


def test_computer_modern_is_used_only_where_its_encoding_is_unicode():
    assert "Computer Modern Roman" in glyphs.faces_holding("A?")
    for character in '<>\\{|}"é':  # TeX has other shapes at these code points
        assert not any(f.startswith("Computer") for f in glyphs.faces_holding(character))


@pytest.mark.parametrize("by", glyphs.BY)
def test_glyph_splits_keep_their_promise(by):
    plans = {split: glyphs.plan(split, by=by) for split in SPLITS}
    pairs = {split: {(c, f) for c in chars for f in faces} for split, (chars, faces) in
             plans.items()}
    (train, train_faces), (_, _), (test, test_faces) = plans.values()
    if by == "sample":
        assert plans["train"] == plans["test"] == plans["validation"]
        return
    assert not pairs["train"] & pairs["test"] and not pairs["validation"] & pairs["test"]
    assert not pairs["train"] & pairs["validation"]
    if by == "character":
        assert train_faces == test_faces and not set(train) & set(test)
        bases = [{glyphs.base_of(c) for c in plans[split][0]} for split in SPLITS]
        assert sum(map(len, bases)) == len(set().union(*bases))
        counts = np.array([len(chars) for chars, _ in plans.values()])
        assert abs(counts / counts.sum() - data.FRACTIONS).max() < 0.03
    else:
        assert train == test and len(train) >= 200
        families = [{f.split()[0] + f.split()[1] for f in faces} for _, faces in plans.values()]
        assert not families[0] & families[2] and not families[1] & families[2]
        for character in train[::7]:
            seen = torch.from_numpy(np.stack([glyphs.glyph(f, character) for f in train_faces]))
            new = torch.from_numpy(np.stack([glyphs.glyph(f, character) for f in test_faces]))
            assert glyphs.distances(new, seen).min() >= glyphs.SAME


@pytest.mark.parametrize("given", [
    dict(by="sample", characters="digits", samples=40),
    dict(by="sample", characters="digits", samples=40, warp=0, stroke=0),
    dict(by="sample", characters="latin", samples=8, noise=0),
    dict(by="character", samples=2), dict(by="face", samples=2),
    dict(by="character", samples=2, noise=0, style="color")])
def test_glyph_images_are_disjoint(given):
    parts = all_splits("glyphs", **given)
    assert_disjoint(parts)
    for part in parts.values():
        assert len(set(part.hashes())) == len(part)
        assert part.images.shape[1:] == ((3, 32, 32) if "style" in given else (1, 28, 28))
        assert part.labels.bincount().tolist() == [given["samples"]] * len(part.classes)


def test_a_named_list_loses_what_two_splits_would_show_alike():
    assert len(load("glyphs", characters="latin", by="face", samples=1).classes) == 41
    with pytest.raises(ValueError, match="characters: got 'I', want .*look different"):
        load("glyphs", characters=glyphs.ALPHABETS["latin"], by="face")


def test_base_letters():
    assert len({glyphs.base_of(c) for c in "eEÈéęḜ"}) == 1
    assert len({glyphs.base_of(c) for c in "ΣσςeЖ"}) == 3
    assert {glyphs.split_of(c) for c in glyphs.characters_of("all")} == set(SPLITS)


@pytest.mark.parametrize("style", glyphs.STYLES)
def test_more_images_begin_with_the_fewer(style, monkeypatch):
    look = glyphs.Look(style)

    def drawn(**given):
        return glyphs.draw("train", **{**dict(characters="latin", look=look), **given})[0]

    many = drawn(samples=9)
    assert torch.equal(many, drawn(samples=9))  # bit-equal twice
    assert torch.equal(many[: 3 * 42], drawn(samples=3))
    assert torch.equal(many[0::42], drawn(characters="A", samples=9,  # of this class alone
                                          faces=glyphs.plan("train", "latin")[1]))
    monkeypatch.setattr(glyphs, "CHUNK", 4)
    assert torch.equal(many, drawn(samples=9))  # in whatever pieces
    assert not torch.equal(many, drawn(samples=9, seed=1))
    assert not torch.equal(many, glyphs.draw("test", characters="latin", look=look, samples=9)[0])


def test_settings_do_what_they_say():
    plain = dict(characters="digits", faces=["DejaVu Sans"], samples=4)
    still = load("glyphs", warp=0, stroke=0, noise=0.001, **plain).floats()
    peaks = still.amax((1, 2, 3))
    shapes = (still / peaks[:, None, None, None]).unflatten(0, (4, 10))
    assert (shapes - shapes[0]).abs().max() < 0.05  # one face, no warp: only the ink's strength
    assert 0.5 < peaks.min() < 0.75 < peaks.max() <= 1
    noisy = load("glyphs", warp=0, stroke=0, noise=0.2, **plain).floats()
    assert noisy.std() > still.std()
    ink = [load("glyphs", warp=0, stroke=s, noise=0.001, **plain).floats().sum() for s in (0, 1)]
    assert ink[1] > ink[0]
    assert load("glyphs", characters="ab", samples=1).classes == ("a", "b")
    assert load("glyphs", characters=["O", "О"], samples=1).classes == ("O", "О")  # look-alikes


@pytest.mark.parametrize("given, message", [
    (dict(by="samples"), "by: .*did you mean 'sample'"),
    (dict(style="grey"), "style: .*did you mean 'gray'"),
    (dict(samples=0), "samples: got 0"), (dict(samples=True), "samples: got True"),
    (dict(seed=-1), "seed: got -1"), (dict(seed=0.5), "seed: got 0.5"),
    (dict(warp=-1), "warp: got -1"), (dict(noise=float("nan")), "noise: got nan"),
    (dict(stroke="1"), "stroke: got '1'"), (dict(noise=3), "noise: got 3"),
    (dict(warp=0, noise=0), "warp, noise: got 'both 0'"),
    (dict(characters=""), "characters: got ''"), (dict(characters=["ab"]), "characters: got"),
    (dict(characters="greeek"), "characters: got 'greeek'.*greek"),
    (dict(characters="漢"), "characters: .*one face holds"),
    (dict(characters=" "), "characters: got ' '.*ink"),
    (dict(characters="а", by="character"), "characters: .*base letter falls in the test"),
    (dict(characters="♀♂", by="face"), "characters: .*look different"),
    (dict(faces=[]), "faces: got"), (dict(faces="DejaVu Sand"), "did you mean 'DejaVu Sans'"),
    (dict(faces=["STIX General"], characters="ა"), "faces: got 'STIX General'.*lacks 1"),
    (dict(faces=["DejaVu Sans"] * 2), "faces: .*twice"),
    (dict(faces=["DejaVu Sans"], by="face"), "faces: got .*some of the test split"),
    (dict(nose=1), "settings: got 'nose'.*did you mean 'noise'")])
def test_glyphs_refuse(given, message):
    if given.get("by") == "character":  # a training letter alone leaves the test split empty
        assert glyphs.split_of(given["characters"]) != "test"
    with pytest.raises(ValueError, match=message):
        load("glyphs", "test", **given)


# --------------------------------------------------------------------------- real files


def pictures(count, channels=1, size=28, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), np.uint8)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_idx(root, cls, monkeypatch, train=40, test=8):
    """MNIST's own format: magic number, sizes and bytes, big-endian, gzipped."""
    raw = root / cls.__name__ / "raw"
    raw.mkdir(parents=True)
    written = {}
    for prefix, count, seed in (("train", train, 0), ("t10k", test, 1)):
        images = pictures(count, seed=seed)[:, 0]
        labels = (np.arange(count) % 10).astype(np.uint8)
        if prefix == "t10k":
            images[0] = written["train"][0][3]  # an image of the training file, once more
        written[prefix] = images, labels
        for kind, array, dims in (("images-idx3", images, 3), ("labels-idx1", labels, 1)):
            header = struct.pack(f">HBB{dims}I", 0, 8, dims, *array.shape)
            with gzip.open(raw / f"{prefix}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + array.tobytes())
    monkeypatch.setattr(cls, "resources", [(n, md5(raw / n)) for n, _ in cls.resources])
    if cls.__name__ in realsets.CONTENTS:
        monkeypatch.setitem(realsets.CONTENTS, cls.__name__, {
            n.removesuffix(".gz"): hashlib.sha256(gzip.open(raw / n).read()).hexdigest()
            for n, _ in cls.resources})
    return {split: (images[:, None], labels) for split, (images, labels) in written.items()}


def write_cifar(root, cls, monkeypatch):
    """Pickles as Python 2 wrote them: byte strings, rows of 3,072, NumPy types of old."""
    folder = root / cls.base_folder
    folder.mkdir()
    key = "labels" if cls is datasets.CIFAR10 else "fine_labels"
    written = {"train": [], "test": []}
    for which, names in (("train", cls.train_list), ("test", cls.test_list)):
        for number, (name, _) in enumerate(names):
            images = pictures(30, 3, 32, seed=number + 100 * (which == "test"))
            labels = [i % 10 for i in range(30)]
            packed = pickle.dumps({"data": images.reshape(30, -1), key: labels}, protocol=2)
            for new, old in ((b"\x89\x88\x87", b"K\x00K\x01\x87"),  # False, True: 0, 1
                             (b"X\x04\0\0\0data", b"U\x04data")):  # a text: a byte string
                assert new in packed
                packed = packed.replace(new, old)
            (folder / name).write_bytes(packed)
            written[which].append((images, np.array(labels)))
    names = [f"thing {k}" for k in range(10)]
    (folder / cls.meta["filename"]).write_bytes(pickle.dumps({cls.meta["key"]: names}, protocol=2))
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(cls, attribute, [[n, md5(folder / n)] for n, _ in
                                             getattr(cls, attribute)])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": md5(folder / cls.meta["filename"])})
    return {k: tuple(map(np.concatenate, zip(*v, strict=True))) for k, v in written.items()}


def write_svhn(root, monkeypatch):
    written, listed = {}, {}
    for split, count in (("train", 40), ("test", 10)):
        images = pictures(count, 3, 32, seed=count)
        labels = np.arange(count) % 10
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]  # the digit 0 is called 10
        path = root / f"{split}_32x32.mat"
        scipy.io.savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": y})
        written[split] = images, labels
        listed[split] = ["", path.name, md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    return written


def write_stl10(root, monkeypatch):
    cls, written = datasets.STL10, {}
    folder = root / cls.base_folder
    folder.mkdir()
    for split, count in (("train", 30), ("test", 10)):
        images = pictures(count, 3, 96, seed=count)
        labels = np.arange(count) % 10
        images.transpose(0, 1, 3, 2).tofile(folder / f"{split}_X.bin")  # column by column
        (labels + 1).astype(np.uint8).tofile(folder / f"{split}_y.bin")
        written[split] = images, labels
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(cls, attribute, [
            [n, md5(folder / n) if (folder / n).exists() else "0"] for n, _ in
            getattr(cls, attribute)])
    return written


def write_gtsrb(root, monkeypatch):
    base = root / "gtsrb"
    written = {"train": [], "test": []}
    tracks = []
    for label in range(3):
        folder = base / "GTSRB" / "Training" / f"{label:05d}"
        folder.mkdir(parents=True)
        for track in range(5):
            for frame in range(3):
                image = pictures(1, 3, 32, seed=1000 * label + 10 * track + frame)[0]
                Image.fromarray(image.transpose(1, 2, 0)).save(
                    folder / f"{track:05d}_{frame:05d}.ppm")
                written["train"].append((image, label))
                tracks.append((label, track))
    images = base / "GTSRB" / "Final_Test" / "Images"
    images.mkdir(parents=True)
    with open(base / "GT-final_test.csv", "w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow("Filename Width Height Roi.X1 Roi.Y1 Roi.X2 Roi.Y2 ClassId".split())
        for number in range(4):
            image = pictures(1, 3, 32, seed=77 + number)[0]
            Image.fromarray(image.transpose(1, 2, 0)).save(images / f"{number:05d}.ppm")
            rows.writerow([f"{number:05d}.ppm", 32, 32, 5, 5, 27, 27, number % 3])
            written["test"].append((image, number % 3))
    monkeypatch.setattr(realsets, "GTSRB_COUNTS", {"train": 45, "test": 4})
    arrays = {k: (np.stack([i for i, _ in v]), np.array([x for _, x in v])) for k, v in
              written.items()}
    return arrays, tracks


def write(name, root, monkeypatch):
    idx = dict(mnist=datasets.MNIST, fashion=datasets.FashionMNIST, kmnist=datasets.KMNIST)
    if name in idx:
        written = write_idx(root, idx[name], monkeypatch)
        return {"train": written["train"], "test": written["t10k"]}
    if name.startswith("cifar"):
        return write_cifar(root, getattr(datasets, name.upper()), monkeypatch)
    if name == "gtsrb":
        return write_gtsrb(root, monkeypatch)[0]
    return {"svhn": write_svhn, "stl10": write_stl10}[name](root, monkeypatch)


@pytest.mark.parametrize("name", data.REAL)
def test_real_sets_come_out_as_they_were_written(name, tmp_path, monkeypatch):
    written = write(name, tmp_path, monkeypatch)
    parts = all_splits(name, root=tmp_path)
    assert_disjoint(parts)
    images, labels = written["test"]
    assert np.array_equal(parts["test"].images.numpy(), images)
    assert np.array_equal(parts["test"].labels.numpy(), labels)
    label_of = labels_by_hash(*written["train"])
    known = set(labels_by_hash(images, labels))
    found = {}
    for split in ("train", "validation"):
        found |= labels_by_hash(parts[split].images.numpy(), parts[split].labels.tolist())
    assert found == {key: label for key, label in label_of.items() if key not in known}
    assert len(parts["train"]) > len(parts["validation"]) > 0
    monkeypatch.setenv("WLIB_DATA", str(tmp_path))
    assert load(name, "validation").digest() == parts["validation"].digest()


def labels_by_hash(images, labels):
    return dict(zip(sets.hashes_of(images), labels, strict=True))


def test_the_repeated_image_stays_in_the_test_split_only(tmp_path, monkeypatch):
    written = write("mnist", tmp_path, monkeypatch)
    repeated = sets.hashes_of(written["test"][0][:1])[0]
    parts = all_splits("mnist", root=tmp_path)
    assert [repeated in part.hashes() for part in parts.values()] == [False, False, True]
    assert len(parts["train"]) + len(parts["validation"]) == 39


def test_frames_of_one_sign_stay_together(tmp_path, monkeypatch):
    written, tracks = write_gtsrb(tmp_path, monkeypatch)
    track_of = labels_by_hash(written["train"][0], tracks)
    seen = [{track_of[key] for key in load("gtsrb", split, root=tmp_path).hashes()}
            for split in ("train", "validation")]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 15
    assert load("gtsrb", root=tmp_path, size=16).size == 16


@pytest.mark.parametrize("name, spoil", [
    ("cifar10", "cifar-10-batches-py/test_batch"), ("cifar100", "cifar-100-python/meta"),
    ("svhn", "train_32x32.mat"), ("stl10", "stl10_binary/test_X.bin")])
def test_a_wrong_checksum_is_refused(name, spoil, tmp_path, monkeypatch):
    write(name, tmp_path, monkeypatch)
    with open(tmp_path / spoil, "ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=f"^root: .*MD5 sum .* as published for {name}"):
        load(name, root=tmp_path)


# MNIST, Fashion-MNIST and Kuzushiji-MNIST

IDX = {"mnist": datasets.MNIST, "fashion": datasets.FashionMNIST, "kmnist": datasets.KMNIST}
WRONG = "t10k-labels-idx1-ubyte"


def repacked(path):
    """The same content in another archive, as a distribution would pack it."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1, mtime=1))


def unpacked(path):
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()


@pytest.mark.parametrize("change", [repacked, unpacked])
@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_the_content_counts_and_not_how_it_is_packed(name, change, tmp_path, monkeypatch):
    write(name, tmp_path, monkeypatch)
    before = load(name, root=tmp_path).digest()
    for path in (tmp_path / IDX[name].__name__ / "raw").iterdir():
        change(path)
    assert load(name, root=tmp_path).digest() == before


@pytest.mark.parametrize("change", [repacked, unpacked])
def test_what_cannot_be_checked_is_not_taken(change, tmp_path, monkeypatch):
    write("kmnist", tmp_path, monkeypatch)
    change(tmp_path / "KMNIST/raw" / f"{WRONG}.gz")
    with pytest.raises(ValueError, match=f"^root: got '{WRONG}.*published for KMNIST .*MD5 sum .*"
                       "unpacked or packed anew it cannot be checked.*fetch it again"):
        load("kmnist", root=tmp_path)


def cut(content):
    return content[:-9]


def other(content):
    return gzip.compress(gzip.decompress(content)[:-1] + b"\x09")


def turned_bit(content):
    return content[:-12] + bytes([content[-12] ^ 1]) + content[-11:]


def page(content):
    return b"<html>moved</html>"


@pytest.mark.parametrize("damage", [cut, other, turned_bit, page])
@pytest.mark.parametrize("name", IDX)
def test_another_content_is_refused_and_named(name, damage, tmp_path, monkeypatch):
    write(name, tmp_path, monkeypatch)
    path = tmp_path / IDX[name].__name__ / "raw" / f"{WRONG}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"^root: got '{WRONG}.gz', want the {WRONG} .*published"
                       f" for {IDX[name].__name__} .*{path}"):
        load(name, root=tmp_path)


@pytest.mark.parametrize("name", IDX)
def test_published_checksums_are_left_on(name, tmp_path):
    """Right in form, but not the set: without a patched list it may not pass."""
    with pytest.MonkeyPatch.context() as patch:
        write(name, tmp_path, patch)
    want = {"mnist": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "fashion": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "kmnist": "bdb82020997e1d708af4cf47b453dcf7"}[name]
    with pytest.raises(ValueError, match=f"^root: got 'train-images-idx3-ubyte.gz'.*sum {want}"):
        load(name, root=tmp_path)


def test_the_archive_is_read_before_an_unpacked_file_beside_it(tmp_path, monkeypatch):
    write("mnist", tmp_path, monkeypatch)
    before = load("mnist", "test", root=tmp_path).digest()
    (tmp_path / "MNIST/raw/t10k-images-idx3-ubyte").write_bytes(b"anything")
    assert load("mnist", "test", root=tmp_path).digest() == before


def test_a_packaged_set_is_found_and_the_data_root_comes_first(tmp_path, monkeypatch):
    write("fashion", tmp_path, monkeypatch)
    before = load("fashion", root=tmp_path).digest()
    (tmp_path / "FashionMNIST/raw").rename(tmp_path / "packaged")
    monkeypatch.setattr(realsets, "PACKAGED", {"FashionMNIST": tmp_path / "packaged"})
    for where in ({}, {"root": tmp_path}, {"root": tmp_path / "none", "download": True}):
        assert load("fashion", **where).digest() == before
    with pytest.raises(FileNotFoundError, match="^mnist"):
        load("mnist", root=tmp_path)
    (tmp_path / "FashionMNIST/raw").mkdir()
    (tmp_path / f"FashionMNIST/raw/{WRONG}").write_bytes(b"the user's own")
    with pytest.raises(ValueError, match=f"{tmp_path}/FashionMNIST/raw/{WRONG} is another"):
        load("fashion", root=tmp_path)


def test_the_real_fashion_mnist(monkeypatch):
    """The whole set, where the system's package is installed; in continuous integration it is."""
    if not PACKAGED["FashionMNIST"].is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "no Fashion-MNIST found (Debian, Ubuntu: apt install dataset-fashion-mnist)")
    monkeypatch.setattr(realsets, "PACKAGED", PACKAGED)
    began = time.process_time()
    parts = all_splits("fashion")
    assert time.process_time() - began < 30  # 5 s; the machine may be slow
    assert_disjoint(parts)
    for part, count in zip(parts.values(), (5400, 600, 1000), strict=True):
        assert part.images.shape[1:] == (1, 28, 28)
        assert part.labels.bincount().tolist() == [count] * 10
    ink = [parts["test"].images[parts["test"].labels == k].float().mean() for k in range(10)]
    classes = parts["test"].classes
    assert classes[np.argmin(ink)] == "Sandal" and classes[np.argmax(ink)] in ("Pullover", "Coat")


def test_a_short_gtsrb_is_refused(tmp_path, monkeypatch):
    write("gtsrb", tmp_path, monkeypatch)
    next((tmp_path / "gtsrb/GTSRB/Training/00001").glob("*.ppm")).unlink()
    with pytest.raises(ValueError, match="44 train images of gtsrb.*want 45 in"):
        load("gtsrb", root=tmp_path)


@pytest.mark.parametrize("name", data.REAL)
def test_missing_files_are_named_with_folder_and_offline_sets(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load(name, root=tmp_path)
    for word in (name, str(tmp_path), "download=True", "WLIB_DATA", "mnist5k, digits, glyphs"):
        assert word in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_default_root_is_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert realsets.root_of(None).name == "weights-as-data"
    assert realsets.root_of("~/x").is_absolute()
    with pytest.raises(ValueError, match="^root: got 3"):
        load("mnist", root=3)


def test_download_only_on_request_and_moved_in_place_when_whole(tmp_path, monkeypatch):
    source, root = tmp_path / "source", tmp_path / "root"
    source.mkdir()
    write("svhn", source, monkeypatch)

    def fetch(self):
        (realsets.Path(self.root) / self.filename).write_bytes(
            (source / self.filename).read_bytes())

    monkeypatch.setattr(datasets.SVHN, "download", fetch)
    assert len(load("svhn", "test", root=root, download=True)) == 10
    assert sorted(p.name for p in root.iterdir()) == ["test_32x32.mat", "train_32x32.mat"]
    monkeypatch.setattr(datasets.SVHN, "download", None)  # what is there is not fetched again
    assert len(load("svhn", "test", root=root, download=True)) == 10


def test_a_failed_download_leaves_nothing(tmp_path, monkeypatch):
    def fetch(self):
        (realsets.Path(self.root) / self.filename).write_bytes(b"half")
        raise realsets.URLError("no network")

    monkeypatch.setattr(datasets.SVHN, "download", fetch)
    with pytest.raises(FileNotFoundError, match="svhn.*no network.*mnist5k, digits, glyphs"):
        load("svhn", root=tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "gtsrb").mkdir()
    with pytest.raises(ValueError, match="^download: .*delete it first"):
        load("gtsrb", root=tmp_path, download=True)


@pytest.mark.parametrize("given, message", [
    (("mnst",), "^name: got 'mnst'.*did you mean 'mnist'"), (("mnist5k", "valid"), "^split: got"),
    (("mnist5k", "train"), "^settings: got 'samples'.*for 'mnist5k' one of none"),
    (("digits",), "^size: got 3")])
def test_load_refuses(given, message):
    extra = {"samples": 3} if "settings" in message else {"size": 3} if "size" in message else {}
    with pytest.raises(ValueError, match=message):
        load(*given, **extra)
    with pytest.raises(ValueError, match="^download: got 1"):
        load("mnist", download=1)


# --------------------------------------------------------------------------- folder


def write_folder(root, per_class=10, mode="RGB", sizes=((20, 30),)):
    for label, name in enumerate(("cats", "dogs")):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            width, height = sizes[number % len(sizes)]
            pixels = np.random.default_rng(100 * label + number).integers(
                0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{number}.png")
    (root / ".hidden").mkdir()


def test_folder_of_ones_own_images(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "cats" / "copy.png").write_bytes((tmp_path / "cats" / "0.png").read_bytes())
    parts = all_splits("folder", root=tmp_path)
    assert_disjoint(parts)
    assert [len(set(p.hashes())) for p in parts.values()] == [12, 4, 4]
    assert parts["train"].classes == ("cats", "dogs")
    assert parts["train"].images.shape[1:] == (3, 30, 20)
    small = load("folder", root=tmp_path, size=16, channels=1)
    assert small.images.shape[1:] == (1, 16, 16)


def test_folder_is_gray_if_all_images_are_and_sizes_must_agree(tmp_path):
    write_folder(tmp_path, mode="L", sizes=((20, 30), (25, 25)))
    with pytest.raises(ValueError, match="^size: got 'cats/1.png of 25×25 pixels beside 20×30"):
        load("folder", root=tmp_path)
    assert load("folder", root=tmp_path, size=12).images.shape[1:] == (1, 12, 12)


def read_as(path, mode="L"):
    """The first row of one picture, channel by channel."""
    return realsets.picture(path, None, mode)[:, 0].tolist()


def tiff(order, bits, kind, row, white=1):
    """A TIFF of one row, byte for byte: `kind` 1 without sign, 2 with, 3 floats; `order` < or >."""
    tags = [(256, 8 * len(row) // bits), (257, 1), (258, bits), (259, 1), (262, white), (273, 134),
            (277, 1), (278, 1), (279, len(row)), (339, kind)]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    body = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return head + body + struct.pack(f"{order}I", 0) + row


SIXTEEN = [0, 257, 32768, 65535]  # 257 is 1 of 255
FLOATS = [0.0, 0.25, 0.5, 1.0]


@pytest.mark.parametrize("name, content, row", [
    ("a.pgm", b"P5 4 1 65535\n" + struct.pack(">4H", *SIXTEEN), [0, 1, 128, 255]),
    ("a.pgm", b"P5 4 1 4095\n" + struct.pack(">4H", 0, 16, 2048, 4095), [0, 1, 128, 255]),
    ("a.tif", tiff("<", 16, 1, struct.pack("<4H", *SIXTEEN)), [0, 1, 128, 255]),
    ("a.tif", tiff(">", 16, 1, struct.pack(">4H", *SIXTEEN)), [0, 1, 128, 255]),
    ("a.tif", tiff("<", 16, 1, struct.pack("<4H", *SIXTEEN), 0), [255, 254, 127, 0]),
    ("a.tif", tiff("<", 12, 1, bytes([0, 0, 16, 128, 15, 255])), [0, 1, 128, 255]),
    ("a.tif", tiff(">", 8, 1, bytes([0, 1, 128, 255])), [0, 1, 128, 255]),
    ("a.tif", tiff("<", 32, 3, struct.pack("<4f", *FLOATS)), [0, 64, 128, 255]),
    ("a.tif", tiff(">", 32, 3, struct.pack(">4f", *FLOATS)), [0, 64, 128, 255]),
    ("a.tif", tiff(">", 32, 3, struct.pack(">4f", *FLOATS), 0), [255, 191, 128, 0])
], ids=["pgm", "pgm of 12 bits", "little", "big", "white is 0", "12 bits", "8 bits", "float",
        "big float", "float, white is 0"])
def test_deep_gray_is_scaled_to_bytes(name, content, row, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert read_as(tmp_path / name) == [row] and read_as(tmp_path / name, "RGB") == [row] * 3
    assert realsets._is_gray(tmp_path / name)


def test_a_16_bit_png_is_scaled_and_its_transparent_value_white(tmp_path):
    image = Image.fromarray(np.array([SIXTEEN], np.uint16))
    image.save(tmp_path / "a.png")
    assert read_as(tmp_path / "a.png") == [[0, 1, 128, 255]]
    image.save(tmp_path / "b.png", transparency=257)
    assert read_as(tmp_path / "b.png") == [[0, 255, 128, 255]]


@pytest.mark.parametrize("content, why", [
    (tiff("<", 32, 3, struct.pack("<4f", 0, 1, 2, 255)), "from 0 to 255, where black is 0 and"),
    (tiff("<", 32, 3, struct.pack("<4f", -0.5, 0, 0, 1)), "from -0.5 to 1, where"),
    (tiff("<", 32, 3, struct.pack("<4f", 0, 0, 0, float("nan"))), "from nan to nan"),
    (tiff("<", 32, 1, struct.pack("<4I", 0, 1, 2, 255)), "32 bits or with a sign"),
    (tiff("<", 16, 2, struct.pack("<4h", -1, 0, 1, 2)), "32 bits or with a sign")
], ids=["to 255", "below 0", "nan", "32 bits", "with a sign"])
def test_gray_that_does_not_tell_its_white_is_refused(content, why, tmp_path):
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(ValueError, match=f"^root: got .*x.tif, want .* be read .*{why}"):
        realsets.picture(tmp_path / "x.tif", None, "L")


def of(mode, *pixels):
    return Image.fromarray(np.array([pixels], np.uint8), mode)


@pytest.mark.parametrize("image, save, gray, color", [
    (of("RGBA", (0, 0, 0, 0), (0, 0, 0, 255), (200, 0, 0, 255), (0, 0, 0, 51)), {},
     [255, 0, 60, 204], [[255, 0, 200, 204], [255, 0, 0, 204], [255, 0, 0, 204]]),
    (of("LA", (0, 0), (0, 255), (9, 255), (0, 51)), {}, [255, 0, 9, 204], [[255, 0, 9, 204]] * 3),
    (of("L", 0, 7, 8, 9), {"transparency": 7}, [0, 255, 8, 9], [[0, 255, 8, 9]] * 3),
    (of("RGB", (0, 0, 0), (7, 7, 7)), {"transparency": (7, 7, 7)}, [0, 255], [[0, 255]] * 3)
], ids=["RGBA", "LA", "a gray", "a color"])
def test_what_is_transparent_shows_white(image, save, gray, color, tmp_path):
    image.save(tmp_path / "a.png", **save)
    assert read_as(tmp_path / "a.png") == [gray] and read_as(tmp_path / "a.png", "RGB") == color


def test_a_transparent_number_of_other_depth_is_refused(tmp_path):
    """Pillow makes bytes of the pixels and leaves the number as it was."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))

    for bits, kind, row, clear in ((2, 0, b"\x1b", b"\0\1"), (16, 2, bytes(24), bytes(6))):
        header = struct.pack(">IIBBBBB", 4, 1, bits, kind, 0, 0, 0)
        for extra in (b"", chunk(b"tRNS", clear)):
            (tmp_path / "a.png").write_bytes(
                b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
                + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b""))
            if not extra:
                assert read_as(tmp_path / "a.png") in ([[0, 85, 170, 255]], [[0] * 4])
                continue
            with pytest.raises(ValueError, match="root: got .*a.png.*stands for transparent"):
                read_as(tmp_path / "a.png")


def test_palettes_bits_and_inks(tmp_path):
    colors = of("L", 0, 1, 2, 3)
    colors.putpalette([0, 0, 0, 10, 20, 30, 0, 0, 0, 200, 100, 0])
    colors.save(tmp_path / "a.png", transparency=bytes([0, 255, 255, 51]))
    assert read_as(tmp_path / "a.png", "RGB") == [[255, 10, 0, 244], [255, 20, 0, 224],
                                                  [255, 30, 0, 204]]
    of("L", 0, 255, 0).convert("1").save(tmp_path / "b.png")
    assert read_as(tmp_path / "b.png") == [[0, 255, 0]] and realsets._is_gray(tmp_path / "b.png")
    of("CMYK", (0, 0, 0, 0), (0, 0, 0, 255), (0, 255, 255, 0)).save(tmp_path / "c.tif")
    assert read_as(tmp_path / "c.tif", "RGB") == [[255, 0, 255], [255, 0, 0], [255, 0, 0]]
    assert read_as(tmp_path / "c.tif") == [[255, 0, 76]]  # red is 30 % of gray


@pytest.mark.parametrize("dtype, name", [(np.uint8, "a.png"), (np.uint8, "a.tif"),
                                         (np.uint16, "a.png"), ("<u2", "a.tif"), (">u2", "a.tif"),
                                         (np.float32, "a.tif")])
def test_pictures_are_turned_upright(dtype, name, tmp_path):
    stored = np.arange(6).reshape(2, 3)
    scale = {1: 1, 2: 257, 4: 1 / 255}[np.dtype(dtype).itemsize]
    for number, upright in enumerate([
            stored, stored[:, ::-1], stored[::-1, ::-1], stored[::-1], stored.T,
            np.rot90(stored, -1), stored[::-1, ::-1].T, np.rot90(stored)], 1):  # as Exif has them
        image = Image.fromarray((stored * scale).astype(dtype))
        exif = image.getexif()
        exif[0x0112] = number
        image.save(tmp_path / name, exif=exif)
        found = realsets.picture(tmp_path / name, None, "L")
        assert found[0].tolist() == upright.tolist(), f"orientation {number}"


def png(width, height, *chunks):
    """A PNG of one byte's worth of pixels, whatever size it claims."""
    def chunk(kind, content):
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    middle = b"".join(chunk(*c) for c in chunks)
    return (b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", zlib.compress(b"\0\0"))
            + chunk(b"IEND", b""))


@pytest.mark.parametrize("content, why", [
    (png(30_000, 30_000), "900000000 pixels"),
    (png(1, 1, (b"zTXt", b"note\0\0" + zlib.compress(b"a" * (2 << 20)))), "too large"),
    (png(2, 2), "truncated"), (png(1, 1)[:40], "format is unknown"),
    (png(1, 1, (b"tRNS", b"")), ""), (b"", "format is unknown"), (b"no image", "format is unknown")
], ids=["bomb", "text", "short of pixels", "cut", "bad chunk", "empty", "no image"])
def test_a_file_that_cannot_be_read_is_named(content, why, tmp_path):
    write_folder(tmp_path)
    (tmp_path / "cats" / "bad.png").write_bytes(png(1, 1))
    assert len(load("folder", root=tmp_path, size=4))  # the like of it is fine
    (tmp_path / "cats" / "bad.png").write_bytes(content)
    for channels in (None, 1):
        with pytest.raises(ValueError, match=f"^root: got .*bad.png, want .* be read .*({why})"):
            load("folder", root=tmp_path, size=4, channels=channels)


def test_a_film_is_no_picture(tmp_path):
    first, second = of("L", 0, 255), of("L", 255, 0)
    for name in ("a.png", "a.tif", "a.webp"):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        with pytest.raises(ValueError, match=f"{name}, want .*2 pictures in one file"):
            realsets.picture(tmp_path / name, None, "L")


def test_what_systems_leave_in_folders_is_passed_over(tmp_path):
    write_folder(tmp_path)
    before = load("folder", root=tmp_path).digest()
    image = (tmp_path / "cats" / "0.png").read_bytes()
    for place in ("__MACOSX/cats/._0.png", "cats/._0.png", "cats/.DS_Store", "cats/Thumbs.db",
                  ".ipynb_checkpoints/0-checkpoint.png", "lost+found/empty",
                  "cats/.ipynb_checkpoints/0-checkpoint.png", "dogs/@eaDir/0.png/SMALL.png",
                  "cats/desktop.ini", "cats/.git/new.png"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\x16\7" if path.name.startswith("._") else
                         png(1, 1) if "." in path.name else b"")
    assert load("folder", root=tmp_path).digest() == before
    (tmp_path / "cats" / "inner").mkdir()
    (tmp_path / "cats" / "inner" / "new.png").write_bytes(image)  # folders within count as before
    assert len(realsets.read_folder(tmp_path, None, None)[0].labels) == 21


def test_folder_refuses(tmp_path):
    for root in (None, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="^root: got .*one directory of images per class"):
            load("folder", root=root)
    with pytest.raises(ValueError, match="^root: got"):
        load("folder", root=tmp_path)
    write_folder(tmp_path, per_class=2)
    with pytest.raises(ValueError, match="2 different images in 'cats'.*at least 3"):
        load("folder", root=tmp_path)
    (tmp_path / "cats" / "0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="0.png.*can be read"):
        load("folder", root=tmp_path, size=8)
    with pytest.raises(ValueError, match="^channels: got 2"):
        load("folder", root=tmp_path, channels=2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no images in .empty."):
        load("folder", root=tmp_path)


# --------------------------------------------------------------------------- episodes


@QUICK
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_episodes_are_disjoint_and_complete(ways, shots, queries, seed):
    images = random_set((8, 7, 6, 9, 2), seed=seed)  # no class of 2 can serve 3 images
    known = labels_by_hash(images.images.numpy(), images.labels.tolist())
    for episode in episodes(images, ways=ways, shots=shots, queries=queries, count=3, seed=seed):
        support, query = episode.support, episode.query
        assert not set(support.hashes()) & set(query.hashes())
        for part, count in ((support, shots), (query, queries)):
            assert part.labels.bincount().tolist() == [count] * ways
            for key, label in labels_by_hash(part.images.numpy(), part.labels.tolist()).items():
                assert images.classes[known[key]] == part.classes[label]
        assert support.classes == query.classes and len(set(support.classes)) == ways


def test_episode_i_depends_on_seed_and_i_alone():
    images = random_set((9,) * 6)

    def keys(count, seed):
        return [(e.support.digest(), e.query.digest()) for e in
                episodes(images, ways=3, shots=2, queries=2, count=count, seed=seed)]

    assert keys(5, 0)[:2] == keys(2, 0) and keys(2, 0) != keys(2, 1)
    assert len(set(keys(5, 0))) == 5


def test_copies_of_one_image_cannot_be_support_and_query():
    one = random_set((6,))
    copies = one[[0, 0, 0, 1, 1, 1]]
    with pytest.raises(ValueError, match="0 of 1 class with at least shots . queries = 3"):
        episodes(copies, ways=1, shots=2, queries=1, count=1, seed=0)
    episode = next(episodes(copies, ways=1, shots=1, queries=1, count=1, seed=0))
    assert episode.support.hashes() != episode.query.hashes()


@pytest.mark.parametrize("change, message", [
    (dict(ways=0), "^ways: got 0"), (dict(shots=1.0), "^shots"), (dict(queries=-1), "^queries"),
    (dict(count=0), "^count"), (dict(seed=-1), "^seed"), (dict(seed=None), "^seed"),
    (dict(ways=4), "^images: got '3 of 3 classes.*at least ways = 4"),
    (dict(shots=4, queries=2), "^images: got '0 of 3 classes.*shots . queries = 6"),
    (dict(images=None), "^images: got None.*ImageSet")])
def test_episodes_refuse_before_any_work(change, message):
    given = dict(images=random_set(), ways=2, shots=1, queries=2, count=1, seed=0, **{})
    given.update(change)
    with pytest.raises(ValueError, match=message):
        episodes(given.pop("images"), **given)
