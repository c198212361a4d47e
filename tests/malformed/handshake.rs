//! From the protocol header to `connection.open`.

use std::time::{Duration, Instant};

use crate::Range;
use crate::common::client::{BODY, Client, HEARTBEAT, METHOD, PROTOCOL_HEADER, frame, start_ok};
use crate::common::method::{Method, method};
use crate::common::table::{sized, table, text, typed};
use crate::common::{Broker, Table};

const TUNE: &str = "connection.tune channel-max=2047 frame-max=131072 heartbeat=60";
const TUNE_OK: &str = "connection.tune-ok channel-max=2047 frame-max=131072";

fn octets(methods: &[Method]) -> Vec<u8> {
    methods.iter().flat_map(|method| frame(METHOD, 0, &method.payload())).collect()
}

fn login() -> Method {
    start_ok("guest", "guest")
}

/// A login with any response, as clients send it that do not know `authentication_failure_close`.
fn plain(mechanism: &str, response: &[u8]) -> Method {
    method("connection.start-ok locale=en_US").set("mechanism", mechanism).set("response", response)
}

/// What AMQPLAIN sends: a table without its length.
fn amqplain(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, text(value))).collect();
    table(&fields)[4..].to_vec()
}

#[test]
fn protocol_headers() {
    let mut range = Range::open();
    for (sent, wanted) in [
        (&b"AMQP\0\0\x09\0"[..], b"AMQP\0\0\x09\x01"),
        (b"AMQP\0\0\x09\x02", b"AMQP\0\0\x09\x01"),
        (b"AMQP\0\0\x0a\0", b"AMQP\0\0\x09\x01"),
        (b"AMQP\x01\x01\x08\0", b"AMQP\x03\x01\0\0"),
        (b"AMQP\x01\x01\x09\x01", b"AMQP\x03\x01\0\0"),
        (b"AMQP\0\x01\0\0", b"AMQP\x03\x01\0\0"),
        (b"AMQP\x02\x01\0\0", b"AMQP\x03\x01\0\0"),
        (b"AMQP\x09\x01\0\0", b"AMQP\x03\x01\0\0"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"AMQP\x03\x01\0\0"),
        (b"XXXXXXXX", b"AMQP\x03\x01\0\0"),
        (b"AMQPXXXX", b"AMQP\x03\x01\0\0"),
        (b"\x16\x03\x01\x02\0\x01\0\x01", b"AMQP\x03\x01\0\0"),
    ] {
        let mut client = Client::raw(range.broker.address);
        client.send_bytes(sent);
        assert_eq!(client.read_to_end(), wanted, "{sent:?}");
        range.bystander_is_served();
    }
    for sent in [&b""[..], b"XYZ", b"AMQP\0\0\x09"] {
        let mut client = Client::raw(range.broker.address);
        client.send_bytes(sent);
        client.end_output();
        assert_eq!(client.read_to_end(), b"", "{sent:?}");
        range.bystander_is_served();
    }
    // The header of AMQP 0-8 and 0-9 is taken.
    let mut client = Client::raw(range.broker.address);
    client.send_bytes(b"AMQP\x01\x01\0\x09");
    assert!(client.next(0).text.starts_with("connection.start version-major=0 version-minor=9 "));
}

#[test]
fn what_connection_start_says() {
    let broker = Broker::start();
    let mut client = Client::raw(broker.address);
    client.send_bytes(PROTOCOL_HEADER);
    let start = client.next(0);
    assert_eq!(start.payload[..6], [0, 10, 0, 10, 0, 9]);
    assert_eq!(start.get("mechanisms"), "ANONYMOUS PLAIN AMQPLAIN");
    assert_eq!(start.get("locales"), "en_US");
    let within = |wanted: &[u8]| start.payload.windows(wanted.len()).any(|octets| octets == wanted);
    for capability in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        let field = [&[capability.len() as u8], capability.as_bytes(), b"t\x01"].concat();
        assert!(within(&field), "{capability}");
    }
    assert!(within(b"\x07productS\0\0\0\x08RabbitMQ"));
    assert!(within(b"\x07versionS\0\0\0\x054.3.6"));
}

#[test]
fn a_handshake_octet_by_octet() {
    let broker = Broker::start();
    let mut client = Client::raw(broker.address);
    let rest = octets(&[method(TUNE_OK), method("connection.open virtual-host=/")]);
    for (sent, wanted) in [
        (PROTOCOL_HEADER.to_vec(), "connection.start "),
        (octets(&[login()]), TUNE),
        (rest, "connection.open-ok"),
        (frame(METHOD, 1, &method("channel.open").payload()), "channel.open-ok"),
    ] {
        for octet in sent {
            client.send_bytes(&[octet]);
        }
        let got = client.next(1).to_string();
        assert!(got.starts_with(wanted), "{got}");
    }
}

#[test]
fn logins_that_succeed() {
    let broker = Broker::start();
    let mut table = Table::default();
    for (name, start_ok) in [
        ("AMQPLAIN", plain("AMQPLAIN", &amqplain(&[("LOGIN", "guest"), ("PASSWORD", "guest")]))),
        (
            "AMQPLAIN, turned around",
            plain("AMQPLAIN", &amqplain(&[("PASSWORD", "guest"), ("LOGIN", "guest")])),
        ),
        ("ANONYMOUS", plain("ANONYMOUS", b"")),
        ("ANONYMOUS with a word", plain("ANONYMOUS", b"foo")),
        ("another locale", login().set("locale", "fr_FR")),
        ("no locale", login().set("locale", "")),
        ("capabilities that are a text", { login().set("client-properties", table::capabilities_as_text()) }),
    ] {
        let mut client = Client::begun(broker.address);
        table.check(name, &client.call(0, start_ok), TUNE);
        // Heartbeats may come at any time.
        client.send_bytes(&frame(HEARTBEAT, 0, b""));
        client.send(0, TUNE_OK);
        client.send_bytes(&frame(HEARTBEAT, 0, b""));
        table.check(name, &client.call(0, "connection.open virtual-host=/"), "connection.open-ok");
    }
    let mut client = Client::begun(broker.address);
    client.call(0, plain("ANONYMOUS", b""));
    client.send(0, TUNE_OK);
    client.call(0, "connection.open virtual-host=/");
    assert_eq!(client.call(1, "channel.open"), "channel.open-ok");
    let users: Vec<_> = broker.node.connections.all().iter().map(|c| c.user.to_string()).collect();
    assert!(users.iter().all(|user| user == "guest"), "{users:?}");
}

mod table {
    pub use crate::common::table::*;

    pub fn capabilities_as_text() -> Vec<u8> {
        table(&[("capabilities", text("all of them"))])
    }
}

#[test]
fn wrong_passwords_are_told_to_those_who_understand() {
    let mut range = Range::open();
    let refused = |mechanism: &str| {
        format!(
            "connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. \
             For details see the broker logfile. (0,0)"
        )
    };
    let amqplain = amqplain(&[("LOGIN", "guest"), ("PASSWORD", "wrong")]);
    for (name, method, wanted) in [
        ("wrong password", start_ok("guest", "wrong"), refused("PLAIN")),
        ("nobody", start_ok("nobody", "guest"), refused("PLAIN")),
        ("no password", start_ok("guest", ""), refused("PLAIN")),
        ("AMQPLAIN", login().set("mechanism", "AMQPLAIN").set("response", amqplain), refused("AMQPLAIN")),
    ] {
        let mut client = Client::begun(range.broker.address);
        client.send(0, method);
        let got = client.next(0).to_string();
        range.table.check(name, &got, &wanted);
        // Some clients answer before they look at the reason, and must not find the connection gone.
        let there = client.frame_within(Duration::from_millis(300));
        assert!(matches!(there, Ok(None)), "{name}: {there:?}");
        client.send(0, "connection.close-ok");
        let end = client.frame_within(Duration::from_secs(2));
        assert!(end.is_err(), "{name}, after the answer: {end:?}");
    }
}

/// Everything that ends a handshake without a word: the connection stays silent for three seconds first, so all cases
/// wait together.
#[test]
fn silent_ends() {
    let mut range = Range::open();
    let other = |text: &str| octets(&[method(text)]);
    let mut broken = octets(&[login()]);
    *broken.last_mut().unwrap() = 0;
    let unknown = table(&[("k", typed(b'Z', b"abcd"))]);
    let before_tune: Vec<(&str, Vec<u8>)> = vec![
        ("wrong password, no capability", octets(&[plain("PLAIN", b"\0guest\0wrong")])),
        ("nobody, no capability", octets(&[plain("PLAIN", b"\0nobody\0guest")])),
        ("somebody else's identity", octets(&[plain("PLAIN", b"guest\0guest\0guest")])),
        ("PLAIN that is none", octets(&[login().set("response", "guest")])),
        ("PLAIN, nothing", octets(&[login().set("response", "")])),
        ("NUL in the password", octets(&[login().set("response", "\0guest\0gu\0est")])),
        ("AMQPLAIN without PASSWORD", octets(&[plain("AMQPLAIN", &amqplain(&[("LOGIN", "guest")]))])),
        ("AMQPLAIN that is none", octets(&[plain("AMQPLAIN", b"\0guest\0guest")])),
        ("EXTERNAL", octets(&[login().set("mechanism", "EXTERNAL")])),
        ("plain", octets(&[login().set("mechanism", "plain")])),
        ("tune-ok instead of start-ok", other(TUNE_OK)),
        ("open instead of start-ok", other("connection.open virtual-host=/")),
        ("close instead of start-ok", other("connection.close")),
        ("close-ok instead of start-ok", other("connection.close-ok")),
        ("secure-ok instead of start-ok", other("connection.secure-ok")),
        ("queue.declare on channel 0", other("queue.declare queue=q")),
        ("channel.open", frame(METHOD, 1, &method("channel.open").payload())),
        ("a body", frame(BODY, 1, b"abc")),
        ("frame type 9", frame(9, 0, b"")),
        ("unknown method", frame(METHOD, 0, &[0, 99, 0, 1])),
        ("wrong end octet", broken),
        ("start-ok cut short", frame(METHOD, 0, &login().payload()[..40])),
        ("properties of unknown type", octets(&[login().set("client-properties", unknown)])),
        ("a frame over 8192 octets", {
            let long = table(&[("k", typed(b'S', &sized(&[b'x'; 9000])))]);
            octets(&[login().set("client-properties", long)])
        }),
        ("the head of a frame of 4 GiB", vec![1, 0, 0, 255, 255, 255, 255]),
    ];
    let after_tune: Vec<(&str, Vec<u8>)> = vec![
        ("start-ok twice", octets(&[login(), login()])),
        ("open instead of tune-ok", octets(&[login(), method("connection.open virtual-host=/")])),
        ("close instead of tune-ok", octets(&[login(), method("connection.close")])),
        ("frame-max 0", octets(&[login(), method("connection.tune-ok channel-max=2047")])),
        ("frame-max 4095", octets(&[login(), method("connection.tune-ok channel-max=2047 frame-max=4095")])),
        ("frame-max 131073", octets(&[login(), method("connection.tune-ok channel-max=9 frame-max=131073")])),
        ("channel-max 0", octets(&[login(), method("connection.tune-ok frame-max=131072")])),
        (
            "channel-max 2048",
            octets(&[login(), method("connection.tune-ok channel-max=2048 frame-max=131072")]),
        ),
    ];
    let begin = Instant::now();
    let mut waiting = Vec::new();
    for (cases, wanted) in [(before_tune, ""), (after_tune, TUNE)] {
        for (name, octets) in cases {
            let mut client = Client::begun(range.broker.address);
            client.send_bytes(&octets);
            waiting.push((name, client, wanted));
        }
    }
    // Whoever sends what is no frame is waited for just as long.
    let mut lost = range.broker.channel();
    lost.send_bytes(&[8, 0, 0, 0, 0, 0, 0, 7]);
    let text =
        "connection.close 501 FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,7} (0,0)";
    waiting.push(("wrong end octet, later", lost, text));
    range.bystander_is_served();
    for (name, mut client, wanted) in waiting {
        let got = client.until_end();
        range.table.check(name, &got, wanted);
        if name.starts_with("wrong password") {
            assert!(begin.elapsed() > Duration::from_millis(2900), "passwords could be guessed quickly");
        }
    }
    range.bystander_is_served();
}

#[test]
fn limits_that_are_agreed_on() {
    let broker = Broker::start();
    for limits in [
        "channel-max=1 frame-max=131072",
        "channel-max=2046 frame-max=131072",
        "channel-max=2047 frame-max=8192",
        "channel-max=2047 frame-max=131072 heartbeat=600",
    ] {
        let mut client = Client::begun(broker.address);
        client.call(0, login());
        client.send(0, method(&format!("connection.tune-ok {limits}")));
        assert_eq!(client.call(0, "connection.open virtual-host=/"), "connection.open-ok", "{limits}");
        assert_eq!(client.call(1, "channel.open"), "channel.open-ok", "{limits}");
    }
}

#[test]
fn errors_after_tune_ok_are_answered() {
    let mut range = Range::open();
    let unexpected = |id| {
        format!("connection.close 504 CHANNEL_ERROR - unexpected method in connection state opening {id}")
    };
    let open = |vhost: &[u8]| octets(&[method("connection.open").set("virtual-host", vhost)]);
    for (name, sent, wanted) in [
        ("tune-ok twice", octets(&[method(TUNE_OK)]), unexpected("(10,31)")),
        ("close instead of open", octets(&[method("connection.close")]), unexpected("(10,50)")),
        (
            "channel.open instead of open",
            frame(METHOD, 1, &method("channel.open").payload()),
            "connection.close 505 UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>> (0,0)".to_owned(),
        ),
        (
            "a vhost that is not there",
            open(b"nosuch"),
            "connection.close 530 NOT_ALLOWED - vhost nosuch not found (10,40)".to_owned(),
        ),
        (
            "an empty name",
            open(b""),
            "connection.close 530 NOT_ALLOWED - vhost  not found (10,40)".to_owned(),
        ),
        (
            "a line end",
            open(b"x\ny"),
            "connection.close 530 NOT_ALLOWED - vhost x\ny not found (10,40)".to_owned(),
        ),
        (
            "a name that is not UTF-8",
            open(b"e\xff"),
            "connection.close 501 FRAME_ERROR - Malformed UTF-8 in shortstr (10,40)".to_owned(),
        ),
    ] {
        let mut client = Client::begun(range.broker.address);
        client.call(0, login());
        client.send(0, TUNE_OK);
        client.send_bytes(&sent);
        range.finish(name, client, &wanted);
    }
}

#[test]
fn a_handshake_all_at_once() {
    let broker = Broker::start();
    let mut client = Client::raw(broker.address);
    let mut octets = PROTOCOL_HEADER.to_vec();
    for method in [
        start_ok("guest", "guest"),
        method("connection.tune-ok channel-max=2047 frame-max=131072"),
        method("connection.open virtual-host=/"),
    ] {
        octets.extend(frame(METHOD, 0, &method.payload()));
    }
    octets.extend(frame(METHOD, 1, &method("channel.open").payload()));
    client.send_bytes(&octets);
    let got: Vec<_> = (0..4).map(|_| client.next(1).to_string()).collect();
    assert!(got[0].starts_with("connection.start "), "{got:?}");
    let tune = "connection.tune channel-max=2047 frame-max=131072 heartbeat=60";
    assert_eq!(got[1..], [tune, "connection.open-ok", "channel.open-ok"]);
}
