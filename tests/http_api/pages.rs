//! Pages for people, and files of a web interface.

use std::sync::Arc;

use leveret::http::settings::HttpSettings;
use leveret::node::Node;
use serde_json::Value;

use crate::broker::{Broker, start};
use crate::certificates::Folder;
use crate::http::{Reply, Request};
use crate::not_found;

/// Without a login.
async fn see(broker: &Broker, path: &str) -> Reply {
    Request::new("GET", path).authorization(None).send(broker.http).await
}

fn text(reply: &Reply) -> &str {
    reply.body.as_str().expect("a text")
}

#[tokio::test]
async fn our_own_page() {
    let broker = start().await;
    for path in ["/", "/index.html"] {
        let page = see(&broker, path).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{path}"
        );
        assert!(
            text(&page).contains("<title>Leveret</title>")
                && page.header("content-security-policy").is_some()
        );
        // What that header forbids would not run.
        assert!(!text(&page).contains("<script>") && !text(&page).contains(" onclick="));
    }
    let script = see(&broker, "/status.js").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    for (path, status, to) in [
        ("/api", 301, "/api/index.html"),
        ("/stats", 301, "/api/index.html"),
        ("/mgmt", 301, "/"),
        ("/login", 302, "/"),
    ] {
        let reply = see(&broker, path).await;
        assert_eq!((reply.status, reply.header("location")), (status, Some(to)), "{path}");
    }
    let form = Request::new("POST", "/login").authorization(None).send(broker.http).await;
    assert_eq!((form.status, form.header("location")), (302, Some("/")));
    for path in ["/nosuch", "/js/main.js", "/js/oidc-oauth/bootstrap.js", "/api/nosuch", "/../etc/passwd"] {
        let reply = see(&broker, path).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{path}");
    }
    let put = Request::new("PUT", "/index.html").send(broker.http).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("HEAD, GET, OPTIONS")));
}

async fn with_files(folder: &Folder) -> Broker {
    let settings = HttpSettings { ui: Some(folder.0.join("ui")), ..HttpSettings::default() };
    Broker::with(Arc::new(Node::new().expect("a node")), settings).await
}

#[tokio::test]
async fn files_of_a_folder() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.0.join("ui/js")).expect("folders");
    folder.put("secret", "no");
    folder.put("ui/index.html", "the page");
    folder.put("ui/js/a b.js", "the script");
    std::os::unix::fs::symlink(folder.0.join("secret"), folder.0.join("ui/out")).expect("a link");
    std::os::unix::fs::symlink("index.html", folder.0.join("ui/in.html")).expect("a link");
    let broker = with_files(&folder).await;
    for (path, kind, expected) in [
        ("/", "text/html", "the page"),
        ("/in.html", "text/html", "the page"),
        ("/js/a%20b.js", "application/javascript", "the script"),
    ] {
        let file = see(&broker, path).await;
        assert_eq!(
            (file.status, file.header("content-type"), text(&file)),
            (200, Some(kind), expected),
            "{path}"
        );
        assert_eq!(file.header("cache-control"), Some("public, max-age=0, must-revalidate"));
        let tag = file.header("etag").expect("a tag");
        let again = Request::new("GET", path).header("If-None-Match", tag).send(broker.http).await;
        assert_eq!((again.status, again.header("etag"), &again.body), (304, Some(tag), &Value::Null));
    }
    for path in
        ["/out", "/../secret", "/%2e%2e/secret", "/js/..%2f..%2fsecret", "/js", "/status.js", "//secret"]
    {
        let reply = see(&broker, path).await;
        assert_eq!((reply.status, reply.body), (404, not_found()), "{path}");
    }
    let bootstrap = see(&broker, "/js/oidc-oauth/bootstrap.js").await;
    assert!(bootstrap.status == 200 && text(&bootstrap).contains("oauth_enabled: false"));
    let whoami = Request::new("GET", "/api/whoami").send(broker.http).await;
    assert_eq!(whoami.status, 200, "the API is there all the same");
    folder.put("ui/index.html", "the other page");
    assert_eq!(text(&see(&broker, "/").await), "the other page");
}
