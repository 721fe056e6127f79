//! Questions of a multiple choice that a run answers otherwise than its starting checkpoint.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use benchmarks::Answered;
use serde::Deserialize;

/// How many are shown.
const SHOWN: usize = 3;

/// A line of `answers-before.jsonl` or `answers-after.jsonl`.
#[derive(Debug, Deserialize)]
struct Line {
    eval: String,
    #[serde(flatten)]
    answer: Answered,
}

impl Line {
    fn is_right(&self) -> bool {
        self.answer.chosen == self.answer.correct
    }
}

/// A text and its cosine with the image.
#[derive(Debug, PartialEq)]
pub struct Scored {
    pub text: String,
    pub before: f32,
    pub after: f32,
}

/// A question that was answered wrong before training, and right after it.
#[derive(Debug, PartialEq)]
pub struct Mended {
    pub shard: String,
    pub key: String,
    /// The true text.
    pub right: Scored,
    /// The text that was chosen before.
    pub wrong: Scored,
}

/// What training changed.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Questions that were asked both times.
    pub asked: usize,
    /// Wrong before, right after.
    pub mended: usize,
    /// Right before, wrong after.
    pub lost: usize,
    /// Some of the mended ones: of several types and different images, those that changed most.
    pub shown: Vec<Mended>,
}

impl Changes {
    /// Reads the answers of a run folder; none if it asked no multiple choice before and after.
    pub fn read(dir: &Path) -> Option<Self> {
        let lines = |name: &str| -> Vec<Line> {
            let text = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let changes = Self::of(&lines("answers-before.jsonl"), &lines("answers-after.jsonl"));
        (changes.asked > 0).then_some(changes)
    }

    fn of(before: &[Line], after: &[Line]) -> Self {
        let same = |a: &Answered, b: &Answered| a.shard == b.shard && a.key == b.key && a.texts == b.texts;
        let pairs: Vec<(&Line, &Line)> =
            before.iter().zip(after).filter(|(a, b)| a.eval == b.eval && same(&a.answer, &b.answer)).collect();
        let mut mended: Vec<(&Line, &Line)> =
            pairs.iter().copied().filter(|(before, after)| !before.is_right() && after.is_right()).collect();
        mended.sort_by(|a, b| gain(*b).total_cmp(&gain(*a)));
        Self {
            asked: pairs.len(),
            mended: mended.len(),
            lost: pairs.iter().filter(|(before, after)| before.is_right() && !after.is_right()).count(),
            shown: chosen(&mended).into_iter().map(shown).collect(),
        }
    }

    /// For a terminal.
    pub fn describe(&self) -> String {
        let mut text = self.count() + ":\n";
        for Mended { shard, key, right, wrong } in &self.shown {
            let _ = writeln!(text, "  {key} in {shard}");
            for (what, scored) in [("true", right), ("false", wrong)] {
                let _ = writeln!(text, "    {what:<6}{:>6.3} → {:<6.3}  {}", scored.before, scored.after, scored.text);
            }
        }
        text
    }

    /// The counts as a sentence, without its end.
    pub fn count(&self) -> String {
        let Self { asked, mended, lost, shown } = self;
        let some = match shown.len() {
            0 => String::new(),
            some => format!("; {some} of the {mended}, with cosines before → after"),
        };
        format!("of {asked} questions, {mended} were answered wrong before and right after, {lost} the other way{some}")
    }
}

/// By how much the true text gained on the one that was chosen before.
fn gain((before, after): (&Line, &Line)) -> f32 {
    let (right, wrong) = (before.answer.correct, before.answer.chosen);
    let lead = |line: &Line| line.answer.cosines[right] - line.answer.cosines[wrong];
    lead(after) - lead(before)
}

/// The first ones of several types, no image twice; then others.
fn chosen<'a>(sorted: &[(&'a Line, &'a Line)]) -> Vec<(&'a Line, &'a Line)> {
    let (mut chosen, mut images, mut parts) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for new_types_only in [true, false] {
        for &(before, after) in sorted {
            let (answer, is_full) = (&before.answer, chosen.len() == SHOWN);
            if is_full || images.contains(&answer.key) || new_types_only && parts.contains(&answer.part) {
                continue;
            }
            images.insert(&answer.key);
            parts.insert(&answer.part);
            chosen.push((before, after));
        }
    }
    chosen
}

fn shown((before, after): (&Line, &Line)) -> Mended {
    let answer = &before.answer;
    let scored = |option: usize| Scored {
        text: answer.texts[option].clone(),
        before: answer.cosines[option],
        after: after.answer.cosines[option],
    };
    Mended {
        shard: answer.shard.clone(),
        key: answer.key.clone(),
        right: scored(answer.correct),
        wrong: scored(answer.chosen),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(key: &str, part: &str, chosen: usize, cosines: [f32; 3]) -> String {
        format!(
            "{{\"eval\":\"q\",\"shard\":\"a.tar\",\"key\":\"{key}\",\"part\":\"{part}\",\"texts\":[\"x\",\"y\",\"z\"],\
             \"correct\":1,\"chosen\":{chosen},\"cosines\":[{},{},{}]}}\n",
            cosines[0], cosines[1], cosines[2]
        )
    }

    #[test]
    fn what_training_mended_is_told_by_type_and_not_only_what_it_mended() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Changes::read(folder.path()), None);
        let write = |name: &str, lines: &[String]| std::fs::write(folder.path().join(name), lines.concat()).unwrap();
        let before = [0.3, 0.2, 0.1];
        write(
            "answers-before.jsonl",
            &[
                line("one", "hybrid", 0, before),
                line("one", "negative", 0, before),
                line("two", "hybrid", 0, before),
                line("three", "negative", 0, before),
                line("four", "hybrid", 1, [0.1, 0.2, 0.1]),
                line("five", "hybrid", 0, before),
                line("six", "hybrid", 0, before),
            ],
        );
        write(
            "answers-after.jsonl",
            &[
                line("one", "hybrid", 1, [0.1, 0.5, 0.1]),
                line("one", "negative", 1, [0.1, 0.6, 0.1]),
                line("two", "hybrid", 1, [0.1, 0.3, 0.1]),
                line("three", "negative", 1, [0.2, 0.3, 0.1]),
                line("four", "hybrid", 2, [0.1, 0.2, 0.3]),
                line("five", "hybrid", 0, before),
                line("seven", "hybrid", 1, [0.1, 0.9, 0.1]),
            ],
        );
        let changes = Changes::read(folder.path()).unwrap();
        assert_eq!((changes.asked, changes.mended, changes.lost), (6, 4, 1));
        let shown: Vec<(&str, f32)> = changes.shown.iter().map(|one| (one.key.as_str(), one.right.after)).collect();
        assert_eq!(shown, [("one", 0.6), ("two", 0.3), ("three", 0.3)]);
        let (right, wrong) = (&changes.shown[0].right, &changes.shown[0].wrong);
        assert_eq!((right.text.as_str(), right.before, wrong.text.as_str(), wrong.after), ("y", 0.2, "x", 0.1));
        let text = changes.describe();
        assert!(
            text.contains("of 6 questions, 4 were answered wrong before and right after, 1 the other way"),
            "{text}"
        );
        assert!(text.contains("true   0.200 → 0.600   y") && text.contains("one in a.tar"), "{text}");
    }
}
