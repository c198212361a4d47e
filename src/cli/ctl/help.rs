//! Help, and what to say to those who need it without knowing.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::command::{Command, Tool};
use super::commands;
use super::failure::status;

/// Below this two names have little in common.
const ALIKE: f64 = 0.8;

fn own(tool: Tool) -> Vec<&'static Command> {
    let mut own: Vec<_> = commands::all().filter(|command| command.belongs_to(tool)).collect();
    own.sort_by_key(|command| (command.section, command.name));
    own
}

fn overview(tool: Tool) -> String {
    let own = own(tool);
    let width = own.iter().map(|command| command.name.len()).max().unwrap_or(0);
    let mut text = format!(
        "\nUsage\n\n{} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\n\
         Available commands:\n",
        tool.name()
    );
    let mut section = None;
    for command in own {
        if section != Some(command.section) {
            section = Some(command.section);
            text.push_str(&format!("\n{}:\n\n", command.section.title()));
        }
        text.push_str(&format!("   {:width$}  {}\n", command.name, command.about));
    }
    text.push_str(&format!("\nUse '{} help <command>' to learn more about a specific command", tool.name()));
    text
}

/// Lists all commands: on standard output for those who asked, else as an error after what went wrong.
pub fn all(tool: Tool, error: Option<&str>) -> ExitCode {
    let overview = overview(tool);
    // Nobody has to read it.
    match error {
        None => {
            let _ = writeln!(io::stdout(), "{overview}");
            ExitCode::SUCCESS
        }
        Some(error) => {
            let _ = writeln!(io::stderr(), "{error}{overview}");
            ExitCode::from(status::USAGE)
        }
    }
}

/// Tells of one command.
pub fn about(tool: Tool, name: Option<&str>) -> ExitCode {
    let Some(name) = name else { return all(tool, None) };
    let Some(command) = commands::all().find(|command| command.name == name) else {
        return unknown(tool, name);
    };
    let usage = if command.usage.is_empty() { String::new() } else { format!(" {}", command.usage) };
    let text = format!(
        "\nUsage\n\n{} [--node <node>] [--longnames] [--quiet] {}{usage}\n\n{}\n\n\
         Options that all commands take\n\n\
         \x20  -n, --node <node>        name of the node, for messages\n\
         \x20  -p, --vhost <vhost>      virtual host\n\
         \x20  -t, --timeout <seconds>  how long to wait for the node\n\
         \x20  -q, --quiet              say nothing but the result\n\
         \x20  -s, --silent             the same, without names above columns\n\
         \x20  --formatter <name>       table, pretty_table, json, csv, erlang or string\n\
         \x20  --no-table-headers       no names above columns\n\
         \x20  --socket <path>          the node's control socket (LEVERET_SOCKET)\n\
         \x20  --data-dir <path>        the node's data folder, where its socket is",
        tool.name(),
        command.name,
        command.about,
    );
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

/// There is no such command.
pub fn unknown(tool: Tool, name: &str) -> ExitCode {
    let error = format!("\nCommand '{name}' not found. \n");
    let nearest = own(tool).into_iter().map(|command| (similarity(command.name, name), command.name));
    let nearest = nearest.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(similarity, _)| *similarity >= ALIKE);
    let Some((_, nearest)) = nearest else { return all(tool, Some(&error)) };
    let _ = writeln!(io::stderr(), "{error}Did you mean '{nearest}'? \n");
    ExitCode::from(status::USAGE)
}

/// How much two names have in common, from 0 to 1 (Jaro 1989, which counts letters that are about where they should
/// be, and those that have changed places half).
#[expect(clippy::cast_precision_loss, reason = "names are short")]
fn similarity(a: &str, b: &str) -> f64 {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let reach = (a.len().max(b.len()) / 2).saturating_sub(1);
    let mut taken = vec![false; b.len()];
    let mut matched = Vec::new();
    for (n, letter) in a.iter().enumerate() {
        let near = n.saturating_sub(reach)..b.len().min(n + reach + 1);
        if let Some(at) = near.into_iter().find(|at| !taken[*at] && b[*at] == *letter) {
            taken[at] = true;
            matched.push(*letter);
        }
    }
    if matched.is_empty() {
        return 0.0;
    }
    let others = b.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(letter, _)| letter);
    let moved = matched.iter().zip(others).filter(|(a, b)| a != b).count();
    let common = matched.len() as f64;
    (common / a.len() as f64 + common / b.len() as f64 + (common - moved as f64 / 2.0) / common) / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_nearly_right() {
        assert!(similarity("list_users", "list_user") > 0.9);
        assert!(similarity("list_users", "lst_users") > 0.9);
        assert!(similarity("list_users", "nosuch") < 0.7);
        assert!((similarity("MARTHA", "MARHTA") - 0.944).abs() < 0.001, "the usual example");
        assert!(similarity("", "a").abs() < f64::EPSILON);
    }

    #[test]
    fn help_has_all_commands_of_a_tool() {
        let text = overview(Tool::Ctl);
        assert!(text.contains("\nUsers:\n") && text.contains("   add_user "), "{text}");
        assert!(!text.contains("check_running"));
        assert!(overview(Tool::Diagnostics).contains("   check_running "));
    }
}
