//! Who asks, and what they may see and do.
//!
//! A handler says who may call it by what it takes: [`Caller`] is anybody with one of the management tags,
//! [`Policymaker`] somebody who may set policies, [`Monitor`] somebody who looks after the node, [`Administrator`] only an administrator.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use amq_protocol::types::{AMQPValue, FieldTable};
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::refusal::Refusal;
use super::settings::HttpSettings;
use crate::auth::limits::UserLimits;
use crate::auth::sasl::Credentials;
use crate::auth::{Access, Auth, User};
use crate::node::Node;
use crate::node::cell::VhostCell;
use crate::node::events::acting_for;

/// The tags each of which lets a user use the API (RabbitMQ, "Access and Permissions" of the management plugin).
const TAGS: [&str; 4] = ["administrator", "monitoring", "policymaker", "management"];

/// What RabbitMQ's command-line tools are called where it says who did something.
pub(super) const CONTROL: &str = "rmq-cli";

/// Marks what comes over the control socket: whoever may open it may do everything.
#[derive(Clone, Copy)]
pub(super) struct Trusted;

/// A user of the API.
pub(super) struct Caller {
    pub user: Arc<User>,
    trusted: bool,
    /// Users and permissions as they were when the request came, or were looked at last.
    auth: Arc<Auth>,
}

/// A user of the API who may set policies, or look at parameters.
pub(super) struct Policymaker(pub Caller);

/// A user of the API who may see how the node does.
pub(super) struct Monitor;

/// A user of the API who is an administrator.
pub(super) struct Administrator(pub Caller);

impl Caller {
    fn trusted(node: &Node) -> Self {
        let user = User {
            name: CONTROL.into(),
            password: None,
            tags: vec!["administrator".into()],
            permissions: BTreeMap::new(),
            limits: UserLimits::default(),
            counts: Arc::default(),
        };
        Self { user: Arc::new(user), trusted: true, auth: node.auth() }
    }

    /// For what goes on for long: users and permissions as they are now, from here on.
    pub(super) fn look_again(&mut self, node: &Node) {
        self.auth = node.auth();
    }

    pub(super) fn is_administrator(&self) -> bool {
        self.user.is_administrator()
    }

    /// Whether they may see everybody's connections, and that there are vhosts which they may not enter.
    pub(super) fn monitors(&self) -> bool {
        self.is_administrator() || self.user.has_tag("monitoring")
    }

    /// Whether they could connect to a vhost.
    pub(super) fn may_enter(&self, vhost: &str) -> bool {
        self.trusted || self.auth.may_enter(&self.user.name, vhost)
    }

    /// Whether they may look into a vhost.
    pub(super) fn sees(&self, vhost: &str) -> bool {
        self.is_administrator() || self.may_enter(vhost)
    }

    /// The vhosts they may look into, by name.
    pub(super) fn vhosts(&self, node: &Node) -> Vec<Arc<VhostCell>> {
        node.vhosts().into_iter().filter(|vhost| self.sees(&vhost.name)).collect()
    }

    /// A vhost to look into.
    pub(super) fn vhost(&self, node: &Node, name: &str) -> Result<Arc<VhostCell>, Refusal> {
        let vhost = node.vhost(name).ok_or(Refusal::NotFound)?;
        if self.sees(name) { Ok(vhost) } else { Err(Refusal::out_of_reach()) }
    }

    /// The same to put something in.
    pub(super) fn vhost_to_change(&self, node: &Node, name: &str) -> Result<Arc<VhostCell>, Refusal> {
        node.vhost(name).ok_or_else(|| Refusal::Missing("vhost_not_found".to_owned()))?;
        self.vhost(node, name)
    }

    /// Refuses what the user's permissions do not cover, be they an administrator or not. An empty name is that of the
    /// default exchange.
    pub(super) fn check(&self, vhost: &str, access: Access, name: &str) -> Result<(), Refusal> {
        let name = if name.is_empty() { "amq.default" } else { name };
        if self.trusted || self.auth.permits(&self.user.name, vhost, access, name) {
            return Ok(());
        }
        Err(Refusal::access_refused())
    }

    /// Refuses whoever may not have messages go on from what they declare to the exchange that an argument names.
    pub(super) fn check_way(
        &self,
        vhost: &str,
        name: &str,
        arguments: &FieldTable,
        key: &str,
    ) -> Result<(), Refusal> {
        let Some(AMQPValue::LongString(exchange)) = arguments.inner().get(key) else { return Ok(()) };
        self.check(vhost, Access::Read, name)?;
        self.check(vhost, Access::Write, &String::from_utf8_lossy(exchange.as_bytes()))
    }
}

impl FromRequestParts<Arc<Node>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Refusal> {
        if parts.extensions.get::<Trusted>().is_some() {
            return Ok(Self::trusted(node));
        }
        let settings = parts.extensions.get::<Arc<HttpSettings>>().cloned().unwrap_or_default();
        let (name, password) = credentials(parts).map_err(|refusal| match refusal {
            Refusal::LoginNeeded if settings.no_basic_auth => {
                Refusal::NotAuthorised("HTTP access denied: no credentials")
            }
            other => other,
        })?;
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let user = log_in(node, &settings, peer, name, password).await?;
        Ok(Self { user, trusted: false, auth: node.auth() })
    }
}

impl FromRequestParts<Arc<Node>> for Policymaker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, node).await?;
        if !caller.is_administrator() && !caller.user.has_tag("policymaker") {
            return Err(Refusal::NotAuthorised("User not authorised to access object"));
        }
        Ok(Self(caller))
    }
}

impl FromRequestParts<Arc<Node>> for Monitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, node).await?;
        if caller.monitors() { Ok(Self) } else { Err(Refusal::NotAuthorised("Not monitor user")) }
    }
}

impl FromRequestParts<Arc<Node>> for Administrator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, node).await?;
        if !caller.is_administrator() {
            return Err(Refusal::NotAuthorised("Not administrator user"));
        }
        Ok(Self(caller))
    }
}

/// Finds the user of this name and password, who may use the API.
pub(super) async fn log_in(
    node: &Node,
    settings: &HttpSettings,
    peer: Option<SocketAddr>,
    name: String,
    password: Vec<u8>,
) -> Result<Arc<User>, Refusal> {
    if settings.no_basic_auth {
        return Err(Refusal::NotAuthorised("HTTP access denied: basic auth disabled"));
    }
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    let credentials = Credentials::Password { user: name, password };
    let found = node.log_in(credentials, (address, address.is_loopback())).await.map_err(|refused| {
        tracing::warn!("HTTP access denied: {refused}");
        Refusal::LoginFailed
    });
    let user = found.and_then(|user| {
        let uses_api = TAGS.iter().any(|tag| user.has_tag(tag));
        if uses_api { Ok(user) } else { Err(Refusal::NotAuthorised("Not management user")) }
    });
    node.attempts.http.note(user.is_ok());
    user
}

/// Says on whose behalf a request is handled, for those who are told of it. Whether it is handled at all, is decided
/// later.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let trusted = parts.extensions.get::<Trusted>().is_some();
    let name = if trusted { Ok(CONTROL.to_owned()) } else { credentials(&parts).map(|(name, _)| name) };
    let request = Request::from_parts(parts, body);
    match name {
        Ok(name) => acting_for(name.into(), next.run(request)).await,
        Err(_) => next.run(request).await,
    }
}

/// Name and password out of the `Authorization` header (RFC 7617).
fn credentials(parts: &Parts) -> Result<(String, Vec<u8>), Refusal> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(Refusal::LoginNeeded)?;
    let (scheme, rest) =
        header.to_str().ok().and_then(|h| h.split_once(' ')).ok_or(Refusal::BadCredentials)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::LoginFailed);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refusal::BadCredentials);
    }
    let octets = STANDARD.decode(rest.trim()).map_err(|_| Refusal::BadCredentials)?;
    let colon = octets.iter().position(|octet| *octet == b':').ok_or(Refusal::BadCredentials)?;
    // A name that is not UTF-8 is nobody's.
    let name = String::from_utf8(octets[..colon].to_vec()).map_err(|_| Refusal::LoginFailed)?;
    Ok((name, octets[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(authorization: &str) -> Result<(String, Vec<u8>), Refusal> {
        let request = axum::http::Request::builder().header(AUTHORIZATION, authorization).body(());
        credentials(&request.expect("a request").into_parts().0)
    }

    #[test]
    fn basic_credentials() {
        let guest = Ok(("guest".to_owned(), b"guest".to_vec()));
        assert_eq!(read("Basic Z3Vlc3Q6Z3Vlc3Q="), guest);
        assert_eq!(read("basic Z3Vlc3Q6Z3Vlc3Q="), guest);
        // "a:b:c": only the first colon divides.
        assert_eq!(read("Basic YTpiOmM="), Ok(("a".to_owned(), b"b:c".to_vec())));
    }

    #[test]
    fn other_credentials() {
        for wrong in ["", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Digest x"] {
            assert_eq!(read(wrong), Err(Refusal::BadCredentials), "{wrong:?}");
        }
        assert_eq!(read("Bearer x"), Err(Refusal::LoginFailed));
    }
}
