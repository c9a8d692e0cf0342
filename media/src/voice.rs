//! What one port says, for those who hear it mixed: decoded, or played, once for all of them.
//!
//! Each tick of 20 ms the voice gives one frame, however many ask for it, at whichever rate they want it. Those
//! who hear nobody else share the encoded frame too: music on hold costs one encoder for a thousand ears.

use crate::codec::{Codec, Encoder, Rate};
use crate::dsp::mix::LONGEST;
use crate::dsp::resample::Resampler;
use crate::dsp::talking::Talking;
use crate::fork::Guest;
use crate::payload::{Payload, PayloadSet};
use crate::player::Player;
use crate::playout::{self, Playout, TICK};
use crate::rtp::Packet;
use crate::time::Micros;

/// Encoded frames that nobody has asked for since so many ticks are made no longer.
const FORGOTTEN: u64 = 500;

#[derive(Debug)]
pub enum Source {
    /// A stream from a peer, decoded.
    Stream(Box<Playout>),
    Player(Box<Player>),
    /// A program.
    Guest(Box<Guest>),
}

/// The frame at another rate than its own.
#[derive(Debug)]
struct Converted {
    from: Rate,
    resampler: Resampler,
    number: u64,
    samples: Vec<i16>,
}

/// The frame as payload of one codec.
#[derive(Debug)]
struct Encoded {
    codec: Codec,
    fmtp: Box<str>,
    encoder: Box<dyn Encoder>,
    number: u64,
    payload: Vec<u8>,
}

#[derive(Debug)]
pub struct Voice {
    pub source: Source,
    /// Which tick the frame belongs to.
    number: u64,
    rate: Rate,
    sounds: bool,
    /// The RTP timestamp that the frame began at, where a stream is played.
    began: Option<u32>,
    frame: Box<[i16; LONGEST]>,
    converted: [Option<Box<Converted>>; 3],
    encoded: Vec<Encoded>,
    talking: Talking,
    /// The run of the stream that is being played, see `Incoming`.
    run: u32,
}

impl Voice {
    pub fn new(source: Source) -> Self {
        Self {
            source,
            number: 0,
            rate: Rate::Narrow,
            sounds: false,
            began: None,
            frame: Box::new([0; LONGEST]),
            converted: [None, None, None],
            encoded: Vec::new(),
            talking: Talking::default(),
            run: 0,
        }
    }

    pub fn of_stream() -> Self {
        Self::new(Source::Stream(Box::new(Playout::new())))
    }

    pub fn playout(&self) -> Option<&Playout> {
        match &self.source {
            Source::Stream(playout) => Some(playout),
            Source::Player(_) | Source::Guest(_) => None,
        }
    }

    pub fn playout_mut(&mut self) -> Option<&mut Playout> {
        match &mut self.source {
            Source::Stream(playout) => Some(playout),
            Source::Player(_) | Source::Guest(_) => None,
        }
    }

    pub fn player_mut(&mut self) -> Option<&mut Player> {
        match &mut self.source {
            Source::Player(player) => Some(player),
            Source::Stream(_) | Source::Guest(_) => None,
        }
    }

    /// Whether a player is at work, or will be once its files are read.
    pub fn has_something_to_play(&self) -> bool {
        match &self.source {
            Source::Player(player) => player.is_playing(),
            Source::Guest(_) => true,
            Source::Stream(_) => false,
        }
    }

    /// Keep a packet of the stream until its time; `receive` says what its payload type means.
    pub fn put(&mut self, packet: &Packet, payload: &[u8], run: u32, receive: &PayloadSet, now: Micros) {
        let Source::Stream(playout) = &mut self.source else { return };
        if std::mem::replace(&mut self.run, run) != run {
            playout.reset();
        }
        if !playout.has_voice(packet.payload_type)
            && let Some(voice) = decoded(receive, packet.payload_type)
        {
            playout.add_voice(packet.payload_type, voice);
        }
        playout.put(packet, payload, now);
    }

    /// Make the frame of tick `number`, unless it is made already.
    pub fn pull(&mut self, number: u64, now: Micros) {
        if self.number == number {
            return;
        }
        self.number = number;
        match &mut self.source {
            Source::Stream(playout) => {
                let tick = playout.tick(now, &mut self.frame);
                self.rate = tick.rate;
                self.sounds = tick.sounds;
                self.began = tick.began;
            }
            Source::Guest(guest) => {
                (self.rate, self.sounds) = guest.tick(&mut self.frame);
                self.began = None;
            }
            Source::Player(player) => {
                (self.rate, self.sounds) = player.tick(now, &mut self.frame);
                self.began = None;
            }
        }
        let length = if self.sounds { self.rate.samples(TICK) } else { 0 };
        self.talking.frame(self.frame.get(..length).unwrap_or_default());
    }

    /// Whether there is anything to be heard in this tick.
    pub fn sounds(&self) -> bool {
        self.sounds
    }

    /// The RTP timestamp at which the frame began; None when no stream is being played.
    pub fn began(&self) -> Option<u32> {
        self.began
    }

    /// How loud it has been of late.
    pub fn level_dbov(&self) -> f32 {
        self.talking.level_dbov()
    }

    /// The frame at `rate`.
    pub fn samples(&mut self, rate: Rate) -> &[i16] {
        if rate == self.rate {
            return self.frame.get(..rate.samples(TICK)).unwrap_or_default();
        }
        let Some(place) = self.converted.get_mut(rate as usize) else { return &[] };
        if place.as_ref().is_none_or(|known| known.from != self.rate) {
            *place = Some(Box::new(Converted::new(self.rate, rate)));
        }
        let Some(converted) = place else { return &[] };
        if converted.number != self.number {
            converted.number = self.number;
            let frame = self.frame.get(..self.rate.samples(TICK)).unwrap_or_default();
            converted.resampler.process(frame, &mut converted.samples);
        }
        &converted.samples
    }

    /// The frame in a form that was ready before anybody asked.
    pub fn ready(&self, codec: Codec) -> Option<&[u8]> {
        match &self.source {
            Source::Player(player) => player.ready(codec),
            Source::Stream(_) | Source::Guest(_) => None,
        }
    }

    /// The frame as a payload of 20 ms; `payload` is the listener's name for `codec`. Empty when it cannot be made.
    pub fn encoded(&mut self, codec: Codec, payload: &Payload) -> &[u8] {
        let number = self.number;
        let known = |encoded: &Encoded| encoded.codec == codec && encoded.fmtp == payload.fmtp;
        if !self.encoded.iter().any(known) {
            self.encoded.retain(|encoded| number.saturating_sub(encoded.number) < FORGOTTEN);
            let Some(encoder) = codec.encoder(payload) else { return &[] };
            let fmtp = payload.fmtp.clone();
            self.encoded.push(Encoded { codec, fmtp, encoder, number: 0, payload: Vec::new() });
        }
        let Some(place) = self.encoded.iter().position(known) else { return &[] };
        if self.encoded.get(place).is_some_and(|encoded| encoded.number != number) {
            let mut payload =
                self.encoded.get_mut(place).map(|e| std::mem::take(&mut e.payload)).unwrap_or_default();
            payload.clear();
            self.encode(place, codec.rate(), &mut payload);
            if let Some(encoded) = self.encoded.get_mut(place) {
                encoded.number = number;
                encoded.payload = payload;
            }
        }
        self.encoded.get(place).map(|encoded| &*encoded.payload).unwrap_or_default()
    }

    fn encode(&mut self, place: usize, rate: Rate, to: &mut Vec<u8>) {
        let mut samples = [0; LONGEST];
        let count = rate.samples(TICK);
        let Some(samples) = samples.get_mut(..count) else { return };
        samples.copy_from_slice(self.samples(rate));
        if let Some(encoded) = self.encoded.get_mut(place) {
            encoded.encoder.encode(samples, to);
        }
    }
}

impl Converted {
    fn new(from: Rate, to: Rate) -> Self {
        Self { from, resampler: Resampler::new(from, to), number: 0, samples: vec![0; to.samples(TICK)] }
    }
}

/// How sound of this payload type is decoded; None for what media does not speak.
fn decoded(receive: &PayloadSet, payload_type: u8) -> Option<playout::Voice> {
    let (place, _) = receive.find(payload_type)?;
    let payload = receive.get(place)?;
    match &*payload.name {
        "telephone-event" => return Some(playout::Voice::Pause),
        "cn" => return Some(playout::Voice::Noise),
        _ => {}
    }
    let decoder = Codec::of(payload)?.decoder()?;
    Some(playout::Voice::Codec(decoder, payload.clock_rate_hz))
}
