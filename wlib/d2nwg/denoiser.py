"""What tells the noise in a latent: the project's denoiser, and the paper's UNet beside it.

Letters: L latent numbers, d condition numbers, B rows of a batch, t the step of the noise.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from wlib.check import require, whole


class Denoiser(nn.Module):
    """Noise (B, L) of latents x (B, L) at steps t (B,), for conditions c (B, d): a residual MLP.

    h = Linear([x, c, sines and cosines of t]), then `depth` times h + MLP(LayerNorm(h)), then
    Linear. With `condition=0` there is no c. The paper's UNet takes a latent for a picture of
    32×32 pixels, which it is not; this one makes no such claim (our choice).
    """

    def __init__(self, size: int, condition: int = 0, width: int = 256, depth: int = 3,
                 waves: int = 32):
        super().__init__()
        for name, value, least in (("size", size, 1), ("condition", condition, 0),
                                   ("width", width, 1), ("depth", depth, 0), ("waves", waves, 1)):
            require(whole(value, least), name, value, f"a whole number ≥ {least}")
        self.size, self.condition, self.waves = size, condition, waves
        self.enter = nn.Linear(size + condition + 2 * waves, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(),
                          nn.Linear(width, width)) for _ in range(depth))
        self.leave = nn.Linear(width, size)

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        require(x.shape[-1] == self.size, "x", x, f"latents (B, {self.size})")
        width = 0 if c is None else c.shape[-1]
        require(width == self.condition, "c", c, f"conditions (B, {self.condition})"
                if self.condition else "None: this denoiser has no condition")
        given = [x, timestep_embedding(t, self.waves).to(x)] + ([] if c is None else [c])
        h = self.enter(torch.cat(given, dim=1))                                # (B, width)
        for block in self.blocks:
            h = h + block(h)
        return self.leave(h)                                                   # (B, L)


def timestep_embedding(t: Tensor, count: int, longest: float = 10_000) -> Tensor:
    """Sines and cosines (B, 2·count) of t (B,), at frequencies from 1 down to 1/`longest`."""
    frequency = torch.exp(torch.arange(count, device=t.device) * (-math.log(longest) / count))
    angle = t[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class UNet(nn.Module):
    """The paper's denoiser as a rival: a UNet on latents folded to a square, c a second channel.

    Of the size in the released configuration (L = d = 1,024, 102,684,929 weights) as it stands;
    smaller by `width`, a multiple of 32. Needs the package diffusers, the extra `unet`.
    """

    def __init__(self, size: int = 1024, condition: int = 1024, width: int = 256,
                 multipliers: tuple[int, ...] = (1, 1, 1, 2), heads: int = 2):
        super().__init__()
        side, halvings = math.isqrt(size), 2 ** (len(multipliers) - 1)
        require(side * side == size and side % halvings == 0, "size", size,
                f"the square of a multiple of {halvings}")
        require(condition in (0, size), "condition", condition, f"{size}, the latent's size, or 0")
        self.size, self.condition, self.side = size, condition, side
        attends = [False] * max(0, len(multipliers) - 2) + [True] * min(2, len(multipliers))
        self.net = _library_unet()(
            sample_size=side, in_channels=2 if condition else 1, out_channels=1,
            block_out_channels=tuple(width * m for m in multipliers), layers_per_block=2,
            down_block_types=tuple("AttnDownBlock2D" if a else "ResnetDownsampleBlock2D"
                                   for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "ResnetUpsampleBlock2D"
                                 for a in attends[::-1]),
            downsample_type="resnet", upsample_type="resnet", norm_eps=1e-5,
            resnet_time_scale_shift="scale_shift", attn_norm_num_groups=32,
            attention_head_dim=width // heads)

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        planes = [v.view(-1, 1, self.side, self.side) for v in (x, c) if v is not None]
        return self.net(torch.cat(planes, dim=1), t).sample.flatten(1)         # (B, L)


def _library_unet() -> Any:
    try:
        from diffusers import UNet2DModel
    except ImportError as problem:
        raise ImportError("UNet needs the package diffusers, the extra 'unet': "
                          "pip install 'weights-as-data[unet]'; Denoiser needs nothing"
                          ) from problem
    return UNet2DModel
