//! Texts to choose from: which of them is true of the image?

use std::collections::{BTreeMap, BTreeSet};

use items::{TextEncoder, metric};
use pipeline_engine::{Build, StageError};

use super::Baselines;
use crate::benchmark::{Answered, Benchmark, Coverage, Outcomes};
use crate::compose::{self, Composer};
use crate::pictures::{Pictures, gather};
use crate::score::Series;
use crate::texts::{Rows, Texts, cosine};

/// A question as its file asks it.
#[derive(Debug, Clone)]
pub struct Question {
    /// Path or key of the image.
    pub image: String,
    /// At least two texts.
    pub options: Vec<String>,
    /// Which one is true.
    pub correct: usize,
    /// The type of the question, if it has one.
    pub part: Option<String>,
    /// The type of each option, if it is known.
    pub option_types: Option<Vec<String>>,
}

impl Question {
    /// A caption against a foil.
    pub fn pair(image: String, caption: String, foil: String) -> Self {
        Self { image, options: vec![caption, foil], correct: 0, part: None, option_types: None }
    }
}

/// A question whose image can be used.
#[derive(Debug)]
struct Asked {
    image: usize,
    options: Vec<usize>,
    correct: usize,
    part: Option<String>,
    option_types: Option<Vec<String>>,
}

/// Multiple choice, or pairs of a caption and a foil.
#[derive(Debug)]
pub struct Choice {
    coverage: Coverage,
    pictures: Pictures,
    /// The mean of the image features, at length 1: an image of nothing in particular.
    mean: Vec<f32>,
    texts: Texts,
    asked: Vec<Asked>,
    baselines: Option<Baselines>,
}

impl Choice {
    /// Encodes the images that the questions are about, for the benchmark `name`.
    ///
    /// # Errors
    /// When none of them is found, or encoding fails.
    pub fn open(
        name: &str,
        questions: Vec<Question>,
        images: &[String],
        baselines: Option<Baselines>,
        build: &Build<'_>,
    ) -> Result<Self, StageError> {
        let wanted: Vec<&str> = questions.iter().map(|question| question.image.as_str()).collect();
        let found = gather(name, images, &wanted, build)?;
        let coverage = Coverage { rows: questions.len(), missing: found.missing, ..Coverage::default() };
        let placed = found.places.into_iter().zip(questions).filter_map(|(place, question)| Some((place?, question)));
        Ok(Self::of_pictures(coverage, found.pictures, placed, baselines))
    }

    /// Questions about images of `pictures`, each with the place of its image; they are the rows that
    /// `coverage` says are used.
    pub fn of_pictures(
        coverage: Coverage,
        pictures: Pictures,
        questions: impl IntoIterator<Item = (usize, Question)>,
        baselines: Option<Baselines>,
    ) -> Self {
        let mut texts = Texts::default();
        let asked = |(image, question): (usize, Question)| {
            let Question { options, correct, part, option_types, .. } = question;
            let options = options.iter().map(|text| texts.place(text)).collect();
            Asked { image, options, correct, part, option_types }
        };
        let asked: Vec<Asked> = questions.into_iter().map(asked).collect();
        let coverage = Coverage { used: asked.len(), ..coverage };
        let mean = pictures.mean(asked.iter().map(|question| question.image));
        Self { coverage, pictures, mean, texts, asked, baselines }
    }

    /// Notes rows that do not count.
    #[must_use]
    pub fn set_aside(mut self, rows: usize, why: &'static str) -> Self {
        self.coverage.set_aside = (rows > 0).then_some((rows, why));
        self
    }

    /// The answers by a score of (text, image); a blind reader sees the mean image alone.
    fn answers(&self, score: impl Fn(usize, &[f32]) -> f32, blind: bool) -> Vec<Answer> {
        let answer = |question: &Asked| {
            let image = if blind { &self.mean } else { self.pictures.feature(question.image) };
            let scores: Vec<f32> = question.options.iter().map(|&text| score(text, image)).collect();
            answer(&scores, question.correct)
        };
        self.asked.iter().map(answer).collect()
    }

    /// How each question was answered, with the score of every option.
    fn answered(&self, score: impl Fn(usize, &[f32]) -> f32, answers: &[Answer]) -> Vec<Answered> {
        let answered = |(question, answer): (&Asked, &Answer)| Answered {
            shard: self.pictures.shards[question.image].url.clone(),
            key: self.pictures.keys[question.image].to_string(),
            part: question.part.clone(),
            texts: question.options.iter().map(|&text| self.texts.list()[text].clone()).collect(),
            correct: question.correct,
            chosen: match *answer {
                Answer::Correct => question.correct,
                Answer::Wrong(option) => option,
            },
            cosines: question.options.iter().map(|&text| score(text, self.pictures.feature(question.image))).collect(),
        };
        self.asked.iter().zip(answers).map(answered).collect()
    }

    /// The share of correct answers, of all and by type.
    fn accuracy(&self, metric: &str, answers: &[Answer], by_part: bool, into: &mut Vec<Series>) {
        let hits = || self.asked.iter().zip(answers).map(|(q, a)| (q, *a == Answer::Correct));
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
        for (question, answer) in self.asked.iter().zip(answers) {
            let (Some(types), Some(part)) = (&question.option_types, &question.part) else { continue };
            let wrong: BTreeSet<&String> =
                types.iter().enumerate().filter(|(i, _)| *i != question.correct).map(|(_, of)| of).collect();
            for of in wrong {
                let hit = matches!(answer, Answer::Wrong(option) if types[*option] == *of);
                chosen.entry((format!("chose_wrong_{of}"), part)).or_default().push((hit, question.image));
            }
        }
        into.extend(chosen.into_iter().map(|((metric, part), hits)| Series::hits(&metric, part, hits)));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Correct,
    Wrong(usize),
}

/// The option with the highest score. A wrong option that scores as high as the correct one counts
/// as chosen: an encoder that cannot tell them apart must not get the answer from their order.
fn answer(scores: &[f32], correct: usize) -> Answer {
    let wrong = scores.iter().enumerate().filter(|(option, _)| *option != correct);
    let best = wrong.fold(None, |best: Option<(usize, f32)>, (option, &score)| match best {
        Some((_, highest)) if highest >= score => best,
        _ => Some((option, score)),
    });
    match best {
        Some((_, score)) if scores[correct] > score => Answer::Correct,
        Some((option, _)) => Answer::Wrong(option),
        None => Answer::Correct,
    }
}

impl Benchmark for Choice {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn outcomes(&self, encoder: &dyn TextEncoder) -> Result<Outcomes, StageError> {
        let rows: Rows = self.texts.embed(encoder, self.pictures.dim)?;
        let plain = |text: usize, image: &[f32]| cosine(rows.row(text), image);
        let mut series = Vec::new();
        let answers = self.answers(plain, false);
        self.accuracy(metric::ACCURACY, &answers, true, &mut series);
        // The answer without an image shows what the wording alone gives away.
        self.accuracy(metric::TEXT_ONLY_ACCURACY, &self.answers(plain, true), self.baselines.is_some(), &mut series);
        if let Some(Baselines { lambda }) = self.baselines {
            self.wrong(&answers, &mut series);
            let mut measure = |name: &str, answers: &[Answer]| {
                self.accuracy(&metric::of_baseline(name, metric::ACCURACY), answers, true, &mut series);
            };
            let composer = Composer::new(self.texts.list(), &rows, encoder, self.pictures.dim)?;
            let score = |text: usize, image: &[f32]| composer.score(text, image, lambda);
            measure(metric::TRAINING_FREE, &self.answers(score, false));
            for (name, compose) in compose::ALL {
                let rows = composer.composed(compose, lambda);
                measure(name, &self.answers(|text, image| cosine(rows.row(text), image), false));
            }
        }
        Ok(Outcomes { series, answers: self.answered(plain, &answers) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_nan_are_wrong() {
        assert_eq!(answer(&[0.3, 0.1, 0.2], 0), Answer::Correct);
        assert_eq!(answer(&[0.3, 0.3], 0), Answer::Wrong(1));
        assert_eq!(answer(&[0.1, 0.3, 0.2, 0.3], 0), Answer::Wrong(1));
        assert_eq!(answer(&[f32::NAN, 0.3], 0), Answer::Wrong(1));
    }
}
