"""Clear refusals: one way to say which argument is wrong, what came and what is wanted."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any


def require(ok: bool, argument: str, got: Any, want: str) -> None:
    """Raise a `ValueError` that names the argument, what it got and what it wants, unless `ok`."""
    if not ok:
        raise ValueError(f"{argument}: got {short(got)}, want {want}")


def whole(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number of at least `least`; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def finite(numbers: Any) -> bool:
    """Whether a floating-point tensor holds neither NaN nor infinity: both show at its ends."""
    return numbers.numel() == 0 or all(math.isfinite(end) for end in numbers.detach().aminmax())


def require_one_of(argument: str, got: Any, options: Iterable[str]) -> None:
    """Refuse a name that is not among the options, naming the nearest one."""
    options = sorted(options)
    if got not in options:
        raise ValueError(f"{argument}: got {short(got)}, want one of {', '.join(options)}"
                         f"{did_you_mean(got, options)}")


def did_you_mean(got: Any, options: Iterable[str]) -> str:
    """'; did you mean X?' when some option is close to what came, else an empty string."""
    near = difflib.get_close_matches(str(got), list(options), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def short(value: Any, length: int = 80) -> str:
    """A value for an error message: tensors by type and shape, everything else by a cut repr."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{type(value).__name__} of {value.dtype} with shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= length else text[: length - 1] + "…"
