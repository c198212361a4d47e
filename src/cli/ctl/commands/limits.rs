//! Limits of users and virtual hosts.

use serde_json::{Map, Value, json};

use super::{items, parsed, text, users, vhosts};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::line;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;

const OF_USERS: [&str; 2] = ["max-connections", "max-channels"];
const OF_VHOSTS: [&str; 2] = ["max-connections", "max-queues"];

pub const COMMANDS: &[Command] = &[
    Command::new(
        "set_user_limits",
        Section::Users,
        "Limits how many connections and channels a user has",
        set_user,
    )
    .takes(2, 2, "<username> <definition>"),
    Command::new(
        "clear_user_limits",
        Section::Users,
        "Takes a user's limit away, or all of them",
        clear_user,
    )
    .takes(2, 2, "<username> <limit_type> | all"),
    Command::new("list_user_limits", Section::Users, "Lists limits of users", list_user)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--user <username>] [--global]")
        .switches(&[line::text("user")]),
    Command::new(
        "set_vhost_limits",
        Section::Vhosts,
        "Limits connections and queues of a virtual host",
        set_vhost,
    )
    .takes(1, 1, "[--vhost <vhost>] <definition>"),
    Command::new("clear_vhost_limits", Section::Vhosts, "Takes a virtual host's limits away", clear_vhost)
        .takes(0, 0, "[--vhost <vhost>]"),
    Command::new("list_vhost_limits", Section::Vhosts, "Lists limits of virtual hosts", list_vhost)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--vhost <vhost>] [--global] [--no-table-headers]"),
];

/// The limits that somebody wants, all of which have to be known.
fn wanted(definition: &str, known: &[&str], whose: &str) -> Result<Map<String, Value>, Failure> {
    let Value::Object(limits) = parsed(definition)? else {
        return Err(Failure::refused("limits are an object, such as {\"max-connections\": 10}"));
    };
    let unknown = limits.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let unknown: Vec<_> =
        unknown.map(|(name, value)| format!("{{<<\"{name}\">>,{}}}", Term::of(value).erlang())).collect();
    if unknown.is_empty() {
        return Ok(limits);
    }
    Err(Failure::refused(format!("Unrecognised terms [{}] in {whose}", unknown.join(","))))
}

fn set_all(call: &mut Call, path: &str, limits: &Map<String, Value>) -> Result<(), Failure> {
    for (name, value) in limits {
        call.put(&format!("{path}/{}", segment(name)), &json!({ "value": value }))?;
    }
    Ok(())
}

fn user_path(name: &str) -> String {
    format!("/api/user-limits/{}", segment(name))
}

fn vhost_path(name: &str) -> String {
    format!("/api/vhost-limits/{}", segment(name))
}

fn check_user(call: &mut Call, name: &str) -> Result<(), Failure> {
    let found = call.find(&users::path(name))?;
    found.map(drop).ok_or_else(|| Failure::refused(format!("{{:no_such_user, \"{name}\"}}")))
}

fn set_user(call: &mut Call) -> Result<Output, Failure> {
    let (user, definition) = (call.argument(0).to_owned(), call.argument(1).to_owned());
    call.banner(&format!("Setting user limits to \"{definition}\" for user \"{user}\" ..."));
    let limits = wanted(&definition, &OF_USERS, "user-limits")?;
    check_user(call, &user)?;
    set_all(call, &user_path(&user), &limits)?;
    Ok(Output::Nothing)
}

fn clear_user(call: &mut Call) -> Result<Output, Failure> {
    let (user, limit) = (call.argument(0).to_owned(), call.argument(1).to_owned());
    let all = limit == "all";
    call.banner(&match all {
        true => format!("Clearing all limits for user \"{user}\" ..."),
        false => format!("Clearing \"{limit}\" limit for user \"{user}\" ..."),
    });
    check_user(call, &user)?;
    for name in OF_USERS.into_iter().filter(|name| all || *name == limit) {
        call.delete(&format!("{}/{name}", user_path(&user)))?;
    }
    Ok(Output::Nothing)
}

/// The limits in what the API answers about one user or virtual host, as JSON.
fn value(found: &Value) -> Option<String> {
    items(found).first().map(|limits| limits["value"].to_string())
}

fn list_user(call: &mut Call) -> Result<Output, Failure> {
    if call.line.flag("global") {
        call.banner("Listing limits for all users ...");
        let found = call.get("/api/user-limits")?;
        return Ok(Output::Rows(all(&found, "user")));
    }
    let user = call.line.text("user").unwrap_or("guest").to_owned();
    call.banner(&format!("Listing limits for user \"{user}\" ..."));
    check_user(call, &user)?;
    let found = call.get(&user_path(&user))?;
    let limits = value(&found).unwrap_or_else(|| "{}".to_owned());
    Ok(Output::Both(limits.clone(), json!({ "message": limits })))
}

fn all(found: &Value, whose: &str) -> Rows {
    let row = |limits: &Value| vec![text(limits, whose).into(), limits["value"].to_string().into()];
    Rows::new(&[whose, "limits"], items(found).iter().map(row).collect())
}

fn set_vhost(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, definition) = (call.vhost(), call.argument(0).to_owned());
    call.banner(&format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ..."));
    vhosts::check(call, &vhost)?;
    let limits = wanted(&definition, &OF_VHOSTS, "limits").map_err(|failure| match parsed(&definition) {
        Ok(_) => failure.after("Validation failed\n\n").and_a_line(),
        Err(_) => failure,
    })?;
    // They take the place of those there are.
    for name in OF_VHOSTS.into_iter().filter(|name| !limits.contains_key(*name)) {
        call.delete(&format!("{}/{name}", vhost_path(&vhost)))?;
    }
    set_all(call, &vhost_path(&vhost), &limits)?;
    Ok(Output::Nothing)
}

fn clear_vhost(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    call.banner(&format!("Clearing vhost \"{vhost}\" limits ..."));
    for name in OF_VHOSTS {
        call.delete(&format!("{}/{name}", vhost_path(&vhost)))?;
    }
    Ok(Output::Nothing)
}

fn list_vhost(call: &mut Call) -> Result<Output, Failure> {
    if call.line.flag("global") {
        call.banner("Listing limits for all vhosts ...");
        let found = call.get("/api/vhost-limits")?;
        return Ok(Output::Rows(all(&found, "vhost")));
    }
    let (vhost, node) = (call.vhost(), call.node());
    call.banner(&format!("Listing limits for vhost \"{vhost}\" ..."));
    vhosts::check(call, &vhost)?;
    let found = call.get(&vhost_path(&vhost))?;
    Ok(match value(&found).filter(|limits| limits != "{}") {
        Some(limits) => {
            Output::Both(limits.clone(), json!({ "result": "ok", "node": node, "value": limits }))
        }
        None if call.is_for_programs() => {
            Output::Both(String::new(), json!({ "result": "ok", "node": node, "value": "{}" }))
        }
        None => Output::Text(String::new()),
    })
}
