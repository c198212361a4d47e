//! Exchanges, connections, what is refused, and what fails.

use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Event, ExchangeKind};
use tokio::time::{sleep, timeout};

use crate::broker::{
    Broker, bind, body, connect, consume, depth, durable, exchange, publish, refusal, table, take, temporary,
    text, texts_until,
};
use crate::harness::{Outcome, PATIENCE, control, expect, failed, given, until, within};

fn none() -> FieldTable {
    FieldTable::default()
}

pub async fn alternate_exchange(broker: &Broker) -> Outcome {
    let (main, other, queue) = (broker.exchange("main"), broker.exchange("other"), broker.queue("unrouted"));
    let (_connection, channel) = broker.confirming().await?;
    exchange(&channel, &other, ExchangeKind::Fanout, none()).await?;
    exchange(&channel, &main, ExchangeKind::Direct, table([("alternate-exchange", text(&other))])).await?;
    durable(&channel, &queue, none()).await?;
    bind(&channel, &queue, &other, "", none()).await?;
    publish(&channel, &main, "nobody", "caught", BasicProperties::default()).await?;
    let got = take(&channel, &queue).await?;
    expect("exchange", got.exchange.as_str(), &main)?;
    expect("routing key", got.routing_key.as_str(), "nobody")
}

pub async fn exchange_to_exchange(broker: &Broker) -> Outcome {
    let (source, middle, queue) = (broker.exchange("source"), broker.exchange("middle"), broker.queue("end"));
    let (_connection, channel) = broker.confirming().await?;
    exchange(&channel, &source, ExchangeKind::Topic, none()).await?;
    exchange(&channel, &middle, ExchangeKind::Fanout, none()).await?;
    durable(&channel, &queue, none()).await?;
    let (from, to) = (source.as_str(), middle.as_str());
    channel.exchange_bind(to.into(), from.into(), "a.#".into(), Default::default(), none()).await?;
    bind(&channel, &queue, &middle, "", none()).await?;
    for key in ["a.b", "b.a"] {
        publish(&channel, &source, key, key, BasicProperties::default()).await?;
    }
    expect("message", body(&take(&channel, &queue).await?.data).as_str(), "a.b")?;
    channel.exchange_unbind(to.into(), from.into(), "a.#".into(), Default::default(), none()).await?;
    publish(&channel, &source, "a.b", "to nobody", BasicProperties::default()).await?;
    expect("left", depth(&channel, &queue).await?, 0)
}

pub async fn headers_exchange(broker: &Broker) -> Outcome {
    let name = broker.exchange("headers");
    let (_connection, channel) = broker.channel().await?;
    exchange(&channel, &name, ExchangeKind::Headers, none()).await?;
    let pages = |count| [("format", text("pdf")), ("pages", AMQPValue::LongInt(count))];
    let mut queues = Vec::new();
    for (matching, wanted) in [("all", "both"), ("any", "both one")] {
        let queue = temporary(&channel).await?;
        let [format, count] = pages(3);
        bind(&channel, &queue, &name, "", table([("x-match", text(matching)), format, count])).await?;
        bind(&channel, &queue, &name, "", table([("end", AMQPValue::Boolean(true))])).await?;
        queues.push((queue, wanted));
    }
    for (body, headers) in [
        ("both", table(pages(3))),
        ("one", table(pages(4))),
        ("none", table([("format", text("txt"))])),
        ("end", table([("end", AMQPValue::Boolean(true))])),
    ] {
        publish(&channel, &name, "", body, BasicProperties::default().with_headers(headers)).await?;
    }
    for (queue, wanted) in queues {
        expect("messages", texts_until("end", &channel, &queue).await?.join(" ").as_str(), wanted)?;
    }
    Ok(())
}

async fn look(connection: &Connection, queue: &str) -> Outcome<u16> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    Ok(refusal(channel.queue_declare(queue.into(), options, none()).await)?.0)
}

pub async fn exclusive_queues(broker: &Broker) -> Outcome {
    let (owner, channel) = broker.channel().await?;
    let stranger = broker.connect().await?;
    let queue = temporary(&channel).await?;
    expect("named by the server", queue.starts_with("amq.gen-"), true)?;
    expect("to another connection", look(&stranger, &queue).await?, 405)?;
    owner.close(200, "done".into()).await?;
    until("it goes with its connection", async || Ok(look(&stranger, &queue).await? == 404)).await
}

pub async fn auto_delete(broker: &Broker) -> Outcome {
    let name = format!("{}.fleeting", broker.prefix);
    let (connection, channel) = broker.channel().await?;
    let options = ExchangeDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
    channel.exchange_declare(name.as_str().into(), ExchangeKind::Fanout, options, none()).await?;
    let options = QueueDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
    channel.queue_declare(name.as_str().into(), options, none()).await?;
    bind(&channel, &name, &name, "", none()).await?;
    let consumer = consume(&channel, &name, none()).await?;
    channel.basic_cancel(consumer.tag(), Default::default()).await?;
    expect("the queue", look(&connection, &name).await?, 404)?;
    let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
    let other = connection.create_channel().await?;
    let looked = other.exchange_declare(name.into(), ExchangeKind::Fanout, passive, none()).await;
    expect("the exchange", refusal(looked)?.0, 404)
}

pub async fn many_channels(broker: &Broker) -> Outcome {
    let queue = broker.queue("many");
    let (connection, channel) = broker.channel().await?;
    durable(&channel, &queue, none()).await?;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut channels: Vec<Channel> = Vec::new();
    for number in 0..200 {
        let channel = connection.create_channel().await?;
        let mut consumer = consume(&channel, &queue, none()).await?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                let _ = delivery.ack(Default::default()).await;
                let _ = sender.send(number);
            }
        });
        channels.push(channel);
    }
    for each in &channels {
        publish(each, "", &queue, "x", BasicProperties::default()).await?;
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 200 {
        seen.extend(within("all messages", receiver.recv()).await?);
    }
    Ok(())
}

pub async fn connection_options(broker: &Broker) -> Outcome {
    let uri = format!("{}?heartbeat=7&channel_max=20&frame_max=8192", given("COMPAT_URI_VHOST")?);
    let properties = ConnectionProperties::default().with_connection_name("compat: options".into());
    let connection = connect(&uri, properties).await?;
    let tuned = connection.configuration();
    expect("tuned", (tuned.heartbeat(), tuned.channel_max(), tuned.frame_max()), (7, 20, 8192))?;
    let channel = connection.create_channel().await?;
    let queue = temporary(&channel).await?;
    publish(&channel, "", &queue, &"x".repeat(100_000), BasicProperties::default()).await?; // in frames of 8192
    expect("body", take(&channel, &queue).await?.data.len(), 100_000)?;

    let wrong = broker.uri.replace("guest:guest", "guest:wrong");
    let refused = Connection::connect(&format!("{wrong}%2f"), ConnectionProperties::default()).await;
    expect("a wrong password", refusal(refused)?.0, 403)?;
    let refused =
        Connection::connect(&format!("{}no-such-vhost", broker.uri), ConnectionProperties::default()).await;
    expect("a vhost that is not there", refusal(refused)?.0, 530)
}

pub async fn tls(_: &Broker) -> Outcome {
    let uri = format!("{}%2f", given("COMPAT_URI_TLS")?);
    let authority = std::fs::read_to_string(given("COMPAT_CA")?)?;
    let config = OwnedTLSConfig { cert_chain: Some(authority), identity: None };
    let runtime = lapin::runtime::default_runtime()?;
    let connection = Connection::connect_with_config(&uri, ConnectionProperties::default(), config, runtime);
    let channel = within("connecting", connection).await??.create_channel().await?;
    let queue = temporary(&channel).await?;
    publish(&channel, "", &queue, &"secret".repeat(100_000), BasicProperties::default()).await?;
    expect("body", take(&channel, &queue).await?.data.len(), 600_000)
}

async fn refused_publish(connection: &Connection, exchange: &str) -> Outcome<(u16, String)> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions::default();
    let sent = channel
        .basic_publish(exchange.into(), "k".into(), options, b"lost", BasicProperties::default())
        .await?;
    refusal(within("the refusal", sent).await?)
}

pub async fn missing_exchange(broker: &Broker) -> Outcome {
    let connection = broker.connect().await?;
    let missing = format!("{}.missing", broker.prefix);
    let (code, reason) = refused_publish(&connection, &missing).await?;
    expect("reply", (code, reason.contains(&format!("no exchange '{missing}' in vhost '/'"))), (404, true))?;
    connection.create_channel().await?;
    Ok(())
}

pub async fn permission_denied(broker: &Broker) -> Outcome {
    let connection = connect(&given("COMPAT_URI_LIMITED")?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let queue = format!("allowed.{}", broker.prefix);
    durable(&channel, &queue, none()).await?;
    channel.queue_delete(queue.into(), Default::default()).await?;
    let (code, reason) = refused_publish(&connection, "amq.fanout").await?;
    expect(reason, code, 403)?;
    let name = broker.prefix.as_str().into();
    let (code, reason) = refusal(channel.queue_declare(name, QueueDeclareOptions::durable(), none()).await)?;
    expect(reason, code, 403)
}

/// The broker is restarted under a publisher and a consumer: the library recovers both, and nothing confirmed is lost.
pub async fn recovery(broker: &Broker) -> Outcome {
    given("COMPAT_CONTROL")?;
    let (queue, work) = (broker.queue("quorum"), broker.queue("work"));
    let connection = connect(&broker.uri, ConnectionProperties::default().enable_auto_recover()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    durable(&channel, &queue, table([("x-queue-type", text("quorum"))])).await?;
    durable(&channel, &work, none()).await?;
    let mut consumer = consume(&channel, &work, none()).await?;
    for number in 0..100 {
        publish(&channel, "", &queue, &number.to_string(), BasicProperties::default().with_delivery_mode(2))
            .await?;
    }
    control("restart").await?;

    let (_witness, witness) = broker.channel().await?;
    for number in 0..100 {
        expect("kept", body(&take(&witness, &queue).await?.data), number.to_string())?;
    }
    publish(&witness, "", &work, "after", BasicProperties::default()).await?;
    let begin = Instant::now();
    while begin.elapsed() < 4 * PATIENCE {
        match timeout(Duration::from_secs(1), consumer.next()).await {
            Ok(Some(Ok(delivery))) => return expect("message", body(&delivery.data).as_str(), "after"),
            Ok(Some(Err(error))) => channel.wait_for_recovery(error).await?,
            Ok(None) => return failed("the consumer ended"),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    failed("the consumer was not recovered")
}

pub async fn blocked(broker: &Broker) -> Outcome {
    given("COMPAT_BLOCK")?;
    let queue = broker.queue("blocked");
    let (connection, channel) = broker.channel().await?;
    let mut events = connection.events_listener();
    durable(&channel, &queue, none()).await?;
    control("block").await?;
    let told = async {
        let sent = channel.basic_publish(
            "".into(),
            queue.as_str().into(),
            Default::default(),
            b"waits",
            Default::default(),
        );
        drop(sent.await?);
        loop {
            if let Some(Event::ConnectionBlocked(reason)) = within("blocked", events.next()).await? {
                return expect(reason.clone(), reason.starts_with("low on "), true);
            }
        }
    };
    let told = told.await;
    control("unblock").await?;
    told?;
    while !matches!(within("unblocked", events.next()).await?, Some(Event::ConnectionUnblocked)) {}
    until("the message", async || Ok(depth(&channel, &queue).await? == 1)).await
}
