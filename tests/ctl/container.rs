//! The image as Testcontainers, compose files and Aspire use it: its entrypoint, variables, a line that is waited for in the log,
//! commands that are run inside, SIGTERM. There is no engine: a folder stands for the container's file system, and names of tools
//! are looked up there. (`docker/prove` builds the image and does this in its own file system, as root.)

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fancy_regex::Regex;

use crate::node::{Client, Done, TempFolder, run};

const TOOLS: [&str; 5] =
    ["leveret", "rabbitmq-server", "rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins"];

/// An image, its files laid out as the Dockerfile does it.
struct Image {
    folder: TempFolder,
    port: u16,
    http: u16,
}

impl Image {
    fn build(name: &str) -> Self {
        let folder = TempFolder::new(name);
        let docker = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker");
        let context = folder.0.join("docker");
        let bin = folder.0.join("bin");
        for made in [&context, &bin] {
            std::fs::create_dir_all(made).expect("a folder");
        }
        for script in ["rootfs", "docker-entrypoint.sh"] {
            std::fs::copy(docker.join(script), context.join(script)).expect("a copy");
        }
        std::fs::write(context.join("leveret"), "").expect("a file");
        let laid_out = Command::new(context.join("rootfs")).arg(folder.0.join("root")).status();
        assert!(laid_out.expect("it runs").success());
        for tool in TOOLS.into_iter().chain(["rabbitmqadmin"]) {
            symlink(env!("CARGO_BIN_EXE_leveret"), bin.join(tool)).expect("a link");
        }
        // Whoever runs the tests may be root, and is nobody's user rabbitmq.
        executable(&bin.join("id"), "#!/bin/sh\necho 999\n");
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
        Self { folder, port: free(), http: free() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.0.join(below)
    }

    /// A command in the container, with what the image sets and these variables.
    fn command(&self, program: &Path, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.path("root/var/lib/rabbitmq"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command.env("RABBITMQ_MNESIA_BASE", self.path("root/var/lib/rabbitmq/mnesia"));
        command.env("RABBITMQ_CONFIG_FILE", self.path("root/etc/rabbitmq/rabbitmq.conf"));
        command.env("RABBITMQ_CONFIG_FILES", self.path("root/etc/rabbitmq/conf.d"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", self.path("root/etc/rabbitmq/enabled_plugins"));
        command.env("RABBITMQ_NODE_PORT", self.port.to_string());
        command.env("RABBITMQ_MANAGEMENT_PORT_NUMBER", self.http.to_string());
        command.envs(variables.iter().copied());
        command
    }

    /// `docker run` with these variables.
    fn start<'a>(&'a self, variables: &[(&'a str, &'a str)], arguments: &[&str]) -> Container<'a> {
        let mut command = self.command(&self.path("root/usr/local/bin/docker-entrypoint.sh"), variables);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Container { image: self, child, lines, log: Vec::new(), variables: variables.to_vec() }
    }
}

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}

struct Container<'a> {
    image: &'a Image,
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    variables: Vec<(&'a str, &'a str)>,
}

impl Container<'_> {
    /// Waits for a line of the log, as a wait strategy does.
    fn wait_for(&mut self, pattern: &str) {
        let pattern = Regex::new(pattern).expect("a pattern");
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("no line like {pattern}: {:#?}", self.log));
            self.log.push(line.clone());
            if pattern.is_match(&line).expect("it matches or not") {
                return;
            }
        }
    }

    /// `docker exec`.
    fn exec(&self, tool: &str, arguments: &[&str]) -> Done {
        let tool = self.image.path("bin").join(tool);
        run(self.image.command(&tool, &self.variables).args(arguments))
    }

    /// `docker stop`, which kills after ten seconds; the exit status.
    fn stop(mut self) -> i32 {
        let stopped = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(stopped.success());
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code().expect("an exit, not a signal");
            }
            assert!(Instant::now() < end, "it would be killed");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the modules for Java, Node, Go, .NET and Rust do, the legacy one for Java included.
#[test]
fn as_testcontainers_starts_it() {
    let image = Image::build("testcontainers");
    let custom = image.path("root/etc/rabbitmq/rabbitmq-custom.conf");
    std::fs::write(&custom, "channel_max = 31\n").expect("a file");
    let variables = [
        ("RABBITMQ_DEFAULT_USER", "test"),
        ("RABBITMQ_DEFAULT_PASS", "secret"),
        ("RABBITMQ_CONFIG_FILE", custom.to_str().expect("UTF-8")),
    ];
    let mut container = image.start(&variables, &["rabbitmq-server"]);
    container.wait_for(".*Server startup complete.*");
    // It serves at once.
    let mut client = Client::connect_as(image.port, "test", "secret");
    assert_eq!(client.channel_max, 31, "its configuration counts");
    client.publish();
    assert!(client.is_open());
    container.wait_for("^ completed with [0-9]+ plugins");
    let complete = container.log.iter().filter(|line| line.contains("Server startup complete")).count();
    assert_eq!(complete, 1, "a count of 1 is waited for: {:#?}", container.log);

    assert_eq!(container.exec("rabbitmq-plugins", &["enable", "rabbitmq_shovel"]).status, 0);
    let enabled = container.exec("rabbitmq-plugins", &["is_enabled", "rabbitmq_shovel"]);
    assert!(enabled.out.contains("rabbitmq_shovel is enabled"), "{enabled:?}");
    let port = format!("--port={}", image.http);
    let admin = |arguments: &[&str]| {
        let login = [&port, "--username=test", "--password=secret"];
        container.exec("rabbitmqadmin", &[&login[..], arguments].concat())
    };
    for (arguments, said) in [
        (&["declare", "vhost", "name=v", "tracing=true"][..], "vhost declared\n"),
        (&["--vhost=v", "declare", "queue", "name=q", "durable=true"], "queue declared\n"),
    ] {
        let done = admin(arguments);
        assert_eq!((done.status, &*done.out, &*done.err), (0, said, ""), "{arguments:?}");
    }
    for things in ["queues", "exchanges", "users", "policies", "operator_policies"] {
        assert_eq!(admin(&["list", things]).status, 0, "{things}");
    }
    drop(client);
    assert_eq!(container.stop(), 0);
}

/// Compose files, GitHub Actions and Aspire: health commands, a node's name of its own, and a volume that outlives the container.
#[test]
fn as_compose_and_aspire_start_it() {
    let image = Image::build("compose");
    let variables = [
        ("RABBITMQ_NODENAME", "messaging@localhost"),
        ("RABBITMQ_DEFAULT_VHOST", "shop"),
        ("RABBITMQ_ERLANG_COOKIE", "unused"),
        ("HOSTNAME", "0a1b2c3d4e5f"),
    ];
    let mut container = image.start(&variables, &[]);
    container.wait_for("Server startup complete");
    for (tool, arguments) in [
        ("rabbitmq-diagnostics", &["-q", "ping"][..]),
        ("rabbitmq-diagnostics", &["ping", "-q"]),
        ("rabbitmq-diagnostics", &["-q", "check_running"]),
        ("rabbitmq-diagnostics", &["-q", "check_local_alarms"]),
        ("rabbitmq-diagnostics", &["-q", "check_port_connectivity"]),
        ("rabbitmq-diagnostics", &["-q", "check_virtual_hosts"]),
        ("rabbitmqctl", &["status"]),
        ("rabbitmqctl", &["node_health_check"]),
        ("rabbitmqctl", &["await_startup", "--timeout", "10"]),
        ("rabbitmqctl", &["-n", "messaging@localhost", "cluster_status"]),
        ("rabbitmqctl", &["add_vhost", "kept"]),
    ] {
        let done = container.exec(tool, arguments);
        assert_eq!(done.status, 0, "{tool} {arguments:?}: {done:?}");
    }
    let name = container.exec("rabbitmqctl", &["eval", "node()."]);
    assert_eq!(&*name.out, "messaging@localhost\n");
    assert_eq!(container.stop(), 0);

    // Another container, and so another host name, with the same volume.
    let variables = [("RABBITMQ_NODENAME", "messaging@localhost"), ("HOSTNAME", "ffffffffffff")];
    let mut container = image.start(&variables, &["rabbitmq-server"]);
    container.wait_for("Server startup complete");
    let vhosts = container.exec("rabbitmqctl", &["-q", "list_vhosts", "--no-table-headers"]);
    let mut vhosts: Vec<_> = vhosts.out.lines().collect();
    vhosts.sort_unstable();
    assert_eq!(vhosts, ["kept", "shop"]);
    assert_eq!(container.stop(), 0);
}

#[test]
fn flags_are_the_servers_and_tools_run_in_its_place() {
    let image = Image::build("flags");
    let mut container = image.start(&[], &["--in-memory"]);
    container.wait_for("^data in memory only");
    container.wait_for("^ready");
    Client::connect_as(image.port, "guest", "guest");
    assert_eq!(container.stop(), 0);
    let mut tool = image.start(&[], &["rabbitmqctl", "version"]);
    tool.wait_for(r"^4\.[0-9]+\.[0-9]+$");
    assert!(tool.child.wait().expect("it ends").success());
}
