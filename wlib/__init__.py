"""wlib: new neural networks out of trained ones. Import the modules: `from wlib import mge`."""

__version__: str


def __getattr__(name: str) -> str:
    if name == "__version__":           # when asked for: nothing else here costs time
        from importlib import metadata
        return metadata.version("weights-as-data")
    raise AttributeError(f"module 'wlib' has no attribute {name!r}")
