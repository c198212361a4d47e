//! The network: listeners, and one driver per connection.
//!
//! What comes in are sockets, what goes out are octets to sessions and from outboxes to sockets. With `http`, the
//! only home of tokio's sockets and tasks. This folder may not hold broker state.
//!
//! - [`listener`][], [`unix`][]: accepting
//! - [`arrival`][], [`proxy`][]: what comes before AMQP: TLS, a proxy's word
//! - [`tls`][]: certificates and settings of TLS
//! - [`diary`][]: what the log says of a connection
//! - [`connection`][]: a connection's life: handshake, batches, close
//! - [`pace`][]: waiting for consumers that a publisher has got ahead of
//! - [`stream`][]: what it is spoken over
//! - [`input`][]: reading with large shared buffers
//! - [`writer`][]: writing what outboxes hand over; heartbeats

pub mod arrival;
pub mod connection;
mod diary;
pub mod input;
pub mod listener;
pub mod pace;
mod proxy;
pub mod stream;
pub mod tls;
pub mod unix;
pub mod writer;

#[cfg(test)]
mod tests;
