"""MGE: from one trained network, thousands, without training (part I).

`generate` makes children, `discriminate` says which still work, `evolve` breeds them (E-MGE) by
the operators `Redraw`, `Noise`, `blend` and `crossover`; `race` and `screen` compare many children
at few images; `dct` is the transform. The experiments of the notebooks are in
`wlib.mge.experiments`.
"""

from wlib.mge.cosine import dct, idct
from wlib.mge.discriminator import CRITERIA, Limits, discriminate, require_disjoint
from wlib.mge.evolution import (
    SEARCHES,
    Evolution,
    EvolutionState,
    Fitness,
    choose,
    diversity,
    evolve,
    final,
    stored_evolve,
)
from wlib.mge.generator import (
    ORDERS,
    REDRAWS,
    Spectrum,
    draw,
    generate,
    keep_mask,
    spectra,
    trainable,
    with_trainable,
)
from wlib.mge.operators import Either, Noise, Redraw, blend, crossover
from wlib.mge.racing import Rounds, race, screen

__all__ = [
    "CRITERIA", "ORDERS", "REDRAWS", "SEARCHES", "Either", "Evolution", "EvolutionState",
    "Fitness", "Limits", "Noise", "Redraw", "Rounds", "Spectrum", "blend", "choose",
    "crossover", "dct", "discriminate", "diversity", "draw", "evolve", "final", "generate",
    "idct", "keep_mask", "race", "require_disjoint", "screen", "spectra", "stored_evolve",
    "trainable", "with_trainable",
]
