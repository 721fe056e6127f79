//! `kind = "captions"`.

use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_engine::rng::Draw;
use pipeline_engine::{Build, Built, Inlet, Outlet, Pass, RunDir, Stage, StageError, StageKind, choice, options};
use items::{Captioned, EveryStep, Paired, Role, StartEncoder, TextRoles, WantsStart};

use crate::cache::Analyser;
use crate::fixed::Fixed;
use crate::generator::{Counts, FullSource, Generator, Rule, TwinSettings, View};
use crate::sight::Sight;
use crate::templates::{self, Source, Template, Twin};
use crate::wordnet::WordNet;

choice! {
    /// Which texts are made.
    pub enum Kind {
        /// The caption alone.
        Plain = "plain",
        /// The caption, "A and no B", and "not A" of another image.
        Tng = "tng",
        /// The caption, and pairs of a true and a false text that differ in what they negate.
        Twins = "twins",
    }
}

choice! {
    /// Whether texts change from epoch to epoch.
    pub enum Mode {
        /// New texts every epoch.
        Dynamic = "dynamic",
        /// What was made first for an image is kept and repeats.
        Fixed = "fixed",
    }
}

choice! {
    /// Whose caption the full negation denies.
    pub enum Denied {
        /// A random item whose image is not similar.
        Other = "other",
        /// The most similar item.
        Neighbour = "neighbour",
        /// Item B-1-i.
        Mirror = "mirror",
    }
}

options! {
    /// Options of the stage `captions`.
    pub struct CaptionsOptions {
        /// Which texts are made: the caption alone (plain), with a compositional
        /// and a full negation (tng), or with true and false twins (twins).
        generator: Kind = Kind::Tng;
        /// New texts every epoch (dynamic), or the first ones again (fixed).
        mode: Mode = Mode::Dynamic;
        /// A file of your own with templates for "A and no B" (twins: pairs), one a line.
        templates: Option<PathBuf> = None => free;
        /// Use the first so many of these templates; all if left away.
        templates_used: Option<usize> = None;
        /// A file of your own with templates for "not A".
        full_templates: Option<PathBuf> = None => free;
        /// Use the first so many of these templates; all if left away.
        full_templates_used: Option<usize> = None;
        /// Whether an object must be some way off, in WordNet, from every noun of the caption.
        distance_rule: bool = true;
        /// The least number of WordNet edges between them.
        min_distance: u32 = 4, 1..=40;
        /// Whether the nouns of all captions of an image count as present in it.
        known_captions: bool = true;
        /// Whether what words imply counts as present, as a surfboard for "surfer".
        implied: bool = true;
        /// Whether any two nouns for people may mean the same person.
        people: bool = true;
        /// Of the things that the captions of a batch name, this share is not denied of an image:
        /// those that it looks most like to the model of the start. 0: the model is not asked.
        visual_guard: f64 = 0.0, 0.0..=0.9;
        /// Whose caption the full negation denies.
        full_source: Denied = Denied::Other;
        /// With full_source = "other": the cosine that its image must stay below.
        full_below: f64 = 0.7, -1.0..=1.0;
        /// With generator = "twins": pairs an image.
        pairs: usize = 2, 1..=64;
        /// With generator = "twins": an image's pairs go round what their true texts do: say
        /// what is there, what is not, both. If false, each pair is drawn from all templates.
        balanced: bool = false;
        /// With generator = "twins": the things that each pair speaks of are
        /// texts too, as train.w_turn needs them.
        things: bool = false;
        /// With mode = "fixed": images whose texts are kept, at most.
        keep: usize = 1_000_000, 1..=100_000_000 => free;
    }
}

/// Distinct captions whose reading is remembered: about 2 KB each.
const REMEMBERED: usize = 100_000;

/// The kind `captions`.
pub struct Captions;

impl StageKind for Captions {
    const KIND: &'static str = "captions";
    const ABOUT: &'static str = "makes texts with negation from the captions of a batch";
    type In = Paired;
    type Out = Captioned;
    type Options = CaptionsOptions;

    fn build(options: CaptionsOptions, build: &mut Build<'_>) -> Result<Built<Paired, Captioned>, StageError> {
        let own = options.templates.as_ref().map(|path| build.path(path));
        let own_full = options.full_templates.as_ref().map(|path| build.path(path));
        for (name, path) in [("templates", &own), ("full_templates", &own_full)] {
            // One that cannot be read is told by whoever reads it.
            if let Some(bytes) = path.as_ref().and_then(|path| std::fs::read(path).ok()) {
                build.input(name, blake3::hash(&bytes).to_hex().to_string());
            }
        }
        let maker = Maker::new(&options, own.as_deref(), own_full.as_deref())?;
        build.services.publish(Arc::new(TextRoles(maker.roles.to_vec())));
        if maker.visual_guard > 0.0 {
            build.services.publish(Arc::new(WantsStart));
        }
        let fixed = match options.mode {
            Mode::Dynamic => None,
            Mode::Fixed => {
                // What is made first stays: the first steps of an epoch have a say in all that follow.
                build.services.publish(Arc::new(EveryStep));
                Some(Fixed::open(options.keep, build.dir, build.resume.is_some(), maker.roles.len())?)
            }
        };
        Ok(Built::Stage(Box::new(Running { maker, sight: None, fixed, dir: build.dir.cloned() })))
    }
}

/// What the generator did in an epoch; published when the epoch's last batch is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochCounts {
    /// Counted from 1.
    pub epoch: u32,
    /// The counts.
    pub counts: Counts,
}

enum Texts {
    Plain,
    Tng { compositional: Vec<Template>, full: Vec<Template>, source: FullSource },
    Twins { twins: Vec<Twin>, settings: TwinSettings, things: bool },
}

/// Makes the texts of batches.
struct Maker {
    generator: Generator,
    visual_guard: f64,
    texts: Texts,
    roles: Arc<[Role]>,
}

impl Maker {
    fn new(options: &CaptionsOptions, own: Option<&Path>, own_full: Option<&Path>) -> Result<Self, StageError> {
        let source = Source { file: own, first: options.templates_used };
        let texts = match options.generator {
            Kind::Plain => Texts::Plain,
            Kind::Tng => Texts::Tng {
                compositional: templates::compositional(source)?,
                full: templates::full(Source { file: own_full, first: options.full_templates_used })?,
                source: match options.full_source {
                    Denied::Other => FullSource::Other { below: options.full_below as f32 },
                    Denied::Neighbour => FullSource::Neighbour,
                    Denied::Mirror => FullSource::Mirror,
                },
            },
            Kind::Twins => Texts::Twins {
                twins: templates::twins(source)?,
                settings: TwinSettings { pairs: options.pairs, balanced: options.balanced },
                things: options.things,
            },
        };
        let mut roles = vec![Role::Original];
        match &texts {
            Texts::Plain => {}
            Texts::Tng { .. } => roles.extend([Role::Compositional, Role::Full]),
            Texts::Twins { settings, things, .. } => {
                let pairs = 0..settings.pairs as u8;
                roles.extend(pairs.clone().flat_map(|n| [Role::True(n), Role::False(n)]));
                roles.extend(pairs.filter(|_| *things).flat_map(|n| [Role::Present(n), Role::Absent(n)]));
            }
        }
        let rule = Rule {
            min_distance: options.distance_rule.then_some(options.min_distance),
            known_captions: options.known_captions,
            implied: options.implied,
            people: options.people,
        };
        let wordnet = WordNet::embedded().map_err(|e| StageError::msg(e.to_string()))?;
        let generator = Generator::new(Analyser::new(wordnet, REMEMBERED), rule);
        let visual_guard = if matches!(texts, Texts::Plain) { 0.0 } else { options.visual_guard };
        Ok(Self { generator, visual_guard, texts, roles: roles.into() })
    }

    /// B x R texts.
    fn make(
        &self,
        paired: &Paired,
        sight: Option<&Sight>,
        draw: &Draw,
        counts: &mut Counts,
    ) -> Result<Vec<String>, StageError> {
        let items = &paired.batch.items;
        let draw = |i: usize| draw.clone().text(&items[i].shard).text(&items[i].key);
        let originals = items.iter().map(|item| item.caption().to_owned());
        let seen = sight.map(|sight| self.generator.look(sight, paired, self.visual_guard)).transpose()?;
        let view = View { paired, seen: seen.as_ref() };
        Ok(match &self.texts {
            Texts::Plain => originals.collect(),
            Texts::Tng { compositional, full, source } => {
                let made = self.generator.negations(view, compositional, full, *source, draw, counts);
                originals.zip(made).flat_map(|(original, made)| [original, made.compositional, made.full]).collect()
            }
            Texts::Twins { twins, settings, things } => {
                let mut made = self.generator.twins_as(view, twins, *settings, draw, counts);
                let mut texts = Vec::with_capacity(items.len() * self.roles.len());
                for (original, row) in originals.zip(made.chunks_mut(settings.pairs)) {
                    texts.push(original);
                    texts.extend(row.iter_mut().flat_map(|pair| [take(&mut pair.truth), take(&mut pair.lie)]));
                    if *things {
                        texts.extend(row.iter_mut().flat_map(|pair| [take(&mut pair.present), take(&mut pair.absent)]));
                    }
                }
                texts
            }
        })
    }
}

struct Running {
    maker: Maker,
    /// From the first epoch on, with the visual guard.
    sight: Option<Sight>,
    fixed: Option<Fixed>,
    /// Where examples of the newest epoch are shown.
    dir: Option<RunDir>,
}

/// Images whose texts are shown.
const EXAMPLES: usize = 8;

impl Running {
    /// Writes the texts of the first images of a batch to `examples.jsonl`, for people to read.
    fn show(&self, paired: &Paired, texts: &[String]) -> Result<(), StageError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let mut lines = String::new();
        let items = &paired.batch.items;
        for (i, (item, row)) in items.iter().zip(texts.chunks(self.maker.roles.len())).take(EXAMPLES).enumerate() {
            // The nearest other image, from whose caption the object usually comes.
            let nearest = paired.neighbours.get(i * paired.k).filter(|_| paired.k > 0);
            let neighbour = nearest.and_then(|place| items.get(*place as usize));
            let cosine = paired.cosines.get(i * paired.k).filter(|_| neighbour.is_some());
            for (role, text) in self.maker.roles.iter().zip(row) {
                let role = match role {
                    Role::Original => "caption".to_owned(),
                    Role::Compositional => "compositional".to_owned(),
                    Role::Full => "full negation".to_owned(),
                    Role::True(n) => format!("true {}", n + 1),
                    Role::False(n) => format!("false {}", n + 1),
                    Role::Present(_) | Role::Absent(_) => continue,
                };
                let epoch = paired.batch.epoch;
                let line = serde_json::json!({
                    "epoch": epoch, "shard": &*item.shard, "key": &*item.key, "role": role, "text": text,
                    "neighbour_shard": neighbour.map(|n| &*n.shard), "neighbour": neighbour.map(|n| &*n.key),
                    "neighbour_caption": neighbour.map(|n| n.caption()), "cosine": cosine,
                });
                lines.push_str(&format!("{line}\n"));
            }
        }
        dir.write("examples.jsonl", lines.as_bytes())?;
        Ok(())
    }
}

impl Stage<Paired, Captioned> for Running {
    fn run(
        &mut self,
        pass: &Pass<'_>,
        mut input: Inlet<Paired>,
        mut output: Outlet<Captioned>,
    ) -> Result<(), StageError> {
        const PURPOSE: &str = "captions";
        let draw = if self.fixed.is_some() { Draw::new(pass.seed, PURPOSE) } else { pass.draw(PURPOSE) };
        if let Some(fixed) = &self.fixed {
            fixed.check(pass.epoch)?;
        }
        if self.maker.visual_guard > 0.0 && self.sight.is_none() {
            let start = pass.services.get::<StartEncoder>().ok_or_else(|| {
                StageError::msg(
                    "visual_guard asks the model of the start, and no stage of this pipeline has one; \
                     add a stage `train`, or set captions.visual_guard = 0.0",
                )
            })?;
            self.sight = Some(Sight::new(start.0.clone()));
        }
        let mut counts = Counts::default();
        while let Some(paired) = input.recv()? {
            let mut texts = self.maker.make(&paired, self.sight.as_ref(), &draw, &mut counts)?;
            if let Some(fixed) = &mut self.fixed {
                for (item, row) in paired.batch.items.iter().zip(texts.chunks_mut(self.maker.roles.len())) {
                    let first = fixed.first(&item.shard, &item.key, row.to_vec())?;
                    row.clone_from_slice(&first);
                }
            }
            if paired.batch.step < pass.skip_steps {
                continue;
            }
            pass.meter.note("texts", texts.len() as u64);
            if paired.batch.step == pass.skip_steps {
                self.show(&paired, &texts)?;
            }
            let roles = self.maker.roles.clone();
            output.send(Captioned { batch: paired.batch, roles, texts })?;
        }
        if let Some(fixed) = &mut self.fixed {
            fixed.save(pass.epoch)?;
        }
        for (name, count) in counts.named() {
            pass.meter.note(name, count);
        }
        pass.services.publish(Arc::new(EpochCounts { epoch: pass.epoch, counts }));
        Ok(())
    }
}
