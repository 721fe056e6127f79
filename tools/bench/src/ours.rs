//! This pipeline's side of each measurement.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use clip::preprocess::{Limits, Preprocess};
use clip::{Checkpoint, Params, TextTower, Tokenizer};
use items::{Batch, Paired, Pixels, Tokens};
use pipeline_engine::Chosen;
use pipeline_engine::rng::Draw;
use rayon::prelude::*;
use stage_captions::cache::Analyser;
use stage_captions::counts::Counts;
use stage_captions::guard::Guards;
use stage_captions::reading::Reader;
use stage_captions::wordnet::WordNet;
use stage_captions::writer::{OpenWriter, TngWriter, TwinsWriter, Writer, Writers};
use stage_encode::{Encoder, VitEncoder};
use stage_pairs::Search;
use stage_train::loss::Loss;
use stage_train::optimizer::Settings;
use stage_train::trainer::Trainer;

use crate::samples::{self, Sample, batch, items};
use crate::{Layout, Measured, Options, Preset, What};

/// Number of images among which neighbours are searched, and of repetitions: a short search is noisier.
const PAIRS: [(usize, usize); 3] = [(128, 200), (1024, 50), (4096, 10)];
/// Pictures per pass of the image tower; the default of the stage `encode`.
const CHUNK: usize = 32;
/// Pictures whose decoding is measured.
const PICTURES: usize = 64;
const NEIGHBOURS: usize = 4;
/// Number of consecutive steps whose captions are made beforehand, or meanwhile.
const AHEAD: usize = 3;
/// Images of the large batch.
const LARGE: usize = 4096;

pub fn measure(what: What, options: &Options) -> anyhow::Result<Measured> {
    let mut bench = Bench::default();
    match what {
        What::Decode => decode(&mut bench, options)?,
        What::Encode => encode(&mut bench, options)?,
        What::Pairs => pairs(&mut bench)?,
        What::Captions => captions(&mut bench, options)?,
        What::Text => text(&mut bench, options)?,
        What::Step => steps(&mut bench, options, true)?,
        What::Cached => steps(&mut bench, options, false)?,
        What::Generation => generation(&mut bench, options)?,
        What::Large => large(&mut bench, options)?,
    }
    Ok(Measured { seconds: bench.seconds, counts: bench.counts, peak_bytes: peak_bytes() })
}

#[derive(Default)]
struct Bench {
    seconds: BTreeMap<String, Vec<f64>>,
    counts: BTreeMap<String, f64>,
    warm: bool,
}

impl Bench {
    /// Measures the time of `f`, except while warming up.
    fn time<T>(&mut self, name: &str, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = f();
        self.add(name, start.elapsed().as_secs_f64());
        result
    }

    fn add(&mut self, name: &str, seconds: f64) {
        if self.warm {
            self.seconds.entry(name.to_owned()).or_default().push(seconds);
        }
    }

    fn repeat(
        &mut self,
        steps: usize,
        mut f: impl FnMut(&mut Self, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for step in 0..=steps {
            self.warm = step > 0;
            f(self, step)?;
        }
        Ok(())
    }
}

/// The peak of this process's resident memory in bytes; 0 if the system does not report it.
pub fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn decode(bench: &mut Bench, options: &Options) -> anyhow::Result<()> {
    let mut sets = Vec::new();
    let samples = samples::read(&options.shards)?;
    sets.push(("shards", samples.into_iter().take(PICTURES).map(|sample| sample.file).collect::<Vec<_>>()));
    if let Some(path) = &options.picture {
        let file = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        sets.push(("picture", vec![file; PICTURES / 4]));
    }
    let preprocess = Preprocess::openai(224);
    for (name, files) in sets {
        bench.counts.insert(name.into(), files.len() as f64);
        bench.repeat(options.steps, |bench, _| {
            bench.time(name, || {
                files.iter().try_for_each(|file| preprocess.decode(file, &Limits::default()).map(drop))
            })?;
            Ok(())
        })?;
    }
    Ok(())
}

fn image_tower(options: &Options) -> anyhow::Result<VitEncoder> {
    let device = clip::device::pick("cpu")?.device;
    let checkpoint = Checkpoint::open(&options.dir)?;
    Ok(VitEncoder::open(&checkpoint, Preprocess::openai(224), &device, CHUNK)?)
}

fn encode(bench: &mut Bench, options: &Options) -> anyhow::Result<()> {
    let tower = image_tower(options)?;
    let rgb: Vec<u8> = (0..224 * 224 * 3).map(|i| (i * 31 % 251) as u8).collect();
    let pictures = vec![Pixels { height: 224, width: 224, rgb }; CHUNK];
    bench.counts.insert("images".into(), CHUNK as f64);
    bench.repeat(options.steps, |bench, _| {
        bench.time("images", || tower.encode(&pictures).map_err(anyhow::Error::from))?;
        Ok(())
    })
}

fn pairs(bench: &mut Bench) -> anyhow::Result<()> {
    let mut search = Search::cpu();
    for (count, times) in PAIRS {
        let features = samples::features(count, 512, count as u64);
        let groups: Vec<u32> = (0..count as u32).collect();
        bench.repeat(times, |bench, _| {
            bench.time(&format!("B = {count}"), || search.neighbours(&features, 512, &groups, 1))?;
            Ok(())
        })?;
    }
    Ok(())
}

/// Makes the texts of a batch.
struct Texts {
    reader: Reader,
    writers: Writers,
    tokenizer: Tokenizer,
}

impl Texts {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let (name, writer): (_, Box<dyn OpenWriter>) = match options.preset {
            Preset::Tng => ("tng", Box::new(TngWriter::usual()?)),
            Preset::Contrast => ("twins", Box::new(TwinsWriter::usual()?)),
        };
        let writers = Writers::new(vec![(name, Chosen::<dyn Writer>::of(name).roles(), writer)]);
        let reader = Reader::new(Analyser::new(WordNet::embedded()?, 100_000), Guards::usual());
        Ok(Self { reader, writers, tokenizer: Tokenizer::open(&options.dir)? })
    }

    fn make(&self, paired: &Paired) -> anyhow::Result<Vec<String>> {
        let draw = |i: usize| Draw::new(1, "bench").number(paired.batch.step).number(i as u64);
        let reading = self.reader.read(paired, None).map_err(|error| anyhow::anyhow!("{error}"))?;
        let texts = self.writers.write(&reading, &draw, &mut Counts::default());
        texts.map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn tokens(&self, paired: &Paired, texts: &[String]) -> Tokens {
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| self.tokenizer.encode(text)).collect();
        Tokens {
            batch: paired.batch.clone(),
            roles: self.writers.roles().clone(),
            lens: ids.iter().map(|ids| ids.len() as u32).collect(),
            ids: ids.concat(),
        }
    }
}

fn paired(batch: &[(usize, &Sample)], step: usize, features: Vec<f32>, search: &mut Search) -> anyhow::Result<Paired> {
    let dim = features.len() / batch.len();
    let groups: Vec<u32> = batch.iter().map(|(i, _)| *i as u32).collect();
    let found = search.neighbours(&features, dim, &groups, NEIGHBOURS.min(batch.len() - 1).max(1))?;
    let batch = Batch { epoch: 1, step: step as u64, items: items(batch), dim, features: features.into() };
    Ok(Paired { batch, k: found.k, neighbours: found.indices, cosines: found.cosines })
}

fn captions(bench: &mut Bench, options: &Options) -> anyhow::Result<()> {
    let samples = samples::read(&options.shards)?;
    let texts = Texts::new(options)?;
    let mut search = Search::cpu();
    bench.counts.insert("texts".into(), (options.batch * (texts.writers.roles().len() - 1)) as f64);
    bench.repeat(options.steps, |bench, step| {
        let features = samples::features(options.batch, 512, step as u64);
        let paired = paired(&batch(&samples, options.batch, step), step, features, &mut search)?;
        let made = bench.time("texts", || texts.make(&paired))?;
        bench.time("tokens", || texts.tokens(&paired, &made));
        Ok(())
    })
}

fn layout(layout: Layout) -> clip::Layout {
    match layout {
        Layout::Padded => clip::Layout::Padded,
        Layout::Packed => clip::Layout::Packed,
        Layout::Tree => clip::Layout::Tree,
    }
}

fn text(bench: &mut Bench, options: &Options) -> anyhow::Result<()> {
    let samples = samples::read(&options.shards)?;
    let texts = Texts::new(options)?;
    let device = clip::device::pick("cpu")?.device;
    let tower = TextTower::load(&Checkpoint::open(&options.dir)?, &device)?.trainable();
    let features = samples::features(options.batch, 512, 0);
    let paired = paired(&batch(&samples, options.batch, 0), 0, features, &mut Search::cpu())?;
    let tokens = texts.tokens(&paired, &texts.make(&paired)?);
    let lens: Vec<usize> = tokens.lens.iter().map(|len| *len as usize).collect();
    bench.counts.insert("texts".into(), lens.len() as f64);
    for kind in [Layout::Padded, Layout::Packed, Layout::Tree] {
        let rows = tower.rows(&tokens.ids, &lens, layout(kind))?;
        bench.counts.insert(format!("rows {kind:?}").to_lowercase(), rows as f64);
    }
    bench.repeat(options.steps, |bench, _| {
        let features = bench.time("forward", || tower.forward(&tokens.ids, &lens, layout(options.layout)))?;
        bench.time("backward", || drop(features.powi_scalar(2).sum().backward()));
        Ok(())
    })
}

fn steps(bench: &mut Bench, options: &Options, pictures: bool) -> anyhow::Result<()> {
    let samples = samples::read(&options.shards)?;
    let texts = Texts::new(options)?;
    let encoder = if pictures { Some(image_tower(options)?) } else { None };
    let mut trainer = trainer(&options.dir, options)?;
    let (mut search, preprocess) = (Search::cpu(), Preprocess::openai(224));
    bench.counts.insert("images".into(), options.batch as f64);
    bench.repeat(options.steps, |bench, step| {
        let began = Instant::now();
        let batch = batch(&samples, options.batch, step);
        let features = match &encoder {
            None => samples::features(options.batch, 512, step as u64),
            Some(encoder) => {
                let decode = |(_, sample): &(usize, &Sample)| {
                    let pixels = preprocess.decode(&sample.file, &Limits::default())?;
                    anyhow::Ok(Pixels { height: pixels.height as _, width: pixels.width as _, rgb: pixels.rgb })
                };
                let pixels: Vec<Pixels> =
                    bench.time("decode", || batch.par_iter().map(decode).collect::<Result<_, _>>())?;
                let encode =
                    || pixels.chunks(CHUNK).map(|chunk| Ok(encoder.encode(chunk)?)).collect::<anyhow::Result<Vec<_>>>();
                let mut features = bench.time("encode", encode)?.concat();
                for feature in features.chunks_exact_mut(512) {
                    let length = feature.iter().map(|x| x * x).sum::<f32>().sqrt();
                    feature.iter_mut().for_each(|x| *x /= length);
                }
                features
            }
        };
        let paired = bench.time("pairs", || paired(&batch, step, features, &mut search))?;
        let made = bench.time("captions", || texts.make(&paired))?;
        let tokens = bench.time("tokens", || texts.tokens(&paired, &made));
        let done = trainer.step(&tokens, 5e-6, Draw::new(1, "labels").number(step as u64));
        let done = done.map_err(|error| anyhow::anyhow!("no step: {error:?}"))?;
        for (name, time) in [("forward", done.forward), ("backward", done.backward), ("update", done.update)] {
            bench.add(name, time.as_secs_f64());
        }
        bench.add("whole", began.elapsed().as_secs_f64());
        Ok(())
    })
}

/// Alternates between steps during which a thread makes the captions of the next step, as the stages do, and
/// steps whose captions were made beforehand. Both forms train on the same batches.
fn generation(bench: &mut Bench, options: &Options) -> anyhow::Result<()> {
    let samples = samples::read(&options.shards)?;
    let texts = Texts::new(options)?;
    let mut trainer = trainer(&options.dir, options)?;
    bench.counts.insert("images".into(), options.batch as f64);
    let make = |step: usize| {
        let features = samples::features(options.batch, 512, step as u64);
        let paired = paired(&batch(&samples, options.batch, step), step, features, &mut Search::cpu())?;
        let made = texts.make(&paired)?;
        anyhow::Ok(texts.tokens(&paired, &made))
    };
    bench.repeat(options.steps, |bench, round| {
        let steps = || round * AHEAD..(round + 1) * AHEAD;
        let began = Instant::now();
        let made: Vec<Tokens> = steps().map(make).collect::<anyhow::Result<_>>()?;
        bench.add("generation alone", began.elapsed().as_secs_f64() / AHEAD as f64);
        let mut beforehand = |trainer: &mut Trainer| made.iter().try_for_each(|tokens| train(trainer, tokens));
        let mut meanwhile = |trainer: &mut Trainer| {
            std::thread::scope(|scope| {
                let (sender, receiver) = std::sync::mpsc::sync_channel(1);
                // The receiver hangs up when a step fails, and its error is the one that counts.
                scope.spawn(move || steps().map(make).all(|tokens| sender.send(tokens).is_ok()));
                receiver.iter().try_for_each(|tokens| train(trainer, &tokens?))
            })
        };
        type Form<'a> = (&'a str, &'a mut dyn FnMut(&mut Trainer) -> anyhow::Result<()>);
        let mut forms: [Form; 2] = [("captions beforehand", &mut beforehand), ("captions meanwhile", &mut meanwhile)];
        // The second form may find a warmer machine.
        forms.rotate_left(round % 2);
        for (name, form) in forms {
            let began = Instant::now();
            form(&mut trainer)?;
            bench.add(name, began.elapsed().as_secs_f64() / AHEAD as f64);
        }
        Ok(())
    })
}

/// One step of many images, whose texts go through the tower in chunks.
fn large(bench: &mut Bench, options: &Options) -> anyhow::Result<()> {
    let chunk = if options.chunk == 0 { 512 } else { options.chunk };
    let options = Options { batch: LARGE, chunk, ..options.clone() };
    let samples = samples::read(&options.shards)?;
    let texts = Texts::new(&options)?;
    let mut trainer = trainer(&options.dir, &options)?;
    let paired = paired(&batch(&samples, LARGE, 0), 0, samples::features(LARGE, 512, 0), &mut Search::cpu())?;
    let tokens = texts.tokens(&paired, &texts.make(&paired)?);
    bench.warm = true;
    bench.time("whole", || train(&mut trainer, &tokens))
}

fn train(trainer: &mut Trainer, tokens: &Tokens) -> anyhow::Result<()> {
    let draw = Draw::new(1, "labels").number(tokens.batch.step);
    trainer.step(tokens, 5e-6, draw).map(drop).map_err(|error| anyhow::anyhow!("no step: {error:?}"))
}

fn trainer(dir: &Path, options: &Options) -> anyhow::Result<Trainer> {
    let device = clip::device::pick("cpu")?.device;
    let tower = TextTower::load(&Checkpoint::open(dir)?, &device)?;
    let loss = match options.preset {
        Preset::Tng => Chosen::<dyn Loss>::of("tng"),
        Preset::Contrast => Chosen::of("contrast"),
    };
    let settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };
    Ok(Trainer::new(&tower, loss.shared(), settings, layout(options.layout)).in_chunks(options.chunk))
}
