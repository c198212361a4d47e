//! Pages, order and columns, where routes have them.

use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::{ask, error, get, put_user, status};

async fn with_queues() -> Broker {
    let broker = start().await;
    for (name, durable) in [("q1", true), ("q0", false), ("other", true)] {
        let path = format!("/api/queues/%2F/{name}");
        assert_eq!(status(&broker, "PUT", &path, json!({ "durable": durable })).await, 201);
    }
    broker
}

#[tokio::test]
async fn queues_in_pages() {
    let broker = with_queues().await;
    let page = get(&broker, "/api/queues/%2F?page=1&page_size=2&name=Q&columns=name,durable").await;
    let items = json!([{ "name": "q0", "durable": false }, { "name": "q1", "durable": true }]);
    let expected = json!({
        "filtered_count": 2, "item_count": 2, "items": items, "page": 1, "page_count": 1, "page_size": 2,
        "total_count": 3,
    });
    assert_eq!(page, expected);
    let sorted = get(&broker, "/api/queues?sort=durable&sort_reverse=true&columns=name").await;
    assert_eq!(sorted, json!([{ "name": "q1" }, { "name": "other" }, { "name": "q0" }]));
    for (path, kind, reason) in [
        (
            "/api/queues?page=3&page_size=2",
            "page_out_of_range",
            "Page out of range, page: 3 page size: 2, len: 3",
        ),
        (
            "/api/exchanges/%2F?page=0",
            "invalid_pagination_parameters",
            "Invalid pagination parameters: page number 0, page size undefined",
        ),
        ("/api/users?page=x", "bad_request", "Pagination parameters are invalid"),
        ("/api/connections?page_size=x", "bad_request", "Pagination parameters are invalid"),
    ] {
        let reply = ask(&broker, "GET", path, Value::Null).await;
        assert_eq!((reply.status, reply.body), (400, error(kind, reason)), "{path}");
    }
}

#[tokio::test]
async fn a_long_list() {
    let broker = start().await;
    for n in 0..600 {
        assert_eq!(status(&broker, "PUT", &format!("/api/queues/%2F/x{n:03}"), json!({})).await, 201);
    }
    let all = get(&broker, "/api/queues?columns=name").await;
    assert_eq!((all[7]["name"].as_str(), all.as_array().map(Vec::len)), (Some("x007"), Some(600)));
    let page = get(&broker, "/api/queues?page=2&page_size=500&sort=name&sort_reverse=true").await;
    assert_eq!((&page["items"][0]["name"], &page["item_count"]), (&json!("x099"), &json!(100)));
}

#[tokio::test]
async fn which_routes_have_what() {
    let broker = with_queues().await;
    put_user(&broker, "u", "").await;
    for path in ["vhosts", "users", "queues", "exchanges/%2F", "connections", "connections/username/guest"] {
        assert!(get(&broker, &format!("/api/{path}?page=1")).await["items"].is_array(), "{path}");
    }
    for path in
        ["permissions", "topic-permissions", "policies", "parameters", "global-parameters", "user-limits"]
    {
        assert!(get(&broker, &format!("/api/{path}?page=1")).await.is_array(), "{path}");
    }
    // Vhosts are shown whole, and what has none of the columns as an empty array, as in RabbitMQ.
    assert_eq!(get(&broker, "/api/vhosts?columns=name").await[0]["tracing"], false);
    assert_eq!(get(&broker, "/api/vhosts/%2F?columns=name").await, json!({ "name": "/" }));
    assert_eq!(get(&broker, "/api/permissions?columns=x").await, json!([[]]));
    assert_eq!(get(&broker, "/api/whoami?columns=name,x").await, json!({ "name": "guest" }));
    assert_eq!(get(&broker, "/api/overview?columns=x").await, json!([]));
    let queues = get(&broker, "/api/overview?columns=object_totals.queues,node").await;
    assert_eq!(queues, json!({ "object_totals": { "queues": 3 }, "node": "rabbit@localhost" }));
    assert_eq!(get(&broker, "/api/health/checks/alarms?columns=x").await, json!({ "status": "ok" }));
    let missing = ask(&broker, "GET", "/api/queues/%2F/missing?columns=x", Value::Null).await;
    assert_eq!(missing.body["error"], "Object Not Found");
}
