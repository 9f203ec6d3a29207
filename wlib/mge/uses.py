"""Uses of generated networks (notebook 13): robustness, defense, few shots, what a spectrum
carries, diversity. `store.cached` keeps what the experiments give.

Letters: N networks, B images, K classes, T tasks, F features, n coefficients of a layer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib.core import score, train
from wlib.core.pool import Pool
from wlib.data import ImageSet
from wlib.data import episodes as tasks
from wlib.mge import evolution, experiments
from wlib.mge.cosine import dct, idct
from wlib.mge.discriminator import discriminate
from wlib.mge.racing import ranked
from wlib.seeds import generator


# ---- children and noise copies ------------------------------------------------------------------
def candidates(arm: str, parent: Pool, draws: int, energy: float, seed: int) -> Pool:
    """"MGE": children of a network; "noise": noise copies as far away and of the same norm."""
    name = {"MGE": "energy", "noise": "noise-norm"}[arm]
    return experiments.rival(name, parent, energy, "network", draws, seed)


def audition(arm: str, parent: Pool, judging: Any, train_set: Any, draws: int, energy: float,
             seed: int) -> pd.DataFrame:
    """The discriminator's table, the best first: accepted before rejected, then by accuracy."""
    pool, some = candidates(arm, parent, draws, energy, seed), min(1000, len(train_set))
    table = discriminate(pool, parent, judging, train=train_set.take(some))
    return table.sort_values(["accepted", "accuracy"], ascending=False, ignore_index=True)


def diverse(pool: Pool, data: Any) -> dict[str, float]:
    """Mean accuracy and mean pairwise diversity of error sets."""
    errors = score.errors(pool, data).cpu()
    return {"accuracy": 1 - errors.double().mean().item(),
            "diversity": evolution.diversity(errors).mean().item()}


# ---- robustness ---------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Hardy(evolution.Fitness):
    """Fitness that rewards accuracy under an attack (FGSM) on the network itself."""

    robust: float = 0.5
    eps: float = 0.1

    def judge(self, pool: Pool) -> evolution.Judged:
        """As `Fitness.judge`, with the accuracy under attack in place of that under noise."""
        stood = [score.attacked_accuracy(network, score.fgsm(network, self.data, self.eps),
                                         self.data.labels) for network in pool]
        return evolution.Fitness(self.data).judge(pool) | {"noise accuracy": torch.cat(stood).cpu()}

    @property
    def passes(self) -> int:
        """Image passes that judging one network takes; a gradient counts as three."""
        return 5 * len(self.data)

    def digest(self) -> str:
        return f"{super().digest()} {self.eps}"


def evolved(parent: Pool, fitness: evolution.Fitness, mutate: Callable[[Pool, int], Pool],
            generations: int, settings: evolution.Evolution, seed: int) -> dict[str, Any]:
    """Weights of the network of the best quality that an evolution ends with (of equals the one of
    the smaller loss), the image passes paid and the seconds they took."""
    start = time.perf_counter()
    population, state = evolution.evolve(parent, fitness, mutate, generations, settings,
                                         generator=seed)
    best = ranked(fitness.quality(state.judged), state.judged)[0]
    return {"weights": population[int(best)].flat(), "seconds": time.perf_counter() - start,
            "passes": int(state.frame["image passes"].iloc[-1])}


def noise_trained(parent: Pool, train_set: Any, rounds: int, device: str, seed: int
                  ) -> dict[str, Any]:
    """A network after so many epochs more on noisy images (spread 0.3), each with noise of its own:
    weights and seconds."""
    start, x = time.perf_counter(), train_set.floats()
    noisy = [(x + 0.3 * torch.randn(x.shape, generator=generator(seed, r))).clamp(0, 1)
             for r in range(rounds)]
    copies = ImageSet((255 * torch.cat(noisy)).round().byte(), train_set.labels.repeat(rounds),
                      train_set.classes)
    trained = train.fit(parent, copies, seeds=[seed], epochs=1, device=device)
    return {"weights": trained.flat(), "seconds": time.perf_counter() - start}


def worse(kind: str, x: Tensor, seed: int) -> Tensor:
    """Images (B, C, H, W) in [0, 1] made worse: "noise SD", "blur", "faint", "shifted", "covered".
    """
    if kind.startswith("noise"):
        noise = torch.randn(x.shape, generator=generator(seed))
        return (x + float(kind.split()[1]) * noise).clamp(0, 1)
    if kind == "blur":
        return F.avg_pool2d(x, 3, stride=1, padding=1)
    if kind == "faint":
        return 0.3 * x
    if kind == "shifted":
        return x.roll(3, -1)
    x = x.clone()
    x[..., 10:18, 10:18] = 0
    return x


def hardship(pool: Pool, data: Any, seed: int) -> dict[str, Tensor]:
    """Accuracy (N,) under twelve kinds of trouble; attacks are on each network itself."""
    right = {"unchanged": score.accuracy(pool, data)}
    for kind in ("noise 0.1", "noise 0.2", "noise 0.3", "blur", "faint", "shifted", "covered"):
        right[kind] = score.attacked_accuracy(pool, worse(kind, data.floats(), seed), data.labels)
    for eps in (0.05, 0.1, 0.2):
        attacked = score.fgsm(pool, data, eps)
        right[f"FGSM {eps:g}"] = score.attacked_accuracy(pool, attacked, data.labels)
    half = data[: max(1, len(data) // 2)]
    attacked = score.pgd(pool, half, 0.1, seed=seed)
    right["PGD 0.1"] = score.attacked_accuracy(pool, attacked, half.labels)
    return {kind: accuracy.cpu() for kind, accuracy in right.items()}


def withstood(pool: Pool, data: Any, eps: float) -> Tensor:
    """Which images each network gets right under an attack on itself, in points: (N, B)."""
    said = [network.logits(score.fgsm(network, data, eps), own=True).argmax(-1).cpu()
            for network in pool]
    return 100.0 * (torch.cat(said) == data.labels)


# ---- defense by a vote --------------------------------------------------------------------------
def vote(pool: Pool, images: Any) -> Tensor:
    """The class that most networks name for each image, (B,); ties go to the mean probability."""
    p = pool.logits(images).softmax(-1)                                  # (N, B, K)
    counts = F.one_hot(p.argmax(-1), p.shape[-1]).sum(0)                 # (B, K)
    return (counts + p.mean(0)).argmax(-1)


class Average(nn.Module):
    """Networks as one: the logarithm of their mean probability, (B, K)."""

    def __init__(self, pool: Pool):
        super().__init__()
        self.members = nn.ModuleList(pool.network(i) for i in range(len(pool)))

    def forward(self, x: Tensor) -> Tensor:
        every = torch.stack([member(x).log_softmax(-1) for member in self.members])
        return every.logsumexp(0) - np.log(len(every))


def adaptive(pool: Pool, data: Any, eps: float) -> Tensor:
    """Images (B, C, H, W) attacked through the averaged vote of a pool."""
    return score.fgsm(Pool.stack([Average(pool)]), data, eps)[0]


def defended(parent: Pool, voters: Mapping[str, Pool], data: Any, steps: Sequence[float],
             known: float | None = None) -> dict[str, Tensor]:
    """Which images each vote gets right under attacks of these steps on the parent, in points, by
    "voters, attack": (B,). With `known` also under PGD, and under attack on the vote itself, both
    of this step."""
    attacks = {"unchanged": data.floats()}
    attacks |= {f"FGSM {eps:g}": score.fgsm(parent, data, eps)[0] for eps in steps}
    if known is not None:
        attacks["PGD"] = score.pgd(parent, data, known)[0]
    right = {}
    for name, pool in ({"seed network": parent} | dict(voters)).items():
        own = {} if known is None else {"adaptive": adaptive(pool, data, known)}
        for attack, images in (attacks | own).items():
            right[f"{name}, {attack}"] = 100.0 * (vote(pool, images).cpu() == data.labels)
    return right


# ---- few shots ----------------------------------------------------------------------------------
def body(network: nn.Sequential, images: Any) -> Tensor:
    """Features (B, F) float64: what the last layer gets to see."""
    device = next(network.parameters()).device
    with torch.no_grad():
        return network[:-1](images.floats(device)).double()


def refitted(X: Tensor, Y: Tensor, Q: Tensor, penalty: float) -> Tensor:
    """Outputs (T, queries, K) of last layers fitted by ridge regression on supports X (T, S, F) and
    centered labels Y (T, S, K): the dual form, S by S in place of F by F."""
    center = X.mean(1, keepdim=True)
    X, Q = X - center, Q - center
    G = X @ X.transpose(1, 2)                                            # (T, S, S)
    scale = G.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    eye = torch.eye(G.shape[1]).to(G)
    return Q @ X.transpose(1, 2) @ torch.linalg.solve(G + penalty * scale * eye, Y)


def nearest_mean(X: Tensor, Y: Tensor, Q: Tensor) -> Tensor:
    """The rival of `refitted`: minus the distance to each class mean."""
    member = (Y > 0).double()
    return -torch.cdist(Q, member.transpose(1, 2) @ X / member.sum(1)[:, :, None])


def few_shot(network: nn.Sequential, images: Any, ways: int, count: int, seed: int,
             penalties: Sequence[float]) -> dict[str, Tensor]:
    """Accuracy in points of every five-shot task, {head: (T,)}: for each penalty the head refitted
    with it, and "class means"."""
    chosen = list(tasks(images, ways=ways, shots=5, queries=10, count=count, seed=seed))
    X, Q = (torch.stack([body(network, getattr(task, part)) for task in chosen])
            for part in ("support", "query"))
    Y = F.one_hot(chosen[0].support.labels, ways).double().to(X).expand(count, -1, -1) - 1 / ways
    truth = chosen[0].query.labels.to(X.device)
    heads = {f"{p:g}": refitted(X, Y, Q, p) for p in penalties}
    heads["class means"] = nearest_mean(X, Y, Q)
    return {head: 100 * (said.argmax(-1) == truth).double().mean(1).cpu()
            for head, said in heads.items()}


# ---- what carries the function ------------------------------------------------------------------
BANDS = 8


def without(pool: Pool, name: str, gone: Tensor) -> Pool:
    """Networks whose tensor `name` lacks coefficients: a copy for each row of `gone` (bands, n)."""
    span = pool.segments()[name]
    rows = pool.flat().double().repeat(len(gone), 1)                     # (bands, P)
    c = dct(rows[:, span])
    rows[:, span] = idct(torch.where(gone.to(c.device), 0.0, c))
    return pool.with_flat(rows.to(pool.dtype))


def eighths(n: int) -> Tensor:
    """Which of `BANDS` equal bands each frequency belongs to, 0 the lowest: (n,)."""
    return torch.arange(n) * BANDS // n


def as_much(power: Tensor, fraction: float, rng: torch.Generator) -> Tensor:
    """Random coefficients that hold a fraction of the energy, as near as may be: (n,) bool."""
    order = torch.randperm(len(power), generator=rng)
    count = int((power[order].cumsum(0) / power.sum() - fraction).abs().argmin()) + 1
    return torch.zeros(len(power), dtype=torch.bool).index_fill(0, order[:count], True)


def carried(parent: Pool, data: Any, seed: int) -> pd.DataFrame:
    """Points lost without each eighth of a layer's spectrum, and without as much energy at random:
    one row per tensor and band."""
    whole, rows = score.accuracy(parent, data).item(), []
    for number, (name, tensor) in enumerate(parent.parameters.items()):
        if tensor.ndim <= 2:
            continue
        power = dct(tensor[0].flatten().double()).square().cpu()         # (n,)
        bands = [eighths(len(power)) == band for band in range(BANDS)]
        held = [(power[band].sum() / power.sum()).item() for band in bands]
        mixed = [as_much(power, held[k], generator(seed, number, k)) for k in range(BANDS)]
        gone = torch.stack(bands + mixed)                                # (16, n)
        cost = 100 * (whole - score.accuracy(without(parent, name, gone), data)).cpu()
        rows += [{"tensor": name.removesuffix(".weight"), "band": k + 1, "energy": held[k],
                  "band removed": cost[k].item(),
                  "random, as much energy": cost[BANDS + k].item()} for k in range(BANDS)]
    return pd.DataFrame(rows)


def saliency(pool: Pool, data: Any) -> Tensor:
    """|gradient of the true class's logit by the image|: (N, B, H·W)."""
    x = data.floats(pool.device).requires_grad_()
    truth, maps = data.labels.to(pool.device), []
    for i in range(len(pool)):
        logits = pool.network(i)(x).gather(1, truth[:, None])
        maps.append(torch.autograd.grad(logits.sum(), x)[0].abs().sum(1).flatten(1))
    return torch.stack(maps).cpu()


def alike(maps: Tensor) -> float:
    """Correlation of saliency maps (N, B, H·W), mean over images and over pairs of networks."""
    z = maps - maps.mean(-1, keepdim=True)
    z = z / z.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    pairs = combinations(range(len(z)), 2)
    return float(np.mean([(z[a] * z[b]).sum(-1).mean().item() for a, b in pairs]))


def agreements(parent: Pool, groups: Mapping[str, Pool], data: Any) -> pd.DataFrame:
    """How alike the maps are within each group of networks, and of the parent and the first network
    of the first group, its child: columns `pair` and `alike`."""
    child = next(iter(groups.values()))[0]
    pools = dict(groups) | {"seed network and child": Pool.cat([parent, child])}
    return pd.DataFrame([{"pair": name, "alike": alike(saliency(pool, data))}
                         for name, pool in pools.items()])
