"""A denoiser learns the latents of trained networks, under the conditions of their data sets.

After Soro et al., "Diffusion-Based Neural Network Weights Generation" (arXiv 2402.18153).

    run = fit(latents, conditions, Training(steps=3000))              # (n, L) and (n, d)
    run = advance(run, latents, conditions, steps=6000)               # goes on where it was
    samples = run.sample(new, 50, method="ddim", steps=20)            # (m, d) -> (m, 50, L)

What differs from the released code, and why: samples come from the averaged weights, which the
release keeps and never samples from; the noise schedule is rescaled when it has fewer steps; a
condition is encoded once and not at every step; a jointly trained encoder is averaged too.

Letters: n networks, L latent numbers, d condition numbers, T steps of noise, B rows of a batch,
m conditions, C classes, S images of a class, f features.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib import seeds
from wlib.check import require, short, whole
from wlib.core import nets
from wlib.d2nwg.condition import draw, require_floats
from wlib.d2nwg.denoiser import Denoiser, UNet
from wlib.d2nwg.process import add_noise, schedule
from wlib.d2nwg.sampling import Sampling, reverse
from wlib.store import digest

Encoder = Callable[[Tensor], Tensor]        # sets (m, C, S, f) to conditions (m, d) or (m, C, d)
Optimizer = dict[str, dict[str, Tensor]]    # AdamW's moments, of each weight


@dataclass(frozen=True)
class Training:
    """How a denoiser is trained, by AdamW.

    Released are 1,024 timesteps, batch 64, lr 1.133e-4, warmup 10,000 and decay 0.9999; decay 0.999
    suits a few thousand steps.
    """

    steps: int = 3000
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 0                 # steps in which the learning rate rises from 0
    decay: float = 0.999            # of the averaged weights, see `ema_decay`
    timesteps: int = 200            # T, of the noise schedule
    shots: int | None = None        # images of each class that a step draws; None: all
    width: int = 256                # of the denoiser,
    depth: int = 3                  # and its blocks

    def __post_init__(self) -> None:
        for name, least in (("timesteps", 16), ("steps", 0), ("batch", 1), ("warmup", 0)):
            value = getattr(self, name)
            require(whole(value, least), name, value, f"a whole number ≥ {least}")
        require(_real(self.lr) and self.lr > 0, "lr", self.lr, "a positive learning rate")
        require(_real(self.weight_decay) and self.weight_decay >= 0, "weight_decay",
                self.weight_decay, "a number of at least 0")
        require(_real(self.decay) and 0 <= self.decay < 1, "decay", self.decay,
                "a number from 0 to below 1")


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# ---- a run, and what it has learned -------------------------------------------------------------
@dataclass(eq=False)
class TrainState:
    """A denoiser in training or trained, and all that sampling and going on need.

    `encoder` makes conditions of sets of image features; None where conditions come as vectors.
    `average` holds the exponential moving average of all weights that learn, by name.
    """

    denoiser: Denoiser | UNet
    encoder: Encoder | None
    training: Training
    seed: int
    device: str
    data: str                                   # hash of latents and conditions
    average: dict[str, Tensor]
    moments: Optimizer
    losses: Tensor                              # of every step

    def state(self) -> dict[str, Any]:
        """What training changes, as tensors, for the store; `restored` takes it back."""
        return {"weights": _Model(self.denoiser, self.encoder).state_dict(),
                "average": self.average, "moments": self.moments, "losses": self.losses}

    @classmethod
    def restored(cls, state: dict[str, Any], start: TrainState) -> TrainState:
        """The run whose `state()` this is, of the one that it started as."""
        model = _Model(start.denoiser, start.encoder)
        model.load_state_dict(state["weights"])
        training = replace(start.training, steps=len(state["losses"]))
        return replace(start, denoiser=model.denoiser, encoder=model.encoder, training=training,
                       **{name: state[name] for name in ("average", "moments", "losses")})

    @property
    def betas(self) -> Tensor:
        """The variances (T,) of the noise."""
        return schedule(self.training.timesteps)

    def parts(self, ema: bool = True, device: str | torch.device = "cpu"
              ) -> tuple[Denoiser | UNet, Encoder | None]:
        """Denoiser and encoder (copies, in evaluation mode) with averaged weights, or the last."""
        model = _Model(self.denoiser, self.encoder)
        if ema:
            model.load_state_dict(self.average, strict=False)      # what never learns is not in it
        model = model.to(nets.resolve_device(device)).eval()
        return model.denoiser, model.encode if self.encoder is not None else None

    @torch.no_grad()
    def encode(self, sets: Tensor, *, ema: bool = True, device: str = "auto") -> Tensor:
        """Conditions (m, …, d) of sets of image features (m, C, S, f), by the trained encoder."""
        _, encoder = self.parts(ema, device)
        if encoder is None:
            raise ValueError(f"sets: got {short(sets)}, want none: there is no encoder")
        return encoder(sets.float().to(nets.resolve_device(device)))

    @torch.no_grad()
    def loss(self, latents: Tensor, conditions: Tensor | None = None, *, draws: int = 20,
             seed: int = 0, ema: bool = True, device: str = "auto") -> float:
        """The mean loss on latents (n, L) and their conditions, with noise added `draws` times.

        On latents that were held out: where it rises while the training's falls, the denoiser
        learns its zoo by heart.
        """
        require(whole(draws, 1), "draws", draws, "a whole number ≥ 1")
        place = nets.resolve_device(device)
        denoiser, encoder = self.parts(ema, device)
        z = require_floats("latents", latents, 2, 3).float().to(place).flatten(0, -2)
        if (c := self._conditions(conditions, encoder, place)) is not None:
            c = c.flatten(0, -2)
            require(len(c) == len(z), "conditions", c, f"one for each of {len(z)} latents")
        return sum(float(denoising_loss(denoiser, z, *_noise(z, len(self.betas), rng), c,
                                        self.betas))
                   for rng in (seeds.generator(seed, k) for k in range(draws))) / draws

    def sample(self, conditions: Tensor | None = None, n: int = 1, *, seed: int = 0,
               device: str = "auto", **settings: Any) -> Tensor:
        """Latents (m, n, L): n for each of m conditions (m, d), or sets where there is an encoder.

        `settings` are those of `Sampling`: method="ddim", steps=20, trajectory=True, … Conditions
        of several rows, (m, C, d) as `per_class` gives them, give (m, n, C, L). With `trajectory`
        the latents before the first step and after each: (m, n, …, steps + 1, L).
        """
        how = Sampling(**settings)
        require(whole(n, 1), "n", n, "a whole number ≥ 1")
        place = nets.resolve_device(device)
        denoiser, encoder = self.parts(how.ema, device)
        with torch.no_grad():
            c = self._conditions(conditions, encoder, place)         # (m, …, d) or None
        return reverse(denoiser, c, self.betas, n, how, seed, place)

    def _conditions(self, conditions: Tensor | None, encoder: Encoder | None,
                    device: torch.device) -> Tensor | None:
        wanted = self.denoiser.condition
        if wanted == 0:
            require(conditions is None, "conditions", conditions,
                    "None: this diffusion was trained without")
            return None
        require(isinstance(conditions, Tensor) and conditions.ndim >= 2 and len(conditions) > 0,
                "conditions", conditions, "a tensor, one row or one set of features a condition")
        assert conditions is not None
        c = conditions.detach().float().to(device)
        require(bool(torch.isfinite(c).all()), "conditions", "NaN or infinity", "finite numbers")
        c = c if encoder is None else encoder(c)
        require(c.shape[-1] == wanted, "conditions", c,
                f"(m, {wanted}), conditions of the size in training")
        return c


class _Model(nn.Module):
    """Denoiser and encoder, copied, as one network: one optimizer and one average for both."""

    denoiser: Denoiser | UNet
    encoder: Encoder | None

    def __init__(self, denoiser: Any, encoder: Encoder | None):
        super().__init__()
        self.denoiser, self.encoder = copy.deepcopy(denoiser), copy.deepcopy(encoder)

    def encode(self, sets: Tensor) -> Tensor:
        """Conditions of sets of image features; sets as they are where nothing encodes them."""
        return sets if self.encoder is None else self.encoder(sets)

    def learned(self) -> dict[str, nn.Parameter]:
        """The weights that learn, by name."""
        return {k: p for k, p in self.named_parameters() if p.requires_grad}


# ---- training -----------------------------------------------------------------------------------
def denoising_loss(denoiser: Callable[..., Tensor], z: Tensor, t: Tensor, noise: Tensor,
                   c: Tensor | None, betas: Tensor) -> Tensor:
    """Mean squared error of the noise that `denoiser` sees in x_t: 1 for one that sees none."""
    return F.mse_loss(denoiser(add_noise(z, t, noise, betas), t, c), noise)


def ema_decay(updates: int, decay: float) -> float:
    """What the average keeps at its k-th update: min(decay, (1 + k)/(10 + k)), little at first."""
    return min(decay, (1 + updates) / (10 + updates))


def fit(latents: Tensor, conditions: Tensor | None = None, training: Training | None = None, *,
        encoder: Encoder | None = None, denoiser: nn.Module | None = None, seed: int = 0,
        device: str = "auto") -> TrainState:
    """Train a denoiser on latents (n, L) of networks and conditions (n, d) of their data sets.

    With an `encoder`, conditions are sets of image features (n, C, S, f). Each step draws
    `training.shots` of the S images of every class anew and encodes them. An `nn.Module`
    learns together with the denoiser, in one optimizer, where its weights ask for gradients; a
    function such as `condition.per_class` makes conditions only. An encoder that gives a condition
    to each class, (n, C, d), wants latents (n, C, L). Without conditions, latents are learned as
    they are. A codec's latents have unit spread; diffusion fails where it is far from 1.

    `denoiser` (copied) replaces the one of the training's `width` and `depth`. To go on, see
    `advance`; `stored.stored_fit` keeps a run in pieces.
    """
    training = training or Training()
    require(isinstance(training, Training), "training", training, "a Training")
    latents = require_floats("latents", latents, 2, 3).float()
    size, conditions = _checked(latents, conditions, encoder, training.shots, seed)
    if denoiser is None:
        denoiser = nets.fresh(lambda: Denoiser(latents.shape[-1], size, training.width,
                                               training.depth), seed)
    require(isinstance(denoiser, nn.Module), "denoiser", denoiser, "a Denoiser or a UNet")
    require((denoiser.size, denoiser.condition) == (latents.shape[-1], size), "denoiser",
            f"size={denoiser.size}, condition={denoiser.condition}",
            f"size={latents.shape[-1]}, condition={size}, as the latents and conditions")
    model = _Model(denoiser, encoder)
    average = {k: p.detach().clone() for k, p in model.learned().items()}
    start = TrainState(model.denoiser, model.encoder, training, seed,
                       str(nets.resolve_device(device)), _hash(latents, conditions), average, {},
                       torch.zeros(0))
    return advance(start, latents, conditions, training.steps)


def advance(run: TrainState, latents: Tensor, conditions: Tensor | None, steps: int) -> TrainState:
    """Go on with a run until it has done so many steps, on the latents and conditions it began
    with: it ends with the weights of an unbroken run, bit for bit."""
    require(isinstance(run, TrainState), "run", run, "what fit returned")
    latents = latents.detach().float()
    conditions = None if conditions is None else conditions.detach().float()
    require(_hash(latents, conditions) == run.data, "latents", latents,
            "latents and conditions that the run began with")
    require(whole(steps, len(run.losses)), "steps", steps, f"at least the run's {len(run.losses)}")
    how, model = run.training, _Model(run.denoiser, run.encoder).to(run.device)
    weights = model.learned()
    average = {k: run.average[k].to(run.device).clone() for k in weights}
    optimizer = _optimizer(weights, run)
    betas, losses = run.betas.to(run.device), []
    z, sets = latents.to(run.device), None if conditions is None else conditions.to(run.device)
    for step in range(len(run.losses), steps):
        rng = seeds.generator(run.seed, step)
        optimizer.param_groups[0]["lr"] = how.lr * min(1, (step + 1) / max(1, how.warmup))
        rows, c = _batch(model, z, sets, how, rng)                             # (B, L), (B, d)
        loss = denoising_loss(model.denoiser, rows, *_noise(rows, len(betas), rng), c, betas)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), list(weights.values()),
                                 1 - ema_decay(step + 1, how.decay))
        losses.append(loss.detach())
    model.cpu().zero_grad()
    return replace(run, denoiser=model.denoiser, encoder=model.encoder,
                   training=replace(how, steps=steps),
                   average={k: v.cpu() for k, v in average.items()},
                   moments={k: {m: v.cpu() for m, v in optimizer.state[weights[k]].items()}
                            for k in weights if weights[k] in optimizer.state},
                   losses=torch.cat([run.losses, torch.tensor(losses)]))


def _optimizer(weights: dict[str, nn.Parameter], run: TrainState) -> torch.optim.Optimizer:
    """AdamW on the weights, with the moments that the run has gathered."""
    optimizer = torch.optim.AdamW(weights.values(), lr=run.training.lr, fused=True,
                                  weight_decay=run.training.weight_decay)   # fused: one pass
    for k, moments in run.moments.items():
        optimizer.state[weights[k]] = {m: v.to(run.device).clone() for m, v in moments.items()}
    return optimizer


def _batch(model: _Model, latents: Tensor, conditions: Tensor | None, how: Training,
           rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Random latents (B, L) and their conditions (B, d), of images drawn anew."""
    rows = torch.randint(len(latents), (how.batch,), generator=rng).to(latents.device)
    z = latents[rows].flatten(0, -2)
    if conditions is None:
        return z, None
    c = conditions[rows]
    if model.encoder is not None:
        c = model.encode(draw(c, how.shots, rng))
    return z, c.flatten(0, -2)


def _noise(z: Tensor, timesteps: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A step (B,) and noise (B, L) for each latent."""
    t = torch.randint(timesteps, (len(z),), generator=rng).to(z.device)
    return t, torch.randn(z.shape, generator=rng).to(z)


def _hash(latents: Tensor, conditions: Tensor | None) -> str:
    given = {"latents": latents} | ({} if conditions is None else {"conditions": conditions})
    return digest(given)


def _checked(latents: Tensor, conditions: Tensor | None, encoder: Encoder | None,
             shots: int | None, seed: int) -> tuple[int, Tensor | None]:
    """The width of a condition, found by encoding one set, and the conditions as they are used."""
    if conditions is None:
        require(encoder is None, "encoder", encoder, "None where there are no conditions")
        return 0, None
    require(encoder is None or callable(encoder), "encoder", encoder, "a function or an nn.Module")
    conditions = require_floats("conditions", conditions,
                                latents.ndim if encoder is None else 4).float()
    require(len(conditions) == len(latents), "conditions", conditions,
            f"as many rows as latents: {len(latents)}")
    first = conditions[:1].cpu()
    if encoder is not None:
        with torch.no_grad():
            model = _Model(nn.Identity(), encoder).cpu()
            first = model.encode(draw(first, shots, seeds.generator(seed)))
    want = (*latents.shape[:1], *first.shape[1:-1], latents.shape[-1])
    require(tuple(latents.shape) == want, "latents", latents,
            f"{want}, a row for each condition")
    return first.shape[-1], conditions
