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
        .preset_of("tng-released", include_str!("../presets/tng-released.toml"))
        .preset_of("negationclip", include_str!("../presets/negationclip.toml"))
        .preset_of("conclip", include_str!("../presets/conclip.toml"))
        .preset_of("negbench", include_str!("../presets/negbench.toml"))
        .preset_of("omni", include_str!("../presets/omni.toml"))
        .preset_of("semclip", include_str!("../presets/semclip.toml"))
        .preset_of("negclip", include_str!("../presets/negclip.toml"))
        .preset_of("laclip", include_str!("../presets/laclip.toml"))
        .preset_of("cyclip", include_str!("../presets/cyclip.toml"))
        .preset_of("clip", include_str!("../presets/clip.toml"))
}
