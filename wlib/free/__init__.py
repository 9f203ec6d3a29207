"""FREE: learn to learn from trained networks whose data is gone (part III).

A meta-generator (`fit_generator`, `recover`) makes images out of `Teachers`; a learner is trained
on them by BELL's walk (`bell`) and by replay (`replay`): `meta_learn` does both in turns.
`evaluate` judges it, `rivals` are other ways to images, `experiments` and `timing` what the
notebooks of part III measure.
"""

from typing import TYPE_CHECKING, Any

from wlib.ground.front import first_use

if TYPE_CHECKING:
    from wlib.free.few_shot import evaluate
    from wlib.free.generator import (
        MetaGenerator,
        MetaTraining,
        TrainState,
        fit_generator,
        generator_for,
        judge,
        recover,
        stages,
        stored,
        stored_fit_generator,
        with_weights,
    )
    from wlib.free.inversion import Objective, Recovery, adversarial_loss, statistics_loss
    from wlib.free.pipeline import MetaLearning, Sizes, Universe, meta_learn, start_of, universe
    from wlib.free.teachers import Teacher, Teachers, Training
else:
    def __getattr__(name: str) -> Any:
        return first_use(__name__, name)

__all__ = ["MetaGenerator", "MetaLearning", "MetaTraining", "Objective", "Recovery", "Sizes",
           "Teacher", "Teachers", "TrainState", "Training", "Universe", "adversarial_loss",
           "evaluate", "fit_generator", "generator_for", "judge", "meta_learn", "recover", "stages",
           "start_of", "statistics_loss", "stored", "stored_fit_generator", "universe",
           "with_weights"]


def __dir__() -> list[str]:
    return __all__
