//! Names of what stages measure: in the live view, `stages.json`, `timeline.json`, `results.jsonl`,
//! TensorBoard files and traces. Who writes a number and who reads it use the same constant.
//!
//! The names are a contract with the files of old runs: a new name is a breaking change.

/// The `eval` of measurements that training itself makes, in `results.jsonl`.
pub const TRAIN: &str = "train";
/// The `part` of a measurement that covers everything.
pub const ALL: &str = "all";

// Gauges: values of a step.

/// The loss that is minimised.
pub const LOSS: &str = "loss";
/// The learning rate.
pub const LR: &str = "lr";
/// The norm of the gradient before it is clipped.
pub const GRADIENT_NORM: &str = "gradient_norm";

// Parts of a step's time.

/// From token ids to the loss.
pub const FORWARD: &str = "forward";
/// From the loss to the gradients.
pub const BACKWARD: &str = "backward";
/// From the gradients to new weights.
pub const UPDATE: &str = "update";

// Notes: counts of an epoch.

/// Texts that were written, captions included.
pub const TEXTS: &str = "texts";
/// Steps that were skipped because their loss or gradient is not finite.
pub const STEPS_NOT_FINITE: &str = "steps left out, not finite";
/// Negation objects from the caption of the nearest neighbour.
pub const OBJECT_FROM_NEAREST_NEIGHBOUR: &str = "object_from_nearest_neighbour";
/// Negation objects from the caption of a later neighbour.
pub const OBJECT_FROM_LATER_NEIGHBOUR: &str = "object_from_later_neighbour";
/// Negation objects from any other caption of the batch.
pub const OBJECT_FROM_BATCH: &str = "object_from_batch";
/// Images whose caption stands in for a text that could not be written.
pub const FELL_THROUGH: &str = "fell_through";
/// Full negations of a caption whose image is more similar than the bound allows, since all are.
pub const FULL_ABOVE_BOUND: &str = "full_above_bound";
/// Full negations that use a random caption because the wanted one is the image's own or missing.
pub const FULL_REPLACED: &str = "full_replaced";
/// Images whose captions name no thing that a pair of texts could be about.
pub const NOTHING_PRESENT: &str = "nothing_present";
/// Captions so long that their denial was put in front, where no tower cuts it away.
pub const DENIED_IN_FRONT: &str = "denied_in_front";
/// Nouns that the visual guard turned down.
pub const NOUNS_THAT_LOOK_PRESENT: &str = "nouns_that_look_present";
