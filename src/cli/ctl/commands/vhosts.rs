//! Virtual hosts.

use hyper::Method;
use serde_json::{Value, json};

use super::{items, text};
use crate::cli::ctl::call::{Call, refusal};
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, MANY, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line::{self, Switch};
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;

const METADATA: &[Switch] = &[
    line::text("description"),
    line::text("tags"),
    line::text("default-queue-type"),
    line::text("protected-from-deletion"),
];

const COLUMNS: [&str; 8] = [
    "name",
    "description",
    "tags",
    "default_queue_type",
    "protected_from_deletion",
    "tracing",
    "cluster_state",
    "metadata",
];

pub const COMMANDS: &[Command] = &[
    Command::new("add_vhost", Section::Vhosts, "Makes a virtual host", add)
        .takes(
            1,
            1,
            "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type \
             <quorum|classic|stream>]",
        )
        .switches(METADATA),
    Command::new("update_vhost_metadata", Section::Vhosts, "Describes a virtual host anew", update)
        .takes(
            1,
            1,
            "<vhost> [--description=<description>] [--tags=\"<tag1>,<tag2>,<...>\"] \
             [--default-queue-type=<quorum|classic|stream>] [--protected-from-deletion=<true|false>]",
        )
        .switches(METADATA),
    Command::new("set_vhost_tags", Section::Vhosts, "Gives a virtual host tags", set_tags).takes(
        1,
        MANY,
        "<vhost> <tag> [...]",
    ),
    Command::new("delete_vhost", Section::Vhosts, "Deletes a virtual host with all that is in it", delete)
        .takes(1, 1, "<vhost>"),
    Command::new(
        "enable_vhost_deletion_protection",
        Section::Vhosts,
        "Keeps a virtual host from being deleted",
        protect,
    )
    .takes(1, 1, "<vhost>"),
    Command::new(
        "disable_vhost_deletion_protection",
        Section::Vhosts,
        "Lets a virtual host be deleted again",
        unprotect,
    )
    .takes(1, 1, "<vhost>"),
    Command::new("list_vhosts", Section::Access, "Lists virtual hosts", list).tools(CTL | DIAGNOSTICS).takes(
        0,
        MANY,
        "[--no-table-headers] [<column> ...] [--timeout <timeout>]",
    ),
    Command::new(
        "trace_on",
        Section::Vhosts,
        "Publishes all messages of a virtual host in amq.rabbitmq.trace",
        trace_on,
    )
    .takes(0, 0, "[--vhost <vhost>]"),
    Command::new("trace_off", Section::Vhosts, "Ends that", trace_off).takes(0, 0, "[--vhost <vhost>]"),
    Command::new("restart_vhost", Section::Vhosts, "Starts a virtual host that has failed", restart).takes(
        0,
        0,
        "[--vhost <vhost>] [--timeout <timeout>]",
    ),
    Command::new("reconcile_vhosts", Section::Vhosts, "Starts all virtual hosts that have failed", reconcile)
        .takes(0, 0, "[--timeout <timeout>]"),
];

pub fn path(name: &str) -> String {
    format!("/api/vhosts/{}", segment(name))
}

/// Refuses a virtual host that is not there.
pub fn check(call: &mut Call, name: &str) -> Result<Value, Failure> {
    call.find(&path(name))?.ok_or_else(|| Failure::no_vhost(name))
}

/// What the options say of a virtual host.
fn described(call: &Call) -> Result<Value, Failure> {
    let mut body = json!({});
    if let Some(kind) = call.line.text("default-queue-type") {
        if !["quorum", "stream", "classic"].contains(&kind) {
            return Err(Failure::bad_argument(&format!(
                "Default queue type must be one of: quorum, stream, classic. Provided: {kind}"
            )));
        }
        body["default_queue_type"] = kind.into();
    }
    if let Some(description) = call.line.text("description") {
        body["description"] = description.into();
    }
    if let Some(tags) = call.line.text("tags") {
        body["tags"] = tags.into();
    }
    if let Some(protected) = call.line.text("protected-from-deletion") {
        body["protected_from_deletion"] = (protected == "true").into();
    }
    Ok(body)
}

fn add(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    let body = described(call)?;
    call.banner(&format!("Adding vhost \"{name}\" ..."));
    // One that is there stays as it is.
    if call.find(&path(&name))?.is_none() {
        call.put(&path(&name), &body)?;
    }
    Ok(Output::Nothing)
}

fn update(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    let body = described(call)?;
    call.banner(&format!("Updating metadata of vhost \"{name}\" ..."));
    check(call, &name)?;
    call.put(&path(&name), &body)?;
    Ok(Output::Nothing)
}

fn set_tags(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    let tags = call.arguments[1..].to_vec();
    call.banner(&format!("Setting tags for virtual host \"{name}\" to [{}] ...", tags.join(", ")));
    if call.find(&path(&name))?.is_none() {
        return Err(Failure::new(status::DATA, format!("Virtual host \"{name}\" does not exist")));
    }
    call.put(&path(&name), &json!({ "tags": tags }))?;
    Ok(Output::Nothing)
}

fn delete(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Deleting vhost \"{name}\" ..."));
    let reply = call.send(Method::DELETE, &path(&name), None)?;
    match reply.status {
        404 => Err(Failure::no_vhost(&name)),
        412 => Err(Failure::new(
            status::DATA,
            "Cannot delete this virtual host: it is protected from deletion. To lift the protection, inspect and \
             update its metadata",
        )),
        _ if reply.is_success() => Ok(Output::Nothing),
        _ => Err(refusal(&reply)),
    }
}

fn protect(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Protecting virtual host \"{name}\" from removal by updating its metadata..."));
    set_protection(call, &name, Method::POST)
}

fn unprotect(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!(
        "Removing deletion protection from virtual host \"{name}\" by updating its metadata..."
    ));
    set_protection(call, &name, Method::DELETE)
}

fn set_protection(call: &mut Call, name: &str, method: Method) -> Result<Output, Failure> {
    check(call, name)?;
    call.ask(method, &format!("{}/deletion/protection", path(name)), None)?;
    Ok(Output::Nothing)
}

fn list(call: &mut Call) -> Result<Output, Failure> {
    let columns = super::lists::columns(call, &COLUMNS, &["name"])?;
    call.banner("Listing vhosts ...");
    let vhosts = call.get("/api/vhosts")?;
    let row = |vhost: &Value| columns.iter().map(|column| item(vhost, column)).collect();
    let rows = items(&vhosts).iter().map(row).collect();
    Ok(Output::Rows(Rows { columns: columns.clone(), rows, ..Rows::default() }))
}

fn item(vhost: &Value, column: &str) -> Term {
    match column {
        "tags" => Term::atoms(&vhost["tags"]),
        "default_queue_type" => text(vhost, column).into(),
        "cluster_state" => {
            let states = vhost["cluster_state"].as_object().into_iter().flatten();
            let states =
                states.map(|(node, state)| format!("{{{node}, {}}}", state.as_str().unwrap_or_default()));
            Term::List(states.map(Term::Atom).collect())
        }
        "metadata" => Term::Map(vec![
            ("default_queue_type".to_owned(), text(vhost, "default_queue_type").into()),
            ("description".to_owned(), text(vhost, "description").into()),
            ("tags".to_owned(), Term::atoms(&vhost["tags"])),
        ]),
        _ => Term::of(&vhost[column]),
    }
}

fn trace_on(call: &mut Call) -> Result<Output, Failure> {
    let name = call.vhost();
    call.banner(&format!("Starting tracing for vhost \"{name}\" ..."));
    trace(call, &name, true)?;
    Ok(Output::Text(format!("Trace enabled for vhost {name}")))
}

fn trace_off(call: &mut Call) -> Result<Output, Failure> {
    let name = call.vhost();
    call.banner(&format!("Stopping tracing for vhost \"{name}\" ..."));
    trace(call, &name, false)?;
    Ok(Output::Text(format!("Trace disabled for vhost {name}")))
}

fn trace(call: &mut Call, name: &str, on: bool) -> Result<(), Failure> {
    check(call, name)?;
    call.put(&path(name), &json!({ "tracing": on }))?;
    Ok(())
}

/// Virtual hosts do not fail one by one here: they run as long as the node does.
fn restart(call: &mut Call) -> Result<Output, Failure> {
    let (name, node) = (call.vhost(), call.node());
    call.banner(&format!("Trying to restart vhost '{name}' on node '{node}' ..."));
    check(call, &name)?;
    Ok(Output::Text(format!("Vhost '{name}' is already running on node '{node}'")))
}

fn reconcile(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Will try to initiate virtual host reconciliation on all reachable cluster nodes...");
    Ok(Output::Nothing)
}
