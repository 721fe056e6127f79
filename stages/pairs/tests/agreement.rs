//! The CPU and the shader give the neighbours of a naive search, exactly.
//!
//! Features are random, or made so that f32 can't decide: full of exact ties,
//! duplicates, and rows that differ in the last bits.

#![allow(clippy::unwrap_used)]

use std::sync::{LazyLock, Mutex};

use stage_pairs::{Adapter, Error, NONE, Neighbours, Search};

/// A counter-based generator for test data (splitmix64's finaliser).
fn draw(seed: u64, counter: usize) -> u64 {
    let mut x = (seed << 40) ^ (counter as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn normalise(features: &mut [f32], dim: usize) {
    for feature in features.chunks_exact_mut(dim) {
        let norm = feature.iter().map(|x| x * x).sum::<f32>().sqrt();
        feature.iter_mut().for_each(|x| *x /= norm);
    }
}

/// Uniform in a cube, shifted so that cosines lie close together, as CLIP's do.
fn random(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut features: Vec<f32> =
        (0..rows * dim).map(|n| (draw(seed, n) >> 40) as f32 / (1u64 << 24) as f32 - 0.4).collect();
    normalise(&mut features, dim);
    features
}

/// Four entries of plus or minus a half: cosines are multiples of a quarter,
/// exact in f32, so nearly everything is a tie.
fn quantised(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut features = vec![0.0; rows * dim];
    for (row, feature) in features.chunks_exact_mut(dim).enumerate() {
        for part in 0..4 {
            let bits = draw(seed, row * 4 + part);
            let place = part * (dim / 4) + (bits >> 1) as usize % (dim / 4);
            feature[place] = if bits & 1 == 0 { 0.5 } else { -0.5 };
        }
    }
    features
}

/// Few directions, many copies, each off in the last bits.
fn near_ties(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let directions = rows.div_ceil(20);
    let mut features = random(directions, dim, seed);
    for row in directions..rows {
        for n in 0..dim {
            let source = features[(row % directions) * dim + n];
            // Every fourth is an exact copy.
            let ulps = if row % 4 == 0 { 0 } else { draw(seed + 1, row * dim + n) as i32 % 3 };
            features.push(f32::from_bits(source.to_bits().wrapping_add_signed(ulps)));
        }
    }
    features
}

/// Every pair in f64.
fn naive(features: &[f32], dim: usize, groups: &[u32], k: usize) -> Neighbours {
    let row = |n: usize| &features[n * dim..][..dim];
    let mut found = Neighbours { k, indices: Vec::new(), cosines: Vec::new() };
    for i in 0..groups.len() {
        let mut all: Vec<(f64, usize)> = (0..groups.len())
            .filter(|&j| j != i && groups[j] != groups[i])
            .map(|j| {
                let products = row(i).iter().zip(row(j));
                let products = products.map(|(&a, &b)| f64::from(a) * f64::from(b));
                (products.sum(), j)
            })
            .collect();
        let order = |a: &(f64, usize), b: &(f64, usize)| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1));
        if k < all.len() {
            all.select_nth_unstable_by(k, order);
            all.truncate(k);
        }
        all.sort_by(order);
        for place in 0..k {
            let (cosine, index) = all.get(place).map_or((f32::NEG_INFINITY, NONE), |&(c, j)| (c as f32, j as u32));
            found.indices.push(index);
            found.cosines.push(cosine);
        }
    }
    found
}

/// The shader on whatever adapter there is; one device for all tests.
static SHADER: LazyLock<Option<Mutex<Search>>> = LazyLock::new(|| match Search::wgpu(Adapter::Any) {
    Ok(search) => {
        println!("the shader runs on {}", search.device());
        Some(Mutex::new(search))
    }
    Err(error @ Error::NoAdapter { .. }) => {
        println!("skipped: no Vulkan adapter ({error})");
        None
    }
    Err(error) => panic!("{error}"),
});

/// Compares CPU and shader with the naive search.
fn check(what: &str, features: &[f32], dim: usize, groups: &[u32], ks: &[usize]) {
    let rows = groups.len();
    let largest = ks.iter().copied().max().unwrap();
    let expected = naive(features, dim, groups, largest);
    for &k in ks {
        // The first k of the k' > k best are the k best.
        let first = |row: usize| row * largest..row * largest + k;
        let compare = |on: &str, found: Neighbours| {
            for row in 0..rows {
                let places = row * k..(row + 1) * k;
                assert_eq!(
                    (&found.indices[places.clone()], &found.cosines[places]),
                    (&expected.indices[first(row)], &expected.cosines[first(row)]),
                    "{what} on {on}: B = {rows}, D = {dim}, k = {k}, row {row}"
                );
            }
        };
        compare("cpu", Search::cpu().neighbours(features, dim, groups, k).unwrap());
        if let Some(shader) = &*SHADER {
            let mut shader = shader.lock().unwrap();
            compare("wgpu", shader.neighbours(features, dim, groups, k).unwrap());
        }
    }
}

fn alone(rows: usize) -> Vec<u32> {
    (0..rows as u32).collect()
}

fn fives(rows: usize) -> Vec<u32> {
    (0..rows as u32).map(|row| row / 5).collect()
}

const SIZES: [usize; 6] = [1, 2, 3, 17, 128, 1000];

#[test]
fn random_features() {
    for rows in SIZES {
        for dim in [8, 40, 512] {
            let features = random(rows, dim, rows as u64);
            check("random", &features, dim, &alone(rows), &[1, 5, 16]);
        }
    }
}

#[test]
fn random_features_in_groups_of_five() {
    for rows in SIZES {
        let features = random(rows, 96, rows as u64);
        check("groups", &features, 96, &fives(rows), &[1, 5, 16]);
    }
}

#[test]
fn exact_ties_go_to_the_lower_row() {
    for rows in SIZES {
        for dim in [8, 64] {
            let features = quantised(rows, dim, rows as u64);
            check("ties", &features, dim, &alone(rows), &[1, 5, 16]);
            check("ties, groups", &features, dim, &fives(rows), &[1, 5, 16]);
        }
    }
}

#[test]
fn near_ties_below_f32() {
    for rows in SIZES {
        let features = near_ties(rows, 64, rows as u64);
        check("near ties", &features, 64, &fives(rows), &[1, 5, 16]);
    }
}

#[test]
fn odd_dimensions() {
    for dim in [1, 2, 3, 5, 9, 31, 63, 65, 1023] {
        let features = random(70, dim, dim as u64);
        check("odd", &features, dim, &alone(70), &[1, 5]);
    }
}

#[test]
fn a_large_batch() {
    let rows = 4096;
    let features = random(rows, 64, 1);
    check("random", &features, 64, &fives(rows), &[1, 5, 16]);
    let features = quantised(rows, 32, 2);
    check("ties", &features, 32, &alone(rows), &[1, 16]);
    let features = near_ties(rows, 32, 3);
    check("near ties", &features, 32, &alone(rows), &[1, 5]);
}

#[test]
fn all_the_same_image_has_no_neighbours() {
    let features = random(10, 8, 0);
    check("one group", &features, 8, &[7; 10], &[1, 5]);
    let found = Search::cpu().neighbours(&features, 8, &[7; 10], 2).unwrap();
    assert_eq!(found.indices, [NONE; 20]);
    assert_eq!(found.of(0).count(), 0);
}

#[test]
fn thread_count_changes_nothing() {
    let features = near_ties(1000, 32, 5);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let found = Search::cpu().neighbours(&features, 32, &fives(1000), 5);
            found.unwrap()
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn an_empty_batch_and_bad_input() {
    let searches = [Some(Search::cpu()), Search::wgpu(Adapter::Any).ok()];
    for mut search in searches.into_iter().flatten() {
        let empty = search.neighbours(&[], 8, &[], 1).unwrap();
        assert!(empty.indices.is_empty());
        let unit = [1.0, 0.0, 0.0, 1.0];
        for k in [0, 17] {
            let error = search.neighbours(&unit, 2, &[0, 1], k).unwrap_err();
            assert!(matches!(error, Error::K { .. }));
        }
        let error = search.neighbours(&unit, 3, &[0, 1], 1).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }));
        let long = [1.0, 0.0, 1.0, 1.0];
        let error = search.neighbours(&long, 2, &[0, 1], 1).unwrap_err();
        assert!(error.to_string().contains("row 1"), "{error}");
    }
}
