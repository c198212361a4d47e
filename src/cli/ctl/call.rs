//! A command that is being run: its arguments, what it asks of the node, and what it says meanwhile.

use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::command::Tool;
use super::failure::{Failure, status};
use super::find::{self, Tried};
use super::line::Line;
use super::output::{self, Format, Output, Style};
use crate::cli::http::{Client, Reply};
use crate::node::NODE_NAME;

pub struct Call {
    /// The program that was called.
    pub tool: Tool,
    pub line: Line,
    /// Without the command's name.
    pub arguments: Vec<String>,
    style: Style,
    client: Option<Client>,
}

impl Call {
    pub fn new(tool: Tool, mut line: Line, style: Style) -> Self {
        let arguments = line.words.split_off(line.words.len().min(1));
        Self { tool, line, arguments, style, client: None }
    }

    /// An argument; the number of them has been checked.
    pub fn argument(&self, n: usize) -> &str {
        self.arguments.get(n).map_or("", String::as_str)
    }

    pub fn vhost(&self) -> String {
        self.line.vhost().to_owned()
    }

    /// The node, as whoever calls names it.
    pub fn node(&self) -> String {
        let named = self.line.text("node").map(str::to_owned);
        let named = named.or_else(|| std::env::var("RABBITMQ_NODENAME").ok().filter(|name| !name.is_empty()));
        match named {
            Some(name) if name.contains('@') => name,
            Some(name) => {
                format!("{name}@{}", NODE_NAME.split_once('@').map_or("localhost", |(_, host)| host))
            }
            None => NODE_NAME.to_owned(),
        }
    }

    /// How long the whole may take, as far as somebody has said so.
    pub fn timeout(&self) -> Option<Duration> {
        let seconds: f64 = self.line.text("timeout")?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Says how long it may take where nobody has: RabbitMQ's tools give some commands a minute.
    pub fn take_at_most_a_minute(&mut self) {
        if self.line.text("timeout").is_none() {
            self.line.set("timeout", "60");
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.line.flag("quiet") || self.line.flag("silent")
    }

    /// Whether nothing but the result is to be said.
    pub fn is_for_programs(&self) -> bool {
        self.style.format.is_some_and(Format::is_for_programs)
    }

    pub fn is_json(&self) -> bool {
        self.style.format == Some(Format::Json)
    }

    /// Says what is being done, unless it is to be quiet.
    pub fn banner(&self, text: &str) {
        if !self.is_quiet() && !self.is_for_programs() {
            self.say(text);
        }
    }

    /// Says something. Where nobody listens, the exit status says the rest.
    pub fn say(&self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// Says on standard error what is not as it should be, and no reason to fail.
    pub fn warn(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Prints a result before there is another one.
    pub fn print(&self, output: &Output) {
        let mut out = io::stdout().lock();
        let _ = output::print(&mut out, output, self.style).and_then(|()| out.flush());
    }

    /// Reads a line from standard input, for what should not stand on a command line.
    pub fn ask_for(&self, what: &str) -> Result<String, Failure> {
        if !self.is_quiet() {
            self.say(what);
        }
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        read.map_err(|e| Failure::new(status::DATA, format!("standard input cannot be read: {e}")))?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The connection to the node, made when it is needed first.
    pub fn client(&mut self) -> Result<&mut Client, Failure> {
        let timeout = self.timeout();
        if self.client.is_none() {
            let mut client = find::connect(&self.line).map_err(|tried| self.no_node(&tried))?;
            client.wait_for(timeout);
            self.client = Some(client);
        }
        self.client.as_mut().ok_or_else(|| Failure::refused("no connection"))
    }

    /// Forgets the connection, so that the next request makes another one.
    pub fn disconnect(&mut self) {
        self.client = None;
    }

    fn no_node(&self, tried: &[Tried]) -> Failure {
        let node = self.node();
        let tried: Vec<_> =
            tried.iter().map(|(path, why)| format!("  * {}: {why}", path.display())).collect();
        let text = format!(
            "Error: unable to perform an operation on node '{node}'. Please see diagnostics information and \
             suggestions below.\n\n\
             Most common reasons for this are:\n\n \
             * Target node is not running\n \
             * It keeps its data elsewhere: name its socket with --socket or LEVERET_SOCKET, or its folder with \
             --data-dir\n \
             * Its socket is for the user that it runs as, and for root\n\n\
             DIAGNOSTICS\n===========\n\n\
             attempted to open the control socket of {node}:\n{}\n",
            tried.join("\n")
        );
        Failure::bare(status::UNAVAILABLE, text)
    }

    /// Sends a request, and returns whatever comes back.
    pub fn send(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        Ok(self.client()?.request(method, path, body)?)
    }

    /// Sends a request that is to succeed.
    pub fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        let reply = self.send(method, path, body)?;
        if reply.is_success() {
            return Ok(reply);
        }
        Err(refusal(&reply))
    }

    pub fn get(&mut self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None).map(|reply| reply.json())
    }

    /// The same where it may not be there.
    pub fn find(&mut self, path: &str) -> Result<Option<Value>, Failure> {
        let reply = self.send(Method::GET, path, None)?;
        match reply.status {
            404 => Ok(None),
            _ if reply.is_success() => Ok(Some(reply.json())),
            _ => Err(refusal(&reply)),
        }
    }

    pub fn put(&mut self, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.ask(Method::PUT, path, Some(body))
    }

    /// Deletes something, and says whether it was there.
    pub fn delete(&mut self, path: &str) -> Result<bool, Failure> {
        let reply = self.send(Method::DELETE, path, None)?;
        match reply.status {
            404 => Ok(false),
            _ if reply.is_success() => Ok(true),
            _ => Err(refusal(&reply)),
        }
    }
}

/// What the API says of a request that it refuses, as the tools say it.
pub fn refusal(reply: &Reply) -> Failure {
    let status = if reply.status >= 500 { status::SOFTWARE } else { status::UNAVAILABLE };
    Failure::new(status, reply.reason())
}
