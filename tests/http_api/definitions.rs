//! Definitions: exported, imported, refused. `rabbitmq_definitions.json` was exported by RabbitMQ 4.3.6.

use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::http::{Reply, Request};
use crate::{ask, error, get, get_as, put_user, status};

const EXPORTED: &str = include_str!("rabbitmq_definitions.json");
const CATEGORIES: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "exchanges",
    "queues",
    "bindings",
];

async fn import_to(broker: &Broker, path: &str, file: &Value) -> Reply {
    let request = Request::new("POST", path).header("Content-Type", "application/json");
    request.body(file.to_string()).send(broker.http).await
}

async fn import(broker: &Broker, file: &Value) -> Reply {
    import_to(broker, "/api/definitions", file).await
}

/// The objects of each category in an order of their own.
fn sorted(file: &Value) -> Vec<(&'static str, Vec<String>)> {
    let list = |category| {
        let items = file[category].as_array().cloned().unwrap_or_default();
        let mut texts: Vec<_> = items.iter().map(Value::to_string).collect();
        texts.sort();
        (category, texts)
    };
    CATEGORIES.map(list).to_vec()
}

/// What a node exports, but for what every node has.
async fn exported(broker: &Broker) -> Value {
    let mut file = get(broker, "/api/definitions").await;
    for category in CATEGORIES {
        let items = file[category].as_array_mut().expect("a list");
        let own = |item: &Value| {
            let is = |key: &str, name: &str| item[key] == name;
            is("name", "guest")
                || (is("user", "guest") && is("vhost", "/"))
                || is("name", "/")
                || is("name", "cluster_tags")
        };
        items.retain(|item| !own(item));
    }
    file
}

#[tokio::test]
async fn nothing_is_lost_of_what_rabbitmq_exports() {
    let theirs: Value = serde_json::from_str(EXPORTED).expect("JSON");
    let broker = start().await;
    for _ in 0..2 {
        let reply = import(&broker, &theirs).await;
        assert_eq!((reply.status, &reply.body), (204, &Value::Null), "{reply:?}");
        assert_eq!(sorted(&exported(&broker).await), sorted(&theirs));
    }
    // And from there to another one.
    let other = start().await;
    assert_eq!(import(&other, &get(&broker, "/api/definitions").await).await.status, 204);
    assert_eq!(sorted(&exported(&other).await), sorted(&theirs));
    let file = get(&other, "/api/definitions").await;
    assert_eq!(file["rabbitmq_definition_format"], "cluster");
    assert_eq!(file["explanation"], "Definitions of cluster 'rabbit@localhost'");
    assert_eq!(get_as(&other, "shop", "/api/whoami").await.0, 200, "the password came with its hash");
    assert_eq!(get(&other, "/api/all-configuration").await, file);
}

#[tokio::test]
async fn of_one_vhost() {
    let theirs: Value = serde_json::from_str(EXPORTED).expect("JSON");
    let broker = start().await;
    assert_eq!(import(&broker, &theirs).await.status, 204);
    let file = get(&broker, "/api/definitions/shop").await;
    for (key, expected) in [
        ("rabbitmq_definition_format", json!("single_virtual_host")),
        ("original_vhost_name", json!("shop")),
        ("description", json!("a shop")),
        ("limits", json!({ "max-connections": -1, "max-queues": 100 })),
        ("metadata", json!({ "description": "a shop", "tags": ["a", "b"], "default_queue_type": "quorum" })),
    ] {
        assert_eq!(file[key], expected, "{key}");
    }
    assert!(file.get("users").is_none() && file["queues"][0].get("vhost").is_none());
    assert_eq!(status(&broker, "PUT", "/api/vhosts/other", Value::Null).await, 201);
    assert_eq!(import_to(&broker, "/api/definitions/other", &file).await.status, 204);
    let other = get(&broker, "/api/definitions/other").await;
    for category in ["parameters", "policies", "exchanges", "queues", "bindings"] {
        let sort = |file: &Value| sorted(file).into_iter().find(|(name, _)| *name == category);
        assert_eq!(sort(&other), sort(&file), "{category}");
        assert!(!file[category].as_array().expect("a list").is_empty(), "{category}");
    }
    let reply = ask(&broker, "GET", "/api/definitions/no", Value::Null).await;
    assert_eq!((reply.status, reply.body), (400, error("bad_request", "vhost_not_found")));
    let reply = import_to(&broker, "/api/definitions/no", &json!({})).await;
    assert_eq!((reply.status, reply.body), (404, error("not_found", "vhost_not_found")));
}

#[tokio::test]
async fn what_is_there_stays() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/q", json!({ "durable": true })).await, 201);
    assert_eq!(status(&broker, "PUT", "/api/exchanges/%2F/x", json!({ "type": "topic" })).await, 201);
    let file = json!({
        "queues": [
            { "name": "q", "vhost": "/", "durable": false, "auto_delete": true, "arguments": {} },
            { "name": "amq.gen-1", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {} },
        ],
        "exchanges": [
            { "name": "x", "vhost": "/", "type": "fanout", "durable": true, "auto_delete": false },
            { "name": "amq.topic", "vhost": "/", "type": "fanout", "durable": true, "auto_delete": false },
            { "name": "", "vhost": "/", "type": "fanout", "durable": true, "auto_delete": false },
        ],
        "bindings": [
            { "source": "", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "q" },
            {
                "source": "x", "vhost": "/", "destination": "amq.gen-1", "destination_type": "queue",
                "routing_key": "",
            },
        ],
        "nosuch": 5,
    });
    assert_eq!(import(&broker, &file).await.status, 204);
    assert_eq!(get(&broker, "/api/queues/%2F/q").await["durable"], true);
    assert_eq!(get(&broker, "/api/exchanges/%2F/x").await["type"], "topic");
    assert_eq!(get(&broker, "/api/exchanges/%2F/amq.topic").await["type"], "topic");
    assert_eq!(get(&broker, "/api/queues").await.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn files_of_older_versions() {
    let broker = start().await;
    let file = json!({
        "rabbit_version": "3.5.7",
        "users": [
            // Without a word about the algorithm it is MD5, and tags are a text.
            { "name": "old", "password_hash": "AQIDBODN5Z8G6ITKSPwK1Jh6t78=", "tags": "management, x" },
        ],
        "vhosts": [{ "name": "/" }],
        "permissions": [{ "user": "old", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" }],
        "policies": [
            {
                "vhost": "/", "name": "mirrored", "pattern": "", "apply-to": "all", "priority": 0,
                "definition": { "ha-mode": "all", "ha-sync-mode": "automatic" },
            },
            {
                "vhost": "/", "name": "both", "pattern": "^a",
                "definition": { "ha-mode": "exactly", "ha-params": 2, "max-length": 5 },
            },
        ],
        "queues": [
            { "name": "q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": { "x-ha-policy": "all" } },
        ],
    });
    let reply = import(&broker, &file).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    assert_eq!(get(&broker, "/api/users/old").await["hashing_algorithm"], "rabbit_password_hashing_md5");
    assert_eq!(get(&broker, "/api/users/old").await["tags"], json!(["management", "x"]));
    let policies = get(&broker, "/api/policies").await;
    assert_eq!(policies.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&policies[0]["name"], &policies[0]["definition"]),
        (&json!("both"), &json!({ "max-length": 5 }))
    );
}

#[tokio::test]
async fn the_type_that_a_file_says_counts() {
    let broker = start().await;
    let queue = |name: &str, said: &str, arguments: Value| {
        json!({
            "name": name, "vhost": "v", "type": said, "durable": true, "auto_delete": false,
            "arguments": arguments,
        })
    };
    let file = json!({
        "vhosts": [{ "name": "v", "default_queue_type": "quorum" }],
        "queues": [
            queue("a", "classic", json!({})),
            queue("b", "quorum", json!({})),
            queue("c", "classic", json!({ "x-queue-type": "quorum" })),
        ],
    });
    assert_eq!(import(&broker, &file).await.status, 204);
    for (name, expected) in [("a", "classic"), ("b", "quorum"), ("c", "quorum")] {
        assert_eq!(get(&broker, &format!("/api/queues/v/{name}")).await["type"], expected, "{name}");
    }
}

#[tokio::test]
async fn refused() {
    let broker = start().await;
    let queue = |name: &str, arguments: Value| json!({ "name": name, "vhost": "/", "durable": true, "auto_delete": false, "arguments": arguments });
    let binding = |source: &str, destination: &str| {
        json!({
            "source": source, "vhost": "/", "destination": destination, "destination_type": "queue",
            "routing_key": "", "arguments": {},
        })
    };
    for (file, reason) in [
        (
            json!({ "vhosts": [{ "name": "v", "metadata": { "default_queue_type": "no" } }] }),
            "no is not a valid queue type",
        ),
        (json!({ "users": [{ "name": "u", "password": "pw" }] }), "tags_not_present"),
        (json!({ "users": [{ "name": "u", "tags": [], "password_hash": "!!" }] }), "{not_base64,<<\"!!\">>}"),
        (
            json!({ "users": [{ "name": "u", "tags": [], "password": "x", "password_hash": "" }] }),
            "both_password_and_password_hash_are_provided",
        ),
        (
            json!({ "users": [{ "name": "u", "tags": [], "limits": { "max-foo": 5 } }] }),
            "{errors,[{\"Unrecognised terms ~tp in ~ts\",\n          [[{<<\"max-foo\">>,5}],<<\"user-limits\">>]}]}",
        ),
        (
            json!({ "permissions": [{ "user": "u", "vhost": "/", "configure": "", "write": "", "read": "" }] }),
            "{no_such_user,<<\"u\">>}",
        ),
        (
            json!({ "permissions": [{ "user": "guest", "vhost": "no", "configure": "", "write": "", "read": "" }] }),
            "Please create virtual host \"no\" prior to importing definitions.",
        ),
        (
            json!({ "topic_permissions": [{ "user": "guest", "vhost": "/", "exchange": "no", "write": "", "read": "" }] }),
            "{no_such_exchange,<<\"no\">>}",
        ),
        (
            json!({ "queues": [queue("a", json!({ "x-max-length": "a" }))] }),
            "precondition_failed: invalid arg 'x-max-length' for queue 'a' in vhost '/': \"expected integer, got longstr\"",
        ),
        (
            json!({ "exchanges": [{ "name": "x", "vhost": "/", "durable": true }] }),
            "precondition_failed: invalid exchange type 'undefined'",
        ),
        (
            json!({ "bindings": [binding("amq.topic", "no")] }),
            "{resources_missing,[{not_found,{resource,<<\"/\">>,queue,<<\"no\">>}}]}",
        ),
        (
            json!({ "bindings": [binding("no", "no")] }),
            "{resources_missing,[{not_found,{resource,<<\"/\">>,exchange,<<\"no\">>}},\n                    \
             {not_found,{resource,<<\"/\">>,queue,<<\"no\">>}}]}",
        ),
        (
            json!({ "policies": [{ "name": "p", "vhost": "/", "pattern": "", "definition": { "no": 1 } }] }),
            "Validation failed\n\n[{<<\"no\">>,1}] are not recognised policy settings\n (vhost: \"/\" key: \"p\")",
        ),
        (
            json!({ "policies": [{ "vhost": "/", "pattern": "", "definition": { "max-length": 1 } }] }),
            "\"policy in virtual host '/' has undefined name\"",
        ),
        (
            json!({ "parameters": [{ "vhost": "/", "component": "no", "name": "n", "value": {} }] }),
            "Validation failed\n\ncomponent no not found\n (vhost: \"/\" / component: \"no\" / key: \"n\")",
        ),
        (
            json!({ "parameters": [{ "vhost": "/", "component": "vhost-limits", "name": "limits", "value": { "no": 5 } }] }),
            "Validation failed\n\nUnrecognised terms [{<<\"no\">>,5}] in limits\n \
             (vhost: \"/\" / component: \"vhost-limits\" / key: \"limits\")",
        ),
        (json!({ "queues": {} }), "queues should be a list of objects"),
        (json!({ "users": [5] }), "users should be a list of objects"),
        (json!({ "queues": [{ "vhost": "/" }] }), "queues: 'name' is missing"),
    ] {
        let reply = import(&broker, &file).await;
        assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)), "{file}");
    }
    assert_eq!(sorted(&exported(&broker).await), sorted(&json!({})), "nothing has changed");
    // A file of the wrong shape does nothing at all; one with a wrong object does the others of its kind.
    let users = json!([{ "name": "u", "tags": [] }]);
    assert_eq!(import(&broker, &json!({ "users": users, "queues": 5 })).await.status, 400);
    assert_eq!(status(&broker, "GET", "/api/users/u", Value::Null).await, 404);
    let queues =
        json!([queue("a", json!({})), queue("b", json!({ "x-max-length": "a" })), queue("c", json!({}))]);
    let file = json!({ "users": users, "queues": queues, "bindings": [binding("amq.topic", "a")] });
    assert_eq!(import(&broker, &file).await.status, 400);
    assert_eq!(status(&broker, "GET", "/api/users/u", Value::Null).await, 200);
    assert_eq!(get(&broker, "/api/queues?columns=name").await, json!([{ "name": "a" }, { "name": "c" }]));
    assert_eq!(get(&broker, "/api/exchanges/%2F/amq.topic/bindings/source").await, json!([]));
}

#[tokio::test]
async fn limits_of_queues_hold() {
    let broker = start().await;
    assert_eq!(status(&broker, "PUT", "/api/vhost-limits/%2F/max-queues", json!({ "value": 2 })).await, 204);
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/a", json!({ "durable": true })).await, 201);
    let queue = |name: &str| json!({ "name": name, "vhost": "/", "durable": true, "auto_delete": false });
    let reply = import(&broker, &json!({ "queues": [queue("a"), queue("b"), queue("c")] })).await;
    let reason = "Adding 2 queue(s) to virtual host \"/\" would exceed the limit of 2 queue(s).\n\nThis virtual host \
                  currently has 1 queue(s) defined.\n\nImport aborted!";
    assert_eq!((reply.status, reply.body), (400, error("bad_request", reason)));
    assert_eq!(import(&broker, &json!({ "queues": [queue("a"), queue("b")] })).await.status, 204);
}

#[tokio::test]
async fn ways_to_send_a_file() {
    let broker = start().await;
    let user = |name: &str| json!({ "users": [{ "name": name, "tags": [] }] }).to_string();
    let form = |parts: &[(&str, &str)]| {
        let part = |(name, value): &(&str, &str)| {
            format!(
                "--B\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n{value}\r\n"
            )
        };
        parts.iter().map(part).collect::<String>() + "--B--\r\n"
    };
    let (json, multipart) = ("application/json", "multipart/form-data; boundary=B");
    for (kind, body, expected) in [
        (json, String::new(), 204),
        ("application/json; charset=utf-8", user("a"), 204),
        (json, format!("\u{feff}{}", user("b")), 204),
        (multipart, form(&[("file", &user("c"))]), 204),
        (multipart, form(&[("file", &user("d")), ("redirect", "../#/done")]), 303),
        (multipart, form(&[("other", &user("e"))]), 400),
        (multipart, "--B".to_owned(), 400),
        ("multipart/form-data", form(&[("file", &user("e"))]), 400),
        ("text/plain", user("e"), 415),
        (json, "{bad".to_owned(), 400),
        (json, "[]".to_owned(), 400),
        (json, "null".to_owned(), 400),
    ] {
        let request =
            Request::new("POST", "/api/definitions").header("Content-Type", kind).body(body.clone());
        let reply = request.send(broker.http).await;
        assert_eq!(reply.status, expected, "{kind} {body}");
        if reply.status == 303 {
            assert_eq!(reply.header("location"), Some("../#/done"));
        }
        if kind == json && expected == 400 {
            assert_eq!(reply.body, error("bad_request", "failed_to_parse_json"));
        }
    }
    let names = get(&broker, "/api/users?columns=name").await;
    let expected =
        json!([{ "name": "a" }, { "name": "b" }, { "name": "c" }, { "name": "d" }, { "name": "guest" }]);
    assert_eq!(names, expected);
    let reply = Request::new("GET", "/api/definitions?download=a.json").send(broker.http).await;
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=a.json"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let reply = Request::new("GET", "/api/definitions?download=a%20b").send(broker.http).await;
    assert_eq!((reply.status, reply.body), (400, Value::Null));
    let reply = Request::new("GET", "/api/definitions?auth=Z3Vlc3Q6Z3Vlc3Q%3D").authorization(None);
    assert_eq!(reply.send(broker.http).await.status, 401, "credentials in a query are none");
    put_user(&broker, "m", "monitoring,policymaker,management").await;
    for path in ["/api/definitions", "/api/definitions/%2F", "/api/all-configuration"] {
        let refused = (401, error("not_authorised", "Not administrator user"));
        assert_eq!(get_as(&broker, "m", path).await, refused, "{path}");
    }
}
