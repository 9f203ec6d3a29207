"""Parameters are read without running the notebook, and refused by name before it runs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wlib.book import parameters

KNOWN = {"seed": 0, "rate": 0.5, "data": "mnist5k", "fast": False, "seeds": [0, 1, 2],
         "energies": [0.9, 1], "names": ["a"], "limit": None, "empty": []}


def notebook(path, *sources, tags=("parameters",)):
    cells = [{"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}}
             for source in sources]
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_defaults_are_read_from_the_tagged_cell(tmp_path):
    source = "seed = 0  # a seed\nrates: list = [0.1, -2.0]\nname = None\n"
    path = notebook(tmp_path / "n.ipynb", source)
    assert parameters.defaults(path) == {"seed": 0, "rates": [0.1, -2.0], "name": None}


@pytest.mark.parametrize("sources, message", [
    ([], r"n.ipynb: cells tagged 'parameters': got \[\], want exactly one, of code"),
    (["a = 1", "b = 1"], r"got \['code', 'code'\], want exactly one"),
    (["a = 1 +"], "not Python"), (["a = f()"], r"got 'a = f\(\)', want a literal"),
    (["import os"], "only lines such as"), (["a = b = 1"], "only lines such as"),
    (["a: int"], "only lines such as"), (["a = 1\na += 1"], "only lines such as"),
    (["a = 1\na = 2"], "each name once"),
])
def test_a_wrong_parameters_cell_is_refused(tmp_path, sources, message):
    with pytest.raises(ValueError, match=message):
        parameters.defaults(notebook(tmp_path / "n.ipynb", *sources))


@pytest.mark.parametrize("extra, message", [
    ({"cell_type": "markdown", "metadata": {"tags": ["parameters"]}}, "'code', 'markdown'"),
    ({"metadata": {"tags": ["injected-parameters"]}}, "'injected-parameters': got 1, want none"),
    ({"source": "if True:\n    a, b = 2, 3"}, "parameter a: got 'if True.*only read it"),
    ({"source": "a += 1"}, "parameter a: got 'a .= 1"),
    ({"source": "a: int = 1"}, "parameter a"),
])
def test_what_would_let_other_values_count_is_refused(tmp_path, extra, message):
    path = notebook(tmp_path / "n.ipynb", "a = 1")
    cells = json.loads(path.read_text())["cells"]
    fine = {"cell_type": "code", "source": "for a in b:\n    f(a)\ndef g(a):\n    a = 2",
            "metadata": {}}
    path.write_text(json.dumps({"cells": [*cells, fine]}))
    assert parameters.defaults(path) == {"a": 1}
    path.write_text(json.dumps({"cells": [*cells, fine | extra]}))
    with pytest.raises(ValueError, match=message):
        parameters.defaults(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"cells": [{}]}'])
def test_what_is_no_notebook_is_refused(tmp_path, text):
    path = tmp_path / "n.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match="n.ipynb: not a notebook"):
        parameters.defaults(path)
    with pytest.raises(ValueError, match="missing.ipynb: cannot be read"):
        parameters.defaults(tmp_path / "missing.ipynb")


@pytest.mark.parametrize("name, value", [
    ("seed", 3), ("rate", 1.5), ("data", "digits"), ("fast", True), ("seeds", []),
    ("seeds", [4]), ("energies", [0.5]), ("limit", 3), ("limit", "x"), ("limit", None),
    ("empty", ["a", 1]),
])
def test_fitting_values_pass_unchanged(name, value):
    assert parameters.check({name: value}, KNOWN, "here") == {name: value}


def test_a_whole_number_becomes_a_fraction_where_one_is_wanted():
    checked = parameters.check({"rate": 1, "energies": [1, 2]}, KNOWN, "here")
    assert repr(checked) == "{'rate': 1.0, 'energies': [1.0, 2.0]}"


@pytest.mark.parametrize("name, value, message", [
    ("seed", 1.5, "here: seed: got 1.5, want a whole number, like 0"),
    ("seed", True, "here: seed: got True"), ("seed", "1", "here: seed: got '1'"),
    ("seed", None, "here: seed: got None"), ("rate", "fast", "want a number, like 0.5"),
    ("rate", float("nan"), "here: rate: got nan, want a finite number"),
    ("rate", True, "here: rate"), ("data", 3, "want a text"), ("fast", 1, "want true or false"),
    ("seeds", 3, "want a list like"), ("seeds", "0,1", "want a list like"),
    ("seeds", [0, 1.5], r"here: seeds\[1\]: got 1.5"), ("names", [1], r"here: names\[0\]: got 1"),
    ("energies", ["high"], r"here: energies\[0\]: got 'high'"),
    ("sede", 1, "here: parameter: got 'sede'.*did you mean 'seed'"),
])
def test_wrong_values_are_refused_by_name(name, value, message):
    with pytest.raises(ValueError, match=message):
        parameters.check({name: value}, KNOWN, "here")


@pytest.mark.parametrize("name, text, value", [
    ("seed", "3", 3), ("seed", "-3", -3), ("rate", "1", 1.0), ("rate", "1e-3", 0.001),
    ("data", "3", "3"), ("data", "", ""), ("fast", "true", True), ("fast", "False", False),
    ("seeds", "3", [3]), ("seeds", "3, 4", [3, 4]), ("seeds", "[3, 4]", [3, 4]), ("seeds", "", []),
    ("energies", "0.5,1", [0.5, 1.0]), ("names", "a,b", ["a", "b"]), ("names", "[a]", ["a"]),
    ("limit", "3", 3), ("limit", "null", None), ("limit", "x", "x"), ("empty", "[1, a]", [1, "a"]),
])
def test_texts_are_read_by_the_defaults_type(name, text, value):
    parsed = parameters.parse(text, KNOWN[name], "here")
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize("name, text", [
    ("seed", "1.5"), ("seed", "abc"), ("seed", ""), ("seed", "1_000"), ("seed", "٣"),
    ("rate", "fast"), ("rate", "nan"), ("rate", "inf"), ("fast", "1"), ("fast", "yes"),
    ("seeds", "a"), ("seeds", "1,"), ("seeds", "[1"), ("seeds", "[a]"), ("limit", "[1"),
    ("limit", "2020-01-01"), ("empty", "[.nan]"),
])
def test_wrong_texts_are_refused(name, text):
    with pytest.raises(ValueError, match="^here"):
        parameters.parse(text, KNOWN[name], "here")


@given(st.sampled_from(sorted(KNOWN)), st.text(max_size=8))
def test_any_text_is_a_fitting_value_or_a_clear_refusal(name, text):
    try:
        value = parameters.parse(text, KNOWN[name], "here")
    except ValueError as error:
        assert str(error).startswith("here")
    else:
        assert parameters.conform(value, KNOWN[name], "here") == value


@given(st.text(max_size=8).filter(lambda name: name not in KNOWN))
def test_any_other_name_is_refused(name):
    with pytest.raises(ValueError, match="want one of data, empty"):
        parameters.check({name: 1}, KNOWN, "here")
