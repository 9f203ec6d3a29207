"""Judge few-shot learners: one list of episodes for all, accuracy episode by episode.

    tasks = list(episodes(test, ways=5, shots=1, queries=15, count=200, seed=seed))
    evaluate(learner, tasks)                        # (E,), the same tasks for every rival

Rows of accuracies, one per seed of the pool, stack to the (S,E) that `claims.Report.measure` takes:
its intervals and paired differences are over seeds and episodes. What is chosen (learning rates,
steps, the best network) is chosen on episodes of validation classes.

The rivals that a data-free learner has to beat, with the same call:

| rival | learner |
|---|---|
| random start | `Pool.stack([nets.fresh("conv4", seed, …)])` |
| raw pixels | `few_shot.pixels` |
| mean of the pool | `audit.mean(pool)` |
| best single network | `few_shot.best(pool, validation_tasks)` |
| features of all networks | `pool`, or a list of pools of several architectures |
| distilled pool | `few_shot.distill(pool, images, start)` |
| learned from real data | `replay.fit(start, real_images).learner` |

Letters: E episodes, N networks, S support and B query images, F features, W ways.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib import seeds
from wlib.check import require, require_one_of, whole
from wlib.core import nets
from wlib.core.pool import IMAGES_AT_ONCE, Pool
from wlib.data.sets import Episode, ImageSet
from wlib.free import learner as learners
from wlib.free.learner import Body, Weights, adapt, prototypes

HEADS = ("centroid", "fine-tune")
Features = Callable[[Tensor], Tensor]
Learner = Pool | Sequence[Pool] | Features
Pair = tuple[Tensor, Tensor]        # features of support and of query images


# ---- evaluation ---------------------------------------------------------------------------------
@torch.no_grad()
def evaluate(learner: Learner, episodes: Iterable[Episode], *, head: str = "centroid",
             transductive: bool | None = True, steps: int = 10, lr: float = 0.01,
             device: str | torch.device = "auto") -> Tensor:
    """Accuracy on each episode's query images, (E,) in [0, 1], double.

    `learner` is a `Pool` of one network; more networks, or pools of several architectures in a
    list, classify by the features of all side by side, each network's scaled to unit length; a
    function gives features (B,F) of floats (B,C,H,W).

    head="centroid": the class whose mean support feature is nearest. "fine-tune", for one network:
    `steps` steps of gradient descent at `lr` on all weights and the support images (10 at 0.01
    in the official code); the network's own outputs 0 … W−1 name the classes.

    `transductive=True` is the official protocol: BatchNorm divides by the statistics of all query
    images of the episode, as many of each class. False: of its support images alone. None: by
    the running statistics that the network was trained with.
    """
    require_one_of("head", head, HEADS)
    require(transductive is None or isinstance(transductive, bool), "transductive", transductive,
            "True, False or None")
    require(whole(steps, 0), "steps", steps, "a whole number ≥ 0")
    require(isinstance(lr, (int, float)) and 0 < lr < math.inf, "lr", lr,
            "a positive learning rate")
    tasks = list(episodes)
    require(len(tasks) > 0 and all(isinstance(e, Episode) for e in tasks), "episodes", tasks[:1],
            "at least one Episode (a generator is empty after its first use: make a list)")
    device = nets.resolve_device(device)
    if head == "fine-tune":
        return _fine_tuned(learner, tasks, transductive, steps, lr, device)
    return torch.stack([_centroid(*pair, task) for pair, task in
                        zip(_embedded(learner, tasks, transductive, device), tasks, strict=True)])


def _centroid(support: Tensor, query: Tensor, task: Episode) -> Tensor:
    head = prototypes(support, task.support.labels.to(support.device), len(task.support.classes))
    return _accuracy(F.linear(query, *head), task)


def _accuracy(logits: Tensor, task: Episode) -> Tensor:
    return (logits.argmax(1).cpu() == task.query.labels).double().mean()


def _fine_tuned(learner: Any, tasks: list[Episode], transductive: bool | None, steps: int,
                lr: float, device: torch.device) -> Tensor:
    learners.require_one(learner)
    learner, right = learner.to(device), []
    weights = learners.weights(learner)
    outputs = learner.logits(tasks[0].query[:1]).shape[-1]
    for task, parts in _bodies(learner, tasks, transductive):
        require(outputs >= len(task.support.classes), "learner", f"{outputs} outputs",
                f"at least the episode's {len(task.support.classes)} classes")
        x, query = (part.floats(device).to(learner.dtype) for part in (task.support, task.query))
        y = task.support.labels.to(device)

        def loss(w: Weights, parts: Body = parts, x: Tensor = x, y: Tensor = y) -> Tensor:
            return F.cross_entropy(parts.logits(w, x), y)

        adapted = adapt(loss, weights, steps, lr)
        right.append(_accuracy(parts.classify(adapted, parts.of_query(adapted, x, query)), task))
    return torch.stack(right)


def _bodies(learner: Pool, tasks: list[Episode], transductive: bool | None
            ) -> Iterator[tuple[Episode, Body]]:
    """Each task with the network's body for it; equal tasks share one."""
    made: dict[tuple, Body] = {}
    for task in tasks:
        key = (tuple(task.support.images.shape[1:]), len(task.support))
        if key not in made:
            made[key] = learners.body(learner, key[0], transductive, key[1])
        yield task, made[key]


# ---- features -----------------------------------------------------------------------------------
def _embedded(learner: Learner, tasks: list[Episode], transductive: bool | None,
              device: torch.device) -> list[Pair]:
    """Features of each task's support (S,F) and query (B,F) images."""
    if not isinstance(learner, (Pool, list, tuple)):
        require(callable(learner), "learner", learner, "a Pool, a list of pools or a function")
        return _once(cast(Features, learner), tasks, device)
    found = [_of_network(pool.to(device), i, tasks, transductive, device)
             for pool in _list("learner", learner) for i in range(len(pool))]
    if len(found) == 1:
        return found[0]
    return [(_beside(*support), _beside(*query)) for support, query in
            (zip(*task, strict=True) for task in zip(*found, strict=True))]


def _beside(*features: Tensor) -> Tensor:
    return torch.cat([F.normalize(part.float(), dim=1) for part in features], dim=1)


def _of_network(pool: Pool, i: int, tasks: list[Episode], transductive: bool | None,
                device: torch.device) -> list[Pair]:
    weights = learners.weights(pool, i)
    if transductive is None:          # features of an image do not depend on its company
        parts = learners.body(pool[i], tasks[0].support.images.shape[1:], None)
        return _once(lambda x: parts.features(weights, x.to(pool.dtype)), tasks, device)
    found = []
    for task, parts in _bodies(pool[i], tasks, transductive):
        x, query = (part.floats(device).to(pool.dtype) for part in (task.support, task.query))
        found.append(parts.both(weights, x, query))
    return found


def _once(function: Features, tasks: list[Episode], device: torch.device) -> list[Pair]:
    """Features of an image that occurs in many episodes are computed once."""
    images = torch.cat([part.images for task in tasks for part in (task.support, task.query)])
    rows = images.flatten(1).numpy()
    _, first, place = np.unique(rows.view(f"V{rows.shape[1]}")[:, 0], return_index=True,
                                return_inverse=True)
    features = [function(part.to(device).float() / 255)
                for part in images[torch.from_numpy(first)].split(IMAGES_AT_ONCE)]
    sizes = [len(part) for task in tasks for part in (task.support, task.query)]
    require(all(isinstance(f, Tensor) and f.ndim == 2 for f in features), "learner", features[0],
            "a function that gives features (B,F)")
    parts = torch.cat(features)[torch.from_numpy(place).to(device)].split(sizes)
    return list(zip(parts[::2], parts[1::2], strict=True))


# ---- rivals -------------------------------------------------------------------------------------
def pixels(x: Tensor) -> Tensor:
    """Raw pixels as features: (B,C,H,W) -> (B,CHW)."""
    return x.flatten(1)


def best(pools: Pool | Sequence[Pool], episodes: Iterable[Episode], **settings: Any) -> Pool:
    """The network, of all in these pools, with the highest mean accuracy; of equals the first.

    The episodes must be of validation classes: on test classes this would be an oracle. It also
    picks among learners of several learning rates or lengths of training, each a pool of one.
    """
    tasks, single = list(episodes), [p[i] for p in _list("pools", pools) for i in range(len(p))]
    means = [float(evaluate(network, tasks, **settings).mean()) for network in single]
    return single[int(np.argmax(means))]


def _list(name: str, pools: Any) -> list[Pool]:
    pools = [pools] if isinstance(pools, Pool) else pools
    require(isinstance(pools, (list, tuple)) and len(pools) > 0
            and all(isinstance(p, Pool) for p in pools), name, pools, "a Pool or a list of pools")
    return list(pools)


def distill(pools: Pool | Sequence[Pool], images: ImageSet, start: Pool, *, steps: int = 400,
            batch: int = 64, lr: float = 1e-3, seed: int = 0, device: str = "auto") -> Pool:
    """One network that predicts the features of all: `imitate` of their `targets` on the images,
    any will do."""
    learners.require_one(start)
    require(isinstance(images, ImageSet) and len(images) >= 2, "images", images,
            "an ImageSet with at least 2 images")
    wanted = targets(pools, images.floats(nets.resolve_device(device)).to(start.dtype))
    return imitate(wanted, images, start, steps=steps, batch=batch, lr=lr, seed=seed,
                   device=device)


def imitate(wanted: Tensor, images: ImageSet, start: Pool, *, steps: int = 400, batch: int = 64,
            lr: float = 1e-3, seed: int = 0, device: str = "auto") -> Pool:
    """One network that predicts what is `wanted` (B,D) of the images: a pool of one.

    `start` (a pool of one) gets a linear map to D numbers in the place of its head; what it
    predicts are the features of the result, with a new head behind. It is fitted by Adam on the
    mean squared error.
    """
    learners.require_one(start)
    require(isinstance(images, ImageSet) and len(images) >= 2, "images", images,
            "an ImageSet with at least 2 images")
    require(wanted.ndim == 2 and len(wanted) == len(images), "wanted", wanted,
            f"a row for each of {len(images)} images")
    for name, value, least in (("steps", steps, 0), ("batch", batch, 2), ("seed", seed, 0)):
        require(whole(value, least), name, value, f"a whole number ≥ {least}")
    require(isinstance(lr, (int, float)) and 0 < lr < math.inf, "lr", lr,
            "a positive learning rate")
    place = nets.resolve_device(device)
    x, wanted = images.floats(place).to(start.dtype), wanted.to(place)
    student = _student(start, x.shape[1:], wanted.shape[1], seed).to(place)
    parts = learners.body(student, x.shape[1:])
    theta = {k: t.clone().requires_grad_() for k, t in learners.weights(student).items()}
    adam = torch.optim.Adam(theta.values(), lr=lr)
    size = min(batch, len(x))
    for step in range(steps):
        drawn = torch.randperm(len(x), generator=seeds.generator(seed, step))[:size]
        adam.zero_grad()
        F.mse_loss(parts.features(theta, x[drawn]), wanted[drawn]).backward()
        adam.step()
    return learners.with_weights(student, theta)


@torch.no_grad()
def targets(pools: Pool | Sequence[Pool], x: Tensor, what: str = "features") -> Tensor:
    """Features (or, with what="answers", log-probabilities) of all networks side by side, (B,ΣF),
    from floats (B,C,H,W), each network's `standardized`.
    """
    require_one_of("what", what, ("features", "answers"))
    found = []
    for pool in (p.to(x.device) for p in _list("pools", pools)):
        for i in range(len(pool)):
            parts, weights = learners.body(pool[i], x.shape[1:], None), learners.weights(pool, i)
            said = torch.cat([parts.features(weights, part.to(pool.dtype))
                              for part in x.split(IMAGES_AT_ONCE)])
            if what == "answers":
                said = parts.classify(weights, said).log_softmax(1)
            found.append(standardized(said))
    return torch.cat(found, dim=1).to(x.dtype)


def standardized(said: Tensor) -> Tensor:
    """Centered numbers (B,F), divided by the spread of all, so that all that is imitated counts
    alike. Without centering, all images have nearly the same target and nothing is learned from it.
    """
    centered = said - said.mean(0)
    return centered / centered.std().clamp(min=1e-12)


def _student(start: Pool, shape: Sequence[int], outputs: int, seed: int) -> Pool:
    name = learners.body(start, shape).head
    net = start.network(0)
    head: Any = net.get_submodule(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net.set_submodule(name, nn.Linear(head.in_features, outputs))
        return Pool.stack([nn.Sequential(OrderedDict(
            body=net, head=nn.Linear(outputs, head.out_features)))])
