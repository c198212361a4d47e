//! What all lists have in common: order, pages, a filter by name, and columns; and columns of single objects.
//!
//! A handler gathers what there is as values that are cheap to copy, in the order that holds when none is asked for.
//! JSON is made of what is shown, one element at a time, so that a page of a list of 100,000 costs as much as a
//! page, and the whole of it never lies in memory as values.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{FromRequestParts, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use fancy_regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::refusal::Refusal;
use super::room::large;
use crate::node::Node;

/// What `page_size` is when it is not said, and at the most.
const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 500;
/// Octets that a regular expression may have.
const REGEX_MAX: usize = 1024;
/// Steps that a regular expression may go back for a name, and how many names may need more before it is given up.
const STEPS_MAX: usize = 10_000;
const TROUBLES_MAX: usize = 100;
/// Lists of more elements than this are written by a thread that no connection waits for.
const FEW: usize = 500;
/// Octets that a list may have: with samples of each number that of many queues has no bound otherwise.
const LIST_MAX: usize = 512 << 20;
/// Objects within objects that are shown whole or not at all, as in RabbitMQ.
const WHOLE: [&str; 7] = [
    "arguments",
    "effective_policy_definition",
    "definition",
    "value",
    "limits",
    "metadata",
    "cluster_state",
];
/// Paths whose replies are shown whole, whatever columns are asked for.
const WHOLE_PATHS: [&str; 6] = [
    "/api/definitions",
    "/api/all-configuration",
    "/api/health/",
    "/api/healthchecks/",
    "/api/aliveness-test/",
    "/api/openapi.json",
];

/// An element of a list.
pub(super) trait Listed: Send + 'static {
    /// What the filter by name looks at.
    fn name(&self) -> Option<&str>;
    fn to_json(&self) -> Value;
}

impl Listed for Value {
    fn name(&self) -> Option<&str> {
        self.get("name")?.as_str()
    }

    fn to_json(&self) -> Value {
        self.clone()
    }
}

/// What a request says about the list that it asks for.
#[derive(Debug, Default)]
pub(super) struct Listing {
    query: BTreeMap<String, String>,
    columns: Option<Columns>,
}

impl FromRequestParts<Arc<Node>> for Listing {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Node>) -> Result<Self, Refusal> {
        Ok(Self::new(parts.uri.query().unwrap_or_default()))
    }
}

/// Parameters of a query. Of those that come twice the first counts.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let uri = format!("/?{query}").parse().ok();
    let pairs = uri.and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    for (name, value) in pairs.map(|Query(pairs)| pairs).unwrap_or_default() {
        found.entry(name).or_insert(value);
    }
    found
}

impl Listing {
    fn new(query: &str) -> Self {
        let query = parameters(query);
        let columns = query.get("columns").map(|columns| Columns::new(columns));
        Self { query, columns }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Whether certain columns are asked for.
    pub(super) fn has_columns(&self) -> bool {
        self.columns.is_some()
    }

    /// The reply for a list that may be asked for in pages.
    pub(super) async fn pages<T: Listed>(self, elements: Vec<T>) -> Result<Response, Refusal> {
        let page = Page::new(&self)?;
        self.reply(page, elements).await
    }

    /// The reply for a list that comes in one piece.
    pub(super) async fn plain<T: Listed>(self, elements: Vec<T>) -> Result<Response, Refusal> {
        self.reply(None, elements).await
    }

    /// The same, where columns are of no concern.
    pub(super) async fn whole<T: Listed>(mut self, elements: Vec<T>) -> Result<Response, Refusal> {
        self.columns = None;
        self.reply(None, elements).await
    }

    /// The same, in pages.
    pub(super) async fn whole_pages<T: Listed>(mut self, elements: Vec<T>) -> Result<Response, Refusal> {
        self.columns = None;
        self.pages(elements).await
    }

    async fn reply<T: Listed>(self, page: Option<Page>, elements: Vec<T>) -> Result<Response, Refusal> {
        let body = if elements.len() <= FEW {
            self.write(page, elements)?.into()
        } else {
            large(move || self.write(page, elements)).await?
        };
        let mut response = body.into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.extensions_mut().insert(Done);
        Ok(response)
    }

    fn write<T: Listed>(&self, page: Option<Page>, elements: Vec<T>) -> Result<Vec<u8>, Refusal> {
        let elements = self.sort(elements);
        let Some(page) = page else { return self.array(&elements) };
        let all = elements.len();
        let filtered: Vec<T> = page.filter(elements);
        let shown = page.cut(&filtered)?;
        let mut body = Vec::new();
        let counts = format!("{{\"filtered_count\":{},\"item_count\":{}", filtered.len(), shown.len());
        body.extend_from_slice(counts.as_bytes());
        body.extend_from_slice(b",\"items\":");
        body.extend_from_slice(&self.array(shown)?);
        let pages = filtered.len().div_ceil(page.size);
        let end = format!(
            ",\"page\":{},\"page_count\":{pages},\"page_size\":{},\"total_count\":{all}}}",
            page.number, page.size
        );
        body.extend_from_slice(end.as_bytes());
        Ok(body)
    }

    fn array<T: Listed>(&self, elements: &[T]) -> Result<Vec<u8>, Refusal> {
        self.array_within(LIST_MAX, elements)
    }

    fn array_within<T: Listed>(&self, max: usize, elements: &[T]) -> Result<Vec<u8>, Refusal> {
        let mut body = vec![b'['];
        for element in elements {
            if body.len() > 1 {
                body.push(b',');
            }
            let json = element.to_json();
            let json = self.columns.iter().fold(json, |json, columns| columns.of(json));
            body.extend_from_slice(json.to_string().as_bytes());
            if body.len() > max {
                return Err(Refusal::bad_request(
                    "the list is too large, please ask for pages or columns of it",
                ));
            }
        }
        body.push(b']');
        Ok(body)
    }

    /// In the order that is asked for. What is equal by it stays as it comes.
    fn sort<T: Listed>(&self, mut elements: Vec<T>) -> Vec<T> {
        if let Some(column) = self.get("sort").filter(|column| !column.is_empty()) {
            let path: Vec<_> = column.split('.').filter(|part| !part.is_empty()).collect();
            let key = |element: T| {
                let name = element.name().filter(|_| column == "name").map(Value::from);
                (Key(name.unwrap_or_else(|| at(element.to_json(), &path))), element)
            };
            let mut keyed: Vec<_> = elements.into_iter().map(key).collect();
            keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
            elements = keyed.into_iter().map(|(_, element)| element).collect();
        }
        if self.get("sort_reverse") == Some("true") {
            elements.reverse();
        }
        elements
    }
}

/// A reply that shows what it was asked for.
#[derive(Clone)]
struct Done;

/// A value out of an object, or 0 as in RabbitMQ.
fn at(mut json: Value, path: &[&str]) -> Value {
    for part in path {
        json = json.get_mut(*part).map(Value::take).unwrap_or(Value::from(0));
    }
    json
}

/// A value to sort by, in the order of Erlang's terms.
#[derive(Debug)]
struct Key(Value);

impl Key {
    fn rank(&self) -> u8 {
        match self.0 {
            Value::Number(_) => 0,
            Value::Bool(_) | Value::Null => 1,
            Value::Object(_) => 2,
            Value::Array(_) => 3,
            Value::String(_) => 4,
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
            },
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()),
            (Value::Array(a), Value::Array(b)) => a.len().cmp(&b.len()),
            // As words: false, null, true.
            (Value::Bool(flag), Value::Null) => {
                if *flag {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Value::Null, Value::Bool(flag)) => {
                if *flag {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// The part of a list that is asked for.
#[derive(Debug)]
struct Page {
    /// From 1.
    number: usize,
    size: usize,
    name: Option<Name>,
}

/// What a name has to have in it, whatever its case.
#[derive(Debug)]
enum Name {
    Text(String),
    /// `None` fits nothing: it is no regular expression.
    Regex(Option<Box<Regex>>),
}

impl Page {
    /// `None` if the whole list is asked for.
    fn new(listing: &Listing) -> Result<Option<Self>, Refusal> {
        let number = |name| listing.get(name).map(str::parse::<i64>).transpose();
        let invalid = |_| Refusal::bad_request("Pagination parameters are invalid");
        let page = number("page").map_err(invalid)?;
        let size = number("page_size").map_err(invalid)?;
        let name = Name::new(listing)?;
        let Some(page) = page else { return Ok(None) };
        let fits = |value: i64, max: usize| usize::try_from(value).ok().filter(|v| (1..=max).contains(v));
        let sizes = (fits(page, usize::MAX), size.map_or(Some(PAGE_SIZE), |size| fits(size, PAGE_SIZE_MAX)));
        if let (Some(number), Some(size)) = sizes {
            return Ok(Some(Self { number, size, name }));
        }
        let size = size.map_or("undefined".to_owned(), |size| size.to_string());
        let why = format!("Invalid pagination parameters: page number {page}, page size {size}");
        Err(Refusal::Page("invalid_pagination_parameters", why))
    }

    /// What has the name that is asked for.
    fn filter<T: Listed>(&self, elements: Vec<T>) -> Vec<T> {
        let Some(name) = &self.name else { return elements };
        let mut troubles = 0;
        let fits = |element: &T| element.name().is_none_or(|found| name.fits(found, &mut troubles));
        elements.into_iter().filter(fits).collect()
    }

    fn cut<'a, T>(&self, filtered: &'a [T]) -> Result<&'a [T], Refusal> {
        let begin = (self.number - 1).saturating_mul(self.size);
        let rest = filtered.get(begin..).ok_or_else(|| {
            let (page, size, len) = (self.number, self.size, filtered.len());
            let why = format!("Page out of range, page: {page} page size: {size}, len: {len}");
            Refusal::Page("page_out_of_range", why)
        })?;
        Ok(&rest[..rest.len().min(self.size)])
    }
}

impl Name {
    fn new(listing: &Listing) -> Result<Option<Self>, Refusal> {
        let Some(text) = listing.get("name") else { return Ok(None) };
        if listing.get("use_regex") != Some("true") {
            return Ok((!text.is_empty()).then(|| Self::Text(text.to_lowercase())));
        }
        if text.len() > REGEX_MAX {
            let why = "name filter regex is too long".to_owned();
            return Err(Refusal::Page("invalid_pagination_parameters", why));
        }
        let regex = RegexBuilder::new(text).case_insensitive(true).backtrack_limit(STEPS_MAX).build();
        Ok((!text.is_empty()).then(|| Self::Regex(regex.ok().map(Box::new))))
    }

    /// Whether it fits. What takes too many steps does not, as in RabbitMQ; `troubles` counts that.
    fn fits(&self, name: &str, troubles: &mut usize) -> bool {
        match self {
            Self::Text(text) => name.to_lowercase().contains(text),
            Self::Regex(Some(regex)) if *troubles < TROUBLES_MAX => {
                regex.is_match(name).unwrap_or_else(|_| {
                    *troubles += 1;
                    false
                })
            }
            Self::Regex(_) => false,
        }
    }
}

/// The columns that are asked for: names, and names within what has this name.
#[derive(Debug, Default)]
struct Columns(BTreeMap<String, Option<Columns>>);

impl Columns {
    fn new(text: &str) -> Self {
        let mut columns = Self::default();
        for column in text.split(',') {
            columns.add(column.split('.').filter(|part| !part.is_empty()));
        }
        columns
    }

    /// Adds a column by its parts. Where the whole of something is asked for, too, its parts are of no concern.
    fn add<'a>(&mut self, parts: impl Iterator<Item = &'a str>) {
        let mut parts = parts.peekable();
        let mut place = self;
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            let new = || if is_last { None } else { Some(Self::default()) };
            let entry = place.0.entry(part.to_owned()).or_insert_with(new);
            if is_last {
                *entry = None;
            }
            let Some(next) = entry else { return };
            place = next;
        }
    }

    /// Keeps these columns of an object, or of all objects in an array. Nothing at all is an empty array, as
    /// RabbitMQ writes it.
    fn of(&self, json: Value) -> Value {
        match json {
            Value::Object(fields) => {
                let kept = fields.into_iter().filter_map(|(name, value)| {
                    let value = match self.0.get(&name)? {
                        Some(inner) if !WHOLE.contains(&&*name) => inner.of(value),
                        _ => value,
                    };
                    Some((name, value))
                });
                let kept: serde_json::Map<_, _> = kept.collect();
                if kept.is_empty() { Value::Array(Vec::new()) } else { Value::Object(kept) }
            }
            Value::Array(values) => values.into_iter().map(|value| self.of(value)).collect(),
            other => other,
        }
    }
}

/// Keeps the columns that are asked for of a single object.
pub(super) async fn columns(request: Request, next: Next) -> Response {
    let is_whole = WHOLE_PATHS.iter().any(|path| request.uri().path().starts_with(path));
    let asked = (request.method() == Method::GET && !is_whole)
        .then(|| Listing::new(request.uri().query().unwrap_or_default()))
        .filter(|asked| asked.get("page").is_none());
    let response = next.run(request).await;
    match asked.and_then(|asked| asked.columns) {
        Some(columns) if is_object(&response) => select(&columns, response).await,
        _ => response,
    }
}

fn is_object(response: &Response) -> bool {
    let json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    response.status() == StatusCode::OK && json && response.extensions().get::<Done>().is_none()
}

async fn select(columns: &Columns, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let size = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // What a handler has written is in memory, and comes at once.
    let octets: Bytes = match to_bytes(body, size).await {
        Ok(octets) => octets,
        Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    let body = match serde_json::from_slice(&octets) {
        Ok(json) => Bytes::from(columns.of(json).to_string()),
        Err(_) => octets,
    };
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}

#[cfg(test)]
mod tests;
