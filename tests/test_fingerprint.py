"""What changes the fingerprint of a function or class and what must not: both directions."""

import collections
import dataclasses
import enum
import functools
import itertools
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wlib import plot, seeds
from wlib.ground import fingerprint as fp
from wlib.ground import reach

RATE = 0.5
TABLE = {"a": [1, (2, None)], "b": {3}}
ARRAY = np.zeros(3)


def helper(x):
    return x * RATE


def toy(x, power=2):
    """Prose."""
    return helper(x) ** power + len(TABLE)


def uses_array(x):
    return x + ARRAY


class Thing:
    def value(self):
        return helper(1)


def makes_thing():
    return Thing().value() + np.pi


def remake(source, **scope):
    """A function of a notebook: its source is kept where IPython keeps that of cells."""
    import linecache
    name = f"<cell {len(linecache.cache)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope = {"__name__": "__main__"} | scope
    exec(compile(source, name, "exec"), scope)
    return scope["f"]


def test_a_function_counts_with_what_it_names(monkeypatch):
    before = fp.function_fingerprint(toy)
    assert before == fp.function_fingerprint(toy)
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "RATE", 0.25)  # named by helper, which toy names
        assert before != fp.function_fingerprint(toy)
    with monkeypatch.context() as patch:
        patch.setitem(TABLE, "c", 1)
        assert before != fp.function_fingerprint(toy)
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "ARRAY", None)  # named by neither
        assert before == fp.function_fingerprint(toy)
    assert fp.function_fingerprint(makes_thing) == fp.function_fingerprint(makes_thing)


def test_a_notebook_function_is_read_from_its_cell():
    one = remake("def f(x):\n    '''Prose.'''\n    return x + k  # why", k=1)
    same = remake("def f(x):\n    return x + k", k=1)
    assert fp.function_fingerprint(one) == fp.function_fingerprint(same)
    for other in (remake("def f(x):\n    return x + k", k=2),
                  remake("def f(x):\n    return x - k", k=1),
                  remake("def f(x, y=1):\n    return x + k", k=1)):
        assert fp.function_fingerprint(one) != fp.function_fingerprint(other)


def test_a_default_counts_by_value():
    source = "def f(x, rate=rate):\n    return x"
    one, other = remake(source, rate=1), remake(source, rate=2)
    assert fp.function_fingerprint(one) != fp.function_fingerprint(other)


def test_cached_functions_and_ufuncs_may_be_named():
    import functools

    def cached(n):
        scope = {"g": functools.cache(remake(f"def f(x):\n    return x + {n}")), "exp": np.exp}
        return fp.function_fingerprint(remake("def f(x):\n    return exp(g(x))", **scope))

    assert cached(1) == cached(1) != cached(2)


def test_recursion_ends():
    f = remake("def f(x):\n    return f(x - 1) if x else 0")
    assert fp.function_fingerprint(f) == fp.function_fingerprint(f)


def test_what_cannot_be_hashed_must_be_an_argument():
    with pytest.raises(ValueError, match="ARRAY: got ndarray.*pass it as an argument"):
        fp.function_fingerprint(uses_array)
    with pytest.raises(ValueError, match="function: got 3"):
        fp.function_fingerprint(3)
    unreadable = {"__name__": "__main__"}
    exec("def f(x):\n    return x\nclass C:\n    def m(self):\n        pass", unreadable)
    for nameless in (unreadable["f"], unreadable["C"]):
        with pytest.raises(ValueError, match="source cannot be read"):
            fp.function_fingerprint(nameless)
    with pytest.raises(ValueError, match="from outside the function"):
        fp.function_fingerprint(Gain(np.ones(1)).times)      # what it belongs to is an array


def multiplied(k):
    return lambda x: k * x


def doubled(function):
    @functools.wraps(function)
    def twice(*arguments):
        return 2 * function(*arguments)
    return twice


def tripled(function):
    @functools.wraps(function)
    def thrice(*arguments):
        return 3 * function(*arguments)
    return thrice


@doubled
def plain(x):
    return x


class Gain(tuple):
    def __new__(cls, gain):
        return super().__new__(cls, [gain])

    def times(self, x):
        return self[0] * x

    @classmethod
    def of_class(cls):
        return cls


class Halves(Gain):
    scale = 0.5


def inner(gain):
    class Local:
        number = gain

        def call(self):
            return self.number
    return Local


def other_inner():
    class Local:
        number = 1

        def call(self):
            return -self.number
    return Local


Point = collections.namedtuple("Point", "x y")
Pair = collections.namedtuple("Pair", "x y", defaults=(1, 2))


@dataclasses.dataclass
class Shape:
    sides: int = 3


@dataclasses.dataclass
class Form:
    sides: list = dataclasses.field(default_factory=list)


class Color(enum.Enum):
    RED = 1


DIFFERENT = [
    multiplied(1), multiplied(2), lambda x: x, lambda x: x + 1, lambda x, y=1: x,
    lambda x: x in {"a", "b"}, lambda x: x in {"a", "c"}, lambda x: helper(x), lambda x: toy(x),
    plain, plain.__wrapped__, doubled(helper), tripled(helper), helper, doubled(np.mean), np.mean,
    functools.partial(helper, 1), functools.partial(helper, x=1),
    Gain(1).times, Gain(2).times, Gain.times, Gain.of_class, Halves.of_class, Halves, Gain,
    inner(1), inner(2), other_inner(), Point, Pair, Shape, Form, Color,
    # Functions of packages that share one name, and C functions of every kind.
    F.max_pool2d, F.adaptive_max_pool2d, F.relu, torch.relu, torch.tanh, torch.Tensor.relu, len,
    str.upper, str.lower, np, torch]


def test_functions_that_differ_have_different_fingerprints():
    found = [fp.function_fingerprint(value) for value in DIFFERENT]
    assert len(set(found)) == len(found)
    assert [fp.function_fingerprint(value) for value in DIFFERENT] == found
    assert fp.function_fingerprint(multiplied(1)) == fp.function_fingerprint(multiplied(1))
    assert fp.function_fingerprint(inner(1)) == fp.function_fingerprint(inner(1))


def test_a_value_set_on_a_class_later_counts(monkeypatch):
    before = fp.function_fingerprint(Halves)
    monkeypatch.setattr(Halves, "scale", 0.25)
    assert fp.function_fingerprint(Halves) != before


def test_fingerprints_are_the_same_in_every_process():
    code = ("import sys; sys.path.insert(0, 'tests'); import test_fingerprint as t;"
            "print(*[t.fp.function_fingerprint(f) for f in t.DIFFERENT])")
    found = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                            text=True, cwd=Path(__file__).parents[1],
                            env=os.environ | {"PYTHONHASHSEED": seed}).stdout for seed in "12"]
    assert found[0] == found[1] and len(found[0].split()) == len(DIFFERENT)


def test_functions_whose_code_would_not_count_are_refused():
    with pytest.raises(ValueError, match="function: got .*lines.*want one of a module whose"):
        fp.function_fingerprint(plot.lines)


def test_functions_of_wlib_and_of_packages():
    assert fp.function_fingerprint(seeds.generator) != fp.function_fingerprint(seeds.base)
    assert fp.function_fingerprint(np.mean) == fp.function_fingerprint(np.mean)


@pytest.mark.parametrize("scope", [{}, {"__name__": "no.such.module"}, {"__name__": "itertools"}])
def test_code_that_exec_made_is_no_module_s_own(scope):
    """It has no source, so two that compute differently must not be taken for one by their name."""
    made = []
    for number in (1, 2):
        own = dict(scope)
        exec(f"class A:\n    def f(self): return {number}\ndef f(): return {number}", own)
        made.append(own)
    for name in ("A", "f"):
        a, b = (own[name] for own in made)
        assert fp.is_own(a)
        told = []
        for code in (a, b):
            try:
                told.append(fp.function_fingerprint(code))
            except ValueError as problem:
                assert "source" in str(problem)
        assert not told or told[0] != told[1]


def test_what_python_and_packages_bring_is_theirs():
    for code in (int, itertools.chain, len, F.gelu, torch.relu, torch.Tensor, functools.partial,
                 json.dumps, dict.get):
        assert not fp.is_own(code), code


def test_packages_that_pip_put_elsewhere_are_packages(tmp_path):
    """--user and --target: their classes count by name and version, a reader's own by source."""
    (tmp_path / "theirs.py").write_text("__version__ = '7'\nclass A:\n    pass\n")
    code = "import theirs\nfrom wlib.ground import fingerprint as fp\nprint(fp.is_own(theirs.A))"
    for own in ("True", "False"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join(
                                  [str(tmp_path), str(Path(fp.__file__).parents[2])])})
        assert done.stdout.strip() == own, done.stderr
        (tmp_path / "theirs-7.dist-info").mkdir(exist_ok=True)


OUTER = PACK = None     # set by the test to modules of the reader's own


@pytest.fixture
def own_modules(tmp_path, monkeypatch):
    """A reader's own modules: one that imports another, and a package."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in {"outer_one": "from inner_one import h\ndef g(x):\n    return h(x)\n",
                       "inner_one": "def h(x):\n    return x + 1\n",
                       "pack_one/__init__": "", "pack_one/low/__init__": "",
                       "pack_one/part": "from .low import deep\ndef s(x):\n    return x + 1\n",
                       "pack_one/low/deep": "from ..other import z\n",
                       "pack_one/other": "z = 1\n",
                       "space_one/a": "from space_one import b\ndef s(x):\n    return b.z + x\n",
                       "space_one/b": "z = 1\n"}.items():     # a folder without __init__
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / f"{name}.py").write_text(text)
    yield tmp_path
    own = ("outer_one", "inner_one", "pack_one", "space_one")
    for name in [name for name in sys.modules if name.startswith(own)]:
        del sys.modules[name]


def imports_late(x):
    import outer_one

    return outer_one.g(x)


def imports_a_name(x):
    from pack_one.part import s

    return s(x)


def imports_from_a_folder(x):
    from space_one import a

    return a.s(x)


def names_a_module(x):
    return OUTER.g(x)


def names_a_package(x):
    return PACK.part.s(x)


@pytest.mark.parametrize("function, file", [
    (imports_late, "inner_one"), (names_a_module, "inner_one"), (imports_a_name, "pack_one/other"),
    (imports_from_a_folder, "space_one/b"), (names_a_package, "pack_one/part"),
    (names_a_package, "pack_one/low/deep")])
def test_all_that_own_modules_import_counts(function, file, own_modules, monkeypatch):
    before = fp.function_fingerprint(imports_late) if function is imports_late else None
    import outer_one
    import pack_one.part

    monkeypatch.setitem(globals(), "OUTER", outer_one)
    monkeypatch.setitem(globals(), "PACK", pack_one)
    first = fp.function_fingerprint(function)
    assert before in (None, first), "loaded or not is no difference"
    path = own_modules / f"{file}.py"
    path.write_text("# a comment\n" + path.read_text())
    assert fp.function_fingerprint(function) == first
    path.write_text(path.read_text() + "y = 2\n")
    assert fp.function_fingerprint(function) != first


def test_own_modules_count_with_the_library_that_they_use(own_modules, monkeypatch):
    (own_modules / "inner_one.py").write_text("from wlib import mge\nh = mge.generate\n")
    first = fp.function_fingerprint(imports_late)
    sources = reach.LOADED.sources
    changed = sources | {"wlib.mge.generator": sources["wlib.mge.generator"] + "\ny = 2\n"}
    monkeypatch.setattr(reach, "LOADED", reach.Tree(changed))
    assert fp.function_fingerprint(imports_late) != first


# ---------------------------------------------------------------- the library's packages
def of_toy_library(monkeypatch, source, room="", **changed):
    """The fingerprint of a function beside a library of a package and what draws; `room` is where
    one module of the package lies."""
    where = {"low": f"wlib.pack{room}.low", "high": "wlib.pack.high", "plot": "wlib.plot"}
    modules = {"low": "def f():\n    return 1\n", "high": "def g():\n    return 2\n", "plot": ""}
    monkeypatch.setattr(reach, "LOADED", reach.Tree({
        "wlib": "", "wlib.pack": f"from {where['low']} import f\nfrom .high import g\n",
        **{where[name]: text for name, text in (modules | changed).items()}}))
    return fp.function_fingerprint(remake(
        source.replace("pack.low", f"pack{room}.low"), pack=types.ModuleType("wlib.pack"),
        plot=types.ModuleType("wlib.plot")))


@pytest.mark.parametrize("source", [
    "def f(x):\n    return pack.f(x)", "def f(x):\n    from wlib.pack import f\n    return f(x)",
    "def f(x):\n    import wlib.pack.low\n    return plot, wlib.pack.low.f(x)",
    "class C:\n    def m(self):\n        from wlib import pack\n        return pack.f(1)\nf = C",
])
def test_own_functions_count_with_what_they_name_of_a_package(source, monkeypatch):
    told = functools.partial(of_toy_library, monkeypatch, source)
    assert told() == told(high="x = 1\n") == told(".room") == told(plot="x = 1\n")
    assert told() != told(low="x = 1\n")


def test_own_functions_that_pass_a_package_on_count_with_all_of_it(monkeypatch):
    told = functools.partial(of_toy_library, monkeypatch, "def f(x):\n    return [plot, pack]")
    assert len({told(), told(high="x = 1\n"), told(low="x = 1\n")}) == 3
    assert told() == told(plot="x = 1\n")


def test_what_is_set_on_a_function_counts():
    def scaled(x):
        return x * scaled.by

    scaled.by = 1
    first = fp.function_fingerprint(scaled)
    scaled.by = 2
    assert fp.function_fingerprint(scaled) != first


@pytest.mark.parametrize("name", ["sitecustomize", "usercustomize"])
def test_files_that_python_runs_first_count(name, tmp_path):
    code = ("import sys; from wlib.ground import versions;"
            f"import {name}; print(versions.current().get('{name}'))")
    told = []
    for text in ("x = 1", "x = 1  # a comment", "x = 2"):
        (tmp_path / f"{name}.py").write_text(text)
        told.append(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                   check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(
                                       [str(tmp_path), *sys.path])}).stdout)
    assert told[0] == told[1] != told[2] and "None" not in told[0]
