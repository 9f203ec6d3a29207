"""From noise to latents, the reverse process: DDPM's ancestral steps, or DDIM's.

    samples = reverse(denoiser, conditions, betas, 50, Sampling("ddim", 20), seed=0)

Letters: m conditions of d numbers, n samples of each, L latent numbers, T steps of noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wlib import seeds
from wlib.check import require, require_one_of, whole
from wlib.d2nwg.denoiser import Denoiser, UNet
from wlib.d2nwg.process import ddim_step, ddpm_step, respaced

METHODS = ("ancestral", "ddim")
NOISE_CELLS = 2**24                 # numbers of noise drawn ahead: 64 MB


@dataclass(frozen=True)
class Sampling:
    """How latents are sampled. "ancestral" takes all steps of the schedule and draws noise at
    each; "ddim" takes 20 and draws nothing but its start."""

    method: str = "ancestral"
    steps: int | None = None        # of the schedule; None: as many as the method takes
    ema: bool = True                # by the averaged weights; the released code takes the last
    trajectory: bool = False        # also the latents before the first step and after each
    batch: int = 1024               # rows that go through at once

    def __post_init__(self) -> None:
        require_one_of("method", self.method, METHODS)
        require(whole(self.batch), "batch", self.batch, "a whole number ≥ 1")

    def steps_of(self, timesteps: int) -> int:
        """How many of the schedule's T steps are taken."""
        if self.steps is not None:
            return self.steps
        return min(20, timesteps) if self.method == "ddim" else timesteps


@torch.no_grad()
def reverse(denoiser: Denoiser | UNet, conditions: Tensor | None, betas: Tensor, n: int,
            how: Sampling, seed: int, device: torch.device) -> Tensor:
    """Latents (m, n, [steps + 1,] L) for conditions (m, d), or (m, n, C, …) for (m, C, d).

    Sample j of condition i depends on (seed, i, j) and on that condition alone, up to rounding.
    """
    inner = () if conditions is None else conditions.shape[:-1]
    c = None if conditions is None else conditions.flatten(0, -2)              # (m', d)
    times, betas = (v.to(device) for v in respaced(betas, how.steps_of(len(betas))))
    rows = [divmod(r, n) for r in range(n * math.prod(inner))]                 # (i, j)
    batch = max(1, min(how.batch, NOISE_CELLS // (denoiser.size * len(times))))
    done = [_reversed(denoiser, c, times, betas, how, seed, rows[at:at + batch])
            for at in range(0, len(rows), batch)]
    samples = torch.cat(done)                                        # (rows, [steps + 1,] L)
    samples = samples.view(*(inner or (1,)), n, *samples.shape[1:])
    return samples.movedim(max(1, len(inner)), 1)                    # n right after m


def _reversed(denoiser: Denoiser | UNet, c: Tensor | None, times: Tensor, betas: Tensor,
          how: Sampling, seed: int, rows: list[tuple[int, int]]) -> Tensor:
    """The reverse process for some rows (condition, sample): (B, [steps + 1,] L)."""
    rngs = [seeds.generator(seed, *row) for row in rows]
    draws = len(times) - 1 if how.method == "ancestral" else 0
    x = torch.stack([torch.randn(denoiser.size, generator=rng) for rng in rngs]).to(times.device)
    noise = torch.stack([torch.randn(draws, denoiser.size, generator=rng) for rng in rngs])
    noise = noise.to(x)                                              # (B, draws, L)
    c, seen = None if c is None else c[[i for i, _ in rows]], [x]
    for k in range(len(times) - 1, -1, -1):
        predicted = denoiser(x, times[k].expand(len(x)), c)
        if how.method == "ddim":
            x = ddim_step(x, k, predicted, betas)
        else:
            x, variance = ddpm_step(x, k, predicted, betas)
            x = x + variance.sqrt() * noise[:, k - 1] if k else x
        if how.trajectory:
            seen.append(x)
    return (torch.stack(seen, dim=1) if how.trajectory else x).cpu()


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
