//! What words of a caption imply without saying it: "a surfer" comes with a surfboard, "a crowd" with
//! people.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The table, one `word ...: thing ...` per line.
static TABLE: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
    let mut table: HashMap<&str, Vec<&str>> = HashMap::new();
    for (words, things) in lines() {
        for word in words.split_whitespace() {
            table.entry(word).or_default().extend(things.split_whitespace());
        }
    }
    table
});

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("../data/implied.txt").lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(':'))
}

/// The lemmas of the things that `word` (a lemma or a form, in lower case) implies.
pub fn implied_by(word: &str) -> &'static [&'static str] {
    TABLE.get(word).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wordnet::WordNet;

    #[test]
    fn every_line_is_read_and_every_thing_is_a_noun() {
        let text = include_str!("../data/implied.txt").lines();
        assert_eq!(lines().count(), text.filter(|l| !l.starts_with('#') && !l.is_empty()).count());
        for (_, things) in lines() {
            for thing in things.split_whitespace() {
                assert!(WordNet::embedded().unwrap().concept(thing).is_some(), "{thing}");
            }
        }
        assert_eq!(implied_by("crowd"), ["person"]);
        assert!(implied_by("dog").is_empty());
    }
}
