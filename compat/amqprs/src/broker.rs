//! What the scenarios share: connections, names of their own, and waiting for messages.

use std::process;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicCancelArguments, BasicConsumeArguments, BasicGetArguments, BasicPublishArguments, Channel,
    ConfirmSelectArguments, ConsumerMessage, ExchangeDeclareArguments, ExchangeDeleteArguments,
    QueueBindArguments, QueueDeclareArguments, QueueDeleteArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, FieldTable, FieldValue, Nack, Return};
use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::harness::{Outcome, expect, failed, until, within};

pub struct Broker {
    pub uri: String,
    pub prefix: String,
    queues: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
}

/// What the broker says on a channel without being asked.
#[derive(Debug, PartialEq)]
pub enum Told {
    Acked(u64, bool),
    Refused(u64),
    Returned(u16, String, String, FieldTable),
    Cancelled(String),
    Closed(u16, String),
}

/// A channel, on a connection of its own, and what is told on it.
pub struct Link {
    pub connection: Connection,
    pub channel: Channel,
    pub told: UnboundedReceiver<Told>,
}

struct Teller(UnboundedSender<Told>);

impl Teller {
    fn tell(&self, told: Told) {
        let _ = self.0.send(told); // a scenario that has ended does not listen
    }
}

type Handled<T = ()> = Result<T, amqprs::error::Error>;

#[async_trait]
impl ChannelCallback for Teller {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Handled {
        self.tell(Told::Closed(close.reply_code(), close.reply_text().clone()));
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Handled {
        self.tell(Told::Cancelled(cancel.consumer_tag().clone()));
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> Handled<bool> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.tell(Told::Acked(ack.delivery_tag(), ack.mutiple()));
    }
    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.tell(Told::Refused(nack.delivery_tag()));
    }
    async fn publish_return(
        &mut self,
        _: &Channel,
        ret: Return,
        properties: BasicProperties,
        content: Vec<u8>,
    ) {
        let headers = properties.headers().cloned().unwrap_or_default();
        let (code, reason) = (ret.reply_code(), ret.reply_text());
        self.tell(Told::Returned(
            code,
            format!("{reason} {}", body(&content)),
            ret.routing_key().clone(),
            headers,
        ));
    }
}

pub fn table<const N: usize>(fields: [(&str, FieldValue); N]) -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in fields {
        table.insert(name.try_into().unwrap(), value);
    }
    table
}

pub fn text(value: &str) -> FieldValue {
    value.into()
}

pub fn header(properties: &BasicProperties, name: &str) -> Option<FieldValue> {
    properties.headers()?.get(&name.try_into().ok()?).cloned()
}

/// Where and as whom, of `amqp://USER:PASSWORD@HOST:PORT/VHOST`.
pub fn arguments(uri: &str) -> Outcome<OpenConnectionArguments> {
    let parts = uri.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    let parts = parts.and_then(|(who, place)| Some((who.split_once(':')?, place.split_once('/')?)));
    let Some(((user, password), (address, vhost))) = parts else { return failed(format!("no URI: {uri}")) };
    let Some((host, port)) = address.split_once(':') else { return failed(format!("no port: {uri}")) };
    let mut arguments = OpenConnectionArguments::new(host, port.parse()?, user, password);
    if !vhost.is_empty() {
        arguments.virtual_host(&vhost.replace("%2F", "/").replace("%2f", "/"));
    }
    Ok(arguments)
}

pub async fn link(arguments: &OpenConnectionArguments) -> Outcome<Link> {
    let connection = within("connecting", Connection::open(arguments)).await??;
    let (channel, told) = another(&connection).await?;
    Ok(Link { connection, channel, told })
}

/// Another channel, and what is told on it.
pub async fn another(connection: &Connection) -> Outcome<(Channel, UnboundedReceiver<Told>)> {
    let channel = connection.open_channel(None).await?;
    let (teller, told) = unbounded_channel();
    channel.register_callback(Teller(teller)).await?;
    Ok((channel, told))
}

impl Broker {
    pub fn new(uri: &str) -> Self {
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let prefix = format!("compat.amqprs.{}.{moment:x}", process::id());
        Self { uri: uri.to_owned(), prefix, queues: Mutex::default(), exchanges: Mutex::default() }
    }

    pub async fn link(&self) -> Outcome<Link> {
        link(&arguments(&self.uri)?).await
    }

    pub async fn confirming(&self) -> Outcome<Link> {
        let link = self.link().await?;
        link.channel.confirm_select(ConfirmSelectArguments::default()).await?;
        Ok(link)
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
        let link = self.link().await?;
        let queues = self.queues.lock().unwrap().clone();
        let exchanges = self.exchanges.lock().unwrap().clone();
        for queue in queues {
            link.channel.queue_delete(QueueDeleteArguments::new(&queue)).await?;
        }
        for exchange in exchanges {
            link.channel.exchange_delete(ExchangeDeleteArguments::new(&exchange)).await?;
        }
        link.channel.close().await?;
        link.connection.close().await?;
        Ok(())
    }
}

pub async fn durable(channel: &Channel, queue: &str, arguments: FieldTable) -> Outcome {
    let declare = QueueDeclareArguments::durable_client_named(queue).arguments(arguments).finish();
    channel.queue_declare(declare).await?;
    Ok(())
}

/// A queue named by the server, which goes with its connection.
pub async fn temporary(channel: &Channel) -> Outcome<String> {
    match channel.queue_declare(QueueDeclareArguments::exclusive_server_named()).await? {
        Some((name, _, _)) => Ok(name),
        None => failed("no name"),
    }
}

pub async fn exchange(channel: &Channel, name: &str, kind: &str, arguments: FieldTable) -> Outcome {
    let declare = ExchangeDeclareArguments::new(name, kind).durable(true).arguments(arguments).finish();
    Ok(channel.exchange_declare(declare).await?)
}

pub async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
    arguments: FieldTable,
) -> Outcome {
    let bind = QueueBindArguments::new(queue, exchange, key).arguments(arguments).finish();
    Ok(channel.queue_bind(bind).await?)
}

pub async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &str,
    properties: BasicProperties,
) -> Outcome {
    let arguments = BasicPublishArguments::new(exchange, key);
    Ok(channel.basic_publish(properties, body.as_bytes().to_vec(), arguments).await?)
}

/// Publishes what is to outlive the broker, as the channel's message of that number, and waits for its confirm.
pub async fn publish_confirmed(link: &mut Link, key: &str, body: &str, number: u64) -> Outcome {
    let persistent = BasicProperties::default().with_persistence(true).finish();
    publish(&link.channel, "", key, body, persistent).await?;
    expect("confirmed", next_told(&mut link.told).await?, Told::Acked(number, false))
}

pub async fn next_told(told: &mut UnboundedReceiver<Told>) -> Outcome<Told> {
    match within("a word of the broker's", told.recv()).await? {
        Some(told) => Ok(told),
        None => failed("the channel ended"),
    }
}

pub struct Consumer {
    pub tag: String,
    messages: UnboundedReceiver<ConsumerMessage>,
}

pub struct Message {
    pub tag: u64,
    pub redelivered: bool,
    pub key: String,
    pub properties: BasicProperties,
    pub body: String,
}

/// A consumer that acknowledges.
pub async fn consume(channel: &Channel, queue: &str, arguments: FieldTable) -> Outcome<Consumer> {
    let arguments = BasicConsumeArguments::new(queue, "").arguments(arguments).finish();
    let (tag, messages) = channel.basic_consume_rx(arguments).await?;
    Ok(Consumer { tag, messages })
}

pub async fn next(consumer: &mut Consumer) -> Outcome<Message> {
    let Some(message) = within("a message", consumer.messages.recv()).await? else {
        return failed("the consumer ended");
    };
    let (Some(deliver), Some(properties), Some(content)) =
        (message.deliver, message.basic_properties, message.content)
    else {
        return failed("a message without a part");
    };
    Ok(Message {
        tag: deliver.delivery_tag(),
        redelivered: deliver.redelivered(),
        key: deliver.routing_key().clone(),
        properties,
        body: body(&content),
    })
}

/// Whether nothing comes for a while.
pub async fn is_quiet(consumer: &mut Consumer) -> bool {
    tokio::time::timeout(std::time::Duration::from_millis(200), consumer.messages.recv()).await.is_err()
}

pub async fn cancel(channel: &Channel, consumer: &Consumer) -> Outcome {
    channel.basic_cancel(BasicCancelArguments::new(&consumer.tag)).await?;
    Ok(())
}

/// The bodies that the queue holds before the one that says it is the last.
pub async fn texts_until(last: &str, channel: &Channel, queue: &str) -> Outcome<Vec<String>> {
    let arguments = BasicConsumeArguments::new(queue, "").manual_ack(false).finish();
    let (tag, messages) = channel.basic_consume_rx(arguments).await?;
    let mut consumer = Consumer { tag, messages };
    let mut texts = Vec::new();
    loop {
        let message = next(&mut consumer).await?;
        if message.body == last {
            cancel(channel, &consumer).await?;
            return Ok(texts);
        }
        texts.push(message.body);
    }
}

pub fn body(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// One message by basic.get, which may take a moment to come: its exchange, key, properties and body.
pub async fn take(channel: &Channel, queue: &str) -> Outcome<(String, String, BasicProperties, Vec<u8>)> {
    let got = Mutex::new(None);
    until("a message", async || {
        let message = channel.basic_get(BasicGetArguments::new(queue).no_ack(true).finish()).await?;
        let there = message.is_some();
        *got.lock().unwrap() = message;
        Ok(there)
    })
    .await?;
    let Some((get_ok, properties, content)) = got.into_inner().unwrap() else { return failed("nothing") };
    Ok((get_ok.exchange().clone(), get_ok.routing_key().clone(), properties, content))
}

pub async fn depth(channel: &Channel, queue: &str) -> Outcome<u32> {
    match channel.queue_declare(QueueDeclareArguments::new(queue).passive(true).finish()).await? {
        Some((_, count, _)) => Ok(count),
        None => failed("no count"),
    }
}

/// The code and text with which the broker closes a new channel, after what is done on it.
pub async fn refusal(
    connection: &Connection,
    doomed: impl AsyncFnOnce(&Channel) -> Outcome,
) -> Outcome<(u16, String)> {
    let (channel, mut told) = another(connection).await?;
    let _ = doomed(&channel).await; // the library tells of the reason by the callback alone
    loop {
        if let Told::Closed(code, reason) = next_told(&mut told).await? {
            return Ok((code, reason));
        }
    }
}
