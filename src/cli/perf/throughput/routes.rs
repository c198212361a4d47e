//! Which queues are bound how, and which routing keys messages carry.

use super::super::args::ExchangeKind;

/// The plan of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Routes {
    /// What is bound to the exchange; nothing without one.
    pub bindings: Vec<Binding>,
    /// What messages carry in turn.
    pub keys: Vec<String>,
    /// Queues that each message reaches.
    pub copies: u64,
}

/// One binding.
#[derive(Debug, PartialEq, Eq)]
pub struct Binding {
    /// Index of the queue.
    pub queue: usize,
    /// Routing key, or a pattern of such.
    pub key: String,
}

impl Routes {
    /// Each queue is bound once, and messages go to all of them (fanout, headers) or to one after
    /// the other.
    pub fn each(kind: ExchangeKind, queues: &[String]) -> Self {
        let all = 0..queues.len();
        let bind = |key: fn(usize) -> String| {
            all.clone().map(|queue| Binding { queue, key: key(queue) }).collect::<Vec<_>>()
        };
        let keys = |key: fn(usize) -> String| all.clone().map(key).collect();
        match kind {
            ExchangeKind::Default => Self { bindings: Vec::new(), keys: queues.to_vec(), copies: 1 },
            ExchangeKind::Direct => {
                let key = |queue| format!("perf.{queue}");
                Self { bindings: bind(key), keys: keys(key), copies: 1 }
            }
            ExchangeKind::Topic => Self {
                bindings: bind(|queue| format!("perf.{queue}.#")),
                keys: keys(|queue| format!("perf.{queue}.load")),
                copies: 1,
            },
            ExchangeKind::Fanout | ExchangeKind::Headers => Self {
                bindings: bind(|_| String::new()),
                keys: vec![String::new()],
                copies: queues.len() as u64,
            },
        }
    }

    /// So many bindings in all, of which so many have a message of their own, in turn: each of
    /// these messages reaches one queue by one binding, and the other bindings match none. Those
    /// that match lie evenly among the others, and have all forms and all queues in turn.
    pub fn many(kind: ExchangeKind, queues: usize, bindings: u32, keys: u32) -> Self {
        let (all, matching) = (u64::from(bindings), u64::from(keys));
        let mut routes = Self { bindings: Vec::new(), keys: Vec::new(), copies: 1 };
        for number in 0..all {
            // The first number from which on there have to be so many keys.
            let key = (number * matching).div_ceil(all);
            let matches = key * all / matching == number;
            let turn = usize::try_from(if matches { key } else { number }).unwrap_or_default();
            if matches {
                routes.keys.push(words(number));
            }
            let form = if kind == ExchangeKind::Topic { turn } else { 0 };
            routes.bindings.push(Binding { queue: turn % queues, key: pattern(number, form) });
        }
        routes
    }
}

/// A routing key of four words.
fn words(number: u64) -> String {
    format!("perf.{number}.load.eu")
}

/// A pattern that matches the words of this number, and of no other, in one of several forms.
fn pattern(number: u64, form: usize) -> String {
    match form % 5 {
        0 => words(number),
        1 => format!("perf.{number}.*.eu"),
        2 => format!("perf.{number}.#"),
        3 => format!("*.{number}.load.#"),
        _ => format!("#.{number}.*.eu"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a topic exchange routes a key by a pattern.
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), None) => matches(rest, key),
            (Some((&"#", rest)), Some((_, later))) => matches(rest, key) || matches(pattern, later),
            (Some((&word, rest)), Some((&found, later))) => {
                (word == "*" || word == found) && matches(rest, later)
            }
            _ => false,
        }
    }

    /// The queues that a key reaches, one for each binding.
    fn reached(routes: &Routes, kind: ExchangeKind, key: &str) -> Vec<usize> {
        let words: Vec<_> = key.split('.').collect();
        let taken = |binding: &&Binding| match kind {
            ExchangeKind::Topic => matches(&binding.key.split('.').collect::<Vec<_>>(), &words),
            ExchangeKind::Direct => binding.key == key,
            _ => true,
        };
        routes.bindings.iter().filter(taken).map(|binding| binding.queue).collect()
    }

    fn queues(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("q{number}")).collect()
    }

    #[test]
    fn queues_get_messages_in_turn_or_all_at_once() {
        for kind in [ExchangeKind::Direct, ExchangeKind::Topic] {
            let routes = Routes::each(kind, &queues(12));
            let found: Vec<_> = routes.keys.iter().map(|key| reached(&routes, kind, key)).collect();
            assert_eq!(found, (0..12).map(|queue| vec![queue]).collect::<Vec<_>>(), "{kind:?}");
            assert_eq!(routes.copies, 1);
        }
        for kind in [ExchangeKind::Fanout, ExchangeKind::Headers] {
            let routes = Routes::each(kind, &queues(3));
            assert_eq!((routes.bindings.len(), routes.copies), (3, 3));
            assert_eq!(reached(&routes, kind, &routes.keys[0]), [0, 1, 2]);
        }
        let routes = Routes::each(ExchangeKind::Default, &queues(2));
        assert_eq!((routes.bindings.len(), routes.keys), (0, queues(2)));
    }

    #[test]
    fn each_message_takes_one_of_many_bindings() {
        for (kind, forms) in [(ExchangeKind::Direct, 1), (ExchangeKind::Topic, 5)] {
            for (bindings, keys, queues) in [(1000, 100, 10), (7, 7, 2), (100, 33, 1), (5, 1, 3), (30, 20, 4)]
            {
                let routes = Routes::many(kind, queues, bindings, keys);
                assert_eq!(routes.bindings.len(), bindings as usize);
                assert_eq!(routes.keys.len(), keys as usize);
                for (turn, key) in routes.keys.iter().enumerate() {
                    assert_eq!(reached(&routes, kind, key), [turn % queues], "{key} of {bindings}, {keys}");
                }
                // Those that match are of all forms.
                let matching = routes.bindings.iter().filter(|binding| {
                    let number = binding.key.split('.').nth(1).unwrap();
                    routes.keys.contains(&format!("perf.{number}.load.eu"))
                });
                let form = |key: &str| key.replace(|c: char| c.is_ascii_digit(), "");
                let found: std::collections::BTreeSet<_> =
                    matching.map(|binding| form(&binding.key)).collect();
                assert_eq!(found.len(), forms.min(keys as usize), "{found:?}");
            }
        }
    }
}
