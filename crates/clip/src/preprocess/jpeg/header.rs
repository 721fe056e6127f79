//! What stands in a file before its entropy-coded data: sizes, tables, scans.

use super::bits::Code;
use super::colour::Colours;

/// Why a file gives no picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ends too early.
    Cut,
    /// It breaks the rules, with what is wrong.
    Broken(String),
    /// It may be right, and this decoder does not know its coding.
    Unknown(&'static str),
    /// It has more pixels than it may have: its columns and rows.
    TooLarge(u32, u32),
}

impl Fault {
    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self::Broken(message.into())
    }
}

/// One component, by the frame header.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors: blocks in a minimum coded unit, along a row and down a column.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Its quantisation table, by number.
    pub(super) table: u8,
    /// Columns and rows that belong to the picture.
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The frame header.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    /// The largest sampling factors.
    pub(super) across: usize,
    pub(super) down: usize,
}

impl Frame {
    /// Minimum coded units of an interleaved scan along a row and down a column.
    pub(super) fn units(&self) -> (usize, usize) {
        (self.width.div_ceil(self.across * 8), self.height.div_ceil(self.down * 8))
    }
}

/// The header of a scan.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Components by their place in the frame, each with its DC and its AC table.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// The first and the last coefficient in the order of the file.
    pub(super) band: (usize, usize),
    /// Successive approximation: bits that earlier scans left open (0 in the first one of a
    /// coefficient), and that this one leaves open.
    pub(super) high: u8,
    pub(super) low: u8,
}

/// The next thing in a file that asks for work.
#[derive(Debug)]
pub(super) enum Step {
    /// A scan, whose data begin at this place.
    Scan(Scan, usize),
    /// The end marker.
    End,
}

/// Everything that headers say until a scan begins.
pub(super) struct Headers<'a> {
    file: &'a [u8],
    max_pixels: u64,
    pub(super) frame: Option<Frame>,
    /// By number, values by row and column.
    pub(super) quants: [Option<[i16; 64]>; 4],
    pub(super) dc: [Option<Code>; 4],
    pub(super) ac: [Option<Code>; 4],
    /// Minimum coded units between two restart markers; 0 for none.
    pub(super) interval: usize,
    jfif: bool,
    adobe: Option<u8>,
}

/// The place of each coefficient by row and column, in the order of the file. Damaged files lead up to
/// 16 places behind the last one.
#[rustfmt::skip]
pub(super) const ORDER: [u8; 80] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61,
    54, 47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
];

impl<'a> Headers<'a> {
    pub(super) fn new(file: &'a [u8], max_pixels: u64) -> Self {
        Self {
            file,
            max_pixels,
            frame: None,
            quants: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            interval: 0,
            jfif: false,
            adobe: None,
        }
    }

    /// Reads on from `at` up to a scan or to the end. `marker`: the code of a marker that was read
    /// already, with `at` behind it.
    pub(super) fn step(&mut self, mut at: usize, mut marker: Option<u8>) -> Result<Step, Fault> {
        loop {
            let code = match marker.take() {
                Some(code) => code,
                None => {
                    let (code, behind) = next_marker(self.file, at).ok_or(Fault::Cut)?;
                    at = behind;
                    code
                }
            };
            match code {
                0xd9 => return Ok(Step::End),
                // Markers without content.
                0x01 | 0xd0..=0xd7 => continue,
                0xd8 => return Err(Fault::broken("it has a second start marker")),
                0xc0..=0xc2 | 0xc4 | 0xcc | 0xda..=0xdd | 0xe0..=0xef | 0xfe => {}
                0xc9 | 0xca => return Err(Fault::Unknown("arithmetic coding")),
                0xc3 | 0xcb => return Err(Fault::Unknown("lossless coding")),
                0xc5..=0xc7 | 0xcd..=0xcf | 0xde | 0xdf => return Err(Fault::Unknown("hierarchical coding")),
                other => return Err(Fault::broken(format!("marker {other:#04x} is unknown"))),
            }
            let content = self.content(at)?;
            at += 2 + content.len();
            match code {
                0xc0..=0xc2 => self.frame(content, code == 0xc2)?,
                0xc4 => self.huffman(content)?,
                0xda => return Ok(Step::Scan(self.scan(content)?, at)),
                0xdb => self.quantisation(content)?,
                0xdd => match *content {
                    [high, low] => self.interval = u16::from_be_bytes([high, low]).into(),
                    _ => return Err(wrong_length("restart interval")),
                },
                0xe0 if content.len() >= 14 && content.starts_with(b"JFIF\0") => self.jfif = true,
                0xee if content.len() >= 12 && content.starts_with(b"Adobe") => self.adobe = Some(content[11]),
                _ => {}
            }
        }
    }

    /// What a marker's length spans.
    fn content(&self, at: usize) -> Result<&'a [u8], Fault> {
        let length = self.file.get(at..at + 2).ok_or(Fault::Cut)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        self.file.get(at + 2..at + length).ok_or(Fault::Cut)
    }

    fn frame(&mut self, content: &[u8], progressive: bool) -> Result<(), Fault> {
        if self.frame.is_some() {
            return Err(Fault::broken("it has two frame headers"));
        }
        let [bits, h0, h1, w0, w1, count, components @ ..] = content else {
            return Err(wrong_length("frame header"));
        };
        let [height, width] = [[*h0, *h1], [*w0, *w1]].map(u16::from_be_bytes);
        if *bits != 8 {
            return Err(Fault::Unknown("samples of other than 8 bits"));
        }
        if width == 0 || height == 0 || *count == 0 {
            return Err(Fault::broken("it has no pixels"));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(Fault::broken(format!("it has {count} colour components; pictures have 1, 3 or 4")));
        }
        if components.len() != usize::from(*count) * 3 {
            return Err(wrong_length("frame header"));
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(Fault::TooLarge(width.into(), height.into()));
        }
        let (width, height) = (usize::from(width), usize::from(height));
        let components = components.chunks_exact(3).map(|part| Component {
            id: part[0],
            across: usize::from(part[1] >> 4),
            down: usize::from(part[1] & 15),
            table: part[2],
            width,
            height,
        });
        let mut components: Vec<Component> = components.collect();
        if components.iter().any(|part| !(1..=4).contains(&part.across) || !(1..=4).contains(&part.down)) {
            return Err(Fault::broken("a sampling factor is not in 1 to 4"));
        }
        let across = components.iter().map(|part| part.across).max().unwrap_or(1);
        let down = components.iter().map(|part| part.down).max().unwrap_or(1);
        for part in &mut components {
            if !across.is_multiple_of(part.across) || !down.is_multiple_of(part.down) {
                return Err(Fault::Unknown("a fractional ratio of the components' sizes"));
            }
            part.width = (width * part.across).div_ceil(across);
            part.height = (height * part.down).div_ceil(down);
        }
        self.frame = Some(Frame { width, height, progressive, components, across, down });
        Ok(())
    }

    /// What the components are (libjpeg's `default_decompress_parms`).
    pub(super) fn colours(&self) -> Colours {
        let ids: Vec<u8> = self.frame.iter().flat_map(|frame| &frame.components).map(|part| part.id).collect();
        match (ids.len(), self.adobe) {
            (1, _) => Colours::Grey,
            (3, _) if self.jfif => Colours::YCbCr,
            (3, Some(0)) => Colours::Rgb,
            (3, None) if ids == *b"RGB" => Colours::Rgb,
            (3, _) => Colours::YCbCr,
            (_, None | Some(0)) => Colours::Cmyk,
            (_, Some(_)) => Colours::Ycck,
        }
    }

    fn quantisation(&mut self, mut content: &[u8]) -> Result<(), Fault> {
        while let [kind, rest @ ..] = content {
            let size = if kind >> 4 == 0 { 64 } else { 128 };
            let Some((values, rest)) = rest.split_at_checked(size) else {
                return Err(wrong_length("quantisation table"));
            };
            let slot = self.quants.get_mut(usize::from(kind & 15));
            let slot = slot.ok_or_else(|| Fault::broken("a quantisation table has a number above 3"))?;
            let mut quant = [0; 64];
            for (place, value) in ORDER.iter().zip(values.chunks_exact(size / 64)) {
                // libjpeg's vectors multiply 16 bits, so that the sign is of no consequence.
                quant[usize::from(*place)] = value.iter().fold(0u16, |sum, byte| sum << 8 | u16::from(*byte)) as i16;
            }
            *slot = Some(quant);
            content = rest;
        }
        Ok(())
    }

    fn huffman(&mut self, mut content: &[u8]) -> Result<(), Fault> {
        while let [kind, rest @ ..] = content {
            let Some((counts, rest)) = rest.split_first_chunk::<16>() else {
                return Err(wrong_length("Huffman table"));
            };
            let count: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let Some((found, rest)) = rest.split_at_checked(count).filter(|_| count <= 256) else {
                return Err(wrong_length("Huffman table"));
            };
            let mut symbols = [0; 256];
            symbols[..count].copy_from_slice(found);
            let tables = if kind & 0x10 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = tables.get_mut(usize::from(kind & !0x10));
            let slot = slot.ok_or_else(|| Fault::broken("a Huffman table has a number above 3"))?;
            *slot = Some(Code { counts: *counts, symbols });
            content = rest;
        }
        Ok(())
    }

    fn scan(&self, content: &[u8]) -> Result<Scan, Fault> {
        let frame = self.frame.as_ref().ok_or_else(|| Fault::broken("a scan comes before the frame header"))?;
        let [count, rest @ ..] = content else { return Err(wrong_length("scan header")) };
        let count = usize::from(*count);
        let Some((parts, &[first, last, bits])) = rest.split_at_checked(count * 2) else {
            return Err(wrong_length("scan header"));
        };
        if !(1..=4).contains(&count) {
            return Err(wrong_length("scan header"));
        }
        let mut components: Vec<(usize, usize, usize)> = Vec::new();
        for part in parts.chunks_exact(2) {
            let free = |at: &usize| components.iter().all(|(used, ..)| used != at);
            let found = (0..frame.components.len()).filter(free).find(|at| frame.components[*at].id == part[0]);
            let found = found.ok_or_else(|| Fault::broken("a scan has a component that the frame lacks"))?;
            components.push((found, usize::from(part[1] >> 4), usize::from(part[1] & 15)));
        }
        let blocks = |part: &(usize, usize, usize)| frame.components[part.0].across * frame.components[part.0].down;
        if count > 1 && components.iter().map(blocks).sum::<usize>() > 10 {
            return Err(Fault::broken("a scan has more than 10 blocks per unit"));
        }
        Ok(Scan { components, band: (first.into(), last.into()), high: bits >> 4, low: bits & 15 })
    }
}

fn wrong_length(what: &str) -> Fault {
    Fault::broken(format!("a {what} has the wrong length"))
}

/// The code of the next marker at or behind `at`, and the place behind it.
pub(super) fn next_marker(file: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += file.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        at += file[at..].iter().position(|byte| *byte != 0xff)?;
        let code = file[at];
        at += 1;
        if code != 0 {
            return Some((code, at));
        }
    }
}

/// Standard tables (ITU T.81, annex K.3), which frames of motion JPEG leave out.
pub(super) fn standard_code(runs: bool, number: usize) -> Option<Code> {
    let (counts, found): ([u8; 16], &[u8]) = match (runs, number) {
        (false, 0) => ([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &DC_SYMBOLS),
        (false, 1) => ([0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &DC_SYMBOLS),
        (true, 0) => ([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d], &LUMA_SYMBOLS),
        (true, 1) => ([0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77], &COLOUR_SYMBOLS),
        _ => return None,
    };
    let mut symbols = [0; 256];
    symbols[..found.len()].copy_from_slice(found);
    Some(Code { counts, symbols })
}

const DC_SYMBOLS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
#[rustfmt::skip]
const LUMA_SYMBOLS: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];
#[rustfmt::skip]
const COLOUR_SYMBOLS: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];
