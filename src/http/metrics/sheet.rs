//! Metrics as text, in Prometheus' format 0.0.4: what a metric means and of which type it is, then all its samples.

use std::collections::HashSet;
use std::fmt::Write as _;

/// What metrics there are of one kind of thing: what RabbitMQ calls a family.
#[derive(Debug)]
pub(super) struct Family {
    pub name: &'static str,
    pub metrics: &'static [Metric],
}

/// A name without its prefix, a type, and what it means.
#[derive(Debug)]
pub(super) struct Metric(pub &'static str, pub &'static str, pub &'static str);

/// A metric's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
    /// There is no sample.
    None,
}

impl Number {
    fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Whole(sum), Self::Whole(number)) => *sum += number,
            (Self::Real(sum), Self::Real(number)) => *sum += number,
            (Self::None, number) => *self = number,
            _ => {}
        }
    }

    fn write(self, into: &mut String) {
        // Nothing that is written to a text can fail.
        let _ = match self {
            Self::Whole(number) => writeln!(into, "{number}"),
            Self::Real(number) => writeln!(into, "{number}"),
            Self::None => Ok(()),
        };
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

/// Labels as they stand between a name and a value.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        text.push(if text.is_empty() { '{' } else { ',' });
        text += name;
        text += "=\"";
        for c in value.chars() {
            match c {
                '\\' => text += "\\\\",
                '"' => text += "\\\"",
                '\n' => text += "\\n",
                c => text.push(c),
            }
        }
        text.push('"');
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

/// The samples of a family, while they come: one row for each object, or the sum of all rows.
#[derive(Debug)]
pub(super) struct Rows {
    family: &'static Family,
    prefix: &'static str,
    lines: Vec<String>,
    sums: Option<Vec<Number>>,
}

impl Rows {
    pub fn each(family: &'static Family, prefix: &'static str) -> Self {
        let lines = family.metrics.iter().map(|_| String::new()).collect();
        Self { family, prefix, lines, sums: None }
    }

    pub fn summed(family: &'static Family, prefix: &'static str) -> Self {
        let sums = vec![Number::Whole(0); family.metrics.len()];
        Self { sums: Some(sums), ..Self::each(family, prefix) }
    }

    pub fn is_of(&self, family: &'static Family) -> bool {
        std::ptr::eq(self.family, family)
    }

    /// Adds an object with its numbers, in the order of the family's metrics.
    pub fn add(&mut self, labels: &str, numbers: &[Number]) {
        if let Some(sums) = &mut self.sums {
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| sum.add(*number));
            return;
        }
        for ((Metric(name, ..), lines), number) in
            self.family.metrics.iter().zip(&mut self.lines).zip(numbers)
        {
            if *number != Number::None {
                lines.extend([self.prefix, name, labels, " "]);
                number.write(lines);
            }
        }
    }
}

/// The whole text.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    text: String,
    written: HashSet<&'static str>,
}

impl Sheet {
    /// Adds a family's metrics, but for those that are there from another one.
    pub fn put(&mut self, mut rows: Rows) {
        if let Some(sums) = rows.sums.take() {
            rows.add("", &sums);
        }
        for (Metric(name, kind, help), lines) in rows.family.metrics.iter().zip(&rows.lines) {
            if self.written.insert(name) {
                let prefix = rows.prefix;
                let _ = writeln!(self.text, "# TYPE {prefix}{name} {kind}\n# HELP {prefix}{name} {help}");
                self.text += lines;
            }
        }
    }

    pub fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: Family = Family {
        name: "f",
        metrics: &[Metric("a", "gauge", "some"), Metric("b_total", "counter", "others")],
    };
    static OTHER: Family = Family { name: "g", metrics: &[Metric("b_total", "counter", "others")] };

    #[test]
    fn rows_and_sums() {
        static FAMILY_HERE: Family = FAMILY;
        let (mut each, mut summed) = (Rows::each(&FAMILY_HERE, "p_"), Rows::summed(&FAMILY_HERE, "p_"));
        for (name, numbers) in [("x", [1u64.into(), Number::None]), ("y\"\\\n", [2u64.into(), 5u64.into()])] {
            each.add(&labels(&[("vhost", "/"), ("queue", name)]), &numbers);
            summed.add("", &numbers);
        }
        let mut sheet = Sheet::default();
        sheet.put(each);
        let wanted = "# TYPE p_a gauge\n# HELP p_a some\n\
            p_a{vhost=\"/\",queue=\"x\"} 1\np_a{vhost=\"/\",queue=\"y\\\"\\\\\\n\"} 2\n\
            # TYPE p_b_total counter\n# HELP p_b_total others\n\
            p_b_total{vhost=\"/\",queue=\"y\\\"\\\\\\n\"} 5\n\n";
        assert_eq!(sheet.finish(), wanted);
        let mut sheet = Sheet::default();
        sheet.put(summed);
        sheet.put(Rows::summed(&OTHER, "p_"));
        let text = sheet.finish();
        assert!(text.contains("\np_a 3\n") && text.contains("\np_b_total 5\n"), "{text}");
        assert_eq!(text.matches("p_b_total 0").count(), 0, "what is there is not there twice");
    }

    #[test]
    fn numbers() {
        let written = |number: Number| {
            let mut text = String::new();
            number.write(&mut text);
            text
        };
        assert_eq!(written(Number::Real(f64::NAN)), "NaN\n");
        assert_eq!(written(Number::Real(0.25)), "0.25\n");
        assert_eq!(written(u64::MAX.into()), "18446744073709551615\n");
    }
}
