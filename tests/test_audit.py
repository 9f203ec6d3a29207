"""The controls: exact distances, norms that stay, and what each leaves as it was."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import Own, few, lived
from torch import nn

from wlib import mge
from wlib.core import audit, nets
from wlib.core.pool import Pool


@pytest.fixture(scope="module")
def pool():
    """Two networks with BatchNorm and biases, in doubles."""
    return Pool.stack([lived(Own(), i).double() for i in range(2)])


@pytest.fixture(scope="module")
def mlps():
    return Pool.stack([nets.fresh("mlp", i, size=8, hidden=(20,)).double() for i in range(2)])


def column(rho, rows=2):
    return torch.full((rows, 1), rho, dtype=torch.float64)


# ---- measures ---------------------------------------------------------------------------------
def test_distance_cosine_and_spread_by_hand():
    layer = nn.Linear(2, 2, dtype=torch.float64)
    origin = Pool.stack([layer]).with_flat(torch.tensor([[3.0, 0, 0, 4, 1, 1]]).double())
    moved = origin.with_flat(torch.tensor([[3.0, 4, 3, 4, 1, 1], [0, 0, 0, 4, 1, 3]]).double())
    w = math.sqrt(27)
    assert audit.distance(moved, origin).flatten().tolist() == pytest.approx([5 / w, 13 ** .5 / w])
    assert audit.distance(moved, origin, "tensor").flatten().tolist() == pytest.approx(
        [1, 0, 3 / 5, 2 / math.sqrt(2)])
    assert audit.cosine(moved, origin).tolist() == pytest.approx(
        [27 / w / math.sqrt(52), 20 / w / math.sqrt(26)])
    first = np.std([3, 4, 3, 4]) / np.std([3, 0, 0, 4])
    ratios = audit.sd_ratio(moved, origin)
    assert ratios[0].tolist() == pytest.approx([first, 1]), "a constant that stays has kept it"
    assert math.isinf(ratios[1, 1])


def test_each_network_is_measured_from_its_own_origin(pool):
    moved = pool.with_flat(pool.flat().repeat_interleave(3, 0) * torch.tensor(
        [[1.0], [2], [3], [1], [2], [3]]).double())
    assert audit.distance(moved, pool).flatten().tolist() == pytest.approx([0, 1, 2] * 2)
    assert audit.cosine(moved, pool).tolist() == pytest.approx([1] * 6)
    assert audit.distance(moved, pool, "tensor").shape == (6, len(pool.parameters))


# ---- noise ------------------------------------------------------------------------------------
@few
@given(st.floats(0, 2), st.booleans(), st.integers(0, 50))
def test_noise_lies_exactly_as_far_as_asked(rho, keep_norm, seed):
    pool = Pool.stack([nets.fresh("mlp", i, size=4, hidden=(5,)).double() for i in range(2)])
    noisy = audit.noise(pool, column(rho, 4), keep_norm, generator=seed)
    assert audit.distance(noisy, pool).flatten().tolist() == pytest.approx([rho] * 4, abs=1e-12)
    if keep_norm:
        norms = pool.flat().norm(dim=1).repeat_interleave(2)
        torch.testing.assert_close(noisy.flat().norm(dim=1), norms)
        torch.testing.assert_close(audit.cosine(noisy, pool), torch.full((4,), 1 - rho ** 2 / 2,
                                   dtype=torch.float64))
    if rho > 1e-6:
        assert not torch.isclose(noisy.flat()[0], noisy.flat()[1]).all()


@pytest.mark.parametrize("keep_norm", [False, True])
def test_noise_matches_a_methods_child_tensor_by_tensor(keep_norm, mlps):
    children = mge.generate(mlps, 3, 0.8, "tensor")
    wanted = audit.distance(children, mlps, "tensor")
    noisy = audit.noise(mlps, wanted, keep_norm)
    torch.testing.assert_close(audit.distance(noisy, mlps, "tensor"), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(audit.distance(noisy, mlps), audit.distance(children, mlps),
                               rtol=0, atol=1e-12)
    whole = audit.noise(mlps, audit.distance(children, mlps), keep_norm)
    torch.testing.assert_close(audit.distance(whole, mlps), audit.distance(children, mlps))
    if keep_norm:
        for span in mlps.segments().values():
            norms = mlps.flat()[:, span].norm(dim=1).repeat_interleave(3)
            torch.testing.assert_close(noisy.flat()[:, span].norm(dim=1), norms)


def test_turned_noise_is_orthogonal_to_the_seed(mlps):
    """w' = cos·w + sin·‖w‖·u with u ⊥ w, so that the cosine is 1 − ρ²/2, t for MGE's ρ."""
    rho = math.sqrt(2 * (1 - 0.95))
    noisy = audit.noise(mlps, column(rho), keep_norm=True)
    assert audit.cosine(noisy, mlps).tolist() == pytest.approx([0.95] * 2, abs=1e-12)
    w = mlps.flat()
    rest = noisy.flat() - 0.95 * w
    assert (rest * w).sum(1).abs().max() < 1e-10
    sin = math.sqrt(1 - 0.95 ** 2)
    torch.testing.assert_close(rest.norm(dim=1), sin * w.norm(dim=1))


def test_plain_noise_is_gaussian_and_widens_the_weights():
    pool = Pool.stack([nets.fresh("mlp", 0)])
    noisy = audit.noise(pool, column(0.5, 1))
    step = (noisy.flat() - pool.flat())[0]
    assert (step / step.std()).pow(4).mean().item() == pytest.approx(3, abs=0.15)
    norm = (noisy.flat().norm() / pool.flat().norm()).item()
    assert norm == pytest.approx(math.sqrt(1.25), rel=0.01)


def test_noise_of_single_weights_and_zero_tensors():
    net = nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 3)).double()
    with torch.no_grad():
        net[1].weight.zero_()
    pool = Pool.stack([net])
    wanted = torch.full((1, 4), 0.3, dtype=torch.float64)
    for keep_norm in (False, True):
        noisy = audit.noise(pool, wanted, keep_norm)
        assert (noisy.parameters["1.weight"] == 0).all()
    assert torch.equal(noisy.parameters["0.bias"], pool.parameters["0.bias"]), \
        "one number has no other direction of the same norm"


# ---- pruning and shuffling --------------------------------------------------------------------
def test_zero_fill_prunes_the_smallest_and_more_with_distance(mlps):
    before, gone = mlps.flat(), None
    for rho in (0.0, 0.1, 0.3, 0.6, 0.9, 1.0):
        pruned = audit.zero_fill(mlps, column(rho))
        assert (audit.distance(pruned, mlps) <= rho + 1e-9).all()
        assert (audit.distance(pruned, mlps) >= rho - 0.03).all(), "as near as whole weights allow"
        zero = pruned.flat() == 0
        assert torch.equal(pruned.flat()[~zero], before[~zero])
        for j in range(2):
            if zero[j].any() and not zero[j].all():
                assert before[j][zero[j]].abs().max() <= before[j][~zero[j]].abs().min()
        assert gone is None or (zero | ~gone).all(), "what was pruned stays pruned"
        gone = zero
    assert gone.all()


def test_zero_fill_tensor_by_tensor(mlps):
    wanted = torch.zeros(2, len(mlps.parameters), dtype=torch.float64)
    wanted[:, 0] = 0.5
    pruned = audit.zero_fill(mlps, wanted)
    for i, name in enumerate(mlps.parameters):
        changed = not torch.equal(pruned.parameters[name], mlps.parameters[name])
        assert changed == (i == 0)


@pytest.mark.parametrize("per", ["network", "tensor"])
@pytest.mark.parametrize("rho", [0.1, 0.5, 1.0])
def test_shuffle_keeps_every_weight_and_meets_the_distance(per, rho, mlps):
    columns = 1 if per == "network" else len(mlps.parameters)
    mixed = audit.shuffle(mlps, torch.full((4, columns), rho, dtype=torch.float64))
    got = audit.distance(mixed, mlps, per)
    for (_, span), moved in zip(mlps.segments().items(), got.T if per == "tensor" else [None] * 9,
                                strict=False):
        size = span.stop - span.start
        if per == "tensor":
            kept, old = mixed.flat()[:, span], mlps.flat()[:, span].repeat_interleave(2, 0)
            assert torch.equal(kept.sort(1).values, old.sort(1).values)
            assert (moved - rho).abs().max() < (0.03 if size > 500 else rho + 1e-9)
    whole = mlps.flat().repeat_interleave(2, 0)
    assert torch.equal(mixed.flat().sort(1).values, whole.sort(1).values)
    if per == "network":
        assert (got - rho).abs().max() < 0.02
    assert not torch.equal(mixed.flat()[0], mixed.flat()[1])


def test_shuffle_rather_moves_nothing_than_too_much():
    layer = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    pool = Pool.stack([layer]).with_flat(torch.tensor([[1.0, -1.0]]).double())     # one swap: ρ = 2
    assert torch.equal(audit.shuffle(pool, column(0.5, 1)).flat(), pool.flat())
    assert torch.equal(audit.shuffle(pool, column(1.5, 1)).flat(), -pool.flat())
    one = Pool.stack([nn.Linear(1, 1, bias=False)])
    assert torch.equal(audit.shuffle(one, column(0.5, 1)).flat(), one.flat())


# ---- all of them ------------------------------------------------------------------------------
CONTROLS = {"noise": lambda p, d, g: audit.noise(p, d, generator=g),
            "turned": lambda p, d, g: audit.noise(p, d, keep_norm=True, generator=g),
            "zero": lambda p, d, g: audit.zero_fill(p, d),
            "shuffle": lambda p, d, g: audit.shuffle(p, d, generator=g)}


@pytest.mark.parametrize("name", CONTROLS)
def test_no_distance_is_no_change_and_buffers_travel(name, pool):
    still = CONTROLS[name](pool, column(0.0, 4), 0)
    torch.testing.assert_close(still.flat(), pool.flat().repeat_interleave(2, 0), rtol=0,
                               atol=1e-15)
    for k, t in pool.buffers.items():
        assert torch.equal(still.buffers[k], t.repeat_interleave(2, 0))
    assert still.dtype == pool.dtype and still.device == pool.device


@pytest.mark.parametrize("name", CONTROLS)
def test_equal_seeds_give_equal_pools_whatever_the_number(name, mlps):
    control, before = CONTROLS[name], torch.random.get_rng_state()
    one = control(mlps, column(0.4, 6), 5).flat()
    assert torch.equal(one, control(mlps, column(0.4, 6), 5).flat())
    rows = [0, 1, 3, 4]
    assert torch.equal(one[rows], control(mlps, column(0.4, 4), 5).flat())
    assert torch.equal(one[:3], control(mlps[0], column(0.4, 3), 5).flat())
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one, control(mlps, column(0.4, 6), 6).flat()) == (name == "zero")


def test_controls_by_name(mlps):
    made = {name: audit.control(name, mlps, column(0.4), 1).flat() for name in audit.CONTROLS}
    for a, name in enumerate(made):
        assert all(not torch.equal(made[name], made[other]) for other in list(made)[:a])
        again = audit.control(name, mlps, column(0.4), 1)
        assert torch.equal(made[name], again.flat())
        assert (audit.distance(again, mlps) - 0.4).abs().max() < 0.05
    with pytest.raises(ValueError, match="name.*did you mean"):
        audit.control("nois", mlps, column(0.4))


@few
@given(st.integers(1, 4))
def test_mean_of_the_pool(count):
    pool = Pool.stack([lived(Own(), i) for i in range(count)])
    middle = audit.mean(pool)
    assert len(middle) == 1
    torch.testing.assert_close(middle.flat()[0], pool.flat().mean(0))
    for k, t in pool.buffers.items():
        torch.testing.assert_close(middle.buffers[k][0].double(), t.double().mean(0).to(
            t.dtype).double())
    assert torch.equal(audit.mean(pool[:1]).flat(), pool[:1].flat())


# ---- refusals ---------------------------------------------------------------------------------
@pytest.mark.parametrize("bad", [
    0.3, [[0.3]], torch.tensor(0.3), torch.rand(2), torch.rand(3, 1), torch.rand(2, 2),
    torch.rand(0, 1), column(-0.1), column(float("nan")), column(float("inf"))],
    ids=lambda v: str(getattr(v, "shape", v)))
@pytest.mark.parametrize("name", CONTROLS)
def test_bad_distances_are_refused(name, bad, mlps):
    with pytest.raises(ValueError, match="^distance"):
        CONTROLS[name](mlps, bad, 0)


def test_other_bad_calls(pool, mlps):
    with pytest.raises(ValueError, match="distance.*far side"):
        audit.noise(mlps, column(2.1), keep_norm=True)
    for name in CONTROLS:
        with pytest.raises(ValueError, match="^pool"):
            CONTROLS[name](pool.flat(), column(0.1), 0)
    for name in ("noise", "shuffle"):
        with pytest.raises(ValueError, match="^generator"):
            CONTROLS[name](mlps, column(0.1), -1)
    for measure in (audit.distance, audit.cosine, audit.sd_ratio):
        with pytest.raises(ValueError, match="^pool"):
            measure("pool", pool)
        with pytest.raises(ValueError, match="^origin"):
            measure(pool, pool.flat())
        with pytest.raises(ValueError, match="^origin"):
            measure(pool, mlps)
        with pytest.raises(ValueError, match="^origin"):
            measure(pool[[0, 1, 1]], pool)
    with pytest.raises(ValueError, match="^per"):
        audit.distance(pool, pool, "layer")
    with pytest.raises(ValueError, match="^pool"):
        audit.mean([pool])
