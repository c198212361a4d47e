//! A connection's life: handshake, batches of frames, close.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::input::{Input, Used};
use super::writer;
use crate::node::cell::VhostCell;
use crate::node::connections::ConnectionInfo;
use crate::node::port::Port;
use crate::node::{Node, now, random};
use crate::session::handshake::{Handshake, Opening, Progress};
use crate::session::outbox::READ_LIMIT;
use crate::session::{Context, Session, State};
use crate::wire::reply::Exception;

/// How long a handshake may take (RabbitMQ's `handshake_timeout`).
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a failed handshake stays silent (as RabbitMQ does).
const SILENCE: Duration = Duration::from_secs(3);
/// How long the broker waits for the answer to its `connection.close` (as RabbitMQ does), and for a client that has
/// left to end the TCP connection.
const CLOSING: Duration = Duration::from_secs(30);
/// Octets a handshake may have unread; its frames are limited to 8 KiB.
const HANDSHAKE_BUFFER: usize = 16 << 10;

/// Serves one AMQP connection until it ends.
pub async fn serve(mut socket: TcpStream, peer: SocketAddr, node: Arc<Node>) {
    let Ok(local) = socket.local_addr() else { return };
    let (peer, local) = (canonical(peer), canonical(local));
    if let Err(e) = socket.set_nodelay(true) {
        tracing::debug!(%peer, "no TCP_NODELAY: {e}");
    }
    let Ok(shaken) = timeout(HANDSHAKE, shake_hands(&mut socket, peer, &node)).await else {
        return tracing::warn!(%peer, "handshake timed out");
    };
    match shaken {
        Ok(Shaken::Open(opening, vhost, rest)) => {
            let info = Arc::new(ConnectionInfo::new((peer, local), &opening, now()));
            tracing::info!(
                connection = &*info.name,
                user = &*info.user,
                vhost = &*info.vhost,
                "connection accepted"
            );
            node.connections.add(Arc::clone(&info));
            let result = run(socket, &opening, Arc::clone(&vhost), &info, &node, rest).await;
            node.connections.remove(&info.name);
            match result {
                Ok(()) => tracing::info!(connection = &*info.name, "connection closed"),
                Err(e) => tracing::warn!(connection = &*info.name, "connection lost: {e}"),
            }
        }
        Ok(Shaken::Ended) => {}
        Ok(Shaken::Silently) => {
            sleep(SILENCE).await;
        }
        Err(e) => tracing::debug!(%peer, "handshake: {e}"),
    }
}

/// An IPv4 peer of an IPv6 socket by its own address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

enum Shaken {
    /// Everything but `open-ok` has been sent; the octets have been read already.
    Open(Box<Opening>, Arc<VhostCell>, Vec<u8>),
    Ended,
    /// To be ended after some silence.
    Silently,
}

async fn shake_hands(socket: &mut TcpStream, peer: SocketAddr, node: &Node) -> io::Result<Shaken> {
    let mut handshake = Handshake::new(Arc::clone(&node.offer), peer.ip().is_loopback());
    let mut buffer = Vec::new();
    loop {
        let (used, progress) = handshake.feed(&buffer, &node.auth());
        buffer.drain(..used);
        let progress = match progress {
            Progress::Open(opening) => match enter(node, &opening) {
                Ok(vhost) => return Ok(Shaken::Open(opening, vhost, buffer)),
                Err(refusal) => {
                    handshake.refuse(refusal);
                    Progress::Closing
                }
            },
            other => other,
        };
        socket.write_all(handshake.output()).await?;
        handshake.output().clear();
        match progress {
            Progress::More | Progress::Open(_) | Progress::Closing => {}
            Progress::End => return Ok(Shaken::Ended),
            Progress::EndSilently => return Ok(Shaken::Silently),
        }
        if buffer.len() >= HANDSHAKE_BUFFER {
            return Ok(Shaken::Silently);
        }
        if socket.read_buf(&mut buffer).await? == 0 {
            return Ok(Shaken::Ended);
        }
    }
}

/// The vhost a client asks for, if it is there and the user may enter.
fn enter(node: &Node, opening: &Opening) -> Result<Arc<VhostCell>, Exception> {
    let (user, name) = (&opening.settings.user, &opening.settings.vhost);
    let vhost = node.vhost(name).ok_or_else(|| Exception::not_allowed(format!("vhost {name} not found")))?;
    if !node.auth().may_enter(user, name) {
        return Err(Exception::not_allowed(format!("access to vhost '{name}' refused for user '{user}'")));
    }
    Ok(vhost)
}

/// A connection from `open-ok` to its end.
async fn run(
    socket: TcpStream,
    opening: &Opening,
    vhost: Arc<VhostCell>,
    info: &Arc<ConnectionInfo>,
    node: &Arc<Node>,
    rest: Vec<u8>,
) -> io::Result<()> {
    let (reader, writer) = socket.into_split();
    let port = Arc::new(Port::default());
    let settings = opening.settings.clone();
    let id = vhost.connect(Arc::clone(&port), settings.frame_max, opening.cancel_notify);
    let mut accepted = Handshake::new(Arc::clone(&node.offer), true);
    accepted.accept();
    port.send(std::mem::take(accepted.output()));
    let beat = (settings.heartbeat > 0).then(|| Duration::from_secs(settings.heartbeat.into()));
    let half_beat = beat.map(|beat| beat / 2);
    let writing = tokio::spawn(write(writer, Arc::clone(&port), Arc::clone(&vhost), id, half_beat));
    let mut driver = Driver {
        session: Session::new(id, settings),
        vhost: Arc::clone(&vhost),
        node: Arc::clone(node),
        port: Arc::clone(&port),
        info: Arc::clone(info),
        silence_max: beat.map(|beat| beat * 3),
    };
    let result = driver.drive(reader, rest, &writing).await;
    vhost.disconnect(id);
    port.close();
    // The writer says what is left to say; a peer that does not read has a while to do so.
    if timeout(SILENCE, writing).await.is_err() {
        tracing::debug!(connection = &*info.name, "output left behind");
    }
    result
}

/// Writes until the end; a failure wakes the reader, for whom the connection is over as well.
async fn write(
    socket: OwnedWriteHalf,
    port: Arc<Port>,
    vhost: Arc<VhostCell>,
    id: crate::broker::ConnectionId,
    beat: Option<Duration>,
) {
    if let Err(e) = writer::write(socket, Arc::clone(&port), vhost, id, beat).await {
        tracing::debug!("cannot write: {e}");
    }
    port.wrote();
}

struct Driver {
    session: Session,
    vhost: Arc<VhostCell>,
    node: Arc<Node>,
    port: Arc<Port>,
    info: Arc<ConnectionInfo>,
    /// A peer that is silent for so long is gone: RabbitMQ waits for three heartbeat intervals.
    silence_max: Option<Duration>,
}

impl Driver {
    async fn drive(
        &mut self,
        mut reader: OwnedReadHalf,
        rest: Vec<u8>,
        writing: &tokio::task::JoinHandle<()>,
    ) -> io::Result<()> {
        let mut input = Input::default();
        if !rest.is_empty() {
            input.put_first(rest);
        }
        let info = Arc::clone(&self.info);
        let mut deadline = None;
        let mut heard = Instant::now();
        while self.session.flow().is_continue() {
            while self.port.meter().queued() > READ_LIMIT && !writing.is_finished() {
                self.port.progress().await;
            }
            if writing.is_finished() {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the peer does not take output"));
            }
            if deadline.is_none() && self.session.state() != State::Running {
                let patience = if self.session.is_deaf() { SILENCE } else { CLOSING };
                deadline = Some(Instant::now() + patience);
            }
            let silent_at = self.silence_max.map(|silence| heard + silence);
            let give_up = [deadline, silent_at].into_iter().flatten().min();
            tokio::select! {
                biased;
                why = info.asked_to_close(), if deadline.is_none() => self.close(&why),
                count = input.read(&mut reader, |octets| self.batch(octets)) => {
                    if count? == 0 {
                        return self.end_of_stream();
                    }
                    heard = Instant::now();
                }
                () = wait(give_up) => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Ok(());
                    }
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "missed heartbeats from client"));
                }
            }
        }
        Ok(())
    }

    /// One read's worth of frames: parsed, and run under the vhost's lock.
    fn batch(&mut self, octets: &[u8]) -> Used {
        let parsed = self.session.parse(octets);
        if self.session.has_work() {
            let (session, auth) = (&mut self.session, self.node.auth());
            self.vhost.with(|vhost, outboxes| {
                let mut cx = Context { vhost, outboxes, auth: &auth, now: now(), random };
                session.run(octets, &mut cx);
            });
            self.info.set_channels(self.session.channel_count());
        }
        Used { octets: parsed.octets, more: parsed.more }
    }

    /// Somebody asked for the connection to be closed.
    fn close(&mut self, why: &Exception) {
        let (session, auth) = (&mut self.session, self.node.auth());
        self.vhost.with(|vhost, outboxes| {
            let mut cx = Context { vhost, outboxes, auth: &auth, now: now(), random };
            session.refuse(0, why, &mut cx);
        });
    }

    fn end_of_stream(&self) -> io::Result<()> {
        if self.session.state() == State::Running {
            let text = "client unexpectedly closed TCP connection";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(())
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
