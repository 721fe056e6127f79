//! What can be said about the options before anything runs.

use clip::device::{self, Place};
use model::{Model, Products};
use pipeline_engine::Look;

use super::TrainOptions;
use crate::error::TrainError;
use crate::trainer::check_front_layers;

/// Reports a device that cannot do what is asked, and a text tower that cannot be trained like this.
pub(super) fn verify(options: &TrainOptions, look: &mut Look<'_>) {
    if options.loss.is_empty() {
        look.fault("loss", "the list is empty".to_owned(), "list at least one loss");
    }
    let name = look.run.device.word();
    match device::place(name) {
        Err(error) => model::report_device(look, &error),
        Ok(place) if options.precision == Products::F16 => {
            let half = match place {
                Place::Cpu => device::half_at(&place, name),
                // Only an adapter that is open says whether it computes in f16.
                Place::Wgpu { .. } | Place::Cuda { .. } => device::pick(name).and_then(|it| device::half(&it)),
            };
            if let Err(error) = half {
                look.fault("precision", error.to_string(), "");
            }
        }
        Ok(_) => {}
    }
    // A checkpoint that cannot be opened is reported by `[model]`, one without a text tower by `tokenize`.
    let Some(model) = Model::seen(look) else { return };
    let Ok(config) = model.checkpoint.text_config() else { return };
    if !config.projected {
        look.fault("", TrainError::NoProjection(model.checkpoint.dir().to_owned()).to_string(), "");
    }
    if let Err(error) = check_front_layers(options.front_layers, config) {
        look.fault("front_layers", error.to_string(), "");
    }
}
