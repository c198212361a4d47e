//! Lines for a syslog server, as RFC 3164 or RFC 5424 have them: `log.syslog.*`.
//!
//! A thread of its own sends them, so that a server that does not take them holds up no other output. What cannot be sent is
//! lost, and the server hears how much when it can be reached again.

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use super::record::{Record, SyslogTime};
use super::settings::{Category, Level, Output};
use crate::config::values::{self, Allowed};

/// So many lines may wait to be sent.
const WAITING_MAX: usize = 10_000;
/// How long a server may take to answer or to take a line, and how long it is left alone after that.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);
/// Characters of names that RFC 5424 allows.
const HOST_MAX: usize = 255;
const NAME_MAX: usize = 48;

const PORT: u16 = 514;

/// RabbitMQ's names, by the numbers that the RFCs give them.
const FACILITIES: [(&str, u8); 25] = [
    ("kern", 0),
    ("kernel", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("clock", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    pub on: bool,
    pub output: Output,
    tcp: bool,
    rfc5424: bool,
    /// A name, an address, or the path of a socket of this machine.
    host: String,
    port: u16,
    facility: u8,
    identity: String,
    /// All lines of a message go together.
    multiline: bool,
}

impl Default for Syslog {
    fn default() -> Self {
        Self {
            on: false,
            output: Output::default(),
            tcp: false,
            rfc5424: false,
            host: "localhost".to_owned(),
            port: PORT,
            facility: 3,
            identity: "rabbitmq-server".to_owned(),
            multiline: false,
        }
    }
}

impl Syslog {
    pub(super) fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            [] => self.on = values::boolean(value)?,
            // Lines that are to be encrypted are not sent in the clear.
            ["transport"] => self.tcp = values::one_of(value, "udp|tcp")? == "tcp",
            ["protocol"] => self.rfc5424 = value == "rfc5424",
            ["host"] | ["ip"] => value.clone_into(&mut self.host),
            ["port"] => self.port = values::port(value)?,
            ["facility"] => {
                let found = FACILITIES.iter().find(|(name, _)| *name == value);
                self.facility = found.map_or(self.facility, |(_, number)| *number);
            }
            ["identity"] => value.clone_into(&mut self.identity),
            ["multiline_mode"] => self.multiline = values::boolean(value)?,
            _ => return self.output.apply(key, value),
        }
        Ok(true)
    }

    /// Where the server is.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A record as the server wants it, often in several messages.
    fn messages(&self, record: &Record, host: &str) -> Vec<Vec<u8>> {
        let severity = match record.level {
            Level::Debug => 7,
            Level::Info => 6,
            Level::Notice => 5,
            Level::Warning => 4,
            _ => 3,
        };
        let priority = self.facility * 8 + severity;
        let (identity, process, who) = (&self.identity, std::process::id(), record.who);
        let head = if self.rfc5424 {
            let (time, identity) = (SyslogTime::Rfc5424(record.at), name(identity, NAME_MAX));
            format!("<{priority}>1 {time} {host} {identity} {process} <0.{who}.0> - ")
        } else {
            let time = SyslogTime::Rfc3164(record.at);
            format!("<{priority}>{time} {host} {identity}[{process}] <0.{who}.0> - ")
        };
        let text = record.bare(&self.output);
        let lines: Vec<_> = if self.multiline { vec![&*text] } else { text.split('\n').collect() };
        lines.iter().map(|line| format!("{head}{line}").into_bytes()).collect()
    }

    fn connect(&self) -> io::Result<Link> {
        if self.host.starts_with('/') {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.host)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            return Ok(Link::Unix(socket));
        }
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        let address = found.next().ok_or(io::ErrorKind::NotFound)?;
        if self.tcp {
            let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            return Ok(Link::Tcp(socket));
        }
        let any: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        Ok(Link::Udp(socket))
    }
}

/// A name as a field may have it: visible ASCII, and not too long.
fn name(text: &str, max: usize) -> String {
    let fits = |c: char| if c.is_ascii_graphic() { c } else { '_' };
    let name: String = text.chars().take(max).map(fits).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

impl Link {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Unix(socket) => socket.send(message).map(drop),
            // A stream has its messages counted (RFC 6587).
            Self::Tcp(socket) => {
                let mut frame = format!("{} ", message.len()).into_bytes();
                frame.extend_from_slice(message);
                socket.write_all(&frame)
            }
        }
    }
}

enum Order {
    Send(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Where the log's own thread leaves lines.
#[derive(Debug)]
pub struct Sender {
    settings: Syslog,
    host: String,
    orders: SyncSender<Order>,
    /// Lines that there was no room for.
    lost: u64,
}

impl Sender {
    pub fn start(settings: &Syslog) -> io::Result<Self> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let host = name(&host, HOST_MAX);
        let (orders, ordered) = sync_channel(WAITING_MAX);
        let post =
            Post { settings: settings.clone(), host: host.clone(), link: None, lost: 0, not_before: None };
        std::thread::Builder::new().name("syslog".to_owned()).spawn(move || post.run(&ordered))?;
        Ok(Self { settings: settings.clone(), host, orders, lost: 0 })
    }

    pub fn take(&mut self, record: &Record) {
        if self.lost > 0 {
            let lost = self.settings.messages(&lost_lines(self.lost), &self.host);
            self.lost = 0;
            lost.into_iter().for_each(|message| self.put(message));
        }
        self.settings.messages(record, &self.host).into_iter().for_each(|message| self.put(message));
    }

    fn put(&mut self, message: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Send(message)) {
            self.lost += 1;
        }
    }

    /// Waits until everything is sent, but not for long.
    pub fn flush(&self, patience: Duration) {
        let (done, all_sent) = sync_channel(1);
        if self.orders.try_send(Order::Flush(done)).is_ok() {
            let _ = all_sent.recv_timeout(patience);
        }
    }
}

fn lost_lines(lost: u64) -> Record {
    Record {
        at: SystemTime::now(),
        level: Level::Warning,
        category: Category::Default,
        who: 0,
        message: format!("{lost} lines of the log are lost: they could not be sent"),
        file: None,
        line: None,
    }
}

/// What the thread has.
struct Post {
    settings: Syslog,
    host: String,
    link: Option<Link>,
    /// Lines that could not be sent.
    lost: u64,
    /// The server did not answer, and is left alone until then.
    not_before: Option<Instant>,
}

impl Post {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Send(message) => self.send(&message),
                Order::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
    }

    fn send(&mut self, message: &[u8]) {
        if self.link.is_none() && self.not_before.is_none_or(|at| at <= Instant::now()) {
            self.link = self.settings.connect().ok();
        }
        let Some(link) = &mut self.link else { return self.fails() };
        if self.lost > 0 {
            let told = self.settings.messages(&lost_lines(self.lost), &self.host);
            if told.iter().any(|message| link.send(message).is_err()) {
                return self.fails();
            }
            self.lost = 0;
        }
        if link.send(message).is_err() {
            self.fails();
        }
    }

    fn fails(&mut self) {
        self.lost += 1;
        self.link = None;
        let now = Instant::now();
        if self.not_before.is_none_or(|at| at <= now) {
            self.not_before = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    fn record(message: &str) -> Record {
        Record {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_796_000_000_123_456),
            who: 7,
            message: message.to_owned(),
            ..lost_lines(0)
        }
    }

    fn settings(pairs: &[(&str, &str)]) -> Syslog {
        let mut settings = Syslog::default();
        for (key, value) in pairs {
            let key: Vec<_> = key.split('.').filter(|word| !word.is_empty()).collect();
            assert_eq!(settings.apply(&key, value), Ok(true), "{key:?}");
        }
        settings
    }

    /// As RabbitMQ 4.3.6 sends them.
    #[test]
    fn messages() {
        let me = std::process::id();
        for (pairs, wanted) in [
            (
                &[("protocol", "rfc5424")][..],
                vec![
                    format!("<28>1 2026-11-30T00:53:20.123456Z box rabbitmq-server {me} <0.7.0> - a"),
                    format!("<28>1 2026-11-30T00:53:20.123456Z box rabbitmq-server {me} <0.7.0> - b"),
                ],
            ),
            (
                &[("identity", "my hare"), ("facility", "local1"), ("multiline_mode", "true")],
                vec![format!("<140>Nov 30 00:53:20 box my hare[{me}] <0.7.0> - a\nb")],
            ),
            (
                &[("protocol", "rfc5424"), ("identity", "my hare"), ("formatter.single_line", "true")],
                vec![format!("<28>1 2026-11-30T00:53:20.123456Z box my_hare {me} <0.7.0> - a, b")],
            ),
        ] {
            let messages = settings(pairs).messages(&record("a\nb"), "box");
            let messages: Vec<_> = messages.iter().map(|message| String::from_utf8_lossy(message)).collect();
            assert_eq!(messages, wanted);
        }
        let json = settings(&[("formatter", "json")]).messages(&record("a\nb"), "box");
        assert!(json.len() == 1 && String::from_utf8_lossy(&json[0]).contains(r#""domain":"rabbitmq""#));
        assert!(Syslog::default().apply(&["transport"], "tls").is_err(), "nothing goes in the clear instead");
    }

    #[test]
    fn over_a_stream_and_again_after_it_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let settings = settings(&[("transport", "tcp"), ("ip", "127.0.0.1"), ("port", &port.to_string())]);
        let mut sender = Sender::start(&settings).expect("a thread");
        sender.take(&record("first"));
        let (mut socket, _) = listener.accept().expect("a connection");
        let wanted = &settings.messages(&record("first"), &sender.host)[0];
        let wanted = [format!("{} ", wanted.len()).as_bytes(), wanted].concat();
        let mut came = vec![0; wanted.len()];
        socket.read_exact(&mut came).expect("a message");
        assert_eq!(String::from_utf8_lossy(&came), String::from_utf8_lossy(&wanted));
        drop(socket);
        // Until it is known that there is nobody any more lines get lost; then it is said how many.
        listener.set_nonblocking(true).expect("a socket");
        let end = Instant::now() + Duration::from_secs(20);
        let mut socket = loop {
            assert!(Instant::now() < end, "nobody comes");
            sender.take(&record("more"));
            match listener.accept() {
                Ok((socket, _)) => break socket,
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        socket.set_nonblocking(false).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut came = [0; 120];
        socket.read_exact(&mut came).expect("a message");
        assert!(String::from_utf8_lossy(&came).contains("lines of the log are lost"), "{came:?}");
    }

    #[test]
    fn over_sockets_of_this_machine() {
        let path = std::env::temp_dir().join(format!("leveret-syslog-{}", std::process::id()));
        let server = UnixDatagram::bind(&path).expect("a socket");
        let settings = settings(&[("host", path.to_str().expect("UTF-8"))]);
        let mut sender = Sender::start(&settings).expect("a thread");
        sender.take(&record("here"));
        sender.flush(PATIENCE);
        let mut came = [0; 1000];
        let size = server.recv(&mut came).expect("a message");
        assert_eq!(came[..size], settings.messages(&record("here"), &sender.host)[0]);
        std::fs::remove_file(path).expect("removed");
    }
}
