//! `leveret perf connections` and `queues`: what many of them cost while nothing happens.
//!
//! - [`connections`][], [`queues`][]: the two, each with its arguments
//! - [`opening`][], [`kept`][]: opening connections, and keeping them
//! - [`fill`][]: messages for many queues
//! - [`descriptors`][]: permission for many sockets
//! - [`phase`][]: following what takes its time
//! - [`report`][]: the figures

mod connections;
mod descriptors;
mod fill;
mod kept;
mod opening;
mod phase;
mod queues;
mod report;

pub use self::{
    connections::{ConnectionsArgs, run as run_connections},
    queues::{QueuesArgs, run as run_queues},
};
