//! G.711: mu-law and A-law, one byte a sample at 8 kHz.

use crate::codec::{Decoder, Encoder, Malformed, Rate};
use crate::dsp::conceal::Concealer;

const BIAS: u32 = 132;

/// One sample in mu-law (ITU-T G.711 table 2): eight segments of sixteen steps, all bits inverted.
pub fn mu_law(sample: i16) -> u8 {
    let magnitude = (u32::from(sample.unsigned_abs()).min(32_635) + BIAS) >> 3;
    let segment = 27u32.saturating_sub(magnitude.leading_zeros());
    let step = (magnitude >> segment) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | step as u8)
}

/// One sample in A-law (ITU-T G.711 table 1): eight segments of sixteen steps, even bits inverted.
pub fn a_law(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    let magnitude = u32::from(magnitude.unsigned_abs()) >> 4;
    let segment = 28u32.saturating_sub(magnitude.leading_zeros());
    let step = (magnitude >> segment.saturating_sub(1)) & 0x0f;
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

/// The middle of the step that a mu-law code names.
const fn mu_law_value(code: u8) -> i16 {
    let code = !code;
    let (segment, step) = (code >> 4 & 7, (code & 0x0f) as i32);
    let magnitude = (((step << 3) + BIAS as i32) << segment) - BIAS as i32;
    (if code & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

const fn a_law_value(code: u8) -> i16 {
    let code = code ^ 0x55;
    let (segment, step) = (code >> 4 & 7, (code & 0x0f) as i32);
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 264) << (segment - 1) };
    (if code & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

#[expect(clippy::indexing_slicing, reason = "worked out by the compiler")]
const fn table(law: Law) -> [i16; 256] {
    let mut values = [0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = match law {
            Law::Mu => mu_law_value(code as u8),
            Law::A => a_law_value(code as u8),
        };
        code += 1;
    }
    values
}

static MU_LAW: [i16; 256] = table(Law::Mu);
static A_LAW: [i16; 256] = table(Law::A);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Law {
    Mu,
    A,
}

impl Law {
    pub fn value(self, code: u8) -> i16 {
        self.values().get(usize::from(code)).copied().unwrap_or(0)
    }

    fn values(self) -> &'static [i16; 256] {
        if self == Self::Mu { &MU_LAW } else { &A_LAW }
    }
}

#[derive(Debug)]
pub struct G711Decoder {
    law: Law,
    concealer: Concealer,
}

impl G711Decoder {
    pub fn new(law: Law) -> Self {
        Self { law, concealer: Concealer::new(Rate::Narrow) }
    }
}

impl Decoder for G711Decoder {
    fn rate(&self) -> Rate {
        Rate::Narrow
    }

    fn samples(&self, payload: &[u8]) -> Option<usize> {
        (!payload.is_empty()).then_some(payload.len())
    }

    fn decode(&mut self, payload: &[u8], to: &mut Vec<i16>) -> Result<(), Malformed> {
        let start = to.len();
        let values = self.law.values();
        to.extend(payload.iter().map(|code| values.get(usize::from(*code)).copied().unwrap_or(0)));
        self.concealer.heard(to.get_mut(start..).unwrap_or_default());
        if payload.is_empty() { Err(Malformed) } else { Ok(()) }
    }

    fn conceal(&mut self, samples: usize, _next: Option<&[u8]>, to: &mut Vec<i16>) {
        self.concealer.conceal(samples, to);
    }
}

#[derive(Debug)]
pub struct G711Encoder {
    law: Law,
}

impl G711Encoder {
    pub fn new(law: Law) -> Self {
        Self { law }
    }
}

impl Encoder for G711Encoder {
    fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>) {
        match self.law {
            Law::Mu => to.extend(samples.iter().map(|sample| mu_law(*sample))),
            Law::A => to.extend(samples.iter().map(|sample| a_law(*sample))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes() {
        assert_eq!([0i16, -1, 32_767, -32_768].map(mu_law), [0xff, 0x7f, 0x80, 0x00]);
        assert_eq!([0i16, -1, 32_767, -32_768].map(a_law), [0xd5, 0x55, 0xaa, 0x2a]);
        assert_eq!([0xffu8, 0x80, 0x00].map(mu_law_value), [0, 32_124, -32_124]);
        assert_eq!([0xd5u8, 0xaa, 0x2a].map(a_law_value), [8, 32_256, -32_256]);
    }

    #[test]
    fn every_sample_comes_back_within_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let value = i32::from(sample);
            let mu_step = (value.abs() + 132) / 16;
            let (mu, a) = (i32::from(mu_law_value(mu_law(sample))), i32::from(a_law_value(a_law(sample))));
            assert!((mu - value.clamp(-32_635, 32_635)).abs() <= mu_step / 2 + 4, "{sample}");
            assert!((a - value).abs() <= value.abs() / 32 + 16, "{sample}");
        }
    }

    #[test]
    fn every_code_is_the_code_of_its_own_value() {
        for code in 0..=255u8 {
            assert_eq!(a_law(Law::A.value(code)), code);
            // Mu-law has a code for minus zero, which is zero.
            assert_eq!(mu_law(Law::Mu.value(code)), if code == 0x7f { 0xff } else { code });
        }
    }
}
