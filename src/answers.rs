//! Multiple-choice questions whose answer changed in training.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;

use benchmarks::Answered;
use serde::Deserialize;

use crate::text;

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
    fn read(line: &str) -> Option<Self> {
        let line: Self = serde_json::from_str(line).ok()?;
        let Answered { texts, cosines, correct, chosen, .. } = &line.answer;
        let fits = *correct < texts.len() && *chosen < texts.len() && cosines.len() == texts.len();
        fits.then_some(line)
    }

    /// What makes it the same question.
    fn question(&self) -> (&str, &str, &str, &[String], usize) {
        let Answered { shard, key, texts, correct, .. } = &self.answer;
        (&self.eval, shard, key, texts, *correct)
    }

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
pub struct Fixed {
    pub shard: String,
    pub key: String,
    /// The true text.
    pub right: Scored,
    /// The text that was chosen before.
    pub wrong: Scored,
}

/// What training changed in the answers to one `[[eval]]`.
#[derive(Debug, Default, PartialEq)]
pub struct Count {
    /// Questions that were asked both times.
    pub asked: usize,
    /// Wrong before, right after.
    pub fixed: usize,
    /// Right before, wrong after.
    pub broken: usize,
}

/// What training changed in all answers.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// By the name of the `[[eval]]`.
    pub counts: BTreeMap<String, Count>,
    /// Some of those that training fixed: the largest gains, of several types and different images.
    pub shown: Vec<Fixed>,
}

impl Changes {
    /// Reads the answers of a run folder; none if no multiple choice was asked before and after. A line with a cosine
    /// that is no number is left out.
    pub fn read(dir: &Path) -> Option<Self> {
        let lines = |name: &str| -> Vec<Line> {
            let text = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
            text.lines().filter_map(Line::read).collect()
        };
        let changes = Self::of(&lines("answers-before.jsonl"), &lines("answers-after.jsonl"));
        (!changes.counts.is_empty()).then_some(changes)
    }

    fn of(before: &[Line], after: &[Line]) -> Self {
        let after: HashMap<_, &Line> = after.iter().map(|line| (line.question(), line)).collect();
        let pairs = before.iter().filter_map(|line| Some((line, *after.get(&line.question())?)));
        let mut changes = Self::default();
        let mut fixed: Vec<(&Line, &Line)> = Vec::new();
        for (before, after) in pairs {
            let count = changes.counts.entry(before.eval.clone()).or_default();
            count.asked += 1;
            match (before.is_right(), after.is_right()) {
                (false, true) => {
                    count.fixed += 1;
                    fixed.push((before, after));
                }
                (true, false) => count.broken += 1,
                _ => {}
            }
        }
        fixed.sort_by(|a, b| gain(*b).total_cmp(&gain(*a)));
        changes.shown = chosen(&fixed).into_iter().map(shown).collect();
        changes
    }

    /// For a terminal.
    pub fn describe(&self) -> String {
        let mut text: String = self.counted().map(|count| format!("{count}\n")).collect();
        if !self.shown.is_empty() {
            let _ = writeln!(text, "\n{}", self.about());
        }
        for Fixed { shard, key, right, wrong } in &self.shown {
            let _ = writeln!(text, "  {key} in {shard}");
            for (what, scored) in [("true", right), ("false", wrong)] {
                let _ = writeln!(text, "    {what:<6}{:>6.3} → {:<6.3}  {}", scored.before, scored.after, scored.text);
            }
        }
        text
    }

    /// A sentence per eval.
    pub fn counted(&self) -> impl Iterator<Item = String> {
        self.counts.iter().map(|(eval, Count { asked, fixed, broken })| {
            let questions = text::count(*asked, "question");
            format!(
                "{eval}: of {questions}, {fixed} wrong before and right after, {broken} right before and wrong after"
            )
        })
    }

    /// What the shown ones are.
    pub fn about(&self) -> &'static str {
        "some that training fixed, those with the largest gains; cosines with the picture before → after:"
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
            let image = (&answer.shard, &answer.key);
            if is_full || images.contains(&image) || new_types_only && parts.contains(&answer.part) {
                continue;
            }
            images.insert(image);
            parts.insert(&answer.part);
            chosen.push((before, after));
        }
    }
    chosen
}

fn shown((before, after): (&Line, &Line)) -> Fixed {
    let answer = &before.answer;
    let scored = |option: usize| Scored {
        text: answer.texts[option].clone(),
        before: answer.cosines[option],
        after: after.answer.cosines[option],
    };
    Fixed {
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
            "{{\"eval\":\"q\",\"shard\":\"a.tar\",\"key\":\"{key}\",\"part\":\"{part}\",\"texts\":[\"x\",\"y\",\"{part}\"],\
             \"correct\":1,\"chosen\":{chosen},\"cosines\":[{},{},{}]}}\n",
            cosines[0], cosines[1], cosines[2]
        )
    }

    #[test]
    fn what_training_fixed_is_shown_by_type_and_what_it_broke_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Changes::read(folder.path()), None);
        let write = |name: &str, lines: &[String]| std::fs::write(folder.path().join(name), lines.concat()).unwrap();
        let before = [0.3, 0.2, 0.1];
        write(
            "answers-before.jsonl",
            &[
                line("one", "hybrid", 0, before).replace("0.3", "null"),
                line("one", "negative", 0, before),
                line("two", "hybrid", 0, before),
                line("three", "negative", 0, before),
                line("four", "hybrid", 1, [0.1, 0.2, 0.1]),
                line("five", "hybrid", 0, before),
                line("six", "hybrid", 0, before),
                line("eight", "hybrid", 7, before),
            ],
        );
        write(
            "answers-after.jsonl",
            &[
                line("seven", "hybrid", 1, [0.1, 0.9, 0.1]),
                line("one", "negative", 1, [0.1, 0.6, 0.1]),
                line("three", "negative", 1, [0.2, 0.3, 0.1]),
                line("two", "hybrid", 1, [0.1, 0.3, 0.1]),
                line("four", "hybrid", 2, [0.1, 0.2, 0.3]),
                line("five", "hybrid", 0, before),
                line("eight", "hybrid", 1, before),
            ],
        );
        let changes = Changes::read(folder.path()).unwrap();
        assert_eq!(changes.counts["q"], Count { asked: 5, fixed: 3, broken: 1 });
        let shown: Vec<(&str, f32)> = changes.shown.iter().map(|one| (one.key.as_str(), one.right.after)).collect();
        assert_eq!(shown, [("one", 0.6), ("two", 0.3), ("three", 0.3)]);
        let (right, wrong) = (&changes.shown[0].right, &changes.shown[0].wrong);
        assert_eq!((right.text.as_str(), right.before, wrong.text.as_str(), wrong.after), ("y", 0.2, "x", 0.1));
        let text = changes.describe();
        let expected = "q: of 5 questions, 3 wrong before and right after, 1 right before and wrong after\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("true   0.200 → 0.600   y") && text.contains("one in a.tar"), "{text}");
    }
}
