#!/usr/bin/env bash
# Builds the Python wheel, which holds the program and the module `clip_negation`, into dist/. Needs maturin.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/release/common.sh

need maturin "pip install 'maturin>=1.11,<2'"
rm -f dist/clip_negation-*.whl
(cd tools/python && maturin build --out ../../dist)
made "$(only dist/clip_negation-*.whl)"
