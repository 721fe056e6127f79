//! A GPU that is lost between two training steps, or in the middle of one.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, DeviceKind};
use clip::{Layout, TextTower};
use common::{TNG, batch, tiny};
use pipeline_engine::rng::Draw;
use stage_train::loss::tng::Tng;
use stage_train::optimizer::Settings;
use stage_train::trainer::{NoStep, Trainer};

const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };

/// A device of the software adapter, with the handle that can destroy it. Where there is no such
/// adapter: none, and a line that says so.
fn device() -> Option<(Device, WgpuSetup)> {
    let options = Device::wgpu_options().device_kind(DeviceKind::Cpu);
    match options.init_with_setup() {
        Ok(opened) => Some(opened),
        Err(error) => {
            assert!(std::env::var_os("PIPELINE_EXPECT_VULKAN").is_none(), "no software adapter: {error}");
            println!("skipped: no software adapter ({error})");
            None
        }
    }
}

#[test]
fn a_device_that_is_lost_is_an_error_and_neither_a_panic_nor_a_hang() {
    let Some((device, setup)) = device() else { return };
    let (sender, receiver) = mpsc::sync_channel(1);
    let steps = std::thread::spawn(move || {
        let (config, tensors) = tiny();
        let tower = TextTower::from_tensors(&config.text.unwrap(), &tensors, &device).unwrap();
        let loss = Arc::new(Tng { noise: 0.0, temperature: 0.07 });
        let mut trainer = Trainer::new(&tower, loss, SETTINGS, Layout::Packed);
        let draw = |step| Draw::new(5, "test").number(step);
        let mut step = |n| trainer.step(&batch(6, &TNG, 1, n, draw(n)), 1e-3, draw(n));
        step(0).map_err(|_| "the first step fails").unwrap();
        sender.send(()).unwrap();
        let began = Instant::now();
        // Lost some time from now on: this step fails, or one after it.
        for n in 1.. {
            match step(n) {
                Ok(_) => assert!(began.elapsed().as_secs() < 60, "steps are made on a device that is lost"),
                Err(NoStep::Failed(error)) => return (error.to_string(), step(n + 1).is_err()),
                Err(NoStep::NotFinite(what, value)) => return (format!("{what} is {value}"), true),
            }
        }
        unreachable!()
    });
    receiver.recv_timeout(Duration::from_secs(300)).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    setup.device.destroy();
    let began = Instant::now();
    while !steps.is_finished() {
        assert!(began.elapsed().as_secs() < 120, "the step hangs");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (message, again) = steps.join().expect("a lost device is an error, not a panic");
    println!("{message}");
    assert!(message.starts_with("the device failed: ") && message.contains("--resume"), "{message}");
    assert!(again, "the next step is an error too");
}
