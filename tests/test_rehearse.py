"""`wlib rehearse`: a profile's shapes, smoke's counts, the CPU, and a folder of its own."""

import json

import pytest
import torch
from conftest import REPOSITORY
from toyrun import call, project, wlib, write_notebook

from wlib.book import kinds, planning, rehearse
from wlib.book.kinds import KINDS, Rule
from wlib.claims import consistency
from wlib.core import nets
from wlib.core.pool import Pool
from wlib.free import inversion, replay

CELLS = ["import os", "big = bytearray(200 * 2**20)", """import json
from wlib import claims
report = claims.Report("01-toy", seeds=seeds, settings={
    "store": os.environ["WLIB_STORE"], "stacked": os.environ["WLIB_STACKED"]})
report.measure("x", [float(width)] * len(seeds), unit="points")
report.save()"""]
RULES = """"*": {data: image set, seed: seed, seeds: seeds, device: device, width: size,
      epochs: count, draws: batch, rates: rates}
"""
PARAMETERS = "data = 'digits'\nseed = 0\nseeds = [0, 1]\ndevice = 'auto'\nwidth = 8\nepochs = 3\n" \
    "draws = 4\nrates = [0.1]\nfree = 5"
FULL = {"seeds": [0, 1, 2], "device": "cuda", "width": 4096, "epochs": 100, "draws": 50,
        "rates": [0.1, 0.2], "free": 9}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    root = project(tmp_path / "book", {"01-toy": []},
                   smoke={"01-toy": {"seeds": [0], "width": 2, "epochs": 1}}, gpu={"01-toy": FULL})
    write_notebook(root, "01-toy", *CELLS, parameters=PARAMETERS)
    (root / "book").mkdir()
    (root / "book" / "parameters.yml").write_text(RULES)
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(root)
    return root


def test_shapes_are_the_profile_s_and_counts_are_smoke_s(toy):
    part, = rehearse.plan([], "gpu", root=toy)
    assert part.plan.values == {"data": "digits", "seed": 0, "seeds": [0], "device": "cpu",
                                "width": 4096, "epochs": 1, "draws": 4, "rates": [0.1], "free": 9}
    assert part.held == "draws 4 of 50" and part.replaced == {}
    assert part.plan.fingerprint != planning.plan([], "gpu", root=toy)[0].fingerprint


@pytest.mark.parametrize("kind, full, small, value", [
    ("count", 600, 4, 4), ("count", 3, 4, 3), ("size", 600, 4, 600), ("sizes", [9, 8], [1], [9, 8]),
    ("counts", [9, 8, 7], [1, 2], [1, 2]), ("counts", [9], [1, 2], [9]),
    ("counts or none", [], [1], []), ("four counts", [40, 10, 20, 30], [4, 10, 2, 2],
                                      [4, 10, 2, 2]), ("device", "cuda", "auto", "cpu")])
def test_the_value_of_a_rehearsal(kind, full, small, value):
    assert rehearse.rehearsed(full, small, Rule(KINDS[kind])) == value
    assert rehearse.rehearsed(full, small, None) == full
    assert rehearse.rehearsed(full, small, Rule(KINDS[kind], 18)) == 18


def absent(*names):
    def there(name):
        if name in names:
            raise FileNotFoundError
    return there


@pytest.mark.parametrize("value, kept, replaced", [
    ("fashion", "mnist5k", {"fashion": "mnist5k"}), ("digits", "digits", {}),
    (["mnist", "digits", "fashion", "stl10"], ["mnist5k", "digits"],
     {"mnist": "mnist5k", "fashion": "mnist5k", "stl10": ""})])
def test_images_that_are_not_there_are_replaced_by_some_of_their_shape(value, kept, replaced):
    kind = kinds.Kind(KINDS["image set"].accepts, there=absent("mnist", "fashion", "stl10"),
                      stand_in=kinds.GREY)
    found = {}
    assert rehearse.installed(value, Rule(kind), "here", found) == kept and found == replaced


def test_images_of_a_shape_that_nothing_else_has_are_refused():
    kind = kinds.Kind(KINDS["image set"].accepts, there=absent("stl10"))
    with pytest.raises(ValueError, match="here: got 'stl10', want images that are installed"):
        rehearse.installed("stl10", Rule(kind), "here", {})


@pytest.mark.parametrize("kind, shape", [("image set", (1, 28, 28)), ("real sets", (1, 28, 28)),
                                         ("domains", (3, 32, 32))])
def test_what_stands_in_has_the_shape_of_the_real_images(kind, shape):
    for name in KINDS[kind].stand_in.values():
        assert KINDS[kind].there(name).images.shape[1:] == shape


@pytest.mark.parametrize("stacked, engine", [("", "loop"), ("1", "vmap")])
def test_networks_run_stacked_where_a_gpu_is_rehearsed(monkeypatch, stacked, engine):
    monkeypatch.setenv("WLIB_STACKED", stacked)
    cpu, cuda = (torch.device(name) for name in ("cpu", "cuda"))
    pool = Pool.stack([nets.fresh("lenet", seed) for seed in (0, 1)])
    assert [pool.engine(), replay.engine_for(cpu), inversion.resolved("auto", cpu)] == 3 * [engine]
    assert [replay.engine_for(cuda), inversion.resolved("auto", cuda)] == 2 * ["vmap"]
    assert pool.engine("loop") == inversion.resolved("loop", cpu) == "loop"     # asked for by name


@pytest.mark.book
def test_a_rehearsal_keeps_to_itself_and_tells_its_memory(toy, monkeypatch):
    done = wlib(toy, "rehearse", "--profile", "gpu", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    home = toy / "_build" / "rehearse" / "gpu"
    results = json.loads((home / "results" / "01-toy.json").read_text())
    assert results["measures"]["x"]["values"] == [4096.0] and results["profile"] == "rehearse/gpu"
    assert results["settings"] == {"store": str(home / "store"), "stacked": "1"}
    memory = json.loads((home / "memory.json").read_text())["01-toy"]
    assert 200 * 2**20 <= memory < 300 * 2**20
    line = done.stdout.splitlines()[1]
    assert line.startswith("01-toy  done ") and line.endswith("  0.2 GB  draws 4 of 50")
    assert "rehearsed 1, 0 failed" in done.stdout
    assert not (toy / "_build" / "gpu").exists()
    again = wlib(toy, "rehearse", "--profile", "gpu")
    assert "01-toy  unchanged " in again.stdout and "0.2 GB" in again.stdout
    assert [call("record", "--profile", name) for name in ("gpu", "rehearse/gpu")] == [2, 2]
    assert not (toy / "results").exists()
    assert call("clean", "--profile", "rehearse") == 0 and not home.exists()


@pytest.mark.book
def test_a_rehearsal_that_fails_says_so(toy):
    done = wlib(toy, "rehearse", "01", "-p", "width", "12", "--profile", "gpu",
                "--cell-timeout", "30", "-p", "seeds", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    path = toy / "notebooks" / "01-toy.ipynb"
    path.write_text(path.read_text().replace("200 * 2**20", "1 / 0"))
    done = wlib(toy, "rehearse", "--profile", "gpu", "-p", "width", "12")
    assert done.returncode == 1 and "rehearsed 1, 1 failed" in done.stdout
    assert "01-toy: code cell 4: ZeroDivisionError" in done.stdout
    assert "run it again: wlib rehearse 01-toy --profile gpu -p width 12" in done.stderr


def test_a_book_s_check_does_not_look_at_rehearsals(toy):
    file = toy / "_build" / "rehearse" / "gpu" / "results" / "01-toy.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    (toy / "book" / "claims.yml").write_text("[]")
    assert not any("rehearse" in line for line in consistency.check(toy).wrong)


def test_every_notebook_s_rehearsal_of_profile_gpu_is_planned():
    parts = rehearse.plan([], "gpu", root=REPOSITORY)
    whole = {plan.name: plan.values for plan in planning.plan([], "gpu", root=REPOSITORY)}
    assert [part.plan.name for part in parts] == list(whole)
    for part in parts:
        assert part.plan.values["device"] == "cpu" and part.plan.values["seeds"] == [0]
        shapes = {"architectures", "widths", "vae_hidden", "ngf", "sets", "regimes"}
        for name in shapes & set(part.plan.values):
            assert part.plan.values[name] == whole[part.plan.name][name]
