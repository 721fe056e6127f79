//! Decoding of JPEG, PNG and WebP files into the modes that Pillow opens them in.

use std::fmt::Display;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::{png::PngDecoder, webp::WebPDecoder};
use image::{ColorType, ImageDecoder, ImageFormat};

use super::jpeg::{self, Colours, Fault};

/// What a picture may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Width times height of the file, before it is resized.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// Pillow's limit: 89,478,485 pixels, a quarter of a gigabyte in RGB.
    fn default() -> Self {
        Self { max_pixels: 89_478_485 }
    }
}

/// Why a file gave no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// The first bytes are of no picture format.
    #[error("the file is no picture of a known format; JPEG, PNG and WebP are read")]
    Unknown,
    /// A picture, but not of a format that is read.
    #[error("{0:?} pictures are not read; convert them to JPEG, PNG or WebP")]
    Unsupported(ImageFormat),
    /// More pixels than allowed.
    #[error("{width} x {height} pixels are more than max_pixels = {max_pixels}; raise it to take the picture")]
    TooLarge {
        /// Columns, by the header.
        width: u32,
        /// Rows, by the header.
        height: u32,
        /// The limit.
        max_pixels: u64,
    },
    /// A picture of a format that is read, in a coding that is not.
    #[error("{format:?} files with {coding} are not read; save the picture anew")]
    Coding {
        /// The format by the first bytes.
        format: ImageFormat,
        /// What is not done.
        coding: &'static str,
    },
    /// The file breaks the rules of its format.
    #[error("broken {format:?} file: {reason}")]
    Broken {
        /// The format by the first bytes.
        format: ImageFormat,
        /// What the decoder said.
        reason: String,
    },
}

/// The modes of Pillow that such files open in, by their bytes per pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Grey.
    L,
    /// Grey and alpha.
    La,
    /// Red, green, blue.
    Rgb,
    /// And alpha.
    Rgba,
    /// Ink, 0 is none.
    Cmyk,
    /// Grey of 16 bits, in the machine's byte order; "I;16" in Pillow.
    L16,
}

impl Mode {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::L => 1,
            Self::La | Self::L16 => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }
}

/// A decoded picture.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) mode: Mode,
    /// Of a palette or of single bits: Pillow resizes those without a filter,
    /// because their numbers are no brightness. They are expanded here already.
    pub(super) indexed: bool,
    /// What Pillow pads it with, as many bytes as the mode has: 0, which is black, but white of
    /// inks, and of a palette its first colour.
    pub(super) padding: [u8; 4],
    /// `height * width * mode.bytes()` values.
    pub(super) data: Vec<u8>,
}

pub(super) fn decode(file: &[u8], limits: &Limits) -> Result<Picture, DecodeError> {
    if file.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(file).map_err(|_| DecodeError::Unknown)?;
    let read = match format {
        ImageFormat::Jpeg => jpeg,
        ImageFormat::Png => png,
        ImageFormat::WebP => webp,
        other => return Err(DecodeError::Unsupported(other)),
    };
    // Files come from anywhere; a decoder's bug on one of them costs that one.
    let picture = catch_unwind(AssertUnwindSafe(|| read(file, limits)))
        .unwrap_or_else(|_| Err(broken(format, "the decoder failed")))?;
    if picture.data.is_empty() { Err(broken(format, "it has no pixels")) } else { Ok(picture) }
}

fn broken(format: ImageFormat, reason: impl Display) -> DecodeError {
    DecodeError::Broken { format, reason: reason.to_string() }
}

fn check_size(width: u32, height: u32, limits: &Limits) -> Result<(), DecodeError> {
    let max_pixels = limits.max_pixels;
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(DecodeError::TooLarge { width, height, max_pixels });
    }
    Ok(())
}

fn jpeg(file: &[u8], limits: &Limits) -> Result<Picture, DecodeError> {
    let format = ImageFormat::Jpeg;
    let picture = jpeg::decode(file, limits.max_pixels).map_err(|fault| match fault {
        // Pillow refuses such a file too.
        Fault::Cut => broken(format, "it is cut short: no end marker"),
        Fault::Broken(reason) => broken(format, reason),
        Fault::Unknown(coding) => DecodeError::Coding { format, coding },
        Fault::TooLarge(width, height) => DecodeError::TooLarge { width, height, max_pixels: limits.max_pixels },
    })?;
    let mode = match picture.colours {
        Colours::Grey => Mode::L,
        Colours::Rgb | Colours::YCbCr => Mode::Rgb,
        Colours::Cmyk | Colours::Ycck => Mode::Cmyk,
    };
    let (width, height) = (picture.width as u32, picture.height as u32);
    Ok(Picture { width, height, mode, indexed: false, padding: [0; 4], data: picture.pixels })
}

fn png(file: &[u8], limits: &Limits) -> Result<Picture, DecodeError> {
    let bad = |reason: &dyn Display| broken(ImageFormat::Png, reason);
    // IHDR is the first chunk: 8 bytes of signature, 8 of chunk head, then
    // width, height, bit depth and colour type.
    let Some(&[w0, w1, w2, w3, h0, h1, h2, h3, depth, kind]) = file.get(16..26) else {
        return Err(bad(&"it is cut short: no header"));
    };
    check_size(u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]), limits)?;
    let mut budget = image::Limits::no_limits();
    budget.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(1 << 24));
    let decoder = PngDecoder::with_limits(Cursor::new(file), budget).map_err(|e| bad(&e))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    let color = decoder.color_type();
    let mut data = vec![0; width as usize * height as usize * usize::from(color.bytes_per_pixel())];
    decoder.read_image(&mut data).map_err(|e| bad(&e))?;

    // The decoder adds alpha where the file marks a colour as transparent; Pillow
    // does so for true alpha (kinds 4 and 6) only.
    let mode = match (kind, depth) {
        (0, 16) => Mode::L16,
        (0, _) => Mode::L,
        (4, _) => Mode::La,
        (6, _) => Mode::Rgba,
        _ => Mode::Rgb,
    };
    let data = match mode {
        Mode::L16 => {
            let pixel = usize::from(color.bytes_per_pixel());
            data.chunks_exact(pixel).flat_map(|pixel| [pixel[0], pixel[1]]).collect()
        }
        _ => first_channels(data, color, mode.bytes()),
    };
    let indexed = kind == 3 || (kind == 0 && depth == 1);
    let padding = if kind == 3 { first_of_palette(file) } else { [0; 4] };
    Ok(Picture { width, height, mode, indexed, padding, data })
}

/// The first colour of the palette of a PNG that was read.
fn first_of_palette(file: &[u8]) -> [u8; 4] {
    // Behind the signature: length, kind, data and checksum of each chunk.
    let mut at = 8;
    while let Some(&[l0, l1, l2, l3, k0, k1, k2, k3, red, green, blue]) = file.get(at..at + 11) {
        if [k0, k1, k2, k3] == *b"PLTE" {
            return [red, green, blue, 0];
        }
        at += 12 + u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    }
    [0; 4]
}

/// The first `count` channels of each pixel; of 16 bits the upper 8, as Pillow.
fn first_channels(data: Vec<u8>, color: ColorType, count: usize) -> Vec<u8> {
    let pixel = usize::from(color.bytes_per_pixel());
    let sample = pixel / usize::from(color.channel_count());
    if sample == 1 && pixel == count {
        return data;
    }
    let upper = if cfg!(target_endian = "little") { sample - 1 } else { 0 };
    data.chunks_exact(pixel).flat_map(|pixel| (0..count).map(move |channel| pixel[channel * sample + upper])).collect()
}

fn webp(file: &[u8], limits: &Limits) -> Result<Picture, DecodeError> {
    let bad = |reason: &dyn Display| broken(ImageFormat::WebP, reason);
    // The decoder takes memory for the size in the frame before it compares it
    // with the size of the canvas.
    for at in file.windows(4).enumerate().filter(|(_, id)| *id == b"VP8 ").map(|(at, _)| at) {
        if let Some(&[0x9d, 0x01, 0x2a, w0, w1, h0, h1]) = file.get(at + 11..at + 18) {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            check_size(side(w0, w1), side(h0, h1), limits)?;
        }
    }
    let decoder = WebPDecoder::new(Cursor::new(file)).map_err(|e| bad(&e))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    let mode = match decoder.color_type() {
        ColorType::Rgba8 => Mode::Rgba,
        _ => Mode::Rgb,
    };
    let mut data = vec![0; width as usize * height as usize * mode.bytes()];
    decoder.read_image(&mut data).map_err(|e| bad(&e))?;
    Ok(Picture { width, height, mode, indexed: false, padding: [0; 4], data })
}
