//! Writers: what texts are written for the images of a batch.
//!
//! The options struct of a writer is its part. It says which texts it gives, and opens: reads its
//! files. What it opens writes the texts of one batch after the other. To add a writer, write a file
//! like the others in this folder and name it in the list; `docs/extending/writer.rs` is a complete
//! example.

pub mod plain;
pub mod tng;
pub mod twins;

use std::path::{Path, PathBuf};

use items::Role;
use pipeline_engine::rng::Draw;
use pipeline_engine::{Build, Look, StageError, parts};

pub use plain::Plain;
pub use tng::{FullSource, Negations, Tng, TngWriter};
pub use twins::{TwinTexts, Twins, TwinsWriter};

use crate::counts::Counts;
use crate::reading::Reading;
use crate::templates::{Source, TemplateError};

parts! {
    dyn Writer: "writer" => [
        Plain,
        Tng,
        Twins,
        #[cfg(test)]
        crate::example::Denies,
    ]
}

/// A writer as a config chooses it.
pub trait Writer: Send + Sync {
    /// The R texts per image, in the order in which [`OpenWriter::write`] gives them.
    fn roles(&self) -> Vec<Role>;

    /// Whether it looks for things that an image does not show. If not, no guard is asked, and none
    /// needs the text tower before training.
    fn uses_guards(&self) -> bool {
        true
    }

    /// Reports what is wrong with its options: files that do not exist, lines that are no templates.
    fn verify(&self, _look: &mut Look<'_>) {}

    /// Reads its files, once per run.
    ///
    /// # Errors
    /// What [`verify`](Self::verify) reports.
    fn open(&self, build: &Build<'_>) -> Result<Box<dyn OpenWriter>, StageError>;
}

/// A writer that is ready.
pub trait OpenWriter: Send + Sync {
    /// The B x R texts of a batch; text `R * i + j` has role `j` and is for item `i`. The same draws
    /// give the same texts: an item's depend on the batch and on `draw(i)`, the address of its random
    /// numbers, alone.
    ///
    /// # Errors
    /// What keeps it from writing.
    fn write(
        &self,
        reading: &Reading<'_>,
        draw: &dyn Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Result<Vec<String>, StageError>;
}

/// A list of templates, as the options of a writer name it: the option of a file, its value, and the
/// value of the option that says how many are used.
struct List<'a> {
    /// The name of the writer's table.
    writer: &'static str,
    /// The option, which is also the name of the input that a resumed run compares.
    option: &'static str,
    file: Option<&'a Path>,
    used: Option<usize>,
}

impl List<'_> {
    /// Reads the list. A user's file is an input of the run.
    fn open<T>(
        &self,
        build: &Build<'_>,
        read: impl FnOnce(Source<'_>) -> Result<Vec<T>, TemplateError>,
    ) -> Result<Vec<T>, TemplateError> {
        let file: Option<PathBuf> = self.file.map(|file| build.path(file));
        // A file that cannot be read is reported below.
        if let Some(bytes) = file.as_ref().and_then(|file| std::fs::read(file).ok()) {
            build.input(self.option, blake3::hash(&bytes).to_hex().to_string());
        }
        read(Source { file: file.as_deref(), first: self.used })
    }

    /// Reports what keeps the list from being read.
    fn verify<T>(&self, look: &mut Look<'_>, read: impl FnOnce(Source<'_>) -> Result<Vec<T>, TemplateError>) {
        let file: Option<PathBuf> = self.file.map(|file| look.path(file));
        let Err(error) = read(Source { file: file.as_deref(), first: self.used }) else { return };
        let (suffix, help) = match &error {
            TemplateError::Count { .. } => ("_used", "or omit it to use all"),
            TemplateError::Read { .. } => ("", "correct the path, or omit it to use our own templates"),
            TemplateError::Line { .. } | TemplateError::File { .. } => ("", ""),
        };
        look.fault(&format!("{}.{}{suffix}", self.writer, self.option), error.to_string(), help);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use items::{Captioned, Paired, contract};
    use parking_lot::Mutex;
    use pipeline_engine::{
        Built, Chosen, Config, Fact, Inlet, Need, Nothing, Outlet, Pass, Pipeline, Registry, RunDir, Stage, StageKind,
        check, options,
    };

    use super::*;
    use crate::Captions;
    use crate::testing::batch;

    #[test]
    fn every_writer_gives_different_roles_the_caption_first() {
        for name in ["plain", "tng", "twins", "denies"] {
            let roles = Chosen::<dyn Writer>::of(name).roles();
            assert_eq!(roles[0], Role::Original, "{name}");
            let facts: std::collections::BTreeSet<Fact> = roles.iter().copied().map(contract::role).collect();
            assert_eq!(facts.len(), roles.len(), "{name}");
        }
    }

    options! {
        /// No options.
        pub struct NoOptions {}
    }

    /// One batch of two images.
    struct Two;

    impl StageKind for Two {
        const KIND: &'static str = "two";
        const ABOUT: &'static str = "gives a batch";
        type In = Nothing;
        type Out = Paired;
        type Options = NoOptions;

        fn build(_: NoOptions, _: &mut Build<'_>) -> Result<Built<Nothing, Paired>, StageError> {
            Ok(Built::Stage(Box::new(Self)))
        }
    }

    impl Stage<Nothing, Paired> for Two {
        fn run(&mut self, _: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Paired>) -> Result<(), StageError> {
            output.send(batch(&[&["A dog runs."], &["Two umbrellas"]], 1))?;
            Ok(())
        }
    }

    /// Needs a compositional text, and remembers the texts.
    struct Sink;

    static TEXTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

    impl StageKind for Sink {
        const KIND: &'static str = "sink";
        const ABOUT: &'static str = "remembers texts";
        type In = Captioned;
        type Out = Nothing;
        type Options = NoOptions;

        fn build(_: NoOptions, _: &mut Build<'_>) -> Result<Built<Captioned, Nothing>, StageError> {
            Ok(Built::Stage(Box::new(Self)))
        }

        fn needs(_: &NoOptions) -> Vec<Need> {
            let (by, what, help) = ("the sink".to_owned(), "a negation".to_owned(), String::new());
            vec![Need { by, facts: vec![contract::role(Role::Compositional)], what, help }]
        }
    }

    impl Stage<Captioned, Nothing> for Sink {
        fn run(&mut self, _: &Pass<'_>, mut input: Inlet<Captioned>, _: Outlet<Nothing>) -> Result<(), StageError> {
            while let Some(captioned) = input.recv()? {
                TEXTS.lock().extend(captioned.texts);
            }
            Ok(())
        }
    }

    #[test]
    fn the_example_of_a_writer_runs_in_a_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Arc::new(Registry::new().stage::<Two>().stage::<Captions>().stage::<Sink>());
        let config = |writer: &str| {
            let text = format!(
                "[run]\nepochs = 1\n[[stage]]\nkind = \"two\"\n[[stage]]\nkind = \"captions\"\nwriter = \"{writer}\"\n\
                 [stage.denies]\nbeside = false\n[[stage]]\nkind = \"sink\"\n"
            );
            Config::parse("test.toml", text, folder.path().to_owned()).unwrap()
        };
        let faults = check(&config("plain"), &registry).map(|_| ()).unwrap_err();
        assert!(faults[0].message.contains("the sink needs a negation"), "{faults:?}");
        let plan = check(&config("denies"), &registry).unwrap();
        assert!(plan.resolved().contains("writer = \"denies\"") && plan.resolved().contains("beside = false"));
        let dir = RunDir::open(&folder.path().join("run"), false, false).unwrap();
        Pipeline::build(plan, &registry, dir, "test", false).unwrap().run(&mut |_| {}).unwrap();
        let expected = ["A dog runs.", "There are no umbrellas.", "Two umbrellas", "There is no dog."];
        assert_eq!(*TEXTS.lock(), expected);
    }
}
