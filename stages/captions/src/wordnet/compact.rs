//! Reads the compact WordNet file that `tools/wordnet` makes; that tool documents the layout.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;

use super::{Part, Ranges, WordNet};

pub(super) const MAGIC: &[u8] = b"pipeline wordnet 1\n";
/// Far above what WordNet 3.x unpacks to (4 MB): a limit for damaged files.
const MOST_BYTES: u64 = 64 << 20;

/// Why compact WordNet data cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WordNetError {
    /// The file begins with another line.
    #[error("WordNet data: not a compact WordNet file of version 1; make it with `wordnet-compact DICT OUT`")]
    NotWordNet,
    /// The compressed stream is damaged.
    #[error("WordNet data: cannot be unpacked; make it again with `wordnet-compact DICT OUT`")]
    Unpack,
    /// A section ends early or points outside of the file.
    #[error("WordNet data: damaged at {0}; make it again with `wordnet-compact DICT OUT`")]
    Damaged(&'static str),
}

impl WordNet {
    /// Unpacks a compact file and checks every length and index in it.
    ///
    /// # Errors
    /// A file of another kind, or a damaged one.
    pub fn parse(file: &[u8]) -> Result<Self, WordNetError> {
        let stream = file.strip_prefix(MAGIC).ok_or(WordNetError::NotWordNet)?;
        let mut bytes = Vec::new();
        ZlibDecoder::new(stream).take(MOST_BYTES).read_to_end(&mut bytes).map_err(|_| WordNetError::Unpack)?;
        let mut cursor = Cursor { bytes: &bytes, section: "synsets" };

        let synsets = cursor.length()?;
        let kinds = cursor.take(synsets)?.to_vec();
        let (hypernyms, hypernym_of) = cursor.hypernyms(synsets)?;
        cursor.section = "words";
        let count = cursor.length()?;
        let (text, words) = cursor.words(count)?;
        cursor.section = "parts of speech";
        let (parts, tagged) = cursor.parts_of_speech(count)?;
        cursor.section = "senses";
        let (senses, sense_of) = cursor.senses(&parts, synsets)?;
        cursor.section = "irregular forms";
        let irregular = cursor.irregular()?;
        if !cursor.bytes.is_empty() {
            return Err(cursor.damaged());
        }
        let mut wordnet = Self {
            kinds,
            hypernyms,
            hypernym_of,
            text,
            words,
            body_part: None,
            parts,
            tagged,
            senses,
            sense_of,
            irregular,
            meant: &[],
        };
        wordnet.body_part = wordnet.find("body part").and_then(|word| {
            let senses = wordnet.senses.get(word);
            wordnet.sense_of[senses].first().map(|sense| sense.0)
        });
        Ok(wordnet)
    }
}

/// Reads the unpacked bytes from front to back.
struct Cursor<'a> {
    bytes: &'a [u8],
    /// What is being read, for errors.
    section: &'static str,
}

impl<'a> Cursor<'a> {
    /// The hypernyms of each synset.
    fn hypernyms(&mut self, synsets: usize) -> Result<(Ranges, Vec<u32>), WordNetError> {
        let (mut ranges, mut hypernym_of) = (Ranges::default(), Vec::new());
        for _ in 0..synsets {
            for _ in 0..self.length()? {
                hypernym_of.push(self.below(synsets)?);
            }
            ranges.0.push(hypernym_of.len() as u32);
        }
        Ok((ranges, hypernym_of))
    }

    /// All words end to end. Each is stored as the length of what it shares with the one before it,
    /// and the rest.
    fn words(&mut self, count: usize) -> Result<(String, Ranges), WordNetError> {
        let (mut text, mut words) = (Vec::new(), Ranges::default());
        let mut before = 0..0;
        for word in 0..count {
            let shared = self.below(before.len() + 1)? as usize;
            let added = self.length()?;
            let start = text.len();
            text.extend_from_within(before.start..before.start + shared);
            text.extend_from_slice(self.take(added)?);
            // Words are found by binary search.
            let sorted = word == 0 || text[before] < text[start..];
            if !sorted || text.len() as u64 > MOST_BYTES {
                return Err(self.damaged());
            }
            before = start..text.len();
            words.0.push(text.len() as u32);
        }
        let text = String::from_utf8(text).map_err(|_| self.damaged())?;
        if words.0.iter().any(|&end| !text.is_char_boundary(end as usize)) {
            return Err(self.damaged());
        }
        Ok((text, words))
    }

    /// Per word, a bit per part of speech, and how often each is tagged.
    #[allow(clippy::type_complexity)]
    fn parts_of_speech(&mut self, words: usize) -> Result<(Vec<u8>, Vec<[u32; 4]>), WordNetError> {
        let (mut parts, mut tagged) = (Vec::with_capacity(words), Vec::with_capacity(words));
        for _ in 0..words {
            let bits = self.below(16)? as u8;
            let mut counts = [0; 4];
            for (part, count) in counts.iter_mut().enumerate() {
                if bits & (1 << part) != 0 {
                    *count = self.number()?;
                }
            }
            parts.push(bits);
            tagged.push(counts);
        }
        Ok((parts, tagged))
    }

    /// Per word, its senses as a noun: synset and tag count.
    #[allow(clippy::type_complexity)]
    fn senses(&mut self, parts: &[u8], synsets: usize) -> Result<(Ranges, Vec<(u32, u32)>), WordNetError> {
        let (mut senses, mut sense_of) = (Ranges::default(), Vec::new());
        for bits in parts {
            if bits & 1 != 0 {
                for _ in 0..self.length()? {
                    sense_of.push((self.below(synsets)?, self.number()?));
                }
            }
            senses.0.push(sense_of.len() as u32);
        }
        Ok((senses, sense_of))
    }

    /// Irregular forms and their lemmas, one per line: part of speech, form, lemma.
    fn irregular(&mut self) -> Result<HashMap<(Part, String), Vec<String>>, WordNetError> {
        let length = self.length()?;
        let lines = std::str::from_utf8(self.take(length)?).map_err(|_| self.damaged())?;
        let mut irregular: HashMap<_, Vec<_>> = HashMap::new();
        for line in lines.lines() {
            let mut fields = line.split('\t');
            let (Some(part), Some(form), Some(lemma)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(self.damaged());
            };
            let part = part.parse().ok().and_then(|p: usize| Part::ALL.get(p)).ok_or(self.damaged())?;
            irregular.entry((*part, form.to_owned())).or_default().push(lemma.to_owned());
        }
        Ok(irregular)
    }

    fn damaged(&self) -> WordNetError {
        WordNetError::Damaged(self.section)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WordNetError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(WordNetError::Damaged(self.section))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Seven bits per byte, the lowest first.
    fn number(&mut self) -> Result<u32, WordNetError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    /// A number of things, each of which takes at least one byte.
    fn length(&mut self) -> Result<usize, WordNetError> {
        self.below(self.bytes.len() + 1).map(|n| n as usize)
    }

    fn below(&mut self, end: usize) -> Result<u32, WordNetError> {
        let number = self.number()?;
        if (number as usize) < end { Ok(number) } else { Err(self.damaged()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn damaged_data_is_refused() {
        let file = include_bytes!("../../data/wordnet.bin");
        assert_eq!(WordNet::parse(b"dog").err(), Some(WordNetError::NotWordNet));
        assert_eq!(WordNet::parse(&file[..file.len() / 2]).err(), Some(WordNetError::Unpack));
        let unpacked = |bytes: &[u8]| {
            let mut file = flate2::write::ZlibEncoder::new(MAGIC.to_vec(), flate2::Compression::fast());
            std::io::Write::write_all(&mut file, bytes).unwrap();
            WordNet::parse(&file.finish().unwrap()).err()
        };
        assert_eq!(unpacked(&[]), Some(WordNetError::Damaged("synsets")));
        assert_eq!(unpacked(&[1, 5, 1, 9]), Some(WordNetError::Damaged("synsets")));
        assert_eq!(unpacked(&[1, 5, 0, 1, 3, 0]), Some(WordNetError::Damaged("words")));
        assert_eq!(unpacked(&[1, 5, 0, 0, 0]), None);
        // "b" and then "a", the same word twice, and the empty word twice: not sorted.
        assert_eq!(unpacked(&[0, 2, 0, 1, b'b', 0, 1, b'a', 0, 0, 0]), Some(WordNetError::Damaged("words")));
        assert_eq!(unpacked(&[0, 2, 0, 1, b'b', 1, 0, 0, 0, 0]), Some(WordNetError::Damaged("words")));
        assert_eq!(unpacked(&[0, 2, 0, 0, 0, 0, 0, 0, 0]), Some(WordNetError::Damaged("words")));
        assert_eq!(unpacked(&[0, 2, 0, 1, b'a', 0, 1, b'b', 0, 0, 0]), None);
    }

    #[test]
    fn every_word_is_found() {
        let wordnet = WordNet::parse(include_bytes!("../../data/wordnet.bin")).unwrap();
        let words = wordnet.words.0.len();
        assert!(words > 100_000);
        for word in 0..words {
            let text = &wordnet.text[wordnet.words.get(word)];
            assert_eq!(wordnet.find(text), Some(word), "{text}");
            assert_eq!(wordnet.find(&format!("{text}\u{1}")), None);
        }
        assert_eq!(wordnet.find(""), None);
    }
}
