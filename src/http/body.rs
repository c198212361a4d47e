//! The JSON object in a request's body, and its fields.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use crate::node::Node;

/// Characters that Erlang writes of a list before it goes on to one line for each.
const LINE: usize = 78;

/// A request's body, not yet looked at: some things are refused before that. RabbitMQ does not mind what type it says
/// it is of, as long as that is a type.
pub(super) struct Body(Bytes);

/// The same where it has to say that it is JSON.
pub(super) struct JsonBody(pub Body);

impl FromRequest<Arc<Node>> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self, Refusal> {
        if content_type(request.headers()) == Some(None) {
            return Err(Refusal::MediaType);
        }
        match Bytes::from_request(request, node).await {
            Ok(octets) => Ok(Self(octets)),
            Err(e) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Refusal::bad_request("Exceeded HTTP request body size limit"))
            }
            Err(_) => Err(Refusal::bad_request("the request body cannot be read")),
        }
    }
}

impl FromRequest<Arc<Node>> for JsonBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self, Refusal> {
        match content_type(request.headers()) {
            Some(Some(kind)) if kind == "application/json" => {
                Body::from_request(request, node).await.map(Self)
            }
            _ => Err(Refusal::MediaType),
        }
    }
}

/// The type of a body without its parameters, in small letters, if one is named; `Some(None)` is none that there could
/// be.
fn content_type(headers: &HeaderMap) -> Option<Option<String>> {
    let named = headers.get(CONTENT_TYPE)?;
    let kind = named.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let halves = kind.split_once('/').filter(|(kind, of)| is_token(kind) && is_token(of));
    Some(halves.map(|_| kind.to_ascii_lowercase()))
}

/// Whether a text is a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let special = "!#$%&'*+-.^_`|~";
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || special.contains(c))
}

impl Body {
    pub(super) fn octets(&self) -> Bytes {
        self.0.clone()
    }

    /// Reads the object. No body and `null` are an object without fields.
    pub(super) fn fields(&self) -> Result<Fields, Refusal> {
        if self.0.is_empty() {
            return Ok(Fields(Map::new()));
        }
        match serde_json::from_slice(&self.0) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            Ok(Value::Null) => Ok(Fields(Map::new())),
            Ok(Value::String(_)) => Err(Refusal::bad_request(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
            )),
            _ => Err(Refusal::bad_request("not_json")),
        }
    }
}

/// The fields of a JSON object. Where RabbitMQ crashes on a value (500), it is a bad request here.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Refuses an object without all of these, and names those that are missing.
    pub(super) fn require(&self, keys: &[&str]) -> Result<(), Refusal> {
        let missing = keys.iter().filter(|key| !self.0.contains_key(**key));
        let missing: Vec<_> = missing.map(|key| format!("{{key_missing,{key}}}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (line, lines) = (missing.join(","), missing.join(",\n "));
        Err(Refusal::bad_request(format!("[{}]", if line.len() >= LINE { lines } else { line })))
    }

    /// A text. `null` is as good as none.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, Refusal> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Refusal::bad_request(json!(["not_string", other]))),
        }
    }

    /// A boolean, which may be written as text.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Refusal> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(Refusal::bad_request(json!(["not_boolean", other]))),
        }
    }

    /// Words without the space around them: an array of texts, or one text with commas. `null` is as good as none.
    pub(super) fn words(&self, key: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.0.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        let refused = || Refusal::bad_request(json!(["not_a_list_of_strings", value]));
        match value {
            Value::String(text) if text.is_empty() => Ok(Some(Vec::new())),
            Value::String(text) => Ok(Some(text.split(',').map(|word| word.trim().to_owned()).collect())),
            Value::Array(words) => {
                let words = words.iter().map(|word| word.as_str().map(|word| word.trim().to_owned()));
                words.collect::<Option<_>>().map(Some).ok_or_else(refused)
            }
            _ => Err(refused()),
        }
    }
}

/// A value as an Erlang term, which is how it comes in RabbitMQ's reasons.
pub(super) fn term(value: &Value) -> String {
    let join = |terms: Vec<String>| terms.join(",");
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.is_empty() => "<<>>".to_owned(),
        Value::String(text) => format!("<<\"{text}\">>"),
        Value::Array(values) => format!("[{}]", join(values.iter().map(term).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("<<\"{key}\">> => {}", term(value)));
            format!("#{{{}}}", join(fields.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_erlang_terms() {
        let value = json!({ "a": [1.5, "x", "", false, null, -3] });
        assert_eq!(term(&value), "#{<<\"a\">> => [1.5,<<\"x\">>,<<>>,false,null,-3]}");
    }

    #[test]
    fn types_of_bodies() {
        let found = |named: Option<&'static str>| {
            let header = |named| (CONTENT_TYPE, axum::http::HeaderValue::from_static(named));
            content_type(&named.map(header).into_iter().collect())
        };
        assert_eq!(found(None), None);
        for json in ["application/json", "Application/JSON; charset=utf-8", " application/json;"] {
            assert_eq!(found(Some(json)), Some(Some("application/json".to_owned())), "{json:?}");
        }
        for none in ["", "json", "application/", "/json", "a b/c", ";", "a/b/c"] {
            assert_eq!(found(Some(none)), Some(None), "{none:?}");
        }
    }

    fn fields(json: &'static str) -> Result<Fields, Refusal> {
        Body(Bytes::from_static(json.as_bytes())).fields()
    }

    #[test]
    fn bodies() {
        for good in ["", "null", "{}", " {\"a\": 1} "] {
            assert!(fields(good).is_ok(), "{good:?}");
        }
        for bad in [" ", "{bad", "[]", "5", "true"] {
            assert_eq!(fields(bad).err(), Some(Refusal::bad_request("not_json")), "{bad:?}");
        }
        assert!(
            matches!(fields("\"{}\""), Err(Refusal::BadRequest(Value::String(s))) if s.contains("doubly"))
        );
    }

    #[test]
    fn values_of_fields() {
        let fields = fields(r#"{"t": "true", "n": null, "w": " a , b,,", "l": ["a,b", " c"], "x": [5]}"#);
        let fields = fields.expect("an object");
        assert_eq!(fields.flag("t"), Ok(Some(true)));
        assert_eq!(fields.flag("n"), Err(Refusal::BadRequest(json!(["not_boolean", null]))));
        assert_eq!(
            fields.words("w").map(Option::unwrap_or_default),
            Ok(vec!["a".into(), "b".into(), String::new(), String::new()])
        );
        assert_eq!(fields.words("l").map(Option::unwrap_or_default), Ok(vec!["a,b".into(), "c".into()]));
        assert!(fields.words("x").is_err() && fields.text("l").is_err());
        let missing = fields.require(&["write", "t", "read"]);
        assert_eq!(missing, Err(Refusal::bad_request("[{key_missing,write},{key_missing,read}]")));
    }
}
