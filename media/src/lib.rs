//! Sound: RTP ports and who hears whom.
//!
//! Three layers. Pure: `ports.rs` with all that it stands on takes packets, orders and `now`, `control.rs` the
//! engine's messages; the tests drive them in virtual time. Shell: `engine.rs` owns threads and sockets. Border:
//! `py.rs` alone knows Python. On the way of a packet nothing locks, allocates or panics.

#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, unsafe_code)]
#![cfg_attr(test, allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used))]

#[allow(dead_code)]
mod codec;
mod control;
#[allow(dead_code)]
mod dsp;
mod dtmf;
mod engine;
mod incoming;
mod io;
mod latch;
mod line;
mod load;
mod messages;
mod mos;
mod outgoing;
mod payload;
#[allow(dead_code)]
mod playout;
mod ports;
mod py;
mod random;
mod reporting;
mod rtcp;
mod rtp;
mod sockets;
mod stream;
mod time;
mod tone;
mod wire;
mod worker;
