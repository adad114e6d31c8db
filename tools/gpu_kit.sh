#!/usr/bin/env bash
# Makes the folder .kit: everything to check, measure and record on a GPU node that has only the driver. Copy it there
# and run .kit/go.sh (tools/gpu_go.sh says how).
#
#   tools/gpu_kit.sh [--dirty] [--mock]
#
#   --dirty    allow a tree with changes: its results cannot be merged
#   --mock     fci linked with the mock of CUDA (tests/mock), to try go.sh without a GPU
#
# Variables: PEER=FILE, the same model in PyTorch, for the part peer. BACKBONES=DIR, folders of pretrained models, as
# small as the kit, for record. ARCH (x86-64-v3): processor; CUDA_ARCH (90): GPU;
# BUILD (build/kit): folder of the objects; KIT (.kit): folder to make. NVCC, CUDA_HOME and CUDA_PTX as for make
# (CUDA_PTX is empty here: PTX, for later GPUs, is half of nvcc's output).
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'gpu_kit: %s\n' "$*" >&2; exit 2; }
dirty='' mock=''
for word in "$@"; do
    case $word in
        --dirty) dirty=yes ;;
        --mock) mock=yes ;;
        *) die "unknown argument $word; usage: tools/gpu_kit.sh [--dirty] [--mock]" ;;
    esac
done
build=${BUILD:-build/kit} kit=${KIT:-.kit}
arch=${ARCH:-x86-64-v3}
most=$((40 << 20)) # bytes
begin=$SECONDS

commit=$(git rev-parse --short=12 HEAD 2>/dev/null) || die "this is not a git repository: results need a commit"
if [ -n "$(git status --porcelain -uno)" ]; then
    [ -n "$dirty" ] || die "the tree has changes, so its results could not be merged: commit them, or use --dirty"
    commit+=-dirty
    echo "gpu_kit: this tree has changes: tools/merge_results.sh will refuse the results of this kit"
fi
[ -z "${PEER:-}" ] || [ -f "$PEER" ] || die "PEER=$PEER is not a file"
[ -z "${BACKBONES:-}" ] || [ -d "$BACKBONES" ] || die "BACKBONES=$BACKBONES is not a folder"
[ ! -e "$kit" ] || [ -f "$kit/kit.txt" ] || die "$kit exists and is not a kit: remove it, or choose another KIT"

# --- programs -----------------------------------------------------------------

# Libraries are beside the programs. The older of the two run path tags is used: it also applies to the libraries.
# shellcheck disable=SC2016
make -j"$(nproc)" BUILD="$build" ARCH="$arch" CUDA_ARCH="${CUDA_ARCH:-90}" CUDA_PTX="${CUDA_PTX:-}" \
    LDFLAGS="${LDFLAGS:-} -Wl,--disable-new-dtags,-rpath,'\$\$ORIGIN/lib'" \
    "$build/${mock:+mock/}fci" "$build/tests/run_gpu" "$build/ladder"

rm -rf "$kit.new"
mkdir -p "$kit.new/lib/cxx"
programs=()
for program in "${mock:+mock/}fci" tests/run_gpu ladder; do
    strip -o "$kit.new/${program##*/}" "$build/$program"
    programs+=("$kit.new/${program##*/}")
done

# --- libraries ----------------------------------------------------------------

# The whole OpenBLAS would fill the kit. Its static form is linked again with the functions that the programs call and,
# if ARCH requires AVX2, with the kernels for such processors only: the same machine code, so the same bits. The other
# kernels are replaced by empty tables, which OpenBLAS refuses with a message.
small_openblas() {
    local archive
    archive=$(gcc -print-file-name=libopenblas.a)
    [ -f "$archive" ] || return 0 # then the whole library is used
    {
        case $arch in x86-64-v[34])
            nm "$archive" 2>/dev/null | sed -n 's/.* D \(gotoblas_[A-Z0-9_]*\)$/char \1[1 << 16];/p' | sort -u |
                grep -vE '_(EXCAVATOR|HASWELL|ZEN|SKYLAKEX|COOPERLAKE|SAPPHIRERAPIDS)\[' ;;
        esac
    } >"$build/other_processors.c"
    gcc -c -fPIC "$build/other_processors.c" -o "$build/other_processors.o"
    nm -D --undefined-only "${programs[@]}" | sed -n 's/.* U \([a-z0-9_]*\)$/\1/p' | sort -u >"$build/called"
    nm -D --defined-only "$1" | sed 's/.* //; s/@.*//' | sort -u | comm -12 - "$build/called" | sed 's/^/-Wl,-u,/' |
        xargs g++ -shared -s -o "$kit.new/lib/${1##*/}" -Wl,-soname,"${1##*/}" "$build/other_processors.o" \
            -Wl,--gc-sections "$archive" -lgfortran -lm -pthread -Wl,--no-undefined
}

# All libraries that the loader finds for them, except the C library, which is the node's. The node's C++ library is
# used if it is new enough, since ours may need a newer C library than the programs do; ours is a fallback in its own
# folder.
ldd "${programs[@]}" | sed -n 's|.* => \(/.*\) (0x.*|\1|p' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv)\.so' >"$build/libraries"
! ldd "${programs[@]}" | grep 'not found' || die "libraries are missing here"
while read -r library; do
    case $library in
        */libopenblas*) small_openblas "$library" ;;
        */libstdc++* | */libgcc_s*)
            cp -L "$library" "$kit.new/lib/cxx/"
            continue
            ;;
    esac
    [ -e "$kit.new/lib/${library##*/}" ] || cp -L "$library" "$kit.new/lib/"
done <"$build/libraries"
! LD_LIBRARY_PATH='' "$kit.new/fci" --help 2>&1 >/dev/null | grep . || die "the kit's fci does not start"

# --- the rest -----------------------------------------------------------------

git ls-files -z runs | xargs -0 cp --parents -t "$kit.new"
cp tools/gpu_go.sh "$kit.new/go.sh"
[ -z "${PEER:-}" ] || { cp "$PEER" "$kit.new/peer.py" && cp tools/gpu_peer.py "$kit.new"; }
[ -z "${BACKBONES:-}" ] || cp -rL "$BACKBONES" "$kit.new/backbones"
cuda=${CUDA_HOME:-/usr/local/cuda}
[ -d "$cuda" ] || cuda=$(dirname "$(dirname "$(command -v nvcc)")")
cublas=$(sed -n 's/^#define CUBLAS_VER_MAJOR \([0-9]*\).*/\1/p' "$cuda/include/cublas_api.h")
glibc=$(grep -aohE 'GLIBC_2\.[0-9]+' "${programs[@]}" "$kit.new/lib"/*.so* | sort -uV | tail -n 1)
cat >"$kit.new/kit.txt" <<TEXT
commit=$commit
glibc=${glibc#GLIBC_}
cublas=$cublas
TEXT
size=$(du -sb "$kit.new" | cut -f 1)
if [ "$size" -gt $most ]; then
    du -ab "$kit.new" | sort -n | tail -n 12 >&2
    die "$kit.new has $size bytes, more than $most: the largest files are listed above"
fi
rm -rf "$kit"
mv "$kit.new" "$kit"
echo "$kit: fci $commit for $arch and sm_${CUDA_ARCH:-90}, $(((size + (1 << 19)) >> 20)) MiB, glibc ${glibc#GLIBC_}" \
    "or later; made in $((SECONDS - begin)) s"
