//! Texts and orders as RabbitMQ 4.3.6 answered them.

use std::collections::BTreeMap;

use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, ShortString};

use super::QueueType::{Classic, Quorum, Stream};
use super::*;
use crate::wire::reply::ReplyCode;

const Q: &str = "queue 'q' in vhost '/'";
const DURABLE: Declared = Declared { durable: true, exclusive: false, auto_delete: false };

fn n(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

fn s(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn bad() -> AMQPValue {
    AMQPValue::FieldArray(FieldArray::default())
}

fn table<'a>(entries: impl IntoIterator<Item = (&'a str, AMQPValue)>) -> FieldTable {
    entries.into_iter().map(|(key, value)| (ShortString::from(key), value)).collect::<BTreeMap<_, _>>().into()
}

fn of(queue_type: QueueType, entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut out = table(entries.iter().cloned());
    if queue_type != Classic {
        out.insert(TYPE.into(), s(queue_type.name()));
    }
    out
}

/// The explanation of the refusal, or "ok".
fn answer<T>(result: Result<T, Exception>) -> String {
    result.err().map_or_else(|| "ok".to_owned(), |e| e.explanation)
}

fn declare(queue_type: QueueType, entries: &[(&str, AMQPValue)]) -> String {
    answer(parse(&of(queue_type, entries), &DURABLE, Q))
}

#[test]
fn bad_values() {
    let binary = || AMQPValue::ByteArray(b"drop-head".as_slice().into());
    let cases = [
        (Classic, "x-message-ttl", s("a"), r#""expected integer, got longstr""#),
        (Classic, "x-message-ttl", n(-1), "{value_negative,-1}"),
        (Quorum, "x-message-ttl", n(315_360_000_001), "{value_too_large,315360000001}"),
        (Classic, "x-message-ttl", AMQPValue::Void, r#""expected integer, got void""#),
        (Classic, "x-message-ttl", AMQPValue::Timestamp(5), r#""expected integer, got timestamp""#),
        (Classic, "x-expires", n(0), "{value_zero,0}"),
        (Classic, "x-expires", n(-1), "{value_negative,-1}"),
        (Quorum, "x-expires", n(i64::MAX), "{value_too_large,9223372036854775807}"),
        (Classic, "x-max-length", AMQPValue::Double(1.5), r#""expected integer, got double""#),
        (Classic, "x-max-length", AMQPValue::Boolean(true), r#""expected integer, got bool""#),
        (Quorum, "x-max-length", n(i64::MIN), "{value_negative,-9223372036854775808}"),
        (Stream, "x-max-length-bytes", n(-1), "{value_negative,-1}"),
        (Classic, "x-max-priority", n(256), "{max_value_exceeded,256}"),
        (Classic, "x-max-priority", n(-1), "{value_negative,-1}"),
        (Classic, "x-overflow", s("bogus"), "invalid_overflow"),
        (Classic, "x-overflow", s(""), "invalid_overflow"),
        (Quorum, "x-overflow", AMQPValue::LongInt(5), "{unacceptable_type,signedint}"),
        (Classic, "x-overflow", binary(), "{unacceptable_type,binary}"),
        (Classic, "x-dead-letter-routing-key", AMQPValue::LongInt(5), "{unacceptable_type,signedint}"),
        (Quorum, "x-dead-letter-routing-key", s("k"), "routing_key_but_no_dlx_defined"),
        (Classic, "x-dead-letter-routing-key", s(""), "routing_key_but_no_dlx_defined"),
        (Quorum, "x-dead-letter-strategy", s("bogus"), "invalid_dlx_strategy"),
        (Quorum, "x-dead-letter-strategy", AMQPValue::LongInt(5), "{unacceptable_type,signedint}"),
        (Classic, "x-single-active-consumer", s("true"), "{unacceptable_type,longstr}"),
        (Quorum, "x-single-active-consumer", AMQPValue::Void, "{unacceptable_type,void}"),
        (Classic, "x-queue-version", n(1), r#""unsupported queue version '1'""#),
        (Classic, "x-queue-version", n(-1), "{value_negative,-1}"),
        (Classic, "x-queue-version", s("2"), r#""expected integer, got longstr""#),
        (Stream, "x-queue-leader-locator", s("bogus"), "invalid_queue_locator_arg"),
        (Stream, "x-max-age", AMQPValue::LongInt(5), "{unacceptable_type,signedint}"),
        (Stream, "x-max-age", s("1d"), "invalid_max_age"),
        (Stream, "x-stream-max-segment-size-bytes", n(-1), "{value_negative,-1}"),
        (Stream, "x-stream-filter-size-bytes", s("a"), r#""expected integer, got longstr""#),
        (Stream, "x-initial-cluster-size", n(0), "{value_zero,0}"),
        (Quorum, "x-quorum-initial-group-size", n(-1), "{value_negative,-1}"),
        (Quorum, "x-consumer-timeout", n(-1), "{value_negative,-1}"),
        (Quorum, "x-consumer-disconnected-timeout", s("a"), r#""expected integer, got longstr""#),
        (Quorum, "x-max-in-memory-bytes", n(-1), "{value_negative,-1}"),
    ];
    for (kind, key, value, what) in cases {
        assert_eq!(
            declare(kind, &[(key, value)]),
            format!("invalid arg '{key}' for {Q}: {what}"),
            "{kind:?}"
        );
    }
}

#[test]
fn good_values() {
    let cases = [
        (Classic, "x-message-ttl", n(0)),
        (Quorum, "x-expires", n(315_360_000_000)),
        (Classic, "x-max-length", n(i64::MAX)),
        (Classic, "x-max-length", AMQPValue::ShortShortUInt(200)),
        (Classic, "x-max-length", AMQPValue::LongUInt(5)),
        (Classic, "x-max-priority", n(0)),
        (Classic, "x-max-priority", n(255)),
        (Quorum, "x-overflow", s("reject-publish-dlx")),
        (Classic, "x-queue-mode", AMQPValue::LongInt(5)),
        (Classic, "x-queue-version", n(2)),
        (Classic, "x-queue-leader-locator", s("least-leaders")),
        (Quorum, "x-delivery-limit", s("a")),
        (Quorum, "x-delayed-retry-min", n(-1)),
        (Quorum, "x-consumer-timeout", n(0)),
        (Stream, "x-stream-max-segment-size-bytes", n(3_000_000_000)),
        (Stream, "x-stream-filter-size-bytes", n(16)),
        (Stream, "x-stream-filter-size-bytes", n(255)),
        (Stream, "x-quorum-target-group-size", s("a")),
        (Stream, "x-cancel-on-ha-failover", s("a")),
        (Quorum, "x-foo", bad()),
    ];
    for (kind, key, value) in cases {
        assert_eq!(declare(kind, &[(key, value)]), "ok", "{kind:?} {key}");
    }
}

/// Declares with every argument an array, leaves out the one complained about, and so on till it is accepted.
/// A star marks those refused for the type.
fn peel(kind: QueueType, keys: &[&str]) -> Vec<String> {
    let mut left = of(kind, &keys.iter().map(|key| (*key, bad())).collect::<Vec<_>>());
    let mut order = Vec::new();
    loop {
        let refusal = answer(parse(&left, &DURABLE, Q));
        let Some(key) = refusal.split("arg '").nth(1).and_then(|rest| rest.split('\'').next()) else {
            order.push(refusal);
            return order;
        };
        let foreign = refusal.ends_with(&format!("of queue type {}", kind.module()));
        order.push(format!("{key}{}", if foreign { "*" } else { "" }));
        left = table(
            left.inner().iter().filter(|(k, _)| k.as_str() != key).map(|(k, v)| (k.as_str(), v.clone())),
        );
    }
}

#[test]
fn order_of_refusals() {
    let classic = "x-dead-letter-exchange x-expires x-message-ttl x-dead-letter-routing-key x-max-length \
        x-max-length-bytes x-max-priority x-overflow x-queue-version x-single-active-consumer \
        x-queue-leader-locator x-consumer-disconnected-timeout* x-consumer-timeout* x-dead-letter-strategy* \
        x-delayed-retry-max* x-delayed-retry-min* x-delayed-retry-type* x-delivery-limit* \
        x-initial-cluster-size* x-max-age* x-max-in-memory-bytes* x-max-in-memory-length* \
        x-quorum-initial-group-size* x-stream-filter-size-bytes* x-stream-max-segment-size-bytes*";
    // With a type RabbitMQ reports the foreign ones (*) as they come on the wire; here they are sorted.
    let quorum = "x-dead-letter-exchange x-expires x-message-ttl x-dead-letter-routing-key \
        x-dead-letter-strategy x-max-length x-max-length-bytes x-max-in-memory-length x-max-in-memory-bytes \
        x-overflow x-single-active-consumer x-consumer-timeout x-consumer-disconnected-timeout \
        x-quorum-initial-group-size x-queue-leader-locator x-initial-cluster-size* x-max-age* \
        x-max-priority* x-queue-mode* x-queue-version* x-stream-filter-size-bytes* \
        x-stream-max-segment-size-bytes*";
    let stream = "x-dead-letter-exchange x-max-length-bytes x-max-age x-stream-max-segment-size-bytes \
        x-stream-filter-size-bytes x-initial-cluster-size x-queue-leader-locator \
        x-consumer-disconnected-timeout* x-consumer-timeout* x-dead-letter-routing-key* \
        x-dead-letter-strategy* x-delayed-retry-max* x-delayed-retry-min* x-delayed-retry-type* \
        x-delivery-limit* x-expires* x-max-in-memory-bytes* x-max-in-memory-length* x-max-length* \
        x-max-priority* x-message-ttl* x-overflow* x-queue-mode* x-queue-version* \
        x-quorum-initial-group-size* x-single-active-consumer*";
    let mut keys: Vec<_> = classic.split_whitespace().map(|key| key.trim_end_matches('*')).collect();
    keys.extend(["x-queue-mode", "x-foo"]);
    for (kind, expected) in [(Classic, classic), (Quorum, quorum), (Stream, stream)] {
        let mut expected: Vec<_> = expected.split_whitespace().collect();
        expected.push("ok");
        assert_eq!(peel(kind, &keys), expected, "{kind:?}");
    }
}

#[test]
fn what_comes_before_what() {
    let array = |key| (key, bad());
    let segment = ("x-stream-max-segment-size-bytes", n(3_000_000_001));
    let filter = ("x-stream-filter-size-bytes", n(15));
    let master = ("x-queue-master-locator", s("client-local"));
    let exclusive = Declared { exclusive: true, ..DURABLE };
    let cases = [
        (
            Classic,
            vec![(TYPE, s("bogus")), array("x-dead-letter-exchange")],
            DURABLE,
            "invalid type 'array' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
        ),
        (
            Classic,
            vec![(TYPE, s("bogus")), array("x-message-ttl")],
            DURABLE,
            "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'bogus'\"",
        ),
        (
            Quorum,
            vec![("x-max-age", s("1D"))],
            exclusive,
            "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue",
        ),
        (
            Stream,
            vec![filter.clone()],
            exclusive,
            "invalid property 'exclusive-owner' for queue 'q' in vhost '/'",
        ),
        (
            Stream,
            vec![segment.clone(), filter.clone()],
            DURABLE,
            "Exceeded max value for x-stream-max-segment-size-bytes",
        ),
        (Stream, vec![filter], DURABLE, "Invalid value for x-stream-filter-size-bytes"),
        (
            Stream,
            vec![segment, ("x-max-length", n(5))],
            DURABLE,
            "invalid arg 'x-max-length' for queue 'q' in vhost '/' of queue type rabbit_stream_queue",
        ),
        (
            Classic,
            vec![master.clone(), ("x-max-age", n(5))],
            DURABLE,
            "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue",
        ),
        (
            Stream,
            vec![master],
            exclusive,
            "invalid arg 'x-queue-master-locator' for queue 'q' in vhost '/' of queue type \
             rabbit_stream_queue",
        ),
    ];
    for (kind, entries, declared, expected) in cases {
        assert_eq!(answer(parse(&of(kind, &entries), &declared, Q)), expected, "{entries:?}");
    }
}

#[test]
fn the_master_locator_is_an_internal_error_with_a_long_text() {
    let arguments = table([("x-queue-master-locator", s("client-local"))]);
    let refusal = parse(&arguments, &Declared { exclusive: true, auto_delete: true, ..DURABLE }, Q).err();
    let text = refusal.map(|e| e.reply_text()).unwrap_or_default();
    let expected = "INTERNAL_ERROR - Feature `queue_master_locator` is deprecated.\nBy default, this feature \
        is not permitted anymore.\nThe feature will be removed from a future major RabbitMQ version, \
        regardless of the configuration; actual version to be determined.\nTo con...";
    assert_eq!(String::from_utf8_lossy(&text), expected);
}

#[test]
fn flags_of_replicated_types() {
    let cases = [
        ((true, false, false), "ok"),
        ((true, true, false), "exclusive-owner"),
        ((false, true, false), "exclusive-owner"),
        ((true, false, true), "auto-delete"),
        ((false, true, true), "auto-delete"),
        ((false, false, false), "non-durable"),
    ];
    for ((durable, exclusive, auto_delete), property) in cases {
        let declared = Declared { durable, exclusive, auto_delete };
        for kind in [Quorum, Stream] {
            let refusal = answer(parse(&of(kind, &[]), &declared, Q));
            let expected = match property {
                "ok" => "ok".to_owned(),
                property => format!("invalid property '{property}' for {Q}"),
            };
            assert_eq!(refusal, expected, "{kind:?} {declared:?}");
        }
        assert_eq!(answer(parse(&of(Classic, &[]), &declared, Q)), "ok");
    }
}

#[test]
fn types_by_name() {
    assert_eq!(queue_type(&FieldTable::default(), Q), Ok(Classic));
    let names =
        [("classic", Classic), ("quorum", Quorum), ("stream", Stream), ("", Classic), ("undefined", Classic)];
    for (name, kind) in names {
        assert_eq!(queue_type(&table([(TYPE, s(name))]), Q), Ok(kind), "{name}");
    }
    let cases = [
        (s("CLASSIC"), r#""unsupported queue type 'CLASSIC'""#),
        (s("rabbit_quorum_queue"), r#""unsupported queue type 'rabbit_quorum_queue'""#),
        (s("a\"b\\c'dé\n\u{1b}"), r#""unsupported queue type 'a\"b\\c'dé\n\e'""#),
        (
            s("\u{1}"),
            "[117,110,115,117,112,112,111,114,116,101,100,32,113,117,101,117,101,32,116,121,112,101,32,\
             39,1,39]",
        ),
        (
            s("€"),
            "[117,110,115,117,112,112,111,114,116,101,100,32,113,117,101,117,101,32,116,121,112,101,32,\
             39,8364,39]",
        ),
        (AMQPValue::LongInt(5), "{unacceptable_type,signedint}"),
        (AMQPValue::Void, "{unacceptable_type,void}"),
        (AMQPValue::ByteArray(b"quorum".as_slice().into()), "{unacceptable_type,binary}"),
    ];
    for (value, what) in cases {
        let refusal = answer(queue_type(&table([(TYPE, value)]), Q));
        assert_eq!(refusal, format!("invalid arg 'x-queue-type' for {Q}: {what}"));
    }
}

#[test]
fn without_a_name() {
    let cases = [
        (s("classic"), "ok"),
        (s(""), "ok"),
        (s("undefined"), "ok"),
        (s("quorum"), "Cannot declare a server-named queue for type rabbit_quorum_queue"),
        (s("stream"), "Cannot declare a server-named queue for type rabbit_stream_queue"),
        (s("bogus"), "unknown queue type 'bogus'"),
        (s("\u{1}"), "unknown queue type '\u{1}'"),
        (AMQPValue::Boolean(true), "unknown queue type 'true'"),
    ];
    for (value, expected) in cases {
        assert_eq!(answer(check_server_named(&table([(TYPE, value), ("x-expires", bad())]))), expected);
    }
    assert_eq!(check_server_named(&FieldTable::default()), Ok(()));
    let crash = check_server_named(&table([(TYPE, AMQPValue::LongInt(5))])).err();
    assert_eq!(
        crash.map(|e| (e.code, e.reply_text())),
        Some((ReplyCode::InternalError, b"INTERNAL_ERROR".to_vec()))
    );
}

#[test]
fn ages() {
    let day = 86_400_000;
    let good =
        [("1s", 1000), ("1m", 60_000), ("12h", day / 2), ("01D", day), ("1M", 30 * day), ("1Y", 365 * day)];
    for (written, ms) in good.into_iter().chain([("1D\nbogus", day)]) {
        assert_eq!(check::age(written.as_bytes()), Some(ms), "{written:?}");
    }
    let huge = "99999999999999999999D";
    assert_eq!(check::age(huge.as_bytes()), Some(8_639_999_999_999_999_999_913_600_000));
    let arguments = of(Stream, &[(MAX_AGE, s(huge))]);
    assert_eq!(parse(&arguments, &DURABLE, Q).map(|s| s.max_age), Ok(Some(u64::MAX)));
    for written in
        ["", "D", "10", "0s", "00D", "-1D", "+1D", " 1D", "1 D", "1d", "1S", "1.5h", "1Y2M", "1DD", "\n1D"]
    {
        assert_eq!(check::age(written.as_bytes()), None, "{written:?}");
    }
}

#[test]
fn settings_are_read() {
    assert_eq!(parse(&FieldTable::default(), &DURABLE, Q), Ok(Settings::default()));
    let classic = of(
        Classic,
        &[
            ("x-message-ttl", n(134_217_728_000)),
            ("x-expires", AMQPValue::ShortInt(7)),
            ("x-max-length", AMQPValue::LongInt(5)),
            ("x-max-length-bytes", n(6)),
            ("x-max-priority", AMQPValue::ShortShortInt(10)),
            ("x-overflow", s("reject-publish")),
            ("x-dead-letter-exchange", s("")),
            ("x-dead-letter-routing-key", s("k")),
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ],
    );
    let expected = Settings {
        message_ttl: Some(134_217_728_000),
        expires: Some(7),
        max_length: Some(5),
        max_length_bytes: Some(6),
        max_priority: Some(10),
        overflow: Overflow::RejectPublish,
        dead_letter_exchange: Some(b"".as_slice().into()),
        dead_letter_routing_key: Some(b"k".as_slice().into()),
        single_active_consumer: true,
        ..Settings::default()
    };
    assert_eq!(parse(&classic, &DURABLE, Q), Ok(expected));
    let quorum = of(
        Quorum,
        &[
            ("x-overflow", s("reject-publish-dlx")),
            ("x-dead-letter-strategy", s("at-least-once")),
            ("x-delivery-limit", n(-1)),
            ("x-consumer-timeout", n(0)),
            ("x-delayed-retry-type", s("failed")),
            ("x-delayed-retry-min", n(300)),
        ],
    );
    let expected = Settings {
        queue_type: Quorum,
        overflow: Overflow::RejectPublishDlx,
        dead_letter_strategy: DeadLetterStrategy::AtLeastOnce,
        delivery_limit: Some(-1),
        consumer_timeout: Some(0),
        delayed_retry: Some(DelayedRetry { which: Retried::Failed, min: 300, max: 300 }),
        ..Settings::default()
    };
    assert_eq!(parse(&quorum, &DURABLE, Q), Ok(expected));
    let stream = of(Stream, &[(MAX_AGE, s("7D")), ("x-stream-max-segment-size-bytes", n(1_000_000))]);
    let expected = Settings {
        queue_type: Stream,
        max_age: Some(604_800_000),
        max_segment_size: Some(1_000_000),
        ..Settings::default()
    };
    assert_eq!(parse(&stream, &DURABLE, Q), Ok(expected));
}

#[test]
fn unchecked_arguments_count_as_absent_if_bad() {
    let (kind, min, max) = ("x-delayed-retry-type", "x-delayed-retry-min", "x-delayed-retry-max");
    let cases = [
        (vec![(kind, s("all"))], None),
        (vec![(kind, s("bogus")), (min, n(300))], None),
        (vec![(kind, s("all")), (min, s("a"))], None),
        (vec![(kind, s("all")), (min, n(-300))], None),
        (vec![(kind, s("all")), (min, n(0))], None),
        (vec![(min, n(300))], None),
        (vec![(kind, s("all")), (min, n(300)), (max, n(100))], Some((Retried::All, 300, 100))),
    ];
    for (entries, expected) in cases {
        let read = parse(&of(Quorum, &entries), &DURABLE, Q).map(|s| s.delayed_retry);
        assert_eq!(
            read,
            Ok(expected.map(|(which, min, max)| DelayedRetry { which, min, max })),
            "{entries:?}"
        );
    }
    for value in [s("a"), AMQPValue::Double(1.5), AMQPValue::Void] {
        let read = parse(&of(Quorum, &[("x-delivery-limit", value)]), &DURABLE, Q);
        assert_eq!(read.map(|s| s.delivery_limit), Ok(None));
    }
}

#[test]
fn declared_again() {
    let (age, ttl, length, bytes) = (MAX_AGE, "x-message-ttl", "x-max-length", "x-max-length-bytes");
    let differ =
        |key, new, old| format!("inequivalent arg '{key}' for {Q}: received {new} but current is {old}");
    let none = Vec::new;
    let stream = |value| vec![(TYPE, s("stream")), (age, value)];
    let cases = [
        (Classic, none(), vec![(TYPE, s("classic"))], "ok".to_owned()),
        (Classic, none(), vec![(TYPE, s("quorum")), (age, n(5))], differ(TYPE, "'quorum'", "'classic'")),
        (Classic, none(), vec![(TYPE, n(5))], differ(TYPE, "'5'", "'classic'")),
        (Classic, vec![(TYPE, s(""))], none(), differ(TYPE, "'classic'", "''")),
        (Quorum, vec![(TYPE, s("quorum"))], none(), differ(TYPE, "'classic'", "'quorum'")),
        (
            Classic,
            none(),
            vec![(age, s("bogus")), ("x-foo", n(1)), ("x-delivery-limit", n(1))],
            "ok".to_owned(),
        ),
        (
            Classic,
            vec![(ttl, n(1))],
            vec![(ttl, n(2)), (length, n(5)), (TYPE, s("quorum"))],
            differ(ttl, "'2'", "'1'"),
        ),
        (Quorum, none(), vec![(ttl, n(2)), (TYPE, s("stream"))], differ(TYPE, "'stream'", "'classic'")),
        (
            Stream,
            none(),
            vec![(TYPE, s("a")), (bytes, n(1)), (age, s("1D"))],
            differ(bytes, "the value '1' of type 'long'", "none"),
        ),
        (Stream, stream(s("1D")), stream(s("24h")), "ok".to_owned()),
        (Stream, stream(s("1D")), stream(s("86400000")), "ok".to_owned()),
        (Stream, stream(s("1D")), stream(s("2D")), differ(age, "'172800000'", "'86400000'")),
        (Stream, stream(s("1D")), stream(s("bogus")), differ(age, "'bogus'", "'86400000'")),
        (
            Stream,
            stream(s("1D")),
            vec![(TYPE, s("stream"))],
            differ(age, "none", "the value '86400000' of type 'longstr'"),
        ),
        (
            Quorum,
            none(),
            vec![("x-queue-mode", s("lazy")), ("x-quorum-target-group-size", n(3))],
            "ok".to_owned(),
        ),
    ];
    for (kind, current, received, expected) in cases {
        let refusal = answer(check_equivalent(kind, &table(current), &table(received.clone()), Q));
        assert_eq!(refusal, expected, "{kind:?} {received:?}");
    }
}

#[test]
fn what_a_type_knows_is_what_counts() {
    for kind in [Classic, Quorum, Stream] {
        let mut keys = equivalence_keys(kind).to_vec();
        let mut known: Vec<_> =
            check::RULES.iter().filter(|rule| rule.known_to.contains(&kind)).map(|rule| rule.key).collect();
        keys.sort_unstable();
        known.sort_unstable();
        assert_eq!(keys, known, "{kind:?}");
    }
}
