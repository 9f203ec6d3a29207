"""FREE's fast recovery: one generator, meta-learned over teachers, that adapts to any in few steps.

After Wei et al., "FREE: Faster and Better Data-Free Meta-Learning" (arXiv 2405.00984), and its
official code, where we could not read the text. N teachers (`teachers`) know C classes each;
their images are gone. `recover` goes from the generator's weights φ and from noise z, in a few
steps of Adam on both, to images that the teacher takes for its classes (`inversion` has the
losses). `fit_generator` moves φ to where so few steps are enough.

    start, five = generator_for(teachers, seed=0), Recovery(steps=5)
    ready = stored_fit_generator(teachers[:15], start, MetaTraining(five), epochs=100).generator
    images = recover(teachers, ready, five)                        # an ImageSet, N·B images

What differs from the official code, and why: images are taken after the last step, not before it;
all teachers' images are kept, not the last one's; Adam's moments of φ live on between epochs.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from wlib import seeds, store
from wlib.check import require, whole
from wlib.core import nets
from wlib.data.sets import ImageSet
from wlib.free import inversion
from wlib.free.inversion import Recovery, Start, Variables
from wlib.free.state import Moments, adam_at, moments_of
from wlib.free.teachers import Teachers


class MetaGenerator(nn.Module):
    """Noise (B, nz) to images (B, channels, size, size) in (0, 1): a map of 2·ngf channels at a
    quarter of the size, doubled twice. BatchNorm takes each batch's own statistics always.

    The paper's has nz=256, ngf=64; `size` (pixels) is a multiple of 4: 28, 32, 84.
    """

    def __init__(self, channels: int = 1, size: int = 28, nz: int = 64, ngf: int = 16):
        super().__init__()
        for name, value in (("size", size), ("nz", nz), ("ngf", ngf)):
            require(whole(value), name, value, "a whole number ≥ 1")
        require(channels in (1, 3), "channels", channels, "1 or 3")
        require(size % 4 == 0, "size", size, "a multiple of 4")
        self.shape, self.nz = (channels, size, size), nz
        self.start = (size // 4, size // 4, 2 * ngf)
        self.spread = nn.Linear(nz, 2 * ngf * (size // 4) ** 2)
        self.layers = nn.Sequential(
            _norm(2 * ngf), nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * ngf, 2 * ngf, 3, padding=1, bias=False), _norm(2 * ngf),
            nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * ngf, ngf, 3, padding=1, bias=False), _norm(ngf), nn.LeakyReLU(0.2),
            nn.Conv2d(ngf, channels, 3, padding=1), nn.Sigmoid())

    def forward(self, z: Tensor) -> Tensor:
        # Channels last, a permutation of the layer's fresh outputs: a third faster on a CPU.
        return self.layers(self.spread(z).unflatten(1, self.start).permute(0, 3, 1, 2))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)


def generator_for(teachers: Teachers, seed: int = 0, *, nz: int = 64, ngf: int = 16
                  ) -> MetaGenerator:
    """A fresh generator of images in the teachers' shape; its weights depend on `seed` alone."""
    channels, size, width = teachers.shape
    require(size == width, "teachers", f"images of {size}×{width} pixels", "square ones")
    made = nets.fresh(lambda: MetaGenerator(channels, size, nz, ngf), seed)
    return cast(MetaGenerator, made)


# ---- recovery ---------------------------------------------------------------------------------
def recover(teachers: Teachers, generator: MetaGenerator | Sequence[MetaGenerator],
            settings: Recovery | None = None, *, seed: int = 0, device: str = "auto") -> ImageSet:
    """Images of each class of each teacher, after a few steps from the generator.

    Images (N·C·per_class, …) come teacher by teacher, the classes of each in turn; labels are
    places in `teachers.names`. A list gives each teacher a generator to start from. A teacher's
    images depend on its number and on `seed`, not on the teachers beside it.
    """
    how = settings or Recovery()
    return stages(teachers, generator, (how.steps,), how, seed=seed, device=device)[how.steps]


def stages(teachers: Teachers, generator: MetaGenerator | Sequence[MetaGenerator],
           at: Sequence[int] = (0, 1, 2, 5, 10, 20), settings: Recovery | None = None, *,
           seed: int = 0, device: str = "auto") -> dict[int, ImageSet]:
    """`recover` after each number of steps in `at` (not the settings'), in one inversion."""
    teachers, how = placed(teachers, device), settings or Recovery()
    several = _one_each(teachers, generator)
    begin = [_with_noise(_weights(g, teachers), teachers.ways * how.per_class, seed, 0, t.number)
             for g, t in zip(several, teachers.members, strict=True)]
    return inversion.staged(teachers, begin, _imagine(several[0]), at, how, seed)


def placed(teachers: Teachers, device: str) -> Teachers:
    """The teachers on the device that the work is to be done on."""
    require(isinstance(teachers, Teachers), "teachers", teachers, "Teachers")
    return teachers.to(device)


def _one_each(teachers: Teachers, generator: MetaGenerator | Sequence[MetaGenerator]
              ) -> list[MetaGenerator]:
    several = [generator] * len(teachers) if isinstance(generator, MetaGenerator) else generator
    require(isinstance(several, (list, tuple)) and len(several) == len(teachers)
            and all(isinstance(g, MetaGenerator) for g in several), "generator", generator,
            f"a MetaGenerator, or a list of {len(teachers)}, one per teacher")
    for g in several:
        require(g.shape == teachers.shape, "generator", f"images of shape {g.shape}",
                f"the teachers' shape {teachers.shape}")
        require(repr(g) == repr(several[0]), "generator", g, "generators of one size")
    return list(several)


def _weights(generator: MetaGenerator, teachers: Teachers) -> Variables:
    return {k: v.detach().to(teachers.device) for k, v in generator.named_parameters()}


def _with_noise(weights: Variables, count: int, *path: int) -> Variables:
    first = weights["spread.weight"]
    noise = torch.randn(count, first.shape[1], generator=seeds.generator(*path))    # (B, nz)
    return weights | {"noise": noise.to(first)}


def _imagine(generator: MetaGenerator) -> Callable[[Variables], Tensor]:
    """Images of weights and noise; of the generator itself only the structure is used."""
    def images(variables: Variables) -> Tensor:
        weights = {k: v for k, v in variables.items() if k != "noise"}
        return functional_call(generator, weights, (variables["noise"],))
    return images


@torch.no_grad()
def judge(teachers: Teachers, images: ImageSet, *, pad: int = 0, seed: int = 0) -> pd.DataFrame:
    """What each teacher says of its own recovered images, a row per teacher: accuracy in [0, 1] and
    cross-entropy in nats, on the 8-bit images, cropped at random out of `pad` pixels of frame."""
    require(len(images) % len(teachers) == 0, "images", f"{len(images)} images",
            f"as many for each of {len(teachers)} teachers")
    count, rows = len(images) // len(teachers), []
    for i, (member, ids) in enumerate(zip(teachers.members, teachers.ids, strict=True)):
        part = images[i * count + torch.arange(count)]
        known = part.labels[:, None] == ids                                         # (B, C)
        require(bool(known.any(1).all()), "images", f"classes that teacher {i} does not know",
                "images in the order of the teachers that they were recovered from")
        targets = known.long().argmax(1)
        where = inversion.crops(1, count, pad, seed, member.number).offsets[0]
        seen = inversion.shifted(part.floats(teachers.device), where.to(teachers.device), pad)
        logits = member.net(seen).double().cpu()
        rows.append({"teacher": member.number, "architecture": member.architecture,
                     "domain": member.domain,
                     "accuracy": float((logits.argmax(1) == targets).double().mean()),
                     "cross-entropy": float(F.cross_entropy(logits, targets))})
    return pd.DataFrame(rows)


# ---- meta-learning the generator --------------------------------------------------------------
@dataclass(frozen=True)
class MetaTraining:
    """How a generator is meta-trained.

    recovery: what is done with each teacher; with one step, this is plain joint training,
        meta-learning's control.
    per_epoch: teachers of an epoch, drawn with replacement.
    lr: learning rate of the generator's weights.
    """

    recovery: Recovery = Recovery()
    per_epoch: int = 4
    lr: float = 1e-3

    def __post_init__(self) -> None:
        require(whole(self.recovery.steps), "steps", self.recovery.steps, "a whole number ≥ 1")
        require(whole(self.per_epoch), "per_epoch", self.per_epoch, "a whole number ≥ 1")
        require(isinstance(self.lr, (int, float)) and 0 < self.lr < math.inf, "lr", self.lr,
                "a positive learning rate")


@dataclass
class TrainState:
    """A generator in training, and all that going on needs."""

    generator: MetaGenerator
    begun: dict[str, Any]                                           # what it was started with
    moments: Moments = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)     # one per inversion

    @property
    def frame(self) -> pd.DataFrame:
        """One row per inversion: epoch, teacher, norm of its meta-gradient."""
        return pd.DataFrame(self.records)

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return self.records[-1]["epoch"] + 1 if self.records else 0

    def state(self) -> dict[str, Any]:
        """What a store can keep."""
        return {"weights": dict(self.generator.named_parameters()), "begun": self.begun,
                "moments": self.moments, "records": self.records}

    @classmethod
    def restored(cls, state: dict[str, Any], generator: MetaGenerator) -> TrainState:
        """The training again, from what `state` gave and the generator that it began with."""
        return cls(with_weights(generator, state["weights"]), state["begun"], state["moments"],
                   state["records"])


def fit_generator(teachers: Teachers, generator: MetaGenerator,
                  settings: MetaTraining | None = None, *, epochs: int, seed: int = 0,
                  device: str = "auto", state: TrainState | None = None) -> TrainState:
    """Meta-learn the generator's weights φ (first-order MAML) from where `generator` is.

    Each epoch inverts a few teachers, from φ and fresh noise. The gradients of their last steps,
    taken at the weights these have reached, are summed and applied to φ by one Adam. Hand the
    result back as `state` (same arguments; `epochs` may grow) to go on: it ends as an unbroken run,
    bit for bit.
    """
    require(whole(epochs, 0), "epochs", epochs, "a whole number ≥ 0")
    teachers, how = placed(teachers, device), settings or MetaTraining()
    _one_each(teachers, [generator] * len(teachers))
    recovery, imagine = how.recovery.ready(teachers), _imagine(generator)
    state = _checked(state, teachers, generator, how, seed)
    phi = {k: v.clone().requires_grad_() for k, v in _weights(state.generator, teachers).items()}
    adam, records = adam_at(phi, how.lr, state.moments, inversion.BETAS), list(state.records)
    for epoch in range(state.epochs, epochs):
        places = torch.randint(len(teachers), (how.per_epoch,),
                               generator=seeds.generator(seed, epoch)).tolist()
        starts = _starts(places, phi, teachers.ways, recovery, seed, epoch)
        found = inversion.invert(teachers, starts, imagine, recovery)
        for name, weight in phi.items():
            weight.grad = torch.stack([f.gradients[name] for f in found]).sum(0)
        adam.step()
        records += [{"epoch": epoch, "teacher": teachers.members[i].number,
                     "gradient": _norm_of(f.gradients)} for i, f in zip(places, found, strict=True)]
    return TrainState(with_weights(generator, phi), state.begun, moments_of(adam, phi), records)


def _checked(state: TrainState | None, teachers: Teachers, generator: MetaGenerator,
             settings: MetaTraining, seed: int) -> TrainState:
    begun = {name: json.dumps(store.describe(value, name)) for name, value in (
        ("teachers", teachers), ("generator", generator), ("settings", settings), ("seed", seed))}
    require(state is None or isinstance(state, TrainState) and state.begun == begun, "state",
            "none of a run with these arguments", "what such a run returned")
    return state or TrainState(generator, begun)


def _starts(places: Sequence[int], phi: Variables, ways: int, settings: Recovery, *path: int
            ) -> list[Start]:
    """Where an epoch's inversions begin: at φ, with noise and crops of their own."""
    weights, count = {k: v.detach() for k, v in phi.items()}, ways * settings.per_class
    return [Start(place, _with_noise(weights, count, *path, 0, slot), inversion.crops(
        settings.steps, count, settings.objective.pad, *path, 1, slot))
            for slot, place in enumerate(places)]


def with_weights(generator: MetaGenerator, weights: Variables) -> MetaGenerator:
    """A copy of the generator, on the CPU, with these weights."""
    copied = copy.deepcopy(generator).cpu()
    copied.load_state_dict({k: v.detach().cpu() for k, v in weights.items()})
    return copied


def _norm_of(gradients: Variables) -> float:
    squares = [g.double().square().sum() for k, g in gradients.items() if k != "noise"]
    return float(torch.stack(squares).sum().sqrt())


# ---- in the store -----------------------------------------------------------------------------
def stored_fit_generator(teachers: Teachers, generator: MetaGenerator,
                         settings: MetaTraining | None = None, *, epochs: int, every: int = 20,
                         seed: int = 0, device: str = "auto") -> TrainState:
    """`fit_generator`, kept in the store after each `every` epochs: a run that was killed goes on
    where it was, and more epochs cost only themselves."""
    kept = store.resume(_advance, teachers, generator, settings or MetaTraining(), seed,
                        str(nets.resolve_device(device)), steps=epochs, every=every)
    return TrainState.restored(kept, generator)


def _advance(teachers: Teachers, generator: MetaGenerator, settings: MetaTraining, seed: int,
             device: str, *, state: dict[str, Any] | None, steps: int) -> dict[str, Any]:
    run = None if state is None else TrainState.restored(state, generator)
    return fit_generator(teachers, generator, settings, epochs=steps, seed=seed, device=device,
                         state=run).state()


def stored(function: Callable[..., ImageSet], *arguments: Any, **settings: Any) -> ImageSet:
    """The images that `recover` or one of its rivals gives, kept in the store."""
    return ImageSet(*store.cached(_parts, function, list(arguments), settings))


def _parts(function: Callable[..., ImageSet], arguments: list[Any], settings: dict[str, Any]
           ) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    images = function(*arguments, **settings)
    return images.images, images.labels, images.classes
