#!/usr/bin/env bash
# The checks on this machine's GPU, from a fresh clone: builds for the GPU, with warnings as errors, and runs the parts
# of tools/gpu_go.sh, which says what they are and what they write. The exit code is 1 if anything failed, 2 if there is
# no GPU.
#
#   tools/gpu_check.sh [PART ...]      these parts; by default all but record and compute-sanitizer's other tools
#
# The results are in build/gpu_check. BUDGET: seconds without the build, default one hour; CUDA_ARCH=...: for another
# GPU; BUILD: another folder for the objects (build/gpu). Results of a tree with changes cannot be merged.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- smoke twins trainer memcheck racecheck initcheck synccheck bits bench peer ladder ncu curves
tools/deps.sh --check || tools/deps.sh || echo "some of these libraries are missing: the build will say which"

# 90 for a GPU of compute capability 9.0
arch=${CUDA_ARCH:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -dc 0-9)} ||
    { echo "gpu_check: nvidia-smi finds no GPU here; with CUDA_ARCH=90 it builds for one anyway" >&2; exit 2; }
WERROR=1 CUDA_ARCH=$arch BUILD=${BUILD:-build/gpu} KIT=build/gpu_check/kit tools/gpu_kit.sh --dirty
OUT=build/gpu_check WORK=build/gpu_check/work build/gpu_check/kit/go.sh "${BUDGET:-3600}" "$@"
