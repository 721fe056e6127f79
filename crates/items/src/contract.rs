//! What stages of a CLIP pipeline give one another beside their items. A stage lists these facts in
//! `gives` and `needs`, and `check` reports a need that no stage meets.

use pipeline_engine::Fact;

use crate::texts::Role;

/// The text tower as it was before any training, published as [`StartEncoder`](crate::StartEncoder).
/// The stage that trains gives it.
pub const START_TOWER: Fact = Fact::named("the text tower before training");

/// Every step of an epoch, also the steps at its start that a resumed run has already trained on.
/// The stage that makes batches gives it and otherwise omits those steps; the stage that needs them
/// drops them itself.
pub const EVERY_STEP: Fact = Fact::named("every step of a resumed epoch");

/// The texts of this role: one per image and step.
pub fn role(role: Role) -> Fact {
    Fact::new(format!("the text `{role}` of each image"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Statement;

    #[test]
    fn roles_are_different_facts_with_names_for_people() {
        assert_eq!(role(Role::True(0)), role(Role::True(0)));
        assert_ne!(role(Role::True(0)), role(Role::True(1)));
        assert_ne!(role(Role::True(0)), role(Role::False(0)));
        assert_eq!(role(Role::True(0)).to_string(), "the text `true 1` of each image");
        assert_eq!(role(Role::Original).to_string(), "the text `caption` of each image");
        let denied = role(Role::Denied(Statement::Negated(1), 0));
        assert_eq!(denied.to_string(), "the text `denied 1 of negated 2` of each image");
    }
}
