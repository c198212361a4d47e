//! The API's description says what there is, and what there is comes as described.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::amqp::Client;
use crate::broker::{Broker, start};
use crate::http::Request;
use crate::{ask, get, permit, put_user, status};

async fn document(broker: &Broker) -> Value {
    let reply = Request::new("GET", "/api/openapi.json").authorization(None).send(broker.http).await;
    assert_eq!(reply.status, 200);
    reply.body
}

/// The methods of each path, as the description has them.
fn described(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let methods = |item: &Value| {
        let methods = item.as_object().expect("an object").keys().filter(|key| *key != "parameters");
        methods.map(|method| method.to_uppercase()).collect()
    };
    paths.map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// Paths of the API that the sources name.
fn routed() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let (mut found, mut paths) = (BTreeSet::new(), vec![folder]);
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("a folder");
            paths.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        // Beside the sources there are the pages for people.
        let is_source = path.extension().is_some_and(|end| end == "rs");
        let text = if is_source { std::fs::read_to_string(&path).expect("UTF-8") } else { String::new() };
        // A path is the first thing in a call of `route`, on its line or on the next one.
        for call in text.split(".route(").skip(1) {
            let path = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            found.extend(path.filter(|path| path.starts_with("/api/")).map(str::to_owned));
        }
    }
    found
}

#[tokio::test]
async fn the_description_and_the_router_say_the_same() {
    let broker = start().await;
    let described = described(&document(&broker).await);
    let paths: BTreeSet<_> = described.keys().cloned().collect();
    let routed = routed();
    assert!(routed.len() > 90, "only {} routes found", routed.len());
    assert_eq!(routed.difference(&paths).collect::<Vec<_>>(), Vec::<&String>::new(), "not described");
    assert_eq!(paths.difference(&routed).collect::<Vec<_>>(), Vec::<&String>::new(), "not there");
    for (path, methods) in described {
        let reply = Request::new("OPTIONS", &path.replace(['{', '}'], "")).send(broker.http).await;
        let allowed = reply.header("allow").expect("methods").split(", ");
        let allowed: BTreeSet<_> =
            allowed.filter(|method| !["HEAD", "OPTIONS"].contains(method)).map(str::to_owned).collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

/// What is wrong with a value, by a schema (the keywords that ours use).
fn wrong(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next()) {
        return wrong(document, &document["components"]["schemas"][name], value, at);
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(schemas) = schema[choice].as_array() {
            let fits = schemas.iter().any(|schema| wrong(document, schema, value, at).is_empty());
            return if fits { Vec::new() } else { vec![format!("{at}: none of {choice} for {value}")] };
        }
    }
    let is_right = match schema["type"].as_str() {
        None => true,
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("null") => value.is_null(),
        Some(other) => panic!("{at}: type {other}"),
    };
    if !is_right {
        return vec![format!("{at}: {value} is no {}", schema["type"])];
    }
    let mut found = Vec::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{at}: no {name}"));
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(
            value
                .get(name)
                .into_iter()
                .flat_map(|value| wrong(document, inner, value, &format!("{at}.{name}"))),
        );
    }
    for (n, value) in value.as_array().into_iter().flatten().enumerate() {
        if schema.get("items").is_some() {
            found.extend(wrong(document, &schema["items"], value, &format!("{at}[{n}]")));
        }
    }
    found
}

/// A broker with one of everything.
async fn furnished() -> (Broker, Client) {
    let broker = start().await;
    put_user(&broker, "u", "management").await;
    permit(&broker, "%2F", "u", ".*").await;
    let topic = json!({ "exchange": "amq.topic", "write": "", "read": "" });
    for (method, path, body) in [
        ("PUT", "queues/%2F/q", json!({ "durable": true, "arguments": { "x-max-length": 9 } })),
        ("PUT", "queues/%2F/qq", json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } })),
        ("PUT", "queues/%2F/s", json!({ "durable": true, "arguments": { "x-queue-type": "stream" } })),
        ("PUT", "exchanges/%2F/x", json!({ "type": "topic" })),
        ("POST", "bindings/%2F/e/x/q/q", json!({ "routing_key": "#" })),
        ("PUT", "policies/%2F/p", json!({ "pattern": "q", "definition": { "max-length": 5 } })),
        ("PUT", "operator-policies/%2F/o", json!({ "pattern": "q", "definition": { "max-length": 5 } })),
        ("PUT", "topic-permissions/%2F/u", topic),
        ("PUT", "vhost-limits/%2F/max-queues", json!({ "value": 50 })),
        ("PUT", "user-limits/u/max-channels", json!({ "value": 50 })),
    ] {
        let status = status(&broker, method, &format!("/api/{path}"), body).await;
        assert!([201, 204].contains(&status), "{path}: {status}");
    }
    let client = Client::open(broker.amqp, "guest", "guest", "/").await;
    (broker, client)
}

#[tokio::test]
async fn what_comes_is_as_described() {
    let (broker, mut client) = furnished().await;
    let document = document(&broker).await;
    client.open_channel().await;
    let connection = client.name().replace(' ', "%20").replace('>', "%3E");
    let channel = format!("{connection}%20(1)");
    let paths = document["paths"].as_object().expect("paths");
    let names = |path: &str| {
        let destination = if path.contains("/e/{exchange}") { "q" } else { "x" };
        [
            ("{vhost}", "%2F"),
            (
                "{queue}",
                if path.contains("/quorum/") {
                    "qq"
                } else if path.contains("/stream/") {
                    "s"
                } else {
                    "q"
                },
            ),
            ("{connection}", "nobody"),
            ("{exchange}", "x"),
            ("{user}", if path.contains("/connections/") { "guest" } else { "u" }),
            ("{node}", "rabbit@localhost"),
            ("{kind}", "q"),
            ("{destination}", destination),
            ("{key}", "%23"),
            ("{end}", "source"),
            ("{component}", "operator_policy"),
            ("{name}", if path.contains("/connections/") { &connection } else { "p" }),
            ("{channel}", &channel),
            ("{port}", "1"),
            ("{within}", "1"),
            ("{unit}", "days"),
            ("{filter}", "f"),
            ("{protocols}", "mqtt"),
            ("{pattern}", "p"),
            ("{password}", "pw"),
            ("{id}", "1"),
        ]
        .into_iter()
        .fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
    };
    let mut seen = 0;
    for (path, item) in paths.iter().filter(|(_, item)| item.get("get").is_some()) {
        let mut real = names(path);
        for (of, other) in [
            ("operator-policies/%2F/p", "o"),
            ("operator_policy/%2F/p", "o"),
            ("global-parameters/p", "cluster_tags"),
        ] {
            if real.ends_with(of) {
                real = format!("{}{other}", real.trim_end_matches('p'));
            }
        }
        let reply = ask(&broker, "GET", &real, Value::Null).await;
        let answer = &item["get"]["responses"][reply.status.to_string()];
        assert!(!answer.is_null(), "{path}: {} is not described", reply.status);
        // Nothing is delayed here, and nobody speaks the stream protocol.
        let may_miss = ["/delayed", "{connection}", "/sessions"].iter().any(|part| path.contains(part));
        assert!([200, 503].contains(&reply.status) || may_miss, "{real}: {reply:?}");
        let schema = &answer["content"]["application/json"]["schema"];
        assert_eq!(wrong(&document, schema, &reply.body, path), Vec::<String>::new());
        seen += 1;
        if item["get"]["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "page"))
        {
            let page = get(&broker, &format!("{real}?page=1")).await;
            assert!(page["items"].is_array(), "{path}");
            assert_eq!(wrong(&document, schema, &page, path), Vec::<String>::new());
        }
    }
    assert!(seen > 70, "only {seen}");
}

#[tokio::test]
async fn messages_are_as_described() {
    let (broker, _client) = furnished().await;
    let document = document(&broker).await;
    let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let message =
        json!({ "properties": {}, "routing_key": "q", "payload": "p", "payload_encoding": "string" });
    assert_eq!(wrong(&document, &schema("Publication"), &message, "message"), Vec::<String>::new());
    let routed = ask(&broker, "POST", "/api/exchanges/%2F/amq.default/publish", message).await;
    assert_eq!(wrong(&document, &schema("Routed"), &routed.body, "routed"), Vec::<String>::new());
    let fetch = json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "auto" });
    let got = ask(&broker, "POST", "/api/queues/%2F/q/get", fetch).await;
    assert_eq!(got.body.as_array().map(Vec::len), Some(1));
    assert_eq!(wrong(&document, &schema("Message"), &got.body[0], "message"), Vec::<String>::new());
    let refused = ask(&broker, "POST", "/api/queues/%2F/q/get", json!({})).await;
    assert_eq!(wrong(&document, &schema("Error"), &refused.body, "error"), Vec::<String>::new());
}

#[test]
fn what_is_wrong_is_found() {
    let document = json!({ "components": { "schemas": { "A": {
        "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" }, "l": { "type": "array", "items": { "type": "string" } } },
    } } } });
    let schema = json!({ "$ref": "#/components/schemas/A" });
    for (value, count) in [
        (json!({ "a": 1, "b": 2, "l": ["x"] }), 0),
        (json!({ "a": 1.5 }), 1),
        (json!({ "l": [1, "x", null] }), 3),
        (json!([]), 1),
    ] {
        assert_eq!(wrong(&document, &schema, &value, "it").len(), count, "{value}");
    }
}

#[tokio::test]
async fn the_page_for_people() {
    let broker = start().await;
    let page = Request::new("GET", "/api/index.html").authorization(None).send(broker.http).await;
    let text = page.body.as_str().expect("a text");
    assert!(page.status == 200 && text.contains("<code>/api/queues/{vhost}/{queue}</code>"));
}
