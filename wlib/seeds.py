"""Random generators that depend on their path alone: the same (seed, i, …) draws the same."""

from __future__ import annotations

import numpy as np
import torch

from wlib.check import require


def generator(*path: int) -> torch.Generator:
    """A CPU generator for a path of non-negative whole numbers, such as (seed, child).

    Paths are mixed by NumPy's SeedSequence, so that neighbors (0, 1) and (1, 0) are unrelated; the
    length goes in first, because the mixing alone takes (1,) and (1, 0) for the same.
    """
    for number in path:
        require(isinstance(number, (int, np.integer)) and not isinstance(number, bool)
                and number >= 0, "seed", number, "a whole number of at least 0")
    sequence = np.random.SeedSequence([len(path), *(int(p) for p in path)])
    state = sequence.generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


def base(seed: int | torch.Generator) -> int:
    """The whole number that children's paths start from; a generator gives up one draw for it."""
    if isinstance(seed, torch.Generator):
        return int(torch.randint(2**31, (), generator=seed, device=seed.device))
    require(isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and seed >= 0,
            "generator", seed, "a torch.Generator or a whole number of at least 0")
    return int(seed)
