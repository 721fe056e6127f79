//! The pixels that CLIP's preprocessing makes of pictures, which `tools/parity/photos.py` compares.
//!
//! Reads paths, one per line, and writes the pixels of each, 224 x 224 x 3 bytes, one after the other.
//!
//! `cargo run --release -p clip --example pixels < paths > pixels`
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, Write};

use clip::preprocess::{Limits, Preprocess};

fn main() {
    let preprocess = Preprocess::openai(224);
    let mut out = std::io::stdout().lock();
    for path in std::io::stdin().lock().lines() {
        let pixels = preprocess.decode(&std::fs::read(path.unwrap()).unwrap(), &Limits::default()).unwrap();
        out.write_all(&pixels.rgb).unwrap();
    }
}
