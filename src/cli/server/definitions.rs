//! Definitions that a node is given at its start, in addition to what it has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::config::people::People;
use crate::node::Node;
use crate::node::definitions::{LoadError, files};

/// The parameter of the node in which RabbitMQ, too, keeps what it has imported.
const FINGERPRINT: &str = "imported_definition_hash_value";

/// Imports what the settings name, unless it is the same as last time and nobody wants it again.
pub fn load(node: &Node, people: &People) -> Result<(), LoadError> {
    let wanted = &people.definitions;
    if wanted.paths.is_empty() {
        return Ok(());
    }
    let fingerprint = if wanted.skip_if_unchanged { Some(fingerprint(people)?) } else { None };
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

/// The same as long as all files are.
fn fingerprint(people: &People) -> Result<String, LoadError> {
    let mut hash = Sha256::new();
    for path in &people.definitions.paths {
        for path in files(path)? {
            let file =
                std::fs::read(&path).map_err(|why| LoadError::Unreadable { path: path.clone(), why })?;
            hash.update(file.len().to_be_bytes());
            hash.update(file);
        }
    }
    Ok(STANDARD.encode(hash.finalize()))
}
