//! Definitions that a node is given at its start, in addition to what it has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::ServerError;
use super::fetch::fetch;
use crate::config::people::{Definitions, People};
use crate::node::Node;
use crate::node::definitions::{LoadError, Scope, files};

/// The parameter of the node in which RabbitMQ, too, keeps what it has imported.
const FINGERPRINT: &str = "imported_definition_hash_value";

/// Imports what the settings name, unless it is the same as last time and nobody wants it again.
pub async fn load(node: &Node, people: &People) -> Result<(), ServerError> {
    let wanted = &people.definitions;
    if wanted.is_empty() {
        return Ok(());
    }
    let remote = match wanted.url() {
        Some(url) => {
            tracing::info!("Applying definitions from a remote URL");
            let failed = |why| ServerError::Fetch { url: bare(url), why };
            Some(fetch(url, &wanted.tls).await.map_err(failed)?)
        }
        None => None,
    };
    let fingerprint =
        if wanted.skip_if_unchanged { Some(fingerprint(wanted, remote.as_ref())?) } else { None };
    if fingerprint.is_some()
        && node.parameter(FINGERPRINT).and_then(|found| Some(found.as_str()?.to_owned())) == fingerprint
    {
        tracing::info!("Definitions have not changed since they were imported, and are left alone");
        return Ok(());
    }
    for path in &wanted.paths {
        tracing::info!("Applying definitions from file at '{}'", path.display());
        node.load_definitions(path)?;
    }
    if let Some(file) = remote {
        let done = node.import_definitions(Scope::Node, &file);
        let url = wanted.url().unwrap_or_default();
        done.map_err(|why| LoadError::Refused { path: bare(url).into(), why })?;
    }
    let user = &people.user;
    if node.auth().user(user).is_some() {
        tracing::info!(
            "Definitions are imported; the default user '{user}' is there beside them, as RabbitMQ does not have it"
        );
    }
    if let Some(fingerprint) = fingerprint {
        node.put_parameter(FINGERPRINT, fingerprint.into());
    }
    Ok(())
}

/// An address without a password in it.
fn bare(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// The same as long as all files are.
fn fingerprint(wanted: &Definitions, remote: Option<&Bytes>) -> Result<String, LoadError> {
    let mut hash = Sha256::new();
    let mut add = |file: &[u8]| {
        hash.update(file.len().to_be_bytes());
        hash.update(file);
    };
    for path in &wanted.paths {
        for path in files(path)? {
            let file =
                std::fs::read(&path).map_err(|why| LoadError::Unreadable { path: path.clone(), why })?;
            add(&file);
        }
    }
    if let Some(file) = remote {
        add(file);
    }
    Ok(STANDARD.encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_are_not_shown() {
        assert_eq!(bare("https://me:secret@a.example/x"), "https://a.example/x");
        assert_eq!(bare("https://a.example/x@y"), "https://a.example/x@y");
    }
}
