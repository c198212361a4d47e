//! Methods as lines of words, and back: independent of the broker's own code for it.
//!
//! A method's layout says which words become which octets: `s` a short string, `w`, `l` and `q` numbers of 2, 4 and 8
//! octets, `b:` flags that are words of their own, `t` a table of `key=value`, and `z` zeroes that no word stands for.

use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::wire::properties as property_list;

type Layout = (&'static str, u16, u16, &'static str);

const LAYOUTS: &[Layout] = &[
    ("connection.close", 10, 50, "w s w w"),
    ("connection.close-ok", 10, 51, ""),
    ("connection.update-secret-ok", 10, 71, ""),
    ("channel.open", 20, 10, "z1"),
    ("channel.open-ok", 20, 11, "z4"),
    ("channel.flow", 20, 20, "b:active"),
    ("channel.flow-ok", 20, 21, "b:active"),
    ("channel.close", 20, 40, "w s w w"),
    ("channel.close-ok", 20, 41, ""),
    ("access.request-ok", 30, 11, "w"),
    ("exchange.declare", 40, 10, "z2 s s b:passive,durable,auto-delete,internal,no-wait t"),
    ("exchange.declare-ok", 40, 11, ""),
    ("exchange.delete", 40, 20, "z2 s b:if-unused,no-wait"),
    ("exchange.delete-ok", 40, 21, ""),
    ("exchange.bind", 40, 30, "z2 s s s b:no-wait t"),
    ("exchange.bind-ok", 40, 31, ""),
    ("exchange.unbind", 40, 40, "z2 s s s b:no-wait t"),
    ("exchange.unbind-ok", 40, 51, ""),
    ("queue.declare", 50, 10, "z2 s b:passive,durable,exclusive,auto-delete,no-wait t"),
    ("queue.declare-ok", 50, 11, "s l l"),
    ("queue.bind", 50, 20, "z2 s s s b:no-wait t"),
    ("queue.bind-ok", 50, 21, ""),
    ("queue.purge", 50, 30, "z2 s b:no-wait"),
    ("queue.purge-ok", 50, 31, "l"),
    ("queue.delete", 50, 40, "z2 s b:if-unused,if-empty,no-wait"),
    ("queue.delete-ok", 50, 41, "l"),
    ("queue.unbind", 50, 50, "z2 s s s t"),
    ("queue.unbind-ok", 50, 51, ""),
    ("basic.qos", 60, 10, "z4 w b:global"),
    ("basic.qos-ok", 60, 11, ""),
    ("basic.consume", 60, 20, "z2 s s b:no-local,no-ack,exclusive,no-wait t"),
    ("basic.consume-ok", 60, 21, "s"),
    ("basic.cancel", 60, 30, "s b:no-wait"),
    ("basic.cancel-ok", 60, 31, "s"),
    ("basic.publish", 60, 40, "z2 s s b:mandatory,immediate"),
    ("basic.return", 60, 50, "w s s s"),
    ("basic.deliver", 60, 60, "s q b:redelivered s s"),
    ("basic.get", 60, 70, "z2 s b:no-ack"),
    ("basic.get-ok", 60, 71, "q b:redelivered s s l"),
    ("basic.get-empty", 60, 72, "z1"),
    ("basic.ack", 60, 80, "q b:multiple"),
    ("basic.reject", 60, 90, "q b:requeue"),
    ("basic.recover-async", 60, 100, "b:requeue"),
    ("basic.recover", 60, 110, "b:requeue"),
    ("basic.recover-ok", 60, 111, ""),
    ("basic.nack", 60, 120, "q b:multiple,requeue"),
    ("confirm.select", 85, 10, "b:no-wait"),
    ("confirm.select-ok", 85, 11, ""),
    ("tx.select", 90, 10, ""),
    ("tx.select-ok", 90, 11, ""),
    ("tx.commit", 90, 20, ""),
    ("tx.commit-ok", 90, 21, ""),
    ("tx.rollback", 90, 30, ""),
    ("tx.rollback-ok", 90, 31, ""),
];

/// Words that are flags wherever they stand without quotes.
const FLAGS: &str = "active passive durable auto-delete exclusive internal no-wait no-ack no-local if-unused if-empty \
                     mandatory immediate global multiple requeue";

/// The words of a line by what they are.
#[derive(Debug, Default)]
struct Words {
    name: String,
    values: std::collections::VecDeque<String>,
    flags: Vec<String>,
    fields: Vec<(String, String)>,
}

impl Words {
    fn new(line: &str) -> Self {
        let mut out = Self::default();
        for (word, quoted) in split(line) {
            if out.name.is_empty() {
                out.name = word;
            } else if let (Some((key, value)), false) = (word.split_once('='), quoted) {
                out.fields.push((key.to_owned(), value.to_owned()));
            } else if !quoted && FLAGS.split_whitespace().any(|flag| flag == word) {
                out.flags.push(word);
            } else {
                out.values.push_back(word);
            }
        }
        out
    }
}

/// Words between blanks; one in double quotes may have blanks in it.
fn split(line: &str) -> Vec<(String, bool)> {
    let mut out = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, tail, quoted) = if let Some(inside) = rest.strip_prefix('"') {
            let (word, tail) = inside.split_once('"').unwrap_or((inside, ""));
            (word, tail, true)
        } else {
            let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
            (word, tail, false)
        };
        out.push((word.to_owned(), quoted));
        rest = tail.trim_start();
    }
    out
}

/// The payload of the method a line stands for.
pub fn encode(line: &str) -> Vec<u8> {
    let mut words = Words::new(line);
    let found = LAYOUTS.iter().find(|(name, ..)| *name == words.name);
    let (_, class, method, layout) = *found.unwrap_or_else(|| panic!("no method is called so: {line}"));
    let mut out = [class.to_be_bytes(), method.to_be_bytes()].concat();
    for field in layout.split_whitespace() {
        put(&mut out, field, &mut words, line);
    }
    assert!(words.values.is_empty() && words.flags.is_empty(), "left over: {words:?}");
    assert!(words.fields.is_empty() || words.name == "basic.publish", "no place for {words:?}");
    out
}

fn put(out: &mut Vec<u8>, field: &str, words: &mut Words, line: &str) {
    let (kind, rest) = field.split_at(1);
    if let Some(octets) = octets_of(kind) {
        let value = words.values.pop_front().unwrap_or_else(|| "0".to_owned());
        let value: u64 = value.parse().unwrap_or_else(|_| panic!("no number {value:?}: {line}"));
        out.extend_from_slice(&value.to_be_bytes()[8 - octets..]);
        return;
    }
    match kind {
        "z" => out.resize(out.len() + rest.parse::<usize>().expect("a size"), 0),
        "s" => put_short(out, words.values.pop_front().unwrap_or_default().as_bytes()),
        "t" => {
            let table = table(&std::mem::take(&mut words.fields));
            out.extend_from_slice(&table);
        }
        _ => {
            let mut bits = 0;
            for (bit, flag) in rest[1..].split(',').enumerate() {
                bits |= u8::from(words.flags.iter().any(|word| word == flag)) << bit;
                words.flags.retain(|word| word != flag);
            }
            out.push(bits);
        }
    }
}

fn octets_of(kind: &str) -> Option<usize> {
    match kind {
        "w" => Some(2),
        "l" => Some(4),
        "q" => Some(8),
        _ => None,
    }
}

fn put_short(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(u8::try_from(octets.len()).expect("a short string"));
    out.extend_from_slice(octets);
}

/// A table with its length: whole numbers as `I`, `true` and `false`, `void`, `[a,b]` an array of strings, all else
/// strings.
fn table(fields: &[(String, String)]) -> Vec<u8> {
    let mut inside = Vec::new();
    for (key, value) in fields {
        put_short(&mut inside, key.as_bytes());
        if let Ok(number) = value.parse::<i32>() {
            inside.push(b'I');
            inside.extend_from_slice(&number.to_be_bytes());
        } else if value == "true" || value == "false" {
            inside.extend_from_slice(&[b't', u8::from(value == "true")]);
        } else if value == "void" {
            inside.push(b'V');
        } else if let Some(texts) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let mut array = Vec::new();
            for text in texts.split(',').filter(|text| !text.is_empty()) {
                array.push(b'S');
                array.extend_from_slice(&u32::try_from(text.len()).expect("short enough").to_be_bytes());
                array.extend_from_slice(text.as_bytes());
            }
            inside.push(b'A');
            inside.extend_from_slice(&u32::try_from(array.len()).expect("short enough").to_be_bytes());
            inside.extend_from_slice(&array);
        } else {
            inside.push(b'S');
            inside.extend_from_slice(&u32::try_from(value.len()).expect("short enough").to_be_bytes());
            inside.extend_from_slice(value.as_bytes());
        }
    }
    let size = u32::try_from(inside.len()).expect("short enough");
    [&size.to_be_bytes(), inside.as_slice()].concat()
}

/// The property list of a publish: `priority=`, `reply-to=` and `expiration=` are properties, every other `key=value` a header.
pub fn properties(line: &str) -> Vec<u8> {
    let (mut flags, mut texts, mut headers) = (0u16, Vec::new(), Vec::new());
    let mut priority: Option<u8> = None;
    for (key, value) in Words::new(line).fields {
        match ["expiration", "reply-to"].iter().position(|name| *name == key) {
            Some(place) => {
                flags |= 1 << (8 + place);
                texts.push((1 - place, value));
            }
            None if key == "priority" => {
                flags |= 1 << 11;
                priority = Some(value.parse().expect("a priority"));
            }
            None => headers.push((key, value)),
        }
    }
    let mut out = (flags | u16::from(!headers.is_empty()) << 13).to_be_bytes().to_vec();
    if !headers.is_empty() {
        out.extend_from_slice(&table(&headers));
    }
    out.extend(priority);
    texts.sort_unstable();
    texts.iter().for_each(|(_, value)| put_short(&mut out, value.as_bytes()));
    out
}

/// The line a method's payload stands for.
pub fn decode(payload: &[u8]) -> String {
    let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    let id = (number(0), number(2));
    let found = LAYOUTS.iter().find(|(_, class, method, _)| (*class, *method) == id);
    let (name, _, _, layout) = *found.unwrap_or_else(|| panic!("unknown method {id:?}"));
    let mut rest = &payload[4..];
    let mut take = |size: usize| {
        let (front, tail) = rest.split_at(size);
        rest = tail;
        front
    };
    let mut out = name.to_owned();
    for field in layout.split_whitespace() {
        let (kind, tail) = field.split_at(1);
        if let Some(octets) = octets_of(kind) {
            let value = take(octets).iter().fold(0u64, |value, octet| value << 8 | u64::from(*octet));
            out += &format!(" {value}");
        } else if kind == "z" {
            take(tail.parse().expect("a size"));
        } else if kind == "s" {
            let size = take(1)[0].into();
            out += &format!(" {}", quote(take(size)));
        } else {
            let bits = take(1)[0];
            for (_, flag) in tail[1..].split(',').enumerate().filter(|(bit, _)| bits >> bit & 1 == 1) {
                out += &format!(" {flag}");
            }
        }
    }
    assert!(rest.is_empty(), "{name} is too long: {payload:?}");
    out
}

/// Headers, reply-to and expiration of a property list, if it has any, as they would be written; times are left out.
pub fn show_properties(raw: &[u8]) -> String {
    let found = property_list::walk(raw).expect("a property list");
    let mut out = String::new();
    if let Some(headers) = found.headers {
        match leveret::wire::table::decode_table(headers) {
            Some(headers) => show_fields(&headers).iter().for_each(|field| out += &format!(" {field}")),
            None => out += " (headers that are not decoded)",
        }
    }
    if let Some(priority) = found.priority {
        out += &format!(" priority={priority}");
    }
    if let Some(name) = found.reply_to {
        out += &format!(" reply-to={}", String::from_utf8_lossy(name));
    }
    if let Some(expiration) = found.expiration {
        out += &format!(" expiration={}", String::from_utf8_lossy(expiration));
    }
    out
}

fn show_fields(fields: &FieldTable) -> Vec<String> {
    let timeless = fields.inner().iter().filter(|(key, _)| key.as_str() != "time");
    timeless.map(|(key, value)| format!("{key}={}", show_value(value))).collect()
}

fn show_value(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => quote(text.as_bytes()),
        AMQPValue::FieldTable(fields) => format!("{{{}}}", show_fields(fields).join(" ")),
        AMQPValue::FieldArray(values) => {
            format!("[{}]", values.as_slice().iter().map(show_value).collect::<Vec<_>>().join(" "))
        }
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => format!("{number}l"),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::Void => "void".to_owned(),
        other => format!("{other:?}"),
    }
}

fn quote(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    if text.is_empty() || text.contains(' ') { format!("\"{text}\"") } else { text.into_owned() }
}
