"""The figures of notebook 13, uses of generated networks: each with its text for those who do not
see it, as `plot.show(*figure)` takes it. What both say is computed from the table that is drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from wlib import claims
from wlib.plot.colors import CONTROL, GOOD, INK, METHOD, REDRAWN
from wlib.plot.figures import bars, dots, heats, lines, scatter, tiles
from wlib.plot.style import Drawn, over_seeds


def attack(image: ArrayLike, signs: ArrayLike, attacked: ArrayLike, before: ArrayLike,
           after: ArrayLike, *, eps: float, label: int) -> Drawn:
    """An image (H, W), the signs of its gradient, the attacked image, and what the network says of
    both: probabilities (K,)."""
    says = [f"{p.argmax()} ({p.max():.0%})" for p in map(np.asarray, (before, after))]
    figure = tiles({"": [image, signs, attacked]},
                   names=[f"image: says {says[0]}", "sign of the gradient",
                          f"attacked: says {says[1]}"],
                   title=f"A step of {eps:g} in every pixel, and {says[0]} turns into {says[1]}")
    return figure, (f"A {label}; the signs of the loss gradient, which look like static; and the "
                    f"attacked image, still easy to read for us. The network says {says[0]} before "
                    f"and {says[1]} after.")


def trouble(frame: pd.DataFrame) -> Drawn:
    """Accuracy of the seed network and of hardened ones under every kind of trouble: columns
    `trouble`, `arm`, `seed`, `accuracy`."""
    level = frame.groupby(["trouble", "arm"], sort=False)["accuracy"].mean().unstack()
    gain = 100 * level.sub(level["seed network"], axis=0).drop(columns="seed network")
    said = {kind: ", ".join(f"{arm} {points:+.1f}" for arm, points in gain.loc[kind].items())
            for kind in ("FGSM 0.1", "PGD 0.1")}
    title = (f"Under FGSM 0.1 evolution gains {gain['evolved']['FGSM 0.1']:+.1f} points, "
             f"training on noise {gain['noise training']['FGSM 0.1']:+.1f}")
    figure = dots(frame, "accuracy", name="trouble", xlabel="validation accuracy", title=title,
                  arms={"seed network": INK, "evolved": METHOD, "noise evolution": CONTROL,
                        "noise training": REDRAWN})
    return figure, ("Validation accuracy under twelve kinds of trouble. Gains over the seed "
                    f"network under FGSM 0.1: {said['FGSM 0.1']} points; "
                    f"under PGD 0.1: {said['PGD 0.1']} points.")


def defense(frame: pd.DataFrame, votes: Sequence[str], *, eps: float) -> Drawn:
    """Accuracy of three votes (of children, of strangers, of noise copies) over the step of an
    attack on the seed network: columns `arm`, `eps`, `seed`, `accuracy`."""
    at = 100 * frame[frame["eps"] == eps].groupby("arm")["accuracy"].mean()
    gain = at - at["seed network"]
    arms = {"seed network": INK} | dict(zip(votes, (METHOD, GOOD, CONTROL), strict=True))
    figure = lines(frame, "eps", "accuracy", arms=arms, ylabel="validation accuracy of the vote",
                   xlabel="step of the attack on the seed network",
                   title=f"At step {eps:g} a vote of relatives wins {gain[votes[0]]:+.1f} points, "
                         f"a vote of strangers {gain[votes[1]]:+.1f}")
    kept = ", ".join(f"the vote of {name} {at[name]:.0f}%" for name in votes)
    return figure, (f"Accuracy falls with the step of the attack. At {eps:g} the seed network "
                    f"keeps {at['seed network']:.0f}%, {kept}.")


def few_shots(frame: pd.DataFrame, lead: claims.Interval, *, tasks: int) -> Drawn:
    """Accuracy of bodies on new classes: columns `arm`, `seed`, `points`, in the order to show;
    `lead` is that of the evolved body over the seed network's, in points."""
    table = over_seeds(frame.assign(accuracy=frame["points"] / 100), ["arm"], "accuracy")
    figure = bars(table, name="arm", value="mean", half="half", level={"chance": 0.2},
                  colors=dict.fromkeys(table["arm"], CONTROL) | {"evolved": METHOD},
                  xlabel=f"accuracy in {tasks} five-way five-shot tasks, "
                         f"{frame['seed'].nunique()} seeds",
                  title=f"On new classes evolution changes the body's accuracy by "
                        f"{lead.mean:+.1f} points")
    said = ", ".join(f"{arm} {mean:.1%}" for arm, mean in zip(table["arm"], table["mean"],
                                                             strict=True))
    return figure, (f"Accuracy on new letters: {said}; the evolved body is "
                    f"{lead.words('points')} ahead of the seed network's.")


def bands(frame: pd.DataFrame) -> Drawn:
    """Points lost without a band of a layer's spectrum, and without as much energy at random:
    columns `tensor`, `band`, `seed` and one for each of the two."""
    cost, rival = (frame.pivot_table(index="tensor", columns="band", values=kind, sort=False)
                   for kind in ("band removed", "random, as much energy"))
    dear = pd.Series(cost.stack()).sort_values(ascending=False, kind="stable")
    (layer, band), most = dear.index[0], dear.iloc[0]
    figure = heats({"band removed": cost, "random, as much energy": rival}, label="points lost",
                   xlabel="eighth of the spectrum, 1 = lowest frequencies",
                   title=f"Removing eighth {band} of {layer} costs most: {most:.0f} points;\n"
                         f"as much energy at random costs {rival.loc[layer, band]:.0f}")
    rest = ", ".join(f"{t} eighth {b}: {dear[t, b]:.1f} against {rival.loc[t, b]:.1f}"
                     for t, b in dear.index[1:5])
    return figure, (f"Removing an eighth of a layer's spectrum costs most at {layer}, eighth "
                    f"{band}: {most:.1f} points, against {rival.loc[layer, band]:.1f} for random "
                    f"coefficients of the same energy there. Next come {rest}.")


def saliency(images: Collection[ArrayLike], maps: Mapping[str, Collection[ArrayLike]],
             correlation: pd.Series) -> Drawn:
    """Saliency maps of the same images (B, H, W) by several networks, a row each, and the mean
    `correlation` of maps by pair of networks."""
    siblings, strangers = correlation["siblings"], correlation["independent networks"]
    figure = tiles({"image": images} | dict(maps),
                   title=f"Siblings look at the same pixels (correlation {siblings:.2f}), "
                         f"strangers less so ({strangers:.2f})")
    return figure, (f"Saliency maps of {len(images)} images. Those of seed network, "
                    f"child and sibling look alike (siblings correlate by {siblings:.2f}), "
                    f"those of an independent network differ ({strangers:.2f}).")


def correlations(frame: pd.DataFrame) -> Drawn:
    """Mean correlation of saliency maps: columns `pair`, `seed`, `alike`."""
    table = over_seeds(frame, ["pair"], "alike").sort_values("mean", ascending=False)
    mean = table.set_index("pair")["mean"]
    figure = bars(table, name="pair", value="mean", half="half", percent=False,
                  colors={"siblings": METHOD, "seed network and child": METHOD,
                          "independent networks": GOOD, "noise copies": CONTROL},
                  xlabel=f"correlation of saliency maps, {frame['seed'].nunique()} seeds",
                  title=f"Saliency maps correlate: siblings {mean['siblings']:.2f}, "
                        f"noise copies {mean['noise copies']:.2f}, "
                        f"strangers {mean['independent networks']:.2f}")
    said = ", ".join(f"{pair} {value:.2f}" for pair, value in mean.items())
    return figure, f"Correlation of saliency maps: {said}."


def diversity(frame: pd.DataFrame, *, energy: float) -> Drawn:
    """Diversity over accuracy: columns `arm` (generated, noise, independent, accepted), `at` (its
    setting: energy, factor or epochs), `seed`, `accuracy`, `diversity`."""
    mean = frame.groupby(["arm", "at"], sort=False)[["accuracy", "diversity"]].mean()
    top = mean.loc["accepted"].iloc[0]
    near = mean.loc["independent"]
    near = near.iloc[(near["accuracy"] - top["accuracy"]).abs().argmin()]
    figure = scatter(frame, "accuracy", "diversity", group=["arm", "at"],
                     arms={"generated": METHOD, "noise": CONTROL, "independent": GOOD,
                           "accepted": REDRAWN},
                     xlabel="mean validation accuracy", ylabel="mean pairwise diversity, 1 − IoU",
                     title=f"At equal accuracy, accepted children are "
                           f"{top['diversity'] / near['diversity']:.0%} as diverse as strangers")
    said = {key: f"{row['accuracy']:.1%} and {row['diversity']:.2f}"
            for key, row in mean.iterrows()}
    return figure, (f"Diversity against accuracy. Accepted children: accuracy "
                    f"{top['accuracy']:.1%}, diversity {top['diversity']:.2f}; independent "
                    f"networks of the nearest accuracy ({near['accuracy']:.1%}): "
                    f"{near['diversity']:.2f}. Unselected children at energy {energy:g}: "
                    f"{said['generated', energy]}; noise as far away: {said['noise', 1.0]}.")
