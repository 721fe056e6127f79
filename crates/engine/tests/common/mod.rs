//! Small stages to test the engine with.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pipeline_engine::*;

/// What travels in these tests: a number, as large as its weight.
pub struct Number(pub u64, pub usize);

impl Item for Number {
    const NAME: &'static str = "numbers";

    fn bytes(&self) -> usize {
        self.1
    }
}

pub struct Word;

impl Item for Word {
    const NAME: &'static str = "words";

    fn bytes(&self) -> usize {
        4
    }
}

options! {
    /// Options of `count`.
    pub struct CountOptions {
        /// How many numbers.
        n: u64 = 100, 0..=1_000_000;
        /// Bytes each.
        weight: usize = 1;
        /// Microseconds of work each.
        work_us: u64 = 0;
    }
}

/// Work that takes so long.
fn work(us: u64) {
    if us > 0 {
        std::thread::sleep(std::time::Duration::from_micros(us));
    }
}

/// Sends 0, 1, 2, …
pub struct Count;

impl StageKind for Count {
    const KIND: &'static str = "count";
    const ABOUT: &'static str = "counts";
    type In = Nothing;
    type Out = Number;
    type Options = CountOptions;

    fn verify(options: &CountOptions, look: &mut Look<'_>) {
        if options.n as usize * options.weight > 10_000_000 {
            look.fault("n", format!("{} numbers of {} bytes are too many", options.n, options.weight), "count less");
        }
    }

    fn build(options: CountOptions, _: &mut Build<'_>) -> Result<Built<Nothing, Number>, StageError> {
        Ok(Built::Stage(Box::new(Counter(options))))
    }
}

struct Counter(CountOptions);

impl Stage<Nothing, Number> for Counter {
    fn run(&mut self, _: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Number>) -> Result<(), StageError> {
        for number in 0..self.0.n {
            work(self.0.work_us);
            output.send(Number(number, self.0.weight))?;
        }
        Ok(())
    }
}

options! {
    /// Options of `square`.
    pub struct SquareOptions {
        /// Threads.
        workers: usize = 1, 1..=64;
        /// Fails at this number.
        fail_at: u64 = 1 << 60;
        /// Panics at this number.
        panic_at: u64 = 1 << 60;
        /// Microseconds of work.
        work_us: u64 = 0;
        /// Uneven work: this many microseconds at most.
        jitter_us: u64 = 0;
    }
}

/// Squares, n-wide.
pub struct Square;

impl StageKind for Square {
    const KIND: &'static str = "square";
    const ABOUT: &'static str = "squares";
    type In = Number;
    type Out = Number;
    type Options = SquareOptions;

    fn build(options: SquareOptions, _: &mut Build<'_>) -> Result<Built<Number, Number>, StageError> {
        Ok(Built::Map { workers: options.workers, map: Box::new(Squarer(options)) })
    }
}

struct Squarer(SquareOptions);

impl Map<Number, Number> for Squarer {
    fn worker(&self, _: &Pass<'_>) -> Result<Box<dyn Worker<Number, Number> + '_>, StageError> {
        Ok(Box::new(|_: &Pass<'_>, Number(n, weight): Number| {
            if n == self.0.fail_at {
                return Err(StageError::msg(format!("cannot square {n}")));
            }
            assert!(n != self.0.panic_at, "no square of {n}");
            if self.0.jitter_us > 0 {
                std::thread::sleep(std::time::Duration::from_micros(n * 7919 % self.0.jitter_us));
            }
            work(self.0.work_us);
            Ok(Number(n * n, weight))
        }))
    }
}

options! {
    /// Options of `helped`.
    pub struct HelpedOptions {
        /// Helpers.
        workers: usize = 1, 1..=64;
        /// Microseconds of work.
        work_us: u64 = 0;
        /// Uneven work: this many microseconds at most.
        jitter_us: u64 = 0;
        /// Fails at this number.
        fail_at: u64 = 1 << 60;
        /// Panics at this number.
        panic_at: u64 = 1 << 60;
    }
}

/// Passes numbers on, two at a time; helpers do the work.
pub struct Helped;

impl StageKind for Helped {
    const KIND: &'static str = "helped";
    const ABOUT: &'static str = "lets helpers work";
    type In = Number;
    type Out = Number;
    type Options = HelpedOptions;

    fn build(options: HelpedOptions, _: &mut Build<'_>) -> Result<Built<Number, Number>, StageError> {
        Ok(Built::Stage(Box::new(Master(options))))
    }
}

struct Master(HelpedOptions);

impl Stage<Number, Number> for Master {
    fn run(&mut self, pass: &Pass<'_>, mut input: Inlet<Number>, mut output: Outlet<Number>) -> Result<(), StageError> {
        let HelpedOptions { workers, work_us, jitter_us, fail_at, panic_at } = &self.0;
        let pair = || {
            let pair: Vec<Number> = [input.recv()?, input.recv()?].into_iter().flatten().collect();
            Ok(if pair.is_empty() { None } else { Some(pair) })
        };
        let help = |pair: Vec<Number>| {
            for Number(n, _) in &pair {
                assert!(n != panic_at, "no help for {n}");
                if n == fail_at {
                    return Err(StageError::msg(format!("cannot help {n}")));
                }
                if *jitter_us > 0 {
                    std::thread::sleep(std::time::Duration::from_micros(n * 7919 % jitter_us));
                }
                work(*work_us);
            }
            Ok(pair)
        };
        in_order(
            pass,
            *workers,
            pair,
            |pair| format!("{} numbers", pair.len()),
            help,
            |pair, made| pair.into_iter().try_for_each(|number| Ok(output.send_made(number, made)?)),
        )
    }
}

/// Where `sink` puts what it gets: shared with the test through a file name.
pub static SEEN: Mutex<Vec<(String, Vec<u64>)>> = Mutex::new(Vec::new());

options! {
    /// Options of `sink`.
    pub struct SinkOptions {
        /// The test's own name.
        tag: String;
        /// Offers big paper.
        paper: bool = true;
        /// Stops reading here.
        interrupt_at: usize = 1 << 60;
        /// Microseconds of work.
        work_us: u64 = 0;
    }
}

/// Remembers what comes.
pub struct Sink;

impl StageKind for Sink {
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "remembers";
    type In = Number;
    type Out = Nothing;
    type Options = SinkOptions;

    fn gives(options: &SinkOptions) -> Vec<Fact> {
        if options.paper { vec![Fact::named("big paper")] } else { Vec::new() }
    }

    fn build(options: SinkOptions, _: &mut Build<'_>) -> Result<Built<Number, Nothing>, StageError> {
        Ok(Built::Stage(Box::new(Drain { options, whole: 0 })))
    }
}

struct Drain {
    options: SinkOptions,
    whole: u32,
}

impl Stage<Number, Nothing> for Drain {
    fn run(&mut self, pass: &Pass<'_>, mut input: Inlet<Number>, _: Outlet<Nothing>) -> Result<(), StageError> {
        let mut seen = Vec::new();
        while let Some(Number(n, _)) = input.recv()? {
            work(self.options.work_us);
            seen.push(n);
            if seen.len() == self.options.interrupt_at {
                return Err(StageError::Interrupted);
            }
        }
        SEEN.lock().unwrap().push((format!("{} {}", self.options.tag, pass.epoch), seen));
        self.whole += 1;
        Ok(())
    }

    fn subject(&self) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        Some(Arc::new(()))
    }
}

/// What the sink of test `tag` got in `epoch`, if the epoch was whole.
pub fn seen(tag: &str, epoch: u32) -> Option<Vec<u64>> {
    let name = format!("{tag} {epoch}");
    SEEN.lock().unwrap().iter().find(|(found, _)| *found == name).map(|(_, seen)| seen.clone())
}

options! {
    /// Options of `replay`.
    pub struct ReplayOptions {}
}

/// Passes numbers on in the first epoch and repeats them by itself from then on.
pub struct Replay;

impl StageKind for Replay {
    const KIND: &'static str = "replay";
    const ABOUT: &'static str = "remembers the first epoch";
    type In = Number;
    type Out = Number;
    type Options = ReplayOptions;

    fn build(_: ReplayOptions, _: &mut Build<'_>) -> Result<Built<Number, Number>, StageError> {
        Ok(Built::Stage(Box::new(Tape(Vec::new()))))
    }
}

struct Tape(Vec<u64>);

impl Stage<Number, Number> for Tape {
    fn starts(&mut self, _: &Pass<'_>) -> Result<bool, StageError> {
        Ok(!self.0.is_empty())
    }

    fn run(&mut self, _: &Pass<'_>, mut input: Inlet<Number>, mut output: Outlet<Number>) -> Result<(), StageError> {
        if self.0.is_empty() {
            while let Some(Number(n, weight)) = input.recv()? {
                self.0.push(n);
                output.send(Number(n, weight))?;
            }
        } else {
            for n in &self.0 {
                output.send(Number(*n, 1))?;
            }
        }
        Ok(())
    }
}

options! {
    /// Options of `spell`.
    pub struct SpellOptions {}
}

/// Takes words, so that it never fits.
pub struct Spell;

impl StageKind for Spell {
    const KIND: &'static str = "spell";
    const ABOUT: &'static str = "takes words";
    type In = Word;
    type Out = Nothing;
    type Options = SpellOptions;

    fn build(_: SpellOptions, _: &mut Build<'_>) -> Result<Built<Word, Nothing>, StageError> {
        Err(StageError::msg("never built"))
    }
}

/// The probes of these tests.
pub trait TestProbe: Send + Sync {
    fn build(&self) -> Result<Box<dyn Probe>, StageError>;
    fn verify(&self, look: &mut Look<'_>);
}

impl ProbePart for dyn TestProbe {
    fn build(&self, _: &str, _: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        TestProbe::build(self)
    }

    fn verify(&self, look: &mut Look<'_>) {
        TestProbe::verify(self, look);
    }
}

parts! { dyn TestProbe: "probe" => [Burst] }

options! {
    /// A probe that panics.
    pub struct Burst {
        /// Panics while it is built; else while it measures.
        early: bool = false;
        /// Measures on so many numbers.
        numbers: usize = 0, 0..=2_000_000;
    }
}

impl Part for Burst {
    const NAME: &'static str = "burst";
    const ABOUT: &'static str = "panics";
}

impl TestProbe for Burst {
    fn build(&self) -> Result<Box<dyn Probe>, StageError> {
        assert!(!self.early, "built badly");
        Ok(Box::new(Self { early: false, numbers: 0 }))
    }

    fn verify(&self, look: &mut Look<'_>) {
        let n = Value::Integer(self.numbers as i64);
        look.source("numbers", &Source { kind: Count::KIND, options: vec![("n", n)] });
    }
}

impl Probe for Burst {
    fn measure(&mut self, _: &(dyn std::any::Any + Send + Sync), _: &Moment) -> Result<Findings, StageError> {
        panic!("no measure")
    }
}

/// What `paint` does to numbers: parts with options of their own.
pub trait Brush: Send + Sync {
    fn paint(&self, n: u64) -> u64;
    /// What it needs of the sink.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }
}

parts! { dyn Brush: "brush" => [Thin, Wide] }

options! {
    /// Adds little.
    pub struct Thin {
        /// How much.
        by: u64 = 1, 0..=9;
    }
}

impl Part for Thin {
    const NAME: &'static str = "thin";
    const ABOUT: &'static str = "adds little";
}

impl Brush for Thin {
    fn paint(&self, n: u64) -> u64 {
        n + self.by
    }
}

options! {
    /// Multiplies.
    pub struct Wide {
        /// By how much.
        times: u64 = 10, 1..=1000;
        /// Bristles.
        bristles: u32 = 7 => free;
    }
}

impl Part for Wide {
    const NAME: &'static str = "wide";
    const ABOUT: &'static str = "multiplies";
}

impl Brush for Wide {
    fn paint(&self, n: u64) -> u64 {
        n * self.times
    }

    fn needs(&self) -> Vec<Need> {
        let facts = vec![Fact::named("big paper")];
        vec![Need { by: "the brush `wide`".into(), facts, what: "big paper".into(), help: "add a stage `sink`".into() }]
    }
}

options! {
    /// Options of `paint`.
    pub struct PaintOptions {
        /// The brush.
        brush: Chosen<dyn Brush> = Chosen::of("thin");
        /// Brushes that clean up.
        cleaners: Several<dyn Brush> = Several::of(&["thin"]);
        /// A file that must be there.
        file: String = String::new();
    }
}

/// Paints numbers with a part.
pub struct Paint;

impl StageKind for Paint {
    const KIND: &'static str = "paint";
    const ABOUT: &'static str = "paints";
    const MOVED: Moved = &[("factor", "wide.times"), ("pencil", "brush"), ("glue", "nothing is glued any more")];
    type In = Number;
    type Out = Number;
    type Options = PaintOptions;

    fn needs(options: &PaintOptions) -> Vec<Need> {
        options.brush.needs()
    }

    fn verify(options: &PaintOptions, look: &mut Look<'_>) {
        if !options.file.is_empty() && !look.path(&options.file).exists() {
            look.fault("file", format!("{} does not exist", options.file), "give one that does");
        }
    }

    fn build(options: PaintOptions, build: &mut Build<'_>) -> Result<Built<Number, Number>, StageError> {
        assert_eq!(build.is_needed(&Fact::named("big paper")), options.brush.name() == "wide");
        Ok(Built::Map { workers: 1, map: Box::new(Painter(options)) })
    }
}

struct Painter(PaintOptions);

impl Map<Number, Number> for Painter {
    fn worker(&self, _: &Pass<'_>) -> Result<Box<dyn Worker<Number, Number> + '_>, StageError> {
        Ok(Box::new(|_: &Pass<'_>, Number(n, weight): Number| Ok(Number(self.0.brush.paint(n), weight))))
    }
}

pub fn registry() -> Arc<Registry> {
    let preset =
        "about = \"more workers\"\n[run]\nseed = 9\n[[stage]]\nkind = \"square\"\nworkers = 3\njitter_us = 1\n";
    let painted = "about = \"a brush\"\n[[stage]]\nkind = \"paint\"\nbrush = \"wide\"\n[stage.wide]\ntimes = 2\n";
    Arc::new(
        Registry::new()
            .stage::<Count>()
            .stage::<Square>()
            .stage::<Helped>()
            .stage::<Replay>()
            .stage::<Sink>()
            .stage::<Spell>()
            .stage::<Paint>()
            .probes_of::<dyn TestProbe>()
            .preset_of("wide", preset)
            .preset_of("painted", painted),
    )
}

pub fn config(text: &str) -> Result<Config, Vec<Diagnostic>> {
    Config::parse("test.toml", text.to_owned(), PathBuf::from("."))
}

pub struct Ran {
    pub result: Result<Summary, RunError>,
    pub from: Vec<&'static str>,
}

/// Runs a config in a folder of its own.
pub fn run(tag: &str, text: &str) -> Ran {
    let registry = registry();
    let plan = check(&config(text).unwrap(), &registry)
        .map_err(|f| f.iter().map(ToString::to_string).collect::<Vec<_>>())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dir = RunDir::open(&folder.path().join(tag), false, false).unwrap();
    let pipeline = match Pipeline::build(plan, &registry, dir, "test", false) {
        Ok(pipeline) => pipeline,
        Err(error) => return Ran { result: Err(error), from: Vec::new() },
    };
    let mut from = Vec::new();
    let result = pipeline.run(&mut |event| {
        if let Event::EpochStarted { from: stage, .. } = event {
            from.push(stage);
        }
    });
    Ran { result, from }
}
