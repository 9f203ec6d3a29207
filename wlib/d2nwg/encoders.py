"""Encoders that learn: from a data set to a vector, after the set transformer or by an MLP.

    encoder = SetEncoder(64, size=24)                              # (m, C, S, 64) to (m, 24)
    encoder, losses = fit_encoder(encoder, sets, latents)          # to meet the networks' latents

Letters: B data sets or sets, C classes, S images of a class, d features, n data sets of a zoo,
L latent numbers.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wlib import seeds
from wlib.check import require, whole
from wlib.core import nets
from wlib.d2nwg.condition import draw, require_floats


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


@dataclass(frozen=True)
class Alignment:
    """How an encoder is aligned with latents, by AdamW without weight decay."""

    epochs: int = 100
    batch: int = 64
    lr: float = 1e-4                # halved where the loss has not fallen for 10 epochs
    shots: int | None = 5           # images of each class that a step draws; None: all
    temperature: float = 1.0        # of the loss

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            value = getattr(self, name)
            require(whole(value), name, value, "a whole number ≥ 1")
        require(isinstance(self.lr, (int, float)) and self.lr > 0, "lr", self.lr,
                "a positive learning rate")


def fit_encoder(encoder: nn.Module, sets: Tensor, latents: Tensor,
                alignment: Alignment | None = None, *, seed: int = 0, device: str = "auto"
                ) -> tuple[nn.Module, list[float]]:
    """A copy of the encoder, trained by `alignment_loss` on sets (n, C, S, d) and latents (n, L).

    The latents stay as they are. Returns the encoder and each epoch's mean loss.
    """
    how = alignment or Alignment()
    require(isinstance(encoder, nn.Module), "encoder", encoder, "an nn.Module that learns")
    sets, latents = require_floats("sets", sets, 4), require_floats("latents", latents, 2)
    require(len(sets) == len(latents) >= 2, "latents", latents,
            f"one row for each of {len(sets)} data sets, at least 2")
    place = nets.resolve_device(device)
    encoder = copy.deepcopy(encoder).to(place)
    latents, sets = latents.float().to(place), sets.float().to(place)
    learned = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=how.lr, weight_decay=0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=10)
    losses = []
    for epoch in range(how.epochs):
        rng, total = seeds.generator(seed, epoch), 0.0
        for rows in torch.randperm(len(sets), generator=rng).split(how.batch):
            embedded = encoder(draw(sets[rows.to(place)], how.shots, rng))
            loss = alignment_loss(latents[rows.to(place)], embedded, how.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(sets))
        plateau.step(losses[-1])
    optimizer.zero_grad()
    return encoder.cpu(), losses
