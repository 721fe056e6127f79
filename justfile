# Every command that people run on this repository. `just` lists them.

default:
    @just --list

# Build and run the default pipeline.
demo:
    cargo run --release -- run pipeline.toml

# All tests.
test:
    cargo test --release --workspace

# What CI runs.
ci:
    .ci/run

# Format and lints.
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# Advisories, licences, sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check

# Real photos: needs ../shared.
flickr8k *ARGS:
    cargo run --release -- run examples/flickr8k.toml {{ARGS}}

# Draw the embedded world anew, with its questions.
world:
    cargo run --release -p scenes -- --help

# Compact WordNet's dict folder (Debian: wordnet-base) into the generator's data file.
wordnet DICT="/usr/share/wordnet":
    cargo run --release -p wordnet-compact -- {{DICT}} stages/captions/data/wordnet.bin.gz
