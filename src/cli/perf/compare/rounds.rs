//! Whose turn it is: all loads against all brokers, again and again, each broker first in turn.

use super::{Report, broker::Broker, load::Load};

/// Who is compared at what, how often.
#[derive(Debug)]
pub struct Plan {
    /// The columns; ratios are to the first.
    pub brokers: Vec<Broker>,
    /// What each of them has to do.
    pub loads: Vec<Load>,
    /// How often each does each.
    pub repetitions: usize,
}

/// One load against one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which turn of all it is, from 1.
    pub number: usize,
    /// Which repetition, from 0.
    pub round: usize,
    /// Index of the load.
    pub load: usize,
    /// Index of the broker.
    pub broker: usize,
}

/// What a broker has made of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What each run that succeeded has reported.
    pub runs: Vec<Report>,
    /// Why there is nothing to compare.
    pub failure: Option<String>,
}

impl Plan {
    /// All turns. Rounds go over all loads, so that a machine that is slow for a while spoils one
    /// run of each rather than all runs of one; and whoever was first comes last in the next.
    pub fn turns(&self) -> Vec<Turn> {
        let brokers = self.brokers.len();
        let mut turns = Vec::new();
        for round in 0..self.repetitions {
            for load in 0..self.loads.len() {
                for place in 0..brokers {
                    let broker = (round + place) % brokers;
                    turns.push(Turn { number: turns.len() + 1, round, load, broker });
                }
            }
        }
        turns
    }

    /// What somebody who waits is told about a turn.
    pub fn name(&self, turn: &Turn) -> String {
        let all = self.repetitions * self.loads.len() * self.brokers.len();
        let (load, broker) = (&self.loads[turn.load].name, &self.brokers[turn.broker].name);
        let (number, round, rounds) = (turn.number, turn.round + 1, self.repetitions);
        format!("run {number} of {all}, round {round} of {rounds}: {broker}: {load}")
    }
}

/// Takes all turns, and returns what came of each load, broker by broker. What has failed once is
/// not tried again.
pub fn run(plan: &Plan, mut take: impl FnMut(&Turn) -> Result<Report, String>) -> Vec<Vec<Outcome>> {
    let mut results = vec![vec![Outcome::default(); plan.brokers.len()]; plan.loads.len()];
    for turn in plan.turns() {
        let outcome = &mut results[turn.load][turn.broker];
        if outcome.failure.is_some() {
            continue;
        }
        match take(&turn) {
            Ok(report) => outcome.runs.push(report),
            Err(why) => outcome.failure = Some(why),
        }
    }
    results
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    /// So many loads `l0`, `l1`, ... for brokers of these names.
    pub fn plan(brokers: &[&str], loads: usize, repetitions: usize) -> Plan {
        let broker = |name: &&str| Broker { name: (*name).to_owned(), uri: "amqp://h".to_owned(), pid: None };
        let load = |number| format!("l{number}: throughput --size {number}").parse().unwrap();
        Plan {
            brokers: brokers.iter().map(broker).collect(),
            loads: (0..loads).map(load).collect(),
            repetitions,
        }
    }

    #[test]
    fn each_broker_is_first_in_turn() {
        let order = |brokers: &[&str]| -> String {
            let plan = plan(brokers, 1, 4);
            plan.turns().iter().map(|turn| plan.brokers[turn.broker].name.as_str()).collect()
        };
        assert_eq!(order(&["a", "b"]), "abbaabba");
        assert_eq!(order(&["a", "b", "c"]), "abcbcacababc");
        assert_eq!(order(&["a"]), "aaaa");
    }

    #[test]
    fn a_round_goes_over_all_loads() {
        let plan = plan(&["a", "b"], 2, 2);
        let turns: Vec<_> = plan.turns().iter().map(|turn| (turn.round, turn.load, turn.broker)).collect();
        let wanted = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 1), (1, 0, 0), (1, 1, 1), (1, 1, 0)];
        assert_eq!(turns, wanted);
        assert_eq!(plan.name(&plan.turns()[6]), "run 7 of 8, round 2 of 2: b: l1");
    }

    #[test]
    fn a_failure_ends_one_load_of_one_broker() {
        let plan = plan(&["a", "b"], 2, 3);
        let mut taken = Vec::new();
        let results = run(&plan, |turn| {
            taken.push((turn.round, turn.load, turn.broker));
            if (turn.load, turn.broker, turn.round) == (1, 0, 1) {
                Err("refused".to_owned())
            } else {
                Ok(json!({ "rate": turn.round }))
            }
        });
        assert_eq!(taken.len(), 11, "what has failed is not tried again: {taken:?}");
        assert_eq!(results[1][0].failure.as_deref(), Some("refused"));
        assert_eq!(results[1][0].runs, [json!({ "rate": 0 })]);
        for (load, broker) in [(0, 0), (0, 1), (1, 1)] {
            let outcome = &results[load][broker];
            assert_eq!((outcome.runs.len(), &outcome.failure), (3, &None));
        }
    }
}
