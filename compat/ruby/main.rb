# Runs every scenario with bunny and prints one line for each: ruby main.rb URI [SCENARIO ...]

require_relative 'harness'
require_relative 'messages'
require_relative 'patterns'
require_relative 'topology'

main(
  'hello-world' => Patterns.method(:hello_world),
  'work-queues' => Patterns.method(:work_queues),
  'publish-subscribe' => Patterns.method(:publish_subscribe),
  'routing' => Patterns.method(:routing),
  'topics' => Patterns.method(:topics),
  'rpc' => Patterns.method(:rpc),
  'confirms-one-by-one' => Patterns.method(:confirms_one_by_one),
  'confirms-in-batches' => Patterns.method(:confirms_in_batches),
  'confirms-asynchronous' => Patterns.method(:confirms_asynchronous),
  'connection-options' => Topology.method(:connection_options),
  'tls' => Topology.method(:tls),
  'get' => Messages.method(:get),
  'acknowledgements' => Messages.method(:acknowledgements),
  'prefetch' => Messages.method(:prefetch),
  'returns' => Messages.method(:returns),
  'transactions' => Messages.method(:transactions),
  'ttl' => Messages.method(:ttl),
  'dead-letters' => Messages.method(:dead_letters),
  'priorities' => Messages.method(:priorities),
  'delayed' => Messages.method(:delayed),
  'big-message' => Messages.method(:big_message),
  'header-types' => Messages.method(:header_types),
  'alternate-exchange' => Topology.method(:alternate_exchange),
  'exchange-to-exchange' => Topology.method(:exchange_to_exchange),
  'headers-exchange' => Topology.method(:headers_exchange),
  'exclusive-queues' => Topology.method(:exclusive_queues),
  'auto-delete' => Topology.method(:auto_delete),
  'consumer-cancelled' => Messages.method(:cancelled),
  'single-active-consumer' => Messages.method(:single_active),
  'quorum-queue' => Messages.method(:quorum_queue),
  'stream' => Messages.method(:stream),
  'many-channels' => Topology.method(:many_channels),
  'missing-exchange' => Topology.method(:missing_exchange),
  'permission-denied' => Topology.method(:permission_denied),
  'recovery' => Topology.method(:recovery),
  'blocked' => Topology.method(:blocked)
)
