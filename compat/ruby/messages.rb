# What may happen to a message, and queues and consumers of all kinds.

require 'digest'

module Messages
  module_function

  LIMIT = 16 * 1024 * 1024 # the largest message that a broker takes, unless told otherwise

  def get(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('get'))
    expect('from an empty queue', queue.pop, [nil, nil, nil])
    %w[one two].each { |text| queue.publish(text) }
    wait_until('both messages') { depth(channel, queue.name) == 2 }
    [false, true].each do |redelivered|
      delivery, _, body = queue.pop(manual_ack: true)
      expect('message', [body, delivery.redelivered], ['one', redelivered])
      redelivered ? channel.ack(delivery.delivery_tag) : channel.nack(delivery.delivery_tag, false, true)
    end
    expect('left', depth(channel, queue.name), 1)
  end

  def acknowledgements(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('acks'))
    6.times { |number| queue.publish(number.to_s) }
    seen = []
    queue.subscribe(manual_ack: true) { |delivery, _, body| seen << [body, delivery.redelivered?, delivery.delivery_tag] }
    wait_until('six messages') { seen.size == 6 }
    tags = seen.to_h { |body, _, tag| [body, tag] }
    channel.ack(tags['1'], true)
    channel.reject(tags['2'], false)
    channel.reject(tags['3'], true)
    wait_until('3 again') { seen.size == 7 }
    expect('3 again', seen[6][0, 2], ['3', true])
    channel.nack(tags['5'], true, true)
    wait_until('4 and 5 again') { seen.size == 9 }
    expect('4 and 5 again', seen[7, 2].map { |each| each[0, 2] }.sort, [['4', true], ['5', true]])
    channel.basic_recover(true)
    wait_until('what is left again') { seen.size == 12 }
    channel.ack(seen.last[2], true)
    channel.close
    expect('left', depth(broker.channel, queue.name), 0)
  end

  def prefetch(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('prefetch'))
    10.times { |number| queue.publish(number.to_s) }
    wait_until('ten messages') { depth(channel, queue.name) == 10 }
    channel.prefetch(3)
    tags = []
    queue.subscribe(manual_ack: true) { |delivery, _, _| tags << delivery.delivery_tag }
    wait_until('three messages') { tags.size == 3 }
    sleep 0.2
    expect('at once', tags.size, 3)
    channel.ack(tags[1], true)
    wait_until('two more') { tags.size == 5 }
    expect('ready', depth(channel, queue.name), 5)
  end

  def returns(broker)
    channel = broker.channel
    came = Queue.new
    exchange = channel.default_exchange
    exchange.on_return { |*message| came << message }
    exchange.publish('lost', routing_key: "#{broker.prefix}.missing", mandatory: true, headers: { 'order' => 7 })
    info, properties, body = Timeout.timeout(PATIENCE) { came.pop }
    expect('reply', [info.reply_code, info.reply_text], [312, 'NO_ROUTE'])
    expect('message', [properties[:headers], body], [{ 'order' => 7 }, 'lost'])
  end

  def transactions(broker)
    channel, observer = broker.channel, broker.channel
    queue = durable(channel, broker.queue('tx'))
    channel.tx_select
    queue.publish('rolled back')
    channel.tx_rollback
    queue.publish('committed')
    expect('before the commit', depth(observer, queue.name), 0)
    channel.tx_commit
    expect('after the commit', depth(observer, queue.name), 1)
    expect('message', take(queue).last, 'committed')
  end

  def ttl(broker)
    channel = broker.channel
    short = durable(channel, broker.queue('short'), 'x-message-ttl' => 100)
    long = durable(channel, broker.queue('long'))
    gone = durable(channel, broker.queue('gone'), 'x-expires' => 200)
    short.publish('by the queue')
    long.publish('by itself', expiration: 100)
    long.publish('stays')
    wait_until('the short queue is empty') { depth(channel, short.name).zero? }
    wait_until('one message is left') { depth(channel, long.name) == 1 }
    expect('left', take(long).last, 'stays')
    sleep 0.5
    expect('the unused queue', refusal(broker.channel) { |doomed| depth(doomed, gone.name) }.first, 404)
  end

  # Rejected work waits in a queue and comes back; the third time it is given up.
  def dead_letters(broker)
    channel = broker.channel
    retrying = channel.direct(broker.exchange('retry'), durable: true)
    to_retry = { 'x-dead-letter-exchange' => retrying.name, 'x-dead-letter-routing-key' => 'later' }
    work = durable(channel, broker.queue('work'), to_retry)
    back = { 'x-message-ttl' => 50, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => work.name }
    waiting = durable(channel, broker.queue('waiting'), back).bind(retrying, routing_key: 'later')
    tries = []
    work.subscribe(manual_ack: true) do |delivery, properties, _|
      deaths = (properties.headers || {}).fetch('x-death', [])
      tries << deaths.to_h { |death| [[death['queue'], death['reason']], death['count']] }
      tries.size < 3 ? channel.reject(delivery.delivery_tag, false) : channel.ack(delivery.delivery_tag)
    end
    work.publish('job')
    wait_until('three tries') { tries.size == 3 }
    expect('deaths', tries, [{}] + [1, 2].map { |n| { [work.name, 'rejected'] => n, [waiting.name, 'expired'] => n } })
  end

  def priorities(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('priorities'), 'x-max-priority' => 5)
    [0, 5, 1, 9, 1].each_with_index { |priority, number| queue.publish(number.to_s, priority: priority) }
    wait_until('five messages') { depth(channel, queue.name) == 5 }
    expect('order', Array.new(5) { take(queue).last }, %w[1 3 2 4 0])
  end

  def delayed(broker)
    name = "#{broker.prefix}.delayed"
    begin
      broker.channel.exchange(name, type: 'x-delayed-message', durable: true, arguments: { 'x-delayed-type' => 'direct' })
    rescue Bunny::ChannelLevelException, Bunny::ConnectionLevelException => e
      raise Skipped, "the broker has no such exchange: #{e.message}"
    end
    broker.exchanges << name
    channel = broker.channel
    exchange = channel.exchange(name, type: 'x-delayed-message', durable: true, arguments: { 'x-delayed-type' => 'direct' })
    queue = durable(channel, broker.queue('delayed')).bind(exchange, routing_key: 'k')
    exchange.publish('later', routing_key: 'k', headers: { 'x-delay' => 400 })
    exchange.publish('at once', routing_key: 'k')
    expect('order', Array.new(2) { take(queue).last }, ['at once', 'later'])
  end

  def big_message(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('big'))
    channel.confirm_select
    large = (0..255).to_a.pack('C*') * (LIMIT / 256)
    queue.publish(large, persistent: true)
    expect('confirmed', channel.wait_for_confirms, true)
    expect('digest', Digest::SHA256.hexdigest(take(queue).last), Digest::SHA256.hexdigest(large))
    refused = refusal(broker.channel) { |doomed| doomed.default_exchange.publish("#{large}!", routing_key: queue.name) }
    expect('reply code', refused.first, 406)
  end

  def header_types(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('headers'))
    headers = {
      'bool' => true, 'no' => false, 'int' => 7, 'negative' => -(2**31), 'long' => 2**40, 'text' => 'text', 'empty' => '', 'none' => nil,
      'float' => 0.25, 'time' => Time.at(1_772_323_199), 'list' => [1, 'two', [3], { 'four' => 4 }],
      'table' => { 'deep' => { 'deeper' => [true, {}] } }, 'k' * 128 => 'long name'
    }
    properties = {
      content_type: 'a/b', content_encoding: 'gzip', delivery_mode: 2, priority: 3, correlation_id: 'c', reply_to: 'r', expiration: '60000',
      message_id: 'm', timestamp: 1, type: 't', user_id: 'guest', app_id: 'a'
    }
    queue.publish('', headers: headers, **properties)
    _, got, body = take(queue)
    expect('body', body, '')
    expect('headers', got.headers, headers)
    came = properties.keys.to_h { |name| [name, got[name]] }
    expect('properties', came, properties.merge(timestamp: Time.at(1)))
  end

  def cancelled(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('cancelled'))
    told = Queue.new
    consumer = queue.subscribe(on_cancellation: ->(cancel) { told << cancel.consumer_tag }) { nil }
    broker.channel.queue_delete(queue.name)
    expect('consumer', Timeout.timeout(PATIENCE) { told.pop }, consumer.consumer_tag)
    durable(channel, queue.name) # the channel lives on
  end

  def single_active(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('single'), 'x-single-active-consumer' => true)
    got = { first: [], second: [] }
    consumers = got.keys.map do |name|
      queue.subscribe(manual_ack: true) do |delivery, _, body|
        got[name] << body
        channel.ack(delivery.delivery_tag)
      end
    end
    %w[1 2].each { |text| queue.publish(text) }
    wait_until('both') { got[:first].size == 2 }
    consumers.first.cancel
    queue.publish('3')
    wait_until("the other's turn") { got[:second].any? }
    expect('got', got, { first: %w[1 2], second: %w[3] })
  end

  def quorum_queue(broker)
    channel = broker.channel
    dead = durable(channel, broker.queue('dead'))
    limit = { 'x-queue-type' => 'quorum', 'x-delivery-limit' => 2 }
    dead_letters = { 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => dead.name }
    queue = durable(channel, broker.queue('quorum'), limit.merge(dead_letters))
    counts = []
    queue.subscribe(manual_ack: true) do |delivery, properties, _|
      counts << (properties.headers || {})['x-delivery-count']
      channel.reject(delivery.delivery_tag, true)
    end
    queue.publish('poison', persistent: true)
    wait_until('three deliveries') { counts.size == 3 }
    expect('delivery counts', counts, [nil, 1, 2])
    _, properties, body = take(durable(broker.channel, dead.name))
    expect('given up', [body, properties.headers['x-death'][0]['reason']], %w[poison delivery_limit])
  end

  def stream(broker)
    channel = broker.channel
    arguments = { 'x-queue-type' => 'stream' }
    queue = durable(channel, broker.queue('stream'), arguments)
    channel.confirm_select
    20.times { |number| queue.publish(number.to_s) }
    channel.wait_for_confirms
    { 'first' => (0...20), 15 => (15...20), 'next' => (20..20) }.each do |offset, wanted|
      reader = broker.channel
      reader.prefetch(5)
      seen = []
      durable(reader, queue.name, arguments).subscribe(manual_ack: true, arguments: { 'x-stream-offset' => offset }) do |delivery, properties, body|
        seen << [properties.headers['x-stream-offset'], body]
        reader.ack(delivery.delivery_tag)
      end
      queue.publish('20') if offset == 'next'
      wait_until("messages from #{offset}") { seen.size >= wanted.size }
      expect("from #{offset}", seen, wanted.map { |number| [number, number.to_s] })
      reader.close
    end
  end
end
