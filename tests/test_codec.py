"""Codecs: the loss's numbers, exact round trips, padding, and the zoo that a codec belongs to."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import Own, few, images, lived
from torch import nn

from wlib import store
from wlib.core import nets
from wlib.core.pool import Pool
from wlib.d2nwg.codec import (
    PCA,
    SCALES,
    VAE,
    Codec,
    VAETraining,
    pad,
    restored,
    vae_loss,
    zoo_id,
)
from wlib.d2nwg.pipeline import networks
from wlib.d2nwg.stored import stored_vae

VAES = {"training": VAETraining((16, 8), epochs=4, batch=8, every=2), "device": "cpu"}


def zoo(n=12, length=30, rank=4, seed=0):
    """Networks on a plane of `rank` dimensions, away from zero."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, rank, generator=g) @ torch.randn(rank, length, generator=g) + 2


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))


@pytest.fixture(scope="module")
def codecs():
    return {"PCA": PCA.fit(zoo(), 3), "VAE": VAE.fit(zoo(), 3, **VAES)}


# ---- the loss -----------------------------------------------------------------------------------
def test_the_loss_is_the_released_one():
    w, w_hat = torch.tensor([[1.0, 2, 0, 0]]), torch.tensor([[0.5, 2.5, 0.1, -0.1]])
    mu, logvar = torch.tensor([[1.0, 0]]), torch.tensor([[0.0, math.log(4)]])
    parts = {k: float(v) for k, v in vae_loss(w, w_hat, mu, logvar).items()}
    assert parts == pytest.approx({"l1": 1.2, "kl": 1.3068528, "mse": 0.13, "total": 131.2000013},
                                  rel=1e-6)
    real = torch.tensor([[True, True, False, False]])
    parts = {k: float(v) for k, v in vae_loss(w, w_hat, mu, logvar, real).items()}
    assert parts["mse"] == pytest.approx(0.25) and parts["l1"] == pytest.approx(1.0)


@given(rows=st.integers(1, 4), extra=st.integers(0, 5), seed=st.integers(0, 99))
@few
def test_padding_costs_nothing(rows, extra, seed):
    """Whatever stands in padding, the loss is that of the real weights alone."""
    g = torch.Generator().manual_seed(seed)
    w, w_hat, mu, logvar = torch.randn(4, rows, 6, generator=g)
    junk = torch.randn(2, rows, extra, generator=g)
    mask = torch.arange(6 + extra).expand(rows, -1) < 6
    bare = vae_loss(w, w_hat, mu, logvar)
    padded = vae_loss(torch.cat([w, junk[0]], 1), torch.cat([w_hat, junk[1]], 1), mu, logvar, mask)
    for k, v in bare.items():
        torch.testing.assert_close(padded[k], v)
    batch = [vae_loss(*(t[i:i + 1] for t in (w, w_hat, mu, logvar))) for i in range(rows)]
    for k, v in bare.items():                                    # a mean over networks
        torch.testing.assert_close(torch.stack([b[k] for b in batch]).mean(), v)


# ---- principal components -----------------------------------------------------------------------
@given(n=st.integers(3, 14), length=st.integers(3, 20), rank=st.integers(1, 6),
       scale=st.sampled_from(SCALES), seed=st.integers(0, 99))
@few
def test_all_components_give_the_weights_back(n, length, rank, scale, seed):
    weights = zoo(n, length, rank, seed)
    made = PCA.fit(weights, scale=scale)
    assert made.size == min(n - 1, length, rank)
    assert (made.reconstruct(weights) - weights).abs().max() < 1e-5
    z = torch.randn(5, made.size, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(made.encode(made.decode(z)), z, rtol=0, atol=1e-3)


def test_the_components_are_those_of_the_covariance():
    """A second implementation: eigenvectors of the covariance, one by one, up to their sign."""
    weights = zoo(20, 8, 8).double()
    made, centered = PCA.fit(weights, 3), weights - weights.mean(0)
    values, vectors = torch.linalg.eigh(centered.T @ centered / 20)
    for k in range(3):
        v, spread = vectors[:, -1 - k], values[-1 - k]
        assert float((made.tensors["basis"][:, k] @ v).abs()) == pytest.approx(1)
        assert float(made.scale[k]) == pytest.approx(math.sqrt(spread))
        assert float(made.fractions[k]) == pytest.approx(float(spread / values.sum()))
        z = (centered @ v / spread.sqrt()).float()
        torch.testing.assert_close(made.encode(weights)[:, k].abs(), z.abs(), rtol=1e-4, atol=1e-5)
    assert bool((made.tensors["basis"].abs().amax(0) == made.tensors["basis"].amax(0)).all())


def test_what_is_cut_off_is_the_smallest_part():
    weights = zoo(20, 12, 12)
    errors = [float((PCA.fit(weights, k).reconstruct(weights) - weights).square().sum())
              for k in range(1, 13)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-6
    total = float((weights - weights.mean(0)).square().sum())
    assert 1 - errors[2] / total == pytest.approx(float(PCA.fit(weights, 3).fractions.sum()))


@pytest.mark.parametrize("kind", ["PCA", "VAE"])
def test_the_zoo_s_latents_are_standard(codecs, kind):
    z = codecs[kind].encode(zoo())
    assert z.shape == (12, 3) and z.dtype == torch.float32
    torch.testing.assert_close(z.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3), rtol=1e-4, atol=0)


def test_one_scale_for_all_keeps_their_proportions():
    z = PCA.fit(zoo(), 3, scale="whole").encode(zoo())
    spread = z.std(0, correction=0)
    assert float(spread.square().mean()) == pytest.approx(1, rel=1e-4)
    assert spread[0] > spread[1] > spread[2]


# ---- padding ------------------------------------------------------------------------------------
def test_rows_of_different_lengths():
    rows = [torch.ones(3), torch.arange(1.0, 6)]
    weights, mask = pad(rows)
    assert weights.tolist() == [[1, 1, 1, 0, 0], [1, 2, 3, 4, 5]]
    assert mask.sum(1).tolist() == [3, 5]
    for row, w, m in zip(rows, weights, mask, strict=True):
        assert torch.equal(w[m], row)


@pytest.mark.parametrize("kind", ["PCA", "VAE"])
def test_what_stands_in_padding_changes_nothing(kind):
    weights, mask = pad([*zoo(5, 20), *zoo(7, 30, seed=1)])
    junk = weights + 100 * ~mask
    settings = {"size": 3, "mask": mask} | (VAES if kind == "VAE" else {})
    clean, dirty = (Codec.kinds[kind].fit(w, **settings) for w in (weights, junk))
    torch.testing.assert_close(clean.encode(weights, mask), dirty.encode(junk, mask))
    back = clean.reconstruct(junk, mask)
    torch.testing.assert_close(back, clean.reconstruct(weights, mask))
    assert bool((back[~mask] == 0).all())


def test_padding_takes_no_component():
    """Two lengths, one real direction: with a mask one component says all."""
    short = torch.tensor([1.0, 2, 3]) + torch.tensor([[-1.0], [0], [1]]) * torch.tensor([1.0, 0, 0])
    weights, mask = pad([*short, *(torch.cat([w, torch.tensor([9.0])]) for w in short)])
    assert PCA.fit(weights, mask=mask).size == 1 and PCA.fit(weights).size == 2


# ---- the autoencoder ----------------------------------------------------------------------------
def test_the_autoencoder_learns_and_keeps_its_best():
    weights, asked = zoo(16, 20, 2), []

    def score(rebuilt):
        asked.append(rebuilt)
        return [3.0, 9.0, 5.0, 1.0][len(asked) - 1]

    how = VAETraining((32, 16), epochs=60, batch=8, lr=6e-3, every=15)
    best = VAE.fit(weights, 2, training=how, score=score, device="cpu")
    assert [h["epoch"] for h in best.history] == [15, 30, 45, 60]
    assert [h["score"] for h in best.history] == [3, 9, 5, 1]
    torch.testing.assert_close(best.reconstruct(weights), asked[1])
    last = VAE.fit(weights, 2, training=how, device="cpu")
    torch.testing.assert_close(last.reconstruct(weights), asked[3])
    losses = [h["loss"] for h in last.history]
    assert losses[-1] < losses[0] / 2 and last.history[-1]["score"] is None
    spread = (weights - weights.mean(0)).square().mean()
    assert (last.reconstruct(weights) - weights).square().mean() < spread / 4


def test_the_autoencoder_is_the_equation_written_out(codecs):
    """A second implementation of encode and decode, weight by weight of the network."""
    made, weights = codecs["VAE"], zoo()
    t = made.tensors
    x = ((weights - t["mean"]) / t["sd"]).float()

    def run(x, name):
        for i in (0, 2, 4):
            x = x @ t[f"net/{name}.{i}.weight"].T + t[f"net/{name}.{i}.bias"]
            x = torch.where(x > 0, x, 0.01 * x) if i < 4 else x
        return x

    z = (run(x, "encoder")[:, :3] - t["center"]) / t["scale"]
    torch.testing.assert_close(made.encode(weights), z.float(), rtol=1e-4, atol=1e-5)
    back = run((z * t["scale"] + t["center"]).float(), "decoder") * t["sd"] + t["mean"]
    torch.testing.assert_close(made.decode(z.float()), back.float(), rtol=1e-4, atol=1e-4)
    assert [made.net.encoder[i].out_features for i in (0, 2, 4)] == [16, 8, 6]


def test_the_posterior_is_sampled_around_its_mean(codecs):
    made, weights = codecs["VAE"], zoo()
    draws = torch.stack([made.sampled(weights, seed) for seed in range(200)])
    assert torch.equal(draws[0], made.sampled(weights, 0)) and draws.std(0).min() > 0
    error = (draws.mean(0) - made.encode(weights)) / (draws.std(0) / math.sqrt(200))
    assert float(error.abs().max()) < 5


def test_equal_seeds_give_equal_codecs():
    one, two, other = (VAE.fit(zoo(), 3, seed=s, **VAES) for s in (1, 1, 2))
    assert one.digest() == two.digest() != other.digest()


# ---- keeping, and belonging ---------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["PCA", "VAE"])
def test_a_codec_is_kept_whole(codecs, kind):
    made = codecs[kind]
    state = store.cached(store_state, made)
    again = restored(state)
    assert type(again) is type(made) and again.digest() == made.digest()
    assert again.settings == made.settings and repr(again) == repr(made)
    assert torch.equal(again.reconstruct(zoo()), made.reconstruct(zoo()))


def store_state(made):
    return made.state()


def test_a_stored_autoencoder_is_trained_once(monkeypatch):
    first = stored_vae(zoo(), 3, **VAES)
    assert first.digest() == VAE.fit(zoo(), 3, **VAES).digest()
    monkeypatch.setattr(VAE, "fit", None)
    assert stored_vae(zoo(), 3, **VAES).digest() == first.digest()


@pytest.mark.parametrize("kind", ["PCA", "VAE"])
def test_a_codec_from_another_zoo_is_refused(codecs, kind):
    made, ours, theirs = codecs[kind], zoo_id(zoo()), zoo_id(zoo(seed=1))
    assert made.zoo == ours != theirs and len(ours) == 12
    assert zoo_id(zoo(), torch.ones(12, 30, dtype=torch.bool)) != ours
    assert torch.equal(made.encode(zoo(), zoo=ours), made.encode(zoo()))
    for work in (lambda: made.encode(zoo(seed=1), zoo=theirs),
                 lambda: made.decode(torch.zeros(1, 3), zoo=theirs)):
        with pytest.raises(ValueError, match=f"codec: got 'one fitted on the zoo {ours}', want one "
                                             f"fitted on the zoo {theirs}"):
            work()


def test_decoded_networks_are_a_pool():
    pool = Pool.stack([nets.fresh("mlp", s, classes=3, size=4, hidden=(3,)) for s in range(5)])
    made = PCA.fit(pool.flat())
    back = networks(made, made.encode(pool.flat()), pool, zoo=zoo_id(pool.flat()))
    assert len(back) == 5 and (back.flat() - pool.flat()).abs().max() < 1e-5
    x = images(6, size=4)
    torch.testing.assert_close(back.logits(x), pool.logits(x), rtol=1e-4, atol=1e-5)
    assert len(networks(made, torch.zeros(2, made.size), pool)) == 2
    with pytest.raises(ValueError, match="codec: got"):
        networks(made, torch.zeros(1, made.size), pool, zoo="another")


def test_padded_flat_weights_give_the_same_network():
    """Flatten, pad to a longer zoo, cut, load: not a bit is lost, though they lie otherwise."""
    pool = Pool.stack([nets.fresh("mlp", s, classes=3, size=4, hidden=(3,)) for s in range(2)])
    weights, mask = pad([*pool.flat(), torch.zeros(pool.size + 9)])
    cut = torch.stack([w[m] for w, m in zip(weights[:2], mask[:2], strict=True)])
    x, again = images(6, size=4), pool.with_flat(cut)
    assert torch.equal(again.flat(), pool.flat())
    torch.testing.assert_close(again.logits(x), pool.logits(x), rtol=1e-4, atol=1e-5)


def test_decoded_networks_get_statistics_of_their_own():
    pool = Pool.stack([lived(nets.fresh(Own, s), s) for s in range(4)])
    made, x = PCA.fit(pool.flat()), images(40, size=8)
    z = made.encode(pool.flat())
    bare, fresh = networks(made, z, pool), networks(made, z, pool, images=x)
    assert torch.equal(bare.buffers["norm.running_mean"][3], pool.buffers["norm.running_mean"][0])
    net = fresh.network(3)
    means = nn.Sequential(net.conv)(x.floats()).mean((0, 2, 3))
    torch.testing.assert_close(net.norm.running_mean, means.detach(), rtol=1e-3, atol=1e-4)


# ---- bad input ----------------------------------------------------------------------------------
BAD = torch.ones(4, 30)
BAD[2, 3] = math.nan


@pytest.mark.parametrize("work, message", [
    (lambda: PCA.fit(zoo(), 5), "size: got 5, want at most 4, the rank of 12 networks"),
    (lambda: PCA.fit(zoo(6, 30, 9), 6), "size: got 6, want at most 5, the rank of 6 networks"),
    (lambda: PCA.fit(zoo(), 0), "size: got 0, want a whole number ≥ 1"),
    (lambda: PCA.fit(zoo(), 2.0), "size: got 2.0"),
    (lambda: PCA.fit(zoo(1)), "weights: got '1 network', want at least 2"),
    (lambda: PCA.fit(torch.ones(5, 4)), "weights: got 'networks that are all the same'"),
    (lambda: VAE.fit(torch.ones(5, 4), 2), "weights: got 'networks that are all the same'"),
    (lambda: PCA.fit(BAD), "weights: got NaN or infinity in network 2, want finite weights"),
    (lambda: VAE.fit(BAD, 2), "weights: got NaN or infinity in network 2"),
    (lambda: PCA.fit(zoo()[0]), r"weights: got Tensor .*\(30,\), want weights \(n, D\)"),
    (lambda: PCA.fit([1, 2]), r"weights: got \[1, 2\], want weights"),
    (lambda: PCA.fit(zoo().long()), "weights: got Tensor of torch.int64"),
    (lambda: PCA.fit(zoo(), mask=torch.ones(12, 3, dtype=torch.bool)), r"mask: .*\(12, 30\)"),
    (lambda: PCA.fit(zoo(), mask=torch.zeros(12, 30, dtype=torch.bool)),
     "mask: got 'a network without weights'"),
    (lambda: PCA.fit(zoo(), scale="all"), "scale: got 'all', want one of dimension, whole"),
    (lambda: VAE.fit(zoo(), 2, VAETraining(epochs=0)), "epochs: got 0"),
    (lambda: VAE.fit(zoo(), 2, VAETraining(every=0)), "every: got 0"),
    (lambda: pad([]), "rows: got .*, want vectors of weights"),
    (lambda: pad([torch.ones(2, 2)]), "rows: got"),
    (lambda: restored({"kind": "pca"}), "kind: got 'pca', want one of PCA, VAE"),
])
def test_fitting_refuses(work, message):
    with pytest.raises(ValueError, match=message):
        work()


@pytest.mark.parametrize("kind", ["PCA", "VAE"])
def test_codecs_refuse(codecs, kind):
    made = codecs[kind]
    pool = Pool.stack([nets.fresh("mlp", 0, classes=3, size=4, hidden=(3,))])
    for work, message in (
            (lambda: made.encode(zoo(3, 29)), r"weights: .*\(3, 29\), want weights \(n, 30\), the "
                                              "length of the zoo"),
            (lambda: made.encode(BAD), "weights: got NaN or infinity in network 2"),
            (lambda: made.decode(torch.zeros(2, 4)), r"z: .*\(2, 4\), want latents \(n, 3\)"),
            (lambda: made.decode(torch.full((2, 3), math.inf)), "z: got 'NaN or infinity'"),
            (lambda: made.decode(torch.zeros(2, 3), torch.ones(2, 3)), r"mask: .*\(2, 30\)"),
            (lambda: networks(made, torch.zeros(2, 3), pool), "like: .* networks with 30 weights")):
        with pytest.raises(ValueError, match=message):
            work()
