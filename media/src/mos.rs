//! How good a stream probably sounds: the E-model (ITU-T G.107), reduced to delay, loss and codec.
//!
//! R = 93.2 - Id - Ie,eff: all other impairments at their defaults. The delay counts the network one way, a
//! jitter buffer of twice the jitter, and one packet; bursts are not told apart (BurstR 1).

const DEFAULT_R: f64 = 93.2;
const PACKET_MS: f64 = 20.0;

/// Equipment impairment and robustness against loss (ITU-T G.113 appendix I).
///
/// G.722 and Opus carry more than telephone sound; on this narrowband scale they count as unimpaired.
fn impairment(codec: &str) -> (f64, f64) {
    match codec {
        "g729" => (11.0, 19.0),
        "g723" => (15.0, 16.1),
        "gsm" => (20.0, 10.0),
        "ilbc" => (11.0, 32.0),
        _ => (0.0, 25.1),
    }
}

/// The estimate, 1.0 to 4.5. `loss` is a fraction.
pub fn estimate(codec: &str, loss: f64, jitter_ms: f64, round_trip_ms: f64) -> f64 {
    let delay_ms = round_trip_ms / 2.0 + 2.0 * jitter_ms + PACKET_MS;
    let delay_impairment = 0.024 * delay_ms + 0.11 * (delay_ms - 177.3).max(0.0);
    let (codec_impairment, robustness) = impairment(codec);
    let percent_lost = 100.0 * loss;
    let loss_impairment = (95.0 - codec_impairment) * percent_lost / (percent_lost + robustness);
    from_r(DEFAULT_R - delay_impairment - codec_impairment - loss_impairment)
}

/// G.107 annex B.
fn from_r(r: f64) -> f64 {
    let r = r.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_stream_is_as_good_as_its_codec() {
        assert!((estimate("pcmu", 0.0, 0.0, 0.0) - 4.4).abs() < 0.02);
        assert!((estimate("g729", 0.0, 0.0, 0.0) - 4.1).abs() < 0.1);
    }

    #[test]
    fn loss_and_delay_cost() {
        let loss = [0.0, 0.01, 0.05, 0.2, 1.0].map(|loss| estimate("pcma", loss, 1.0, 20.0));
        assert!(loss.is_sorted_by(|a, b| a > b), "{loss:?}");
        assert!(loss[4] < 1.3, "{loss:?}");
        let delay = [0.0, 200.0, 500.0, 2000.0].map(|delay| estimate("pcma", 0.0, 1.0, delay));
        assert!(delay.is_sorted_by(|a, b| a > b), "{delay:?}");
    }
}
