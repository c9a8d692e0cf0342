//! L16: linear samples of 16 bits, big endian (RFC 3551 section 4.5.11), mono.

use crate::codec::{Decoder, Encoder, Malformed, Rate};
use crate::dsp::conceal::Concealer;

#[derive(Debug)]
pub struct L16Decoder {
    rate: Rate,
    concealer: Concealer,
}

impl L16Decoder {
    pub fn new(rate: Rate) -> Self {
        Self { rate, concealer: Concealer::new(rate) }
    }
}

impl Decoder for L16Decoder {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn samples(&self, payload: &[u8]) -> Option<usize> {
        (!payload.is_empty() && payload.len().is_multiple_of(2)).then_some(payload.len() / 2)
    }

    fn decode(&mut self, payload: &[u8], to: &mut Vec<i16>) -> Result<(), Malformed> {
        self.samples(payload).ok_or(Malformed)?;
        let start = to.len();
        to.extend(payload.as_chunks::<2>().0.iter().map(|pair| i16::from_be_bytes(*pair)));
        self.concealer.heard(to.get_mut(start..).unwrap_or_default());
        Ok(())
    }

    fn conceal(&mut self, samples: usize, _next: Option<&[u8]>, to: &mut Vec<i16>) {
        self.concealer.conceal(samples, to);
    }
}

#[derive(Debug)]
pub struct L16Encoder;

impl Encoder for L16Encoder {
    fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>) {
        to.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
    }
}
