//! Replies packed with gzip, for those who ask for that, as Prometheus does.

use std::io::Write as _;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Whether somebody who sends these headers wants gzip, be it as the last choice.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|value| value.split(',')).any(is_gzip)
}

/// Whether an entry of the header names gzip, with a weight other than 0.
fn is_gzip(entry: &str) -> bool {
    let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
    let mut weights = parameters.split(';').filter_map(|parameter| parameter.trim().strip_prefix("q="));
    name.trim().eq_ignore_ascii_case("gzip")
        && weights.all(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
}

pub(super) fn pack(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_gzip() {
        for wanted in ["gzip", "GZIP", "identity, gzip", "deflate, gzip;q=0.1", " gzip ; q=1", "br,gzip"] {
            assert!(wanted.split(',').any(is_gzip), "{wanted}");
        }
        for unwanted in ["", "*", "x-gzip", "gzip;q=0", "gzip;q=0.000", "gzip;q=x", "identity", "gzipped"] {
            assert!(!unwanted.split(',').any(is_gzip), "{unwanted}");
        }
    }
}
