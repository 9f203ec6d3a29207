"""Figures of notebook 42: what is drawn is what the numbers say, for one seed too."""

import re
from itertools import product

import numpy as np
import torch
from figured import crossed, means, titles, words

from wlib.plot import d2nwg_diffusion as figures


def test_noise_begins_after_a_step_and_as_many_samples_as_latents_are_drawn():
    axis, = figures.schedules({"4": torch.tensor([4, 2, 1, 0]), "2": [3, 1]}, title="t").axes
    assert {line.get_label(): line.get_xydata().tolist() for line in axis.lines} == {
        "4": [[0.25, 4], [0.5, 2], [0.75, 1], [1, 0]], "2": [[0.5, 3], [1, 1]]}
    latents, path = torch.rand(5, 2), torch.rand(8, 4, 2)
    left, right = figures.paths(latents, path, title="t", whole=3).axes
    assert np.allclose(left.collections[0].get_offsets(), latents)
    assert np.allclose(right.collections[0].get_offsets(), path[:5, -1])
    assert np.allclose([line.get_xydata() for line in right.lines[::2]], path[:3])
    assert titles(right.figure) == ["the toy's latents", "samples, and 3 of their paths"]


def test_times_stand_on_a_logarithmic_axis(seeds):
    ms = {"DDIM, 5 steps": 1.0, "DDIM, 20 steps": 4.0, "ancestral, 200 steps": 40.0}
    frame = crossed(seeds, "points", lambda name: ms[name] + 30, sampler=list(ms))
    axis, = figures.quality(frame.assign(ms=frame["sampler"].map(ms)), title="t").axes
    assert means(axis, seeds) == {"DDIM": [(1, 31), (4, 34)], "ancestral": [(40, 70)]}
    assert [text.xy[0] for text in axis.texts] == [1, 4, 40] and "ms (log)" in axis.get_xlabel()
    assert words(axis.texts) == ["5", "20", "200"]


def test_each_data_set_and_step_has_a_frame_with_its_numbers():
    latents, weights, points = torch.randn(2, 6, 40), torch.randn(2, 6, 30), 90 * torch.rand(2, 6)
    goals = {"latent": latents[:, 1] + 0.5, "weights": weights[:, 0], "points": [91, 92]}
    left = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)                  # of the variance, by steps taken
    first, second, outer = figures.reverse_explorer(
        latents, weights, points, goals, names="A<", signal=left[4::-1], kernels=(2, 3, 3)).children
    assert first.options == ("A", "<") and second.options == ("0", "2", "4", "5")
    for (m, name), (k, step) in product(enumerate(("A", "&lt;")), enumerate((0, 2, 4, 5))):
        page = outer.children[m].children[k].value
        gap = (latents[m, step] - goals["latent"][m]).square().mean().sqrt()
        assert f">Data set {name}, {step} of 5 steps taken: {left[step]:.1%} of the var" in page
        assert f"The 40 numbers are {gap:.2f} off" in page
        assert f"{points[m, step]:.1f} points on test images, the trained one {91 + m}.0" in page
        latent, kernels, seeing = re.findall(r"<svg role='img' aria-label='([^']+)'", page)
        assert "16 numbers" in latent and f"gets {points[m, step]:.1f} points" in seeing
        assert ("correlate by 1.00" in kernels) == (step == 0), "the goal is the first step's"
