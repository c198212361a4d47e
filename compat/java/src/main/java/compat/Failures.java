package compat;

import static compat.Broker.bytes;
import static compat.Broker.depth;
import static compat.Broker.durable;
import static compat.Broker.refused;
import static compat.Broker.take;
import static compat.Broker.takeText;
import static compat.Harness.control;
import static compat.Harness.expect;
import static compat.Harness.given;
import static compat.Harness.next;
import static compat.Harness.until;

import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Connections, what is refused, and what fails. */
final class Failures {
  static void connectionOptions(Broker broker) throws Exception {
    var factory = broker.factory(given("COMPAT_URI_VHOST"));
    factory.setRequestedHeartbeat(7);
    factory.setRequestedChannelMax(20);
    factory.setRequestedFrameMax(8192);
    var connection = broker.connect(factory);
    expect("tuned", List.of(connection.getHeartbeat(), connection.getChannelMax(), connection.getFrameMax()), List.of(7, 20, 8192));
    var properties = connection.getServerProperties();
    expect("product", properties.get("product").toString(), "RabbitMQ");
    var capabilities = (Map<?, ?>) properties.get("capabilities");
    for (var each : List.of("basic.nack", "consumer_cancel_notify", "publisher_confirms", "exchange_exchange_bindings")) {
      expect(each, capabilities.get(each), true);
    }
    var channel = connection.createChannel();
    var queue = channel.queueDeclare().getQueue();
    channel.basicPublish("", queue, null, new byte[100_000]); // in frames of 8192
    expect("body", take(channel, queue).getBody().length, 100_000);
    channel.close();

    try {
      broker.connect(broker.factory(broker.uri.replace("guest:guest", "guest:wrong")));
      throw new AssertionError("a wrong password is accepted");
    } catch (AuthenticationFailureException refused) {
      expect(refused.getMessage(), refused.getMessage().contains("ACCESS_REFUSED"), true);
    }
    try {
      broker.connect(broker.factory(broker.uri + "no-such-vhost"));
      throw new AssertionError("a vhost that is not there is opened");
    } catch (IOException refused) {
      var reason = refused.getCause().getMessage();
      expect(reason, reason.contains("NOT_ALLOWED - vhost no-such-vhost not found"), true);
    }
  }

  static void tls(Broker broker) throws Exception {
    var factory = broker.factory(given("COMPAT_URI_TLS"));
    var trusted = KeyStore.getInstance(KeyStore.getDefaultType());
    trusted.load(null, null);
    try (var file = Files.newInputStream(Path.of(given("COMPAT_CA")))) {
      trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
    }
    var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(trusted);
    var context = SSLContext.getInstance("TLSv1.3");
    context.init(null, trust.getTrustManagers(), null);
    factory.useSslProtocol(context);
    factory.enableHostnameVerification();
    var channel = broker.connect(factory).createChannel();
    var queue = channel.queueDeclare().getQueue();
    channel.basicPublish("", queue, null, bytes("secret".repeat(100_000)));
    expect("body", takeText(channel, queue).length(), 600_000);
  }

  static void missingExchange(Broker broker) throws Exception {
    var connection = broker.connect();
    var exchange = broker.prefix + ".missing";
    var reason = refused(connection, 404, channel -> channel.basicPublish(exchange, "k", null, bytes("lost")));
    expect("reply text", reason, "NOT_FOUND - no exchange '" + exchange + "' in vhost '/'");
    connection.createChannel().close();
  }

  static void permissionDenied(Broker broker) throws Exception {
    var connection = broker.connect(broker.factory(given("COMPAT_URI_LIMITED")));
    var channel = connection.createChannel();
    var queue = "allowed." + broker.prefix;
    durable(channel, queue, null);
    channel.queueDelete(queue);
    List<Broker.Step> forbidden = List.of(
        each -> durable(each, broker.prefix, null),
        each -> each.basicPublish("amq.fanout", "", null, bytes("x")),
        each -> each.exchangeDeclare("allowed.x", "direct", false, false, Map.of("alternate-exchange", "no")));
    for (var step : forbidden) {
      var reason = refused(connection, 403, step);
      expect(reason, reason.startsWith("ACCESS_REFUSED - "), true);
    }
  }

  /** The broker is restarted under a publisher and a consumer: the library recovers both, and nothing confirmed is lost. */
  static void recovery(Broker broker) throws Exception {
    given("COMPAT_CONTROL");
    String queue = broker.queue("quorum");
    var factory = broker.factory(broker.uri);
    factory.setAutomaticRecoveryEnabled(true);
    factory.setTopologyRecoveryEnabled(true);
    factory.setNetworkRecoveryInterval(300);
    var connection = broker.connect(factory);
    var recovered = new LinkedBlockingQueue<Boolean>();
    ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
      @Override
      public void handleRecovery(Recoverable what) {
        recovered.add(true);
      }

      @Override
      public void handleRecoveryStarted(Recoverable what) {}
    });
    var channel = connection.createChannel();
    channel.confirmSelect();
    durable(channel, queue, Map.of("x-queue-type", "quorum"));
    var temporary = channel.queueDeclare().getQueue(); // exclusive: it has to be declared again, under another name
    channel.queueBind(temporary, "amq.direct", broker.prefix);
    var received = new LinkedBlockingQueue<String>();
    channel.basicConsume(temporary, true, (tag, delivery) -> received.add(Broker.text(delivery)), tag -> {});
    for (int number = 0; number < 100; number++) {
      channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, bytes(String.valueOf(number)));
    }
    channel.waitForConfirmsOrDie(5000);
    control("restart");
    expect("recovered", recovered.poll(20, TimeUnit.SECONDS), true);
    channel.basicPublish("amq.direct", broker.prefix, null, bytes("after"));
    expect("by what was recovered", next("a message", received), "after");
    channel.waitForConfirmsOrDie(5000);
    for (int number = 0; number < 100; number++) expect("kept", takeText(channel, queue), String.valueOf(number));
  }

  static void blocked(Broker broker) throws Exception {
    given("COMPAT_BLOCK");
    var queue = broker.queue("blocked");
    var connection = broker.connect();
    var told = new LinkedBlockingQueue<String>();
    connection.addBlockedListener(told::add, () -> told.add("unblocked"));
    var channel = connection.createChannel();
    durable(channel, queue, null);
    control("block");
    try {
      channel.basicPublish("", queue, null, bytes("waits"));
      var reason = next("blocked", told);
      expect(reason, reason.startsWith("low on "), true);
    } finally {
      control("unblock");
    }
    expect("afterwards", next("unblocked", told), "unblocked");
    until("the message", () -> depth(channel, queue) == 1);
  }
}
