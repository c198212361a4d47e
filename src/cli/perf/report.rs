//! What reports have in common: figures, a table or JSON.

use std::{
    fmt,
    io::{self, Write},
};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::error::PerfError;

/// Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    /// Messages it was measured on.
    samples: u64,
}

impl Latency {
    /// `None` without samples.
    pub fn new(nanos: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| rounded(as_f64(nanos.value_at_quantile(quantile)) / 1000.0, 1);
        (!nanos.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
            samples: nanos.len(),
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max, .. } = self;
        write!(f, "p50 {p50} µs, p90 {p90} µs, p99 {p99} µs, p99.9 {p999} µs, max {max} µs")
    }
}

/// Writes a report as one line of JSON or as its table.
///
/// # Errors
///
/// [`PerfError::Output`] when it cannot be written.
pub fn write_report<R>(report: &R, json: bool, out: &mut impl Write) -> Result<(), PerfError>
where
    R: Serialize + fmt::Display,
{
    let written = if json {
        let text = serde_json::to_string(report).map_err(io::Error::from);
        text.and_then(|text| writeln!(out, "{text}"))
    } else {
        write!(out, "{report}")
    };
    written.and_then(|()| out.flush()).map_err(PerfError::Output)
}

/// Bytes as MiB, to one decimal.
pub fn mib(bytes: u64) -> f64 {
    rounded(as_f64(bytes) / 1_048_576.0, 1)
}

/// A count as a floating-point number, exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "reported figures are rounded far more coarsely")]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}

/// `value` rounded to `decimals` places.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

/// A number of things, in words.
pub fn plural(count: u16, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
