# Plays scenarios and prints a line for each; and what they share: connections, names of their own, and waiting for messages.

require 'bunny'
require 'logger'
require 'net/http'
require 'securerandom'
require 'timeout'

PATIENCE = 5 # seconds for one expected event
SCENARIO_SECONDS = 20
LONG_SECONDS = 70 # where the broker is restarted
LONG = %w[recovery blocked].freeze

class Skipped < StandardError; end

# What the runner says about the broker (see compat/runner/brokers.py).
def given(variable)
  ENV.fetch(variable) { raise Skipped, "#{variable} is not given" }
end

# Has the runner do something to the broker, and waits until it has.
def control(action)
  uri = URI("#{given('COMPAT_CONTROL')}/#{action}")
  answer = Net::HTTP.start(uri.host, uri.port, read_timeout: LONG_SECONDS) { |http| http.post(uri.path, '') }
  expect(action, answer.code, '204')
end

def expect(what, actual, wanted)
  raise "#{what}: got #{actual.inspect}, wanted #{wanted.inspect}" unless actual == wanted
end

def wait_until(what, seconds = PATIENCE)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
  until yield
    raise "#{what}: not within #{seconds} s" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

    sleep 0.02
  end
end

class Broker
  attr_reader :uri, :prefix, :exchanges

  def initialize(uri)
    @uri = uri
    @prefix = "compat.ruby.#{SecureRandom.hex(6)}"
    @queues = []
    @exchanges = []
    @connections = []
  end

  def connect(uri = @uri, **settings)
    settings = { automatically_recover: false, logger: Logger.new(IO::NULL), continuation_timeout: PATIENCE * 1000 }.merge(settings)
    uri += '%2f' if uri.end_with?('/') # bunny takes an empty path for an empty name
    connection = Bunny.new(uri, **settings)
    @connections << connection
    connection.start
  end

  def channel
    connect.create_channel
  end

  # A queue name that no other run uses; clean_up deletes the queue.
  def queue(label)
    @queues << "#{@prefix}.#{label}"
    @queues.last
  end

  # The same for an exchange.
  def exchange(label)
    @exchanges << "#{@prefix}.#{label}"
    @exchanges.last
  end

  def clean_up
    @connections.each { |connection| connection.close if connection.open? }
    channel = self.channel
    @queues.each { |queue| channel.queue_delete(queue) }
    @exchanges.each { |exchange| channel.exchange_delete(exchange) }
    channel.connection.close
  end
end

def durable(channel, queue, arguments = {})
  channel.queue(queue, durable: true, arguments: arguments)
end

# A queue named by the server, which goes with its connection.
def temporary(channel)
  channel.queue('', exclusive: true)
end

def depth(channel, queue)
  channel.queue_declare(queue, passive: true).message_count
end

# One message by basic.get, which may take a moment to come.
def take(queue)
  got = nil
  wait_until("a message in #{queue.name}") do
    got = queue.pop
    got.first
  end
  got
end

# The bodies that the queue holds before the one that says it is the last.
def texts_until(last, queue)
  texts = Queue.new
  consumer = queue.subscribe { |_, _, body| texts << body }
  got = []
  Timeout.timeout(PATIENCE) { got << texts.pop until got.last == last }
  consumer.cancel
  got[0..-2]
end

# The code and text with which the broker closes the channel, after what the block does. Of a close that answers nothing, bunny
# tells the next call that has an answer, if there is one in time: so it is taken from where bunny keeps it.
def refusal(channel)
  begin
    yield channel
  rescue Bunny::ChannelLevelException
    nil
  end
  wait_until('the refusal') { channel.instance_variable_get(:@last_channel_error) }
  close = channel.instance_variable_get(:@last_channel_error).channel_close
  [close.reply_code, close.reply_text]
end

def outcome_of(seconds)
  Timeout.timeout(seconds) { yield }
  ['ok', nil]
rescue Skipped => e
  ['skipped', e.message]
rescue StandardError, Timeout::Error => e
  ['FAILED', "#{e.class}: #{e.message}".split.join(' ')[0, 300]]
end

def main(scenarios)
  uri, *only = ARGV
  abort "usage: #{$PROGRAM_NAME} amqp://USER:PASSWORD@HOST:PORT/VHOST [SCENARIO ...]" unless uri
  $stdout.sync = true
  chosen = scenarios.keys.select { |name| only.empty? || only.include?(name) }
  puts "scenarios #{chosen.join(' ')}"
  failures = 0
  chosen.each do |name|
    broker = Broker.new(uri)
    outcome, reason = outcome_of(LONG.include?(name) ? LONG_SECONDS : SCENARIO_SECONDS) { scenarios[name].call(broker) }
    cleaned, unclean = outcome_of(PATIENCE) { broker.clean_up }
    outcome, reason = 'FAILED', "cleaning up: #{unclean}" if outcome == 'ok' && cleaned != 'ok'
    failures += 1 if outcome == 'FAILED'
    puts reason ? "#{outcome} #{name}: #{reason}" : "#{outcome} #{name}"
  end
  exit!(failures.zero? ? 0 : 1) # a scenario that hangs must not keep the program alive
end
