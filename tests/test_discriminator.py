"""MGE's discriminator against naive loops, what it accepts, and what it refuses."""

import pytest
import torch
from scipy import stats
from small import Own, images

from wlib import mge, seeds
from wlib.core import nets, train
from wlib.core.pool import Pool


@pytest.fixture(scope="module")
def family():
    """Two seed networks, three children of each, training and validation images."""
    train_set, data = images(60, seed=3), images(40, seed=4)
    parents = train.fit("mlp", train_set, seeds=(0, 1), epochs=8, hidden=(16,), lr=0.01)
    return mge.generate(parents, 3, 0.6), parents, train_set, data


def test_the_discriminators_columns_are_those_of_naive_loops(family):
    children, parents, train_set, data = family
    frame = mge.discriminate(children, parents, data, train=train_set,
                             limits=mge.Limits(sd=0.2, eps=0.05))

    def right(net, x, labels):
        with torch.no_grad():
            return sum(int(net(image[None]).argmax()) == int(k) for image, k in zip(
                x, labels, strict=True)) / len(labels)

    def quantities(net, parent):
        noise = torch.randn(data.floats().shape, generator=seeds.generator(0))
        x = data.floats().requires_grad_()
        torch.nn.functional.cross_entropy(net(x), data.labels).backward()
        fooled = (data.floats() + 0.05 * x.grad.sign()).clamp(0, 1)
        clean = right(net, data.floats(), data.labels)
        return {"accuracy": clean,
                "gap": right(net, train_set.floats(), train_set.labels) - clean,
                "noise accuracy": right(net, (data.floats() + 0.2 * noise).clamp(0, 1),
                                        data.labels),
                "fgsm accuracy": right(net, fooled, data.labels),
                "ks": stats.ks_2samp(*[torch.cat([p.detach().flatten() for p in n.parameters()])
                                       for n in (net, parent)]).statistic}

    assert frame["network"].tolist() == list(range(6))
    assert frame["parent"].tolist() == [0, 0, 0, 1, 1, 1]
    for i, row in frame.iterrows():
        parent = parents.network(i // 3)
        got, limit = quantities(children.network(i), parent), quantities(parent, parent)
        for name, value in got.items():
            assert row[name] == pytest.approx(value, abs=1e-9), name
        e = 1e-9
        verdicts = {"ks": got["ks"] <= 0.02 + e, "gap": got["gap"] <= limit["gap"] + 0.01 + e,
                    "accuracy": got["accuracy"] >= limit["accuracy"] - 0.01 - e,
                    "noise accuracy": got["noise accuracy"] >= limit["noise accuracy"] - 0.02 - e,
                    "fgsm accuracy": got["fgsm accuracy"] >= limit["fgsm accuracy"] - 0.02 - e}
        assert {c: row[f"{c} ok"] for c in verdicts} == verdicts
        assert row["accepted"] == all(verdicts.values())
    assert frame.attrs["acceptance rate"] == frame["accepted"].mean()
    assert frame.attrs["image passes"] == 6 * (40 + 40 + 60 + 4 * 40)


def test_the_discriminator_accepts_the_seed_itself_and_no_stranger(family):
    _, parents, train_set, data = family
    same = mge.discriminate(parents.repeat(2), parents, data, train=train_set)
    assert same["accepted"].all() and (same["ks"] == 0).all()
    strangers = Pool.stack([nets.fresh("mlp", 9, classes=3, size=8, hidden=(16,))] * 2)
    assert not mge.discriminate(strangers, parents, data)["accepted"].any()


def test_the_lazy_discriminator_decides_the_same_and_looks_at_less(family):
    children, parents, train_set, data = family
    limits = mge.Limits(ks=0.05, accuracy=0.03)
    whole = mge.discriminate(children, parents, data, train=train_set, limits=limits)
    lazy = mge.discriminate(children, parents, data, train=train_set, limits=limits, lazy=True,
                            reference=whole.attrs["reference"])
    assert lazy["accepted"].tolist() == whole["accepted"].tolist()
    assert lazy.attrs["image passes"] < whole.attrs["image passes"]
    for c in mge.CRITERIA:
        judged = lazy[c].notna()
        assert lazy[c][judged].equals(whole[c][judged])
        assert not lazy.loc[~judged, f"{c} ok"].any()
    none = mge.discriminate(children, parents, data, limits=mge.Limits(ks=0.0), lazy=True)
    assert none.attrs["image passes"] == 0 and none.attrs["acceptance rate"] == 0


def test_without_training_images_there_is_no_gap(family):
    children, parents, _, data = family
    frame = mge.discriminate(children, parents, data)
    assert frame["gap"].isna().all() and "gap ok" not in frame
    assert frame.attrs["criteria"] == ["ks", "accuracy", "noise accuracy", "fgsm accuracy"]


def test_the_discriminator_refuses_by_name(family):
    children, parents, train_set, data = family
    for bad, named in (
            ({"train": data}, "train.*40 images"), ({"pool": children[:3]}, "pool"),
            ({"pool": parents.network(0)}, "pool"), ({"seed_pool": None}, "pool"),
            ({"seed_pool": Pool.stack([Own()])}, "pool"),
            ({"data": torch.zeros(3)}, "data"), ({"limits": mge.Limits(sd=-1)}, "sd"),
            ({"limits": mge.Limits(eps=-1)}, "eps"), ({"train": 3}, "train"),
            ({"limits": 0.9}, "limits"), ({"reference": 0.9}, "reference")):
        with pytest.raises(ValueError, match=f"^{named}"):
            mge.discriminate(**{"pool": children, "seed_pool": parents, "data": data} | bad)
    for bad in ({"accuracy": -0.1}, {"robust": 2}, {"ks": "0.02"}, {"gap": None}, {"ks": True}):
        with pytest.raises(ValueError, match=f"^{next(iter(bad))}"):
            mge.Limits(**bad)
