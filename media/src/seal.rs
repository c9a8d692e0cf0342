//! Files that only the holder of a key can read: AES-256-GCM by chunk, so that one that was cut off still opens.
//!
//! A header of 32 bytes (`MAGIC`, 16 random bytes, zeros), then chunks: a length (u32, big endian), then that many
//! bytes of ciphertext with their tag. Each file has a key of its own, HMAC-SHA-256 of the header under the key that
//! was given, so that counting is enough for nonces: 4 bytes, the last one 1 in the last chunk of a file that was
//! ended, then the chunk's number (u64, big endian). `recording/sealed.py` reads them.

use std::io::{self, Read};

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

pub const HEADER: usize = 32;
const MAGIC: &[u8; 8] = b"JFSEAL1\0";
pub const KEY: usize = 32;

pub struct Seal {
    cipher: Aes256Gcm,
    header: [u8; HEADER],
    chunks: u64,
}

impl Seal {
    /// For a new file; its header goes in front.
    pub fn new(key: &[u8; KEY]) -> io::Result<Self> {
        let mut header = [0; HEADER];
        let (magic, rest) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        if let Some(random) = rest.get_mut(..16) {
            std::fs::File::open("/dev/urandom")?.read_exact(random)?;
        }
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).map_err(io::Error::other)?;
        mac.update(&header);
        let own = mac.finalize().into_bytes();
        let cipher = Aes256Gcm::new_from_slice(&own).map_err(io::Error::other)?;
        Ok(Self { cipher, header, chunks: 0 })
    }

    pub fn header(&self) -> &[u8; HEADER] {
        &self.header
    }

    /// One more chunk; nothing can follow the last one.
    pub fn chunk(&mut self, data: &[u8], last: bool) -> io::Result<Vec<u8>> {
        let mut nonce = [0; 12];
        let (end, number) = nonce.split_at_mut(4);
        end.copy_from_slice(&u32::from(last).to_be_bytes());
        number.copy_from_slice(&self.chunks.to_be_bytes());
        self.chunks += 1;
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), data);
        let sealed = sealed.map_err(|_| io::Error::other("a chunk cannot be encrypted"))?;
        let mut chunk = (sealed.len() as u32).to_be_bytes().to_vec();
        chunk.extend(sealed);
        Ok(chunk)
    }
}
