"""How large a module, a function and a signature may be, so that each fits a screen and a mind."""

import ast

import pytest

from wlib.ground import reach

SOURCES = reach.read_sources()
MODULE, FUNCTION, PARAMETERS = 400, 50, 8      # lines, lines, parameters of a public function


def functions(tree, inside=""):
    """(dotted name, node) of every function, those of classes and of other functions among them."""
    for node in ast.iter_child_nodes(tree):
        name = f"{inside}.{node.name}" if hasattr(node, "name") else inside
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield name, node
        yield from functions(node, name)


def parameters(node):
    """Parameters that a caller can give; a method's own object is none."""
    names = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def too_large(module, source):
    """What of a module is over a limit: itself, or functions by name."""
    if len(source.splitlines()) > MODULE:
        yield module
    for name, node in functions(ast.parse(source)):
        public = not any(part.startswith("_") for part in name.split(".")[1:])
        long = node.end_lineno - node.lineno + 1 > FUNCTION
        if long or public and parameters(node) > PARAMETERS:
            yield module + name


def test_nothing_is_too_large():
    assert [name for module, source in SOURCES.items() for name in too_large(module, source)] == []


ARGUMENTS = ", ".join("abcdefgh")


@pytest.mark.parametrize("source, wrong", [
    ("\n" * 400, []), ("\n" * 401, ["m"]),
    ("def f():\n" + " x\n" * 49, []), ("def f():\n" + " x\n" * 50, ["m.f"]),
    (f"def f({ARGUMENTS}): pass", []), (f"def f({ARGUMENTS}, i): pass", ["m.f"]),
    (f"def f(*, {ARGUMENTS}, i): pass", ["m.f"]), (f"def _f({ARGUMENTS}, i): pass", []),
    (f"class C:\n def f(self, {ARGUMENTS}): pass", []),
    (f"class C:\n def f(self, {ARGUMENTS}, i): pass", ["m.C.f"]),
    (f"def f({ARGUMENTS}, *i, **j): pass", [])])
def test_limits_tell_what_is_over_them(source, wrong):
    assert [*too_large("m", source)] == wrong
