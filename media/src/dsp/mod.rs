//! Arithmetic on samples: nothing here knows a packet, a port or a clock.

pub mod conceal;
pub mod mix;
pub mod pitch;
pub mod resample;
pub mod stretch;
pub mod talking;
