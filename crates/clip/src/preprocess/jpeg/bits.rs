//! The bits of entropy-coded data, and the Huffman codes in them.

/// Zeros behind the data, so that eight bytes can be read at every place that is reached.
const PADDING: usize = 16;
/// Bits of a code that are looked up at once.
const FAST: u32 = 10;
/// The most bits of a code.
const LONGEST: usize = 16;

/// Entropy-coded data up to a marker, without the zeros that are stuffed behind each 0xff.
#[derive(Default)]
pub(super) struct Segment {
    bytes: Vec<u8>,
}

impl Segment {
    /// Reads the data at `at`. Returns the marker's code and the place behind it; nothing if the
    /// file ends before a marker.
    pub(super) fn read(&mut self, file: &[u8], mut at: usize) -> Option<(u8, usize)> {
        self.bytes.clear();
        let end = loop {
            let rest = file.get(at..).unwrap_or_default();
            let plain = without_ff(rest);
            self.bytes.extend_from_slice(&rest[..plain]);
            at += plain;
            // Any number of 0xff may stand before a marker.
            let Some(fill) = file.get(at..).and_then(|rest| rest.iter().position(|byte| *byte != 0xff)) else {
                break None;
            };
            let code = file[at + fill];
            at += fill + 1;
            if code != 0 {
                break Some((code, at));
            }
            self.bytes.push(0xff);
        };
        self.bytes.resize(self.bytes.len() + PADDING, 0);
        end
    }

    /// Makes it a segment without data.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(PADDING, 0);
    }

    pub(super) fn bits(&self) -> Bits<'_> {
        Bits { bytes: &self.bytes, at: 0, buffer: 0, count: 0 }
    }
}

/// How many bytes there are before the first 0xff.
fn without_ff(bytes: &[u8]) -> usize {
    let mut at = 0;
    for eight in bytes.chunks_exact(8) {
        let word = u64::from_le_bytes([eight[0], eight[1], eight[2], eight[3], eight[4], eight[5], eight[6], eight[7]]);
        // A byte of the complement is 0 where the byte is 0xff (Hacker's Delight, section 6-1).
        let inverted = !word;
        let zeros = inverted.wrapping_sub(0x0101_0101_0101_0101) & !inverted & 0x8080_8080_8080_8080;
        if zeros != 0 {
            return at + zeros.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len() - at)
}

/// A place in a segment. Behind the data there are zeros without end.
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte that is not in the buffer.
    at: usize,
    /// The next bits, the first one on top.
    buffer: u64,
    /// How many of them count.
    count: u32,
}

impl Bits<'_> {
    /// Makes sure that 32 bits can be taken: a code and the number behind it.
    #[inline(always)]
    pub(super) fn need(&mut self) {
        if self.count < 32 {
            // The last eight bytes are padding, and so is everything behind them.
            let at = self.at.min(self.bytes.len() - 8);
            let eight =
                self.bytes.get(at..at + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()).unwrap_or_default();
            self.buffer |= u64::from_be_bytes(eight) >> self.count;
            self.at += (63 - self.count as usize) / 8;
            self.count |= 56;
        }
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count = self.count.wrapping_sub(count);
    }

    /// Takes 1 to 16 bits as a number.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let value = (self.buffer >> (64 - count)) as u32;
        self.skip(count);
        value
    }

    /// Takes a number of 1 to 15 bits as the standard writes it (section F.2.2.1, EXTEND).
    #[inline(always)]
    pub(super) fn signed(&mut self, count: u32) -> i32 {
        extend(self.take(count) as i32, count)
    }

    /// Takes one bit, with a look whether there is one.
    #[inline(always)]
    pub(super) fn one(&mut self) -> bool {
        self.need();
        self.take(1) == 1
    }

    /// Whether more bits were taken than there are.
    #[inline(always)]
    pub(super) fn exhausted(&self) -> bool {
        self.at * 8 - self.count as usize > (self.bytes.len() - PADDING) * 8
    }
}

fn extend(value: i32, count: u32) -> i32 {
    if value < 1 << (count - 1) { value - (1 << count) + 1 } else { value }
}

/// A Huffman table as a file has it.
#[derive(Clone)]
pub(super) struct Code {
    /// How many codes there are of 1 to 16 bits.
    pub(super) counts: [u8; LONGEST],
    /// What they stand for, the shortest code first.
    pub(super) symbols: [u8; 256],
}

/// What a looked-up code stands for, or its length alone, or nothing if it is longer.
///
/// Bits 0 to 7: how many bits it takes. Bit 8: whether the number behind the code is known too;
/// then bits 9 to 12 are the run of zeros before it and bits 16 to 31 the number, else bits 16 to 23
/// are the symbol.
#[derive(Clone, Copy, Default)]
struct Entry(u32);

const WHOLE: u32 = 1 << 8;

/// A Huffman table made ready for decoding.
pub(super) struct Table {
    fast: [Entry; 1 << FAST],
    /// The largest code of each length, -1 if there is none; the last one ends every search.
    largest: [i32; LONGEST + 2],
    /// What is added to a code of each length for the place of its symbol.
    offsets: [i32; LONGEST + 2],
    symbols: [u8; 256],
}

impl Table {
    /// `runs`: whether symbols are a run of zeros and a size (AC), or a size alone (DC).
    ///
    /// # Errors
    /// What is wrong with the table.
    pub(super) fn new(code: &Code, runs: bool) -> Result<Self, &'static str> {
        let mut table = Self {
            fast: [Entry::default(); 1 << FAST],
            largest: [-1; LONGEST + 2],
            offsets: [0; LONGEST + 2],
            symbols: code.symbols,
        };
        table.largest[LONGEST + 1] = i32::MAX;
        let (mut next, mut at) = (0u32, 0usize);
        for (length, count) in (1u32..).zip(code.counts) {
            let first = next;
            for _ in 0..count {
                let symbol = *code.symbols.get(at).ok_or("a Huffman table has more than 256 codes")?;
                if !runs && symbol > 15 {
                    return Err("a Huffman table of DC values has a size above 15");
                }
                if next >= 1 << length {
                    return Err("a Huffman table has more codes than there can be");
                }
                if length <= FAST {
                    table.enter(next, length, symbol, runs);
                }
                next += 1;
                at += 1;
            }
            if count > 0 {
                table.offsets[length as usize] = at as i32 - next as i32;
                table.largest[length as usize] = next as i32 - 1;
                // No code may be all ones.
                if next >= 1 << length && next > first {
                    return Err("a Huffman table has more codes than there can be");
                }
            }
            next <<= 1;
        }
        Ok(table)
    }

    /// Writes a code into every place of the table that begins with it.
    fn enter(&mut self, code: u32, length: u32, symbol: u8, runs: bool) {
        let free = FAST - length;
        let (run, size) = if runs { (u32::from(symbol >> 4), u32::from(symbol & 15)) } else { (0, symbol.into()) };
        for rest in 0..1u32 << free {
            let whole = if size == 0 {
                // Of AC values this ends the block or skips sixteen zeros, which is not a number.
                (!runs).then_some(0)
            } else {
                (size <= free).then(|| extend((rest >> (free - size)) as i32, size))
            };
            let entry = match whole {
                Some(value) => (length + size) | WHOLE | run << 9 | (value as u32) << 16,
                None => length | u32::from(symbol) << 16,
            };
            self.fast[(code << free | rest) as usize] = Entry(entry);
        }
    }

    #[inline(always)]
    fn look(&self, bits: &Bits<'_>) -> u32 {
        self.fast[(bits.buffer >> (64 - FAST)) as usize].0
    }

    /// Takes a symbol, of which at most 17 bits are taken. 0 for a code that does not exist, as
    /// libjpeg has it.
    #[inline(always)]
    pub(super) fn symbol(&self, bits: &mut Bits<'_>) -> u8 {
        let entry = self.look(bits);
        if entry & WHOLE == 0 && entry != 0 {
            bits.skip(entry & 0xff);
            return (entry >> 16) as u8;
        }
        self.search(bits, 1)
    }

    #[inline(never)]
    fn search(&self, bits: &mut Bits<'_>, from: u32) -> u8 {
        let mut length = from;
        while (bits.buffer >> (64 - length)) as i32 > self.largest[length as usize] {
            length += 1;
        }
        let code = bits.take(length) as i32;
        if length as usize > LONGEST {
            return 0;
        }
        self.symbols[(code + self.offsets[length as usize]) as usize & 0xff]
    }

    /// Takes the difference of a DC value.
    #[inline(always)]
    pub(super) fn difference(&self, bits: &mut Bits<'_>) -> i32 {
        bits.need();
        let entry = self.look(bits);
        if entry & WHOLE != 0 {
            bits.skip(entry & 0xff);
            return entry as i32 >> 16;
        }
        match self.symbol(bits) {
            0 => 0,
            size => bits.signed(size.into()),
        }
    }

    /// Takes the AC values of a block into the places of `order`. Returns the place of the last one
    /// in the order of the file; 0 if there is none.
    #[inline(always)]
    pub(super) fn block(&self, bits: &mut Bits<'_>, block: &mut [i16; 64], order: &[u8; 80]) -> usize {
        let (mut at, mut last) = (1, 0);
        while at < 64 {
            bits.need();
            let entry = self.look(bits);
            let value = if entry & WHOLE != 0 {
                bits.skip(entry & 0xff);
                at += (entry >> 9 & 15) as usize;
                (entry >> 16) as i16
            } else {
                let symbol = if entry != 0 {
                    bits.skip(entry & 0xff);
                    (entry >> 16) as u8
                } else {
                    self.search(bits, FAST + 1)
                };
                let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
                if size == 0 {
                    if run != 15 {
                        break;
                    }
                    at += 16;
                    continue;
                }
                at += run;
                bits.signed(size) as i16
            };
            // At most 63 and a run of 15, which only a damaged file has.
            block[usize::from(order[at]) & 63] = value;
            last = at;
            at += 1;
        }
        last.min(63)
    }
}
