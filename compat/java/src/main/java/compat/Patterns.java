package compat;

import static compat.Broker.bytes;
import static compat.Broker.consume;
import static compat.Broker.depth;
import static compat.Broker.durable;
import static compat.Broker.text;
import static compat.Harness.expect;
import static compat.Harness.next;
import static compat.Harness.until;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.RpcServer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.atomic.AtomicInteger;

/** The classic patterns, and publisher confirms. */
final class Patterns {
  static void helloWorld(Broker broker) throws Exception {
    var queue = broker.queue("hello");
    var sender = broker.channel();
    durable(sender, queue, null);
    var properties = new BasicProperties.Builder().contentType("text/plain").headers(Map.of("lang", "de", "tries", 1)).build();
    sender.basicPublish("", queue, properties, bytes("Grüß Gott"));
    var got = next("the message", consume(broker.channel(), queue, null));
    expect("body", text(got), "Grüß Gott");
    expect("routing key", got.getEnvelope().getRoutingKey(), queue);
    expect("redelivered", got.getEnvelope().isRedeliver(), false);
    expect("content type", got.getProperties().getContentType(), "text/plain");
    expect("tries", got.getProperties().getHeaders().get("tries"), 1);
    expect("lang", got.getProperties().getHeaders().get("lang").toString(), "de");
  }

  static void workQueues(Broker broker) throws Exception {
    var queue = broker.queue("tasks");
    var publisher = broker.channel();
    durable(publisher, queue, null);
    AtomicInteger[] counts = {new AtomicInteger(), new AtomicInteger()};
    var done = new ConcurrentSkipListSet<String>();
    int[] pauses = {100, 10};
    for (int worker = 0; worker < 2; worker++) {
      int self = worker;
      var channel = broker.channel();
      channel.basicQos(1);
      channel.basicConsume(queue, false, (tag, task) -> {
        try {
          Thread.sleep(pauses[self]);
        } catch (InterruptedException stopped) {
          return;
        }
        counts[self].incrementAndGet();
        done.add(text(task));
        channel.basicAck(task.getEnvelope().getDeliveryTag(), false);
      }, tag -> {});
    }
    for (int task = 0; task < 30; task++) {
      publisher.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, bytes("task " + task));
    }
    until("all tasks", () -> done.size() == 30);
    expect("left", depth(publisher, queue), 0L);
    expect("the fast one does more: " + counts[0] + ", " + counts[1], counts[0].get() < counts[1].get() && counts[0].get() > 0, true);
  }

  static String subscribe(Channel channel, String exchange, String... keys) throws Exception {
    var queue = channel.queueDeclare().getQueue();
    for (var key : keys) channel.queueBind(queue, exchange, key);
    return queue;
  }

  static List<String> textsUntil(String last, BlockingQueue<Delivery> deliveries) throws Exception {
    var texts = new ArrayList<String>();
    for (var text = ""; !text.equals(last); texts.add(text)) text = text(next("a message", deliveries));
    texts.remove(texts.size() - 1);
    return texts;
  }

  private static void publishKeys(Channel channel, String exchange, String... keys) throws Exception {
    for (var key : keys) channel.basicPublish(exchange, key, null, bytes(key));
  }

  static void publishSubscribe(Broker broker) throws Exception {
    var exchange = broker.exchange("news");
    var publisher = broker.channel();
    publisher.exchangeDeclare(exchange, BuiltinExchangeType.FANOUT, true);
    var subscribers = new ArrayList<BlockingQueue<Delivery>>();
    for (int number = 0; number < 2; number++) {
      var channel = broker.channel();
      subscribers.add(consume(channel, subscribe(channel, exchange, ""), null));
    }
    publishKeys(publisher, exchange, "one", "two", "end");
    for (var subscriber : subscribers) expect("headlines", textsUntil("end", subscriber), List.of("one", "two"));
  }

  static void routing(Broker broker) throws Exception {
    var exchange = broker.exchange("log");
    var channel = broker.channel();
    channel.exchangeDeclare(exchange, BuiltinExchangeType.DIRECT, true);
    var pager = subscribe(channel, exchange, "critical", "end");
    var archive = subscribe(channel, exchange, "notice", "warning", "critical", "end");
    publishKeys(channel, exchange, "notice", "critical", "debug", "warning", "critical.disk", "critical", "end");
    expect("pager", textsUntil("end", consume(channel, pager, null)), List.of("critical", "critical"));
    expect("archive", textsUntil("end", consume(channel, archive, null)), List.of("notice", "critical", "warning", "critical"));
  }

  static void topics(Broker broker) throws Exception {
    var exchange = broker.exchange("readings");
    var channel = broker.channel();
    channel.exchangeDeclare(exchange, BuiltinExchangeType.TOPIC, true);
    Map<String, List<String>> interests = Map.of(
        "home.#", List.of("home.kitchen.heat", "home"), "home.*", List.of(), "*.*.heat", List.of("home.kitchen.heat", "office.lab.heat"),
        "#.heat", List.of("home.kitchen.heat", "office.lab.heat", "office.lab.rack.heat"), "office.lab.heat", List.of("office.lab.heat"));
    var queues = new java.util.HashMap<String, String>();
    for (var pattern : interests.keySet()) queues.put(pattern, subscribe(channel, exchange, pattern, "end"));
    publishKeys(channel, exchange, "home.kitchen.heat", "home", "office.lab.heat", "office.lab.rack.heat", "end");
    for (var interest : interests.entrySet()) {
      expect(interest.getKey(), textsUntil("end", consume(channel, queues.get(interest.getKey()), null)), interest.getValue());
    }
  }

  static void rpc(Broker broker) throws Exception {
    var queue = broker.queue("squares");
    var serving = broker.channel();
    durable(serving, queue, null);
    var server = new RpcServer(serving, queue) {
      @Override
      public byte[] handleCall(Delivery request, BasicProperties reply) {
        return bytes(String.valueOf((int) Math.pow(Integer.parseInt(text(request)), 2)));
      }
    };
    var thread = new Thread(() -> {
      try {
        server.mainloop();
      } catch (Exception ended) {
        // the client sees no answer
      }
    });
    thread.start();
    // By direct reply-to, which is what the library uses.
    var client = new RpcClient(new RpcClientParams().channel(broker.channel()).exchange("").routingKey(queue).timeout(5000));
    for (int number = 0; number < 12; number++) {
      expect("square", client.stringCall(String.valueOf(number)), String.valueOf(number * number));
    }
    client.close();
    server.terminateMainloop();
    thread.join(2000);
  }

  static void confirmsOneByOne(Broker broker) throws Exception {
    var queue = broker.queue("one");
    var channel = broker.confirming();
    durable(channel, queue, null);
    for (long number = 1; number <= 20; number++) {
      channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes("order"));
      channel.waitForConfirmsOrDie(5000);
      expect("depth", depth(channel, queue), number);
    }
  }

  static void confirmsInBatches(Broker broker) throws Exception {
    var queue = broker.queue("batch");
    var channel = broker.confirming();
    durable(channel, queue, null);
    for (long batch = 1; batch <= 10; batch++) {
      for (int number = 0; number < 50; number++) channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes("order"));
      channel.waitForConfirmsOrDie(5000);
      expect("depth", depth(channel, queue), batch * 50);
    }
  }

  static void confirmsAsynchronous(Broker broker) throws Exception {
    var queue = broker.queue("async");
    var channel = broker.confirming();
    durable(channel, queue, null);
    var outstanding = new ConcurrentSkipListSet<Long>();
    var returned = new ConcurrentSkipListSet<Long>();
    var problems = new ConcurrentSkipListSet<String>();
    channel.addReturnListener(lost -> returned.add(Long.parseLong(lost.getProperties().getMessageId())));
    channel.addConfirmListener((tag, multiple) -> {
      var confirmed = multiple ? outstanding.headSet(tag, true) : outstanding.subSet(tag, true, tag, true);
      for (var each : confirmed) {
        if (each % 100 == 0 && !returned.contains(each)) problems.add(each + " was confirmed before it was returned");
      }
      confirmed.clear();
    }, (tag, multiple) -> problems.add(tag + " was refused"));
    for (long number = 1; number <= 2000; number++) {
      outstanding.add(channel.getNextPublishSeqNo());
      var properties = new BasicProperties.Builder().deliveryMode(2).messageId(String.valueOf(number)).build();
      channel.basicPublish("", number % 100 == 0 ? broker.prefix + ".missing" : queue, true, properties, bytes("order"));
    }
    until("all confirms", outstanding::isEmpty);
    expect("problems", List.copyOf(problems), List.of());
    expect("returned", returned.size(), 20);
    expect("depth", depth(channel, queue), 1980L);
  }

}
