#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use burn::tensor::activation::{gelu, sigmoid, softmax};
use burn::tensor::{Distribution, Gradients, Int, module};

use super::block::Layers;
use super::*;
use crate::config::Activation;

fn leaf<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Normal(0.0, 0.4), &device).require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Backward from a loss in which each element weighs differently.
fn backward(output: &Tensor<2>) -> Gradients {
    let [rows, width] = output.dims();
    let weights = Tensor::<1, Int>::arange(0..(rows * width) as i64, &output.device());
    let weights = weights.float().mul_scalar(0.7).sin().reshape([rows, width]);
    (output.clone() * weights).sum().backward()
}

fn close(ours: &[f32], theirs: &[f32], bound: f32) {
    assert_eq!(ours.len(), theirs.len());
    let differ = |(a, b): (&f32, &f32)| (a - b).abs() / (1.0 + b.abs());
    let all = ours.iter().zip(theirs).map(differ);
    assert!(all.clone().all(|d| d < bound), "{}", all.fold(0.0, f32::max));
    assert!(theirs.iter().any(|value| value.abs() > 1e-2));
}

#[test]
fn layer_norm_agrees_with_its_composition() {
    for width in [5, 48] {
        let (x, w, b) = (leaf([150, width]), leaf([width]), leaf([width]));
        let fused = layer_norm(x.clone(), w.clone(), b.clone(), 1e-5);
        let composed = module::layer_norm(x.clone(), w.clone(), Some(b.clone()), 1e-5);
        close(&values(fused.clone().inner()), &values(composed.clone().inner()), 1e-5);
        let [ours, theirs] = [fused, composed].map(|y| {
            let grads = backward(&y);
            let dx = values(x.grad(&grads).unwrap());
            [dx, values(w.grad(&grads).unwrap()), values(b.grad(&grads).unwrap())]
        });
        for (ours, theirs) in ours.iter().zip(&theirs) {
            close(ours, theirs, 2e-5);
        }
    }
}

#[test]
fn embedding_agrees_with_its_composition() {
    let (table, positions) = (leaf([11, 6]), leaf([4, 6]));
    let places: Arc<[(u32, u32)]> = [(3, 0), (10, 1), (3, 2), (0, 0), (3, 1)].into();
    let fused = embedding(table.clone(), positions.clone(), places.clone());
    let column = |f: fn(&(u32, u32)) -> u32| {
        let rows: Vec<i32> = places.iter().map(|place| f(place) as i32).collect();
        Tensor::<1, Int>::from_data(rows.as_slice(), &Device::flex())
    };
    let composed =
        table.clone().select(0, column(|place| place.0)) + positions.clone().select(0, column(|place| place.1));
    close(&values(fused.clone().inner()), &values(composed.clone().inner()), 1e-12);
    let [ours, theirs] = [fused, composed].map(|y| {
        let grads = backward(&y);
        [values(table.grad(&grads).unwrap()), values(positions.grad(&grads).unwrap())]
    });
    for (ours, theirs) in ours.iter().zip(&theirs) {
        close(ours, theirs, 1e-6);
    }
}

#[test]
fn frozen_inputs_get_no_gradient() {
    let x = leaf([3, 4]);
    let [w, b] = [leaf([4]), leaf([4])].map(|t| t.inner());
    let grads = backward(&layer_norm(x.clone(), w.clone(), b, 1e-5));
    assert!(x.grad(&grads).is_some() && w.grad(&grads).is_none());
}

/// A block written out sequence by sequence, over the rows of each span.
fn composed(x: &Tensor<2>, (norms, layers): &Layers, plan: &BlockPlan, spans: &[Span], heads: usize) -> Tensor<2> {
    let norm = |x: Tensor<2>, (w, b): &(Tensor<1>, Tensor<1>)| module::layer_norm(x, w.clone(), Some(b.clone()), 1e-5);
    let linear =
        |x: Tensor<2>, (w, b): &(Tensor<2>, Tensor<1>)| x.matmul(w.clone().transpose()) + b.clone().unsqueeze();
    let rows = |rows: Vec<i32>| Tensor::<1, Int>::from_data(rows.as_slice(), &Device::flex());
    let read = |x: Tensor<2>| match &plan.read {
        Some(read) => x.select(0, rows(read.iter().map(|row| *row as i32).collect())),
        None => x,
    };
    let [q, k, v, out, up, down] = layers;
    let normal = norm(x.clone(), &norms[0]);
    let (query, key, value) = (linear(read(normal.clone()), q), linear(normal.clone(), k), linear(normal, v));
    let width = x.dims()[1];
    let mut at = 0;
    let mut mixed = Vec::new();
    for span in spans {
        let keys: Vec<i32> = span.keys.iter().cloned().flatten().map(|row| row as i32).collect();
        let (n, m) = (span.queries, keys.len());
        let split = |x: Tensor<2>, rows: usize| x.reshape([rows, heads, width / heads]).swap_dims(0, 1);
        let query = split(query.clone().slice([at..at + n, 0..width]), n);
        let [key, value] = [&key, &value].map(|all| split(all.clone().select(0, rows(keys.clone())), m));
        let mask: Vec<f32> =
            (0..n * m).map(|i| if plan.attention.causal() && i % m > m - n + i / m { -1e30 } else { 0.0 }).collect();
        let mask = Tensor::<1>::from_data(mask.as_slice(), &Device::flex()).reshape([1, n, m]);
        let scores = query.matmul(key.transpose()).mul_scalar((heads as f64 / width as f64).sqrt()) + mask;
        mixed.push(softmax(scores, 2).matmul(value).swap_dims(0, 1).reshape([n, width]));
        at += n;
    }
    let middle = read(x.clone()) + linear(Tensor::cat(mixed, 0), out);
    let inside = linear(norm(middle.clone(), &norms[1]), up);
    let active = match plan.activation {
        Activation::QuickGelu => inside.clone() * sigmoid(inside.mul_scalar(1.702)),
        Activation::Gelu => gelu(inside),
    };
    middle + linear(active, down)
}

#[test]
#[allow(clippy::single_range_in_vec_init)]
fn blocks_agree_with_their_composition() {
    let (width, heads) = (24, 3);
    let span = |queries, keys: &[std::ops::Range<usize>]| Span { queries, keys: keys.to_vec() };
    let cases = [
        ("apart", vec![span(3, &[0..3]), span(7, &[3..10])], true, 10, None),
        ("all see all", vec![span(5, &[0..5]), span(5, &[5..10])], false, 10, None),
        ("with padding", vec![span(1, &[0..2]), span(1, &[4..8])], true, 10, Some(vec![1, 7])),
        ("a tree", vec![span(4, &[0..4]), span(2, &[0..2, 4..6]), span(3, &[0..2, 4..5, 6..9])], true, 9, None),
        (
            "leaves of a tree, one twice",
            vec![span(1, &[0..4]), span(1, &[0..2, 4..6]), span(1, &[0..4])],
            true,
            6,
            Some(vec![3, 5, 3]),
        ),
        ("long", vec![span(70, &[0..70]), span(80, &[70..150])], true, 150, None),
        ("long, all see all", vec![span(65, &[0..65])], false, 65, None),
    ];
    for (name, spans, causal, rows, read) in cases {
        for activation in [Activation::QuickGelu, Activation::Gelu] {
            let attention = Arc::new(Plan::new(spans.clone(), heads, causal, rows));
            let plan = BlockPlan { activation, eps: 1e-5, attention, read: read.clone().map(Arc::from) };
            let x = leaf([rows, width]);
            let norms = [(); 2].map(|()| (leaf([width]), leaf([width])));
            let sizes = [[1, 1], [1, 1], [1, 1], [1, 1], [4, 1], [1, 4]];
            let layers = sizes.map(|[output, input]| (leaf([output * width, input * width]), leaf([output * width])));
            let weights = (norms, layers);
            let theirs = composed(&x, &weights, &plan, &spans, heads);
            let ours = block(x.clone(), weights.clone(), plan);
            close(&values(ours.clone().inner()), &values(theirs.clone().inner()), 1e-5);
            let (ours, theirs) = (backward(&ours), backward(&theirs));
            let check = |what: String, ours: Option<Vec<f32>>, theirs: Option<Vec<f32>>| {
                let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
                let scale = theirs.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
                let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max);
                assert!(worst < 3e-5 && ours.len() == theirs.len(), "{name}, {what}: {worst}");
            };
            check("x".into(), x.grad(&ours).map(values), x.grad(&theirs).map(values));
            for (i, (w, b)) in weights.0.iter().enumerate() {
                check(format!("norm {i}"), w.grad(&ours).map(values), w.grad(&theirs).map(values));
                check(format!("norm bias {i}"), b.grad(&ours).map(values), b.grad(&theirs).map(values));
            }
            for (i, (w, b)) in weights.1.iter().enumerate() {
                check(format!("layer {i}"), w.grad(&ours).map(values), w.grad(&theirs).map(values));
                check(format!("bias {i}"), b.grad(&ours).map(values), b.grad(&theirs).map(values));
            }
        }
    }
}
