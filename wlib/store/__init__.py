"""Costly results are kept and found again: `store.cached(function, ...)`; long runs in pieces:
`store.resume(advance, ..., steps=n, every=k)`.

`identity` describes a value for a key, `tensorfiles` writes tensors; what the store's folder holds
is asked of `wlib.ground.entries`, which needs no torch.
"""

from typing import TYPE_CHECKING

from wlib.ground.front import first_use

if TYPE_CHECKING:
    from wlib.store import cache, identity, tensorfiles, tensors
    from wlib.store.cache import cached, resume
    from wlib.store.identity import architecture, describe
    from wlib.store.tensors import digest
else:
    def __getattr__(name):
        return first_use(__name__, name)

__all__ = ["architecture", "cache", "cached", "describe", "digest", "identity", "resume",
           "tensorfiles", "tensors"]


def __dir__() -> list[str]:
    return __all__
