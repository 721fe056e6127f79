//! The image tower: a vision transformer, read at its class token.

use burn::tensor::{Device, Tensor};

use crate::attention::Sequences;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::config::VisionConfig;
use crate::error::Error;
use crate::layers::{Block, LayerNorm, Linear, product, update};
use crate::params::{Mapper, Params, Source, Supply};

/// Image tower and projection of a CLIP model.
#[derive(Clone, Debug)]
pub struct VisionTower {
    config: VisionConfig,
    class_embedding: Tensor<1>,
    /// In the checkpoint's shape, that of a convolution: `[W, channels, patch, patch]`.
    patch_embedding: Tensor<4>,
    position_embedding: Tensor<2>,
    pre_norm: LayerNorm,
    blocks: Vec<Block>,
    post_norm: LayerNorm,
    /// None if the checkpoint has no projection.
    projection: Option<Linear>,
}

const CLASS_EMBEDDING: &str = "vision_model.embeddings.class_embedding";
const PATCH_EMBEDDING: &str = "vision_model.embeddings.patch_embedding.weight";
const POSITION_EMBEDDING: &str = "vision_model.embeddings.position_embedding.weight";

impl VisionTower {
    /// Reads the tower of a checkpoint onto a device, as f32, without gradients
    /// (see [`Params::trainable`]).
    ///
    /// # Errors
    /// If the checkpoint has no image tower, or a damaged tensor.
    pub fn load(checkpoint: &Checkpoint, device: &Device) -> Result<Self, Error> {
        let config = checkpoint.vision_config()?.clone();
        Self::build(config, &Supply { source: Source::Checkpoint(checkpoint), device })
    }

    /// Builds the tower from tensors on the host, for instance those of [`crate::init::random`].
    ///
    /// # Errors
    /// If a tensor is missing or has the wrong rank.
    pub fn from_tensors(config: &VisionConfig, tensors: &Tensors, device: &Device) -> Result<Self, Error> {
        Self::build(config.clone(), &Supply { source: Source::Host(tensors), device })
    }

    fn build(config: VisionConfig, supply: &Supply) -> Result<Self, Error> {
        let eps = config.layer_norm_eps;
        let block = |i| {
            let name = format!("vision_model.encoder.layers.{i}");
            Block::load(supply, &name, config.hidden_act, eps)
        };
        Ok(Self {
            class_embedding: supply.tensor(CLASS_EMBEDDING)?,
            patch_embedding: supply.tensor(PATCH_EMBEDDING)?,
            position_embedding: supply.tensor(POSITION_EMBEDDING)?,
            pre_norm: LayerNorm::load(supply, "vision_model.pre_layrnorm", eps)?,
            blocks: (0..config.num_hidden_layers).map(block).collect::<Result<_, _>>()?,
            post_norm: LayerNorm::load(supply, "vision_model.post_layernorm", eps)?,
            projection: config.projected.then(|| Linear::load(supply, "visual_projection", false)).transpose()?,
            config,
        })
    }

    /// The tower's shape.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.class_embedding.device()
    }

    /// Image features `[images, D]`, not normalised.
    ///
    /// `pixels` are `[images, channels, side, side]`, normalised with the checkpoint's mean and
    /// deviation.
    ///
    /// # Errors
    /// [`Error::Input`] if the pixels have another shape.
    pub fn forward(&self, pixels: Tensor<4>) -> Result<Tensor<2>, Error> {
        let (mut x, sequences) = self.embed(pixels)?;
        let Some((last, blocks)) = self.blocks.split_last() else {
            let class = sequences.read(x);
            return Ok(self.project(self.post_norm.forward(class)));
        };
        for block in blocks {
            x = block.forward(x, &sequences);
        }
        let class = last.forward_read(x, &sequences);
        Ok(self.project(self.post_norm.forward(class)))
    }

    fn project(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.projection {
            Some(projection) => projection.forward(x),
            None => x,
        }
    }

    /// The last block's output, `[images, 1 + patches, W]`, for inspection.
    ///
    /// # Errors
    /// As [`VisionTower::forward`].
    pub fn hidden(&self, pixels: Tensor<4>) -> Result<Tensor<3>, Error> {
        let images = pixels.dims()[0];
        let (mut x, sequences) = self.embed(pixels)?;
        for block in &self.blocks {
            x = block.forward(x, &sequences);
        }
        let [rows, width] = x.dims();
        Ok(x.reshape([images, rows / images, width]))
    }

    /// The first block's input, `[images * (1 + patches), W]`.
    fn embed(&self, pixels: Tensor<4>) -> Result<(Tensor<2>, Sequences), Error> {
        let VisionConfig { hidden_size: width, num_channels, image_size, patch_size, .. } = self.config;
        let [images, channels, high, wide] = pixels.dims();
        if (channels, high, wide) != (num_channels, image_size, image_size) || images == 0 {
            return Err(Error::Input(format!(
                "pixels have shape [{images}, {channels}, {high}, {wide}], but the image tower \
                 takes [images, {num_channels}, {image_size}, {image_size}]"
            )));
        }
        let grid = self.config.grid();
        let (patches, length) = (grid * grid, grid * grid + 1);
        let area = channels * patch_size * patch_size;

        // A convolution whose stride is its size is a product of cut-out patches.
        let patch_rows = pixels
            .reshape([images, channels, grid, patch_size, grid, patch_size])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([images * patches, area]);
        let kernel = self.patch_embedding.clone().reshape([width, area]).transpose();
        let embedded = product(patch_rows, kernel).reshape([images, patches, width]);

        let class = self.class_embedding.clone().reshape([1, 1, width]).expand([images, 1, width]);
        let x = Tensor::cat(vec![class, embedded], 1);
        let x = x + self.position_embedding.clone().unsqueeze::<3>();
        let x = self.pre_norm.forward(x.reshape([images * length, width]));
        let heads = self.config.num_attention_heads;
        Ok((x, Sequences::full(images, length, heads, &self.device())))
    }
}

impl Params for VisionTower {
    fn map_params<M: Mapper>(&mut self, prefix: &str, mapper: &mut M) {
        update(&mut self.class_embedding, &format!("{prefix}{CLASS_EMBEDDING}"), mapper);
        update(&mut self.patch_embedding, &format!("{prefix}{PATCH_EMBEDDING}"), mapper);
        update(&mut self.position_embedding, &format!("{prefix}{POSITION_EMBEDDING}"), mapper);
        self.pre_norm.map_params(&format!("{prefix}vision_model.pre_layrnorm"), mapper);
        for (i, block) in self.blocks.iter_mut().enumerate() {
            block.map_params(&format!("{prefix}vision_model.encoder.layers.{i}"), mapper);
        }
        self.post_norm.map_params(&format!("{prefix}vision_model.post_layernorm"), mapper);
        if let Some(projection) = &mut self.projection {
            projection.map_params(&format!("{prefix}visual_projection"), mapper);
        }
    }
}
