//! Values for configuration files that nobody is to read: encrypted with a passphrase, and back. No node is needed.

use serde_json::{Value, json};

use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, Needs, Section};
use crate::cli::ctl::failure::Failure;
use crate::cli::ctl::line::{self, Switch};
use crate::cli::ctl::output::Output;
use crate::config::external::External;
use crate::config::sealed::{CHANCE, CIPHERS, HASHES, Method};
use crate::config::terms::{self, Term};

const SWITCHES: &[Switch] = &[line::text("cipher"), line::text("hash"), line::number("iterations")];
const USAGE: &str = "value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]";
/// What encrypted values in `rabbitmq.conf` begin with.
const PREFIX: &str = "encrypted:";

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&mut Call) -> Result<Output, Failure>,
) -> Command {
    Command::new(name, Section::Configuration, about, run)
        .needs(Needs::Nothing)
        .takes(0, 2, USAGE)
        .switches(SWITCHES)
}

pub const COMMANDS: &[Command] = &[
    command("encode", "Encrypts a value for advanced.config", encode),
    command("decode", "Decrypts a value of advanced.config", decode),
    command("encrypt_conf_value", "Encrypts a value for rabbitmq.conf", encrypt),
    command("decrypt_conf_value", "Decrypts a value of rabbitmq.conf", decrypt),
    Command::new("list_ciphers", Section::Health, "Lists ciphers for secrets in files", ciphers)
        .tools(CTL | DIAGNOSTICS)
        .needs(Needs::Nothing),
    Command::new("list_hashes", Section::Health, "Lists hashes for secrets in files", hashes)
        .tools(CTL | DIAGNOSTICS)
        .needs(Needs::Nothing),
];

/// The method that the options say. RabbitMQ has the same three complaints in two forms.
fn method(call: &Call, ends: [&str; 2]) -> Result<Method, Failure> {
    let usual = Method::default();
    let [after_cipher, after_rounds] = ends;
    let cipher = match call.line.text("cipher") {
        Some(wanted) => CIPHERS.iter().find(|(name, _)| *name == wanted).map(|(_, cipher)| *cipher),
        None => Some(usual.cipher),
    };
    let hash = match call.line.text("hash") {
        Some(wanted) => HASHES.iter().find(|(name, _)| *name == wanted).map(|(_, hash)| *hash),
        None => Some(usual.hash),
    };
    let rounds = match call.line.number("iterations") {
        Some(rounds) => u32::try_from(rounds).ok().filter(|rounds| *rounds > 0),
        None => Some(usual.rounds),
    };
    let wrong = |text: String| Failure::bad_argument(&text);
    Ok(Method {
        cipher: cipher
            .ok_or_else(|| wrong(format!("The requested cipher is not supported{after_cipher}")))?,
        hash: hash.ok_or_else(|| wrong("The requested hash is not supported".to_owned()))?,
        rounds: rounds
            .ok_or_else(|| wrong(format!("The requested number of iterations is incorrect{after_rounds}")))?,
    })
}

/// An argument, or what comes on standard input instead.
fn argument_or_ask(call: &Call, n: usize, what: &str) -> Result<String, Failure> {
    if let Some(given) = call.arguments.get(n) {
        return Ok(given.clone());
    }
    let given = call.ask_for(what)?;
    if given.is_empty() { Err(Failure::refused("not_enough_args")) } else { Ok(given) }
}

/// A term that somebody has written, and nothing after it.
fn written(text: &str) -> Option<Term> {
    terms::first(text).filter(|(_, rest)| rest.trim().is_empty()).map(|(term, _)| term)
}

fn seal(call: &Call, banner: &str) -> Result<String, Failure> {
    let method = method(call, [".", ""])?;
    call.banner(banner);
    let value = argument_or_ask(call, 0, "Value to encode: ")?;
    let passphrase = argument_or_ask(call, 1, "Passphrase: ")?;
    let failed = || Failure::refused("Error during cipher operation");
    let mut chance = [0; CHANCE];
    getrandom::fill(&mut chance).map_err(|_| failed())?;
    let term = written(&value).as_ref().and_then(External::of);
    term.and_then(|term| method.seal(&passphrase, &chance, &term)).ok_or_else(failed)
}

fn answer(call: &Call, text: String, value: &Value) -> Output {
    Output::Both(text, json!({ "result": "ok", "node": call.node(), "value": value }))
}

fn encode(call: &mut Call) -> Result<Output, Failure> {
    let sealed = seal(call, "Encrypting value to be used in advanced.config...")?;
    Ok(answer(call, format!("{{encrypted,<<\"{sealed}\">>}}"), &json!(["encrypted", sealed])))
}

fn encrypt(call: &mut Call) -> Result<Output, Failure> {
    let sealed = seal(call, "Encrypting value to be used in rabbitmq.conf...")?;
    Ok(answer(call, format!("{PREFIX}{sealed}"), &json!(sealed)))
}

/// What is sealed in a value, however it is written: as in `advanced.config`, as in `rabbitmq.conf`, in quotes or not.
fn sealed(value: &str) -> &str {
    let inside = value.trim().trim_start_matches("{encrypted").trim_end_matches('}');
    let quoted = |c: char| c.is_whitespace() || matches!(c, ',' | '<' | '>' | '"' | '\'');
    inside.trim_matches(quoted).trim_start_matches(PREFIX)
}

fn open(call: &Call, banner: &str) -> Result<Output, Failure> {
    if call.arguments.is_empty() {
        let why = "not enough arguments: Please provide a value to decode and a passphrase";
        return Err(Failure::misused(why));
    }
    let method = method(call, ["", " (must be a positive integer)"])?;
    call.banner(banner);
    let passphrase = argument_or_ask(call, 1, "Passphrase: ")?;
    let opened = method.open(&passphrase, sealed(call.argument(0))).ok_or_else(|| {
        Failure::refused(
            "Failed to decrypt the value. Things to check: is the passphrase correct? Are the cipher and hash \
             algorithms the same as those used for encryption?",
        )
    })?;
    Ok(answer(call, opened.to_string(), &json!(opened.to_string())))
}

fn decode(call: &mut Call) -> Result<Output, Failure> {
    open(call, "Decrypting an advanced.config (Erlang term) value...")
}

fn decrypt(call: &mut Call) -> Result<Output, Failure> {
    open(call, "Decrypting a rabbitmq.conf string value...")
}

fn listed(call: &Call, names: &[&str]) -> Output {
    answer(call, format!("[{}]", names.join(",")), &json!(names))
}

fn ciphers(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Listing supported ciphers ...");
    Ok(listed(call, &CIPHERS.map(|(name, _)| name)))
}

fn hashes(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Listing supported hash algorithms ...");
    Ok(listed(call, &HASHES.map(|(name, _)| name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_in_all_their_forms() {
        for value in [
            "encrypted:ab+/cd==",
            "\"encrypted:ab+/cd==\"",
            "\"ab+/cd==\"",
            "<<\"ab+/cd==\">>",
            "{encrypted,<<\"ab+/cd==\">>}",
            "{encrypted, \"ab+/cd==\"}",
        ] {
            assert_eq!(sealed(value), "ab+/cd==", "{value}");
        }
    }

    #[test]
    fn one_term_and_no_more() {
        assert_eq!(written("abc"), Some(Term::Atom("abc".into())));
        for text in ["", "A", "a-b", "pa$$word", "abc.", "{a", "1 + 2"] {
            assert_eq!(written(text), None, "{text}");
        }
    }
}
