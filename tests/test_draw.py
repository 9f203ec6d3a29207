"""Drawings that compute: what they show is what the library does."""

from pathlib import Path

import numpy as np
import torch

from wlib import d2nwg
from wlib.book import drawings

draw = drawings.load(Path(__file__).resolve().parents[1]).d2nwg


def test_the_walks_of_the_picture_are_ddim_with_the_true_noise():
    spot, spread = torch.tensor(draw.SPOTS[3]), 0.2
    path = torch.from_numpy(draw.reverse_paths(draw.SPOTS[3], steps=40, spread=spread))
    betas = d2nwg.schedule(40)
    left, x = d2nwg.alphas_cumprod(betas), path[0]
    for k, t in enumerate(range(39, -1, -1)):
        # Of a normal latent: E[ε | x_t] = √(1 − ᾱ) (x − √ᾱ μ) / (ᾱ σ² + 1 − ᾱ).
        noise = (1 - left[t]).sqrt() * (x - left[t].sqrt() * spot) \
            / (left[t] * spread**2 + 1 - left[t])
        x = d2nwg.ddim_step(x, t, noise, betas)
        torch.testing.assert_close(path[k + 1], x)


def test_the_walks_end_where_the_networks_lie():
    ends = draw.reverse_paths(draw.SPOTS[0], count=4000, steps=1000)[-1]
    np.testing.assert_allclose(ends.mean(0), draw.SPOTS[0], atol=0.02)
    np.testing.assert_allclose(ends.std(0), 0.2, atol=0.02)
