//! Where a consumer wants to begin: `x-stream-offset`.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::Stream;
use crate::broker::Now;
use crate::broker::exchange::arguments::integer;
use crate::broker::queue::arguments::{age, text};
use crate::log::{Log, Position};
use crate::wire::frame::erlang_binary;
use crate::wire::reply::Exception;

const OFFSET: &str = "x-stream-offset";

/// A place in a stream, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    First,
    /// The beginning of what came last: a commit, of one message or more.
    Last,
    /// What is still to come.
    Next,
    Offset(Position),
    /// The first message that came at this time or later, in milliseconds since 1970; if there is none, the next one.
    Since(Now),
}

impl Start {
    /// Reads the argument, if there is one, and refuses what RabbitMQ refuses, some of it with the 541 of a crash.
    pub fn of(arguments: &FieldTable, now: Now, described: &str) -> Result<Option<Self>, Exception> {
        let Some(value) = arguments.inner().get(OFFSET) else { return Ok(None) };
        if let Some(number) = integer(value) {
            return Ok(Some(Self::Offset(Position::try_from(number).unwrap_or(0))));
        }
        let name = match value {
            AMQPValue::Timestamp(seconds) => return Ok(Some(Self::Since(seconds.saturating_mul(1000)))),
            AMQPValue::ByteArray(octets) => octets.as_slice(),
            other => text(other).ok_or_else(|| Exception::internal_error(""))?,
        };
        Ok(Some(match (name, age(name)) {
            (b"first", _) => Self::First,
            (b"last", _) => Self::Last,
            (b"next", _) => Self::Next,
            (_, Some(ago)) => Self::Since(now.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))),
            _ => {
                return Err(Exception::precondition_failed(format!(
                    "invalid arg '{OFFSET}' for {described}: {{invalid_stream_offset_arg,{{longstr,{}}}}}",
                    erlang_binary(name)
                )));
            }
        }))
    }

    /// The offset to begin with, and the time before which messages are to be passed over.
    pub fn locate(self, stream: &Stream, log: &Log) -> (Position, Option<Now>) {
        let at = match self {
            Self::First => log.first(),
            Self::Last => stream.last_batch,
            Self::Next => stream.committed,
            Self::Offset(offset) => offset,
            Self::Since(time) => {
                let last = stream.committed.checked_sub(1).and_then(|last| log.time_of(last));
                match log.near(time).filter(|_| last.is_some_and(|last| last >= time)) {
                    Some(near) => return (near, Some(time)),
                    None => stream.committed,
                }
            }
        };
        (at, None)
    }
}
