"""The figures of notebooks 11 and 12: each with its text for those who do not see it, as
`plot.show(*figure)` takes it. What both say is computed from the table that is drawn.

Tables have a row per arm and seed, with columns `arm` and `seed` and those that are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from wlib.plot import mge
from wlib.plot.colors import CONTROL, CONTROLS, DARK, GOOD, METHOD, PURPLE, REDRAWN, SKY
from wlib.plot.figures import bars, grid, lines, panels
from wlib.plot.style import Drawn, over_seeds

# ---- 11: the generator --------------------------------------------------------------------------
PANELS: dict[str, Mapping[str, str] | Sequence[str]] = {
    "What to keep": ["energy", "high-freq", "low-freq", "random", "raw", "shuffled", "2-D"],
    "How to redraw": ["energy", "resample", "sign-flip", "zero-fill"],
    "Controls, same distance": {"energy": METHOD, "noise": CONTROLS[0], "noise-norm": CONTROLS[1],
                                "pruning": CONTROLS[2], "shuffled weights": DARK}}


def steps(weights: ArrayLike, coefficients: ArrayLike, kept: ArrayLike, drawn: ArrayLike,
          child: ArrayLike) -> Drawn:
    """The generator on the first layer's weights, as `plot.steps` draws it."""
    held = f"{float(np.mean(np.asarray(kept))):.0%} of the coefficients"
    figure = mge.steps(weights, coefficients, kept, drawn, child,
                       title=f"{held} of the first layer hold 95% of its energy")
    return figure, (f"The first layer's {np.size(weights)} weights, their spectrum, the redrawn "
                    f"spectrum and the child: {held} hold 95% of the energy, and the child follows "
                    "its parent closely.")


def distance(points: pd.DataFrame) -> Drawn:
    """Distance and cosine to the seed network: columns `energy`, `distance`, `cosine`."""
    mine = points[points["arm"] == "energy"]
    worst = (mine["distance"] - (2 * (1 - mine["energy"])) ** 0.5).abs().max()
    figure = mge.theory(points, arms={"energy": METHOD, "zero-fill": REDRAWN,
                                      "noise-norm": CONTROL},
                        title="Distance and cosine are fixed by the energy kept, "
                              "not by the network")
    return figure, (f"Measured distances follow the square root of 2(1 − t) within {worst:.3f} and "
                    "cosines follow t, for MGE and for noise that keeps the norm alike; zero-fill "
                    "lies nearer.")


def energies(points: pd.DataFrame, *, seed_accuracy: float) -> Drawn:
    """Accuracy of every rival over the energy kept: columns `per`, `energy`, `accuracy`."""
    here = points[points["energy"] == 0.95].groupby(["per", "arm"])["accuracy"].mean()
    at = 100 * here["network"]
    ranked = at.sort_values()
    title = (f"At 0.95 {ranked.index[0]} is worst by far; the other {len(ranked) - 1} lie within "
             f"{ranked.iloc[-1] - ranked.iloc[1]:.1f} points")
    figure = grid(points, "energy", "accuracy", rows=("per", ["network", "tensor"]), groups=PANELS,
                  title=title, xlabel="energy kept t", ylabel="validation accuracy")
    return figure, (f"Validation accuracy rises with the energy kept. {title}, per network; MGE's "
                    f"children change by {at['energy'] - 100 * seed_accuracy:+.1f} points against "
                    "their seed networks.")


def smoothness(frame: pd.DataFrame) -> Drawn:
    """Energy in the lower half of each tensor's spectrum: columns `tensor`, `seed`, `fraction`."""
    table = over_seeds(frame, ["tensor"], "fraction")
    top, bottom = table.iloc[table["mean"].argmax()], table.iloc[table["mean"].argmin()]
    figure = bars(table, name="tensor", value="mean", half="half", level={"no order": 0.5},
                  xlabel="share of energy in the lower half of the spectrum",
                  title="Early layers are smooth, late layers are not")
    return figure, (f"The lower half of the spectrum holds {top['mean']:.0%} of the energy of "
                    f"{top['tensor']} and {bottom['mean']:.0%} of that of {bottom['tensor']}, "
                    "where 50% means no order.")


def kept(frame: pd.DataFrame, gaussian: pd.DataFrame) -> Drawn:
    """Coefficients needed for an energy: columns `energy`, `fraction`, for arms energy, shuffled
    and raw; `gaussian` has the same two columns."""
    at = frame[frame["energy"] == 0.95].groupby("arm")["fraction"].mean()
    figure = mge.kept_fraction(
        frame, gaussian=gaussian, arms={"energy": METHOD, "shuffled": PURPLE, "raw": REDRAWN},
        title="The transform concentrates energy hardly more than no transform at all")
    return figure, (f"To hold 95% of the energy MGE keeps {at['energy']:.0%} of the coefficients, "
                    f"{at['shuffled']:.0%} after shuffling and {at['raw']:.0%} of the plain "
                    "weights.")


def distribution(frame: pd.DataFrame) -> Drawn:
    """Distance of the weights' distribution to the seed network's: columns `per`, `energy`, `ks`.
    """
    at = frame[frame["energy"] == 0.95].groupby(["per", "arm"])["ks"].mean()["network"]
    figure = mge.spectrum_lines(
        frame, "energy", "ks", level={"limit of claim M5a": 0.02},
        arms={"energy": METHOD, "noise": CONTROLS[0], "noise-norm": CONTROLS[2]},
        xlabel="energy kept t", ylabel="Kolmogorov–Smirnov distance",
        title=f"Plain noise shifts the weights {at['noise'] - at['energy']:.4f} more than MGE,\n"
              f"noise that keeps the norm {at['noise-norm'] - at['energy']:.4f}")
    return figure, (f"At 0.95, per network, the distance is {at['energy']:.4f} for MGE, "
                    f"{at['noise']:.4f} for plain noise and {at['noise-norm']:.4f} for noise that "
                    "keeps the norm.")


# ---- 12: judge and evolve -----------------------------------------------------------------------
def fates(fractions: pd.DataFrame) -> Drawn:
    """What became of each arm's candidates, as `plot.fates` draws it."""
    accepted = fractions["accepted"]
    figure = mge.fates(fractions, title=f"At 0.95 the discriminator accepts {accepted['MGE']:.0%} "
                                        f"of MGE's networks and {accepted['noise-norm']:.0%} of "
                                        "noise copies")
    said = ", ".join(f"{arm} {fraction:.0%}" for arm, fraction in accepted.items())
    return figure, f"Share of candidates accepted: {said}."


def searches(curves: pd.DataFrame, trained_on: Mapping[str, float], chose: bool = True) -> Drawn:
    """Gain of each search over the image passes that it takes on average, on the images that it
    chooses by, or, where they `chose` nothing, on fresh ones: columns `regime`, `arm`,
    `generation`, `image passes`, `gain` in points; `trained_on` has that of one more epoch by
    regime."""
    images, whose = (("validation", "images it chooses by") if chose
                     else ("test", "images that chose nothing"))
    paid = curves.groupby(["regime", "arm", "generation"])["image passes"].transform("mean")
    curves = curves.assign(paid=paid / 1000)
    end = curves[curves["generation"] == curves["generation"].max()]
    last = end.groupby(["regime", "arm"])["gain"].mean()
    figure = panels(curves, "regime", "paid", "gain", categorical=False, percent=False,
                    arms={"E-MGE": METHOD, "noise evolution": CONTROLS[0], "random search": SKY,
                          "best noise copy": CONTROLS[2]},
                    levels={name: {"one more epoch": gain} for name, gain in trained_on.items()},
                    xlabel="thousands of image passes", ylabel=f"gain on {images}, points",
                    title=f"Searching gains {last.min():+.1f} to {last.max():+.1f} points on the "
                          f"{whose}")
    found = "; ".join(f"{regime}, {arm} {gain:+.1f}" for (regime, arm), gain in last.items())
    rival = "; ".join(f"{regime} {gain:+.1f}" for regime, gain in trained_on.items())
    return figure, (f"Accuracy on {images} of the best network, in points above the seed network, "
                    f"after the last generation: {found}. One more epoch: {rival}.")


def hardened(curves: pd.DataFrame, trained: float) -> Drawn:
    """Gain of two evolutions on attacked test images, over the image passes that they take: columns
    `arm`, `image passes`, `gain` in points; `trained` is that of training on noise for as many."""
    paid = curves.groupby(["arm", "generation"])["image passes"].transform("mean")
    last = curves[curves["generation"] == curves["generation"].max()].groupby("arm")["gain"].mean()
    figure = lines(curves.assign(paid=paid / 1e6), "paid", "gain", categorical=False, percent=False,
                   arms={"E-MGE": METHOD, "noise evolution": CONTROLS[0]},
                   level={"training on noise": trained},
                   xlabel="millions of image passes", ylabel="gain under attack, test points",
                   title=f"Evolved for robustness: {last['E-MGE']:+.1f} points under attack;\n"
                         f"training on noise: {trained:+.1f}")
    found = ", ".join(f"{arm} {gain:+.1f}" for arm, gain in last.items())
    return figure, ("Accuracy on attacked test images, in points above the seed network, after the "
                    f"last generation: {found}. Training on noise for as many passes: "
                    f"{trained:+.1f}.")


def luck(counts: np.ndarray, seen: ArrayLike, unseen: ArrayLike, *, truth: float, images: int
         ) -> Drawn:
    """Accuracy of the best of so many equal networks (N,), in repetitions: on the images that chose
    it and on fresh ones, (N, repetitions) each."""
    seen, unseen, most = np.asarray(seen), np.asarray(unseen), max(counts)
    gain = 100 * (seen[-1].mean() - truth)
    limit = truth + np.sqrt(truth * (1 - truth) / images) * np.sqrt(2 * np.log(counts))
    figure = mge.luck(counts, (seen.mean(1), seen.std(1)), (unseen.mean(1), unseen.std(1)), limit,
                      truth=truth,
                      title=f"The best of {most} equal networks looks {gain:.1f} points better, "
                            "and is not")
    return figure, (f"The best of N equal networks of accuracy {truth:.0%} looks better the larger "
                    f"N is, by {gain:.1f} points at {most}; on fresh images it is at "
                    f"{100 * unseen[-1].mean():.1f}%, no better than the others.")


def stopped(frame: pd.DataFrame) -> Drawn:
    """Gain on the test images by three rules, and by one more epoch: columns `epochs`, `gain`."""
    at = frame.groupby(["epochs", "arm"])["gain"].mean()
    stops = sorted(frame["epochs"].unique())
    late = at[stops[-1]]
    figure = mge.gains(
        frame, "epochs", "gain", xlabel="epochs after which training was stopped",
        ylabel="gain on test, points",
        arms={"one more epoch": GOOD, "best on test (forbidden)": REDRAWN,
              "best on validation": METHOD, "any candidate": CONTROLS[1]},
        title=f"Trained {stops[-1]} epochs: choosing on test seems to gain "
              f"{late['best on test (forbidden)']:+.1f} points,\n"
              f"on validation {late['best on validation']:+.1f}")
    said = (", ".join(f"{arm} {gain:+.1f}" for arm, gain in at[stop].items()) for stop in stops)
    return figure, ("Gain on the test images over the seed network by epochs of its training. "
                    + " ".join(f"After {stop}: {gains}." for stop, gains in zip(stops, said,
                                                                               strict=True)))


def cost(frame: pd.DataFrame, arms: Sequence[str]) -> Drawn:
    """Time for one accepted network, in % of training one: column `percent`."""
    table = over_seeds(frame, ["arm"], "percent").set_index("arm").loc[list(arms)].reset_index()
    paid = table.set_index("arm")["mean"]
    figure = bars(table, name="arm", value="mean", half="half", percent=False, level={"1 %": 1.0},
                  colors={"noise": CONTROL, "accuracy alone": SKY, "making alone": SKY},
                  xlabel="one accepted network, % of the time to train one",
                  title=f"Judged by all criteria, a new network costs {paid['MGE']:.1f} % of "
                        "training one")
    return figure, (f"One accepted network costs {paid['MGE']:.1f}% of the time of training one "
                    f"with MGE, {paid['noise']:.1f}% with noise, and {paid['accuracy alone']:.1f}% "
                    "with MGE where accuracy is the only criterion; making a candidate alone costs "
                    f"{paid['making alone']:.2f}%.")
