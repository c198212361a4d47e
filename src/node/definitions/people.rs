//! Users and permissions of a file.

use serde_json::Value;

use super::import::{Done, Import};
use super::item::{Item, binary};
use crate::auth::limits::{Limit, UserLimits};
use crate::auth::password::{Algorithm, PasswordHash};
use crate::auth::topic::TopicPermission;
use crate::auth::{Pattern, Permission};
use crate::broker::policy::json::term;
use crate::node::people::{NewPermission, NewUser};
use crate::node::salt;
use crate::node::topics::TopicError;

/// Users, who replace those of their names. Limits that a file does not speak of stay.
pub(super) fn users(import: &Import<'_>, items: &[Item<'_>]) -> Vec<Result<Done, String>> {
    let (mut users, mut limited, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        results.push(user(import, item).map(|(user, limits)| {
            limited.extend(limits.into_iter().map(|limit| (user.name.clone(), limit)));
            users.push(user);
            Done::Imported
        }));
    }
    // Together, since everybody is copied for each change.
    import.node.put_users(users);
    for (name, (limit, max)) in limited {
        import.node.limit_user(&name, &limit, Some(max));
    }
    results
}

fn user(import: &Import<'_>, item: &Item<'_>) -> Result<(NewUser, Vec<(String, Limit)>), String> {
    let name = item.text("name").map_err(|_| "{badkey,name}".to_owned())?;
    let tags = item.tags()?.ok_or_else(|| "tags_not_present".to_owned())?;
    let limits = limits(item)?;
    let password = password(import, item)?;
    let tags = tags.into_iter().map(Into::into).collect();
    Ok((NewUser { name: name.into(), password, tags }, limits))
}

fn password(import: &Import<'_>, item: &Item<'_>) -> Result<Option<PasswordHash>, String> {
    let (password, hash) = (item.get("password"), item.get("password_hash"));
    if password.is_some() && hash.is_some() {
        return Err("both_password_and_password_hash_are_provided".to_owned());
    }
    if password.is_some() {
        let password = item.text("password")?;
        if !password.is_empty() && !import.node.allows_password(password) {
            return Err("credential_validation_failed".to_owned());
        }
        return Ok((!password.is_empty()).then(|| PasswordHash::new(password.as_bytes(), salt())));
    }
    let Some(hash) = hash else { return Ok(None) };
    let text: String = item.text("password_hash")?.split_ascii_whitespace().collect();
    let algorithm = match item.get("hashing_algorithm") {
        None => Some(import.algorithm),
        Some(_) => Algorithm::from_name(item.text("hashing_algorithm")?),
    };
    let read = PasswordHash::from_base64(&text, algorithm.unwrap_or(Algorithm::Sha256));
    let read = read.ok_or_else(|| format!("{{not_base64,{}}}", term(hash)))?;
    if algorithm.is_none() {
        tracing::warn!("a user's password is hashed with an algorithm that nobody knows: they cannot log in");
    }
    Ok(algorithm.filter(|_| !text.is_empty()).map(|_| read))
}

fn limits(item: &Item<'_>) -> Result<Vec<(String, Limit)>, String> {
    let Some(Value::Object(limits)) = item.get("limits") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (name, value) in limits {
        if UserLimits::default().by_name(name).is_none() {
            return Err(format!(
                "{{errors,[{{\"Unrecognised terms ~tp in ~ts\",\n          [[{{{},{}}}],<<\"user-limits\">>]}}]}}",
                binary(name),
                term(value)
            ));
        }
        let max = value.as_i64().ok_or_else(|| {
            format!(
                "{{errors,[{{\"~ts should be a number, actually was ~tp\",\n          [{},{}]}}]}}",
                binary(name),
                term(value)
            )
        })?;
        found.push((name.clone(), Limit(max)));
    }
    Ok(found)
}

fn no_user(name: &str) -> String {
    format!("{{no_such_user,{}}}", binary(name))
}

pub(super) fn permissions(import: &Import<'_>, items: &[Item<'_>]) -> Vec<Result<Done, String>> {
    let found: Vec<_> = items.iter().map(|item| permission(import, item)).collect();
    let (mut all, mut results) = (Vec::new(), Vec::new());
    for found in found {
        results.push(found.map(|permission| {
            all.push(permission);
            Done::Imported
        }));
    }
    let done = import.node.put_permissions(&all);
    // A user or a vhost may have gone meanwhile.
    let good = results.iter_mut().filter(|result| result.is_ok());
    for ((result, done), wanted) in good.zip(done).zip(&all) {
        if done.is_none() {
            *result = Err(no_user(&wanted.user));
        }
    }
    results
}

fn permission(import: &Import<'_>, item: &Item<'_>) -> Result<NewPermission, String> {
    let vhost = import.vhost(item)?;
    let user = item.text("user")?;
    import.node.auth().user(user).ok_or_else(|| no_user(user))?;
    let pattern = |key| Pattern::new(item.text(key)?).map_err(|e| format!("{key}: {e}"));
    let permission =
        Permission { configure: pattern("configure")?, write: pattern("write")?, read: pattern("read")? };
    Ok(NewPermission { user: user.into(), vhost: (&*vhost.name).into(), permission })
}

pub(super) fn topic_permission(import: &Import<'_>, item: &Item<'_>) -> Result<Done, String> {
    let vhost = import.vhost(item)?;
    let (user, exchange) = (item.text("user")?, item.text("exchange")?);
    let permission = TopicPermission::new(user, &vhost.name, item.text("write")?, item.text("read")?);
    let permission = permission.map_err(|e| e.to_string())?;
    let put = import.node.put_topic_permission((&vhost, user), exchange, permission);
    put.map(|_| Done::Imported).map_err(|why| match why {
        TopicError::User => no_user(user),
        TopicError::Exchange => format!("{{no_such_exchange,{}}}", binary(exchange)),
    })
}
