//! Texts to choose from: which of them is true of the image?

use std::collections::{BTreeMap, BTreeSet};

use pipeline_engine::{Build, StageError};
use items::TextEncoder;

use crate::benchmark::{Benchmark, Coverage, Detail};
use crate::negation::TrainingFree;
use crate::pictures::{Pictures, gather};
use crate::score::Series;
use crate::texts::{Rows, Texts, cosine};

/// A question as its file asks it.
#[derive(Debug, Clone)]
pub struct Row {
    /// Path or key of the image.
    pub image: String,
    /// At least two texts.
    pub options: Vec<String>,
    /// Which one is true.
    pub right: usize,
    /// The type of the question, if it has one.
    pub part: Option<String>,
    /// The type of each option, if it is known.
    pub kinds: Option<Vec<String>>,
}

/// A question whose image is there.
#[derive(Debug)]
struct Question {
    image: usize,
    options: Vec<usize>,
    right: usize,
    part: Option<String>,
    kinds: Option<Vec<String>>,
}

/// Multiple choice, or pairs of a caption and a foil.
#[derive(Debug)]
pub struct Choice {
    coverage: Coverage,
    pictures: Pictures,
    /// The mean of the image features, at length 1: an image of nothing in particular.
    mean: Vec<f32>,
    texts: Texts,
    questions: Vec<Question>,
}

impl Choice {
    /// Encodes the images that the rows ask about.
    ///
    /// # Errors
    /// When none of them is there, or encoding fails.
    pub fn open(name: &str, rows: Vec<Row>, images: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        let wanted: Vec<&str> = rows.iter().map(|row| row.image.as_str()).collect();
        let (pictures, places, missing) = gather(name, images, &wanted, build)?;
        let mut coverage = Coverage { rows: rows.len(), missing, ..Coverage::default() };
        let mut texts = Texts::default();
        let questions: Vec<Question> = rows
            .into_iter()
            .zip(places)
            .filter_map(|(row, place)| {
                let image = place?;
                let options = row.options.iter().map(|text| texts.place(text)).collect();
                Some(Question { image, options, right: row.right, part: row.part, kinds: row.kinds })
            })
            .collect();
        coverage.used = questions.len();
        let mean = pictures.mean(questions.iter().map(|question| question.image));
        Ok(Self { coverage, pictures, mean, texts, questions })
    }

    /// Notes rows that do not count.
    pub fn set_aside(mut self, rows: usize, why: &'static str) -> Self {
        self.coverage.set_aside = (rows > 0).then_some((rows, why));
        self
    }

    /// The answers by a score of (text, image); a blind reader sees the mean image alone.
    fn answers(&self, score: impl Fn(usize, &[f32]) -> f32, blind: bool) -> Vec<Answer> {
        let answer = |question: &Question| {
            let image = if blind { &self.mean } else { self.pictures.feature(question.image) };
            let scores: Vec<f32> = question.options.iter().map(|&text| score(text, image)).collect();
            answer(&scores, question.right)
        };
        self.questions.iter().map(answer).collect()
    }

    /// The share of right answers, of all and by type.
    fn accuracy(&self, metric: &str, answers: &[Answer], by_part: bool, into: &mut Vec<Series>) {
        let hits = || self.questions.iter().zip(answers).map(|(q, a)| (q, *a == Answer::Right));
        into.push(Series::hits(metric, "all", hits().map(|(q, hit)| (hit, q.image))));
        let mut parts: BTreeMap<&str, Vec<(bool, usize)>> = BTreeMap::new();
        for (question, hit) in hits().filter(|_| by_part) {
            if let Some(part) = &question.part {
                parts.entry(part).or_default().push((hit, question.image));
            }
        }
        if parts.keys().any(|part| *part != "all") {
            into.extend(parts.into_iter().map(|(part, hits)| Series::hits(metric, part, hits)));
        }
    }

    /// Which wrong answers were chosen: of the questions of each type, the share that was
    /// answered with a wrong option of each type.
    fn wrong(&self, answers: &[Answer], into: &mut Vec<Series>) {
        let mut chosen: BTreeMap<(String, &str), Vec<(bool, usize)>> = BTreeMap::new();
        for (question, answer) in self.questions.iter().zip(answers) {
            let (Some(kinds), Some(part)) = (&question.kinds, &question.part) else { continue };
            let wrong: BTreeSet<&String> =
                kinds.iter().enumerate().filter(|(i, _)| *i != question.right).map(|(_, kind)| kind).collect();
            for kind in wrong {
                let hit = matches!(answer, Answer::Wrong(option) if kinds[*option] == *kind);
                chosen.entry((format!("chose_wrong_{kind}"), part)).or_default().push((hit, question.image));
            }
        }
        into.extend(chosen.into_iter().map(|((metric, part), hits)| Series::hits(&metric, part, hits)));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Right,
    Wrong(usize),
}

/// The option of the highest score. A wrong option that scores as high as the right one is
/// chosen before it: who cannot tell them apart does not get the answer from their order.
fn answer(scores: &[f32], right: usize) -> Answer {
    let wrong = scores.iter().enumerate().filter(|(option, _)| *option != right);
    let best = wrong.fold(None, |best: Option<(usize, f32)>, (option, &score)| match best {
        Some((_, highest)) if highest >= score => best,
        _ => Some((option, score)),
    });
    match best {
        Some((_, score)) if scores[right] > score => Answer::Right,
        Some((option, _)) => Answer::Wrong(option),
        None => Answer::Right,
    }
}

impl Benchmark for Choice {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn series(&self, encoder: &dyn TextEncoder, detail: Detail) -> Result<Vec<Series>, StageError> {
        let rows: Rows = self.texts.embed(encoder, self.pictures.dim)?;
        let plain = |text: usize, image: &[f32]| cosine(rows.row(text), image);
        let mut series = Vec::new();
        let answers = self.answers(plain, false);
        self.accuracy("accuracy", &answers, true, &mut series);
        // The answer without an image shows what the wording alone gives away.
        self.accuracy("text_only_accuracy", &self.answers(plain, true), detail.baselines, &mut series);
        if detail.baselines {
            self.wrong(&answers, &mut series);
            if self.texts.list().iter().any(|text| crate::negation::has_negation(text)) {
                let free = TrainingFree::new(self.texts.list(), encoder, self.pictures.dim, detail.lambda)?;
                let answers = self.answers(|text, image| free.score(text, image), false);
                self.accuracy("training_free_accuracy", &answers, true, &mut series);
            }
        }
        Ok(series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_is_not_right_and_nan_neither() {
        assert_eq!(answer(&[0.3, 0.1, 0.2], 0), Answer::Right);
        assert_eq!(answer(&[0.3, 0.3], 0), Answer::Wrong(1));
        assert_eq!(answer(&[0.1, 0.3, 0.2, 0.3], 0), Answer::Wrong(1));
        assert_eq!(answer(&[f32::NAN, 0.3], 0), Answer::Wrong(1));
    }
}
