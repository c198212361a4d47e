//! Who may do what: users, their passwords and their permissions.
//!
//! What comes in are names, passwords and SASL responses, what goes out is yes or no. All of it is one value that
//! is replaced whole when something changes, so that readers need no lock. No I/O.
//!
//! - this file: users and permissions
//! - [`limits`][]: what vhosts and users may have at most
//! - [`password`][]: hashes
//! - [`sasl`][]: mechanisms
//! - [`topic`][]: permissions for routing keys of one exchange

pub mod limits;
pub mod password;
pub mod sasl;
pub mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;

use fancy_regex::{Regex, RegexBuilder};

use limits::{UserCounts, UserLimits};
use password::PasswordHash;

/// What a permission allows on a resource (RabbitMQ, "Access Control").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Configure,
    Write,
    Read,
}

impl Access {
    pub fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// A regular expression as it was given, and compiled.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub source: Box<str>,
    matcher: Matcher,
}

/// Steps that a pattern may go back for one name. Clients choose the names, and others wait meanwhile.
const STEPS_MAX: usize = 10_000;

/// Nearly all permissions are to everything or to nothing, which needs no regular expression, nor the memory for one.
#[derive(Clone, Debug)]
enum Matcher {
    Everything,
    /// The empty name, which is none.
    Nothing,
    Regex(Regex),
}

/// Why a pattern is none.
#[derive(Debug, thiserror::Error)]
#[error("invalid regular expression: {0}")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Compiles; an empty pattern matches nothing but the empty name, as in RabbitMQ.
    pub fn new(source: &str) -> Result<Self, InvalidPattern> {
        let matcher = match source {
            ".*" => Matcher::Everything,
            "" | "^$" => Matcher::Nothing,
            _ => {
                let compiled = RegexBuilder::new(source).backtrack_limit(STEPS_MAX).build();
                Matcher::Regex(compiled.map_err(|e| InvalidPattern(e.to_string()))?)
            }
        };
        Ok(Self { source: source.into(), matcher })
    }

    /// Whether it is found anywhere in the name. A pattern that takes too long does not match.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::Nothing => name.is_empty(),
            Matcher::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

/// A user's permissions in one vhost.
#[derive(Clone, Debug)]
pub struct Permission {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
}

impl Permission {
    /// Everything.
    pub fn all() -> Result<Self, InvalidPattern> {
        let all = Pattern::new(".*")?;
        Ok(Self { configure: all.clone(), write: all.clone(), read: all })
    }

    fn pattern(&self, access: Access) -> &Pattern {
        match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        }
    }
}

#[derive(Clone, Debug)]
pub struct User {
    pub name: Arc<str>,
    /// `None`: no password lets this user in.
    pub password: Option<PasswordHash>,
    pub tags: Vec<Box<str>>,
    pub permissions: BTreeMap<Box<str>, Permission>,
    pub limits: UserLimits,
    /// The same for all that this user has ever been, until they are deleted.
    pub counts: Arc<UserCounts>,
}

impl User {
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| **t == *tag)
    }

    pub fn is_administrator(&self) -> bool {
        self.has_tag("administrator")
    }
}

/// Why a login is refused. Clients are told the same for all of them; the log is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("user '{0}' - invalid credentials")]
    NoUser(String),
    #[error("user '{0}' - invalid credentials")]
    Password(String),
    #[error("user '{0}' can only connect via localhost")]
    Loopback(String),
    #[error("too many logins of user {0:?} from one address have failed")]
    TooMany(String),
    /// A certificate that is nobody's, or none.
    #[error("{0}")]
    Certificate(&'static str),
}

/// Everybody and everything they may do.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    users: BTreeMap<Box<str>, Arc<User>>,
    /// Users who may only come from this machine.
    loopback_only: Vec<Box<str>>,
    version: u64,
}

impl Auth {
    /// A number that grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }

    /// Lets a user in by password.
    ///
    /// `loopback` says whether the peer is on this machine. An empty password lets nobody in.
    pub fn login(&self, name: &str, password: &[u8], loopback: bool) -> Result<Arc<User>, Refused> {
        let user = self.users.get(name).ok_or_else(|| Refused::NoUser(name.to_owned()))?;
        let known = user.password.as_ref().is_some_and(|hash| hash.verify(password));
        if password.is_empty() || !known {
            return Err(Refused::Password(name.to_owned()));
        }
        self.check_origin(user, loopback)
    }

    /// Lets a user in whom somebody else has recognised (`EXTERNAL`).
    pub fn login_trusted(&self, name: &str, loopback: bool) -> Result<Arc<User>, Refused> {
        let user = self.users.get(name).ok_or_else(|| Refused::NoUser(name.to_owned()))?;
        self.check_origin(user, loopback)
    }

    fn check_origin(&self, user: &Arc<User>, loopback: bool) -> Result<Arc<User>, Refused> {
        if !loopback && self.loopback_only.iter().any(|name| **name == *user.name) {
            return Err(Refused::Loopback(user.name.to_string()));
        }
        Ok(Arc::clone(user))
    }

    /// Whether a user has any permission in a vhost.
    pub fn may_enter(&self, user: &str, vhost: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.permissions.contains_key(vhost))
    }

    /// Whether a user may do this to a resource of that name.
    pub fn permits(&self, user: &str, vhost: &str, access: Access, name: &str) -> bool {
        let permission = self.users.get(user).and_then(|user| user.permissions.get(vhost));
        permission.is_some_and(|permission| permission.pattern(access).matches(name))
    }

    /// Restricts a user to this machine.
    pub fn restrict_to_loopback(&mut self, name: &str) {
        self.loopback_only.push(name.into());
        self.version += 1;
    }

    /// Restricts these users to this machine, and nobody else.
    pub fn restrict_only_to_loopback<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.loopback_only = names.into_iter().map(Into::into).collect();
        self.version += 1;
    }

    /// Adds a user or replaces one; permissions and limits stay.
    pub fn put_user(&mut self, name: &str, password: Option<PasswordHash>, tags: Vec<Box<str>>) {
        let user = match self.users.get(name) {
            Some(before) => User { password, tags, ..User::clone(before) },
            None => User {
                name: name.into(),
                password,
                tags,
                permissions: BTreeMap::new(),
                limits: UserLimits::default(),
                counts: Arc::default(),
            },
        };
        self.users.insert(name.into(), Arc::new(user));
        self.version += 1;
    }

    /// Changes a user's limits. Returns the user as they are then, or `None` if there is none of that name.
    pub fn limit_user(&mut self, name: &str, change: impl FnOnce(&mut UserLimits)) -> Option<&Arc<User>> {
        let user = self.users.get_mut(name)?;
        change(&mut Arc::make_mut(user).limits);
        Some(user)
    }

    /// Removes a user, and says whether there was one.
    pub fn remove_user(&mut self, name: &str) -> bool {
        self.version += 1;
        self.users.remove(name).is_some()
    }

    /// Sets a user's permissions in a vhost. Returns whether there were none before, or `None` without that user.
    pub fn put_permission(&mut self, user: &str, vhost: &str, permission: Permission) -> Option<bool> {
        let user = self.users.get_mut(user)?;
        self.version += 1;
        Some(Arc::make_mut(user).permissions.insert(vhost.into(), permission).is_none())
    }

    /// Takes a user's permissions in a vhost away, and says whether there were any.
    pub fn remove_permission(&mut self, user: &str, vhost: &str) -> bool {
        self.version += 1;
        self.users.get_mut(user).is_some_and(|user| Arc::make_mut(user).permissions.remove(vhost).is_some())
    }

    /// A vhost goes, and everybody's permissions in it.
    pub fn forget_vhost(&mut self, vhost: &str) {
        self.version += 1;
        for user in self.users.values_mut().filter(|user| user.permissions.contains_key(vhost)) {
            Arc::make_mut(user).permissions.remove(vhost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        let mut auth = Auth::default();
        auth.put_user("guest", Some(PasswordHash::new(b"guest", [1; 4])), vec!["administrator".into()]);
        auth
    }

    #[test]
    fn logins() {
        let mut auth = auth();
        assert!(auth.login("guest", b"guest", false).is_ok());
        assert_eq!(auth.login("guest", b"no", true).unwrap_err(), Refused::Password("guest".into()));
        assert_eq!(auth.login("guest", b"", true).unwrap_err(), Refused::Password("guest".into()));
        assert_eq!(auth.login("who", b"guest", true).unwrap_err(), Refused::NoUser("who".into()));
        auth.restrict_to_loopback("guest");
        assert_eq!(auth.login("guest", b"guest", false).unwrap_err(), Refused::Loopback("guest".into()));
        assert!(auth.login("guest", b"guest", true).is_ok());
        auth.put_user("nopass", Some(PasswordHash::new(b"", [1; 4])), Vec::new());
        assert!(auth.login("nopass", b"", true).is_err(), "an empty password lets nobody in");
    }

    #[test]
    fn permissions_are_searched_not_anchored_and_empty_matches_nothing() {
        let mut auth = auth();
        let pattern = |source| Pattern::new(source).expect("a pattern");
        let permission =
            Permission { configure: pattern(""), write: pattern("b"), read: pattern("^(?!amq\\.).*$") };
        let before = auth.version();
        assert_eq!(auth.put_permission("guest", "/", permission.clone()), Some(true));
        assert_eq!(auth.put_permission("guest", "/", permission), Some(false));
        assert!(auth.version() > before);
        assert!(!auth.permits("guest", "/", Access::Configure, "q"));
        assert!(
            auth.permits("guest", "/", Access::Write, "abc")
                && !auth.permits("guest", "/", Access::Write, "x")
        );
        assert!(
            auth.permits("guest", "/", Access::Read, "q")
                && !auth.permits("guest", "/", Access::Read, "amq.x")
        );
        assert!(!auth.permits("guest", "other", Access::Read, "q") && !auth.may_enter("guest", "other"));
        assert!(Pattern::new("(").is_err());
        for (source, name, wanted) in [
            (".*", "", true),
            (".*", "a\nb", true),
            ("", "", true),
            ("", "a", false),
            ("^$", "", true),
            ("^$", "a", false),
            (".", "", false),
            ("^.*$", "a", true),
        ] {
            assert_eq!(Pattern::new(source).expect("a pattern").matches(name), wanted, "{source} {name:?}");
        }
    }
}
