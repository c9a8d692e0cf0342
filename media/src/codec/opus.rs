//! Opus by libopus, mono at 16 kHz (RFC 6716, RFC 7587): all that a call between telephones can carry.
//!
//! RTP counts its clock at 48 kHz, whatever rate is inside. Loss is concealed by libopus, out of the next packet
//! where that carries a copy (in-band FEC); through pauses that are not sent (DTX) it makes noise of its own.

use std::fmt;

use opusic_c::{Application, Bitrate, Channels, InbandFec, SampleRate, Signal};

use crate::codec::{Decoder, Encoder, Malformed, Rate};
use crate::payload::Payload;

/// 120 ms, the longest packet.
const LONGEST: usize = 1920;
/// libopus conceals in steps of this: 2.5 ms.
const STEP: usize = 40;
/// RFC 6716 section 2.1.1: the sweet spot of wideband speech, with room for FEC.
const USUAL_BITS_PER_S: u32 = 24_000;
/// A tenth more computing than this buys nothing that a call can carry.
const COMPLEXITY: u8 = 5;
/// What an encoder with FEC prepares for.
const EXPECTED_LOSS_PERCENT: u8 = 10;
const LONGEST_PAYLOAD: usize = 1275;

pub struct OpusDecoder {
    decoder: opusic_c::Decoder,
    space: Box<[u16; LONGEST]>,
}

impl fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpusDecoder")
    }
}

impl OpusDecoder {
    /// None when libopus has no memory.
    pub fn new() -> Option<Self> {
        let decoder = opusic_c::Decoder::new(Channels::Mono, SampleRate::Hz16000).ok()?;
        Some(Self { decoder, space: Box::new([0; LONGEST]) })
    }

    /// Have libopus fill exactly `samples`; whether it did.
    fn make(&mut self, input: &[u8], samples: usize, fec: bool, to: &mut Vec<i16>) -> bool {
        let Some(space) = self.space.get_mut(..samples) else { return false };
        let made = self.decoder.decode_to_slice(input, space, fec).unwrap_or(0);
        to.extend(space.iter().take(made).map(|sample| *sample as i16));
        made == samples
    }
}

impl Decoder for OpusDecoder {
    fn rate(&self) -> Rate {
        Rate::Wide
    }

    fn samples(&self, payload: &[u8]) -> Option<usize> {
        if payload.is_empty() {
            return None;
        }
        self.decoder.get_nb_samples(payload).ok().filter(|samples| (1..=LONGEST).contains(samples))
    }

    fn decode(&mut self, payload: &[u8], to: &mut Vec<i16>) -> Result<(), Malformed> {
        let samples = self.samples(payload).ok_or(Malformed)?;
        if self.make(payload, samples, false, to) { Ok(()) } else { Err(Malformed) }
    }

    fn conceal(&mut self, samples: usize, next: Option<&[u8]>, to: &mut Vec<i16>) {
        let wanted = to.len() + samples;
        // The copy is of the packet just before the next one, and as long as that one.
        let copied = next.and_then(|next| self.samples(next).map(|length| (next, length)));
        let copied = copied.filter(|(_, length)| *length <= samples);
        let before = samples - copied.map_or(0, |(_, length)| length);
        let rounded = before.div_ceil(STEP) * STEP;
        let start = to.len();
        let mut left = rounded;
        while left > 0 && self.make(&[], left.min(LONGEST / 2), false, to) {
            left -= left.min(LONGEST / 2);
        }
        to.truncate(start + before);
        if let Some((next, length)) = copied {
            self.make(next, length, true, to);
        }
        to.resize(wanted, 0);
    }
}

pub struct OpusEncoder {
    encoder: opusic_c::Encoder,
    input: Box<[u16; LONGEST]>,
}

impl fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpusEncoder")
    }
}

impl OpusEncoder {
    /// As the listener's a=fmtp would like it (RFC 7587 section 6.1). None when libopus has no memory.
    pub fn new(payload: &Payload) -> Option<Self> {
        let mut encoder =
            opusic_c::Encoder::new(Channels::Mono, SampleRate::Hz16000, Application::Voip).ok()?;
        let most = payload
            .parameter("maxaveragebitrate")
            .parse()
            .ok()
            .filter(|most| (6000..=510_000).contains(most));
        encoder.set_bitrate(Bitrate::Value(USUAL_BITS_PER_S.min(most.unwrap_or(USUAL_BITS_PER_S)))).ok()?;
        encoder.set_complexity(COMPLEXITY).ok()?;
        encoder.set_signal(Signal::Voice).ok()?;
        encoder.set_vbr(payload.parameter("cbr") != "1").ok()?;
        encoder.set_dtx(payload.parameter("usedtx") == "1").ok()?;
        if payload.parameter("useinbandfec") == "1" {
            encoder.set_inband_fec(InbandFec::Mode1).ok()?;
            encoder.set_packet_loss(EXPECTED_LOSS_PERCENT).ok()?;
        }
        Some(Self { encoder, input: Box::new([0; LONGEST]) })
    }
}

impl Encoder for OpusEncoder {
    fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>) {
        let Some(input) = self.input.get_mut(..samples.len()) else { return };
        input.iter_mut().zip(samples).for_each(|(to, from)| *to = *from as u16);
        let start = to.len();
        to.resize(start + LONGEST_PAYLOAD, 0);
        let space = to.get_mut(start..).unwrap_or_default();
        let length = self.encoder.encode_to_slice(input, space).unwrap_or(0);
        to.truncate(start + length);
    }
}

/// libopus for recordings: 16 kHz, mono or stereo, for ears and not for a line that loses packets.
pub struct FileEncoder {
    encoder: opusic_c::Encoder,
}

const FILE_BITS_PER_S_AND_CHANNEL: u32 = 24_000;

impl FileEncoder {
    /// None when libopus has no memory.
    pub fn new(channels: usize) -> Option<Self> {
        let layout = if channels == 2 { Channels::Stereo } else { Channels::Mono };
        let mut encoder = opusic_c::Encoder::new(layout, SampleRate::Hz16000, Application::Audio).ok()?;
        encoder.set_bitrate(Bitrate::Value(FILE_BITS_PER_S_AND_CHANNEL * channels as u32)).ok()?;
        encoder.set_complexity(COMPLEXITY).ok()?;
        Some(Self { encoder })
    }

    /// Samples at 48 kHz that a player leaves out (RFC 7845 section 4.2).
    pub fn pre_skip(&self) -> u16 {
        // 6.5 ms, what an encoder for any sound looks ahead.
        312
    }

    /// One packet of 20 ms, channels in turn.
    pub fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        let input: Vec<u16> = samples.iter().map(|sample| *sample as u16).collect();
        let mut packet = vec![0; LONGEST_PAYLOAD];
        let length = self.encoder.encode_to_slice(&input, &mut packet).unwrap_or(0);
        packet.truncate(length);
        packet
    }
}
