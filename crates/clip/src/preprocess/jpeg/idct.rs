//! From coefficients to samples: the inverse cosine transform of libjpeg's `islow`.
//!
//! Loeffler, Ligtenberg and Moschytz, ICASSP 1989, in fixed point: 13 bits of fraction in the
//! constants, 2 bits more between the two passes than a sample has. Where a damaged file makes
//! numbers too large, they wrap and saturate as in libjpeg-turbo's vector instructions.

const CONSTANT_BITS: i32 = 13;
const PASS_BITS: i32 = 2;

/// Coefficients or samples by row and column.
type Square = [[i32; 8]; 8];

/// Both passes; `block` and `quant` by row and column, `out` with `stride` samples per row.
#[inline(always)]
pub(super) fn transform(block: &[i16; 64], quant: &[i16; 64], out: &mut [u8], stride: usize) {
    let mut square: Square = [[0; 8]; 8];
    for y in 0..8 {
        for x in 0..8 {
            square[y][x] = block[y * 8 + x].wrapping_mul(quant[y * 8 + x]).into();
        }
    }
    let square = if block[8..].iter().fold(0, |all, value| all | *value) == 0 {
        // What the pass gives for columns of one value each, but for its saturation.
        [square[0].map(|value| short(value << PASS_BITS)); 8]
    } else {
        pass::<{ CONSTANT_BITS - PASS_BITS }>(&square)
    };
    let square = transposed(&square);
    let square = transposed(&pass::<{ CONSTANT_BITS + PASS_BITS + 3 }>(&square));
    for (y, row) in square.iter().enumerate() {
        let mut samples = [0u8; 8];
        for x in 0..8 {
            samples[x] = (row[x].clamp(-128, 127) + 128) as u8;
        }
        out[y * stride..y * stride + 8].copy_from_slice(&samples);
    }
}

/// The same for a block whose AC coefficients are all 0.
#[inline(always)]
pub(super) fn flat(first: i16, quant: i16, out: &mut [u8], stride: usize) {
    let mean = short(i32::from(first.wrapping_mul(quant)) << PASS_BITS);
    let sample = (((mean + (1 << (PASS_BITS + 2))) >> (PASS_BITS + 3)).clamp(-128, 127) + 128) as u8;
    for row in out.chunks_mut(stride).take(8) {
        row[..8].fill(sample);
    }
}

#[inline(always)]
fn transposed(square: &Square) -> Square {
    let mut out = [[0; 8]; 8];
    for y in 0..8 {
        for x in 0..8 {
            out[x][y] = square[y][x];
        }
    }
    out
}

/// A sum as 16 bits hold it.
#[inline(always)]
fn short(value: i32) -> i32 {
    (value as i16).into()
}

/// One pass down all columns.
#[inline(always)]
fn pass<const SHIFT: i32>(square: &Square) -> Square {
    let mut out = [[0; 8]; 8];
    for x in 0..8 {
        let [in0, in1, in2, in3, in4, in5, in6, in7] = [
            square[0][x],
            square[1][x],
            square[2][x],
            square[3][x],
            square[4][x],
            square[5][x],
            square[6][x],
            square[7][x],
        ];
        // The even part: rotation by sqrt(2) c(-6).
        let z1 = (in2.wrapping_add(in6)).wrapping_mul(4433);
        let even2 = z1.wrapping_add(in6.wrapping_mul(-15137));
        let even3 = z1.wrapping_add(in2.wrapping_mul(6270));
        let even0 = short(in0 + in4) << CONSTANT_BITS;
        let even1 = short(in0 - in4) << CONSTANT_BITS;
        let even = [
            even0.wrapping_add(even3),
            even1.wrapping_add(even2),
            even1.wrapping_sub(even2),
            even0.wrapping_sub(even3),
        ];
        // The odd part.
        let (z3, z4) = (short(in7 + in3), short(in5 + in1));
        let z5 = (z3 + z4).wrapping_mul(9633);
        let z3 = z5.wrapping_add(z3.wrapping_mul(-16069));
        let z4 = z5.wrapping_add(z4.wrapping_mul(-3196));
        let z1 = (in7 + in1).wrapping_mul(-7373);
        let z2 = (in5 + in3).wrapping_mul(-20995);
        let odd = [
            in1.wrapping_mul(12299).wrapping_add(z1).wrapping_add(z4),
            in3.wrapping_mul(25172).wrapping_add(z2).wrapping_add(z3),
            in5.wrapping_mul(16819).wrapping_add(z2).wrapping_add(z4),
            in7.wrapping_mul(2446).wrapping_add(z1).wrapping_add(z3),
        ];
        for k in 0..4 {
            let round = 1 << (SHIFT - 1);
            let shift = |value: i32| (value.wrapping_add(round) >> SHIFT).clamp(i16::MIN.into(), i16::MAX.into());
            out[k][x] = shift(even[k].wrapping_add(odd[k]));
            out[7 - k][x] = shift(even[k].wrapping_sub(odd[k]));
        }
    }
    out
}
