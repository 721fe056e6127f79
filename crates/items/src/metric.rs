//! Names of what stages measure: in the live view, `stages.json`, `timeline.json`, `results.jsonl`,
//! TensorBoard files and traces. Who writes a number and who reads it use the same constant.
//!
//! The names are a contract with the files of old runs: a new name is a breaking change.

/// The `eval` of measurements that training itself makes, in `results.jsonl`.
pub const TRAIN: &str = "train";
/// The `part` of a measurement that covers everything.
pub const ALL: &str = "all";

// Scores of benchmarks.

/// The share of questions that are answered right.
pub const ACCURACY: &str = "accuracy";
/// The same when the mean of all images replaces every image.
pub const TEXT_ONLY_ACCURACY: &str = "text_only_accuracy";
/// Texts that find their image, in names of recalls.
pub const TEXT_TO_IMAGE: &str = "text_to_image";
/// Images that find one of their texts, in names of recalls.
pub const IMAGE_TO_TEXT: &str = "image_to_text";

/// The name of R@k in one direction: `text_to_image_r@5`.
pub fn recall(direction: &str, k: usize) -> String {
    format!("{direction}_r@{k}")
}

// Training-free answers; each is in front of the name of what it scores: `policy_accuracy`.

/// The score cos(v, affirmed) - lambda cos(v, denied).
pub const TRAINING_FREE: &str = "training_free";
/// The vector of what a text affirms.
pub const IGNORE: &str = "ignore";
/// What a text affirms minus lambda times what it denies, as one vector.
pub const LAMBDA: &str = "lambda";
/// SpaceVLM's direction.
pub const SPACE: &str = "space";
/// DEO's optimised vector.
pub const DEO: &str = "deo";
/// A small lambda for whole captions, a large one for short statements.
pub const POLICY: &str = "policy";
/// All training-free answers.
pub const BASELINES: [&str; 6] = [TRAINING_FREE, IGNORE, LAMBDA, SPACE, DEO, POLICY];

/// The name of what a training-free answer scores: `policy_accuracy`.
pub fn of_baseline(baseline: &str, metric: &str) -> String {
    format!("{baseline}_{metric}")
}

/// The training-free answer and what it scores: `policy_accuracy` is `policy` and `accuracy`; none
/// for a score of the text tower itself.
pub fn baseline(metric: &str) -> Option<(&'static str, &str)> {
    let scored = |name: &&'static str| Some((*name, metric.strip_prefix(name)?.strip_prefix('_')?));
    BASELINES.iter().find_map(scored)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_baselines_are_told_from_those_of_the_tower() {
        for name in BASELINES {
            assert_eq!(baseline(&of_baseline(name, ACCURACY)), Some((name, ACCURACY)));
        }
        let r5 = recall(TEXT_TO_IMAGE, 5);
        assert_eq!(baseline(&of_baseline(POLICY, &r5)), Some((POLICY, "text_to_image_r@5")));
        for own in [ACCURACY, TEXT_ONLY_ACCURACY, r5.as_str(), "lambda", "chose_wrong_hybrid"] {
            assert_eq!(baseline(own), None);
        }
    }
}
