//! From the planes of a file to the pixels of a picture: interpolation and colours, as libjpeg's
//! "fancy upsampling" and colour conversion have them.

/// A component's samples.
pub(super) struct Plane {
    /// `stride` samples per row; rows and columns of whole blocks.
    pub(super) samples: Vec<u8>,
    pub(super) stride: usize,
    /// Columns and rows that belong to the picture.
    pub(super) width: usize,
    pub(super) height: usize,
    /// How many columns and rows of the picture one sample stands for.
    pub(super) across: usize,
    pub(super) down: usize,
}

impl Plane {
    /// A row of the component; the last one stands for all below it.
    fn row(&self, row: usize) -> &[u8] {
        let row = row.min(self.height - 1);
        &self.samples[row * self.stride..][..self.stride]
    }

    /// Writes row `row` of the picture, at its full width, into `out`, which is longer than that by
    /// less than `across`. `sums` is memory for it.
    #[inline(always)]
    fn full_row<'a>(&'a self, row: usize, out: &'a mut [u8], sums: &mut [u16]) -> &'a [u8] {
        // libjpeg repeats columns that are too few for interpolating.
        let smooth = self.across == 1 || self.width > 2;
        match (self.across, self.down) {
            (1, 1) => return self.row(row),
            (2, 1) if smooth => double(self.row(row), self.width, out),
            (1, 2) => {
                let (near, far) = self.neighbours(row);
                // Rounded down in the upper of two rows, up in the lower.
                let round = if row.is_multiple_of(2) { 1 } else { 2 };
                for ((out, near), far) in out.iter_mut().zip(near).zip(far) {
                    *out = ((3 * u16::from(*near) + u16::from(*far) + round) >> 2) as u8;
                }
            }
            (2, 2) if smooth => {
                let (near, far) = self.neighbours(row);
                double_both(near, far, self.width, out, sums);
            }
            (across, down) => {
                for (out, sample) in out.chunks_mut(across).zip(self.row(row / down)) {
                    out.fill(*sample);
                }
            }
        }
        out
    }

    /// The rows of the component that a row of a picture of twice the height lies between: the
    /// nearer one and the other one.
    fn neighbours(&self, row: usize) -> (&[u8], &[u8]) {
        let near = row / 2;
        let far = if row.is_multiple_of(2) { near.saturating_sub(1) } else { near + 1 };
        (self.row(near), self.row(far))
    }
}

/// Twice as many columns: three parts of the nearer sample, one of the other one.
#[inline(always)]
fn double(row: &[u8], width: usize, out: &mut [u8]) {
    let sample = |at: usize| u16::from(row[at]);
    out[0] = row[0];
    out[1] = ((3 * sample(0) + sample(1) + 2) >> 2) as u8;
    for ((out, around), _) in out[2..].chunks_exact_mut(2).zip(row.windows(3)).zip(2..width) {
        let [left, here, right] = [around[0], around[1], around[2]].map(u16::from);
        out[0] = ((3 * here + left + 1) >> 2) as u8;
        out[1] = ((3 * here + right + 2) >> 2) as u8;
    }
    let last = width - 1;
    out[2 * last] = ((3 * sample(last) + sample(last - 1) + 1) >> 2) as u8;
    out[2 * last + 1] = row[last];
}

/// The same along both sides. `sums` is as long as a row of the component at least.
#[inline(always)]
fn double_both(near: &[u8], far: &[u8], width: usize, out: &mut [u8], sums: &mut [u16]) {
    for ((sum, near), far) in sums.iter_mut().zip(&near[..width]).zip(&far[..width]) {
        *sum = 3 * u16::from(*near) + u16::from(*far);
    }
    out[0] = ((4 * sums[0] + 8) >> 4) as u8;
    out[1] = ((3 * sums[0] + sums[1] + 7) >> 4) as u8;
    for (out, around) in out[2..].chunks_exact_mut(2).zip(sums[..width].windows(3)) {
        let [left, here, right] = [around[0], around[1], around[2]];
        out[0] = ((3 * here + left + 8) >> 4) as u8;
        out[1] = ((3 * here + right + 7) >> 4) as u8;
    }
    let last = width - 1;
    out[2 * last] = ((3 * sums[last] + sums[last - 1] + 8) >> 4) as u8;
    out[2 * last + 1] = ((4 * sums[last] + 7) >> 4) as u8;
}

/// What the components of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// One component.
    Grey,
    /// Three components, stored as they are.
    Rgb,
    /// Luma and two differences of colour (JFIF).
    YCbCr,
    /// Four inks, stored as they are.
    Cmyk,
    /// The same differences, of three inks, and black.
    Ycck,
}

impl Colours {
    /// Values per pixel of what [`pixels`] writes: grey, red, green and blue, or four inks.
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk | Self::Ycck => 4,
        }
    }
}

/// The pixels, row by row: `[height, width, channels]` values. Nearly every file has its inks
/// inverted; Pillow takes all files so, and 0 means no ink in what comes out.
pub(super) fn pixels(planes: &[Plane], colours: Colours, width: usize, height: usize) -> Vec<u8> {
    crate::wide::wide(
        #[inline(always)]
        || {
            let channels = colours.channels();
            let mut out = vec![0; width * height * channels];
            let longest = planes.iter().map(|plane| plane.stride * plane.across).max().unwrap_or(0);
            let mut lines = vec![vec![0u8; longest]; planes.len()];
            let mut sums = vec![0u16; longest];
            for (row, out) in out.chunks_exact_mut((width * channels).max(1)).enumerate() {
                let mut full: [&[u8]; 4] = [&[]; 4];
                for ((plane, line), full) in planes.iter().zip(&mut lines).zip(&mut full) {
                    *full = &plane.full_row(row, line, &mut sums)[..width];
                }
                match colours {
                    Colours::Grey => out.copy_from_slice(full[0]),
                    Colours::Rgb => interleave::<3>(full, out, |sample| sample),
                    Colours::Cmyk => interleave::<4>(full, out, |sample| 255 - sample),
                    Colours::YCbCr => convert::<3>(full, out),
                    Colours::Ycck => convert::<4>(full, out),
                }
            }
            out
        },
    )
}

#[inline(always)]
fn interleave<const N: usize>(planes: [&[u8]; 4], out: &mut [u8], value: impl Fn(u8) -> u8) {
    for (channel, samples) in planes[..N].iter().enumerate() {
        for (out, sample) in out.chunks_exact_mut(N).zip(*samples) {
            out[channel] = value(*sample);
        }
    }
}

/// Pixels that are converted at a time.
const LANES: usize = 32;

/// JFIF's conversion, in libjpeg's fixed point of 16 bits. A fourth channel is black. Of inks the
/// conversion gives what each one leaves of white, which is the inverted ink.
#[inline(always)]
fn convert<const N: usize>([luma, blue, red, black]: [&[u8]; 4], out: &mut [u8]) {
    let width = luma.len();
    let mut at = 0;
    while at + LANES < width {
        let part = |samples: &[u8]| {
            let mut lanes = [0u8; LANES];
            lanes.copy_from_slice(&samples[at..at + LANES]);
            lanes
        };
        let (luma, blue, red) = (part(luma), part(blue), part(red));
        let black = if N == 4 { part(black) } else { [0; LANES] };
        let mut pixels = [0u32; LANES];
        for lane in 0..LANES {
            pixels[lane] = pixel(luma[lane], blue[lane], red[lane], black[lane]);
        }
        // Four bytes for each pixel, of which the next one replaces what is too many: there is a next
        // one, as the row does not end here.
        let out = &mut out[at * N..][..LANES * N + 4 - N];
        for (lane, pixel) in pixels.iter().enumerate() {
            out[lane * N..lane * N + 4].copy_from_slice(&pixel.to_le_bytes());
        }
        at += LANES;
    }
    for at in at..width {
        let pixel = pixel(luma[at], blue[at], red[at], if N == 4 { black[at] } else { 0 });
        out[at * N..(at + 1) * N].copy_from_slice(&pixel.to_le_bytes()[..N]);
    }
}

/// Red in the lowest byte, then green, blue, and what black leaves.
#[inline(always)]
fn pixel(luma: u8, blue: u8, red: u8, black: u8) -> u32 {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let r = y + ((91_881 * cr + HALF) >> 16);
    let g = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let b = y + ((116_130 * cb + HALF) >> 16);
    let byte = |value: i32| value.clamp(0, 255) as u32;
    byte(r) | byte(g) << 8 | byte(b) << 16 | u32::from(255 - black) << 24
}
