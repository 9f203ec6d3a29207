"""Which convolutional networks can be cut rightly: torchvision's and timm's, one after the other.

    .venv/bin/pip install -e '.[bench]'
    .venv/bin/python benchmarks/models.py [NAME ...]    # some minutes; writes results/models.json

Half of every stream goes, drawn by chance, once by `wlib.cutting` and once by Torch-Pruning's
pruner, which chooses in groups of its own. Either cut is held to the same truth: the uncut network
with the dropped channels set to zero where they are read. Differences are shares of the largest
logit. Weights, gains and the statistics of batch normalization are random, no weights are fetched.
With names, only these are tried and nothing is written.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from cutnets import lived, zeroed  # noqa: E402
from recorded import record  # noqa: E402
from run import as_text  # noqa: E402

from wlib import cutting, lego, selectors, wiring  # noqa: E402

COMMAND = "python benchmarks/models.py"
CLASSES = 7                 # a number of channels that no inner layer has
RIGHT = 1e-3                # a right cut differs by rounding, about 1e-6; a wrong one by 0.1 or so
Cut = tuple[nn.Module, Callable[[], nn.Module]]
ROUNDS = 3                  # the two cutters take turns; of the seconds the least counts

# The smallest network of each family that takes a small image.
TORCHVISION = (
    "alexnet", "vgg16", "vgg16_bn", "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2",
    "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_small", "densenet121",
    "squeezenet1_1", "mnasnet0_5", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf",
    "regnet_y_400mf", "shufflenet_v2_x0_5", "convnext_tiny", "vit_b_16", "swin_t", "maxvit_t")
TIMM = (
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
    "edgenext_xx_small", "mambaout_femto")
SIZES = {"torchvision": 32, "timm": 64, "alexnet": 64, "inception_v3": 96, "maxvit_t": 224, "vit_b_16": 224,
         "inception_v4": 96, "inception_resnet_v2": 96, "pnasnet5large": 96}


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
        for parameter in net.parameters():           # what starts at 0 would hide what it scales
            parameter.copy_(torch.rand(parameter.shape, generator=g) + 0.5)
    return lived(net), torch.randn(2, 3, size, size, generator=g)


# ---- the two cutters ---------------------------------------------------------------------------
def ours(net: nn.Module, x: Tensor, watched: bool = True) -> Cut:
    """The cut network, and what makes the one that it should equal."""
    wires = wiring.trace(net)
    scores = torch.rand(wires.wires, generator=torch.Generator().manual_seed(1))
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


# ---- the table ---------------------------------------------------------------------------------
def examine(library: str, name: str) -> dict:
    """One row: for either cutter the difference and the seconds, or why there is none."""
    net, x = build(library, name)
    full = net(x)
    row = {"network": name, "library": library, "weights": sum(p.numel() for p in
                                                                net.parameters())}
    for who, cut in (("wlib", ours), ("Torch-Pruning", theirs)):
        row[who], row[f"{who}: why"], row[f"{who}: weights kept"] = judged(cut, net, x, full)
    done = {who: cut for who, cut in (("wlib", ours), ("Torch-Pruning", theirs))
            if row[f"{who}: weights kept"]}
    seconds = {who: [] for who in done}
    for _ in range(ROUNDS):
        for who, cut in done.items():
            start = time.perf_counter()
            cut(net, x, watched=False)
            seconds[who].append(time.perf_counter() - start)
    return row | {f"{who}: s": min(spent) for who, spent in seconds.items()}


def judged(cut, net, x, full) -> tuple[str, str, float]:
    """right, wrong, refused or crash; why, or the difference; the share of weights that stay."""
    try:
        part, truth = cut(net, x)
    except ValueError as error:
        refused = str(error).startswith(("net:", "keep:"))
        return ("refused" if refused else "crash"), worded(error), 0.
    except Exception as error:                # of any kind: it is what the table is about
        return "crash", worded(error), 0.
    kept = sum(p.numel() for p in part.parameters()) / sum(p.numel() for p in net.parameters())
    try:
        got = part(x)
    except Exception as error:
        return "crash", f"the part does not run: {worded(error)}", 0.
    wanted = truth()(x)
    if got.shape != wanted.shape:
        return "wrong", f"outputs {tuple(got.shape)}", kept
    gap, moved = apart(got, wanted), apart(wanted, full)
    if not moved > RIGHT and kept < 1:
        return "wrong", f"nothing to see: what it drops moves the logits by {moved:.0e}", kept
    return ("right" if gap < RIGHT else "wrong"), f"{gap:.0e}", kept


def worded(error: Exception) -> str:
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return (kind + (str(error).strip().splitlines() or [""])[0].removeprefix("net: "))[:300]


def apart(a, b) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    rows = []
    for library, names in (("torchvision", TORCHVISION), ("timm", TIMM)):
        for name in names:
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            rows.append(examine(library, name))
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
