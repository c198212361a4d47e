//! Arbitrary octets to a handshake: it asks for more, lets in, or ends, and what it says are whole frames.

#![no_main]

use std::sync::{Arc, LazyLock};

use leveret::auth::Auth;
use leveret::auth::password::PasswordHash;
use leveret::session::handshake::{Handshake, Offer, Progress};
use libfuzzer_sys::fuzz_target;

static AUTH: LazyLock<Auth> = LazyLock::new(|| {
    let mut auth = Auth::default();
    auth.put_user("guest", Some(PasswordHash::new(b"guest", [1; 4])), Vec::new());
    auth
});

fuzz_target!(|octets: &[u8]| {
    let offer = Offer {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat: 60,
        message_size_max: 1 << 24,
        version: "4.3.0".to_owned(),
        cluster_name: "fuzz".to_owned(),
        anonymous_user: "guest".to_owned(),
    };
    let mut handshake = Handshake::new(Arc::new(offer), true);
    // The header need not be found by chance.
    let mut input = b"AMQP\0\0\x09\x01".to_vec();
    input.extend_from_slice(octets);
    loop {
        let (used, progress) = handshake.feed(&input, &AUTH);
        assert!(used <= input.len());
        input.drain(..used);
        match progress {
            Progress::Open(opening) => {
                assert!(opening.settings.frame_max >= 4096 && opening.settings.channel_max > 0);
                return;
            }
            Progress::Closing if used > 0 => {}
            _ => return,
        }
    }
});
