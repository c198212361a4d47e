//! Every reply that is no success, as RabbitMQ words it.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::node::changes::NotKept;
use crate::wire::reply::{Exception, ReplyCode};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    /// No name and password were given; a browser asks for them.
    LoginNeeded,
    /// The `Authorization` header makes no sense.
    BadCredentials,
    /// This name and password let nobody in.
    LoginFailed,
    /// The caller is known, and may not do this.
    NotAuthorised(&'static str),
    /// The same, in the broker's words.
    Refused(String),
    /// A page from elsewhere may not ask for this.
    Foreign,
    /// There is no such thing.
    NotFound,
    /// There is no such thing, and this says more about it.
    Missing(String),
    /// The request makes no sense; mostly a text.
    BadRequest(Value),
    /// A list has no such page, or such a range: an error with a name of its own, and what it is about.
    Page(&'static str, String),
    /// It makes sense, but not now.
    Precondition(String),
    /// The settings do not let anybody do this here.
    Closed(&'static str),
    /// The body is not of the type that is wanted.
    MediaType,
    /// The node has no way to do it.
    Unavailable(&'static str),
    /// It is not known what has become of it: our own mistake.
    Failed,
    /// It has been done, and is not on disk.
    NotKept(NotKept),
}

impl Refusal {
    pub(super) fn bad_request(reason: impl Into<Value>) -> Self {
        Self::BadRequest(reason.into())
    }

    /// The caller's permissions in a vhost are not enough.
    pub(super) fn access_refused() -> Self {
        Self::NotAuthorised("Access refused.")
    }

    /// A vhost that is there, but not for this caller.
    pub(super) fn out_of_reach() -> Self {
        Self::Missing("Not Found".to_owned())
    }
}

impl From<NotKept> for Refusal {
    fn from(why: NotKept) -> Self {
        Self::NotKept(why)
    }
}

/// What the broker refuses, without the name of the reply code.
impl From<Exception> for Refusal {
    fn from(exception: Exception) -> Self {
        match exception.code {
            ReplyCode::AccessRefused => Self::access_refused(),
            ReplyCode::NotFound => Self::Missing(exception.explanation),
            _ => Self::BadRequest(exception.explanation.into()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, reason) = match self {
            Self::LoginNeeded => {
                let realm = "Basic realm=\"RabbitMQ Management\"";
                return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, realm)]).into_response();
            }
            Self::MediaType => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
            Self::BadCredentials => return StatusCode::BAD_REQUEST.into_response(),
            Self::LoginFailed => (StatusCode::UNAUTHORIZED, "not_authorized", "Not_Authorized".into()),
            Self::NotAuthorised(reason) => (StatusCode::UNAUTHORIZED, "not_authorised", reason.into()),
            Self::Refused(reason) => (StatusCode::UNAUTHORIZED, "not_authorised", reason.into()),
            Self::Foreign => {
                (StatusCode::FORBIDDEN, "forbidden", "pages from elsewhere may not change anything".into())
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "Object Not Found", "Not Found".into()),
            Self::Missing(reason) => (StatusCode::NOT_FOUND, "not_found", reason.into()),
            Self::BadRequest(reason) => (StatusCode::BAD_REQUEST, "bad_request", reason),
            Self::Page(error, reason) => (StatusCode::BAD_REQUEST, error, reason.into()),
            Self::Closed(reason) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", reason.into()),
            Self::Unavailable(reason) => {
                (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason.into())
            }
            Self::Failed => {
                let why = "the request has failed, the log says why".into();
                (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", why)
            }
            Self::NotKept(why) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal_server_error", why.to_string().into())
            }
            Self::Precondition(reason) => {
                (StatusCode::PRECONDITION_FAILED, "precondition_failed", reason.into())
            }
        };
        (status, Json(json!({ "error": error, "reason": reason }))).into_response()
    }
}
