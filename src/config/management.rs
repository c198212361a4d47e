//! How the HTTP API and metrics are served: `management.*`, `prometheus.*`.

use std::time::Duration;

use axum::http::HeaderValue;

use super::Layer;
use super::settings::Group;
use super::values::{self, Allowed};
use crate::http::settings::{HttpSettings, MetricsSettings};
use crate::node::samples::RatesMode;

#[derive(Clone, Debug, Default)]
pub struct Management {
    pub http: HttpSettings,
    origins: Group<String>,
    pub rates_mode: RatesMode,
    /// `management.disable_stats` or `management_agent.disable_metrics_collector`.
    pub no_statistics: bool,
    /// `management.enable_queue_totals`: lengths of queues are told all the same.
    pub queue_totals: bool,
    pub metrics: MetricsSettings,
}

impl Management {
    /// The settings of the HTTP API, with all that groups of settings come to.
    pub fn http(&self) -> HttpSettings {
        let origins = self.origins.get().unwrap_or_default();
        let cors_origins = origins.into_iter().map(|(_, origin)| origin.clone()).collect();
        HttpSettings { cors_origins, ..self.http.clone() }
    }

    pub(super) fn apply(&mut self, key: &[&str], value: &str, layer: Layer) -> Result<bool, Allowed> {
        let http = &mut self.http;
        match key {
            ["management", "path_prefix"] => http.path_prefix = path(value)?,
            ["management", "http", "max_body_size"] => http.body_max = values::between(value, 0, i64::MAX)?,
            ["management", "http", "hide_allow_header"] => http.hide_allow = values::boolean(value)?,
            ["management", "login_session_timeout"] => {
                let minutes: u64 = values::between(value, 0, 1 << 32)?;
                http.login_session = Some(Duration::from_secs(60 * minutes));
            }
            ["management", "disable_basic_auth"] => http.no_basic_auth = values::boolean(value)?,
            ["management", "cors", "allow_origins"] => self.origins.put_none(layer),
            ["management", "cors", "allow_origins", name] => self.origins.put(layer, name, value.to_owned()),
            ["management", "cors", "max_age"] => http.cors_max_age = values::between(value, 0, i64::MAX)?,
            ["management", "csp", "policy"] => http.csp = Some(header(value)?),
            ["management", "hsts", "policy"] => http.hsts = Some(header(value)?),
            ["management", "headers", "content_type_options"] => {
                http.content_type_options = Some(header(value)?);
            }
            ["management", "headers", "xss_protection"] => http.xss_protection = Some(header(value)?),
            ["management", "headers", "frame_options"] => http.frame_options = Some(header(value)?),
            ["management", "headers", "referrer_policy"] => http.referrer_policy = Some(header(value)?),
            ["management", "tcp", "max_connections"] => http.connections_max = connections(value)?,
            ["management", "tcp", "idle_timeout"] => {
                http.idle = Duration::from_millis(values::between(value, 1, i64::MAX)?);
            }
            ["management", "restrictions", "operator_policy_changes", "disabled"] => {
                http.operator_policies_are_fixed = values::boolean(value)?;
            }
            ["management", "restrictions", "quorum_queue_replica_operations", "disabled"] => {
                http.replicas_are_fixed = values::boolean(value)?;
            }
            ["management", "definitions", "require_json_extension"] => {
                http.only_json_files = values::boolean(value)?;
            }
            ["leveret", "ui_dir"] => http.ui = Some(value.into()),
            ["management", "rates_mode"] => {
                let mode = RatesMode::from_name(value);
                self.rates_mode = mode.ok_or_else(|| "basic, detailed or none".to_owned())?;
            }
            ["management", "enable_queue_totals"] => self.queue_totals = values::boolean(value)?,
            ["management", "disable_stats"] | ["management_agent", "disable_metrics_collector"] => {
                self.no_statistics = values::boolean(value)?;
            }
            ["prometheus", option @ ..] => return metrics(&mut self.metrics, option, value),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// How metrics are served.
fn metrics(metrics: &mut MetricsSettings, option: &[&str], value: &str) -> Result<bool, Allowed> {
    match option {
        ["path"] => match path(value)? {
            // All of the port is theirs, and this is where they are looked for first.
            path if path.is_empty() => "/metrics".clone_into(&mut metrics.path),
            path => metrics.path = path,
        },
        ["return_per_object_metrics"] => metrics.per_object = values::boolean(value)?,
        ["authentication", "enabled"] => metrics.authentication = values::boolean(value)?,
        ["tcp", "max_connections"] => metrics.connections_max = connections(value)?,
        ["tcp", "idle_timeout"] => {
            metrics.idle = Duration::from_millis(values::between(value, 1, i64::MAX)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// As many connections as are served at a time.
fn connections(value: &str) -> Result<usize, Allowed> {
    if value == "infinity" { Ok(usize::MAX) } else { values::between(value, 1, i64::MAX) }
}

/// A prefix of paths: empty, or with a slash in front and none at the end.
fn path(value: &str) -> Result<String, Allowed> {
    let bare = value.trim_matches('/');
    if bare.chars().any(|c| c.is_whitespace() || c.is_control() || "?#".contains(c)) {
        return Err("a path such as /rabbit".to_owned());
    }
    Ok(if bare.is_empty() { String::new() } else { format!("/{bare}") })
}

fn header(value: &str) -> Result<HeaderValue, Allowed> {
    HeaderValue::from_str(value).map_err(|_| "the text of a header".to_owned())
}
