"""Figures of notebooks 11 and 12 say the means that they draw."""

import numpy as np
import pandas as pd
from figured import drawn, table

from wlib import mge
from wlib.core import audit
from wlib.plot import mge_pages as figures


def test_steps_tell_how_many_coefficients_are_kept():
    c = np.arange(4.0)
    drawn(*figures.steps(c, c, [True, False, False, False], c, c), "25% of the coefficients")


def test_distances_are_held_against_theory():
    points = pd.concat([table({arm: (2 * (1 - t)) ** 0.5 - 0.005 for arm in ("energy", "noise-norm",
                                                                           "zero-fill")},
                              "distance", energy=t, cosine=t) for t in (0.8, 0.95)])
    drawn(*figures.distance(points), "within 0.005")


def test_the_worst_choice_and_the_spread_of_the_others_are_named():
    arms = dict.fromkeys((*mge.ORDERS, *mge.REDRAWS[1:], *audit.CONTROLS), 0.9)
    points = pd.concat([table(arms | {"high-freq": 0.2, "raw": 0.92}, "accuracy", per=per, energy=t)
                        for per in ("network", "tensor") for t in (0.8, 0.95)])
    drawn(*figures.energies(points, seed_accuracy=0.925), "high-freq is worst by far",
          "within 2.0 points", "-2.0 points against")


def test_shares_are_means_over_seeds():
    smooth = pd.DataFrame([{"tensor": t, "seed": s, "fraction": f + 0.02 * s}
                           for t, f in (("conv1", 0.7), ("fc1", 0.5)) for s in (0, 1)])
    drawn(*figures.smoothness(smooth), "71% of the energy of conv1", "51% of that of fc1")
    needs = {"energy": 0.502, "shuffled": 0.52, "raw": 0.542}
    needed = pd.concat([table(needs, "fraction", energy=t) for t in (0.9, 0.95)])
    gauss = pd.DataFrame({"energy": [0.9, 0.95], "fraction": [0.5, 0.6]})
    drawn(*figures.kept(needed, gauss), "MGE keeps 51% of", "55% of the plain")
    ks = {"energy": 0.01, "noise": 0.03, "noise-norm": 0.02}
    shape = pd.concat([table(ks, "ks", per=per, energy=0.95) for per in ("network", "tensor")])
    drawn(*figures.distribution(shape), "weights 0.0200 more than MGE", "the norm 0.0100")


def test_fates_and_costs_name_the_arms():
    fractions = pd.DataFrame({"ks": [0.25, 0.5], "accepted": [0.75, 0.5]},
                             index=["MGE", "noise-norm"])
    drawn(*figures.fates(fractions), "accepts 75% of MGE's networks and 50%")
    arms = {"MGE": 3.0, "noise": 4.0, "accuracy alone": 1.0, "making alone": 0.5}
    drawn(*figures.cost(table(arms, "percent"), list(arms)), "costs 3.0 % of", "4.0% with noise")


def test_gains_are_those_of_the_last_generation():
    arms = {"E-MGE": 1.0, "noise evolution": 2.0, "random search": 0.5, "best noise copy": 0.7}
    curves = pd.concat([table({arm: g * gain for arm, gain in arms.items()}, "gain",
                              regime=regime, generation=g,
                              **{"image passes": 1000 * (8 + 14 * g)})
                        for g in (0, 1) for regime in ("stopped early", "converged")])
    figure, alt = figures.searches(curves, {"stopped early": 5.0, "converged": 0.2})
    axis = figure.axes[0]
    ends = [line.get_xdata() for line in axis.lines if line.get_linestyle() == "-"]
    assert {tuple(round(float(v)) for v in x) for x in ends if len(x) == 2} == {(8, 22)}
    drawn(figure, alt,
          "gains +0.5 to +2.0 points", "converged, E-MGE +1.0", "stopped early +5.0")
    fresh, said = figures.searches(curves, {"stopped early": 5.0, "converged": 0.2}, chose=False)
    drawn(fresh, said, "images that chose nothing", "Accuracy on test of the best network")
    two = curves[curves["regime"] == "converged"]
    two = two[two["arm"].isin(["E-MGE", "noise evolution"])]
    drawn(*figures.hardened(two, 9.0), "Evolved for robustness: +1.0 points", "+9.0",
          "noise evolution +2.0")
    rules = {"one more epoch": 3.0, "best on test (forbidden)": 2.0, "best on validation": 1.0,
             "any candidate": -1.0}
    stopped = pd.concat([table(rules, "gain", epochs=stop) for stop in (1, 12)])
    drawn(*figures.stopped(stopped), "Trained 12 epochs", "gain +2.0 points", "After 1: ")


def test_luck_is_what_the_chosen_seem_to_gain():
    counts = np.array([1, 10])
    seen, unseen = np.array([[0.9, 0.9], [0.95, 0.97]]), np.full((2, 2), 0.9)
    drawn(*figures.luck(counts, seen, unseen, truth=0.9, images=100),
          "best of 10 equal networks looks 6.0 points better", "90.0%, no better")
