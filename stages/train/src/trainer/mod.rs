//! One training step: texts and image features in, better weights out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::{Device, FloatDType, Gradients, Int, Tensor, TensorData};
use clip::text::{TOKEN_EMBEDDING, TextTower, TokenRows};
use clip::{Layout, Mapper, Params, TextConfig, in_products};
use pipeline_engine::rng::Draw;
use items::{Role, Tokens};

use crate::error::TrainError;
use crate::loss::{self, Contrast, Loss, Twins};
use crate::optimizer::{AdamW, Gradient, Parameter, Settings};

/// What the names of the blocks' parameters begin with; the number of the block follows.
const BLOCKS: &str = "text_model.encoder.layers.";

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
            Self::Contrast(settings) => Twins::find(roles, settings).map(drop),
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
    /// On the device, but for the token embedding: the optimizer has that, and each step takes its rows.
    tower: TextTower,
    /// The tower of the start, where the loss looks back at it.
    start: Option<TextTower>,
    optimizer: AdamW,
    objective: Objective,
    layout: Layout,
    /// Texts that the tower holds for the backward pass at once.
    chunk: usize,
    /// Whether the tower multiplies in f16.
    half: bool,
    /// So many blocks from the front are trained and nothing else; `None`: everything is.
    front_layers: Option<usize>,
    device: Device,
}

/// What the loss is multiplied by before its gradient is taken in f16, and gradients divided by
/// afterwards, so that small ones do not vanish (Micikevicius et al., arXiv 1710.03740, section
/// 3.2). A power of two, so that nothing is rounded. The loss here is a mean of cosines over a
/// temperature: its gradients are a little under 1 a batch, far from f16's 65504 with this.
const LOSS_SCALE: f32 = 1024.0;

impl Trainer {
    /// Trains `tower` from where it is.
    pub fn new(tower: &TextTower, objective: Objective, settings: Settings, layout: Layout) -> Self {
        let start = match objective {
            Objective::Contrast(contrast) if contrast.keep > 0.0 || contrast.turn > 0.0 => Some(tower.frozen()),
            _ => None,
        };
        let optimizer = AdamW::new(settings, tower.tensors());
        let device = tower.device().inner();
        let tower = tower.frozen();
        let (chunk, half, front_layers) = (usize::MAX, false, None);
        let mut trainer = Self { tower, start, optimizer, objective, layout, chunk, half, front_layers, device };
        trainer.upload();
        trainer
    }

    /// Lets the tower hold no more than `chunk` texts for the backward pass at once; 0: all.
    ///
    /// The loss needs the features of all texts, but of the towers' intermediate values only those
    /// of the texts whose gradient is taken (GradCache, arXiv 2101.06983, section 3). The features
    /// are computed first, then the loss and its gradient at the features, then each chunk once
    /// more with its share of that. Exact, for a second forward pass.
    #[must_use]
    pub fn in_chunks(mut self, chunk: usize) -> Self {
        self.chunk = if chunk == 0 { usize::MAX } else { chunk };
        self
    }

    /// Lets the tower multiply in f16, on a GPU that can ([`clip::device::half`]). Weights, moments
    /// and updates stay f32.
    #[must_use]
    pub fn in_half(mut self, half: bool) -> Self {
        if half {
            self.half = true;
            self.start = self.start.map(|start| start.half());
            self.upload();
        }
        self
    }

    /// Trains only the first so many blocks of the tower; `None`: all of it, embeddings and
    /// projection too.
    ///
    /// That negation is lost in the front layers of the text tower, and best trained there, is a
    /// finding of Omni-NegCLIP. Weights and moments of everything else stay as they are, bit by bit.
    ///
    /// # Errors
    /// [`TrainError::FrontLayers`] when the tower has no so many blocks, or none is to be trained.
    pub fn front_layers(mut self, blocks: Option<usize>) -> Result<Self, TrainError> {
        let there = self.config().num_hidden_layers;
        if let Some(asked) = blocks.filter(|asked| !(1..=there).contains(asked)) {
            return Err(TrainError::FrontLayers { asked, there });
        }
        self.front_layers = blocks;
        Ok(self)
    }

    /// Whether a parameter is trained.
    fn trains(&self, name: &str) -> bool {
        let Some(front) = self.front_layers else { return true };
        let block = name.strip_prefix(BLOCKS).and_then(|rest| rest.split('.').next()).map(str::parse::<usize>);
        matches!(block, Some(Ok(block)) if block < front)
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
                match weight(&self.0.optimizer, name, &self.0.device) {
                    Some(weight) if name == TOKEN_EMBEDDING => weight,
                    _ => tensor.inner(),
                }
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
        let trained = Texts::of(tokens, |role| !matches!(role, Role::Present(_) | Role::Absent(_)));
        let rows = self.token_rows(&trained.ids);
        let parts = self.parts(&trained);
        let features = match &parts[..] {
            [all] => self.tower.forward_rows(&rows, &all.ids, &all.lens, self.layout)?,
            parts => leaf(self.features(&self.tower.frozen(), Some(&rows), parts)?),
        };
        let loss = self.loss(tokens, &trained.roles, features.clone(), draw)?;
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
        let scale = self.half.then_some(LOSS_SCALE);
        let total = scale.map_or(total.clone(), |scale| total.mul_scalar(scale));
        let mut sums = Sums { flat: BTreeMap::new(), scale };
        if parts.len() == 1 {
            drop(features);
            sums.add(&self.tower, &rows, total.backward());
        } else {
            let mut gradients = total.backward();
            let slopes = features.grad_remove(&mut gradients);
            let slopes = slopes.ok_or_else(|| TrainError::device("the loss does not depend on the texts"))?;
            drop((gradients, features));
            for part in &parts {
                let features = self.tower.forward_rows(&rows, &part.ids, &part.lens, self.layout)?;
                let slopes = slopes.clone().select(0, part.places(&self.device));
                sums.add(&self.tower, &rows, (features * Tensor::from_inner(slopes)).sum().backward());
            }
        }
        let mut gradients = sums.read(rows)?;
        gradients.retain(|name, _| self.trains(name));
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

    /// The texts of a batch in chunks; those with a common beginning stay together.
    fn parts(&self, texts: &Texts) -> Vec<Part> {
        let mut each: Vec<(usize, &[u32])> = texts.each().enumerate().collect();
        if each.len() <= self.chunk {
            return vec![Part { texts: (0..each.len()).collect(), ids: texts.ids.clone(), lens: texts.lens.clone() }];
        }
        if self.layout == Layout::Tree {
            each.sort_by_key(|(_, ids)| *ids);
        }
        let part = |texts: &[(usize, &[u32])]| Part {
            texts: texts.iter().map(|(text, _)| *text).collect(),
            ids: texts.iter().flat_map(|(_, ids)| *ids).copied().collect(),
            lens: texts.iter().map(|(_, ids)| ids.len()).collect(),
        };
        each.chunks(self.chunk).map(part).collect()
    }

    /// The features of all texts in their order, outside autodiff.
    fn features(&self, tower: &TextTower, rows: Option<&TokenRows>, parts: &[Part]) -> Result<Tensor<2>, TrainError> {
        let rows = rows.map(|tokens| TokenRows { ids: tokens.ids.clone(), rows: tokens.rows.clone().inner() });
        let forward = |part: &Part| match &rows {
            Some(rows) => tower.forward_rows(rows, &part.ids, &part.lens, self.layout),
            None => tower.forward(&part.ids, &part.lens, self.layout),
        };
        let features = parts.iter().map(forward).collect::<Result<Vec<_>, _>>()?;
        let mut back: Vec<(usize, i32)> = parts.iter().flat_map(|part| part.texts.iter().copied()).zip(0..).collect();
        back.sort_unstable();
        let back: Vec<i32> = back.into_iter().map(|(_, row)| row).collect();
        let back = Tensor::from_data(TensorData::from(&back[..]), &self.device);
        Ok(Tensor::cat(features, 0).select(0, back))
    }

    fn loss(&self, tokens: &Tokens, roles: &[Role], texts: Tensor<2>, draw: Draw) -> Result<Loss, TrainError> {
        let (count, width) = (tokens.batch.items.len(), tokens.batch.dim);
        let features = &tokens.batch.features;
        let images = |features: Vec<f32>| Tensor::from_data(TensorData::new(features, [count, width]), &self.device);
        match self.objective {
            Objective::Tng { noise, temperature } => {
                let labels = loss::noisy_labels(count, noise, &mut draw.rng());
                Ok(loss::tng(texts, images(features.to_vec()), &labels, temperature))
            }
            Objective::Contrast(settings) => {
                let images = images(match settings.image_noise > 0.0 {
                    true => loss::blurred(features, width, settings.image_noise, &mut draw.rng()),
                    false => features.to_vec(),
                });
                let twins = Twins::find(roles, &Contrast { turn: 0.0, ..settings })?;
                let (mut kept, mut turns) = (None, None);
                if let Some(start) = &self.start {
                    if settings.keep > 0.0 {
                        let captions = Texts::of(tokens, |role| role == Role::Original);
                        kept = Some(loss::normalised(self.features(start, None, &self.parts(&captions))?));
                    }
                    if settings.turn > 0.0 {
                        turns = Some(self.turns(start, tokens)?);
                    }
                }
                let same: Vec<u32> = tokens.batch.items.iter().map(|item| item.image).collect();
                Ok(loss::contrast(texts, images, &same, &twins, kept, turns, &settings))
            }
        }
    }

    /// For each pair of twins, `[B P, D]`: the way from the feature of the absent thing to that
    /// of the present one in the tower of the start. Where a pair speaks of one thing only, the
    /// mean over the distinct things of the batch stands for the other.
    fn turns(&self, start: &TextTower, tokens: &Tokens) -> Result<Tensor<2>, TrainError> {
        let width = tokens.batch.dim;
        let things = Texts::of(tokens, |role| matches!(role, Role::Present(_) | Role::Absent(_)));
        let mut distinct: BTreeMap<&[u32], usize> = BTreeMap::new();
        for thing in things.each().filter(|ids| ids.len() > NOTHING) {
            distinct.insert(thing, 0);
        }
        distinct.values_mut().enumerate().for_each(|(n, place)| *place = n);
        let lens: Vec<usize> = distinct.keys().map(|ids| ids.len()).collect();
        let ids: Vec<u32> = distinct.keys().flat_map(|ids| ids.iter().copied()).collect();
        let features = match lens.is_empty() {
            true => Vec::new(),
            false => {
                let things = self.parts(&Texts { roles: Vec::new(), ids, lens: lens.clone() });
                read(loss::normalised(self.features(start, None, &things)?))?
            }
        };
        let mut mean = vec![0.0; width];
        for row in features.chunks(width) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / lens.len() as f32);
        }
        let feature = |ids: &[u32]| distinct.get(ids).map_or(&mean[..], |&n| &features[n * width..][..width]);
        let things: Vec<&[u32]> = things.each().collect();
        let ways = things.chunks(2).flat_map(|two| feature(two[0]).iter().zip(feature(two[1])).map(|(a, b)| a - b));
        let ways: Vec<f32> = ways.collect();
        Ok(Tensor::from_data(TensorData::new(ways, [things.len() / 2, width]), &self.device))
    }

    /// Puts the optimizer's weights on the device, one after the other, but for the token
    /// embedding: of that one a row stays as a placeholder.
    fn upload(&mut self) {
        struct Upload<'a>(&'a AdamW, &'a Device, bool);
        impl Mapper for Upload<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                if name == TOKEN_EMBEDDING {
                    return Tensor::zeros([1; D], self.1);
                }
                match weight(self.0, name, self.1) {
                    Some(weight) if self.2 && in_products(name, D) => leaf(weight.cast(FloatDType::F16)),
                    Some(weight) => leaf(weight),
                    None => tensor.inner(),
                }
            }
        }
        self.tower.map_params("", &mut Upload(&self.optimizer, &self.device, self.half));
    }
}

fn weight<const D: usize>(optimizer: &AdamW, name: &str, device: &Device) -> Option<Tensor<D>> {
    let parameter = optimizer.parameters().get(name)?;
    let data = TensorData::new(parameter.values.clone(), parameter.shape.clone());
    Some(Tensor::from_data(data, device))
}

/// Some texts of a batch.
struct Part {
    /// Their numbers in the batch.
    texts: Vec<usize>,
    ids: Vec<u32>,
    lens: Vec<usize>,
}

impl Part {
    fn places(&self, device: &Device) -> Tensor<1, Int> {
        let places: Vec<i32> = self.texts.iter().map(|text| *text as i32).collect();
        Tensor::from_data(TensorData::from(&places[..]), device)
    }
}

/// Sums of gradients on the device, by parameter, each flat and in f32.
struct Sums {
    flat: BTreeMap<String, Tensor<1>>,
    /// What the loss was multiplied by, if some of the gradients are f16.
    scale: Option<f32>,
}

impl Sums {
    fn add(&mut self, tower: &TextTower, tokens: &TokenRows, gradients: Gradients) {
        struct Add<'a>(Gradients, &'a mut Sums);
        impl Mapper for Add<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                if let Some(gradient) = tensor.grad_remove(&mut self.0) {
                    let mut gradient = gradient.reshape([tensor.shape().num_elements()]);
                    if let Some(scale) = self.1.scale {
                        gradient = gradient.cast(FloatDType::F32).div_scalar(scale);
                    }
                    let sum = match self.1.flat.remove(name) {
                        Some(sum) => sum + gradient,
                        None => gradient,
                    };
                    self.1.flat.insert(name.to_owned(), sum);
                }
                tensor
            }
        }
        let mut add = Add(gradients, self);
        add.map(TOKEN_EMBEDDING, tokens.rows.clone());
        tower.mapped(&mut add);
    }

    /// Copies them to the host.
    fn read(self, tokens: TokenRows) -> Result<BTreeMap<String, Gradient>, TrainError> {
        let mut rows = Some(tokens.ids);
        let gradient = |(name, sum): (String, Tensor<1>)| {
            let values = read(sum)?;
            let gradient = match rows.take_if(|_| name == TOKEN_EMBEDDING) {
                Some(rows) => Gradient::Rows { rows, values },
                None => Gradient::Dense(values),
            };
            Ok((name, gradient))
        };
        self.flat.into_iter().map(gradient).collect()
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

/// Tokens of a text that says nothing: start and end.
const NOTHING: usize = 2;

/// Some of the texts of every image.
struct Texts {
    roles: Vec<Role>,
    /// End to end.
    ids: Vec<u32>,
    lens: Vec<usize>,
}

impl Texts {
    /// Those whose role is wanted, in the order they have.
    fn of(tokens: &Tokens, wanted: impl Fn(Role) -> bool) -> Self {
        let (mut ids, mut lens, mut at) = (Vec::new(), Vec::new(), 0);
        for (&len, &role) in tokens.lens.iter().zip(tokens.roles.iter().cycle()) {
            let len = len as usize;
            if wanted(role) {
                ids.extend_from_slice(&tokens.ids[at..at + len]);
                lens.push(len);
            }
            at += len;
        }
        Self { roles: tokens.roles.iter().copied().filter(|&role| wanted(role)).collect(), ids, lens }
    }

    /// The token ids of each text.
    fn each(&self) -> impl Iterator<Item = &[u32]> {
        let mut rest = &self.ids[..];
        self.lens.iter().map(move |&len| {
            let (ids, after) = rest.split_at(len);
            rest = after;
            ids
        })
    }
}
