//! Arithmetic on samples: nothing here knows a packet, a port or a clock.

pub mod conceal;
pub mod mix;
pub mod pitch;
pub mod resample;
pub mod stretch;
#[cfg_attr(not(test), expect(dead_code, reason = "conferences and supervision will ask who talks"))]
pub mod talking;
