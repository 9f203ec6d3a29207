"""Parts and joined networks as files: safetensors, no pickle, and the uncut network as template.

    save_part(part, "cats.safetensors", names=["cat", "lion"])
    part = load_part("cats.safetensors", torchvision.models.resnet18)

The header says of every module its class, its widths and its other settings, of the outputs their
names, how a joined network was put together, and what the network answers on a few images of noise.
A template gives the code: the uncut network with any weights, or a function that makes one. Its
settings must be those of the file; widths, weights and outputs are taken from there. What no
comparison of settings sees (an activation held as an attribute, other code) shows in the answers.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wlib.check import require
from wlib.mda import cutcheck, wiring
from wlib.mda.lego import OURS, WIDTHS, SideBySide
from wlib.mda.merge import Merge
from wlib.store import tensorfiles
from wlib.store.identity import named_tensors

FORM = "wlib part 1"
Template = nn.Module | Callable[[], nn.Module]


def save_part(net: nn.Module, path: str | os.PathLike,
              names: Sequence[str] | None = None) -> Path:
    """Write a part, or a network joined of parts, grouped or dense, merged or not.

    `names` say what its outputs are; a joined network has names of its own. The old file stays
    until the new one is whole.
    """
    path = Path(path)
    require(isinstance(net, nn.Module), "net", net, "an nn.Module")
    modules = dict(net.named_modules())
    shared = len(list(net.named_modules(remove_duplicate=False))) - len(modules) + len(list(
        net.named_parameters(remove_duplicate=False))) - len(list(net.parameters()))
    require(shared == 0, "net", f"{shared} modules or tensors that are used twice",
            "a network whose layers share no weights")
    described = {name: _described(module) for name, module in modules.items()}
    own = described[""]["told"]
    if names is not None:
        require(not isinstance(names, str) and all(isinstance(n, str) for n in names), "names",
                names, "the names of the outputs")
        outputs = len(own.get("names", own.get("classes", names)))
        require(len(names) == outputs, "names", names, f"a name for each of {outputs} outputs")
        own["names"] = list(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensorfiles.write(path, FORM, named_tensors(net), {
        "made of": json.dumps(_made_of(net)), "modules": json.dumps(described),
        "answers": json.dumps(_answers(net))})
    return path


def load_part(path: str | os.PathLike, template: Template | Sequence[Template]) -> nn.Module:
    """Read what `save_part` wrote, in evaluation mode on the CPU.

    `template` is the uncut network, of any weights, or a function that makes it; a network joined
    of parts of several takes one for each part, in order. A file that is damaged, or of another
    network than the template, is a `ValueError` that says where they differ.
    """
    path = Path(path)
    header, tensors = tensorfiles.read(path, FORM, "save_part")
    try:
        made_of, modules, answers = (json.loads(header[key]) for key in
                                     ("made of", "modules", "answers"))
        count = _count(made_of)
        for entry in modules.values():
            entry["class"], entry["without"], entry["told"].items(), entry["settings"].items()
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as problem:
        raise ValueError(f"path: {path} has a damaged header ({problem})") from problem
    net = _put_together(made_of, _templates(template, count))
    _fit(net, modules)
    _fill(net, tensors)
    _compare(net.eval(), answers)
    return net


# ---- how a network was put together ------------------------------------------------------------
def _made_of(net: nn.Module) -> Any:
    """None for a network with code of its own, else the wlib modules around such networks."""
    if isinstance(net, SideBySide):
        return {"parts": [_made_of(part) for part in net.parts]}
    if type(net) is nn.Sequential and len(net) == 2 and isinstance(net[1], Merge):
        return {"merged": _made_of(net[0]), "groups": net[1].groups, "how": net[1].how}
    return None


def _count(made_of: Any) -> int:
    if made_of is None:
        return 1
    return sum(map(_count, made_of["parts"] if "parts" in made_of else [made_of["merged"]]))


def _put_together(made_of: Any, templates: Iterator[nn.Module]) -> nn.Module:
    if made_of is None:
        return next(templates)
    if "parts" in made_of:
        return SideBySide([_put_together(part, templates) for part in made_of["parts"]])
    return nn.Sequential(_put_together(made_of["merged"], templates),
                         Merge(made_of["groups"], made_of["how"]))


def _templates(template: Template | Sequence[Template], count: int) -> Iterator[nn.Module]:
    """As many copies without weights."""
    several = template if isinstance(template, (list, tuple)) else [template] * count
    require(len(several) == count, "template", f"{len(several)} networks",
            f"one, or one for each of the {count} parts")
    for given in several:
        net: Any = given if isinstance(given, nn.Module) or not callable(given) else given()
        require(isinstance(net, nn.Module), "template", net,
                "the uncut network, or a function that makes it")
        yield copy.deepcopy(net).to("meta")


# ---- what it answers ---------------------------------------------------------------------------
@torch.no_grad()
def _answers(net: nn.Module) -> dict | None:
    """The shape of images of noise and the network's answers; None where none are known to fit."""
    try:
        images = cutcheck.noise(net, wiring.trace(net))
    except ValueError:                 # a network that could not be cut again
        return None
    if images is None:
        return None
    return {"images": list(images.shape), "outputs": wiring.logits(net, images).double().tolist()}


def _compare(net: nn.Module, sample: dict | None) -> None:
    """Refuse a network that answers other than the one that was written."""
    if sample is None:
        return
    images = cutcheck.drawn(sample["images"])
    try:
        got = wiring.logits(net, images)
    except (RuntimeError, ValueError, TypeError) as problem:
        raise ValueError(f"template: got a network that does not run with the file's tensors "
                         f"({problem}), want the network of the file") from problem
    wanted = torch.tensor(sample["outputs"], dtype=got.dtype)
    require(cutcheck.alike(got, wanted, wanted), "template", "a network with other answers than "
            "the one that was written", "its code and its attributes, and a whole file")


# ---- modules and their settings ----------------------------------------------------------------
def _described(module: nn.Module) -> dict[str, Any]:
    """A module's class and settings, what was told of it, and the children it was left without."""
    own = {key: _lists(value) for key, value in vars(module).items()
           if _simple(value) and not key.startswith("_") and key != "training"}
    told = {key: own.pop(key) for key in sorted(OURS) if key in own}
    return {"class": type(module).__name__, "settings": own, "told": told,
            "without": [key for key, child in module._modules.items() if child is None]}


def _simple(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and _simple(list(value.values()))
    return all(map(_simple, value)) if isinstance(value, (list, tuple)) else isinstance(
        value, (bool, int, float, str, type(None)))


def _lists(value: Any, kind: type = list) -> Any:
    """A value as JSON has it, or with `kind` tuple as it was."""
    if isinstance(value, dict):
        return {key: _lists(item, kind) for key, item in value.items()}
    return kind(_lists(item, kind) for item in value) if isinstance(value, (list, tuple)) else value


def _fit(net: nn.Module, modules: dict[str, dict]) -> None:
    """Give the template the file's widths, after all else that both tell has been compared."""
    for name, entry in modules.items():
        module: Any = _at(net, name)
        where = f"template.{name}" if name else "template"
        require(module is not None, where, "no such module", f"{entry['class']}, as in the file")
        require(type(module).__name__ == entry["class"], where, type(module).__name__,
                f"{entry['class']}, as in the file")
        for child in entry["without"]:
            if child in module._modules:
                module._modules[child] = None
        own = _described(module)["settings"]
        for key in OURS:
            if isinstance(vars(module).get(key), dict):
                del vars(module)[key]  # a spec says how wide the uncut network is
        for key, value in entry["told"].items():
            setattr(module, key, _lists(value, tuple))
        for key, value in entry["settings"].items():
            if key in WIDTHS:
                setattr(module, key, _lists(value, tuple))
            elif not isinstance(module, Merge):
                require(own.get(key, value) == value, f"{where}.{key}", own.get(key),
                        f"{value}, as in the file")
    extra = sorted(set(dict(net.named_modules())) - set(modules))
    require(not extra, "template", f"modules {extra[:3]} that the file does not know",
            "the network of the file")


def _at(net: nn.Module, path: str) -> nn.Module | None:
    found: nn.Module | None = net
    for key in path.split(".") if path else ():
        found = None if found is None else found._modules.get(key)
    return found


# ---- tensors -----------------------------------------------------------------------------------
def _fill(net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put the file's tensors in place of the template's; neither may have one that is left over."""
    own = named_tensors(net)
    for name, tensor in tensors.items():
        path, _, last = name.rpartition(".")
        module: Any = _at(net, path)
        require(module is not None and (name in own or hasattr(module, last)), "path",
                f"a tensor {name}", "tensors that the template has")
        old = own.pop(name, None)
        require(old is None or old.ndim == tensor.ndim and old.is_floating_point()
                == tensor.is_floating_point(), name, tensor, "a tensor of the template's kind")
        if isinstance(old, nn.Parameter) or old is None:
            module._parameters[last] = nn.Parameter(
                tensor, requires_grad=old is None or old.requires_grad)
        else:
            module._buffers[last] = tensor
    require(not own, "path", f"no tensors {list(own)[:3]}", "all that the template has")
