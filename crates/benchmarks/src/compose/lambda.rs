//! What a text affirms, without what it denies or minus a part of it.

use super::{Text, blend};

/// What the text affirms alone: what a retrieval that drops denials would search for.
pub fn ignore(text: &Text<'_>, _: f32) -> Vec<f32> {
    text.affirmed_or_neutral().to_vec()
}

/// unit(e_a - lambda e_n).
pub fn minus(text: &Text<'_>, lambda: f32) -> Vec<f32> {
    blend(1.0, text.affirmed_or_neutral(), -f64::from(lambda), text.denied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::testing::{near, text};

    #[test]
    fn the_denied_part_is_dropped_or_subtracted() {
        let (affirmed, denied) = ([0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]);
        let said = text(&affirmed, Some(&affirmed), &denied, 1);
        assert_eq!(ignore(&said, 0.5), affirmed);
        // (0, 1, -3/4, 0) has length 5/4.
        assert!(near(&minus(&said, 0.75), &[0.0, 0.8, -0.6, 0.0]));
        assert_eq!(minus(&said, 0.0), affirmed);
        let pure = text(&affirmed, None, &denied, 0);
        assert_eq!(ignore(&pure, 0.5), [1.0, 0.0, 0.0, 0.0]);
        assert!(near(&minus(&pure, 0.75), &[0.8, 0.0, -0.6, 0.0]));
    }
}
