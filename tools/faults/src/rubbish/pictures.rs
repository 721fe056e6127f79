//! Files that are not pictures, and pictures that are larger than they claim.

use std::io::Cursor;

use anyhow::Result;
use clip::preprocess::{Limits, Preprocess};
use image::{DynamicImage, ImageFormat};
use pipeline_engine::rng::ChaCha8Rng;
use rand::RngExt;

use super::{Outcome, Victim, break_bytes, noise};
use crate::world::{root, samples};

pub struct Pictures {
    /// Valid pictures of many modes.
    sound: Vec<Vec<u8>>,
    preprocess: Preprocess,
    limits: Limits,
}

impl Pictures {
    pub fn new() -> Result<Self> {
        let drawn = samples(20)?.into_iter().filter(|(name, _)| !name.ends_with(".txt"));
        let mut sound: Vec<Vec<u8>> = drawn.map(|(_, bytes)| bytes).collect();
        let grey = DynamicImage::new_luma8(70, 50);
        let modes = [
            DynamicImage::new_rgb8(33, 90),
            DynamicImage::new_rgba8(64, 64),
            DynamicImage::new_luma_a8(5, 200),
            DynamicImage::new_luma16(40, 40),
            DynamicImage::new_rgb16(31, 17),
            DynamicImage::new_rgba16(8, 8),
            DynamicImage::new_rgb8(1, 1),
            grey.clone(),
        ];
        for mode in modes {
            sound.push(encode(&mode, ImageFormat::Png)?);
        }
        for format in [ImageFormat::Jpeg, ImageFormat::WebP] {
            sound.push(encode(&DynamicImage::new_rgb8(60, 40), format)?);
        }
        sound.push(encode(&grey, ImageFormat::Jpeg)?);
        // In four inks.
        sound.push(std::fs::read(root().join("crates/clip/tests/data/preprocess/cmyk.jpg"))?);
        let frame = encode(&DynamicImage::new_rgb8(24, 20), ImageFormat::WebP)?;
        sound.push(animated_webp(&frame, 24, 20, 3));
        Ok(Self { sound, preprocess: Preprocess::openai(32), limits: Limits::default() })
    }

    fn picture(&self, rng: &mut ChaCha8Rng) -> Result<Vec<u8>> {
        let mut bytes = self.sound[rng.random_range(0..self.sound.len())].clone();
        match rng.random_range(0..16u32) {
            // A decompression bomb that is large but within the limit.
            0 if rng.random_bool(0.02) => {
                bytes = encode(&DynamicImage::new_luma8(9000, 9000), ImageFormat::Png)?;
            }
            // A false size in the header.
            0 | 1 => {
                let side = [0, 1, 65_535, 1 << 20, u32::MAX, 9000][rng.random_range(0..6usize)];
                bytes = png_sized(side, [side, 1, 0][rng.random_range(0..3usize)]);
            }
            2 => bytes.truncate(rng.random_range(0..=bytes.len())),
            3 => bytes = noise(rng, 4000),
            4 => {
                let magic: [&[u8]; 6] = [
                    b"GIF89a",
                    b"BM",
                    b"II*\0",
                    b"\x89PNG\r\n\x1a\n",
                    &[0xff, 0xd8, 0xff, 0xe0],
                    b"RIFF\xff\xff\xff\x7fWEBPVP8X",
                ];
                bytes = [magic[rng.random_range(0..6usize)], &noise(rng, 500)].concat();
            }
            // Endless metadata.
            5 if bytes.starts_with(&[0xff, 0xd8]) => {
                let segment = [&[0xff, 0xe1, 0xff, 0xff][..], &vec![b'x'; 65_533]].concat();
                let many = segment.repeat(rng.random_range(1..40usize));
                bytes.splice(2..2, many);
            }
            // A header that claims four colours of ink, or another number, for a file that has three.
            6 if bytes.starts_with(&[0xff, 0xd8]) => {
                if let Some(at) =
                    bytes.windows(2).position(|marker| marker[0] == 0xff && (0xc0..0xc3).contains(&marker[1]))
                    && let Some(components) = bytes.get_mut(at + 9)
                {
                    *components = rng.random_range(0..6u32) as u8;
                }
            }
            // An animation.
            7 if bytes.starts_with(b"\x89PNG") => {
                let frames = [&8u32.to_be_bytes()[..], b"acTL", &[0, 0, 0, 9, 0, 0, 0, 0], &[0; 4]].concat();
                bytes.splice(33..33, frames);
            }
            // Another animation, whose frames are larger than declared, or many.
            7 => {
                let frame = encode(&DynamicImage::new_rgb8(24, 20), ImageFormat::WebP)?;
                let [width, height] = [0; 2].map(|_| [0, 1, 24, 16_383, 1 << 23][rng.random_range(0..5usize)]);
                bytes = animated_webp(&frame, width, height, rng.random_range(0..2000usize));
            }
            // More bytes after the picture.
            8 => bytes.extend(noise(rng, 3000)),
            9 => {}
            _ => break_bytes(&mut bytes, rng),
        }
        Ok(bytes)
    }
}

impl Victim for Pictures {
    fn kind(&self) -> &'static str {
        "picture"
    }

    fn swallow(&self, rng: &mut ChaCha8Rng) -> Result<Outcome> {
        let bytes = self.picture(rng)?;
        Ok(match self.preprocess.decode(&bytes, &self.limits) {
            Ok(pixels) if pixels.rgb.len() == 32 * 32 * 3 => Outcome::Used,
            Ok(pixels) => Outcome::Wrong(format!("{} bytes of pixels", pixels.rgb.len())),
            Err(reason) => Outcome::Skipped(reason.to_string()),
        })
    }
}

fn encode(picture: &DynamicImage, format: ImageFormat) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// An animated WebP that repeats a frame `count` times; the frame's own header has the right size.
fn animated_webp(frame: &[u8], width: u32, height: u32, count: usize) -> Vec<u8> {
    let side = |side: u32| side.saturating_sub(1).to_le_bytes()[..3].to_vec();
    let chunk = |name: &[u8; 4], body: &[u8]| [name, &(body.len() as u32).to_le_bytes()[..], body].concat();
    let head = [&[2, 0, 0, 0][..], &side(width), &side(height)].concat();
    // Place, size, duration and flags, and the still picture without its own header.
    let one = [&[0; 6][..], &side(width), &side(height), &[40, 0, 0, 0], &frame[12..]].concat();
    let mut body = b"WEBP".to_vec();
    body.extend(chunk(b"VP8X", &head));
    body.extend(chunk(b"ANIM", &[0; 6]));
    body.extend(chunk(b"ANMF", &one).repeat(count));
    chunk(b"RIFF", &body)
}

/// The header of a PNG of this size, with a correct checksum, and hardly any data.
fn png_sized(width: u32, height: u32) -> Vec<u8> {
    let mut head = b"IHDR".to_vec();
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    head.extend([8, 2, 0, 0, 0]);
    let sum = crc32(&head);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(head);
    bytes.extend(sum.to_be_bytes());
    bytes.extend(b"\0\0\0\x02IDAT\x78\x9c");
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}
