//! Where a peer really sends from: symmetric RTP (RFC 4961) with a lock against injection and "RTP bleed".
//!
//! The signalled address is believed at once. Any other source must first prove itself: `PROOF` packets of one
//! SSRC in sequence, from one address, within `PROOF_TIME`, while nothing is locked; a phone behind a NAT does
//! that within its first 100 ms. Then the address is locked, and everything else is refused. The lock moves
//! - when packets come from the signalled address though another one was learned: soon after at once, later
//!   with the same proof;
//! - when the locked address has fallen silent and another one goes on with the same SSRC, sequence and
//!   timestamp (a NAT gave the phone a new port): no stranger can guess these;
//! - when a new negotiation names another address.
//!
//! Where the peer proved an address by ICE and nominated it, that one is believed, and no other.

use std::net::SocketAddr;

use crate::time::{Micros, SECOND};

const PROOF: u8 = 5;
const PROOF_TIME: Micros = SECOND;
/// T.38 terminals say little before the first page.
const UDPTL_PROOF: u8 = 2;
const UDPTL_PROOF_TIME: Micros = 5 * SECOND;
const PREFER_SIGNALLED: Micros = 5 * SECOND;
const FELL_SILENT: Micros = SECOND / 2;
const CONTINUATION_PROOF: u8 = 3;
const CONTINUATION_SEQUENCE: u16 = 3000;
const CONTINUATION_SLACK: Micros = 5 * SECOND;

/// What marks a packet as part of a stream. UDPTL has only a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub clock_rate_hz: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Known,
    /// The peer's address is known from now on, or has changed.
    Locked,
}

/// Not from the peer, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign;

#[derive(Debug, Clone, Copy)]
struct Candidate {
    from: SocketAddr,
    mark: Mark,
    seen: u8,
    since: Micros,
}

#[derive(Debug, Clone, Copy)]
struct Lock {
    from: SocketAddr,
    mark: Mark,
    since: Micros,
    last: Micros,
}

/// The lock of one component of one port.
#[derive(Debug)]
pub struct Latch {
    signalled: SocketAddr,
    /// By a check of the peer (RFC 8445 section 7.3.1.5).
    nominated: Option<SocketAddr>,
    lock: Option<Lock>,
    candidate: Option<Candidate>,
    proof: u8,
    proof_time: Micros,
    /// Whether a stream can be recognised when it comes from elsewhere: UDPTL has nothing that is hard to guess.
    recognisable: bool,
}

impl Latch {
    pub fn rtp(signalled: SocketAddr) -> Self {
        Self {
            signalled,
            nominated: None,
            lock: None,
            candidate: None,
            proof: PROOF,
            proof_time: PROOF_TIME,
            recognisable: true,
        }
    }

    pub fn udptl(signalled: SocketAddr) -> Self {
        Self { proof: UDPTL_PROOF, proof_time: UDPTL_PROOF_TIME, recognisable: false, ..Self::rtp(signalled) }
    }

    pub fn signalled(&self) -> SocketAddr {
        self.signalled
    }

    /// Where to send: the nominated or locked address, until then the signalled one.
    pub fn target(&self) -> SocketAddr {
        self.nominated.or(self.lock.map(|lock| lock.from)).unwrap_or(self.signalled)
    }

    /// The peer wants to be sent to `address`, which it has proved; false when that is known.
    pub fn nominate(&mut self, address: SocketAddr) -> bool {
        self.nominated.replace(address) != Some(address)
    }

    /// Whether the peer has proved another address than this one.
    pub fn is_elsewhere(&self, address: SocketAddr) -> bool {
        self.nominated.is_some_and(|nominated| nominated != address)
    }

    /// Judge as if no address had ever been nominated.
    pub fn forget_nomination(&mut self) {
        self.nominated = None;
    }

    /// Judge one packet that came from `from`: accepted, or foreign.
    pub fn judge(&mut self, from: SocketAddr, mark: Mark, now: Micros) -> Result<Verdict, Foreign> {
        match &mut self.lock {
            Some(lock) if lock.from == from && self.nominated.is_none_or(|nominated| nominated == from) => {
                lock.mark = mark;
                lock.last = now;
                Ok(Verdict::Known)
            }
            _ if self.nominated == Some(from) => self.lock_on(from, mark, now),
            _ if self.nominated.is_some() => Err(Foreign),
            Some(lock) if self.signalled == from && now < lock.since + PREFER_SIGNALLED => {
                self.lock_on(from, mark, now)
            }
            Some(_) if self.signalled == from => self.prove(from, mark, now, self.proof),
            Some(lock) if self.recognisable && lock.is_continued_by(mark, now) => {
                self.prove(from, mark, now, CONTINUATION_PROOF)
            }
            Some(_) => Err(Foreign),
            None if self.signalled == from => self.lock_on(from, mark, now),
            None => self.prove(from, mark, now, self.proof),
        }
    }

    fn prove(&mut self, from: SocketAddr, mark: Mark, now: Micros, proof: u8) -> Result<Verdict, Foreign> {
        let seen = match &self.candidate {
            Some(known) if now > known.since + self.proof_time => 0,
            Some(known) if known.from != from => return Err(Foreign),
            Some(known) if known.mark.is_followed_by(mark) => known.seen,
            _ => 0,
        };
        let since = self.candidate.filter(|_| seen > 0).map_or(now, |known| known.since);
        if seen + 1 >= proof {
            return self.lock_on(from, mark, now);
        }
        self.candidate = Some(Candidate { from, mark, seen: seen + 1, since });
        Err(Foreign)
    }

    fn lock_on(&mut self, from: SocketAddr, mark: Mark, now: Micros) -> Result<Verdict, Foreign> {
        self.candidate = None;
        self.lock = Some(Lock { from, mark, since: now, last: now });
        Ok(Verdict::Locked)
    }
}

impl Mark {
    fn is_followed_by(self, next: Self) -> bool {
        self.ssrc == next.ssrc && self.sequence.wrapping_add(1) == next.sequence
    }
}

impl Lock {
    /// Whether a packet from elsewhere goes on where this stream stopped.
    fn is_continued_by(&self, mark: Mark, now: Micros) -> bool {
        let gap = now.saturating_sub(self.last);
        let ahead = mark.sequence.wrapping_sub(self.mark.sequence);
        let ticks = i64::from(mark.timestamp.wrapping_sub(self.mark.timestamp) as i32);
        let media = ticks * SECOND as i64 / i64::from(mark.clock_rate_hz.max(1));
        gap >= FELL_SILENT
            && mark.ssrc == self.mark.ssrc
            && (1..=CONTINUATION_SEQUENCE).contains(&ahead)
            && media.abs_diff(gap as i64) <= CONTINUATION_SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MILLISECOND;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn mark(ssrc: u32, sequence: u16) -> Mark {
        Mark { ssrc, sequence, timestamp: u32::from(sequence) * 160, clock_rate_hz: 8000 }
    }

    /// Packets of one stream from one address each 20 ms; the verdicts.
    fn stream(
        latch: &mut Latch,
        from: u16,
        ssrc: u32,
        sequences: std::ops::Range<u16>,
    ) -> Vec<Result<Verdict, Foreign>> {
        sequences.map(|n| latch.judge(at(from), mark(ssrc, n), Micros::from(n) * 20 * MILLISECOND)).collect()
    }

    #[test]
    fn the_signalled_address_is_believed_at_once_and_then_alone() {
        let mut latch = Latch::rtp(at(4000));
        assert_eq!(stream(&mut latch, 4000, 1, 0..2), [Ok(Verdict::Locked), Ok(Verdict::Known)]);
        assert!(stream(&mut latch, 6666, 2, 2..300).iter().all(|verdict| *verdict == Err(Foreign)));
        assert_eq!(latch.target(), at(4000));
    }

    #[test]
    fn five_packets_in_sequence_prove_another_address() {
        let mut latch = Latch::rtp(at(4000));
        assert_eq!(stream(&mut latch, 5000, 1, 0..4), [Err(Foreign); 4]);
        assert_eq!(stream(&mut latch, 5000, 1, 4..6), [Ok(Verdict::Locked), Ok(Verdict::Known)]);
        assert_eq!(latch.target(), at(5000));
    }

    #[test]
    fn packets_out_of_sequence_prove_nothing() {
        let mut latch = Latch::rtp(at(4000));
        for n in (0..200).step_by(2) {
            assert_eq!(latch.judge(at(6666), mark(1, n), Micros::from(n) * 10 * MILLISECOND), Err(Foreign));
        }
        assert_eq!(latch.target(), at(4000));
    }

    #[test]
    fn the_signalled_address_wins_over_one_that_was_learned() {
        let mut latch = Latch::rtp(at(4000));
        stream(&mut latch, 6666, 1, 0..10);
        assert_eq!(stream(&mut latch, 4000, 2, 10..11), [Ok(Verdict::Locked)]);
        assert_eq!(stream(&mut latch, 6666, 1, 11..40), [Err(Foreign); 29]);
    }

    #[test]
    fn later_the_signalled_address_must_prove_itself_too() {
        let mut latch = Latch::rtp(at(4000));
        stream(&mut latch, 5000, 1, 0..10);
        assert_eq!(stream(&mut latch, 4000, 2, 400..404), [Err(Foreign); 4]);
        assert_eq!(stream(&mut latch, 4000, 2, 404..405), [Ok(Verdict::Locked)]);
    }

    #[test]
    fn a_new_nat_binding_is_followed_when_the_old_one_is_silent() {
        let mut latch = Latch::rtp(at(4000));
        stream(&mut latch, 4000, 1, 0..100);
        let verdicts = stream(&mut latch, 5000, 1, 100..140);
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Ok(Verdict::Locked)).count(), 1);
        assert_eq!(latch.target(), at(5000));
    }

    #[test]
    fn a_copy_of_the_stream_from_elsewhere_is_refused_while_the_peer_sends() {
        let mut latch = Latch::rtp(at(4000));
        for n in 0..200 {
            stream(&mut latch, 4000, 1, n..n + 1);
            assert_eq!(stream(&mut latch, 6666, 1, n + 1..n + 2), [Err(Foreign)]);
        }
        assert_eq!(latch.target(), at(4000));
    }

    #[test]
    fn a_guessed_ssrc_does_not_take_over_a_silent_stream() {
        let mut latch = Latch::rtp(at(4000));
        stream(&mut latch, 4000, 1, 0..100);
        assert!(stream(&mut latch, 6666, 2, 200..400).iter().all(|verdict| *verdict == Err(Foreign)));
    }
}
