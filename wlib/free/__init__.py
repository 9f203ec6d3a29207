"""FREE: learn to learn from trained networks whose data is gone (part III).

A meta-generator (here) recovers images from `teachers`, a `learner` is trained on them by
`replay` and `align`; `fewshot` judges it, `rivals` are other ways, `datafree` is the whole way.
"""

from wlib.free.generator import (
    Fitted,
    MetaGenerator,
    checked,
    fit_generator,
    generator_for,
    judge,
    placed,
    recover,
    stages,
    stored,
    stored_fit_generator,
    with_weights,
)
from wlib.free.inversion import adversarial_loss

__all__ = [
    "Fitted",
    "MetaGenerator",
    "adversarial_loss",
    "checked",
    "fit_generator",
    "generator_for",
    "judge",
    "placed",
    "recover",
    "stages",
    "stored",
    "stored_fit_generator",
    "with_weights",
]
