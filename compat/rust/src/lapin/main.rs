//! Runs every scenario with lapin and prints one line for each: lapin URI [SCENARIO ...]

mod broker;
mod harness;
mod messages;
mod patterns;
mod topology;

use std::env;
use std::process;

use broker::Broker;
use harness::play;

macro_rules! scenarios {
    ($uri:expr, $only:expr, $($name:literal => $function:path),* $(,)?) => {{
        let wanted = |name: &str| $only.is_empty() || $only.iter().any(|each| each == name);
        let names: Vec<&str> = [$($name),*].into_iter().filter(|name| wanted(name)).collect();
        println!("scenarios {}", names.join(" "));
        let mut failures = 0;
        $(if wanted($name) {
            let broker = Broker::new($uri);
            let played = async {
                let outcome = $function(&broker).await;
                let cleaned = broker.clean_up().await;
                outcome.and(cleaned)
            };
            if !play($name, played).await {
                failures += 1;
            }
        })*
        failures
    }};
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((uri, only)) = arguments.split_first() else {
        eprintln!("usage: lapin amqp://USER:PASSWORD@HOST:PORT/VHOST [SCENARIO ...]");
        process::exit(2);
    };
    let failures = scenarios!(uri, only,
        "hello-world" => patterns::hello_world,
        "work-queues" => patterns::work_queues,
        "publish-subscribe" => patterns::publish_subscribe,
        "routing" => patterns::routing,
        "topics" => patterns::topics,
        "rpc" => patterns::rpc,
        "confirms-one-by-one" => patterns::confirms_one_by_one,
        "confirms-in-batches" => patterns::confirms_in_batches,
        "confirms-asynchronous" => patterns::confirms_asynchronous,
        "connection-options" => topology::connection_options,
        "tls" => topology::tls,
        "get" => messages::get,
        "acknowledgements" => messages::acknowledgements,
        "prefetch" => messages::prefetch,
        "returns" => messages::returns,
        "transactions" => messages::transactions,
        "ttl" => messages::ttl,
        "dead-letters" => messages::dead_letters,
        "priorities" => messages::priorities,
        "delayed" => messages::delayed,
        "big-message" => messages::big_message,
        "header-types" => messages::header_types,
        "alternate-exchange" => topology::alternate_exchange,
        "exchange-to-exchange" => topology::exchange_to_exchange,
        "headers-exchange" => topology::headers_exchange,
        "exclusive-queues" => topology::exclusive_queues,
        "consumer-cancelled" => messages::cancelled,
        "single-active-consumer" => messages::single_active,
        "quorum-queue" => messages::quorum_queue,
        "stream" => messages::stream,
        "many-channels" => topology::many_channels,
        "missing-exchange" => topology::missing_exchange,
        "permission-denied" => topology::permission_denied,
        "recovery" => topology::recovery,
        "blocked" => topology::blocked,
    );
    process::exit(i32::from(failures > 0));
}
