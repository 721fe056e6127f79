//! Choosing where to compute, at run time.

use std::sync::OnceLock;

use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{DType, Device, DeviceKind};

use crate::Error;

/// A device that is ready to compute.
#[derive(Debug, Clone)]
pub struct Picked {
    /// The device, for burn.
    pub device: Device,
    /// What the device is.
    pub place: Place,
    /// A description for people: logs, reports, the model card.
    pub description: String,
}

/// What a name of `run.device` stands for on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The CPU, through burn's flex backend.
    Cpu,
    /// An adapter of the graphics API, hardware or software.
    Wgpu {
        /// Its name, as the driver gives it.
        adapter: String,
        /// `Vulkan`, `Metal` or `Dx12`.
        api: &'static str,
    },
    /// A CUDA device.
    Cuda {
        /// Its name.
        name: String,
    },
}

impl Place {
    /// Returns the same text for all devices that compute the same bits. It is part of the key of cached
    /// features: do not change its form.
    pub fn key(&self) -> String {
        match self {
            Self::Cpu => "cpu".to_owned(),
            Self::Wgpu { adapter, api } => format!("wgpu ({adapter}, {api})"),
            Self::Cuda { name } => format!("cuda ({name})"),
        }
    }
}

/// The device for a name of `run.device`.
///
/// - `auto`: a real GPU if there is one, else the CPU. A software adapter does not count.
/// - `cpu`: burn's flex backend.
/// - `wgpu`: the best adapter of Vulkan, Metal or DirectX 12, even if it is a software adapter.
/// - `cuda`: only when built with the feature `cuda`.
///
/// # Errors
/// As [`place`], and if an adapter cannot be opened.
pub fn pick(name: &str) -> Result<Picked, Error> {
    let place = place(name)?;
    let description = match place {
        Place::Cpu => {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            format!("cpu (flex, {threads} threads)")
        }
        _ => place.key(),
    };
    let device = match place {
        Place::Cpu => Device::flex(),
        Place::Wgpu { .. } => open_adapter().map_err(|message| Error::Device { name: name.to_owned(), message })?,
        Place::Cuda { .. } => cuda(name)?.0,
    };
    Ok(Picked { device, place, description })
}

/// What [`pick`] would open. Looks for adapters, but opens none.
///
/// # Errors
/// [`Error::Device`] for an unknown name, a machine without an adapter, or a build without CUDA.
pub fn place(name: &str) -> Result<Place, Error> {
    match name {
        "auto" => Ok(adapter().filter(|gpu| !gpu.software).map_or(Place::Cpu, Adapter::place)),
        "cpu" => Ok(Place::Cpu),
        "wgpu" => match adapter() {
            Some(adapter) => Ok(adapter.place()),
            None => fail(name, "no graphics adapter was found; install a Vulkan driver, or use \"cpu\""),
        },
        "cuda" => Ok(cuda(name)?.1),
        _ => fail(name, "use \"auto\", \"cpu\", \"wgpu\" or \"cuda\""),
    }
}

/// Checks that a device from [`pick`] can multiply matrices in f16.
///
/// # Errors
/// [`Error::Device`] for the CPU, whose kernels take f32 only, and for an adapter without f16; it says what to do.
pub fn half(picked: &Picked) -> Result<(), Error> {
    half_at(&picked.place, &picked.description)?;
    if !picked.device.supports_dtype(DType::F16) {
        return fail(&picked.description, "this adapter does not compute in f16; set precision = \"f32\"");
    }
    Ok(())
}

/// The part of [`half`] that is known before the device is opened; `name` is for the message.
///
/// # Errors
/// [`Error::Device`] for the CPU.
pub fn half_at(place: &Place, name: &str) -> Result<(), Error> {
    match place {
        Place::Cpu => {
            fail(name, "its kernels compute in f32; set precision = \"f32\", or choose a GPU with run.device")
        }
        Place::Wgpu { .. } | Place::Cuda { .. } => Ok(()),
    }
}

fn fail<T>(name: &str, message: &str) -> Result<T, Error> {
    Err(Error::Device { name: name.to_owned(), message: message.to_owned() })
}

#[cfg(feature = "cuda")]
fn cuda(name: &str) -> Result<(Device, Place), Error> {
    let Some(device) = Device::enumerate(burn::tensor::DeviceType::Cuda).into_iter().next() else {
        return fail(name, "no CUDA device was found; install the NVIDIA driver, or use \"cpu\"");
    };
    let name = device.identity().map_or_else(|| "CUDA device 0".to_owned(), |id| id.name);
    Ok((device, Place::Cuda { name }))
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str) -> Result<(Device, Place), Error> {
    fail(name, "this build has no CUDA; build with `--features cuda`, or use \"wgpu\"")
}

#[derive(Debug)]
struct Adapter {
    name: String,
    api: WgpuBackend,
    api_name: &'static str,
    kind: DeviceKind,
    software: bool,
}

/// The best adapter of this machine. Looked for once: instances of the graphics API are not cheap,
/// and some drivers crash when instances are created again.
///
/// OpenGL is not tried: a GPU that no other API reaches is rare.
fn adapter() -> Option<&'static Adapter> {
    static FOUND: OnceLock<Option<Adapter>> = OnceLock::new();
    FOUND.get_or_init(best_adapter).as_ref()
}

fn best_adapter() -> Option<Adapter> {
    let apis = [
        (wgpu::Backends::VULKAN, WgpuBackend::Vulkan, "Vulkan"),
        (wgpu::Backends::METAL, WgpuBackend::Metal, "Metal"),
        (wgpu::Backends::DX12, WgpuBackend::Dx12, "Dx12"),
    ];
    let mut found = Vec::new();
    for (backends, api, api_name) in apis {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        // burn addresses an adapter by its number among those of its kind.
        let mut next = [0; 3];
        for adapter in pollster::block_on(instance.enumerate_adapters(backends)) {
            let info = adapter.get_info();
            let mut number = |kind: usize| {
                next[kind] += 1;
                next[kind] - 1
            };
            let (rank, kind) = match info.device_type {
                wgpu::DeviceType::DiscreteGpu => (0, DeviceKind::DiscreteGpu(number(0))),
                wgpu::DeviceType::IntegratedGpu => (1, DeviceKind::IntegratedGpu(number(1))),
                wgpu::DeviceType::VirtualGpu => (2, DeviceKind::VirtualGpu(number(2))),
                wgpu::DeviceType::Cpu => (3, DeviceKind::Cpu),
                // burn cannot address an adapter of unknown type.
                wgpu::DeviceType::Other => continue,
            };
            found.push((rank, Adapter { name: info.name, api, api_name, kind, software: rank == 3 }));
        }
    }
    // The sort is stable: among equals the first adapter wins.
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().next().map(|(_, adapter)| adapter)
}

impl Adapter {
    fn place(&self) -> Place {
        Place::Wgpu { adapter: self.name.clone(), api: self.api_name }
    }
}

/// Opens the best adapter for burn. A second call returns the same device, because a runtime can be
/// set up only once.
fn open_adapter() -> Result<Device, String> {
    static OPENED: OnceLock<Result<Device, String>> = OnceLock::new();
    let open = || {
        let adapter = adapter().ok_or("the adapter has disappeared")?;
        let options = Device::wgpu_options().device_kind(adapter.kind.clone());
        options.graphics_api(adapter.api).init().map_err(|error| error.to_string())
    };
    OPENED.get_or_init(open).clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cpu_is_always_there() {
        let picked = pick("cpu").unwrap();
        assert_eq!((&picked.device, &picked.place), (&Device::flex(), &Place::Cpu));
        assert!(picked.description.starts_with("cpu (flex, "), "{}", picked.description);
    }

    #[test]
    fn keys_of_cached_features_stay() {
        assert_eq!(Place::Cpu.key(), "cpu");
        assert_eq!(Place::Wgpu { adapter: "llvmpipe".into(), api: "Vulkan" }.key(), "wgpu (llvmpipe, Vulkan)");
        assert_eq!(Place::Cuda { name: "H100".into() }.key(), "cuda (H100)");
    }

    #[test]
    fn auto_takes_a_gpu_but_no_software_adapter() {
        let picked = pick("auto").unwrap();
        println!("auto is {}", picked.description);
        let gpu = adapter().is_some_and(|adapter| !adapter.software);
        assert_eq!(picked.device == Device::flex(), !gpu, "{}", picked.description);
    }

    #[test]
    fn wgpu_is_opened_once_or_says_what_to_do() {
        match (pick("wgpu"), pick("wgpu")) {
            (Ok(one), Ok(two)) => {
                println!("{}", one.description);
                assert_eq!(one.device, two.device);
            }
            (one, _) => {
                let message = one.unwrap_err().to_string();
                assert!(message.contains("Vulkan driver"), "{message}");
            }
        }
    }

    #[test]
    fn unknown_names_list_the_known() {
        let message = pick("tpu").unwrap_err().to_string();
        assert!(message.contains("\"tpu\"") && message.contains("\"wgpu\""), "{message}");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_says_how_to_build() {
        let message = pick("cuda").unwrap_err().to_string();
        assert!(message.contains("--features cuda"), "{message}");
    }
}
