//! Tars that no archiver would write.

use std::sync::Arc;

use anyhow::{Result, ensure};
use pipeline_engine::rng::ChaCha8Rng;
use rand::RngExt;
use stage_shards::{Reason, Rules, Samples};
use tokio::runtime::Runtime;

use super::{Outcome, Victim, break_bytes, noise};
use crate::world::{Member, samples};

const BLOCK: usize = 512;

pub struct Tars {
    members: Vec<Member>,
    runtime: Runtime,
    rules: Arc<Rules>,
}

impl Tars {
    pub fn new() -> Result<Self> {
        let members = samples(40)?;
        ensure!(!members.is_empty(), "the embedded world has no samples");
        let rules = Rules { max_member: 1 << 20, ..Rules::default() };
        Ok(Self { members, runtime: tokio::runtime::Builder::new_current_thread().build()?, rules: Arc::new(rules) })
    }

    /// A few samples with all sorts of names and headers.
    fn tar(&self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let mut tar = Vec::new();
        let first = rng.random_range(0..self.members.len());
        let count = rng.random_range(0..16usize);
        let odd = rng.random_range(0..26u32);
        for i in 0..count {
            let (name, bytes) = &self.members[(first + i) % self.members.len()];
            // Interleaved samples: the keys alternate.
            let name =
                if odd == 17 { format!("{}.{}", i % 3, name.rsplit('.').next().unwrap_or("x")) } else { name.clone() };
            let hit = i == count / 2;
            match odd {
                0 if hit => tar.extend(member(&"x".repeat(300), b'L', &[])),
                1 => {
                    tar.extend(member("././@LongLink", b'L', format!("{}/{name}\0", "long".repeat(60)).as_bytes()));
                    tar.extend(member("cut", b'0', bytes));
                }
                2 => {
                    tar.extend(member("pax", b'x', &pax("path", &format!("{}/{name}", "é".repeat(80)))));
                    tar.extend(member("cut", b'0', bytes));
                }
                3 if hit => tar.extend(member("pax", b'x', &pax("size", &u64::MAX.to_string()))),
                4 if hit => tar.extend(member("pax", b'x', b"99999999 path=liar\n12 x\n-3 y=1\n")),
                5 if hit => tar.extend(member(&name, b'S', bytes)),
                6 => tar.extend(member(&name, [b'1', b'2'][i % 2], &[])),
                7 => tar.extend(member(&format!("/etc/{name}"), b'0', bytes)),
                8 => tar.extend(member(&format!("../../{name}"), b'0', bytes)),
                9 => (0..2).for_each(|_| tar.extend(member(&name, b'0', bytes))),
                10 => tar.extend(member(&name, b'0', &tar.clone())),
                11 if hit => tar.extend(with_size(member(&name, b'0', bytes), b"77777777777\0")),
                12 if hit => tar.extend(with_size(
                    member(&name, b'0', bytes),
                    &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                )),
                13 if hit => tar.extend(with_size(member(&name, b'0', bytes), b"not octal!!\0")),
                14 if hit => {
                    let mut bad = member(&name, b'0', bytes);
                    bad[148] ^= 1;
                    tar.extend(bad);
                }
                15 if hit => tar.extend(vec![0; BLOCK * rng.random_range(1..4usize)]),
                16 => tar.extend(member(&name, rng.random_range(0..=255u32) as u8, bytes)),
                // Captions that say nothing, that are no text, or that are too long.
                20..26 if name.ends_with(".txt") => {
                    let text = match odd {
                        20 => Vec::new(),
                        21 => vec![b'x'; [4095, 4097, 1 << 20, (1 << 20) + 1][i % 4]],
                        22 => b"a dog\0 and a cat".to_vec(),
                        23 => [b"a dog \xff\xfe\n".as_slice(), &noise(rng, 40)].concat(),
                        24 => b"no\nnot\nwithout no nothing\nnever".to_vec(),
                        _ => b"\n \n\t\n".to_vec(),
                    };
                    tar.extend(member(&name, b'0', &text));
                }
                18 if hit => tar.extend(member("g", b'g', &noise(rng, 2000))),
                19 if hit => tar.extend(member("x", b'x', &noise(rng, 2000))),
                _ => tar.extend(member(&name, b'0', bytes)),
            }
        }
        if rng.random_bool(0.8) {
            tar.extend([0; 2 * BLOCK]);
        }
        match rng.random_range(0..10u32) {
            // Cut at a block boundary, or one byte from it.
            0..3 => {
                let at = rng.random_range(0..=tar.len() / BLOCK) * BLOCK;
                let at = (at + rng.random_range(0..3usize)).saturating_sub(1);
                tar.truncate(at);
            }
            3..6 => break_bytes(&mut tar, rng),
            6 => {
                let magic: [&[u8]; 5] = [&[0x1f, 0x8b, 8], b"PK\x03\x04", &[0x28, 0xb5, 0x2f, 0xfd], b"<html>", b""];
                tar = [magic[rng.random_range(0..5usize)], &noise(rng, 3000)].concat();
            }
            _ => {}
        }
        tar
    }
}

impl Victim for Tars {
    fn kind(&self) -> &'static str {
        "tar"
    }

    fn swallow(&self, rng: &mut ChaCha8Rng) -> Result<Outcome> {
        let tar = self.tar(rng);
        let mut samples = Samples::new(tar.as_slice(), self.rules.clone());
        let (mut used, mut skipped, mut seen) = (0u32, None::<Reason>, 0);
        while let Some(sample) = self.runtime.block_on(samples.next()) {
            if sample.index != seen {
                return Ok(Outcome::Wrong(format!("sample {seen} has the index {}", sample.index)));
            }
            seen += 1;
            match sample.content {
                Ok(content) => {
                    let long = content.captions.iter().any(|c| c.is_empty() || c.len() > self.rules.max_caption);
                    if content.captions.is_empty() || long || content.image.is_empty() {
                        return Ok(Outcome::Wrong(format!("`{}` should have been skipped", sample.key)));
                    }
                    used += 1;
                }
                Err(reason) => skipped = Some(reason),
            }
            if seen as usize > tar.len() / BLOCK + 1 {
                return Ok(Outcome::Wrong("more samples than headers".into()));
            }
        }
        let (count, fault) = samples.finish();
        if count != seen {
            return Ok(Outcome::Wrong(format!("{seen} samples arrived, but {count} were counted")));
        }
        Ok(match (used, skipped, fault) {
            (0, _, Some(fault)) => Outcome::Refused(fault.to_string()),
            (0, Some(reason), None) => Outcome::Skipped(reason.to_string()),
            (0, None, None) => Outcome::Refused("no sample in it".into()),
            _ => Outcome::Used,
        })
    }
}

/// A header with this name and type, and its body.
fn member(name: &str, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut header = [0u8; BLOCK];
    let name = &name.as_bytes()[..name.len().min(100)];
    header[..name.len()].copy_from_slice(name);
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut header);
    let mut bytes = header.to_vec();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// The same member with another size in its header.
fn with_size(mut member: Vec<u8>, size: &[u8; 12]) -> Vec<u8> {
    member[124..136].copy_from_slice(size);
    seal(&mut member[..BLOCK]);
    member
}

fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A record of an extended header: its own length in decimals, key, value.
fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}").into_bytes()
}
