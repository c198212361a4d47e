package compat;

import java.util.LinkedHashMap;
import java.util.Map;

/** Runs every scenario with amqp-client and prints one line for each: Main URI [SCENARIO ...] */
public final class Main {
  public static void main(String[] arguments) {
    Map<String, Harness.Scenario> scenarios = new LinkedHashMap<>();
    scenarios.put("hello-world", Patterns::helloWorld);
    scenarios.put("work-queues", Patterns::workQueues);
    scenarios.put("publish-subscribe", Patterns::publishSubscribe);
    scenarios.put("routing", Patterns::routing);
    scenarios.put("topics", Patterns::topics);
    scenarios.put("rpc", Patterns::rpc);
    scenarios.put("confirms-one-by-one", Patterns::confirmsOneByOne);
    scenarios.put("confirms-in-batches", Patterns::confirmsInBatches);
    scenarios.put("confirms-asynchronous", Patterns::confirmsAsynchronous);
    scenarios.put("connection-options", Failures::connectionOptions);
    scenarios.put("tls", Failures::tls);
    scenarios.put("get", Messages::get);
    scenarios.put("acknowledgements", Messages::acknowledgements);
    scenarios.put("prefetch", Consumers::prefetch);
    scenarios.put("returns", Messages::returns);
    scenarios.put("transactions", Messages::transactions);
    scenarios.put("ttl", Messages::ttl);
    scenarios.put("dead-letters", Messages::deadLetters);
    scenarios.put("priorities", Messages::priorities);
    scenarios.put("delayed", Messages::delayed);
    scenarios.put("big-message", Messages::bigMessage);
    scenarios.put("header-types", Messages::headerTypes);
    scenarios.put("alternate-exchange", Topology::alternateExchange);
    scenarios.put("exchange-to-exchange", Topology::exchangeToExchange);
    scenarios.put("headers-exchange", Topology::headersExchange);
    scenarios.put("exclusive-queues", Topology::exclusiveQueues);
    scenarios.put("auto-delete", Topology::autoDelete);
    scenarios.put("consumer-cancelled", Consumers::cancelled);
    scenarios.put("single-active-consumer", Consumers::singleActive);
    scenarios.put("quorum-queue", Consumers::quorumQueue);
    scenarios.put("stream", Consumers::stream);
    scenarios.put("many-channels", Consumers::manyChannels);
    scenarios.put("missing-exchange", Failures::missingExchange);
    scenarios.put("permission-denied", Failures::permissionDenied);
    scenarios.put("recovery", Failures::recovery);
    scenarios.put("blocked", Failures::blocked);
    Harness.main(scenarios, arguments);
  }
}
