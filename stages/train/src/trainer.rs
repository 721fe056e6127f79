//! One training step: texts and image features in, better weights out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use clip::text::{TOKEN_EMBEDDING, TextTower, TokenRows};
use clip::{Layout, Mapper, Params, TextConfig};
use pipeline_engine::rng::Draw;
use stage_items::{Role, Tokens};

use crate::error::TrainError;
use crate::loss::{self, Contrast, Loss, Twins};
use crate::optimizer::{AdamW, Gradient, Parameter, Settings};

/// What the tower is trained on.
#[derive(Debug, Clone, Copy)]
pub enum Objective {
    /// [`loss::tng`].
    Tng {
        /// Share of images whose text is drawn at random.
        noise: f64,
        /// Cosines are divided by this.
        temperature: f64,
    },
    /// [`loss::contrast`].
    Contrast(Contrast),
}

impl Objective {
    /// Whether the loss can be made of these texts.
    ///
    /// # Errors
    /// [`TrainError::Roles`], with what to change.
    pub fn check(&self, roles: &[Role]) -> Result<(), TrainError> {
        match self {
            Self::Tng { .. } if roles == [Role::Original, Role::Compositional, Role::Full] => Ok(()),
            Self::Tng { .. } => Err(TrainError::Roles {
                loss: "tng",
                needs: "the caption, a compositional and a full negation".into(),
                help: "set captions.generator = \"tng\"",
            }),
            Self::Contrast(settings) => Twins::find(roles, settings.twin > 0.0).map(drop),
        }
    }
}

/// What a step did.
#[derive(Debug, Clone)]
pub struct Step {
    /// The loss, named `all`, then its terms as they were before weighting.
    pub losses: Vec<(&'static str, f64)>,
    /// The norm of the gradient.
    pub norm: f64,
    /// Features and loss.
    pub forward: Duration,
    /// Gradients, up to having them on the host.
    pub backward: Duration,
    /// Weights and moments, up to having the former on the device.
    pub update: Duration,
}

/// Why a step was not made; the weights are as before it.
#[derive(Debug)]
pub enum NoStep {
    /// Of what (`the loss`), and the value that is no number.
    NotFinite(&'static str, f64),
    /// Anything else.
    Failed(TrainError),
}

impl<E: Into<TrainError>> From<E> for NoStep {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A text tower and its optimizer.
#[derive(Debug)]
pub struct Trainer {
    /// On the device; its token embedding is that of the start, the current one is the optimizer's.
    tower: TextTower,
    /// The tower that captions shall not move far from.
    start: Option<TextTower>,
    optimizer: AdamW,
    objective: Objective,
    layout: Layout,
    device: Device,
}

impl Trainer {
    /// Trains `tower` from where it is.
    pub fn new(tower: &TextTower, objective: Objective, settings: Settings, layout: Layout) -> Self {
        let start = match objective {
            Objective::Contrast(contrast) if contrast.keep > 0.0 => Some(tower.frozen()),
            _ => None,
        };
        let optimizer = AdamW::new(settings, tower.tensors());
        let device = tower.device().inner();
        let mut trainer = Self { tower: tower.frozen(), start, optimizer, objective, layout, device };
        trainer.upload();
        trainer
    }

    /// Weights and moments.
    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    /// The tower's shape.
    pub fn config(&self) -> &TextConfig {
        self.tower.config()
    }

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// A tensor that does not fit, in words; nothing is changed then.
    pub fn restore(&mut self, steps: u64, parameters: BTreeMap<String, Parameter>) -> Result<(), String> {
        self.optimizer.restore(steps, parameters)?;
        self.upload();
        Ok(())
    }

    /// The tower as it is now, without gradients.
    pub fn snapshot(&self) -> TextTower {
        struct Current<'a>(&'a Trainer);
        impl Mapper for Current<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                if name == TOKEN_EMBEDDING { self.0.weight(name).unwrap_or(tensor) } else { tensor.inner() }
            }
        }
        self.tower.mapped(&mut Current(self))
    }

    /// One step. `draw` is the address of the random numbers of this very step.
    ///
    /// # Errors
    /// [`NoStep`]; the weights are unchanged then.
    pub fn step(&mut self, tokens: &Tokens, lr: f64, draw: Draw) -> Result<Step, NoStep> {
        self.objective.check(&tokens.roles)?;
        let (images, texts) = (tokens.batch.dim, self.config().projection_dim);
        if images != texts {
            return Err(TrainError::Width { images, texts }.into());
        }

        let began = Instant::now();
        let rows = self.token_rows(&tokens.ids);
        let loss = self.loss(tokens, &rows, draw)?;
        let Some(total) = loss.total() else { return Err(TrainError::device("a loss without terms").into()) };
        let values = [total.clone()].into_iter().chain(loss.0.iter().map(|term| term.value.clone())).collect();
        let values = read(Tensor::<1>::cat(values, 0).inner())?;
        let names = ["all"].into_iter().chain(loss.0.iter().map(|term| term.name));
        let losses: Vec<(&'static str, f64)> = names.zip(values.into_iter().map(f64::from)).collect();
        if let Some((_, value)) = losses.iter().find(|(_, value)| !value.is_finite()) {
            return Err(NoStep::NotFinite("the loss", *value));
        }
        let forward = began.elapsed();

        let began = Instant::now();
        drop(loss);
        let gradients = self.gradients(total.backward(), rows)?;
        let backward = began.elapsed();

        let began = Instant::now();
        let norm =
            self.optimizer.step(lr, &gradients).map_err(|norm| NoStep::NotFinite("the norm of the gradient", norm))?;
        self.upload();
        Ok(Step { losses, norm, forward, backward, update: began.elapsed() })
    }

    /// The rows of the token embedding that these tokens need, as a leaf.
    fn token_rows(&self, ids: &[u32]) -> TokenRows {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        // An id beyond the vocabulary has no row; the tower says so.
        ids.retain(|&id| (id as usize) < self.config().vocab_size);
        let shape = [ids.len(), self.config().hidden_size];
        let rows = TensorData::new(self.optimizer.rows(TOKEN_EMBEDDING, &ids), shape);
        TokenRows { ids, rows: leaf(Tensor::from_data(rows, &self.device)) }
    }

    fn loss(&self, tokens: &Tokens, rows: &TokenRows, draw: Draw) -> Result<Loss, TrainError> {
        let (count, width) = (tokens.batch.items.len(), tokens.batch.dim);
        let lens: Vec<usize> = tokens.lens.iter().map(|&len| len as usize).collect();
        let texts = self.tower.forward_rows(rows, &tokens.ids, &lens, self.layout)?;
        let images = TensorData::new(tokens.batch.features.to_vec(), [count, width]);
        let images = Tensor::from_data(images, &self.device);
        match self.objective {
            Objective::Tng { noise, temperature } => {
                let labels = loss::noisy_labels(count, noise, &mut draw.rng());
                Ok(loss::tng(texts, images, &labels, temperature))
            }
            Objective::Contrast(settings) => {
                let twins = Twins::find(&tokens.roles, settings.twin > 0.0)?;
                let start = match &self.start {
                    Some(tower) => {
                        let (ids, lens) = each_nth(tokens, twins.original());
                        Some(loss::normalised(tower.forward(&ids, &lens, self.layout)?))
                    }
                    None => None,
                };
                Ok(loss::contrast(texts, images, &twins, start, &settings))
            }
        }
    }

    fn gradients(&self, gradients: Gradients, tokens: TokenRows) -> Result<BTreeMap<String, Gradient>, TrainError> {
        struct Read {
            from: Gradients,
            to: BTreeMap<String, Gradient>,
            failed: Option<TrainError>,
        }
        impl Mapper for Read {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                match tensor.grad_remove(&mut self.from).map(read).transpose() {
                    Ok(Some(values)) => drop(self.to.insert(name.to_owned(), Gradient::Dense(values))),
                    Ok(None) => {}
                    Err(error) => self.failed = Some(error),
                }
                tensor
            }
        }
        let mut reader = Read { from: gradients, to: BTreeMap::new(), failed: None };
        if let Some(values) = tokens.rows.grad_remove(&mut reader.from) {
            let gradient = Gradient::Rows { rows: tokens.ids, values: read(values)? };
            reader.to.insert(TOKEN_EMBEDDING.to_owned(), gradient);
        }
        self.tower.mapped(&mut reader);
        reader.failed.map_or(Ok(reader.to), Err)
    }

    /// Puts the optimizer's weights on the device, but for the token embedding,
    /// of which each step takes its rows.
    fn upload(&mut self) {
        struct Upload<'a>(&'a Trainer);
        impl Mapper for Upload<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                match self.0.weight(name) {
                    Some(weight) if name != TOKEN_EMBEDDING => leaf(weight),
                    _ => tensor.inner(),
                }
            }
        }
        self.tower = self.tower.mapped(&mut Upload(self));
    }

    fn weight<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        let parameter = self.optimizer.parameters().get(name)?;
        let data = TensorData::new(parameter.values.clone(), parameter.shape.clone());
        Some(Tensor::from_data(data, &self.device))
    }
}

fn leaf<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.autodiff().require_grad()
}

/// Copies a tensor to the host.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    let data = tensor.try_into_data().map_err(TrainError::device)?;
    data.try_into_vec::<f32>().map_err(|error| TrainError::Device(format!("{error:?}")))
}

/// Token ids and lengths of text `place` of every image.
fn each_nth(tokens: &Tokens, place: usize) -> (Vec<u32>, Vec<usize>) {
    let (mut ids, mut lens, mut at) = (Vec::new(), Vec::new(), 0);
    for (text, &len) in tokens.lens.iter().enumerate() {
        let len = len as usize;
        if text % tokens.roles.len() == place {
            ids.extend_from_slice(&tokens.ids[at..at + len]);
            lens.push(len);
        }
        at += len;
    }
    (ids, lens)
}
