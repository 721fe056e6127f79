//! Finding an adapter and opening it.

use std::sync::Arc;

use parking_lot::Mutex;
use wgpu::{Backends, DeviceType};

use crate::{Adapter, Error};

/// Finds the best adapter of the wanted kind: discrete before integrated before virtual before
/// software, then in the driver's order.
///
/// # Errors
/// [`Error::NoAdapter`].
pub(crate) fn find(wanted: Adapter) -> Result<wgpu::Adapter, Error> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: Backends::PRIMARY.with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapters = pollster::block_on(instance.enumerate_adapters(Backends::all()));
    let mut seen: Vec<String> = Vec::new();
    let mut best: Option<(u32, wgpu::Adapter)> = None;
    for adapter in adapters {
        let info = adapter.get_info();
        seen.push(describe(&info));
        if wanted == Adapter::Hardware && info.device_type == DeviceType::Cpu {
            continue;
        }
        let preference = match info.device_type {
            DeviceType::DiscreteGpu => 0,
            DeviceType::IntegratedGpu => 1,
            DeviceType::VirtualGpu => 2,
            DeviceType::Other => 3,
            DeviceType::Cpu => 4,
        };
        if best.as_ref().is_none_or(|(held, _)| preference < *held) {
            best = Some((preference, adapter));
        }
    }
    let seen = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
    best.map(|(_, adapter)| adapter).ok_or(Error::NoAdapter { wanted, seen })
}

/// An open device.
pub(super) struct Opened {
    pub name: String,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// Why the device was lost, once it is.
    pub lost: Arc<Mutex<Option<String>>>,
}

pub(super) fn open(adapter: &wgpu::Adapter) -> Result<Opened, Error> {
    let name = describe(&adapter.get_info());
    let offered = adapter.limits();
    // WebGPU's defaults are enough for the shader; larger buffers are used only
    // where the adapter has them.
    let limits = wgpu::Limits {
        max_buffer_size: offered.max_buffer_size,
        max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
        ..wgpu::Limits::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("pair search"),
        required_limits: limits,
        ..Default::default()
    }))
    .map_err(|error| Error::Device { device: name.clone(), message: format!("can't be opened: {error}") })?;
    let lost = Arc::new(Mutex::new(None));
    device.set_device_lost_callback({
        let lost = Arc::clone(&lost);
        move |reason, message| {
            *lost.lock() = Some(format!("{reason:?}: {message}"));
        }
    });
    // Without a handler wgpu panics. Errors that matter come through the error
    // scopes of the call that caused them.
    device.on_uncaptured_error(Arc::new(|error: wgpu::Error| {
        tracing::warn!("pair search: {error}");
    }));
    Ok(Opened { name, device, queue, lost })
}

fn describe(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({}, {:?})", info.name, info.backend, info.device_type)
}
