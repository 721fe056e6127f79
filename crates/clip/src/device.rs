//! Choosing where to compute, at run time.

use std::sync::OnceLock;

use burn::tensor::wgpu::{WgpuBackend, wgpu};
use burn::tensor::{DType, Device, DeviceKind};

use crate::Error;

/// The device for a name of `run.device`, and words for the report.
///
/// - `auto`: a real GPU if there is one, else the CPU. A software adapter does not count.
/// - `cpu`: burn's flex backend.
/// - `wgpu`: the best adapter of Vulkan, Metal or DirectX 12, be it a software one.
/// - `cuda`: only when built with the feature `cuda`.
///
/// # Errors
/// [`Error::Device`] for an unknown name, a machine without an adapter, an adapter that cannot be
/// opened, a build without CUDA.
pub fn pick(name: &str) -> Result<(Device, String), Error> {
    let fail = |message: &str| Error::Device { name: name.to_owned(), message: message.to_owned() };
    match name {
        "auto" => match adapter() {
            Some(gpu) if !gpu.software => gpu.open().map_err(|message| fail(&message)),
            _ => Ok(cpu()),
        },
        "cpu" => Ok(cpu()),
        "wgpu" => match adapter() {
            Some(adapter) => adapter.open().map_err(|message| fail(&message)),
            None => Err(fail("no graphics adapter was found; install a Vulkan driver, or use \"cpu\"")),
        },
        #[cfg(feature = "cuda")]
        "cuda" => {
            let found = Device::enumerate(burn::tensor::DeviceType::Cuda).into_iter().next();
            let device = found.ok_or_else(|| fail("no CUDA device was found; is the NVIDIA driver installed?"))?;
            let name = device.identity().map_or_else(|| "CUDA device 0".to_owned(), |id| id.name);
            Ok((device, format!("cuda ({name})")))
        }
        #[cfg(not(feature = "cuda"))]
        "cuda" => Err(fail("this build has no CUDA; build with `--features cuda`, or use \"wgpu\"")),
        _ => Err(fail("known are \"auto\", \"cpu\", \"wgpu\" and \"cuda\"")),
    }
}

/// Whether products of matrices can be computed in f16 on a device that [`pick`] named in `words`.
///
/// # Errors
/// [`Error::Device`], with what to do: the CPU, whose kernels take f32 alone, or an adapter without f16.
pub fn half(device: &Device, words: &str) -> Result<(), Error> {
    let fail = |message: &str| Err(Error::Device { name: words.to_owned(), message: message.to_owned() });
    if *device == Device::flex() {
        return fail("its kernels compute in f32; set precision = \"f32\", or choose a GPU with run.device");
    }
    if !device.supports_dtype(DType::F16) {
        return fail("this adapter does not compute in f16; set precision = \"f32\"");
    }
    Ok(())
}

fn cpu() -> (Device, String) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    (Device::flex(), format!("cpu (flex, {threads} threads)"))
}

#[derive(Debug)]
struct Adapter {
    name: String,
    api: WgpuBackend,
    kind: DeviceKind,
    software: bool,
}

/// The best adapter of this machine. Asked once: instances of the graphics API are not cheap,
/// and some drivers do not bear them coming and going.
///
/// OpenGL is left out: a GPU that nothing else reaches is rare.
fn adapter() -> Option<&'static Adapter> {
    static FOUND: OnceLock<Option<Adapter>> = OnceLock::new();
    FOUND.get_or_init(best_adapter).as_ref()
}

fn best_adapter() -> Option<Adapter> {
    let apis = [
        (wgpu::Backends::VULKAN, WgpuBackend::Vulkan),
        (wgpu::Backends::METAL, WgpuBackend::Metal),
        (wgpu::Backends::DX12, WgpuBackend::Dx12),
    ];
    let mut found = Vec::new();
    for (backends, api) in apis {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        // A kind is addressed by its number among its like.
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
                // Has no name of its own here; a driver that tells so little is not worth one.
                wgpu::DeviceType::Other => continue,
            };
            found.push((rank, Adapter { name: info.name, api, kind, software: rank == 3 }));
        }
    }
    // Stable: of equals, the first.
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().next().map(|(_, adapter)| adapter)
}

impl Adapter {
    /// Opens the adapter for burn. A second call returns the same device, because a runtime can be
    /// set up only once.
    fn open(&self) -> Result<(Device, String), String> {
        static OPENED: OnceLock<Result<Device, String>> = OnceLock::new();
        let open = || {
            let options = Device::wgpu_options().device_kind(self.kind.clone());
            options.graphics_api(self.api).init().map_err(|error| error.to_string())
        };
        let device = OPENED.get_or_init(open).clone()?;
        Ok((device, format!("wgpu ({}, {:?})", self.name, self.api)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cpu_is_always_there() {
        let (device, words) = pick("cpu").unwrap();
        assert_eq!(device, Device::flex());
        assert!(words.starts_with("cpu (flex, "), "{words}");
    }

    #[test]
    fn auto_takes_a_gpu_but_no_software_adapter() {
        let (device, words) = pick("auto").unwrap();
        println!("auto is {words}");
        let gpu = adapter().is_some_and(|adapter| !adapter.software);
        assert_eq!(device == Device::flex(), !gpu, "{words}");
    }

    #[test]
    fn wgpu_is_opened_once_or_says_what_to_do() {
        match (pick("wgpu"), pick("wgpu")) {
            (Ok((one, words)), Ok((two, _))) => {
                println!("{words}");
                assert_eq!(one, two);
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
