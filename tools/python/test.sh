#!/usr/bin/env bash
# Tests the wheel of dist/ in a fresh virtual environment.
#
#     tools/python/test.sh                                        # what needs torch is skipped
#     tools/python/test.sh pandas,transformers,open_clip -k towers
#     PYTHON=python3.9 tools/python/test.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/release/common.sh

extras=${1:-pandas}
wheel=$PWD/$(only dist/clip_negation-*.whl)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pytest "${wheel}[$extras]"
# Not from the folder of the sources: what is tested is what was installed.
cd "$work"
"$work/venv/bin/pytest" -rs -p no:cacheprovider "$OLDPWD/tools/python" "${@:2}"
