//! What the integration tests share: a broker in this process, and a client that says exactly what it is told.
//!
//! The client has an encoder and a decoder of its own and takes nothing from `leveret::wire`, so that a mistake there
//! is not made twice. Every wait ends after [`PATIENCE`].

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of it is test code")]

pub mod client;
pub mod method;
pub mod table;

use std::net::{SocketAddr, TcpStream};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use leveret::auth::password::PasswordHash;
use leveret::auth::{Pattern, Permission};
use leveret::net::listener;
use leveret::node::{Node, clock};
use tokio::runtime::Runtime;

use client::Client;

/// How long anything may take before the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A node of its own for one test, listening on a port that was free.
pub struct Broker {
    pub node: Arc<Node>,
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

/// A queue's messages as its vhost counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub ready: usize,
    pub unacked: usize,
    pub consumers: usize,
}

/// The name of the threads that brokers run on.
const THREADS: &str = "broker";
/// Whether one of them has panicked, in any test of this binary.
static PANICKED: AtomicBool = AtomicBool::new(false);
static WATCH: Once = Once::new();

/// A panic would end one task, which looks like a connection that was dropped; it must not pass for that.
fn watch_for_panics() {
    WATCH.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() == Some(THREADS) {
                PANICKED.store(true, Ordering::SeqCst);
            }
            before(info);
        }));
    });
}

impl Broker {
    pub fn start() -> Self {
        Self::serve(Arc::new(Node::new().unwrap()))
    }

    /// Serves a node, which may be on disk.
    pub fn serve(node: Arc<Node>) -> Self {
        watch_for_panics();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(THREADS)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(listener::bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(listener::accept(listener, Arc::clone(&node)));
        runtime.spawn(clock::run(Arc::clone(&node)));
        Self { node, address, runtime: Some(runtime) }
    }

    /// A connection of `guest` to `/` without any channel.
    pub fn connect(&self) -> Client {
        Client::open(self.address)
    }

    /// A connection with channel 1 open.
    pub fn channel(&self) -> Client {
        let mut client = self.connect();
        client.open_channel(1);
        client
    }

    /// Runs a client that wants a runtime, for as long as anything may take.
    pub fn block_on<F: Future>(&self, client: F) -> F::Output {
        let runtime = self.runtime.as_ref().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, client).await }).expect("an end in time")
    }

    /// A socket that takes little before it is read.
    pub fn narrow_socket(&self) -> TcpStream {
        self.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(16 << 10).unwrap();
            socket.connect(self.address).await.unwrap().into_std().unwrap()
        })
    }

    /// A connection with channel 1 open on such a socket.
    pub fn narrow_channel(&self) -> Client {
        let mut client = Client::on(self.narrow_socket());
        client.shake_hands("guest", &client::start_ok("guest", "guest"), client::FRAME_MAX);
        client.open_channel(1);
        client
    }

    /// Adds a user whose password is the name, with patterns for configure, write and read in `/`.
    pub fn add_user(&self, name: &str, (configure, write, read): (&str, &str, &str)) {
        let [configure, write, read] = [configure, write, read].map(|source| Pattern::new(source).unwrap());
        let hash = PasswordHash::new(name.as_bytes(), *b"salt");
        self.node.put_user(name, Some(hash), Vec::new());
        self.node.put_permission(name, "/", Permission { configure, write, read });
    }

    /// What is in a queue of `/`, if it exists.
    pub fn queue(&self, name: &str) -> Option<Counts> {
        self.node.vhost("/").unwrap().with(|vhost, _| {
            vhost.queue(name.as_bytes()).map(|queue| Counts {
                ready: queue.ready(),
                unacked: queue.unacked(),
                consumers: queue.consumer_count(),
            })
        })
    }

    /// Waits until a queue of `/` has so many ready and so many unacknowledged messages.
    pub fn until(&self, name: &str, ready: usize, unacked: usize) {
        let found = || self.queue(name).map(|counts| (counts.ready, counts.unacked));
        wait_until(|| found() == Some((ready, unacked)), || format!("{name} has {:?}", found()));
    }

    /// Waits until a queue of `/` is not there any more.
    pub fn until_gone(&self, name: &str) {
        wait_until(|| self.queue(name).is_none(), || format!("{name} is still there"));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        assert!(thread::panicking() || !PANICKED.load(Ordering::SeqCst), "a broker has panicked");
    }
}

/// Waits for something that no frame announces.
pub fn wait_until(mut done: impl FnMut() -> bool, state: impl Fn() -> String) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain: {}", state());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Compares a whole table of cases before it fails, so that one run shows all that is wrong.
#[derive(Default)]
pub struct Table {
    wrong: Vec<String>,
    count: usize,
}

impl Table {
    pub fn check(&mut self, case: &str, got: &str, wanted: &str) {
        self.count += 1;
        if got != wanted {
            self.wrong.push(format!("{case}\n     got {got}\n  wanted {wanted}"));
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !thread::panicking() {
            let Self { wrong, count } = self;
            assert!(wrong.is_empty(), "{} of {count} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
        }
    }
}

/// What clients are told of a queue that belongs to another connection, or to this one alone.
pub fn locked(queue: &str, method: &str) -> String {
    format!(
        "channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. \
         It could be originally declared on another connection or the exclusive property value does not match that \
         of the original declaration. {method}"
    )
}
