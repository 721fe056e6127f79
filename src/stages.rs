//! The kinds that this program knows. A new stage is a folder under `stages/` and
//! one line here.

use pipeline_engine::{Preset, Registry};

/// Every stage, probe, table and preset.
pub fn registry() -> Registry {
    Registry::new()
        .section::<items::ModelOptions>("model", "the checkpoint to start from")
        .stage::<stage_shards::Shards>()
        .stage::<stage_files::Files>()
        .stage::<stage_decode::Decode>()
        .stage::<stage_encode::Encode>()
        .stage::<stage_batch::BatchKind>()
        .stage::<stage_pairs::Pairs>()
        .stage::<stage_captions::Captions>()
        .stage::<stage_tokenize::Tokenize>()
        .stage::<stage_train::TrainKind>()
        .probe::<benchmarks::McqKind>()
        .probe::<benchmarks::RetrievalKind>()
        .probe::<benchmarks::kinds::NegBenchMcq>()
        .probe::<benchmarks::kinds::NegBenchRetrieval>()
        .probe::<benchmarks::kinds::Valse>()
        .probe::<benchmarks::kinds::SugarCrepe>()
        .probe::<benchmarks::kinds::SugarCrepePp>()
        .probe::<benchmarks::kinds::CcNeg>()
        .probe::<benchmarks::kinds::NegRefCocoG>()
        .probe::<benchmarks::kinds::SnliVe>()
        .probe::<benchmarks::kinds::ZeroShot>()
        .preset_of(PAPER)
        .preset_of(BEST)
}

/// The paper's method and settings (TNG-CLIP, arXiv 2505.18434, section 4).
const PAPER: Preset = Preset {
    name: "paper",
    about: "TNG-CLIP as published: its loss, random image-to-text targets, lr 5e-6, batch 128",
    settings: &[
        ("run.epochs", "10"),
        ("stage.batch.size", "128"),
        ("stage.pairs.k", "1"),
        ("stage.captions.generator", "\"tng\""),
        ("stage.captions.mode", "\"dynamic\""),
        // Our own guards, which the paper does not have.
        ("stage.captions.implied", "false"),
        ("stage.captions.people", "false"),
        ("stage.captions.visual_guard", "0.0"),
        ("stage.train.loss", "\"tng\""),
        ("stage.train.noise", "1.0"),
        ("stage.train.temperature", "0.07"),
        ("stage.train.lr", "5e-6"),
        ("stage.train.schedule", "\"constant\""),
        ("stage.train.warmup_steps", "0"),
        ("stage.train.weight_decay", "0.2"),
    ],
};

/// Our own loss, with what the sweeps found best (docs/results).
const BEST: Preset = Preset {
    name: "best",
    about: "what our sweeps found best: true captions against their false twins for the same image, beside plain InfoNCE",
    settings: &[
        ("stage.captions.generator", "\"twins\""),
        ("stage.captions.pairs", "3"),
        ("stage.captions.things", "true"),
        ("stage.captions.balanced", "true"),
        ("stage.captions.visual_guard", "0.2"),
        ("stage.train.loss", "\"contrast\""),
        ("stage.train.schedule", "\"cosine\""),
        ("stage.train.warmup_steps", "50"),
        ("stage.train.weight_decay", "0.0"),
        ("stage.train.w_caption", "0.5"),
        ("stage.train.w_twin", "4.0"),
        ("stage.train.w_keep", "48.0"),
        ("stage.train.w_turn", "2.0"),
        ("stage.train.twin_temperature", "0.05"),
        ("stage.train.hard_negatives", "false"),
    ],
};
