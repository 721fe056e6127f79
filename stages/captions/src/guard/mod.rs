//! Guards: what a noun must pass before a text may say that the image does not show it.
//!
//! Captions leave things out and use many words for one thing. Whatever the guards, a noun that a
//! caption says, or of which it says a synonym, something more general or something more special, is
//! turned down. Each guard turns down more nouns; their order does not matter. To add one, write a
//! file like the others in this folder and name it in the list.

mod captions;
mod distance;
mod implied;
mod people;
mod visual;

use std::sync::Arc;

use items::Paired;
use items::contract::START_TOWER;
use pipeline_engine::{Fact, Several, StageError, parts};

pub use captions::OtherCaptions;
pub use distance::Distance;
pub use implied::Implied;
pub use people::People;
pub use visual::Visual;

use crate::drawn::Drawn;
use crate::start::StartTower;
use crate::tagger::Noun;
use crate::wordnet::Concept;

parts! {
    dyn Guard: "guard" => [OtherCaptions, Implied, People, Distance, Visual]
}

/// A reason to turn nouns down. A guard implements one of these methods.
pub trait Guard: Send + Sync {
    /// Widens what counts as named in the captions of an image, and so as present in it.
    fn widen(&self, _named: &mut Named) {}

    /// Whether a noun may mean the same thing as another one that a caption of the image names.
    fn too_near(&self, _nouns: &Apart<'_>) -> bool {
        false
    }

    /// Looks at the images of a batch, once per batch; `None` if the guard does not judge by images.
    /// The result must depend on the batch and the start tower alone, since a resumed run sees
    /// batches in another order.
    ///
    /// # Errors
    /// Features of different widths; a device that fails.
    fn look(&self, _images: &Images<'_>) -> Result<Option<Box<dyn Shown>>, StageError> {
        Ok(None)
    }

    /// What the guard needs of other stages. [`Images::start`] is there only for a guard that needs
    /// [`START_TOWER`].
    fn needs(&self) -> Vec<Fact> {
        Vec::new()
    }
}

/// What counts as named in the captions of an image, in addition to the drawn caption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Everything that the other captions of the image name.
    pub other_captions: bool,
    /// Things that words imply, as "surfer" implies a surfboard.
    pub implied: bool,
}

/// Two nouns of which neither is a synonym of the other, nor more general or special.
#[derive(Clone, Copy, Debug)]
pub struct Apart<'a> {
    /// The noun that is judged.
    pub noun: &'a Concept,
    /// What a caption of the image names.
    pub named: &'a Concept,
    /// Length of the shortest path between them in WordNet, in edges; `u32::MAX` if there is none.
    pub edges: u32,
    /// Whether the caption certainly names it: its word is tagged as a noun. Otherwise the word may be
    /// a noun, or it implies the thing.
    pub certain: bool,
}

/// The images of a batch and the things that their captions name.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// The batch, with its B x D image features.
    pub paired: &'a Paired,
    /// The drawn captions.
    pub drawn: &'a Drawn<'a>,
    /// The text tower as it was before training.
    pub start: Option<&'a StartTower>,
}

/// What the images of one batch show, as a guard judges it.
pub trait Shown {
    /// Whether image `image` of the batch probably shows this thing.
    fn shows(&self, image: usize, thing: &Noun) -> bool;
}

/// The guards that a config chose.
#[derive(Clone, Default)]
pub struct Guards {
    list: Vec<Arc<dyn Guard>>,
    named: Named,
}

impl Guards {
    /// These guards together; none: only what captions say is turned down.
    pub fn new(list: Vec<Arc<dyn Guard>>) -> Self {
        let mut named = Named::default();
        list.iter().for_each(|guard| guard.widen(&mut named));
        Self { list, named }
    }

    /// The guards of the stage's defaults.
    pub fn usual() -> Self {
        Self::from(&Several::of(USUAL))
    }

    /// What counts as named.
    pub fn named(&self) -> Named {
        self.named
    }

    /// Whether one of the guards asks the text tower as it was before training.
    pub fn ask_start_tower(&self) -> bool {
        self.list.iter().any(|guard| guard.needs().contains(&START_TOWER))
    }

    pub(crate) fn too_near(&self, nouns: &Apart<'_>) -> bool {
        self.list.iter().any(|guard| guard.too_near(nouns))
    }

    pub(crate) fn look(&self, images: &Images<'_>) -> Result<Vec<Box<dyn Shown>>, StageError> {
        self.list.iter().filter_map(|guard| guard.look(images).transpose()).collect()
    }
}

impl From<&Several<dyn Guard>> for Guards {
    fn from(chosen: &Several<dyn Guard>) -> Self {
        Self::new(chosen.iter().map(|guard| guard.shared()).collect())
    }
}

/// The names of the stage's default guards.
pub const USUAL: &[&str] = &["captions", "implied", "people", "distance"];
