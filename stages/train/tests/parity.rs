//! Losses against PyTorch's numbers, loss and gradient.
#![allow(clippy::unwrap_used)]

#[path = "../../../crates/clip/tests/common/formula.rs"]
mod formula;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use items::Role;
use pipeline_engine::rng::Draw;
use safetensors::{Dtype, SafeTensors};
use stage_train::loss::primitives::normalised;
use stage_train::loss::tng::Tng;
use stage_train::loss::{Images, Loss, RoleTexts, StepView, Term, total};

const TNG: Tng = Tng { noise: 1.0, temperature: 0.07 };
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden/loss");

fn numbers(tensors: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let view = tensors.tensor(name).unwrap();
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => data.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
        Dtype::F64 => data.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::I64 => data.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

fn value(term: &Term) -> f64 {
    f64::from(term.value.clone().into_scalar::<f32>())
}

#[test]
fn tng_matches_pytorch() {
    if !Path::new(GOLDEN).exists() {
        println!("skipped: {GOLDEN} does not exist");
        return;
    }
    for (count, width) in [(1, 8), (4, 16), (8, 64), (128, 512)] {
        let file = |part: &str| std::fs::read(format!("{GOLDEN}/b{count}_d{width}.{part}.safetensors")).unwrap();
        let input = file("in");
        let input = SafeTensors::deserialize(&input).unwrap();
        let matrix = |name: &str| {
            let values: Vec<f32> = numbers(&input, name).iter().map(|&v| v as f32).collect();
            let rows = values.len() / width;
            Tensor::<2>::from_data(TensorData::new(values, [rows, width]), &Device::flex())
        };
        let labels: Vec<u32> = numbers(&input, "labels_text").iter().map(|&l| l as u32).collect();
        let texts = matrix("text_features").autodiff().require_grad();
        let terms = TNG.both_ways(normalised(texts.clone()), matrix("image_features"), &labels);
        let term = |name: &str| value(terms.iter().find(|term| term.name == name).unwrap());
        let (text_to_image, image_to_text) = (term("text_to_image"), term("image_to_text"));
        let total = total(&terms).unwrap();
        let gradients = total.backward();
        let total = f64::from(total.into_scalar::<f32>());
        let gradient: Vec<f32> = texts.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();

        let golden = file("out.f64");
        let golden = SafeTensors::deserialize(&golden).unwrap();
        let relative = |found: f64, name: &str| {
            let expected = numbers(&golden, name)[0];
            // With one image, the direction with one choice costs nothing.
            (found - expected).abs() / expected.abs().max(1e-6)
        };
        let off_loss = relative(total, "loss");
        let off_image = relative(image_to_text, "loss_img");
        let off_text = relative(text_to_image, "loss_txt");
        let off_gradient = gradient
            .iter()
            .zip(numbers(&golden, "grad_text_features"))
            .map(|(&found, expected)| (f64::from(found) - expected).abs())
            .fold(0.0, f64::max);
        println!(
            "B = {count}, D = {width}: loss {total:.6}, off by {off_loss:.1e} (image to text {off_image:.1e}, \
             text to image {off_text:.1e}), gradient by {off_gradient:.1e} at most"
        );
        assert!(off_loss < 1e-5 && off_image < 1e-5 && off_text < 1e-5);
        assert!(off_gradient < 1e-5);
    }
}

/// Inputs by formula, outputs by `tools/parity/goldens.py`.
#[test]
fn tng_matches_pytorch_on_our_own_goldens() {
    let golden = include_bytes!("data/tng.safetensors");
    let golden = SafeTensors::deserialize(golden).unwrap();
    for (count, width) in [(1, 8), (4, 16), (8, 64), (128, 32)] {
        let case = format!("b{count}_d{width}");
        let matrix = |name: &str, rows: usize, scale: f32| {
            let values = formula::unit(&format!("{case}.{name}"), rows * width, scale);
            Tensor::<2>::from_data(TensorData::new(values, [rows, width]), &Device::flex())
        };
        let labels: Vec<u32> =
            formula::bits(&format!("{case}.labels"), count).map(|bits| bits % (3 * count as u32)).collect();
        let texts = matrix("text_features", 3 * count, 1.0).autodiff().require_grad();
        let terms = TNG.both_ways(normalised(texts.clone()), matrix("image_features", count, 0.25), &labels);
        let mut found: Vec<f64> = terms.iter().map(value).collect();
        let total = total(&terms).unwrap();
        let gradients = total.backward();
        found.insert(0, f64::from(total.into_scalar::<f32>()));
        let expected = numbers(&golden, &format!("{case}.loss"));
        // With one image, the direction with one choice costs nothing.
        let off = |(found, expected): (&f64, &f64)| (found - expected).abs() / expected.abs().max(1e-6);
        let off_loss = found.iter().zip(&expected).map(off).fold(0.0, f64::max);
        let gradient: Vec<f32> = texts.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        let expected = numbers(&golden, &format!("{case}.gradient"));
        assert_eq!(gradient.len(), expected.len());
        let off_gradient = gradient
            .iter()
            .zip(&expected)
            .map(|(found, expected)| (f64::from(*found) - expected).abs())
            .fold(0.0, f64::max);
        println!("B = {count}, D = {width}: loss off by {off_loss:.1e}, gradient by {off_gradient:.1e} at most");
        assert!(off_loss < 1e-5 && off_gradient < 1e-5);
    }
}

/// Six images, of which two are one, with some texts missing; as `methods` of `tools/parity/goldens.py`.
#[test]
fn published_losses_match_pytorch() {
    use stage_train::loss::texts::{FalseText, TrueText};
    use stage_train::loss::{
        clip::Clip, conclip::ConClip, cyclip::CyClip, negbench::NegBench, negclip::NegClip, omni::Omni,
    };

    const COUNT: usize = 6;
    const WIDTH: usize = 16;
    let golden = SafeTensors::deserialize(include_bytes!("data/methods.safetensors")).unwrap();
    let images: Vec<f32> = formula::unit("methods.images", COUNT * WIDTH, 1.0);
    let images: Vec<f32> = images
        .chunks(WIDTH)
        .flat_map(|row| {
            let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            row.iter().map(move |&x| (f64::from(x) / length) as f32)
        })
        .collect();
    let features = formula::unit("methods.texts", COUNT * 6 * WIDTH, 1.0);
    let missing = [(2, 1), (2, 2), (4, 2), (4, 5), (1, 3)];
    let there: Vec<bool> = (0..COUNT * 6).map(|n| !missing.contains(&(n / 6, n % 6))).collect();
    let (text, wrong, temperature) = (TrueText::Caption, FalseText::Twin, 0.07);
    let losses: [(&str, &dyn Loss); 7] = [
        ("clip", &Clip { text, temperature, image_noise: 0.0 }),
        ("negationclip", &Clip { text: TrueText::Negated, temperature, image_noise: 0.0 }),
        ("negclip", &NegClip { text, wrong, temperature, image_noise: 0.0 }),
        ("conclip", &ConClip { text, wrong, temperature }),
        ("omni", &Omni { wrong, absent: TrueText::Negated, margin: 0.9, apart: 1.0, temperature }),
        ("cyclip", &CyClip { text, in_modal: 0.25, cross_modal: 0.25, temperature }),
        ("negbench", &NegBench { text, clip: 0.99, choice: 0.5, temperature }),
    ];
    let roles = [Role::Original, Role::False(0), Role::False(1), Role::Negated(0), Role::True(0), Role::Paraphrase(0)];
    for (name, loss) in losses {
        let shape = [COUNT * roles.len(), WIDTH];
        let leaf = Tensor::<2>::from_data(TensorData::new(features.clone(), shape), &Device::flex());
        let leaf = leaf.autodiff().require_grad();
        let texts = RoleTexts::new(roles.to_vec(), leaf.clone()).with_gaps(there.clone());
        let device = Device::flex();
        let step =
            StepView::new(texts, Images::new(&images, WIDTH, &device), &[0, 1, 2, 0, 4, 5], Draw::new(1, "test"));
        let total = total(&loss.terms(&step).unwrap()).unwrap();
        let gradients = total.backward();
        let expected = numbers(&golden, &format!("{name}.loss"))[0];
        let off_loss = (f64::from(total.into_scalar::<f32>()) / expected - 1.0).abs();
        let gradient: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        let expected = numbers(&golden, &format!("{name}.gradient"));
        let off = gradient.iter().zip(&expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
        let off_gradient = off.fold(0.0, f64::max);
        println!("{name}: loss off by {off_loss:.1e}, gradient by {off_gradient:.1e} at most");
        assert!(off_loss < 1e-5 && off_gradient < 1e-5 && gradient.len() == expected.len(), "{name}");
    }
}
