//! A load to compare brokers at: a name, and what `leveret perf` is told.

use std::str::FromStr;

/// What every broker has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// What the table calls it.
    pub name: String,
    /// The subcommand and its options.
    pub words: Vec<String>,
    /// The figures to show; those that are usual for the subcommand if there are none.
    pub fields: Vec<String>,
}

impl FromStr for Load {
    type Err = String;

    /// Parses `NAME: ARGUMENTS` or `NAME [FIELD,...]: ARGUMENTS`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, words) = text.split_once(':').ok_or("it is not NAME: SUBCOMMAND OPTIONS")?;
        let (name, fields) = match name.trim().strip_suffix(']').and_then(|name| name.split_once('[')) {
            Some((name, fields)) => (name.trim(), list(fields)),
            None => (name.trim(), Vec::new()),
        };
        let words = split(words)?;
        if name.is_empty() || words.is_empty() {
            return Err("it lacks a name or a subcommand".to_owned());
        }
        Ok(Self { name: name.to_owned(), words, fields })
    }
}

impl Load {
    /// A load that is called what it does.
    pub fn unnamed(words: Vec<String>) -> Self {
        Self { name: words.join(" "), words, fields: Vec::new() }
    }

    /// Reads a file of loads: one a line, but for empty lines and those that begin with `#`.
    ///
    /// # Errors
    ///
    /// Which line is no load, and why.
    pub fn lines(text: &str) -> Result<Vec<Self>, String> {
        (1..)
            .zip(text.lines().map(str::trim))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| line.parse().map_err(|why| format!("line {number}: {why}")))
            .collect()
    }

    /// What kind of load it is.
    pub fn subcommand(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// Splits at commas.
fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|field| !field.is_empty()).map(str::to_owned).collect()
}

/// Splits at spaces that are not between quotes of either kind.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for character in text.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(format!("a {open} is not closed")),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str, words: &[&str], fields: &[&str]) -> Load {
        let owned = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        Load { name: name.to_owned(), words: owned(words), fields: owned(fields) }
    }

    #[test]
    fn a_file_has_a_load_a_line() {
        let text = "# small\n\n16 B, auto-ack: throughput --size 16\n  \
                    acks [cpu_us_per_message, latency_us.p99]:throughput  --ack-every 1 \n";
        let wanted = [
            load("16 B, auto-ack", &["throughput", "--size", "16"], &[]),
            load("acks", &["throughput", "--ack-every", "1"], &["cpu_us_per_message", "latency_us.p99"]),
        ];
        assert_eq!(Load::lines(text).unwrap(), wanted);
        assert_eq!(Load::lines("# nothing\n").unwrap(), []);
    }

    #[test]
    fn a_line_that_is_no_load_is_named() {
        assert!(Load::lines("\na: b\nno load\n").unwrap_err().starts_with("line 3: "));
        for line in [": throughput", "name:", "name:  ", "[a]: b"] {
            assert!(Load::lines(line).unwrap_err().contains("lacks"), "{line}");
        }
        assert!(Load::lines("a: b 'c").unwrap_err().contains("not closed"));
    }

    #[test]
    fn quotes_keep_words_together() {
        let words = split(r#" --queue 'a "b' x"y z"'' "" "#).unwrap();
        assert_eq!(words, ["--queue", "a \"b", "xy z", ""]);
    }

    #[test]
    fn a_load_without_a_name_is_called_what_it_does() {
        let unnamed = Load::unnamed(["throughput", "--size", "1"].map(str::to_owned).to_vec());
        assert_eq!((unnamed.name.as_str(), unnamed.subcommand()), ("throughput --size 1", "throughput"));
    }
}
