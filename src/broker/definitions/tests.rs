//! What is noted as a change, and what comes back.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::*;
use crate::broker::ConnectionId;
use crate::broker::effects::{Delivery, Effects, Got};
use crate::broker::exchange::declare::Declaration as NewExchange;
use crate::broker::queue::declare::Declaration as NewQueue;
use crate::wire::content::{Body, Message};

/// Nobody listens.
pub(crate) struct Nobody;

impl Effects for Nobody {
    fn has_credit(&mut self, _: ConnectionId) -> bool {
        true
    }
    fn deliver(&mut self, _: &Delivery<'_>, _: &Message<'_>) {}
    fn got(&mut self, _: ConnectionId, _: u16, _: &Got, _: &Message<'_>) {}
    fn cancelled(&mut self, _: ConnectionId, _: u16, _: &[u8]) {}
    fn retry(&mut self, _: ConnectionId) {}
}

impl Vhost {
    /// Everything durable, in order.
    pub(crate) fn definitions(&self) -> Definitions {
        let own = |name: &str| name.is_empty() || name.starts_with("amq.");
        let mut all = Definitions {
            exchanges: self.exchanges().filter_map(Exchange::durable).filter(|x| !own(&x.name)).collect(),
            queues: self.queues().filter_map(Queue::durable).collect(),
            bindings: self.bindings.values().filter_map(|binding| self.durable_binding(binding)).collect(),
            topic_permissions: Vec::new(),
            marks: Vec::new(),
        };
        all.sort();
        all
    }
}

impl Definitions {
    /// Brings them in an order that says nothing.
    pub(crate) fn sort(&mut self) {
        self.exchanges.sort_by_key(|exchange| exchange.name.clone());
        self.queues.sort_by_key(|queue| queue.name.clone());
        self.bindings.sort_by_cached_key(|binding| format!("{binding:?}"));
    }
}

fn vhost() -> Vhost {
    let mut vhost = Vhost::new("v");
    vhost.commits.turn_on();
    vhost
}

fn with_argument(name: &str) -> FieldTable {
    let mut table = FieldTable::default();
    table.insert(name.into(), AMQPValue::Boolean(true));
    table
}

/// Does what a line says: what kind of thing, its names, and flags by their first letters.
fn run(vhost: &mut Vhost, connection: ConnectionId, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let flag = |flag: &str| words.contains(&flag);
    let arguments = if flag("arg") { with_argument("y") } else { FieldTable::default() };
    let done = match words[..] {
        ["exchange", name, kind, ..] => vhost.declare_exchange(NewExchange {
            name: name.into(),
            kind: Kind::from_name(kind).expect("a type"),
            durable: flag("durable"),
            auto_delete: flag("auto"),
            internal: flag("internal"),
            arguments,
            creator: None,
        }),
        ["queue", name, ..] => {
            let (durable, exclusive, auto_delete) = (flag("durable"), flag("exclusive"), flag("auto"));
            let (name, creator) = (name.into(), None);
            let wanted = NewQueue { name, durable, exclusive, auto_delete, arguments, creator };
            vhost.declare_queue(Some(connection), wanted).map(drop)
        }
        ["bind", x, q, key, ..] => {
            vhost.bind_queue(Some(connection), q.as_bytes(), x.as_bytes(), key.as_bytes(), arguments)
        }
        ["unbind", x, q, key, ..] => {
            vhost.unbind_queue(Some(connection), q.as_bytes(), x.as_bytes(), key.as_bytes(), &arguments)
        }
        ["join", from, to, key, ..] => {
            vhost.bind_exchange(to.as_bytes(), from.as_bytes(), key.as_bytes(), arguments)
        }
        ["part", from, to, key, ..] => {
            vhost.unbind_exchange(to.as_bytes(), from.as_bytes(), key.as_bytes(), &arguments)
        }
        ["delete", "exchange", name] => vhost.delete_exchange(name.as_bytes(), false),
        ["delete", "queue", name] => {
            vhost.delete_queue(Some(connection), name.as_bytes(), false, false, &mut Nobody).map(drop)
        }
        ["come-and-go", queue] => come_and_go(vhost, connection, queue),
        _ => panic!("{line}"),
    };
    done.unwrap_or_else(|e| panic!("{line}: {e:?}"));
}

/// A consumer is there for a moment.
fn come_and_go(
    vhost: &mut Vhost,
    connection: ConnectionId,
    queue: &str,
) -> Result<(), crate::wire::reply::Exception> {
    let channel = vhost.open_channel(connection, 1);
    let (queue, arguments) = (queue.as_bytes(), FieldTable::default());
    let wanted = crate::broker::queue::consumer::Consume {
        queue,
        tag: b"t",
        no_ack: true,
        exclusive: false,
        arguments,
    };
    vhost.consume(channel, wanted)?;
    vhost.close_channel(channel, &mut Nobody);
    Ok(())
}

fn show(change: &Change) -> String {
    let binding = |binding: &DurableBinding| {
        let to = match &binding.destination {
            End::Queue(name) => name,
            End::Exchange(name) => &format!("exchange {name}").into(),
        };
        let more = if binding.arguments.inner().is_empty() { "" } else { " arg" };
        format!("{} -{}-> {to}{more}", binding.source, text(&binding.routing_key))
    };
    match change {
        Change::PutExchange(x) => format!("+exchange {} {}", x.name, x.kind.name()),
        Change::DeleteExchange(name) => format!("-exchange {name}"),
        Change::PutQueue(queue) => format!("+queue {} log {}", queue.name, queue.log.0),
        Change::DeleteQueue { name, log } => format!("-queue {name} log {}", log.0),
        Change::PutBinding(it) => format!("+{}", binding(it)),
        Change::DeleteBinding(it) => format!("-{}", binding(it)),
        Change::PutMark(_) | Change::DeleteMark { .. } => "marks".to_owned(),
        Change::PutTopicPermission(_) | Change::DeleteTopicPermission { .. } => "topics".to_owned(),
    }
}

fn changes(vhost: &mut Vhost) -> Vec<String> {
    vhost.take_changes().iter().map(show).collect()
}

#[test]
fn what_is_durable_is_noted_and_nothing_else() {
    let mut vhost = vhost();
    let connection = vhost.connect();
    let steps: &[(&str, &[&str])] = &[
        ("exchange x topic durable", &["+exchange x topic"]),
        ("exchange x topic durable", &[]),
        ("exchange t topic", &[]),
        ("queue q durable", &["+queue q log 1"]),
        ("queue q durable", &[]),
        ("queue t", &[]),
        ("queue mine durable exclusive", &[]),
        ("queue auto durable auto", &["+queue auto log 2"]),
        ("bind x q k", &["+x -k-> q"]),
        ("bind x q k", &[]),
        ("bind x q k arg", &["+x -k-> q arg"]),
        ("bind x t k", &[]),
        ("bind t q k", &[]),
        ("bind x mine k", &[]),
        ("bind amq.topic q k", &["+amq.topic -k-> q"]),
        ("join x t k", &[]),
        ("join t x k", &[]),
        ("join x amq.fanout k", &["+x -k-> exchange amq.fanout"]),
        ("unbind x q k", &["-x -k-> q"]),
        ("unbind x q k", &[]),
        ("unbind x t k", &[]),
        ("unbind t q k", &[]),
        ("part x amq.fanout k", &["-x -k-> exchange amq.fanout"]),
        ("part x t k", &[]),
        ("come-and-go q", &[]),
        ("come-and-go auto", &["-queue auto log 2"]),
        ("delete queue t", &[]),
        ("delete exchange t", &[]),
        ("delete exchange x", &["-x -k-> q arg", "-exchange x"]),
        ("delete queue q", &["-amq.topic -k-> q", "-queue q log 1"]),
        ("queue q durable", &["+queue q log 3"]),
    ];
    for (line, noted) in steps {
        run(&mut vhost, connection, line);
        assert_eq!(changes(&mut vhost), *noted, "{line}");
    }
    vhost.disconnect(connection, &mut Nobody);
    assert_eq!(changes(&mut vhost), [""; 0], "an exclusive queue goes unnoticed");
}

#[test]
fn exchanges_that_go_with_their_last_binding() {
    let mut vhost = vhost();
    let connection = vhost.connect();
    let steps: &[(&str, &[&str])] = &[
        ("exchange a fanout durable auto", &["+exchange a fanout"]),
        ("exchange b fanout durable auto", &["+exchange b fanout"]),
        ("exchange c fanout auto", &[]),
        ("queue q durable", &["+queue q log 1"]),
        ("queue t", &[]),
        ("join a b k", &["+a -k-> exchange b"]),
        ("join c a k", &[]),
        ("bind b q k", &["+b -k-> q"]),
        // By and by b, a and c go.
        (
            "delete queue q",
            &["-b -k-> q", "-a -k-> exchange b", "-exchange b", "-exchange a", "-queue q log 1"],
        ),
        ("exchange a fanout durable auto", &["+exchange a fanout"]),
        ("bind a t k", &[]),
        // A binding that is not kept takes an exchange with it that is.
        ("unbind a t k", &["-exchange a"]),
    ];
    for (line, noted) in steps {
        run(&mut vhost, connection, line);
        assert_eq!(changes(&mut vhost), *noted, "{line}");
    }
    assert!(vhost.exchange(b"c").is_none());
}

#[test]
fn a_change_belongs_to_the_open_commit() {
    let mut vhost = vhost();
    let connection = vhost.connect();
    run(&mut vhost, connection, "queue t");
    assert_eq!(vhost.commits.definitions(), None);
    vhost.commits.close();
    run(&mut vhost, connection, "queue q durable");
    assert_eq!(vhost.commits.definitions(), Some(2));
}

#[test]
fn nothing_is_noted_for_a_vhost_that_is_not_kept() {
    let mut vhost = Vhost::new("v");
    let connection = vhost.connect();
    run(&mut vhost, connection, "queue q durable");
    run(&mut vhost, connection, "bind amq.topic q k");
    assert!(vhost.take_changes().is_empty());
}

#[test]
fn a_restored_vhost_has_the_same_and_no_changes() {
    let mut before = vhost();
    let connection = before.connect();
    for line in [
        "exchange x topic durable internal arg",
        "exchange h headers durable auto arg",
        "queue q durable arg",
        "queue gone durable",
        "queue auto durable auto",
        "bind x q a.# arg",
        "bind amq.topic auto b",
        "join h x k arg",
        "delete queue gone",
    ] {
        run(&mut before, connection, line);
    }
    let mut after = vhost();
    assert_eq!(after.restore_definitions(before.definitions()), []);
    assert!(after.take_changes().is_empty());
    assert_eq!(after.definitions(), before.definitions());
    let topic =
        Message { exchange: b"amq.topic", routing_key: b"b", properties: &[0, 0], body: Body::Inline(b"") };
    assert_eq!(after.route(&topic).targets.len(), 1, "bindings lead somewhere");
    let connection = after.connect();
    run(&mut after, connection, "queue new durable");
    assert_eq!(changes(&mut after), ["+queue new log 4"], "numbers go on after the last one");
}

#[test]
fn what_would_be_refused_today_comes_back_and_the_rest_is_told() {
    let mut vhost = vhost();
    let queue = |name: &str, arguments| DurableQueue {
        name: name.into(),
        log: LogId(7),
        auto_delete: false,
        arguments,
        creator: None,
    };
    let mut unknown = FieldTable::default();
    unknown.insert("x-queue-type".into(), AMQPValue::LongString("later".into()));
    let mut negative = FieldTable::default();
    negative.insert("x-message-ttl".into(), AMQPValue::LongInt(-1));
    let mut match_what = FieldTable::default();
    match_what.insert("x-match".into(), AMQPValue::LongInt(5));
    let binding = |source: &str, to: &str, arguments| DurableBinding {
        source: source.into(),
        destination: End::Queue(to.into()),
        routing_key: b"k"[..].into(),
        arguments,
    };
    let stored = Definitions {
        exchanges: vec![DurableExchange {
            name: "amq.topic".into(),
            kind: Kind::Direct,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
            log: None,
            creator: None,
        }],
        queues: vec![
            queue("later", unknown),
            queue("negative", negative),
            queue("amq.own", with_argument("y")),
        ],
        bindings: vec![
            binding("amq.headers", "later", match_what),
            binding("nowhere", "later", FieldTable::default()),
            binding("amq.fanout", "nobody", FieldTable::default()),
        ],
        topic_permissions: Vec::new(),
        marks: Vec::new(),
    };
    let errors: Vec<_> = vhost.restore_definitions(stored).iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "the exchange 'amq.topic' in vhost 'v' is there already",
            "invalid arg 'x-queue-type' for queue 'later' in vhost 'v': \"unsupported queue type 'later'\"; \
             taken for a classic one",
            "an end of a binding is missing: from exchange 'nowhere' with key 'k' to queue 'later' in vhost 'v'",
            "an end of a binding is missing: from exchange 'amq.fanout' with key 'k' to queue 'nobody' in vhost 'v'",
        ]
    );
    let found = vhost.definitions();
    assert_eq!((found.queues.len(), found.bindings.len()), (3, 1));
    assert_eq!(vhost.exchange(b"amq.topic").map(|x| x.kind), Some(Kind::Topic));
}
