"""The README's code runs as it stands, and its two commands are those of the Makefile."""

import json
import math
import re
from pathlib import Path

import numpy as np
import torch
import torchvision

from wlib.core import nets

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_lifting_a_method_out_takes_ten_lines_that_run(monkeypatch):
    # A short network of the same kind: ResNet-18 itself takes seconds per child.
    network = torchvision.models.resnet.ResNet(
        torchvision.models.resnet.BasicBlock, [1, 0, 0, 0], num_classes=1000)
    network.layer2, network.fc = torch.nn.Identity(), torch.nn.Linear(64, 1000)
    network.layer3 = network.layer4 = torch.nn.Identity()
    monkeypatch.setattr(torchvision.models, "resnet18", lambda: network)
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    scope = {}
    exec(compile(code, "README.md", "exec"), scope)
    assert scope["logits"].shape == (8, 4, 1000)
    assert isinstance(scope["first"], torchvision.models.resnet.ResNet)


def test_lifting_mda_out_runs_as_the_book_says(tmp_path, monkeypatch, capsys):
    """From arrays of one's own to a file: the two blocks of the page, one after the other."""
    page = (ROOT / "book" / "how-to-run.md").read_text(encoding="utf-8")
    arrays, cut = (code for code in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
                   if "ImageSet" in code or "save_part" in code)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    network = nets.build("conv4", classes=3, channels=3, size=16, width=6).eval()
    scope = {"pixels": draw.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8),
             "numbers": np.arange(12) % 3, "network": network, "other": network}
    for code in (arrays, cut):
        exec(compile(code, "how-to-run.md", "exec"), scope)
    images = scope["images"]
    assert images.shape == (12, 3, 16, 16) and len(scope["own"].classes) == 3
    torch.testing.assert_close(scope["again"](images), scope["joined"](images), rtol=1e-4,
                               atol=1e-5)
    assert "of the weights" in capsys.readouterr().out and scope["part"](images).shape == (12, 2)


def test_the_two_commands_exist():
    commands = re.findall(r"^make (\w+)", blocks("bash")[0], flags=re.MULTILINE)
    assert commands == ["book", "test", "lab"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{command}: " in makefile for command in commands)


def test_times_are_those_that_were_measured():
    recorded = (ROOT / "results" / "commands.json").read_text(encoding="utf-8")
    setup, cold, warm, test = json.loads(recorded)["tables"][0]["rows"]
    assert f"all of `make book`: {cold['minutes']} min" in README
    assert f"all of `make test`: {test['minutes']} min" in README
    assert f"({setup['minutes']} min, most of it" in README
    assert f"`make book`\ntakes {warm['seconds']} s" in README


def test_the_longest_recorded_study_run_is_named():
    seconds = [json.loads(path.read_text(encoding="utf-8"))["provenance"]["seconds"]
               for path in (ROOT / "results" / "study").glob("*.json")]
    assert f"up to {math.ceil(max(seconds) / 60)} min per notebook" in README
