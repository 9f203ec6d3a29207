"""Copies are found, new networks are not, and every measure agrees with another way to it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from small import few, images

from wlib import seeds
from wlib.core import nets, score
from wlib.core.pool import Pool
from wlib.d2nwg.memorization import battery, beside, decision_map, error_iou, min_l2, novelty, z_u


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeds.generator(seed))


ZOO = normal(100, 500)


class Components:
    """A lossy codec: the zoo's first principal components."""

    def __init__(self, zoo, size):
        self.pca = PCA(size).fit(zoo.numpy())

    def encode(self, weights):
        return torch.from_numpy(self.pca.transform(weights.numpy()))

    def decode(self, latents):
        return torch.from_numpy(self.pca.inverse_transform(latents.numpy()))


# ---- distance in weights ----------------------------------------------------------------------
def test_copies_with_noise_lie_as_near_as_the_noise_is_long():
    copies = ZOO + 0.1 * normal(100, 500, seed=1)
    far = min_l2(copies, ZOO)
    assert float(far.median()) == pytest.approx(0.1 * 500**0.5, rel=0.02)
    between = min_l2(ZOO, ZOO, own=True)
    assert float(between.median()) == pytest.approx(29.5, abs=0.3)
    fresh = min_l2(normal(60, 500, seed=2), ZOO)
    assert z_u(fresh, far) < -10 and abs(z_u(fresh, min_l2(normal(60, 500, seed=3), ZOO))) < 3


def test_the_nearest_is_the_nearest_neighbor():
    a, b = normal(7, 40, seed=1), normal(12, 40, seed=2)
    known, _ = NearestNeighbors(n_neighbors=1).fit(b.double().numpy()).kneighbors(
        a.double().numpy())
    np.testing.assert_allclose(min_l2(a, b), known[:, 0])
    known, _ = NearestNeighbors(n_neighbors=1).fit(b.double().numpy()).kneighbors()
    np.testing.assert_allclose(min_l2(b, b, own=True), known[:, 0])
    tiny = 1000 + torch.zeros(1, 40)
    assert float(min_l2(tiny, torch.nextafter(tiny, tiny + 1))) > 0     # no digits are lost


def test_a_copy_shows_beside_its_neighbor():
    made = torch.cat([ZOO[7:8], normal(1, 500, seed=4)])
    rows = beside(made, ZOO, neighbors=2, places=30, seed=1)
    assert rows.shape == (2, 3, 30) and torch.equal(rows[0, 0], rows[0, 1])
    far = (ZOO - made[1]).norm(dim=1).argsort()
    everywhere = beside(made, ZOO, neighbors=2, places=500)
    assert torch.equal(everywhere[1], torch.stack([made[1], ZOO[far[0]], ZOO[far[1]]]))
    assert set(rows[1, 0].tolist()) <= set(made[1].tolist())


def test_z_u_of_the_example():
    held, made = torch.tensor([1.0, 2, 3, 4]), torch.tensor([2.5, 3.5, 4.5])
    assert z_u(held, made) == pytest.approx(1.0606602)


@few
@given(st.integers(0, 500), st.integers(1, 20), st.integers(1, 20))
def test_z_u_is_mann_and_whitney_s(seed, n, m):
    g = seeds.generator(seed)
    held, made = (torch.randint(8, (k,), generator=g).float() for k in (n, m))   # with ties
    u = mannwhitneyu(made.numpy(), held.numpy()).statistic
    pairs = sum(float(x > y) + 0.5 * float(x == y) for x in made for y in held)
    assert u == pairs
    expected = (u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)
    assert z_u(held, made) == pytest.approx(expected)
    assert z_u(made, held) == pytest.approx(-expected)
    assert z_u(held + 9, made) == pytest.approx(-np.sqrt(3 * n * m / (n + m + 1)))


# ---- overlap of errors ------------------------------------------------------------------------
def test_the_overlap_of_the_example():
    a, b = (torch.tensor([e], dtype=torch.bool) for e in ([1, 1, 0, 0, 1], [0, 1, 1, 0, 1]))
    assert float(error_iou(a, b)) == 0.5
    assert float(error_iou(a & ~a, b & ~b)) == 1 and float(error_iou(a & ~a, b)) == 0


@few
@given(st.integers(0, 500))
def test_the_overlap_is_that_of_score(seed):
    g = seeds.generator(seed)
    a, b = (torch.rand(k, 9, generator=g) < 0.2 for k in (4, 5))
    torch.testing.assert_close(error_iou(a, b), score.iou(a[:, None], b[None]))
    torch.testing.assert_close(error_iou(a, a), score.pairwise_iou(a))
    torch.testing.assert_close(novelty(a, b), 1 - score.iou(a[:, None], b[None]).amax(1))
    assert novelty(a, a).max() == 0
    alone = torch.stack([novelty(a[i:i + 1], a[[j for j in range(4) if j != i]])[0]
                         for i in range(4)])
    torch.testing.assert_close(novelty(a, a, own=True), alone)


# ---- where networks decide --------------------------------------------------------------------
def test_the_map_shows_what_a_network_says_on_the_plane():
    data = images(60)
    pool = Pool.stack([nets.fresh("mlp", s, classes=3, size=8, hidden=(6,)) for s in (0, 1)])
    found = decision_map(pool, data, grid=5)
    assert found.classes.shape == (2, 5, 5) and found.places.shape == (60, 2)
    x = data.floats().flatten(1).double()
    mean, sd = x.mean(0), x.std(0, correction=0)
    u, s, v = torch.linalg.svd((x - mean) / sd, full_matrices=False)
    assert torch.allclose(found.places.abs(), (u[:, :2] * s[:2]).abs(), atol=1e-6)
    signs = (found.places * u[:, :2]).sum(0).sign()
    step = (found.high - found.low) / 4
    for row, column in ((0, 0), (1, 4), (3, 2)):
        at = found.low + step * torch.tensor([column, row])
        image = (mean + sd * (at * signs @ v[:2])).view(1, 1, 8, 8).float()
        assert torch.equal(pool.logits(image).argmax(-1)[:, 0], found.classes[:, row, column])
    assert (found.low == found.places.amin(0)).all() and (found.high == found.places.amax(0)).all()


# ---- all together -----------------------------------------------------------------------------
HELD = normal(40, 500, seed=7)


def verdicts(table, neighbors="as it is"):
    some = table[table.neighbors == neighbors].set_index("networks")
    return some.verdict.to_dict(), some


def test_the_battery_tells_copies_from_new_networks():
    copies = ZOO[:30] + 0.05 * normal(30, 500, seed=8)
    said, table = verdicts(battery(copies, ZOO, HELD))
    assert said == {"zoo": "no copies", "held-out": "no copies", "generated": "copies",
                    "zoo + noise 0.02": "copies", "zoo + noise 0.04": "copies",
                    "average of 16": "copies"}
    assert table.z_u["generated"] < -5 and table.near["generated"] == 1
    assert table.z_u["held-out"] == 0
    said, table = verdicts(battery(normal(30, 500, seed=9), ZOO, HELD))
    assert said["generated"] == "no copies" and abs(table.z_u["generated"]) < 3


def test_a_lossy_codec_shortens_distances_and_the_battery_says_so():
    """New networks through a codec lie nearer to the zoo: that is the codec and no copying."""
    codec = Components(ZOO, 20)
    new = codec.decode(codec.encode(normal(30, 500, seed=9)))
    plain = min_l2(new, ZOO)
    assert 20 < float(plain.median()) < 21.5 and z_u(min_l2(HELD, ZOO), plain) < -5
    table = battery(new, ZOO, HELD, codec=codec)
    assert verdicts(table)[0]["generated"] == "copies"                   # the naive comparison
    said, fair = verdicts(table, "through the codec")
    assert said["generated"] == said["held-out"] == "no copies" and abs(fair.z_u["generated"]) < 3
    copies = codec.decode(codec.encode(ZOO[:30])) + 0.05 * normal(30, 500, seed=8)
    assert verdicts(battery(copies, ZOO, HELD, codec=codec),
                    "through the codec")[0]["generated"] == "copies"


def test_the_battery_judges_errors_too():
    def errors(weights):
        return weights[:, :40] > 0.5
    table = battery(ZOO[:10], ZOO, HELD, errors=errors).set_index("networks")
    assert table.novelty["generated"] == 0 < table.novelty["held-out"]
    assert table.novelty["zoo"] > 0.5                                    # not its own neighbor
    assert table.accuracy["zoo"] == pytest.approx(float((ZOO[:, :40] <= 0.5).double().mean()))
    with pytest.raises(ValueError, match="^errors: "):
        battery(ZOO[:10], ZOO, HELD, errors=lambda w: w[:, :3])


def test_the_battery_is_repeatable_and_small_zoos_are_not_averaged():
    first, again = (battery(HELD[:5], ZOO[:15], HELD, generator=3) for _ in range(2))
    assert first.equals(again) and "average of 16" not in set(first.networks)
    assert not first.equals(battery(HELD[:5], ZOO[:15], HELD, generator=4))


@pytest.mark.parametrize("argument, make", [
    ("a", lambda: min_l2(ZOO[0], ZOO)), ("b", lambda: min_l2(ZOO, ZOO[:, :9])),
    ("a", lambda: min_l2(ZOO / 0, ZOO)), ("own", lambda: min_l2(ZOO[:5], ZOO, own=True)),
    ("held_out", lambda: z_u(torch.zeros(0), torch.ones(2))),
    ("generated", lambda: z_u(torch.zeros(2), torch.ones(2, 2))),
    ("a", lambda: error_iou(torch.zeros(2, 3), torch.zeros(2, 3).bool())),
    ("b", lambda: error_iou(torch.zeros(2, 3).bool(), torch.zeros(2, 4).bool())),
    ("own", lambda: novelty(torch.zeros(1, 3).bool(), torch.zeros(1, 3).bool(), own=True)),
    ("neighbors", lambda: beside(ZOO, ZOO, neighbors=0)),
    ("places", lambda: beside(ZOO, ZOO, places=501)),
    ("pool", lambda: decision_map(None, images())),
    ("grid", lambda: decision_map(Pool.stack([nets.build("mlp", size=8)]), images(), 1)),
    ("images", lambda: decision_map(Pool.stack([nets.build("mlp", size=8)]), images(2)))])
def test_memorization_refuses(argument, make):
    with pytest.raises(ValueError, match=f"^{argument}: "):
        make()
