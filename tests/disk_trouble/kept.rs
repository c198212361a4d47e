//! What a queue knows of its messages outlives a loss of power: priorities, times to live, deaths.

use crate::common::client::Client;
use crate::common::method::method;
use crate::common::table::{Field, int, text};
use crate::rig::Rig;

/// A node's messages may take so much memory, so that they have to be read again.
const MEMORY: usize = 1 << 20;

fn declare(client: &mut Client, name: &str, arguments: &[(&str, Field)]) {
    let declared = client.call(1, method(&format!("queue.declare queue={name} durable")).args(arguments));
    assert!(declared.starts_with("queue.declare-ok"), "{declared}");
}

/// A persistent message with these further properties: flags, and octets after the delivery mode.
fn publish(client: &mut Client, queue: &str, flags: u16, after: &[u8], body: &str) {
    let mut properties = (0x1000 | flags).to_be_bytes().to_vec();
    properties.push(2);
    properties.extend_from_slice(after);
    let publish = method(&format!("basic.publish exchange= routing-key={queue}"));
    client.publish_with(1, publish, &properties, body.as_bytes());
    let confirmed = client.next(1).text;
    assert!(confirmed.starts_with("basic.ack"), "{confirmed}");
}

#[test]
fn messages_come_back_in_the_order_of_their_priorities() {
    let mut rig = Rig::start("priorities", MEMORY);
    let mut client = rig.client();
    client.all_ok(1, &["confirm.select"]);
    declare(&mut client, "classic", &[("x-max-priority", int(200))]);
    declare(&mut client, "quorum", &[("x-queue-type", text("quorum"))]);
    for (priority, body) in [(1, "low"), (9, "high"), (0, "none"), (9, "second"), (150, "most")] {
        publish(&mut client, "classic", 0x0800, &[priority], body);
        publish(&mut client, "quorum", 0x0800, &[priority], body);
    }
    drop(client);
    rig.restart(rig.disk.crash());
    let mut client = rig.client();
    assert_eq!(client.bodies(1, "classic"), ["most", "high", "second", "low", "none"]);
    assert_eq!(client.bodies(1, "quorum"), ["most", "high", "second", "low", "none"]);
    // What is gone stays gone, in all lanes, and so does a queue with all of them.
    client.all_ok(1, &["queue.delete queue=quorum"]);
    declare(&mut client, "quorum", &[("x-queue-type", text("quorum"))]);
    client.all_ok(1, &["confirm.select"]);
    publish(&mut client, "classic", 0x0800, &[150], "new");
    publish(&mut client, "quorum", 0x0800, &[9], "new");
    drop(client);
    rig.restart(rig.disk.kill());
    let mut client = rig.client();
    assert_eq!(client.bodies(1, "quorum"), ["new"]);
    assert!(client.bodies(1, "classic").ends_with(&["new".to_owned()]));
}

#[test]
fn what_expires_expires_after_a_restart_too() {
    let mut rig = Rig::start("expiry", MEMORY);
    let mut client = rig.client();
    client.all_ok(1, &["confirm.select"]);
    declare(&mut client, "dead", &[]);
    let dead = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))];
    declare(&mut client, "own", &dead);
    declare(&mut client, "all", &[dead[0].clone(), dead[1].clone(), ("x-message-ttl", int(1))]);
    publish(&mut client, "own", 0x0100, b"\x011", "a");
    publish(&mut client, "all", 0, &[], "b");
    drop(client);
    rig.restart(rig.disk.crash());
    rig.until("dead", 2, 0);
    rig.until("own", 0, 0);
    rig.until("all", 0, 0);
}

#[test]
fn the_brokers_own_deaths_are_told_from_a_publishers_after_a_restart() {
    let mut rig = Rig::start("deaths", MEMORY);
    let mut client = rig.client();
    client.all_ok(1, &["confirm.select"]);
    let to = |key| [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(key))];
    declare(&mut client, "q", &to("wait"));
    let [exchange, key] = to("q");
    declare(&mut client, "wait", &[exchange, key, ("x-message-ttl", int(1))]);
    publish(&mut client, "q", 0, &[], "a");
    for round in 1..=3u64 {
        rig.until("q", 1, 0);
        client.send(1, "basic.get queue=q");
        let got = client.next(1);
        let count = [&b"\x05countl"[..], &(round - 1).to_be_bytes()].concat();
        let counted = got.properties.windows(count.len()).filter(|octets| *octets == count).count();
        assert_eq!(counted, if round == 1 { 0 } else { 2 }, "round {round}: {:?}", got.properties);
        client.send(1, &*format!("basic.nack delivery-tag={}", got.tag()));
        rig.until("q", 1, 0);
        // Something that is confirmed later is on disk later.
        declare(&mut client, &format!("other-{round}"), &[]);
        publish(&mut client, &format!("other-{round}"), 0, &[], "b");
        drop(client);
        rig.restart(rig.disk.kill());
        client = rig.client();
        client.all_ok(1, &["confirm.select"]);
    }
}
