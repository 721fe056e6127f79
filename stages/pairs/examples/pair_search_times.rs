//! Prints how long a pair search takes on the CPU and on each sort of adapter.
//!
//!     cargo run --release -p stage-pairs --example pair_search_times [DIM] [K]

use std::time::Instant;

use stage_pairs::{Adapter, Search};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dim = arguments.next().map_or(Ok(512), |text| text.parse())?;
    let k = arguments.next().map_or(Ok(1), |text| text.parse())?;
    println!("D = {dim}, k = {k}; median of 11 searches");
    let mut searches = vec![Search::cpu()];
    match Search::wgpu(Adapter::Any) {
        Ok(search) => searches.push(search),
        Err(error) => println!("{error}"),
    }
    for mut search in searches {
        for rows in [128, 256, 1024, 4096] {
            let features = features(rows, dim);
            let groups: Vec<u32> = (0..rows as u32).collect();
            // The first call makes buffers and pipelines.
            search.neighbours(&features, dim, &groups, k)?;
            let mut times = Vec::new();
            for _ in 0..11 {
                let start = Instant::now();
                search.neighbours(&features, dim, &groups, k)?;
                times.push(start.elapsed());
            }
            times.sort();
            let median = times[times.len() / 2];
            let products = 2.0 * (rows * rows * dim) as f64;
            println!(
                "{:40} B = {rows:4} {:9.3} ms {:7.1} GFLOP/s",
                search.device(),
                median.as_secs_f64() * 1e3,
                products / median.as_secs_f64() / 1e9,
            );
        }
    }
    Ok(())
}

/// Directions of no pattern: a low-discrepancy sequence, normalised.
fn features(rows: usize, dim: usize) -> Vec<f32> {
    let mut features: Vec<f32> = (0..rows * dim)
        .map(|n| ((n as f64 * 0.618_033_988_749_895 * (1 + n / dim) as f64).fract() - 0.5) as f32)
        .collect();
    for feature in features.chunks_exact_mut(dim) {
        let norm = feature.iter().map(|x| x * x).sum::<f32>().sqrt();
        feature.iter_mut().for_each(|x| *x /= norm);
    }
    features
}
