"""D2NWG from one end to the other: what the notebooks of part IV share.

From a zoo's weights and images of its data sets to a generator of weights, and from a data set
never seen to networks for it:

    world = of_styles(train=40, unseen=15)
    members = zoo.trained(world.train, start="shared")
    generator = learn(members.weights, support(world.train), Design(size=24), seed=0)
    weights = generator.sample(support(world.unseen)[:, :, :5], 10)          # (m, 10, D)
    points(weights, world.unseen, like=members.pool)                         # (m, 10)

Letters: n data sets of the zoo, m others, K classes, S images per class, d features, D weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wlib.check import require, require_one_of, short
from wlib.core.batchnorm import recalibrate
from wlib.core.pool import Pool
from wlib.d2nwg import backbones, condition, heads, zoo
from wlib.d2nwg.codec import PCA, Codec
from wlib.d2nwg.stored import stored_fit
from wlib.d2nwg.training import Encoder, Training, TrainState
from wlib.data import ImageSet, universes
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


def _world(draw: Callable[..., list[DataSet]], train: int, unseen: int, choosing: int,
           counts: Counts, seed: int, **settings: Any) -> World:
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
    """Frozen features (n, K, count, d) of the first images of each class: all that a generator
    sees of a data set."""
    require(part in ("support", "train"), "part", part, "'support' or 'train': what is scored "
            "later must not be seen")
    require(len(sets) > 0, "sets", sets, "at least one DataSet")
    backbone = backbones.glyph_backbone(device=device)
    images = [getattr(s, part) for s in sets]
    return torch.stack([condition.by_class(backbones.glyph_features(i, backbone, device=device),
                                           i.labels, count, len(i.classes)) for i in images])


def featured(sets: Sequence[DataSet], part: str, *, device: str = "auto") -> list[heads.Features]:
    """Each data set's images of a part as frozen features, for heads to be trained and scored on.
    """
    backbone = backbones.glyph_backbone(device=device)
    images = [getattr(s, part) for s in sets]
    return [heads.Features(backbones.glyph_features(i, backbone, device=device), i.labels,
                           i.classes) for i in images]


# ---- the generator ------------------------------------------------------------------------------
@dataclass(eq=False)
class Generator:
    """A codec and a diffusion model over its latents: weights for a data set's images.

    With `classes` the weights are heads, whose rows are latents of their own, each under the
    condition of its class.
    """

    codec: Codec
    diffusion: TrainState
    classes: int | None = None

    def sample(self, sets: Tensor | None = None, n: int = 1, *, method: str = "ddim",
               steps: int | None = None, seed: int = 0, **settings: Any) -> Tensor:
        """Weights (m, n, D), n for each of m sets of features (m, K, S, d); settings as in
        `TrainState.sample`. With `trajectory`, (m, n, steps + 1, D)."""
        return self.decode(self.diffusion.sample(sets, n, method=method, steps=steps, seed=seed,
                                                 **settings))

    def encode(self, weights: Tensor) -> Tensor:
        """Latents (n, [K,] L) of weights (n, D)."""
        return encoded(self.codec, weights, self.classes)

    def decode(self, z: Tensor) -> Tensor:
        """Weights (…, D) of latents (…, L), or (m, n, K, [steps + 1,] L) for heads."""
        rows = self.codec.decode(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        if self.classes is None:
            return rows
        return heads.from_rows(rows if z.ndim < 5 else rows.movedim(2, -2))

    def condition(self, sets: Tensor) -> Tensor:
        """Conditions (m, …) of sets of features (m, K, S, d), by the diffusion's encoder."""
        encoder = self.diffusion.encoder
        if encoder is None:
            raise ValueError(f"sets: got {short(sets)}, want none: there is no encoder")
        return encoder(sets)

    def reconstruct(self, weights: Tensor) -> Tensor:
        """What is left of weights (…, D) after the codec: no sample can be expected to be better.
        """
        z = self.encode(weights.flatten(0, -2))
        return self.decode(z if self.classes is None else z[:, None]).view_as(weights)


def encoded(codec: Codec, weights: Tensor, classes: int | None = None) -> Tensor:
    """Latents (n, L) of weights (n, D), or (n, K, L) of heads, row by row."""
    if classes is None:
        return codec.encode(weights)
    rows = heads.rows(weights, classes)
    return codec.encode(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])


@dataclass(frozen=True, eq=False)
class Design:
    """What a generator is made of."""

    size: int | None = None             # of the codec; None: all its components
    scale: str = "dimension"            # of latents, see `PCA.fit`
    encoder: nn.Module | str | None = "components"      # or "per class", for heads
    components: int = 16                # of "components", see `condition.Components`
    classes: int | None = None          # of the heads, whose rows are latents of their own


def learn(weights: Tensor, sets: Tensor | None, design: Design | None = None,
          training: Training | None = None, *, every: int = 1000, seed: int = 0,
          device: str = "auto") -> Generator:
    """A generator of weights like those of a zoo (n, D), conditioned on features (n, K, S, d) of
    each network's data set; kept in the store, its training in pieces of `every` steps.

    Each step shows 5 of the S images of each class unless the training says otherwise.
    `sets=None` learns the weights as they are.
    """
    design, training = design or Design(), training or Training(shots=5)
    require(sets is None or len(sets) == len(weights), "sets", sets,
            f"one for each of the {len(weights)} networks")
    require(sets is not None or design.classes is None, "sets", sets,
            "features of each data set: rows of heads differ by their classes")
    rows = weights if design.classes is None else heads.rows(weights, design.classes).flatten(0, 1)
    codec = PCA.fit(rows, design.size, scale=design.scale)
    run = stored_fit(encoded(codec, weights, design.classes), sets, training,
                     encoder=_encoder(design, sets), every=every, seed=seed, device=device)
    return Generator(codec, run, design.classes)


def _encoder(design: Design, sets: Tensor | None) -> Encoder | None:
    if not isinstance(design.encoder, str):
        return design.encoder
    require_one_of("encoder", design.encoder, ("components", "per class"))
    require(design.encoder != "per class" or design.classes is not None, "classes",
            design.classes, "the number of classes of the heads")
    if sets is None:
        return None
    return condition.per_class if design.encoder == "per class" else _components(
        sets, design.components)


def _components(sets: Tensor, size: int) -> condition.Components:
    """Fitted on each data set once, however many networks it has; a small zoo has fewer."""
    each = torch.unique(sets, dim=0)
    return condition.Components.fit(each, min(size, len(each) - 1))


def networks(codec: Codec, z: Tensor, like: Pool, images: ImageSet | None = None,
             zoo: str | None = None) -> Pool:
    """The decoded networks as a pool of the architecture of `like`.

    Running statistics are those of `like`'s first network until `images` (of a training split)
    give each its own: decoded weights without them are at chance.
    """
    require(isinstance(like, Pool) and like.size == codec.length, "like", like,
            f"a Pool of networks with {codec.length:,} weights, as the codec's zoo has")
    pool = like[0].with_flat(codec.decode(z, zoo=zoo).to(like.device, like.dtype))
    return pool if images is None else recalibrate(pool, images)


# ---- judging ------------------------------------------------------------------------------------
def points(weights: Tensor, sets: Sequence, *, like: Pool, part: str = "test") -> Tensor:
    """Accuracy in points of M networks for each of m data sets: weights (m, M, D) to (m, M).

    `sets` are data sets, of which `part` counts, or for heads their features of one part.
    """
    images = [getattr(s, part) if isinstance(s, DataSet) else s for s in sets]
    return 100 * zoo.accuracy(weights, images, like=like)
