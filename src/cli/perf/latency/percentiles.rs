//! A histogram as text, the way HdrHistogram's tools and plotters read it.

use std::io::{self, Write};

use hdrhistogram::Histogram;

use super::super::report::as_f64;

/// Lines each time the distance to 100 % is halved.
const TICKS: u32 = 5;

/// Writes values in microseconds, of a histogram in nanoseconds: value, percentile, how many are
/// at most that, and the inverse of the rest.
///
/// # Errors
///
/// When `out` cannot be written.
pub fn write(nanos: &Histogram<u64>, out: &mut impl Write) -> io::Result<()> {
    let micros = |nanos: f64| nanos / 1000.0;
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total = 0;
    for step in nanos.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let value = micros(as_f64(step.value_iterated_to()));
        let percentile = step.quantile_iterated_to();
        write!(out, "{value:>12.3} {percentile:>14.12} {total:>10}")?;
        if percentile < 1.0 {
            write!(out, " {:>14.2}", 1.0 / (1.0 - percentile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (micros(nanos.mean()), micros(nanos.stdev()));
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    let (max, count) = (micros(as_f64(nanos.max())), nanos.len());
    writeln!(out, "#[Max     = {max:>12.3}, Total count    = {count:>12}]")
}

#[cfg(test)]
mod tests {
    use super::{super::super::deliveries, *};

    fn text(values: impl IntoIterator<Item = u64>) -> String {
        let mut nanos = deliveries::histogram().unwrap();
        for value in values {
            nanos.record(value).unwrap();
        }
        let mut out = Vec::new();
        write(&nanos, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_layout_is_that_of_hdrhistogram() {
        let text = text([1000, 1000, 1000, 2000]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       1.000 0.000000000000          3           1.00");
        assert_eq!(lines[lines.len() - 3], "       2.000 1.000000000000          4");
        assert_eq!(lines[lines.len() - 2], "#[Mean    =        1.250, StdDeviation   =        0.433]");
        assert_eq!(lines[lines.len() - 1], "#[Max     =        2.000, Total count    =            4]");
    }

    #[test]
    fn values_and_counts_never_go_down() {
        let text = text((1..=10_000).map(|value| value * 100));
        let mut last = (0.0, -1.0, 0);
        let rows: Vec<_> = text.lines().skip(2).filter(|line| !line.starts_with('#')).collect();
        for row in &rows {
            let mut fields = row.split_whitespace();
            let value: f64 = fields.next().unwrap().parse().unwrap();
            let percentile: f64 = fields.next().unwrap().parse().unwrap();
            let total: u64 = fields.next().unwrap().parse().unwrap();
            assert!(value >= last.0 && percentile >= last.1 && total >= last.2, "{row}");
            let inverse = fields.next().map(|field| field.parse::<f64>().unwrap());
            assert_eq!(inverse.is_none(), percentile == 1.0, "{row}");
            // A value is the end of its cell, so that at least so many are no larger.
            assert!(as_f64(total) >= percentile * 10_000.0 - 1.0, "{row}");
            last = (value, percentile, total);
        }
        assert!(rows.len() > 20);
        assert_eq!(last.2, 10_000);
    }

    #[test]
    fn nothing_measured_is_an_empty_table() {
        assert!(text([]).ends_with("Total count    =            0]\n"));
    }
}
