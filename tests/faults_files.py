"""Faults in what is handed in: parameters, claims, results files, downloads."""

from __future__ import annotations

import copy
import json
import os
import random
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import toybook
import yaml
from faults import fault, promised, refused
from toyrun import good, project, write_notebook

from wlib import claims
from wlib.book import planning
from wlib.claims import rows

KINDS = {"whole": ["x", "1.5", "", "1e3", "[1]", "null", "true", "1 2", "٣"],
         "share": ["x", "", "nan", "inf", "-inf", "[0.5]", "true", "0,5", "1e999"],
         "flag": ["1", "0", "yes", "", "[true]", "null"],
         "many": ["x", "1,x", "[1, x]", "1.5", "{a: 1}", "[[1]]", "1,,2", "[1"],
         "shares": ["x", "[nan]", "0.5,inf", "[null]", "true"]}
DEFAULTS = ("data = 'toy'\nseed = 0\nseeds = [0, 1]\ndevice = 'auto'\nwhole = 3\nshare = 0.5\n"
            "flag = True\nmany = [1, 2]\nshares = [0.5, 1.0]")


def wrong_parameters(count: int) -> Iterator[tuple[str, str]]:
    """Misspelled names and values of a wrong type, drawn at random: (name, text)."""
    draw = random.Random(0)
    while count:
        name = draw.choice(list(KINDS))
        place = draw.randrange(len(name))
        misspelled = name[:place] + draw.choice("xyz_") + name[place + 1:]
        if draw.random() < 0.5:
            yield name, draw.choice(KINDS[name])
        elif misspelled not in KINDS:
            yield misspelled, "1"
        else:
            continue
        count -= 1


@fault("files", "200 wrong parameters, drawn at random, in one process",
       "each refused by name before anything runs")
def parameters(folder: Path) -> str:
    root = project(folder, {"01-toy": good("01-toy")})
    write_notebook(root, "01-toy", *good("01-toy"), parameters=DEFAULTS)
    right = [("whole", "7"), ("share", "2"), ("flag", "false"), ("many", "[]"), ("shares", "1,2")]
    one, = planning.plan([], "smoke", right, root)
    promised(one.values["shares"] == [1.0, 2.0], "right ones")
    wrong = list(wrong_parameters(200))
    for name, text in wrong:
        refused(planning.plan, [], "smoke", [(name, text)], root, names=name)
    return f"{len(set(wrong))} different ones refused, each naming the parameter"


# ---------------------------------------------------------------- claims and results
def defects(content: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """A JSON-like value with one part of it missing or of another kind, for every part."""
    items = (content.items() if isinstance(content, dict) else enumerate(content)
             if isinstance(content, list) else ())
    for key, value in list(items):
        for bad in ("missing", None, {}, [], "", -1.5, float("nan")):
            if type(bad) is type(value) and bad == value:
                continue
            other = copy.deepcopy(content)
            if bad == "missing":
                del other[key]
            else:
                other[key] = bad
            yield (*path, key, bad), other
        for where, inner in defects(value, (*path, key)):
            yield where, (content | {key: inner} if isinstance(content, dict) else
                          [*content[:key], inner, *content[key + 1:]])


@fault("files", "a claims file with each key of a row missing, of another kind, or unknown",
       "refused, naming row and key")
def claims_file(folder: Path) -> str:
    path, count = folder / "claims.yml", 0
    for where, row in defects(toybook.ROW):
        key, bad = where[0], where[-1]
        if (key, bad) in (("margin", 1.0), ("remark", "missing"), ("remark", "")):
            continue  # these may be
        path.write_text(yaml.safe_dump([row]))
        if where[:2] == ("rule", "above") and bad == -1.5:
            continue  # a threshold may be any number
        names = str(key)
        refused(claims.load, path, names=names)
        count += 1
    rows = [toybook.ROW | {"verdict": "reproduced"}, toybook.ROW | {"id": "one"},
            toybook.ROW | {"controls": ["noise", "noise"]},
            toybook.ROW | {"rule": toybook.ROW["rule"] | {"below": 2}},
            toybook.ROW | {"rule": toybook.ROW["rule"] | {"over": "nobody"}}]
    for row in rows:
        path.write_text(yaml.safe_dump([row]))
        refused(claims.load, path, names="row 1")
    for text in ("- id: T1\n  id: T2", "a: [", "3", "[3]", yaml.safe_dump([toybook.ROW] * 2)):
        path.write_text(text)
        refused(claims.load, path, names="claims.yml")
    return f"{count + len(rows) + 5} defects refused, each naming its place"


@fault("files", "a results file with each part missing or of another kind",
       "refused, or the verdict is that of the whole file")
def results_file(folder: Path) -> str:
    path, row = folder / "01-toy.json", rows._row(toybook.ROW, "")
    whole = toybook.results()
    verdict = claims.judge(row, whole["measures"]["T1"])
    told, kept = 0, 0
    for where, results in defects(whole):
        if "values" in where and where[-1] == -1.5:
            continue  # another number, not a defect
        path.write_text(json.dumps(results))
        try:
            found = claims.judge(row, claims.load_results(path)["measures"].get("T1"))
        except ValueError:
            told += 1
            continue
        gone = "T1" not in results["measures"] and found.words == claims.NOT_MEASURED
        promised(found == verdict or gone, f"{where}: {found}")
        kept += 1
    for text in ("", "{", "[]", "3", "null"):
        path.write_text(text)
        refused(claims.load_results, path, names="01-toy.json")
    return f"{told + 5} refused; {kept} touched notes that no verdict rests on"


# ---------------------------------------------------------------- downloads
LOAD = """
import sys
from torchvision import datasets
datasets.MNIST.mirrors = [sys.argv[2]]
from wlib import data
try:
    print(len(data.load("mnist", root=sys.argv[1], download=True)))
except OSError as error:
    print("refused:", error)
"""


def _load(folder: Path, address: str) -> str:
    proxies = {f"{kind}_proxy": "" for kind in ("http", "https", "all")}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LOAD, str(folder), address],
                          capture_output=True, text=True, env=os.environ | proxies)
    promised(done.returncode == 0 and "refused:" in done.stdout, done.stdout + done.stderr[-500:])
    promised(list(folder.iterdir()) == [], f"left {list(folder.iterdir())}")
    message = done.stdout.partition("refused: ")[2].strip()
    for word in ("mnist", str(folder), "mnist5k, digits, glyphs"):
        promised(word in message, message)
    return "refused, naming set, folder and the offline sets; nothing left behind"


@fault("files", "no network for a real set",
       "a clear error that names set, folder and the offline sets", slow=True)
def no_network(folder: Path) -> str:
    return _load(folder, "http://127.0.0.1:9/")  # nothing listens there


class Half(BaseHTTPRequestHandler):
    """A server that ends in the middle of every file."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"\x1f\x8b" + bytes(50_000))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@fault("files", "a download that ends half-way", "refused, nothing half-written", slow=True)
def half_download(folder: Path) -> str:
    with socketserver.TCPServer(("127.0.0.1", 0), Half) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            return _load(folder, f"http://127.0.0.1:{server.server_address[1]}/")
        finally:
            server.shutdown()
