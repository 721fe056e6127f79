//! Captions with a denied object, for retrieval: NegBench's queries (arXiv 2501.09425, section 3).

use benchmarks::kinds::negbench_retrieval::RetrievalRow;
use pipeline_engine::rng::Draw;
use rand::RngExt;

use crate::draws::{pair, plausible, weighted};
use crate::known::Known;
use crate::multiple_choice::{Claim, say};
use crate::templates::{Filling, Wordings, fill};

/// For each image its captions, each with a plausible thing denied: the row, and the things by
/// position in [`Known::things`]. An image without captions gets one sentence about two things that
/// it shows. Both lists of wordings deny the same things.
pub fn negated_queries(known: &Known, seed: u64, wordings: Wordings) -> Vec<(RetrievalRow, Vec<usize>)> {
    let templates = wordings.queries();
    let mut rows = Vec::new();
    for (index, picture) in known.pictures.iter().enumerate() {
        let rng = &mut Draw::new(seed, "queries").text(&picture.image).number(index as u64).rng();
        let absent = plausible(known, picture);
        let own = match pair(known, picture, rng) {
            Some((a, b)) if picture.captions.is_empty() => vec![say(known, &Claim::affirming(a, b), wordings)],
            _ => picture.captions.clone(),
        };
        if absent.is_empty() || own.is_empty() {
            continue;
        }
        let mut denied = Vec::new();
        let captions = own
            .iter()
            .map(|caption| {
                let thing = weighted(&absent, rng);
                denied.push(thing);
                let template = templates[rng.random_range(0..templates.len())];
                fill(template, Filling { caption, n: Some(&known.things[thing]), ..Filling::default() })
            })
            .collect();
        rows.push((RetrievalRow { filepath: picture.image.clone(), captions }, denied));
    }
    rows
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::described;

    #[test]
    fn queries_deny_what_no_caption_says() {
        let known = described();
        let made = negated_queries(&known, 1, Wordings::First);
        assert_eq!(made.len(), 60);
        for (row, denied) in &made {
            let picture = known.pictures.iter().find(|p| p.image == row.filepath).unwrap();
            assert_eq!(row.captions.len(), picture.captions.len());
            for ((query, caption), thing) in row.captions.iter().zip(&picture.captions).zip(denied) {
                assert!(query.contains(caption) && query.contains(&known.things[*thing].name), "{query}");
                assert!(picture.captions.iter().all(|c| !c.contains(&known.things[*thing].name)));
            }
        }
        assert_eq!(made, negated_queries(&known, 1, Wordings::First));
    }

    #[test]
    fn the_second_wordings_deny_the_same_things() {
        let known = described();
        let [first, second] = Wordings::ALL.map(|wordings| negated_queries(&known, 1, wordings));
        for ((one, denied), (two, also)) in first.iter().zip(&second) {
            assert_eq!((&one.filepath, one.captions.len(), denied), (&two.filepath, two.captions.len(), also));
            assert!(one.captions.iter().all(|query| !two.captions.contains(query)));
        }
        assert_eq!(first.len(), second.len());
    }

    #[test]
    fn an_image_without_captions_gets_a_sentence_about_what_it_shows() {
        let mut known = described();
        known.pictures.iter_mut().for_each(|picture| picture.captions.clear());
        let made = negated_queries(&known, 1, Wordings::First);
        assert!(made.len() > 50 && made.iter().all(|(row, _)| row.captions.len() == 1), "{made:?}");
        assert!(made.iter().all(|(row, _)| row.captions[0].contains("A photo that includes")), "{made:?}");
    }
}
