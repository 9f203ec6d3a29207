"""Hidden units brought into one order: networks that compute the same may list their units anyhow.

Permuting the units of a hidden layer, and the inputs of the next layer with them, changes the
weights but no output. `aligned` gives each network of a pool the order in which its weights lie
nearest to a reference network's (weight matching, Ainsworth et al., arXiv 2209.04836).

For chains: a `Sequential` of convolutions and linear layers with nothing between them but pooling,
flattening, dropout and functions of single numbers. Letters: N networks, L layers with weights,
n_l units of layer l; the last layer's units are classes and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from wlib import seeds
from wlib.check import require, whole
from wlib.core.pool import Pool

LAYERS = (nn.Conv2d, nn.Linear)
# What treats all units alike, so that permuting before it is permuting after it.
BETWEEN = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.Identity,
           nn.Flatten, nn.Dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
TINY = 1e-9     # a gain below this, relative to the weights' squared norm, is rounding


class Layer(NamedTuple):
    """One layer with weights: its name, its units, and those of the layer before it."""

    name: str
    units: int
    inputs: int
    bias: bool


def chain(pool: Pool) -> list[Layer]:
    """The layers with weights, from first to last; refuses networks that are no chain."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool")
    layers: list[Layer] = []
    for name, module in pool.template.named_modules():
        if isinstance(module, LAYERS):
            before = layers[-1].units if layers else module.weight.shape[1]
            require(getattr(module, "groups", 1) == 1 and module.weight.shape[1] % before == 0,
                    "pool", f"layer {name}", "layers that take all units of the one before")
            layers.append(Layer(name, module.weight.shape[0], before, module.bias is not None))
        else:
            require(isinstance(module, (nn.Sequential, *BETWEEN)), "pool",
                    f"a {type(module).__name__} ({name or 'the whole'})",
                    "a Sequential of convolutions, linear layers, pooling and activations")
    require(len(layers) >= 2, "pool", f"{len(layers)} layers", "at least one hidden layer")
    return layers


def permuted(pool: Pool, orders: Sequence[Tensor]) -> Pool:
    """The pool with hidden units in another order; every network computes what it did.

    `orders` has for each of the L − 1 hidden layers an (N, n_l) tensor: unit j of the new layer
    was unit orders[l][i, j] of network i.
    """
    layers = chain(pool)
    orders = _checked(orders, layers, len(pool))
    tensors, networks = dict(pool.parameters), torch.arange(len(pool))[:, None]
    for layer, before, after in zip(layers, [None, *orders], [*orders, None], strict=True):
        weight = _view(pool, layer)                                   # (N, n_l, n_(l-1), rest)
        if before is not None:
            weight = weight[networks, :, before].transpose(1, 2)
        if after is not None:
            weight = weight[networks, after]
            if layer.bias:
                name = f"{layer.name}.bias"
                tensors[name] = tensors[name][networks, after]
        name = f"{layer.name}.weight"
        tensors[name] = weight.reshape(pool.parameters[name].shape)
    return Pool(pool.template, tensors, pool.buffers)


def _view(pool: Pool, layer: Layer) -> Tensor:
    """A layer's weights (N, units, units before, the rest): what each unit takes from each."""
    weight = pool.parameters[f"{layer.name}.weight"]
    return weight.reshape(len(weight), layer.units, layer.inputs, -1)


def _checked(orders, layers, count) -> list[Tensor]:
    orders = list(orders)
    require(len(orders) == len(layers) - 1, "orders", f"{len(orders)} tensors",
            f"{len(layers) - 1}, one per hidden layer")
    for order, layer in zip(orders, layers, strict=False):
        good = isinstance(order, Tensor) and order.shape == (count, layer.units) \
            and bool((order.sort(dim=1).values == torch.arange(layer.units)).all())
        require(good, "orders", order, f"{count} permutations of {layer.units} units for "
                f"{layer.name}")
    return orders


def shuffles(pool: Pool, seed: int = 0) -> list[Tensor]:
    """Random orders for `permuted`; network i's depend on `seed` and i alone."""
    hidden = chain(pool)[:-1]
    return [torch.stack([torch.randperm(layer.units, generator=seeds.generator(seed, i, place))
                         for i in range(len(pool))]) for place, layer in enumerate(hidden)]


def matches(pool: Pool, reference: Pool, passes: int = 100) -> list[Tensor]:
    """The orders that bring each network's weights nearest to the reference's, for `permuted`.

    Layer after layer the best order of its units, given the others', is found exactly (Hungarian
    method), and this goes round until no layer gains: a local optimum of the sum of products.
    """
    require(isinstance(reference, Pool) and len(reference) == 1
            and reference.difference(pool) is None, "reference", reference,
            f"one network of the architecture of {pool!r}")
    require(whole(passes, 1), "passes", passes, "a whole number ≥ 1")
    layers = chain(pool)
    target = _arrays(reference, layers, 0)
    found = [_match(_arrays(pool, layers, i), target, passes) for i in range(len(pool))]
    return [torch.from_numpy(np.stack(rows)) for rows in zip(*found, strict=True)]


def aligned(pool: Pool, reference: Pool, passes: int = 100) -> Pool:
    """The pool with every network's hidden units in the order nearest to the reference's."""
    return permuted(pool, matches(pool, reference, passes))


def _arrays(pool: Pool, layers, i: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (n_l, n_(l-1), rest) and biases (n_l,) of network i, layer by layer."""
    return [(_view(pool, layer)[i].double().cpu().numpy(),
             pool.parameters[f"{layer.name}.bias"][i].double().cpu().numpy() if layer.bias
             else np.zeros(layer.units)) for layer in layers]


def _match(own, target, passes: int) -> list[np.ndarray]:
    orders = [np.arange(len(bias)) for _, bias in own]             # the last one stays
    least = TINY * sum((weight**2).sum() for weight, _ in target)
    for _ in range(passes):
        gained = False
        for place in range(len(own) - 1):
            gain = _likeness(own, target, orders, place)           # (n_l reference, n_l own)
            _, best = linear_sum_assignment(gain, maximize=True)
            rows = np.arange(len(best))
            if gain[rows, best].sum() > gain[rows, orders[place]].sum() + least:
                orders[place], gained = best, True
        if not gained:
            break
    return orders[:-1]


def _likeness(own, target, orders, place: int) -> np.ndarray:
    """What it is worth to put own unit b in place a: (n_l, n_l) sums of products of weights."""
    weight, bias = own[place]
    wanted, wanted_bias = target[place]
    if place > 0:
        weight = weight[:, orders[place - 1]]
    worth = np.einsum("aik,bik->ab", wanted, weight) + np.outer(wanted_bias, bias)
    following = own[place + 1][0][orders[place + 1]]               # (n_(l+1), n_l, rest)
    return worth + np.einsum("oak,obk->ab", target[place + 1][0], following)
