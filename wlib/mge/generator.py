"""MGE: from one trained network, many, without training (Wang et al., arXiv 2402.17486).

A reconstruction: we could not read the paper's formulas, so the steps follow its abstract and
public summaries, and every choice they leave open is an argument here. One network's weights are
read as a signal and moved to a frequency domain by the discrete cosine transform; the largest
coefficients, which hold a fraction `energy` of the squared norm, are kept; the others are drawn
again from a normal distribution of the same mean and spread; the inverse transform gives a new
network.

Letters: N networks, P weights per network, n the length of a signal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wlib import seeds
from wlib.check import require, require_one_of, whole
from wlib.core.pool import Pool
from wlib.mge.cosine import dct, idct, length

ORDERS = ("energy", "high-freq", "low-freq", "random", "raw", "shuffled", "2-D")
REDRAWS = ("normal", "resample", "sign-flip", "zero-fill")
WEIGHTS_AT_ONCE = 2**21     # of all networks in work: float64 memory for these or for one network


def keep_mask(coefficients: Tensor, energy: float, order: str = "energy",
              generator: torch.Generator | int = 0) -> Tensor:
    """The mask (…, n) of the coefficients to keep: the first in `order` that together hold at
    least a fraction `energy` of the squared norm, and at least one.

    Orders: `energy`, the largest first; `high-freq` and `low-freq`, from one end of the spectrum;
    `random`, drawn once for all rows. Ties keep the lower frequency first.
    """
    n = length(coefficients, "coefficients")
    _check_energy(energy)
    require_one_of("order", order, ORDERS[:4])
    coefficients = coefficients.detach()
    if energy == 1:
        return torch.ones_like(coefficients, dtype=torch.bool)
    if order == "energy":
        return _largest(coefficients, energy)
    rank = torch.arange(n, device=coefficients.device)
    if order == "high-freq":
        rank = rank.flip(0)
    elif order == "random":
        source = seeds.generator(seeds.base(generator))
        rank = torch.randperm(n, generator=source).to(coefficients.device)
    count = _enough(coefficients[..., rank].double().square(), energy)
    keep = torch.empty_like(coefficients, dtype=torch.bool)
    keep[..., rank] = torch.arange(n, device=coefficients.device) < count
    return keep


def _enough(power: Tensor, energy: float) -> Tensor:
    """How many of the first numbers of each row hold this fraction of its sum: (…, 1)."""
    held = power.cumsum(-1)
    # A coefficient is kept if those before it do not suffice yet (slack for the sum's rounding).
    short = held[..., :-1] < energy * held[..., -1:] * (1 - 1e-12)
    return 1 + short.sum(-1, keepdim=True)


def _largest(coefficients: Tensor, energy: float) -> Tensor:
    """The mask of the largest, found by the least of them: a rank for each takes more memory."""
    ordered = _descending(coefficients.double().square())
    count = _enough(ordered, energy)
    least = ordered.gather(-1, count - 1)
    del ordered
    power = coefficients.double().square()
    above, equal = power > least, power == least
    return above | equal & (equal.cumsum(-1, dtype=torch.int32) <= count - above.sum(-1, True))


def _descending(power: Tensor) -> Tensor:
    """Each row sorted, the largest first; `power` is lost."""
    if power.device.type != "cpu":
        return power.sort(dim=-1, descending=True).values
    power.numpy().sort(axis=-1)         # in place; torch's would rank them as well
    return power.flip(-1)


class Spectrum(NamedTuple):
    """One signal of each network in its frequency domain, with what to keep of it."""

    span: slice             # where the signal lies in a row of weights
    coefficients: Tensor    # (N, n) float64
    kept: Tensor            # (N, n) bool


def spectra(pool: Pool, energy: float = 0.95, per: str = "network", order: str = "energy",
            generator: torch.Generator | int = 0, smallest: int = 16) -> list[Spectrum]:
    """The transformed weights and the masks of what to keep (steps 1 and 2 of `generate`).

    One spectrum for `per="network"`, one per tensor for `per="tensor"`; tensors of fewer than
    `smallest` weights have no spectrum then and stay as they are. Frozen tensors belong to no
    signal: spans count along a row of the `trainable` weights alone.
    """
    pool = trainable(pool)
    _check_settings(energy, per, order, smallest)
    base = seeds.base(generator)
    found = []
    for number, span in enumerate(_spans(pool, per, smallest)):
        c = _forward(_read(pool, span), pool, span, order, base)            # (N, n)
        rule = order if order in ORDERS[:4] else "energy"
        ranking = seeds.generator(base, number, 0, 1)      # apart from shuffles and children
        found.append(Spectrum(span, c, keep_mask(c, energy, rule, ranking)))
    return found


def generate(pool: Pool, children: int, energy: float = 0.95, per: str = "network",
             order: str = "energy", redraw: str = "normal",
             generator: torch.Generator | int = 0, smallest: int = 16) -> Pool:
    """New networks (N·children) from each network of a pool, without training: MGE's generator.

    1. Transform the weights, all as one signal (`per="network"`) or tensor by tensor.
    2. Keep the coefficients that come first in `order` and hold a fraction `energy` of the squared
       norm. Besides the orders of `keep_mask`: `raw` (no transform, the largest weights),
       `shuffled` (a fixed random permutation before the transform), `2-D` (both axes of a matrix).
    3. Draw the rest again: `normal` with the mean and spread of the coefficients it replaces;
       `resample`, a random permutation of them; `sign-flip`, random signs; `zero-fill`, nothing.
    4. Transform back.

    Children of one network lie in a row. Child i of network j depends on the generator, j and i
    alone. Buffers (BatchNorm's statistics) are the parent's, and so are frozen tensors (those
    that ask for no gradient): the signal "network" is all the others in a row. Computed in
    float64 whatever the pool's dtype, and rounded to it once.
    """
    require(whole(children), "children", children, "a whole number ≥ 1")
    require_one_of("redraw", redraw, REDRAWS)
    moving = trainable(pool)
    _check_settings(energy, per, order, smallest)
    base = seeds.base(generator)
    changed = {name for span in _spans(moving, per, smallest) for name, _ in _inside(span, moving)}
    family = {name: t.new_empty((len(t) * children, *t.shape[1:])) if name in changed
              else t.repeat_interleave(children, 0) for name, t in pool.parameters.items()}
    for networks in _groups(moving, len(pool)):
        parts = spectra(moving[networks.start:networks.stop], energy, per, order, base, smallest)
        for own, j in enumerate(networks):
            redrawn = [_redrawing(c[own], kept[own], redraw) for _, c, kept in parts]
            for numbers in _groups(moving, children):
                rows = slice(j * children + numbers.start, j * children + numbers.stop)
                sources = [seeds.generator(base, j, i) for i in numbers]
                for (span, *_), draws in zip(parts, redrawn, strict=True):
                    # In one line, for what has a name still takes memory in the next round.
                    _write(family, rows, moving, span,
                           _inverse(draws(sources), moving, span, order, base))
        del parts, redrawn
    buffers = {name: t.repeat_interleave(children, 0) for name, t in pool.buffers.items()}
    return Pool(pool.template, family, buffers)


def trainable(pool: Pool) -> Pool:
    """The pool without its frozen tensors, those that ask for no gradient: what MGE may change.

    It serves to reach the weights (`flat`, `segments`); its networks lack the frozen layers.
    """
    check_pool(pool)
    asks = {name for name, t in pool.template.named_parameters() if t.requires_grad}
    require(len(asks) > 0, "pool", f"{pool!r}, all of it frozen", "some weights to change")
    if len(asks) == len(pool.parameters):
        return pool
    return Pool(pool.template, {k: t for k, t in pool.parameters.items() if k in asks})


def with_trainable(pool: Pool, weights: Tensor) -> Pool:
    """A pool with these weights (M, P) in its trainable tensors; the frozen ones and the buffers
    travel along as in `Pool.with_flat`."""
    moving = trainable(pool)
    if moving is pool:
        return pool.with_flat(weights)
    changed, whole = moving.with_flat(weights), pool.repeat(len(weights) // len(pool))
    return Pool(pool.template, whole.parameters | changed.parameters, whole.buffers)


def _read(pool: Pool, span: slice) -> Tensor:
    """The weights (N, n) of a span, copied to doubles."""
    return torch.cat([pool.parameters[name].reshape(len(pool), part.stop - part.start)
                      for name, part in _inside(span, pool)], dim=1).double()


def _write(family: dict[str, Tensor], rows: slice, moving: Pool, span: slice, weights: Tensor
           ) -> None:
    """Put these weights (rows, n) of one span into rows of stacked tensors."""
    for name, part in _inside(span, moving):
        family[name][rows].view(len(weights), part.stop - part.start).copy_(weights[:, part])


def _groups(pool: Pool, count: int) -> Iterator[range]:
    """0 … count − 1, as many at once as may be in work."""
    at_once = max(1, WEIGHTS_AT_ONCE // pool.size)
    return (range(first, min(first + at_once, count)) for first in range(0, count, at_once))


def _inside(span: slice, pool: Pool) -> Iterator[tuple[str, slice]]:
    """The tensors that lie in a span, and where in it."""
    for name, part in pool.segments().items():
        if span.start <= part.start and part.stop <= span.stop:
            yield name, slice(part.start - span.start, part.stop - span.start)


def draw(coefficients: Tensor, kept: Tensor, redraw: str, sources: list[torch.Generator]) -> Tensor:
    """Copies of one signal's coefficients (n,), a row for each generator, with those outside
    `kept` drawn again (step 3 of `generate`)."""
    require_one_of("redraw", redraw, REDRAWS)
    return _redrawing(coefficients, kept, redraw)(sources)


def _redrawing(coefficients: Tensor, kept: Tensor, redraw: str
               ) -> Callable[[list[torch.Generator]], Tensor]:
    """`draw` of these coefficients in one way: what all copies share is found once."""
    places = (~kept).nonzero().squeeze(1)                                   # (m,)
    if redraw == "zero-fill" or len(places) == 0:
        return lambda sources: coefficients.repeat(len(sources), 1).index_fill_(1, places, 0)
    rest = coefficients[places]
    m, device, dtype = len(rest), rest.device, rest.dtype
    mean, spread = rest.mean(), rest.std(correction=0)
    del rest                                            # not while the copies are made

    def fresh(source: torch.Generator) -> Tensor:
        if redraw == "normal":
            z = torch.randn(m, generator=source, dtype=torch.float64).to(device)
            return z.mul_(spread).add_(mean).to(dtype)
        if redraw == "resample":
            return coefficients[places[torch.randperm(m, generator=source).to(device)]]
        signs = torch.randint(2, (m,), generator=source) * 2 - 1
        return coefficients[places] * signs.to(device)

    def rows(sources: list[torch.Generator]) -> Tensor:
        copies = coefficients.repeat(len(sources), 1)
        for row, source in zip(copies, sources, strict=True):
            row.index_copy_(0, places, fresh(source))
        return copies

    return rows


# ---- the transform that an order asks for ---------------------------------------------------
def _forward(x: Tensor, pool: Pool, span: slice, order: str, base: int) -> Tensor:
    if order == "raw":
        return x
    if order == "shuffled":
        return dct(x[:, _shuffle(x, span, base)], overwrite=True)
    if order == "2-D":
        return _each_matrix(x, pool, span, dct)
    return dct(x, overwrite=True)


def _inverse(c: Tensor, pool: Pool, span: slice, order: str, base: int) -> Tensor:
    if order == "raw":
        return c
    if order == "shuffled":
        x = torch.empty_like(c)
        x[:, _shuffle(c, span, base)] = idct(c, overwrite=True)
        return x
    if order == "2-D":
        return _each_matrix(c, pool, span, idct)
    return idct(c, overwrite=True)


def _shuffle(x: Tensor, span: slice, base: int) -> Tensor:
    """The fixed permutation of one signal; its path is apart from every child's."""
    return torch.randperm(x.shape[-1], generator=seeds.generator(base, span.start, 0, 0)
                          ).to(x.device)


def _each_matrix(rows: Tensor, pool: Pool, span: slice, transform: Callable[[Tensor], Tensor]
                 ) -> Tensor:
    """Transform both axes of each tensor (outputs × all the rest) that lies in the span."""
    result = rows.clone()
    for name, part in _inside(span, pool):
        outputs = pool.parameters[name].shape[1] if pool.parameters[name].ndim > 2 else 1
        matrix = rows[:, part].reshape(len(rows), outputs, -1)
        matrix = transform(transform(matrix).transpose(1, 2)).transpose(1, 2)
        result[:, part] = matrix.reshape(len(rows), -1)
    return result


def _spans(pool: Pool, per: str, smallest: int) -> list[slice]:
    if per == "network":
        return [slice(0, pool.size)]
    return [span for span in pool.segments().values() if span.stop - span.start >= smallest]


def check_pool(pool: Pool) -> None:
    """Refuse what is no pool."""
    require(isinstance(pool, Pool), "pool", pool, "a Pool (Pool.stack([network]) makes one)")


def _check_settings(energy: float, per: str, order: str, smallest: int) -> None:
    _check_energy(energy)
    require_one_of("per", per, ("network", "tensor"))
    require_one_of("order", order, ORDERS)
    require(whole(smallest), "smallest", smallest, "a whole number of weights ≥ 1")


def _check_energy(energy: float) -> None:
    require(isinstance(energy, (int, float)) and not isinstance(energy, bool)
            and 0 < energy <= 1, "energy", energy, "a fraction in (0, 1]")
