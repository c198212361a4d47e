//! Publishing on behalf of somebody who has no connection: the HTTP API, and what moves messages for it.

use super::copies::Copies;
use super::outbox::Outboxes;
use super::properties::{check_user_id, check_whole, with_plain_expiration};
use crate::auth::{Access, Auth, User};
use crate::broker::dead_letter::BLIND;
use crate::broker::publish::{Outcome, Route};
use crate::broker::queue::replies::REPLY_TO;
use crate::broker::{ConnectionId, Vhost};
use crate::wire::content::Message;
use crate::wire::properties;
use crate::wire::reply::Exception;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Whether it led anywhere.
    pub routed: bool,
    pub outcome: Outcome,
}

/// Publishes a message as this user, after all the checks that a connection makes, in RabbitMQ's order. `size_max` is the
/// limit of a body in octets. To be followed by [`Vhost::dispatch_due`], as any call on a vhost.
pub fn publish(
    (vhost, outboxes): (&mut Vhost, &mut Outboxes),
    (auth, user): (&Auth, &User),
    sent: &Message<'_>,
    size_max: u64,
) -> Result<Published, Exception> {
    if sent.body.size() as u64 > size_max {
        let size = sent.body.size();
        let text = format!("message size {size} is larger than configured max size {size_max}");
        return Err(Exception::precondition_failed(text));
    }
    vhost.count_received(sent.body.size() as u64, true);
    check_write(vhost, auth, user, sent.exchange)?;
    vhost.check_publishable(sent.exchange)?;
    check_whole(sent.properties)?;
    if properties::walk(sent.properties).is_ok_and(|found| found.reply_to == Some(REPLY_TO.as_bytes())) {
        return Err(Exception::precondition_failed("fast reply consumer does not exist"));
    }
    let raw = with_plain_expiration(sent.properties.into())?;
    let copies = Copies::find(&raw)?;
    let keys = copies.as_ref().map(|copies| &*copies.keys).unwrap_or_default();
    for routing_key in std::iter::once(sent.routing_key).chain(keys.iter().copied()) {
        vhost.check_topic(&user.name, Access::Write, sent.exchange, routing_key)?;
    }
    check_user_id(&raw, &user.name, user.has_tag("impersonator"))?;
    let blind = copies.as_ref().and_then(|copies| copies.shown.as_deref());
    let marks = if blind.is_some() { BLIND } else { 0 };
    let (kept, shown) =
        (Message { properties: &raw, ..*sent }, Message { properties: blind.unwrap_or(&raw), ..*sent });
    let Route { targets, filtered, .. } = vhost.route_copies(&shown, keys);
    if vhost.is_tracing() {
        vhost.trace_publish(ConnectionId::default(), 0, &kept, &targets);
    }
    let outcome = vhost.publish_marked(&targets, &kept, marks, vhost.now(), outboxes);
    let routed = !targets.is_empty() || filtered;
    let refused = outcome == Outcome::Refused;
    vhost.count_direct(sent.exchange, targets.len(), routed, refused);
    if !refused {
        outboxes.count_confirmed();
    }
    vhost.give_back(targets);
    Ok(Published { routed, outcome })
}

fn check_write(vhost: &Vhost, auth: &Auth, user: &User, exchange: &[u8]) -> Result<(), Exception> {
    let name: &[u8] = if exchange.is_empty() { b"amq.default" } else { exchange };
    if auth.permits(&user.name, &vhost.name, Access::Write, &String::from_utf8_lossy(name)) {
        return Ok(());
    }
    Err(Exception::access_refused(format!(
        "write access to {} refused for user '{}'",
        vhost.describe("exchange", name),
        user.name
    )))
}
