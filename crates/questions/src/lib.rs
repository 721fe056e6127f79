//! Benchmarks from your own labels: NegBench-style questions (arXiv 2501.09425) about
//! images of which it is known, or can be told from captions, what they show.
//!
//! * [`audit`]: the share of generated captions that are false.
//! * [`known`]: COCO's annotations, a table, or captions, as things present and absent.
//! * [`questions`]: multiple choice and negated queries.
//! * [`templates`]: their wordings, none of which training uses.

pub mod audit;
pub mod known;
pub mod questions;
pub mod templates;
mod words;

pub use known::{Known, KnownError, Picture};
pub use words::Thing;
