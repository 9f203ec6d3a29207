"""MGE: from one trained network, thousands, without training (part I).

`generate` makes children, `discriminate` says which still work; `evolve` breeds them (E-MGE),
`race` and `screen` compare many children at few images, `cosine` is the transform.
"""

from wlib.mge.cosine import dct, idct
from wlib.mge.generator import (
    CRITERIA,
    ORDERS,
    REDRAWS,
    WEIGHTS_AT_ONCE,
    Spectrum,
    discriminate,
    draw,
    generate,
    important,
    require_disjoint,
    spectra,
    trainable,
    with_trainable,
)

__all__ = [
    "dct",
    "idct",
    "CRITERIA",
    "ORDERS",
    "REDRAWS",
    "Spectrum",
    "WEIGHTS_AT_ONCE",
    "discriminate",
    "draw",
    "generate",
    "important",
    "require_disjoint",
    "spectra",
    "trainable",
    "with_trainable",
]
