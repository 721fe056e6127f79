//! Held-out multiple-choice questions about what is and is not in a picture, in the
//! form of NegBench (arXiv 2501.09425): four statements, each positive, negative or
//! hybrid, one of them true.
//!
//! The ground truth is complete, so a wrong option is certainly false. Options are
//! chosen so that the text alone reveals nothing: over all questions every object,
//! in every role, and every wording is right in about one of four, and in no
//! question does logic rule an option out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::dice::{Dice, Purpose};
use crate::pack::shard_name;
use crate::scene::{Scene, Split};
use crate::words::{capitalised, with_article};

/// Options per question.
const OPTIONS: usize = 4;

/// Number of drafts from which a question is chosen.
const DRAFTS: usize = 300;

/// What a statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Two things are in the picture.
    Positive,
    /// One thing is not.
    Negative,
    /// One thing is, one is not.
    Hybrid,
}

const KINDS: [Kind; 3] = [Kind::Positive, Kind::Negative, Kind::Hybrid];

impl Kind {
    /// Wordings, different from those of the training captions and of the templates
    /// of fine-tuning: {a} and {b} are affirmed, {n} is denied.
    fn wordings(self) -> &'static [&'static str] {
        match self {
            Self::Positive => &[
                "This picture shows {a} and {b}",
                "In this image you can find {a} as well as {b}",
                "Both {a} and {b} appear in this drawing",
                "{a} can be seen here, together with {b}",
                "One can spot {a} and also {b} in the picture",
            ],
            Self::Negative => &[
                "This picture does not contain {n}",
                "Not a single {bare n} is visible in this image",
                "In this drawing you cannot find {n}",
                "One will never spot {n} in the picture",
                "What is not shown here is {n}",
            ],
            Self::Hybrid => &[
                "In this picture there's {a}, yet not a single {bare n} is visible",
                "This image shows {a} and does not show {n}",
                "You can find {a} here but you cannot find {n}",
                "While {a} appears in this drawing, {n} does not",
                "{n} is not to be seen in the picture, while {a} is",
            ],
        }
    }
}

/// What a statement says about a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Which kind of statement it is.
    pub kind: Kind,
    /// The things that it affirms.
    pub shown: Vec<&'static str>,
    /// The things that it denies.
    pub missing: Vec<&'static str>,
}

impl Claim {
    fn new(kind: Kind, shown: &[&'static str], missing: &[&'static str]) -> Self {
        Self { kind, shown: shown.to_vec(), missing: missing.to_vec() }
    }

    /// True if the statement is true of a picture that shows the things for which `shows` is true.
    pub fn holds(&self, shows: impl Fn(&str) -> bool) -> bool {
        self.shown.iter().all(|name| shows(name)) && !self.missing.iter().any(|name| shows(name))
    }

    /// Its objects, each with true if it is affirmed.
    fn roles(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let shown = self.shown.iter().map(|&name| (name, true));
        shown.chain(self.missing.iter().map(|&name| (name, false)))
    }

    fn say(&self, wording: &str) -> String {
        let mut text = wording.to_owned();
        let parts = ["{a}", "{b}"].into_iter().zip(&self.shown).chain(["{n}"].into_iter().zip(&self.missing));
        for (slot, name) in parts {
            text = text.replace(slot, &with_article(name));
        }
        for name in &self.missing {
            text = text.replace("{bare n}", name);
        }
        capitalised(&text)
    }
}

/// One question: which of four statements is true of the picture?
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// The picture's key.
    pub image_key: String,
    /// The shard that holds it.
    pub image_shard: String,
    /// The statements.
    pub captions: [String; OPTIONS],
    /// Which one is true.
    pub correct: usize,
    /// The kind of the true one.
    pub kind: Kind,
    /// What the statements say.
    pub claims: [Claim; OPTIONS],
    /// The number of each statement's wording, within its kind.
    #[serde(skip)]
    pub wordings: [usize; OPTIONS],
}

/// Makes `each` questions about every one of the first `count` scenes of a split.
pub fn questions(seed: u64, split: Split, count: u64, shard_size: u64, each: u64) -> Vec<Question> {
    let mut tally = Tally::default();
    let mut questions = Vec::new();
    for index in 0..count {
        let scene = Scene::new(seed, split, index);
        let mut dice = scene.dice(Purpose::Questions);
        for _ in 0..each {
            let draft = (0..DRAFTS)
                .filter_map(|_| Draft::new(&scene, &mut dice))
                .min_by(|a, b| tally.bias_with(a).total_cmp(&tally.bias_with(b)));
            if let Some(draft) = draft {
                tally.add(&draft);
                questions.push(draft.question(&scene, shard_name(split, index / shard_size.max(1))));
            }
        }
    }
    questions
}

struct Draft {
    claims: [Claim; OPTIONS],
    wordings: [usize; OPTIONS],
    correct: usize,
}

impl Draft {
    /// Makes four claims about four objects, two of them present and two absent, so
    /// that neither group is mentioned more often. One kind of claim comes twice,
    /// independently of which is right, so that the kinds reveal nothing either.
    fn new(scene: &Scene, dice: &mut Dice) -> Option<Self> {
        let mut kinds = [KINDS[0], KINDS[1], KINDS[2], *dice.pick(&KINDS)];
        dice.shuffle(&mut kinds);
        let correct = dice.below(OPTIONS);
        let mut present: Vec<_> = scene.present().collect();
        dice.shuffle(&mut present);
        let (a, b) = (present[0], present[1]);
        let (n, m) = (absent(scene, dice)?, absent(scene, dice)?);
        if n == m {
            return None;
        }
        let mut i = 0;
        let claims = kinds.map(|kind| {
            let right = i == correct;
            i += 1;
            let swap = dice.chance(0.5);
            let (a, b) = if swap { (b, a) } else { (a, b) };
            let (n, m) = if dice.chance(0.5) { (m, n) } else { (n, m) };
            match (kind, right) {
                (Kind::Positive, true) => Claim::new(kind, &[a, b], &[]),
                (Kind::Positive, false) => match dice.weighted(&[0.4, 0.4, 0.2]) {
                    Some(0) => Claim::new(kind, &[a, n], &[]),
                    Some(1) => Claim::new(kind, &[n, a], &[]),
                    _ => Claim::new(kind, &[n, m], &[]),
                },
                (Kind::Negative, true) => Claim::new(kind, &[], &[n]),
                (Kind::Negative, false) => Claim::new(kind, &[], &[a]),
                (Kind::Hybrid, true) => Claim::new(kind, &[a], &[n]),
                (Kind::Hybrid, false) => match dice.weighted(&[0.4, 0.4, 0.2]) {
                    Some(0) => Claim::new(kind, &[n], &[a]),
                    Some(1) => Claim::new(kind, &[a], &[b]),
                    _ => Claim::new(kind, &[n], &[m]),
                },
            }
        });
        let wordings = kinds.map(|kind| dice.below(kind.wordings().len()));
        logic_is_silent(&claims).then_some(Self { claims, wordings, correct })
    }

    fn question(self, scene: &Scene, image_shard: String) -> Question {
        let mut wordings = self.wordings.iter();
        let captions = self.claims.each_ref().map(|claim| {
            let wording = wordings.next().copied().unwrap_or(0);
            claim.say(claim.kind.wordings()[wording])
        });
        Question {
            image_key: scene.key(),
            image_shard,
            captions,
            correct: self.correct,
            kind: self.claims[self.correct].kind,
            claims: self.claims,
            wordings: self.wordings,
        }
    }

    /// What a reader who never sees the picture could use, one option at a time.
    fn features(&self) -> impl Iterator<Item = (usize, Feature)> {
        (0..OPTIONS).flat_map(|option| {
            let claim = &self.claims[option];
            let mentions = |name| self.claims.iter().flat_map(Claim::roles).filter(|(n, _)| *n == name).count();
            let siblings = self.claims.iter().filter(|other| other.kind == claim.kind).count();
            let mut features = vec![
                Feature::Option(option),
                Feature::Siblings(claim.kind, siblings),
                Feature::Wording(claim.kind, self.wordings[option]),
            ];
            for (name, said_there) in claim.roles() {
                features.push(Feature::Object(claim.kind, name, said_there));
                features.push(Feature::Mentions(claim.kind, mentions(name), said_there));
            }
            features.into_iter().map(move |feature| (option, feature))
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Feature {
    Option(usize),
    Siblings(Kind, usize),
    Wording(Kind, usize),
    Object(Kind, &'static str, bool),
    Mentions(Kind, usize, bool),
}

/// How often each feature was in a right and in a wrong option so far.
#[derive(Default)]
struct Tally(BTreeMap<Feature, (i32, i32)>);

impl Tally {
    fn add(&mut self, draft: &Draft) {
        for (option, feature) in draft.features() {
            let (right, wrong) = self.0.entry(feature).or_default();
            if option == draft.correct {
                *right += 1;
            } else {
                *wrong += 1;
            }
        }
    }

    /// How much further from "right in one of four" a draft would move the features
    /// that it has (squared, so that the worst count most).
    fn bias_with(&self, draft: &Draft) -> f64 {
        let wrong_a_right = OPTIONS as i32 - 1;
        draft
            .features()
            .map(|(option, feature)| {
                let (right, wrong) = self.0.get(&feature).copied().unwrap_or_default();
                let before = wrong_a_right * right - wrong;
                let after = before + if option == draft.correct { wrong_a_right } else { -1 };
                f64::from(after * after - before * before)
            })
            .sum()
    }
}

/// An absent object; half of the time one that is usual in this setting.
fn absent(scene: &Scene, dice: &mut Dice) -> Option<&'static str> {
    let usual: Vec<_> = scene.theme.usual.iter().copied().filter(|name| !scene.shows(name)).collect();
    let all: Vec<_> = scene.absent().collect();
    let from = if dice.chance(0.5) && !usual.is_empty() { &usual } else { &all };
    (!from.is_empty()).then(|| *dice.pick(from))
}

/// True if each option could be the only true one: then "exactly one is true"
/// rules none out.
fn logic_is_silent(claims: &[Claim; OPTIONS]) -> bool {
    let mut names: Vec<_> = claims.iter().flat_map(Claim::roles).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let mut alone = [false; OPTIONS];
    for world in 0..1usize << names.len() {
        let shows = |name: &str| names.iter().position(|n| *n == name).is_some_and(|i| world >> i & 1 == 1);
        let mut held = (0..OPTIONS).filter(|&i| claims[i].holds(shows));
        if let (Some(only), None) = (held.next(), held.next()) {
            alone[only] = true;
        }
    }
    alone == [true; OPTIONS]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::things::{thing, things};

    fn sample() -> Vec<Question> {
        questions(1, Split::Test, 400, 200, 2)
    }

    #[test]
    fn exactly_the_correct_option_is_true_of_the_picture() {
        let questions = sample();
        assert!(questions.len() >= 780, "{} questions", questions.len());
        for question in &questions {
            let index: u64 = question.image_key.rsplit('-').next().unwrap().parse().unwrap();
            assert_eq!(question.image_shard, shard_name(Split::Test, index / 200));
            let scene = Scene::new(1, Split::Test, index);
            for (i, claim) in question.claims.iter().enumerate() {
                assert_eq!(claim.holds(|name| scene.shows(name)), i == question.correct, "{question:?}");
                for (name, _) in claim.roles() {
                    assert!(question.captions[i].to_lowercase().contains(name), "{question:?}");
                    assert!(thing(name).is_some());
                }
                assert!(!question.captions[i].contains('{'), "{question:?}");
            }
            assert_eq!(question.kind, question.claims[question.correct].kind);
        }
        for kind in KINDS {
            let share = questions.iter().filter(|q| q.kind == kind).count() as f64 / questions.len() as f64;
            assert!((0.28..0.39).contains(&share), "{kind:?}: {share}");
        }
    }

    #[test]
    fn the_truth_of_a_claim_follows_the_picture() {
        let claim = Claim::new(Kind::Hybrid, &["cat"], &["dog"]);
        assert!(claim.holds(|name| name == "cat"));
        assert!(!claim.holds(|name| name == "dog"));
        assert!(!claim.holds(|_| true));
        assert!(!claim.holds(|_| false));
    }

    /// Readers who see only the texts: each gives every option a score.
    #[test]
    fn text_alone_tells_nothing() {
        let questions = sample();
        let accuracy = |name: &str, score: &dyn Fn(&Question, usize) -> f64| {
            let mut right = 0.0;
            for question in &questions {
                let scores: Vec<f64> = (0..OPTIONS).map(|i| score(question, i)).collect();
                let best = scores.iter().copied().fold(f64::MIN, f64::max);
                let ties = scores.iter().filter(|s| **s == best).count();
                if scores[question.correct] == best {
                    right += 1.0 / ties as f64;
                }
            }
            let accuracy = right / questions.len() as f64;
            println!("text-only reader '{name}': {accuracy:.3}");
            assert!((0.17..0.33).contains(&accuracy), "'{name}' is right in {accuracy:.3}");
        };
        accuracy("first", &|_, i| -(i as f64));
        accuracy("longest", &|q, i| q.captions[i].len() as f64);
        accuracy("positive", &|q, i| f64::from(q.claims[i].kind == Kind::Positive));
        accuracy("negative", &|q, i| f64::from(q.claims[i].kind == Kind::Negative));
        accuracy("hybrid", &|q, i| f64::from(q.claims[i].kind == Kind::Hybrid));
        let mentions = |q: &Question, name: &str| {
            q.claims.iter().flat_map(Claim::roles).filter(|(n, _)| *n == name).count() as f64
        };
        accuracy("what is talked about is there", &|q, i| {
            q.claims[i].roles().map(|(name, there)| (mentions(q, name) - 1.5) * if there { 1.0 } else { -1.0 }).sum()
        });
        accuracy("the kind that comes twice", &|q, i| {
            q.claims.iter().filter(|claim| claim.kind == q.claims[i].kind).count() as f64
        });

        // Fitted on one half (log odds of every feature), tested on the other.
        let draft = |q: &Question| Draft { claims: q.claims.clone(), wordings: q.wordings, correct: q.correct };
        for half in 0..2 {
            let mut tally = Tally::default();
            questions.iter().skip(half).step_by(2).for_each(|q| tally.add(&draft(q)));
            let mut right = 0;
            let asked: Vec<_> = questions.iter().skip(1 - half).step_by(2).collect();
            for question in &asked {
                let mut scores = [0.0; OPTIONS];
                for (option, feature) in draft(question).features() {
                    let (r, w) = tally.0.get(&feature).copied().unwrap_or_default();
                    scores[option] += ((f64::from(r) + 1.0) / (f64::from(w) + 3.0)).ln();
                }
                let best = (0..OPTIONS).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
                right += usize::from(best == question.correct);
            }
            let accuracy = right as f64 / asked.len() as f64;
            println!("text-only reader 'fitted', half {half}: {accuracy:.3}");
            assert!(accuracy < 0.34, "{accuracy}");
        }
    }

    #[test]
    fn every_object_is_asked_about_in_both_ways() {
        let mut seen: BTreeMap<(&str, bool), (u32, u32)> = BTreeMap::new();
        for question in sample() {
            for (i, claim) in question.claims.iter().enumerate() {
                for role in claim.roles() {
                    let (right, wrong) = seen.entry(role).or_default();
                    if i == question.correct { *right += 1 } else { *wrong += 1 }
                }
            }
        }
        for thing in things() {
            for there in [true, false] {
                let (right, wrong) = seen[&(thing.name, there)];
                let share = f64::from(right) / f64::from(right + wrong);
                assert!((0.1..0.45).contains(&share), "{} {there}: {right} right, {wrong} wrong", thing.name);
            }
        }
    }
}
