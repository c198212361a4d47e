//! Reading: large buffers that belong to threads, small remainders that belong to connections.
//!
//! A connection that has nothing to say holds no buffer. When it is readable, it reads into a buffer of the
//! thread it happens to run on; what is left of it, the beginning of a frame, is copied into its own.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Octets of a thread's buffer. Measured best of 64, 128 and 256 KiB for 1 KiB messages.
const SCRATCH: usize = 256 << 10;
/// A remainder up to this many octets is copied in front of the next read; behind a larger one the next read is
/// appended.
const COPY_MAX: usize = 8 << 10;
/// ... at least this many octets at a time.
const APPEND: usize = 64 << 10;

/// A large remainder's memory goes to the next one of its thread if it is of at most so many octets.
const SPARE_MAX: usize = 2 * SCRATCH;

thread_local! {
    static SCRATCH_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A connection's input that has not been used.
#[derive(Debug, Default)]
pub struct Input {
    rest: Vec<u8>,
    /// Whether the last use stopped before it had to.
    more: bool,
    /// Octets that the last call has read, rather than used again.
    fresh: usize,
}

/// How much of some input was used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub octets: usize,
    /// Whether it should be called again before anything else is read.
    pub more: bool,
}

impl Input {
    /// Waits for input and lets `take` use it. Returns the octets read, 0 at the end of the stream.
    pub async fn read<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        mut take: impl FnMut(&[u8]) -> Used,
    ) -> std::io::Result<usize> {
        if std::mem::take(&mut self.more) {
            let used = take(&self.rest);
            self.rest.drain(..used.octets);
            self.more = used.more;
            self.fresh = 0;
            return Ok(used.octets.max(1));
        }
        let count = poll_fn::<std::io::Result<usize>, _>(|cx| {
            if self.rest.len() > COPY_MAX {
                let before = self.rest.len();
                self.rest.resize(before + APPEND, 0);
                let mut buffer = ReadBuf::new(&mut self.rest[before..]);
                let polled = Pin::new(&mut *reader).poll_read(cx, &mut buffer);
                let count = buffer.filled().len();
                self.rest.truncate(before + count);
                ready!(polled)?;
                let used = take(&self.rest);
                self.keep(used);
                return Poll::Ready(Ok(count));
            }
            let mut scratch = SCRATCH_BUFFER.take();
            scratch.resize(SCRATCH, 0);
            let before = self.rest.len();
            scratch[..before].copy_from_slice(&self.rest);
            let mut buffer = ReadBuf::new(&mut scratch[before..]);
            let polled = Pin::new(&mut *reader).poll_read(cx, &mut buffer);
            let total = before + buffer.filled().len();
            if let Poll::Ready(Ok(())) = polled {
                let used = take(&scratch[..total]);
                self.put(&scratch[used.octets..total]);
                self.more = used.more;
            }
            SCRATCH_BUFFER.set(scratch);
            ready!(polled)?;
            Poll::Ready(Ok(total - before))
        })
        .await?;
        self.fresh = count;
        Ok(count)
    }

    /// Octets that the last call has read from its stream.
    pub fn fresh(&self) -> usize {
        self.fresh
    }

    fn keep(&mut self, used: Used) {
        self.rest.drain(..used.octets);
        self.give_back();
        self.more = used.more;
    }

    /// Remembers octets, and nothing else.
    fn put(&mut self, rest: &[u8]) {
        self.rest.clear();
        if rest.len() > COPY_MAX && self.rest.capacity() < rest.len() {
            self.rest = SPARE.take();
        }
        self.rest.extend_from_slice(rest);
        self.give_back();
    }

    /// Lets go of memory that is not needed: a connection is often silent after a large message.
    fn give_back(&mut self) {
        if self.rest.is_empty() && self.rest.capacity() > COPY_MAX {
            let rest = std::mem::take(&mut self.rest);
            if rest.capacity() <= SPARE_MAX {
                SPARE.set(rest);
            }
        }
    }

    /// Begins with octets that have been read elsewhere.
    pub fn put_first(&mut self, octets: Vec<u8>) {
        self.rest = octets;
        self.more = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn remainders_of_any_size_come_again() {
        // Every record says its size in two octets; it is used only whole.
        let sizes = [1usize, 5, 60_000, 3, 20_000, 9_000, 65_000, 2];
        let mut stream = Vec::new();
        for size in sizes {
            stream.extend_from_slice(&(size as u16).to_be_bytes());
            stream.resize(stream.len() + size, size as u8);
        }
        let (mut client, mut server) = tokio::io::duplex(1500);
        let writer = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut client, &stream).await.expect("written");
        });
        let mut input = Input::default();
        let mut found = Vec::new();
        // One record at a time, to be called again.
        let take = |octets: &[u8], found: &mut Vec<usize>| {
            let size = octets.get(..2).map(|head| u16::from_be_bytes([head[0], head[1]]) as usize);
            match size.and_then(|size| octets.get(2..2 + size)) {
                Some(record) => {
                    assert!(record.iter().all(|octet| *octet == record.len() as u8));
                    found.push(record.len());
                    Used { octets: 2 + record.len(), more: true }
                }
                None => Used { octets: 0, more: false },
            }
        };
        while input.read(&mut server, |octets| take(octets, &mut found)).await.expect("read") > 0 {}
        writer.await.expect("no panic");
        assert_eq!(found, sizes);
    }
}
