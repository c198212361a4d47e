//! The health check of certificates that expire.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::caller::Caller;
use super::health::failed;
use super::refusal::Refusal;
use super::resource::Names;
use crate::node::listeners::{Certificates, Listener};
use crate::node::{Node, now};

const DAY: i64 = 86_400;

pub(super) async fn expiration(
    State(node): State<Arc<Node>>,
    _: Caller,
    Names((within, unit)): Names<(String, String)>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let seconds = seconds(&within, &unit).map_err(Refusal::bad_request)?;
    let until = i64::try_from(now() / 1000).unwrap_or(i64::MAX).saturating_add(seconds);
    let listeners = node.listeners.certificates();
    let expired: Vec<_> =
        listeners.iter().filter_map(|(listener, used)| expired(node.name(), listener, used, until)).collect();
    if expired.is_empty() {
        return Ok((StatusCode::OK, Json(json!({ "status": "ok" }))));
    }
    Ok(failed(json!({ "reason": "Certificates expiring", "expired": expired })))
}

/// A time in seconds, or why it is none.
fn seconds(within: &str, unit: &str) -> Result<i64, &'static str> {
    let number: i64 = within.parse().map_err(|_| "Invalid expiration value.")?;
    let unit = match &*unit.to_lowercase() {
        "days" => DAY,
        "weeks" => 7 * DAY,
        "months" => 365 * DAY / 12,
        "years" => 365 * DAY,
        _ => return Err("Time unit not recognised. Supported units: days, weeks, months, years."),
    };
    Ok(number.saturating_mul(unit))
}

/// A listener whose certificates expire before a time.
fn expired(node: &str, listener: &Listener, used: &Certificates, until: i64) -> Option<Value> {
    let before = |expires: &[u64]| -> Vec<String> {
        let times = expires.iter().map(|time| i64::try_from(*time).unwrap_or(i64::MAX));
        times.filter(|time| *time < until).map(written).collect()
    };
    let (own, authorities) = (before(&used.certfile_expires), before(&used.cacertfile_expires));
    if own.is_empty() && authorities.is_empty() {
        return None;
    }
    Some(json!({
        "node": node,
        "protocol": listener.protocol,
        "interface": listener.ip.to_string(),
        "port": listener.port,
        "certfile": path(used.certfile.as_ref()),
        "cacertfile": path(used.cacertfile.as_ref()),
        "certfile_expires_on": own,
        "cacertfile_expires_on": authorities,
    }))
}

fn path(path: Option<&PathBuf>) -> Cow<'_, str> {
    path.map_or("undefined".into(), |path| path.to_string_lossy())
}

/// A time, of seconds since 1970, as RabbitMQ writes it: the hour has no zero in front.
fn written(time: i64) -> String {
    let (days, second) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    let (year, month, day) = date(days);
    format!("{year}-{month:02}-{day:02} {}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// The date of a day since 1970, in the Gregorian calendar. Years begin in March here, so that the odd day is their
/// last.
fn date(days: i64) -> (i64, i64, i64) {
    // From 1 March of the year 0.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(seconds("2", "days"), Ok(172_800));
        assert_eq!(seconds("-1", "WEEKS"), Ok(-604_800));
        assert_eq!(seconds("12", "months"), seconds("1", "years"));
        assert_eq!(seconds(&i64::MAX.to_string(), "years"), Ok(i64::MAX));
        assert!(
            seconds("x", "days").is_err()
                && seconds("1.5", "days").is_err()
                && seconds("1", "hours").is_err()
        );
    }

    #[test]
    fn dates() {
        for (time, expected) in [
            (0, "1970-01-01 0:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 0:00:00"),
            (951_868_800, "2000-03-01 0:00:00"),
            (1_709_251_509, "2024-03-01 0:05:09"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 0:00:00"),
        ] {
            assert_eq!(written(time), expected);
        }
    }

    #[test]
    fn what_expires() {
        let listener = Listener { protocol: "amqp/ssl", ip: [127, 0, 0, 1].into(), port: 5671, tls: true };
        let used = Certificates {
            certfile: Some("/c.pem".into()),
            certfile_expires: vec![100, 200],
            cacertfile: None,
            cacertfile_expires: vec![300],
        };
        assert_eq!(expired("n", &listener, &used, 100), None);
        let report = expired("n", &listener, &used, 101).expect("a report");
        assert_eq!(report["certfile_expires_on"], json!(["1970-01-01 0:01:40"]));
        assert_eq!(
            (&report["cacertfile"], &report["cacertfile_expires_on"]),
            (&json!("undefined"), &json!([]))
        );
        let all = expired("n", &listener, &used, 301).expect("a report");
        assert_eq!(all["certfile_expires_on"].as_array().map(Vec::len), Some(2));
        assert_eq!(all["cacertfile_expires_on"].as_array().map(Vec::len), Some(1));
    }
}
