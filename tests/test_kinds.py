"""What every parameter accepts: the notebooks' defaults and all profiles are held against it."""

import fnmatch

import pytest
import yaml
from conftest import REPOSITORY

from wlib.book import kinds, parameters, planning
from wlib.book.kinds import KINDS
from wlib.core import nets

NOTEBOOKS = {path.stem: parameters.defaults(path)
             for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))}
FILE = REPOSITORY / "book" / "parameters.yml"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_parameter_has_a_rule_that_accepts_its_default(name):
    rules = kinds.rules(REPOSITORY, name)
    assert set(NOTEBOOKS[name]) <= set(rules), "name the kind of a new one in book/parameters.yml"
    kinds.check(NOTEBOOKS[name], rules, name)


def test_every_rule_is_of_some_parameter():
    for pattern, block in yaml.safe_load(FILE.read_text(encoding="utf-8")).items():
        known = set().union(*(v for k, v in NOTEBOOKS.items() if fnmatch.fnmatch(k, pattern)))
        assert set(block) <= known, f"{pattern}: no notebook has all of these"


def test_what_a_rehearsal_has_instead_is_no_more_than_the_profile_has():
    whole = {plan.name: plan.values for plan in planning.plan([], "gpu", root=REPOSITORY)}
    for name, values in whole.items():
        for key, rule in kinds.rules(REPOSITORY, name).items():
            if rule.rehearse is not None and key in values:
                assert rule.rehearse <= values[key], f"{name}: {key}"


# What values of one notebook must be to each other; cut counts hide it from a rehearsal.
TOGETHER = {
    "12-": [lambda v: v["tries"] >= len(v["energies"]),
            lambda v: v["longer"][0] >= v["parents"]],
    "21-": [lambda v: v["held"] + v["per_class"] <= v["samples"][0]],
    "22-": [lambda v: v["held_out"] + 5 <= v["samples"][0], lambda v: v["few"] >= 1],
    "23-": [lambda v: v["held_out"] + 5 <= v["samples"][0]],
    "31-": [lambda v: v["timed"] <= v["held_out"] < v["count"],
            lambda v: v["taught"] <= v["count"], lambda v: v["regime_counts"][0] >= 2],
    "32-": [lambda v: set(v["others"]) <= set(v["seeds"])],
    "33-": [lambda v: all(v["total"] % (v["ways"] * n) == 0 and
                          v["total"] // (v["ways"] * n) > v["queries"] for n in v["sizes"]),
            lambda v: v["sizes"] == sorted(v["sizes"]), lambda v: len(v["sizes"]) > 1],
    "34-": [lambda v: v["most"] >= 3],                   # the values that a search begins with
    "41-": [lambda v: max(v["zoo_sizes"]) <= v["sets"], lambda v: max(v["sizes"]) < v["sets"],
            lambda v: max(v["vae_sizes"]) < v["sets"],
            lambda v: max(v["batches"]) <= v["sets"],
            lambda v: v["span_sets"] <= v["unseen"], lambda v: v["copies"] >= 2,
            lambda v: v["norm_sets"] <= v["sets"]],
    "42-": [lambda v: max(size for size, _ in v["grid"]) < 2 * v["sets"]],
    "43-": [lambda v: max(v["sizes"]) < v["sets"],
            lambda v: max(v["codes"]) < 10 * min(v["zoo_sizes"]),
            lambda v: max(v["codes"]) < 5 * v["few_sets"], lambda v: len(v["zoo_sizes"]) > 1,
            lambda v: v["zoo_sizes"] == sorted(v["zoo_sizes"]),
            lambda v: all(steps % v["lengths"][0] == 0 for steps in v["lengths"])],
    "44-": [lambda v: max(v["amounts"]) <= v["sets"], lambda v: max(v["sizes"]) < v["sets"],
            lambda v: v["starting"] <= v["unseen"], lambda v: v["tuning"] <= v["choosing"]],
    "4": [lambda v: v["counts"][1] >= 10],        # a condition is made of ten images per class
}


@pytest.mark.parametrize("profile", ["smoke", "laptop", "study", "gpu"])
def test_the_values_of_a_profile_fit_together(profile):
    for plan in planning.plan([], profile, root=REPOSITORY):
        for start, conditions in TOGETHER.items():
            for number, condition in enumerate(conditions):
                if plan.name.startswith(start):
                    assert condition(plan.values), f"{plan.name}: condition {number} of {start!r}"


def test_profile_gpu_names_the_device_wherever_one_is_used():
    idle = {"02-tasks-without-downloads"}                 # scikit-learn runs on the processor
    for plan in planning.plan([], "gpu", root=REPOSITORY):
        assert ("device" in plan.injected) == (plan.name not in idle), plan.name
        assert plan.name in idle or plan.values["device"] == "cuda"


@pytest.mark.parametrize("name, given, message", [
    ("11", ("data", "fashionmnist"), "11-mge-generate: data: .*; did you mean 'fashion'"),
    ("11", ("data", "folder"), "data: got 'folder', want one of cifar10"),
    ("11", ("device", "gpu"), "device: got 'gpu', want 'auto', 'cpu', 'cuda'"),
    ("11", ("seeds", "0,0"), r"seeds: got \[0, 0\], want each value once"),
    ("11", ("seeds", ""), r"seeds: got \[\], want a list of 1 or more"),
    ("11", ("energies", "0.5,0.9"), "energies: .*want shares of the energy with 0.95"),
    ("12", ("deeper", "vgg,resnet50"), r"deeper\[1\]: got 'resnet50', want one of conv4"),
    ("21", ("architectures", "vgg,resnet5"), r"architectures\[1\]: .*did you mean 'resnet50'"),
    ("21", ("samples", "150,40"), r"samples: got \[150, 40\], want a list of 3"),
    ("23", ("architecture", "resnet50"), "architecture: got 'resnet50', want one of alexnet"),
    ("31", ("data", "cifar-fs"), r"data\[0\]: got 'cifar-fs'.*did you mean 'cifarfs'"),
    ("31", ("width", "15"), "width: got 15, want an even whole number"),
    ("31", ("regimes", "[[conv4, 5]]"), r"regimes\[0\]: got \['conv4', 5\], want a list of 3"),
    ("33", ("architectures", "vgg"), r"architectures\[0\]: got 'vgg', want one of conv4, resnet10"),
    ("41", ("data", "glyphs"), r"data\[0\]: got 'glyphs', want one of cifar10"),
    ("42", ("data", "mnist5k"), r"data\[0\]: got 'mnist5k', want one of glyphs"),
    ("42", ("grid", "[[1.5, 0.1]]"), r"grid\[0\]\[0\]: got 1.5, want a whole number"),
    ("44", ("steps", "5,10"), r"steps: got \[5, 10\], want numbers of steps that rise from 0"),
])
def test_a_wrong_value_is_refused_before_the_run(name, given, message):
    with pytest.raises(ValueError, match=message):
        planning.plan([name], "laptop", [given], REPOSITORY)


@pytest.mark.parametrize("kind, good, bad", [
    ("seed", [0, 7], [-1, 1.0, True, "0"]), ("size", [1], [0, -1, 2.0, True]),
    ("even size", [2, 32], [0, 3, 2.0]), ("count or 0", [0, 3], [-1]),
    ("rate", [1e-3, 5, 1e9], [0, 0.0, -1e-3, True, "1"]),
    ("rates", [[0.1], [1, 2.0]], [[], [0.1, 0.1], [0.1, 0], 0.1]),
    ("shares", [[0.8], [0.9, 0.5, 1]], [[0.9], [0.5, 1.1], []]),
    ("steps", [[0], [0, 3, 9]], [[1], [0, 9, 3], [], [0, 0]]),
    ("layers", [[4096, 1536], [8, 8]], [[8], [8, 8, 8], [8, 0]]),
    ("counts or none", [[], [3, 1]], [[0], 3]), ("seeds or none", [[], [0, 2]], [[-1]]),
    ("latents and rates", [[[64, 0.1]], [[64.0, 1]]], [[], [[64]], [[64.5, 1]], [[64, 0]]]),
    ("four counts", [[1, 2, 3, 4], [1, 1, 1, 1]], [[1, 2, 3], [1, 2, 3, 0]]),
])
def test_a_kind_accepts_what_fits_and_nothing_else(kind, good, bad):
    for value in good:
        KINDS[kind].accepts("here", value)
    for value in bad:
        with pytest.raises(ValueError, match="^here"):
            KINDS[kind].accepts("here", value)


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1", "mps", "gpu", "CUDA", "cuda:x",
                                  "cuda:", ""])
def test_devices_are_those_that_torch_has_a_name_for(name):
    def known(test):
        try:
            test()
        except ValueError as error:
            return "is not available here" in str(error)      # the machine's matter, not the name's
        return True

    assert known(lambda: kinds.device("device", name)) == known(lambda: nets.resolve_device(name))


def test_wrong_rules_are_refused(tmp_path):
    (tmp_path / "book").mkdir()
    file = tmp_path / "book" / "parameters.yml"
    assert kinds.rules(tmp_path, "01-one") == {}, "a book need not have any"
    file.write_text("[count]")
    with pytest.raises(ValueError, match=r"parameters.yml: got \['count'\], want blocks of rules"):
        kinds.rules(tmp_path, "01-one")
    for given, message in {
            "conut": r"parameters.yml: \*: x: got 'conut'.*did you mean 'counts?'",
            "[count]": r"x: got \['count'\], want a kind, or a mapping of kind and rehearse",
            "{kind: count, rehearsal: 2}": "x: got .*, want a kind, or a mapping",
            "{kind: count, rehearse: 0}": "x: rehearse: got 0, want a whole number"}.items():
        file.write_text(f'"*":\n  x: {given}\n')
        with pytest.raises(ValueError, match=message):
            kinds.rules(tmp_path, "01-one")


def test_later_blocks_win_where_their_pattern_fits(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "parameters.yml").write_text(
        '"*": {x: count}\n"02-*": {x: {kind: size, rehearse: 3}, y: seed}\n')
    one, two = (kinds.rules(tmp_path, name) for name in ("01-one", "02-two"))
    assert {name: rule.kind for name, rule in one.items()} == {"x": KINDS["count"]}
    assert two["x"] == kinds.Rule(KINDS["size"], 3) and set(two) == {"x", "y"}
