"""Outputs that mean the same class become one: the last layer of a joined network.

A module of its own, because `lego` makes it and `wiring` and `cutting` know it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Merge(nn.Module):
    """(B, columns) → (B, groups): the largest of each group's columns, or their logsumexp."""

    groups: list[list[int]]             # torch.jit.script has to be told, and not in a string

    def __init__(self, groups: Sequence[Sequence[int]], how: str):
        super().__init__()
        self.groups, self.how = [list(group) for group in groups], how

    def forward(self, z: Tensor) -> Tensor:
        merged: list[Tensor] = []
        for group in self.groups:
            own = z[:, group]
            merged.append(own.logsumexp(1) if self.how == "logsumexp" else own.amax(1))
        return torch.stack(merged, dim=1)

    def narrow(self, kept: Tensor) -> None:
        """Leave out columns; `kept` is bool, one per column, and the same for a group's columns."""
        number = kept.cumsum(0) - 1
        self.groups = [number[group].tolist() for group in self.groups if kept[group].all()]

    def extra_repr(self) -> str:
        return f"{len(self.groups)} classes by {self.how}"
