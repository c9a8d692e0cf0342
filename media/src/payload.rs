//! What payload types mean on each side, and how those of a speaker become those of a listener.

use std::collections::HashMap;
use std::sync::Arc;

/// One codec of an m-line: its a=rtpmap with its payload type. `name` is lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Payload {
    pub payload_type: u8,
    pub name: Box<str>,
    pub clock_rate_hz: u32,
    pub channels: u8,
    pub fmtp: Box<str>,
}

impl Payload {
    pub fn is_telephone_event(&self) -> bool {
        &*self.name == "telephone-event"
    }

    /// Video clocks run at 90 kHz (RFC 3551 section 5); there the marker bit ends a picture.
    pub fn is_video(&self) -> bool {
        self.clock_rate_hz == 90_000
    }

    fn same_codec(&self, other: &Self) -> bool {
        self.name == other.name
            && self.clock_rate_hz == other.clock_rate_hz
            && self.channels == other.channels
            && decisive_parameters(&self.name).iter().all(|key| self.parameter(key) == other.parameter(key))
    }

    fn parameter(&self, key: &str) -> &str {
        let mut parameters = self.fmtp.split(';').filter_map(|parameter| parameter.trim().split_once('='));
        parameters.find(|(name, _)| name.eq_ignore_ascii_case(key)).map_or("0", |(_, value)| value.trim())
    }
}

/// Parameters of a=fmtp that change what the bytes mean, so that both sides must agree; absent means 0.
///
/// All others say what a receiver would like, or what a decoder can tell from the bytes.
fn decisive_parameters(name: &str) -> &'static [&'static str] {
    match name {
        "amr" | "amr-wb" => &["octet-align", "crc", "robust-sorting", "interleaving"],
        "h264" => &["packetization-mode"],
        "g7221" => &["bitrate"],
        _ => &[],
    }
}

/// Where a payload of the speaker is not accepted by the listener.
pub const NOT_ACCEPTED: u8 = 0xff;

const NO_PAYLOAD: u8 = 0xff;

/// The payloads of one direction, found by payload type without a search.
#[derive(Debug)]
pub struct PayloadSet {
    list: Box<[Payload]>,
    place: [u8; 128],
}

impl PayloadSet {
    fn new(list: Vec<Payload>) -> Self {
        let mut place = [NO_PAYLOAD; 128];
        for (index, payload) in list.iter().enumerate().rev() {
            if let Some(entry) = place.get_mut(usize::from(payload.payload_type)) {
                *entry = index as u8;
            }
        }
        Self { list: list.into(), place }
    }

    /// The place in the list, and the payload, that a payload type of a packet means.
    pub fn find(&self, payload_type: u8) -> Option<(usize, &Payload)> {
        let place = usize::from(*self.place.get(usize::from(payload_type))?);
        Some((place, self.list.get(place)?))
    }

    pub fn get(&self, place: usize) -> Option<&Payload> {
        self.list.get(place)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Payload> {
        self.list.iter()
    }

    /// For each payload here, by place, the listener's payload type of the same codec, or `NOT_ACCEPTED`.
    pub fn map_to(&self, listener: &PayloadSet) -> Box<[u8]> {
        let same = |heard: &Payload| listener.list.iter().find(|accepted| heard.same_codec(accepted));
        self.list
            .iter()
            .map(|heard| same(heard).map_or(NOT_ACCEPTED, |accepted| accepted.payload_type))
            .collect()
    }
}

/// Keeps one copy of each list of payloads: nearly all calls of a house negotiate the same few.
#[derive(Default)]
pub struct PayloadSets {
    known: HashMap<Vec<Payload>, Arc<PayloadSet>>,
}

impl PayloadSets {
    pub fn get(&mut self, list: &[Payload]) -> Arc<PayloadSet> {
        if let Some(known) = self.known.get(list) {
            return known.clone();
        }
        self.known.retain(|_, set| Arc::strong_count(set) > 1);
        let set = Arc::new(PayloadSet::new(list.to_vec()));
        self.known.insert(list.to_vec(), set.clone());
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(payload_type: u8, name: &str, clock_rate_hz: u32, channels: u8, fmtp: &str) -> Payload {
        Payload { payload_type, name: name.into(), clock_rate_hz, channels, fmtp: fmtp.into() }
    }

    fn map(speaker: &[Payload], listener: &[Payload]) -> Vec<u8> {
        PayloadSet::new(speaker.to_vec()).map_to(&PayloadSet::new(listener.to_vec())).to_vec()
    }

    #[test]
    fn codecs_are_matched_by_name_rate_and_channels() {
        let speaker = [payload(0, "pcmu", 8000, 1, ""), payload(96, "opus", 48000, 2, "useinbandfec=1")];
        let listener = [payload(111, "opus", 48000, 2, ""), payload(0, "pcmu", 16000, 1, "")];
        assert_eq!(map(&speaker, &listener), [NOT_ACCEPTED, 111]);
    }

    #[test]
    fn parameters_that_change_the_bytes_must_agree() {
        let aligned = payload(96, "amr", 8000, 1, "mode-set=7; octet-align=1");
        let packed = payload(97, "amr", 8000, 1, "mode-set=0,2");
        assert_eq!(map(&[aligned.clone(), packed.clone()], &[packed, aligned]), [96, 97]);
        let bare = payload(100, "amr", 8000, 1, "");
        let zero = payload(101, "amr", 8000, 1, "octet-align=0");
        assert_eq!(map(&[bare], &[zero]), [101]);
    }

    #[test]
    fn the_same_list_is_kept_once_and_forgotten_when_unused() {
        let mut sets = PayloadSets::default();
        let first = sets.get(&[payload(0, "pcmu", 8000, 1, "")]);
        assert!(Arc::ptr_eq(&first, &sets.get(&[payload(0, "pcmu", 8000, 1, "")])));
        drop(first);
        let _second = sets.get(&[payload(8, "pcma", 8000, 1, "")]);
        assert_eq!(sets.known.len(), 1);
    }
}
