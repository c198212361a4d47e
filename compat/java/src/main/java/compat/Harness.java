package compat;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;

/** Plays scenarios and prints a line for each. */
final class Harness {
  static final int PATIENCE = 5; // seconds for one expected event
  private static final int SCENARIO = 20;
  private static final int LONG = 70; // where the broker is restarted
  private static final int CLEAN_UP = 5;

  interface Scenario {
    void play(Broker broker) throws Exception;
  }

  /** The scenario cannot be played here, and why. */
  static final class Skipped extends Exception {
    Skipped(String reason) {
      super(reason);
    }
  }

  /** What the runner says about the broker (see compat/runner/brokers.py). */
  static String given(String variable) throws Skipped {
    String value = System.getenv(variable);
    if (value == null) throw new Skipped(variable + " is not given");
    return value;
  }

  /** Has the runner do something to the broker, and waits until it has. */
  static void control(String action) throws Exception {
    var uri = URI.create(given("COMPAT_CONTROL") + "/" + action);
    var request = HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.noBody()).build();
    var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 204) throw new IllegalStateException(action + ": " + answer.body());
  }

  static void expect(String what, Object actual, Object wanted) {
    if (!Objects.deepEquals(actual, wanted)) {
      throw new AssertionError(what + ": got " + actual + ", wanted " + wanted);
    }
  }

  static <T> T next(String what, BlockingQueue<T> queue) throws InterruptedException {
    T value = queue.poll(PATIENCE, TimeUnit.SECONDS);
    if (value == null) throw new AssertionError(what + ": not within " + PATIENCE + " s");
    return value;
  }

  static void until(String what, Callable<Boolean> condition) throws Exception {
    for (int tries = 0; !condition.call(); tries++) {
      if (tries > PATIENCE * 50) throw new AssertionError(what + ": not within " + PATIENCE + " s");
      Thread.sleep(20);
    }
  }

  private static String call(ExecutorService threads, int seconds, Callable<Void> scenario) {
    var running = threads.submit(scenario);
    try {
      running.get(seconds, TimeUnit.SECONDS);
      return "ok";
    } catch (TimeoutException late) {
      running.cancel(true);
      return "FAILED not finished after " + seconds + " s";
    } catch (InterruptedException | ExecutionException failed) {
      Throwable reason = failed.getCause() == null ? failed : failed.getCause();
      if (reason instanceof Skipped) return "skipped " + reason.getMessage();
      String cause = reason.getCause() == null ? "" : " because of " + reason.getCause();
      return "FAILED " + (reason + cause).replaceAll("\\s+", " ");
    }
  }

  static void main(Map<String, Scenario> scenarios, String[] arguments) {
    Set<String> only = Arrays.stream(arguments).skip(1).collect(Collectors.toSet());
    var chosen = scenarios.keySet().stream().filter(name -> only.isEmpty() || only.contains(name)).toList();
    System.out.println("scenarios " + String.join(" ", chosen));
    boolean failed = false;
    var threads = Executors.newCachedThreadPool();
    for (String name : chosen) {
      var broker = new Broker(arguments[0]);
      int seconds = Set.of("recovery", "blocked").contains(name) ? LONG : SCENARIO;
      String outcome = call(threads, seconds, () -> {
        scenarios.get(name).play(broker);
        return null;
      });
      String cleaned = call(threads, CLEAN_UP, () -> {
        broker.cleanUp();
        return null;
      });
      if (outcome.equals("ok") && !cleaned.equals("ok")) outcome = "FAILED cleaning up: " + cleaned;
      failed |= outcome.startsWith("FAILED");
      String[] parts = outcome.split(" ", 2);
      System.out.println(parts[0] + " " + name + (parts.length > 1 ? ": " + parts[1] : ""));
    }
    // Not just a return: a scenario that hangs must not keep the program alive.
    System.out.flush();
    Runtime.getRuntime().halt(failed ? 1 : 0);
  }
}
