//! `writer = "plain"`: nothing beside the caption.

use items::Role;
use pipeline_engine::rng::Draw;
use pipeline_engine::{Build, Part, StageError, options};

use super::{OpenWriter, Writer};
use crate::counts::Counts;
use crate::reading::Reading;

options! {
    /// Writes nothing beside the caption.
    pub struct Plain {}
}

impl Part for Plain {
    const NAME: &'static str = "plain";
    const ABOUT: &'static str = "nothing beside the caption";
}

impl Writer for Plain {
    fn roles(&self) -> Vec<Role> {
        Vec::new()
    }

    fn uses_guards(&self) -> bool {
        false
    }

    fn open(&self, _: &Build<'_>) -> Result<Box<dyn OpenWriter>, StageError> {
        Ok(Box::new(PlainWriter))
    }
}

struct PlainWriter;

impl OpenWriter for PlainWriter {
    fn write(&self, _: &Reading<'_>, _: &dyn Fn(usize) -> Draw, _: &mut Counts) -> Result<Vec<String>, StageError> {
        Ok(Vec::new())
    }
}
