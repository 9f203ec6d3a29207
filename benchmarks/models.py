"""Which of torchvision's classifiers can be cut, padded and joined: tried one after the other.

    .venv/bin/python benchmarks/models.py      # some minutes; writes results/models.json

Random weights and random BatchNorm statistics. *All kept* and *cut* are the largest differences of
a logit from the uncut network and from the uncut network with the dropped channels zeroed, *padded*
that of two joined parts from the parts' own logits; differences are shares of the largest logit.
Torch-Pruning's DepGraph cuts the same wires where it is installed.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn
from torchvision import models

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from cutnets import drawn_keep, lived, zeroed  # noqa: E402
from recorded import record  # noqa: E402
from run import as_text  # noqa: E402

from wlib import cutting, lego, wiring  # noqa: E402

COMMAND = "python benchmarks/models.py"
NAMES = ("alexnet", "vgg16", "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d",
         "wide_resnet50_2", "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_small",
         "densenet121", "squeezenet1_1", "mnasnet0_5", "efficientnet_b0", "efficientnet_v2_s",
         "regnet_x_400mf", "regnet_y_400mf", "shufflenet_v2_x0_5", "convnext_tiny", "vit_b_16",
         "swin_t", "maxvit_t")
SIZES = {"alexnet": 64, "inception_v3": 96, "maxvit_t": 224}           # the others: 32


def examine(name: str) -> dict:
    """One row: differences, or why the network is refused."""
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    net = lived(getattr(models, name)(num_classes=3, **settings))
    size = SIZES.get(name, 32)
    start = time.perf_counter()
    try:
        wires = wiring.trace(net)
    except ValueError as error:
        return {"network": name, "refused": str(error).removeprefix("net: ")}
    row = {"network": name, "layers": len(wires.layers), "wires": wires.wires,
           "trace, s": time.perf_counter() - start}
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    keep = drawn_keep(wires, 1)
    part, other = (cutting.narrow(net, drawn_keep(wires, seed), wires) for seed in (1, 2))
    with torch.no_grad():
        full, wanted = net(x), zeroed(net, wires, keep)(x)
        same = cutting.narrow(net, torch.ones_like(keep), wires)(x)
        row |= {"all kept": apart(same, full), "cut": apart(part(x), wanted),
                "MACs kept": f"{cutting.cost(part, x[0]).macs / cutting.cost(net, x[0]).macs:.0%}",
                "padded": padded([part, other], x),
                "DepGraph": depgraph(net, wires, keep, x, wanted)}
    return row


def apart(a, b) -> str:
    gap = ((a - b).abs().max() / b.abs().max()).item()
    return "0" if gap == 0 else f"{gap:.0e}"


def padded(parts: list[nn.Module], x) -> str:
    try:
        wide = lego.assemble(parts, execution="dense")
    except ValueError as error:
        return str(error)
    return apart(wide(x), torch.cat([part(x) for part in parts], dim=1))


def depgraph(net, wires, keep, x, wanted) -> str:
    """The difference of DepGraph's cut, or how it fails."""
    from test_cutting import depgraph as cut

    try:
        import torch_pruning  # noqa: F401
    except ImportError:
        return "not installed"
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            theirs = cut(net, wires, keep, x.shape[1:])
        return apart(theirs(x), wanted)
    except Exception as error:                # of any kind: it is what the table is about
        return f"fails ({type(error).__name__})"


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for name in NAMES:
        rows.append(examine(name))
        print(rows[-1], flush=True)
    cut = [row for row in rows if "refused" not in row]
    refused = [row for row in rows if "refused" in row]
    tables = [{"title": "Networks of torchvision that can be cut", "command": COMMAND, "rows": cut},
              {"title": "Refused", "command": COMMAND, "rows": refused}]
    print("\n\n".join(as_text(table["rows"]) for table in tables))
    record("models", tables, threads=1)


if __name__ == "__main__":
    main()
