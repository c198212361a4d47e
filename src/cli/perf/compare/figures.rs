//! Numbers out of reports, their medians, and how a table writes them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{super::report::rounded, Report, rounds::Outcome};

/// Part of a report that says what was asked for, and not what came of it.
const SETTINGS: &str = "settings";

/// A figure of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or between the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// Each figure of a broker at a load, by its path.
pub type Figures = BTreeMap<String, Spread>;

impl Outcome {
    /// Each figure over the runs that have it; nothing where a run has failed.
    pub fn figures(&self) -> Figures {
        if self.failure.is_some() {
            return Figures::new();
        }
        let mut values = BTreeMap::<String, Vec<f64>>::new();
        for report in &self.runs {
            for (path, value) in numbers(report) {
                values.entry(path).or_default().push(value);
            }
        }
        values.into_iter().filter_map(|(path, values)| Some((path, Spread::of(values)?))).collect()
    }
}

impl Spread {
    /// `None` without values.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        // Sums of decimals are not decimals.
        Some(Self { median: rounded(median, 6), min, max })
    }

    /// The median, and between which values it lies where they differ.
    pub fn cell(self) -> String {
        let Self { median, min, max } = self;
        let (low, high) = (number(min), number(max));
        if low == high { number(median) } else { format!("{} ({low}..{high})", number(median)) }
    }
}

/// All numbers of a report by path, such as `latency_us.p99`; yes is 1 and no is 0. Settings are
/// left out.
pub fn numbers(report: &Report) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mut left = vec![(String::new(), report)];
    while let Some((path, value)) = left.pop() {
        let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
        match value {
            Value::Object(fields) => {
                left.extend(fields.iter().map(|(step, value)| (below(step), value)));
            }
            Value::Array(items) => {
                left.extend(
                    (0..).zip(items).map(|(step, value): (u32, _)| (below(&step.to_string()), value)),
                );
            }
            Value::Bool(yes) => {
                found.insert(path, f64::from(u8::from(*yes)));
            }
            Value::Number(number) => {
                found.extend(number.as_f64().map(|number| (path, number)));
            }
            Value::Null | Value::String(_) => {}
        }
    }
    found.retain(|path, _| path.split('.').next() != Some(SETTINGS));
    found
}

/// A number with three significant digits or more, and commas between thousands.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

/// How a figure compares with another one, in words that cannot be read the wrong way round: `× 2.00`
/// is twice as much, `÷ 2.00` half as much.
pub fn ratio(value: f64, to: f64) -> String {
    if value <= 0.0 || to <= 0.0 {
        return String::new();
    }
    if value >= to { format!("× {}", number(value / to)) } else { format!("÷ {}", number(to / value)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn medians_lie_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(of(&[4.0, 1.0, 2.0, 40.0]), Some(Spread { median: 3.0, min: 1.0, max: 40.0 }));
        assert_eq!(of(&[0.1, 0.2]).unwrap().median, 0.15);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn numbers_are_found_at_any_depth() {
        let report = json!({
            "rate": 2.5, "none": null, "blocked": true, "text": "7", "latency_us": { "p99": 4, "max": -1 },
            "steps": [{ "n": 1 }, { "n": 2 }], "settings": { "size": 3 }, "settings_changed": 0,
        });
        let found: Vec<_> = numbers(&report).into_iter().collect();
        let wanted = [
            ("blocked", 1.0),
            ("latency_us.max", -1.0),
            ("latency_us.p99", 4.0),
            ("rate", 2.5),
            ("settings_changed", 0.0),
            ("steps.0.n", 1.0),
            ("steps.1.n", 2.0),
        ];
        assert_eq!(found, wanted.map(|(path, value)| (path.to_owned(), value)));
    }

    #[test]
    fn runs_that_lack_a_figure_do_not_count_for_it() {
        let runs = vec![json!({ "a": 1, "b": 5 }), json!({ "a": 3, "b": null }), json!({ "a": 2 })];
        let mut outcome = Outcome { runs, failure: None };
        let figures = outcome.figures();
        assert_eq!(figures["a"], Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(figures["b"], Spread { median: 5.0, min: 5.0, max: 5.0 });
        outcome.failure = Some("refused".to_owned());
        assert!(outcome.figures().is_empty());
    }

    #[test]
    fn numbers_are_as_long_as_they_mean_something() {
        let cases = [
            (1_234_567.8, "1,234,568"),
            (1000.0, "1,000"),
            (999.9, "1,000"),
            (123.4, "123"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.1234, "0.123"),
            (0.01234, "0.0123"),
            (0.0, "0"),
            (-1234.0, "-1,234"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn a_cell_shows_what_differs() {
        assert_eq!(Spread { median: 2.0, min: 1.0, max: 3000.0 }.cell(), "2.00 (1.00..3,000)");
        assert_eq!(Spread { median: 2.0, min: 2.0, max: 2.0 }.cell(), "2.00");
    }

    #[test]
    fn ratios_say_which_way_they_go() {
        assert_eq!(ratio(50.0, 2.0), "× 25.0");
        assert_eq!(ratio(2.0, 50.0), "÷ 25.0");
        assert_eq!(ratio(2.0, 2.0), "× 1.00");
        assert_eq!((ratio(0.0, 2.0), ratio(2.0, 0.0)), (String::new(), String::new()));
    }
}
