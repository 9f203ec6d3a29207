"""D2NWG: a diffusion model that samples weights for a data set it is shown (part IV).

    run = d2nwg.fit(latents, conditions, d2nwg.Training(steps=3000))      # (n, L) and (n, d)
    samples = run.sample(new, 50, method="ddim", steps=20)                # (m, d) -> (m, 50, L)

`codec` turns weights into latents z, `condition` a data set into a vector c; here a network learns
to tell the noise in a noisy latent, and so to go from noise to the latent of a network for a data
set never seen. `process` adds the noise and takes it away, `denoiser` sees it, `training` and
`sampling` use both. Around that: `zoo` trains the networks, `backbones` give features of images,
`encoders` learn conditions, `stored` keeps what was learned, `pipeline` is the whole way, `rivals`
do without a diffusion model, `heads` are linear layers, `memorization` looks for copies,
`experiments` are those of the notebooks.
"""

from typing import TYPE_CHECKING

from wlib.ground.front import first_use

if TYPE_CHECKING:
    from wlib.d2nwg.codec import PCA, VAE, VAETraining
    from wlib.d2nwg.denoiser import Denoiser, UNet, timestep_embedding
    from wlib.d2nwg.encoders import Alignment, SetEncoder, alignment_loss, fit_encoder
    from wlib.d2nwg.process import (
        add_noise,
        alphas_cumprod,
        ddim_step,
        ddpm_step,
        predict_z0,
        respaced,
        schedule,
    )
    from wlib.d2nwg.sampling import Sampling, select
    from wlib.d2nwg.stored import stored_fit
    from wlib.d2nwg.training import Training, TrainState, advance, denoising_loss, ema_decay, fit
else:
    def __getattr__(name):
        return first_use(__name__, name)

__all__ = ["PCA", "VAE", "Alignment", "Denoiser", "Sampling", "SetEncoder", "TrainState",
           "Training", "UNet", "VAETraining", "add_noise", "advance", "alignment_loss",
           "alphas_cumprod", "ddim_step", "ddpm_step", "denoising_loss", "ema_decay", "fit",
           "fit_encoder", "predict_z0", "respaced", "schedule", "select", "stored_fit",
           "timestep_embedding"]


def __dir__() -> list[str]:
    return __all__
