"""From the weights of a zoo's networks to a few numbers each, and back.

Generators work on latents, not on weights (D2NWG, arXiv 2402.18153, section on the weight
autoencoder). Two codecs share one interface:

    codec = PCA.fit(weights, size=24)           # (n, D); or VAE.fit(weights, 24)
    z = codec.encode(weights)                   # (n, 24), every dimension of unit spread
    weights = codec.decode(z)                   # (n, D)

What a codec loses no generator can give back: `codec.reconstruct(weights)` is its ceiling, and to
be scored before anything else. Latents are standardized over the whole zoo; the released code
divides by the spread of its first batch.

Letters: n networks, D weights of the longest, L latent numbers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wlib import seeds
from wlib.check import require, require_one_of, whole
from wlib.core import nets
from wlib.store import digest

__all__ = ["PCA", "VAE", "VAETraining", "pad", "restored", "vae_loss", "zoo_id"]

SCALES = ("dimension", "whole")


# ---- weights as rows ----------------------------------------------------------------------------
def zoo_id(weights: Tensor, mask: Tensor | None = None) -> str:
    """A short name of a zoo, 12 hex digits: the hash of its weights and their mask."""
    parts = {"weights": weights} | ({} if mask is None else {"mask": mask})
    return digest(parts)[:12]


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Weights of different lengths as rows (n, D), zeros on the right, and their mask (n, D).

    The mask is True where a weight is; what is False is never learned, scored or decoded.
    """
    rows = list(rows)
    require(len(rows) > 0 and all(isinstance(w, Tensor) and w.ndim == 1 and len(w) > 0
                                  for w in rows), "rows", rows, "vectors of weights")
    weights = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    length = torch.tensor([len(w) for w in rows])
    return weights, torch.arange(weights.shape[1]) < length[:, None]


# ---- the interface ------------------------------------------------------------------------------
class Codec:
    """What PCA and VAE share: `encode` (n, D) to (n, L), `decode` back, and who they belong to.

    `zoo` is the `zoo_id` of the weights it was fitted on, `center` and `scale` (L,) are what
    latents are standardized by. Arguments named `zoo` refuse a codec of another zoo.
    """

    kinds: ClassVar[dict[str, type[Codec]]] = {}

    def __init__(self, tensors: dict[str, Tensor], zoo: str, settings: dict[str, Any]):
        self.tensors, self.zoo, self.settings = tensors, zoo, settings
        self.center, self.scale = tensors["center"], tensors["scale"]

    def __init_subclass__(cls) -> None:
        Codec.kinds[cls.__name__] = cls

    @property
    def size(self) -> int:
        """L, the numbers of a latent."""
        return len(self.scale)

    @property
    def length(self) -> int:
        """D, the weights of the zoo's longest network."""
        return len(self.tensors["mean"])

    def encode(self, weights: Tensor, mask: Tensor | None = None, *, zoo: str | None = None
               ) -> Tensor:
        """Latents (n, L), float32, of weights (n, D): those of the zoo have mean 0 and spread 1."""
        self._require_zoo(zoo)
        weights, mask = _checked(weights, mask, self.length)
        return ((self._encode(weights, mask) - self.center) / self.scale).float()

    def decode(self, z: Tensor, mask: Tensor | None = None, *, zoo: str | None = None) -> Tensor:
        """Weights (n, D), float32, of latents (n, L); zeros where `mask` has none."""
        self._require_zoo(zoo)
        require(isinstance(z, Tensor) and z.is_floating_point() and z.ndim == 2
                and z.shape[1] == self.size, "z", z, f"latents (n, {self.size})")
        require(bool(torch.isfinite(z).all()), "z", "NaN or infinity", "finite latents")
        weights = self._decode(z.cpu().double() * self.scale + self.center).float()
        if mask is None:
            return weights
        require(isinstance(mask, Tensor) and mask.dtype == torch.bool
                and mask.shape == weights.shape, "mask", mask, f"booleans {tuple(weights.shape)}")
        return weights * mask

    def reconstruct(self, weights: Tensor, mask: Tensor | None = None) -> Tensor:
        """What is left of weights (n, D) after `encode` and `decode`."""
        return self.decode(self.encode(weights, mask), mask)

    def state(self) -> dict[str, Any]:
        """All of it as plain values and tensors, for the store; `restored` takes it back."""
        return {"kind": type(self).__name__, "tensors": self.tensors, "zoo": self.zoo,
                "settings": self.settings}

    def digest(self) -> str:
        """One hash of all its tensors."""
        return digest(self.tensors)

    def _encode(self, weights: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError

    def _decode(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def _require_zoo(self, zoo: str | None) -> None:
        require(zoo is None or zoo == self.zoo, "codec", f"one fitted on the zoo {self.zoo}",
                f"one fitted on the zoo {zoo}: latents of two codecs mean different things")

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {self.length:,} weights to {self.size}, zoo {self.zoo}"


def restored(state: dict[str, Any]) -> Codec:
    """The codec whose `state()` this is."""
    require_one_of("kind", state["kind"], Codec.kinds)
    return Codec.kinds[state["kind"]](state["tensors"], state["zoo"], state["settings"])


def _checked(weights: Any, mask: Tensor | None, length: int | None = None
             ) -> tuple[Tensor, Tensor]:
    """Weights in float64 and their mask, after a look at both."""
    wanted = f"weights (n, {'D' if length is None else length})"
    require(isinstance(weights, Tensor) and weights.is_floating_point() and weights.ndim == 2
            and weights.numel() > 0, "weights", weights, wanted)
    require(length is None or weights.shape[1] == length, "weights", weights,
            f"{wanted}, the length of the zoo that this codec was fitted on")
    if not torch.isfinite(weights).all():
        bad = int((~torch.isfinite(weights)).any(1).nonzero()[0])
        raise ValueError(f"weights: got NaN or infinity in network {bad}, want finite weights")
    if mask is None:
        mask = torch.ones(weights.shape, dtype=torch.bool)
    require(isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == weights.shape,
            "mask", mask, f"booleans of the weights' shape {tuple(weights.shape)}")
    require(bool(mask.any(1).all()), "mask", "a network without weights", "some in every row")
    return weights.detach().cpu().double(), mask.cpu()


def _check_size(size: Any, most: int | None, networks: int) -> None:
    require(whole(size, 1), "size", size,
            "a whole number ≥ 1")
    require(most is None or size <= most, "size", size,
            f"at most {most}, the rank of {networks} networks around their mean: more zoo, not "
            "more numbers, is needed")


def _rounding(weights: Tensor, eps: float) -> Tensor:
    """About the spread in each direction that rounding alone gives: no component is below it."""
    return 2 * eps * weights.square().mean().sqrt() * sum(math.sqrt(k) for k in weights.shape)


def _means(weights: Tensor, mask: Tensor) -> Tensor:
    """The mean of every weight over the networks that have it, 0 where none has: (D,)."""
    return (weights * mask).sum(0) / mask.sum(0).clamp(min=1)


# ---- principal components -----------------------------------------------------------------------
class PCA(Codec):
    """The latent is the place on the zoo's first L principal components: exact on their span.

    Made by `PCA.fit`. `fractions` (L,) is each component's part of the zoo's variance.
    """

    @classmethod
    def fit(cls, weights: Tensor, size: int | None = None, mask: Tensor | None = None, *,
            scale: str = "dimension") -> PCA:
        """Fit on weights (n, D) of a zoo; by default all its components, n − 1 at most.

        `scale`: every latent dimension has unit spread ("dimension"), or all are divided by one
        number ("whole"), which keeps the late components small. Weights that a network lacks, by
        the mask, count as the mean. Raises `ValueError` for a size above the rank.
        """
        require_one_of("scale", scale, SCALES)
        rows, known = _checked(weights, mask)
        require(len(rows) >= 2, "weights", f"{len(rows)} network", "at least 2")
        mean = _means(rows, known)
        _, spread, directions = torch.linalg.svd((rows - mean) * known, full_matrices=False)
        rank = int((spread > _rounding(rows * known, torch.finfo(weights.dtype).eps)).sum())
        require(rank > 0, "weights", "networks that are all the same", "at least 2 different ones")
        size = rank if size is None else size
        _check_size(size, rank, len(rows))
        basis = directions[:size].T                                                  # (D, L)
        top = basis.abs().argmax(0, keepdim=True)       # a sign that no library can choose
        basis = basis * basis.gather(0, top).sign()
        sd = spread[:size] / math.sqrt(len(rows))
        if scale == "whole":
            sd = sd.square().mean().sqrt().expand(size).clone()
        fractions = spread[:size].square() / spread.square().sum()
        return cls({"mean": mean, "basis": basis.contiguous(), "center": torch.zeros_like(sd),
                    "scale": sd, "fractions": fractions}, zoo_id(weights, mask), {"scale": scale})

    @property
    def fractions(self) -> Tensor:
        """Each component's part of the zoo's variance, (L,)."""
        return self.tensors["fractions"]

    def _encode(self, weights: Tensor, mask: Tensor) -> Tensor:
        return ((weights - self.tensors["mean"]) * mask) @ self.tensors["basis"]

    def _decode(self, z: Tensor) -> Tensor:
        return z @ self.tensors["basis"].T + self.tensors["mean"]


# ---- variational autoencoder --------------------------------------------------------------------
def vae_loss(w: Tensor, w_hat: Tensor, mu: Tensor, logvar: Tensor, mask: Tensor | None = None, *,
             kl: float = 1e-6, mse: float = 1000.0) -> dict[str, Tensor]:
    """The paper's loss of weights (B, D), their reconstruction and the latent's mean and log
    variance (B, L): {"l1", "kl", "mse", "total"}.

    Released code: L1 is a sum over a network's weights, the squared error a mean over them, both
    means over the batch, and total = L1 + 1e-6·KL + 1000·MSE. The mask, which the code lacks,
    leaves out what is padding.
    """
    mask = torch.ones_like(w, dtype=torch.bool) if mask is None else mask
    error = (w - w_hat) * mask
    parts = {"l1": error.abs().sum() / len(w),
             "kl": 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum() / len(w),
             "mse": error.square().sum() / mask.sum()}
    return parts | {"total": parts["l1"] + kl * parts["kl"] + mse * parts["mse"]}


@dataclass(frozen=True)
class VAETraining:
    """How an autoencoder is trained, by Adam with betas (0.5, 0.9) as in the released code."""

    hidden: Sequence[int] = (512, 256)      # widths of its layers; the paper's size: (4096, 1536)
    epochs: int = 500
    batch: int = 64
    lr: float = 1e-3
    kl: float = 1e-6                        # weights of the parts of `vae_loss`
    mse: float = 1000.0
    every: int = 50                         # epochs between two looks at the score

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "every"):
            value = getattr(self, name)
            require(whole(value), name, value, "a whole number ≥ 1")


class VAE(Codec):
    """A variational autoencoder of weights, D-512-256-L and back, as `VAE.fit` trains it.

    The paper's has convolutions on weights folded to a picture; this one is a plain MLP (our
    choice). `history` has a row per look: epoch, loss and score.
    """

    @classmethod
    def fit(cls, weights: Tensor, size: int, mask: Tensor | None = None,
            training: VAETraining | None = None, *,
            score: Callable[[Tensor], float] | None = None, seed: int = 0, device: str = "auto"
            ) -> VAE:
        """Train on weights (n, D) of a zoo, each weight's mean subtracted, one spread for all.

        Every `training.every` epochs `score(reconstructed (n, D))` is asked, such as the
        validation accuracy of reconstructed networks, and the weights that scored best are kept;
        without it, the last. The released code goes by the loss.
        """
        how = training or VAETraining()
        real, known = _checked(weights, mask)
        _check_size(size, None, len(real))
        require(len(real) >= 2, "weights", f"{len(real)} network", "at least 2")
        mean = _means(real, known)
        sd = ((real - mean) * known).square().sum().div(known.sum()).sqrt()
        require(float(sd) > 0, "weights", "networks that are all the same", "different ones")
        rows = ((real - mean) / sd * known).float()
        net: Any = nets.fresh(lambda: _MLP(rows.shape[1], size, tuple(how.hidden)), seed)
        fixed, zoo = {"mean": mean, "sd": sd}, zoo_id(weights, mask)
        settings: dict[str, Any] = {"size": size, "hidden": list(how.hidden), "history": []}
        best, top = None, -math.inf
        for epoch, loss in _epochs(net, rows, known, how, seed, device):
            if epoch % how.every and epoch < how.epochs:
                continue
            now = cls._of(net, rows, fixed, zoo, settings)
            value = None if score is None else float(score(now.reconstruct(weights, mask)))
            settings["history"].append({"epoch": epoch, "loss": loss, "score": value})
            if best is None or value is None or value > top:
                best, top = now, top if value is None else value
        assert best is not None             # the last epoch is always looked at
        return cls(best.tensors, zoo, settings)

    @classmethod
    def _of(cls, net: _MLP, rows: Tensor, fixed: dict[str, Tensor], zoo: str,
            settings: dict[str, Any]) -> VAE:
        """A codec of the network as it is, its latents standardized over the zoo."""
        state = {f"net/{k}": v.detach().cpu().clone() for k, v in net.state_dict().items()}
        with torch.no_grad():
            mu, _ = copy.deepcopy(net).cpu().posterior(rows)
        sd = mu.double().std(0, correction=0)
        # A dimension that says nothing is left as it is.
        sd = torch.where(sd > 1e-6, sd, torch.ones_like(sd))
        return cls(fixed | state | {"center": mu.double().mean(0), "scale": sd}, zoo, settings)

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row per look: epoch, loss and score."""
        return self.settings["history"]

    @property
    def net(self) -> _MLP:
        """The network, in evaluation mode."""
        net = _MLP(self.length, self.settings["size"], tuple(self.settings["hidden"]))
        net.load_state_dict({k.removeprefix("net/"): v for k, v in self.tensors.items()
                             if k.startswith("net/")})
        return net.eval()

    def sampled(self, weights: Tensor, seed: int, mask: Tensor | None = None) -> Tensor:
        """Latents (n, L) drawn from the posterior of each network, as the paper's training does."""
        weights, mask = _checked(weights, mask, self.length)
        mu, logvar = self._posterior(weights, mask)
        noise = torch.randn(mu.shape, generator=seeds.generator(seed))
        z = mu + (logvar / 2).exp() * noise
        return ((z.double() - self.center) / self.scale).float()

    def _posterior(self, weights: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        rows = (weights - self.tensors["mean"]) / self.tensors["sd"] * mask
        with torch.no_grad():
            return self.net.posterior(rows.float())

    def _encode(self, weights: Tensor, mask: Tensor) -> Tensor:
        return self._posterior(weights, mask)[0].double()

    @torch.no_grad()
    def _decode(self, z: Tensor) -> Tensor:
        return self.net.decoder(z.float()).double() * self.tensors["sd"] + self.tensors["mean"]


class _MLP(nn.Module):
    """Rows (B, D) to the mean and log variance of a latent, (B, L) each, and latents to rows."""

    def __init__(self, length: int, size: int, hidden: tuple[int, ...]):
        super().__init__()
        self.encoder = _layers(length, *hidden, 2 * size)
        self.decoder = _layers(size, *hidden[::-1], length)

    def posterior(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(rows).chunk(2, dim=1)
        return mu, logvar.clamp(-30, 20)           # as in the code of latent diffusion


def _layers(*widths: int) -> nn.Sequential:
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.LeakyReLU())]
    return nn.Sequential(*layers[:-1])


def _epochs(net: _MLP, rows: Tensor, mask: Tensor, how: VAETraining, seed: int, device: str
            ) -> Iterator[tuple[int, float]]:
    """Train `net` in place; after every epoch its number, from 1, and its mean loss."""
    place = nets.resolve_device(device)
    net.to(place)
    rows, mask = rows.to(place), mask.to(place)
    optimizer = torch.optim.Adam(net.parameters(), lr=how.lr, betas=(0.5, 0.9), fused=True)
    for epoch in range(how.epochs):
        rng, total = seeds.generator(seed, epoch), 0.0
        for part in torch.randperm(len(rows), generator=rng).split(how.batch):
            w = rows[part.to(place)]
            mu, logvar = net.posterior(w)
            noise = torch.randn(mu.shape, generator=rng).to(mu)
            w_hat = net.decoder(mu + (logvar / 2).exp() * noise)
            loss = vae_loss(w, w_hat, mu, logvar, mask[part.to(place)], kl=how.kl,
                            mse=how.mse)["total"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(part)
        yield epoch + 1, total / len(rows)
