//! Super streams, groups and what is tracked of streams, beside clients that read them over AMQP.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::broker::{Broker, start};
use crate::common::client::Client;
use crate::common::method::method;
use crate::common::table::{flag, headers, int, text};
use crate::http::Request;
use crate::restart::Folder;
use crate::{get, status};

const GROUPS: &str = "/api/stream/groups/%2F";
const ORDERS: &str = "/api/stream/super-streams/%2F/orders";

async fn make_orders(broker: &Broker, partitions: u32) {
    assert_eq!(status(broker, "PUT", ORDERS, json!({ "partitions": partitions })).await, 204);
}

pub fn client(broker: &Broker) -> Client {
    let mut client = Client::open(broker.amqp);
    client.open_channel(1);
    client
}

/// A member of a group, whose consumer has the tag.
fn member(broker: &Broker, target: &str, group: &str, tag: &str) -> Client {
    let mut client = client(broker);
    client.all_ok(1, &["basic.qos prefetch-count=100"]);
    let consume = method("basic.consume").set("queue", target).set("consumer-tag", tag);
    let answer = client.call(1, consume.args(&[("x-stream-group", text(group))]));
    assert!(answer.starts_with("basic.consume-ok"), "{answer}");
    client
}

/// A message that came: its delivery tag, its routing key and its body.
pub type Delivery = (u64, String, String);

pub fn take(client: &mut Client, count: usize) -> Vec<Delivery> {
    let take_one = |_| {
        let event = client.next(1);
        assert!(event.text.starts_with("basic.deliver "), "{event}");
        (event.tag(), event.get("routing-key"), String::from_utf8_lossy(&event.body).into_owned())
    };
    (0..count).map(take_one).collect()
}

pub fn ack(client: &mut Client, deliveries: &[Delivery]) {
    for (tag, ..) in deliveries {
        client.send(1, method(&format!("basic.ack delivery-tag={tag}")));
    }
}

/// Ends a consumer when its acknowledgements have been worked off, and its connection.
fn leave(mut client: Client, tag: &str) {
    client.send(1, method("basic.cancel").set("consumer-tag", tag));
    while !client.next(1).text.starts_with("basic.cancel-ok") {}
    client.close();
}

/// Publishes the numbers of a range to each of these keys.
pub fn publish(client: &mut Client, exchange: &str, keys: &[&str], numbers: std::ops::Range<u32>) {
    for number in numbers {
        for key in keys {
            client.publish(1, exchange, key, &number.to_string());
        }
    }
    client.all_ok(1, &["basic.qos"]);
}

fn bodies_of<'a>(deliveries: &'a [Delivery], key: &str) -> Vec<&'a str> {
    deliveries.iter().filter(|(_, found, _)| found == key).map(|(.., body)| &**body).collect()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Who reads which partition, by the tag of the consumer.
async fn owners(broker: &Broker) -> BTreeMap<String, String> {
    let groups = get(broker, GROUPS).await;
    let partitions = groups[0]["partitions"].as_array().expect("partitions");
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    partitions.iter().map(|found| (word(&found["consumer_tag"]), word(&found["stream"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_partitions_and_nothing_is_skipped() {
    let broker = start().await;
    make_orders(&broker, 2).await;
    let mut publisher = client(&broker);
    publish(&mut publisher, "orders", &["0", "1"], 0..20);
    let mut a = member(&broker, "orders", "billing", "a");
    let first = take(&mut a, 40);
    for key in ["0", "1"] {
        assert_eq!(bodies_of(&first, key), numbers(0..20));
    }
    let b = member(&broker, "orders", "billing", "b");
    ack(&mut a, &first);
    a.all_ok(1, &["basic.qos prefetch-count=100"]);

    let owners = owners(&broker).await;
    assert_eq!(owners.keys().collect::<Vec<_>>(), ["a", "b"]);
    let groups = get(&broker, "/api/stream/groups").await;
    let shown = (&groups[0]["name"], &groups[0]["stream"], &groups[0]["members"], &groups[0]["lag"]);
    assert_eq!(shown, (&json!("billing"), &json!("orders"), &json!(2), &json!(0)));

    publish(&mut publisher, "orders", &["0", "1"], 20..30);
    let key_of = |tag: &str| owners[tag].trim_start_matches("orders-").to_owned();
    let mut b = b;
    for (client, tag) in [(&mut a, "a"), (&mut b, "b")] {
        let taken = take(client, 10);
        assert_eq!(bodies_of(&taken, &key_of(tag)), numbers(20..30), "{tag}");
        ack(client, &taken[..4]);
        client.all_ok(1, &["basic.qos prefetch-count=100"]);
    }
    b.drop_it();
    let rest = take(&mut a, 6);
    assert_eq!(bodies_of(&rest, &key_of("b")), numbers(24..30), "what b has not acknowledged");
    leave(a, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_consumers_of_what_they_read() {
    let broker = start().await;
    make_orders(&broker, 2).await;
    let (_a, _b) = (member(&broker, "orders", "billing", "a"), member(&broker, "orders", "billing", "b"));
    let owners = owners(&broker).await;
    assert_eq!(owners.len(), 2, "{owners:?}");
    let consumers = get(&broker, "/api/consumers/%2F").await;
    for consumer in consumers.as_array().expect("a list") {
        let tag = consumer["consumer_tag"].as_str().expect("a text");
        let shown = (consumer["queue"]["name"].as_str(), &consumer["activity_status"]);
        assert_eq!(shown, (Some(&*owners[tag]), &json!("single_active")), "{tag}");
    }
    for (owner, stream) in &owners {
        let queue = get(&broker, &format!("/api/queues/%2F/{stream}")).await;
        let details = queue["consumer_details"].as_array().expect("a list");
        assert_eq!(details.len(), 2, "{queue}");
        for consumer in details {
            let reads = consumer["consumer_tag"] == **owner;
            let status = if reads { "single_active" } else { "waiting" };
            assert_eq!((&consumer["queue"]["name"], &consumer["active"]), (&json!(stream), &json!(reads)));
            assert_eq!(consumer["activity_status"], status);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_set_and_forgotten() {
    let broker = start().await;
    make_orders(&broker, 1).await;
    assert_eq!(status(&broker, "PUT", ORDERS, json!({ "partitions": 1 })).await, 400);
    let mut publisher = client(&broker);
    publish(&mut publisher, "orders", &["0"], 0..10);
    let group = format!("{GROUPS}/orders-0/g");
    assert_eq!(status(&broker, "DELETE", &group, Value::Null).await, 404);
    for body in [json!({}), json!({ "offset": -1 }), json!({ "offset": "x" })] {
        assert_eq!(status(&broker, "PUT", &group, body).await, 400);
    }
    let long = format!("{GROUPS}/orders-0/{}", "g".repeat(256));
    assert_eq!(status(&broker, "PUT", &long, json!({ "offset": 0 })).await, 400);
    assert_eq!(status(&broker, "PUT", &group, json!({ "offset": 7 })).await, 204);
    let tracking = get(&broker, "/api/stream/%2F/orders-0/tracking").await;
    assert_eq!(tracking, json!({ "offsets": { "g": 7 }, "writers": {} }));
    let mut reader = member(&broker, "orders-0", "g", "r");
    assert_eq!(bodies_of(&take(&mut reader, 3), "0"), numbers(7..10));
    leave(reader, "r");
    assert_eq!(status(&broker, "DELETE", &group, Value::Null).await, 204);
    assert_eq!(get(&broker, GROUPS).await, json!([]));
    let mut reader = member(&broker, "orders-0", "g", "r");
    assert_eq!(bodies_of(&take(&mut reader, 10), "0"), numbers(0..10), "as one that has never been here");

    assert_eq!(status(&broker, "DELETE", ORDERS, Value::Null).await, 204);
    assert_eq!(status(&broker, "DELETE", ORDERS, Value::Null).await, 404);
    assert_eq!(get(&broker, "/api/queues/%2F").await, json!([]));
    assert_eq!(get(&broker, GROUPS).await, json!([]));
}

/// What a member acknowledges next would set it again; a group that begins at some time goes on before it then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_set_while_nobody_reads() {
    let broker = start().await;
    make_orders(&broker, 1).await;
    let mut publisher = client(&broker);
    publish(&mut publisher, "orders", &["0"], 0..3);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    publish(&mut publisher, "orders", &["0"], 3..5);
    let mut first = client(&broker);
    first.all_ok(1, &["basic.qos prefetch-count=1"]);
    let since = [("x-stream-group", text("g")), ("x-stream-offset", text("1s"))];
    first.call(1, method("basic.consume queue=orders consumer-tag=f").args(&since));
    let tracked = [("x-stream-automatic-offset-tracking", flag(true))];
    assert_eq!(take(&mut first, 1)[0].2, "3");
    first.open_channel(2);
    first.all_ok(2, &["basic.qos prefetch-count=1"]);
    first.call(2, method("basic.consume queue=orders-0 consumer-tag=t").args(&tracked));
    let second = member(&broker, "orders", "g", "s");
    let (group, tag) = (format!("{GROUPS}/orders-0/g"), format!("{GROUPS}/orders-0/t"));
    for path in [&group, &tag] {
        let request = Request::new("PUT", path).header("content-type", "application/json");
        let refused = request.body(json!({ "offset": 0 }).to_string()).send(broker.http).await;
        let name = &path[path.len() - 1..];
        let why = format!(
            "'{name}' is reading queue 'orders-0' in vhost '/': its offset can be changed when nobody does"
        );
        assert_eq!((refused.status, refused.body["reason"].as_str()), (400, Some(&*why)));
        assert_eq!(status(&broker, "DELETE", path, Value::Null).await, 400);
    }
    first.drop_it();
    leave(second, "s");
    for path in [&group, &tag] {
        assert_eq!(status(&broker, "PUT", path, json!({ "offset": 0 })).await, 204);
    }
    let mut third = member(&broker, "orders", "g", "f");
    assert_eq!(bodies_of(&take(&mut third, 5), "0"), numbers(0..5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_and_numbers_are_there_after_a_restart() {
    let folder = Folder::new("streams");
    let (broker, storage) = folder.open().await;
    let queue = json!({ "durable": true, "arguments": { "x-queue-type": "stream" } });
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/s", queue).await, 201);
    let mut publisher = client(&broker);
    publisher.all_ok(1, &["confirm.select"]);
    publish_numbered(&mut publisher, 0..10);
    let mut reader = member(&broker, "s", "g", "r");
    let taken = take(&mut reader, 10);
    ack(&mut reader, &taken[..6]);
    leave(reader, "r");
    let tracked = json!({ "offsets": { "g": 6 }, "writers": { "p": 9 } });
    assert_eq!(get(&broker, "/api/stream/%2F/s/tracking").await, tracked);
    publisher.close();
    drop((storage, broker));

    let (broker, _storage) = folder.open().await;
    assert_eq!(get(&broker, "/api/stream/%2F/s/tracking").await, tracked);
    let mut publisher = client(&broker);
    publisher.all_ok(1, &["confirm.select"]);
    publish_numbered(&mut publisher, 5..12);
    let mut reader = member(&broker, "s", "g", "r");
    assert_eq!(bodies_of(&take(&mut reader, 6), "s"), numbers(6..12), "those that came again are not stored");
}

/// Publishes numbered messages, and waits for all confirms.
fn publish_numbered(client: &mut Client, numbers: std::ops::Range<i32>) {
    let last = numbers.len() as u64;
    for number in numbers {
        let properties = headers(&[("x-stream-publisher", text("p")), ("x-stream-sequence", int(number))]);
        let publish = method("basic.publish routing-key=s");
        client.publish_with(1, publish, &properties, number.to_string().as_bytes());
    }
    let mut tag = 0;
    while tag < last {
        let event = client.next(1);
        assert!(event.text.starts_with("basic.ack "), "{event}");
        tag = tag.max(event.tag());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_super_stream_goes_to_another_broker() {
    let (old, new) = (start().await, start().await);
    let wanted = json!({ "binding-keys": "emea,apac,amer", "arguments": { "max-age": "7D" } });
    assert_eq!(status(&old, "PUT", ORDERS, wanted).await, 204);
    let definitions = get(&old, "/api/definitions").await;
    let import = Request::new("POST", "/api/definitions").header("content-type", "application/json");
    let reply = import.body(definitions.to_string()).send(new.http).await;
    assert_eq!(reply.status, 204, "{reply:?}");

    // Keys of bindings, and such that a hash decides on.
    let keys = ["emea", "amer", "customer-1", "customer-2", "customer-3", "customer-17", "x"];
    let mut lie = Vec::new();
    for broker in [&old, &new] {
        publish(&mut client(broker), "orders", &keys, 0..3);
        let mut found = BTreeMap::new();
        for partition in ["orders-amer", "orders-apac", "orders-emea"] {
            let queue = get(broker, &format!("/api/queues/%2F/{partition}")).await;
            assert_eq!((&queue["type"], &queue["arguments"]["x-max-age"]), (&json!("stream"), &json!("7D")));
            let mut reader = member(broker, partition, "count", "c");
            let lag = get(broker, GROUPS).await[0]["lag"].as_u64().expect("a number");
            let mut taken: Vec<_> =
                take(&mut reader, lag as usize).into_iter().map(|(_, key, _)| key).collect();
            taken.sort();
            found.insert(partition, taken);
            leave(reader, "c");
            let group = format!("{GROUPS}/{partition}/count");
            assert_eq!(status(broker, "DELETE", &group, Value::Null).await, 204);
        }
        lie.push(found);
    }
    assert_eq!(lie[0], lie[1]);
    assert!(lie[1].values().all(|keys| !keys.is_empty()), "{lie:?}");
    assert_eq!(lie[1].values().map(Vec::len).sum::<usize>(), 3 * keys.len());

    let mut reader = member(&new, "orders", "billing", "a");
    let taken = take(&mut reader, 3 * keys.len());
    for key in keys {
        assert_eq!(bodies_of(&taken, key), numbers(0..3), "{key}");
    }
}

/// Without a disk nothing is kept of publishers, and what goes does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbered_messages_go_from_memory_too() {
    let broker = start().await;
    let arguments = json!({
        "x-queue-type": "stream", "x-max-length-bytes": 20_000, "x-stream-max-segment-size-bytes": 4096,
    });
    let queue = json!({ "durable": true, "arguments": arguments });
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/s", queue).await, 201);
    let mut publisher = client(&broker);
    publisher.all_ok(1, &["confirm.select"]);
    publish_numbered(&mut publisher, 0..1000);
    let left = get(&broker, "/api/queues/%2F/s").await["messages"].as_u64().expect("a number");
    assert!((1..500).contains(&left), "{left}");
    let mut reader = client(&broker);
    reader.all_ok(1, &["basic.qos prefetch-count=1000"]);
    reader.call(1, method("basic.consume queue=s").args(&[("x-stream-offset", text("first"))]));
    let begin = 1000 - u32::try_from(left).expect("few");
    assert_eq!(bodies_of(&take(&mut reader, left as usize), "s"), numbers(begin..1000));
}

/// Members of groups stay until the last partition goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_super_stream_goes_with_its_consumers() {
    let broker = start().await;
    make_orders(&broker, 2).await;
    let mut reader = member(&broker, "orders", "billing", "a");
    assert_eq!(status(&broker, "DELETE", "/api/queues/%2F/orders-0", Value::Null).await, 204);
    publish(&mut client(&broker), "orders", &["1"], 0..2);
    assert_eq!(bodies_of(&take(&mut reader, 2), "1"), numbers(0..2));
    let consumers = get(&broker, "/api/consumers/%2F").await;
    assert_eq!(consumers[0]["queue"]["name"], "orders-1");
    assert_eq!(status(&broker, "DELETE", ORDERS, Value::Null).await, 204);
    let event = reader.next(1);
    assert_eq!(event.text, "basic.cancel consumer-tag='a' no-wait", "{event}");
    assert_eq!(get(&broker, "/api/consumers/%2F").await, json!([]));
    assert_eq!(get(&broker, GROUPS).await, json!([]));
}

#[tokio::test]
async fn a_super_stream_is_made_as_a_whole_or_not_at_all() {
    let broker = start().await;
    let limit = "/api/vhost-limits/%2F/max-queues";
    assert_eq!(status(&broker, "PUT", limit, json!({ "value": 2 })).await, 204);
    assert_eq!(status(&broker, "PUT", ORDERS, json!({ "partitions": 3 })).await, 400);
    assert_eq!(status(&broker, "PUT", "/api/queues/%2F/orders-1", json!({})).await, 201);
    assert_eq!(status(&broker, "DELETE", limit, Value::Null).await, 204);
    assert_eq!(status(&broker, "PUT", ORDERS, json!({ "partitions": 2 })).await, 400);
    assert_eq!(status(&broker, "DELETE", "/api/queues/%2F/orders-1", Value::Null).await, 204);
    assert_eq!(get(&broker, "/api/queues/%2F").await, json!([]));
    assert_eq!(status(&broker, "DELETE", ORDERS, Value::Null).await, 404);
    make_orders(&broker, 2).await;
}
