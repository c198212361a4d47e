//! Policies, those of operators included.

use hyper::Method;
use serde_json::{Value, json};

use super::{items, parsed, text, vhosts};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line::{self, Switch};
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;

const SWITCHES: &[Switch] = &[line::number("priority"), line::text("apply-to")];
const SET: &str =
    "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>";
const LIST: &str = "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]";
const COLUMNS: [&str; 6] = ["vhost", "name", "pattern", "apply-to", "definition", "priority"];

pub const COMMANDS: &[Command] = &[
    Command::new("set_policy", Section::Policies, "Makes a policy, or changes one", set)
        .takes(3, 3, SET)
        .switches(SWITCHES),
    Command::new("clear_policy", Section::Policies, "Removes a policy", clear).takes(
        1,
        1,
        "[--vhost <vhost>] <name>",
    ),
    Command::new("list_policies", Section::Policies, "Lists policies of a virtual host", list)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, LIST),
    Command::new(
        "set_operator_policy",
        Section::Policies,
        "Makes an operator's policy, or changes one",
        set_operator,
    )
    .takes(3, 3, SET)
    .switches(SWITCHES),
    Command::new("clear_operator_policy", Section::Policies, "Removes an operator's policy", clear_operator)
        .takes(1, 1, "[--vhost <vhost>] <name>"),
    Command::new(
        "list_operator_policies",
        Section::Policies,
        "Lists operators' policies of a virtual host",
        list_operator,
    )
    .tools(CTL | DIAGNOSTICS)
    .takes(0, 0, LIST),
    Command::new("list_policies_that_match", Section::Policies, "Lists policies that match a name", matching)
        .tools(DIAGNOSTICS)
        .takes(1, 1, "[--object-type <type>] <name>")
        .switches(&[line::text("object-type")]),
];

/// The two kinds of policies: their place in the API, and what they are called.
struct Kind {
    path: &'static str,
    name: &'static str,
    /// Where they are set and listed.
    override_name: &'static str,
    plural: &'static str,
}

const USERS: Kind = Kind { path: "policies", name: "policy", override_name: "policy", plural: "policies" };
const OPERATORS: Kind = Kind {
    path: "operator-policies",
    name: "operator policy",
    override_name: "operator policy override",
    plural: "operator policy overrides",
};

impl Kind {
    fn of_vhost(&self, vhost: &str) -> String {
        format!("/api/{}/{}", self.path, segment(vhost))
    }

    fn set(&self, call: &mut Call) -> Result<Output, Failure> {
        let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
        let priority = call.line.number("priority").unwrap_or(0);
        let (pattern, definition) = (call.argument(1).to_owned(), call.argument(2).to_owned());
        call.banner(&format!(
            "Setting {} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for \
             vhost \"{vhost}\" ...",
            self.override_name
        ));
        vhosts::check(call, &vhost)?;
        let apply_to = call.line.text("apply-to").unwrap_or("all");
        let body = json!({
            "pattern": pattern,
            "definition": parsed(&definition)?,
            "priority": priority,
            "apply-to": apply_to,
        });
        call.put(&format!("{}/{}", self.of_vhost(&vhost), segment(&name)), &body)?;
        Ok(Output::Nothing)
    }

    fn clear(&self, call: &mut Call) -> Result<Output, Failure> {
        let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
        call.banner(&format!("Clearing {} \"{name}\" on vhost \"{vhost}\" ...", self.name));
        vhosts::check(call, &vhost)?;
        if call.delete(&format!("{}/{}", self.of_vhost(&vhost), segment(&name)))? {
            return Ok(Output::Nothing);
        }
        Err(Failure::refused("Parameter does not exist"))
    }

    fn list(&self, call: &mut Call) -> Result<Output, Failure> {
        let vhost = call.vhost();
        call.banner(&format!("Listing {} for vhost \"{vhost}\" ...", self.plural));
        vhosts::check(call, &vhost)?;
        let found = call.get(&self.of_vhost(&vhost))?;
        Ok(Output::Rows(Rows::new(&COLUMNS, items(&found).iter().map(row).collect())))
    }
}

fn row(policy: &Value) -> Vec<Term> {
    let column = |name: &&str| match *name {
        "definition" => policy["definition"].to_string().into(),
        "priority" => Term::of(&policy["priority"]),
        name => text(policy, name).into(),
    };
    COLUMNS.iter().map(column).collect()
}

fn set(call: &mut Call) -> Result<Output, Failure> {
    USERS.set(call)
}

fn clear(call: &mut Call) -> Result<Output, Failure> {
    USERS.clear(call)
}

fn list(call: &mut Call) -> Result<Output, Failure> {
    USERS.list(call)
}

fn set_operator(call: &mut Call) -> Result<Output, Failure> {
    OPERATORS.set(call)
}

fn clear_operator(call: &mut Call) -> Result<Output, Failure> {
    OPERATORS.clear(call)
}

fn list_operator(call: &mut Call) -> Result<Output, Failure> {
    OPERATORS.list(call)
}

/// The policy that holds for a queue or an exchange.
fn matching(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    let kind = call.line.text("object-type").unwrap_or("queue").to_owned();
    call.banner(&format!("Listing policies that match {kind} '{name}' in vhost '{vhost}' ..."));
    let path = if kind == "exchange" { "exchanges" } else { "queues" };
    let reply =
        call.send(Method::GET, &format!("/api/{path}/{}/{}", segment(&vhost), segment(&name)), None)?;
    if !reply.is_success() {
        return Err(Failure::bare(status::DATA, "Object (queue, stream, exchange, etc) was not found"));
    }
    let effective = text(&reply.json(), "policy").to_owned();
    let found = call.get(&USERS.of_vhost(&vhost))?;
    let holds = items(&found).iter().filter(|policy| text(policy, "name") == effective);
    let rows = holds.map(|policy| {
        let mut row = row(policy);
        row[4] = Term::pairs(&policy["definition"]);
        row
    });
    Ok(Output::Rows(Rows { in_box: true, ..Rows::new(&COLUMNS, rows.collect()) }))
}
