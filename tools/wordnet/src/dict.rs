//! Reading WordNet's text files (formats: wndb(5WN), senseidx(5WN)).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

/// Parts of speech in the order in which they are stored.
pub const PARTS: [&str; 4] = ["noun", "verb", "adj", "adv"];

/// A noun synset: a set of words with one meaning.
pub struct Synset {
    /// Number of the lexicographer file, 3 (noun.Tops) to 28 (noun.time).
    pub lexicographer_file: u8,
    /// Indices of the direct hypernyms in [`Dict::synsets`].
    pub hypernyms: Vec<usize>,
}

/// The entry of one word (or, for nouns, of a term of several words).
#[derive(Default)]
pub struct Word {
    /// For each part of speech in [`PARTS`], the number of times that the semantic
    /// concordance tags the word as one; `None` if WordNet does not know it as one.
    pub tagged: [Option<u32>; 4],
    /// Noun senses, most frequent first: synset and tag count.
    pub senses: Vec<(usize, u32)>,
}

/// The part of WordNet that is used, in an order that depends only on its text.
pub struct Dict {
    /// Noun synsets in file order.
    pub synsets: Vec<Synset>,
    /// Words, lower case, parts joined by a space.
    pub words: BTreeMap<String, Word>,
    /// (inflected form, part of speech, lemma).
    pub irregular: BTreeSet<(String, usize, String)>,
}

impl Dict {
    /// Reads the files of `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        let text = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .with_context(|| format!("{}: cannot read; give WordNet's dict folder", path.display()))
        };
        let (synsets, by_offset) = read_synsets(&text("data.noun")?)?;
        let counts = if folder.join("cntlist.rev").is_file() {
            read_counts(&text("cntlist.rev")?, 1).context("cntlist.rev")?
        } else {
            read_counts(&text("index.sense")?, 2).context("index.sense")?
        };
        let mut words = BTreeMap::new();
        let mut irregular = BTreeSet::new();
        for (part, name) in PARTS.into_iter().enumerate() {
            let file = format!("index.{name}");
            read_index(&text(&file)?, part, &by_offset, &counts, &mut words).context(file)?;
            let file = format!("{name}.exc");
            for line in text(&file)?.lines() {
                let mut fields = line.split_whitespace();
                let Some(form) = fields.next() else { continue };
                irregular.extend(fields.map(|lemma| (plain(form), part, plain(lemma))));
            }
        }
        irregular.retain(|(form, part, lemma)| {
            form != lemma && !form.contains(' ') && words.get(lemma).is_some_and(|w| w.tagged[*part].is_some())
        });
        Ok(Self { synsets, words, irregular })
    }
}

fn plain(lemma: &str) -> String {
    lemma.replace('_', " ").to_lowercase()
}

/// The lines after the licence, which is indented by two spaces.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.starts_with("  ") && !l.is_empty())
}

/// Noun synsets without instances, and their index by file offset.
fn read_synsets(text: &str) -> Result<(Vec<Synset>, HashMap<u32, usize>)> {
    let mut raw = Vec::new();
    for (number, line) in entries(text) {
        let entry = parse_synset(line).ok_or_else(|| anyhow!("data.noun: line {number} is not a synset"))?;
        raw.extend(entry);
    }
    let by_offset: HashMap<u32, usize> = raw.iter().enumerate().map(|(i, (offset, ..))| (*offset, i)).collect();
    // A few synsets are below an instance; that edge is dropped with the instance.
    let index = |offsets: Vec<u32>| offsets.iter().filter_map(|o| by_offset.get(o).copied()).collect();
    let synsets = raw
        .into_iter()
        .map(|(_, lexicographer_file, hypernyms)| Synset { lexicographer_file, hypernyms: index(hypernyms) })
        .collect();
    Ok((synsets, by_offset))
}

/// `offset file type words (word id)* pointers (symbol offset part st)* | gloss`;
/// `Some(None)` for an instance, `None` for a line that is not a synset.
#[allow(clippy::type_complexity)]
fn parse_synset(line: &str) -> Option<Option<(u32, u8, Vec<u32>)>> {
    let mut fields = line.split(' ');
    let offset = fields.next()?.parse().ok()?;
    let file = fields.next()?.parse().ok()?;
    let words = usize::from_str_radix(fields.nth(1)?, 16).ok()?;
    let pointers: usize = fields.nth(2 * words)?.parse().ok()?;
    let mut hypernyms = Vec::new();
    for _ in 0..pointers {
        let symbol = fields.next()?;
        let target = fields.next()?.parse().ok()?;
        fields.nth(1)?;
        match symbol {
            "@" => hypernyms.push(target),
            "@i" => return Some(None),
            _ => {}
        }
    }
    Some(Some((offset, file, hypernyms)))
}

/// Tag counts by (word, part of speech, sense number); the sense number is in field
/// `number_field`, the count follows it.
fn read_counts(text: &str, number_field: usize) -> Result<HashMap<(String, usize, usize), u32>> {
    let mut counts = HashMap::new();
    for (line_number, line) in entries(text) {
        let parsed = (|| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (lemma, key) = fields.first()?.split_once('%')?;
            let part = match key.as_bytes().first()? {
                b'1' => 0,
                b'2' => 1,
                b'3' | b'5' => 2,
                b'4' => 3,
                _ => return None,
            };
            let sense = fields.get(number_field)?.parse().ok()?;
            Some(((plain(lemma), part, sense), fields.get(number_field + 1)?.parse::<u32>().ok()?))
        })();
        let (key, count) = parsed.ok_or_else(|| anyhow!("line {line_number} is not a sense"))?;
        *counts.entry(key).or_default() += count;
    }
    Ok(counts)
}

/// `lemma part synsets pointers symbol* senses tagged offset*`.
fn read_index(
    text: &str,
    part: usize,
    by_offset: &HashMap<u32, usize>,
    counts: &HashMap<(String, usize, usize), u32>,
    words: &mut BTreeMap<String, Word>,
) -> Result<()> {
    for (number, line) in entries(text) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let field = |i: usize| fields.get(i).copied().ok_or_else(|| anyhow!("line {number} is too short"));
        let lemma = plain(field(0)?);
        let synsets: usize = field(2)?.parse().with_context(|| format!("line {number}"))?;
        if part != 0 && lemma.contains(' ') {
            continue;
        }
        let Some(first) = fields.len().checked_sub(synsets) else { bail!("line {number} is too short") };
        let count = |sense: usize| counts.get(&(lemma.clone(), part, sense)).copied().unwrap_or(0);
        if part == 0 {
            let mut senses = Vec::new();
            for (i, offset) in fields[first..].iter().enumerate() {
                let offset: u32 = offset.parse().with_context(|| format!("line {number}"))?;
                senses.extend(by_offset.get(&offset).map(|s| (*s, count(i + 1))));
            }
            if senses.is_empty() {
                continue;
            }
            let word = words.entry(lemma.clone()).or_default();
            word.tagged[0] = Some(senses.iter().map(|s| s.1).sum());
            word.senses = senses;
        } else {
            let total = (1..=synsets).map(count).sum();
            words.entry(lemma.clone()).or_default().tagged[part] = Some(total);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_synset_line_gives_file_and_hypernyms() {
        let line = "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 003 @ 02083346 n 0000 @ 01317541 n 0000 ~ 01322604 n 0000 | a member";
        assert_eq!(parse_synset(line), Some(Some((2084071, 5, vec![2083346, 1317541]))));
    }

    #[test]
    fn instances_are_left_out() {
        let line = "09342937 17 n 01 Mont_Blanc 0 001 @i 09359803 n 0000 | the highest";
        assert_eq!(parse_synset(line), Some(None));
        assert_eq!(parse_synset("not a synset"), None);
    }

    #[test]
    fn counts_are_read_by_sense() {
        let counts = read_counts("white%3:00:01:: 1 61\nwhite%5:00:02:: 2 15\n", 1).unwrap();
        assert_eq!(counts[&("white".into(), 2, 1)], 61);
        assert_eq!(counts[&("white".into(), 2, 2)], 15);
        assert!(read_counts("white 1 61", 1).is_err());
    }
}
