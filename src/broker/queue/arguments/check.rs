//! Which type of queue knows which argument, and what each may hold.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::{Declared, MAX_AGE, QueueType, TYPE, invalid, text};
use crate::broker::compatibility::Hint;
use crate::broker::exchange::arguments::{integer, type_name};
use crate::wire::reply::Exception;

/// Ten years in milliseconds, the longest time to live or unused.
const EXPIRY_MAX: i64 = 315_360_000_000;
const SEGMENT_SIZE_MAX: i64 = 3_000_000_000;
const SEGMENT_SIZE: &str = "x-stream-max-segment-size-bytes";
const FILTER_SIZE: &str = "x-stream-filter-size-bytes";
const VERSION: &str = "x-queue-version";
const MASTER_LOCATOR: &str = "x-queue-master-locator";

/// What is wrong with a value, as an Erlang term, given all the arguments.
type Check = fn(&AMQPValue, &FieldTable) -> Result<(), String>;

pub struct Rule {
    pub key: &'static str,
    pub known_to: &'static [QueueType],
    check: Check,
}

const CLASSIC: &[QueueType] = &[QueueType::Classic];
const QUORUM: &[QueueType] = &[QueueType::Quorum];
const STREAM: &[QueueType] = &[QueueType::Stream];
const QUEUES: &[QueueType] = &[QueueType::Classic, QueueType::Quorum];
const ALL: &[QueueType] = &[QueueType::Classic, QueueType::Quorum, QueueType::Stream];

const fn rule(key: &'static str, known_to: &'static [QueueType], check: Check) -> Rule {
    Rule { key, known_to, check }
}

/// In the order in which RabbitMQ checks them. Keys that are not here are nobody's, and allowed.
pub const RULES: [Rule; 28] = [
    rule("x-expires", QUEUES, expires),
    rule("x-message-ttl", QUEUES, message_ttl),
    rule("x-dead-letter-exchange", QUEUES, anything), // checked before the type is
    rule("x-dead-letter-routing-key", QUEUES, routing_key),
    rule("x-dead-letter-strategy", QUORUM, strategy),
    rule("x-max-length", QUEUES, not_negative),
    rule("x-max-length-bytes", ALL, not_negative),
    rule("x-max-in-memory-length", QUORUM, not_negative),
    rule("x-max-in-memory-bytes", QUORUM, not_negative),
    rule("x-max-priority", CLASSIC, max_priority),
    rule("x-overflow", QUEUES, overflow),
    rule("x-queue-mode", CLASSIC, anything),
    rule(VERSION, CLASSIC, version),
    rule("x-single-active-consumer", QUEUES, boolean),
    rule(TYPE, ALL, anything), // checked before all others
    rule("x-consumer-timeout", QUORUM, not_negative),
    rule("x-consumer-disconnected-timeout", QUORUM, not_negative),
    rule("x-quorum-initial-group-size", QUORUM, positive),
    rule(MAX_AGE, STREAM, max_age),
    rule(SEGMENT_SIZE, STREAM, not_negative),
    rule(FILTER_SIZE, STREAM, not_negative),
    rule("x-initial-cluster-size", STREAM, positive),
    rule("x-queue-leader-locator", ALL, leader_locator),
    rule(MASTER_LOCATOR, CLASSIC, anything), // refused after all others
    rule("x-delivery-limit", QUORUM, anything),
    rule("x-delayed-retry-type", QUORUM, anything),
    rule("x-delayed-retry-min", QUORUM, anything),
    rule("x-delayed-retry-max", QUORUM, anything),
];

/// Refuses a bad value of an argument that the type knows.
pub fn values(queue_type: QueueType, arguments: &FieldTable, described: &str) -> Result<(), Exception> {
    for rule in RULES.iter().filter(|rule| rule.known_to.contains(&queue_type)) {
        if let Some(value) = arguments.inner().get(rule.key) {
            (rule.check)(value, arguments).map_err(|what| invalid(rule.key, described, &what))?;
        }
    }
    Ok(())
}

/// Refuses an argument that only other types know.
///
/// Of several, the first by name is reported. RabbitMQ does the same unless `x-queue-type` is given, when it
/// goes by the order on the wire, which a [`FieldTable`] does not keep.
pub fn no_foreign(queue_type: QueueType, arguments: &FieldTable, described: &str) -> Result<(), Exception> {
    let foreign =
        |key: &str| RULES.iter().any(|rule| rule.key == key && !rule.known_to.contains(&queue_type));
    match arguments.inner().keys().find(|key| foreign(key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Exception::precondition_failed(format!(
            "invalid arg '{key}' for {described} of queue type {}",
            queue_type.module()
        ))),
    }
}

/// What is left of a classic queue's arguments without those that RabbitMQ has given up, and how to do without them. `None`
/// if there are none.
pub fn without_old(arguments: &FieldTable) -> Option<(FieldTable, Vec<Hint>)> {
    let value = |key: &str| arguments.inner().get(key);
    let is_classic = value(TYPE).is_none_or(|name| text(name) == Some(b"classic"));
    let version = value(VERSION).and_then(integer) == Some(1);
    let locator = value(MASTER_LOCATOR).is_some();
    if !is_classic || !(version || locator) {
        return None;
    }
    let (mut left, mut hints) = (FieldTable::default(), Vec::new());
    for (key, value) in arguments.inner() {
        match key.as_str() {
            VERSION if version => hints.push(Hint::QueueVersion),
            MASTER_LOCATOR => hints.push(Hint::MasterLocator),
            _ => {
                left.insert(key.clone(), value.clone());
            }
        }
    }
    Some((left, hints))
}

/// Refuses what RabbitMQ has given up. The text is whole as far as a reply text reaches, and a bit further.
pub fn no_master_locator(arguments: &FieldTable) -> Result<(), Exception> {
    if !arguments.contains_key(MASTER_LOCATOR) {
        return Ok(());
    }
    Err(Exception::internal_error(
        "Feature `queue_master_locator` is deprecated.\n\
         By default, this feature is not permitted anymore.\n\
         The feature will be removed from a future major RabbitMQ version, regardless of the configuration; \
         actual version to be determined.\n\
         To continue using this feature when it is not permitted by default, permit it in the configuration.",
    ))
}

/// Refuses the flags that quorum queues and streams do not have.
pub fn flags(declared: &Declared, described: &str) -> Result<(), Exception> {
    let property = if declared.auto_delete {
        "auto-delete"
    } else if declared.exclusive {
        "exclusive-owner"
    } else if !declared.durable {
        "non-durable"
    } else {
        return Ok(());
    };
    Err(Exception::precondition_failed(format!("invalid property '{property}' for {described}")))
}

/// Refuses sizes that a stream cannot have. This comes after everything else, and has texts of its own.
pub fn stream_sizes(arguments: &FieldTable) -> Result<(), Exception> {
    let number = |key: &str| arguments.inner().get(key).and_then(integer);
    if number(SEGMENT_SIZE).is_some_and(|n| n > SEGMENT_SIZE_MAX) {
        return Err(Exception::precondition_failed(format!("Exceeded max value for {SEGMENT_SIZE}")));
    }
    if number(FILTER_SIZE).is_some_and(|n| !(16..=255).contains(&n)) {
        return Err(Exception::precondition_failed(format!("Invalid value for {FILTER_SIZE}")));
    }
    Ok(())
}

fn anything(_: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    Ok(())
}

fn whole(value: &AMQPValue) -> Result<i64, String> {
    integer(value).ok_or_else(|| quoted(&format!("expected integer, got {}", type_name(value))))
}

fn not_below_zero(value: &AMQPValue) -> Result<i64, String> {
    match whole(value)? {
        n if n < 0 => Err(format!("{{value_negative,{n}}}")),
        n => Ok(n),
    }
}

fn not_negative(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    not_below_zero(value).map(drop)
}

fn positive(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match not_below_zero(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => Ok(()),
    }
}

fn message_ttl(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match not_below_zero(value)? {
        n if n > EXPIRY_MAX => Err(format!("{{value_too_large,{n}}}")),
        _ => Ok(()),
    }
}

fn expires(value: &AMQPValue, arguments: &FieldTable) -> Result<(), String> {
    positive(value, arguments)?;
    message_ttl(value, arguments)
}

fn max_priority(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match not_below_zero(value)? {
        n if n > 255 => Err(format!("{{max_value_exceeded,{n}}}")),
        _ => Ok(()),
    }
}

fn version(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match not_below_zero(value)? {
        2 => Ok(()),
        n => Err(quoted(&format!("unsupported queue version '{n}'"))),
    }
}

fn boolean(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    match value {
        AMQPValue::Boolean(_) => Ok(()),
        other => Err(unacceptable(other)),
    }
}

fn routing_key(value: &AMQPValue, arguments: &FieldTable) -> Result<(), String> {
    text(value).ok_or_else(|| unacceptable(value))?;
    if arguments.contains_key("x-dead-letter-exchange") {
        return Ok(());
    }
    Err("routing_key_but_no_dlx_defined".to_owned())
}

fn strategy(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    one_of(value, &["at-most-once", "at-least-once"], "invalid_dlx_strategy")
}

fn overflow(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow")
}

fn leader_locator(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    let known = ["client-local", "balanced", "random", "least-leaders"];
    one_of(value, &known, "invalid_queue_locator_arg")
}

fn max_age(value: &AMQPValue, _: &FieldTable) -> Result<(), String> {
    let written = text(value).ok_or_else(|| unacceptable(value))?;
    age(written).map(drop).ok_or_else(|| "invalid_max_age".to_owned())
}

fn one_of(value: &AMQPValue, known: &[&str], otherwise: &str) -> Result<(), String> {
    let written = text(value).ok_or_else(|| unacceptable(value))?;
    if known.iter().any(|name| name.as_bytes() == written) { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn unacceptable(value: &AMQPValue) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}

/// An age such as `7D` in milliseconds: a whole number, not 0, and one of `Y`, `M` (30 days), `D`, `h`, `m`
/// and `s`. As in RabbitMQ, what follows a line feed does not count.
pub fn age(written: &[u8]) -> Option<u128> {
    let line = written.split(|octet| *octet == b'\n').next()?;
    let (unit, digits) = line.split_last()?;
    let unit: u128 = match unit {
        b'Y' => 365 * 86_400_000,
        b'M' => 30 * 86_400_000,
        b'D' => 86_400_000,
        b'h' => 3_600_000,
        b'm' => 60_000,
        b's' => 1000,
        _ => return None,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number =
        digits.iter().fold(0_u128, |n, digit| n.saturating_mul(10).saturating_add(u128::from(digit - b'0')));
    Some(number.saturating_mul(unit)).filter(|ms| *ms > 0)
}

/// Text the way Erlang prints a list of characters: in quotes if all are printable Latin-1, else as numbers.
pub fn quoted(text: &str) -> String {
    let printable = |c: char| matches!(c, ' '..='~' | '\u{a0}'..='\u{ff}' | '\u{8}'..='\r' | '\u{1b}');
    if !text.chars().all(printable) {
        let numbers: Vec<_> = text.chars().map(|c| u32::from(c).to_string()).collect();
        return format!("[{}]", numbers.join(","));
    }
    let mut out = String::from('"');
    for c in text.chars() {
        let escape = match c {
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' | '\\' => c,
            _ => {
                out.push(c);
                continue;
            }
        };
        out.extend(['\\', escape]);
    }
    out.push('"');
    out
}
