//! Lines to frames and frames to lines.

use super::bench::FRAME_MAX;
use super::methods;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a frame");
    [&[kind], &channel.to_be_bytes()[..], &size.to_be_bytes(), payload, &[0xce]].concat()
}

/// The frames of one line: a method, with its content after ` : ` if it has any. Content can also be given piece by
/// piece (`only METHOD`, `content-header SIZE`, `content-body OCTETS`), and frames as hexadecimal octets (`raw`).
pub fn encode(channel: u16, line: &str) -> Vec<u8> {
    let (words, body) = line.split_once(" : ").unwrap_or((line, ""));
    let (name, rest) = words.split_once(' ').unwrap_or((words, ""));
    match name {
        "only" => frame(METHOD, channel, &methods::encode(rest)),
        "content-header" => header(channel, rest.parse().expect("a size"), &[0, 0]),
        "content-body" => frame(BODY, channel, &octets(rest)),
        "heartbeat" => frame(HEARTBEAT, channel, &[]),
        "raw" => {
            rest.split_whitespace().map(|hex| u8::from_str_radix(hex, 16).expect("hexadecimal")).collect()
        }
        "basic.publish" => {
            let body = octets(body);
            let mut out = frame(METHOD, channel, &methods::encode(words));
            out.extend(header(channel, body.len() as u64, &methods::properties(words)));
            body.chunks(FRAME_MAX - 8).for_each(|part| out.extend(frame(BODY, channel, part)));
            out
        }
        _ => frame(METHOD, channel, &methods::encode(words)),
    }
}

fn header(channel: u16, size: u64, properties: &[u8]) -> Vec<u8> {
    frame(HEADER, channel, &[&[0, 60, 0, 0], &size.to_be_bytes()[..], properties].concat())
}

/// A body as it is written: `x*1000` is a thousand times that.
fn octets(text: &str) -> Vec<u8> {
    let times = text.split_once('*').and_then(|(part, count)| Some(part.repeat(count.parse().ok()?)));
    times.unwrap_or_else(|| text.to_owned()).into_bytes()
}

pub fn show(octets: &[u8]) -> String {
    match octets {
        [first, rest @ ..] if rest.len() > 30 && rest.iter().all(|octet| octet == first) => {
            format!("{}*{}", *first as char, octets.len())
        }
        _ => String::from_utf8_lossy(octets).into_owned(),
    }
}

/// Reads what a broker sent, which is nothing but whole frames: the channel and the line of each method.
pub fn decode(mut octets: &[u8]) -> Vec<(u16, String)> {
    let mut out = Vec::new();
    while let Some((kind, channel, payload)) = next(&mut octets) {
        match kind {
            METHOD => {
                let mut line = methods::decode(payload);
                if ["basic.deliver ", "basic.get-ok ", "basic.return "]
                    .iter()
                    .any(|name| line.starts_with(name))
                {
                    line += &content(channel, &mut octets);
                }
                out.push((channel, line));
            }
            _ => panic!("a frame of type {kind} on channel {channel} out of order"),
        }
    }
    out
}

fn next<'a>(octets: &mut &'a [u8]) -> Option<(u8, u16, &'a [u8])> {
    let (head, rest) = octets.split_at_checked(7)?;
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    assert_eq!(rest[size], 0xce, "frame end");
    *octets = &rest[size + 1..];
    Some((head[0], u16::from_be_bytes([head[1], head[2]]), &rest[..size]))
}

/// The content frames of a method, which follow it at once.
fn content(channel: u16, octets: &mut &[u8]) -> String {
    let (kind, on, header) = next(octets).expect("a header");
    assert_eq!((kind, on), (HEADER, channel));
    assert_eq!(header[..4], [0, 60, 0, 0]);
    let size = u64::from_be_bytes(header[4..12].try_into().expect("8 octets"));
    let (mut body, mut frames) = (Vec::new(), 0);
    while (body.len() as u64) < size {
        let (kind, on, part) = next(octets).expect("a body");
        assert_eq!((kind, on), (BODY, channel));
        assert!(part.len() + 8 <= FRAME_MAX, "a frame of {} octets", part.len() + 8);
        body.extend_from_slice(part);
        frames += 1;
    }
    assert_eq!(body.len() as u64, size);
    let shared = if frames > 1 { format!(" in {frames} frames") } else { String::new() };
    format!("{} : {}{shared}", methods::show_properties(&header[12..]), show(&body))
}
