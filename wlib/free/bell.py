"""BELL: learn from many networks so that their gradients agree (FREE, Wei et al., 2405.00984).

A learner imitates the networks of a pool on images recovered from each. Networks that differ pull
it in different directions. BELL lets a copy of the learner walk through some of the networks, one
after another, and moves the learner toward the end of the walk. To second order the walk does more
than each step does (`gradient_alignment` says what): it also climbs the inner products of the
gradients.

    tasks = [(images, teacher) for images, teacher in zip(recovered, teachers)]
    learner = bell.imitate(learner, tasks, Imitation(order="sequential"), steps=80)
    bell.cosines(learner, tasks)

A *task* is a pair: images (an `ImageSet` or floats (B,C,H,W)), and the teacher's logits (B,K) for
them or the teacher itself. Letters: T tasks, B images, K outputs, α the learning rate of the walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from wlib import seeds
from wlib.check import require, require_one_of, whole
from wlib.core.pool import Pool
from wlib.free.learner import Weights, body, require_one, weights, with_weights

KINDS = ("kl", "official")
ORDERS = ("sequential", "joint", "fixed")
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


# ---- imitation ----------------------------------------------------------------------------------
def kd_loss(student_logits: Tensor, teacher_logits: Tensor, kind: str = "kl") -> Tensor:
    """How far a student is from its teacher, both (B,K): a scalar (nats).

    "kl": the divergence Σ_c p_t (log p_t − log p_s), mean over the images.
    "official": what the released code computes, (1/BK) Σ p_t (log p_t − p_s). It hands
    probabilities to torch's `kl_div`, which wants their logarithms. Linear in p_s, it may be
    negative, and is least at the one-hot answer argmax p_t: hard labels, no distillation.
    """
    require_one_of("kind", kind, KINDS)
    for argument, value in (("student_logits", student_logits), ("teacher_logits", teacher_logits)):
        require(isinstance(value, Tensor) and value.ndim == 2 and value.numel() > 0, argument,
                value, "logits (B,K)")
    require(student_logits.shape == teacher_logits.shape, "teacher_logits", teacher_logits,
            f"the student's shape {tuple(student_logits.shape)}")
    log_t = teacher_logits.log_softmax(1)
    if kind == "kl":
        return F.kl_div(student_logits.log_softmax(1), log_t, log_target=True,
                        reduction="batchmean")
    return (log_t.exp() * (log_t - student_logits.softmax(1))).mean()


class Task(NamedTuple):
    """Images as floats (B,C,H,W) and what the teacher says of them, (B,K)."""

    images: Tensor
    logits: Tensor


def prepare(learner: Pool, tasks: Sequence[Any], device: str | torch.device = "auto"
            ) -> list[Task]:
    """Tasks as floats and logits on a device, each checked to suit the learner."""
    require_one(learner)
    tasks = list(tasks)
    require(len(tasks) > 0, "tasks", tasks, "at least one pair (images, teacher's logits)")
    return [_prepared(f"tasks[{i}]", task, learner.to(device)) for i, task in enumerate(tasks)]


def _prepared(name: str, task: Any, learner: Pool) -> Task:
    require(isinstance(task, tuple) and len(task) == 2, name, task,
            "a pair (images, teacher's logits or teacher)")
    images, teacher = task
    x = images.floats() if hasattr(images, "floats") else images
    require(isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 4 and len(x) > 0,
            f"{name}: images", images, "an ImageSet or floats (B,C,H,W)")
    x = x.to(device=learner.device, dtype=learner.dtype)
    if isinstance(teacher, nn.Module):
        teacher = Pool.stack([teacher])
    if isinstance(teacher, Pool):
        require(len(teacher) == 1, f"{name}: teacher", teacher, "a Pool of one network")
        teacher = teacher.to(learner.device).logits(x)[0]
    outputs = learner.logits(x[:1]).shape[-1]
    require(isinstance(teacher, Tensor) and teacher.shape == (len(x), outputs)
            and teacher.is_floating_point(), f"{name}: logits", teacher,
            f"shape ({len(x)}, {outputs}): a row per image, the learner's {outputs} outputs")
    return Task(x, teacher.detach().to(x))


# ---- the walk -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Imitation:
    """How a learner walks through teachers; the defaults are the paper's.

    at_once: different tasks in a meta step.
    order: "sequential": each task's gradient is taken where the copy is by then, tasks in the order
        in which they were drawn. "fixed": the same, but always in the order of the tasks. "joint",
        the control: all gradients are taken at the beginning; tasks, number and size of updates are
        the same, and only what comes of walking is gone.
    inner, inner_lr: optimizer and learning rate of the copy, started anew in each meta step.
    outer, outer_lr: those of the learner; with "sgd" and 1 it goes where the copy went.
    scale: factor of the outer gradient; under Adam it changes nothing.
    kd: what a step descends, see `kd_loss`.
    """

    at_once: int = 4
    order: str = "sequential"
    inner: str = "sgd"
    inner_lr: float = 0.05
    outer: str = "sgd"
    outer_lr: float = 1.0
    scale: float = 1.0
    kd: str = "kl"

    def __post_init__(self) -> None:
        require(whole(self.at_once), "at_once", self.at_once, "a whole number ≥ 1")
        for name, options in (("order", ORDERS), ("inner", OPTIMIZERS), ("outer", OPTIMIZERS),
                              ("kd", KINDS)):
            require_one_of(name, getattr(self, name), options)
        for name in ("inner_lr", "outer_lr", "scale"):
            value = getattr(self, name)
            require(isinstance(value, (int, float)) and 0 < value < math.inf, name, value,
                    "a positive number")


OFFICIAL = Imitation(inner="adam", inner_lr=1e-3, outer="adam", outer_lr=1e-3, scale=67.0,
                     kd="official")         # as in the released code


def imitate(learner: Pool, tasks: Sequence[Any], settings: Imitation | None = None, *,
            steps: int = 80, seed: int = 0, device: str = "auto") -> Pool:
    """The learner after `steps` meta steps, each a walk through different tasks.

    In a meta step a copy of the weights θ makes one update per task on `kd_loss`, and θ moves along
    scale · (θ − copy), as in Reptile. BatchNorm uses the statistics of the batch; running
    statistics stay as they were. The one head serves all tasks, though its outputs mean other
    classes in each. Raises `ValueError` for tasks that do not suit the learner.
    """
    how, tasks = settings or Imitation(), list(tasks)
    for name, value in (("steps", steps), ("seed", seed)):
        require(whole(value, 0), name, value, "a whole number ≥ 0")
    require(how.at_once <= len(tasks), "at_once", how.at_once,
            f"at most the number of tasks, {len(tasks)}")
    tasks = prepare(learner, tasks, device)
    gradient = _gradient(learner, tasks, how.kd)
    theta = _leaves(weights(learner.to(device)))
    reptile = OPTIMIZERS[how.outer](theta.values(), lr=how.outer_lr)
    for step in range(steps):
        drawn = torch.randperm(len(tasks), generator=seeds.generator(seed, step))[:how.at_once]
        walker = _leaves(theta)
        walk = OPTIMIZERS[how.inner](walker.values(), lr=how.inner_lr)
        for i in sorted(drawn.tolist()) if how.order == "fixed" else drawn.tolist():
            _update(walk, walker, gradient(theta if how.order == "joint" else walker, tasks[i]))
        _update(reptile, theta, {k: how.scale * (t.detach() - walker[k]) for k, t in theta.items()})
    return with_weights(learner.to(device), theta)


def _gradient(learner: Pool, tasks: list[Task], kd: str) -> Callable[[Weights, Task], Weights]:
    """The gradient of a task's loss at some weights."""
    parts = body(learner, tasks[0].images.shape[1:])
    return grad(lambda w, task: kd_loss(parts.logits(w, task.images), task.logits, kd))


def _leaves(weights: Weights) -> Weights:
    return {k: t.detach().clone() for k, t in weights.items()}


def _update(optimizer: torch.optim.Optimizer, weights: Weights, gradient: Weights) -> None:
    for k, t in weights.items():
        t.grad = gradient[k].detach()
    optimizer.step()


def cosines(learner: Pool, tasks: Sequence[Any], *, kd: str = "kl", part: str = "body",
            device: str = "auto") -> Tensor:
    """Cosines (T,T) between the gradients of every two tasks at the learner.

    part="body" leaves the head out, whose outputs mean other classes in each task; "all" does not.
    """
    require_one_of("part", part, ("body", "all"))
    require_one_of("kd", kd, KINDS)
    tasks = prepare(learner, tasks, device)
    gradient, at = _gradient(learner, tasks, kd), weights(learner.to(device))
    head = body(learner, tasks[0].images.shape[1:]).head
    rows = torch.stack([torch.cat([
        g.flatten() for k, g in gradient(at, task).items()
        if part == "all" or k.rpartition(".")[0] != head]) for task in tasks])        # (T, P)
    rows = F.normalize(rows.double(), dim=1)
    return (rows @ rows.T).clamp(-1, 1)


# ---- why the walk aligns ------------------------------------------------------------------------
Loss = Callable[[Tensor], Tensor]


def walk(losses: Sequence[Loss], start: Tensor, lr: float) -> Tensor:
    """Where one step of plain gradient descent on each loss in turn leads, from `start` (P,)."""
    w = start
    for loss in losses:
        w = w - lr * grad(loss)(w)
    return w


def gradient_alignment(losses: Sequence[Loss], start: Tensor, lr: float) -> Tensor:
    """What a walk descends to second order: the gradient of Σ_j L_j − (α/2) Σ_{i<j} ⟨g_i,g_j⟩.

    g_j is the gradient of L_j. The second step's gradient is taken after the first step,
    g_j(θ − α g_i) = g_j − α H_j g_i + O(α²), and the mean over both orders of two steps,
    H_j g_i + H_i g_j, is the gradient of ⟨g_i, g_j⟩ (so also for Reptile, Nichol et al. 2018).
    """
    def objective(w: Tensor) -> Tensor:
        gradients = [grad(loss)(w) for loss in losses]
        agreement = sum(((a * b).sum() for a, b in combinations(gradients, 2)), torch.zeros(()))
        return torch.stack([loss(w) for loss in losses]).sum() - lr / 2 * agreement

    return grad(objective)(start)


def residuals(losses: Sequence[Loss], start: Tensor, lrs: Sequence[float]) -> pd.DataFrame:
    """How far a walk is from what first and second order say of it, at each learning rate.

    The walk's displacement (θ_0 − θ_T)/α, averaged over all T! orders of the losses, is compared
    with Σ_j g_j (column "joint") and with `gradient_alignment` (column "aligned"): norms of the
    differences. The first goes with α, the second with α². Losses take (P,) and give a scalar; use
    doubles.
    """
    losses, lrs = list(losses), list(lrs)
    require(2 <= len(losses) <= 6, "losses", f"{len(losses)} losses", "2 to 6, for all orders")
    require(isinstance(start, Tensor) and start.is_floating_point(), "start", start, "weights (P,)")
    require(len(lrs) > 0 and all(isinstance(lr, float) and lr > 0 for lr in lrs), "lrs", lrs,
            "positive numbers")
    joint = torch.stack([grad(loss)(start) for loss in losses]).sum(0)
    rows = []
    for lr in lrs:
        moved = torch.stack([(start - walk(order, start, lr)) / lr
                             for order in permutations(losses)]).mean(0)
        aligned = gradient_alignment(losses, start, lr)
        rows.append({"lr": lr, "joint": float((moved - joint).norm()),
                     "aligned": float((moved - aligned).norm())})
    return pd.DataFrame(rows)
