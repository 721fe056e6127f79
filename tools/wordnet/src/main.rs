//! `wordnet-compact DICT OUT`: writes the part of WordNet that caption generation
//! needs to one small file.
//!
//! DICT is the `dict` folder of WordNet 3.x (`/usr/share/wordnet` with Debian's
//! `wordnet-base`). OUT is read by `stage-captions`, which embeds it; its
//! layout is described in [`compact`]. The same DICT gives the same bytes.
//!
//! It omits glosses, relations other than hypernymy, named individuals (instances
//! such as "Mont Blanc", which are not a kind of thing), and words of several parts
//! that are not nouns.

mod compact;
mod dict;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, out] = args.as_slice() else {
        bail!("usage: wordnet-compact DICT OUT   (DICT: WordNet's folder with data.noun)");
    };
    let dict = dict::Dict::read(folder)?;
    let bytes = compact::write(&dict)?;
    std::fs::write(out, &bytes).with_context(|| format!("{}: cannot write", out.display()))?;
    println!(
        "{}: {} synsets, {} words, {} irregular forms, {} bytes",
        out.display(),
        dict.synsets.len(),
        dict.words.len(),
        dict.irregular.len(),
        bytes.len()
    );
    Ok(())
}
