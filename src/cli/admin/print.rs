//! Lists of JSON objects in the formats that scripts read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Failure;

/// Columns that come first, in this order; others follow by name.
const FIRST: [&str; 7] =
    ["vhost", "name", "type", "source", "destination", "destination_type", "routing_key"];
const DASHES: usize = 80;

/// How a list is wanted.
pub struct Wanted<'a> {
    pub format: &'a str,
    /// Columns that somebody has chosen.
    pub columns: Vec<String>,
    /// How deep objects are shown if nobody has.
    pub depth: usize,
    /// Fields that are shown as JSON.
    pub json: &'a [&'a str],
    pub quiet: bool,
}

/// Prints a list.
pub fn list(items: &Value, raw: &str, wanted: &Wanted<'_>) -> Result<String, Failure> {
    match wanted.format {
        "raw_json" => return Ok(format!("{raw}\n")),
        "pretty_json" => {
            let pretty = serde_json::to_string_pretty(items);
            return Ok(pretty.map_err(|e| Failure::Refused(e.to_string()))? + "\n");
        }
        _ => {}
    }
    let objects = items.as_array().map_or(&[][..], Vec::as_slice);
    let depth = if wanted.columns.is_empty() { wanted.depth } else { usize::MAX };
    let rows: Vec<_> = objects.iter().map(|object| flat(object, depth, wanted.json)).collect();
    let columns = columns(&rows, wanted);
    if rows.is_empty() {
        return Ok(if wanted.quiet { String::new() } else { "No items\n".to_owned() });
    }
    let cell = |row: &BTreeMap<String, String>, column: &String| row.get(column).cloned().unwrap_or_default();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect();
    match wanted.format {
        "table" => Ok(table(&columns, &cells)),
        "tsv" => Ok(tsv(&columns, &cells)),
        "long" => Ok(long(&columns, &cells)),
        "kvp" => Ok(kvp(&columns, &cells)),
        "bash" => {
            Ok(cells.iter().filter_map(|row| row.first()).cloned().collect::<Vec<_>>().join(" ") + "\n")
        }
        other => Err(Failure::Misused(format!("Format {other} not recognised"))),
    }
}

/// The columns in their order.
fn columns(rows: &[BTreeMap<String, String>], wanted: &Wanted<'_>) -> Vec<String> {
    if !wanted.columns.is_empty() {
        return wanted.columns.clone();
    }
    let mut all: Vec<String> = rows.iter().flat_map(|row| row.keys().cloned()).collect();
    all.sort_by_key(|name| {
        (FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()), name.clone())
    });
    all.dedup();
    all
}

/// An object's fields as text, those of objects within it by their path.
fn flat(object: &Value, depth: usize, json: &[&str]) -> BTreeMap<String, String> {
    let mut row = BTreeMap::new();
    // Paths of objects that are to be looked into, and how deep they lie.
    let mut left = vec![(String::new(), 1, object)];
    while let Some((path, level, object)) = left.pop() {
        for (key, value) in object.as_object().into_iter().flatten() {
            let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                Value::Object(_) if json.contains(&key.as_str()) => {
                    row.insert(name, value.to_string());
                }
                Value::Object(_) if level < depth => left.push((name, level + 1, value)),
                Value::Object(_) => {}
                _ => {
                    row.insert(name, text(value));
                }
            }
        }
    }
    row
}

/// As the older tool, which is in Python, writes values.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.iter().all(Value::is_string) => {
            values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let widest = |n: usize, name: &String| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| width(cell));
        cells.chain([width(name)]).max().unwrap_or(0)
    };
    let widths: Vec<_> = columns.iter().enumerate().map(|(n, name)| widest(n, name)).collect();
    let border: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
    let line = |cells: &[String], centred: bool| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            format!("| {} ", if centred { centre(cell, *width) } else { left(cell, *width) })
        });
        format!("{}|\n", cells.collect::<String>())
    };
    let mut text = format!("{border}+\n{}{border}+\n", line(columns, true));
    rows.iter().for_each(|row| text.push_str(&line(row, false)));
    text + &border + "+\n"
}

fn left(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// In the middle, and where there is none as Python has it.
fn centre(text: &str, to: usize) -> String {
    let pad = to.saturating_sub(width(text));
    let before = pad / 2 + (pad & to & 1);
    format!("{}{text}{}", " ".repeat(before), " ".repeat(pad - before))
}

fn tsv(columns: &[String], rows: &[Vec<String>]) -> String {
    let lines = std::iter::once(columns).chain(rows.iter().map(Vec::as_slice));
    lines.map(|line| line.join("\t") + "\n").collect()
}

fn long(columns: &[String], rows: &[Vec<String>]) -> String {
    let to = columns.iter().map(|name| width(name)).max().unwrap_or(0);
    let dashes = format!("\n{}\n", "-".repeat(DASHES));
    let mut text = dashes.clone();
    for row in rows {
        text.push('\n');
        for (name, cell) in columns.iter().zip(row) {
            text.push_str(&format!("{}{name}: {cell}\n", " ".repeat(to - width(name))));
        }
        text.push_str(&dashes);
    }
    text
}

fn kvp(columns: &[String], rows: &[Vec<String>]) -> String {
    let pairs = |row: &Vec<String>| {
        let pairs = columns.iter().zip(row).map(|(name, cell)| format!("{name}=\"{cell}\""));
        pairs.collect::<Vec<_>>().join(" ") + "\n"
    };
    rows.iter().map(pairs).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(format: &str, columns: &[&str]) -> String {
        let items = json!([
            { "name": "q", "vhost": "/", "messages": 1, "durable": true, "a": { "b": { "c": 2 } }, "l": ["x", "y"] },
            { "name": "longer", "vhost": "/", "messages": 10, "durable": false },
        ]);
        let columns = columns.iter().map(ToString::to_string).collect();
        let wanted = Wanted { format, columns, depth: 1, json: &[], quiet: false };
        list(&items, "raw", &wanted).expect("a list")
    }

    #[test]
    fn formats() {
        let table = "+--------+----------+\n|  name  | messages |\n+--------+----------+\n| q      | 1        |\n\
                     | longer | 10       |\n+--------+----------+\n";
        assert_eq!(printed("table", &["name", "messages"]), table);
        assert_eq!(
            printed("tsv", &[]),
            "vhost\tname\tdurable\tl\tmessages\n/\tq\tTrue\tx y\t1\n/\tlonger\tFalse\t\t10\n"
        );
        assert_eq!(
            printed("kvp", &["name", "a.b.c"]),
            "name=\"q\" a.b.c=\"2\"\nname=\"longer\" a.b.c=\"\"\n"
        );
        assert_eq!(printed("bash", &["name"]), "q longer\n");
        assert_eq!(printed("raw_json", &[]), "raw\n");
        let dashes = "-".repeat(80);
        let long = format!(
            "\n{dashes}\n\n    name: q\nmessages: 1\n\n{dashes}\n\n    name: longer\nmessages: 10\n\n{dashes}\n"
        );
        assert_eq!(printed("long", &["name", "messages"]), long);
    }

    #[test]
    fn the_middle_is_pythons() {
        for (text, to, wanted) in
            [("ab", 5, "  ab "), ("abc", 6, " abc  "), ("ab", 4, " ab "), ("ab", 1, "ab")]
        {
            assert_eq!(centre(text, to), wanted, "{text} {to}");
        }
    }

    #[test]
    fn nothing_is_said_to_be_nothing() {
        let wanted = |quiet| Wanted { format: "table", columns: Vec::new(), depth: 1, json: &[], quiet };
        assert_eq!(list(&json!([]), "", &wanted(false)).expect("a list"), "No items\n");
        assert_eq!(list(&json!([]), "", &wanted(true)).expect("a list"), "");
    }
}
