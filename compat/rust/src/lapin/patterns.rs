//! The classic patterns, and publisher confirms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_lite::StreamExt;
use lapin::options::{BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};
use tokio::time::sleep;

use crate::broker::{
    Broker, bind, body, consume, depth, durable, exchange, next, publish, table, temporary, text, texts_until,
};
use crate::harness::{Outcome, expect, failed, until, within};

fn none() -> FieldTable {
    FieldTable::default()
}

async fn publish_keys(channel: &Channel, exchange: &str, keys: &[&str]) -> Outcome {
    for key in keys {
        publish(channel, exchange, key, key, BasicProperties::default()).await?;
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
    let (_sender, sender) = broker.channel().await?;
    durable(&sender, &queue, none()).await?;
    let headers = table([("lang", text("de")), ("tries", AMQPValue::LongInt(1))]);
    let properties =
        BasicProperties::default().with_content_type("text/plain".into()).with_headers(headers.clone());
    publish(&sender, "", &queue, "Grüß Gott", properties).await?;

    let (_receiver, receiver) = broker.channel().await?;
    let mut consumer = consume(&receiver, &queue, none()).await?;
    let delivery = next(&mut consumer).await?;
    expect("body", body(&delivery.data).as_str(), "Grüß Gott")?;
    expect("routing key", delivery.routing_key.as_str(), &queue)?;
    expect("redelivered", delivery.redelivered, false)?;
    expect("headers", delivery.properties.headers().as_ref(), Some(&headers))
}

pub async fn work_queues(broker: &Broker) -> Outcome {
    let queue = broker.queue("tasks");
    let (_publisher, publisher) = broker.channel().await?;
    durable(&publisher, &queue, none()).await?;
    let counts = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let mut connections = Vec::new();
    for (number, pause) in [100, 10].into_iter().enumerate() {
        let (connection, channel) = broker.channel().await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let mut consumer = consume(&channel, &queue, none()).await?;
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Some(Ok(task)) = consumer.next().await {
                sleep(Duration::from_millis(pause)).await;
                counts[number].fetch_add(1, Ordering::SeqCst);
                let _ = task.ack(Default::default()).await;
            }
        });
        connections.push((connection, channel));
    }
    for number in 0..30 {
        let properties = BasicProperties::default().with_delivery_mode(2);
        publish(&publisher, "", &queue, &format!("task {number}"), properties).await?;
    }
    let count = |worker: usize| counts[worker].load(Ordering::SeqCst);
    until("all tasks", async || Ok(count(0) + count(1) == 30)).await?;
    expect("left", depth(&publisher, &queue).await?, 0)?;
    expect("the fast one does more", 0 < count(0) && count(0) < count(1), true)
}

pub async fn publish_subscribe(broker: &Broker) -> Outcome {
    let news = broker.exchange("news");
    let (_publisher, publisher) = broker.channel().await?;
    exchange(&publisher, &news, ExchangeKind::Fanout, none()).await?;
    let mut subscribers = Vec::new();
    for _ in 0..2 {
        let (connection, channel) = broker.channel().await?;
        let queue = subscribe(&channel, &news, &[""]).await?;
        subscribers.push((connection, channel, queue));
    }
    publish_keys(&publisher, &news, &["one", "two", "end"]).await?;
    for (_, channel, queue) in &subscribers {
        expect("headlines", texts_until("end", channel, queue).await?, vec!["one".into(), "two".into()])?;
    }
    Ok(())
}

pub async fn routing(broker: &Broker) -> Outcome {
    let log = broker.exchange("log");
    let (_connection, channel) = broker.channel().await?;
    exchange(&channel, &log, ExchangeKind::Direct, none()).await?;
    let pager = subscribe(&channel, &log, &["critical", "end"]).await?;
    let archive = subscribe(&channel, &log, &["notice", "warning", "critical", "end"]).await?;
    let keys = ["notice", "critical", "debug", "warning", "critical.disk", "critical", "end"];
    publish_keys(&channel, &log, &keys).await?;
    expect("pager", texts_until("end", &channel, &pager).await?.join(" ").as_str(), "critical critical")?;
    let archived = texts_until("end", &channel, &archive).await?.join(" ");
    expect("archive", archived.as_str(), "notice critical warning critical")
}

pub async fn topics(broker: &Broker) -> Outcome {
    let readings = broker.exchange("readings");
    let (_connection, channel) = broker.channel().await?;
    exchange(&channel, &readings, ExchangeKind::Topic, none()).await?;
    let interests = [
        ("home.#", "home.kitchen.heat home"),
        ("home.*", ""),
        ("*.*.heat", "home.kitchen.heat office.lab.heat"),
        ("#.heat", "home.kitchen.heat office.lab.heat office.lab.rack.heat"),
        ("#", "home.kitchen.heat home office.lab.heat office.lab.rack.heat"),
    ];
    let mut queues = Vec::new();
    for (pattern, _) in interests {
        queues.push(subscribe(&channel, &readings, &[pattern, "end"]).await?);
    }
    publish_keys(
        &channel,
        &readings,
        &["home.kitchen.heat", "home", "office.lab.heat", "office.lab.rack.heat", "end"],
    )
    .await?;
    for ((pattern, wanted), queue) in interests.iter().zip(&queues) {
        expect(pattern, texts_until("end", &channel, queue).await?.join(" ").as_str(), *wanted)?;
    }
    Ok(())
}

pub async fn rpc(broker: &Broker) -> Outcome {
    let queue = broker.queue("squares");
    let (_server, server) = broker.channel().await?;
    durable(&server, &queue, none()).await?;
    let mut requests = consume(&server, &queue, none()).await?;
    tokio::spawn(async move {
        while let Some(Ok(request)) = requests.next().await {
            let number: u64 = body(&request.data).parse().unwrap_or(0);
            let reply_to = request.properties.reply_to().clone().unwrap_or_default();
            let id = request.properties.correlation_id().clone().unwrap_or_default();
            let properties = BasicProperties::default().with_correlation_id(id);
            let _ = publish(&server, "", reply_to.as_str(), &(number * number).to_string(), properties).await;
            let _ = request.ack(Default::default()).await;
        }
    });
    let (_client, client) = broker.channel().await?;
    let no_ack = lapin::options::BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut replies = client.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), no_ack, none()).await?;
    for number in 0..12u64 {
        let properties = BasicProperties::default()
            .with_reply_to("amq.rabbitmq.reply-to".into())
            .with_correlation_id(number.to_string().into());
        publish(&client, "", &queue, &number.to_string(), properties).await?;
    }
    for _ in 0..12 {
        let reply = next(&mut replies).await?;
        let number: u64 =
            reply.properties.correlation_id().as_ref().map_or(Ok(0), |id| id.as_str().parse())?;
        expect("square", body(&reply.data), (number * number).to_string())?;
    }
    Ok(())
}

pub async fn confirms_one_by_one(broker: &Broker) -> Outcome {
    let queue = broker.queue("one");
    let (_connection, channel) = broker.confirming().await?;
    durable(&channel, &queue, none()).await?;
    for number in 1..=20 {
        publish(&channel, "", &queue, "order", BasicProperties::default().with_delivery_mode(2)).await?;
        expect("depth", depth(&channel, &queue).await?, number)?;
    }
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let missing = format!("{}.missing", broker.prefix);
    let sent = channel
        .basic_publish("".into(), missing.into(), options, b"lost", BasicProperties::default())
        .await?;
    match within("a confirm", sent).await??.take_message() {
        Some(returned) => expect("reply code", returned.reply_code, 312),
        None => failed("a message without a queue was not returned"),
    }
}

pub async fn confirms_in_batches(broker: &Broker) -> Outcome {
    let queue = broker.queue("batch");
    let (_connection, channel) = broker.confirming().await?;
    durable(&channel, &queue, none()).await?;
    for batch in 1..=10 {
        for _ in 0..50 {
            let properties = BasicProperties::default().with_delivery_mode(2);
            drop(
                channel
                    .basic_publish("".into(), queue.as_str().into(), Default::default(), b"order", properties)
                    .await?,
            );
        }
        within("confirms", channel.wait_for_confirms()).await??;
        expect("depth", depth(&channel, &queue).await?, batch * 50)?;
    }
    Ok(())
}

pub async fn confirms_asynchronous(broker: &Broker) -> Outcome {
    let queue = broker.queue("async");
    let (_connection, channel) = broker.confirming().await?;
    durable(&channel, &queue, none()).await?;
    let mut waiting = Vec::new();
    for number in 1..=2000 {
        let key = if number % 100 == 0 { format!("{}.missing", broker.prefix) } else { queue.clone() };
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        waiting.push(channel.basic_publish("".into(), key.into(), options, b"order", properties).await?);
    }
    let mut returned = 0;
    for confirmation in waiting {
        let confirmation = within("a confirm", confirmation).await??;
        expect("acked", confirmation.is_ack(), true)?;
        returned += u32::from(confirmation.take_message().is_some());
    }
    expect("returned", returned, 20)?;
    expect("depth", depth(&channel, &queue).await?, 1980)
}
