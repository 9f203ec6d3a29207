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
import dis
import functools
import hashlib
import importlib.metadata
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

from wlib import surroundings
from wlib.check import require, require_one_of, short

PACKAGE = Path(__file__).resolve().parent
UNCOUNTED = frozenset(f"wlib.{name}" for name in (
    "check", "files", "fingerprint", "entries", "store", "plot", "plot_mda", "plot_free",
    "plot_d2nwg", "draw",
    "claims", "ledger", "pages", "pageparts", "pagecheck", "explore", "parameters", "execute",
    "progress", "runner", "warming", "cli", "kernel", "surroundings"))
# Packages whose version can change a number or a figure on a page.
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "mlxtend", "matplotlib",
            "seaborn", "pandas", "pillow", "torch-pruning", "open_clip_torch", "diffusers")
PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), Path)

Sources = Mapping[str, str]  # module name -> source text


def read_sources(folder: Path | str = PACKAGE) -> dict[str, str]:
    """The source of every module of the package `wlib` in `folder`, as it is on disk now."""
    folder = Path(folder)
    return {"wlib" if path.stem == "__init__" else f"wlib.{path.stem}":
            path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))}


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
    if re.fullmatch(r"wlib(\.\w+)?", source_or_module):
        require_one_of("module", source_or_module, sources)
        todo = [source_or_module]
    else:
        todo = list(_imports(source_or_module, sources))
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found and name not in UNCOUNTED:
            found.add(name)
            todo += _imports(sources[name], sources)
    return sorted(found)


def _imports(source: str, sources: Sources) -> Iterator[str]:
    """Modules of `wlib` that a source names: imports of every form, `wlib.x`, and "wlib.x"."""
    return (name for name in _named(source) if name in sources)


@functools.lru_cache(maxsize=1024)
def _named(source: str) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(parse(source) or ast.Module([], [])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or "wlib"
            if node.level and node.module:  # from .mge import generate
                base = f"wlib.{node.module}"
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
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
    of the environment that can."""
    return dict(_versions()) | surroundings.counted()


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
    if any("claims" in text for text in code) and "wlib.claims" in sources:
        # Judging changes no result, but the code that makes a measure of arrays does.
        report = definition_fingerprint("wlib.claims", "summarize", sources)
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
    require(callable(function), "function", function, "a function")
    require(getattr(function, "__module__", None) not in UNCOUNTED, "function", function,
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
    if callable(value) and hasattr(value, "__wrapped__"):  # functools.cache, wraps
        value = inspect.unwrap(value)
    if isinstance(value, type) or inspect.isroutine(value):
        if _home(value) == "wlib":
            return [value.__qualname__, module_fingerprint(value.__module__)]
        if _home(value) == "installed":
            return [str(value.__module__), value.__qualname__]
        if id(value) in seen:
            return value.__qualname__
        seen.add(id(value))
        describe = _describe_class if isinstance(value, type) else _describe_function
        return describe(value, seen)
    return _describe_plain(value, name, seen)


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
    file = getattr(module, "__file__", None)
    if _home(module) == "own" and file and Path(file).suffix == ".py":
        return [module.__name__, plain_code(Path(file).read_text(encoding="utf-8"), module=True)]
    return module.__name__


def _describe_function(function: Any, seen: set[int]) -> Any:
    function = inspect.unwrap(getattr(function, "__func__", function))
    require(isinstance(function, types.FunctionType), "function", function, "a Python function")
    require(function.__name__ != "<lambda>", "function", function, "a function made by def, "
            "because the source of a lambda cannot be told from its line")
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ValueError(f"{function.__qualname__}: its source cannot be read ({error}); define "
                         "it in a notebook cell or in a file") from error
    tree = parse(source)
    named = set(_globals_of(function.__code__))
    for decorator in getattr(tree.body[0] if tree else None, "decorator_list", []):
        named |= {node.id for node in ast.walk(decorator) if isinstance(node, ast.Name)}
    scope = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (),
                          strict=True):
        named.add(name)
        scope[name] = cell.cell_contents
    used = {name: _describe(scope[name], name, seen) for name in sorted(named) if name in scope}
    defaults = [_describe(function.__defaults__, f"a default of {function.__name__}", seen),
                _describe(function.__kwdefaults__, f"a default of {function.__name__}", seen)]
    inside = [module_fingerprint(name) for name in reached(source + "\n")]
    return [function.__qualname__, plain_code(source), used, defaults, inside]


def _describe_class(cls: type, seen: set[int]) -> Any:
    """A notebook's class: its source, found through its methods, its bases and its methods."""
    methods = [inspect.unwrap(getattr(value, "__func__", None) or getattr(value, "fget", value))
               for value in vars(cls).values()]
    methods = [value for value in methods if isinstance(value, types.FunctionType)]
    for method in methods:
        tree = parse("".join(linecache.getlines(method.__code__.co_filename)))
        for node in ast.walk(tree or ast.Module([], [])):
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                bases = [_describe(base, base.__name__, seen) for base in cls.__bases__]
                used = [_describe(value, value.__name__, seen) for value in methods
                        if value.__code__.co_filename == method.__code__.co_filename]
                return [cls.__qualname__, ast.unparse(_strip(node)), bases, used]
    raise ValueError(f"{cls.__qualname__}: its source cannot be read; pass what it makes as an "
                     "argument")


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
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(sysconfig.get_path(key)).resolve() for key in keys})


def _home(value: Any) -> str:
    """Where code comes from: "wlib", "installed" (a package or Python's own) or "own"."""
    is_module = isinstance(value, types.ModuleType)
    name = value.__name__ if is_module else value.__module__ or "builtins"
    if name.split(".")[0] == "wlib" and name in _LOADED:
        return "wlib"
    if name == "__main__":
        return "own"
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or any(folder in Path(file).resolve().parents
                           for folder in _installed_folders()):
        return "installed"
    return "own"
