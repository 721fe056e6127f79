//! What stages give and need beside their items, so that `check` can compare before anything is built.

use std::borrow::Cow;
use std::fmt;

/// Something that one stage gives and another needs, in words: "the text `true 1` of each image".
/// Two facts are the same when their words are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fact(Cow<'static, str>);

impl Fact {
    /// A fact that is known while the program is compiled.
    pub const fn named(words: &'static str) -> Self {
        Self(Cow::Borrowed(words))
    }

    /// A fact in these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(Cow::Owned(words.into()))
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a stage cannot do without.
#[derive(Debug, Clone)]
pub struct Need {
    /// Who needs it: "the loss `contrast`".
    pub by: String,
    /// All of these must be given.
    pub facts: Vec<Fact>,
    /// The facts in words, for one message: "pairs of a true and a false caption".
    pub what: String,
    /// What to change where they are not given.
    pub help: String,
}
