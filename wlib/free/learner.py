"""A learner: a network that adapts to a task of a few images, its weights outside of it.

Few-shot learning asks for the same network at many weights: before and after adaptation, for one
episode and for the next. So the network is a function here, and its weights are an argument:

    parts = learner.body(pool, episode.support.images.shape[1:])
    weights = learner.weights(pool)
    near = learner.adapt(lambda w: F.cross_entropy(parts.logits(w, x), y), weights, 5, 0.01)

A learner is a `Pool` of one network that ends in a linear layer, its *head*; what comes before is
its *body* and gives the features. Letters: B images, S support images, F features, W ways.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad

from wlib import store
from wlib.check import require, whole
from wlib.core.batchnorm import NORM
from wlib.core.pool import Pool

Weights = dict[str, Tensor]


# ---- the network as a function ------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Body:
    """A network up to its head, as a function of weights {name: tensor} and images.

    `module` has no weights of its own; `buffers` are the running statistics, where they count.
    `together`: support and query images go through in one batch (see `body`).
    """

    module: nn.Module
    head: str
    together: bool = False
    buffers: Weights = field(default_factory=dict)

    def features(self, weights: Weights, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,F)."""
        own = {k: t for k, t in weights.items() if k.rpartition(".")[0] != self.head}
        return functional_call(self.module, own | self.buffers, (x,)).flatten(1)

    def logits(self, weights: Weights, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,K), the network's own outputs."""
        return self.classify(weights, self.features(weights, x))

    def classify(self, weights: Weights, features: Tensor) -> Tensor:
        """The head alone: (B,F) -> (B,K)."""
        return F.linear(features, weights[f"{self.head}.weight"],
                        weights.get(f"{self.head}.bias"))

    def both(self, weights: Weights, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Features of support (S,F) and of query images (B,F)."""
        if not self.together:
            return self.features(weights, support), self.features(weights, query)
        features = self.features(weights, torch.cat([support, query]))
        return features[: len(support)], features[len(support):]

    def of_query(self, weights: Weights, support: Tensor, query: Tensor) -> Tensor:
        """Features of the query images alone, (B,F)."""
        return self.both(weights, support, query)[1] if self.together \
            else self.features(weights, query)


def body(learner: Pool, shape: Sequence[int], transductive: bool | None = True,
         support: int | None = None, fused: bool = True) -> Body:
    """The learner's network as a function, for images of this shape (C,H,W).

    What BatchNorm layers divide by is up to `transductive`:
    True: the statistics of whatever batch passes, so that query images help to judge each other,
    as in the official code; False: the statistics of the first `support` images of the batch, the
    rest of the batch has no say; None: the network's running statistics, as in evaluation mode.
    `fused`: by torch's own BatchNorm where it can (see `BatchStatistics`).
    """
    require(isinstance(learner, Pool), "learner", learner, "a Pool")
    require(transductive is None or isinstance(transductive, bool), "transductive", transductive,
            "True, False or None")
    require(transductive is not False or whole(support, 1), "support",
            support, "the number of support images, which transductive=False counts alone")
    module = copy.deepcopy(learner.template)
    name = _head(module, shape, learner)
    module.set_submodule(name, nn.Identity())
    if transductive is None:
        return Body(module, name, True, {k: t[0] for k, t in learner.buffers.items()})
    for path, layer in list(module.named_modules()):
        if isinstance(layer, NORM):
            counted = None if transductive else support
            module.set_submodule(path, BatchStatistics(layer, counted, fused))
    return Body(module, name, not transductive)


def _head(module: nn.Module, shape: Sequence[int], learner: Pool) -> str:
    """The name of the linear layer whose output is the network's, by a pass without numbers."""
    given: dict[str, Tensor] = {}
    hooks = [layer.register_forward_hook(lambda _, __, y, name=name: given.__setitem__(name, y))
             for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and name]
    try:
        with torch.no_grad():
            result = module(torch.empty(2, *shape, device="meta", dtype=learner.dtype))
    except RuntimeError as problem:          # torch's word for shapes that do not fit
        raise ValueError(f"images: got images of shape {tuple(shape)}, want what {learner!r} "
                         f"takes ({problem})") from problem
    finally:
        for hook in hooks:
            hook.remove()
    last = [name for name, y in given.items() if y is result]
    require(len(last) == 1, "learner", type(module).__name__,
            "a network with a body for features and, at its end, one linear layer")
    return last[0]


class BatchStatistics(nn.Module):
    """BatchNorm by the statistics of the first `counted` images of the batch, or of all.

    It keeps none: with running statistics a network would be no function of weights and images
    (and `vmap` would refuse it). Variances are biased, as in BatchNorm's own training mode.

    torch's fused operation is faster, but a gradient that goes through a gradient of it and
    through `vmap` is silently wrong (torch 2.14): it takes the statistics for constants. MAML with
    stacked episodes asks for just that, and so for `fused=False`.
    """

    def __init__(self, layer: Any, counted: int | None = None, fused: bool = True):
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.eps, self.counted, self.fused = layer.eps, counted, fused

    def forward(self, x: Tensor) -> Tensor:
        require(x[: self.counted, 0].numel() > 1, "images", "one, of one value per channel",
                "at least 2: BatchNorm cannot learn from one where no pixels are left")
        if self.fused and self.counted is None:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        some, dims = x[: self.counted], [d for d in range(x.ndim) if d != 1]
        var, mean = torch.var_mean(some, dims, correction=0, keepdim=True)
        scale = (var + self.eps).rsqrt()
        if self.weight is None:
            return (x - mean) * scale
        shape = (-1,) + (1,) * (x.ndim - 2)
        return (x - mean) * (scale * self.weight.view(shape)) + self.bias.view(shape)


# ---- weights in and out -------------------------------------------------------------------------
def require_one(learner: Pool) -> None:
    """Refuse what is not a pool of one network."""
    require(isinstance(learner, Pool) and len(learner) == 1, "learner", learner,
            "a Pool of one network")


def weights(learner: Pool, i: int = 0) -> Weights:
    """The weights of one network, {name: tensor}; running statistics stay out.

    Kernels get the memory layout in which a CPU pools and normalizes almost twice as fast.
    """
    layout = torch.channels_last
    return {k: t[i].contiguous(memory_format=layout) if t.ndim == 5 else t[i]
            for k, t in learner.parameters.items()}


def with_weights(learner: Pool, weights: Weights) -> Pool:
    """The learner with other weights."""
    return Pool(learner.template, {k: weights[k].detach().contiguous()[None]
                                   for k in learner.parameters}, learner.buffers)


def stored(make: Callable[..., Pool], learner: Pool, *args: Any, **settings: Any) -> Pool:
    """`make(learner, …)`, a learner of the same architecture, kept in the store."""
    require(isinstance(learner, Pool), "learner", learner, "a Pool")
    made = store.cached(_tensors, make, learner, args, settings)
    return Pool(learner.template, made["parameters"], made["buffers"]).to(learner.device)


def _tensors(make: Callable[..., Pool], learner: Pool, args: tuple[Any, ...],
             settings: dict[str, Any]) -> dict[str, Weights]:
    made = make(learner, *args, **settings)
    return {"parameters": made.parameters, "buffers": made.buffers}


# ---- learning from a few images -----------------------------------------------------------------
def adapt(loss: Callable[[Weights], Tensor], weights: Weights, steps: int, lr: float,
          first_order: bool = False) -> Weights:
    """Weights after `steps` steps of plain gradient descent on `loss`: the inner loop of MAML.

    The result can be differentiated with respect to `weights`, through the steps. `first_order`
    takes each step's gradient for a constant: then that derivative is the identity's (FOMAML).
    """
    for _ in range(steps):
        at = {k: t.detach() for k, t in weights.items()} if first_order else weights
        gradient = grad(loss)(at)
        weights = {k: t - lr * gradient[k] for k, t in weights.items()}
    return weights


def prototypes(features: Tensor, labels: Tensor, ways: int) -> tuple[Tensor, Tensor]:
    """The head of a prototype network, (W,F) and (W,): nearest class mean p, as a linear layer.

    −‖f − p‖² = 2 f·p − ‖p‖² − ‖f‖², and the last term is the same for all classes, so that
    weight 2p and bias −‖p‖² give the same softmax.
    """
    of_class = (labels[:, None] == torch.arange(ways, device=labels.device)).to(features)  # (S, W)
    p = of_class.T @ features / of_class.sum(0)[:, None]                                    # (W, F)
    return 2 * p, -p.square().sum(1)
