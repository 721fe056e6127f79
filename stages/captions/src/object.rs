//! The search for a negation object: a thing of a similar image that this image does not show
//! (TNG-CLIP, arXiv 2505.18434, section 3.1).

use std::sync::Arc;

use pipeline_engine::rng::below;
use rand::Rng;

use crate::counts::{Count, Counts};
use crate::guard::{Apart, Guards};
use crate::reading::Reading;
use crate::tagger::{Analysis, Noun};
use crate::wordnet::Relation;

/// Where an object was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The neighbour of this rank, counted from 0 for the nearest.
    Neighbour(usize),
    /// Any other caption of the batch.
    Batch,
}

/// An object and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The noun, as written there.
    pub noun: Noun,
    /// Position in the batch of the item whose caption has it.
    pub item: usize,
    /// How that item was reached.
    pub origin: Origin,
}

impl Reading<'_> {
    /// The negation object of item `i`: the first of its neighbours, and then of the other captions of
    /// the batch, that names a thing which passes all guards; a random one of its things. `known` are
    /// the other captions of the image that count. Counts where it was found, and why nouns were
    /// turned down.
    pub fn object<R: Rng>(
        &self,
        i: usize,
        known: &[Arc<Analysis>],
        rng: &mut R,
        counts: &mut Counts,
    ) -> Option<Object> {
        let near: Vec<usize> = self.neighbours(i).collect();
        for (rank, &j) in near.iter().enumerate() {
            if let Some(noun) = self.object_of(j, i, known, rng, counts) {
                counts[if rank == 0 { Count::FromNearest } else { Count::FromLater }] += 1;
                return Some(Object { noun, item: j, origin: Origin::Neighbour(rank) });
            }
        }
        for j in self.others(i, rng).filter(|j| !near.contains(j)) {
            if let Some(noun) = self.object_of(j, i, known, rng, counts) {
                counts[Count::FromBatch] += 1;
                return Some(Object { noun, item: j, origin: Origin::Batch });
            }
        }
        counts[Count::NoObject] += 1;
        None
    }

    /// A random noun of item `j`'s caption among those that the image of item `i` does not show.
    fn object_of<R: Rng>(
        &self,
        j: usize,
        i: usize,
        known: &[Arc<Analysis>],
        rng: &mut R,
        counts: &mut Counts,
    ) -> Option<Noun> {
        let mut fit: Vec<&Noun> = Vec::new();
        for noun in &self.drawn(j).nouns {
            match self.admit(noun, i, known) {
                Ok(()) if fit.iter().all(|n| n.lemma != noun.lemma) => fit.push(noun),
                Ok(()) => {}
                Err(reason) => counts[reason] += 1,
            }
        }
        (!fit.is_empty()).then(|| fit[below(rng, fit.len())].clone())
    }

    /// Whether a text may say that image `i` does not show the noun; if not, the reason.
    fn admit(&self, noun: &Noun, i: usize, known: &[Arc<Analysis>]) -> Result<(), Count> {
        if !noun.is_thing() {
            return Err(Count::NotConcrete);
        }
        unnamed(self.guards(), noun, self.drawn(i))?;
        for caption in known {
            unnamed(self.guards(), noun, caption).map_err(|_| Count::KnownCaption)?;
        }
        if self.shows(i, noun) { Err(Count::LooksPresent) } else { Ok(()) }
    }
}

/// Whether a caption does not name the noun; if it does, the reason.
fn unnamed(guards: &Guards, noun: &Noun, caption: &Analysis) -> Result<(), Count> {
    let implied = guards.named().implied;
    if caption.says(&noun.lemma, implied) || caption.says(&noun.text, implied) {
        return Err(Count::SameLemma);
    }
    let Some(concept) = &noun.concept else { return Err(Count::NotConcrete) };
    for (named, certain) in caption.concepts(implied) {
        match concept.relation(named) {
            Relation::Synonym => return Err(Count::Synonym),
            Relation::Hypernym => return Err(Count::Hypernym),
            Relation::Hyponym => return Err(Count::Hyponym),
            Relation::Apart(edges) => {
                if guards.too_near(&Apart { noun: concept, named, edges, certain }) {
                    return Err(Count::TooNear);
                }
            }
        }
    }
    Ok(())
}
