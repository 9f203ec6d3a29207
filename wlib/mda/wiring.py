"""The wiring of a network: which output channels feed which inputs, found with `torch.fx`.

Every channel that a layer writes is a *wire*. BatchNorm, activations, pooling and dropout pass a
wire on; flattening makes H·W features of one wire; a concatenation lines wires up; an addition
(residual streams) or a product ties two wires into one, and so does a depthwise or grouped
convolution with the channels of one group. To drop a channel is to drop a wire, in every layer
that writes or reads it: whatever is cut along wires fits together again.

Where channels mix, or code counts them (a slice of channels, a shuffle, `view(-1, 400)`), the wires
that go in are *pinned*: they stay in every cut. Refused by name is what would leave nothing to cut,
and layers that normalize over channels or attend. The rules are in `flow`, the trace is in
`tracing`.

Letters: P inputs and Q outputs of a layer, n wires of a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from wlib.check import finite, require
from wlib.mda import tracing
from wlib.mda.flow import Flow

AT_ONCE = 64            # images in one pass, where no caller asks for another number

@dataclass(frozen=True, eq=False)
class Layer:
    """One layer with weights: its kind, and the wires of its inputs and outputs.

    `kind` is conv, fc, grouped (also depthwise) or norm. `reads` (P,) is None where the layer
    reads the image, or what pinned wires make. An fc behind a flattening has `taps` = H·W features
    a wire. `pieces` are the widths of the concatenated tensors that it reads.
    """

    name: str
    kind: str
    reads: Any                          # a Tensor, or None
    writes: Tensor
    pieces: tuple[int, ...] = ()
    taps: int = 1

    @property
    def features(self) -> Any:
        """The wire of every input feature (P·taps,), channel by channel as a flattening does."""
        return None if self.reads is None else self.reads.repeat_interleave(self.taps)

    @property
    def votes(self) -> bool:
        """Whether the layer chooses among its inputs; norms and grouped convolutions do not."""
        return self.kind in ("conv", "fc")


@dataclass(frozen=True, eq=False)
class Vector:
    """A parameter or buffer of no layer that is cut along: `axis` holds a row for each wire."""

    axis: int
    wires: Tensor
    pieces: tuple[int, ...] = ()


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
    steps: tuple                        # every operation of the trace: equal if networks are alike
    pinned: Tensor                      # (n,) bool, the wires that every cut keeps
    whole: tuple[str, ...] = ()         # the operations that pin them, and why
    vectors: dict[str, Vector] = field(default_factory=dict)      # by their path
    softmax: str = ""                   # softmax or log_softmax, where the outputs go through one
    unpaddable: str = ""                   # an operation that keeps blocks from being padded

    @property
    def voting(self) -> dict[str, Layer]:
        return {name: layer for name, layer in self.layers.items() if layer.votes}

    @property
    def classes(self) -> int:
        return len(self.outputs)


def trace(net: nn.Module) -> Wiring:
    """The wiring of a network that takes images (B,C,H,W) and gives logits (B,K).

    The network runs symbolically, in evaluation mode and without an image, and stays as it was.
    `ValueError` names the module that cannot be cut and says why.
    """
    require(isinstance(net, nn.Module), "net", net, "an nn.Module")
    traced = tracing.graph(net)
    wires = _finished(net, Flow(net, traced))
    if traced.decided:                           # by the size of the image, which is not known
        other = _finished(net, Flow(net, tracing.graph(net, decide=True)))
        require(_same(wires, other), "net", f"{type(net).__name__}, whose channels go other ways "
                "for images of another size", "one way for all images")
    return wires


def _same(a: Wiring, b: Wiring) -> bool:
    """Whether two wirings differ in nothing that a cut depends on."""
    def plain(value: Any) -> Any:
        if isinstance(value, (Layer, Vector)):
            return [plain(v) for v in vars(value).values()]
        return value.tolist() if isinstance(value, Tensor) else value

    return all([(k, plain(v)) for k, v in getattr(a, own).items()]
               == [(k, plain(v)) for k, v in getattr(b, own).items()] for own in
               ("layers", "vectors")) and all(plain(getattr(a, own)) == plain(getattr(b, own))
                                              for own in ("outputs", "pinned", "softmax"))


def _finished(net: nn.Module, flow: Flow) -> Wiring:
    """Wires get their final numbers, in order of appearance; those that no layer has are gone."""
    root = [flow.root(w) for w in range(len(flow.parent))]
    of_layers = {root[w] for layer in flow.found.values()
                 for w in [*(layer["reads"] or ()), *layer["writes"]]}
    roots = {wire: i for i, wire in enumerate(sorted(of_layers))}
    table = torch.tensor([roots.get(r, -1) for r in root])

    def final(wires: list[int] | None) -> Any:
        return None if wires is None else table[torch.tensor(wires)]

    layers = {name: Layer(name, **{k: final(v) if k in ("reads", "writes") else v
                                   for k, v in parts.items()})
              for name, parts in flow.found.items()}
    pinned = torch.zeros(len(roots), dtype=torch.bool)
    pinned[[roots[root[w]] for w in flow.pinned if root[w] in roots]] = True
    own = [name for name, m in net.named_modules()
           if name and next(m.parameters(recurse=False), None) is not None]
    return Wiring(
        layers, len(roots), final(flow.result.wires), flow.result.source, flow.norm_of,
        tuple(name for name in own if name in layers and layers[name].votes),
        _unreached(own, flow.reached),
        tuple((n.op, getattr(n.target, "__name__", str(n.target)), str(n.args), str(n.kwargs))
              for n in flow.graph.nodes),
        pinned, tuple(f"{what}: {why}" for what, why in flow.whole),
        {path: Vector(axis, final(wires), pieces)
         for path, (axis, wires, pieces) in flow.vectors.items()
         if all(root[w] in roots for w in wires)},
        flow.result.last, flow.unpaddable)


@contextlib.contextmanager
def evaluating(net: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode; afterward every module is as it was."""
    modes = [(module, module.training) for module in net.modules()]
    try:
        yield net.eval()
    finally:
        for module, mode in modes:
            module.training = mode


def _around(name: str) -> list[str]:
    """A module's name and those of the modules around it, outermost first."""
    return list(accumulate(name.split("."), "{}.{}".format))


def _unreached(weighted: list[str], reached: set[str]) -> tuple[str, ...]:
    """The outermost modules with weights in which nothing runs."""
    running = {outer for name in reached for outer in _around(name)}
    return tuple(dict.fromkeys(next(outer for outer in _around(name) if outer not in running)
                               for name in weighted if name not in running))


def logits(net: nn.Module, images: Tensor,
           watch: Callable[[str, nn.Module, Tensor], None] | None = None,
           at_once: int | None = None) -> Tensor:
    """The network's outputs (B,K) in evaluation mode, without gradients, a few images at a time.

    `watch(name, layer, input)` is called with the input of every named layer as it runs, so that
    no feature map outlives its layer.
    """
    first = next(net.parameters())
    hooks = [] if watch is None else [
        module.register_forward_hook(    # behind the layer: its own refusal of an image is heard
            lambda m, inputs, _, name=name: watch(name, m, inputs[0]))
        for name, module in net.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    try:
        with evaluating(net), torch.no_grad():
            return torch.cat([net(part.to(first.device, first.dtype)).cpu()
                              for part in images.split(at_once or AT_ONCE)])
    finally:
        for hook in hooks:
            hook.remove()


def require_finite(outputs: Tensor) -> Tensor:
    """The outputs of a network, refused where they are no numbers."""
    require(finite(outputs), "net", "outputs that are not finite", "finite weights")
    return outputs


def check_samples(images: Tensor, labels: Tensor, classes: int) -> None:
    """Refuse images that are no floats and labels that name no output of the network."""
    require(isinstance(images, Tensor) and images.is_floating_point() and images.ndim >= 2
            and len(images) > 0, "images", images,
            "floats (B, C, H, W), at least one (an ImageSet gives them by floats())")
    require(finite(images), "images", "NaN or infinite values", "finite numbers")
    require(isinstance(labels, Tensor) and labels.dtype == torch.int64
            and labels.shape == images.shape[:1], "labels", labels,
            f"int64 of shape ({len(images)},), one per image")
    low, high = int(labels.min()), int(labels.max())
    require(0 <= low and high < classes, "labels", f"labels from {low} to {high}",
            f"labels from 0 to {classes - 1}, the network's outputs")


def check_classes(classes: Sequence[int], count: int) -> tuple[int, ...]:
    """Classes in ascending order, refused unless all exist, once each, and there are any."""
    listed = classes.tolist() if hasattr(classes, "tolist") else classes
    given: list[Any] = list(listed) if isinstance(listed, Iterable) else []
    require(all(isinstance(c, Integral) and not isinstance(c, bool) and 0 <= int(c) < count
                for c in given) and len(set(given)) == len(given) > 0, "classes", classes,
            f"different whole numbers from 0 to {count - 1}, at least one")
    return tuple(sorted(int(c) for c in given))
