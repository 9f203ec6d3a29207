"""One fingerprint for store, skipping and staleness: what can change a number, and nothing else.

A function counts with its code (without comments and docstrings), with what it names, and with
every module of `wlib` that it reaches by import (`reach` says which, and which make no number and
are left out). Prose does not count, nor where a module lies.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import dis
import functools
import inspect
import linecache
import re
import textwrap
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wlib.check import require, short
from wlib.ground import reach
from wlib.ground.origin import found_by_name, home, imported, in_package, own_modules, release
from wlib.ground.reach import code_fingerprint, digest, module_fingerprint, parse

PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), Path)


def function_fingerprint(function: Any) -> str:
    """Hash of a function and of everything by name that its result can depend on.

    A function of `wlib` counts with its module and what that reaches. A function of a notebook
    counts with its source (without docstring), its defaults, and the functions, classes, plain
    constants and modules that it names. Whatever else it names (a tensor, a pool) belongs in its
    arguments: `ValueError`.
    """
    require(callable(function) or isinstance(function, types.ModuleType), "function", function,
            "a function")
    require(reach.counts(str(getattr(function, "__module__", None))), "function", function,
            "one of a module whose code is counted")
    return digest(_describe(function, getattr(function, "__name__", "function"), set()))


def is_current(code: str, name: str) -> bool:
    """Whether a function of `wlib` by this name has the fingerprint, whichever module it is in."""
    made = re.compile(rf"^(async )?(def|class) {re.escape(name.partition('.')[0])}\b", re.MULTILINE)
    return any(digest(module_fingerprint(module, name)) == code
               for module, source in reach.LOADED.sources.items() if made.search(source))


def is_code(value: Any) -> bool:
    """Whether a value is a function, a class or a module, and no method of some object."""
    kinds = (type, types.ModuleType)
    function = (inspect.isroutine(value) or isinstance(value, functools._lru_cache_wrapper)
                or callable(value) and found_by_name(value))
    return isinstance(value, kinds) or (
        function and isinstance(getattr(value, "__self__", None), (type(None), *kinds)))


def is_own(code: Any) -> bool:
    """Whether a function or class is the reader's, neither a package's nor of `wlib`."""
    return home(code) == "own"


def _describe(value: Any, name: str, seen: set[int]) -> Any:
    """What a value contributes to a fingerprint; `seen` ends cycles."""
    if isinstance(value, functools.partial):
        return ["partial"] + [_describe(part, name, seen) for part in
                              (value.func, value.args, value.keywords)]
    if isinstance(value, types.ModuleType):
        return _describe_module(value)
    if isinstance(value, types.MethodType):   # counts with the object that it is a method of
        return ["method"] + [_describe(part, name, seen) for part in
                             (value.__func__, value.__self__)]
    if not is_code(value):
        return _describe_plain(value, name, seen)
    if found_by_name(value):
        place = value.__module__, value.__qualname__
        return module_fingerprint(*place) if home(value) == "wlib" else [*place, release(value)]
    if id(value) in seen:
        return value.__qualname__
    seen.add(id(value))
    if isinstance(value, types.FunctionType) or hasattr(value, "__wrapped__"):
        return _describe_function(value, seen)
    describe = _describe_class if home(value) == "own" else _describe_installed
    return describe(value, seen)


def _describe_installed(value: Any, seen: set[int]) -> Any:
    """A class or C function of a package: its name, and bases that are the reader's own."""
    owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
    owner = owner.__name__ if isinstance(owner, (type, types.ModuleType)) else None
    bases = value.__mro__[1:] if isinstance(value, type) else ()
    return [str(getattr(value, "__module__", None)), owner, value.__qualname__, release(value)] + [
        _describe(base, base.__name__, seen) for base in bases if home(base) != "installed"]


def _describe_plain(value: Any, name: str, seen: set[int]) -> Any:
    kind = type(value)
    if isinstance(value, dict):
        return ["dict", [[_describe(key, name, seen), _describe(item, name, seen)]
                         for key, item in value.items()]]
    if isinstance(value, (list, tuple)):
        return [kind.__name__] + [_describe(item, name, seen) for item in value]
    if isinstance(value, (set, frozenset)):
        return [kind.__name__] + sorted(repr(_describe(item, name, seen)) for item in value)
    scalar = kind.__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(
        value, "item") and kind.__name__ != "ndarray"
    named = kind.__module__ == "torch" and kind.__name__ in ("dtype", "device")
    ufunc = kind.__module__ == "numpy" and kind.__name__ == "ufunc"
    if isinstance(value, PLAIN) or scalar or named or ufunc:
        return [kind.__name__, repr(value)]
    raise ValueError(f"{name}: got {short(value)} from outside the function, want only functions, "
                     "modules and plain constants there; pass it as an argument")


def _describe_module(module: types.ModuleType) -> Any:
    if home(module) == "own":
        return own_modules([module.__name__])
    return module_fingerprint(module.__name__) if home(module) == "wlib" else module.__name__


def _describe_function(function: Any, seen: set[int]) -> Any:
    layers = []
    while hasattr(function, "__wrapped__") and not found_by_name(function):
        layers.append(function)
        function = function.__wrapped__
    if layers and not (isinstance(function, types.FunctionType) and home(function) == "own"):
        return [_describe(function, function.__qualname__, seen)] + [
            _describe_layer(layer, seen) for layer in layers]
    if home(function) != "own" or function.__name__ == "<lambda>":
        return _describe_code(function, seen)
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ValueError(f"{function.__qualname__}: its source cannot be read ({error}); define "
                         "it in a notebook cell or in a file") from error
    tree = parse(source)
    decorators = getattr(tree.body[0] if tree else None, "decorator_list", [])
    named = {node.id for part in decorators for node in ast.walk(part)
             if isinstance(node, ast.Name)}
    outside, package = _outside(function, named), function.__globals__.get("__package__") or ""
    of_wlib = {name: value.__name__ for name, value in outside.items()
               if isinstance(value, types.ModuleType) and home(value) == "wlib"}
    code = code_fingerprint(source, package=package, bound=[
        (name, f"{module}:") for name, module in of_wlib.items()])
    used = _describe_all({name: outside[name] for name in outside if name not in of_wlib}, seen)
    own = imported(source, package)
    unseen = layers[:max(0, len(layers) - len(decorators))]   # put around it without an @
    return [function.__qualname__, code, used, _describe_defaults(function, seen),
            own_modules(own) if own else "", len(layers)] + [
            _describe_layer(layer, seen) for layer in unseen]


def _describe_code(function: types.FunctionType, seen: set[int]) -> Any:
    """A function that no name and no source can tell from another: a lambda, one made by a
    function of a package. Its byte code counts, and what it takes from outside."""
    def plain(code: types.CodeType) -> Any:
        names = ["wlib" if name in reach.LOADED.sources else name for name in code.co_names]
        return [code.co_code.hex(), names, code.co_varnames, code.co_freevars,
                code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
                [plain(constant) if isinstance(constant, types.CodeType)
                 else _describe_plain(constant, "a constant", seen) for constant in code.co_consts]]

    inside = module_fingerprint(function.__module__) if home(function) == "wlib" else ""
    return [home(function), inside, plain(function.__code__),
            _describe_all(_outside(function), seen), _describe_defaults(function, seen)]


def _describe_layer(layer: Any, seen: set[int]) -> Any:
    """What a decorator made of a function; a cache in front of it changes no value."""
    if isinstance(layer, functools._lru_cache_wrapper):
        return "cache"
    require(isinstance(layer, types.FunctionType), "function", layer,
            "one wrapped by a Python function")
    return _describe_code(layer, seen)


def _describe_all(values: dict[str, Any], seen: set[int]) -> Any:
    return {name: _describe(values[name], name, seen) for name in sorted(values)}


def _outside(function: types.FunctionType, named: Iterable[str] = ()) -> dict[str, Any]:
    """What a function and its decorators (`named`) read from the module and from functions
    around; the module of a package or of `wlib` counts as a whole."""
    read = {*named, *_globals_of(function.__code__)} if home(function) == "own" else ()
    scope = {name: function.__globals__[name] for name in read if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):     # an empty cell: not yet assigned
            scope[name] = cell.cell_contents
    return scope


def _describe_defaults(function: types.FunctionType, seen: set[int]) -> Any:
    """Default values, and what was set on the function itself, which its code may read."""
    defaults = [_describe(part, f"a default of {function.__name__}", seen)
                for part in (function.__defaults__, function.__kwdefaults__)]
    set_on = {key: value for key, value in vars(function).items() if key != "__wrapped__"}
    return defaults + ([_describe(set_on, f"an attribute of {function.__name__}", seen)]
                       if set_on and home(function) == "own" else [])


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """Names that a function and the functions inside it read from the module."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)


def _describe_class(cls: type, seen: set[int]) -> Any:
    """A notebook's class: its source, found through its methods; its bases, methods and values."""
    methods = [inspect.unwrap(getattr(value, "__func__", None) or getattr(value, "fget", value))
               for value in vars(cls).values()]
    methods = [value for value in methods if isinstance(value, types.FunctionType)
               and not in_package(value.__code__.co_filename)]
    readable = [value for value in methods if linecache.getlines(value.__code__.co_filename)]
    parts = [cls.__qualname__, [_describe(base, base.__name__, seen) for base in cls.__bases__],
             {name: _describe(value, f"{cls.__name__}.{name}", seen)
              for name, value in vars(cls).items() if _is_setting(name, value, cls)}]
    for method in readable:
        line = method.__code__.co_firstlineno
        tree = parse("".join(linecache.getlines(method.__code__.co_filename)))
        found = [node for node in ast.walk(tree or ast.Module([], []))
                 if isinstance(node, ast.ClassDef) and node.name == cls.__name__
                 and node.lineno <= line <= node.end_lineno]
        if found:
            return parts + [code_fingerprint(ast.unparse(found[-1])),
                            [_describe(value, value.__name__, seen) for value in readable]]
    generated = (dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")) and all(
        value.__name__.startswith("__") for value in methods)
    require(not readable and (not methods or generated), cls.__qualname__, "a class whose source "
            "cannot be read", "one of a file or a notebook's cell, or what it makes as an argument")
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return parts + [list(vars(cls).get("__annotations__", ())),      # no methods of its own
                    [_describe(f.default_factory, f.name, seen) for f in fields
                     if f.default_factory is not dataclasses.MISSING]]


def _is_setting(name: str, value: Any, cls: type) -> bool:
    """Whether a class's attribute is a value: no method, no member, no bookkeeping of Python's."""
    return not (name.startswith("_") and name.endswith("_") or name == "_abc_impl"
                or hasattr(value, "__get__") or isinstance(value, cls))
