//! The stage `pairs`.

use items::{Batch, Paired};
use parking_lot::Mutex;
use pipeline_engine::{Build, Built, Look, Map, Pass, StageError, StageKind, Worker, choice, options};

use crate::{Adapter, Error, MAX_K, Search, gpu};

choice! {
    /// Where neighbours are searched for; what is found doesn't depend on it.
    pub enum On {
        /// On a GPU if there is one, else on the CPU.
        Auto = "auto",
        /// Through wgpu: on a GPU, or on a software adapter if there is no GPU.
        Wgpu = "wgpu",
        /// On the CPU.
        Cpu = "cpu",
    }
}

choice! {
    /// Among which images neighbours are searched for.
    pub enum Pool {
        /// The images of the same batch (TNG-CLIP, arXiv 2505.18434, pair search).
        Batch = "batch",
    }
}

options! {
    /// Options of the stage `pairs`.
    pub struct PairsOptions {
        /// Where neighbours are searched for: "auto" (a GPU if there is one, else the CPU), "wgpu" (also a software adapter) or "cpu".
        on: On = On::Auto => free;
        /// Neighbours per image.
        k: usize = 1, 1..=MAX_K;
        /// Among which images neighbours are searched for.
        pool: Pool = Pool::Batch;
    }
}

/// The kind `pairs`: finds for each image of a batch the images most like it.
pub struct Pairs;

impl StageKind for Pairs {
    const KIND: &'static str = "pairs";
    const ABOUT: &'static str = "finds for each image of a batch the most similar other images";
    type In = Batch;
    type Out = Paired;
    type Options = PairsOptions;

    fn verify(options: &PairsOptions, look: &mut Look<'_>) {
        if options.on == On::Wgpu
            && let Err(error) = gpu::find(Adapter::Any)
        {
            look.fault("on", error.to_string(), "");
        }
    }

    fn build(options: PairsOptions, _build: &mut Build<'_>) -> Result<Built<Batch, Paired>, StageError> {
        let search = match options.on {
            On::Auto => Search::auto(),
            On::Wgpu => Search::wgpu(Adapter::Any)?,
            On::Cpu => Search::cpu(),
        };
        tracing::info!("pair search on {}", search.device());
        // One worker: a search uses the whole device, or all of rayon's threads.
        Ok(Built::Map { workers: 1, map: Box::new(Pairing { search: Mutex::new(search), k: options.k }) })
    }
}

struct Pairing {
    search: Mutex<Search>,
    k: usize,
}

impl Map<Batch, Paired> for Pairing {
    fn worker(&self, _pass: &Pass<'_>) -> Result<Box<dyn Worker<Batch, Paired> + '_>, StageError> {
        Ok(Box::new(|_pass: &Pass<'_>, batch| pair(&mut self.search.lock(), batch, self.k)))
    }
}

fn pair(search: &mut Search, batch: Batch, k: usize) -> Result<Paired, StageError> {
    let images: Vec<u32> = batch.items.iter().map(|item| item.image).collect();
    let found = search.neighbours(&batch.features, batch.dim, &images, k).map_err(|error| match error {
        Error::NotNormalised { row, norm } => {
            let item = &batch.items[row];
            StageError::msg(format!(
                "the feature of `{}` in {} has length {norm}, not 1: delete its file in the feature cache, \
                 or check the weights of the image encoder",
                item.key, item.shard
            ))
        }
        error => error.into(),
    })?;
    Ok(Paired { batch, k, neighbours: found.indices, cosines: found.cosines })
}

/// "No neighbour" is written the same way on both sides of the stage.
const _: () = assert!(crate::NONE == items::NO_NEIGHBOUR);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use items::BatchItem;

    use super::*;

    fn batch(features: &[f32], images: &[u32]) -> Batch {
        let items = images.iter().enumerate().map(|(row, &image)| BatchItem {
            key: format!("key-{row}").into(),
            shard: "train-000.tar".into(),
            captions: Arc::new(["a dog".to_owned()]),
            drawn: 0,
            image,
        });
        Batch { epoch: 1, step: 0, items: items.collect(), dim: 2, features: features.into() }
    }

    #[test]
    fn a_batch_gets_neighbours_of_other_images() {
        let features = [1.0, 0.0, 1.0, 0.0, 0.8, 0.6, 0.0, 1.0];
        let paired = pair(&mut Search::cpu(), batch(&features, &[5, 5, 8, 9]), 2).unwrap();
        assert_eq!(paired.neighbours, [2, 3, 2, 3, 0, 1, 2, 0]);
        assert_eq!(paired.cosines[..2], [0.8, 0.0]);
        assert_eq!(paired.batch.items.len(), 4);
    }

    #[test]
    fn a_gpu_that_is_lost_ends_the_stage_with_what_to_do() {
        let Some(gpu) = crate::gpu::tests::any() else { return };
        gpu.lose();
        let mut search = Search { device: crate::Device::Wgpu(Box::new(gpu)) };
        let error = pair(&mut search, batch(&[1.0, 0.0, 0.0, 1.0], &[0, 1]), 1).unwrap_err().to_string();
        assert!(error.contains("was lost") && error.contains("resume the run, or set on = \"cpu\""), "{error}");
    }

    #[test]
    fn a_bad_feature_is_named() {
        let error = pair(&mut Search::cpu(), batch(&[1.0, 0.0, f32::NAN, 0.0], &[0, 1]), 1).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`key-1` in train-000.tar"), "{text}");
    }
}
