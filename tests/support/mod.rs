//! What the core tests stand on: scripts of lines, run over a vhost and sessions without sockets.
//!
//! - [`script`]: a script and its transcript
//! - [`bench`]: vhost, sessions and outboxes, driven by hand
//! - [`frames`], [`methods`]: lines to octets and back
//! - [`cuts`]: how input is spread over reads
//! - [`random`]: numbers from a seed
//!
//! Other tests take single files of this folder: `source.rs` is for the tidy test, `sim_disk.rs` a disk that fails.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod bench;
pub mod cuts;
pub mod frames;
pub mod methods;
pub mod random;
pub mod script;
