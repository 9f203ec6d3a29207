"""MDA: cut a CNN into task parts, assemble new ones (part II; Hu et al., "Model LEGO", 2203.13453).

From the head to the stem, each layer's inputs are asked what they contribute to the outputs that
a class needs, and the inputs that matter become the outputs needed of the layers that write them.
The channels that the chosen classes need are cut out as a network of their own, without training.

    chosen = mda.select(net, images, labels, per_class=5)
    found = mda.masks(mda.contributions(net, images[chosen], labels[chosen]))
    part = mda.disassemble(net, found, classes=[0, 1, 2])
    part = mda.part(net, images, labels, classes=[0, 1, 2]).network        # or all of it at once

`lego` joins parts, `partfile` keeps them, `wiring` finds which channels belong together. The
paper's text and its official code differ; the default is what the code does.
"""

from typing import TYPE_CHECKING

from wlib.ground.front import first_use

if TYPE_CHECKING:
    from wlib.mda.contribution import (
        Contributions,
        contributions,
        of_classes,
        partial_sums,
        select,
        window_sums,
    )
    from wlib.mda.parts import Part, disassemble, kept, part, wire_scores
    from wlib.mda.voting import MODES, Masks, masks, relative, vote
else:
    def __getattr__(name):
        return first_use(__name__, name)

__all__ = ["Contributions", "MODES", "Masks", "Part", "contributions", "disassemble", "kept",
           "masks", "of_classes", "part", "partial_sums", "relative", "select", "vote",
           "window_sums", "wire_scores"]


def __dir__() -> list[str]:
    return __all__
