//! Why a command fails: what is written to standard error, and the exit status, which scripts look at.

use serde_json::Value;

use super::command::Tool;
use crate::cli::http::HttpError;

/// The exit statuses of RabbitMQ's tools, which are those of `sysexits.h` where they mean the same.
pub mod status {
    pub const USAGE: u8 = 64;
    /// What was given makes no sense, or is not there.
    pub const DATA: u8 = 65;
    pub const NO_USER: u8 = 67;
    pub const UNAVAILABLE: u8 = 69;
    pub const SOFTWARE: u8 = 70;
    pub const TEMPORARY: u8 = 75;
}

/// How a failure is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Under a line `Error:`.
    Titled,
    /// As it is.
    Bare,
    /// With the command line and how it should look.
    Misused,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub status: u8,
    text: String,
    form: Form,
    /// The same for programs, where there is something for them.
    pub value: Option<Value>,
}

impl Failure {
    pub fn new(status: u8, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), form: Form::Titled, value: None }
    }

    /// The node refused, or could not.
    pub fn refused(text: impl Into<String>) -> Self {
        Self::new(status::UNAVAILABLE, text)
    }

    /// Told without a title.
    pub fn bare(status: u8, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), form: Form::Bare, value: None }
    }

    /// The command line makes no sense.
    pub fn misused(text: impl Into<String>) -> Self {
        let text = format!("Error (argument validation): {}", text.into());
        Self { status: status::USAGE, text, form: Form::Misused, value: None }
    }

    /// An argument makes no sense.
    pub fn bad_argument(text: &str) -> Self {
        let text = if text.is_empty() { "Bad argument.".to_owned() } else { format!("Bad argument: {text}") };
        Self { status: status::DATA, ..Self::misused(text) }
    }

    /// This is not the time for the command.
    pub fn untimely(text: impl Into<String>) -> Self {
        let text = format!("Error: {}", text.into());
        Self { status: status::USAGE, text, form: Form::Misused, value: None }
    }

    /// The same with something said first.
    pub fn after(self, first: &str) -> Self {
        Self { text: format!("{first}{}", self.text), ..self }
    }

    /// The same with an empty line at its end, which some have.
    pub fn and_a_line(self) -> Self {
        Self { text: self.text + "\n", ..self }
    }

    /// The same with what programs get that have asked for JSON.
    pub fn or_value(self, value: Value) -> Self {
        Self { value: Some(value), ..self }
    }

    pub fn no_vhost(name: &str) -> Self {
        Self::bare(status::DATA, format!("Virtual host '{name}' does not exist"))
    }

    /// The whole text, for a command that was called like this.
    pub fn told(&self, arguments: &str, tool: Tool, command: Option<(&str, &str)>) -> String {
        match (&self.form, command) {
            (Form::Titled, _) => format!("Error:\n{}", self.text),
            (Form::Misused, Some((name, usage))) => {
                let usage = if usage.is_empty() { String::new() } else { format!(" {usage}") };
                format!(
                    "{}\nArguments given:\n\t{arguments}\n\nUsage\n\n{} [--node <node>] [--longnames] [--quiet] \
                     {name}{usage}",
                    self.text,
                    tool.name(),
                )
            }
            (Form::Bare | Form::Misused, _) => self.text.clone(),
        }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::TimedOut(patience) => Self::bare(
                status::TEMPORARY,
                format!("Error: operation timed out. Timeout value used: {}", patience.as_millis()),
            ),
            other => Self::bare(status::UNAVAILABLE, format!("Error: {other}")),
        }
    }
}
