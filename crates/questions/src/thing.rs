//! Things that photos show, with the English that their names need.

use stage_captions::usage;
use stage_captions::wordnet::{Concept, Part, WordNet};

/// Decides whether a name takes "a", and which verb follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Singular,
    Plural,
    Mass,
}

/// A thing that a photo may show.
#[derive(Clone, Debug)]
pub struct Thing {
    /// Its name in lower case, in the singular if it has one: "tennis ball".
    pub name: String,
    /// What it is in WordNet; none for a name that WordNet does not have.
    pub concept: Option<Concept>,
    number: Number,
}

impl Thing {
    /// The thing of this name.
    pub fn new(wordnet: &WordNet, name: &str) -> Self {
        let name = name.trim().to_lowercase().replace('_', " ");
        let concept = wordnet.concept(&name).or_else(|| {
            let lemma = wordnet.lemmas(&name, Part::Noun).into_iter().next()?;
            wordnet.concept(&lemma)
        });
        let plural = usage::is_plural_lemma(&name)
            || (name.ends_with('s') && !name.ends_with("ss") && wordnet.tagged(&name, Part::Noun).is_none())
                && !wordnet.lemmas(&name, Part::Noun).is_empty();
        let number = match &concept {
            _ if plural => Number::Plural,
            Some(concept) if usage::is_mass(&name, concept.kind) => Number::Mass,
            _ => Number::Singular,
        };
        Self { name, concept, number }
    }

    /// "a dog", "scissors", "water".
    pub fn with_article(&self) -> String {
        match self.number {
            Number::Singular => format!("{} {}", article(&self.name), self.name),
            Number::Plural | Number::Mass => self.name.clone(),
        }
    }

    /// "is" or "are".
    pub fn is(&self) -> &'static str {
        if self.number == Number::Plural { "are" } else { "is" }
    }
}

/// "a" or "an", by the sound that the spelling most likely has.
fn article(word: &str) -> &'static str {
    let consonant = ["uni", "use", "one", "eu", "ukulele", "utensil"].iter().any(|start| word.starts_with(start));
    let silent = ["hour", "heir", "honest"].iter().any(|start| word.starts_with(start));
    if silent || word.starts_with(['a', 'e', 'i', 'o', 'u']) && !consonant { "an" } else { "a" }
}

/// With a capital first letter.
pub fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_take_the_right_article_and_verb() {
        let wordnet = WordNet::embedded().unwrap();
        let said = |name| {
            let thing = Thing::new(wordnet, name);
            format!("{} {}", thing.with_article(), thing.is())
        };
        assert_eq!(said("dog"), "a dog is");
        assert_eq!(said("Umbrella"), "an umbrella is");
        assert_eq!(said("unicycle"), "a unicycle is");
        assert_eq!(said("scissors"), "scissors are");
        assert_eq!(said("skis"), "skis are");
        assert_eq!(said("bus"), "a bus is");
        assert_eq!(said("sand"), "sand is");
        assert_eq!(said("hot dog"), "a hot dog is");
        assert_eq!(capitalised("a dog"), "A dog");
    }
}
