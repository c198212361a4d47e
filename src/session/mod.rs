//! The session: one connection's protocol state machine.
//!
//! What comes in are octets from a peer, what goes out are calls on its vhost and encoded frames in outboxes. A
//! batch of input is first parsed ([`Session::parse`], which needs nothing but the session) and then run
//! ([`Session::run`], which needs the vhost), so that the vhost is locked once for each read and only while it is
//! needed. This folder does no I/O and knows neither clock nor locks.
//!
//! - [`handshake`][]: from the protocol header to `connection.open`
//! - [`assemble`][]: frames to commands; content is put together here
//! - [`command`][]: what a batch consists of
//! - [`run`][]: commands one after the other; errors close channels and connections
//! - [`aside`][]: commands that wait for the disk
//! - [`channel`][]: one channel's state: confirms, transaction, routes
//! - [`publish`][]: `basic.publish` up to the broker, returns, confirms
//! - [`transaction`][]: `tx`
//! - [`direct`][]: publishing for somebody without a connection
//! - [`properties`][]: what a message's properties may be
//! - [`stamps`][]: what messages get added
//! - [`copies`][], [`reply_to`][]: more keys for a message, replies without a queue
//! - [`exchange`], [`queue`][], [`consume`][]: the other methods, one file a class
//! - [`access`][]: may this user do that
//! - [`outbox`][]: what is to be sent
//! - [`staged`][]: what one connection is to be sent, and what of it has to wait for a commit
//! - [`confirms`][]: confirms that wait for a commit

pub mod access;
pub mod aside;
pub mod assemble;
pub mod channel;
pub mod command;
pub mod confirms;
mod consume;
mod copies;
pub mod direct;
mod exchange;
pub mod handshake;
pub mod outbox;
mod properties;
mod publish;
mod queue;
mod reply_to;
pub mod run;
pub mod staged;
pub mod stamps;
mod transaction;

use std::sync::Arc;

use crate::auth::Auth;
use crate::broker::{ConnectionId, Map, Now, Vhost};
use aside::Aside;
use assemble::{Assembler, Parsed};
use channel::Channel;
use command::Command;
use outbox::Outboxes;
use stamps::Stamps;

/// What a batch is run against.
pub struct Context<'a> {
    pub vhost: &'a mut Vhost,
    pub outboxes: &'a mut Outboxes,
    pub auth: &'a Auth,
    /// Milliseconds since 1970.
    pub now: Now,
    /// Octets for names that the server makes up.
    pub random: fn() -> [u8; 16],
}

/// What the handshake settled.
#[derive(Clone, Debug)]
pub struct Settings {
    pub user: Arc<str>,
    /// Whether messages may claim to be another user's.
    pub impersonates: bool,
    pub vhost: Arc<str>,
    /// The limit of a frame in octets, overhead included.
    pub frame_max: usize,
    /// How many channels may be open; 0 is no limit.
    pub channel_max: u16,
    /// Seconds; 0 is none.
    pub heartbeat: u16,
    /// The limit of a message's body in octets.
    pub message_size_max: u64,
    /// How many consumers a channel may have.
    pub consumer_max: Option<u32>,
    /// What messages get added.
    pub stamps: Stamps,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// The broker has closed it and waits for `close-ok`.
    Closing,
    /// The client has closed it and has been answered: it is up to the client to end the TCP connection.
    Left,
    /// Nothing more is to come from either side.
    Over,
}

pub struct Session {
    id: ConnectionId,
    settings: Settings,
    /// The connection as the log names it.
    label: String,
    state: State,
    channels: Map<u16, Channel>,
    assembler: Assembler,
    /// Channels with confirms to be sent at the end of the batch.
    confirming: Vec<u16>,
    /// Channels with messages to be counted at the end of the batch.
    publishing: Vec<u16>,
    /// Whether somebody has been told what `global` does in `basic.qos`.
    hinted_at_global: bool,
    /// A command that could not be run to its end, for as long as its batch is run.
    stuck: Option<Command>,
    /// What waits to be gone on with.
    aside: Option<Box<Aside>>,
}

impl Session {
    /// A session of a connection that its vhost has greeted and that has an outbox.
    pub fn new(id: ConnectionId, settings: Settings) -> Self {
        let assembler = Assembler::new(settings.frame_max, settings.message_size_max);
        Self {
            id,
            settings,
            label: String::new(),
            state: State::Running,
            channels: Map::default(),
            assembler,
            confirming: Vec::new(),
            publishing: Vec::new(),
            hinted_at_global: false,
            stuck: None,
            aside: None,
        }
    }

    /// The same session with a name for the log: `connection <0.1.0> (127.0.0.1:1 -> 127.0.0.1:5672, vhost: '/', user: 'guest'`.
    #[must_use]
    pub fn named(mut self, label: String) -> Self {
        self.label = label;
        self
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many channels are open, those included that wait for a `close-ok`.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Parses whole frames of the input into commands and says how many octets that took. The rest has to come again,
    /// at the front of the next input; and [`run`](Self::run) has to come before, with this very input.
    pub fn parse(&mut self, input: &[u8], batch: &mut Vec<Command>) -> Parsed {
        self.assembler.parse(input, batch)
    }

    /// From now on [`parse`](Self::parse) stops before the next message, or no longer does. One that is being closed has
    /// to be read to its end.
    pub fn block(&mut self, blocking: bool) {
        self.assembler.block(blocking && self.state == State::Running);
    }

    /// Whether some commands have been put aside. Nothing else is to be parsed until [`go_on`](Self::go_on) has run them.
    pub fn has_aside(&self) -> bool {
        self.aside.is_some()
    }

    /// Whether these wait for [`Effects::retry`](crate::broker::effects::Effects::retry).
    pub fn is_waiting(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.waiting)
    }

    /// Whether the peer can no longer be understood, not even its answer to a close.
    pub fn is_deaf(&self) -> bool {
        self.assembler.is_broken()
    }
}
