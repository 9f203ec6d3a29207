"""Zoos by their start, and what a codec keeps of their networks: the measurements of notebook 41.

A trial takes the zoos of a seed and gives a table with the column "seed", which a notebook joins
over seeds:

    zoos = [Zoos.trained(of_styles(16, 8, 1, seed=s), s) for s in (0, 1, 2)]
    means = pd.concat([means_of_networks(z) for z in zoos])     # seed, arm, networks, accuracy

Accuracies are fractions of test images in [0, 1]. Letters: n networks, D weights, L latent numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from wlib import seeds, store
from wlib.core import audit, nets, train
from wlib.core.pool import Pool
from wlib.d2nwg import codec, pipeline, zoo
from wlib.d2nwg.stored import stored_vae
from wlib.data import ImageSet
from wlib.data.universes import DataSet

ARMS = ("shared", "aligned", "independent")
Span = tuple[Tensor, Tensor, Tensor]        # a mean (D,), directions (D, L), spread in each (L,)


# ---- zoos by their start ------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Zoos:
    """The networks of a seed under each arm: from a "shared" start, from "independent" ones, and
    "aligned", the independent ones with hidden units in the order of their zoo's first network."""

    seed: int
    world: pipeline.World
    members: dict[str, zoo.Zoo]         # the zoo, one network per data set
    oracles: dict[str, zoo.Zoo]         # networks trained on the unseen data sets
    copies: dict[str, zoo.Zoo]          # several networks of the zoo's first data set

    @classmethod
    def trained(cls, world: pipeline.World, seed: int, *, steps: int = 150, copies: int = 4,
                device: str = "auto") -> Zoos:
        """Train all of them, or read them from the store."""
        how: dict[str, Any] = {"steps": steps, "seed": seed, "device": device}
        members = zoo.by_start(world.train, **how)
        order = members["independent"].pool[0]
        return cls(seed, world, members, zoo.by_start(world.unseen, order, **how),
                   zoo.by_start(world.train[:1], order, each=copies, **how))


def means_of_networks(zoos: Zoos) -> pd.DataFrame:
    """Accuracy of single networks and of their means: columns seed, arm, networks, accuracy.

    The mean of the zoo is scored on each of its data sets.
    """
    rows = []
    for arm in ARMS:
        same, many = zoos.copies[arm], zoos.members[arm]
        tests = [data.test for data in many.sets]
        pairs = Pool.cat([audit.mean(same.pool[[0, i]]) for i in range(1, len(same))])
        found = {"single copies": same.accuracy(),
                 "mean of two copies": zoo.accuracy(pairs, tests[0]),
                 "mean of all copies": zoo.accuracy(audit.mean(same.pool), tests[0]),
                 "networks of the zoo": many.accuracy(),
                 "mean of the zoo": zoo.accuracy(audit.mean(many.pool).repeat(len(tests)), tests)}
        rows += [{"seed": zoos.seed, "arm": arm, "networks": name, "accuracy": v.mean().item()}
                 for name, v in found.items()]
    return pd.DataFrame(rows)


def likeness(zoos: Zoos) -> pd.DataFrame:
    """Are networks of like data sets near in weights? Columns seed, arm, rank, polarity.

    `rank` is the rank correlation of the distance of weights and the difference of turns, over
    pairs of equal polarity; `polarity` how often (%) the nearest network has the same.
    """
    return pd.DataFrame([{"seed": zoos.seed, "arm": arm}
                         | _likeness(zoos.members[arm].weights, zoos.members[arm].specs)
                         for arm in ARMS])


def _likeness(weights: Tensor, specs: Sequence[Mapping]) -> dict[str, float]:
    distance = torch.cdist(weights.double(), weights.double())
    turn, dark = (torch.tensor([float(spec[key]) for spec in specs])
                  for key in ("turn", "inverted"))
    nearest = distance.clone().fill_diagonal_(math.inf).argmin(1)
    i, j = torch.triu_indices(len(weights), len(weights), 1)
    i, j = (index[dark[i] == dark[j]] for index in (i, j))
    rank = (spearmanr(distance[i, j], (turn[i] - turn[j]).abs())[0] if len(i) > 2 else math.nan)
    same = (dark[nearest] == dark).double().mean()
    return {"rank": float(rank), "polarity": 100 * same.item()}


# ---- networks after a linear codec --------------------------------------------------------------
def ceilings(zoos: Zoos, fits: Sequence[tuple[int, int]]) -> pd.DataFrame:
    """Accuracy of networks that a linear codec gives back, seen and unseen, kept in the store.

    `fits` has pairs (n, L): a codec of L numbers fitted on the first n networks of the zoo.
    Columns seed, arm, and those of `ceiling`.
    """
    rows = [{"seed": zoos.seed, "arm": arm} | row for arm in ARMS
            for row in store.cached(ceiling, zoos.members[arm], zoos.oracles[arm],
                                    [tuple(fit) for fit in fits])]
    return pd.DataFrame(rows)


def ceiling(members: zoo.Zoo, oracles: zoo.Zoo, fits: Iterable[tuple[int, int]]
            ) -> list[dict[str, Any]]:
    """For each of `fits` a row for "seen" and one for "unseen" networks: of, size, networks, …

    … accuracy after the codec, and kept: the fraction of the squared distance from the zoo's mean.
    """
    rows = []
    for count, size in fits:
        own = members[:count]
        made = codec.PCA.fit(own.weights, size)
        for name, some in (("seen", own), ("unseen", oracles)):
            back, middle = made.reconstruct(some.weights), made.tensors["mean"].float()
            lost = (some.weights - back).square().sum() / (some.weights - middle).square().sum()
            rows.append({"of": count, "size": size, "networks": name,
                         "accuracy": _points(back, some.sets, own.pool) / 100,
                         "kept": 1 - lost.item()})
    return rows


def _points(weights: Tensor, sets: Sequence[DataSet], pool: Pool) -> float:
    """Mean points of weights (n, D), one network per data set."""
    return pipeline.points(weights[:, None], sets, like=pool).mean().item()


def real_networks(zoos: Zoos, real: Sequence[DataSet], *, steps: int, device: str = "auto"
                  ) -> pd.DataFrame:
    """Points of networks trained on real sets from the shared start, before and after the codec of
    all directions: columns seed, set, trained, reconstructed."""
    found = zoo.trained(real, start="shared", steps=steps, seed=zoos.seed, device=device)
    made = codec.PCA.fit(zoos.members["shared"].weights)
    both = torch.stack([found.weights, made.reconstruct(found.weights)], 1)        # (m, 2, D)
    points = pipeline.points(both, real, like=found.pool).tolist()
    return pd.DataFrame([{"seed": zoos.seed, "set": data.name, "trained": a, "reconstructed": b}
                         for data, (a, b) in zip(real, points, strict=True)])


# ---- networks trained inside a span -------------------------------------------------------------
@dataclass(frozen=True)
class SpanSetting:
    """Training of a latent alone, on unseen data sets."""

    sets: int = 2                           # unseen data sets
    steps: int = 60
    lrs: Sequence[float] = (0.1,)           # learning rates; validation images choose
    seed: int = 0                           # of batches and random directions


def span_of(weights: Tensor, scale: str = "dimension") -> Span:
    """Mean, directions and spread of the networks (n, D) of a zoo."""
    made = codec.PCA.fit(weights, scale=scale).tensors
    return made["mean"].float(), made["basis"].float(), made["scale"].float()


def trained_within(span: Span, like: Pool, images: ImageSet, steps: int, lr: float, seed: int,
                   device: str = "auto") -> Tensor:
    """Weights (D,) of the network mean + directions (spread · z) after training z alone, from 0.

    Adam and cross-entropy on random batches of 40. The gradient with respect to z is that with
    respect to the weights, read along the directions.
    """
    place = nets.resolve_device(device)
    mean, basis, sd = (part.to(place) for part in span)
    net, z = like.to(place).network(0), torch.zeros(len(sd), device=place)
    x, y, rng = images.floats(place), images.labels.to(place), seeds.generator(seed)
    adam = torch.optim.Adam([z], lr=lr)
    for _ in range(steps):
        part = torch.randint(len(y), (40,), generator=rng).to(place)
        vector_to_parameters(mean + basis @ (sd * z), net.parameters())
        loss = F.cross_entropy(net(x[part]), y[part])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        z.grad = sd * (torch.cat([g.flatten() for g in gradients]) @ basis)
        adam.step()
    return (mean + basis @ (sd * z)).cpu()


def spans(zoos: Zoos, seed: int) -> dict[str, Span]:
    """The span of each zoo, and as many random directions through the shared zoo's mean, of the
    same overall spread."""
    mean, basis, sd = span_of(zoos.members["shared"].weights, "whole")
    noise = torch.randn(basis.shape, generator=seeds.generator(seed, zoos.seed),
                        dtype=torch.float64)
    blind = mean, torch.linalg.qr(noise)[0].float(), sd
    return {f"trained in the span, {start}": span_of(zoos.members[start].weights)
            for start in zoo.STARTS} | {"trained in random directions": blind}


def span_accuracies(zoos: Zoos, setting: SpanSetting, device: str = "auto") -> pd.DataFrame:
    """Networks for unseen data sets by where they were looked for: columns seed, network, accuracy.
    """
    pool, some = zoos.members["shared"].pool[0], slice(setting.sets)
    targets, found = zoos.world.unseen[some], {}
    for start in zoo.STARTS:
        back = codec.PCA.fit(zoos.members[start].weights).reconstruct(
            zoos.oracles[start].weights[some])
        found[f"reconstructed, {start}"] = _points(back, targets, pool) / 100
    for name, span in spans(zoos, setting.seed).items():
        best = torch.stack([_best_within(span, pool, data, setting, device) for data in targets])
        found[name] = _points(best, targets, pool) / 100
    found["trained freely"] = zoos.oracles["shared"].accuracy()[some].mean().item()
    return pd.DataFrame([{"seed": zoos.seed, "network": name, "accuracy": value}
                         for name, value in found.items()])


def _best_within(span: Span, pool: Pool, target: DataSet, setting: SpanSetting, device: str
                 ) -> Tensor:
    """Weights (D,) of the learning rate that does best on the data set's validation images."""
    kind = str(nets.resolve_device(device))
    tried = torch.stack([store.cached(trained_within, span, pool, target.train, setting.steps,
                                      lr, setting.seed, kind) for lr in setting.lrs])
    return tried[zoo.accuracy(tried, target.validation, like=pool).argmax()]


# ---- an autoencoder -----------------------------------------------------------------------------
@dataclass(frozen=True)
class VAESetting:
    """The autoencoders that are compared with linear codecs."""

    sizes: Sequence[int] = (8,)             # numbers of the latent
    hidden: Sequence[int] = (512, 256)      # widths of the layers
    epochs: int = 150


def autoencoders(zoos: Zoos, setting: VAESetting, device: str = "auto"
                 ) -> dict[tuple[str, int], codec.Codec]:
    """A VAE by start and size, kept in the store; no size above the rank of the zoo.

    Each is looked at about six times, and is kept as it was when its networks did best on
    validation images of the zoo's data sets.
    """
    how = codec.VAETraining(hidden=list(setting.hidden), epochs=setting.epochs,
                            every=max(1, setting.epochs // 6))
    most = len(zoos.members["shared"]) - 1
    return {(start, size): stored_vae(
                zoos.members[start].weights, size, training=how, seed=zoos.seed, device=device,
                score=partial(_validated, zoos.members[start]))
            for start in zoo.STARTS for size in dict.fromkeys(min(k, most) for k in setting.sizes)}


def _validated(members: zoo.Zoo, weights: Tensor) -> float:
    """Accuracy of networks in the place of a zoo's, on its data sets' validation images."""
    images = [data.validation for data in members.sets]
    return zoo.accuracy(weights, images, like=members.pool).mean().item()


def codecs_compared(zoos: Zoos, vaes: Mapping[tuple[str, int], codec.Codec]) -> pd.DataFrame:
    """Points of networks given back by each autoencoder and by the linear codec of its size:
    columns seed, start, L, codec, seen, unseen."""
    rows = []
    for (start, size), vae in vaes.items():
        own, others = zoos.members[start], zoos.oracles[start]
        for name, made in (("PCA", codec.PCA.fit(own.weights, size)), ("VAE", vae)):
            seen, unseen = (_points(made.reconstruct(some.weights), some.sets, own.pool)
                            for some in (own, others))
            rows.append({"seed": zoos.seed, "start": start, "L": size, "codec": name,
                         "seen": seen, "unseen": unseen})
    return pd.DataFrame(rows)


# ---- the scale of latents -----------------------------------------------------------------------
def latent_scales(weights: Tensor, vae: codec.Codec, seed: int) -> pd.DataFrame:
    """Spread of the widest and the narrowest number of a zoo's latents and the largest value, by
    how they are scaled: columns seed, latent, widest, narrowest, largest."""
    pca = codec.PCA.fit(weights)
    latents = {"PCA, as it is": pca.encode(weights) * pca.scale,
               "VAE, as it is": vae.encode(weights) * vae.scale + vae.center,
               "PCA, one number for the whole zoo": codec.PCA.fit(weights, scale="whole")
               .encode(weights),
               "PCA, each dimension its own": pca.encode(weights)}
    spreads = {name: z.std(0, correction=0) for name, z in latents.items()}
    return pd.DataFrame([{"seed": seed, "latent": name, "widest": sd.max().item(),
                          "narrowest": sd.min().item(), "largest": latents[name].abs().max().item()}
                         for name, sd in spreads.items()])


def batch_scale_error(latents: Tensor, batch: int, rng: torch.Generator, draws: int = 1000
                      ) -> float:
    """How far, in percent, the spread of a first batch of latents (n, L) is from the whole zoo's:
    the bound that 95 of 100 drawn batches keep."""
    ratios = [latents[torch.randperm(len(latents), generator=rng)[:batch]].std() / latents.std()
              for _ in range(draws)]
    return 100 * (torch.stack(ratios) - 1).abs().quantile(0.95).item()


# ---- BatchNorm ----------------------------------------------------------------------------------
def batchnorm_points(sets: Sequence[DataSet], seed: int, epochs: int) -> pd.DataFrame:
    """Points of networks with BatchNorm after a codec that gives their weights back exactly, by
    where their running statistics come from: columns seed, statistics, points."""
    start = train.fit("conv4", sets[0].train, seeds=[seed], epochs=0, width=8, device="cpu")
    pool = Pool.cat([train.stored_fit(start, data.train, seeds=[seed], epochs=epochs, batch=16,
                                      lr=3e-3, device="cpu") for data in sets])
    made, tests = codec.PCA.fit(pool.flat()), [data.test for data in sets]
    z = made.encode(pool.flat())
    anew = Pool.cat([pipeline.networks(made, z[i:i + 1], like=start, images=data.train)
                     for i, data in enumerate(sets)])
    fresh, first = (pipeline.networks(made, z, like=like) for like in (start, pool))
    found = {"trained networks": zoo.accuracy(pool, tests),
             "statistics of a fresh network": zoo.accuracy(fresh, tests),
             "statistics of the first network, others scored": zoo.accuracy(first, tests)[1:],
             "statistics anew from training images": zoo.accuracy(anew, tests)}
    return pd.DataFrame([{"seed": seed, "statistics": name, "points": 100 * v.mean().item()}
                         for name, v in found.items()])
