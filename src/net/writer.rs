//! Writing: what outboxes hand over, in as few calls as possible, and heartbeats where there is nothing.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::broker::ConnectionId;
use crate::node::cell::VhostCell;
use crate::node::connections::ConnectionInfo;
use crate::node::port::Port;
use crate::session::outbox::heartbeat;
use crate::session::staged::Piece;

/// Pieces written by one call at the most.
const SLICES: usize = 64;

/// Writes until the port closes or the socket fails.
///
/// `beat` is the time between heartbeats; RabbitMQ sends one each half of the negotiated interval in which nothing
/// else was sent.
pub async fn write<W: AsyncWrite + Unpin>(
    mut socket: W,
    port: Arc<Port>,
    vhost: Arc<VhostCell>,
    (id, info): (ConnectionId, Arc<ConnectionInfo>),
    beat: Option<Duration>,
) -> io::Result<()> {
    let mut pieces = Vec::new();
    let mut beats = beat.map(|beat| {
        let mut beats = interval_at(Instant::now() + beat, beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats
    });
    loop {
        let open = port.take(&mut pieces);
        if !pieces.is_empty() {
            let progress = |octets| {
                info.traffic.note_write(octets);
                port.wrote();
            };
            write_all(&mut socket, &pieces, progress).await?;
            settle(&port, &mut pieces, &vhost, id);
            if let Some(beats) = &mut beats {
                beats.reset();
            }
            continue;
        }
        if !open {
            return socket.shutdown().await;
        }
        tokio::select! {
            () = port.output() => {}
            () = tick(&mut beats) => {
                pieces.push(heartbeat());
                write_all(&mut socket, &pieces, |octets| info.traffic.note_write(octets)).await?;
                pieces.clear();
            }
        }
    }
}

async fn tick(beats: &mut Option<Interval>) {
    match beats {
        Some(beats) => {
            beats.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Notes that pieces have been written: deliveries go on that had to wait for it, and so does the reader.
fn settle(port: &Port, pieces: &mut Vec<Piece>, vhost: &VhostCell, id: ConnectionId) {
    let written = pieces.iter().map(|piece| piece.octets().len()).sum();
    port.recycle(pieces);
    if port.meter().written(written) {
        vhost.with(|vhost, outboxes| vhost.resume(id, outboxes));
    }
    port.wrote();
}

/// Writes all of it, and tells `progress` whenever the peer has taken some, and how many octets.
async fn write_all<W: AsyncWrite + Unpin>(
    socket: &mut W,
    pieces: &[Piece],
    progress: impl Fn(usize),
) -> io::Result<()> {
    let (mut first, mut offset) = (0, 0);
    while first < pieces.len() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&pieces[first..]) {
            let octets = piece.octets();
            *slice = IoSlice::new(if count == 0 { &octets[offset..] } else { octets });
            count += 1;
        }
        let mut written = match count {
            1 => socket.write(&slices[0]).await?,
            _ => socket.write_vectored(&slices[..count]).await?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        progress(written);
        written += offset;
        while first < pieces.len() && written >= pieces[first].octets().len() {
            written -= pieces[first].octets().len();
            first += 1;
        }
        offset = written;
    }
    socket.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn partial_writes_go_on_where_they_stopped() {
        let pieces: Vec<Piece> = (0..200u32)
            .map(|n| {
                let octets = vec![n as u8; (n as usize * 37) % 500];
                if n % 3 == 0 { Piece::Shared(octets.into()) } else { Piece::Owned(octets) }
            })
            .collect();
        let wanted: Vec<u8> = pieces.iter().flat_map(|piece| piece.octets().to_vec()).collect();
        let (mut near, mut far) = tokio::io::duplex(97);
        let writer = tokio::spawn(async move { write_all(&mut near, &pieces, |_| ()).await });
        let mut found = vec![0; wanted.len()];
        far.read_exact(&mut found).await.expect("all of it");
        writer.await.expect("no panic").expect("written");
        assert!(found == wanted);
    }
}
