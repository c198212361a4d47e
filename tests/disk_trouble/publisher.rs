//! A publisher that numbers its messages and notes what it is told of each, for as long as a connection lives.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::common::client::{Client, METHOD, PLAIN};
use crate::common::method::{Method, decode, method, number, show};

/// A property list that says that a message is persistent.
pub const PERSISTENT: &[u8] = &[0x10, 0, 2];
/// How long it takes to see that nothing has come.
const GLANCE: Duration = Duration::from_millis(1);

/// A connection in confirm mode on channel 1, whose messages go to one queue and begin with their number, from 1.
pub struct Publisher {
    client: Client,
    pub queue: String,
    pub sent: u64,
    pub acked: BTreeSet<u64>,
    pub nacked: BTreeSet<u64>,
    /// How often it was told that it is blocked, and that it is so no more.
    pub blocked: usize,
    pub unblocked: usize,
}

/// The body of a message.
pub fn body(number: u64, size: usize) -> Vec<u8> {
    let mut body = vec![number as u8; size.max(8)];
    body[..8].copy_from_slice(&number.to_be_bytes());
    body
}

/// The number of a message, which has to be whole.
pub fn number_of(found: &[u8]) -> u64 {
    let found_number = number(&found[..8]);
    assert!(found == body(found_number, found.len()), "message {found_number} is not what it was");
    found_number
}

pub fn publish(queue: &str) -> Method {
    method("basic.publish").set("routing-key", queue)
}

impl Publisher {
    pub fn new(address: SocketAddr, queue: &str) -> Self {
        let mut client = Client::open(address);
        client.open_channel(1);
        client.all_ok(1, &["confirm.select"]);
        let (acked, nacked) = (BTreeSet::new(), BTreeSet::new());
        Self { client, queue: queue.to_owned(), sent: 0, acked, nacked, blocked: 0, unblocked: 0 }
    }

    /// Publishes persistent messages.
    pub fn publish(&mut self, count: u64, size: usize) {
        self.publish_with(count, size, PERSISTENT);
    }

    pub fn publish_transient(&mut self, count: u64, size: usize) {
        self.publish_with(count, size, PLAIN);
    }

    fn publish_with(&mut self, count: u64, size: usize, properties: &[u8]) {
        for _ in 0..count {
            self.sent += 1;
            self.client.publish_with(1, publish(&self.queue), properties, &body(self.sent, size));
        }
    }

    /// Takes one frame, if one comes in this time.
    fn take(&mut self, time: Duration) -> bool {
        let Some(frame) = self.client.frame_within(time).expect("the connection lives") else { return false };
        if frame.kind != METHOD {
            return true;
        }
        let (name, fields) = decode(&frame.payload);
        match name {
            "basic.ack" | "basic.nack" => {
                let text = show(&frame.payload);
                let tag = fields.iter().find(|(field, _)| *field == "delivery-tag").expect("a tag");
                let tag = String::from_utf8(tag.1.clone()).unwrap().parse().unwrap();
                let first = if text.contains(" multiple") { self.first_open() } else { tag };
                self.note(name == "basic.ack", first..=tag);
            }
            "connection.blocked" => self.blocked += 1,
            "connection.unblocked" => self.unblocked += 1,
            other => panic!("{other} came"),
        }
        true
    }

    /// The first message of which nothing has been said.
    fn first_open(&self) -> u64 {
        (1..).find(|number| !self.acked.contains(number) && !self.nacked.contains(number)).unwrap()
    }

    fn note(&mut self, ack: bool, numbers: RangeInclusive<u64>) {
        for number in numbers {
            assert!(number <= self.sent, "{number} has not been sent");
            let is_new = !self.acked.contains(&number) && !self.nacked.contains(&number);
            assert!(is_new, "{number} is confirmed or refused twice");
            if ack { &mut self.acked } else { &mut self.nacked }.insert(number);
        }
    }

    /// Takes what has come up to now.
    pub fn look(&mut self) {
        while self.take(GLANCE) {}
    }

    /// Takes what comes until something holds.
    pub fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < end, "waited in vain: {self}");
            self.take(Duration::from_millis(50));
        }
    }

    /// Waits until every message is confirmed.
    pub fn until_all_acked(&mut self) {
        self.until(|own| own.acked.len() as u64 == own.sent);
    }

    /// Publishes, and waits until all of it is confirmed.
    pub fn confirmed(&mut self, count: u64, size: usize) {
        self.publish(count, size);
        self.until_all_acked();
    }

    /// The messages of which nothing has been said.
    pub fn open(&self) -> u64 {
        self.sent - (self.acked.len() + self.nacked.len()) as u64
    }
}

impl std::fmt::Display for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, acked, nacked, blocked, unblocked, .. } = self;
        let (acked, nacked) = (acked.len(), nacked.len());
        write!(
            f,
            "{sent} sent, {acked} confirmed, {nacked} refused, blocked {blocked} times, {unblocked} ended"
        )
    }
}
