"""MDA's second half: build one network from the parts of several (arXiv 2203.13453, section 4).

Parts side by side give their logits one after the other. `assemble` runs them as they are
(execution="grouped") or pads them into one network of wider layers whose weights are block
diagonal (execution="dense", the paper's alignment padding). Both give the same logits; padding
costs more, since zeros are multiplied too. Logits of different sources differ in size; `scaling`
measures by how much, and `assemble` folds it into the last layers.

Letters: B images, K outputs of a part, P inputs and Q outputs of a layer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from wlib.check import require, require_one_of
from wlib.mda import cutcheck, wiring
from wlib.mda.merge import Merge
from wlib.mda.wiring import Layer, Wiring, check_samples

SCALINGS = ("class", "source", "temperature", "z-score")
MERGES = ("keep", "max", "logsumexp")
FLOOR = 1e-3            # a mean winning logit below it would flip or explode a row


# ---- scaling (equations 12 to 14) --------------------------------------------------------------
class Scale(NamedTuple):
    """What makes a part's logits comparable: z·factor + shift. `clamped` are the outputs whose own
    images gave no usable size, and which took the part's."""

    factor: Tensor          # (K,)
    shift: Tensor           # (K,)
    clamped: tuple[int, ...] = ()


def scaling(net: nn.Module, images: Tensor, labels: Tensor, kind: str = "class") -> Scale:
    """Measure the size of a part's logits on images of its own classes.

    `labels` count the part's outputs from 0 (`mda.of_classes` renumbers). Take training images
    that did not choose the channels; the official script takes the test images.

    `class`: 1/e_c with e_c the mean winning logit of class c's correctly classified images, as in
    the official code; equation 14 up to a common factor, which `common` gives back. `source`: one
    such factor for all outputs. `temperature`: the one factor with the least cross-entropy.
    `z-score`: mean 0 and deviation 1 over all logits.

    A size that is not there or not above `FLOOR` is replaced by the part's mean, and that by 1, so
    that no factor is NaN, negative or huge. One output has no cross-entropy to fit: `temperature`
    is `source` then.
    """
    require_one_of("kind", kind, SCALINGS)
    count = wiring.trace(net).classes
    check_samples(images, labels, count)
    z, labels = wiring.require_finite(wiring.logits(net, images)), labels.cpu()    # (B, K)
    winning, answer = z.max(1)
    right = answer == labels
    overall = _usable(winning[right].mean(), torch.tensor(1.0))
    shift, clamped = torch.zeros(count), ()
    if kind == "class":
        sizes = torch.stack([winning[right & (labels == c)].mean() for c in range(count)])
        clamped = tuple((~(sizes > FLOOR)).nonzero().flatten().tolist())
        factor = 1 / _usable(sizes, overall)
    elif kind == "z-score":
        spread = _usable(z.std(correction=0), torch.tensor(1.0))
        factor = (1 / spread).expand(count)
        shift = (-z.mean() / spread).expand(count)
    elif kind == "temperature" and count > 1:
        factor = torch.full((count,), _best_factor(z, labels))
    else:
        factor = (1 / overall).expand(count)
    return Scale(factor.clone(), shift.clone(), clamped)


def _usable(size: Tensor, instead: Tensor) -> Tensor:
    return torch.where(size > FLOOR, size, instead)          # NaN is not above it


def _best_factor(z: Tensor, labels: Tensor) -> float:
    """The factor s that minimizes the cross-entropy of s·z; convex in s, searched over log s."""
    z = z.double()

    def loss(log_s: float) -> float:
        return float(F.cross_entropy(z * math.exp(log_s), labels))

    return math.exp(minimize_scalar(loss, bounds=(-7, 7), method="bounded").x)


def common(scales: Sequence[Scale]) -> list[Scale]:
    """The scales times the mean size of all outputs, the numerator of equation 14.

    No answer changes. Logits get back the size that training gave them, which confidence and
    fine-tuning depend on; without it the winning logits are all near 1.
    """
    mean = (1 / torch.cat([s.factor for s in scales])).mean()
    return [Scale(s.factor * mean, s.shift * mean, s.clamped) for s in scales]


def scaled(part: nn.Module, scale: Scale | float) -> nn.Module:
    """A copy of a part with the scale folded into its last layer, weights and bias."""
    wires = wiring.trace(part)
    if not isinstance(scale, Scale):
        scale = Scale(torch.full((wires.classes,), float(scale)), torch.zeros(wires.classes))
    require(wires.head is not None and wires.layers[wires.head].votes, "part",
            type(part).__name__, "a network whose last layer gives the logits")
    require(scale.factor.shape == scale.shift.shape == (wires.classes,), "scale",
            tuple(scale.factor.shape), f"a factor and a shift for each of {wires.classes} outputs")
    require(bool((scale.factor > 0).all() and scale.factor.isfinite().all()
                 and scale.shift.isfinite().all()), "scale", scale.factor.tolist(),
            "positive, finite factors")
    part = copy.deepcopy(part)                   # a weight that two layers hold was refused
    head: Any = part.get_submodule(str(wires.head))
    factor, shift = scale.factor.to(head.weight), scale.shift.to(head.weight)
    with torch.no_grad():
        head.weight.mul_(factor.view(-1, *[1] * (head.weight.ndim - 1)))
        if head.bias is not None:
            head.bias.mul_(factor).add_(shift)
        elif shift.any():
            head.bias = nn.Parameter(shift)
    return part


# ---- assembling --------------------------------------------------------------------------------
class SideBySide(nn.Module):
    """Parts on the same images, their logits one after the other: (B, K₁ + K₂ + …)."""

    def __init__(self, parts: Sequence[nn.Module]):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        logits: list[Tensor] = []                # a loop, for torch.jit.script
        for part in self.parts:
            logits.append(part(x))
        return torch.cat(logits, dim=1)


def assemble(parts: Sequence[nn.Module], scales: Sequence[Scale | float] | None = None,
             execution: str = "grouped", names: Sequence[Sequence[str]] | None = None,
             merge: str = "keep", images: Tensor | None = None, check: bool = True) -> nn.Module:
    """One network of several parts; its outputs are the parts' outputs in order.

    `scales` has one for each part (`scaling`). execution="grouped" runs the parts side by side,
    of any architectures, at the cost of their sum; fine-tuning leaves them apart. "dense" pads
    networks of one architecture into one (section 4.1); its zeros are weights like others and
    learn when it is trained. `names` are the parts' class names; with merge="max" or "logsumexp"
    outputs of one name become one. The result's `names` say what its outputs are.

    All parts must take the same images, channels and size; what a part does to an image first, it
    does itself. "dense" wants the same operations, settings and uncut tensors of all parts, and
    with `check` it is held against the parts on `images`, else on noise (`cutcheck`). The
    parts are copied.
    """
    parts = list(parts)
    require(len(parts) > 0 and all(isinstance(p, nn.Module) for p in parts), "parts", parts,
            "at least one nn.Module")
    require_one_of("execution", execution, ("grouped", "dense"))
    require_one_of("merge", merge, MERGES)
    wirings = [wiring.trace(part) for part in parts]
    _check_images(parts, wirings)
    require(scales is None or len(scales) == len(parts), "scales", scales,
            f"one for each of the {len(parts)} parts")
    flat = _flat_names(names, wirings, merge)
    parts = ([copy.deepcopy(part) for part in parts] if scales is None else
             [scaled(part, scale) for part, scale in zip(parts, scales, strict=True)])
    joined: Any = SideBySide(parts) if execution == "grouped" else _padded(parts)
    if execution == "dense" and check:
        images = cutcheck.noise(parts[0], wirings[0]) if images is None else images
        if images is not None:
            cutcheck.check_join(joined, parts, images)
    joined.names = flat
    if merge == "keep":
        return joined
    different = list(dict.fromkeys(flat))
    groups = [[i for i, name in enumerate(flat) if name == output] for output in different]
    merged: Any = nn.Sequential(joined, Merge(groups, merge))
    merged.names = tuple(different)
    return merged


def _flat_names(names: Sequence[Sequence[str]] | None, wirings: list[Wiring],
                merge: str) -> tuple:
    if names is None:
        require(merge == "keep", "names", None, "the parts' class names, to merge by")
        return tuple((p, k) for p, w in enumerate(wirings) for k in range(w.classes))
    require(len(names) == len(wirings)
            and all(len(n) == w.classes for n, w in zip(names, wirings, strict=True)), "names",
            [len(n) for n in names], f"as many a part as it has outputs, "
            f"{[w.classes for w in wirings]}")
    return tuple(name for own in names for name in own)


def _check_images(parts: list[nn.Module], wirings: list[Wiring]) -> None:
    """All parts take the same images, as far as their layers tell."""
    for what, of in (("channels", _channels),
                     ("an image size", lambda part, _: cutcheck.size_of(part))):
        known = [(i, of(part, wires)) for i, (part, wires) in
                 enumerate(zip(parts, wirings, strict=True))]
        known = [(i, value) for i, value in known if value is not None]
        for i, got in known:
            require(got == known[0][1], f"parts[{i}]", f"{what} of {got}", f"{what} of "
                    f"{known[0][1]}, as parts[{known[0][0]}]: one image goes to all parts")


def _channels(part: nn.Module, wires: Wiring) -> int | None:
    """Channels of the image, where a convolution reads it."""
    stem = next((n for n, layer in wires.layers.items() if layer.reads is None), None)
    return getattr(part.get_submodule(stem), "in_channels", None) if stem else None


# ---- alignment padding (section 4.1) -----------------------------------------------------------
def _padded(parts: list[nn.Module]) -> nn.Module:
    """[[A, 0], [0, B]] in every layer but the stem, which all parts' filters share the image of."""
    wirings = [wiring.trace(part) for part in parts]
    for i, (part, wires) in enumerate(zip(parts, wirings, strict=True)):
        require(not wires.unpaddable, f"parts[{i}]", wires.unpaddable,
                "a network without it, or execution='grouped'")
        require(not wires.softmax, f"parts[{i}]", f"a final {wires.softmax}",
                "logits as outputs, or execution='grouped'")
        other = _difference(parts[0], wirings[0], part, wires)
        require(not other, f"parts[{i}]", f"{type(part).__name__} with {other}",
                "the architecture of parts[0] (execution='grouped' takes any)")
    wide = copy.deepcopy(parts[0])
    for own in ("spec", *(("classes", "rescued") if hasattr(wide, "rescued") else ())):
        wide.__dict__.pop(own, None)             # of the first part alone
    for name in wirings[0].layers:
        _pad(wide.get_submodule(name), [part.get_submodule(name) for part in parts],
             [wires.layers[name] for wires in wirings])
    for path in wirings[0].vectors:
        owner, _, name = path.rpartition(".")
        vectors = [wires.vectors[path] for wires in wirings]
        module = wide.get_submodule(owner)
        _place(module, name, [part.get_submodule(owner) for part in parts],
               [(i,) for i in _places([v.pieces for v in vectors])], vectors[0].axis)
        if isinstance(module, nn.PReLU):
            module.num_parameters = len(module.weight)
    return wide


WIDTHS = {"in_channels", "out_channels", "in_features", "out_features", "num_features", "groups",
          "num_parameters", "training"}          # settings in which parts may differ
OURS = {"classes", "rescued", "names", "spec", "image_size"}     # what this library writes there


def _difference(a: nn.Module, own: Wiring, b: nn.Module, wires: Wiring) -> str:
    """What keeps two networks from being one wider network; "" if they differ in widths alone."""
    if own.steps != wires.steps or list(own.layers) != list(wires.layers):
        return "other operations"
    pairs = dict(a.named_modules()), dict(b.named_modules())
    if pairs[0].keys() != pairs[1].keys():
        return "other modules"
    for name, mine in pairs[0].items():
        other = pairs[1][name]
        if type(mine) is not type(other):
            return f"{name} ({type(other).__name__})"
        here, there = ({k: v for k, v in vars(m).items() if not k.startswith("_")
                         and k not in WIDTHS | (set() if name else OURS)} for m in (mine, other))
        for key in here.keys() | there.keys():
            if not _equal(here.get(key), there.get(key)):
                return f"another setting {f'{name}.{key}'.lstrip('.')}"
    return _other_tensor(a, own, b)


def _other_tensor(a: nn.Module, own: Wiring, b: nn.Module) -> str:
    """A tensor that both networks have whole, and that differs: it can only be one."""
    cut = set(own.vectors) | {f"{name}.{tensor}" for name in own.layers for tensor in
                              ("weight", "bias", "running_mean", "running_var",
                               "num_batches_tracked")}
    tensors = [dict([*net.named_parameters(remove_duplicate=False),
                     *net.named_buffers(remove_duplicate=False)]) for net in (a, b)]
    for path in tensors[0].keys() | tensors[1].keys():
        pair = [t.get(path) for t in tensors]
        if None in [None if t is None else 0 for t in pair] or (
                path not in cut and not _equal(*pair)):
            return f"another tensor {path}"
    return ""


def _equal(one: Any, two: Any) -> bool:
    """Whether two settings are the same; what cannot be told counts as different."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.shape == two.shape and one.dtype == two.dtype and torch.equal(one, two)
    try:
        return type(one) is type(two) and bool(one is two or one == two)
    except (RuntimeError, ValueError):
        return False


def _pad(wide: Any, modules: list[Any], layers: list[Layer]) -> None:
    """Fill one layer of the wide network with the parts' layers, block by block."""
    kinds = {layer.kind for layer in layers}     # one group left makes a plain convolution
    kind = "grouped" if "grouped" in kinds else kinds.pop()
    inputs = _places([layer.pieces for layer in layers], layers[0].taps)
    if kind == "norm":
        wide.num_features = sum(m.num_features for m in modules)
        for name in ("weight", "bias", "running_mean", "running_var"):
            _place(wide, name, modules, [(i,) for i in inputs])
        return
    if kind == "grouped":
        per_group = [m.in_channels // m.groups for m in modules]
        require(len(set(per_group)) == 1, "parts", f"groups of {per_group} in {layers[0].name}",
                "groups of one width")
        factor = modules[0].out_channels // modules[0].in_channels
        outputs = _places([[w * factor for w in layer.pieces] for layer in layers])
        wide.groups = sum(m.groups for m in modules)
        columns: list[Tensor | None] = [None] * len(modules)
    else:
        outputs = _places([[len(layer.writes)] for layer in layers])
        columns = [None if layer.reads is None else i
                   for layer, i in zip(layers, inputs, strict=True)]
    _place(wide, "weight", modules, list(zip(outputs, columns, strict=True)))
    _place(wide, "bias", modules, [(o,) for o in outputs])
    width_in, width_out = ("in_features", "out_features") if kind == "fc" else (
        "in_channels", "out_channels")
    setattr(wide, width_out, sum(getattr(m, width_out) for m in modules))
    if layers[0].reads is not None:
        setattr(wide, width_in, sum(getattr(m, width_in) for m in modules))


def _places(pieces: list[Sequence[int]], taps: int = 1) -> list[Tensor]:
    """Where each part's channels lie in the wide tensor.

    A concatenation puts all parts' first pieces first, then all second ones: a consumer's columns
    have to follow that order, [A₁ B₁ A₂ B₂], and not [A₁ A₂ B₁ B₂].
    """
    places: list[list[Tensor]] = [[] for _ in pieces]
    start = 0
    for widths in zip(*pieces, strict=True):
        for own, width in zip(places, widths, strict=True):
            own.append(torch.arange(start, start + width * taps))
            start += width * taps
    return [torch.cat(own) if own else torch.empty(0, dtype=torch.long) for own in places]


def _place(wide: nn.Module, name: str, modules: list[nn.Module], places: list[tuple],
           axis: int = 0) -> None:
    """Write the parts' tensors to their places in one tensor of zeros; rows lie along `axis`."""
    tensors = [getattr(m, name, None) for m in modules]
    if all(t is None for t in tensors):
        return
    given = next(t for t in tensors if t is not None)
    shape = list(given.shape)
    shape[axis] = sum(len(p[0]) for p in places)
    if len(places[0]) > 1 and places[0][1] is not None:
        shape[1] = sum(len(p[1]) for p in places)
    whole = given.new_zeros(shape)
    for tensor, (rows, *columns) in zip(tensors, places, strict=True):
        if tensor is None:
            continue
        if columns and columns[0] is not None:
            whole[rows[:, None], columns[0]] = tensor.detach()
        else:
            whole.index_copy_(axis, rows.to(whole.device), tensor.detach())
    if isinstance(given, nn.Parameter):
        whole = nn.Parameter(whole, requires_grad=given.requires_grad)
    setattr(wide, name, whole)
