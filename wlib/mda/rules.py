"""What each operation of a network does to channels: one function for a kind of operation.

A rule takes the flow, the node and its tensors, and gives the tensor that comes out; None if it
does not apply, whereupon `flow` pins the channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx, nn

from wlib.mda.features import (
    BATCH,
    CHANNELS,
    UNKNOWN,
    Feature,
    Number,
    Shape,
    broadcast,
    flattened,
    given,
    name_of,
    one_batch,
    places,
    rank_of,
    sizes_of,
    softmax,
)
from wlib.mda.tracing import MIXES

if TYPE_CHECKING:
    from wlib.mda.flow import Flow

NORMS = (nn.modules.batchnorm._NormBase,)      # BatchNorm and InstanceNorm: a row for each wire


def rows(flow: Any, x: Feature, vectors: list) -> Feature | None:
    """A parameter with a row for each channel: PReLU's slopes, a functional BatchNorm."""
    if x.at(1) != CHANNELS or x.flat:
        return None
    for v in vectors:
        if v.wires is None or v.batch is not None or len(v.wires) != len(x.wires):
            return None
        along(flow, v, x)
    return replace(x, source=None)


def along(flow: Any, vector: Feature, x: Feature) -> None:
    """Cut a parameter along with the channels that it meets."""
    flow.tie(vector.wires, x.wires)
    if vector.path:
        axis, wires, _ = flow.vectors[vector.path]
        flow.vectors[vector.path] = axis, wires, x.pieces
    elif len(x.pieces) > 1:
        flow.unpaddable = flow.unpaddable or "numbers made of parameters meet a concatenation"


def combine(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    """Elementwise: tensors whose channels meet tie their wires; a number changes none."""
    moving = [f for f in features if f.batch is not None]
    wired = [f for f in features if f.wires is not None]
    x = max([f for f in wired if f.batch is not None] or wired, key=lambda f: len(f.wires))
    if any(f.wires is None for f in moving) or len({len(f.axes or ()) for f in moving}) > 1:
        return None                              # the image, or another rank
    for f in features:
        if f is x:
            continue
        larger = f.axes is None or len(f.axes) > len(x.axes or f.axes)
        if f.batch is None and x.batch is not None and larger:
            return None
        if f.wires is None:
            if not table(flow, f, x):
                return None
        elif f.depth != x.depth:
            if f.batch is not None:
                return None
            flow.pin(node, [f])                  # a vector along places, not channels
        elif len(f.wires) == 1 or f.batch is None and len(f.wires) == len(x.wires):
            if len(f.wires) < len(x.wires) and f.batch is not None:
                flow.unpaddable = flow.unpaddable or f"{node.name}: one channel meets several"
            if len(f.wires) == len(x.wires):
                along(flow, f, x) if f.batch is None else flow.tie(f.wires, x.wires)
        elif not meet(flow, node, f, x):
            return None
    axes = x.axes
    for f in features:
        axes = broadcast(axes, f.axes) if f.axes and axes else axes
    return replace(x, axes=axes, batch=one_batch(moving), source=None, path=None)


def meet(flow: Flow, node: fx.Node, f: Feature, x: Feature) -> bool:
    """Tie the wires of two tensors on their way; a flattened one has some features a wire."""
    wires, (taps, rest) = f.wires, divmod(len(x.wires), len(f.wires))
    if rest or x.flat and not f.flat or taps > 1 and (x.flat or not f.flat):
        return False
    flow.tie([w for w in wires for _ in range(taps)], x.wires)
    if f.pieces != x.pieces or taps > 1:
        flow.unpaddable = flow.unpaddable or f"{node.name}: it adds a concatenation to one tensor"
    return True


def table(flow: Flow, f: Feature, x: Feature) -> bool:
    """A parameter with several long axes, as positions have: cut where it meets channels."""
    axes = f.axes
    if axes is None or x.axes is None or len(axes) > len(x.axes) or x.flat:
        return False
    if len(axes) < x.depth or axes[-x.depth] == 1:
        return True
    if f.path is None or axes[-x.depth] != len(x.wires):
        return False
    axis = len(axes) - x.depth
    if f.path in flow.vectors:
        flow.tie(flow.vectors[f.path][1], x.wires)
        return flow.vectors[f.path][0] == axis
    flow.vectors[f.path] = axis, x.wires, x.pieces
    return True


def number(flow: Flow, argument: Any) -> Any:
    """An argument's value: a Number or Shape of the trace, or what is written there."""
    return flow.values[argument] if isinstance(argument, fx.Node) else argument


def reshape(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    """The batch first, then channels: by −1 with all places, or by their own count."""
    x, sizes = features[0], [number(flow, s) for s in sizes_of(node)]
    if x.axes is None or not sizes or len(features) > 1:
        return None
    before, after = x.axes[:x.axis], x.axes[x.axis + 1:]
    places = any(a != 1 for a in after)
    axes: list[Any] = []
    at = 0
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
        flow.tie(count.of.wires, x.wires)        # its code takes their number for its own
        axes += [CHANNELS, *(1 if s == 1 or not places else None for s in rest)]
        return replace(x, axes=tuple(axes), source=None, path=None)
    if isinstance(count, int) and count == -1 and sizes.count(-1) == 1 and all(
            s == 1 for s in rest):
        return replace(x, axes=(*axes, CHANNELS, *rest), flat=x.flat or places, source=None,
                       path=None)
    return None


def expand(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    """More places for the same channels."""
    x, sizes = features[0], [number(flow, s) for s in sizes_of(node)]
    if len(features) > 1 or x.axes is None or x.flat:
        return None
    if len(sizes) == 1 and isinstance(sizes[0], Shape):
        return expand_as(flow, node, [x, sizes[0].of])
    if len(sizes) != len(x.axes):
        return None
    for size, held in zip(sizes, x.axes, strict=True):
        counted = size.of if isinstance(size, Number) else None
        if held == CHANNELS and counted and len(counted.wires) == len(x.wires):
            flow.tie(counted.wires, x.wires)
        elif held == BATCH and isinstance(size, Number) and size.batch is x.batch:
            pass
        elif not (size == -1 if held in (CHANNELS, BATCH) else counted is None):
            return None
    return replace(x, axes=tuple(a if a in (CHANNELS, BATCH) else None for a in x.axes),
                   source=None, path=None)


def expand_as(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    x, like = (features * 2)[:2]
    if x.wires is None or like.wires is None or like.batch is not x.batch:
        return None
    result = combine(flow, node, [x, like])
    return None if result is None else replace(result, pieces=x.pieces)


def index(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
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
    axes: list[Any] = []
    left = list(x.axes)
    for g in given:
        if g is None:
            axes.append(1)
            continue
        if not left:
            return None
        held = left.pop(0)
        if held in (CHANNELS, BATCH):
            most = slice(0, g.stop) if isinstance(g, slice) and g.step in (None, 1) and \
                g.start in (None, 0) and isinstance(g.stop, int) else None
            all_of_them = most and held == CHANNELS and not x.flat and most.stop >= len(x.wires)
            if g != slice(None) and not all_of_them:
                return None
            if all_of_them:
                flow.unpaddable = flow.unpaddable or f"{node.name}: it takes some channels"
            axes.append(held)
        elif isinstance(g, slice):
            axes.append(held if g == slice(None) else None)
    return replace(x, axes=tuple(axes), source=None, path=None)


def reorder(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    x, name = features[0], name_of(node.target)
    if x.axes is None:
        return None
    if name == "permute":
        order = given(node, 1, "dims")
        order = list(order) if isinstance(order, (tuple, list)) else list(node.args[1:])
    else:
        a, b = (given(node, i, f"dim{i - 1}") for i in (1, 2))
        order = list(range(len(x.axes)))
        if any(x.at(d) == UNKNOWN for d in (a, b)):
            return None
        a, b = x.place(a), x.place(b)
        order[a], order[b] = order[b], order[a]
    if x.flat or any(not isinstance(d, int) for d in order):
        return None
    return replace(x, axes=tuple(x.axes[d] for d in order), source=None, path=None)


def join(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    tensors: Any = node.args[0] if node.args else node.kwargs["tensors"]
    dim = given(node, 1, "dim", 0)
    if isinstance(tensors, fx.Node):
        return None
    inputs = [flow.values[n] for n in tensors]               # with repetitions, in order
    if any(not isinstance(f, Feature) or f.wires is None or f.flat or f.batch is None
           or f.at(dim) != CHANNELS or f.depth != inputs[0].depth for f in inputs):
        return None
    if len({None if f.axes is None else len(f.axes) for f in inputs}) > 1:
        return None
    return Feature([w for f in inputs for w in f.wires], inputs[0].axes, one_batch(inputs),
                   tuple(p for f in inputs for p in f.pieces))


def reduce(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    """A mean or another summary over places."""
    x, dims = features[0], given(node, 1, "dim")
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(features) > 1 or x.axes is None or any(
            x.at(d) in (BATCH, CHANNELS, UNKNOWN) for d in dims):
        return None
    gone, keep = {x.place(d) for d in dims}, given(node, 2, "keepdim", False)
    if keep not in (True, False):
        return None
    axes = (1 if i in gone else a for i, a in enumerate(x.axes) if keep or i not in gone)
    return replace(x, axes=tuple(axes), source=None, path=None)


def squeeze(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    x = features[0]
    dims: Any = node.args[1:] or tuple(node.kwargs.values())
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


def unsqueeze(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    x, dim = features[0], given(node, 1, "dim")
    if x.axes is None or not isinstance(dim, int):
        return None
    at = dim % (len(x.axes) + 1)
    return replace(x, axes=(*x.axes[:at], 1, *x.axes[at:]), source=None, path=None)


def mix_rows(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    """A constant matrix from the left, a graph's links: rows mix, wires stay."""
    left, x = (number(flow, a) for a in node.args[:2])
    last = isinstance(x, Feature) and x.wires is not None and x.depth == 1 and (
        x.axes is None or len(x.axes) > 1)
    constant = isinstance(left, Feature) and left.wires is None and left.batch is None
    return replace(x, source=None) if last and constant else None


def per_channel(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    x, vectors = features[0], features[1:]
    name = (vectors[0].path or "").rpartition(".")[0] if vectors else ""
    module = flow.net.get_submodule(name) if name else None
    if isinstance(module, NORMS) and x.at(1) == CHANNELS and {v.path for v in vectors} <= {
            f"{name}.{row}" for row in ("weight", "bias", "running_mean", "running_var")}:
        flow.check_layer(node, name, module)     # as the module does it, and then more
        flow.taken -= {v.path for v in vectors}
        return flow.norm(node, name, module, x)
    return rows(flow, x, vectors)


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


def _pool(flow: Flow, node: fx.Node, features: list[Feature]) -> Feature | None:
    x = features[0]
    if len(features) > 1 or given(node, 9, "return_indices", False):
        return None
    name = name_of(node.target)
    if name == "pad":
        pads = given(node, 1, "pad")
        fits = isinstance(pads, (tuple, list)) and x.axes and len(pads) // 2 < x.depth
        return replace(x, axes=tuple(a if a in (BATCH, CHANNELS) else None for a in x.axes),
                       source=None) if fits and not x.flat else None
    size = given(node, 1, "output_size") if name.startswith("adaptive") else None
    return places(x, size, rank_of(name))


RULES = ({name: combine for name in POINT_NAMES} | dict.fromkeys(
             CAST_NAMES, lambda flow, node, features: replace(features[0], source=None, path=None))
         | dict.fromkeys(PLACE_NAMES, _pool)
         | dict.fromkeys(("mean", "sum", "amax", "amin", "logsumexp"), reduce)
         | dict.fromkeys(("view", "reshape"), reshape)
         | dict.fromkeys(("cat", "concat", "concatenate"), join)
         | dict.fromkeys(("permute", "transpose", "swapaxes"), reorder)
         | dict.fromkeys(("matmul", "mm"), mix_rows)
         | dict.fromkeys(("batch_norm", "prelu"), per_channel)
         | dict.fromkeys(("linear", "conv2d"),
                         lambda flow, node, features: flow.layer(node, features))
         | dict.fromkeys(("softmax", "log_softmax", "normalize", "cumsum"),
                         lambda flow, node, features: softmax(
                             features[0], given(node, 1, "dim"), name_of(node.target)))
         | {"flatten": lambda flow, node, features: flattened(
                features[0], given(node, 1, "start_dim", 0), given(node, 2, "end_dim", -1)),
            "expand": expand, "expand_as": expand_as,
            "getitem": index, "squeeze": squeeze, "unsqueeze": unsqueeze})
