//! Weights and inputs by formula, bit for bit those of `tools/parity/formula.py`.
#![allow(dead_code)]

use std::collections::BTreeMap;

/// FNV-1a, 64 bits.
fn start(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Numbers of 24 bits: SplitMix64 at counter 1, 2, ...
pub fn bits(name: &str, count: usize) -> impl Iterator<Item = u32> {
    let start = start(name);
    (1..=count as u64).map(move |counter| {
        let x = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(start);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 40) as u32
    })
}

/// Numbers in [-1, 1), times `scale`.
pub fn unit(name: &str, count: usize, scale: f32) -> Vec<f32> {
    bits(name, count).map(|bits| (bits as i32 - (1 << 23)) as f32 * (-23f32).exp2() * scale).collect()
}

/// A parameter under its Hugging Face name.
pub fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    if name == "logit_scale" {
        return vec![2.5; count];
    }
    let exponent = if name.ends_with("bias") {
        -4
    } else if shape.len() == 1 {
        -3
    } else if name.contains("embedding.weight") && shape.len() == 2 {
        -5
    } else {
        let fan_in: usize = shape[1..].iter().product();
        -((fan_in.ilog2() / 2) as i32)
    };
    let mut values = unit(name, count, (exponent as f32).exp2());
    if name.ends_with("weight") && shape.len() == 1 {
        values.iter_mut().for_each(|value| *value += 1.0);
    }
    values
}

/// Parameters by name.
pub fn weights(specs: &[(String, Vec<usize>)]) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    specs.iter().map(|(name, shape)| (name.clone(), (shape.clone(), weight(name, shape)))).collect()
}
