//! `rabbitmqadmin`: the management API on a command line, for whoever has a name and a password.
//!
//! There are two tools of that name. The older one, a script in Python, has `declare queue name=q durable=true`; the
//! newer one, which comes with RabbitMQ 4's images, `declare queue --name q --durable true` and `queues declare --name
//! q`. Both are understood, also mixed. What is printed is the older one's, which scripts read.
//!
//! - this file: options, and from there to the exit status
//! - [`line`][]: a command line, taken apart
//! - [`kinds`][]: what can be listed, declared and deleted
//! - [`verbs`][]: what is done
//! - [`print`][]: formats of lists

mod kinds;
pub mod line;
mod print;
mod verbs;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use crate::broker::compatibility::Compatibility;
use crate::cli::http::{Client, HttpError, Reply};
use crate::net::tls::ClientSettings;
use line::Line;

/// Why nothing is done, or not all. The exit status is always 1.
#[derive(Debug)]
pub enum Failure {
    /// The command line makes no sense.
    Misused(String),
    /// The node, or the way to it.
    Refused(String),
}

/// Runs the tool with what comes after its name.
pub fn run(arguments: &[String]) -> ExitCode {
    match attempt(arguments) {
        Ok(text) => {
            let mut out = io::stdout().lock();
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                // A reader that has gone has read enough.
                Err(e) if e.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            }
        }
        Err(failure) => {
            let text = match failure {
                Failure::Misused(text) => format!("\nERROR: {text}\n\nrabbitmqadmin --help for help\n"),
                Failure::Refused(text) => format!("*** {text}\n"),
            };
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(arguments: &[String]) -> Result<String, Failure> {
    let line = Line::parse(arguments)?;
    if line.flag("version") {
        return Ok(format!("rabbitmqadmin {}\n", Compatibility::default().version()));
    }
    if line.flag("help") || line.words.first().is_some_and(|word| word == "help") {
        return Ok(help());
    }
    let options = line::options(&line)?;
    verbs::perform(&line, &mut Api::new(options))
}

fn help() -> String {
    let mut text = "Usage\n=====\n  rabbitmqadmin [options] subcommand\n\nOptions\n=======\n".to_owned();
    for (option, about) in line::HELP {
        text.push_str(&format!("  {option:28} {about}\n"));
    }
    text.push_str("\nSubcommands\n===========\n");
    text + &verbs::help()
}

/// Where the node is, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub host: String,
    pub port: u16,
    /// How TLS is spoken, if it is.
    pub tls: Option<ClientSettings>,
    pub prefix: String,
    pub username: String,
    pub password: String,
    /// For all; `None` is all for lists, and `/` for everything else.
    pub vhost: Option<String>,
    pub timeout: Duration,
}

/// The node's API.
pub struct Api {
    pub options: Options,
    client: Option<Client>,
}

impl Api {
    fn new(options: Options) -> Self {
        Self { options, client: None }
    }

    /// The virtual host that something is declared in.
    pub fn vhost(&self) -> &str {
        self.options.vhost.as_deref().unwrap_or("/")
    }

    /// Sends a request, `path` being what comes after `/api`, and returns what is no refusal.
    pub fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        let path = format!("{}/api{path}", self.options.prefix);
        let reply = self.send(method, &path, body)?;
        match reply.status {
            status if status < 400 => Ok(reply),
            400 => Err(Failure::Refused(reply.reason())),
            401 => Err(Failure::Refused(format!("Access refused: {path}"))),
            404 => Err(Failure::Refused(format!("Not found: {path}"))),
            status => {
                let body = String::from_utf8_lossy(&reply.body).into_owned();
                Err(Failure::Refused(format!("Received response {status} for path {path}\n{body}")))
            }
        }
    }

    fn send(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        let Options { host, port, tls, username, password, timeout, .. } = &self.options;
        let failed = |e: HttpError| match e {
            HttpError::Connect(e) => Failure::Refused(format!("Could not connect: {e}")),
            HttpError::TimedOut(patience) => Failure::Refused(format!(
                "Timed out getting HTTP response (request timeout: {} seconds)",
                patience.as_secs()
            )),
            e @ (HttpError::Stranger(_) | HttpError::Tls(_)) => Failure::Refused(e.to_string()),
            HttpError::Lost(e) => Failure::Refused(format!("Error getting HTTP response:\n\n{e}")),
        };
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let tls = tls.as_ref().map(ClientSettings::load).transpose();
                let tls = tls.map_err(|e| Failure::Refused(format!("TLS: {e}")))?;
                let mut client = Client::over_tcp(host, *port, tls, *timeout).map_err(failed)?;
                client.log_in(username, password);
                none.insert(client)
            }
        };
        client.wait_for(Some(*timeout));
        client.request(method, path, body).map_err(failed)
    }
}
