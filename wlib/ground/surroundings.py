"""What of the user's surroundings reaches a run: their variables, the folders they name, their git.

A notebook's kernel gets the variables that are named here and no others, so that no setting of the
user's own (of Python, IPython, Matplotlib, of language, time zone or terminal) can change a number
or a picture. What may pass names places, or the machine's processors and cards; of these, what can
change a number without another machine is counted in every fingerprint.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from wlib.check import require

# Where programs, packages and files lie. PYTHONPATH must pass, because the packages of the run may
# lie there; their versions are counted, as is the reader's own code that a notebook uses.
PLACES = frozenset(
    "PATH HOME USER LOGNAME TMPDIR TEMP TMP XDG_CACHE_HOME XDG_DATA_HOME "
    "LD_LIBRARY_PATH LD_PRELOAD DYLD_LIBRARY_PATH DYLD_FALLBACK_LIBRARY_PATH "
    "PYTHONPATH PYTHONHOME PYTHONUSERBASE PYTHONNOUSERSITE VIRTUAL_ENV CONDA_PREFIX "
    "http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE".split())
# Which cards there are, and how their memory is handed out. Like the processor they belong to the
# machine, which a result names (`device`, `machine`) and which no fingerprint counts.
CARDS = ("CUDA_", "HIP_", "ROCR_", "HSA_", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
         "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
# Other instructions or algorithms on one machine, hence other last digits.
COUNTED = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR",
           "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES",
           "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
           "VECLIB_MAXIMUM_THREADS")


def variables() -> dict[str, str]:
    """A kernel's environment, apart from what its runner adds; the same for every user."""
    passed = {key: value for key, value in os.environ.items()
              if key in PLACES or key in COUNTED or key.startswith(CARDS)}
    fixed = {name: "1" for name in THREADS} | {
        "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    named = {name: str(place) for name in ("WLIB_STORE", "WLIB_DATA")
             if (place := folder(name)) is not None}
    return passed | fixed | named


def counted() -> dict[str, str]:
    """The settings of this process that can change a number on one and the same machine."""
    return {name: os.environ[name] for name in COUNTED if os.environ.get(name)}


def folder(variable: str) -> Path | None:
    """The folder that a variable names, whole, wherever it is asked for; None if it is empty."""
    text = os.environ.get(variable)
    if not text:
        return None
    path = Path(os.path.expanduser(text))
    require(not path.parts[0].startswith("~"), variable, text, "the path of a folder (there is no "
            "such home folder)")
    return path.absolute()


# ---------------------------------------------------------------- git
def without_git(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment that names no repository: inside a hook of git, git's own variables do."""
    kept = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")  # the user's own
    return {key: value for key, value in environment.items()
            if key in kept or not key.startswith("GIT_")}


def git(root: Path, *arguments: str) -> str:
    """What git says of the repository around a folder, which it only reads; `OSError` says why not.
    """
    done = subprocess.run(["git", "--no-optional-locks", "-C", str(root), *arguments],
                          capture_output=True, text=True,
                          env=without_git(os.environ) | {"LC_ALL": "C"})
    if done.returncode != 0:
        raise OSError(" ".join(done.stderr.split()))
    return done.stdout.strip()
