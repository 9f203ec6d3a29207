"""Time the library against named rivals: `wlib bench`, or `wlib bench --quick` for a rehearsal.

Rivals of one table take turns in one process, round by round after one unmeasured round, so that a
busy moment of the machine hits them alike. A ratio is taken within each round; the tables give its
median and, in brackets, its least and greatest value. One thread is used throughout. The tables
are printed and written to `results/benchmarks.json`; a rehearsal is small and writes nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import scipy.fft
import torch
from scipy import stats

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from official import official_masks
from recorded import ROOT, record

from wlib import free, mda, mge
from wlib.core import audit, nets, score, train
from wlib.core.pool import Pool
from wlib.d2nwg import pipeline, zoo
from wlib.data import load
from wlib.data.universes import Counts
from wlib.free import inversion, replay, teachers
from wlib.mda import cutting, lego, selectors, wiring
from wlib.mge import cosine, evolution, operators, racing

COMMAND = "wlib bench"
LOSS = 1.05        # the rule counts as losing where it takes this much longer than the other engine
Times = dict[str, list[float]]


def take_turns(cases: dict[str, Callable[[], object]], rounds: int, warm: bool = True) -> Times:
    """Seconds of every case in every round, after a round that does not count if `warm`."""
    seconds: Times = {name: [] for name in cases}
    for number in range(rounds + warm):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            if number or not warm:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def times_as_long(case: list[float], rival: list[float]) -> tuple[float, str]:
    """Median of the rounds' ratios, and it as text with the least and the greatest."""
    ratios = [a / b for a, b in zip(case, rival, strict=True)]
    median = statistics.median(ratios)
    least, middle, most = (f"{r:.3g}" if r < 1000 else f"{r:,.0f}"
                           for r in (min(ratios), median, max(ratios)))
    return median, f"{middle} ({least}–{most})"


# ---- the engines ------------------------------------------------------------------------------
def engines(quick: bool) -> list[dict]:
    """Forward and training of pools under both engines and under the rule that picks one."""
    count = 32 if quick else 1_000
    some = load("mnist5k").take(count)
    shapes = [("mlp", 50, count), ("lenet", 16, count), ("mlp", 2, count), ("lenet", 16, 20),
              ("vgg", 4, 100)]
    if quick:
        shapes = [("mlp", 3, count), ("lenet", 2, count)]
    return [row for name, networks, images in shapes
            for row in _engine_rows(name, networks, some[:images], 1 if quick else 5)]


def _engine_rows(name, networks, part, rounds):
    pool = Pool.stack([nets.fresh(name, seed) for seed in range(networks)])
    x = part.floats()

    def forward(engine):
        pool.logits(x, engine)

    def training(engine):
        train.fit(pool, part, seeds=range(networks), epochs=1, engine=engine, device="cpu")

    for task, work in (("forward", forward), ("training, 1 epoch", training)):
        cases = {engine: partial(work, engine) for engine in ("loop", "vmap", "auto")}
        yield _engine_row(f"{networks} × {name}", task, len(part), pool.engine(),
                          take_turns(cases, rounds))


def _engine_row(pool, task, images, rule, seconds):
    other = "vmap" if rule == "loop" else "loop"
    behind, text = times_as_long(seconds[rule], seconds[other])
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {"pool": pool, "task": task, "images": images, "loop, s": median["loop"],
            "vmap, s": median["vmap"], "default, s": median["auto"], "the rule picks": rule,
            "picked ÷ other": text, "does the rule lose?": "yes" if behind > LOSS else "no"}


# ---- MGE --------------------------------------------------------------------------------------
def generating(quick: bool) -> list[dict]:
    """Making and judging one network against training one, and against a control."""
    data, judge = load("mnist5k"), load("mnist5k", "test")
    epochs = 12
    if quick:
        data, judge, epochs = data.take(64), judge.take(32), 1
    seed = train.fit("lenet", data, epochs=epochs, device="cpu")
    rho = audit.distance(mge.generate(seed, 1), seed)

    def training():
        train.fit("lenet", data, epochs=epochs, device="cpu")

    cases = {
        "train one network": training,
        "generate one, per network": lambda: mge.generate(seed, 1),
        "generate one, per tensor": lambda: mge.generate(seed, 1, per="tensor"),
        "generate 16, per network": lambda: mge.generate(seed, 16),
        "noise of equal norm, one": lambda: audit.noise(seed, rho, keep_norm=True),
        "judge one network": lambda: score.accuracy(seed, judge),
        "generate and judge one": lambda: score.accuracy(mge.generate(seed, 1), judge),
        "noise of equal norm and judge one": lambda: score.accuracy(
            audit.noise(seed, rho, keep_norm=True), judge),
    }
    seconds = take_turns(cases, 1 if quick else 5)
    return [{"step": name, "seconds": statistics.median(values),
             "÷ training one": times_as_long(values, seconds["train one network"])[1],
             "÷ noise of equal norm": times_as_long(
                 values, seconds["noise of equal norm, one"])[1]}
            for name, values in seconds.items()]


def accepting(quick: bool) -> list[dict]:
    """What one accepted network costs, rejected ones paid for, as a share of training one.

    Accepted is who stays within a point of the seed network's validation accuracy: found by
    judging all candidates on all images, or by a race against doubt (`racing.screen`, wrong for 5 %
    of the candidates at most); and who passes the whole discriminator, cheap criteria first.
    """
    data, judge = load("mnist5k"), load("mnist5k", "validation")
    epochs, count = 12, 16
    if quick:
        data, judge, epochs, count = data.take(64), judge.take(32), 1, 2
    seed = train.fit("lenet", data, epochs=epochs, device="cpu")
    known, own = score.errors(seed, judge)[0], score.accuracy(seed, judge)
    reference = mge.discriminate(seed, seed, judge, train=data).attrs["reference"]
    accepted: dict[str, int] = {}
    passes: dict[str, int] = {}

    def all_images(name, energy):
        right = score.accuracy(mge.generate(seed, count, energy), judge)
        accepted[name] = int((right >= own - 0.01 - 1e-9).sum())
        passes[name] = count * len(judge)

    def screened(name, energy):
        found = racing.screen(mge.generate(seed, count, energy), judge, known, len(judge) // 100)
        accepted[name], passes[name] = int(found.accepted.sum()), found.passes

    def whole(name, energy):
        frame = mge.discriminate(mge.generate(seed, count, energy), seed, judge, train=data,
                                 lazy=True, reference=reference)
        accepted[name], passes[name] = int(frame["accepted"].sum()), frame.attrs["image passes"]

    ways = {"accuracy, all images": all_images, "accuracy, raced": screened, "all criteria": whole}
    cases = {"train one network": lambda: train.fit("lenet", data, epochs=epochs, device="cpu")}
    for energy in (0.99, 0.95):
        for way, work in ways.items():
            name = f"t = {energy}: {way}"
            cases[name] = partial(work, name, energy)
    seconds = take_turns(cases, 1 if quick else 5)
    training = seconds.pop("train one network")
    return [{"judged by": name, "candidates": count, "accepted": accepted[name],
             "image passes": passes[name],
             "one candidate ÷ training": times_as_long([v / count for v in values], training)[1],
             "one accepted ÷ training": times_as_long(
                 [v / accepted[name] for v in values], training)[1] if accepted[name] else "none"}
            for name, values in seconds.items()]


def evolving(quick: bool) -> list[dict]:
    """Evolution with and without racing, from a seed network of one epoch and a converged one."""
    data, validation, test = (load("mnist5k", s) for s in ("train", "validation", "test"))
    lengths, generations, sizes = (1, 12), 5, {"parents": 10, "offspring": 40}
    if quick:
        data, validation, test = data.take(64), validation.take(40), test.take(32)
        lengths, generations, sizes = (1,), 1, {"parents": 4, "offspring": 5}
    return [row for epochs in lengths
            for row in _evolution_rows(epochs, data, validation, test, generations, sizes,
                                       1 if quick else 3)]


def _evolution_rows(epochs, data, validation, test, generations, sizes, rounds):
    seed = train.fit("lenet", data, epochs=epochs, device="cpu")
    fitness = evolution.Fitness(validation, beta=0.0)
    runs = {}

    def run(place):
        runs[place] = evolution.evolve(seed, fitness, operators.Redraw(0.99), generations,
                                 evolution.Evolution(**sizes, race=place))

    places = (None, sizes["parents"], 3, 1)
    seconds = take_turns({str(place): partial(run, place) for place in places}, rounds)
    for place in places:
        population, history = runs[place]
        end = evolution.final(evolution.choose(population, history.judged), validation, test)
        right = (~end.errors).sum().item()
        low, high = stats.binomtest(right, end.errors.numel()).proportion_ci(method="wilson")
        passes = [runs[p][1].records[-1]["image passes"] for p in (None, place)]
        yield {"seed network": f"{epochs} epoch{'s' if epochs > 1 else ''}",
               "racing": f"for place {place}" if place else "none",
               "evaluations": history.records[-1]["evaluations"], "image passes": passes[1],
               "passes saved": f"{passes[0] / passes[1]:.1f}×",
               "seconds": statistics.median(seconds[str(place)]),
               "÷ no racing": times_as_long(seconds[str(place)], seconds["None"])[1],
               "validation": f"{end.validation.item():.1%}",
               "test (95%)": f"{right / end.errors.numel():.1%} ({low:.1%}–{high:.1%})"}


# ---- the transform ----------------------------------------------------------------------------
def transform(quick: bool) -> list[dict]:
    """The library's cosine transform against SciPy's, in doubles, at smooth and rough lengths."""
    shapes = [(500, 16, 2)] if quick else [(61_706, 16, 15), (65_536, 16, 15), (270_002, 4, 15),
                                           (11_181_642, 1, 5)]
    return [_transform_row(*shape, *pair) for shape in shapes
            for pair in ((mge.dct, scipy.fft.dct), (mge.idct, scipy.fft.idct))]


def _transform_row(n, rows, rounds, ours, theirs):
    x = torch.randn(rows, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = {}

    def wlib():
        found["wlib"] = ours(x)

    def scipys():
        found["scipy"] = torch.from_numpy(theirs(x.numpy(), norm="ortho"))

    seconds = take_turns({"wlib": wlib, "scipy": scipys}, rounds)
    gap = (found["wlib"] - found["scipy"]).abs().max()
    return {"transform": ours.__name__, "length": n,
            "largest prime factor": cosine.largest_prime(n), "rows": rows,
            "wlib, s": statistics.median(seconds["wlib"]),
            "scipy, s": statistics.median(seconds["scipy"]),
            "wlib ÷ scipy": times_as_long(seconds["wlib"], seconds["scipy"])[1],
            "largest difference": f"{gap:.0e}"}


def children(quick: bool) -> list[dict]:
    """Generating children of networks of torchvision, random weights, each in its own process."""
    networks = [("lenet", {}, 1)] if quick else [
        ("resnet18", {}, 5), ("resnet18", {"num_classes": 10}, 3), ("convnext_tiny", {}, 3),
        ("vit_b_16", {}, 0)]                      # no rounds: SciPy would take 10 GB for it
    return [_in_its_own_process(_children_row, *network) for network in networks]


def _children_row(name: str, settings: dict, rounds: int, further: int = 3) -> dict:
    from torchvision.models import get_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    pool = Pool.stack([nets.fresh("lenet", 0) if name == "lenet" else get_model(name, **settings)])
    peaks, seconds = {0: _peak()}, {}
    for count in (1, 8):                          # before SciPy, which takes more
        seconds |= take_turns({count: partial(mge.generate, pool, count)}, 1, warm=False)
        peaks[count] = _peak()
    first, each, ratio = *seconds[1], (seconds[8][0] - seconds[1][0]) / 7, "–"
    if rounds:
        (_, c, kept), = mge.spectra(pool)
        redrawn, source = int((~kept).sum()), torch.Generator().manual_seed(0)

        def rival():
            torch.randn(redrawn, generator=source, dtype=torch.float64)
            scipy.fft.idct(c[0].numpy(), norm="ortho")

        seconds = take_turns({"first": partial(mge.generate, pool, 1), "rival": rival,
                              "more": partial(mge.generate, pool, 1 + further)}, rounds)
        every = [(more - first) / further
                 for more, first in zip(seconds["more"], seconds["first"], strict=True)]
        first, each = statistics.median(seconds["first"]), statistics.median(every)
        ratio = times_as_long(every, seconds["rival"])[1]
    return {"network": f"{name}, {settings['num_classes']} classes" if settings else name,
            "weights": pool.size, "largest prime factor": cosine.largest_prime(pool.size),
            "the first child, s": first, "each further one, s": each,
            "÷ SciPy's idct and the draw": ratio, "peak before, GB": peaks[0],
            "with one child, GB": peaks[1], "with 8 children, GB": peaks[8]}


# ---- MDA --------------------------------------------------------------------------------------
def masking(quick: bool) -> list[dict]:
    """The pass that finds the masks against the official code's, which goes sample by sample."""
    rows, rounds = [], 1 if quick else 5
    shapes = [(8, 12)] if quick else [(16, 32, 64), (32, 64, 128)]
    for widths in shapes:
        net, x, y = _untrained(widths, 30 if quick else 200)
        cases = {"wlib": lambda net=net, x=x, y=y: mda.masks(mda.contributions(net, x, y)),
                 "per sample": lambda net=net, x=x, y=y: official_masks(net, x, y, 10)[1]}
        seconds = take_turns(cases, rounds)
        equal = all(torch.equal(a, b.bool()) for a, b in zip(
            cases["wlib"]().values(), cases["per sample"](), strict=True))
        rows.append({"network": f"vgg {'-'.join(map(str, widths))}", "images": len(x),
                     "wlib, s": statistics.median(seconds["wlib"]),
                     "per sample, s": statistics.median(seconds["per sample"]),
                     "per sample ÷ wlib": times_as_long(seconds["per sample"],
                                                        seconds["wlib"])[1],
                     "masks": "equal" if equal else "differ", "peak of the process, GB": "–"})
    count = 10 if quick else 500
    took, peak = _in_its_own_process(_vgg16_pass, count)
    rows.append({"network": "VGG-16", "images": count, "wlib, s": took, "per sample, s": "–",
                 "per sample ÷ wlib": "–", "masks": "–", "peak of the process, GB": peak})
    return rows


def _untrained(widths, count):
    """A small VGG for 32×32 color images, and random images of ten classes."""
    net = nets.fresh("vgg", 0, channels=3, size=32, widths=widths).eval()
    x = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return net, x, torch.arange(count) % 10


def _vgg16_pass(count: int) -> tuple[float, float]:
    """Seconds and peak memory (GB) of the masks of a VGG-16 as the paper uses it, at 32×32."""
    from torchvision.models import vgg16_bn

    torch.set_num_threads(1)
    with torch.device("meta"):               # the wide first layer of 224×224 is never made
        net = vgg16_bn(num_classes=10)
        net.avgpool, net.classifier[0] = torch.nn.Identity(), torch.nn.Linear(512, 4096)
    net = nets.fresh(lambda: net.to_empty(device="cpu"), 0)
    for module in net.modules():
        getattr(module, "reset_parameters", lambda: None)()
    x, y = torch.rand(count, 3, 32, 32), torch.arange(count) % 10
    start = time.perf_counter()
    mda.masks(mda.contributions(net, x, y))
    return time.perf_counter() - start, _peak()


def _in_its_own_process(work: Callable, *arguments):
    """What it returns from a new process, whose peak is not that of what ran before."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _peak() -> float:
    """Peak memory (GB) of this process, as Linux counts: getrusage would carry the parent's peak
    into a new process."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 2**20


def joining(quick: bool) -> list[dict]:
    """Parts joined in one network, side by side or padded, against the parts one after another."""
    rows, rounds = [], 1 if quick else 15
    net, x, _ = _untrained((8, 12) if quick else (32, 64, 128), 20 if quick else 100)
    wires = wiring.trace(net)
    for count in (2,) if quick else (2, 3):
        parts = [cutting.narrow(net, selectors.pick(wires, selectors.random(net, i), fraction=0.5))
                 for i in range(count)]
        joined = {how: lego.assemble(parts, execution=how).eval() for how in ("grouped", "dense")}
        with torch.no_grad():
            seconds = take_turns({
                "parts": lambda parts=parts: [part(x) for part in parts],
                "grouped": lambda net=joined["grouped"]: net(x),
                "dense": lambda net=joined["dense"]: net(x)}, rounds)
            gap = (joined["grouped"](x) - joined["dense"](x)).abs().max()
        median = {name: statistics.median(values) for name, values in seconds.items()}
        rows.append({"parts": count, "images": len(x), "one after another, s": median["parts"],
                     "grouped, s": median["grouped"], "dense, s": median["dense"],
                     "grouped ÷ parts": times_as_long(seconds["grouped"], seconds["parts"])[1],
                     "dense ÷ grouped": times_as_long(seconds["dense"], seconds["grouped"])[1],
                     "largest difference of logits": f"{gap:.0e}"})
    return rows


# ---- FREE -------------------------------------------------------------------------------------
def recovering(quick: bool) -> list[dict]:
    """Five steps of FIVE for a pool, its teachers one after another or together."""
    rows, count, per_class = [], 2 if quick else 8, 2 if quick else 12
    kinds = [("conv4", 4)] if quick else [("conv4", 16), ("conv4", 32), ("resnet10", 16)]
    for name, width in kinds:
        pool = _untrained_teachers(name, width, count)
        start = free.generator_for(pool, nz=64, ngf=2 if quick else 16)

        def recover(engine, pool=pool, start=start):
            return free.recover(pool, start, free.Recovery(per_class=per_class, engine=engine),
                                device="cpu")

        seconds = take_turns({engine: partial(recover, engine) for engine in ("loop", "vmap")},
                             1 if quick else 5)
        each = {engine: statistics.median(values) / count for engine, values in seconds.items()}
        gap = (recover("loop").floats() - recover("vmap").floats()).abs().mean()
        rows.append({"teachers": f"{count} × {name}, {width} wide", "images each": 5 * per_class,
                     "loop, s per teacher": each["loop"], "vmap, s per teacher": each["vmap"],
                     "the rule picks": inversion.resolved("auto", pool.device),
                     "picked ÷ other": times_as_long(seconds["loop"], seconds["vmap"])[1],
                     "mean difference of images": f"{gap:.0e}"})
    return rows


def _untrained_teachers(name, width, count):
    """Gray 28×28, five classes."""
    kind, settings = teachers.ARCHITECTURES[name](width)
    return teachers.Teachers([teachers.Teacher(nets.fresh(kind, i, classes=5, **settings), "abcde",
                                               architecture=name) for i in range(count)],
                             (1, 28, 28))


def replaying(quick: bool) -> list[dict]:
    """A step of meta-training, its episodes one after another (loop) or stacked (vmap)."""
    data = load("mnist5k")
    shapes = [(8, 1)] if quick else [(16, 1), (16, 5), (32, 1)]
    return [_replay_row(head, width, shots, data, *((1, 1) if quick else (3, 5)))
            for width, shots in shapes for head in replay.HEADS]


def _replay_row(head, width, shots, data, steps, rounds):
    learner = Pool.stack([nets.fresh("conv4", 0, classes=5, width=width)])
    runs = {}

    def step(engine):
        runs[engine] = replay.fit(
            learner, data[:500], replay.Replay(head, shots=shots, queries=10, engine=engine),
            steps=steps, device="cpu")

    seconds = take_turns({engine: partial(step, engine) for engine in ("loop", "vmap")}, rounds)
    rule = replay.engine_for(torch.device("cpu"))
    other = "vmap" if rule == "loop" else "loop"
    behind, text = times_as_long(seconds[rule], seconds[other])
    loss = [run.losses[0] for run in runs.values()]
    return {"learner": f"conv4, {width} wide", "head": head, "episodes": f"5-way {shots}-shot",
            **{f"{engine}, s per step": statistics.median(took) / steps
               for engine, took in seconds.items()},
            "the rule picks": rule, "picked ÷ other": text,
            "does the rule lose?": "yes" if behind > LOSS else "no",
            "difference of losses": f"{abs(loss[0] - loss[1]):.0e}"}


# ---- D2NWG ------------------------------------------------------------------------------------
SAMPLERS = {"DDIM, 20 steps": {"method": "ddim", "steps": 20},
            "ancestral, 20 of 200 steps": {"method": "ancestral", "steps": 20},
            "ancestral, 200 steps": {"method": "ancestral"}}


def sampling(quick: bool) -> list[dict]:
    """Tiny CNNs sampled for the zoo's data sets and decoded, by three samplers in turns."""
    count, each, steps, rounds = (3, 2, 10, 1) if quick else (24, 40, 200, 5)
    world = pipeline.of_styles(count, 1, 1, counts=Counts(30, 10, 2, 20))
    members = zoo.trained(world.train, steps=steps, device="cpu")
    support = pipeline.support(world.train, device="cpu")
    made = pipeline.learn(
        members.weights, support,
        training=pipeline.Training(steps=10 if quick else 2000, shots=5, width=128),
        device="cpu")

    def sample(name):
        return made.sample(support[:, :, :5], each, device="cpu", **SAMPLERS[name])

    seconds = take_turns({name: partial(sample, name) for name in SAMPLERS}, rounds)
    slowest = list(SAMPLERS)[-1]
    rows = []
    for name in SAMPLERS:
        right = pipeline.points(sample(name)[:, :10], world.train, like=members.pool)
        rows.append({"sampler": name, "networks": count * each,
                     "ms per network": 1000 * statistics.median(seconds[name]) / (count * each),
                     f"{slowest} ÷ this": times_as_long(seconds[slowest], seconds[name])[1],
                     "accuracy on the zoo's data sets, points": f"{right.mean():.1f}",
                     "trained networks, points": f"{100 * members.accuracy().mean():.1f}"})
    return rows


def zoos(quick: bool) -> list[dict]:
    """Training tiny CNNs, each on a data set of its own; then a zoo of 60, by the rule's engine."""
    count, steps, whole, rounds = (2, 3, (2, 3), 1) if quick else (12, 30, (60, 300), 5)
    sets = [s.train for s in pipeline.of_styles(max(count, whole[0]), 1, 1,
                                                  counts=Counts(40, 1, 1, 1)).train]

    def descend(engine, count=count, steps=steps):
        start = zoo.shared_start().repeat(count)
        return zoo.descend(start, sets[:count], order=list(range(count)), keep=(steps,),
                           engine=engine, device="cpu")

    seconds = take_turns({engine: partial(descend, engine) for engine in ("loop", "vmap")}, rounds)
    start = time.perf_counter()
    descend("loop", *whole)
    return [{"networks × steps": f"{count} × {steps}",
             **{f"{engine}, ms per step of one": 1000 * statistics.median(took) / (count * steps)
                for engine, took in seconds.items()},
             "vmap ÷ loop": times_as_long(seconds["vmap"], seconds["loop"])[1],
             "the rule picks": "loop",
             f"{whole[0]} networks × {whole[1]} steps by loop, s": time.perf_counter() - start}]


TABLES = {
    "Engines: the networks of a pool one after another (loop) or stacked (vmap)": engines,
    "MGE: making and judging a LeNet (12 epochs of 3,000 images; judged on 1,000)": generating,
    "MGE: one accepted LeNet against training one, rejections paid for": accepting,
    "E-MGE: 5 generations of 40 LeNets judged on 1,000 images, with and without racing": evolving,
    "DCT: the cosine transform against SciPy's, in doubles": transform,
    "DCT: children of large networks against SciPy's inverse transform and the draw": children,
    "MDA: finding the masks of ten classes, with the official code's procedure as rival": masking,
    "MDA: half-width parts of a small VGG joined in one network": joining,
    "FREE: five steps of recovery, teacher by teacher (loop) or together (vmap)": recovering,
    "FREE: a step of meta-training on 4 episodes with 10 query images per class": replaying,
    "D2NWG: sampling and decoding tiny CNNs, 20 steps of DDIM against 200 ancestral": sampling,
    "D2NWG: training a zoo of tiny CNNs, one after another (loop) or stacked (vmap)": zoos,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true",
                        help="a small rehearsal of every table; writes nothing")
    parts = sorted({title.partition(":")[0] for title in TABLES if ":" in title})
    parser.add_argument("--part", choices=parts, help="only tables whose titles begin so; they "
                        "are written to a file of their own")
    given = parser.parse_args(arguments)
    quick, command = given.quick, COMMAND + (f" --part {given.part}" if given.part else "")
    torch.set_num_threads(1)
    print("One thread. Seconds are medians; ratios are medians with (least–greatest) of the rounds."
          + (" A rehearsal: its numbers mean nothing." if quick else ""))
    tables = []
    for title, make in TABLES.items():
        if given.part not in (None, title.partition(":")[0]):
            continue
        tables.append({"title": title, "command": command, "rows": make(quick)})
        print(f"\n{title}\n\n{as_text(tables[-1]['rows'])}", flush=True)
    if not quick:
        name = f"benchmarks-{given.part.lower()}" if given.part else "benchmarks"
        path = record(name, tables, threads=1)
        print(f"\nwritten to {path.relative_to(ROOT)}")
    return 0


def as_text(rows: list[dict]) -> str:
    """A table for the terminal, columns as wide as their widest entry."""
    cells = [list(rows[0])] + [[f"{v:.3g}" if isinstance(v, float) else str(v)
                                for v in row.values()] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
                     .rstrip() for row in cells)


if __name__ == "__main__":
    sys.exit(main())
