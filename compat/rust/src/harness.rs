//! Plays scenarios and prints a line for each, for every Rust client.

use std::env;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub const PATIENCE: Duration = Duration::from_secs(5);
const SCENARIO: Duration = Duration::from_secs(20);
/// Where the broker is restarted.
const LONG: Duration = Duration::from_secs(70);

pub type Outcome<T = ()> = Result<T, Failure>;

pub enum Failure {
    /// The scenario cannot be played here, and why.
    Skipped(String),
    Failed(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

pub fn failed<T>(what: impl Display) -> Outcome<T> {
    Err(Failure::Failed(what.to_string()))
}

pub fn expect<T: PartialEq + Debug>(what: impl Display, actual: T, wanted: T) -> Outcome {
    if actual == wanted {
        return Ok(());
    }
    failed(format!("{what}: got {actual:?}, wanted {wanted:?}"))
}

/// What the runner says about the broker (see compat/runner/brokers.py).
pub fn given(variable: &str) -> Outcome<String> {
    env::var(variable).map_err(|_| Failure::Skipped(format!("{variable} is not given")))
}

/// Has the runner do something to the broker, and waits until it has.
pub async fn control(action: &str) -> Outcome {
    let uri = given("COMPAT_CONTROL")?;
    let address = uri.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("POST /{action} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    expect(format!("{action}: {answer}"), answer.contains(" 204 "), true)
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    timeout(PATIENCE, future).await.or_else(|_| failed(format!("{what}: not within {PATIENCE:?}")))
}

/// Waits until the condition holds.
pub async fn until<F: Future<Output = Outcome<bool>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Outcome {
    let begin = Instant::now();
    while !condition().await? {
        if begin.elapsed() > PATIENCE {
            return failed(format!("{what}: not within {PATIENCE:?}"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Plays one scenario; false when it failed.
pub async fn play(name: &str, scenario: impl Future<Output = Outcome>) -> bool {
    let limit = if name == "recovery" || name == "blocked" { LONG } else { SCENARIO };
    match timeout(limit, scenario).await {
        Ok(Ok(())) => println!("ok {name}"),
        Ok(Err(Failure::Skipped(reason))) => println!("skipped {name}: {reason}"),
        Ok(Err(Failure::Failed(reason))) => {
            println!("FAILED {name}: {}", reason.split_whitespace().collect::<Vec<_>>().join(" "));
            return false;
        }
        Err(_) => {
            println!("FAILED {name}: not finished after {limit:?}");
            return false;
        }
    }
    true
}

/// The program: plays every scenario, or those that are named, with a `Broker` of the client's own.
macro_rules! program {
    ($($name:literal => $function:path),* $(,)?) => {
        #[tokio::main]
        async fn main() {
            let arguments: Vec<String> = std::env::args().skip(1).collect();
            let Some((uri, only)) = arguments.split_first() else {
                eprintln!("usage: PROGRAM amqp://USER:PASSWORD@HOST:PORT/VHOST [SCENARIO ...]");
                std::process::exit(2);
            };
            let wanted = |name: &str| only.is_empty() || only.iter().any(|each| each == name);
            let names: Vec<&str> = [$($name),*].into_iter().filter(|name| wanted(name)).collect();
            println!("scenarios {}", names.join(" "));
            let mut failures = 0;
            $(if wanted($name) {
                let broker = Broker::new(uri);
                let played = async {
                    let outcome = $function(&broker).await;
                    let cleaned = broker.clean_up().await;
                    outcome.and(cleaned)
                };
                if !harness::play($name, played).await {
                    failures += 1;
                }
            })*
            std::process::exit(i32::from(failures > 0));
        }
    };
}
