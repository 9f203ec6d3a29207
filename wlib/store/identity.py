"""What a value is: for the store's keys, and to tell one architecture from another.

    identity.describe([1, (2.0, "x")])      # [1, {"tuple": [2.0, "x"]}]
    identity.architecture(network)          # one hash of all that is no weight
    identity.difference(network, other)     # "conv1.stride", or None: may they share a pool?

A description is JSON, and two values have one description only if nothing can be computed from
the one that cannot be computed from the other: types count (a tuple is no list, True is not 1),
and the order of a dict. Tensors and arrays count by their bytes, code by its fingerprint, and any
other object as pickle would take it apart. What cannot be taken apart is refused by its name.

joblib.hash, dask's tokenize and a pickle's hash do not serve: two equal tensors get two hashes
from all three, dicts in another order get one from the first two, and none looks at code.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import json
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from wlib.check import short
from wlib.ground import fingerprint
from wlib.store.tensors import LAZY, digest, named_tensors

PLAIN = (type(None), bool, int, float, str)     # JSON has its own way to write them


def describe(value: Any, argument: str = "argument") -> Any:
    """What stands for a value in a key, as JSON; `ValueError` for what cannot be told apart."""
    return _Describer(fingerprint.function_fingerprint).value(value, argument)


def architecture(net: nn.Module, name: str = "network") -> str:
    """One hash of all that a network's outputs in evaluation mode depend on, but its weights and
    buffers: layers, their attributes of every kind, hooks, code, and which weights are frozen."""
    return _sha(parts(net, name))


def difference(a: nn.Module, b: nn.Module, name: str = "network") -> str | None:
    """The first attribute by which two networks are no one architecture; None if they are.

    The same description as `architecture`'s, but classes need no source here: both are loaded.
    """
    first, second = (parts(net, name, loaded) for net in (a, b))
    if _sha(first) == _sha(second):
        return None
    return next((path for path in first | second
                 if path not in first or path not in second
                 or json.dumps(first[path]) != json.dumps(second[path])), None)


def outline(net: nn.Module, name: str = "network") -> dict[str, str]:
    """A short hash of every attribute but weights and buffers, for a file: code counts by its name
    alone, so that other versions of Python and of the packages give the same."""
    weights = named_tensors(net)
    return {path: _sha(described)[:12] for path, described in parts(net, name, _name).items()
            if path not in weights}


def _name(code: Any) -> str:
    return getattr(code, "__qualname__", code.__name__)


def parts(net: nn.Module, name: str = "network",
          code: Callable[[Any], str] = fingerprint.function_fingerprint) -> dict[str, Any]:
    """The description of every attribute of every module in a network, by its path."""
    return _Describer(code).parts(net, name)


def loaded(code: Any) -> str:
    """Code within this process: a class of the reader's by itself, all else by what it does."""
    if not (isinstance(code, type) and fingerprint.is_own(code)):
        try:
            return fingerprint.function_fingerprint(code)
        except ValueError:
            pass       # what has no fingerprint equals itself
    return f"{_name(code)} {id(code)}"


class _Describer:
    """Describes values; what is `known` (by id), the parts of a network, is told by its name."""

    def __init__(self, code: Callable[[Any], str], known: dict[int, str] | None = None):
        self.code = code
        self.known = known or {}
        self.open: list[int] = []            # the values around this one: a cycle ends here

    def parts(self, net: nn.Module, name: str) -> dict[str, Any]:
        own = [*net.named_modules(), *named_tensors(net).items()]
        around = {part: f"^{path}" for part, path in self.known.items()}
        inside = _Describer(functools.cache(self.code), around | {
            id(part): path for path, part in reversed(own)})
        return {where: described for path, module in net.named_modules()
                for where, described in inside.attributes(module, path, name)}

    def value(self, value: Any, name: str) -> Any:
        if type(value) in PLAIN:
            return value
        if id(value) in self.known:
            return {"part": self.known[id(value)]}
        if id(value) in self.open:
            return {"around": self.open[::-1].index(id(value))}
        self.open.append(id(value))
        try:
            return self._container(value, name)
        finally:
            self.open.pop()

    def _container(self, value: Any, name: str) -> Any:
        if type(value) is list:
            return [self.value(v, f"{name}[{i}]") for i, v in enumerate(value)]
        if type(value) is tuple:
            return {"tuple": [self.value(v, f"{name}[{i}]") for i, v in enumerate(value)]}
        if type(value) is dict:
            return {"dict": [[self.value(k, f"a key of {name}"), self.value(v, f"{name}[{k!r}]")]
                             for k, v in value.items()]}
        if type(value) in (set, frozenset):
            return {type(value).__name__: sorted((self.value(v, f"an element of {name}")
                                                  for v in value), key=json.dumps)}
        return self._leaf(value, name)

    def _leaf(self, value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            if type(value) not in (Tensor, nn.Parameter):
                raise _unknown(value, name)
            described: dict[str, Any] = {"tensor": _tensors({"": value}, name)}
            if value.requires_grad or type(value) is nn.Parameter:     # what may be trained
                described["trained"] = [type(value).__name__, value.requires_grad]
            return described
        if type(value) is bytes:
            return {"bytes": value.hex()}
        if isinstance(value, np.generic):
            return {"numpy": repr(value)}
        if type(value) is np.ndarray and not value.dtype.hasobject:
            return {"array": _sha([value.dtype.descr, value.shape, value.tobytes().hex()])}
        if isinstance(value, nn.Module):
            return self._network(value, name)
        if isinstance(value, types.MethodType):
            return {"method": [self._code(value.__func__, name), self.value(value.__self__, name)]}
        if fingerprint.is_code(value):
            return {"function": self._code(value, name)}
        if isinstance(value, weakref.ref):
            return {"weakref": self.value(value(), name)}
        own = value.digest() if callable(getattr(value, "digest", None)) else None
        return {type(value).__qualname__: own} if isinstance(own, str) else self._object(
            value, name)

    def _object(self, value: Any, name: str) -> Any:
        """Any other object by what pickle would write of it."""
        try:
            registered = copyreg.dispatch_table.get(type(value))
            reduced: Any = registered(value) if registered else value.__reduce_ex__(4)
        except Exception as problem:     # each class says in its own words that it cannot
            raise _unknown(value, name) from problem
        if type(value) is object:
            raise _unknown(value, name)
        kind = type(value).__qualname__
        if isinstance(reduced, str):     # a name in the module of its class: torch.float32
            return {kind: reduced}
        made_by, arguments, *rest = reduced
        rest = [list(part) if hasattr(part, "__next__") else part for part in rest]
        return {kind: [self.value(part, name) for part in (made_by, arguments, *rest)]}

    def _code(self, code: Any, name: str) -> str:
        try:
            return self.code(code)
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from problem

    def _network(self, net: nn.Module, name: str) -> Any:
        return {"module": _sha(self.parts(net, name)), "state": _tensors(named_tensors(net), name),
                "training": [path for path, module in net.named_modules() if module.training]}

    def attributes(self, module: nn.Module, path: str, name: str
                   ) -> Iterator[tuple[str, Any]]:
        """(path, description) of a module's class and of each of its attributes."""
        inside = f"{path}." if path else ""
        yield path, self._code(type_before_parametrizations(module), f"{name}.{path}".rstrip("."))
        handles = sorted({handle for attribute, hooks in vars(module).items()
                          if _is_hooks(attribute, hooks) for handle in hooks})
        for attribute, value in vars(module).items():
            where, argument = inside + attribute, f"{name}.{inside}{attribute}"
            if attribute in ("training", "_compiled_call_impl"):     # a pool evaluates, eagerly
                continue
            if attribute in ("_parameters", "_buffers", "_modules"):
                for key, part in value.items():
                    yield inside + key, self._own(part, inside + key, f"{name}.{inside}{key}")
                yield where, list(value)
            elif _is_hooks(attribute, value):     # by their order: a handle is a running number
                if value:
                    yield where, [[handles.index(handle), self.value(hook, argument)]
                                  for handle, hook in value.items()]
            else:
                yield where, self.value(value, argument)

    def _own(self, part: Any, path: str, name: str) -> Any:
        """A registered tensor or module: at its first name what it is, at others that name."""
        if part is None or isinstance(part, nn.Module) or self.known[id(part)] != path:
            return self.value(part, name)
        if nn.parameter.is_lazy(part):
            raise ValueError(f"{name}: got {type(part).__name__}, want {LAZY}")
        return {type(part).__name__: [str(part.dtype), list(part.shape), part.requires_grad]}


def _is_hooks(attribute: str, value: Any) -> bool:
    return attribute.startswith("_") and "_hooks" in attribute and isinstance(value, dict)


def _tensors(tensors: dict[str, Tensor], name: str) -> str:
    try:
        return digest(tensors)
    except (RuntimeError, NotImplementedError) as problem:     # sparse, quantized, without bytes
        raise ValueError(f"{name}: got a tensor whose bytes cannot be read ({problem}), want "
                         "dense tensors with values") from problem


def _unknown(value: Any, name: str) -> ValueError:
    return ValueError(f"{name}: got {short(value)}, want values that can be told apart: plain "
                      "ones, tensors, functions, networks, pools, image sets, and objects of them "
                      "that can be pickled")


def _sha(description: Any) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
