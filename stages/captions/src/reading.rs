//! What is known of a batch: what writers work from.

use std::sync::Arc;

use items::{BatchItem, NO_NEIGHBOUR, Paired};
use pipeline_engine::StageError;
use pipeline_engine::rng::below;
use rand::Rng;

use crate::cache::Analyser;
use crate::drawn::Drawn;
use crate::guard::{Guards, Images, Shown};
use crate::start::StartTower;
use crate::tagger::{Analysis, Noun};

/// Reads the captions of batches, with the guards that judge their nouns.
pub struct Reader {
    analyser: Analyser,
    guards: Guards,
}

impl Reader {
    /// Judges nouns with these guards.
    pub fn new(analyser: Analyser, guards: Guards) -> Self {
        Self { analyser, guards }
    }

    /// Reads a batch. Guards that need the text tower before training ask `start`.
    ///
    /// # Errors
    /// Those of a guard that looks at images.
    pub fn read<'a>(&'a self, paired: &'a Paired, start: Option<&StartTower>) -> Result<Reading<'a>, StageError> {
        let drawn = Drawn::new(&self.analyser, paired);
        let shown = self.guards.look(&Images { paired, drawn: &drawn, start })?;
        Ok(Reading { paired, drawn, shown, reader: self })
    }
}

/// A batch, what its captions name, and what its images show as far as guards can say.
pub struct Reading<'a> {
    paired: &'a Paired,
    drawn: Drawn<'a>,
    shown: Vec<Box<dyn Shown>>,
    reader: &'a Reader,
}

impl Reading<'_> {
    /// The batch and its neighbours.
    pub fn paired(&self) -> &Paired {
        self.paired
    }

    /// The B items of the batch.
    pub fn items(&self) -> &[BatchItem] {
        &self.paired.batch.items
    }

    /// The drawn caption of item `i`, as written.
    pub fn caption(&self, i: usize) -> &str {
        self.items()[i].caption()
    }

    /// What the drawn caption of item `i` names.
    pub fn drawn(&self, i: usize) -> &Analysis {
        &self.drawn.captions()[i]
    }

    /// What the other captions of item `i`'s image name, each by itself.
    pub fn other_captions(&self, i: usize) -> Vec<Arc<Analysis>> {
        let item = &self.items()[i];
        let others = item.captions.iter().enumerate().filter(|(n, _)| *n != item.drawn);
        others.map(|(_, caption)| self.reader.analyser.analyse(caption)).collect()
    }

    /// The other captions of item `i`'s image that count as known: all, or none if the guards do not
    /// ask for them.
    pub fn known_captions(&self, i: usize) -> Vec<Arc<Analysis>> {
        if self.guards().named().other_captions { self.other_captions(i) } else { Vec::new() }
    }

    /// The neighbours of item `i` that show another image, nearest first.
    pub fn neighbours(&self, i: usize) -> impl Iterator<Item = usize> {
        let (items, k) = (self.items(), self.paired.k);
        let row = self.paired.neighbours[i * k..(i + 1) * k].iter();
        row.filter(|j| **j != NO_NEIGHBOUR).map(|j| *j as usize).filter(move |j| items[*j].image != items[i].image)
    }

    /// The items of other images in the order of the batch, from a random one on and round.
    pub fn others<'s>(&'s self, i: usize, rng: &mut impl Rng) -> impl Iterator<Item = usize> + 's {
        let items = self.items();
        let start = below(rng, items.len());
        (0..items.len()).map(move |n| (start + n) % items.len()).filter(move |&j| items[j].image != items[i].image)
    }

    /// The items of other images in random order, shuffled only as far as the caller reads.
    pub fn shuffled_others<R: Rng>(&self, i: usize, rng: &mut R) -> impl Iterator<Item = usize> {
        let items = self.items();
        let mut order: Vec<usize> = (0..items.len()).filter(|j| items[*j].image != items[i].image).collect();
        (0..order.len()).map(move |n| {
            let chosen = n + below(rng, order.len() - n);
            order.swap(n, chosen);
            order[n]
        })
    }

    /// The cosine of the images of two items.
    pub fn cosine(&self, i: usize, j: usize) -> f32 {
        let batch = &self.paired.batch;
        let row = |n: usize| &batch.features[n * batch.dim..(n + 1) * batch.dim];
        row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f32>()
    }

    pub(crate) fn guards(&self) -> &Guards {
        &self.reader.guards
    }

    /// Whether a guard finds that image `i` probably shows this thing.
    pub(crate) fn shows(&self, i: usize, thing: &Noun) -> bool {
        self.shown.iter().any(|shown| shown.shows(i, thing))
    }
}
