"""D2NWG: a diffusion model that samples weights for a data set it is shown (part IV).

`zoo` trains the networks, `codec` shortens their weights, `condition` reads a data set, the
diffusion (here) samples; `generation` is the whole way, `baselines` are the rivals.
"""

from wlib.d2nwg.diffusion import (
    METHODS,
    NOISE_CELLS,
    PAPER_BETAS,
    PAPER_STEPS,
    Denoiser,
    Diffusion,
    UNet,
    decay_after,
    denoised,
    denoising_loss,
    fit,
    implicit,
    noised,
    posterior,
    respaced,
    schedule,
    select,
    signal,
    stored_fit,
    waves_of,
)

__all__ = [
    "Denoiser",
    "Diffusion",
    "METHODS",
    "NOISE_CELLS",
    "PAPER_BETAS",
    "PAPER_STEPS",
    "UNet",
    "decay_after",
    "denoised",
    "denoising_loss",
    "fit",
    "implicit",
    "noised",
    "posterior",
    "respaced",
    "schedule",
    "select",
    "signal",
    "stored_fit",
    "waves_of",
]
