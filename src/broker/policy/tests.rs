use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use serde_json::{Value as Json, json};

use super::book::Policies;
use super::json::definition_to_json;
use super::merge::merged;
use super::rollout::{Rollout, STEP};
use super::*;
use crate::broker::Vhost;
use crate::broker::compatibility::Compatibility;
use crate::broker::definitions::tests::Nobody;
use crate::broker::exchange::declare::Declaration as NewExchange;
use crate::broker::queue::arguments::{DelayedRetry, Overflow, Retried, Settings, read_with};
use crate::broker::queue::declare::Declaration as NewQueue;
use crate::wire::content::{Body, Message};

fn parsed(name: &str, rank: Rank, fields: Json) -> Result<Policy, String> {
    let Json::Object(fields) = fields else { panic!("{fields} is no object") };
    Policy::from_json(name, rank, Compatibility::default(), &fields)
}

fn policy(name: &str, pattern: &str, definition: &Json) -> Policy {
    let fields = json!({ "pattern": pattern, "definition": definition, "priority": 0 });
    parsed(name, Rank::User, fields).expect("a policy")
}

fn definition(definition: &Json) -> Definition {
    if *definition == json!({}) { Definition::new() } else { policy("p", "", definition).definition }
}

fn table(arguments: &Json) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments.as_object().expect("an object") {
        let value = match value {
            Json::Number(number) => AMQPValue::LongLongInt(number.as_i64().expect("a whole number")),
            other => AMQPValue::LongString(other.as_str().expect("a text").into()),
        };
        table.insert(key.as_str().into(), value);
    }
    table
}

#[test]
fn keys_are_in_order_and_found() {
    assert!(keys::KEYS.is_sorted_by_key(|key| key.name));
    for key in &keys::KEYS {
        assert_eq!(keys::find(key.name).map(|found| found.name), Some(key.name));
        // What no type of queue can have would never apply.
        assert!([QueueType::Classic, QueueType::Quorum, QueueType::Stream].iter().any(|t| key.suits(*t)));
    }
}

#[test]
fn refusals() {
    let good = json!({ "max-length": 1 });
    for (rank, wanted, line) in [
        (Rank::User, json!({}), "no policy provided"),
        (Rank::User, json!({ "max-length": -1, "foo": 1 }), "-1 is not a valid maximum length"),
        (Rank::User, json!({ "max-length": "ten" }), "<<\"ten\">> is not a valid maximum length"),
        (
            Rank::User,
            json!({ "foo": [1, "x", {}], "max-length": 1, "bar": { "a": null } }),
            "[{<<\"bar\">>,#{<<\"a\">> => null}},{<<\"foo\">>,[1,<<\"x\">>,#{}]}] are not recognised policy settings",
        ),
        (
            Rank::User,
            json!({ "ha-mode": "all" }),
            "[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings",
        ),
        (
            Rank::Operator,
            json!({ "dead-letter-exchange": "" }),
            "[{<<\"dead-letter-exchange\">>,<<>>}] are not recognised policy settings",
        ),
        (Rank::User, json!({ "expires": 0 }), "0 is not a valid queue expiry"),
        (Rank::User, json!({ "max-age": "0s" }), "<<\"0s\">> is not a valid max age"),
        (
            Rank::Operator,
            json!({ "queue-master-locator": "min-masters" }),
            "use of deprecated queue-master-locator argument is not permitted",
        ),
        (
            Rank::User,
            json!({ "stream-filter-size-bytes": 256 }),
            "256 is not a valid filter size. Valid range is 16-255",
        ),
        (
            Rank::User,
            json!({ "delayed-retry-type": "all" }),
            "delayed-retry-min is required when delayed-retry-type is all",
        ),
        (
            Rank::User,
            json!({ "delayed-retry-min": 7, "delayed-retry-max": 5 }),
            "delayed-retry-max (5) must not be smaller than delayed-retry-min (7)",
        ),
    ] {
        let fields = json!({ "pattern": "", "definition": wanted, "priority": 0 });
        let refused = parsed("p", rank, fields).map(drop);
        assert_eq!(refused, Err(format!("Validation failed\n\n{line}\n")), "{wanted}");
    }
    let all = json!({ "pattern": 5, "definition": { "message-ttl": -1 }, "priority": "q", "apply-to": "x", "y": 1 });
    assert_eq!(
        parsed("p", Rank::User, all).map(drop),
        Err("Validation failed\n\n-1 is not a valid message TTL\napply-to 'x' unrecognised; should be one of: \
             'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'\n\
             pattern should be a binary but was 5\npriority should be a number, actually was <<\"q\">>\n\
             Unrecognised terms [{<<\"y\">>,1}] in p\n"
            .to_owned())
    );
    let missing = parsed("p", Rank::User, json!({ "pattern": "(", "definition": good }));
    let missing = missing.map(drop).expect_err("a refusal");
    assert!(missing.contains("pattern should be regular expression but is invalid: "), "{missing}");
    assert!(missing.ends_with("Key \"priority\" not found in p\n"), "{missing}");
}

#[test]
fn what_earlier_versions_took() {
    let read = |level, definition: Json| {
        let fields = json!({ "pattern": "", "definition": definition, "priority": 0 });
        Policy::from_json("p", Rank::User, level, fields.as_object().expect("an object"))
    };
    let mirrored = json!({ "ha-mode": "nodes", "ha-params": ["a", "b"], "max-length": 5 });
    let policy = read(Compatibility::V3_13, mirrored.clone()).expect("a policy");
    assert_eq!(policy.to_json()["definition"], mirrored);
    assert!(policy.is_for(QueueType::Classic) && !policy.is_for(QueueType::Quorum));
    assert!(
        read(Compatibility::V4_0, mirrored.clone()).is_err() && read(Compatibility::V4_3, mirrored).is_err()
    );
    let located = json!({ "queue-master-locator": "min-masters" });
    assert!(
        read(Compatibility::V4_0, located.clone()).is_ok() && read(Compatibility::V4_3, located).is_err()
    );
}

#[test]
fn json_there_and_back() {
    for priority in [json!(-7), json!(0), json!(1.5)] {
        let fields = json!({
            "pattern": "^a", "definition": { "max-length": 5, "overflow": "drop-head" }, "priority": priority,
            "apply-to": "quorum_queues",
        });
        assert_eq!(parsed("p", Rank::User, fields.clone()).expect("a policy").to_json(), fields);
    }
    assert_eq!(policy("p", "", &json!({ "max-length": 5 })).to_json()["apply-to"], "all");
}

/// What RabbitMQ 4.3.6 shows as `effective_policy_definition`.
#[test]
fn policies_and_operator_policies_together() {
    for (user, operator, together) in [
        (json!({ "max-length": 5 }), json!({ "max-length": 6 }), json!({ "max-length": 5 })),
        (json!({ "max-length": 6 }), json!({ "max-length": 5 }), json!({ "max-length": 5 })),
        (json!({ "expires": 6 }), json!({ "expires": 5 }), json!({ "expires": 5 })),
        (json!({ "message-ttl": 0 }), json!({ "message-ttl": 5 }), json!({ "message-ttl": 0 })),
        (
            json!({ "delayed-retry-min": 5, "delayed-retry-max": 7 }),
            json!({ "delayed-retry-min": 6, "delayed-retry-max": 8 }),
            json!({ "delayed-retry-min": 6, "delayed-retry-max": 7 }),
        ),
        (
            json!({ "delayed-retry-type": "disabled" }),
            json!({ "delayed-retry-type": "failed", "delayed-retry-min": 2 }),
            json!({ "delayed-retry-type": "failed", "delayed-retry-min": 2 }),
        ),
        (json!({ "delivery-limit": -1 }), json!({ "delivery-limit": 5 }), json!({ "delivery-limit": 5 })),
        (json!({ "delivery-limit": 5 }), json!({ "delivery-limit": -1 }), json!({ "delivery-limit": 5 })),
        (json!({ "delivery-limit": 3 }), json!({ "delivery-limit": 5 }), json!({ "delivery-limit": 3 })),
        (
            json!({ "overflow": "drop-head" }),
            json!({ "overflow": "reject-publish" }),
            json!({ "overflow": "reject-publish" }),
        ),
        (json!({ "queue-version": 2 }), json!({ "queue-version": 1 }), json!({ "queue-version": 1 })),
        (
            json!({ "target-group-size": 1 }),
            json!({ "target-group-size": 2 }),
            json!({ "target-group-size": 2 }),
        ),
        (
            json!({ "max-length": 5, "dead-letter-exchange": "x" }),
            json!({ "max-length": 9, "message-ttl": 7 }),
            json!({ "dead-letter-exchange": "x", "max-length": 5, "message-ttl": 7 }),
        ),
    ] {
        let shown = definition_to_json(&merged(&definition(&user), &definition(&operator)));
        assert_eq!(shown, together, "{user} and {operator}");
    }
}

/// What was seen of queues of RabbitMQ 4.3.6.
#[test]
fn policies_and_arguments_together() {
    let (classic, quorum) = (QueueType::Classic, QueueType::Quorum);
    type Pick = fn(&Settings) -> String;
    let length: Pick = |settings| format!("{:?}", settings.max_length);
    let ttl: Pick = |settings| format!("{:?}", settings.message_ttl);
    let overflow: Pick = |settings| format!("{:?}", settings.overflow);
    let dead: Pick = |settings| {
        let text =
            |octets: &Option<Box<[u8]>>| octets.as_deref().map(|o| String::from_utf8_lossy(o).into_owned());
        format!("{:?} {:?}", text(&settings.dead_letter_exchange), text(&settings.dead_letter_routing_key))
    };
    let limit: Pick = |settings| format!("{:?}", settings.delivery_limit);
    let timeout: Pick = |settings| format!("{:?}", settings.consumer_timeout);
    let retry: Pick = |settings| {
        settings
            .delayed_retry
            .map_or("none".into(), |DelayedRetry { which, min, max }| format!("{which:?} {min} {max}"))
    };
    for (queue_type, arguments, set, pick, wanted) in [
        (classic, json!({ "x-max-length": 2 }), json!({ "max-length": 3 }), length, "Some(2)"),
        (classic, json!({ "x-max-length": 4 }), json!({ "max-length": 3 }), length, "Some(3)"),
        (classic, json!({}), json!({ "max-length": 3 }), length, "Some(3)"),
        (classic, json!({ "x-max-length": 4 }), json!({}), length, "Some(4)"),
        (quorum, json!({ "x-message-ttl": 4 }), json!({ "message-ttl": 0 }), ttl, "Some(0)"),
        // Of a classic queue it is what was declared, of a quorum queue what the policy says.
        (
            classic,
            json!({ "x-overflow": "reject-publish" }),
            json!({ "overflow": "drop-head" }),
            overflow,
            "RejectPublish",
        ),
        (
            classic,
            json!({ "x-overflow": "drop-head" }),
            json!({ "overflow": "reject-publish" }),
            overflow,
            "DropHead",
        ),
        (
            quorum,
            json!({ "x-overflow": "reject-publish" }),
            json!({ "overflow": "drop-head" }),
            overflow,
            "DropHead",
        ),
        (quorum, json!({}), json!({ "overflow": "reject-publish" }), overflow, "RejectPublish"),
        (
            classic,
            json!({ "x-dead-letter-exchange": "a" }),
            json!({ "dead-letter-exchange": "p", "dead-letter-routing-key": "k" }),
            dead,
            "Some(\"a\") Some(\"k\")",
        ),
        (quorum, json!({}), json!({ "dead-letter-exchange": "p" }), dead, "Some(\"p\") None"),
        (quorum, json!({ "x-delivery-limit": 3 }), json!({ "delivery-limit": 5 }), limit, "Some(3)"),
        (quorum, json!({ "x-delivery-limit": 5 }), json!({ "delivery-limit": 3 }), limit, "Some(3)"),
        (quorum, json!({ "x-delivery-limit": -1 }), json!({ "delivery-limit": 5 }), limit, "Some(5)"),
        (quorum, json!({ "x-delivery-limit": 5 }), json!({ "delivery-limit": -1 }), limit, "Some(5)"),
        (quorum, json!({ "x-consumer-timeout": 5 }), json!({ "consumer-timeout": 3 }), timeout, "Some(3)"),
        (classic, json!({}), json!({ "consumer-timeout": 3 }), timeout, "None"),
        (
            quorum,
            json!({ "x-delayed-retry-type": "disabled", "x-delayed-retry-min": 5, "x-delayed-retry-max": 9 }),
            json!({ "delayed-retry-type": "all", "delayed-retry-min": 7 }),
            retry,
            "All 5 9",
        ),
        (
            quorum,
            json!({ "x-delayed-retry-type": "all", "x-delayed-retry-min": 5 }),
            json!({ "delayed-retry-type": "disabled" }),
            retry,
            "none",
        ),
    ] {
        let settings = read_with(queue_type, &table(&arguments), &definition(&set));
        assert_eq!(pick(&settings), wanted, "{queue_type:?} {arguments} and {set}");
    }
    let settings = read_with(
        QueueType::Stream,
        &table(&json!({ "x-max-age": "2m" })),
        &definition(&json!({ "max-age": "90s", "max-length-bytes": 5, "stream-max-segment-size-bytes": 6 })),
    );
    assert_eq!(
        (settings.max_age, settings.max_length_bytes, settings.max_segment_size),
        (Some(90_000), Some(5), Some(6))
    );
    assert_eq!((settings.overflow, Retried::All), (Overflow::DropHead, Retried::All));
}

#[test]
fn which_policy_an_object_has() {
    let mut policies = Policies::default();
    let mut put = |name: &str, pattern: &str, to: &str, priority: i64, definition: Json| {
        let fields =
            json!({ "pattern": pattern, "definition": definition, "priority": priority, "apply-to": to });
        policies.put(Rank::User, parsed(name, Rank::User, fields).expect("a policy"))
    };
    assert!(put("low", "", "all", -1, json!({ "max-length": 1 })));
    assert!(put("b", "q", "queues", 0, json!({ "max-length": 1 })));
    assert!(put("a", "q", "queues", 0, json!({ "max-length": 2 })));
    assert!(put("quorum", "q", "quorum_queues", 5, json!({ "max-length": 1 })));
    assert!(put("limit", "q$", "queues", 9, json!({ "delivery-limit": 1, "max-length": 1 })));
    assert!(put("stream", "", "streams", 3, json!({ "max-age": "1h" })));
    assert!(put("x", "^x", "exchanges", 8, json!({ "alternate-exchange": "" })));
    assert!(!put("b", "^q", "queues", 0, json!({ "max-length": 3 })), "one of that name");
    let name =
        |policy: Option<Arc<Policy>>| policy.map_or("none".to_owned(), |policy| policy.name.to_string());
    for (queue, queue_type, wanted) in [
        ("q", QueueType::Classic, "a"),
        ("q", QueueType::Quorum, "limit"),
        ("qq.", QueueType::Quorum, "quorum"),
        ("x", QueueType::Classic, "low"),
        ("x", QueueType::Quorum, "low"),
        ("x", QueueType::Stream, "stream"),
    ] {
        assert_eq!(name(policies.of_queue(queue, queue_type).user), wanted, "{queue} {queue_type:?}");
    }
    assert_eq!(name(policies.of_exchange("x1").user), "x");
    assert_eq!(name(policies.of_exchange("q").user), "low");
    assert!(policies.remove(Rank::User, "low") && !policies.remove(Rank::User, "low"));
    assert_eq!(name(policies.of_exchange("q").user), "none");
    assert!(!policies.remove(Rank::Operator, "a"));
}

fn declare(vhost: &mut Vhost, name: &str, arguments: &Json) {
    let declaration = NewQueue {
        name: name.into(),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: table(arguments),
        creator: None,
    };
    vhost.declare_queue(None, declaration).expect("a queue");
}

fn with(policies: &[Policy]) -> Arc<Policies> {
    let mut all = Policies::default();
    for policy in policies {
        all.put(Rank::User, policy.clone());
    }
    Arc::new(all)
}

fn length(vhost: &Vhost, queue: &str) -> Option<u64> {
    vhost.queue(queue.as_bytes()).expect("a queue").settings.max_length
}

#[test]
fn a_hundred_thousand_queues_get_a_policy_in_bounded_steps() {
    const QUEUES: usize = 100_000;
    let mut vhost = Vhost::new("v");
    for n in 0..QUEUES {
        declare(&mut vhost, &format!("q{n}"), &json!({}));
    }
    let policies = with(&[policy("odd", "[13579]$", &json!({ "max-length": 7 }))]);
    let mut rollout = Rollout::begin(&mut vhost, policies);
    let have = |vhost: &Vhost| vhost.queues().filter(|queue| !queue.policies.is_none()).count();
    assert_eq!(have(&vhost), 0);
    let (mut steps, mut before) = (0, 0);
    while rollout.step(&mut vhost) {
        // Somebody else comes in between: a queue that is declared has the policy already, one that goes is gone.
        if steps == 50 {
            declare(&mut vhost, "new 1", &json!({}));
            declare(&mut vhost, "new 2", &json!({}));
            before += 1;
            vhost.delete_queue(None, b"q4", false, false, &mut Nobody).expect("gone");
        }
        if steps % 10 == 0 {
            let now = have(&vhost);
            assert!(now - before <= 10 * STEP, "{} at once", now - before);
            before = now;
        }
        rollout.look_up();
        steps += 1;
    }
    // So many queues and seven exchanges.
    assert_eq!(steps, QUEUES / STEP + 1);
    assert_eq!(have(&vhost), QUEUES / 2 + 1);
    assert_eq!(
        (length(&vhost, "q77777"), length(&vhost, "q77776"), length(&vhost, "new 1")),
        (Some(7), None, Some(7))
    );
}

fn roll_out(vhost: &mut Vhost, policies: Arc<Policies>) {
    let mut rollout = Rollout::begin(vhost, policies);
    while rollout.step(vhost) {
        rollout.look_up();
    }
}

#[test]
fn policies_come_and_go() {
    let mut vhost = Vhost::new("v");
    declare(&mut vhost, "q", &json!({ "x-max-length": 9 }));
    roll_out(&mut vhost, with(&[policy("p", "", &json!({ "max-length": 5, "expires": 50 }))]));
    assert_eq!(length(&vhost, "q"), Some(5));
    assert_eq!(vhost.next_alarm(), Some(50), "it is not used from now on");
    roll_out(&mut vhost, with(&[policy("p", "", &json!({ "max-length": 6 }))]));
    assert_eq!((length(&vhost, "q"), vhost.next_alarm()), (Some(6), None));
    roll_out(&mut vhost, Arc::default());
    assert_eq!(length(&vhost, "q"), Some(9));
    assert!(vhost.queue(b"q").expect("a queue").policies.is_none());
}

#[test]
fn an_alternate_exchange_by_policy() {
    let mut vhost = Vhost::new("v");
    for (name, arguments) in [("x", json!({})), ("declared", json!({ "alternate-exchange": "amq.direct" }))] {
        let declaration = NewExchange {
            name: name.into(),
            kind: crate::broker::exchange::Kind::Direct,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: table(&arguments),
            creator: None,
        };
        vhost.declare_exchange(declaration).expect("an exchange");
    }
    let alternate = |vhost: &Vhost, name: &str| {
        let exchange = vhost.exchange(name.as_bytes()).expect("an exchange");
        exchange.alternate().map(|name| String::from_utf8_lossy(name).into_owned())
    };
    let before = vhost.topology();
    roll_out(&mut vhost, with(&[policy("p", "", &json!({ "max-length": 5 }))]));
    assert_eq!(
        (alternate(&vhost, "x"), vhost.topology()),
        (None, before),
        "nothing goes another way for that"
    );
    roll_out(&mut vhost, with(&[policy("p", "", &json!({ "alternate-exchange": "amq.fanout" }))]));
    assert!(vhost.topology() > before);
    let fanout = Some("amq.fanout".to_owned());
    assert_eq!([alternate(&vhost, "x"), alternate(&vhost, "amq.topic")], [fanout.clone(), fanout]);
    assert_eq!(alternate(&vhost, "declared").as_deref(), Some("amq.direct"));
    assert_eq!(alternate(&vhost, ""), None, "the default exchange is the last resort");
    let before = vhost.topology();
    roll_out(&mut vhost, Arc::default());
    assert!(vhost.topology() > before && alternate(&vhost, "x").is_none());
}

/// Brings so many messages to a queue.
fn fill(vhost: &mut Vhost, queue: &str, count: usize) {
    let message = Message {
        exchange: b"",
        routing_key: queue.as_bytes(),
        properties: &[0, 0],
        body: Body::Inline(b"four"),
    };
    let now = vhost.clock;
    for _ in 0..count {
        let targets = vhost.route(&message).targets;
        vhost.publish(&targets, &message, now, &mut Nobody);
    }
}

/// Messages that are there when everything is done that is due by then.
fn left(vhost: &mut Vhost, queue: &str, at: u64) -> usize {
    vhost.set_clock(at);
    while vhost.next_alarm().is_some_and(|due| due <= at) {
        vhost.tick(&mut Nobody);
    }
    vhost.queue(queue.as_bytes()).map_or(0, |queue| queue.ready())
}

#[test]
fn messages_that_are_there_already() {
    let mut vhost = Vhost::new("v");
    declare(&mut vhost, "q", &json!({}));
    declare(&mut vhost, "dead", &json!({}));
    fill(&mut vhost, "q", 10_000);
    let to_dead =
        json!({ "max-length": 9_000, "dead-letter-exchange": "", "dead-letter-routing-key": "dead" });
    roll_out(&mut vhost, with(&[policy("p", "q", &to_dead)]));
    assert_eq!((left(&mut vhost, "q", 0), left(&mut vhost, "dead", 0)), (9_000, 1_000));
    // More than what is dropped at once.
    roll_out(&mut vhost, with(&[policy("p", "q", &json!({ "max-length-bytes": 400 }))]));
    assert_eq!((left(&mut vhost, "q", 0), left(&mut vhost, "dead", 0)), (100, 1_000));
    // What held when a message came holds for it.
    assert_eq!(left(&mut vhost, "q", 10), 100);
    roll_out(&mut vhost, with(&[policy("p", "q", &json!({ "message-ttl": 50 }))]));
    assert_eq!(left(&mut vhost, "q", 1_000), 100);
    declare(&mut vhost, "q2", &json!({}));
    fill(&mut vhost, "q2", 3);
    left(&mut vhost, "q2", 1_001);
    roll_out(&mut vhost, Arc::default());
    fill(&mut vhost, "q2", 2);
    assert_eq!(left(&mut vhost, "q2", 1_049), 5);
    assert_eq!(left(&mut vhost, "q2", 1_050), 2);
    roll_out(&mut vhost, with(&[policy("p", "q", &json!({ "expires": 50 }))]));
    left(&mut vhost, "q", 1_099);
    assert!(vhost.queue(b"q").is_some());
    left(&mut vhost, "q", 1_100);
    assert!(vhost.queue(b"q").is_none());
}

#[test]
fn what_nobody_sees_is_left_alone() {
    let mut vhost = Vhost::new("v");
    vhost.keep(Arc::default());
    let arguments = table(&json!({ "x-message-deduplication": "on" }));
    let kind = crate::broker::exchange::Kind::Fanout;
    let (durable, auto_delete, internal) = (true, false, false);
    let (name, creator) = ("x".into(), None);
    let wanted = NewExchange { name, kind, durable, auto_delete, internal, arguments, creator };
    vhost.declare_exchange(wanted).expect("an exchange");
    assert_eq!(vhost.kept_queues().len(), 1, "it has a queue that nobody sees");
    let policies = with(&[policy("all", ".*", &json!({ "expires": 1 }))]);
    let mut rollout = Rollout::begin(&mut vhost, policies);
    rollout.look_up();
    while rollout.step(&mut vhost) {
        rollout.look_up();
    }
    vhost.set_clock(1000);
    vhost.tick(&mut Nobody);
    assert_eq!(vhost.kept_queues().len(), 1);
}
