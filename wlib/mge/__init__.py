"""MGE: from one trained network, thousands, without training (part I).

`generate` makes children, `discriminate` says which still work, `dct` is the transform. In modules
of their own: `evolution` breeds them (E-MGE) by `operators`, `racing` compares many children at
few images, `experiments` and `uses` are those of the notebooks.
"""

from typing import TYPE_CHECKING

from wlib.ground.front import first_use

if TYPE_CHECKING:
    from wlib.mge.cosine import dct, idct
    from wlib.mge.discriminator import CRITERIA, Limits, discriminate, require_disjoint
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
else:
    def __getattr__(name):
        return first_use(__name__, name)

__all__ = [
    "CRITERIA",
    "Limits",
    "ORDERS",
    "REDRAWS",
    "Spectrum",
    "dct",
    "discriminate",
    "draw",
    "generate",
    "idct",
    "keep_mask",
    "require_disjoint",
    "spectra",
    "trainable",
    "with_trainable",
]


def __dir__() -> list[str]:
    return __all__
