//! From octets to commands: frames are parsed in place, content is put together.
//!
//! A message whose frames lie one after the other in the input, with its body in one frame, becomes a command
//! without being copied; a method whose content has not arrived waits for it in the input. Everything else is
//! gathered channel by channel. Errors are RabbitMQ's, and all of them end the connection.

use std::collections::HashSet;

use amq_protocol::protocol::{AMQPClass, channel};
use bytes::Bytes;

use super::command::{Assembled, Command};
use super::run::not_open;
use crate::broker::Map;
use crate::wire::content::{self, BASIC, HEADER_FIXED};
use crate::wire::frame::{self, BODY, Frame, HEADER, HEARTBEAT, METHOD, OVERHEAD};
use crate::wire::method::{self, Method, Publish};
use crate::wire::reply::Exception;

/// A body announced larger than this ends the connection, whatever the configured limit (RabbitMQ's maximum).
const ANNOUNCED_MAX: u64 = 512 << 20;

/// A batch has at most this many `basic.get`s: each may be answered by a message a million times its size, and what
/// is answered has to be written before more is asked for.
const GETS_MAX: usize = 32;

/// Bodies on their way on one connection may have so many octets together. Thirty-two messages of the default
/// limit, on as many channels at once.
const GATHERED_MAX: u64 = 512 << 20;
/// A growing body gets room for at least so many octets more.
const GROWTH: usize = 128 << 10;

/// Content on its way.
#[derive(Debug)]
enum Partial {
    /// A `basic.publish` that waits for its header.
    Method { publish: Publish, payload: Box<[u8]> },
    /// ... for `missing` more octets of its body.
    Body { assembled: Box<Assembled>, body: Vec<u8>, missing: u64 },
}

#[derive(Debug)]
pub struct Assembler {
    frame_max: usize,
    message_size_max: u64,
    partials: Map<u16, Partial>,
    /// Channels that have been opened.
    opened: HashSet<u16, foldhash::fast::RandomState>,
    /// Octets of bodies in `partials`.
    gathered: u64,
    /// Input that ends the connection has come; of what follows, only the closing is of interest.
    ended: bool,
    /// It is no longer known where frames begin.
    broken: bool,
    /// `basic.get`s of the current batch.
    gets: usize,
    /// Whether there is content in the current batch.
    content: bool,
    /// Whether no message is to be begun.
    blocking: bool,
}

/// How far the input has been parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub octets: usize,
    /// Whether there may be more to parse before more is read.
    pub more: bool,
    /// Whether there was a message in it, or a part of one.
    pub content: bool,
    /// Whether it stopped before a message, since none are to be taken.
    pub blocked: bool,
}

/// What to do after a frame.
enum Step {
    /// Go on at this offset.
    On(usize),
    /// Go on when more has arrived.
    Wait,
    /// Go on when messages are taken again.
    Block,
}

impl Assembler {
    pub fn new(frame_max: usize, message_size_max: u64) -> Self {
        Self {
            frame_max,
            message_size_max,
            partials: Map::default(),
            opened: HashSet::default(),
            gathered: 0,
            ended: false,
            broken: false,
            gets: 0,
            content: false,
            blocking: false,
        }
    }

    /// From now on no message is begun, or they are taken again.
    pub fn block(&mut self, blocking: bool) {
        self.blocking = blocking;
    }

    /// Turns every whole frame into commands, up to [`GETS_MAX`] of one kind.
    pub fn parse(&mut self, input: &[u8], batch: &mut Vec<Command>) -> Parsed {
        let mut at = 0;
        (self.gets, self.content) = (0, false);
        while !self.broken {
            if self.gets == GETS_MAX {
                return self.parsed(at, true, false);
            }
            let step = match frame::at(input, at, self.frame_max) {
                Ok(None) => Step::Wait,
                Ok(Some(frame)) if self.ended => {
                    take_closing(frame, frame.payload(input), batch);
                    Step::On(frame.next())
                }
                Ok(Some(frame)) => self.take(input, at, frame, batch).unwrap_or_else(|e| {
                    self.end(e, batch);
                    Step::On(frame.next())
                }),
                Err(e) => {
                    self.broken = true;
                    self.end(e, batch);
                    break;
                }
            };
            match step {
                Step::On(next) => at = next,
                Step::Wait => return self.parsed(at, false, false),
                Step::Block => return self.parsed(at, true, true),
            }
        }
        self.parsed(input.len(), false, false)
    }

    fn parsed(&self, octets: usize, more: bool, blocked: bool) -> Parsed {
        Parsed { octets, more, content: self.content, blocked }
    }

    /// Whether nothing more can be understood, not even the answer to a close.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    fn end(&mut self, exception: Exception, batch: &mut Vec<Command>) {
        self.ended = true;
        self.partials.clear();
        self.gathered = 0;
        batch.push(Command::Fault(exception));
    }

    fn take(
        &mut self,
        input: &[u8],
        at: usize,
        frame: Frame,
        batch: &mut Vec<Command>,
    ) -> Result<Step, Exception> {
        let payload = frame.payload(input);
        match frame.kind {
            METHOD | HEADER | BODY => {}
            HEARTBEAT if payload.is_empty() && frame.channel == 0 => return Ok(Step::On(frame.next())),
            HEARTBEAT if payload.is_empty() => return Err(frame::unexpected(HEARTBEAT, payload)),
            kind => return Err(frame::fault(kind, payload, "unknown_frame")),
        }
        if frame.kind == HEADER && payload.len() < HEADER_FIXED {
            return Err(frame::fault(HEADER, payload, "unknown_frame"));
        }
        if !self.partials.is_empty() && frame.channel != 0 {
            if let Some(partial) = self.partials.remove(&frame.channel) {
                self.content = true;
                self.go_on(partial, frame, payload, batch)?;
                return Ok(Step::On(frame.next()));
            }
        }
        match frame.kind {
            METHOD => self.method(input, at, frame, batch),
            kind if frame.channel == 0 => Err(frame::unexpected(kind, payload)),
            _ => Err(Exception::unexpected_frame("expected method frame, got non method frame instead")),
        }
    }

    fn method(
        &mut self,
        input: &[u8],
        at: usize,
        frame: Frame,
        batch: &mut Vec<Command>,
    ) -> Result<Step, Exception> {
        let payload = frame.payload(input);
        let channel = frame.channel;
        let command = match method::decode(channel, payload)? {
            Method::Publish(_) if channel != 0 && self.blocking => return Ok(Step::Block),
            Method::Publish(publish) if channel != 0 => {
                return self.publish(input, at, frame, publish, batch);
            }
            Method::Get(get) if channel != 0 => {
                self.gets += 1;
                let queue = get.queue();
                let queue = (frame.start + queue.start) as u32..(frame.start + queue.end) as u32;
                Command::Get { channel, queue, no_ack: get.no_ack }
            }
            Method::Ack { delivery_tag, multiple } if channel != 0 => {
                Command::Ack { channel, delivery_tag, multiple }
            }
            Method::Nack { delivery_tag, multiple, requeue } if channel != 0 => {
                Command::Nack { channel, delivery_tag, multiple, requeue }
            }
            Method::Reject { delivery_tag, requeue } if channel != 0 => {
                Command::Reject { channel, delivery_tag, requeue }
            }
            Method::Foreign if channel != 0 => {
                Command::Foreign { channel, id: method::id(payload).unwrap_or_default() }
            }
            Method::Other(class) => {
                self.note(channel, &class);
                Command::Method { channel, id: method::id(payload).unwrap_or_default(), class }
            }
            _ => {
                let id = method::id(payload).unwrap_or_default();
                let e = Exception::channel_error("unexpected method in connection state running");
                return Err(e.caused_by(id));
            }
        };
        batch.push(command);
        Ok(Step::On(frame.next()))
    }

    /// Keeps account of which channels there are, since content is gathered for these only.
    fn note(&mut self, channel: u16, class: &AMQPClass) {
        match class {
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                self.opened.insert(channel);
            }
            AMQPClass::Channel(channel::AMQPMethod::Close(_) | channel::AMQPMethod::CloseOk(_)) => {
                self.opened.remove(&channel);
            }
            _ => {}
        }
    }

    /// A `basic.publish`: taken in place if its content follows at once, else begun in parts.
    fn publish(
        &mut self,
        input: &[u8],
        at: usize,
        frame: Frame,
        publish: Publish,
        batch: &mut Vec<Command>,
    ) -> Result<Step, Exception> {
        match self.in_place(input, &frame, publish)? {
            InPlace::Whole(command, next) => {
                self.content = true;
                batch.push(command);
                Ok(Step::On(next))
            }
            InPlace::Unfinished => {
                debug_assert!(at < frame.start);
                Ok(Step::Wait)
            }
            InPlace::No if !self.opened.contains(&frame.channel) => Err(not_open().caused_by(Publish::ID)),
            InPlace::No => {
                self.content = true;
                let payload = frame.payload(input).into();
                self.partials.insert(frame.channel, Partial::Method { publish, payload });
                Ok(Step::On(frame.next()))
            }
        }
    }

    fn in_place(&self, input: &[u8], method: &Frame, publish: Publish) -> Result<InPlace, Exception> {
        let Some(header) = frame::at(input, method.next(), self.frame_max)? else {
            return Ok(InPlace::Unfinished);
        };
        if header.kind != HEADER || header.channel != method.channel {
            return Ok(InPlace::No);
        }
        let size = match content::header(header.payload(input)) {
            Some(found) if found.class == BASIC && weight(header.payload(input)) == 0 => found.body_size,
            _ => return Ok(InPlace::No),
        };
        if size > (self.frame_max - OVERHEAD) as u64 || size > self.message_size_max {
            return Ok(InPlace::No);
        }
        let range = |start: usize, end: usize| start as u32..end as u32;
        let (body, next) = if size == 0 {
            (0..0, header.next())
        } else {
            match frame::at(input, header.next(), self.frame_max)? {
                None => return Ok(InPlace::Unfinished),
                Some(body)
                    if body.kind == BODY
                        && body.channel == method.channel
                        && (body.end - body.start) as u64 == size =>
                {
                    (range(body.start, body.end), body.next())
                }
                Some(_) => return Ok(InPlace::No),
            }
        };
        let command = Command::Publish {
            channel: method.channel,
            publish,
            payload: range(method.start, method.end),
            properties: range(header.start + HEADER_FIXED, header.end),
            body,
        };
        Ok(InPlace::Whole(command, next))
    }

    /// The next frame of a channel whose content is on its way.
    fn go_on(
        &mut self,
        partial: Partial,
        frame: Frame,
        payload: &[u8],
        batch: &mut Vec<Command>,
    ) -> Result<(), Exception> {
        let (assembled, body, missing) = match partial {
            Partial::Method { publish, payload: method } => self.header(publish, method, frame, payload)?,
            Partial::Body { assembled, mut body, missing } => {
                if frame.kind != BODY {
                    let text = "expected content body, got non content body frame instead";
                    return Err(Exception::unexpected_frame(text).caused_by(Publish::ID));
                }
                let Some(missing) = missing.checked_sub(payload.len() as u64) else {
                    let text = "content body frame exceeds remaining content size";
                    return Err(Exception::frame_error(text).caused_by(Publish::ID));
                };
                // A body over the limit is counted and not kept.
                if assembled.size <= self.message_size_max {
                    self.gather(payload, &mut body, missing)?;
                }
                (assembled, body, missing)
            }
        };
        if missing > 0 {
            self.partials.insert(frame.channel, Partial::Body { assembled, body, missing });
            return Ok(());
        }
        self.gathered -= body.len() as u64;
        let mut message = assembled;
        message.body = body.into();
        batch.push(Command::Assembled { channel: frame.channel, message });
        Ok(())
    }

    /// Adds a frame's octets to a body, of which `missing` are yet to come after them. Room grows with what
    /// arrives, not with what is announced, and ends up exact.
    fn gather(&mut self, payload: &[u8], body: &mut Vec<u8>, missing: u64) -> Result<(), Exception> {
        self.gathered += payload.len() as u64;
        if self.gathered > GATHERED_MAX.max(self.message_size_max) {
            return Err(Exception::resource_error("too much content on its way on one connection"));
        }
        if body.capacity() - body.len() < payload.len() {
            let wanted =
                (payload.len() as u64 + missing).min(payload.len().max(body.len()).max(GROWTH) as u64);
            body.reserve_exact(wanted as usize);
        }
        body.extend_from_slice(payload);
        Ok(())
    }

    fn header(
        &self,
        publish: Publish,
        method: Box<[u8]>,
        frame: Frame,
        payload: &[u8],
    ) -> Result<(Box<Assembled>, Vec<u8>, u64), Exception> {
        let refuse = |text: String| Err(Exception::unexpected_frame(text).caused_by(Publish::ID));
        let header = content::header(payload).filter(|_| frame.kind == HEADER && weight(payload) == 0);
        let Some(header) = header else {
            return refuse(
                "expected content header for class 60, got non content header frame instead".to_owned(),
            );
        };
        if header.class != BASIC {
            let class = header.class;
            return refuse(format!(
                "expected content header for class 60, got one for class {class} instead"
            ));
        }
        let size = header.body_size;
        if size > ANNOUNCED_MAX {
            let text = format!("content body size {size} exceeds maximum allowed size {ANNOUNCED_MAX}");
            return Err(Exception::frame_error(text).caused_by(Publish::ID));
        }
        let properties = payload[HEADER_FIXED..].into();
        let assembled = Assembled { publish, payload: method, properties, body: Bytes::new(), size };
        Ok((Box::new(assembled), Vec::new(), size))
    }
}

/// Takes a frame of a connection that is being closed.
fn take_closing(frame: Frame, payload: &[u8], batch: &mut Vec<Command>) {
    if frame.kind != METHOD || frame.channel != 0 {
        return;
    }
    if let Ok(Method::Other(class)) = method::decode(0, payload) {
        batch.push(Command::Method { channel: 0, id: method::id(payload).unwrap_or_default(), class });
    }
}

/// What following a `basic.publish` in the input found.
enum InPlace {
    /// The whole message, and the offset after it.
    Whole(Command, usize),
    /// Not all of it has arrived.
    Unfinished,
    /// Its frames do not lie one after the other.
    No,
}

/// A content header's weight, which has to be 0.
fn weight(payload: &[u8]) -> u16 {
    match payload {
        [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}
