//! Which queues a message reaches.

use crate::common::client::{Client, PLAIN};
use crate::common::method::method;
use crate::common::table::{
    Field, binary, double, flag, headers, int, list, long, map, sized, text, typed, void,
};
use crate::common::{Broker, Table};

/// One queue for each binding, bound to one exchange.
struct Matrix {
    broker: Broker,
    client: Client,
    exchange: &'static str,
    queues: Vec<String>,
}

impl Matrix {
    fn new(exchange: &'static str) -> Self {
        let broker = Broker::start();
        let client = broker.channel();
        Self { broker, client, exchange, queues: Vec::new() }
    }

    fn bind(&mut self, name: &str, key: &str, arguments: &[(&str, Field)]) {
        let declared = self.client.call(1, method("queue.declare").set("queue", name));
        assert!(declared.starts_with("queue.declare-ok "), "{declared}");
        let bind = method("queue.bind").set("exchange", self.exchange).set("queue", name);
        let got = self.client.call(1, bind.set("routing-key", key).args(arguments));
        assert_eq!(got, "queue.bind-ok", "{name}");
        self.queues.push(name.to_owned());
    }

    fn publish(&mut self, key: &str, properties: &[u8], body: &str) {
        let publish = method("basic.publish").set("exchange", self.exchange).set("routing-key", key);
        self.client.publish_with(1, publish, properties, body.as_bytes());
    }

    fn got(&mut self, queue: &str) -> Vec<String> {
        self.client.bodies(1, queue)
    }
}

const KEYS: [&str; 20] = [
    "", "a", "b", "a.b", "a.b.c", "a..b", ".a", "a.", ".", "..", "a.b.c.d", "b.a", "a.x.b", "*", "#", "a.*",
    "a.#", "A.b", "a.b.", ".a.b",
];

#[test]
fn topics() {
    let all = KEYS.join(" ");
    let some = KEYS[1..].join(" ");
    let two = some.replacen("a b ", "", 1).replacen(" * # ", " ", 1);
    let patterns: &[(&str, &str)] = &[
        ("a", "a"),
        ("a.b", "a.b"),
        ("", ""),
        ("a.", "a."),
        (".", "."),
        ("a..b", "a..b"),
        ("*", "a b * #"),
        ("*.*", "a.b .a a. . b.a a.* a.# A.b"),
        ("a.*", "a.b a. a.* a.#"),
        ("*.b", "a.b A.b"),
        ("a.*.b", "a..b a.x.b"),
        ("*.*.*", "a.b.c a..b .. a.x.b a.b. .a.b"),
        ("*.", "a. ."),
        ("#", &all),
        ("a.#", "a a.b a.b.c a..b a. a.b.c.d a.x.b a.* a.# a.b."),
        ("#.a", "a .a b.a"),
        ("#.b.#", "b a.b a.b.c a..b a.b.c.d b.a a.x.b A.b a.b. .a.b"),
        ("a.#.b", "a.b a..b a.x.b"),
        ("#.#", &all),
        ("#.c", "a.b.c"),
        ("*.#", &some),
        ("#.*", &some),
        ("*.#.*", &two),
        ("a.*.#", "a.b a.b.c a..b a. a.b.c.d a.x.b a.* a.# a.b."),
        ("#.*.b", "a.b a..b a.x.b A.b .a.b"),
        ("a.#.*", "a.b a.b.c a..b a. a.b.c.d a.x.b a.* a.# a.b."),
        ("#.b.*", "a.b.c b.a a.b."),
        ("*.#.b.#", "a.b a.b.c a..b a.b.c.d a.x.b A.b a.b. .a.b"),
        ("a*", "nothing"),
        ("*a", "nothing"),
        ("a#", "nothing"),
        ("#a", "nothing"),
        ("a.b*", "nothing"),
        ("**", "nothing"),
        ("##", "nothing"),
    ];
    let mut matrix = Matrix::new("amq.topic");
    for (pattern, _) in patterns {
        matrix.bind(&format!("q {pattern}"), pattern, &[]);
    }
    for key in KEYS {
        matrix.publish(key, PLAIN, key);
    }
    let mut table = Table::default();
    for (pattern, wanted) in patterns {
        let got = matrix.got(&format!("q {pattern}"));
        let shown = if got.is_empty() { "nothing".to_owned() } else { got.join(" ") };
        table.check(pattern, &shown, wanted);
    }
}

/// What one binding took away must not go with another one.
#[test]
fn topics_unbound() {
    let mut matrix = Matrix::new("amq.topic");
    let patterns = ["a.#", "a.*", "a.b", "#", "*.b"];
    for pattern in patterns {
        matrix.bind(pattern, pattern, &[]);
    }
    // The same pattern once more, for a queue that has others.
    matrix.client.all_ok(1, &["queue.bind queue=a.b exchange=amq.topic routing-key=a.*"]);
    let unbind =
        |pattern: &str| method("queue.unbind queue=a.* exchange=amq.topic").set("routing-key", pattern);
    assert_eq!(matrix.client.call(1, unbind("a.*")), "queue.unbind-ok");
    matrix.client.all_ok(1, &["queue.delete queue=a.#"]);
    matrix.publish("a.b", PLAIN, "one");
    matrix.publish("a.c", PLAIN, "two");
    assert_eq!(matrix.got("a.*"), [""; 0]);
    assert_eq!(matrix.got("a.b"), ["one", "two"]);
    assert_eq!(matrix.got("#"), ["one", "two"]);
    assert_eq!(matrix.got("*.b"), ["one"]);
}

#[test]
fn headers_all_and_any() {
    let mut matrix = Matrix::new("amq.headers");
    let both = [("h1", text("v1")), ("h2", text("v2"))];
    let with = |how: &str| [&[("x-match", text(how))][..], &both].concat();
    matrix.bind("all", "", &with("all"));
    matrix.bind("any", "", &with("any"));
    matrix.bind("unsaid", "", &both);
    matrix.bind("nothing, all", "", &[("x-match", text("all"))]);
    matrix.bind("nothing, any", "", &[("x-match", text("any"))]);
    matrix.bind("no arguments", "", &[]);
    let [one, two] = &both;
    for (name, properties) in [
        ("both", headers(&both)),
        ("first", headers(&both[..1])),
        ("more", headers(&[one.clone(), two.clone(), ("h3", int(1))])),
        ("wrong", headers(&[one.clone(), ("h2", text("no"))])),
        ("other", headers(&[("h9", text("v"))])),
        ("none", PLAIN.to_vec()),
        ("empty", headers(&[])),
    ] {
        matrix.publish("any key", &properties, name);
    }
    assert_eq!(matrix.got("all"), ["both", "more"]);
    assert_eq!(matrix.got("any"), ["both", "first", "more", "wrong"]);
    assert_eq!(matrix.got("unsaid"), ["both", "more"]);
    let everything = ["both", "first", "more", "wrong", "other", "none", "empty"];
    assert_eq!(matrix.got("nothing, all"), everything);
    assert_eq!(matrix.got("nothing, any"), [""; 0]);
    assert_eq!(matrix.got("no arguments"), everything);
}

/// Names that begin with `x-` count for the two kinds that say so.
#[test]
fn headers_with_x() {
    let mut matrix = Matrix::new("amq.headers");
    let a = |value| ("a", int(value));
    let xb = |value| ("x-b", int(value));
    for how in ["all", "any", "all-with-x", "any-with-x"] {
        matrix.bind(how, "", &[("x-match", text(how)), a(1), xb(2)]);
        matrix.bind(&format!("x {how}"), "", &[("x-match", text(how)), xb(2)]);
    }
    for (name, fields) in [
        ("none", vec![]),
        ("a1", vec![a(1)]),
        ("b2", vec![xb(2)]),
        ("a1b2", vec![a(1), xb(2)]),
        ("a1b3", vec![a(1), xb(3)]),
        ("a2b2", vec![a(2), xb(2)]),
    ] {
        matrix.publish("", &headers(&fields), name);
    }
    for (queue, wanted) in [
        ("all", "a1 a1b2 a1b3"),
        ("any", "a1 a1b2 a1b3"),
        ("all-with-x", "a1b2"),
        ("any-with-x", "a1 b2 a1b2 a1b3 a2b2"),
        ("x all", "none a1 b2 a1b2 a1b3 a2b2"),
        ("x any", ""),
        ("x all-with-x", "b2 a1b2 a2b2"),
        ("x any-with-x", "b2 a1b2 a2b2"),
    ] {
        assert_eq!(matrix.got(queue).join(" "), wanted, "{queue}");
    }
}

/// Whole numbers are equal whatever their width, texts and octets are equal, and no text is a number.
#[test]
fn headers_of_many_types() {
    let values: Vec<(&str, Field)> = vec![
        ("bool", flag(true)),
        ("int8", typed(b'b', &[5])),
        ("uint8", typed(b'B', &[5])),
        ("int16", typed(b's', &[0, 5])),
        ("uint16", typed(b'u', &[0, 5])),
        ("int32", int(5)),
        ("uint32", typed(b'i', &[0, 0, 0, 5])),
        ("int64", long(5)),
        ("float", typed(b'f', &5.0_f32.to_be_bytes())),
        ("double", double(5.0)),
        ("decimal", typed(b'D', &[0, 0, 0, 0, 5])),
        ("text", text("5")),
        ("octets", binary(b"5")),
        ("timestamp", typed(b'T', &[0, 0, 0, 0, 0, 0, 0, 5])),
        ("table", map(&[("a", int(5))])),
        ("array", list(&[int(5)])),
        ("void", void()),
    ];
    let mut matrix = Matrix::new("amq.headers");
    for (name, value) in &values {
        matrix.bind(name, "", &[("x-match", text("all")), ("h", value.clone())]);
    }
    for (name, value) in &values {
        matrix.publish("", &headers(&[("h", value.clone())]), name);
    }
    let whole = "int8 uint8 int16 uint16 int32 uint32 int64";
    let mut table = Table::default();
    for (name, _) in &values {
        let wanted = match *name {
            // RabbitMQ takes a binding's timestamp for a number, but not a message's.
            "int8" | "uint8" | "int16" | "uint16" | "int32" | "uint32" | "int64" | "timestamp" => whole,
            "float" | "double" => "float double",
            "text" | "octets" => "text octets",
            // A void in a binding asks only for the name.
            "void" => {
                "bool int8 uint8 int16 uint16 int32 uint32 int64 float double decimal text octets timestamp table \
                 array void"
            }
            itself => itself,
        };
        table.check(name, &matrix.got(name).join(" "), wanted);
    }
}

#[test]
fn headers_that_hold_others() {
    let mut matrix = Matrix::new("amq.headers");
    matrix.bind("list", "", &[("a", list(&[int(1), int(2)]))]);
    matrix.bind("table", "", &[("a", map(&[("z", int(1))]))]);
    matrix.publish("", &headers(&[("a", list(&[int(1), int(2)]))]), "12");
    matrix.publish("", &headers(&[("a", list(&[int(2), int(1)]))]), "21");
    matrix.publish("", &headers(&[("a", map(&[("z", int(1))]))]), "z1");
    matrix.publish("", &headers(&[("a", map(&[("z", int(2))]))]), "z2");
    assert_eq!(matrix.got("list"), ["12"]);
    assert_eq!(matrix.got("table"), ["z1"]);
    // Headers are looked at behind other properties as well.
    matrix.bind("behind", "", &[("b", int(1))]);
    let table = &headers(&[("b", int(1))])[2..];
    let properties = [&[0xB0, 0, 3][..], b"t/x", table, &[2]].concat();
    matrix.publish("", &properties, "found");
    assert_eq!(matrix.got("behind"), ["found"]);
    assert_eq!(sized(b""), [0; 4]);
}

#[test]
fn direct_fanout_and_default() {
    let mut matrix = Matrix::new("amq.direct");
    matrix.bind("one", "k", &[]);
    matrix.bind("two", "k", &[]);
    matrix.bind("three", "other", &[]);
    matrix.client.all_ok(
        1,
        &[
            // Bound twice, for a message that comes once.
            "queue.bind queue=three exchange=amq.direct routing-key=k",
            "queue.bind queue=two exchange=amq.fanout routing-key=ignored",
            "queue.bind queue=three exchange=amq.fanout",
            "queue.bind queue=three exchange=amq.fanout routing-key=ignored",
        ],
    );
    matrix.publish("k", PLAIN, "k");
    matrix.publish("other", PLAIN, "other");
    matrix.publish("K", PLAIN, "nobody's");
    matrix.client.publish(1, "amq.fanout", "whatever", "fanout");
    matrix.client.publish(1, "", "one", "default");
    matrix.client.publish(1, "", "k", "nobody's");
    assert_eq!(matrix.got("one"), ["k", "default"]);
    assert_eq!(matrix.got("two"), ["k", "fanout"]);
    assert_eq!(matrix.got("three"), ["k", "other", "fanout"]);
    assert_eq!(matrix.broker.queue("one").map(|counts| counts.ready), Some(0));
}

#[test]
fn exchanges_bound_to_exchanges() {
    let broker = Broker::start();
    let mut client = broker.channel();
    client.all_ok(
        1,
        &[
            "exchange.declare exchange=one type=fanout",
            "exchange.declare exchange=two type=topic",
            "exchange.declare exchange=three type=direct",
            "queue.declare queue=q",
            "queue.declare queue=r",
            // A circle, with the queue at two of its places.
            "exchange.bind source=one destination=two routing-key=ignored",
            "exchange.bind source=two destination=one routing-key=a.*",
            "exchange.bind source=two destination=three routing-key=a.b",
            "queue.bind queue=q exchange=one",
            "queue.bind queue=q exchange=two routing-key=#",
            // The last exchange looks at the key once more.
            "queue.bind queue=r exchange=three routing-key=a.b",
        ],
    );
    for (exchange, key) in [("one", "k"), ("two", "k"), ("two", "a.b"), ("one", "a.b"), ("three", "a.b")] {
        client.publish(1, exchange, key, &format!("{exchange}/{key}"));
    }
    assert_eq!(client.bodies(1, "q"), ["one/k", "two/k", "two/a.b", "one/a.b"]);
    assert_eq!(client.bodies(1, "r"), ["two/a.b", "one/a.b", "three/a.b"]);
    client.all_ok(1, &["exchange.unbind source=two destination=three routing-key=a.b"]);
    client.publish(1, "two", "a.b", "no more");
    client.quiet(1);
    assert_eq!(broker.queue("r").unwrap().ready, 0);
}

#[test]
fn alternate_exchanges() {
    let broker = Broker::start();
    let mut client = broker.channel();
    let declare = |name: &str, kind: &str, alternate: &str| {
        let declare = method("exchange.declare").set("exchange", name).set("type", kind);
        declare.args(&[("alternate-exchange", text(alternate))])
    };
    for (name, kind, alternate) in
        [("first", "topic", "second"), ("second", "direct", "third"), ("lost", "direct", "missing"), {
            ("self", "direct", "self")
        }]
    {
        assert_eq!(client.call(1, declare(name, kind, alternate)), "exchange.declare-ok");
    }
    client.all_ok(
        1,
        &[
            "exchange.declare exchange=third type=fanout",
            "queue.declare queue=q",
            "queue.declare queue=own",
            "queue.bind queue=own exchange=first routing-key=a.*",
            "queue.bind queue=q exchange=third",
        ],
    );
    // Through the whole chain, and not returned; or not at all, for it was routed.
    client.publish_with(1, "basic.publish exchange=first routing-key=k mandatory", PLAIN, b"down");
    client.publish_with(1, "basic.publish exchange=first routing-key=a.b mandatory", PLAIN, b"kept");
    client.quiet(1);
    assert_eq!(client.get_all(1, "q", " no-ack"), "down#1(left 0)");
    assert_eq!(client.get_all(1, "own", " no-ack"), "kept#2(left 0)");
    // A chain that ends nowhere returns the message as it was sent.
    for exchange in ["lost", "self"] {
        let publish = method("basic.publish routing-key=k mandatory").set("exchange", exchange);
        client.publish_with(1, publish, PLAIN, b"back");
        let wanted = format!(
            "basic.return reply-code=312 reply-text='NO_ROUTE' exchange='{exchange}' routing-key='k' | back"
        );
        assert_eq!(client.next(1).to_string(), wanted);
    }
    // A route that is remembered does not outlive a binding.
    client.all_ok(1, &["queue.bind queue=own exchange=first routing-key=k"]);
    client.publish(1, "first", "k", "now here");
    assert_eq!(client.get_all(1, "own", " no-ack"), "now here#3(left 0)");
    client.all_ok(1, &["queue.unbind queue=own exchange=first routing-key=k"]);
    client.publish(1, "first", "k", "there again");
    assert_eq!(client.get_all(1, "q", " no-ack"), "there again#4(left 0)");
}
