//! `"implied"`: things that words imply count.

use pipeline_engine::{Part, options};

use super::{Guard, Named};

options! {
    /// Turns down what the words of a caption imply without saying it, by the list
    /// [`implied`](crate::implied).
    pub struct Implied {}
}

impl Part for Implied {
    const NAME: &'static str = "implied";
    const ABOUT: &'static str = "turns down what the words of a caption imply, as a surfboard for \"surfer\"";
}

impl Guard for Implied {
    fn widen(&self, named: &mut Named) {
        named.implied = true;
    }
}
