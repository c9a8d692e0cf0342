//! G.729 at 8 kbit/s in RTP (RFC 3551 section 4.5.6), where libbcg729 is loaded.
//!
//! A payload is frames of 10 ms, with a description of noise (Annex B) at its end or alone. That is understood but
//! not sent: a sender need not know pauses, so that whatever a=fmtp says of annexb is kept to. Through a pause
//! and over a loss the library goes on by itself, in noise or in voice.

use crate::codec::bcg729::{DecoderChannel, EncoderChannel, Frame, NOISE, SAMPLES, SPEECH};
use crate::codec::{Decoder, Encoder, Malformed, Rate};

/// RFC 3551 section 4.2: receivers should take 200 ms.
const MOST_FRAMES: usize = 20;

#[derive(Debug)]
pub struct G729Decoder {
    channel: DecoderChannel,
}

impl G729Decoder {
    /// None where there is no library, or no memory.
    pub fn new() -> Option<Self> {
        DecoderChannel::open().map(|channel| Self { channel })
    }
}

impl Decoder for G729Decoder {
    fn rate(&self) -> Rate {
        Rate::Narrow
    }

    fn samples(&self, payload: &[u8]) -> Option<usize> {
        let frames = match payload.len() % SPEECH {
            0 => payload.len() / SPEECH,
            NOISE => payload.len() / SPEECH + 1,
            _ => return None,
        };
        (1..=MOST_FRAMES).contains(&frames).then_some(frames * SAMPLES)
    }

    fn decode(&mut self, payload: &[u8], to: &mut Vec<i16>) -> Result<(), Malformed> {
        self.samples(payload).ok_or(Malformed)?;
        let (speech, rest) = payload.as_chunks();
        for frame in speech {
            to.extend(self.channel.decode(Frame::Speech(frame)));
        }
        if let Ok(noise) = rest.try_into() {
            to.extend(self.channel.decode(Frame::Noise(noise)));
        }
        Ok(())
    }

    fn conceal(&mut self, samples: usize, _next: Option<&[u8]>, to: &mut Vec<i16>) {
        let wanted = to.len() + samples;
        while to.len() < wanted {
            to.extend(self.channel.decode(Frame::Missing));
        }
        to.truncate(wanted);
    }
}

#[derive(Debug)]
pub struct G729Encoder {
    channel: EncoderChannel,
}

impl G729Encoder {
    /// None as with a decoder.
    pub fn new() -> Option<Self> {
        EncoderChannel::open().map(|channel| Self { channel })
    }
}

impl Encoder for G729Encoder {
    fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>) {
        for frame in samples.as_chunks().0 {
            to.extend(self.channel.encode(frame));
        }
    }
}
