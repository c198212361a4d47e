//! What a client speaks AMQP over.

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Octets in both directions, which can be read and written by different tasks.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    type Reader: AsyncRead + Send + Unpin;
    type Writer: AsyncWrite + Send + Unpin + 'static;

    fn halves(self) -> (Self::Reader, Self::Writer);
}

/// Plain TCP, whose halves share nothing but the socket: reading does not wait for writing.
impl Stream for TcpStream {
    type Reader = OwnedReadHalf;
    type Writer = OwnedWriteHalf;

    fn halves(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.into_split()
    }
}

/// Everything else: TLS, sockets of Unix. Its halves take turns.
pub type Other = Box<dyn Octets>;

pub trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Octets for S {}

impl Stream for Other {
    type Reader = ReadHalf<Self>;
    type Writer = WriteHalf<Self>;

    fn halves(self) -> (ReadHalf<Self>, WriteHalf<Self>) {
        tokio::io::split(self)
    }
}
