"""The command `wlib`: run notebooks, build the book from them, record results, time, clean."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from wlib import claims
from wlib.book import planning, recording, rehearse, runner, warming
from wlib.book.progress import Heard, duration, open_streams, silence
from wlib.claims import consistency
from wlib.ground import entries

app = typer.Typer(name="wlib", help=__doc__, no_args_is_help=True, add_completion=False,
                  pretty_exceptions_enable=False, rich_markup_mode=None)

Profile = Annotated[str, typer.Option("--profile", help="A file of profiles/, without .yml.")]
Names = Annotated[list[str] | None, typer.Argument(
    metavar="[NOTEBOOK]...", help="Names, or the numbers they begin with; all if none is given.")]
Jobs = Annotated[int | None, typer.Option(
    "--jobs", help="Notebooks to run at once, one thread each. [default: 2, or 1 on one core]")]
Force = Annotated[bool, typer.Option("--force", help="Run also what has not changed.")]
Given = Annotated[list[str] | None, typer.Option(
    "-p", metavar="NAME VALUE", help="A parameter's value instead of the profile's.")]


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Bad input ends with one clear line and status 2, Ctrl-C with status 130.

    Where nobody reads on (`wlib run | head`), the status is 141, as that of other commands is.
    """
    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            silence(sys.stdout)
            raise SystemExit(128 + signal.SIGPIPE) from None
        except (ValueError, OSError) as error:
            complain(f"wlib: {error}")
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            complain("wlib: stopped; what had finished is kept, the same line goes on from there")
            raise SystemExit(130) from None
    return wrapper


def complain(text: str) -> None:
    """Say on standard error what went wrong, if anybody reads it."""
    print(text, file=Heard(sys.stderr), flush=True)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def execute(names: list[str], profile: str, given: list[tuple[str, str]], jobs: int | None,
            force: bool, cell_timeout: float | None, timeout: float | None) -> bool:
    """Plan, run and print the summary; whether all is well."""
    plans = planning.plan(names, profile, given)
    jobs = min(2, cores()) if jobs is None else jobs
    outcomes = runner.run(plans, jobs=jobs, force=force, cell_limit=cell_timeout, limit=timeout)
    typer.echo(runner.summary(outcomes, profile))
    return all(one.status != "failed" for one in outcomes)


CellTimeout = Annotated[float | None, typer.Option(help="Seconds that a cell may take.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds that a notebook may take.")]


@app.command()
@guarded
def run(names: Names = None, profile: Profile = "laptop", given: Given = None, jobs: Jobs = None,
        force: Force = False, cell_timeout: CellTimeout = None, timeout: Timeout = None) -> None:
    """Run the notebooks that have changed since they last ran."""
    if not execute(names or [], profile, pairs(given), jobs, force, cell_timeout, timeout):
        raise typer.Exit(1)


@app.command()
@guarded
def warm(name: Annotated[str, typer.Argument(metavar="NOTEBOOK")],
         seeds: Annotated[str, typer.Option(help="A:B, the seeds from A to B-1.")],
         profile: Profile = "laptop", given: Given = None, jobs: Jobs = None,
         dask: Annotated[str | None, typer.Option(
             help="Address of a Dask scheduler whose workers share the store's folder.")] = None,
         cell_timeout: CellTimeout = None, timeout: Timeout = None) -> None:
    """Fill the store: run a notebook once per seed, at many places, and keep no outputs."""
    plans = warming.plan(name, profile, warming.read_seeds(seeds), pairs(given))
    limits = runner.limits_of(profile, cell_timeout, timeout)
    if dask is None:
        outcomes = warming.run(plans, limits, min(2, cores()) if jobs is None else jobs)
    elif jobs is not None:
        raise ValueError("warm: got both --jobs and --dask, want one of them")
    else:
        outcomes = warming.run_on_cluster(plans, limits, dask)
    typer.echo(runner.summary(outcomes, profile))
    if any(one.status == "failed" for one in outcomes):
        raise typer.Exit(1)


@app.command(name="rehearse")
@guarded
def rehearse_(names: Names = None, profile: Profile = "gpu", given: Given = None,
              jobs: Jobs = None, force: Force = False, cell_timeout: CellTimeout = None,
              timeout: Timeout = None) -> None:
    """Run notebooks on the CPU with a profile's shapes and the counts of profile smoke."""
    parts = rehearse.plan(names or [], profile, pairs(given))
    for line in rehearse.notes(parts):
        typer.echo(line)
    outcomes, memory = rehearse.run(parts, jobs=min(2, cores()) if jobs is None else jobs,
                                    force=force, cell_limit=cell_timeout, limit=timeout)
    typer.echo(rehearse.summary(parts, outcomes, memory))
    if any(one.status == "failed" for one in outcomes):
        raise typer.Exit(1)


def pairs(given: list[str] | None) -> list[tuple[str, str]]:
    """Names and values of the options -p."""
    return [(name, value) for name, _, value in (text.partition("=") for text in given or [])]


@app.command()
@guarded
def build(profile: Profile = "laptop",
          open: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False
          ) -> None:
    """Build the pages of the book from notebooks that have run."""
    typer.echo(pages_of(profile, open))


def pages_of(profile: str, open: bool = False) -> str:
    """Build the pages; refuses notebooks that have not run, failed, or changed since."""
    wrong = recording.problems(profile)
    if wrong:
        lines = "".join(f"\n  {name}: {why}" for name, why in wrong.items())
        raise ValueError(f"profile {profile} cannot be built:{lines}\n"
                         f"run: wlib run --profile {profile}")
    from wlib.book import pages  # late, because running notebooks needs none of it

    return str(pages.build(profile, open=open, root=claims.project_root()))


@app.command()
@guarded
def book(profile: Profile = "laptop", jobs: Jobs = None, force: Force = False) -> None:
    """Run what has changed, then build the book: what `make book` does."""
    import time

    begun = time.monotonic()
    if not execute([], profile, [], jobs, force, None, None):
        complain("the book was not built, because a notebook failed")
        raise typer.Exit(1)
    index = pages_of(profile)
    typer.echo(f"in all {duration(time.monotonic() - begun)}; the book: {index}")


@app.command()
@guarded
def record(names: Names = None, profile: Profile = "laptop",
           brought: Annotated[Path | None, typer.Option(
               "--from", help="A folder of results that another machine made.")] = None) -> None:
    """Copy results of finished runs to results/, to be committed."""
    for path in recording.record(profile, names or [], brought=brought):
        typer.echo(path)


@app.command()
@guarded
def check(strict: Annotated[bool, typer.Option("--strict", help="Fail also for recorded runs that "
                                               "are older than the code.")] = False,
          links: Annotated[bool, typer.Option("--links", help="Ask the network for every link of "
                                              "the built pages to another host.")] = False,
          as_json: Annotated[bool, typer.Option("--json", help="Print each claim's answers for a "
                                                "program.")] = False) -> None:
    """Hold claims, results and verdicts against each other; status 1 if anything is wrong."""
    found = consistency.check(claims.project_root())
    if links:
        dead, unsure = outer_links()
        found.wrong += dead
        found.notes += [f"{one}: look at it in a browser" for one in unsure]
    for kind, lines in (("note", found.notes), ("stale", found.stale), ("WRONG", found.wrong)):
        for line in lines:
            typer.echo(f"{kind}: {line}", err=as_json)
    if as_json:
        typer.echo(json.dumps({"rows": found.rows + found.second, "wrong": len(found.wrong),
                               "stale": len(found.stale)}, indent=1))
    else:
        tell_answers(found)
    if found.wrong or strict and found.stale:
        raise typer.Exit(1)


def tell_answers(found: consistency.Findings) -> None:
    """How many recorded claims have which answers, and how many things are wrong."""
    for rows, where in ((found.rows, ""), (found.second, "on the second data set, ")):
        for key, (question, answers) in claims.QUESTIONS.items() if rows else ():
            given = [row[key] for row in rows]
            counts = ", ".join(f"{given.count(words)} {words}" for words in answers)
            typer.echo(f"{where}{question} {counts}")
    typer.echo(f"{len(found.wrong)} wrong, {len(found.stale)} stale")


def outer_links() -> tuple[list[str], list[str]]:
    """Dead links of the pages built last, and links that a program cannot judge."""
    from wlib.book import pagecheck

    built = sorted(claims.project_root().glob("_build/*/html/index.html"),
                   key=lambda path: path.stat().st_mtime)
    if not built:
        raise ValueError("check: --links: got no built pages, want some; run: wlib build")
    return pagecheck.dead_outer_links(built[-1].parent)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@guarded
def bench(context: typer.Context) -> None:
    """Time the library and print the tables (arguments go to benchmarks/run.py)."""
    script = claims.project_root() / "benchmarks" / "run.py"
    if not script.exists():
        raise ValueError(f"{script}: not there; run this in the book's folder")
    raise typer.Exit(subprocess.run([sys.executable, str(script), *context.args]).returncode)


@app.command()
@guarded
def clean(profile: Annotated[str | None, typer.Option(help="Only this one.")] = None) -> None:
    """Remove what was built; costly results in the store are kept."""
    typer.echo(f"removed {recording.clean(profile)}")


# ---------------------------------------------------------------- the store
shelf = typer.Typer(help="What is kept of costly results, and what of it may go.")
app.add_typer(shelf, name="store")
Function = Annotated[str | None, typer.Option(
    help="Only what this function made, such as train._fit_one.")]


@shelf.callback(invoke_without_command=True)
@guarded
def store(context: typer.Context) -> None:
    """Without a command: the folder, its size, and each function's share."""
    if context.invoked_subcommand is None:
        found = entries.entries()
        by_name: dict[str, list[entries.Entry]] = {}
        for entry in found:
            by_name.setdefault(entry.function, []).append(entry)
        for name, own in sorted(by_name.items()):
            typer.echo(f"{total(own):>24}  {name}")
        typer.echo(f"{total(found):>24}  in {entries.root()}")


def total(found: Sequence[entries.Entry]) -> str:
    """'3 entries, 1.5 MB'."""
    word = "entry" if len(found) == 1 else "entries"
    return f"{len(found)} {word}, {entries.size_words(sum(entry.size for entry in found))}"


def tell(found: Sequence[entries.Entry]) -> None:
    """A line per entry: size, days since it was used, what it took to make, what made it."""
    for entry in found:
        took = duration(entry.made["seconds"]) if entry.made else "–"
        typer.echo(f"{entries.size_words(entry.size):>9}  used {entry.days:.0f} days ago"
                   f"  made in {took:>8}  {entry.words()}")


@shelf.command("list")
@guarded
def list_entries(function: Function = None) -> None:
    """What lies in the store, and what made each entry; the last used first."""
    found = entries.entries(function)
    tell(found)
    typer.echo(f"{total(found)} in {entries.root()}")


@shelf.command()
@guarded
def prune(function: Function = None,
          older_than: Annotated[float | None, typer.Option(
              help="Only what was last used so many days ago.")] = None,
          unreachable: Annotated[bool, typer.Option("--unreachable", help="Only what the code and "
                                 "the packages of today could never ask for again.")] = False,
          keep: Annotated[str | None, typer.Option(help="Delete the longest unused until no more "
                                                   "than this is left, such as 2GB.")] = None,
          dry_run: Annotated[bool, typer.Option("--dry-run",
                                                help="Only say what would go.")] = False) -> None:
    """Delete what meets every condition given; it will be made again when it is needed."""
    if function is None and older_than is None and keep is None and not unreachable:
        raise ValueError("prune: got no condition, want at least one of --function, --older-than, "
                         "--unreachable, --keep (--keep 0B deletes everything)")
    going = entries.choose(entries.entries(function), older_than=older_than,
                           unreachable=unreachable,
                           keep=None if keep is None else entries.read_size(keep))
    if dry_run:
        tell(going)
        typer.echo(f"would delete {total(going)}")
        return
    gone = entries.delete(going)
    kept = f"; {total([e for e in going if e not in gone])} in use or protected stay" * (
        len(gone) < len(going))
    typer.echo(f"deleted {total(gone)}{kept}")


# ---------------------------------------------------------------- the command line
def joined(arguments: Sequence[str]) -> list[str]:
    """`-p name value` as `-p name=value`, because typer's options take one word each."""
    words, result = list(arguments), []
    while words:
        word = words.pop(0)
        result.append(word)
        if word == "-p" and words and "=" not in words[0]:
            if len(words) == 1 or not words[0].isidentifier():
                raise ValueError(f"-p: got {' '.join(words[:2])!r}, want a name and a value")
            result.append(f"{words.pop(0)}={words.pop(0)}")
    return result


@guarded
def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    open_streams()
    app(joined(sys.argv[1:] if arguments is None else arguments), prog_name="wlib")


if __name__ == "__main__":
    main()  # python -m wlib
