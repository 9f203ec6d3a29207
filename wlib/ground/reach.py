"""Code as the machine sees it, and all of `wlib` that it reaches by import, in one hash.

    reach.reached("wlib.mge")               # names of the modules that count with it
    reach.module_fingerprint("wlib.mge")    # their code, whoever imports whom

Prose does not count, nor where a module lies: in place of its name stands what it holds. An import
leads to the module that defines the name, through packages that only hand it on. Not counted are
the packages `UNCOUNTED`: what draws and what runs the book makes no number.

The source of `wlib` is read once (`sources`): a process is judged by the code that it runs, not by
what an editor has saved since. Restart the kernel after editing `wlib`.
"""

from __future__ import annotations

import ast
import collections
import functools
import hashlib
import itertools
import json
import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeGuard

from wlib.check import require_one_of
from wlib.ground.sources import PACKAGE, READ, Sources, read_sources  # noqa: F401

UNCOUNTED = ("wlib.book", "wlib.plot")
OF_ALL = ("__name__", "__file__", "__path__", "__spec__", "__doc__")     # names that Python gives


class Code(NamedTuple):
    """Some code without the places of modules, and where these lead.

    A place is "module:name.name". `leads` are (words of the code, place), `names` a module's names
    with the places of those that are only imported, and a `plain` module imports and defines only.
    """

    texts: tuple[str, ...]
    leads: tuple[tuple[str, str], ...]
    names: Mapping[str, str] = {}
    plain: bool = False


def counts(module: str) -> bool:
    """Whether a module of `wlib` can change a number."""
    return not f"{module}.".startswith(tuple(f"{package}." for package in UNCOUNTED))


def digest(*parts: Any) -> str:
    """SHA-256 (64 hex digits) of JSON-like parts; order and types count."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- one piece of code
def parse(source: str) -> ast.Module | None:
    """The syntax tree of a module or of a notebook cell; None if it is not Python.

    Lines of IPython (`%magic`, `!shell`, `%%cell`) become calls that keep their text and name what
    they name.
    """
    for text in (source, re.sub(r"^(\s*)([%!?].*)$", _call, source, flags=re.MULTILINE)):
        try:
            return ast.parse(text)
        except SyntaxError:
            continue
    return None


def _call(magic: re.Match) -> str:
    names = [name for name in re.findall(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*", magic[2])
             if not any(map(keyword.iskeyword, name.split(".")))]
    return f"{magic[1]}__magic__({', '.join([repr(magic[2]), *names])})"


def imports(node: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """(bound name, place) of what a statement in some package imports; nothing if it does not."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0], f"{alias.name}:"
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[:1 - node.level or None] if node.level else []
        base = ".".join(filter(None, [*above, node.module]))
        for alias in node.names:
            yield alias.asname or alias.name, f"{base}:{alias.name}".removesuffix("*")


@functools.lru_cache(maxsize=1024)
def read(sources: tuple[str, ...], package: str = "", module: bool = False,
         bound: tuple[tuple[str, str], ...] = ()) -> Code:
    """Pieces of code that share their names, such as a notebook's cells or a `module`.

    Relative imports start at `package`; `bound` are names and places that code around them gives.
    """
    trees = [parse(source) for source in sources]
    names, plain = _names(trees[0], package) if module and trees[0] else ({}, False)
    reader = _Reader(package, bound, HOLDERS + (ast.Module,) * module)
    texts = tuple(source if tree is None else ast.unparse(reader.visit(tree))
                  for source, tree in zip(sources, trees, strict=True))
    return Code(texts, tuple(reader.leads()), names, plain)


HOLDERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class _Reader:
    """Takes prose and the places of modules out of code; `leads` tells in a fixed order what stood
    there. A docstring goes where `holders` have it: a cell's first string may be shown."""

    def __init__(self, package: str, bound: Iterable[tuple[str, str]],
                 holders: tuple[type, ...]) -> None:
        self.package, self.holders = package, holders
        self.bound = list(bound)                          # by imports: names and places
        self.written: list[str] = []                      # places in full: wlib.x, "wlib.x"
        # What follows a name: "", ".generate".
        self.uses: dict[str, set[str]] = collections.defaultdict(set)
        self.visits: dict[type, Callable[[Any], ast.AST]] = {
            ast.Attribute: self._attribute, ast.Name: self._name, ast.Constant: self._constant}

    def visit(self, node: ast.AST) -> ast.AST:
        return self.visits.get(type(node), self._inside)(node)

    def _inside(self, node: Any) -> ast.AST:
        for field in node._fields:                        # half as long as by ast.NodeTransformer
            value = getattr(node, field, None)
            if isinstance(value, list):
                held: Any = node if isinstance(node, self.holders) and field == "body" else None
                if held is not None and ast.get_docstring(held, clean=False) is not None:
                    value = value[1:] or [ast.Pass()]
                if value and isinstance(value[0], ast.stmt):
                    value = self._sorted(value)
                setattr(node, field, [self.visit(item) if isinstance(item, ast.AST) else item
                                      for item in value])
            elif isinstance(value, ast.AST):
                setattr(node, field, self.visit(value))
        return node

    def _sorted(self, block: list[Any]) -> Iterator[ast.stmt]:
        """A block's statements: one for each import, those that are neighbors sorted."""
        for together, run in itertools.groupby(
                block, lambda node: isinstance(node, (ast.Import, ast.ImportFrom))):
            if not together:
                yield from run
                continue
            lines = [self._line(node, alias, *binding) for node in run for alias, binding in zip(
                node.names, imports(node, self.package), strict=True)]
            for _, line, bound in sorted(lines, key=lambda line: line[0]):
                self.bound += bound
                yield line

    def _line(self, node: Any, alias: ast.alias, name: str, place: str) -> tuple:
        bound = [(name, place)] if re.match(r"wlib\b", place) else []
        line = (ast.ImportFrom("wlib", [ast.alias(name)], 0) if bound
                else ast.Import([alias]) if isinstance(node, ast.Import)
                else ast.ImportFrom(node.module, [alias], node.level))
        return ast.unparse(line), line, bound

    def _attribute(self, node: ast.Attribute) -> ast.AST:
        names: list[str] = []
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            names.append(root.attr)
            root = root.value
        if not isinstance(root, ast.Name):
            return self._inside(node)
        rest = ".".join(reversed(names))
        if root.id == "wlib":
            self.written.append(f"wlib:{rest}")
            return root
        self.uses[root.id].add(f".{rest}")
        return node

    def _name(self, node: ast.Name) -> ast.Name:
        if isinstance(node.ctx, ast.Load):
            self.uses[node.id].add("")
        return node

    def _constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str) and re.fullmatch(r"wlib(\.\w+)+", node.value):
            self.written.append(f"{node.value}:")
            return ast.Constant("wlib.")
        return node

    def leads(self) -> Iterator[tuple[str, str]]:
        """(words, place) of all uses of imported names, and of places that are written in full."""
        for name, place in self.bound:
            if name != "wlib":                       # a name without use may be used by others
                yield from ((name + use, place + use) for use in sorted(self.uses[name] or {""}))
            elif place != "wlib:" and not any(
                    f"{written}.".startswith(place.replace(":", ".").replace(".", ":", 1))
                    for written in self.written):
                yield "", place                      # import wlib.x, without wlib.x.y
        yield from (("", place) for place in self.written + ["wlib:"] * len(self.uses["wlib"]))


def _names(tree: ast.Module, package: str) -> tuple[dict[str, str], bool]:
    """The names of a module, with their places if one import at its top is all that gives them;
    and whether the module does no more than to import and to define."""
    heads = [node for head in tree.body for node in (head.body if _for_editors(head) else [head])]
    top = [binding for node in heads for binding in imports(node, package)]
    made = [name for name, count in collections.Counter(name for name, _ in top).items()
            if count > 1]
    at_top = set(map(id, heads))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            made.append(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.append(node.id)
        elif isinstance(node, ast.Global):
            made += node.names
        elif id(node) not in at_top:
            made += [name for name, _ in imports(node, package)]
    return dict(top) | dict.fromkeys(made, ""), all(map(_only_defines, tree.body))


def _only_defines(node: ast.stmt) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return not node.decorator_list and not _calls(node.args)
    if isinstance(node, (ast.Assign, ast.AnnAssign)):      # __all__ = [...], __version__: str
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(target, ast.Name) for target in targets) and not _calls(node)
    if _for_editors(node):
        return all(map(_only_defines, node.body + node.orelse))
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _for_editors(node: ast.stmt) -> TypeGuard[ast.If]:
    """Whether a statement is the list of names that a front hands on (`wlib.ground.front`)."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _calls(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


# ---------------------------------------------------------------- what it reaches
class Tree:
    """The modules of `wlib` as one folder holds them: where names lead, and what code reaches."""

    def __init__(self, sources: Sources):
        self.packages = {above for name in sources for above in _above(name)}
        self.sources = dict.fromkeys(self.packages, "") | dict(sources)
        for name in ("lead", "_module", "fingerprint"):      # each asked many times
            setattr(self, name, functools.cache(getattr(self, name)))

    def code(self, module: str) -> Code:
        """The code of a module."""
        package = module if module in self.packages else module.rpartition(".")[0]
        return read((self.sources[module],), package, True)

    def lead(self, place: str) -> tuple[str, tuple[str, ...]]:
        """The name that a place leads to, and the modules that count with it.

        First the module that defines it, then those on the way that do more than to import and to
        define, and all in a package that is used without a name that can be found in it.
        """
        module, _, names = place.partition(":")
        todo: list[str] = list(filter(None, names.split(".")))
        way: list[str] = []
        while todo and module in self.sources and len(way) < len(self.sources):
            target = self.code(module).names.get(todo[0])
            below = f"{module}.{todo[0]}"
            if target in (None, f"{module}:{todo[0]}") and below in self.sources:
                target = f"{below}:"
            if not target or not re.match(r"wlib\b", target):
                break
            way.append(module)
            module, _, name = target.partition(":")
            todo[:1] = [name] if name else []
        if module not in self.sources:
            return place, ()
        way = [name for name in dict.fromkeys([*way, *_above(module)]) if not self.code(name).plain]
        found = todo and (todo[0] in self.code(module).names or todo[0] in OF_ALL)
        inside = [] if found else [name for name in self.sources if name.startswith(f"{module}.")]
        inside.sort(key=lambda name: (digest(self.code(name).texts), name))
        return ".".join(todo) if counts(module) else "", tuple(
            filter(counts, dict.fromkeys([module, *way, *inside])))

    def _module(self, module: str) -> tuple[str, list[tuple[str, ...]]]:
        return self._piece(self.code(module))

    def _piece(self, code: Code) -> tuple[str, list[tuple[str, ...]]]:
        """A hash of what some code says itself, and the modules of each of its leads."""
        found = [(words, *self.lead(place)) for words, place in code.leads]
        return (digest(code.texts, [[words, name] for words, name, _ in found]),
                [modules for *_, modules in found])

    def follow(self, code: Code) -> tuple[str, list[str]]:
        """Hash of some code and of all modules that it reaches, and these modules' names, sorted.

        The hash tells modules by numbers, in the order in which they come up, so that it knows who
        imports whom, also in a circle, and not where a module lies.
        """
        numbers: dict[str, int] = {}
        described, todo = [], [self._piece(code)]
        for own, leads in todo:                  # grows on the way
            for module in itertools.chain(*leads):
                if module not in numbers:
                    numbers[module] = len(numbers)
                    todo.append(self._module(module))
            described.append([own, [[numbers[module] for module in lead] for lead in leads]])
        return digest(described), sorted(numbers)

    def fingerprint(self, place: str) -> str:
        """Hash of what a place leads to and of all that this reaches."""
        return self.follow(Code((), (("", place),)))[0]


def _above(module: str) -> list[str]:
    """The packages that a module lies in, the outermost first."""
    parts = module.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


LOADED = Tree(READ)


def reached(source_or_module: str, sources: Sources | None = None) -> list[str]:
    """Names of the `wlib` modules that a module ("wlib.mge") or a piece of code reaches, sorted.

    Imports are followed wherever they stand, also inside functions; a module reaches itself.
    """
    tree = LOADED if sources is None else Tree(sources)
    if not re.fullmatch(r"wlib(\.\w+)*", source_or_module):
        return tree.follow(read((source_or_module,)))[1]
    require_one_of("module", source_or_module, tree.sources)
    return tree.follow(Code((), (("", f"{source_or_module}:__name__"),)))[1]


def module_fingerprint(module: str, name: str = "", sources: Sources | None = None) -> str:
    """Hash of the code of a module, or of the one that defines a name for it, and of all that this
    reaches; of a package without a name all that lies in it. Unknown modules: `ValueError`."""
    tree = LOADED if sources is None else Tree(sources)
    require_one_of("module", module, tree.sources)
    return tree.fingerprint(f"{module}:{name}")


def code_fingerprint(*texts: str, package: str = "", module: bool = False,
                     bound: Iterable[tuple[str, str]] = (), sources: Sources | None = None) -> str:
    """Hash of pieces of code and of all modules of `wlib` that they reach (see `read`)."""
    tree = LOADED if sources is None else Tree(sources)
    return tree.follow(read(texts, package, module, tuple(sorted(bound))))[0]
