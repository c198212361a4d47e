//! How long is waited for peers that send a body slowly, or do not read what they have asked for.
//!
//! hyper has a time-out for a request's head alone. Without these two a peer could keep its place among the
//! connections, and what is written for it in memory, for as long as it likes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Octets that win a peer a second more. Whoever is as fast as this is never given up.
const SLOWEST: u64 = 4096;

/// The time that a peer has left. It runs from when it is waited for first, and what goes through adds to it.
struct Patience {
    idle: Duration,
    left: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(idle: Duration) -> Self {
        Self { idle, left: None }
    }

    fn moved(&mut self, octets: usize) {
        let Some(left) = &mut self.left else { return };
        let more = Duration::from_millis((octets as u64).saturating_mul(1000) / SLOWEST);
        let until = (left.deadline() + more).min(Instant::now() + self.idle);
        left.as_mut().reset(until);
    }

    /// Nothing goes through. Wakes the task when the time is over, and says whether it is.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let idle = self.idle;
        self.left.get_or_insert_with(|| Box::pin(sleep(idle))).as_mut().poll(context).is_ready()
    }

    /// Nothing is waited for any more.
    fn done(&mut self) {
        self.left = None;
    }

    /// What a poll has come to, but that the time may be over.
    fn hold<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.is_over(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

/// A connection that ends when its peer does not read.
pub(super) struct PatientStream<S> {
    stream: S,
    patience: Patience,
}

impl<S> PatientStream<S> {
    pub(super) fn new(stream: S, idle: Duration) -> Self {
        Self { stream, patience: Patience::new(idle) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> PatientStream<S> {
    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(octets)) = written {
            self.patience.moved(octets);
        }
        self.patience.hold(context, written)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        self.wrote(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, octets);
        self.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all that there is.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.patience.done();
        }
        self.patience.hold(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.patience.hold(context, shut)
    }
}

/// A request's body, which cannot be read any more when it does not come.
pub(super) struct PatientBody {
    body: Body,
    patience: Patience,
}

impl PatientBody {
    pub(super) fn new(body: Body, idle: Duration) -> Self {
        Self { body, patience: Patience::new(idle) }
    }
}

impl HttpBody for PatientBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending if self.patience.is_over(context) => {
                Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
                self.patience.moved(data.unwrap_or_default());
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::timeout;

    use super::*;

    const IDLE: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (near, _far) = duplex(1000);
        let mut near = PatientStream::new(near, IDLE);
        near.write_all(&[0; 1000]).await.expect("there is room");
        near.flush().await.expect("flushed");
        let begin = Instant::now();
        let error = near.write_all(&[0; 1000]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() >= IDLE);
    }

    #[tokio::test]
    async fn a_peer_that_reads_a_little_now_and_then_is_given_up() {
        let (near, mut far) = duplex(16);
        let mut near = PatientStream::new(near, IDLE);
        let reader = tokio::spawn(async move {
            let mut octet = [0; 1];
            while far.read(&mut octet).await.is_ok_and(|octets| octets == 1) {
                tokio::time::sleep(IDLE / 10).await;
            }
        });
        let written = timeout(IDLE * 20, near.write_all(&[0; 10_000])).await;
        let error = written.expect("in time").expect_err("it is too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        reader.abort();
    }

    #[tokio::test]
    async fn a_peer_that_reads_has_as_long_as_it_takes() {
        let (near, mut far) = duplex(1000);
        let mut near = PatientStream::new(near, IDLE);
        tokio::spawn(async move {
            let mut octets = [0; 1000];
            while far.read(&mut octets).await.is_ok_and(|octets| octets > 0) {
                tokio::time::sleep(IDLE / 10).await;
            }
        });
        let begin = Instant::now();
        near.write_all(&[0; 20_000]).await.expect("it reads 30,000 octets a second");
        assert!(begin.elapsed() > IDLE, "or nothing is tried here");
        // Between two replies nothing is waited for.
        near.flush().await.expect("flushed");
        tokio::time::sleep(IDLE * 2).await;
        near.write_all(&[0; 3000]).await.expect("the time begins anew");
    }
}
