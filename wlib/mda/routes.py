"""Decision routes: which channels a class, or a single image, is decided by (MDA, appendix H.1).

The overlap of two routes in a layer is the Jaccard index of their masks, shared channels over
all channels that either uses. Small masks overlap little and large ones much by chance alone:
`chance` says how much, for masks of the same sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from scipy.stats import hypergeom
from torch import Tensor, nn

from wlib.check import require
from wlib.mda import wiring
from wlib.mda.contribution import contributions
from wlib.mda.voting import Masks, masks


def jaccard(a: Tensor, b: Tensor) -> Tensor:
    """|a ∧ b| / |a ∨ b| along the last axis; two empty masks are equal, 1."""
    require(a.dtype == b.dtype == torch.bool and a.shape[-1] == b.shape[-1], "masks",
            (tuple(a.shape), tuple(b.shape)), "bool masks over the same channels")
    both, either = (a & b).sum(-1), (a | b).sum(-1)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def channels(net: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{layer: (K,P)}, the channels of what each layer of a chain writes that a row needs.

    A layer's channels are the next layer's inputs; one that is flattened into 25 counts once. The
    image and the outputs are left out. Scores of the same shape are taken the same way.
    """
    layers = wiring.trace(net).voting
    return {writer: masks[reader][:, ::layers[reader].taps] for writer, reader in pairwise(layers)}


def routes(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{layer: (K,K)}, the overlap of every two rows' masks, layers in the masks' order."""
    return {name: jaccard(mask[:, None], mask[None]) for name, mask in masks.items()}


def chance(masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{layer: (K,K)}, the mean overlap of random masks of the same sizes, exactly.

    Masks of a and b among P channels share j with the hypergeometric probability; the index is
    then j / (a + b − j). The diagonal compares two masks of one size, not a mask with itself.
    """
    found = {}
    for name, mask in masks.items():
        sizes = mask.sum(1).tolist()
        known = {pair: _expected(*pair, mask.shape[1])
                 for pair in {(min(a, b), max(a, b)) for a in sizes for b in sizes}}
        found[name] = torch.tensor([[known[min(a, b), max(a, b)] for b in sizes] for a in sizes])
    return found


def _expected(a: int, b: int, channels: int) -> float:
    if a + b == 0:
        return 1.0
    shared = range(max(0, a + b - channels), a + 1)
    return float(sum(hypergeom.pmf(j, channels, a, b) * j / (a + b - j) for j in shared))


def of_images(net: nn.Module, images: Tensor, labels: Tensor, **settings: Any) -> Masks:
    """Masks with a row for every image, its route to the output that `labels` names.

    With the network's answers for labels, the route to what it said; `settings` go to `masks`.
    """
    return masks(contributions(net, images, labels, per="image"), **settings)
