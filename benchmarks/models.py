"""Which convolutional networks can be cut rightly: torchvision's and timm's, one after the other.

    .venv/bin/pip install -e '.[bench]'
    .venv/bin/python benchmarks/models.py [NAME ...]    # some minutes; writes results/models.json

Half of every stream goes, drawn by chance, once by `wlib.mda.cutting` and once by Torch-Pruning's
pruner, which chooses in groups of its own. Either cut is held to the same truth: the uncut network
with the dropped channels set to zero where they are read. Differences are shares of the largest
logit. Weights, gains and the statistics of batch normalization are random, no weights are fetched.
With names, only these are tried and nothing is written.
"""

from __future__ import annotations

import contextlib
import copy
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision import models

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from cutnets import lived, zeroed  # noqa: E402
from recorded import record  # noqa: E402
from run import as_text  # noqa: E402

from wlib.mda import cutting, lego, selectors, wiring  # noqa: E402

COMMAND = "python benchmarks/models.py"
CLASSES = 7                 # a number of channels that no inner layer has
RIGHT = 1e-3                # a right cut differs by rounding, about 1e-6; a wrong one by 0.1 or so
Cut = tuple[nn.Module, Callable[[], nn.Module]]
WHOLE = 0.9                 # of the weights: who keeps more has hardly cut
ROUNDS = 2                  # the two cutters take turns; of the seconds the less counts
LIMIT = 30                  # seconds of the processor for a cut

# The smallest network of each family that takes a small image.
NETWORKS = {"torchvision": (
    "alexnet", "vgg16", "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2",
    "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_small", "densenet121",
    "squeezenet1_1", "mnasnet0_5", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf",
    "regnet_y_400mf", "shufflenet_v2_x0_5", "convnext_tiny", "vit_b_16", "swin_t", "maxvit_t"),
            "timm": (
    "resnet10t", "resnet26d", "resnet32ts", "resnetblur50", "resnetrs50", "ecaresnet26t",
    "legacy_seresnet18", "legacy_seresnext26_32x4d", "seresnext26ts", "gcresnext26ts",
    "eca_resnext26ts", "skresnet18", "resnest14d", "res2net50_14w_8s", "res2next50",
    "resnetv2_18", "resnetv2_50", "tresnet_m", "nf_resnet26", "nf_regnet_b0", "dm_nfnet_f0",
    "eca_nfnet_l0", "gernet_s", "repvgg_a0", "mobileone_s0", "regnetx_002", "regnety_002",
    "regnetz_b16", "regnetv_040", "vgg11", "vgg11_bn", "densenet121", "rdnet_tiny", "dla34",
    "dla46x_c", "dla60_res2net", "dpn48b", "dpn68b", "cspresnet50", "cspresnext50",
    "cs3darknet_focus_s", "darknet53", "cspnext_tiny", "ese_vovnet19b_slim", "ese_vovnet19b_dw",
    "hgnet_tiny", "hgnetv2_b0", "hrnet_w18_small", "selecsls42", "inception_v3", "inception_v4",
    "inception_resnet_v2", "legacy_xception", "xception41", "xception41p", "pnasnet5large",
    "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small_035", "lcnet_035",
    "lcnetv2_small", "fbnetv3_b", "fbnetc_100", "mnasnet_small", "semnasnet_050", "spnasnet_100",
    "tinynet_e", "mixnet_s", "hardcorenas_a", "ghostnet_050", "ghostnetv2_100",
    "repghostnet_050", "efficientnet_b0", "efficientnet_lite0", "efficientnet_es",
    "efficientnet_cc_b0_4e", "efficientnetv2_rw_t", "tf_efficientnet_b0",
    "tf_mobilenetv3_small_075", "rexnet_100", "repvit_m0_9", "starnet_s1", "fasternet_t0",
    "fastvit_t8", "convmixer_768_32", "inception_next_atto", "convnext_atto", "convnextv2_atto",
    "edgenext_xx_small", "mambaout_femto")}
FAMILIES = {
    "torchvision.resnet18", "torchvision.resnext50_32x4d", "torchvision.googlenet",
    "torchvision.mobilenet_v2", "torchvision.densenet121", "torchvision.squeezenet1_1",
    "torchvision.efficientnet_b0", "torchvision.regnet_y_400mf", "torchvision.shufflenet_v2_x0_5",
    "torchvision.convnext_tiny", "timm.resnet26d", "timm.seresnext26ts", "timm.ecaresnet26t",
    "timm.skresnet18", "timm.resnest14d", "timm.res2net50_14w_8s", "timm.nf_resnet26",
    "timm.gernet_s", "timm.repvgg_a0", "timm.dla34", "timm.dpn48b", "timm.cspresnet50",
    "timm.ese_vovnet19b_slim", "timm.hgnetv2_b0", "timm.hrnet_w18_small", "timm.xception41",
    "timm.mobilenetv3_small_050", "timm.mixnet_s", "timm.ghostnet_050", "timm.rexnet_100",
    "timm.fasternet_t0", "timm.fastvit_t8", "timm.starnet_s1"}
SIZES = {"torchvision": 32, "timm": 64, "alexnet": 64, "inception_v3": 96, "maxvit_t": 224,
         "vit_b_16": 224, "inception_v4": 96, "inception_resnet_v2": 96, "pnasnet5large": 96}


def build(library: str, name: str) -> tuple[nn.Module, Tensor]:
    """A network with drawn weights, and two images for it."""
    if library == "timm":
        import timm
        net = timm.create_model(name, num_classes=CLASSES)
    else:
        settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        net = getattr(models, name)(num_classes=CLASSES, **settings)
    size, g = SIZES.get(name, SIZES[library]), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in net.parameters():              # what starts at 0 would hide what it scales
            drawn = torch.rand(tensor.shape, generator=g) + 0.5
            tensor.copy_(drawn if tensor.ndim < 2 or len(tensor) == 1 or tensor[0].numel() < 100
                         else (drawn - 1) * tensor[0].numel() ** -0.5)
    return lived(net), torch.randn(2, 3, size, size, generator=g)


# ---- the two cutters ---------------------------------------------------------------------------
def ours(net: nn.Module, x: Tensor, watched: bool = True, seed: int = 1) -> Cut:
    """The cut network, and what makes the one that it should equal."""
    wires = wiring.trace(net)
    scores = torch.rand(wires.wires, generator=torch.Generator().manual_seed(seed))
    keep = selectors.pick(wires, scores, share=0.5)
    return cutting.narrow(net, keep, wires), lambda: zeroed(net, wires, keep)


def theirs(net: nn.Module, x: Tensor, watched: bool = True) -> Cut:
    """The same by Torch-Pruning; `watched` writes down what it takes from each layer's inputs."""
    import torch_pruning as tp

    torch.manual_seed(1)
    part = copy.deepcopy(net)                        # it cuts in place
    head = [m for m in part.modules() if CLASSES in (getattr(m, "out_features", None),
                                                     getattr(m, "out_channels", None))]
    names = {module: name for name, module in part.named_modules()}
    left, dropped = {}, {}                           # by layer: input channels, of the uncut one
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")              # what it calls is deprecated
        pruner = tp.pruner.BasePruner(
            part, x[:1], tp.importance.RandomImportance(), pruning_ratio=0.5, ignored_layers=head,
            in_channel_groups={}, out_channel_groups={})
        for group in pruner.step(interactive=True):
            for dep, places in group if watched else ():
                module = dep.target.module
                if pruner.DG.is_in_channel_pruning_fn(dep.handler) and reads(module):
                    name = names[module]
                    now = left.setdefault(name, list(range(width(module))))
                    gone = {now[i] for i in places}
                    dropped.setdefault(name, set()).update(gone)
                    left[name] = [i for i in now if i not in gone]
            group.prune()
    return part, lambda: without(net, dropped)


def reads(module: nn.Module) -> bool:
    """Whether a layer mixes its input channels; depthwise convolutions pass them on."""
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and (module.groups == 1
                                           or module.groups != module.out_channels))


def width(module: nn.Module) -> int:
    return module.in_features if isinstance(module, nn.Linear) else module.in_channels


def without(net: nn.Module, dropped: dict[str, set[int]]) -> nn.Module:
    """The uncut network with these inputs of its layers set to zero."""
    net = copy.deepcopy(net)
    for name, gone in dropped.items():
        module = net.get_submodule(name)
        stays = torch.ones(width(module))
        stays[sorted(gone)] = 0
        if isinstance(module, nn.Conv2d):
            stays = stays[:, None, None]
        module.register_forward_pre_hook(lambda m, inputs, stays=stays: (inputs[0] * stays,))
    return net


# ---- one network -------------------------------------------------------------------------------
CUTTERS = {"wlib": ours, "Torch-Pruning": theirs}


class Judged(NamedTuple):
    """What came out, its difference or the reason, and the share of the weights that stay."""

    outcome: str                                    # right, whole, wrong, refused or crash
    words: str
    kept: float | None = None


def examine(library: str, name: str) -> dict:
    """What either cutter makes of a network, and its seconds where both are right."""
    net, x = build(library, name)
    row = {"network": name, "library": library,
           "weights": sum(p.numel() for p in net.parameters())}
    row |= {who: judged(cut, net, x) for who, cut in CUTTERS.items()}
    if all(row[who].outcome == "right" for who in CUTTERS):
        spent = {who: [] for who in CUTTERS}
        for _ in range(ROUNDS):
            for who, cut in CUTTERS.items():
                start = time.process_time()
                cut(net, x, watched=False)
                spent[who].append(time.process_time() - start)
        row["seconds"] = {who: min(seconds) for who, seconds in spent.items()}
    if row["wlib"].outcome == "right":
        row["padded"] = padded(net, x)
    return row


def judged(cut: Callable[..., Cut], net: nn.Module, x: Tensor) -> Judged:
    """A cut held against the network that it should equal."""
    try:
        with limited(LIMIT):
            part, truth = cut(net, x)
    except Exception as error:                # of any kind: it is what the table is about
        refused = type(error) is ValueError and str(error).startswith(("net: ", "keep: "))
        return Judged("refused" if refused else "crash", worded(error))
    kept = sum(p.numel() for p in part.parameters()) / sum(p.numel() for p in net.parameters())
    try:
        got = part(x)
    except Exception as error:
        return Judged("crash", f"the part does not run: {worded(error)}")
    full, wanted = net(x), truth()(x)
    if got.shape != wanted.shape or kept < 1 and apart(wanted, full) < RIGHT:
        return Judged("wrong", "outputs of another shape, or nothing that a cut would show", kept)
    gap = apart(got, wanted)
    if gap < RIGHT and kept > WHOLE:
        return Judged("whole", f"{kept:.0%} of the weights stay", kept)
    return Judged("right" if gap < RIGHT else "wrong", f"{gap:.0e}", kept)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End what takes longer, in seconds of the processor."""
    def late(*_):
        raise TimeoutError(f"no end within {seconds:g} s")

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def worded(error: Exception) -> str:
    kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
    text = (str(error).strip().splitlines() or [""])[0].removeprefix("net: got ")
    return kind + text.replace(", want operations that can be cut:", ":")


def apart(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def padded(net: nn.Module, x: Tensor) -> str:
    """The difference of two cuts padded into one network from the cuts side by side."""
    parts = [ours(net, x, seed=seed)[0] for seed in (1, 2)]
    try:
        wide = lego.assemble(parts, execution="dense")
    except ValueError as error:
        return str(error).partition(": got ")[2].partition(", want")[0].strip("'")
    return f"{apart(wide(x), torch.cat([part(x) for part in parts], dim=1)):.0e}"


# ---- the tables --------------------------------------------------------------------------------
def summary(rows: list[dict]) -> list[dict]:
    """How many networks come out how, for either cutter."""
    sets = {"torchvision": [r for r in rows if r["library"] == "torchvision"],
            "timm": [r for r in rows if r["library"] == "timm"],
            "both, one of each family": [r for r in rows if f"{r['library']}.{r['network']}"
                                             in FAMILIES]}
    return [{"networks of": name, "networks": len(chosen), "cut by": who}
            | {outcome: sum(r[who].outcome == outcome for r in chosen)
               for outcome in ("right", "whole", "wrong", "refused", "crash")}
            for name, chosen in sets.items() for who in CUTTERS]


def right(rows: list[dict]) -> list[dict]:
    """What is cut rightly by wlib, beside Torch-Pruning."""
    table = []
    for r in rows:
        if r["wlib"].outcome == "right":
            own, other = r["wlib"], r["Torch-Pruning"]
            seconds = r.get("seconds", {})
            table.append({
                "network": r["network"], "library": r["library"],
                "million weights": round(r["weights"] / 1e6, 2), "difference": own.words,
                "weights kept": f"{own.kept:.0%}", "padded": r["padded"],
                "Torch-Pruning": other.words if other.outcome == "right" else other.outcome,
                "it keeps": f"{other.kept:.0%}" if other.outcome == "right" else "–",
                "s": round(seconds["wlib"], 3) if seconds else "–",
                "÷ Torch-Pruning's s": round(seconds["wlib"] / seconds["Torch-Pruning"], 2)
                if seconds else "–"})
    return table


def others(rows: list[dict]) -> list[dict]:
    """What is not, and why."""
    return [{"network": r["network"], "library": r["library"], "wlib": r["wlib"].outcome,
             "why": r["wlib"].words, "Torch-Pruning": r["Torch-Pruning"].outcome}
            for r in rows if r["wlib"].outcome != "right"]


def failures(rows: list[dict]) -> list[dict]:
    """What Torch-Pruning does not cut rightly, and why."""
    return [{"network": r["network"], "library": r["library"],
             "Torch-Pruning": r["Torch-Pruning"].outcome, "why": r["Torch-Pruning"].words}
            for r in rows if r["Torch-Pruning"].outcome != "right"]


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    chosen = [(library, name) for library, all_names in NETWORKS.items() for name in all_names
              if not names or name in names]
    rows = []
    for library, name in chosen:
        rows.append(examine(library, name))
        print(rows[-1], flush=True)
    tables = [{"title": title, "command": COMMAND, "rows": made} for title, made in {
        "Networks cut to half of their channels": summary(rows),
        "Cut rightly": right(rows), "Not cut": others(rows),
        "Not cut rightly by Torch-Pruning": failures(rows)}.items() if made]
    print("\n\n".join(as_text(table["rows"]) for table in tables))
    if not names:
        record("models", tables, threads=1, packages=["timm"])


if __name__ == "__main__":
    main(sys.argv[1:])
