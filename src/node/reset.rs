//! Making a node new again: for tests, which want to begin with nothing.

use std::time::Duration;

use tokio::time::timeout;

use super::Node;
use crate::auth::InvalidPattern;
use crate::wire::reply::{Exception, ReplyCode};

/// How long connections have to end.
const END: Duration = Duration::from_secs(3);

impl Node {
    /// Closes all connections, removes vhosts, users and parameters with everything that belongs to them, and begins anew,
    /// as a node that has never been used. What it was started with stays: its settings, its listeners, its name; and so do
    /// limits, alarms and a log level that somebody has set while it runs, and samples of the node itself. Hashes
    /// passwords, so it is to be called where nobody waits.
    pub fn reset(&self) -> Result<(), InvalidPattern> {
        tracing::warn!("the node is reset: everything in it is removed");
        let why = Exception::new(ReplyCode::ConnectionForced, "the node is reset");
        self.connections.close_where(&why, |_| true);
        for vhost in self.vhosts() {
            self.remove_vhost(&vhost.name);
        }
        let auth = self.auth();
        self.remove_users(&auth.users().map(|user| &*user.name).collect::<Vec<_>>());
        for name in self.parameters().into_keys() {
            self.remove_parameter(&name);
        }
        self.attempts.all().iter().for_each(|(_, attempts)| attempts.reset());
        self.logins.forget();
        self.begin()
    }

    /// Waits until connections have ended that a reset has closed, for a while at the most.
    pub async fn until_reset(&self) {
        if timeout(END, self.connections.none_left()).await.is_err() {
            tracing::warn!("some connections did not end in time after a reset, or came since");
        }
    }
}
