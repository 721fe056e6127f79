//! The compact file: the line [`MAGIC`], then one zlib stream of
//!
//! - synsets: their number; one byte per synset: lexicographer file; for each: number
//!   of hypernyms, then each hypernym's index;
//! - words, sorted: their number; for each: number of bytes shared with the word
//!   before, number of added bytes, the added bytes;
//! - for each word: a byte with a bit for each part of speech (1 noun, 2 verb,
//!   4 adjective, 8 adverb), then for each set bit the tag count;
//! - for each noun: number of senses; for each: synset index, tag count;
//! - irregular forms: the length in bytes of the text that follows, whose lines are
//!   `PART FORM LEMMA` (PART 0 to 3 as above; a tab between).
//!
//! Numbers are little-endian base-128 (7 bits per byte, high bit: more follow).

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, write::ZlibEncoder};

use crate::dict::Dict;

/// First line of the file.
pub const MAGIC: &[u8] = b"pipeline wordnet 1\n";

/// The bytes of the compact file.
pub fn write(dict: &Dict) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    number(&mut raw, dict.synsets.len());
    raw.extend(dict.synsets.iter().map(|s| s.lexicographer_file));
    for synset in &dict.synsets {
        number(&mut raw, synset.hypernyms.len());
        for &hypernym in &synset.hypernyms {
            number(&mut raw, hypernym);
        }
    }

    number(&mut raw, dict.words.len());
    let mut before = "";
    for word in dict.words.keys() {
        let shared = before.bytes().zip(word.bytes()).take_while(|(a, b)| a == b).count();
        number(&mut raw, shared);
        number(&mut raw, word.len() - shared);
        raw.extend(&word.as_bytes()[shared..]);
        before = word;
    }
    for word in dict.words.values() {
        raw.push(word.tagged.iter().enumerate().map(|(i, t)| u8::from(t.is_some()) << i).sum());
        for count in word.tagged.into_iter().flatten() {
            number(&mut raw, count as usize);
        }
    }
    for word in dict.words.values().filter(|w| !w.senses.is_empty()) {
        number(&mut raw, word.senses.len());
        for &(synset, count) in &word.senses {
            number(&mut raw, synset);
            number(&mut raw, count as usize);
        }
    }

    let irregular: String =
        dict.irregular.iter().map(|(form, part, lemma)| format!("{part}\t{form}\t{lemma}\n")).collect();
    number(&mut raw, irregular.len());
    raw.extend(irregular.as_bytes());

    let mut zlib = ZlibEncoder::new(MAGIC.to_vec(), Compression::best());
    zlib.write_all(&raw)?;
    Ok(zlib.finish()?)
}

fn number(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_seven_bits_a_byte() {
        let mut out = Vec::new();
        for value in [0, 127, 128, 300] {
            number(&mut out, value);
        }
        assert_eq!(out, [0, 127, 0x80, 1, 0xAC, 2]);
    }
}
