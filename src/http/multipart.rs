//! Forms with files in them (RFC 7578), as browsers and `curl -F` send them. They are small enough to lie in memory.

use axum::body::Bytes;

/// A part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub name: String,
    pub value: Bytes,
}

/// The boundary that a `Content-Type` header names, if it is that of a form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let named = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let found = named.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("boundary"))?.1;
    let boundary = found.trim_matches('"');
    (!boundary.is_empty()).then(|| boundary.to_owned())
}

/// The parts of a form; `None` if it is malformed.
pub(super) fn parts(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let (first, mark) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    // What is before the first boundary and after the last one means nothing.
    let mut at = match body.starts_with(first.as_bytes()) {
        true => first.len(),
        false => find(body, mark.as_bytes())? + mark.len(),
    };
    let mut parts = Vec::new();
    while !body[at..].starts_with(b"--") {
        let begin = at + find(&body[at..], b"\r\n")? + 2;
        let end = begin + find(&body[begin..], mark.as_bytes())?;
        parts.push(part(&body.slice(begin..end))?);
        at = end + mark.len();
    }
    Some(parts)
}

fn part(octets: &Bytes) -> Option<Part> {
    let end = find(octets, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&octets[..end]).ok()?;
    let disposition = head.lines().filter_map(|line| line.split_once(':'));
    let disposition =
        disposition.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-disposition"))?.1;
    let named = disposition.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let name = named.into_iter().find(|(key, _)| key.eq_ignore_ascii_case("name"))?.1.trim_matches('"');
    Some(Part { name: name.to_owned(), value: octets.slice(end + 4..) })
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Option<Vec<(String, String)>> {
        let parts = parts(&Bytes::from_static(body.as_bytes()), "B")?;
        let text = |part: Part| (part.name, String::from_utf8_lossy(&part.value).into_owned());
        Some(parts.into_iter().map(text).collect())
    }

    #[test]
    fn boundaries() {
        for (header, expected) in [
            ("multipart/form-data; boundary=B", Some("B")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=B", None),
            ("application/json", None),
        ] {
            assert_eq!(boundary(header).as_deref(), expected, "{header}");
        }
    }

    #[test]
    fn forms() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let form = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.json\"\r\nContent-Type: x\r\n\r\n\
                    {\r\n}\r\n--B\r\ncontent-disposition: form-data; name=redirect\r\n\r\n\r\n--B--\r\n";
        assert_eq!(read(form), Some(vec![pair("file", "{\r\n}"), pair("redirect", "")]));
        let preamble = "hello\r\n--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B--";
        assert_eq!(read(preamble), Some(vec![pair("a", "1")]));
        assert_eq!(read("--B--"), Some(Vec::new()));
        for wrong in [
            "",
            "--",
            "--B",
            "--B\r\n",
            "--B\r\n\r\n--B--",
            "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1",
            "--B\r\nContent-Type: x\r\n\r\n1\r\n--B--",
            "--B\r\nContent-Disposition: form-data\r\n\r\n1\r\n--B--",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
