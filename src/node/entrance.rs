//! Who may come in: connections that open, and their limits.

use std::sync::Arc;

use super::Node;
use super::cell::VhostCell;
use crate::auth::limits::{Counted, Limit};
use crate::session::handshake::Opening;
use crate::wire::reply::Exception;

/// A connection's place among those of its vhost, of its user, and of the node, for as long as it lives. A client that
/// has said goodbye has it until it ends the TCP connection.
#[derive(Debug)]
pub struct Place {
    _of_node: Counted,
    _of_vhost: Counted,
    _of_user: Option<Counted>,
}

impl Node {
    /// How many clients are connected over AMQP, and whether there may be no more.
    pub fn connection_count(&self) -> (usize, bool) {
        let count = self.connection_count.get();
        (count, self.connection_max.is_some_and(|max| max.is_reached(count)))
    }

    /// The vhost a client asks for, if it is there and has room, and the user may enter. In RabbitMQ's order.
    pub fn enter(&self, opening: &Opening) -> Result<(Arc<VhostCell>, Place), Exception> {
        let (name, wanted) = (&opening.settings.user, &opening.settings.vhost);
        let of_node = self.connection_count.add(self.connection_max).map_err(|Limit(max)| {
            Exception::not_allowed(format!("connection refused: node connection limit ({max}) is reached"))
        })?;
        let vhost =
            self.vhost(wanted).ok_or_else(|| Exception::not_allowed(format!("vhost {wanted} not found")))?;
        let refused = format!("access to vhost '{wanted}' refused for user '{name}'");
        let limit = vhost.about().limits.and_then(|limits| limits.max_connections);
        let of_vhost = vhost.connections.add(limit).map_err(|Limit(max)| {
            Exception::not_allowed(format!("{refused}: connection limit ({max}) is reached"))
        })?;
        let auth = self.auth();
        let user = auth.user(name);
        let of_user = user.map(|user| user.counts.connections.add(user.limits.max_connections));
        let of_user = of_user.transpose().map_err(|Limit(max)| {
            Exception::not_allowed(format!(
                "connection refused for user '{name}': user connection limit ({max}) is reached"
            ))
        })?;
        if !auth.may_enter(name, wanted) {
            return Err(Exception::not_allowed(refused));
        }
        Ok((vhost, Place { _of_node: of_node, _of_vhost: of_vhost, _of_user: of_user }))
    }
}
