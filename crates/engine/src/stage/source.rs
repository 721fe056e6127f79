//! Other data for the first stages of a pipeline.

use crate::config::Value;

/// Which data a side run reads: the pipeline's first stage is of this kind, with these options. If
/// the config's own first stage is of this kind, it keeps its other options.
#[derive(Debug, Clone)]
pub struct Source {
    /// The kind of the first stage.
    pub kind: &'static str,
    /// Options that say what is read.
    pub options: Vec<(&'static str, Value)>,
}
