"""Cut a network down to some of its wires, and count what it costs before and after.

A wire is a channel that layers write and read (`wiring`). `narrow` takes the dropped ones out
of every layer: filters, biases, BatchNorm rows with their running statistics, and the columns of
the readers (the paper's parameter linking, section 3.2.2).

The slicing is the project's own. Torch-Pruning's DepGraph, which the official code uses, was tried
first: given one choice for each stream it cuts the same networks, but fails where a convolution has
groups of several channels (ResNeXt, RegNet). Since padding needs the wires anyway, one cutter is
simpler than two; `tests/test_cutting.py` keeps the comparison.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from wlib.check import require
from wlib.mda.merge import Merge
from wlib.mda.tracing import hull, tensors_of
from wlib.mda.wiring import Layer, Wiring, evaluating, trace


def narrow(net: nn.Module, keep: Tensor, wiring: Wiring | None = None) -> nn.Module:
    """A copy of the network with the kept wires alone: same class, narrower layers.

    `keep` is bool (n,), a wire each. Every layer must keep an input and an output, and pinned wires
    stay. Modules that evaluation does not reach (GoogLeNet's auxiliary heads) are left out of the
    copy. `cutcheck` holds a part against the network with the dropped channels set to zero.
    """
    wiring = trace(net) if wiring is None else wiring
    keep = torch.as_tensor(keep).cpu()
    require(keep.dtype == torch.bool and keep.shape == (wiring.wires,), "keep", keep,
            f"a bool for each of the {wiring.wires} wires")
    for layer in wiring.layers.values():
        require(bool(keep[layer.writes].any()), "keep", f"no output of {layer.name}",
                "at least one channel of every layer")
    require(bool(keep[wiring.pinned].all()), "keep", "no wire that is pinned",
            f"all of them, for {'; '.join(wiring.whole[:3])}")
    part = hull(net)
    for name in wiring.unused:
        parent, _, last = name.rpartition(".")
        setattr(part.get_submodule(parent), last, None)
    if isinstance(part.__dict__.get("spec"), dict):
        spec = part.__dict__.pop("spec")         # it says how wide the uncut network is
        if "size" in spec:
            part.image_size = spec["size"]
    for name, layer in wiring.layers.items():
        _slice(part.get_submodule(name), layer, keep)
    for path, vector in wiring.vectors.items():
        owner, _, name = path.rpartition(".")
        module = part.get_submodule(owner)
        _take(module, name, keep[vector.wires].nonzero().flatten(), vector.axis)
        if isinstance(module, nn.PReLU):
            module.num_parameters = len(module.weight)
    _own_the_rest(net, part)
    return part


def _own_the_rest(net: nn.Module, part: nn.Module) -> None:
    """Copies of the tensors that were not cut: the part shares none with the network."""
    shared = {id(t) for m in net.modules() for own in tensors_of(m) for t in own.values()
              if isinstance(t, Tensor)}
    copies: dict[int, Tensor] = {}
    for module in part.modules():
        for own in tensors_of(module):
            for name, tensor in own.items():
                if id(tensor) in shared:
                    own[name] = copies.setdefault(
                        id(tensor), copy.deepcopy(tensor) if tensor.is_leaf else
                        tensor.detach().clone())


def _slice(module: Any, layer: Layer, keep: Tensor) -> None:
    rows = keep[layer.features if layer.kind == "norm" else layer.writes].nonzero().flatten()
    columns = None if layer.reads is None else keep[layer.features].nonzero().flatten()
    if isinstance(module, Merge):
        module.narrow(keep[layer.writes])
        return
    if layer.kind == "norm":
        module.num_features = len(rows)
        for name in ("weight", "bias", "running_mean", "running_var"):
            _take(module, name, rows)
        return
    _take(module, "bias", rows)
    _take(module, "weight", rows)
    if layer.kind == "grouped":                  # whole groups: those of the kept outputs
        per_group = module.out_channels // module.groups
        module.groups = len(rows) // per_group
    elif columns is not None:
        _take(module, "weight", columns, dim=1)
    inputs, outputs = ("in_features", "out_features") if layer.kind == "fc" else (
        "in_channels", "out_channels")
    setattr(module, outputs, len(rows))
    if columns is not None:
        setattr(module, inputs, len(columns))


def _take(module: nn.Module, name: str, index: Tensor, dim: int = 0) -> None:
    """Keep these rows of a module's tensor, where it has one."""
    tensor = getattr(module, name, None)
    if tensor is None:
        return
    taken = tensor.detach().index_select(dim, index.to(tensor.device)).clone()
    if isinstance(tensor, nn.Parameter):
        taken = nn.Parameter(taken, requires_grad=tensor.requires_grad)
    setattr(module, name, taken)


class Cost(NamedTuple):
    """What a network costs: its weights, and the multiply-accumulates of one image."""

    weights: int
    macs: int


def cost(net: nn.Module, image: Tensor | tuple[int, ...]) -> Cost:
    """Weights of all layers, and the multiply-accumulates of every product of matrices.

    `image` is one image or its shape (C,H,W). BatchNorm, activations and biases count no MAC.
    """
    shape = image.shape[-3:] if isinstance(image, Tensor) else tuple(image)
    first = next(net.parameters())
    with evaluating(net), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, *shape, device=first.device, dtype=first.dtype))
    return Cost(sum(p.numel() for p in net.parameters()), counter.get_total_flops() // 2)
