"""Rows are complete, verdicts are computed, and the engine is right where the truth is known."""

import json

import numpy as np
import pytest
import yaml

from wlib import claims
from wlib.ground import files

ROW = {"id": "M4a", "paper": "mge", "claim": "Redrawing keeps accuracy.", "figure": "Table 1",
       "source": "read in the paper", "whose": "paper", "notebook": "11-mge-generate",
       "measure": "accuracy", "unit": "points", "better": "higher", "controls": ["random", "raw"],
       "margin": 1.0,
       "rule": {"quantity": "advantage", "over": "random", "above": 1.0}}


def write(path, *rows):
    path.write_text(yaml.safe_dump(list(rows)))
    return path


def row(tmp_path, **changes):
    return claims.load(write(tmp_path / "claims.yml", ROW | changes))[0]


def measure(values, random=(0.0, 0.0, 0.0), raw=(0.0, 0.0, 0.0), better="higher"):
    rivals = {"random": random, "raw": raw}
    entry = claims.summarize("M4a", values, rivals, {}, len(values))
    return entry | {"unit": "points", "better": better}


# ---------------------------------------------------------------- the claims file
def test_a_complete_row_is_read(tmp_path):
    one = row(tmp_path, remark="partial")
    assert one.controls == ("random", "raw") and one.margin == 1.0 and one.remark == "partial"
    assert one.rule.words("points") == "advantage over random > 1 points"


@pytest.mark.parametrize("key", claims.NEEDED)
def test_every_missing_key_is_named(tmp_path, key):
    path = write(tmp_path / "claims.yml", {k: v for k, v in ROW.items() if k != key})
    where = r"claims.yml, row 1" + ("" if key == "id" else r" \(M4a\)")
    with pytest.raises(ValueError, match=rf"^{where}: {key}: got 'nothing'"):
        claims.load(path)


@pytest.mark.parametrize("change, message", [
    ({"margni": 1}, r"row 1 \(M4a\): key: got 'margni'.*did you mean 'margin'"),
    ({"controls": []}, r"controls: got \[\], want at least one"),
    ({"controls": ["a", "a"]}, "controls: .*different names"),
    ({"controls": "random"}, "controls: got 'random'"),
    ({"margin": 0}, "margin: got 0"), ({"margin": True}, "margin: got True"),
    ({"margin": float("nan")}, "margin: got nan"), ({"margin": "1"}, "margin: got '1'"),
    ({"id": "m4"}, "id: got 'm4'"), ({"paper": "mgee"}, "paper: .*did you mean 'mge'"),
    ({"whose": "mine"}, "whose: got 'mine'"),
    ({"source": "guessed"}, "source: got 'guessed'"), ({"better": "more"}, "better: got 'more'"),
    ({"claim": " "}, "claim: got ' '"), ({"remark": 3}, "remark: got 3"),
    ({"rule": "above 1"}, "rule: got 'above 1'"),
    ({"rule": {"quantity": "value"}}, r"rule: got \[\], want exactly one of above"),
    ({"rule": {"quantity": "value", "above": 1, "below": 2}}, "rule: .*exactly one"),
    ({"rule": {"quantity": "values", "above": 1}}, "quantity: .*did you mean 'value'"),
    ({"rule": {"quantity": "value", "over": "raw", "above": 1}}, "over: got 'raw', want nothing"),
    ({"rule": {"quantity": "advantage", "over": "row", "above": 1}}, "over: .*mean 'raw'"),
    ({"rule": {"quantity": "value", "above": "1"}}, "above: got '1', want a number"),
    ({"rule": {"quantity": "value", "abov": 1}}, "key: got 'abov'.*did you mean 'above'"),
])
def test_every_defect_of_a_row_is_named(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        row(tmp_path, **change)


def test_defects_of_the_file(tmp_path):
    path = tmp_path / "claims.yml"
    with pytest.raises(ValueError, match="claims.yml: cannot be read"):
        claims.load(path)
    with pytest.raises(ValueError, match="an id used once"):
        claims.load(write(path, ROW, ROW))
    for text, message in [("a: [", "not valid YAML"), ("a: 1", "a list of rows"),
                          ("- 3", "row 1: got 3"), ("- {id: M1, id: M2}", "'id' is given twice")]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            claims.load(path)


# ---------------------------------------------------------------- intervals and verdicts
def test_the_interval_is_students():
    from scipy import stats

    values = np.random.default_rng(0).normal(size=5)
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert np.allclose(claims.interval(values), (low, values.mean(), high))
    wide = claims.interval(values, image_se=0.3)
    assert wide.high - wide.mean == pytest.approx(
        np.hypot(stats.t.ppf(0.975, 4) * stats.sem(values), stats.norm.ppf(0.975) * 0.3))


@pytest.mark.parametrize("seeds, images", [(3, 0), (3, 0.3), (3, 1), (3, 5), (10, 1)])
def test_the_interval_covers_the_truth_in_95_of_100_cases(seeds, images):
    random = np.random.default_rng(seeds)
    values = random.normal(size=(2000, seeds)) + images * random.normal(size=(2000, 1))
    found = [claims.interval(row, image_se=images) for row in values]
    covered = np.mean([interval.low < 0 < interval.high for interval in found])
    assert 0.935 < covered < 0.985



@pytest.mark.parametrize("interval, words", [
    (claims.Interval(0.90, 0.957, 1.014), "0.957 ± 0.057 points"),
    (claims.Interval(80, 95.71, 111.42), "96 ± 16 points"),
    (claims.Interval(2, 2, 2), "2.000 ± 0.000 points"),
    (claims.Interval(-1.1, -0.001, 1.098), "0.0 ± 1.1 points"),
    (claims.interval([3.0]), "3 points (one seed, no interval)"),
])
def test_numbers_are_rounded_to_what_the_interval_supports(interval, words):
    assert interval.words("points") == words


AS_WELL = "reproduced, but a control does as well"


# The rule: more than 1 point over "random"; the margin is 1 point, the second control "raw".
@pytest.mark.parametrize("given, holds, simpler, words, best", [
    (measure([5.0, 5.1, 4.9]), "yes", "ahead", "reproduced", "random"),
    (measure([5.0, 5.1, 4.9], raw=[4.9, 5.0, 5.0]), "yes", "level", AS_WELL, "raw"),
    (measure([5.0, 5.1, 4.9], raw=[9.0, 9.1, 9.2]), "yes", "behind", AS_WELL, "raw"),
    (measure([0.5, 0.6, 0.4]), "no", "ahead", "not reproduced", "random"),
    (measure([-5.0, -5.1, -4.9]), "no", "behind", "not reproduced", "random"),
    (measure([1.0, 1.1, 0.9]), "makes no difference", "ahead", "undecided", "random"),
    (measure([5.0, -2.0, 2.0]), "open", "open", "undecided", "random"),
    (measure([1.0, 0.6, 1.6], raw=[30.0, 31.0, 32.0]), "open", "behind", "undecided", "raw"),
    (measure([5.0, 5.1, 4.9], raw=[5.0, 1.0, 8.0]), "yes", "open", "undecided", "raw"),
    # Surely not ahead, and its interval ends below the margin; but it may be far better: open.
    (measure([5.0, 5.1, 4.9], raw=[6.77, 6.1, 5.14]), "yes", "open", AS_WELL, "raw"),
    (None, claims.NOT_MEASURED, claims.NOT_MEASURED, claims.NOT_MEASURED, None),
])
def test_every_answer_is_reachable(tmp_path, given, holds, simpler, words, best):
    verdict = claims.judge(row(tmp_path), given)
    assert (verdict.holds, verdict.simpler, verdict.words) == (holds, simpler, words)
    assert verdict.best_control == best and verdict.why_holds and verdict.why_simpler
    assert verdict.marks == (f"{claims.HOLDS[holds]} {holds}",
                             f"{claims.SIMPLER[simpler]} {simpler}")


def test_one_control_of_many_must_win_by_more_than_luck():
    """A win at 95 % over one control is no win where four controls had the chance."""
    just = [0.0, 1.0, 2.0]                          # 1 ± 2.48
    lead = np.array(just) + 1.6                     # low end 0.12: better, for one alone
    measured = measure([0.0, 0.0, 0.0], random=lead, raw=(-9.0, -9.1, -9.2))
    alone, among = (claims.advantage(measured, "random", tests) for tests in (1, 2))
    assert alone.high < 0 < among.high
    assert alone.mean == among.mean and claims.corrected(2) == 0.975
    over, wide = ([claims.advantage(measured, name, tests) for name in ("random", "raw")]
                  for tests in (1, 2))
    assert claims.is_simpler_as_good(1.0, over, wide) == "open"
    assert claims.is_simpler_as_good(1.0, over, over) == "behind"


def test_behind_is_said_of_the_control_that_is_better(tmp_path):
    noisy = measure([5.0, 5.1, 4.9], random=[0.0, 20.0, 9.0], raw=[6.0, 6.1, 5.9])
    verdict = claims.judge(row(tmp_path), noisy)
    assert verdict.simpler == "behind" and verdict.best_control == "raw"
    assert "raw is better" in verdict.why_simpler


@pytest.mark.parametrize("given, simpler", [
    (measure([5.0, 5.1, 4.9], random=[0.0, 0.1, 0.3]), "ahead"),
    (measure([5.0, 5.1, 4.9], raw=[4.9, 5.0, 5.0]), "level"),
    (measure([5.0, 5.1, 4.9], raw=[9.0, 9.1, 9.2]), "behind"),
    (measure([5.0, 5.1, 4.9], raw=[5.0, 1.0, 8.0]), "open"),
])
def test_the_advantage_shown_is_the_one_that_decided(tmp_path, given, simpler):
    verdict = claims.judge(row(tmp_path), given)
    tests = 1 if simpler == "ahead" else 2
    shown = claims.advantage(given, verdict.best_control, tests)
    assert verdict.simpler == simpler and verdict.advantage_interval == shown
    assert shown.words("points") in verdict.why_simpler
    assert (", an interval for 2 controls at once)" in verdict.why_simpler) == (tests == 2)


def test_an_interval_over_one_control_is_not_widened(tmp_path):
    given = measure([5.0, 5.1, 4.9], random=[9.0, 9.1, 9.2])
    del given["controls"]["raw"]
    verdict = claims.judge(row(tmp_path, controls=["random"]), given)
    assert verdict.advantage_interval == claims.advantage(given, "random")
    assert verdict.simpler == "behind" and "at once" not in verdict.why_simpler


def test_a_claim_that_is_only_quoted_says_so(tmp_path):
    verdict = claims.judge(row(tmp_path, notebook=claims.QUOTED), None)
    assert (verdict.words, verdict.why_holds) == ("not measured",
                                                  "the book quotes it and does not test it")


def test_one_seed_decides_nothing(tmp_path):
    verdict = claims.judge(row(tmp_path), measure([9.0], random=[0.0], raw=[0.0]))
    assert (verdict.holds, verdict.simpler, verdict.words) == ("open", "open", "undecided")


def test_lower_can_be_better(tmp_path):
    one = row(tmp_path, better="lower")
    given = measure([1.0, 1.1, 0.9], [5.0, 5.0, 5.1], [5.0, 5.2, 5.1], better="lower")
    verdict = claims.judge(one, given)
    assert verdict.words == "reproduced" and verdict.advantage_interval.low > 0


@pytest.mark.parametrize("comparison, inside, outside", [
    ("above", 1.01, 1.0), ("at_least", 1.0, 0.99), ("below", 0.99, 1.0), ("at_most", 1.0, 1.01)])
def test_rules_hold_up_to_their_edge(comparison, inside, outside):
    rule = claims.Rule("value", None, comparison, 1.0)
    success, failure = (claims.Interval(x, x, x) for x in (inside, outside))
    assert rule.met(success) and not rule.excluded(success)
    assert rule.excluded(failure) and not rule.met(failure)
    open_ = claims.Interval(0.5, 1.0, 1.5)
    assert not rule.met(open_) and not rule.excluded(open_)


@pytest.mark.parametrize("change, message", [
    ({"unit": "seconds"}, "M4a: unit: got 'seconds'"),
    ({"better": "lower"}, "M4a: better: got 'lower'"),
    ({"controls": {"random": {}}}, "M4a: controls: .*missing: raw"),
    ({"controls": {"random": {}, "raw": {}, "new": {}}}, "M4a: controls: got .'new'."),
])
def test_a_measure_must_fit_its_row(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        claims.judge(row(tmp_path), measure([1.0, 2.0, 3.0]) | change)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("rule", [{"quantity": "advantage", "over": "random", "above": 0.0},
                                  {"quantity": "value", "above": 0.0}])
def test_where_nothing_is_true_little_is_reproduced(tmp_path, seeds, rule):
    one, draw, runs = row(tmp_path, rule=rule), np.random.default_rng(seeds), 1500
    values = draw.normal(size=(runs, 3, seeds)) + draw.normal(size=(runs, 1, seeds))
    words = [claims.judge(one, measure(*run)).words for run in values]
    assert words.count("reproduced") / runs <= 0.05


def test_where_much_is_true_it_is_reproduced(tmp_path):
    draw, one = np.random.default_rng(0), row(tmp_path)
    words = [claims.judge(one, measure(8 + draw.normal(size=5), *draw.normal(size=(2, 5)))).words
             for _ in range(200)]
    assert words.count("reproduced") / 200 >= 0.9


def test_the_interval_covers_the_truth_when_images_vary():
    draw, runs, seeds, images = np.random.default_rng(1), 400, 3, 50
    covered = 0
    for _ in range(runs):  # few images, shared by all seeds: seeds alone would claim too much
        scores = (draw.normal(size=(seeds, 1)) * 0.1 + draw.normal(size=(1, images))
                  + draw.normal(size=(seeds, images)))
        entry = claims.summarize("M", scores, {}, {}, seeds)
        low, _, high = claims.interval(entry["values"], entry["image_se"])
        covered += low <= 0 <= high
    assert covered / runs >= 0.95


# ---------------------------------------------------------------- reports
@pytest.fixture
def project(tmp_path, monkeypatch):
    for folder in ("profiles", "notebooks", "book"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "book" / "claims.yml", ROW, ROW | {"id": "M5", "notebook": "other"})
    monkeypatch.chdir(tmp_path / "notebooks")
    for name in ("WLIB_RESULTS", "WLIB_NOTEBOOK", "WLIB_RUN", "WLIB_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def report(**settings):
    return claims.Report("11-mge-generate", seeds=[0, 1, 2], settings=settings)


CONTROLS = {"random": [0.0, 0.1, 0.2], "raw": np.zeros((3, 4))}


def test_a_report_is_saved_and_read_back(project):
    one = report(energy=0.95, draws=np.int64(16))
    scores = np.arange(12.0).reshape(3, 4)
    one.measure("M4a", scores, unit="points", controls=CONTROLS, references={"seed": [9, 9, 9]})
    one.measure("extra", [True, False, True], unit="share")
    one.save()
    path = one.path()
    assert path == project / "_build" / "interactive" / "results" / "11-mge-generate.json"
    results = claims.load_results(path)
    assert results["settings"] == {"energy": 0.95, "draws": 16} and results["seeds"] == [0, 1, 2]
    entry = results["measures"]["M4a"]
    assert entry["values"] == [1.5, 5.5, 9.5]
    assert entry["image_se"] == pytest.approx(np.arange(4).std(ddof=1) / 2)
    assert entry["controls"]["raw"]["difference_image_se"] == entry["image_se"]
    assert entry["controls"]["random"]["difference_image_se"] == entry["image_se"]
    asked = claims.load(project / "book" / "claims.yml")[0]
    assert claims.judge(asked, entry).marks == ("? open", "? open")
    assert [path.name for path in path.parent.iterdir()] == ["11-mge-generate.json"]


def test_paired_images_cancel(project):
    draw = np.random.default_rng(0)
    hard, noise = draw.normal(size=(1, 50)) * 10, draw.normal(size=(3, 50))
    entry = claims.summarize("M", hard + noise, {"c": hard + np.zeros((3, 50))}, {}, 3)
    assert entry["controls"]["c"]["difference_image_se"] < entry["image_se"] / 5


def test_tensors_are_taken_without_importing_torch_here(project):
    class Tensor:  # what claims asks of a tensor
        dtype = type("dtype", (), {"is_floating_point": True})

        def detach(self):
            return self

        cpu = double = detach

        def numpy(self):
            return np.ones(3)

    entry = claims.summarize("M", Tensor(), {}, {}, 3)
    assert entry["values"] == [1, 1, 1]


def test_the_runner_says_where_and_which_run(project, monkeypatch):
    monkeypatch.setenv("WLIB_RESULTS", str(project / "r.json"))
    monkeypatch.setenv("WLIB_NOTEBOOK", "11-mge-generate")
    monkeypatch.setenv("WLIB_RUN", "abc")
    monkeypatch.setenv("WLIB_PROFILE", "smoke")
    report().save()
    results = json.loads((project / "r.json").read_text())
    assert (results["run"], results["profile"]) == ("abc", "smoke")
    with pytest.raises(ValueError, match="notebook: got 'wrong', want '11-mge-generate'"):
        claims.Report("wrong", seeds=[0])


@pytest.mark.parametrize("change, message", [
    ({"method": [1.0, 2.0]}, r"M4a: method: .*S = 3 seeds"),
    ({"method": [1.0, 2.0, float("nan")]}, "M4a: method: .*finite"),
    ({"method": ["a", "b", "c"]}, "M4a: method: .*real numbers"),
    ({"method": [[1], [2, 3], [4]]}, "M4a: method: .*array of numbers"),
    ({"method": np.zeros((3, 2, 2))}, "M4a: method: got ndarray"),
    ({"method": np.zeros((3, 1))}, "at least two images"),
    ({"method": np.zeros((3, 5))}, "the method's shape"),
    ({"controls": {"random": [0, 0, 0]}}, "M4a: controls: .*missing: raw"),
    ({"unit": "share"}, "M4a: unit"), ({"better": "up"}, "better: got 'up'"),
    ({"name": ""}, "name: got ''"),
])
def test_wrong_measures_are_refused_by_name(project, change, message):
    given = {"name": "M4a", "method": np.zeros((3, 4)), "unit": "points", "controls": CONTROLS}
    one, given = report(), given | change
    with pytest.raises(ValueError, match=message):
        one.measure(given.pop("name"), given.pop("method"), **given)
    assert one.measures == {}


def test_wrong_reports_are_refused_by_name(project):
    one = report()
    one.measure("x", [1, 2, 3], unit="s")
    with pytest.raises(ValueError, match="name: got 'x', want a measure not yet"):
        one.measure("x", [1, 2, 3], unit="s")
    with pytest.raises(ValueError, match=r"seeds: got \[1, 1\]"):
        claims.Report("n", seeds=[1, 1])
    with pytest.raises(ValueError, match="settings: .*JSON"):
        claims.Report("n", seeds=[1], settings={"net": object()})


def test_the_table_of_verdicts_has_only_this_notebooks_claims(project):
    one = report()
    said = ["Redrawing keeps accuracy.", "advantage over random > 1 points"]
    assert list(one.verdicts().data) == ["id", "does it hold?", "is a simpler way as good?",
                                         "claim", "rule", "effect", "closest control"]
    assert one.verdicts().data.values.tolist() == [
        ["M4a", "– not measured", "– not measured", *said, "–", "–"]]
    one.measure("M4a", [5.0, 5.1, 4.9], unit="points",
                controls={"random": [0, 0, 0], "raw": [2, 2, 2]})
    assert one.verdicts().data.values.tolist() == [
        ["M4a", "✔ yes", "▲ ahead", *said, "5.00 ± 0.25 points", "3.00 ± 0.25 points over raw"]]
    assert "<table" in one.verdicts().to_html()


@pytest.mark.parametrize("change, message", [
    ({"schema": 2}, "schema: got 2"), ({"seeds": [0, 1]}, "M4a: values: .*2 finite numbers"),
    ({"measures": None}, "measures: got None"), ({"run": 3}, "run: got 3"),
    ({"measures": {"M4a": {"unit": "s"}}}, "M4a: better"),
])
def test_a_damaged_results_file_is_refused(project, change, message):
    one = report()
    one.measure("M4a", [1, 2, 3], unit="points", controls=CONTROLS)
    path = project / "r.json"
    path.write_text(claims.dumps(one.results() | change))
    with pytest.raises(ValueError, match=message):
        claims.load_results(path)


def test_the_best_recorded_run_is_found(project):
    assert claims.recorded("11-mge-generate", project) is None
    for profile in ("laptop", "study"):
        path = project / "results" / profile / "11-mge-generate.json"
        files.write_atomic(path, claims.dumps(report().results() | {"profile": profile}))
        assert claims.recorded("11-mge-generate", project)["profile"] == profile
    path.write_text("{")
    with pytest.raises(ValueError, match="not a results file"):
        claims.recorded("11-mge-generate", project)
