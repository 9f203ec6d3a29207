"""The experiments on MGE at tiny sizes: pairs that must agree, counts by hand."""

import pandas as pd
import pytest
import torch
from small import images

from wlib import mge
from wlib.core import audit, score, train
from wlib.mge import evolution, experiments, operators


@pytest.fixture(scope="module")
def data():
    return images(40, seed=4)


@pytest.fixture(scope="module")
def own():
    return images(60, seed=3)


@pytest.fixture(scope="module")
def parent(own):
    return train.fit("mlp", own, epochs=8, hidden=(16,), lr=0.01, device="cpu")


@pytest.mark.parametrize("per", ["network", "tensor"])
def test_controls_go_as_far_as_mge(parent, per):
    far = audit.distance(mge.generate(parent, 2, 0.9, per, generator=3), parent, per)
    for arm in ("noise", "noise-norm"):
        moved = audit.distance(experiments.rival(arm, parent, 0.9, per, 2, 3), parent, per)
        assert torch.allclose(moved, far, rtol=1e-3), arm


def test_a_sweep_has_one_row_per_energy_and_arm(parent, data):
    table = experiments.sweep(parent, data, [0.8, 0.95], "network", 2, 0)
    assert len(table) == 2 * len(experiments.ARMS) and table.notna().all(axis=None)
    row = table[(table["arm"] == "energy") & (table["energy"] == 0.8)].iloc[0]
    children = mge.generate(parent, 2, 0.8)
    assert row["accuracy"] == pytest.approx(score.accuracy(children, data).mean().item())
    assert row["distance"] == pytest.approx(0.4 ** 0.5, rel=0.2)


def test_the_seed_network_is_beside_the_shares_of_its_children(parent, data):
    right = experiments.fraction_right(parent, data, ["energy", "zero-fill"], "tensor", 2, 0)
    assert list(right) == ["energy", "zero-fill", "seed network"]
    assert set(right["energy"].tolist()) <= {0.0, 50.0, 100.0}
    assert right["seed network"].mean().item() == pytest.approx(
        100 * score.accuracy(parent, data).item())


def test_a_fate_is_the_first_criterion_failed_or_accepted(parent, data, own):
    fates = experiments.fates("MGE", parent, data, own, 0.6, 5, 0)["fate"]
    table = mge.discriminate(mge.generate(parent, 5, 0.6), parent, data, train=own)
    for fate, (_, row) in zip(fates, table.iterrows(), strict=True):
        failed = [c for c in mge.CRITERIA if not row[f"{c} ok"]]
        assert fate == (failed[0] if failed else "accepted")
    assert len(experiments.candidates("zero-fill", parent, 0.9, 5, 0)) == 1


def test_the_forbidden_choice_is_never_behind(parent, data, own):
    gains = experiments.lottery(parent, data, own, [0.5, 0.8], 6, 1)
    assert gains["best on test (forbidden)"] >= max(gains.values())


def test_the_share_of_a_training_counts_the_rejected():
    """Two energies: at 0.9 one of four passes and costs 2 s, at 0.99 all pass and cost 1 s."""
    rows = pd.DataFrame([
        {"arm": "MGE", "energy": t, "training": 100.0, "making": 0.25, "judging": seconds - 0.25,
         "accepted": passed, "candidates": 2}
        for t, seconds, counts in ((0.9, 2.0, (1, 0)), (0.99, 1.0, (2, 2))) for passed in counts])
    found = experiments.percent_of_training(rows)
    assert found["MGE"] == pytest.approx(1.0) and found["making alone"] == pytest.approx(0.25)
    nobody = rows[rows["energy"] == 0.9].assign(accepted=0)
    assert experiments.percent_of_training(nobody)["MGE"] == pytest.approx(2.0 * 4)


def test_costs_are_measured_for_every_arm(parent, data, own):
    rows = experiments.cost(parent, own, data, own.take(30), [0.9], 12, 2, 3)
    assert rows["arm"].tolist() == ["MGE", "noise", "accuracy alone"] * 2
    assert (rows[["training", "making", "judging"]] > 0).all(axis=None)
    assert rows["accepted"].between(0, 3).all()
    assert (rows["training passes"] == 3 * 12 * len(own)).all()
    alone = rows[rows["arm"] == "accuracy alone"]
    assert (alone["passes"] == 3 * len(data)).all()


def test_image_passes_count_the_rejected_and_the_cheaper_energy():
    """At 0.9 one of four passes for 80 passes in all, at 0.99 all four for 120: 30 each."""
    rows = pd.DataFrame([{"arm": "MGE", "energy": t, "passes": passes, "accepted": accepted,
                          "training passes": 600}
                         for t, passes, counts in ((0.9, 40, (1, 0)), (0.99, 60, (2, 2)))
                         for accepted in counts])
    assert experiments.passes_of_training(rows)["MGE"] == pytest.approx(5.0)


def test_a_generation_shows_who_is_new_and_what_they_reach(parent, data):
    fitness, sizes = evolution.Fitness(data), evolution.Evolution(parents=3, offspring=4)
    states = [evolution.evolve(parent, fitness, operators.Redraw(0.9), g, sizes)[1] for g in (0, 1)]
    first, second = (experiments.generation(state, before, fitness)
                     for state, before in zip(states, [None, states[0]], strict=True))
    assert first["new"] == [True] * 3 and first["evaluations"] == 3
    old = {tuple(row) for row in states[0].population.flat().tolist()}
    assert second["new"] == [tuple(row) not in old for row in states[1].population.flat().tolist()]
    assert torch.equal(second["accuracy"],
                       score.accuracy(states[1].population, data).double())
    assert second["fitness"].tolist() == sorted(second["fitness"].tolist(), reverse=True)


def test_an_architecture_is_a_name_or_a_network_for_the_images(data):
    assert experiments.architecture("vgg", data) == "vgg"
    net = experiments.architecture("resnet18", data)
    assert net.conv1.in_channels == data.channels and net.fc.out_features == len(data.classes)
