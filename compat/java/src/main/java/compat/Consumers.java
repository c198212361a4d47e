package compat;

import static compat.Broker.bytes;
import static compat.Broker.consume;
import static compat.Broker.depth;
import static compat.Broker.durable;
import static compat.Broker.take;
import static compat.Broker.text;
import static compat.Harness.expect;
import static compat.Harness.next;
import static compat.Harness.until;

import com.rabbitmq.client.Delivery;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;

/** Consumers, and queues that treat them in a way of their own. */
final class Consumers {
  static void prefetch(Broker broker) throws Exception {
    var queue = broker.queue("prefetch");
    var channel = broker.confirming();
    durable(channel, queue, null);
    for (int number = 0; number < 10; number++) channel.basicPublish("", queue, null, bytes("x"));
    channel.waitForConfirmsOrDie(5000);
    channel.basicQos(3);
    var deliveries = consume(channel, queue, null);
    var seen = new ArrayList<Delivery>();
    while (seen.size() < 3) seen.add(next("a message", deliveries));
    Thread.sleep(200);
    expect("more at once", deliveries.size(), 0);
    channel.basicAck(seen.get(1).getEnvelope().getDeliveryTag(), true);
    until("two more", () -> deliveries.size() == 2);
    expect("ready", depth(channel, queue), 5L);
  }

  static void cancelled(Broker broker) throws Exception {
    var queue = broker.queue("cancelled");
    var channel = broker.channel();
    durable(channel, queue, null);
    var told = new LinkedBlockingQueue<String>();
    var tag = channel.basicConsume(queue, true, (consumer, delivery) -> {}, told::add);
    broker.channel().queueDelete(queue);
    expect("consumer", next("the cancellation", told), tag);
    durable(channel, queue, null); // the channel lives on
  }

  static void singleActive(Broker broker) throws Exception {
    var queue = broker.queue("single");
    var channel = broker.channel();
    durable(channel, queue, Map.of("x-single-active-consumer", true));
    var first = new LinkedBlockingQueue<Delivery>();
    var second = new LinkedBlockingQueue<Delivery>();
    var tag = channel.basicConsume(queue, true, (consumer, delivery) -> first.add(delivery), consumer -> {});
    channel.basicConsume(queue, true, (consumer, delivery) -> second.add(delivery), consumer -> {});
    for (var text : List.of("1", "2")) {
      channel.basicPublish("", queue, null, bytes(text));
      expect("to the first", text(next("a message", first)), text);
    }
    channel.basicCancel(tag);
    channel.basicPublish("", queue, null, bytes("3"));
    expect("to the second", text(next("a message", second)), "3");
  }

  static void quorumQueue(Broker broker) throws Exception {
    String queue = broker.queue("quorum");
    String dead = broker.queue("dead");
    var channel = broker.confirming();
    durable(channel, dead, null);
    durable(channel, queue, Map.of(
        "x-queue-type", "quorum", "x-delivery-limit", 2, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead));
    channel.basicPublish("", queue, null, bytes("poison"));
    channel.waitForConfirmsOrDie(5000);
    var deliveries = consume(channel, queue, null);
    for (Object count : Arrays.asList(null, 1L, 2L)) {
      var delivery = next("a delivery", deliveries);
      var headers = delivery.getProperties().getHeaders();
      expect("delivery count", headers == null ? null : headers.get("x-delivery-count"), count);
      channel.basicReject(delivery.getEnvelope().getDeliveryTag(), true);
    }
    var deaths = (List<?>) take(channel, dead).getProps().getHeaders().get("x-death");
    expect("given up", ((Map<?, ?>) deaths.get(0)).get("reason").toString(), "delivery_limit");
  }

  static void stream(Broker broker) throws Exception {
    var queue = broker.queue("stream");
    var connection = broker.connect();
    var channel = connection.createChannel();
    channel.confirmSelect();
    durable(channel, queue, Map.of("x-queue-type", "stream"));
    for (int number = 0; number < 20; number++) channel.basicPublish("", queue, null, bytes(String.valueOf(number)));
    channel.waitForConfirmsOrDie(5000);
    Object[][] reads = {{"first", 0, 20}, {15, 15, 5}, {"next", 20, 1}};
    for (var read : reads) {
      var reader = connection.createChannel();
      reader.basicQos(5);
      var deliveries = consume(reader, queue, Map.of("x-stream-offset", read[0]));
      if (read[0].equals("next")) channel.basicPublish("", queue, null, bytes("20"));
      long first = (int) read[1];
      for (long offset = first; offset < first + (int) read[2]; offset++) {
        var delivery = next("a message from " + read[0], deliveries);
        expect("offset", delivery.getProperties().getHeaders().get("x-stream-offset"), offset);
        expect("body", text(delivery), String.valueOf(offset));
        reader.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
      }
      reader.close();
    }
  }

  static void manyChannels(Broker broker) throws Exception {
    var queue = broker.queue("many");
    var connection = broker.connect();
    var got = new ConcurrentHashMap<Integer, Boolean>();
    var channels = new ArrayList<com.rabbitmq.client.Channel>();
    for (int number = 0; number < 200; number++) {
      var channel = connection.createChannel();
      if (number == 0) durable(channel, queue, null);
      channel.basicConsume(queue, false, (tag, delivery) -> {
        got.put(channel.getChannelNumber(), true);
        channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
      }, tag -> {});
      channels.add(channel);
    }
    for (var channel : channels) channel.basicPublish("", queue, null, bytes("x"));
    until("a message for each", () -> got.size() == 200);
  }
}
