//! `pipeline embed`

mod images;
mod output;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use benchmarks::compose::{self, Compose, Composer};
use benchmarks::texts::Rows;
use clap::Args;
use clip::preprocess::Limits;
use clip::{Layout, Params as _, TextTower, Tokenizer};
use items::TextEncoder as _;
use model::{Model, Products};
use pipeline_engine::{Chosen, Several, StageError};
use stage_encode::{Clip, EncoderKind, Onnx, open_encoder};
use stage_train::encoder::Encoder;

use super::{Context, Failure};
use crate::text;
use images::Picture;
use output::{Format, Output, Row};

/// Write the features that a checkpoint computes for pictures and texts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline embed --model runs/NAME/export --text 'a dog with no ball' --text 'a dog with a ball'
  pipeline embed --model clip --image photos/ --out photos.npy       # names in photos.rows.jsonl
  pipeline embed --model clip --texts queries.txt --compose policy   # negation without training
  pipeline embed --model clip --image 'test-{000..003}.tar' --texts captions.txt --out f.arrow")]
pub struct Arguments {
    /// A checkpoint: a folder, a file of weights with its config beside it, or hf:owner/name.
    #[arg(long, short, value_name = "CHECKPOINT")]
    model: PathBuf,
    /// A picture, a folder of pictures, or WebDataset shards (braces and globs in quotes).
    #[arg(long, value_name = "PATH")]
    image: Vec<String>,
    /// A text.
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,
    /// A file with one text per line; - for standard input.
    #[arg(long, value_name = "FILE")]
    texts: Vec<PathBuf>,
    /// The file to write; - for standard output, which is the default.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Output format [default: by the ending of --out, else jsonl].
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Features as the projection gives them, not scaled to length 1.
    #[arg(long)]
    raw: bool,
    /// Compose texts with a denial of their parts: policy, lambda, space, ignore, deo.
    #[arg(long, value_name = "NAME", conflicts_with = "raw", value_parser = composition_names(), hide_possible_values = true)]
    compose: Option<String>,
    /// With --compose lambda: the weight of what a text denies [default: 0.5].
    #[arg(long, default_value_t = 0.5, requires = "compose", hide_default_value = true)]
    lambda: f64,
    /// Skip pictures that cannot be read, and report how many.
    #[arg(long)]
    skip_bad: bool,
    /// Where to compute: auto, cpu, wgpu or cuda.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Pictures or texts per forward pass.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        match self.embed(context.quiet) {
            // Who reads the features has enough of them (`| head`).
            Err(error) if is_broken_pipe(&error) => Ok(()),
            other => Ok(other?),
        }
    }

    fn embed(&self, quiet: bool) -> anyhow::Result<()> {
        let texts = self.all_texts()?;
        if self.image.is_empty() && texts.is_empty() {
            bail!("nothing to embed: give --image, --text or --texts");
        }
        let model = Model::open(&self.model, Path::new(""))?;
        // Opened before any work, so that a fault in the texts does not appear after an hour of pictures.
        let pictures = images::find(&self.image)?;
        let compose = self.compose.as_deref().and_then(compose::named);
        let text_encoder = if texts.is_empty() { None } else { Some(Texts::open(&model, &self.device)?) };
        let out = self.out.as_deref().filter(|out| *out != Path::new("-"));
        let mut output = Output::create(out, self.format)?;
        let images = if pictures.is_empty() { 0 } else { self.embed_images(pictures, &model, &mut output)? };
        if let Some(encoder) = text_encoder {
            for chunk in texts.chunks(self.batch.into()) {
                let features = match compose {
                    Some(compose) => encoder.composed(chunk, compose, self.lambda)?,
                    None => encoder.features(chunk)?,
                };
                for (text, feature) in chunk.iter().zip(features) {
                    output.write(Row { kind: "text", name: text, shard: None }, self.finished(feature, text)?)?;
                }
            }
        }
        let written = output.finish()?;
        if let (Some(path), false) = (out, quiet) {
            let counts = [(images, "picture"), (texts.len(), "text")];
            let counts = counts.iter().filter(|(count, _)| *count > 0);
            let counts: Vec<_> = counts.map(|(count, what)| text::count(*count, what)).collect();
            eprintln!("{}: {}, {} numbers each", path.display(), counts.join(" and "), written.dim);
            if let Some(rows) = written.rows {
                eprintln!("{}: a description of each row", rows.display());
            }
        }
        Ok(())
    }

    /// The texts of the command line, then those of the files.
    fn all_texts(&self) -> anyhow::Result<Vec<String>> {
        let mut texts = self.text.clone();
        for path in &self.texts {
            let mut add = |reader: &mut dyn BufRead| -> std::io::Result<()> {
                for line in reader.lines() {
                    texts.push(line?);
                }
                Ok(())
            };
            if path.as_os_str() == "-" {
                add(&mut std::io::stdin().lock()).context("cannot read the texts of standard input")?;
            } else {
                let fault = || format!("cannot read {}", path.display());
                let file = std::fs::File::open(path).with_context(fault)?;
                add(&mut std::io::BufReader::new(file)).with_context(fault)?;
            }
        }
        Ok(texts)
    }

    /// Encodes pictures in order; returns how many.
    fn embed_images(&self, pictures: images::Pictures, model: &Model, output: &mut Output) -> anyhow::Result<usize> {
        let clip = Clip { chunk: self.batch.into(), precision: Products::F32 };
        let encoders = Several::with(vec![
            Chosen::with(Onnx { workers: 0 }, |part| part as Arc<dyn EncoderKind>),
            Chosen::with(clip, |part| part as Arc<dyn EncoderKind>),
        ]);
        let (encoder, preprocess) = open_encoder(&encoders, model, &self.device)?;
        let (mut written, mut bad) = (0, 0usize);
        let mut waiting: Vec<(Picture, items::Pixels)> = Vec::new();
        let mut flush = |waiting: &mut Vec<(Picture, items::Pixels)>| -> anyhow::Result<()> {
            let (pictures, pixels): (Vec<Picture>, Vec<_>) = waiting.drain(..).unzip();
            if pictures.is_empty() {
                return Ok(());
            }
            let features = encoder.encode(&pixels)?;
            for (picture, feature) in pictures.iter().zip(features.chunks_exact(encoder.dim())) {
                let row = Row { kind: "image", name: &picture.name, shard: picture.shard.as_deref() };
                output.write(row, self.finished(feature.to_vec(), &picture.name)?)?;
                written += 1;
            }
            Ok(())
        };
        pictures.each(&mut |picture, bytes| {
            let decoded = bytes.and_then(|bytes| Ok(preprocess.decode(&bytes, &Limits::default())?));
            match decoded {
                Ok(clip::Pixels { height, width, rgb }) => {
                    let pixels = items::Pixels { rgb, width: width as u32, height: height as u32 };
                    waiting.push((picture, pixels));
                    if waiting.len() == encoder.chunk() { flush(&mut waiting) } else { Ok(()) }
                }
                Err(error) if self.skip_bad => {
                    bad += 1;
                    eprintln!("skipped: {picture}: {error:#}");
                    Ok(())
                }
                Err(error) => Err(anyhow!("{picture}: {error:#}; --skip-bad skips such pictures")),
            }
        })?;
        flush(&mut waiting)?;
        if bad > 0 {
            eprintln!("{} skipped", text::count(bad, "picture"));
        }
        if written == 0 {
            bail!("none of the pictures could be read");
        }
        Ok(written)
    }

    /// The feature at length 1, or as it is with `--raw`.
    fn finished(&self, mut feature: Vec<f32>, name: &str) -> anyhow::Result<Vec<f32>> {
        if let Some(value) = feature.iter().find(|value| !value.is_finite()) {
            bail!("the feature of {name:?} holds {value}; the weights are damaged or overflow");
        }
        if !self.raw {
            let length = feature.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
            if length == 0.0 {
                bail!("the feature of {name:?} has length 0, so it has no direction; --raw writes it anyway");
            }
            feature.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
        Ok(feature)
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut kinds = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kinds.any(|kind| kind == std::io::ErrorKind::BrokenPipe)
}

fn composition_names() -> clap::builder::PossibleValuesParser {
    compose::ALL.map(|(name, _)| name).into()
}

/// The text tower with its tokenizer.
struct Texts {
    tower: TextTower,
    tokenizer: Arc<Tokenizer>,
}

impl Texts {
    fn open(model: &Model, device: &str) -> anyhow::Result<Self> {
        let tokenizer = model.tokenizer()?;
        let device = clip::device::pick(device)?.device;
        Ok(Self { tower: TextTower::load(&model.checkpoint, &device)?, tokenizer })
    }

    /// One vector of length 1 per text, made of the features of its parts.
    fn composed(&self, texts: &[String], compose: Compose, lambda: f64) -> anyhow::Result<Vec<Vec<f32>>> {
        let encoder = Encoder::new(self.tower.frozen(), self.tokenizer.clone());
        let failed = |error: StageError| anyhow!("{error}");
        let whole = Rows::new(encoder.dim(), encoder.embed(texts).map_err(failed)?);
        let composer = Composer::new(texts, &whole, &encoder, encoder.dim()).map_err(failed)?;
        let composed = composer.each_by_itself().composed(compose, lambda);
        Ok((0..texts.len()).map(|text| composed.row(text).to_vec()).collect())
    }

    fn features(&self, texts: &[String]) -> anyhow::Result<Vec<Vec<f32>>> {
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| self.tokenizer.encode(text)).collect();
        let lens: Vec<usize> = ids.iter().map(Vec::len).collect();
        let features = self.tower.forward(&ids.concat(), &lens, Layout::Packed)?;
        let dim = features.dims()[1];
        let values: Vec<f32> =
            features.try_into_data().map_err(|error| anyhow!("the device failed: {error}"))?.iter().collect();
        Ok(values.chunks_exact(dim).map(<[f32]>::to_vec).collect())
    }
}
