//! Pair search: for each image of a batch, the most similar images.
//!
//! [`Search::neighbours`] finds, for each of B L2-normalised features, the k
//! features of other images with the largest cosine (TNG-CLIP, arXiv
//! 2505.18434, "pair search"; the paper takes k = 1 inside the batch). It runs
//! on the CPU or, through wgpu, on any GPU. Both keep one block of scores at a
//! time, never the B x B matrix, and both give the same neighbours, bit for
//! bit: `rank` explains why.

mod cpu;
mod gpu;
mod rank;
mod stage;

pub use stage::{On, Pairs, PairsOptions, Pool};

use gpu::Gpu;
use rank::Features;

/// The most neighbours a search can be asked for.
pub const MAX_K: usize = 16;

/// The entry of [`Neighbours::indices`] where there are fewer than k neighbours.
pub const NONE: u32 = u32::MAX;

/// Why a pair search could not be started or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The features don't have the given shape.
    #[error("pair search: {rows} features of {dim} (1 to 65536) can't be read from {values} numbers")]
    Shape {
        /// Numbers given.
        values: usize,
        /// Length of a feature.
        dim: usize,
        /// Rows: the number of group numbers.
        rows: usize,
    },
    /// More rows than can be numbered.
    #[error("pair search: {rows} rows are too many; use a smaller batch")]
    TooManyRows {
        /// Rows given.
        rows: usize,
    },
    /// k is out of range.
    #[error("pair search: k = {k}, but it must be from 1 to {MAX_K}")]
    K {
        /// Neighbours asked for.
        k: usize,
    },
    /// A feature isn't of length 1 (or isn't finite).
    #[error(
        "pair search: the feature in row {row} has length {norm}, not 1: it must be \
         L2-normalised and finite"
    )]
    NotNormalised {
        /// The row.
        row: usize,
        /// Its length.
        norm: f64,
    },
    /// No adapter of the wanted kind.
    #[error(
        "pair search: looked for {wanted} and found: {seen}. Install the GPU's Vulkan driver \
         (or mesa-vulkan-drivers for a software adapter), or set on = \"cpu\""
    )]
    NoAdapter {
        /// What was looked for.
        wanted: Adapter,
        /// The adapters there are.
        seen: String,
    },
    /// A buffer would be larger than the device allows.
    #[error(
        "pair search on {device}: {rows} features of {dim} need a buffer of {bytes} bytes, but \
         the device allows {limit}; use a smaller batch, or on = \"cpu\""
    )]
    TooLarge {
        /// The adapter.
        device: String,
        /// Rows of the batch.
        rows: usize,
        /// Length of a feature.
        dim: usize,
        /// Bytes needed.
        bytes: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The device has no memory left.
    #[error(
        "pair search on {device}: out of memory for {rows} features of {dim}; use a smaller \
         batch, or on = \"cpu\""
    )]
    OutOfMemory {
        /// The adapter.
        device: String,
        /// Rows of the batch.
        rows: usize,
        /// Length of a feature.
        dim: usize,
    },
    /// The device is gone: reset, unplugged, or its driver crashed.
    #[error(
        "pair search: the device {device} was lost ({message}); resume the run, or set \
         on = \"cpu\""
    )]
    Lost {
        /// The adapter.
        device: String,
        /// What the driver said.
        message: String,
    },
    /// The device refused something else.
    #[error("pair search on {device}: {message}; on = \"cpu\" does without it")]
    Device {
        /// The adapter.
        device: String,
        /// What wgpu said.
        message: String,
    },
}

/// Which adapters [`Search::wgpu`] may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// GPUs only.
    Hardware,
    /// GPUs first, else a software adapter.
    Any,
}

impl std::fmt::Display for Adapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hardware => "a GPU that wgpu can use (Vulkan, Metal or DirectX 12)",
            Self::Any => "any adapter that wgpu can use (Vulkan, Metal or DirectX 12)",
        })
    }
}

/// The neighbours of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Neighbours asked for, per row.
    pub k: usize,
    /// `[B, k]`: the rows with the largest cosine, largest first, of equal ones
    /// the lower row first; [`NONE`] at the end where there are fewer than k.
    pub indices: Vec<u32>,
    /// `[B, k]`: their cosines; minus infinity for [`NONE`].
    pub cosines: Vec<f32>,
}

impl Neighbours {
    /// The neighbours of one row with their cosines, nearest first.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn of(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let places = row * self.k..(row + 1) * self.k;
        self.indices[places.clone()]
            .iter()
            .zip(&self.cosines[places])
            .take_while(|(index, _)| **index != NONE)
            .map(|(&index, &cosine)| (index as usize, cosine))
    }
}

/// A pair search, ready to run on one device again and again.
pub struct Search {
    device: Device,
}

enum Device {
    Cpu,
    Wgpu(Box<Gpu>),
    /// Goes on without the GPU if it fails: the neighbours are the same.
    WgpuOrCpu(Box<Gpu>),
}

impl Search {
    /// On the CPU, with rayon's threads.
    #[must_use]
    pub fn cpu() -> Self {
        Self { device: Device::Cpu }
    }

    /// On a GPU, or on a software adapter if that is allowed.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is none, [`Error::Device`] if it can't be
    /// opened.
    pub fn wgpu(adapter: Adapter) -> Result<Self, Error> {
        let gpu = Box::new(Gpu::open(adapter)?);
        Ok(Self { device: Device::Wgpu(gpu) })
    }

    /// On a GPU if there is one; without one, or once it fails, on the CPU. Never on a
    /// software adapter. The neighbours don't depend on where it runs.
    #[must_use]
    pub fn auto() -> Self {
        match Gpu::open(Adapter::Hardware) {
            Ok(gpu) => Self { device: Device::WgpuOrCpu(Box::new(gpu)) },
            Err(error @ Error::NoAdapter { .. }) => {
                tracing::debug!("{error}; the search runs on the CPU");
                Self::cpu()
            }
            Err(error) => {
                tracing::warn!("{error}; the search runs on the CPU");
                Self::cpu()
            }
        }
    }

    /// Where it runs: `cpu`, or the adapter's name, interface and kind.
    #[must_use]
    pub fn device(&self) -> &str {
        match &self.device {
            Device::Cpu => "cpu",
            Device::Wgpu(gpu) | Device::WgpuOrCpu(gpu) => gpu.name(),
        }
    }

    /// For each row the `k` rows of other groups with the largest cosine.
    ///
    /// `features` is `[B, dim]`, row-major, each row of length 1; `groups` is
    /// `[B]`, and rows with the same number are the same image and never
    /// neighbours. `k` is 1 to [`MAX_K`]. B may be 0.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::TooManyRows`], [`Error::K`] and
    /// [`Error::NotNormalised`] for input that is wrong; the others if the GPU
    /// fails. After [`Error::Lost`] every further call fails.
    pub fn neighbours(&mut self, features: &[f32], dim: usize, groups: &[u32], k: usize) -> Result<Neighbours, Error> {
        if k == 0 || k > MAX_K {
            return Err(Error::K { k });
        }
        let features = Features::new(features, dim, groups)?;
        let found = match &mut self.device {
            Device::Cpu => on_cpu(features, k),
            Device::Wgpu(gpu) => on_gpu(gpu, features, k)?,
            Device::WgpuOrCpu(gpu) => match on_gpu(gpu, features, k) {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!("{error}; the search continues on the CPU");
                    self.device = Device::Cpu;
                    on_cpu(features, k)
                }
            },
        };
        let (indices, cosines) = found.iter().map(|neighbour| (neighbour.index, neighbour.cosine as f32)).unzip();
        Ok(Neighbours { k, indices, cosines })
    }
}

fn on_cpu(features: Features<'_>, k: usize) -> Vec<rank::Neighbour> {
    let rows: Vec<u32> = (0..features.rows() as u32).collect();
    cpu::search(features, &rows, k)
}

/// Rows that the GPU can't prove are searched again on the CPU.
fn on_gpu(gpu: &mut Gpu, features: Features<'_>, k: usize) -> Result<Vec<rank::Neighbour>, Error> {
    if features.rows() == 0 {
        return Ok(Vec::new());
    }
    let gpu::Found { mut neighbours, unproven } = gpu.search(features, k)?;
    tracing::trace!("{} of {} rows searched again", unproven.len(), features.rows());
    let again = cpu::search(features, &unproven, k);
    for (&row, found) in unproven.iter().zip(again.chunks_exact(k)) {
        neighbours[row as usize * k..][..k].copy_from_slice(found);
    }
    Ok(neighbours)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn auto_goes_on_on_the_cpu_when_the_gpu_is_lost() {
        let Some(gpu) = gpu::tests::any() else { return };
        gpu.lose();
        let mut search = Search { device: Device::WgpuOrCpu(Box::new(gpu)) };
        let features = [1.0, 0.0, 0.6, 0.8, 0.0, 1.0];
        let found = search.neighbours(&features, 2, &[0, 1, 2], 1).unwrap();
        assert_eq!(found.indices, [1, 2, 1]);
        assert_eq!(search.device(), "cpu");
    }

    #[test]
    fn a_missing_adapter_says_what_to_do() {
        let error = Error::NoAdapter { wanted: Adapter::Any, seen: "none".into() };
        let text = error.to_string();
        assert!(text.contains("mesa-vulkan-drivers") && text.contains("on = \"cpu\""));
    }
}
