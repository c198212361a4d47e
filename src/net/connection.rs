//! A connection's life: handshake, batches of frames, close.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::arrival::Arrival;
use super::diary::Diary;
use super::input::{Input, Used};
use super::pace::Pace;
use super::stream::Stream;
use super::writer;
use crate::auth::sasl::Certified;
use crate::broker::{ConnectionId, QueueId};
use crate::node::cell::VhostCell;
use crate::node::connections::ConnectionInfo;
use crate::node::ends::Ends;
use crate::node::entrance::Place;
use crate::node::port::Port;
use crate::node::traffic::Carried;
use crate::node::{Node, now, random};
use crate::session::command::Command;
use crate::session::handshake::{Handshake, Opening, Progress, blocked, open_ok, unblocked};
use crate::session::outbox::READ_LIMIT;
use crate::session::{Context, Session, State};
use crate::wire::reply::Exception;

/// How long a failed handshake stays silent (as RabbitMQ does).
const SILENCE: Duration = Duration::from_secs(3);
/// How long the broker waits for the answer to its `connection.close` (as RabbitMQ does), and for a client that has
/// left to end the TCP connection.
const CLOSING: Duration = Duration::from_secs(30);
/// How long the end of a connection waits for the disk when the node goes down.
const CONFIRMING: Duration = Duration::from_secs(2);
/// Octets a handshake may have unread; its frames are limited to 8 KiB.
const HANDSHAKE_BUFFER: usize = 16 << 10;

/// Serves one AMQP connection until it ends.
pub async fn serve<S: Stream>(mut socket: S, arrival: Arrival, node: Arc<Node>) {
    let Arrival { ends, certified } = arrival;
    let mut diary = Diary::new(&ends);
    let limit = node.handshake_timeout.unwrap_or(Duration::MAX);
    let Ok(shaken) = timeout(limit, shake_hands(&mut socket, &ends, certified, &node, &mut diary)).await
    else {
        return diary.timed_out();
    };
    match shaken {
        Ok(Shaken::Open(opening, (vhost, _place), rest, carried)) => {
            let info = Arc::new(ConnectionInfo::new(ends, &opening, now(), carried));
            diary.entered(&info.vhost);
            node.add_connection(&info, &vhost);
            match run(socket, &opening, vhost, &info, &node, (rest, diary.label())).await {
                Ok(()) => diary.closed(),
                Err(e) => diary.lost(&e),
            }
        }
        Ok(Shaken::Ended) => {
            // TLS has a word for it. Whoever does not take it has it cut off.
            let _ = timeout(SILENCE, socket.shutdown()).await;
            diary.closed();
        }
        Ok(Shaken::Refused) => {
            // Clients answer before they tell of it, and must not find the connection gone.
            let _ = timeout(SILENCE, socket.read(&mut [0; 64])).await;
            let _ = timeout(SILENCE, socket.shutdown()).await;
            diary.closed();
        }
        Ok(Shaken::Left) => {}
        Ok(Shaken::Silently) => {
            sleep(SILENCE).await;
            diary.closed();
        }
        Err(e) => diary.lost(&e),
    }
}

enum Shaken {
    /// Everything but `open-ok` has been sent; the octets have been read already.
    Open(Box<Opening>, (Arc<VhostCell>, Place), Vec<u8>, Carried),
    Ended,
    /// To be ended once the client has answered, or after some silence.
    Refused,
    /// The client has gone, and the log knows.
    Left,
    /// To be ended after some silence.
    Silently,
}

async fn shake_hands<S: Stream>(
    socket: &mut S,
    ends: &Ends,
    certified: Certified,
    node: &Node,
    diary: &mut Diary,
) -> io::Result<Shaken> {
    let mut handshake = Handshake::new(node.current_offer(), certified);
    let mut buffer = Vec::new();
    let mut carried = Carried::default();
    loop {
        let (used, mut progress) = handshake.feed(&buffer);
        buffer.drain(..used);
        let mut looked_at = false;
        if let Progress::Login(credentials) = progress {
            let from = (ends.peer.ip(), ends.peer.ip().is_loopback());
            progress = handshake.logged_in(node.log_in(credentials, from).await);
            looked_at = true;
        }
        if let Some(attempt) = handshake.take_attempt() {
            node.attempts.amqp.note(attempt.refused.is_none());
            diary.attempted(&attempt);
            node.events.logged_in(attempt, ends);
        }
        let entered = match progress {
            Progress::Open(ref opening) => match node.enter(opening) {
                Ok(entered) => Some(entered),
                Err(refusal) => {
                    diary.kept_out(&refusal);
                    handshake.refuse(refusal);
                    None
                }
            },
            _ => None,
        };
        // A client may have sent everything at once, so that there can be output whatever the progress.
        socket.write_all(handshake.output()).await?;
        carried.sent += handshake.output().len() as u64;
        carried.writes += 1;
        socket.flush().await?;
        handshake.output().clear();
        match (progress, entered) {
            (Progress::Open(opening), Some(entered)) => {
                return Ok(Shaken::Open(opening, entered, buffer, carried));
            }
            // What came behind is looked at before more is read.
            (Progress::More | Progress::Closing, _) if looked_at => continue,
            (Progress::More | Progress::Open(_) | Progress::Closing, _) => {}
            (Progress::End, _) => {
                let Some(header) = handshake.wrong_header() else { return Ok(Shaken::Ended) };
                diary.wrong_header(header);
                let _ = timeout(SILENCE, socket.shutdown()).await;
                return Ok(Shaken::Left);
            }
            (Progress::Refused, _) => return Ok(Shaken::Refused),
            (Progress::Login(_) | Progress::EndSilently, _) => return Ok(Shaken::Silently),
        }
        if buffer.len() >= HANDSHAKE_BUFFER {
            return Ok(Shaken::Silently);
        }
        // A client's properties fit, so that they are read at once.
        buffer.reserve(1024);
        let count = socket.read_buf(&mut buffer).await?;
        if count == 0 {
            diary.abandoned();
            return Ok(Shaken::Left);
        }
        diary.heard();
        carried.received += count as u64;
        carried.reads += 1;
    }
}

/// A connection from `open-ok` to its end.
async fn run<S: Stream>(
    socket: S,
    opening: &Opening,
    vhost: Arc<VhostCell>,
    info: &Arc<ConnectionInfo>,
    node: &Arc<Node>,
    (rest, label): (Vec<u8>, String),
) -> io::Result<()> {
    let (reader, writer) = socket.halves();
    let port = Arc::new(Port::default());
    let settings = opening.settings.clone();
    let id = vhost.connect(Arc::clone(&port), Arc::clone(info), settings.frame_max, opening.cancel_notify);
    let _end = End { id, vhost: &vhost, port: &port, info, node };
    port.send(open_ok());
    let beat = (settings.heartbeat > 0).then(|| Duration::from_secs(settings.heartbeat.into()));
    let half_beat = beat.map(|beat| beat / 2);
    let mut writing = tokio::spawn(writer::write(
        writer,
        Arc::clone(&port),
        Arc::clone(&vhost),
        (id, Arc::clone(info)),
        half_beat,
    ));
    let mut driver = Driver {
        session: Session::new(id, settings).named(label),
        vhost: Arc::clone(&vhost),
        node: Arc::clone(node),
        port: Arc::clone(&port),
        info: Arc::clone(info),
        silence_max: beat.map(|beat| beat * 3),
        publishes: false,
        blocked: false,
        pace: Pace::default(),
        blocked_notify: opening.blocked_notify,
    };
    let result = driver.drive(reader, rest, &mut writing).await;
    driver.leave();
    port.close();
    // The writer says what is left to say; a peer that does not read has a while to do so.
    if !writing.is_finished() && timeout(SILENCE, &mut writing).await.is_err() {
        tracing::debug!(connection = &*info.name, "output left behind");
        writing.abort();
    }
    result
}

/// What a connection leaves behind is taken away however its task ends.
struct End<'a> {
    id: ConnectionId,
    vhost: &'a VhostCell,
    port: &'a Port,
    info: &'a Arc<ConnectionInfo>,
    node: &'a Node,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.vhost.disconnect(self.id);
        self.port.close();
        self.node.connections.remove(self.info);
    }
}

thread_local! {
    /// A batch belongs to the thread that runs it, so that connections hold none.
    static BATCH: Cell<Vec<Command>> = const { Cell::new(Vec::new()) };
}

struct Driver {
    session: Session,
    vhost: Arc<VhostCell>,
    node: Arc<Node>,
    port: Arc<Port>,
    info: Arc<ConnectionInfo>,
    /// A peer that is silent for so long is gone: RabbitMQ waits for three heartbeat intervals.
    silence_max: Option<Duration>,
    /// Whether the last batch had messages in it.
    publishes: bool,
    /// Whether it has come to a message during an alarm.
    blocked: bool,
    pace: Pace,
    /// Whether the client wants to be told so.
    blocked_notify: bool,
}

/// What keeps a connection from reading.
#[derive(Clone, Copy)]
struct Held {
    /// Too much is on its way to the peer.
    backlog: bool,
    /// A command waits for the disk.
    waiting: bool,
    /// It publishes, and more comes in than can be written.
    congested: bool,
    /// It publishes, and there is an alarm.
    blocked: bool,
    /// It publishes, and consumers are to catch up.
    paced: bool,
    /// Whether it is none of the peer's fault.
    by_us: bool,
}

impl Held {
    fn any(self) -> bool {
        self.backlog || self.waiting || self.congested || self.blocked || self.paced
    }
}

impl Driver {
    /// Reads and runs until one side has enough. While too much waits to be written nothing is read.
    async fn drive<R: AsyncRead + Unpin>(
        &mut self,
        mut reader: R,
        rest: Vec<u8>,
        writing: &mut JoinHandle<io::Result<()>>,
    ) -> io::Result<()> {
        let mut input = Input::default();
        if !rest.is_empty() {
            input.put_first(rest);
        }
        let (info, port, node) = (Arc::clone(&self.info), Arc::clone(&self.port), Arc::clone(&self.node));
        let mut deadline = None;
        let mut heard = Instant::now();
        while self.session.flow().is_continue() {
            if deadline.is_none() && self.session.state() != State::Running {
                let patience = if self.session.is_deaf() { SILENCE } else { CLOSING };
                deadline = Some(Instant::now() + patience);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(());
            }
            let held = self.held();
            // A peer that is not read from because of us is not silent.
            let silence_max = self.silence_max.filter(|_| !held.by_us);
            let silent_at = silence_max.map(|silence| heard + silence);
            tokio::select! {
                biased;
                why = info.asked_to_close() => {
                    self.await_confirms().await;
                    self.close(&why);
                }
                () = port.progress(), if held.backlog => heard = Instant::now(),
                () = port.may_retry(), if held.waiting || held.paced => {
                    self.end_pause();
                    if held.waiting {
                        self.go_on();
                    }
                    heard = Instant::now();
                }
                () = wait(self.pace.until()), if held.paced => {
                    self.end_pause();
                    heard = Instant::now();
                }
                () = node.congestion.over(), if held.congested => heard = Instant::now(),
                () = node.alarms.all_clear(), if held.blocked => {
                    self.unblock();
                    heard = Instant::now();
                }
                count = input.read(&mut reader, |octets| self.batch(octets)), if !held.any() => {
                    // TLS makes an error of an end without a word. What had to be said is said by AMQP.
                    let count = count.or_else(|e| if e.kind() == ErrorKind::UnexpectedEof { Ok(0) } else { Err(e) });
                    if count? == 0 {
                        return self.end_of_stream();
                    }
                    if input.fresh() > 0 {
                        info.traffic.note_read(input.fresh());
                    }
                    heard = Instant::now();
                }
                // After reading: what a client had sent before it went is taken all the same.
                written = &mut *writing => return Err(cannot_write(written)),
                () = wait(deadline) => {}
                () = wait(silent_at) => {
                    let text = format!("missed heartbeats from client, timeout: {}s", info.heartbeat);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
            }
        }
        Ok(())
    }

    /// What keeps the connection from reading now.
    fn held(&self) -> Held {
        let backlog = self.port.meter().queued() > READ_LIMIT;
        let waiting = self.session.is_waiting();
        // One that is being closed takes no more messages, whatever it sends.
        let running = self.session.state() == State::Running;
        let congested = running && self.publishes && self.node.congestion.is_on();
        let blocked = running && self.blocked;
        let paced = self.pace.until().is_some();
        let by_us = waiting || congested || blocked || paced || (backlog && self.port.meter().is_held());
        Held { backlog, waiting, congested, blocked, paced, by_us }
    }

    /// One read's worth of frames: parsed, and run under the vhost's lock.
    fn batch(&mut self, octets: &[u8]) -> Used {
        let mut batch = BATCH.take();
        self.session.block(self.node.alarms.any());
        let parsed = self.session.parse(octets, &mut batch);
        let mut commands = batch.drain(..);
        let mut behind = None;
        while commands.len() > 0 {
            self.with_session(|session, cx| {
                session.run(octets, &mut commands, cx);
                behind = cx.vhost.take_behind();
            });
        }
        drop(commands);
        if let Some(queue) = self.pace.published(parsed.octets, behind) {
            self.pause_for(queue);
        }
        BATCH.set(batch);
        self.publishes = parsed.content;
        self.info.set_channels(self.session.channel_count());
        if parsed.blocked && self.session.state() == State::Running {
            self.block();
        }
        Used { octets: parsed.octets, more: parsed.more }
    }

    /// Nothing more is read until a queue's consumers have caught up, or for a moment.
    fn pause_for(&mut self, queue: QueueId) {
        let id = self.session.id();
        if let Some(read) = self.vhost.with_vhost(|vhost| vhost.pace(id, queue)) {
            self.pace.begin(read, Instant::now());
        }
    }

    fn end_pause(&mut self) {
        if self.pace.until().is_some() {
            let (id, queue) = (self.session.id(), self.pace.queue());
            let read = self.vhost.with_vhost(|vhost| vhost.unpace(id, queue));
            self.pace.end(read);
        }
    }

    /// Nothing more is read until no alarm is left. The client hears of it past all that has to wait for the disk, which
    /// may be what the alarm is about.
    fn block(&mut self) {
        let alarms = self.node.alarms.in_effect();
        // They may just have ended: then it is tried again.
        if alarms.is_empty() {
            return;
        }
        self.blocked = true;
        self.info.set_blocked(true);
        if self.blocked_notify {
            self.port.send(blocked(&alarms.reason()));
        }
    }

    fn unblock(&mut self) {
        self.blocked = false;
        self.info.set_blocked(false);
        if self.blocked_notify {
            self.port.send(unblocked());
        }
    }

    /// Goes on with what has been put aside, as far as it does not wait again.
    fn go_on(&mut self) {
        self.with_session(Session::go_on);
        while self.session.has_aside() && !self.session.is_waiting() {
            self.with_session(Session::go_on);
        }
        self.info.set_channels(self.session.channel_count());
    }

    fn with_session(&mut self, run: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let (session, auth) = (&mut self.session, self.node.auth());
        self.vhost.with(|vhost, outboxes| {
            run(session, &mut Context { vhost, outboxes, auth: &auth, now: now(), random });
        });
    }

    /// Before the node goes down what has been read is confirmed, if that does not take long: else its publisher would have
    /// to send it once more.
    async fn await_confirms(&mut self) {
        let mut last = None;
        if self.node.is_going_down() {
            self.with_session(|session, cx| last = cx.outboxes.last_unconfirmed(session.id()));
        }
        if let Some(commit) = last {
            let _ = timeout(CONFIRMING, self.vhost.committed(commit)).await;
        }
    }

    /// Somebody asked for the connection to be closed. One that is being closed already is so again only if what it
    /// has been told for it will not leave.
    fn close(&mut self, why: &Exception) {
        self.with_session(|session, cx| {
            if session.state() == State::Running || cx.outboxes.is_lost(session.id()) {
                session.refuse(0, why, cx);
            }
        });
        self.go_on();
    }

    /// The connection has ended, with or without a word: what it had not acknowledged goes back.
    fn leave(&mut self) {
        self.with_session(Session::leave);
    }

    fn end_of_stream(&self) -> io::Result<()> {
        if self.session.state() == State::Running {
            let text = "client unexpectedly closed TCP connection";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(())
    }
}

/// Why a writer has ended before its connection.
fn cannot_write(written: Result<io::Result<()>, JoinError>) -> io::Error {
    match written {
        Ok(Err(e)) => e,
        Ok(Ok(())) => io::ErrorKind::BrokenPipe.into(),
        Err(e) => io::Error::other(e),
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
