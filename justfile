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

# Fuzz all targets, so many seconds of CPU each (needs cargo-fuzz).
fuzz SECONDS="60" *ARGS:
    RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir tools/fuzz
    tools/fuzz/campaign.py --seconds {{SECONDS}} {{ARGS}}

# Real photos: needs ../shared.
flickr8k *ARGS:
    cargo run --release -- run examples/flickr8k.toml {{ARGS}}

# The hot pieces alone.
bench-hot *ARGS:
    cargo bench --profile release --workspace --bench hot {{ARGS}}

# This pipeline and a PyTorch program in turn (docs/performance.md says what it needs).
bench *ARGS:
    cargo build --release --workspace --bins
    target/release/bench {{ARGS}}

# Questions about the dev and test photos of Flickr8k, in both lists of wordings: needs ../shared.
flickr8k-questions:
    cargo run --release -- questions --captions '../shared/data/flickr8k/dev-{000..001}.tar' --out runs/questions/flickr8k-dev
    cargo run --release -- questions --captions '../shared/data/flickr8k/test-{000..001}.tar' --out runs/questions/flickr8k-test
    cargo run --release -- questions --captions '../shared/data/flickr8k/dev-{000..001}.tar' --out runs/questions/flickr8k-dev-second --wordings second
    cargo run --release -- questions --captions '../shared/data/flickr8k/test-{000..001}.tar' --out runs/questions/flickr8k-test-second --wordings second

# An ablation of tools/sweeps; those on Flickr8k need `just flickr8k-questions` first.
sweep NAME *ARGS:
    cargo run --release -- sweep tools/sweeps/{{NAME}}.toml {{ARGS}}

# All ablations, one after the other: of the embedded world, then of Flickr8k. Hours; it goes on where it was stopped.
sweeps:
    for sweep in tools/sweeps/*.toml; do cargo run --release -- sweep "$sweep" || exit 1; done

# What meters and traces cost, for a run folder (Linux).
overhead RUN:
    cargo run --release --workspace --example overhead -- {{RUN}}

# The tests of what is `unsafe`, under valgrind: half an hour.
memcheck:
    cargo test --release --workspace --no-run
    tools/memcheck.sh

# What meters and traces cost whole runs, in instructions: needs valgrind.
overhead-instructions:
    cargo build --release --workspace --bins
    python3 tools/overhead/overhead.py --callgrind

# Pictures of the docs: needs tmux, Chromium, Node and tools/screens/requirements.txt.
screens:
    cargo build --release
    python3 tools/screens/screens.py

# Draw the embedded world anew, with its questions and negated queries: the same bytes each time.
world:
    cargo run --release -p scenes -- pack --out assets/world --split train --count 880 --shard-size 220
    cargo run --release -p scenes -- pack --out assets/world --split test --count 320 --shard-size 160
    cargo run --release -p scenes -- questions --out assets/world/questions.jsonl --count 320 --shard-size 160
    cargo run --release -- questions --captions 'assets/world/test-{000..001}.tar' --out runs/questions/world
    cp runs/questions/world/retrieval.csv assets/world/negated.csv
    cargo run --release -- questions --captions 'assets/world/test-{000..001}.tar' --out runs/questions/world-second --wordings second
    cp runs/questions/world-second/retrieval.csv assets/world/negated-second.csv

# Train the small CLIP of the embedded world anew, on captions that only affirm.
pretrain:
    cargo run --release -p pretrain -- train --out assets/clip-world --naming-steps 1800 --steps 450

# What the small CLIP knows: retrieval, which things are there, the questions by kind.
score:
    cargo run --release -p pretrain -- score --checkpoint assets/clip-world --questions assets/world/questions.jsonl --count 320

# Compact WordNet's dict folder (Debian: wordnet-base) into the generator's data file.
wordnet DICT="/usr/share/wordnet":
    cargo run --release -p wordnet-compact -- {{DICT}} stages/captions/data/wordnet.bin

# How well the tagger finds the things of captions (docs/tagger.md): needs ../shared. `errors` lists every error.
things *ARGS:
    cargo run --release -p stage-captions --example things -- {{ARGS}}

# Make the goldens anew; needs Python with tools/parity/requirements.txt.
goldens:
    python3 tools/parity/goldens.py

# Compare a checkpoint folder with transformers or open_clip.
parity FOLDER *ARGS:
    python3 tools/parity/check.py {{FOLDER}} {{ARGS}}

# What people install without a compiler, in dist/: wheel, archive, bill of materials, checksums. Needs maturin.
release:
    tools/release/release.sh

# The Python wheel alone, in dist/. Needs maturin.
wheel:
    tools/release/wheel.sh

# A container image, `pipeline:cpu` or `pipeline:gpu`. Needs podman or docker.
image KIND="cpu" *ARGS:
    tools/release/image.sh {{KIND}} {{ARGS}}

# Try what `just release` made where no compiler is: a fresh virtual environment, a bare root, the images.
clean-room:
    tools/release/clean-room.sh

# Tests of the Python module, with the wheel of dist/ in a fresh environment. With `pandas,transformers,open_clip`, all of them (6 GB).
python-test EXTRAS="pandas" *ARGS:
    tools/python/test.sh {{EXTRAS}} {{ARGS}}
