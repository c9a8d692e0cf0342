//! RTCP of one stream: when to report, where to, what to say, and what the peer's reports said.

use std::net::SocketAddr;

use crate::incoming::Incoming;
use crate::messages::Negotiated;
use crate::outgoing::Outgoing;
use crate::random::Random;
use crate::rtcp::{self, About, Block, CNAME, Heard, LONGEST, Sender, ShortNtp};
use crate::stream::Component;
use crate::time::{Clock, Micros, SECOND};

const INTERVAL: Micros = 5 * SECOND;
/// Longer round trips are nonsense of a peer that fills in LSR wrongly.
const LONGEST_ROUND_TRIP: u32 = 60 << 16;

#[derive(Debug)]
pub struct Reporting {
    /// Tells this stream apart from all others, and nothing about us (RFC 7022).
    cname: u64,
    signalled: Option<SocketAddr>,
    /// Where the peer's RTCP really comes from.
    locked: Option<SocketAddr>,
    /// RTP and RTCP share one port (RFC 5761).
    multiplexed: bool,
    due: Option<Micros>,
    packets_reported: u64,
    /// The peer's last sender report: its NTP time, and when it came.
    last_sr: Option<(ShortNtp, ShortNtp)>,
    about_us: About,
    round_trip: u32,
}

impl Reporting {
    pub fn new(random: &mut Random) -> Self {
        Self {
            cname: random.next(),
            signalled: None,
            locked: None,
            multiplexed: false,
            due: None,
            packets_reported: 0,
            last_sr: None,
            about_us: About::default(),
            round_trip: 0,
        }
    }

    pub fn settle(&mut self, terms: &Negotiated, now: Micros, random: &mut Random) {
        if self.signalled != terms.remote_rtcp {
            self.locked = None;
        }
        self.signalled = terms.remote_rtcp;
        self.multiplexed = terms.remote_rtcp == Some(terms.remote_rtp);
        if terms.udptl || terms.remote_rtcp.is_none() {
            self.due = None;
        } else if self.due.is_none() {
            self.due = Some(now + wait(random) / 2);
        }
    }

    /// When the next report is to be sent.
    pub fn due(&self) -> Option<Micros> {
        self.due
    }

    /// Put the next report off by a random interval, so that two ports never march in step.
    pub fn schedule(&mut self, now: Micros, random: &mut Random) {
        self.due = Some(now + wait(random));
    }

    /// Where reports go; `peer` is where RTP goes.
    pub fn target(&self, peer: SocketAddr) -> Option<(Component, SocketAddr)> {
        if self.multiplexed {
            return Some((Component::Rtp, peer));
        }
        self.signalled.map(|signalled| (Component::Rtcp, self.locked.unwrap_or(signalled)))
    }

    /// The peer has proved that its RTCP, on a port of its own, comes from there.
    pub fn nominate(&mut self, address: SocketAddr) {
        self.locked = Some(address);
    }

    /// Take a report of the peer; false when it came from a stranger.
    ///
    /// It must come from the address that was signalled or is locked, or from the host that sends the RTP
    /// and under its SSRC.
    pub fn take(
        &mut self,
        component: Component,
        from: SocketAddr,
        peer: SocketAddr,
        heard: Heard,
        peer_ssrc: Option<u32>,
        clock: Clock,
    ) -> bool {
        let known = match component {
            Component::Rtp => from == peer,
            Component::Rtcp => {
                Some(from) == self.locked || self.locked.is_none() && Some(from) == self.signalled
            }
        };
        let proven = from.ip() == peer.ip() && peer_ssrc == Some(heard.ssrc);
        if !known && !proven {
            return false;
        }
        if component == Component::Rtcp {
            self.locked = Some(from);
        }
        if let Some(sent) = heard.sent_ntp {
            self.last_sr = Some((sent, clock.short_ntp()));
        }
        if let Some(about_us) = heard.about_us {
            self.about_us = about_us;
            let since = clock.short_ntp().wrapping_sub(about_us.last_sr);
            let round_trip = since.wrapping_sub(about_us.delay_since_last_sr);
            if about_us.last_sr != 0 && round_trip < LONGEST_ROUND_TRIP {
                self.round_trip = round_trip;
            }
        }
        true
    }

    /// Write a report into `to`; its length.
    pub fn write(
        &mut self,
        to: &mut [u8; LONGEST],
        outgoing: &Outgoing,
        incoming: &mut Incoming,
        goodbye: bool,
        clock: Clock,
    ) -> usize {
        let sent_since = outgoing.packets != self.packets_reported;
        self.packets_reported = outgoing.packets;
        let sender = outgoing.timestamp_now(clock.now).filter(|_| sent_since).map(|rtp_timestamp| Sender {
            ntp: clock.ntp(),
            rtp_timestamp,
            packets: outgoing.packets as u32,
            octets: outgoing.octets(),
        });
        let (last_sr, came) = self.last_sr.unwrap_or_default();
        let delay_since_last_sr =
            if self.last_sr.is_some() { clock.short_ntp().wrapping_sub(came) } else { 0 };
        let block = incoming.report().map(|reception| Block { reception, last_sr, delay_since_last_sr });
        rtcp::write(to, outgoing.ssrc(), sender, block, &self.cname(), goodbye)
    }

    fn cname(&self) -> [u8; CNAME] {
        let mut name = [0; CNAME];
        for (place, letter) in name.iter_mut().enumerate() {
            let digit = (self.cname >> (4 * place)) as u8 & 0x0f;
            *letter = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        }
        name
    }

    pub fn round_trip_ms(&self) -> f64 {
        f64::from(self.round_trip) * 1000.0 / 65_536.0
    }

    /// What the peer misses of what we sent. The field is signed: a peer that counts doubles has less than none.
    pub fn remote_lost(&self) -> u64 {
        if self.about_us.lost & 0x80_0000 == 0 { u64::from(self.about_us.lost) } else { 0 }
    }

    pub fn remote_jitter_ms(&self, clock_rate_hz: u32) -> f64 {
        f64::from(self.about_us.jitter) * 1000.0 / f64::from(clock_rate_hz.max(1))
    }
}

/// 2.5 to 7.5 s (RFC 3550 section 6.3.1 without reconsideration).
fn wait(random: &mut Random) -> Micros {
    (INTERVAL as f64 * (0.5 + random.fraction())) as Micros
}
