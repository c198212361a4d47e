//! Which consumer takes which queues.

/// The queues of each channel of each of so many connections, one that others may share or several
/// that no other takes; a channel with several consumers has a queue for each of them. Queues go to
/// connections in turn, and on each connection to its channels in turn.
pub fn shares(queues: &[String], connections: u16, channels: u16, per_channel: u16) -> Vec<Vec<Vec<&str>>> {
    let (connections, channels) = (usize::from(connections), usize::from(channels));
    let mut shares = vec![vec![Vec::new(); channels]; connections];
    let consumers = connections * channels * usize::from(per_channel);
    let turns = if consumers == 0 { 0 } else { queues.len().max(consumers) };
    for turn in 0..turns {
        let channel = (turn / connections) % channels;
        shares[turn % connections][channel].push(queues[turn % queues.len()].as_str());
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_share_queues_or_have_several() {
        let queues = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(shares(&queues, 0, 1, 1), Vec::<Vec<Vec<&str>>>::new());
        assert_eq!(shares(&queues, 1, 1, 1), [[["a", "b", "c"]]]);
        assert_eq!(shares(&queues, 2, 1, 1), [[vec!["a", "c"]], [vec!["b"]]]);
        assert_eq!(shares(&queues, 4, 1, 1), [[["a"]], [["b"]], [["c"]], [["a"]]]);
    }

    #[test]
    fn each_channel_has_consumers_of_its_own() {
        let queues = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(shares(&queues, 1, 2, 1), [[["a", "c"], ["b", "d"]]]);
        assert_eq!(shares(&queues, 2, 2, 1), [[["a"], ["c"]], [["b"], ["d"]]]);
        assert_eq!(shares(&queues[..1], 1, 2, 3), [[["a", "a", "a"], ["a", "a", "a"]]]);
        assert_eq!(shares(&queues[..2], 2, 1, 2), [[["a", "a"]], [["b", "b"]]]);
    }
}
