package compat.spring;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.amqp.AmqpException;
import org.springframework.amqp.core.AmqpAdmin;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.DirectExchange;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.rabbit.annotation.RabbitListener;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.support.converter.Jackson2JsonMessageConverter;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;

/** Runs scenarios with a Spring Boot application and prints one line for each: Application URI [SCENARIO ...] */
@SpringBootApplication
public class Application {
  static final String PREFIX = "compat.spring." + UUID.randomUUID().toString().substring(0, 13);
  static final int PATIENCE = 8; // seconds for one expected event

  public record Order(int number, String text) {}

  interface Scenario {
    void play() throws Exception;
  }

  @Bean
  static Jackson2JsonMessageConverter converter() {
    return new Jackson2JsonMessageConverter();
  }

  @Bean
  static DirectExchange exchange() {
    return new DirectExchange(PREFIX);
  }

  @Bean
  static Queue orders() {
    return QueueBuilder.durable(PREFIX + ".orders").deadLetterExchange("").deadLetterRoutingKey(PREFIX + ".dead").build();
  }

  @Bean
  static Queue dead() {
    return QueueBuilder.durable(PREFIX + ".dead").quorum().build();
  }

  @Bean
  static Queue squares() {
    return QueueBuilder.durable(PREFIX + ".squares").quorum().build();
  }

  @Bean
  static Binding binding() {
    return BindingBuilder.bind(orders()).to(exchange()).with("order");
  }

  final BlockingQueue<Order> received = new LinkedBlockingQueue<>();
  final AtomicInteger tries = new AtomicInteger();

  @RabbitListener(queues = "#{orders.name}", concurrency = "2-4")
  void onOrder(Order order) {
    if (order.text().equals("poison")) {
      tries.incrementAndGet();
      throw new IllegalStateException("on purpose");
    }
    received.add(order);
  }

  @RabbitListener(queues = "#{squares.name}")
  int square(int number) {
    return number * number;
  }

  static void expect(String what, Object actual, Object wanted) {
    if (!Objects.equals(actual, wanted)) throw new AssertionError(what + ": got " + actual + ", wanted " + wanted);
  }

  public static void main(String[] arguments) throws Exception {
    var only = Arrays.asList(arguments).subList(1, arguments.length);
    var spring = new SpringApplication(Application.class);
    spring.setDefaultProperties(Map.of("spring.rabbitmq.addresses", arguments[0].replaceFirst("/$", "")));
    var scenarios = new LinkedHashMap<String, Scenario>();
    var context = spring.run();
    var application = context.getBean(Application.class);
    var template = context.getBean(RabbitTemplate.class);
    scenarios.put("spring-listener", () -> application.listener(template));
    scenarios.put("spring-retry-and-dead-letters", () -> application.retries(template));
    scenarios.put("spring-rpc", () -> application.rpc(template));
    scenarios.put("spring-confirms-and-returns", () -> application.confirms(template));
    scenarios.put("spring-recovery", () -> application.recovery(template));
    scenarios.keySet().removeIf(name -> !only.isEmpty() && !only.contains(name));
    System.out.println("scenarios " + String.join(" ", scenarios.keySet()));
    int failures = 0;
    for (var scenario : scenarios.entrySet()) {
      try {
        if (scenario.getKey().equals("spring-recovery") && System.getenv("COMPAT_CONTROL") == null) {
          System.out.println("skipped spring-recovery: COMPAT_CONTROL is not given");
          continue;
        }
        scenario.getValue().play();
        System.out.println("ok " + scenario.getKey());
      } catch (Exception | AssertionError failed) {
        failures++;
        System.out.println("FAILED " + scenario.getKey() + ": " + failed.toString().replaceAll("\\s+", " "));
      }
    }
    var admin = context.getBean(AmqpAdmin.class);
    context.getBeansOfType(Queue.class).values().forEach(queue -> admin.deleteQueue(queue.getName()));
    admin.deleteExchange(PREFIX);
    System.out.flush();
    Runtime.getRuntime().halt(failures > 0 ? 1 : 0);
  }

  Order next() throws InterruptedException {
    return received.poll(PATIENCE, TimeUnit.SECONDS);
  }

  void listener(RabbitTemplate template) throws Exception {
    for (int number = 0; number < 20; number++) template.convertAndSend(PREFIX, "order", new Order(number, "ä"));
    var numbers = new java.util.TreeSet<Integer>();
    while (numbers.size() < 20) numbers.add(Objects.requireNonNull(next(), "an order is missing").number());
  }

  /** Tried three times by the listener's own retries, then dead-lettered by the queue. */
  void retries(RabbitTemplate template) {
    template.convertAndSend(PREFIX, "order", new Order(1, "poison"));
    Message dead = template.receive(PREFIX + ".dead", PATIENCE * 1000);
    expect("tries", tries.get(), 3);
    var deaths = (List<?>) Objects.requireNonNull(dead, "nothing was dead-lettered").getMessageProperties().getHeaders().get("x-death");
    expect("reason", ((Map<?, ?>) deaths.get(0)).get("reason").toString(), "rejected");
    expect("queue", ((Map<?, ?>) deaths.get(0)).get("queue").toString(), PREFIX + ".orders");
  }

  void rpc(RabbitTemplate template) {
    for (int number = 0; number < 5; number++) {
      expect("square", template.convertSendAndReceive(PREFIX + ".squares", number), number * number);
    }
  }

  void confirms(RabbitTemplate template) throws Exception {
    var routed = new CorrelationData("routed");
    template.convertAndSend(PREFIX, "order", new Order(7, "confirmed"), routed);
    expect("acked", routed.getFuture().get(PATIENCE, TimeUnit.SECONDS).isAck(), true);
    expect("returned", routed.getReturned(), null);
    var lost = new CorrelationData("lost");
    template.convertAndSend(PREFIX, "nobody", new Order(8, "lost"), lost);
    expect("acked", lost.getFuture().get(PATIENCE, TimeUnit.SECONDS).isAck(), true);
    expect("reply code", lost.getReturned().getReplyCode(), 312);
    expect("order", next(), new Order(7, "confirmed"));
    var wrong = new CorrelationData("wrong");
    template.convertAndSend(PREFIX + ".missing", "k", new Order(9, "lost"), wrong);
    expect("acked", wrong.getFuture().get(PATIENCE, TimeUnit.SECONDS).isAck(), false);
  }

  /** The broker is restarted: listeners go on by themselves. */
  void recovery(RabbitTemplate template) throws Exception {
    var restart = HttpRequest.newBuilder(URI.create(System.getenv("COMPAT_CONTROL") + "/restart")).POST(HttpRequest.BodyPublishers.noBody());
    var answer = HttpClient.newHttpClient().send(restart.build(), HttpResponse.BodyHandlers.ofString());
    expect("restart " + answer.body(), answer.statusCode(), 204);
    for (int tries = 0; ; tries++) {
      try {
        template.convertAndSend(PREFIX, "order", new Order(10, "after"));
        break;
      } catch (AmqpException refused) {
        if (tries > 50) throw refused;
        Thread.sleep(200);
      }
    }
    Order order = received.poll(30, TimeUnit.SECONDS);
    expect("order", order, new Order(10, "after"));
  }
}
