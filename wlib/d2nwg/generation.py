"""D2NWG from one end to the other: what the notebooks of part IV share.

From a zoo's weights and images of its data sets to a generator of weights, and from a data set
never seen to networks for it:

    world = of_styles(train=40, unseen=15)
    members = zoo.trained(world.train, start="shared")
    generator = learn(members.weights, support(world.train), size=24, seed=0)
    weights = generator.sample(support(world.unseen)[:, :, :5], 10)          # (m, 10, D)
    points(weights, world.unseen, like=members.pool)                         # (m, 10)

Letters: n data sets of the zoo, m others, K classes, S images per class, d features, D weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wlib.check import require
from wlib.core.pool import Pool
from wlib.d2nwg import condition, heads, zoo
from wlib.d2nwg.codec import PCA, Codec
from wlib.d2nwg.diffusion import Diffusion, stored_fit
from wlib.data import universes
from wlib.data.universes import COUNTS, Counts, DataSet


class World(NamedTuple):
    """Data sets to learn from, to choose by, and never seen; all images apart."""

    train: list[DataSet]
    validation: list[DataSet]
    unseen: list[DataSet]


# ---- data sets ----------------------------------------------------------------------------------
def of_styles(train: int = 40, unseen: int = 15, choosing: int = 8, *, counts: Counts = COUNTS,
              seed: int = 0) -> World:
    """The style universe: digits, data sets differ in faces, turn, scale, polarity and paper."""
    return _world(universes.styles, train, unseen, choosing, counts, seed)


def of_characters(train: int = 60, unseen: int = 15, choosing: int = 8, *, ways: int = 10,
                  counts: Counts = COUNTS, seed: int = 0) -> World:
    """The class universe: data sets differ in their characters."""
    return _world(universes.characters, train, unseen, choosing, counts, seed, ways=ways)


def _world(draw, train, unseen, choosing, counts, seed, **settings) -> World:
    made = [draw(split, count, counts=counts, seed=seed, **settings) for split, count in
            (("train", train), ("validation", choosing), ("test", unseen))]
    universes.require_disjoint(sum(made, []))
    return World(*made)


def available(names: Sequence[str], *, counts: Counts = COUNTS, root: str | Path | None = None
              ) -> list[DataSet]:
    """Those of the real sets in `names` whose images are there, as unseen gray data sets."""
    found = []
    for name in names:
        try:
            found.append(universes.real(name, counts=counts, root=root))
        except FileNotFoundError:
            continue
    require(len(found) > 0, "names", list(names), "a real set that is there; mnist5k and digits "
            "always are")
    return found


def support(sets: Sequence[DataSet], count: int = 10, *, part: str = "support",
            device: str = "auto") -> Tensor:
    """Frozen features (n, K, count, d) of the first images of each class: all that a generator is
    told of a data set."""
    require(part in ("support", "train"), "part", part, "'support' or 'train': what is scored "
            "later tells nothing")
    require(len(sets) > 0, "sets", sets, "at least one DataSet")
    backbone = condition.glyph_backbone(device=device)
    images = [getattr(s, part) for s in sets]
    return torch.stack([condition.by_class(condition.glyph_features(i, backbone, device=device),
                                           i.labels, count, len(i.classes)) for i in images])


def featured(sets: Sequence[DataSet], part: str, *, device: str = "auto") -> list[heads.Features]:
    """Each data set's images of a part as frozen features, for heads to be trained and scored on.
    """
    backbone = condition.glyph_backbone(device=device)
    images = [getattr(s, part) for s in sets]
    return [heads.Features(condition.glyph_features(i, backbone, device=device), i.labels,
                           i.classes) for i in images]


# ---- the generator ------------------------------------------------------------------------------
@dataclass(eq=False)
class Generator:
    """A codec and a diffusion model over its latents: weights for a data set's images.

    With `classes` the weights are heads, whose rows are latents of their own, each under the
    condition of its class.
    """

    codec: Codec
    diffusion: Diffusion
    classes: int | None = None

    def sample(self, sets: Tensor | None = None, n: int = 1, *, method: str = "ddim",
               steps: int | None = None, seed: int = 0, **settings) -> Tensor:
        """Weights (m, n, D), n for each of m sets of features (m, K, S, d); settings as in
        `Diffusion.sample`. With `trajectory`, (m, n, steps + 1, D)."""
        return self.decode(self.diffusion.sample(sets, n, method=method, steps=steps, seed=seed,
                                                 **settings))

    def encode(self, weights: Tensor) -> Tensor:
        """Latents (n, [K,] L) of weights (n, D)."""
        if self.classes is None:
            return self.codec.encode(weights)
        rows = heads.rows(weights, self.classes)
        return self.codec.encode(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])

    def decode(self, z: Tensor) -> Tensor:
        """Weights (…, D) of latents (…, L), or (m, n, K, [steps + 1,] L) for heads."""
        rows = self.codec.decode(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        if self.classes is None:
            return rows
        return heads.from_rows(rows if z.ndim < 5 else rows.movedim(2, -2))

    def reconstruct(self, weights: Tensor) -> Tensor:
        """What is left of weights (n, D) after the codec: no sample can be expected to be better.
        """
        z = self.encode(weights)
        return self.decode(z if self.classes is None else z[:, None]).view_as(weights)


def learn(weights: Tensor, sets: Tensor | None, *, size: int | None = None,
          encoder: nn.Module | str | None = "components", components: int = 16,
          classes: int | None = None, shots: int | None = 5, scale: str = "dimension",
          steps: int = 3000, width: int = 256, batch: int = 64, seed: int = 0,
          device: str = "auto", **settings) -> Generator:
    """A generator of weights like those of a zoo (n, D), told of each data set by features
    (n, K, S, d). All of it is kept in the store.

    `size` is the codec's. Every step draws `shots` of the S images of each class anew. The encoder
    is an `nn.Module`, or one of two that do not learn: "components" (see `condition.Components`)
    or "per class" for heads, where `classes` is K. `sets=None` learns the weights as they are.
    Other settings as in `fit`.
    """
    require(sets is None or len(sets) == len(weights), "sets", sets,
            f"one for each of the {len(weights)} networks")
    require(sets is not None or classes is None, "sets", sets,
            "features of each data set: rows of heads are told apart by their classes")
    if encoder == "components":
        encoder = None if sets is None else _components(sets, components)
    elif encoder == "per class":
        require(classes is not None, "classes", classes, "the number of classes of the heads")
        encoder = condition.per_class if sets is not None else None
    rows = weights if classes is None else heads.rows(weights, classes).flatten(0, 1)
    made = PCA.fit(rows, size, scale=scale)
    generator = Generator(made, None, classes)
    generator.diffusion = stored_fit(
        generator.encode(weights), sets, encoder=encoder, shots=None if sets is None else shots,
        steps=steps, width=width, batch=batch, seed=seed, device=device, **settings)
    return generator


def _components(sets: Tensor, size: int) -> condition.Components:
    """Fitted on each data set once, however many networks it has; a small zoo has fewer."""
    each = torch.unique(sets, dim=0)
    return condition.Components.fit(each, min(size, len(each) - 1))


# ---- judging ------------------------------------------------------------------------------------
def points(weights: Tensor, sets: Sequence, *, like: Pool, part: str = "test") -> Tensor:
    """Accuracy in points of M networks for each of m data sets: weights (m, M, D) to (m, M).

    `sets` are data sets, of which `part` counts, or for heads their features of one part.
    """
    images = [getattr(s, part) if isinstance(s, DataSet) else s for s in sets]
    return 100 * zoo.accuracy(weights, images, like=like)
