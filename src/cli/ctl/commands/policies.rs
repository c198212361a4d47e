//! Policies, those of operators included.

use fancy_regex::Regex;
use serde_json::{Value, json};

use super::replicas::nothing;
use super::{items, parsed, text, vhosts};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, QUEUES, Section};
use crate::cli::ctl::failure::Failure;
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
    Command::new(
        "list_policies_with_classic_queue_mirroring",
        Section::Policies,
        "Lists policies that mirror classic queues: none can",
        mirroring,
    )
    .tools(DIAGNOSTICS | QUEUES)
    .takes(0, 0, "[--timeout <timeout>]"),
    Command::new(
        "list_operator_policies_with_classic_queue_mirroring",
        Section::Policies,
        "Lists operators' policies that mirror classic queues: none can",
        mirroring,
    )
    .tools(DIAGNOSTICS | QUEUES)
    .takes(0, 0, "[--timeout <timeout>]"),
    Command::new(
        "remove_classic_queue_mirroring_from_policies",
        Section::Operations,
        "Does nothing: no policy mirrors classic queues",
        remove_mirroring,
    )
    .takes(0, 0, "[--timeout <timeout>]"),
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

/// Whether policies for these things are for one of this kind and, where it is a queue, of this type.
fn applies(apply_to: &str, kind: &str, of: &str) -> bool {
    match apply_to {
        "all" => true,
        "exchanges" => kind == "exchange",
        "queues" => kind == "queue",
        "classic_queues" => kind == "queue" && of == "classic",
        "quorum_queues" => kind == "queue" && of == "quorum",
        "streams" => kind == "queue" && of == "stream",
        _ => false,
    }
}

/// All policies that would do for a queue or an exchange; the first one holds.
fn matching(call: &mut Call) -> Result<Output, Failure> {
    let (vhost, name) = (call.vhost(), call.argument(0).to_owned());
    let kind = call.line.text("object-type").unwrap_or("queue").to_owned();
    let path = match kind.as_str() {
        "queue" => "queues",
        "exchange" => "exchanges",
        _ => return Err(Failure::bad_argument("the type of an object is queue or exchange")),
    };
    call.banner(&format!("Listing policies that match {kind} '{name}' in vhost '{vhost}' ..."));
    let found = call.find(&format!("/api/{path}/{}/{}", segment(&vhost), segment(&name)))?;
    let found = found.ok_or_else(nothing)?;
    let all = call.get(&USERS.of_vhost(&vhost))?;
    let fits = |policy: &&Value| {
        applies(text(policy, "apply-to"), &kind, text(&found, "type"))
            && Regex::new(text(policy, "pattern")).is_ok_and(|regex| regex.is_match(&name).unwrap_or(false))
    };
    let mut fitting: Vec<_> = items(&all).iter().filter(fits).collect();
    fitting.sort_by_key(|policy| std::cmp::Reverse(policy["priority"].as_i64()));
    if call.is_json() {
        let value = json!({ "result": "ok", "policies": fitting });
        return Ok(Output::Both(String::new(), value));
    }
    if fitting.is_empty() {
        let rows = Rows::new(&["Output"], vec![vec![Term::atom("[]")]]);
        return Ok(Output::Rows(Rows { in_box: true, ..rows }));
    }
    let rows = fitting.into_iter().map(|policy| {
        let mut row = row(policy);
        row[4] = Term::pairs(&policy["definition"]);
        row
    });
    Ok(Output::Rows(Rows { in_box: true, ..Rows::new(&COLUMNS, rows.collect()) }))
}

/// No policy mirrors classic queues here: what is about that is left out when it comes.
fn mirroring(call: &mut Call) -> Result<Output, Failure> {
    let of_operators = call.line.words.first().is_some_and(|name| name.contains("operator"));
    let whose = if of_operators { "operator policies" } else { "policies" };
    call.banner(&format!("Listing {whose} with classic queue mirroring ..."));
    Ok(Output::Rows(Rows::default()))
}

fn remove_mirroring(call: &mut Call) -> Result<Output, Failure> {
    call.banner(
        "Will remove keys that enable classic queue mirroring from all regular and operator policies",
    );
    Ok(Output::Remark("There are none: no policy mirrors classic queues".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_policies_are_for() {
        for (apply_to, kind, of, wanted) in [
            ("all", "exchange", "topic", true),
            ("queues", "queue", "stream", true),
            ("queues", "exchange", "topic", false),
            ("exchanges", "exchange", "stream", true),
            ("classic_queues", "queue", "classic", true),
            ("classic_queues", "queue", "quorum", false),
            ("streams", "queue", "stream", true),
            ("streams", "exchange", "stream", false),
        ] {
            assert_eq!(applies(apply_to, kind, of), wanted, "{apply_to} {kind} {of}");
        }
    }
}
