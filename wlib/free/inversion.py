"""What makes images belong to a network, and the steps that make them so.

Letters: T teachers, B images each, C classes of each. An `Objective` says what is wanted of the
images of one teacher; `invert` follows its gradient for several teachers, one after another or all
at once. What moves, pixels or a generator's weights and noise, is the caller's: `generator` and
`rivals` differ in that alone.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from wlib import store
from wlib.check import require, require_one_of, whole
from wlib.core import nets
from wlib.core.batchnorm import keeps_statistics
from wlib.core.pool import ENGINES, Pool
from wlib.data.sets import ImageSet
from wlib.free.teachers import Teachers, stacked
from wlib.seeds import generator

KINDS = ("divergence", "official")
BETAS = (0.5, 0.999)        # of Adam, as in the official code


# ---- losses -----------------------------------------------------------------------------------
def statistics_loss(net: nn.Module, images: Tensor) -> Tensor:
    """How unlike its training data the images (B, C, H, W) are to a network, a scalar ≥ 0.

    The sum over BatchNorm layers of the norm of the difference between the channels' means in this
    batch and the running ones, and of the same for the variances (biased). The network must be in
    evaluation mode. From Yin et al., "Dreaming to distill" (DeepInversion, arXiv 1912.08795).
    """
    _require_statistics("net", net)
    require(not any(m.training for m in net.modules()), "net", "a network in training mode",
            "one in evaluation mode: net.eval()")
    with _watched(net) as gaps:
        net(images)
    return torch.stack(gaps).sum()


@contextlib.contextmanager
def _watched(net: nn.Module) -> Iterator[list[Tensor]]:
    """While this lasts, every forward pass adds each BatchNorm layer's gap to the list."""
    gaps: list[Tensor] = []

    def measure(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        around = [d for d in range(x.ndim) if d != 1]                       # all but the channels
        gaps.append((x.mean(around) - layer.running_mean).norm()
                    + (x.var(around, correction=0) - layer.running_var).norm())

    hooks = [m.register_forward_pre_hook(measure) for m in net.modules() if keeps_statistics(m)]
    try:
        yield gaps
    finally:
        for hook in hooks:
            hook.remove()


def _require_statistics(argument: str, net: nn.Module) -> None:
    require(any(keeps_statistics(m) for m in net.modules()), argument,
            "a network without BatchNorm's running statistics",
            "one that has them, or no statistics loss")


def adversarial_loss(teacher: Tensor, student: Tensor, kind: str = "divergence") -> Tensor:
    """Reward for images on which a student is unlike the teacher, from logits (B, C): a scalar.

    Only images that both name alike count. "divergence" is −KL(teacher ‖ student), as in the
    method's ancestor (FastDFKD, arXiv 2112.06253). "official" is what the paper's code computes:
    KL with probabilities where logarithms belong, −Σ p (log p − q) for student p and teacher q, the
    student held fixed. This is linear in q, and descending it lowers the teacher's confidence in
    what the student believes.
    """
    require_one_of("kind", kind, KINDS)
    alike = (teacher.argmax(1) == student.argmax(1)).to(teacher.dtype)              # (B,)
    if kind == "official":
        p, q = student.detach().softmax(1), teacher.softmax(1)
        return -(alike * (torch.xlogy(p, p) - p * q).sum(1)).mean()
    log_q, log_p = teacher.log_softmax(1), student.log_softmax(1)
    return -(alike * (log_q.exp() * (log_q - log_p)).sum(1)).mean()


def variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighboring pixels, down plus across: a scalar ≥ 0."""
    return images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()


# ---- augmentation -----------------------------------------------------------------------------
def shifted(images: Tensor, offsets: Tensor, pad: int, flips: Tensor | None = None) -> Tensor:
    """Each image (B, C, H, W) framed by `pad` black pixels and cut out at its offset (B, 2) from
    the upper left corner, 0 … 2·pad; where `flips` (B,) says so, mirrored first. Differentiable."""
    height, width = images.shape[-2:]
    if flips is not None:
        images = torch.where(flips[:, None, None, None], images.flip(-1), images)
    framed = F.pad(images, (pad,) * 4)
    rows = offsets[:, 0, None] + torch.arange(height, device=images.device)         # (B, H)
    columns = offsets[:, 1, None] + torch.arange(width, device=images.device)       # (B, W)
    cut = torch.take_along_dim(framed, rows[:, None, :, None], dim=2)
    return torch.take_along_dim(cut, columns[:, None, None, :], dim=3)


class Crops(NamedTuple):
    """Where a teacher's images are cut out in every step, and which are mirrored."""

    offsets: Tensor                 # (steps, B, 2) int64
    flips: Tensor                   # (steps, B) bool


def crops(steps: int, count: int, pad: int, *path: int) -> Crops:
    """Crops for `count` images; those of step t depend on the path of seeds and on t alone."""
    rngs = [generator(*path, t) for t in range(steps)]
    offsets = [torch.randint(2 * pad + 1, (count, 2), generator=rng) for rng in rngs]
    flips = [torch.rand(count, generator=rng) < 0.5 for rng in rngs]
    if not rngs:
        return Crops(torch.zeros(0, count, 2, dtype=torch.int64), torch.zeros(0, count).bool())
    return Crops(torch.stack(offsets), torch.stack(flips))


# ---- what is wanted of the images -------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Objective:
    """Weights of the losses on a teacher's images, and how the images are jittered before them.

    `cross_entropy`: the teacher names the wanted class. `statistics`: see `statistics_loss`; wants
    a look into the teacher. `adversarial`: see `adversarial_loss`; wants a `student`, any network
    that gives as many logits. `variation`: on the images as they are. Crops with `pad` pixels of
    frame are drawn for each image and step; `flip` mirrors half of them, which glyphs do not bear.
    """

    cross_entropy: float = 1.0
    statistics: float = 0.0
    adversarial: float = 0.0
    variation: float = 0.0
    kind: str = "divergence"
    student: nn.Module | None = None
    pad: int = 4
    flip: bool = False

    def __post_init__(self) -> None:
        for name in ("cross_entropy", "statistics", "adversarial", "variation"):
            _number(name, getattr(self, name))
        require_one_of("kind", self.kind, KINDS)
        require(isinstance(self.pad, int) and self.pad >= 0, "pad", self.pad, "pixels, at least 0")
        require(isinstance(self.flip, bool), "flip", self.flip, "True or False")
        require(self.student is None or isinstance(self.student, nn.Module), "student",
                self.student, "an nn.Module")
        require(self.adversarial == 0 or self.student is not None, "student", self.student,
                "a network to be unlike, as adversarial is not 0")

    def ready(self, teachers: Teachers) -> Objective:
        """With a frozen student where the teachers are; refuses teachers that lack what the losses
        look at."""
        for t in teachers.members if self.statistics else ():
            _require_statistics(f"teacher {t.number}", t.net)
        if self.student is None:
            return self
        student = copy.deepcopy(self.student).requires_grad_(False)
        return replace(self, student=student.to(teachers.device))

    def __call__(self, net: nn.Module, state: dict[str, Tensor], images: Tensor, targets: Tensor,
                 offsets: Tensor, flips: Tensor) -> Tensor:
        """The loss of one teacher's images (B, C, H, W) with targets (B,): a scalar.

        `state` holds weights to use in place of the network's own, or none.
        """
        seen = shifted(images, offsets, self.pad, flips if self.flip else None)
        watching: contextlib.AbstractContextManager[list[Tensor]] = (
            _watched(net) if self.statistics else contextlib.nullcontext([]))
        with watching as gaps:
            logits = functional_call(net, state, (seen,))
        loss = self.cross_entropy * F.cross_entropy(logits, targets)
        if self.statistics:
            loss = loss + self.statistics * torch.stack(gaps).sum()
        if self.adversarial and self.student is not None:
            loss = loss + self.adversarial * adversarial_loss(logits, self.student(seen), self.kind)
        if self.variation:
            loss = loss + self.variation * variation(images)
        return loss

    def digest(self) -> str:
        """What tells it from another objective, as JSON."""
        return json.dumps({f.name: store.describe(getattr(self, f.name)) for f in fields(self)})


def _number(name: str, value: Any) -> None:
    require(isinstance(value, (int, float)) and not isinstance(value, bool)
            and 0 <= value < math.inf, name, value, "a number ≥ 0")


# ---- inversion --------------------------------------------------------------------------------
Variables = dict[str, Tensor]


@dataclass(frozen=True)
class Recovery:
    """How images are recovered from each teacher.

    steps: of Adam on what makes the images, with
    lr: as learning rate, and
    noise_lr: as that of a generator's noise; None: the same.
    per_class: images of each class of a teacher.
    objective: what the steps descend.
    engine: "loop" takes one teacher after another, "vmap" up to
    at_once: of equal architecture together; the results agree up to rounding. "auto" is vmap on
        CUDA, else loop, which is faster there.
    """

    steps: int = 5
    lr: float = 1e-3
    noise_lr: float | None = None
    per_class: int = 12
    objective: Objective = Objective()
    engine: str = "auto"
    at_once: int = 25

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("per_class", 1), ("at_once", 1)):
            require(whole(getattr(self, name), least), name, getattr(self, name),
                    f"a whole number ≥ {least}")
        _number("lr", self.lr)
        _number("noise_lr", self.lr_of("noise"))
        require(isinstance(self.objective, Objective), "objective", self.objective, "an Objective")
        require_one_of("engine", self.engine, ENGINES)

    def lr_of(self, variable: str) -> float:
        """The learning rate of a variable: the noise may have one of its own."""
        return self.lr if variable != "noise" or self.noise_lr is None else self.noise_lr

    def ready(self, teachers: Teachers) -> Recovery:
        """With an objective that suits the teachers, see `Objective.ready`."""
        return replace(self, objective=self.objective.ready(teachers))


class Start(NamedTuple):
    """Where the inversion of one teacher begins."""

    place: int                      # of the teacher in its pool
    variables: Variables            # what moves
    crops: Crops                    # of every step


class Inverted(NamedTuple):
    """Where the inversion of one teacher led."""

    images: dict[int, Tensor]       # floats (B, C, H, W) after so many steps
    gradients: Variables            # of the last step's loss, at the variables before that step


def invert(teachers: Teachers, starts: Sequence[Start], imagine: Callable[[Variables], Tensor],
           settings: Recovery, keep: Sequence[int] = ()) -> list[Inverted]:
    """Steps of Adam on the objective from each start; some may be of one teacher.

    `imagine` makes images (B, C, H, W) of variables. Images after the numbers of steps in `keep`
    are returned. The settings are `ready`.
    """
    starts = [s._replace(crops=Crops(*(t.to(teachers.device) for t in s.crops))) for s in starts]
    targets = interleaved(teachers.ways, settings.per_class).to(teachers.device)
    if resolved(settings.engine, teachers.device) == "loop":
        return [_descended(s.variables, imagine, _single(teachers, s, settings, targets), settings,
                           keep) for s in starts]
    found: dict[int, Inverted] = {}
    for members, pool in stacked(teachers):
        slots = [slot for slot, s in enumerate(starts) if s.place in members]
        for part in (slots[a:a + settings.at_once]
                     for a in range(0, len(slots), settings.at_once)):
            some = [starts[slot] for slot in part]
            chosen = pool[[members.index(s.place) for s in some]]
            begin = {k: torch.stack([s.variables[k] for s in some]) for k in some[0].variables}
            together = _descended(begin, vmap(imagine), _several(chosen, some, settings, targets),
                                  settings, keep)
            found |= {slot: _row(together, row) for row, slot in enumerate(part)}
    return [found[slot] for slot in range(len(starts))]


def staged(teachers: Teachers, begin: Sequence[Variables], imagine: Callable[[Variables], Tensor],
           at: Sequence[int], settings: Recovery, seed: int) -> dict[int, ImageSet]:
    """All teachers' images (see `as_set`) after each number of steps in `at` (not the settings'),
    in one run.

    `begin` holds where each teacher's variables start; crops depend on its number and on `seed`.
    """
    require(len(at) > 0 and all(whole(k, 0) for k in at), "steps", at, "whole numbers ≥ 0")
    how = replace(settings, steps=max(at)).ready(teachers)
    count, pad = teachers.ways * how.per_class, how.objective.pad
    starts = [Start(place, variables, crops(how.steps, count, pad, seed, 1, t.number))
              for place, (variables, t) in enumerate(zip(begin, teachers.members, strict=True))]
    found = invert(teachers, starts, imagine, how, keep=at)
    return {k: as_set(teachers, [inverted.images[k] for inverted in found]) for k in at}


def resolved(engine: str, device: torch.device) -> str:
    """The engine that "auto" stands for on a device."""
    if engine != "auto":
        return engine
    return "vmap" if nets.stacked(device) else "loop"


Loss = Callable[[Tensor, int], Tensor]      # of images (B, C, H, W), or of T teachers', at a step


def _descended(start: Variables, imagine: Callable[[Variables], Tensor], loss: Loss,
               settings: Recovery, keep: Sequence[int]) -> Inverted:
    """Adam from `start`, in place on a copy; the loss is a scalar, a sum over teachers."""
    moving = {k: v.detach().clone().requires_grad_() for k, v in start.items()}
    groups: dict[float, list[Tensor]] = {}
    for name, variable in moving.items():
        groups.setdefault(settings.lr_of(name), []).append(variable)
    adam = torch.optim.Adam([{"params": own, "lr": lr} for lr, own in groups.items()], betas=BETAS,
                            fused=True)
    kept = {}
    for t in range(settings.steps):
        images = imagine(moving)
        if t in keep:
            kept[t] = images.detach()
        adam.zero_grad()
        loss(images, t).backward()
        adam.step()
    if settings.steps in keep:
        with torch.no_grad():
            kept[settings.steps] = imagine(moving)
    return Inverted(kept, {k: v.grad for k, v in moving.items() if v.grad is not None})


def _single(teachers: Teachers, start: Start, settings: Recovery, targets: Tensor) -> Loss:
    net, (offsets, flips) = teachers.members[start.place].net, start.crops
    return lambda images, t: settings.objective(net, {}, images, targets, offsets[t], flips[t])


def _several(pool: Pool, starts: Sequence[Start], settings: Recovery, targets: Tensor) -> Loss:
    state = pool.parameters | pool.buffers
    offsets = torch.stack([s.crops.offsets for s in starts])                # (T, steps, B, 2)
    flips = torch.stack([s.crops.flips for s in starts])

    def of_each(state: Variables, images: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
        return settings.objective(pool.template, state, images, targets, offsets, flips)

    # The sum keeps teachers apart: each one's gradient depends on its own loss alone.
    return lambda images, t: vmap(of_each)(state, images, offsets[:, t], flips[:, t]).sum()


def _row(together: Inverted, row: int) -> Inverted:
    return Inverted({t: x[row] for t, x in together.images.items()},
                    {k: g[row] for k, g in together.gradients.items()})


# ---- images as data ---------------------------------------------------------------------------
def interleaved(ways: int, per_class: int) -> Tensor:
    """Targets 0, 1, … C−1, 0, 1, … of a teacher's images, (C·per_class,) as in the official code.
    """
    require(whole(per_class), "per_class", per_class, "a whole number ≥ 1")
    return torch.arange(ways).repeat(per_class)


def as_bytes(images: Tensor) -> Tensor:
    """Floats in [0, 1] rounded to 8 bits."""
    finite = bool(torch.isfinite(images).all())
    require(finite and 0 <= float(images.min()) and float(images.max()) <= 1, "images",
            f"values from {float(images.min()):.3g} to {float(images.max()):.3g}" if finite
            else "NaN or infinity", "numbers in [0, 1]; a smaller learning rate may help")
    return (images * 255).round().byte()


def as_set(teachers: Teachers, images: Sequence[Tensor]) -> ImageSet:
    """Each teacher's floats (B, C, H, W), in order, as one set whose classes are all names.

    The images have the targets of `interleaved`; target j of a teacher becomes the class that its
    output j means.
    """
    targets = interleaved(teachers.ways, len(images[0]) // teachers.ways)
    labels = teachers.ids[:, targets].flatten()                                     # (N·B,)
    return ImageSet(torch.cat([as_bytes(x).cpu() for x in images]), labels, teachers.names)
