//! What may happen to a message, and queues and consumers of all kinds.

use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, BasicRecoverOptions, BasicRejectOptions, ConfirmSelectOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable};
use lapin::{BasicProperties, ExchangeKind};
use tokio::time::sleep;

use crate::broker::{
    Broker, bind, body, consume, depth, durable, exchange, next, publish, refusal, table, take, text,
};
use crate::harness::{Failure, Outcome, expect, failed, until, within};

/// Bytes that a broker takes in one message, unless told otherwise.
const LIMIT: usize = 16 << 20;

fn plain() -> BasicProperties {
    BasicProperties::default()
}

pub async fn get(broker: &Broker) -> Outcome {
    let queue = broker.queue("get");
    let (_connection, channel) = broker.confirming().await?;
    durable(&channel, &queue, FieldTable::default()).await?;
    let get = async || channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
    expect("there is one in an empty queue", get().await?.is_some(), false)?;
    for text in ["one", "two"] {
        publish(&channel, "", &queue, text, plain()).await?;
    }
    for redelivered in [false, true] {
        let Some(message) = get().await? else { return failed("no message") };
        expect("body", body(&message.data).as_str(), "one")?;
        expect("left", message.message_count, 1)?;
        expect("redelivered", message.redelivered, redelivered)?;
        if redelivered {
            message.ack(BasicAckOptions::default()).await?;
        } else {
            message.nack(BasicNackOptions { requeue: true, ..Default::default() }).await?;
        }
    }
    expect("left", depth(&channel, &queue).await?, 1)
}

pub async fn acknowledgements(broker: &Broker) -> Outcome {
    let queue = broker.queue("acks");
    let (connection, channel) = broker.channel().await?;
    durable(&channel, &queue, FieldTable::default()).await?;
    for number in 0..6 {
        publish(&channel, "", &queue, &number.to_string(), plain()).await?;
    }
    let mut consumer = consume(&channel, &queue, FieldTable::default()).await?;
    let mut seen = Vec::new();
    while seen.len() < 6 {
        seen.push(next(&mut consumer).await?);
    }
    seen[1].ack(BasicAckOptions { multiple: true }).await?;
    seen[2].reject(BasicRejectOptions { requeue: false }).await?;
    seen[3].reject(BasicRejectOptions { requeue: true }).await?;
    let again = next(&mut consumer).await?;
    expect("again", (body(&again.data).as_str(), again.redelivered), ("3", true))?;
    seen[5].nack(BasicNackOptions { multiple: true, requeue: true }).await?;
    for _ in 0..2 {
        next(&mut consumer).await?;
    }
    channel.basic_recover(BasicRecoverOptions { requeue: true }).await?;
    let mut last = 0;
    for _ in 0..3 {
        last = next(&mut consumer).await?.delivery_tag;
    }
    channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
    channel.close(200, "done".into()).await?;
    expect("left", depth(&connection.create_channel().await?, &queue).await?, 0)
}

pub async fn prefetch(broker: &Broker) -> Outcome {
    let queue = broker.queue("prefetch");
    let (_connection, channel) = broker.confirming().await?;
    durable(&channel, &queue, FieldTable::default()).await?;
    for _ in 0..10 {
        publish(&channel, "", &queue, "x", plain()).await?;
    }
    channel.basic_qos(3, BasicQosOptions::default()).await?;
    let mut consumer = consume(&channel, &queue, FieldTable::default()).await?;
    let mut second = None;
    for number in 0..3 {
        let delivery = next(&mut consumer).await?;
        if number == 1 {
            second = Some(delivery);
        }
    }
    let more = tokio::time::timeout(Duration::from_millis(200), consumer.next()).await;
    expect("a fourth one", more.is_ok(), false)?;
    if let Some(second) = second {
        second.ack(BasicAckOptions { multiple: true }).await?;
    }
    for _ in 0..2 {
        next(&mut consumer).await?;
    }
    expect("ready", depth(&channel, &queue).await?, 5)
}

pub async fn returns(broker: &Broker) -> Outcome {
    let (_connection, channel) = broker.confirming().await?;
    let headers = table([("order", AMQPValue::LongInt(7))]);
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let key = broker.queue("missing");
    let properties = plain().with_headers(headers.clone());
    let sent = channel.basic_publish("".into(), key.into(), options, b"lost", properties).await?;
    let Some(returned) = within("a confirm", sent).await??.take_message() else {
        return failed("not returned");
    };
    expect("reply", (returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"))?;
    expect("headers", returned.delivery.properties.headers().as_ref(), Some(&headers))?;
    expect("body", body(&returned.delivery.data).as_str(), "lost")
}

pub async fn transactions(broker: &Broker) -> Outcome {
    let queue = broker.queue("tx");
    let (connection, channel) = broker.channel().await?;
    let observer = connection.create_channel().await?;
    durable(&channel, &queue, FieldTable::default()).await?;
    channel.tx_select().await?;
    publish(&channel, "", &queue, "rolled back", plain()).await?;
    channel.tx_rollback().await?;
    publish(&channel, "", &queue, "committed", plain()).await?;
    expect("before the commit", depth(&observer, &queue).await?, 0)?;
    channel.tx_commit().await?;
    expect("after the commit", depth(&observer, &queue).await?, 1)?;
    expect("message", body(&take(&observer, &queue).await?.data).as_str(), "committed")
}

pub async fn ttl(broker: &Broker) -> Outcome {
    let (short, long, gone) = (broker.queue("short"), broker.queue("long"), broker.queue("gone"));
    let (connection, channel) = broker.channel().await?;
    durable(&channel, &short, table([("x-message-ttl", AMQPValue::LongInt(100))])).await?;
    durable(&channel, &long, FieldTable::default()).await?;
    durable(&channel, &gone, table([("x-expires", AMQPValue::LongInt(200))])).await?;
    publish(&channel, "", &short, "by the queue", plain()).await?;
    publish(&channel, "", &long, "by itself", plain().with_expiration("100".into())).await?;
    publish(&channel, "", &long, "stays", plain()).await?;
    until("the short queue is empty", async || Ok(depth(&channel, &short).await? == 0)).await?;
    until("one message is left", async || Ok(depth(&channel, &long).await? == 1)).await?;
    expect("left", body(&take(&channel, &long).await?.data).as_str(), "stays")?;
    sleep(Duration::from_millis(500)).await;
    let doomed = connection.create_channel().await?;
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let refused = refusal(doomed.queue_declare(gone.into(), passive, FieldTable::default()).await)?;
    expect("reply code", refused.0, 404)
}

/// Rejected work waits in a queue and comes back; the third time it is given up.
pub async fn dead_letters(broker: &Broker) -> Outcome {
    let (work, waiting, retry) = (broker.queue("work"), broker.queue("waiting"), broker.exchange("retry"));
    let (_connection, channel) = broker.channel().await?;
    exchange(&channel, &retry, ExchangeKind::Direct, FieldTable::default()).await?;
    let to_retry = [("x-dead-letter-exchange", text(&retry)), ("x-dead-letter-routing-key", text("later"))];
    durable(&channel, &work, table(to_retry)).await?;
    let back = [
        ("x-message-ttl", AMQPValue::LongInt(50)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&work)),
    ];
    durable(&channel, &waiting, table(back)).await?;
    bind(&channel, &waiting, &retry, "later", FieldTable::default()).await?;
    publish(&channel, "", &work, "job", plain()).await?;
    let mut jobs = consume(&channel, &work, FieldTable::default()).await?;
    for tries in 0..3i64 {
        let job = next(&mut jobs).await?;
        if tries > 0 {
            let headers = job.properties.headers().clone().unwrap_or_default();
            let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else {
                return failed("no x-death");
            };
            for death in deaths.as_slice() {
                let AMQPValue::FieldTable(death) = death else { return failed("no table") };
                expect("count", death.inner().get("count"), Some(&AMQPValue::LongLongInt(tries)))?;
            }
            expect("queues", deaths.as_slice().len(), 2)?;
            expect("first death", headers.inner().get("x-first-death-queue"), Some(&text(&work)))?;
        }
        if tries < 2 {
            job.reject(BasicRejectOptions { requeue: false }).await?;
        } else {
            job.ack(BasicAckOptions::default()).await?;
        }
    }
    Ok(())
}

pub async fn priorities(broker: &Broker) -> Outcome {
    let queue = broker.queue("priorities");
    let (_connection, channel) = broker.confirming().await?;
    durable(&channel, &queue, table([("x-max-priority", AMQPValue::LongInt(5))])).await?;
    for (number, priority) in [0, 5, 1, 9, 1].into_iter().enumerate() {
        publish(&channel, "", &queue, &number.to_string(), plain().with_priority(priority)).await?;
    }
    let mut order = String::new();
    for _ in 0..5 {
        order += &body(&take(&channel, &queue).await?.data);
    }
    expect("order", order.as_str(), "13240")
}

pub async fn delayed(broker: &Broker) -> Outcome {
    let (name, queue) = (format!("{}.delayed", broker.prefix), broker.queue("delayed"));
    let (connection, doomed) = broker.channel().await?;
    let kind = ExchangeKind::Custom("x-delayed-message".into());
    let arguments = table([("x-delayed-type", text("direct"))]);
    if let Err(Failure::Failed(reason)) = exchange(&doomed, &name, kind, arguments).await {
        return Err(Failure::Skipped(format!("the broker has no such exchange: {reason}")));
    }
    let channel = connection.create_channel().await?;
    durable(&channel, &queue, FieldTable::default()).await?;
    bind(&channel, &queue, &name, "k", FieldTable::default()).await?;
    let begin = Instant::now();
    let later = plain().with_headers(table([("x-delay", AMQPValue::LongInt(400))]));
    publish(&channel, &name, "k", "later", later).await?;
    publish(&channel, &name, "k", "at once", plain()).await?;
    expect("first", body(&take(&channel, &queue).await?.data).as_str(), "at once")?;
    expect("second", body(&take(&channel, &queue).await?.data).as_str(), "later")?;
    expect("not before its time", begin.elapsed() >= Duration::from_millis(400), true)?;
    channel.exchange_delete(name.into(), Default::default()).await?;
    Ok(())
}

pub async fn big_message(broker: &Broker) -> Outcome {
    let queue = broker.queue("big");
    let (connection, channel) = broker.confirming().await?;
    durable(&channel, &queue, FieldTable::default()).await?;
    let mut large = "All work and no ".repeat(LIMIT / 16);
    publish(&channel, "", &queue, &large, plain().with_delivery_mode(2)).await?;
    expect("the same", take(&channel, &queue).await?.data == large.as_bytes(), true)?;
    large.push('!');
    let doomed = connection.create_channel().await?;
    doomed.confirm_select(ConfirmSelectOptions::default()).await?;
    let sent =
        doomed.basic_publish("".into(), queue.into(), Default::default(), large.as_bytes(), plain()).await?;
    expect("reply code", refusal(within("the refusal", sent).await?)?.0, 406)
}

pub async fn header_types(broker: &Broker) -> Outcome {
    let queue = broker.queue("headers");
    let (_connection, channel) = broker.channel().await?;
    durable(&channel, &queue, FieldTable::default()).await?;
    let mut list = FieldArray::default();
    list.push(AMQPValue::LongInt(1));
    list.push(AMQPValue::Void);
    let headers = table([
        ("bool", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-8)),
        ("u8", AMQPValue::ShortShortUInt(200)),
        ("i16", AMQPValue::ShortInt(-16)),
        ("u16", AMQPValue::ShortUInt(60_000)),
        ("i32", AMQPValue::LongInt(-32)),
        ("u32", AMQPValue::LongUInt(4_000_000_000)),
        ("i64", AMQPValue::LongLongInt(1 << 62)),
        ("float", AMQPValue::Float(0.5)),
        ("double", AMQPValue::Double(1e-300)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 1, value: 15 })),
        ("text", text("ä€𝄞")),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("none", AMQPValue::Void),
        ("time", AMQPValue::Timestamp(1_772_323_199)),
        ("list", AMQPValue::FieldArray(list)),
        ("table", AMQPValue::FieldTable(table([("deep", AMQPValue::FieldTable(FieldTable::default()))]))),
    ]);
    let properties = plain()
        .with_headers(headers)
        .with_content_type("a/b".into())
        .with_content_encoding("gzip".into())
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("60000".into())
        .with_message_id("m".into())
        .with_timestamp(1)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into());
    publish(&channel, "", &queue, "", properties.clone()).await?;
    expect("properties", &take(&channel, &queue).await?.properties, &properties)
}

pub async fn cancelled(broker: &Broker) -> Outcome {
    let queue = broker.queue("cancelled");
    let (_connection, channel) = broker.channel().await?;
    let (_other, other) = broker.channel().await?;
    durable(&channel, &queue, FieldTable::default()).await?;
    let mut consumer = consume(&channel, &queue, FieldTable::default()).await?;
    other.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    let end = within("the cancellation", consumer.next()).await?;
    expect("the consumer ends", end.is_none(), true)?;
    durable(&channel, &queue, FieldTable::default()).await // the channel lives on
}

pub async fn single_active(broker: &Broker) -> Outcome {
    let queue = broker.queue("single");
    let (_connection, channel) = broker.channel().await?;
    durable(&channel, &queue, table([("x-single-active-consumer", AMQPValue::Boolean(true))])).await?;
    let mut first = consume(&channel, &queue, FieldTable::default()).await?;
    let mut second = consume(&channel, &queue, FieldTable::default()).await?;
    for text in ["1", "2"] {
        publish(&channel, "", &queue, text, plain()).await?;
        let delivery = next(&mut first).await?;
        expect("to the first", body(&delivery.data).as_str(), text)?;
        delivery.ack(BasicAckOptions::default()).await?;
    }
    channel.basic_cancel(first.tag(), BasicCancelOptions::default()).await?;
    publish(&channel, "", &queue, "3", plain()).await?;
    expect("to the second", body(&next(&mut second).await?.data).as_str(), "3")
}

pub async fn quorum_queue(broker: &Broker) -> Outcome {
    let (queue, dead) = (broker.queue("quorum"), broker.queue("dead"));
    let (_connection, channel) = broker.confirming().await?;
    durable(&channel, &dead, FieldTable::default()).await?;
    let arguments = table([
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(2)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&dead)),
    ]);
    durable(&channel, &queue, arguments).await?;
    publish(&channel, "", &queue, "poison", plain()).await?;
    let mut consumer = consume(&channel, &queue, FieldTable::default()).await?;
    for count in 0..3 {
        let delivery = next(&mut consumer).await?;
        let headers = delivery.properties.headers().clone().unwrap_or_default();
        let wanted = (count > 0).then_some(AMQPValue::LongLongInt(count));
        expect("delivery count", headers.inner().get("x-delivery-count"), wanted.as_ref())?;
        delivery.reject(BasicRejectOptions { requeue: true }).await?;
    }
    expect("given up", body(&take(&channel, &dead).await?.data).as_str(), "poison")
}

pub async fn stream(broker: &Broker) -> Outcome {
    let queue = broker.queue("stream");
    let (connection, channel) = broker.confirming().await?;
    durable(&channel, &queue, table([("x-queue-type", text("stream"))])).await?;
    for number in 0..20 {
        publish(&channel, "", &queue, &number.to_string(), plain()).await?;
    }
    for (offset, first, count) in
        [(text("first"), 0, 20), (AMQPValue::LongLongInt(15), 15, 5), (text("next"), 20, 1)]
    {
        let reader = connection.create_channel().await?;
        reader.basic_qos(5, BasicQosOptions::default()).await?;
        let mut consumer = consume(&reader, &queue, table([("x-stream-offset", offset)])).await?;
        if first == 20 {
            publish(&channel, "", &queue, "20", plain()).await?;
        }
        for number in first..first + count {
            let delivery = next(&mut consumer).await?;
            let headers = delivery.properties.headers().clone().unwrap_or_default();
            expect("offset", headers.inner().get("x-stream-offset"), Some(&AMQPValue::LongLongInt(number)))?;
            expect("body", body(&delivery.data), number.to_string())?;
            delivery.ack(BasicAckOptions::default()).await?;
        }
        reader.close(200, "done".into()).await?;
    }
    Ok(())
}
