"""The figures of part IV: zoos and codecs, diffusion, unseen data sets, what samples are worth.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

# ---- 41: zoos and codecs ------------------------------------------------------------------------


# ---- 42: diffusion ------------------------------------------------------------------------------


# ---- 43: unseen data sets -----------------------------------------------------------------------


# ---- 44: a start or a copy ----------------------------------------------------------------------
