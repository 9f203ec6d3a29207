"""D2NWG: diffusion over the latents of trained networks, conditioned on the data set.

After Soro et al., "Diffusion-Based Neural Network Weights Generation" (arXiv 2402.18153). A zoo
holds networks and the data sets they were trained on. `codec` turns weights into latents z,
`condition` a data set into a vector c; here a network learns to tell the noise in a noised
latent, and so to walk from noise to the latent of a network for a data set never seen:

    diffusion = stored_fit(latents, conditions, steps=3000)           # (n, L) and (n, d)
    samples = diffusion.sample(new, 50, method="ddim", steps=20)      # (m, d) -> (m, 50, L)

What differs from the released code, and why: samples come from the averaged weights, which the
release keeps and never samples from; the noise schedule is rescaled when it has fewer steps; a
condition is encoded once and not at every step; a jointly trained encoder is averaged too.

Letters: n networks, L latent numbers, d condition numbers, T steps of noise, B rows of a batch,
m conditions; β_t is the variance of the noise of step t and ᾱ_t = Π(1 − β) the signal left.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib import seeds, store
from wlib.check import require, require_one_of, whole
from wlib.core import nets
from wlib.d2nwg.condition import draw
from wlib.ground import fingerprint

__all__ = ["Denoiser", "Diffusion", "UNet", "decay_after", "denoised", "denoising_loss", "fit",
           "implicit", "noised", "posterior", "respaced", "schedule", "select", "signal",
           "stored_fit"]

METHODS = ("ancestral", "ddim")
PAPER_STEPS = 1024
PAPER_BETAS = (0.0015, 0.0155)      # first and last, at PAPER_STEPS
NOISE_CELLS = 2**24                 # numbers of noise drawn ahead when sampling: 64 MB


# ---- noise and its removal ----------------------------------------------------------------------
def schedule(steps: int = PAPER_STEPS) -> Tensor:
    """The variances β (T,) of all steps' noise, float64: linear in √β.

    0.0015 to 0.0155 at 1,024 steps, as in the released configuration. Fewer steps must each add
    more, or noise would not drown the signal: both ends are multiplied by 1024/T.
    """
    # Below 16 steps the last β would be above 1.
    require(whole(steps, 16), "steps", steps, "a whole number ≥ 16")
    first, last = (math.sqrt(beta * PAPER_STEPS / steps) for beta in PAPER_BETAS)
    return torch.linspace(first, last, steps, dtype=torch.float64) ** 2


def signal(betas: Tensor) -> Tensor:
    """ᾱ (T,): the share of a latent's variance that is left after each step."""
    return (1 - betas).cumprod(0)


def noised(z: Tensor, t: Tensor | int, noise: Tensor, betas: Tensor) -> Tensor:
    """x_t = √ᾱ_t z + √(1 − ᾱ_t) ε for z and ε (B, L); t is 0 … T − 1, one for all or one each."""
    left = _at(signal(betas), t, z)
    return left.sqrt() * z + (1 - left).sqrt() * noise


def denoised(x: Tensor, t: Tensor | int, noise: Tensor, betas: Tensor) -> Tensor:
    """The latent that gives x_t with this noise: `noised` the other way round, nothing clipped."""
    left = _at(signal(betas), t, x)
    return (x - (1 - left).sqrt() * noise) / left.sqrt()


def posterior(x: Tensor, t: Tensor | int, noise: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, L) and variance of x_{t−1}, given x_t and what is believed to be its noise.

    A step of ancestral sampling (Ho et al. 2020, equations 6 and 7); the variance of step 0 is 0.
    """
    left, before, beta = (_at(v, t, x) for v in (signal(betas), _before(betas), betas))
    mean = (beta * before.sqrt() * denoised(x, t, noise, betas)
            + (1 - before) * (1 - beta).sqrt() * x) / (1 - left)
    return mean, beta * (1 - before) / (1 - left)


def implicit(x: Tensor, t: Tensor | int, noise: Tensor, betas: Tensor) -> Tensor:
    """x_{t−1} without a draw: DDIM's step (Song et al. 2021, equation 12 with σ = 0)."""
    before = _at(_before(betas), t, x)
    return before.sqrt() * denoised(x, t, noise, betas) + (1 - before).sqrt() * noise


def respaced(betas: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Some of the T steps, first and last among them: their numbers (steps,) and their own β.

    Their β is such that ᾱ is the full schedule's: the denoiser sees the noise it was trained on.
    """
    total = len(betas)
    require(whole(steps, 1) and steps <= total, "steps", steps,
            f"a whole number from 1 to {total}, the steps of the schedule")
    times = torch.linspace(total - 1, 0, steps, dtype=torch.float64).round().long().flip(0)
    left = signal(betas)[times]
    return times, 1 - left / torch.cat([left.new_ones(1), left[:-1]])


def _before(betas: Tensor) -> Tensor:
    """ᾱ of the step before each, 1 before the first."""
    left = signal(betas)
    return torch.cat([left.new_ones(1), left[:-1]])


def _at(values: Tensor, t: Tensor | int, like: Tensor) -> Tensor:
    """The schedule's value at step t, or values (B, 1), in the dtype that `like` computes in."""
    chosen = values.to(like.device)[t].to(like.dtype)
    return chosen.view(-1, *[1] * (like.ndim - 1)) if chosen.ndim else chosen


def denoising_loss(denoiser: nn.Module, z: Tensor, t: Tensor, noise: Tensor, c: Tensor | None,
                   betas: Tensor) -> Tensor:
    """Mean squared error of the noise that `denoiser` sees in x_t: 1 for one that sees none."""
    return F.mse_loss(denoiser(noised(z, t, noise, betas), t, c), noise)


# ---- what sees the noise ------------------------------------------------------------------------
class Denoiser(nn.Module):
    """Noise (B, L) of latents x (B, L) at steps t (B,), for conditions c (B, d): a residual MLP.

    h = Linear([x, c, sines and cosines of t]), then `depth` times h + MLP(LayerNorm(h)), then
    Linear. With `condition=0` there is no c. The paper's UNet takes a latent for a picture of
    32×32 pixels, which it is not; this one makes no such claim (our choice).
    """

    def __init__(self, size: int, condition: int = 0, width: int = 256, depth: int = 3,
                 waves: int = 32):
        super().__init__()
        for name, value, least in (("size", size, 1), ("condition", condition, 0),
                                   ("width", width, 1), ("depth", depth, 0), ("waves", waves, 1)):
            require(whole(value, least), name, value, f"a whole number ≥ {least}")
        self.size, self.condition, self.waves = size, condition, waves
        self.enter = nn.Linear(size + condition + 2 * waves, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(),
                          nn.Linear(width, width)) for _ in range(depth))
        self.leave = nn.Linear(width, size)

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        require(x.shape[-1] == self.size, "x", x, f"latents (B, {self.size})")
        width = 0 if c is None else c.shape[-1]
        require(width == self.condition, "c", c, f"conditions (B, {self.condition})"
                if self.condition else "None: this denoiser has no condition")
        given = [x, waves_of(t, self.waves).to(x)] + ([] if c is None else [c])
        h = self.enter(torch.cat(given, dim=1))                                # (B, width)
        for block in self.blocks:
            h = h + block(h)
        return self.leave(h)                                                   # (B, L)


def waves_of(t: Tensor, count: int, longest: float = 10_000) -> Tensor:
    """Sines and cosines (B, 2·count) of t (B,), at frequencies from 1 down to 1/`longest`."""
    rate = torch.exp(torch.arange(count, device=t.device) * (-math.log(longest) / count))
    angle = t[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class UNet(nn.Module):
    """The paper's denoiser as a rival: a UNet on latents folded to a square, c its second channel.

    Of the size in the released configuration (L = d = 1,024, 102,684,929 weights) as it stands;
    smaller by `width`, a multiple of 32. Needs the package diffusers, the extra `unet`.
    """

    def __init__(self, size: int = 1024, condition: int = 1024, width: int = 256,
                 multipliers: tuple[int, ...] = (1, 1, 1, 2), heads: int = 2):
        super().__init__()
        side, halvings = math.isqrt(size), 2 ** (len(multipliers) - 1)
        require(side * side == size and side % halvings == 0, "size", size,
                f"the square of a multiple of {halvings}")
        require(condition in (0, size), "condition", condition, f"{size}, the latent's size, or 0")
        self.size, self.condition, self.side = size, condition, side
        attends = [False] * max(0, len(multipliers) - 2) + [True] * min(2, len(multipliers))
        self.net = _library_unet()(
            sample_size=side, in_channels=2 if condition else 1, out_channels=1,
            block_out_channels=tuple(width * m for m in multipliers), layers_per_block=2,
            down_block_types=tuple("AttnDownBlock2D" if a else "ResnetDownsampleBlock2D"
                                   for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "ResnetUpsampleBlock2D"
                                 for a in attends[::-1]),
            downsample_type="resnet", upsample_type="resnet", norm_eps=1e-5,
            resnet_time_scale_shift="scale_shift", attn_norm_num_groups=32,
            attention_head_dim=width // heads)

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        planes = [v.view(-1, 1, self.side, self.side) for v in (x, c) if v is not None]
        return self.net(torch.cat(planes, dim=1), t).sample.flatten(1)         # (B, L)


def _library_unet():
    try:
        from diffusers import UNet2DModel
    except ImportError as problem:
        raise ImportError("UNet needs the package diffusers, the extra 'unet': "
                          "pip install 'weights-as-data[unet]'; Denoiser needs nothing"
                          ) from problem
    return UNet2DModel


# ---- learning -----------------------------------------------------------------------------------
@dataclass(eq=False)
class Diffusion:
    """A denoiser in training or trained, and all that sampling and going on need.

    `encoder` makes conditions of sets of image features; None where conditions come as vectors.
    `average` holds the exponential moving average of all weights that move, by name.
    """

    denoiser: nn.Module
    encoder: Callable[[Tensor], Tensor] | None
    settings: dict[str, Any]
    average: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]       # AdamW's, of each weight
    losses: Tensor                              # of every step

    @property
    def betas(self) -> Tensor:
        return schedule(self.settings["timesteps"])

    def parts(self, ema: bool = True, device: str | torch.device = "cpu"
              ) -> tuple[nn.Module, Callable[[Tensor], Tensor] | None]:
        """Denoiser and encoder (copies, in evaluation mode) with averaged weights, or the last."""
        both = _Both(self.denoiser, self.encoder)
        if ema:
            both.load_state_dict(self.average, strict=False)       # what never moves is not in it
        both = both.to(nets.resolve_device(device)).eval()
        return both.denoiser, both.encode if self.encoder is not None else None

    @torch.no_grad()
    def encode(self, sets: Tensor, *, ema: bool = True, device: str = "auto") -> Tensor:
        """Conditions (m, …, d) of sets of image features (m, C, S, f), by the trained encoder."""
        require(self.encoder is not None, "sets", sets, "none: this diffusion has no encoder")
        _, encoder = self.parts(ema, device)
        return encoder(sets.float().to(nets.resolve_device(device)))

    @torch.no_grad()
    def loss(self, latents: Tensor, conditions: Tensor | None = None, *, draws: int = 20,
             seed: int = 0, ema: bool = True, device: str = "auto") -> float:
        """The mean loss on latents (n, L) and their conditions, each noised `draws` times.

        On latents that were held out: where it rises while the training's falls, the denoiser
        learns its zoo by heart.
        """
        require(whole(draws, 1), "draws", draws, "a whole number ≥ 1")
        device = nets.resolve_device(device)
        denoiser, encoder = self.parts(ema, device)
        z, c = _finite("latents", latents, 2, 3).float().to(device).flatten(0, -2), None
        if (conditions := self._conditions(conditions, encoder, device)) is not None:
            c = conditions.flatten(0, -2)
            require(len(c) == len(z), "conditions", conditions, f"one for each of {len(z)} latents")
        total = 0.0
        for k in range(draws):
            t, noise = _drawn(z, len(self.betas), seeds.generator(seed, k))
            total += float(denoising_loss(denoiser, z, t, noise, c, self.betas))
        return total / draws

    def digest(self) -> str:
        """One hash of what was learned, for the store."""
        last = _Both(self.denoiser, self.encoder).state_dict(prefix="last ")
        return fingerprint.digest(store.digest(self.average | last), self.settings)

    @torch.no_grad()
    def sample(self, conditions: Tensor | None = None, n: int = 1, *, seed: int = 0,
               steps: int | None = None, method: str = "ancestral", ema: bool = True,
               trajectory: bool = False, batch: int = 1024, device: str = "auto") -> Tensor:
        """Latents (m, n, L): n for each of m conditions (m, d), or sets where there is an encoder.

        "ancestral" takes every step of the schedule unless `steps` says fewer and draws noise at
        each; "ddim" takes 20 and draws nothing but its start. `ema=False` takes the last weights,
        as the released code does. Sample j of condition i depends on (seed, i, j) and on that
        condition alone, up to rounding; `batch` rows go through at once. Conditions of several
        rows, (m, C, d) as `per_class` gives them, give (m, n, C, L). With `trajectory` the latents
        before the first step and after each: (m, n, …, steps + 1, L).
        """
        require_one_of("method", method, METHODS)
        require(whole(n, 1), "n", n, "a whole number ≥ 1")
        require(whole(batch, 1), "batch", batch, "a whole number ≥ 1")
        device = nets.resolve_device(device)
        denoiser, encoder = self.parts(ema, device)
        conditions = self._conditions(conditions, encoder, device)             # (m, …, d) or None
        inner = () if conditions is None else conditions.shape[:-1]
        c = None if conditions is None else conditions.flatten(0, -2)          # (m', d)
        if steps is None:
            steps = min(20, len(self.betas)) if method == "ddim" else len(self.betas)
        times, betas = (v.to(device) for v in respaced(self.betas, steps))
        rows = [divmod(r, n) for r in range(n * math.prod(inner))]             # (i, j)
        batch = max(1, min(batch, NOISE_CELLS // (self.denoiser.size * steps)))
        done = [_walk(denoiser, c, times, betas, method, trajectory, seed, rows[at:at + batch])
                for at in range(0, len(rows), batch)]
        samples = torch.cat(done)                                    # (rows, [steps + 1,] L)
        samples = samples.view(*(inner or (1,)), n, *samples.shape[1:])
        return samples.movedim(max(1, len(inner)), 1)                # n right after m

    def _conditions(self, conditions, encoder, device) -> Tensor | None:
        if self.denoiser.condition == 0:
            require(conditions is None, "conditions", conditions,
                    "None: this diffusion was trained without")
            return None
        require(isinstance(conditions, Tensor) and conditions.ndim >= 2 and len(conditions) > 0,
                "conditions", conditions, "a tensor, one row or one set of features a condition")
        conditions = conditions.detach().float().to(device)
        require(bool(torch.isfinite(conditions).all()), "conditions", "NaN or infinity",
                "finite numbers")
        if encoder is not None:
            conditions = encoder(conditions)
        wanted = self.denoiser.condition
        require(conditions.shape[-1] == wanted, "conditions", conditions,
                f"(m, {wanted}), conditions of the size in training")
        return conditions


def _walk(denoiser, c, times, betas, method, trajectory, seed, rows) -> Tensor:
    """The reverse process for some rows (condition, sample): (B, L) or (B, steps + 1, L)."""
    generators = [seeds.generator(seed, *row) for row in rows]
    draws = len(times) - 1 if method == "ancestral" else 0
    x = torch.stack([torch.randn(denoiser.size, generator=g) for g in generators]).to(times.device)
    noise = torch.stack([torch.randn(draws, denoiser.size, generator=g) for g in generators])
    noise = noise.to(x)                                              # (B, draws, L)
    c, seen = None if c is None else c[[i for i, _ in rows]], [x]
    for k in range(len(times) - 1, -1, -1):
        belief = denoiser(x, times[k].expand(len(x)), c)
        if method == "ddim":
            x = implicit(x, k, belief, betas)
        else:
            x, variance = posterior(x, k, belief, betas)
            x = x + variance.sqrt() * noise[:, k - 1] if k else x
        if trajectory:
            seen.append(x)
    return (torch.stack(seen, dim=1) if trajectory else x).cpu()


class _Both(nn.Module):
    """Denoiser and encoder, copied, under one roof: one optimizer and one average for both."""

    def __init__(self, denoiser: nn.Module, encoder: Callable | None):
        super().__init__()
        self.denoiser, self.encoder = copy.deepcopy(denoiser), copy.deepcopy(encoder)

    def encode(self, sets: Tensor) -> Tensor:
        return self.encoder(sets)

    def moving(self) -> dict[str, Tensor]:
        return {k: p for k, p in self.named_parameters() if p.requires_grad}


def decay_after(updates: int, decay: float) -> float:
    """What the average keeps at its k-th update: min(decay, (1 + k)/(10 + k)), little at first."""
    return min(decay, (1 + updates) / (10 + updates))


def fit(latents: Tensor, conditions: Tensor | None = None, *,
        encoder: Callable[[Tensor], Tensor] | None = None, shots: int | None = None,
        denoiser: nn.Module | None = None, timesteps: int = 200, width: int = 256, depth: int = 3,
        steps: int = 3000, batch: int = 128, rate: float = 1e-3, weight_decay: float = 0.01,
        warmup: int = 0, decay: float = 0.999, seed: int = 0, device: str = "auto",
        run: Diffusion | None = None) -> Diffusion:
    """Train a denoiser on latents (n, L) of networks and conditions (n, d) of their data sets.

    With an `encoder`, conditions are sets of image features (n, C, S, f). Each step draws `shots`
    of the S images of every class anew (all of them by default) and encodes them. An `nn.Module`
    learns together with the denoiser, in one optimizer, where its weights ask for gradients; a
    function such as `condition.per_class` makes conditions only. An encoder that gives a condition
    to each class, (n, C, d), wants latents (n, C, L). Without conditions, latents are learned as
    they are. A codec's latents have unit spread; diffusion fails where it is far from 1.

    AdamW at `rate`, reached from 0 in `warmup` steps; `decay` as in `decay_after`. Released are
    1,024 timesteps, batch 64, rate 1.133e-4, warmup 10,000 and decay 0.9999; decay 0.999 suits a
    few thousand steps. `denoiser` (copied) replaces the one of `width` and `depth`.

    Hand the result back as `run` (same arguments; `steps` may grow) to go on: it ends with the
    weights of an unbroken run, bit for bit. `stored_fit` does so by itself.
    """
    _check_numbers(timesteps, steps, batch, warmup, rate, weight_decay, decay)
    latents = _finite("latents", latents, 2, 3).float()
    width_of_c, conditions = _check_conditions(latents, conditions, encoder, shots, seed)
    if denoiser is None:
        denoiser = nets.fresh(lambda: Denoiser(latents.shape[-1], width_of_c, width, depth), seed)
    require(isinstance(denoiser, nn.Module), "denoiser", denoiser, "a Denoiser or a UNet")
    require((denoiser.size, denoiser.condition) == (latents.shape[-1], width_of_c), "denoiser",
            f"size={denoiser.size}, condition={denoiser.condition}",
            f"size={latents.shape[-1]}, condition={width_of_c}, as the latents and conditions")
    settings = {"latents": store.describe(latents), "conditions": store.describe(conditions),
                "encoder": store.describe(encoder), "denoiser": store.describe(denoiser),
                "shots": shots, "timesteps": timesteps, "batch": batch, "rate": rate,
                "weight_decay": weight_decay, "warmup": warmup, "decay": decay, "seed": seed,
                "device": str(nets.resolve_device(device))}
    settings = json.loads(json.dumps(settings))         # as the store gives them back
    require(run is None or isinstance(run, Diffusion) and run.settings == settings, "run",
            "one with other arguments" if isinstance(run, Diffusion) else run,
            "a run with these arguments")
    run = run or _start(denoiser, encoder, settings)
    require(len(run.losses) <= steps, "steps", steps, f"at least the run's {len(run.losses)}")
    return _train(run, latents, conditions, steps)


def _start(denoiser, encoder, settings) -> Diffusion:
    both = _Both(denoiser, encoder)
    average = {k: p.detach().clone() for k, p in both.moving().items()}
    return Diffusion(both.denoiser, both.encoder, settings, average, {}, torch.zeros(0))


def _train(run: Diffusion, latents: Tensor, conditions: Tensor | None, steps: int) -> Diffusion:
    s, device = run.settings, torch.device(run.settings["device"])
    both = _Both(run.denoiser, run.encoder).to(device)
    weights = both.moving()
    average = {k: run.average[k].to(device).clone() for k in weights}
    optimizer = torch.optim.AdamW(weights.values(), lr=s["rate"], weight_decay=s["weight_decay"],
                                  fused=True)        # one pass over all weights
    for k, moments in run.moments.items():
        optimizer.state[weights[k]] = {m: v.to(device).clone() for m, v in moments.items()}
    betas, losses = run.betas.to(device), []
    latents, conditions = (None if v is None else v.to(device) for v in (latents, conditions))
    for step in range(len(run.losses), steps):
        optimizer.param_groups[0]["lr"] = s["rate"] * min(1, (step + 1) / max(1, s["warmup"]))
        loss = _loss(both, latents, conditions, betas, s, seeds.generator(s["seed"], step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), list(weights.values()),
                                 1 - decay_after(step + 1, s["decay"]))
        losses.append(loss.detach())
    both.cpu().zero_grad()
    return Diffusion(both.denoiser, both.encoder, s, {k: v.cpu() for k, v in average.items()},
                     {k: {m: v.cpu() for m, v in optimizer.state[weights[k]].items()}
                      for k in weights if weights[k] in optimizer.state},
                     torch.cat([run.losses, torch.stack(losses).cpu()]) if losses else run.losses)


def _loss(both, latents, conditions, betas, s, g: torch.Generator) -> Tensor:
    """The loss of one step: rows, images, steps of noise and noise are all drawn from `g`."""
    rows = torch.randint(len(latents), (s["batch"],), generator=g).to(latents.device)
    z, c = latents[rows].flatten(0, -2), None                                  # (B, L)
    if conditions is not None:
        c = conditions[rows]
        if both.encoder is not None:
            c = both.encode(draw(c, s["shots"], g))
        c = c.flatten(0, -2)                                                   # (B, d)
    return denoising_loss(both.denoiser, z, *_drawn(z, len(betas), g), c, betas)


def _drawn(z: Tensor, timesteps: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """A step (B,) and noise (B, L) for each latent."""
    t = torch.randint(timesteps, (len(z),), generator=g).to(z.device)
    return t, torch.randn(z.shape, generator=g).to(z)


def _check_numbers(timesteps, steps, batch, warmup, rate, weight_decay, decay) -> None:
    for name, value, least in (("timesteps", timesteps, 16), ("steps", steps, 0),
                               ("batch", batch, 1), ("warmup", warmup, 0)):
        require(whole(value, least), name, value, f"a whole number ≥ {least}")
    require(_real(rate) and rate > 0, "rate", rate, "a positive learning rate")
    require(_real(weight_decay) and weight_decay >= 0, "weight_decay", weight_decay,
            "a number of at least 0")
    require(_real(decay) and 0 <= decay < 1, "decay", decay, "a number from 0 to below 1")


def _check_conditions(latents, conditions, encoder, shots, seed) -> tuple[int, Tensor | None]:
    """The width of a condition, found by encoding one set, and the conditions as they are used."""
    if conditions is None:
        require(encoder is None, "encoder", encoder, "None where there are no conditions")
        return 0, None
    require(encoder is None or callable(encoder), "encoder", encoder, "a function or an nn.Module")
    least = latents.ndim if encoder is None else 4
    conditions = _finite("conditions", conditions, least, least).float()
    require(len(conditions) == len(latents), "conditions", conditions,
            f"as many rows as latents: {len(latents)}")
    one = conditions[:1].cpu()
    if encoder is not None:
        with torch.no_grad():
            one = _Both(nn.Identity(), encoder).cpu().encode(
                draw(one, shots, seeds.generator(seed)))
    want = (*latents.shape[:1], *one.shape[1:-1], latents.shape[-1])
    require(tuple(latents.shape) == want, "latents", latents,
            f"{want}, a row for each condition")
    return one.shape[-1], conditions


def _finite(name: str, value: Any, least: int, most: int) -> Tensor:
    dims = f"{least}" if least == most else f"{least} or {most}"
    require(isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 0
            and least <= value.ndim <= most, name, value, f"a float tensor of {dims} dimensions")
    require(bool(torch.isfinite(value).all()), name, "NaN or infinity", "finite numbers")
    return value.detach()


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# ---- kept in the store --------------------------------------------------------------------------
def stored_fit(latents: Tensor, conditions: Tensor | None = None, *, steps: int = 3000,
               every: int = 1000, device: str = "auto", **settings) -> Diffusion:
    """`fit`, kept in the store in pieces of `every` steps: a run that was killed goes on where it
    was, and a longer one begins with a shorter one's pieces."""
    require(whole(every, 1), "every", every, "a whole number ≥ 1")
    require(whole(steps, 0), "steps", steps, "a whole number ≥ 0")
    require("run" not in settings, "run", "one", "none: the store keeps it")
    settings["device"], state = str(nets.resolve_device(device)), None
    for stop in [*range(every, steps, every), steps]:
        state = store.cached(_stored_piece, latents, conditions, settings, stop, state)
    start = fit(latents, conditions, steps=0, **settings)
    return _unpack(state, start)


def _stored_piece(latents, conditions, settings, stop, state):
    run = fit(latents, conditions, steps=0, **settings)
    run = run if state is None else _unpack(state, run)
    run = fit(latents, conditions, steps=stop, run=run, **settings)
    return {"weights": _Both(run.denoiser, run.encoder).state_dict(), "average": run.average,
            "moments": run.moments, "losses": run.losses}


def _unpack(state, start: Diffusion) -> Diffusion:
    both = _Both(start.denoiser, start.encoder)
    both.load_state_dict(state["weights"])
    return Diffusion(both.denoiser, both.encoder, start.settings, state["average"],
                     state["moments"], state["losses"])


# ---- choosing among samples ---------------------------------------------------------------------
def select(scores: Tensor, keep: int) -> Tensor:
    """Places (m, keep) of the best of n samples by their scores (m, n), the best first.

    What was scored is the caller's choice, and changes what the result means: images of the
    support or of the validation split are honest, the test split, as in the paper, is not. Of
    equal scores the first counts.
    """
    require(isinstance(scores, Tensor) and scores.ndim == 2 and not bool(scores.isnan().any()),
            "scores", scores, "a tensor (m, n) without NaN")
    require(whole(keep, 1) and keep <= scores.shape[1], "keep", keep,
            f"a whole number from 1 to {scores.shape[1]}, the samples of each condition")
    return scores.argsort(dim=1, descending=True, stable=True)[:, :keep]
