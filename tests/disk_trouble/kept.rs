//! What a queue knows of its messages outlives a loss of power: priorities, times to live, deaths, duplicates.

use crate::common::client::Client;
use crate::common::method::method;
use crate::common::table::{Field, flag, int, text};
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
fn long_queues_come_back_from_the_disk_in_the_order_of_their_priorities() {
    const COUNT: usize = 400;
    let mut rig = Rig::start("long-priorities", MEMORY);
    let mut client = rig.client();
    let names = ["classic", "quorum"];
    declare(&mut client, "classic", &[("x-max-priority", int(255))]);
    declare(&mut client, "quorum", &[("x-queue-type", text("quorum"))]);
    let mut wanted = Vec::new();
    for number in 0..COUNT {
        for priority in [3, 31, 0, 4, 9] {
            let body = format!("{:02} {number:04} {}", 31 - priority, "x".repeat(1000));
            for name in names {
                let publish = method("basic.publish").set("routing-key", name);
                client.publish_with(1, publish, &[0x18, 0, 2, priority], body.as_bytes());
            }
            wanted.push(body);
        }
    }
    wanted.sort();
    names.iter().for_each(|name| rig.until(name, wanted.len(), 0));
    // Once out of memory, and once more after a start.
    for name in names {
        client.all_ok(1, &[&format!("basic.consume queue={name} consumer-tag={name}")]);
        let came: Vec<_> =
            (0..wanted.len()).map(|_| String::from_utf8(client.next(1).body).unwrap()).collect();
        assert!(came == wanted, "{name} is in another order");
    }
    drop(client);
    names.iter().for_each(|name| rig.until(name, wanted.len(), 0));
    rig.restart(rig.disk.kill());
    let mut client = rig.client();
    for name in names {
        assert!(client.bodies(1, name) == wanted, "{name} is in another order after a restart");
    }
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

/// A persistent message with a key, and with a priority.
fn publish_once(client: &mut Client, exchange: &str, routing_key: &str, key: &str, body: &str) {
    let name = b"x-deduplication-header";
    let table = [&[22][..], name, b"S", &(key.len() as u32).to_be_bytes(), key.as_bytes()].concat();
    let properties = [&[0x38, 0][..], &(table.len() as u32).to_be_bytes(), &table, &[2, 3]].concat();
    let publish = method(&format!("basic.publish exchange={exchange} routing-key={routing_key}"));
    client.publish_with(1, publish, &properties, body.as_bytes());
    let confirmed = client.next(1).text;
    assert!(confirmed.starts_with("basic.ack"), "{confirmed}");
}

#[test]
fn duplicates_are_known_after_a_restart() {
    let mut rig = Rig::start("duplicates", MEMORY);
    let mut client = rig.client();
    client.all_ok(1, &["confirm.select"]);
    let on = ("x-message-deduplication", flag(true));
    declare(&mut client, "held", std::slice::from_ref(&on));
    declare(&mut client, "ranked", &[on.clone(), ("x-max-priority", int(5))]);
    declare(&mut client, "cached", &[on.clone(), ("x-cache-size", int(2))]);
    let exchange = method("exchange.declare exchange=x type=fanout durable").args(&[on]);
    assert_eq!(client.call(1, exchange), "exchange.declare-ok");
    declare(&mut client, "bound", &[]);
    client.all_ok(1, &["queue.bind queue=bound exchange=x routing-key="]);
    let publish_all = |client: &mut Client, key: &str, body: &str| {
        ["held", "ranked", "cached"].iter().for_each(|queue| publish_once(client, "", queue, key, body));
        publish_once(client, "x", "", key, body);
    };
    for (key, body) in [("a", "1"), ("b", "2"), ("c", "3"), ("b", "4")] {
        publish_all(&mut client, key, body);
    }
    client.send(1, "basic.get queue=held no-ack");
    assert!(client.next(1).text.starts_with("basic.get-ok"));
    assert_eq!(client.bodies(1, "cached"), ["1", "2", "3"], "they are remembered");
    for round in 0..2 {
        drop(client);
        rig.restart(if round == 0 { rig.disk.kill() } else { rig.disk.crash() });
        client = rig.client();
        client.all_ok(1, &["confirm.select"]);
        publish_all(&mut client, "b", "again");
        publish_all(&mut client, "c", "again");
    }
    // Of two keys the oldest has gone.
    publish_once(&mut client, "", "cached", "a", "new");
    // What was settled last may come back, but is not published again.
    let cached = client.bodies(1, "cached");
    assert_eq!(cached.iter().filter(|body| !["1", "2", "3"].contains(&&***body)).count(), 1, "{cached:?}");
    assert!(cached.ends_with(&["new".to_owned()]), "{cached:?}");
    publish_once(&mut client, "x", "", "a", "again");
    assert_eq!(client.bodies(1, "bound"), ["1", "2", "3"]);
    assert_eq!(client.bodies(1, "ranked"), ["1", "2", "3"]);
    let held = client.bodies(1, "held");
    assert!(held == ["2", "3"] || held == ["1", "2", "3"], "{held:?}");
    publish_all(&mut client, "b", "new");
    assert_eq!(client.bodies(1, "held"), ["new"]);
    assert_eq!(client.bodies(1, "bound"), [""; 0]);
    // What is declared anew knows nothing.
    client.all_ok(1, &["queue.delete queue=cached", "exchange.delete exchange=x"]);
    let size = [("x-message-deduplication", flag(true)), ("x-cache-size", int(2))];
    declare(&mut client, "cached", &size);
    publish_once(&mut client, "", "cached", "a", "new");
    drop(client);
    rig.restart(rig.disk.kill());
    let mut client = rig.client();
    assert_eq!(client.bodies(1, "cached"), ["new"]);
}
