"""What several notebooks of part III do with a pool: recover, teach, judge, and the rivals of each.

    recipe = Recipe(epochs=20)
    images = recovered(pool, recipe, seed=0)
    student = prototype(start_of(pool), images, steps=60)
    accuracy(student, world.test)                           # (K, E), one row per number of shots

All that costs time is kept in the store. Letters: K numbers of shots, E episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from wlib import seeds, store
from wlib.check import require
from wlib.core import audit
from wlib.core.pool import Pool
from wlib.core.tuning import Tuned, tune
from wlib.data.sets import Episode, ImageSet, mixed, restrict
from wlib.free import bell, few_shot, learner, pipeline, replay, rivals
from wlib.free.generator import (
    MetaGenerator,
    MetaTraining,
    fit_generator,
    generator_for,
    recover,
    stored,
    stored_fit_generator,
    with_weights,
)
from wlib.free.inversion import Objective, Recovery
from wlib.free.pipeline import MetaLearning, Tasks, Universe
from wlib.free.teachers import Teachers, stacked

PIXELS = Objective(statistics=0.1, variation=0.5)       # statistics of BatchNorm, and smoothness


# ---- images -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Recipe:
    """How images are recovered from a pool of teachers.

    nz, ngf: size of the generator, see `MetaGenerator`.
    epochs: of its meta-training, each with
    per_epoch: teachers, at
    meta_lr: as learning rate.
    steps: of a recovery, in meta-training and after it, at
    lr: as learning rate.
    per_class: recovered images of each class of a teacher.
    objective: what a recovery descends.
    """

    nz: int = 64
    ngf: int = 16
    epochs: int = 20
    per_epoch: int = 2
    meta_lr: float = 2e-3
    steps: int = 5
    lr: float = 1e-2
    per_class: int = 12
    objective: Objective = Objective()

    @property
    def recovery(self) -> Recovery:
        """The settings of `recover`."""
        return Recovery(self.steps, self.lr, per_class=self.per_class, objective=self.objective)

    @property
    def training(self) -> MetaTraining:
        """The settings of `fit_generator`."""
        return MetaTraining(self.recovery, self.per_epoch, self.meta_lr)

    def start(self, teachers: Teachers, seed: int) -> MetaGenerator:
        """The fresh generator that a meta-training begins with."""
        return generator_for(teachers, seed=seed, nz=self.nz, ngf=self.ngf)

    def practiced(self, teachers: Teachers, seed: int, *, device: str = "auto") -> MetaGenerator:
        """A generator that was meta-trained on these teachers."""
        return stored_fit_generator(teachers, self.start(teachers, seed), self.training,
                                    epochs=self.epochs, seed=seed, device=device).generator


def recovered(teachers: Teachers, recipe: Recipe, seed: int, *, recovery: Recovery | None = None,
              device: str = "auto") -> ImageSet:
    """Images of all teachers of a pool, by a generator meta-trained on it.

    `recovery` are other settings of the recovery alone; the meta-training keeps the recipe's.
    """
    ready = recipe.practiced(teachers, seed, device=device)
    return stored(recover, teachers, ready, recovery or recipe.recovery, seed=seed, device=device)


def recovered_anew(teachers: Teachers, recipe: Recipe, seed: int, *,
                   recovery: Recovery | None = None, device: str = "auto") -> ImageSet:
    """Images by a meta-generator whose Adam forgets its moments after every epoch, as released."""
    begin = recipe.start(teachers, seed)
    ready = with_weights(begin, store.cached(_anew, teachers, begin, recipe, seed, device))
    return stored(recover, teachers, ready, recovery or recipe.recovery, seed=seed, device=device)


def _anew(teachers: Teachers, begin: MetaGenerator, recipe: Recipe, seed: int, device: str
          ) -> dict[str, Tensor]:
    state = None
    for epoch in range(1, recipe.epochs + 1):
        state = fit_generator(teachers, begin, recipe.training, epochs=epoch, seed=seed,
                              device=device, state=state and replace(state, moments={}))
    return dict(state.generator.named_parameters()) if state else {}


def image_sets(world: Universe, teachers: Teachers, images: ImageSet, recipe: Recipe, seed: int
               ) -> Iterator[tuple[str, ImageSet]]:
    """By name: recovered images, four kinds that know nothing of the classes, and real ones."""
    own = {"per_class": recipe.per_class, "seed": seed}
    yield "recovered images", images
    yield "noise templates", rivals.templates(teachers, **own)
    yield "smooth blobs", rivals.blobs(teachers, **own)
    yield "shuffled labels", rivals.shuffled(teachers, images, seed=seed)
    yield "untrained generator", rivals.untrained(teachers, recipe.start(teachers, seed), **own)
    yield "real images", real_images(world, teachers)


def real_images(world: Universe, teachers: Teachers) -> ImageSet:
    """The teachers' own images, of all classes that some teacher knows."""
    return restrict(mixed(world.fit), list({c: None for t in teachers.members
                                            for c in t.classes}))


def recovery_variants(teachers: Teachers, images: ImageSet, student: Pool, recipe: Recipe,
                      recovery: Recovery, seed: int, *, device: str = "auto"
                      ) -> Iterator[tuple[str, ImageSet]]:
    """By name: images where one thing is as in the released code; `images` are the method's.

    `student` is the network that images of the adversarial term are to be hard for.
    """
    own: dict[str, Any] = {"seed": seed, "device": device}
    net = student.network(0)
    kept = len(images) // len(teachers) * -(-len(teachers) // 4)

    def shorter(steps: int) -> ImageSet:
        return recovered(teachers, recipe, recovery=replace(recovery, steps=steps), **own)

    def descending(**terms: Any) -> ImageSet:
        objective = replace(recovery.objective, **terms)
        return recovered(teachers, replace(recipe, objective=objective),
                         recovery=replace(recovery, objective=objective), **own)

    yield "images before the last step", shorter(recovery.steps - 1)
    yield "as few steps as in practice", shorter(recipe.steps)
    yield "one teacher of four kept", images[:kept]
    yield "Adam begun anew", recovered_anew(teachers, recipe, recovery=recovery, **own)
    for kind, name in (("official", "as coded"), ("divergence", "as a divergence")):
        yield f"adversarial term, {name}", descending(adversarial=1.0, kind=kind, student=net)
    yield "no statistics of BatchNorm", descending(statistics=0.0)


# ---- learners -----------------------------------------------------------------------------------
def prototype(start: Pool, images: ImageSet, *, steps: int, lr: float = 1e-3, queries: int = 7,
              every: int = 50, seed: int = 0, device: str = "auto") -> Pool:
    """A prototype network that learned from these images by replay alone."""
    return replay.stored_fit(start, images, replay.Replay(queries=queries, batch=2, lr=lr),
                             steps=steps, every=every, seed=seed, device=device).learner


def learned(start: Pool, teachers: Teachers, images: ImageSet, settings: MetaLearning, *,
            seed: int = 0, device: str = "auto") -> Pool:
    """`meta_learn`, kept in the store."""
    return learner.stored(pipeline.meta_learn, start, teachers, images, settings, seed=seed,
                          device=device)


def distilled(networks: Pool, images: ImageSet, start: Pool, *, steps: int, lr: float,
              seed: int = 0, device: str = "auto") -> Pool:
    """`few_shot.distill`, kept in the store: one network that predicts the features of all."""
    wanted = few_shot.targets(networks, images.floats())
    return imitated(wanted, images, start, steps=steps, lr=lr, seed=seed, device=device)


def sayings(teachers: Teachers, images: ImageSet) -> Iterator[tuple[str, Tensor]]:
    """What a network could be taught about recovered images, from little to much, by name: (B,D).

    `images` come teacher by teacher. "labels" are the classes that the images were made for; "their
    teacher's answers" are its probabilities, among all classes of the pool; then the answers and
    the features of all teachers. All are `few_shot.standardized`.
    """
    networks, x = stacked(teachers)[0][1], images.floats()
    named = F.one_hot(images.labels, len(images.classes)).float()
    yield "labels", few_shot.standardized(named)
    own, count = torch.zeros_like(named), len(images) // len(teachers)
    for i, (member, ids) in enumerate(zip(teachers.members, teachers.ids, strict=True)):
        part = slice(i * count, (i + 1) * count)
        with torch.no_grad():
            own[part, ids.cpu()] = member.net(x[part].to(teachers.device)).softmax(1).cpu()
    yield "their teacher's answers", few_shot.standardized(own)
    yield "answers of all teachers", few_shot.targets(networks, x, "answers")
    yield "features of all teachers", few_shot.targets(networks, x)


def imitated(wanted: Tensor, images: ImageSet, start: Pool, *, steps: int, lr: float, seed: int = 0,
             device: str = "auto") -> Pool:
    """`few_shot.imitate`, kept in the store."""
    own: dict[str, Any] = {"batch": 64, "lr": lr, "seed": seed}
    empty = few_shot.imitate(wanted, images, start, steps=0, device="cpu", **own)
    made = store.cached(_imitated, wanted, images, start, own | {"steps": steps}, device)
    return Pool(empty.template, *made).to("cpu")


def _imitated(wanted: Tensor, images: ImageSet, start: Pool, own: dict[str, Any], device: str
              ) -> list[dict[str, Tensor]]:
    made = few_shot.imitate(wanted, images, start, device=device, **own)
    return [made.parameters, made.buffers]


def chosen(candidates: Sequence[Pool], tasks: Tasks, device: str = "auto") -> Pool:
    """The learner that is best on validation episodes; of equals the first."""
    return max(candidates, key=lambda some: accuracy(some, tasks, device=device).mean().item())


def at_best_rate(learn: Callable[[float], Pool], lrs: Sequence[float], tasks: Tasks, *,
                 most: int = 6, device: str = "auto") -> tuple[Pool, Tuned]:
    """The learner of the learning rate that is best on `tasks`, and all rates that were tried.

    `learn` makes a learner at a rate, kept in the store; `lrs` are only where the search begins.
    """
    found = tune(lambda lr: accuracy(learn(lr), tasks, device=device).mean().item(), lrs, most=most)
    return learn(found.best), found


def heap(world: Universe, teachers: Teachers, images: ImageSet, start: Pool, how: MetaLearning,
         at_best: Callable[[Callable[[float], Pool]], tuple[Pool, Tuned]], *, seed: int = 0,
         device: str = "auto") -> Iterator[tuple[str, few_shot.Learner]]:
    """Everything that a pool of one architecture can be used as, by name.

    FREE's learner learns as `how` says. The two others that are trained see as many images, each at
    the rate that `at_best` finds for it (`at_best_rate`, with where to search).
    """
    networks, tasks = stacked(teachers)[0][1], world.validation
    own: dict[str, Any] = {"seed": seed, "device": device}
    passes = how.images_seen(teachers.ways, len(images) // len(teachers))
    episodes = round(passes / how.images_a_step(teachers.ways))
    wanted, real = few_shot.targets(networks, images.floats()), real_images(world, teachers)

    yield "FREE's learner", learned(start, teachers, images, how, **own)
    yield "random start", start
    yield "mean of the pool", audit.mean(networks)
    yield "raw pixels", few_shot.pixels
    yield "best single network", chosen([networks[i] for i in range(len(networks))], tasks, device)
    yield "features of all networks", networks
    yield "distilled pool", at_best(lambda lr: imitated(
        wanted, images, start, lr=lr, steps=round(passes / 64), **own))[0]
    yield "learned from real data", at_best(lambda lr: prototype(
        start, real, lr=lr, steps=episodes, **own))[0]


def learning_variants(teachers: Teachers, images: ImageSet, settings: MetaLearning
                      ) -> Iterator[tuple[str, Teachers, ImageSet, MetaLearning]]:
    """Name, teachers, images and settings: FREE's learner, and it with one thing as released."""
    net = teachers.members[0].net
    same = Teachers([replace(t, net=net) for t in teachers.members], teachers.shape,
                    teachers.names)
    apart = replay.memory(pipeline.by_teacher(teachers, images), together=False)
    yield "the method", teachers, images, settings
    yield "imitation as coded", teachers, images, replace(settings, kd="official")
    yield "optimizers as coded", teachers, images, replace(settings, official=True)
    yield "one network four times", same, images, settings
    yield "classes of teachers kept apart", teachers, apart, settings
    yield "MAML replay", teachers, images, replace(settings, head="maml")
    yield "MAML replay, first order", teachers, images, replace(settings, head="fomaml")


# ---- judging ------------------------------------------------------------------------------------
def accuracy(student: few_shot.Learner, tasks: Mapping[int, Sequence[Episode]], *,
             device: str = "auto", **settings: Any) -> Tensor:
    """Accuracy in points on each episode, one row per number of shots: (K, E)."""
    pairs = {k: [(task.support, task.query) for task in some] for k, some in tasks.items()}
    return store.cached(_accuracy, student, pairs, {"device": device, **settings})


def _accuracy(student: few_shot.Learner, pairs: dict[int, list[tuple[ImageSet, ImageSet]]],
              settings: dict[str, Any]) -> Tensor:
    tasks = {k: [Episode(*pair) for pair in some] for k, some in pairs.items()}
    return torch.stack(list(pipeline.score(student, tasks, **settings).values()))


def points(student: few_shot.Learner, tasks: Mapping[int, Sequence[Episode]], *,
           device: str = "auto", **settings: Any) -> Tensor:
    """Mean over the numbers of shots on each pair of episodes, (E,) in points."""
    return accuracy(student, tasks, device=device, **settings).mean(0)


def judged(students: Mapping[Any, few_shot.Learner], tasks: Mapping[int, Sequence[Episode]], *,
           device: str = "auto", **settings: Any) -> dict[Any, Tensor]:
    """`accuracy` of each learner, by the names that they have."""
    return {name: accuracy(student, tasks, device=device, **settings)
            for name, student in students.items()}


def framed(found: Mapping[tuple[str, int], Tensor]) -> pd.DataFrame:
    """One row per arm and seed of `judged`: points at one and five shots, and their mean."""
    return pd.DataFrame([{"arm": arm, "seed": seed, "one": value[0].mean().item(),
                          "five": value[1].mean().item(), "points": value.mean().item()}
                         for (arm, seed), value in found.items()])


# ---- walks --------------------------------------------------------------------------------------
def walk_of(teachers: Teachers, settings: MetaLearning, seed: int, turn: int) -> Teachers:
    """The teachers that `meta_learn` draws for a turn's first walk, in the order drawn."""
    require(0 <= turn < settings.turns, "turn", turn, f"0 … {settings.turns - 1}")
    rng = seeds.generator(seed * settings.turns + turn, 0)
    return teachers[torch.randperm(len(teachers), generator=rng)[:settings.at_once].tolist()]


def cosines(student: Pool, teachers: Teachers, images: ImageSet, device: str = "auto") -> Tensor:
    """Cosines (T,T) between the gradients of the teachers' tasks at a learner."""
    return store.cached(bell.cosines, student, pipeline.imitation(teachers, images),
                        device=device)


def off_diagonal(matrix: Tensor) -> float:
    """Mean of what is not on the diagonal: of cosines of different teachers."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)].mean().item()


def copies(teachers: Teachers, count: int) -> Teachers:
    """A pool of `count` in which each network stands several times, with noise of its own each."""
    again = [replace(teachers.members[i % len(teachers)], number=i) for i in range(count)]
    return Teachers(again, teachers.shape, teachers.names)


def per_doubling(counts: Sequence[int], values: Sequence[np.ndarray]) -> np.ndarray:
    """Points gained each time the count doubles: the least-squares slope over log2 of `counts`.

    `values` holds an array per count; the slope is taken element by element. Weights are (x − x̄)
    over their squares: for counts 5, 10 and 20 the slope is half the last minus the first.
    """
    x = np.log2(counts) - np.log2(counts).mean()
    return sum(a * value for a, value in zip(x / (x @ x), values, strict=True))
