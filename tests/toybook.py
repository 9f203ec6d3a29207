"""A tiny book with one executed notebook: tests of the pages need not wait for real ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from wlib import claims
from wlib.book import staging

REPOSITORY = Path(__file__).resolve().parents[1]
INDEX = """# A toy book

Its {ref}`claim <claim-T1>` and [notebook](../notebooks/01-toy.ipynb).

```{figure} figures/data-flow.svg
:alt: <!-- wlib: alt data-flow -->
:name: fig-toy
How it is made.
```

$$ a = b $$ (eq-toy)

By {eq}`eq-toy` and {cite:t}`toy`, see {numref}`fig-toy`.

<!-- wlib: verdict-summary -->

## Times

<!-- wlib: times -->

<!-- wlib: benchmarks -->

```{bibliography}
```
"""
CLAIMS = "# Claims\n\n<!-- wlib: claims-table -->\n\n<!-- wlib: claims-rows -->\n"
ROW = {"id": "T1", "paper": "mge", "claim": "It works | always.", "figure": "+2 %",
       "source": "unverified", "whose": "paper", "notebook": "01-toy",
       "measure": "test accuracy", "unit": "points", "better": "higher", "controls": ["noise"],
       "margin": 1.0,
       "rule": {"quantity": "advantage", "over": "noise", "above": 1.0}, "remark": "A toy."}
IMAGE = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
         "rkJggg==")


def code(source: str, number: int | None, outputs: list[Any], **metadata: Any) -> dict[str, Any]:
    """A code cell as it is after execution."""
    return {"cell_type": "code", "id": f"cell-{number}", "metadata": metadata, "source": source,
            "execution_count": number, "outputs": outputs}


def notebook() -> dict[str, Any]:
    """The toy notebook, executed: one number printed, one picture with alt text."""
    picture = {"output_type": "display_data", "data": {"image/png": IMAGE},
               "metadata": {"alt": "One dot, as expected."}}
    printed = {"output_type": "stream", "name": "stdout", "text": "42\n"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {
        "name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"}}, "cells": [
        {"cell_type": "markdown", "id": "head", "metadata": {},
         "source": "# A toy notebook\n\nIt promises little."},
        code("seeds = [0, 1, 2]", 1, [], tags=["parameters"]),
        code("seeds = [0, 1]", 2, [], tags=["injected-parameters"]),
        code("# the answer\nprint(42)", 3, [printed]),
        {"cell_type": "markdown", "id": "mid", "metadata": {}, "source": "Now the picture."},
        code("plot()", 4, [picture]),
        code("report.measure('T1', 1)", 5, [])]}


def results(profile: str = "laptop", shift: float = 0.0) -> dict[str, Any]:
    """The toy notebook's results: the method three points above noise."""
    noise = {"values": [90.0, 90.5, 91.0], "image_se": 0.1, "difference_image_se": 0.1}
    measure = {"unit": "points", "better": "higher", "image_se": 0.1, "resampled": "toys",
               "values": [93.0 + shift, 93.6 + shift, 94.1 + shift], "controls": {"noise": noise},
               "references": {}}
    return {"schema": 1, "notebook": "01-toy", "profile": profile, "run": "r", "seeds": [0, 1, 2],
            "settings": {}, "parameters": {}, "fingerprint": "f", "measures": {"T1": measure},
            "provenance": {"commit": "0123456789", "dirty": True, "date": "2026-01-02T03:04:05",
                           "seconds": 75.0, "device": "cpu", "machine": "2 cores, x86_64",
                           "versions": {"python": "3.11", "torch": "2.14.1"}}}


def make(root: Path, profile: str = "laptop") -> Path:
    """Write the toy book under `root`, its notebook executed at a profile."""
    shutil.copytree(REPOSITORY / "book" / "static", root / "book" / "static")
    for name in ("drawings", "extensions"):
        shutil.copytree(REPOSITORY / "book" / name, root / "book" / name,
                        ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "_config.yml", root)
    source = notebook()
    source["cells"] = [cell for cell in source["cells"]
                       if "injected-parameters" not in staging.tags(cell)]
    for cell in source["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    toc = {"format": "jb-book", "root": "book/index", "parts": [{"caption": "All", "chapters": [
        {"file": "notebooks/01-toy"}, {"file": "book/claims"}]}]}
    benchmarks = {"provenance": {"machine": "a toy"}, "tables": [
        {"title": "Counting", "command": "wlib bench", "rows": [{"to": 1000, "seconds": 0.25}]}]}
    for path, content in {
        "_toc.yml": yaml.safe_dump(toc), "book/index.md": INDEX, "book/claims.md": CLAIMS,
        "book/claims.yml": yaml.safe_dump([ROW]), f"profiles/{profile}.yml": "01-toy: {}\n",
        "book/references.bib": "@misc{toy, author={A. Toy}, title={Toys}, year={2026}}\n",
        "notebooks/01-toy.ipynb": json.dumps(source),
        f"_build/{profile}/executed/01-toy.ipynb": json.dumps(notebook()),
        f"_build/{profile}/results/01-toy.json": claims.dumps(results(profile)),
        "results/benchmarks.json": json.dumps(benchmarks),
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf8")
    return root
