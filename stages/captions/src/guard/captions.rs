//! `"captions"`: other captions of an image count.

use pipeline_engine::{Part, options};

use super::{Guard, Named};

options! {
    /// Turns down what any known caption of the image names, not only the caption that was drawn.
    pub struct OtherCaptions {}
}

impl Part for OtherCaptions {
    const NAME: &'static str = "captions";
    const ABOUT: &'static str = "turns down what another caption of the image names";
}

impl Guard for OtherCaptions {
    fn widen(&self, named: &mut Named) {
        named.other_captions = true;
    }
}
