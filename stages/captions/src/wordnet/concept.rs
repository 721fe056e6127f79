//! What a noun means, and how two nouns relate.

use std::cmp::Ordering;

/// The usual senses of a noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concept {
    /// Lexicographer file of the most frequent sense, see [`kind`](super::kind).
    pub kind: u8,
    /// Whether it is a thing that a photo can show, and that can be missing from a photo.
    pub concrete: bool,
    /// Synsets of the usual senses and all their hypernyms, sorted, with the number of edges up to
    /// each.
    pub(super) above: Vec<(u32, u8)>,
}

/// How one noun relates to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They share a sense.
    Synonym,
    /// The first is more general, directly or through others.
    Hypernym,
    /// The first is more special.
    Hyponym,
    /// Neither; the number of edges of the shortest path through a common hypernym.
    Apart(u32),
}

impl Concept {
    /// How this noun relates to `other`. Nouns without a common hypernym are `Apart(u32::MAX)`.
    pub fn relation(&self, other: &Self) -> Relation {
        let (mut i, mut j) = (0, 0);
        let mut edges = u32::MAX;
        let (mut hypernym, mut hyponym) = (false, false);
        while let (Some(a), Some(b)) = (self.above.get(i), other.above.get(j)) {
            match a.0.cmp(&b.0) {
                Ordering::Less => i += 1,
                Ordering::Greater => j += 1,
                Ordering::Equal => {
                    if a.1 == 0 && b.1 == 0 {
                        return Relation::Synonym;
                    }
                    hypernym |= a.1 == 0;
                    hyponym |= b.1 == 0;
                    edges = edges.min(u32::from(a.1) + u32::from(b.1));
                    i += 1;
                    j += 1;
                }
            }
        }
        match (hypernym, hyponym) {
            (true, _) => Relation::Hypernym,
            (_, true) => Relation::Hyponym,
            _ => Relation::Apart(edges),
        }
    }
}
