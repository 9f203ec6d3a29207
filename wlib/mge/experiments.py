"""The experiments of the notebooks on MGE: rivals of the generator, candidates before the judge,
the luck of a choice, and what an accepted network costs. `store.cached` keeps what they give.

A rival ("arm") is named as on the book's pages. Each control is moved exactly as far as MGE moved
its child. Results are tables of plain numbers or one tensor per arm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from wlib.core import audit, batchnorm, nets, score, train
from wlib.core.pool import Pool
from wlib.mge.cosine import dct
from wlib.mge.discriminator import Limits, discriminate
from wlib.mge.evolution import EvolutionState, Fitness, accuracy, choose, diversity
from wlib.mge.generator import ORDERS, REDRAWS, generate, spectra

ARMS = (*ORDERS, *REDRAWS[1:], *audit.CONTROLS)     # MGE's own is "energy"
WITHOUT_DRAWS = ("zero-fill", "pruning")            # one child is all that there is


# ---- the generator and its rivals ---------------------------------------------------------------
def rival(arm: str, parent: Pool, energy: float, per: str, draws: int, seed: int) -> Pool:
    """What one rival makes of one seed network: a pool of children."""
    make = partial(generate, parent, draws, energy, per, generator=seed)
    if arm in ORDERS:
        return make(order=arm)
    if arm in REDRAWS:
        return make(redraw=arm)
    return audit.control(arm, parent, audit.distance(make(), parent, per), generator=seed)


def noise_at(parent: Pool, factor: float, energy: float, copies: int, seed: int) -> Pool:
    """Noise copies at a multiple of the distance that the generator moves at this energy."""
    far = torch.full((copies, 1), factor * (2 * (1 - energy)) ** 0.5)
    return audit.noise(parent, far, keep_norm=True, generator=seed)


def sweep(parent: Pool, data: Any, energies: Iterable[float], per: str, draws: int, seed: int
          ) -> pd.DataFrame:
    """Accuracy, distance and cosine of every rival, means over draws: one row per point."""
    rows = []
    for energy, arm in product(energies, ARMS):
        pool = rival(arm, parent, energy, per, 1 if arm in WITHOUT_DRAWS else draws, seed)
        rows.append({"per": per, "energy": energy, "arm": arm,
                     "accuracy": score.accuracy(pool, data).mean().item(),
                     "distance": audit.distance(pool, parent).mean().item(),
                     "cosine": audit.cosine(pool, parent).mean().item()})
    return pd.DataFrame(rows)


def distribution(parent: Pool, energies: Iterable[float], per: str, draws: int, seed: int
                 ) -> pd.DataFrame:
    """KS distance of all weights and the largest change of a layer's spread, means over draws."""
    layers = [i for i, tensor in enumerate(parent.parameters.values()) if tensor.ndim > 2]
    rows = []
    for energy, arm in product(energies, ("energy", "noise", "noise-norm")):
        pool = rival(arm, parent, energy, per, draws, seed)
        change = (audit.sd_ratio(pool, parent)[:, layers] - 1).abs().amax(1)
        rows.append({"per": per, "energy": energy, "arm": arm, "spread": change.mean().item(),
                     "ks": score.ks_distance(pool.flat(), parent.flat()[0]).mean().item()})
    return pd.DataFrame(rows)


def fraction_right(parent: Pool, data: Any, arms: Sequence[str], per: str, draws: int, seed: int
                ) -> dict[str, Tensor]:
    """Fraction of children, at energy 0.95, that get an image right, in points: {arm: (B,)}; beside
    the arms the seed network itself."""
    pools = {arm: rival(arm, parent, 0.95, per, draws, seed) for arm in arms}
    return {arm: 100 * (1 - score.errors(pool, data).double().mean(0))
            for arm, pool in (pools | {"seed network": parent}).items()}


def frame(parent: Pool, data: Any, energy: float, draws: int, seed: int) -> dict[str, Any]:
    """One position of the explorer of the energy: a spectrum, a child, and three accuracies."""
    first = spectra(parent, energy, "tensor", generator=seed)[0]
    pools = {arm: rival(arm, parent, energy, "tensor", draws, seed)
             for arm in ("energy", "noise", "noise-norm")}
    child = pools["energy"][0].flat()
    return {"energy": energy,
            "coefficients": first.coefficients[0].cpu(), "kept": first.kept[0].cpu(),
            "drawn": dct(child[0, first.span]).cpu(), "child": child[0].cpu(),
            "ks": score.ks_distance(child, parent.flat()[0]).item(),
            "accuracy": {arm: score.accuracy(pool, data).mean().item()
                         for arm, pool in pools.items()}}


# ---- candidates before the discriminator --------------------------------------------------------
def candidates(arm: str, parent: Pool, energy: float, draws: int, seed: int) -> Pool:
    """What an arm ("MGE", "raw", "zero-fill" or a control) hands to the discriminator."""
    arm, draws = "energy" if arm == "MGE" else arm, 1 if arm == "zero-fill" else draws
    return rival(arm, parent, energy, "network", draws, seed)


def fates(arm: str, parent: Pool, data: Any, train_set: Any, energy: float, draws: int, seed: int
          ) -> pd.DataFrame:
    """Of each candidate, the first criterion that it fails, or "accepted". The question on weights
    is for MGE alone."""
    table = discriminate(candidates(arm, parent, energy, draws, seed), parent, data,
                         train=train_set, limits=_limits(arm), lazy=True)
    failed = ~table[[f"{criterion} ok" for criterion in table.attrs["criteria"]]]
    failed.columns = table.attrs["criteria"]
    return pd.DataFrame({"fate": failed.idxmax(axis=1).where(~table["accepted"], "accepted")})


def _limits(arm: str) -> Limits:
    return Limits() if arm == "MGE" else Limits(ks=1.0)


def best(pools: Iterable[Pool], data: Any) -> Pool:
    """The network that these images like best, smaller loss first among equals."""
    pool = Pool.cat(list(pools))
    return choose(pool, Fitness(data).judge(pool))


def lottery(parent: Pool, validation: Any, test: Any, energies: Sequence[float], tries: int,
            seed: int) -> dict[str, float]:
    """Test accuracy, in points above the seed network, of candidates handed in by three rules."""
    pool = Pool.cat([generate(parent, tries // len(energies), t, generator=seed)
                     for t in energies])
    start = score.accuracy(parent, test)
    gains = 100 * (score.accuracy(pool, test) - start)
    chosen = 100 * (score.accuracy(best([pool], validation), test) - start)
    return {"any candidate": gains.mean().item(), "best on test (forbidden)": gains.max().item(),
            "best on validation": chosen.item()}


def generation(state: EvolutionState, before: EvolutionState | None, fitness: Fitness
               ) -> dict[str, Any]:
    """One position of the explorer of an evolution: error sets, accuracy, diversity and fitness of
    the population, who is new in it since `before`, and the networks judged so far."""
    judged, new = state.judged, state.population.flat()
    old = before.population.flat() if before else new[:0]
    return {"errors": judged["errors"], "accuracy": accuracy(judged),
            "diversity": diversity(judged["errors"]), "fitness": fitness.values(judged),
            "new": [not any(torch.equal(weights, other) for other in old) for weights in new],
            "evaluations": state.records[-1]["evaluations"]}


# ---- what an accepted network costs -------------------------------------------------------------
def architecture(name: str, data: Any) -> str | nn.Module:
    """A name of `wlib.core.nets`, or torchvision's ResNet-18 for images of this many channels."""
    if name != "resnet18":
        return name
    from torchvision.models import resnet18  # late: slow to import, and seldom timed
    net = resnet18(num_classes=len(data.classes))
    net.conv1 = nn.Conv2d(data.channels, 64, 7, stride=2, padding=3, bias=False)
    return nets.fresh(net, 0)


def offer(arm: str, parent: Pool, train_set: Any, energy: float, count: int, seed: int) -> Pool:
    """Candidates of one network, with running statistics of their own where it has any."""
    if arm == "noise":
        pool = noise_at(parent, 1.0, energy, count, seed)
    else:
        pool = generate(parent, count, energy, generator=seed)
    return batchnorm.recalibrate(pool, train_set, batches=3)


def approve(arm: str, pool: Pool, parent: Pool, data: Any, sample: Any, reference: pd.DataFrame
            ) -> tuple[int, int]:
    """How many of them are accepted, by all criteria or by accuracy alone; the image passes spent.
    """
    if arm == "accuracy alone":
        good = score.accuracy(pool, data) >= reference["accuracy"].item() - 0.01
        return int(good.sum()), len(pool) * len(data)
    limits = Limits(ks=1.0) if arm == "noise" else Limits()
    table = discriminate(pool, parent, data, train=sample, limits=limits, lazy=True,
                         reference=reference)
    return int(table["accepted"].sum()), table.attrs["image passes"]


def cost(parent: Pool, train_set: Any, data: Any, sample: Any, energies: Sequence[float],
         epochs: int, repeats: int, count: int) -> pd.DataFrame:
    """Seconds and image passes for one network, `count` candidates at a time, each measured in
    turns with one epoch of training: a row per measurement."""
    rows = []
    reference = discriminate(parent, parent, data, train=sample).attrs["reference"]
    for k in range(repeats):
        epoch, _ = _seconds(train.fit, parent, train_set, seeds=[k], epochs=1,
                            device=str(parent.device))
        for arm, t in product(["MGE", "noise", "accuracy alone"], energies):
            making, pool = _seconds(offer, arm, parent, train_set, t, count, k)
            judging, (passed, passes) = _seconds(approve, arm, pool, parent, data, sample,
                                                 reference)
            rows.append({"arm": arm, "energy": t, "training": epochs * epoch,
                         "making": making / count, "judging": judging / count,
                         "accepted": passed, "candidates": count, "passes": passes,
                         "training passes": 3 * epochs * len(train_set)})  # forward and back
    return pd.DataFrame(rows)


def percent_of_training(rows: pd.DataFrame) -> pd.Series:
    """Per arm, what one accepted network costs in % of training one, at the cheaper
    energy. Where none is accepted, one counts as accepted."""
    by = rows.groupby(["arm", "energy"])
    accepted = by["accepted"].sum().clip(lower=1) / by["candidates"].sum()
    each = by["making"].median() + by["judging"].median()
    percent = (100 * each / accepted / by["training"].median()).groupby("arm").min()
    made = rows.loc[rows["arm"] == "MGE", "making"].median() / rows["training"].median()
    return pd.concat([percent, pd.Series({"making alone": 100 * made})])


def passes_of_training(rows: pd.DataFrame) -> pd.Series:
    """Per arm, the image passes for one accepted network in % of those for training one, at the
    cheaper energy: `percent_of_training` in a currency that no busy machine changes."""
    total = rows.groupby(["arm", "energy"])[["passes", "accepted"]].sum()
    each = total["passes"] / total["accepted"].clip(lower=1)
    return 100 * each.groupby("arm").min() / rows["training passes"].iloc[0]


def _seconds(work: Callable[..., Any], *args: Any, **settings: Any) -> tuple[float, Any]:
    """Seconds that a call takes, and what it gives."""
    start = time.perf_counter()
    result = work(*args, **settings)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result
