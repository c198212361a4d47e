//! Users.

use hyper::Method;
use serde_json::{Value, json};

use super::{items, text};
use crate::auth::password::PasswordHash;
use crate::cli::ctl::call::Call;
use crate::cli::ctl::command::{CTL, Command, DIAGNOSTICS, MANY, Needs, Section};
use crate::cli::ctl::failure::{Failure, status};
use crate::cli::ctl::line;
use crate::cli::ctl::output::{Output, Rows};
use crate::cli::ctl::term::Term;
use crate::cli::http::segment;
use crate::node::salt;

pub const COMMANDS: &[Command] = &[
    Command::new("add_user", Section::Users, "Makes a user, who has no permissions yet", add)
        .takes(1, 2, "<username> [<password>] [<password_hash> --pre-hashed-password]")
        .switches(&[line::flag("pre-hashed-password")]),
    Command::new("authenticate_user", Section::Users, "Tries a name and a password", authenticate).takes(
        1,
        2,
        "<username> <password>",
    ),
    Command::new("change_password", Section::Users, "Gives a user another password", change_password)
        .takes(1, 2, "<username> <password>")
        .switches(&[line::flag("pre-hashed-password")]),
    Command::new(
        "clear_password",
        Section::Users,
        "Lets nobody in with a password as this user",
        clear_password,
    )
    .takes(1, 1, "<username>"),
    Command::new("delete_user", Section::Users, "Deletes a user, and closes their connections", delete)
        .takes(1, 1, "<username>"),
    Command::new("list_users", Section::Users, "Lists users and their tags", list)
        .tools(CTL | DIAGNOSTICS)
        .takes(0, 0, "[--no-table-headers] [--timeout <timeout>]"),
    Command::new("set_user_tags", Section::Users, "Gives a user tags instead of those they have", set_tags)
        .takes(1, MANY, "<username> <tag> [...]"),
    Command::new("hash_password", Section::Other, "Shows the hash of a password", hash)
        .needs(Needs::Nothing)
        .takes(0, 1, "<cleartext_password> [--hashing-algorithm <algorithm>]")
        .switches(&[line::text("hashing-algorithm")]),
];

pub fn path(name: &str) -> String {
    format!("/api/users/{}", segment(name))
}

fn missing(name: &str) -> Failure {
    Failure::new(status::NO_USER, format!("User \"{name}\" does not exist"))
}

/// The second argument, or a line of standard input.
fn password(call: &Call) -> Result<String, Failure> {
    match call.arguments.get(1) {
        Some(password) => Ok(password.clone()),
        None => call.ask_for("Password: "),
    }
}

/// The password as the API takes it.
fn secret(call: &Call, password: &str) -> Value {
    let field = if call.line.flag("pre-hashed-password") { "password_hash" } else { "password" };
    json!({ field: password })
}

fn add(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Adding user \"{name}\" ..."));
    let mut body = secret(call, &password(call)?);
    if call.find(&path(&name))?.is_some() {
        return Err(Failure::new(status::SOFTWARE, format!("User \"{name}\" already exists")));
    }
    body["tags"] = "".into();
    call.put(&path(&name), &body)?;
    Ok(Output::Remark(
        "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help \
         set_permissions' to learn more."
            .to_owned(),
    ))
}

fn authenticate(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Authenticating user \"{name}\" ..."));
    let body = json!({ "name": name, "password": password(call)? });
    let answer = call.ask(Method::POST, "/ctl/authenticate", Some(&body))?.json();
    if answer["ok"] == true {
        return Ok(Output::Text("Success".to_owned()));
    }
    let text = format!("Error: failed to authenticate user \"{name}\"\nuser '{name}' - invalid credentials");
    Err(Failure::new(status::DATA, text))
}

/// Changes a user, and keeps the rest of them.
fn change(call: &mut Call, name: &str, what: &Value) -> Result<Option<()>, Failure> {
    let Some(user) = call.find(&path(name))? else { return Ok(None) };
    let mut body = json!({ "tags": user["tags"] });
    if what["password"].is_null() && what["password_hash"].is_null() {
        body["password_hash"] = user["password_hash"].clone();
        body["hashing_algorithm"] = user["hashing_algorithm"].clone();
    }
    for (field, value) in what.as_object().into_iter().flatten() {
        body[field] = value.clone();
    }
    call.put(&path(name), &body)?;
    Ok(Some(()))
}

fn change_password(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Changing password for user \"{name}\" ..."));
    let body = secret(call, &password(call)?);
    change(call, &name, &body)?.ok_or_else(|| missing(&name))?;
    Ok(Output::Nothing)
}

fn clear_password(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Clearing password for user \"{name}\" ..."));
    let changed = change(call, &name, &json!({ "password_hash": "" }))?;
    changed.ok_or_else(|| Failure::refused(format!("{{:no_such_user, \"{name}\"}}")))?;
    Ok(Output::Nothing)
}

fn delete(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    call.banner(&format!("Deleting user \"{name}\" ..."));
    call.delete(&path(&name))?;
    Ok(Output::Nothing)
}

fn set_tags(call: &mut Call) -> Result<Output, Failure> {
    let name = call.argument(0).to_owned();
    let tags = call.arguments[1..].to_vec();
    call.banner(&format!("Setting tags for user \"{name}\" to [{}] ...", tags.join(", ")));
    change(call, &name, &json!({ "tags": tags }))?.ok_or_else(|| missing(&name))?;
    Ok(Output::Nothing)
}

fn list(call: &mut Call) -> Result<Output, Failure> {
    call.banner("Listing users ...");
    let users = call.get("/api/users")?;
    let rows = items(&users).iter().map(|user| vec![text(user, "name").into(), Term::atoms(&user["tags"])]);
    Ok(Output::Rows(Rows::new(&["user", "tags"], rows.collect())))
}

fn hash(call: &mut Call) -> Result<Output, Failure> {
    let password = match call.arguments.first() {
        Some(password) => password.clone(),
        None => call.ask_for("Password: ")?,
    };
    let algorithm = call.line.text("hashing-algorithm").unwrap_or("sha256");
    if !["sha256", "rabbit_password_hashing_sha256"].contains(&algorithm) {
        return Err(Failure::bad_argument("new passwords are hashed with sha256"));
    }
    call.banner(&format!("Will hash password {password}"));
    Ok(Output::Text(PasswordHash::new(password.as_bytes(), salt()).to_base64()))
}
