"""Means over a few seeds and many test images, and their 95 % intervals."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from wlib.check import require, short

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean with its 95 % interval; without bounds (infinite) when one seed is all there is."""

    low: float
    mean: float
    high: float

    def words(self, unit: str = "") -> str:
        """'95.7 ± 0.4 points', rounded to what the interval supports."""
        half = self.high - self.mean
        if not math.isfinite(half):
            return f"{self.mean:.3g} {unit}".strip() + " (one seed, no interval)"
        digits = 1 - math.floor(math.log10(half)) if half > 0 else 3
        digits = min(max(digits, 0), 6)
        mean = round(self.mean, digits) + 0.0  # no "-0.0"
        return f"{mean:.{digits}f} ± {half:.{digits}f} {unit}".strip()


def interval(values: Any, image_se: float = 0.0, confidence: float = CONFIDENCE) -> Interval:
    """95 % interval of the mean over seeds, values (S,), with the images' variance added.

    The seeds are few, so their margin is Student's, t(0.975, S-1) · s/√S; the test images are one
    more sample, a large one, so theirs is 1.96 · image_se. The two add in squares, which covers
    the truth in 95 % of cases or a little more, whichever of the two is larger.
    """
    values = as_array(values, "values")
    require(values.ndim == 1 and len(values) > 0, "values", values, "shape (S,) with S ≥ 1")
    require(is_number(image_se) and image_se >= 0, "image_se", image_se, "a number ≥ 0")
    return Interval(*(float(one) for one in intervals(values, image_se, confidence)))


def intervals(values: np.ndarray, image_se: Any = 0.0,
              confidence: float = CONFIDENCE) -> Interval:
    """`interval` for many means at once, unchecked: values (...,S) and image_se (...) or a number.

    The bounds are arrays of shape (...).
    """
    mean, count = values.mean(axis=-1), values.shape[-1]
    if count == 1:
        return Interval(mean - math.inf, mean, mean + math.inf)
    spread = values.std(axis=-1, ddof=1) / math.sqrt(count)
    half = np.hypot(_student(count - 1, confidence) * spread,
                    _student(math.inf, confidence) * image_se)
    return Interval(mean - half, mean, mean + half)


@functools.cache
def _student(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    return float(stdtrit(freedom, (1 + confidence) / 2))


def as_array(values: Any, where: str) -> np.ndarray:
    """Numbers of any kind (tensor on any device, array, list) as float64; refuses NaN."""
    kind = getattr(values, "dtype", None)
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double().numpy() if values.dtype.is_floating_point else values.numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{where}: got {short(values)}, want an array of numbers") from error
    require(array.dtype.kind in "biuf", where, values if kind is None else str(kind),
            "an array of real numbers")
    array = array.astype(np.float64)
    require(bool(np.isfinite(array).all()), where, values, "finite numbers (some are not)")
    return array


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
