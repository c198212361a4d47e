# The six classic patterns, and publisher confirms.

module Patterns
  module_function

  def hello_world(broker)
    queue = durable(broker.channel, broker.queue('hello'))
    queue.publish('Grüß Gott', content_type: 'text/plain', headers: { 'lang' => 'de', 'tries' => 1 })
    got = Queue.new
    durable(broker.channel, queue.name).subscribe { |*message| got << message }
    delivery, properties, body = Timeout.timeout(PATIENCE) { got.pop }
    expect('body', body.dup.force_encoding('UTF-8'), 'Grüß Gott')
    expect('delivery', [delivery.exchange, delivery.routing_key, delivery.redelivered?], ['', queue.name, false])
    expect('properties', [properties.content_type, properties.headers], ['text/plain', { 'lang' => 'de', 'tries' => 1 }])
  end

  def work_queues(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('tasks'))
    counts = { slow: 0, fast: 0 }
    { slow: 0.1, fast: 0.01 }.each do |name, seconds|
      worker = broker.channel
      worker.prefetch(1)
      durable(worker, queue.name).subscribe(manual_ack: true) do |delivery, _, _|
        sleep seconds
        counts[name] += 1
        worker.ack(delivery.delivery_tag)
      end
    end
    30.times { |number| queue.publish("task #{number}", persistent: true) }
    wait_until('all tasks') { counts.values.sum == 30 }
    expect('left', depth(channel, queue.name), 0)
    expect("the fast one does more: #{counts}", counts[:slow].positive? && counts[:slow] < counts[:fast], true)
  end

  def publish_subscribe(broker)
    news = broker.exchange('news')
    publisher = broker.channel.fanout(news, durable: true)
    queues = Array.new(2) do
      channel = broker.channel
      temporary(channel).bind(channel.fanout(news, durable: true))
    end
    %w[one two end].each { |headline| publisher.publish(headline) }
    queues.each { |queue| expect('headlines', texts_until('end', queue), %w[one two]) }
  end

  # Publishes the keys, and compares what comes by each list of patterns with what is wanted.
  def routed(channel, exchange, keys, interests)
    queues = interests.keys.map do |patterns|
      queue = temporary(channel)
      [*patterns.split, 'end'].each { |pattern| queue.bind(exchange, routing_key: pattern) }
      queue
    end
    [*keys, 'end'].each { |key| exchange.publish(key, routing_key: key) }
    interests.zip(queues) { |(patterns, wanted), queue| expect(patterns, texts_until('end', queue), wanted) }
  end

  def routing(broker)
    channel = broker.channel
    routed(
      channel, channel.direct(broker.exchange('log'), durable: true),
      %w[notice critical debug warning critical.disk critical],
      'critical' => %w[critical critical], 'notice warning critical' => %w[notice critical warning critical]
    )
  end

  def topics(broker)
    channel = broker.channel
    keys = %w[home.kitchen.heat home office.lab.heat office.lab.rack.heat]
    routed(
      channel, channel.topic(broker.exchange('readings'), durable: true), keys,
      'home.#' => keys[0, 2], 'home.*' => [], '*.*.heat' => keys.values_at(0, 2), '#.heat' => keys.values_at(0, 2, 3), '#' => keys
    )
  end

  def rpc(broker)
    server = broker.channel
    queue = durable(server, broker.queue('squares'))
    queue.subscribe(manual_ack: true) do |delivery, request, body|
      server.default_exchange.publish((body.to_i**2).to_s, routing_key: request.reply_to, correlation_id: request.correlation_id)
      server.ack(delivery.delivery_tag)
    end
    client = broker.channel
    answers = Queue.new
    replies = temporary(client)
    replies.subscribe { |_, reply, body| answers << [reply.correlation_id.to_i, body.to_i] }
    12.times do |number|
      client.default_exchange.publish(number.to_s, routing_key: queue.name, reply_to: replies.name, correlation_id: number.to_s)
    end
    got = Timeout.timeout(PATIENCE) { Array.new(12) { answers.pop } }
    expect('squares', got.sort, (0...12).map { |number| [number, number**2] })
  end

  def confirms_one_by_one(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('one'))
    channel.confirm_select
    (1..20).each do |number|
      queue.publish('order', persistent: true)
      expect('confirmed', channel.wait_for_confirms, true)
      expect('depth', depth(channel, queue.name), number)
    end
  end

  def confirms_in_batches(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('batch'))
    channel.confirm_select
    (1..10).each do |batch|
      50.times { queue.publish('order', persistent: true) }
      expect('confirmed', channel.wait_for_confirms, true)
      expect('depth', depth(channel, queue.name), batch * 50)
    end
  end

  # Every 100th message cannot be routed: it is returned, and confirmed afterwards.
  def confirms_asynchronous(broker)
    channel = broker.channel
    queue = durable(channel, broker.queue('async'))
    returned, confirmed = [], Queue.new
    channel.confirm_select(->(tag, multiple, nack) { confirmed << [tag, multiple, nack] })
    exchange = channel.default_exchange
    exchange.on_return { |info, _, body| returned << [info.reply_code, body.to_i] }
    (1..2000).each do |number|
      key = (number % 100).zero? ? "#{broker.prefix}.missing" : queue.name
      exchange.publish(number.to_s, routing_key: key, persistent: true, mandatory: true)
    end
    expect('all are confirmed', channel.wait_for_confirms, true)
    told = Array.new(confirmed.size) { confirmed.pop }
    expect('refused', told.map(&:last).uniq, [false])
    expect('the last one', told.map(&:first).max, 2000)
    expect('returned', returned, (100..2000).step(100).map { |number| [312, number] })
    expect('depth', depth(channel, queue.name), 1980)
  end
end
