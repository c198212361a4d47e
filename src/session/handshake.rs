//! From the protocol header to `connection.open` (AMQP 0-9-1, sections 2.2.4 and 4.2.2).
//!
//! Errors before `tune-ok` get no answer: RabbitMQ stays silent for some seconds and ends the TCP connection, so
//! that passwords are not guessed quickly. A login refused is answered where the client announced that it
//! understands (`authentication_failure_close`).

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::Settings;
use super::stamps::Stamps;
use crate::auth::sasl::{Certified, Credentials, Mechanisms};
use crate::auth::{Refused, User};
use crate::wire::frame::{self, HEARTBEAT, METHOD};
use crate::wire::method::{self, Method};
use crate::wire::reply::Exception;

/// What the server offers in `connection.tune`, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Offer {
    /// 0 is no limit.
    pub channel_max: u16,
    pub frame_max: u32,
    /// Seconds.
    pub heartbeat: u16,
    /// The limit of a message's body in octets.
    pub message_size_max: u64,
    /// How many consumers a channel may have.
    pub consumer_max: Option<u32>,
    /// What messages get added.
    pub stamps: Stamps,
    /// RabbitMQ's version that clients are told.
    pub version: String,
    pub cluster_name: String,
    pub mechanisms: Mechanisms,
}

/// The limit of a frame until `tune-ok` (RabbitMQ's `initial_frame_max`).
const FRAME_MAX_BEFORE: usize = 8192;
/// The smallest limit of a frame that a client may ask for. RabbitMQ 4.1 and later refuse less than 8192; older
/// clients ask for AMQP's minimum.
const FRAME_MAX_MIN: u32 = 4096;

/// What a client wants to open.
#[derive(Clone, Debug)]
pub struct Opening {
    pub settings: Settings,
    pub user: Arc<User>,
    pub mechanism: String,
    pub client_properties: FieldTable,
    /// Whether the client announced `consumer_cancel_notify`.
    pub cancel_notify: bool,
    /// Whether it announced `connection.blocked`.
    pub blocked_notify: bool,
}

/// What is to happen after some input.
#[derive(Debug)]
pub enum Progress {
    /// Go on when more has arrived.
    More,
    /// Somebody wants in: they are to be looked at, and [`Handshake::logged_in`] is to be told.
    Login(Credentials),
    /// Everything is said but `open-ok`: the vhost is to be looked at.
    Open(Box<Opening>),
    /// What is in the output, then the end.
    End,
    /// The end, after some seconds of silence.
    EndSilently,
    /// A `connection.close` is in the output: its `close-ok` is to be waited for.
    Closing,
    /// The same, but for a few seconds only: nobody knows who it is.
    Refused,
}

#[derive(Debug)]
enum Phase {
    Header,
    StartOk,
    Login(Box<Asked>),
    TuneOk(Box<Login>),
    Open(Box<Login>),
    Closing,
}

/// Who has been asked for.
#[derive(Clone, Debug)]
struct Asked {
    name: String,
    mechanism: String,
    client_properties: FieldTable,
}

#[derive(Clone, Debug)]
struct Login {
    user: Arc<User>,
    mechanism: String,
    client_properties: FieldTable,
    frame_max: u32,
    channel_max: u16,
    heartbeat: u16,
}

/// Somebody has said who they are.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub user: String,
    pub mechanism: String,
    /// What the client calls itself.
    pub client_name: Option<String>,
    /// Why they were not believed.
    pub refused: Option<String>,
}

pub struct Handshake {
    offer: Arc<Offer>,
    /// Who it is by its certificate.
    certified: Certified,
    phase: Phase,
    output: Vec<u8>,
    attempt: Option<Attempt>,
    wrong_header: Option<[u8; 8]>,
}

impl Handshake {
    pub fn new(offer: Arc<Offer>, certified: Certified) -> Self {
        Self { offer, certified, phase: Phase::Header, output: Vec::new(), attempt: None, wrong_header: None }
    }

    /// What is to be sent; the caller empties it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The login that was tried since this was called last.
    pub fn take_attempt(&mut self) -> Option<Attempt> {
        self.attempt.take()
    }

    /// What the client began with, if it was nothing that is spoken here.
    pub fn wrong_header(&self) -> Option<&[u8]> {
        self.wrong_header.as_ref().map(<[u8; 8]>::as_slice)
    }

    /// Takes input and says how much of it was used. After [`Progress::Open`] the rest is the session's, unless
    /// the opening is [`refuse`](Self::refuse)d.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Progress) {
        let mut used = 0;
        if matches!(self.phase, Phase::Header) {
            let Some(header) = input.get(..8) else { return (0, Progress::More) };
            used = 8;
            if let Some(end) = self.header(header) {
                return (used, end);
            }
        }
        loop {
            let frame = match frame::at(input, used, self.frame_max()) {
                Ok(Some(frame)) => frame,
                Ok(None) => return (used, Progress::More),
                Err(e) => return (used, self.fail(&e)),
            };
            used = frame.next();
            let progress = self.frame(frame.kind, frame.channel, frame.payload(input));
            if !matches!(progress, Progress::More) {
                return (used, progress);
            }
        }
    }

    /// Closes the connection with an exception, which names `connection.open`.
    pub fn refuse(&mut self, exception: Exception) {
        method::put_close(&mut self.output, 0, &exception.caused_by((10, 40)));
        self.phase = Phase::Closing;
    }

    fn frame_max(&self) -> usize {
        match &self.phase {
            Phase::Open(login) => login.frame_max as usize,
            _ => FRAME_MAX_BEFORE,
        }
    }

    fn header(&mut self, header: &[u8]) -> Option<Progress> {
        match header {
            // The second form is that of AMQP 0-8 and 0-9, which RabbitMQ takes for 0-9-1 as well.
            b"AMQP\0\0\x09\x01" | b"AMQP\x01\x01\0\x09" => {
                self.phase = Phase::StartOk;
                let start = self.start();
                method::put(&mut self.output, 0, &start);
                None
            }
            [b'A', b'M', b'Q', b'P', 0, 0, 9 | 10, _] => {
                self.output.extend_from_slice(b"AMQP\0\0\x09\x01");
                Some(Progress::End)
            }
            // AMQP 1.0 with SASL is what RabbitMQ would rather speak.
            _ => {
                self.wrong_header = header.try_into().ok();
                self.output.extend_from_slice(b"AMQP\x03\x01\0\0");
                Some(Progress::End)
            }
        }
    }

    fn start(&self) -> AMQPClass {
        const CAPABILITIES: [&str; 9] = [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "consumer_priorities",
            "authentication_failure_close",
            "per_consumer_qos",
            "direct_reply_to",
        ];
        let mut capabilities = FieldTable::default();
        for name in CAPABILITIES {
            capabilities.insert(name.into(), AMQPValue::Boolean(true));
        }
        let mut properties = FieldTable::default();
        properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        for (name, value) in [
            ("cluster_name", self.offer.cluster_name.as_str()),
            ("copyright", "Copyright (c) 2026 the Leveret authors"),
            ("information", "Licensed under the Apache License 2.0"),
            ("platform", concat!("Leveret ", env!("CARGO_PKG_VERSION"))),
            ("product", "RabbitMQ"),
            ("version", self.offer.version.as_str()),
        ] {
            properties.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        AMQPClass::Connection(connection::AMQPMethod::Start(connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: properties,
            mechanisms: self.offer.mechanisms.list(&self.certified).into(),
            locales: "en_US".into(),
        }))
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Progress {
        if kind == HEARTBEAT && channel == 0 && payload.is_empty() {
            return Progress::More;
        }
        if kind != METHOD || channel != 0 {
            return self.fail(&frame::unexpected(kind, payload));
        }
        let decoded = match method::decode(0, payload) {
            Ok(Method::Other(class)) => *class,
            Ok(_) => return self.fail(&unexpected(payload)),
            Err(e) => return self.fail(&e),
        };
        use connection::AMQPMethod as M;
        match (std::mem::replace(&mut self.phase, Phase::Closing), decoded) {
            (Phase::StartOk, AMQPClass::Connection(M::StartOk(start))) => self.start_ok(start),
            (Phase::TuneOk(login), AMQPClass::Connection(M::TuneOk(tune))) => self.tune_ok(login, &tune),
            (Phase::Open(login), AMQPClass::Connection(M::Open(open))) => self.open(*login, &open),
            (Phase::Closing, AMQPClass::Connection(M::CloseOk(_))) => Progress::End,
            (Phase::Closing, _) => Progress::More,
            (phase, _) => {
                self.phase = phase;
                self.fail(&unexpected(payload))
            }
        }
    }

    /// Silence before `tune-ok`, a proper close after it.
    fn fail(&mut self, exception: &Exception) -> Progress {
        match self.phase {
            Phase::Open(_) => {
                method::put_close(&mut self.output, 0, exception);
                self.phase = Phase::Closing;
                Progress::Closing
            }
            Phase::Closing => Progress::End,
            _ => {
                tracing::warn!("handshake failed: {:?}", String::from_utf8_lossy(&exception.reply_text()));
                Progress::EndSilently
            }
        }
    }

    fn start_ok(&mut self, start: connection::StartOk) -> Progress {
        let mechanism = start.mechanism.as_str().to_owned();
        let mechanisms = &self.offer.mechanisms;
        let response = start.response.as_bytes();
        let Some(credentials) = mechanisms.credentials(&mechanism, response, &self.certified) else {
            tracing::warn!(mechanism, "login refused: mechanism or response not understood");
            return Progress::EndSilently;
        };
        let name = match &credentials {
            Credentials::Password { user, .. } | Credentials::Certificate(Certified::Somebody(user)) => {
                user.clone()
            }
            Credentials::Certificate(_) => "none".to_owned(),
        };
        let client_properties = start.client_properties;
        self.phase = Phase::Login(Box::new(Asked { name, mechanism, client_properties }));
        Progress::Login(credentials)
    }

    /// Whoever asked is let in, or is not.
    pub fn logged_in(&mut self, login: Result<Arc<User>, Refused>) -> Progress {
        let Phase::Login(asked) = std::mem::replace(&mut self.phase, Phase::Closing) else {
            return Progress::EndSilently;
        };
        let Asked { name, mechanism, client_properties } = *asked;
        let refused = login.as_ref().err().map(ToString::to_string);
        let client_name = client_name(&client_properties);
        self.attempt = Some(Attempt { user: name, mechanism: mechanism.clone(), client_name, refused });
        let Ok(user) = login else { return self.login_refused(&mechanism, &client_properties) };
        let Offer { channel_max, frame_max, heartbeat, .. } = *self.offer;
        let tune = connection::AMQPMethod::Tune(connection::Tune { channel_max, frame_max, heartbeat });
        method::put(&mut self.output, 0, &AMQPClass::Connection(tune));
        let login = Login { user, mechanism, client_properties, frame_max, channel_max, heartbeat };
        self.phase = Phase::TuneOk(Box::new(login));
        Progress::More
    }

    fn login_refused(&mut self, mechanism: &str, client_properties: &FieldTable) -> Progress {
        if !capability(client_properties, "authentication_failure_close") {
            return Progress::EndSilently;
        }
        let text = format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        );
        method::put_close(&mut self.output, 0, &Exception::access_refused(text));
        Progress::Refused
    }

    /// A limit above the offer, or none where there is one, is refused, as RabbitMQ does.
    fn tune_ok(&mut self, mut login: Box<Login>, tune: &connection::TuneOk) -> Progress {
        let channel_max = self.offer.channel_max;
        let fits = (channel_max == 0 || (1..=channel_max).contains(&tune.channel_max))
            && (FRAME_MAX_MIN..=self.offer.frame_max).contains(&tune.frame_max);
        if !fits {
            let (frame_max, channel_max) = (tune.frame_max, tune.channel_max);
            tracing::warn!(frame_max, channel_max, "handshake failed: limits refused");
            return Progress::EndSilently;
        }
        login.frame_max = tune.frame_max;
        login.channel_max = tune.channel_max;
        login.heartbeat = tune.heartbeat;
        self.phase = Phase::Open(login);
        Progress::More
    }

    fn open(&mut self, login: Login, open: &connection::Open) -> Progress {
        let settings = Settings {
            user: Arc::clone(&login.user.name),
            impersonates: login.user.has_tag("impersonator"),
            vhost: open.virtual_host.as_str().into(),
            frame_max: login.frame_max as usize,
            channel_max: login.channel_max,
            heartbeat: login.heartbeat,
            message_size_max: self.offer.message_size_max,
            consumer_max: self.offer.consumer_max,
            stamps: self.offer.stamps,
        };
        let cancel_notify = capability(&login.client_properties, "consumer_cancel_notify");
        let blocked_notify = capability(&login.client_properties, "connection.blocked");
        let Login { user, mechanism, client_properties, .. } = login;
        Progress::Open(Box::new(Opening {
            settings,
            user,
            mechanism,
            client_properties,
            cancel_notify,
            blocked_notify,
        }))
    }
}

/// The frame that lets a client in.
pub fn open_ok() -> Vec<u8> {
    frame_of(connection::AMQPMethod::OpenOk(connection::OpenOk {}))
}

/// The frame that tells a client that it may not publish for now, and why.
pub fn blocked(reason: &str) -> Vec<u8> {
    frame_of(connection::AMQPMethod::Blocked(connection::Blocked { reason: reason.into() }))
}

/// The frame that tells it that it may again.
pub fn unblocked() -> Vec<u8> {
    frame_of(connection::AMQPMethod::Unblocked(connection::Unblocked {}))
}

fn frame_of(method: connection::AMQPMethod) -> Vec<u8> {
    let mut output = Vec::new();
    method::put(&mut output, 0, &AMQPClass::Connection(method));
    output
}

fn unexpected(payload: &[u8]) -> Exception {
    Exception::channel_error("unexpected method in connection state opening")
        .caused_by(method::id(payload).unwrap_or_default())
}

/// What a client calls itself.
fn client_name(client_properties: &FieldTable) -> Option<String> {
    match client_properties.inner().get("connection_name") {
        Some(AMQPValue::LongString(name)) => Some(String::from_utf8_lossy(name.as_bytes()).into_owned()),
        _ => None,
    }
}

/// Whether a client announced a capability.
fn capability(client_properties: &FieldTable, name: &str) -> bool {
    match client_properties.inner().get("capabilities") {
        Some(AMQPValue::FieldTable(capabilities)) => {
            matches!(capabilities.inner().get(name), Some(AMQPValue::Boolean(true)))
        }
        _ => false,
    }
}
