//! Command lines of `rabbitmqadmin`: options of the tool, and after them what is to be done, with `name=value` or
//! `--name value`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{Failure, Options};
use crate::net::tls::ClientSettings;

/// The tool's own options: their names, and whether a value follows.
const OPTIONS: [(&str, Option<char>, bool); 32] = [
    ("config", Some('c'), true),
    ("node", Some('N'), true),
    ("host", Some('H'), true),
    ("port", Some('P'), true),
    ("path_prefix", None, true),
    ("vhost", Some('V'), true),
    ("username", Some('u'), true),
    ("password", Some('p'), true),
    ("base_uri", Some('U'), true),
    ("request_timeout", Some('t'), true),
    ("timeout", None, true),
    ("format", Some('f'), true),
    ("sort", Some('S'), true),
    ("depth", Some('d'), true),
    ("table_style", None, true),
    ("ssl_key_file", None, true),
    ("ssl_cert_file", None, true),
    ("ssl_ca_cert_file", None, true),
    ("tls_key_file", None, true),
    ("tls_cert_file", None, true),
    ("tls_ca_cert_file", None, true),
    ("ssl_disable_hostname_verification", None, false),
    ("verbose", Some('v'), false),
    ("quiet", Some('q'), false),
    ("ssl", Some('s'), false),
    ("use_tls", None, false),
    ("ssl_insecure", Some('k'), false),
    ("sort_reverse", Some('R'), false),
    ("non_interactive", None, false),
    ("insecure", None, false),
    ("version", None, false),
    ("help", Some('h'), false),
];

/// What help says of them.
pub const HELP: [(&str, &str); 18] = [
    ("-H HOST, --host=HOST", "where the node is [default: localhost]"),
    ("-P PORT, --port=PORT", "its port [default: 15672]"),
    ("-U URI, --base-uri=URI", "both, as http://NAME:PASSWORD@HOST:PORT, or https"),
    ("-s, --ssl, --use-tls", "TLS [default port: 15671]"),
    (
        "--ssl-ca-cert-file=FILE",
        "the authorities that are trusted [default: the system's]; also --tls-ca-cert-file",
    ),
    ("--ssl-cert-file=FILE", "a certificate of one's own, with --ssl-key-file=FILE; also --tls-..."),
    ("-k, --insecure", "trusts anybody"),
    ("--path-prefix=PATH", "what comes before /api"),
    ("-V NAME, --vhost=NAME", "virtual host [default: all for lists, else /]"),
    ("-u NAME, --username=NAME", "[default: guest]"),
    ("-p PASSWORD", "--password=PASSWORD [default: guest]"),
    ("-c FILE, --config=FILE", "options from a file [default: ~/.rabbitmqadmin.conf]"),
    ("-N NAME, --node=NAME", "the section of that file [default: default]"),
    ("-t SECONDS", "--request-timeout=SECONDS [default: 120]"),
    ("-f FORMAT, --format=FORMAT", "table, tsv, long, kvp, bash, raw_json or pretty_json"),
    ("-S COLUMN, --sort=COLUMN", "the order of a list; -R turns it round"),
    ("-d DEPTH, --depth=DEPTH", "how deep objects in a list are shown [default: 1]"),
    ("-q, --quiet", "say nothing of what was done"),
];

/// Options of subcommands of one letter, by the subcommand.
const SHORT: [(&str, char, &str); 6] = [
    ("publish", 'k', "routing_key"),
    ("publish", 'm', "payload"),
    ("publish", 'e', "exchange"),
    ("get", 'q', "queue"),
    ("get", 'c', "count"),
    ("get", 'a', "ack_mode"),
];

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What is no option and no argument.
    pub words: Vec<String>,
    options: BTreeMap<&'static str, String>,
    /// By name, with `_` for `-`.
    pub arguments: BTreeMap<String, String>,
}

impl Line {
    pub fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut line = Self::default();
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            if let Some(long) = argument.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                line.take(&name.replace('-', "_"), value, &mut rest)?;
            } else if let Some(letter) = letter_of(argument) {
                let value = argument.get(1 + letter.len_utf8()..).filter(|value| !value.is_empty());
                let value = value.map(|value| value.trim_start_matches('=').to_owned());
                let own = SHORT.iter().find(|(verb, short, _)| line.does(verb) && *short == letter);
                let known = OPTIONS.iter().find(|(_, short, _)| *short == Some(letter));
                match (own, known) {
                    (Some((_, _, name)), _) => line.take(name, value, &mut rest)?,
                    (None, Some((name, _, _))) => line.take(name, value, &mut rest)?,
                    (None, None) => return Err(Failure::Misused(format!("no such option: -{letter}"))),
                }
            } else if let Some((name, value)) = argument.split_once('=').filter(|_| !line.words.is_empty()) {
                line.arguments.insert(name.replace('-', "_"), value.to_owned());
            } else {
                line.words.push(argument.clone());
            }
        }
        Ok(line)
    }

    /// Whether this is what is to be done, as far as has been read.
    fn does(&self, verb: &str) -> bool {
        self.words.iter().take(2).any(|word| word == verb)
    }

    fn take<'a>(
        &mut self,
        name: &str,
        value: Option<String>,
        rest: &mut std::iter::Peekable<impl Iterator<Item = &'a String>>,
    ) -> Result<(), Failure> {
        // A user's password, and whose something is, once that is spoken of.
        let speaks_of =
            |kinds: &[&str]| self.words.iter().any(|word| kinds.iter().any(|kind| word.starts_with(kind)));
        let of_user = match name {
            "password" => speaks_of(&["user"]),
            "username" => {
                speaks_of(&["permission", "user_", "close_of_user"]) && !self.arguments.contains_key("user")
            }
            _ => false,
        };
        let own = OPTIONS.iter().find(|(own, _, _)| *own == name && !of_user);
        match own {
            Some((own, _, false)) => {
                self.options.insert(own, value.unwrap_or_else(|| "true".to_owned()));
            }
            Some((own, _, true)) => {
                let value = value.or_else(|| rest.next().cloned());
                let value = value.ok_or_else(|| Failure::Misused(format!("{name} needs a value")))?;
                self.options.insert(own, value);
            }
            None if self.words.is_empty() => {
                return Err(Failure::Misused(format!("no such option: --{name}")));
            }
            None => {
                let next = rest.peek().is_some_and(|next| !next.starts_with("--"));
                let value = value.or_else(|| rest.next_if(|_| next).cloned());
                self.arguments.insert(name.to_owned(), value.unwrap_or_else(|| "true".to_owned()));
            }
        }
        Ok(())
    }

    pub fn flag(&self, name: &str) -> bool {
        self.options.get(name).is_some_and(|value| value == "true")
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }
}

/// The letter of an option such as `-H`. Numbers are none.
fn letter_of(argument: &str) -> Option<char> {
    let letter = argument.strip_prefix('-')?.chars().next()?;
    letter.is_ascii_alphabetic().then_some(letter)
}

/// The options that hold: those of the command line, then of the environment, then of a file.
pub fn options(line: &Line) -> Result<Options, Failure> {
    let file = section(line)?;
    let given = |names: &[&str], variable: &str| {
        let own = names.iter().find_map(|name| line.option(name)).map(str::to_owned);
        own.or_else(|| of_environment(variable))
            .or_else(|| names.iter().find_map(|name| file.get(*name).cloned()))
    };
    let base = given(&["base_uri"], "BASE_URI").map(|uri| base(&uri)).transpose()?.unwrap_or_default();
    let is_on = |text: String| ["true", "1", "yes", "on"].contains(&text.to_lowercase().as_str());
    let with_tls = base.tls
        || given(&["ssl", "use_tls", "tls"], "USE_TLS").is_some_and(is_on)
        || given(&["scheme"], "SCHEME").is_some_and(|scheme| scheme == "https");
    // A node that is named in the file has its own names for files of the newer tool.
    let path = |names: &[&str]| given(names, "").map(PathBuf::from);
    let tls = with_tls.then(|| ClientSettings {
        cacertfile: path(&["ssl_ca_cert_file", "tls_ca_cert_file", "ca_certificate_bundle_path"]),
        certfile: path(&["ssl_cert_file", "tls_cert_file", "client_certificate_file_path"]),
        keyfile: path(&["ssl_key_file", "tls_key_file", "client_private_key_file_path"]),
        password: None,
        trusts_anybody: ["insecure", "ssl_insecure", "ssl_disable_hostname_verification"]
            .iter()
            .any(|name| given(&[name], "").is_some_and(is_on)),
    });
    let host = given(&["host", "hostname"], "TARGET_HOST").or(base.host);
    let usual = if with_tls { "15671" } else { "15672" };
    let port = given(&["port"], "TARGET_PORT").or(base.port).unwrap_or_else(|| usual.to_owned());
    let port = port.parse().map_err(|_| Failure::Misused(format!("{port:?} is no port")))?;
    let timeout = given(&["request_timeout", "timeout"], "TIMEOUT").unwrap_or_else(|| "120".to_owned());
    let timeout =
        timeout.parse().map_err(|_| Failure::Misused(format!("{timeout:?} is no number of seconds")))?;
    let prefix = given(&["path_prefix"], "API_PATH_PREFIX").unwrap_or_default();
    Ok(Options {
        host: host.unwrap_or_else(|| "localhost".to_owned()),
        port,
        tls,
        // The newer tool has the API's own part of the path in the prefix.
        prefix: prefix.trim_end_matches('/').trim_end_matches("/api").to_owned(),
        username: given(&["username"], "USERNAME").or(base.username).unwrap_or_else(|| "guest".to_owned()),
        password: given(&["password"], "PASSWORD").or(base.password).unwrap_or_else(|| "guest".to_owned()),
        vhost: given(&["vhost"], "TARGET_VHOST"),
        timeout: Duration::from_secs(timeout),
    })
}

/// One of the newer tool's variables; none without a name.
fn of_environment(name: &str) -> Option<String> {
    let value = if name.is_empty() { None } else { env::var(format!("RABBITMQADMIN_{name}")).ok() };
    value.filter(|value| !value.is_empty())
}

/// Where the API is, as far as a URI says so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub host: Option<String>,
    pub port: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub tls: bool,
}

/// The parts of `http://NAME:PASSWORD@HOST:PORT`, or of the same with `https`.
pub fn base(uri: &str) -> Result<Base, Failure> {
    let (rest, tls) = match (uri.strip_prefix("http://"), uri.strip_prefix("https://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        _ => return Err(Failure::Misused(format!("{uri:?} is not http://HOST:PORT"))),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.to_owned())),
        _ => (place, None),
    };
    let (username, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((username, password)) => (Some(username.to_owned()), Some(password.to_owned())),
        None => (None, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Base { host: Some(host), port, username, password, tls })
}

/// The options in a section of a file, `name = value`.
fn section(line: &Line) -> Result<BTreeMap<String, String>, Failure> {
    let usual = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".rabbitmqadmin.conf"));
    let named = line.option("config").map(str::to_owned).or_else(|| of_environment("CONFIG_FILE_PATH"));
    let named = named.map(PathBuf::from);
    let Some(path) = named.clone().or_else(usual) else { return Ok(BTreeMap::new()) };
    let wanted = line.option("node").map(str::to_owned).or_else(|| of_environment("NODE_ALIAS"));
    let wanted = wanted.as_deref();
    match fs::read_to_string(&path) {
        Ok(text) => {
            let found = parse_section(&text, wanted.unwrap_or("default"));
            match (found, wanted) {
                (None, Some(name)) => Err(Failure::Misused(format!(
                    "Could not read section '{name}' in config file '{}'",
                    path.display()
                ))),
                (found, _) => Ok(found.unwrap_or_default()),
            }
        }
        Err(_) if named.is_some() => {
            Err(Failure::Misused(format!("Could not read config file '{}'", path.display())))
        }
        Err(_) => Ok(BTreeMap::new()),
    }
}

fn parse_section(text: &str, wanted: &str) -> Option<BTreeMap<String, String>> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.trim() == wanted;
            if inside {
                found = Some(BTreeMap::new());
            }
        } else if let (true, Some((name, value)), Some(found)) = (inside, line.split_once('='), &mut found) {
            if !line.starts_with(['#', ';']) {
                let value = value.trim().trim_matches(['"', '\'']);
                found.insert(name.trim().replace('-', "_"), value.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Line {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Line::parse(&words).expect("a line")
    }

    #[test]
    fn both_tools_mean_the_same() {
        let old = parse("-V v -uann declare queue name=q auto_delete=false");
        let new = parse("--vhost v --username ann declare queue --name q --auto-delete false");
        assert_eq!(old, new);
        assert_eq!(old.words, ["declare", "queue"]);
        assert_eq!(old.arguments["auto_delete"], "false");
    }

    #[test]
    fn options_and_arguments_of_the_same_name() {
        let user = parse("-p secret declare user --name ann --password hers --tags x");
        assert_eq!((user.option("password"), &*user.arguments["password"]), (Some("secret"), "hers"));
        let hers = parse("-u root declare permissions --username ann --configure x");
        assert_eq!((hers.option("username"), &*hers.arguments["username"]), (Some("root"), "ann"));
        let older = parse("declare permission user=ann --username root");
        assert_eq!((older.option("username"), &*older.arguments["user"]), (Some("root"), "ann"));
        let publish = parse("-q publish message -k key -m text -e amq.topic");
        assert!(publish.flag("quiet"));
        assert_eq!(publish.arguments.into_values().collect::<Vec<_>>(), ["amq.topic", "text", "key"]);
        let get = parse("get messages -q q -c 3 --ack-mode ack_requeue_false");
        assert_eq!((&*get.arguments["queue"], &*get.arguments["count"]), ("q", "3"));
        let delete = parse("delete queue --idempotently --name q");
        assert_eq!(delete.arguments["idempotently"], "true");
    }

    #[test]
    fn what_makes_no_sense() {
        for line in ["--nosuch list queues", "-z list queues", "-H"] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert!(Line::parse(&words).is_err(), "{line}");
        }
    }

    #[test]
    fn addresses() {
        let text = |text: &str| Some(text.to_owned());
        let whole = base("http://ann:pw@host:1/api").expect("a URI");
        assert_eq!(
            whole,
            Base {
                host: text("host"),
                port: text("1"),
                username: text("ann"),
                password: text("pw"),
                tls: false
            }
        );
        let short = base("http://[::1]").expect("a URI");
        assert_eq!(short, Base { host: text("::1"), ..Base::default() });
        assert_eq!(base("https://h").expect("a URI"), Base { host: text("h"), tls: true, ..Base::default() });
        assert!(base("ftp://host").is_err());
    }

    #[test]
    fn files() {
        let text = "[a]\nhostname = x\n[b]\n# port = 2\nport=1\nvhost = \"v\"\n";
        let found = parse_section(text, "b").expect("a section");
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("port".into(), "1".into()), ("vhost".into(), "v".into())]
        );
        assert_eq!(parse_section(text, "c"), None);
    }
}
