package compat;

import static compat.Broker.bytes;
import static compat.Broker.consume;
import static compat.Broker.depth;
import static compat.Broker.durable;
import static compat.Broker.headers;
import static compat.Broker.refused;
import static compat.Broker.take;
import static compat.Broker.takeText;
import static compat.Broker.text;
import static compat.Harness.expect;
import static compat.Harness.next;
import static compat.Harness.until;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Return;
import java.io.IOException;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** What may happen to a message. */
final class Messages {
  private static final int LIMIT = 16 << 20; // bytes that a broker takes in one message, unless told otherwise

  static void get(Broker broker) throws Exception {
    var queue = broker.queue("get");
    var channel = broker.confirming();
    durable(channel, queue, null);
    expect("from an empty queue", channel.basicGet(queue, false), null);
    for (var text : List.of("one", "two")) channel.basicPublish("", queue, null, bytes(text));
    channel.waitForConfirmsOrDie(5000);
    for (boolean redelivered : new boolean[] {false, true}) {
      var got = channel.basicGet(queue, false);
      expect("body", text(got.getBody()), "one");
      expect("left", got.getMessageCount(), 1);
      expect("redelivered", got.getEnvelope().isRedeliver(), redelivered);
      long tag = got.getEnvelope().getDeliveryTag();
      if (redelivered) channel.basicAck(tag, false);
      else channel.basicNack(tag, false, true);
    }
    expect("left", depth(channel, queue), 1L);
  }

  private static void see(List<Delivery> seen, int count, BlockingQueue<Delivery> from) throws Exception {
    while (seen.size() < count) seen.add(next("a message", from));
  }

  static void acknowledgements(Broker broker) throws Exception {
    var queue = broker.queue("acks");
    var connection = broker.connect();
    var channel = connection.createChannel();
    durable(channel, queue, null);
    for (int number = 0; number < 6; number++) channel.basicPublish("", queue, null, bytes(String.valueOf(number)));
    var deliveries = consume(channel, queue, null);
    var seen = new ArrayList<Delivery>();
    see(seen, 6, deliveries);
    channel.basicAck(seen.get(1).getEnvelope().getDeliveryTag(), true);
    channel.basicReject(seen.get(2).getEnvelope().getDeliveryTag(), false);
    channel.basicReject(seen.get(3).getEnvelope().getDeliveryTag(), true);
    see(seen, 7, deliveries);
    expect("again", text(seen.get(6)), "3");
    expect("redelivered", seen.get(6).getEnvelope().isRedeliver(), true);
    channel.basicNack(seen.get(5).getEnvelope().getDeliveryTag(), true, true);
    see(seen, 9, deliveries);
    channel.basicRecover(true);
    see(seen, 12, deliveries);
    channel.basicAck(0, true);
    channel.close();
    expect("left", depth(connection.createChannel(), queue), 0L);
  }

  static void returns(Broker broker) throws Exception {
    var channel = broker.channel();
    var came = new LinkedBlockingQueue<Return>();
    channel.addReturnListener(came::add);
    channel.basicPublish("", broker.queue("missing"), true, headers(Map.of("order", 7)), bytes("lost"));
    var returned = next("the return", came);
    expect("code", returned.getReplyCode(), 312);
    expect("text", returned.getReplyText(), "NO_ROUTE");
    expect("headers", returned.getProperties().getHeaders(), Map.of("order", 7));
    expect("body", text(returned.getBody()), "lost");
  }

  static void transactions(Broker broker) throws Exception {
    var queue = broker.queue("tx");
    var channel = broker.channel();
    var observer = broker.channel();
    durable(channel, queue, null);
    channel.txSelect();
    channel.basicPublish("", queue, null, bytes("rolled back"));
    channel.txRollback();
    channel.basicPublish("", queue, null, bytes("committed"));
    expect("before the commit", depth(observer, queue), 0L);
    channel.txCommit();
    expect("after the commit", depth(observer, queue), 1L);
    expect("message", takeText(observer, queue), "committed");
  }

  static void ttl(Broker broker) throws Exception {
    String shortly = broker.queue("short");
    String longer = broker.queue("long");
    String gone = broker.queue("gone");
    var connection = broker.connect();
    var channel = connection.createChannel();
    durable(channel, shortly, Map.of("x-message-ttl", 100));
    durable(channel, longer, null);
    durable(channel, gone, Map.of("x-expires", 200));
    channel.basicPublish("", shortly, null, bytes("by the queue"));
    channel.basicPublish("", longer, new BasicProperties.Builder().expiration("100").build(), bytes("by itself"));
    channel.basicPublish("", longer, null, bytes("stays"));
    until("the short queue is empty", () -> depth(channel, shortly) == 0);
    until("one message is left", () -> depth(channel, longer) == 1);
    expect("left", takeText(channel, longer), "stays");
    Thread.sleep(500);
    refused(connection, 404, each -> each.queueDeclarePassive(gone));
  }

  /** Rejected work waits in a queue and comes back; the third time it is given up. */
  static void deadLetters(Broker broker) throws Exception {
    String work = broker.queue("work");
    String waiting = broker.queue("waiting");
    String retry = broker.exchange("retry");
    var channel = broker.channel();
    channel.exchangeDeclare(retry, BuiltinExchangeType.DIRECT, true);
    durable(channel, work, Map.of("x-dead-letter-exchange", retry, "x-dead-letter-routing-key", "later"));
    durable(channel, waiting, Map.of("x-message-ttl", 50, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", work));
    channel.queueBind(waiting, retry, "later");
    channel.basicPublish("", work, headers(Map.of("id", 1)), bytes("job"));
    var jobs = consume(channel, work, null);
    for (long tries = 0; tries < 3; tries++) {
      var job = next("the job", jobs);
      var headers = job.getProperties().getHeaders();
      if (tries > 0) {
        var counts = new HashMap<String, Object>();
        for (var each : (List<?>) headers.get("x-death")) {
          var death = (Map<?, ?>) each;
          counts.put(death.get("queue") + " " + death.get("reason"), death.get("count"));
        }
        expect("deaths", counts, Map.of(work + " rejected", tries, waiting + " expired", tries));
        expect("first death", headers.get("x-first-death-queue").toString(), work);
      }
      if (tries < 2) channel.basicReject(job.getEnvelope().getDeliveryTag(), false);
      else channel.basicAck(job.getEnvelope().getDeliveryTag(), false);
    }
  }

  static void priorities(Broker broker) throws Exception {
    var queue = broker.queue("priorities");
    var channel = broker.confirming();
    durable(channel, queue, Map.of("x-max-priority", 5));
    int[] priorities = {0, 5, 1, 9, 1};
    for (int number = 0; number < 5; number++) {
      var properties = new BasicProperties.Builder().priority(priorities[number]).build();
      channel.basicPublish("", queue, properties, bytes(String.valueOf(number)));
    }
    channel.waitForConfirmsOrDie(5000);
    var order = new StringBuilder();
    for (int number = 0; number < 5; number++) order.append(takeText(channel, queue));
    expect("order", order.toString(), "13240");
  }

  static void delayed(Broker broker) throws Exception {
    String exchange = broker.exchange("delayed");
    String queue = broker.queue("delayed");
    var connection = broker.connect();
    try {
      connection.createChannel().exchangeDeclare(exchange, "x-delayed-message", true, false, Map.of("x-delayed-type", "direct"));
    } catch (IOException refused) {
      broker.forgetExchanges();
      throw new Harness.Skipped("the broker has no such exchange: " + refused.getCause().getMessage());
    }
    var channel = connection.createChannel();
    durable(channel, queue, null);
    channel.queueBind(queue, exchange, "k");
    long begin = System.nanoTime();
    channel.basicPublish(exchange, "k", headers(Map.of("x-delay", 400)), bytes("later"));
    channel.basicPublish(exchange, "k", null, bytes("at once"));
    expect("first", takeText(channel, queue), "at once");
    expect("second", takeText(channel, queue), "later");
    expect("not before its time", System.nanoTime() - begin >= 400_000_000L, true);
  }

  static void bigMessage(Broker broker) throws Exception {
    var queue = broker.queue("big");
    var factory = broker.factory(broker.uri);
    factory.setMaxInboundMessageBodySize(LIMIT + 1);
    var connection = broker.connect(factory);
    var channel = connection.createChannel();
    channel.confirmSelect();
    durable(channel, queue, null);
    var body = new byte[LIMIT];
    for (int place = 0; place < LIMIT; place++) body[place] = (byte) (place * 31 >> 3);
    channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, body);
    channel.waitForConfirmsOrDie(5000);
    expect("the same", Arrays.equals(take(channel, queue).getBody(), body), true);
    refused(connection, 406, each -> each.basicPublish("", queue, null, Arrays.copyOf(body, LIMIT + 1)));
  }

  static void headerTypes(Broker broker) throws Exception {
    var queue = broker.queue("headers");
    var channel = broker.channel();
    durable(channel, queue, null);
    var moment = new Date(1_772_323_199_000L);
    var headers = new LinkedHashMap<String, Object>();
    headers.put("bool", true);
    headers.put("byte", (byte) -8);
    headers.put("short", (short) -16);
    headers.put("int", -32);
    headers.put("long", 1L << 62);
    headers.put("float", 0.5f);
    headers.put("double", 1e-300);
    headers.put("text", "ä€𝄞");
    headers.put("empty", "");
    headers.put("bytes", new byte[] {0, -1});
    headers.put("none", null);
    headers.put("decimal", new BigDecimal("1.5"));
    headers.put("time", moment);
    headers.put("list", Arrays.asList(1, null, List.of(true), Map.of("four", 4)));
    headers.put("table", Map.of("deep", Map.of("deeper", List.of(true))));
    headers.put("k".repeat(128), 1);
    var properties = new BasicProperties.Builder().headers(headers).contentType("a/b").contentEncoding("gzip").deliveryMode(2)
        .priority(3).correlationId("c").replyTo("r").expiration("60000").messageId("m").timestamp(moment).type("t")
        .userId("guest").appId("a").build();
    channel.basicPublish("", queue, properties, new byte[0]);
    var got = take(channel, queue).getProps();
    for (var header : headers.entrySet()) {
      Object value = got.getHeaders().get(header.getKey());
      expect(header.getKey(), value instanceof LongString text ? text.toString() : value, header.getValue());
    }
    expect("properties", got.builder().headers(null).build(), properties.builder().headers(null).build());
  }
}
