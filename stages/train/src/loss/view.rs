//! What a loss sees of one training step.
//!
//! B images, R texts per image, D the width of the features. All features have length 1.

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor, TensorData};
use items::Role;
use pipeline_engine::rng::{ChaCha8Rng, Draw};

use super::primitives::{Rows, normalised, with_noise};
use crate::error::TrainError;

/// One step, as a loss sees it.
pub struct StepView<'a> {
    /// The texts that it [reads](super::Loss::reads), as the trained tower sees them.
    pub texts: RoleTexts,
    /// The images, as the frozen image encoder sees them.
    pub images: Images<'a>,
    /// `[B]`: items with equal numbers show the same image (a data set may have several captions
    /// of it), so none of their texts is false for the other.
    pub same: &'a [u32],
    /// Where this step's random numbers come from: the same in every run with the same seed.
    pub draw: Draw,
    pub(crate) start: Option<&'a dyn StartTower>,
}

impl<'a> StepView<'a> {
    /// A step without the tower before training.
    pub fn new(texts: RoleTexts, images: Images<'a>, same: &'a [u32], draw: Draw) -> Self {
        Self { texts, images, same, draw, start: None }
    }

    /// The same step with the tower before training.
    #[must_use]
    pub fn with_start(self, start: Option<&'a dyn StartTower>) -> Self {
        Self { start, ..self }
    }

    /// The tower before training.
    ///
    /// # Errors
    /// [`TrainError::NoStart`] when the loss did not ask for it in [`Needs`](super::Needs).
    pub fn start(&self) -> Result<&'a dyn StartTower, TrainError> {
        self.start.ok_or(TrainError::NoStart)
    }

    /// B, the number of images.
    pub fn count(&self) -> usize {
        self.same.len()
    }
}

/// The features of a step's texts, by role. Gradients flow through them into the tower.
#[derive(Debug, Clone)]
pub struct RoleTexts {
    roles: Vec<Role>,
    /// `[B R, D]`: row `R * i + j` is text `j` of image `i`.
    rows: Tensor<2>,
    /// The same rows as `[B, R, D]`. Made once: a gradient is then summed in one order.
    cube: Tensor<3>,
    /// `[B R]`: whether the text exists. An image may lack a text.
    exists: Vec<bool>,
}

impl RoleTexts {
    /// `features` is `[B R, D]` as the tower gives it, not normalised: row `R * i + j` is the text of
    /// image `i` with role `roles[j]`.
    pub fn new(roles: Vec<Role>, features: Tensor<2>) -> Self {
        let [rows, width] = features.dims();
        let rows_per_image = roles.len().max(1);
        let features = normalised(features);
        let cube = features.clone().reshape([rows / rows_per_image, rows_per_image, width]);
        Self { roles, rows: features, cube, exists: vec![true; rows] }
    }

    /// The same texts, of which only some exist: `[B R]`, in the order of the rows.
    #[must_use]
    pub fn with_gaps(self, exists: Vec<bool>) -> Self {
        Self { exists, ..self }
    }

    /// R roles.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The features of all texts, `[B, R, D]`.
    pub fn all(&self) -> Tensor<3> {
        self.cube.clone()
    }

    /// Which of the R texts of an image has this role.
    pub fn find(&self, role: Role) -> Option<usize> {
        self.roles.iter().position(|&other| other == role)
    }

    /// As [`find`](Self::find), for a role that must be there.
    ///
    /// # Errors
    /// [`TrainError::Role`].
    pub fn place(&self, role: Role) -> Result<usize, TrainError> {
        self.find(role).ok_or(TrainError::Role(role))
    }

    /// The features of the text with this role, `[B, D]`.
    ///
    /// # Errors
    /// [`TrainError::Role`] when there is none.
    pub fn of(&self, role: Role) -> Result<Tensor<2>, TrainError> {
        Ok(self.at(self.place(role)?))
    }

    /// As [`of`](Self::of), with which images have the text.
    ///
    /// # Errors
    /// [`TrainError::Role`] when there is none.
    pub fn rows(&self, role: Role) -> Result<Rows, TrainError> {
        let place = self.place(role)?;
        let exists = self.exists.chunks(self.roles.len().max(1)).map(|image| image[place]).collect();
        Ok(Rows { features: self.at(place), exists })
    }

    /// [`rows`](Self::rows) of `role(0)`, `role(1)`, … as many as there are.
    pub fn all_rows(&self, role: fn(u8) -> Role) -> Result<Vec<Rows>, TrainError> {
        self.numbered(role).map(|n| self.rows(role(n))).collect()
    }

    /// The features of text `j` of each image, `[B, D]`.
    fn at(&self, j: usize) -> Tensor<2> {
        let [count, _, width] = self.cube.dims();
        self.cube.clone().slice([0..count, j..j + 1]).reshape([count, width])
    }

    /// The features of the texts with these `n` roles, image by image, `[B n, D]`: row `n * i + j` is
    /// the text of image `i` with role `roles[j]`.
    ///
    /// # Errors
    /// [`TrainError::Role`] when there is none with one of the roles.
    pub fn interleaved(&self, roles: &[Role]) -> Result<Tensor<2>, TrainError> {
        if roles == self.roles {
            return Ok(self.rows.clone());
        }
        let [count, _, width] = self.cube.dims();
        let column = |role: &Role| Ok(self.of(*role)?.reshape([count, 1, width]));
        let columns = roles.iter().map(column).collect::<Result<Vec<_>, TrainError>>()?;
        Ok(Tensor::cat(columns, 1).reshape([count * roles.len(), width]))
    }

    /// The numbers n = 0, 1, … as long as there is a text `role(n)`.
    pub fn numbered(&self, role: fn(u8) -> Role) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).take_while(move |&n| self.find(role(n)).is_some())
    }

    /// The places of `one(n)` and `other(n)` for n = 0, 1, … as long as there is a text `one(n)`: for
    /// instance of each true text and the false text that belongs to it.
    ///
    /// # Errors
    /// [`TrainError::Role`] when `one(n)` is there without `other(n)`.
    pub fn pairs(&self, one: fn(u8) -> Role, other: fn(u8) -> Role) -> Result<Vec<(usize, usize)>, TrainError> {
        self.numbered(one).map(|n| Ok((self.place(one(n))?, self.place(other(n))?))).collect()
    }
}

/// The features of a step's images.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    features: &'a [f32],
    width: usize,
    device: &'a Device,
}

impl<'a> Images<'a> {
    /// `features` are B rows of `width` numbers, each of length 1.
    pub fn new(features: &'a [f32], width: usize, device: &'a Device) -> Self {
        Self { features, width, device }
    }

    /// `[B, D]`, without gradient.
    pub fn exact(&self) -> Tensor<2> {
        self.tensor(self.features.to_vec())
    }

    /// As [`exact`](Self::exact), with noise of this length added, see [`with_noise`]; 0 adds none.
    pub fn noisy(&self, length: f64, rng: &mut ChaCha8Rng) -> Tensor<2> {
        match length > 0.0 {
            true => self.tensor(with_noise(self.features, self.width, length, rng)),
            false => self.exact(),
        }
    }

    fn tensor(&self, features: Vec<f32>) -> Tensor<2> {
        let shape = [features.len() / self.width.max(1), self.width];
        Tensor::from_data(TensorData::new(features, shape), self.device)
    }
}

/// The text tower before training. It embeds any text of the batch when it is asked, also those that
/// the loss does not [read](super::Loss::reads).
pub trait StartTower {
    /// The features of the text with this role, `[B, D]`, without gradient.
    ///
    /// # Errors
    /// [`TrainError::Role`] when there is none; a device that fails.
    fn of(&self, role: Role) -> Result<Tensor<2>, TrainError>;

    /// The features of the texts with these roles on the host, each distinct text once.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    fn phrases(&self, roles: &[Role]) -> Result<Phrases, TrainError>;
}

/// Features of short texts that many images share, on the host.
#[derive(Debug, Clone, Default)]
pub struct Phrases {
    width: usize,
    features: Vec<f32>,
    places: Vec<Option<usize>>,
}

impl Phrases {
    /// `features` are the rows of the distinct texts, each of `width` numbers. `places` has B x `n`
    /// entries for `n` roles, image by image: which row belongs to the text, or `None` where the
    /// text is empty.
    pub fn new(width: usize, features: Vec<f32>, places: Vec<Option<usize>>) -> Self {
        Self { width, features, places }
    }

    /// D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The mean over the distinct texts; zeros if there are none.
    pub fn mean(&self) -> Vec<f32> {
        self.mean_where(|_| true)
    }

    /// As [`mean`](Self::mean), without the texts of one of the `n` roles, such as captions among things.
    pub fn mean_without(&self, role: usize, n: usize) -> Vec<f32> {
        let skipped: BTreeSet<usize> = self.places.chunks(n).filter_map(|places| places[role]).collect();
        self.mean_where(|row| !skipped.contains(&row))
    }

    fn mean_where(&self, counts: impl Fn(usize) -> bool) -> Vec<f32> {
        let mut mean = vec![0.0; self.width];
        let rows = || self.features.chunks(self.width.max(1)).enumerate().filter(|(row, _)| counts(*row));
        let count = rows().count();
        for (_, row) in rows() {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / count as f32);
        }
        mean
    }

    /// The feature of each text, image by image, in the order of the roles; `None` for an empty text.
    pub fn each(&self) -> impl Iterator<Item = Option<&[f32]>> {
        self.places.iter().map(|place| place.map(|row| &self.features[row * self.width..][..self.width]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{random, rng, tensor};
    use super::*;

    const ROLES: [Role; 3] = [Role::Original, Role::True(0), Role::False(0)];

    fn rows<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn texts_are_found_by_role_in_each_form() {
        let (count, width) = (4, 5);
        let features = random(3 * count, width, &mut rng(1));
        let texts = RoleTexts::new(ROLES.to_vec(), tensor(&features, width));
        let whole = rows(normalised(tensor(&features, width)));
        assert_eq!(rows(texts.all()), whole);
        assert_eq!(rows(texts.interleaved(&ROLES).unwrap()), whole);
        let picked = |places: &[usize]| -> Vec<f32> {
            let images = (0..count).flat_map(|i| places.iter().map(move |j| 3 * i + j));
            images.flat_map(|row| whole[row * width..][..width].to_vec()).collect()
        };
        assert_eq!(rows(texts.of(Role::True(0)).unwrap()), picked(&[1]));
        let backwards = [Role::False(0), Role::Original];
        assert_eq!(rows(texts.interleaved(&backwards).unwrap()), picked(&[2, 0]));
        assert_eq!(texts.pairs(Role::True, Role::False).unwrap(), [(1, 2)]);
        assert!(texts.pairs(Role::Present, Role::Absent).unwrap().is_empty());
    }

    #[test]
    fn a_role_that_is_not_there_is_an_error() {
        let texts = RoleTexts::new(vec![Role::True(0), Role::Full], tensor(&[1.0, 0.0, 0.0, 1.0], 2));
        for error in
            [texts.of(Role::Original).unwrap_err(), texts.interleaved(&[Role::Full, Role::Original]).unwrap_err()]
        {
            assert!(matches!(error, TrainError::Role(Role::Original)), "{error}");
        }
        let error = texts.pairs(Role::True, Role::False).unwrap_err();
        assert!(matches!(error, TrainError::Role(Role::False(0))), "{error}");
    }

    #[test]
    fn phrases_have_a_mean_and_empty_texts_have_none() {
        let phrases = Phrases::new(2, vec![1.0, 0.0, 0.0, 1.0], vec![Some(1), None, Some(0), Some(1)]);
        assert_eq!(phrases.mean(), [0.5, 0.5]);
        assert_eq!((phrases.mean_without(1, 2), phrases.mean_without(0, 2)), (vec![1.0, 0.0], vec![0.0, 0.0]));
        let each: Vec<_> = phrases.each().collect();
        assert_eq!(each, [Some(&[0.0, 1.0][..]), None, Some(&[1.0, 0.0][..]), Some(&[0.0, 1.0][..])]);
        assert_eq!(Phrases::new(3, Vec::new(), vec![None]).mean(), [0.0; 3]);
    }
}
