"""A rehearsal of `wlib bench` passes through every table and writes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.book
def test_the_rehearsal_prints_every_table_and_writes_nothing():
    recorded = ROOT / "results" / "benchmarks.json"
    before = recorded.read_bytes() if recorded.exists() else None
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "run.py"), "--quick"],
                          capture_output=True, text=True, timeout=300,
                          env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"})
    assert done.returncode == 0, done.stderr
    for words in ("One thread", "3 × mlp", "2 × lenet", "does the rule lose?", "÷ training one",
                  "noise of equal norm", "one accepted ÷ training", "for place 3",
                  "wlib ÷ scipy", "each further one, s", "per sample ÷ wlib", "VGG-16",
                  "dense ÷ grouped", "loop, s per teacher",
                  "fomaml", "s per step", "DDIM, 20 steps", "vmap ÷ loop"):
        assert words in done.stdout
    assert (recorded.read_bytes() if recorded.exists() else None) == before


@pytest.mark.book
def test_one_part_is_timed_alone():
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "run.py"), "--quick",
                           "--part", "FREE"], capture_output=True, text=True, timeout=300,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "loop, s per teacher" in done.stdout and "fomaml" in done.stdout
    assert "lenet" not in done.stdout
