"""The operations of a network as a graph, traced with `torch.fx`, or in plain words why not.

A private copy is traced, with the reader's tensors but no modules of theirs: what `forward` keeps
in an attribute, or a mode that is switched, never shows in the network itself. Only the image is
symbolic; arguments with a default are taken at it, and an `assert` is taken to hold.

Modules of PyTorch stay whole. A subclass counts as its base where it overrides nothing that
computes; otherwise it is taken apart like any other code.
"""

from __future__ import annotations

import copy
import linecache
import sys
from typing import Any

from torch import Tensor, fx, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from wlib.check import require
from wlib.mda.merge import Merge

HARMLESS = {"__module__", "__qualname__", "__doc__", "__init__", "__repr__", "__annotations__",
            "__firstlineno__", "__static_attributes__", "__constants__", "__parameters__",
            "__orig_bases__", "__classcell__", "__annotate_func__", "__annotations_cache__",
            "extra_repr", "reset_parameters", "_version"}
MIXES = {nn.LayerNorm: "it normalizes over all channels together",
         nn.GroupNorm: "it normalizes over several channels together",
         nn.LocalResponseNorm: "it normalizes over neighboring channels",
         nn.MultiheadAttention: "attention mixes all features of all places",
         nn.TransformerEncoderLayer: "attention mixes all features of all places"}


def base(module: nn.Module) -> type | None:
    """The class of PyTorch that a module computes like; None where it has code of its own."""
    if "forward" in vars(module):
        return None
    for kind in type(module).__mro__:
        if kind.__module__.startswith("torch.nn."):
            return kind
        if set(vars(kind)) - HARMLESS:
            return None
    return None


def mixing(net: nn.Module) -> tuple[str, str] | None:
    """The first module that can never be cut, if there is one: its name and why."""
    return next(((f"{name or 'the network'} ({type(m).__name__})", why)
                 for name, m in net.named_modules() for kind, why in MIXES.items()
                 if isinstance(m, kind)), None)


def graph(net: nn.Module, decide: bool = False) -> Tracer:
    """The tracer after its work: `.graph`, and `.reached`, the modules that evaluation runs.

    A branch on the image's size goes as `decide` says, and `.decided` tells that there was one.

    `ValueError` names the module that cannot be traced and says why.
    """
    for name, module in net.named_modules():
        for kinds, why in UNTRACEABLE.items():
            require(not any(k.__name__ in kinds for k in type(module).__mro__), "net",
                    _named(name, module), why)
        lazy: Any = module if isinstance(module, LazyModuleMixin) else None
        require(lazy is None or not lazy.has_uninitialized_params(),
                "net", _named(name, module), "layers that have their weights: call the network "
                "on an image once")
    tracer = Tracer(decide)
    try:
        tracer.graph = tracer.trace(_private(net))
    except Exception as error:        # whatever the network's own code raises on a symbolic image
        what, why = mixing(net) or (tracer.failed or type(net).__name__, _why(error))
        raise ValueError(f"net: got {what}, want operations that can be cut: {why}") from error
    return tracer


UNTRACEABLE = {
    ("DataParallel", "DistributedDataParallel"): "the network inside it: give net.module",
    ("ScriptModule", "RecursiveScriptModule"): "the network that was scripted: what TorchScript "
                                               "compiled cannot be traced"}


def _named(name: str, module: nn.Module) -> str:
    return f"{name or 'the network'} ({type(module).__name__})"


COPYING = ("__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
PLAIN = {bool, int, float, str, type(None)}      # most settings; they need no copy
OF_A_MODULE = set(vars(nn.Module()))             # its own books: hooks, parameters, modules


def hull(net: nn.Module) -> nn.Module:
    """A copy of the modules that shares all of their tensors: `copy.deepcopy`, but quick."""
    modules = list(net.modules())
    memo: dict[int, Any] = {id(t): t for m in modules for own in tensors_of(m) for t in own.values()
            if isinstance(t, Tensor)}
    kinds = {k for m in modules for k in type(m).__mro__[:-1]}
    if any(name in vars(k) for k in kinds if not k.__module__.startswith("torch.nn.")
           for name in COPYING):
        return copy.deepcopy(net, memo)          # a module that is copied in a way of its own
    twins = {id(m): type(m).__new__(type(m)) for m in modules}
    memo |= twins
    for module in modules:
        own = vars(twins[id(module)])
        for name, value in vars(module).items():
            if name not in OF_A_MODULE:
                own[name] = value if type(value) in PLAIN else copy.deepcopy(value, memo)
            elif name == "_modules":
                own[name] = {key: twins.get(id(child)) for key, child in value.items()}
            else:
                own[name] = value.copy() if hasattr(value, "copy") else value
    return twins[id(net)]


def tensors_of(module: nn.Module) -> tuple[dict, ...]:
    """Where a module holds tensors: parameters, buffers and plain attributes."""
    return module._parameters, module._buffers, vars(module)


def _private(net: nn.Module) -> nn.Module:
    """A copy that shares all tensors with the network, in evaluation mode and without hooks."""
    private = hull(net).eval()
    for module in private.modules():             # the reader's hooks expect tensors, not symbols
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return private


def _why(error: Exception) -> str:
    """What in the network's code ended the trace, as its writer would say it."""
    text = str(error)
    for sign, words in {
            "'len' is not supported": "len(x) is a number only while it runs; x.shape[0] can be "
                                      "followed",
            "cannot be iterated": "it loops over a tensor or over its shape; "
                                  "torch.flatten(x, 1) and x.shape[0] can be followed",
            "required positional argument": "it wants more than one input, and one image is "
                                            "what a part gets",
            "item assignment": "it writes into a part of a tensor",
            "control flow": "control flow must not look at data"}.items():
        if sign in text:
            return words
    return f"torch.fx cannot trace its code ({type(error).__name__}: {text})"


class Tracer(fx.Tracer):
    """Layers stay whole, all else is taken apart; remembers which module could not be traced."""

    proxy_buffer_attributes = True

    def __init__(self, decide: bool = False):
        super().__init__()
        self.failed, self.reached, self.decide, self.decided = "", {""}, decide, False
        self.paths: dict[int, str] | None = None     # of the parameters and buffers, by their id
        self.entered: dict[str, fx.Node | None] = {}  # what a module was called with

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return (base(module) is not None and not isinstance(module, nn.Sequential)
                or isinstance(module, (Merge, *MIXES)) or parametrize.is_parametrized(module)
                or type(module).__module__.startswith("torchvision.transforms"))

    def getattr(self, attr: str, value: Any, proxies: dict[str, fx.Proxy]) -> Any:
        """As in torch.fx, which looks through all tensors of the network for each that is read."""
        if not isinstance(value, Tensor):
            return value
        if self.paths is None:
            self.paths = {id(t): path for path, t in [*self.root.named_buffers(),
                                                      *self.root.named_parameters()]}
        path = self.paths.get(id(value))
        if path is None:
            return value
        if path not in proxies:
            proxies[path] = self.create_proxy("get_attr", path, (), {})
        return proxies[path]

    def create_args_for_root(self, root_fn: Any, is_module: bool,
                             concrete_args: Any = None) -> tuple[Any, list]:
        image = self.create_proxy("placeholder", "image", (), {})
        return root_fn, [self.root, image]       # the call itself fills in the other defaults

    def call_module(self, module: nn.Module, forward: Any, args: tuple, kwargs: dict) -> Any:
        name = self.path_of_module(module)
        inside = module.named_modules() if self.is_leaf_module(module, name) else [("", module)]
        self.entered[name] = getattr(args[0], "node", None) if args else None
        self.reached.update(f"{name}.{own}".rstrip(".") for own, _ in inside)
        try:
            return super().call_module(module, forward, args, kwargs)
        except Exception:
            self.failed = self.failed or _named(name, module)
            raise

    def to_bool(self, obj: fx.Proxy) -> bool:
        frame: Any = sys._getframe(1)
        while frame.f_globals.get("__name__", "").startswith("torch.fx"):
            frame = frame.f_back
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if line.lstrip().startswith("assert "):
            return True
        if _of_sizes(obj.node):
            self.decided = True
            return self.decide
        return super().to_bool(obj)


def _of_sizes(node: fx.Node) -> bool:
    """Whether a value is computed from sizes alone, and not from what is in a tensor."""
    if node.op == "call_method" and node.target in ("size", "dim", "ndimension") or (
            node.target is getattr and node.args[1] in ("shape", "ndim")):
        return True
    plain = getattr(node.target, "__module__", "") in ("_operator", "math", "builtins")
    return bool(plain and node.all_input_nodes) and all(map(_of_sizes, node.all_input_nodes))
