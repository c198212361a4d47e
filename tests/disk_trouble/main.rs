//! A disk that is full, errs, or cannot be written or read: publishers are held back or refused, nothing that was
//! confirmed is lost, and it is said what there is to do.
//!
//! In this process, over a simulated disk:
//! - [`rig`]: a node on such a disk, and what it says
//! - [`full`]: no space, and space again
//! - [`failed`]: an error of a write or a sync
//! - [`removed`]: an error of a removal, and many of them
//! - [`unread`]: an error of a read
//! - [`kept`]: what messages are kept with, found again after a loss of power
//! - [`delayed`]: delayed messages, on disk and through every end of a node
//! - [`spilled`]: no space for what has no room in memory
//!
//! And the binary on a file system that is really full:
//! - [`server`]: a small file system, and a server on it
//! - [`real`]: it fills up and is emptied
//!
//! - [`publisher`]: publishes, and notes what it is told

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may fail")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../http_api/http.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod http;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/sim_disk.rs"]
mod sim_disk;

mod delayed;
mod failed;
mod full;
mod kept;
mod publisher;
mod real;
mod removed;
mod rig;
mod server;
mod spilled;
mod unread;
