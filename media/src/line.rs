//! The connection of one engine: bytes in, frames out, and what it has not read yet.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const LONGEST_FRAME: usize = 16 << 20;
const READ_AT_ONCE: usize = 256 << 10;

/// The connection of an engine.
pub struct Line {
    stream: UnixStream,
    heard: Vec<u8>,
    /// Where in `heard` the next frame begins.
    next: usize,
    to_say: Vec<u8>,
    said: usize,
    /// To be ended when everything is said.
    pub hang_up: bool,
}

impl Line {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, heard: Vec::new(), next: 0, to_say: Vec::new(), said: 0, hang_up: false }
    }

    /// Bytes that the engine has not taken yet.
    pub fn waiting(&self) -> usize {
        self.to_say.len() - self.said
    }

    pub fn say(&mut self, frame: &[u8]) {
        if self.said > self.waiting() {
            self.to_say.drain(..self.said);
            self.said = 0;
        }
        self.to_say.extend_from_slice(frame);
    }

    /// Read what has come; false when the engine is gone.
    pub fn read(&mut self) -> bool {
        self.heard.drain(..self.next);
        self.next = 0;
        let mut space = [0; 16 << 10];
        let mut read = 0;
        while read < READ_AT_ONCE {
            match self.stream.read(&mut space) {
                Ok(0) => return false,
                Ok(count) => {
                    read += count;
                    self.heard.extend_from_slice(space.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn frame_length(&self) -> Option<usize> {
        self.heard.get(self.next..)?.first_chunk().map(|length| u32::from_be_bytes(*length) as usize)
    }

    pub fn is_too_long(&self) -> bool {
        self.frame_length().is_some_and(|length| length > LONGEST_FRAME)
    }

    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        let length = self.frame_length().filter(|length| *length <= LONGEST_FRAME)?;
        let start = self.next + 4;
        let frame = self.heard.get(start..start + length)?.to_vec();
        self.next = start + length;
        Some(frame)
    }

    /// Write what can be written; false when the engine is gone.
    pub fn write(&mut self) -> bool {
        while let Some(left) = self.to_say.get(self.said..).filter(|left| !left.is_empty()) {
            match self.stream.write(left) {
                Ok(count) => self.said += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.to_say.clear();
        self.said = 0;
        true
    }

    pub fn write_last_words(&mut self) {
        let patience = Some(Duration::from_secs(1));
        if self.stream.set_nonblocking(false).is_ok() && self.stream.set_write_timeout(patience).is_ok() {
            self.write();
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
