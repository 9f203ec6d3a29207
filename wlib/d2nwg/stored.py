"""What is learned, kept in the store: `fit`, `VAE.fit` and `fit_encoder` with a memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from wlib import store
from wlib.core import nets
from wlib.d2nwg.codec import VAE, Codec, VAETraining, restored
from wlib.d2nwg.encoders import Alignment, fit_encoder
from wlib.d2nwg.training import Encoder, Training, TrainState, advance, fit


def stored_fit(latents: Tensor, conditions: Tensor | None = None,
               training: Training | None = None, *, encoder: Encoder | None = None,
               denoiser: nn.Module | None = None, every: int = 1000, seed: int = 0,
               device: str = "auto") -> TrainState:
    """`fit`, kept in the store in pieces of `every` steps: a run that was killed goes on where it
    was, and a longer one begins with a shorter one's pieces."""
    training = training or Training()
    begun = fit(latents, conditions, replace(training, steps=0), encoder=encoder,
                denoiser=denoiser, seed=seed, device=device)
    kept = store.resume(_advance, begun, latents, conditions, steps=training.steps, every=every)
    return TrainState.restored(kept, begun)


def _advance(begun: TrainState, latents: Tensor, conditions: Tensor | None, *,
             state: dict[str, Any] | None, steps: int) -> dict[str, Any]:
    run = begun if state is None else TrainState.restored(state, begun)
    return advance(run, latents, conditions, steps).state()


def stored_vae(weights: Tensor, size: int, mask: Tensor | None = None,
               training: VAETraining | None = None, *,
               score: Callable[[Tensor], float] | None = None, seed: int = 0, device: str = "auto"
               ) -> Codec:
    """`VAE.fit`, kept in the store."""
    return restored(store.cached(_vae, weights, size, mask, training or VAETraining(), score, seed,
                                 str(nets.resolve_device(device))))


def _vae(weights: Tensor, size: int, mask: Tensor | None, training: VAETraining,
         score: Callable[[Tensor], float] | None, seed: int, device: str) -> dict[str, Any]:
    return VAE.fit(weights, size, mask, training, score=score, seed=seed, device=device).state()


def stored_encoder(encoder: nn.Module, sets: Tensor, latents: Tensor,
                   alignment: Alignment | None = None, *, seed: int = 0, device: str = "auto"
                   ) -> tuple[nn.Module, list[float]]:
    """`fit_encoder`, kept in the store."""
    state, losses = store.cached(_encoder, encoder, sets, latents, alignment or Alignment(), seed,
                                 str(nets.resolve_device(device)))
    fitted = copy.deepcopy(encoder)
    fitted.load_state_dict(state)
    return fitted, losses


def _encoder(encoder: nn.Module, sets: Tensor, latents: Tensor, alignment: Alignment, seed: int,
             device: str) -> tuple[dict[str, Tensor], list[float]]:
    fitted, losses = fit_encoder(encoder, sets, latents, alignment, seed=seed, device=device)
    return fitted.state_dict(), losses
