//! The API's description, OpenAPI 3.1, and a page that lists all routes for people. Both come from one table.
//!
//! - [`operation`][]: what there is to say of a method of a path
//! - [`routes`][]: the table
//! - [`schemas`][]: what goes in and comes out

mod operation;
mod routes;
mod schemas;

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{MethodRouter, get};
use serde_json::{Map, Value, json};

use super::resource::{READ, resource};
use crate::node::Node;
use operation::{At, Operation, Shape};

/// Where what is described can be looked at.
pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/openapi.json", resource(READ, once("application/json", |v| described(v).to_string())))
        .route("/api/index.html", resource(READ, once("text/html; charset=utf-8", written)))
}

/// What everybody may see, for a version: written once, since nobody has to log in to ask for it.
fn once(kind: &'static str, write: fn(&str) -> String) -> MethodRouter<Arc<Node>> {
    let written: OnceLock<Bytes> = OnceLock::new();
    let written = Arc::new(written);
    get(async move |State(node): State<Arc<Node>>| {
        let octets = written.get_or_init(|| write(&node.offer.version).into());
        ([(CONTENT_TYPE, kind)], octets.clone())
    })
}

fn described(version: &str) -> Value {
    let mut paths = Map::new();
    for at in routes::ROUTES {
        let operations = at.operations.iter();
        let operations =
            operations.map(|operation| (operation.method.to_owned(), operation_json(at, operation)));
        let mut item: Map<_, _> = operations.collect();
        let names: Vec<_> = names(at.path).map(path_parameter).collect();
        if !names.is_empty() {
            item.insert("parameters".to_owned(), names.into());
        }
        paths.insert(at.path.to_owned(), item.into());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Leveret's management API",
            "summary": "The management API of RabbitMQ",
            "version": version,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "basic": [] }],
        "tags": tags().into_iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "securitySchemes": { "basic": { "type": "http", "scheme": "basic" } },
            "schemas": schemas::all(),
        },
    })
}

/// What a path's operations are grouped by, in the order of the table.
fn tags() -> Vec<&'static str> {
    let mut tags = Vec::new();
    for at in routes::ROUTES {
        if !tags.contains(&at.tag) {
            tags.push(at.tag);
        }
    }
    tags
}

/// The names in a path that stand for something.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

fn operation_json(at: &At, operation: &Operation) -> Value {
    let parameters = operation.parameters().map(|(name, kind, description)| {
        json!({ "name": name, "in": "query", "description": description, "schema": { "type": kind } })
    });
    let mut json = json!({
        "tags": [at.tag],
        "summary": operation.summary,
        "operationId": id(operation.method, at.path),
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": responses(at, operation),
    });
    if let Some((kind, schema)) = operation.body {
        json["requestBody"] = json!({ "content": { kind: { "schema": reference(schema) } } });
    }
    if operation.open {
        json["security"] = json!([]);
    }
    json
}

/// A name for an operation that no other one has.
fn id(method: &str, path: &str) -> String {
    let mut id = method.to_owned();
    for part in path.trim_start_matches("/api").split('/').filter(|part| !part.is_empty()) {
        let word = part.trim_matches(['{', '}']);
        id.push_str(if word.len() < part.len() { "_by_" } else { "_" });
        id.extend(word.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    }
    id
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn responses(at: &At, operation: &Operation) -> Value {
    let mut responses = Map::new();
    let mut add = |status: u16, description: &str, kind: &str, schema: Option<Value>| {
        let mut response = json!({ "description": description });
        if let Some(schema) = schema {
            response["content"] = json!({ kind: { "schema": schema } });
        }
        responses.insert(status.to_string(), response);
    };
    for (status, shape) in operation.answers {
        let schema = match shape {
            Shape::Nothing | Shape::Text(_) => None,
            Shape::One(schema) => Some(reference(schema)),
            Shape::Many(schema) => Some(json!({ "type": "array", "items": reference(schema) })),
            Shape::Pages(schema) => Some(pages(schema)),
        };
        match shape {
            Shape::Text(kind) => add(*status, meaning(*status), kind, Some(json!({ "type": "string" }))),
            _ => add(*status, meaning(*status), "application/json", schema),
        }
    }
    let error = || Some(reference("Error"));
    if operation.body.is_some() || operation.answers.iter().any(|(_, shape)| matches!(shape, Shape::Pages(_)))
    {
        add(400, meaning(400), "application/json", error());
    }
    if !operation.open {
        add(401, meaning(401), "application/json", error());
    }
    if names(at.path).next().is_some() {
        add(404, meaning(404), "application/json", error());
    }
    responses.into()
}

/// A list as it comes, or a page of it where one is asked for.
fn pages(schema: &str) -> Value {
    let items = json!({ "type": "array", "items": reference(schema) });
    let counts = ["filtered_count", "item_count", "page", "page_count", "page_size", "total_count"];
    let mut fields: Map<_, _> =
        counts.iter().map(|name| ((*name).to_owned(), json!({ "type": "integer" }))).collect();
    fields.insert("items".to_owned(), items.clone());
    let required: Vec<_> = fields.keys().cloned().collect();
    json!({ "oneOf": [items, { "type": "object", "properties": fields, "required": required }] })
}

fn meaning(status: u16) -> &'static str {
    match status {
        200 => "This is it",
        201 => "It has been made",
        204 => "It has been done",
        301 => "It is elsewhere",
        400 => "The request makes no sense",
        401 => "Whoever asks has not logged in, or may not do this",
        404 => "There is no such thing",
        503 => "Not all is well",
        _ => "",
    }
}

/// All routes, for people.
fn written(version: &str) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>HTTP API</title>\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>body {{ font: 15px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 60rem }} \
         td {{ padding: .1rem .8rem .1rem 0; vertical-align: top }}</style>\n\
         <h1>HTTP API</h1><p>That of RabbitMQ {version}. <a href=\"openapi.json\">OpenAPI description</a></p>\n"
    );
    // Writing into a text does not fail.
    for tag in tags() {
        let _ = write!(html, "<h2>{tag}</h2>\n<table>\n");
        for at in routes::ROUTES.iter().filter(|at| at.tag == tag) {
            for operation in at.operations {
                let (method, path, summary) = (operation.method.to_uppercase(), at.path, operation.summary);
                let _ = writeln!(html, "<tr><td>{method}<td><code>{path}</code><td>{summary}");
            }
        }
        html.push_str("</table>\n");
    }
    html.push_str("</html>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_names_of_their_own() {
        let mut ids = Vec::new();
        for at in routes::ROUTES {
            ids.extend(at.operations.iter().map(|operation| id(operation.method, at.path)));
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert_eq!(id("get", "/api/queues/{vhost}/{queue}"), "get_queues_by_vhost_by_queue");
    }

    #[test]
    fn what_is_referred_to_is_there() {
        let document = described("4.3.6").to_string();
        let schemas = schemas::all();
        for part in document.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            assert!(schemas.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_page_shows_all_and_breaks_nothing() {
        let html = written("4.3.6");
        for at in routes::ROUTES {
            assert!(html.contains(&format!("<code>{}</code>", at.path)), "{}", at.path);
            for operation in at.operations {
                assert!(!operation.summary.contains(['<', '&']), "{}", operation.summary);
            }
        }
    }
}
