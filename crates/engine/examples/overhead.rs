//! What meters and traces cost: the time of an item that nothing is done with, on
//! its way over two edges, without meters, with them, and with a trace too.
//!
//! ```text
//! cargo run --release --workspace --example overhead -- runs/NAME
//! ```
//!
//! With a run folder it says what share of that run's time the same number of
//! items would have cost. Times are of the processor, not of the clock on the
//! wall, so that other programs on the machine do not count (Linux only).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_engine::{
    Build, Built, Config, Inlet, Item, Nothing, Outlet, Pass, Pipeline, Registry, RunDir, Stage, StageError, StageKind,
    StageReport, Tracer, check, options,
};

/// Items of a round.
const ITEMS: u64 = 300_000;
/// Rounds of each kind, one kind after the other; the fastest counts.
const ROUNDS: usize = 5;

struct Number(u64);

impl Item for Number {
    const NAME: &'static str = "numbers";

    fn bytes(&self) -> usize {
        8
    }

    fn label(&self) -> String {
        self.0.to_string()
    }
}

options! {
    /// No options.
    pub struct None {}
}

macro_rules! kind {
    ($kind:ident, $name:literal, $in:ty => $out:ty, $run:expr) => {
        struct $kind;

        impl StageKind for $kind {
            const KIND: &'static str = $name;
            const ABOUT: &'static str = "does nothing";
            const CAPACITY: usize = 64;
            type In = $in;
            type Out = $out;
            type Options = None;

            fn build(_: None, _: &mut Build<'_>) -> Result<Built<$in, $out>, StageError> {
                Ok(Built::Stage(Box::new(Self)))
            }
        }

        impl Stage<$in, $out> for $kind {
            fn run(&mut self, _: &Pass<'_>, input: Inlet<$in>, output: Outlet<$out>) -> Result<(), StageError> {
                let run: fn(Inlet<$in>, Outlet<$out>) -> Result<(), StageError> = $run;
                run(input, output)
            }
        }
    };
}

kind!(Source, "source", Nothing => Number, |_, mut output| {
    for n in 0..ITEMS {
        output.send(Number(n))?;
    }
    Ok(())
});
kind!(Middle, "middle", Number => Number, |mut input, mut output| {
    while let Some(number) = input.recv()? {
        output.send(number)?;
    }
    Ok(())
});
kind!(Sink, "sink", Number => Nothing, |mut input, _| {
    while input.recv()?.is_some() {}
    Ok(())
});

#[derive(Debug, Clone, Copy, PartialEq)]
enum With {
    Nothing,
    Meters,
    MetersAndTrace,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("pipeline-overhead-{}", std::process::id()));
    let kinds = [With::Nothing, With::Meters, With::MetersAndTrace];
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        for (best, with) in best.iter_mut().zip(kinds) {
            *best = best.min(round(&folder, with)?);
        }
    }
    std::fs::remove_dir_all(&folder)?;
    // An item is received twice and sent twice.
    let per_edge = best.map(|seconds| seconds * 1e9 / (ITEMS as f64 * 2.0));
    println!("processor time of an item and edge, the best of {ROUNDS} rounds of {ITEMS} items:");
    for (with, nanos) in ["without meters", "with meters", "with meters and a trace"].iter().zip(per_edge) {
        println!("  {with:<24} {nanos:>7.0} ns");
    }
    if let Some(run) = std::env::args().nth(1) {
        let stages: Vec<StageReport> = serde_json::from_slice(&std::fs::read(Path::new(&run).join("stages.json"))?)?;
        let items: u64 = stages.iter().map(|s| s.items).sum();
        let wall: f64 = (1..=stages.iter().map(|s| s.epoch).max().unwrap_or(0))
            .filter_map(|epoch| stages.iter().find(|s| s.epoch == epoch))
            .map(|s| s.wall_s)
            .sum();
        println!("{run}: {items} items over edges in {wall:.1} s of epochs");
        for (what, nanos) in [("meters", per_edge[1] - per_edge[0]), ("meters and a trace", per_edge[2] - per_edge[0])]
        {
            let cost = items as f64 * nanos.max(0.0) / 1e9;
            println!("  {what:<24} {cost:>7.4} s of one processor, {:.4} % of the time", 100.0 * cost / wall);
        }
    }
    Ok(())
}

/// Runs the pipeline once; seconds of processor time.
fn round(folder: &Path, with: With) -> Result<f64, Box<dyn std::error::Error>> {
    let registry = Arc::new(Registry::new().stage::<Source>().stage::<Middle>().stage::<Sink>());
    let text =
        "[run]\nepochs = 1\n[[stage]]\nkind = \"source\"\n[[stage]]\nkind = \"middle\"\n[[stage]]\nkind = \"sink\"\n";
    let config = Config::parse("overhead.toml", text.to_owned(), PathBuf::from("."));
    let plan = config.and_then(|config| check(&config, &registry)).map_err(|faults| format!("{faults:?}"))?;
    let _ = std::fs::remove_dir_all(folder);
    let mut pipeline = Pipeline::build(plan, &registry, RunDir::open(folder, false, false)?, "", false)?;
    let mut tracer = None;
    match with {
        With::Nothing => pipeline.unmetered(),
        With::Meters => {}
        With::MetersAndTrace => {
            let new = Arc::new(Tracer::create(&folder.join("trace.json"))?);
            pipeline.trace(new.clone());
            tracer = Some(new);
        }
    }
    let before = processor_time()?;
    pipeline.run(&mut |_| {})?;
    if let Some(tracer) = tracer.and_then(Arc::into_inner) {
        tracer.finish()?;
    }
    Ok(processor_time()? - before)
}

/// Seconds that all threads of this program have run.
fn processor_time() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|e| format!("/proc/self/stat: {e}"))?;
    // After the program's name, which is in brackets: user and system time, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    Ok((ticks(11) + ticks(12)) / 100.0)
}
