"""Adam taken out of a training and put back, so that a run goes on as if it had not broken off."""

from __future__ import annotations

import torch
from torch import Tensor

Moments = dict[str, dict[str, Tensor]]      # Adam's, of each weight by name


def adam_at(weights: dict[str, Tensor], lr: float, moments: Moments,
            betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
    """Adam on these weights, where it was when `moments_of` gave its moments."""
    adam = torch.optim.Adam(weights.values(), lr=lr, betas=betas)
    for name, own in moments.items():
        # Adam counts its steps on the CPU, wherever the weights are.
        adam.state[weights[name]] = {k: t.clone() if k == "step" else t.clone().to(weights[name])
                                     for k, t in own.items()}
    return adam


def moments_of(adam: torch.optim.Adam, weights: dict[str, Tensor]) -> Moments:
    """Adam's moments and count of steps, by the names of the weights."""
    return {k: dict(adam.state[t]) for k, t in weights.items() if t in adam.state}
