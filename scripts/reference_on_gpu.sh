#!/usr/bin/env bash
# Makes the reference results of params/reference.yaml on a machine that has a GPU and no network.
#
#   scripts/reference_on_gpu.sh wheels             here: packages for that machine, build/gpu/wheels
#   scripts/reference_on_gpu.sh run OUT MINUTES    there, on a copy of the checkout with build/gpu
#
# That machine brings Python 3.12 with torch, torchvision, numpy, scipy, pandas, pillow, OpenCV and
# matplotlib. `run` tries every arm with a handful of images first, kill and resumption included, and
# then trains the seeds that book/reference_results does not hold yet. MINUTES after its start it
# begins no further epoch; leave two minutes more for the epochs that run, and for packing. Runs of
# book/reference_results/unfinished are not trained again if this kind of GPU trained them.
#
# Generating the data takes minutes of the GPU's time. `scripts/carry_data.py pack FILE PARTS` packs
# them here; before `run`, `scripts/carry_data.py unpack PARTS DOAM_HOME` lays them out there (the
# checkout, where DOAM_HOME is not set).
#
# OUT gets the archives, log.txt, detectors.tar.gz (weights for `doam detect`), and kept.tar.gz where
# a seed is unfinished or could not be packed: laid into build/gpu, the next `run` goes on from it.
# Files stay below 16 MB.
# Exit status: 0 everything is trained, 3 time is over and what is finished is packed, anything else
# a failure, told in the last line.
#
# PYTHON names another interpreter, REFERENCE another parameter file, DOAM_HOME where runs lie.
# TRIAL=brief tries every arm without killing anything; TRIAL=no leaves the trial out, for a second
# call with the same files on the same machine.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly KIT=build/gpu LIMIT_MIB=64
readonly CARRIED="annotated-doc annotated-types captum filelock markdown-it-py mdurl pycocotools
  pydantic pydantic-core pygments pyyaml rich safetensors shellingham tqdm typer typing-extensions
  typing-inspection"
PYTHON=${PYTHON:-python3}
REFERENCE=${REFERENCE:-params/reference.yaml}

fail() {
  echo "reference_on_gpu: $*"
  exit 1
}

helper() { "$PYTHON" scripts/gpu_session.py "$@"; }

train() { "$PYTHON" -u -m doamlib.cli train --no-estimate "$@"; }

wheels() {
  local names pins platforms=() platform
  rm -rf "$KIT/wheels"
  mkdir -p "$KIT/wheels"
  names=$(echo $CARRIED | tr ' ' '|')
  pins=$KIT/wheels.txt
  awk -v names="^($names)==" '/^[a-z0-9]/ { keep = $1 ~ names } keep' requirements.lock > "$pins"
  for platform in manylinux_2_28 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${platform}_x86_64")
  done
  "$PYTHON" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
    --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
    -d "$KIT/wheels" -r "$pins"
  [ "$(ls "$KIT/wheels" | wc -l)" -eq "$(echo $CARRIED | wc -w)" ] || fail "a wheel is missing"
  echo "$(git describe --always --dirty --abbrev=40 --exclude='*') $(sources)" > "$KIT/commit"
  size
}

# Digest of all that decides a result: a copy without .git must still be that of the named commit.
sources() {
  find doamlib params scripts -type f -not -name '*.pyc' | LC_ALL=C sort | xargs sha256sum |
    sha256sum | cut -c1-16
}

size() {
  local tree kit
  tree=$(git ls-files -z --cached --others --exclude-standard | du -bc --files0-from=- | tail -1 | cut -f1)
  kit=$(du -sb "$KIT" | cut -f1)
  awk -v tree="$tree" -v kit="$kit" -v limit="$LIMIT_MIB" 'BEGIN {
    mib = 2 ^ 20; sum = (tree + kit) / mib
    printf "checkout %.1f MiB + build/gpu %.1f MiB = %.1f MiB of %d MiB\n", tree / mib, kit / mib, sum, limit
    exit sum > limit }' || fail "more than $LIMIT_MIB MiB would travel: remove what that machine does not need"
}

install() {
  local lacking commit digest
  [ -f "$KIT/commit" ] || fail "$KIT is missing: make it with '$0 wheels' and carry it here"
  read -r commit digest < "$KIT/commit"
  [ "$digest" = "$(sources)" ] || fail "the files are not those of $commit: run '$0 wheels' again"
  export DOAM_COMMIT=$commit
  lacking=$(helper lacking "$KIT/wheels")
  if [ -n "$lacking" ]; then
    echo "installing" $(basename -a $lacking | cut -d- -f1)
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
      --disable-pip-version-check --root-user-action=ignore --target "$scratch/site" $lacking
  fi
  export PYTHONPATH="$scratch/site:$PWD${PYTHONPATH:+:$PYTHONPATH}"
  export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 # every run has one core
  helper machine "$REFERENCE"
}

# Without this service of the driver, kernels of different processes take turns on the GPU. It
# changes no setting of the GPU and ends with this script.
share_gpu() {
  command -v nvidia-cuda-mps-control > /dev/null || { echo "no MPS here: runs take turns on the GPU"; return 0; }
  export CUDA_MPS_PIPE_DIRECTORY=$scratch/mps CUDA_MPS_LOG_DIRECTORY=$scratch/mps
  mkdir -p "$scratch/mps"
  if nvidia-cuda-mps-control -d &&
    timeout 60 "$PYTHON" -c 'import torch; torch.ones(2, device="cuda").sum().item()'; then
    echo "runs share the GPU through MPS"
  else
    stop_sharing
    unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
    echo "MPS does not start here: runs take turns on the GPU"
  fi
}

watch_gpu() {
  command -v nvidia-smi > /dev/null || return 0
  while sleep 20; do
    echo "  $SECONDS s: GPU $(nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader)," \
      "load $(cut -d' ' -f1 /proc/loadavg)"
  done &
  watcher=$!
}

stop_sharing() {
  [ -z "${watcher:-}" ] || kill "$watcher" 2> /dev/null || true
  [ ! -d "$scratch/mps" ] || echo quit | timeout 20 nvidia-cuda-mps-control > "$scratch/mps/quit" 2>&1 || true
}

brief_trial() {
  local file=$scratch/trial.yaml
  share_gpu
  helper graphs "$REFERENCE"
  export DOAM_HOME=$scratch/trial
  helper brief "$REFERENCE" "$file"
  echo "brief trial: every arm, a handful of images, after $SECONDS s"
  train -f "$file" --pack "$scratch/archives"
  helper check "$file" "$scratch/archives"
  helper rates "$file"
  echo "the trial has passed after $SECONDS s"
}

trial() {
  local file=$scratch/trial.yaml process
  export DOAM_HOME=$scratch/trial
  helper trial "$REFERENCE" "$file"
  echo "trial: every arm, a handful of images; killed once and taken up again"
  "$PYTHON" -u -m doamlib.cli train --no-estimate -f "$file" & # no shell around it: the kill must hit Python
  process=$!
  until compgen -G "$DOAM_HOME/runs/partial/*/checkpoint.pt" > /dev/null; do
    kill -0 "$process" || fail "the trial ended before its first checkpoint"
    sleep 0.05
  done
  kill -KILL "$process"
  wait "$process" || true
  helper interrupted > "$scratch/interrupted.json"
  share_gpu # only now: a killed process may take others of the service with it
  train -f "$file" --pack "$scratch/archives"
  helper resumed "$scratch/interrupted.json"
  helper check "$file" "$scratch/archives"
  helper rates "$file"
  echo "the trial has passed after $SECONDS s"
}

run() {
  local out=$1 minutes=$2 home=${DOAM_HOME:-$PWD} file left status=0
  install
  case "${TRIAL:-yes}" in
    no) share_gpu ;;
    brief) brief_trial ;;
    *) trial ;;
  esac
  watch_gpu
  export DOAM_HOME=$home
  file=$scratch/reference.yaml
  helper take_up "$REFERENCE"
  helper missing "$REFERENCE" "$file"
  [ -s "$file" ] || { echo "every seed is in book/reference_results"; return 0; }
  [ ! -f "$KIT/kept.tar.gz" ] || { mkdir -p "$DOAM_HOME/runs" && tar -xzf "$KIT/kept.tar.gz" -C "$DOAM_HOME/runs"; }
  left=$(awk "BEGIN { print int($minutes * 60) - $SECONDS }")
  [ "$left" -gt 0 ] || fail "MINUTES is $minutes, but $SECONDS s are gone already: give more"
  train -f "$file" --time-budget "${left}s" || status=$?
  helper pack "$REFERENCE" "$out" || status=$? # what is trained is kept all the same
  ship "$out"
  helper rates "$file"
  helper keep "$REFERENCE" "$out/kept.tar.gz"
  [ "$status" -eq 0 ] || fail "training or packing failed with status $status"
  helper check "$file" "$out"
}

# Weights for `doam detect`, of the first seed, as soon as it has them.
ship() {
  [ "$REFERENCE" = params/reference.yaml ] || return 0
  "$PYTHON" scripts/ship_detectors.py -f "$REFERENCE" --to "$scratch/detectors" || return 0
  tar -czf "$1/detectors.tar.gz" -C "$scratch/detectors" .
}

# What the script prints goes to OUT/log.txt as well; its last line tells the exit status.
begin() {
  mkdir -p "$1"
  scratch=$(mktemp -d)
  exec > >(tee "$1/log.txt") 2>&1
  tee_process=$!
  trap end EXIT
}

end() {
  local status=$?
  stop_sharing
  rm -rf "$scratch"
  echo "reference_on_gpu: exit status $status after $SECONDS s"
  exec >&- 2>&-
  wait "$tee_process"
  exit "$status"
}

case "${1:-}" in
  wheels) wheels ;;
  run)
    [[ $# -eq 3 && $3 =~ ^[0-9]+([.][0-9]+)?$ ]] || fail "usage: $0 run OUT MINUTES"
    out=$(realpath -m "$2")
    begin "$out"
    run "$out" "$3"
    ;;
  *) fail "usage: $0 wheels | run OUT MINUTES" ;;
esac
