//! Exchanges, connections, what is refused, and what fails.

use std::collections::BTreeSet;
use std::path::Path;

use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, ConfirmSelectArguments, ExchangeBindArguments,
    ExchangeDeclareArguments, ExchangeUnbindArguments, QueueDeclareArguments, QueueDeleteArguments,
};
use amqprs::connection::Connection;
use amqprs::tls::TlsAdaptor;
use amqprs::{BasicProperties, FieldTable, FieldValue};

use crate::broker::{
    Broker, Told, arguments, bind, body, cancel, consume, depth, durable, exchange, link, next_told, publish,
    publish_confirmed, refusal, table, take, temporary, text, texts_until,
};
use crate::harness::{Outcome, control, expect, failed, given, until, within};

fn none() -> FieldTable {
    FieldTable::new()
}

fn plain() -> BasicProperties {
    BasicProperties::default()
}

pub async fn alternate_exchange(broker: &Broker) -> Outcome {
    let (main, other, queue) = (broker.exchange("main"), broker.exchange("other"), broker.queue("unrouted"));
    let channel = &broker.link().await?.channel;
    exchange(channel, &other, "fanout", none()).await?;
    exchange(channel, &main, "direct", table([("alternate-exchange", text(&other))])).await?;
    durable(channel, &queue, none()).await?;
    bind(channel, &queue, &other, "", none()).await?;
    publish(channel, &main, "nobody", "caught", plain()).await?;
    let (exchange, key, ..) = take(channel, &queue).await?;
    expect("message", (exchange, key.as_str()), (main, "nobody"))
}

pub async fn exchange_to_exchange(broker: &Broker) -> Outcome {
    let (source, middle, queue) = (broker.exchange("source"), broker.exchange("middle"), broker.queue("end"));
    let mut link = broker.link().await?;
    let channel = &link.channel;
    exchange(channel, &source, "topic", none()).await?;
    exchange(channel, &middle, "fanout", none()).await?;
    durable(channel, &queue, none()).await?;
    channel.exchange_bind(ExchangeBindArguments::new(&middle, &source, "a.#")).await?;
    bind(channel, &queue, &middle, "", none()).await?;
    for key in ["a.b", "b.a"] {
        publish(channel, &source, key, key, plain()).await?;
    }
    expect("message", body(&take(channel, &queue).await?.3).as_str(), "a.b")?;
    channel.exchange_unbind(ExchangeUnbindArguments::new(&middle, &source, "a.#")).await?;
    channel.confirm_select(ConfirmSelectArguments::default()).await?;
    publish(channel, &source, "a.b", "to nobody", plain()).await?;
    expect("confirmed", next_told(&mut link.told).await?, Told::Acked(1, false))?;
    expect("left", depth(&link.channel, &queue).await?, 0)
}

pub async fn headers_exchange(broker: &Broker) -> Outcome {
    let name = broker.exchange("headers");
    let channel = &broker.link().await?.channel;
    exchange(channel, &name, "headers", none()).await?;
    let pages = |count| [("format", text("pdf")), ("pages", FieldValue::I(count))];
    let mut queues = Vec::new();
    for (matching, wanted) in [("all", "both"), ("any", "both one")] {
        let queue = temporary(channel).await?;
        let [format, count] = pages(3);
        bind(channel, &queue, &name, "", table([("x-match", text(matching)), format, count])).await?;
        bind(channel, &queue, &name, "", table([("end", FieldValue::t(true))])).await?;
        queues.push((queue, wanted));
    }
    for (body, headers) in [
        ("both", table(pages(3))),
        ("one", table(pages(4))),
        ("none", table([("format", text("txt"))])),
        ("end", table([("end", FieldValue::t(true))])),
    ] {
        publish(channel, &name, "", body, plain().with_headers(headers).finish()).await?;
    }
    for (queue, wanted) in queues {
        expect("messages", texts_until("end", channel, &queue).await?.join(" ").as_str(), wanted)?;
    }
    Ok(())
}

async fn look(connection: &Connection, queue: &str) -> Outcome<u16> {
    Ok(refusal(connection, async |channel| depth(channel, queue).await.map(drop)).await?.0)
}

pub async fn exclusive_queues(broker: &Broker) -> Outcome {
    let (owner, stranger) = (broker.link().await?, broker.link().await?);
    let queue = temporary(&owner.channel).await?;
    expect("named by the server", queue.starts_with("amq.gen-"), true)?;
    expect("to another connection", look(&stranger.connection, &queue).await?, 405)?;
    owner.connection.close().await?;
    until("it goes with its connection", async || Ok(look(&stranger.connection, &queue).await? == 404)).await
}

pub async fn auto_delete(broker: &Broker) -> Outcome {
    let name = format!("{}.fleeting", broker.prefix);
    let link = broker.link().await?;
    let channel = &link.channel;
    let declare = ExchangeDeclareArguments::new(&name, "fanout").durable(true).auto_delete(true).finish();
    channel.exchange_declare(declare).await?;
    let declare = QueueDeclareArguments::durable_client_named(&name).auto_delete(true).finish();
    channel.queue_declare(declare).await?;
    bind(channel, &name, &name, "", none()).await?;
    let consumer = consume(channel, &name, none()).await?;
    cancel(channel, &consumer).await?;
    expect("the queue", look(&link.connection, &name).await?, 404)?;
    let refused = refusal(&link.connection, async |channel| {
        let passive = ExchangeDeclareArguments::new(&name, "fanout").passive(true).finish();
        Ok(channel.exchange_declare(passive).await?)
    });
    expect("the exchange", refused.await?.0, 404)
}

pub async fn many_channels(broker: &Broker) -> Outcome {
    let queue = broker.queue("many");
    let link = broker.link().await?;
    durable(&link.channel, &queue, none()).await?;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut channels = Vec::new();
    for number in 0..200 {
        let channel = link.connection.open_channel(None).await?;
        let (_, mut messages) = channel.basic_consume_rx(BasicConsumeArguments::new(&queue, "")).await?;
        let (acks, sender) = (channel.clone(), sender.clone());
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                let tag = message.deliver.map_or(0, |deliver| deliver.delivery_tag());
                let _ = acks.basic_ack(BasicAckArguments::new(tag, false)).await;
                let _ = sender.send(number);
            }
        });
        channels.push(channel);
    }
    for each in &channels {
        publish(each, "", &queue, "x", plain()).await?;
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 200 {
        seen.extend(within("all messages", receiver.recv()).await?);
    }
    Ok(())
}

pub async fn connection_options(broker: &Broker) -> Outcome {
    let mut options = arguments(&given("COMPAT_URI_VHOST")?)?;
    options.heartbeat(7).connection_name("compat: options");
    let linked = link(&options).await?;
    let connection = &linked.connection;
    let tuned = (connection.heartbeat(), connection.channel_max(), connection.frame_max());
    expect("tuned", tuned, (7, 2047, 131_072))?;
    let server = connection.server_properties();
    expect("product", server.product(), "RabbitMQ")?;
    let knows = server.capabilities();
    expect("nack and cancel", (knows.basic_nack(), knows.consumer_cancel_notify()), (true, true))?;
    let queue = temporary(&linked.channel).await?;
    publish(&linked.channel, "", &queue, &"x".repeat(1_000_000), plain()).await?; // in several frames
    expect("body", take(&linked.channel, &queue).await?.3.len(), 1_000_000)?;

    // The library does not ask to be told of a refused login, so that the broker says nothing.
    let wrong = arguments(&broker.uri.replace("guest:guest", "guest:wrong"))?;
    expect("let in", within("the end", Connection::open(&wrong)).await?.is_ok(), false)?;
    match link(&arguments(&format!("{}no-such-vhost", broker.uri))?).await {
        Ok(_) => failed("let into a vhost that is not there"),
        Err(crate::harness::Failure::Failed(reason)) => expect(reason.clone(), reason.contains("530"), true),
        Err(skipped) => Err(skipped),
    }
}

pub async fn tls(_: &Broker) -> Outcome {
    let mut options = arguments(&given("COMPAT_URI_TLS")?)?;
    let authority = given("COMPAT_CA")?;
    let _ = rustls::crypto::ring::default_provider().install_default(); // it may be there already
    let adaptor = TlsAdaptor::without_client_auth(Some(Path::new(&authority)), "localhost".into())?;
    let link = link(options.tls_adaptor(adaptor)).await?;
    let queue = temporary(&link.channel).await?;
    publish(&link.channel, "", &queue, &"secret".repeat(100_000), plain()).await?;
    expect("body", take(&link.channel, &queue).await?.3.len(), 600_000)
}

pub async fn missing_exchange(broker: &Broker) -> Outcome {
    let link = broker.link().await?;
    let missing = format!("{}.missing", broker.prefix);
    let refused =
        refusal(&link.connection, async |channel| publish(channel, &missing, "k", "lost", plain()).await);
    expect("reply", refused.await?, (404, format!("NOT_FOUND - no exchange '{missing}' in vhost '/'")))?;
    expect("another channel", link.connection.open_channel(None).await?.is_open(), true)
}

pub async fn permission_denied(broker: &Broker) -> Outcome {
    let link = link(&arguments(&given("COMPAT_URI_LIMITED")?)?).await?;
    let queue = format!("allowed.{}", broker.prefix);
    durable(&link.channel, &queue, none()).await?;
    link.channel.queue_delete(QueueDeleteArguments::new(&queue)).await?;
    let publishing = async |channel: &_| publish(channel, "amq.fanout", "k", "x", plain()).await;
    let (code, reason) = refusal(&link.connection, publishing).await?;
    expect(reason, code, 403)?;
    let declaring = async |channel: &_| durable(channel, &broker.prefix, none()).await;
    let (code, reason) = refusal(&link.connection, declaring).await?;
    expect(reason, code, 403)
}

/// The broker is restarted under a publisher: the library tells of it, the application connects anew, and nothing
/// that was confirmed is lost.
pub async fn recovery(broker: &Broker) -> Outcome {
    given("COMPAT_CONTROL")?;
    let queues = [broker.queue("quorum"), broker.queue("classic")];
    let mut link = broker.confirming().await?;
    let mut published = 0;
    for queue in &queues {
        let kind = queue.rsplit('.').next().unwrap_or_default();
        durable(&link.channel, queue, table([("x-queue-type", text(kind))])).await?;
        for number in 0..100 {
            published += 1;
            publish_confirmed(&mut link, queue, &number.to_string(), published).await?;
        }
    }
    control("restart").await?;
    until("the connection's end", async || Ok(!link.connection.is_open())).await?;
    let again = broker.link().await?;
    for queue in &queues {
        for number in 0..100 {
            expect("kept", body(&take(&again.channel, queue).await?.3), number.to_string())?;
        }
    }
    Ok(())
}
