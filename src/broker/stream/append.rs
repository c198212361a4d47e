//! A message as it lies in a stream, and as it is delivered: with its offset, and what the way through AMQP 1.0 makes of
//! its properties in RabbitMQ.

use super::marks::About;
use super::{filter, publishers};
use crate::broker::effects::Effects;
use crate::broker::queue::dispatch::Accepted;
use crate::broker::vhost::Vhost;
use crate::broker::{Now, QueueId};
use crate::log::Position;
use crate::wire::content::Message;
use crate::wire::headers::put_name;
use crate::wire::properties::{self, DELIVERY_MODE, HEADERS, Malformed};
use crate::wire::table;

/// The header that says where a message lies.
pub const OFFSET: &[u8] = b"x-stream-offset";
/// A property that nothing else than AMQP 0-9-1 has.
const CLUSTER_ID: u16 = 1 << 2;

impl Vhost {
    /// Appends a message to a stream. Those who have read everything get it at once if it need not be on disk before.
    pub(in crate::broker) fn append_to_stream(
        &mut self,
        id: QueueId,
        message: &Message<'_>,
        now: Now,
        fx: &mut impl Effects,
    ) -> Accepted {
        let commit = self.commits.current();
        let Some(queue) = self.queues.get_mut(id) else { return Accepted::Done };
        queue.storage.used = true;
        let Some((stream, log)) = queue.stream_parts() else { return Accepted::Done };
        let mut raw = std::mem::take(&mut stream.scratch);
        raw.clear();
        let numbered = publishers::numbered(message.properties);
        // What the broker brings, such as dead letters, may come in any order.
        if self.is_publishing && numbered.is_some_and(|numbered| stream.publishers.has(&numbered)) {
            stream.publishers.dropped += 1;
            stream.scratch = raw;
            if stream.written.is_empty() {
                return Accepted::Done;
            }
            // It is as safe as the one before it, which may be on its way to the disk.
            self.commits.wait_for_current();
            return Accepted::Kept;
        }
        if put(message.properties, log.next(), &mut raw).is_err() {
            // It was checked when it came.
            raw.clear();
            raw.extend_from_slice(message.properties);
        }
        let label = filter::label(&raw);
        let record = Message { properties: &raw, ..*message };
        let (position, kept) = log.append_lasting(now, 0, label, &record);
        stream.scratch = raw;
        let mark = numbered.and_then(|numbered| {
            stream.publishers.note(&numbered, position);
            stream.publishers.begin(position)
        });
        let waits = stream.note_append(position + 1, commit.filter(|_| kept));
        let (is_dirty, forgotten) = (stream.publishers.is_dirty(), stream.publishers.take_forgotten());
        let (is_hungry, segments) = (!stream.hungry.is_empty(), log.segment_count());
        let rolled = segments != stream.segments;
        if rolled {
            self.retain_stream(id);
        }
        self.record_marks(id, mark.into_iter().collect());
        for name in forgotten {
            self.record_no_mark(id, About::Publisher, name);
        }
        if is_dirty || rolled {
            self.keep_soon(id);
        }
        if waits {
            self.writing_streams.push(id);
        }
        self.heed(id);
        if is_hungry {
            self.feed(id, fx);
        }
        kept.into()
    }
}

/// Appends a property list as it is delivered: with the offset among the headers, and a delivery mode in any case. Tables
/// and arrays stay only in headers that begin with `x-` (and in `CC`).
pub fn put(raw: &[u8], offset: Position, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let found = properties::walk(raw)?;
    let flags = (properties::flags(raw) & !CLUSTER_ID & !3) | HEADERS | DELIVERY_MODE;
    let mode = if found.delivery_mode == Some(2) { 2 } else { 1 };
    out.extend_from_slice(&flags.to_be_bytes());
    let mut mode_is_due = true;
    properties::pieces(raw, |flag, piece| match flag {
        HEADERS => put_headers(found.headers.unwrap_or_default(), offset, out),
        CLUSTER_ID => {}
        _ => {
            // It comes right after the headers, which always come.
            if flag < HEADERS && std::mem::take(&mut mode_is_due) {
                out.push(mode);
            }
            if flag != DELIVERY_MODE {
                out.extend_from_slice(piece);
            }
        }
    })?;
    if mode_is_due {
        out.push(mode);
    }
    Ok(())
}

fn put_headers(fields: &[u8], offset: Position, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    for (name, value) in table::raw_fields(fields).map_while(Result::ok) {
        let nested = matches!(value.first(), Some(b'F' | b'A'));
        if name == OFFSET || (nested && !name.starts_with(b"x-") && name != b"CC") {
            continue;
        }
        put_name(out, name);
        let at = out.len();
        out.extend_from_slice(value);
        if value.first() == Some(&b'x') {
            out[at] = b'S';
        }
    }
    put_name(out, OFFSET);
    out.push(b'l');
    out.extend_from_slice(&offset.to_be_bytes());
    let size = (out.len() - begin - 4) as u32;
    out[begin..begin + 4].copy_from_slice(&size.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::compose::Table;

    fn headers(offset: i64) -> Vec<u8> {
        let mut table = Table::default();
        table.long_int("x-stream-offset", offset);
        [&(table.octets().len() as u32).to_be_bytes(), table.octets()].concat()
    }

    fn put_all(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(raw, 7, &mut out).expect("well formed");
        properties::check(&out).expect("well formed");
        out
    }

    #[test]
    fn every_list_gets_an_offset_and_a_mode() {
        for (raw, mode) in [(&[0, 0][..], 1), (&[0x10, 0, 2], 2), (&[0x10, 0, 0], 1), (&[0x10, 0, 9], 1)] {
            assert_eq!(put_all(raw), [&[0x30, 0][..], &headers(7), &[mode]].concat());
        }
        // A priority and nothing else; the mode goes before it.
        assert_eq!(put_all(&[0x08, 0, 5]), [&[0x38, 0][..], &headers(7), &[1, 5]].concat());
        // A content type goes before the headers, and a cluster's name not at all.
        let raw = [&[0x90, 4][..], b"\x02ct", &[2], b"\x02cl"].concat();
        assert_eq!(put_all(&raw), [&[0xb0, 0][..], b"\x02ct", &headers(7), &[2]].concat());
    }

    #[test]
    fn nested_headers_stay_where_they_are_for_the_broker() {
        let mut nested = Table::default();
        nested.int("n", 1);
        let mut table = Table::default();
        table.table("mine", &nested).table("x-mine", &nested).text("x-stream-offset", "y").int("n", 5);
        let mut expected = Table::default();
        expected.table("x-mine", &nested).int("n", 5).long_int("x-stream-offset", 7);
        assert_eq!(put_all(&table.properties()), *expected.properties_with(DELIVERY_MODE, &[1]));
        let raw = b"\x20\0\0\0\0\x09\x02oox\0\0\0\x01!";
        assert_eq!(
            table::find(properties::walk(&put_all(raw)).expect("good").headers.expect("some"), b"oo")
                .expect("there")
                .kind,
            b'S'
        );
    }
}
