//! What can be said about the options before anything runs.

use clip::device;
use model::{Model, Products};
use pipeline_engine::Look;

use super::TrainOptions;
use crate::error::TrainError;
use crate::trainer::check_front_layers;

/// Reports a device that cannot do what is asked, and a text tower that cannot be trained so.
pub(super) fn verify(options: &TrainOptions, look: &mut Look<'_>) {
    if options.precision == Products::F16 {
        // A device that is not there at all is reported for the whole run, not for this option.
        if let Ok(place) = device::place(look.run.device.word()) {
            let half = match place {
                device::Place::Cpu => device::half_at(&place, "cpu"),
                _ => device::pick(look.run.device.word()).and_then(|picked| device::half(&picked)),
            };
            if let Err(error) = half {
                look.fault("precision", error.to_string(), "");
            }
        }
    }
    // A checkpoint that cannot be opened is reported by [model].
    let Some(model) = Model::seen(look) else { return };
    match model.checkpoint.text_config() {
        Err(error) => look.fault("", error.to_string(), ""),
        Ok(config) => {
            if !config.projected {
                let error = TrainError::NoProjection(model.checkpoint.dir().to_owned());
                look.fault("", error.to_string(), "");
            }
            if let Err(error) = check_front_layers(options.front_layers, config) {
                look.fault("front_layers", error.to_string(), "");
            }
        }
    }
}
