//! What a benchmark is, and how its scores become measurements.

use std::any::Any;

use items::{TextEncoder, TextEncoderHandle};
use pipeline_engine::{Findings, Moment, Phase, Probe, StageError};
use serde::{Deserialize, Serialize};

use crate::score::Series;

/// How much of a benchmark's file a score stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Rows of the file that ask something.
    pub rows: usize,
    /// Those whose images can be used.
    pub used: usize,
    /// The images that cannot, each once.
    pub missing: Vec<String>,
    /// Rows that the benchmark itself does not count, and why.
    pub set_aside: Option<(usize, &'static str)>,
    /// Empty captions within rows that count; they ask nothing.
    pub empty: usize,
}

impl Coverage {
    /// "980 of 1000 rows; images that cannot be used: 3 (a.jpg, b.jpg, c.jpg)".
    pub fn describe(&self) -> String {
        const NAMED: usize = 5;
        let mut text = format!("{} of {} rows", self.used, self.rows);
        if !self.missing.is_empty() {
            let more = if self.missing.len() > NAMED { ", …" } else { "" };
            let named: Vec<&str> = self.missing.iter().take(NAMED).map(String::as_str).collect();
            text += &format!("; images that cannot be used: {} ({}{more})", self.missing.len(), named.join(", "));
        }
        if let Some((rows, why)) = self.set_aside {
            text += &format!("; {rows} more rows do not count ({why})");
        }
        match self.empty {
            0 => {}
            1 => text += "; 1 caption is empty and does not count",
            empty => text += &format!("; {empty} captions are empty and do not count"),
        }
        text
    }
}

/// Results of a text encoder on a benchmark.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    /// What is measured, without empty series.
    pub series: Vec<Series>,
    /// How each question was answered; none where a benchmark does not ask questions.
    pub answers: Vec<Answered>,
}

impl From<Vec<Series>> for Outcomes {
    fn from(series: Vec<Series>) -> Self {
        Self { series, answers: Vec::new() }
    }
}

/// A question with several texts, and the cosine of each text with the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The shard or folder that holds the image.
    pub shard: String,
    /// The image's key there.
    pub key: String,
    /// The type of the question, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The texts to choose from.
    pub texts: Vec<String>,
    /// Which one is true, counted from 0.
    pub correct: usize,
    /// Which one was chosen, counted from 0. In a tie with the true text: the false one.
    pub chosen: usize,
    /// The cosine of each text with the image.
    pub cosines: Vec<f32>,
}

impl Answered {
    /// A line of a run's `answers-before.jsonl` and `answers-after.jsonl`.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn line(&self, eval: &str) -> Result<String, StageError> {
        #[derive(Serialize)]
        struct Line<'a> {
            eval: &'a str,
            #[serde(flatten)]
            answer: &'a Answered,
        }
        serde_json::to_string(&Line { eval, answer: self }).map_err(|error| StageError::msg(error.to_string()))
    }
}

/// A benchmark whose images are encoded: it takes a text encoder and gives outcomes.
pub trait Benchmark: Send {
    /// What its scores stand on.
    fn coverage(&self) -> &Coverage;

    /// The outcomes of a text encoder.
    ///
    /// # Errors
    /// When the encoder fails, or its features have another width than the images'.
    fn outcomes(&self, encoder: &dyn TextEncoder) -> Result<Outcomes, StageError>;
}

/// A benchmark in an `[[eval]]` table.
pub struct Probed {
    name: String,
    benchmark: Box<dyn Benchmark>,
}

impl Probed {
    /// The probe; warns if its score will stand on a part of the file only.
    pub fn probe(name: &str, benchmark: Box<dyn Benchmark>) -> Box<dyn Probe> {
        let coverage = benchmark.coverage();
        if coverage.used < coverage.rows || coverage.empty > 0 {
            tracing::warn!("eval {name}: {}", coverage.describe());
        }
        Box::new(Self { name: name.to_owned(), benchmark })
    }
}

impl Probe for Probed {
    fn measure(&mut self, subject: &(dyn Any + Send + Sync), moment: &Moment) -> Result<Findings, StageError> {
        let encoder = subject
            .downcast_ref::<TextEncoderHandle>()
            .ok_or_else(|| StageError::msg("the last stage trains no text encoder; this [[eval]] measures one"))?;
        let Outcomes { series, answers } = self.benchmark.outcomes(&*encoder.0)?;
        let measurements = series.iter().map(|series| series.measured(moment, &self.name)).collect();
        let answers: &[Answered] = if moment.phase == Phase::Epoch { &[] } else { &answers };
        let answers = answers.iter().map(|answer| answer.line(&self.name)).collect::<Result<_, _>>()?;
        Ok(Findings { measurements, answers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_says_what_it_stands_on() {
        let missing = (0..7).map(|i| format!("{i}.jpg")).collect();
        let coverage = Coverage { rows: 9, used: 2, missing, set_aside: Some((4, "neutral")), empty: 3 };
        assert_eq!(
            coverage.describe(),
            "2 of 9 rows; images that cannot be used: 7 (0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, …); 4 more rows do not \
             count (neutral); 3 captions are empty and do not count"
        );
        let coverage = Coverage { rows: 1, used: 1, empty: 1, ..Coverage::default() };
        assert_eq!(coverage.describe(), "1 of 1 rows; 1 caption is empty and does not count");
    }
}
