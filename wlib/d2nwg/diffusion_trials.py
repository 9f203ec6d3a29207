"""Diffusion asked for the data sets of its own zoo: the measurements of notebook 42.

    seen = Seen.trained(0, 16, Counts(30, 10, 10, 20), 150)      # two networks per data set
    generator = seen.learn(31, 3e-3)
    seen.points(seen.sample(generator, 5))                       # (m, 5) on test images

Letters: m data sets, n = 2 m networks, K classes, S images per class, d features, L latent numbers,
D weights, M networks for each data set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from wlib import store
from wlib.core import nets
from wlib.core.pool import Pool
from wlib.d2nwg import backbones, condition, encoders, pipeline, rivals, stored, training, zoo
from wlib.d2nwg.codec import PCA
from wlib.data import universes
from wlib.data.imagesets import ImageSet
from wlib.data.universes import Counts, DataSet

SHOTS, COPIES = 5, 2        # images per class that a sampler sees; networks of each data set


# ---- a zoo whose data sets are asked for --------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Seen:
    """A seed's data sets of the style universe, their networks, and features of support images."""

    seed: int
    members: zoo.Zoo                # COPIES networks per data set
    support: Tensor                 # (m, K, 10, d)
    device: str = "auto"

    @classmethod
    def trained(cls, seed: int, sets: int, counts: Counts, steps: int, device: str = "auto"
                ) -> Seen:
        """Train the networks, all from one start, or read them from the store."""
        made = universes.styles("train", sets, counts=counts, seed=seed)
        members = zoo.trained(made, start="shared", each=COPIES, steps=steps, seed=seed,
                              device=device)
        return cls(seed, members, pipeline.support(made, 10, device=device), device)

    @property
    def shown(self) -> Tensor:
        """What a sampler sees of each data set, (m, K, 5, d)."""
        return self.support[:, :, :SHOTS]

    @property
    def copies(self) -> Tensor:
        """The zoo's weights by data set, (m, COPIES, D)."""
        return self.members.weights.unflatten(0, (-1, COPIES))

    def learn(self, size: int, lr: float, *, steps: int, conditioned: bool = True,
              encoder: nn.Module | str = "components") -> pipeline.Generator:
        """A generator of the zoo's networks: L = `size`, one scale for all numbers of a latent."""
        return pipeline.learn(
            self.members.weights, self.support[self.members.of] if conditioned else None,
            pipeline.Design(size=size, scale="whole", encoder=encoder), _training(steps, lr),
            seed=self.seed, device=self.device)

    def sample(self, generator: pipeline.Generator, count: int, conditions: Tensor | None = None,
               **settings: Any) -> Tensor:
        """Weights (m, count, D) for each data set, or for other conditions (m, K, S, d).

        A generator without conditions gives each data set samples of its own.
        """
        if generator.diffusion.denoiser.condition == 0:
            many = generator.sample(None, len(self.support) * count, seed=self.seed,
                                    device=self.device, **settings)
            return many[0].unflatten(0, (-1, count))
        return generator.sample(self.shown if conditions is None else conditions, count,
                                seed=self.seed, device=self.device, **settings)

    def points(self, weights: Tensor, part: str = "test") -> Tensor:
        """Accuracy in points (m, M) of weights (m, M, D), kept in the store."""
        images = [getattr(data, part) for data in self.members.sets]
        return store.cached(pipeline.points, weights, images,
                            like=self.members.pool[:1].to(self.device))


def _training(steps: int, lr: float) -> training.Training:
    return training.Training(steps=steps, batch=64, lr=lr, shots=SHOTS, width=128)


class Choice(NamedTuple):
    """The generator that does best on validation images, and all that were tried."""

    generator: pipeline.Generator
    size: int
    lr: float
    tried: pd.DataFrame             # size, lr, codec, samples: points on validation images


def choose(seen: Seen, grid: Sequence[tuple[int, float]], count: int, steps: int) -> Choice:
    """Learn with each size of the latent and learning rate, and keep the best."""
    made, rows = [], []
    for size, lr in grid:
        made.append(seen.learn(int(size), lr, steps=steps))
        again = made[-1].reconstruct(seen.copies)
        drawn, kept = (seen.points(weights, "validation").mean().item()
                       for weights in (seen.sample(made[-1], count), again))
        rows.append({"size": int(size), "lr": lr, "codec": kept, "samples": drawn})
    tried = pd.DataFrame(rows)
    best = int(tried["samples"].argmax())
    return Choice(made[best], int(grid[best][0]), grid[best][1], tried)


# ---- rivals -------------------------------------------------------------------------------------
def rival(seen: Seen, generator: pipeline.Generator, kind: rivals.Rival, count: int = 1
          ) -> Tensor:
    """Weights (m, count, D) of a rival that sees the generator's conditions."""
    encode = generator.condition
    ready = kind.fit(encode(seen.support)[seen.members.of], seen.members.weights)
    return ready(encode(seen.shown), count, seen.seed)


def noise_like(seen: Seen, samples: Tensor) -> float:
    """The standard deviation of noise on weights that moves a network as far as half of the
    samples (m, M, D) are, or more, from the nearest network of the zoo."""
    distances = torch.cdist(samples.flatten(0, 1), seen.members.weights).min(1).values
    return distances.median().item() / samples.shape[2] ** 0.5


def kernel_density(seen: Seen, generator: pipeline.Generator, bandwidths: Sequence[float],
                   count: int) -> Tensor:
    """Weights (m, count, D) of the bandwidth that is best on validation images."""
    made = [rival(seen, generator, rivals.LatentKDE(generator.codec, width), count)
            for width in bandwidths]
    return max(made, key=lambda weights: seen.points(weights, "validation").mean().item())


# ---- encoders of data sets ----------------------------------------------------------------------
ENCODERS = ("aligned encoder", "trained with the denoiser", "frozen random encoder",
            "encoder bound to the order")


class Frozen(nn.Module):
    """An encoder as it was drawn, its outputs brought to unit spread over some sets (m, K, S, d).

    Without that, a fresh encoder gives almost the same vector for all sets.
    """

    def __init__(self, encoder: nn.Module, some: Tensor):
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        out = encoder(some)
        self.register_buffer("mean", out.mean(0))
        self.register_buffer("sd", out.std(0, correction=0))

    def forward(self, x: Tensor) -> Tensor:
        return (self.encoder(x) - self.mean) / self.sd


def encoder_of(name: str, seen: Seen, generator: pipeline.Generator, epochs: int) -> nn.Module:
    """One of `ENCODERS` as its denoiser's training begins; `epochs` are those of aligning it with
    the generator's latents."""
    size, d = generator.codec.size, seen.support.shape[3]
    if name == "encoder bound to the order":
        return nets.fresh(lambda: encoders.MLPEncoder(d, seen.support.shape[1], SHOTS, size),
                          seen.seed)
    fresh = nets.fresh(lambda: encoders.SetEncoder(d, size, width=32, inducing=4), seen.seed)
    if name == "frozen random encoder":
        return Frozen(fresh, seen.support)
    if name == "trained with the denoiser":
        return fresh
    return stored.stored_encoder(
        fresh, seen.support[seen.members.of], generator.encode(seen.members.weights),
        encoders.Alignment(epochs=epochs, lr=1e-3), seed=seen.seed, device=seen.device)[0]


# ---- seconds ------------------------------------------------------------------------------------
def clock(device: str) -> float:
    """Seconds of this process, or of the GPU's work."""
    if nets.resolve_device(device).type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def median_seconds(work: Callable[[int], Any], device: str) -> float:
    """The median of three calls, work(0) to work(2)."""
    taken = []
    for k in range(3):
        begin = clock(device)
        work(k)
        taken.append(clock(device) - begin)
    return sorted(taken)[1]


SAMPLERS: dict[str, dict[str, Any]] = {
    f"DDIM, {k} steps": {"method": "ddim", "steps": k} for k in (5, 10, 20, 50)
} | {f"ancestral, {k} steps": {"method": "ancestral", "steps": k} for k in (20, 200)}


def samplers(seen: Seen, generator: pipeline.Generator, count: int) -> pd.DataFrame:
    """Points and time of one network by the kind and number of steps: columns sampler, seed,
    points, ms."""
    rows = []
    for name, settings in SAMPLERS.items():
        taken = store.cached(sampling_seconds, seen, generator, count, settings)
        points = seen.points(seen.sample(generator, count, **settings)).mean().item()
        rows.append({"sampler": name, "seed": seen.seed, "points": points,
                     "ms": 1000 * taken / (len(seen.support) * count)})
    return pd.DataFrame(rows)


def sampling_seconds(seen: Seen, generator: pipeline.Generator, count: int,
                     settings: dict[str, Any]) -> float:
    """Seconds to sample and decode `count` networks for each data set."""
    return median_seconds(lambda k: generator.sample(seen.shown, count, seed=k, device=seen.device,
                                                     **settings), seen.device)


# ---- what a sample costs ------------------------------------------------------------------------
COSTED = {"sampled networks": None, "ridge": rivals.Ridge,
          "nearest network": rivals.Retrieval}


def costs(seen: Seen, choice: Choice, *, zoo_steps: int, denoising: int, many: int) -> pd.DataFrame:
    """Seconds and percent of a training: columns arm, seed, training, before, single, kept, …

    training: of one network; before: of zoo, codec and denoiser; single: from images to one
    network; kept: to `many` samples (one of a rival) and their points on validation images;
    "single, %" and "kept, %" are these in percent of training.
    """
    generator = choice.generator
    one = store.cached(training_seconds, zoo.shared_start(seed=seen.seed),
                            seen.members.sets[0].train, zoo_steps, seen.device)
    codec, ten = store.cached(learning_seconds, seen, generator.diffusion.encoder, choice.size,
                              choice.lr, 10)
    before = len(seen.members) * one + codec + ten * denoising / 10
    every, rows = list(range(len(seen.members.sets))), []
    for arm, kind in COSTED.items():
        count = many if kind is None else 1
        kept = [store.cached(answer_seconds, arm, seen, generator, [k], count, True)
                for k in every[:3]]
        whole = store.cached(answer_seconds, arm, seen, generator, every, 1, False)
        rows.append({"arm": arm, "seed": seen.seed, "training": one, "before": before,
                     "single": whole / len(every), "kept": sum(kept) / len(kept)})
    table = pd.DataFrame(rows)
    return table.assign(**{"single, %": 100 * table["single"] / table["training"],
                           "kept, %": 100 * table["kept"] / table["training"]})


def training_seconds(start: Pool, images: ImageSet, steps: int, device: str) -> float:
    """Seconds to train one network, once."""
    begin = clock(device)
    zoo.descend(start, images, keep=(steps,), device=device)
    return clock(device) - begin


def learning_seconds(seen: Seen, encoder: nn.Module, size: int, lr: float, steps: int
                     ) -> tuple[float, float]:
    """Seconds to fit a codec, and to train a denoiser for so many steps."""
    begin = clock(seen.device)
    z = PCA.fit(seen.members.weights, size, scale="whole").encode(seen.members.weights)
    middle = clock(seen.device)
    training.fit(z, seen.support[seen.members.of], _training(steps, lr), encoder=encoder,
                 device=seen.device)
    return middle - begin, clock(seen.device) - middle


def answer_seconds(arm: str, seen: Seen, generator: pipeline.Generator, places: Sequence[int],
                   count: int, scoring: bool) -> float:
    """Seconds from the images of some data sets to `count` networks for each, and perhaps on to
    their points on validation images."""
    sets, encode = [seen.members.sets[k] for k in places], generator.condition
    backbone = backbones.glyph_backbone(device=seen.device)
    like = seen.members.pool[:1].to(seen.device)
    kind = COSTED[arm]
    ready = kind and kind().fit(encode(seen.support)[seen.members.of], seen.members.weights)

    def answer(k: int) -> None:
        x = _features(sets, backbone, seen.device)
        made = (ready(encode(x), count) if ready
                else generator.sample(x, count, seed=k, device=seen.device))
        if scoring:
            pipeline.points(made, sets, like=like, part="validation")

    return median_seconds(answer, seen.device)


def _features(sets: Sequence[DataSet], backbone: nn.Module, device: str) -> Tensor:
    """Features (m, K, 5, d) of five images per class, computed anew."""
    shots = [data.shots(SHOTS) for data in sets]
    return torch.stack([condition.by_class(
        backbones.glyph_features(some, backbone, device=device), some.labels, SHOTS)
        for some in shots])
