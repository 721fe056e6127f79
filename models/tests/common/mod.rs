//! Shared by the integration tests.
#![allow(clippy::unwrap_used, dead_code)]

use std::path::PathBuf;

use safetensors::SafeTensors;

/// A folder of the shared material beside the repository; says so when it is not there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// Tensors that PyTorch computed.
pub struct Golden(Vec<u8>);

impl Golden {
    pub fn open(path: PathBuf) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    pub fn f32(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        let value = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
        (tensor.shape().to_vec(), tensor.data().chunks_exact(4).map(value).collect())
    }

    /// Token ids, 77 a row.
    pub fn ids(&self) -> Vec<u32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor("input_ids").unwrap();
        let value = |b: &[u8]| i64::from_le_bytes(b.try_into().unwrap()) as u32;
        tensor.data().chunks_exact(8).map(value).collect()
    }
}

/// The largest absolute difference. Values that are not finite are a failure.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|value| value.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
