//! Multiple choice and negated queries from what is known of images, as NegBench
//! (arXiv 2501.09425, section 3) makes them.

use std::collections::BTreeMap;

use pipeline_engine::rng::Draw;
use rand::{Rng, RngExt};
use benchmarks::negbench::{McqRow, RetrievalRow};

use crate::known::{Known, Picture};
use crate::templates::{Filling, Kind, fill, queries};

/// Drafts that a question is chosen from.
const DRAFTS: usize = 60;
/// The most plausible absent things of an image, among which draws are made.
const PLAUSIBLE: usize = 24;

/// A statement: what it says is there, and what is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it does.
    pub kind: Kind,
    /// Things it says are there, as positions in [`Known::things`].
    pub shown: Vec<usize>,
    /// What it says is not.
    pub missing: Option<usize>,
    /// Which wording of its kind.
    wording: usize,
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

/// How often objects and wordings were in right and in wrong statements so far.
type Tally = BTreeMap<(Kind, Feature), (i32, i32)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Feature {
    Wording(usize),
    Said(usize, bool),
}

/// `each` questions about every image that has something to ask about.
///
/// Types come about equally often. Of several drafts the one is taken after which every thing,
/// in every role, and every wording is nearest to being right one time in four, so that a
/// statement tells little without its image.
pub fn questions(known: &Known, each: usize, seed: u64) -> Vec<Question> {
    let mut tally = Tally::new();
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    let wordings = Kind::ALL.map(|kind| (kind, kind.templates().len()));
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
                        let (right, wrong) = tally.entry((claim.kind, feature)).or_default();
                        *if i == 0 { right } else { wrong } += 1;
                    }
                }
                made.push(Question { picture: index, claims });
            }
        }
    }
    made
}

/// The absent things of an image that are most at home beside what it shows, with weights.
fn plausible(known: &Known, picture: &Picture) -> Vec<(usize, f64)> {
    let mut absent: Vec<(usize, f64)> =
        picture.absent.iter().map(|&thing| (thing, known.plausible(picture, thing))).collect();
    absent.sort_by(|a, b| b.1.total_cmp(&a.1).then(known.count[b.0].cmp(&known.count[a.0])).then(a.0.cmp(&b.0)));
    absent.truncate(PLAUSIBLE);
    // What never came beside them is drawn too, if seldom.
    absent.iter_mut().for_each(|(_, weight)| *weight += 1e-3);
    absent
}

/// Two things of the image that one statement may hold.
fn pair<R: Rng>(known: &Known, picture: &Picture, rng: &mut R) -> Option<(usize, usize)> {
    let pairs: Vec<(usize, usize)> = picture
        .present
        .iter()
        .flat_map(|&a| picture.present.iter().map(move |&b| (a, b)))
        .filter(|&(a, b)| known.apart(a, b))
        .collect();
    (!pairs.is_empty()).then(|| pairs[rng.random_range(0..pairs.len())])
}

fn weighted<R: Rng>(among: &[(usize, f64)], rng: &mut R) -> usize {
    let total: f64 = among.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.random_range(0.0..total);
    for (thing, weight) in among {
        if at < *weight {
            return *thing;
        }
        at -= weight;
    }
    among[among.len() - 1].0
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
    let truth = match kind {
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
        // Both are there; with one thing alone, as above.
        _ if other != a => (a, other),
        _ => (m, a),
    };
    let hybrid = claim(Kind::Hybrid, &[shown], Some(missing));
    let negative = claim(Kind::Negative, &[], Some(if own { a } else { other }));
    Some([truth, hybrid, positive, negative])
}

fn features(claim: &Claim) -> impl Iterator<Item = Feature> {
    let said = claim.shown.iter().map(|&thing| (thing, true)).chain(claim.missing.map(|thing| (thing, false)));
    [Feature::Wording(claim.wording)].into_iter().chain(said.map(|(thing, there)| Feature::Said(thing, there)))
}

/// How much further from "right one time in four" the claims would bring what they are made of.
fn bias(tally: &Tally, claims: &[Claim; 4]) -> i64 {
    let mut sum = 0;
    for (i, claim) in claims.iter().enumerate() {
        for feature in features(claim) {
            let (right, wrong) = tally.get(&(claim.kind, feature)).copied().unwrap_or_default();
            let before = i64::from(3 * right - wrong);
            let after = before + if i == 0 { 3 } else { -1 };
            sum += after * after - before * before;
        }
    }
    sum
}

/// The question as a row of NegBench's file.
pub fn row(known: &Known, question: &Question) -> McqRow {
    McqRow {
        image_path: known.pictures[question.picture].image.clone(),
        captions: question.claims.iter().map(|claim| say(known, claim)).collect(),
        correct_answer: 0,
        correct_answer_template: question.claims[0].kind.word().to_owned(),
    }
}

/// A statement in words.
pub fn say(known: &Known, claim: &Claim) -> String {
    let thing = |at: usize| claim.shown.get(at).map(|&thing| &known.things[thing]);
    let n = claim.missing.map(|thing| &known.things[thing]);
    fill(claim.kind.templates()[claim.wording], Filling { caption: "", a: thing(0), b: thing(1), n })
}

/// For every image its captions, each with a plausible thing denied. An image without captions
/// gets one sentence about two things that it shows.
pub fn negated_queries(known: &Known, seed: u64) -> Vec<(RetrievalRow, Vec<usize>)> {
    let wordings = queries();
    let mut rows = Vec::new();
    for (index, picture) in known.pictures.iter().enumerate() {
        let rng = &mut Draw::new(seed, "queries").text(&picture.image).number(index as u64).rng();
        let absent = plausible(known, picture);
        let own = match pair(known, picture, rng) {
            Some((a, b)) if picture.captions.is_empty() => {
                let claim = Claim { kind: Kind::Positive, shown: vec![a, b], missing: None, wording: 0 };
                vec![say(known, &claim)]
            }
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
                let wording = wordings[rng.random_range(0..wordings.len())];
                fill(wording, Filling { caption, n: Some(&known.things[thing]), ..Filling::default() })
            })
            .collect();
        rows.push((RetrievalRow { filepath: picture.image.clone(), captions }, denied));
    }
    rows
}

/// Of the things that true statements deny, the share that is there all the same, as far as the
/// agreement of captions tells: for each, how plausible it is, times how often it is there unnamed
/// for each time it is named. 0 where absence is known.
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

    /// 60 images over a few things, five captions each.
    fn known() -> Known {
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

    #[test]
    fn only_the_first_claim_is_true() {
        let known = known();
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
                let text = say(&known, claim).to_lowercase();
                assert!(said.clone().all(|t| text.contains(&known.things[t].name)), "{text}");
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
        let known = known();
        let made = questions(&known, 3, 1);
        let mut tally = Tally::new();
        for question in &made {
            for (i, claim) in question.claims.iter().enumerate() {
                for feature in features(claim) {
                    let (right, wrong) = tally.entry((claim.kind, feature)).or_default();
                    *if i == 0 { right } else { wrong } += 1;
                }
            }
        }
        for ((kind, feature), (right, wrong)) in &tally {
            let share = f64::from(*right) / f64::from(right + wrong);
            assert!((0.1..0.45).contains(&share), "{kind:?} {feature:?}: {right} right, {wrong} wrong");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_questions() {
        let known = known();
        let rows = |seed| questions(&known, 2, seed).iter().map(|q| row(&known, q)).collect::<Vec<_>>();
        assert_eq!(rows(1), rows(1));
        assert_ne!(rows(1), rows(2));
        assert_eq!(negated_queries(&known, 1), negated_queries(&known, 1));
    }

    #[test]
    fn queries_deny_what_no_caption_says() {
        let known = known();
        let made = negated_queries(&known, 1);
        assert_eq!(made.len(), 60);
        for (row, denied) in &made {
            let picture = known.pictures.iter().find(|p| p.image == row.filepath).unwrap();
            assert_eq!(row.captions.len(), picture.captions.len());
            for ((query, caption), thing) in row.captions.iter().zip(&picture.captions).zip(denied) {
                assert!(query.contains(caption) && query.contains(&known.things[*thing].name), "{query}");
                assert!(picture.captions.iter().all(|c| !c.contains(&known.things[*thing].name)));
            }
        }
    }
}
