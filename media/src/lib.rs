//! Sound: RTP ports and who hears whom.
//!
//! Three layers. Pure: `ports.rs` with all that it stands on takes packets, orders and `now`, `control.rs` the
//! engine's messages; the tests drive them in virtual time. Shell: `engine.rs` owns threads and sockets. Border:
//! `py.rs` alone knows Python. On the way of a packet nothing locks, allocates or panics.

#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, unsafe_code)]
#![cfg_attr(test, allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used))]

mod agent;
mod capture;
mod codec;
mod control;
mod dsp;
mod dtls;
mod dtmf;
mod edges;
mod engine;
mod fork;
mod ice;
mod inband;
mod incoming;
mod io;
mod keyer;
mod latch;
mod line;
mod load;
mod loader;
mod messages;
mod mixed;
mod mixing;
mod mos;
mod ogg;
mod outgoing;
mod payload;
mod player;
mod playout;
mod ports;
mod py;
mod random;
mod reporting;
mod rtcp;
mod rtp;
mod scene;
mod seal;
mod sockets;
mod sound;
mod srtp;
mod stream;
mod stun;
mod time;
mod voice;
mod watching;
mod wire;
mod worker;
mod writer;
