"""FREE's fast recovery: one generator, meta-learned over teachers, that adapts to any in few steps.

After Wei et al., "FREE: Faster and Better Data-Free Meta-Learning" (arXiv 2405.00984), and its
official code, where we could not read the text. N teachers (`teachers`) know C classes each;
their images are gone. `recover` walks from the generator's weights φ and from noise z, a few steps
of Adam on both, to images that the teacher takes for its classes (`inversion` has the losses).
`fit_generator` moves φ to where such walks are short.

    start = generator_for(teachers, seed=0)
    fitted = stored_fit_generator(teachers[:15], start, epochs=100)
    images = recover(teachers, fitted.generator, steps=5)          # an ImageSet, N·B images

What differs from the official code, and why: images are taken after the last step, not before it;
all teachers' images are kept, not the last one's; Adam's moments of φ live on between epochs.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from wlib import seeds, store
from wlib.check import require
from wlib.core import nets
from wlib.data import ImageSet
from wlib.free import inversion
from wlib.free.inversion import Objective, Variables, adversarial_loss, statistics_loss
from wlib.free.teachers import Teachers

__all__ = ["MetaGenerator", "Objective", "Fitted", "generator_for", "recover", "stages", "judge",
           "fit_generator", "stored_fit_generator", "stored", "statistics_loss",
           "adversarial_loss"]


class MetaGenerator(nn.Module):
    """Noise (B, nz) to images (B, channels, size, size) in (0, 1): a map of 2·ngf channels at a
    quarter of the size, doubled twice. BatchNorm takes each batch's own statistics always.

    The paper's has nz=256, ngf=64; `size` (pixels) is a multiple of 4: 28, 32, 84.
    """

    def __init__(self, channels: int = 1, size: int = 28, nz: int = 64, ngf: int = 16):
        super().__init__()
        for name, value in (("size", size), ("nz", nz), ("ngf", ngf)):
            require(isinstance(value, int) and not isinstance(value, bool) and value >= 1, name,
                    value, "a whole number ≥ 1")
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
    return nets.fresh(lambda: MetaGenerator(channels, size, nz, ngf), seed)


# ---- recovery ---------------------------------------------------------------------------------
def recover(teachers: Teachers, generator: MetaGenerator | Sequence[MetaGenerator], *,
            steps: int = 5, rate: float = 1e-3, noise_rate: float | None = None,
            per_class: int = 12, objective: Objective | None = None, seed: int = 0,
            engine: str = "auto", device: str = "auto") -> ImageSet:
    """`per_class` images of each class of each teacher, after `steps` steps from the generator.

    Images (N·C·per_class, …) come teacher by teacher, the classes of each in turn; labels are
    places in `teachers.names`. `rate` moves weights, `noise_rate` (by default the same) the noise;
    a list gives each teacher a generator to start from. A teacher's images depend on its number and
    on `seed`, not on the teachers beside it.
    """
    return stages(teachers, generator, (steps,), rate=rate, noise_rate=noise_rate,
                  per_class=per_class, objective=objective, seed=seed, engine=engine,
                  device=device)[steps]


def stages(teachers: Teachers, generator: MetaGenerator | Sequence[MetaGenerator],
           at: Sequence[int] = (0, 1, 2, 5, 10, 20), *, rate: float = 1e-3,
           noise_rate: float | None = None, per_class: int = 12,
           objective: Objective | None = None, seed: int = 0, engine: str = "auto",
           device: str = "auto") -> dict[int, ImageSet]:
    """`recover` after each number of steps in `at`, in one walk."""
    at = [at] if isinstance(at, int) else list(at)
    require(len(at) > 0 and all(_whole(k, 0) for k in at), "steps", at, "whole numbers ≥ 0")
    teachers = placed(teachers, device)
    objective = checked(teachers, objective, per_class, rate, noise_rate)
    several = _one_each(teachers, generator)
    targets = inversion.interleaved(teachers.ways, per_class)
    count, steps, numbers = len(targets), max(at), [t.number for t in teachers.members]
    starts = [_with_noise(_weights(g, teachers), count, seed, 0, n)
              for g, n in zip(several, numbers, strict=True)]
    jitter = [inversion.crops(steps, count, objective.pad, seed, 1, n) for n in numbers]
    walks = inversion.walks(teachers, range(len(teachers)), starts, _imagine(several[0]),
                            rates=_rates(starts[0], rate, noise_rate), steps=steps, keep=at,
                            targets=targets, jitter=jitter, objective=objective, engine=engine)
    return {k: inversion.collected(teachers, [w.images[k] for w in walks], targets) for k in at}


def placed(teachers: Teachers, device: str) -> Teachers:
    """The teachers on the device that the work is to be done on."""
    require(isinstance(teachers, Teachers), "teachers", teachers, "Teachers")
    return teachers.to(device)


def checked(teachers: Teachers, objective: Objective | None, per_class: int, rate: float,
            noise_rate: float | None = None) -> Objective:
    """The objective (by default cross-entropy alone), ready, after a look at all arguments."""
    require(objective is None or isinstance(objective, Objective), "objective", objective,
            "an Objective")
    require(_whole(per_class, 1), "per_class", per_class, "a whole number ≥ 1")
    for name, value in (("rate", rate), ("noise_rate", rate if noise_rate is None else noise_rate)):
        require(isinstance(value, (int, float)) and 0 <= value < float("inf"), name, value,
                "a learning rate ≥ 0")
    return (objective or Objective()).ready(teachers)


def _one_each(teachers, generator) -> list[MetaGenerator]:
    several = [generator] * len(teachers) if isinstance(generator, MetaGenerator) else generator
    require(isinstance(several, (list, tuple)) and len(several) == len(teachers)
            and all(isinstance(g, MetaGenerator) for g in several), "generator", generator,
            f"a MetaGenerator, or a list of {len(teachers)}, one per teacher")
    for g in several:
        require(g.shape == teachers.shape, "generator", f"images of shape {g.shape}",
                f"the teachers' shape {teachers.shape}")
        require(repr(g) == repr(several[0]), "generator", g, "generators of one size")
    return several


def _weights(generator: MetaGenerator, teachers: Teachers) -> Variables:
    return {k: v.detach().to(teachers.device) for k, v in generator.named_parameters()}


def _with_noise(weights: Variables, count: int, *path: int) -> Variables:
    first = weights["spread.weight"]
    noise = torch.randn(count, first.shape[1], generator=seeds.generator(*path))    # (B, nz)
    return weights | {"noise": noise.to(first)}


def _rates(weights: Variables, rate: float, noise_rate: float | None) -> dict[str, float]:
    return dict.fromkeys(weights, rate) | {"noise": rate if noise_rate is None else noise_rate}


def _imagine(generator: MetaGenerator) -> Callable[[Variables], Tensor]:
    """Images of weights and noise; of the generator itself only the structure is used."""
    def images(variables):
        weights = {k: v for k, v in variables.items() if k != "noise"}
        return functional_call(generator, weights, (variables["noise"],))
    return images


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


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
@dataclass
class Fitted:
    """A generator in training, and all that going on needs."""

    generator: MetaGenerator
    moments: dict[str, dict[str, Tensor]]       # Adam's, of each weight
    settings: dict[str, Any]                    # what the run was started with
    records: list[dict[str, Any]] = field(default_factory=list)     # one a walk

    @property
    def frame(self) -> pd.DataFrame:
        """A row a walk: epoch, teacher, norm of its meta-gradient."""
        return pd.DataFrame(self.records)

    @property
    def epochs(self) -> int:
        return self.records[-1]["epoch"] + 1 if self.records else 0


def fit_generator(teachers: Teachers, generator: MetaGenerator, *, epochs: int,
                  per_epoch: int = 4, steps: int = 5, rate: float = 1e-3,
                  noise_rate: float | None = None, meta_rate: float = 1e-3, per_class: int = 12,
                  objective: Objective | None = None, seed: int = 0, engine: str = "auto",
                  device: str = "auto", history: Fitted | None = None) -> Fitted:
    """Meta-learn the generator's weights φ (first-order MAML) from where `generator` is.

    Each epoch draws `per_epoch` teachers with replacement and walks `steps` steps from φ and fresh
    noise to each. The gradients that the walks meet in their last step, taken at the weights they
    have reached, are summed and applied to φ by one Adam. With `steps=1` that is the gradient at φ:
    plain joint training, meta-learning's control. Hand a history back (same arguments; `epochs`
    may grow) to go on: the result is that of an unbroken run, bit for bit.
    """
    teachers = placed(teachers, device)
    objective = checked(teachers, objective, per_class, rate, noise_rate)
    for name, value, least in (("epochs", epochs, 0), ("per_epoch", per_epoch, 1),
                               ("steps", steps, 1)):
        require(_whole(value, least), name, value, f"a whole number ≥ {least}")
    _one_each(teachers, [generator] * len(teachers))
    require(isinstance(meta_rate, (int, float)) and 0 < meta_rate < float("inf"), "meta_rate",
            meta_rate, "a positive learning rate")
    settings = {"per_epoch": per_epoch, "steps": steps, "rate": rate, "noise_rate": noise_rate,
                "meta_rate": meta_rate, "per_class": per_class, "objective": objective.digest(),
                "seed": seed, "teachers": teachers.digest(),
                "generator": json.dumps(store.describe(generator))}
    require(history is None or isinstance(history, Fitted) and history.settings == settings,
            "history", "none of a run with these arguments", "what such a run returned")
    phi, optimizer = _resume(history.generator if history else generator,
                             history.moments if history else {}, teachers, meta_rate)
    records = list(history.records) if history else []
    for epoch in range(history.epochs if history else 0, epochs):
        places = torch.randint(len(teachers), (per_epoch,),
                               generator=seeds.generator(seed, epoch)).tolist()
        walks = _meta_walks(teachers, places, phi, generator, steps, rate, noise_rate, per_class,
                            objective, engine, (seed, epoch))
        for name, weight in phi.items():
            weight.grad = torch.stack([w.gradients[name] for w in walks]).sum(0)
        optimizer.step()
        records += [{"epoch": epoch, "teacher": teachers.members[i].number,
                     "gradient": _norm_of(w.gradients)} for i, w in zip(places, walks, strict=True)]
    moments = {k: dict(optimizer.state[w]) for k, w in phi.items() if w in optimizer.state}
    return Fitted(with_weights(generator, phi), moments, settings, records)


def _meta_walks(teachers, places, phi, generator, steps, rate, noise_rate, per_class, objective,
                engine, path) -> list[inversion.Walk]:
    targets = inversion.interleaved(teachers.ways, per_class)
    start = {k: v.detach() for k, v in phi.items()}
    slots = range(len(places))
    return inversion.walks(
        teachers, places, [_with_noise(start, len(targets), *path, 0, s) for s in slots],
        _imagine(generator), rates=_rates(start, rate, noise_rate), steps=steps, targets=targets,
        jitter=[inversion.crops(steps, len(targets), objective.pad, *path, 1, s) for s in slots],
        objective=objective, engine=engine)


def _resume(generator, moments, teachers, meta_rate):
    """The weights as leaves, and their Adam with the moments it had."""
    phi = {k: v.clone().requires_grad_() for k, v in _weights(generator, teachers).items()}
    optimizer = torch.optim.Adam(phi.values(), lr=meta_rate, betas=inversion.BETAS)
    for name, state in moments.items():
        # Adam counts its steps on the CPU, wherever the weights are.
        optimizer.state[phi[name]] = {k: v.clone() if k == "step" else v.clone().to(phi[name])
                                      for k, v in state.items()}
    return phi, optimizer


def with_weights(generator: MetaGenerator, weights: Variables) -> MetaGenerator:
    """A copy of the generator, on the CPU, with these weights."""
    copied = copy.deepcopy(generator).cpu()
    copied.load_state_dict({k: v.detach().cpu() for k, v in weights.items()})
    return copied


def _norm_of(gradients: Variables) -> float:
    squares = [g.double().square().sum() for k, g in gradients.items() if k != "noise"]
    return float(torch.stack(squares).sum().sqrt())


# ---- in the store -----------------------------------------------------------------------------
def stored_fit_generator(teachers: Teachers, generator: MetaGenerator, *, epochs: int,
                         piece: int = 20, device: str = "auto", **settings) -> Fitted:
    """`fit_generator`, with every `piece` epochs kept in the store: a run that was killed goes on
    where it was, and more epochs cost only themselves."""
    require(_whole(piece, 1), "piece", piece, "a whole number ≥ 1")
    require(_whole(epochs, 0), "epochs", epochs, "a whole number ≥ 0")
    require("history" not in settings, "history", "one", "none: the store keeps it")
    kind, state = str(nets.resolve_device(device)), None
    for until in [*range(piece, epochs, piece), epochs]:
        state = store.cached(_stored_piece, teachers, generator, until, kind, settings, state)
    return _unpack(state, generator)


def _stored_piece(teachers, generator, until, device, settings, state):
    history = None if state is None else _unpack(state, generator)
    fitted = fit_generator(teachers, generator, epochs=until, device=device, history=history,
                           **settings)
    return {"weights": dict(fitted.generator.named_parameters()), "moments": fitted.moments,
            "settings": fitted.settings, "records": fitted.records}


def _unpack(state, generator) -> Fitted:
    return Fitted(with_weights(generator, state["weights"]), state["moments"], state["settings"],
                  state["records"])


def stored(function: Callable[..., ImageSet], *arguments, **settings) -> ImageSet:
    """The images that `recover` or one of its rivals gives, kept in the store."""
    return ImageSet(*store.cached(_parts, function, list(arguments), settings))


def _parts(function, arguments, settings):
    images = function(*arguments, **settings)
    return images.images, images.labels, images.classes
