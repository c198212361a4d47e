//! Topic permissions: which routing keys a user may publish and bind with.

use leveret::auth::topic::TopicPermission;

use crate::common::Broker;
use crate::common::client::{Client, PLAIN};
use crate::common::table::{headers, list, text};

const ALL: (&str, &str, &str) = (".*", ".*", ".*");

struct Guarded {
    broker: Broker,
    client: Client,
}

impl Guarded {
    /// A user who may do everything but for topics of `t`, among exchanges `t`, `other` and `d`, and a queue `q`.
    fn new(write: &str, read: &str) -> Self {
        let broker = Broker::start();
        broker.channel().all_ok(
            1,
            &[
                "exchange.declare exchange=t type=topic durable",
                "exchange.declare exchange=other type=topic",
                "exchange.declare exchange=d type=direct",
                "queue.declare queue=q",
            ],
        );
        broker.add_user("ada", ALL);
        let mut client = Client::user(broker.address, "ada");
        client.all_ok(1, &["basic.qos"]);
        let guarded = Self { broker, client };
        guarded.permit("t", write, read);
        guarded.permit("d", "^$", "^$");
        guarded
    }

    fn permit(&self, exchange: &str, write: &str, read: &str) {
        let vhost = self.broker.node.vhost("/").unwrap();
        let permission = TopicPermission::new("ada", "/", write, read).unwrap();
        self.broker.node.put_topic_permission((&vhost, "ada"), exchange, permission).unwrap();
    }

    fn case(&mut self, method: &str, wanted: &str) {
        let got = self.client.call(1, method);
        self.check(method, &got, wanted);
    }

    /// Publishes, and compares what comes before the answer to another method.
    fn publish(&mut self, publish: &str, wanted: &str) {
        self.client.publish_with(1, publish, PLAIN, b"m");
        let got = self.client.call(1, "basic.qos");
        self.check(publish, &got, wanted);
    }

    fn check(&mut self, case: &str, got: &str, wanted: &str) {
        assert_eq!(got, wanted, "{case}");
        if got.starts_with("channel.close ") {
            self.client.send(1, "channel.close-ok");
            self.client.open_channel(1);
        }
    }
}

fn refused(access: &str, key: &str, id: &str) -> String {
    format!(
        "channel.close 403 ACCESS_REFUSED - {access} access to topic '{key}' in exchange 't' in vhost '/' refused for \
         user 'ada' {id}"
    )
}

const OK: &str = "basic.qos-ok";

#[test]
fn publishing() {
    let mut guarded = Guarded::new("^{username}\\.", "");
    let no = |key| refused("write", key, "(60,40)");
    guarded.publish("basic.publish exchange=t routing-key=ada.1", OK);
    guarded.publish("basic.publish exchange=t routing-key=bob.1", &no("bob.1"));
    guarded.publish("basic.publish exchange=t mandatory", &no(""));
    // Only topic exchanges have topics, and others have none that are restricted.
    guarded.publish("basic.publish exchange=d routing-key=bob.1", OK);
    guarded.publish("basic.publish exchange=other routing-key=bob.1", OK);
    guarded.publish("basic.publish routing-key=bob.1", OK);
    // Keys of copies count as well.
    for (field, key) in [("CC", "bob.2"), ("BCC", "bob.3")] {
        let copies = headers(&[(field, list(&[text("ada.1"), text(key)]))]);
        guarded.client.publish_with(1, "basic.publish exchange=t routing-key=ada.1", &copies, b"m");
        let got = guarded.client.call(1, "basic.qos");
        guarded.check(field, &got, &no(key));
    }
    // Others may use all topics.
    guarded.broker.add_user("bob", ALL);
    let mut bob = Client::user(guarded.broker.address, "bob");
    bob.all_ok(1, &["queue.bind queue=q exchange=t routing-key=#"]);
    bob.publish(1, "t", "x", "m");
    guarded.broker.until("q", 1, 0);
    // The exchange comes first, a transaction makes no difference.
    guarded.broker.add_user("ada", (".*", "^q$", ".*"));
    guarded.publish(
        "basic.publish exchange=t routing-key=bob.1",
        "channel.close 403 ACCESS_REFUSED - write access to exchange 't' in vhost '/' refused for user 'ada' (60,40)",
    );
    guarded.broker.add_user("ada", ALL);
    guarded.client.all_ok(1, &["tx.select"]);
    guarded.publish("basic.publish exchange=t routing-key=bob.1", &no("bob.1"));
}

/// A route that is remembered has been asked for, with the permissions that there were.
#[test]
fn a_change_holds_for_routes_that_are_known() {
    let mut guarded = Guarded::new("a", "");
    let (a, b) = ("basic.publish exchange=t routing-key=a", "basic.publish exchange=t routing-key=b");
    for _ in 0..3 {
        guarded.publish(a, OK);
    }
    guarded.permit("t", "b", "");
    guarded.publish(a, &refused("write", "a", "(60,40)"));
    for _ in 0..3 {
        guarded.publish(b, OK);
    }
    guarded.broker.node.vhost("/").unwrap().with_vhost(|vhost| vhost.remove_topic_permissions("ada", None));
    guarded.publish(a, OK);
    // An exchange that comes anew is another one.
    guarded.permit("t", "b", "");
    guarded.publish(a, &refused("write", "a", "(60,40)"));
    guarded.client.all_ok(1, &["exchange.delete exchange=t", "exchange.declare exchange=t type=topic"]);
    guarded.publish(a, OK);
}

#[test]
fn binding() {
    let mut guarded = Guarded::new("", "^r");
    let no = |key, id| refused("read", key, id);
    for (method, wanted) in [
        ("queue.bind queue=q exchange=t routing-key=r.#", "queue.bind-ok"),
        ("queue.bind queue=q exchange=t routing-key=x", &*no("x", "(50,20)")),
        ("queue.bind queue=q exchange=t", &no("", "(50,20)")),
        ("queue.unbind queue=q exchange=t routing-key=x", &no("x", "(50,50)")),
        ("queue.unbind queue=q exchange=t routing-key=r.#", "queue.unbind-ok"),
        ("exchange.bind destination=d source=t routing-key=x", &no("x", "(40,30)")),
        ("exchange.unbind destination=d source=t routing-key=x", &no("x", "(40,40)")),
        ("exchange.bind destination=t source=d routing-key=x", "exchange.bind-ok"),
        ("exchange.bind destination=t source=other routing-key=x", "exchange.bind-ok"),
        ("queue.bind queue=q exchange=d routing-key=x", "queue.bind-ok"),
        // Asked for before the destination is looked for.
        ("queue.bind queue=nosuch exchange=t routing-key=x", &no("x", "(50,20)")),
        ("exchange.bind destination=nosuch source=t routing-key=x", &no("x", "(40,30)")),
        (
            "queue.bind queue=q exchange=nosuch routing-key=x",
            "channel.close 404 NOT_FOUND - no exchange 'nosuch' in vhost '/' (50,20)",
        ),
    ] {
        guarded.case(method, wanted);
    }
}
