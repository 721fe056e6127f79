//! `loss = "composition"`.

use burn::tensor::{Device, Tensor, TensorData};
use items::{Role, Statement};
use pipeline_engine::{Part, options};

use super::primitives::normalised;
use super::{Loss, Needs, Phrases, StepView, Term, TextNeed};
use crate::error::TrainError;

options! {
    /// A text with a denial is drawn to what the tower before training makes of its parts: what it
    /// affirms, minus a share of what it denies, at length 1. That composition needs no training and
    /// answers questions and queries with negation well; here the tower learns it for any wording. The
    /// weighted sum of two terms, each the mean of `1 - cos(f, unit(e - share * n))` over texts, where
    /// f is the feature of the text in training and n the mean feature of the things that it denies:
    ///
    /// - `whole`: whole captions with a denial; e is the feature of the caption. Photos that fit the
    ///   caption differ little in what it denies, so the share is small.
    /// - `statement`: the true and false texts of pairs (twins); e is the mean feature of what they
    ///   affirm, at length 1: things, or a caption. A statement that affirms nothing starts from the
    ///   mean over the distinct things of the batch.
    pub struct Composition {
        /// Weight of whole captions; above 0 they are needed.
        whole: f64 = 8.0, 0.0..=1e6;
        /// Share of what a whole caption denies that is taken away from it.
        whole_share: f64 = 0.1, 0.0..=10.0;
        /// Weight of short statements; above 0 they are needed, with their phrases.
        statement: f64 = 16.0, 0.0..=1e6;
        /// Share of what a statement denies that is taken away from it; of a statement with a caption
        /// `whole_share` is.
        statement_share: f64 = 0.6, 0.0..=10.0;
        /// Whether statements that affirm nothing are among them.
        denials: bool = true;
    }
}

impl Part for Composition {
    const NAME: &'static str = "composition";
    const ABOUT: &'static str =
        "texts move to what they affirm minus a share of what they deny, as seen before training";
}

impl Loss for Composition {
    fn needs(&self) -> Needs {
        let whole = TextNeed {
            roles: [Role::Original, Role::Negated(0)].into_iter().chain(Statement::Negated(0).denied()).collect(),
            what: "whole captions with a denial",
            help: "list \"negated\" in `writer` in the stage captions, or set composition.whole = 0.0 in the stage train",
        };
        let first = [Statement::True(0), Statement::False(0)];
        let statements = TextNeed {
            roles: [Role::Original]
                .into_iter()
                .chain(first.map(Role::from))
                .chain(first.into_iter().flat_map(Statement::phrases))
                .collect(),
            what: "pairs of a true and a false text with what they affirm and deny",
            help: "list \"twins\" in `writer` and set twins.phrases = true in the stage captions, or set \
                   composition.statement = 0.0 in the stage train",
        };
        let mut texts = Vec::new();
        texts.extend((self.whole > 0.0).then_some(whole));
        texts.extend((self.statement > 0.0).then_some(statements));
        Needs { texts, start: true }
    }

    fn reads(&self, role: Role) -> bool {
        match role {
            Role::Negated(_) => self.whole > 0.0,
            Role::True(_) | Role::False(_) => self.statement > 0.0,
            _ => false,
        }
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let mut terms = Vec::new();
        if self.whole > 0.0 {
            terms.push(Term { name: "whole", weight: self.whole, value: self.whole_term(step)? });
        }
        if self.statement > 0.0 {
            terms.push(Term { name: "statement", weight: self.statement, value: self.statement_term(step)? });
        }
        Ok(terms)
    }
}

impl Composition {
    fn whole_term(&self, step: &StepView<'_>) -> Result<Tensor<1>, TrainError> {
        let captions = step.start()?.of(Role::Original)?;
        let mut texts = Vec::new();
        for n in step.texts.numbered(Role::Negated) {
            let roles: Vec<Role> = Statement::Negated(n).denied().collect();
            let things = step.start()?.phrases(&roles)?;
            let each: Vec<Option<&[f32]>> = things.each().collect();
            let means = each.chunks(roles.len()).flat_map(|phrases| mean_of(phrases, things.width()));
            let means = rows(means.collect(), things.width(), &captions.device());
            let target = normalised(captions.clone() - means * self.whole_share);
            texts.push(away(step.texts.of(Role::Negated(n))?, target));
        }
        Ok(Tensor::cat(texts, 0).mean())
    }

    fn statement_term(&self, step: &StepView<'_>) -> Result<Tensor<1>, TrainError> {
        let pairs = step.texts.pairs(Role::True, Role::False)?.len() as u8;
        let statements: Vec<Statement> = (0..pairs).flat_map(|n| [Statement::True(n), Statement::False(n)]).collect();
        let roles: Vec<Role> =
            [Role::Original].into_iter().chain(statements.iter().copied().flat_map(Statement::phrases)).collect();
        let things = step.start()?.phrases(&roles)?;
        let (targets, counts) = self.targets(&things, &statements);
        let texts: Vec<Role> = statements.into_iter().map(Role::from).collect();
        let texts = step.texts.interleaved(&texts)?;
        let device = texts.device().inner();
        let (count, target) = (counts.iter().sum::<f32>().max(1.0), rows(targets, things.width(), &device));
        Ok((away(texts, target) * rows(counts, 1, &device)).sum() / count)
    }

    /// The composition of each statement, image by image, and 1 or 0: whether it counts. `things` are, per
    /// image, the caption and the phrases of each of `statements`.
    fn targets(&self, things: &Phrases, statements: &[Statement]) -> (Vec<f32>, Vec<f32>) {
        let per_image = 1 + statements.iter().map(|statement| statement.phrases().count()).sum::<usize>();
        let neutral = unit(things.mean_without(0, per_image));
        let each: Vec<Option<&[f32]>> = things.each().collect();
        let (mut targets, mut counts) = (Vec::new(), Vec::new());
        for of_image in each.chunks(per_image) {
            let (caption, mut rest) = of_image.split_at(1);
            for statement in statements {
                let (affirmed, after) = rest.split_at(statement.affirmed().count());
                let (denied, after) = after.split_at(statement.denied().count());
                rest = after;
                let affirms = affirmed.iter().any(Option::is_some);
                let mut target = if affirms { unit(mean_of(affirmed, things.width())) } else { neutral.clone() };
                let has_caption = caption[0].is_some() && affirmed.contains(&caption[0]);
                let share = if has_caption { self.whole_share } else { self.statement_share } as f32;
                let taken = mean_of(denied, things.width());
                target.iter_mut().zip(taken).for_each(|(target, taken)| *target -= share * taken);
                targets.extend(unit(target));
                counts.push(f32::from(u8::from(affirms || self.denials)));
            }
        }
        (targets, counts)
    }
}

/// `1 - cos` of each row of `texts` and `target`, both `[rows, D]` of length 1; `[rows, 1]`.
fn away(texts: Tensor<2>, target: Tensor<2>) -> Tensor<2> {
    (texts * target).sum_dim(1).neg() + 1.0
}

fn rows(values: Vec<f32>, width: usize, device: &Device) -> Tensor<2> {
    let count = values.len() / width.max(1);
    Tensor::from_data(TensorData::new(values, [count, width]), device)
}

/// The mean of the phrases that are there; zeros if there are none.
fn mean_of(phrases: &[Option<&[f32]>], width: usize) -> Vec<f32> {
    let mut mean = vec![0.0; width];
    let count = phrases.iter().flatten().count();
    for phrase in phrases.iter().flatten() {
        mean.iter_mut().zip(*phrase).for_each(|(mean, value)| *mean += value / count as f32);
    }
    mean
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{Case, agrees_with_finite_differences, dot, unit as rows_of_unit};
    use super::super::total;
    use super::*;

    const COMPOSITION: Composition =
        Composition { whole: 0.7, whole_share: 0.1, statement: 1.3, statement_share: 0.6, denials: true };

    fn roles() -> Vec<Role> {
        COMPOSITION.needs().texts.into_iter().flat_map(|need| need.roles).collect()
    }

    fn plain_unit(vector: Vec<f64>) -> Vec<f64> {
        let length = dot(&vector, &vector).sqrt();
        vector.into_iter().map(|value| value / length).collect()
    }

    /// `unit(affirmed - share * mean of denied)`.
    fn composed(affirmed: &[f64], denied: &[&[f64]], share: f64) -> Vec<f64> {
        let taken = |k: usize| denied.iter().map(|thing| thing[k]).sum::<f64>() / denied.len().max(1) as f64;
        plain_unit(affirmed.iter().enumerate().map(|(k, value)| value - share * taken(k)).collect())
    }

    #[test]
    fn matches_a_plain_reference() {
        let (b, d) = (4, 6);
        let read: Vec<Role> = roles().into_iter().filter(|&role| COMPOSITION.reads(role)).collect();
        assert_eq!(read, [Role::Negated(0), Role::True(0), Role::False(0)]);
        let case = Case::new(&read, b, d, 3);
        let t = rows_of_unit(&case.texts, d);
        let start = |role| rows_of_unit(&case.start.rows(role), d);
        let mut expected = 0.0;
        for i in 0..b {
            let denied: Vec<Vec<f64>> = Statement::Negated(0).denied().map(|role| start(role).swap_remove(i)).collect();
            let denied: Vec<&[f64]> = denied.iter().map(Vec::as_slice).collect();
            let whole = composed(&start(Role::Original)[i], &denied, 0.1);
            expected += 0.7 * (1.0 - dot(&t[3 * i], &whole)) / b as f64;
            for (place, statement) in [(1, Statement::True(0)), (2, Statement::False(0))] {
                let said = |role| start(role).swap_remove(i);
                let both: Vec<Vec<f64>> = statement.affirmed().map(said).collect();
                let sum = both[0].iter().zip(&both[1]).map(|(a, b)| a + b).collect();
                let target = composed(&plain_unit(sum), &[&said(Role::Denied(statement, 0))], 0.6);
                expected += 1.3 * (1.0 - dot(&t[3 * i + place], &target)) / (2 * b) as f64;
            }
        }
        let found: f32 = total(&case.terms(&COMPOSITION)).unwrap().into_scalar();
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn a_statement_may_affirm_nothing_or_the_caption() {
        // Per image the caption, then one statement: two places that are affirmed and one that is denied.
        let features = vec![1.0, 0.0, 0.0, 1.0];
        let targets = |places: &[Option<usize>]| {
            let things = Phrases::new(2, features.clone(), places.to_vec());
            COMPOSITION.targets(&things, &[Statement::True(0)]).0
        };
        let near = |found: &[f32], expected: [f32; 2]| {
            let expected = unit(expected.to_vec());
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
        };
        // The mean of things, the caption not among them, is the only thing here.
        near(&targets(&[Some(0), None, None, Some(1)]), [0.0, 1.0]);
        near(&targets(&[Some(0), Some(0), None, Some(1)]), [1.0, -0.1]);
        near(&targets(&[Some(0), Some(1), None, Some(0)]), [-0.6, 1.0]);
        near(&targets(&[Some(0), Some(1), Some(0), None]), [1.0, 1.0]);
        let counts = |denials| {
            let things = Phrases::new(2, features.clone(), vec![Some(0), None, None, Some(1), Some(1), None, None]);
            Composition { denials, ..COMPOSITION }.targets(&things, &[Statement::True(0), Statement::False(0)]).1
        };
        assert_eq!((counts(true), counts(false)), (vec![1.0, 1.0], vec![0.0, 1.0]));
    }

    #[test]
    fn the_gradient_of_every_term_agrees_with_finite_differences() {
        agrees_with_finite_differences("composition", &COMPOSITION);
        agrees_with_finite_differences("statements", &Composition { whole: 0.0, ..COMPOSITION });
    }

    #[test]
    fn missing_texts_say_what_to_change() {
        let wrong = |loss: Composition, roles: &[Role]| loss.needs().check(roles).unwrap_err().to_string();
        assert!(wrong(COMPOSITION, &[Role::Original]).contains("composition.whole = 0.0"));
        let statements = Composition { whole: 0.0, ..COMPOSITION };
        assert!(wrong(statements, &[Role::True(0), Role::False(0)]).contains("twins.phrases = true"));
        COMPOSITION.needs().check(&roles()).unwrap();
    }
}
