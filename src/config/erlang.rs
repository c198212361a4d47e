//! Settings as Erlang applications have them (`{rabbit, [{heartbeat, 60}]}`), brought to the keys of `rabbitmq.conf`. No I/O.
//!
//! Most have the same name there; nested lists are nested names. What has another one is listed here.

use super::table;
use super::terms::{self, Term};
use super::unseal::SEALED;

/// A key and a value.
pub type Pair = (Vec<String>, String);

/// Applications, and what their settings' keys begin with.
const APPLICATIONS: [(&str, &str); 9] = [
    ("rabbit", ""),
    ("rabbitmq_management", "management"),
    ("rabbitmq_management_agent", "management_agent"),
    ("rabbitmq_prometheus", "prometheus"),
    ("rabbitmq_stream", "stream"),
    ("rabbitmq_mqtt", "mqtt"),
    ("rabbitmq_stomp", "stomp"),
    ("rabbitmq_web_mqtt", "web_mqtt"),
    ("rabbitmq_web_stomp", "web_stomp"),
];
/// Settings that are called otherwise in `rabbitmq.conf`.
const RENAMED: [(&str, &str); 12] = [
    ("tcp_listeners", "listeners.tcp"),
    ("ssl_listeners", "listeners.ssl"),
    ("num_tcp_acceptors", "num_acceptors.tcp"),
    ("num_ssl_acceptors", "num_acceptors.ssl"),
    ("log_levels", "log"),
    ("log_root", "log.dir"),
    ("definitions.local_path", "definitions.local.path"),
    ("permit_deprecated_features", "deprecated_features.permit"),
    ("management.tcp_config", "management.tcp"),
    ("management.ssl_config", "management.ssl"),
    ("prometheus.tcp_config", "prometheus.tcp"),
    ("prometheus.ssl_config", "prometheus.ssl"),
];

/// What a list of settings says, and the names of those that nobody understands.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    pub pairs: Vec<Pair>,
    pub strange: Vec<String>,
}

/// All settings of a file such as `advanced.config`.
pub fn settings(terms: &[Term]) -> Read {
    let mut read = Read::default();
    for application in terms.iter().flat_map(options) {
        match application.option() {
            Some((name, of_it)) => read.application(name, of_it),
            None => read.strange.push(kind(application).to_owned()),
        }
    }
    read
}

/// What a term is, without what is in it: that may be a password.
fn kind(term: &Term) -> &'static str {
    match term {
        Term::Atom(_) | Term::Number(_) | Term::Text(_) | Term::Binary(_) => "a word",
        Term::List(_) => "a list",
        Term::Tuple(_) => "a tuple that is no pair",
        Term::Map(_) => "a map",
    }
}

/// All settings among the arguments of a virtual machine: `-rabbit heartbeat 60 frame_max 131072 +S 2:2`.
pub fn arguments(text: &str) -> Read {
    let mut read = Read::default();
    let mut application: Option<&str> = None;
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = split_word(rest);
        rest = after;
        if let Some(flag) =
            word.strip_prefix('-').filter(|flag| flag.starts_with(|c: char| c.is_alphabetic()))
        {
            application = APPLICATIONS.iter().any(|(name, _)| *name == flag).then_some(flag);
            continue;
        }
        // What is no application's is the virtual machine's, which there is none.
        let Some(application) = application.filter(|_| !word.starts_with('+')) else { continue };
        if rest.is_empty() {
            read.strange.push(format!("{application}.{word}"));
            break;
        }
        let (value, after) = match terms::first(rest) {
            Some((term, after)) if after.is_empty() || after.starts_with(char::is_whitespace) => {
                (term, after)
            }
            _ => {
                let (word, after) = split_word(rest);
                (Term::Text(word.trim_matches('"').to_owned()), after)
            }
        };
        rest = after.trim_start();
        read.setting(application, word, &value);
    }
    read
}

fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    (word, rest.trim_start())
}

fn options(term: &Term) -> impl Iterator<Item = &Term> {
    match term {
        Term::List(terms) => terms.iter(),
        _ => [].iter(),
    }
}

impl Read {
    fn application(&mut self, name: &str, settings: &Term) {
        for setting in options(settings) {
            match setting.option() {
                Some((key, value)) => self.setting(name, key, value),
                None => self.strange.push(format!("{name}: {}", kind(setting))),
            }
        }
    }

    fn setting(&mut self, application: &str, name: &str, value: &Term) {
        let found = APPLICATIONS.iter().find(|(known, _)| *known == application);
        let before = self.pairs.len();
        let understood = found.is_some_and(|(_, prefix)| {
            let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            self.value(&name, value)
        });
        if !understood {
            self.pairs.truncate(before);
            self.strange.push(format!("{application}.{name}"));
        }
    }

    /// Adds what a value sets, and says whether all of it was understood.
    fn value(&mut self, name: &str, value: &Term) -> bool {
        let renamed = RENAMED.iter().find(|(erlang, _)| *erlang == name);
        let name = renamed.map_or(name, |(_, conf)| *conf);
        match (name, value) {
            ("listeners.tcp" | "listeners.ssl", Term::List(places)) => self.listeners(name, places),
            ("vm_memory_high_watermark", Term::Number(_)) => self.one(&format!("{name}.relative"), value),
            ("vm_memory_high_watermark" | "disk_free_limit", Term::Tuple(parts)) => match &parts[..] {
                [Term::Atom(how), value] if how == "absolute" => self.one(&format!("{name}.absolute"), value),
                [Term::Atom(how), value] if how == "mem_relative" => {
                    self.one(&format!("{name}.relative"), value)
                }
                _ => false,
            },
            ("disk_free_limit", _) => self.one(&format!("{name}.absolute"), value),
            ("default_permissions", Term::List(patterns)) => {
                let names = ["configure", "write", "read"].iter().zip(patterns);
                patterns.len() == 3
                    && names.fold(true, |ok, (of, pattern)| self.one(&format!("{name}.{of}"), pattern) && ok)
            }
            ("default_user_tags" | "loopback_users", Term::List(words)) if words.is_empty() => {
                name == "loopback_users" && self.one(name, &Term::Atom("none".into()))
            }
            ("default_user_tags" | "loopback_users", Term::List(words)) => {
                words.iter().all(|word| self.named(name, word.word(), &Term::Atom("true".into())))
            }
            ("log", Term::List(levels)) => levels.iter().all(|level| match level.option() {
                Some((category, Term::Atom(level))) => {
                    self.one(&format!("log.{category}.level"), &Term::Atom(level.clone()))
                }
                Some((output, Term::List(settings))) => self.output(output, settings),
                _ => false,
            }),
            (_, Term::List(items)) => self.list(name, items),
            (_, Term::Map(items)) => items.iter().all(|(key, value)| self.named(name, key.word(), value)),
            (_, Term::Tuple(parts)) => match &parts[..] {
                [Term::Atom(how), value] if how == "encrypted" => {
                    let sealed = value.word().map(|sealed| Term::Text(format!("{SEALED}{sealed}")));
                    sealed.is_some_and(|sealed| self.one(name, &sealed))
                }
                // It is read where files are.
                [Term::Atom(how), Term::Text(path)]
                    if how == "file" && name == "config_entry_decoder.passphrase" =>
                {
                    self.one(name, &Term::Text(format!("$(<{path})")))
                }
                _ => false,
            },
            _ => self.one(name, value),
        }
    }

    /// A list of options, or of values that are numbered.
    fn list(&mut self, name: &str, items: &[Term]) -> bool {
        items.iter().enumerate().all(|(number, item)| match item.option() {
            Some((key, value)) => self.value(&format!("{name}.{key}"), value),
            None => self.named(name, Some(&(number + 1).to_string()), item),
        })
    }

    /// An output of the log: `{console, [{enabled, true}, {level, debug}]}`.
    fn output(&mut self, output: &str, settings: &[Term]) -> bool {
        settings.iter().all(|setting| match setting.option() {
            Some(("enabled" | "file", value)) => self.one(&format!("log.{output}"), value),
            Some((name, value)) => self.one(&format!("log.{output}.{name}"), value),
            None => false,
        })
    }

    fn listeners(&mut self, name: &str, places: &[Term]) -> bool {
        if places.is_empty() {
            return self.one(name, &Term::Atom("none".into()));
        }
        places.iter().enumerate().all(|(number, place)| {
            let key = (number + 1).to_string();
            match place.option() {
                Some(("auto", port)) => self.named(name, Some(&key), port),
                Some((address, port)) => {
                    let place = port.word().map(|port| Term::Text(format!("{address}:{port}")));
                    place.is_some_and(|place| self.named(name, Some(&key), &place))
                }
                None => self.named(name, Some(&key), place),
            }
        })
    }

    /// A key under another one. The word may have dots in it.
    fn named(&mut self, name: &str, word: Option<&str>, value: &Term) -> bool {
        let (Some(word), Some(value)) = (word, value.word()) else { return false };
        let key: Vec<_> = name.split('.').chain([word]).map(str::to_owned).collect();
        self.push(key, value)
    }

    fn one(&mut self, name: &str, value: &Term) -> bool {
        let Some(value) = value.word() else { return false };
        self.push(name.split('.').map(str::to_owned).collect(), value)
    }

    fn push(&mut self, key: Vec<String>, value: &str) -> bool {
        let known = table::kind(&key).is_some();
        if known {
            self.pairs.push((key, value.to_owned()));
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(read: &Read) -> String {
        let pairs = read.pairs.iter().map(|(key, value)| format!("{}={value}", key.join(".")));
        pairs.chain(read.strange.iter().map(|name| format!("?{name}"))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn arguments_as_people_write_them() {
        for (text, wanted) in [
            (
                "-rabbitmq_management load_definitions \"/etc/rabbitmq/definitions.json\"",
                "management.load_definitions=/etc/rabbitmq/definitions.json",
            ),
            (
                "-rabbitmq_management load_definitions /etc/rabbitmq/definitions.json",
                "management.load_definitions=/etc/rabbitmq/definitions.json",
            ),
            (
                "-rabbit log_levels [{connection,error},{default,error}] disk_free_limit 2147483648",
                "log.connection.level=error log.default.level=error disk_free_limit.absolute=2147483648",
            ),
            ("-rabbit tcp_listeners [5672]", "listeners.tcp.1=5672"),
            ("-rabbit tcp_listeners [{\"0.0.0.0\", 5672}]", "listeners.tcp.1=0.0.0.0:5672"),
            (
                "-rabbit consumer_timeout 3600000 -rabbit heartbeat 33",
                "consumer_timeout=3600000 heartbeat=33",
            ),
            ("+S 2:2 -kernel x y -setcookie z -rabbit heartbeat 1", "heartbeat=1"),
            ("-rabbit nosuch 1", "?rabbit.nosuch"),
            ("-rabbit heartbeat", "?rabbit.heartbeat"),
            ("", ""),
        ] {
            assert_eq!(told(&arguments(text)), wanted, "{text}");
        }
    }

    #[test]
    fn encrypted_values() {
        let text = r#"[{rabbit, [{default_pass, {encrypted, <<"abc=">>}},
            {config_entry_decoder, [{passphrase, {file, "/p"}}, {cipher, aes_256_cbc}, {iterations, 3}]}]}]."#;
        let wanted = "default_pass=encrypted:abc= config_entry_decoder.passphrase=$(</p) \
                      config_entry_decoder.cipher=aes_256_cbc config_entry_decoder.iterations=3";
        assert_eq!(told(&settings(&terms::file(text).expect("terms"))), wanted);
    }

    #[test]
    fn a_file_as_people_write_it() {
        let text = r#"[
          {rabbit, [
            {tcp_listeners, [5672, {"127.0.0.1", 5673}]}, {ssl_listeners, []},
            {vm_memory_high_watermark, {absolute, "2GB"}}, {disk_free_limit, {mem_relative, 1.0}},
            {default_user, <<"bob">>}, {default_user_tags, [administrator]}, {loopback_users, []},
            {default_permissions, [<<".*">>, <<"w">>, <<"r">>]},
            {ssl_options, [{verify, verify_peer}, {versions, ['tlsv1.2', 'tlsv1.3']}]},
            {log, [{console, [{enabled, true}, {level, debug}]}]},
            {permit_deprecated_features, #{global_qos => true}},
            {auth_mechanisms, ['PLAIN']}, {heartbeat, 60}, {cluster_nodes, {[], disc}}]},
          {rabbitmq_management, [{tcp_config, [{port, 1}]}, {load_definitions, "x"}]},
          {kernel, [{net_ticktime, 60}]}
        ]."#;
        let wanted = "listeners.tcp.1=5672 listeners.tcp.2=127.0.0.1:5673 listeners.ssl=none \
            vm_memory_high_watermark.absolute=2GB disk_free_limit.relative=1.0 default_user=bob \
            default_user_tags.administrator=true loopback_users=none default_permissions.configure=.* \
            default_permissions.write=w default_permissions.read=r ssl_options.verify=verify_peer \
            ssl_options.versions.1=tlsv1.2 ssl_options.versions.2=tlsv1.3 log.console=true log.console.level=debug \
            deprecated_features.permit.global_qos=true auth_mechanisms.1=PLAIN heartbeat=60 management.tcp.port=1 \
            management.load_definitions=x ?rabbit.cluster_nodes ?kernel.net_ticktime";
        assert_eq!(told(&settings(&terms::file(text).expect("terms"))), wanted);
    }

    #[test]
    fn what_is_strange_is_not_told_with_what_is_in_it() {
        let text =
            r#"[{rabbit, [{default_pass, <<"s3cret">>, x}, ["s3cret"], 's3cret']}, {"s3cret", 1, 2}]."#;
        let read = settings(&terms::file(text).expect("terms"));
        let wanted = ["rabbit: a tuple that is no pair", "rabbit: a list", "rabbit: a word"];
        assert_eq!(read.strange, [&wanted[..], &["a tuple that is no pair"]].concat());
    }
}
