"""From a data set to what a generator of networks is conditioned on (D2NWG, arXiv 2402.18153).

A frozen network turns images into features, a few images of each class are drawn, and an encoder
makes one vector of them, or one per class:

    features = glyph_features(images)                               # (B, 64)
    sets = by_class(features, images.labels, count=20)              # (C, 20, 64)
    c = per_class(draw(sets, 5, seeds.generator(0)))                # (C, 128)

| encoder        | gives       | order of classes | order of images | weights at the paper's size |
|----------------|-------------|------------------|-----------------|-----------------------------|
| `concatenated` | (C·d)       | counts           | does not count  | none                        |
| `Components`   | (size)      | counts           | does not count  | none that learn             |
| `per_class`    | (C, 2d)     | its rows follow  | does not count  | none                        |
| `SetEncoder`   | (size)      | does not count   | does not count  | 1,893,632                   |
| `MLPEncoder`   | (size)      | counts           | counts          | 2,098,380                   |

`align` teaches an encoder to point where the latents of its data sets' networks lie. Features may
only come from training images: what is scored later must not have been seen in a condition.

Letters: B images, C classes, S images per class, d features, n data sets, L latent numbers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib import data, seeds, store
from wlib.check import require, whole
from wlib.core import nets, train
from wlib.data import ImageSet, glyphs

__all__ = ["ISAB", "MAB", "PMA", "BASE", "Components", "GlyphNetwork", "MLPEncoder", "SetEncoder",
           "SetPool", "align", "alignment_loss", "by_class", "clip_features", "concatenated",
           "draw", "glyph_backbone", "glyph_features", "per_class", "stored_align",
           "vision_features"]


# ---- sets of features ---------------------------------------------------------------------------
def by_class(features: Tensor, labels: Tensor, count: int = 20, classes: int | None = None
             ) -> Tensor:
    """The first `count` images' features of every class, (C, count, d), of features (B, d).

    The released code keeps 20 per class and draws 5 of them at a time. `classes` is C, where the
    labels alone would not tell that the last class has no image.
    """
    _check("features", features, 2)
    require(isinstance(labels, Tensor) and labels.shape == features.shape[:1]
            and not labels.is_floating_point(), "labels", labels, f"({len(features)},) whole "
            "numbers, one per image")
    require(whole(count), "count", count, "a whole number ≥ 1")
    found = torch.bincount(labels, minlength=classes or 0)
    require(classes is None or len(found) == classes, "labels", f"label {len(found) - 1}",
            f"labels below classes = {classes}")
    require(int(found.min()) >= count, "features", f"{int(found.min())} images of class "
            f"{int(found.argmin())}", f"at least count = {count} of every class")
    return torch.stack([features[labels == k][:count] for k in range(len(found))])


def draw(features: Tensor | Sequence[Tensor], shots: int | None, generator: torch.Generator
         ) -> Tensor:
    """`shots` images of every class at random, no image twice: (…, C, shots, d).

    `features` is (…, C, S, d), or a list with (S, d) for each class where their S differ. With
    `shots=None` all images stay, in their order, and nothing is drawn.
    """
    if not isinstance(features, Tensor):
        require(isinstance(shots, int) and len(features) > 0, "shots", shots,
                "a whole number for classes of different sizes, at least one")
        for k, own in enumerate(features):
            _check(f"features[{k}]", own, 2)
            _enough(f"features[{k}]", len(own), shots)
        return torch.stack([draw(own[None], shots, generator)[0] for own in features])
    require(features.ndim >= 3, "features", features, "(…, classes, images, d)")
    if shots is None:
        return features
    _enough("features", features.shape[-2], shots)
    lots = torch.rand(features.shape[:-1], generator=generator)                # (…, C, S)
    chosen = lots.argsort(-1)[..., :shots].to(features.device)
    return features.gather(-2, chosen[..., None].expand(*chosen.shape, features.shape[-1]))


def _enough(name: str, images: int, shots: int) -> None:
    require(whole(shots), "shots", shots, "a whole number ≥ 1")
    require(shots <= images, name, f"{images} images of a class", f"at least shots = {shots}")


def concatenated(sets: Tensor) -> Tensor:
    """The class means one after another: (…, C, S, d) to (…, C·d), bound to their order."""
    return sets.mean(-2).flatten(-2)


def per_class(sets: Tensor) -> Tensor:
    """Of each class its mean and the mean over all classes: (…, C, S, d) to (…, C, 2d).

    Other classes in another order give the same rows in that order.
    """
    means = sets.mean(-2)                                                      # (…, C, d)
    return torch.cat([means, means.mean(-2, keepdim=True).expand_as(means)], dim=-1)


class Components(nn.Module):
    """`concatenated`, brought to its first principal components of unit spread: (…, size).

    Fitted on the sets of a zoo (`Components.fit`), then frozen. Where a zoo has few data sets, all
    of C·d numbers would tell them apart by what they share with no other.
    """

    def __init__(self, mean: Tensor, basis: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)            # (C·d,)
        self.register_buffer("basis", basis)          # (C·d, size), divided by the spread

    @classmethod
    def fit(cls, sets: Tensor, size: int = 16) -> Components:
        """Of sets of features (n, C, S, d); at most n − 1 components."""
        _check("sets", sets, 4)
        require(whole(size) and size < len(sets), "size", size,
                f"a whole number from 1 to {len(sets) - 1}, one less than data sets")
        rows = concatenated(sets).double()
        _, spread, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
        require(float(spread[size - 1]) > 1e-9 * float(spread[0]), "size", size,
                "a number at which the data sets still differ")
        sd = spread[:size] / math.sqrt(len(rows))
        return cls(rows.mean(0).float(), (directions[:size].T / sd).float())

    def forward(self, sets: Tensor) -> Tensor:
        return (concatenated(sets) - self.mean) @ self.basis


# ---- learned encoders ---------------------------------------------------------------------------
class MAB(nn.Module):
    """Attention of queries (B, Q, dq) on a set (B, K, dk): (B, Q, dv), a set transformer's block.

    O = Q' + softmax(Q'K'ᵀ/√dv)V' by heads, then O + ReLU(Linear(O)) (Lee et al. 2019). As in the
    released code the residual is the *projected* query, and the scale takes all of dv, not a head's
    share.
    """

    def __init__(self, of_query: int, of_set: int, width: int, heads: int = 2):
        super().__init__()
        require(width % heads == 0, "width", width, f"a multiple of heads = {heads}")
        self.heads = heads
        self.query = nn.Linear(of_query, width)
        self.key, self.value = nn.Linear(of_set, width), nn.Linear(of_set, width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, members: Tensor) -> Tensor:
        q, k, v = (self._heads(layer(x)) for layer, x in
                   ((self.query, queries), (self.key, members), (self.value, members)))
        scale = 1 / math.sqrt(self.out.in_features)
        o = q + F.scaled_dot_product_attention(q, k, v, scale=scale)           # (B, h, Q, dv/h)
        o = o.transpose(1, 2).flatten(2)                                       # (B, Q, dv)
        return o + self.out(o).relu()

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class ISAB(nn.Module):
    """A set (B, K, d_in) to a set (B, K, width), through `inducing` learned points: linear in K."""

    def __init__(self, d_in: int, width: int, heads: int = 2, inducing: int = 32):
        super().__init__()
        self.points = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, inducing, width)))
        self.gather = MAB(width, d_in, width, heads)
        self.spread = MAB(d_in, width, width, heads)

    def forward(self, members: Tensor) -> Tensor:
        return self.spread(members, self.gather(self.points.expand(len(members), -1, -1), members))


class PMA(nn.Module):
    """A set (B, K, width) to one row (B, 1, width): attention from a learned seed."""

    def __init__(self, width: int, heads: int = 2):
        super().__init__()
        self.seed = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, 1, width)))
        self.look = MAB(width, width, width, heads)

    def forward(self, members: Tensor) -> Tensor:
        return self.look(self.seed.expand(len(members), -1, -1), members)


class SetPool(nn.Module):
    """A set (B, K, d) to one vector (B, d): two ISAB, a PMA, two blocks of self-attention, Linear.

    The released code attends from the pooled row to itself twice; of one row that is no more than
    a small residual network, kept because the paper's encoder has it.
    """

    def __init__(self, d: int, width: int = 128, heads: int = 2, inducing: int = 32):
        super().__init__()
        self.within = nn.Sequential(ISAB(d, width, heads, inducing),
                                    ISAB(width, width, heads, inducing))
        self.pool = PMA(width, heads)
        self.after = nn.ModuleList(MAB(width, width, width, heads) for _ in range(2))
        self.leave = nn.Linear(width, d)

    def forward(self, members: Tensor) -> Tensor:
        x = self.pool(self.within(members))                                    # (B, 1, width)
        for block in self.after:
            x = block(x, x)
        return self.leave(x).squeeze(1)


class SetEncoder(nn.Module):
    """A data set (B, C, S, d) to a vector (B, size), whatever the order of images and of classes.

    One `SetPool` within classes, another across them. Any C and S will do. At d=512 and size=1024
    the paper's, with 1,893,632 weights.
    """

    def __init__(self, d: int = 512, size: int = 1024, width: int = 128, heads: int = 2,
                 inducing: int = 32):
        super().__init__()
        self.d, self.size = d, size
        self.images = SetPool(d, width, heads, inducing)
        self.classes = SetPool(d, width, heads, inducing)
        self.leave = nn.Linear(d, size)

    def forward(self, sets: Tensor) -> Tensor:
        require(sets.ndim == 4 and sets.shape[-1] == self.d, "sets", sets,
                f"(data sets, classes, images, {self.d})")
        of_class = self.images(sets.flatten(0, 1)).unflatten(0, sets.shape[:2])   # (B, C, d)
        return self.leave(self.classes(of_class))                                 # (B, size)


class MLPEncoder(nn.Module):
    """A data set (B, C, S, d) to a vector (B, size) by two linear layers: the released default.

    The first mixes all S·C images of a feature into `width` numbers: it is bound to the order of
    images and classes. A data set of fewer classes meets the first S·C columns only, in which
    other images stood before; the release cuts surplus classes off, here they are refused.
    At d=512, classes=10, shots=5 and size=1024 the paper's, with 2,098,380 weights.
    """

    def __init__(self, d: int = 512, classes: int = 10, shots: int = 5, size: int = 1024,
                 width: int = 4):
        super().__init__()
        self.d, self.size, self.most, self.shots = d, size, classes, shots
        self.mix = nn.Linear(classes * shots, width)
        self.leave = nn.Linear(d * width, size)

    def forward(self, sets: Tensor) -> Tensor:
        require(sets.ndim == 4 and sets.shape[1] <= self.most
                and sets.shape[2:] == (self.shots, self.d), "sets", sets,
                f"(data sets, at most {self.most} classes, {self.shots} images, {self.d})")
        x = sets.permute(0, 3, 2, 1).flatten(2)                                # (B, d, S·C)
        x = F.linear(x, self.mix.weight[:, :x.shape[-1]], self.mix.bias)
        return self.leave(F.leaky_relu(x).flatten(1))


# ---- alignment with latents ---------------------------------------------------------------------
def alignment_loss(W: Tensor, D: Tensor, temperature: float = 1.0) -> Tensor:
    """The contrastive loss of latents W (B, L) and the data sets' embeddings D (B, L).

    Rows that belong together should have large products. The targets are soft: the softmax of the
    mean of DDᵀ and WWᵀ. As in the released code, nothing is normalized and the temperature divides
    logits but multiplies the targets'.
    """
    require(isinstance(W, Tensor) and isinstance(D, Tensor) and W.ndim == 2 and W.shape == D.shape,
            "D", D, f"the shape (B, L) of W, {tuple(W.shape)}")
    require(isinstance(temperature, (int, float)) and temperature > 0, "temperature", temperature,
            "a positive number")
    logits = W @ D.T / temperature                                             # (B, B)
    targets = ((D @ D.T + W @ W.T) / 2 * temperature).softmax(-1)
    of_weights = -(targets * logits.log_softmax(-1)).sum(-1)
    of_data = -(targets.T * logits.T.log_softmax(-1)).sum(-1)
    return (of_weights + of_data).mean() / 2


def align(encoder: nn.Module, sets: Tensor, latents: Tensor, *, shots: int | None = 5,
          epochs: int = 100, batch: int = 64, rate: float = 1e-4, temperature: float = 1.0,
          seed: int = 0, device: str = "auto") -> tuple[nn.Module, list[float]]:
    """A copy of the encoder, trained by `alignment_loss` on sets (n, C, S, d) and latents (n, L).

    The latents stay as they are. Returns the encoder and each epoch's mean loss. AdamW without
    weight decay, the rate halved where the loss has not fallen for 10 epochs (released code).
    """
    require(isinstance(encoder, nn.Module), "encoder", encoder, "an nn.Module that learns")
    _check("sets", sets, 4)
    _check("latents", latents, 2)
    require(len(sets) == len(latents) >= 2, "latents", latents,
            f"one row for each of {len(sets)} data sets, at least 2")
    for name, value in (("epochs", epochs), ("batch", batch)):
        require(whole(value), name, value, "a whole number ≥ 1")
    require(isinstance(rate, (int, float)) and rate > 0, "rate", rate, "a positive learning rate")
    device = nets.resolve_device(device)
    encoder = copy.deepcopy(encoder).to(device)
    latents, sets = latents.detach().float().to(device), sets.detach().float().to(device)
    losses = []
    moving = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=rate, weight_decay=0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=10)
    for epoch in range(epochs):
        g, sums = seeds.generator(seed, epoch), 0.0
        for rows in torch.randperm(len(sets), generator=g).split(batch):
            embedded = encoder(draw(sets[rows.to(device)], shots, g))
            loss = alignment_loss(latents[rows.to(device)], embedded, temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sums += loss.item() * len(rows)
        losses.append(sums / len(sets))
        plateau.step(losses[-1])
    optimizer.zero_grad()
    return encoder.cpu(), losses


def stored_align(encoder: nn.Module, sets: Tensor, latents: Tensor, *, device: str = "auto",
                 **settings) -> tuple[nn.Module, list[float]]:
    """`align`, kept in the store."""
    kind = str(nets.resolve_device(device))
    state, losses = store.cached(_aligned, encoder, sets, latents, kind, settings)
    aligned = copy.deepcopy(encoder)
    aligned.load_state_dict(state)
    return aligned, losses


def _aligned(encoder, sets, latents, device, settings):
    aligned, losses = align(encoder, sets, latents, device=device, **settings)
    return aligned.state_dict(), losses


# ---- frozen image features ----------------------------------------------------------------------
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
                            rate=2e-3, device=device)
    return pool.network(0).cpu().features.requires_grad_(False)


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


def _open_clip():
    try:
        import open_clip
    except ImportError as problem:
        raise ImportError("clip_features needs the package open_clip, the extra 'clip': "
                          "pip install 'weights-as-data[clip]'; see glyph_features for one that "
                          "needs nothing") from problem
    return open_clip


class _Encode(nn.Module):
    def __init__(self, model: nn.Module):
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
    mean, sd = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (mean, sd))
    return (x.clamp(0, 1) - mean) / sd


@torch.no_grad()
def _features(net: nn.Module, images: ImageSet, prepare: Callable[[Tensor], Tensor], device: str,
              batch: int = 250) -> Tensor:
    require(isinstance(images, ImageSet), "images", images, "an ImageSet")
    device = nets.resolve_device(device)
    net = copy.deepcopy(net).to(device).eval()
    found = [net(prepare(images[at:at + batch].floats(device))).float().flatten(1).cpu()
             for at in range(0, len(images), batch)]
    return torch.cat(found)


def _check(name: str, value, dims: int) -> None:
    require(isinstance(value, Tensor) and value.is_floating_point() and value.ndim == dims
            and value.numel() > 0, name, value, f"a float tensor of {dims} dimensions")
    require(bool(torch.isfinite(value).all()), name, "NaN or infinity", "finite numbers")
