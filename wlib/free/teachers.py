"""Teachers: networks that each know a few classes, and whose training images are gone.

A pool of N teachers may hold several architectures and come from several domains; what they share
is the shape of the images they take and the number C of classes each tells apart. What output j of
a teacher means, a class that may have another place in another teacher, is known: without it
nothing could be learned across teachers (the paper assumes so too).

    base = domains.images("glyphs")
    teachers = trained(base, Training(architectures=("conv4", "resnet10")), count=20)
    teachers[:15].ids                                       # (15, C): global class of each output
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wlib import seeds, store
from wlib.check import require, require_one_of, whole
from wlib.core import nets
from wlib.core.pool import Pool
from wlib.data.sets import ImageSet, mixed, restrict

# Depth as in the paper's pools; the widths are relative to Conv4's, w.
ARCHITECTURES = {
    "conv4": lambda w: ("conv4", {"width": w}),
    "resnet10": lambda w: ("resnet", {"widths": (w // 2, w, 2 * w, 4 * w), "blocks": 1}),
    "resnet18": lambda w: ("resnet", {"widths": (w // 2, w, 2 * w, 4 * w), "blocks": 2}),
}


@dataclass(frozen=True, eq=False)
class Teacher:
    """One network (copied, in evaluation mode, its weights frozen) and what its outputs mean.

    `number` names the teacher: its random draws depend on it, whatever pool it stands in. A pool
    gives those that have none (-1) their place.
    """

    net: nn.Module
    classes: tuple[str, ...]
    number: int = -1
    architecture: str = "own"
    domain: str = "own"

    def __post_init__(self) -> None:
        require(isinstance(self.net, nn.Module), "net", self.net, "an nn.Module")
        classes = tuple(self.classes)
        require(len(classes) >= 2 and all(isinstance(c, str) for c in classes)
                and len(set(classes)) == len(classes), "classes", self.classes,
                "at least two names, all different, one for each output")
        object.__setattr__(self, "classes", classes)
        net = copy.deepcopy(self.net).eval().requires_grad_(False)
        # Channels last: a third faster on a CPU for images of one or three channels.
        object.__setattr__(self, "net", net.to(memory_format=torch.channels_last))


class Teachers:
    """N teachers, the `names` of all classes and the `shape` (C, H, W) of the images.

    Indexing gives teachers again, as with `Pool`; `members` are the single ones. `names` may hold
    classes that no teacher knows; by default it is what they know, in order.
    """

    def __init__(self, members: Sequence[Teacher], shape: Sequence[int],
                 names: Sequence[str] | None = None):
        members = list(members)
        require(len(members) > 0 and all(isinstance(t, Teacher) for t in members), "members",
                members, "at least one Teacher")
        self.members = tuple(replace(t, number=i) if t.number < 0 else t
                             for i, t in enumerate(members))
        self.shape = tuple(shape)
        known = dict.fromkeys(c for t in members for c in t.classes)
        self.names = tuple(known if names is None else names)
        self._check(known)

    def _check(self, known: Mapping[str, None]) -> None:
        counts = sorted({len(t.classes) for t in self.members})
        require(len(counts) == 1, "members", f"teachers of {' and '.join(map(str, counts))} "
                "classes", "as many classes each")
        require(set(known) <= set(self.names) and len(set(self.names)) == len(self.names), "names",
                self.names, "all classes that the teachers know, none twice")
        numbers = [t.number for t in self.members]
        require(len(set(numbers)) == len(numbers), "members", f"the numbers {numbers}",
                "a number of its own for every teacher")
        require(len(self.shape) == 3 and all(whole(s, 1) for s in self.shape),
                "shape", self.shape, "three whole numbers: channels, height, width")
        for t in self.members:
            with torch.no_grad():
                try:
                    found = tuple(t.net(torch.zeros(1, *self.shape, device=_device(t.net))).shape)
                except RuntimeError as problem:      # torch's word for shapes that do not fit
                    raise ValueError(f"shape: got {self.shape}, want what teacher {t.number} takes "
                                     f"({problem})") from problem
            require(found == (1, self.ways), "members",
                    f"outputs {found[1:]} of teacher {t.number}", f"({self.ways},), one per class")

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int | slice | Sequence[int]) -> Teachers:
        """The chosen teachers; an integer gives a pool of one."""
        if isinstance(index, slice):
            chosen = list(self.members[index])
        else:
            index = [index] if isinstance(index, int) else [int(i) for i in index]
            require(all(-len(self) <= i < len(self) for i in index), "index", index,
                    f"whole numbers from {-len(self)} to {len(self) - 1}")
            chosen = [self.members[i] for i in index]
        numbers = [t.number for t in chosen]
        require(len(chosen) > 0 and len(set(numbers)) == len(numbers), "index", index,
                "at least one teacher, none twice")
        return self._with(chosen)

    def _with(self, members: Sequence[Teacher]) -> Teachers:
        """Other members, of whom nothing new has to be checked."""
        other = copy.copy(self)
        other.members = tuple(members)
        return other

    def __iter__(self) -> Iterator[Teachers]:
        """Pools of one, in order."""
        return (self[i] for i in range(len(self)))

    @property
    def ways(self) -> int:
        """C, the number of classes each teacher tells apart."""
        return len(self.members[0].classes)

    @property
    def ids(self) -> Tensor:
        """What each output means, (N, C) int64: places in `names`."""
        place = {name: i for i, name in enumerate(self.names)}
        return torch.tensor([[place[c] for c in t.classes] for t in self.members])

    @property
    def covered(self) -> tuple[str, ...]:
        """The classes that some teacher knows, in the order of `names`."""
        known = {c for t in self.members for c in t.classes}
        return tuple(name for name in self.names if name in known)

    @property
    def device(self) -> torch.device:
        return _device(self.members[0].net)

    def to(self, device: str | torch.device) -> Teachers:
        """The teachers on a device ('auto', 'cpu', 'cuda', …)."""
        device = nets.resolve_device(device)
        if device == self.device:
            return self
        return self._with([replace(t, net=copy.deepcopy(t.net).to(device)) for t in self.members])

    def digest(self) -> str:
        """A hash of networks, numbers and classes."""
        every = [[store.architecture(t.net), store.digest(t.net.state_dict()), t.classes, t.number]
                 for t in self.members]
        text = json.dumps([every, self.shape, self.names])
        return hashlib.sha256(text.encode()).hexdigest()

    def __repr__(self) -> str:
        kinds = sorted({t.architecture for t in self.members})
        return (f"Teachers({len(self)} × {self.ways} classes, {len(self.covered)} different, "
                f"{', '.join(kinds)})")


def _device(net: nn.Module) -> torch.device:
    return next((t.device for t in [*net.parameters(), *net.buffers()]), torch.device("cpu"))


# ---- training a pool --------------------------------------------------------------------------
class Task(NamedTuple):
    """What one teacher is trained on, and what it is."""

    domain: str
    architecture: str
    classes: tuple[str, ...]


def tasks(sets: ImageSet | Mapping[str, ImageSet], *, count: int, ways: int = 5,
          architectures: Sequence[str] = ("conv4",), deal: bool = False, seed: int = 0
          ) -> list[Task]:
    """The tasks of `count` teachers: domains in turn, architectures in turn, classes at random.

    Each teacher draws its classes anew, so two may share some. With `deal=True` the classes of a
    domain are dealt like cards: none comes a second time before all (but a rest smaller than
    `ways`) have come once, so that few teachers cover as many classes as many do. Teacher i
    depends on `seed` and i alone.
    """
    sets = _sets(sets)
    for argument, value, least in (("count", count, 1), ("ways", ways, 2)):
        require(whole(value, least), argument, value, f"a whole number ≥ {least}")
    architectures = [architectures] if isinstance(architectures, str) else list(architectures)
    require(len(architectures) > 0, "architectures", architectures, "at least one")
    for name in architectures:
        require_one_of("architectures", name, ARCHITECTURES)
    for domain, part in sets.items():
        require(len(part.classes) >= ways, "ways", ways,
                f"at most the {part.counted} of {domain!r}")
    planned = []
    for i in range(count):
        domain = list(sets)[i % len(sets)]
        classes = sets[domain].classes
        turn = i // len(sets)                              # the teachers of this domain before it
        hands = len(classes) // ways if deal else 1        # teachers that share one shuffled deck
        g = seeds.generator(seed, i % len(sets), turn // hands)
        place = turn % hands * ways
        drawn = torch.randperm(len(classes), generator=g)[place:place + ways].tolist()
        name = "" if len(sets) == 1 else f"{domain}: "
        planned.append(Task(domain, architectures[turn % len(architectures)],
                            tuple(name + classes[k] for k in drawn)))
    return planned


@dataclass(frozen=True)
class Training:
    """What teachers are, and how they are trained: with Adam and cross-entropy.

    ways: classes of each.
    architectures: in turn, see `tasks`.
    width: Conv4's; the ResNets have w/2, w, 2w and 4w channels.
    deal: deal the classes like cards, see `tasks`.
    epochs, batch, lr: passes over the images, images of a step, learning rate.
    """

    ways: int = 5
    architectures: tuple[str, ...] = ("conv4",)
    width: int = 16
    deal: bool = False
    epochs: int = 8
    batch: int = 20
    lr: float = 3e-3

    def __post_init__(self) -> None:
        require(whole(self.width, 2) and self.width % 2 == 0, "width", self.width,
                "an even whole number ≥ 2")


def trained(sets: ImageSet | Mapping[str, ImageSet], settings: Training | None = None, *,
            count: int, seed: int = 0, device: str = "auto") -> Teachers:
    """`count` teachers, each trained on its own classes and kept in the store.

    `sets` is an `ImageSet` of base classes, or several by the name of their domain (their classes
    are then called "domain: class"). Which classes and architecture a teacher gets is said in
    `tasks`.
    """
    from wlib.core import train  # here, because who has teachers trains none

    sets, how = _sets(sets), settings or Training()
    planned = tasks(sets, count=count, ways=how.ways, architectures=how.architectures,
                    deal=how.deal, seed=seed)
    every, members = mixed(sets), []
    for i, task in enumerate(planned):
        name, shape = ARCHITECTURES[task.architecture](how.width)
        own = seeds.base(seeds.generator(seed, i))
        pool = train.stored_fit(name, restrict(every, task.classes), seeds=[own], epochs=how.epochs,
                                batch=how.batch, lr=how.lr, device=device, **shape)
        members.append(Teacher(pool.network(0), task.classes, i, task.architecture, task.domain))
    return Teachers(members, every.images.shape[1:], every.classes)


def _sets(sets: ImageSet | Mapping[str, ImageSet]) -> dict[str, ImageSet]:
    sets = {"images": sets} if isinstance(sets, ImageSet) else sets
    require(isinstance(sets, Mapping) and len(sets) > 0
            and all(isinstance(s, ImageSet) for s in sets.values()), "sets", sets,
            "an ImageSet, or several by the name of their domain")
    return dict(sets)


# ---- judging and stacking ---------------------------------------------------------------------
@torch.no_grad()
def accuracy(teachers: Teachers, images: ImageSet) -> Tensor:
    """Fraction of the images of its own classes that each teacher gets right, (N,) in [0, 1].

    `images` has classes by the same names; a teacher without an image there is refused.
    """
    scores = []
    for t in teachers.members:
        own = restrict(images, t.classes)
        found = own.labels.unique()
        require(len(found) == len(t.classes), "images", f"{len(found)} classes of teacher "
                f"{t.number}", f"images of its {len(t.classes)}")
        logits = t.net(own.floats(teachers.device))
        scores.append((logits.argmax(1).cpu() == own.labels).double().mean())
    return torch.stack(scores)


def stacked(teachers: Teachers) -> list[tuple[list[int], Pool]]:
    """The teachers architecture by architecture: their places, and they as a `Pool`."""
    groups: dict[str, list[int]] = {}
    for i, t in enumerate(teachers.members):
        groups.setdefault(store.architecture(t.net), []).append(i)
    return [(places, _contiguous(Pool.stack([teachers.members[i].net for i in places])))
            for places in groups.values()]


def _contiguous(pool: Pool) -> Pool:
    """Vmap has no rule for pooling in the single networks' layout of channels last."""
    return Pool(pool.template, {k: t.contiguous() for k, t in pool.parameters.items()},
                {k: t.contiguous() for k, t in pool.buffers.items()})
