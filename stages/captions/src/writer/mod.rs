//! Writers: what texts are written for the images of a batch, beside their captions.
//!
//! The options struct of a writer is its part. It says which texts it gives, and opens: reads its
//! files. What it opens writes the texts of one batch after the other. A config lists one writer or
//! several ([`Writers`]). To add a writer, write a file like the others in this folder and name it in
//! the list; `docs/extending/writer.rs` is a complete example.

pub mod negated;
pub mod paraphrase;
pub mod plain;
pub mod tng;
pub mod twins;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use items::Role;
use pipeline_engine::rng::Draw;
use pipeline_engine::{Build, Look, Several, StageError, parts};

pub use negated::{Negated, NegatedWriter};
pub use paraphrase::Paraphrase;
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
        Negated,
        Paraphrase,
        #[cfg(test)]
        crate::example::Denies,
    ]
}

/// A writer as a config chooses it.
pub trait Writer: Send + Sync {
    /// The texts per image that it gives, in the order of [`OpenWriter::write`]. The caption itself is
    /// not among them: the stage gives it.
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
    /// The B x R texts of a batch, for the R roles of the writer; text `R * i + j` has role `j` and is
    /// for item `i`. The same draws give the same texts: an item's depend on the batch and on
    /// `draw(i)`, the address of its random numbers, alone.
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

/// The writers of a stage, which share its batches.
pub struct Writers {
    writers: Vec<Opened>,
    roles: Arc<[Role]>,
}

struct Opened {
    name: &'static str,
    /// Texts per image.
    texts: usize,
    writer: Box<dyn OpenWriter>,
}

impl Writers {
    /// Opens the writers of a config.
    ///
    /// # Errors
    /// Those of [`Writer::open`].
    pub fn open(chosen: &Several<dyn Writer>, build: &Build<'_>) -> Result<Self, StageError> {
        let open =
            |writer: &pipeline_engine::Chosen<dyn Writer>| Ok((writer.name(), writer.roles(), writer.open(build)?));
        Ok(Self::new(chosen.iter().map(open).collect::<Result<_, StageError>>()?))
    }

    /// Writers with their names and the roles of their texts.
    pub fn new(writers: Vec<(&'static str, Vec<Role>, Box<dyn OpenWriter>)>) -> Self {
        let own = writers.iter().flat_map(|(_, roles, _)| roles.iter().copied());
        let roles = [Role::Original].into_iter().chain(own).collect();
        let opened = |(name, roles, writer): (_, Vec<Role>, _)| Opened { name, texts: roles.len(), writer };
        Self { writers: writers.into_iter().map(opened).collect(), roles }
    }

    /// R roles: the caption, then those of each writer.
    pub fn roles(&self) -> &Arc<[Role]> {
        &self.roles
    }

    /// The B x R texts of a batch, as [`OpenWriter::write`] gives them, with the caption in front.
    ///
    /// # Errors
    /// Those of the writers; a writer whose texts are not as many as its roles.
    pub fn write(
        &self,
        reading: &Reading<'_>,
        draw: &dyn Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Result<Vec<String>, StageError> {
        let images = reading.items().len();
        let mut each = Vec::with_capacity(self.writers.len());
        for Opened { name, texts, writer } in &self.writers {
            let written = writer.write(reading, draw, counts)?;
            if written.len() != images * texts {
                let count = written.len();
                return Err(StageError::msg(format!(
                    "the writer `{name}` gave {count} texts for {images} images, but says that it gives {texts} per image"
                )));
            }
            each.push((*texts, written.into_iter()));
        }
        let mut all = Vec::with_capacity(images * self.roles.len());
        for item in reading.items() {
            all.push(item.caption().to_owned());
            each.iter_mut().for_each(|(texts, written)| all.extend(written.by_ref().take(*texts)));
        }
        Ok(all)
    }
}

/// The roles that two of the writers give, with the names of both; for an error.
pub fn given_twice(chosen: &Several<dyn Writer>) -> Vec<(Role, &'static str, &'static str)> {
    let mut given: Vec<(Role, &'static str)> = Vec::new();
    let mut twice = Vec::new();
    for writer in chosen.iter() {
        for role in writer.roles() {
            match given.iter().find(|(other, _)| *other == role) {
                Some((_, first)) => twice.push((role, *first, writer.name())),
                None => given.push((role, writer.name())),
            }
        }
    }
    twice
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
        Alternatives, Built, Chosen, Config, Fact, Inlet, Need, Nothing, Outlet, Pass, Pipeline, Registry, RunDir,
        Stage, StageKind, check, options,
    };

    use super::*;
    use crate::Captions;
    use crate::testing::batch;

    #[test]
    fn every_writer_gives_different_roles_beside_the_caption() {
        for part in <dyn Writer>::list() {
            let name = part.name;
            let roles = Chosen::<dyn Writer>::of(name).roles();
            assert!(!roles.contains(&Role::Original), "{name}");
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
    fn several_writers_take_turns_after_the_caption() {
        let writer = |name| (Chosen::<dyn Writer>::of(name).roles(), name);
        let ((tng, _), (twins, _)) = (writer("tng"), writer("twins"));
        let writers = Writers::new(vec![
            ("twins", twins, Box::new(TwinsWriter::usual().unwrap())),
            ("tng", tng, Box::new(TngWriter::usual().unwrap())),
        ]);
        assert_eq!(writers.roles().len(), 7);
        let (reader, batch) = (crate::testing::reader(), batch(&[&["A dog runs."], &["Two umbrellas"]], 1));
        let reading = reader.read(&batch, None).unwrap();
        let draw = crate::testing::draw;
        let texts = writers.write(&reading, &draw, &mut Counts::default()).unwrap();
        let twins = TwinsWriter::usual().unwrap().twins(&reading, draw, &mut Counts::default());
        let tng = TngWriter::usual().unwrap().negations(&reading, draw, &mut Counts::default());
        assert_eq!((texts[0].as_str(), texts[7].as_str()), ("A dog runs.", "Two umbrellas"));
        assert_eq!((&texts[8], &texts[12]), (&twins[2].true_text, &tng[1].compositional));
        assert_eq!(given_twice(&Several::of(&["twins", "tng"])), []);
        let twice = given_twice(&Several::of(&["tng", "denies"]));
        assert_eq!(twice, [(Role::Compositional, "tng", "denies")]);
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
