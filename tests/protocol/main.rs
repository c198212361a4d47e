//! What RabbitMQ 4.3.6 does, checked over raw frames: answers, error texts, the order of messages.
//!
//! Expectations are recorded from RabbitMQ, apart from the vhost's name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

#[path = "../common/mod.rs"]
mod common;

mod channels;
mod commits;
mod compatibility;
mod connections;
mod consumers;
mod events;
mod exchanges;
mod limits;
mod permissions;
mod prefetch;
mod pressure;
mod publishing;
mod queue_arguments;
mod queues;
mod reply_to;
mod routing;
mod settling;
mod topics;
mod tracing;
mod transactions;

use common::client::Client;
use common::method::Method;
use common::{Broker, Table};

/// A broker, a connection of guest, and a table of cases of which each has a channel to itself.
struct Bench {
    broker: Broker,
    client: Client,
    table: Table,
}

/// The channel of the cases.
const CASE: u16 = 2;

impl Bench {
    /// A broker on which these methods have succeeded, on channel 1.
    fn new(setup: &[&str]) -> Self {
        let broker = Broker::start();
        let mut client = broker.channel();
        client.all_ok(1, setup);
        Self { broker, client, table: Table::default() }
    }

    /// Compares the answer to one method on a fresh channel.
    fn case(&mut self, method: impl Into<Method>, wanted: &str) {
        let method = method.into();
        self.client.label = format!("{method:?}");
        self.client.open_channel(CASE);
        let got = self.client.call(CASE, method.clone());
        self.table.check(&format!("{method:?}"), &got, wanted);
        self.clear(&got);
    }

    fn cases(&mut self, cases: &[(&str, &str)]) {
        for (method, wanted) in cases {
            self.case(*method, wanted);
        }
    }

    /// Compares the answer to a publish of a single octet on a fresh channel; to one that has no answer, it is that
    /// of another method.
    fn publish_case(&mut self, publish: impl Into<Method>, properties: &[u8], wanted: &str) {
        let publish = publish.into();
        let name = format!("{publish:?} {}", properties.escape_ascii());
        self.client.label.clone_from(&name);
        self.client.open_channel(CASE);
        self.client.publish_with(CASE, publish, properties, b"x");
        let got = self.client.call(CASE, "basic.qos");
        self.table.check(&name, &got, wanted);
        self.clear(&got);
    }

    /// Leaves the channel of the cases closed, whatever the last answer was.
    fn clear(&mut self, answer: &str) {
        if answer.starts_with("connection.close ") {
            self.client.send(0, "connection.close-ok");
            self.client = self.broker.channel();
        } else if answer.starts_with("channel.close ") {
            self.client.send(CASE, "channel.close-ok");
        } else {
            // Answers that are still on their way come first.
            self.client.send(CASE, "channel.close");
            while self.client.next(CASE).text != "channel.close-ok" {}
        }
    }
}

/// Publishes `m0`, `m1` and so on to a queue, through the default exchange.
fn load(broker: &Broker, queue: &str, count: usize) {
    let mut client = broker.channel();
    for number in 0..count {
        client.publish(1, "", queue, &format!("m{number}"));
    }
    client.quiet(1);
}
