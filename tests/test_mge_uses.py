"""Uses of generated networks at tiny sizes: votes, heads and spectra counted by hand; figures."""

import numpy as np
import pandas as pd
import pytest
import torch
from figured import drawn, table
from small import images

from wlib import claims, mge
from wlib.core import audit, score, train
from wlib.core.pool import Pool
from wlib.mge import evolution, experiments, operators, uses
from wlib.plot import mge_uses as figures


@pytest.fixture(scope="module")
def data():
    return images(40, seed=4)


@pytest.fixture(scope="module")
def parent():
    return train.fit("mlp", images(60, seed=3), epochs=8, hidden=(16,), lr=0.01, device="cpu")


@pytest.fixture(scope="module")
def children(parent):
    return mge.generate(parent, 3, 0.8)


# ---- children and noise copies ------------------------------------------------------------------
def test_noise_copies_lie_as_far_away_as_children(parent):
    far = [audit.distance(uses.candidates(arm, parent, 2, 0.9, 5), parent)
           for arm in ("MGE", "noise")]
    assert torch.allclose(*far, rtol=1e-3)
    twice = audit.distance(experiments.noise_at(parent, 2.0, 0.95, 2, 0), parent)
    assert torch.allclose(twice, torch.full((2, 1), 2 * 0.1 ** 0.5).double(), rtol=1e-3)


def test_an_audition_puts_the_accepted_first(parent, data):
    table = uses.audition("MGE", parent, data, images(60, seed=3), 5, 0.8, 0)
    assert sorted(table["network"]) == list(range(5))
    assert table["accepted"].is_monotonic_decreasing
    for _, group in table.groupby("accepted"):
        assert group["accuracy"].is_monotonic_decreasing


def test_diversity_is_one_minus_iou(children, data):
    errors = score.errors(children[:2], data)
    found = uses.diverse(children[:2], data)
    assert found["diversity"] == pytest.approx(1 - score.iou(*errors).item())
    assert found["accuracy"] == pytest.approx(1 - errors.double().mean().item())


# ---- robustness ---------------------------------------------------------------------------------
def test_a_hardy_fitness_counts_the_attack_on_the_network_itself(children, data):
    hardy = uses.Hardy(data, eps=0.05)
    own = [score.attacked_accuracy(net, score.fgsm(net, data, 0.05), data.labels)
           for net in children]
    judged = hardy.judge(children)
    assert torch.equal(judged["noise accuracy"], torch.cat(own))
    assert hardy.passes == 5 * len(data)
    assert hardy.digest() != uses.Hardy(data, eps=0.1).digest()


def test_the_evolved_network_has_the_best_quality(parent, data):
    sizes = evolution.Evolution(parents=2, offspring=3)
    found = uses.evolved(parent, uses.Hardy(data), operators.Redraw(0.95), 1, sizes, 0)
    population, state = evolution.evolve(parent, uses.Hardy(data), operators.Redraw(0.95), 1, sizes)
    quality = evolution.accuracy(state.judged) + 0.5 * state.judged["noise accuracy"]
    assert torch.equal(found["weights"][0], population.flat()[int(quality.argmax())])
    assert found["passes"] == 5 * len(data) * 5 and found["seconds"] > 0


def test_training_on_noise_changes_the_network_and_repeats(parent):
    runs = [uses.noise_trained(parent, images(60, seed=3), 2, "cpu", seed)["weights"]
            for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0], parent.flat())


def test_every_kind_of_trouble_changes_images_and_keeps_their_range():
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for kind in ("noise 0.2", "blur", "faint", "shifted", "covered"):
        bad = uses.worse(kind, x, 0)
        assert bad.shape == x.shape and not torch.equal(bad, x), kind
        assert 0 <= bad.min() and bad.max() <= 1


def test_hardship_attacks_each_network_itself(children, data):
    right = uses.hardship(children, data, 0)
    assert len(right) == 12 and all(values.shape == (3,) for values in right.values())
    assert torch.equal(right["unchanged"], score.accuracy(children, data))
    stood = uses.withstood(children, data, 0.1)
    assert torch.allclose(right["FGSM 0.1"], stood.double().mean(1) / 100)


# ---- defense by a vote --------------------------------------------------------------------------
def constant(*logits):
    """A pool of networks that say the same of every image."""
    nets = []
    for row in logits:
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, len(row)))
        torch.nn.init.zeros_(net[1].weight)
        net[1].bias.data = torch.tensor(row)
        nets.append(net)
    return Pool.stack(nets)


@pytest.mark.parametrize("logits, winner", [
    ([(1.0, 0, 0), (2.0, 0, 0), (0, 0, 9.0)], 0),           # the majority, however sure the rest
    ([(1.0, 0, 0), (0, 0, 3.0)], 2), ([(3.0, 0, 0), (0, 0, 1.0)], 0)])      # ties: the surer one
def test_a_vote_goes_to_the_most_named(logits, winner):
    assert uses.vote(constant(*logits), torch.zeros(2, 1, 2, 2)).tolist() == [winner] * 2


def test_networks_as_one_give_the_mean_probability(children, data):
    x = data.floats()
    assert torch.allclose(uses.Average(children)(x).exp(),
                          children.logits(x).softmax(-1).mean(0), atol=1e-6)


def test_a_vote_of_one_is_attacked_like_the_network(parent, data):
    alone = score.fgsm(parent, data, 0.1)[0]
    assert torch.isclose(uses.adaptive(parent, data, 0.1), alone).double().mean() > 0.99
    right = uses.defended(parent, {"five": parent}, data, [0.1], known=0.1)
    assert torch.equal(right["seed network, FGSM 0.1"], right["five, FGSM 0.1"])
    assert {name.split(", ")[1] for name in right} == {"unchanged", "FGSM 0.1", "PGD", "adaptive"}
    assert "five, adaptive" not in uses.defended(parent, {"five": parent}, data, [0.1])


# ---- few shots ----------------------------------------------------------------------------------
def test_a_refitted_head_solves_the_ridge_equations():
    g = torch.Generator().manual_seed(0)
    X, Q = (torch.randn(n, 4, generator=g).double() for n in (6, 3))
    Y = torch.eye(2).double()[[0, 0, 0, 1, 1, 1]] - 0.5
    center = X.mean(0)
    scale = (X - center).square().sum(1).mean()
    A = (X - center).T @ (X - center) + 0.1 * scale * torch.eye(4)
    by_hand = (Q - center) @ torch.linalg.solve(A, (X - center).T @ Y)
    assert torch.allclose(uses.refitted(X[None], Y[None], Q[None], 0.1)[0], by_hand)
    means = torch.stack([X[:3].mean(0), X[3:].mean(0)])
    assert torch.allclose(uses.nearest_mean(X[None], Y[None], Q[None])[0],
                          -(Q[:, None] - means).norm(dim=-1))


def test_few_shots_are_judged_per_task_and_head(parent):
    found = uses.few_shot(parent.network(0), images(300, seed=5), 2, 3, 0, [0.1, 1.0])
    assert list(found) == ["0.1", "1", "class means"]
    assert all(values.shape == (3,) and 0 <= values.min() <= values.max() <= 100
               for values in found.values())


# ---- what carries the function ------------------------------------------------------------------
def test_what_is_removed_is_gone_and_the_rest_stays(parent):
    name = next(iter(parent.parameters))
    c = mge.dct(parent.parameters[name][0].flatten().double())
    gone = torch.stack([uses.eighths(len(c)) == 0, torch.zeros(len(c), dtype=torch.bool)])
    cut = uses.without(parent, name, gone)
    left = mge.dct(cut.parameters[name].flatten(1).double())
    assert torch.allclose(left[0], torch.where(gone[0], 0.0, c), atol=1e-5)
    assert torch.allclose(cut.flat()[1], parent.flat()[0], atol=1e-6)


def test_random_coefficients_hold_as_much_energy():
    power = torch.rand(2000, generator=torch.Generator().manual_seed(0)).double()
    chosen = uses.as_much(power, 0.3, torch.Generator().manual_seed(1))
    assert (power[chosen].sum() / power.sum()).item() == pytest.approx(0.3, abs=1e-3)


def test_carried_has_a_row_per_tensor_and_band(parent, data):
    table = uses.carried(parent, data, 0)
    assert table.groupby("tensor").size().eq(uses.BANDS).all()
    assert table.groupby("tensor")["energy"].sum().to_numpy() == pytest.approx(1.0)


def test_maps_agree_with_themselves(parent, children, data):
    maps = uses.saliency(children, data)
    assert maps.shape == (3, len(data), data.size ** 2)
    assert uses.alike(maps[[0, 0]]) == pytest.approx(1.0, abs=1e-5)
    table = uses.agreements(parent, {"siblings": children}, data).set_index("pair")["alike"]
    both = uses.saliency(Pool.cat([parent, children[0]]), data)
    assert table["seed network and child"] == pytest.approx(uses.alike(both))


# ---- figures ------------------------------------------------------------------------------------
def test_figures_say_the_means_that_they_draw():
    arms = {"seed network": 0.5, "evolved": 0.6, "noise evolution": 0.6, "noise training": 0.8}
    trouble = pd.concat([table(arms, "accuracy", trouble=k) for k in ("FGSM 0.1", "PGD 0.1")])
    drawn(*figures.trouble(trouble), "evolution gains +10.0 points", "noise training +30.0")
    votes = {"seed network": 0.1, "children": 0.15, "strangers": 0.3, "copies": 0.2}
    drawn(*figures.defense(table(votes, "accuracy", eps=0.1), list(votes)[1:], eps=0.1),
          "relatives wins +5.0 points", "strangers +20.0", "the vote of children 16%")
    bodies = table({"evolved": 60.0, "seed body": 58.0}, "points")
    drawn(*figures.few_shots(bodies, claims.interval([2.0, 2.2]), tasks=9), "evolved 60.0%",
          "accuracy by +2.1 points", "in 9 five-way")


def test_figures_of_maps_and_bands_name_what_stands_out():
    image = np.eye(4)
    drawn(*figures.attack(image, image, image, [0.9, 0.1], [0.2, 0.8], eps=0.1, label=0),
          "0 (90%) turns into 1 (80%)")
    bands = pd.DataFrame([{"tensor": t, "band": b, "seed": 0, "band removed": 10.0 * (b == 2),
                           "random, as much energy": 1.0}
                          for t in ("conv1", "fc1") for b in range(1, 9)])
    bands.loc[1, "band removed"] = 30.0
    drawn(*figures.bands(bands), "eighth 2 of conv1 costs most: 30 points",
          "fc1 eighth 2: 10.0 against 1.0")
    pairs = {"siblings": 0.8, "independent networks": 0.2, "noise copies": 0.7}
    drawn(*figures.correlations(table(pairs, "alike").rename(columns={"arm": "pair"})),
          "siblings 0.8", "strangers 0.2")
    drawn(*figures.saliency(image[None], {"child": image[None]}, pd.Series(pairs)),
          "correlation 0.80", "(0.20)")


def test_diversity_is_compared_at_the_nearest_accuracy():
    rows = [("generated", 0.95, 0.9, 0.2), ("noise", 1.0, 0.9, 0.3), ("accepted", 0.95, 0.95, 0.3),
            ("independent", 4, 0.94, 0.6), ("independent", 12, 0.99, 0.1)]
    frame = pd.DataFrame([{"arm": a, "at": at, "seed": s, "accuracy": acc, "diversity": d}
                          for a, at, acc, d in rows for s in (0, 1)])
    drawn(*figures.diversity(frame, energy=0.95), "children are 50% as diverse", "(94.0%): 0.60")
