//! Sources put together, as RabbitMQ 4.3.6 puts them together where it does.

use super::*;

/// Entries from a file's text, with variables and flags after it.
fn settled(text: &str, more: Vec<Entry>) -> Result<(Settings, Vec<Entry>, Vec<String>), Problems> {
    let lines = syntax::parse(text).expect("good syntax");
    let entries = lines.into_iter().map(|line| match line.said {
        syntax::Said::Setting { key, value } => {
            Entry { key, value, origin: Origin::File("x.conf".into(), line.number) }
        }
        syntax::Said::Include(_) => panic!("nothing is included"),
    });
    let environment = Environment::new([("MYVAR".to_owned(), "envval".to_owned())]);
    settle(entries.chain(more).collect(), &environment)
}

fn variable(setting: &str, value: &str) -> Entry {
    Entry { key: key(setting), value: value.to_owned(), origin: Origin::Variable("V".to_owned()) }
}

#[test]
fn wrong_values_are_told_with_their_place() {
    for (text, wanted) in [
        ("\nheartbeat = x", "x.conf:2: heartbeat = x: not allowed, it is to be an integer"),
        ("heartbeat = -1", "x.conf:1: heartbeat = -1: not allowed, it is to be an integer from 0 to 65535"),
        (
            "log.console.level = loud",
            "x.conf:1: log.console.level = loud: not allowed, it is to be debug, or info, or notice, or warning, or \
             error, or critical, or alert, or emergency, or none",
        ),
        ("listeners.tcp = all", "x.conf:1: listeners.tcp = all: not allowed, it is to be none"),
        (
            "max_message_size = 9999999999",
            "x.conf:1: max_message_size = 9999999999: not allowed, it is to be an integer from 1 to 536870912",
        ),
        (
            "consumer_timeout = 0",
            "x.conf:1: consumer_timeout = 0: not allowed, it is to be an integer of at least 1",
        ),
        (
            "default_queue_type = foo",
            "x.conf:1: default_queue_type = foo: not allowed, it is to be classic, quorum or stream",
        ),
        (
            "default_pass = encrypted:abc",
            "x.conf:1: default_pass is encrypted, and no config_entry_decoder.passphrase is set",
        ),
        (
            "default_user = $(NOPE)",
            "x.conf:1: default_user wants $(NOPE), which is neither a setting nor an environment variable",
        ),
        // What makes no difference is looked at too.
        (
            "delegate_count = x",
            "x.conf:1: delegate_count = x: not allowed, it is to be an integer of at least 0",
        ),
    ] {
        let problems = settled(text, Vec::new()).expect_err(text);
        assert_eq!(problems.0, [wanted], "{text}");
    }
    let two = settled("heartbeat = x\nframe_max = y\n", Vec::new()).expect_err("both are wrong");
    assert_eq!(two.0.len(), 2);
    let unwise = settled("vm_memory_high_watermark.absolute = 2XB", Vec::new()).expect_err("no unit");
    assert!(unwise.0[0].ends_with("500MB, 500MiB, 10GB, 10GiB, 2TB, 2TiB, 10000000000"), "{unwise}");
}

#[test]
fn unknown_and_idle_keys_are_warned_about() {
    let text =
        "heartbeet = 1\ndelegate_count = 4\ncluster_partition_handling = ignore\nauth_ldap.servers.1 = x\n";
    let (_, _, warnings) = settled(text, Vec::new()).expect("only warnings");
    let wanted = [
        "x.conf:1: there is no setting heartbeet, it is ignored; is heartbeat meant?",
        "settings that make no difference to Leveret: delegate_count, cluster_partition_handling, auth_ldap.servers.1",
    ];
    assert_eq!(warnings, wanted);
}

#[test]
fn later_sources_and_later_lines_count() {
    let text =
        "default_user = a\ndefault_user = b\ndefault_vhost = v\nlisteners.tcp.1 = 1\nlisteners.tcp.2 = 2\n";
    let arguments = |setting: &str, value: &str| Entry {
        origin: Origin::Arguments("A".to_owned()),
        ..variable(setting, value)
    };
    let more = vec![
        files::flag("--listen", "listeners.tcp.1", "3"),
        variable("default_vhost", "w"),
        arguments("default_user", "z"),
        arguments("heartbeat", "33"),
    ];
    let (settings, effective, warnings) = settled(text, more).expect("all good");
    assert_eq!((&*settings.people.user, &*settings.people.vhost), ("b", "w"));
    assert_eq!(settings.limits.node.heartbeat, 33);
    assert_eq!(settings.network.amqp(), [values::Place::Everywhere(3)]);
    assert!(warnings.is_empty(), "{warnings:?}");
    let vhost = effective.iter().find(|entry| entry.name() == "default_vhost").expect("it is set");
    assert_eq!((&*vhost.value, vhost.origin.to_string().as_str()), ("w", "V"));
}

#[test]
fn values_name_others_and_variables() {
    for (text, wanted) in [
        ("default_user = $(MYVAR)", "envval"),
        ("default_user = ${MYVAR}", "${MYVAR}"),
        ("default_user = $(cluster_name)\ncluster_name = cc", "cc"),
        ("default_user = a-$(MYVAR)-$(MYVAR)", "a-envval-envval"),
        ("default_user = $(default_vhost)\ndefault_vhost = $(MYVAR)", "$(MYVAR)"),
        ("default_user = $(", "$("),
    ] {
        let (settings, ..) = settled(text, Vec::new()).expect(text);
        assert_eq!(settings.people.user, wanted, "{text}");
    }
}

/// As `rabbitmqctl encrypt_conf_value` wrote them, with the passphrase `pass`.
#[test]
fn encrypted_values_are_opened() {
    let binary = "encrypted:BlyDqSs/zTmHe9rzXcXy8nf8+qs5mcB1uFlh2yQwlO+OThlEUVPHSGteyGJrKUEq";
    let string = "encrypted:Liik/qg3wzulFJIL/2LO/xg7blaCX2fZ4/MO8Jf/vfmh6+u5ExgYTf0ZLN8raVw+";
    let passphrase = "config_entry_decoder.passphrase = pass\n";
    let text = format!("default_pass = {binary}\ndefault_vhost = {string}\n{passphrase}");
    let (settings, _, warnings) = settled(&text, Vec::new()).expect("all good");
    assert_eq!((&*settings.people.password, &*settings.people.vhost), ("ab", "ab"));
    assert!(warnings.is_empty(), "{warnings:?}");
    for (decoder, wanted) in [
        ("passphrase = Pass", "config_entry_decoder has another passphrase or method, or it is damaged"),
        ("passphrase = pass\nconfig_entry_decoder.iterations = 2", "config_entry_decoder has another"),
        (
            "passphrase = pass\nconfig_entry_decoder.cipher = rot13",
            "config_entry_decoder names a cipher or a hash that there is not",
        ),
    ] {
        let text = format!("default_pass = {binary}\nconfig_entry_decoder.{decoder}\n");
        let problems = settled(&text, Vec::new()).expect_err(decoder);
        let wanted = format!("x.conf:1: default_pass is encrypted, and {wanted}");
        assert!(problems.0[0].starts_with(&wanted), "{problems}");
    }
}

#[test]
fn settings_as_rabbitmq_has_them() {
    let text = "loopback_users.guest = false\ndefault_user_tags.monitoring = true\ndefault_user_tags.administrator = false
frame_max = 128kb\nchannel_max = 10\nmax_connections = infinity\ndefault_queue_type = rabbit_quorum_queue
vm_memory_high_watermark.absolute = 2GB\ndisk_free_limit.relative = 1.0\nauth_mechanisms.2 = AMQPLAIN\nauth_mechanisms.1 = PLAIN
default_users.bob.tags = administrator, x\ndefault_permissions.write = ^w\nanonymous_login_user = none
default_policies.operator.a.expires = 1h\ndefault_limits.vhosts.b.max_queues = 5\ndefault_limits.vhosts.b.pattern = ^t
management.tcp.ip = 127.0.0.1\nmanagement.path_prefix = x/\nmanagement.cors.allow_origins.1 = *\nload_definitions = /d.json\n";
    let (settings, ..) = settled(text, Vec::new()).expect("all good");
    let Settings { people, limits, network, management, .. } = settings;
    assert!(people.loopback_users().is_empty() && people.anonymous.is_none());
    assert_eq!(people.default_tags(), [Box::from("monitoring")]);
    let offered: Vec<_> = people.mechanisms().offered.iter().map(|mechanism| mechanism.name()).collect();
    assert_eq!(offered, ["PLAIN", "AMQPLAIN"]);
    assert_eq!(people.more["bob"].tags, [Box::from("administrator"), Box::from("x")]);
    assert_eq!(people.permissions, [".*", "^w", ".*"]);
    assert_eq!(
        (limits.node.frame_max, limits.node.channel_max, limits.node.connection_max),
        (131_072, 10, None)
    );
    assert_eq!(limits.memory.octets(), Some(2_000_000_000));
    assert_eq!(limits.disk_free.octets(Some(7)), 7);
    assert_eq!(limits.operator_policies["a"].definition["expires"], 3_600_000);
    assert_eq!(limits.vhosts["b"].limits.max_queues.map(|limit| limit.0), Some(5));
    assert_eq!(network.http.of_api(), [(values::Place::At(([127, 0, 0, 1], 15672).into()), false)]);
    let http = management.http();
    assert_eq!((&*http.path_prefix, http.cors_origins), ("/x", vec!["*".to_owned()]));
    assert_eq!(people.definitions.paths, [std::path::PathBuf::from("/d.json")]);
}

#[test]
fn with_a_tls_port_alone_http_is_not_served_plainly() {
    let places = |text| {
        let (settings, ..) = settled(text, Vec::new()).expect("all good");
        let places = settings.network.http.of_api();
        places
            .iter()
            .map(|(place, tls)| format!("{}{}", place.port(), if *tls { "s" } else { "" }))
            .collect::<Vec<_>>()
    };
    assert_eq!(places(""), ["15672"]);
    assert_eq!(places("management.ssl.port = 1"), ["1s"]);
    assert_eq!(places("management.ssl.port = 1\nmanagement.tcp.port = 2"), ["2", "1s"]);
    assert_eq!(places("leveret.http_listen = none"), Vec::<String>::new());
}

#[test]
fn metrics_are_served_plainly_beside_tls_unless_that_is_not_wanted() {
    let places = |text: &str| {
        let (settings, ..) = settled(text, Vec::new()).expect("all good");
        let metrics = settings.network.metrics;
        let places = metrics.of_metrics();
        let places: Vec<_> = places
            .iter()
            .map(|(place, tls)| format!("{}{}", place.port(), if *tls { "s" } else { "" }))
            .collect();
        (places.join(" "), metrics.is_asked_for())
    };
    let certificate = "prometheus.ssl.certfile = c.pem";
    let none = "prometheus.tcp.listener = none";
    for (text, wanted, asked_for) in [
        (String::new(), "15692", false),
        (certificate.to_owned(), "15692 15691s", false),
        (format!("{certificate}\nprometheus.ssl.port = 1"), "15692 1s", false),
        (format!("{certificate}\nprometheus.tcp.port = 2"), "2 15691s", true),
        (format!("{certificate}\n{none}"), "15691s", false),
        (format!("{certificate}\nprometheus.tcp.listener = 127.0.0.1:3"), "3 15691s", true),
        (none.to_owned(), "", false),
        (format!("{certificate}\nleveret.metrics_listen = none"), "", true),
    ] {
        assert_eq!(places(&text), (wanted.to_owned(), asked_for), "{text}");
    }
}
