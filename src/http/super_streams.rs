//! Super streams as RabbitMQ's stream management plugin makes them, and groups of those who read streams, which RabbitMQ does
//! not have.

use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, put};
use serde_json::{Map, Value, json};

use super::READ;
use super::body::{Body, Fields};
use super::caller::Caller;
use super::listing::{Listed, Listing};
use super::refusal::Refusal;
use super::resource::{Names, resource};
use crate::auth::Access;
use crate::broker::Name;
use crate::broker::stream::groups::{GroupFigures, PartitionFigures};
use crate::broker::stream::partitions::{NotMade, SuperStream};
use crate::node::Node;
use crate::node::cell::VhostCell;

/// Partitions a super stream may have.
const PARTITIONS_MAX: u64 = 1000;

pub(super) fn routes() -> Router<Arc<Node>> {
    const BOTH: &str = "PUT, DELETE, OPTIONS";
    Router::new()
        .route("/api/stream/super-streams/{vhost}/{name}", resource(BOTH, put(create).delete(delete)))
        .route("/api/stream/groups", resource(READ, get(groups)))
        .route("/api/stream/groups/{vhost}", resource(READ, get(groups_of_vhost)))
        .route(
            "/api/stream/groups/{vhost}/{stream}/{group}",
            resource(BOTH, put(set_group).delete(forget_group)),
        )
}

/// Makes a super stream: an exchange and its partitions.
async fn create(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let cell = node.vhost(&vhost).filter(|_| caller.sees(&vhost)).ok_or_else(Refusal::access_refused)?;
    let wanted = wanted(&caller, &body.fields()?, &name)?;
    // It declares all of them, and binds.
    for (name, _) in &wanted.partitions {
        caller.check(&vhost, Access::Configure, name)?;
        caller.check(&vhost, Access::Write, name)?;
    }
    caller.check(&vhost, Access::Configure, &name)?;
    caller.check(&vhost, Access::Read, &name)?;
    let count = wanted.partitions.len();
    cell.with(|vhost, _| vhost.create_super_stream(wanted)).map_err(|why| match why {
        NotMade::Refused(exception) => Refusal::from(exception),
        NotMade::Taken(what, name) => taken(what, &name),
        NotMade::TooMany(max) => Refusal::bad_request(not_valid(&format!(
            "\"\\\"Cannot declare super stream <<\\\\\\\"{name}\\\\\\\">> with {count} partition(s) because queue limit {max} in \
             vhost '<<\\\\\\\"{vhost}\\\\\\\">>' is reached\\\"\""
        ))),
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// As RabbitMQ writes it, which is not as it meant to.
fn taken(what: &str, name: &str) -> Refusal {
    Refusal::bad_request(format!(
        "[[123,\n  [\"reference_already_exists\",44,\n   \"\\\"there is already {what} named {name}\\\"\"],\n  125]]"
    ))
}

/// The same of what is not valid.
fn not_valid(why: &str) -> String {
    format!("[[123,\n  [\"validation_failed\",44,\n   {why}],\n  125]]")
}

/// Deletes a super stream with its partitions and all messages in them.
async fn delete(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let gone = cell.with(|found, outboxes| {
        let partitions = found.partition_names(name.as_bytes());
        for name in partitions.iter().map(|name| &**name).chain([&*name]) {
            caller.check(&vhost, Access::Configure, name)?;
        }
        Ok::<_, Refusal>(found.delete_super_stream(name.as_bytes(), outboxes)?)
    })?;
    if !gone {
        return Err(Refusal::NotFound);
    }
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn wanted(caller: &Caller, fields: &Fields, name: &str) -> Result<SuperStream, Refusal> {
    let refuse = |why: &str| Err(Refusal::bad_request(why));
    let keys = fields.words("binding-keys")?;
    let keys: Vec<String> = match (fields.get("partitions"), keys) {
        (Some(_), Some(_)) => return refuse("Specify partitions or binding keys, not both"),
        (None, None) => return refuse("Must specify partitions or binding keys"),
        (Some(count), None) => match whole(count) {
            Some(1..) => (0..whole(count).unwrap_or_default().unsigned_abs())
                .take(1001)
                .map(|n| n.to_string())
                .collect(),
            Some(_) => return refuse("The partition number must be greater than 0"),
            None => return refuse("The partitions must be a number"),
        },
        (None, Some(keys)) if keys.is_empty() => {
            return refuse("The number of binding keys must be greater than 0");
        }
        (None, Some(keys)) => keys,
    };
    if keys.len() as u64 > PARTITIONS_MAX {
        return refuse(&format!("a super stream has {PARTITIONS_MAX} partitions at most"));
    }
    let partitions: Vec<(Name, Box<[u8]>)> =
        keys.into_iter().map(|key| (format!("{name}-{key}").into(), key.into_bytes().into())).collect();
    if let Some((longest, _)) = partitions.iter().find(|(name, _)| name.len() > 255) {
        return refuse(&format!("queue should be less than 255 bytes, actually was {}\n", longest.len()));
    }
    let mut names: Vec<_> = partitions.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    if names.windows(2).any(|two| two[0] == two[1]) {
        let all = names.concat();
        return refuse(&not_valid(&format!("[123,[\"\\\"Duplicate partition names found {all}\\\"\"],125]")));
    }
    let creator = Some(Arc::clone(&caller.user.name));
    Ok(SuperStream { name: name.into(), partitions, arguments: arguments(fields)?, creator })
}

/// A whole number, which may be written as text.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The arguments of the partitions; those that streams do not have are passed over.
fn arguments(fields: &Fields) -> Result<FieldTable, Refusal> {
    let none = Map::new();
    let given = match fields.get("arguments") {
        Some(Value::Object(given)) => given,
        None | Some(Value::Null) => &none,
        Some(_) => return Err(Refusal::bad_request("arguments must be an object")),
    };
    let mut table = FieldTable::default();
    let mut put = |key: &str, value| {
        table.insert(format!("x-{key}").into(), value);
    };
    put("queue-type", AMQPValue::LongString("stream".into()));
    put("queue-leader-locator", AMQPValue::LongString("balanced".into()));
    for key in ["max-length-bytes", "stream-max-segment-size-bytes", "initial-cluster-size"] {
        if let Some(value) = given.get(key) {
            let number =
                whole(value).ok_or_else(|| Refusal::bad_request(format!("{key} must be a number")))?;
            put(key, AMQPValue::LongLongInt(number));
        }
    }
    for key in ["max-age", "queue-leader-locator"] {
        if let Some(value) = given.get(key) {
            let text = value.as_str().ok_or_else(|| Refusal::bad_request(format!("{key} must be a text")))?;
            put(key, AMQPValue::LongString(text.into()));
        }
    }
    Ok(table)
}

/// A group and its vhost.
struct Of {
    vhost: Arc<str>,
    group: GroupFigures,
}

impl Listed for Of {
    fn name(&self) -> Option<&str> {
        Some(&self.group.group)
    }

    fn to_json(&self) -> Value {
        let GroupFigures { target, group, members, partitions } = &self.group;
        json!({
            "vhost": &*self.vhost,
            "name": &**group,
            "stream": &**target,
            "members": members,
            "lag": partitions.iter().map(|partition| partition.lag).sum::<u64>(),
            "partitions": partitions.iter().map(partition).collect::<Vec<_>>(),
        })
    }
}

fn partition(partition: &PartitionFigures) -> Value {
    let PartitionFigures { stream, owner, offset, lag } = partition;
    let (tag, channel) = owner.as_ref().map_or((None, None), |(tag, channel)| (Some(tag), Some(*channel)));
    json!({
        "stream": &**stream,
        "offset": offset,
        "lag": lag,
        "consumer_tag": tag.map(|tag| String::from_utf8_lossy(tag)),
        "channel_number": channel,
    })
}

fn all(vhost: &VhostCell) -> Vec<Of> {
    let mut groups = vhost.with(|vhost, _| vhost.group_figures());
    groups.sort_unstable_by(|a, b| (&a.target, &a.group).cmp(&(&b.target, &b.group)));
    groups.into_iter().map(|group| Of { vhost: Arc::clone(&vhost.name), group }).collect()
}

async fn groups(
    State(node): State<Arc<Node>>,
    caller: Caller,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(caller.vhosts(&node).iter().flat_map(|vhost| all(vhost)).collect()).await
}

async fn groups_of_vhost(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names(vhost): Names<String>,
    listing: Listing,
) -> Result<Response, Refusal> {
    listing.pages(all(&*caller.vhost(&node, &vhost)?)).await
}

/// Sets where a group that nobody reads for goes on: `{"offset": 0}`.
async fn set_group(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, stream, group)): Names<(String, String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let offset = body.fields()?.get("offset").and_then(whole).and_then(|offset| u64::try_from(offset).ok());
    let offset = offset.ok_or_else(|| Refusal::bad_request("offset must be a whole number, from 0"))?;
    change_group(&node, &caller, &vhost, &stream, &group, Some(offset)).await
}

async fn forget_group(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, stream, group)): Names<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    change_group(&node, &caller, &vhost, &stream, &group, None).await
}

async fn change_group(
    node: &Node,
    caller: &Caller,
    vhost: &str,
    stream: &str,
    group: &str,
    next: Option<u64>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(node, vhost)?;
    caller.check(vhost, Access::Read, stream)?;
    let changed = cell.with(|vhost, _| vhost.set_group_offset(stream.as_bytes(), group, next))?;
    if !changed {
        return Err(Refusal::NotFound);
    }
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}
