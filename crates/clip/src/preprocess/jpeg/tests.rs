#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::PathBuf;

use safetensors::SafeTensors;

use super::bits::{Code, Segment, Table};
use super::*;

fn data() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/jpeg"))
}

fn file(name: &str) -> Vec<u8> {
    fs::read(data().join(format!("{name}.jpg"))).unwrap()
}

/// Names of all files that `tools/parity/jpegs.py` makes, and its numbers.
fn files() -> (Vec<String>, Vec<u8>) {
    let bytes = fs::read(data().join("expected.safetensors")).unwrap();
    let mut names: Vec<String> =
        SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect();
    names.sort();
    (names, bytes)
}

fn fault(file: &[u8]) -> Fault {
    decode(file, 1 << 20).map(|found| (found.width, found.height)).unwrap_err()
}

#[test]
fn files_of_every_shape_are_pillows() {
    let (names, bytes) = files();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    for name in &names {
        let found = decode(&file(name), 1 << 20).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        let pillow = expected.tensor(name).unwrap();
        let shape: &[usize] = match found.colours.channels() {
            1 => &[found.height, found.width],
            channels => &[found.height, found.width, channels],
        };
        assert_eq!(shape, pillow.shape(), "{name}");
        let differ = found.pixels.iter().zip(pillow.data()).filter(|(a, b)| a != b).count();
        assert_eq!(differ, 0, "{name}: {differ} of {} values differ", pillow.data().len());
    }
    println!("{} files to the last bit", names.len());
    assert!(names.len() > 50);
}

#[test]
fn what_is_not_done_is_named() {
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>, usize)| {
        let mut file = file(name);
        let frame = file.windows(2).position(|at| matches!(at, [0xff, 0xc0..=0xc2])).unwrap();
        change(&mut file, frame);
        fault(&file)
    };
    for (marker, coding) in [(0xc9, "arithmetic"), (0xca, "arithmetic"), (0xc3, "lossless"), (0xc6, "hierarchical")] {
        let found = changed("restarts", &|file, at| file[at + 1] = marker);
        assert!(matches!(found, Fault::Unknown(what) if what.contains(coding)), "{found:?}");
    }
    let found = changed("restarts", &|file, at| file[at + 4] = 12);
    assert_eq!(found, Fault::Unknown("samples of other than 8 bits"));
    // Three columns of luma for two of a colour.
    let found = changed("luma_3x1", &|file, at| file[at + 14] = 0x21);
    assert_eq!(found, Fault::Unknown("a fractional ratio of the components' sizes"));
    let found = changed("restarts", &|file, at| file[at + 11] = 0x55);
    assert!(matches!(found, Fault::Broken(what) if what.contains("sampling factor")));
    let found = changed("restarts", &|file, at| file[at + 9] = 2);
    assert!(matches!(found, Fault::Broken(what) if what.contains("2 colour components")));
    let found = changed("restarts", &|file, at| file[at + 5..at + 7].fill(0));
    assert!(matches!(found, Fault::Broken(what) if what.contains("no pixels")));
    assert_eq!(decode(&file("restarts"), 1999).err(), Some(Fault::TooLarge(50, 40)));
    assert!(decode(&file("restarts"), 2000).is_ok());

    // libjpeg smooths what comes of the first scans alone.
    let whole = file("progressive");
    let scans: Vec<usize> = (0..whole.len() - 1).filter(|at| whole[*at..*at + 2] == [0xff, 0xda]).collect();
    for at in &scans[1..] {
        let found = fault(&[&whole[..*at], &[0xff, 0xd9]].concat());
        assert_eq!(found, Fault::broken("its last scans are missing"));
    }
    let many = [&whole[..scans[1]], &whole[scans[1]..whole.len() - 2].repeat(200), &[0xff, 0xd9]].concat();
    assert_eq!(fault(&many), Fault::broken("it has more than 1000 scans"));
    let twice = file("restarts");
    let scan = twice.windows(2).position(|at| at == [0xff, 0xda]).unwrap();
    let twice = [&twice[..twice.len() - 2], &twice[scan..]].concat();
    assert_eq!(fault(&twice), Fault::broken("a scan follows the one that has everything"));
}

#[test]
fn what_is_cut_is_no_picture() {
    for name in ["luma_2x2", "restarts", "scans_apart", "progressive"] {
        let whole = file(name);
        for length in 2..whole.len() - 2 {
            assert_eq!(decode(&whole[..length], 1 << 20).err(), Some(Fault::Cut), "{name} cut at {length}");
        }
    }
    assert!(matches!(fault(b"\xff"), Fault::Broken(_)));
    assert_eq!(fault(b"\xff\xd8\xff\xd9"), Fault::broken("it has no scan"));
}

/// No `catch_unwind` as [`Preprocess::decode`](crate::Preprocess::decode) has it.
#[test]
fn damage_is_no_panic() {
    let mut state = 7u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut read, mut refused) = (0, 0);
    for name in files().0 {
        let whole = file(&name);
        for _ in 0..40 {
            let mut broken = whole.clone();
            for _ in 0..=random(3) {
                let at = 2 + random(broken.len() - 2);
                match random(6) {
                    0 => drop(broken.drain(at..(at + random(20)).min(broken.len()))),
                    1 => broken[at] = 0xff,
                    2 => broken.insert(at, 0xff),
                    _ => broken[at] = random(256) as u8,
                }
            }
            match decode(&broken, 1 << 16) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 100 && refused > 100);
}

#[test]
fn codes_are_looked_up_or_searched_for() {
    // Codes of 1 to 12 bits, one each: 0, 10, 110 and so on.
    let mut code = Code { counts: [0; 16], symbols: [0; 256] };
    code.counts[..12].fill(1);
    for (at, symbol) in code.symbols.iter_mut().take(12).enumerate() {
        *symbol = at as u8;
    }
    let table = Table::new(&code, false).unwrap();
    // The code of 11, then eleven bits with its number, and the same of 9, 2 and 0; then a code that
    // does not exist.
    let bits = "11111111111010000000001\
                1111111110000000000\
                11011\
                0\
                1111111111111111";
    let bits: Vec<u8> = bits.bytes().chain(std::iter::repeat_n(b'1', 7)).map(|bit| bit - b'0').collect();
    let bytes: Vec<u8> = bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit)).collect();
    let stuffed: Vec<u8> =
        bytes.iter().flat_map(|byte| if *byte == 0xff { vec![0xff, 0] } else { vec![*byte] }).collect();
    let mut segment = Segment::default();
    assert_eq!(segment.read(&[&stuffed[..], &[0xff, 0xff, 0xd9, 7]].concat(), 0), Some((0xd9, stuffed.len() + 3)));
    let mut bits = segment.bits();
    assert_eq!([0; 4].map(|_| table.difference(&mut bits)), [1025, -511, 3, 0]);
    assert!(!bits.exhausted());
    assert_eq!(table.difference(&mut bits), 0);
    assert!(bits.exhausted());

    assert_eq!(segment.read(b"abc", 0), None);
    code.counts[0] = 2;
    assert!(Table::new(&code, false).is_err(), "two codes of one bit leave none that is longer");
    code.counts = [0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(Table::new(&code, true).is_err(), "a code of ones");
    code.symbols[1] = 16;
    code.counts[1] = 2;
    assert!(Table::new(&code, false).is_err() && Table::new(&code, true).is_ok());
}

#[test]
fn blocks_are_transformed_as_the_standard_says() {
    let quant = [3i16; 64];
    let mut state = 3u32;
    for round in 0..200 {
        let mut block = [0i16; 64];
        for (at, value) in block.iter_mut().enumerate() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Some have the first row alone, or the first value.
            let kept = at == 0 || (round % 3 > 0 && at < 8) || round % 3 > 1;
            *value = if kept { (state >> 24) as i16 % 31 - 15 } else { 0 };
        }
        let mut found = [0u8; 64];
        idct::transform(&block, &quant, &mut found, 8);
        if round % 3 == 0 {
            let mut flat = [0u8; 64];
            idct::flat(block[0], quant[0], &mut flat, 8);
            assert_eq!(found, flat);
        }
        for (at, found) in found.iter().enumerate() {
            let (y, x) = ((at / 8) as f64, (at % 8) as f64);
            let wave = |frequency: usize, place: f64| {
                let scale = if frequency == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                scale * ((2.0 * place + 1.0) * frequency as f64 * std::f64::consts::PI / 16.0).cos()
            };
            let each = block.iter().enumerate();
            let sum: f64 = each.map(|(at, value)| f64::from(*value) * 3.0 * wave(at / 8, y) * wave(at % 8, x)).sum();
            let exact = (sum / 4.0 + 128.0).clamp(0.0, 255.0);
            assert!((f64::from(*found) - exact).abs() < 1.0, "{found} for {exact}");
        }
    }
}
