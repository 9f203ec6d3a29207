"""The orthonormal cosine transform of a signal, and its inverse, at any length.

c_k = s_k Σ_j w_j cos(π(2j+1)k / 2n) with s_0 = √(1/n), else √(2/n): the multiplication by an
orthogonal matrix, so the squared norm stays the same. Computed in float64 by three routes:

- SciPy's transform, on a CPU;
- there, for long signals whose length has a large prime factor, an FFT of the same length (Makhoul
  1980) in two steps, n = a·b (Gentleman and Sande 1966). The prime is a factor of the shorter b
  alone, which takes a fraction of the time and the memory that SciPy takes;
- torch's FFT, on other devices and where a gradient is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from wlib.check import finite, require

LONG, PRIME = 2**18, 256      # length and prime factor from which two steps are the quicker ones
AT_ONCE = 2**18               # numbers in work in a step, unless one piece is longer


def dct(signal: Tensor, overwrite: bool = False) -> Tensor:
    """Cosine transform (type II) along the last axis, returned in the signal's dtype.

    `overwrite` allows to use the memory of `signal`, whose numbers are lost then.
    """
    return _along_rows(signal, "signal", overwrite, scipy.fft.dct, _dct_in_steps, _dct_by_torch)


def idct(coefficients: Tensor, overwrite: bool = False) -> Tensor:
    """Inverse of `dct`: the transpose of its matrix (type III), along the last axis."""
    return _along_rows(coefficients, "coefficients", overwrite, scipy.fft.idct, _idct_in_steps,
                       _idct_by_torch)


def length(x: Tensor, name: str) -> int:
    """n of a tensor (…, n) of finite floating-point numbers; anything else is refused."""
    require(isinstance(x, Tensor) and x.is_floating_point() and x.numel() > 0 and x.ndim >= 1,
            name, x, "a floating-point tensor (…, n) with n ≥ 1")
    require(finite(x), name, "NaN or infinity", "finite numbers")
    return x.shape[-1]


def _along_rows(given: Tensor, name: str, overwrite: bool, whole: Callable[..., np.ndarray],
                in_steps: Callable[[Tensor, int], None], by_torch: Callable[[Tensor], Tensor]
                ) -> Tensor:
    """The transform of each row by the route that suits: `whole` by SciPy, or one of the others."""
    n = length(given, name)
    x = given.to(torch.float64, copy=not overwrite)
    if x.device.type != "cpu" or x.requires_grad:
        return by_torch(x).to(given.dtype)
    a = _first_step(n)
    if a == 1:
        return torch.from_numpy(whole(x.numpy(), norm="ortho", overwrite_x=True)).to(given.dtype)
    x = x.contiguous()
    for row in x.view(-1, n):
        in_steps(row, a)
    return x.to(given.dtype)


# ---- in two steps -----------------------------------------------------------------------------
# The signal is folded, evens up and odds down, and its n numbers are read as a matrix (a, b), its
# frequencies k = k₁ + a·k₂ as one (b, a). A first FFT goes down the columns, a second one along the
# rows. Of a real signal the frequencies k and n − k tell the same, so k₁ ≤ a/2 is enough.
def _dct_in_steps(x: Tensor, a: int) -> None:
    """The transform of one signal (n,), n = a·b, in its own memory."""
    n, b = len(x), len(x) // a
    spectrum = torch.empty(a // 2 + 1, b, dtype=torch.complex128)
    for columns in _pieces(b, a):
        step = scipy.fft.rfft(x[_folded(n, a, columns)].numpy(), axis=0)
        spectrum[:, columns] = torch.from_numpy(step) * _between(n, spectrum, columns, -1)
    for rows in _pieces(a // 2 + 1, b):
        k = _range(rows)[:, None] + a * torch.arange(b)                     # (rows, b)
        step = scipy.fft.fft(spectrum[rows].numpy(), axis=1, overwrite_x=True)
        z = torch.from_numpy(step) * _unit(-k, 4 * n) * math.sqrt(2 / n)
        x[-k] = -z.imag                   # of n − k; but for k = 0, which the next line puts right
        x[k] = z.real
    x[0] *= math.sqrt(0.5)


def _idct_in_steps(x: Tensor, a: int) -> None:
    n, b = len(x), len(x) // a
    spectrum = torch.empty(a // 2 + 1, b, dtype=torch.complex128)
    for rows in _pieces(a // 2 + 1, b):
        k = _range(rows)[:, None] + a * torch.arange(b)
        z = torch.complex(x[k], -x[-k])
        if rows.start == 0:
            z[0, 0] = math.sqrt(2) * x[0]
        z *= _unit(k, 4 * n) * math.sqrt(n / 2)
        spectrum[rows] = torch.from_numpy(scipy.fft.ifft(z.numpy(), axis=1, overwrite_x=True))
    for columns in _pieces(b, a):
        step = spectrum[:, columns] * _between(n, spectrum, columns, 1)
        x[_folded(n, a, columns)] = torch.from_numpy(scipy.fft.irfft(step.numpy(), n=a, axis=0))


def _pieces(count: int, width: int) -> Iterator[slice]:
    """`count` rows of `width` numbers, as many at once as `AT_ONCE` allows."""
    step = max(1, AT_ONCE // width)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _range(part: slice) -> Tensor:
    return torch.arange(part.start, part.stop)


def _folded(n: int, a: int, columns: slice) -> Tensor:
    """Where the numbers of these columns of the folded signal lie in the signal."""
    i = n // a * torch.arange(a)[:, None] + _range(columns)                 # (a, columns)
    return torch.where(2 * i < n, 2 * i, 2 * (n - i) - 1)


def _between(n: int, spectrum: Tensor, columns: slice, sign: int) -> Tensor:
    """The turns between the two steps (Cooley and Tukey's twiddle factors)."""
    return _unit(sign * torch.arange(len(spectrum))[:, None] * _range(columns), n)


def _unit(steps: Tensor, n: int) -> Tensor:
    """So many steps around the unit circle, n to a turn."""
    angle = 2 * math.pi / n * steps.double()
    return torch.polar(torch.ones_like(angle), angle)


def _first_step(n: int) -> int:
    """a of n = a·b: the greatest divisor up to √n, or 1 where one step is as good as two."""
    if n < LONG or largest_prime(n) < PRIME:
        return 1
    a = next(a for a in range(math.isqrt(n), 0, -1) if n % a == 0)
    return a if a > 2 else 1        # of two columns both would be transformed, nothing is saved


def largest_prime(n: int) -> int:
    """The largest prime factor of n."""
    p = 2
    while p * p <= n:
        n, p = (n // p, p) if n % p == 0 else (n, p + 1)
    return n


# ---- by torch ---------------------------------------------------------------------------------
def _dct_by_torch(x: Tensor) -> Tensor:
    n = x.shape[-1]
    folded = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], dim=-1)   # evens up, odds down
    c = (torch.fft.fft(folded) * _turn(n, -1, x.device)).real * math.sqrt(2 / n)
    c[..., 0] *= math.sqrt(0.5)
    return c


def _idct_by_torch(c: Tensor) -> Tensor:
    n = c.shape[-1]
    c = c * math.sqrt(n / 2)
    c[..., 0] *= math.sqrt(2)
    mirrored = torch.cat([torch.zeros_like(c[..., :1]), c[..., 1:].flip(-1)], dim=-1)
    half = n // 2 + 1                             # the spectrum of a real signal is known by half
    spectrum = torch.complex(c, -mirrored)[..., :half] * _turn(n, 1, c.device)[:half]
    folded = torch.fft.irfft(spectrum, n=n)
    signal = torch.empty_like(c)
    signal[..., ::2] = folded[..., :(n + 1) // 2]
    signal[..., 1::2] = folded[..., (n + 1) // 2:].flip(-1)
    return signal


def _turn(n: int, sign: int, device: torch.device) -> Tensor:
    return _unit(sign * torch.arange(n, device=device), 4 * n)
