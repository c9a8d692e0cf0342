//! What the engine and the media process say to each other: `media/messages.py` in Rust.
//!
//! `messages.py` is the contract; its field order is the wire's. Trailing fields with a default may be absent.

use std::net::{IpAddr, SocketAddr};

use crate::capture::Side;
use crate::codec::Rate;
use crate::payload::Payload;
use crate::player::{End, Segment};
use crate::seal::KEY;
use crate::srtp::{Keys, Master, Suite};
use crate::time::{MILLISECOND, Micros};
use crate::wire::{Malformed, Read, Reader, Writer};

pub const VERSION: u64 = 3;

/// Payload types that there can be.
const MOST_PAYLOADS: usize = 128;

pub type PortId = u32;
pub type CallId = u64;

#[derive(Debug, Clone, PartialEq)]
pub struct Negotiated {
    pub port: PortId,
    pub remote_rtp: SocketAddr,
    /// None where the peer gave no RTCP port.
    pub remote_rtcp: Option<SocketAddr>,
    pub peer_sends: bool,
    pub peer_receives: bool,
    pub receive: Vec<Payload>,
    pub send: Vec<Payload>,
    pub udptl: bool,
    pub ptime_ms: u32,
    pub security: Option<Security>,
    pub ice: Option<Ice>,
}

/// How the packets of a stream are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// The keys came with the SDP (RFC 4568).
    Sdes(Keys),
    /// They are agreed upon in the stream itself (RFC 5764).
    Dtls { is_client: bool, fingerprint: Box<str> },
}

/// What both sides prove themselves with in checks of connectivity (RFC 8445 section 7).
#[derive(Clone, PartialEq, Eq)]
pub struct Ice {
    pub local_ufrag: Box<str>,
    pub local_pwd: Box<str>,
    pub remote_ufrag: Box<str>,
    pub remote_pwd: Box<str>,
}

impl std::fmt::Debug for Ice {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(to, "Ice({}:{})", self.local_ufrag, self.remote_ufrag)
    }
}

/// What is to be played, files not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayRequest {
    pub play: u64,
    pub clips: Vec<ClipRequest>,
    /// 0: for ever.
    pub times: u32,
    pub ended_by: Box<str>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ClipRequest {
    Tone(Segment),
    File { path: Box<str>, start: Micros },
}

/// What a recording is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordRequest {
    pub path: Box<str>,
    pub format: Format,
    pub rate: Rate,
    pub channels: usize,
    /// To encrypt the file with.
    pub key: Option<[u8; KEY]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Linear,
    ALaw,
    MuLaw,
    Opus,
}

/// The program behind a fork.
#[derive(Debug, Clone, PartialEq)]
pub struct ForkRequest {
    pub url: Box<str>,
    pub rate: Rate,
}

/// What became of a recording; with a fault, what went wrong instead.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Captured {
    pub port: PortId,
    pub path: String,
    pub seconds: f64,
    pub bytes: u64,
    pub sha256: String,
    pub missing_s: f64,
    pub fault: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Stop,
    Pause,
    Resume,
    Seek(Micros),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Hello { version: u64, orphan_s: f64 },
    OpenPort { port: PortId, call: CallId, local: SocketAddr },
    Negotiated(Box<Negotiated>),
    Hear { listener: PortId, speaker: PortId, gain_db: f64, side: Side },
    Unhear { listener: PortId, speaker: PortId },
    ClosePort { port: PortId },
    OpenPlayer { port: PortId, call: CallId },
    Play { port: PortId, request: Box<PlayRequest> },
    ControlPlayer { port: PortId, action: Action },
    OpenRecorder { port: PortId, call: CallId, request: Box<RecordRequest> },
    MarkRecording { port: PortId, label: String },
    MaskRecording { port: PortId, masked: bool },
    OpenFork { port: PortId, call: CallId, request: Box<ForkRequest> },
    DetectTones { port: PortId, on: bool },
    WatchTalking { port: PortId, on: bool },
    GuardDigits { port: PortId, on: bool },
    SendDigits { port: PortId, digits: Vec<(Box<str>, Micros)> },
    KeepMemo { call: CallId, memo: Vec<u8> },
    DropMemo { call: CallId },
    AskMemos,
    AskReport { port: PortId },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Welcome { rtp_ports: (u16, u16), workers: usize, open_ports: usize, fingerprint: String },
    PortFailed { port: PortId, why: String },
    Started { port: PortId, remote: SocketAddr, clock_s: f64 },
    Digit { port: PortId, digit: &'static str, ended: bool, duration_ms: u32, clock_s: f64, in_band: bool },
    Silent { port: PortId, silence_s: f64 },
    Report(Box<Report>),
    Memos { memos: Vec<(CallId, Vec<u8>)>, ports: Vec<(PortId, CallId, Option<SocketAddr>)> },
    Refused { tag: u64, why: String },
    Played { port: PortId, play: u64, end: End, position: Micros, fault: String, clock_s: f64 },
    Captured(Box<Captured>),
    ForkNews { port: PortId, connected: bool, why: String },
    Talking { port: PortId, begins: bool, level_dbov: f64, clock_s: f64 },
    SecurityNews { port: PortId, what: &'static str, detail: String, clock_s: f64 },
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    pub port: PortId,
    pub closed: bool,
    pub received_packets: u64,
    pub received_bytes: u64,
    pub sent_packets: u64,
    pub sent_bytes: u64,
    pub lost_packets: u64,
    pub jitter_ms: f64,
    pub round_trip_ms: f64,
    pub mos: f64,
    pub remote_lost_packets: u64,
    pub remote_jitter_ms: f64,
    pub refused_packets: u64,
    pub codec: String,
    pub clock_s: f64,
    /// Where the stream is decoded: how long its sound waits, and how much was made up.
    pub delay_ms: f64,
    pub concealed_ms: f64,
    /// The suite in use, if any.
    pub srtp: &'static str,
}

/// A command that could not be understood: the tag as far as it was readable, and what is wrong.
pub type Fault = (u64, &'static str);

impl Command {
    /// Read one message.
    pub fn read(message: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(message);
        let fields = reader.array().map_err(|_| (0, "not an array"))?;
        let tag = reader.uint().map_err(|_| (0, "no tag"))?;
        let command = Self::read_fields(tag, fields.saturating_sub(1), &mut reader);
        command.map_err(|_| (tag, "fields missing, or of a wrong type or value"))?.ok_or((tag, "unknown tag"))
    }

    fn read_fields(tag: u64, fields: usize, reader: &mut Reader) -> Read<Option<Self>> {
        Ok(Some(match tag {
            1 => Self::Hello { version: reader.uint()?, orphan_s: reader.float()? },
            2 => Self::OpenPort {
                port: reader.number()?,
                call: reader.uint()?,
                local: SocketAddr::new(host(reader)?, reader.number()?),
            },
            3 => Self::Negotiated(Box::new(Negotiated::read(fields, reader)?)),
            4 => Self::Hear {
                listener: reader.number()?,
                speaker: reader.number()?,
                gain_db: if fields > 2 { reader.float()? } else { 0.0 },
                side: if fields > 3 { side(reader)? } else { Side::Both },
            },
            5 => Self::Unhear { listener: reader.number()?, speaker: reader.number()? },
            6 => Self::ClosePort { port: reader.number()? },
            7 => Self::OpenPlayer { port: reader.number()?, call: reader.uint()? },
            8 => Self::KeepMemo { call: reader.uint()?, memo: reader.bytes()?.to_vec() },
            9 => Self::DropMemo { call: reader.uint()? },
            10 => Self::AskMemos,
            11 => Self::AskReport { port: reader.number()? },
            12 => {
                Self::Play { port: reader.number()?, request: Box::new(PlayRequest::read(fields, reader)?) }
            }
            13 => Self::ControlPlayer { port: reader.number()?, action: action(fields, reader)? },
            14 => Self::OpenRecorder {
                port: reader.number()?,
                call: reader.uint()?,
                request: Box::new(RecordRequest::read(fields, reader)?),
            },
            15 => Self::MarkRecording { port: reader.number()?, label: reader.text()?.to_owned() },
            16 => Self::MaskRecording { port: reader.number()?, masked: reader.boolean()? },
            20 => Self::OpenFork {
                port: reader.number()?,
                call: reader.uint()?,
                request: Box::new(ForkRequest {
                    url: reader.text()?.into(),
                    rate: Rate::of(reader.number()?).ok_or(Malformed)?,
                }),
            },
            17 => Self::DetectTones { port: reader.number()?, on: reader.boolean()? },
            21 => Self::WatchTalking { port: reader.number()?, on: reader.boolean()? },
            18 => Self::GuardDigits { port: reader.number()?, on: reader.boolean()? },
            19 => Self::SendDigits { port: reader.number()?, digits: digits(reader)? },
            _ => return Ok(None),
        }))
    }

    /// The port that it is about, first of all.
    pub fn port(&self) -> Option<PortId> {
        match self {
            Self::Negotiated(terms) => Some(terms.port),
            Self::OpenPort { port, .. }
            | Self::ClosePort { port }
            | Self::OpenPlayer { port, .. }
            | Self::Play { port, .. }
            | Self::ControlPlayer { port, .. }
            | Self::OpenRecorder { port, .. }
            | Self::MarkRecording { port, .. }
            | Self::MaskRecording { port, .. }
            | Self::OpenFork { port, .. }
            | Self::DetectTones { port, .. }
            | Self::WatchTalking { port, .. }
            | Self::GuardDigits { port, .. }
            | Self::SendDigits { port, .. }
            | Self::AskReport { port } => Some(*port),
            Self::Hear { listener, .. } | Self::Unhear { listener, .. } => Some(*listener),
            Self::Hello { .. } | Self::KeepMemo { .. } | Self::DropMemo { .. } | Self::AskMemos => None,
        }
    }

    /// The tag in `messages.py`.
    pub fn tag(&self) -> u64 {
        match self {
            Self::Hello { .. } => 1,
            Self::OpenPort { .. } => 2,
            Self::Negotiated(_) => 3,
            Self::Hear { .. } => 4,
            Self::Unhear { .. } => 5,
            Self::ClosePort { .. } => 6,
            Self::OpenPlayer { .. } => 7,
            Self::Play { .. } => 12,
            Self::ControlPlayer { .. } => 13,
            Self::OpenRecorder { .. } => 14,
            Self::MarkRecording { .. } => 15,
            Self::MaskRecording { .. } => 16,
            Self::DetectTones { .. } => 17,
            Self::WatchTalking { .. } => 21,
            Self::OpenFork { .. } => 20,
            Self::GuardDigits { .. } => 18,
            Self::SendDigits { .. } => 19,
            Self::KeepMemo { .. } => 8,
            Self::DropMemo { .. } => 9,
            Self::AskMemos => 10,
            Self::AskReport { .. } => 11,
        }
    }
}

impl Negotiated {
    fn read(fields: usize, reader: &mut Reader) -> Read<Self> {
        let port = reader.number()?;
        let remote = host(reader)?;
        let rtp_port = reader.number()?;
        let rtcp_port: u16 = reader.number()?;
        let (peer_sends, peer_receives) = (reader.boolean()?, reader.boolean()?);
        let (receive, send) = (payloads(reader)?, payloads(reader)?);
        let ptime_ms = if fields > 8 { reader.number()? } else { 20 };
        Ok(Self {
            port,
            remote_rtp: SocketAddr::new(remote, rtp_port),
            remote_rtcp: (rtcp_port != 0).then(|| SocketAddr::new(remote, rtcp_port)),
            peer_sends,
            peer_receives,
            receive,
            send,
            udptl: fields > 9 && protocol_is_udptl(reader.text()?)?,
            ptime_ms,
            security: if fields > 10 { security(reader)? } else { None },
            ice: if fields > 11 { ice(reader)? } else { None },
        })
    }
}

fn security(reader: &mut Reader) -> Read<Option<Security>> {
    if reader.nil() {
        return Ok(None);
    }
    reader.array()?;
    match reader.uint()? {
        1 => {
            let suite = Suite::of(reader.text()?).ok_or(Malformed)?;
            let local = Master::new(suite, reader.bytes()?).ok_or(Malformed)?;
            let remote = Master::new(suite, reader.bytes()?).ok_or(Malformed)?;
            Ok(Some(Security::Sdes(Keys { suite, local, remote })))
        }
        2 => {
            let is_client = match reader.text()? {
                "client" => true,
                "server" => false,
                _ => return Err(Malformed),
            };
            Ok(Some(Security::Dtls { is_client, fingerprint: reader.text()?.into() }))
        }
        _ => Err(Malformed),
    }
}

fn ice(reader: &mut Reader) -> Read<Option<Ice>> {
    if reader.nil() {
        return Ok(None);
    }
    reader.array()?;
    let mut text = || Ok(reader.text()?.into());
    Ok(Some(Ice { local_ufrag: text()?, local_pwd: text()?, remote_ufrag: text()?, remote_pwd: text()? }))
}

/// Clips of one list, sines of one tone, and files' names: more, or longer, is a mistake.
const MOST_CLIPS: usize = 4096;
const MOST_SINES: usize = 8;

impl PlayRequest {
    fn read(fields: usize, reader: &mut Reader) -> Read<Self> {
        let play = reader.uint()?;
        let count = reader.array()?;
        if count > MOST_CLIPS {
            return Err(Malformed);
        }
        let clips = (0..count).map(|_| ClipRequest::read(reader)).collect::<Read<_>>()?;
        let times = if fields > 3 { reader.number()? } else { 1 };
        let ended_by = if fields > 4 { reader.text()?.into() } else { "".into() };
        Ok(Self { play, clips, times, ended_by })
    }
}

impl ClipRequest {
    fn read(reader: &mut Reader) -> Read<Self> {
        let fields = reader.array()?;
        match reader.uint()? {
            1 => {
                let sines = reader.array()?;
                if sines > MOST_SINES {
                    return Err(Malformed);
                }
                let frequencies_hz = (0..sines).map(|_| reader.float()).collect::<Read<_>>()?;
                let (level_dbov, duration_ms) = (reader.float()?, reader.number::<u32>()?);
                let duration = u64::from(duration_ms) * MILLISECOND;
                Ok(Self::Tone(Segment { frequencies_hz, level_dbov, duration }))
            }
            2 => {
                let path = reader.text()?.into();
                let start_ms: u32 = if fields > 2 { reader.number()? } else { 0 };
                Ok(Self::File { path, start: u64::from(start_ms) * MILLISECOND })
            }
            _ => Err(Malformed),
        }
    }
}

impl RecordRequest {
    fn read(fields: usize, reader: &mut Reader) -> Read<Self> {
        let path = reader.text()?.into();
        let format = match reader.text()? {
            "linear" => Format::Linear,
            "a-law" => Format::ALaw,
            "mu-law" => Format::MuLaw,
            "opus" => Format::Opus,
            _ => return Err(Malformed),
        };
        let rate = Rate::of(reader.number()?).ok_or(Malformed)?;
        let channels = usize::from(reader.number::<u8>()?);
        let key = if fields > 6 { reader.bytes()? } else { &[] };
        let key = if key.is_empty() { None } else { Some(key.try_into().map_err(|_| Malformed)?) };
        // libopus is given 16 kHz here.
        let possible = matches!(channels, 1 | 2) && (format != Format::Opus || rate == Rate::Wide);
        if possible { Ok(Self { path, format, rate, channels, key }) } else { Err(Malformed) }
    }
}

/// Digits with how long each lasts.
fn digits(reader: &mut Reader) -> Read<Vec<(Box<str>, Micros)>> {
    let count = reader.array()?;
    if count > MOST_CLIPS {
        return Err(Malformed);
    }
    let mut digit = || {
        reader.array()?;
        Ok((reader.text()?.into(), u64::from(reader.number::<u32>()?) * MILLISECOND))
    };
    (0..count).map(|_| digit()).collect()
}

fn side(reader: &mut Reader) -> Read<Side> {
    match reader.text()? {
        "both" => Ok(Side::Both),
        "left" => Ok(Side::Left),
        "right" => Ok(Side::Right),
        _ => Err(Malformed),
    }
}

fn action(fields: usize, reader: &mut Reader) -> Read<Action> {
    match reader.text()? {
        "stop" => Ok(Action::Stop),
        "pause" => Ok(Action::Pause),
        "resume" => Ok(Action::Resume),
        "seek" if fields > 2 => Ok(Action::Seek(u64::from(reader.number::<u32>()?) * MILLISECOND)),
        _ => Err(Malformed),
    }
}

fn host(reader: &mut Reader) -> Read<IpAddr> {
    reader.text()?.parse().map_err(|_| Malformed)
}

fn protocol_is_udptl(name: &str) -> Read<bool> {
    match name {
        "rtp" => Ok(false),
        "udptl" => Ok(true),
        _ => Err(Malformed),
    }
}

fn payloads(reader: &mut Reader) -> Read<Vec<Payload>> {
    let count = reader.array()?;
    if count > MOST_PAYLOADS {
        return Err(Malformed);
    }
    (0..count).map(|_| payload(reader)).collect()
}

fn payload(reader: &mut Reader) -> Read<Payload> {
    let fields = reader.array()?;
    let payload_type: u8 = reader.number()?;
    let payload = Payload {
        payload_type,
        name: reader.text()?.into(),
        clock_rate_hz: reader.number()?,
        channels: if fields > 3 { reader.number()? } else { 1 },
        fmtp: if fields > 4 { reader.text()?.into() } else { "".into() },
    };
    if payload_type > 127 || payload.clock_rate_hz == 0 { Err(Malformed) } else { Ok(payload) }
}

impl Event {
    /// May be thrown away when the engine does not keep up.
    pub fn is_statistics(&self) -> bool {
        match self {
            Self::Report(report) => !report.closed,
            Self::Silent { .. } | Self::Talking { .. } => true,
            _ => false,
        }
    }

    pub fn write(&self, to: &mut Writer) {
        match self {
            Self::Welcome { rtp_ports: (first, last), workers, open_ports, fingerprint } => {
                head(to, 101, 6);
                to.uint(VERSION);
                to.uint(u64::from(*first));
                to.uint(u64::from(*last));
                to.uint(*workers as u64);
                to.uint(*open_ports as u64);
                to.text(fingerprint);
            }
            Self::PortFailed { port, why } => {
                head(to, 102, 2);
                to.uint(u64::from(*port));
                to.text(why);
            }
            Self::Started { port, remote, clock_s } => {
                head(to, 103, 4);
                to.uint(u64::from(*port));
                to.text(&remote.ip().to_string());
                to.uint(u64::from(remote.port()));
                to.float(*clock_s);
            }
            Self::Digit { port, digit, ended, duration_ms, clock_s, in_band } => {
                head(to, 104, 6);
                to.uint(u64::from(*port));
                to.text(digit);
                to.boolean(*ended);
                to.uint(u64::from(*duration_ms));
                to.float(*clock_s);
                to.text(if *in_band { "tone" } else { "event" });
            }
            Self::Silent { port, silence_s } => {
                head(to, 105, 2);
                to.uint(u64::from(*port));
                to.float(*silence_s);
            }
            Self::Report(report) => report.write(to),
            Self::Memos { memos, ports } => write_memos(to, memos, ports),
            Self::Refused { tag, why } => {
                head(to, 108, 2);
                to.uint(*tag);
                to.text(why);
            }
            Self::Talking { port, begins, level_dbov, clock_s } => {
                head(to, 113, 4);
                to.uint(u64::from(*port));
                to.boolean(*begins);
                to.float(*level_dbov);
                to.float(*clock_s);
            }
            Self::ForkNews { port, connected, why } => {
                head(to, 112, 3);
                to.uint(u64::from(*port));
                to.boolean(*connected);
                to.text(why);
            }
            Self::Captured(captured) => {
                head(to, 110, 7);
                to.uint(u64::from(captured.port));
                to.text(&captured.path);
                to.float(captured.seconds);
                to.uint(captured.bytes);
                to.text(&captured.sha256);
                to.float(captured.missing_s);
                to.text(&captured.fault);
            }
            Self::SecurityNews { port, what, detail, clock_s } => {
                head(to, 111, 4);
                to.uint(u64::from(*port));
                to.text(what);
                to.text(detail);
                to.float(*clock_s);
            }
            Self::Played { port, play, end, position, fault, clock_s } => {
                head(to, 109, 6);
                to.uint(u64::from(*port));
                to.uint(*play);
                to.text(match end {
                    End::Done => "done",
                    End::Stopped => "stopped",
                    End::Digit => "digit",
                    End::Failed => "failed",
                });
                to.uint(position / MILLISECOND);
                to.text(fault);
                to.float(*clock_s);
            }
        }
    }
}

fn head(to: &mut Writer, tag: u64, fields: usize) {
    to.array(fields + 1);
    to.uint(tag);
}

fn write_memos(to: &mut Writer, memos: &[(CallId, Vec<u8>)], ports: &[(PortId, CallId, Option<SocketAddr>)]) {
    head(to, 107, 2);
    to.array(memos.len());
    for (call, memo) in memos {
        to.array(2);
        to.uint(*call);
        to.bytes(memo);
    }
    to.array(ports.len());
    for (port, call, local) in ports {
        to.array(4);
        to.uint(u64::from(*port));
        to.uint(*call);
        to.text(&local.map_or_else(String::new, |address| address.ip().to_string()));
        to.uint(local.map_or(0, |address| u64::from(address.port())));
    }
}

impl Report {
    fn write(&self, to: &mut Writer) {
        head(to, 106, 18);
        to.uint(u64::from(self.port));
        to.boolean(self.closed);
        to.uint(self.received_packets);
        to.uint(self.received_bytes);
        to.uint(self.sent_packets);
        to.uint(self.sent_bytes);
        to.uint(self.lost_packets);
        to.float(self.jitter_ms);
        to.float(self.round_trip_ms);
        to.float(self.mos);
        to.uint(self.remote_lost_packets);
        to.float(self.remote_jitter_ms);
        to.uint(self.refused_packets);
        to.text(&self.codec);
        to.float(self.clock_s);
        to.float(self.delay_ms);
        to.float(self.concealed_ms);
        to.text(self.srtp);
    }
}

/// The messages of one frame body, in order, each a command or the fault of that one message.
///
/// A message that makes no sense costs only itself; bytes that are not MessagePack end the frame.
pub fn read_frame(body: &[u8]) -> Vec<Result<Command, Fault>> {
    let mut reader = Reader::new(body);
    let Ok(count) = reader.array() else {
        return vec![Err((0, "a frame is an array of messages"))];
    };
    let mut commands = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        match reader.value() {
            Ok(message) => commands.push(Command::read(message)),
            Err(Malformed) => {
                commands.push(Err((0, "the frame is cut short or not MessagePack")));
                break;
            }
        }
    }
    commands
}

/// One frame, length and all, that holds these events.
pub fn write_frame(events: &[Event]) -> Vec<u8> {
    let mut to = Writer { data: vec![0; 4] };
    to.array(events.len());
    for event in events {
        event.write(&mut to);
    }
    let length = (to.data.len() - 4) as u32;
    if let Some(head) = to.data.first_chunk_mut::<4>() {
        *head = length.to_be_bytes();
    }
    to.data
}
