//! `pipeline audit`

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use items::{BatchItem, Paired};
use model::Model;
use pipeline_engine::{Config, Measurement, Moment, Phase, StageError, outside_run};
use questions::Known;
use questions::audit::{Report, Truth, audit, unknown, variants};
use stage_captions::counts::Count;
use stage_captions::start::StartTower;

use super::eval::text_encoder;
use super::{ConfigArguments, Context, Failure};
use crate::print;

/// How true are generated captions: what they deny, compared with what images show
///
/// Writes the captions of `writer = "tng"` for a config's own batches, with different guards.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline audit pipeline.toml --shards 'assets/world/train-*.tar'
  pipeline audit coco.toml --truth annotations/instances_train2017.json")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// What images show: COCO's instances_*.json, or a table (JSON lines or CSV with image and
    /// present). Without it: `objects` of each KEY.json in the shards.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Shards whose members KEY.json say what the images show.
    #[arg(long, value_name = "SHARDS", conflicts_with = "truth", required_unless_present_any = ["truth", "held_out"])]
    shards: Vec<String>,
    /// Judge by what the other captions of an image name, and let the writer see only the one that
    /// was drawn: a lower bound, since captions leave things out.
    #[arg(long, conflicts_with_all = ["truth", "shards"])]
    held_out: bool,
    /// Write the measurements as JSON lines.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let config = Config::load(&self.config.config, &self.config.preset, &self.config.set, &context.registry)?;
        let (seed, mut batches, start) = outside_run(&config, &context.registry, |build| {
            let side = build.side.as_ref().ok_or_else(|| StageError::msg("no side run"))?;
            let mut batches: Vec<Paired> = Vec::new();
            side.collect_own::<Paired>(&mut |paired| {
                batches.push(paired);
                Ok(())
            })?;
            let model = Model::of(build)?;
            let encoder = text_encoder(&model, build.run.device.word())?;
            Ok((build.run.seed, batches, StartTower::new(Arc::new(encoder))))
        })?
        .map_err(|error| anyhow!("{error}"))?;
        let known = match &self.truth {
            None if self.held_out => Known::from_held_out(hold_out(&mut batches)?),
            None => Known::from_members(&self.shards, std::path::Path::new("."), 1),
            Some(path) if path.extension().is_some_and(|e| e == "json") => Known::from_coco(path, None, 1),
            Some(path) => Known::from_table(path, 1),
        }
        .map_err(anyhow::Error::from)?;
        let truth = Truth::new(&known);
        let unknown = unknown(&batches, &truth);
        let images: usize = batches.iter().map(|paired| paired.batch.items.len()).sum();
        if unknown.len() == images {
            return Err(anyhow!("nothing is known of any of {images} images; the first is `{}`", unknown[0]).into());
        }
        let moment = Moment { phase: Phase::Before, epoch: 1, step: 0, seed };
        let mut table = String::from(HEAD);
        let mut lines: Vec<Measurement> = Vec::new();
        let mut worst: Option<Report> = None;
        for variant in variants() {
            let report = audit(&variant, &batches, &truth, &start, seed).map_err(|error| anyhow!("{error}"))?;
            let (absence, full) =
                (report.false_absence.measured(&moment, "audit"), report.false_full.measured(&moment, "audit"));
            table += &row(&report, &absence, &full);
            lines.extend([absence, full].into_iter().filter(|line| line.n > 0));
            worst.get_or_insert(report);
        }
        let mut text = format!(
            "{images} captions of {} batches; nothing is known of {} of their images\n\n{table}",
            batches.len(),
            unknown.len()
        );
        if let Some(report) = worst.filter(|report| !report.examples.is_empty()) {
            text += &format!("\nfalse, with {}:\n", report.variant);
            for (key, caption, object) in &report.examples {
                text += &format!("  {key}: {caption}  ({object})\n");
            }
        }
        if let Some(path) = &self.json {
            let text: String = lines.iter().map(|line| serde_json::json!(line).to_string() + "\n").collect();
            pipeline_engine::write_atomically(path, text.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        print::stdout(&text);
        Ok(())
    }
}

/// Removes all captions but the drawn one from each item; returns the removed ones, by the item's
/// key.
fn hold_out(batches: &mut [Paired]) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let mut hidden = Vec::new();
    for paired in batches {
        let keep_drawn = |item: &BatchItem| {
            let others = item.captions.iter().enumerate().filter(|(n, _)| *n != item.drawn);
            hidden.push((item.key.to_string(), others.map(|(_, caption)| caption.clone()).collect::<Vec<_>>()));
            BatchItem { captions: vec![item.caption().to_owned()].into(), drawn: 0, ..item.clone() }
        };
        paired.batch.items = paired.batch.items.iter().map(keep_drawn).collect();
    }
    match hidden.iter().all(|(_, captions)| captions.is_empty()) {
        true => Err(anyhow!("no image has a second caption that could be held out; give --truth or --shards")),
        false => Ok(hidden),
    }
}

const HEAD: &str = "| guards | false absence [95 %] | judged | false full negation | with object | no things (kept out) | objects | templates | distinct bigrams |\n\
                    |---|---|---|---|---|---|---|---|---|\n";

fn row(report: &Report, absence: &Measurement, full: &Measurement) -> String {
    let percent = |value: f64| if value.is_nan() { "–".to_owned() } else { format!("{:.1} %", 100.0 * value) };
    let bounds = match (absence.low, absence.high) {
        (Some(low), Some(high)) if !low.is_nan() => format!(" [{:.1}, {:.1}]", 100.0 * low, 100.0 * high),
        _ => String::new(),
    };
    let ((with, all), (distinct, bigrams)) = (report.with_object, report.bigrams);
    format!(
        "| {} | {}{bounds} | {} | {} | {} | {} ({}) | {} | {} | {} |\n",
        report.variant,
        percent(absence.value),
        absence.n,
        percent(full.value),
        percent(with as f64 / all.max(1) as f64),
        report.not_things,
        report.counts[Count::NotConcrete],
        report.distinct.0,
        report.distinct.1,
        percent(distinct as f64 / bigrams.max(1) as f64),
    )
}
