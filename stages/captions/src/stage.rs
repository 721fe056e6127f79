//! `kind = "captions"`.

use items::contract::{self, EVERY_STEP};
use items::{Captioned, Paired, Role, StartEncoder, metric, shard_name};
use pipeline_engine::rng::Draw;
use pipeline_engine::{
    Build, Built, Fact, Inlet, Look, Need, Outlet, Pass, RunDir, Several, Stage, StageError, StageKind, choice, options,
};

use crate::cache::Analyser;
use crate::counts::{Counts, Naming};
use crate::examples;
use crate::fixed::Fixed;
use crate::guard::{Guard, Guards, USUAL};
use crate::reading::Reader;
use crate::start::StartTower;
use crate::tagger::Noun;
use crate::wordnet::WordNet;
use crate::writer::{Writer, Writers, given_twice};

choice! {
    /// Whether texts change from epoch to epoch.
    pub enum Mode {
        /// New texts in every epoch.
        Dynamic = "dynamic",
        /// The texts that are written first for an image are repeated.
        Fixed = "fixed",
    }
}

options! {
    /// Options of the stage `captions`.
    pub struct CaptionsOptions {
        /// Which texts are written beside the caption; one writer or a list.
        writer: Several<dyn Writer> = Several::of(&["tng"]);
        /// What a noun must pass before a text may say that the image does not show it.
        guards: Several<dyn Guard> = Several::of(USUAL);
        /// New texts in every epoch (dynamic), or the first ones again (fixed).
        mode: Mode = Mode::Dynamic;
        /// With mode = "fixed": keep the texts of at most this many images.
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
    const MOVED: &'static [(&'static str, &'static str)] = &[
        ("generator", "writer"),
        ("templates", "write it under [stage.tng] or [stage.twins], the table of the writer"),
        ("templates_used", "write it under [stage.tng] or [stage.twins], the table of the writer"),
        ("full_templates", "tng.full_templates"),
        ("full_templates_used", "tng.full_templates_used"),
        ("full_source", "tng.full_source"),
        ("full_below", "tng.full_below"),
        ("pairs", "twins.pairs"),
        ("balanced", "twins.balanced"),
        ("things", "twins.things"),
        ("min_distance", "distance.min"),
        ("distance_rule", "list \"distance\" in `guards` for true, omit it there for false"),
        ("known_captions", "list \"captions\" in `guards` for true, omit it there for false"),
        ("implied", "list \"implied\" in `guards` for true, omit it there for false"),
        ("people", "list \"people\" in `guards` for true, omit it there for false"),
        (
            "visual_guard",
            "list \"visual\" in `guards` and write the value as `share` under [stage.visual]; for 0, omit \"visual\"",
        ),
    ];
    type In = Paired;
    type Out = Captioned;
    type Options = CaptionsOptions;

    fn build(options: CaptionsOptions, build: &mut Build<'_>) -> Result<Built<Paired, Captioned>, StageError> {
        let writers = Writers::open(&options.writer, build)?;
        let wordnet = WordNet::embedded().map_err(|e| StageError::msg(e.to_string()))?;
        let guards = guards(&options);
        let asks_start = guards.ask_start_tower();
        let fixed = match options.mode {
            Mode::Dynamic => None,
            Mode::Fixed => Some(Fixed::open(options.keep, build.dir, build.resume.is_some(), writers.roles().len())?),
        };
        Ok(Built::Stage(Box::new(Running {
            writers,
            naming: uses_guards(&options).then(Naming::default),
            reader: Reader::new(Analyser::new(wordnet, REMEMBERED), guards),
            asks_start,
            start: None,
            fixed,
            dir: build.dir.cloned(),
        })))
    }

    fn gives(options: &CaptionsOptions) -> Vec<Fact> {
        let own = options.writer.iter().flat_map(|writer| writer.roles());
        [Role::Original].into_iter().chain(own).map(contract::role).collect()
    }

    fn needs(options: &CaptionsOptions) -> Vec<Need> {
        let guards = options.guards.iter().filter(|_| uses_guards(options));
        let mut needs: Vec<Need> = guards
            .map(|guard| (guard.name(), guard.needs()))
            .filter(|(_, facts)| !facts.is_empty())
            .map(|(name, facts)| Need {
                by: format!("the guard `{name}`"),
                what: facts.iter().map(Fact::to_string).collect::<Vec<_>>().join(" and "),
                facts,
                help: format!("add a stage `train`, which has it, or remove \"{name}\" from captions.guards"),
            })
            .collect();
        if options.mode == Mode::Fixed {
            // The texts that are written first stay: the first steps of an epoch affect all later ones.
            needs.push(Need {
                by: "captions.mode = \"fixed\"".to_owned(),
                facts: vec![EVERY_STEP],
                what: EVERY_STEP.to_string(),
                help: "make batches with the stage `batch`, or set captions.mode = \"dynamic\"".to_owned(),
            });
        }
        needs
    }

    fn verify(options: &CaptionsOptions, look: &mut Look<'_>) {
        options.writer.iter().for_each(|writer| writer.verify(look));
        for (role, one, other) in given_twice(&options.writer) {
            let fault = format!("the writers `{one}` and `{other}` both give the text `{role}`");
            look.fault("writer", fault, "list one of them");
        }
    }
}

/// Whether a writer asks guards.
fn uses_guards(options: &CaptionsOptions) -> bool {
    options.writer.iter().any(|writer| writer.uses_guards())
}

/// The guards that are asked: none for writers that do not use them.
fn guards(options: &CaptionsOptions) -> Guards {
    if uses_guards(options) { Guards::from(&options.guards) } else { Guards::default() }
}

struct Running {
    writers: Writers,
    /// What the captions of the first epoch name, for a writer that looks for objects.
    naming: Option<Naming>,
    reader: Reader,
    asks_start: bool,
    /// From the first epoch on, if a guard asks it.
    start: Option<StartTower>,
    fixed: Option<Fixed>,
    /// Where examples of the newest epoch are written.
    dir: Option<RunDir>,
}

impl Running {
    /// The text tower as it was before training, which the training stage has published by now.
    fn open_start(&mut self, pass: &Pass<'_>) -> Result<(), StageError> {
        if self.asks_start && self.start.is_none() {
            let start = pass.services.get::<StartEncoder>().ok_or_else(|| {
                StageError::msg(
                    "a guard asks the text tower before training, and no stage of this pipeline has published it; \
                     add a stage `train`, or remove \"visual\" from captions.guards",
                )
            })?;
            self.start = Some(StartTower::new(start.0.clone()));
        }
        Ok(())
    }

    /// B x R texts.
    fn texts(&mut self, paired: &Paired, draw: &Draw, counts: &mut Counts) -> Result<Vec<String>, StageError> {
        let items = &paired.batch.items;
        let reading = self.reader.read(paired, self.start.as_ref())?;
        if let Some(naming) = &mut self.naming {
            for i in 0..items.len() {
                naming.add(reading.caption(i), reading.drawn(i).nouns.iter().any(Noun::is_thing));
            }
        }
        let draw = |i: usize| draw.clone().text(shard_name(&items[i].shard)).text(&items[i].key);
        let mut texts = self.writers.write(&reading, &draw, counts)?;
        if let Some(fixed) = &mut self.fixed {
            for (item, row) in items.iter().zip(texts.chunks_mut(self.writers.roles().len())) {
                let first = fixed.first(&item.shard, &item.key, row.to_vec())?;
                row.clone_from_slice(&first);
            }
        }
        Ok(texts)
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
        self.open_start(pass)?;
        let mut counts = Counts::default();
        while let Some(paired) = input.recv()? {
            let texts = self.texts(&paired, &draw, &mut counts)?;
            if paired.batch.step < pass.skip_steps {
                continue;
            }
            pass.meter.note(metric::TEXTS, texts.len() as u64);
            if let Some(dir) = self.dir.as_ref().filter(|_| paired.batch.step == pass.skip_steps) {
                examples::write(dir, &paired, self.writers.roles(), &texts)?;
            }
            output.send(Captioned { batch: paired.batch, roles: self.writers.roles().clone(), texts })?;
        }
        if let Some(fixed) = &mut self.fixed {
            fixed.save(pass.epoch)?;
        }
        if let Some(warning) = self.naming.take().and_then(|naming| naming.warning()) {
            tracing::warn!("captions: {warning}");
        }
        for (name, count) in counts.reported() {
            pass.meter.note(name, count);
        }
        Ok(())
    }
}
