"""The store: made once, read after, and never half."""

import functools
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from small import Own, few, images
from torch import nn

from wlib.core import nets, train
from wlib.core.pool import Pool
from wlib.ground import fingerprint, versions
from wlib.store import cache as store

CALLS = []


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    CALLS.clear()
    return tmp_path


def square(x, power=2):
    return record(x, x ** power)


def give(value):
    return record("give", value)


def record(what, result):
    sys.modules[__name__].CALLS.append(what)   # named, its length would be in the key
    return result


def entries(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_the_folder_is_the_environments_or_the_users(monkeypatch, tmp_path):
    assert store.root() == tmp_path
    monkeypatch.delenv("WLIB_STORE")
    assert store.root().name == "weights-as-data"


def count(upto, *, state, steps):
    begin = 0 if state is None else state["done"]
    record((begin, steps), None)
    return {"done": steps, "sum": (0 if begin == 0 else state["sum"]) + upto * (steps - begin)}


def test_a_long_run_goes_on_from_its_pieces(empty):
    assert store.resume(count, 2, steps=7, every=3) == {"done": 7, "sum": 14}
    assert CALLS == [(0, 3), (3, 6), (6, 7)]
    assert store.resume(count, 2, steps=9, every=3)["sum"] == 18
    assert CALLS[3:] == [(6, 9)], "the pieces of the shorter run are read"
    assert store.resume(count, 2, steps=0, every=3)["sum"] == 0
    for wrong in ({"steps": -1, "every": 3}, {"steps": 3, "every": 0}, {"steps": 3, "every": 1.5}):
        with pytest.raises(ValueError, match="whole number"):
            store.resume(count, 2, **wrong)


def test_made_once_then_read(empty):
    assert store.cached(square, 3) == store.cached(square, x=3) == store.cached(square, 3, 2) == 9
    assert CALLS == [3], "a default spelled out is the same call"
    assert store.cached(square, 3, power=3) == 27 and store.cached(square, 3.0) == 9
    assert CALLS == [3, 3, 3.0] and len(entries(empty)) == 3
    leftovers = {p.suffix for p in empty.rglob("*") if p.is_file()} - {".safetensors", ".lock"}
    assert not leftovers


def test_changed_code_or_versions_are_made_again(monkeypatch):
    store.cached(square, 3)
    monkeypatch.setattr(fingerprint, "function_fingerprint", lambda function: "other code")
    store.cached(square, 3)
    monkeypatch.setattr(versions, "current", lambda: {"torch": "99"})
    store.cached(square, 3)
    store.cached(square, 3)
    assert CALLS == [3, 3, 3]


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "foreign", "other key", "no header"])
def test_a_damaged_entry_is_made_again(damage, empty):
    value = {"w": torch.arange(50.0), "words": "some text"}
    store.cached(give, value)
    path, = entries(empty)
    whole = path.read_bytes()
    if damage == "other key":
        store.cached(give, 1)
        other, = set(entries(empty)) - {path}
        path.write_bytes(other.read_bytes())
    elif damage == "no header":
        from safetensors.torch import save_file
        save_file({"t0": torch.arange(50.0)}, path)
    else:
        flipped = whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:]
        path.write_bytes({"empty": b"", "cut": whole[:-9], "bit": flipped,
                          "foreign": b"PK\3\4" * 40}[damage])
    CALLS.clear()
    back = store.cached(give, value)
    assert CALLS == ["give"] and torch.equal(back["w"], value["w"])
    store.cached(give, value)
    assert CALLS == ["give"], "the new entry is whole"


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.text(max_size=5)
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=4).filter(lambda k: not k.startswith("$")), inner,
                      max_size=3), max_leaves=8)


def round_trip(value):
    tensors = {}
    tree = store._encode(value, tensors)
    return store._decode(tree, tensors)


@few
@given(plain)
def test_plain_values_come_back_as_they_went(value):
    back = round_trip(value)
    assert back == value and repr(back) == repr(value)


def test_values_round_trip_through_the_file():
    expected = make_all()
    for _ in range(2):                                   # made, then read
        back = store.cached(make_all)
        pd.testing.assert_frame_equal(back.pop("frame"), expected["frame"])
        for a, b in zip(back.pop("tensors"), expected["tensors"], strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)
        assert back == {"number": 1.5, "nested": (1, ["two", (None, 2.5)], {"three": True})}


def make_all():
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, float("nan")], "who": ["a", "b"],
                          "ok": [True, False], "small": np.array([1, 2], dtype="float32")})
    tensors = [torch.arange(6).reshape(2, 3), torch.tensor(3.5), torch.zeros(0, 4),
               torch.tensor([True, False]), torch.arange(4.0).reshape(2, 2).T, torch.ones(3).half(),
               torch.tensor([1, 2], dtype=torch.uint8), nn.Parameter(torch.ones(2))]
    return {"frame": frame, "tensors": tensors, "number": np.float64(1.5),
            "nested": (1, ["two", (None, 2.5)], {"three": True})}


@pytest.mark.parametrize("result", [
    {1, 2}, object(), np.zeros(2), {1: 2}, {"$tensor": 1}, b"bytes", Path("x"), 1j,
    pd.DataFrame({"a": [1, 2]}, index=["x", "y"]), pd.DataFrame({3: [1]}),
    pd.DataFrame([[1, 2]], columns=["a", "a"]), pd.DataFrame({"a": [pd.Timestamp(0)]})],
    ids=lambda v: type(v).__name__)
def test_results_that_cannot_be_kept_are_refused_and_nothing_stays(result, empty, monkeypatch):
    monkeypatch.setattr(store, "describe", lambda value, argument="": "x")
    with pytest.raises(ValueError, match="result"):
        store.cached(give, result)
    assert not entries(empty) and not list(empty.rglob("*.part"))


@pytest.mark.parametrize("argument", [
    object(), threading.Lock(), (i for i in [1]), sys.stdout, [object()], {"a": object()},
    torch.eye(2).to_sparse(), torch.ones(2, device="meta")], ids=lambda v: type(v).__name__)
def test_arguments_that_cannot_be_told_apart_are_refused_before_work(argument):
    with pytest.raises(ValueError, match=r"^value(\[.*\])?: got"):
        store.cached(give, argument)
    assert CALLS == []


def test_a_lambda_or_no_function_is_refused():
    for bad in (lambda: 1, 3, functools.partial(give, 1), nn.ReLU()):
        with pytest.raises(ValueError, match="function"):
            store.cached(bad)


def test_arguments_that_differ_have_different_keys():
    data = images(6)
    gain = nets.fresh(lambda: Own(gain=2.0), 0)
    net, pool = nets.fresh(Own, 0), Pool.stack([nets.fresh(Own, 0)])
    values = [None, True, 1, 1.0, "1", [1], [[1]], {"1": 1}, torch.tensor([1]),
              torch.tensor([1.0]), torch.tensor([[1]]), torch.device("cpu"), net, gain,
              nets.fresh(Own, 0).requires_grad_(False),
              nets.fresh(Own, 1), pool, Pool.stack([gain]), pool.with_flat(pool.flat() + 1), data,
              data[:3], square, give, Own, nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "t"]
    seen = [repr(store.describe(v)) for v in values]
    assert len(set(seen)) == len(values)
    assert [repr(store.describe(v)) for v in values] == seen


def test_a_method_counts_with_its_object():
    with pytest.raises(ValueError, match="from outside the function"):
        store.cached(Scaled(2.0).times, 3)
    assert CALLS == []


class Scaled:
    def __init__(self, scale):
        self.scale = scale

    def times(self, x):
        return self.scale * x


@pytest.mark.parametrize("kinds", [(1, 1.0, True), ([1, 2], (1, 2)), ({1: 0}, {"1": 0}),
                                   ({"a": 1, "b": 2}, {"b": 2, "a": 1}), (0.0, -0.0)])
def test_what_the_function_can_tell_apart_is_kept_apart(kinds, empty):
    assert len({repr(kind) for kind in kinds}) == len(kinds)
    for _ in range(2):
        assert [store.cached(words, kind) for kind in kinds] == [repr(kind) for kind in kinds]
    assert len(entries(empty)) == len(kinds)


def words(value):
    return repr(value)


def test_networks_of_other_functions_are_trained_apart(empty):
    """The first one's training must not be handed to the second."""
    made = {}
    for _ in range(2):
        for act in (F.relu, torch.tanh):
            pool = train.stored_fit(nets.fresh(lambda: Held(act), 0), images(12), epochs=1)  # noqa: B023
            made.setdefault(act, []).append(pool.flat())
    assert torch.equal(*made[F.relu]) and torch.equal(*made[torch.tanh])
    assert not torch.allclose(made[F.relu][0], made[torch.tanh][0]) and len(entries(empty)) == 2


class Held(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.one, self.two, self.act = nn.Linear(64, 8), nn.Linear(8, 3), act

    def forward(self, x):
        return self.two(self.act(self.one(x.flatten(1))))


def test_a_failing_maker_leaves_nothing_and_is_asked_again(empty):
    with pytest.raises(ZeroDivisionError):
        store.cached(divide, 0)
    assert not entries(empty) and store.cached(divide, 2) == 0.5


def divide(x):
    return 1 / x


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"),
                                     SafetensorError("I/O error: No space left on device")])
def test_a_value_that_cannot_be_kept_is_returned_with_one_warning(failure, empty, monkeypatch):
    def save_file(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise failure

    monkeypatch.setattr(store, "_warned", set())
    monkeypatch.setattr(store, "save_file", save_file)
    with pytest.warns(RuntimeWarning, match="cannot keep results .*No space left") as told:
        assert store.cached(square, 3) == 9 and store.cached(square, 4) == 16
    assert len(told) == 1 and not entries(empty) and not list(empty.rglob("*.part"))
    monkeypatch.undo()
    monkeypatch.setenv("WLIB_STORE", str(empty))
    assert store.cached(square, 3) == store.cached(square, 3) == 9 and CALLS == [3, 4, 3]


def test_where_no_folder_can_be_made_values_are_returned(empty, monkeypatch):
    (empty / "test_store.square").write_text("a file")
    monkeypatch.setattr(store, "_warned", set())
    with pytest.warns(RuntimeWarning, match="File exists.*wlib store prune.*WLIB_STORE"):
        assert store.cached(square, 3) == 9
    with pytest.raises(ValueError, match="result: got"):
        store.cached(give, make_all)   # what cannot be kept anywhere is still refused


def test_the_first_caller_gets_what_later_ones_get(empty):
    for _ in range(2):
        assert repr(store.cached(give, (1, [np.float64(0.5)]))) == "(1, [0.5])"
    assert CALLS == ["give"]


def test_threads_make_one_key_once():
    results = []
    threads = [threading.Thread(target=lambda: results.append(store.cached(slow_one, 1)))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2] * 4 and len(CALLS) == 1


def slow_one(x):
    time.sleep(0.2)
    return record("slow", x + 1)


def third():
    return torch.ones(1) / 3


def test_settings_of_the_whole_process_are_in_the_key():
    assert store.cached(third).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert store.cached(third).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert store.cached(third).dtype == torch.float32


def test_tensors_that_may_be_trained_are_told_from_others():
    kinds = [torch.ones(2), torch.ones(2, requires_grad=True), nn.Parameter(torch.ones(2)),
             nn.Parameter(torch.ones(2), requires_grad=False)]
    told = [str(store.describe(kind)) for kind in kinds]
    assert len(set(told)) == 4 and told[0] == str(store.describe(torch.ones(2)))
