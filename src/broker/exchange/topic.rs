//! Topic matching: a tree of words, in which `*` stands for one word and `#` for any number of them.
//!
//! Words are what lies between dots; they may be empty, so that `a.` has two (as RabbitMQ counts them). The
//! empty key is the one exception: it has no words at all.

use std::collections::HashSet;

use super::Destination;
use super::destinations::Destinations;
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
    destinations: Destinations,
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
        node.destinations.add(destination);
    }

    pub fn remove(&mut self, pattern: &[u8], destination: Destination) {
        self.root.remove(&words(pattern), destination);
    }

    /// Appends the destinations of every pattern that matches; the same one may come more than once.
    pub fn matches(&self, key: &[u8], out: &mut Vec<Destination>) {
        let mut reached = Reached::default();
        reached.add(&self.root, false);
        for word in words(key) {
            let mut next = Reached::default();
            for (node, loops) in reached.nodes {
                if loops {
                    next.add(node, true);
                }
                if let Some(child) = node.words.get(word) {
                    next.add(child, false);
                }
                if let Some(child) = &node.star {
                    next.add(child, false);
                }
            }
            reached = next;
        }
        for (node, _) in reached.nodes {
            node.destinations.append_to(out);
        }
    }
}

/// The nodes that some words have led to, each once, so that the work is bounded by words times nodes, whatever the
/// patterns. With each, whether it is behind a `#`, and so takes any further word.
#[derive(Default)]
struct Reached<'a> {
    nodes: Vec<(&'a Node, bool)>,
    /// The addresses of these nodes, once there are too many to look through.
    known: HashSet<*const Node, foldhash::fast::RandomState>,
}

/// Up to this many nodes are looked through one by one.
const FEW: usize = 16;

impl<'a> Reached<'a> {
    /// Adds a node, and those behind a `#` that matches no word.
    ///
    /// A node is either behind a `#` or not, so that it comes with the same `loops` every time.
    fn add(&mut self, mut node: &'a Node, mut loops: bool) {
        while self.is_new(node) {
            self.nodes.push((node, loops));
            match &node.hash {
                Some(hash) => (node, loops) = (hash, true),
                None => return,
            }
        }
    }

    fn is_new(&mut self, node: &'a Node) -> bool {
        if self.nodes.len() < FEW {
            return !self.nodes.iter().any(|(other, _)| std::ptr::eq(*other, node));
        }
        if self.known.is_empty() {
            self.known.extend(self.nodes.iter().map(|(node, _)| std::ptr::from_ref(*node)));
        }
        self.known.insert(node)
    }
}

impl Node {
    fn remove(&mut self, words: &[&[u8]], destination: Destination) {
        let Some((word, rest)) = words.split_first() else {
            self.destinations.remove(destination);
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
