"""The rooms of the house: which package may import which, and how little a method needs."""

import ast
import importlib
import subprocess
import sys

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


# What a method is for, and the lines of `wlib` that it may need for that. Where its package has a
# front, the modules count that are loaded by then, else all that it reaches by import.
MGE = """from wlib.core import nets
from wlib.core.pool import Pool
mge.generate(Pool.stack([nets.build('lenet')]), 2)"""
D2NWG = """import torch
weights, sets = torch.randn(6, 5), torch.randn(6, 2, 3, 4)
codec = d2nwg.PCA.fit(weights, 2)
z, encoder = codec.encode(weights), d2nwg.SetEncoder(4, 2, width=4, inducing=2)
alignment = d2nwg.Alignment(epochs=1, shots=2)
encoder, _ = d2nwg.fit_encoder(encoder, sets, z, alignment, device="cpu")
run = d2nwg.fit(z, sets, d2nwg.Training(steps=1), encoder=encoder, device="cpu")
codec.decode(run.sample(sets, method="ddim", device="cpu")[:, 0])"""
MDA = """import torch
from wlib.core import nets
from wlib.mda import lego
net = nets.build('lenet', classes=2)
part = mda.part(net, torch.rand(2, 1, 28, 28), torch.arange(2), [1]).network
lego.assemble([part, part], execution='dense')"""
FREE = """from wlib.core import nets
teacher = free.Teacher(nets.build('conv4', classes=2), 'ab')
teachers = free.Teachers([teacher], (1, 28, 28))
free.recover(teachers, free.generator_for(teachers))"""
NEEDS = {"mge": (MGE, 1500), "mda": (MDA, 3200), "d2nwg": (D2NWG, 2200), "free": (FREE, 2500)}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_needs_little(method):
    use, most = NEEDS[method]
    reached = reach.reached(f"wlib.{method}")
    needed = loaded_by(f"from wlib import {method}\n{use}") if use else reached
    assert f"wlib.{method}" in needed
    assert sum(len(SOURCES[module].splitlines()) for module in needed) <= most
    assert not {"claims", "plot", "book"} & {*map(room, reached), *map(room, needed)}


def loaded_by(code):
    """The modules of `wlib` that a fresh process has loaded after it ran some code."""
    code += "\nimport sys\nprint(*(name for name in sys.modules if name.split('.')[0] == 'wlib'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.mark.parametrize("package", [*METHODS, "store", "data"])
def test_a_front_shows_and_gives_all_that_it_lists(package):
    front = importlib.import_module(f"wlib.{package}")
    assert {*front.__all__} <= {*dir(front)}
    assert all(hasattr(front, name) for name in front.__all__)
    with pytest.raises(AttributeError, match=f"'wlib.{package}' has no attribute 'unheard_of'"):
        _ = front.unheard_of
