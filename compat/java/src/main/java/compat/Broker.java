package compat;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** What the scenarios share: connections, and names of their own. */
final class Broker {
  interface Step {
    void take(Channel channel) throws Exception;
  }

  final String uri;
  final String prefix = "compat.java." + UUID.randomUUID().toString().substring(0, 13);
  private final List<Connection> connections = new ArrayList<>();
  private final List<String> queues = new ArrayList<>();
  private final List<String> exchanges = new ArrayList<>();

  Broker(String uri) {
    this.uri = uri;
  }

  ConnectionFactory factory(String at) throws Exception {
    var factory = new ConnectionFactory();
    factory.setUri(at.replaceFirst("/$", ""));
    factory.setConnectionTimeout(Harness.PATIENCE * 1000);
    return factory;
  }

  Connection connect(ConnectionFactory factory) throws Exception {
    var connection = factory.newConnection("compat: java");
    connections.add(connection);
    return connection;
  }

  Connection connect() throws Exception {
    return connect(factory(uri));
  }

  Channel channel() throws Exception {
    return connect().createChannel();
  }

  Channel confirming() throws Exception {
    var channel = channel();
    channel.confirmSelect();
    return channel;
  }

  String queue(String label) {
    queues.add(prefix + "." + label);
    return prefix + "." + label;
  }

  String exchange(String label) {
    exchanges.add(prefix + "." + label);
    return prefix + "." + label;
  }

  void forgetExchanges() {
    exchanges.clear();
  }

  void cleanUp() throws Exception {
    for (var connection : connections) {
      try {
        connection.abort(1000);
      } catch (AlreadyClosedException closed) {
        // as it should be
      }
    }
    if (queues.isEmpty() && exchanges.isEmpty()) return;
    try (var connection = factory(uri).newConnection()) {
      var channel = connection.createChannel();
      for (var queue : queues) channel.queueDelete(queue);
      for (var exchange : exchanges) channel.exchangeDelete(exchange);
    }
  }

  static void durable(Channel channel, String queue, Map<String, Object> arguments) throws IOException {
    channel.queueDeclare(queue, true, false, false, arguments);
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  static String text(Delivery delivery) {
    return text(delivery.getBody());
  }

  static AMQP.BasicProperties headers(Map<String, Object> headers) {
    return new AMQP.BasicProperties.Builder().headers(headers).build();
  }

  static BlockingQueue<Delivery> consume(Channel channel, String queue, Map<String, Object> arguments) throws IOException {
    var deliveries = new LinkedBlockingQueue<Delivery>();
    channel.basicConsume(queue, false, arguments, (tag, delivery) -> deliveries.add(delivery), tag -> {});
    return deliveries;
  }

  /** One message by basic.get, which may take a moment to come. */
  static GetResponse take(Channel channel, String queue) throws Exception {
    var got = new GetResponse[1];
    Harness.until("a message in " + queue, () -> (got[0] = channel.basicGet(queue, true)) != null);
    return got[0];
  }

  static String takeText(Channel channel, String queue) throws Exception {
    return text(take(channel, queue).getBody());
  }

  static long depth(Channel channel, String queue) throws IOException {
    return channel.messageCount(queue);
  }

  /** Checks with which code the broker closes a new channel for what is done on it, and gives its text. */
  static String refused(Connection connection, int code, Step forbidden) throws Exception {
    var channel = connection.createChannel();
    var reasons = new LinkedBlockingQueue<ShutdownSignalException>();
    channel.addShutdownListener(reasons::add);
    try {
      forbidden.take(channel);
    } catch (IOException | AlreadyClosedException closed) {
      // the listener is told
    }
    var close = (AMQP.Channel.Close) Harness.next("the refusal", reasons).getReason();
    Harness.expect("reply code", close.getReplyCode(), code);
    return close.getReplyText();
  }
}
