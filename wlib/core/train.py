"""Train one network or a whole pool at once.

A member of a pool depends on its own seed alone: its initial weights and the order of its batches
are the same whether it is trained by itself or among others, by either engine.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from wlib import store
from wlib.check import require, whole
from wlib.core import nets
from wlib.core.batches import Images
from wlib.core.pool import Pool
from wlib.seeds import generator

OPTIMIZER = torch.optim.Adam
Optimize = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
Spec = str | nn.Module | Callable[[], nn.Module] | Pool
DRAWS = nn.modules.dropout._DropoutNd       # the base of every kind of dropout


def fit(spec: Spec, data: Images, *,
        seeds: Sequence[int] = (0,), epochs: int = 12, batch: int = 64, lr: float = 1e-3,
        engine: str = "auto", device: str = "auto", **settings: Any) -> Pool:
    """A pool of networks trained with cross-entropy by Adam, one per seed.

    `spec` is an architecture's name (classes, channels and size come from the data; `settings` go
    to `nets.build`), a module (copied and initialized anew), a function that returns a module, or
    a `Pool` to train further: of one network, which then starts every member, or of one per seed.
    `data` is an `ImageSet`; `lr` is Adam's learning rate; the engine is that of `Pool.logits`. With
    `epochs=0` the members are returned as they start. An image that would be alone in the last
    batch goes into the one before where BatchNorm asks for two.
    """
    seeds = _seeds(seeds)
    require(hasattr(data, "floats") and len(data) > 0, "data", data, "an ImageSet with images")
    require(whole(epochs, 0), "epochs", epochs, "a whole number ≥ 0")
    require(whole(batch, 1), "batch", batch, "a whole number ≥ 1")
    require(isinstance(lr, (int, float)) and lr > 0, "lr", lr, "a positive learning rate")
    start = _start(spec, data, seeds, settings).to(device)
    outputs = start[0].logits(data[:1]).shape[2:]        # one image tells whether all will fit
    require(len(outputs) == 1 and outputs[0] >= len(data.classes), "spec",
            f"outputs {tuple(outputs)}", f"at least the data's {len(data.classes)} classes")
    draws = any(isinstance(m, DRAWS) for m in start.template.modules())
    require(not (engine == "vmap" and draws), "engine", "vmap",
            "'loop' for networks with dropout: both engines could not draw the same")
    together = start.engine(engine) == "vmap" and not draws
    if epochs == 0:
        return start

    x, y = data.floats(start.device), data.labels.to(start.device)
    join = _needs_two(start, data, batch)
    orders = [_batches(len(data), seed, epochs, batch, join) for seed in seeds]
    # Fused: one pass over the weights, a third of an MLP's time.
    given = (start, x.to(start.dtype), y, orders, seeds, partial(OPTIMIZER, lr=lr, fused=True))
    if together:
        try:
            return _train_together(*given)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as problem:     # dropout as a function, a look at the data
            if engine == "vmap":
                raise ValueError("engine: got 'vmap', want 'auto' or 'loop': these networks cannot "
                                 f"be trained stacked ({problem})") from problem
    return _train_in_turn(*given)


def stored_fit(spec: Spec, data: Images, *, seeds: Sequence[int] = (0,), device: str = "auto",
               **settings: Any) -> Pool:
    """`fit`, with every seed's network kept in the store under a key of its own."""
    seeds, kind = _seeds(seeds), str(nets.resolve_device(device))
    members = [store.cached(_fit_one, spec, data, seed, kind, settings) for seed in seeds]
    template = _start(spec, data, [0], {k: v for k, v in settings.items() if k not in
                                        inspect.signature(fit).parameters}).template
    return Pool.cat([Pool(template, m["parameters"], m["buffers"]) for m in members]).to(device)


def _fit_one(spec: Spec, data: Images, seed: int, device: str, settings: dict[str, Any]
             ) -> dict[str, dict[str, Tensor]]:
    if isinstance(spec, Pool):
        require(len(spec) == 1, "spec", spec, "a pool of one network, the start of every member")
    pool = fit(spec, data, seeds=[seed], device=device, **settings)
    return {"parameters": pool.parameters, "buffers": pool.buffers}


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    require(len(seeds) > 0 and len(set(seeds)) == len(seeds)
            and all(whole(s, 0) for s in seeds),
            "seeds", seeds, "whole numbers of at least 0, at least one and no two equal")
    return seeds


def _start(spec: Spec, data: Images, seeds: Sequence[int], settings: dict[str, Any]) -> Pool:
    if isinstance(spec, Pool):
        require(len(spec) in (1, len(seeds)), "spec", spec, f"1 or {len(seeds)} networks")
        require(not settings, "settings", settings, "none for a pool that is trained further")
        return spec if len(spec) == len(seeds) else spec.repeat(len(seeds))
    if isinstance(spec, str):
        settings = {"classes": len(data.classes), "channels": data.channels, "size": data.size,
                    **settings}
    else:
        require(not settings, "settings", settings, "none where spec is no architecture's name")
    return Pool.stack([nets.fresh(spec, seed, **settings) for seed in seeds])


def _batches(count: int, seed: int, epochs: int, batch: int, join: bool = False) -> list[Tensor]:
    """The image numbers of every step, drawn anew each epoch from (seed, epoch).

    With `join` an image that is left alone at the end goes into the batch before.
    """
    sizes = [len(part) for part in torch.empty(count).split(batch)]
    if join:
        sizes[-2:] = [batch + 1]
    return [part for epoch in range(epochs)
            for part in torch.randperm(count, generator=generator(seed, epoch)).split(sizes)]


def _needs_two(start: Pool, data: Images, batch: int) -> bool:
    """Whether one image would be left alone in a batch and the network cannot learn from one.

    BatchNorm cannot where one value per channel is left of an image: it is its own mean.
    """
    if len(data) % batch != 1 % batch:
        return False
    try:
        with torch.no_grad(), _own_draws(start.device):
            start.network(0).train()(data[:1].floats(start.device).to(start.dtype))
    except ValueError as problem:
        if "more than 1 value per channel" not in str(problem):
            raise
        want = "at least 2: BatchNorm after a layer without pixels cannot learn from one image"
        require(batch > 1, "batch", batch, want)
        require(len(data) > 1, "data", f"{len(data)} image", want)
        return True
    return False


def _own_draws(device: torch.device) -> AbstractContextManager:
    """What is drawn inside (by dropout) leaves no trace outside."""
    return torch.random.fork_rng(devices=[] if device.type == "cpu" else None)


def _train_in_turn(start: Pool, x: Tensor, y: Tensor, orders: list[list[Tensor]],
                   seeds: list[int], optimize: Optimize) -> Pool:
    trained = []
    for i, (order, seed) in enumerate(zip(orders, seeds, strict=True)):
        net = start.network(i).train()
        step = optimize(net.parameters())
        with _own_draws(x.device):
            torch.manual_seed(seed)                                  # dropout draws from it
            for part in order:
                step.zero_grad()
                F.cross_entropy(net(x[part]), y[part]).backward()
                step.step()
        trained.append(net.eval())
    pool = Pool.stack(trained)
    return Pool(start.template, pool.parameters, pool.buffers)


def _train_together(start: Pool, x: Tensor, y: Tensor, orders: list[list[Tensor]],
                    seeds: list[int], optimize: Optimize) -> Pool:
    template = start.network(0).train()
    weights = {k: start.parameters[k].clone().requires_grad_(t.requires_grad)   # some are frozen
               for k, t in template.named_parameters()}
    buffers = {k: t.clone() for k, t in start.buffers.items()}      # running statistics move
    step = optimize(weights.values())

    def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
             ) -> Tensor:
        return F.cross_entropy(functional_call(template, (weights, buffers), (x,)), y)

    for parts in zip(*orders, strict=True):
        index = torch.stack(parts)                                   # (N, b)
        step.zero_grad()
        # The sum keeps members apart: each one's gradient depends on its own loss alone.
        vmap(loss)(weights, buffers, x[index], y[index]).sum().backward()
        step.step()
    return Pool(start.template, {k: t.detach() for k, t in weights.items()}, buffers)
