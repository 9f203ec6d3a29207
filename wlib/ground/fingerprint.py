"""One fingerprint for store, skipping and staleness: what can change a number, and nothing else.

Counted: code (without comments and docstrings), parameters, package versions, and every `wlib`
module reached by import. Not counted: prose, outputs, and the modules that make no number
(`UNCOUNTED`): they draw, judge, run, keep or refuse. To those belong the store, this module and
`wlib.check`: a better message or another way to keep results must not throw away hours of
results, and what they could get wrong is guarded elsewhere (an entry's FORMAT says how to decode
it; what was refused has no result). A function of these modules cannot be kept in the store, as
its code would not count.

The source of `wlib` is read once, when this module is imported: a process is judged by the code
that it runs, not by what an editor has saved since. Restart the kernel after editing `wlib`.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import dis
import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import linecache
import platform
import re
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wlib.check import require, require_one_of, short
from wlib.ground import surroundings

PACKAGE = Path(__file__).resolve().parents[1]
UNCOUNTED = ("wlib.book", "wlib.plot")
# Packages whose version can change a number or a figure on a page.
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "mlxtend", "matplotlib",
            "seaborn", "pandas", "pillow", "torch-pruning", "open_clip_torch", "diffusers")
PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), Path)

Sources = Mapping[str, str]  # module name -> source text


def read_sources(folder: Path | str = PACKAGE) -> dict[str, str]:
    """The source of every module of the package `wlib` in `folder`, as it is on disk now."""
    folder = Path(folder)
    return {".".join(["wlib", *path.relative_to(folder).with_suffix("").parts]).removesuffix(
        ".__init__"): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}


_LOADED = read_sources()


# ---------------------------------------------------------------- code without prose
def digest(*parts: Any) -> str:
    """SHA-256 (64 hex digits) of JSON-like parts; order and types count."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def parse(source: str) -> ast.Module | None:
    """The syntax tree of a module or of a notebook cell; None if it is not Python.

    Lines of IPython (`%magic`, `!shell`, `%%cell`) become calls that keep their text.
    """
    for text in (source, _without_magics(source)):
        try:
            return ast.parse(text)
        except SyntaxError:
            continue
    return None


def _without_magics(source: str) -> str:
    return re.sub(r"^(\s*)([%!?].*)$", lambda m: f"{m[1]}__magic__({m[2]!r})", source,
                  flags=re.MULTILINE)


@functools.lru_cache(maxsize=1024)
def plain_code(source: str, module: bool = False) -> str:
    """Source as the machine sees it: no comments, no docstrings, one way to lay it out.

    A string that stands alone at the top of a notebook cell is kept, because the notebook may
    show it; `module=True` drops it as a module's docstring.
    """
    tree = parse(source)
    return source if tree is None else ast.unparse(_strip(tree, module))


def _strip(tree: ast.AST, module: bool = False) -> ast.AST:
    holders = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef) + ((ast.Module,) * module)
    for node in ast.walk(tree):
        if isinstance(node, holders) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def code_fingerprint(source: str) -> str:
    """Hash of a piece of code without comments and docstrings; IPython magics are tolerated."""
    require(isinstance(source, str), "source", source, "a string of Python code")
    return digest(plain_code(source))


# ---------------------------------------------------------------- modules reached by import
def reached(source_or_module: str, sources: Sources | None = None) -> list[str]:
    """Names of the `wlib` modules that a module ("wlib.mge") or a piece of code reaches, sorted.

    Imports are followed wherever they stand, also inside functions; a module reaches itself.
    """
    sources = _LOADED if sources is None else sources
    if re.fullmatch(r"wlib(\.\w+)*", source_or_module):
        require_one_of("module", source_or_module, sources)
        todo = [source_or_module]
    else:
        todo = list(_imports(source_or_module, sources))
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found and not _uncounted(name):
            found.add(name)
            todo += _imports(sources[name], sources)
    return sorted(found)


def _uncounted(module: str) -> bool:
    return f"{module}.".startswith(tuple(f"{name}." for name in UNCOUNTED))


def _imports(source: str, sources: Sources) -> Iterator[str]:
    """Modules of `wlib` that a source names: imports of every form, `wlib.x`, and "wlib.x"."""
    return (name for name in _named(source) if name in sources)


def _import_names(tree: ast.Module, package: str) -> Iterator[str]:
    """Names that all imports in some code of a package may mean, relative ones made whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[:1 - node.level or None] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


@functools.lru_cache(maxsize=1024)
def _named(source: str) -> frozenset[str]:
    tree = parse(source) or ast.Module([], [])
    found = set(_import_names(tree, "wlib"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} if node.value.startswith("wlib.") else set()
    return frozenset(found)


def module_fingerprint(*modules: str, sources: Sources | None = None) -> str:
    """Hash of the code of these modules and of every `wlib` module that they reach.

    Modules that make no number (`UNCOUNTED`) are left out. Unknown names: `ValueError`.
    """
    require(len(modules) > 0, "modules", modules, "at least one name, such as 'wlib.mge'")
    if sources is None:
        return _loaded_fingerprint(tuple(sorted(set(modules))))
    return _modules_fingerprint(modules, sources)


@functools.cache
def _loaded_fingerprint(modules: tuple[str, ...]) -> str:
    return _modules_fingerprint(modules, _LOADED)


def _modules_fingerprint(modules: Iterable[str], sources: Sources) -> str:
    names = sorted({name for module in modules for name in reached(module, sources)})
    return digest([(name, plain_code(sources[name], module=True)) for name in names])


def definition_fingerprint(module: str, name: str, sources: Sources | None = None) -> str:
    """Hash of one top-level definition and of those in the same module that it names."""
    tree = _strip(ast.parse((_LOADED if sources is None else sources)[module]))
    defined = {target: node for node in tree.body for target in _defines(node)}
    require_one_of("name", name, defined)
    todo, found = [name], {}
    while todo:
        part = todo.pop()
        if part not in found:
            found[part] = ast.unparse(defined[part])
            todo += [node.id for node in ast.walk(defined[part])
                     if isinstance(node, ast.Name) and node.id in defined]
    return digest(found)


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


# ---------------------------------------------------------------- versions and notebooks
@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for package in PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional package that is not installed changes nothing
    return tuple(found)


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that can change a number, and the settings
    of the environment that can; so can the user's own files that Python runs before all else."""
    return dict(_versions()) | _run_first() | surroundings.counted()


@functools.cache
def _run_first() -> dict[str, str]:
    """The user's own start-up files: by now they have been run, so they are read but once."""
    return {name: digest(_describe_module(sys.modules[name]))[:12]
            for name in ("sitecustomize", "usercustomize")
            if name in sys.modules and _home(sys.modules[name]) == "own"}


def notebook_fingerprint(path: Path | str, parameters: Mapping[str, Any],
                         sources: Sources | None = None,
                         installed: Mapping[str, str] | None = None) -> str:
    """Hash of what a notebook's run depends on: code cells, parameters, versions, `wlib`.

    `parameters` are the final ones, after profile and command line. Markdown, outputs and
    metadata do not count. `installed` are the versions of a recorded run (default: those of this
    machine), so that a run made elsewhere is stale only when code has changed.
    """
    sources = _LOADED if sources is None else sources
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    code = [plain_code("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    modules = sorted({name for text in code for name in reached(text, sources)} | {"wlib"})
    report = ""
    if any("claims" in text for text in code) and "wlib.claims.report" in sources:
        # Judging changes no result, but the code that makes a measure of arrays does.
        report = definition_fingerprint("wlib.claims.report", "summarize", sources)
    installed = versions() if installed is None else installed
    return digest(code, parameters, installed, report, _modules_fingerprint(modules, sources))


def script_fingerprint(path: Path) -> str:
    """Hash of a script's code and of every `wlib` module that it reaches."""
    code = path.read_text(encoding="utf-8")
    modules = reached(code)
    return digest(plain_code(code), module_fingerprint(*modules) if modules else "")


# ---------------------------------------------------------------- functions
def function_fingerprint(function: Any) -> str:
    """Hash of a function and of everything by name that its result can depend on.

    A function of `wlib` counts with its module and what that reaches. A function of a notebook
    counts with its source (without docstring), its defaults, and the functions, classes, plain
    constants and modules that it names. Whatever else it names (a tensor, a pool) belongs in its
    arguments: `ValueError`.
    """
    require(callable(function) or isinstance(function, types.ModuleType), "function", function,
            "a function")
    require(not _uncounted(getattr(function, "__module__", None) or ""), "function", function,
            "one of a module whose code is counted")
    return digest(_describe(function, getattr(function, "__name__", "function"), set()))


def named_fingerprint(module: str, name: str) -> str | None:
    """`function_fingerprint` of a function of `wlib`, by its name; None if there is no such module.
    """
    return digest([name, module_fingerprint(module)]) if module in _LOADED else None


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
    home = _home(value)
    if _found_by_name(value):
        return [value.__qualname__, module_fingerprint(value.__module__)] if home == "wlib" else [
            value.__module__, value.__qualname__, _release(value)]
    if id(value) in seen:
        return value.__qualname__
    seen.add(id(value))
    if isinstance(value, types.FunctionType) or hasattr(value, "__wrapped__"):
        return _describe_function(value, seen)
    return _describe_class(value, seen) if home == "own" else _describe_installed(value, seen)


def is_own(code: Any) -> bool:
    """Whether a function or class is the reader's, neither a package's nor of `wlib`."""
    return _home(code) == "own"


def _found_by_name(value: Any) -> bool:
    """Whether module and name of an object of a package lead to it, so that they stand for it."""
    if _home(value) == "own":
        return False
    return _at(getattr(value, "__module__", None), getattr(value, "__qualname__", "?")) is value


def _at(module: str | None, name: str) -> Any:
    """What a qualified name leads to in a module that is loaded; None if nothing."""
    return functools.reduce(lambda found, part: getattr(found, part, None), name.split("."),
                            sys.modules.get(module))


def _release(value: Any) -> str:
    """The version of the package that something comes from."""
    module = sys.modules.get((getattr(value, "__module__", None) or "builtins").split(".")[0])
    return str(getattr(module, "__version__", ""))


def is_code(value: Any) -> bool:
    """Whether a value is a function, a class or a module, and no method of some object."""
    kinds = (type, types.ModuleType)
    function = (inspect.isroutine(value) or isinstance(value, functools._lru_cache_wrapper)
                or callable(value) and _found_by_name(value))
    return isinstance(value, kinds) or (
        function and isinstance(getattr(value, "__self__", None), (type(None), *kinds)))


def _describe_installed(value: Any, seen: set[int]) -> Any:
    """A class or C function of a package: its name, and bases that are the reader's own."""
    owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
    owner = owner.__name__ if isinstance(owner, (type, types.ModuleType)) else None
    bases = value.__mro__[1:] if isinstance(value, type) else ()
    return [str(getattr(value, "__module__", None)), owner, value.__qualname__, _release(value)] + [
        _describe(base, base.__name__, seen) for base in bases if _home(base) != "installed"]


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
    if module.__name__ == "wlib":
        return module_fingerprint(*(name for name in _LOADED if name not in UNCOUNTED))
    if module.__name__ in _LOADED:
        return ("" if module.__name__ in UNCOUNTED else module_fingerprint(module.__name__))
    return _own_modules([module.__name__]) if _home(module) == "own" else module.__name__


def _own_modules(names: Iterable[str]) -> Any:
    """The reader's own modules among these and all that they import: their code, by its name.

    Imports count wherever they stand, and whether or not they have been run: the key of a result
    must not depend on that. A package counts with all that lies in its folder.
    """
    todo, found, of_wlib = list(names), {}, set()
    while todo:
        name = todo.pop()
        for part, file in () if name in found else _own_files(name):
            found[part] = hashlib.sha256(file.read_bytes()).hexdigest()
            if file.suffix == ".py":
                source = file.read_text(encoding="utf-8")
                package = part if file.stem == "__init__" else part.rpartition(".")[0]
                found[part] = plain_code(source, module=True)
                of_wlib |= set(reached(source + "\n"))
                todo += _imported(source, package)
    return [sorted(names), sorted(found.items()), _modules_fingerprint(of_wlib, _LOADED)]


def _imported(source: str, package: str | None) -> set[str]:
    """Names of all modules that a source may import but Python's, packages' and `wlib`'s."""
    found = set(_import_names(parse(source) or ast.Module([], []), package or ""))
    tops = {name: name.partition(".")[0] for name in found if name}
    return {name for name, top in tops.items() if top != "wlib" and not _is_installed(top)}


@functools.cache
def _is_installed(top: str) -> bool:
    """Whether a top-level module is Python's own or a package's."""
    spec = _spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return top in sys.stdlib_module_names or any(map(_in_package, filter(None, places)))


def _spec(name: str) -> Any:
    """Where a module lies, loaded or not; None if there is none of that name."""
    try:
        return importlib.util.find_spec(name)
    except Exception:     # no module, one made by hand, or in a package that cannot be imported
        return None


def _own_files(name: str) -> Iterator[tuple[str, Path]]:
    """(module, file) of one of the reader's own modules, a package's with all inside."""
    spec = _spec(name)
    file = spec.origin if spec else getattr(sys.modules.get(name), "__file__", None)
    if file and Path(file).is_file() and not _in_package(file):
        yield name, Path(file)
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).rglob("*.py")):
            inside = path.relative_to(folder).with_suffix("").parts
            if not _in_package(str(path)) and inside != ("__init__",):
                yield ".".join([name, *(inside[:-1] if inside[-1] == "__init__" else inside)]), path


def _describe_function(function: Any, seen: set[int]) -> Any:
    layers = []
    while hasattr(function, "__wrapped__") and not _found_by_name(function):
        layers.append(function)
        function = function.__wrapped__
    if layers and not (isinstance(function, types.FunctionType) and _home(function) == "own"):
        return [_describe(function, function.__qualname__, seen)] + [
            _describe_layer(layer, seen) for layer in layers]
    if _home(function) != "own" or function.__name__ == "<lambda>":
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
    used = _describe_outside(function, named, seen)
    inside = [module_fingerprint(name) for name in reached(source + "\n")]
    imported = _imported(source, function.__globals__.get("__package__"))
    if imported:
        inside.append(_own_modules(sorted(imported)))
    unseen = layers[:max(0, len(layers) - len(decorators))]   # put around it without an @
    return [function.__qualname__, plain_code(source), used, _describe_defaults(function, seen),
            inside, len(layers)] + [_describe_layer(layer, seen) for layer in unseen]


def _describe_code(function: types.FunctionType, seen: set[int]) -> Any:
    """A function that no name and no source can tell from another: a lambda, one made by a
    function of a package. Its byte code counts, and what it takes from outside."""
    def plain(code: types.CodeType) -> Any:
        return [code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars,
                code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
                [plain(constant) if isinstance(constant, types.CodeType)
                 else _describe_plain(constant, "a constant", seen) for constant in code.co_consts]]

    home = _home(function)
    inside = module_fingerprint(function.__module__) if home == "wlib" else ""
    return [home, inside, plain(function.__code__), _describe_outside(function, set(), seen),
            _describe_defaults(function, seen)]


def _describe_layer(layer: Any, seen: set[int]) -> Any:
    """What a decorator made of a function; a cache in front of it changes no value."""
    if isinstance(layer, functools._lru_cache_wrapper):
        return "cache"
    require(isinstance(layer, types.FunctionType), "function", layer,
            "one wrapped by a Python function")
    return _describe_code(layer, seen)


def _describe_outside(function: types.FunctionType, named: set[str], seen: set[int]) -> Any:
    """What a function and its decorators (`named`) read from the module and from functions
    around; the module of a package or of `wlib` counts as a whole."""
    scope = {name: value for name, value in function.__globals__.items()
             if name in named | set(_globals_of(function.__code__))
             } if _home(function) == "own" else {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):     # an empty cell: not yet assigned
            scope[name] = cell.cell_contents
    return {name: _describe(scope[name], name, seen) for name in sorted(scope)}


def _describe_defaults(function: types.FunctionType, seen: set[int]) -> Any:
    """Default values, and what was set on the function itself, which its code may read."""
    told = [_describe(part, f"a default of {function.__name__}", seen)
            for part in (function.__defaults__, function.__kwdefaults__)]
    set_on = {key: value for key, value in vars(function).items() if key != "__wrapped__"}
    return told + ([_describe(set_on, f"an attribute of {function.__name__}", seen)]
                   if set_on and _home(function) == "own" else [])


def _describe_class(cls: type, seen: set[int]) -> Any:
    """A notebook's class: its source, found through its methods; its bases, methods and values."""
    methods = [inspect.unwrap(getattr(value, "__func__", None) or getattr(value, "fget", value))
               for value in vars(cls).values()]
    methods = [value for value in methods if isinstance(value, types.FunctionType)
               and not _in_package(value.__code__.co_filename)]
    readable = [value for value in methods if linecache.getlines(value.__code__.co_filename)]
    told = [cls.__qualname__, [_describe(base, base.__name__, seen) for base in cls.__bases__],
            {name: _describe(value, f"{cls.__name__}.{name}", seen)
             for name, value in vars(cls).items() if _is_setting(name, value, cls)}]
    for method in readable:
        line = method.__code__.co_firstlineno
        tree = parse("".join(linecache.getlines(method.__code__.co_filename)))
        found = [node for node in ast.walk(tree or ast.Module([], []))
                 if isinstance(node, ast.ClassDef) and node.name == cls.__name__
                 and node.lineno <= line <= node.end_lineno]
        if found:
            return told + [ast.unparse(_strip(found[-1])),
                           [_describe(value, value.__name__, seen) for value in readable]]
    generated = (dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")) and all(
        value.__name__.startswith("__") for value in methods)
    require(not readable and (not methods or generated), cls.__qualname__, "a class whose source "
            "cannot be read", "one of a file or a notebook's cell, or what it makes as an argument")
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return told + [list(vars(cls).get("__annotations__", ())),      # no methods of its own
                   [_describe(f.default_factory, f.name, seen) for f in fields
                    if f.default_factory is not dataclasses.MISSING]]


def _is_setting(name: str, value: Any, cls: type) -> bool:
    """Whether a class's attribute is a value: no method, no member, no bookkeeping of Python's."""
    return not (name.startswith("_") and name.endswith("_") or name == "_abc_impl"
                or hasattr(value, "__get__") or isinstance(value, cls))


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """Names that a function and the functions inside it read from the module."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)


@functools.cache
def _installed_folders() -> tuple[Path, ...]:
    """Python's own, and those where pip has put packages: also by --user or --target."""
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    found = [Path(folder).resolve() for folder in sys.path if any(Path(folder).glob("*.dist-info"))]
    return tuple({Path(sysconfig.get_path(key)).resolve() for key in keys} | set(found))


HEAP_TYPE = 1 << 9      # of a class's __flags__: made by Python code or at run time, not built in


def _home(value: Any) -> str:
    """Where code comes from: "wlib", "installed" (a package or Python's own) or "own"."""
    is_module = isinstance(value, types.ModuleType)
    name = value.__name__ if is_module else getattr(value, "__module__", None) or "builtins"
    if name.split(".")[0] == "wlib" and name in _LOADED:
        return "wlib"
    if name == "__main__":
        return "own"
    top = name.partition(".")[0]
    for module in (name, top):                   # parts of a package that C made have no file
        if file := getattr(sys.modules.get(module), "__file__", None):
            return "installed" if _in_package(file) else "own"
    # Python's own modules have none either, and `exec` gives what it makes a name of one of them.
    made = isinstance(value, types.FunctionType) or isinstance(value, type) and bool(
        value.__flags__ & HEAP_TYPE)
    own = made and _at(name, value.__qualname__) is not value
    return "own" if own or top not in sys.stdlib_module_names else "installed"


@functools.lru_cache(maxsize=4096)
def _in_package(file: str) -> bool:
    return any(folder in Path(file).resolve().parents for folder in _installed_folders())
