//! RabbitMQ's way of naming, showing and comparing arguments in its texts.

use amq_protocol::types::{AMQPValue, FieldTable};

use crate::wire::frame::erlang_binary;
use crate::wire::reply::Exception;

/// The name of a field type in RabbitMQ's texts.
pub fn type_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// A value of a whole number's type.
pub fn integer(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortUInt(n) => i64::from(*n),
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::LongLongInt(n) => *n,
        _ => return None,
    })
}

/// A value as an Erlang term, which is what RabbitMQ's texts hold.
pub fn show_erlang(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(b) => b.to_string(),
        AMQPValue::Float(f) => show_float(f64::from(*f)),
        AMQPValue::Double(d) => show_float(*d),
        AMQPValue::DecimalValue(d) => format!("{{{},{}}}", d.scale, d.value),
        AMQPValue::ShortString(s) => erlang_binary(s.as_str().as_bytes()),
        AMQPValue::LongString(s) => erlang_binary(s.as_bytes()),
        AMQPValue::ByteArray(b) => erlang_binary(b.as_slice()),
        AMQPValue::Timestamp(t) => t.to_string(),
        AMQPValue::Void => "undefined".to_owned(),
        AMQPValue::FieldArray(items) => {
            let shown = items.as_slice().iter().map(|v| format!("{{{},{}}}", type_name(v), show_erlang(v)));
            format!("[{}]", shown.collect::<Vec<_>>().join(","))
        }
        AMQPValue::FieldTable(table) => {
            let shown = table.inner().iter().map(|(name, v)| {
                let name = erlang_binary(name.as_str().as_bytes());
                format!("{{{name},{},{}}}", type_name(v), show_erlang(v))
            });
            format!("[{}]", shown.collect::<Vec<_>>().join(","))
        }
        number => integer(number).unwrap_or_default().to_string(),
    }
}

/// Octets the way Erlang shows them where it looks for text in any language.
pub fn erlang_text(octets: &[u8]) -> String {
    let text = std::str::from_utf8(octets).unwrap_or_default();
    let escape = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '"' | '\\' => format!("\\{c}"),
        c => c.to_string(),
    };
    if text.is_empty() || text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) {
        return erlang_binary(octets);
    }
    let shown: String = text.chars().map(escape).collect();
    if text.is_ascii() { format!("<<\"{shown}\">>") } else { format!("<<\"{shown}\"/utf8>>") }
}

/// A number as Erlang writes it: the fewest digits that name it, with an exponent where that is shorter (`100.0`, but `1.0e3`).
pub fn show_float(number: f64) -> String {
    let scientific = format!("{:e}", number.abs());
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let Ok(exponent) = exponent.parse::<i32>() else { return scientific };
    let digits = mantissa.replace('.', "");
    let (length, place) = (digits.len() as i32, exponent + 1);
    let cost = exponent.to_string().len() as i32 + if length == 1 { 3 } else { 2 };
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let shown = if (1..length).contains(&place) {
        let (whole, fraction) = digits.split_at(place as usize);
        format!("{whole}.{fraction}")
    } else if place <= 0 && (place == 0 || 2 - place <= cost) {
        format!("0.{}{digits}", zeros(-place))
    } else if place > 0 && place - length + 2 <= cost && number.abs() < (1_u64 << 53) as f64 {
        format!("{digits}{}.0", zeros(place - length))
    } else {
        let (first, rest) = digits.split_at(1);
        format!("{first}.{}e{exponent}", if rest.is_empty() { "0" } else { rest })
    };
    if number.is_sign_negative() { format!("-{shown}") } else { shown }
}

/// A value inside quotes: strings bare, everything else as a term.
pub fn show(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(s) => String::from_utf8_lossy(s.as_bytes()).into_owned(),
        AMQPValue::ByteArray(b) => String::from_utf8_lossy(b.as_slice()).into_owned(),
        other => show_erlang(other),
    }
}

/// Refuses a redeclaration one of whose arguments differs, as RabbitMQ does. Arguments not in `keys` do not count.
pub fn check_equivalence(
    described: &str,
    current: &FieldTable,
    received: &FieldTable,
    keys: &[&str],
) -> Result<(), Exception> {
    for key in keys {
        let (old, new) = (current.inner().get(*key), received.inner().get(*key));
        let (old, new) = match (old, new) {
            (None, None) => continue,
            (Some(old), Some(new)) if equivalent(old, new) => continue,
            (Some(old), Some(new)) => (show_quoted(old), show_quoted(new)),
            (old, new) => (show_typed(old), show_typed(new)),
        };
        return Err(inequivalent(key, described, &new, &old));
    }
    Ok(())
}

/// The text for any property that differs; `received` and `current` as they are to be shown.
pub fn inequivalent(key: &str, described: &str, received: &str, current: &str) -> Exception {
    Exception::precondition_failed(format!(
        "inequivalent arg '{key}' for {described}: received {received} but current is {current}"
    ))
}

fn equivalent(a: &AMQPValue, b: &AMQPValue) -> bool {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b || octets(a).is_some_and(|a| Some(a) == octets(b)),
    }
}

/// The octets of a text or a byte array, which are the same to RabbitMQ.
fn octets(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ByteArray(octets) => Some(octets.as_slice()),
        _ => None,
    }
}

fn show_quoted(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Void => "none".to_owned(),
        value => format!("'{}'", show(value)),
    }
}

fn show_typed(value: Option<&AMQPValue>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!("the value '{}' of type '{}'", show(value), type_name(value)),
    }
}

/// Refuses a value other than a string for an argument that names an exchange.
pub fn check_exchange_name(arguments: &FieldTable, key: &str, described: &str) -> Result<(), Exception> {
    match arguments.inner().get(key) {
        None | Some(AMQPValue::LongString(_)) => Ok(()),
        Some(other) => Err(Exception::precondition_failed(format!(
            "invalid type '{}' for arg '{key}' in {described}",
            type_name(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_erlang_writes_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (1000.0, "1.0e3"),
            (12000.0, "1.2e4"),
            (123456.0, "123456.0"),
            (0.01, "0.01"),
            (0.001, "0.001"),
            (0.00012, "1.2e-4"),
            (-2.5, "-2.5"),
            (1.0e22, "1.0e22"),
            (9007199254740991.0, "9007199254740991.0"),
            (9007199254740992.0, "9.007199254740992e15"),
        ] {
            assert_eq!(show_float(number), text);
        }
    }

    fn table(key: &str, value: Option<AMQPValue>) -> FieldTable {
        let mut out = FieldTable::default();
        if let Some(value) = value {
            out.insert(key.into(), value);
        }
        out
    }

    fn refusal(current: Option<AMQPValue>, received: Option<AMQPValue>) -> Option<String> {
        check_equivalence("queue 'q' in vhost '/'", &table("k", current), &table("k", received), &["k"])
            .err()
            .map(|e| e.explanation.split(": ").nth(1).unwrap_or_default().to_owned())
    }

    #[test]
    fn texts_of_inequivalence() {
        let text = |s: &str| Some(AMQPValue::LongString(s.into()));
        assert_eq!(refusal(text("a"), text("a")), None);
        assert_eq!(refusal(Some(AMQPValue::LongInt(5)), Some(AMQPValue::LongLongInt(5))), None);
        assert_eq!(refusal(text("x"), text("y")).as_deref(), Some("received 'y' but current is 'x'"));
        assert_eq!(
            refusal(None, Some(AMQPValue::LongInt(5))).as_deref(),
            Some("received the value '5' of type 'signedint' but current is none")
        );
        assert_eq!(
            refusal(text("x"), None).as_deref(),
            Some("received none but current is the value 'x' of type 'longstr'")
        );
    }
}
