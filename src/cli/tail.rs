//! `leveret tail`: shows messages, and takes none away from anybody.
//!
//! Of an exchange it shows what passes from now on: a queue of its own is bound as others are, and expires by itself when
//! nobody reads it any more. Of a queue it shows what is in it and what comes, by the API's way of looking at messages.
//! Either works against a node that is far away, as a user with a password, or over the control socket.

use std::io::{self, Write as _};
use std::thread::sleep;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::{Value, json};

use super::admin::line::base;
use super::ctl::connect;
use super::http::{Client, HttpError, Reply, segment};
use crate::net::tls::ClientSettings;
use crate::node::random;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the own queue stays when nobody looks into it, in milliseconds.
const EXPIRES: u64 = 30_000;
/// Messages that wait in it at the most; of more the oldest are passed over.
const WAITING_MAX: u64 = 10_000;
/// Messages that are fetched at once.
const AT_ONCE: u64 = 100;
/// Characters of a body in a line of text.
const SHOWN: usize = 400;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TailFormat {
    /// A line for each message, for people
    #[default]
    Text,
    /// A JSON object for each message, as the HTTP API shows it
    Json,
}

#[derive(Args, Debug)]
pub struct TailArgs {
    /// Show what passes through this exchange (amq.rabbitmq.trace has everything where tracing is on)
    #[arg(
        long,
        short = 'e',
        value_name = "NAME",
        conflicts_with = "queue",
        required_unless_present = "queue"
    )]
    exchange: Option<String>,

    /// Of the exchange: only what is bound by this key; may be given more than once [default: everything]
    #[arg(long, short = 'k', value_name = "KEY", conflicts_with = "queue")]
    key: Vec<String>,

    /// Show what is in this queue, and what comes into it
    #[arg(long, short = 'q', value_name = "NAME")]
    queue: Option<String>,

    /// The virtual host
    #[arg(long, short = 'V', value_name = "NAME", default_value = "/")]
    vhost: String,

    /// The management API, with name and password [default: the control socket of the node on this machine]
    #[arg(long, short = 'U', value_name = "http://NAME:PASSWORD@HOST:PORT")]
    uri: Option<String>,

    /// Show only messages with this in their routing key or their body
    #[arg(long, short = 'g', value_name = "TEXT")]
    grep: Option<String>,

    /// End after so many messages
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: Option<u64>,

    /// Of a queue: end at its end
    #[arg(long)]
    no_follow: bool,

    #[arg(long, short = 'f', value_enum, default_value_t)]
    format: TailFormat,
}

/// Why nothing more is shown.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("{0}")]
    Place(String),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{what}: {reason}")]
    Refused { what: String, reason: String },
}

/// Shows messages until there have been enough, or nobody reads what is shown.
pub fn run(args: &TailArgs) -> Result<(), TailError> {
    let mut client = open(args)?;
    client.wait_for(Some(PATIENCE));
    let mut tail = Tail { client, args, left: args.count.unwrap_or(u64::MAX) };
    match (&args.exchange, &args.queue) {
        (Some(exchange), _) => tail.exchange(exchange),
        (None, Some(queue)) => tail.queue(queue),
        (None, None) => Ok(()),
    }
}

fn open(args: &TailArgs) -> Result<Client, TailError> {
    let Some(uri) = &args.uri else {
        return connect().map_err(TailError::Place);
    };
    let base =
        base(uri).map_err(|_| TailError::Place(format!("{uri:?} is not http://NAME:PASSWORD@HOST:PORT")))?;
    let usual = if base.tls { "15671" } else { "15672" };
    let port = base.port.as_deref().unwrap_or(usual).parse();
    let port = port.map_err(|_| TailError::Place(format!("{uri:?} has no port")))?;
    let host = base.host.unwrap_or_default();
    let (user, password) = (base.username.unwrap_or("guest".into()), base.password.unwrap_or("guest".into()));
    let config = base.tls.then(|| ClientSettings::default().load()).transpose();
    let config = config.map_err(|e| TailError::Place(e.to_string()))?;
    let mut client = Client::over_tcp(&host, port, config, PATIENCE)
        .map_err(|e| TailError::Place(format!("no connection to {host}:{port}: {e}")))?;
    client.log_in(&user, &password);
    Ok(client)
}

struct Tail<'a> {
    client: Client,
    args: &'a TailArgs,
    /// Messages that are still to be shown.
    left: u64,
}

impl Tail<'_> {
    fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, TailError> {
        let reply = self.client.request(method, path, body)?;
        if reply.is_success() {
            return Ok(reply);
        }
        Err(TailError::Refused { what: format!("{} {path}", reply.status), reason: reply.reason() })
    }

    /// What passes through an exchange, by way of a queue of our own.
    fn exchange(&mut self, exchange: &str) -> Result<(), TailError> {
        let vhost = segment(&self.args.vhost);
        let number: String = random().iter().take(8).map(|octet| format!("{octet:02x}")).collect();
        let queue = format!("leveret-tail-{number}");
        let path = format!("/api/queues/{vhost}/{queue}");
        let keys = self.keys(exchange)?;
        let arguments = json!({ "x-expires": EXPIRES, "x-max-length": WAITING_MAX });
        self.ask(Method::PUT, &path, Some(&json!({ "durable": true, "arguments": arguments })))?;
        for key in keys {
            let bindings = format!("/api/bindings/{vhost}/e/{}/q/{queue}", segment(exchange));
            let body = json!({ "routing_key": key, "arguments": {} });
            if let Err(e) = self.ask(Method::POST, &bindings, Some(&body)) {
                let _ = self.ask(Method::DELETE, &path, None);
                return Err(e);
            }
        }
        let shown = self.drain(&format!("{path}/get"));
        // Where it cannot be deleted it expires.
        let _ = self.ask(Method::DELETE, &path, None);
        shown
    }

    /// The keys to bind by, so that everything comes that goes to anybody.
    fn keys(&mut self, exchange: &str) -> Result<Vec<String>, TailError> {
        if !self.args.key.is_empty() {
            return Ok(self.args.key.clone());
        }
        let path = format!("/api/exchanges/{}/{}", segment(&self.args.vhost), segment(exchange));
        let about = self.ask(Method::GET, &path, None)?.json();
        if about["type"] != "direct" {
            return Ok(vec!["#".to_owned()]);
        }
        // A direct exchange has no key for everything: these are the ones that lead somewhere.
        let bindings = self.ask(Method::GET, &format!("{path}/bindings/source"), None)?.json();
        let keys = bindings.as_array().into_iter().flatten();
        let mut keys: Vec<_> =
            keys.filter_map(|binding| binding["routing_key"].as_str().map(str::to_owned)).collect();
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            let text = "nothing is bound to it; --key says which messages are wanted".to_owned();
            return Err(TailError::Refused { what: exchange.to_owned(), reason: text });
        }
        Ok(keys)
    }

    fn drain(&mut self, path: &str) -> Result<(), TailError> {
        let body = json!({ "count": AT_ONCE, "ackmode": "ack_requeue_false", "encoding": "auto" });
        loop {
            let messages = self.ask(Method::POST, path, Some(&body))?.json();
            let messages = messages.as_array().cloned().unwrap_or_default();
            if !self.show_all(&messages) {
                return Ok(());
            }
            if (messages.len() as u64) < AT_ONCE {
                sleep(PAUSE);
            }
        }
    }

    /// What is in a queue, and what comes.
    fn queue(&mut self, queue: &str) -> Result<(), TailError> {
        let path =
            format!("/api/queues/{}/{}/messages?count={AT_ONCE}", segment(&self.args.vhost), segment(queue));
        let mut after: Option<String> = None;
        loop {
            let behind = after.as_ref().map(|after| format!("&after={}", segment(after))).unwrap_or_default();
            let page = self.ask(Method::GET, &format!("{path}{behind}"), None)?.json();
            let messages = page["items"].as_array().cloned().unwrap_or_default();
            if !self.show_all(&messages) {
                return Ok(());
            }
            let last = messages.last().and_then(|message| message["position"].as_str());
            let next = page["next"].as_str();
            after = next.or(last).map(str::to_owned).or(after);
            if next.is_none() {
                if self.args.no_follow {
                    return Ok(());
                }
                sleep(PAUSE);
            }
        }
    }

    /// Shows messages, and says whether more are wanted.
    fn show_all(&mut self, messages: &[Value]) -> bool {
        let mut out = io::stdout().lock();
        for message in messages {
            if !self.is_wanted(message) {
                continue;
            }
            if self.left == 0 {
                return false;
            }
            let line = match self.args.format {
                TailFormat::Text => line(message),
                TailFormat::Json => message.to_string(),
            };
            // Whoever has stopped reading wants no more.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                return false;
            }
            self.left -= 1;
        }
        self.left > 0
    }

    fn is_wanted(&self, message: &Value) -> bool {
        let Some(text) = &self.args.grep else { return true };
        ["routing_key", "payload"]
            .iter()
            .any(|field| message[*field].as_str().is_some_and(|has| has.contains(text)))
    }
}

/// A message on a line, with nothing in it that a terminal would obey.
fn line(message: &Value) -> String {
    let text = |field: &str| message[field].as_str().unwrap_or_default();
    let exchange = if text("exchange").is_empty() { "(default)" } else { text("exchange") };
    let properties = match &message["properties"] {
        Value::Object(properties) if !properties.is_empty() => format!(" {}", message["properties"]),
        _ => String::new(),
    };
    let mut body: String = text("payload").chars().take(SHOWN).collect();
    if body.len() < text("payload").len() {
        body.push('…');
    }
    if text("payload_encoding") == "base64" {
        body = format!("base64:{body}");
    }
    let line =
        format!("{exchange} {} {} octets{properties} {body}", text("routing_key"), message["payload_bytes"]);
    line.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_on_lines() {
        let message = json!({
            "exchange": "ex", "routing_key": "a.b", "payload_bytes": 5, "payload": "x\n\u{1b}[2J", "payload_encoding": "string",
            "properties": { "priority": 3 },
        });
        assert_eq!(line(&message), "ex a.b 5 octets {\"priority\":3} x··[2J");
        let plain = json!({
            "exchange": "", "routing_key": "q", "payload_bytes": 1, "payload": "/w==", "payload_encoding": "base64", "properties": [],
        });
        assert_eq!(line(&plain), "(default) q 1 octets base64:/w==");
        let long = json!({ "payload": "ä".repeat(500), "routing_key": "q", "payload_bytes": 1000 });
        assert!(line(&long).ends_with("ä…") && line(&long).chars().count() < 450);
    }
}
