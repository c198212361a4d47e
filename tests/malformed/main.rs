//! What must not be sent, and what RabbitMQ 4.3.6 answered to it.
//!
//! Answers are RabbitMQ's, recorded, apart from the vhost's name. Where RabbitMQ only drops the TCP connection, a
//! `connection.close` with any reason is as good. After each case a connection that was open all along is served.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/mod.rs"]
mod common;

mod content;
mod damage;
mod frames;
mod handshake;
mod limits;
mod methods;
mod secure;
mod texts;

use common::client::Client;
use common::{Broker, Table};

/// The broker ends the connection, whatever it says before.
const ENDS: &str = "the connection ends";

/// A broker, a bystander whom nothing of it must disturb, and what was wrong.
struct Range {
    broker: Broker,
    bystander: Client,
    table: Table,
    count: usize,
}

impl Range {
    fn open() -> Self {
        let broker = Broker::start();
        let mut bystander = broker.channel();
        bystander.all_ok(1, &["queue.declare queue=bystander"]);
        Self { broker, bystander, table: Table::default(), count: 0 }
    }

    /// Sends octets on a connection with channel 1 open and compares what comes back: a `connection.close`, which is
    /// then answered and has to be followed by the end; [`ENDS`]; or other methods, parted by ` ; `, after which the
    /// connection is still in order.
    fn case(&mut self, name: &str, octets: &[u8], wanted: &str) {
        let mut client = self.broker.channel();
        client.send_bytes(octets);
        self.finish(name, client, wanted);
    }

    /// The same for a connection to which everything has been sent.
    fn finish(&mut self, name: &str, mut client: Client, wanted: &str) {
        client.label = format!("{name}:");
        if wanted == ENDS {
            let got = client.until_end();
            let ended = got.is_empty() || got.starts_with("connection.close ");
            self.table.check(name, if ended { ENDS } else { &got }, ENDS);
        } else if wanted.contains("{invalid_frame_end_marker,") || wanted.contains("{frame_too_large,") {
            // Where a frame's end is not known any more, no answer is; the broker would wait for a while.
            let got = client.next(0).to_string();
            self.table.check(name, &got, wanted);
            client.end_output();
            self.table.check(name, &client.until_end(), "");
        } else if wanted.contains("connection.close ") {
            let got = client.until_end();
            self.table.check(name, &got, wanted);
        } else {
            let steps = wanted.split(" ; ").count();
            let got: Vec<String> = (0..steps).map(|_| client.next(1).to_string()).collect();
            self.table.check(name, &got.join(" ; "), wanted);
            if got.join(" ; ") == wanted {
                self.table.check(name, &client.call(7, "channel.open"), "channel.open-ok");
            }
        }
        self.bystander_is_served();
    }

    fn bystander_is_served(&mut self) {
        self.count += 1;
        let body = format!("still there {}", self.count);
        self.bystander.publish(1, "", "bystander", &body);
        let got = self.bystander.call(1, "basic.get queue=bystander no-ack");
        assert!(got.starts_with("basic.get-ok") && got.ends_with(&body), "{got}");
    }
}
