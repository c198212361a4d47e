//! A node in this process over a simulated disk, its definitions in a real folder.
//!
//! The node speaks of its trouble to whoever looks after it, in the log, which belongs to the whole process: so there
//! is one rig at a time.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use leveret::catalog::Catalog;
use leveret::log::disk::Disk;
use leveret::net::listener;
use leveret::node::storage::Storage;
use leveret::node::{Node, clock};
use tokio::runtime::Runtime;

use crate::common::client::{Client, Event};
use crate::common::{Counts, wait_until};
use crate::http::{Reply, Request};
use crate::publisher::{Publisher, number_of};
use crate::sim_disk::SimDisk;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static LISTEN: Once = Once::new();

struct Ear;

impl io::Write for Ear {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        SAID.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A node that serves.
struct Life {
    node: Arc<Node>,
    address: SocketAddr,
    http: SocketAddr,
    /// Dropped before the runtime.
    storage: Option<Storage>,
    runtime: Option<Runtime>,
}

impl Life {
    fn start(folder: &Folder, disk: &SimDisk, memory: usize) -> Self {
        let node = Arc::new(Node::empty(16 << 20, memory));
        let catalog = Catalog::open(&folder.0.join("definitions")).expect("a catalog");
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let storage = Storage::start(catalog, disk, &node, 0).expect("a start");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let bind = || listener::bind("127.0.0.1:0".parse().unwrap());
        let (amqp, api) = runtime.block_on(async { (bind().await.unwrap(), bind().await.unwrap()) });
        let (address, http) = (amqp.local_addr().unwrap(), api.local_addr().unwrap());
        runtime.spawn(listener::accept(amqp, Arc::clone(&node)));
        runtime.spawn(leveret::node::clock::run(Arc::clone(&node)));
        runtime.spawn(leveret::http::serve(api, Arc::clone(&node), Arc::default()));
        runtime.spawn(clock::run(Arc::clone(&node)));
        Self { node, address, http, storage: Some(storage), runtime: Some(runtime) }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        drop(self.storage.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A node and its disk.
pub struct Rig {
    life: Option<Life>,
    pub disk: SimDisk,
    folder: Folder,
    memory: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Rig {
    /// A new node on an empty disk, whose messages may take so much memory.
    pub fn start(name: &str, memory: usize) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        LISTEN.call_once(|| {
            tracing_subscriber::fmt().with_writer(|| Ear).with_ansi(false).with_target(false).init();
        });
        SAID.lock().unwrap().clear();
        let path = std::env::temp_dir().join(format!("leveret-trouble-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let (folder, disk) = (Folder(path), SimDisk::new(1));
        let life = Some(Life::start(&folder, &disk, memory));
        Self { life, disk, folder, memory, _turn: turn }
    }

    /// Starts a new node on what is found of the disk. The one before has no disk any more.
    pub fn restart(&mut self, found: SimDisk) {
        assert!(self.disk.is_off());
        self.life = None;
        SAID.lock().unwrap().clear();
        self.life = Some(Life::start(&self.folder, &found, self.memory));
        self.disk = found;
    }

    /// Ends the node in order.
    pub fn stop(&mut self) {
        self.node().shut_down();
        self.life = None;
    }

    fn life(&self) -> &Life {
        self.life.as_ref().expect("a node")
    }

    pub fn node(&self) -> &Node {
        &self.life().node
    }

    pub fn client(&self) -> Client {
        let mut client = Client::open(self.life().address);
        client.open_channel(1);
        client
    }

    pub fn publisher(&self, queue: &str) -> Publisher {
        Publisher::new(self.life().address, queue)
    }

    pub fn request(&self, request: Request<'_>) -> Reply {
        let runtime = self.life().runtime.as_ref().expect("it runs");
        let reply = request.send(self.life().http);
        runtime
            .block_on(async { tokio::time::timeout(crate::common::PATIENCE, reply).await })
            .expect("a reply")
    }

    pub fn queue(&self, name: &str) -> Counts {
        self.node().vhost("/").unwrap().with(|vhost, _| {
            let queue = vhost.queue(name.as_bytes()).expect("a queue");
            Counts { ready: queue.ready(), unacked: queue.unacked(), consumers: queue.consumer_count() }
        })
    }

    /// Waits until a queue has so many ready and so many unacknowledged messages.
    pub fn until(&self, name: &str, ready: usize, unacked: usize) {
        let found = || (self.queue(name).ready, self.queue(name).unacked);
        wait_until(|| found() == (ready, unacked), || format!("{name} has {:?}", found()));
    }

    /// Waits until the disk has been tried so many more times.
    pub fn until_tried(&self, times: u64) {
        let until = self.disk.operations() + times;
        wait_until(|| self.disk.operations() >= until, || "the disk is not tried".to_owned());
    }

    /// The line of the log that has these words, once it is there.
    pub fn until_said(&self, words: &str) -> String {
        let line = || said().lines().find(|line| line.contains(words)).map(str::to_owned);
        wait_until(|| line().is_some(), || format!("{words:?} is not said, but:\n{}", said()));
        line().unwrap()
    }

    /// The numbers of all messages in a queue, which are fetched and stay there.
    pub fn numbers(&self, queue: &str) -> Vec<u64> {
        let mut client = self.client();
        let mut found = Vec::new();
        loop {
            client.send(1, crate::common::method::method("basic.get").set("queue", queue));
            let event = client.next(1);
            if event.text == "basic.get-empty" {
                return found;
            }
            found.push(number_of(&event.body));
        }
    }
}

/// What the node has said.
pub fn said() -> String {
    String::from_utf8_lossy(&SAID.lock().unwrap()).into_owned()
}

/// The number of a delivery.
pub fn delivered(event: &Event) -> u64 {
    assert!(event.text.starts_with("basic.deliver ") || event.text.starts_with("basic.get-ok "), "{event}");
    number_of(&event.body)
}
