"""What else gives weights for a data set's condition: the rivals of a conditional generator.

    rival = Retrieval().fit(conditions, weights)           # (n, …), (n, D) of a zoo
    rival(new_conditions, count=10, generator=0)           # (m, 10, D)

| class             | what it answers                                      | one condition         |
|-------------------|------------------------------------------------------|-----------------------|
| `Retrieval`       | the weights of the nearest condition                 | (d,)                  |
| `Interpolation`   | the two nearest, mixed by their distances            | (d,)                  |
| `Ridge`           | linear regression, condition to weights              | (d,)                  |
| `RidgePerClass`   | the same from each class to its row of a head        | (K, q), by class      |
| `Prototype`       | a head whose rows are the class means                | (K, d), class means   |
| `FewShotLogistic` | a head fitted to the support images                  | (K, s, d), features   |
| `MeanOfZoo`       | the mean of all weights                              | any; not looked at    |
| `LatentKDE`       | each latent number drawn from a kernel density       | any; not looked at    |
| `Noisy`           | a member plus noise, the nearest or one at random    | (d,); any             |
| `Gaussian`        | each weight drawn by its mean and standard deviation | any; not looked at    |
| `Averaged`        | the mean of 16 members at random                     | any; not looked at    |
| `RandomStart`     | fresh weights                                        | any; not looked at    |

Letters: n conditions to learn from, m new ones, D weights, K classes, d features, s shots. Where
nothing is random, the one answer is repeated `count` times. What candidate j for condition i
is depends on the generator's seed, i and j alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from sklearn.linear_model import Ridge as LinearRegression
from torch import Tensor, nn

from wlib import seeds
from wlib.check import require, whole
from wlib.core import nets
from wlib.d2nwg import heads
from wlib.d2nwg.codec import Codec

Draw = Callable[[int, int], torch.Generator]        # of candidate j for condition i


class Rival:
    """One way from conditions to weights; the zoo's own must be shown first with `fit`."""

    looks: int | None = 1     # axes of one condition, or None where it does not matter
    needs_zoo = True

    conditions: Tensor        # of the zoo, (n, …),
    weights: Tensor           # and its weights (n, D): once `fit` has seen them

    def fit(self, conditions: Tensor, weights: Tensor) -> Self:
        """Learn from the conditions (n, …) and weights (n, D) of a zoo's networks; gives itself."""
        require(isinstance(weights, Tensor) and weights.ndim == 2 and weights.numel() > 0
                and weights.is_floating_point(), "weights", weights, "weights (n, D)")
        require(bool(torch.isfinite(weights).all()), "weights", "NaN or infinity",
                "finite weights")
        _check_conditions(conditions, self.looks)
        require(len(conditions) == len(weights), "conditions", conditions,
                f"one for each of the {len(weights)} networks")
        self.conditions, self.weights = conditions, weights
        self._learn()
        return self

    def __call__(self, conditions: Tensor, count: int = 1,
                 generator: torch.Generator | int = 0) -> Tensor:
        """`count` candidates for each new condition, (m, count, D)."""
        require(not self.needs_zoo or hasattr(self, "weights"), "rival",
                f"a {type(self).__name__} that has seen no zoo", "a call of fit before")
        _check_conditions(conditions, self.looks)
        if hasattr(self, "conditions") and self.looks is not None:
            require(conditions.shape[-1] == self.conditions.shape[-1], "conditions", conditions,
                    f"vectors of {self.conditions.shape[-1]} numbers, as those learned from")
        require(whole(count, 1), "count", count, "a whole number ≥ 1")
        base = seeds.base(generator)
        return self._answer(conditions, count, lambda i, j: seeds.generator(base, i, j))

    def _learn(self) -> None:
        pass

    def _answer(self, conditions: Tensor, count: int, rng: Draw) -> Tensor:
        return self._one(conditions)[:, None].expand(-1, count, -1)

    def _one(self, conditions: Tensor) -> Tensor:
        """The one answer to each condition, (m, D), where nothing is drawn at random."""
        raise NotImplementedError

    def _each(self, conditions: Tensor, count: int, draw: Callable[[int, int], Tensor]) -> Tensor:
        """draw(i, j) -> (D,) for every candidate, stacked."""
        return torch.stack([torch.stack([draw(i, j) for j in range(count)])
                            for i in range(len(conditions))])

    def _distances(self, conditions: Tensor) -> Tensor:
        """To the zoo's conditions, (m, n)."""
        return torch.cdist(conditions.double(), self.conditions.double())


def _check_conditions(conditions: Any, axes: int | None) -> None:
    require(isinstance(conditions, Tensor) and conditions.numel() > 0
            and conditions.is_floating_point() and conditions.ndim >= 1
            and axes in (None, conditions.ndim - 1), "conditions", conditions,
            "conditions (m, …)" if axes is None else f"conditions of {axes + 1} axes: "
            + {1: "(m, d)", 2: "(m, K, d)", 3: "(m, K, s, d)"}[axes])
    require(bool(torch.isfinite(conditions).all()), "conditions", "NaN or infinity",
            "finite conditions")


# ---- that look at the condition ---------------------------------------------------------------
class Retrieval(Rival):
    """The weights whose condition is nearest."""

    def _one(self, conditions: Tensor) -> Tensor:
        return self.weights[self._distances(conditions).argmin(1)]


class Interpolation(Rival):
    """The two nearest members mixed: the nearer counts more, as its distance is smaller."""

    def _one(self, conditions: Tensor) -> Tensor:
        require(len(self.weights) >= 2, "weights", self.weights, "at least two networks")
        far, which = self._distances(conditions).topk(2, largest=False)            # (m, 2)
        total = far.sum(1)
        nearer = torch.where(total > 0, far[:, 1] / total.clamp(min=1e-300), 0.5)
        near, next_ = self.weights[which].unbind(1)                                # (m, D) each
        return torch.lerp(next_, near, nearer[:, None].to(near.dtype))


class Ridge(Rival):
    """Linear regression from condition to weights with a penalty: ‖w − Ac − b‖² + λ‖A‖²."""

    def __init__(self, strength: float = 1.0):
        require(isinstance(strength, (int, float)) and strength >= 0, "strength", strength,
                "a number λ ≥ 0")
        self.strength = strength

    def _learn(self) -> None:
        self.map = LinearRegression(alpha=self.strength).fit(
            self.conditions.double().cpu().numpy(), self.weights.double().cpu().numpy())

    def _one(self, conditions: Tensor) -> Tensor:
        found = self.map.predict(conditions.double().cpu().numpy()).reshape(len(conditions), -1)
        return torch.from_numpy(found).to(self.weights)


class RidgePerClass(Ridge):
    """For heads: one regression from a class's vector (q,) to its row and bias, for all classes.

    Classes in another order, or more of them, give their rows. Weights as in `heads.head`: K·d, K.
    """

    looks = 2

    def _learn(self) -> None:
        classes = self.conditions.shape[1]
        require(self.weights.shape[1] % classes == 0, "weights", self.weights,
                f"heads of {classes} classes: K·d weights and K biases")
        rows = heads.rows(self.weights, classes).flatten(0, 1)                     # (n·K, d + 1)
        self.map = LinearRegression(alpha=self.strength).fit(
            self.conditions.flatten(0, 1).double().cpu().numpy(), rows.double().cpu().numpy())

    def _one(self, conditions: Tensor) -> Tensor:
        rows = self.map.predict(conditions.flatten(0, 1).double().cpu().numpy())
        return heads.from_rows(torch.from_numpy(rows).to(self.weights).unflatten(
            0, conditions.shape[:2]))


class Prototype(Rival):
    """For heads: W_k = μ_k, b_k = −‖μ_k‖²/2, which names the class whose mean is nearest."""

    looks, needs_zoo = 2, False

    def _one(self, conditions: Tensor) -> Tensor:
        return torch.cat([conditions.flatten(1), -conditions.square().sum(2) / 2], dim=1)


class FewShotLogistic(Rival):
    """For heads: multinomial logistic regression on the support features (m, K, s, d).

    `decay` as in `heads.fit`.
    """

    looks, needs_zoo = 3, False

    def __init__(self, decay: float = 1e-2):
        self.decay = decay

    def _one(self, conditions: Tensor) -> Tensor:
        _, classes, shots, _ = conditions.shape
        labels = torch.arange(classes).repeat_interleave(shots)
        names = tuple(map(str, range(classes)))
        sets = [heads.Features(c.flatten(0, 1).cpu(), labels, names) for c in conditions]
        return heads.fit(sets, decay=self.decay).flat().to(conditions)


# ---- that do not ------------------------------------------------------------------------------
class MeanOfZoo(Rival):
    """The mean of all weights."""

    looks = None

    def _one(self, conditions: Tensor) -> Tensor:
        return self.weights.double().mean(0).to(self.weights).expand(len(conditions), -1)


class LatentKDE(Rival):
    """Every latent number drawn on its own from a Gaussian kernel density of the zoo's, decoded.

    `codec` has encode (n, D) -> (n, L) and decode. `bandwidth` is in standard deviations of each
    latent number, by default Scott's n^(-1/5). Hyper-representations' S_KDE, without its choice by
    test accuracy.
    """

    looks = None

    def __init__(self, codec: Codec, bandwidth: float | None = None):
        require(all(callable(getattr(codec, name, None)) for name in ("encode", "decode")),
                "codec", codec, "an object with encode and decode")
        require(bandwidth is None or isinstance(bandwidth, (int, float)) and bandwidth >= 0,
                "bandwidth", bandwidth, "a number ≥ 0, or None")
        self.codec, self.bandwidth = codec, bandwidth

    def _learn(self) -> None:
        self.latents = self.codec.encode(self.weights).detach().double().cpu()     # (n, L)
        width = len(self.latents) ** -0.2 if self.bandwidth is None else self.bandwidth
        self.width = width * self.latents.std(0, correction=0)                     # (L,)

    def _answer(self, conditions: Tensor, count: int, rng: Draw) -> Tensor:
        def draw(i: int, j: int) -> Tensor:
            g = rng(i, j)
            size = self.latents.shape[1]
            near = torch.randint(len(self.latents), (size,), generator=g)
            noise = torch.randn(size, generator=g, dtype=torch.float64)
            return self.latents[near, torch.arange(size)] + self.width * noise
        latents = self._each(conditions, count, draw)                              # (m, count, L)
        found = self.codec.decode(latents.flatten(0, 1).to(self.weights)).detach()
        return found.unflatten(0, (len(conditions), count))


class Noisy(Rival):
    """A member plus Gaussian noise of standard deviation `sd`: the nearest, or one at random."""

    def __init__(self, sd: float, nearest: bool = True):
        require(isinstance(sd, (int, float)) and sd >= 0, "sd", sd,
                "a standard deviation ≥ 0, in units of the weights")
        self.sd, self.nearest, self.looks = sd, nearest, 1 if nearest else None

    def _answer(self, conditions: Tensor, count: int, rng: Draw) -> Tensor:
        near = self._distances(conditions).argmin(1) if self.nearest else None

        def draw(i: int, j: int) -> Tensor:
            g = rng(i, j)
            which = int(torch.randint(len(self.weights), (), generator=g))
            member = self.weights[which if near is None else near[i]]
            return member + self.sd * torch.randn(len(member), generator=g).to(member)
        return self._each(conditions, count, draw)


class Gaussian(Rival):
    """Every weight drawn on its own with the zoo's mean and standard deviation of that weight."""

    looks = None

    def _answer(self, conditions: Tensor, count: int, rng: Draw) -> Tensor:
        mean, sd = self.weights.mean(0), self.weights.std(0, correction=0)
        return self._each(conditions, count, lambda i, j: mean + sd * torch.randn(
            len(mean), generator=rng(i, j)).to(mean))


class Averaged(Rival):
    """The mean of `members` different members at random."""

    looks = None

    def __init__(self, members: int = 16):
        require(whole(members, 1), "members", members,
                "a whole number ≥ 1")
        self.members = members

    def _learn(self) -> None:
        require(len(self.weights) >= self.members, "weights", self.weights,
                f"at least {self.members} networks, to average as many")

    def _answer(self, conditions: Tensor, count: int, rng: Draw) -> Tensor:
        return self._each(conditions, count, lambda i, j: self.weights[torch.randperm(
            len(self.weights), generator=rng(i, j))[:self.members]].mean(0))


class RandomStart(Rival):
    """Freshly initialized weights of an architecture, `net`."""

    looks, needs_zoo = None, False

    def __init__(self, net: nn.Module):
        require(isinstance(net, nn.Module), "net", net, "an nn.Module")
        self.net = net

    def _answer(self, conditions: Tensor, count: int, rng: Draw) -> Tensor:
        return self._each(conditions, count, lambda i, j: nn.utils.parameters_to_vector(
            nets.fresh(self.net, seeds.base(rng(i, j))).parameters()).detach())
