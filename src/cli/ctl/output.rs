//! What a command has found, and the formats in which it can be printed.

use std::io::{self, Write};

use serde_json::Value;

use super::term::Term;

/// How results are printed (`--formatter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Columns with tabs between them.
    #[default]
    Table,
    /// A box.
    PrettyTable,
    Json,
    Csv,
    Erlang,
    /// Elixir's terms.
    String,
}

impl Format {
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "table" => Self::Table,
            "pretty_table" => Self::PrettyTable,
            "json" | "json_stream" => Self::Json,
            "csv" => Self::Csv,
            "erlang" | "inspect" => Self::Erlang,
            "string" => Self::String,
            _ => return None,
        })
    }

    /// Whether a program reads it: then there is nothing but the result.
    pub fn is_for_programs(self) -> bool {
        matches!(self, Self::Json | Self::Csv)
    }
}

/// A list of things with columns.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Term>>,
    /// Whether RabbitMQ prints them as they come, which shows in JSON when there are none.
    pub streamed: bool,
    /// Whether there are no names above the columns.
    pub headless: bool,
    /// Whether people get a box unless they ask for something else.
    pub in_box: bool,
}

impl Rows {
    pub fn new(columns: &[&str], rows: Vec<Vec<Term>>) -> Self {
        let columns = columns.iter().map(ToString::to_string).collect();
        Self { columns, rows, ..Self::default() }
    }
}

/// What a command has found.
#[derive(Clone, Debug)]
pub enum Output {
    Nothing,
    /// Said unless it is to be quiet.
    Remark(String),
    /// Said in any case.
    Text(String),
    Rows(Rows),
    /// A text for people, and the same for programs.
    Both(String, Value),
    /// Printed as it is, without an end of line.
    Raw(String),
}

/// How somebody wants to read it. `format` is `None` where they did not say.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub format: Option<Format>,
    pub quiet: bool,
    pub headers: bool,
}

/// Prints what a command has found.
pub fn print(out: &mut impl Write, output: &Output, style: Style) -> io::Result<()> {
    let format = style.format.unwrap_or_default();
    match output {
        Output::Nothing => Ok(()),
        Output::Remark(_) if style.quiet || format.is_for_programs() => Ok(()),
        Output::Remark(text) => writeln!(out, "{text}"),
        Output::Raw(text) => write!(out, "{text}"),
        Output::Text(text) if format == Format::Json => {
            writeln!(out, "{}", serde_json::json!({ "result": "ok", "value": text }))
        }
        Output::Text(text) => writeln!(out, "{text}"),
        Output::Both(_, value) if format == Format::Json => writeln!(out, "{value}"),
        Output::Both(text, _) => writeln!(out, "{text}"),
        Output::Rows(rows) if style.format.is_none() && rows.in_box => print_box(out, rows),
        Output::Rows(rows) => print_rows(out, rows, format, style.headers),
    }
}

fn print_rows(out: &mut impl Write, rows: &Rows, format: Format, headers: bool) -> io::Result<()> {
    match format {
        Format::Table => print_table(out, rows, headers && !rows.headless),
        Format::PrettyTable => print_box(out, rows),
        Format::Json => print_json(out, rows),
        Format::Csv => print_csv(out, rows, headers),
        Format::Erlang => {
            let rows = rows.rows.iter().map(|row| as_map(&rows.columns, row));
            writeln!(out, "{}", Term::List(rows.collect()).erlang_lines(0))
        }
        Format::String => {
            rows.rows.iter().try_for_each(|row| writeln!(out, "{}", as_map(&rows.columns, row).elixir()))
        }
    }
}

fn as_map(columns: &[String], row: &[Term]) -> Term {
    Term::Map(columns.iter().cloned().zip(row.iter().cloned()).collect())
}

fn print_table(out: &mut impl Write, rows: &Rows, headers: bool) -> io::Result<()> {
    if rows.rows.is_empty() && !rows.streamed {
        // Whatever for; but it is there.
        return writeln!(out);
    }
    if headers && !rows.rows.is_empty() {
        writeln!(out, "{}", rows.columns.join("\t"))?;
    }
    for row in &rows.rows {
        let columns: Vec<_> = row.iter().map(Term::plain).collect();
        writeln!(out, "{}", columns.join("\t"))?;
    }
    Ok(())
}

fn print_json(out: &mut impl Write, rows: &Rows) -> io::Result<()> {
    if rows.rows.is_empty() && !rows.streamed {
        return writeln!(out, "[]");
    }
    writeln!(out, "[")?;
    for (n, row) in rows.rows.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        // Written field by field, since a map would sort them.
        let fields = rows.columns.iter().zip(row);
        let fields = fields.map(|(column, term)| format!("{}:{}", Value::from(column.as_str()), term.json()));
        writeln!(out, "{comma}{{{}}}", fields.collect::<Vec<_>>().join(","))?;
    }
    writeln!(out, "]")
}

fn print_csv(out: &mut impl Write, rows: &Rows, headers: bool) -> io::Result<()> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    if headers && !rows.rows.is_empty() {
        let names: Vec<_> = rows.columns.iter().map(|name| quoted(name)).collect();
        writeln!(out, "{}", names.join(","))?;
    }
    for row in &rows.rows {
        let columns: Vec<_> = row.iter().map(|term| quoted(&term.boxed())).collect();
        writeln!(out, "{}", columns.join(","))?;
    }
    Ok(())
}

/// A box drawn with the line characters that terminals have (DEC special graphics).
fn print_box(out: &mut impl Write, rows: &Rows) -> io::Result<()> {
    if rows.rows.is_empty() {
        return Ok(());
    }
    let cells: Vec<Vec<String>> = rows.rows.iter().map(|row| row.iter().map(Term::boxed).collect()).collect();
    let width = |n: usize, name: &str| {
        let cells = cells.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain([name.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = rows.columns.iter().enumerate().map(|(n, name)| width(n, name)).collect();
    let border = |left: char, middle: char, right: char| {
        let parts: Vec<_> = widths.iter().map(|width| "q".repeat(width + 2)).collect();
        format!("\u{1b}(0{left}{}{right}\u{1b}(B", parts.join(&middle.to_string()))
    };
    let line = |cells: &[String], bold: bool| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let cell = if bold { format!("\u{1b}[1m{cell}\u{1b}[0m") } else { cell.clone() };
            format!("\u{1b}(0x\u{1b}(B {cell}{padding} ")
        });
        cells.collect::<String>() + "\u{1b}(0x\u{1b}(B"
    };
    writeln!(out, "{}", border('l', 'w', 'k'))?;
    writeln!(out, "{}", line(&rows.columns, true))?;
    for row in &cells {
        writeln!(out, "{}", border('t', 'n', 'u'))?;
        writeln!(out, "{}", line(row, false))?;
    }
    writeln!(out, "{}", border('m', 'v', 'j'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(output: &Output, format: Format) -> String {
        let mut out = Vec::new();
        let style = Style { format: Some(format), quiet: false, headers: true };
        print(&mut out, output, style).expect("memory");
        String::from_utf8(out).expect("text")
    }

    fn queues() -> Output {
        let rows = vec![vec!["a \"b\"".into(), 0.into()], vec!["c".into(), 12.into()]];
        Output::Rows(Rows::new(&["name", "messages"], rows))
    }

    #[test]
    fn formats() {
        for (format, wanted) in [
            (Format::Table, "name\tmessages\na \"b\"\t0\nc\t12\n"),
            (
                Format::Json,
                "[\n{\"name\":\"a \\\"b\\\"\",\"messages\":0}\n,{\"name\":\"c\",\"messages\":12}\n]\n",
            ),
            (Format::Csv, "\"name\",\"messages\"\n\"a \"\"b\"\"\",\"0\"\n\"c\",\"12\"\n"),
            (
                Format::Erlang,
                "[[{name,<<\"a \\\"b\\\"\">>},{messages,0}],[{name,<<\"c\">>},{messages,12}]]\n",
            ),
            (Format::String, "[name: \"a \\\"b\\\"\", messages: 0]\n[name: \"c\", messages: 12]\n"),
        ] {
            assert_eq!(printed(&queues(), format), wanted, "{format:?}");
        }
    }

    #[test]
    fn boxes() {
        let shown = printed(&queues(), Format::PrettyTable).replace('\u{1b}', "");
        let wanted = "(0lqqqqqqqwqqqqqqqqqqk(B\n\
                      (0x(B [1mname[0m  (0x(B [1mmessages[0m (0x(B\n\
                      (0tqqqqqqqnqqqqqqqqqqu(B\n\
                      (0x(B a \"b\" (0x(B 0        (0x(B\n\
                      (0tqqqqqqqnqqqqqqqqqqu(B\n\
                      (0x(B c     (0x(B 12       (0x(B\n\
                      (0mqqqqqqqvqqqqqqqqqqj(B\n";
        assert_eq!(shown, wanted);
    }

    #[test]
    fn nothing_in_each_format() {
        let nothing = |streamed| Output::Rows(Rows { streamed, ..Rows::new(&["name"], Vec::new()) });
        assert_eq!(printed(&nothing(false), Format::Table), "\n");
        assert_eq!(printed(&nothing(true), Format::Table), "");
        assert_eq!(printed(&nothing(false), Format::Json), "[]\n");
        assert_eq!(printed(&nothing(true), Format::Json), "[\n]\n");
    }
}
