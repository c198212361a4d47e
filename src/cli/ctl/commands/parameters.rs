//! Runtime parameters, and what is one: the name of the cluster.

use serde_json::{Value, json};

use super::{items, parsed, text, vhosts};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::http::segment;

pub const COMMANDS: &[Command] = &[
    Command::new("set_parameter", Section::Parameters, "Sets a parameter of a virtual host", set).takes(
        3,
        3,
        "[--vhost <vhost>] <component_name> <name> <value>",
    ),
    Command::new("clear_parameter", Section::Parameters, "Clears a parameter of a virtual host", clear)
        .takes(2, 2, "[--vhost <vhost>] <component_name> <name>"),
    Command::new("list_parameters", Section::Parameters, "Lists parameters of a virtual host", list)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]"),
    Command::new("set_global_parameter", Section::Parameters, "Sets a parameter of the node", set_global)
        .takes(2, 2, "<name> <value>"),
    Command::new(
        "clear_global_parameter",
        Section::Parameters,
        "Clears a parameter of the node",
        clear_global,
    )
    .takes(1, 1, "<name>"),
    Command::new("list_global_parameters", Section::Parameters, "Lists parameters of the node", list_global)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--no-table-headers] [--timeout <timeout>]"),
    Command::new(
        "set_cluster_name",
        Section::Configuration,
        "Names the cluster, for people",
        set_cluster_name,
    )
    .takes(1, 1, "<name>"),
];

fn path(component: &str, vhost: &str, name: &str) -> String {
    format!("/api/parameters/{}/{}/{}", segment(component), segment(vhost), segment(name))
}

fn global_path(name: &str) -> String {
    format!("/api/global-parameters/{}", segment(name))
}

fn set(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let [component, name, value] = [0, 1, 2].map(|n| call.argument(n).to_owned());
    call.banner(&format!(
        "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
    ));
    vhosts::check(call, &vhost)?;
    let body = json!({ "component": component, "vhost": vhost, "name": name, "value": parsed(&value)? });
    call.put(&path(&component, &vhost, &name), &body)?;
    Ok(Output::Nothing)
}

fn clear(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    let [component, name] = [0, 1].map(|n| call.argument(n).to_owned());
    call.banner(&format!(
        "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
    ));
    vhosts::check(call, &vhost)?;
    if call.delete(&path(&component, &vhost, &name))? {
        return Ok(Output::Nothing);
    }
    Err(Failure::refused("Parameter does not exist"))
}

fn list(call: &mut Call) -> Result<Output, Failure> {
    let vhost = call.vhost();
    call.banner(&format!("Listing runtime parameters for vhost \"{vhost}\" ..."));
    vhosts::check(call, &vhost)?;
    let found = call.get("/api/parameters")?;
    let policies = ["policy", "operator_policy", "vhost-limits"];
    let here = items(&found).iter().filter(|parameter| {
        text(parameter, "vhost") == vhost && !policies.contains(&text(parameter, "component"))
    });
    let row = |parameter: &Value| {
        let value = parameter["value"].to_string();
        vec![text(parameter, "component").into(), text(parameter, "name").into(), value.into()]
    };
    Ok(Output::Rows(Rows::new(&["component", "name", "value"], here.map(row).collect())))
}

fn set_global(call: &mut Call) -> Result<Output, Failure> {
    let [name, value] = [0, 1].map(|n| call.argument(n).to_owned());
    call.banner(&format!("Setting global runtime parameter \"{name}\" to \"{value}\" ..."));
    let body = json!({ "name": name, "value": parsed(&value)? });
    call.put(&global_path(&name), &body)?;
    Ok(Output::Nothing)
}

fn clear_global(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Clearing global runtime parameter \"{name}\" ..."));
    if call.delete(&global_path(&name))? {
        return Ok(Output::Nothing);
    }
    Err(Failure::refused("Parameter does not exist"))
}

fn list_global(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Listing global runtime parameters ...");
    let found = call.get("/api/global-parameters")?;
    let row = |parameter: &Value| vec![text(parameter, "name").into(), parameter["value"].to_string().into()];
    Ok(Output::Rows(Rows::new(&["name", "value"], items(&found).iter().map(row).collect())))
}

fn set_cluster_name(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Setting cluster name to {name} ..."));
    call.put("/api/cluster-name", &json!({ "name": name }))?;
    Ok(Output::Nothing)
}
