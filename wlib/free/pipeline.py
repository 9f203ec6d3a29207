"""Data-free meta-learning from one end to the other: what the notebooks of part III share.

`universe` draws the images that teachers are trained on, and the episodes of other classes that
learners are chosen by and judged on. `meta_learn` is FREE's learner (Wei et al., 2405.00984): turns
of BELL's walk through the teachers (`bell`) and of replay (`replay`), on images that
`wlib.free` recovered or a rival made. `score` judges it.

    world = universe(["glyphs"], Sizes(episodes=200))
    pool = teachers.trained(world.fit, count=20)
    learner = meta_learn(start_of(pool), pool, images)
    score(learner, world.test)                                   # {1: (E,), 5: (E,)}
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from wlib import data
from wlib.check import require, require_one_of, whole
from wlib.core import nets
from wlib.core.pool import Pool
from wlib.data.sets import SPLITS, Episode, ImageSet, first, place_in_class
from wlib.data.sets import episodes as drawn
from wlib.free import bell, replay
from wlib.free.teachers import Teachers

if TYPE_CHECKING:
    from wlib.free.few_shot import Learner

Tasks = dict[int, list[Episode]]        # by the number of shots
ORDERS = (*bell.ORDERS, "replay only")


class Universe(NamedTuple):
    """Images of base classes by domain, and episodes of other classes by number of shots.

    `held` has other images of the base classes than `fit`: teachers are judged on them. Episodes
    of several domains come domain by domain, as many of each.
    """

    fit: dict[str, ImageSet]
    held: dict[str, ImageSet]
    validation: Tasks
    test: Tasks


@dataclass(frozen=True)
class Sizes:
    """How much of everything a universe has.

    samples: images of each base class for training teachers.
    held: others of each base class, for judging teachers.
    ways: classes of an episode.
    shots: numbers of support images per class.
    queries: query images per class.
    choosing: validation episodes of each domain for each number of shots.
    episodes: test episodes likewise.
    """

    samples: int = 30
    held: int = 10
    ways: int = 5
    shots: tuple[int, ...] = (1, 5)
    queries: int = 15
    choosing: int = 60
    episodes: int = 200

    def __post_init__(self) -> None:
        require(whole(self.held), "held", self.held, "a whole number ≥ 1")
        require(len(self.shots) > 0, "shots", self.shots, "at least one number of shots")


def universe(names: Sequence[str] = ("glyphs",), sizes: Sizes | None = None, *,
             channels: int | None = None, size: int | None = None,
             root: str | Path | None = None, seed: int = 0) -> Universe:
    """Images and episodes of the domains in `names` (of `data.domains`), brought to one shape.

    A domain with fewer classes in a split than an episode has none there. Raises
    `FileNotFoundError` where a domain's images are missing.
    """
    much = sizes or Sizes()
    require(len(names) > 0 and len(set(names)) == len(names), "names", names,
            "at least one domain, none twice")
    samples = {"train": much.samples + much.held}       # of others: enough for an episode
    sets = {split: {name: data.domains.images(
        name, split, samples=samples.get(split, max(much.shots) + much.queries + 5),
        channels=channels, size=size, root=root, seed=seed) for name in names} for split in SPLITS}
    tasks = {split: {k: _tasks(sets[split], much, k, count, seed) for k in much.shots}
             for split, count in (("validation", much.choosing), ("test", much.episodes))}
    parts = {name: _divided(every, much.samples) for name, every in sets["train"].items()}
    return Universe({n: p[0] for n, p in parts.items()}, {n: p[1] for n, p in parts.items()},
                    tasks["validation"], tasks["test"])


def available(names: Sequence[str], root: str | Path | None = None) -> str:
    """The first of these domains whose images are there: a wish with something to fall back on.

    Raises `FileNotFoundError` where none is.
    """
    require(len(names) > 0, "names", names, "at least one domain")
    found = present(names[:-1], root)
    if found:
        return found[0]
    data.domains.images(names[-1], "test", samples=1, root=root)
    return names[-1]


def present(names: Sequence[str], root: str | Path | None = None) -> list[str]:
    """Those of these domains whose images are there."""
    found = []
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            data.domains.images(name, "test", samples=1, root=root)
            found.append(name)
    return found


def _tasks(sets: Mapping[str, ImageSet], much: Sizes, shots: int, count: int, seed: int
           ) -> list[Episode]:
    able = [part for part in sets.values() if len(part.classes) >= much.ways]
    require(len(able) > 0, "ways", much.ways, f"at most the classes of {', '.join(sets)}")
    return [task for part in able for task in
            drawn(part, ways=much.ways, shots=shots, queries=much.queries, count=count, seed=seed)]


def _divided(images: ImageSet, samples: int) -> tuple[ImageSet, ImageSet]:
    """The first `samples` images of each class, and the others."""
    place = place_in_class(images)
    return first(images, samples), images[place > samples]


def score(learner: Learner, tasks: Mapping[int, Sequence[Episode]], **settings: Any
          ) -> dict[int, Tensor]:
    """Accuracy in points on each episode, (E,), for each number of shots (see `few_shot.evaluate`).
    """
    from wlib.free import few_shot  # here, because learning needs no judge

    return {k: 100 * few_shot.evaluate(learner, some, **settings) for k, some in tasks.items()}


def start_of(teachers: Teachers, seed: int = 0, *, width: int = 16) -> Pool:
    """A fresh Conv4 for the teachers' images and number of classes: where all learners start."""
    channels, size, _ = teachers.shape
    return Pool.stack([nets.fresh("conv4", seed, classes=teachers.ways, width=width, size=size,
                                  channels=channels)])


def by_teacher(teachers: Teachers, images: ImageSet) -> list[ImageSet]:
    """Images that came teacher by teacher, one set per teacher."""
    require(len(images) % len(teachers) == 0, "images", f"{len(images)} images",
            f"as many for each of {len(teachers)} teachers")
    count = len(images) // len(teachers)
    return [images[a:a + count] for a in range(0, len(images), count)]


def imitation(teachers: Teachers, images: ImageSet) -> list[tuple[ImageSet, Pool]]:
    """What `bell.imitate` walks through: each teacher's images, and the teacher."""
    return [(part, Pool.stack([member.net])) for part, member in
            zip(by_teacher(teachers, images), teachers.members, strict=True)]


@dataclass(frozen=True)
class MetaLearning:
    """How FREE's learner learns: `turns` turns of walks through teachers and of replay.

    order: that of `bell.imitate`, or "replay only": no walk, and so many more steps of replay
        that as many images pass.
    turns: of walks and of replay.
    walks: in a turn, each through
    at_once: different teachers.
    walk_lr: learning rate of a walk's steps.
    kd: what a walk descends, see `bell.kd_loss`.
    official: walk with Adam inside and outside and the code's own loss (`bell.OFFICIAL`) in place
        of `walk_lr` and `kd`; the code makes one walk and at least eleven steps per turn.
    steps: of replay in a turn, each on
    batch: episodes, with
    lr: as Adam's learning rate.
    head: what an episode is learned by, one of `replay.HEADS`.
    shots: support images of a class in an episode of replay.
    queries: query images of a class there.
    """

    order: str = "sequential"
    turns: int = 15
    walks: int = 1
    at_once: int = 4
    walk_lr: float = 0.05
    kd: str = "kl"
    official: bool = False
    steps: int = 15
    batch: int = 2
    lr: float = 1e-3
    head: str = "prototype"
    shots: int = 1
    queries: int = 7

    def __post_init__(self) -> None:
        require_one_of("order", self.order, ORDERS)
        for name in ("turns", "walks", "steps"):
            value = getattr(self, name)
            require(whole(value), name, value, "a whole number ≥ 1")

    @property
    def imitation(self) -> bell.Imitation:
        """How `bell.imitate` walks."""
        how = bell.OFFICIAL if self.official else bell.Imitation(inner_lr=self.walk_lr, kd=self.kd)
        return replace(how, order=self.order, at_once=self.at_once)

    def replay(self, ways: int) -> replay.Replay:
        """How `replay.fit` trains on episodes of so many classes."""
        return replay.Replay(self.head, ways, self.shots, self.queries, self.batch, self.lr)

    def images_a_step(self, ways: int) -> int:
        """Images that a step of replay sees, in episodes of so many classes."""
        return self.batch * ways * (self.shots + self.queries)

    def images_seen(self, ways: int, images: int) -> int:
        """Images that pass in all, for teachers of `ways` classes and `images` images each."""
        return self.turns * (self.walks * self.at_once * images
                             + self.steps * self.images_a_step(ways))

    def steps_for(self, ways: int, images: int) -> int:
        """Steps of replay in a turn, for teachers of `ways` classes and `images` images each."""
        if self.order != "replay only":
            return self.steps
        return self.steps + round(self.walks * self.at_once * images / self.images_a_step(ways))


def meta_learn(start: Pool, teachers: Teachers, images: ImageSet,
               settings: MetaLearning | None = None, *, seed: int = 0,
               device: str = "auto") -> Pool:
    """FREE's learner: from `start`, turns of BELL's walk and of replay, as the settings say.

    `images` come teacher by teacher, as many of each (`free.recover` and its rivals).
    """
    how = settings or MetaLearning()
    tasks = imitation(teachers, images)
    steps = how.steps_for(teachers.ways, len(tasks[0][0]))
    walked = bell.prepare(start, tasks, device) if how.order != "replay only" else []
    learner, first, state = start, None, None
    for turn in range(how.turns):
        if how.order != "replay only":
            learner = bell.imitate(learner, walked, how.imitation, steps=how.walks,
                                   seed=seed * how.turns + turn, device=device)
        first = first or learner
        state = replay.fit(first, images, how.replay(teachers.ways), steps=(turn + 1) * steps,
                           seed=seed, device=device,
                           state=state and replace(state, learner=learner))
        learner = state.learner
    return learner.to(start.device)
