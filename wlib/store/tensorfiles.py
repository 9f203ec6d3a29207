"""Tensors in a safetensors file with a header of text: written whole or not at all, no pickle."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from wlib.check import require
from wlib.ground.files import replacing


def write(path: Path, form: str, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write tensors and a header that names the form of the file; the old one stays until then."""
    with replacing(path) as new:
        save_file({name: t.contiguous().cpu() for name, t in tensors.items()}, new,
                  metadata={"format": form} | header)


def read(path: Path, form: str, writer: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file of this form, which `writer` writes; `ValueError` if it is none.
    """
    require(path.is_file(), "path", str(path), f"a file that {writer} wrote")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone()       # else a view into the file
                       for name in file.keys()}
    except Exception as problem:   # safetensors raises its own class for damaged files
        raise ValueError(f"path: {path} is no whole safetensors file ({problem})") from problem
    require(header.get("format") == form, "path", str(path), f"a file that {writer} wrote")
    return header, tensors
