//! A connection with one channel to a broker that may be killed at any moment.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::common::PATIENCE;
use crate::common::client::{
    BODY, Client, FRAME_MAX, Frame, HEADER, METHOD, PROTOCOL_HEADER, frame, header, start_ok,
};
use crate::common::method::{self, Method, number, split};
use crate::message::{Id, Message};
use crate::topology::ROUTES;

const CHANNEL: u16 = 1;

/// Why a connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It ended without a word, or with the word that the broker goes down.
    Ended(String),
    /// The broker has refused something.
    Refused(String),
}

#[derive(Clone, Debug)]
pub enum Incoming {
    /// A delivery, or the answer to `basic.get`.
    Message(Message),
    Confirm {
        tag: u64,
        multiple: bool,
        nack: bool,
    },
    /// Any other method, as text.
    Answer(String),
}

pub struct Link {
    client: Client,
    /// What came before an answer that was waited for.
    early: VecDeque<Incoming>,
}

impl Link {
    pub fn open(address: SocketAddr) -> Result<Self, Broken> {
        let stream = TcpStream::connect(address).map_err(|e| ended(&e))?;
        let mut link = Self { client: Client::on(stream), early: VecDeque::new() };
        link.client.try_send_bytes(PROTOCOL_HEADER).map_err(|e| ended(&e))?;
        link.answer()?;
        link.call_on(0, start_ok("guest", "guest"))?;
        link.say(0, method::method(&format!("connection.tune-ok channel-max=2047 frame-max={FRAME_MAX}")))?;
        link.call_on(0, "connection.open virtual-host=/")?;
        link.call("channel.open")?;
        Ok(link)
    }

    fn say(&mut self, channel: u16, method: impl Into<Method>) -> Result<(), Broken> {
        self.send(&frame(METHOD, channel, &method.into().payload()))
    }

    /// Sends a method that has no answer.
    pub fn tell(&mut self, method: impl Into<Method>) -> Result<(), Broken> {
        self.say(CHANNEL, method)
    }

    /// Sends a method and returns its answer as text. What else comes before it is kept for [`Link::next`].
    pub fn call(&mut self, method: impl Into<Method>) -> Result<String, Broken> {
        self.call_on(CHANNEL, method)
    }

    fn call_on(&mut self, channel: u16, method: impl Into<Method>) -> Result<String, Broken> {
        self.say(channel, method)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String, Broken> {
        loop {
            match self.read(PATIENCE)? {
                Some(Incoming::Answer(text)) => return Ok(text),
                Some(other) => self.early.push_back(other),
                None => return Err(Broken::Refused("no answer came in time".to_owned())),
            }
        }
    }

    /// Waits until the broker has worked off all that was sent so far.
    pub fn sync(&mut self) -> Result<(), Broken> {
        self.tell("basic.qos")?;
        // An answer to `basic.get` may come first.
        while !self.answer()?.starts_with("basic.qos-ok") {}
        Ok(())
    }

    /// Publishes a small message that is not one of [`Id`]'s.
    pub fn publish(&mut self, publish: &Method, properties: &[u8], body: &[u8]) -> Result<(), Broken> {
        let mut out = frame(METHOD, CHANNEL, &publish.payload());
        out.extend(frame(HEADER, CHANNEL, &header(body.len() as u64, properties)));
        out.extend(frame(BODY, CHANNEL, body));
        self.send(&out)
    }

    pub fn send(&mut self, octets: &[u8]) -> Result<(), Broken> {
        match self.client.try_send_bytes(octets) {
            Ok(()) => Ok(()),
            // The broker may have said why before it went.
            Err(e) => loop {
                match self.read(Duration::from_millis(10)) {
                    Ok(Some(_)) => {}
                    Ok(None) => return Err(ended(&e)),
                    Err(broken) => return Err(broken),
                }
            },
        }
    }

    /// What comes next within this time.
    pub fn next(&mut self, time: Duration) -> Result<Option<Incoming>, Broken> {
        match self.early.pop_front() {
            Some(incoming) => Ok(Some(incoming)),
            None => self.read(time),
        }
    }

    fn read(&mut self, time: Duration) -> Result<Option<Incoming>, Broken> {
        let Some(first) = self.client.frame_within(time).map_err(|e| ended(&e))? else { return Ok(None) };
        assert_eq!(first.kind, METHOD, "{first:?}");
        let mut fields = &first.payload[4..];
        let class_and_method = (number(&first.payload[..2]), number(&first.payload[2..4]));
        match class_and_method {
            (60, 60) => {
                short(&mut fields);
                self.message(fields).map(Some)
            }
            (60, 71) => self.message(fields).map(Some),
            (60, 80 | 120) => {
                let tag = number(split(&mut fields, 8));
                let nack = class_and_method.1 == 120;
                Ok(Some(Incoming::Confirm { tag, multiple: fields[0] & 1 == 1, nack }))
            }
            (10, 50) => Err(self.closed(&first)),
            (20, 40) => Err(Broken::Refused(method::show(&first.payload))),
            _ => Ok(Some(Incoming::Answer(method::show(&first.payload)))),
        }
    }

    fn closed(&mut self, close: &Frame) -> Broken {
        // Whoever has gone takes no answer.
        let _ = self.say(0, "connection.close-ok");
        let text = method::show(&close.payload);
        if text.contains("CONNECTION_FORCED") { Broken::Ended(text) } else { Broken::Refused(text) }
    }

    /// The rest of a delivery or an answer to `basic.get`, from its delivery tag on.
    fn message(&mut self, mut fields: &[u8]) -> Result<Incoming, Broken> {
        let mut message = Message { tag: number(split(&mut fields, 8)), ..Message::default() };
        message.redelivered = split(&mut fields, 1)[0] & 1 == 1;
        message.exchange = short(&mut fields);
        message.key = short(&mut fields);
        let header = self.content()?;
        assert_eq!((header.kind, &header.payload[..4]), (HEADER, &[0, 60, 0, 0][..]));
        let size = number(&header.payload[4..12]) as usize;
        message.properties = header.payload[12..].to_vec();
        while message.body.len() < size {
            let part = self.content()?;
            assert_eq!(part.kind, BODY);
            message.body.extend(part.payload);
        }
        assert_eq!(message.body.len(), size, "more than announced");
        Ok(Incoming::Message(message))
    }

    /// A frame that has to come.
    fn content(&mut self) -> Result<Frame, Broken> {
        let late = || Broken::Refused("a message stopped in its middle".to_owned());
        self.client.frame_within(PATIENCE).map_err(|e| ended(&e))?.ok_or_else(late)
    }

    /// Ends the connection as one should. What still comes is of no interest.
    pub fn close(mut self) -> Result<(), Broken> {
        self.say(0, "connection.close reply-code=200")?;
        while self.answer()? != "connection.close-ok" {}
        Ok(())
    }
}

fn ended(e: &std::io::Error) -> Broken {
    Broken::Ended(e.to_string())
}

fn short(fields: &mut &[u8]) -> String {
    let size = split(fields, 1)[0];
    String::from_utf8_lossy(split(fields, size.into())).into_owned()
}

/// A publish with its content, as it lies on the wire.
pub fn put_publish(out: &mut Vec<u8>, id: Id) {
    let route = &ROUTES[usize::from(id.route)];
    let mut publish = vec![0, 60, 0, 40, 0, 0];
    for text in [route.exchange, route.key] {
        publish.push(u8::try_from(text.len()).unwrap());
        publish.extend_from_slice(text.as_bytes());
    }
    publish.push(0);
    out.extend(frame(METHOD, CHANNEL, &publish));
    out.extend(frame(HEADER, CHANNEL, &header(u64::from(id.size), &id.properties())));
    for part in id.body().chunks(FRAME_MAX - 8) {
        out.extend(frame(BODY, CHANNEL, part));
    }
}

/// `basic.ack`.
pub fn put_ack(out: &mut Vec<u8>, tag: u64, multiple: bool) {
    let payload = [&[0, 60, 0, 80][..], &tag.to_be_bytes(), &[u8::from(multiple)]].concat();
    out.extend(frame(METHOD, CHANNEL, &payload));
}

/// `basic.nack` with `requeue`.
pub fn put_requeue(out: &mut Vec<u8>, tag: u64, multiple: bool) {
    let payload = [&[0, 60, 0, 120][..], &tag.to_be_bytes(), &[u8::from(multiple) | 2]].concat();
    out.extend(frame(METHOD, CHANNEL, &payload));
}
