//! What is minimised: one file per loss, and the list of them.
//!
//! A loss is a part of the stage `train`: its options, its documentation, its formula and its
//! tests are in one file. A config lists one or several, whose terms are added ([`Sum`]). To add one, write such a file (docs/extending/loss.rs is a complete
//! example) and add it to the list below. Nothing else in the program knows a loss by its name.
//!
//! - [`view`] is what a loss sees of a step.
//! - [`primitives`] are the formulas that losses are made of.

use std::sync::Arc;

use burn::tensor::Tensor;
use items::{Role, contract};
use pipeline_engine::{Need, Several, parts};

use crate::error::TrainError;

pub mod clip;
pub mod composition;
pub mod conclip;
pub mod contrast;
pub mod cyclip;
pub mod negated;
pub mod negbench;
pub mod negclip;
pub mod omni;
#[cfg(test)]
#[path = "../../../../docs/extending/loss.rs"]
mod own;
pub mod primitives;
pub mod semclip;
#[cfg(test)]
pub(crate) mod testing;
pub mod texts;
pub mod tng;
pub mod view;

pub use view::{Images, Phrases, RoleTexts, StartTower, StepView};

parts! {
    /// All losses.
    dyn Loss: "loss" => [
        tng::Tng,
        contrast::Contrast,
        negated::Negated,
        composition::Composition,
        clip::Clip,
        negclip::NegClip,
        conclip::ConClip,
        negbench::NegBench,
        omni::Omni,
        semclip::SemClip,
        cyclip::CyClip,
        #[cfg(test)]
        own::InfoNce,
    ]
}

/// What the text tower is trained to make small.
///
/// Its fields are its options: the struct is made with [`options!`](pipeline_engine::options!).
pub trait Loss: std::fmt::Debug + Send + Sync {
    /// What it cannot do without. `check` compares this with what the stages before give, and the
    /// trainer with the texts of each batch.
    fn needs(&self) -> Needs;

    /// Returns true for the texts that it reads as the trained tower sees them. Other texts do not go
    /// through that tower, which saves their cost.
    fn reads(&self, role: Role) -> bool;

    /// Its terms for one step: functions of the features in `step`, in an order that does not
    /// depend on the batch. Their weighted sum is minimised.
    ///
    /// # Errors
    /// Texts or a tower that `step` does not have; a device that fails.
    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError>;
}

/// Several losses of a config: all their terms together.
#[derive(Debug)]
pub struct Sum(Vec<Arc<dyn Loss>>);

impl Sum {
    /// The sum of these losses.
    pub fn of(chosen: &Several<dyn Loss>) -> Self {
        Self(chosen.iter().map(|loss| loss.shared()).collect())
    }
}

impl Loss for Sum {
    fn needs(&self) -> Needs {
        let each: Vec<Needs> = self.0.iter().map(|loss| loss.needs()).collect();
        Needs { start: each.iter().any(|needs| needs.start), texts: each.into_iter().flat_map(|n| n.texts).collect() }
    }

    fn reads(&self, role: Role) -> bool {
        self.0.iter().any(|loss| loss.reads(role))
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let each = self.0.iter().map(|loss| loss.terms(step)).collect::<Result<Vec<_>, _>>()?;
        Ok(each.into_iter().flatten().collect())
    }
}

/// One addend of a loss.
#[derive(Debug, Clone)]
pub struct Term {
    /// Its name in logs and results.
    pub name: &'static str,
    /// What it is multiplied by.
    pub weight: f64,
    /// Its value before that, of shape `[1]`.
    pub value: Tensor<1>,
}

/// The weighted sum of `terms`, of shape `[1]`; `None` if there are none.
pub fn total(terms: &[Term]) -> Option<Tensor<1>> {
    terms.iter().map(|term| term.value.clone() * term.weight).reduce(|a, b| a + b)
}

/// What a loss cannot do without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Texts of each image.
    pub texts: Vec<TextNeed>,
    /// True if it compares features with those of the tower before training, see
    /// [`StepView::start`]. That tower stays on the device then.
    pub start: bool,
}

/// Texts that a loss cannot do without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextNeed {
    /// Their roles.
    pub roles: Vec<Role>,
    /// What they are: `the caption and a full negation of it`.
    pub what: &'static str,
    /// What to change in the config when they are missing.
    pub help: &'static str,
}

impl Needs {
    /// The same as facts that another stage has to give, for the loss of this name.
    pub fn facts(&self, loss: &str) -> Vec<Need> {
        let need = |texts: &TextNeed| Need {
            by: format!("the loss `{loss}`"),
            facts: texts.roles.iter().map(|&role| contract::role(role)).collect(),
            what: texts.what.to_owned(),
            help: texts.help.to_owned(),
        };
        self.texts.iter().map(need).collect()
    }

    /// Checks that a batch has a text for every role that is needed.
    ///
    /// # Errors
    /// [`TrainError::Texts`] for the first that is missing.
    pub fn check(&self, roles: &[Role]) -> Result<(), TrainError> {
        for need in &self.texts {
            if let Some(&missing) = need.roles.iter().find(|role| !roles.contains(role)) {
                return Err(TrainError::Texts { what: need.what, missing, help: need.help });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use pipeline_engine::{Alternatives, Chosen};

    use super::*;

    #[test]
    fn the_gradient_of_every_loss_agrees_with_finite_differences() {
        for part in <dyn Loss>::list() {
            let loss = Chosen::<dyn Loss>::of(part.name);
            testing::agrees_with_finite_differences(part.name, &*loss);
        }
    }

    #[test]
    fn every_loss_reads_or_compares_with_the_start_what_it_needs() {
        for part in <dyn Loss>::list() {
            let loss = Chosen::<dyn Loss>::of(part.name);
            let needs = loss.needs();
            assert!(!needs.texts.is_empty(), "{} needs texts", part.name);
            for role in needs.texts.iter().flat_map(|need| &need.roles) {
                assert!(loss.reads(*role) || needs.start, "{} does not read {role:?}", part.name);
            }
        }
    }

    #[test]
    fn terms_of_several_losses_have_names_of_their_own() {
        let all: Vec<&str> = <dyn Loss>::list().iter().map(|part| part.name).filter(|name| *name != "tng").collect();
        let sum = Sum::of(&Several::of(&all));
        let mut roles: Vec<Role> = Vec::new();
        sum.needs().texts.into_iter().flat_map(|need| need.roles).for_each(|role| {
            if sum.reads(role) && !roles.contains(&role) {
                roles.push(role);
            }
        });
        let terms = testing::Case::new(&roles, 3, 5, 1).terms(&sum);
        let names: std::collections::BTreeSet<&str> = terms.iter().map(|term| term.name).collect();
        assert_eq!(names.len(), terms.len(), "{names:?}");
        assert!(names.contains("twin") && names.contains("negated") && names.contains("whole"), "{names:?}");
    }

    #[test]
    fn the_sum_of_terms_is_weighted() {
        let term = |weight, value: f32| Term { name: "a", weight, value: testing::tensor(&[value], 1).reshape([1]) };
        let sum: f32 = total(&[term(2.0, 3.0), term(0.5, 4.0)]).unwrap().into_scalar();
        assert_eq!(sum, 8.0);
        assert!(total(&[]).is_none());
    }

    #[test]
    fn a_missing_text_is_named_with_what_to_change() {
        let roles = vec![Role::Original, Role::True(0)];
        let needs = Needs { texts: vec![TextNeed { roles, what: "two texts", help: "set this" }], start: false };
        needs.check(&[Role::True(0), Role::Full, Role::Original]).unwrap();
        let error = needs.check(&[Role::Original, Role::True(1)]).unwrap_err().to_string();
        assert!(error.contains("two texts") && error.contains("set this"), "{error}");
        let [need] = &needs.facts("mine")[..] else { panic!() };
        assert_eq!((need.by.as_str(), need.facts.len()), ("the loss `mine`", 2));
    }
}
