//! What a benchmark is, and how its scores become measurements.

use std::any::Any;

use pipeline_engine::{Measurement, Moment, Probe, StageError};
use items::{TextEncoder, TextEncoderHandle};

use crate::score::Series;

/// What is measured beside the score itself.
#[derive(Debug, Clone, Copy)]
pub struct Detail {
    /// Which wrong answers were chosen, and the training-free answer.
    pub baselines: bool,
    /// The training-free answer's weight of what a text denies.
    pub lambda: f64,
}

/// How much of a benchmark's file a score stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Rows of the file that ask something.
    pub rows: usize,
    /// Those whose images are there.
    pub used: usize,
    /// The images that are not, each once, and why.
    pub missing: Vec<String>,
    /// Rows that the benchmark itself does not count, and why.
    pub set_aside: Option<(usize, &'static str)>,
}

impl Coverage {
    /// "980 of 1000 rows; 3 images are not there: a.jpg, b.jpg, c.jpg".
    pub fn words(&self) -> String {
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
        text
    }
}

/// A benchmark whose images are encoded: it takes a text encoder and gives outcomes.
pub trait Benchmark: Send {
    /// What its scores stand on.
    fn coverage(&self) -> &Coverage;

    /// The outcomes of a text encoder, without empty ones.
    ///
    /// # Errors
    /// When the encoder fails, or does not fit the images.
    fn series(&self, encoder: &dyn TextEncoder, detail: Detail) -> Result<Vec<Series>, StageError>;
}

/// A benchmark in an `[[eval]]` table.
pub(crate) struct Probed {
    pub name: String,
    pub benchmark: Box<dyn Benchmark>,
    pub detail: Detail,
}

impl Probed {
    /// The probe; warns where its score will stand on a part of the rows only.
    pub fn probe(name: &str, benchmark: Box<dyn Benchmark>, detail: Detail) -> Box<dyn Probe> {
        let coverage = benchmark.coverage();
        if coverage.used < coverage.rows {
            tracing::warn!("eval {name}: {}", coverage.words());
        }
        Box::new(Self { name: name.to_owned(), benchmark, detail })
    }
}

impl Probe for Probed {
    fn measure(&mut self, subject: &(dyn Any + Send + Sync), moment: &Moment) -> Result<Vec<Measurement>, StageError> {
        let encoder = subject
            .downcast_ref::<TextEncoderHandle>()
            .ok_or_else(|| StageError::msg("the last stage trains no text encoder; this [[eval]] measures one"))?;
        let series = self.benchmark.series(&*encoder.0, self.detail)?;
        Ok(series.iter().map(|series| series.measured(moment, &self.name)).collect())
    }
}
