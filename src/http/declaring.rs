//! Declaring and deleting exchanges.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde_json::Value;

use super::body::{Body, Fields, term};
use super::caller::Caller;
use super::refusal::Refusal;
use super::resource::{Names, declared_name, exchange_name};
use super::table;
use crate::auth::Access;
use crate::broker::exchange::declare::{self, Declaration, check_not_default};
use crate::node::Node;

/// Declares an exchange; without a word about it, it is a transient one of the type `direct`.
pub(super) async fn put(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost_to_change(&node, &vhost)?;
    let declaration = declaration(&caller, &body.fields()?, &name)?;
    let status = cell.with(|vhost, _| {
        check_not_default(declaration.name.as_bytes())?;
        caller.check(&vhost.name, Access::Configure, &declaration.name)?;
        let is_new = vhost.exchange(declaration.name.as_bytes()).is_none();
        if is_new {
            vhost.check_new_exchange(&declaration)?;
            caller.check_way(&vhost.name, &declaration.name, &declaration.arguments, "alternate-exchange")?;
        }
        vhost.declare_exchange(declaration)?;
        Ok::<_, Refusal>(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
    })?;
    cell.kept().await?;
    Ok(status)
}

fn declaration(caller: &Caller, fields: &Fields, name: &str) -> Result<Declaration, Refusal> {
    let kind = match fields.get("type") {
        None => "direct",
        Some(Value::String(kind)) => kind,
        Some(Value::Null) => return Err(Refusal::bad_request("invalid exchange type 'null'")),
        Some(other) => return Err(Refusal::bad_request(format!("invalid exchange type '{}'", term(other)))),
    };
    let kind = declare::kind(kind)?;
    let flag = |key| Ok::<_, Refusal>(fields.flag(key)?.unwrap_or(false));
    let name = declared_name("exchange", exchange_name(name))?;
    Ok(Declaration {
        name: name.into(),
        kind,
        durable: flag("durable")?,
        auto_delete: flag("auto_delete")?,
        internal: flag("internal")?,
        arguments: fields.get("arguments").map(table::from_json).transpose()?.unwrap_or_default(),
        creator: Some(Arc::clone(&caller.user.name)),
    })
}

/// Deletes an exchange; with `if-unused=true` not if it has bindings.
pub(super) async fn delete(
    State(node): State<Arc<Node>>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Query(conditions): Query<BTreeMap<String, String>>,
) -> Result<StatusCode, Refusal> {
    let cell = caller.vhost(&node, &vhost)?;
    let name = exchange_name(&name);
    let if_unused = conditions.get("if-unused").is_some_and(|value| value == "true");
    cell.with(|vhost, _| {
        vhost.exchange(name.as_bytes()).ok_or(Refusal::NotFound)?;
        if !name.is_empty() {
            caller.check(&vhost.name, Access::Configure, name)?;
        }
        vhost.delete_exchange(name.as_bytes(), if_unused)?;
        Ok::<_, Refusal>(())
    })?;
    cell.kept().await?;
    Ok(StatusCode::NO_CONTENT)
}
