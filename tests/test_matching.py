"""Hidden units in one order: outputs stay, distances to the reference shrink."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import Own, few
from torch import nn

from wlib.core import audit, nets
from wlib.core.matching import aligned, chain, matches, permuted, shuffles
from wlib.core.pool import Pool
from wlib.d2nwg.zoo import tiny_cnn

KINDS = {"tiny cnn": (tiny_cnn, (1, 28, 28)), "color": (lambda: tiny_cnn(channels=3), (3, 28, 28)),
         "mlp": (lambda: nets.build("mlp", size=6, hidden=(9, 7)), (1, 6, 6)),
         "lenet": (lambda: nets.build("lenet"), (1, 28, 28)),
         "no bias": (lambda: nn.Sequential(nn.Linear(5, 6, bias=False), nn.Tanh(), nn.Linear(6, 4)),
                     (5,))}


def pool_of(kind, count=3, seed=0):
    make, shape = KINDS[kind]
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(seed))
    return Pool.stack([nets.fresh(make, 100 * seed + i) for i in range(count)]), x


def said(pool, x):
    with torch.no_grad():
        return torch.stack([pool.network(i)(x) for i in range(len(pool))])


def test_the_chain_of_the_tiny_cnn():
    layers = chain(Pool.stack([tiny_cnn()]))
    assert [(y.name, y.inputs, y.units) for y in layers] == [
        ("conv1", 1, 8), ("conv2", 8, 6), ("conv3", 6, 4), ("fc1", 4, 20), ("fc2", 20, 10)]


@few
@given(st.sampled_from(sorted(KINDS)), st.integers(0, 1000))
def test_permuted_networks_say_the_same(kind, seed):
    pool, x = pool_of(kind)
    moved = permuted(pool, shuffles(pool, seed))
    torch.testing.assert_close(said(moved, x), said(pool, x), rtol=1e-4, atol=1e-6)
    assert (moved.flat() != pool.flat()).any(1).all()
    torch.testing.assert_close(moved.flat().sort(1).values, pool.flat().sort(1).values)


def test_one_unit_by_hand():
    pool = Pool.stack([nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))])
    pool = pool.with_flat(torch.tensor([[1.0, 2, 3, 4, 5, 6, 7]]))    # W1, b1, W2, b2
    assert permuted(pool, [torch.tensor([[1, 0]])]).flat().tolist() == [[2, 1, 4, 3, 6, 5, 7]]


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_networks_are_brought_back_exactly(kind):
    """A mean of permuted copies is another network; in one order it is the network itself."""
    pool, x = pool_of(kind, 1)
    copies = pool.repeat(3)
    moved = permuted(copies, shuffles(copies, 5))
    back = aligned(moved, pool)
    assert torch.equal(back.flat(), copies.flat())
    assert (said(audit.mean(Pool.cat([pool, moved])), x) - said(pool, x)).abs().max() > 1e-3
    torch.testing.assert_close(said(audit.mean(Pool.cat([pool, back])), x), said(pool, x))


@few
@given(st.integers(0, 1000))
def test_other_networks_come_nearer_and_say_the_same(seed):
    pool, x = pool_of("tiny cnn", 4, seed)
    near = aligned(pool[1:], pool[0])
    reference = pool[0].flat()
    assert ((near.flat() - reference).norm(dim=1)
            < (pool[1:].flat() - reference).norm(dim=1)).all()
    torch.testing.assert_close(said(near, x), said(pool[1:], x), rtol=1e-4, atol=1e-6)
    assert torch.equal(aligned(near, pool[0]).flat(), near.flat())      # nothing left to gain


def test_one_hidden_layer_gets_the_best_of_all_orders():
    """With one hidden layer the Hungarian method finds what trying all orders finds."""
    pool = Pool.stack([nets.fresh(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(),
                                                        nn.Linear(5, 2)), i) for i in range(2)])
    own, reference = pool[1], pool[0]
    best = min(float((permuted(own, [torch.tensor([order])]).flat() - reference.flat()).norm())
               for order in permutations(range(5)))
    found = float((aligned(own, reference).flat() - reference.flat()).norm())
    np.testing.assert_allclose(found, best, rtol=1e-6)


def test_a_network_s_order_does_not_depend_on_the_others():
    pool, _ = pool_of("mlp", 4)
    together = matches(pool[1:], pool[0])
    alone = matches(pool[2], pool[0])
    assert all(torch.equal(t[1], a[0]) for t, a in zip(together, alone, strict=True))
    assert torch.equal(shuffles(pool, 3)[0][2], shuffles(pool[:3], 3)[0][2])


@pytest.mark.parametrize("message, make", [
    ("pool: .*BatchNorm2d", lambda: chain(Pool.stack([nets.build("vgg", size=8)]))),
    ("pool: .*Own", lambda: chain(Pool.stack([Own()]))),
    ("pool: .*1 layers", lambda: chain(Pool.stack([nn.Sequential(nn.Linear(2, 2))]))),
    ("pool: ", lambda: chain(tiny_cnn())),
    ("pool: got 'layer 1'", lambda: chain(Pool.stack([nn.Sequential(
        nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1, groups=2))]))),
    ("reference: ", lambda: matches(pool_of("mlp")[0], pool_of("lenet", 1)[0])),
    ("reference: ", lambda: matches(pool_of("mlp")[0], pool_of("mlp")[0])),
    ("passes: ", lambda: matches(pool_of("mlp")[0], pool_of("mlp", 1)[0], 0)),
    ("orders: .*2, one per hidden layer", lambda: permuted(pool_of("mlp")[0], [])),
    ("orders: .*permutations of 9 units for fc1", lambda: permuted(
        pool_of("mlp")[0], [torch.zeros(3, 9).long(), torch.zeros(3, 7).long()]))])
def test_matching_refuses(message, make):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
