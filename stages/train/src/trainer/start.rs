//! The tower as it was before training, for losses that compare with it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Tensor;
use clip::TextTower;
use items::{Role, Tokens};

use super::forward::Forward;
use super::gradients::read;
use super::texts::{EMPTY, Texts, spans};
use crate::error::TrainError;
use crate::loss::primitives::normalised;
use crate::loss::{Phrases, StartTower};

/// The tower before training, with the texts of one batch.
pub(super) struct Start<'a> {
    tower: &'a TextTower,
    tokens: &'a Tokens,
    forward: &'a Forward,
    /// The features of captions, which several losses ask for.
    captions: OnceCell<Tensor<2>>,
}

impl<'a> Start<'a> {
    pub(super) fn new(tower: &'a TextTower, tokens: &'a Tokens, forward: &'a Forward) -> Self {
        Self { tower, tokens, forward, captions: OnceCell::new() }
    }

    fn features(&self, texts: &Texts) -> Result<Tensor<2>, TrainError> {
        Ok(normalised(self.forward.features(self.tower, None, &self.forward.chunks(texts))?))
    }

    fn place(&self, role: Role) -> Result<usize, TrainError> {
        self.tokens.roles.iter().position(|&other| other == role).ok_or(TrainError::Role(role))
    }
}

impl Start<'_> {
    /// The features of the captions by their token ids.
    fn captions(&self) -> Result<BTreeMap<&[u32], Vec<f32>>, TrainError> {
        let place = self.place(Role::Original)?;
        let rows = read(self.of(Role::Original)?)?;
        let all: Vec<&[u32]> = spans(&self.tokens.ids, &self.tokens.lens).collect();
        let captions = all.chunks(self.tokens.roles.len().max(1)).map(|texts| texts[place]);
        Ok(captions.zip(rows.chunks(self.width().max(1)).map(<[f32]>::to_vec)).collect())
    }

    fn width(&self) -> usize {
        self.tower.config().projection_dim
    }

    /// The features of distinct texts, one after the other.
    fn each(&self, texts: &[&[u32]]) -> Result<Vec<f32>, TrainError> {
        let (ids, lens) = (texts.concat(), texts.iter().map(|ids| ids.len()).collect());
        if texts.is_empty() { Ok(Vec::new()) } else { read(self.features(&Texts { roles: Vec::new(), ids, lens })?) }
    }
}

impl StartTower for Start<'_> {
    fn of(&self, role: Role) -> Result<Tensor<2>, TrainError> {
        self.place(role)?;
        if let Some(captions) = self.captions.get().filter(|_| role == Role::Original) {
            return Ok(captions.clone());
        }
        let features = self.features(&Texts::of(self.tokens, |other| other == role))?;
        if role == Role::Original {
            self.captions.get_or_init(|| features.clone());
        }
        Ok(features)
    }

    /// A text that is a caption is not sent through the tower a second time, if captions are asked for.
    fn phrases(&self, roles: &[Role]) -> Result<Phrases, TrainError> {
        let places = roles.iter().map(|&role| self.place(role)).collect::<Result<Vec<_>, _>>()?;
        let all: Vec<&[u32]> = spans(&self.tokens.ids, &self.tokens.lens).collect();
        let images = all.chunks(self.tokens.roles.len().max(1));
        let texts: Vec<&[u32]> = images.flat_map(|texts| places.iter().map(|&place| texts[place])).collect();
        let captions = if roles.contains(&Role::Original) { self.captions()? } else { BTreeMap::new() };

        let distinct: BTreeSet<&[u32]> = texts.iter().copied().filter(|ids| ids.len() > EMPTY).collect();
        let others: Vec<&[u32]> = distinct.iter().copied().filter(|ids| !captions.contains_key(ids)).collect();
        let embedded = self.each(&others)?;
        let mut embedded = embedded.chunks(self.width().max(1));
        let rows = distinct.iter().map(|ids| captions.get(ids).map(Vec::as_slice).or_else(|| embedded.next()));
        let features = rows.flatten().flatten().copied().collect();
        let place: BTreeMap<&[u32], usize> = distinct.iter().enumerate().map(|(n, &ids)| (ids, n)).collect();
        Ok(Phrases::new(self.width(), features, texts.iter().map(|ids| place.get(ids).copied()).collect()))
    }
}
