//! A broker to compare, as the command line names it.

use std::str::FromStr;

use super::super::uri::AmqpUri;

/// Who is to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// What the table calls it.
    pub name: String,
    /// Where it is, as loads are told.
    pub uri: String,
    /// Its process, where it is on this machine.
    pub pid: Option<u32>,
}

impl FromStr for Broker {
    type Err = String;

    /// Parses `NAME=URI` or `NAME=URI,pid=PID`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or("it is not NAME=URI or NAME=URI,pid=PID")?;
        // A URI may have commas of its own; what follows the last one counts.
        let (uri, pid) = match rest.rsplit_once(",pid=") {
            Some((uri, pid)) => (uri, Some(pid)),
            None => (rest, None),
        };
        let name = name.trim();
        if name.is_empty() {
            return Err("it has no name".to_owned());
        }
        AmqpUri::parse(uri).map_err(|error| error.to_string())?;
        let pid = pid.map(|pid| match pid.parse() {
            Ok(pid) if pid > 0 => Ok(pid),
            _ => Err(format!("'{pid}' is no process id")),
        });
        Ok(Self { name: name.to_owned(), uri: uri.to_owned(), pid: pid.transpose()? })
    }
}

impl Broker {
    /// The arguments of a load against this broker.
    pub fn arguments(&self, load: &[String]) -> Vec<String> {
        let mut words = load.to_vec();
        words.extend(["--json".to_owned(), "--uri".to_owned(), self.uri.clone()]);
        if let Some(pid) = self.pid {
            words.extend(["--broker-pid".to_owned(), pid.to_string()]);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Broker, String> {
        text.parse()
    }

    #[test]
    fn a_broker_has_a_name_a_uri_and_perhaps_a_process() {
        let broker = parsed("new=amqp://h:1/v?a=b,c=d,pid=42").unwrap();
        assert_eq!(
            (broker.name.as_str(), broker.uri.as_str(), broker.pid),
            ("new", "amqp://h:1/v?a=b,c=d", Some(42))
        );
        assert_eq!(parsed("a b=amqp://h").unwrap().pid, None);
    }

    #[test]
    fn mistakes_are_told() {
        assert!(parsed("amqp://h").unwrap_err().contains("NAME=URI"));
        assert!(parsed("=amqp://h").unwrap_err().contains("no name"));
        assert!(parsed("x=http://h").unwrap_err().contains("amqp://"));
        for pid in ["", "0", "-1", "beam.smp", "99999999999"] {
            assert!(parsed(&format!("x=amqp://h,pid={pid}")).unwrap_err().contains("no process id"));
        }
    }

    #[test]
    fn loads_are_told_where_and_whom_to_observe() {
        let load = ["throughput", "--size", "16"].map(str::to_owned);
        let with = parsed("x=amqp://h,pid=7").unwrap().arguments(&load);
        assert_eq!(with.join(" "), "throughput --size 16 --json --uri amqp://h --broker-pid 7");
        let without = parsed("x=amqp://h").unwrap().arguments(&load);
        assert_eq!(without.join(" "), "throughput --size 16 --json --uri amqp://h");
    }
}
