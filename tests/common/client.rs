//! A raw AMQP client on a blocking socket. It answers nothing by itself, so that a test can also say the wrong thing.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::method::{self, Method, number};
use super::table::{flag, map, sized, table};

pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;
pub const HEARTBEAT: u8 = 8;
pub const PROTOCOL_HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// The limit of a frame that [`Client::open`] agrees on.
pub const FRAME_MAX: usize = 131_072;

/// A property list without any property.
pub const PLAIN: &[u8] = &[0, 0];

/// A frame as it lies on the wire.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = channel.to_be_bytes();
    [&[kind, high, low][..], &sized(payload), &[0xCE]].concat()
}

/// A content header's payload.
pub fn header(size: u64, properties: &[u8]) -> Vec<u8> {
    [&[0, 60, 0, 0][..], &size.to_be_bytes(), properties].concat()
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub channel: u16,
    pub payload: Vec<u8>,
}

/// A method that arrived, with its content, or the end of the stream.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub channel: u16,
    pub text: String,
    pub payload: Vec<u8>,
    /// The content header's property list.
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
    /// The sizes of the body frames' payloads.
    pub parts: Vec<usize>,
}

impl Event {
    pub fn is_end(&self) -> bool {
        self.payload.is_empty()
    }

    /// A field of the method as text; empty if it has none of that name.
    pub fn get(&self, name: &str) -> String {
        let (_, fields) = method::decode(&self.payload);
        let found = fields.into_iter().find(|(field, _)| *field == name);
        found.map(|(_, value)| String::from_utf8(value).unwrap()).unwrap_or_default()
    }

    pub fn tag(&self) -> u64 {
        self.get("delivery-tag").parse().unwrap()
    }

    /// Messages in short: `c#1:m0` is delivered to consumer `c` with tag 1, `m0#1(left 4)` is fetched with tag 1 and
    /// leaves 4 behind; `R` says redelivered.
    pub fn short(&self) -> String {
        let again = if self.text.contains(" redelivered") { "R" } else { "" };
        let body = String::from_utf8_lossy(&self.body);
        match self.text.split(' ').next() {
            Some("basic.deliver") => format!("{}#{}:{body}{again}", self.get("consumer-tag"), self.tag()),
            Some("basic.get-ok") => {
                format!("{body}{again}#{}(left {})", self.tag(), self.get("message-count"))
            }
            Some("basic.get-empty") => "empty".to_owned(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if !self.properties.is_empty() {
            write!(f, " | {}", String::from_utf8_lossy(&self.body))?;
        }
        Ok(())
    }
}

pub struct Client {
    /// What the test is about, for when nothing comes.
    pub label: String,
    stream: TcpStream,
    unread: Vec<u8>,
    inbox: VecDeque<Frame>,
}

impl Client {
    /// A TCP connection on which nothing has been said.
    pub fn raw(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).unwrap())
    }

    pub fn on(stream: TcpStream) -> Self {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { label: String::new(), stream, unread: Vec::new(), inbox: VecDeque::new() }
    }

    /// A connection that has sent its header and got `connection.start`.
    pub fn begun(address: SocketAddr) -> Self {
        let mut client = Self::raw(address);
        client.begin();
        client
    }

    fn begin(&mut self) {
        self.send_bytes(PROTOCOL_HEADER);
        let start = self.next(0);
        assert!(start.text.starts_with("connection.start "), "{start}");
    }

    pub fn open(address: SocketAddr) -> Self {
        Self::open_as(address, "guest", &start_ok("guest", "guest"), FRAME_MAX)
    }

    pub fn open_as(address: SocketAddr, who: &str, start_ok: &Method, frame_max: usize) -> Self {
        let mut client = Self::raw(address);
        client.shake_hands(who, start_ok, frame_max);
        client
    }

    pub fn shake_hands(&mut self, who: &str, start_ok: &Method, frame_max: usize) {
        self.begin();
        let tune = self.call(0, start_ok.clone());
        assert_eq!(tune, "connection.tune channel-max=2047 frame-max=131072 heartbeat=60", "{who}");
        self.send(0, method::method(&format!("connection.tune-ok channel-max=2047 frame-max={frame_max}")));
        assert_eq!(self.call(0, "connection.open virtual-host=/"), "connection.open-ok", "{who}");
    }

    /// A connection of a user added by [`Broker::add_user`](super::Broker::add_user), with channel 1 open.
    pub fn user(address: SocketAddr, name: &str) -> Self {
        let mut client = Self::open_as(address, name, &start_ok(name, name), FRAME_MAX);
        client.open_channel(1);
        client
    }

    pub fn open_channel(&mut self, channel: u16) {
        assert_eq!(self.call(channel, "channel.open"), "channel.open-ok");
    }

    pub fn send_bytes(&mut self, octets: &[u8]) {
        self.try_send_bytes(octets).unwrap();
    }

    /// For a peer that may be killed at any moment.
    pub fn try_send_bytes(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)
    }

    pub fn send(&mut self, channel: u16, method: impl Into<Method>) {
        self.send_bytes(&frame(METHOD, channel, &method.into().payload()));
    }

    /// Sends a method and shows what comes next on its channel (or on channel 0).
    pub fn call(&mut self, channel: u16, method: impl Into<Method>) -> String {
        self.send(channel, method);
        self.next(channel).to_string()
    }

    /// Sends methods of which each has to be answered by `...-ok`.
    pub fn all_ok(&mut self, channel: u16, methods: &[&str]) {
        for text in methods {
            let got = self.call(channel, *text);
            let wanted = format!("{}-ok", text.split(' ').next().unwrap());
            assert_eq!(got.split(' ').next(), Some(&wanted[..]), "{text}: {got}");
        }
    }

    pub fn publish(&mut self, channel: u16, exchange: &str, key: &str, body: &str) {
        let publish = method::method("basic.publish").set("exchange", exchange).set("routing-key", key);
        self.publish_with(channel, publish, PLAIN, body.as_bytes());
    }

    /// Sends a publish with its content in as many frames as the usual limit asks for.
    pub fn publish_with(&mut self, channel: u16, publish: impl Into<Method>, properties: &[u8], body: &[u8]) {
        let mut out = frame(METHOD, channel, &publish.into().payload());
        out.extend(frame(HEADER, channel, &header(body.len() as u64, properties)));
        for part in body.chunks(FRAME_MAX - 8) {
            out.extend(frame(BODY, channel, part));
        }
        self.send_bytes(&out);
    }

    /// Waits until everything sent so far on a channel has been worked off. Nothing else may have come meanwhile.
    pub fn quiet(&mut self, channel: u16) {
        assert_eq!(self.call(channel, "channel.flow active"), "channel.flow-ok active");
    }

    /// What has come on a channel up to now, in short, messages and methods alike.
    pub fn so_far(&mut self, channel: u16) -> String {
        self.send(channel, "channel.flow active");
        let mut found = Vec::new();
        loop {
            let event = self.next(channel);
            if event.text.starts_with("channel.flow-ok") {
                return found.join(" ");
            }
            found.push(event.short());
            assert!(!event.is_end(), "{found:?}");
        }
    }

    /// Fetches from a queue until it is empty, in short.
    pub fn get_all(&mut self, channel: u16, queue: &str, options: &str) -> String {
        let mut found = Vec::new();
        loop {
            self.send(channel, method::method(&format!("basic.get{options}")).set("queue", queue));
            let event = self.next(channel);
            if event.text == "basic.get-empty" {
                return found.join(" ");
            }
            found.push(event.short());
            assert!(event.text.starts_with("basic.get-ok"), "{found:?}");
        }
    }

    /// The bodies of everything in a queue, which is empty then.
    pub fn bodies(&mut self, channel: u16, queue: &str) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            self.send(channel, method::method("basic.get no-ack").set("queue", queue));
            let event = self.next(channel);
            if event.text == "basic.get-empty" {
                return found;
            }
            assert!(event.text.starts_with("basic.get-ok "), "{event}");
            found.push(String::from_utf8(event.body).unwrap());
        }
    }

    /// The next method on a channel, or on channel 0, with its content; what comes on others waits.
    pub fn next(&mut self, channel: u16) -> Event {
        let Some(first) = self.take(|f| f.channel == channel || f.channel == 0) else {
            return Event { text: "end".to_owned(), ..Event::default() };
        };
        if first.kind == HEARTBEAT {
            assert!(first.channel == 0 && first.payload.is_empty(), "{first:?}");
            let text = "heartbeat".to_owned();
            return Event { text, payload: vec![0], ..Event::default() };
        }
        assert_eq!(first.kind, METHOD, "{first:?}");
        let text = method::show(&first.payload);
        let mut event = Event { channel: first.channel, text, payload: first.payload, ..Event::default() };
        let with_content = ["basic.deliver", "basic.get-ok", "basic.return"];
        if with_content.contains(&event.text.split(' ').next().unwrap()) {
            self.content(&mut event);
        }
        event
    }

    fn content(&mut self, event: &mut Event) {
        let channel = event.channel;
        let header = self.take(|f| f.channel == channel).expect("a content header");
        assert_eq!((header.kind, &header.payload[..4]), (HEADER, &[0, 60, 0, 0][..]));
        let size = number(&header.payload[4..12]) as usize;
        event.properties = header.payload[12..].to_vec();
        while event.body.len() < size {
            let part = self.take(|f| f.channel == channel).expect("a body");
            assert_eq!(part.kind, BODY);
            event.parts.push(part.payload.len());
            event.body.extend(part.payload);
        }
        assert_eq!(event.body.len(), size, "more than announced");
    }

    fn take(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        if let Some(at) = self.inbox.iter().position(&wanted) {
            return self.inbox.remove(at);
        }
        loop {
            let frame = self.read_frame()?;
            if wanted(&frame) {
                return Some(frame);
            }
            self.inbox.push_back(frame);
        }
    }

    /// The next frame, or `None` at the end of the stream.
    pub fn read_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.split_frame() {
                return Some(frame);
            }
            if self.read_more() == 0 {
                assert!(self.unread.is_empty(), "the stream ends inside of a frame: {:?}", self.unread);
                return None;
            }
        }
    }

    /// The first frame of what has been read, if it is there as a whole.
    fn split_frame(&mut self) -> Option<Frame> {
        let head = self.unread.get(..7)?;
        let size = number(&head[3..]) as usize;
        let end = self.unread.get(7 + size)?;
        assert_eq!(*end, 0xCE, "frame end");
        let (kind, channel) = (head[0], number(&head[1..3]) as u16);
        let payload = self.unread[7..7 + size].to_vec();
        self.unread.drain(..size + 8);
        Some(Frame { kind, channel, payload })
    }

    /// The next frame of a peer that may be killed at any moment, or `None` if none comes in this time. The end of the
    /// stream is an error, and may come inside of a frame.
    pub fn frame_within(&mut self, time: Duration) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.split_frame() {
                return Ok(Some(frame));
            }
            self.stream.set_read_timeout(Some(time))?;
            let mut octets = [0; 64 << 10];
            match self.stream.read(&mut octets) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.unread.extend_from_slice(&octets[..count]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn read_more(&mut self) -> usize {
        let mut octets = [0; 64 << 10];
        let count = match self.stream.read(&mut octets) {
            Ok(count) => count,
            // A reset may cut a frame in two.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                self.unread.clear();
                0
            }
            Err(e) => panic!("{} nothing came in time: {e}", self.label),
        };
        self.unread.extend_from_slice(&octets[..count]);
        count
    }

    /// All octets up to the end of the stream.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_more() > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Reads until the broker ends the connection, after a `connection.close` that names any reason or without, and
    /// shows what came.
    pub fn until_end(&mut self) -> String {
        let mut found = Vec::new();
        loop {
            let event = self.next(0);
            if event.is_end() {
                return found.join(" ; ");
            }
            if event.text.starts_with("connection.close ") {
                // Whoever has dropped the connection takes no answer.
                let _ = self.stream.write_all(&frame(METHOD, 0, &[0, 10, 0, 51]));
            }
            found.push(event.to_string());
        }
    }

    /// Ends the TCP connection without a word.
    pub fn drop_it(self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
    }

    /// One that reads and one that writes, for two threads.
    pub fn halves(self) -> (Self, Self) {
        let writer = Self::on(self.stream.try_clone().unwrap());
        (self, writer)
    }

    /// The socket of a client to which nothing is on its way.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.unread.is_empty() && self.inbox.is_empty(), "something has not been read");
        self.stream
    }

    /// Says that no more will be sent, and goes on reading.
    pub fn end_output(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes the connection as one should.
    pub fn close(mut self) {
        assert_eq!(self.call(0, "connection.close reply-code=200"), "connection.close-ok");
    }
}

/// `connection.start-ok` with PLAIN and the capabilities that clients usually announce.
pub fn start_ok(user: &str, password: &str) -> Method {
    let capabilities = map(&[
        ("authentication_failure_close", flag(true)),
        ("basic.nack", flag(true)),
        ("connection.blocked", flag(true)),
        ("consumer_cancel_notify", flag(true)),
        ("publisher_confirms", flag(true)),
    ]);
    method::method("connection.start-ok mechanism=PLAIN locale=en_US")
        .set("client-properties", table(&[("capabilities", capabilities)]))
        .set("response", format!("\0{user}\0{password}"))
}
