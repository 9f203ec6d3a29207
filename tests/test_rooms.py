"""The rooms of the house: which package may import which, and how little a method needs."""

import ast

import pytest

from wlib.ground import reach

SOURCES = reach.read_sources()
# Each package and those that lie below it; `check` and `seeds` are modules, below all.
METHODS = ("mge", "mda", "free", "d2nwg")
BELOW = {"ground": (), "store": ("ground",), "core": ("ground", "store"),
         "data": ("ground", "store", "core"),
         **dict.fromkeys(METHODS, ("ground", "store", "core", "data")),
         "claims": ("ground",), "plot": ("ground", "claims"),
         "book": ("ground", "store", "core", "data", *METHODS, "claims", "plot")}


def room(module):
    """The package of a module; a module beside the packages is its own."""
    return [*module.split("."), ""][1]


def imported(source):
    """Rooms that a source imports, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (room(name.name) for name in node.names if name.name.startswith("wlib."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "wlib":
            yield from ([room(node.module)] if "." in node.module
                        else [name.name for name in node.names])


@pytest.mark.parametrize("module", [m for m in SOURCES if room(m) in BELOW])
def test_arrows_go_down(module):
    mine = room(module)
    assert {*imported(SOURCES[module])} <= {mine, "check", "seeds", *BELOW[mine]}


def test_every_package_has_its_floor():
    packages = {room(module) for module in SOURCES if module.count(".") > 1}
    assert packages == {*BELOW}
    assert {room(m) for m in SOURCES} - packages == {"", "check", "seeds", "__main__"}


# Lines of all modules that a method reaches by import, itself among them.
@pytest.mark.parametrize("module, most", [
    ("wlib.mge", 2900), ("wlib.mda", 2400), ("wlib.d2nwg", 5000), ("wlib.free", 6200)])
def test_a_method_needs_little(module, most):
    reached = reach.reached(module)
    assert sum(len(SOURCES[name].splitlines()) for name in reached) <= most
    assert not {"claims", "plot", "book"} & {room(name) for name in reached}
