//! `leveret perf connection-churn`, `queue-churn` and `binding-churn`: what comes and goes all the
//! time.
//!
//! - [`args`][]: what all three are asked for
//! - [`connections`][], [`queues`][], [`bindings`][]: the three, each with its arguments
//! - [`script`][]: requests that are made over and over, several at a time
//! - [`cycle`][]: doing so for a time, and counting
//! - [`report`][]: the figures

mod args;
mod bindings;
mod connections;
mod cycle;
mod queues;
mod report;
mod script;

pub use self::{
    bindings::{BindingChurnArgs, run as run_bindings},
    connections::{ConnectionChurnArgs, run as run_connections},
    queues::{QueueChurnArgs, run as run_queues},
};
