//! Captions come again in every epoch: what was read in them is remembered.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::tagger::{Analysis, analyse};
use crate::wordnet::WordNet;

/// Reads captions, and remembers the results of the last ones.
#[derive(Debug)]
pub struct Analyser {
    wordnet: &'static WordNet,
    capacity: usize,
    known: Mutex<HashMap<Box<str>, Arc<Analysis>>>,
}

impl Analyser {
    /// Remembers the results of up to `capacity` distinct captions (about 2 KB each).
    pub fn new(wordnet: &'static WordNet, capacity: usize) -> Self {
        Self { wordnet, capacity, known: Mutex::default() }
    }

    /// What is known of the caption.
    pub fn analyse(&self, caption: &str) -> Arc<Analysis> {
        if let Some(found) = self.known.lock().get(caption) {
            return found.clone();
        }
        let analysis = Arc::new(analyse(self.wordnet, caption));
        let mut known = self.known.lock();
        // An epoch reads each caption about once, so that no rule for what to forget is better than
        // to forget everything.
        if known.len() >= self.capacity {
            known.clear();
        }
        known.insert(caption.into(), analysis.clone());
        analysis
    }
}
