//! The wordings of questions and queries; training uses none of them.

use pipeline_engine::choice;

use crate::thing::{Thing, capitalised};

choice! {
    /// A list of wordings. Both lists say the same things, line by line as many of each kind.
    pub enum Wordings {
        /// Close to NegBench's own sentences.
        First = "first",
        /// Sentences that are built in another way.
        Second = "second",
    }
}

impl Wordings {
    /// Both.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// The list of this name, if there is one.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wordings| wordings.word() == word)
    }

    fn questions(self) -> &'static str {
        match self {
            Self::First => include_str!("../templates/questions.txt"),
            Self::Second => include_str!("../templates/questions-second.txt"),
        }
    }

    /// Templates of a negated query.
    pub fn queries(self) -> Vec<&'static str> {
        let text = match self {
            Self::First => include_str!("../templates/queries.txt"),
            Self::Second => include_str!("../templates/queries-second.txt"),
        };
        lines(text).collect()
    }
}

/// What a statement does (NegBench, arXiv 2501.09425, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It says what is there.
    Positive,
    /// It says what is not.
    Negative,
    /// Both.
    Hybrid,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Positive, Self::Negative, Self::Hybrid];

    /// NegBench's word, as in the column `correct_answer_template`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Hybrid => "hybrid",
        }
    }

    /// Its templates in a list of wordings.
    pub fn templates(self, wordings: Wordings) -> Vec<&'static str> {
        lines(wordings.questions()).filter_map(|line| line.strip_prefix(self.word())?.strip_prefix(": ")).collect()
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What fills a template.
#[derive(Clone, Copy, Default)]
pub struct Filling<'a> {
    /// `{caption}`
    pub caption: &'a str,
    /// `{A}`
    pub a: Option<&'a Thing>,
    /// `{B}`
    pub b: Option<&'a Thing>,
    /// `{N}` and `{n}`
    pub n: Option<&'a Thing>,
}

/// Fills a template; each of its sentences begins with a capital.
pub fn fill(template: &str, filling: Filling<'_>) -> String {
    template.split(". ").map(|sentence| fill_sentence(sentence, filling)).collect::<Vec<_>>().join(". ")
}

fn fill_sentence(sentence: &str, filling: Filling<'_>) -> String {
    let mut text = sentence.to_owned();
    for (name, thing) in [("A", filling.a), ("B", filling.b), ("N", filling.n)] {
        let Some(thing) = thing else { continue };
        let small = name.to_lowercase();
        text = text
            .replace(&format!("{{{name}}}"), &thing.with_article())
            .replace(&format!("{{{small}}}"), &thing.name)
            .replace(&format!("{{is {name}}}"), thing.is())
            .replace(&format!("{{is {small}}}"), thing.is());
    }
    // Last, so that a caption with braces stays as it is.
    let caption = filling.caption.trim().trim_end_matches(['.', '!', ' ']);
    capitalised(&text.replace("{caption}", &capitalised(caption)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use stage_captions::templates::expanded;
    use stage_captions::wordnet::WordNet;

    #[test]
    fn every_place_is_filled() {
        let wordnet = WordNet::embedded().unwrap();
        let [dog, owl, skis] = ["dog", "owl", "skis"].map(|name| Thing::new(wordnet, name));
        let filling = Filling { caption: "a boy runs .", a: Some(&dog), b: Some(&owl), n: Some(&skis) };
        for template in every_template() {
            let text = fill(template, filling);
            assert!(!text.contains(['{', '}']) && text.starts_with(char::is_uppercase), "{text}");
        }
        assert_eq!(fill("There {is n} no {n}. {caption}.", filling), "There are no skis. A boy runs.");
        assert_eq!(fill("{A} {is A} here", filling), "A dog is here");
        assert_eq!(fill("{A} {is A} here. {N} {is n}n't", filling), "A dog is here. Skis aren't");
    }

    /// The templates of both lists, of questions and of queries.
    fn every_template() -> Vec<&'static str> {
        let of = |wordings: Wordings| {
            Kind::ALL.into_iter().flat_map(move |kind| kind.templates(wordings)).chain(wordings.queries())
        };
        Wordings::ALL.into_iter().flat_map(of).collect()
    }

    /// The words that carry a template: without places, articles and the like.
    fn carrier(template: &str) -> Vec<String> {
        const WEAK: &[&str] = &["a", "an", "the", "this", "that", "it", "is", "are", "in", "of", "and"];
        let mut words = String::new();
        let mut inside = false;
        for letter in template.to_lowercase().chars() {
            match letter {
                '{' => inside = true,
                '}' => inside = false,
                _ if inside => {}
                '\'' => words.push(letter),
                letter if letter.is_alphanumeric() => words.push(letter),
                _ => words.push(' '),
            }
        }
        words.split_whitespace().filter(|word| !WEAK.contains(word)).map(str::to_owned).collect()
    }

    #[test]
    fn training_uses_none_of_these_wordings() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../stages/captions/templates");
        let mut trained: BTreeSet<Vec<String>> = BTreeSet::new();
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            files += 1;
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            let wordings = lines.flat_map(|line| expanded(line).unwrap());
            trained.extend(wordings.flat_map(|line| line.split('|').map(carrier).collect::<Vec<_>>()));
        }
        assert!(files >= 3 && trained.len() > 100, "{files} files, {} wordings", trained.len());
        for template in every_template() {
            assert!(!trained.contains(&carrier(template)), "training uses this wording too: {template}");
        }
    }

    #[test]
    fn kinds_have_equally_many_wordings_and_all_differ() {
        let all = every_template();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        for kind in Kind::ALL {
            let all: Vec<&str> = Wordings::ALL.into_iter().flat_map(|wordings| kind.templates(wordings)).collect();
            let carriers: BTreeSet<Vec<String>> = all.iter().map(|template| carrier(template)).collect();
            assert_eq!(carriers.len(), all.len(), "{kind:?} has a wording twice: {carriers:?}");
        }
        for wordings in Wordings::ALL {
            assert!(Kind::ALL.iter().all(|kind| kind.templates(wordings).len() == 6), "{wordings:?}");
            assert_eq!(wordings.queries().len(), 6, "{wordings:?}");
            assert_eq!(Wordings::of(wordings.word()), Some(wordings));
        }
    }

    /// A baseline that misreads the sentences would be no rival.
    #[test]
    fn rules_find_what_the_sentences_affirm_and_deny() {
        use benchmarks::negation::parts;
        let wordnet = WordNet::embedded().unwrap();
        let [dog, owl, lamp] = ["dog", "owl", "lamp"].map(|name| Thing::new(wordnet, name));
        let filling = Filling { caption: "a boy runs", a: Some(&dog), b: Some(&owl), n: Some(&lamp) };
        for template in every_template() {
            let text = fill(template, filling);
            let parts = parts(&text);
            assert_eq!(parts.denied.contains("lamp"), template.contains("n}") || template.contains("{N}"), "{text}");
            assert!(!parts.affirmed.contains("lamp") && !parts.denied.contains("dog"), "{text}");
            assert_eq!(parts.affirmed.contains("dog"), template.contains("{A}"), "{text}");
            assert_eq!(parts.affirmed.contains("boy runs"), template.contains("{caption}"), "{text}");
            let pure = !template.contains("{A}") && !template.contains("{caption}");
            assert_eq!(parts.affirmed.is_empty(), pure, "{text}");
        }
    }
}
