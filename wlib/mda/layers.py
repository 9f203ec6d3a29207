"""What modules do to the channels of a tensor: the part of `flow` that knows layers.

A layer with weights gives new wires (convolution, linear) or keeps them (norms); a module without
weights passes them on or, where no rule applies, pins them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import fx, nn
from torch.nn.utils import parametrize

from wlib.mda.features import (
    BATCH,
    CHANNELS,
    Batch,
    Feature,
    Number,
    flattened,
    given,
    name_of,
    opaque_places,
    places,
    rank_of,
    softmax,
)
from wlib.mda.merge import Merge
from wlib.mda.rules import NORMS, rows
from wlib.mda.tracing import MIXES, base

POINTS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
          nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink, nn.Sigmoid, nn.LogSigmoid,
          nn.Tanh, nn.Tanhshrink, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Threshold,
          nn.Identity, nn.modules.dropout._DropoutNd)
PLACES = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd,
          nn.modules.pooling._LPPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd,
          nn.modules.pooling._AdaptiveMaxPoolNd, nn.modules.padding._ConstantPadNd,
          nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd,
          nn.modules.padding._CircularPadNd, nn.Upsample)


class Layers:
    """The rules for modules; `Flow` has the wires and the rules for all other operations."""

    unpaddable: str
    taken: set[str]
    if TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any: ...     # what Flow has

    def module(self, node: fx.Node, features: list[Feature]) -> Feature:
        name = str(node.target)
        module = self.net.get_submodule(name)
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
                    self.check_layer(node, name, module)
                    return rule(node, name, module, x)
            if x.wires is None:
                return self.plain_image(module, kind, x)
            result = self.plain(module, kind, name, x)
            if result is not None:
                return result
        self.pin(node, features)
        return Feature(batch=Batch())

    def merge(self, node: fx.Node, module: Merge, x: Feature) -> Feature:
        """Columns that become one output are kept or dropped together."""
        if x.wires is None or x.flat or x.axes not in (None, (BATCH, CHANNELS)):
            self.pin(node, [x], "it reads other than logits")
            return Feature(batch=x.batch)
        for first, *others in module.groups:
            self.tie([x.wires[i] for i in others], [x.wires[first]] * len(others))
        self.found[node.target] = dict(kind="norm", reads=x.wires, writes=x.wires, pieces=x.pieces)
        self.unpaddable = self.unpaddable or f"{node.target}: it makes one output of several"
        written = [x.wires[group[0]] for group in module.groups]
        return replace(x, wires=written, pieces=(len(written),), source=None, path=None)

    @staticmethod
    def plain_image(module: Any, kind: type, x: Feature) -> Feature:
        """A module on the image, or on what is made of it: what is left to know of its axes."""
        if issubclass(kind, POINTS):
            return replace(x, path=None)
        if issubclass(kind, PLACES):
            return opaque_places(x, getattr(module, "output_size", None))
        if issubclass(kind, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            return Feature(axes=(BATCH, None), batch=x.batch)
        return Feature(batch=Batch())

    def plain(self, module: Any, kind: type, name: str, x: Feature) -> Feature | None:
        """A module without rows of its own, or a PReLU; None if no rule applies."""
        if issubclass(kind, nn.Identity):
            return x
        if issubclass(kind, POINTS):
            return replace(x, source=None)
        if issubclass(kind, PLACES):
            if getattr(module, "return_indices", False):
                return None
            return places(x, getattr(module, "output_size", None), rank_of(kind.__name__))
        if issubclass(kind, nn.Flatten):
            return flattened(x, module.start_dim, module.end_dim)
        if issubclass(kind, nn.PReLU):
            weight = self.constant(f"{name}.weight")
            return (replace(x, source=None) if isinstance(weight, Number) else
                    rows(self, x, [weight]))
        if issubclass(kind, (nn.Softmax, nn.LogSoftmax)):
            return softmax(x, module.dim, "log_softmax" if issubclass(kind, nn.LogSoftmax)
                            else "softmax")
        return None

    def check_layer(self, node: fx.Node, name: str, module: nn.Module) -> None:
        """A layer runs once, and no other module holds its tensors: it is cut in one place."""
        if name in self.found:
            self.refuse(node, "it is used twice")
        for tensor in module._parameters.values():
            others = self.owners.get(id(tensor), ())
            if len(others) > 1:
                self.refuse(node, f"its weights are shared: {' and '.join(others)} hold the same "
                            "tensor")

    def layer(self, node: fx.Node, features: list[Feature]) -> Feature | None:
        """A call that is all that a module does: F.linear(x, self.weight, self.bias) of its input.

        With other weights, settings or input it is no layer that could be cut or asked for what
        its inputs contribute.
        """
        weight = given(node, 1, "weight")
        name = weight.target.rpartition(".")[0] if getattr(weight, "op", "") == "get_attr" else ""
        module: Any = self.net.get_submodule(name) if name else None
        kind, settings = (nn.Linear, ()) if name_of(node.target) == "linear" else (
            nn.Conv2d, ("stride", "padding", "dilation", "groups"))
        bias = given(node, 2, "bias")
        if not isinstance(module, kind) or self.entered.get(name) is not node.args[0] or (
                getattr(bias, "target", bias)) != (None if module.bias is None else f"{name}.bias"):
            return None
        if any(given(node, 3 + i, setting, 1 - (setting == "padding")) not in (
                getattr(module, setting), getattr(module, setting)[0] if setting != "groups" else 0)
                for i, setting in enumerate(settings)):
            return None
        self.check_layer(node, name, module)
        self.taken -= {f"{name}.weight", f"{name}.bias"}
        return (self.linear(node, name, module, features[0]) if isinstance(module, nn.Linear) else
                self.convolution(node, name, module, features[0]))

    def convolution(self, node: fx.Node, name: str, module: nn.Conv2d, x: Feature) -> Feature:
        wires = self.read(node, x, module.in_channels, of=4, axis=1)[0]
        point = module.kernel_size == (1, 1) and module.stride == (1, 1) \
            and module.padding in ((0, 0), "valid", "same")
        known = point and x.axes is not None and len(x.axes) == 4 and (wires or not x.wires)
        axes = (BATCH, CHANNELS, *(x.axes[2:] if known else (None, None)))
        if module.groups == 1:
            return self.written_by(name, "conv", wires, module.out_channels, x, axes)
        if wires is None:                            # it reads the image in groups: it stays whole
            return Feature(batch=x.batch)
        groups, written = module.groups, self.new(module.out_channels)
        wide, high = len(wires) // groups, len(written) // groups
        for g in range(groups):                      # a group is kept or dropped as a whole
            members = wires[g * wide:(g + 1) * wide] + written[g * high:(g + 1) * high]
            self.tie(members[1:], members[:1] * (len(members) - 1))
        self.found[name] = dict(kind="grouped", reads=wires, writes=written, pieces=x.pieces)
        if any(width % wide for width in x.pieces):
            self.unpaddable = self.unpaddable or f"{name}: its groups span concatenated tensors"
        return Feature(written, axes, x.batch, tuple(w // wide * high for w in x.pieces),
                       source=name)

    def linear(self, node: fx.Node, name: str, module: nn.Linear, x: Feature) -> Feature:
        wires, taps = self.read(node, x, module.in_features)
        axes = None if x.axes is None else (*x.axes[:-1], CHANNELS)
        if axes is not None and CHANNELS in axes[:-1]:           # it ran over places, not channels
            axes = (*(None if a == CHANNELS else a for a in axes[:-1]), CHANNELS)
        return self.written_by(name, "fc", wires, module.out_features, x, axes, taps)

    def norm(self, node: fx.Node, name: str, module: Any, x: Feature) -> Feature:
        if x.wires is None:
            return replace(x, path=None)             # of the image: never cut
        single = isinstance(module, nn.modules.instancenorm._InstanceNorm)      # (C, places) is one
        wires, taps = self.read(node, x, module.num_features, axis=1,
                                of=rank_of(_kind(module)) if single else None)
        if wires is None:
            return Feature(batch=x.batch)
        self.found[name] = dict(kind="norm", reads=wires, writes=wires, pieces=x.pieces, taps=taps)
        if x.source:
            self.norm_of[x.source] = name
        return replace(x, source=None)

    def written_by(self, name: str, kind: str, reads: list[int] | None, count: int, x: Feature,
                   axes: tuple | None, taps: int = 1) -> Feature:
        written = self.new(count)
        self.found[name] = dict(kind=kind, reads=reads, writes=written,
                                pieces=x.pieces if reads else (), taps=taps)
        return Feature(written, axes, x.batch, (count,), source=name)

    def read(self, node: fx.Node, x: Feature, count: int, of: int | None = None,
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


def _kind(module: nn.Module) -> str:
    """The name of the class of PyTorch behind a module."""
    return next(k.__name__ for k in type(module).__mro__ if k.__module__.startswith("torch.nn."))
