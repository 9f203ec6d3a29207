"""Rivals of a conditional generator: each against what it should be by hand or by a library."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gaussian_kde, kstest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from small import few

from wlib import seeds
from wlib.core import nets
from wlib.d2nwg import heads, rivals
from wlib.d2nwg.rivals import (
    Averaged,
    FewShotLogistic,
    Gaussian,
    Interpolation,
    LatentKDE,
    MeanOfZoo,
    Noisy,
    Prototype,
    RandomStart,
    Retrieval,
    Ridge,
    RidgePerClass,
)


class Halves:
    """A codec whose latents are half the weights."""

    def encode(self, weights):
        return weights / 2

    def decode(self, latents):
        return latents * 2


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeds.generator(seed))


C, W = normal(20, 6), normal(20, 9, seed=1)           # 20 data sets
NEW = normal(4, 6, seed=2)
NET = torch.nn.Linear(2, 3)                           # of nine weights
HEADS = normal(20, 3 * 5 + 3, seed=3)                 # of three classes and five features
BY_CLASS = normal(20, 3, 10, seed=4)
CASES = {          # a fitted rival, new conditions, weights of one network
    "retrieval": (lambda: Retrieval().fit(C, W), NEW, 9),
    "interpolation": (lambda: Interpolation().fit(C, W), NEW, 9),
    "ridge": (lambda: Ridge().fit(C, W), NEW, 9),
    "ridge per class": (lambda: RidgePerClass().fit(BY_CLASS, HEADS), normal(4, 3, 10), 18),
    "prototype": (Prototype, normal(4, 3, 5), 18),
    "few-shot logistic": (FewShotLogistic, normal(4, 3, 2, 5), 18),
    "mean": (lambda: MeanOfZoo().fit(C, W), NEW, 9),
    "kde": (lambda: LatentKDE(Halves()).fit(C, W), NEW, 9),
    "noisy": (lambda: Noisy(0.1).fit(C, W), NEW, 9),
    "noisy at random": (lambda: Noisy(0.1, nearest=False).fit(C, W), NEW, 9),
    "gaussian": (lambda: Gaussian().fit(C, W), NEW, 9),
    "averaged": (lambda: Averaged().fit(C, W), NEW, 9),
    "random start": (lambda: RandomStart(NET), NEW, 9)}
DRAWN = ("kde", "noisy", "noisy at random", "gaussian", "averaged", "random start")


@pytest.mark.parametrize("name", CASES)
def test_all_have_one_interface(name):
    make, conditions, size = CASES[name]
    found = make()(conditions, 3, 5)
    assert found.shape == (4, 3, size) and found.dtype == torch.float32
    assert torch.isfinite(found).all() and not found.requires_grad
    assert torch.equal(make()(conditions, 3, 5), found)                  # equal seeds, equal draws
    assert torch.equal(make()(conditions, 3, torch.Generator().manual_seed(1)),
                       make()(conditions, 3, torch.Generator().manual_seed(1)))
    if name in DRAWN:
        assert not torch.equal(found[:, 0], found[:, 1])
        assert not torch.equal(make()(conditions, 3, 6), found)
        torch.testing.assert_close(make()(conditions[:2], 2, 5), found[:2, :2])
    else:
        assert torch.equal(found[:, 0], found[:, 2])


# ---- that look at the condition ---------------------------------------------------------------
def test_retrieval_is_one_nearest_neighbor():
    known = KNeighborsRegressor(1).fit(C.numpy(), W.numpy())
    found = Retrieval().fit(C, W)(NEW)
    np.testing.assert_allclose(found[:, 0], known.predict(NEW.numpy()))
    assert torch.equal(Retrieval().fit(C, W)(C)[:, 0], W)


def test_interpolation_lies_between_the_two_nearest():
    found = Interpolation().fit(C, W)
    far = torch.cdist(NEW, C)
    for i, answer in enumerate(found(NEW)[:, 0]):
        a, b = far[i].argsort()[:2]
        fraction = far[i, b] / (far[i, a] + far[i, b])
        assert fraction >= 0.5
        torch.testing.assert_close(answer, fraction * W[a] + (1 - fraction) * W[b])
    torch.testing.assert_close(found(C)[:, 0], W)
    twins = Interpolation().fit(torch.zeros(2, 3), W[:2])
    torch.testing.assert_close(twins(torch.zeros(1, 3))[0, 0], W[:2].mean(0))


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_ridge_solves_the_normal_equations(strength):
    x, w = (C - C.mean(0)).double(), (W - W.mean(0)).double()
    a = torch.linalg.solve(x.T @ x + strength * torch.eye(6), x.T @ w)            # (d, D)
    expected = (NEW - C.mean(0)).double() @ a + W.mean(0)
    torch.testing.assert_close(Ridge(strength).fit(C, W)(NEW)[:, 0].double(), expected, rtol=1e-4,
                               atol=1e-5)


def test_ridge_finds_a_linear_map():
    a = normal(20, 8)
    seen, new = normal(200, 8, seed=1), normal(50, 8, seed=2)
    found = Ridge(1e-8).fit(seen, seen @ a.T)(new)[:, 0]
    assert (found - new @ a.T).abs().max() < 1e-4


def test_ridge_per_class_finds_a_map_from_class_to_row_and_knows_no_order():
    a, c = normal(6, 4), normal(30, 3, 4, seed=1)                        # a row: 5 weights, a bias
    rows = c @ a.T                                                       # (n, K, 6)
    whole = torch.cat([rows[..., :5].flatten(1), rows[..., 5]], dim=1)
    rival = RidgePerClass(1e-8).fit(c, whole)
    assert (rival(c)[:, 0] - whole).abs().max() < 1e-4
    turned = rival(c[:, [2, 0, 1]])[:, 0]
    torch.testing.assert_close(turned[:, :15].unflatten(1, (3, 5)),
                               rival(c)[:, 0, :15].unflatten(1, (3, 5))[:, [2, 0, 1]])
    torch.testing.assert_close(turned[:, 15:], rival(c)[:, 0, 15:][:, [2, 0, 1]])
    more = rival(normal(2, 7, 4))                                        # and no number of classes
    assert more.shape == (2, 1, 7 * 6)


def test_the_prototype_head_names_the_nearest_mean():
    weights = Prototype()(torch.tensor([[[1.0, 0], [0, 2]]]))[0, 0]
    assert weights.tolist() == [1, 0, 0, 2, -0.5, -2]
    x = torch.tensor([0.6, 0.9])
    torch.testing.assert_close(weights[:4].view(2, 2) @ x + weights[4:], torch.tensor([0.1, -0.2]))
    means, points = normal(1, 4, 7), normal(50, 7, seed=1)
    pool = nets_of(Prototype()(means)[0], 4, 7)
    logits = pool.logits(points[:, :, None, None])[0]
    assert torch.equal(logits.argmax(1), torch.cdist(points, means[0]).argmin(1))


def nets_of(weights, classes, width):
    from wlib.core.pool import Pool
    return Pool.stack([heads.head(classes, width)]).with_flat(weights)


def test_few_shot_logistic_is_scikit_learn_s():
    support = normal(1, 3, 5, 4) + 2 * normal(1, 3, 1, 4, seed=1)
    weights = FewShotLogistic(0.02)(support)[0, 0]
    known = LogisticRegression(C=1 / (0.02 * 15), max_iter=2000, tol=1e-8).fit(
        support[0].flatten(0, 1).numpy(), np.repeat(range(3), 5))
    np.testing.assert_allclose(weights[:12].view(3, 4), known.coef_, atol=2e-3)


# ---- that do not ------------------------------------------------------------------------------
def test_the_mean_is_the_mean():
    torch.testing.assert_close(MeanOfZoo().fit(C, W)(NEW, 2), W.mean(0).expand(4, 2, -1))


def test_the_kernel_density_is_scipy_s_in_every_latent_dimension():
    draws = LatentKDE(Halves()).fit(C, W)(NEW[:1], 2000)[0].numpy()       # (2000, 9)
    for j in (0, 5):
        # scipy's width is Scott's too, but of the unbiased standard deviation
        known = gaussian_kde(W[:, j].numpy(), bw_method=20**-0.2 * np.sqrt(19 / 20))
        assert kstest(draws[:, j], np.vectorize(
            lambda x, k=known: k.integrate_box_1d(-np.inf, x))).pvalue > 1e-3
    exact = LatentKDE(Halves(), 0.0).fit(C, W)(NEW[:1], 50)[0]
    assert all(set(exact[:, j].tolist()) <= set(W[:, j].tolist()) for j in range(9))
    assert not any((exact[i] == w).all() for i in range(50) for w in W)   # no member as a whole


@few
@given(st.floats(0, 2), st.booleans())
def test_noise_has_the_width_that_was_named(sd, nearest):
    draws = Noisy(sd, nearest).fit(C[:1], W[:1].repeat(1, 50))(NEW[:1], 20)[0]     # (20, 450)
    noise = (draws - W[:1].repeat(1, 50)) / max(sd, 1e-9)
    assert sd < 1e-6 or abs(float(noise.std()) - 1) < 0.05
    assert torch.equal(Noisy(0.0).fit(C, W)(NEW)[:, 0], Retrieval().fit(C, W)(NEW)[:, 0])


def test_each_weight_has_the_zoo_s_mean_and_spread():
    draws = Gaussian().fit(C, W)(NEW[:1], 3000)[0]
    torch.testing.assert_close(draws.mean(0), W.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(draws.std(0), W.std(0, correction=0), atol=0.1, rtol=0)
    assert abs(float(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1])) < 0.1


def test_averages_are_of_different_members():
    whole = Averaged(20).fit(C, W)(NEW)
    torch.testing.assert_close(whole, W.mean(0).expand(4, 1, -1))
    one = Averaged(1).fit(C, W)(NEW, 10).flatten(0, 1)
    assert all((row == W).all(1).any() for row in one)


def test_random_starts_are_those_of_the_architecture():
    found = RandomStart(NET)(NEW, 2, 7)
    own = nets.fresh(NET, seeds.base(seeds.generator(7, 3, 1)))
    assert torch.equal(found[3, 1], torch.cat([own.weight.flatten(), own.bias]))
    assert found.abs().max() <= 1 / np.sqrt(2)


# ---- refusals ---------------------------------------------------------------------------------
@pytest.mark.parametrize("message, make", [
    ("weights: ", lambda: Ridge().fit(C, W[0])),
    ("weights: .*finite weights", lambda: Ridge().fit(C, W / 0)),
    ("conditions: .*each of the 20", lambda: Ridge().fit(C[:3], W)),
    ("conditions: .*2 axes", lambda: Ridge().fit(BY_CLASS, W)),
    ("conditions: .*3 axes", lambda: RidgePerClass().fit(C, W)),
    ("conditions: .*4 axes", lambda: FewShotLogistic()(NEW)),
    ("conditions: .*finite", lambda: Ridge().fit(C, W)(NEW / 0)),
    ("conditions: .*vectors of 6 numbers", lambda: Ridge().fit(C, W)(NEW[:, :5])),
    ("weights: .*heads of 3 classes", lambda: RidgePerClass().fit(BY_CLASS, HEADS[:, :17])),
    ("weights: .*at least two", lambda: Interpolation().fit(C[:1], W[:1])(NEW)),
    ("weights: .*at least 21", lambda: Averaged(21).fit(C, W)),
    ("rival: .*Ridge that has seen no zoo", lambda: Ridge()(NEW)),
    ("count: ", lambda: Retrieval().fit(C, W)(NEW, 0)), ("generator: ", lambda: RandomStart(
        NET)(NEW, 1, -1)), ("strength: ", lambda: Ridge(-1)), ("sd: ", lambda: Noisy(-1)),
    ("codec: ", lambda: LatentKDE(None)), ("bandwidth: ", lambda: LatentKDE(Halves(), -1)),
    ("members: ", lambda: Averaged(0)), ("net: ", lambda: RandomStart(None))])
def test_rivals_refuse(message, make):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_the_table_names_them_all():
    made = {c.__name__ for c in vars(rivals).values() if isinstance(c, type)
            and issubclass(c, rivals.Rival)} - {"Rival"}
    assert all(f"| `{name}`" in rivals.__doc__ for name in made) and len(made) == 12
