//! `rabbitmq-streams`: super streams, what streams remember, and groups. Nobody speaks the stream protocol here, so that the
//! lists of those who do are empty; groups are those of AMQP consumers (`x-stream-group`).

use serde_json::{Map, Value, json};

use super::lists::columns;
use super::queues::path;
use super::replicas::nothing;
use super::{items, text};
use crate::cli::ctl::call::{Call, refusal};
use crate::cli::ctl::command::{Command, DIAGNOSTICS, MANY, QUEUES, STREAMS, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line::{self, Switch};
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;
use crate::config::values::size;
use crate::node::NODE_NAME;

/// Partitions of a super stream if nobody says how many.
const PARTITIONS: i64 = 3;
const OF_VHOST: &str = "[--vhost <vhost>] [<column> ...]";
const OF_GROUP: &str = "--stream <stream> --reference <reference> [--vhost <vhost>]";
const GROUP: &[Switch] = &[line::text("stream"), line::text("reference")];

const CONNECTION: &[&str] = &[
    "auth_mechanism",
    "client_properties",
    "conn_name",
    "connected_at",
    "connection_state",
    "frame_max",
    "heartbeat",
    "host",
    "node",
    "peer_cert_issuer",
    "peer_cert_serial_number",
    "peer_cert_subject",
    "peer_cert_validity",
    "peer_host",
    "peer_port",
    "pid",
    "port",
    "ssl",
    "ssl_cipher",
    "ssl_hash",
    "ssl_key_exchange",
    "ssl_protocol",
    "subscriptions",
    "user",
    "vhost",
];
const CONSUMER: &[&str] = &[
    "connection_pid",
    "node",
    "subscription_id",
    "stream",
    "messages_consumed",
    "offset",
    "offset_lag",
    "credits",
    "active",
    "activity_status",
    "properties",
];
const PUBLISHER: &[&str] = &[
    "connection_pid",
    "node",
    "publisher_id",
    "stream",
    "reference",
    "messages_published",
    "messages_confirmed",
    "messages_errored",
];
const GROUPS: &[&str] = &["stream", "reference", "partition_index", "consumers"];
const MEMBERS: &[&str] = &["subscription_id", "connection_name", "state"];

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Queues, about, run).tools(STREAMS)
}

pub const COMMANDS: &[Command] = &[
    command("add_super_stream", "Makes a super stream", add)
        .takes(1, 1, "<name> [--vhost <vhost>] [--partitions <partitions>] [--binding-keys <binding-keys>]")
        .switches(&[
            line::number("partitions"),
            line::text("binding-keys"),
            line::text("max-length-bytes"),
            line::text("max-age"),
            line::text("stream-max-segment-size-bytes"),
            line::text("leader-locator"),
            line::number("initial-cluster-size"),
        ]),
    command("delete_super_stream", "Deletes a super stream with its partitions", delete).takes(
        1,
        1,
        "<name> [--vhost <vhost>]",
    ),
    command("stream_status", "Shows how a stream is", stream_status)
        .tools(STREAMS | QUEUES | DIAGNOSTICS)
        .takes(1, 1, "[--vhost <vhost>] [--tracking] <stream>")
        .switches(&[line::flag("tracking")]),
    command(
        "list_stream_tracking",
        "Lists the offsets and publishers that a stream remembers",
        list_tracking,
    )
    .takes(1, 1, "<stream> [--all | --offset | --writer] [--vhost <vhost>]")
    .switches(&[line::flag("all"), line::flag("offset"), line::flag("writer")]),
    command("reset_offset", "Lets a group begin at the beginning of a stream again", reset_offset)
        .takes(0, 0, OF_GROUP)
        .switches(GROUP),
    command("activate_stream_consumer", "Tells whether a group is there: its members read already", activate)
        .takes(0, 0, OF_GROUP)
        .switches(GROUP),
    command("list_stream_connections", "Lists connections of the stream protocol: none", list_connections)
        .tools(STREAMS | DIAGNOSTICS)
        .takes(0, MANY, "[<column> ...]"),
    command("list_stream_consumers", "Lists consumers of the stream protocol: none", list_consumers)
        .tools(STREAMS | DIAGNOSTICS)
        .takes(0, MANY, OF_VHOST),
    command("list_stream_publishers", "Lists publishers of the stream protocol: none", list_publishers)
        .tools(STREAMS | DIAGNOSTICS)
        .takes(0, MANY, OF_VHOST),
    command("list_stream_consumer_groups", "Lists groups that consume streams", list_groups)
        .tools(STREAMS | DIAGNOSTICS)
        .takes(0, MANY, OF_VHOST),
    command("list_stream_group_consumers", "Lists the members of a group", list_members)
        .tools(STREAMS | DIAGNOSTICS)
        .takes(0, MANY, "--stream <stream> --reference <reference> [--vhost <vhost>] [<column> ...]")
        .switches(GROUP),
];

/// Something wrong with an option, in RabbitMQ's words, which it shows as Elixir writes a list of characters.
fn wrong(text: &str) -> Failure {
    Failure::misused(format!("~c\"{text}\""))
}

fn add(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    let body = described(call)?;
    call.banner("Adding a super stream...");
    if call.find(&format!("/api/vhosts/{}", segment(&vhost)))?.is_none() {
        return Err(Failure::new(status::SOFTWARE, format!("{{:no_such_vhost, {vhost:?}}}")));
    }
    let reply = call.send(hyper::Method::PUT, &super_stream(&vhost, &name), Some(&body))?;
    if reply.is_success() {
        return Ok(done(&name, "created"));
    }
    let reason = reply.reason();
    // Within the reason stands, in quotes with backslashes, what it is about.
    let said = reason.split("\\\"").nth(1);
    Err(match said {
        Some(said) if reason.contains("reference_already_exists") => {
            Failure::new(status::SOFTWARE, format!("{{:reference_already_exists, ~c\"{said}\"}}"))
        }
        Some(said) if reason.contains("validation_failed") => {
            Failure::new(status::SOFTWARE, format!("{{:validation_failed, {{~c\"{said}\"}}}}"))
        }
        _ => refusal(&reply),
    })
}

fn super_stream(vhost: &str, name: &str) -> String {
    format!("/api/stream/super-streams/{}/{}", segment(vhost), segment(name))
}

fn done(name: &str, what: &str) -> Output {
    let text = format!("Super stream {name} has been {what}");
    Output::Both(text.clone(), text.into())
}

/// What the options say of a super stream, as the API takes it.
fn described(call: &Call) -> Result<Value, Failure> {
    let line = &call.line;
    let mut body = match (line.number("partitions"), line.text("binding-keys")) {
        (Some(_), Some(_)) => return Err(wrong("Specify --partitions or --binding-keys, not both.")),
        (Some(..=0), None) => return Err(wrong("The partition number must be greater than 0")),
        (None, Some(keys)) => {
            let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
            json!({ "binding-keys": keys.collect::<Vec<_>>().join(",") })
        }
        (partitions, None) => json!({ "partitions": partitions.unwrap_or(PARTITIONS) }),
    };
    let mut arguments = Map::new();
    for name in ["max-length-bytes", "stream-max-segment-size-bytes"] {
        if let Some(given) = line.text(name) {
            let octets = size(given).map_err(|_| {
                wrong(&format!("Invalid value for --{name}, valid example values: 100gb, 50mb"))
            })?;
            arguments.insert(name.to_owned(), octets.into());
        }
    }
    if let Some(given) = line.text("max-age") {
        let seconds = seconds(given).ok_or_else(|| {
            wrong(
                "Invalid value for --max-age, the value must a ISO 8601 duration, e.g. e.g. PT10M30S for 10 minutes 30 \
                 seconds, P5DT8H for 5 days 8 hours.",
            )
        })?;
        arguments.insert("max-age".to_owned(), format!("{seconds}s").into());
    }
    if let Some(given) = line.text("leader-locator") {
        if !["client-local", "balanced", "least-leaders", "random"].contains(&given) {
            let text = "Invalid value for --leader-locator, valid values are client-local, balanced.";
            return Err(wrong(text));
        }
        arguments.insert("queue-leader-locator".to_owned(), given.into());
    }
    if let Some(count) = line.number("initial-cluster-size") {
        if count < 1 {
            return Err(wrong("Invalid value for --initial-cluster-size, the value must be positive."));
        }
        arguments.insert("initial-cluster-size".to_owned(), count.into());
    }
    body["arguments"] = Value::Object(arguments);
    Ok(body)
}

/// An ISO 8601 duration in seconds; a year has 365 days, a month 30.
fn seconds(text: &str) -> Option<u64> {
    let text = text.strip_prefix('P').filter(|text| !text.is_empty())?;
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some(both) => both,
        None => (text, ""),
    };
    let days = sum(date, &[('Y', 365), ('M', 30), ('D', 1)])?;
    sum(time, &[('H', 3600), ('M', 60), ('S', 1)])?.checked_add(days.checked_mul(86400)?)
}

/// Numbers with units, each at most once and in this order. What is behind a point does not count.
fn sum(text: &str, units: &[(char, u64)]) -> Option<u64> {
    let (mut rest, mut sum) = (text, 0_u64);
    for (unit, worth) in units {
        if let Some((number, after)) = rest.split_once(*unit) {
            let number = number.split_once('.').map_or(number, |(whole, _)| whole);
            sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*worth)?)?;
            rest = after;
        }
    }
    rest.is_empty().then_some(sum)
}

fn delete(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    call.banner("Deleting a super stream...");
    if call.delete(&super_stream(&vhost, &name))? {
        return Ok(done(&name, "deleted"));
    }
    Err(Failure::new(status::SOFTWARE, "stream_not_found"))
}

fn stream_status(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name, node) = (call.vhost(), call.argument(0).to_owned(), call.node());
    call.banner(&format!("Status of stream {name} on node {node} ..."));
    let queue = call.find(&path(&vhost, &name))?.ok_or_else(nothing)?;
    match text(&queue, "type") {
        "stream" => {}
        kind => return Err(Failure::refused(format!("Cannot get stream status of a {kind} queue"))),
    }
    if call.line.flag("tracking") {
        let tracking = tracking(call, &vhost, &name)?.unwrap_or_default();
        let rows = remembered(&tracking, &["offsets", "writers"]);
        if rows.is_empty() {
            let rows = Rows::new(&["Output"], vec![vec![Term::atom("[]")]]);
            return Ok(Output::Rows(Rows { in_box: true, ..rows }));
        }
        return Ok(Output::Rows(Rows { in_box: true, ..Rows::new(&["type", "reference", "value"], rows) }));
    }
    // What is written is committed here. There are no epochs and no chunks.
    let committed = queue["committed_offset"].as_u64();
    let committed = committed.map_or_else(|| Term::Number((-1).into()), Term::from);
    let row = vec![
        Term::atom("writer"),
        node.into(),
        Term::Empty,
        committed.clone(),
        committed,
        Term::Empty,
        Term::of(&queue["first_offset"]),
        Term::of(&queue["readers"][NODE_NAME]),
        Term::of(&queue["segments"]),
    ];
    let columns = [
        "role",
        "node",
        "epoch",
        "offset",
        "committed_offset",
        "committed_chunk_id",
        "first_offset",
        "readers",
        "segments",
    ];
    Ok(Output::Rows(Rows { in_box: true, streamed: true, ..Rows::new(&columns, vec![row]) }))
}

/// What a stream remembers, if it is there and a stream.
fn tracking(call: &mut Call, vhost: &str, stream: &str) -> Result<Option<Value>, Failure> {
    let path = format!("/api/stream/{}/{}/tracking", segment(vhost), segment(stream));
    let reply = call.send(hyper::Method::GET, &path, None)?;
    match reply.status {
        404 | 503 => Ok(None),
        _ if reply.is_success() => Ok(Some(reply.json())),
        _ => Err(refusal(&reply)),
    }
}

/// As rows: of what kind, whose, and up to where.
fn remembered(tracking: &Value, kinds: &[&str]) -> Vec<Vec<Term>> {
    let of_kind = |kind: &&str| {
        let shown = if *kind == "offsets" { "offset" } else { "writer" };
        let all = tracking[*kind].as_object().into_iter().flatten();
        all.map(|(name, value)| vec![Term::atom(shown), name.as_str().into(), Term::of(value)])
            .collect::<Vec<_>>()
    };
    kinds.iter().flat_map(of_kind).collect()
}

fn list_tracking(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    let kinds: &[&str] =
        match ["all", "offset", "writer"].map(|name| call.line.flag(name) || call.line.without(name)) {
            [_, false, false] => &["offsets", "writers"],
            [false, true, false] => &["offsets"],
            [false, false, true] => &["writers"],
            _ => return Err(wrong("Specify only one of --all, --offset, --writer.")),
        };
    call.banner(&format!("Listing tracking information for stream {name} ..."));
    let tracking = tracking(call, &vhost, &name)?;
    let tracking = tracking.ok_or_else(|| Failure::refused("The stream does not exist."))?;
    let rows = remembered(&tracking, kinds);
    if rows.is_empty() {
        return Ok(Output::Nothing);
    }
    let rows = Rows::new(&["type", "name", "tracking_value"], rows);
    Ok(Output::Rows(Rows { in_box: true, streamed: true, ..rows }))
}

/// The stream and the group that the options name.
fn group(call: &Call) -> Result<(String, String), Failure> {
    match (call.line.text("stream"), call.line.text("reference")) {
        (Some(stream), Some(reference)) => Ok((stream.to_owned(), reference.to_owned())),
        _ => Err(Failure::misused("not enough arguments.")),
    }
}

fn reset_offset(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, (stream, reference)) = (call.vhost(), group(call)?);
    call.banner("Resetting stored offset ...");
    let tracking = tracking(call, &vhost, &stream)?;
    let tracking = tracking.ok_or_else(|| Failure::refused("The stream does not exist"))?;
    if tracking["offsets"].get(&reference).is_none() {
        return Err(Failure::refused("There is no stored offset for this reference, no need to reset"));
    }
    let [vhost, stream, reference] = [&vhost, &stream, &reference].map(|name| segment(name));
    call.put(&format!("/api/stream/groups/{vhost}/{stream}/{reference}"), &json!({ "offset": 0 }))?;
    Ok(Output::Nothing)
}

/// A list of those who speak the stream protocol.
fn nobody(call: &Call, known: &[&str], usual: &[&str], banner: &str) -> Result<Output, Failure> {
    let columns = columns(call, known, usual)?;
    call.banner(banner);
    Ok(Output::Rows(Rows { columns, streamed: true, ..Rows::default() }))
}

fn list_connections(call: &mut Call) -> Result<Output, Failure> {
    nobody(call, CONNECTION, &["conn_name"], "Listing stream connections ...")
}

fn list_consumers(call: &mut Call) -> Result<Output, Failure> {
    nobody(call, CONSUMER, CONSUMER, "Listing stream consumers ...")
}

fn list_publishers(call: &mut Call) -> Result<Output, Failure> {
    nobody(call, PUBLISHER, PUBLISHER, "Listing stream publishers ...")
}

/// The groups of a vhost that have members.
fn groups(call: &mut Call, vhost: &str) -> Result<Vec<Value>, Failure> {
    let found = call.find(&format!("/api/stream/groups/{}", segment(vhost)))?.unwrap_or_default();
    Ok(items(&found).iter().filter(|group| group["members"] != 0).cloned().collect())
}

fn list_groups(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, columns) = (call.vhost(), columns(call, GROUPS, GROUPS)?);
    call.banner("Listing stream consumer groups ...");
    let mut rows = Vec::new();
    for group in groups(call, &vhost)? {
        let alone =
            items(&group["partitions"]).iter().all(|partition| partition["stream"] == group["stream"]);
        for (n, partition) in items(&group["partitions"]).iter().enumerate() {
            let cell = |column: &String| match column.as_str() {
                "stream" => Term::of(&partition["stream"]),
                "reference" => Term::of(&group["name"]),
                "partition_index" if alone => Term::Number((-1).into()),
                "partition_index" => Term::from(n as u64),
                _ => Term::of(&group["members"]),
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    if rows.is_empty() {
        return Ok(Output::Nothing);
    }
    Ok(Output::Rows(Rows { columns, rows, streamed: true, in_box: true, ..Rows::default() }))
}

/// The member of a group that reads a partition, and the stream that the group consumes.
fn partition<'a>(groups: &'a [Value], stream: &str, reference: &str) -> Option<(&'a str, &'a Value)> {
    groups.iter().filter(|group| text(group, "name") == reference).find_map(|group| {
        let mut partitions = items(&group["partitions"]).iter();
        let partition = partitions.find(|partition| text(partition, "stream") == stream)?;
        Some((text(group, "stream"), partition))
    })
}

fn no_group() -> Failure {
    Failure::refused("The group does not exist")
}

/// Each partition is read by a member at any time, so that there is nobody to wake.
fn activate(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, (stream, reference)) = (call.vhost(), group(call)?);
    call.banner("Activating a consumer in the group ...");
    let groups = groups(call, &vhost)?;
    partition(&groups, &stream, &reference).ok_or_else(no_group)?;
    Ok(Output::Nothing)
}

fn list_members(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, (stream, reference)) = (call.vhost(), group(call)?);
    let columns = columns(call, MEMBERS, MEMBERS)?;
    call.banner("Listing group consumers ...");
    let groups = groups(call, &vhost)?;
    let (target, partition) = partition(&groups, &stream, &reference).ok_or_else(no_group)?;
    let consumers = call.get(&format!("/api/consumers/{}", segment(&vhost)))?;
    // Who consumes a super stream consumes each of its partitions in turn.
    let is_member = |consumer: &&Value| {
        consumer["arguments"]["x-stream-group"] == reference.as_str()
            && [stream.as_str(), target].contains(&text(&consumer["queue"], "name"))
    };
    let row = |consumer: &Value| {
        let reads = partition["consumer_tag"] == consumer["consumer_tag"]
            && partition["channel_number"] == consumer["channel_details"]["number"];
        let cell = |column: &String| match column.as_str() {
            "subscription_id" => Term::of(&consumer["consumer_tag"]),
            "connection_name" => Term::of(&consumer["channel_details"]["connection_name"]),
            _ if reads => "active (connected)".into(),
            _ => "waiting (connected)".into(),
        };
        columns.iter().map(cell).collect()
    };
    let rows = items(&consumers).iter().filter(is_member).map(row).collect();
    Ok(Output::Rows(Rows { columns, rows, streamed: true, in_box: true, ..Rows::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, wanted) in [
            ("P5DT8H", Some(460_800)),
            ("PT10M30S", Some(630)),
            ("P1Y1M1DT1H1M1S", Some(34_218_061)),
            ("PT1.5S", Some(1)),
            ("P1W", None),
            ("7D", None),
            ("P", None),
            ("P1DT", None),
            ("PT1S1M", None),
            ("P99999999999999999999D", None),
            ("P9999999999999999999D", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }
}
