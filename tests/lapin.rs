//! lapin, a client that knows nothing of this broker, does what applications do.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

mod common;

use futures_lite::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind, PublisherConfirm,
};

use common::Broker;

async fn connect(broker: &Broker) -> Connection {
    let uri = format!("amqp://guest:guest@{}/%2f", broker.address);
    Connection::connect(&uri, ConnectionProperties::default()).await.unwrap()
}

async fn declare(channel: &Channel, queue: &str) {
    channel.queue_declare(queue.into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
}

async fn publish(channel: &Channel, queue: &str, body: &[u8]) {
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, body, BasicProperties::default()).await.unwrap();
}

/// Each fifth goes to nobody.
async fn publish_numbered(channel: &Channel, number: u32) -> PublisherConfirm {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let key = if number.is_multiple_of(5) { "nobody" } else { "q" };
    let (body, properties) = (number.to_be_bytes(), BasicProperties::default());
    channel.basic_publish("".into(), key.into(), options, &body, properties).await.unwrap()
}

async fn consume(channel: &Channel, queue: &str, tag: &str) -> Consumer {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default()).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    consumer.next().await.expect("a message").unwrap()
}

#[test]
fn publish_consume_acknowledge() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let channel = connection.create_channel().await.unwrap();
        declare(&channel, "q").await;
        let mut headers = FieldTable::default();
        headers.insert("n".into(), AMQPValue::LongInt(-5));
        headers.insert("text".into(), AMQPValue::LongString("größe".into()));
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_headers(headers)
            .with_delivery_mode(2)
            .with_correlation_id("c".into())
            .with_timestamp(1_234_567_890);
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), "q".into(), options, b"hello", properties.clone()).await.unwrap();
        let mut consumer = consume(&channel, "q", "c").await;
        let delivery = next(&mut consumer).await;
        assert_eq!((&delivery.data[..], &delivery.properties), (&b"hello"[..], &properties));
        assert_eq!((delivery.routing_key.as_str(), delivery.redelivered), ("q", false));
        assert!(delivery.ack(BasicAckOptions::default()).await.unwrap());
        connection.close(200, "bye".into()).await.unwrap();
    });
    broker.until("q", 0, 0);
}

#[test]
fn confirms_and_returns() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let channel = connection.create_channel().await.unwrap();
        declare(&channel, "q").await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        // One by one, each return belongs to its confirm.
        for number in 0..50 {
            let confirm = publish_numbered(&channel, number).await.await.unwrap();
            assert!(confirm.is_ack(), "{number}: {confirm:?}");
            let returned = confirm.take_message().map(|returned| returned.delivery.data);
            assert_eq!(returned, number.is_multiple_of(5).then(|| number.to_be_bytes().to_vec()));
        }
        // All at once, lapin hands the returns to any of them.
        let mut confirms = Vec::new();
        for number in 50..500 {
            confirms.push(publish_numbered(&channel, number).await);
        }
        let mut returned = Vec::new();
        for confirm in confirms {
            let confirm = confirm.await.unwrap();
            assert!(confirm.is_ack(), "{confirm:?}");
            returned.extend(confirm.take_message().map(|returned| returned.delivery.data));
        }
        returned.sort();
        let wanted: Vec<_> = (10..100_u32).map(|number| (number * 5).to_be_bytes().to_vec()).collect();
        assert_eq!(returned, wanted);
        assert!(channel.wait_for_confirms().await.unwrap().is_empty());
        let mut consumer = consume(&channel, "q", "c").await;
        for number in (0_u32..500).filter(|number| !number.is_multiple_of(5)) {
            assert_eq!(next(&mut consumer).await.data, number.to_be_bytes());
        }
    });
}

#[test]
fn many_channels() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let mut open = Vec::new();
        for number in 0..200 {
            let channel = connection.create_channel().await.unwrap();
            let queue = format!("q{number}");
            declare(&channel, &queue).await;
            let consumer = consume(&channel, &queue, "same tag everywhere").await;
            open.push((channel, queue, consumer));
        }
        for (at, (channel, ..)) in open.iter().enumerate() {
            // To the queue of another one.
            let to = &open[(at + 77) % open.len()].1;
            publish(channel, to, to.as_bytes()).await;
        }
        for (_, queue, consumer) in &mut open {
            let delivery = next(consumer).await;
            assert_eq!(delivery.data, queue.as_bytes());
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        connection.close(200, "bye".into()).await.unwrap();
    });
    for number in 0..200 {
        broker.until(&format!("q{number}"), 0, 0);
    }
}

#[test]
fn five_mebibytes() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let channel = connection.create_channel().await.unwrap();
        declare(&channel, "q").await;
        let body: Vec<u8> = (0..5 << 20).map(|n: u32| (n % 251) as u8).collect();
        publish(&channel, "q", &body).await;
        publish(&channel, "q", b"small, behind").await;
        let got = loop {
            if let Some(got) = channel.basic_get("q".into(), BasicGetOptions::default()).await.unwrap() {
                break got;
            }
        };
        assert!(got.delivery.data == body);
        let mut consumer = consume(&channel, "q", "c").await;
        assert_eq!(next(&mut consumer).await.data, b"small, behind");
        // Delivered at once, past the log.
        publish(&channel, "q", &body).await;
        assert!(next(&mut consumer).await.data == body);
    });
}

/// A consumer whose window is full keeps nothing from the others.
#[test]
fn a_slow_consumer_beside_a_quick_one() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let (slow, quick) =
            (connection.create_channel().await.unwrap(), connection.create_channel().await.unwrap());
        declare(&slow, "q").await;
        slow.basic_qos(2, BasicQosOptions::default()).await.unwrap();
        let mut waiting = consume(&slow, "q", "slow").await;
        let mut consumer = consume(&quick, "q", "quick").await;
        for number in 0..1000_u32 {
            publish(&quick, "q", &number.to_be_bytes()).await;
        }
        let held = [next(&mut waiting).await, next(&mut waiting).await];
        let mut seen: Vec<Vec<u8>> = held.iter().map(|delivery| delivery.data.clone()).collect();
        for _ in 2..1000 {
            let delivery = next(&mut consumer).await;
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            seen.push(delivery.data);
        }
        seen.sort();
        assert!(seen.iter().zip(0_u32..).all(|(body, number)| *body == number.to_be_bytes()));
        for delivery in held {
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        connection.close(200, "bye".into()).await.unwrap();
    });
    broker.until("q", 0, 0);
}

#[test]
fn a_consumer_ends_with_its_queue() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let (channel, other) =
            (connection.create_channel().await.unwrap(), connection.create_channel().await.unwrap());
        declare(&channel, "q").await;
        let mut consumer = consume(&channel, "q", "c").await;
        other.queue_delete("q".into(), QueueDeleteOptions::default()).await.unwrap();
        assert!(consumer.next().await.is_none(), "a cancelled consumer has no next message");
        // The channel goes on.
        declare(&channel, "q").await;
        publish(&channel, "q", b"m").await;
        assert_eq!(next(&mut consume(&channel, "q", "c").await).await.data, b"m");
    });
}

#[test]
fn what_was_not_acknowledged_is_there_after_reconnecting() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let channel = connection.create_channel().await.unwrap();
        declare(&channel, "q").await;
        for number in 0..10_u8 {
            publish(&channel, "q", &[number]).await;
        }
        let mut consumer = consume(&channel, "q", "c").await;
        for number in 0..6_u8 {
            let delivery = next(&mut consumer).await;
            if number.is_multiple_of(2) {
                delivery.ack(BasicAckOptions::default()).await.unwrap();
            }
        }
        connection.close(200, "bye".into()).await.unwrap();
        let connection = connect(&broker).await;
        let channel = connection.create_channel().await.unwrap();
        let mut consumer = consume(&channel, "q", "c").await;
        for number in [1, 3, 5, 6, 7, 8, 9_u8] {
            let delivery = next(&mut consumer).await;
            assert_eq!((&delivery.data[..], delivery.redelivered), (&[number][..], true), "{number}");
        }
    });
}

#[test]
fn a_topic_exchange() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let channel = connection.create_channel().await.unwrap();
        let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
        channel.exchange_declare("x".into(), ExchangeKind::Topic, options, none.clone()).await.unwrap();
        declare(&channel, "q").await;
        let options = QueueBindOptions::default();
        channel.queue_bind("q".into(), "x".into(), "a.*".into(), options, none).await.unwrap();
        for key in ["a.b", "b.a", "a.c"] {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish("x".into(), key.into(), options, key.as_bytes(), properties).await.unwrap();
        }
        let mut consumer = consume(&channel, "q", "c").await;
        assert_eq!(next(&mut consumer).await.data, b"a.b");
        assert_eq!(next(&mut consumer).await.data, b"a.c");
    });
}

/// The error of a channel comes to the client with its text, and the connection goes on.
#[test]
fn an_error_closes_the_channel() {
    let broker = Broker::start();
    broker.block_on(async {
        let connection = connect(&broker).await;
        let channel = connection.create_channel().await.unwrap();
        let error = channel.basic_get("nope".into(), BasicGetOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains("no queue 'nope' in vhost '/'"), "{error}");
        assert!(!channel.status().connected());
        declare(&connection.create_channel().await.unwrap(), "q").await;
    });
}
