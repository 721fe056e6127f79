//! The drawn captions of a batch, read when they are first needed.

use std::cell::OnceCell;
use std::sync::Arc;

use items::Paired;

use crate::cache::Analyser;
use crate::tagger::{Analysis, Noun};

/// T_i of each item: the caption that was drawn for it. A writer that asks for none costs nothing.
pub struct Drawn<'a> {
    analyser: &'a Analyser,
    paired: &'a Paired,
    captions: OnceCell<Vec<Arc<Analysis>>>,
}

impl<'a> Drawn<'a> {
    /// The drawn captions of this batch.
    pub fn new(analyser: &'a Analyser, paired: &'a Paired) -> Self {
        Self { analyser, paired, captions: OnceCell::new() }
    }

    /// What is known of the drawn caption of each item.
    pub fn captions(&self) -> &[Arc<Analysis>] {
        let items = self.paired.batch.items.iter();
        self.captions.get_or_init(|| items.map(|item| self.analyser.analyse(item.caption())).collect())
    }

    /// The things that the drawn captions name, in their order and with repetitions.
    pub fn things(&self) -> impl Iterator<Item = &Noun> {
        self.captions().iter().flat_map(|caption| caption.things())
    }
}
