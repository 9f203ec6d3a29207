"""Follow channels through a traced network, operation by operation: the rules of `wiring`.

A tensor on its way is a `Feature`: which of its axes holds channels, and the wire of each. A rule
says what an operation does to them. Where no rule applies, or the layout is not known for sure,
the channels that go in are *pinned*: no cut takes them, so that the operation computes in the part
what it computes in the network, whatever it is. What comes out is a tensor like the image, of
which nothing is ever cut.

Sizes are followed too: `x.size(1)` stands for the count of wires, which a cut changes, and a
number that is computed from it pins them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

from torch import Tensor, fx, nn

from wlib.check import require
from wlib.mda.features import (
    BATCH,
    CHANNELS,
    UNKNOWN,
    Batch,
    Feature,
    Number,
    Shape,
    given,
    name_of,
    opaque_places,
)
from wlib.mda.layers import Layers
from wlib.mda.rules import (
    CAST_NAMES,
    MIX_CALLS,
    PLACE_NAMES,
    POINT_NAMES,
    RULES,
    SIZED,
    WHY,
    number,
    sizes_of,
)
from wlib.mda.tracing import Tracer, mixing


class Flow(Layers):
    """Follow the wires through a traced graph; afterward the fields hold what was found."""

    def __init__(self, net: nn.Module, traced: Tracer):
        self.net, self.graph = net, traced.graph
        self.reached, self.entered = set(traced.reached), traced.entered
        self.parent: list[int] = []                  # wires tied together form trees
        self.pinned: set[int] = set()
        self.found: dict[str, dict] = {}             # layers, with wires not yet final
        self.vectors: dict[str, tuple] = {}          # path: axis, wires, pieces
        self.taken: set[str] = set()                 # tensors that code takes by itself
        self.norm_of: dict[str, str] = {}
        self.whole: dict[tuple[str, str], None] = {}          # what pinned channels, and why
        self.unpaddable = ""
        self.values: dict[fx.Node, Any] = {}
        self.owners = _owners(net)
        for node in self.graph.nodes:
            if node.op != "output":
                self.values[node] = self.step(node)
        self.keep_layers_in_use()
        self.result = self.outputs()

    def outputs(self) -> Feature:
        """The logits (B, K); anything else is refused."""
        output = next(n for n in self.graph.nodes if n.op == "output").args[0]
        result: Any = self.values.get(output) if isinstance(output, fx.Node) else None
        if isinstance(result, Feature) and result.wires is None and self.whole:
            self.raise_for(*next(iter(self.whole)))
        require(isinstance(result, Feature) and result.wires is not None, "net",
                "outputs of another kind", "one tensor of logits (B, K)")
        require(result.axes is None or result.axes == (BATCH, CHANNELS), "net",
                "outputs with other axes than batch and channels", "one tensor of logits (B, K)")
        require(not result.flat, "net", "a flattened map as output, as many logits as it has "
                "places", "logits (B, K): nn.AdaptiveAvgPool2d(1) or x.mean((2, 3)) makes one "
                "place of all")
        if len(result.pieces) > 1:
            self.unpaddable = self.unpaddable or "outputs that several layers write"
        logits = {self.root(w) for w in result.wires}
        written = {self.root(w) for layer in self.found.values() for w in layer["writes"]}
        pinned = {self.root(w) for w in self.pinned}
        if self.whole and written <= pinned | logits:
            self.raise_for(*next(iter(self.whole)))
        return result

    def keep_layers_in_use(self) -> None:
        """A layer stays whole if other code takes its weights too."""
        for path in self.taken:
            layer = self.found.get(path.rpartition(".")[0])
            if layer is not None:
                _, along, _ = self.vectors.pop(path, (0, (), ()))
                self.pinned.update(layer["writes"], layer["reads"] or (), along)
                self.unpaddable = self.unpaddable or f"{path}: it is used by itself"

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
                self.unpaddable = self.unpaddable or f"{self.name(node)}: {why}"
            self.pinned.update(f.wires or ())

    # ---- one operation ----------------------------------------------------------------------
    def step(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return Feature(batch=Batch())
        if node.op == "get_attr":
            return self.constant(str(node.target), len(node.users))
        values = [self.values[n] for n in node.all_input_nodes]
        features = [v for v in values if isinstance(v, Feature)]
        if any(f.last for f in features):
            self.pin(node, features, "it follows a softmax over the outputs")
            return Feature(batch=Batch())
        if node.op == "call_module":
            return self.module(node, features)
        name = name_of(node.target)
        known = self.about(node, name)
        if known is not None:
            return known
        of_image = all(f.wires is None for f in features)
        if name not in SIZED or of_image:            # it takes a count that a cut changes
            self.pin_sizes(node, values)
        if not features:
            known = getattr(node.target, "__module__", "") in ("_operator", "builtins", "math")
            return Number() if known else Feature(batch=Batch())
        if of_image and name in ("linear", "conv2d"):
            layer = self.layer(node, features)
            if layer is not None:
                return layer
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

    def pin_sizes(self, node: fx.Node, values: list) -> None:
        self.pin(node, [v.of for v in values if isinstance(v, (Number, Shape)) and v.of],
                 "it computes with the number of channels")

    def constant(self, path: str, uses: int = 1) -> Any:
        """A parameter or buffer: cut along, if channels meet its one long axis."""
        self.reached.add(path.rpartition(".")[0])
        self.taken.add(path)
        tensor: Any = self.net
        for name in path.split("."):
            tensor = getattr(tensor, name, None)
        if not isinstance(tensor, Tensor):
            return Feature(batch=None)               # made while tracing; nothing to cut
        if tensor.numel() == 1:
            return Number() if tensor.ndim <= 1 else Feature(axes=(1,) * tensor.ndim)
        long = [i for i, size in enumerate(tensor.shape) if size != 1]
        if len(self.owners.get(id(tensor), ())) > 1:
            return Feature(axes=tuple(tensor.shape))             # held twice: it is not cut
        if len(long) != 1:
            return Feature(axes=tuple(tensor.shape), path=path if uses == 1 else None)
        if path not in self.vectors:
            wires = self.new(tensor.shape[long[0]])
            self.vectors[path] = (long[0], wires, (len(wires),))
        axes = tuple(CHANNELS if i == long[0] else 1 for i in range(tensor.ndim))
        return Feature(self.vectors[path][1], axes, pieces=(tensor.numel(),), path=path)

    def about(self, node: fx.Node, name: str) -> Any:
        """What is asked of a tensor but no tensor itself: sizes, kinds, checks."""
        x = self.values.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else 0
        if node.target is getattr:
            name = str(node.args[1])
        if name in ("size", "shape") and isinstance(x, Feature):
            dim = given(node, 1, "dim") if name == "size" else None
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

    def part(self, node: fx.Node, x: Feature, some: slice) -> Any:
        """Some sizes of a shape, as x.shape[2:]."""
        if some.start in (None, 0) and some.step is None:
            return Shape(x)
        plain = not any(isinstance(s, fx.Node) for s in (some.start, some.stop, some.step))
        if x.wires is not None and (x.axes is None or not plain
                                    or x.axis in range(len(x.axes))[some]):
            self.pin(node, [x], "it computes with the number of channels")
        return Number()

    def size(self, node: fx.Node, x: Feature, dim: Any) -> Number:
        held = x.at(dim)
        if held == BATCH or (dim == 0 and x.axes is None):
            return Number(batch=x.batch)
        if held == CHANNELS and not x.flat:
            return Number(of=x)
        if x.wires is not None and held in (CHANNELS, UNKNOWN):
            self.pin(node, [x], "it computes with the number of features")
        return Number()

    def of_image(self, node: fx.Node, name: str, features: list[Feature]) -> Feature:
        """An operation on the image, or on what is made of it: never cut; is its batch the same?"""
        x = next((f for f in features if f.batch), features[0])
        if x.batch is None:
            return Feature(axes=None)
        same = all(f.batch in (None, x.batch) for f in features)
        if same and name in POINT_NAMES | CAST_NAMES:
            return replace(x, axes=x.axes if len(features) == 1 else None, path=None)
        if same and name in PLACE_NAMES:
            return opaque_places(x, given(node, 1, "output_size")
                                  if name.startswith("adaptive") else None)
        if name in ("mean", "amax") and given(node, 2, "keepdim") is True and given(
                node, 1, "dim") in ((2, 3), [2, 3], (-1, -2), [-1, -2], (-2, -1), [-2, -1]):
            return opaque_places(x, 1)
        if same and name == "flatten" and given(node, 1, "start_dim", 0) == 1 and \
                given(node, 2, "end_dim", -1) == -1:
            return Feature(axes=(BATCH, None), batch=x.batch)
        if name in ("view", "reshape"):
            sizes = sizes_of(node)
            first = number(self, sizes[0]) if sizes else None
            kept = isinstance(first, Number) and first.batch is x.batch
            axes = (BATCH, *[None] * (len(sizes) - 1)) if sizes else None
            return Feature(axes=axes, batch=x.batch if kept else Batch())
        if name == "getitem" and same:
            index = node.args[1]
            first = index[0] if isinstance(index, tuple) and index else None
            if first == slice(None) or first is Ellipsis:
                return Feature(batch=x.batch)
        return Feature(batch=Batch())

    # ---- words ------------------------------------------------------------------------------
    def name(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"{node.target} ({type(self.net.get_submodule(str(node.target))).__name__})"
        scope = list(node.meta.get("nn_module_stack", {"": ("", type(self.net))}).values())
        where, kind = scope[-1]
        return f"{name_of(node.target)} in {where or 'the network'} " \
               f"({getattr(kind, '__name__', kind)})"

    def refuse(self, node: fx.Node, why: str) -> NoReturn:
        self.raise_for(self.name(node), why)

    def raise_for(self, what: str, why: str) -> NoReturn:
        what, why = mixing(self.net) or (what, why)  # says more than the reshaping around it
        raise ValueError(f"net: got {what}, want operations that can be cut: {why}")


def _owners(net: nn.Module) -> dict[int, list[str]]:
    """The names of each parameter and buffer, by its id."""
    owners: dict[int, list[str]] = {}
    for name, module in net.named_modules():
        for own, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                owners.setdefault(id(tensor), []).append(f"{name}.{own}".lstrip("."))
    return owners
