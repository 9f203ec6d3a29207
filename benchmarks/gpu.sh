#!/usr/bin/env bash
# Everything that needs a GPU, in one call and the most important first, for a few minutes of one:
#
#     benchmarks/gpu.sh OUT                          # on a machine with the book's environment
#     benchmarks/gpu.sh OUT --wheels W --data D      # on a bare one without a network
#     WLIB_DEVICE=cpu benchmarks/gpu.sh OUT --quick  # a rehearsal on a CPU, tiny sizes
#
# 1. every method on the GPU and on the CPU (benchmarks/gpu.py agreement)
# 2. engines and methods timed against the CPU (benchmarks/gpu.py times)
# 3. the notebooks of profile gpu, the most telling first
#
# It ends within BUDGET seconds (540), the first two steps within LIMIT (110) each. What was made
# lies in OUT at once, as gpu-results.tar.gz, beside log.txt and summary.txt; unpacked, it is
# recorded by: wlib record --profile gpu --from gpu-results. W is a folder of wheels that the machine
# lacks (benchmarks/gpu-wheels.txt says how to fetch them), D one of data sets as WLIB_DATA names it.
# PYTHON is the interpreter (by default that of .venv, else python3).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
NOTEBOOKS=(11 21 42 43 31 32)

usage() { sed -n '2,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
out= wheels= data= quick=
while (($#)); do
    case $1 in
        --quick) quick=--quick ;;
        --wheels) wheels=${2:?--wheels: a folder is wanted}; shift ;;
        --data) data=${2:?--data: a folder is wanted}; shift ;;
        -*) usage ;;
        *) [[ -z $out ]] || usage; out=$1 ;;
    esac
    shift
done
[[ -n $out ]] || usage
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
for folder in "$wheels" "$data"; do
    [[ -z $folder || -d $folder ]] || { echo "gpu.sh: $folder: no such folder" >&2; exit 2; }
done

begun=$SECONDS budget=${BUDGET:-540} failed=0
left() { echo $((budget - (SECONDS - begun))); }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bring=$scratch/gpu-results
mkdir "$bring"
python=${PYTHON:-python3}
[[ -n ${PYTHON:-} || ! -x .venv/bin/python ]] || python=$PWD/.venv/bin/python
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export WLIB_DEVICE=${WLIB_DEVICE:-cuda} WLIB_STORE=${WLIB_STORE:-$scratch/store}
[[ -z $data ]] || WLIB_DATA=$(cd "$data" && pwd) && export WLIB_DATA
exec > >(tee -a "$out/log.txt") 2>&1

say() { echo "[$((SECONDS - begun)) s] $*" | tee -a "$out/summary.txt"; }

# What is done so far, whole or not at all; what lay in _build before is not of this run.
pack() {
    local folder
    cp "$scratch"/tables/*.json "$bring"/ 2>/dev/null
    for folder in results executed failed; do
        mkdir -p "$bring/$folder"
        find "_build/$profile/$folder" -type f -newer "$scratch/begun" 2>/dev/null \
            -exec cp {} "$bring/$folder"/ \;
    done
    tar -C "$scratch" -czf "$out/.part" gpu-results && mv "$out/.part" "$out/gpu-results.tar.gz"
}

# step SECONDS NAME COMMAND...: run it for so long at most, and leave what it made.
step() {
    local limit=$1 name=$2 status; shift 2
    (($(left) > 20)) || { say "$name: left out, no time"; return; }
    ((limit < $(left) - 10)) || limit=$(($(left) - 10))
    timeout --signal=INT --kill-after=10 "$limit" "$@" &
    local pid=$!
    while kill -0 $pid 2>/dev/null; do sleep 2; ((SECONDS % 10 > 1)) || pack; done
    wait $pid; status=$?
    pack
    ((status == 0)) && say "$name: done" || { failed=1; say "$name: ended with $status"; }
}

profile=${quick:+smoke}; profile=${profile:-gpu}
touch "$scratch/begun"
: > "$out/summary.txt"
if [[ -n $wheels ]]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \
        --disable-pip-version-check --upgrade --target "$scratch/site" "$wheels"/*.whl \
        || { say "the wheels do not fit this machine"; exit 1; }
    export PYTHONPATH=$PYTHONPATH:$scratch/site
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || true
"$python" - <<'END' || { say "the environment is not complete"; exit 1; }
import importlib, os, sys
import torch
from wlib.ground import versions
print(versions.current())
needed = "papermill nbclient ipykernel jupyter_client seaborn mlxtend torch_pruning typer platformdirs"
missing = []
for name in needed.split():
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing.append(f"{name} ({error})")
if missing:
    sys.exit(f"missing: {', '.join(missing)}: bring their wheels, see benchmarks/gpu-wheels.txt")
torch.zeros(1, device=os.environ["WLIB_DEVICE"])
END
say "environment: ready"
step "${LIMIT:-110}" "methods agree" "$python" benchmarks/gpu.py agreement "$scratch/tables" $quick
step "${LIMIT:-110}" "times" "$python" benchmarks/gpu.py times "$scratch/tables" $quick
cores=$(nproc) jobs=$((cores > 6 ? 6 : cores))
# The runner ends a notebook that takes too long by itself; what has finished is kept.
step "$(left)" "notebooks ${NOTEBOOKS[*]}" "$python" -m wlib run "${NOTEBOOKS[@]}" \
    --profile "$profile" --force --jobs "$jobs" --timeout "$(($(left) > 60 ? $(left) - 30 : 30))"
say "brought: $(cd "$bring" && ls ./*.json results 2>/dev/null | tr '\n' ' ')"
exit $failed
