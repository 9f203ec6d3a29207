"""What of the user's surroundings reaches a run."""

import os
from pathlib import Path

import pytest

from wlib.data import realsets
from wlib.ground import entries, surroundings, versions


def test_a_kernel_gets_places_and_cards_and_no_other_settings(monkeypatch):
    for name in ("PYTHONSTARTUP", "PYTHONOPTIMIZE", "MATPLOTLIBRC", "IPYTHONDIR", "JUPYTER_PATH",
                 "LANG", "COLUMNS", "GIT_DIR", "TORCH_LOGS", "WLIB_NOTEBOOK", "MY_OWN"):
        monkeypatch.setenv(name, "x")
    for name in ("PATH", "HOME", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "ATEN_CPU_CAPABILITY"):
        monkeypatch.setenv(name, "y")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    found = surroundings.variables()
    assert "x" not in found.values()
    assert {name for name, value in found.items() if value == "y"} == {
        "PATH", "HOME", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "ATEN_CPU_CAPABILITY"}
    assert (found["TZ"], found["OMP_NUM_THREADS"], found["PYTHONHASHSEED"]) == ("UTC", "1", "0")


@pytest.mark.parametrize("name", surroundings.COUNTED)
def test_what_may_change_a_number_is_in_every_fingerprint(monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    before = versions.current()
    monkeypatch.setenv(name, "default")
    assert versions.current() == before | {name: "default"}
    assert surroundings.variables()[name] == "default"


@pytest.mark.parametrize("variable, asked", [
    ("WLIB_STORE", entries.root), ("WLIB_DATA", lambda: realsets.root_of(None))])
def test_a_folder_is_the_same_in_the_command_and_in_its_kernels(monkeypatch, tmp_path, variable,
                                                                asked):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for text, place in (("~/a", tmp_path / "home/a"), ("b c", tmp_path / "b c"),
                        ("/d", Path("/d"))):
        monkeypatch.setenv(variable, text)
        assert asked() == place and surroundings.variables()[variable] == str(place)
    monkeypatch.delenv(variable)
    unset = asked()
    monkeypatch.setenv(variable, "")
    assert asked() == unset and variable not in surroundings.variables()
    assert unset.is_absolute() and unset != tmp_path


def test_a_home_folder_that_does_not_exist_is_no_name_of_a_folder(monkeypatch):
    monkeypatch.setenv("WLIB_STORE", "~nobody-of-this-name/x")
    with pytest.raises(ValueError, match="WLIB_STORE: got '~nobody-of-this-name/x', want the path"):
        entries.root()


def test_data_of_a_user_without_a_home_folder_must_be_named(monkeypatch, tmp_path):
    def nameless(number):
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", nameless)
    for name in ("HOME", "WLIB_DATA", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OSError, match="name one with the variable WLIB_DATA"):
        realsets.root_of(None)
    assert realsets.root_of(tmp_path) == tmp_path


def test_git_is_asked_without_its_own_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", "/x")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/y")
    assert {key for key in surroundings.without_git(os.environ) if key.startswith("GIT_")} == {
        "GIT_CONFIG_GLOBAL"}
    with pytest.raises(OSError, match="not a git repository"):
        surroundings.git(tmp_path, "rev-parse", "HEAD")
