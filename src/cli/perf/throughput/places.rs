//! Arguments about queues and exchanges.

use clap::Args;

use super::{
    super::{
        args::{ExchangeKind, QueueType},
        content::{self, Pair},
        error::PerfError,
    },
    names::{Pattern, QUEUES_MAX},
    routes::Routes,
};

/// Routing keys there are by default, if there are as many bindings.
const KEYS: u32 = 100;

/// Where messages go.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Queue to use: left alone afterwards if it exists already, declared for the run if not
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Number of queues, which get messages in turn, or all of them each with a fanout or headers
    /// exchange
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "queue",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(QUEUES_MAX)))]
    pub queues: u32,
    /// Names of several queues to use, as `name-%d` or `name-%04d`: left alone afterwards where
    /// they exist already, declared for the run where not
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::parse, conflicts_with_all = ["queue", "queues"],
        requires = "queue_from")]
    pub queue_pattern: Option<Pattern>,
    /// First number in the names of queues
    #[arg(long, value_name = "N", requires = "queue_to")]
    pub queue_from: Option<u32>,
    /// Last number in the names of queues
    #[arg(long, value_name = "N", requires = "queue_pattern")]
    pub queue_to: Option<u32>,
    /// Type of the queues, if not the broker's default; a quorum queue is always durable
    #[arg(long, value_name = "TYPE", value_enum)]
    pub queue_type: Option<QueueType>,
    /// Argument of queues that are declared; may be given several times
    #[arg(long = "queue-arg", value_name = "KEY=VALUE", value_parser = content::pair)]
    pub queue_args: Vec<Pair>,
    /// Exchange to publish to: the default one, or one declared for the run
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = ExchangeKind::Default)]
    pub exchange: ExchangeKind,
    /// Bindings of a direct or topic exchange in all, spread over the queues: exactly one matches
    /// each message, and has words only, or * and # in different places if it is a topic
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub bindings: Option<u32>,
    /// Different routing keys that messages have in turn, each with a binding of its own
    /// [default: 100, or --bindings if that is less]
    #[arg(long, value_name = "K", requires = "bindings", value_parser = clap::value_parser!(u32).range(1..))]
    pub routing_keys: Option<u32>,
}

impl PlaceArgs {
    /// Refuses what could not work together.
    ///
    /// # Errors
    ///
    /// [`PerfError::Usage`].
    pub fn check(&self) -> Result<(), PerfError> {
        let usage = |text: &str| Err(PerfError::Usage(text.to_owned()));
        if let (Some(from), Some(to)) = (self.queue_from, self.queue_to) {
            if to < from {
                return usage("--queue-to must not be less than --queue-from");
            }
            if to - from >= QUEUES_MAX {
                return Err(PerfError::Usage(format!("there can be at most {QUEUES_MAX} queues")));
            }
        }
        let Some(bindings) = self.bindings else {
            return Ok(());
        };
        if !matches!(self.exchange, ExchangeKind::Direct | ExchangeKind::Topic) {
            return usage("--bindings needs --exchange direct or topic");
        }
        if self.routing_keys.is_some_and(|keys| keys > bindings) {
            return usage("--routing-keys must not be more than --bindings, one of which each key has");
        }
        Ok(())
    }

    /// Names of queues that were named, which may exist already.
    pub fn named_queues(&self) -> Option<Vec<String>> {
        let pattern = self.queue_pattern.as_ref().zip(self.queue_from).zip(self.queue_to);
        match (&self.queue, pattern) {
            (Some(name), _) => Some(vec![name.clone()]),
            (None, Some(((pattern, from), to))) => {
                Some((from..=to).map(|number| pattern.name(number)).collect())
            }
            (None, None) => None,
        }
    }

    /// How messages get to these queues.
    pub fn routes(&self, queues: &[String]) -> Routes {
        match self.bindings {
            Some(bindings) => {
                let keys = self.routing_keys.unwrap_or(KEYS).min(bindings);
                Routes::many(self.exchange, queues.len(), bindings, keys)
            }
            None => Routes::each(self.exchange, queues),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: PlaceArgs,
    }

    fn parse(line: &str) -> Result<PlaceArgs, String> {
        let words = ["x"].into_iter().chain(line.split_whitespace());
        let args = Line::try_parse_from(words).map_err(|error| error.to_string())?.args;
        args.check().map_err(|error| error.to_string())?;
        Ok(args)
    }

    #[test]
    fn queues_go_with_any_exchange_but_not_with_names() {
        for exchange in ["default", "direct", "fanout", "topic", "headers"] {
            let args = parse(&format!("--queues 3 --exchange {exchange}")).unwrap();
            assert_eq!(args.named_queues(), None);
        }
        assert!(parse("--queues 100000").is_ok());
        assert!(parse("--queues 100001").is_err() && parse("--queues 0").is_err());
        assert!(parse("--queues 3 --queue q").is_err());
        assert_eq!(parse("--queue q").unwrap().named_queues(), Some(vec!["q".to_owned()]));
    }

    #[test]
    fn a_pattern_names_queues_from_one_number_to_another() {
        let args = parse("--queue-pattern q-%d --queue-from 9 --queue-to 11").unwrap();
        assert_eq!(args.named_queues().unwrap(), ["q-9", "q-10", "q-11"]);
        for bad in [
            "--queue-pattern q-%d",
            "--queue-pattern q-%d --queue-from 1",
            "--queue-from 1 --queue-to 2",
            "--queue-pattern q-%d --queue-from 2 --queue-to 1",
            "--queue-pattern q-%d --queue-from 0 --queue-to 100000",
            "--queue-pattern q --queue-from 1 --queue-to 2",
            "--queue-pattern q-%d --queue-from 1 --queue-to 2 --queue q",
            "--queue-pattern q-%d --queue-from 1 --queue-to 2 --queues 5",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bindings_belong_to_an_exchange_that_looks_at_keys() {
        let routes = |line: &str| {
            let args = parse(line).unwrap();
            let routes = args.routes(&["a".to_owned(), "b".to_owned()]);
            (routes.bindings.len(), routes.keys.len())
        };
        assert_eq!(routes("--exchange topic --bindings 1000"), (1000, 100));
        assert_eq!(routes("--exchange direct --bindings 50"), (50, 50));
        assert_eq!(routes("--exchange topic --bindings 50 --routing-keys 7"), (50, 7));
        assert_eq!(routes("--exchange topic"), (2, 2));
        for bad in [
            "--bindings 5",
            "--exchange fanout --bindings 5",
            "--exchange topic --routing-keys 5",
            "--exchange topic --bindings 5 --routing-keys 6",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
