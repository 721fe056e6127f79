//! The text tower: a causal transformer, read at the end-of-text token.

use std::ops::Range;

use burn::tensor::{Device, Tensor};

use crate::attention::{Sequence, Sequences, first, indices};
use crate::checkpoint::{Checkpoint, Tensors};
use crate::config::TextConfig;
use crate::error::Error;
use crate::fused;
use crate::layers::{Block, LayerNorm, Linear, update};
use crate::params::{Mapper, Params, Source, Supply};

/// How the tokens of texts form the rows that the linear layers compute. All layouts give the same
/// features and gradients, up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// A block `[texts, longest]`: shorter texts are padded.
    #[default]
    Padded,
    /// The tokens of all texts end to end, without padding; only attention separates the texts.
    Packed,
    /// As packed, but with what texts share from their start on stored once: in a causal tower its
    /// hidden states are the same in all of them. Gradients are summed.
    Tree,
}

/// Some rows of the token embedding, as a tensor of their own.
///
/// A batch holds a few hundred of the vocabulary's tokens. With their rows as the leaf, the
/// gradient has that many rows too, not one for each token of the vocabulary.
#[derive(Clone, Debug)]
pub struct TokenRows {
    /// The token ids, ascending.
    pub ids: Vec<u32>,
    /// `[ids, W]`, in the order of `ids`.
    pub rows: Tensor<2>,
}

/// Text tower and projection of a CLIP model.
#[derive(Clone, Debug)]
pub struct TextTower {
    config: TextConfig,
    token_embedding: Tensor<2>,
    position_embedding: Tensor<2>,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    /// None if the checkpoint has no projection.
    projection: Option<Linear>,
}

/// Name of the token embedding `[vocabulary, W]`.
pub const TOKEN_EMBEDDING: &str = "text_model.embeddings.token_embedding.weight";
const POSITION_EMBEDDING: &str = "text_model.embeddings.position_embedding.weight";

impl TextTower {
    /// Reads the tower of a checkpoint onto a device, as f32, without gradients
    /// (see [`Params::trainable`]).
    ///
    /// # Errors
    /// If the checkpoint has no text tower, or a damaged tensor.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self, Error> {
        let config = checkpoint.text_config()?.clone();
        Self::build(config, &Supply { source: Source::Checkpoint(checkpoint), device })
    }

    /// Builds the tower from tensors on the host, for instance those of [`crate::init::random`].
    ///
    /// # Errors
    /// If a tensor is missing or has the wrong rank.
    pub fn from_tensors(config: &TextConfig, tensors: &Tensors, device: &Device) -> Result<Self, Error> {
        Self::build(config.clone(), &Supply { source: Source::Host(tensors), device })
    }

    fn build(config: TextConfig, supply: &Supply) -> Result<Self, Error> {
        let eps = config.layer_norm_eps;
        let block = |i| {
            let name = format!("text_model.encoder.layers.{i}");
            Block::load(supply, &name, config.hidden_act, eps)
        };
        Ok(Self {
            token_embedding: supply.tensor(TOKEN_EMBEDDING)?,
            position_embedding: supply.tensor(POSITION_EMBEDDING)?,
            blocks: (0..config.num_hidden_layers).map(block).collect::<Result<_, _>>()?,
            final_norm: LayerNorm::load(supply, "text_model.final_layer_norm", eps)?,
            projection: config.projected.then(|| Linear::load(supply, "text_projection", false)).transpose()?,
            config,
        })
    }

    /// The tower's shape.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.token_embedding.device()
    }

    /// Text features `[texts, D]`, not normalised.
    ///
    /// `ids` are the token ids of all texts end to end, `lens` the number of tokens of each.
    /// Each text is read at its first end-of-text token; tokens after that are ignored, which
    /// is exact in a causal tower.
    ///
    /// # Errors
    /// [`Error::Tokens`]: an id beyond the vocabulary, a text that is too long or has no
    /// end-of-text token. [`Error::Input`]: `lens` do not add up to `ids`.
    pub fn forward(&self, ids: &[u32], lens: &[usize], layout: Layout) -> Result<Tensor<2>, Error> {
        let texts = Texts::new(&self.config, ids, lens)?;
        Ok(self.features(&texts, layout, None))
    }

    /// As [`TextTower::forward`], with the rows of the token embedding taken from `tokens`; the
    /// tower's own token embedding is not read and gets no gradient.
    ///
    /// # Errors
    /// As [`TextTower::forward`]; [`Error::Input`] for an id that `tokens` lacks.
    pub fn forward_rows(
        &self,
        tokens: &TokenRows,
        ids: &[u32],
        lens: &[usize],
        layout: Layout,
    ) -> Result<Tensor<2>, Error> {
        let texts = Texts::new(&self.config, ids, lens)?;
        let missing = |id: &&u32| tokens.ids.binary_search(id).is_err();
        if let Some(id) = texts.spans.iter().flat_map(|span| span.iter()).find(missing) {
            return Err(Error::Input(format!("token id {id} is not among the given rows")));
        }
        Ok(self.features(&texts, layout, Some(tokens)))
    }

    fn features(&self, texts: &Texts, layout: Layout, tokens: Option<&TokenRows>) -> Tensor<2> {
        let (mut x, sequences) = self.embed(texts, layout, tokens);
        let read = match self.blocks.split_last() {
            None => sequences.read(x),
            Some((last, blocks)) => {
                for block in blocks {
                    x = block.forward(x, &sequences);
                }
                last.forward_read(x, &sequences)
            }
        };
        self.project(self.final_norm.forward(read))
    }

    fn project(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.projection {
            Some(projection) => projection.forward(x),
            None => x,
        }
    }

    /// Rows that the linear layers of all but the last block compute for these texts.
    ///
    /// # Errors
    /// As [`TextTower::forward`].
    pub fn rows(&self, ids: &[u32], lens: &[usize], layout: Layout) -> Result<usize, Error> {
        Ok(Texts::new(&self.config, ids, lens)?.lay_out(layout).0.len())
    }

    /// Hidden states after the final layer norm, `[texts, longest, W]`, for inspection. Rows
    /// after a text's end token are padding.
    ///
    /// # Errors
    /// As [`TextTower::forward`].
    pub fn hidden(&self, ids: &[u32], lens: &[usize]) -> Result<Tensor<3>, Error> {
        let texts = Texts::new(&self.config, ids, lens)?;
        let (mut x, sequences) = self.embed(&texts, Layout::Padded, None);
        for block in &self.blocks {
            x = block.forward(x, &sequences);
        }
        let shape = [texts.spans.len(), texts.longest, self.config.hidden_size];
        Ok(self.final_norm.forward(x).reshape(shape))
    }

    /// The first block's input, `[rows, W]`.
    fn embed(&self, texts: &Texts, layout: Layout, tokens: Option<&TokenRows>) -> (Tensor<2>, Sequences) {
        let device = self.device();
        let (places, sequences) = texts.lay_out(layout);
        let (table, places) = match tokens {
            None => (self.token_embedding.clone(), places),
            Some(TokenRows { ids, rows }) => {
                let row = |id: u32| ids.partition_point(|other| *other < id) as u32;
                let places = places.into_iter().map(|(id, at)| (row(id), at)).collect();
                (rows.clone(), places)
            }
        };
        let positions = self.position_embedding.clone();
        let x = if fused::available(&device) {
            fused::embedding(table, positions, places.into())
        } else {
            let rows = indices(places.iter().map(|(row, _)| *row as usize), &device);
            let at = indices(places.iter().map(|(_, at)| *at as usize), &device);
            table.select(0, rows) + positions.select(0, at)
        };
        (x, Sequences::causal(sequences, self.config.num_attention_heads, &device))
    }
}

impl Params for TextTower {
    fn map_params<M: Mapper>(&mut self, prefix: &str, mapper: &mut M) {
        update(&mut self.token_embedding, &format!("{prefix}{TOKEN_EMBEDDING}"), mapper);
        update(&mut self.position_embedding, &format!("{prefix}{POSITION_EMBEDDING}"), mapper);
        for (i, block) in self.blocks.iter_mut().enumerate() {
            block.map_params(&format!("{prefix}text_model.encoder.layers.{i}"), mapper);
        }
        self.final_norm.map_params(&format!("{prefix}text_model.final_layer_norm"), mapper);
        if let Some(projection) = &mut self.projection {
            projection.map_params(&format!("{prefix}text_projection"), mapper);
        }
    }
}

/// Checked token ids, each text cut after its end token.
struct Texts<'a> {
    spans: Vec<&'a [u32]>,
    longest: usize,
}

impl<'a> Texts<'a> {
    fn new(config: &TextConfig, ids: &'a [u32], lens: &[usize]) -> Result<Self, Error> {
        let total = lens.iter().try_fold(0usize, |sum, len| sum.checked_add(*len));
        if total != Some(ids.len()) || lens.is_empty() {
            return Err(Error::Input(format!(
                "the lengths of {} texts do not add up to {} token ids",
                lens.len(),
                ids.len()
            )));
        }
        let mut rest = ids;
        let mut spans = Vec::with_capacity(lens.len());
        for (index, &len) in lens.iter().enumerate() {
            let fail = |message: String| Error::Tokens { index, message };
            let (text, after) = rest.split_at(len);
            rest = after;
            if let Some(id) = text.iter().find(|id| **id as usize >= config.vocab_size) {
                return Err(fail(format!("token id {id} is beyond the vocabulary of {}", config.vocab_size)));
            }
            let end = end_of_text(text, config.eos_token_id)
                .ok_or_else(|| fail(format!("no end-of-text token {}", config.eos_token_id)))?;
            if end >= config.max_position_embeddings {
                return Err(fail(format!(
                    "{} tokens, but the tower has {} positions",
                    end + 1,
                    config.max_position_embeddings
                )));
            }
            spans.push(&text[..=end]);
        }
        let longest = spans.iter().map(|span| span.len()).max().unwrap_or(0);
        Ok(Self { spans, longest })
    }

    /// Token id and position of each row, and how the rows form texts.
    fn lay_out(&self, layout: Layout) -> (Vec<(u32, u32)>, Vec<Sequence>) {
        match layout {
            Layout::Padded => self.end_to_end(Some(self.longest)),
            Layout::Packed => self.end_to_end(None),
            Layout::Tree => self.tree(),
        }
    }

    /// With `longest`, texts are padded to that length with their end token, which no other position sees.
    fn end_to_end(&self, longest: Option<usize>) -> (Vec<(u32, u32)>, Vec<Sequence>) {
        let (mut places, mut sequences) = (Vec::new(), Vec::new());
        for &span in &self.spans {
            let run = longest.unwrap_or(span.len());
            sequences.push(Sequence::run(places.len(), run, span.len()));
            let ids = span.iter().copied().chain(std::iter::repeat(span[span.len() - 1]));
            places.extend(ids.zip(0..run as u32));
        }
        (places, sequences)
    }

    /// Sorts the texts by their tokens. Each text begins with the rows that it shares with the text before
    /// it, and adds only the rest.
    fn tree(&self) -> (Vec<(u32, u32)>, Vec<Sequence>) {
        let mut order: Vec<usize> = (0..self.spans.len()).collect();
        order.sort_by_key(|text| self.spans[*text]);
        let (mut places, mut sequences) = (Vec::new(), Vec::with_capacity(order.len()));
        let (mut before, mut path): (&[u32], Vec<Range<usize>>) = (&[], Vec::new());
        for text in order {
            let span = self.spans[text];
            let common = before.iter().zip(span).take_while(|(a, b)| a == b).count();
            path = first(&path, common);
            let start = places.len();
            places.extend(span.iter().copied().zip(0..span.len() as u32).skip(common));
            if start < places.len() {
                path.push(start..places.len());
            }
            let read = path.last().map_or(0, |range| range.end - 1);
            let own = places.len() - start;
            sequences.push((text, Sequence { path: path.clone(), own, len: span.len(), read }));
            before = span;
        }
        sequences.sort_by_key(|(text, _)| *text);
        (places, sequences.into_iter().map(|(_, sequence)| sequence).collect())
    }
}

/// The position at which a text is read. In a config with the legacy id 2 it is the first occurrence
/// of the largest id, which is the end token in CLIP's vocabulary.
fn end_of_text(text: &[u32], eos: u32) -> Option<usize> {
    let eos = if eos == 2 { *text.iter().max()? } else { eos };
    text.iter().position(|id| *id == eos)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]
    use super::*;

    fn cut(ids: &[u32], lens: &[usize], eos: u32) -> Result<Vec<Vec<u32>>, String> {
        let config = TextConfig { vocab_size: 10, max_position_embeddings: 4, eos_token_id: eos, ..Default::default() };
        let texts = Texts::new(&config, ids, lens).map_err(|e| e.to_string())?;
        Ok(texts.spans.iter().map(|span| span.to_vec()).collect())
    }

    #[test]
    fn texts_end_at_their_first_end_token() {
        let ids = [8, 1, 9, 9, 9, 8, 9];
        assert_eq!(cut(&ids, &[5, 2], 9).unwrap(), [vec![8, 1, 9], vec![8, 9]]);
        assert_eq!(cut(&ids, &[5, 2], 2).unwrap(), [vec![8, 1, 9], vec![8, 9]]);
        assert_eq!(cut(&[8, 5, 9], &[3], 5).unwrap(), [vec![8, 5]]);
    }

    #[test]
    fn what_texts_have_in_common_is_there_once() {
        let config = TextConfig { vocab_size: 10, eos_token_id: 9, ..Default::default() };
        let ids = [8, 1, 2, 3, 9, 8, 1, 2, 9, 7, 9, 8, 1, 2, 3, 9, 8, 1, 4, 9];
        let texts = Texts::new(&config, &ids, &[5, 4, 2, 5, 4]).unwrap();
        let (places, sequences) = texts.lay_out(Layout::Tree);
        assert_eq!(places, [(7, 0), (9, 1), (8, 0), (1, 1), (2, 2), (3, 3), (9, 4), (9, 3), (4, 2), (9, 3)]);
        let paths: Vec<_> = sequences.iter().map(|s| (s.path.clone(), s.own, s.read)).collect();
        let expected = [
            (vec![2..7], 5, 6),
            (vec![2..5, 7..8], 1, 7),
            (Vec::from_iter([0..2]), 2, 1),
            (vec![2..7], 0, 6),
            (vec![2..4, 8..10], 2, 9),
        ];
        assert_eq!(paths, expected);
        // Every text is whole.
        for (span, sequence) in texts.spans.iter().zip(&sequences) {
            let rows = sequence.path.iter().cloned().flatten();
            let found: Vec<(u32, u32)> = rows.map(|row| places[row]).collect();
            let expected: Vec<(u32, u32)> = span.iter().copied().zip(0..).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn faults_name_the_text() {
        for (ids, lens, part) in [
            (vec![8, 9, 8, 10, 9], vec![2, 3], "text 1: token id 10"),
            (vec![8, 9, 8, 1], vec![2, 2], "text 1: no end-of-text"),
            (vec![8, 9, 1], vec![2, 0], "do not add up"),
            (vec![8, 9], vec![2, 0], "text 1: no end-of-text"),
            (vec![8, 1, 1, 1, 9], vec![5], "text 0: 5 tokens, but the tower has 4"),
            (vec![], vec![], "do not add up"),
            (vec![8, 9], vec![usize::MAX, 3], "do not add up"),
        ] {
            let message = cut(&ids, &lens, 9).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
