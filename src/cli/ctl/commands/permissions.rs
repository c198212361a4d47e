//! Permissions, those for topics included.

use hyper::Method;
use serde_json::{Value, json};

use super::vhosts::check;
use super::{items, text, users, vhosts};
use crate::cli::ctl::call::{Call, refusal};
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::http::segment;

pub const COMMANDS: &[Command] = &[
    Command::new("set_permissions", Section::Access, "Says what a user may do in a virtual host", set).takes(
        4,
        4,
        "[--vhost <vhost>] <username> <conf> <write> <read>",
    ),
    Command::new("set_permissions_globally", Section::Access, "The same in all virtual hosts", set_globally)
        .takes(4, 4, "<username> <conf> <write> <read>"),
    Command::new("clear_permissions", Section::Access, "Takes a user's permissions away", clear).takes(
        1,
        1,
        "[--vhost <vhost>] <username>",
    ),
    Command::new("list_permissions", Section::Access, "Lists permissions in a virtual host", list)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]"),
    Command::new("list_user_permissions", Section::Access, "Lists a user's permissions", list_of_user)
        .tools(CTL | DIAGNOSTICS)
        .takes(1, 1, "[--no-table-headers] <username> [--timeout <timeout>]"),
    Command::new("set_topic_permissions", Section::Access, "Says which topics a user may use", set_topic)
        .takes(4, 4, "[--vhost <vhost>] <username> <exchange> <write> <read>"),
    Command::new(
        "clear_topic_permissions",
        Section::Access,
        "Takes permissions for topics away",
        clear_topic,
    )
    .takes(1, 2, "[--vhost <vhost>] <username> [<exchange>]"),
    Command::new("list_topic_permissions", Section::Access, "Lists permissions for topics", list_topics)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]"),
    Command::new(
        "list_user_topic_permissions",
        Section::Access,
        "Lists a user's permissions for topics",
        list_topics_of_user,
    )
    .tools(CTL | DIAGNOSTICS)
    .takes(1, 1, "[--no-table-headers] <username> [--timeout <timeout>]"),
];

fn path(vhost: &str, user: &str) -> String {
    format!("/api/permissions/{}/{}", segment(vhost), segment(user))
}

fn topic_path(vhost: &str, user: &str) -> String {
    format!("/api/topic-permissions/{}/{}", segment(vhost), segment(user))
}

/// Refuses a user or a virtual host that is not there.
fn check_both(call: &mut Call, user: &str, vhost: &str) -> Result<(), Failure> {
    if call.find(&users::path(user))?.is_none() {
        return Err(Failure::new(status::NO_USER, format!("User {user} does not exist")));
    }
    if call.find(&vhosts::path(vhost))?.is_none() {
        return Err(Failure::refused(format!("Virtual host {vhost} does not exist")));
    }
    Ok(())
}

fn patterns(call: &Call) -> Value {
    json!({ "configure": call.argument(1), "write": call.argument(2), "read": call.argument(3) })
}

fn set(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, user) = (call.vhost(), call.argument(0).to_owned());
    call.banner(&format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ..."));
    check_both(call, &user, &vhost)?;
    let patterns = patterns(call);
    call.put(&path(&vhost, &user), &patterns)?;
    Ok(Output::Nothing)
}

fn set_globally(call: &mut Call) -> Result<Output, Failure> {
    let user = call.argument(0).to_owned();
    call.banner(&format!("Setting permissions for user \"{user}\" in all virtual hosts ..."));
    let patterns = patterns(call);
    let vhosts = call.get("/api/vhosts")?;
    for vhost in items(&vhosts) {
        check_both(call, &user, text(vhost, "name"))?;
        call.put(&path(text(vhost, "name"), &user), &patterns)?;
    }
    Ok(Output::Nothing)
}

fn clear(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, user) = (call.vhost(), call.argument(0).to_owned());
    call.banner(&format!("Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ..."));
    // Who has none has none.
    let reply = call.send(Method::DELETE, &path(&vhost, &user), None)?;
    if reply.is_success() || matches!(reply.status, 400 | 404) {
        Ok(Output::Nothing)
    } else {
        Err(refusal(&reply))
    }
}

fn rows(found: &Value, columns: &[&str]) -> Rows {
    let row = |item: &Value| columns.iter().map(|column| text(item, column).into()).collect();
    Rows::new(columns, items(found).iter().map(row).collect())
}

fn list(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    call.banner(&format!("Listing permissions for vhost \"{vhost}\" ..."));
    check(call, &vhost)?;
    let found = call.get(&format!("{}/permissions", vhosts::path(&vhost)))?;
    Ok(Output::Rows(rows(&found, &["user", "configure", "write", "read"])))
}

fn of_user(call: &mut Call, what: &str) -> Result<Value, Failure> {
    let user = call.argument(0).to_owned();
    call.banner(&format!("Listing {} for user \"{user}\" ...", what.replace('-', " ")));
    let found = call.find(&format!("{}/{what}", users::path(&user)))?;
    found.ok_or_else(|| Failure::refused(format!("{{:no_such_user, \"{user}\"}}")))
}

fn list_of_user(call: &mut Call) -> Result<Output, Failure> {
    Ok(Output::Rows(rows(&of_user(call, "permissions")?, &["vhost", "configure", "write", "read"])))
}

fn set_topic(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, user) = (call.vhost(), call.argument(0).to_owned());
    let exchange = call.argument(1).to_owned();
    call.banner(&format!(
        "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
    ));
    check_both(call, &user, &vhost)?;
    let body = json!({ "exchange": exchange, "write": call.argument(2), "read": call.argument(3) });
    call.put(&topic_path(&vhost, &user), &body)?;
    Ok(Output::Nothing)
}

fn clear_topic(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, user) = (call.vhost(), call.argument(0).to_owned());
    let (on, path) = match call.arguments.get(1) {
        Some(exchange) => {
            (format!(" on \"{exchange}\""), format!("{}/{}", topic_path(&vhost, &user), segment(exchange)))
        }
        None => (String::new(), topic_path(&vhost, &user)),
    };
    call.banner(&format!("Clearing topic permissions{on} for user \"{user}\" in vhost \"{vhost}\" ..."));
    let reply = call.send(Method::DELETE, &path, None)?;
    if reply.is_success() || matches!(reply.status, 400 | 404) {
        Ok(Output::Nothing)
    } else {
        Err(refusal(&reply))
    }
}

fn list_topics(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    call.banner(&format!("Listing topic permissions for vhost \"{vhost}\" ..."));
    check(call, &vhost)?;
    let found = call.get(&format!("{}/topic-permissions", vhosts::path(&vhost)))?;
    Ok(Output::Rows(rows(&found, &["user", "exchange", "write", "read"])))
}

fn list_topics_of_user(call: &mut Call) -> Result<Output, Failure> {
    let found = of_user(call, "topic-permissions")?;
    let rows = rows(&found, &["vhost", "exchange", "write", "read"]);
    Ok(Output::Rows(Rows { headless: true, ..rows }))
}
