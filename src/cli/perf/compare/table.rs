//! The result as a Markdown table: figures down, brokers across, ratios to the first broker last.

use std::fmt;

use super::{
    figures::{Figures, Spread, ratio},
    record::notes,
    rounds::{Outcome, Plan},
    rows::{Rows, name},
};

/// What is to be shown of which results.
pub struct Table<'a> {
    /// Who was compared at what.
    pub plan: &'a Plan,
    /// What came of each load, broker by broker.
    pub results: &'a [Vec<Outcome>],
    /// Which figures.
    pub rows: Rows,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        for (load, outcomes) in self.plan.loads.iter().zip(self.results) {
            let found: Vec<Figures> = outcomes.iter().map(Outcome::figures).collect();
            let several = self.plan.loads.len() > 1;
            if several {
                write_row(f, &format!("**{}**", load.name), &vec![String::new(); self.columns()])?;
            }
            let paths = self.rows.of(load, &found);
            for path in &paths {
                let spreads: Vec<_> = found.iter().map(|figures| figures.get(path).copied()).collect();
                write_row(f, &name(path), &cells(&spreads, outcomes))?;
            }
            if paths.is_empty() {
                write_row(f, "", &cells(&vec![None; outcomes.len()], outcomes))?;
            }
        }
        self.write_legend(f)
    }
}

impl Table<'_> {
    /// Columns after the first one.
    fn columns(&self) -> usize {
        2 * self.plan.brokers.len() - 1
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.plan.brokers.iter().map(|broker| broker.name.clone()).collect();
        let against = names.iter().skip(1).map(|name| format!("{name} : {}", names[0]));
        let heads: Vec<_> = names.iter().cloned().chain(against).collect();
        write_row(f, "", &heads)?;
        writeln!(f, "|---|{}", "---:|".repeat(self.columns()))
    }

    /// What the table means, where its figures come from, and what to beware of.
    fn write_legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { brokers, loads, repetitions } = self.plan;
        let spread = if *repetitions > 1 {
            format!("Medians of {repetitions} runs (and the least and the most)")
        } else {
            "One run each".to_owned()
        };
        write!(f, "\n{spread}")?;
        if let [first, _, ..] = &brokers[..] {
            let first = &first.name;
            write!(f, ", the brokers in turn; × 2 is twice what {first} has, ÷ 2 half of it")?;
        }
        writeln!(f, ".\n")?;
        for load in loads {
            let words = load.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            // A load without a name of its own is called what it does.
            let name = if load.name == words { String::new() } else { format!("{}: ", load.name) };
            writeln!(f, "- {name}`leveret perf {words}`")?;
        }
        for note in notes(self.plan, self.results) {
            writeln!(f, "- **{note}**")?;
        }
        Ok(())
    }
}

/// A row's cells: each broker's figure, and how all but the first compare with the first.
fn cells(spreads: &[Option<Spread>], outcomes: &[Outcome]) -> Vec<String> {
    let own = spreads.iter().zip(outcomes).map(|(spread, outcome)| match spread {
        _ if outcome.failure.is_some() => "failed".to_owned(),
        Some(spread) => spread.cell(),
        None => "—".to_owned(),
    });
    let first = spreads.first().copied().flatten();
    let against = spreads.iter().skip(1).map(|spread| match (spread, first) {
        (Some(spread), Some(first)) => ratio(spread.median, first.median),
        _ => String::new(),
    });
    own.chain(against).collect()
}

/// Writes one row; a `|` would end a cell.
fn write_row(f: &mut fmt::Formatter<'_>, first: &str, cells: &[String]) -> fmt::Result {
    write!(f, "| {} |", first.replace('|', "\\|"))?;
    for cell in cells {
        write!(f, " {} |", cell.replace('|', "\\|"))?;
    }
    writeln!(f)
}

/// A word as a shell and a file of loads take it.
fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(char::is_whitespace) {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::rounds::tests::plan, *};

    fn runs(rates: &[u32]) -> Outcome {
        let runs = rates.iter().map(|rate| json!({ "delivery_rate": rate, "cpu_us_per_message": 0.5 }));
        Outcome { runs: runs.collect(), failure: None }
    }

    fn failed() -> Outcome {
        Outcome { runs: Vec::new(), failure: Some("cannot connect".to_owned()) }
    }

    fn table(brokers: &[&str], loads: usize, results: &[Vec<Outcome>]) -> String {
        let plan = plan(brokers, loads, 3);
        Table { plan: &plan, results, rows: Rows::Usual }.to_string()
    }

    #[test]
    fn figures_go_down_and_brokers_across() {
        let wanted = "\
|  | a | b | b : a |
|---|---:|---:|---:|
| delivered a second | 2,000 (1,000..3,000) | 5,000 | × 2.50 |
| broker CPU per message, µs | 0.500 | 0.500 | × 1.00 |

Medians of 3 runs (and the least and the most), the brokers in turn; × 2 is twice what a has, ÷ 2 half of it.

- l0: `leveret perf throughput --size 0`
";
        let results = [vec![runs(&[3000, 1000, 2000]), runs(&[5000, 5000, 5000])]];
        assert_eq!(table(&["a", "b"], 1, &results), wanted);
    }

    #[test]
    fn several_loads_have_a_section_each() {
        let results = [vec![runs(&[1])], vec![runs(&[2])]];
        let table = table(&["a"], 2, &results);
        assert!(table.starts_with("|  | a |\n|---|---:|\n| **l0** |  |\n| delivered"), "{table}");
        assert!(table.contains("| **l1** |  |\n| delivered a second | 2.00 |"), "{table}");
        assert!(!table.contains('×'), "there is nothing to compare with: {table}");
    }

    #[test]
    fn a_failure_is_shown_and_told() {
        let table = table(&["a", "b"], 2, &[vec![failed(), runs(&[7])], vec![failed(), failed()]]);
        assert!(table.contains("| delivered a second | failed | 7.00 |  |"), "{table}");
        assert!(table.contains("| **l1** |  |  |  |\n|  | failed | failed |  |"), "{table}");
        assert!(table.contains("- **b failed at l1, in round 1: cannot connect**"), "{table}");
    }

    #[test]
    fn names_cannot_break_a_row() {
        let table = table(&["a|b"], 1, &[vec![runs(&[1])]]);
        assert!(table.starts_with("|  | a\\|b |\n"), "{table}");
        assert_eq!((quoted("a b"), quoted("a"), quoted("")), ("\"a b\"".into(), "a".into(), "\"\"".into()));
    }
}
