//! Connections that wait for the disk, over a socket. That a message is not in memory is made so by hand.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, basic, channel, connection, queue};

use super::listener;
use crate::node::Node;
use crate::wire::frame;
use crate::wire::method;
use crate::wire::reply::Exception;

/// How long anything may take before the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    node: Arc<Node>,
    client: TcpStream,
    unread: Vec<u8>,
    _runtime: tokio::runtime::Runtime,
}

impl Rig {
    /// A client that is silent from now on but for what it is told to say. It agreed on heartbeats each second, and has
    /// asked a queue for a message that is not in memory.
    fn waiting() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let node = Arc::new(Node::new().expect("a node"));
        let address = "127.0.0.1:0".parse().expect("an address");
        let listener = runtime.block_on(listener::bind(address)).expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        runtime.spawn(listener::accept(listener, Arc::clone(&node)));
        let mut rig = Self { node, client, unread: Vec::new(), _runtime: runtime };
        rig.shake_hands();
        let queue = queue::Declare { queue: "q".into(), ..queue::Declare::default() };
        rig.send(1, &AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        rig.send(1, &AMQPClass::Queue(queue::AMQPMethod::Declare(queue)));
        rig.until((50, 11));
        rig.set_warm(Some(0));
        let get = basic::Get { queue: "q".into(), no_ack: true };
        rig.send(1, &AMQPClass::Basic(basic::AMQPMethod::Get(get)));
        rig
    }

    fn shake_hands(&mut self) {
        use connection::AMQPMethod as M;
        self.client.write_all(b"AMQP\0\0\x09\x01").expect("sent");
        let start_ok = connection::StartOk {
            mechanism: "PLAIN".into(),
            response: "\0guest\0guest".into(),
            locale: "en_US".into(),
            ..connection::StartOk::default()
        };
        let tune_ok = connection::TuneOk { channel_max: 9, frame_max: 8192, heartbeat: 1 };
        let open = connection::Open { virtual_host: "/".into() };
        for method in [M::StartOk(start_ok), M::TuneOk(tune_ok), M::Open(open)] {
            self.send(0, &AMQPClass::Connection(method));
        }
        self.until((10, 41));
    }

    fn send(&mut self, channel: u16, class: &AMQPClass) {
        let mut out = Vec::new();
        method::put(&mut out, channel, class);
        self.client.write_all(&out).expect("sent");
    }

    fn set_warm(&self, warm: Option<usize>) {
        let vhost = self.node.vhost("/").expect("a vhost");
        vhost.with(|vhost, outboxes| vhost.set_warm(b"q", warm, outboxes));
    }

    /// The next frame: the method's number, or `None` for a heartbeat.
    fn next(&mut self) -> Option<(u16, u16)> {
        loop {
            if let Some(frame) = frame::at(&self.unread, 0, 8192).expect("a frame") {
                let id = method::id(frame.payload(&self.unread));
                self.unread.drain(..frame.next());
                return id;
            }
            let mut octets = [0; 4096];
            let count = self.client.read(&mut octets).expect("something in time");
            assert!(count > 0, "the end");
            self.unread.extend_from_slice(&octets[..count]);
        }
    }

    /// Reads up to a method, and counts the heartbeats before it.
    fn until(&mut self, wanted: (u16, u16)) -> usize {
        let mut beats = 0;
        loop {
            match self.next() {
                None => beats += 1,
                Some(found) if found == wanted => return beats,
                Some(_) => {}
            }
        }
    }

    fn until_gone(&self) {
        let end = Instant::now() + PATIENCE;
        while !self.node.connections.all().is_empty() {
            assert!(Instant::now() < end, "it is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Three seconds of silence are too much for a client that could be heard.
#[test]
fn silence_does_not_count_while_nobody_listens() {
    let mut rig = Rig::waiting();
    // The broker's own heartbeats come twice a second.
    for _ in 0..9 {
        assert_eq!(rig.next(), None, "a heartbeat");
    }
    rig.set_warm(None);
    rig.until((60, 72));
}

#[test]
fn the_operator_closes_it() {
    let mut rig = Rig::waiting();
    let all = rig.node.connections.all();
    all[0].close(Exception::internal_error("enough"));
    rig.until((10, 50));
    rig.send(0, &AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})));
    rig.until_gone();
}

#[test]
fn the_client_goes_away() {
    let mut rig = Rig::waiting();
    assert_eq!(rig.next(), None, "a heartbeat");
    // What the broker sends from now on is refused: its heartbeats tell that nobody is there.
    rig.client.shutdown(Shutdown::Both).expect("shut");
    rig.until_gone();
}
