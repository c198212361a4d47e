//! The result as JSON: every run of every broker, and their medians.

use serde_json::{Value, json};

use super::{
    super::uri::AmqpUri,
    broker::Broker,
    rounds::{Outcome, Plan},
};

/// Everything that is known, on one line.
pub fn json(plan: &Plan, results: &[Vec<Outcome>]) -> Value {
    let loads = plan.loads.iter().zip(results).map(|(load, outcomes)| {
        let found = plan.brokers.iter().zip(outcomes).map(|(broker, outcome)| {
            json!({
                "broker": broker.name,
                "failure": outcome.failure,
                "figures": outcome.figures(),
                "runs": outcome.runs,
            })
        });
        json!({ "name": load.name, "arguments": load.words, "results": found.collect::<Vec<_>>() })
    });
    json!({
        "repetitions": plan.repetitions,
        "brokers": plan.brokers.iter().map(described).collect::<Vec<_>>(),
        "loads": loads.collect::<Vec<_>>(),
        "notes": notes(plan, results),
    })
}

/// A broker without the password that its URI may have.
fn described(broker: &Broker) -> Value {
    let uri = AmqpUri::parse(&broker.uri).map(|uri| uri.to_string()).ok();
    json!({ "name": broker.name, "uri": uri, "pid": broker.pid })
}

/// What somebody has to know who reads the figures: failures, and runs in which a broker stopped
/// publishers.
pub fn notes(plan: &Plan, results: &[Vec<Outcome>]) -> Vec<String> {
    let mut notes = Vec::new();
    for (load, outcomes) in plan.loads.iter().zip(results) {
        for (broker, outcome) in plan.brokers.iter().zip(outcomes) {
            let (load, broker) = (&load.name, &broker.name);
            if let Some(why) = &outcome.failure {
                let round = outcome.runs.len() + 1;
                notes.push(format!("{broker} failed at {load}, in round {round}: {why}"));
            }
            let figures = outcome.figures();
            if figures.iter().any(|(path, spread)| spread.max > 0.0 && path.split('.').any(is_blocked)) {
                notes.push(format!(
                    "{broker} blocked publishers for lack of resources at {load}: its rates mean nothing"
                ));
            }
        }
    }
    notes
}

/// Whether a part of a path speaks of publishers that were stopped.
fn is_blocked(part: &str) -> bool {
    part == "blocked" || part == "blocked_seconds"
}

#[cfg(test)]
mod tests {
    use super::{super::rounds::tests::plan, *};

    fn results() -> Vec<Vec<Outcome>> {
        let good = Outcome { runs: vec![json!({ "rate": 2 }), json!({ "rate": 4 })], failure: None };
        let bad = Outcome { runs: vec![json!({ "rate": 1 })], failure: Some("refused".to_owned()) };
        vec![vec![good, bad]]
    }

    #[test]
    fn every_run_is_kept() {
        let mut plan = plan(&["a", "b"], 1, 2);
        plan.brokers[0].uri = "amqp://u:secret@h".to_owned();
        let value = json(&plan, &results());
        assert_eq!(value["loads"][0]["results"][0]["runs"][1]["rate"], 4);
        assert_eq!(value["loads"][0]["results"][0]["figures"]["rate"]["median"], 3.0);
        assert_eq!(value["loads"][0]["results"][1]["failure"], "refused");
        assert_eq!(value["loads"][0]["results"][1]["runs"][0]["rate"], 1);
        assert_eq!(value["notes"], json!(["b failed at l0, in round 2: refused"]));
        assert!(!value.to_string().contains("secret"));
    }

    #[test]
    fn blocked_publishers_are_noted() {
        let of = |report| vec![vec![Outcome { runs: vec![report], failure: None }]];
        let plan = plan(&["a"], 1, 1);
        assert_eq!(notes(&plan, &of(json!({ "blocked": false }))).len(), 0);
        assert_eq!(notes(&plan, &of(json!({ "blocked": true }))).len(), 1);
        assert_eq!(notes(&plan, &of(json!({ "fill": { "blocked_seconds": 0.5 } }))).len(), 1);
    }
}
