"""Tensors by their names: those of a network, and one hash of many."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

LAZY = "a network whose lazy layers know their shapes: run one batch through it first"


def named_tensors(net: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by their first names; one that has several names comes once."""
    return dict(net.named_parameters()) | dict(net.named_buffers())


def digest(tensors: dict[str, Tensor]) -> str:
    """One hash of named tensors: names, dtypes, shapes and bytes."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().resolve_conj().resolve_neg().contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return sha.hexdigest()
