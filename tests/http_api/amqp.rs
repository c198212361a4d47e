//! The least of an AMQP client: it opens a connection, sends methods and waits for some.

use std::net::SocketAddr;

use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::{AMQPValue, FieldTable};
use leveret::wire::method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Client {
    socket: TcpStream,
}

impl Client {
    /// Opens a connection in the vhost, with a name for people.
    pub async fn open(to: SocketAddr, user: &str, password: &str, vhost: &str) -> Self {
        let mut socket = TcpStream::connect(to).await.expect("a connection");
        socket.write_all(b"AMQP\0\0\x09\x01").await.expect("a header sent");
        let mut client = Self { socket };
        assert_eq!(client.read().await.0, (10, 10), "start");
        let mut properties = FieldTable::default();
        properties.insert("connection_name".into(), AMQPValue::LongString("the test".into()));
        let start_ok = connection::StartOk {
            client_properties: properties,
            mechanism: "PLAIN".into(),
            response: format!("\0{user}\0{password}").into(),
            locale: "en_US".into(),
        };
        client.send(0, connection::AMQPMethod::StartOk(start_ok)).await;
        assert_eq!(client.read().await.0, (10, 30), "tune");
        let tune_ok = connection::TuneOk { channel_max: 100, frame_max: 8192, heartbeat: 30 };
        client.send(0, connection::AMQPMethod::TuneOk(tune_ok)).await;
        client.send(0, connection::AMQPMethod::Open(connection::Open { virtual_host: vhost.into() })).await;
        assert_eq!(client.read().await.0, (10, 41), "open-ok");
        client
    }

    pub async fn open_channel(&mut self) {
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        self.put(1, &open).await;
        assert_eq!(self.read().await.0, (20, 11), "open-ok");
    }

    /// `peer -> local`, as the broker names the connection.
    pub fn name(&self) -> String {
        let (peer, local) = (self.socket.local_addr(), self.socket.peer_addr());
        format!("{} -> {}", peer.expect("an address"), local.expect("an address"))
    }

    /// The code and the text of the `connection.close` that comes next.
    pub async fn closed(&mut self) -> (u16, String) {
        let (id, arguments) = self.read().await;
        assert_eq!(id, (10, 50), "close");
        let size = usize::from(arguments[2]);
        let text = String::from_utf8_lossy(&arguments[3..3 + size]).into_owned();
        self.send(0, connection::AMQPMethod::CloseOk(connection::CloseOk {})).await;
        (u16::from_be_bytes([arguments[0], arguments[1]]), text)
    }

    async fn send(&mut self, channel: u16, method: connection::AMQPMethod) {
        self.put(channel, &AMQPClass::Connection(method)).await;
    }

    /// Sends a method and waits for its reply, which has this id.
    pub async fn ask(&mut self, channel: u16, class: &AMQPClass, reply: (u16, u16)) {
        self.put(channel, class).await;
        assert_eq!(self.read().await.0, reply);
    }

    pub async fn put(&mut self, channel: u16, class: &AMQPClass) {
        let mut octets = Vec::new();
        method::put(&mut octets, channel, class);
        self.socket.write_all(&octets).await.expect("a method sent");
    }

    /// The next frame, a method: its ids and its arguments.
    async fn read(&mut self) -> ((u16, u16), Vec<u8>) {
        let mut head = [0; 7];
        self.socket.read_exact(&mut head).await.expect("a frame");
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut payload = vec![0; size + 1];
        self.socket.read_exact(&mut payload).await.expect("a payload");
        assert_eq!((head[0], payload[size]), (1, 0xce), "a method");
        let id = (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]]));
        (id, payload[4..size].to_vec())
    }
}
