package compat;

import static compat.Broker.bytes;
import static compat.Broker.consume;
import static compat.Broker.depth;
import static compat.Broker.durable;
import static compat.Broker.headers;
import static compat.Broker.refused;
import static compat.Broker.take;
import static compat.Broker.takeText;
import static compat.Harness.expect;
import static compat.Harness.until;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Exchanges, bindings and queues that are not plain. */
final class Topology {
  static void alternateExchange(Broker broker) throws Exception {
    String main = broker.exchange("main");
    String other = broker.exchange("other");
    String queue = broker.queue("unrouted");
    var channel = broker.confirming();
    channel.exchangeDeclare(other, BuiltinExchangeType.FANOUT, true);
    channel.exchangeDeclare(main, BuiltinExchangeType.DIRECT, true, false, Map.of("alternate-exchange", other));
    durable(channel, queue, null);
    channel.queueBind(queue, other, "");
    channel.basicPublish(main, "nobody", null, bytes("caught"));
    channel.waitForConfirmsOrDie(5000);
    expect("exchange", take(channel, queue).getEnvelope().getExchange(), main);
  }

  static void exchangeToExchange(Broker broker) throws Exception {
    String source = broker.exchange("source");
    String middle = broker.exchange("middle");
    String queue = broker.queue("end");
    var channel = broker.confirming();
    channel.exchangeDeclare(source, BuiltinExchangeType.TOPIC, true);
    channel.exchangeDeclare(middle, BuiltinExchangeType.FANOUT, true);
    durable(channel, queue, null);
    channel.exchangeBind(middle, source, "a.#");
    channel.queueBind(queue, middle, "");
    for (var key : List.of("a.b", "b.a")) channel.basicPublish(source, key, null, bytes(key));
    channel.waitForConfirmsOrDie(5000);
    expect("message", takeText(channel, queue), "a.b");
    channel.exchangeUnbind(middle, source, "a.#");
    channel.basicPublish(source, "a.b", null, bytes("to nobody"));
    channel.waitForConfirmsOrDie(5000);
    expect("left", depth(channel, queue), 0L);
  }

  static void headersExchange(Broker broker) throws Exception {
    var exchange = broker.exchange("headers");
    var channel = broker.channel();
    channel.exchangeDeclare(exchange, BuiltinExchangeType.HEADERS, true);
    var queues = new HashMap<String, String>();
    for (var match : List.of("all", "any")) {
      var queue = channel.queueDeclare().getQueue();
      channel.queueBind(queue, exchange, "", Map.of("x-match", match, "format", "pdf", "pages", 3));
      channel.queueBind(queue, exchange, "", Map.of("x-match", "all", "end", true));
      queues.put(match, queue);
    }
    channel.basicPublish(exchange, "", headers(Map.of("format", "pdf", "pages", 3)), bytes("both"));
    channel.basicPublish(exchange, "", headers(Map.of("format", "pdf", "pages", 4)), bytes("one"));
    channel.basicPublish(exchange, "", headers(Map.of("format", "txt")), bytes("none"));
    channel.basicPublish(exchange, "", headers(Map.of("end", true)), bytes("end"));
    expect("all", Patterns.textsUntil("end", consume(channel, queues.get("all"), null)), List.of("both"));
    expect("any", Patterns.textsUntil("end", consume(channel, queues.get("any"), null)), List.of("both", "one"));
  }

  static void exclusiveQueues(Broker broker) throws Exception {
    var owner = broker.connect();
    var stranger = broker.connect();
    var queue = owner.createChannel().queueDeclare().getQueue();
    expect("named by the server", queue.startsWith("amq.gen-"), true);
    refused(stranger, 405, each -> each.queueDeclarePassive(queue));
    owner.close();
    until("it goes with its connection", () -> {
      try {
        stranger.createChannel().queueDeclarePassive(queue);
        return false;
      } catch (IOException refused) {
        var reason = (ShutdownSignalException) refused.getCause();
        return ((AMQP.Channel.Close) reason.getReason()).getReplyCode() == 404;
      }
    });
  }

  static void autoDelete(Broker broker) throws Exception {
    var name = broker.prefix + ".fleeting";
    var connection = broker.connect();
    var channel = connection.createChannel();
    channel.exchangeDeclare(name, BuiltinExchangeType.FANOUT, true, true, null);
    channel.queueDeclare(name, true, false, true, null);
    channel.queueBind(name, name, "");
    var tag = channel.basicConsume(name, true, (consumer, delivery) -> {}, consumer -> {});
    expect("consumers", channel.consumerCount(name), 1L);
    channel.basicCancel(tag);
    refused(connection, 404, each -> each.queueDeclarePassive(name));
    refused(connection, 404, each -> each.exchangeDeclarePassive(name));
  }
}
