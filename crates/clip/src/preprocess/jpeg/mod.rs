//! JPEG to the pixels of libjpeg-turbo, which Pillow decodes with: the same transform, the same
//! interpolation of colours, the same rounding, the same treatment of damaged data.
//!
//! Sequential and progressive files with Huffman codes and samples of 8 bits, that is, nearly all.
//! What is not done is named: see [`Fault`]. The standard is ITU T.81; sections are its.

mod bits;
mod colour;
mod header;
mod idct;
mod scan;
#[cfg(test)]
mod tests;

use crate::wide::wide;
pub(super) use colour::Colours;
use colour::Plane;
pub(super) use header::Fault;
use header::{Component, Frame, Headers, Step};
use scan::Blocks;

/// More scans than any program writes; each costs a pass over the picture, however short it is.
const MOST_SCANS: usize = 1000;

/// A decoded file.
pub(super) struct Jpeg {
    pub(super) width: usize,
    pub(super) height: usize,
    /// What the components are.
    pub(super) colours: Colours,
    /// `[height, width, channels]` values: grey, RGB or inks, of which 0 is none.
    pub(super) pixels: Vec<u8>,
}

/// Decodes a file of at most `max_pixels` pixels.
pub(super) fn decode(file: &[u8], max_pixels: u64) -> Result<Jpeg, Fault> {
    if !file.starts_with(&[0xff, 0xd8]) {
        return Err(Fault::broken("it has no start marker"));
    }
    let mut headers = Headers::new(file, max_pixels);
    let mut place = (2, None);
    let mut picture: Option<Coefficients> = None;
    for scans in 1.. {
        if scans > MOST_SCANS {
            return Err(Fault::broken(format!("it has more than {MOST_SCANS} scans")));
        }
        let (scan, data) = match (headers.step(place.0, place.1)?, &picture) {
            (Step::Scan(scan, data), _) => (scan, data),
            (Step::End, Some(_)) => break,
            (Step::End, None) => return Err(Fault::broken("it has no scan")),
        };
        let Some(frame) = headers.frame.clone() else { return Err(Fault::broken("it has no frame header")) };
        let mut quants = match &picture {
            Some(picture) => picture.quants.clone(),
            None => vec![None; frame.components.len()],
        };
        for (at, ..) in &scan.components {
            // libjpeg keeps the table of a component's first scan.
            if quants[*at].is_none() {
                let table = headers.quants.get(usize::from(frame.components[*at].table)).copied().flatten();
                let table = table.ok_or_else(|| Fault::broken("a quantisation table is missing"))?;
                quants[*at] = Some(table);
            }
        }
        if picture.is_none() && !frame.progressive && scan.components.len() == frame.components.len() {
            let colours = headers.colours();
            let (planes, (marker, behind)) = in_one_scan(file, data, &headers, &frame, &scan, &quants)?;
            return match headers.step(behind, Some(marker)) {
                // Behind the last scan Pillow does not insist on an end marker.
                Ok(Step::End) | Err(Fault::Cut) => Ok(finished(colours, &frame, &planes)),
                Ok(Step::Scan(..)) => Err(Fault::broken("a scan follows the one that has everything")),
                Err(fault) => Err(fault),
            };
        }
        let picture = picture.get_or_insert_with(|| Coefficients::new(&frame));
        picture.quants = quants;
        picture.note(&scan);
        let (marker, behind) = scan::decode(file, data, &headers, &frame, &scan, &mut picture.blocks, None)?;
        place = (behind, Some(marker));
    }
    match (picture, headers.frame.clone()) {
        (Some(picture), Some(frame)) => {
            if frame.progressive && picture.would_be_smoothed() {
                return Err(Fault::broken("its last scans are missing"));
            }
            Ok(finished(headers.colours(), &frame, &picture.planes(&frame)))
        }
        _ => Err(Fault::broken("it has no picture")),
    }
}

fn finished(colours: Colours, frame: &Frame, planes: &[Plane]) -> Jpeg {
    let pixels = colour::pixels(planes, colours, frame.width, frame.height);
    Jpeg { width: frame.width, height: frame.height, colours, pixels }
}

/// The samples of a file that has everything in one scan, transformed while its coefficients are near;
/// the marker behind the scan and the place behind the marker.
fn in_one_scan(
    file: &[u8],
    data: usize,
    headers: &Headers<'_>,
    frame: &Frame,
    scan: &header::Scan,
    quants: &[Option<[i16; 64]>],
) -> Result<(Vec<Plane>, (u8, usize)), Fault> {
    let mut planes: Vec<Plane> = frame.components.iter().map(|part| plane(frame, part)).collect();
    let row_of = |part: &Component| {
        let across = frame.units().0 * part.across;
        Blocks { blocks: vec![[0; 64]; across * part.down], across }
    };
    let mut row: Vec<Blocks> = frame.components.iter().map(row_of).collect();
    let mut by_row = |y: usize, row: &mut [Blocks]| {
        for ((plane, blocks), (part, quant)) in planes.iter_mut().zip(row).zip(frame.components.iter().zip(quants)) {
            transform(blocks, quant.as_ref(), plane, y * part.down * 8);
            blocks.blocks.fill([0; 64]);
        }
    };
    let end = scan::decode(file, data, headers, frame, scan, &mut row, Some(&mut by_row))?;
    Ok((planes, end))
}

/// The coefficients of a file of several scans.
struct Coefficients {
    blocks: Vec<Blocks>,
    /// Quantisation tables of the components that were in a scan.
    quants: Vec<Option<[i16; 64]>>,
    /// Of the first ten coefficients of each component, the bits that are left open; none of those
    /// that were in no scan.
    open: Vec<[Option<u8>; 10]>,
}

impl Coefficients {
    fn new(frame: &Frame) -> Self {
        let (across, down) = frame.units();
        let blocks = |part: &Component| Blocks {
            blocks: vec![[0; 64]; across * part.across * down * part.down],
            across: across * part.across,
        };
        let count = frame.components.len();
        Self {
            blocks: frame.components.iter().map(blocks).collect(),
            quants: vec![None; count],
            open: vec![[None; 10]; count],
        }
    }

    fn note(&mut self, scan: &header::Scan) {
        for (at, ..) in &scan.components {
            for open in self.open[*at].iter_mut().take(scan.band.1 + 1).skip(scan.band.0) {
                *open = Some(scan.low);
            }
        }
    }

    /// Whether libjpeg would smooth blocks whose first coefficients are not known to the last bit
    /// (`smoothing_ok`), which is not done here.
    fn would_be_smoothed(&self) -> bool {
        const FIRST_TEN: [usize; 10] = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24];
        let usable = |quant: &Option<[i16; 64]>| quant.is_some_and(|quant| FIRST_TEN.iter().all(|at| quant[*at] != 0));
        self.quants.iter().all(usable)
            && self.open.iter().all(|open| open[0].is_some())
            && self.open.iter().any(|open| open[1..].iter().any(|open| *open != Some(0)))
    }

    fn planes(self, frame: &Frame) -> Vec<Plane> {
        let parts = self.blocks.into_iter().zip(&self.quants).zip(&frame.components);
        let plane = |((mut blocks, quant), part): ((Blocks, &Option<[i16; 64]>), &Component)| {
            let mut plane = plane(frame, part);
            transform(&mut blocks, quant.as_ref(), &mut plane, 0);
            plane
        };
        parts.map(plane).collect()
    }
}

fn plane(frame: &Frame, part: &Component) -> Plane {
    let (across, down) = frame.units();
    let stride = across * part.across * 8;
    Plane {
        samples: vec![0; stride * down * part.down * 8],
        stride,
        width: part.width,
        height: part.height,
        across: frame.across / part.across,
        down: frame.down / part.down,
    }
}

/// Writes the samples of rows of blocks into a plane, from row `top` on.
fn transform(blocks: &mut Blocks, quant: Option<&[i16; 64]>, plane: &mut Plane, top: usize) {
    // A component without a scan has no table; it comes out grey.
    let quant = quant.unwrap_or(&[0; 64]);
    let stride = plane.stride;
    wide(
        #[inline(always)]
        || {
            let rows = plane.samples[top * stride..].chunks_exact_mut(stride * 8);
            for (row, out) in blocks.blocks.chunks_exact(blocks.across).zip(rows) {
                for (x, block) in row.iter().enumerate() {
                    let out = &mut out[x * 8..];
                    if block[1..].iter().fold(0, |all, value| all | *value) == 0 {
                        idct::flat(block[0], quant[0], out, stride);
                    } else {
                        idct::transform(block, quant, out, stride);
                    }
                }
            }
        },
    );
}
