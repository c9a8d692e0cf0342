//! Arithmetic on samples: nothing here knows a packet, a port or a clock.
