//! Pair search with the compute shader `shaders/pair_search.wgsl`.

mod adapter;
mod shader;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use rayon::prelude::*;
use wgpu::BufferUsages;

use crate::rank::{Features, Neighbour, rank, rounding_bound};
use crate::{Adapter, Error, MAX_K, NONE};
use adapter::Opened;
pub(crate) use adapter::find;
use shader::{Entry, Pipelines, SCANNERS, SIDE, Shape, layout};

/// The shader finds this many more candidates than are asked for. With none to
/// spare, two scores that f32 can't tell apart at the end of the list send
/// their row to the CPU.
const SPARE: usize = 4;

/// Bytes of the buffers.
struct Sizes {
    features: u64,
    groups: u64,
    lists: u64,
    merged: u64,
}

impl Sizes {
    fn of(shape: &Shape, keep: usize) -> Self {
        let rows = u64::from(shape.rows);
        let merged = rows * (keep * size_of::<Entry>()) as u64;
        Self {
            features: rows * u64::from(shape.quads) * 16,
            groups: rows * 4,
            lists: merged * u64::from(shape.splits * SCANNERS),
            merged,
        }
    }
}

/// What a search on the GPU found: the neighbours, `[rows, k]`, and the rows
/// for which rounding leaves it open whether they are the right ones.
pub(crate) struct Found {
    pub(crate) neighbours: Vec<Neighbour>,
    pub(crate) unproven: Vec<u32>,
}

/// An open device with its pipelines and buffers, kept from call to call.
pub(crate) struct Gpu {
    name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Why the device was lost, once it is.
    lost: Arc<Mutex<Option<String>>>,
    layout: wgpu::BindGroupLayout,
    /// By the length of the lists.
    pipelines: BTreeMap<usize, Pipelines>,
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    shape: Option<wgpu::Buffer>,
    features: Option<wgpu::Buffer>,
    groups: Option<wgpu::Buffer>,
    lists: Option<wgpu::Buffer>,
    merged: Option<wgpu::Buffer>,
    readback: Option<wgpu::Buffer>,
}

impl Gpu {
    /// Opens the best adapter of the wanted kind.
    pub(crate) fn open(wanted: Adapter) -> Result<Self, Error> {
        Self::with_adapter(&find(wanted)?)
    }

    pub(crate) fn with_adapter(adapter: &wgpu::Adapter) -> Result<Self, Error> {
        let Opened { name, device, queue, lost } = adapter::open(adapter)?;
        let layout = layout(&device);
        Ok(Self { name, device, queue, lost, layout, pipelines: BTreeMap::new(), buffers: Buffers::default() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn search(&mut self, features: Features<'_>, k: usize) -> Result<Found, Error> {
        let keep = k + SPARE;
        let entries = self.candidates(features, keep)?;
        let mut neighbours = vec![Neighbour::NONE; features.rows() * k];
        let proven: Vec<bool> = neighbours
            .par_chunks_exact_mut(k)
            .zip(entries.par_chunks_exact(keep))
            .enumerate()
            .map(|(row, (found, entries))| prove(features, row as u32, entries, found))
            .collect();
        let unproven = (0..features.rows() as u32).filter(|&row| !proven[row as usize]).collect();
        Ok(Found { neighbours, unproven })
    }

    /// The shader's list of `keep` candidates per row, `[rows, keep]`.
    fn candidates(&mut self, features: Features<'_>, keep: usize) -> Result<Vec<Entry>, Error> {
        self.check_lost()?;
        // Errors of one thread's calls, innermost scope first.
        let scopes = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory]
            .map(|filter| self.device.push_error_scope(filter));
        let entries = self.dispatch(features, keep);
        // All three must be popped, in reverse order.
        let mut error = None;
        for scope in scopes.into_iter().rev() {
            error = error.or(pollster::block_on(scope.pop()));
        }
        if error.is_some() || entries.is_err() {
            // Buffers that could not be created, or are still mapped, must not be used again.
            self.buffers = Buffers::default();
            self.pipelines.clear();
        }
        // A lost device also causes validation errors: the cause is reported first.
        self.check_lost()?;
        match error {
            None => entries,
            Some(wgpu::Error::OutOfMemory { .. }) => {
                Err(Error::OutOfMemory { device: self.name.clone(), rows: features.rows(), dim: features.dim })
            }
            Some(error) => Err(self.failed(error)),
        }
    }

    fn dispatch(&mut self, features: Features<'_>, keep: usize) -> Result<Vec<Entry>, Error> {
        let shape = Shape::of(&features);
        let sizes = Sizes::of(&shape, keep);
        self.check_fits(features, &sizes)?;
        let device = &self.device;
        let buffers = &mut self.buffers;
        let (storage, upload) = (BufferUsages::STORAGE, BufferUsages::COPY_DST);
        let shapes = fit(device, &mut buffers.shape, size_of::<Shape>() as u64, BufferUsages::UNIFORM | upload);
        let values = fit(device, &mut buffers.features, sizes.features, storage | upload);
        let groups = fit(device, &mut buffers.groups, sizes.groups, storage | upload);
        let lists = fit(device, &mut buffers.lists, sizes.lists, storage);
        let merged = fit(device, &mut buffers.merged, sizes.merged, storage | BufferUsages::COPY_SRC);
        let readback = fit(device, &mut buffers.readback, sizes.merged, BufferUsages::MAP_READ | upload);

        self.queue.write_buffer(&shapes, 0, bytemuck::bytes_of(&shape));
        self.queue.write_buffer(&groups, 0, bytemuck::cast_slice(features.groups));
        self.queue.write_buffer(&values, 0, bytemuck::cast_slice(&padded(features, shape.quads)));

        let pipelines = self.pipelines.entry(keep).or_insert_with(|| Pipelines::new(device, &self.layout, keep));
        let entries: Vec<_> = [&shapes, &values, &groups, &lists, &merged]
            .into_iter()
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let bound = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("pair search"),
            layout: &self.layout,
            entries: &entries,
        });
        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_bind_group(0, &bound, &[]);
            pass.set_pipeline(&pipelines.search);
            pass.dispatch_workgroups(shape.rows.div_ceil(SIDE), shape.splits, 1);
            pass.set_pipeline(&pipelines.merge);
            pass.dispatch_workgroups(shape.rows.div_ceil(SIDE), 1, 1);
        }
        encoder.copy_buffer_to_buffer(&merged, 0, &readback, 0, sizes.merged);
        self.queue.submit([encoder.finish()]);
        self.read(&readback, sizes.merged)
    }

    fn check_fits(&self, features: Features<'_>, sizes: &Sizes) -> Result<(), Error> {
        let limits = self.device.limits();
        let limit = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        let bytes = sizes.features.max(sizes.lists);
        if bytes <= limit {
            return Ok(());
        }
        let device = self.name.clone();
        Err(Error::TooLarge { device, rows: features.rows(), dim: features.dim, bytes, limit })
    }

    /// Waits for the device and reads the first `bytes` of a buffer.
    fn read(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<Entry>, Error> {
        let (sender, mapped) = mpsc::sync_channel(1);
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            // The receiver is gone only if the search has already failed.
            let _ = sender.send(result);
        });
        // wgpu panics here if the driver reports a lost device, and has no call
        // that doesn't. The device isn't used again after this.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(wgpu::PollType::wait_indefinitely())));
        let Ok(polled) = polled else {
            self.lost.lock().get_or_insert_with(|| "while the search waited for it".to_owned());
            return self.check_lost().map(|()| Vec::new());
        };
        polled.map_err(|error| self.failed(error))?;
        mapped.try_recv().map_err(|error| self.failed(error))?.map_err(|error| self.failed(error))?;
        let view = buffer.get_mapped_range(..bytes).map_err(|error| self.failed(error))?;
        let entries = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        buffer.unmap();
        Ok(entries)
    }

    fn check_lost(&self) -> Result<(), Error> {
        match &*self.lost.lock() {
            None => Ok(()),
            Some(message) => Err(Error::Lost { device: self.name.clone(), message: message.clone() }),
        }
    }

    fn failed(&self, error: impl std::fmt::Display) -> Error {
        Error::Device { device: self.name.clone(), message: error.to_string() }
    }
}

/// Ranks a row's candidates; returns whether `found` is proven to be right.
fn prove(features: Features<'_>, row: u32, entries: &[Entry], found: &mut [Neighbour]) -> bool {
    let bound = rounding_bound(features.dim);
    let mut candidates = [Neighbour::NONE; MAX_K + SPARE];
    let count = entries.iter().take_while(|entry| entry.column != NONE).count();
    for (candidate, entry) in candidates.iter_mut().zip(&entries[..count]) {
        if entry.column as usize >= features.rows() {
            return false;
        }
        *candidate = features.scored(row, entry.column);
        // A device that is less exact than WGSL requires proves nothing.
        if (candidate.cosine - f64::from(entry.score)).abs() > bound {
            return false;
        }
    }
    rank(&mut candidates[..count], found);
    // A list that isn't full holds every row of another group. If it is full, all other
    // rows have at most the last f32 score.
    let Some(last) = entries.last().filter(|last| last.column != NONE) else { return true };
    found.last().is_some_and(|kth| kth.cosine > f64::from(last.score) + bound)
}

/// The features with rows of `4 * quads` numbers, filled up with zeros.
fn padded(features: Features<'_>, quads: u32) -> Cow<'_, [f32]> {
    let width = 4 * quads as usize;
    if width == features.dim {
        return Cow::Borrowed(features.values);
    }
    let mut padded = vec![0.0; features.rows() * width];
    for (row, padded) in padded.chunks_exact_mut(width).enumerate() {
        padded[..features.dim].copy_from_slice(features.row(row));
    }
    Cow::Owned(padded)
}

/// A handle to the buffer in `slot`, which is created again if it is too small.
fn fit(device: &wgpu::Device, slot: &mut Option<wgpu::Buffer>, bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
    if slot.as_ref().is_some_and(|buffer| buffer.size() < bytes) {
        *slot = None;
    }
    slot.get_or_insert_with(|| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("pair search"),
            size: bytes,
            usage,
            mapped_at_creation: false,
        })
    })
    .clone()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A device, or none with a line that says so.
    pub(crate) fn any() -> Option<Gpu> {
        match Gpu::open(Adapter::Any) {
            Ok(gpu) => Some(gpu),
            Err(error @ Error::NoAdapter { .. }) => {
                // CI has one, so that there a skip is a fault.
                assert!(std::env::var_os("PIPELINE_EXPECT_VULKAN").is_none(), "{error}");
                println!("skipped: no Vulkan adapter ({error})");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    impl Gpu {
        /// Loses the device, as a driver's reset does.
        pub(crate) fn lose(&self) {
            self.device.destroy();
        }
    }

    /// `rows` unit vectors at steps of `angle` on a circle.
    fn circle(rows: usize, angle: f32) -> Vec<f32> {
        (0..rows)
            .flat_map(|row| {
                let (sin, cos) = (row as f32 * angle).sin_cos();
                [cos, sin]
            })
            .collect()
    }

    #[test]
    fn only_rows_that_rounding_blurs_are_unproven() {
        let Some(mut gpu) = any() else { return };
        let groups: Vec<u32> = (0..200).collect();
        // Each row's neighbours grow apart faster than f32 rounds.
        let apart = circle(200, 0.03);
        let features = Features::new(&apart, 2, &groups).unwrap();
        assert_eq!(gpu.search(features, 4).unwrap().unproven, [] as [u32; 0]);
        // All within a rounding error of each other.
        let together = circle(200, 1e-6);
        let features = Features::new(&together, 2, &groups).unwrap();
        assert_eq!(gpu.search(features, 4).unwrap().unproven, groups);
        // A list that isn't full leaves nobody out.
        let few = &together[..10];
        let features = Features::new(few, 2, &groups[..5]).unwrap();
        assert_eq!(gpu.search(features, 4).unwrap().unproven, [] as [u32; 0]);
    }

    #[test]
    fn a_lost_device_is_an_error() {
        let Some(mut gpu) = any() else { return };
        let features = circle(100, 0.1);
        let groups: Vec<u32> = (0..100).collect();
        let features = Features::new(&features, 2, &groups).unwrap();
        gpu.search(features, 1).unwrap();
        gpu.lose();
        for _ in 0..2 {
            let error = gpu.search(features, 1).err().unwrap();
            assert!(matches!(error, Error::Lost { .. }), "{error}");
        }
    }

    #[test]
    fn a_device_lost_in_the_middle_of_a_search_is_an_error_and_no_hang() {
        let Some(mut gpu) = any() else { return };
        let values = circle(3000, 0.01);
        let groups: Vec<u32> = (0..3000).collect();
        for (after, rows) in [(0, 3000), (1, 3000), (5, 3000), (20, 300)] {
            let features = Features::new(&values[..2 * rows], 2, &groups[..rows]).unwrap();
            gpu.search(features, 1).unwrap();
            let device = gpu.device.clone();
            let loser = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(after));
                device.destroy();
            });
            let began = std::time::Instant::now();
            let error = loop {
                if let Err(error) = gpu.search(features, 1) {
                    break error;
                }
                assert!(began.elapsed().as_secs() < 60, "the search never failed");
            };
            assert!(matches!(error, Error::Lost { .. }), "{error}");
            loser.join().unwrap();
            gpu = any().unwrap();
        }
    }

    #[test]
    fn what_the_device_refuses_is_an_error_and_the_next_search_works() {
        let Some(mut gpu) = any() else { return };
        let features = circle(100, 0.1);
        let groups: Vec<u32> = (0..100).collect();
        let features = Features::new(&features, 2, &groups).unwrap();
        // A buffer of the wrong sort, as if its creation had failed.
        gpu.buffers.lists = Some(gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1 << 20,
            usage: BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }));
        let error = gpu.search(features, 1).err().unwrap();
        assert!(matches!(error, Error::Device { .. }), "{error}");
        gpu.search(features, 1).unwrap();
    }
}
