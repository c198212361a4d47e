//! Runs every scenario with amqprs and prints one line for each: amqprs URI [SCENARIO ...]

#[macro_use]
#[path = "../../rust/src/harness.rs"]
mod harness;

mod broker;
mod messages;
mod patterns;
mod topology;

use broker::Broker;

program!(
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
    "auto-delete" => topology::auto_delete,
    "consumer-cancelled" => messages::cancelled,
    "single-active-consumer" => messages::single_active,
    "quorum-queue" => messages::quorum_queue,
    "stream" => messages::stream,
    "many-channels" => topology::many_channels,
    "missing-exchange" => topology::missing_exchange,
    "permission-denied" => topology::permission_denied,
    "recovery" => topology::recovery,
);
