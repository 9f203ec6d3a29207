"""The wiring of a network: which output channels feed which inputs, found with `torch.fx`.

Every channel that a layer writes is a *wire*. BatchNorm, activations, pooling and dropout pass a
wire on; flattening makes H·W features of one wire; a concatenation lines wires up; an addition
(residual streams) or a product ties two wires into one, and so does a depthwise or grouped
convolution with the channels of one group. To drop a channel is to drop a wire, in every layer
that writes or reads it: whatever is cut along wires fits together again.

What has no wires of its own is refused by name: layers that mix all channels (LayerNorm,
GroupNorm, softmax, attention), shapes written down as numbers, control flow that looks at data.

Letters: P inputs and Q outputs of a layer, n wires of a network.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from torchvision.ops import StochasticDepth, stochastic_depth

from wlib.check import require
from wlib.merge import Merge

NORMS = (nn.modules.batchnorm._NormBase,)      # BatchNorm and InstanceNorm: a row for each wire
PASS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
        nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Identity,
        nn.modules.dropout._DropoutNd, nn.modules.pooling._MaxPoolNd,
        nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
        nn.modules.pooling._AdaptiveMaxPoolNd, nn.modules.padding._ConstantPadNd,
        nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd,
        nn.Upsample, StochasticDepth)
PASS_CALLS = {F.relu, F.relu6, F.leaky_relu, F.elu, F.gelu, F.silu, F.mish, F.hardswish,
              F.hardsigmoid, F.hardtanh, F.sigmoid, F.tanh, F.softplus, torch.relu, torch.relu_,
              torch.sigmoid, torch.tanh, F.dropout, F.dropout2d, F.max_pool2d, F.avg_pool2d,
              F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.interpolate, torch.clone,
              torch.clamp, stochastic_depth, "relu", "relu_", "sigmoid", "tanh", "contiguous",
              "clone", "detach", "float", "double", "to", "clamp"}
ADD = {operator.add, operator.iadd, operator.sub, torch.add, torch.sub, "add", "add_", "sub"}
TIMES = {operator.mul, operator.imul, operator.truediv, torch.mul, torch.div, "mul", "mul_", "div"}
MEAN = {torch.mean, torch.amax, torch.sum, "mean", "amax", "sum"}
FLATTEN = {torch.flatten, torch.reshape, "flatten", "view", "reshape"}
JOIN = {torch.cat, torch.concat, torch.concatenate}
MIX_ROWS = {operator.matmul, torch.matmul, torch.mm, torch.sparse.mm, "matmul", "mm"}   # of a graph
WHY = {nn.LayerNorm: "it normalizes over all channels together",
       nn.GroupNorm: "it normalizes over several channels together",
       nn.LocalResponseNorm: "it normalizes over neighboring channels",
       nn.MultiheadAttention: "attention mixes all features of all places",
       nn.TransformerEncoderLayer: "attention mixes all features of all places",
       nn.Softmax: "it sets every output against all the others",
       nn.LogSoftmax: "it sets every output against all the others"}
UNKNOWN = "no rule says how its channels are wired"
LEAVES = (nn.Conv2d, nn.Linear, *NORMS, *PASS, nn.Flatten, Merge, *WHY)


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer with weights: its kind, and the wires of its inputs and outputs.

    `kind` is conv, fc, grouped (also depthwise) or norm. `reads` (P,) is None where the layer
    reads the image. An fc behind a flattening has `taps` = H·W features a wire. `pieces` are the
    widths of the concatenated tensors that it reads.
    """

    name: str
    kind: str
    reads: Tensor | None
    writes: Tensor
    pieces: tuple[int, ...] = ()
    taps: int = 1

    @property
    def features(self) -> Tensor | None:
        """The wire of every input feature (P·taps,), channel by channel as a flattening does."""
        return None if self.reads is None else self.reads.repeat_interleave(self.taps)

    @property
    def votes(self) -> bool:
        """Whether the layer chooses among its inputs; norms and grouped convolutions do not."""
        return self.kind in ("conv", "fc")


@dataclass(frozen=True, eq=False)
class Wiring:
    """All layers with weights in the order in which they run, and the wires between them."""

    layers: dict[str, Layer]
    wires: int                          # n
    outputs: Tensor                     # (K,) the wires of the logits
    head: str | None                    # the layer whose outputs are the logits, if one's are
    norm_of: dict[str, str]             # the norm that directly follows a layer
    defined: tuple[str, ...]            # layers that vote, in the order of their definition
    unused: tuple[str, ...]             # modules that evaluation does not reach, outermost first
    before: tuple                       # what is done to the image before the first layer
    steps: tuple                        # every operation of the trace: equal if networks are alike
    tangled: str = ""                   # an operation that keeps blocks from being padded

    @property
    def voting(self) -> dict[str, Layer]:
        return {name: layer for name, layer in self.layers.items() if layer.votes}

    @property
    def classes(self) -> int:
        return len(self.outputs)

    @cached_property
    def streams(self) -> Tensor:
        """(n,) a number for each wire: wires that the same layers write are one stream.

        What a layer writes is one stream, and so is what all blocks of a residual stage write.
        """
        writers: list[set] = [set() for _ in range(self.wires)]
        for name, layer in self.layers.items():
            if layer.kind != "norm":
                for wire in layer.writes.tolist():
                    writers[wire].add(name)
        numbers: dict[frozenset, int] = {}
        return torch.tensor([numbers.setdefault(frozenset(w), len(numbers)) for w in writers])


def trace(net: nn.Module) -> Wiring:
    """The wiring of a network that takes images (B,C,H,W) and gives logits (B,K).

    The network runs symbolically, in evaluation mode and without an image, and stays as it was.
    `ValueError` names the module that cannot be cut and says why.
    """
    require(isinstance(net, nn.Module), "net", net, "an nn.Module")
    tracer = _Tracer()
    try:
        with evaluating(net):
            graph = tracer.trace(net)
    except Exception as error:        # whatever the network's own code raises on a symbolic image
        what, why = _mixing(net) or (tracer.failed or type(net).__name__,
                                     f"control flow must not look at data ({error})")
        raise ValueError(f"net: got {what}, want operations that can be cut: {why}") from error
    return _Walk(net, graph).run()


@contextlib.contextmanager
def evaluating(net: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode; afterwards every module is as it was."""
    modes = [(module, module.training) for module in net.modules()]
    try:
        yield net.eval()
    finally:
        for module, mode in modes:
            module.training = mode


class _Tracer(fx.Tracer):
    """Layers stay whole, all else is taken apart; remembers which module could not be traced."""

    failed = ""

    def is_leaf_module(self, module, name):
        return isinstance(module, LEAVES) or super().is_leaf_module(module, name)

    def call_module(self, module, forward, args, kwargs):
        try:
            return super().call_module(module, forward, args, kwargs)
        except Exception:
            self.failed = self.failed or f"{self.path_of_module(module)} ({type(module).__name__})"
            raise


@dataclass(frozen=True, eq=False)
class _Feature:
    """A tensor on its way: the wire of each channel, None for the image and what is made of it."""

    wires: list[int] | None
    pieces: tuple[int, ...] = ()
    flat: bool = False                  # flattened: an unknown number of features a channel
    source: str | None = field(default=None)       # the layer it comes from, with nothing between


class _Walk:
    """Follow the wires through a traced graph, operation by operation."""

    def __init__(self, net: nn.Module, graph: fx.Graph):
        self.net, self.graph = net, graph
        self.parent: list[int] = []                  # wires tied together form trees
        self.found: dict[str, dict] = {}             # layers, with wires not yet final
        self.norm_of: dict[str, str] = {}
        self.before: list = []
        self.tangled = ""
        self.values: dict[fx.Node, _Feature | None] = {}     # None: a size, a constant

    def run(self) -> Wiring:
        for node in self.graph.nodes:
            self.values[node] = self.step(node)
        output = next(n for n in self.graph.nodes if n.op == "output").args[0]
        result = self.values.get(output) if isinstance(output, fx.Node) else None
        require(result is not None and result.wires is not None, "net",
                "outputs of another kind", "one tensor of logits (B, K)")
        roots = {}                                   # final numbers, in order of appearance
        number = [roots.setdefault(self.root(w), len(roots)) for w in range(len(self.parent))]

        def final(wires):
            return None if wires is None else torch.tensor([number[w] for w in wires])

        layers = {name: Layer(name, **{k: final(v) if k in ("reads", "writes") else v
                                       for k, v in parts.items()})
                  for name, parts in self.found.items()}
        own = [(name, m) for name, m in self.net.named_modules()
               if name and next(m.parameters(recurse=False), None) is not None]
        return Wiring(
            layers, len(roots), final(result.wires), result.source, self.norm_of,
            tuple(name for name, _ in own if name in layers and layers[name].votes),
            _unreached([name for name, _ in own], layers),
            tuple(self.before),
            tuple((n.op, getattr(n.target, "__name__", str(n.target)), str(n.args), str(n.kwargs))
                  for n in self.graph.nodes), self.tangled)

    # ---- wires ------------------------------------------------------------------------------
    def new(self, count: int) -> list[int]:
        first = len(self.parent)
        self.parent.extend(range(first, first + count))
        return list(range(first, first + count))

    def root(self, wire: int) -> int:
        while self.parent[wire] != wire:
            self.parent[wire] = wire = self.parent[self.parent[wire]]
        return wire

    def tie(self, a: list[int], b: list[int]) -> None:
        for x, y in zip(a, b, strict=True):
            x, y = self.root(x), self.root(y)
            self.parent[max(x, y)] = min(x, y)

    # ---- one operation ----------------------------------------------------------------------
    def step(self, node: fx.Node) -> _Feature | None:
        if node.op == "placeholder":
            return _Feature(None) if not any(n.op == "placeholder" for n in self.values) else None
        inputs = [f for f in map(self.values.get, node.all_input_nodes) if f is not None]
        if node.op in ("get_attr", "output") or not inputs or self.is_size(node):
            return None
        if node.op == "call_module":
            return self.module(node, inputs[0])
        if all(f.wires is None for f in inputs):     # something done to the image: never cut
            self.before.append(self.written(node))
            return _Feature(None)
        return self.call(node, inputs)

    @staticmethod
    def is_size(node: fx.Node) -> bool:
        return (node.target in ("size", "dim") or node.target is getattr
                and node.args[1] in ("shape", "ndim", "device", "dtype"))

    def module(self, node: fx.Node, x: _Feature) -> _Feature:
        name, module = node.target, self.net.get_submodule(node.target)
        if isinstance(module, (nn.Conv2d, nn.Linear, *NORMS)):
            if name in self.found:
                self.refuse(node, "it is used twice")
            if parametrize.is_parametrized(module) or isinstance(
                    getattr(module, "weight", None), nn.UninitializedParameter):
                self.refuse(node, "its weights are computed from others or not there yet")
        if isinstance(module, nn.Conv2d):
            return self.convolution(node, module, x)
        if isinstance(module, nn.Linear):
            wires, taps = self.read(node, x, module.in_features)
            return self.written_by(name, "fc", wires, module.out_features, x, taps)
        if isinstance(module, NORMS):
            if x.wires is None:
                if any(True for _ in module.parameters()):
                    self.refuse(node, "it learns a row for each channel of the image")
                self.before.append((type(module).__name__, _numbers(module.running_mean),
                                    _numbers(module.running_var)))
                return x
            wires, taps = self.read(node, x, module.num_features)
            self.found[name] = dict(kind="norm", reads=wires, writes=wires, pieces=x.pieces,
                                    taps=taps)
            if x.source:
                self.norm_of[x.source] = name
            return replace(x, source=None)
        if isinstance(module, Merge):
            return self.merge(node, module, x)
        if isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1):
                self.refuse(node, "it flattens other than nn.Flatten() does")
            return replace(x, flat=True)
        if isinstance(module, PASS) or getattr(module, "num_parameters", 0) == 1:     # PReLU's
            if x.wires is None and not isinstance(module, nn.Identity):
                self.before.append((type(module).__name__, repr(module)))
            return replace(x, source=x.source if isinstance(module, nn.Identity) else None)
        self.refuse(node, UNKNOWN)

    def merge(self, node, module, x) -> _Feature:
        """Columns that become one output are kept or dropped together."""
        wires, taps = self.read(node, x, sum(map(len, module.groups)))
        if wires is None or taps > 1:
            self.refuse(node, "it reads other than logits")
        for first, *others in module.groups:
            self.tie([wires[i] for i in others], [wires[first]] * len(others))
        self.found[node.target] = dict(kind="norm", reads=wires, writes=wires, pieces=x.pieces)
        self.tangled = self.tangled or f"{node.target}: it makes one output of several"
        written = [wires[group[0]] for group in module.groups]
        return _Feature(written, (len(written),))

    def convolution(self, node, module, x) -> _Feature:
        if x.flat:
            self.refuse(node, "it reads flattened features")
        wires, _ = self.read(node, x, module.in_channels)
        if module.groups == 1:
            return self.written_by(node.target, "conv", wires, module.out_channels, x)
        if wires is None:
            self.refuse(node, "it reads the image in groups")
        groups, written = module.groups, self.new(module.out_channels)
        wide, high = len(wires) // groups, len(written) // groups
        for g in range(groups):                      # a group is kept or dropped as a whole
            members = wires[g * wide:(g + 1) * wide] + written[g * high:(g + 1) * high]
            self.tie(members[1:], members[:1] * (len(members) - 1))
        self.found[node.target] = dict(kind="grouped", reads=wires, writes=written,
                                       pieces=x.pieces)
        if any(width % wide for width in x.pieces):
            self.tangled = self.tangled or f"{node.target}: its groups span concatenated tensors"
        return _Feature(written, tuple(w // wide * high for w in x.pieces), source=node.target)

    def written_by(self, name, kind, reads, count, x, taps=1) -> _Feature:
        written = self.new(count)
        self.found[name] = dict(kind=kind, reads=reads, writes=written, pieces=x.pieces, taps=taps)
        return _Feature(written, (count,), source=name)

    def read(self, node, x: _Feature, count: int) -> tuple[list[int] | None, int]:
        """The wires that a layer with `count` inputs reads, and its features a wire."""
        if x.wires is None:
            return None, 1
        taps, rest = divmod(count, len(x.wires))
        if rest or taps < 1 or (taps > 1 and not x.flat):
            self.refuse(node, f"it reads {count} features where {len(x.wires)} channels come")
        return x.wires, taps

    def call(self, node: fx.Node, inputs: list[_Feature]) -> _Feature:
        target, x = node.target, inputs[0]
        if target in JOIN:
            return self.join(node, inputs)
        if target in ADD | TIMES:
            return self.combine(node, inputs)
        if target in MIX_ROWS and len(inputs) == 1 and self.values.get(node.args[0]) is None:
            return replace(x, source=None)           # rows are nodes of a graph, wires stay
        if len(inputs) > 1:
            self.refuse(node, UNKNOWN)
        if target in PASS_CALLS:
            return replace(x, source=None)
        if target in MEAN:
            dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
            if _dims(dims) <= {2, 3, -1, -2} and dims is not None:
                return replace(x, source=None)
            self.refuse(node, "it averages over channels")
        if target in FLATTEN:
            if _is_flatten(node):
                return replace(x, flat=True)
            self.refuse(node, "it gives shapes as numbers or moves channels; "
                              "torch.flatten(x, 1) can be cut")
        if target in ("squeeze", torch.squeeze) and _dims(node.args[1:]) <= {2, 3, -1, -2}:
            return x
        self.refuse(node, UNKNOWN)

    def join(self, node, inputs) -> _Feature:
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        if any(f.wires is None for f in inputs) or dim not in (1, -3):
            self.refuse(node, "it joins other than channels of layers")
        if any(f.flat for f in inputs):
            self.refuse(node, "it joins flattened features")
        inputs = [self.values[n] for n in node.args[0]]           # with repetitions, in order
        return _Feature([w for f in inputs for w in f.wires],
                        tuple(p for f in inputs for p in f.pieces))

    def combine(self, node, inputs) -> _Feature:
        """A sum or product of two features ties their wires; with a number it changes none."""
        constants = [a for a in node.args if isinstance(a, fx.Node) and self.values[a] is None]
        if len(inputs) == 1 and not constants:
            return replace(inputs[0], source=None)
        if len(inputs) < 2 or any(f.wires is None for f in inputs):
            self.refuse(node, "it mixes channels with the image or with numbers of its own")
        a, b = inputs
        if len(a.wires) != len(b.wires) or a.flat != b.flat:
            self.refuse(node, "it combines different numbers of channels")
        if a.pieces != b.pieces:
            self.tangled = self.tangled or f"{node.name}: it adds a concatenation to one tensor"
        self.tie(a.wires, b.wires)
        return replace(a, source=None)

    def written(self, node: fx.Node) -> tuple:
        """An operation on the image with the numbers it uses, to compare two networks by."""
        return (str(getattr(node.target, "__name__", node.target)),
                *(_numbers(_attribute(self.net, a.target)) if a.op == "get_attr" else None
                  for a in node.all_input_nodes),
                *(a for a in node.args if not isinstance(a, fx.Node)))

    def refuse(self, node: fx.Node, why: str):
        culprit = _mixing(self.net)              # says more than the reshaping around it
        if culprit:
            what, why = culprit
        elif node.op == "call_module":
            what = f"{node.target} ({type(self.net.get_submodule(node.target)).__name__})"
        else:
            scope = list(node.meta.get("nn_module_stack", {"": ("", type(self.net))}).values())
            where, kind = scope[-1]
            name = getattr(node.target, "__name__", str(node.target))
            what = f"{name} in {where or 'the network'} ({getattr(kind, '__name__', kind)})"
        raise ValueError(f"net: got {what}, want operations that can be cut: {why}")


def _mixing(net: nn.Module) -> tuple[str, str] | None:
    """The first module that can never be cut, if there is one: its name and why."""
    return next(((f"{name or 'the network'} ({type(m).__name__})", why)
                 for name, m in net.named_modules() for kind, why in WHY.items()
                 if isinstance(m, kind)), None)


def _unreached(weighted: list[str], layers: dict) -> tuple[str, ...]:
    """The outermost modules with weights in which no layer runs."""
    def around(name):
        parts = name.split(".")
        return [".".join(parts[:i]) for i in range(1, len(parts) + 1)]

    reached = {outer for name in layers for outer in around(name)}
    return tuple(dict.fromkeys(next(outer for outer in around(name) if outer not in reached)
                               for name in weighted if name not in layers))


def _is_flatten(node: fx.Node) -> bool:
    """Whether a call makes (B, C·H·W) of (B,C,H,W) without naming the width as a number."""
    sizes = node.args[1:]
    if node.target in (torch.flatten, "flatten"):
        bounds = (*sizes, *node.kwargs.values())
        return bounds in ((1,), (1, -1))
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return len(sizes) == 2 and sizes[0] != -1 and sizes[1] == -1


def _dims(dims) -> set:
    return set(dims) if isinstance(dims, (tuple, list)) else {dims}


def _attribute(net, path: str):
    for part in path.split("."):
        net = getattr(net, part)
    return net


def _numbers(tensor) -> tuple | None:
    return None if tensor is None else tuple(torch.as_tensor(tensor).flatten().tolist())


def logits(net: nn.Module, images: Tensor, watch=None, at_once: int = 64) -> Tensor:
    """The network's outputs (B,K) in evaluation mode, without gradients, a few images at a time.

    `watch(name, layer, input)` is called with the input of every named layer as it runs, so that
    no feature map outlives its layer.
    """
    first = next(net.parameters())
    hooks = [] if watch is None else [
        module.register_forward_pre_hook(
            lambda m, inputs, name=name: watch(name, m, inputs[0]))
        for name, module in net.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    try:
        with evaluating(net), torch.no_grad():
            return torch.cat([net(part.to(first.device, first.dtype)).cpu()
                              for part in images.split(at_once)])
    finally:
        for hook in hooks:
            hook.remove()


def check_samples(images: Tensor, labels: Tensor, classes: int) -> None:
    """Refuse images that are no floats and labels that name no output of the network."""
    require(isinstance(images, Tensor) and images.is_floating_point() and images.ndim >= 2
            and len(images) > 0, "images", images,
            "floats (B, C, H, W), at least one (an ImageSet gives them by floats())")
    require(isinstance(labels, Tensor) and labels.dtype == torch.int64
            and labels.shape == images.shape[:1], "labels", labels,
            f"int64 of shape ({len(images)},), one an image")
    low, high = int(labels.min()), int(labels.max())
    require(0 <= low and high < classes, "labels", f"labels from {low} to {high}",
            f"labels from 0 to {classes - 1}, the network's outputs")
