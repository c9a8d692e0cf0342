//! Time inside the media core: microseconds of the monotonic clock, handed in by whoever has a clock.

pub type Micros = u64;

pub const MILLISECOND: Micros = 1_000;
pub const SECOND: Micros = 1_000_000;

pub fn from_seconds(seconds: f64) -> Micros {
    (seconds * SECOND as f64).round() as Micros
}

pub fn to_seconds(at: Micros) -> f64 {
    at as f64 / SECOND as f64
}

/// The ticks of a media clock that pass in `span`, or at `span` since its zero; they wrap.
pub fn ticks(span: Micros, clock_rate_hz: u32) -> u32 {
    (span.wrapping_mul(u64::from(clock_rate_hz)) / SECOND) as u32
}

/// A moment on two clocks: monotonic, and NTP's 32.32 seconds since 1900 as RTCP tells it (RFC 3550 section 4).
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub now: Micros,
    /// Microseconds from 1900 to the monotonic clock's zero, taken once: NTP time here never jumps.
    pub epoch: Micros,
}

impl Clock {
    pub fn ntp(self) -> u64 {
        let since_1900 = self.epoch + self.now;
        ((since_1900 / SECOND) << 32) | (((since_1900 % SECOND) << 32) / SECOND)
    }

    /// The middle 32 bits: seconds times 65536.
    pub fn short_ntp(self) -> u32 {
        (self.ntp() >> 16) as u32
    }
}
