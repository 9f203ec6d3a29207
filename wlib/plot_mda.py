"""The figures of part II: channels that stay, parts and what they know, routes, the explorer.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations
