//! What users may not do, and what they are told.

use crate::common::client::{Client, PLAIN, start_ok};
use crate::common::method::{Method, method};
use crate::common::table::text;
use crate::common::{Broker, Table};

const NOTHING: (&str, &str, &str) = ("^$", "^$", "^$");

/// A user with these patterns among exchanges `ee`, `e2`, queue `eq` and somebody's exclusive queue `exq`.
struct Guarded {
    broker: Broker,
    /// Whose exclusive queue is there.
    _owner: Client,
    table: Table,
    users: usize,
}

impl Guarded {
    fn new() -> Self {
        let broker = Broker::start();
        let mut owner = broker.channel();
        owner.all_ok(
            1,
            &[
                "exchange.declare exchange=ee type=direct durable",
                "exchange.declare exchange=e2 type=direct durable",
                "queue.declare queue=eq durable",
                "queue.declare queue=exq exclusive",
            ],
        );
        Self { broker, _owner: owner, table: Table::default(), users: 0 }
    }

    fn user(&mut self, patterns: (&str, &str, &str)) -> (String, Client) {
        self.users += 1;
        let name = format!("user{}", self.users);
        self.broker.add_user(&name, patterns);
        let client = Client::user(self.broker.address, &name);
        (name, client)
    }

    /// Compares the first answer to a method, or to a publish and what is sent after it. `USER` is whoever it is.
    fn case(&mut self, patterns: (&str, &str, &str), method: impl Into<Method>, wanted: &str) {
        let method = method.into();
        let name = format!("{method:?} as {patterns:?}");
        let (user, mut client) = self.user(patterns);
        let publish = name.starts_with("basic.publish");
        let got = if publish {
            client.publish_with(1, method, PLAIN, b"m");
            client.call(1, "basic.qos")
        } else {
            client.call(1, method)
        };
        self.table.check(&name, &got, &wanted.replace("USER", &user));
    }

    /// The same for something that nobody without permission may do.
    fn denied(&mut self, text: &str, access: &str, id: &str) {
        self.case(NOTHING, text, &refused(access, id));
    }
}

fn refused(access: &str, id: &str) -> String {
    format!(
        "channel.close 403 ACCESS_REFUSED - {} in vhost '/' refused for user 'USER' {id}",
        access.replacen(' ', " access to ", 1)
    )
}

#[test]
fn queues() {
    let mut guarded = Guarded::new();
    for (text, access, id) in [
        ("queue.declare queue=nq", "configure queue 'nq'", "(50,10)"),
        ("queue.declare queue=eq durable", "configure queue 'eq'", "(50,10)"),
        ("queue.declare queue=eq passive", "configure queue 'eq'", "(50,10)"),
        ("queue.declare queue=mq passive", "configure queue 'mq'", "(50,10)"),
        ("queue.declare queue=exq exclusive", "configure queue 'exq'", "(50,10)"),
        ("queue.delete queue=eq", "configure queue 'eq'", "(50,40)"),
        ("queue.delete queue=mq", "configure queue 'mq'", "(50,40)"),
        ("queue.purge queue=eq", "read queue 'eq'", "(50,30)"),
        ("queue.purge queue=mq", "read queue 'mq'", "(50,30)"),
        ("queue.bind queue=eq exchange=ee", "write queue 'eq'", "(50,20)"),
        ("queue.bind queue=eq exchange=me", "write queue 'eq'", "(50,20)"),
        ("queue.bind queue=mq exchange=ee", "write queue 'mq'", "(50,20)"),
        ("queue.bind queue=eq", "write queue 'eq'", "(50,20)"),
        ("queue.unbind queue=eq exchange=ee", "write queue 'eq'", "(50,50)"),
    ] {
        guarded.denied(text, access, id);
    }
    let reserved =
        "channel.close 403 ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*' (50,10)";
    guarded.case(NOTHING, "queue.declare queue=amq.x", reserved);
    let write_only = ("^$", "^eq$", "^$");
    for (text, exchange, id) in [
        ("queue.bind queue=eq exchange=ee", "ee", "(50,20)"),
        ("queue.bind queue=eq exchange=me", "me", "(50,20)"),
        ("queue.unbind queue=eq exchange=ee", "ee", "(50,50)"),
    ] {
        guarded.case(write_only, text, &refused(&format!("read exchange '{exchange}'"), id));
    }
    let read_only = ("^$", "^$", "^ee$");
    guarded.case(read_only, "queue.bind queue=eq exchange=ee", &refused("write queue 'eq'", "(50,20)"));
    guarded.case(("^$", "^eq$", "^ee$"), "queue.bind queue=eq exchange=ee", "queue.bind-ok");
    // A made-up name is a name.
    let (_, mut client) = guarded.user(NOTHING);
    let got = client.call(1, "queue.declare");
    assert!(
        got.starts_with("channel.close 403 ACCESS_REFUSED - configure access to queue 'amq.gen-"),
        "{got}"
    );
    let (_, mut client) = guarded.user(("^amq\\.gen", "", ""));
    client.all_ok(1, &["queue.declare"]);
    // Whoever may configure learns what is wrong.
    guarded.case(
        (".*", "^$", "^$"),
        "queue.declare queue=eq",
        "channel.close 406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'eq' in vhost '/': received \
         'false' but current is 'true' (50,10)",
    );
}

#[test]
fn dead_letters_and_alternates_take_read_and_write() {
    let mut guarded = Guarded::new();
    let dead = |exchange: &str| {
        method("queue.declare queue=nq durable").args(&[("x-dead-letter-exchange", text(exchange))])
    };
    guarded.case((".*", "^$", "^$"), dead("ee"), &refused("read queue 'nq'", "(50,10)"));
    guarded.case((".*", ".*", "^$"), dead("ee"), &refused("read queue 'nq'", "(50,10)"));
    guarded.case((".*", "^$", "^nq$"), dead("ee"), &refused("write exchange 'ee'", "(50,10)"));
    guarded.case((".*", "^$", ".*"), dead(""), &refused("write exchange 'amq.default'", "(50,10)"));
    guarded.case(
        (".*", "^ee$", "^nq$"),
        dead("ee"),
        "queue.declare-ok queue='nq' message-count=0 consumer-count=0",
    );
    let alternate =
        || method("exchange.declare exchange=ne type=fanout").args(&[("alternate-exchange", text("ee"))]);
    guarded.case((".*", "^$", "^$"), alternate(), &refused("read exchange 'ne'", "(40,10)"));
    guarded.case((".*", "^$", ".*"), alternate(), &refused("write exchange 'ee'", "(40,10)"));
    guarded.case((".*", "^ee$", "^ne$"), alternate(), "exchange.declare-ok");
}

#[test]
fn exchanges() {
    let mut guarded = Guarded::new();
    for (text, access, id) in [
        ("exchange.declare exchange=ne type=direct", "configure exchange 'ne'", "(40,10)"),
        ("exchange.declare exchange=ee type=direct durable", "configure exchange 'ee'", "(40,10)"),
        ("exchange.declare exchange=ee passive", "configure exchange 'ee'", "(40,10)"),
        ("exchange.declare exchange=me passive", "configure exchange 'me'", "(40,10)"),
        ("exchange.declare exchange=amq.x type=direct", "configure exchange 'amq.x'", "(40,10)"),
        ("exchange.delete exchange=ee", "configure exchange 'ee'", "(40,20)"),
        ("exchange.delete exchange=me", "configure exchange 'me'", "(40,20)"),
        ("exchange.bind source=ee destination=e2", "write exchange 'e2'", "(40,30)"),
        ("exchange.unbind source=ee destination=e2", "write exchange 'e2'", "(40,40)"),
    ] {
        guarded.denied(text, access, id);
    }
    let bind = "exchange.bind source=ee destination=e2";
    guarded.case(("^$", "^e2$", "^$"), bind, &refused("read exchange 'ee'", "(40,30)"));
    guarded.case(("^$", "^$", "^ee$"), bind, &refused("write exchange 'e2'", "(40,30)"));
    guarded.case(("^$", "^e2$", "^ee$"), bind, "exchange.bind-ok");
    // What nobody may do is told before what this user may not.
    let default = "channel.close 403 ACCESS_REFUSED - operation not permitted on the default exchange";
    guarded.case(NOTHING, "exchange.declare type=direct", &format!("{default} (40,10)"));
    guarded.case(NOTHING, "exchange.delete", &format!("{default} (40,20)"));
    guarded.case(
        NOTHING,
        "exchange.declare exchange=ne type=nosuch",
        "channel.close 406 PRECONDITION_FAILED - unknown exchange type 'nosuch' (40,10)",
    );
    guarded.case(
        NOTHING,
        "exchange.delete exchange=amq.direct",
        "channel.close 403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed \
         (40,20)",
    );
}

#[test]
fn messages() {
    let mut guarded = Guarded::new();
    for (text, access, id) in [
        ("basic.publish exchange=ee", "write exchange 'ee'", "(60,40)"),
        ("basic.publish exchange=me", "write exchange 'me'", "(60,40)"),
        ("basic.publish routing-key=eq", "write exchange 'amq.default'", "(60,40)"),
        ("basic.publish exchange=amq.rabbitmq.trace", "write exchange 'amq.rabbitmq.trace'", "(60,40)"),
        ("basic.consume queue=eq", "read queue 'eq'", "(60,20)"),
        ("basic.consume queue=mq", "read queue 'mq'", "(60,20)"),
        ("basic.consume queue=exq", "read queue 'exq'", "(60,20)"),
        ("basic.get queue=eq", "read queue 'eq'", "(60,70)"),
        ("basic.get queue=mq", "read queue 'mq'", "(60,70)"),
    ] {
        guarded.denied(text, access, id);
    }
    guarded.case(("^$", "^amq\\.default$", "^$"), "basic.publish routing-key=eq", "basic.qos-ok");
    guarded.case(
        ("^$", ".*", "^$"),
        "basic.publish exchange=me",
        "channel.close 404 NOT_FOUND - no exchange 'me' in vhost '/' (60,40)",
    );
    guarded.case(
        NOTHING,
        "basic.publish exchange=ee immediate",
        "connection.close 540 NOT_IMPLEMENTED - immediate=true (60,40)",
    );
    guarded.case(
        ("^$", "^$", "^eq$"),
        "basic.get queue=eq no-ack",
        "basic.get-ok delivery-tag=1 exchange='' routing-key='eq' message-count=0 | m",
    );
}

/// A pattern is searched for; an empty one finds nothing but the empty name.
#[test]
fn patterns() {
    let mut guarded = Guarded::new();
    let declare = "queue.declare queue=some.queue";
    let ok = "queue.declare-ok queue='some.queue' message-count=0 consumer-count=0";
    let no = refused("configure queue 'some.queue'", "(50,10)");
    for (pattern, wanted) in [
        ("queue", ok),
        ("^some\\.", ok),
        ("^(?!amq\\.).*$", ok),
        ("some.queue", ok),
        ("^queue", &*no),
        ("^some$", &no),
        ("", &no),
        ("SOME", &no),
    ] {
        guarded.case((pattern, "", ""), declare, wanted);
    }
}

#[test]
fn entering_a_vhost() {
    let broker = Broker::start();
    broker.add_user("somebody", (".*", ".*", ".*"));
    broker.node.put_vhost("other", |_| {});
    broker.node.remove_permission("somebody", "/");
    for (vhost, wanted) in [
        ("/", "connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'somebody' (10,40)"),
        (
            "other",
            "connection.close 530 NOT_ALLOWED - access to vhost 'other' refused for user 'somebody' (10,40)",
        ),
        ("nosuch", "connection.close 530 NOT_ALLOWED - vhost nosuch not found (10,40)"),
    ] {
        let mut client = Client::begun(broker.address);
        client.call(0, start_ok("somebody", "somebody"));
        client.send(0, "connection.tune-ok channel-max=2047 frame-max=131072");
        assert_eq!(client.call(0, method("connection.open").set("virtual-host", vhost)), wanted);
        client.send(0, "connection.close-ok");
        assert_eq!(client.until_end(), "");
    }
}

#[test]
fn vhosts_are_apart() {
    let broker = Broker::start();
    broker.node.put_vhost("other", |_| {});
    let all = leveret::auth::Permission::all().unwrap();
    broker.node.put_permission("guest", "other", all);
    let mut client = Client::begun(broker.address);
    client.call(0, start_ok("guest", "guest"));
    client.send(0, "connection.tune-ok channel-max=2047 frame-max=131072");
    client.all_ok(0, &["connection.open virtual-host=other"]);
    client.open_channel(1);
    broker.channel().all_ok(1, &["queue.declare queue=q"]);
    assert_eq!(
        client.call(1, "queue.declare queue=q passive"),
        "channel.close 404 NOT_FOUND - no queue 'q' in vhost 'other' (50,10)"
    );
    assert_eq!(broker.queue("q").unwrap().ready, 0);
}

/// A change of permissions holds at once, for routes that are remembered as well; what was begun goes on.
#[test]
fn permissions_taken_away() {
    let broker = Broker::start();
    broker.add_user("somebody", (".*", ".*", ".*"));
    let mut client = Client::user(broker.address, "somebody");
    client.all_ok(1, &["queue.declare queue=q", "basic.consume queue=q consumer-tag=c no-ack"]);
    client.publish(1, "", "q", "m0");
    assert_eq!(client.next(1).short(), "c#1:m0");
    broker.node.remove_permission("somebody", "/");
    broker.channel().publish(1, "", "q", "m1");
    assert_eq!(client.next(1).short(), "c#2:m1");
    client.publish(1, "", "q", "m2");
    assert_eq!(
        client.next(1).to_string(),
        "channel.close 403 ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user \
         'somebody' (60,40)"
    );
}
