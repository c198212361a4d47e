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
pub(super) struct Metric {
    pub name: &'static str,
    kind: &'static str,
    help: &'static str,
    together: Together,
}

/// What the numbers of several objects come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Together {
    Sum,
    Largest,
    Nothing,
}

const fn metric(name: &'static str, kind: &'static str, help: &'static str) -> Metric {
    Metric { name, kind, help, together: Together::Sum }
}

pub(super) const fn counter(name: &'static str, help: &'static str) -> Metric {
    metric(name, "counter", help)
}

pub(super) const fn gauge(name: &'static str, help: &'static str) -> Metric {
    metric(name, "gauge", help)
}

pub(super) const fn untyped(name: &'static str, help: &'static str) -> Metric {
    metric(name, "untyped", help)
}

pub(super) const fn histogram(name: &'static str, help: &'static str) -> Metric {
    metric(name, "histogram", help)
}

impl Metric {
    /// Of several objects the largest number is told.
    pub const fn largest(self) -> Self {
        Self { together: Together::Largest, ..self }
    }

    /// No sum of several objects means anything.
    pub const fn apart(self) -> Self {
        Self { together: Together::Nothing, ..self }
    }
}

/// A metric's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
    /// There is no sample.
    None,
}

impl Number {
    fn add(&mut self, other: Self, together: Together) {
        match (&mut *self, other) {
            (_, Self::None) => {}
            (Self::Whole(sum), Self::Whole(number)) if together == Together::Sum => *sum += number,
            (Self::Whole(largest), Self::Whole(number)) => *largest = number.max(*largest),
            _ => *self = other,
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
        let none = |metric: &Metric| match metric.together {
            Together::Nothing => Number::None,
            Together::Sum | Together::Largest => Number::Whole(0),
        };
        let sums = family.metrics.iter().map(none).collect();
        Self { sums: Some(sums), ..Self::each(family, prefix) }
    }

    pub fn is_of(&self, family: &'static Family) -> bool {
        std::ptr::eq(self.family, family)
    }

    /// Adds an object with its numbers, in the order of the family's metrics.
    pub fn add(&mut self, labels: &str, numbers: &[Number]) {
        if let Some(sums) = &mut self.sums {
            for ((sum, metric), number) in sums.iter_mut().zip(self.family.metrics).zip(numbers) {
                if metric.together != Together::Nothing {
                    sum.add(*number, metric.together);
                }
            }
            return;
        }
        for ((metric, lines), number) in self.family.metrics.iter().zip(&mut self.lines).zip(numbers) {
            if *number != Number::None {
                lines.extend([self.prefix, metric.name, labels, " "]);
                number.write(lines);
            }
        }
    }

    /// Adds the rows of the family's one histogram: how many there are up to each of these steps and beyond the last one,
    /// and what all come to.
    pub fn add_histogram(&mut self, pairs: &[(&str, &str)], steps: &[u64], counts: &[u64], sum: u64) {
        let [metric] = self.family.metrics else { return };
        let steps = steps.iter().map(u64::to_string).chain(["+Inf".to_owned()]);
        let mut so_far = 0;
        for (step, count) in steps.zip(counts) {
            so_far += count;
            self.add_line(&[metric.name, "_bucket"], &[pairs, &[("le", &step)]].concat(), so_far);
        }
        self.add_line(&[metric.name, "_count"], pairs, so_far);
        self.add_line(&[metric.name, "_sum"], pairs, sum);
    }

    fn add_line(&mut self, name: &[&str], pairs: &[(&str, &str)], number: u64) {
        let Some(lines) = self.lines.first_mut() else { return };
        lines.extend([&[self.prefix], name, &[&*labels(pairs), " "]].concat());
        Number::Whole(number).write(lines);
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
        for (Metric { name, kind, help, .. }, lines) in rows.family.metrics.iter().zip(&rows.lines) {
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

    const FAMILY: Family = Family { name: "f", metrics: &[gauge("a", "some"), counter("b_total", "others")] };
    static OTHER: Family = Family { name: "g", metrics: &[counter("b_total", "others")] };

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
    fn what_several_objects_come_to() {
        static APART: Family = Family {
            name: "f",
            metrics: &[gauge("a", "some"), gauge("b", "others").largest(), gauge("c", "more").apart()],
        };
        let mut rows = Rows::summed(&APART, "p_");
        for (a, b) in [(1, 7u64.into()), (2, 9u64.into()), (4, Number::None)] {
            rows.add("{}", &[Number::Whole(a), b, Number::Real(f64::NAN)]);
        }
        let mut sheet = Sheet::default();
        sheet.put(rows);
        let text = sheet.finish();
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, ["p_a 7", "p_b 9", ""]);
    }

    #[test]
    fn histograms() {
        static SIZES: Family = Family { name: "f", metrics: &[histogram("s", "sizes")] };
        let mut rows = Rows::each(&SIZES, "p_");
        rows.add_histogram(&[("x", "y")], &[10, 100], &[3, 0, 2], 777);
        let mut sheet = Sheet::default();
        sheet.put(rows);
        let wanted = "# TYPE p_s histogram\n# HELP p_s sizes\n\
            p_s_bucket{x=\"y\",le=\"10\"} 3\np_s_bucket{x=\"y\",le=\"100\"} 3\n\
            p_s_bucket{x=\"y\",le=\"+Inf\"} 5\np_s_count{x=\"y\"} 5\np_s_sum{x=\"y\"} 777\n\n";
        assert_eq!(sheet.finish(), wanted);
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
