#!/bin/sh
# Runs the tests of all `unsafe` code under valgrind's memcheck; exits with 1 at the first error.
#
#     cargo test --release --workspace --no-run
#     tools/memcheck.sh
#
# Graphics adapters are hidden: a driver's memory is not checked. It takes half an hour on one core, most of
# it in the pair search. Each `check` names a folder, a test program and the filters of its tests.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
export VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent RAYON_NUM_THREADS=2

check() {
    folder=$1 name=$2
    shift 2
    # The newest of several builds.
    program=$(find "$target/release/deps" -name "$name-*" ! -name '*.*' -printf '%T@ %p\n' | sort -rn | head -1 | cut -d' ' -f2)
    echo "== $name $*"
    (cd "$root/$folder" && valgrind --quiet --error-exitcode=1 "$program" "$@")
}

check crates/clip checkpoint                 # the memory map of weights
check crates/linalg linalg                   # gemm
check crates/clip clip fused                 # the kernels around it
check crates/clip layouts --skip wgpu        # the same in whole towers, forward and backward
check crates/benchmarks benchmarks pictures  # gemm
check stages/pairs stage_pairs --skip gpu --skip auto
check stages/pairs agreement --skip a_large_batch    # gemm
