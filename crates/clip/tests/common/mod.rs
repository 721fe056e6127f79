//! Shared by the integration tests.
#![allow(clippy::unwrap_used, dead_code)]

pub mod formula;
pub mod models;

use std::path::PathBuf;

use safetensors::SafeTensors;

/// A folder of the shared material beside the repository; prints a line if it is missing.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    if !path.exists() {
        println!("skipped: {} is missing", path.display());
        return None;
    }
    Some(path)
}

/// A file of the goldens that `tools/parity/goldens.py` makes.
pub fn data(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(path)
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

    pub fn names(&self) -> Vec<String> {
        SafeTensors::deserialize(&self.0).unwrap().names().into_iter().map(str::to_owned).collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data().to_vec()
    }

    /// Token ids, 77 per row.
    pub fn ids(&self) -> Vec<u32> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor("input_ids").unwrap();
        // Little-endian, 4 or 8 bytes each.
        let value = |b: &[u8]| u32::from_le_bytes(b[..4].try_into().unwrap());
        tensor.data().chunks_exact(tensor.dtype().bitsize() / 8).map(value).collect()
    }
}

/// The largest absolute difference. Values that are not finite are a failure.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|value| value.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// What is logged while `f` runs, warnings and errors, without times and colours.
pub fn messages(f: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .without_time()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, f);
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}
