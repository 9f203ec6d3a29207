"""What kinds of parameters the notebooks have: the values that each accepts, and what is cut.

`book/parameters.yml` names a kind for every parameter of every notebook. A profile and the command
line are held against it before anything runs, and a rehearsal (`rehearse`) learns from it
which values give a network its shape and which only say how often, or how many:

    "*":                            # all notebooks; a later block is for some, and wins
      epochs: count
    "33-*":
      count: {kind: batch, rehearse: 18}
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wlib import claims
from wlib.check import require, require_one_of, whole

Accepts = Callable[[str, Any], None]    # where, value: `ValueError` unless it is accepted
DEVICE = re.compile(r"auto|cpu|(cuda|mps|xpu)(:\d+)?")
STUDENTS = ("student from source A", "joined shape from scratch")


@dataclass(frozen=True)
class Kind:
    """What a parameter accepts; whether a rehearsal cuts it, and whether so many are held at once.

    `there(name)` raises `FileNotFoundError` for images that are not installed; `stand_in` says by
    which name others of the same shape are drawn.
    """

    accepts: Accepts
    cut: bool = False
    held: bool = False
    there: Callable[[str], Any] | None = None
    stand_in: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """The kind of a notebook's parameter, and its value in rehearsals if the kind is not to say."""

    kind: Kind
    rehearse: Any = None


# ---------------------------------------------------------------- numbers and lists
def at_least(least: int) -> Accepts:
    """A whole number of at least so much."""
    def accepts(where: str, value: Any) -> None:
        require(whole(value, least), where, value, f"a whole number ≥ {least}")
    return accepts


def latent(where: str, value: Any) -> None:
    """Numbers of a latent; beside a fraction, in one list with it, 64 is 64.0."""
    require(value >= 1 and value == int(value), where, value, "a whole number ≥ 1")


def even(where: str, value: Any) -> None:
    """An even whole number."""
    require(whole(value, 2) and value % 2 == 0, where, value, "an even whole number ≥ 2")


def above_0(where: str, value: Any, most: float = float("inf")) -> None:
    """A number above 0."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= most
    require(fits, where, value, "a number above 0" + (f", at most {most:g}" if most < 1e9 else ""))


def share(where: str, value: Any) -> None:
    """A part of a whole."""
    above_0(where, value, 1)


def each(accepts: Accepts, least: int = 1) -> Accepts:
    """A list of at least so many values of a kind, all different."""
    def listed(where: str, value: Any) -> None:
        require(isinstance(value, (list, tuple)) and len(value) >= least, where, value,
                f"a list of {least} or more")
        for place, one in enumerate(value):
            accepts(f"{where}[{place}]", one)
            require(one not in value[:place], where, value, "each value once")
    return listed


def row(*parts: Accepts) -> Accepts:
    """A list of just so many values, each of its own kind."""
    def listed(where: str, value: Any) -> None:
        require(isinstance(value, (list, tuple)) and len(value) == len(parts), where, value,
                f"a list of {len(parts)}")
        for place, (accepts, one) in enumerate(zip(parts, value, strict=True)):
            accepts(f"{where}[{place}]", one)
    return listed


def energies(where: str, value: Any) -> None:
    """Shares among which is the one that a notebook's findings are told at."""
    each(share)(where, value)
    require(0.95 in value, where, value, "shares of the energy with 0.95 among them")


def shares(where: str, value: Any) -> None:
    """Shares of channels, among which one is small enough to tell a finding at."""
    each(share)(where, value)
    require(min(value) <= 0.8, where, value, "shares of the channels, one of them at most 0.8")


def rising(where: str, value: Any) -> None:
    """Numbers of steps, the first of which is none."""
    each(at_least(0))(where, value)
    require(value[0] == 0 and list(value) == sorted(value), where, value,
            "numbers of steps that rise from 0")


# ---------------------------------------------------------------- names
def device(where: str, value: Any) -> None:
    """What `nets.resolve_device` knows; whether it is there, the machine that runs it says."""
    require(isinstance(value, str) and DEVICE.fullmatch(value) is not None, where, value,
            "'auto', 'cpu', 'cuda', 'cuda:1', …")


def one_of(options: Callable[[], Iterable[str]]) -> Accepts:
    """A name; `options` is asked late, since the modules that know the names import torch."""
    return lambda where, value: require_one_of(where, value, options())


def image_sets() -> list[str]:
    """The sets of `wlib.data` for which a name is enough; a folder needs its path, too."""
    from wlib import data
    from wlib.data import realsets
    return [*realsets.OFFLINE, *data.REAL]


def image_set(name: str) -> Any:
    """The images of a set."""
    from wlib import data
    return data.load(name, "test")


def real_sets() -> list[str]:
    """Those of them that are photographs or handwriting."""
    return [name for name in image_sets() if name != "glyphs"]


def domains() -> Iterable[str]:
    """The domains of `wlib.data.domains`."""
    from wlib.data.domains import DOMAINS
    return DOMAINS


def domain(name: str) -> Any:
    """Some images of a domain."""
    from wlib.data.domains import images
    return images(name, "test", samples=1)


def graphs() -> list[str]:
    """The graphs of `wlib.mda.graphs`."""
    from wlib.mda.graphs import OFFLINE
    return [OFFLINE, "cora"]


def teachers() -> Iterable[str]:
    """The architectures of `wlib.free.teachers`."""
    from wlib.free.teachers import ARCHITECTURES
    return ARCHITECTURES


def settings() -> Iterable[str]:
    """What `wlib.free.schemes` tunes."""
    from wlib.free.schemes import GRIDS
    return GRIDS


def timed() -> list[str]:
    """What can be timed beside LeNet."""
    from wlib.core.nets import ARCHITECTURES
    return [*(name for name in ARCHITECTURES if name != "lenet"), "resnet18"]


def networks() -> list[str]:
    """What `sources.design` knows."""
    from torchvision.models import list_models

    from wlib.core.nets import ARCHITECTURES
    return [*ARCHITECTURES, *list_models()]


def chains() -> list[str]:
    """Networks without branches: a channel of one layer is a channel that the next one reads."""
    return [name for name in networks() if name.startswith(("vgg", "lenet", "conv4", "alexnet"))]


# ---------------------------------------------------------------- the kinds
COUNT = at_least(1)
GREY = dict.fromkeys(("mnist", "fashion", "kmnist"), "mnist5k")
COLOR = dict.fromkeys(("cifar10", "cifar100", "svhn", "gtsrb"), "glyphs")    # part II colors them
KINDS = {
    # which
    "seed": Kind(at_least(0)),
    "seeds": Kind(each(at_least(0)), cut=True),
    "seeds or none": Kind(each(at_least(0), least=0), cut=True),
    "device": Kind(device),
    "image set": Kind(one_of(image_sets), there=image_set, stand_in=GREY),
    "image set in color": Kind(one_of(image_sets), there=image_set, stand_in=GREY | COLOR),
    "real sets": Kind(each(one_of(real_sets)), there=image_set, stand_in=GREY),
    "glyphs": Kind(each(one_of(lambda: ["glyphs"]))),
    "domains": Kind(each(one_of(domains)), there=domain, stand_in={"cifarfs": "color glyphs"}),
    "graph": Kind(one_of(graphs)),
    "students": Kind(each(one_of(lambda: STUDENTS), least=0)),
    # what shapes networks: a rehearsal has all of it
    "network that is a chain": Kind(one_of(chains)),
    "networks": Kind(each(one_of(networks))),
    "timed networks": Kind(each(one_of(timed), least=0)),
    "kinds of teachers": Kind(each(one_of(teachers))),
    "settings of a scheme": Kind(each(one_of(settings), least=0), cut=True),
    "regimes": Kind(each(row(one_of(teachers), at_least(2), at_least(16)), least=0)),
    "size": Kind(COUNT),
    "even size": Kind(even),
    "sizes": Kind(each(COUNT)),
    "layers": Kind(row(COUNT, COUNT)),
    "latents and rates": Kind(each(row(latent, above_0))),
    # how often, and how many: a rehearsal has as few as profile smoke
    "count": Kind(COUNT, cut=True),
    "count or 0": Kind(at_least(0), cut=True),
    "counts": Kind(each(COUNT), cut=True),
    "counts or none": Kind(each(COUNT, least=0), cut=True),
    "two counts": Kind(row(COUNT, COUNT), cut=True),
    "three counts": Kind(row(COUNT, COUNT, COUNT), cut=True),
    "four counts": Kind(row(COUNT, COUNT, COUNT, COUNT), cut=True),
    "steps": Kind(rising, cut=True),
    "batch": Kind(COUNT, cut=True, held=True),
    # numbers that are computed with
    "rate": Kind(above_0),
    "rates": Kind(each(above_0), cut=True),
    "shares": Kind(shares, cut=True),
    "energies": Kind(each(share), cut=True),
    "energies with 0.95": Kind(energies, cut=True),
}


# ---------------------------------------------------------------- the rules of a book
def rules(root: Path, notebook: str) -> dict[str, Rule]:
    """The rules of a notebook's parameters by name; none in a book without a file of rules."""
    path = root / "book" / "parameters.yml"
    found: dict[str, Rule] = {}
    blocks = _blocks(path, path.read_bytes()) if path.exists() else {}
    for pattern, block in blocks.items():
        if fnmatch.fnmatch(notebook, pattern):
            found |= {name: _rule(given, f"{path.name}: {pattern}: {name}")
                      for name, given in block.items()}
    return found


@functools.lru_cache(maxsize=1)
def _blocks(path: Path, content: bytes) -> dict[str, dict[str, Any]]:
    """The file's content, read once for all notebooks of a plan."""
    blocks = claims.read_yaml(path)
    require(isinstance(blocks, dict) and all(isinstance(b, dict) for b in blocks.values()),
            path.name, blocks, "blocks of rules by a pattern of notebooks' names")
    return blocks


def _rule(given: Any, where: str) -> Rule:
    given = {"kind": given} if isinstance(given, str) else given
    require(isinstance(given, dict) and {"kind"} <= set(given) <= {"kind", "rehearse"}, where,
            given, "a kind, or a mapping of kind and rehearse")
    require_one_of(where, given["kind"], KINDS)
    rule = Rule(KINDS[given["kind"]], given.get("rehearse"))
    if rule.rehearse is not None:
        rule.kind.accepts(f"{where}: rehearse", rule.rehearse)
    return rule


def check(values: Mapping[str, Any], known: Mapping[str, Rule], where: str) -> None:
    """Refuse a value that its rule does not accept, naming what is wanted; what has no rule passes.
    """
    for name, value in values.items():
        if name in known:
            known[name].kind.accepts(f"{where}: {name}", value)
