//! What an exchange of the type `x-recent-history` remembers, to replay it to whoever is bound to it later.

use std::collections::VecDeque;

use amq_protocol::types::FieldTable;

use super::arguments::{integer, show_erlang};
use crate::broker::post::Kept;
use crate::wire::content::Message;
use crate::wire::properties::{self, HEADERS};
use crate::wire::reply::Exception;
use crate::wire::table::{self, Value};

/// How many messages are remembered where the declaration does not say.
const LENGTH: usize = 20;

/// Octets that all histories of a vhost take at most; a history that would take more forgets its oldest messages.
pub const OCTETS_MAX: usize = 64 << 20;

/// The last messages of an exchange, the oldest first.
#[derive(Debug)]
pub struct History {
    length: usize,
    messages: VecDeque<Kept>,
    octets: usize,
}

/// Refuses a length that is none, in RabbitMQ's words.
pub fn check(arguments: &FieldTable) -> Result<(), Exception> {
    match arguments.inner().get("x-recent-history-length") {
        None => Ok(()),
        Some(value) if integer(value).is_some_and(|length| length > 0) => Ok(()),
        Some(other) => Err(Exception::precondition_failed(format!(
            "Invalid argument {}, 'x-recent-history-length' must be a positive integer",
            show_erlang(other)
        ))),
    }
}

impl History {
    /// Reads arguments that [`check`] has let through.
    pub fn new(arguments: &FieldTable) -> Self {
        let length = arguments.inner().get("x-recent-history-length").and_then(integer);
        let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(LENGTH);
        Self { length, messages: VecDeque::new(), octets: 0 }
    }

    /// Remembers a message, unless its publisher does not want that. `others` is what other histories take.
    pub fn note(&mut self, message: &Message<'_>, others: usize) {
        let headers = properties::find(message.properties, HEADERS).unwrap_or_default();
        let no_store = table::find(headers, b"x-recent-history-no-store").map(|field| field.value());
        if no_store == Some(Value::Bool(true)) {
            return;
        }
        let message = Kept::of(message);
        self.octets += message.octets();
        self.messages.push_back(message);
        while self.messages.len() > self.length || self.octets + others > OCTETS_MAX {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.octets -= oldest.octets();
        }
    }

    pub fn messages(&self) -> impl Iterator<Item = &Kept> {
        self.messages.iter()
    }

    /// How much it takes.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::content::Body;
    use amq_protocol::types::AMQPValue;

    fn history(length: i64) -> History {
        let mut arguments = FieldTable::default();
        arguments.insert("x-recent-history-length".into(), AMQPValue::LongLongInt(length));
        check(&arguments).expect("a length");
        History::new(&arguments)
    }

    fn message<'a>(properties: &'a [u8], body: &'a [u8]) -> Message<'a> {
        Message { exchange: b"x", routing_key: b"k", properties, body: Body::Inline(body) }
    }

    fn bodies(history: &History) -> Vec<Vec<u8>> {
        history.messages().map(|kept| kept.message().body.octets().to_vec()).collect()
    }

    #[test]
    fn the_last_ones_are_remembered_but_for_those_that_do_not_want_it() {
        let mut history = history(2);
        let no_store = |value: &[u8]| {
            let table = [b"\x19x-recent-history-no-store", value].concat();
            [&[0x20, 0][..], &(table.len() as u32).to_be_bytes(), &table].concat()
        };
        history.note(&message(&[0, 0], b"1"), 0);
        history.note(&message(&no_store(b"t\x00"), b"2"), 0);
        history.note(&message(&no_store(b"S\0\0\0\x04true"), b"3"), 0);
        history.note(&message(&no_store(b"t\x01"), b"4"), 0);
        assert_eq!(bodies(&history), [b"2", b"3"]);
    }

    #[test]
    fn what_is_remembered_is_bounded_whatever_the_length() {
        let mut history = history(i64::MAX);
        let body = vec![0; 1 << 20];
        for _ in 0..100 {
            history.note(&message(&[0, 0], &body), 0);
        }
        assert!(history.octets() <= OCTETS_MAX && bodies(&history).len() > 60);
        history.note(&message(&[0, 0], b"small"), OCTETS_MAX);
        assert_eq!((bodies(&history).len(), history.octets()), (0, 0));
    }

    #[test]
    fn lengths_as_rabbitmq_reads_them() {
        for (value, shown) in [
            (AMQPValue::LongInt(0), "0"),
            (AMQPValue::LongInt(-1), "-1"),
            (AMQPValue::LongString("5".into()), "<<\"5\">>"),
            (AMQPValue::Double(5.5), "5.5"),
            (AMQPValue::Void, "undefined"),
        ] {
            let mut arguments = FieldTable::default();
            arguments.insert("x-recent-history-length".into(), value);
            let text =
                format!("Invalid argument {shown}, 'x-recent-history-length' must be a positive integer");
            assert_eq!(check(&arguments).map_err(|e| e.explanation), Err(text));
        }
    }
}
