//! What a node is started with: everything that files, variables and flags set, and the defaults of what they do not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::limits::Limits;
use super::management::Management;
use super::network::Network;
use super::people::People;
use super::values::{self, Allowed};
use super::{Entry, Layer};
use crate::broker::compatibility::Compatibility;
use crate::logs::settings::LogSettings;
use crate::node::NODE_NAME;

/// Settings, by what they are about.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub place: Place,
    pub network: Network,
    pub people: People,
    pub limits: Limits,
    pub management: Management,
    pub logs: LogSettings,
    /// Plugins that are on, by RabbitMQ's names.
    pub plugins: Vec<Box<str>>,
}

impl Settings {
    /// Sets what an entry says. `Ok(false)` means that the key is known, and makes no difference here.
    pub fn apply(&mut self, entry: &Entry) -> Result<bool, Allowed> {
        let key: Vec<&str> = entry.key.iter().map(String::as_str).collect();
        let (value, layer) = (entry.value.as_str(), entry.origin.layer());
        Ok(self.place.apply(&key, value)?
            || self.network.apply(&key, value, layer)?
            || self.people.apply(&key, value, layer)?
            || self.limits.apply(&key, value)?
            || self.management.apply(&key, value, layer)?
            || self.logs.apply(&key, value)?)
    }
}

/// What the node is called, and where it keeps what.
#[derive(Clone, Debug)]
pub struct Place {
    pub node_name: String,
    /// The node's name if there is none.
    pub cluster_name: Option<String>,
    pub data_dir: PathBuf,
    /// Nothing is kept.
    pub in_memory: bool,
    pub pid_file: Option<PathBuf>,
    pub compatibility: Compatibility,
    pub event_exchange: bool,
    /// Plugins, instead of those that a file names.
    pub plugins: Option<Vec<Box<str>>>,
    pub plugins_file: Option<PathBuf>,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            node_name: NODE_NAME.to_owned(),
            cluster_name: None,
            data_dir: "leveret-data".into(),
            in_memory: false,
            pid_file: None,
            compatibility: Compatibility::default(),
            event_exchange: false,
            plugins: None,
            plugins_file: None,
        }
    }
}

impl Place {
    fn apply(&mut self, key: &[&str], value: &str) -> Result<bool, Allowed> {
        match key {
            ["cluster_name"] => self.cluster_name = Some(value.to_owned()),
            // They are there before everything else is.
            ["config_entry_decoder", _] => {}
            ["leveret", "node_name"] => self.node_name = node_name(value)?,
            ["leveret", "data_dir"] => self.data_dir = value.into(),
            ["leveret", "in_memory"] => self.in_memory = values::boolean(value)?,
            ["leveret", "pid_file"] => self.pid_file = Some(value.into()),
            ["leveret", "compatibility"] => {
                self.compatibility = value.parse().map_err(|_| "one of 4.3, 4.0, 3.13".to_owned())?;
            }
            ["leveret", "event_exchange"] => self.event_exchange = values::boolean(value)?,
            ["leveret", "enabled_plugins"] => self.plugins = Some(values::list(value)),
            ["leveret", "enabled_plugins_file"] => self.plugins_file = Some(value.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A name with a host, which is this machine if none is given.
fn node_name(text: &str) -> Result<String, Allowed> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let name = match text.split_once('@') {
        None => format!("{text}@localhost"),
        Some(_) => text.to_owned(),
    };
    let (short, host) = name.split_once('@').unwrap_or_default();
    let good =
        !short.is_empty() && !host.is_empty() && short.chars().all(is_part) && host.chars().all(is_part);
    if good { Ok(name) } else { Err("a name such as rabbit@localhost".to_owned()) }
}

/// Things under names, all of which go when a source that counts more names any.
#[derive(Clone, Debug)]
pub struct Group<T> {
    layer: Layer,
    /// Whether anybody has said anything.
    said: bool,
    none: bool,
    items: BTreeMap<Box<str>, T>,
}

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self { layer: 0, said: false, none: false, items: BTreeMap::new() }
    }
}

impl<T> Group<T> {
    fn enter(&mut self, layer: Layer) {
        if layer > self.layer {
            *self = Self { layer, ..Self::default() };
        }
        self.said = true;
    }

    pub(super) fn put(&mut self, layer: Layer, name: &str, item: T) {
        self.enter(layer);
        self.items.insert(name.into(), item);
    }

    /// `none`: whatever else this source names.
    pub(super) fn put_none(&mut self, layer: Layer) {
        self.enter(layer);
        self.none = true;
    }

    /// What there is, by name, or nothing if nobody said anything.
    pub fn get(&self) -> Option<Vec<(&str, &T)>> {
        let items = self.items.iter().filter(|_| !self.none).map(|(name, item)| (&**name, item));
        self.said.then(|| items.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_goes_when_somebody_else_has_one() {
        let mut group = Group::default();
        assert_eq!(group.get(), None);
        group.put(1, "b", 2);
        group.put(1, "a", 1);
        assert_eq!(group.get(), Some(vec![("a", &1), ("b", &2)]));
        group.put(4, "c", 3);
        assert_eq!(group.get(), Some(vec![("c", &3)]));
        group.put_none(4);
        group.put(4, "d", 4);
        assert_eq!(group.get(), Some(Vec::new()), "none is none, whatever comes before or after");
    }

    #[test]
    fn names_of_nodes() {
        for (text, wanted) in [
            ("rabbit", Some("rabbit@localhost")),
            ("rabbit@my-host.example", Some("rabbit@my-host.example")),
            ("a@b@c", None),
            ("@b", None),
            ("a@", None),
            ("a b@c", None),
            ("", None),
        ] {
            assert_eq!(node_name(text).ok().as_deref(), wanted, "{text}");
        }
    }
}
