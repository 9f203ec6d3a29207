"""The noise of a diffusion model: how it is added to latents, and how it is taken away.

    betas = schedule(200)                                # the variance of each step's noise
    x = add_noise(z, t, noise, betas)                    # (B, L)
    z = predict_z0(x, t, noise, betas)                   # back, with the same noise

Letters: L latent numbers, T steps of noise, B rows of a batch; β_t is the variance of the noise of
step t and ᾱ_t = Π(1 − β) the part of the signal's variance that is left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wlib.check import require, whole

PAPER_STEPS = 1024
PAPER_BETAS = (0.0015, 0.0155)      # first and last, at PAPER_STEPS


def schedule(steps: int = PAPER_STEPS) -> Tensor:
    """The variances β (T,) of all steps' noise, float64: linear in √β.

    0.0015 to 0.0155 at 1,024 steps, as in the released configuration. Fewer steps must each add
    more, or noise would not drown the signal: both ends are multiplied by 1024/T.
    """
    # Below 16 steps the last β would be above 1.
    require(whole(steps, 16), "steps", steps, "a whole number ≥ 16")
    first, last = (math.sqrt(beta * PAPER_STEPS / steps) for beta in PAPER_BETAS)
    return torch.linspace(first, last, steps, dtype=torch.float64) ** 2


def alphas_cumprod(betas: Tensor) -> Tensor:
    """ᾱ (T,): the part of a latent's variance that is left after each step."""
    return (1 - betas).cumprod(0)


def add_noise(z: Tensor, t: Tensor | int, noise: Tensor, betas: Tensor) -> Tensor:
    """x_t = √ᾱ_t z + √(1 − ᾱ_t) ε for z and ε (B, L); t is 0 … T − 1, one for all or one each."""
    left = _at(alphas_cumprod(betas), t, z)
    return left.sqrt() * z + (1 - left).sqrt() * noise


def predict_z0(x: Tensor, t: Tensor | int, noise: Tensor, betas: Tensor) -> Tensor:
    """The latent that gives x_t with this noise: `add_noise` undone, nothing clipped."""
    left = _at(alphas_cumprod(betas), t, x)
    return (x - (1 - left).sqrt() * noise) / left.sqrt()


def ddpm_step(x: Tensor, t: Tensor | int, noise: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, L) and variance of x_{t−1}, given x_t and the noise that is predicted for it.

    A step of ancestral sampling (Ho et al. 2020, equations 6 and 7); the variance of step 0 is 0.
    """
    left, before, beta = (_at(v, t, x) for v in (alphas_cumprod(betas), _before(betas), betas))
    mean = (beta * before.sqrt() * predict_z0(x, t, noise, betas)
            + (1 - before) * (1 - beta).sqrt() * x) / (1 - left)
    return mean, beta * (1 - before) / (1 - left)


def ddim_step(x: Tensor, t: Tensor | int, noise: Tensor, betas: Tensor) -> Tensor:
    """x_{t−1} without a draw: DDIM's step (Song et al. 2021, equation 12 with σ = 0)."""
    before = _at(_before(betas), t, x)
    return before.sqrt() * predict_z0(x, t, noise, betas) + (1 - before).sqrt() * noise


def respaced(betas: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Some of the T steps, first and last among them: their numbers (steps,) and their own β.

    Their β is such that ᾱ is the full schedule's: the denoiser sees the noise it was trained on.
    """
    total = len(betas)
    require(whole(steps, 1) and steps <= total, "steps", steps,
            f"a whole number from 1 to {total}, the steps of the schedule")
    times = torch.linspace(total - 1, 0, steps, dtype=torch.float64).round().long().flip(0)
    left = alphas_cumprod(betas)[times]
    return times, 1 - left / _shifted(left)


def _before(betas: Tensor) -> Tensor:
    """ᾱ of the step before each, 1 before the first."""
    return _shifted(alphas_cumprod(betas))


def _shifted(left: Tensor) -> Tensor:
    return torch.cat([left.new_ones(1), left[:-1]])


def _at(values: Tensor, t: Tensor | int, like: Tensor) -> Tensor:
    """The schedule's value at step t, or values (B, 1), in the dtype that `like` computes in."""
    chosen = values.to(like.device)[t].to(like.dtype)
    return chosen.view(-1, *[1] * (like.ndim - 1)) if chosen.ndim else chosen
