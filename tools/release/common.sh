# Read by the scripts beside it.

fail() {
    echo "error: $*" >&2
    exit 1
}

# need PROGRAM REMEDY
need() {
    command -v "$1" >/dev/null || fail "$1 is missing: $2"
}

# The one file that a pattern names.
only() {
    [ $# -eq 1 ] && [ -e "$1" ] || fail "$* must be one file; delete the others in dist/, or run \`just release\`"
    echo "$1"
}

# Prints files with their sizes.
made() {
    echo
    for file in "$@"; do
        printf '%10s  %s\n' "$(du -h --apparent-size "$file" | cut -f1)" "$file"
    done
}

# The program for containers that works here: its name, or 1.
engine() {
    local name
    for name in podman docker; do
        if command -v "$name" >/dev/null && "$name" info >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    return 1
}
