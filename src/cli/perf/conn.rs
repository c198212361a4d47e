//! A blocking AMQP connection: handshake, requests and their answers.

use std::{
    io::{self, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use amq_protocol::{
    frame::AMQPFrame,
    protocol::{AMQPClass, channel, connection, parse_class},
    types::{AMQPValue, FieldTable, ShortString},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    error::PerfError,
    uri::AmqpUri,
    wire::{self, FrameBuffer, WireError},
};

/// The only channel that is opened on each connection.
pub const CHANNEL: u16 = 1;
/// Longest time that a read or write blocks, so that threads notice when they should stop.
pub const TICK: Duration = Duration::from_millis(100);

/// Longest wait for a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the answer to a request.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the answer to `connection.close`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests that are sent before the first of their answers is waited for.
const IN_FLIGHT: usize = 500;
/// What a client sends first.
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";

/// An open connection with one open channel.
pub struct Connection {
    /// The socket; reads and writes on it time out after [`TICK`].
    pub stream: TcpStream,
    /// What was read but not yet looked at.
    pub input: FrameBuffer,
    /// Negotiated frame size limit, in bytes including the frame's overhead.
    pub frame_max: u32,
}

impl Connection {
    /// Connects, logs in without heartbeats and opens [`CHANNEL`]. `name` is shown by brokers
    /// that list connections.
    ///
    /// # Errors
    ///
    /// When the broker cannot be reached, refuses the login or the virtual host, does not speak
    /// AMQP 0-9-1 or does not answer.
    pub fn open(uri: &AmqpUri, name: &str) -> Result<Self, PerfError> {
        let mut connection = Self::dial(uri, name, FrameBuffer::new(), 0)?;
        connection.open_channel()?;
        Ok(connection)
    }

    /// Connects and logs in, but opens no channel: one of many connections, which receive little.
    /// Heartbeats are to come so many seconds apart, with 0 never.
    ///
    /// # Errors
    ///
    /// As [`Connection::open`].
    pub fn log_in(uri: &AmqpUri, name: &str, heartbeat: u16) -> Result<Self, PerfError> {
        Self::dial(uri, name, FrameBuffer::small(), heartbeat)
    }

    /// Connects and logs in.
    fn dial(uri: &AmqpUri, name: &str, input: FrameBuffer, heartbeat: u16) -> Result<Self, PerfError> {
        let stream = connect(uri)?;
        let configured = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(TICK)))
            .and_then(|()| stream.set_write_timeout(Some(TICK)));
        configured.map_err(PerfError::Io)?;
        let mut connection = Self { stream, input, frame_max: wire::MAX_FRAME };
        connection.shake_hands(uri, name, heartbeat)?;
        Ok(connection)
    }

    /// Opens [`CHANNEL`], for instance again after the broker has closed it.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub fn open_channel(&mut self) -> Result<(), PerfError> {
        self.open_channel_number(CHANNEL)
    }

    /// Opens another channel.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub fn open_channel_number(&mut self, number: u16) -> Result<(), PerfError> {
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        self.call(number, open, "channel.open", |answer| {
            matches!(answer, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)))
        })?;
        Ok(())
    }

    /// The exchange of methods up to `connection.open-ok`.
    fn shake_hands(&mut self, uri: &AmqpUri, name: &str, heartbeat: u16) -> Result<(), PerfError> {
        use connection::AMQPMethod as Method;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        self.write_fully(PROTOCOL_HEADER, deadline)?;
        self.answer("the protocol header", |method| {
            matches!(method, AMQPClass::Connection(Method::Start(_)))
        })?;
        let start_ok = connection::StartOk {
            client_properties: client_properties(name),
            mechanism: "PLAIN".into(),
            response: format!("\0{}\0{}", uri.user, uri.password).into(),
            locale: "en_US".into(),
        };
        let start_ok = AMQPClass::Connection(Method::StartOk(start_ok));
        let tune = self.call(0, start_ok, "the login", |method| {
            matches!(method, AMQPClass::Connection(Method::Tune(_)))
        })?;
        let AMQPClass::Connection(Method::Tune(tune)) = tune else {
            return Err(PerfError::Protocol("no connection.tune".to_owned()));
        };
        self.frame_max = match tune.frame_max {
            0 => wire::MAX_FRAME,
            limit => limit.clamp(4096, wire::MAX_FRAME),
        };
        let frame_max = self.frame_max;
        let tune_ok = connection::TuneOk { channel_max: tune.channel_max, frame_max, heartbeat };
        self.send(0, AMQPClass::Connection(Method::TuneOk(tune_ok)))?;
        let open = connection::Open { virtual_host: short(&uri.vhost)? };
        self.call(0, AMQPClass::Connection(Method::Open(open)), "connection.open", |method| {
            matches!(method, AMQPClass::Connection(Method::OpenOk(_)))
        })?;
        Ok(())
    }

    /// Sends `request` and waits for the method that `accepts` approves; `doing` names the
    /// request in the error about a missing answer. Other methods and content are skipped.
    ///
    /// # Errors
    ///
    /// [`PerfError::Closed`] when the broker refuses, and everything that the socket may report.
    pub fn call(
        &mut self,
        channel: u16,
        request: AMQPClass,
        doing: &'static str,
        accepts: impl Fn(&AMQPClass) -> bool,
    ) -> Result<AMQPClass, PerfError> {
        self.send(channel, request)?;
        self.answer(doing, accepts)
    }

    /// Sends all `requests`, many of them before their answers come, and waits until `accepts` has
    /// approved an answer to each; see [`Connection::call`].
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub fn call_all(
        &mut self,
        channel: u16,
        requests: impl IntoIterator<Item = AMQPClass>,
        doing: &'static str,
        accepts: impl Fn(&AMQPClass) -> bool,
    ) -> Result<(), PerfError> {
        let mut requests = requests.into_iter();
        loop {
            let (mut bytes, mut sent) = (Vec::new(), 0);
            for request in requests.by_ref().take(IN_FLIGHT) {
                bytes.extend(wire::encode(&AMQPFrame::Method(channel, request))?);
                sent += 1;
            }
            if sent == 0 {
                return Ok(());
            }
            self.write_fully(&bytes, Instant::now() + ANSWER_TIMEOUT)?;
            for _ in 0..sent {
                self.answer(doing, &accepts)?;
            }
        }
    }

    /// Waits for the method that `accepts` approves.
    fn answer(
        &mut self,
        doing: &'static str,
        accepts: impl Fn(&AMQPClass) -> bool,
    ) -> Result<AMQPClass, PerfError> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            while let Some(frame) = self.input.next_frame()? {
                if frame.kind != wire::METHOD {
                    continue;
                }
                let method = parse_method(frame.payload)?;
                if let Some(error) = closed(&method) {
                    self.confirm_close(&method);
                    return Err(error);
                }
                if accepts(&method) {
                    return Ok(method);
                }
            }
            if !self.read_some()? && Instant::now() >= deadline {
                return Err(PerfError::Timeout(doing));
            }
        }
    }

    /// Sends one method.
    ///
    /// # Errors
    ///
    /// When it cannot be encoded or written.
    pub fn send(&mut self, channel: u16, method: AMQPClass) -> Result<(), PerfError> {
        let bytes = wire::encode(&AMQPFrame::Method(channel, method))?;
        self.send_bytes(&bytes)
    }

    /// Sends whole frames.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn send_bytes(&mut self, frames: &[u8]) -> Result<(), PerfError> {
        self.write_fully(frames, Instant::now() + ANSWER_TIMEOUT)
    }

    /// Reads once, for at most [`TICK`]; false when nothing came.
    ///
    /// # Errors
    ///
    /// [`PerfError::Hangup`] at the end of the stream, [`PerfError::Io`] on socket errors.
    pub fn read_some(&mut self) -> Result<bool, PerfError> {
        match self.input.fill(&mut self.stream) {
            Ok(0) => Err(PerfError::Hangup),
            Ok(_) => Ok(true),
            Err(error) if is_retry(&error) => Ok(false),
            Err(error) => Err(PerfError::Io(error)),
        }
    }

    /// Reads what has already arrived, without waiting; false when nothing has.
    ///
    /// # Errors
    ///
    /// As [`Connection::read_some`].
    pub fn read_available(&mut self) -> Result<bool, PerfError> {
        self.stream.set_nonblocking(true).map_err(PerfError::Io)?;
        let outcome = self.read_some();
        self.stream.set_nonblocking(false).map_err(PerfError::Io)?;
        outcome
    }

    /// Waits until something has arrived, for at most `time`, and reads it; false when nothing came.
    ///
    /// # Errors
    ///
    /// As [`Connection::read_some`].
    pub fn read_within(&mut self, time: Duration) -> Result<bool, PerfError> {
        let time = Timespec::try_from(time.min(TICK)).unwrap_or_default();
        let mut ready = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut ready, Some(&time)) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Ok(_) => self.read_some(),
            Err(error) => Err(PerfError::Io(error.into())),
        }
    }

    /// Finds out why writing failed: the reason in a `close` method that the broker sent before
    /// it dropped the connection, or else `error` itself.
    pub fn explain(&mut self, error: io::Error) -> PerfError {
        loop {
            while let Ok(Some(frame)) = self.input.next_frame() {
                let method = (frame.kind == wire::METHOD).then(|| parse_method(frame.payload));
                if let Some(reason) = method.and_then(|method| closed(&method.ok()?)) {
                    return reason;
                }
            }
            if !matches!(self.read_some(), Ok(true)) {
                return PerfError::Io(error);
            }
        }
    }

    /// Closes a channel.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub fn close_channel(&mut self, number: u16) -> Result<(), PerfError> {
        let close = channel::Close { reply_code: 200, reply_text: "done".into(), ..Default::default() };
        let close = AMQPClass::Channel(channel::AMQPMethod::Close(close));
        self.call(number, close, "channel.close", |answer| {
            matches!(answer, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)))
        })?;
        Ok(())
    }

    /// Says goodbye.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    pub fn say_goodbye(&mut self) -> Result<(), PerfError> {
        let close =
            connection::Close { reply_code: 200, reply_text: "done".into(), class_id: 0, method_id: 0 };
        self.send(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)))
    }

    /// Waits until the broker has said goodbye, too.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub fn wait_for_goodbye(&mut self) -> Result<(), PerfError> {
        self.answer("connection.close", |answer| {
            matches!(answer, AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)))
        })?;
        Ok(())
    }

    /// Says goodbye and waits briefly for the broker to do the same; failures do not matter.
    pub fn close(mut self) {
        if self.say_goodbye().is_err() {
            return;
        }
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while Instant::now() < deadline && self.read_some().is_ok() {
            while let Ok(Some(frame)) = self.input.next_frame() {
                // connection.close-ok is method 51 of class 10.
                if frame.kind == wire::METHOD && frame.payload == [0, 10, 0, 51] {
                    return;
                }
            }
        }
    }

    /// Acknowledges a `close` method; the connection is useless afterwards, so errors are ignored.
    fn confirm_close(&mut self, method: &AMQPClass) {
        let (channel, answer) = if matches!(method, AMQPClass::Channel(_)) {
            let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
            (CHANNEL, AMQPClass::Channel(ok))
        } else {
            let ok = connection::AMQPMethod::CloseOk(connection::CloseOk {});
            (0, AMQPClass::Connection(ok))
        };
        if let Ok(bytes) = wire::encode(&AMQPFrame::Method(channel, answer)) {
            // Only one attempt: the broker may not be reading any more.
            let _ = self.stream.write(&bytes);
        }
    }

    /// Writes all of `bytes`, retrying timeouts until `deadline`.
    fn write_fully(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), PerfError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if is_retry(&error) && Instant::now() < deadline => {}
                Err(error) => return Err(self.explain(error)),
            }
        }
        Ok(())
    }
}

/// Whether a socket call merely timed out or was interrupted.
pub fn is_retry(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// Decodes the payload of a method frame.
///
/// # Errors
///
/// When it is no AMQP 0-9-1 method.
pub fn parse_method(payload: &[u8]) -> Result<AMQPClass, PerfError> {
    let parsed = parse_class(payload);
    let (_, method) = parsed.map_err(|_| WireError::Malformed("method"))?;
    Ok(method)
}

/// The error that a `connection.close` or `channel.close` stands for; `None` for other methods.
pub fn closed(method: &AMQPClass) -> Option<PerfError> {
    let (scope, code, text) = match method {
        AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
            ("connection", close.reply_code, &close.reply_text)
        }
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            ("channel", close.reply_code, &close.reply_text)
        }
        _ => return None,
    };
    Some(PerfError::Closed { scope, code, text: text.to_string() })
}

/// Makes a short string.
///
/// # Errors
///
/// [`PerfError::Usage`] when `text` is longer than 255 bytes.
pub fn short(text: &str) -> Result<ShortString, PerfError> {
    ShortString::try_new(text).map_err(|_| PerfError::Usage(format!("'{text}' is longer than 255 bytes")))
}

/// Connects to the first address of the host that answers.
fn connect(uri: &AmqpUri) -> Result<TcpStream, PerfError> {
    let failed = |source| PerfError::Connect { address: uri.address(), source };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (uri.host.as_str(), uri.port).to_socket_addrs().map_err(failed)? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// What this client tells about itself.
fn client_properties(name: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for capability in [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
    ] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("Leveret perf".into()));
    let version = env!("CARGO_PKG_VERSION");
    properties.insert("version".into(), AMQPValue::LongString(version.into()));
    properties.insert("connection_name".into(), AMQPValue::LongString(name.into()));
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}
