//! Values that are encrypted, `encrypted:...` (in Erlang's terms `{encrypted, <<"...">>}`): they are opened with the passphrase
//! that `config_entry_decoder` names. No I/O.

use super::Entry;
use super::external::External;
use super::sealed::{CIPHERS, HASHES, Method};

/// What they begin with.
pub const SEALED: &str = "encrypted:";
const DECODER: &str = "config_entry_decoder";

/// Puts what is in them in their place. Entries are in the order in which they count.
pub fn unseal(entries: &mut [Entry], problems: &mut Vec<String>) {
    if !entries.iter().any(|entry| entry.value.starts_with(SEALED)) {
        return;
    }
    let (passphrase, method) = (setting(entries, "passphrase").map(str::to_owned), method(entries));
    for entry in entries.iter_mut() {
        let Some(sealed) = entry.value.strip_prefix(SEALED) else { continue };
        let opened = match (&passphrase, method) {
            (None, _) => Err(format!("no {DECODER}.passphrase is set")),
            (_, None) => Err(format!("{DECODER} names a cipher or a hash that there is not")),
            (Some(passphrase), Some(method)) => {
                let term = method.open(passphrase, sealed).as_ref().and_then(text);
                term.ok_or_else(|| format!("{DECODER} has another passphrase or method, or it is damaged"))
            }
        };
        match opened {
            Ok(value) => entry.value = value,
            Err(why) => problems.push(format!("{}: {} is encrypted, and {why}", entry.origin, entry.name())),
        }
    }
}

/// What the decoder is set to, by whoever counts most.
fn setting<'a>(entries: &'a [Entry], name: &str) -> Option<&'a str> {
    let is_it =
        |entry: &&Entry| matches!(&entry.key[..], [first, second] if first == DECODER && second == name);
    entries.iter().rev().find(is_it).map(|entry| entry.value.as_str())
}

fn method(entries: &[Entry]) -> Option<Method> {
    let mut method = Method::default();
    if let Some(wanted) = setting(entries, "cipher") {
        method.cipher = CIPHERS.iter().find(|(name, _)| *name == wanted)?.1;
    }
    if let Some(wanted) = setting(entries, "hash") {
        method.hash = HASHES.iter().find(|(name, _)| *name == wanted)?.1;
    }
    if let Some(rounds) = setting(entries, "iterations") {
        method.rounds = rounds.parse().ok()?;
    }
    Some(method)
}

/// A value as a text: a binary, a string, which is a list of characters, or a word.
fn text(term: &External) -> Option<String> {
    match term {
        External::Binary(octets) => String::from_utf8(octets.clone()).ok(),
        External::List(items) => items.iter().map(character).collect(),
        External::Atom(word) => Some(word.clone()),
        External::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn character(term: &External) -> Option<char> {
    match term {
        External::Integer(number) => char::from_u32(u32::try_from(*number).ok()?),
        _ => None,
    }
}
