//! The WordNet that this crate contains, with the senses that captions use.

use std::sync::LazyLock;

use crate::usage::SENSES;
use crate::wordnet::{WordNet, WordNetError};

static EMBEDDED: LazyLock<Result<WordNet, WordNetError>> =
    LazyLock::new(|| Ok(WordNet::parse(include_bytes!("../data/wordnet.bin"))?.with_senses(SENSES)));

impl WordNet {
    /// The data that this crate contains, unpacked at the first call (about 30 ms).
    ///
    /// # Errors
    /// When the crate was built with a damaged file.
    pub fn embedded() -> Result<&'static Self, &'static WordNetError> {
        EMBEDDED.as_ref()
    }
}
