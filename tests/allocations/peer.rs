//! A client that allocates nothing once it is there: what it sends has been prepared, what it reads goes through a
//! buffer of fixed size, and all it looks at are frames.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::common::client::{BODY, FRAME_MAX, HEADER, METHOD, frame};
use crate::common::method::method;

/// What a peer says of the messages it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    None,
    /// An acknowledgement for each.
    Each,
    /// One for so many.
    Multiple(u64),
}

/// What a peer does in each round.
#[derive(Clone, Debug)]
pub struct Turn {
    /// What it sends first.
    pub burst: Vec<u8>,
    /// The messages it is to get.
    pub messages: u64,
    /// The messages of its own that are to be confirmed.
    pub confirms: u64,
    pub acks: Acks,
}

/// Room for a whole frame, and for some more to be read behind it.
const INBOX: usize = 2 * FRAME_MAX;

/// Where things are in a frame of `basic.ack`.
const ACK_CHANNEL: usize = 1;
const ACK_TAG: usize = 11;
const ACK_MULTIPLE: usize = 19;

pub struct Peer {
    stream: TcpStream,
    turn: Turn,
    inbox: Box<[u8]>,
    /// What has been read and not looked at.
    unread: std::ops::Range<usize>,
    /// Acknowledgements to be sent.
    outbox: Vec<u8>,
    /// A frame of `basic.ack`, to be filled in.
    ack: Vec<u8>,
    /// Of the message that is arriving: its delivery tag, and the octets of its body that are yet to come.
    tag: u64,
    missing: u64,
    received: u64,
    confirmed: u64,
    rounds: u64,
}

impl Peer {
    /// Goes on where a client has set everything up.
    pub fn new(stream: TcpStream, turn: Turn) -> Self {
        let ack = frame(METHOD, 0, &method("basic.ack").payload());
        let outbox = Vec::with_capacity(INBOX);
        let inbox = vec![0; INBOX].into();
        let (unread, tag, missing, received, confirmed, rounds) = (0..0, 0, 0, 0, 0, 0);
        Self { stream, turn, inbox, unread, outbox, ack, tag, missing, received, confirmed, rounds }
    }

    /// The first half of a round.
    pub fn send(&mut self) {
        self.stream.write_all(&self.turn.burst).unwrap();
    }

    /// The second half: reads and acknowledges until it has got what it is to get.
    pub fn receive(&mut self) {
        self.rounds += 1;
        let (messages, confirms) = (self.rounds * self.turn.messages, self.rounds * self.turn.confirms);
        while self.received < messages || self.confirmed < confirms {
            self.read();
            while let Some(size) = self.whole_frame() {
                let at = self.unread.start;
                self.unread.start += size;
                self.take(at, at + size);
            }
            self.stream.write_all(&self.outbox).unwrap();
            self.outbox.clear();
        }
        assert_eq!((self.received, self.confirmed), (messages, confirms), "more has come than there is");
    }

    fn read(&mut self) {
        self.inbox.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let count = self.stream.read(&mut self.inbox[self.unread.end..]).expect("something in time");
        assert!(count > 0, "the connection has ended");
        self.unread.end += count;
    }

    /// The size of the first frame that has been read, if all of it has.
    fn whole_frame(&self) -> Option<usize> {
        let unread = &self.inbox[self.unread.clone()];
        let size = u32::from_be_bytes(unread.get(3..7)?.try_into().unwrap()) as usize + 8;
        assert_eq!(*unread.get(size - 1)?, 0xCE, "the end of a frame");
        Some(size)
    }

    fn take(&mut self, begin: usize, end: usize) {
        let (head, payload) = self.inbox[begin..end - 1].split_at(7);
        let octets = |from: usize| u64::from_be_bytes(payload[from..from + 8].try_into().unwrap());
        match (head[0], payload) {
            (METHOD, [0, 60, 0, 60, size, ..]) => self.tag = octets(5 + usize::from(*size)),
            (METHOD, [0, 60, 0, 71, ..]) => self.tag = octets(4),
            (METHOD, [0, 60, 0, 80, ..]) => self.confirmed = octets(4),
            (HEADER, _) => self.missing = octets(4),
            (BODY, _) => {
                self.missing -= payload.len() as u64;
                if self.missing == 0 {
                    self.ack[ACK_CHANNEL..3].copy_from_slice(&head[1..3]);
                    self.received += 1;
                    self.acknowledge();
                }
            }
            _ => panic!("nobody has asked for {head:?} {payload:?}"),
        }
    }

    fn acknowledge(&mut self) {
        let multiple = match self.turn.acks {
            Acks::None => return,
            Acks::Each => false,
            Acks::Multiple(count) if self.received.is_multiple_of(count) => true,
            Acks::Multiple(_) => return,
        };
        self.ack[ACK_TAG..ACK_MULTIPLE].copy_from_slice(&self.tag.to_be_bytes());
        self.ack[ACK_MULTIPLE] = u8::from(multiple);
        self.outbox.extend_from_slice(&self.ack);
    }
}
