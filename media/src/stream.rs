//! One RTP stream pair with a peer: what comes in, what goes out, and what is known about both.
//!
//! Knows nothing of other ports but the edges it hears by; `ports.rs` carries packets from one to the other.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::codec::Codec;
use crate::dtls::{self, Handshake, Identity, Outcome};
use crate::dtmf::{Digit, DigitWatch, EventPayload};
use crate::ice::{IceLite, NotThePeer};
use crate::incoming::Incoming;
use crate::keyer::Keyer;
use crate::latch::{Latch, Mark, Verdict};
use crate::messages::{Event, Negotiated, PortId, Report, Security};
use crate::mos;
use crate::outgoing::{Outgoing, SourceKey};
use crate::payload::{Kind, Meaning, NOT_ACCEPTED, Payload, PayloadSet};
use crate::random::Random;
use crate::reporting::Reporting;
use crate::rtcp;
use crate::rtp::{self, HEADER, Packet};
use crate::srtp::{self, Keys, Srtp};
use crate::stun;
use crate::time::{Clock, Micros, ticks, to_seconds};

const UDPTL_CLOCK_HZ: u32 = 1;
/// 20 ms of L16 at 48 kHz fit in.
const LONGEST_PAYLOAD: usize = 2048;
/// Of packets that are to be closed with a key.
const LONGEST_CLOSED: usize = HEADER + LONGEST_PAYLOAD + srtp::GROWTH;
/// A peer that sends so many packets in a row with another key than it said does not do so by chance.
const MISFITS_TOLD: u32 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    Rtp,
    Rtcp,
}

/// How a stream's datagrams leave: its own two sockets, or what stands for them in a test.
pub trait Door {
    fn send(&self, component: Component, to: SocketAddr, data: &[u8]);

    /// The address that RTP comes from is known now, or has changed.
    fn peer_found(&mut self, peer: SocketAddr);
}

/// What an offer/answer exchange settled.
#[derive(Debug)]
pub struct Settled {
    pub peer_sends: bool,
    pub peer_receives: bool,
    pub receive: Arc<PayloadSet>,
    pub send: Arc<PayloadSet>,
    pub udptl: bool,
    /// Of the packets that the peer would like to get.
    pub ptime_ms: u32,
    pub latch: Latch,
    /// Nothing passes either way but what is protected by SRTP.
    pub secured: bool,
}

impl Settled {
    /// Whether what looks like RTCP is RTP of a payload type that was negotiated (RFC 5761 section 4 advises against).
    fn means_rtp(&self, data: &[u8]) -> bool {
        data.get(1).is_some_and(|second| self.receive.find(second & 0x7f).is_some())
    }
}

#[derive(Debug)]
pub struct Stream<D> {
    pub port: PortId,
    pub local: SocketAddr,
    pub door: D,
    pub settled: Option<Settled>,
    pub reporting: Reporting,
    pub incoming: Incoming,
    pub outgoing: Outgoing,
    digits: DigitWatch,
    /// Digits that the peer is sent.
    keyer: Keyer,
    /// The peer's telephone-events are for us alone.
    pub guarded: bool,
    refused: u64,
    /// Kept while the stream is not secured: its key may come again, and its packets are not to repeat.
    srtp: Option<Box<Srtp>>,
    ice: Option<Box<IceLite>>,
    handshake: Option<Box<Handshake>>,
    /// Place of the payload heard last in `settled.receive`, and the codec of the negotiation before.
    payload: Option<usize>,
    codec_before: Box<str>,
    /// The payload type of what the peer was sent last, events aside.
    last_sent: Option<u8>,
    /// Since when the peer should send, and when its silence was told.
    awaited_since: Option<Micros>,
    silence_told_at: Option<Micros>,
}

/// A packet of our own: what `length` ticks of its clock hold, after `skipped` ones in which nothing was sent.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    pub payload_type: u8,
    pub clock_rate_hz: u32,
    pub length: u32,
    pub skipped: u32,
    pub payload: &'a [u8],
}

/// A packet that came in and may be passed on.
#[derive(Debug, Clone, Copy)]
pub enum Taken {
    Rtp {
        packet: Packet,
        payload: usize,
        meaning: Meaning,
        run: u32,
        began_at: Micros,
    },
    /// A UDPTL datagram, passed as it is.
    Datagram,
}

impl<D: Door> Stream<D> {
    pub fn new(port: PortId, local: SocketAddr, door: D, random: &mut Random) -> Self {
        let outgoing = Outgoing::new(|| random.next());
        Self {
            port,
            local,
            door,
            settled: None,
            reporting: Reporting::new(random),
            incoming: Incoming::default(),
            outgoing,
            digits: DigitWatch::default(),
            keyer: Keyer::default(),
            guarded: false,
            refused: 0,
            srtp: None,
            ice: None,
            handshake: None,
            payload: None,
            codec_before: "".into(),
            last_sent: None,
            awaited_since: None,
            silence_told_at: None,
        }
    }

    /// Take over what was negotiated; the lock on the peer's address stays unless the address changed.
    pub fn settle(
        &mut self,
        terms: &Negotiated,
        receive: Arc<PayloadSet>,
        send: Arc<PayloadSet>,
        now: Micros,
        random: &mut Random,
        identity: Option<&Identity>,
    ) {
        self.codec_before = self.codec().into();
        self.payload = None;
        let before = self.settled.take();
        let signalled_before = before.as_ref().map(|settled| settled.latch.signalled());
        let goes_on = self.settle_ice(terms, now);
        let known = before.filter(|settled| {
            settled.udptl == terms.udptl && (settled.latch.signalled() == terms.remote_rtp || goes_on)
        });
        let awaited = terms.peer_sends && !terms.udptl;
        if !awaited {
            self.awaited_since = None;
        } else if self.awaited_since.is_none() || known.is_none() {
            self.awaited_since = Some(now);
            self.silence_told_at = None;
        }
        let latch = match known {
            Some(mut settled) => {
                if terms.ice.is_none() {
                    settled.latch.forget_nomination();
                }
                settled.latch
            }
            None if terms.udptl => Latch::udptl(terms.remote_rtp),
            None => Latch::rtp(terms.remote_rtp),
        };
        self.reporting.settle(terms, now, random);
        self.secure(terms, signalled_before, identity, now);
        let Negotiated { peer_sends, peer_receives, udptl, ptime_ms, .. } = *terms;
        let secured = terms.security.is_some() && !udptl;
        self.settled =
            Some(Settled { peer_sends, peer_receives, receive, send, udptl, ptime_ms, latch, secured });
    }

    /// Gives whether the peer's checks are about the same as before.
    fn settle_ice(&mut self, terms: &Negotiated, now: Micros) -> bool {
        let goes_on = self.ice.as_ref().zip(terms.ice.as_ref()).is_some_and(|(ice, terms)| ice.is_for(terms));
        if !goes_on {
            self.ice = terms.ice.as_ref().map(|ice| Box::new(IceLite::new(ice, now)));
        }
        goes_on
    }

    fn secure(
        &mut self,
        terms: &Negotiated,
        signalled_before: Option<SocketAddr>,
        identity: Option<&Identity>,
        now: Micros,
    ) {
        match &terms.security {
            None => self.handshake = None,
            Some(Security::Sdes(keys)) => {
                self.handshake = None;
                self.take_keys(keys, signalled_before != Some(terms.remote_rtp));
            }
            Some(Security::Dtls { is_client, fingerprint }) => {
                let known =
                    self.handshake.as_ref().is_some_and(|known| known.is_for(*is_client, fingerprint));
                if !known {
                    self.srtp = None;
                    self.handshake = identity
                        .map(|identity| Box::new(Handshake::new(identity, *is_client, fingerprint, now)));
                }
            }
        }
    }

    fn take_keys(&mut self, keys: &Keys, new_peer: bool) {
        match &mut self.srtp {
            Some(srtp) => {
                srtp.rekey(keys, new_peer);
            }
            None => self.srtp = Srtp::new(keys).map(Box::new),
        }
    }

    /// A datagram of DTLS came from there, or it is time for the next step.
    fn shake_hands(&mut self, from: Option<(SocketAddr, &[u8])>, now: Micros, events: &mut Vec<Event>) {
        let target = self.settled.as_ref().map(|settled| settled.latch.target());
        let to = from.map(|(from, _)| from).or(target).filter(|to| can_be_reached(*to));
        let is_foreign = self
            .settled
            .as_ref()
            .zip(from)
            .is_some_and(|(settled, (from, _))| settled.latch.is_elsewhere(from));
        let Some(handshake) = self.handshake.as_mut().filter(|_| !is_foreign) else {
            self.refused += 1;
            return;
        };
        let door = &self.door;
        let outcome = handshake.step(from.map(|(_, data)| data), now, |data| {
            if let Some(to) = to {
                door.send(Component::Rtp, to, data);
            }
        });
        match outcome {
            Outcome::GoesOn => {}
            Outcome::Agreed(keys) => {
                self.take_keys(&keys, true);
                events.push(self.news("dtls-connected", keys.suite.name().to_owned(), now));
            }
            Outcome::Failed(why) => {
                self.srtp = None;
                events.push(self.news("dtls-failed", why, now));
            }
        }
    }

    // ------------------------------------------------------------ from the peer

    /// Take a datagram that came to the RTP port; what may be passed on, if anything.
    pub fn take(
        &mut self,
        from: SocketAddr,
        data: &mut [u8],
        clock: Clock,
        events: &mut Vec<Event>,
    ) -> Option<Taken> {
        let taken = match &self.settled {
            Some(settled) if settled.udptl => self.take_datagram(from, data, clock.now, events),
            Some(_) if stun::looks_like_stun(data) => {
                if self.answer_check(Component::Rtp, from, data, clock.now) {
                    self.nominate(from, clock.now, events);
                }
                return None;
            }
            Some(settled) if settled.secured && dtls::looks_like_dtls(data) => {
                self.shake_hands(Some((from, data)), clock.now, events);
                return None;
            }
            Some(settled) if rtp::looks_like_rtcp(data) && !settled.means_rtp(data) => {
                self.take_rtcp(Component::Rtp, from, data, clock);
                return None;
            }
            Some(_) => self.take_rtp(from, data, clock.now, events),
            None => Err(Refused),
        };
        taken.unwrap_or_else(|Refused| {
            self.refused += 1;
            None
        })
    }

    /// Answer a check of connectivity; whether it nominates where it came from.
    fn answer_check(&mut self, component: Component, from: SocketAddr, data: &[u8], now: Micros) -> bool {
        let mut response = [0; stun::LONGEST_RESPONSE];
        let ice = self.ice.as_mut().ok_or(NotThePeer);
        match ice.and_then(|ice| ice.take(from, data, &mut response, now)) {
            Ok(Some(answer)) => {
                self.door.send(component, from, response.get(..answer.length).unwrap_or_default());
                answer.nominates
            }
            Ok(None) => false,
            Err(NotThePeer) => {
                self.refused += 1;
                false
            }
        }
    }

    fn nominate(&mut self, from: SocketAddr, now: Micros, events: &mut Vec<Event>) {
        if self.settled.as_mut().is_some_and(|settled| settled.latch.nominate(from)) {
            self.door.peer_found(from);
            events.push(self.news("ice-connected", from.to_string(), now));
        }
    }

    fn news(&self, what: &'static str, detail: String, now: Micros) -> Event {
        Event::SecurityNews { port: self.port, what, detail, clock_s: to_seconds(now) }
    }

    /// What a packet says once it is opened, in the same place.
    fn open<'a>(&mut self, data: &'a mut [u8], now: Micros, events: &mut Vec<Event>) -> Opened<'a> {
        if self.settled.as_ref().is_none_or(|settled| !settled.secured) {
            return Ok(data);
        }
        let srtp = self.srtp.as_mut().ok_or(Refused)?;
        let Some(length) = srtp.open_rtp(data) else {
            if srtp.misfits() == MISFITS_TOLD {
                let detail = format!("not the key that was said for {}", srtp.suite().name());
                events.push(self.news("srtp-refused", detail, now));
            }
            return Err(Refused);
        };
        data.get(..length).ok_or(Refused)
    }

    fn take_rtp(
        &mut self,
        from: SocketAddr,
        data: &mut [u8],
        now: Micros,
        events: &mut Vec<Event>,
    ) -> Taking {
        let data = self.open(data, now, events)?;
        let settled = self.settled.as_mut().ok_or(Refused)?;
        let packet = Packet::parse(data).ok_or(Refused)?;
        let (place, meaning) = settled.receive.find(packet.payload_type).ok_or(Refused)?;
        let clock_rate_hz = meaning.clock_rate_hz;
        let is_event = meaning.kind == Kind::Event;
        let event = is_event.then(|| EventPayload::parse(packet.payload(data)).ok_or(Refused)).transpose()?;
        let mark =
            Mark { ssrc: packet.ssrc, sequence: packet.sequence, timestamp: packet.timestamp, clock_rate_hz };
        if settled.latch.judge(from, mark, now).map_err(|_| Refused)? == Verdict::Locked {
            events.push(Event::Started { port: self.port, remote: from, clock_s: to_seconds(now) });
            self.door.peer_found(from);
        }
        let peer_sends = settled.peer_sends;
        let Some(run) = self.incoming.take(&packet, data.len(), clock_rate_hz, is_event, now) else {
            return Ok(None);
        };
        let mut began_at = now;
        if let Some(event) = event {
            let told = self.digits.take(packet.ssrc, packet.timestamp, clock_rate_hz, event, now);
            events.extend(told.into_iter().flatten().map(|digit| self.tell(digit, now)));
            began_at = self.digits.began_at().unwrap_or(now);
        } else {
            self.payload = Some(place);
        }
        Ok(peer_sends.then_some(Taken::Rtp { packet, payload: place, meaning, run, began_at }))
    }

    fn take_datagram(
        &mut self,
        from: SocketAddr,
        data: &[u8],
        now: Micros,
        events: &mut Vec<Event>,
    ) -> Taking {
        let settled = self.settled.as_mut().ok_or(Refused)?;
        let sequence = u16::from_be_bytes(*data.first_chunk::<2>().ok_or(Refused)?);
        let mark =
            Mark { ssrc: 0, sequence, timestamp: ticks(now, UDPTL_CLOCK_HZ), clock_rate_hz: UDPTL_CLOCK_HZ };
        if settled.latch.judge(from, mark, now).map_err(|_| Refused)? == Verdict::Locked {
            events.push(Event::Started { port: self.port, remote: from, clock_s: to_seconds(now) });
            self.door.peer_found(from);
        }
        self.incoming.packets += 1;
        self.incoming.bytes += data.len() as u64;
        Ok(settled.peer_sends.then_some(Taken::Datagram))
    }

    /// Take a datagram of RTCP, multiplexed or not.
    pub fn take_rtcp(&mut self, component: Component, from: SocketAddr, data: &mut [u8], clock: Clock) {
        let settled = self.settled.as_ref().filter(|settled| !settled.udptl);
        if settled.is_some() && component == Component::Rtcp && stun::looks_like_stun(data) {
            if self.answer_check(component, from, data, clock.now) {
                self.reporting.nominate(from);
            }
            return;
        }
        let length = match (settled, &mut self.srtp) {
            (Some(Settled { secured: true, .. }), Some(srtp)) => srtp.open_rtcp(data),
            (Some(Settled { secured: true, .. }), None) => None,
            _ => Some(data.len()),
        };
        let data = length.and_then(|length| data.get(..length)).unwrap_or_default();
        let report = settled.zip(rtcp::read(data, self.outgoing.ssrc()));
        let accepted = report.is_some_and(|(settled, heard)| {
            let peer = settled.latch.target();
            self.reporting.take(component, from, peer, heard, self.incoming.ssrc(), clock)
        });
        self.refused += u64::from(!accepted);
    }

    /// Whether what is due may have changed with a packet.
    pub fn is_shaking_hands(&self) -> bool {
        self.handshake.is_some() && self.srtp.is_none()
    }

    /// Whether a digit is under way, whose end may have to be made up.
    pub fn has_digit(&self) -> bool {
        self.digits.deadline().is_some()
    }

    /// A packet that its listeners could not take.
    pub fn refuse(&mut self) {
        self.refused += 1;
    }

    // ------------------------------------------------------------ to the peer

    /// Where to send what the peer is to hear; None when it is not to be sent anything.
    fn target(&self) -> Option<SocketAddr> {
        let settled = self.settled.as_ref()?;
        let to = settled.latch.target();
        (settled.peer_receives && can_be_reached(to)).then_some(to)
    }

    /// Send what a speaker said to the peer as it is; false where its codec means nothing to the peer.
    ///
    /// `drawn_at` is when the edge was drawn; `payload_type` the peer's number for the codec, or NOT_ACCEPTED.
    pub fn pass(
        &mut self,
        (edge, drawn_at): (u64, Micros),
        taken: &Taken,
        payload_type: u8,
        data: &mut [u8],
        now: Micros,
    ) -> bool {
        let Some(udptl) = self.settled.as_ref().map(|settled| settled.udptl) else { return true };
        let Some(to) = self.target() else { return true };
        match *taken {
            Taken::Datagram if udptl => {
                self.door.send(Component::Rtp, to, data);
                self.outgoing.count(data.len());
                true
            }
            Taken::Rtp { .. } if udptl => true,
            Taken::Datagram => true,
            Taken::Rtp { .. } if payload_type == NOT_ACCEPTED => false,
            // A digit that was pressed before the edge was drawn was meant for somebody else.
            Taken::Rtp { began_at, .. } if began_at < drawn_at => true,
            Taken::Rtp { packet, meaning, run, .. } => {
                let key = SourceKey { edge, run };
                if meaning.kind == Kind::Sound {
                    self.last_sent = Some(payload_type);
                }
                if let Some(header) = self.outgoing.rewrite(key, &packet, meaning, payload_type, now) {
                    self.send(to, &packet, data, &header);
                }
                true
            }
        }
    }

    /// Send a speaker's telephone-event between packets of a mix.
    pub fn put_between(
        &mut self,
        (edge, drawn_at): (u64, Micros),
        taken: &Taken,
        payload_type: u8,
        data: &mut [u8],
    ) {
        let Some(to) = self.target().filter(|_| payload_type != NOT_ACCEPTED) else { return };
        if let Taken::Rtp { packet, meaning: Meaning { kind: Kind::Event, .. }, began_at, .. } = *taken
            && began_at >= drawn_at
        {
            let header = self.outgoing.put_between(edge, &packet, payload_type);
            self.send(to, &packet, data, &header);
        }
    }

    fn send(&mut self, to: SocketAddr, packet: &Packet, data: &mut [u8], header: &rtp::Header) {
        if let Some(sent) = packet.rewrite(data, header) {
            self.put(to, sent);
        }
    }

    /// Let a packet out, closed where the stream is secured.
    fn put(&mut self, to: SocketAddr, packet: &[u8]) {
        if self.settled.as_ref().is_some_and(|settled| settled.secured) {
            let mut room = [0; LONGEST_CLOSED];
            let Some(srtp) = &mut self.srtp else { return };
            // It may have to go to others too: their packets are closed with other keys.
            let Some(copy) = room.get_mut(..packet.len()) else { return };
            copy.copy_from_slice(packet);
            let Some(length) = srtp.close_rtp(&mut room, packet.len()) else { return };
            self.door.send(Component::Rtp, to, room.get(..length).unwrap_or_default());
        } else {
            self.door.send(Component::Rtp, to, packet);
        }
        self.outgoing.count(packet.len());
    }

    /// Send a packet of ours.
    pub fn say(&mut self, said: &Said, now: Micros) {
        let Some(to) = self.target() else { return };
        let Said { payload_type, clock_rate_hz, length, skipped, payload } = *said;
        let header = self.outgoing.speak(length, skipped, clock_rate_hz, payload_type, now);
        let mut data = [0; HEADER + LONGEST_PAYLOAD];
        let Some((head, rest)) = data.split_first_chunk_mut::<HEADER>() else { return };
        let Some(body) = rest.get_mut(..payload.len()) else { return };
        header.write(head);
        body.copy_from_slice(payload);
        self.put(to, data.get(..HEADER + payload.len()).unwrap_or_default());
    }

    /// Send these digits to the peer as telephone-events; false where it does not understand them.
    pub fn press(&mut self, digits: &[(Box<str>, Micros)], now: Micros) -> bool {
        self.events_payload().is_some()
            && digits.iter().all(|(digit, duration)| self.keyer.press(digit, *duration, now))
    }

    /// What the peer calls telephone-events, of the clock that it hears sound by where there are several.
    fn events_payload(&self) -> Option<(u8, u32)> {
        let settled = self.settled.as_ref().filter(|settled| !settled.udptl)?;
        let clock_rate_hz = self.outgoing.clock_rate_hz();
        let events = settled.send.iter().filter(|payload| &*payload.name == "telephone-event");
        let best = events.min_by_key(|payload| payload.clock_rate_hz != clock_rate_hz)?;
        Some((best.payload_type, best.clock_rate_hz))
    }

    fn key(&mut self, now: Micros) {
        while self.keyer.due().is_some_and(|due| due <= now) {
            let Some((payload_type, clock_rate_hz)) = self.events_payload() else {
                self.keyer = Keyer::default();
                return;
            };
            let (Some(keyed), Some(to)) = (self.keyer.tick(clock_rate_hz, now), self.target()) else {
                continue;
            };
            let header = self.outgoing.key(keyed.number, keyed.first, clock_rate_hz, payload_type, now);
            let mut data = [0; HEADER + 4];
            if let Some((head, rest)) = data.split_first_chunk_mut::<HEADER>() {
                header.write(head);
                rest.copy_from_slice(&keyed.payload);
                self.put(to, &data);
            }
        }
    }

    /// The codec that the peer is to be spoken to in: what it heard last, or else the first that media speaks.
    pub fn spoken(&self) -> Option<(Codec, &Payload)> {
        let settled = self.settled.as_ref().filter(|settled| !settled.udptl)?;
        let speak = |payload: &Payload| Codec::of(payload);
        let known = settled.send.iter().filter_map(|payload| Some((speak(payload)?, payload)));
        let last = self.last_sent.and_then(|number| settled.send.find(number));
        let last = last.and_then(|(place, _)| settled.send.get(place));
        let again = last.and_then(|payload| Some((speak(payload)?, payload)));
        again.or_else(|| known.into_iter().next())
    }

    /// The place in `settled.receive` of what the peer sends, or of what it will send first.
    pub fn sends(&self) -> Option<usize> {
        let settled = self.settled.as_ref().filter(|settled| settled.peer_sends && !settled.udptl)?;
        self.payload.or_else(|| settled.receive.places(Kind::Sound).next())
    }

    // ------------------------------------------------------------ time

    /// The earliest time at which `tick` has something to do.
    pub fn deadline(&self, silence: Micros) -> Option<Micros> {
        let consent = self.ice.as_ref().and_then(|ice| ice.deadline());
        let deadlines = [
            self.digits.deadline(),
            self.silence_deadline(silence),
            self.reporting.due(),
            self.keyer.due(),
            consent,
            self.handshake.as_ref().and_then(|handshake| handshake.deadline()),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn silent_since(&self) -> Option<Micros> {
        Some(self.awaited_since?.max(self.incoming.last_at.unwrap_or(0)))
    }

    fn silence_deadline(&self, silence: Micros) -> Option<Micros> {
        Some(self.silent_since()?.max(self.silence_told_at.unwrap_or(0)) + silence)
    }

    pub fn tick(&mut self, silence: Micros, clock: Clock, random: &mut Random, events: &mut Vec<Event>) {
        let now = clock.now;
        if let Some(digit) = self.digits.tick(now) {
            events.push(self.tell(digit, now));
        }
        if let Some(since) = self.silent_since().filter(|_| self.silence_deadline(silence) <= Some(now)) {
            events.push(Event::Silent { port: self.port, silence_s: to_seconds(now - since) });
            self.silence_told_at = Some(now);
        }
        if self.handshake.as_ref().and_then(|handshake| handshake.deadline()).is_some_and(|due| due <= now) {
            self.shake_hands(None, now, events);
        }
        let heard_at = self.incoming.last_at;
        if self.ice.as_mut().is_some_and(|ice| ice.has_failed(heard_at, now)) {
            events.push(self.news("ice-failed", "nothing came from the peer for 30 s".to_owned(), now));
        }
        self.key(now);
        if self.reporting.due().is_some_and(|due| due <= now) {
            self.reporting.schedule(now, random);
            self.send_rtcp(false, clock);
        }
    }

    /// Say goodbye to the peer, and tell a digit that was still under way.
    pub fn close(&mut self, clock: Clock, events: &mut Vec<Event>) {
        if let Some(digit) = self.digits.end() {
            events.push(self.tell(digit, clock.now));
        }
        self.send_rtcp(true, clock);
    }

    fn send_rtcp(&mut self, goodbye: bool, clock: Clock) {
        let Some(settled) = self.settled.as_ref().filter(|settled| !settled.udptl) else { return };
        let Some((component, to)) = self.reporting.target(settled.latch.target()) else { return };
        if !can_be_reached(to) {
            return;
        }
        let secured = settled.secured;
        let mut room = [0; rtcp::LONGEST + srtp::GROWTH];
        let Some(packet) = room.first_chunk_mut() else { return };
        let mut length = self.reporting.write(packet, &self.outgoing, &mut self.incoming, goodbye, clock);
        if secured {
            let closed = self.srtp.as_mut().and_then(|srtp| srtp.close_rtcp(&mut room, length));
            let Some(closed) = closed else { return };
            length = closed;
        }
        if let Some(packet) = room.get(..length) {
            self.door.send(component, to, packet);
        }
    }

    // ------------------------------------------------------------ telling

    fn tell(&self, digit: Digit, now: Micros) -> Event {
        let Digit { name, ended, duration_ms } = digit;
        let clock_s = to_seconds(now);
        Event::Digit { port: self.port, digit: name, ended, duration_ms, clock_s, in_band: false }
    }

    fn codec(&self) -> &str {
        let heard = self.settled.as_ref().zip(self.payload);
        let payload = heard.and_then(|(settled, place)| settled.receive.get(place));
        payload.map_or(&*self.codec_before, |payload| &*payload.name)
    }

    fn suite(&self) -> &'static str {
        let secured = self.settled.as_ref().is_some_and(|settled| settled.secured);
        self.srtp.as_ref().filter(|_| secured).map_or("", |srtp| srtp.suite().name())
    }

    pub fn report(&self, closed: bool, now: Micros) -> Report {
        let (received, lost) = (self.incoming.packets, self.incoming.lost());
        let (jitter_ms, round_trip_ms) = (self.incoming.jitter_ms(), self.reporting.round_trip_ms());
        let lost_part = lost as f64 / (lost + received).max(1) as f64;
        let heard = self.incoming.ssrc().is_some();
        Report {
            port: self.port,
            closed,
            received_packets: received,
            received_bytes: self.incoming.bytes,
            sent_packets: self.outgoing.packets,
            sent_bytes: self.outgoing.bytes,
            lost_packets: lost,
            jitter_ms,
            round_trip_ms,
            mos: if heard { mos::estimate(self.codec(), lost_part, jitter_ms, round_trip_ms) } else { 0.0 },
            remote_lost_packets: self.reporting.remote_lost(),
            remote_jitter_ms: self.reporting.remote_jitter_ms(self.outgoing.clock_rate_hz()),
            refused_packets: self.refused,
            codec: self.codec().to_owned(),
            clock_s: to_seconds(now),
            srtp: self.suite(),
            ..Report::default()
        }
    }
}

/// Foreign or malformed: dropped and counted.
struct Refused;

type Opened<'a> = Result<&'a [u8], Refused>;

/// What may be passed on; None when the packet was taken note of and that is all.
type Taking = Result<Option<Taken>, Refused>;

/// An address of zeros or port 0 is SDP's way of saying "nowhere" (RFC 3264 section 8.4).
fn can_be_reached(to: SocketAddr) -> bool {
    to.port() != 0 && !to.ip().is_unspecified()
}
