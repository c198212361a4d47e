//! Permissions: may this user configure, write to, or read from this resource.

use super::{Context, Session};
use crate::auth::Access;
use crate::broker::compatibility::Hint;
use crate::wire::reply::Exception;

impl Session {
    pub(super) fn may_configure(&self, cx: &Context<'_>, kind: &str, name: &str) -> Result<(), Exception> {
        self.may(cx, Access::Configure, kind, name.as_bytes())
    }

    /// Leave for a passive declaration.
    pub(super) fn may_look_at(&self, cx: &Context<'_>, kind: &str, name: &str) -> Result<(), Exception> {
        if !cx.vhost.compatibility.guards_passive_declares() {
            return Ok(());
        }
        self.may_configure(cx, kind, name).inspect_err(|_| Hint::PassiveDeclare.log_once())
    }

    pub(super) fn may_write(&self, cx: &Context<'_>, kind: &str, name: &[u8]) -> Result<(), Exception> {
        self.may(cx, Access::Write, kind, name)
    }

    pub(super) fn may_read(&self, cx: &Context<'_>, kind: &str, name: &[u8]) -> Result<(), Exception> {
        self.may(cx, Access::Read, kind, name)
    }

    /// Refuses with RabbitMQ's text. The default exchange is called `amq.default` here.
    fn may(&self, cx: &Context<'_>, access: Access, kind: &str, name: &[u8]) -> Result<(), Exception> {
        let name: &[u8] = if kind == "exchange" && name.is_empty() { b"amq.default" } else { name };
        let user = &self.settings.user;
        if cx.auth.permits(user, &self.settings.vhost, access, &String::from_utf8_lossy(name)) {
            return Ok(());
        }
        Err(Exception::access_refused(format!(
            "{} access to {} refused for user '{user}'",
            access.name(),
            cx.vhost.describe(kind, name)
        )))
    }
}
