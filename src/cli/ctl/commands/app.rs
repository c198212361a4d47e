//! The node's life: waiting for it, closing and opening its ports, and ending it.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use hyper::Method;
use rustix::process::{Pid, test_kill_process};
use serde_json::json;

use super::is_running;
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Needs, Section, UPGRADE};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::Output;

/// Between two looks whether something has happened.
const PAUSE: Duration = Duration::from_millis(50);
/// How long is waited unless somebody says so.
const STARTUP: Duration = Duration::from_secs(300);
const END: Duration = Duration::from_secs(60);

/// A command of `rabbitmqctl` about nodes.
const fn node(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Nodes, about, run).needs(Needs::Nothing)
}

pub const COMMANDS: &[Command] = &[
    node("await_startup", "Waits until the node serves", await_startup),
    node("wait", "Waits until the node with a PID serves, while it runs", wait)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 1, "[<pidfile>] [--pid|-P <pid>] [--timeout <timeout>]")
        .switches(&[line::number("pid").short('P')]),
    node("stop_app", "Closes all ports and connections; the process goes on", stop_app),
    node("start_app", "Opens the ports again", start_app),
    node("stop", "Ends the node, and waits until its process has ended", stop)
        .takes(0, 1, "[--idempotent] [<pidfile>]")
        .switches(&[line::flag("idempotent")]),
    node("shutdown", "Ends the node, and waits until its process has ended", shutdown)
        .takes(0, 0, "[--wait] [--timeout <timeout>]")
        .switches(&[line::flag("wait")]),
    node("reset", "Removes all there is on a node whose ports are closed", reset).needs(Needs::Stopped),
    node("force_reset", "The same", force_reset).needs(Needs::Stopped),
    Command::new(
        "suspend_listeners",
        Section::Operations,
        "Lets no more clients in; those that are connected stay",
        suspend,
    ),
    Command::new("resume_listeners", Section::Operations, "Lets clients in again", resume),
    Command::new("drain", Section::Upgrade, "Lets no more clients in, and ends connections", drain)
        .tools(UPGRADE),
    Command::new("revive", Section::Upgrade, "Lets clients in again", revive).tools(UPGRADE),
];

/// Tries something until it is true, or the time is over.
fn until(end: Duration, mut done: impl FnMut() -> Result<bool, Failure>) -> Result<bool, Failure> {
    let begin = Instant::now();
    loop {
        if done()? {
            return Ok(true);
        }
        if begin.elapsed() >= end {
            return Ok(false);
        }
        sleep(PAUSE);
    }
}

fn timed_out(call: &Call, operation: &str, patience: Duration) -> Failure {
    Failure::bare(
        status::TEMPORARY,
        format!(
            "Error: operation {operation} on node {} timed out. Timeout value used: {}",
            call.node(),
            patience.as_millis()
        ),
    )
}

/// Whether the node serves. One that is not there does not.
fn serves(call: &mut Call) -> bool {
    let serves = is_running(call).unwrap_or(false);
    if !serves {
        call.disconnect();
    }
    serves
}

fn await_startup(call: &mut Call) -> Result<Output, Failure> {
    let patience = call.timeout().unwrap_or(STARTUP);
    if until(patience, || Ok(serves(call)))? {
        return Ok(Output::Nothing);
    }
    Err(timed_out(call, "await_startup", patience))
}

/// A process by the file that says its number.
fn read_pid(path: &str) -> Option<i32> {
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

fn lives(pid: i32) -> bool {
    if pid <= 0 {
        return false;
    }
    let Some(pid) = Pid::from_raw(pid) else { return false };
    // A process that may not be signalled lives.
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)) && !is_zombie(pid)
}

/// Whether a process has ended and only waits for its parent to notice.
fn is_zombie(pid: Pid) -> bool {
    let about = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    about.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn wait(call: &mut Call) -> Result<Output, Failure> {
    let patience = call.timeout().unwrap_or(STARTUP);
    let named = call.line.number("pid");
    let file = call.arguments.first().cloned();
    let pid = match (named, &file) {
        (Some(_), Some(_)) => {
            return Err(Failure::misused("Cannot specify both pid and pidfile"));
        }
        (None, None) => return Err(Failure::misused("\"No pid or pidfile specified\"")),
        (Some(pid), None) => i32::try_from(pid).unwrap_or(0),
        (None, Some(file)) => {
            call.banner(&format!("Waiting for pid file '{file}' to appear"));
            let mut pid = None;
            if !until(patience, || {
                pid = read_pid(file);
                Ok(pid.is_some())
            })? {
                return Err(timed_out(call, "wait", patience));
            }
            let pid = pid.unwrap_or(0);
            call.banner(&format!("pid is {pid}"));
            pid
        }
    };
    call.banner(&format!(
        "Waiting for erlang distribution on node '{}' while OS process '{pid}' is running",
        call.node()
    ));
    let up = until(patience, || {
        if !lives(pid) {
            return Err(Failure::refused("process_not_running"));
        }
        Ok(serves(call))
    })?;
    if !up {
        return Err(timed_out(call, "wait", patience));
    }
    call.banner("Waiting for applications 'rabbit_and_plugins' to start on node");
    call.banner(&format!("Applications 'rabbit_and_plugins' are running on node '{}'", call.node()));
    Ok(Output::Nothing)
}

fn set_doors(call: &mut Call, doors: &str) -> Result<Output, Failure> {
    call.ask(Method::PUT, &format!("/ctl/doors/{doors}"), None)?;
    Ok(Output::Nothing)
}

fn stop_app(call: &mut Call) -> Result<Output, Failure> {
    call.client()?;
    call.banner(&format!("Stopping rabbit application on node {} ...", call.node()));
    set_doors(call, "closed")
}

fn start_app(call: &mut Call) -> Result<Output, Failure> {
    call.client()?;
    call.banner(&format!("Starting node {} ...", call.node()));
    set_doors(call, "open")
}

fn suspend(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!(
        "Will suspend client connection listeners on node {}. The node will no longer accept client connections!",
        call.node()
    ));
    set_doors(call, "suspended")
}

fn resume(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!(
        "Will resume client connection listeners on node {}. The node will now accept client connections",
        call.node()
    ));
    set_doors(call, "open")
}

fn drain(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!(
        "Will put node {} into maintenance mode. The node will no longer serve any client traffic!",
        call.node()
    ));
    call.ask(Method::PUT, "/ctl/doors/drained", None)?;
    Ok(Output::Nothing)
}

fn revive(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!(
        "Will put node {} back into regular operating mode. The node will again serve client traffic and host primary \
         queue replicas.",
        call.node()
    ));
    set_doors(call, "open")
}

/// Asks the node to end, and returns its process.
fn end(call: &mut Call) -> Result<i32, Failure> {
    let answer = call.ask(Method::POST, "/ctl/end", None)?.json();
    call.disconnect();
    Ok(answer["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0))
}

fn await_end(call: &Call, pid: i32) -> Result<(), Failure> {
    let patience = call.timeout().unwrap_or(END);
    if until(patience, || Ok(!lives(pid)))? { Ok(()) } else { Err(timed_out(call, "shutdown", patience)) }
}

fn stop(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Stopping and halting node {} ...", call.node()));
    let pid = match end(call) {
        Err(failure) if failure.status == status::UNAVAILABLE && call.line.flag("idempotent") => {
            return Ok(Output::Text(format!(
                "Node {} is no longer running, and there was nothing to stop",
                call.node()
            )));
        }
        other => other?,
    };
    // RabbitMQ's waits for the process only where it knows it from a file.
    match call.arguments.first().map(|file| read_pid(file)) {
        Some(None) => return Err(Failure::new(status::DATA, format!("{:?} has no PID", call.argument(0)))),
        Some(Some(_)) | None => await_end(call, pid)?,
    }
    if let Some(file) = call.arguments.first().filter(|file| Path::new(file).exists()) {
        // The file is whoever wrote it's; where they have removed it themselves, all is well.
        let _ = fs::remove_file(file);
    }
    Ok(Output::Nothing)
}

fn shutdown(call: &mut Call) -> Result<Output, Failure> {
    let node = call.node();
    let pid = call.get("/ctl/status")?["pid"].clone();
    call.banner(&format!("Shutting down RabbitMQ node {node} running at PID {pid}"));
    let ended = end(call)?;
    if call.line.without("wait") {
        return Ok(Output::Nothing);
    }
    call.banner(&format!("Waiting for PID {pid} to terminate"));
    await_end(call, ended)?;
    Ok(Output::Remark(format!("RabbitMQ node {node} running at PID {pid} successfully shut down")))
}

fn reset(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Resetting node {} ...", call.node()));
    call.ask(Method::POST, "/ctl/reset", Some(&json!({})))?;
    Ok(Output::Nothing)
}

fn force_reset(call: &mut Call) -> Result<Output, Failure> {
    call.banner(&format!("Forcefully resetting node {} ...", call.node()));
    call.ask(Method::POST, "/ctl/reset", Some(&json!({})))?;
    Ok(Output::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_live_or_do_not() {
        let own = i32::try_from(std::process::id()).expect("a PID");
        assert!(lives(own));
        assert!(!lives(0) && !lives(-1) && !lives(i32::MAX));
    }

    #[test]
    fn files_with_pids() {
        let path = std::env::temp_dir().join(format!("leveret-pid-{}", std::process::id()));
        for (content, pid) in [("123\n", Some(123)), ("", None), ("x", None), (" 7 8", Some(7))] {
            fs::write(&path, content).expect("a file");
            assert_eq!(read_pid(path.to_str().expect("UTF-8")), pid, "{content:?}");
        }
        fs::remove_file(&path).expect("a file");
        assert_eq!(read_pid(path.to_str().expect("UTF-8")), None);
    }
}
