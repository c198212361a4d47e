//! Reads the source tree and holds it to its rules: what a folder may not know, how long a file may be, and that
//! every file is listed where somebody new would look for it.

#![allow(clippy::expect_used, reason = "a test may fail")]

#[path = "support/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use source::{Named, module_comment, modules, paths};

/// Lines a file may have at most.
const LINES_MAX: usize = 600;
/// Folders that do no I/O and know neither clock nor chance.
const PURE: [&str; 4] = ["src/wire", "src/session", "src/broker", "src/auth"];
const IMPURE: [&str; 5] = ["tokio", "std::fs", "std::net", "rand", "getrandom"];
const CLOCKS: [[&str; 2]; 2] = [["Instant", "now"], ["SystemTime", "now"]];
/// The only places where tokio may be.
const TOKIO: [&str; 5] = ["src/net", "src/http", "src/node", "src/cli/server", "src/cli/http.rs"];
/// What a folder may not name of this crate.
const FOREIGN: [(&str, &[&str]); 3] = [
    ("src/broker", &["session", "net"]),
    ("src/log", &["broker", "session", "net"]),
    ("src/catalog", &["session", "net", "node", "http"]),
];
/// The order of a message's way.
const ORDER: [&str; 5] = ["net", "wire", "session", "broker", "log"];

/// The whole tree: files by their path from the project's folder.
type Tree = BTreeMap<String, String>;

fn read(folder: &str, tree: &mut Tree) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(root.join(&folder)).expect("a folder of sources");
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(entry.path()).expect("UTF-8");
                let name = path.to_str().expect("UTF-8").replace('\\', "/");
                tree.insert(name, text);
            }
        }
    }
}

fn sources() -> Tree {
    let mut tree = Tree::new();
    read("src", &mut tree);
    assert!(tree.len() > 40, "only {} files found", tree.len());
    tree
}

fn lies_in(file: &str, place: &str) -> bool {
    Path::new(file).starts_with(place)
}

/// Whether a path leads to a module of this crate; a single word is a variable or a field.
fn leads_to(named: &Named, module: &str) -> bool {
    let within = ["crate", "super", "self", "leveret", module];
    let first = named.segments().next().unwrap_or_default();
    within.contains(&first)
        && named.segments().count() > 1
        && named.segments().any(|segment| segment == module)
}

/// What a file names and may not know.
fn impurities(file: &str, text: &str) -> Vec<String> {
    let pure = PURE.iter().any(|folder| lies_in(file, folder));
    let may_tokio = TOKIO.iter().any(|place| lies_in(file, place));
    let mut found = Vec::new();
    for named in paths(text) {
        let impure = pure && (IMPURE.iter().any(|path| named.is_in(path)) || reads_clock(&named));
        let tokio = !may_tokio && named.is_in("tokio");
        let foreign = FOREIGN.iter().any(|(folder, modules)| {
            lies_in(file, folder) && modules.iter().any(|module| leads_to(&named, module))
        });
        if impure || tokio || foreign {
            found.push(format!("{file}:{}: may not know {}", named.line, named.path));
        }
    }
    found
}

fn reads_clock(named: &Named) -> bool {
    let segments: Vec<_> = named.segments().collect();
    CLOCKS.iter().any(|clock| segments.windows(2).any(|two| two == clock))
}

/// What is wrong with the order of the library's modules.
fn disorder(library: &str) -> Option<String> {
    let declared = modules(library);
    let found = declared.iter().take(ORDER.len()).map(String::as_str);
    (!found.eq(ORDER)).then(|| format!("src/lib.rs declares {declared:?}, not {ORDER:?} first"))
}

/// Files that neither the overview nor the comment of the module around them mentions.
fn unlisted(tree: &Tree, overview: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in tree.keys() {
        let inside = file.strip_prefix("src/").unwrap_or(file);
        // The roots need no mention, and unit tests in a file of their own say what they are.
        let plain = ["lib.rs", "main.rs"].contains(&inside) || file.ends_with("/tests.rs");
        if !plain && !mentions(overview, inside) && !listed_around(tree, file) {
            found.push(format!("{file} is not listed in ARCHITECTURE.md or the module above it"));
        }
    }
    found
}

/// Whether the module that declares this file says so in its comment. The top ones are what `lib.rs` declares.
fn listed_around(tree: &Tree, file: &str) -> bool {
    let module = file.strip_suffix("/mod.rs").or_else(|| file.strip_suffix(".rs")).unwrap_or(file);
    let (above, name) = module.rsplit_once('/').unwrap_or(("", module));
    if above == "src" {
        return tree.get("src/lib.rs").is_some_and(|library| modules(library).iter().any(|m| m == name));
    }
    [format!("{above}/mod.rs"), format!("{above}.rs")].iter().any(|parent| {
        let comment = tree.get(parent).map(|text| module_comment(text)).unwrap_or_default();
        comment.contains(&format!("`{name}`")) || comment.contains(&format!("`{name}::"))
    })
}

/// Whether a text has a file's path in it, as a whole and not as a part of another.
fn mentions(text: &str, path: &str) -> bool {
    let part_of_path = |c: char| c.is_alphanumeric() || "_-".contains(c);
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].strip_suffix("src/").unwrap_or(&text[..at]).chars().next_back();
        let after = text[at + path.len()..].chars().next();
        !before.is_some_and(|c| part_of_path(c) || c == '/') && !after.is_some_and(part_of_path)
    })
}

fn too_long(tree: &Tree) -> Vec<String> {
    let lines = tree.iter().map(|(file, text)| (file, text.lines().count()));
    lines
        .filter(|(_, count)| *count > LINES_MAX)
        .map(|(file, count)| format!("{file} has {count} lines"))
        .collect()
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn folders_know_only_what_they_may() {
    let found: Vec<_> = sources().iter().flat_map(|(file, text)| impurities(file, text)).collect();
    assert_none(&found);
}

#[test]
fn files_are_short() {
    let mut tree = sources();
    read("tests", &mut tree);
    assert_none(&too_long(&tree));
}

#[test]
fn modules_come_in_the_order_of_a_message() {
    assert_eq!(disorder(&sources()["src/lib.rs"]), None);
}

#[test]
fn every_file_is_listed() {
    let overview = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let overview = std::fs::read_to_string(overview).unwrap_or_default();
    assert_none(&unlisted(&sources(), &overview));
}

/// The checks themselves, on sources made up for them.
mod caught {
    use super::*;

    fn count(file: &str, text: &str) -> usize {
        impurities(file, text).len()
    }

    #[test]
    fn io_clocks_and_chance_in_pure_folders() {
        for text in [
            "use tokio::sync::Notify;",
            "#[tokio::test] async fn f() {}",
            "use std::fs;",
            "use std::{io, fs::File, collections::BTreeMap};",
            "fn f() { let _ = ::std::net::TcpStream::connect(x); }",
            "fn f() -> u64 { std::time::Instant::now() }",
            "let t = SystemTime\n    ::now();",
            "let n: u8 = rand::random();",
            "getrandom::fill(&mut octets)",
            "const A: char = '\"'; use std::fs; const B: char = '\"';",
            "fn f<'a>(x: &'a str) { let y = 'a'; std::fs::read(x); }",
        ] {
            for folder in PURE {
                assert_eq!(count(&format!("{folder}/x.rs"), text), 1, "{folder}: {text}");
            }
        }
        assert_eq!(
            impurities("src/wire/a.rs", "\n\nuse std::{a, fs};"),
            ["src/wire/a.rs:3: may not know std::fs"]
        );
        assert_eq!(
            count("src/node/mod.rs", "use std::fs; let now = SystemTime::now();"),
            0,
            "not a pure one"
        );
    }

    #[test]
    fn but_not_in_comments_and_strings_or_as_other_names() {
        for text in [
            "// use tokio::sync;",
            "//! `std::fs` and\n/// rand",
            "/* a /* std::net */ Instant::now() */",
            "let s = \"std::fs \\\" tokio\";",
            "let s = r#\"SystemTime::now() \" tokio\"#; let b = br\"rand\";",
            "use std::time::Instant; fn at(now: Instant) {}",
            "foldhash::fast::RandomState; (cx.random)(); let operand = 1;",
            "use std::fmt; use other::fs;",
        ] {
            assert_eq!(count("src/session/x.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn tokio_outside_its_places() {
        let text = "use tokio::net::TcpListener;";
        assert_eq!(count("src/cli/perf/conn.rs", text), 1);
        assert_eq!(count("src/log/mod.rs", text), 1);
        for file in ["src/net/listener.rs", "src/http/mod.rs", "src/node/port.rs", "src/cli/server"] {
            assert_eq!(count(file, text), 0, "{file}");
        }
    }

    #[test]
    fn folders_that_name_what_is_around_them() {
        for text in [
            "use crate::session::Session;",
            "use super::super::session::outbox;",
            "use crate::{wire, net::input};",
            "fn f(s: &crate::session::Session) {}",
            "use crate::{session, wire};",
        ] {
            assert_eq!(count("src/broker/queue/mod.rs", text), 1, "{text}");
            assert_eq!(count("src/log/record.rs", text), 1, "{text}");
        }
        assert_eq!(count("src/log/mod.rs", "use crate::broker::Now;"), 1);
        assert_eq!(count("src/catalog/mod.rs", "use crate::node::Node;"), 1);
        assert_eq!(count("src/broker/mod.rs", "let session = other.net; let net = session;"), 0);
        assert_eq!(count("src/net/mod.rs", "use crate::session::Session;"), 0);
    }

    #[test]
    fn long_files() {
        let tree = Tree::from([("a.rs".into(), "\n".repeat(600)), ("b.rs".into(), "\n".repeat(601))]);
        assert_eq!(too_long(&tree), ["b.rs has 601 lines"]);
    }

    #[test]
    fn modules_in_another_order() {
        let good =
            "pub mod net;\npub mod wire;\n// mod auth;\nmod session;\npub mod broker; mod log;\nmod auth;";
        assert_eq!(disorder(good), None);
        assert!(disorder(&good.replace("pub mod wire;", "pub mod auth;\npub mod wire;")).is_some());
        assert!(disorder(&good.replace("pub mod net;", "")).is_some());
    }

    #[test]
    fn files_that_nobody_lists() {
        let tree = Tree::from([
            ("src/lib.rs".into(), "pub mod a;".into()),
            ("src/a/mod.rs".into(), "//! - [`b::B`]: one\n//! - `c`\n// [`d`]".into()),
            ("src/a/b.rs".into(), "//! Knows [`inner`].".into()),
            ("src/a/b/inner.rs".into(), String::new()),
            ("src/a/b/tests.rs".into(), String::new()),
            ("src/a/c.rs".into(), String::new()),
            ("src/a/d.rs".into(), String::new()),
            ("src/e.rs".into(), String::new()),
        ]);
        let missing = |overview: &str| unlisted(&tree, overview).join("\n");
        assert!(missing("").contains("src/a/d.rs") && missing("").contains("src/e.rs"), "{}", missing(""));
        assert_eq!(missing("").lines().count(), 2, "{}", missing(""));
        assert_eq!(missing("`src/a/d.rs` and e.rs"), "");
        assert_eq!(missing("see x/a/d.rs, a/d.rsx, the.rs").lines().count(), 2);
    }
}
