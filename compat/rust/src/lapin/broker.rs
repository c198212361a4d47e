//! What the scenarios share: connections, names of their own, and waiting for messages.

use std::process;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_lite::StreamExt;
use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ErrorKind, ExchangeKind};

use crate::harness::{Failure, Outcome, expect, failed, until, within};

pub struct Broker {
    pub uri: String,
    pub prefix: String,
    queues: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
}

pub fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert(name.into(), value);
    }
    table
}

pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

impl Broker {
    pub fn new(uri: &str) -> Self {
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let prefix = format!("compat.rust.{}.{moment:x}", process::id());
        Self { uri: uri.to_owned(), prefix, queues: Mutex::default(), exchanges: Mutex::default() }
    }

    pub async fn connect(&self) -> Outcome<Connection> {
        connect(&self.uri, ConnectionProperties::default()).await
    }

    pub async fn channel(&self) -> Outcome<(Connection, Channel)> {
        let connection = self.connect().await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    pub async fn confirming(&self) -> Outcome<(Connection, Channel)> {
        let (connection, channel) = self.channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }

    /// A queue name that no other run uses; clean_up deletes the queue.
    pub fn queue(&self, label: &str) -> String {
        let name = format!("{}.{label}", self.prefix);
        self.queues.lock().unwrap().push(name.clone());
        name
    }

    /// The same for an exchange.
    pub fn exchange(&self, label: &str) -> String {
        let name = format!("{}.{label}", self.prefix);
        self.exchanges.lock().unwrap().push(name.clone());
        name
    }

    pub async fn clean_up(&self) -> Outcome {
        let (connection, channel) = self.channel().await?;
        let queues = self.queues.lock().unwrap().clone();
        let exchanges = self.exchanges.lock().unwrap().clone();
        for queue in queues {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in exchanges {
            channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        connection.close(200, "done".into()).await?;
        Ok(())
    }
}

pub async fn connect(uri: &str, properties: ConnectionProperties) -> Outcome<Connection> {
    // lapin takes an empty path for an empty name.
    let uri = uri.strip_suffix('/').map_or_else(|| uri.to_owned(), |start| format!("{start}/%2f"));
    Ok(within("connecting", Connection::connect(&uri, properties)).await??)
}

pub async fn durable(channel: &Channel, queue: &str, arguments: FieldTable) -> Outcome {
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    Ok(())
}

/// A queue named by the server, which goes with its connection.
pub async fn temporary(channel: &Channel) -> Outcome<String> {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    Ok(channel.queue_declare("".into(), options, FieldTable::default()).await?.name().to_string())
}

pub async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind, arguments: FieldTable) -> Outcome {
    let options = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(name.into(), kind, options, arguments).await?;
    Ok(())
}

pub async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
    arguments: FieldTable,
) -> Outcome {
    channel.queue_bind(queue.into(), exchange.into(), key.into(), Default::default(), arguments).await?;
    Ok(())
}

/// Publishes, and waits for the confirm where there is one.
pub async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &str,
    properties: BasicProperties,
) -> Outcome {
    let options = BasicPublishOptions::default();
    let sent =
        channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await?;
    let confirmation = within("a confirm", sent).await??;
    expect("refused", confirmation.is_nack(), false)
}

pub async fn consume(channel: &Channel, queue: &str, arguments: FieldTable) -> Outcome<Consumer> {
    Ok(channel
        .basic_consume(queue.into(), ShortString::default(), BasicConsumeOptions::default(), arguments)
        .await?)
}

pub async fn next(consumer: &mut Consumer) -> Outcome<Delivery> {
    match within("a message", consumer.next()).await? {
        Some(delivery) => Ok(delivery?),
        None => failed("the consumer ended"),
    }
}

/// The bodies that the queue holds before the one that says it is the last.
pub async fn texts_until(last: &str, channel: &Channel, queue: &str) -> Outcome<Vec<String>> {
    let mut consumer = consume(channel, queue, FieldTable::default()).await?;
    let mut texts = Vec::new();
    loop {
        let delivery = next(&mut consumer).await?;
        let text = body(&delivery.data);
        delivery.ack(Default::default()).await?;
        if text == last {
            return Ok(texts);
        }
        texts.push(text);
    }
}

pub fn body(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// One message by basic.get, which may take a moment to come.
pub async fn take(channel: &Channel, queue: &str) -> Outcome<BasicGetMessage> {
    let got = Mutex::new(None);
    until("a message", async || {
        let message = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?;
        let there = message.is_some();
        *got.lock().unwrap() = message;
        Ok(there)
    })
    .await?;
    got.into_inner().unwrap().ok_or_else(|| Failure::Failed("nothing".into()))
}

pub async fn depth(channel: &Channel, queue: &str) -> Outcome<u32> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    Ok(channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count())
}

/// The code and text with which the broker refused.
pub fn refusal<T>(result: Result<T, lapin::Error>) -> Outcome<(u16, String)> {
    let Err(error) = result else { return failed("it was not refused") };
    match error.kind() {
        ErrorKind::ProtocolError(reason) => Ok((reason.get_id(), reason.get_message().to_string())),
        _ => failed(format!("another error: {error}")),
    }
}
