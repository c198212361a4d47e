//! Which messages a consumer of a stream wants: those with certain filter values, evaluated here, so that it gets no
//! others.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::broker::chance::stable_hash;
use crate::log::labels::Wanted;
use crate::wire::properties::{self, HEADERS};
use crate::wire::reply::Exception;
use crate::wire::table;

/// Of more values than these nearly every chunk may have one, and asking for each would take long.
const WANTED_MAX: usize = 64;
const VALUE: &[u8] = b"x-stream-filter-value";

/// The filter of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// In order, since there may be many. Without empty ones, which stand for messages without a value.
    values: Vec<Box<[u8]>>,
    /// The same for those that skip whole chunks.
    wanted: Wanted,
}

impl Filter {
    /// Reads the arguments. As in RabbitMQ, what is neither a text nor an array of some is no filter, and an array without
    /// any text is answered with 541.
    pub fn of(arguments: &FieldTable) -> Result<Option<Self>, Exception> {
        let mut values: Vec<Box<[u8]>> = match arguments.inner().get("x-stream-filter") {
            Some(AMQPValue::LongString(text)) => vec![text.as_bytes().into()],
            Some(AMQPValue::FieldArray(all)) => all.as_slice().iter().filter_map(long_text).collect(),
            _ => return Ok(None),
        };
        if values.is_empty() {
            return Err(Exception::internal_error(""));
        }
        let unfiltered =
            arguments.inner().get("x-stream-match-unfiltered") == Some(&AMQPValue::Boolean(true));
        let bare = unfiltered || values.iter().any(|value| value.is_empty());
        values.retain(|value| !value.is_empty());
        values.sort_unstable();
        values.dedup();
        let labels = values.iter().map(|value| stable_hash(value)).collect();
        Ok(Some(Self { values, wanted: Wanted { bare, labels } }))
    }

    /// What chunks that are to be read may have, if there are few enough values to tell.
    pub fn wanted(&self) -> Option<&Wanted> {
        Some(&self.wanted).filter(|wanted| wanted.labels.len() <= WANTED_MAX)
    }

    /// Whether it lets a message with these properties through.
    pub fn lets_in(&self, raw: &[u8]) -> bool {
        match value(raw) {
            Some(value) => self.values.binary_search_by(|wanted| (**wanted).cmp(value)).is_ok(),
            None => self.wanted.bare,
        }
    }
}

fn long_text(value: &AMQPValue) -> Option<Box<[u8]>> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes().into()),
        _ => None,
    }
}

/// The filter value of a message, if it has one; an empty one is none.
fn value(raw: &[u8]) -> Option<&[u8]> {
    let field = table::find(properties::find(raw, HEADERS)?, VALUE)?;
    Some(field.octets).filter(|octets| field.kind == b'S' && !octets.is_empty())
}

/// What a message is labelled with in its log.
pub fn label(raw: &[u8]) -> Option<u64> {
    value(raw).map(stable_hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::compose::Table;

    #[test]
    fn many_values_in_any_order() {
        let text = |value: &str| AMQPValue::LongString(value.into());
        let values: Vec<_> = ["n", "b", "", "z", "b", "a"].map(text).into();
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-filter".into(), AMQPValue::FieldArray(values.into()));
        let filter = Filter::of(&arguments).expect("good").expect("some");
        let lets_in =
            |value: &str| filter.lets_in(&Table::default().text("x-stream-filter-value", value).properties());
        assert_eq!(["a", "b", "n", "z", ""].map(lets_in), [true; 5]);
        assert_eq!(["aa", "c", "zz", "A"].map(lets_in), [false; 4]);
    }
}
