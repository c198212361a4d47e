//! What the log says of a connection, in RabbitMQ's words, for which people search their logs.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::node::ends::Ends;
use crate::session::handshake::Attempt;
use crate::wire::reply::Exception;

/// What is known of a connection, as the log names it.
#[derive(Debug)]
pub(super) struct Diary {
    began: Instant,
    /// Both ends, and what the client calls itself.
    name: String,
    /// The task, in the place of Erlang's process.
    process: String,
    user: Option<String>,
    vhost: Option<Arc<str>>,
    /// Whether anything has come from the client.
    heard: bool,
}

impl Diary {
    pub(super) fn new(ends: &Ends) -> Self {
        let task = tokio::task::try_id().map(|id| id.to_string()).unwrap_or_default();
        Self {
            began: Instant::now(),
            name: format!("{} -> {}", ends.peer, ends.local),
            process: format!("<0.{task}.0>"),
            user: None,
            vhost: None,
            heard: false,
        }
    }

    /// Something has come from the client, maybe for the first time.
    pub(super) fn heard(&mut self) {
        if !self.heard {
            self.heard = true;
            tracing::info!(target: "connection", "accepting AMQP connection {}", self.name);
        }
    }

    /// The client has said who it is.
    pub(super) fn attempted(&mut self, attempt: &Attempt) {
        if let Some(name) = &attempt.client_name {
            tracing::info!(target: "connection", "connection {} has a client-provided name: {name}", self.name);
            self.name = format!("{} - {name}", self.name);
        }
        let Attempt { user, mechanism, refused, .. } = attempt;
        match refused {
            None => {
                tracing::info!(target: "user", "User '{user}' authenticated successfully");
                self.user = Some(user.clone());
            }
            Some(why) => {
                tracing::warn!(target: "user", "User '{user}' failed to authenticate: {why}");
                let (process, about) = (&self.process, self.about());
                tracing::error!(
                    target: "connection",
                    below = %format_args!("{mechanism} login refused: {why}"),
                    "Error on AMQP connection {process} ({about}, state: starting):"
                );
            }
        }
    }

    /// The client is in.
    pub(super) fn entered(&mut self, vhost: &Arc<str>) {
        let (name, user) = (&self.name, self.user.as_deref().unwrap_or_default());
        tracing::info!(
            target: "connection",
            "connection {name}: user '{user}' authenticated and granted access to vhost '{vhost}'"
        );
        self.vhost = Some(Arc::clone(vhost));
    }

    /// The client may not use the vhost it asks for.
    pub(super) fn kept_out(&mut self, why: &Exception) {
        let (process, about) = (&self.process, self.about());
        tracing::error!(
            target: "connection",
            below = why.explanation,
            "Error on AMQP connection {process} ({about}, state: opening):"
        );
        self.vhost = Some("none".into());
    }

    /// The client began with something else.
    pub(super) fn wrong_header(&self, header: &[u8]) {
        let (name, duration, header) = (&self.name, self.duration(), erlang_binary(header));
        tracing::error!(
            target: "connection",
            below = %format_args!("client did not start with AMQP protocol header: {header}"),
            "closing AMQP connection {name} (duration: '{duration}'):"
        );
    }

    /// The client has left before it was in, without a word.
    pub(super) fn abandoned(&self) {
        let Self { process, .. } = self;
        let (about, duration) = (self.about(), self.duration());
        if self.vhost.is_some() {
            // It was told to go.
            self.closed();
        } else if self.heard {
            self.lost(&io::Error::new(ErrorKind::UnexpectedEof, "client unexpectedly closed TCP connection"));
        } else {
            tracing::debug!(
                target: "connection",
                below = "connection_closed_with_no_data_received",
                "closing AMQP connection {process} ({about}, duration: '{duration}'):"
            );
        }
    }

    /// The handshake has taken too long.
    pub(super) fn timed_out(&self) {
        let (process, about, duration) = (&self.process, self.about(), self.duration());
        tracing::error!(
            target: "connection",
            below = "{handshake_timeout,frame_header}",
            "closing AMQP connection {process} ({about}, duration: '{duration}'):"
        );
    }

    /// Both sides have said goodbye.
    pub(super) fn closed(&self) {
        tracing::info!(
            target: "connection",
            "closing AMQP connection ({}, duration: '{}')", self.about(), self.duration()
        );
    }

    /// The connection has ended otherwise.
    pub(super) fn lost(&self, why: &io::Error) {
        let (process, about, duration) = (&self.process, self.about(), self.duration());
        let head = format!("closing AMQP connection {process} ({about}, duration: '{duration}'):");
        match why.kind() {
            ErrorKind::TimedOut => tracing::error!(target: "connection", below = %why, "{head}"),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                let below = "client unexpectedly closed TCP connection";
                tracing::warn!(target: "connection", below, "{head}");
            }
            _ => tracing::warn!(target: "connection", below = %why, "{head}"),
        }
    }

    /// How a session names the connection, up to what it has to add.
    pub(super) fn label(&self) -> String {
        format!("connection {} ({}", self.process, self.about())
    }

    fn about(&self) -> String {
        let vhost = self.vhost.as_ref().map(|vhost| format!(", vhost: '{vhost}'")).unwrap_or_default();
        let user = self.user.as_ref().map(|user| format!(", user: '{user}'")).unwrap_or_default();
        format!("{}{vhost}{user}", self.name)
    }

    fn duration(&self) -> String {
        told(self.began.elapsed())
    }
}

/// A time as RabbitMQ tells it: `43ms`, `10s`, `1M, 30s`, `2H, 0M, 5s`, `1D, 0H, 0M, 1s`.
fn told(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let (s, m, h) = (seconds % 60, minutes % 60, hours % 24);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{}ms", time.as_millis()),
        (0, 0, 0, _) => format!("{s}s"),
        (0, 0, ..) => format!("{m}M, {s}s"),
        (0, ..) => format!("{h}H, {m}M, {s}s"),
        _ => format!("{days}D, {h}H, {m}M, {s}s"),
    }
}

/// Octets as Erlang writes them: `<<"HELO\n">>`, or `<<1,2,3>>` where some cannot be printed.
fn erlang_binary(octets: &[u8]) -> String {
    let is_printable = |octet: &u8| matches!(octet, b'\n' | b'\r' | b'\t' | 0x1b | b' '..=b'~');
    if octets.iter().all(is_printable) {
        let text: String = octets.iter().map(|octet| char::from(*octet)).collect();
        let escaped =
            text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
        return format!("<<\"{}\">>", escaped.replace('\t', "\\t").replace('\u{1b}', "\\e"));
    }
    let numbers: Vec<_> = octets.iter().map(ToString::to_string).collect();
    format!("<<{}>>", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_rabbitmq_tells_them() {
        for (milliseconds, wanted) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1s"),
            (59_999, "59s"),
            (60_000, "1M, 0s"),
            (3_600_000, "1H, 0M, 0s"),
            (90_061_000, "1D, 1H, 1M, 1s"),
        ] {
            assert_eq!(told(Duration::from_millis(milliseconds)), wanted);
        }
    }

    #[test]
    fn octets_as_erlang_writes_them() {
        assert_eq!(erlang_binary(b"HELO\n\n\n\n"), r#"<<"HELO\n\n\n\n">>"#);
        assert_eq!(erlang_binary(b"a\"\\b"), r#"<<"a\"\\b">>"#);
        assert_eq!(erlang_binary(&[22, 3, 1, 0]), "<<22,3,1,0>>");
        assert_eq!(erlang_binary(b""), "<<\"\">>");
    }
}
