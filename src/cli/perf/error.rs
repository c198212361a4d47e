//! What can go wrong during a load run.

use std::{io, path::PathBuf};

use super::{uri::UriError, wire::WireError};

/// Why a load run failed. Every variant displays as a single line.
#[derive(Debug, thiserror::Error)]
pub enum PerfError {
    /// The broker URI could not be understood.
    #[error("invalid --uri: {0}")]
    Uri(#[from] UriError),
    /// The arguments contradict each other or exceed a protocol limit.
    #[error("{0}")]
    Usage(String),
    /// No TCP connection to the broker could be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port that were tried.
        address: String,
        /// The last failure.
        source: io::Error,
    },
    /// Reading from or writing to the broker failed.
    #[error("connection to the broker failed: {0}")]
    Io(#[source] io::Error),
    /// The broker closed the TCP connection without an AMQP reason.
    #[error("the broker closed the TCP connection without giving a reason")]
    Hangup,
    /// The broker closed the connection or a channel with a reply code.
    #[error("the broker closed the {scope}: {code} {text}")]
    Closed {
        /// `connection` or `channel`.
        scope: &'static str,
        /// AMQP reply code, such as 404.
        code: u16,
        /// AMQP reply text.
        text: String,
    },
    /// The broker cancelled a consumer, usually because the queue is gone.
    #[error("the broker cancelled a consumer (was the queue deleted?)")]
    Cancelled,
    /// The broker sent something that is not AMQP 0-9-1, or not at this point.
    #[error("unexpected data from the broker: {0}")]
    Protocol(String),
    /// The broker did not answer in time.
    #[error("no answer from the broker to {0}")]
    Timeout(&'static str),
    /// The process given by `--broker-pid` cannot be observed.
    #[error("cannot read the resource use of process {pid}: {source}")]
    Process {
        /// Process id.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
    /// A folder or something in it cannot be read or written.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder that was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Nothing moves any more.
    #[error(
        "{phase}: nothing has moved for {seconds} s after {count} of {total} messages (is the broker out of memory or disk space?)"
    )]
    Stuck {
        /// What was being done.
        phase: &'static str,
        /// How long nothing has moved.
        seconds: u64,
        /// Messages so far.
        count: u64,
        /// Messages there were to be.
        total: u64,
    },
    /// The broker has not come back with its messages.
    #[error("not ready after {seconds} s: {last}")]
    NotReady {
        /// How long it had.
        seconds: u64,
        /// What the last attempt has found.
        last: String,
    },
    /// Of the loads that were to be compared, some have no figures.
    #[error("{failed} of {all} have failed, as the notes below the table say")]
    Compare {
        /// Loads that failed, counted for each broker.
        failed: usize,
        /// All loads, counted likewise.
        all: usize,
    },
    /// A worker thread could not be started or panicked.
    #[error("a worker thread failed: {0}")]
    Worker(String),
    /// The report could not be written.
    #[error("cannot write the report: {0}")]
    Output(#[source] io::Error),
}

impl From<WireError> for PerfError {
    fn from(error: WireError) -> Self {
        Self::Protocol(error.to_string())
    }
}
