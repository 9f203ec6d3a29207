"""Diffusion over latents: numbers worked out elsewhere, a plain sampler, runs that break off."""

import importlib.util
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import few
from torch import nn

from wlib import d2nwg, seeds, store
from wlib.d2nwg import condition, sampling, stored
from wlib.d2nwg.denoiser import Denoiser, UNet
from wlib.d2nwg.process import PAPER_BETAS, alphas_cumprod, schedule
from wlib.d2nwg.sampling import select
from wlib.d2nwg.stored import stored_fit
from wlib.d2nwg.training import Training, TrainState, advance, fit

TINY = Training(timesteps=20, width=8, depth=1, steps=6, batch=4, decay=0.9)


def learned(latents, conditions=None, **settings):
    """`fit` on the CPU, with a tiny training in which some settings are others."""
    given = {k: settings.pop(k) for k in ("encoder", "denoiser", "seed") if k in settings}
    return fit(latents, conditions, replace(TINY, **settings), device="cpu", **given)


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))


@pytest.fixture(scope="module")
def zoo():
    """Twelve latents of 5 numbers and conditions of 3."""
    g = torch.Generator().manual_seed(3)
    return torch.randn(12, 5, generator=g), torch.randn(12, 3, generator=g)


@pytest.fixture(scope="module")
def sets():
    """Twelve data sets of 2 classes with 4 images of 3 features."""
    return torch.randn(12, 2, 4, 3, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def trained(zoo):
    return learned(*zoo, steps=30)


class Mean(nn.Module):
    """The smallest encoder that learns: a linear map of the mean image."""

    def __init__(self, d=3, size=2):
        super().__init__()
        self.map = nn.Linear(d, size)

    def forward(self, sets):
        return self.map(sets.mean((1, 2)))


def same(a, b):
    return (torch.equal(a.losses, b.losses) and a.average.keys() == b.average.keys()
            and all(torch.equal(v, b.average[k]) for k, v in a.average.items())
            and all(torch.equal(v, b.denoiser.state_dict()[k])
                    for k, v in a.denoiser.state_dict().items()))


# ---- schedule and steps: numbers worked out elsewhere -------------------------------------------
def test_the_schedule_is_the_released_one():
    betas = schedule(1024)
    at = [0, 255, 511, 767, 1023]
    assert betas[[0, 511, 1023]].tolist() == pytest.approx([0.0015, 0.00665407, 0.0155], rel=1e-6)
    assert alphas_cumprod(betas)[at].tolist() == pytest.approx(
        [0.9985, 0.529463, 0.144374, 0.0159562, 5.61083e-4], rel=1e-5)
    assert float(betas.sum()) == pytest.approx(7.449744, rel=1e-6)


def test_the_schedule_is_not_linear_in_beta():
    assert float(torch.linspace(0.0015, 0.0155, 1024)[511]) == pytest.approx(0.0084932, rel=1e-4)
    assert float(schedule(1024)[511]) < 0.007


def test_a_shorter_schedule_drowns_the_signal_all_the_same():
    betas = schedule(100)
    assert betas[[0, 99]].tolist() == pytest.approx([0.01536, 0.15872])
    assert alphas_cumprod(betas)[[0, 49, 99]].tolist() == pytest.approx(
        [0.98464, 0.140184, 3.8607e-4], rel=1e-4)
    root = [math.sqrt(b) for b in PAPER_BETAS]
    left = [float(alphas_cumprod(torch.linspace(*root, t) ** 2)[-1]) for t in (50, 100, 200)]
    assert left == pytest.approx([0.6930, 0.4809, 0.2315], abs=5e-5)      # not rescaled: too much


@given(steps=st.integers(16, 1500))
@few
def test_every_schedule_rises_and_ends_in_noise(steps):
    betas = schedule(steps)
    assert betas.shape == (steps,) and bool((betas.diff() > 0).all()) and 0 < betas[0]
    assert float(betas[-1]) < 1 and float(alphas_cumprod(betas)[-1]) < 1e-3


def test_noise_goes_in_and_out():
    betas, z, eps = schedule(), torch.tensor([[2.0]]).double(), torch.tensor([[-1.0]]).double()
    seen = [float(d2nwg.add_noise(z, t, eps, betas)) for t in (0, 511, 1023)]
    assert seen == pytest.approx([1.9597696, -0.1650695, -0.9523451], abs=1e-7)
    x = d2nwg.add_noise(z, 511, eps, betas)
    assert float(d2nwg.predict_z0(x, 511, eps, betas)) == pytest.approx(2)
    each = d2nwg.add_noise(z.expand(3, 1), torch.tensor([0, 511, 1023]), eps.expand(3, 1), betas)
    assert each.flatten().tolist() == pytest.approx(seen)


def test_an_ancestral_step_is_the_paper_s():
    betas, left = schedule(), alphas_cumprod(schedule())
    eps = torch.tensor([[-1.0]]).double()
    x = d2nwg.add_noise(torch.tensor([[2.0]]).double(), 511, eps, betas)
    beta, before = betas[511], left[510]
    assert float(beta * before.sqrt() / (1 - left[511])) == pytest.approx(0.00296481, abs=1e-8)
    assert float((1 - before) * (1 - beta).sqrt() / (1 - left[511])) == pytest.approx(0.99554088)
    mean, variance = d2nwg.ddpm_step(x, 511, eps, betas)
    assert float(mean) == pytest.approx(-0.15840384, abs=1e-8)
    assert float(variance) == pytest.approx(0.00664655, abs=1e-8)
    epsilon_form = (x - beta * eps / (1 - left[511]).sqrt()) / (1 - beta).sqrt()
    assert float(epsilon_form) == pytest.approx(float(mean), abs=1e-12)
    assert float(d2nwg.ddpm_step(x, 0, eps, betas)[1]) == 0


@given(t=st.integers(0, 99), seed=st.integers(0, 99))
@few
def test_a_step_with_the_true_noise_lands_on_the_path(t, seed):
    """DDIM with the noise that was added gives the latent with one step less of that noise."""
    g = torch.Generator().manual_seed(seed)
    z, eps = torch.randn(2, 4, 3, generator=g).double()
    betas = schedule(100)
    back = d2nwg.ddim_step(d2nwg.add_noise(z, t, eps, betas), t, eps, betas)
    torch.testing.assert_close(back, d2nwg.add_noise(z, t - 1, eps, betas) if t else z)


@given(steps=st.integers(1, 60))
@few
def test_fewer_steps_meet_the_same_noise(steps):
    full = schedule(60)
    times, betas = d2nwg.respaced(full, steps)
    assert times[-1] == 59 and (steps == 1 or times[0] == 0) and len(times.unique()) == steps
    torch.testing.assert_close(alphas_cumprod(betas), alphas_cumprod(full)[times])
    if steps == 60:
        torch.testing.assert_close(betas, full)


def test_the_average_warms_up():
    got = [d2nwg.ema_decay(k, 0.9999) for k in (1, 10, 100, 1000)]
    assert got == pytest.approx([0.181818, 0.55, 0.918182, 0.991089], abs=1e-6)
    assert d2nwg.ema_decay(89_989, 0.9999) < 0.9999 == d2nwg.ema_decay(89_990, 0.9999)
    assert d2nwg.ema_decay(10**6, 0.9) == 0.9


# ---- denoisers ----------------------------------------------------------------------------------
def test_a_denoiser_uses_all_it_is_given():
    net, g = Denoiser(5, 3, width=8, depth=2), torch.Generator().manual_seed(0)
    x, t, c = torch.randn(4, 5, generator=g), torch.arange(4), torch.randn(4, 3, generator=g)
    out = net(x, t, c)
    assert out.shape == (4, 5)
    for other in (net(x + 1, t, c), net(x, t + 1, c), net(x, t, c + 1)):
        assert (out - other).abs().min() > 0
    assert Denoiser(5, width=8)(x, t).shape == (4, 5)                    # without a condition
    weights = (5 + 3 + 64) * 8 + 8 + 2 * (16 + 2 * (64 + 8)) + 8 * 5 + 5
    assert sum(p.numel() for p in net.parameters()) == weights


def test_an_untrained_denoiser_that_says_nothing_has_a_loss_of_one():
    z, eps = torch.randn(2, 4000, 3)
    silent = lambda x, t, c: torch.zeros_like(x)                                     # noqa: E731
    loss = d2nwg.denoising_loss(silent, z, torch.zeros(4000, dtype=torch.long), eps, None,
                                schedule(20))
    assert float(loss) == pytest.approx(1, abs=0.05)


@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None,
                    reason="the extra 'unet' (diffusers) is not installed")
def test_the_library_unet_is_the_paper_s():
    with torch.device("meta"):
        assert sum(p.numel() for p in UNet().parameters()) == 102_684_929
    net = UNet(64, 64, width=32)
    x, c = torch.randn(2, 2, 64)
    out = net(x, torch.tensor([0, 5]), c)
    assert out.shape == (2, 64) and (out - net(x, torch.tensor([0, 5]), c + 1)).abs().max() > 0
    run = learned(torch.randn(3, 64), torch.randn(3, 64), denoiser=net, steps=1)
    assert run.sample(torch.randn(2, 64), 2, method="ddim", steps=2).shape == (2, 2, 64)


def test_without_the_library_the_unet_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"weights-as-data\[unet\]"):
        UNet(64, 64, width=32)
    with pytest.raises(ValueError, match="size: got 50, want the square of a multiple of 8"):
        UNet(50)
    with pytest.raises(ValueError, match="condition: got 3, want 64"):
        UNet(64, 3)


# ---- training -----------------------------------------------------------------------------------
def plain_steps(zoo, denoiser, steps, how):
    """A second implementation of training: one weight at a time, torch's optimizer aside."""
    net = denoiser
    average = {k: p.detach().clone() for k, p in net.named_parameters()}
    adam = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    betas = schedule(how.timesteps)
    left, losses = torch.cumprod(1 - betas, 0).float(), []
    for step in range(steps):
        g = seeds.generator(0, step)
        rows = torch.randint(len(zoo[0]), (how.batch,), generator=g)
        t = torch.randint(how.timesteps, (how.batch,), generator=g)
        eps = torch.randn(how.batch, 5, generator=g)
        loss = 0
        for r, time, e in zip(rows, t, eps, strict=True):
            x = left[time].sqrt() * zoo[0][r] + (1 - left[time]).sqrt() * e
            belief = net(x[None], time[None], zoo[1][r][None])
            loss = loss + ((belief - e) ** 2).mean() / how.batch
        adam.zero_grad()
        loss.backward()
        adam.step()
        keep = min(how.decay, (2 + step) / (11 + step))
        for k, p in net.named_parameters():
            average[k] = keep * average[k] + (1 - keep) * p.detach()
        losses.append(loss.item())
    return losses, average


def test_training_is_that_of_a_plain_implementation(zoo):
    start = Denoiser(5, 3, width=8, depth=1)
    run = learned(*zoo, denoiser=start)
    losses, average = plain_steps(zoo, start, TINY.steps, TINY)
    assert run.losses.tolist() == pytest.approx(losses, rel=1e-4)
    for k, p in start.named_parameters():
        torch.testing.assert_close(run.denoiser.state_dict()[k], p.detach(), rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(run.average[f"denoiser.{k}"], average[k], rtol=1e-3, atol=1e-5)


def test_equal_seeds_give_equal_runs(zoo):
    assert same(learned(*zoo, seed=1), learned(*zoo, seed=1))
    assert not same(learned(*zoo, seed=1), learned(*zoo, seed=2))


def test_what_is_given_is_left_as_it_was(zoo, sets):
    start, encoder = Denoiser(5, 2, width=8), Mean()
    before = [p.clone() for p in [*start.parameters(), *encoder.parameters()]]
    run = learned(zoo[0], sets, encoder=encoder, denoiser=start)
    again = advance(run, zoo[0], sets, steps=8)
    assert all(torch.equal(a, b) for a, b in
               zip(before, [*start.parameters(), *encoder.parameters()], strict=True))
    assert len(run.losses) == 6 and len(again.losses) == 8


@pytest.mark.parametrize("joint", [False, True])
def test_a_run_that_is_taken_up_again_is_an_unbroken_one(zoo, sets, joint):
    data = (zoo[0], sets if joint else zoo[1])
    given = {"encoder": Mean(), "shots": 2} if joint else {}
    whole, first = learned(*data, **given), learned(*data, **given, steps=2)
    assert not same(first, whole)
    again = advance(first, *data, steps=6)
    assert same(again, whole) and same(advance(whole, *data, steps=6), whole)
    start = learned(*data, **given, steps=0)
    kept = TrainState.restored(first.state(), start)
    assert same(kept, first) and same(advance(kept, *data, steps=6), whole)
    if joint:
        assert not torch.equal(whole.encoder.map.weight, given["encoder"].map.weight)
        assert not torch.equal(whole.average["encoder.map.weight"], whole.encoder.map.weight)
        assert torch.equal(again.encoder.map.weight, whole.encoder.map.weight)


def test_a_killed_run_starts_again_where_it_was(zoo, sets, monkeypatch):
    given, how = {"encoder": Mean(), "device": "cpu"}, replace(TINY, shots=2)
    whole, pieces = fit(zoo[0], sets, how, **given), []

    def counted(run, latents, conditions, steps):
        pieces.append(steps)
        if pieces == [2, 4]:
            raise KeyboardInterrupt
        return advance(run, latents, conditions, steps)

    def kept(every, training=how):
        return stored_fit(zoo[0], sets, training, every=every, **given)

    monkeypatch.setattr(stored, "advance", counted)
    with pytest.raises(KeyboardInterrupt):
        kept(2)
    assert same(kept(2), whole)
    assert pieces == [2, 4, 4, 6]                       # what was finished is not made again
    longer = kept(2, replace(how, steps=8))
    assert pieces[4:] == [8] and torch.equal(longer.losses[:6], whole.losses)
    assert same(kept(5), whole)


def test_conditions_may_hang_on_a_graph(zoo, sets):
    """What a reader encodes without `no_grad` is taken as it is, and nothing flows back."""
    encoder = Mean(size=3)
    run = learned(zoo[0].clone().requires_grad_(), encoder(sets))
    assert same(run, learned(zoo[0], encoder(sets).detach()))
    assert encoder.map.weight.grad is None
    assert not run.sample(encoder(sets[:2]), 1, method="ddim", steps=2).requires_grad


def test_a_frozen_encoder_stays(zoo, sets):
    encoder = Mean().requires_grad_(False)
    run = learned(zoo[0], sets, encoder=encoder)
    assert torch.equal(run.encoder.map.weight, encoder.map.weight)
    assert not any(k.startswith("encoder") for k in run.average)


def test_images_are_drawn_anew_at_every_step(zoo, sets):
    def watch(module, given):
        if isinstance(module, Mean):
            seen.append(given[0].clone())

    seen = []
    handle = nn.modules.module.register_module_forward_pre_hook(watch)
    try:
        learned(zoo[0], sets, encoder=Mean(), shots=2, steps=12)
    finally:
        handle.remove()
    drawn = [x for x in seen if len(x) == TINY.batch]
    assert {tuple(x.shape) for x in drawn} == {(4, 2, 2, 3)}
    pairs = set()                                       # which 2 of the 4 images, in which order
    for x in drawn:
        for row in x:
            places = [tuple((sets == row[k, s]).all(-1).nonzero()[0].tolist())
                      for k in range(2) for s in range(2)]
            assert len(set(places)) == 4 and len({p[0] for p in places}) == 1
            pairs.add(tuple(p[2] for p in places[:2]))
    assert len(pairs) > 6


def test_the_learning_rate_warms_up(zoo):
    none = learned(*zoo, steps=1)
    slow = learned(*zoo, steps=1, warmup=1000)
    start = learned(*zoo, steps=0)
    far, near = (sum((p - q).abs().sum().item() for p, q in
                     zip(r.denoiser.parameters(), start.denoiser.parameters(), strict=True))
                 for r in (none, slow))
    assert near == pytest.approx(far / 1000, rel=0.05)


def test_a_condition_for_each_class(zoo, sets):
    """`per_class` gives C rows per data set, and so there are C latents per data set."""
    latents = torch.randn(12, 2, 5)
    run = learned(latents, sets, encoder=condition.per_class, shots=3)
    samples = run.sample(sets[:3], 4, method="ddim", steps=5)
    assert samples.shape == (3, 4, 2, 5)
    swapped = run.sample(sets[:3].flip(1), 4, method="ddim", steps=5, ema=True)
    assert not torch.allclose(samples, swapped)
    rows = condition.per_class(sets[:3]).flatten(0, 1)                          # (3·2, d)
    plain = learned(latents.flatten(0, 1), condition.per_class(sets).flatten(0, 1))
    assert plain.sample(rows, 4, method="ddim", steps=5).shape == (6, 4, 5)


def test_learned_noise_carries_the_condition():
    """Where w = Ac, samples for new c lie at Ac; for other c than they are compared with, not."""
    g = torch.Generator().manual_seed(0)
    A, c = torch.randn(20, 8, generator=g), torch.randn(220, 8, generator=g)
    w = c @ A.T
    mean, sd = w[:200].mean(0), w[:200].std(0)
    training = Training(300, timesteps=100, width=96, depth=2, lr=5e-3, decay=0.98)
    run = fit((w[:200] - mean) / sd, c[:200], training, device="cpu")
    new = run.sample(c[200:], 10, method="ddim", steps=10).mean(1) * sd + mean

    def r(a, b):
        return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])

    assert r(new, w[200:]) > 0.9
    assert abs(r(new, w[200:].roll(7, 0))) < 0.3


@torch.no_grad()
def test_the_loss_on_other_latents_is_the_plain_one(trained, zoo):
    z, c = zoo[0][:3], zoo[1][:3]
    betas, total = schedule(20), 0.0
    net, _ = trained.parts(ema=True)
    for k in range(4):
        g = seeds.generator(0, k)
        t, eps = torch.randint(20, (3,), generator=g), torch.randn(3, 5, generator=g)
        x = torch.stack([d2nwg.add_noise(*args, betas) for args in zip(z, t, eps, strict=True)])
        total += float((net(x, t, c) - eps).square().mean()) / 4
    assert trained.loss(z, c, draws=4) == pytest.approx(total, rel=1e-5)
    assert trained.loss(z, c, draws=4, ema=False) != trained.loss(z, c, draws=4)
    with pytest.raises(ValueError, match="conditions: .* want one for each of 3 latents"):
        trained.loss(z, zoo[1])


def test_what_was_learned_is_told_apart_by_the_store(zoo, sets):
    given = {"encoder": condition.concatenated, "shots": 2}
    run = stored_fit(zoo[0], sets, replace(TINY, shots=2), encoder=condition.concatenated, every=4,
                     device="cpu")
    again, other = learned(zoo[0], sets, **given), learned(zoo[0], sets, **given, seed=1)
    assert same(run, again) and store.describe(run) == store.describe(again)
    assert store.describe(run) != store.describe(other)


# ---- sampling -----------------------------------------------------------------------------------
def plain_sample(run, c, i, j, seed, method, steps):
    """A second implementation of sampling: one latent, the equations as the papers print them."""
    full = schedule(run.training.timesteps)
    abar_full = torch.cumprod(1 - full, 0)
    at = sorted({round(k * (len(full) - 1) / (steps - 1)) for k in range(steps)})
    abar = abar_full[at].tolist()
    g = seeds.generator(seed, i, j)
    x = torch.randn(run.denoiser.size, generator=g)
    noise = torch.randn(steps - 1, run.denoiser.size, generator=g)
    net, _ = run.parts()
    for k in reversed(range(steps)):
        before = abar[k - 1] if k else 1.0
        eps = net(x[None], torch.tensor([at[k]]), c[None])[0].detach()
        if method == "ddim":
            z = (x - math.sqrt(1 - abar[k]) * eps) / math.sqrt(abar[k])
            x = math.sqrt(before) * z + math.sqrt(1 - before) * eps
            continue
        beta = 1 - abar[k] / before
        x = (x - beta / math.sqrt(1 - abar[k]) * eps) / math.sqrt(1 - beta)
        if k:
            x = x + math.sqrt(beta * (1 - before) / (1 - abar[k])) * noise[k - 1]
    return x


@pytest.mark.parametrize("method, steps", [("ancestral", 20), ("ancestral", 7), ("ddim", 6)])
def test_samples_are_those_of_a_plain_implementation(trained, zoo, method, steps):
    got = trained.sample(zoo[1][:3], 2, seed=5, method=method, steps=steps)
    assert got.shape == (3, 2, 5)
    for i in range(3):
        for j in range(2):
            want = plain_sample(trained, zoo[1][i], i, j, 5, method, steps)
            torch.testing.assert_close(got[i, j], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", sampling.METHODS)
def test_a_sample_does_not_depend_on_its_company(trained, zoo, method):
    def sample(c, n, **more):
        return trained.sample(c, n, seed=1, method=method, **more)

    whole = sample(zoo[1][:3], 4)
    assert torch.equal(whole, sample(zoo[1][:3], 4))
    near = {"rtol": 1e-3, "atol": 1e-3}                 # sums in another order
    for other in (sample(zoo[1][:3], 4, batch=1), sample(zoo[1][:3], 4, batch=5)):
        torch.testing.assert_close(other, whole, **near)
    torch.testing.assert_close(sample(zoo[1][:3], 2), whole[:, :2], **near)
    torch.testing.assert_close(sample(zoo[1][:1], 4), whole[:1], **near)
    assert not torch.allclose(trained.sample(zoo[1][:3], 4, seed=2, method=method), whole)
    assert len(whole.flatten(0, 1).unique(dim=0)) == 12


def test_a_trajectory_goes_from_noise_to_the_sample(trained, zoo):
    for method, steps in (("ancestral", 20), ("ddim", 4)):
        path = trained.sample(zoo[1][:2], 3, method=method, steps=steps, trajectory=True)
        assert path.shape == (2, 3, steps + 1, 5)
        assert torch.equal(path[:, :, -1],
                           trained.sample(zoo[1][:2], 3, method=method, steps=steps))
        noise = torch.randn(5, generator=seeds.generator(0, 1, 2))
        assert torch.equal(path[1, 2, 0], noise)


def test_samples_come_from_the_average(trained, zoo):
    averaged, last = (trained.sample(zoo[1][:2], 2, ema=ema) for ema in (True, False))
    assert not torch.allclose(averaged, last)
    swapped = replace(trained, average={f"denoiser.{k}": p.detach() for k, p in
                                        trained.denoiser.named_parameters()})
    assert torch.equal(swapped.sample(zoo[1][:2], 2, ema=True), last)


def test_a_set_is_encoded_once(zoo, sets):
    calls = []
    run = learned(zoo[0], sets.double(), encoder=condition.concatenated)
    assert run.encode(sets[:2]).shape == (2, 6)
    samples = run.sample(sets[:2], 3)
    run.encoder = lambda x: (calls.append(len(x)), condition.concatenated(x))[1]
    assert torch.equal(run.sample(sets[:2], 3), samples) and calls == [2]


def test_latents_without_conditions(zoo):
    run = learned(zoo[0])
    assert run.sample(method="ddim").shape == (1, 1, 5)       # all 20 steps that there are
    samples = run.sample(n=7, method="ddim", steps=3)
    assert samples.shape == (1, 7, 5) and bool(torch.isfinite(samples).all())
    with pytest.raises(ValueError, match="conditions: .* want None"):
        run.sample(zoo[1])


def test_the_best_samples_come_first():
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.7, 0.2]])
    assert select(scores, 2).tolist() == [[1, 2], [0, 1]]
    assert select(scores, 3).tolist() == [[1, 2, 0], [0, 1, 2]]


# ---- bad input ----------------------------------------------------------------------------------
@pytest.mark.parametrize("change, message", [
    ({"latents": torch.zeros(0, 5)}, r"latents: got Tensor .*\(0, 5\), want a float tensor"),
    ({"latents": torch.full((12, 5), math.nan)}, "latents: got 'NaN or infinity'"),
    ({"latents": torch.zeros(12, 2, 5)}, r"conditions: .* want a float tensor of 3 dimensions"),
    ({"conditions": torch.zeros(7, 3)}, "conditions: .* want as many rows as latents: 12"),
    ({"conditions": torch.full((12, 3), math.inf)}, "conditions: got 'NaN or infinity'"),
    ({"encoder": condition.concatenated}, "conditions: .* want a float tensor of 4 dimensions"),
    ({"encoder": 5}, "encoder: got 5, want a function"),
    ({"conditions": None, "encoder": condition.per_class}, "encoder: .* want None"),
    ({"denoiser": Denoiser(4, 3)}, "denoiser: got 'size=4, condition=3', want size=5, condition=3"),
    ({"denoiser": len}, "denoiser: got .*, want a Denoiser or a UNet"),
    ({"timesteps": 10}, "timesteps: got 10, want a whole number ≥ 16"),
    ({"steps": -1}, "steps: got -1"), ({"batch": 0}, "batch: got 0"),
    ({"lr": 0}, "lr: got 0, want a positive"), ({"decay": 1}, "decay: got 1, want"),
    ({"warmup": 0.5}, "warmup: got 0.5"), ({"weight_decay": math.nan}, "weight_decay: got nan"),
])
def test_training_refuses(zoo, change, message):
    with pytest.raises(ValueError, match=message):
        learned(**{"latents": zoo[0], "conditions": zoo[1]} | change)


def test_training_refuses_sets_and_runs_that_do_not_fit(zoo, sets):
    with pytest.raises(ValueError, match=r"latents: .* want \(12, 2, 5\), a row for each"):
        learned(zoo[0], sets, encoder=condition.per_class)
    with pytest.raises(ValueError, match="features: got '4 images of a class', want at least"):
        learned(zoo[0], sets, encoder=Mean(), shots=5)
    with pytest.raises(ValueError, match="device: got 'gpu7'"):
        fit(*zoo, TINY, device="gpu7")
    with pytest.raises(ValueError, match="training: got 3, want a Training"):
        fit(*zoo, 3)
    run = learned(*zoo)
    for other in ((zoo[0] + 1, zoo[1]), (zoo[0], zoo[1] + 1), (zoo[0], None)):
        with pytest.raises(ValueError, match="latents: .* want latents and conditions that"):
            advance(run, *other, steps=8)
    with pytest.raises(ValueError, match="steps: got 3, want at least the run's 6"):
        advance(run, *zoo, steps=3)
    with pytest.raises(ValueError, match="run: got 3, want what fit returned"):
        advance(3, *zoo, steps=8)


@pytest.mark.parametrize("change, message", [
    ({"conditions": torch.zeros(2, 4)}, r"conditions: .* want \(m, 3\)"),
    ({"conditions": None}, "conditions: got None"),
    ({"conditions": torch.full((2, 3), math.nan)}, "conditions: got 'NaN or infinity'"),
    ({"n": 0}, "n: got 0"), ({"batch": 0}, "batch: got 0"), ({"seed": -1}, "seed: got -1"),
    ({"method": "ddpm"}, "method: got 'ddpm', want one of ancestral, ddim"),
    ({"steps": 21}, "steps: got 21, want a whole number from 1 to 20"),
    ({"steps": 0}, "steps: got 0"),
])
def test_sampling_refuses(trained, change, message):
    with pytest.raises(ValueError, match=message):
        trained.sample(**{"conditions": torch.zeros(2, 3)} | change)


def test_others_refuse(trained):
    with pytest.raises(ValueError, match="steps: got 15, want a whole number ≥ 16"):
        schedule(15)
    with pytest.raises(ValueError, match="sets: .* no encoder"):
        trained.encode(torch.zeros(1, 2, 4, 3))
    with pytest.raises(ValueError, match="keep: got 4, want a whole number from 1 to 3"):
        select(torch.zeros(2, 3), 4)
    with pytest.raises(ValueError, match="scores: .* without NaN"):
        select(torch.full((2, 3), math.nan), 1)
    net = Denoiser(5, 3, width=4)
    with pytest.raises(ValueError, match=r"x: .* want latents \(B, 5\)"):
        net(torch.zeros(2, 4), torch.zeros(2), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"c: got None, want conditions \(B, 3\)"):
        net(torch.zeros(2, 5), torch.zeros(2))
    with pytest.raises(ValueError, match="c: .* want None"):
        Denoiser(5, width=4)(torch.zeros(2, 5), torch.zeros(2), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="width: got 0"):
        Denoiser(5, 3, width=0)
