//! Batches: from image features to the token ids of a training step.
//!
//! B is the batch size, D the width of the features, R the number of texts per item.

use std::fmt;
use std::iter::repeat;
use std::sync::Arc;

use pipeline_engine::Item;

/// One image of a batch and the caption drawn for it.
#[derive(Debug, Clone)]
pub struct BatchItem {
    /// The sample's key.
    pub key: Arc<str>,
    /// The shard it came from.
    pub shard: Arc<str>,
    /// All captions known for the image.
    pub captions: Arc<[String]>,
    /// Which of them is T_i in this step.
    pub drawn: usize,
    /// Items of a batch with the same number are the same image.
    pub image: u32,
}

impl BatchItem {
    /// T_i, the caption drawn for this step.
    pub fn caption(&self) -> &str {
        &self.captions[self.drawn]
    }
}

/// B images.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Counted from 1.
    pub epoch: u32,
    /// Step of the epoch, counted from 0.
    pub step: u64,
    /// B items.
    pub items: Arc<[BatchItem]>,
    /// D.
    pub dim: usize,
    /// B x D image features, each row L2-normalised.
    pub features: Arc<[f32]>,
}

/// Stands for a neighbour that does not exist.
pub const NO_NEIGHBOUR: u32 = u32::MAX;

/// A batch and the nearest neighbours of its images.
#[derive(Debug, Clone)]
pub struct Paired {
    /// The batch.
    pub batch: Batch,
    /// Neighbours per item.
    pub k: usize,
    /// B x k positions in the batch, nearest first, [`NO_NEIGHBOUR`] where there are fewer.
    pub neighbours: Vec<u32>,
    /// B x k cosines.
    pub cosines: Vec<f32>,
}

/// What a text is to its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The caption itself.
    Original,
    /// "A and no B", true of the image (TNG-CLIP, section 3).
    Compositional,
    /// "no A", of another image's caption, true of this image.
    Full,
    /// The true text of pair `n`, counted from 0: it differs from the pair's false text in what is
    /// negated.
    True(u8),
    /// The false text of pair `n`.
    False(u8),
    /// The thing in the image that pair `n` is about; empty if there is none.
    Present(u8),
    /// The thing not in the image that pair `n` is about; empty if there is none.
    Absent(u8),
    /// The caption, whole, and a denial of something that the image does not show: true. Number `n`,
    /// counted from 0.
    Negated(u8),
    /// As [`Negated`](Self::Negated), but of something that the image shows: false. Empty if there is none.
    Misnegated(u8),
    /// Another true text that says the same; empty if there is none. Number `n`, counted from 0.
    Paraphrase(u8),
    /// A phrase that a text affirms, counted from 0: a thing, or the caption; empty if the text
    /// affirms fewer.
    Affirmed(Statement, u8),
    /// A thing that a text denies, counted from 0; empty if it denies fewer.
    Denied(Statement, u8),
}

/// A text of which it is known what it affirms and denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Statement {
    /// [`Role::True`]
    True(u8),
    /// [`Role::False`]
    False(u8),
    /// [`Role::Negated`]
    Negated(u8),
}

/// Writers and readers of phrases share these places.
impl Statement {
    /// The roles of what the text affirms beside a whole caption: two phrases at most, none for
    /// [`Negated`](Self::Negated), which affirms its caption.
    pub fn affirmed(self) -> impl Iterator<Item = Role> {
        let count = if matches!(self, Self::Negated(_)) { 0 } else { 2 };
        (0..count).map(move |place| Role::Affirmed(self, place))
    }

    /// The roles of what the text denies: one thing at most, two for [`Negated`](Self::Negated).
    pub fn denied(self) -> impl Iterator<Item = Role> {
        let count = if matches!(self, Self::Negated(_)) { 2 } else { 1 };
        (0..count).map(move |place| Role::Denied(self, place))
    }

    /// Both, one after the other.
    pub fn phrases(self) -> impl Iterator<Item = Role> {
        self.affirmed().chain(self.denied())
    }

    /// The texts of [`phrases`](Self::phrases), in their order: empty ones where a text says less. Phrases
    /// beyond the places are dropped.
    pub fn phrase_texts(self, affirmed: Vec<String>, denied: Vec<String>) -> impl Iterator<Item = String> {
        let fill = |texts: Vec<String>, places| texts.into_iter().chain(repeat(String::new())).take(places);
        fill(affirmed, self.affirmed().count()).chain(fill(denied, self.denied().count()))
    }
}

/// The text itself.
impl From<Statement> for Role {
    fn from(statement: Statement) -> Self {
        match statement {
            Statement::True(n) => Self::True(n),
            Statement::False(n) => Self::False(n),
            Statement::Negated(n) => Self::Negated(n),
        }
    }
}

impl Role {
    /// Whether it is a part of another text, of no use to a reader without that text.
    pub fn is_phrase(self) -> bool {
        matches!(self, Self::Present(_) | Self::Absent(_) | Self::Affirmed(..) | Self::Denied(..))
    }
}

/// The name for people, with all numbers counted from 1: `true 1`, `denied 1 of true 2`.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, number, of) = match *self {
            Self::Original => return f.write_str("caption"),
            Self::Compositional => return f.write_str("compositional"),
            Self::Full => return f.write_str("full negation"),
            Self::True(pair) => ("true", pair, None),
            Self::False(pair) => ("false", pair, None),
            Self::Present(pair) => ("present", pair, None),
            Self::Absent(pair) => ("absent", pair, None),
            Self::Negated(number) => ("negated", number, None),
            Self::Misnegated(number) => ("falsely negated", number, None),
            Self::Paraphrase(number) => ("paraphrase", number, None),
            Self::Affirmed(text, number) => ("affirmed", number, Some(text)),
            Self::Denied(text, number) => ("denied", number, Some(text)),
        };
        write!(f, "{name} {}", u16::from(number) + 1)?;
        of.map_or(Ok(()), |text| write!(f, " of {}", Self::from(text)))
    }
}

/// A batch and its texts.
#[derive(Debug, Clone)]
pub struct Captioned {
    /// The batch.
    pub batch: Batch,
    /// R roles: text `R * i + j` has role `j` for image `i`.
    pub roles: Arc<[Role]>,
    /// B x R texts.
    pub texts: Vec<String>,
}

/// A batch ready to train on.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The batch.
    pub batch: Batch,
    /// R roles.
    pub roles: Arc<[Role]>,
    /// Token ids of the B x R texts end to end, each with its start and end token, no padding.
    pub ids: Vec<u32>,
    /// B x R lengths.
    pub lens: Vec<u32>,
}

impl Item for Batch {
    const NAME: &'static str = "batches of image features";

    fn bytes(&self) -> usize {
        self.features.len() * 4 + self.items.len() * 256
    }

    fn label(&self) -> String {
        format!("step {}", self.step + 1)
    }
}

impl Item for Paired {
    const NAME: &'static str = "batches with neighbours";

    fn bytes(&self) -> usize {
        self.batch.bytes() + self.neighbours.len() * 8
    }

    fn label(&self) -> String {
        self.batch.label()
    }
}

impl Item for Captioned {
    const NAME: &'static str = "batches with texts";

    fn bytes(&self) -> usize {
        self.batch.bytes() + self.texts.iter().map(|text| text.len() + 24).sum::<usize>()
    }

    fn label(&self) -> String {
        self.batch.label()
    }
}

impl Item for Tokens {
    const NAME: &'static str = "batches with token ids";

    fn bytes(&self) -> usize {
        self.batch.bytes() + self.ids.len() * 4 + self.lens.len() * 4
    }

    fn label(&self) -> String {
        self.batch.label()
    }
}
