//! Who a new node begins with, how they log in, and what it imports: `default_*`, `loopback_users`, `auth_mechanisms`,
//! `definitions.*` and the like.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Layer;
use super::settings::Group;
use super::values::{self, Allowed};
use crate::auth::sasl::{Mechanism, Mechanisms};
use crate::net::tls::ClientSettings;

/// Everything that the default user may do, unless somebody says otherwise.
const EVERYTHING: &str = ".*";

#[derive(Clone, Debug)]
pub struct People {
    pub user: String,
    pub password: String,
    pub vhost: String,
    pub tags: Group<bool>,
    /// To configure, write and read.
    pub permissions: [String; 3],
    /// More users, by name, who get into the vhosts that a pattern matches.
    pub more: BTreeMap<String, MoreUser>,
    /// More vhosts (of Bitnami's variable).
    pub vhosts: Group<bool>,
    /// Users who may only come from this machine: `true`.
    pub loopback: Group<bool>,
    mechanisms: Group<Option<Mechanism>>,
    /// Who `ANONYMOUS` is; `None`: nobody.
    pub anonymous: Option<String>,
    pub anonymous_password: String,
    pub definitions: Definitions,
    pub validator: Validator,
}

/// A user of `default_users`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoreUser {
    pub password: Option<String>,
    pub tags: Vec<Box<str>>,
    pub vhost_pattern: Option<String>,
    /// To configure, write and read.
    pub permissions: [Option<String>; 3],
}

/// What is imported when the node starts.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// Files, or folders of files.
    pub paths: Vec<PathBuf>,
    url: Option<String>,
    /// Whether they are at that address.
    remote: bool,
    pub tls: ClientSettings,
    /// Whether files are left alone that have not changed since they were imported.
    pub skip_if_unchanged: bool,
}

impl Definitions {
    /// Where a file of them is to be had.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref().filter(|_| self.remote)
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.url().is_none()
    }

    fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            ["local", "path"] => {
                let path = PathBuf::from(value);
                if !self.paths.contains(&path) {
                    self.paths.push(path);
                }
            }
            ["import_backend"] => self.remote = !value.contains("local"),
            ["https", "url"] => self.url = Some(value.to_owned()),
            ["tls", "cacertfile"] => self.tls.cacertfile = Some(value.into()),
            ["tls", "certfile"] => self.tls.certfile = Some(value.into()),
            ["tls", "keyfile"] => self.tls.keyfile = Some(value.into()),
            ["tls", "password"] => self.tls.password = Some(value.to_owned()),
            ["tls", "verify"] => self.tls.trusts_anybody = value == "verify_none",
            ["skip_if_unchanged"] => self.skip_if_unchanged = values::boolean(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Which passwords users may be given.
#[derive(Clone, Debug, Default)]
pub struct Validator {
    pub min_length: usize,
    pub pattern: Option<String>,
    backend: Backend,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Backend {
    #[default]
    Everything,
    MinLength,
    Pattern,
}

impl Validator {
    /// The length that passwords have to have.
    pub fn length(&self) -> Option<usize> {
        (self.backend == Backend::MinLength).then_some(self.min_length)
    }

    /// The pattern that they have to match.
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref().filter(|_| self.backend == Backend::Pattern)
    }
}

impl Default for People {
    fn default() -> Self {
        Self {
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
            tags: Group::default(),
            permissions: [EVERYTHING; 3].map(str::to_owned),
            more: BTreeMap::new(),
            vhosts: Group::default(),
            loopback: Group::default(),
            mechanisms: Group::default(),
            anonymous: Some("guest".to_owned()),
            anonymous_password: "guest".to_owned(),
            definitions: Definitions::default(),
            validator: Validator::default(),
        }
    }
}

impl People {
    /// The tags of the default user.
    pub fn default_tags(&self) -> Vec<Box<str>> {
        match self.tags.get() {
            Some(tags) => tags.into_iter().filter(|(_, on)| **on).map(|(tag, _)| tag.into()).collect(),
            None => vec!["administrator".into()],
        }
    }

    /// How clients may log in.
    pub fn mechanisms(&self) -> Mechanisms {
        let offered = match self.mechanisms.get() {
            Some(named) => named.into_iter().filter_map(|(_, mechanism)| *mechanism).collect(),
            None => Mechanisms::default().offered,
        };
        let anonymous = self.anonymous.clone().map(|user| (user, self.anonymous_password.clone()));
        Mechanisms { offered, anonymous }
    }

    /// Users who may only come from this machine.
    pub fn loopback_users(&self) -> Vec<&str> {
        match self.loopback.get() {
            Some(users) => users.into_iter().filter(|(_, on)| **on).map(|(user, _)| user).collect(),
            None => vec!["guest"],
        }
    }

    pub(super) fn apply(&mut self, key: &[&str], value: &str, layer: Layer) -> Result<bool, Allowed> {
        match key {
            ["default_user"] => self.user = value.to_owned(),
            ["default_pass"] => self.password = value.to_owned(),
            ["default_vhost"] => self.vhost = value.to_owned(),
            ["default_user_tags", tag] => self.tags.put(layer, tag, values::boolean(value)?),
            ["default_permissions", which] => {
                if let Some(place) = index(which).and_then(|index| self.permissions.get_mut(index)) {
                    *place = pattern(value)?;
                }
            }
            ["default_users", user, setting] => self.more_user(user, setting, value)?,
            ["leveret", "vhosts", vhost] => self.vhosts.put(layer, vhost, true),
            ["loopback_users"] => self.loopback.put_none(layer),
            ["loopback_users", user] => self.loopback.put(layer, user, values::boolean(value)?),
            ["auth_mechanisms", name] => self.mechanisms.put(layer, name, mechanism(value)?),
            ["anonymous_login_user"] => self.anonymous = (value != "none").then(|| value.to_owned()),
            ["anonymous_login_pass"] => self.anonymous_password = value.to_owned(),
            ["load_definitions"] | ["management", "load_definitions"] => {
                return self.definitions.apply(&["local", "path"], value);
            }
            ["definitions", rest @ ..] => return self.definitions.apply(rest, value),
            ["credential_validator", setting] => self.validator(setting, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn more_user(&mut self, user: &str, setting: &str, value: &str) -> Result<(), Allowed> {
        let user = self.more.entry(user.to_owned()).or_default();
        match setting {
            "password" => user.password = Some(value.to_owned()),
            "tags" => user.tags = values::list(value),
            "vhost_pattern" => user.vhost_pattern = Some(pattern(value)?),
            which => {
                if let Some(place) = index(which).and_then(|index| user.permissions.get_mut(index)) {
                    *place = Some(pattern(value)?);
                }
            }
        }
        Ok(())
    }

    fn validator(&mut self, setting: &str, value: &str) -> Result<(), Allowed> {
        match setting {
            "min_length" => self.validator.min_length = values::between(value, 0, i64::MAX)?,
            "regexp" => self.validator.pattern = Some(pattern(value)?),
            _ => {
                self.validator.backend = match value {
                    "rabbit_credential_validator_min_password_length" => Backend::MinLength,
                    "rabbit_credential_validator_password_regexp" => Backend::Pattern,
                    "rabbit_credential_validator_accept_everything" => Backend::Everything,
                    _ => return Err(VALIDATORS.to_owned()),
                };
            }
        }
        Ok(())
    }
}

const VALIDATORS: &str = "rabbit_credential_validator_accept_everything, \
    rabbit_credential_validator_min_password_length or rabbit_credential_validator_password_regexp";

/// Where a permission's pattern lies.
fn index(which: &str) -> Option<usize> {
    ["configure", "write", "read"].iter().position(|name| *name == which)
}

/// A regular expression.
pub(super) fn pattern(value: &str) -> Result<String, Allowed> {
    match crate::auth::Pattern::new(value) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(format!("a regular expression ({error})")),
    }
}

/// A mechanism by its name. RabbitMQ's demonstration is none that anybody uses.
fn mechanism(value: &str) -> Result<Option<Mechanism>, Allowed> {
    match value {
        "RABBIT-CR-DEMO" => Ok(None),
        _ => value.parse().map(Some).map_err(|_| "PLAIN, AMQPLAIN, ANONYMOUS or EXTERNAL".to_owned()),
    }
}
