//! The border to libbcg729: its functions, found at run time, and its channels as values with an owner.
//!
//! The library is under the GPL and no part of this program. It is looked for when `load` is called and never
//! before: whoever runs the program decides. Asked for is the interface since 1.0.2, which knows Annex B.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use libloading::Library;

/// 10 ms at 8 kHz, and what they become.
pub const SAMPLES: usize = 80;
pub const SPEECH: usize = 10;
/// A description of noise (Annex B).
pub const NOISE: usize = 2;

const NAME: &str = "libbcg729.so.0";

struct Functions {
    open_decoder: unsafe extern "C" fn() -> *mut c_void,
    close_decoder: unsafe extern "C" fn(*mut c_void),
    decode: unsafe extern "C" fn(*mut c_void, *const u8, u8, u8, u8, u8, *mut i16),
    open_encoder: unsafe extern "C" fn(u8) -> *mut c_void,
    close_encoder: unsafe extern "C" fn(*mut c_void),
    encode: unsafe extern "C" fn(*mut c_void, *const i16, *mut u8, *mut u8),
    /// Keeps all of them where they are.
    _library: Library,
}

static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();

/// Look for the library, once; whether it is there.
pub fn load() -> bool {
    FUNCTIONS.get_or_init(find).is_some()
}

fn functions() -> Option<&'static Functions> {
    FUNCTIONS.get()?.as_ref()
}

pub fn is_loaded() -> bool {
    functions().is_some()
}

fn find() -> Option<Functions> {
    // SAFETY: the library has no initializers, and its functions have had these types since the version that
    // brought the one that is asked for first and not used.
    unsafe {
        let library = Library::new(NAME).ok()?;
        library.get::<unsafe extern "C" fn()>(c"bcg729GetRFC3389Payload").ok()?;
        Some(Functions {
            open_decoder: *library.get(c"initBcg729DecoderChannel").ok()?,
            close_decoder: *library.get(c"closeBcg729DecoderChannel").ok()?,
            decode: *library.get(c"bcg729Decoder").ok()?,
            open_encoder: *library.get(c"initBcg729EncoderChannel").ok()?,
            close_encoder: *library.get(c"closeBcg729EncoderChannel").ok()?,
            encode: *library.get(c"bcg729Encoder").ok()?,
            _library: library,
        })
    }
}

/// What a decoder is given for 10 ms.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    Speech(&'a [u8; SPEECH]),
    Noise(&'a [u8; NOISE]),
    /// Lost, or not sent because it is noise like that before.
    Missing,
}

#[derive(Debug)]
pub struct DecoderChannel {
    channel: NonNull<c_void>,
}

// SAFETY: a channel is all the state there is, and nothing in it belongs to a thread.
unsafe impl Send for DecoderChannel {}

impl DecoderChannel {
    /// None where the library is not loaded, or has no memory.
    pub fn open() -> Option<Self> {
        // SAFETY: it takes nothing.
        let channel = unsafe { (functions()?.open_decoder)() };
        NonNull::new(channel).map(|channel| Self { channel })
    }

    pub fn decode(&mut self, frame: Frame) -> [i16; SAMPLES] {
        let mut samples = [0; SAMPLES];
        // Room for a whole frame, whatever the flags say that it is.
        let mut bits = [0; SPEECH];
        let (length, noise) = match frame {
            Frame::Speech(speech) => {
                bits = *speech;
                (SPEECH as u8, 0)
            }
            Frame::Noise(&[first, second]) => {
                bits[0] = first;
                bits[1] = second;
                (NOISE as u8, 1)
            }
            Frame::Missing => (0, 0),
        };
        // Bytes with a frame that is missing would be taken for another description of noise.
        let (missing, bits) = if length == 0 { (1, ptr::null()) } else { (0, bits.as_ptr()) };
        if let Some(functions) = functions() {
            // SAFETY: the channel is open and ours alone; 10 bytes or none are there to read, 80 samples to
            // write.
            unsafe {
                (functions.decode)(
                    self.channel.as_ptr(),
                    bits,
                    length,
                    missing,
                    noise,
                    0,
                    samples.as_mut_ptr(),
                );
            }
        }
        samples
    }
}

impl Drop for DecoderChannel {
    fn drop(&mut self) {
        if let Some(functions) = functions() {
            // SAFETY: it was opened by the same library and is closed once.
            unsafe { (functions.close_decoder)(self.channel.as_ptr()) };
        }
    }
}

#[derive(Debug)]
pub struct EncoderChannel {
    channel: NonNull<c_void>,
}

// SAFETY: as above.
unsafe impl Send for EncoderChannel {}

impl EncoderChannel {
    /// One that sends every frame as speech. None as with a decoder.
    pub fn open() -> Option<Self> {
        // SAFETY: it takes nothing but a flag.
        let channel = unsafe { (functions()?.open_encoder)(0) };
        NonNull::new(channel).map(|channel| Self { channel })
    }

    pub fn encode(&mut self, samples: &[i16; SAMPLES]) -> [u8; SPEECH] {
        let (mut bits, mut length) = ([0; SPEECH], 0);
        if let Some(functions) = functions() {
            let (channel, samples) = (self.channel.as_ptr(), samples.as_ptr());
            // SAFETY: the channel is open and ours alone; 80 samples are there to read, 10 bytes to write.
            unsafe { (functions.encode)(channel, samples, bits.as_mut_ptr(), &mut length) };
        }
        bits
    }
}

impl Drop for EncoderChannel {
    fn drop(&mut self) {
        if let Some(functions) = functions() {
            // SAFETY: it was opened by the same library and is closed once.
            unsafe { (functions.close_encoder)(self.channel.as_ptr()) };
        }
    }
}
