//! What takes long or much memory: done aside, a few at a time.
//!
//! A reply lies in memory until it has been read. Those that may be large take a part of an amount that all of them
//! share; whoever comes when it is used up waits for a moment, and is then told to come again.

use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::node::changes::NotKept;

/// Large replies that are made at a time. The broker's messages need the cores as well.
const MAKING: usize = 2;
/// KiB that large replies may have together until they have been read.
const ROOM: u32 = 256 << 10;
/// How long a request waits for others.
const WAITING: Duration = Duration::from_secs(15);
/// Octets that are handed on at a time.
const PIECE: usize = 64 << 10;

/// That of this process.
static LARGE: LazyLock<Room> = LazyLock::new(|| Room::new(ROOM, WAITING));

/// Makes a reply that may be large, on a thread that no connection waits for.
pub(super) async fn large<T>(make: impl FnOnce() -> T + Send + 'static) -> Result<Body, Refusal>
where
    T: Into<Made> + Send + 'static,
{
    LARGE.reply(make).await
}

/// What was made, or why not.
pub(super) struct Made(Result<Bytes, Refusal>);

impl From<String> for Made {
    fn from(text: String) -> Self {
        Self(Ok(text.into()))
    }
}

impl From<Result<Vec<u8>, Refusal>> for Made {
    fn from(made: Result<Vec<u8>, Refusal>) -> Self {
        Self(made.map(Bytes::from))
    }
}

/// Does what takes long, on a thread of its own.
pub(super) async fn aside<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> Result<R, Refusal> {
    spawn_blocking(run).await.map_err(|error| ended(&error))
}

/// Why a task has no result.
pub(super) fn ended(error: &JoinError) -> Refusal {
    if error.is_panic() {
        tracing::error!("a request of the HTTP API has failed: {error}");
        return Refusal::Failed;
    }
    // The node is going down, and nothing is kept any more.
    Refusal::NotKept(NotKept)
}

struct Room {
    making: Semaphore,
    kib: Arc<Semaphore>,
    size: u32,
    waiting: Duration,
}

impl Room {
    fn new(size: u32, waiting: Duration) -> Self {
        let kib = Arc::new(Semaphore::new(size as usize));
        Self { making: Semaphore::new(MAKING), kib, size, waiting }
    }

    async fn reply<T>(&self, make: impl FnOnce() -> T + Send + 'static) -> Result<Body, Refusal>
    where
        T: Into<Made> + Send + 'static,
    {
        let busy = || Refusal::Unavailable("Too many large replies are under way. Try again later.");
        // Whoever makes one keeps the turn until there is room for it, so that few wait with what they have made.
        let turn = timeout(self.waiting, self.making.acquire()).await;
        let _turn = turn.map_err(|_| busy())?;
        let octets = aside(move || make().into().0).await??;
        if octets.len() <= PIECE {
            return Ok(octets.into());
        }
        // One that is larger than all the room has it for itself.
        let kib = u32::try_from(octets.len() >> 10).unwrap_or(u32::MAX).min(self.size);
        let room = timeout(self.waiting, Arc::clone(&self.kib).acquire_many_owned(kib)).await;
        let room = room.map_err(|_| busy())?.map_err(|_| busy())?;
        Ok(Body::new(Large { octets, _room: room }))
    }
}

/// A reply that has its room until the last of it has been handed on.
struct Large {
    octets: Bytes,
    _room: OwnedSemaphorePermit,
}

impl HttpBody for Large {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.octets.len().min(PIECE);
        let piece = self.octets.split_to(piece);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.octets.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.octets.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    const MIB: usize = 1 << 20;

    fn text(size: usize) -> impl FnOnce() -> String + Send + 'static {
        move || "x".repeat(size)
    }

    #[tokio::test]
    async fn large_replies_share_their_room() {
        let room = Room::new(3 << 10, Duration::from_millis(50));
        let first = room.reply(text(2 * MIB)).await.expect("there is room");
        let refused = room.reply(text(2 * MIB)).await.map(|_| ());
        assert!(matches!(refused, Err(Refusal::Unavailable(_))), "{refused:?}");
        for size in [MIB, PIECE, 0] {
            let _read = room.reply(text(size)).await.expect("a smaller one has room beside it");
        }
        let octets = to_bytes(first, usize::MAX).await.expect("all of it");
        assert_eq!((octets.len(), octets.iter().all(|octet| *octet == b'x')), (2 * MIB, true));
        let larger = room.reply(text(5 * MIB)).await.expect("one that is larger than the room has all of it");
        assert_eq!(larger.size_hint().exact(), Some(5 * MIB as u64));
        assert!(room.reply(text(MIB)).await.is_err());
        drop(larger);
        let _again = room.reply(text(MIB)).await.expect("there is room again");
    }

    #[tokio::test]
    async fn what_panics_is_told() {
        let failed: Result<(), _> = aside(|| panic!("as it is wanted here")).await;
        assert_eq!(failed, Err(Refusal::Failed));
    }
}
