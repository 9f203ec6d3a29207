"""`Pool`: N networks of one architecture as stacked tensors.

Letters: N networks, P weights per network, B images, K classes. A pool is immutable in spirit:
every method returns a new pool and shares what it can.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call, vmap

from wlib import nets, store
from wlib.check import require, require_one_of, short

ENGINES = ("auto", "loop", "vmap")
IMAGES_AT_ONCE = 250      # keeps a layer's features in a CPU's cache; measured by `wlib bench`
VMAP_CELLS = 2**27        # input values × networks held at once by the vmap engine


class Pool:
    """N networks of one architecture: `parameters` and `buffers`, each {name: (N, …)}.

    `template` gives the structure; its own weights are never used. Make pools with `Pool.stack`,
    `wlib.train.fit` or from another pool (`with_flat`, indexing, `Pool.cat`).
    """

    def __init__(self, template: nn.Module, parameters: dict[str, Tensor],
                 buffers: dict[str, Tensor] | None = None):
        self.template = template
        self.parameters = dict(parameters)
        self.buffers = dict(buffers or {})
        require(len(self.parameters) > 0, "template", type(template).__name__,
                "a network with weights")
        dtypes = {str(t.dtype) for t in self.parameters.values()}
        require(len(dtypes) == 1 and self.dtype.is_floating_point, "parameters", dtypes,
                "one floating dtype for all weights")
        sizes = {name: len(t) for name, t in (self.parameters | self.buffers).items()}
        require(len(set(sizes.values())) == 1, "parameters", sizes, "as many networks each")
        require(len(self) > 0, "pool", "no networks", "at least one")
        for name, tensor in self.parameters.items():
            if not torch.isfinite(tensor).all():
                bad = int((~torch.isfinite(tensor.flatten(1))).any(1).nonzero()[0])
                raise ValueError(f"{name}: got NaN or infinity in network {bad}, "
                                 "want finite weights")

    # ---- making pools -------------------------------------------------------------------------
    @classmethod
    def stack(cls, networks: Sequence[nn.Module]) -> Pool:
        """A pool of these networks (copied): one architecture, weights of one floating dtype."""
        networks = list(networks)
        require(len(networks) > 0, "networks", networks, "at least one nn.Module")
        for i, net in enumerate(networks):
            require(isinstance(net, nn.Module), f"networks[{i}]", net, "an nn.Module")
            shared = len(list(net.named_parameters(remove_duplicate=False))) \
                - len(list(net.parameters()))
            require(shared == 0, f"networks[{i}]", f"{shared} tensors used twice",
                    "a network whose layers share no weights")
            require(_structure(net) == _structure(networks[0]), f"networks[{i}]",
                    type(net).__name__, "the same layers and shapes as networks[0] "
                    f"({type(networks[0]).__name__}): a pool holds one architecture")
        template = blank(networks[0])
        return cls(template,
                   _stack([dict(net.named_parameters()) for net in networks]),
                   _stack([dict(net.named_buffers()) for net in networks]))

    @classmethod
    def cat(cls, pools: Sequence[Pool]) -> Pool:
        """One pool of all networks of several, in order."""
        pools = list(pools)
        require(len(pools) > 0, "pools", pools, "at least one Pool")
        first = pools[0]
        for i, pool in enumerate(pools):
            require(isinstance(pool, Pool), f"pools[{i}]", pool, "a Pool")
            require(pool._shapes() == first._shapes()
                    and str(pool.template) == str(first.template), f"pools[{i}]", pool,
                    f"the architecture of pools[0], {first!r}")
        return cls(first.template,
                   {k: torch.cat([p.parameters[k] for p in pools]) for k in first.parameters},
                   {k: torch.cat([p.buffers[k] for p in pools]) for k in first.buffers})

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def __getitem__(self, index: int | slice | Tensor | Sequence[int]) -> Pool:
        """The pool of the chosen networks; an integer gives a pool of one."""
        if not isinstance(index, slice):
            index = self._chosen(index)
        return Pool(self.template, {k: t[index] for k, t in self.parameters.items()},
                    {k: t[index] for k, t in self.buffers.items()})

    def _chosen(self, index) -> slice | Tensor:
        wanted = f"whole numbers from {-len(self)} to {len(self) - 1}, or a mask of {len(self)}"
        try:
            chosen = torch.as_tensor(index, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"index: got {short(index)}, want {wanted}") from None
        if chosen.dtype == torch.bool:
            require(chosen.shape == (len(self),), "index", index, wanted)
            return chosen
        require(not chosen.is_floating_point() and chosen.ndim <= 1 and chosen.numel() > 0
                and bool((-len(self) <= chosen).all() and (chosen < len(self)).all()),
                "index", index, wanted)
        if chosen.ndim == 0:
            return slice(int(chosen), int(chosen) + 1 or None)
        return chosen

    def __iter__(self) -> Iterator[Pool]:
        """Pools of one, in order."""
        return (self[i] for i in range(len(self)))

    def repeat(self, times: int) -> Pool:
        """Each network `times` times in a row (N·times)."""
        require(isinstance(times, int) and times >= 1, "times", times, "a whole number ≥ 1")
        return self[torch.arange(len(self)).repeat_interleave(times)]

    def to(self, device: str | torch.device) -> Pool:
        """The pool on a device ('auto', 'cpu', 'cuda', …)."""
        device = nets.resolve_device(device)
        return Pool(self.template, {k: t.to(device) for k, t in self.parameters.items()},
                    {k: t.to(device) for k, t in self.buffers.items()})

    # ---- weights as one vector ----------------------------------------------------------------
    def flat(self) -> Tensor:
        """All weights as rows (N, P), in the order of `named_parameters`; buffers stay out."""
        return torch.cat([t.flatten(1) for t in self.parameters.values()], dim=1)

    def with_flat(self, weights: Tensor) -> Pool:
        """A pool with these weights (M, P).

        Buffers travel along: with M = N each network keeps its own, with N = 1 all get the one,
        and with M a multiple of N each network's are repeated M/N times in a row.
        """
        size = self.size
        require(isinstance(weights, Tensor) and weights.ndim == 2 and weights.shape[1] == size
                and len(weights) > 0, "weights", weights, f"a tensor (networks, {size})")
        require(weights.is_floating_point(), "weights", weights, "floating-point numbers")
        require(len(weights) % len(self) == 0, "weights", weights,
                f"a multiple of {len(self)} rows")
        parameters, start = {}, 0
        for name, tensor in self.parameters.items():
            stop = start + tensor[0].numel()
            part = weights[:, start:stop].reshape(-1, *tensor.shape[1:])
            parameters[name] = part.to(device=tensor.device, dtype=tensor.dtype)
            start = stop
        times = len(weights) // len(self)
        return Pool(self.template, parameters,
                    {k: t.repeat_interleave(times, dim=0) for k, t in self.buffers.items()})

    def segments(self) -> dict[str, slice]:
        """Where each tensor lies in a row of `flat()`."""
        spans, start = {}, 0
        for name, tensor in self.parameters.items():
            spans[name] = slice(start, start + tensor[0].numel())
            start = spans[name].stop
        return spans

    @property
    def size(self) -> int:
        """P, the number of weights of one network."""
        return sum(t[0].numel() for t in self.parameters.values())

    @property
    def device(self) -> torch.device:
        return next(iter(self.parameters.values())).device

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.parameters.values())).dtype

    # ---- using the networks -------------------------------------------------------------------
    def network(self, i: int) -> nn.Module:
        """Network i as an ordinary `nn.Module` in evaluation mode, with weights of its own."""
        require(isinstance(i, int) and -len(self) <= i < len(self), "i", i,
                f"a whole number below {len(self)}")
        net = copy.deepcopy(self.template).to_empty(device=self.device)
        with torch.no_grad():
            for name, tensor in net.named_parameters():
                tensor.copy_(self.parameters[name][i])
            for name, tensor in net.named_buffers():
                tensor.copy_(self.buffers[name][i])
        return net.eval()

    def state(self, i: int) -> dict[str, Tensor]:
        """Weights and buffers of network i, for `torch.func.functional_call`; nothing is copied."""
        return {k: t[i] for k, t in (self.parameters | self.buffers).items()}

    def logits(self, images, engine: str = "auto", batch: int = IMAGES_AT_ONCE) -> Tensor:
        """What every network says of every image: (N, B, K). Working memory is bounded.

        `images` is an `ImageSet` or floats (B, C, H, W), or floats (N, B, C, H, W) where each
        network has images of its own.
        """
        rows: list[list[Tensor]] = []
        for _, part, values in self.outputs(images, engine, batch):
            if part.start == 0:
                rows.append([])
            rows[-1].append(values)                                       # (n, b, K)
        return torch.cat([torch.cat(row, dim=1) for row in rows])         # (N, B, K)

    @torch.no_grad()
    def outputs(self, images, engine: str = "auto", batch: int = IMAGES_AT_ONCE
                ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Logits piece by piece: (networks, images, logits (n, b, K)), all images of some
        networks before the next networks."""
        images = self._images(images)
        require(isinstance(batch, int) and batch >= 1, "batch", batch, "a whole number ≥ 1")
        own = images.ndim == 5                       # each network has its own images
        count = images.shape[-4]
        group = 1                                    # networks at once
        if self.engine(engine) == "vmap":
            group = max(1, VMAP_CELLS // (batch * images.shape[-3:].numel() * 32))
        for first in range(0, len(self), group):
            networks = slice(first, min(first + group, len(self)))
            state = {k: t[networks] for k, t in (self.parameters | self.buffers).items()}
            for start in range(0, count, batch):
                part = slice(start, min(start + batch, count))
                piece = images[networks, part] if own else images[part]
                yield networks, part, self._forward(state, piece, group == 1, own)

    def _forward(self, state, images, single, own):
        try:
            if single:
                one = {k: t[0] for k, t in state.items()}
                images = images[0] if own else images
                return functional_call(self.template, one, (images,))[None]   # (1, b, K)
            return vmap(lambda s, x: functional_call(self.template, s, (x,)),
                        in_dims=(0, 0 if own else None))(state, images)       # (n, b, K)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as problem:    # torch's word for shapes that do not fit
            raise ValueError(f"images: got {short(images)}, want what {self!r} takes ({problem})"
                             ) from problem

    def engine(self, engine: str = "auto") -> str:
        """The engine that 'auto' stands for: vmap on CUDA and for linear networks, else loop.

        On a CPU a stack of convolutional networks runs slower under vmap than one after another,
        while small linear layers gain: `wlib bench` measures where this rule loses.
        """
        require_one_of("engine", engine, ENGINES)
        if engine != "auto":
            return engine
        return "vmap" if len(self) > 1 and (nets.stacked(self.device) or self._linear()) \
            else "loop"

    def _linear(self) -> bool:
        return all(isinstance(m, nn.Linear) for m in self.template.modules()
                   if any(True for _ in m.parameters(recurse=False)))

    def _images(self, images) -> Tensor:
        floats = images.floats(self.device) if hasattr(images, "floats") else images
        require(isinstance(floats, Tensor) and floats.is_floating_point()
                and (floats.ndim == 4 or floats.ndim == 5 and len(floats) == len(self))
                and floats.shape[-4] > 0, "images", images,
                "an ImageSet, floats (B, C, H, W) or, one set a network, (N, B, C, H, W)")
        return floats.to(device=self.device, dtype=self.dtype)

    # ---- keeping ------------------------------------------------------------------------------
    def save(self, path: str | os.PathLike) -> None:
        """Write a safetensors file with the architecture's spec as JSON in its header."""
        path = Path(path)
        header = {"format": "wlib pool 1", "networks": str(len(self)),
                  "spec": json.dumps(getattr(self.template, "spec", None))}
        tensors = {f"{kind}/{k}": t.contiguous().cpu() for kind, group in
                   (("parameters", self.parameters), ("buffers", self.buffers))
                   for k, t in group.items()}
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            save_file(tensors, temporary, metadata=header)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike, template: nn.Module | None = None) -> Pool:
        """Read what `save` wrote; a network not built by `nets.build` needs its `template`."""
        path = Path(path)
        require(path.is_file(), "path", str(path), "a file that Pool.save wrote")
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except Exception as problem:   # safetensors raises its own class for damaged files
            raise ValueError(f"path: {path} is no whole safetensors file ({problem})") from problem
        require(header.get("format") == "wlib pool 1", "path", str(path),
                "a file that Pool.save wrote")
        require(template is None or isinstance(template, nn.Module), "template", template,
                "an nn.Module")
        spec = json.loads(header["spec"])
        require(spec is not None or template is not None, "template", None,
                "a network of the saved architecture: the file holds none that nets.build knows")
        template = blank(template if template is not None else nets.build(**spec))

        def group(kind, named):
            shapes = {k: tuple(t.shape) for k, t in named}
            stored = {k.removeprefix(f"{kind}/"): t for k, t in tensors.items()
                      if k.startswith(f"{kind}/")}
            require({k: tuple(t.shape[1:]) for k, t in stored.items()} == shapes, "template",
                    type(template).__name__, f"the {kind} of the saved networks")
            return {k: stored[k] for k in shapes}

        return cls(template, group("parameters", template.named_parameters()),
                   group("buffers", template.named_buffers()))

    def digest(self) -> str:
        """A hash of architecture, weights and buffers."""
        return store.architecture(self.template) + store.digest(self.parameters | self.buffers)

    def _shapes(self):
        return {k: (tuple(t.shape[1:]), t.dtype) for k, t in
                (self.parameters | self.buffers).items()}

    def __repr__(self) -> str:
        return (f"Pool of {len(self)} × {type(self.template).__name__} "
                f"({self.size:,} weights, {self.device})")


def blank(net: nn.Module) -> nn.Module:
    """The network's structure without its weights, in evaluation mode."""
    return copy.deepcopy(net).to("meta").eval()


def _structure(net: nn.Module):
    return (str(net), [(k, tuple(t.shape), t.dtype) for k, t in
                       [*net.named_parameters(), *net.named_buffers()]])


def _stack(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {k: torch.stack([s[k].detach() for s in states]) for k in states[0]}
