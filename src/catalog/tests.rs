//! The catalog on real files, and on one that fails.
//!
//! - `disk`: a disk in memory with faults
//! - `faults`: crashes, full disks, failed syncs, damage
//! - `vhosts`: random changes of a vhost, there and back

mod disk;
mod faults;
mod vhosts;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};

use super::*;
use crate::auth::limits::{Limit, UserLimits, VhostLimits};
use crate::auth::password::{Algorithm, PasswordHash};
use crate::broker::definitions::{
    Change, DurableBinding, DurableExchange, DurableQueue, DurableTopicPermission, End,
};
use crate::broker::exchange::Kind;
use crate::broker::queue::arguments::QueueType;
use crate::broker::stream::marks::{About as Marked, DurableMark};
use crate::log::disk::LogId;

/// A folder that goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("leveret-catalog-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("catalog")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn vhost(number: VhostNumber, name: &str) -> NodeChange {
    NodeChange::PutVhost(VhostDefinition { number, name: name.into(), about: About::default() })
}

fn queue(vhost: VhostNumber, name: &str, log: u64) -> NodeChange {
    let arguments = FieldTable::default();
    let (name, log, creator) = (name.into(), LogId(log), None);
    let queue = DurableQueue { name, log, auto_delete: false, arguments, creator };
    NodeChange::InVhost { vhost, change: Change::PutQueue(queue) }
}

fn binding(source: &str, queue: &str, routing_key: &[u8], arguments: FieldTable) -> DurableBinding {
    let destination = End::Queue(queue.into());
    DurableBinding { source: source.into(), destination, routing_key: routing_key.into(), arguments }
}

fn bind(vhost: VhostNumber, binding: DurableBinding) -> NodeChange {
    NodeChange::InVhost { vhost, change: Change::PutBinding(binding) }
}

fn user(name: &str) -> NodeChange {
    let password = Some(PasswordHash::new(b"secret", [1, 2, 3, 4]));
    let (tags, limits) = (vec!["monitoring".into()], UserLimits::default());
    NodeChange::PutUser(UserDefinition { name: name.into(), password, tags, limits })
}

fn parameter(vhost: VhostNumber, component: &str, name: &str) -> ParameterDefinition {
    let value = format!("{{\"of\":\"{component}\"}}").into();
    ParameterDefinition { vhost, component: component.into(), name: name.into(), value }
}

fn global_parameter(name: &str, value: &str) -> GlobalParameter {
    GlobalParameter { name: name.into(), value: value.into() }
}

fn permission(user: &str, vhost: VhostNumber) -> PermissionDefinition {
    PermissionDefinition {
        user: user.into(),
        vhost,
        configure: ".*".into(),
        write: "^a\"\\.".into(),
        read: "".into(),
    }
}

fn table(fields: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(name.into(), value);
    }
    table
}

/// Every type of argument that a client can declare.
fn all_types() -> FieldTable {
    let inner = table([("ä", AMQPValue::Void), ("", AMQPValue::FieldTable(FieldTable::default()))]);
    let array = vec![AMQPValue::LongInt(1), AMQPValue::FieldArray(FieldArray::default())];
    table([
        ("bool", AMQPValue::Boolean(true)),
        ("b", AMQPValue::ShortShortInt(i8::MIN)),
        ("B", AMQPValue::ShortShortUInt(u8::MAX)),
        ("s", AMQPValue::ShortInt(i16::MIN)),
        ("u", AMQPValue::ShortUInt(u16::MAX)),
        ("I", AMQPValue::LongInt(i32::MIN)),
        ("i", AMQPValue::LongUInt(u32::MAX)),
        ("l", AMQPValue::LongLongInt(i64::MIN)),
        ("f", AMQPValue::Float(-0.5)),
        ("d", AMQPValue::Double(f64::MAX)),
        ("D", AMQPValue::DecimalValue(DecimalValue { scale: 3, value: u32::MAX })),
        ("S", AMQPValue::LongString(vec![0, 255, b'x'].into())),
        ("x", AMQPValue::ByteArray(vec![0, 255].into())),
        ("A", AMQPValue::FieldArray(array.into())),
        ("T", AMQPValue::Timestamp(u64::MAX)),
        ("F", AMQPValue::FieldTable(inner)),
        ("V", AMQPValue::Void),
    ])
}

/// A bit of everything, in the order in which it is loaded.
fn everything() -> Definitions {
    let about = About {
        description: "what \"for\"\n".into(),
        tags: vec!["a".into(), "ü".into()],
        default_queue_type: QueueType::Quorum,
        protected: true,
        tracing: true,
        creator: Some("somebody".into()),
        limits: Some(VhostLimits { max_connections: Some(Limit(-1)), max_queues: None }),
    };
    let named = |number, name: &str, about| VhostDefinition { number, name: name.into(), about };
    let mut first = crate::broker::definitions::Definitions::default();
    for (name, kind, auto_delete, internal) in [
        ("d", Kind::Direct, true, false),
        ("f", Kind::Fanout, false, true),
        ("h", Kind::Headers, true, true),
        ("t", Kind::Topic, false, false),
    ] {
        let arguments = if internal { all_types() } else { FieldTable::default() };
        let log = internal.then_some(LogId(5));
        let creator = auto_delete.then(|| "somebody".into());
        let name = name.into();
        first.exchanges.push(DurableExchange { name, kind, auto_delete, internal, arguments, log, creator });
    }
    let longest = "q".repeat(255);
    for (name, log, auto_delete) in [("\0 \u{fffd}/", 3, true), (&longest, 1, false)] {
        let creator = auto_delete.then(|| "somebody".into());
        let (name, log, arguments) = (name.into(), LogId(log), all_types());
        let queue = DurableQueue { name, log, auto_delete, arguments, creator };
        first.queues.push(queue);
    }
    let any: Vec<u8> = (0..=254).collect();
    first.bindings = vec![
        binding("", &longest, b"", FieldTable::default()),
        binding("", &longest, b"", table([("x", AMQPValue::Void)])),
        binding("", &longest, b"\0", all_types()),
        binding("t", "\0 \u{fffd}/", &any, FieldTable::default()),
        DurableBinding {
            destination: End::Exchange(longest.as_str().into()),
            ..binding("t", "", b"k", FieldTable::default())
        },
    ];
    let topics = [("", "ünder"), ("t", "guest"), ("t", "ünder")];
    first.topic_permissions.extend(topics.map(|(exchange, user)| DurableTopicPermission {
        exchange: exchange.into(),
        user: user.into(),
        write: "^{username}\"".into(),
        read: "".into(),
    }));
    first.marks = [(1, Marked::Group, "g"), (1, Marked::Publisher, "ü"), (1, Marked::Publishers, "")]
        .map(|(log, about, name)| DurableMark { log: LogId(log), about, name: name.into(), number: u64::MAX })
        .into();
    let last = PasswordHash::from_base64("AAECAwQ=", Algorithm::Md5);
    let limits = UserLimits { max_channels: Some(Limit(0)), max_connections: Some(Limit(i64::MAX)) };
    let user = |name: &str, password, tags| UserDefinition { name: name.into(), password, tags, limits };
    Definitions {
        vhosts: vec![
            (named(1, "/", about), first),
            (named(7, "", About::default()), crate::broker::definitions::Definitions::default()),
        ],
        users: vec![
            user("", None, Vec::new()),
            user("guest", Some(PasswordHash::new(b"guest", [9; 4])), vec!["administrator".into()]),
            user("ünder", last, vec!["a".into(), "b".into()]),
        ],
        permissions: vec![permission("guest", 1), permission("guest", 7), permission("ünder", 1)],
        parameters: vec![
            parameter(1, "operator_policy", "p"),
            parameter(1, "policy", "p"),
            parameter(1, "policy", "ü/"),
            parameter(7, "policy", ""),
        ],
        global_parameters: vec![global_parameter("a", "[]"), global_parameter("ü", "null")],
        next_vhost: Some(8),
        next_log: 6,
    }
}

/// The changes that make it out of nothing.
fn changes(all: &Definitions) -> Vec<NodeChange> {
    let mut changes = Vec::new();
    for (vhost, inside) in &all.vhosts {
        changes.push(NodeChange::PutVhost(vhost.clone()));
        let exchanges = inside.exchanges.iter().cloned().map(Change::PutExchange);
        let queues = inside.queues.iter().cloned().map(Change::PutQueue);
        let bindings = inside.bindings.iter().cloned().map(Change::PutBinding);
        let topics = inside.topic_permissions.iter().cloned().map(Change::PutTopicPermission);
        let marks = inside.marks.iter().cloned().map(Change::PutMark);
        let all = exchanges.chain(queues).chain(bindings).chain(topics).chain(marks);
        changes.extend(all.map(|change| NodeChange::InVhost { vhost: vhost.number, change }));
    }
    changes.extend(all.users.iter().cloned().map(NodeChange::PutUser));
    changes.extend(all.permissions.iter().cloned().map(NodeChange::PutPermission));
    changes.extend(all.parameters.iter().cloned().map(NodeChange::PutParameter));
    changes.extend(all.global_parameters.iter().cloned().map(NodeChange::PutGlobalParameter));
    changes
}

fn loaded(catalog: &Catalog) -> Definitions {
    let mut all = catalog.load().expect("what is there");
    // Arguments are told apart by a hash, which has an order of its own.
    all.vhosts.iter_mut().for_each(|(_, inside)| inside.sort());
    all
}

fn sorted(mut all: Definitions) -> Definitions {
    all.vhosts.iter_mut().for_each(|(_, inside)| inside.sort());
    all
}

#[test]
fn everything_comes_back_from_a_file() {
    let folder = Folder::new();
    let catalog = Catalog::open(&folder.file()).expect("a new one");
    assert!(catalog.load().expect("nothing").is_new());
    catalog.apply(&changes(&everything())).expect("room");
    assert_eq!(loaded(&catalog), sorted(everything()));
    // Once closed well, once not at all.
    drop(catalog);
    let catalog = Catalog::open(&folder.file()).expect("the old one");
    assert_eq!(loaded(&catalog), sorted(everything()));
    catalog.apply(&[queue(1, "another", 9)]).expect("room");
    std::mem::forget(catalog);
    let catalog = Catalog::open(&folder.file()).expect("the old one");
    assert_eq!(loaded(&catalog).vhosts[0].1.queues.len(), 3);
    assert_eq!(loaded(&catalog).next_log, 10);
}

#[test]
fn arguments_as_deep_as_anybody_can_declare() {
    let catalog = Catalog::open_in(Box::new(disk::Disk::default())).expect("a new one");
    let mut deep = FieldTable::default();
    // As JSON: so many objects and arrays, the request's own included.
    for _ in 0..63 {
        let inner = AMQPValue::FieldTable(deep);
        deep = table([("n", AMQPValue::FieldArray(vec![inner].into()))]);
    }
    catalog.apply(&[vhost(1, "/"), bind(1, binding("x", "q", b"k", deep.clone()))]).expect("room");
    assert_eq!(loaded(&catalog).vhosts[0].1.bindings, [binding("x", "q", b"k", deep)]);
}

#[test]
fn twice_is_no_different_from_once() {
    let place = || Box::new(disk::Disk::default());
    let (once, twice) = (Catalog::open_in(place()).expect("new"), Catalog::open_in(place()).expect("new"));
    let gone = binding("", "q", b"gone", all_types());
    let batches: [Vec<NodeChange>; 3] = [
        changes(&everything()),
        vec![
            vhost(8, "short"),
            queue(8, "q", 20),
            bind(1, gone.clone()),
            NodeChange::InVhost { vhost: 1, change: Change::DeleteBinding(gone) },
            user("short"),
            NodeChange::PutPermission(permission("short", 8)),
            NodeChange::PutParameter(parameter(8, "policy", "short")),
            NodeChange::PutPermission(permission("short", 1)),
            NodeChange::DeleteUser("short".into()),
            NodeChange::DeleteVhost { number: 8, logs: vec![LogId(20)] },
            vhost(9, "short"),
        ],
        vec![
            NodeChange::DeleteVhost { number: 7, logs: Vec::new() },
            NodeChange::InVhost { vhost: 1, change: Change::DeleteExchange("d".into()) },
            NodeChange::DeletePermission { user: "ünder".into(), vhost: 1 },
            NodeChange::DeleteParameter { vhost: 1, component: "policy".into(), name: "p".into() },
            NodeChange::DeleteGlobalParameter("a".into()),
            NodeChange::InVhost {
                vhost: 1,
                change: Change::DeleteQueue { name: "\0 \u{fffd}/".into(), log: LogId(3) },
            },
        ],
    ];
    for batch in &batches {
        once.apply(batch).expect("room");
        twice.apply(batch).expect("room");
        twice.apply(batch).expect("room");
        assert_eq!(loaded(&once), loaded(&twice));
    }
    let all = loaded(&once);
    assert_eq!(all.vhosts.iter().map(|(vhost, _)| vhost.number).collect::<Vec<_>>(), [1, 9]);
    assert_eq!((all.next_vhost, all.next_log), (Some(10), 21), "numbers are never given again");
    assert_eq!(all.permissions, [permission("guest", 1)]);
    assert_eq!(all.parameters, [parameter(1, "operator_policy", "p"), parameter(1, "policy", "ü/")]);
    assert_eq!(all.global_parameters, [global_parameter("ü", "null")]);
    assert_eq!((all.vhosts[0].1.exchanges.len(), all.vhosts[0].1.queues.len()), (3, 1));
}

#[test]
fn a_vhost_goes_with_everything_in_it_and_nothing_else() {
    let catalog = Catalog::open_in(Box::new(disk::Disk::default())).expect("a new one");
    let fill = |number: VhostNumber, name: &str| {
        let exchange = DurableExchange {
            name: "x".into(),
            kind: Kind::Topic,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
            log: None,
            creator: None,
        };
        let mut changes = vec![
            vhost(number, name),
            NodeChange::InVhost { vhost: number, change: Change::PutExchange(exchange) },
            NodeChange::PutPermission(permission("guest", number)),
            NodeChange::PutParameter(parameter(number, "policy", "p")),
        ];
        for n in 0..(if number == 2 { 2100u32 } else { 100 }) {
            changes.push(queue(number, &n.to_string(), u64::from(number * 10_000 + n)));
            changes.push(bind(number, binding("x", &n.to_string(), &n.to_be_bytes(), table([]))));
        }
        changes
    };
    for (number, name) in [(1, "a"), (2, "b"), (3, "a"), (256, "c")] {
        catalog.apply(&fill(number, name)).expect("room");
    }
    let before = loaded(&catalog);
    catalog.apply(&[NodeChange::DeleteVhost { number: 2, logs: Vec::new() }]).expect("room");
    // What comes too late for it goes nowhere.
    let late = [
        NodeChange::PutPermission(permission("guest", 2)),
        NodeChange::PutParameter(parameter(2, "policy", "late")),
        queue(2, "late", 1),
        bind(2, binding("x", "late", b"", all_types())),
    ];
    catalog.apply(&late).expect("room");
    let after = loaded(&catalog);
    let left: Vec<_> = before.vhosts.iter().filter(|(vhost, _)| vhost.number != 2).cloned().collect();
    assert_eq!((before.vhosts.len(), after.vhosts), (4, left));
    assert_eq!(after.permissions.iter().map(|p| p.vhost).collect::<Vec<_>>(), [1, 3, 256]);
    assert_eq!(after.parameters, [1, 3, 256].map(|vhost| parameter(vhost, "policy", "p")));
    // Nothing of it is left that a later vhost of that number would find.
    catalog.apply(&[vhost(2, "new")]).expect("room");
    let empty = crate::broker::definitions::Definitions::default();
    assert_eq!(loaded(&catalog).vhosts[1].1, empty);
}

#[test]
fn a_catalog_from_before_there_were_parameters() {
    use super::tables::{GLOBAL_PARAMETERS, PARAMETERS};
    let disk = disk::Disk::default();
    let catalog = Catalog::open_in(Box::new(disk.clone())).expect("a new one");
    catalog.apply(&[vhost(1, "/"), NodeChange::PutParameter(parameter(1, "policy", "p"))]).expect("room");
    catalog.state.lock().store(&disk).expect("open").write_raw(|transaction| {
        assert!(transaction.delete_table(PARAMETERS)? && transaction.delete_table(GLOBAL_PARAMETERS)?);
        Ok(())
    });
    let all = loaded(&catalog);
    assert_eq!((all.vhosts.len(), all.parameters, all.global_parameters), (1, vec![], vec![]));
    let mut state = catalog.state.lock();
    *state = match std::mem::replace(&mut *state, State::GivenUp { anew: true }) {
        State::Open(store) => State::Open(store.written_anew(&disk).expect("room")),
        given_up => given_up,
    };
    drop(state);
    catalog.apply(&[NodeChange::PutParameter(parameter(1, "policy", "q"))]).expect("room");
    assert_eq!(loaded(&catalog).parameters, [parameter(1, "policy", "q")]);
}

#[test]
fn what_a_later_version_may_have_written() {
    use super::tables::{BINDINGS, EXCHANGES, PERMISSIONS, QUEUES, TO_QUEUE, USERS, VHOSTS};
    let disk = disk::Disk::default();
    let catalog = Catalog::open_in(Box::new(disk.clone())).expect("a new one");
    catalog.apply(&[vhost(1, "/"), user("known"), bind(1, binding("x", "q", b"", table([])))]).expect("room");
    let mut state = catalog.state.lock();
    state.store(&disk).expect("open").write_raw(|transaction| {
        transaction.open_table(VHOSTS)?.insert(2, ("later", "[1]"))?;
        transaction.open_table(VHOSTS)?.insert(3, ("type", r#"{"default_queue_type":"later","x":1}"#))?;
        transaction
            .open_table(USERS)?
            .insert("hash", r#"{"password_hash":"AAAA","hashing_algorithm":"x"}"#)?;
        transaction.open_table(PERMISSIONS)?.insert(("known", 1), "{")?;
        let mut exchanges = transaction.open_table(EXCHANGES)?;
        exchanges.insert((1, &b"type"[..]), (r#"{"type":"later"}"#, &b""[..]))?;
        exchanges.insert((1, &b"arguments"[..]), (r#"{"type":"topic"}"#, &b"\x05a"[..]))?;
        exchanges.insert((1, &b"\xff"[..]), (r#"{"type":"topic"}"#, &b""[..]))?;
        exchanges.insert((1, &b"more"[..]), (r#"{"type":"topic","more":[]}"#, &b""[..]))?;
        let mut queues = transaction.open_table(QUEUES)?;
        queues.insert((1, &b"bad"[..]), (5, "no JSON", &b"\x05a"[..]))?;
        queues.insert((9, &b"nowhere"[..]), (6, "{}", &b""[..]))?;
        let mut bindings = transaction.open_table(BINDINGS)?;
        bindings.insert((1, &b"x"[..], 7, &b"q"[..], &b""[..], &b""[..]), ("", &b""[..]))?;
        bindings.insert((1, &b"x"[..], TO_QUEUE, &b"q"[..], &b"k"[..], &b""[..]), ("", &b"\x05a"[..]))?;
        Ok(())
    });
    drop(state);
    let all = loaded(&catalog);
    let names: Vec<_> = all.vhosts.iter().map(|(vhost, _)| (&*vhost.name, vhost.about.clone())).collect();
    assert_eq!(names, ["/", "later", "type"].map(|name| (name, About::default())));
    let inside = &all.vhosts[0].1;
    assert_eq!(inside.exchanges.iter().map(|x| &*x.name).collect::<Vec<_>>(), ["more"]);
    // A queue's messages are not lost for that.
    assert_eq!(
        inside.queues.iter().map(|queue| (&*queue.name, queue.log.0)).collect::<Vec<_>>(),
        [("bad", 5)]
    );
    assert_eq!(inside.bindings, [binding("x", "q", b"", table([]))]);
    let passwords = all.users.iter().map(|user| (&*user.name, user.password.is_some()));
    assert_eq!(passwords.collect::<Vec<_>>(), [("hash", false), ("known", true)]);
    assert_eq!(all.permissions, []);
}
