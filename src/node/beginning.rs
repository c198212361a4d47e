//! What a node has that has never been used: its first vhosts and users, and who may only come from this machine.

use super::{Node, salt};
use crate::auth::password::PasswordHash;
use crate::auth::{InvalidPattern, Pattern, Permission};

/// What a new node begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The first one is the default one.
    pub vhosts: Vec<String>,
    pub users: Vec<FirstUser>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstUser {
    pub name: String,
    pub password: String,
    pub tags: Vec<Box<str>>,
    /// What they may configure, write and read in all vhosts that a new node begins with.
    pub permissions: [String; 3],
}

impl Default for Beginning {
    /// The vhost `/` and the administrator `guest`.
    fn default() -> Self {
        let guest = FirstUser {
            name: "guest".to_owned(),
            password: "guest".to_owned(),
            tags: vec!["administrator".into()],
            permissions: [".*"; 3].map(str::to_owned),
        };
        Self { vhosts: vec!["/".to_owned()], users: vec![guest] }
    }
}

impl Node {
    /// The same node with something else to begin with.
    #[must_use]
    pub fn beginning_with(mut self, beginning: Beginning) -> Self {
        self.beginning = beginning;
        self
    }

    /// The same node with other users who may only come from this machine.
    #[must_use]
    pub fn with_loopback_users<'a>(self, users: impl IntoIterator<Item = &'a str>) -> Self {
        self.change_auth(|auth| {
            auth.restrict_only_to_loopback(users);
            ((), None)
        });
        self
    }

    /// The vhost that a new node begins with.
    pub fn default_vhost(&self) -> &str {
        self.beginning.vhosts.first().map_or("/", String::as_str)
    }

    /// Makes what a node has that has never been used.
    pub fn begin(&self) -> Result<(), InvalidPattern> {
        for (number, vhost) in self.beginning.vhosts.iter().enumerate() {
            let description = if number == 0 { "Default virtual host" } else { "" };
            tracing::info!("Adding vhost '{vhost}' (description: '{description}', tags: [])");
            self.put_vhost(vhost, |about| {
                about.description = description.to_owned();
                about.default_queue_type = self.default_queue_type;
            });
        }
        for user in &self.beginning.users {
            self.begin_user(user)?;
        }
        self.begin_parameters();
        Ok(())
    }

    fn begin_user(&self, user: &FirstUser) -> Result<(), InvalidPattern> {
        let FirstUser { name, password, tags, permissions } = user;
        self.put_user(name, Some(PasswordHash::new(password.as_bytes(), salt())), tags.clone());
        tracing::info!(target: "user", "Created user '{name}'");
        tracing::info!(target: "user", "Successfully set user tags for user '{name}' to [{}]", tags.join(","));
        let [configure, write, read] = permissions;
        let permission = Permission {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        };
        for vhost in &self.beginning.vhosts {
            self.put_permission(name, vhost, permission.clone());
            tracing::info!(
                target: "user",
                "Successfully set permissions for user '{name}' in virtual host '{vhost}' to '{configure}', '{write}', '{read}'"
            );
        }
        Ok(())
    }
}
