//! Queues: to declare, to purge and to delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;

use super::body::{Body, Fields};
use super::caller::Caller;
use super::refusal::Refusal;
use super::resource::{Names, declared_name};
use super::table;
use crate::auth::Access;
use crate::broker::Vhost;
use crate::broker::exchange::declare::check_not_reserved;
use crate::broker::queue::arguments::Declared;
use crate::broker::queue::declare::Declaration;
use crate::node::Node;

/// Declares a queue; without a word about it, it is a transient one.
pub(super) async fn declare(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    let mut declaration = declaration(&node, &caller, &body.fields()?, &name)?;
    check_not_reserved("queue", &declaration.name)?;
    caller.check(&vhost, Access::Configure, &declaration.name)?;
    let status = cell.with(|vhost, _| {
        let Declaration { durable, exclusive, auto_delete, .. } = declaration;
        vhost.add_default_type(&mut declaration.arguments, &Declared { durable, exclusive, auto_delete });
        let is_new = vhost.queue(declaration.name.as_bytes()).is_none();
        if is_new {
            caller.check_way(
                &vhost.name,
                &declaration.name,
                &declaration.arguments,
                "x-dead-letter-exchange",
            )?;
        }
        vhost.declare_queue(None, declaration)?;
        Ok::<_, Refusal>(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
    })?;
    cell.kept().await?;
    Ok(status)
}

fn declaration(node: &Node, caller: &Caller, fields: &Fields, name: &str) -> Result<Declaration, Refusal> {
    let durable = fields.flag("durable")?.unwrap_or(false);
    let auto_delete = fields.flag("auto_delete")?.unwrap_or(false);
    let arguments = fields.get("arguments").map(table::from_json).transpose()?.unwrap_or_default();
    if let Some(other) = fields.text("node")?.filter(|other| *other != node.name()) {
        return Err(Refusal::bad_request(format!("Node {other} is not a cluster member")));
    }
    let name = declared_name("queue", name)?;
    let creator = Some(Arc::clone(&caller.user.name));
    Ok(Declaration { name: name.into(), durable, exclusive: false, auto_delete, arguments, creator })
}

/// Deletes a queue; the conditions `if-empty` and `if-unused` hold where they are `true`.
pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Query(conditions): Query<BTreeMap<String, String>>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let holds = |condition| conditions.get(condition).is_some_and(|value| value == "true");
    let (if_empty, if_unused) = (holds("if-empty"), holds("if-unused"));
    cell.with(|vhost, outboxes| {
        check_queue(&caller, vhost, Access::Configure, &name)?;
        vhost.delete_queue(None, name.as_bytes(), if_unused, if_empty, outboxes)?;
        Ok::<_, Refusal>(())
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn purge(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    cell.with(|vhost, outboxes| {
        check_queue(&caller, vhost, Access::Read, &name)?;
        vhost.purge(None, name.as_bytes(), outboxes)?;
        Ok::<_, Refusal>(())
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses a queue that is not there, and then one that is not for this caller.
fn check_queue(caller: &Caller, vhost: &Vhost, access: Access, name: &str) -> Result<(), Refusal> {
    vhost.queue(name.as_bytes()).ok_or(Refusal::NotFound)?;
    caller.check(&vhost.name, access, name)
}
