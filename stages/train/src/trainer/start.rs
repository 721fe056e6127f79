//! The tower as it was before training, for losses that compare with it.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use clip::TextTower;
use items::{Role, Tokens};

use super::forward::Forward;
use super::gradients::read;
use super::texts::{Texts, spans};
use crate::error::TrainError;
use crate::loss::primitives::normalised;
use crate::loss::{Phrases, StartTower};

/// Tokens of an empty text: start and end.
const EMPTY: usize = 2;

/// The tower before training, with the texts of one batch.
pub(super) struct Start<'a> {
    pub(super) tower: &'a TextTower,
    pub(super) tokens: &'a Tokens,
    pub(super) forward: &'a Forward,
}

impl Start<'_> {
    fn features(&self, texts: &Texts) -> Result<Tensor<2>, TrainError> {
        Ok(normalised(self.forward.features(self.tower, None, &self.forward.chunks(texts))?))
    }

    fn place(&self, role: Role) -> Result<usize, TrainError> {
        self.tokens.roles.iter().position(|&other| other == role).ok_or(TrainError::Role(role))
    }
}

impl StartTower for Start<'_> {
    fn of(&self, role: Role) -> Result<Tensor<2>, TrainError> {
        self.place(role)?;
        self.features(&Texts::of(self.tokens, |other| other == role))
    }

    fn phrases(&self, roles: &[Role]) -> Result<Phrases, TrainError> {
        let places = roles.iter().map(|&role| self.place(role)).collect::<Result<Vec<_>, _>>()?;
        let all: Vec<&[u32]> = spans(&self.tokens.ids, &self.tokens.lens).collect();
        let images = all.chunks(self.tokens.roles.len().max(1));
        let texts: Vec<&[u32]> = images.flat_map(|texts| places.iter().map(|&place| texts[place])).collect();

        let mut distinct: BTreeMap<&[u32], usize> = BTreeMap::new();
        for text in texts.iter().filter(|ids| ids.len() > EMPTY) {
            distinct.insert(text, 0);
        }
        distinct.values_mut().enumerate().for_each(|(n, place)| *place = n);
        let lens: Vec<usize> = distinct.keys().map(|ids| ids.len()).collect();
        let ids: Vec<u32> = distinct.keys().flat_map(|ids| ids.iter().copied()).collect();
        let features = match lens.is_empty() {
            true => Vec::new(),
            false => read(self.features(&Texts { roles: Vec::new(), ids, lens })?)?,
        };
        let width = self.tower.config().projection_dim;
        Ok(Phrases::new(width, features, texts.iter().map(|text| distinct.get(text).copied()).collect()))
    }
}
