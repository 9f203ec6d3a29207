"""A cut held against what it should be: the network with the dropped channels set to zero.

A channel is set to zero where layers read it, so that what an activation or a normalization makes
of zero does not count. Both networks run as they are, on a few images; neither a rule nor a
wiring is asked for the answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wlib.check import finite, require
from wlib.mda.wiring import Wiring, evaluating

IMAGES = 4              # as many are enough
SIZES = (32, 28, 64, 96, 128, 224, 299, 16, 8, 6, 5, 4, 3, 2, 1)       # tried where none is known


@contextlib.contextmanager
def zeroed(net: nn.Module, wires: Wiring, keep: Tensor, seen: dict | None = None
           ) -> Iterator[nn.Module]:
    """The network while its dropped wires are zero where layers read them.

    `seen` takes of each layer's input what a part's layer gets.
    """
    hooks = []
    for name, layer in wires.layers.items():
        if layer.reads is None or layer.kind == "norm":
            continue
        stays = keep[layer.features]

        def zero(module: nn.Module, inputs: Any, name: str = name, stays: Tensor = stays) -> Tensor:
            x, axis = inputs[0], -1 if isinstance(module, nn.Linear) else 1
            if seen is not None:
                seen[name] = x.index_select(axis, stays.nonzero().flatten().to(x.device))
            shape = (-1, *[1] * (x.ndim - 2)) if axis == 1 else (-1,)
            return x * stays.to(x).view(shape)

        hooks.append(net.get_submodule(name).register_forward_pre_hook(zero))
    try:
        yield net
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def check(net: nn.Module, part: nn.Module, wires: Wiring, keep: Tensor, images: Tensor) -> None:
    """Refuse a part that answers other than the zeroed network, naming the first layer at fault."""
    first = next(net.parameters())
    x = images.to(first.device, first.dtype)
    with evaluating(net), evaluating(part):
        with zeroed(net, wires, keep) as source:
            whole = source(x)
        stays = keep[wires.outputs]
        wanted = renormalized(whole[:, stays.to(whole.device)], wires.softmax)
        try:
            got = part(x)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(f"net: got {type(net).__name__}, of which a part does not run "
                             f"({error}), want a network that computes with the sizes it finds"
                             ) from error
        if alike(got, wanted, whole):
            return
        require(finite(whole), "net", "outputs that are not finite",
                "finite weights and images")
        expected: dict[str, Tensor] = {}
        with zeroed(net, wires, keep, expected) as source:
            source(x)
        culprit = _first_other(part, x, expected) or "the outputs"
    raise ValueError(f"net: got a part of {type(net).__name__} that differs from the network with "
                     f"the dropped channels set to zero, first in what {culprit} gets, want "
                     "operations on each channel alone, whatever their number")


def _first_other(part: nn.Module, x: Tensor, expected: dict[str, Tensor]) -> str:
    """The first layer whose input is not as expected, in the order of running."""
    others: list[str] = []
    hooks = [part.get_submodule(name).register_forward_pre_hook(
        lambda m, inputs, name=name: others.append(name)
        if not alike(inputs[0], expected[name], expected[name]) else None) for name in expected]
    part(x)
    for hook in hooks:
        hook.remove()
    return others[0] if others else ""


@torch.no_grad()
def check_join(joined: nn.Module, parts: list[nn.Module], images: Tensor) -> None:
    """Refuse a joined network whose logits are not its parts' logits, one part after the other."""
    with contextlib.ExitStack() as stack:
        for net in (joined, *parts):
            stack.enter_context(evaluating(net))
        first = next(joined.parameters())
        x = images.to(first.device, first.dtype)
        wanted = torch.cat([part(x) for part in parts], dim=1)
        try:
            got = joined(x)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(f"parts: got parts that do not run when they are padded into one "
                             f"network ({error}), want execution='grouped'") from error
        require(alike(got, wanted, wanted), "parts", "logits that change when the parts are "
                "padded into one network", "operations on each channel alone, or "
                "execution='grouped'")


def alike(got: Tensor, wanted: Tensor, scale: Tensor) -> bool:
    """Whether two tensors agree to half of their type's digits, relative to `scale`'s largest."""
    if got.shape != wanted.shape or not (finite(got) and finite(wanted)):
        return False
    near = torch.finfo(got.dtype).eps ** 0.5 * float(scale.abs().max())
    return got.numel() == 0 or float((got - wanted).abs().max()) <= near


def renormalized(outputs: Tensor, softmax: str) -> Tensor:
    """Outputs of a final softmax, restricted: it runs over the chosen ones alone."""
    if softmax:
        logs = outputs if softmax == "log_softmax" else outputs.log()
        return getattr(logs, softmax)(1)
    return outputs


def drawn(shape: Sequence[int]) -> Tensor:
    """Images of noise, always the same ones for a shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def size_of(net: nn.Module) -> int | None:
    """Height of the images that a network was built for, where it says so."""
    spec = getattr(net, "spec", None)
    own = spec.get("size") if isinstance(spec, dict) else getattr(net, "image_size", None)
    return own if isinstance(own, int) else None


@torch.no_grad()
def noise(net: nn.Module, wires: Wiring) -> Tensor | None:
    """Images of noise that the network takes; None where no usual size is its own."""
    stem = next((name for name, layer in wires.layers.items() if layer.reads is None), None)
    module = net.get_submodule(stem) if stem else None
    own = size_of(net)
    sizes = SIZES if own is None else (own, *SIZES)
    shapes = ([(module.in_channels, s, s) for s in sizes] if isinstance(module, nn.Conv2d) else
              [(module.in_features,)] if module else [(c, s, s) for s in sizes for c in (3, 1)])
    first = next(net.parameters())
    for shape in shapes:
        x = drawn((2, *shape))
        try:
            with evaluating(net):
                z = net(x.to(first.device, first.dtype))
        except Exception:                # whatever a network says of images that are not its own
            continue
        if isinstance(z, Tensor) and z.shape == (2, wires.classes) and finite(z):
            return x
    return None
