"""What code reaches, and what its hash minds: who imports whom, and not where a module lies."""

import ast
import itertools
import json
import sys
import types

import pytest

from wlib import seeds, store
from wlib.claims import staleness
from wlib.ground import fingerprint, reach, versions

HOUSE = {
    "wlib": '"""Contents."""\n__version__: str\n',
    "wlib.check": "def require():\n    pass\n",
    "wlib.seeds": "from wlib.check import require\nfrom wlib import check as checks\nBASE = 7\n",
    "wlib.store": "from .kept import cached\nfrom . import kept\n__all__ = ['cached']\n",
    "wlib.store.kept": "import json\nfrom wlib import check\ndef cached():\n    '''Keeps.'''\n",
    "wlib.mge": "'''Mixes.'''\nfrom .cosine import dct\nfrom .generator import generate, redraw\n",
    "wlib.mge.cosine": "import wlib.seeds\ndef dct():\n    return wlib.seeds.BASE\n",
    "wlib.mge.generator": "from . import cosine\nfrom ..check import require\n"
                          "def generate():\n    return cosine.dct()\ndef redraw():\n    pass\n",
    "wlib.mge.evolution": "from wlib import mge\ndef evolve():\n    return mge.generate()\n",
    "wlib.free": "import importlib\ndef other():\n    from .mge.cosine import dct\n    return dct\n"
                 "def late():\n    return importlib.import_module('wlib.seeds')\n",
    "wlib.circle": "", "wlib.circle.one": "def f():\n    from .two import g\n    return g\n",
    "wlib.circle.two": "def g():\n    from .one import f\n    return f\nTWO = 2\n",
    "wlib.plot": "from .lines import draw\nfrom wlib.mge import dct\nprint('loaded')\n",
    "wlib.plot.lines": "from wlib import seeds\ndef draw():\n    pass\n",
    "wlib.book": "from wlib import plot, free\n",
}
CODE = ["import torch\nfrom wlib import mge, plot, seeds as draws\nfrom wlib.circle.one import f",
        "mge.generate(draws.BASE)\nplot.draw()", "import wlib.free\nwlib.free.other()"]


def change(**sources):
    """HOUSE with some modules replaced, "__" for a dot: change(mge__cosine="…")."""
    return HOUSE | {f"wlib.{name.replace('__', '.')}": text for name, text in sources.items()}


def of(*code, **sources):
    return reach.code_fingerprint(*code or CODE, sources=change(**sources))


def notebook(path, *cells):
    made = [{"cell_type": "code", "source": cell, "metadata": {}} if isinstance(cell, str) else cell
            for cell in cells]
    path.write_text(json.dumps({"cells": made}))
    return path


# ---------------------------------------------------------------- code
@pytest.mark.parametrize("same", [
    "def f(x):\n    return x + 1  # why",
    "def f(x):\n    '''What.'''\n    return x + 1",
    "def f( x ):\n\n    return (x + 1)",
])
def test_prose_in_code_changes_nothing(same):
    assert reach.code_fingerprint(same) == reach.code_fingerprint("def f(x):\n    return x + 1")


@pytest.mark.parametrize("other", [
    "def f(x):\n    return x + 2", "def f(y):\n    return y + 1",
    "def f(x):\n    return x + 1.0", "def f(x):\n    return x + '1'",
])
def test_code_changes_the_fingerprint(other):
    assert reach.code_fingerprint(other) != reach.code_fingerprint("def f(x):\n    return x + 1")


def test_a_string_shown_by_a_cell_counts():
    assert reach.code_fingerprint("'one'") != reach.code_fingerprint("'two'")
    assert reach.code_fingerprint("'one'\nx = 1", module=True) == reach.code_fingerprint(
        "'two'\nx = 1", module=True)
    assert of("f()", "g()") != of("f()\ng()"), "the last value of each cell is shown"


def test_magics_and_broken_code_are_tolerated():
    assert of("%time f()  ") != of("%time g()")
    assert of("%%time\nx = 1  # one") == of("%%time\nx = 1")
    assert of("def (") != of("def [")
    assert "wlib.mge.cosine" in reach.reached("from wlib import mge\n%time mge.dct()", HOUSE)


# ---------------------------------------------------------------- what is reached
@pytest.mark.parametrize("code, modules", [
    ("wlib.mge.cosine", "check mge.cosine seeds"),
    ("wlib.mge", "check mge mge.cosine mge.generator seeds"),
    ("wlib.free", "check free mge.cosine seeds"),
    ("wlib.circle.one", "circle.one circle.two"),
    ("import wlib.check as a", "check"),
    ("import wlib\nwlib.check.require", "check"),
    ("importlib.import_module('wlib.check')", "check"),
    ("import wlib.mge\nwlib.mge.dct()", "check mge.cosine seeds"),
    ("from wlib.store import cached", "check store.kept"),
    ("from wlib import store\nstore.cached()", "check store.kept"),
    ("from wlib import store\nstore.kept.cached()", "check store.kept"),
    ("import wlib\nprint(wlib.__version__)", ""),      # it has none: said by its metadata
    ("from wlib import plot, book\nfrom wlib.plot.lines import draw", ""),
    ("from wlib.plot import dct", "check mge.cosine seeds"),
    ("import torch", ""),
])
def test_imports_lead_to_the_modules_that_define(code, modules):
    want = [f"wlib.{name}" for name in modules.split()]
    assert [name for name in reach.reached(code, HOUSE) if name != "wlib"] == want


@pytest.mark.parametrize("code", [
    "from wlib import mge\nf(mge)", "from wlib import mge", "from wlib.mge import *",
    "import wlib.mge", "from wlib import mge\nmge.not_there()", "'wlib.mge'"])
def test_a_package_used_as_a_whole_counts_as_a_whole(code):
    every = {name for name in HOUSE if name.startswith("wlib.mge")}
    assert every <= set(reach.reached(code, HOUSE))


def test_a_package_that_does_more_than_to_hand_on_counts_with_all_in_it():
    code = "from wlib.mge.cosine import dct"
    for more in ("import torch\ntorch.set_num_threads(1)\n", "import torch\ntorch.x = 1\n",
                 "if True:\n    pass\n", "@register\ndef f():\n    pass\n", "X = f()\n",
                 "def f(x=set_up()):\n    pass\n"):
        sources = change(mge=HOUSE["wlib.mge"] + more)
        assert "wlib.mge" in reach.reached(code, sources)
        assert reach.code_fingerprint(code, sources=sources) != of(code)
    assert of(code) == of(code, mge=HOUSE["wlib.mge"] + "from .evolution import evolve\n")


def test_a_front_that_imports_at_first_use_leads_as_one_that_imports_at_once():
    given = HOUSE["wlib.mge"].splitlines()[1:]
    front = "\n".join(["from typing import TYPE_CHECKING", "if TYPE_CHECKING:",
                       *(f"    {line}" for line in given), "else:",
                       "    def __getattr__(name):\n        return first_use(__name__, name)"])
    code = "from wlib import mge\nmge.dct()"
    assert of(code, mge=front) == of(code) and of(mge=front) == of()
    assert "wlib.mge.generator" not in reach.reached(code, change(mge=front))
    assert of(code, mge=front + "\n    register()") != of(code)


def test_a_name_that_is_not_only_imported_stays_where_it_is():
    code = "from wlib import mge\nmge.dct()"
    for more in ("def dct():\n    pass\n", "dct = 1\n", "from .generator import redraw as dct\n",
                 "def patch():\n    global dct\n"):
        assert "wlib.mge" in reach.reached(code, change(mge=HOUSE["wlib.mge"] + more))
    conditional = "try:\n    from .cosine import dct\nexcept ImportError:\n    pass\n"
    assert reach.reached(code, change(mge=conditional))[1:3] == ["wlib.mge", "wlib.mge.cosine"]


def test_unknown_modules_are_refused():
    with pytest.raises(ValueError, match="module: got 'wlib.chek'.*did you mean 'wlib.check'"):
        reach.module_fingerprint("wlib.chek")
    with pytest.raises(ValueError, match="module: got 'wlib.mge.cosin'"):
        reach.reached("wlib.mge.cosin", HOUSE)


# ---------------------------------------------------------------- what changes a hash
@pytest.mark.parametrize("module", ["seeds", "mge.cosine", "mge.generator", "free", "check",
                                    "circle.one", "circle.two"])
def test_what_is_reached_counts(module):
    text = HOUSE[f"wlib.{module}"]
    key = module.replace(".", "__")
    assert of(**{key: text + "x = 1\n"}) != of()
    assert of(**{key: f"'''Other prose.'''\n{text}# a comment\n"}) == of()


@pytest.mark.parametrize("module", ["plot", "plot.lines", "plot.more", "book", "mge.evolution",
                                    "store.kept", "mge"])
def test_what_draws_runs_the_book_or_is_not_reached_does_not(module):
    text = HOUSE.get(f"wlib.{module}", "")
    assert of(**{module.replace(".", "__"): text + "def one():\n    return 1\n"}) == of()
    assert set(reach.UNCOUNTED) == {"wlib.book", "wlib.plot"}
    assert reach.counts("wlib.plotting") and reach.counts("wlib.bookmarks")


@pytest.mark.parametrize("one, other", [
    ("from wlib.a import f", "from wlib.b import f"),
    ("from wlib import a as x, b as y", "from wlib import b as x, a as y"),
    ("from wlib.a import f as h", "from wlib.a import g as h"),
    ("from wlib.a import f\nfrom wlib.b import f", "from wlib.b import f\nfrom wlib.a import f"),
    ("import wlib.a\nwlib.a.f()", "import wlib.b\nwlib.b.f()"),
    ("import wlib\nwlib.a.f(wlib.b.f())", "import wlib\nwlib.b.f(wlib.a.f())"),
    ("load('wlib.a')", "load('wlib.b')"),
    ("load('wlib.a')", "load('wlib.')"),
    ("from wlib import both\nboth.f()", "from wlib import both\nboth.g()"),
    ("from wlib.both import f", "from wlib.both import g as f"),
    ("from wlib import both", "from wlib import swapped as both"),
    ("def p():\n    from wlib import a as m\n    m.f()\ndef q():\n    from wlib import b as m\n"
     "    m.f()", "def p():\n    from wlib import b as m\n    m.f()\ndef q():\n"
     "    from wlib import a as m\n    m.f()"),
    ("from wlib.first import f", "from wlib.last import f"),
])
def test_other_wiring_is_other_code(one, other):
    sources = {"wlib": "", "wlib.a": "def f():\n    pass\ndef g():\n    pass\n",
               "wlib.b": "def f():\n    return 1\n", "wlib.both": "from .a import f\n"
               "from .b import f as g\n", "wlib.swapped": "from .b import f\nfrom .a import f as g",
               # alike but for whom they import in a circle
               "wlib.first": "def f():\n    from wlib import first as x, a as y\n",
               "wlib.last": "def f():\n    from wlib import last as y, a as x\n"}
    assert len({reach.code_fingerprint(code, sources=sources) for code in (one, other)}) == 2


@pytest.mark.parametrize("one, other", [
    ("from wlib import mge, seeds", "from wlib import seeds\nfrom wlib import mge"),
    ("import torch\nimport wlib.seeds\nimport wlib.check\nwlib.seeds.f(wlib.check.g)",
     "import wlib.check, torch, wlib.seeds\nwlib.seeds.f(wlib.check.g)"),
    ("from wlib.mge import dct", "from wlib.mge.cosine import dct"),
    ("from wlib import check as c", "import wlib.check as c"),
    ("if x:\n    from wlib import check\n    import os",
     "if x:\n    import os, wlib.check as check"),
])
def test_how_imports_are_written_changes_nothing(one, other):
    assert of(one) == of(other)


def test_relative_imports_are_those_of_the_package():
    text = HOUSE["wlib.mge.generator"].replace("from . ", "from wlib.mge ").replace("..", "wlib.")
    assert text.count("wlib") == 2 and of(mge__generator=text) == of()
    init = HOUSE["wlib.mge"].replace("from .", "from wlib.mge.")
    assert of("import wlib.mge", mge=init) == of("import wlib.mge")


# ---------------------------------------------------------------- where modules lie
def rename(sources, places, cells=()):
    """The sources and cells with modules elsewhere, and all that names these modified."""
    def new(name):
        return places.get(name, name)

    class Renamed(ast.NodeTransformer):
        def __init__(self, package):
            self.package = package

        def visit_Import(self, node):
            return [ast.Import([ast.alias(new(alias.name), alias.asname)]) for alias in node.names]

        def visit_ImportFrom(self, node):
            above = self.package.split(".")[:1 - node.level or None] if node.level else []
            base = ".".join([*above, node.module] if node.module else above)
            for alias in node.names:
                place, _, name = new(whole := f"{base}.{alias.name}").rpartition(".")
                if whole in sources:
                    yield ast.ImportFrom(place, [ast.alias(name, alias.asname or alias.name)], 0)
                else:
                    yield ast.ImportFrom(new(base), [alias], 0)

        def visit_Attribute(self, node):
            name = ast.unparse(node)
            if name.startswith("wlib.") and name in sources:
                return ast.parse(new(name), mode="eval").body
            return self.generic_visit(node)

        def visit_Constant(self, node):
            return ast.Constant(new(node.value)) if node.value in places else node

    packages = {name.rpartition(".")[0] for name in sources} | {"wlib"}
    moved = {new(name): ast.unparse(Renamed(name if name in packages else name.rpartition(".")[0])
                                    .visit(ast.parse(text))) for name, text in sources.items()}
    rooms = {name.rpartition(".")[0]: "" for name in places.values()}
    return rooms | moved, [ast.unparse(Renamed("").visit(reach.parse(cell))) for cell in cells]


def fingerprints(sources):
    tree = reach.Tree(sources)
    return {name: tree.fingerprint(f"{name}:__name__") for name in sources}


@pytest.mark.parametrize("name", [
    "seeds", "check", "free", "store.kept", "mge.cosine", "mge.generator", "circle.two"])
def test_a_module_may_move(name):
    before = fingerprints(HOUSE)
    for place in ("wlib.aa.zz", "wlib.zz.aa.other", f"wlib.new_{name.rpartition('.')[2]}"):
        sources, cells = rename(HOUSE, {f"wlib.{name}": place}, CODE)
        assert place in sources and f"wlib.{name}" not in sources
        after = fingerprints(sources)
        assert after[place] == before[f"wlib.{name}"]
        assert {module: after[module] for module in set(before) & set(after)} == {
            module: told for module, told in before.items() if module != f"wlib.{name}"}
        assert reach.code_fingerprint(*cells, sources=sources) == of()


def test_a_module_may_become_a_package_and_leave_plot_for_a_number():
    flat = HOUSE["wlib.mge.cosine"]
    package = change(mge__cosine="from ._fast import dct\n", mge__cosine___fast=flat)
    assert reach.code_fingerprint(*CODE, sources=package) == of()
    drawn = rename(HOUSE, {"wlib.mge.cosine": "wlib.plot.cosine"}, CODE)
    assert reach.code_fingerprint(*drawn[1], sources=drawn[0]) != of()


REAL = reach.read_sources()
TOPS = sorted({".".join(name.split(".")[:2]) for name in REAL if reach.counts(name)}
              - {"wlib", "wlib.__main__"})


@pytest.fixture(scope="module")
def notebooks():
    found = {}
    for path in sorted((reach.PACKAGE.parent / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found[path.stem] = ["".join(cell["source"]) for cell in cells
                            if cell["cell_type"] == "code"]
    assert found
    return found


def test_moving_all_of_the_library_makes_no_notebook_and_no_module_stale(notebooks):
    """Each module or package of the top gets another name, in one of four rooms."""
    rooms = dict(zip(TOPS, itertools.cycle(["rest", "attic", "cellar.low", "a"]), strict=False))
    moves = {name: name.replace("wlib.", f"wlib.{room}.new_", 1) for top, room in rooms.items()
             for name in REAL if f"{name}.".startswith(f"{top}.")}
    sources, cells = rename(REAL, moves, itertools.chain(*notebooks.values()))
    assert len(moves) > 40 and not set(moves) & set(sources)
    before, after, rest = fingerprints(REAL), fingerprints(sources), iter(cells)
    for name, told in before.items():
        assert after[moves.get(name, name)] == told, name
    for name, own in notebooks.items():
        assert reach.code_fingerprint(*own, sources=REAL) == reach.code_fingerprint(
            *itertools.islice(rest, len(own)), sources=sources), name


def test_a_function_and_what_is_kept_of_it_stay_where_its_module_moves(monkeypatch, tmp_path):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    before, value = fingerprint.function_fingerprint(seeds.base), store.cached(seeds.base, 7)
    sources, _ = rename(REAL, {"wlib.seeds": "wlib.room.seeds"})
    module = types.ModuleType("wlib.room.seeds")
    exec(sources["wlib.room.seeds"], vars(module))
    monkeypatch.setitem(sys.modules, "wlib.room.seeds", module)
    monkeypatch.setattr(reach, "LOADED", reach.Tree(sources))
    assert module.base.__module__ == "wlib.room.seeds" and fingerprint.is_current(before, "base")
    assert fingerprint.function_fingerprint(module.base) == before
    assert store.cached(module.base, 7) == value and len([*tmp_path.rglob("*.safetensors")]) == 1
    sources["wlib.room.seeds"] += "x = 1\n"
    monkeypatch.setattr(reach, "LOADED", reach.Tree(sources))
    assert not fingerprint.is_current(before, "base")
    assert fingerprint.function_fingerprint(module.base) != before


def test_the_library_is_read_as_a_tree(tmp_path):
    for name in ("__init__", "alone", "room/__init__", "room/low/deep",
                 ".ipynb_checkpoints/alone-checkpoint"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / f"{name}.py").write_text(name)
    assert reach.read_sources(tmp_path) == {
        "wlib": "__init__", "wlib.alone": "alone", "wlib.room": "room/__init__",
        "wlib.room.low.deep": "room/low/deep"}
    assert (reach.PACKAGE / "__init__.py").is_file() and REAL.keys() >= {"wlib", "wlib.seeds"}


def test_this_process_is_judged_by_the_code_it_loaded():
    assert reach.module_fingerprint("wlib.seeds") == reach.module_fingerprint(
        "wlib.seeds", sources=REAL) != reach.module_fingerprint("wlib.check")


# ---------------------------------------------------------------- notebooks
def test_prose_outputs_and_unreached_modules_leave_a_notebook_alone(tmp_path):
    path, given = tmp_path / "n.ipynb", {"seed": 1, "sizes": [1, 2]}
    before = staleness.notebook_fingerprint(notebook(path, *CODE), given, HOUSE)
    prose = {"cell_type": "markdown", "source": "new", "metadata": {}}
    hidden = {"cell_type": "code", "metadata": {"tags": ["x"]}, "outputs": [{"text": "7"}],
              "source": ["# why\n", CODE[0]]}
    same = notebook(path, prose, hidden, *CODE[1:])
    assert before == staleness.notebook_fingerprint(same, given, HOUSE)
    assert before == staleness.notebook_fingerprint(same, given, change(book="x = 1"))


@pytest.mark.parametrize("given, sources, code", [
    ({"seed": 2}, {}, "seed"), ({"seed": 1.0}, {}, "seed"), ({"seed": 1}, {}, "seed + 1"),
    ({"seed": 1}, {"seeds": "BASE = 8"}, "seed"),
])
def test_code_parameters_and_reached_modules_change_a_notebook(tmp_path, given, sources, code):
    def told(code, given, sources):
        path = notebook(tmp_path / "n.ipynb", *CODE, code)
        return staleness.notebook_fingerprint(path, {"sizes": [1]} | given, sources)

    assert told("seed", {"seed": 1}, HOUSE) != told(code, given, change(**sources))


def test_versions_change_a_notebook(tmp_path, monkeypatch):
    path = notebook(tmp_path / "n.ipynb", "1")
    before = staleness.notebook_fingerprint(path, {}, HOUSE)
    monkeypatch.setattr(versions, "_versions", lambda: (("torch", "0.0"),))
    assert before != staleness.notebook_fingerprint(path, {}, HOUSE)


def test_versions_name_what_can_change_a_number():
    assert {"python", "numpy", "torch", "matplotlib"} <= set(versions.current())


def test_a_script_counts_with_what_it_reaches(tmp_path, monkeypatch):
    path = tmp_path / "script.py"
    path.write_text("'''Prose.'''\nfrom wlib import seeds\nseeds.base(1)\n")
    before = staleness.script_fingerprint(path)
    path.write_text(path.read_text().replace("Prose", "Words"))
    assert staleness.script_fingerprint(path) == before
    changed = REAL | {"wlib.seeds": REAL["wlib.seeds"] + "x = 1\n"}
    monkeypatch.setattr(reach, "LOADED", reach.Tree(changed))
    assert staleness.script_fingerprint(path) != before
