//! Leveret: a message broker that RabbitMQ's AMQP 0-9-1 clients use unchanged.
//!
//! The modules are declared in the order in which a message passes them, from the socket to the log and back; what
//! it does not pass comes after. `ARCHITECTURE.md` tells the whole of it.

pub mod net;
pub mod wire;
pub mod session;
pub mod broker;
pub mod log;

pub mod catalog;
pub mod auth;
pub mod node;
pub mod http;
pub mod logs;
pub mod config;
pub mod cli;
