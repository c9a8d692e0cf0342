//! ICE for an agent that is lite (RFC 8445 sections 2.5 and 7.3): it answers checks and makes none.
//!
//! The peer's check proves that it knows our password and can be reached where it came from; one with
//! USE-CANDIDATE says to send there. Checks that go on are the peer's consent (RFC 7675). Knows no socket.

use std::net::SocketAddr;

use crate::messages::Ice;
use crate::stun::{self, LONGEST_RESPONSE, Message};
use crate::time::{Micros, SECOND};

/// Without a check, or anything else from the peer, for as long, the way to it is taken for broken.
const CONSENT: Micros = 30 * SECOND;

#[derive(Debug)]
pub struct IceLite {
    terms: Ice,
    /// When the peer was heard last, or when waiting for it began.
    heard_at: Micros,
    failed: bool,
}

/// What becomes of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Of the response.
    pub length: usize,
    /// The peer is to be sent to where this came from.
    pub nominates: bool,
}

impl IceLite {
    pub fn new(terms: &Ice, now: Micros) -> Self {
        Self { terms: terms.clone(), heard_at: now, failed: false }
    }

    /// Whether it is still about the same: else the peer has restarted (RFC 8445 section 9).
    pub fn is_for(&self, terms: &Ice) -> bool {
        self.terms == *terms
    }

    /// Take a datagram of STUN; None where there is nothing to say, and an error where it is not the peer's.
    pub fn take(
        &mut self,
        from: SocketAddr,
        data: &[u8],
        response: &mut [u8; LONGEST_RESPONSE],
        now: Micros,
    ) -> Result<Option<Answer>, NotThePeer> {
        let request = match stun::read(data) {
            Some(Message::Request(request)) => request,
            Some(Message::Indication) => return Ok(None),
            None => return Err(NotThePeer),
        };
        let ufrag = request.username.split(|letter| *letter == b':').next();
        if ufrag != Some(self.terms.local_ufrag.as_bytes()) || !request.is_of(&self.terms.local_pwd) {
            return Err(NotThePeer);
        }
        self.heard(now);
        let length = request.answer(from, &self.terms.local_pwd, response).ok_or(NotThePeer)?;
        Ok(Some(Answer { length, nominates: request.use_candidate }))
    }

    pub fn heard(&mut self, now: Micros) {
        self.heard_at = now;
        self.failed = false;
    }

    pub fn deadline(&self) -> Option<Micros> {
        (!self.failed).then_some(self.heard_at + CONSENT)
    }

    /// Whether the way has just been found broken; `last_at` is when the peer's sound came last.
    pub fn has_failed(&mut self, last_at: Option<Micros>, now: Micros) -> bool {
        self.heard_at = self.heard_at.max(last_at.unwrap_or(0));
        let failed = self.deadline().is_some_and(|at| at <= now);
        self.failed |= failed;
        failed
    }
}

/// What came is no check, or is not the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotThePeer;
