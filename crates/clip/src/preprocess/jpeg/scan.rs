//! Scans: from entropy-coded data to coefficients.

use super::bits::{Bits, Segment, Table};
use super::header::{Fault, Frame, Headers, ORDER, Scan, next_marker, standard_code};

/// A component's blocks of coefficients, by row and column: those of the picture, or of one row of
/// units at a time.
pub(super) struct Blocks {
    pub(super) blocks: Vec<[i16; 64]>,
    /// Blocks per row, those that fill up the last unit included.
    pub(super) across: usize,
}

/// Takes the coefficients of a row of units, of each component, and sets them to 0 again.
pub(super) type ByRow<'a> = dyn FnMut(usize, &mut [Blocks]) + 'a;

/// How coefficients are coded in a scan.
#[derive(Clone, Copy, Debug)]
enum Coding {
    /// All of a block at once.
    Sequential,
    /// The upper bits of DC values, or one more bit of them.
    DcFirst,
    DcMore,
    /// The same of a band of AC values.
    AcFirst,
    AcMore,
}

impl Coding {
    fn of(frame: &Frame, scan: &Scan) -> Result<Self, Fault> {
        if !frame.progressive {
            // What the header says of bands means nothing here.
            return Ok(Self::Sequential);
        }
        let (first, last) = scan.band;
        let band = if first == 0 { last == 0 } else { first <= last && last < 64 && scan.components.len() == 1 };
        let bits = scan.low <= 13 && (scan.high == 0 || scan.high == scan.low + 1);
        if !band || !bits {
            return Err(Fault::broken("a progressive scan has impossible bands or bits"));
        }
        Ok(match (first, scan.high) {
            (0, 0) => Self::DcFirst,
            (0, _) => Self::DcMore,
            (_, 0) => Self::AcFirst,
            _ => Self::AcMore,
        })
    }
}

/// One of a scan's components.
struct Part {
    /// Its place in the frame.
    at: usize,
    /// Its blocks in a unit.
    across: usize,
    down: usize,
    dc: Option<Table>,
    ac: Option<Table>,
}

/// What decoding carries from block to block; begins anew at restart markers.
#[derive(Default)]
struct State {
    dc: [i32; 4],
    /// Blocks, this one included, in which a band has no more coefficients.
    run: u32,
}

/// Decodes the scan whose data begin at `at` into `blocks`, one [`Blocks`] per component of the frame.
/// With `by_row` they are of one row of units: it is called with the number of each row that is whole.
/// Returns the marker behind the scan and the place behind the marker.
pub(super) fn decode(
    file: &[u8],
    at: usize,
    headers: &Headers<'_>,
    frame: &Frame,
    scan: &Scan,
    blocks: &mut [Blocks],
    mut by_row: Option<&mut ByRow<'_>>,
) -> Result<(u8, usize), Fault> {
    let coding = Coding::of(frame, scan)?;
    let parts = parts(headers, frame, scan, coding)?;
    let (across, down) = match &scan.components[..] {
        [(only, ..)] => {
            let part = &frame.components[*only];
            (part.width.div_ceil(8), part.height.div_ceil(8))
        }
        _ => frame.units(),
    };
    // Rows of blocks of one component make a row of units of several.
    let rows_per_call = if parts.len() == 1 { frame.components[parts[0].at].down } else { 1 };

    let mut segment = Segment::default();
    let mut end = segment.read(file, at).ok_or(Fault::Cut)?;
    let (mut restart, mut empty) = (0u8, false);
    let mut units = (0..down).flat_map(|y| (0..across).map(move |x| (y, x))).peekable();
    loop {
        let interval = if headers.interval == 0 { usize::MAX } else { headers.interval };
        let (mut bits, mut state) = (segment.bits(), State::default());
        for (y, x) in units.by_ref().take(interval) {
            // Behind the end of the data blocks stay as they are.
            if !empty {
                let row = if by_row.is_some() { y % rows_per_call } else { y };
                unit(&mut bits, &mut state, coding, scan, &parts, blocks, row, x);
                empty = bits.exhausted();
            }
            if x + 1 == across
                && let Some(by_row) = by_row.as_mut()
                && ((y + 1).is_multiple_of(rows_per_call) || y + 1 == down)
            {
                by_row(y / rows_per_call, blocks);
            }
        }
        if units.peek().is_none() {
            return Ok(end);
        }
        let stays = resynchronise(file, &mut end, restart)?;
        restart = (restart + 1) & 7;
        if stays {
            segment.clear();
        } else {
            end = segment.read(file, end.1).ok_or(Fault::Cut)?;
            empty = false;
        }
    }
}

/// Makes the tables of a scan ready.
fn parts(headers: &Headers<'_>, frame: &Frame, scan: &Scan, coding: Coding) -> Result<Vec<Part>, Fault> {
    let alone = scan.components.len() == 1;
    let table = |runs: bool, number: usize| {
        let tables = if runs { &headers.ac } else { &headers.dc };
        let standard = || standard_code(runs, number).filter(|_| matches!(coding, Coding::Sequential));
        let code = tables.get(number).and_then(Option::clone).or_else(standard);
        let code = code.ok_or_else(|| Fault::broken("a scan asks for a Huffman table that the file lacks"))?;
        Table::new(&code, runs).map_err(Fault::broken)
    };
    let part = |(at, dc, ac): &(usize, usize, usize)| {
        let component = &frame.components[*at];
        let (with_dc, with_ac) = match coding {
            Coding::Sequential => (true, true),
            Coding::DcFirst => (true, false),
            Coding::DcMore => (false, false),
            Coding::AcFirst | Coding::AcMore => (false, true),
        };
        Ok(Part {
            at: *at,
            across: if alone { 1 } else { component.across },
            down: if alone { 1 } else { component.down },
            dc: with_dc.then(|| table(false, *dc)).transpose()?,
            ac: with_ac.then(|| table(true, *ac)).transpose()?,
        })
    };
    scan.components.iter().map(part).collect()
}

/// One minimum coded unit: the blocks of each component at row `y` and column `x` of units.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn unit(
    bits: &mut Bits<'_>,
    state: &mut State,
    coding: Coding,
    scan: &Scan,
    parts: &[Part],
    blocks: &mut [Blocks],
    y: usize,
    x: usize,
) {
    for (part, last) in parts.iter().zip(&mut state.dc) {
        let Blocks { blocks, across } = &mut blocks[part.at];
        for row in 0..part.down {
            let first = (y * part.down + row) * *across + x * part.across;
            for block in &mut blocks[first..first + part.across] {
                match (coding, &part.dc, &part.ac) {
                    (Coding::Sequential, Some(dc), Some(ac)) => {
                        *last = last.wrapping_add(dc.difference(bits));
                        block[0] = *last as i16;
                        ac.block(bits, block, &ORDER);
                    }
                    (Coding::DcFirst, Some(dc), _) => {
                        *last = last.wrapping_add(dc.difference(bits));
                        block[0] = (*last << scan.low) as i16;
                    }
                    (Coding::DcMore, ..) => block[0] |= i16::from(bits.one()) << scan.low,
                    (Coding::AcFirst, _, Some(ac)) => ac_first(bits, &mut state.run, scan, ac, block),
                    (Coding::AcMore, _, Some(ac)) => ac_more(bits, &mut state.run, scan, ac, block),
                    _ => {}
                }
            }
        }
    }
}

/// The first scan of a band (section G.1.2.2).
fn ac_first(bits: &mut Bits<'_>, run: &mut u32, scan: &Scan, table: &Table, block: &mut [i16; 64]) {
    if *run > 0 {
        *run -= 1;
        return;
    }
    let (mut at, last) = scan.band;
    while at <= last {
        bits.need();
        let symbol = table.symbol(bits);
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size > 0 {
            at += zeros;
            block[usize::from(ORDER[at])] = (bits.signed(size) << scan.low) as i16;
        } else if zeros == 15 {
            at += 15;
        } else {
            *run = blocks_of_run(bits, zeros) - 1;
            return;
        }
        at += 1;
    }
}

/// How many blocks a band ends in at once: from a symbol and the bits behind it.
fn blocks_of_run(bits: &mut Bits<'_>, size: usize) -> u32 {
    match size {
        0 => 1,
        size => (1 << size) + bits.take(size as u32),
    }
}

/// A scan that adds a bit to a band (section G.1.2.3).
fn ac_more(bits: &mut Bits<'_>, run: &mut u32, scan: &Scan, table: &Table, block: &mut [i16; 64]) {
    let bit = 1i16 << scan.low;
    let (mut at, last) = scan.band;
    // Adds the bit to a coefficient that is not 0.
    let correct = |bits: &mut Bits<'_>, value: &mut i16| {
        if bits.one() && *value & bit == 0 {
            *value = value.wrapping_add(if *value >= 0 { bit } else { -bit });
        }
    };
    while *run == 0 && at <= last {
        bits.need();
        let symbol = table.symbol(bits);
        let (mut zeros, size) = (symbol >> 4, symbol & 15);
        let new = match (size, zeros) {
            (0, 15) => 0,
            (0, _) => {
                *run = blocks_of_run(bits, zeros.into());
                break;
            }
            // The size is 1 in every sound file.
            _ if bits.one() => bit,
            _ => -bit,
        };
        while at <= last {
            let value = &mut block[usize::from(ORDER[at])];
            if *value != 0 {
                correct(bits, value);
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            at += 1;
        }
        if new != 0 {
            block[usize::from(ORDER[at])] = new;
        }
        at += 1;
    }
    if *run > 0 {
        for place in ORDER.get(at..=last).unwrap_or_default() {
            let value = &mut block[usize::from(*place)];
            if *value != 0 {
                correct(bits, value);
            }
        }
        *run -= 1;
    }
}

/// Goes to the next part of a scan as libjpeg's `jpeg_resync_to_restart` does. `end` is the marker
/// that was found and the place behind it, `wanted` the number that its restart marker should have.
/// Returns whether the marker stays: then the part has no data.
fn resynchronise(file: &[u8], end: &mut (u8, usize), wanted: u8) -> Result<bool, Fault> {
    loop {
        let ahead = (end.0.wrapping_sub(0xd0)).wrapping_sub(wanted) & 7;
        match (end.0, ahead) {
            (0xd0..=0xd7, 1 | 2) => return Ok(true),
            (0xd0..=0xd7, 6 | 7) | (..0xc0, _) => {
                *end = next_marker(file, end.1).ok_or(Fault::Cut)?;
            }
            (0xd0..=0xd7, _) => return Ok(false),
            _ => return Ok(true),
        }
    }
}
