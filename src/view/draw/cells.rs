//! Texts and bars cut to a number of cells.

/// A text of at most `width` characters, with `…` at the end if it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push('…');
    }
    short
}

/// The same with the middle cut out: names that begin alike end differently.
pub fn cut_within(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width || width < 3 {
        return cut(text, width);
    }
    let head = (width - 1) / 3;
    let tail = width - 1 - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

/// A rate with three significant digits.
pub fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e5 => format!("{:.0}k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// Shares of 1 as lengths in cells that add up to at most `width`. A share of more than half a cell is not rounded away.
pub fn lengths(shares: [f64; 3], width: usize) -> [usize; 3] {
    let mut left = width;
    shares.map(|share| {
        let length = ((share.max(0.0) * width as f64).round() as usize).min(left);
        left -= length;
        length
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_begin_alike_stay_distinct() {
        assert_eq!(cut_within("retrieval text_to_image_r@10", 20), "retrie…to_image_r@10");
        for width in 0..40 {
            let short = cut_within("retrieval text_to_image_r@10", width);
            assert_eq!(short.chars().count(), width.min(28), "{short}");
        }
    }

    #[test]
    fn bars_fit_their_width() {
        for shares in [[0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [0.33, 0.33, 0.34], [0.996, 0.002, 0.002]] {
            for width in 0..40 {
                assert!(lengths(shares, width).iter().sum::<usize>() <= width);
            }
        }
    }
}
