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
    /// Video clocks run at 90 kHz (RFC 3551 section 5).
    fn kind(&self) -> Kind {
        match (&*self.name, self.clock_rate_hz) {
            ("telephone-event", _) => Kind::Event,
            (_, 90_000) => Kind::Video,
            _ => Kind::Sound,
        }
    }

    fn same_codec(&self, other: &Self) -> bool {
        self.name == other.name
            && self.clock_rate_hz == other.clock_rate_hz
            && self.channels == other.channels
            && decisive_parameters(&self.name).iter().all(|key| self.parameter(key) == other.parameter(key))
    }

    /// What a=fmtp says of `key`; "0" where it says nothing.
    pub fn parameter(&self, key: &str) -> &str {
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

/// What rules a packet is passed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sound,
    /// The marker bit ends a picture; it does not begin talk.
    Video,
    /// A telephone-event (RFC 4733): the timestamp stands still while it lasts.
    Event,
}

/// What a packet needs to know of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    pub clock_rate_hz: u32,
    pub kind: Kind,
}

/// Payloads of one m-line that are made use of.
pub const MOST_PAYLOADS: usize = 32;
/// Where a payload of the speaker is not accepted by the listener.
pub const NOT_ACCEPTED: u8 = 0xff;
const NO_PAYLOAD: u8 = 0xff;

/// The payloads of one direction, found by payload type without a search.
#[derive(Debug)]
pub struct PayloadSet {
    place: [u8; 128],
    meanings: Box<[Meaning]>,
    list: Box<[Payload]>,
}

/// For each payload of a speaker, by place, the listener's payload type of the same codec.
#[derive(Debug, Clone, Copy)]
pub struct PayloadMap {
    payload_types: [u8; MOST_PAYLOADS],
}

impl Default for PayloadMap {
    fn default() -> Self {
        Self { payload_types: [NOT_ACCEPTED; MOST_PAYLOADS] }
    }
}

impl PayloadMap {
    /// The listener's payload type, or `NOT_ACCEPTED`.
    pub fn get(&self, place: usize) -> u8 {
        self.payload_types.get(place).copied().unwrap_or(NOT_ACCEPTED)
    }
}

impl PayloadSet {
    fn new(mut list: Vec<Payload>) -> Self {
        list.truncate(MOST_PAYLOADS);
        let mut place = [NO_PAYLOAD; 128];
        for (index, payload) in list.iter().enumerate().rev() {
            if let Some(entry) = place.get_mut(usize::from(payload.payload_type)) {
                *entry = index as u8;
            }
        }
        let meaning =
            |payload: &Payload| Meaning { clock_rate_hz: payload.clock_rate_hz, kind: payload.kind() };
        Self { place, meanings: list.iter().map(meaning).collect(), list: list.into() }
    }

    /// The place in the list that a payload type of a packet means, and what it means.
    pub fn find(&self, payload_type: u8) -> Option<(usize, Meaning)> {
        let place = usize::from(*self.place.get(usize::from(payload_type))?);
        Some((place, *self.meanings.get(place)?))
    }

    pub fn get(&self, place: usize) -> Option<&Payload> {
        self.list.get(place)
    }

    /// The places of all payloads of one kind, in order of preference.
    pub fn places(&self, kind: Kind) -> impl Iterator<Item = usize> {
        let kinds = self.meanings.iter().enumerate();
        kinds.filter(move |(_, meaning)| meaning.kind == kind).map(|(place, _)| place)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Payload> {
        self.list.iter()
    }

    /// What the payloads here are called by somebody who accepts those of `listener`.
    pub fn map_to(&self, listener: &PayloadSet) -> PayloadMap {
        let mut map = PayloadMap::default();
        for (place, heard) in map.payload_types.iter_mut().zip(&self.list) {
            if let Some(same) = listener.list.iter().find(|accepted| heard.same_codec(accepted)) {
                *place = same.payload_type;
            }
        }
        map
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
        let map = PayloadSet::new(speaker.to_vec()).map_to(&PayloadSet::new(listener.to_vec()));
        (0..speaker.len()).map(|place| map.get(place)).collect()
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
