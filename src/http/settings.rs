//! How the API is served, as whoever starts the node sets it.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;

/// What RabbitMQ sets under `management.`, which each field names. Listeners, and TLS on them, are not among it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// `path_prefix`: what all paths begin with. Empty, or begins with a slash and does not end with one.
    pub path_prefix: String,
    /// `http.max_body_size`: octets a request's body may have.
    pub body_max: usize,
    /// `login_session_timeout`: how long a login lasts; `None` is RabbitMQ's default of eight hours, and not told to
    /// those who log in.
    pub login_session: Option<Duration>,
    /// `disable_basic_auth`: nobody gets in with a name and a password.
    pub no_basic_auth: bool,
    /// `cors.allow_origins`: pages from these origins may use the API; `*` is every origin, without credentials.
    pub cors_origins: Vec<String>,
    /// `cors.max_age`: how long browsers may remember that, in seconds.
    pub cors_max_age: u64,
    /// `csp.policy`: the header `Content-Security-Policy`.
    pub csp: Option<HeaderValue>,
    /// `hsts.policy`: the header `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
    /// `headers.content_type_options`: the header `X-Content-Type-Options`.
    pub content_type_options: Option<HeaderValue>,
    /// `headers.xss_protection`: the header `X-XSS-Protection`.
    pub xss_protection: Option<HeaderValue>,
    /// `headers.frame_options`: the header `X-Frame-Options`.
    pub frame_options: Option<HeaderValue>,
    /// `headers.referrer_policy`: the header `Referrer-Policy`.
    pub referrer_policy: Option<HeaderValue>,
    /// `http.hide_allow_header`: the header `Allow` comes with 405 only.
    pub hide_allow: bool,
    /// `tcp.max_connections`: as many connections are served at a time on a listener; others wait to be accepted, so
    /// that AMQP always has sockets left.
    pub connections_max: usize,
    /// `tcp.idle_timeout`: how long a connection may take to send a request's head, which is also how long it may be
    /// idle, and how long is waited for a part of a body, or for a part of a reply to be read.
    pub idle: Duration,
    /// `restrictions.operator_policy_changes.disabled`
    pub operator_policies_are_fixed: bool,
    /// `restrictions.quorum_queue_replica_operations.disabled`
    pub replicas_are_fixed: bool,
    /// `definitions.require_json_extension`: uploaded files must be named `*.json`.
    pub only_json_files: bool,
    /// `ui_dir`, which RabbitMQ does not have: a folder with the files of a web interface, served instead of
    /// Leveret's own page.
    pub ui: Option<PathBuf>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            path_prefix: String::new(),
            body_max: 10_000_000,
            login_session: None,
            no_basic_auth: false,
            cors_origins: Vec::new(),
            cors_max_age: 1800,
            csp: Some(HeaderValue::from_static("script-src 'self'; object-src 'self'")),
            hsts: None,
            content_type_options: None,
            xss_protection: None,
            frame_options: None,
            referrer_policy: None,
            hide_allow: false,
            connections_max: 500,
            idle: Duration::from_secs(60),
            operator_policies_are_fixed: false,
            replicas_are_fixed: false,
            only_json_files: false,
            ui: None,
        }
    }
}

/// How metrics are served on their own port, as RabbitMQ sets it under `prometheus.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `path`: where they are. Begins with a slash and does not end with one.
    pub path: String,
    /// `return_per_object_metrics`: what is asked for nothing special tells of each object.
    pub per_object: bool,
    /// `authentication.enabled`: only those who monitor get them.
    pub authentication: bool,
    /// `tcp.max_connections`: as many connections are served at a time on a listener.
    pub connections_max: usize,
    /// `tcp.idle_timeout`: how long a connection may be idle.
    pub idle: Duration,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        let HttpSettings { connections_max, idle, .. } = HttpSettings::default();
        Self { path: "/metrics".to_owned(), per_object: false, authentication: false, connections_max, idle }
    }
}
