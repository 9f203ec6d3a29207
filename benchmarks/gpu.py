"""What a GPU does with each method: the same as a CPU (`agreement`), and how fast (`times`).

    .venv/bin/python benchmarks/gpu.py agreement FOLDER [--quick]
    .venv/bin/python benchmarks/gpu.py times FOLDER [--quick]

`benchmarks/gpu.sh` runs both and the notebooks in one call. The device is the environment
variable WLIB_DEVICE's, by default `cuda`; with WLIB_DEVICE=cpu both sides are the CPU, which
rehearses every line. Tables go to gpu-agreement.json and gpu-times.json in the folder, written
anew after every row, so that a run that is cut off leaves what it had; `wlib record --from`
takes them into results/.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from recorded import record
from run import take_turns, times_as_long
from torch import Tensor

from wlib import d2nwg, free, mda, mge
from wlib.core import nets, score, train
from wlib.core.pool import Pool
from wlib.d2nwg import codec, encoders, heads, zoo
from wlib.data import ImageSet
from wlib.free import bell, pipeline, replay, teachers
from wlib.mda import lego
from wlib.mge import evolution, operators

DEVICE = os.environ.get("WLIB_DEVICE", "cuda")
COMMAND = "benchmarks/gpu.sh"
Named = dict[str, Tensor]


def images(count: int, channels: int = 1, size: int = 28, classes: int = 5) -> ImageSet:
    """Colored noise with labels: what a method computes does not depend on what it sees."""
    g = torch.Generator().manual_seed(0)
    shades = torch.randint(0, 256, (count, channels, size, size), generator=g, dtype=torch.uint8)
    return ImageSet(shades, torch.arange(count) % classes, tuple("abcdefghij"[:classes]))


def small(name: str, count: int = 3, **settings) -> Pool:
    return Pool.stack([nets.fresh(name, i, **{"classes": 5, **settings}) for i in range(count)])


def four_teachers(width: int = 8, name: str = "conv4", count: int = 3) -> teachers.Teachers:
    kind, settings = teachers.ARCHITECTURES[name](width)
    return teachers.Teachers([teachers.Teacher(nets.fresh(kind, i, classes=5, **settings), "abcde",
                                               architecture=name) for i in range(count)],
                             (1, 28, 28))


# ---- agreement: every method on the device and on the CPU ---------------------------------------
class Case(NamedTuple):
    """One thing to compute on a device, and how far two devices may be apart: the norm of the
    difference as a share of the norm, or the share of values that differ if they are true or
    false. `rival` makes it on the CPU, with the other engine where there are two."""

    make: Callable[[str], Named]
    within: float
    rival: Callable[[str], Named]


def case(make: Callable[[str], Named], within: float) -> Case:
    return Case(make, within, make)


def engines(title: str, make: Callable[..., Named], within: float) -> dict[str, Case]:
    """Both engines of the device, each against the loop on the CPU."""
    return {f"{title}, {engine}": Case(partial(make, engine), within, partial(make, "loop"))
            for engine in ("loop", "vmap")}


def logits_of(engine: str, device: str) -> Named:
    return {name: small(name).to(device).logits(images(40).floats(), engine)
            for name in ("mlp", "lenet", "vgg", "resnet", "conv4")}


def training(engine: str, device: str) -> Named:
    ends = [train.fit("lenet", images(60), seeds=(0, 1), epochs=epochs, batch=20, engine=engine,
                      device=device).flat() for epochs in (0, 2)]
    return {"way from the start": ends[1] - ends[0]}


def generating(device: str) -> Named:
    parent = small("lenet", 2).to(device)
    made = {order: mge.generate(parent, 2, order=order).flat() for order in mge.ORDERS}
    return made | {f"by {way}": mge.generate(parent, 2, per="tensor", redraw=way).flat()
                   for way in mge.REDRAWS}


def judging(device: str) -> Named:
    parent, data = small("lenet", 1).to(device), images(50)
    return {"accuracy": score.accuracy(mge.generate(parent, 4), data).float(),
            "loss": score.loss(parent, data), "fgsm": score.fgsm(parent, data, 0.1),
            "ks": score.ks_distance(mge.generate(parent, 1).flat(), parent.flat())}


def evolving(device: str) -> Named:
    parent = small("mlp", 1).to(device)
    sizes = evolution.Evolution(parents=3, offspring=4)
    last, _ = evolution.evolve(parent, evolution.Fitness(images(64), beta=0.0),
                               operators.Redraw(0.9), 2, sizes)
    return {"fitness": score.accuracy(last, images(64)).float()}


def disassembling(device: str) -> Named:
    net = nets.fresh("vgg", 0, classes=5, widths=(6, 8)).eval().to(device)
    data = images(20)
    found = mda.masks(mda.contributions(net, data.floats(device), data.labels), mode="graph")
    part = mda.disassemble(net, found, [0, 1, 2])
    joined = {how: lego.assemble([part, part], execution=how) for how in ("grouped", "dense")}
    with torch.no_grad():
        return {how: one(data.floats(device)) for how, one in joined.items()}


def masks(device: str) -> Named:
    net = nets.fresh("vgg", 0, classes=5, widths=(6, 8)).eval().to(device)
    data = images(20)
    found = mda.masks(mda.contributions(net, data.floats(device), data.labels))
    return {name: mask.bool() for name, mask in found.items()}


def recovering(engine: str, device: str) -> Named:
    some = four_teachers()
    start = free.generator_for(some, nz=8, ngf=4)
    return {"images": free.recover(some, start, free.Recovery(2, per_class=3, engine=engine),
                                   device=device).floats()}


def meta_generating(device: str) -> Named:
    some = four_teachers()
    fitted = free.fit_generator(some, free.generator_for(some, nz=8, ngf=4), free.MetaTraining(
        free.Recovery(per_class=3)), epochs=1, device=device)
    return {"weights": torch.cat([t.flatten() for t in fitted.generator.parameters()])}


def replaying(head: str, engine: str, device: str) -> Named:
    learner = small("conv4", 1, width=8)
    how = replay.Replay(head, queries=5, engine=engine)
    run = replay.fit(learner, images(60), how, steps=2, device=device)
    return {"losses": torch.as_tensor(run.losses)}


def aligning(device: str) -> Named:
    some, data = four_teachers(), images(45)
    tasks = pipeline.imitation(some, data)
    end = bell.imitate(pipeline.start_of(some, width=8), tasks, bell.Imitation(at_once=2), steps=2,
                       device=device)
    return {"weights": end.flat()}


def diffusing(device: str) -> Named:
    z = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    run = d2nwg.fit(z, z[:, :3], d2nwg.Training(steps=20, timesteps=50, width=32), device=device)
    return {"losses": run.losses} | {
        method: run.sample(z[:2, :3], 2, method=method, steps=5, device=device)
        for method in ("ddim", "ancestral")}


def encoding(device: str) -> Named:
    w = torch.randn(10, 30, generator=torch.Generator().manual_seed(0))
    made = codec.VAE.fit(w, 4, training=codec.VAETraining((16, 8), epochs=2), device=device)
    sets = torch.randn(10, 5, 6, 8, generator=torch.Generator().manual_seed(1))
    encoder = nets.fresh(lambda: encoders.MLPEncoder(8, 5, 5, 4), 0)
    aligned = encoders.fit_encoder(
        encoder, sets, w[:, :4], encoders.Alignment(epochs=2), device=device)[0]
    return {"vae": made.decode(made.encode(w)),
            "aligned": torch.cat([t.flatten() for t in aligned.parameters()])}


def zoo_of(engine: str, device: str) -> Named:
    start = zoo.shared_start().repeat(3)
    data = images(60, classes=10)
    ends = zoo.descend(start, data, order=[0, 1, 2], keep=(5,), engine=engine, device=device)
    return {"weights": ends[-1].flat()}


def fitting_heads(device: str) -> Named:
    g = torch.Generator().manual_seed(0)
    sets = [heads.Features(torch.randn(30, 6, generator=g), torch.arange(30) % 3, "abc")
            for _ in range(2)]
    return {"weights": heads.fit(sets, device=device).flat()}


AGREEMENT = {
    **engines("logits of pools", logits_of, 1e-5),
    **engines("training", training, 1e-3),
    "MGE: children, every order and law": case(generating, 1e-5),
    "MGE: judging them": case(judging, 1e-2),
    "E-MGE: two generations": case(evolving, 2e-2),
    "MDA: masks": case(masks, 1e-2),
    "MDA: parts joined": case(disassembling, 1e-5),
    **engines("FREE: images", recovering, 1e-2),
    "FREE: meta-generator": case(meta_generating, 1e-2),
    **{name: one for head in replay.HEADS
       for name, one in engines(f"FREE: replay, {head}", partial(replaying, head), 1e-4).items()},
    "FREE: alignment": case(aligning, 1e-3),
    "D2NWG: denoiser and samplers": case(diffusing, 1e-3),
    "D2NWG: autoencoder and encoder": case(encoding, 1e-3),
    **engines("D2NWG: zoo", zoo_of, 1e-3),
    "D2NWG: heads": case(fitting_heads, 1e-2),
}


def apart(a: Named, b: Named) -> tuple[float, str]:
    """The largest difference, and what it is of."""
    gaps = {}
    for name in a:
        x, y = a[name].detach().cpu(), b[name].detach().cpu()
        if x.shape != y.shape:
            gaps[name] = float("inf")
        elif x.dtype == torch.bool:
            gaps[name] = (x != y).float().mean().item()
        else:
            gaps[name] = ((x - y).norm() / y.norm().clamp_min(1e-12)).item()
    worst = max(gaps, key=lambda name: (gaps[name] != gaps[name], gaps[name]))    # NaN is worst
    return gaps[worst], worst


def agreement(folder: Path, quick: bool) -> bool:
    """Every case on the device and on the CPU; whether all agree. None is large: `quick` is the
    same."""
    torch.backends.cudnn.allow_tf32 = False      # else convolutions keep ten bits by design
    rows = []
    for name, one in AGREEMENT.items():
        row, start = {"what": name, "allowed": f"{one.within:.0e}"}, time.perf_counter()
        try:
            gap, where = apart(one.make(DEVICE), one.rival("cpu"))
            row |= {"largest difference": f"{gap:.0e}", "of": where,
                    "agree": "yes" if gap <= one.within else "NO",
                    "seconds": time.perf_counter() - start}
        except Exception as error:               # the other cases still count
            traceback.print_exc()
            row |= {"largest difference": f"{type(error).__name__}: {error}"[:200], "of": "–",
                    "agree": "NO", "seconds": time.perf_counter() - start}
        rows.append(row)
        print(*row.values(), sep="  ", flush=True)
        write(folder / "gpu-agreement.json", {"Methods on the GPU and on the CPU": rows})
    return all(row["agree"] == "yes" for row in rows)


# ---- times: ratios within one run ---------------------------------------------------------------
def timed(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """`take_turns`, waiting for the device: its kernels run on after the call returns."""
    def waited(case):
        case()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return take_turns({name: partial(waited, case) for name, case in cases.items()}, rounds)


def both_engines(make: Callable[[str, str], object], cpu: str = "loop") -> dict:
    """The device's two engines, and the CPU with the engine that its rule picks."""
    return {"loop": partial(make, "loop", DEVICE), "vmap": partial(make, "vmap", DEVICE),
            "CPU": partial(make, cpu, "cpu")}


def engine_cases(quick: bool) -> dict[str, dict]:
    """Work that has engines, small enough for a CPU to take part."""
    count = 60 if quick else 1000
    pools = {name: small(name, 2 if quick else number, classes=10)
             for name, number in (("mlp", 50), ("lenet", 16), ("vgg", 8))}
    data = images(count, classes=10)
    placed = {(name, d): pool.to(d) for name, pool in pools.items() for d in (DEVICE, "cpu")}

    def forward(name, engine, device):
        placed[name, device].logits(data, engine)

    def fit(name, engine, device):
        train.fit(placed[name, device], data, seeds=range(len(pools[name])), epochs=1,
                  engine=engine, device=device)

    some = four_teachers(*((4, "conv4", 2) if quick else (32, "conv4", 8)))
    start = free.generator_for(some, nz=64, ngf=4 if quick else 32)
    learner = small("conv4", 1, width=4 if quick else 32)
    begin = zoo.shared_start().repeat(2 if quick else 60)
    steps = 2 if quick else 20
    cases = {f"forward, {len(pool)} × {name}, {count} images": both_engines(
        partial(forward, name), pool.engine()) for name, pool in pools.items()}
    cases |= {f"training for an epoch, {len(pools[name])} × {name}": both_engines(
        partial(fit, name)) for name in ("mlp", "lenet")}
    return cases | {
        f"FREE: five steps of {len(some)} teachers": both_engines(
            lambda engine, device: free.recover(some, start, free.Recovery(engine=engine),
                                                device=device)),
        **{f"FREE: {steps} steps of replay, {head}": both_engines(
            lambda engine, device, head=head: replay.fit(
                learner, images(200), replay.Replay(head, engine=engine), steps=steps,
                device=device))
           for head in ("prototype", "maml")},
        f"D2NWG: {steps} steps of {len(begin)} tiny CNNs": both_engines(
            lambda engine, device: zoo.descend(begin, data, order=list(range(len(begin))),
                                               keep=(steps,), engine=engine, device=device))}


def device_cases(quick: bool) -> dict[str, dict]:
    """Work without engines: the device against the CPU."""
    lenet = train.fit("lenet", images(60), epochs=0, device="cpu")
    large = Pool.stack([torchvision.models.resnet18() if not quick else nets.fresh("vgg", 0)])
    z = torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    net = nets.fresh("vgg", 0, channels=3, size=32, widths=(4, 8) if quick else (32, 64, 128))
    data = images(40 if quick else 400, 3, 32, 10)
    steps, width = (5, 32) if quick else (300, 512)
    training = d2nwg.Training(steps=2, width=width)
    runs = {d: d2nwg.fit(z, z[:, :16], training, device=d) for d in (DEVICE, "cpu")}

    def on_both(make):
        return {"device": partial(make, DEVICE), "CPU": partial(make, "cpu")}

    return {
        "MGE: 16 children of a LeNet": on_both(lambda d: mge.generate(lenet.to(d), 16)),
        "MGE: 4 children of a ResNet-18": on_both(lambda d: mge.generate(large.to(d), 4)),
        "MDA: masks of ten classes": on_both(lambda d: mda.masks(mda.contributions(
            net.eval().to(d), data.floats(d), data.labels))),
        f"D2NWG: {steps} steps of a denoiser": on_both(lambda d: d2nwg.fit(
            z, z[:, :16], d2nwg.Training(steps=steps, width=width), device=d)),
        "D2NWG: 600 networks by 20 steps of DDIM": on_both(lambda d: runs[d].sample(
            z[:6, :16], 100, method="ddim", steps=20, device=d))}


def times(folder: Path, quick: bool) -> bool:
    """Both tables, row by row; a row that fails says so and the others go on."""
    rounds, good, tables = 1 if quick else 3, True, {}
    for title, make in (("Engines on the GPU against the CPU", engine_cases),
                        ("The GPU against the CPU", device_cases)):
        rows = tables[title] = []
        for name, cases in make(quick).items():
            row = {"what": name}
            try:
                seconds = timed(cases, rounds)
                row |= {f"{case}, s": statistics.median(took) for case, took in seconds.items()}
                row |= {f"CPU ÷ {case}": times_as_long(seconds["CPU"], took)[1]
                        for case, took in seconds.items() if case != "CPU"}
            except Exception as error:
                traceback.print_exc()
                row["fails"], good = f"{type(error).__name__}: {error}"[:200], False
            rows.append(row)
            print(*row.values(), sep="  ", flush=True)
            write(folder / "gpu-times.json", tables)
    return good


def write(path: Path, tables: dict[str, list[dict]]) -> None:
    """Keep the tables as they stand, rows with the same columns, whatever failed."""
    def whole(rows):
        columns = dict.fromkeys(column for row in rows for column in row)
        return [{column: row.get(column, "–") for column in columns} for row in rows]

    record(path, [{"title": title, "command": COMMAND, "rows": whole(rows)}
                  for title, rows in tables.items()], threads=1, script=Path(__file__))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("agreement", "times"))
    parser.add_argument("folder", type=Path, help="where the tables go")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    given = parser.parse_args(arguments)
    nets.resolve_device(DEVICE)                  # refuses before work starts
    torch.set_num_threads(1)
    torch.zeros(1, device=DEVICE)                # from here on the tables name the card
    good = {"agreement": agreement, "times": times}[given.what](given.folder, given.quick)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
