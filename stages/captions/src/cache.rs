//! Captions come again every epoch: what was read in them is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::tagger::{Analysis, analyse};
use crate::wordnet::WordNet;

/// Reads captions, keeping the results of the last ones.
#[derive(Debug)]
pub struct Analyser {
    wordnet: &'static WordNet,
    capacity: usize,
    kept: Mutex<HashMap<Box<str>, Arc<Analysis>>>,
}

impl Analyser {
    /// Keeps the results of up to `capacity` distinct captions (about 2 KB each).
    pub fn new(wordnet: &'static WordNet, capacity: usize) -> Self {
        Self { wordnet, capacity, kept: Mutex::default() }
    }

    /// What is known of the caption.
    pub fn analyse(&self, caption: &str) -> Arc<Analysis> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().get(caption) {
            return found.clone();
        }
        let analysis = Arc::new(analyse(self.wordnet, caption));
        let mut kept = kept();
        // Starting over is as good as any order of leaving: an epoch reads each
        // caption about once.
        if kept.len() >= self.capacity {
            kept.clear();
        }
        kept.insert(caption.into(), analysis.clone());
        analysis
    }
}
