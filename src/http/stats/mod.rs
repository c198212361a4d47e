//! What is counted, as the API shows it: numbers as they are now, with their rates and, where that is asked for, what they
//! were before.
//!
//! - this file: rates and samples
//! - [`messages`]: what happens to messages
//! - [`queues`], [`channels`], [`consumers`]: what there is of these

pub(super) mod channels;
pub(super) mod consumers;
pub(super) mod messages;
pub(super) mod queues;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use crate::node::Node;
use crate::node::samples::series::{STEP, Seconds, Series};
use crate::node::samples::{RatesMode, StatsSettings};

/// The routes of what there is to look at here.
pub(super) fn routes() -> Router<Arc<Node>> {
    queues::routes().merge(channels::routes()).merge(consumers::routes())
}

/// As many steps back samples may be asked for.
const STEPS_MAX: i64 = 500;

/// A part of the past, in seconds: this long, at these distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    age: Seconds,
    step: Seconds,
}

impl Range {
    fn new(age: i64, step: i64) -> Result<Self, String> {
        if age <= 0 || step <= 0 || age / step > STEPS_MAX {
            return Err(format!("Invalid range parameters: age {age}, incr {step}"));
        }
        // A sample lies at a multiple of the step.
        Ok(Self { age: age.unsigned_abs(), step: step.unsigned_abs().next_multiple_of(STEP) })
    }
}

/// What of what is counted is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The name of the node.
    pub node: Arc<str>,
    /// When the last samples were taken.
    pub last: Seconds,
    pub messages: Option<Range>,
    pub lengths: Option<Range>,
    pub octets: Option<Range>,
    pub figures: Option<Range>,
    settings: StatsSettings,
}

impl Wanted {
    /// What a query asks for, or why a range in it makes no sense.
    fn new(node: &Node, query: &BTreeMap<String, String>) -> Result<Self, String> {
        let number = |name: String| query.get(&name).and_then(|text| text.parse::<i64>().ok());
        let range = |name: &str| {
            let numbers = number(format!("{name}_age")).zip(number(format!("{name}_incr")));
            numbers.map(|(age, step)| Range::new(age, step)).transpose()
        };
        let flag = |name: &str| query.get(name).is_some_and(|value| value == "true");
        let mut settings = node.stats;
        settings.disable_stats |= flag("disable_stats");
        settings.enable_queue_totals |= flag("enable_queue_totals");
        Ok(Self {
            node: node.name().into(),
            last: node.samples.taken_at(),
            messages: range("msg_rates")?,
            lengths: range("lengths")?,
            octets: range("data_rates")?,
            figures: range("node_stats")?,
            settings,
        })
    }

    /// Whether nothing that is counted is to be shown.
    pub fn nothing(&self) -> bool {
        self.settings.disable_stats
    }

    /// Whether lengths of queues are to be shown all the same.
    pub fn totals(&self) -> bool {
        self.settings.enable_queue_totals
    }

    /// Whether it is shown what happens to messages.
    pub fn shows_messages(&self) -> bool {
        !self.nothing() && self.settings.rates_mode != RatesMode::None
    }
}

impl FromRequestParts<Arc<Node>> for Wanted {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Refusal> {
        let query = Query::try_from_uri(&parts.uri).map(|Query(query)| query).unwrap_or_default();
        Self::new(node, &query).map_err(|why| {
            let path: Vec<_> = parts.uri.path().split('/').skip(2).collect();
            // These lists have a name of their own for it.
            let is_list =
                matches!(path[..], ["queues" | "exchanges"] | ["queues" | "exchanges", _] | ["vhosts"]);
            if is_list { Refusal::Page("invalid_range_parameters", why) } else { Refusal::bad_request(why) }
        })
    }
}

/// What an object's numbers were at some times, the latest first.
pub(super) struct Past<const N: usize> {
    step: Seconds,
    points: Vec<(Seconds, [u64; N])>,
    /// Whether more than a rate is asked for.
    is_shown: bool,
}

impl<const N: usize> Past<N> {
    /// What `series` has of a range that ends with the last samples, or of the last step. Without a series nothing has ever
    /// happened.
    pub fn new(series: Option<&Series<N>>, last: Seconds, range: Option<Range>) -> Self {
        Self::with(last, range, |at| series.map_or([0; N], |series| series.at(at)))
    }

    /// The same of numbers that are told by time.
    pub fn with(last: Seconds, range: Option<Range>, numbers: impl Fn(Seconds) -> [u64; N]) -> Self {
        let is_shown = range.is_some();
        let Range { age, step } = range.unwrap_or(Range { age: STEP, step: STEP });
        let last = last - last % step;
        let times = (0..=age / step).map(|n| last.saturating_sub(n * step));
        let points = times.map(|at| (at, numbers(at))).collect();
        Self { step, points, is_shown }
    }

    /// The rate of a number, and with a range its samples.
    #[expect(clippy::cast_precision_loss, reason = "rates are no exact numbers")]
    pub fn details(&self, number: usize) -> Value {
        let at = |index: usize| self.points.get(index).map_or(0, |(_, values)| values[number]);
        let change = |from: u64, to: u64| to as f64 - from as f64;
        let rate = change(at(1), at(0)) / self.step as f64;
        if !self.is_shown {
            return json!({ "rate": rate });
        }
        let earliest = self.points.len().saturating_sub(1);
        let span = self.step as f64 * earliest.max(1) as f64;
        let sum: f64 = self.points.iter().map(|(_, values)| values[number] as f64).sum();
        let samples: Vec<_> = self
            .points
            .iter()
            .map(|(at, values)| json!({ "sample": values[number], "timestamp": at * 1000 }))
            .collect();
        json!({
            "rate": rate,
            "samples": samples,
            "avg_rate": change(at(earliest), at(0)) / span,
            "avg": sum / self.points.len().max(1) as f64,
        })
    }

    /// Adds numbers as they are now, and their rates. They are those from `first` on of the series.
    pub fn put(&self, into: &mut Map<String, Value>, first: usize, names: &[&str], now: &[u64]) {
        for (index, (name, number)) in names.iter().zip(now).enumerate() {
            into.insert((*name).to_owned(), (*number).into());
            into.insert(format!("{name}_details"), self.details(first + index));
        }
    }
}

impl Wanted {
    /// The rate of what never changes, and with a range its samples: RabbitMQ's interface draws them.
    pub fn steady(&self, range: Option<Range>, number: u64) -> Value {
        Past::with(self.last, range, |_| [number]).details(0)
    }
}

/// An object's fields.
pub(super) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A time as RabbitMQ writes it, from milliseconds since 1970: `2026-11-29T07:28:52.801+00:00`.
pub(super) fn written_time(milliseconds: u64) -> String {
    let (days, of_day) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
    // Days since 0000-03-01, in eras of 400 years: leap days are at the end of each year then.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::samples::series::BASIC;

    #[test]
    fn rates_and_samples_are_reckoned_as_rabbitmq_does() {
        let mut series = Series::new(BASIC);
        series.push(1_795_937_340, [72, 5], usize::MAX);
        series.push(1_795_937_345, [157, 5], usize::MAX);
        let plain = Past::new(Some(&series), 1_795_937_345, None);
        assert_eq!(plain.details(0), json!({ "rate": 17.0 }));
        assert_eq!(plain.details(1), json!({ "rate": 0.0 }));
        // As a RabbitMQ 4.3.6 has shown it for these samples.
        let past = Past::new(Some(&series), 1_795_937_345, Some(Range { age: 60, step: 5 }));
        let details = past.details(0);
        assert_eq!(details["samples"].as_array().map(Vec::len), Some(13));
        assert_eq!(details["samples"][1], json!({ "sample": 72, "timestamp": 1_795_937_340_000_u64 }));
        assert_eq!(details["rate"], 17.0);
        assert_eq!(details["avg_rate"], 2.6166666666666667);
        assert_eq!(details["avg"], 17.615384615384617);
        assert_eq!(Past::<1>::new(None, 0, None).details(0), json!({ "rate": 0.0 }));
    }

    #[test]
    fn a_range_needs_both_of_its_numbers_and_is_bounded() {
        let node = Node::new().expect("a node");
        let wanted = |query: &[(&str, &str)]| {
            let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Wanted::new(&node, &query.collect()).map_err(|why| why.replace("Invalid range parameters: ", ""))
        };
        let good = |query: &[(&str, &str)]| wanted(query).expect("a good query");
        let both = good(&[("lengths_age", "60"), ("lengths_incr", "5"), ("msg_rates_age", "60")]);
        assert_eq!((both.lengths, both.messages), (Some(Range { age: 60, step: 5 }), None));
        let odd = good(&[("lengths_age", "500"), ("lengths_incr", "1"), ("data_rates_incr", "x")]);
        assert_eq!((odd.lengths, odd.octets), (Some(Range { age: 500, step: 5 }), None));
        for (age, step) in [("501", "1"), ("60", "0"), ("0", "5"), ("-1", "5"), ("60", "-5")] {
            let refused = wanted(&[("msg_rates_age", age), ("msg_rates_incr", step)]).err();
            assert_eq!(refused, Some(format!("age {age}, incr {step}")));
        }
        assert!(good(&[("disable_stats", "true")]).nothing() && !both.nothing());
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(written_time(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(written_time(1_795_937_332_801), "2026-11-29T07:28:52.801+00:00");
        assert_eq!(written_time(951_782_400_000), "2000-02-29T00:00:00.000+00:00");
        assert_eq!(written_time(4_102_444_799_999), "2099-12-31T23:59:59.999+00:00");
    }
}
