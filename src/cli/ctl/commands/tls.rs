//! TLS: versions, cipher suites, and the certificates in use.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::status::{interface, purpose};
use super::{items, text};
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{Command, DIAGNOSTICS, Needs, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::Output;
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;
use crate::net::tls;

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Configuration, about, run).tools(DIAGNOSTICS)
}

pub const COMMANDS: &[Command] = &[
    command("tls_versions", "Lists the versions of TLS that there are", versions)
        .needs(Needs::Nothing)
        .takes(0, 0, "[--timeout <timeout>]"),
    command("cipher_suites", "Lists the cipher suites that there are", suites)
        .needs(Needs::Nothing)
        .takes(0, 0, "[--format <openssl | erlang | map>] [--all] [--timeout <timeout>]")
        .switches(&[line::text("format"), line::flag("all")]),
    command("certificates", "Shows the certificates of all ports with TLS", certificates),
    Command::new(
        "check_certificate_expiration",
        Section::Health,
        "Fails if a certificate expires soon",
        check_certificates,
    )
    .tools(DIAGNOSTICS)
    .takes(0, 0, "[--within <period>] [--unit <unit>]")
    .switches(&[line::number("within"), line::text("unit")]),
];

fn versions(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Listing all TLS versions supported by the runtime...");
    let versions = ["tlsv1.3", "tlsv1.2"];
    Ok(Output::Both(versions.join("\n"), json!({ "versions": versions })))
}

/// What Erlang calls the parts of a suite, which OpenSSL has in one name.
fn parts(name: &str) -> [&'static str; 4] {
    let exchange = match name {
        name if name.starts_with("ECDHE-ECDSA-") => "ecdhe_ecdsa",
        name if name.starts_with("ECDHE-RSA-") => "ecdhe_rsa",
        _ => "any",
    };
    let cipher = match name {
        name if name.contains("CHACHA20") => "chacha20_poly1305",
        name if name.contains("256_GCM") || name.contains("256-GCM") => "aes_256_gcm",
        _ => "aes_128_gcm",
    };
    [exchange, cipher, "aead", if name.ends_with("SHA384") { "sha384" } else { "sha256" }]
}

fn suites(call: &mut Call) -> Result<Output, Failure> {
    let format = call.line.text("format").unwrap_or("openssl").to_owned();
    let named = tls::suites();
    let (shown, listed): (&str, Vec<(String, Value)>) = match format.as_str() {
        "openssl" => ("OpenSSL", named.iter().map(|name| (name.clone(), json!(name))).collect()),
        "erlang" => {
            let term = |name: &String| {
                let parts = parts(name);
                (format!("{{{}}}", parts.join(",")), json!(parts))
            };
            ("Erlang term", named.iter().map(term).collect())
        }
        "map" => {
            let map = |name: &String| {
                let [exchange, cipher, mac, prf] = parts(name);
                let shown =
                    format!("#{{cipher => {cipher},key_exchange => {exchange},mac => {mac},prf => {prf}}}");
                (shown, json!({ "cipher": cipher, "key_exchange": exchange, "mac": mac, "prf": prf }))
            };
            ("map", named.iter().map(map).collect())
        }
        _ => return Err(Failure::bad_argument("Format should be either openssl, erlang or map")),
    };
    call.banner(&format!("Listing available cipher suites in {shown} format"));
    let (lines, values): (Vec<_>, Vec<_>) = listed.into_iter().unzip();
    let text = match format.as_str() {
        "openssl" => lines.join("\n"),
        _ => format!("[\n{}\n]", lines.join("\n,")),
    };
    Ok(Output::Both(text, values.into()))
}

/// A port with TLS, with the files in place of their names.
fn certified(node: &str, listener: &Value) -> Result<Value, Failure> {
    let protocol = text(listener, "protocol");
    let mut about = Map::new();
    about.insert("node".to_owned(), node.into());
    about.insert("port".to_owned(), listener["port"].clone());
    about.insert("protocol".to_owned(), protocol.into());
    about.insert("interface".to_owned(), interface(text(listener, "interface")).into());
    for name in ["cacertfile", "certfile"] {
        let content = match listener["certificates"][name].as_str() {
            None => Value::Null,
            Some(file) => {
                let read = std::fs::read(file);
                let read =
                    read.map_err(|e| Failure::new(status::DATA, format!("{file} cannot be read: {e}")))?;
                String::from_utf8_lossy(&read).into()
            }
        };
        about.insert(name.to_owned(), content);
    }
    about.insert("purpose".to_owned(), purpose(protocol).into());
    Ok(about.into())
}

fn certificates(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    call.banner(&format!("Certificates of node {node} ..."));
    let about = call.get("/ctl/status")?;
    let with_tls = items(&about["listeners"]).iter().filter(|listener| listener["tls"] == true);
    let listed: Vec<_> = with_tls.map(|listener| certified(&node, listener)).collect::<Result<_, _>>()?;
    if listed.is_empty() {
        return Ok(Output::Both("#{}".to_owned(), json!([])));
    }
    let mut out = String::new();
    for (n, listener) in listed.iter().enumerate() {
        let [node, protocol] = ["node", "protocol"].map(|name| Term::atom(text(listener, name)).erlang());
        let start = if n == 0 { "[" } else { ",\n " };
        // Writing to a text does not fail.
        let _ = write!(out, "{start}#{{node => {node},port => {},protocol => {protocol}", listener["port"]);
        for name in ["interface", "cacertfile", "certfile", "purpose"] {
            let shown = match listener[name].as_str() {
                Some(text) => Term::from(text).erlang().replace('\n', "\\n"),
                None => "undefined".to_owned(),
            };
            let _ = write!(out, ",\n   {name} => {shown}");
        }
        out.push('}');
    }
    Ok(Output::Both(out + "]", listed.into()))
}

/// A listener as Elixir writes it.
fn as_map(listener: &Value) -> String {
    let times = |name: &str| Term::of(&listener[name]).elixir();
    let [protocol, address, authority, own] =
        ["protocol", "interface", "cacertfile", "certfile"].map(|name| text(listener, name));
    format!(
        "%{{node: :{}, port: {}, protocol: :{protocol:?}, interface: {:?}, cacertfile: {authority:?}, certfile: \
         {own:?}, certfile_expires_on: {}, cacertfile_expires_on: {}, purpose: {:?}}}",
        text(listener, "node"),
        listener["port"],
        interface(address),
        times("certfile_expires_on"),
        times("cacertfile_expires_on"),
        purpose(protocol),
    )
}

fn check_certificates(call: &mut Call) -> Result<Output, Failure> {
    let within = call.line.number("within").unwrap_or(4);
    let unit = call.line.text("unit").unwrap_or("weeks").to_owned();
    if !["days", "weeks", "months", "years"].contains(&unit.to_lowercase().as_str()) {
        return Err(Failure::misused(format!(
            "\"unit '{unit}' is not supported. Please use one of: days, weeks, months, years\""
        )));
    }
    call.banner(&format!("Checking certificate expiration for all certificates on node {} ...", call.node()));
    let path = format!("/api/health/checks/certificate-expiration/{within}/{}", segment(&unit));
    let reply = call.send(hyper::Method::GET, &path, None)?;
    if reply.is_success() {
        let unit = if within == 1 { unit.trim_end_matches('s') } else { &unit };
        let text = format!("No certificates are expiring within {within} {unit}.");
        return Ok(Output::Both(text, json!({ "result": "ok" })));
    }
    let expired = &reply.json()["expired"];
    if expired.is_null() {
        return Err(Failure::refused(reply.reason()));
    }
    let lines: Vec<_> = items(expired).iter().map(as_map).collect();
    let value = json!({ "result": "error", "expired": expired });
    Err(Failure::bare(status::UNAVAILABLE, lines.join("\n")).or_value(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_taken_apart() {
        for (name, wanted) in [
            ("TLS_AES_256_GCM_SHA384", ["any", "aes_256_gcm", "aead", "sha384"]),
            ("TLS_CHACHA20_POLY1305_SHA256", ["any", "chacha20_poly1305", "aead", "sha256"]),
            ("ECDHE-ECDSA-AES128-GCM-SHA256", ["ecdhe_ecdsa", "aes_128_gcm", "aead", "sha256"]),
            ("ECDHE-RSA-AES256-GCM-SHA384", ["ecdhe_rsa", "aes_256_gcm", "aead", "sha384"]),
            ("ECDHE-RSA-CHACHA20-POLY1305", ["ecdhe_rsa", "chacha20_poly1305", "aead", "sha256"]),
        ] {
            assert_eq!(parts(name), wanted);
        }
        assert_eq!(tls::suites().len(), 9);
    }

    #[test]
    fn an_expired_certificate_as_rabbitmq_tells_it() {
        let listener = json!({
            "node": "peer@localhost", "port": 5684, "protocol": "amqp/ssl", "interface": "127.0.0.1",
            "cacertfile": "/run/ca.pem", "certfile": "/run/cert.pem",
            "certfile_expires_on": ["2027-11-29 14:39:50"], "cacertfile_expires_on": [],
        });
        let wanted = "%{node: :peer@localhost, port: 5684, protocol: :\"amqp/ssl\", interface: \"127.0.0.1\", \
                      cacertfile: \"/run/ca.pem\", certfile: \"/run/cert.pem\", certfile_expires_on: [\"2027-11-29 \
                      14:39:50\"], cacertfile_expires_on: [], purpose: \"AMQP 0-9-1 over TLS\"}";
        assert_eq!(as_map(&listener), wanted);
    }
}
