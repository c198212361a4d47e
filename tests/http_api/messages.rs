//! Messages in queues: looked at, moved, copied.

use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::getting::publish;
use crate::http::{Reply, Request};
use crate::restart::Folder;
use crate::{ask, error, get, not_found, permit, put_user, status};

const MESSAGES: &str = "/api/queues/%2F/q/messages";

async fn declare(broker: &Broker, name: &str, arguments: Value) {
    let body = json!({ "durable": true, "arguments": arguments });
    assert_eq!(status(broker, "PUT", &format!("/api/queues/%2F/{name}"), body).await, 201);
}

fn payloads(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items").iter();
    items.map(|item| item["payload"].as_str().expect("a payload").to_owned()).collect()
}

/// Messages of all pages of this size.
async fn all(broker: &Broker, queue: &str, count: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/queues/%2F/{queue}/messages?count={count}{after}");
        let page = get(broker, &path).await;
        found.extend(payloads(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

async fn counts(broker: &Broker, queue: &str) -> (u64, u64) {
    let found = get(broker, &format!("/api/queues/%2F/{queue}")).await;
    let count = |key: &str| found[key].as_u64().expect("a number");
    (count("messages_ready"), count("messages_unacknowledged"))
}

async fn go(broker: &Broker, what: &str, body: Value) -> Reply {
    ask(broker, "POST", &format!("{MESSAGES}/{what}"), body).await
}

#[tokio::test]
async fn looking_takes_nothing() {
    let broker = start().await;
    declare(&broker, "q", json!({})).await;
    for n in 0..10 {
        let properties = json!({ "headers": { "n": n, "odd": n % 2 == 1 }, "delivery_mode": 2 });
        publish(&broker, "q", &format!("order {n}"), properties).await;
    }
    let page = get(&broker, MESSAGES).await;
    assert_eq!((payloads(&page).len(), &page["next"], &page["looked_at"]), (10, &Value::Null, &json!(10)));
    let first = &page["items"][0];
    for (key, expected) in [
        ("position", json!("0-0")),
        ("state", json!("ready")),
        ("exchange", json!("")),
        ("routing_key", json!("q")),
        ("payload", json!("order 0")),
        ("payload_bytes", json!(7)),
        ("payload_encoding", json!("string")),
        ("properties", json!({ "headers": { "n": 0, "odd": false }, "delivery_mode": 2 })),
    ] {
        assert_eq!(first[key], expected, "{key}");
    }
    assert!(first["timestamp_in_ms"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000));
    for (query, expected) in [
        ("?count=3", vec!["order 0", "order 1", "order 2"]),
        ("?count=2&after=0-4", vec!["order 5", "order 6"]),
        ("?body=order%207", vec!["order 7"]),
        ("?body_regex=%5Eorder%20%5B12%5D%24", vec!["order 1", "order 2"]),
        ("?header=n:4", vec!["order 4"]),
        ("?header=odd:true&count=2", vec!["order 1", "order 3"]),
        ("?header=no", vec![]),
        ("?routing_key=no", vec![]),
        ("?state=unacknowledged", vec![]),
        ("?count=1&truncate=5", vec!["order"]),
        ("?count=1&encoding=base64", vec!["b3JkZXIgMA=="]),
        ("?after=0-9", vec![]),
        ("?after=7-0", vec![]),
        ("?after=255-72057594037927935", vec![]),
    ] {
        assert_eq!(payloads(&get(&broker, &format!("{MESSAGES}{query}")).await), expected, "{query}");
    }
    assert_eq!(all(&broker, "q", 3).await.len(), 10);
    // Nothing has been touched.
    assert_eq!(counts(&broker, "q").await, (10, 0));
    let taken = json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "auto" });
    let reply = ask(&broker, "POST", "/api/queues/%2F/q/get", taken).await;
    assert_eq!(reply.body[0]["redelivered"], false);
    assert_eq!(payloads(&get(&broker, &format!("{MESSAGES}?count=1")).await), ["order 1"]);
}

#[tokio::test]
async fn refused() {
    let broker = start().await;
    declare(&broker, "q", json!({})).await;
    declare(&broker, "s", json!({ "x-queue-type": "stream" })).await;
    publish(&broker, "q", "m", json!({})).await;
    for query in [
        "count=x",
        "after=5",
        "after=a-b",
        "after=300-1",
        "truncate=-1",
        "encoding=x",
        "state=x",
        "body_regex=(",
    ] {
        let reply = ask(&broker, "GET", &format!("{MESSAGES}?{query}"), Value::Null).await;
        assert_eq!((reply.status, &reply.body["error"]), (400, &json!("bad_request")), "{query}");
    }
    let reply = ask(&broker, "GET", "/api/queues/%2F/no/messages", Value::Null).await;
    assert_eq!((reply.status, reply.body), (404, not_found()));
    assert_eq!(status(&broker, "GET", "/api/queues/%2F/s/messages", Value::Null).await, 400);
    let to = |destination: Value| json!({ "destination": destination });
    for (body, expected) in [
        (json!({}), (400, error("bad_request", "[{key_missing,destination}]"))),
        (
            json!({ "destination": "origin", "count": -1 }),
            (400, error("bad_request", "bad value for 'count'")),
        ),
        (
            json!({ "destination": "origin", "positions": [5] }),
            (400, error("bad_request", "bad value for 'positions'")),
        ),
        (
            json!({ "destination": "origin", "filter": 5 }),
            (400, error("bad_request", "filter must be an object")),
        ),
        (
            json!({ "destination": "origin", "filter": { "bodi": "x" } }),
            (400, error("bad_request", "filter: 'bodi' is not understood")),
        ),
        (to(json!({ "exchange": "no" })), (404, error("not_found", "no exchange 'no' in vhost '/'"))),
    ] {
        let reply = go(&broker, "move", body.clone()).await;
        assert_eq!((reply.status, reply.body), expected, "{body}");
    }
    for wrong in
        [json!("x"), json!(5), json!({}), json!({ "queue": "a", "exchange": "b" }), json!({ "queue": 5 })]
    {
        assert_eq!(go(&broker, "move", to(wrong.clone())).await.status, 400, "{wrong}");
    }
    put_user(&broker, "m", "management").await;
    permit(&broker, "%2F", "m", "").await;
    for (read, write, looks, moves) in [("", ".*", 401, 401), (".*", "", 200, 401), (".*", ".*", 200, 200)] {
        let body = json!({ "configure": "", "write": write, "read": read });
        assert_eq!(status(&broker, "PUT", "/api/permissions/%2F/m", body).await, 204);
        let reply = Request::new("GET", MESSAGES).user("m", "pw").send(broker.http).await;
        assert_eq!(reply.status, looks, "{read} {write}");
        let path = format!("{MESSAGES}/copy");
        let body = to(json!({ "queue": "q" })).to_string();
        let reply = Request::new("POST", &path).user("m", "pw").body(body).send(broker.http).await;
        assert_eq!(reply.status, moves, "{read} {write}");
    }
    assert_eq!(counts(&broker, "q").await, (2, 0));
}

#[tokio::test]
async fn moved_and_copied() {
    let broker = start().await;
    for name in ["q", "a", "b"] {
        declare(&broker, name, json!({})).await;
    }
    declare(&broker, "full", json!({ "x-max-length": 1, "x-overflow": "reject-publish" })).await;
    assert_eq!(
        status(&broker, "POST", "/api/bindings/%2F/e/amq.topic/q/b", json!({ "routing_key": "b.#" })).await,
        201
    );
    for n in 0..8 {
        publish(&broker, "q", &n.to_string(), json!({ "headers": { "even": n % 2 == 0 } })).await;
    }
    let queue = |name: &str| json!({ "queue": name });
    let even = json!({ "header": "even:true" });
    let reply = go(&broker, "move", json!({ "destination": queue("a"), "filter": even })).await;
    let expected =
        json!({ "matched": 4, "moved": 4, "left": 0, "skipped": [], "next": null, "stopped": null });
    assert_eq!((reply.status, reply.body), (200, expected));
    assert_eq!(all(&broker, "a", 100).await, ["0", "2", "4", "6"]);
    assert_eq!(all(&broker, "q", 100).await, ["1", "3", "5", "7"]);
    let topic = json!({ "exchange": "amq.topic", "routing_key": "b.c" });
    let reply = go(&broker, "copy", json!({ "destination": topic, "count": 2 })).await;
    assert_eq!((&reply.body["copied"], &reply.body["next"]), (&json!(2), &json!("0-3")));
    assert_eq!(
        (all(&broker, "b", 100).await, counts(&broker, "q").await),
        (vec!["1".into(), "3".into()], (4, 0))
    );
    assert_eq!(get(&broker, "/api/queues/%2F/b/messages").await["items"][0]["routing_key"], "b.c");
    // Just those that are named; one has gone.
    let body = json!({ "destination": queue("b"), "positions": ["0-5", "0-4"] });
    let reply = go(&broker, "move", body).await;
    let gone = json!([{ "position": "0-4", "reason": "gone" }]);
    assert_eq!((&reply.body["moved"], &reply.body["skipped"]), (&json!(1), &gone));
    assert_eq!(all(&broker, "q", 100).await, ["1", "3", "7"]);
    // What finds no place stays.
    let own = json!({ "destination": { "exchange": "amq.fanout" } });
    let reply = go(&broker, "move", own).await;
    assert_eq!((&reply.body["moved"], &reply.body["left"]), (&json!(0), &json!(3)));
    assert_eq!(reply.body["skipped"][0], json!({ "position": "0-1", "reason": "unroutable" }));
    let reply = go(&broker, "move", json!({ "destination": queue("full") })).await;
    assert_eq!((&reply.body["moved"], &reply.body["skipped"][1]["reason"]), (&json!(1), &json!("rejected")));
    // To where they are: each once.
    let reply = go(&broker, "move", json!({ "destination": queue("q") })).await;
    assert_eq!(reply.body["moved"], 2);
    assert_eq!(
        (all(&broker, "q", 1).await, counts(&broker, "q").await),
        (vec!["3".into(), "7".into()], (2, 0))
    );
}

/// Dead letters go back to where they died.
#[tokio::test]
async fn retried() {
    let broker = start().await;
    declare(&broker, "dead", json!({})).await;
    for name in ["q", "other"] {
        let dead = json!({ "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead" });
        declare(&broker, name, dead).await;
        publish(&broker, name, name, json!({})).await;
        let reject = json!({ "count": 9, "ackmode": "reject_requeue_false", "encoding": "auto" });
        assert_eq!(status(&broker, "POST", &format!("/api/queues/%2F/{name}/get"), reject).await, 200);
    }
    publish(&broker, "dead", "no letter", json!({})).await;
    let path = "/api/queues/%2F/dead/messages/move";
    let reply = ask(&broker, "POST", path, json!({ "destination": "origin" })).await;
    let skipped = json!([{ "position": "0-2", "reason": "no_origin" }]);
    assert_eq!((&reply.body["moved"], &reply.body["skipped"]), (&json!(2), &skipped));
    for name in ["q", "other"] {
        assert_eq!(all(&broker, name, 1).await, [name]);
    }
    let headers = &get(&broker, MESSAGES).await["items"][0]["properties"]["headers"];
    assert_eq!(headers["x-death"][0]["queue"], "q", "what it has been through stays with it");
}

/// One of them may not go there: the others have gone, and the reply says so.
#[tokio::test]
async fn what_is_refused_stays_and_the_rest_is_not_doubled() {
    let broker = start().await;
    put_user(&broker, "u", "management").await;
    let all = json!({ "configure": "", "write": ".*", "read": ".*" });
    assert_eq!(status(&broker, "PUT", "/api/permissions/%2F/u", all).await, 201);
    let topic = json!({ "exchange": "amq.topic", "write": "^ok", "read": ".*" });
    assert_eq!(status(&broker, "PUT", "/api/topic-permissions/%2F/u", topic).await, 201);
    for (name, exchange) in [("q", "amq.fanout"), ("to", "amq.topic")] {
        declare(&broker, name, json!({})).await;
        let path = format!("/api/bindings/%2F/e/{exchange}/q/{name}");
        assert_eq!(status(&broker, "POST", &path, json!({ "routing_key": "#" })).await, 201);
    }
    for key in ["ok.1", "no", "ok.2"] {
        let body =
            json!({ "routing_key": key, "payload": "m", "payload_encoding": "string", "properties": {} });
        assert_eq!(status(&broker, "POST", "/api/exchanges/%2F/amq.fanout/publish", body).await, 200);
    }
    let go = |destination: Value| {
        let body = json!({ "destination": destination }).to_string();
        let request = Request::new("POST", "/api/queues/%2F/q/messages/move").user("u", "pw");
        request.body(body).send(broker.http)
    };
    let reply = go(json!({ "exchange": "amq.topic" })).await;
    let skipped = json!([{ "position": "0-1", "reason": "refused" }]);
    assert_eq!((reply.status, &reply.body["moved"], &reply.body["skipped"]), (200, &json!(2), &skipped));
    assert_eq!((counts(&broker, "q").await, counts(&broker, "to").await), ((1, 0), (2, 0)));
    // Nothing but what may not go there: that is an answer.
    let reply = go(json!({ "exchange": "amq.topic" })).await;
    assert_eq!(reply.status, 401);
    assert_eq!((counts(&broker, "q").await, counts(&broker, "to").await), ((1, 0), (2, 0)));
}

/// What is on disk is read, and what was moved is where it went after a restart.
#[tokio::test]
async fn on_disk() {
    let folder = Folder::new("messages");
    // Far less memory than the messages take.
    let (broker, storage) = folder.open_within(1 << 20).await;
    for name in ["q", "to"] {
        declare(&broker, name, json!({})).await;
    }
    let body = |n: usize| format!("{n:04}{}", "x".repeat(32 << 10));
    for n in 0..150 {
        publish(&broker, "q", &body(n), json!({ "delivery_mode": 2 })).await;
    }
    let found = all(&broker, "q", 40).await;
    assert_eq!(found, (0..150).map(body).collect::<Vec<_>>());
    let named: Vec<_> = (0..150).filter(|n| n % 3 == 0).map(|n| format!("0-{n}")).collect();
    let reply = go(&broker, "move", json!({ "destination": { "queue": "to" }, "positions": named })).await;
    assert_eq!((reply.status, &reply.body["moved"]), (200, &json!(50)), "{reply:?}");
    assert_eq!((counts(&broker, "q").await, counts(&broker, "to").await), ((100, 0), (50, 0)));
    drop((storage, broker));

    let (broker, _storage) = folder.open_within(1 << 20).await;
    assert_eq!((counts(&broker, "q").await, counts(&broker, "to").await), ((100, 0), (50, 0)));
    let expected: Vec<_> = (0..150).filter(|n| n % 3 != 0).map(body).collect();
    assert_eq!(all(&broker, "q", 1000).await, expected);
    let take = json!({ "count": 200, "ackmode": "ack_requeue_false", "encoding": "auto", "truncate": 4 });
    let reply = ask(&broker, "POST", "/api/queues/%2F/q/get", take).await;
    let taken: Vec<_> =
        reply.body.as_array().expect("messages").iter().map(|m| m["payload"].clone()).collect();
    let expected: Vec<Value> = expected.iter().map(|body| body[..4].into()).collect();
    assert_eq!(taken, expected, "each once and in order");
}

/// Headers count as well as bodies, of which as little as nothing may be shown.
#[tokio::test]
async fn a_page_has_its_bounds() {
    let broker = start().await;
    declare(&broker, "q", json!({})).await;
    let header = "x".repeat(1 << 20);
    for _ in 0..20 {
        publish(&broker, "q", "body", json!({ "headers": { "x": header } })).await;
    }
    let page = get(&broker, &format!("{MESSAGES}?count=1000&truncate=0")).await;
    let shown = page["items"].as_array().map(Vec::len).unwrap_or_default();
    assert!((15..=17).contains(&shown), "{shown} of 20 times 1 MiB, where 16 MiB are shown");
    assert!(page["next"].is_string(), "{}", page["next"]);
}
