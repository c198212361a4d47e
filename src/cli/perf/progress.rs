//! How far a load is, on standard error, while it runs.

use std::{
    io::{self, IsTerminal as _, Stderr, Write},
    time::{Duration, Instant},
};

use clap::Args;

/// How often there is a new line.
const EACH: Duration = Duration::from_secs(1);
/// Most characters of a line on a terminal: one that wraps could not be written over.
const WIDEST: usize = 79;

/// Whether to say how far a load is.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ProgressArgs {
    /// Say each second how far the run is, even where standard error is no terminal
    #[arg(long, overrides_with = "no_progress")]
    pub progress: bool,
    /// Say nothing while the run goes on, not even on a terminal
    #[arg(long, overrides_with = "progress")]
    pub no_progress: bool,
}

/// How a line is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Not at all.
    Silent,
    /// Over the last one, on a terminal.
    Over,
    /// Below the last one, in a file or a pipe.
    Below,
}

impl ProgressArgs {
    /// How lines are shown where standard error is a terminal or is not.
    fn style(self, terminal: bool) -> Style {
        match (self.no_progress, terminal, self.progress) {
            (true, _, _) | (_, false, false) => Style::Silent,
            (false, true, _) => Style::Over,
            (false, false, true) => Style::Below,
        }
    }
}

/// A line that says how far a load is, at most each second.
#[derive(Debug)]
pub struct Progress<W: Write = Stderr> {
    style: Style,
    out: W,
    /// When there was a line last, or when the load began.
    last: Instant,
    /// Characters of the line that the terminal shows now.
    shown: usize,
}

impl Progress {
    /// Nothing shown yet; the first line may come in a second.
    pub fn new(args: &ProgressArgs) -> Self {
        let out = io::stderr();
        let style = args.style(out.is_terminal());
        Self::starting(style, out, Instant::now())
    }
}

impl<W: Write> Progress<W> {
    fn starting(style: Style, out: W, now: Instant) -> Self {
        Self { style, out, last: now, shown: 0 }
    }

    /// Whether it is time for a line: for those who would have to work for it.
    pub fn due(&self) -> bool {
        self.due_at(Instant::now())
    }

    /// Shows the line if it is time to.
    pub fn show(&mut self, line: &str) {
        self.show_at(line, Instant::now());
    }

    /// Clears the line of a terminal for what comes next.
    pub fn end(&mut self) {
        if self.shown > 0 {
            let _ = write!(self.out, "\r{:1$}\r", "", self.shown);
            let _ = self.out.flush();
            self.shown = 0;
        }
    }

    fn due_at(&self, now: Instant) -> bool {
        self.style != Style::Silent && now.saturating_duration_since(self.last) >= EACH
    }

    fn show_at(&mut self, line: &str, now: Instant) {
        if !self.due_at(now) {
            return;
        }
        self.last = now;
        // Where the line cannot be written, nobody looks for it.
        let _ = match self.style {
            Style::Over => {
                let line: String = line.chars().take(WIDEST).collect();
                // Spaces cover what is left of a longer line.
                let covered = std::mem::replace(&mut self.shown, line.chars().count());
                write!(self.out, "\r{line:covered$}")
            }
            Style::Below | Style::Silent => writeln!(self.out, "{line}"),
        };
        let _ = self.out.flush();
    }
}

impl<W: Write> Drop for Progress<W> {
    /// An error message is to stand on a line of its own, too.
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ProgressArgs,
    }

    fn style(line: &str, terminal: bool) -> Style {
        Line::try_parse_from(line.split_whitespace()).unwrap().args.style(terminal)
    }

    /// What lines shown after so many milliseconds each come to.
    fn shown(style: Style, lines: &[(u64, &str)]) -> String {
        let start = Instant::now();
        let mut out = Vec::new();
        let mut progress = Progress::starting(style, &mut out, start);
        for &(millis, line) in lines {
            progress.show_at(line, start + Duration::from_millis(millis));
        }
        drop(progress);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_terminals_have_it_unless_it_is_asked_for() {
        assert_eq!(style("x", true), Style::Over);
        assert_eq!(style("x", false), Style::Silent);
        assert_eq!(style("x --progress", true), Style::Over);
        assert_eq!(style("x --progress", false), Style::Below);
        assert_eq!(style("x --no-progress", true), Style::Silent);
        assert_eq!(style("x --no-progress --progress", false), Style::Below, "the last one counts");
        assert_eq!(style("x --progress --no-progress", false), Style::Silent);
    }

    #[test]
    fn a_line_comes_each_second_at_most() {
        let lines = [(0, "a"), (999, "b"), (1000, "c"), (1500, "d"), (1999, "e"), (2500, "f"), (3499, "g")];
        assert_eq!(shown(Style::Below, &lines), "c\nf\n");
        assert_eq!(shown(Style::Silent, &lines), "");
    }

    #[test]
    fn a_terminal_shows_one_line_and_none_in_the_end() {
        let lines = [(1000, "1234"), (2000, "12"), (3000, "123")];
        assert_eq!(shown(Style::Over, &lines), "\r1234\r12  \r123\r   \r");
        let wide = "x".repeat(100);
        let wanted = format!("\r{}\r{}\r", "x".repeat(79), " ".repeat(79));
        assert_eq!(shown(Style::Over, &[(1000, &wide)]), wanted);
    }
}
