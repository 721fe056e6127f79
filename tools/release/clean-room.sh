#!/usr/bin/env bash
# Tries what `just release` made where no compiler is: the wheel in a fresh virtual environment with a PATH of a few
# tools, the archive in a bare root, and images of `just image` if there are any.
#
#     tools/release/clean-room.sh       # what is in dist/
#     PYTHON=python3.9 tools/release/clean-room.sh
#
# Prints a line per trial: ok, FAILED or skipped, and why. Exits with 1 if one failed. pip fetches NumPy and pandas.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/release/common.sh

wheel=$(only dist/clip_negation-*.whl)
archive=$(only dist/pipeline-*.tar.gz)
work=$(mktemp -d)
# Not into what debootstrap may have mounted there.
trap 'rm -rf --one-file-system "$work"' EXIT
passed=0 failed=0 skipped=0

# try NAME COMMAND: what it prints is shown if it fails, else its last line. A function's steps are joined by &&, since
# `set -e` has no effect inside an `if`.
try() {
    local name=$1 begin=$SECONDS
    shift
    if "$@" >"$work/log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        printf 'ok       %s (%d s): %s\n' "$name" $((SECONDS - begin)) "$(tail -1 "$work/log")"
    else
        failed=$((failed + 1))
        printf 'FAILED   %s\n' "$name"
        tail -20 "$work/log" | sed 's/^/           /'
    fi
}

skip() {
    skipped=$((skipped + 1))
    printf 'skipped  %s: %s\n' "$1" "$2"
}

# The default pipeline with 220 of its 880 scenes: six steps.
short=(--set run.epochs=1 --set run.device=cpu --set 'stage.shards.urls="assets/world/train-000.tar"')

# A folder to run in, with the config and its assets.
folder() {
    mkdir -p "$1"
    cp pipeline.toml "$1/"
    cp -r assets "$1/"
}

echo "== $wheel"
python=${PYTHON:-python3}
"$python" -m venv "$work/venv" || fail "$python cannot make a virtual environment; install python3-venv, or set PYTHON"
installed() {
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "${wheel}[pandas]" &&
        "$work/venv/bin/pip" list --format freeze | tr '\n' ' '
}
try "pip install" installed
folder "$work/wheel"
# Nothing but the environment and coreutils that programs start.
mkdir "$work/bin"
for tool in cat env ls sh uname; do
    ln -s "$(command -v "$tool")" "$work/bin/$tool"
done
inside() {
    (cd "$work/wheel" && env -i HOME="$work/wheel" PATH="$work/venv/bin:$work/bin" "$@")
}
no_compiler() {
    local tool
    for tool in cc c++ gcc g++ clang ld make cmake cargo rustc; do
        if inside sh -c "command -v $tool"; then
            echo "$tool is on the PATH"
            return 1
        fi
    done
    echo "none of cc, c++, gcc, g++, clang, ld, make, cmake, cargo, rustc"
}
try "no compiler on the PATH" no_compiler
try "pipeline --version" inside pipeline --version
try "pipeline run pipeline.toml" inside pipeline run pipeline.toml --set run.name=short "${short[@]}"
try "python: embed" inside python -c '
import clip_negation as cn
features = cn.embed(["a red boat", "a scene with no red boat"], weights="runs/short")
assert features.shape == (2, 64) and features.dtype == "float32" and abs((features**2).sum(axis=1) - 1).max() < 1e-5
print(features.shape, features.dtype)
'
try "python: run and results" inside python -c '
import clip_negation as cn
settings = {"run.name": "again", "run.epochs": 1, "run.device": "cpu", "stage.shards.urls": "assets/world/train-000.tar"}
run = cn.run(set=settings, quiet=True)
scores, steps = run.results(), run.metrics()
assert {"before", "after"} <= set(scores["phase"]) and len(steps) == 6
# The same seed, the same bytes.
assert scores["value"].tolist() == cn.Run("runs/short").results()["value"].tolist()
print(len(scores), "measurements and", len(steps), "steps, as the command gave")
'

echo
echo "== $archive"
checksums() {
    (cd dist && sha256sum --check SHA256SUMS) && echo "all of dist/SHA256SUMS"
}
try "checksums" checksums
mkdir "$work/root"
unpack() {
    tar xzf "$archive" -C "$work/root" --strip-components=1 && ls "$work/root" | tr '\n' ' '
}
try "unpack" unpack

# Copies the libraries that the program loads, and the loader: all that a bare root needs.
libraries() {
    local library
    ldd "$work/root/pipeline" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$work/root$(dirname "$library")" && cp -L "$library" "$work/root$library" || exit 1
    done &&
        mkdir -p "$work/root/tmp" &&
        (cd "$work/root" && find . -name '*.so*' -printf '%f ')
}
if [ "$(id -u)" -eq 0 ]; then
    change=(chroot)
else
    change=(unshare --user --map-root-user chroot)
fi
bare_root=$work/root
if [ "$(id -u)" -eq 0 ] && command -v debootstrap >/dev/null; then
    try "debootstrap" debootstrap --variant=minbase "${DEBIAN:-bookworm}" "$work/debian"
    bare_root=$work/debian
    cp "$work/root/pipeline" "$bare_root/"
elif command -v ldd >/dev/null; then
    try "a root of the program, libc and the loader" libraries
fi
folder "$bare_root"
# Only a root where nothing runs at all is skipped: a program that fails there has failed.
if ! command -v "${change[0]}" >/dev/null; then
    skip "pipeline in a bare root" "this machine has no ${change[0]}"
elif ! "${change[@]}" / true 2>"$work/log"; then
    skip "pipeline in a bare root" "$(tail -1 "$work/log")"
else
    bare() {
        env -i HOME=/ PATH=/ "$(command -v "${change[0]}")" "${change[@]:1}" "$bare_root" /pipeline "$@"
    }
    try "pipeline --version" bare --version
    try "pipeline run pipeline.toml" bare run pipeline.toml --set run.name=short "${short[@]}"
    try "pipeline embed" bare embed --model runs/short/export --text 'a red boat' --out /features.npy
fi

echo
echo "== images"
if ! engine=$(engine); then
    skip "images" "neither podman nor docker works here"
else
    for kind in cpu gpu; do
        if [ -z "$("$engine" images --quiet "pipeline:$kind")" ]; then
            skip "pipeline:$kind" "no such image; \`just image $kind\` builds it"
            continue
        fi
        folder "$work/$kind"
        contained() {
            "$engine" run --rm --network none --volume "$work/$kind:/work" "pipeline:$kind" "$@"
        }
        try "pipeline:$kind --version" contained --version
        try "pipeline:$kind run pipeline.toml" contained run pipeline.toml --set run.name=short "${short[@]}"
    done
fi

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
