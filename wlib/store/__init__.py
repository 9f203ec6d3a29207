"""Costly results are kept and found again: `store.cached(function, ...)`; long runs in pieces:
`store.resume(advance, ..., steps=n, every=k)`.

`identity` describes a value for a key, `tensorfiles` writes tensors; what the store's folder holds
is asked of `wlib.ground.entries`, which needs no torch.
"""

from wlib.store.cache import cached, resume
from wlib.store.identity import architecture, describe
from wlib.store.tensors import digest

__all__ = ["architecture", "cached", "describe", "digest", "resume"]
