"""MGE's generator against SciPy, cases counted by hand, and what its algebra promises."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft as scipy_fft
from small import Own, few, images, lived
from torch import nn
from torchvision.models import mobilenet_v2, resnet18

from wlib import seeds
from wlib.core import audit, nets, score, train
from wlib.core.pool import Pool
from wlib.mge import cosine
from wlib.mge import generator as mge
from wlib.mge.discriminator import discriminate

V = torch.tensor([3, 1, -2, 0.5, 4, -1, 0, 2], dtype=torch.float64)
PRIMED = 6 * 43_717         # a long signal with a large prime factor


def as_pool(w):
    """Rows of numbers (N, P) as a pool of single layers without bias."""
    w = torch.as_tensor(w, dtype=torch.float64)
    w = w[None] if w.ndim == 1 else w
    layer = nn.Linear(w.shape[1], 1, bias=False, dtype=torch.float64)
    return Pool.stack([layer]).with_flat(w)


@pytest.fixture(scope="module")
def gaussian():
    return torch.randn(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def lenet():
    """A fresh LeNet (61,706 weights)."""
    return Pool.stack([nets.fresh("lenet", 0)])


@pytest.fixture(scope="module")
def mlps():
    """Two MLPs of 5,180 weights, in doubles so that the algebra is seen without rounding."""
    return Pool.stack([nets.fresh("mlp", i, size=12, hidden=(30, 20)).double() for i in range(2)])


# ---- the transform ----------------------------------------------------------------------------
@few
@given(st.integers(1, 70), st.integers(1, 3), st.integers(0, 99))
def test_dct_is_scipys_for_every_length(n, rows, seed):
    x = torch.randn(rows, 2, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = torch.from_numpy(scipy_fft.dct(x.numpy(), norm="ortho"))
    torch.testing.assert_close(mge.dct(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(mge.idct(x), torch.from_numpy(scipy_fft.idct(x.numpy(),
                               norm="ortho")), rtol=0, atol=1e-12)
    torch.testing.assert_close(mge.idct(mge.dct(x)), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(mge.dct(x).norm(), x.norm())


@pytest.mark.parametrize("n", [61_706, 44_426, 4_097])
def test_long_signals_too(n):
    x = torch.randn(2, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    c = torch.from_numpy(scipy_fft.dct(x.numpy(), norm="ortho"))
    torch.testing.assert_close(mge.dct(x), c, rtol=0, atol=1e-10)
    torch.testing.assert_close(mge.idct(c), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("at_once", [1, 7, 2**18])
def test_two_steps_are_one(at_once, monkeypatch):
    """Every length, prime ones too, in pieces of a row, of a few rows, and whole."""
    for name, value in {"LONG": 1, "PRIME": 2, "AT_ONCE": at_once}.items():
        monkeypatch.setattr(cosine, name, value)
    assert [cosine._first_step(n) for n in (1, 6, 7, 9, 12, 64)] == [1, 1, 1, 3, 3, 8]
    for n in range(1, 71):
        x = torch.randn(2, 2, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        c = torch.from_numpy(scipy_fft.dct(x.numpy(), norm="ortho"))
        torch.testing.assert_close(mge.dct(x), c, rtol=0, atol=1e-13)
        torch.testing.assert_close(mge.idct(c), x, rtol=0, atol=1e-13)


def test_a_long_signal_with_a_large_prime_factor_takes_two_steps():
    assert cosine._first_step(PRIMED) == 6 and cosine._first_step(2**20) == 1
    x = torch.randn(2, PRIMED, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    c = torch.from_numpy(scipy_fft.dct(x.numpy(), norm="ortho"))
    torch.testing.assert_close(mge.dct(x), c, rtol=0, atol=1e-13)
    torch.testing.assert_close(mge.idct(c.T.contiguous().T), x, rtol=0, atol=1e-13)


@few
@given(st.integers(1, 70))
def test_the_gradient_of_a_rotation_is_the_rotation_back(n):
    """This is torch's route, which other devices take as well."""
    x, v = torch.randn(2, 3, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    for turn, back in ((mge.dct, mge.idct), (mge.idct, mge.dct)):
        asks = x.clone().requires_grad_()
        turned = turn(asks)
        torch.testing.assert_close(turned.detach(), turn(x), rtol=0, atol=1e-13)
        (turned * v).sum().backward()
        torch.testing.assert_close(asks.grad, back(v), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [8, PRIMED])
def test_overwriting_changes_memory_and_no_number(n):
    x = torch.randn(1, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kept = x.clone()
    c = mge.dct(x)
    assert torch.equal(x, kept)
    assert torch.equal(mge.dct(kept, overwrite=True), c) and not torch.equal(kept, x)
    back = mge.idct(c)
    assert torch.equal(mge.idct(c, overwrite=True), back)


def test_the_dtype_stays_and_the_signal_too():
    for dtype in (torch.float16, torch.float32, torch.float64):
        x = V.to(dtype)
        before = x.clone()
        assert mge.dct(x).dtype == mge.idct(x).dtype == dtype
        assert torch.equal(x, before)


def test_the_transform_is_the_matrix_of_its_formula():
    n = 7
    j, k = torch.arange(n).double(), torch.arange(n).double()[:, None]
    matrix = math.sqrt(2 / n) * torch.cos(math.pi * (2 * j + 1) * k / (2 * n))
    matrix[0] /= math.sqrt(2)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(n, dtype=torch.float64))
    torch.testing.assert_close(mge.dct(torch.eye(n, dtype=torch.float64)).T, matrix)


def test_R1_transform_energy_order_and_cumulative_fraction():
    c = mge.dct(V)
    assert c.tolist() == pytest.approx([2.65165, 0.286934, 0.996337, 1.78083, 4.065864, -1.765225,
                                        -1.752088, 1.120399], abs=1e-6)
    assert c.square().sum().item() == pytest.approx(35.25) == V.square().sum().item()
    order = c.abs().argsort(descending=True)
    assert order.tolist() == [4, 0, 3, 5, 6, 7, 2, 1]
    assert (c[order].square().cumsum(0) / 35.25).tolist() == pytest.approx(
        [0.468972, 0.66844, 0.758407, 0.846805, 0.933892, 0.969503, 0.997664, 1], abs=1e-6)


@pytest.mark.parametrize(("energy", "kept", "zero", "mean", "sd", "rho"), [
    (0.5, 2, 0.575813, 0.111198, 1.391241, 0.811733),
    (0.8, 4, 0.391401, 0.162896, 1.150433, 0.548058),
    (0.9, 5, 0.257115, 0.801223, 0.367167, 0.151482),
    (0.95, 6, 0.174634, 0.641636, 0.354701, 0.119485)])
def test_R2_kept_residual_and_distance(energy, kept, zero, mean, sd, rho):
    c, pool = mge.dct(V), as_pool(V)
    mask = mge.keep_mask(c, energy)
    rest = c[~mask]
    assert int(mask.sum()) == kept
    assert mask.nonzero().flatten().tolist() == sorted([4, 0, 3, 5, 6, 7, 2, 1][:kept])
    assert (rest.mean().item(), rest.std(correction=0).item()) == pytest.approx((mean, sd),
                                                                                abs=1e-6)
    filled = mge.generate(pool, 1, energy, redraw="zero-fill")
    assert audit.distance(filled, pool).item() == pytest.approx(zero, abs=1e-6)
    children = mge.generate(pool, 3_000, energy)
    root_mean_square = audit.distance(children, pool).square().mean().sqrt()
    assert root_mean_square.item() == pytest.approx(rho, rel=0.02)


def test_R2_all_energy_keeps_all():
    assert mge.keep_mask(mge.dct(V), 1).all()
    torch.testing.assert_close(mge.generate(as_pool(V), 2, 1.0).flat(), V.expand(2, -1))


def test_R3_zero_fill_at_half_the_energy():
    got = mge.generate(as_pool(V), 1, 0.5, redraw="zero-fill").flat()[0]
    assert got.tolist() == pytest.approx([2.375, -0.5, -0.5, 2.375, 2.375, -0.5, -0.5, 2.375])


def test_R4_constants_and_impulses():
    assert mge.dct(torch.ones(8, dtype=torch.float64)).tolist() == pytest.approx(
        [2.828427] + [0] * 7, abs=1e-6)
    impulse = torch.zeros(8, dtype=torch.float64)
    impulse[0] = 1
    assert mge.dct(impulse).tolist() == pytest.approx(
        [0.353553, 0.490393, 0.46194, 0.415735, 0.353553, 0.277785, 0.191342, 0.097545], abs=1e-6)


@pytest.mark.parametrize(("energy", "kept"), [(0.8, 0.316), (0.9, 0.445), (0.95, 0.553),
                                              (0.99, 0.735)])
def test_R5_gaussian_weights_have_no_special_basis(energy, kept, gaussian):
    pool = as_pool(gaussian)
    assert mge.keep_mask(mge.dct(gaussian), energy).double().mean() == pytest.approx(kept, abs=.003)
    assert mge.keep_mask(gaussian, energy).double().mean() == pytest.approx(kept, abs=0.003)
    siblings = mge.generate(pool, 2, energy)
    rho = math.sqrt(2 * (1 - energy))
    assert audit.distance(siblings, pool).flatten().tolist() == pytest.approx([rho] * 2, rel=0.01)
    assert audit.cosine(siblings, pool).tolist() == pytest.approx([energy] * 2, abs=0.005)
    assert audit.cosine(siblings[0], siblings[1]).item() == pytest.approx(energy, abs=0.005)


def test_R6_a_smooth_signal_needs_one_coefficient_and_a_shuffled_one_many():
    smooth = torch.cos(2 * math.pi * torch.arange(256, dtype=torch.float64) / 256)
    for energy in (0.95, 0.99):
        assert int(mge.keep_mask(mge.dct(smooth), energy).sum()) == 1
    shuffled = smooth[torch.randperm(256, generator=torch.Generator().manual_seed(0))]
    assert int(mge.keep_mask(mge.dct(shuffled), 0.95).sum()) > 100
    spectrum, = mge.spectra(as_pool(smooth), 0.95, order="shuffled")
    assert int(spectrum.kept.sum()) > 100


def test_R7_all_energy_and_equal_seeds(mlps):
    for per in ("network", "tensor"):
        for order in mge.ORDERS:
            for redraw in mge.REDRAWS:
                child = mge.generate(mlps, 1, 1.0, per, order, redraw)
                assert (child.flat() - mlps.flat()).abs().max() < 1e-12
    one = mge.generate(mlps, 3, generator=4).flat()
    assert torch.equal(one, mge.generate(mlps, 3, generator=4).flat())
    assert not torch.isclose(one, mge.generate(mlps, 3, generator=5).flat()).all(1).any()


def test_R8_the_norm_stays_and_noise_adds_to_it(lenet):
    norm = lenet.flat().double().norm()
    for energy, grown in ((0.8, 1.183), (0.9, 1.095), (0.95, 1.049), (0.99, 1.010)):
        child = mge.generate(lenet, 1, energy)
        assert (child.flat().double().norm() / norm).item() == pytest.approx(1, abs=0.01)
        noisy = audit.noise(lenet, audit.distance(child, lenet))
        assert (noisy.flat().double().norm() / norm).item() == pytest.approx(grown, rel=0.01)


# ---- the mask ---------------------------------------------------------------------------------
@few
@given(st.data())
def test_the_mask_is_that_of_a_naive_loop(data):
    """Ties, zeros and several rows included."""
    rows = data.draw(st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1,
                              max_size=3))
    energy = data.draw(st.sampled_from([0.1, 0.5, 0.8, 0.95, 1.0]))
    order = data.draw(st.sampled_from(["energy", "low-freq", "high-freq"]))
    got = mge.keep_mask(torch.tensor(rows, dtype=torch.float32), energy, order)
    for row, mask in zip(rows, got.tolist(), strict=True):
        ranks = {"energy": sorted(range(6), key=lambda k: (-row[k] ** 2, k)),
                 "low-freq": list(range(6)), "high-freq": list(range(5, -1, -1))}[order]
        kept = set()
        for k in ranks:
            held = sum(row[i] ** 2 for i in kept)
            if kept and held >= energy * sum(v * v for v in row) - 1e-9 and energy < 1:
                break
            kept.add(k)
        assert [k in kept for k in range(6)] == mask


def test_the_mask_of_many_coefficients_is_that_of_a_stable_sort():
    c = torch.randn(2, 100_000, generator=torch.Generator().manual_seed(0)).mul(50).round()
    mask = mge.keep_mask(c, 0.9)
    for row, kept in zip(c.double().numpy(), mask.numpy(), strict=True):
        rank = np.argsort(-row ** 2, kind="stable")
        fraction = np.cumsum(row[rank] ** 2) / np.sum(row ** 2)
        assert np.array_equal(np.sort(rank[:np.searchsorted(fraction, 0.9) + 1]), kept.nonzero()[0])
        assert (np.abs(row) == np.abs(row[rank[kept.sum() - 1]])).sum() > 100, "ties at the edge"


def test_random_order_is_one_permutation_for_all_rows_and_seeded():
    c = torch.ones(3, 200)
    mask = mge.keep_mask(c, 0.5, "random", 1)
    assert torch.equal(mask[0], mask[1]) and int(mask[0].sum()) == 100
    assert torch.equal(mask, mge.keep_mask(c, 0.5, "random", 1))
    assert not torch.equal(mask, mge.keep_mask(c, 0.5, "random", 2))
    assert not torch.equal(mask, mge.keep_mask(c, 0.5, "energy"))


def test_the_energy_order_keeps_the_fewest(mlps):
    c = mge.dct(mlps.flat())
    fewest = mge.keep_mask(c, 0.9).sum(1)
    for order in ("high-freq", "low-freq", "random"):
        mask = mge.keep_mask(c, 0.9, order)
        assert ((c * mask).square().sum(1) >= 0.9 * c.square().sum(1) * (1 - 1e-9)).all()
        assert (mask.sum(1) >= fewest).all()


# ---- the generator: every variant -------------------------------------------------------------
@pytest.mark.parametrize("per", ["network", "tensor"])
@pytest.mark.parametrize("order", mge.ORDERS)
@pytest.mark.parametrize("redraw", mge.REDRAWS)
def test_every_variant_moves_as_far_as_theory_says(per, order, redraw, mlps):
    """ρ² = Σr²/‖w‖² for zero-fill, 2Σr²/‖w‖² for signs, 2m·var(r)/‖w‖² for normal and resample,
    r the redrawn coefficients; the kept ones stay; what has no spectrum stays."""
    children = 6
    pool = mge.generate(mlps, children, 0.9, per, order, redraw, generator=3)
    assert len(pool) == 2 * children and pool.dtype == mlps.dtype
    moved = (pool.flat() - mlps.flat().repeat_interleave(children, 0)).reshape(2, children, -1)
    untouched = torch.ones(mlps.size, dtype=torch.bool)
    parts = mge.spectra(mlps, 0.9, per, order, generator=3)
    for span, c, kept in parts:
        untouched[span] = False
        for j in range(2):
            rest = c[j][~kept[j]]
            fraction = (c[j][kept[j]].square().sum() / c[j].square().sum()).item()
            assert 0.9 - 1e-9 <= fraction
            square = {"zero-fill": rest.square().sum(), "sign-flip": 2 * rest.square().sum()}.get(
                redraw, 2 * (rest - rest.sum() / max(len(rest), 1)).square().sum())
            got = moved[j, :, span].square().sum(1).mean()
            exact = redraw == "zero-fill"
            # The mean over children of a sum of m terms: relative error about √(2/m/children).
            rough = 5 * math.sqrt(2 / max(len(rest), 1) / children) + 0.01
            assert got.item() == pytest.approx(square.item(), rel=1e-9 if exact else rough,
                                               abs=1e-12)
    assert (moved[:, :, untouched] == 0).all()
    assert bool(untouched.any()) == (per == "tensor"), "biases below 16 weights have no spectrum"


@pytest.mark.parametrize("order", ["energy", "low-freq", "high-freq", "raw"])
def test_generate_is_the_algorithm_written_out_with_scipy(order, mlps):
    pool = mge.generate(mlps, 2, 0.9, order=order, generator=5)
    for j in range(2):
        w = mlps.flat()[j].numpy()
        c = w.copy() if order == "raw" else scipy_fft.dct(w, norm="ortho")
        rank = {"low-freq": np.arange(len(c)), "high-freq": np.arange(len(c))[::-1]}.get(
            order, np.argsort(-c ** 2, kind="stable"))
        fraction = np.cumsum(c[rank] ** 2) / np.sum(c ** 2)
        kept = np.zeros(len(c), bool)
        kept[rank[:np.searchsorted(fraction, 0.9) + 1]] = True
        rest = c[~kept]
        for i in range(2):
            z = torch.randn(len(rest), generator=seeds.generator(5, j, i), dtype=torch.float64)
            fresh = c.copy()
            fresh[~kept] = rest.mean() + rest.std() * z.numpy()
            expected = fresh if order == "raw" else scipy_fft.idct(fresh, norm="ortho")
            assert np.abs(pool.flat()[2 * j + i].numpy() - expected).max() < 1e-10


@pytest.mark.parametrize("law", mge.REDRAWS)
def test_children_of_a_long_signal_are_rounded_once_from_scipys(law):
    """All laws, each child's own draws, in single precision: one step of rounding at most."""
    parent = Pool.stack([nn.Linear(PRIMED, 1, bias=False)])
    w = parent.flat()[0].double()
    c = torch.from_numpy(scipy_fft.dct(w.numpy(), norm="ortho"))
    rank = c.square().sort(descending=True, stable=True).indices
    fraction = c[rank].square().cumsum(0) / c.square().sum()
    rest = torch.ones(PRIMED, dtype=torch.bool)
    rest[rank[:int((fraction < 0.95).sum()) + 1]] = False
    r, m = c[rest], int(rest.sum())
    for i, child in enumerate(mge.generate(parent, 2, redraw=law, generator=5).flat()):
        source = seeds.generator(5, 0, i)
        c[rest] = {
            "normal": lambda g: r.mean() + r.std(correction=0) * torch.randn(
                m, generator=g, dtype=torch.float64),
            "resample": lambda g: r[torch.randperm(m, generator=g)],
            "sign-flip": lambda g: r * (2 * torch.randint(2, (m,), generator=g) - 1),
            "zero-fill": lambda g: torch.zeros_like(r)}[law](source)
        expected = torch.from_numpy(scipy_fft.idct(c.numpy(), norm="ortho")).float()
        torch.testing.assert_close(child, expected, rtol=torch.finfo(torch.float32).eps, atol=1e-13)


def test_the_two_dimensional_order_is_scipys_dctn(mlps):
    spectrum = mge.spectra(mlps, 0.9, "tensor", "2-D")
    for name, span in mlps.segments().items():
        c = [s.coefficients for s in spectrum if s.span == span]
        tensor = mlps.parameters[name]
        if c and tensor.ndim == 3:
            expected = scipy_fft.dctn(tensor.numpy(), axes=(1, 2), norm="ortho").reshape(2, -1)
            assert np.abs(c[0].numpy() - expected).max() < 1e-12
    kernel = Pool.stack([nets.fresh("lenet", 0).double()])
    c = next(s for s in mge.spectra(kernel, 0.9, "tensor", "2-D")
             if s.span == kernel.segments()["conv2.weight"]).coefficients
    matrix = kernel.parameters["conv2.weight"].reshape(16, -1).numpy()
    assert np.abs(c.numpy() - scipy_fft.dctn(matrix, norm="ortho").reshape(1, -1)).max() < 1e-12


@pytest.mark.parametrize("order", mge.ORDERS)
def test_the_transform_of_every_order_is_orthogonal_and_inverted(order, mlps):
    for per in ("network", "tensor"):
        for span, c, _ in mge.spectra(mlps, 0.5, per, order, generator=1):
            torch.testing.assert_close(c.norm(dim=1), mlps.flat()[:, span].norm(dim=1))
            torch.testing.assert_close(mge._inverse(c, mlps, span, order, 1), mlps.flat()[:, span])


def test_resample_keeps_the_multiset_and_signs_the_sizes(mlps):
    (_, c, kept), = mge.spectra(mlps, 0.9)
    for law in mge.REDRAWS:
        drawn = mge.draw(c[0], kept[0], law, [seeds.generator(0, i) for i in range(3)])
        assert drawn.shape == (3, mlps.size)
        assert torch.equal(drawn[:, kept[0]], c[0][kept[0]].expand(3, -1))
        rest, new = c[0][~kept[0]], drawn[:, ~kept[0]]
        if law == "resample":
            assert torch.equal(new.sort(1).values, rest.sort().values.expand(3, -1))
        elif law == "sign-flip":
            assert torch.equal(new.abs(), rest.abs().expand(3, -1))
            assert 0.4 < (new == rest).double().mean() < 0.6
        elif law == "zero-fill":
            assert (new == 0).all()
        else:
            mean, sd = rest.mean().item(), rest.std(correction=0).item()
            assert new.mean().item() == pytest.approx(mean, abs=0.1 * sd)
            assert new.std().item() == pytest.approx(sd, rel=0.1)
        if law != "zero-fill":
            assert not torch.equal(new[0], new[1])


# ---- children do not know their company -------------------------------------------------------
@pytest.mark.parametrize("per", ["network", "tensor"])
@pytest.mark.parametrize("order", mge.ORDERS)
def test_a_child_depends_on_seed_parent_and_number_alone(per, order, mlps, monkeypatch):
    many = mge.generate(mlps, 8, 0.9, per, order, generator=2)
    few_of = mge.generate(mlps, 3, 0.9, per, order, generator=2)
    rows = torch.cat([torch.arange(3), torch.arange(8, 11)])
    torch.testing.assert_close(few_of.flat(), many.flat()[rows], rtol=0, atol=1e-13)
    first = mge.generate(mlps[0:1], 3, 0.9, per, order, generator=2)
    torch.testing.assert_close(first.flat(), few_of.flat()[:3], rtol=0, atol=1e-13)
    monkeypatch.setattr(mge, "WEIGHTS_AT_ONCE", 2 * mlps.size)
    in_pairs = mge.generate(mlps, 3, 0.9, per, order, generator=2)
    torch.testing.assert_close(in_pairs.flat(), few_of.flat(), rtol=0, atol=1e-13)


def test_siblings_and_families_draw_apart(mlps):
    twins = mlps[[0, 0]]
    children = mge.generate(twins, 2).flat()
    for a in range(4):
        for b in range(a):
            assert not torch.isclose(children[a], children[b]).all()


def test_a_generator_moves_on_and_the_global_state_does_not(mlps):
    g, h = (torch.Generator().manual_seed(3) for _ in range(2))
    before = torch.random.get_rng_state()
    one, two = mge.generate(mlps, 1, generator=g), mge.generate(mlps, 1, generator=g)
    assert not torch.equal(one.flat(), two.flat())
    assert torch.equal(one.flat(), mge.generate(mlps, 1, generator=h).flat())
    assert torch.equal(before, torch.random.get_rng_state())


def test_shuffled_order_is_fixed_for_all_children(mlps):
    """A smooth network's kept share differs under the permutation, and is one for all."""
    one, = mge.spectra(mlps, 0.9, order="shuffled", generator=1)
    assert torch.equal(one.coefficients, mge.spectra(mlps, 0.9, order="shuffled",
                                                     generator=1)[0].coefficients)
    assert not torch.equal(one.coefficients, mge.spectra(mlps, 0.9, order="shuffled",
                                                         generator=2)[0].coefficients)
    alone, = mge.spectra(mlps[1], 0.9, order="shuffled", generator=1)
    torch.testing.assert_close(alone.coefficients[0], one.coefficients[1])


# ---- edges and other people's networks --------------------------------------------------------
def test_small_and_constant_tensors():
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(20), nn.Linear(4, 4, bias=False))
    pool = Pool.stack([net])
    child = mge.generate(pool, 1, 0.5, "tensor")
    for name in ("0.weight", "0.bias"):
        assert torch.equal(child.parameters[name], pool.parameters[name]), "fewer than 16 weights"
    for name in ("1.weight", "1.bias"):
        torch.testing.assert_close(child.parameters[name], pool.parameters[name])   # constants
    assert not torch.equal(child.parameters["2.weight"], pool.parameters["2.weight"])
    all_of = mge.generate(pool, 1, 0.5, "tensor", smallest=1)
    assert not torch.equal(all_of.parameters["0.weight"], pool.parameters["0.weight"])
    nothing = mge.generate(as_pool(torch.zeros(20)), 2, 0.5)
    assert (nothing.flat() == 0).all()


def test_buffers_are_the_parents():
    pool = Pool.stack([lived(Own(), i) for i in range(2)])
    children = mge.generate(pool, 3, 0.9)
    for name, tensor in pool.buffers.items():
        assert torch.equal(children.buffers[name], tensor.repeat_interleave(3, 0))


def short_resnet18():
    """torchvision's, without its last stage, which holds three quarters of the weights."""
    net = resnet18()
    net.layer4, net.fc = nn.Identity(), nn.Linear(256, 5)
    return net


@pytest.mark.parametrize(("maker", "per"), [(short_resnet18, "tensor"), (mobilenet_v2, "tensor"),
                                            (Own, "network")])
def test_other_peoples_networks(maker, per):
    net = lived(maker())
    pool = Pool.stack([net])
    child = mge.generate(pool, 1, 0.95, per).network(0)
    assert type(child) is type(net) and child.state_dict().keys() == net.state_dict().keys()
    x = torch.rand(2, 1 if maker is Own else 3, 32, 32)
    with torch.no_grad():
        assert torch.isfinite(child(x)).all() and not torch.allclose(child(x), net(x))
    for (name, buffer), (_, other) in zip(net.named_buffers(), child.named_buffers(), strict=True):
        assert torch.equal(buffer, other), name


def test_children_of_a_trained_network_still_work():
    data = images(60, size=8)
    pool = train.fit("mlp", data, epochs=20, hidden=(32,), lr=0.01)
    seed = score.accuracy(pool, data).item()
    near = score.accuracy(mge.generate(pool, 8, 0.99), data).mean()
    far = score.accuracy(mge.generate(pool, 8, 0.05), data).mean()
    assert seed > 0.9 and near > 0.9 and far < near


# ---- frozen tensors, other dtypes -------------------------------------------------------------
@pytest.mark.parametrize("per", ["network", "tensor"])
@pytest.mark.parametrize("order", ["energy", "shuffled", "2-D"])
def test_frozen_tensors_stay_and_the_rest_is_its_own_signal(per, order):
    net = lived(Own())
    for name in ("conv.weight", "norm.bias"):
        net.get_parameter(name).requires_grad_(False)
    pool = Pool.stack([net, lived(copy.deepcopy(net), 1)])
    children = mge.generate(pool, 3, 0.5, per, order, smallest=2)
    for name, tensor in pool.parameters.items():
        same = torch.equal(children.parameters[name], tensor.repeat_interleave(3, 0))
        assert same == (name in ("conv.weight", "norm.bias"))
    for name, tensor in pool.buffers.items():
        assert torch.equal(children.buffers[name], tensor.repeat_interleave(3, 0))
    moving = mge.trainable(pool)
    w, v = moving.flat().double(), mge.trainable(children).flat().double()
    assert w.shape == (2, pool.size - 36 - 4) and v.shape == (6, w.shape[1])
    if per == "network" and order == "energy":      # the algorithm on the joined trainable rows
        kept = mge.keep_mask(mge.dct(w), 0.5)
        assert torch.allclose(mge.dct(v)[::3][kept], mge.dct(w)[kept], atol=1e-6)


def test_a_network_frozen_throughout_is_refused():
    with pytest.raises(ValueError, match="^pool.*frozen"):
        mge.generate(Pool.stack([Own().requires_grad_(False)]), 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("per", ["network", "tensor"])
def test_half_precision_is_computed_in_doubles_and_rounded_once(dtype, per):
    half = Pool.stack([nets.fresh("mlp", 0, size=8, hidden=(20,)).to(dtype)])
    double = Pool.stack([half.network(0).double()])
    children = mge.generate(half, 2, 0.9, per)
    assert children.dtype == dtype
    assert torch.equal(children.flat(), mge.generate(double, 2, 0.9, per).flat().to(dtype))
    data = images(30, classes=3, size=8)
    assert discriminate(children, half, data)["accepted"].dtype == bool


# ---- refusals ---------------------------------------------------------------------------------
@pytest.mark.parametrize(("arguments", "named"), [
    ({"pool": nn.Linear(2, 2)}, "pool"), ({"pool": torch.zeros(2, 2)}, "pool"),
    ({"children": 0}, "children"), ({"children": -1}, "children"), ({"children": 2.0}, "children"),
    ({"children": True}, "children"), ({"energy": 0}, "energy"), ({"energy": 1.01}, "energy"),
    ({"energy": -0.5}, "energy"), ({"energy": float("nan")}, "energy"), ({"energy": "0.9"},
                                                                         "energy"),
    ({"energy": True}, "energy"), ({"per": "layer"}, "per"),
    ({"order": "enrgy"}, "order.*did you mean 'energy'"), ({"order": None}, "order"),
    ({"redraw": "zero"}, "redraw.*did you mean 'zero-fill'"), ({"generator": -1}, "generator"),
    ({"generator": 0.5}, "generator"), ({"generator": None}, "generator"),
    ({"smallest": 0}, "smallest"), ({"smallest": "16"}, "smallest")])
def test_generate_refuses_by_name(arguments, named, mlps):
    with pytest.raises(ValueError, match=f"^{named}"):
        mge.generate(**{"pool": mlps, "children": 1} | arguments)


@pytest.mark.parametrize("function", [mge.dct, mge.idct, lambda x: mge.keep_mask(x, 0.9)])
@pytest.mark.parametrize("bad", [torch.zeros(0), torch.zeros(()), torch.zeros(3, 0), [1.0], None,
                                 torch.arange(3), torch.zeros(3, dtype=torch.complex64),
                                 torch.tensor([1.0, float("nan")]), np.zeros(3)])
def test_the_transform_refuses_by_name(function, bad):
    with pytest.raises(ValueError, match=r"^(signal|coefficients)"):
        function(bad)


def test_the_mask_and_the_redraw_refuse_by_name():
    c = torch.rand(5)
    for energy in (0, 1.5, None):
        with pytest.raises(ValueError, match="energy"):
            mge.keep_mask(c, energy)
    for order in ("raw", "2-D", "best"):
        with pytest.raises(ValueError, match="order"):
            mge.keep_mask(c, 0.9, order)
    with pytest.raises(ValueError, match="redraw"):
        mge.draw(c, c > 0.5, "uniform", [seeds.generator(0)])
