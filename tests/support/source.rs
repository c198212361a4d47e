//! Rust source as far as the tidy test needs it: the paths a file names, and the text of its module comment.
//!
//! Comments, strings and character literals name nothing. The branches of a `use` tree come out as whole paths, so
//! that `use std::{fs, io}` names `std::fs`.

/// A path of one or more segments, and the line it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    pub path: String,
}

impl Named {
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.path.split("::")
    }

    /// Whether it is `path` or something in it.
    pub fn is_in(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }
}

/// Every path in the source, once for each place where it stands.
pub fn paths(source: &str) -> Vec<Named> {
    let tokens = tokens(&blank(source));
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if matches!(tokens[at].1, Token::Name(_)) {
            at = path(&tokens, at, "", &mut out);
        } else {
            at += 1;
        }
    }
    out
}

/// The text of the `//!` lines.
pub fn module_comment(source: &str) -> String {
    source
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("//!"))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The names of the modules declared, in order.
pub fn modules(source: &str) -> Vec<String> {
    let tokens = tokens(&blank(source));
    let names = tokens.windows(3).filter_map(|three| match (&three[0].1, &three[1].1, &three[2].1) {
        (Token::Name(keyword), Token::Name(name), Token::Other(';')) if keyword == "mod" => {
            Some(name.clone())
        }
        _ => None,
    });
    names.collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    /// `::`
    Sep,
    Other(char),
}

type Tokens = [(usize, Token)];

/// Reads the path at `at`, which goes on from `front`, and the tree that may end it. Returns where it ends.
fn path(tokens: &Tokens, mut at: usize, front: &str, out: &mut Vec<Named>) -> usize {
    let mut path = front.to_owned();
    let line = tokens.get(at).map_or(0, |(line, _)| *line);
    loop {
        match tokens.get(at).map(|(_, token)| token) {
            Some(Token::Name(name)) => {
                if !path.is_empty() {
                    path.push_str("::");
                }
                path.push_str(name);
            }
            Some(Token::Other('{')) => return tree(tokens, at + 1, &path, out),
            _ => break,
        }
        at += 1;
        match tokens.get(at).map(|(_, token)| token) {
            Some(Token::Sep) => at += 1,
            _ => break,
        }
    }
    out.push(Named { line, path });
    at
}

/// Reads the branches between the braces of `front::{...}`. Returns where they end.
fn tree(tokens: &Tokens, mut at: usize, front: &str, out: &mut Vec<Named>) -> usize {
    loop {
        match tokens.get(at).map(|(_, token)| token) {
            None => return at,
            Some(Token::Other('}')) => return at + 1,
            Some(Token::Name(_)) => at = path(tokens, at, front, out),
            Some(_) => at += 1,
        }
    }
}

fn tokens(code: &str) -> Vec<(usize, Token)> {
    let mut out = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let (token, size) = if is_name(first) {
                let size = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                (Token::Name(rest[..size].to_owned()), size)
            } else if rest.starts_with("::") {
                (Token::Sep, 2)
            } else {
                (Token::Other(first), first.len_utf8())
            };
            out.push((number + 1, token));
            rest = rest[size..].trim_start();
        }
    }
    out
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The source with comments, strings and character literals blanked out, line by line as it was.
fn blank(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let before = out.chars().next_back();
        let size = literal(rest, before.is_some_and(is_name));
        if size == 0 {
            let first = rest.chars().next().unwrap_or(' ');
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.push(' ');
            out.extend(rest[..size].chars().filter(|c| *c == '\n'));
            rest = &rest[size..];
        }
    }
    out
}

/// Octets of the comment, string or character literal that the source begins with; 0 if it begins with none.
fn literal(source: &str, in_name: bool) -> usize {
    if source.starts_with("//") {
        return source.find('\n').unwrap_or(source.len());
    }
    if source.starts_with("/*") {
        return block_comment(source);
    }
    if source.starts_with('"') {
        return quoted(source, '"');
    }
    if source.starts_with('\'') {
        return character(source);
    }
    let raw = source.strip_prefix("br").or_else(|| source.strip_prefix('r'));
    if let Some(after) = raw.filter(|_| !in_name) {
        let hashes = after.len() - after.trim_start_matches('#').len();
        if after[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = source.len() - after.len() + hashes + 1;
            return source[begin..].find(&end).map_or(source.len(), |at| begin + at + end.len());
        }
    }
    0
}

/// Block comments nest.
fn block_comment(source: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < source.len() {
        let rest = &source.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    source.len()
}

fn quoted(source: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in source.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    source.len()
}

/// A quote is a character literal unless it begins a lifetime.
fn character(source: &str) -> usize {
    let mut rest = source.chars().skip(1);
    match (rest.next(), rest.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(source, '\''),
        _ => 0,
    }
}
