"""A network's structure apart from its weights: taken out, filled again, or refused.

Copies keep what a network shares within itself: a tied weight is one tensor in all of them.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from wlib.check import require
from wlib.store.tensors import LAZY, named_tensors

# Old ways to compute a weight anew at every call; it is no parameter then, and cannot be copied.
COMPUTED = {
    WeightNorm: "torch.nn.utils.remove_weight_norm(layer) on it first, or "
                "torch.nn.utils.parametrizations.weight_norm in its place",
    SpectralNorm: "torch.nn.utils.remove_spectral_norm(layer) on it first, or "
                  "torch.nn.utils.parametrizations.spectral_norm in its place",
    BasePruningMethod: "torch.nn.utils.prune.remove(layer, name) on it first: it keeps the zeros"}


def blank(net: nn.Module) -> nn.Module:
    """The network's structure without its weights, in evaluation mode."""
    return _copied(net, {k: torch.empty_like(t, device="meta")
                         for k, t in named_tensors(net).items()})


def filled(template: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A network of this structure with copies of these weights and buffers, in evaluation mode."""
    return _copied(template, {k: state[k].detach().clone() for k in named_tensors(template)})


def _copied(net: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy with other tensors in the place of each, wherever the network holds it."""
    def like(old: Tensor, new: Tensor) -> Tensor:
        return nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new

    twins = {id(t): like(t, state[k]) for k, t in named_tensors(net).items()}
    return copy.deepcopy(net, twins).eval()


EMPTY = types.CellType()
REGISTERED = ("_parameters", "_buffers", "_modules")


def _holds(value: object, own: set[int]) -> bool:
    """Whether a value keeps one of the network's own tensors, or a function keeps any part of it,
    where `functional_call` or a copy would not put another."""
    if isinstance(value, Tensor):
        return id(value) in own
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != EMPTY]
        return any(id(inside) in own or _holds(inside, own) for inside in cells)
    if isinstance(value, dict):
        return any(_holds(inside, own) for inside in value.values())
    return isinstance(value, (list, tuple, set)) and any(_holds(inside, own) for inside in value)


def require_plain(net: nn.Module, name: str) -> None:
    """Refuse a network whose weights cannot be exchanged (pruned, scripted, lazy).

    The `ValueError` says what to do first.
    """
    require(isinstance(net, nn.Module), name, net, "an nn.Module")
    own = {id(part) for part in (*net.modules(), *named_tensors(net).values())}
    for path, module in net.named_modules():
        where = f"{name}.{path}".rstrip(".")
        require(not isinstance(module, torch.jit.ScriptModule), where, "a scripted module",
                "the eager module that it was made from")
        require(not hasattr(module, "_orig_mod"), where, "a compiled module",
                "the module that it was made from: compiled._orig_mod")
        for hook in module._forward_pre_hooks.values():
            for kind, remedy in COMPUTED.items():
                require(not isinstance(hook, kind), where,
                        f"a layer whose weight {kind.__name__} computes at every call", remedy)
        for attribute, value in vars(module).items():
            kept = attribute in REGISTERED or isinstance(module, nn.RNNBase)   # it renews its list
            require(kept or not _holds(value, own), f"{where}.{attribute}", "a part of the network "
                    "kept beside it", "weights that forward reads from their layers, and methods "
                    "for functions that take the network from around them: no other weights would "
                    "reach these")
            require(not isinstance(value, Tensor) or value.grad_fn is None, f"{where}.{attribute}",
                    value, "no attribute that autograd has computed: detach() it")
    for path, tensor in named_tensors(net).items():
        require(not nn.parameter.is_lazy(tensor), f"{name}.{path}", type(tensor).__name__, LAZY)
