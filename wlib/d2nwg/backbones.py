"""Frozen networks that turn images into features: the project's own, torchvision's and CLIP's.

    features = glyph_features(images)                               # (B, 64)

Letters: B images, d features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib import data
from wlib.check import require
from wlib.core import nets, train
from wlib.data import ImageSet, glyphs


def _base_characters() -> str:
    """Symbols that share no base letter with any letter or digit (№ stands for N, ⅓ for 1)."""
    taken = {glyphs.base_of(c) for c in glyphs.characters_of("letters")}
    return "".join(c for c in glyphs.ALPHABETS["symbols"] if glyphs.base_of(c) not in taken)


BASE = _base_characters()       # what the glyph encoder is trained on; tasks use letters and digits


class GlyphNetwork(nn.Module):
    """Gray 28×28 images to features, three convolutions and a linear layer, and on to classes.

    Features are normalized, image by image, to mean 0 and variance 1.
    """

    def __init__(self, classes: int, d: int = 64):
        super().__init__()
        widths = (1, 16, 32, 32)
        self.features = nn.Sequential(
            *(layer for a, b in pairwise(widths)
              for layer in (nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())),
            nn.Flatten(), nn.Linear(widths[-1] * 4 * 4, d),
            nn.LayerNorm(d, elementwise_affine=False))
        self.head = nn.Linear(d, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def glyph_backbone(seed: int = 0, *, samples: int = 40, epochs: int = 4, device: str = "auto"
                   ) -> nn.Module:
    """The project's own encoder of glyphs, an image (B, 1, 28, 28) to (B, 64), frozen.

    A classifier of the characters in `BASE`, without its head: no task of letters or digits has
    seen its characters. Images and network are kept in the store.
    """
    images = data.load("glyphs", "train", characters=BASE, samples=samples, seed=seed)
    pool = train.stored_fit(_glyph_network, images, seeds=[seed], epochs=epochs, batch=128,
                            lr=2e-3, device=device)
    return pool.network(0).cpu().get_submodule("features").requires_grad_(False)


def _glyph_network() -> nn.Module:
    return GlyphNetwork(len(BASE))


def glyph_features(images: ImageSet, backbone: nn.Module | None = None, *, device: str = "auto"
                   ) -> Tensor:
    """Features (B, 64) of gray 28×28 images by `backbone`, by default `glyph_backbone()`."""
    require(isinstance(images, ImageSet) and images.images.shape[1:] == (1, 28, 28), "images",
            images, "an ImageSet of shape (1, 28, 28)")
    return _features(backbone if backbone is not None else glyph_backbone(device=device),
                     images, lambda x: x, device)


def vision_features(images: ImageSet, weights: str | Path, name: str = "resnet18", *,
                    size: int = 224, device: str = "auto") -> Tensor:
    """Features (B, d) by a torchvision network whose weights the user has in a file, without its
    last linear layer; d is 512 for resnet18, and images are enlarged to `size` pixels."""
    from torchvision import models

    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"weights: there is no file {path}, want torchvision's state dict "
                                f"of {name}; without one, see glyph_features")
    net = models.get_model(name, weights=None)
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    last = [k for k, m in net.named_modules() if isinstance(m, nn.Linear)][-1]
    net.set_submodule(last, nn.Identity())
    return _features(net.eval(), images, lambda x: _as_seen(x, size, *IMAGENET), device)


def clip_features(images: ImageSet, weights: str | Path | None = None, *,
                  model: nn.Module | str = "ViT-B-32-quickgelu", size: int = 224,
                  device: str = "auto") -> Tensor:
    """Features (B, 512) by CLIP's image encoder, as in the paper: not normalized.

    Needs the package open_clip, the extra `clip`, and a file of `weights`; a `model` of your own
    is taken as it is. Images are enlarged to `size` pixels, gray ones repeated.
    """
    if isinstance(model, str):
        open_clip = _open_clip()
        require(weights is not None and Path(weights).is_file(), "weights", weights,
                f"a file with the weights of {model}; without one, see glyph_features")
        model = open_clip.create_model(model, pretrained=str(weights))
    require(hasattr(model, "encode_image"), "model", model, "a model with encode_image")
    return _features(_Encode(model).eval(), images, lambda x: _as_seen(x, size, *CLIP), device)


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as problem:
        raise ImportError("clip_features needs the package open_clip, the extra 'clip': "
                          "pip install 'weights-as-data[clip]'; see glyph_features for one that "
                          "needs nothing") from problem
    return open_clip


class _Encode(nn.Module):
    model: Any

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.encode_image(x)


# Mean and standard deviation of the channels that the networks were trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def _as_seen(x: Tensor, size: int, mean: Sequence[float], sd: Sequence[float]) -> Tensor:
    """Images (B, 1 or 3, H, W) in [0, 1] as a network trained on photographs wants them."""
    x = F.interpolate(x.expand(-1, 3, -1, -1), size=(size, size), mode="bicubic", antialias=True)
    middle, spread = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (mean, sd))
    return (x.clamp(0, 1) - middle) / spread


@torch.no_grad()
def _features(net: nn.Module, images: ImageSet, prepare: Callable[[Tensor], Tensor], device: str,
              batch: int = 250) -> Tensor:
    require(isinstance(images, ImageSet), "images", images, "an ImageSet")
    place = nets.resolve_device(device)
    net = copy.deepcopy(net).to(place).eval()
    found = [net(prepare(images[at:at + batch].floats(place))).float().flatten(1).cpu()
             for at in range(0, len(images), batch)]
    return torch.cat(found)
