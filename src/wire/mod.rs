//! The wire: bytes in, types out, and back.
//!
//! What comes in is an input buffer of octets from a peer, what goes out are frames, methods, field tables
//! and raw property lists, and reply codes with their texts. The hot methods (`basic.publish`, `deliver`,
//! `ack` and their like) are read and written in place by [`content`] and [`method`]; every other method is
//! decoded by `amq-protocol`. This folder does no I/O and knows neither clock nor broker.
//!
//! - [`frame`][]: type, channel, size, payload, end octet
//! - [`method`][]: methods in and out
//! - [`content`][]: content headers, and whole deliveries out
//! - [`properties`][]: the raw property list
//! - [`table`][]: the raw field table
//! - [`json`][]: tables as JSON
//! - [`compose`][]: tables of the broker's own
//! - [`headers`][]: other headers for a message on its way
//! - [`reply`][]: reply codes, and the exceptions that close channels and connections

pub mod compose;
pub mod content;
pub mod frame;
pub mod headers;
pub mod json;
pub mod method;
pub mod properties;
pub mod reply;
pub mod table;
