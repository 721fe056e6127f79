//! Things that an image shows, as far as its captions say.

use std::sync::Arc;

use pipeline_engine::rng::{ChaCha8Rng, below};

use crate::tagger::{Analysis, Noun};

/// The things that the captions of an image name.
pub struct Present<'a> {
    /// By the drawn caption.
    own: Vec<&'a Noun>,
    /// By the other captions alone.
    beyond: Vec<&'a Noun>,
}

impl<'a> Present<'a> {
    /// Those that the drawn caption names, and those that the other captions of its image name.
    pub fn of(drawn: &'a Analysis, others: &'a [Arc<Analysis>]) -> Self {
        let beyond = others.iter().flat_map(|caption| caption.things()).filter(|noun| !drawn.says(&noun.lemma, false));
        Self { own: drawn.things().collect(), beyond: beyond.collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.beyond.is_empty()
    }

    /// A random thing in the image. "A dog runs, with a dog" would say a thing twice: beside the
    /// caption, it is rather one that only another caption names.
    pub fn draw(&self, beside_caption: bool, rng: &mut ChaCha8Rng) -> Option<&'a Noun> {
        let beyond = beside_caption && !self.beyond.is_empty() || self.own.is_empty();
        let things = if beyond { &self.beyond } else { &self.own };
        (!things.is_empty()).then(|| things[below(rng, things.len())])
    }

    /// A random thing in the image other than `present`.
    pub fn draw_other(&self, present: &Noun, rng: &mut ChaCha8Rng) -> Option<&'a Noun> {
        let others: Vec<&Noun> =
            self.own.iter().chain(&self.beyond).copied().filter(|n| n.lemma != present.lemma).collect();
        (!others.is_empty()).then(|| others[below(rng, others.len())])
    }
}
