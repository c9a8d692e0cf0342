//! G.711 encoding: mu-law and A-law, from 16-bit samples.

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The decoder of the table: the middle of the step.
    fn mu_law_value(code: u8) -> i32 {
        let code = !code;
        let (segment, step) = (u32::from(code >> 4 & 7), i32::from(code & 0x0f));
        let magnitude = (((step << 3) + 132) << segment) - 132;
        if code & 0x80 != 0 { -magnitude } else { magnitude }
    }

    fn a_law_value(code: u8) -> i32 {
        let code = code ^ 0x55;
        let (segment, step) = (u32::from(code >> 4 & 7), i32::from(code & 0x0f));
        let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 264) << (segment - 1) };
        if code & 0x80 != 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn known_codes() {
        assert_eq!([0i16, -1, 32_767, -32_768].map(mu_law), [0xff, 0x7f, 0x80, 0x00]);
        assert_eq!([0i16, -1, 32_767, -32_768].map(a_law), [0xd5, 0x55, 0xaa, 0x2a]);
    }

    #[test]
    fn every_sample_comes_back_within_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let value = i32::from(sample);
            let mu_step = (value.abs() + 132) / 16;
            assert!(
                (mu_law_value(mu_law(sample)) - value.clamp(-32_635, 32_635)).abs() <= mu_step / 2 + 4,
                "{sample}"
            );
            assert!((a_law_value(a_law(sample)) - value).abs() <= value.abs() / 32 + 16, "{sample}");
        }
    }

    #[test]
    fn every_code_is_the_code_of_its_own_value() {
        for code in 0..=255u8 {
            assert_eq!(a_law(a_law_value(code) as i16), code);
            assert_eq!(
                mu_law(mu_law_value(code) as i16) | u8::from(code == 0x7f) << 7,
                code | u8::from(code == 0x7f) << 7
            );
        }
    }
}
