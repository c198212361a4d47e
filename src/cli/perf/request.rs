//! Requests as bytes, for those that make many of them, and the ids of their answers.

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::{AMQPClass, BasicProperties, basic, queue},
    types::FieldTable,
};

use super::{
    conn::{self, CHANNEL},
    error::PerfError,
    pipeline::Id,
    queue::Kind,
    wire::{self, FRAME_OVERHEAD},
};

pub const DECLARE_OK: &[Id] = &[[0, 50, 0, 11]];
pub const BIND_OK: &[Id] = &[[0, 50, 0, 21]];
pub const DELETE_OK: &[Id] = &[[0, 50, 0, 41]];
pub const UNBIND_OK: &[Id] = &[[0, 50, 0, 51]];
pub const GET_OK: Id = [0, 60, 0, 71];
pub const GET_EMPTY: Id = [0, 60, 0, 72];
pub const GOT: &[Id] = &[GET_OK, GET_EMPTY];

/// `queue.declare`.
///
/// # Errors
///
/// When the name is too long, as for all of these.
pub fn declare(name: &str, kind: Kind) -> Result<Vec<u8>, PerfError> {
    encode(AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: conn::short(name)?,
        durable: kind.durable,
        auto_delete: kind.auto_delete,
        arguments: kind.arguments(),
        ..Default::default()
    })))
}

/// `queue.delete`.
///
/// # Errors
///
/// See [`declare`].
pub fn delete(name: &str) -> Result<Vec<u8>, PerfError> {
    let delete = queue::Delete { queue: conn::short(name)?, ..Default::default() };
    encode(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))
}

/// What a queue is bound by.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    pub routing_key: String,
    pub arguments: FieldTable,
}

/// `queue.bind`.
///
/// # Errors
///
/// See [`declare`].
pub fn bind(name: &str, exchange: &str, binding: &Binding) -> Result<Vec<u8>, PerfError> {
    encode(AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: conn::short(name)?,
        exchange: conn::short(exchange)?,
        routing_key: conn::short(&binding.routing_key)?,
        nowait: false,
        arguments: binding.arguments.clone(),
    })))
}

/// `queue.unbind`.
///
/// # Errors
///
/// See [`declare`].
pub fn unbind(name: &str, exchange: &str, binding: &Binding) -> Result<Vec<u8>, PerfError> {
    encode(AMQPClass::Queue(queue::AMQPMethod::Unbind(queue::Unbind {
        queue: conn::short(name)?,
        exchange: conn::short(exchange)?,
        routing_key: conn::short(&binding.routing_key)?,
        arguments: binding.arguments.clone(),
    })))
}

/// `basic.publish` to the default exchange, with what follows it.
///
/// # Errors
///
/// See [`declare`].
pub fn publish(queue: &str, content: &[u8]) -> Result<Vec<u8>, PerfError> {
    let publish = basic::Publish { routing_key: conn::short(queue)?, ..Default::default() };
    let mut bytes = encode(AMQPClass::Basic(basic::AMQPMethod::Publish(publish)))?;
    bytes.extend(content);
    Ok(bytes)
}

/// Header and body of a message of so many bytes, in frames of at most `frame_max` bytes.
///
/// # Errors
///
/// Never in practice.
pub fn content(size: u32, persistent: bool, frame_max: u32) -> Result<Vec<u8>, PerfError> {
    let properties = BasicProperties::default();
    let properties = if persistent { properties.with_delivery_mode(2) } else { properties };
    let header = AMQPContentHeader { class_id: 60, body_size: size.into(), properties };
    let mut bytes = wire::encode(&AMQPFrame::Header(CHANNEL, header))?;
    for chunk in vec![0; size as usize].chunks(frame_max as usize - FRAME_OVERHEAD) {
        bytes.extend(wire::encode(&AMQPFrame::Body(CHANNEL, chunk.to_vec()))?);
    }
    Ok(bytes)
}

/// `basic.get` of a message that need not be acknowledged.
///
/// # Errors
///
/// See [`declare`].
pub fn get(name: &str) -> Result<Vec<u8>, PerfError> {
    let get = basic::Get { queue: conn::short(name)?, no_ack: true };
    encode(AMQPClass::Basic(basic::AMQPMethod::Get(get)))
}

fn encode(method: AMQPClass) -> Result<Vec<u8>, PerfError> {
    Ok(wire::encode(&AMQPFrame::Method(CHANNEL, method))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { durable: true, auto_delete: false, queue_type: None };

    fn parsed(bytes: &[u8]) -> AMQPClass {
        assert_eq!((bytes[0], bytes[1], bytes[2]), (wire::METHOD, 0, 1), "a method on the only channel");
        conn::parse_method(&bytes[7..bytes.len() - 1]).unwrap()
    }

    #[test]
    fn requests_say_what_they_are_asked_to() {
        let AMQPClass::Queue(queue::AMQPMethod::Declare(declare)) = parsed(&declare("q", KIND).unwrap())
        else {
            panic!("no declaration");
        };
        assert_eq!((declare.queue.as_str(), declare.durable, declare.nowait), ("q", true, false));
        let binding = Binding { routing_key: "key".to_owned(), arguments: FieldTable::default() };
        let AMQPClass::Queue(queue::AMQPMethod::Bind(bound)) = parsed(&bind("q", "e", &binding).unwrap())
        else {
            panic!("no binding");
        };
        let AMQPClass::Queue(queue::AMQPMethod::Unbind(unbound)) =
            parsed(&unbind("q", "e", &binding).unwrap())
        else {
            panic!("no unbinding");
        };
        assert_eq!(
            (bound.queue, bound.exchange, bound.routing_key),
            (unbound.queue, unbound.exchange, unbound.routing_key)
        );
        let long = "n".repeat(256);
        assert!(delete(&long).is_err() && get(&long).is_err() && super::declare(&long, KIND).is_err());
    }

    #[test]
    fn content_is_cut_into_frames() {
        let content = content(5000, true, 4096).unwrap();
        let header = content.iter().position(|&octet| octet == wire::FRAME_END).unwrap() + 1;
        assert_eq!(content.len(), header + 5000 + 2 * FRAME_OVERHEAD);
        assert_eq!(super::content(0, false, 4096).unwrap()[0], wire::HEADER);
        let whole = publish("q", &content).unwrap();
        assert!(whole.ends_with(&content) && whole[0] == wire::METHOD);
    }

    #[test]
    fn answers_have_the_ids_of_the_specification() {
        use amq_protocol::protocol::AMQPClass::{Basic, Queue};
        let id = |answer: AMQPClass| {
            let bytes = wire::encode(&AMQPFrame::Method(1, answer)).unwrap();
            *bytes[7..].first_chunk::<4>().unwrap()
        };
        assert_eq!(DECLARE_OK, [id(Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk::default())))]);
        assert_eq!(BIND_OK, [id(Queue(queue::AMQPMethod::BindOk(queue::BindOk {})))]);
        assert_eq!(DELETE_OK, [id(Queue(queue::AMQPMethod::DeleteOk(queue::DeleteOk::default())))]);
        assert_eq!(UNBIND_OK, [id(Queue(queue::AMQPMethod::UnbindOk(queue::UnbindOk {})))]);
        assert_eq!(GET_OK, id(Basic(basic::AMQPMethod::GetOk(basic::GetOk::default()))));
        assert_eq!(GET_EMPTY, id(Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {}))));
    }
}
