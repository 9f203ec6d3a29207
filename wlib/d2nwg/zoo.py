"""A zoo: pairs of a data set and a network trained on it, divided by data set.

    sets = [*universes.styles("train", 48), *universes.styles("test", 12)]
    zoo = trained(sets, start="shared")          # one tiny CNN per data set, kept in the store
    zoo.split("train").weights                   # (48, 2464), to learn from
    accuracy(weights, [s.test for s in zoo.split("test").sets], like=zoo.pool)     # (12, M)

Letters: T data sets, N networks, M candidates per data set, D weights, B images, K classes.
How the networks of a zoo start decides what can be learned from them, so a zoo says it (`start`).
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from wlib import seeds, store
from wlib.check import require, require_one_of, short, whole
from wlib.core import matching, nets, score
from wlib.core.pool import Pool
from wlib.d2nwg.heads import Features
from wlib.data import SPLITS, ImageSet
from wlib.data.domains import joined
from wlib.data.universes import DataSet

Images = ImageSet | Features
STARTS = ("shared", "independent")
Orders = list[list[Tensor]]                  # image numbers of each network's steps
BLOCK = 256      # networks trained, and kept in the store, at once by the vmap engine
UNSTEADY = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


# ---- architectures ----------------------------------------------------------------------------
def tiny_cnn(classes: int = 10, channels: int = 1, size: int = 28) -> nn.Sequential:
    """The paper's tiny CNN: 2,464 weights for gray and 2,864 for color images of 28×28 pixels.

    Three convolutions and two linear layers with LeakyReLU and pooling in the released code's
    order. Larger images make the first linear layer larger: 32×32 in color has 3,424 weights.
    """
    for argument, value in (("classes", classes), ("channels", channels), ("size", size)):
        require(whole(value, 1), argument, value, "a whole number ≥ 1")
    side = ((size - 4) // 2 - 4) // 2 - 1
    require(side >= 1, "size", size, "at least 20, for three convolutions and two poolings")
    return nn.Sequential(OrderedDict([
        ("conv1", nn.Conv2d(channels, 8, 5)), ("pool1", nets.MaxPool2()), ("act1", nn.LeakyReLU()),
        ("conv2", nn.Conv2d(8, 6, 5)), ("pool2", nets.MaxPool2()), ("act2", nn.LeakyReLU()),
        ("conv3", nn.Conv2d(6, 4, 2)), ("act3", nn.LeakyReLU()), ("flatten", nn.Flatten()),
        ("fc1", nn.Linear(4 * side * side, 20)), ("act4", nn.LeakyReLU()),
        ("fc2", nn.Linear(20, classes))]))


# ---- the zoo ----------------------------------------------------------------------------------
class Zoo:
    """T data sets and N networks of one architecture; network i was trained on sets[of[i]].

    `networks` is a `Pool` or a sequence of modules, by default one per data set, in order. A data
    set is in one split with all its networks. `start` says how the networks were initialized.
    Refuses mixed architectures, weights that are not finite, data sets of one name, and more
    classes than the networks have outputs.
    """

    def __init__(self, sets: Sequence[DataSet], networks: Pool | Sequence[nn.Module],
                 of: Sequence[int] | Tensor | None = None, start: str = "unknown"):
        self.sets = tuple(sets)
        require(len(self.sets) > 0 and all(isinstance(s, DataSet) for s in self.sets), "sets",
                sets, "at least one DataSet")
        names = [s.name for s in self.sets]
        require(len(set(names)) == len(names), "sets", names, "a name of its own for each")
        self.pool = networks if isinstance(networks, Pool) else Pool.stack(networks)
        self.of = torch.arange(len(self.sets)) if of is None else torch.as_tensor(of)
        require(self.of.dtype == torch.int64 and self.of.shape == (len(self.pool),)
                and sorted(set(self.of.tolist())) == list(range(len(self.sets))), "of",
                self.of.tolist(), f"{len(self.pool)} whole numbers, one per network, in which each "
                f"of the {len(self.sets)} data sets comes")
        require(isinstance(start, str), "start", start, "a word for how the networks began")
        self.start = start
        outputs = _outputs(self.pool)
        for s in self.sets:
            require(outputs is None or len(s.classes) <= outputs, "networks",
                    f"networks of {outputs} outputs", f"at least {len(s.classes)}, the classes of "
                    f"{s.name!r}")

    def __len__(self) -> int:
        return len(self.pool)

    @property
    def weights(self) -> Tensor:
        """(N, D), in the order of `named_parameters`."""
        return self.pool.flat()

    @property
    def specs(self) -> list[dict]:
        """What each network's data set is, N plain dicts."""
        return [{"name": self.sets[t].name, "split": self.sets[t].split} | self.sets[t].spec
                for t in self.of.tolist()]

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Zoo:
        """The zoo of the chosen networks and of their data sets alone."""
        pool = self.pool[index]                                    # refuses what is no index
        chosen = self.of[index if isinstance(index, (int, slice)) else torch.as_tensor(index)]
        used, of = chosen.reshape(-1).unique(return_inverse=True)
        return Zoo([self.sets[t] for t in used.tolist()], pool, of, self.start)

    def split(self, name: str) -> Zoo:
        """The networks whose data sets are in a split: "train", "validation" or "test"."""
        require_one_of("name", name, SPLITS)
        mine = torch.tensor([self.sets[t].split == name for t in self.of.tolist()])
        require(bool(mine.any()), "name", name, "a split that has data sets: "
                + ", ".join(sorted({s.split for s in self.sets})))
        return self[mine.nonzero().squeeze(1)]

    def with_pool(self, pool: Pool, start: str) -> Zoo:
        """The same data sets with other networks, such as aligned ones."""
        return Zoo(self.sets, pool, self.of, start)

    def accuracy(self, part: str = "test") -> Tensor:
        """Fraction of its own data set's images that each network gets right, (N,) in [0, 1]."""
        return accuracy(self.pool, [getattr(self.sets[t], part) for t in self.of.tolist()])

    def digest(self) -> str:
        """A hash of data sets, networks and which belongs to which."""
        whole = [[s.digest() for s in self.sets], self.pool.digest(), self.of.tolist(), self.start]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def __repr__(self) -> str:
        return (f"Zoo({len(self)} networks of {self.pool.size:,} weights, {self.start} start, "
                f"{len(self.sets)} data sets)")


def _outputs(pool: Pool) -> int | None:
    """The outputs of the last linear layer, if there is one."""
    return next((m.out_features for m in reversed(list(pool.template.modules()))
                 if isinstance(m, nn.Linear)), None)


# ---- training ---------------------------------------------------------------------------------
def trained(sets: Sequence[DataSet], net: nn.Module | None = None, *, start: str = "shared",
            each: int = 1, steps: int = 300, seed: int = 0, engine: str = "auto",
            device: str = "auto", **settings: Any) -> Zoo:
    """A zoo of `each` networks per data set, trained by `descend` on its train part.

    `net` is the architecture, by default `tiny_cnn` for the images; its weights do not count. With
    `start="shared"` all networks begin with the same weights, with "independent" each with its
    own. A network depends on `seed`, its data set's name and images, and its copy's number, not on
    what else is in the zoo. Each is kept in the store on its own, so that a killed run goes on
    where it was; the vmap engine, which "auto" takes on GPUs, keeps blocks of 256. `settings` are
    the `batch` and `lr` of `descend`.
    """
    sets = list(sets)
    require(len(sets) > 0 and all(isinstance(s, DataSet) for s in sets), "sets", sets,
            "at least one DataSet")
    require_one_of("start", start, STARTS)
    require(whole(each, 1), "each", each, "a whole number ≥ 1")
    require(whole(steps, 0), "steps", steps, "a whole number ≥ 0")
    net = net or _suited(sets)
    jobs = [(t, seeds.base(seeds.generator(seed, s.number, copy)))
            for t, s in enumerate(sets) for copy in range(each)]
    begin = shared_start(net, seed).repeat(len(jobs)) if start == "shared" \
        else Pool.stack([nets.fresh(net, own) for _, own in jobs])
    start_zoo = Zoo(sets, begin, [t for t, _ in jobs], start)        # refuses before work starts
    for s in sets:
        _require_outputs(begin, s.train)
    if engine == "auto":      # in turn on a CPU: as fast, and each network is kept on its own
        engine = "vmap" if nets.stacked(nets.resolve_device(device)) else "loop"
    kind = begin.to(device).engine(engine)
    size = BLOCK if kind == "vmap" else 1
    blocks = [slice(i, i + size) for i in range(0, len(jobs), size)]
    states = [store.cached(_trained, begin[b], [sets[t].train for t, _ in jobs[b]],
                           [own for _, own in jobs[b]], steps, kind,
                           str(nets.resolve_device(device)), settings) for b in blocks]
    pool = Pool.cat([begin[b].with_flat(w) for b, w in zip(blocks, states, strict=True)])
    return start_zoo.with_pool(pool, start)


def by_start(sets: Sequence[DataSet], order: Pool | None = None, **settings: Any
             ) -> dict[str, Zoo]:
    """Zoos of the same data sets by how they start: "shared", "independent" and "aligned".

    The aligned zoo is the independent one with all hidden units in the order of `order`, a pool of
    one, by default its first network. `settings` are those of `trained`.
    """
    found = {start: trained(sets, start=start, **settings) for start in STARTS}
    apart = found["independent"]
    pool = matching.aligned(apart.pool, apart.pool[0] if order is None else order)
    return found | {"aligned": apart.with_pool(pool, "aligned")}


def shared_start(net: nn.Module | None = None, seed: int = 0) -> Pool:
    """The weights that all networks of a zoo with a shared start begin with: a pool of one."""
    return Pool.stack([nets.fresh(net or tiny_cnn(), seeds.base(seeds.generator(seed)))])


def pretrained(sets: Sequence[DataSet], net: nn.Module | None = None, *, steps: int = 3000,
               seed: int = 0, device: str = "auto", **settings: Any) -> Pool:
    """One network trained on the images of all data sets together, from the shared start.

    The rival of weights for each data set: what is fine-tuned instead. Kept in the store.
    """
    sets = list(sets)
    require(len(sets) > 0 and all(isinstance(s, DataSet) for s in sets), "sets", sets,
            "at least one DataSet")
    start = shared_start(net or _suited(sets), seed)
    weights = store.cached(_trained, start, [joined([s.train for s in sets])], [seed], steps,
                           "loop", str(nets.resolve_device(device)), settings)
    return start.with_flat(weights)


def _suited(sets: Sequence[DataSet]) -> nn.Module:
    """The tiny CNN for the data sets' images and most classes."""
    return tiny_cnn(max(len(s.classes) for s in sets), sets[0].train.channels, sets[0].train.size)


def _trained(start: Pool, sets: list[ImageSet], order: list[int], steps: int, engine: str,
             device: str, settings: dict[str, Any]) -> Tensor:
    pool, = descend(start, sets, order=order, keep=(steps,), engine=engine, device=device,
                    **settings)
    return pool.flat().cpu()


def descend(start: Pool, sets: Images | Sequence[Images], *, order: int | Sequence[int] = 0,
            keep: Sequence[int] = (300,), batch: int = 40, lr: float = 3e-3,
            engine: str = "auto", device: str = "auto") -> list[Pool]:
    """Adam and cross-entropy from every network of `start` on images of its own: the pools after
    `keep[0]`, `keep[1]`, … steps (rising).

    `sets` is one set for all or N, one per network; `order` the seed of the batches' order, one for
    all or N. Step by step the engines do the same: "loop" one network after another, "vmap" all
    together (sets of equal size wanted). For networks that behave alike in training and use;
    `wlib.core.train` serves those with BatchNorm or dropout.
    """
    sets = [sets] * len(start) if isinstance(sets, Images) else list(sets)
    order = [order] * len(start) if isinstance(order, int) else list(order)
    for argument, found in (("sets", sets), ("order", order)):
        require(len(found) == len(start), argument, f"{len(found)}", f"1 or {len(start)}")
    odd = [type(m).__name__ for m in start.template.modules() if isinstance(m, UNSTEADY)]
    require(not odd, "start", f"networks with {', '.join(sorted(set(odd)))}",
            "networks without it (see wlib.core.train)")
    keep = list(keep)
    require(len(keep) > 0 and keep == sorted(set(keep)) and keep[0] >= 0, "keep", keep,
            "rising numbers of steps, from 0")
    require(whole(batch, 1), "batch", batch, "a whole number ≥ 1")
    require(isinstance(lr, (int, float)) and lr > 0, "lr", lr, "a positive learning rate")
    for s in {id(s): s for s in sets}.values():
        _require_outputs(start, s)
    start = start.to(device)
    orders = [list(_batches(len(s), own, batch, keep[-1]))
              for s, own in zip(sets, order, strict=True)]
    alike = len({len(s) for s in sets}) == 1
    if start.engine(engine) == "loop" or engine == "auto" and not alike:
        return _in_turn(start, sets, orders, keep, lr)
    require(alike, "sets", "sets of different size",
            "as many images in each for the vmap engine, or engine='loop'")
    return _together(start, sets, orders, keep, lr)


def _require_outputs(pool: Pool, data: Any) -> None:
    require(isinstance(data, Images) and len(data) > 0, "sets", data, "image sets with images")
    outputs = tuple(pool[0].logits(data[:1]).shape[2:])          # one image tells whether all fit
    require(len(outputs) == 1 and outputs[0] >= len(data.classes), "net", f"outputs {outputs}",
            f"at least {len(data.classes)}, one for each class of the data set")


def _batches(count: int, seed: int, batch: int, steps: int) -> Iterator[Tensor]:
    """The image numbers of each step; every epoch's order is drawn from (seed, epoch)."""
    epoch, done = 0, 0
    while done < steps:
        for part in torch.randperm(count, generator=seeds.generator(seed, epoch)).split(batch):
            if done < steps:
                yield part
                done += 1
        epoch += 1


def _in_turn(start: Pool, sets: list[Images], orders: Orders, keep: list[int], lr: float
             ) -> list[Pool]:
    rows: list[list[Tensor]] = [[] for _ in keep]
    for i, (data, order) in enumerate(zip(sets, orders, strict=True)):
        # Channels last: a fifth to a third faster on a CPU.
        net = start.network(i).to(memory_format=torch.channels_last)
        x, y = data.floats(start.device).to(start.dtype), data.labels.to(start.device)
        step = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
        for done in range(keep[-1] + 1):
            if done in keep:
                flat = torch.cat([p.detach().flatten() for p in net.parameters()])
                rows[keep.index(done)].append(flat.clone())
            if done < keep[-1]:
                part = order[done]
                step.zero_grad()
                F.cross_entropy(net(x[part]), y[part]).backward()
                step.step()
    return [start.with_flat(torch.stack(row)) for row in rows]


def _together(start: Pool, sets: list[Images], orders: Orders, keep: list[int], lr: float
              ) -> list[Pool]:
    own = {id(s): (s.floats(start.device).to(start.dtype), s.labels.to(start.device))
           for s in sets}                                     # a set that several share lies once
    place = {key: i for i, key in enumerate(own)}
    x, y = (torch.stack(part) for part in zip(*own.values(), strict=True))      # (S, B, …), (S, B)
    which = torch.tensor([place[id(s)] for s in sets], device=start.device)[:, None]     # (N, 1)
    weights = {k: t.clone().requires_grad_() for k, t in start.parameters.items()}
    template = start.network(0)
    step = torch.optim.Adam(weights.values(), lr=lr, fused=True)

    def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
             ) -> Tensor:
        return F.cross_entropy(functional_call(template, (weights, buffers), (x,)), y)

    kept = []
    for done in range(keep[-1] + 1):
        if done in keep:
            kept.append(Pool(start.template, {k: t.detach().clone() for k, t in weights.items()},
                             start.buffers))
        if done < keep[-1]:
            index = torch.stack([order[done] for order in orders]).to(which.device)     # (N, b)
            step.zero_grad()
            # The sum keeps networks apart: each one's gradient depends on its own loss alone.
            vmap(loss)(weights, start.buffers, x[which, index], y[which, index]).sum().backward()
            step.step()
    return kept


# ---- judging ----------------------------------------------------------------------------------
def accuracy(networks: Pool | Tensor, images: Images | Sequence[Images], *,
             like: Pool | None = None, engine: str = "auto") -> Tensor:
    """Fraction of the images that each network gets right, in [0, 1].

    N networks on one set, or on N sets, one each: (N,). Weights (T, M, D), M candidates for each
    of T data sets, on T sets: (T, M). Where weights are given (N, D) or (T, M, D), `like` is a pool
    of their architecture. A set is an `ImageSet` or, for heads, `heads.Features`.
    """
    if not isinstance(networks, Pool):
        if not isinstance(like, Pool):
            raise ValueError(f"like: got {short(like)}, want a Pool of the weights' architecture")
        require(isinstance(networks, Tensor) and networks.ndim in (2, 3)
                and networks.numel() > 0, "networks", networks,
                "a Pool, weights (N, D) or (T, M, D)")
        if networks.ndim == 3:
            parts = [images] if isinstance(images, Images) else list(images)
            require(len(parts) == len(networks), "images", f"{len(parts)} sets",
                    f"{len(networks)}, one per data set")
            return torch.stack([accuracy(w, part, like=like, engine=engine)
                                for w, part in zip(networks, parts, strict=True)])
        networks = like[:1].with_flat(networks)
    if isinstance(images, Images):
        return score.accuracy(networks, images, engine).cpu()
    images = list(images)
    require(len(images) == len(networks), "images", f"{len(images)} sets",
            f"1 or {len(networks)}, one per network")
    found = torch.empty(len(networks), dtype=torch.float64)
    for key in dict.fromkeys(map(id, images)):               # those with one set go together
        mine = [i for i, part in enumerate(images) if id(part) == key]
        found[mine] = score.accuracy(networks[mine], images[mine[0]], engine).cpu()
    return found


def curves(starts: Pool, train: Images | Sequence[Images],
           test: Images | Sequence[Images], *, steps: Sequence[int] = (0, 10, 30, 100),
           seed: int = 0, engine: str = "auto", device: str = "auto", **settings: Any) -> Tensor:
    """Accuracy on `test` after so many steps of fine-tuning on `train`: (m, S) in [0, 1].

    `train` and `test` are one set for all starts, or m, one each. All starts see the same batches.
    `settings` are the `batch` and `lr` of `descend`.
    """
    pools = descend(starts, train, order=seed, keep=steps, engine=engine, device=device, **settings)
    return torch.stack([accuracy(pool, test, engine=engine).cpu() for pool in pools], dim=1)


def area(steps: Sequence[int], curves: Tensor) -> Tensor:
    """Mean accuracy over the steps (…,): the area under curves (…, S) over the last step."""
    at = torch.as_tensor(steps, dtype=torch.float64)
    require(at.ndim == 1 and len(at) >= 2 and bool((at.diff() > 0).all()), "steps", steps,
            "at least two rising numbers")
    require(isinstance(curves, Tensor) and curves.ndim >= 1 and curves.shape[-1] == len(at),
            "curves", curves, f"a tensor (…, {len(at)})")
    return torch.trapezoid(curves.double(), at) / (at[-1] - at[0])
