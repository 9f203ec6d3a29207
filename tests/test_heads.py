"""Heads on frozen features are scikit-learn's logistic regression, many at once."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from wlib import seeds, store
from wlib.core import score
from wlib.d2nwg import heads
from wlib.d2nwg.heads import Features
from wlib.d2nwg.zoo import accuracy, descend
from wlib.data import domains


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path_factory.getbasetemp() / "store"))


def features(seed=0, count=60, classes=4, width=5, spread=1.0):
    g = seeds.generator(seed)
    centers = torch.randn(classes, width, generator=g)
    labels = torch.arange(count) % classes
    values = centers[labels] + spread * torch.randn(count, width, generator=g)
    return Features(values, labels, tuple(f"c{k}" for k in range(classes)))


@pytest.mark.parametrize("decay", [1e-3, 0.03])
def test_heads_are_scikit_learn_s_logistic_regression(decay):
    sets = [features(s, 60 + 20 * s) for s in range(3)]                 # of different sizes
    pool = heads.fit(sets, decay=decay, device="cpu")
    assert pool.size == 4 * 5 + 4
    for i, s in enumerate(sets):
        known = LogisticRegression(C=1 / (decay * len(s)), max_iter=2000, tol=1e-8)
        known.fit(s.values.numpy(), s.labels.numpy())
        said = pool[i].logits(s.floats())[0].softmax(1)
        difference = (said.numpy() - known.predict_proba(s.values.numpy()))
        assert np.abs(difference).max() < 1e-3
        np.testing.assert_allclose(pool.parameters["fc.weight"][i], known.coef_, atol=0.01)


def test_a_head_does_not_depend_on_its_company():
    sets = [features(s) for s in range(3)]
    torch.testing.assert_close(heads.fit(sets, device="cpu")[1].flat(),
                               heads.fit(sets[1:2], device="cpu").flat(), rtol=1e-3, atol=1e-3)


def test_heads_are_kept_in_the_store(monkeypatch):
    sets = [features(s) for s in range(2)]
    first = heads.stored_fit(sets, decay=0.01, device="cpu")
    torch.testing.assert_close(first.flat(), heads.fit(sets, decay=0.01, device="cpu").flat())
    monkeypatch.setattr(heads, "fit", None)
    assert torch.equal(heads.stored_fit(sets, decay=0.01, device="cpu").flat(), first.flat())


def test_features_pass_for_images():
    some = features()
    pool = heads.fit([some], device="cpu")
    by_hand = some.values @ pool.parameters["fc.weight"][0].T + pool.parameters["fc.bias"][0]
    assert float(accuracy(pool, some)[0]) == float((by_hand.argmax(1) == some.labels).double()
                                                   .mean())
    assert store.describe(some) != store.describe(features(1))
    assert domains.first(some, 2).labels.bincount().tolist() == [2] * 4
    better = descend(pool, some, keep=(0, 50), lr=0.05, device="cpu")
    assert float(score.loss(better[1], some)[0]) < float(score.loss(better[0], some)[0])


@pytest.mark.parametrize("argument, make", [
    ("values", lambda: Features(torch.zeros(3), torch.zeros(3).long(), ("a",))),
    ("values", lambda: Features(torch.full((3, 2), torch.nan), torch.zeros(3).long(), ("a",))),
    ("labels", lambda: Features(torch.zeros(3, 2), torch.zeros(3), ("a",))),
    ("labels", lambda: Features(torch.zeros(3, 2), torch.ones(3).long(), ("a",))),
    ("sets", lambda: heads.fit([])), ("sets", lambda: heads.fit([features(), features(width=6)])),
    ("decay", lambda: heads.fit([features()], decay=-1)),
    ("iterations", lambda: heads.fit([features()], iterations=0))])
def test_heads_refuse(argument, make):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        make()
