//! G.722 at 64 kbit/s (ITU-T G.722 mode 1): 7 kHz of sound in two bands, each in ADPCM.
//!
//! In the Recommendation's own integer arithmetic, so that every decoder's state follows every encoder's bit by
//! bit; the block names are those of its clause 6. One byte holds two samples of 16 kHz. RTP counts its clock at
//! 8 kHz (RFC 3551 section 4.5.2).

use crate::codec::{Decoder, Encoder, Malformed, Rate};
use crate::dsp::conceal::Concealer;

/// Half of the symmetric quadrature mirror filter (table 11).
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the 6-bit quantizer (table 14).
const DECISIONS: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121,
    1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Outputs of the 6-bit inverse quantizer by code (table 17).
const LOW_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856,
    7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136,
    -432, -136,
];
/// Outputs of the 4-bit one, which the adaptation of both sides stands on.
const LOW_4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
const HIGH_2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// Logarithmic scale factor multipliers, and which one a code takes.
const LOW_STEPS: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const LOW_STEP_OF: [u8; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
const HIGH_STEP_OF: [i32; 4] = [798, -214, 798, -214];
/// 2048 times 2 to the power of n/32.
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
const HIGH_DECISION: i32 = 564;

fn saturated(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

fn at<T: Copy + Default>(table: &[T], place: usize) -> T {
    table.get(place).copied().unwrap_or_default()
}

/// The predictor and the quantizer scale of one band: the same in the encoder and the decoder.
#[derive(Debug)]
struct Band {
    /// Predicted signal, and its part from the zeros.
    s: i32,
    sz: i32,
    /// Reconstructed signal and its partial one, newest first.
    r: [i32; 2],
    p: [i32; 2],
    /// Coefficients of the two poles and the six zeros, and the differences that the zeros weigh.
    a: [i32; 2],
    b: [i32; 6],
    d: [i32; 6],
    /// Logarithmic scale factor, and the scale factor itself.
    nb: i32,
    det: i32,
}

impl Band {
    fn new(det: i32) -> Self {
        Self { s: 0, sz: 0, r: [0; 2], p: [0; 2], a: [0; 2], b: [0; 6], d: [0; 6], nb: 0, det }
    }

    /// LOGSCL or LOGSCH, then SCALEL or SCALEH.
    fn scale(&mut self, step: i32, most: i32, shift: i32) {
        self.nb = (((self.nb * 127) >> 7) + step).clamp(0, most);
        let mantissa = at(&POWERS, (self.nb >> 6 & 31) as usize);
        let exponent = shift - (self.nb >> 11);
        self.det = if exponent < 0 { mantissa << -exponent } else { mantissa >> exponent } << 2;
    }

    /// RECONS to PREDIC: adapt to the quantized difference `d` and predict the next sample.
    fn adapt(&mut self, d: i32) {
        let r = saturated(self.s + d);
        let p = saturated(self.sz + d);
        self.adapt_poles(p);
        self.adapt_zeros(d);
        self.r = [r, self.r[0]];
        self.p = [p, self.p[0]];
        let pole = |a: i32, r: i32| (a * saturated(r + r)) >> 15;
        let sp = saturated(pole(self.a[0], self.r[0]) + pole(self.a[1], self.r[1]));
        let zeros = self.b.iter().zip(&self.d).map(|(b, d)| (b * saturated(d + d)) >> 15);
        self.sz = zeros.rev().fold(0, |sum, zero| saturated(sum + zero));
        self.s = saturated(sp + self.sz);
    }

    /// UPPOL2 and UPPOL1.
    fn adapt_poles(&mut self, p: i32) {
        let same = |earlier: i32| (p >> 15) == (earlier >> 15);
        let [a1, a2] = self.a;
        let wd1 = saturated(a1 << 2);
        let wd2 = if same(self.p[0]) { saturated(-wd1) } else { wd1 };
        let wd3 = if same(self.p[1]) { 128 } else { -128 };
        let a2 = ((wd2 >> 7) + wd3 + ((a2 * 32_512) >> 15)).clamp(-12_288, 12_288);
        let wd1 = if same(self.p[0]) { 192 } else { -192 };
        let most = saturated(15_360 - a2);
        let a1 = saturated(wd1 + ((a1 * 32_640) >> 15)).clamp(-most, most);
        self.a = [a1, a2];
    }

    /// UPZERO, and DELAYA for the differences.
    fn adapt_zeros(&mut self, d: i32) {
        let gain = if d == 0 { 0 } else { 128 };
        for (b, earlier) in self.b.iter_mut().zip(&self.d) {
            let step = if (d >> 15) == (earlier >> 15) { gain } else { -gain };
            *b = saturated(step + ((*b * 32_640) >> 15));
        }
        self.d.copy_within(..5, 1);
        self.d[0] = d;
    }
}

#[derive(Debug)]
struct Bands {
    low: Band,
    high: Band,
    /// The delay line of the mirror filter.
    x: [i32; 24],
}

impl Bands {
    fn new() -> Self {
        Self { low: Band::new(32), high: Band::new(8), x: [0; 24] }
    }

    /// Let two values into the filter; its two halves' sums.
    fn filter(&mut self, first: i32, second: i32) -> (i32, i32) {
        self.x.copy_within(2.., 0);
        self.x[22] = first;
        self.x[23] = second;
        let (pairs, _) = self.x.as_chunks::<2>();
        let weighed = pairs.iter().zip(QMF.iter().zip(QMF.iter().rev()));
        weighed.fold((0, 0), |(odd, even), ([a, b], (x, y))| (odd + a * x, even + b * y))
    }

    /// What both sides do with a code: the low band by its four upper bits.
    fn adapt(&mut self, low: usize, high: usize) {
        let four = low >> 2;
        let d = (self.low.det * at(&LOW_4, four)) >> 15;
        self.low.scale(at(&LOW_STEPS, usize::from(at(&LOW_STEP_OF, four))), 18_432, 8);
        self.low.adapt(d);
        let d = (self.high.det * at(&HIGH_2, high)) >> 15;
        self.high.scale(at(&HIGH_STEP_OF, high), 22_528, 10);
        self.high.adapt(d);
    }
}

#[derive(Debug)]
pub struct G722Encoder {
    bands: Box<Bands>,
}

impl G722Encoder {
    pub fn new() -> Self {
        Self { bands: Box::new(Bands::new()) }
    }

    fn code(&mut self, first: i16, second: i16) -> u8 {
        let (odd, even) = self.bands.filter(i32::from(first), i32::from(second));
        let low = quantize_low((even + odd) >> 14, &self.bands.low);
        let high = quantize_high((even - odd) >> 14, &self.bands.high);
        self.bands.adapt(low, high);
        (high << 6 | low) as u8
    }
}

/// QUANTL.
fn quantize_low(x: i32, band: &Band) -> usize {
    let difference = saturated(x - band.s);
    let magnitude = if difference >= 0 { difference } else { -(difference + 1) };
    let above = DECISIONS.iter().skip(1).take_while(|level| magnitude >= (**level * band.det) >> 12);
    let interval = above.count() + 1;
    match (difference < 0, interval) {
        (true, 1..=2) => 64 - interval,
        (true, _) => 34 - interval,
        (false, _) => 62 - interval,
    }
}

/// QUANTH.
fn quantize_high(x: i32, band: &Band) -> usize {
    let difference = saturated(x - band.s);
    let magnitude = if difference >= 0 { difference } else { -(difference + 1) };
    let outer = magnitude >= (HIGH_DECISION * band.det) >> 12;
    match (difference < 0, outer) {
        (true, outer) => usize::from(!outer),
        (false, outer) => 3 - usize::from(outer),
    }
}

impl Encoder for G722Encoder {
    fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>) {
        to.extend(samples.as_chunks::<2>().0.iter().map(|[first, second]| self.code(*first, *second)));
    }
}

#[derive(Debug)]
pub struct G722Decoder {
    bands: Box<Bands>,
    concealer: Concealer,
}

impl G722Decoder {
    pub fn new() -> Self {
        Self { bands: Box::new(Bands::new()), concealer: Concealer::new(Rate::Wide) }
    }

    fn samples_of(&mut self, code: u8) -> [i16; 2] {
        let bands = &mut *self.bands;
        let (low, high) = (usize::from(code & 0x3f), usize::from(code >> 6));
        let limited = |value: i32| value.clamp(-16_384, 16_383);
        let in_low = limited(bands.low.s + ((bands.low.det * at(&LOW_6, low)) >> 15));
        let in_high = limited(bands.high.s + ((bands.high.det * at(&HIGH_2, high)) >> 15));
        bands.adapt(low, high);
        let (second, first) = bands.filter(in_low + in_high, in_low - in_high);
        [saturated(first >> 11) as i16, saturated(second >> 11) as i16]
    }
}

impl Decoder for G722Decoder {
    fn rate(&self) -> Rate {
        Rate::Wide
    }

    fn samples(&self, payload: &[u8]) -> Option<usize> {
        (!payload.is_empty()).then_some(2 * payload.len())
    }

    fn decode(&mut self, payload: &[u8], to: &mut Vec<i16>) -> Result<(), Malformed> {
        let start = to.len();
        for code in payload {
            to.extend(self.samples_of(*code));
        }
        self.concealer.heard(to.get_mut(start..).unwrap_or_default());
        if payload.is_empty() { Err(Malformed) } else { Ok(()) }
    }

    fn conceal(&mut self, samples: usize, _next: Option<&[u8]>, to: &mut Vec<i16>) {
        self.concealer.conceal(samples, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODED: u64 = 0xb6f7_5a04_dd69_5876;
    const DECODED: u64 = 0xa4e8_9068_c3c1_1a40;
    const OF_NOISE: u64 = 0xd365_e4bb_99d1_c760;

    struct Noise(u32);

    impl Noise {
        fn next(&mut self) -> u32 {
            self.0 = (self.0.wrapping_mul(1_103_515_245).wrapping_add(12_345)) & 0x7fff_ffff;
            self.0 >> 8
        }
    }

    /// A tone, then soft noise, then noise at full scale.
    fn sound() -> Vec<i16> {
        let mut noise = Noise(12_345);
        let sample = |n: u32| {
            let value = (noise.next() & 0xffff) as i32 - 32_768;
            match n {
                0..6000 => {
                    (12_000.0 * (std::f64::consts::TAU * 440.0 * f64::from(n) / 16_000.0).sin()) as i16
                }
                6000..11_000 => value.div_euclid(4) as i16,
                _ => value as i16,
            }
        };
        (0..16_000).map(sample).collect()
    }

    fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
    }

    fn decoded(codes: &[u8]) -> u64 {
        let mut samples = Vec::new();
        G722Decoder::new().decode(codes, &mut samples).unwrap();
        hash(samples.iter().flat_map(|sample| sample.to_le_bytes()))
    }

    /// The hashes are of what another implementation makes of the same sound and the same codes.
    #[test]
    fn every_bit_is_that_of_another_implementation() {
        let mut codes = Vec::new();
        G722Encoder::new().encode(&sound(), &mut codes);
        assert_eq!(hash(codes.iter().copied()), ENCODED);
        assert_eq!(decoded(&codes), DECODED);
        let mut noise = Noise(99);
        let codes: Vec<u8> = (0..8000).map(|_| noise.next() as u8).collect();
        assert_eq!(decoded(&codes), OF_NOISE);
    }
}
