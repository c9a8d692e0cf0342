//! The way to the program behind a fork: a WebSocket (RFC 6455) on a thread of its own.
//!
//! First goes a text, {"event": "start", ...}; then binary messages of 20 ms, 16-bit samples in network byte order
//! (L16, RFC 3551 section 4.5.11). Binary messages that come back are said in the call, at the same rate; the text
//! {"event": "clear"} stops what is being said. Whoever closes the connection ends the fork.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message, WebSocket};

use crate::fork::{Far, Say};
use crate::messages::{ForkRequest, PortId};

const CONNECTING: Duration = Duration::from_secs(5);
/// How long an answer of the program may wait while nothing is heard.
const PATIENCE: Duration = Duration::from_millis(10);
const LARGEST_MESSAGE: usize = 1 << 20;

type Line = WebSocket<TcpStream>;

/// Carry sound to and fro until one side ends it; the reason, empty when it was ours. `connected` is called once.
pub fn run(port: PortId, request: &ForkRequest, far: &Far, connected: impl FnOnce()) -> String {
    match connect(&request.url).and_then(|line| {
        connected();
        carry(line, port, request, far)
    }) {
        Ok(()) => String::new(),
        Err(why) => why,
    }
}

fn connect(url: &str) -> Result<Line, String> {
    let told = |error: &dyn std::fmt::Display| format!("{url}: {error}");
    let request = url.into_client_request().map_err(|error| told(&error))?;
    let uri = request.uri();
    if uri.scheme_str() != Some("ws") {
        return Err(told(&"only ws:// can be forked to; a proxy beside the server may speak TLS onward"));
    }
    let address = (uri.host().unwrap_or_default().trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
    let mut addresses = address.to_socket_addrs().map_err(|error| told(&error))?;
    let address = addresses.next().ok_or_else(|| told(&"no such host"))?;
    let stream = TcpStream::connect_timeout(&address, CONNECTING).map_err(|error| told(&error))?;
    stream.set_nodelay(true).map_err(|error| told(&error))?;
    stream.set_read_timeout(Some(CONNECTING)).map_err(|error| told(&error))?;
    let limits = tungstenite::protocol::WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_write_buffer_size(LARGEST_MESSAGE);
    let (line, _) = tungstenite::client::client_with_config(request, stream, Some(limits))
        .map_err(|error| told(&error))?;
    line.get_ref().set_nonblocking(true).map_err(|error| told(&error))?;
    Ok(line)
}

fn carry(mut line: Line, port: PortId, request: &ForkRequest, far: &Far) -> Result<(), String> {
    let start = format!("{{\"event\": \"start\", \"port\": {port}, \"rate_hz\": {}}}", request.rate.hz());
    send(&mut line, Message::text(start))?;
    loop {
        match far.heard.recv_timeout(PATIENCE) {
            Ok(samples) => {
                let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
                send(&mut line, Message::binary(bytes))?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let _ = line.close(None);
                let _ = line.flush();
                return Ok(());
            }
        }
        hear(&mut line, far)?;
    }
}

fn send(line: &mut Line, message: Message) -> Result<(), String> {
    match line.send(message) {
        Err(error) if !waits(&error) => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn hear(line: &mut Line, far: &Far) -> Result<(), String> {
    loop {
        match line.read() {
            Ok(Message::Binary(bytes)) => {
                let samples = bytes.as_chunks::<2>().0.iter().map(|pair| i16::from_be_bytes(*pair));
                let _ = far.says.try_send(Say::Sound(samples.collect()));
            }
            Ok(Message::Text(text)) if text.contains("\"clear\"") => {
                let _ = far.says.try_send(Say::Clear);
            }
            Ok(Message::Close(_)) => return Err("closed by the program".to_owned()),
            Ok(_) => {}
            Err(error) if waits(&error) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Not a fault: the kernel has nothing, or takes nothing, now.
fn waits(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}
