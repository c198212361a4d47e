//! The flags of `leveret server`. Each sets a key that a file may set too.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::broker::compatibility::Compatibility;
use crate::broker::queue::arguments::QueueType;
use crate::config::files::flag;
use crate::config::{self, Entry, Origin, syntax};
use crate::node::memory::MemoryLimit;

/// An address to listen on, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| {
            format!("{text:?} is not ADDR:PORT (such as 127.0.0.1:5672, 0.0.0.0:5672 or [::]:5672) nor none")
        })
    }
}

/// A key and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting(Vec<String>, String);

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Quotes and `#` are the shell's business here.
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let lines = syntax::parse(&format!("{} = x", key.trim())).unwrap_or_default();
        match lines.into_iter().next().map(|line| line.said) {
            Some(syntax::Said::Setting { key, .. }) if text.contains('=') => {
                Ok(Self(key, value.trim().to_owned()))
            }
            _ => Err(format!("{text:?} is not KEY=VALUE")),
        }
    }
}

/// A type of queue by its name.
fn queue_type(name: &str) -> Result<QueueType, String> {
    QueueType::from_name(name.as_bytes())
        .ok_or_else(|| format!("{name:?} is not a type of queue: classic, quorum or stream"))
}

/// Everything here can be set in `rabbitmq.conf` too, by the key in parentheses; flags count more than environment variables,
/// these more than files.
#[derive(Args, Debug, Default)]
pub struct ServerArgs {
    /// Read this file in the place of /etc/rabbitmq/rabbitmq.conf (and in that of RABBITMQ_CONFIG_FILE)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set any key of rabbitmq.conf; may be given more than once
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<Setting>,

    /// Show what is set, and where, and end
    #[arg(long)]
    pub print_config: bool,

    /// Serve AMQP here; may be given more than once; none turns it off (listeners.tcp.*) [default: port 5672 of all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<Listen>,

    /// Serve AMQP over TLS here; may be given more than once (listeners.ssl.*)
    #[arg(long, value_name = "ADDR:PORT")]
    tls_listen: Vec<Listen>,

    /// The server's certificate for TLS, with what leads to its authority; PEM (ssl_options.certfile)
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The key of that certificate; PEM (ssl_options.keyfile)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// The authorities of clients' certificates, which are asked for with --set ssl_options.verify=verify_peer; PEM
    /// (ssl_options.cacertfile)
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Serve AMQP on a socket in the file system, for this machine; may be given more than once (leveret.unix_listen.*)
    #[arg(long, value_name = "PATH")]
    unix_listen: Vec<PathBuf>,

    /// Expect a header of the PROXY protocol, version 1 or 2, on AMQP's ports (proxy_protocol)
    #[arg(long)]
    proxy_protocol: bool,

    /// Serve the management HTTP API here; may be given more than once; none turns it off (leveret.http_listen.*,
    /// management.tcp.*) [default: port 15672 of all addresses]
    #[arg(long, value_name = "ADDR:PORT")]
    http_listen: Vec<Listen>,

    /// Serve metrics for Prometheus here; may be given more than once; none turns it off (leveret.metrics_listen.*,
    /// prometheus.tcp.*) [default: port 15692 of all addresses, if it is free]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Vec<Listen>,

    /// Keep data in this folder, which no other instance may use (leveret.data_dir) [default: leveret-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Call the node this (leveret.node_name, RABBITMQ_NODENAME) [default: rabbit@localhost]
    #[arg(long, value_name = "NAME@HOST")]
    node_name: Option<String>,

    /// Import definitions from this file, or the files of this folder; may be given more than once (load_definitions)
    #[arg(long, value_name = "PATH")]
    definitions: Vec<PathBuf>,

    /// Refuse messages with a body of more than this many bytes, at most 512 MiB (max_message_size) [default: 16 MiB]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=512 << 20))]
    max_message_size: Option<u64>,

    /// Let waiting messages take so much memory; more of them go to the data folder (leveret.message_memory)
    /// [default: 20 MiB]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1 << 20..))]
    message_memory: Option<u64>,

    /// Block publishers while fewer bytes than this are free where the data folder is (disk_free_limit.absolute)
    /// [default: 50 MB]
    #[arg(long, value_name = "BYTES")]
    disk_free_limit: Option<u64>,

    /// Block publishers while the process takes more memory than this: bytes, or a share of what there is for it (as a
    /// container allows), or none (vm_memory_high_watermark.*) [default: 0.6]
    #[arg(long, value_name = "BYTES|SHARE")]
    memory_limit: Option<MemoryLimit>,

    /// Let a connection have so many channels; 0 is no limit (channel_max) [default: 2047]
    #[arg(long, value_name = "COUNT")]
    channel_max: Option<u16>,

    /// Let a channel have so many consumers (consumer_max_per_channel) [default: no limit]
    #[arg(long, value_name = "COUNT")]
    consumer_max_per_channel: Option<u32>,

    /// Let so many clients be connected over AMQP (connection_max) [default: no limit]
    #[arg(long, value_name = "COUNT")]
    connection_max: Option<u32>,

    /// Make queues of this type in vhosts that name no other one (default_queue_type) [default: classic]
    #[arg(long, value_name = "TYPE", value_parser = queue_type)]
    default_queue_type: Option<QueueType>,

    /// Follow this version of RabbitMQ where versions differ: 4.3, 4.0 or 3.13 (leveret.compatibility) [default: 4.3]
    #[arg(long, value_name = "VERSION")]
    compatibility: Option<Compatibility>,

    /// Publish what happens on the node in the exchange amq.rabbitmq.event of the vhost / (leveret.event_exchange)
    #[arg(long)]
    event_exchange: bool,

    /// Keep everything in memory and touch no folder (leveret.in_memory)
    #[arg(long)]
    in_memory: bool,
}

impl ServerArgs {
    /// What the flags set. Of those that are given, the more particular ones count.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.settings.iter().map(setting).collect();
        for (name, key, places) in [
            ("--listen", "listeners.tcp", &self.listen),
            ("--tls-listen", "listeners.ssl", &self.tls_listen),
            ("--http-listen", "leveret.http_listen", &self.http_listen),
            ("--metrics-listen", "leveret.metrics_listen", &self.metrics_listen),
        ] {
            entries.extend(listeners(name, key, places));
        }
        for (number, path) in self.unix_listen.iter().enumerate() {
            entries.push(flag("--unix-listen", &format!("leveret.unix_listen.{number:03}"), &path.display()));
        }
        for (name, key, path) in [
            ("--tls-cert", "ssl_options.certfile", &self.tls_cert),
            ("--tls-key", "ssl_options.keyfile", &self.tls_key),
            ("--tls-ca", "ssl_options.cacertfile", &self.tls_ca),
        ] {
            entries.extend(path.iter().map(|path| flag(name, key, &path.display())));
        }
        let mut put = |name: &str, key: &str, value: Option<&dyn fmt::Display>| {
            entries.extend(value.map(|value| flag(name, key, value)));
        };
        put(
            "--data-dir",
            "leveret.data_dir",
            self.data_dir.as_ref().map(|dir| dir.display()).as_ref().map(dynamic),
        );
        put("--node-name", "leveret.node_name", self.node_name.as_ref().map(dynamic));
        put("--max-message-size", "max_message_size", self.max_message_size.as_ref().map(dynamic));
        put("--message-memory", "leveret.message_memory", self.message_memory.as_ref().map(dynamic));
        put("--disk-free-limit", "disk_free_limit.absolute", self.disk_free_limit.as_ref().map(dynamic));
        put("--memory-limit", "leveret.memory_limit", self.memory_limit.as_ref().map(dynamic));
        put("--channel-max", "channel_max", self.channel_max.as_ref().map(dynamic));
        let consumers = self.consumer_max_per_channel.as_ref();
        put("--consumer-max-per-channel", "consumer_max_per_channel", consumers.map(dynamic));
        put("--connection-max", "connection_max", self.connection_max.as_ref().map(dynamic));
        let queue_type = self.default_queue_type.map(QueueType::name);
        put("--default-queue-type", "default_queue_type", queue_type.as_ref().map(dynamic));
        put("--compatibility", "leveret.compatibility", self.compatibility.as_ref().map(dynamic));
        put("--proxy-protocol", "proxy_protocol", self.proxy_protocol.then_some(&"true"));
        put("--event-exchange", "leveret.event_exchange", self.event_exchange.then_some(&"true"));
        put("--in-memory", "leveret.in_memory", self.in_memory.then_some(&"true"));
        entries.extend(
            self.definitions.iter().map(|path| flag("--definitions", "load_definitions", &path.display())),
        );
        entries
    }
}

fn dynamic<T: fmt::Display>(value: &T) -> &dyn fmt::Display {
    value
}

fn setting(Setting(key, value): &Setting) -> Entry {
    Entry { key: key.clone(), value: value.clone(), origin: Origin::Flag("--set".to_owned()) }
}

/// Places under numbers; `none` means none only alone.
fn listeners(name: &str, key: &str, places: &[Listen]) -> Vec<Entry> {
    let addresses: Vec<_> = places.iter().filter_map(|place| place.0).collect();
    if addresses.is_empty() && !places.is_empty() {
        return vec![flag(name, key, "none")];
    }
    let numbered = addresses.iter().enumerate();
    numbered.map(|(number, address)| flag(name, &format!("{key}.{number:03}"), address)).collect()
}

/// What is set, as a file that would set it, with where it comes from.
pub fn shown(configuration: &config::Configuration) -> String {
    let mut text = String::new();
    for file in &configuration.files {
        text += &format!("# read: {file}\n");
    }
    for warning in &configuration.warnings {
        text += &format!("# warning: {}\n", warning.replace('\n', " "));
    }
    for entry in &configuration.effective {
        let value = entry.shown();
        let quoted = value.is_empty() || value.contains(['#', '\n', '\'']) || value != value.trim();
        let value = if quoted { format!("'''{value}'''") } else { value.to_owned() };
        text += &format!("{} = {value}  # {}\n", entry.name(), entry.origin);
    }
    let plugins = configuration.settings.plugins.join(",");
    text + &format!("# plugins: {plugins}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: ServerArgs,
    }

    fn told(words: &[&str]) -> String {
        let alone = <Alone as clap::Parser>::try_parse_from([&["leveret"], words].concat());
        let entries = alone.map(|alone| alone.args.entries()).expect("good flags");
        let told = entries.iter().map(|entry| format!("{} {}={}", entry.origin, entry.name(), entry.value));
        told.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn flags_and_what_they_set() {
        for (words, wanted) in [
            (&[][..], ""),
            (&["--listen", "127.0.0.1:1", "--listen", "[::1]:2"], {
                "--listen listeners.tcp.000=127.0.0.1:1; --listen listeners.tcp.001=[::1]:2"
            }),
            (&["--listen", "none"], "--listen listeners.tcp=none"),
            (&["--memory-limit", "0.5"], "--memory-limit leveret.memory_limit=0.5"),
            (&["--memory-limit", "100"], "--memory-limit leveret.memory_limit=100"),
            (&["--memory-limit", "none"], "--memory-limit leveret.memory_limit=none"),
            (
                &["--set", "a.b\\.c = d=e", "--in-memory"],
                "--set a.b\\.c=d=e; --in-memory leveret.in_memory=true",
            ),
            (
                &["--tls-listen", "[::]:5671", "--tls-cert", "c", "--tls-key", "k", "--tls-ca", "a"],
                "--tls-listen listeners.ssl.000=[::]:5671; --tls-cert ssl_options.certfile=c; \
                 --tls-key ssl_options.keyfile=k; --tls-ca ssl_options.cacertfile=a",
            ),
            (
                &["--unix-listen", "/a", "--unix-listen", "/b", "--proxy-protocol"],
                "--unix-listen leveret.unix_listen.000=/a; --unix-listen leveret.unix_listen.001=/b; \
                 --proxy-protocol proxy_protocol=true",
            ),
            (&["--default-queue-type", "quorum"], "--default-queue-type default_queue_type=quorum"),
        ] {
            assert_eq!(told(words), wanted, "{words:?}");
        }
        for wrong in [&["--set", "a"][..], &["--set", "=b"], &["--set", "a b=c"], &["--listen", "localhost"]]
        {
            let words = [&["leveret"], wrong].concat();
            assert!(<Alone as clap::Parser>::try_parse_from(words).is_err(), "{wrong:?}");
        }
    }
}
