//! Values as RabbitMQ's tools print them, which are written in Erlang and Elixir.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::{Map, Value};

/// An Erlang term, as far as tools print any.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// What a queue has not got.
    Empty,
    Atom(String),
    Text(String),
    Number(serde_json::Number),
    Pid(String),
    Ip(IpAddr),
    List(Vec<Term>),
    Tuple(Vec<Term>),
    /// An AMQP table: name, type and value.
    Table(Vec<(String, &'static str, Term)>),
    /// An array in such a table.
    Array(Vec<(&'static str, Term)>),
    /// An Erlang map, or a list of pairs with atoms for keys.
    Map(Vec<(String, Term)>),
    /// A list of pairs with texts for keys.
    Pairs(Vec<(String, Term)>),
}

impl From<&str> for Term {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Term {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Term {
    fn from(flag: bool) -> Self {
        Self::Atom(flag.to_string())
    }
}

impl From<u64> for Term {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl Term {
    pub fn atom(name: &str) -> Self {
        Self::Atom(name.to_owned())
    }

    /// A list of atoms.
    pub fn atoms(names: &Value) -> Self {
        let names = names.as_array().into_iter().flatten();
        Self::List(names.map(|name| Self::atom(name.as_str().unwrap_or_default())).collect())
    }

    /// A plain JSON value; texts are texts, objects are maps.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Empty,
            Value::Bool(flag) => (*flag).into(),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => text.as_str().into(),
            Value::Array(values) => Self::List(values.iter().map(Self::of).collect()),
            Value::Object(fields) => {
                Self::Map(fields.iter().map(|(key, value)| (key.clone(), Self::of(value))).collect())
            }
        }
    }

    /// The JSON that the HTTP API makes of an AMQP table, as a table again. Of numbers the type is not known any more;
    /// they get the one that nearly all clients send.
    pub fn table(fields: &Value) -> Self {
        let field = |(key, value): (&String, &Value)| {
            let (kind, term) = Self::field(value);
            (key.clone(), kind, term)
        };
        Self::Table(fields.as_object().into_iter().flatten().map(field).collect())
    }

    /// A value of such a table.
    pub fn header(value: &Value) -> Self {
        Self::field(value).1
    }

    /// A JSON object as a list of pairs.
    pub fn pairs(fields: &Value) -> Self {
        let fields = fields.as_object().into_iter().flatten();
        Self::Pairs(fields.map(|(key, value)| (key.clone(), Self::of(value))).collect())
    }

    fn field(value: &Value) -> (&'static str, Self) {
        match value {
            Value::Null => ("void", Self::atom("undefined")),
            Value::Bool(flag) => ("bool", (*flag).into()),
            Value::Number(number) if number.is_f64() => ("double", Self::Number(number.clone())),
            Value::Number(number) => {
                let small = number.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                (if small { "signedint" } else { "long" }, Self::Number(number.clone()))
            }
            Value::String(text) => ("longstr", text.as_str().into()),
            Value::Array(values) => ("array", Self::Array(values.iter().map(Self::field).collect())),
            Value::Object(_) => ("table", Self::table(value)),
        }
    }

    /// As it stands in a table's column.
    pub fn plain(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Atom(text) | Self::Pid(text) => text.clone(),
            Self::Text(text) => escaped(text),
            Self::Number(number) => number.to_string(),
            Self::Ip(ip) => ip.to_string(),
            Self::List(terms) => format!("[{}]", joined(terms, ", ", Self::plain)),
            Self::Tuple(terms) => format!("{{{}}}", joined(terms, ",", Self::plain)),
            Self::Table(_) | Self::Array(_) => self.inner(),
            Self::Map(fields) => {
                let field = |(key, term): &(String, Self)| format!("{key} => {}", term.plain());
                format!("#{{{}}}", joined(fields, ", ", field))
            }
            Self::Pairs(fields) if fields.is_empty() => "#{}".to_owned(),
            Self::Pairs(fields) => {
                let field = |(key, term): &(String, Self)| format!("{{<<\"{key}\">>, {}}}", term.plain());
                format!("[{}]", joined(fields, ", ", field))
            }
        }
    }

    /// As it stands within a value of a column.
    fn inner(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{}\"", escaped(text)),
            Self::List(terms) => format!("[{}]", joined(terms, ",", Self::inner)),
            Self::Table(fields) => {
                let field = |(key, _, term): &(String, &str, Self)| {
                    format!("{{\"{}\",{}}}", escaped(key), term.inner())
                };
                format!("[{}]", joined(fields, ",", field))
            }
            Self::Array(terms) => format!("[{}]", joined(terms, ",", |(_, term)| term.inner())),
            other => other.plain(),
        }
    }

    /// In a box, where lists have no brackets.
    pub fn boxed(&self) -> String {
        match self {
            Self::List(terms) => terms.iter().map(Self::boxed).collect(),
            Self::Table(fields) => {
                let field = |(key, kind, term): &(String, &str, Self)| {
                    format!("{{<<\"{key}\">>,{kind},{}}}", term.erlang())
                };
                fields.iter().map(field).collect()
            }
            Self::Array(terms) => {
                let term = |(kind, term): &(&str, Self)| format!("{{{kind},{}}}", term.erlang());
                terms.iter().map(term).collect()
            }
            Self::Pairs(fields) => {
                let field = |(key, term): &(String, Self)| format!("{{<<\"{key}\">>,{}}}", term.erlang());
                fields.iter().map(field).collect()
            }
            other => other.plain(),
        }
    }

    pub fn json(&self) -> Value {
        match self {
            Self::Empty => "".into(),
            Self::Atom(text) if text == "true" => true.into(),
            Self::Atom(text) if text == "false" => false.into(),
            Self::Atom(text) | Self::Text(text) | Self::Pid(text) => text.as_str().into(),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Ip(IpAddr::V4(ip)) => ip.octets().to_vec().into(),
            Self::Ip(IpAddr::V6(ip)) => ip.segments().to_vec().into(),
            Self::List(terms) | Self::Tuple(terms) => terms.iter().map(Self::json).collect(),
            Self::Table(fields) => {
                fields.iter().map(|(key, kind, term)| serde_json::json!([key, kind, term.json()])).collect()
            }
            Self::Array(terms) => {
                terms.iter().map(|(kind, term)| serde_json::json!([kind, term.json()])).collect()
            }
            Self::Map(fields) | Self::Pairs(fields) => {
                let fields = fields.iter().map(|(key, term)| (key.clone(), term.json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// As Erlang writes it, on one line.
    pub fn erlang(&self) -> String {
        match self {
            Self::Empty => "[]".to_owned(),
            Self::Atom(name) => atom(name),
            Self::Text(text) => format!("<<\"{}\">>", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Number(_) | Self::Pid(_) => self.plain(),
            Self::Ip(_) => Self::of(&self.json()).erlang().replace('[', "{").replace(']', "}"),
            Self::List(terms) => format!("[{}]", joined(terms, ",", Self::erlang)),
            Self::Tuple(terms) => format!("{{{}}}", joined(terms, ",", Self::erlang)),
            Self::Table(fields) => {
                let field = |(key, kind, term): &(String, &str, Self)| {
                    format!("{{<<\"{key}\">>,{kind},{}}}", term.erlang())
                };
                format!("[{}]", joined(fields, ",", field))
            }
            Self::Array(terms) => {
                let term = |(kind, term): &(&str, Self)| format!("{{{kind},{}}}", term.erlang());
                format!("[{}]", joined(terms, ",", term))
            }
            Self::Map(fields) => {
                let field = |(key, term): &(String, Self)| format!("{{{},{}}}", atom(key), term.erlang());
                format!("[{}]", joined(fields, ",", field))
            }
            Self::Pairs(_) => format!("[{}]", self.boxed().replace("}{", "},{")),
        }
    }

    /// The same over several lines where one of 80 characters is not enough; `indent` is where it begins.
    pub fn erlang_lines(&self, indent: usize) -> String {
        let line = self.erlang();
        if indent + line.chars().count() < 80 {
            return line;
        }
        let parts: Vec<String> = match self {
            Self::List(terms) => terms.iter().map(|term| term.erlang_lines(indent + 1)).collect(),
            Self::Map(fields) => fields.iter().map(|(key, term)| pair(key, term, indent + 1)).collect(),
            _ => return line,
        };
        format!("[{}]", parts.join(&format!(",\n{}", " ".repeat(indent + 1))))
    }

    /// As Elixir writes it.
    pub fn elixir(&self) -> String {
        match self {
            Self::Empty => "\"\"".to_owned(),
            Self::Atom(name) if name == "true" || name == "false" => name.clone(),
            Self::Atom(name) => format!(":{name}"),
            Self::Text(text) => format!("{text:?}"),
            Self::Number(_) => self.plain(),
            Self::Pid(pid) => format!("#PID{pid}"),
            Self::Ip(_) => Self::of(&self.json()).elixir().replace('[', "{").replace(']', "}"),
            Self::List(terms) => format!("[{}]", joined(terms, ", ", Self::elixir)),
            Self::Tuple(terms) => format!("{{{}}}", joined(terms, ", ", Self::elixir)),
            Self::Table(fields) => {
                let field = |(key, kind, term): &(String, &str, Self)| {
                    format!("{{{key:?}, :{kind}, {}}}", term.elixir())
                };
                format!("[{}]", joined(fields, ", ", field))
            }
            Self::Array(terms) => format!("[{}]", joined(terms, ", ", |(_, term)| term.elixir())),
            Self::Map(fields) | Self::Pairs(fields) => {
                let field = |(key, term): &(String, Self)| format!("{key}: {}", term.elixir());
                format!("[{}]", joined(fields, ", ", field))
            }
        }
    }
}

fn joined<T>(items: &[T], by: &str, each: impl Fn(&T) -> String) -> String {
    items.iter().map(each).collect::<Vec<_>>().join(by)
}

/// A pair in Erlang, with its value on a line of its own where that is needed.
fn pair(key: &str, term: &Term, indent: usize) -> String {
    let key = atom(key);
    let line = format!("{{{key},{}}}", term.erlang());
    if indent + line.chars().count() < 80 {
        return line;
    }
    format!("{{{key},\n{}{}}}", " ".repeat(indent + 4), term.erlang_lines(indent + 4))
}

/// An atom, in quotes where it is no plain word.
fn atom(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@');
    if plain { name.to_owned() } else { format!("'{name}'") }
}

/// Text on one line and without a surprise for a terminal: control characters are written in octal.
fn escaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => {
                let mut octets = [0; 4];
                for octet in c.encode_utf8(&mut octets).bytes() {
                    // Writing to a text does not fail.
                    let _ = write!(result, "\\{octet:03o}");
                }
            }
            c => result.push(c),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns() {
        let arguments = json!({ "x-queue-type": "quorum", "t": { "basic.nack": true }, "a": [1, "b"] });
        let wanted = r#"[{"a",[1,"b"]},{"t",[{"basic.nack",true}]},{"x-queue-type","quorum"}]"#;
        assert_eq!(Term::table(&arguments).plain(), wanted);
        assert_eq!(Term::table(&json!({})).plain(), "[]");
        assert_eq!(Term::atoms(&json!(["a", "b"])).plain(), "[a, b]");
        assert_eq!(Term::atoms(&json!(["a", "b"])).boxed(), "ab");
        assert_eq!(Term::of(&json!({})).plain(), "#{}");
        assert_eq!(Term::from("a\tb\\\u{1b}ä").plain(), "a\\011b\\\\033ä");
        let policy = json!({ "max-length": 10, "overflow": "reject-publish" });
        assert_eq!(
            Term::pairs(&policy).plain(),
            "[{<<\"max-length\">>, 10}, {<<\"overflow\">>, reject-publish}]"
        );
        assert_eq!(Term::pairs(&json!({})).plain(), "#{}");
        let boxed = "{<<\"a\">>,array,[{signedint,1},{longstr,<<\"b\">>}]}";
        assert_eq!(Term::table(&json!({ "a": [1, "b"] })).boxed(), boxed);
        assert_eq!(Term::Tuple(vec![0.into(), 9.into(), 1.into()]).plain(), "{0,9,1}");
    }

    #[test]
    fn tables_in_json_keep_their_types() {
        let arguments =
            json!({ "a": 1, "b": 5_000_000_000_u64, "c": true, "d": "x", "e": { "f": 1.5 }, "g": [1] });
        let wanted = json!([
            ["a", "signedint", 1],
            ["b", "long", 5_000_000_000_u64],
            ["c", "bool", true],
            ["d", "longstr", "x"],
            ["e", "table", [["f", "double", 1.5]]],
            ["g", "array", [["signedint", 1]]],
        ]);
        assert_eq!(Term::table(&arguments).json(), wanted);
        assert_eq!(Term::Ip("127.0.0.1".parse().expect("an address")).json(), json!([127, 0, 0, 1]));
    }

    #[test]
    fn erlang_and_elixir() {
        let row = |name: &str, tags: Value| {
            Term::Map(vec![("user".to_owned(), name.into()), ("tags".to_owned(), Term::atoms(&tags))])
        };
        let rows = [row("ctl-one", json!(["monitoring", "management"])), row("guest", json!([]))];
        let wanted =
            "[[{user,<<\"ctl-one\">>},{tags,[monitoring,management]}],\n [{user,<<\"guest\">>},{tags,[]}]]";
        assert_eq!(Term::List(rows.to_vec()).erlang_lines(0), wanted);
        let guest = row("guest", json!(["administrator"]));
        assert_eq!(guest.elixir(), "[user: \"guest\", tags: [:administrator]]");
        assert_eq!(Term::atom("rabbit@localhost").erlang(), "rabbit@localhost");
        assert_eq!(Term::atom("a-b").erlang(), "'a-b'");
    }
}
