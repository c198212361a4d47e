//! What may happen to a message, and queues and consumers of all kinds.

use std::time::{Duration, Instant};

use amqprs::channel::{
    BasicAckArguments, BasicGetArguments, BasicNackArguments, BasicPublishArguments, BasicQosArguments,
    BasicRejectArguments, Channel, ConfirmSelectArguments, ExchangeDeleteArguments, QueueDeleteArguments,
};
use amqprs::{BasicProperties, DecimalValue, FieldArray, FieldTable, FieldValue};
use tokio::time::sleep;

use crate::broker::{
    Broker, Told, bind, body, cancel, consume, depth, durable, exchange, header, is_quiet, next, next_told,
    publish, publish_confirmed, refusal, table, take, text,
};
use crate::harness::{Failure, Outcome, expect, failed, until};

/// Bytes that a broker takes in one message, unless told otherwise.
const LIMIT: usize = 16 << 20;

fn none() -> FieldTable {
    FieldTable::new()
}

fn plain() -> BasicProperties {
    BasicProperties::default()
}

async fn ack(channel: &Channel, tag: u64, multiple: bool) -> Outcome {
    Ok(channel.basic_ack(BasicAckArguments::new(tag, multiple)).await?)
}

async fn reject(channel: &Channel, tag: u64, requeue: bool) -> Outcome {
    Ok(channel.basic_reject(BasicRejectArguments::new(tag, requeue)).await?)
}

pub async fn get(broker: &Broker) -> Outcome {
    let queue = broker.queue("get");
    let channel = &broker.link().await?.channel;
    durable(channel, &queue, none()).await?;
    let get = async || channel.basic_get(BasicGetArguments::new(&queue)).await;
    expect("there is one in an empty queue", get().await?.is_some(), false)?;
    for text in ["one", "two"] {
        publish(channel, "", &queue, text, plain()).await?;
    }
    until("both messages", async || Ok(depth(channel, &queue).await? == 2)).await?;
    for redelivered in [false, true] {
        let Some((got, _, content)) = get().await? else { return failed("no message") };
        expect("body", body(&content).as_str(), "one")?;
        expect("message", (got.message_count(), got.redelivered()), (1, redelivered))?;
        if redelivered {
            ack(channel, got.delivery_tag(), false).await?;
        } else {
            channel.basic_nack(BasicNackArguments::new(got.delivery_tag(), false, true)).await?;
        }
    }
    expect("left", depth(channel, &queue).await?, 1)
}

pub async fn acknowledgements(broker: &Broker) -> Outcome {
    let queue = broker.queue("acks");
    let link = broker.link().await?;
    let channel = link.channel;
    durable(&channel, &queue, none()).await?;
    for number in 0..6 {
        publish(&channel, "", &queue, &number.to_string(), plain()).await?;
    }
    let mut consumer = consume(&channel, &queue, none()).await?;
    let mut seen = Vec::new();
    while seen.len() < 6 {
        seen.push(next(&mut consumer).await?);
    }
    ack(&channel, seen[1].tag, true).await?;
    reject(&channel, seen[2].tag, false).await?;
    reject(&channel, seen[3].tag, true).await?;
    let again = next(&mut consumer).await?;
    expect("again", (again.body.as_str(), again.redelivered), ("3", true))?;
    channel.basic_nack(BasicNackArguments::new(seen[5].tag, true, true)).await?;
    for _ in 0..2 {
        next(&mut consumer).await?;
    }
    channel.basic_recover(true).await?;
    let mut last = 0;
    for _ in 0..3 {
        last = next(&mut consumer).await?.tag;
    }
    ack(&channel, last, true).await?;
    channel.close().await?;
    expect("left", depth(&link.connection.open_channel(None).await?, &queue).await?, 0)
}

pub async fn prefetch(broker: &Broker) -> Outcome {
    let queue = broker.queue("prefetch");
    let channel = &broker.link().await?.channel;
    durable(channel, &queue, none()).await?;
    for _ in 0..10 {
        publish(channel, "", &queue, "x", plain()).await?;
    }
    until("ten messages", async || Ok(depth(channel, &queue).await? == 10)).await?;
    channel.basic_qos(BasicQosArguments::new(0, 3, false)).await?;
    let mut consumer = consume(channel, &queue, none()).await?;
    let mut tags = Vec::new();
    while tags.len() < 3 {
        tags.push(next(&mut consumer).await?.tag);
    }
    expect("no fourth one", is_quiet(&mut consumer).await, true)?;
    ack(channel, tags[1], true).await?;
    for _ in 0..2 {
        next(&mut consumer).await?;
    }
    expect("ready", depth(channel, &queue).await?, 5)
}

pub async fn returns(broker: &Broker) -> Outcome {
    let mut link = broker.link().await?;
    let headers = table([("order", FieldValue::I(7))]);
    let key = format!("{}.missing", broker.prefix);
    let arguments = BasicPublishArguments::new("", &key).mandatory(true).finish();
    let properties = plain().with_headers(headers.clone()).finish();
    link.channel.basic_publish(properties, b"lost".to_vec(), arguments).await?;
    let wanted = Told::Returned(312, "NO_ROUTE lost".into(), key, headers);
    expect("returned", next_told(&mut link.told).await?, wanted)
}

pub async fn transactions(broker: &Broker) -> Outcome {
    let queue = broker.queue("tx");
    let link = broker.link().await?;
    let (channel, observer) = (&link.channel, link.connection.open_channel(None).await?);
    durable(channel, &queue, none()).await?;
    channel.tx_select().await?;
    publish(channel, "", &queue, "rolled back", plain()).await?;
    channel.tx_rollback().await?;
    publish(channel, "", &queue, "committed", plain()).await?;
    expect("before the commit", depth(&observer, &queue).await?, 0)?;
    channel.tx_commit().await?;
    expect("after the commit", depth(&observer, &queue).await?, 1)?;
    expect("message", body(&take(&observer, &queue).await?.3).as_str(), "committed")
}

pub async fn ttl(broker: &Broker) -> Outcome {
    let (short, long, gone) = (broker.queue("short"), broker.queue("long"), broker.queue("gone"));
    let link = broker.link().await?;
    let channel = &link.channel;
    durable(channel, &short, table([("x-message-ttl", FieldValue::I(100))])).await?;
    durable(channel, &long, none()).await?;
    durable(channel, &gone, table([("x-expires", FieldValue::I(200))])).await?;
    publish(channel, "", &short, "by the queue", plain()).await?;
    publish(channel, "", &long, "by itself", plain().with_expiration("100").finish()).await?;
    publish(channel, "", &long, "stays", plain()).await?;
    until("the short queue is empty", async || Ok(depth(channel, &short).await? == 0)).await?;
    until("one message is left", async || Ok(depth(channel, &long).await? == 1)).await?;
    expect("left", body(&take(channel, &long).await?.3).as_str(), "stays")?;
    sleep(Duration::from_millis(500)).await;
    let refused = refusal(&link.connection, async |doomed| depth(doomed, &gone).await.map(drop)).await?;
    expect("the unused queue", refused.0, 404)
}

/// Rejected work waits in a queue and comes back; the third time it is given up.
pub async fn dead_letters(broker: &Broker) -> Outcome {
    let (work, waiting, retry) = (broker.queue("work"), broker.queue("waiting"), broker.exchange("retry"));
    let channel = &broker.link().await?.channel;
    exchange(channel, &retry, "direct", none()).await?;
    let to_retry = [("x-dead-letter-exchange", text(&retry)), ("x-dead-letter-routing-key", text("later"))];
    durable(channel, &work, table(to_retry)).await?;
    let back = [
        ("x-message-ttl", FieldValue::I(50)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&work)),
    ];
    durable(channel, &waiting, table(back)).await?;
    bind(channel, &waiting, &retry, "later", none()).await?;
    publish(channel, "", &work, "job", plain()).await?;
    let mut jobs = consume(channel, &work, none()).await?;
    for tries in 0..3i64 {
        let job = next(&mut jobs).await?;
        if tries > 0 {
            let Some(FieldValue::A(deaths)) = header(&job.properties, "x-death") else {
                return failed("no x-death");
            };
            let deaths: Vec<FieldValue> = deaths.into();
            expect("queues", deaths.len(), 2)?;
            for death in deaths {
                let FieldValue::F(death) = death else { return failed("no table") };
                let count = death.get(&"count".try_into()?).cloned();
                expect("count", count, Some(FieldValue::l(tries)))?;
            }
            expect("first death", header(&job.properties, "x-first-death-queue"), Some(text(&work)))?;
        }
        if tries < 2 {
            reject(channel, job.tag, false).await?;
        } else {
            ack(channel, job.tag, false).await?;
        }
    }
    Ok(())
}

pub async fn priorities(broker: &Broker) -> Outcome {
    let queue = broker.queue("priorities");
    let channel = &broker.link().await?.channel;
    durable(channel, &queue, table([("x-max-priority", FieldValue::I(5))])).await?;
    for (number, priority) in [0, 5, 1, 9, 1].into_iter().enumerate() {
        publish(channel, "", &queue, &number.to_string(), plain().with_priority(priority).finish()).await?;
    }
    until("five messages", async || Ok(depth(channel, &queue).await? == 5)).await?;
    let mut order = String::new();
    for _ in 0..5 {
        order += &body(&take(channel, &queue).await?.3);
    }
    expect("order", order.as_str(), "13240")
}

pub async fn delayed(broker: &Broker) -> Outcome {
    let (name, queue) = (format!("{}.delayed", broker.prefix), broker.queue("delayed"));
    let mut link = broker.link().await?;
    let arguments = table([("x-delayed-type", text("direct"))]);
    if exchange(&link.channel, &name, "x-delayed-message", arguments).await.is_err() {
        let reason = next_told(&mut link.told).await?;
        return Err(Failure::Skipped(format!("the broker has no such exchange: {reason:?}")));
    }
    let channel = &link.channel;
    durable(channel, &queue, none()).await?;
    bind(channel, &queue, &name, "k", none()).await?;
    let begin = Instant::now();
    let later = plain().with_headers(table([("x-delay", FieldValue::I(400))])).finish();
    publish(channel, &name, "k", "later", later).await?;
    publish(channel, &name, "k", "at once", plain()).await?;
    expect("first", body(&take(channel, &queue).await?.3).as_str(), "at once")?;
    expect("second", body(&take(channel, &queue).await?.3).as_str(), "later")?;
    expect("not before its time", begin.elapsed() >= Duration::from_millis(400), true)?;
    Ok(channel.exchange_delete(ExchangeDeleteArguments::new(&name)).await?)
}

pub async fn big_message(broker: &Broker) -> Outcome {
    let queue = broker.queue("big");
    let mut link = broker.confirming().await?;
    durable(&link.channel, &queue, none()).await?;
    let mut large = "All work and no ".repeat(LIMIT / 16);
    publish_confirmed(&mut link, &queue, &large, 1).await?;
    expect("the same", take(&link.channel, &queue).await?.3 == large.as_bytes(), true)?;
    large.push('!');
    let refused = refusal(&link.connection, async |doomed| {
        doomed.confirm_select(ConfirmSelectArguments::default()).await?;
        publish(doomed, "", &queue, &large, plain()).await
    });
    expect("reply code", refused.await?.0, 406)
}

pub async fn header_types(broker: &Broker) -> Outcome {
    let queue = broker.queue("headers");
    let channel = &broker.link().await?.channel;
    durable(channel, &queue, none()).await?;
    let list: FieldArray = vec![FieldValue::I(1), FieldValue::V, text("two")].try_into()?;
    let headers = table([
        ("bool", FieldValue::t(true)),
        ("i8", FieldValue::b(-8)),
        ("u8", FieldValue::B(200)),
        ("i16", FieldValue::s(-16)),
        ("u16", FieldValue::u(60_000)),
        ("i32", FieldValue::I(-32)),
        ("u32", FieldValue::i(4_000_000_000)),
        ("i64", FieldValue::l(1 << 62)),
        ("float", FieldValue::f(0.5)),
        ("double", FieldValue::d(1e-300)),
        ("decimal", FieldValue::D(DecimalValue::new(1, 15))),
        ("text", text("ä€𝄞")),
        ("bytes", FieldValue::x(vec![0, 255].try_into()?)),
        ("none", FieldValue::V),
        ("time", FieldValue::T(1_772_323_199)),
        ("list", FieldValue::A(list)),
        ("table", FieldValue::F(table([("deep", FieldValue::F(none()))]))),
    ]);
    let properties = plain()
        .with_headers(headers)
        .with_content_type("a/b")
        .with_content_encoding("gzip")
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id("c")
        .with_reply_to("r")
        .with_expiration("60000")
        .with_message_id("m")
        .with_timestamp(1)
        .with_message_type("t")
        .with_user_id("guest")
        .with_app_id("a")
        .finish();
    publish(channel, "", &queue, "", properties.clone()).await?;
    let got = take(channel, &queue).await?.2;
    expect("headers", got.headers(), properties.headers())?;
    // The library's properties cannot be compared as a whole; headers come in any order there.
    let rest = |each: &BasicProperties| format!("{}", each.clone().with_headers(none()).finish());
    expect("properties", rest(&got), rest(&properties))
}

pub async fn cancelled(broker: &Broker) -> Outcome {
    let queue = broker.queue("cancelled");
    let (mut link, other) = (broker.link().await?, broker.link().await?);
    durable(&link.channel, &queue, none()).await?;
    let consumer = consume(&link.channel, &queue, none()).await?;
    other.channel.queue_delete(QueueDeleteArguments::new(&queue)).await?;
    expect("told", next_told(&mut link.told).await?, Told::Cancelled(consumer.tag))?;
    durable(&link.channel, &queue, none()).await // the channel lives on
}

pub async fn single_active(broker: &Broker) -> Outcome {
    let queue = broker.queue("single");
    let channel = &broker.link().await?.channel;
    durable(channel, &queue, table([("x-single-active-consumer", FieldValue::t(true))])).await?;
    let mut first = consume(channel, &queue, none()).await?;
    let mut second = consume(channel, &queue, none()).await?;
    for text in ["1", "2"] {
        publish(channel, "", &queue, text, plain()).await?;
        let message = next(&mut first).await?;
        expect("to the first", message.body.as_str(), text)?;
        ack(channel, message.tag, false).await?;
    }
    cancel(channel, &first).await?;
    publish(channel, "", &queue, "3", plain()).await?;
    expect("to the second", next(&mut second).await?.body.as_str(), "3")
}

pub async fn quorum_queue(broker: &Broker) -> Outcome {
    let (queue, dead) = (broker.queue("quorum"), broker.queue("dead"));
    let mut link = broker.confirming().await?;
    durable(&link.channel, &dead, none()).await?;
    let arguments = table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", FieldValue::I(2)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&dead)),
    ]);
    durable(&link.channel, &queue, arguments).await?;
    publish_confirmed(&mut link, &queue, "poison", 1).await?;
    let mut consumer = consume(&link.channel, &queue, none()).await?;
    for count in 0..3 {
        let message = next(&mut consumer).await?;
        let wanted = (count > 0).then_some(FieldValue::l(count));
        expect("delivery count", header(&message.properties, "x-delivery-count"), wanted)?;
        reject(&link.channel, message.tag, true).await?;
    }
    expect("given up", body(&take(&link.channel, &dead).await?.3).as_str(), "poison")
}

pub async fn stream(broker: &Broker) -> Outcome {
    let queue = broker.queue("stream");
    let mut link = broker.confirming().await?;
    durable(&link.channel, &queue, table([("x-queue-type", text("stream"))])).await?;
    for number in 0..20 {
        publish_confirmed(&mut link, &queue, &number.to_string(), number + 1).await?;
    }
    for (offset, first, count) in [(text("first"), 0, 20), (FieldValue::l(15), 15, 5), (text("next"), 20, 1)]
    {
        let reader = link.connection.open_channel(None).await?;
        reader.basic_qos(BasicQosArguments::new(0, 5, false)).await?;
        let mut consumer = consume(&reader, &queue, table([("x-stream-offset", offset)])).await?;
        if first == 20 {
            publish_confirmed(&mut link, &queue, "20", 21).await?;
        }
        for number in first..first + count {
            let message = next(&mut consumer).await?;
            expect("offset", header(&message.properties, "x-stream-offset"), Some(FieldValue::l(number)))?;
            expect("body", message.body, number.to_string())?;
            ack(&reader, message.tag, false).await?;
        }
        reader.close().await?;
    }
    Ok(())
}
