//! A vhost with sessions and outboxes and nothing around them: no socket, no clock, no lock. What the driver and the
//! writer of a connection do in `net` happens here step by step.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use leveret::auth::{Auth, Permission};
use leveret::broker::effects::Effects;
use leveret::broker::queue::dispatch::Fetched;
use leveret::broker::{ConnectionId, Vhost};
use leveret::session::outbox::{Meter, Outboxes};
use leveret::session::stamps::Stamps;
use leveret::session::{Context, Session, Settings};
use leveret::wire::content::Message;

use super::cuts::Cuts;

/// Small, so that bodies of several frames need not be large.
pub const FRAME_MAX: usize = 16 << 10;

/// When it all begins.
const BEGIN: u64 = 1_700_000_000_000;

/// One user who may do everything.
static AUTH: LazyLock<Auth> = LazyLock::new(|| {
    let mut auth = Auth::default();
    auth.put_user("guest", None, Vec::new());
    auth.put_permission("guest", "/", Permission::all().expect("a good pattern"));
    auth
});

thread_local! {
    static RANDOM: Cell<u8> = const { Cell::new(0) };
}

/// Octets that are different each time and the same in each run.
fn random() -> [u8; 16] {
    RANDOM.set(RANDOM.get() + 1);
    [RANDOM.get(); 16]
}

struct Client {
    session: Session,
    meter: Arc<Meter>,
    /// Input that has not been used.
    rest: Vec<u8>,
    /// What its writer has been handed and has not written.
    unwritten: Vec<u8>,
    /// What it has been sent and has not been looked at.
    received: Vec<u8>,
    reading: bool,
}

/// One vhost and the clients that are connected to it, by number.
pub struct Bench {
    vhost: Vhost,
    outboxes: Outboxes,
    clients: BTreeMap<u32, Client>,
    cuts: Cuts,
    now: u64,
}

impl Bench {
    pub fn new(cuts: Cuts) -> Self {
        RANDOM.set(0);
        let mut vhost = Vhost::new("/");
        vhost.set_clock(BEGIN);
        Self { vhost, outboxes: Outboxes::default(), clients: BTreeMap::new(), cuts, now: BEGIN }
    }

    /// Time goes by, alarm by alarm.
    pub fn wait(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while let Some(at) = self.vhost.next_alarm().filter(|at| *at <= end) {
            self.vhost.set_clock(at.max(self.now));
            self.vhost.tick(&mut self.outboxes);
        }
        self.vhost.set_clock(end);
        self.now = end;
        self.write();
    }

    /// Follows another version of RabbitMQ.
    pub fn follow(&mut self, level: &str) {
        self.vhost.compatibility = level.parse().expect("a level of compatibility");
    }

    pub fn is_connected(&self, client: u32) -> bool {
        self.clients.contains_key(&client)
    }

    pub fn connect(&mut self, client: u32, cancel_notify: bool) {
        let id = self.vhost.connect();
        let meter = Arc::<Meter>::default();
        self.outboxes.open(id, FRAME_MAX, cancel_notify, Arc::clone(&meter));
        let settings = Settings {
            user: "guest".into(),
            impersonates: false,
            vhost: "/".into(),
            frame_max: FRAME_MAX,
            channel_max: 16,
            heartbeat: 0,
            consumer_max: None,
            message_size_max: 1 << 20,
            stamps: Stamps::default(),
        };
        let session = Session::new(id, settings);
        let (rest, unwritten, received) = (Vec::new(), Vec::new(), Vec::new());
        self.clients.insert(client, Client { session, meter, rest, unwritten, received, reading: true });
    }

    /// A client's TCP connection is gone.
    pub fn lose(&mut self, client: u32) {
        let mut client = self.clients.remove(&client).expect("a client");
        let Self { vhost, outboxes, now, .. } = self;
        client.session.leave(&mut Context { vhost, outboxes, auth: &AUTH, now: *now, random });
        self.outboxes.close(client.session.id());
        self.write();
        if self.clients.is_empty() {
            let left: usize = self.vhost.queues().map(|queue| queue.unacked() + queue.consumer_count()).sum();
            assert_eq!(left, 0, "nobody is there, and somebody has not acknowledged or still consumes");
        }
    }

    pub fn set_reading(&mut self, client: u32, reading: bool) {
        self.clients.get_mut(&client).expect("a client").reading = reading;
        self.write();
    }

    /// A client sends some octets, which arrive in one or more reads.
    pub fn send(&mut self, client: u32, octets: &[u8]) {
        for piece in self.cuts.pieces(octets) {
            self.clients.get_mut(&client).expect("a client").rest.extend_from_slice(piece);
            while self.take_input(client) {}
        }
    }

    /// Uses a client's input, and says whether to do so again before anything else is read.
    fn take_input(&mut self, client: u32) -> bool {
        let Self { vhost, outboxes, clients, now, .. } = self;
        let client = clients.get_mut(&client).expect("a client");
        let mut batch = Vec::new();
        let parsed = client.session.parse(&client.rest, &mut batch);
        let mut commands = batch.drain(..);
        while commands.len() > 0 {
            let mut cx = Context { vhost, outboxes, auth: &AUTH, now: *now, random };
            client.session.run(&client.rest, &mut commands, &mut cx);
        }
        client.rest.drain(..parsed.octets);
        self.write();
        parsed.more
    }

    /// Hands over what has gathered in outboxes and writes it to those who read, until nothing more comes.
    fn write(&mut self) {
        loop {
            let Self { outboxes, clients, .. } = self;
            outboxes.take_dirty(|gathered| {
                let client = clients.values_mut().find(|client| client.session.id() == gathered.connection);
                let client = client.expect("a client");
                gathered.pieces.iter().for_each(|piece| client.unwritten.extend_from_slice(piece.octets()));
                client.unwritten.extend_from_slice(gathered.buffer);
            });
            let mut resumed = Vec::new();
            for client in clients.values_mut().filter(|client| client.reading) {
                let written = client.unwritten.len();
                client.received.append(&mut client.unwritten);
                if written > 0 && client.meter.written(written) {
                    resumed.push(client.session.id());
                }
            }
            if resumed.is_empty() {
                return;
            }
            resumed.into_iter().for_each(|id| self.vhost.resume(id, &mut self.outboxes));
        }
    }

    /// What each client has been sent since the last call.
    pub fn received(&mut self) -> Vec<(u32, Vec<u8>)> {
        let clients = self.clients.iter_mut().filter(|(_, client)| !client.received.is_empty());
        clients.map(|(number, client)| (*number, std::mem::take(&mut client.received))).collect()
    }

    /// Octets that a client's writer has not written.
    pub fn unwritten(&self, client: u32) -> usize {
        self.clients[&client].unwritten.len()
    }

    /// A queue in words.
    pub fn describe(&self, queue: &str) -> String {
        match self.vhost.queue(queue.as_bytes()) {
            Some(found) => format!(
                "{} ready, {} unacked, {} consumers",
                found.ready(),
                found.unacked(),
                found.consumer_count()
            ),
            None => "gone".to_owned(),
        }
    }

    /// The messages that wait at an exchange, in words.
    pub fn delayed(&self, exchange: &str) -> String {
        let count = self.vhost.delayed(exchange.as_bytes());
        count.map_or("nothing is delayed".to_owned(), |count| format!("{count} delayed"))
    }

    /// Takes every ready message out of a queue.
    pub fn take_all(&mut self, queue: &str) -> Vec<Vec<u8>> {
        let connection = self.vhost.connect();
        let channel = self.vhost.open_channel(connection, 1);
        let mut taken = Taken::default();
        let mut get = || self.vhost.get(channel, queue.as_bytes(), true, &mut taken).expect("a queue");
        while get() == Fetched::Message {}
        self.vhost.disconnect(connection, &mut self.outboxes);
        taken.bodies
    }
}

#[derive(Default)]
struct Taken {
    bodies: Vec<Vec<u8>>,
}

impl Effects for Taken {
    fn has_credit(&mut self, _: ConnectionId) -> bool {
        true
    }

    fn deliver(&mut self, _: &leveret::broker::effects::Delivery<'_>, _: &Message<'_>) {
        panic!("it was asked for by get");
    }

    fn got(&mut self, _: ConnectionId, _: u16, _: &leveret::broker::effects::Got, message: &Message<'_>) {
        self.bodies.push(message.body.octets().to_vec());
    }

    fn cancelled(&mut self, _: ConnectionId, _: u16, _: &[u8]) {}

    fn retry(&mut self, _: ConnectionId) {
        panic!("nothing is on a disk");
    }
}
