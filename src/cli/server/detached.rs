//! The server by RabbitMQ's name for it, `rabbitmq-server`, with the one flag that this has.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The command line, with the subcommand in it that a program of RabbitMQ's name needs none of.
pub fn words(mut words: Vec<OsString>) -> Vec<OsString> {
    let is_server = words
        .first()
        .is_some_and(|program| Path::new(program).file_name().is_some_and(|name| name == "rabbitmq-server"));
    if is_server {
        words.insert(1, "server".into());
    }
    words
}

/// Whether the server is to go on by itself: RabbitMQ's `-detached`, which is taken out.
pub fn take_flag(words: &mut Vec<OsString>) -> bool {
    let before = words.len();
    if words.get(1).is_some_and(|word| word == "server") {
        words.retain(|word| word != "-detached");
    }
    words.len() < before
}

/// Starts the server that these words ask for as a process of its own. What it has to say is in its log.
pub fn start(words: &[OsString]) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words.get(1..).unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (String, bool) {
        let mut words = words(line.split(' ').map(OsString::from).collect());
        let detached = take_flag(&mut words);
        let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        (shown.join(" "), detached)
    }

    #[test]
    fn by_either_name() {
        for (line, wanted, detached) in [
            ("/opt/rabbitmq/sbin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server server", false),
            ("rabbitmq-server -detached", "rabbitmq-server server", true),
            ("rabbitmq-server --in-memory -detached", "rabbitmq-server server --in-memory", true),
            ("leveret", "leveret", false),
            ("leveret server --in-memory", "leveret server --in-memory", false),
            ("leveret server -detached", "leveret server", true),
            ("leveret perf -detached", "leveret perf -detached", false),
        ] {
            assert_eq!(read(line), (wanted.to_owned(), detached), "{line}");
        }
    }
}
