//! Arguments of `leveret perf compare`.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use clap::{Args, Parser};

use super::{
    super::{PerfArgs, PerfCommand, args::seconds, error::PerfError, progress::ProgressArgs},
    broker::Broker,
    load::Load,
    rounds::Plan,
    rows::Rows,
};

/// Whom to compare at what.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Broker to load, once for each: a name, where it is, and its process id if it is on this
    /// machine. Ratios are to the first
    #[arg(long = "broker", value_name = "NAME=URI[,pid=PID]", required = true)]
    pub brokers: Vec<Broker>,
    /// Load to run, once for each: a name and what `leveret perf` is told, without --uri,
    /// --broker-pid and --json
    #[arg(long = "load", value_name = "NAME: ARGUMENTS")]
    pub loads: Vec<Load>,
    /// File with a load a line; empty lines and lines that begin with # do not count
    #[arg(long = "loads", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How often each broker does each load
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub repetitions: u16,
    /// Figures to show instead of the usual ones, by their path in a load's JSON, such as
    /// latency_us.p999
    #[arg(long = "field", value_name = "PATH,...", value_delimiter = ',', conflicts_with = "all_fields")]
    pub fields: Vec<String>,
    /// Show every figure there is
    #[arg(long)]
    pub all_fields: bool,
    /// Seconds between two runs, for the broker to finish what the last one has left
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub pause: Duration,
    /// Give up on a run that has not ended after so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub limit: Duration,
    /// Write the table to a file, too
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Print one JSON object with every run instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// A load without a name: a subcommand of `leveret perf` and its options, after --
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub words: Vec<String>,
}

/// `leveret perf` as a child understands it.
#[derive(Debug, Parser)]
#[command(name = "perf")]
struct Child {
    #[command(flatten)]
    perf: PerfArgs,
}

impl CompareArgs {
    /// Reads the loads and checks that all can be run, so that nobody hears of a slip after an hour.
    ///
    /// # Errors
    ///
    /// [`PerfError::Folder`] when the file cannot be read, [`PerfError::Usage`] for the rest.
    pub fn plan(&self) -> Result<Plan, PerfError> {
        let loads = self.all_loads()?;
        if loads.is_empty() {
            return Err(usage("there is no load: name one after --, or by --load or --loads"));
        }
        if !distinct(self.brokers.iter().map(|broker| &broker.name)) {
            return Err(usage("two brokers have the same name"));
        }
        if !distinct(loads.iter().map(|load| &load.name)) {
            return Err(usage("two loads have the same name"));
        }
        for load in &loads {
            let wrong = |why: String| usage(&format!("load '{}': {why}", load.name));
            // A load that may have several would go to some broker of its own besides.
            if let Some(word) = load.words.iter().find(|word| is_ours(word)) {
                return Err(wrong(format!("{word} is not for a load to say")));
            }
            for broker in &self.brokers {
                check(&broker.arguments(&load.words)).map_err(wrong)?;
            }
        }
        Ok(Plan { brokers: self.brokers.clone(), loads, repetitions: self.repetitions.into() })
    }

    /// Which figures are shown.
    pub fn rows(&self) -> Rows {
        match (self.all_fields, self.fields.is_empty()) {
            (true, _) => Rows::All,
            (false, true) => Rows::Usual,
            (false, false) => Rows::These(self.fields.clone()),
        }
    }

    /// Those on the command line, and then those in the file.
    fn all_loads(&self) -> Result<Vec<Load>, PerfError> {
        let mut loads = self.loads.clone();
        if let Some(path) = &self.file {
            let text = fs::read_to_string(path);
            let text = text.map_err(|source| PerfError::Folder { path: path.clone(), source })?;
            let lines = Load::lines(&text);
            loads.extend(lines.map_err(|why| usage(&format!("{}: {why}", path.display())))?);
        }
        if !self.words.is_empty() {
            loads.push(Load::unnamed(self.words.clone()));
        }
        Ok(loads)
    }
}

/// Whether a child would understand its arguments; what they are worth it says itself.
fn check(words: &[String]) -> Result<(), String> {
    let line = ["perf"].into_iter().chain(words.iter().map(String::as_str));
    match Child::try_parse_from(line) {
        Ok(Child { perf: PerfArgs { command: PerfCommand::Compare(_) } }) => {
            Err("compare is no load".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            let told = text.lines().map(str::trim).take_while(|line| !line.is_empty());
            let told = told.collect::<Vec<_>>().join(" ");
            Err(told.strip_prefix("error: ").unwrap_or(&told).to_owned())
        }
    }
}

/// Whether an option is one that all loads are given.
fn is_ours(word: &str) -> bool {
    let option = word.split_once('=').map_or(word, |(option, _)| option);
    ["--uri", "--broker-pid", "--json"].contains(&option)
}

fn usage(text: &str) -> PerfError {
    PerfError::Usage(text.to_owned())
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> bool {
    let mut seen = BTreeSet::new();
    names.into_iter().all(|name| seen.insert(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CompareArgs,
    }

    fn parse(words: &[&str]) -> CompareArgs {
        let brokers = ["x", "--broker", "a=amqp://h,pid=1", "--broker", "b=amqp://g"];
        Line::try_parse_from([&brokers[..], words].concat()).unwrap().args
    }

    fn refused(words: &[&str]) -> String {
        parse(words).plan().unwrap_err().to_string()
    }

    #[test]
    fn loads_come_from_everywhere() {
        let path = std::env::temp_dir().join(format!("leveret-compare-{}", std::process::id()));
        fs::write(&path, "two: throughput --size 2\n").unwrap();
        let file = path.display().to_string();
        let args = parse(&["--loads", &file, "--load", "one: throughput", "--", "throughput", "--size", "3"]);
        let plan = args.plan();
        fs::remove_file(&path).unwrap();
        let names: Vec<_> = plan.unwrap().loads.into_iter().map(|load| load.name).collect();
        assert_eq!(names, ["one", "two", "throughput --size 3"]);
        assert!(args.plan().unwrap_err().to_string().contains(&file), "the file is gone now");
    }

    #[test]
    fn slips_are_told_before_anything_runs() {
        assert!(refused(&[]).contains("there is no load"));
        let wrong = refused(&["--load", "big: throughput --sise 3"]);
        assert!(wrong.starts_with("load 'big': unexpected argument '--sise'"), "{wrong}");
        assert!(!wrong.contains('\n'));
        for option in ["--uri amqp://h", "--uri=amqp://h", "--broker-pid 1", "--json"] {
            let why = refused(&["--load", &format!("x: throughput {option}")]);
            assert!(why.contains("is not for a load to say"), "{why}");
        }
        assert!(refused(&["--load", "x: dance"]).contains("unrecognized subcommand"));
        assert!(refused(&["--load", "x: fsync --dir /"]).contains("--uri"), "a disk is no broker");
        assert!(refused(&["--load", "x: throughput", "--load", "x: throughput"]).contains("same name"));
        assert!(refused(&["--broker", "a=amqp://h", "--", "throughput"]).contains("same name"));
        let again = Child::try_parse_from(["perf", "compare", "--broker", "a=amqp://h"]);
        assert!(again.is_ok() && check(&["compare".into(), "--broker".into(), "a=amqp://h".into()]).is_err());
    }

    #[test]
    fn fields_are_a_list() {
        assert!(matches!(parse(&[]).rows(), Rows::Usual));
        assert!(matches!(parse(&["--all-fields"]).rows(), Rows::All));
        assert!(matches!(parse(&["--field", "a.b,c"]).rows(), Rows::These(these) if these == ["a.b", "c"]));
    }
}
