//! Topic matching: a tree of words, in which `*` stands for one word and `#` for any number of them.
//!
//! Words are what lies between dots; they may be empty, so that `a.` has two (as RabbitMQ counts them). The
//! empty key is the one exception: it has no words at all.

use super::{Destination, remove_one};
use crate::broker::Map;

#[derive(Debug, Default)]
pub struct Trie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    words: Map<Box<[u8]>, Node>,
    star: Option<Box<Node>>,
    hash: Option<Box<Node>>,
    /// What the patterns that end here lead to.
    destinations: Vec<Destination>,
}

fn words(key: &[u8]) -> Vec<&[u8]> {
    if key.is_empty() { Vec::new() } else { key.split(|octet| *octet == b'.').collect() }
}

impl Trie {
    pub fn insert(&mut self, pattern: &[u8], destination: Destination) {
        let mut node = &mut self.root;
        for word in words(pattern) {
            node = match word {
                b"*" => node.star.get_or_insert_default(),
                b"#" => node.hash.get_or_insert_default(),
                _ => node.words.entry(word.into()).or_default(),
            };
        }
        node.destinations.push(destination);
    }

    pub fn remove(&mut self, pattern: &[u8], destination: Destination) {
        self.root.remove(&words(pattern), destination);
    }

    /// Appends the destinations of every pattern that matches; the same one may come more than once.
    pub fn matches(&self, key: &[u8], out: &mut Vec<Destination>) {
        let words = words(key);
        // Nodes reached after the first `at` words, without duplicates: a `#` stays where it is for every
        // further word. So the work is bounded by words times nodes, whatever the patterns.
        let mut reached: Vec<(&Node, bool)> = Vec::new();
        reach(&self.root, false, &mut reached);
        for word in words {
            let mut next = Vec::new();
            for (node, loops) in reached {
                if loops {
                    reach(node, true, &mut next);
                }
                if let Some(child) = node.words.get(word) {
                    reach(child, false, &mut next);
                }
                if let Some(child) = &node.star {
                    reach(child, false, &mut next);
                }
            }
            reached = next;
        }
        for (node, _) in reached {
            out.extend_from_slice(&node.destinations);
        }
    }
}

/// Adds a node, and those behind a `#` that matches no word. `loops` says that the node is itself behind a `#`,
/// and takes any further word.
fn reach<'a>(node: &'a Node, loops: bool, reached: &mut Vec<(&'a Node, bool)>) {
    if let Some(found) = reached.iter_mut().find(|(other, _)| std::ptr::eq(*other, node)) {
        found.1 |= loops;
        return;
    }
    reached.push((node, loops));
    if let Some(hash) = &node.hash {
        reach(hash, true, reached);
    }
}

impl Node {
    fn remove(&mut self, words: &[&[u8]], destination: Destination) {
        let Some((word, rest)) = words.split_first() else {
            remove_one(&mut self.destinations, destination);
            return;
        };
        match *word {
            b"*" => Self::remove_child(&mut self.star, rest, destination),
            b"#" => Self::remove_child(&mut self.hash, rest, destination),
            word => {
                if let Some(child) = self.words.get_mut(word) {
                    child.remove(rest, destination);
                    if child.is_empty() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    fn remove_child(child: &mut Option<Box<Self>>, rest: &[&[u8]], destination: Destination) {
        if let Some(node) = child {
            node.remove(rest, destination);
            if node.is_empty() {
                *child = None;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.destinations.is_empty() && self.words.is_empty() && self.star.is_none() && self.hash.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::QueueId;

    fn matches(pattern: &str, key: &str) -> bool {
        let mut trie = Trie::default();
        let destination = Destination::Queue(QueueId::default());
        trie.insert(pattern.as_bytes(), destination);
        let mut out = Vec::new();
        trie.matches(key.as_bytes(), &mut out);
        trie.remove(pattern.as_bytes(), destination);
        assert!(trie.root.is_empty(), "nothing is left of {pattern}");
        !out.is_empty()
    }

    #[test]
    fn patterns_as_rabbitmq_takes_them() {
        for (pattern, yes, no) in [
            ("a", &["a"][..], &["", "a.", ".a", "A"][..]),
            ("", &[""], &["a", "."]),
            ("*", &["a", "*", "#"], &["", "a.b", "."]),
            ("#", &["", "a", "a.b", ".", ".."], &[]),
            ("a.*", &["a.b", "a."], &["a", "a.b.c", "b.a"]),
            ("a.#", &["a", "a.b", "a..b", "a.b.c.d", "a."], &["b.a", ""]),
            ("#.a", &["a", ".a", "b.a"], &["a.b"]),
            ("#.b.#", &["b", "a.b.c", ".a.b", "a.b."], &["a.c"]),
            ("*.#.*", &["a.b", "a.b.c", ".", ".."], &["a", ""]),
            ("*.#.b.#", &["a.b", "a..b", "a.b.c.d"], &["b.a", "b"]),
            ("a*", &[], &["a", "ab", "a*x", "a.b"]),
            ("##", &["##"], &["a", ""]),
        ] {
            yes.iter().for_each(|key| assert!(matches(pattern, key), "{pattern} takes {key}"));
            no.iter().for_each(|key| assert!(!matches(pattern, key), "{pattern} leaves {key}"));
        }
    }

    #[test]
    fn many_hashes_do_not_explode() {
        let pattern = "#.a.".repeat(60) + "#";
        let key = "a.".repeat(120) + "b";
        assert!(matches(&pattern, &key) && !matches(&(pattern + ".c"), &key));
    }
}
