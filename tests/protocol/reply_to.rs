//! Direct reply-to among several connections, and what leave it takes.

use crate::common::client::Client;
use crate::common::{Broker, Table};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A property list with nothing but `reply-to`.
fn ask() -> Vec<u8> {
    [&[2, 0, REPLY_TO.len() as u8][..], REPLY_TO.as_bytes()].concat()
}

/// A requester, and where replies to it are to be sent: what a server finds in its request.
fn requester(broker: &Broker) -> (Client, String) {
    let mut client = broker.channel();
    client.all_ok(1, &["queue.declare queue=server"]);
    client.all_ok(1, &["basic.consume queue=amq.rabbitmq.reply-to consumer-tag=c no-ack"]);
    client.publish_with(1, "basic.publish routing-key=server", &ask(), b"ask");
    client.quiet(1);
    let mut server = broker.channel();
    server.send(1, "basic.get queue=server no-ack");
    let request = server.next(1);
    let name = String::from_utf8(request.properties[3..].to_vec()).unwrap();
    assert!(name.starts_with("amq.rabbitmq.reply-to."), "{name}");
    (client, name)
}

/// Replies reach the channel they are for, and names tell nothing of each other.
#[test]
fn every_requester_gets_its_own() {
    let broker = Broker::start();
    let mut requesters: Vec<_> = (0..4).map(|_| requester(&broker)).collect();
    let mut server = broker.channel();
    server.all_ok(1, &["confirm.select"]);
    for (number, (_, name)) in requesters.iter().enumerate() {
        server.publish(1, "", name, &format!("m{number}"));
    }
    for (number, (client, _)) in requesters.iter_mut().enumerate() {
        assert_eq!(client.next(1).short(), format!("c#1:m{number}"));
        client.quiet(1);
    }
    let names: std::collections::HashSet<_> = requesters.iter().map(|(_, name)| name.clone()).collect();
    assert_eq!(names.len(), 4);
    // One goes: what is for it is confirmed, and does not come back.
    let (client, name) = requesters.remove(0);
    client.close();
    broker.until_gone(&name);
    server.publish_with(1, format!("basic.publish routing-key={name} mandatory").as_str(), &[0, 0], b"late");
    let mut confirmed = 0;
    while confirmed < 5 {
        let event = server.next(1);
        assert!(event.text.starts_with("basic.ack "), "{event}");
        confirmed = event.tag();
    }
}

/// A user without any permission may ask for replies, but for nothing else that goes by such names.
#[test]
fn without_permissions() {
    let broker = Broker::start();
    let (mut requester, name) = requester(&broker);
    broker.add_user("nobody", ("^$", "^$", "^$"));
    let mut table = Table::default();
    for queue in [REPLY_TO, name.as_str(), "amq.rabbitmq.reply-to.no"] {
        for (method, access, id) in [
            ("queue.delete", "configure", "(50,40)"),
            ("queue.purge", "read", "(50,30)"),
            ("basic.get", "read", "(60,70)"),
            ("basic.consume no-ack", "read", "(60,20)"),
        ] {
            let mut client = Client::user(broker.address, "nobody");
            let method = format!("{method} queue={queue}");
            let got = client.call(1, method.as_str());
            let wanted = if (queue, id) == (REPLY_TO, "(60,20)") {
                assert!(got.starts_with("basic.consume-ok consumer-tag='amq.ctag-"), "{got}");
                got.clone()
            } else {
                format!(
                    "channel.close 403 ACCESS_REFUSED - {access} access to queue '{queue}' in vhost '/' refused for \
                     user 'nobody' {id}"
                )
            };
            table.check(&method, &got, &wanted);
        }
    }
    let mut client = Client::user(broker.address, "nobody");
    client.publish(1, "", &name, "m");
    let refused = "channel.close 403 ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for \
                   user 'nobody' (60,40)";
    table.check("publish", &client.call(1, "basic.qos"), refused);
    requester.quiet(1);
}
