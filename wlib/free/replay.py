"""Replay: meta-learn on recovered images as if they were a data set (FREE, Wei et al., 2405.00984).

Images recovered from all networks of a pool go into one memory, by class. Few-shot episodes drawn
from it mix classes of different networks, and a learner is trained to do well on an episode's
query images after a look at its support images.

    known = replay.memory(recovered)
    learner = replay.fit(learner, known, Replay(head="prototype"), steps=200).learner

Four ways to look, by name: "prototype" (class means of the features, Snell et al. 2017), "maml"
(gradient steps on all weights, Finn et al. 2017), "fomaml" (the same, first-order) and "anil"
(steps on the head alone, Raghu et al. 2020).

Letters: E episodes, S support and B query images of one, W ways.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from wlib import store
from wlib.check import require, require_one_of, whole
from wlib.core import nets
from wlib.core.pool import ENGINES, Pool
from wlib.data.sets import Episode, ImageSet, episodes
from wlib.free import learner as learners
from wlib.free.learner import Body, Weights, adapt, prototypes
from wlib.free.state import Moments, adam_at, moments_of

HEADS = ("prototype", "maml", "fomaml", "anil")


# ---- memory -------------------------------------------------------------------------------------
def memory(sets: Sequence[ImageSet], together: bool = True, shape: Sequence[int] | None = None
           ) -> ImageSet:
    """The images of several networks as one set, by the names of their classes.

    A class of the same name in two sets is one class: its images look different, because different
    networks were inverted, and this variety is wanted. With `together=False` they stay two classes,
    "name (0)" of the first set and "name (3)" of the fourth, and may meet in one episode.

    `shape` (C,H,W) brings sets of different shapes to one: bilinear in size, gray repeated over
    the channels and color averaged into one.
    """
    sets = list(sets)
    require(len(sets) > 0, "sets", sets, "at least one ImageSet")
    for i, part in enumerate(sets):
        require(isinstance(part, ImageSet), f"sets[{i}]", part, "an ImageSet")
    require(isinstance(together, bool), "together", together, "True or False")
    wanted = tuple(sets[0].images.shape[1:]) if shape is None else tuple(shape)
    require(len(wanted) == 3 and wanted[0] in (1, 3), "shape", shape, "(C,H,W) with C 1 or 3")
    for i, part in enumerate(sets):
        require(shape is not None or part.images.shape[1:] == wanted, f"sets[{i}]", part,
                f"images of shape {wanted} as in sets[0], or an argument shape=")
    names = [[name if together else f"{name} ({i})" for name in part.classes]
             for i, part in enumerate(sets)]
    classes = list(dict.fromkeys(name for part in names for name in part))     # in order of coming
    labels = [torch.tensor([classes.index(name) for name in own])[part.labels]
              for own, part in zip(names, sets, strict=True)]
    images = [part.images if part.images.shape[1:] == wanted else _reshaped(part.images, wanted)
              for part in sets]
    return ImageSet(torch.cat(images), torch.cat(labels), tuple(classes))


def _reshaped(images: Tensor, shape: Sequence[int]) -> Tensor:
    x = images.float()
    if x.shape[1] != shape[0]:
        x = x.mean(1, keepdim=True).expand(-1, shape[0], -1, -1)
    x = F.interpolate(x, size=tuple(shape[1:]), mode="bilinear", antialias=True)
    return x.round().clamp(0, 255).byte()


# ---- an episode's loss --------------------------------------------------------------------------
@dataclass(frozen=True)
class Replay:
    """How a learner is trained on episodes, and how it learns one of them.

    head: how it learns one, see above.
    ways, shots, queries: classes of an episode, support and query images of each class.
    batch: episodes of a step; the loss is their mean.
    lr: learning rate of Adam.
    inner_steps, inner_lr: of the gradient descent of MAML and ANIL on the support images.
    transductive: as in `learner.body`.
    engine: episodes one after another ("loop") or stacked ("vmap"); "auto": see `engine_for`.

    The rates, 5 steps inside and 15 query images are the official code's; it adds the losses of 10
    episodes up, which Adam takes for the same as their mean.
    """

    head: str = "prototype"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    batch: int = 4
    lr: float = 1e-3
    inner_steps: int = 5
    inner_lr: float = 0.01
    transductive: bool = True
    engine: str = "auto"

    def __post_init__(self) -> None:
        require_one_of("head", self.head, HEADS)
        require_one_of("engine", self.engine, ENGINES)
        for name, least in (("batch", 1), ("inner_steps", 0)):
            require(whole(getattr(self, name), least), name, getattr(self, name),
                    f"a whole number ≥ {least}")
        for name in ("lr", "inner_lr"):
            value = getattr(self, name)
            require(isinstance(value, (int, float)) and 0 < value < math.inf, name, value,
                    "a positive number")
        require(isinstance(self.transductive, bool), "transductive", self.transductive,
                "True or False: a learner in training has no running statistics")


def query_logits(parts: Body, weights: Weights, how: Replay, support: Tensor, labels: Tensor,
                 query: Tensor) -> Tensor:
    """Logits (B,W) of the query images, after a look at the support images (S,C,H,W)."""
    if how.head in ("maml", "fomaml"):
        adapted = adapt(lambda w: F.cross_entropy(parts.logits(w, support), labels), weights,
                        how.inner_steps, how.inner_lr, how.head == "fomaml")
        return parts.classify(adapted, parts.of_query(adapted, support, query))
    of_support, of_query = parts.both(weights, support, query)
    if how.head == "prototype":
        return F.linear(of_query, *prototypes(of_support, labels, how.ways))
    own = {k: t for k, t in weights.items() if k.rpartition(".")[0] == parts.head}
    return parts.classify(
        adapt(lambda w: F.cross_entropy(parts.classify(w, of_support), labels), own,
              how.inner_steps, how.inner_lr), of_query)


def engine_for(device: torch.device) -> str:
    """What engine="auto" stands for: episodes stacked on a GPU, one after another on a CPU.

    A CPU gains nothing from fewer and larger operations here, and the loop keeps the layout of
    memory in which it pools and normalizes fast. `wlib bench` measures both.
    """
    return "vmap" if nets.stacked(device) else "loop"


# ---- meta-training ------------------------------------------------------------------------------
@dataclass
class TrainState:
    """A meta-training so far: the learner, each step's loss (mean of its episodes, nats) and
    query accuracy, and what going on needs."""

    learner: Pool
    begun: dict[str, Any]                   # what the run was started with
    moments: Moments = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """What a store can keep."""
        return {"parameters": self.learner.parameters, "begun": self.begun,
                "moments": self.moments, "losses": self.losses, "accuracies": self.accuracies}

    @classmethod
    def restored(cls, state: dict[str, Any], learner: Pool) -> TrainState:
        """The run again, from what `state` gave and the learner that it began with."""
        rest = {name: value for name, value in state.items() if name != "parameters"}
        return cls(Pool(learner.template, state["parameters"], learner.buffers), **rest)


def fit(learner: Pool, images: ImageSet, settings: Replay | None = None, *, steps: int = 200,
        seed: int = 0, device: str = "auto", state: TrainState | None = None) -> TrainState:
    """Train a learner on episodes of `images`, recovered or real: `steps` steps of Adam.

    A step takes the mean of several episodes' query losses (see `query_logits`); an episode's
    labels are dealt to its classes at random. Hand the result back as `state` (same arguments;
    `steps` may grow) to go on: it ends with the weights of an unbroken run, bit for bit.
    `stored_fit` does so by itself. Raises `ValueError` for images too few for an episode.
    """
    place, how = nets.resolve_device(device), settings or Replay()
    begun = _begun(learner, images, how, seed, place)
    state = _checked(state or TrainState(learner, begun), begun, steps)
    learner, x = state.learner.to(place), images.images
    stacked = begun["engine"] == "vmap"
    parts = learners.body(learner, x.shape[1:], how.transductive, how.ways * how.shots,
                          fused=not stacked or how.head != "maml")
    theta = {k: t.detach().clone().requires_grad_() for k, t in learners.weights(learner).items()}
    adam = adam_at(theta, how.lr, state.moments)
    losses, accuracies = list(state.losses), list(state.accuracies)
    drawn = islice(episodes(images, ways=how.ways, shots=how.shots, queries=how.queries,
                            count=steps * how.batch, seed=seed), len(losses) * how.batch, None)
    while some := list(islice(drawn, how.batch)):
        adam.zero_grad()
        loss, accuracy = (_stacked if stacked else _in_turn)(
            parts, theta, how, *tensors(some, place, learner.dtype))
        adam.step()
        losses.append(loss)
        accuracies.append(accuracy)
    return TrainState(learners.with_weights(learner, theta), begun, moments_of(adam, theta), losses,
                      accuracies)


def _begun(learner: Pool, images: ImageSet, how: Replay, seed: int, device: torch.device
           ) -> dict[str, Any]:
    """What makes a run what it is, after a look at each argument; `steps` may grow."""
    learners.require_one(learner)
    require(isinstance(images, ImageSet), "images", images, "an ImageSet")
    require(whole(seed, 0), "seed", seed, "a whole number ≥ 0")
    outputs = learner.logits(images[:1]).shape[-1]
    require(how.head == "prototype" or outputs == how.ways, "learner", f"{outputs} outputs",
            f"{how.ways}, one for each of the episodes' ways")
    engine = engine_for(device) if how.engine == "auto" else how.engine
    return asdict(replace(how, engine=engine)) | {
        "learner": learner.digest(), "images": images.digest(), "seed": seed, "device": str(device)}


def _checked(state: TrainState, begun: dict[str, Any], steps: int) -> TrainState:
    require(whole(steps), "steps", steps, "a whole number ≥ 1")
    require(isinstance(state, TrainState) and state.begun == begun, "state",
            "one with other arguments" if isinstance(state, TrainState) else state,
            "that of a run with these arguments")
    require(len(state.losses) <= steps, "steps", steps, f"at least the run's {len(state.losses)}")
    return state


def tensors(some: Sequence[Episode], device: torch.device | str, dtype: torch.dtype
            ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Stacked: support (E,S,C,H,W) and its labels (E,S), query (E,B,C,H,W) and labels (E,B)."""
    def stacked(parts: list[ImageSet]) -> tuple[Tensor, Tensor]:
        return (torch.stack([p.floats(device) for p in parts]).to(dtype),
                torch.stack([p.labels for p in parts]).to(device))
    return *stacked([e.support for e in some]), *stacked([e.query for e in some])


def _stacked(parts: Body, theta: Weights, how: Replay, support: Tensor, labels: Tensor,
             query: Tensor, answers: Tensor) -> tuple[float, float]:
    """Gradients of the mean loss of all episodes at once; loss and accuracy."""
    logits = vmap(lambda *e: query_logits(parts, theta, how, *e))(support, labels, query)
    loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
    loss.backward()
    return loss.item(), _accuracy(logits, answers)


def _in_turn(parts: Body, theta: Weights, how: Replay, *episodes: Tensor) -> tuple[float, float]:
    """The same, one episode after another: only one is held at a time."""
    count = len(episodes[0])
    losses, right = [], []
    for support, labels, query, answers in zip(*episodes, strict=True):
        logits = query_logits(parts, theta, how, support, labels, query)
        loss = F.cross_entropy(logits, answers)
        (loss / count).backward()
        losses.append(loss.item())
        right.append(_accuracy(logits, answers))
    return sum(losses) / count, sum(right) / count


def _accuracy(logits: Tensor, answers: Tensor) -> float:
    return (logits.argmax(-1) == answers).double().mean().item()


# ---- kept in the store --------------------------------------------------------------------------
def stored_fit(learner: Pool, images: ImageSet, settings: Replay | None = None, *,
               steps: int = 200, every: int = 50, seed: int = 0, device: str = "auto"
               ) -> TrainState:
    """`fit`, kept in the store in pieces of `every` steps: a run that was killed goes on where it
    was, and a longer one begins with a shorter one's pieces."""
    kept = store.resume(_advance, learner, images, settings or Replay(), seed,
                        str(nets.resolve_device(device)), steps=steps, every=every)
    return TrainState.restored(kept, learner)


def _advance(learner: Pool, images: ImageSet, settings: Replay, seed: int, device: str, *,
             state: dict[str, Any] | None, steps: int) -> dict[str, Any]:
    run = None if state is None else TrainState.restored(state, learner)
    return fit(learner, images, settings, steps=steps, seed=seed, device=device, state=run).state()
