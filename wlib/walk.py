"""Follow channels through a traced network, operation by operation: the rules of `wlib.wiring`.

A tensor on its way is a `Feature`: which of its axes holds channels, and the wire of each. A rule
says what an operation does to them. Where no rule applies, or the layout is not known for sure,
the channels that go in are *pinned*: no cut takes them, so that the operation computes in the part
what it computes in the network, whatever it is. What comes out is a tensor like the image, of
which nothing is ever cut.

Sizes are followed too: `x.size(1)` stands for the count of wires, which a cut changes, and a
number that is computed from it pins them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from wlib.check import require
from wlib.merge import Merge
from wlib.tracing import MIXES, Tracer, base, mixing

NORMS = (nn.modules.batchnorm._NormBase,)      # BatchNorm and InstanceNorm: a row for each wire
POINTS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
          nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink, nn.Sigmoid, nn.LogSigmoid,
          nn.Tanh, nn.Tanhshrink, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Threshold,
          nn.Identity, nn.modules.dropout._DropoutNd)
PLACES = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd,
          nn.modules.pooling._LPPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
          nn.modules.pooling._AdaptiveMaxPoolNd, nn.modules.padding._ConstantPadNd,
          nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd,
          nn.modules.padding._CircularPadNd, nn.Upsample)
UNKNOWN = "no rule says how its channels are wired"
CHANNELS, BATCH = "channels", "batch"


class Batch:
    """The identity of a batch: two tensors have it in common if neither was folded into it."""


@dataclass(frozen=True, eq=False)
class Feature:
    """A tensor: the wire of each channel, None for the image and what is made of it.

    `axes` says what each axis holds: BATCH, CHANNELS, a size, or None where the size is not known;
    it is None itself where their number is not known, and channels are then last.
    """

    wires: list[int] | None = None
    axes: tuple | None = None
    batch: Batch | None = None          # None: a parameter or buffer
    pieces: tuple[int, ...] = ()
    flat: bool = False                  # flattened: an unknown number of features a channel
    source: str | None = None           # the layer it comes from, with nothing between
    path: str | None = None             # the parameter or buffer that it is
    last: str = ""                      # a softmax over the channels, which only outputs may have

    @property
    def axis(self) -> int:
        return -1 if self.axes is None else self.axes.index(CHANNELS)

    @property
    def depth(self) -> int:
        """The channels' place from the right: 1 if they are last."""
        return 1 if self.axes is None else len(self.axes) - self.axis

    def at(self, dim) -> object:
        """What an axis holds; UNKNOWN where the tensor's layout does not tell."""
        if not isinstance(dim, int) or isinstance(dim, bool):
            return UNKNOWN
        if self.axes is None:
            return CHANNELS if dim == -1 and self.wires else UNKNOWN
        return self.axes[dim] if -len(self.axes) <= dim < len(self.axes) else UNKNOWN

    def place(self, dim: int) -> int:
        return dim % len(self.axes)


@dataclass(frozen=True, eq=False)
class Number:
    """A number of the trace; `of` is the tensor whose channels, or whose batch, it counts."""

    of: Feature | None = None
    batch: Batch | None = None


@dataclass(frozen=True, eq=False)
class Shape:
    of: Feature


class Walk:
    """Follow the wires through a traced graph; afterwards the fields hold what was found."""

    def __init__(self, net: nn.Module, traced: Tracer):
        self.net, self.graph = net, traced.graph
        self.reached = set(traced.reached)
        self.parent: list[int] = []                  # wires tied together form trees
        self.pinned: set[int] = set()
        self.found: dict[str, dict] = {}             # layers, with wires not yet final
        self.vectors: dict[str, tuple] = {}          # path: axis, wires, pieces
        self.norm_of: dict[str, str] = {}
        self.whole: dict[tuple[str, str], None] = {}          # what pinned channels, and why
        self.tangled = ""
        self.values: dict[fx.Node, object] = {}
        self.owners = _owners(net)
        for node in self.graph.nodes:
            if node.op != "output":
                self.values[node] = self.step(node)
        self.result = self.outputs()

    def outputs(self) -> Feature:
        """The logits (B, K); anything else is refused."""
        output = next(n for n in self.graph.nodes if n.op == "output").args[0]
        result = self.values.get(output) if isinstance(output, fx.Node) else None
        if isinstance(result, Feature) and result.wires is None and self.whole:
            self.raise_for(*next(iter(self.whole)))
        require(isinstance(result, Feature) and result.wires is not None, "net",
                "outputs of another kind", "one tensor of logits (B, K)")
        require(result.axes is None or result.axes == (BATCH, CHANNELS), "net",
                "outputs with other axes than batch and channels", "one tensor of logits (B, K)")
        require(not result.flat, "net", "a flattened map as output, as many logits as it has "
                "places", "logits (B, K): nn.AdaptiveAvgPool2d(1) or x.mean((2, 3)) makes one "
                "place of all")
        logits = {self.root(w) for w in result.wires}
        written = {self.root(w) for layer in self.found.values() for w in layer["writes"]}
        pinned = {self.root(w) for w in self.pinned}
        if self.whole and written <= pinned | logits:
            self.raise_for(*next(iter(self.whole)))
        return result

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

    def pin(self, node: fx.Node, features: list[Feature], why: str = UNKNOWN) -> None:
        """Keep all channels of these tensors."""
        for f in features:
            if f.wires is not None and f.batch is not None:
                self.whole.setdefault((self.name(node), why))
                self.tangled = self.tangled or f"{self.name(node)}: {why}"
            self.pinned.update(f.wires or ())

    # ---- one operation ----------------------------------------------------------------------
    def step(self, node: fx.Node) -> object:
        if node.op == "placeholder":
            return Feature(batch=Batch())
        if node.op == "get_attr":
            return self.constant(node.target)
        values = [self.values[n] for n in node.all_input_nodes]
        features = [v for v in values if isinstance(v, Feature)]
        if any(f.last for f in features):
            self.pin(node, features, "it follows a softmax over the outputs")
            return Feature(batch=Batch())
        if node.op == "call_module":
            return self.module(node, features)
        name = _name(node.target)
        known = self.about(node, name)
        if known is not None:
            return known
        of_image = all(f.wires is None for f in features)
        if name not in SIZED or of_image:            # it takes a count that a cut changes
            self.pin_sizes(node, values)
        if not features:
            known = getattr(node.target, "__module__", "") in ("_operator", "builtins", "math")
            return Number() if known else Feature(batch=Batch())
        if of_image:
            return self.of_image(node, name, features)
        result = RULES[name](self, node, features) if name in RULES else None
        if result is not None:
            return result
        self.pin_sizes(node, values)
        self.pin(node, features, WHY.get(name, UNKNOWN))
        if name in MIX_CALLS:
            self.raise_for(self.name(node), MIX_CALLS[name])
        return Feature(batch=Batch())

    def pin_sizes(self, node, values) -> None:
        self.pin(node, [v.of for v in values if isinstance(v, (Number, Shape)) and v.of],
                 "it computes with the number of channels")

    def constant(self, path: str) -> object:
        """A parameter or buffer: cut along, if channels meet its one long axis."""
        self.reached.add(path.rpartition(".")[0])
        tensor = _attribute(self.net, path)
        if not isinstance(tensor, Tensor):
            return Feature(batch=None)               # made while tracing; nothing to cut
        if tensor.numel() == 1:
            return Number()
        long = [i for i, size in enumerate(tensor.shape) if size != 1]
        if len(self.owners.get(id(tensor), ())) > 1:
            return Feature(axes=tuple(tensor.shape))             # held twice: it is not cut
        if len(long) != 1:
            return Feature(axes=tuple(tensor.shape), path=path)
        if path not in self.vectors:
            wires = self.new(tensor.shape[long[0]])
            self.vectors[path] = (long[0], wires, (len(wires),))
        axes = tuple(CHANNELS if i == long[0] else 1 for i in range(tensor.ndim))
        return Feature(self.vectors[path][1], axes, path=path)

    def about(self, node, name) -> object:
        """What is asked of a tensor but no tensor itself: sizes, kinds, checks."""
        x = self.values.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else 0
        if node.target is getattr:
            name = node.args[1]
        if name in ("size", "shape") and isinstance(x, Feature):
            dim = _given(node, 1, "dim") if name == "size" else None
            return Shape(x) if dim is None else self.size(node, x, dim)
        if name == "getitem" and isinstance(x, Shape):
            dim = node.args[1]
            return self.part(node, x.of, dim) if isinstance(dim, slice) else self.size(
                node, x.of, dim)
        if name in ("dim", "ndim", "ndimension", "dtype", "device", "is_cuda", "requires_grad",
                    "is_floating_point", "is_complex", "_assert", "get_device", "layout"):
            return Number()
        if name in ("numel", "nelement", "len") and isinstance(x, Feature):
            self.pin(node, [x], "it counts its values")
            return Number()
        return None

    def part(self, node, x: Feature, some: slice) -> object:
        """Some sizes of a shape, as x.shape[2:]."""
        if some.start in (None, 0) and some.step is None:
            return Shape(x)
        plain = not any(isinstance(s, fx.Node) for s in (some.start, some.stop, some.step))
        if x.wires is not None and (x.axes is None or not plain
                                    or x.axis in range(len(x.axes))[some]):
            self.pin(node, [x], "it computes with the number of channels")
        return Number()

    def size(self, node, x: Feature, dim) -> Number:
        held = x.at(dim)
        if held == BATCH or (dim == 0 and x.axes is None):
            return Number(batch=x.batch)
        if held == CHANNELS and not x.flat:
            return Number(of=x)
        if x.wires is not None and held in (CHANNELS, UNKNOWN):
            self.pin(node, [x], "it computes with the number of features")
        return Number()

    def of_image(self, node, name, features) -> Feature:
        """An operation on the image, or on what is made of it: never cut; is its batch the same?"""
        x = next((f for f in features if f.batch), features[0])
        if x.batch is None:
            return Feature(axes=None)
        same = all(f.batch in (None, x.batch) for f in features)
        if same and name in POINT_NAMES | CAST_NAMES | PLACE_NAMES:
            return replace(x, axes=x.axes if len(features) == 1 else None, path=None)
        if same and name == "flatten" and _given(node, 1, "start_dim", 0) == 1 and \
                _given(node, 2, "end_dim", -1) == -1:
            return Feature(axes=(BATCH, None), batch=x.batch)
        if name in ("view", "reshape"):
            sizes = self.sizes(node)
            first = self.number(sizes[0]) if sizes else None
            kept = isinstance(first, Number) and first.batch is x.batch
            axes = (BATCH, *[None] * (len(sizes) - 1)) if sizes else None
            return Feature(axes=axes, batch=x.batch if kept else Batch())
        if name == "getitem" and same:
            index = node.args[1]
            first = index[0] if isinstance(index, tuple) and index else None
            if first == slice(None) or first is Ellipsis:
                return Feature(batch=x.batch)
        return Feature(batch=Batch())

    # ---- modules ----------------------------------------------------------------------------
    def module(self, node: fx.Node, features: list[Feature]) -> Feature:
        name, module = node.target, self.net.get_submodule(node.target)
        kind = base(module)
        if isinstance(module, tuple(MIXES)):
            self.refuse(node, next(why for k, why in MIXES.items() if isinstance(module, k)))
        if parametrize.is_parametrized(module) or (
                isinstance(module, (nn.Conv2d, nn.Linear, *NORMS))
                and (module._forward_pre_hooks or module._forward_hooks)):
            self.refuse(node, "its weights are computed from others, or hooks change what it does")
        if len(features) == 1 and isinstance(module, Merge):
            return self.merge(node, module, features[0])
        if len(features) == 1 and kind is not None:
            x = features[0]
            for kinds, rule in ((nn.Conv2d, self.convolution), (nn.Linear, self.linear),
                                (NORMS, self.norm)):
                if issubclass(kind, kinds):
                    if name in self.found:
                        self.refuse(node, "it is used twice")
                    self.check_owner(node, module)
                    return rule(node, module, x)
            if x.wires is None:
                same = issubclass(kind, POINTS + PLACES)
                return replace(x, axes=x.axes if issubclass(kind, POINTS) else None, path=None,
                               batch=x.batch if same else Batch()) if not issubclass(
                    kind, nn.Flatten) else self.flatten_image(x, module.start_dim, module.end_dim)
            result = self.plain(module, kind, name, x)
            if result is not None:
                return result
        self.pin(node, features)
        return Feature(batch=Batch())

    def merge(self, node, module, x) -> Feature:
        """Columns that become one output are kept or dropped together."""
        if x.wires is None or x.flat or x.axes not in (None, (BATCH, CHANNELS)):
            self.pin(node, [x], "it reads other than logits")
            return Feature(batch=x.batch)
        for first, *others in module.groups:
            self.tie([x.wires[i] for i in others], [x.wires[first]] * len(others))
        self.found[node.target] = dict(kind="norm", reads=x.wires, writes=x.wires, pieces=x.pieces)
        self.tangled = self.tangled or f"{node.target}: it makes one output of several"
        written = [x.wires[group[0]] for group in module.groups]
        return replace(x, wires=written, pieces=(len(written),), source=None, path=None)

    @staticmethod
    def flatten_image(x, start, end) -> Feature:
        if (start, end) == (1, -1):
            return Feature(axes=(BATCH, None), batch=x.batch)
        return Feature(batch=x.batch if start > 0 else Batch())

    def plain(self, module, kind, name, x: Feature) -> Feature | None:
        """A module without rows of its own, or a PReLU; None if no rule applies."""
        if issubclass(kind, nn.Identity):
            return x
        if issubclass(kind, POINTS):
            return replace(x, source=None)
        if issubclass(kind, PLACES):
            size = getattr(module, "output_size", None)
            return None if getattr(module, "return_indices", False) else _places(x, size)
        if issubclass(kind, nn.Flatten):
            return _flatten(x, module.start_dim, module.end_dim)
        if issubclass(kind, nn.PReLU):
            weight = self.constant(f"{name}.weight")
            return replace(x, source=None) if isinstance(weight, Number) else self.rows(x, [weight])
        if issubclass(kind, (nn.Softmax, nn.LogSoftmax)):
            return _softmax(x, module.dim, "log_softmax" if issubclass(kind, nn.LogSoftmax)
                            else "softmax")
        return None

    def check_owner(self, node, module) -> None:
        """A weight that another module holds too cannot be cut in one place."""
        for tensor in module._parameters.values():
            others = self.owners.get(id(tensor), ())
            if len(others) > 1:
                self.refuse(node, f"its weights are shared: {' and '.join(others)} hold the same "
                            "tensor")

    def convolution(self, node, module, x) -> Feature:
        wires = self.read(node, x, module.in_channels, of=4, axis=1)[0]
        point = module.kernel_size == (1, 1) and module.stride == (1, 1) \
            and module.padding in ((0, 0), "valid", "same")
        axes = (BATCH, CHANNELS, *(x.axes[2:] if wires and point else (None, None)))
        if module.groups == 1:
            return self.written_by(node.target, "conv", wires, module.out_channels, x, axes)
        if wires is None:                            # it reads the image in groups: it stays whole
            return Feature(batch=x.batch)
        groups, written = module.groups, self.new(module.out_channels)
        wide, high = len(wires) // groups, len(written) // groups
        for g in range(groups):                      # a group is kept or dropped as a whole
            members = wires[g * wide:(g + 1) * wide] + written[g * high:(g + 1) * high]
            self.tie(members[1:], members[:1] * (len(members) - 1))
        self.found[node.target] = dict(kind="grouped", reads=wires, writes=written,
                                       pieces=x.pieces)
        if any(width % wide for width in x.pieces):
            self.tangled = self.tangled or f"{node.target}: its groups span concatenated tensors"
        return Feature(written, axes, x.batch, tuple(w // wide * high for w in x.pieces),
                       source=node.target)

    def linear(self, node, module, x) -> Feature:
        wires, taps = self.read(node, x, module.in_features)
        axes = None if x.axes is None else (*x.axes[:-1], CHANNELS)
        if axes is not None and CHANNELS in axes[:-1]:           # it ran over places, not channels
            axes = (*(None if a == CHANNELS else a for a in axes[:-1]), CHANNELS)
        return self.written_by(node.target, "fc", wires, module.out_features, x, axes, taps)

    def norm(self, node, module, x) -> Feature:
        if x.wires is None:
            return replace(x, path=None)             # of the image: never cut
        wires, taps = self.read(node, x, module.num_features, axis=1)
        if wires is None:
            return Feature(batch=x.batch)
        self.found[node.target] = dict(kind="norm", reads=wires, writes=wires, pieces=x.pieces,
                                       taps=taps)
        if x.source:
            self.norm_of[x.source] = node.target
        return replace(x, source=None)

    def written_by(self, name, kind, reads, count, x, axes, taps=1) -> Feature:
        written = self.new(count)
        self.found[name] = dict(kind=kind, reads=reads, writes=written,
                                pieces=x.pieces if reads else (), taps=taps)
        return Feature(written, axes, x.batch, (count,), source=name)

    def read(self, node, x: Feature, count: int, of: int | None = None,
             axis: int = -1) -> tuple[list[int] | None, int]:
        """The wires that a layer with `count` inputs reads, and its features a wire.

        None where nothing is to be cut: the image, or a layout that the layer does not expect.
        """
        if x.wires is None:
            return None, 1
        fits = (x.axes is None or x.place(axis) == x.axis) and of in (
            None, None if x.axes is None else len(x.axes))
        taps, rest = divmod(count, len(x.wires))
        if not fits or (x.flat and (of or len(x.axes) != 2)):
            self.pin(node, [x], "it reads another axis than the channels'")
            return None, 1
        if rest or taps < 1 or (taps > 1 and not x.flat):
            self.refuse(node, f"it reads {count} features where {len(x.wires)} channels come")
        return x.wires, taps

    # ---- calls ------------------------------------------------------------------------------
    def rows(self, x: Feature, vectors: list) -> Feature | None:
        """A parameter with a row for each channel: PReLU's slopes, a functional BatchNorm."""
        if x.at(1) != CHANNELS or x.flat:
            return None
        for v in vectors:
            if v.wires is None or v.batch is not None or len(v.wires) != len(x.wires):
                return None
            self.along(v, x)
        return replace(x, source=None)

    def along(self, vector: Feature, x: Feature) -> None:
        """Cut a parameter along with the channels that it meets."""
        self.tie(vector.wires, x.wires)
        if vector.path:
            axis, wires, _ = self.vectors[vector.path]
            self.vectors[vector.path] = axis, wires, x.pieces
        elif len(x.pieces) > 1:
            self.tangled = self.tangled or "numbers made of parameters meet a concatenation"

    def combine(self, node, features) -> Feature | None:
        """Elementwise: tensors whose channels meet tie their wires; a number changes none."""
        moving = [f for f in features if f.batch is not None]
        wired = [f for f in features if f.wires is not None]
        x = max([f for f in wired if f.batch is not None] or wired, key=lambda f: len(f.wires))
        if any(f.wires is None for f in moving) or len({f.batch for f in moving}) > 1 or len(
                {len(f.axes or ()) for f in moving}) > 1:
            return None                              # the image, other batches, another rank
        for f in features:
            if f is x:
                continue
            if f.batch is None and x.batch is not None and (
                    f.axes is None or len(f.axes) > len(x.axes or f.axes)):
                return None
            if f.wires is None:
                if not self.table(f, x):
                    return None
            elif f.depth != x.depth:
                if f.batch is not None:
                    return None
                self.pin(node, [f])                  # a vector along places, not channels
            elif len(f.wires) == 1 or f.batch is None and len(f.wires) == len(x.wires):
                if len(f.wires) == len(x.wires):
                    self.along(f, x) if f.batch is None else self.tie(f.wires, x.wires)
            elif not self.meet(node, f, x):
                return None
        axes = x.axes
        for f in features:
            axes = _broadcast(axes, f.axes) if f.axes and axes else axes
        return replace(x, axes=axes, source=None, path=None, pieces=x.pieces)

    def meet(self, node, f: Feature, x: Feature) -> bool:
        """Tie the wires of two tensors on their way; a flattened one has some features a wire."""
        wires, (taps, rest) = f.wires, divmod(len(x.wires), len(f.wires))
        if rest or x.flat and not f.flat or taps > 1 and not f.flat or f.flat and x.flat and \
                taps > 1:
            return False
        self.tie([w for w in wires for _ in range(taps)], x.wires)
        if f.pieces != x.pieces or taps > 1:
            self.tangled = self.tangled or f"{node.name}: it adds a concatenation to one tensor"
        return True

    def table(self, f: Feature, x: Feature) -> bool:
        """A parameter with several long axes, as positions have: cut where it meets channels."""
        axes = f.axes
        if axes is None or x.axes is None or len(axes) > len(x.axes) or x.flat:
            return False
        if len(axes) < x.depth or axes[-x.depth] == 1:
            return True
        if f.path is None or axes[-x.depth] != len(x.wires):
            return False
        axis = len(axes) - x.depth
        if f.path in self.vectors:
            self.tie(self.vectors[f.path][1], x.wires)
            return self.vectors[f.path][0] == axis
        self.vectors[f.path] = axis, x.wires, x.pieces
        return True

    def number(self, argument) -> object:
        """An argument's value: a Number or Shape of the trace, or what is written there."""
        return self.values[argument] if isinstance(argument, fx.Node) else argument

    def sizes(self, node) -> tuple:
        """The sizes that a view, reshape or expand is given."""
        given = node.args[1:] or tuple(v for k, v in node.kwargs.items() if k in ("shape", "size"))
        if len(given) == 1 and isinstance(given[0], (tuple, list)):
            given = tuple(given[0])
        return given

    def reshape(self, node, features) -> Feature | None:
        """The batch first, then channels: by −1 with all places, or by their own count."""
        x, sizes = features[0], [self.number(s) for s in self.sizes(node)]
        if x.axes is None or not sizes or len(features) > 1:
            return None
        before, after = x.axes[:x.axis], x.axes[x.axis + 1:]
        places = any(a != 1 for a in after)
        axes, at = [], 0
        for label in (a for a in before if a != 1):              # what comes before the channels
            while at < len(sizes) and sizes[at] == 1:
                axes.append(1)
                at += 1
            same = at < len(sizes) and label == BATCH and (
                isinstance(sizes[at], Number) and sizes[at].batch is x.batch
                or sizes[at] == -1 and not places and not x.flat)
            if not same:
                return None
            axes.append(label)
            at += 1
        while at < len(sizes) - 1 and sizes[at] == 1:
            axes.append(1)
            at += 1
        count, rest = (sizes[at] if at < len(sizes) else None), sizes[at + 1:]
        free = [s for s in rest if isinstance(s, Number) and (s.of or s.batch)]
        if free:
            return None
        if isinstance(count, Number) and count.of is not None and not x.flat:
            if len(count.of.wires) != len(x.wires):
                return None
            self.tie(count.of.wires, x.wires)        # its code takes their number for its own
            axes += [CHANNELS, *(1 if s == 1 or not places else None for s in rest)]
            return replace(x, axes=tuple(axes), source=None, path=None)
        if isinstance(count, int) and count == -1 and sizes.count(-1) == 1 and all(
                s == 1 for s in rest):
            return replace(x, axes=(*axes, CHANNELS, *rest), flat=x.flat or places, source=None,
                           path=None)
        return None

    def expand(self, node, features) -> Feature | None:
        """More places for the same channels."""
        x, sizes = features[0], [self.number(s) for s in self.sizes(node)]
        if len(features) > 1 or x.axes is None or x.flat:
            return None
        if len(sizes) == 1 and isinstance(sizes[0], Shape):
            return self.expand_as(node, [x, sizes[0].of])
        if len(sizes) != len(x.axes):
            return None
        for size, held in zip(sizes, x.axes, strict=True):
            counted = size.of if isinstance(size, Number) else None
            if held == CHANNELS and counted and len(counted.wires) == len(x.wires):
                self.tie(counted.wires, x.wires)
            elif held == BATCH and isinstance(size, Number) and size.batch is x.batch:
                pass
            elif not (size == -1 if held in (CHANNELS, BATCH) else counted is None):
                return None
        return replace(x, axes=tuple(a if a in (CHANNELS, BATCH) else None for a in x.axes),
                       source=None, path=None)

    def expand_as(self, node, features) -> Feature | None:
        x, like = (features * 2)[:2]
        if x.wires is None or like.wires is None or like.batch is not x.batch:
            return None
        result = self.combine(node, [x, like])
        return None if result is None else replace(result, pieces=x.pieces)

    def index(self, node, features) -> Feature | None:
        """x[:, :, ::2, None]: places and new axes; channels and batch only as a whole."""
        x, given = features[0], node.args[1]
        given = given if isinstance(given, tuple) else (given,)
        if x.axes is None or len(features) > 1 or any(
                isinstance(g, (Tensor, list, fx.Node, bool)) for g in given):
            return None
        here = sum(g is not None and g is not Ellipsis for g in given)
        if Ellipsis in given:
            gap = given.index(Ellipsis)
            given = (*given[:gap], *[slice(None)] * (len(x.axes) - here), *given[gap + 1:])
        given = (*given, *[slice(None)] * (len(x.axes) - sum(g is not None for g in given)))
        axes, left = [], list(x.axes)
        for g in given:
            if g is None:
                axes.append(1)
                continue
            if not left:
                return None
            held = left.pop(0)
            if held in (CHANNELS, BATCH):
                if g != slice(None):
                    return None
                axes.append(held)
            elif isinstance(g, slice):
                axes.append(held if g == slice(None) else None)
        return replace(x, axes=tuple(axes), source=None, path=None)

    def reorder(self, node, features) -> Feature | None:
        x, name = features[0], _name(node.target)
        if x.axes is None:
            return None
        if name == "permute":
            order = _given(node, 1, "dims")
            order = list(order) if isinstance(order, (tuple, list)) else list(node.args[1:])
        else:
            a, b = (_given(node, i, f"dim{i - 1}") for i in (1, 2))
            order = list(range(len(x.axes)))
            if any(x.at(d) == UNKNOWN for d in (a, b)):
                return None
            a, b = x.place(a), x.place(b)
            order[a], order[b] = order[b], order[a]
        if x.flat or any(not isinstance(d, int) for d in order):
            return None
        return replace(x, axes=tuple(x.axes[d] for d in order), source=None, path=None)

    def join(self, node, features) -> Feature | None:
        tensors = node.args[0] if node.args else node.kwargs["tensors"]
        dim = _given(node, 1, "dim", 0)
        if isinstance(tensors, fx.Node):
            return None
        inputs = [self.values[n] for n in tensors]               # with repetitions, in order
        if any(not isinstance(f, Feature) or f.wires is None or f.flat or f.batch is None
               or f.at(dim) != CHANNELS or f.batch is not inputs[0].batch
               or f.depth != inputs[0].depth for f in inputs):
            return None
        if len({None if f.axes is None else len(f.axes) for f in inputs}) > 1:
            return None
        return Feature([w for f in inputs for w in f.wires], inputs[0].axes, inputs[0].batch,
                       tuple(p for f in inputs for p in f.pieces))

    def reduce(self, node, features) -> Feature | None:
        """A mean or another summary over places."""
        x, dims = features[0], _given(node, 1, "dim")
        dims = dims if isinstance(dims, (tuple, list)) else (dims,)
        if len(features) > 1 or x.axes is None or any(
                x.at(d) in (BATCH, CHANNELS, UNKNOWN) for d in dims):
            return None
        gone, keep = {x.place(d) for d in dims}, _given(node, 2, "keepdim", False)
        if keep not in (True, False):
            return None
        axes = (1 if i in gone else a for i, a in enumerate(x.axes) if keep or i not in gone)
        return replace(x, axes=tuple(axes), source=None, path=None)

    def squeeze(self, node, features) -> Feature | None:
        x, dims = features[0], node.args[1:] or tuple(node.kwargs.values())
        if x.axes is None:
            return None
        if not dims:
            dims = [i for i, a in enumerate(x.axes) if a not in (BATCH, CHANNELS)]
            if any(x.axes[i] != 1 for i in dims):
                return None
        elif isinstance(dims[0], (tuple, list)):
            dims = dims[0]
        if any(x.at(d) in (BATCH, CHANNELS, UNKNOWN) for d in dims):
            return None
        gone = {x.place(d) for d in dims}
        return replace(x, axes=tuple(a for i, a in enumerate(x.axes) if i not in gone),
                       source=None, path=None)

    def unsqueeze(self, node, features) -> Feature | None:
        x, dim = features[0], _given(node, 1, "dim")
        if x.axes is None or not isinstance(dim, int):
            return None
        at = dim % (len(x.axes) + 1)
        return replace(x, axes=(*x.axes[:at], 1, *x.axes[at:]), source=None, path=None)

    def mix_rows(self, node, features) -> Feature | None:
        """A constant matrix from the left, a graph's links: rows mix, wires stay."""
        left, x = (self.number(a) for a in node.args[:2])
        last = isinstance(x, Feature) and x.wires is not None and x.depth == 1 and (
            x.axes is None or len(x.axes) > 1)
        constant = isinstance(left, Feature) and left.wires is None and left.batch is None
        return replace(x, source=None) if last and constant else None

    def per_channel(self, node, features) -> Feature | None:
        return self.rows(features[0], features[1:])

    # ---- words ------------------------------------------------------------------------------
    def name(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"{node.target} ({type(self.net.get_submodule(node.target)).__name__})"
        scope = list(node.meta.get("nn_module_stack", {"": ("", type(self.net))}).values())
        where, kind = scope[-1]
        return f"{_name(node.target)} in {where or 'the network'} " \
               f"({getattr(kind, '__name__', kind)})"

    def refuse(self, node: fx.Node, why: str):
        self.raise_for(self.name(node), why)

    def raise_for(self, what: str, why: str):
        what, why = mixing(self.net) or (what, why)  # says more than the reshaping around it
        raise ValueError(f"net: got {what}, want operations that can be cut: {why}")


# ---- tables -----------------------------------------------------------------------------------
POINT_NAMES = set(
    """relu relu6 leaky_relu elu gelu silu mish hardswish hardsigmoid hardtanh sigmoid tanh softplus
    selu celu logsigmoid softsign tanhshrink hardshrink softshrink threshold rrelu abs absolute neg
    negative pos pow square sqrt rsqrt exp expm1 exp2 log log1p log2 log10 sin cos tan atan erf erfc
    clamp clip clamp_min clamp_max sign reciprocal round floor ceil trunc nan_to_num dropout
    dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout
    stochastic_depth add iadd sub isub rsub mul imul div truediv itruediv true_divide floordiv
    subtract multiply divide maximum minimum fmod remainder mod lerp addcmul addcdiv where ge gt le
    lt eq ne zeros_like ones_like full_like ipow""".split())
CAST_NAMES = set("contiguous clone detach float double half bfloat16 to type type_as cpu cuda "
                 "requires_grad".split())
PLACE_NAMES = set(
    """max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d interpolate upsample pad""".split())
SIZED = {"view", "reshape", "expand"}     # they take the count of channels as it is
WHY = dict.fromkeys(("chunk", "split", "getitem", "narrow", "tensor_split", "roll", "flip"),
                    "it takes channels by their number") | dict.fromkeys(
    ("view", "reshape", "flatten", "unflatten"), "it gives shapes as numbers or moves channels; "
    "torch.flatten(x, 1) can be cut") | dict.fromkeys(
    ("mean", "sum", "amax", "amin", "max", "min", "std", "var", "softmax", "log_softmax"),
    "it goes over all channels together") | dict.fromkeys(
    POINT_NAMES, "it mixes channels with the image or with numbers of its own") | dict.fromkeys(
    ("cat", "concat", "concatenate", "stack"), "it joins other than channels of layers")
MIX_CALLS = {"layer_norm": MIXES[nn.LayerNorm], "group_norm": MIXES[nn.GroupNorm],
             "local_response_norm": MIXES[nn.LocalResponseNorm],
             "multi_head_attention_forward": MIXES[nn.MultiheadAttention],
             "scaled_dot_product_attention": MIXES[nn.MultiheadAttention]}


def _cast(walk, node, features):
    return replace(features[0], source=None, path=None)


def _pool(walk, node, features):
    x = features[0]
    if len(features) > 1 or _given(node, 9, "return_indices", False):
        return None
    name = _name(node.target)
    if name == "pad":
        pads = _given(node, 1, "pad")
        fits = isinstance(pads, (tuple, list)) and x.axes and len(pads) // 2 < x.depth
        return replace(x, axes=tuple(a if a in (BATCH, CHANNELS) else None for a in x.axes),
                       source=None) if fits and not x.flat else None
    size = _given(node, 1, "output_size") if name.startswith("adaptive") else None
    return _places(x, size)


def _flat(walk, node, features):
    return _flatten(features[0], _given(node, 1, "start_dim", 0), _given(node, 2, "end_dim", -1))


def _soft(walk, node, features):
    return _softmax(features[0], _given(node, 1, "dim"), _name(node.target))


def _softmax(x: Feature, dim, name: str) -> Feature | None:
    """Over places it is an activation; over the channels only outputs may go through it."""
    held = x.at(dim) if x.axes is not None or dim != 1 else CHANNELS
    if held in (BATCH, UNKNOWN) or x.flat:
        return None
    if held != CHANNELS:
        return replace(x, source=None)
    if x.axes not in (None, (BATCH, CHANNELS)) or name not in ("softmax", "log_softmax"):
        return None
    return replace(x, source=None, last=name)


def _places(x: Feature, size=None) -> Feature | None:
    """Pooling and padding: the channels are second, places follow."""
    if x.axes is None or len(x.axes) < 3 or x.axes[:2] != (BATCH, CHANNELS) or x.flat:
        return None
    one = size == 1 or isinstance(size, (tuple, list)) and all(s == 1 for s in size)
    return replace(x, axes=(BATCH, CHANNELS, *[1 if one else None] * (len(x.axes) - 2)),
                   source=None)


def _flatten(x: Feature, start, end) -> Feature | None:
    """Axes become one; where channels are among them they must be the first."""
    if x.axes is None or UNKNOWN in (x.at(start), x.at(end)):
        return None
    start, end = x.place(start), x.place(end)
    inside = x.axes[start:end + 1]
    if BATCH in inside or (CHANNELS in inside and inside[0] != CHANNELS):
        return None
    one = all(a == 1 for a in inside if a != CHANNELS)
    label = CHANNELS if CHANNELS in inside else 1 if one else None
    flat = x.flat or label == CHANNELS and not one
    if flat and end != len(x.axes) - 1:
        return None
    return replace(x, axes=(*x.axes[:start], label, *x.axes[end + 1:]), flat=flat,
                   source=x.source if len(inside) == 1 else None)


RULES = ({name: Walk.combine for name in POINT_NAMES} | dict.fromkeys(CAST_NAMES, _cast)
         | dict.fromkeys(PLACE_NAMES, _pool)
         | dict.fromkeys(("mean", "sum", "amax", "amin", "logsumexp"), Walk.reduce)
         | dict.fromkeys(("view", "reshape"), Walk.reshape)
         | dict.fromkeys(("cat", "concat", "concatenate"), Walk.join)
         | dict.fromkeys(("permute", "transpose", "swapaxes"), Walk.reorder)
         | dict.fromkeys(("matmul", "mm"), Walk.mix_rows)
         | dict.fromkeys(("batch_norm", "prelu"), Walk.per_channel)
         | dict.fromkeys(("softmax", "log_softmax", "normalize", "cumsum"), _soft)
         | {"flatten": _flat, "expand": Walk.expand, "expand_as": Walk.expand_as,
            "getitem": Walk.index, "squeeze": Walk.squeeze, "unsqueeze": Walk.unsqueeze})


# ---- small ------------------------------------------------------------------------------------
def _name(target) -> str:
    """An operation's name, the same for torch.relu_, F.relu and x.relu(); user functions' own."""
    if isinstance(target, str):
        return target.rstrip("_") if not target.startswith("_") else target
    home = getattr(target, "__module__", None) or "torch"
    name = getattr(target, "__name__", str(target))
    if home.split(".")[0] in ("torch", "torchvision", "_operator", "builtins", "math"):
        return name.rstrip("_") if not name.startswith("_") else name
    return f"{home}.{name}"


def _given(node: fx.Node, index: int, name: str, otherwise=None):
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, otherwise)


def _broadcast(a: tuple, b: tuple) -> tuple:
    """Axes of an elementwise result, aligned from the right."""
    size = max(len(a), len(b))
    pairs = zip((1,) * (size - len(a)) + a, (1,) * (size - len(b)) + b, strict=True)
    return tuple(CHANNELS if CHANNELS in (x, y) and x in (1, CHANNELS) or x == CHANNELS else
                 BATCH if BATCH in (x, y) else y if x == 1 else x for x, y in pairs)


def _owners(net: nn.Module) -> dict[int, list[str]]:
    """The names of each parameter and buffer, by its id."""
    owners: dict[int, list[str]] = {}
    for name, module in net.named_modules():
        for own, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                owners.setdefault(id(tensor), []).append(f"{name}.{own}".lstrip("."))
    return owners


def _attribute(net, path: str):
    for part in path.split("."):
        net = getattr(net, part, None)
    return net
