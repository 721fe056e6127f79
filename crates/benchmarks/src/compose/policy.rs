//! A small lambda for whole captions, a large one for short statements.
//!
//! A query that describes its photo and denies one thing more is found best when the denial hardly
//! counts; of two statements about single things the denial decides. No one lambda does both, but a
//! rule that only looks at the text does, so this is the answer that a fine-tuned tower must beat on
//! questions and on retrieval at once.

use super::{Text, lambda};

/// From this many words that name something (a noun, a verb, a colour; not "a photo that includes") on,
/// the affirmed part is a whole caption. "A photo that includes a dog" has one, "a dog along with a ball"
/// three, "a brown dog runs on grass" four.
const CAPTION: usize = 4;
/// The lambda of whole captions.
const OF_CAPTIONS: f32 = 0.1;
/// The lambda of short statements, and of texts that affirm nothing.
const OF_STATEMENTS: f32 = 0.5;

/// unit(e_a - lambda e_n) with the lambda of the text's kind; the option `lambda` does not count.
pub fn compose(text: &Text<'_>, _: f32) -> Vec<f32> {
    let lambda = if text.naming_words >= CAPTION { OF_CAPTIONS } else { OF_STATEMENTS };
    lambda::minus(text, lambda)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::testing::{near, text};
    use crate::negation::{naming_words, parts};

    #[test]
    fn whole_captions_deny_little() {
        let (affirmed, denied) = ([0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]);
        let of = |affirmed, words| compose(&text(&denied, affirmed, &denied, words), 9.0);
        assert!(near(&of(Some(&affirmed), 4), &[0.0, 0.995037, -0.0995037, 0.0]));
        assert!(near(&of(Some(&affirmed), 3), &[0.0, 0.894427, -0.447214, 0.0]));
        assert!(near(&of(None, 0), &[0.894427, 0.0, -0.447214, 0.0]));
    }

    #[test]
    fn captions_are_told_from_statements_by_their_words() {
        for (text, caption) in [
            ("A brown dog runs on grass with a stick. There is no ball in the image.", true),
            ("No cat is included. Two children play in the water.", true),
            ("A photo that includes a dog but not a ball", false),
            ("This image features a tennis ball, but it does not feature a dog", false),
            ("There is no dog in this image", false),
        ] {
            assert_eq!(naming_words(&parts(text).affirmed) >= CAPTION, caption, "{text}");
        }
    }
}
