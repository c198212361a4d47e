//! The classic patterns, and publisher confirms.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use amqprs::channel::{BasicAckArguments, BasicPublishArguments, BasicQosArguments, Channel};
use amqprs::{BasicProperties, FieldTable, FieldValue};
use tokio::time::sleep;

use crate::broker::{
    Broker, Told, bind, consume, depth, durable, exchange, next, next_told, publish, publish_confirmed,
    table, temporary, text, texts_until,
};
use crate::harness::{Outcome, expect, failed, until};

fn none() -> FieldTable {
    FieldTable::new()
}

fn plain() -> BasicProperties {
    BasicProperties::default()
}

async fn publish_keys(channel: &Channel, exchange: &str, keys: &[&str]) -> Outcome {
    for key in keys {
        publish(channel, exchange, key, key, plain()).await?;
    }
    Ok(())
}

async fn subscribe(channel: &Channel, exchange: &str, keys: &[&str]) -> Outcome<String> {
    let queue = temporary(channel).await?;
    for key in keys {
        bind(channel, &queue, exchange, key, none()).await?;
    }
    Ok(queue)
}

pub async fn hello_world(broker: &Broker) -> Outcome {
    let queue = broker.queue("hello");
    let (sender, receiver) = (broker.link().await?, broker.link().await?);
    durable(&sender.channel, &queue, none()).await?;
    let headers = table([("lang", text("de")), ("tries", FieldValue::I(1))]);
    let properties = plain().with_content_type("text/plain").with_headers(headers.clone()).finish();
    publish(&sender.channel, "", &queue, "Grüß Gott", properties).await?;

    let message = next(&mut consume(&receiver.channel, &queue, none()).await?).await?;
    expect("body", message.body.as_str(), "Grüß Gott")?;
    expect("delivery", (message.key, message.redelivered), (queue, false))?;
    expect("content type", message.properties.content_type().map(String::as_str), Some("text/plain"))?;
    expect("headers", message.properties.headers(), Some(&headers))
}

pub async fn work_queues(broker: &Broker) -> Outcome {
    let queue = broker.queue("tasks");
    let publisher = broker.link().await?;
    durable(&publisher.channel, &queue, none()).await?;
    let counts = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    for (number, pause) in [100, 10].into_iter().enumerate() {
        let worker = broker.link().await?;
        worker.channel.basic_qos(BasicQosArguments::new(0, 1, false)).await?;
        let mut consumer = consume(&worker.channel, &queue, none()).await?;
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            let _connection = worker.connection; // it ends when it is dropped
            while let Ok(task) = next(&mut consumer).await {
                sleep(Duration::from_millis(pause)).await;
                counts[number].fetch_add(1, Ordering::SeqCst);
                let _ = worker.channel.basic_ack(BasicAckArguments::new(task.tag, false)).await;
            }
        });
    }
    for number in 0..30 {
        let persistent = plain().with_persistence(true).finish();
        publish(&publisher.channel, "", &queue, &format!("task {number}"), persistent).await?;
    }
    let count = |worker: usize| counts[worker].load(Ordering::SeqCst);
    until("all tasks", async || Ok(count(0) + count(1) == 30)).await?;
    expect("left", depth(&publisher.channel, &queue).await?, 0)?;
    expect("the fast one does more", 0 < count(0) && count(0) < count(1), true)
}

pub async fn publish_subscribe(broker: &Broker) -> Outcome {
    let news = broker.exchange("news");
    let publisher = broker.link().await?;
    exchange(&publisher.channel, &news, "fanout", none()).await?;
    let mut subscribers = Vec::new();
    for _ in 0..2 {
        let link = broker.link().await?;
        let queue = subscribe(&link.channel, &news, &[""]).await?;
        subscribers.push((link, queue));
    }
    publish_keys(&publisher.channel, &news, &["one", "two", "end"]).await?;
    for (link, queue) in &subscribers {
        expect("headlines", texts_until("end", &link.channel, queue).await?.join(" ").as_str(), "one two")?;
    }
    Ok(())
}

/// Publishes the keys, and compares what comes by each list of patterns with what is wanted.
async fn routed(broker: &Broker, kind: &str, keys: &[&str], interests: &[(&str, &str)]) -> Outcome {
    let (name, link) = (broker.exchange(kind), broker.link().await?);
    exchange(&link.channel, &name, kind, none()).await?;
    let mut queues = Vec::new();
    for (patterns, _) in interests {
        let patterns: Vec<&str> = patterns.split(' ').chain(["end"]).collect();
        queues.push(subscribe(&link.channel, &name, &patterns).await?);
    }
    publish_keys(&link.channel, &name, keys).await?;
    publish_keys(&link.channel, &name, &["end"]).await?;
    for ((patterns, wanted), queue) in interests.iter().zip(&queues) {
        let texts = texts_until("end", &link.channel, queue).await?.join(" ");
        expect(patterns, texts.as_str(), *wanted)?;
    }
    Ok(())
}

pub async fn routing(broker: &Broker) -> Outcome {
    let keys = ["notice", "critical", "debug", "warning", "critical.disk", "critical"];
    let interests =
        [("critical", "critical critical"), ("notice warning critical", "notice critical warning critical")];
    routed(broker, "direct", &keys, &interests).await
}

pub async fn topics(broker: &Broker) -> Outcome {
    let keys = ["home.kitchen.heat", "home", "office.lab.heat", "office.lab.rack.heat"];
    let interests = [
        ("home.#", "home.kitchen.heat home"),
        ("home.*", ""),
        ("*.*.heat", "home.kitchen.heat office.lab.heat"),
        ("#.heat", "home.kitchen.heat office.lab.heat office.lab.rack.heat"),
        ("#", "home.kitchen.heat home office.lab.heat office.lab.rack.heat"),
    ];
    routed(broker, "topic", &keys, &interests).await
}

pub async fn rpc(broker: &Broker) -> Outcome {
    let queue = broker.queue("squares");
    let server = broker.link().await?;
    durable(&server.channel, &queue, none()).await?;
    let mut requests = consume(&server.channel, &queue, none()).await?;
    tokio::spawn(async move {
        let _connection = server.connection;
        while let Ok(request) = next(&mut requests).await {
            let number: u64 = request.body.parse().unwrap_or_default();
            let (Some(reply_to), Some(id)) =
                (request.properties.reply_to(), request.properties.correlation_id())
            else {
                return;
            };
            let properties = plain().with_correlation_id(id).finish();
            let _ = publish(&server.channel, "", reply_to, &(number * number).to_string(), properties).await;
            let _ = server.channel.basic_ack(BasicAckArguments::new(request.tag, false)).await;
        }
    });
    let client = broker.link().await?;
    let replies = temporary(&client.channel).await?;
    let mut answers = consume(&client.channel, &replies, none()).await?;
    for number in 0..12u64 {
        let properties = plain().with_reply_to(&replies).with_correlation_id(&number.to_string()).finish();
        publish(&client.channel, "", &queue, &number.to_string(), properties).await?;
    }
    for _ in 0..12 {
        let answer = next(&mut answers).await?;
        let number: u64 = answer.properties.correlation_id().map_or(Ok(0), |id| id.parse())?;
        expect("square", answer.body, (number * number).to_string())?;
    }
    Ok(())
}

pub async fn confirms_one_by_one(broker: &Broker) -> Outcome {
    let queue = broker.queue("one");
    let mut link = broker.confirming().await?;
    durable(&link.channel, &queue, none()).await?;
    for number in 1..=20 {
        publish_confirmed(&mut link, &queue, "order", number).await?;
        expect("depth", u64::from(depth(&link.channel, &queue).await?), number)?;
    }
    Ok(())
}

/// The numbers of messages of which the broker has not said anything.
struct Outstanding(BTreeSet<u64>);

impl Outstanding {
    /// What was returned, until nothing is outstanding.
    async fn settle(&mut self, link: &mut crate::broker::Link) -> Outcome<Vec<u16>> {
        let mut returned = Vec::new();
        while !self.0.is_empty() {
            match next_told(&mut link.told).await? {
                Told::Acked(tag, true) => self.0.retain(|number| *number > tag),
                Told::Acked(tag, false) => {
                    expect("known", self.0.remove(&tag), true)?;
                }
                Told::Returned(code, ..) => returned.push(code),
                other => return failed(format!("{other:?}")),
            }
        }
        Ok(returned)
    }
}

pub async fn confirms_in_batches(broker: &Broker) -> Outcome {
    let queue = broker.queue("batch");
    let mut link = broker.confirming().await?;
    durable(&link.channel, &queue, none()).await?;
    for batch in 1..=10u32 {
        for _ in 0..50 {
            let persistent = plain().with_persistence(true).finish();
            publish(&link.channel, "", &queue, "order", persistent).await?;
        }
        let last = u64::from(batch) * 50;
        Outstanding((last - 49..=last).collect()).settle(&mut link).await?;
        expect("depth", depth(&link.channel, &queue).await?, batch * 50)?;
    }
    Ok(())
}

/// Every 100th message cannot be routed: it is returned, and confirmed afterwards.
pub async fn confirms_asynchronous(broker: &Broker) -> Outcome {
    let queue = broker.queue("async");
    let mut link = broker.confirming().await?;
    durable(&link.channel, &queue, none()).await?;
    for number in 1..=2000 {
        let key = if number % 100 == 0 { format!("{}.missing", broker.prefix) } else { queue.clone() };
        let arguments = BasicPublishArguments::new("", &key).mandatory(true).finish();
        let persistent = plain().with_persistence(true).finish();
        link.channel.basic_publish(persistent, b"order".to_vec(), arguments).await?;
    }
    let returned = Outstanding((1..=2000).collect()).settle(&mut link).await?;
    expect("returned", returned, vec![312; 20])?;
    expect("depth", depth(&link.channel, &queue).await?, 1980)
}
