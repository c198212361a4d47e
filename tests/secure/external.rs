//! Logging in by a certificate.

use leveret::auth::sasl::{Mechanism, Mechanisms};
use leveret::net::tls::{AlternativeName, LoginFrom};
use leveret::node::Node;
use rcgen::{DnType, SanType};
use rustls::version::TLS13;

use super::*;
use crate::certificates::{Authority, Identity, server_with};
use crate::common::client::{PROTOCOL_HEADER, start_ok};

const TUNE: &str = "connection.tune channel-max=2047 frame-max=131072 heartbeat=60";
const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see \
                       the broker logfile.";

/// A broker where clients may log in by certificate or password, and users of some names.
fn broker(users: &[&str]) -> Broker {
    let offered = vec![Mechanism::Plain, Mechanism::External, Mechanism::Anonymous];
    let node = Node::new().unwrap().with_mechanisms(Mechanisms { offered, anonymous: None });
    let broker = Broker::serve(Arc::new(node));
    for user in users {
        broker.add_user(user, (".*", ".*", ".*"));
    }
    broker
}

/// What a client is told that shows a certificate, or none, and logs in with it.
fn log_in(
    broker: &Broker,
    login_from: LoginFrom,
    identity: impl FnOnce(&Authority) -> Option<Identity>,
) -> String {
    let (tls, authority, _folder) = server_with(|settings| {
        (settings.verify_peer, settings.login_from) = (true, login_from);
    });
    let config = authority.trusted(identity(&authority).as_ref(), &[&TLS13]);
    let mut client = Client::raw(tunnel(broker, listen_tls(broker, &tls), config));
    client.send_bytes(PROTOCOL_HEADER);
    assert_eq!(client.next(0).get("mechanisms"), "PLAIN EXTERNAL");
    client.send(0, start_ok("", "").set("mechanism", "EXTERNAL").set("response", ""));
    let answer = client.next(0);
    if answer.text != TUNE {
        return answer.get("reply-text");
    }
    client.send(0, "connection.tune-ok channel-max=2047 frame-max=131072");
    assert_eq!(client.call(0, "connection.open virtual-host=/"), "connection.open-ok");
    let info = only(broker);
    assert_eq!(info.mechanism, "EXTERNAL");
    client.close();
    until_all_gone(broker);
    info.user.to_string()
}

#[test]
fn by_all_kinds_of_names() {
    let names =
        [SanType::DnsName("one.example".try_into().unwrap()), SanType::DnsName("two".try_into().unwrap())];
    let others = [
        SanType::IpAddress("10.1.2.3".parse().unwrap()),
        SanType::Rfc822Name("a@b.c".try_into().unwrap()),
        SanType::URI("urn:a:b".try_into().unwrap()),
        SanType::OtherName((vec![1, 2, 3, 4], rcgen::OtherNameValue::Utf8String("some other".to_owned()))),
    ];
    let broker = broker(&[
        "CN=app,O=Test",
        "app",
        "first,second",
        "two",
        "10.1.2.3",
        "a@b.c",
        "urn:a:b",
        "some other",
    ]);
    let with = |login_from| {
        log_in(&broker, login_from, |authority| {
            let subject = [(DnType::OrganizationName, "Test"), (DnType::CommonName, "app")];
            Some(authority.issue(&subject, names.iter().chain(&others).cloned().collect()))
        })
    };
    assert_eq!(with(LoginFrom::DistinguishedName), "CN=app,O=Test");
    assert_eq!(with(LoginFrom::CommonName), "app");
    for (kind, index, wanted) in [
        (AlternativeName::Dns, 1, "two"),
        (AlternativeName::Ip, 0, "10.1.2.3"),
        (AlternativeName::Email, 0, "a@b.c"),
        (AlternativeName::Uri, 0, "urn:a:b"),
        (AlternativeName::Other, 0, "some other"),
        // A user that is not there; a name that is not.
        (AlternativeName::Dns, 0, REFUSED),
        (AlternativeName::Dns, 2, REFUSED),
    ] {
        assert_eq!(with(LoginFrom::AlternativeName(kind, index)), wanted, "{kind:?} {index}");
    }
}

#[test]
fn nobody() {
    let broker = broker(&[""]);
    assert_eq!(log_in(&broker, LoginFrom::DistinguishedName, |_| None), REFUSED);
    let nameless =
        |authority: &Authority| Some(authority.issue(&[(DnType::OrganizationName, "Test")], Vec::new()));
    assert_eq!(log_in(&broker, LoginFrom::CommonName, nameless), REFUSED);
    let dns = LoginFrom::AlternativeName(AlternativeName::Dns, 0);
    assert_eq!(log_in(&broker, dns, nameless), REFUSED);
}

/// Without TLS it is not offered, and as good as unknown.
#[test]
fn not_without_tls() {
    let broker = broker(&[]);
    let mut client = Client::raw(broker.address);
    client.send_bytes(PROTOCOL_HEADER);
    assert_eq!(client.next(0).get("mechanisms"), "PLAIN");
    client.send(0, start_ok("", "").set("mechanism", "EXTERNAL").set("response", ""));
    assert_eq!(client.until_end(), "");
}
