//! What a user may do with the topics of one exchange.

use fancy_regex::escape;

use super::{Access, InvalidPattern, Pattern};

/// A user's permissions for the routing keys of one topic exchange.
#[derive(Clone, Debug)]
pub struct TopicPermission {
    /// As they were given.
    pub write: Box<str>,
    pub read: Box<str>,
    /// With the names in the place of the variables.
    write_expanded: Pattern,
    read_expanded: Pattern,
}

impl TopicPermission {
    /// Compiles what a user in a vhost may write and read. `{username}` and `{vhost}` stand for the names, letter by
    /// letter.
    pub fn new(user: &str, vhost: &str, write: &str, read: &str) -> Result<Self, InvalidPattern> {
        // In this order: what is escaped looks like no variable any more.
        let expanded = |source: &str| {
            let with_user = source.replace("{username}", &escape(user));
            Pattern::new(source).and(Pattern::new(&with_user.replace("{vhost}", &escape(vhost))))
        };
        Ok(Self {
            write_expanded: expanded(write)?,
            read_expanded: expanded(read)?,
            write: write.into(),
            read: read.into(),
        })
    }

    /// Whether it covers a routing key. Topics are only written and read.
    pub fn permits(&self, access: Access, routing_key: &str) -> bool {
        match access {
            Access::Write => self.write_expanded.matches(routing_key),
            Access::Read => self.read_expanded.matches(routing_key),
            Access::Configure => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_names() {
        for (pattern, key, wanted) in [
            ("^a", "a.b", true),
            ("^a", "b.a", false),
            ("^{username}\\.", "ada.x", true),
            ("^{username}\\.", "bob.x", false),
            ("^{vhost}-{username}$", "shop-ada", true),
            // Other ones are no variables, nor is a brace anything without its other half.
            ("^{client_id}$", "{client_id}", true),
            ("^{client_id}$", "ada", false),
            ("^a{2}$", "aa", true),
            ("^{username", "{username", true),
            ("", "", true),
            ("", "a", false),
        ] {
            let permission = TopicPermission::new("ada", "shop", pattern, "^$").expect("a pattern");
            assert_eq!(permission.permits(Access::Write, key), wanted, "{pattern} {key}");
            assert_eq!(permission.permits(Access::Read, key), key.is_empty());
            assert_eq!((&*permission.write, &*permission.read), (pattern, "^$"));
        }
        assert!(TopicPermission::new("a", "v", "(", "").is_err());
    }

    #[test]
    fn names_are_no_patterns() {
        for (user, key, wanted) in [
            ("a.b*", "a.b*", true),
            ("a.b*", "axb", false),
            ("a\\d", "a\\d", true),
            ("a\\d", "a1", false),
            ("x|y", "x", false),
            ("(", "(", true),
            ("{vhost}", "{vhost}", true),
            ("{vhost}", "v+", false),
            ("a-b c#", "a-b c#", true),
        ] {
            let permission =
                TopicPermission::new(user, "v+", "^{username}$", "^{vhost}$").expect("a pattern");
            assert_eq!(permission.permits(Access::Write, key), wanted, "{user} {key}");
            assert!(permission.permits(Access::Read, "v+"));
        }
    }
}
