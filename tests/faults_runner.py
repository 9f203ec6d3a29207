"""Faults that befall a run: papermill's traps, kills at any moment, full disks, clocks."""

from __future__ import annotations

import functools
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from faults import fault, first, homeless, promised, refused, remount, small_disk
from toyrun import cell, good, is_alive, project, until, wlib, write_notebook

from wlib import claims
from wlib.book import planning, recording

KILLS = 20


# ---------------------------------------------------------------- papermill's traps
class Trap(NamedTuple):
    """A notebook that must fail, and the words that say why; what bare papermill makes of it."""

    fault: str
    cells: list[Any]
    message: str
    silent: bool  # whether bare papermill ends well


TRAPS = {
    "02-error": Trap("an error in a cell", ["before = 1\n1 / 0", "print('never')"],
                     "code cell 2: ZeroDivisionError: division by zero", False),
    "03-exit": Trap("SystemExit(0) in a cell", ["raise SystemExit(0)", *good("03-exit")],
                    "code cell 2: SystemExit: 0", True),
    "04-allowed": Trap("an error in a cell tagged raises-exception",
                       [cell("1 / 0", "raises-exception"), *good("04-allowed")],
                       "code cell 2: ZeroDivisionError", False),
    "05-skipped": Trap("a cell tagged skip-execution",
                       [cell("x = 1", "skip-execution"), *good("05-skipped")],
                       "code cell 2: not run", True),
    "06-silent": Trap("a notebook that reports no results", ["1"],
                      "results file: got 'none'", True),
    "07-foreign": Trap("a results file from another run", [
        *good("07-foreign"), "import os, pathlib\np = pathlib.Path(os.environ['WLIB_RESULTS'])\n"
        "p.write_text(p.read_text().replace(os.environ['WLIB_RUN'], 'other'))"],
        "run of the results file: got 'other'", False),
    "08-killed": Trap("a kernel killed, as when memory runs out",
                      ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)"],
                      "code cell 2: kernel died: the kernel was killed (signal 9)", False),
    "10-quit": Trap("exit() in a cell", ["exit()", *good("10-quit")],
                    "code cell 2: SystemExit: exit()", False),
    "11-memory": Trap("memory that the system refuses", [
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\n"
        "all_of_it = bytearray(2**33)"], "code cell 2: MemoryError", False),
    "12-last": Trap("exit() in the last cell", [*good("12-last"), "quit()"],
                    "code cell 3: SystemExit: exit()", False),
    "13-gone": Trap("os._exit(0) in the last cell", [*good("13-gone"), "import os; os._exit(0)"],
                    "kernel died: the kernel ended by itself", False),
}
GOOD = {"01-good": good("01-good", "import os; os.environ['OMP_NUM_THREADS']",
                        "import sys; print('kernel', sys.executable)"),
        "09-good": good("09-good", "print('end')")}


@functools.cache
def trapped() -> tuple[Path, subprocess.CompletedProcess[str]]:
    """All traps and two good notebooks, run once: the project's folder and the finished command."""
    folder = Path(tempfile.mkdtemp(prefix="a book "))  # a folder's name may have a space
    notebooks = GOOD | {name: trap.cells for name, trap in TRAPS.items()}
    root = project(folder, dict(sorted(notebooks.items())))
    return root, wlib(root, "run", "--profile", "smoke", "--jobs", "2")


def _trap(name: str) -> None:
    trap = TRAPS[name]

    @fault("run", trap.fault, "the notebook fails by name, the others run")
    def attempt(_: Path) -> str:
        root, done = trapped()
        line = next(line for line in done.stdout.splitlines() if line.startswith(name))
        promised("FAILED" in line and trap.message in line, line)
        promised(done.returncode == 1 and " done " in done.stdout, "status or the good notebooks")
        promised(not (root / "_build/smoke/results" / f"{name}.json").exists(), "results are there")
        bare = "; bare papermill ends well" if trap.silent else ""
        return trap.message.removesuffix(": got 'none'") + bare


for _name in TRAPS:
    _trap(_name)

BARE = """
import sys, papermill, warnings
warnings.simplefilter("ignore")
for path in sys.argv[1:]:
    try:
        papermill.execute_notebook(path, path + ".out", kernel_name="python3", progress_bar=False,
                                   parameters=dict(sede=1, device=5))
        print(path, "ended well")
    except Exception as error:
        print(path, type(error).__name__)
"""


@fault("run", "the same traps, a misspelled parameter and a wrong type under bare papermill",
       "they are traps: papermill ends well")
def bare_papermill(folder: Path) -> str:
    root, _ = trapped()
    names = [name for name, trap in TRAPS.items() if trap.silent]
    paths = [str(root / "notebooks" / f"{name}.ipynb") for name in names]
    done = subprocess.run([sys.executable, "-c", BARE, *paths], capture_output=True, text=True,
                          cwd=folder, env=os.environ | {"WLIB_RESULTS": str(folder / "r.json")})
    for path in paths:
        promised(f"{path} ended well" in done.stdout, done.stdout + done.stderr[-500:])
    return f"{len(paths)} notebooks ended well that wlib run refuses"


@fault("run", "a cell that never ends", "ended, with the cell named and shown")
def endless(folder: Path) -> str:
    root = project(folder, {"01-slow": ["import time\ntime.sleep(600)"]})
    done = wlib(root, "run", "--profile", "smoke", "--cell-timeout", "1")
    message = "code cell 2: time-out: the cell took more than 1 s"
    promised(message in done.stdout and done.returncode == 1, done.stdout)
    promised("    time.sleep(600)" in done.stderr, done.stderr)
    return message


WRONG_CELLS = {
    "no parameters cell": lambda root: _untag(root),
    "a tag on prose (papermill injects after it)": lambda root: write_notebook(
        root, "01-toy", cell("text", "parameters", kind="markdown"), *good("01-toy")),
    "parameters injected in an earlier run": lambda root: write_notebook(
        root, "01-toy", cell("seed = 5", "injected-parameters"), *good("01-toy")),
    "a parameter set again": lambda root: write_notebook(root, "01-toy", "seed = 5"),
    "a computed default": lambda root: write_notebook(root, "01-toy", parameters="seed = 1 + f()"),
}


def _untag(root: Path) -> None:
    path = write_notebook(root, "01-toy", *good("01-toy"))
    path.write_text(path.read_text().replace('"parameters"', '"other"'))


@fault("run", "; ".join(WRONG_CELLS), "refused before anything runs")
def wrong_cells(folder: Path) -> str:
    root = project(folder, {"01-toy": good("01-toy")})
    planning.plan([], "smoke", root=root)
    for damage in WRONG_CELLS.values():
        damage(root)
        refused(planning.plan, [], "smoke", (), root, names="01-toy.ipynb: ")
    return f"{len(WRONG_CELLS)} refused, each naming the notebook and the cell"


# ---------------------------------------------------------------- killed at any moment
COUNTING = ["import random\nnumbers = random.Random(seed)\nvalues = [numbers.random() + rate for _ "
            "in seeds]\nprint(values)", "from wlib import claims\nreport = claims.Report('01-toy', "
            "seeds=seeds)\nreport.measure('x', values, unit='points')\nreport.save()"]


def outcome(root: Path) -> dict[str, Any]:
    """What a reader would see of the toy's run: outputs and measures; None where there is none."""
    folder = planning.Folder(root, "smoke")
    try:
        executed = json.loads(folder.executed("01-toy").read_text())
        outputs = [cell["outputs"] for cell in executed["cells"] if cell["cell_type"] == "code"]
    except FileNotFoundError:
        outputs = None
    there = folder.results("01-toy").exists()
    results = claims.load_results(folder.results("01-toy")) if there else None
    return {"outputs": outputs, "measures": results and results["measures"]}


def family(process: subprocess.Popen) -> list[psutil.Process]:
    """A process and all that it started, as far as they still run."""
    try:
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kills(seed: int, longest: float) -> Iterator[tuple[float, float]]:
    """Moments (seconds after the start) and which process of those that run, as a fraction."""
    draw = random.Random(seed)
    for number in range(KILLS):  # one moment in each slice of the run, so that all of it is tried
        yield (number + draw.random()) / KILLS * longest, draw.random()


@fault("run", f"kill -9 of command, executor or kernel at {KILLS} random moments",
       "nothing half-written; the same command then gives what an unbroken run gives")
def killed(folder: Path) -> str:
    root = project(folder, {"01-toy": COUNTING})
    begun = time.monotonic()
    promised(wlib(root, "run", "--profile", "smoke").returncode == 0, "the unbroken run")
    longest, unbroken = time.monotonic() - begun, outcome(root)
    ended_early, names = 0, set()
    for moment, which in kills(0, longest):
        recording.clean("smoke", root)
        process = subprocess.Popen([sys.executable, "-m", "wlib", "run", "--profile", "smoke"],
                                   cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moment)
        running = family(process)
        if running:
            target = running[int(which * len(running))]
            names.add(running.index(target))
            os.kill(target.pid, signal.SIGKILL)
        status = process.wait(60)
        ended_early += status != 0
        _nothing_half_written(root, unbroken)
        again = wlib(root, "run", "--profile", "smoke")
        promised(again.returncode == 0, again.stdout + again.stderr)
        promised(outcome(root) == unbroken, f"after {moment:.2f} s: {outcome(root)}")
    promised(ended_early >= KILLS // 2 and len(names) >= 2, "too few kills hit a run")
    return f"{ended_early} of {KILLS} runs were broken; every second run equaled the unbroken one"


def _nothing_half_written(root: Path, unbroken: dict[str, Any]) -> None:
    """What has its final name is whole, and what is called unchanged is all there."""
    seen = outcome(root)
    for key, value in seen.items():
        promised(value in (None, unbroken[key]), f"half-written: {key}: {value}")
    one, = planning.plan([], "smoke", root=root)
    if planning.unchanged(one, planning.Folder(root, "smoke")):
        promised(seen == unbroken, "called unchanged, but it is not there")


# ---------------------------------------------------------------- disks and clocks
@fault("run", "a disk that is full", "the notebook fails by name, nothing half-written")
def full_disk(folder: Path) -> str:
    noise = "import random; print(random.Random(0).randbytes(400_000).hex())"
    with small_disk(folder / "disk", "600k") as disk:
        root = project(disk / "book", {"01-toy": good("01-toy", noise)})
        done = wlib(root, "run", "--profile", "smoke")
        promised(done.returncode == 1, done.stdout + done.stderr)
        promised("No space left on device" in done.stdout + done.stderr, done.stderr)
        promised(outcome(root) == {"outputs": None, "measures": None}, "half-written")
    return "FAILED, No space left on device; no outcome was kept"


@fault("run", "a file-size limit (as a quota gives)", "the notebook fails by name, nothing kept")
def quota(folder: Path) -> str:
    root = project(folder, {"01-toy": good("01-toy", "print('x' * 200_000)")})
    limit = ("import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2); "
             "sys.argv[1:] = ['run', '--profile', 'smoke']; from wlib.book.cli import main; main()")
    done = subprocess.run([sys.executable, "-c", limit], cwd=root, capture_output=True, text=True)
    promised(done.returncode == 1 and "File too large" in done.stdout + done.stderr, done.stderr)
    promised(outcome(root) == {"outputs": None, "measures": None}, "half-written")
    return "FAILED, File too large; no outcome was kept"


@fault("run", "an output folder that is read-only", "one clear line before anything runs")
def read_only(folder: Path) -> str:
    with small_disk(folder / "disk", "1m") as disk:
        root = project(disk / "book", {"01-toy": good("01-toy")})
        remount(disk, "ro")
        done = wlib(root, "run", "--profile", "smoke")
    promised(done.returncode == 2 and "started" not in done.stderr, done.stderr)
    promised(done.stderr.startswith("wlib: ") and "Read-only file system" in done.stderr and
             "Traceback" not in done.stderr, done.stderr)
    return "refused: Read-only file system, with the path"


LOCKLESS = """
import errno, fcntl, os
def flock(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = flock
"""


@fault("run", "an output folder on a file system without locks (ENOLCK)",
       "the run goes on and says once that there is no lock")
def no_locks(folder: Path) -> str:
    root = project(folder / "book", {"01-toy": COUNTING})
    lockless = first(folder / "first", LOCKLESS,
                     "import fcntl; print(fcntl.flock.__module__ != 'fcntl')")
    done = wlib(root, "run", "--profile", "smoke", env=lockless)
    promised(done.returncode == 0 and outcome(root)["measures"] is not None, done.stderr)
    promised(done.stderr.count("has no locks") == 1, done.stderr)
    return "said once, and run; the outcome was kept"


KEEPING = ["import matplotlib.pyplot\nfrom wlib import store\ndef give(number):\n    return number"
           "\nvalues = [store.cached(give, seed) for seed in seeds]\nprint(values)", *COUNTING[1:]]


@fault("run", "a user without a name and a home folder, or with one that cannot be written",
       "the run goes on; what the machine lacks is said once, and on no page")
def no_home(folder: Path) -> str:
    root = project(folder / "book", {"01-toy": KEEPING,
                                     "02-toy": [KEEPING[0], *good("02-toy")]})
    outcomes = []
    for environment in homeless(folder):
        recording.clean("smoke", root)
        done = wlib(root, "run", "--profile", "smoke", env=environment)
        promised(done.returncode == 0, done.stdout + done.stderr)
        promised(done.stderr.count("cannot keep results") == 1, done.stderr)
        outcomes.append(outcome(root))
        printed = [output["text"] for output in outcomes[-1]["outputs"][1]]
        promised(printed == [["[0, 1, 2]\n"]] and outcomes[-1] == outcomes[0], str(printed))
    return "the run ended well; one line on the terminal, none on a page"


BACKWARDS = """
import time
real, begun = time.time, time.time()
time.time = lambda: begun - 1000 * (real() - begun)
time.time_ns = lambda: int(1e9 * time.time())
"""


@fault("run", "a clock that runs backwards a thousand times too fast",
       "same result; what changed is run again, what did not is not")
def clock(folder: Path) -> str:
    root = project(folder / "book", {"01-toy": COUNTING})
    backwards = first(folder / "first", BACKWARDS, "import time; a = time.time(); time.sleep(.01); "
                      "print(time.time() < a)")
    words = []
    for change in ("", "", "x = 1"):
        if change:
            write_notebook(root, "01-toy", change, *COUNTING)
        done = wlib(root, "run", "--profile", "smoke", env=backwards)
        promised(done.returncode == 0, done.stdout + done.stderr)
        words.append(done.stdout.split()[1])
        seen = outcome(root)["measures"]
        for path in (root / "_build").rglob("*.*"):
            os.utime(path, (time.time() + 1e8,) * 2)   # files from the future
    promised(words == ["done", "unchanged", "done"], str(words))
    expected = random.Random(0)
    promised(seen["x"]["values"] == [expected.random() + 0.5 for _ in range(3)], str(seen))
    return "run, unchanged, run again after a change; same numbers"


# ---------------------------------------------------------------- terminals and pipes
def shell(root: Path, line: str) -> str:
    """What a shell prints for a line in which "wlib" is the command."""
    quoted = f"{shlex.quote(sys.executable)} -m wlib run --profile smoke"
    done = subprocess.run(["bash", "-c", line.replace("wlib", quoted)], cwd=root, text=True,
                          capture_output=True, timeout=300)
    promised("Traceback" not in done.stderr and "Broken pipe" not in done.stderr, done.stderr)
    return done.stdout


@fault("run", "a reader that goes away: wlib run | head, of the summary and of what is under way",
       "silence and the status of a broken pipe; the outcome is kept")
def gone_reader(folder: Path) -> str:
    root = project(folder, {"01-toy": COUNTING})
    for line in ("wlib | true; echo ${PIPESTATUS[0]}", "wlib 2>&1 | true; echo ${PIPESTATUS[0]}"):
        recording.clean("smoke", root)
        promised(shell(root, line) == "141\n", line)
        promised(outcome(root)["measures"] is not None, f"no outcome: {line}")
    return "status 141 and not a word; the outcome was kept"


@fault("run", "a start without standard input, output and errors, or with one of them",
       "the run and its status as always")
def no_streams(folder: Path) -> str:
    root = project(folder, {"01-toy": COUNTING})
    for closed in ("<&- >&- 2>&-", "2>&-", "<&-"):
        recording.clean("smoke", root)
        promised(shell(root, f"wlib {closed} | cat > /dev/null; echo ${{PIPESTATUS[0]}}") == "0\n",
                 closed)
        promised(outcome(root)["measures"] is not None, f"no outcome: {closed}")
    return "status 0, the outcome was kept"


@fault("run", "a terminal that is closed while nohup wlib run works", "the run goes on to its end")
def hung_up(folder: Path) -> str:
    root = project(folder, {"01-toy": ["import pathlib, time\npathlib.Path('begun').touch()\n"
                                       "time.sleep(2)", *COUNTING]})
    ours, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wlib", "run", "--profile", "smoke"], cwd=root, stdin=terminal,
        stdout=subprocess.DEVNULL, stderr=terminal,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # all that nohup does
    os.close(terminal)
    until(lambda: (root / "notebooks" / "begun").exists())
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    promised(process.wait(60) == 0 and outcome(root)["measures"] is not None, "it ended")
    return "the signal was ignored, the outcome was kept"


# ---------------------------------------------------------------- the user's own settings
LOOKING = """
import builtins, os, sys, time
import matplotlib
print(getattr(builtins, "planted", "nothing"), __debug__, hash("a"), time.tzname, sys.warnoptions)
print(matplotlib.get_backend(auto_select=False), matplotlib.get_configdir() == os.getcwd())
print({key: str(value) for key, value in matplotlib.rcParams.items()})
print(sorted(os.environ))
values = [matplotlib.rcParams["lines.linewidth"] + len(getattr(builtins, "planted", ""))] * 3
"""
PLANTED = "import builtins; builtins.planted = getattr(builtins, 'planted', '') + {!r}"


def settings(folder: Path) -> dict[str, str]:
    """Variables and files of a user who has set all that can be set, each of which shows."""
    home = folder / "home"
    for path, text in {
        "python.py": PLANTED.format("PYTHONSTARTUP "), "rc": "lines.linewidth: 7",
        ".config/matplotlib/matplotlibrc": "lines.linewidth: 8\nfigure.max_open_warning: 3",
        ".ipython/profile_default/startup/00.py": PLANTED.format("IPython "),
        ".ipython/profile_default/ipython_config.py":
            f"c.InteractiveShellApp.exec_lines = [{PLANTED.format('configuration ')!r}]",
    }.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    return {"HOME": str(home), "IPYTHONDIR": str(home / ".ipython"), "PYTHONOPTIMIZE": "2",
            "PYTHONSTARTUP": str(home / "python.py"), "PYTHONHASHSEED": "7",
            "PYTHONWARNINGS": "once", "MATPLOTLIBRC": str(home / "rc"), "MPLBACKEND": "svg",
            "TZ": "Asia/Tokyo", "LC_ALL": "C", "COLUMNS": "20", "GIT_DIR": str(folder / "x"),
            "WLIB_RUN": "other", "WLIB_NOTEBOOK": "other", "WLIB_RESULTS": str(home / "other.json")}


def run_with(root: Path, own: dict[str, str]) -> dict[str, Any]:
    """Outcome and fingerprint of the toy, run with variables of the user's own."""
    plain = {key: value for key, value in os.environ.items() if key not in settings(root.parent)}
    recording.clean("smoke", root)
    done = wlib(root, "run", "--profile", "smoke", env=plain | {"HOME": str(root.parent)} | own)
    promised(done.returncode == 0, done.stdout + done.stderr)
    entry = planning.Folder(root, "smoke").runs()["01-toy"]
    return outcome(root) | {"fingerprint": entry["fingerprint"]}


@fault("run", "start-up files and settings of Python, IPython and Matplotlib, by variables, in the "
       "user's folder and in the notebook's", "outputs, numbers and fingerprint as without them")
def own_settings(folder: Path) -> str:
    root = project(folder / "book", {"01-toy": [LOOKING, *COUNTING[1:]]})
    without = run_with(root, {})
    promised("nothing True" in str(without["outputs"]), f"the plain run: {without['outputs']}")
    (root / "notebooks" / "matplotlibrc").write_text("lines.linewidth: 9\ntimezone: Asia/Tokyo")
    planted = run_with(root, settings(folder))
    promised(planted == without, f"{planted} is not {without}")
    return "none of them reached the kernel"


@fault("run", "Ctrl-C", "kernels end, nothing half-written, status 130")
def interrupted(folder: Path) -> str:
    sleep = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
    root = project(folder, {"01-toy": [sleep + "time.sleep(99)"]})
    process = subprocess.Popen([sys.executable, "-m", "wlib", "run", "--profile", "smoke"],
                               cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid = root / "notebooks" / "pid"
    until(lambda: pid.exists() and pid.read_text())
    process.send_signal(signal.SIGINT)
    promised(process.wait(30) == 130, "status")
    until(lambda: not is_alive(int(pid.read_text())), 10)
    promised(outcome(root) == {"outputs": None, "measures": None}, "half-written")
    return "status 130, no kernel left, no outcome kept"
