//! The kinds that this program knows. A new stage is a crate under `stages/` and one line here.

use pipeline_engine::Registry;

/// Every table, stage, benchmark and preset.
pub fn registry() -> Registry {
    Registry::new()
        .section::<model::ModelOptions>()
        .stage::<stage_shards::Shards>()
        .stage::<stage_files::Files>()
        .stage::<stage_decode::Decode>()
        .stage::<stage_encode::Encode>()
        .stage::<stage_batch::BatchKind>()
        .stage::<stage_pairs::Pairs>()
        .stage::<stage_captions::Captions>()
        .stage::<stage_tokenize::Tokenize>()
        .stage::<stage_train::TrainKind>()
        .probes_of::<dyn benchmarks::Source>()
        .probes_of::<dyn questions::Made>()
        .preset_of("paper", include_str!("../presets/paper.toml"))
        .preset_of("best", include_str!("../presets/best.toml"))
}
