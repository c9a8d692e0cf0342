//! Recordings as files: WAV (linear, A-law, mu-law) and Ogg/Opus (RFC 7845), mono or stereo, each with a sidecar.
//!
//! A file is whole at every moment but for its last second: what has come is written at once, and the lengths in a
//! WAV's header are mended every second, so that a process that is killed leaves a recording that opens. Sound that
//! never came is silence, so that the rest keeps its time; how much is told. The sidecar is JSON beside the file:
//! when it began, what was marked in it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::capture::ToWriter;
use crate::codec::g711::{a_law, mu_law};
use crate::codec::opus::FileEncoder;
use crate::messages::{Captured, Event, Format, PortId, RecordRequest};
use crate::ogg;
use crate::playout::TICK;
use crate::seal::Seal;
use crate::time::SECOND;

const WAV_HEAD: usize = 58;
/// A gap longer than this is a mistake, not silence.
const MOST_SILENCE_S: u64 = 3600;

#[derive(Default)]
pub struct Recordings {
    open: HashMap<PortId, Recording>,
}

struct Recording {
    request: RecordRequest,
    file: File,
    seal: Option<Seal>,
    container: Container,
    began_at: SystemTime,
    /// Samples of one channel that are in the file.
    written: u64,
    missing: u64,
    mended_at: u64,
    bytes: u64,
    marks: Vec<(u64, String)>,
}

enum Container {
    Wav,
    Ogg(Box<OggOpus>),
}

struct OggOpus {
    encoder: FileEncoder,
    pages: ogg::Writer,
    /// Samples that do not fill a packet yet.
    pending: Vec<i16>,
}

impl Recordings {
    /// Do what a recorder hands over; what the engine shall know of it.
    pub fn take(&mut self, work: ToWriter) -> Option<Event> {
        match work {
            ToWriter::Open { port, request } => {
                let path = request.path.to_string();
                match Recording::begin(*request) {
                    Ok(recording) => {
                        self.open.insert(port, recording);
                        None
                    }
                    Err(error) => Some(failed(port, path, &error)),
                }
            }
            ToWriter::Sound { port, at, samples } => {
                let recording = self.open.get_mut(&port)?;
                let written = recording.sound(at, &samples);
                written.err().map(|error| self.give_up(port, &error))
            }
            ToWriter::Mark { port, at, label } => {
                let recording = self.open.get_mut(&port)?;
                recording.marks.push((at, label));
                recording.write_sidecar(false).err().map(|error| self.give_up(port, &error))
            }
            ToWriter::Close { port, at } => {
                let recording = self.open.remove(&port)?;
                let path = recording.request.path.to_string();
                Some(match recording.end(at) {
                    Ok(captured) => Event::Captured(Box::new(Captured { port, ..captured })),
                    Err(error) => failed(port, path, &error),
                })
            }
        }
    }

    /// A full disk, say: what is there stays, and the engine is told.
    fn give_up(&mut self, port: PortId, error: &io::Error) -> Event {
        let path = self.open.remove(&port).map(|gone| gone.request.path.to_string()).unwrap_or_default();
        failed(port, path, error)
    }
}

fn failed(port: PortId, path: String, error: &io::Error) -> Event {
    let fault = format!("{path}: {error}");
    Event::Captured(Box::new(Captured { port, path, fault, ..Captured::default() }))
}

impl Recording {
    fn begin(request: RecordRequest) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).create_new(true).open(&*request.path)?;
        let mut bytes = 0;
        let mut seal = request.key.as_ref().map(Seal::new).transpose()?;
        if let Some(seal) = &seal {
            bytes += write_all(&mut file, seal.header())?;
        }
        let mut write = |data: &[u8]| put(&mut file, &mut seal, data, false);
        let container = match request.format {
            Format::Opus => {
                let mut pages = ogg::Writer::new(u32::from(request.path.len() as u16) | 0x4a46_0000);
                let encoder = FileEncoder::new(request.channels).ok_or(io::ErrorKind::OutOfMemory)?;
                let head = opus_head(request.channels, encoder.pre_skip(), request.rate.hz());
                bytes += write(&pages.page(&[&head], 0, true, false))?;
                bytes += write(&pages.page(&[&opus_tags()], 0, false, false))?;
                Container::Ogg(Box::new(OggOpus { encoder, pages, pending: Vec::new() }))
            }
            _ => {
                bytes += write(&wav_head(&request, 0))?;
                Container::Wav
            }
        };
        let began_at = SystemTime::now();
        let recording = Self {
            request,
            file,
            seal,
            container,
            began_at,
            written: 0,
            missing: 0,
            mended_at: 0,
            bytes,
            marks: Vec::new(),
        };
        recording.write_sidecar(false)?;
        Ok(recording)
    }

    fn sound(&mut self, at: u64, samples: &[i16]) -> io::Result<()> {
        self.fill_up_to(at)?;
        self.append(samples)?;
        if self.written >= self.mended_at + u64::from(self.request.rate.hz()) {
            self.mended_at = self.written;
            self.mend()?;
        }
        Ok(())
    }

    /// What was to come before `at` and did not is silence.
    fn fill_up_to(&mut self, at: u64) -> io::Result<()> {
        let most = MOST_SILENCE_S * u64::from(self.request.rate.hz());
        let missing = at.saturating_sub(self.written).min(most);
        self.missing += missing;
        let second = u64::from(self.request.rate.hz());
        let mut left = missing;
        while left > 0 {
            let count = left.min(second);
            self.append(&vec![0; count as usize * self.request.channels])?;
            left -= count;
        }
        Ok(())
    }

    fn append(&mut self, samples: &[i16]) -> io::Result<()> {
        self.written += (samples.len() / self.request.channels) as u64;
        let data: Vec<u8> = match &mut self.container {
            Container::Ogg(opus) => {
                opus.encode(samples, self.request.rate.samples(TICK) * self.request.channels, false)
            }
            Container::Wav => match self.request.format {
                Format::ALaw => samples.iter().map(|sample| a_law(*sample)).collect(),
                Format::MuLaw => samples.iter().map(|sample| mu_law(*sample)).collect(),
                Format::Linear | Format::Opus => {
                    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
                }
            },
        };
        self.bytes += put(&mut self.file, &mut self.seal, &data, false)?;
        Ok(())
    }

    /// Make the header say how much there is.
    fn mend(&mut self) -> io::Result<()> {
        if matches!(self.container, Container::Wav) && self.seal.is_none() {
            let length = self.bytes - WAV_HEAD as u64;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&wav_head(&self.request, length))?;
            self.file.seek(SeekFrom::End(0))?;
        }
        Ok(())
    }

    fn end(mut self, at: u64) -> io::Result<Captured> {
        self.fill_up_to(at)?;
        let packet = self.request.rate.samples(TICK) * self.request.channels;
        let last = match &mut self.container {
            Container::Ogg(opus) => opus.encode(&[], packet, true),
            Container::Wav => Vec::new(),
        };
        self.bytes += put(&mut self.file, &mut self.seal, &last, true)?;
        self.mend()?;
        self.file.sync_data()?;
        self.write_sidecar(true)?;
        let seconds = |samples: u64| samples as f64 / f64::from(self.request.rate.hz());
        Ok(Captured {
            port: 0,
            path: self.request.path.to_string(),
            seconds: seconds(self.written),
            bytes: self.bytes,
            sha256: hash(&mut self.file)?,
            missing_s: seconds(self.missing),
            fault: String::new(),
        })
    }

    /// Written anew and put in place at once, so that a reader never sees half of it.
    fn write_sidecar(&self, ended: bool) -> io::Result<()> {
        let began = self.began_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = |samples: u64| samples as f64 / f64::from(self.request.rate.hz());
        let marks = self
            .marks
            .iter()
            .map(|(at, label)| format!("{{\"at_s\": {:.3}, \"label\": {}}}", seconds(*at), quoted(label)));
        let marks: Vec<String> = marks.collect();
        let text = format!(
            "{{\"began_at_s\": {}.{:06}, \"seconds\": {:.3}, \"ended\": {ended}, \"rate_hz\": {}, \"channels\": {}, \
             \"missing_s\": {:.3}, \"encrypted\": {}, \"marks\": [{}]}}\n",
            began.as_secs(),
            began.subsec_micros(),
            seconds(self.written),
            self.request.rate.hz(),
            self.request.channels,
            seconds(self.missing),
            self.seal.is_some(),
            marks.join(", "),
        );
        let path = sidecar(Path::new(&*self.request.path));
        let new = path.with_extension("json.new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, &path)
    }
}

impl OggOpus {
    fn encode(&mut self, samples: &[i16], packet: usize, last: bool) -> Vec<u8> {
        self.pending.extend_from_slice(samples);
        if last && !self.pending.is_empty() {
            let whole = self.pending.len().div_ceil(packet) * packet;
            self.pending.resize(whole, 0);
        }
        let whole = self.pending.len() / packet * packet;
        let frames: Vec<i16> = self.pending.drain(..whole).collect();
        let packets: Vec<Vec<u8>> =
            frames.chunks_exact(packet).map(|frame| self.encoder.encode(frame)).collect();
        if packets.is_empty() && !last {
            return Vec::new();
        }
        // RFC 7845 counts at 48 kHz whatever is inside.
        let granule = packets.len() as u64 * TICK * 48_000 / SECOND;
        let borrowed: Vec<&[u8]> = packets.iter().map(|packet| &**packet).collect();
        self.pages.page(&borrowed, granule, false, last)
    }
}

/// Write, sealed where there is a seal; how many bytes that made.
fn put(file: &mut File, seal: &mut Option<Seal>, data: &[u8], last: bool) -> io::Result<u64> {
    match seal {
        Some(seal) => write_all(file, &seal.chunk(data, last)?),
        None => write_all(file, data),
    }
}

fn write_all(file: &mut File, data: &[u8]) -> io::Result<u64> {
    file.write_all(data)?;
    Ok(data.len() as u64)
}

/// A RIFF header for `length` bytes of sound, with a "fact" chunk as formats other than linear want it.
fn wav_head(request: &RecordRequest, length: u64) -> [u8; WAV_HEAD] {
    let (tag, bytes) = match request.format {
        Format::ALaw => (6u16, 1),
        Format::MuLaw => (7, 1),
        Format::Linear | Format::Opus => (1, 2),
    };
    let (channels, hz) = (request.channels as u16, request.rate.hz());
    let block = channels * bytes;
    let length = u32::try_from(length).unwrap_or(u32::MAX - WAV_HEAD as u32);
    let frames = length / u32::from(block);
    let parts: [&[u8]; 18] = [
        b"RIFF",
        &(length + WAV_HEAD as u32 - 8).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &18u32.to_le_bytes(),
        &tag.to_le_bytes(),
        &channels.to_le_bytes(),
        &hz.to_le_bytes(),
        &(hz * u32::from(block)).to_le_bytes(),
        &block.to_le_bytes(),
        &(bytes * 8).to_le_bytes(),
        &0u16.to_le_bytes(),
        b"fact",
        &4u32.to_le_bytes(),
        &frames.to_le_bytes(),
        b"data",
        &length.to_le_bytes(),
        b"",
    ];
    let mut head = [0; WAV_HEAD];
    head.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
    head
}

fn opus_head(channels: usize, pre_skip: u16, hz: u32) -> Vec<u8> {
    let parts: [&[u8]; 5] =
        [b"OpusHead\x01", &[channels as u8], &pre_skip.to_le_bytes(), &hz.to_le_bytes(), &[0, 0, 0]];
    parts.concat()
}

fn opus_tags() -> Vec<u8> {
    let vendor = b"Jackfield";
    let parts: [&[u8]; 4] = [b"OpusTags", &(vendor.len() as u32).to_le_bytes(), vendor, &[0; 4]];
    parts.concat()
}

/// Where the sidecar of a recording lies.
fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}

fn quoted(text: &str) -> String {
    let mut to = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => to.extend(['\\', letter]),
            letter if (letter as u32) < 0x20 => to.push_str(&format!("\\u{:04x}", letter as u32)),
            letter => to.push(letter),
        }
    }
    to.push('"');
    to
}

fn hash(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut sha = Sha256::new();
    let mut space = vec![0; 64 << 10];
    loop {
        match file.read(&mut space)? {
            0 => break,
            count => sha.update(space.get(..count).unwrap_or_default()),
        }
    }
    Ok(sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
