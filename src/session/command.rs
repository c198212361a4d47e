//! A batch's commands. Those that come once a message hold offsets into the input they were parsed from.

use std::ops::Range;

use amq_protocol::protocol::AMQPClass;
use bytes::Bytes;

use crate::wire::content::{Body, Message};
use crate::wire::method::Publish;
use crate::wire::reply::{Exception, MethodId};

#[derive(Debug)]
pub enum Command {
    /// A message that lies whole in the input.
    Publish {
        channel: u16,
        publish: Publish,
        payload: Range<u32>,
        properties: Range<u32>,
        body: Range<u32>,
    },
    /// A `basic.get`. The queue's name lies in the input.
    Get {
        channel: u16,
        queue: Range<u32>,
        no_ack: bool,
    },
    /// A message put together from parts.
    Assembled {
        channel: u16,
        message: Box<Assembled>,
    },
    Ack {
        channel: u16,
        delivery_tag: u64,
        multiple: bool,
    },
    Nack {
        channel: u16,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    },
    Reject {
        channel: u16,
        delivery_tag: u64,
        requeue: bool,
    },
    /// A method that only a server sends.
    Foreign {
        channel: u16,
        id: MethodId,
    },
    /// Any other method.
    Method {
        channel: u16,
        id: MethodId,
        class: Box<AMQPClass>,
    },
    /// Input that ends the connection; nothing comes after it.
    Fault(Exception),
}

impl Command {
    /// The part of the input that it refers to.
    pub fn span(&self) -> Option<Range<u32>> {
        match self {
            Self::Publish { payload, properties, body, .. } => {
                Some(payload.start..body.end.max(properties.end))
            }
            Self::Get { queue, .. } if queue.start < queue.end => Some(queue.clone()),
            _ => None,
        }
    }

    /// Makes it refer to an input that lacks the first octets of its own.
    pub fn move_back(&mut self, octets: u32) {
        let move_back = |range: &mut Range<u32>| {
            // What is empty lies nowhere.
            let is_there = range.start < range.end;
            *range = if is_there { range.start - octets..range.end - octets } else { 0..0 };
        };
        match self {
            Self::Publish { payload, properties, body, .. } => {
                [payload, properties, body].into_iter().for_each(move_back);
            }
            Self::Get { queue, .. } => move_back(queue),
            _ => {}
        }
    }
}

/// A message that came in parts.
#[derive(Debug)]
pub struct Assembled {
    pub publish: Publish,
    /// The payload of the method frame.
    pub payload: Box<[u8]>,
    pub properties: Box<[u8]>,
    pub body: Bytes,
    /// The body's size as announced; `body` is empty if it is over the limit.
    pub size: u64,
}

/// A message to publish, wherever it lies.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    pub message: Message<'a>,
    /// Exchange and routing key, each with its length in front.
    pub names: &'a [u8],
    pub mandatory: bool,
    pub immediate: bool,
    /// Octets of the body as announced.
    pub size: u64,
}

impl<'a> Incoming<'a> {
    pub fn in_place(
        input: &'a [u8],
        publish: Publish,
        payload: &Range<u32>,
        properties: &Range<u32>,
        body: &Range<u32>,
    ) -> Self {
        let slice = |range: &Range<u32>| &input[range.start as usize..range.end as usize];
        let payload = slice(payload);
        let (exchange, routing_key) = publish.target(payload);
        let body = slice(body);
        Self {
            message: Message {
                exchange,
                routing_key,
                properties: slice(properties),
                body: Body::Inline(body),
            },
            names: publish.names(payload),
            mandatory: publish.mandatory,
            immediate: publish.immediate,
            size: body.len() as u64,
        }
    }

    pub fn assembled(from: &'a Assembled) -> Self {
        let (exchange, routing_key) = from.publish.target(&from.payload);
        Self {
            message: Message {
                exchange,
                routing_key,
                properties: &from.properties,
                body: Body::Shared(&from.body),
            },
            names: from.publish.names(&from.payload),
            mandatory: from.publish.mandatory,
            immediate: from.publish.immediate,
            size: from.size,
        }
    }
}
