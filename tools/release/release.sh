#!/usr/bin/env bash
# Makes what people install without a compiler, in dist/: the wheel, an archive with the same program, the bill of
# materials and the checksums of all three.
#
#     tools/release/release.sh          # builds the program with cargo, as release
#     tools/release/wheel.sh            # the wheel alone
#
# Needs maturin (`pip install maturin`), Python 3.9, strip and GNU tar.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/release/common.sh

need strip "install binutils"
need python3 "install Python 3.9 or later"
tar --version 2>/dev/null | grep -q 'GNU tar' || fail "tar is not GNU tar, which sorts names and sets times; install it"

tools/release/wheel.sh
wheel=$(only dist/clip_negation-*.whl)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The program is taken out of the wheel, so that both hold the same one and nothing is linked twice.
python3 - "$wheel" "$work/pipeline" <<'PYTHON'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    (name,) = [name for name in wheel.namelist() if name.endswith(".data/scripts/pipeline")]
    open(sys.argv[2], "wb").write(wheel.read(name))
PYTHON
chmod 755 "$work/pipeline"
# What maturin links is stripped already; a wheel that was made otherwise may not be.
strip "$work/pipeline"

version=$("$work/pipeline" --version | cut -d' ' -f2)
target=$(rustc -vV | sed -n 's/^host: //p')
name=pipeline-$version-$target
bom=dist/pipeline-$version.cdx.json

mkdir "$work/$name" "$work/$name/licenses"
python3 tools/release/bom.py "$wheel" "$bom" "$work/$name/licenses/crates.txt"
mv "$work/pipeline" "$work/$name/"
cp README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT THIRD-PARTY.md "$work/$name/"
cp stages/captions/data/WORDNET-LICENSE "$work/$name/licenses/"
cp crates/clip/assets/README.md "$work/$name/licenses/CLIP-VOCABULARY.md"

# The same bytes from the same commit: names sorted, no owner, the commit's time.
rm -f dist/pipeline-*.tar.gz
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
    --directory "$work" "$name" | gzip -9n >"dist/$name.tar.gz"

(cd dist && sha256sum -- *.whl *.tar.gz *.cdx.json >SHA256SUMS)
made "$wheel" "dist/$name.tar.gz" "$bom" dist/SHA256SUMS
