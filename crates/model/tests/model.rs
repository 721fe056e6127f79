//! One checkpoint per run, and what `check` says about the one that a config names.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use model::{Model, ModelError, ModelOptions};
use parking_lot::Mutex;
use pipeline_engine::{
    Build, Built, Config, Inlet, Look, Nothing, Outlet, Pass, Pipeline, Registry, RunDir, Stage, StageError, StageKind,
    check, options,
};

options! {
    /// Options of the stage `asks`.
    pub struct AsksOptions {}
}

/// A stage that asks for the model when it is verified and when it is built.
struct Asks;

/// What it got, verified first.
static GOT: Mutex<Vec<Option<Arc<Model>>>> = Mutex::new(Vec::new());

impl StageKind for Asks {
    const KIND: &'static str = "asks";
    const ABOUT: &'static str = "asks for the model";
    type In = Nothing;
    type Out = Nothing;
    type Options = AsksOptions;

    fn verify(_: &AsksOptions, look: &mut Look<'_>) {
        GOT.lock().push(Model::seen(look));
    }

    fn build(_: AsksOptions, build: &mut Build<'_>) -> Result<Built<Nothing, Nothing>, StageError> {
        GOT.lock().push(Some(Model::of(build)?));
        Ok(Built::Stage(Box::new(Self)))
    }
}

impl Stage<Nothing, Nothing> for Asks {
    fn run(&mut self, _: &Pass<'_>, _: Inlet<Nothing>, _: Outlet<Nothing>) -> Result<(), StageError> {
        Ok(())
    }
}

fn registry() -> Registry {
    Registry::new().stage::<Asks>().section::<ModelOptions>()
}

fn config(dir: &Path, weights: &str) -> Config {
    let text = format!("[model]\nweights = \"{weights}\"\n[[stage]]\nkind = \"asks\"\n");
    Config::parse("test.toml", text, dir.to_owned()).unwrap()
}

/// A text tower of `vocabulary` tokens in `dir/NAME`.
fn text_tower(dir: &Path, name: &str, vocabulary: usize) {
    let json = format!(
        r#"{{"model_type": "clip_text_model", "architectures": ["CLIPTextModelWithProjection"], "hidden_size": 8,
        "intermediate_size": 16, "projection_dim": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 16, "vocab_size": {vocabulary}, "eos_token_id": 49407}}"#
    );
    let config = clip::ClipConfig::parse(Path::new("config.json"), &json).unwrap();
    let tensors = clip::init::random(&config, 3);
    clip::Checkpoint::create(dir.join(name), &config, &tensors, clip::Precision::F32).unwrap();
}

#[test]
fn what_is_opened_to_be_verified_is_what_stages_are_built_with() {
    let dir = tempfile::tempdir().unwrap();
    text_tower(dir.path(), "model", 49408);
    let registry = Arc::new(registry());
    let plan = check(&config(dir.path(), "model"), &registry).unwrap_or_else(|faults| panic!("{faults:?}"));
    let run_dir = RunDir::open(&dir.path().join("run"), false, false).unwrap();
    Pipeline::build(plan, &registry, run_dir, "", false).unwrap();
    let got: Vec<Arc<Model>> = GOT.lock().drain(..).map(Option::unwrap).collect();
    assert!(got.len() == 2 && Arc::ptr_eq(&got[0], &got[1]));
    let tokenizer = got[0].tokenizer().unwrap();
    assert_eq!(tokenizer.context(), 16);
    assert!(Arc::ptr_eq(&tokenizer, &got[1].tokenizer().unwrap()));

    // The one fault is that of [model]; stages have nothing to look at.
    for (weights, part) in
        [("nowhere", "nowhere: No such file or folder"), ("", "must be"), ("hf:a/b/c", "hf:owner/name")]
    {
        let faults = check(&config(dir.path(), weights), &registry).err().unwrap();
        assert!(faults.len() == 1 && faults[0].to_string().contains(part), "{weights}: {faults:?}");
        assert!(GOT.lock().drain(..).all(|seen| seen.is_none()));
    }
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    text_tower(dir.path(), "small", 100);
    let model = Model::open(Path::new("small"), dir.path()).unwrap();
    let error = model.tokenizer().unwrap_err();
    assert!(matches!(error, ModelError::Vocabulary { ids: 49408, rows: 100, .. }), "{error}");
    assert!(error.to_string().contains("ids up to 49407, but config.json gives the text tower 100 tokens"), "{error}");
}
