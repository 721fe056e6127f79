#!/usr/bin/env bash
# Builds the container image `pipeline:cpu` or `pipeline:gpu`, from the working tree.
#
#     tools/release/image.sh cpu|gpu [--build-arg NAME=VALUE …]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/release/common.sh

kind=${1:-cpu}
[ "$kind" = cpu ] || [ "$kind" = gpu ] || fail "unknown image \`$kind\`; there are \`cpu\` and \`gpu\`"
engine=$(engine) || fail "neither podman nor docker works here: install one, and start docker's daemon"
"$engine" build -f tools/release/Containerfile --target "$kind" -t "pipeline:$kind" "${@:2}" .
"$engine" images --format '{{.Size}}  {{.Repository}}:{{.Tag}}' "pipeline:$kind"
