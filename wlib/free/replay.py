"""Replay: meta-learn on recovered images as if they were a data set (FREE, Wei et al., 2405.00984).

Images recovered from all networks of a pool go into one memory, by class. Few-shot episodes drawn
from it mix classes of different networks, and a learner is trained to do well on an episode's
query images after a look at its support images.

    known = replay.memory(recovered)
    learner = replay.fit(learner, known, head="prototype").learner

Four ways to look, by name: "prototype" (class means of the features, Snell et al. 2017), "maml"
(gradient steps on all weights, Finn et al. 2017), "fomaml" (the same, first-order) and "anil"
(steps on the head alone, Raghu et al. 2020).

Letters: E episodes, S support and B query images of one, W ways.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from wlib import store
from wlib.check import require, require_one_of
from wlib.core import nets
from wlib.core.pool import Pool
from wlib.data import Episode, ImageSet, episodes
from wlib.free import learner as learners
from wlib.free.learner import Body, Weights, adapt, prototypes

HEADS = ("prototype", "maml", "fomaml", "anil")
ENGINES = ("auto", "loop", "vmap")


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
class Inner:
    """How an episode is learned: the head's name, and the steps and rate of gradient descent."""

    head: str = "prototype"
    ways: int = 5
    steps: int = 5
    rate: float = 0.01


def query_logits(parts: Body, weights: Weights, inner: Inner, support: Tensor, labels: Tensor,
                 query: Tensor) -> Tensor:
    """Logits (B,W) of the query images, after a look at the support images (S,C,H,W)."""
    if inner.head in ("maml", "fomaml"):
        def loss(w):
            return F.cross_entropy(parts.logits(w, support), labels)
        weights = adapt(loss, weights, inner.steps, inner.rate, inner.head == "fomaml")
        return parts.classify(weights, parts.of_query(weights, support, query))
    of_support, of_query = parts.both(weights, support, query)
    if inner.head == "prototype":
        return F.linear(of_query, *prototypes(of_support, labels, inner.ways))

    def loss(w):
        return F.cross_entropy(parts.classify(w, of_support), labels)
    own = {k: t for k, t in weights.items() if k.rpartition(".")[0] == parts.head}
    return parts.classify(adapt(loss, own, inner.steps, inner.rate), of_query)


def engine_for(device: torch.device) -> str:
    """What engine="auto" stands for: episodes stacked on a GPU, one after another on a CPU.

    A CPU gains nothing from fewer and larger operations here, and the loop keeps the layout of
    memory in which it pools and normalizes fast. `wlib bench` measures both.
    """
    return "vmap" if nets.stacked(device) else "loop"


# ---- meta-training ------------------------------------------------------------------------------
@dataclass
class Run:
    """A meta-training so far: the learner, each step's loss (mean of its episodes, in nats) and
    query accuracy, and what going on needs."""

    learner: Pool
    settings: dict[str, Any]
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    moments: dict[str, Weights] = field(default_factory=dict)


def fit(learner: Pool, images: ImageSet, *, head: str = "prototype", ways: int = 5,
        shots: int = 1, queries: int = 15, steps: int = 200, batch: int = 4, rate: float = 1e-3,
        inner_steps: int = 5, inner_rate: float = 0.01, transductive: bool = True,
        engine: str = "auto", seed: int = 0, device: str = "auto", run: Run | None = None) -> Run:
    """Train a learner on episodes of `images`, recovered or real: `steps` steps of Adam.

    A step takes the mean of `batch` episodes' query losses (see `query_logits`), an episode has
    `ways` classes with `shots` support and `queries` query images each. Its labels are dealt to
    its classes at random. `inner_steps` and `inner_rate` are those of MAML and ANIL. `transductive`
    as in `learner.body`. `engine`: episodes one after another ("loop") or stacked ("vmap").

    The rate, 5 steps at 0.01 inside and 15 query images are the official code's; it adds the
    losses of 10 episodes up, which Adam takes for the same as their mean.

    Hand the result back as `run` (same arguments; `steps` may grow) to go on: it ends with the
    weights of an unbroken run, bit for bit. `stored_fit` does so by itself.
    """
    settings = _settings(learner, images, head, ways, shots, queries, steps, batch, rate,
                         inner_steps, inner_rate, transductive, engine, seed, device)
    require(run is None or isinstance(run, Run) and run.settings == settings, "run",
            "one with other arguments" if isinstance(run, Run) else run,
            "a run with these arguments")
    run = run or Run(learner, settings)
    require(len(run.losses) <= steps, "steps", steps, f"at least the run's {len(run.losses)}")
    drawn = episodes(images, ways=ways, shots=shots, queries=queries, count=steps * batch,
                     seed=seed)
    return _train(run, islice(drawn, len(run.losses) * batch, None),
                  Inner(head, ways, inner_steps, inner_rate), images.images.shape[1:])


def _train(run: Run, drawn: Iterator[Episode], inner: Inner, shape) -> Run:
    s = run.settings
    device = torch.device(s["device"])
    learner = run.learner.to(device)
    backward = _stacked if s["engine"] == "vmap" else _in_turn
    parts = learners.body(learner, shape, s["transductive"], s["ways"] * s["shots"],
                          fused=backward is _in_turn or inner.head != "maml")
    theta = {k: t.detach().clone().requires_grad_() for k, t in learners.weights(learner).items()}
    adam = torch.optim.Adam(theta.values(), lr=s["rate"])
    for k, moments in run.moments.items():
        adam.state[theta[k]] = {m: t.to(device if t.ndim else "cpu").clone()   # the count: no GPU's
                                for m, t in moments.items()}
    losses, accuracies = list(run.losses), list(run.accuracies)
    while some := list(islice(drawn, s["batch"])):
        adam.zero_grad()
        loss, accuracy = backward(parts, theta, inner, *tensors(some, device, learner.dtype))
        adam.step()
        losses.append(loss)
        accuracies.append(accuracy)
    moments = {k: dict(adam.state[t]) for k, t in theta.items() if t in adam.state}
    return Run(learners.with_weights(learner, theta), s, losses, accuracies, moments)


def tensors(some: Sequence[Episode], device, dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Stacked: support (E,S,C,H,W) and its labels (E,S), query (E,B,C,H,W) and labels (E,B)."""
    def stacked(parts):
        return (torch.stack([p.floats(device) for p in parts]).to(dtype),
                torch.stack([p.labels for p in parts]).to(device))
    return *stacked([e.support for e in some]), *stacked([e.query for e in some])


def _stacked(parts, theta, inner, support, labels, query, answers) -> tuple[float, float]:
    """Gradients of the mean loss of all episodes at once; loss and accuracy."""
    logits = vmap(lambda *e: query_logits(parts, theta, inner, *e))(support, labels, query)
    loss = F.cross_entropy(logits.flatten(0, 1), answers.flatten())
    loss.backward()
    return loss.item(), _accuracy(logits, answers)


def _in_turn(parts, theta, inner, *episodes) -> tuple[float, float]:
    """The same, one episode after another: only one is held at a time."""
    count = len(episodes[0])
    losses, right = [], []
    for support, labels, query, answers in zip(*episodes, strict=True):
        logits = query_logits(parts, theta, inner, support, labels, query)
        loss = F.cross_entropy(logits, answers)
        (loss / count).backward()
        losses.append(loss.item())
        right.append(_accuracy(logits, answers))
    return sum(losses) / count, sum(right) / count


def _accuracy(logits: Tensor, answers: Tensor) -> float:
    return (logits.argmax(-1) == answers).double().mean().item()


def _settings(learner, images, head, ways, shots, queries, steps, batch, rate, inner_steps,
              inner_rate, transductive, engine, seed, device) -> dict[str, Any]:
    """The arguments that make a run what it is, after a look at each; `steps` may grow."""
    learners.require_one(learner)
    require(isinstance(images, ImageSet), "images", images, "an ImageSet")
    require_one_of("head", head, HEADS)
    require_one_of("engine", engine, ENGINES)
    for name, value, least in (("steps", steps, 1), ("batch", batch, 1), ("seed", seed, 0),
                               ("inner_steps", inner_steps, 0)):
        require(isinstance(value, int) and not isinstance(value, bool) and value >= least, name,
                value, f"a whole number ≥ {least}")
    for name, value in (("rate", rate), ("inner_rate", inner_rate)):
        require(isinstance(value, (int, float)) and 0 < value < math.inf, name, value,
                "a positive number")
    require(isinstance(transductive, bool), "transductive", transductive,
            "True or False: a learner in training has no running statistics")
    outputs = learner.logits(images[:1]).shape[-1]
    require(head == "prototype" or outputs == ways, "learner", f"{outputs} outputs",
            f"{ways}, one for each of the episodes' ways")
    kind = nets.resolve_device(device)
    return {"learner": learner.digest(), "images": images.digest(), "head": head, "ways": ways,
            "shots": shots, "queries": queries, "batch": batch, "rate": rate,
            "inner_steps": inner_steps, "inner_rate": inner_rate, "transductive": transductive,
            "engine": engine_for(kind) if engine == "auto" else engine, "seed": seed,
            "device": str(kind)}


# ---- kept in the store --------------------------------------------------------------------------
def stored_fit(learner: Pool, images: ImageSet, *, steps: int = 200, every: int = 50,
               **settings) -> Run:
    """`fit`, kept in the store in pieces of `every` steps: a run that was killed goes on where it
    was, and a longer one begins with a shorter one's pieces."""
    require(isinstance(every, int) and every >= 1, "every", every, "a whole number ≥ 1")
    require("run" not in settings, "run", "one", "none: the store keeps it")
    settings["device"] = str(nets.resolve_device(settings.get("device", "auto")))
    state = None
    for stop in [*range(every, steps, every), steps]:
        state = store.cached(_stored_piece, learner, images, settings, stop, state)
    return _unpack(state, learner)


def _stored_piece(learner, images, settings, stop, state):
    run = None if state is None else _unpack(state, learner)
    run = fit(learner, images, steps=stop, run=run, **settings)
    return {"parameters": run.learner.parameters, "settings": run.settings, "losses": run.losses,
            "accuracies": run.accuracies, "moments": run.moments}


def _unpack(state, learner) -> Run:
    pool = Pool(learner.template, state["parameters"], learner.buffers)
    return Run(pool, state["settings"], state["losses"], state["accuracies"], state["moments"])
