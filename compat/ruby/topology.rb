# Exchanges, connections, what is refused, and what fails.

module Topology
  module_function

  def alternate_exchange(broker)
    channel = broker.channel
    other = channel.fanout(broker.exchange('other'), durable: true)
    main = channel.direct(broker.exchange('main'), durable: true, arguments: { 'alternate-exchange' => other.name })
    returned = []
    main.on_return { |*message| returned << message }
    queue = durable(channel, broker.queue('unrouted')).bind(other)
    channel.confirm_select
    main.publish('caught', routing_key: 'nobody', mandatory: true)
    channel.wait_for_confirms
    delivery, _, body = take(queue)
    expect('message', [delivery.exchange, delivery.routing_key, body], [main.name, 'nobody', 'caught'])
    expect('returned', returned, [])
  end

  def exchange_to_exchange(broker)
    channel = broker.channel
    source = channel.topic(broker.exchange('source'), durable: true)
    middle = channel.fanout(broker.exchange('middle'), durable: true)
    queue = durable(channel, broker.queue('end')).bind(middle)
    middle.bind(source, routing_key: 'a.#')
    %w[a.b b.a].each { |key| source.publish(key, routing_key: key) }
    expect('message', take(queue).last, 'a.b')
    middle.unbind(source, routing_key: 'a.#')
    channel.confirm_select
    source.publish('to nobody', routing_key: 'a.b')
    channel.wait_for_confirms
    expect('left', depth(channel, queue.name), 0)
  end

  def headers_exchange(broker)
    channel = broker.channel
    exchange = channel.headers(broker.exchange('headers'), durable: true)
    queues = %w[all any].map do |match|
      queue = temporary(channel)
      queue.bind(exchange, arguments: { 'x-match' => match, 'format' => 'pdf', 'pages' => 3 })
      queue.bind(exchange, arguments: { 'x-match' => 'all', 'end' => true })
    end
    texts = {
      'both' => { 'format' => 'pdf', 'pages' => 3 }, 'one' => { 'format' => 'pdf', 'pages' => 4 }, 'none' => { 'format' => 'txt' },
      'end' => { 'end' => true }
    }
    texts.each { |text, headers| exchange.publish(text, headers: headers) }
    expect('all', texts_until('end', queues[0]), %w[both])
    expect('any', texts_until('end', queues[1]), %w[both one])
  end

  def exclusive_queues(broker)
    owner = broker.connect
    stranger = broker.connect
    name = temporary(owner.create_channel).name
    expect("named by the server: #{name}", name.start_with?('amq.gen-'), true)
    expect('to another connection', refusal(stranger.create_channel) { |channel| depth(channel, name) }.first, 405)
    owner.close
    wait_until('it goes with its connection') { refusal(stranger.create_channel) { |channel| depth(channel, name) }.first == 404 }
  end

  def auto_delete(broker)
    name = "#{broker.prefix}.fleeting"
    connection = broker.connect
    channel = connection.create_channel
    exchange = channel.fanout(name, durable: true, auto_delete: true)
    queue = channel.queue(name, durable: true, auto_delete: true).bind(exchange)
    consumer = queue.subscribe { nil }
    expect('while it is consumed from', queue.consumer_count, 1)
    consumer.cancel
    expect('the queue', connection.queue_exists?(name), false)
    expect('the exchange', connection.exchange_exists?(name), false)
  end

  def many_channels(broker)
    connection = broker.connect
    name = broker.queue('many')
    durable(connection.create_channel, name)
    seen = Queue.new
    channels = Array.new(200) { connection.create_channel }
    channels.each do |channel|
      durable(channel, name).subscribe(manual_ack: true) do |delivery, _, _|
        channel.ack(delivery.delivery_tag)
        seen << channel.id
      end
    end
    channels.each { |channel| channel.default_exchange.publish('x', routing_key: name) }
    got = Timeout.timeout(PATIENCE) { Array.new(200) { seen.pop } }
    expect('channels', got.uniq.size, 200)
  end

  def connection_options(broker)
    settings = { heartbeat: 7, channel_max: 20, frame_max: 8192, connection_name: 'compat: options' }
    connection = broker.connect(given('COMPAT_URI_VHOST'), **settings)
    expect('tuned', [connection.heartbeat, connection.channel_max, connection.frame_max], [7, 20, 8192])
    expect('product', connection.server_properties['product'], 'RabbitMQ')
    queue = temporary(connection.create_channel)
    queue.publish('x' * 100_000) # in frames of 8192
    expect('body', take(queue).last.size, 100_000)

    begin
      broker.connect(broker.uri.sub('guest:guest', 'guest:wrong'))
      raise 'let in with a wrong password'
    rescue Bunny::AuthenticationFailureError => e
      expect('user', e.username, 'guest')
    end
    begin
      broker.connect("#{broker.uri}no-such-vhost")
      raise 'let into a vhost that is not there'
    rescue Bunny::NotAllowedError => e
      expect('reason', e.connection_close.reply_code, 530)
    end
  end

  def tls(broker)
    connection = broker.connect(given('COMPAT_URI_TLS'), tls_ca_certificates: [given('COMPAT_CA')], verify_peer: true)
    queue = temporary(connection.create_channel)
    queue.publish('secret' * 100_000)
    expect('body', take(queue).last.size, 600_000)
  end

  def missing_exchange(broker)
    connection = broker.connect
    name = "#{broker.prefix}.missing"
    code, text = refusal(connection.create_channel) { |channel| channel.basic_publish('lost', name, 'k') }
    expect('reply', [code, text], [404, "NOT_FOUND - no exchange '#{name}' in vhost '/'"])
    expect('another channel', connection.create_channel.open?, true)
  end

  def permission_denied(broker)
    connection = broker.connect(given('COMPAT_URI_LIMITED'))
    durable(connection.create_channel, "allowed.#{broker.prefix}").delete
    {
      'declare' => ->(channel) { durable(channel, broker.prefix) },
      'publish' => ->(channel) { channel.basic_publish('x', 'amq.fanout', '') },
      'alternate exchange' => ->(channel) { channel.direct('allowed.x', arguments: { 'alternate-exchange' => 'no' }) }
    }.each do |what, forbidden|
      code, text = refusal(connection.create_channel, &forbidden)
      expect(what, [code, text[0, 14]], [403, 'ACCESS_REFUSED'])
    end
  end

  # The broker is restarted: bunny connects again, declares what is not durable, and consumes; nothing confirmed is lost.
  def recovery(broker)
    given('COMPAT_CONTROL')
    settings = { automatically_recover: true, network_recovery_interval: 0.3, recover_from_connection_close: true }
    connection = broker.connect(**settings)
    channel = connection.create_channel
    channel.confirm_select
    kept = durable(channel, broker.queue('recovery'), 'x-queue-type' => 'quorum')
    exchange = channel.fanout(broker.exchange('again'), durable: true)
    seen = []
    temporary(channel).bind(exchange).subscribe { |_, _, body| seen << body }
    100.times { |number| kept.publish(number.to_s, persistent: true) }
    expect('confirmed', channel.wait_for_confirms, true)
    control('restart')

    witness = broker.channel
    100.times { |number| expect('kept', take(durable(witness, kept.name, 'x-queue-type' => 'quorum')).last, number.to_s) }
    wait_until("the consumer's return", 20) do
      witness.basic_publish('back', exchange.name, '')
      sleep 0.2
      seen.include?('back')
    end
  end

  def blocked(broker)
    given('COMPAT_BLOCK')
    connection = broker.connect
    told = Queue.new
    connection.on_blocked { |method| told << method.reason }
    connection.on_unblocked { told << 'unblocked' }
    channel = connection.create_channel
    queue = durable(channel, broker.queue('blocked'))
    begin
      control('block')
      queue.publish('waits')
      reason = Timeout.timeout(PATIENCE) { told.pop }
      expect(reason, reason.start_with?('low on '), true)
    ensure
      control('unblock')
    end
    expect('then', Timeout.timeout(PATIENCE) { told.pop }, 'unblocked')
    wait_until('the message') { depth(channel, queue.name) == 1 }
  end
end
