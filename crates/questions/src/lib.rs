//! Benchmarks from your own labels: NegBench-style questions (arXiv 2501.09425) about
//! images of which it is known, or can be inferred from captions, what they show.
//!
//! * [`known`]: COCO's annotations, a table, or captions, as things present and absent.
//! * [`multiple_choice`] and [`queries`]: four statements of which one is true; captions with a
//!   denied object.
//! * [`templates`]: their wordings, two lists; training uses none of them.
//! * [`made`]: benchmarks that need no file, since they are made from captions.
//! * [`audit`]: the share of generated captions that are false.

pub mod audit;
mod draws;
pub mod known;
pub mod made;
pub mod multiple_choice;
pub mod queries;
pub mod templates;
mod thing;

/// Images that must show an object before it is denied of others, unless a user says otherwise.
pub const LEAST: u32 = 5;

pub use known::{Known, KnownError, Picture};
pub use made::Made;
pub use multiple_choice::{Claim, Question, expected_false, questions, row};
pub use queries::negated_queries;
pub use templates::Wordings;
pub use thing::Thing;

#[cfg(test)]
mod testing {
    #![allow(clippy::unwrap_used)]
    use crate::Known;

    /// 60 images over a few things, five captions each.
    pub fn described() -> Known {
        let things = ["dog", "ball", "bench", "bicycle", "umbrella", "cat", "boat", "guitar", "kite", "horse"];
        let images = (0..60)
            .map(|i: usize| {
                let (a, b) = (things[i % 10], things[(i * 3 + 1 + i / 10) % 10]);
                let captions = (0..5).map(|n| match n {
                    0 => format!("A {a} in a field"),
                    _ => format!("A {a} next to a {b}"),
                });
                (format!("{i}.jpg"), captions.collect())
            })
            .collect();
        Known::from_described(images, 2).unwrap()
    }
}
