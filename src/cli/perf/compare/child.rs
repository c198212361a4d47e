//! One load against one broker, in a process of its own.

use std::{
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Report;

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a command that prints one JSON object, and calls `waiting` while it goes on. It is ended
/// when it takes longer than `limit`.
///
/// # Errors
///
/// The last line that it has written to standard error, or what else went wrong, as one line.
pub fn run(command: &mut Command, limit: Duration, waiting: impl FnMut(Duration)) -> Result<Report, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let (out, errors) = (child.stdout.take(), child.stderr.take());
    // Both are read all the time: a child whose output nobody takes would wait for ever.
    let (out, errors, status) = thread::scope(|scope| {
        let out = scope.spawn(|| read(out));
        let errors = scope.spawn(|| read(errors));
        let status = wait(&mut child, limit, waiting);
        (out.join().unwrap_or_default(), errors.join().unwrap_or_default(), status)
    });
    match status.map_err(|error| format!("cannot be waited for: {error}"))? {
        None => Err(format!("has not ended after {} s", limit.as_secs())),
        Some(status) => result(status, &out, &errors),
    }
}

/// Waits for the end of a child, which it brings about after `limit`: `None` then.
fn wait(
    child: &mut Child,
    limit: Duration,
    mut waiting: impl FnMut(Duration),
) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        waiting(start.elapsed());
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// What a child has to say.
fn result(status: ExitStatus, out: &str, errors: &str) -> Result<Report, String> {
    if !status.success() {
        let line = errors.lines().map(str::trim).rfind(|line| !line.is_empty());
        let line = line.map(|line| line.strip_prefix("leveret: ").unwrap_or(line));
        return Err(line.map_or_else(|| format!("ended with {status}"), str::to_owned));
    }
    match serde_json::from_str(out) {
        Ok(report @ Report::Object(_)) => Ok(report),
        _ => Err("has not printed a JSON object".to_owned()),
    }
}

/// Everything that comes, as text.
fn read(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What was read before a failure is what there is.
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    const OK: i32 = 0;
    const EXIT_1: i32 = 1 << 8;
    const KILLED: i32 = 9;

    fn of(status: i32, out: &str, errors: &str) -> Result<Report, String> {
        result(ExitStatus::from_raw(status), out, errors)
    }

    #[test]
    fn a_report_is_an_object_of_a_child_that_succeeded() {
        assert_eq!(of(OK, "{\"rate\": 2}\n", "a warning\n").unwrap()["rate"], 2);
        for out in ["", "12", "{", "{} {}"] {
            assert!(of(OK, out, "").unwrap_err().contains("JSON"), "{out}");
        }
    }

    #[test]
    fn a_failure_is_the_last_line() {
        let errors = "fill: 3 of 9\nleveret: cannot connect to h:1: refused\n\n";
        assert_eq!(of(EXIT_1, "{}", errors).unwrap_err(), "cannot connect to h:1: refused");
        assert!(of(KILLED, "{}", "").unwrap_err().contains("signal: 9"));
    }

    #[test]
    fn a_child_has_its_time() {
        let limit = Duration::from_secs(60);
        let why = run(Command::new("sleep").arg("0"), limit, |_| ()).unwrap_err();
        assert!(why.contains("JSON"), "{why}");
        let mut looked = 0;
        let why = run(Command::new("sleep").arg("60"), Duration::ZERO, |_| looked += 1).unwrap_err();
        assert_eq!((why.as_str(), looked), ("has not ended after 0 s", 1));
        let why = run(&mut Command::new("/nowhere/leveret"), limit, |_| ()).unwrap_err();
        assert!(why.starts_with("cannot be started"), "{why}");
    }
}
