"""Runs every scenario with pika and prints one line for each: python main.py URI [SCENARIO ...]"""

import confirms
import consumers
import failures
import harness
import messages
import patterns
import topology
from broker import Broker

SCENARIOS = {
    "hello-world": patterns.hello_world,
    "work-queues": patterns.work_queues,
    "publish-subscribe": patterns.publish_subscribe,
    "routing": patterns.routing,
    "topics": patterns.topics,
    "rpc": patterns.rpc,
    "confirms-one-by-one": confirms.one_by_one,
    "confirms-in-batches": confirms.in_batches,
    "confirms-asynchronous": confirms.asynchronous,
    "connection-options": failures.connection_options,
    "tls": failures.tls,
    "get": messages.get,
    "acknowledgements": messages.acknowledgements,
    "prefetch": consumers.prefetch,
    "returns": messages.returns,
    "transactions": messages.transactions,
    "ttl": messages.ttl,
    "dead-letters": messages.dead_letters,
    "priorities": messages.priorities,
    "delayed": messages.delayed,
    "big-message": messages.big_message,
    "header-types": messages.header_types,
    "alternate-exchange": topology.alternate_exchange,
    "exchange-to-exchange": topology.exchange_to_exchange,
    "headers-exchange": topology.headers_exchange,
    "exclusive-queues": topology.exclusive_queues,
    "auto-delete": topology.auto_delete,
    "consumer-cancelled": consumers.cancelled,
    "single-active-consumer": consumers.single_active,
    "quorum-queue": consumers.quorum_queue,
    "stream": consumers.stream,
    "many-channels": consumers.many_channels,
    "missing-exchange": failures.missing_exchange,
    "permission-denied": failures.permission_denied,
    "recovery": failures.recovery,
    "blocked": failures.blocked,
}

if __name__ == "__main__":
    harness.main(SCENARIOS, Broker)
