//! Environment variables: RabbitMQ's, those of its container image, and those of Bitnami's. No I/O.

use std::collections::BTreeMap;

use super::erlang::{self, Read};
use super::{Entry, Origin, key};

/// Variables that are settings by another name. Of two for the same key the later one here counts.
const SETTINGS: [(&str, &str); 20] = [
    ("RABBITMQ_USERNAME", "default_user"),
    ("RABBITMQ_PASSWORD", "default_pass"),
    ("RABBITMQ_VHOST", "default_vhost"),
    ("RABBITMQ_DEFAULT_USER", "default_user"),
    ("RABBITMQ_DEFAULT_PASS", "default_pass"),
    ("RABBITMQ_DEFAULT_VHOST", "default_vhost"),
    ("RABBITMQ_LOG_BASE", "log.dir"),
    ("RABBITMQ_PRODUCT_NAME", "product.name"),
    ("RABBITMQ_PRODUCT_VERSION", "product.version"),
    ("RABBITMQ_MNESIA_DIR", "leveret.data_dir"),
    ("RABBITMQ_MANAGEMENT_PORT_NUMBER", "management.tcp.port"),
    ("RABBITMQ_MANAGEMENT_BIND_IP", "management.tcp.ip"),
    ("RABBITMQ_DISK_FREE_RELATIVE_LIMIT", "disk_free_limit.relative"),
    ("RABBITMQ_DISK_FREE_ABSOLUTE_LIMIT", "disk_free_limit.absolute"),
    ("RABBITMQ_CLUSTER_PARTITION_HANDLING", "cluster_partition_handling"),
    ("RABBITMQ_STREAM_ADVERTISED_HOST", "stream.advertised_host"),
    ("RABBITMQ_STREAM_ADVERTISED_PORT", "stream.advertised_port"),
    ("RABBITMQ_NODENAME", "leveret.node_name"),
    ("RABBITMQ_PID_FILE", "leveret.pid_file"),
    ("RABBITMQ_ENABLED_PLUGINS_FILE", "leveret.enabled_plugins_file"),
];
/// Variables whose value is in the file that `NAME_FILE` names.
const FROM_FILES: [&str; 4] =
    ["RABBITMQ_USERNAME", "RABBITMQ_PASSWORD", "RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS"];
/// What TLS settings begin with, and the keys they are.
const TLS: [(&str, &str); 2] =
    [("RABBITMQ_MANAGEMENT_SSL_", "management.ssl"), ("RABBITMQ_SSL_", "ssl_options")];

/// All variables by name. Those that are empty count as not set, as in RabbitMQ.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| ["yes", "true", "on", "1"].contains(&value.to_lowercase().as_str()))
    }

    /// Adds what a file such as `rabbitmq-env.conf` sets and the environment does not, and returns the lines that are more
    /// than `NAME=value`. Names may lack the `RABBITMQ_`.
    pub fn add(&mut self, text: &str) -> Vec<usize> {
        let mut strange = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let assignment = line.strip_prefix("export ").unwrap_or(line).split_once('=');
            let assignment =
                assignment.filter(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
            match assignment.and_then(|(name, value)| Some((name, unquoted(value)?))) {
                Some((name, value)) => {
                    let long =
                        if name.starts_with("RABBITMQ_") { name.into() } else { format!("RABBITMQ_{name}") };
                    if !value.is_empty() {
                        self.0.entry(long).or_insert_with(|| value.to_owned());
                    }
                }
                None => strange.push(number + 1),
            }
        }
        strange
    }

    /// Files whose content variables are.
    pub fn named_files(&self) -> impl Iterator<Item = (&'static str, &str)> {
        FROM_FILES.into_iter().filter_map(|name| Some((name, self.get(&format!("{name}_FILE"))?)))
    }

    /// Sets a variable that has been read from its file, if it is not set already.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// What counts less than any file: arguments of Erlang's virtual machine, and where to listen if no file says so.
    pub fn defaults(&self) -> (Vec<Entry>, Vec<String>) {
        let mut entries = Vec::new();
        let mut strange = Vec::new();
        for name in ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "RABBITMQ_SERVER_START_ARGS"] {
            let Read { pairs, strange: unknown } = erlang::arguments(self.get(name).unwrap_or_default());
            let origin = Origin::Arguments(name.to_owned());
            entries.extend(pairs.into_iter().map(|(key, value)| Entry {
                key,
                value,
                origin: origin.clone(),
            }));
            strange.extend(
                unknown.into_iter().map(|what| format!("{name}: {what} is not understood, and ignored")),
            );
        }
        let port = ["RABBITMQ_NODE_PORT", "RABBITMQ_NODE_PORT_NUMBER"];
        let port = port.into_iter().find_map(|name| Some((name, self.get(name)?)));
        let ip = self.get("RABBITMQ_NODE_IP_ADDRESS").filter(|ip| *ip != "auto");
        let place = match (ip, port) {
            (Some(ip), port) => {
                Some(("RABBITMQ_NODE_IP_ADDRESS", format!("{ip}:{}", port.map_or("5672", |(_, port)| port))))
            }
            (None, Some((name, port))) => Some((name, port.to_owned())),
            (None, None) => None,
        };
        if let Some((name, value)) = place {
            let origin = Origin::Arguments(name.to_owned());
            entries.push(Entry { key: key("listeners.tcp.default"), value, origin });
        }
        (entries, strange)
    }

    /// What counts more than any file.
    pub fn settings(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut put = |name: &str, key_: &str, value: &str| {
            let origin = Origin::Variable(name.to_owned());
            entries.push(Entry { key: key(key_), value: value.to_owned(), origin });
        };
        for (name, key) in SETTINGS {
            if let Some(value) = self.get(name) {
                put(name, key, value);
            }
        }
        if let Some(base) =
            self.get("RABBITMQ_MNESIA_BASE").filter(|_| self.get("RABBITMQ_MNESIA_DIR").is_none())
        {
            put(
                "RABBITMQ_MNESIA_BASE",
                "leveret.data_dir",
                &format!("{}/leveret", base.trim_end_matches('/')),
            );
        }
        if let Some(name) = self.get("RABBITMQ_NODE_NAME").filter(|_| self.get("RABBITMQ_NODENAME").is_none())
        {
            put("RABBITMQ_NODE_NAME", "leveret.node_name", name);
        }
        if let Some(limit) = self.get("RABBITMQ_VM_MEMORY_HIGH_WATERMARK") {
            let (key, value) = watermark(limit);
            put("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", &format!("vm_memory_high_watermark.{key}"), &value);
        }
        if self.is_on("RABBITMQ_LOAD_DEFINITIONS") {
            let file = self.get("RABBITMQ_DEFINITIONS_FILE").unwrap_or("/app/load_definition.json");
            put("RABBITMQ_DEFINITIONS_FILE", "load_definitions", file);
        }
        if self.is_on("RABBITMQ_MANAGEMENT_ALLOW_WEB_ACCESS") {
            put("RABBITMQ_MANAGEMENT_ALLOW_WEB_ACCESS", "loopback_users", "none");
        }
        for name in ["RABBITMQ_PLUGINS", "RABBITMQ_ENABLED_PLUGINS"] {
            if let Some(plugins) = self.get(name) {
                let plugins = plugins.replace([' ', ';'], ",");
                put(name, "leveret.enabled_plugins", if plugins == "NONE" { "" } else { &plugins });
            }
        }
        let vhosts = self.get("RABBITMQ_VHOSTS").unwrap_or_default().split([',', ' ']);
        entries.extend(vhosts.filter(|vhost| !vhost.is_empty()).map(|vhost| Entry {
            key: ["leveret", "vhosts", vhost].map(str::to_owned).to_vec(),
            value: "true".to_owned(),
            origin: Origin::Variable("RABBITMQ_VHOSTS".to_owned()),
        }));
        self.tls(&mut entries);
        self.logs(&mut entries);
        entries
    }

    /// The variables that the image of RabbitMQ has given up, and old set-ups still use. TLS listens beside what else does.
    fn tls(&self, entries: &mut Vec<Entry>) {
        for (prefix, options) in TLS {
            let found =
                self.0.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(prefix)?, value)));
            for (number, (name, option, value)) in found.enumerate() {
                let origin = Origin::Variable(name.clone());
                if number == 0 {
                    let (place, port) = match options {
                        "ssl_options" => ("listeners.ssl.default", "5671"),
                        _ => ("management.ssl.port", "15671"),
                    };
                    entries.push(Entry { key: key(place), value: port.to_owned(), origin: origin.clone() });
                }
                let key = key(&format!("{options}.{}", option.to_lowercase()));
                entries.push(Entry { key, value: value.clone(), origin });
            }
        }
    }

    /// `RABBITMQ_LOGS` says where to, `RABBITMQ_LOG` how much: `debug`, or `connection=debug,default=error,+color`.
    fn logs(&self, entries: &mut Vec<Entry>) {
        let mut put = |name: &str, key_: &str, value: &str| {
            let origin = Origin::Variable(name.to_owned());
            entries.push(Entry { key: key(key_), value: value.to_owned(), origin });
        };
        match self.get("RABBITMQ_LOGS") {
            Some(console @ ("-" | "-stderr")) => {
                put("RABBITMQ_LOGS", "log.console", "true");
                put("RABBITMQ_LOGS", "log.file", "false");
                put("RABBITMQ_LOGS", "log.console.stdio", if console == "-" { "stdout" } else { "stderr" });
            }
            Some(path) if !path.contains(':') => put("RABBITMQ_LOGS", "log.file", path),
            _ => {}
        }
        for word in self.get("RABBITMQ_LOG").unwrap_or_default().split(',').map(str::trim) {
            match (word, word.split_once('=')) {
                (_, Some((category, level))) => put("RABBITMQ_LOG", &format!("log.{category}.level"), level),
                ("+color" | "-color", _) => {
                    put(
                        "RABBITMQ_LOG",
                        "log.console.use_colors",
                        if word == "+color" { "on" } else { "off" },
                    );
                }
                ("+json" | "-json", _) => {
                    let formatter = if word == "+json" { "json" } else { "plaintext" };
                    put("RABBITMQ_LOG", "log.console.formatter", formatter);
                    put("RABBITMQ_LOG", "log.file.formatter", formatter);
                }
                ("", _) => {}
                _ if word.starts_with(['+', '-']) => {}
                _ => put("RABBITMQ_LOG", "log.default.level", word),
            }
        }
    }
}

/// A share (`0.4`, `40%`) or a size.
fn watermark(limit: &str) -> (&'static str, String) {
    match (limit.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok()), limit.parse::<f64>()) {
        (Some(percent), _) => ("relative", (percent / 100.0).to_string()),
        (None, Ok(share)) if share <= 1.0 => ("relative", limit.to_owned()),
        _ => ("absolute", limit.to_owned()),
    }
}

/// A value as a shell takes it, if it has no more in it than quotes and a comment.
fn unquoted(value: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(inside) = value.strip_prefix(quote) {
            let (inside, rest) = inside.split_once(quote)?;
            let plain = rest.trim().is_empty() || rest.trim_start().starts_with('#');
            return (plain && !(quote == '"' && inside.contains(['$', '`', '\\']))).then_some(inside);
        }
    }
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim_end();
    (!value.contains(|c: char| c.is_whitespace() || "$`\\\"';|&<>()".contains(c))).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn told(entries: &[Entry]) -> String {
        let told = entries.iter().map(|entry| format!("{}={}", entry.key.join("."), entry.value));
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn variables_and_what_they_set() {
        for (variables, wanted) in [
            (&[("RABBITMQ_DEFAULT_USER", "bob"), ("RABBITMQ_DEFAULT_PASS", "")][..], "default_user=bob"),
            (&[("RABBITMQ_USERNAME", "a"), ("RABBITMQ_DEFAULT_USER", "b")], "default_user=a default_user=b"),
            (&[("RABBITMQ_MNESIA_BASE", "/d/")], "leveret.data_dir=/d/leveret"),
            (&[("RABBITMQ_MNESIA_BASE", "/d"), ("RABBITMQ_MNESIA_DIR", "/e")], "leveret.data_dir=/e"),
            (&[("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "40%")], "vm_memory_high_watermark.relative=0.4"),
            (
                &[("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "1024MiB")],
                "vm_memory_high_watermark.absolute=1024MiB",
            ),
            (
                &[("RABBITMQ_SSL_CERTFILE", "/c"), ("RABBITMQ_SSL_VERIFY", "verify_peer")],
                "listeners.ssl.default=5671 ssl_options.certfile=/c ssl_options.verify=verify_peer",
            ),
            (
                &[("RABBITMQ_MANAGEMENT_SSL_CERTFILE", "/c")],
                "management.ssl.port=15671 management.ssl.certfile=/c",
            ),
            (&[("RABBITMQ_LOGS", "-")], "log.console=true log.file=false log.console.stdio=stdout"),
            (
                &[("RABBITMQ_LOG", "connection=debug,error,+json,-color")],
                concat!(
                    "log.connection.level=debug log.default.level=error log.console.formatter=json ",
                    "log.file.formatter=json log.console.use_colors=off"
                ),
            ),
            (&[("RABBITMQ_PLUGINS", "a b,c")], "leveret.enabled_plugins=a,b,c"),
            (
                &[("RABBITMQ_LOAD_DEFINITIONS", "yes"), ("RABBITMQ_DEFINITIONS_FILE", "/d.json")],
                "load_definitions=/d.json",
            ),
            (&[("RABBITMQ_DEFINITIONS_FILE", "/d.json"), ("PATH", "/bin")], ""),
        ] {
            assert_eq!(told(&environment(variables).settings()), wanted, "{variables:?}");
        }
    }

    #[test]
    fn where_to_listen_and_erlangs_arguments_count_less_than_files() {
        for (variables, wanted) in [
            (&[("RABBITMQ_NODE_PORT", "5673")][..], "listeners.tcp.default=5673"),
            (&[("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")], "listeners.tcp.default=127.0.0.1:5672"),
            (
                &[("RABBITMQ_NODE_IP_ADDRESS", "::1"), ("RABBITMQ_NODE_PORT", "1")],
                "listeners.tcp.default=::1:1",
            ),
            (&[("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-rabbit heartbeat 7")], "heartbeat=7"),
        ] {
            let (entries, strange) = environment(variables).defaults();
            assert_eq!(told(&entries), wanted, "{variables:?}");
            assert!(strange.is_empty() && entries.iter().all(|entry| entry.origin.layer() == 0));
        }
        let (_, strange) = environment(&[("RABBITMQ_SERVER_START_ARGS", "-rabbit nosuch 7")]).defaults();
        assert_eq!(strange, ["RABBITMQ_SERVER_START_ARGS: rabbit.nosuch is not understood, and ignored"]);
    }

    #[test]
    fn a_file_of_variables() {
        let mut environment = environment(&[("RABBITMQ_NODE_PORT", "1")]);
        let text = "# c\nNODENAME=hare\nexport RABBITMQ_LOGS=\"-\"  # c\nNODE_PORT=2\nif x; then\nLOG=$(x)\n\nX='a b'\n";
        assert_eq!(environment.add(text), [5, 6]);
        for (name, wanted) in [
            ("RABBITMQ_NODENAME", Some("hare")),
            ("RABBITMQ_LOGS", Some("-")),
            ("RABBITMQ_NODE_PORT", Some("1")),
            ("RABBITMQ_LOG", None),
            ("RABBITMQ_X", Some("a b")),
        ] {
            assert_eq!(environment.get(name), wanted, "{name}");
        }
    }
}
