//! Multiple choice from what is known of images, as NegBench (arXiv 2501.09425, section 3) makes
//! it: four statements, one of them true.

use std::collections::BTreeMap;

use benchmarks::kinds::negbench_mcq::McqRow;
use pipeline_engine::rng::Draw;
use rand::{Rng, RngExt};

use crate::draws::{pair, plausible, weighted};
use crate::known::{Known, Picture};
use crate::templates::{Filling, Kind, Wordings, fill};

/// Drafts that a question is chosen from.
const DRAFTS: usize = 60;

/// A statement: what it says is there, and what is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whether it affirms, denies, or both.
    pub kind: Kind,
    /// Things it says are there, as positions in [`Known::things`].
    pub shown: Vec<usize>,
    /// What it says is not there.
    pub missing: Option<usize>,
    /// Which wording of its kind.
    wording: usize,
}

impl Claim {
    /// That two things are there, in the first wording.
    pub(crate) fn affirming(a: usize, b: usize) -> Self {
        Self { kind: Kind::Positive, shown: vec![a, b], missing: None, wording: 0 }
    }
}

/// A question, before it is a row.
#[derive(Clone, Debug)]
pub struct Question {
    /// Position in [`Known::pictures`].
    pub picture: usize,
    /// The true statement first, then a false hybrid, positive and negative one: the order of
    /// NegBench's files, whose evaluation tells the type of a wrong answer by its place.
    pub claims: [Claim; 4],
}

/// How often objects and wordings were in true and in false statements so far.
type Tally = BTreeMap<(Kind, Feature), (i32, i32)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Feature {
    Wording(usize),
    Said(usize, bool),
}

/// `each` questions about every image that has something to ask about.
///
/// The three types are about equally frequent. Of several drafts the function takes the one after which
/// every thing, in every role, and every wording is nearest to being true one time in four. So a
/// statement tells little without its image.
pub fn questions(known: &Known, each: usize, seed: u64) -> Vec<Question> {
    let mut tally = Tally::new();
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    // Both lists have as many.
    let wordings = Kind::ALL.map(|kind| (kind, kind.templates(Wordings::First).len()));
    let mut made = Vec::new();
    for (index, picture) in known.pictures.iter().enumerate() {
        let rng = &mut Draw::new(seed, "questions").text(&picture.image).number(index as u64).rng();
        let absent = plausible(known, picture);
        if picture.present.is_empty() || absent.is_empty() {
            continue;
        }
        for _ in 0..each {
            let fewest =
                Kind::ALL.into_iter().filter(|kind| *kind != Kind::Positive || pair(known, picture, rng).is_some());
            let Some(kind) = fewest.min_by_key(|kind| kinds.get(kind).copied().unwrap_or(0)) else { continue };
            let draft = (0..DRAFTS)
                .filter_map(|_| draft(known, picture, &absent, kind, &wordings, rng))
                .min_by_key(|claims| bias(&tally, claims));
            if let Some(claims) = draft {
                *kinds.entry(kind).or_default() += 1;
                for (i, claim) in claims.iter().enumerate() {
                    for feature in features(claim) {
                        let (is_true, is_false) = tally.entry((claim.kind, feature)).or_default();
                        *if i == 0 { is_true } else { is_false } += 1;
                    }
                }
                made.push(Question { picture: index, claims });
            }
        }
    }
    made
}

fn draft<R: Rng>(
    known: &Known,
    picture: &Picture,
    absent: &[(usize, f64)],
    kind: Kind,
    wordings: &[(Kind, usize)],
    rng: &mut R,
) -> Option<[Claim; 4]> {
    let two = pair(known, picture, rng);
    let a = two.map_or_else(|| picture.present[rng.random_range(0..picture.present.len())], |(a, _)| a);
    let (n, m) = (weighted(absent, rng), weighted(absent, rng));
    let (first, own, form) = (rng.random_bool(0.5), rng.random_bool(0.5), rng.random_range(0..3));
    let mut claim = |kind: Kind, shown: &[usize], missing: Option<usize>| {
        let wordings = wordings.iter().find(|(k, _)| *k == kind).map_or(1, |(_, count)| *count);
        Claim { kind, shown: shown.to_vec(), missing, wording: rng.random_range(0..wordings) }
    };
    let correct = match kind {
        Kind::Positive => {
            let (a, b) = two?;
            claim(kind, &[a, b], None)
        }
        Kind::Negative => claim(kind, &[], Some(n)),
        Kind::Hybrid => claim(kind, &[a], Some(n)),
    };
    let other = two.map_or(a, |(_, b)| b);
    let positive = claim(Kind::Positive, &if first { [a, m] } else { [m, a] }, None);
    let (shown, missing) = match form {
        0 => (m, other),
        1 => (m, a),
        // Both are there; if there is only one thing, as above.
        _ if other != a => (a, other),
        _ => (m, a),
    };
    let hybrid = claim(Kind::Hybrid, &[shown], Some(missing));
    let negative = claim(Kind::Negative, &[], Some(if own { a } else { other }));
    Some([correct, hybrid, positive, negative])
}

fn features(claim: &Claim) -> impl Iterator<Item = Feature> {
    let said = claim.shown.iter().map(|&thing| (thing, true)).chain(claim.missing.map(|thing| (thing, false)));
    [Feature::Wording(claim.wording)].into_iter().chain(said.map(|(thing, there)| Feature::Said(thing, there)))
}

/// How much further from "true one time in four" the claims would bring what they are made of.
fn bias(tally: &Tally, claims: &[Claim; 4]) -> i64 {
    let mut sum = 0;
    for (i, claim) in claims.iter().enumerate() {
        for feature in features(claim) {
            let (is_true, is_false) = tally.get(&(claim.kind, feature)).copied().unwrap_or_default();
            let before = i64::from(3 * is_true - is_false);
            let after = before + if i == 0 { 3 } else { -1 };
            sum += after * after - before * before;
        }
    }
    sum
}

/// The question, in a list of wordings, as a row of NegBench's file.
pub fn row(known: &Known, question: &Question, wordings: Wordings) -> McqRow {
    McqRow {
        image_path: known.pictures[question.picture].image.clone(),
        captions: question.claims.iter().map(|claim| say(known, claim, wordings)).collect(),
        correct_answer: 0,
        correct_answer_template: question.claims[0].kind.word().to_owned(),
    }
}

/// The sentence of a statement, in a list of wordings.
pub fn say(known: &Known, claim: &Claim, wordings: Wordings) -> String {
    let thing = |at: usize| claim.shown.get(at).map(|&thing| &known.things[thing]);
    let n = claim.missing.map(|thing| &known.things[thing]);
    fill(claim.kind.templates(wordings)[claim.wording], Filling { caption: "", a: thing(0), b: thing(1), n })
}

/// Of the things that true statements deny, the share that the image shows anyway, as far as the
/// agreement of captions tells. Each thing counts with how plausible it is for the image, times the
/// number of images that show it unnamed per image whose captions name it. 0 if absence is known.
pub fn expected_false(known: &Known, questions: &[Question]) -> f64 {
    let denied: Vec<f64> = questions
        .iter()
        .filter_map(|q| {
            let thing = q.claims[0].missing?;
            Some((known.plausible(&known.pictures[q.picture], thing) * known.hidden[thing]).min(1.0))
        })
        .collect();
    denied.iter().sum::<f64>() / denied.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::described;

    #[test]
    fn only_the_first_claim_is_true() {
        let known = described();
        let made = questions(&known, 3, 1);
        assert_eq!(made.len(), 180);
        for question in &made {
            let picture = &known.pictures[question.picture];
            let there = |thing: usize| picture.present.contains(&thing);
            for (i, claim) in question.claims.iter().enumerate() {
                let holds = claim.shown.iter().all(|&t| there(t)) && !claim.missing.is_some_and(there);
                assert_eq!(holds, i == 0, "{question:?}");
                let said = claim.shown.iter().copied().chain(claim.missing);
                assert!(said.clone().all(|t| there(t) || picture.absent.contains(&t)));
                for wordings in Wordings::ALL {
                    let text = say(&known, claim, wordings).to_lowercase();
                    assert!(said.clone().all(|t| text.contains(&known.things[t].name)), "{text}");
                }
                assert_eq!(
                    said.collect::<BTreeSet<_>>().len(),
                    claim.shown.len() + usize::from(claim.missing.is_some())
                );
            }
            assert_eq!(
                question.claims[1..].iter().map(|c| c.kind).collect::<Vec<_>>(),
                [Kind::Hybrid, Kind::Positive, Kind::Negative]
            );
        }
        for kind in Kind::ALL {
            assert_eq!(made.iter().filter(|q| q.claims[0].kind == kind).count(), 60, "{kind:?}");
        }
    }

    #[test]
    fn a_statement_tells_little_without_its_image() {
        let known = described();
        let made = questions(&known, 3, 1);
        let mut tally = Tally::new();
        for question in &made {
            for (i, claim) in question.claims.iter().enumerate() {
                for feature in features(claim) {
                    let (is_true, is_false) = tally.entry((claim.kind, feature)).or_default();
                    *if i == 0 { is_true } else { is_false } += 1;
                }
            }
        }
        for ((kind, feature), (is_true, is_false)) in &tally {
            let share = f64::from(*is_true) / f64::from(is_true + is_false);
            assert!((0.1..0.45).contains(&share), "{kind:?} {feature:?}: {is_true} true, {is_false} false");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_questions() {
        let known = described();
        let rows =
            |seed| questions(&known, 2, seed).iter().map(|q| row(&known, q, Wordings::First)).collect::<Vec<_>>();
        assert_eq!(rows(1), rows(1));
        assert_ne!(rows(1), rows(2));
    }
}
