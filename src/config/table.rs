//! All keys that there are, with the types of their values. The table itself is `keys.txt`: the names and types of
//! RabbitMQ 4.3.6 and its plugins, read from a running one, and Leveret's own.
//!
//! In it a line in brackets says the type of the keys that follow. `$` stands for any word, `{a,b}` for `a` and `b`, `**` for
//! any words.

/// The table.
const KEYS: &str = include_str!("keys.txt");

/// Every key as the table writes it, with its type.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut kind = "";
    KEYS.lines().flat_map(move |line| {
        let heading = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        kind = heading.unwrap_or(kind);
        let keys = if heading.is_some() { "" } else { line };
        keys.split_whitespace().map(move |key| (key, kind))
    })
}

/// The type of a key, if there is such a key.
pub fn kind(key: &[String]) -> Option<&'static str> {
    all().find(|(pattern, _)| matches(pattern, key)).map(|(_, kind)| kind)
}

fn matches(pattern: &str, key: &[String]) -> bool {
    let mut words = key.iter();
    for part in pattern.split('.') {
        if part == "**" {
            return words.len() > 0;
        }
        match words.next() {
            Some(word) if part == "$" || choices(part).any(|choice| choice == word) => {}
            _ => return false,
        }
    }
    words.len() == 0
}

/// The words that a part of a pattern stands for.
fn choices(part: &str) -> impl Iterator<Item = &str> {
    part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(part).split(',')
}

/// The key whose name is most like this one, if one is at all.
pub fn nearest(key: &str) -> Option<String> {
    let names = all().flat_map(|(pattern, _)| {
        let (head, last) = pattern.rsplit_once('.').map_or(("", pattern), |(head, last)| (head, last));
        choices(last)
            .map(move |last| if head.is_empty() { last.to_owned() } else { format!("{head}.{last}") })
    });
    let (distance, name) =
        names.map(|name| (distance(key, &name), name)).min_by_key(|(distance, _)| *distance)?;
    (distance <= key.chars().count() / 2).then_some(name)
}

/// How many letters have to be added, removed or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(key: &str) -> Option<&'static str> {
        kind(&key.split('.').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn keys_have_types() {
        for (key, wanted) in [
            ("heartbeat", Some("integer")),
            ("listeners.tcp", Some("none")),
            ("listeners.tcp.default", Some("port|listener")),
            ("default_users.bob.tags", Some("text")),
            ("management.tcp.port", Some("port")),
            ("auth_ldap.servers.1", Some("text")),
            ("auth_ldap", None),
            ("log.console.level.x", None),
            ("nosuch.key", None),
            ("leveret.data_dir", Some("text")),
            ("vm_memory_high_watermark.absolute", Some("size")),
            ("max_message_size", Some("integer(1..536870912)")),
        ] {
            assert_eq!(kind_of(key), wanted, "{key}");
        }
        assert!(all().count() > 400, "the table is read");
    }

    #[test]
    fn the_nearest_name() {
        for (key, wanted) in [
            ("heartbeet", Some("heartbeat")),
            ("Heartbeat", Some("heartbeat")),
            ("default_pass_word", Some("default_pass")),
            ("management.tcp.prot", Some("management.tcp.port")),
            ("loopback_user", Some("loopback_users")),
            ("xyz", None),
        ] {
            assert_eq!(nearest(key).as_deref(), wanted, "{key}");
        }
    }
}
