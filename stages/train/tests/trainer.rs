//! Steps of a tiny tower.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use clip::{Layout, Mapper, Params, TextTower};
use common::{DIM, TNG, TWINS, batch, tiny};
use items::Role;
use pipeline_engine::rng::Draw;
use stage_train::loss::contrast::Contrast;
use stage_train::loss::primitives::normalised;
use stage_train::loss::tng::{self, Tng};
use stage_train::loss::{Loss, total};
use stage_train::optimizer::{AdamW, Gradient, Settings};
use stage_train::trainer::{NoStep, Trainer};

const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };
const CONTRAST: Contrast = Contrast {
    temperature: 0.1,
    twin_temperature: 0.1,
    caption: 1.0,
    twin: 1.0,
    keep: 0.5,
    turn: 0.5,
    hard_negatives: true,
    across: true,
    image_noise: 0.0,
};
const NOISE_FREE: Tng = Tng { noise: 0.0, temperature: 0.07 };

fn tower() -> TextTower {
    let (config, tensors) = tiny();
    TextTower::from_tensors(&config.text.unwrap(), &tensors, &Device::flex()).unwrap()
}

/// Each loss, with its texts.
fn losses(noise: f64) -> [(Arc<dyn Loss>, &'static [Role]); 2] {
    [(Arc::new(Tng { noise, temperature: 0.07 }), &TNG[..]), (Arc::new(CONTRAST), &TWINS[..])]
}

fn draw(step: u64) -> Draw {
    Draw::new(5, "test").number(step)
}

/// The gradients of all parameters, the whole token embedding's too.
struct Dense(Gradients, BTreeMap<String, Gradient>);

impl Mapper for Dense {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
        let values = tensor.grad(&self.0).unwrap().into_data().try_into_vec().unwrap();
        self.1.insert(name.to_owned(), Gradient::Dense(values));
        tensor
    }
}

#[test]
fn a_step_equals_one_with_the_whole_token_embedding() {
    let mut tower = tower();
    let mut trainer = Trainer::new(&tower, Arc::new(NOISE_FREE), SETTINGS, Layout::Padded);
    let mut plain = AdamW::new(SETTINGS, tower.tensors());
    for step in 0..3 {
        let tokens = batch(6, &TNG, 1, step, draw(step));
        trainer.step(&tokens, 1e-3, draw(step)).unwrap();

        let leaves = tower.trainable();
        let lens: Vec<usize> = tokens.lens.iter().map(|&len| len as usize).collect();
        let texts = leaves.forward(&tokens.ids, &lens, Layout::Padded).unwrap();
        let features = TensorData::new(tokens.batch.features.to_vec(), [6, DIM]);
        let images = Tensor::from_data(features, &Device::flex());
        let targets = tng::targets(6, 0.0, &mut draw(step).rng());
        let terms = NOISE_FREE.both_ways(normalised(texts), images, &targets);
        let gradients = total(&terms).unwrap().backward();
        let mut dense = Dense(gradients, BTreeMap::new());
        leaves.mapped(&mut dense);
        plain.step(1e-3, &dense.1).unwrap();
        let weights = plain.parameters().iter();
        let weights = weights.map(|(name, p)| (name.clone(), (p.shape.clone(), p.values.clone()))).collect();
        tower.set_tensors(&weights).unwrap();

        let snapshot = trainer.snapshot().tensors();
        for (name, parameter) in plain.parameters() {
            let found = &trainer.optimizer().parameters()[name];
            assert_eq!(found.values, snapshot[name].1, "{name} is on the device as on the host");
            let off = found.values.iter().zip(&parameter.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= 1e-7, "{name} is off by {off} in step {step}");
        }
    }
}

#[test]
fn steps_are_the_same_each_time() {
    for (loss, roles) in losses(0.5) {
        let run = || {
            let mut trainer = Trainer::new(&tower(), loss.clone(), SETTINGS, Layout::Padded);
            let steps = (0..3).map(|step| {
                let tokens = batch(9, roles, 1, step, draw(step));
                trainer.step(&tokens, 1e-3, draw(step)).unwrap().losses
            });
            let losses: Vec<_> = steps.collect();
            (losses, trainer.snapshot().tensors())
        };
        let (first, second) = (run(), run());
        assert_eq!(first.0, second.0);
        assert_eq!(first.1, second.1);
        assert_ne!(first.1, tower().tensors());
    }
}

/// Weights after three steps, which hold every gradient of the first two.
#[test]
fn chunks_and_layouts_give_the_same_step() {
    for (loss, roles) in losses(0.5) {
        let run = |layout: Layout, chunk: usize| {
            // With plain gradients: AdamW makes signs of them, whatever their size.
            let settings = Settings { eps: 1.0, beta1: 0.0, weight_decay: 0.0, ..SETTINGS };
            let mut trainer = Trainer::new(&tower(), loss.clone(), settings, layout).in_chunks(chunk);
            let steps = (0..3).map(|step| {
                let tokens = batch(9, roles, 1, step, draw(step));
                trainer.step(&tokens, 0.1, draw(step)).unwrap()
            });
            let taken: Vec<(f64, f64)> = steps.map(|step| (step.losses[0].1, step.norm)).collect();
            (taken, trainer.snapshot().tensors())
        };
        let (taken, weights) = run(Layout::Padded, 0);
        for (layout, chunk) in
            [(Layout::Packed, 0), (Layout::Tree, 0), (Layout::Padded, 4), (Layout::Packed, 1), (Layout::Tree, 7)]
        {
            let (found, moved) = run(layout, chunk);
            for ((loss, norm), (expected, expected_norm)) in found.iter().zip(&taken) {
                assert!((loss - expected).abs() < 1e-5 * expected, "{layout:?}, {chunk}: loss {loss} {expected}");
                assert!((norm / expected_norm - 1.0).abs() < 1e-4, "{layout:?}, {chunk}: {norm} {expected_norm}");
            }
            for (name, (_, values)) in &weights {
                let off = values.iter().zip(&moved[name].1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 2e-6, "{layout:?}, {chunk}: {name} is off by {off}");
                assert_ne!(*values, tower().tensors()[name].1, "{name} has moved");
            }
        }
    }
}

#[test]
fn front_layers_move_and_the_rest_stays_bit_by_bit() {
    let start = tower();
    let trainer = || Trainer::new(&start, Arc::new(NOISE_FREE), SETTINGS, Layout::Packed);
    let mut front = trainer().front_layers(Some(1)).unwrap();
    for step in 0..3 {
        front.step(&batch(6, &TNG, 1, step, draw(step)), 1e-3, draw(step)).unwrap();
    }
    let (before, after) = (start.tensors(), front.snapshot().tensors());
    for (name, parameter) in front.optimizer().parameters() {
        let still = |moments: &[f32]| moments.iter().all(|value| *value == 0.0);
        let first = name.starts_with("text_model.encoder.layers.0.");
        assert_eq!(before[name].1 == after[name].1, !first, "{name}");
        assert_eq!(still(&parameter.exp_avg) && still(&parameter.exp_avg_sq), !first, "{name}");
    }
    let names = before.keys().filter(|name| name.starts_with("text_model.encoder.layers.0.")).count();
    assert!(names > 10 && names < before.len() / 2, "{names} of {}", before.len());

    // The gradient that is clipped is that of what is trained.
    let norm = |trainer: &mut Trainer| trainer.step(&batch(6, &TNG, 1, 0, draw(0)), 1e-3, draw(0)).unwrap().norm;
    assert!(norm(&mut trainer().front_layers(Some(1)).unwrap()) < norm(&mut trainer()));
    for asked in [0, 3] {
        let error = trainer().front_layers(Some(asked)).unwrap_err().to_string();
        assert!(error.contains(&format!("front_layers = {asked}")) && error.contains("2 blocks"), "{error}");
    }
}

#[test]
fn the_loss_falls() {
    for ((loss, roles), below) in losses(0.0).into_iter().zip([0.6, 0.3]) {
        let mut trainer = Trainer::new(&tower(), loss.clone(), SETTINGS, Layout::Padded);
        let tokens = batch(8, roles, 1, 0, draw(0));
        let mut values = Vec::new();
        for step in 0..60 {
            values.push(trainer.step(&tokens, 3e-3, draw(step)).unwrap().losses[0].1);
        }
        println!("{loss:?}: {:.3} to {:.3}", values[0], values[59]);
        assert!(values[59] < below * values[0], "{values:?}");
    }
}

#[test]
fn the_term_keep_is_zero_at_the_start_and_holds() {
    let last = |keep: f64| {
        let loss = Arc::new(Contrast { keep, ..CONTRAST });
        let mut trainer = Trainer::new(&tower(), loss, SETTINGS, Layout::Padded);
        let mut moved = Vec::new();
        for step in 0..20 {
            let tokens = batch(8, &TWINS, 1, step % 4, draw(step % 4));
            let losses = trainer.step(&tokens, 1e-3, draw(step)).unwrap().losses;
            moved.push(losses.iter().find(|(name, _)| *name == "keep").unwrap().1);
        }
        assert!(moved[0].abs() < 1e-6, "{moved:?}");
        moved[19]
    };
    let (loose, tight) = (last(1e-3), last(100.0));
    assert!(tight < 0.5 * loose, "{tight} {loose}");
}

#[test]
fn what_cannot_be_trained_on_changes_nothing() {
    let mut trainer = Trainer::new(&tower(), Arc::new(NOISE_FREE), SETTINGS, Layout::Padded);
    let before = trainer.snapshot().tensors();

    let mut tokens = batch(4, &TNG, 1, 0, draw(0));
    tokens.batch.features = vec![f32::NAN; 4 * DIM].into();
    assert!(
        matches!(trainer.step(&tokens, 1e-3, draw(0)), Err(NoStep::NotFinite("the loss", value)) if value.is_nan())
    );

    let failed = |result: Result<_, NoStep>| match result {
        Err(NoStep::Failed(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let message = failed(trainer.step(&batch(4, &TWINS, 1, 0, draw(0)), 1e-3, draw(0)));
    assert!(message.contains("writer = \"tng\""), "{message}");

    let mut tokens = batch(4, &TNG, 1, 0, draw(0));
    tokens.batch.dim = DIM + 1;
    let message = failed(trainer.step(&tokens, 1e-3, draw(0)));
    assert!(message.contains("13 dimensions, but the text tower projects to 12"), "{message}");

    let mut tokens = batch(4, &TNG, 1, 0, draw(0));
    tokens.ids[1] = 60_000;
    let message = failed(trainer.step(&tokens, 1e-3, draw(0)));
    assert!(message.contains("60000"), "{message}");

    assert_eq!(trainer.snapshot().tensors(), before);
    assert_eq!(trainer.optimizer().steps(), 0);
}

#[test]
fn steps_in_half_precision_are_near_those_in_single() {
    let found = clip::device::pick("wgpu").and_then(|gpu| clip::device::half(&gpu).map(|()| gpu.device));
    let gpu = match found {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let (config, tensors) = tiny();
    let tower = TextTower::from_tensors(&config.text.unwrap(), &tensors, &gpu).unwrap();
    for (loss, roles) in losses(0.0) {
        let run = |half: bool, chunk: usize| {
            let trainer = Trainer::new(&tower, loss.clone(), SETTINGS, Layout::Tree);
            let mut trainer = trainer.in_half(half).in_chunks(chunk);
            let steps = (0..3).map(|step| {
                let tokens = batch(9, roles, 1, step, draw(step));
                trainer.step(&tokens, 1e-3, draw(step)).unwrap()
            });
            steps.map(|step| (step.losses[0].1, step.norm)).collect::<Vec<_>>()
        };
        let whole = run(false, 0);
        for half in [run(true, 0), run(true, 7)] {
            assert_ne!(half, whole);
            for ((loss, norm), (expected, expected_norm)) in half.iter().zip(&whole) {
                assert!((loss / expected - 1.0).abs() < 5e-3, "loss {loss} {expected}");
                assert!((norm / expected_norm - 1.0).abs() < 2e-2, "norm {norm} {expected_norm}");
            }
        }
    }
}
