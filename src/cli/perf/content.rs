//! What messages carry besides their body, and tables of arguments.

use amq_protocol::{
    protocol::BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use clap::Args;

/// Properties of all messages.
#[derive(Debug, Args)]
pub struct ContentArgs {
    /// A header of each message; may be given several times. Whole numbers and true or false are
    /// sent as such, anything else as text
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = pair)]
    pub headers: Vec<Pair>,
    /// Priority of each message
    #[arg(long, value_name = "N")]
    pub priority: Option<u8>,
    /// Milliseconds after which each message expires
    #[arg(long, value_name = "MILLISECONDS")]
    pub ttl: Option<u32>,
    /// Content type of each message
    #[arg(long, value_name = "TYPE", value_parser = short)]
    pub content_type: Option<ShortString>,
    /// Ask for messages back that reach no queue, and count those that come
    #[arg(long)]
    pub mandatory: bool,
}

/// One field of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    key: ShortString,
    value: AMQPValue,
}

impl ContentArgs {
    /// The properties, with headers that a headers exchange routes by where it does.
    pub fn properties(&self, persistent: bool, routing: Option<FieldTable>) -> BasicProperties {
        let mut properties = delivery_mode(persistent);
        if let Some(priority) = self.priority {
            properties = properties.with_priority(priority);
        }
        if let Some(ttl) = self.ttl {
            properties = properties.with_expiration(ttl.to_string().into());
        }
        if let Some(content_type) = &self.content_type {
            properties = properties.with_content_type(content_type.clone());
        }
        if routing.is_some() || !self.headers.is_empty() {
            let mut headers = routing.unwrap_or_default();
            extend(&mut headers, &self.headers);
            properties = properties.with_headers(headers);
        }
        properties
    }
}

/// Properties that say no more than whether a message is persistent.
pub fn delivery_mode(persistent: bool) -> BasicProperties {
    let properties = BasicProperties::default();
    if persistent { properties.with_delivery_mode(2) } else { properties }
}

/// A table of these fields.
pub fn table(pairs: &[Pair]) -> FieldTable {
    let mut table = FieldTable::default();
    extend(&mut table, pairs);
    table
}

/// Adds these fields to a table.
pub fn extend(table: &mut FieldTable, pairs: &[Pair]) {
    for Pair { key, value } in pairs {
        table.insert(key.clone(), value.clone());
    }
}

/// Parses KEY=VALUE.
pub fn pair(text: &str) -> Result<Pair, String> {
    let (key, value) = text.split_once('=').ok_or("no KEY=VALUE")?;
    if key.is_empty() {
        return Err("no KEY=VALUE".to_owned());
    }
    let value = match (value, value.parse()) {
        ("true", _) => AMQPValue::Boolean(true),
        ("false", _) => AMQPValue::Boolean(false),
        (_, Ok(number)) => AMQPValue::LongLongInt(number),
        _ => AMQPValue::LongString(value.into()),
    };
    Ok(Pair { key: short(key)?, value })
}

/// Parses a short string.
fn short(text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_| "longer than 255 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ContentArgs,
    }

    fn parse(line: &str) -> ContentArgs {
        Line::try_parse_from(line.split_whitespace()).unwrap().args
    }

    #[test]
    fn values_have_the_type_they_look_like() {
        let value = |text| pair(text).map(|pair| pair.value);
        assert_eq!(value("a=-12"), Ok(AMQPValue::LongLongInt(-12)));
        assert_eq!(value("a=true"), Ok(AMQPValue::Boolean(true)));
        assert_eq!(value("a=false"), Ok(AMQPValue::Boolean(false)));
        assert_eq!(value("a=1.5"), Ok(AMQPValue::LongString("1.5".into())));
        assert_eq!(value("a=b=c"), Ok(AMQPValue::LongString("b=c".into())));
        assert_eq!(value("a="), Ok(AMQPValue::LongString("".into())));
        assert!(pair("a").is_err() && pair("=b").is_err());
        assert!(pair(&format!("{}=b", "a".repeat(256))).is_err());
    }

    #[test]
    fn messages_carry_what_is_asked_for() {
        let plain = parse("x").properties(false, None);
        assert_eq!(plain, BasicProperties::default());
        let full = parse("x --header a=1 --header b=x --priority 7 --ttl 60000 --content-type text/plain");
        let full = full.properties(true, None);
        assert_eq!(*full.delivery_mode(), Some(2));
        assert_eq!(*full.priority(), Some(7));
        assert_eq!(full.expiration().as_ref().map(|text| text.as_str()), Some("60000"));
        assert_eq!(full.content_type().as_ref().map(|text| text.as_str()), Some("text/plain"));
        let headers = full.headers().as_ref().unwrap().inner();
        assert_eq!(headers.get("a"), Some(&AMQPValue::LongLongInt(1)));
        assert_eq!(headers.get("b"), Some(&AMQPValue::LongString("x".into())));
    }

    #[test]
    fn headers_that_route_stay_beside_others() {
        let properties =
            parse("x --header a=1").properties(false, Some(table(&[pair("perf=load").unwrap()])));
        assert_eq!(properties.headers().as_ref().unwrap().inner().len(), 2);
        let properties = parse("x").properties(false, Some(table(&[pair("perf=load").unwrap()])));
        assert_eq!(properties.headers().as_ref().unwrap().inner().len(), 1);
    }
}
