//! A sound file in memory, ready to be played by any number of players at once.
//!
//! WAV (RIFF) with linear samples of 8 or 16 bits, A-law or mu-law, and Ogg/Opus (RFC 7845); several channels become
//! one, rates that media does not mix become 16 kHz. What is A-law or mu-law at 8 kHz is kept as it is too, so that
//! it goes out without being encoded again; and a prompt, a WAV of 16 kHz, has its forms in other codecs beside it
//! (`FORMS`), made by `prepare`, so that it goes out to nearly every phone without a transcoder.

use std::path::Path;

use crate::codec::g711::Law;
use crate::codec::opus::OpusDecoder;
use crate::codec::{Codec, Decoder, Rate};
use crate::dsp::resample::Resampler;
use crate::payload::Payload;
use crate::playout::TICK;
use crate::time::{Micros, SECOND};

/// Files beyond this are no prompts.
const LARGEST: u64 = 256 << 20;
const LONGEST_S: usize = 4 * 3600;

#[derive(Debug)]
pub struct Sound {
    pub rate: Rate,
    pub samples: Vec<i16>,
    encoded: Vec<(Codec, Vec<u8>)>,
}

/// A prompt's forms by the ends of their files' names: bare payload, as RTP carries it.
pub const FORMS: [(&str, Codec); 3] =
    [("pcma", Codec::G711(Law::A)), ("pcmu", Codec::G711(Law::Mu)), ("g722", Codec::G722)];

/// What is wrong with a file, for whoever put it there.
pub type Fault = String;

impl Sound {
    pub fn new(rate: Rate, samples: Vec<i16>) -> Self {
        Self { rate, samples, encoded: Vec::new() }
    }

    pub fn length(&self) -> Micros {
        self.samples.len() as u64 * SECOND / u64::from(self.rate.hz())
    }

    /// `count` samples from `offset` on as payload of `codec`, where they are kept in that form.
    pub fn ready(&self, codec: Codec, offset: usize, count: usize) -> Option<&[u8]> {
        let (_, bytes) = self.encoded.iter().find(|(known, _)| *known == codec)?;
        let samples = self.samples_in_a_byte(codec);
        if offset.is_multiple_of(samples) {
            bytes.get(offset / samples..(offset + count) / samples)
        } else {
            None
        }
    }

    /// G.722 has a byte for two samples of 16 kHz, and so, by their rate, has G.711.
    fn samples_in_a_byte(&self, codec: Codec) -> usize {
        if self.rate == Rate::Narrow && codec != Codec::G722 { 1 } else { 2 }
    }

    /// Take the forms beside a prompt, those that are as long as it.
    fn find_forms(&mut self, path: &Path) {
        if self.rate != Rate::Wide {
            return;
        }
        for (end, codec) in FORMS {
            let data = std::fs::read(path.with_extension(end)).unwrap_or_default();
            if data.len() == self.samples.len() / self.samples_in_a_byte(codec) {
                self.encoded.push((codec, data));
            }
        }
    }

    /// Read a file. The fault says what is wrong with it in one sentence.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let told = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
        let size = std::fs::metadata(path).map_err(|error| told(&error))?.len();
        if size > LARGEST {
            return Err(told(&format!("larger than {} MiB", LARGEST >> 20)));
        }
        let data = std::fs::read(path).map_err(|error| told(&error))?;
        let mut sound = Self::parse(&data).map_err(|fault| told(&fault))?;
        sound.find_forms(path);
        Ok(sound)
    }

    fn parse(data: &[u8]) -> Result<Self, Fault> {
        match data.first_chunk::<4>() {
            Some(b"RIFF") => wav(data),
            Some(b"OggS") => ogg_opus(data),
            _ => Err("neither WAV nor Ogg/Opus".into()),
        }
    }
}

/// Make a prompt of any sound file: a WAV of 16 kHz at `to`, with its forms beside it. Each is put in place whole.
pub fn prepare(from: &Path, to: &Path) -> Result<(), Fault> {
    let mut sound = Sound::read(from)?;
    if sound.rate != Rate::Wide {
        let mut resampler = Resampler::new(sound.rate, Rate::Wide);
        let block = sound.rate.samples(TICK);
        let whole = sound.samples.len().div_ceil(block) * block;
        sound.samples.resize(whole, 0);
        let mut wide = Vec::with_capacity(2 * whole);
        let mut space = vec![0; Rate::Wide.samples(TICK)];
        for block in sound.samples.chunks(block) {
            let made = resampler.process(block, &mut space);
            wide.extend_from_slice(space.get(..made).unwrap_or_default());
        }
        sound = Sound::new(Rate::Wide, wide);
    }
    let odd = sound.samples.len() % 2;
    sound.samples.resize(sound.samples.len() + odd, 0);
    let told = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let write = |path: &Path, data: &[u8]| {
        let new = path.with_extension("new");
        std::fs::write(&new, data)
            .and_then(|()| std::fs::rename(&new, path))
            .map_err(|error| told(path, &error))
    };
    for (end, codec) in FORMS {
        write(&to.with_extension(end), &encoded(&sound, codec))?;
    }
    write(to, &linear_wav(&sound))
}

fn encoded(sound: &Sound, codec: Codec) -> Vec<u8> {
    let wish =
        Payload { payload_type: 0, name: "".into(), clock_rate_hz: 8000, channels: 1, fmtp: "".into() };
    let mut resampler = Resampler::new(Rate::Wide, codec.rate());
    let mut data = Vec::with_capacity(sound.samples.len() / 2);
    let mut space = vec![0; codec.rate().samples(TICK)];
    let Some(mut encoder) = codec.encoder(&wish) else { return data };
    for block in sound.samples.chunks(Rate::Wide.samples(TICK)) {
        let made = resampler.process(block, &mut space);
        encoder.encode(space.get(..made).unwrap_or_default(), &mut data);
    }
    data
}

fn linear_wav(sound: &Sound) -> Vec<u8> {
    let bytes: Vec<u8> = sound.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let (length, hz) = (bytes.len() as u32, sound.rate.hz());
    let parts: [&[u8]; 12] = [
        b"RIFF",
        &(length + 36).to_le_bytes(),
        b"WAVEfmt ",
        &16u32.to_le_bytes(),
        &PCM.to_le_bytes(),
        &1u16.to_le_bytes(),
        &hz.to_le_bytes(),
        &(2 * hz).to_le_bytes(),
        &[2, 0, 16, 0],
        b"data",
        &length.to_le_bytes(),
        &bytes,
    ];
    parts.concat()
}

/// What the chunk "fmt " of a WAV file says.
#[derive(Debug, Clone, Copy)]
struct Format {
    tag: u16,
    channels: usize,
    hz: u32,
    bits: u16,
}

const PCM: u16 = 1;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;

impl Format {
    fn read(chunk: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_le_bytes(*chunk.get(at..)?.first_chunk()?));
        let tag = match word(0)? {
            EXTENSIBLE => word(24)?,
            tag => tag,
        };
        let hz = u32::from_le_bytes(*chunk.get(4..)?.first_chunk()?);
        Some(Self { tag, channels: usize::from(word(2)?), hz, bits: word(14)? })
    }
}

fn wav(data: &[u8]) -> Result<Sound, Fault> {
    let mut rest = data.get(12..).unwrap_or_default();
    let mut format = None;
    while let Some(([id @ .., l0, l1, l2, l3], body)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        // A recording that was cut off has less sound than its header says.
        let (chunk, after) = body.split_at(length.min(body.len()));
        match (id, format) {
            (b"fmt ", _) => format = Format::read(chunk),
            (b"data", Some(format)) => return linear(chunk, format),
            _ => {}
        }
        rest = after.get(length % 2..).unwrap_or_default();
    }
    Err("a WAV file without sound, or without saying how it is coded".into())
}

fn linear(data: &[u8], format: Format) -> Result<Sound, Fault> {
    let Format { tag, channels, hz, bits } = format;
    if !(1..=8).contains(&channels) || !(4000..=192_000).contains(&hz) {
        return Err(format!("{channels} channels of {hz} Hz; 1 to 8 of 4000 to 192000 can be played"));
    }
    let law = match tag {
        A_LAW => Some(Law::A),
        MU_LAW => Some(Law::Mu),
        _ => None,
    };
    let samples: Vec<i16> = match (law, tag, bits) {
        (Some(law), _, 8) => data.iter().map(|code| law.value(*code)).collect(),
        (None, PCM, 16) => data.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect(),
        (None, PCM, 8) => data.iter().map(|byte| (i16::from(*byte) - 128) << 8).collect(),
        _ => {
            return Err(format!(
                "coded as {tag} with {bits} bits; PCM of 8 or 16 bits, A-law and mu-law can be played"
            ));
        }
    };
    let samples = one_channel(samples, channels);
    if samples.len() > LONGEST_S * hz as usize {
        return Err(format!("longer than {} hours", LONGEST_S / 3600));
    }
    let encoded = law.filter(|_| channels == 1 && hz == 8000);
    let encoded = encoded.map(|law| (Codec::G711(law), data.to_vec())).into_iter().collect();
    Ok(match Rate::of(hz) {
        Some(rate) => Sound { rate, samples, encoded },
        None => Sound::new(Rate::Wide, interpolated(&samples, hz, Rate::Wide.hz())),
    })
}

fn one_channel(samples: Vec<i16>, channels: usize) -> Vec<i16> {
    if channels == 1 {
        return samples;
    }
    let mean = |frame: &[i16]| frame.iter().map(|sample| i32::from(*sample)).sum::<i32>() / channels as i32;
    samples.chunks_exact(channels).map(|frame| mean(frame) as i16).collect()
}

/// Half of the sinc that a sample is worked out of, in zero crossings.
const CROSSINGS: f64 = 16.0;

/// Samples at any rate at another, by a windowed sinc.
///
/// Output samples fall into few different places between input samples (phases), as both rates are whole numbers:
/// what each phase weighs its neighbours with is worked out once.
fn interpolated(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    let common = greatest_common_divisor(from_hz, to_hz);
    let (phases, step) = ((to_hz / common) as usize, (from_hz / common) as usize);
    let ratio = step as f64 / phases as f64;
    // Below half of the lower rate, less what the window blurs.
    let cutoff = 0.94 * (1.0 / ratio).min(1.0);
    let reach = CROSSINGS / cutoff;
    let before = reach.ceil() as usize;
    let weights = |phase: usize| -> Vec<f32> {
        let offset = (phase * step % phases) as f64 / phases as f64;
        (0..2 * before + 1).map(|n| weight(n as f64 - before as f64 - offset, cutoff, reach)).collect()
    };
    let table: Vec<Vec<f32>> = (0..phases).map(weights).collect();
    let mut padded = vec![0f32; before];
    padded.extend(samples.iter().map(|sample| f32::from(*sample)));
    padded.resize(padded.len() + before + 1, 0.0);
    let count = samples.len() * phases / step;
    let at = |n: usize| {
        let near = padded.get(n * step / phases..).unwrap_or_default();
        let weighed = near.iter().zip(table.get(n % phases).into_iter().flatten());
        weighed.map(|(sample, weight)| sample * weight).sum::<f32>().round() as i16
    };
    (0..count).map(at).collect()
}

fn weight(x: f64, cutoff: f64, reach: f64) -> f32 {
    if x.abs() >= reach {
        return 0.0;
    }
    let turn = std::f64::consts::PI * cutoff * x;
    let sinc = if x == 0.0 { cutoff } else { turn.sin() / (std::f64::consts::PI * x) };
    (sinc * (std::f64::consts::FRAC_PI_2 * x / reach).cos().powi(2)) as f32
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// libopus gives mono at 16 kHz whatever is inside.
fn ogg_opus(data: &[u8]) -> Result<Sound, Fault> {
    let mut packets = crate::ogg::packets(data);
    let head =
        packets.next().filter(|packet| packet.starts_with(b"OpusHead")).ok_or("no Opus in the Ogg file")?;
    let channels = head.get(9).copied().unwrap_or(0);
    if !(1..=2).contains(&channels) {
        return Err(format!("{channels} channels of Opus; 1 or 2 can be played"));
    }
    let pre_skip =
        head.get(10..12).and_then(|two| two.first_chunk()).map_or(0, |two| u16::from_le_bytes(*two));
    let mut decoder = OpusDecoder::new().ok_or("no memory")?;
    let mut samples = Vec::new();
    for packet in packets.skip(1) {
        if decoder.decode(&packet, &mut samples).is_err() {
            return Err("a packet in it is not Opus".into());
        }
        if samples.len() > LONGEST_S * Rate::Wide.hz() as usize {
            return Err(format!("longer than {} hours", LONGEST_S / 3600));
        }
    }
    samples.drain(..(usize::from(pre_skip) / 3).min(samples.len()));
    Ok(Sound::new(Rate::Wide, samples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wav_of(tag: u16, channels: u16, hz: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
        file.extend(tag.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(hz.to_le_bytes());
        file.extend([0; 6]);
        file.extend(bits.to_le_bytes());
        file.extend(b"LIST\x03\0\0\0abc\0data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    fn tone(hz: f64, rate: u32, seconds: f64) -> Vec<u8> {
        let count = (seconds * f64::from(rate)) as usize;
        let at = |n: usize| 16_000.0 * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate)).sin();
        (0..count).flat_map(|n| (at(n) as i16).to_le_bytes()).collect()
    }

    #[test]
    fn linear_samples_are_read_as_they_are() {
        let sound = Sound::parse(&wav_of(1, 1, 8000, 16, &[1, 0, 0xff, 0xff, 0, 0x80])).unwrap();
        assert_eq!((sound.rate, &*sound.samples), (Rate::Narrow, &[1, -1, -32_768][..]));
        let stereo = Sound::parse(&wav_of(1, 2, 16_000, 16, &[10, 0, 20, 0, 0, 0, 4, 0])).unwrap();
        assert_eq!((stereo.rate, &*stereo.samples), (Rate::Wide, &[15, 2][..]));
    }

    #[test]
    fn a_law_goes_out_as_it_is() {
        let sound = Sound::parse(&wav_of(6, 1, 8000, 8, &[0xd5, 0x55, 0xaa])).unwrap();
        assert_eq!(&*sound.samples, &[8, -8, 32_256]);
        assert_eq!(sound.ready(Codec::G711(Law::A), 1, 2), Some(&[0x55, 0xaa][..]));
        assert_eq!(sound.ready(Codec::G711(Law::Mu), 1, 2), None);
        assert_eq!(sound.ready(Codec::G711(Law::A), 2, 2), None);
    }

    #[test]
    fn other_rates_become_16_khz_at_the_same_level() {
        for rate in [11_025, 22_050, 32_000, 44_100, 96_000] {
            let sound = Sound::parse(&wav_of(1, 1, rate, 16, &tone(1000.0, rate, 0.5))).unwrap();
            assert!((7990..=8000).contains(&sound.samples.len()), "{}", sound.samples.len());
            let middle = &sound.samples[1000..7000];
            let power = middle.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / 6000.0;
            let db = 10.0 * (power * 2.0 / 16_000f64.powi(2)).log10();
            assert!(db.abs() < 0.2, "{rate}: {db}");
            let (mut re, mut im) = (0.0, 0.0);
            for (n, sample) in middle.iter().enumerate() {
                let turn = std::f64::consts::TAU * 1000.0 * n as f64 / 16_000.0;
                re += f64::from(*sample) * turn.cos();
                im += f64::from(*sample) * turn.sin();
            }
            let tone = (re * re + im * im) * 2.0 / 6000f64.powi(2);
            assert!(10.0 * ((power - tone).max(1e-9) / tone).log10() < -55.0, "{rate}");
        }
    }

    #[test]
    fn faults_are_told() {
        let fault = |data: &[u8]| Sound::parse(data).unwrap_err();
        assert!(fault(b"ID3 what").contains("neither WAV nor"));
        assert!(fault(&wav_of(3, 1, 8000, 32, &[0; 8])).contains("coded as 3 with 32 bits"));
        assert!(fault(&wav_of(1, 0, 8000, 16, &[0; 8])).contains("0 channels"));
        assert!(fault(b"RIFF").contains("without sound"));
        assert!(Sound::read(Path::new("/nowhere/x.wav")).unwrap_err().starts_with("/nowhere/x.wav: "));
    }

    proptest! {
        #[test]
        fn any_bytes_are_sound_or_a_fault(data in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..3) {
            let data = match kind {
                0 => wav_of(1, 1, 8000, 16, &data),
                1 => [b"OggS\0\x02", &data[..]].concat(),
                _ => [b"RIFF", &data[..]].concat(),
            };
            let _ = Sound::parse(&data);
        }
    }
}
