"""What frameworks and tools declare, send and ask for on their own, in their order; which is whose is told in ../../README.md."""
import json
import time

from stage import quote, scenario, variants

LEVELS = 28             # so long a delay in seconds is written, as bits


def delays(c, level, delivery, queue_type, **more):
    """The delays of NServiceBus and of Celery: a level for each bit of a number of seconds, with a queue where it is 1."""
    for n in reversed(range(LEVELS)):
        c.exchange(level(n), 'topic')
        c.queue(level(n), queue_type=queue_type, overflow='reject-publish', message_ttl=1000 << n,
                dead_letter_exchange=level(n - 1) if n else delivery, **more)
        c.bind(level(n), level(n), '*.' * (LEVELS - 1 - n) + '1.#')
    for n in reversed(range(1, LEVELS)):
        c.bind_exchange(level(n - 1), level(n), '*.' * (LEVELS - 1 - n) + '0.#')
    c.exchange(delivery, 'topic')
    c.bind_exchange(delivery, level(0), '*.' * (LEVELS - 1) + '0.#')


def delayed_key(seconds, address):
    return '.'.join(f'{seconds:0{LEVELS}b}') + '.' + address


@variants(nservicebus=('nsb.v2.delay-level-{:02}', 'nsb.v2.delay-delivery', 'quorum', {'dead_letter_strategy': 'at-least-once'}),
          celery=('celery_delayed_{}', 'celery_delayed_delivery', 'quorum', {'dead_letter_strategy': 'at-least-once'}),
          celery_classic=('celery_delayed_{}', 'celery_delayed_delivery', 'classic', {}))
def delayed_by(s, case):
    name, delivery, queue_type, more = case
    c = s.channel()
    delays(c, name.format, delivery, queue_type, **more)
    c.queue('Sales', queue_type=queue_type)
    c.bind('Sales', delivery, '#.Sales')
    c.confirm()
    # Two seconds: it waits at level 1 and passes level 0 by.
    c.publish(delayed_key(2, 'Sales'), 'later', name.format(1), headers={'NServiceBus.Transport.RabbitMQ.DelayInSeconds': 2},
              delivery_mode=2)
    c.confirms()
    s.until(name.format(1), 1)
    before = time.monotonic()
    s.until('Sales', 1)
    s.note(f'in time: {1 < time.monotonic() - before < 4}')
    c.drain('Sales')


@scenario
def nservicebus_endpoint(s):
    "Its own topology, and what it wants to know of its queues"
    c = s.channel()
    for queue in ('Sales', 'error'):
        c.quorum(queue)
        c.exchange(queue, 'fanout')
        c.bind(queue, queue)
    c.exchange('Events:OrderPlaced', 'fanout')
    c.bind_exchange('Sales', 'Events:OrderPlaced')
    s.http('GET', 'overview', None, 'rabbitmq_version', 'disable_stats')
    _, flags = s.ask('GET', '/api/feature-flags')
    s.note(str([(f['name'], f['state']) for f in flags if f['name'] == 'stream_queue']))
    wanted = ('name', 'type', 'arguments', 'policy', 'delivery_limit', 'effective_policy_definition')
    known(s, 'queues/VHOST/Sales', lambda queue: queue.get('effective_policy_definition') is not None)
    s.http('GET', 'queues/VHOST/Sales', None, *wanted)
    for limit, shown in ((-1, 'unlimited'), (100000, 100000)):
        s.http('PUT', 'policies/VHOST/nsb.Sales.delivery-limit', {
            'name': 'nsb.Sales.delivery-limit', 'vhost': s.vhost, 'apply-to': 'quorum_queues',
            'definition': {'delivery-limit': limit}, 'pattern': 'Sales', 'priority': 100})
        known(s, 'queues/VHOST/Sales', lambda queue: queue.get('delivery_limit') == shown)
        s.http('GET', 'queues/VHOST/Sales', None, *wanted)
    s.http('GET', 'queues/VHOST/nosuch')
    _, page = s.http('GET', 'queues/VHOST/?page=1&page_size=500', None, 'page', 'page_count', 'page_size', 'item_count')
    s.note(str(sorted(queue['name'] for queue in page['items'])))
    _, bindings = s.ask('GET', f'/api/exchanges/{s.vhost}/Sales/bindings/destination')
    s.note(str([(b['source'], b['destination'], b['routing_key']) for b in bindings]))
    _, bindings = s.ask('GET', f'/api/queues/{s.vhost}/Sales/bindings')
    s.note(str(sorted((b['source'], b['destination'], b['routing_key']) for b in bindings)))


def known(s, path, is_so, patience=15):
    """Waits until statistics, which RabbitMQ gathers every five seconds, say so."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        status, value = s.ask('GET', '/api/' + path.replace('VHOST', s.vhost))
        if status == 200 and is_so(value):
            return value
        time.sleep(0.1)
    s.note(f'{path} never says so')
    return {}


def told(s, path):
    """Everything that comes for it."""
    status, value = s.ask('GET', '/api/' + path.replace('VHOST', s.vhost))
    s.note(f'{path} {status} {json.dumps(value, sort_keys=True)}')


@scenario
def keda(s):
    c = s.channel()
    c.queue('jobs-1')
    c.queue('jobs-2')
    s.put('jobs-1', 'a', 'b', 'c', delivery_mode=2)
    c.get('jobs-1')
    queue = known(s, 'queues/VHOST/jobs-1', lambda queue: queue.get('messages') == 3 and queue.get('messages_unacknowledged') == 1
                  and 'publish_details' in queue.get('message_stats', {}))
    s.note(str([queue.get(key) for key in ('name', 'messages', 'messages_unacknowledged', 'messages_ready')]))
    s.note('rate: ' + str(isinstance(queue['message_stats']['publish_details']['rate'], (int, float))))
    status, found = s.ask('GET', f'/api/queues/{s.vhost}?page=1&use_regex=true&pagination=false&name=%5Ejobs-&page_size=100')
    s.note(f"{status} {found['page_count']} {sorted(queue['name'] for queue in found['items'])}")
    # By AMQP.
    c.passive('jobs-1')


TYPES = {
    'overview': ('rabbitmq_version', 'management_version', 'cluster_name', 'object_totals.connections', 'object_totals.channels',
                 'object_totals.queues', 'object_totals.exchanges', 'object_totals.consumers', 'queue_totals.messages',
                 'queue_totals.messages_details.rate', 'queue_totals.messages_ready', 'queue_totals.messages_ready_details.rate',
                 'queue_totals.messages_unacknowledged', 'queue_totals.messages_unacknowledged_details.rate',
                 *(f'message_stats.{of}{suffix}' for of in ('ack', 'confirm', 'deliver_get', 'publish', 'return_unroutable', 'redeliver')
                   for suffix in ('', '_details.rate'))),
    'nodes': ('name', 'type', 'running', 'fd_used', 'fd_total', 'disk_free', 'disk_free_limit', 'disk_free_alarm', 'mem_used',
              'mem_limit', 'mem_alarm', 'run_queue', 'sockets_used', 'sockets_total', 'proc_used', 'proc_total', 'partitions',
              'uptime', 'processors'),
    'queues/VHOST': ('name', 'vhost', 'node', 'consumers', 'memory', 'messages', 'messages_details.rate', 'messages_ready',
                     'messages_ready_details.rate', 'messages_unacknowledged', 'messages_unacknowledged_details.rate', 'state',
                     *(f'message_stats.{of}{suffix}' for of in ('ack', 'deliver_get', 'publish') for suffix in ('', '_details.rate'))),
    'exchanges/VHOST/amq.direct': ('name', 'vhost', 'message_stats.publish_in', 'message_stats.publish_in_details.rate',
                                   'message_stats.publish_out', 'message_stats.publish_out_details.rate'),
}


@scenario
def datadog_and_zabbix(s):
    "The kinds of value at the places where the monitors' templates look"
    c = s.channel()
    c.queue('q')
    c.bind('q', 'amq.direct', 'k')
    s.put('k', 'a', 'b', exchange='amq.direct')
    c.publish('nobody', 'c', mandatory=True)
    c.next()
    c.ack(c.get('q').tag)
    c.nack(c.get('q').tag)
    c.get('q')
    known(s, 'queues/VHOST', lambda queues: queues[0].get('message_stats', {}).get('ack') == 1
          and 'publish_details' in queues[0]['message_stats'])
    known(s, 'exchanges/VHOST/amq.direct', lambda exchange: exchange.get('message_stats', {}).get('publish_out') == 2)
    known(s, 'overview', lambda overview: 'return_unroutable_details' in overview['message_stats']
          and 'redeliver_details' in overview['message_stats'])
    for path, places in TYPES.items():
        status, value = s.ask('GET', '/api/' + path.replace('VHOST', s.vhost))
        value = value[0] if isinstance(value, list) else value
        s.note(f'{path} {status} ' + ' '.join(f'{place}:{kind(value, place)}' for place in places))
    s.http('GET', 'aliveness-test/VHOST', None, 'status')
    s.http('GET', 'health/checks/local-alarms', None, 'status')
    s.http('GET', 'health/checks/alarms', None, 'status')


def kind(value, place):
    for key in place.split('.'):
        value = value.get(key) if isinstance(value, dict) else None
    # Rates are 0.0 or 0, as it happens.
    return 'number' if type(value) in (int, float) else type(value).__name__


@scenario
def terraform(s):
    "Its resources one after the other: made, read, and taken away by the keys that came"
    s.http('GET', 'whoami', None, 'name')
    for name, body in (('tx', {'type': 'topic', 'durable': True, 'auto_delete': False, 'arguments': {}}),
                       ('ty', {'type': 'fanout', 'durable': True, 'auto_delete': False, 'arguments': {'alternate-exchange': 'tx'}})):
        s.http('PUT', f'exchanges/VHOST/{name}', body)
        s.http('GET', f'exchanges/VHOST/{name}', None, 'name', 'vhost', 'type', 'durable', 'auto_delete', 'arguments')
    s.http('PUT', 'queues/VHOST/tq', {'durable': True, 'auto_delete': False, 'arguments': {'x-queue-type': 'quorum'}})
    s.http('GET', 'queues/VHOST/tq', None, 'name', 'vhost', 'durable', 'auto_delete', 'arguments')
    for key, arguments in (('', {}), ('a.b', {}), ('a/b', {}), ('#', {'x': 'y'}), ('a b&c=d', {}), ('~', {}), ('ä', {})):
        binding = {'source': 'tx', 'vhost': s.vhost, 'destination': 'tq', 'destination_type': 'queue', 'routing_key': key,
                   'arguments': arguments, 'properties_key': ''}
        s.http('POST', 'bindings/VHOST/e/tx/q/tq', binding)
    s.http('POST', 'bindings/VHOST/e/tx/e/ty', {'source': 'tx', 'destination': 'ty', 'destination_type': 'exchange', 'routing_key': 'x',
                                                'arguments': {}, 'properties_key': ''})
    told(s, 'bindings/VHOST/e/tx/e/ty')
    _, bindings = s.ask('GET', f'/api/bindings/{s.vhost}/e/tx/q/tq')
    for binding in sorted(bindings, key=lambda binding: binding['routing_key']):
        s.note(str(sorted(binding.items())))
        s.http('DELETE', 'bindings/VHOST/e/tx/q/tq/' + quote(binding['properties_key']))
    s.http('DELETE', 'bindings/VHOST/e/tx/q/tq/~')
    told(s, 'bindings/VHOST/e/tx/q/tq')
    for kind_of in ('policies', 'operator-policies'):
        policy = {'pattern': '^t', 'definition': {'max-length': 5}, 'priority': 0, 'apply-to': 'queues'}
        s.http('PUT', f'{kind_of}/VHOST/tp', policy)
        s.http('GET', f'{kind_of}/VHOST/tp', None, 'name', 'vhost', 'pattern', 'definition', 'priority', 'apply-to')
        s.http('DELETE', f'{kind_of}/VHOST/tp')
        s.http('GET', f'{kind_of}/VHOST/tp')
    for thing in ('queues/VHOST/tq', 'exchanges/VHOST/ty', 'exchanges/VHOST/tx', 'exchanges/VHOST/tx'):
        s.http('DELETE', thing)


@scenario
def topology_operator(s):
    "As rabbit-hole asks for them: users, permissions and limits of a vhost"
    user = s.user(configure=None)
    s.http('PUT', 'vhosts/VHOST', {'description': 'ours', 'tags': '', 'default_queue_type': 'quorum', 'tracing': False})
    s.http('GET', 'vhosts/VHOST', None, 'name', 'description', 'tags', 'default_queue_type', 'tracing')
    s.http('PUT', f'users/{user}', {'password': 'other', 'tags': 'management,policymaker'})
    s.http('GET', f'users/{user}', None, 'name', 'tags', 'hashing_algorithm')
    s.http('PUT', f'users/{user}', {'password_hash': 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR',
                                    'hashing_algorithm': 'rabbit_password_hashing_sha256', 'tags': ['management']})
    s.http('GET', 'whoami', None, 'name', 'tags', user=user, password='test12')
    for body in ({'configure': '.*', 'write': '^w', 'read': ''}, {'configure': '', 'write': '', 'read': '.*'}):
        s.http('PUT', f'permissions/VHOST/{user}', body)
        s.http('GET', f'permissions/VHOST/{user}', None, 'user', 'vhost', 'configure', 'write', 'read')
    s.http('PUT', f'topic-permissions/VHOST/{user}', {'exchange': 'amq.topic', 'write': '^a', 'read': '.*'})
    told(s, f'topic-permissions/VHOST/{user}')
    s.http('DELETE', f'topic-permissions/VHOST/{user}/amq.topic')
    s.http('DELETE', f'topic-permissions/VHOST/{user}')
    for limit in ('max-connections', 'max-queues'):
        s.http('PUT', f'vhost-limits/VHOST/{limit}', {'value': 10})
    told(s, 'vhost-limits/VHOST')
    s.http('DELETE', 'vhost-limits/VHOST/max-queues')
    told(s, 'vhost-limits/VHOST')
    for limit in ('max-connections', 'max-channels'):
        s.http('PUT', f'user-limits/{user}/{limit}', {'value': 10})
    told(s, f'user-limits/{user}')
    s.http('DELETE', f'user-limits/{user}/max-channels')
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    s.http('GET', 'vhosts/VHOST/permissions')
    s.http('DELETE', f'permissions/VHOST/{user}')
    s.http('GET', f'permissions/VHOST/{user}')
    s.http('DELETE', f'users/{user}')
    s.http('GET', f'users/{user}')


@scenario
def masstransit(s):
    "An endpoint of two message types, its error queue, a temporary bus queue; then its test harness looks"
    c = s.channel()
    c.confirm()
    c.qos(16)
    for exchange in ('Orders:OrderPlaced', 'Orders:IOrderEvent', 'submit-order', 'submit-order_error'):
        c.exchange(exchange, 'fanout')
    c.bind_exchange('Orders:IOrderEvent', 'Orders:OrderPlaced')
    c.bind_exchange('submit-order', 'Orders:OrderPlaced')
    c.queue('submit-order', queue_type='quorum', single_active_consumer=True)
    c.bind('submit-order', 'submit-order')
    c.queue('submit-order_error', queue_mode='lazy')
    c.bind('submit-order_error', 'submit-order_error')
    c.exchange('bus-host', 'fanout', {'x-expires': 60000}, auto_delete=True)
    c.queue('bus-host', auto_delete=True, expires=60000)
    c.bind('bus-host', 'bus-host')
    c.consume('submit-order', 'worker')
    c.publish('', 'order', 'Orders:OrderPlaced', mandatory=True, message_id='m', headers={'MT-Activity-Id': 'a'}, delivery_mode=2)
    c.confirms()
    c.publish('', 'order', 'submit-order_error', headers={'MT-Fault-Message': 'no', 'MT-Reason': 'fault'}, delivery_mode=2)
    c.confirms()
    c.ack(1)
    s.until('submit-order_error', 1)
    c.drain('submit-order_error')
    s.http('PUT', 'vhosts/VHOST')
    _, exchanges = s.ask('GET', f'/api/exchanges/{s.vhost}')
    s.note(str(sorted((e['name'], e['type'], e['auto_delete']) for e in exchanges)))
    _, bindings = s.ask('GET', f'/api/exchanges/{s.vhost}/Orders%3AOrderPlaced/bindings/source')
    s.note(str(sorted((b['destination'], b['destination_type']) for b in bindings)))
    known(s, 'queues/VHOST/submit-order', lambda queue: queue.get('consumers') == 1)
    _, queues = s.ask('GET', f'/api/queues/{s.vhost}')
    s.note(str(sorted((q['name'], q['type'], q['durable'], q['auto_delete']) for q in queues)))


@scenario
def easynetq(s):
    "Topic exchanges by type, a direct one for requests, its error exchange and queue"
    c = s.channel()
    c.qos(50)
    c.exchange('Messages.Placed, Messages', 'topic')
    c.queue('Messages.Placed, Messages_billing')
    c.bind('Messages.Placed, Messages_billing', 'Messages.Placed, Messages', '#')
    c.exchange('easy_net_q_rpc')
    c.queue('easynetq.response.1', durable=False, exclusive=True, auto_delete=True)
    c.bind('easynetq.response.1', 'easy_net_q_rpc', 'easynetq.response.1')
    c.exchange('ErrorExchange_#')
    c.queue('EasyNetQ_Default_Error_Queue')
    c.bind('EasyNetQ_Default_Error_Queue', 'ErrorExchange_#', '#')
    c.publish('', 'placed', 'Messages.Placed, Messages', type='Messages.Placed, Messages', correlation_id='1')
    s.until('Messages.Placed, Messages_billing', 1)
    c.get('Messages.Placed, Messages_billing')
    c.publish('#', 'why', 'ErrorExchange_#', type='EasyNetQ.SystemMessages.Error, EasyNetQ', delivery_mode=2)
    c.ack(1)
    s.until('EasyNetQ_Default_Error_Queue', 1)


@scenario
def nestjs(s):
    "A request through the pseudo-queue, and the reply to it"
    c = s.channel()
    c.queue('default')
    c.qos(0)
    c.consume('amq.rabbitmq.reply-to', 'replies', no_ack=True)
    handler = s.channel()
    handler.consume('default', 'handler', no_ack=True)
    c.publish('default', '{"pattern":"sum","data":[1,2],"id":"7"}', reply_to='amq.rabbitmq.reply-to', correlation_id='7')
    request = handler.next()
    handler.publish(request.props['reply_to'], '{"response":3,"isDisposed":true,"id":"7"}', correlation_id='7')
    c.next()


@scenario
def laravel(s):
    "A queue is looked for passively and made; delays wait in queues of their own; work is fetched"
    c = s.channel()
    c.passive('jobs')
    c = s.channel()
    c.queue('jobs', max_priority=5)
    c.confirm()
    c.publish('jobs', 'now', mandatory=True, delivery_mode=2, correlation_id='1', headers={'laravel': {'attempts': 0}}, priority=2)
    c.confirms()
    c.publish('nosuch', 'lost', mandatory=True)
    c.confirms()
    c.queue('jobs.delay.300', dead_letter_exchange='', dead_letter_routing_key='jobs', message_ttl=300, expires=60000)
    c.publish('jobs.delay.300', 'later', delivery_mode=2, correlation_id='2', headers={'laravel': {'attempts': 1}})
    c.confirms()
    s.until('jobs', 2)
    c.passive('jobs')
    c.ack(c.get('jobs').tag)
    c.ack(c.get('jobs').tag)
    c.get('jobs')
    c.purge('jobs')


@scenario
def spring_cloud_stream(s):
    "A group with its dead-letter queue, and an anonymous one"
    c = s.channel()
    c.exchange('orders', 'topic')
    c.exchange('DLX')
    c.queue('orders.billing', dead_letter_exchange='DLX', dead_letter_routing_key='orders.billing')
    c.bind('orders.billing', 'orders', '#')
    c.queue('orders.billing.dlq')
    c.bind('orders.billing.dlq', 'DLX', 'orders.billing')
    c.queue('orders.anonymous.x', durable=False, exclusive=True, auto_delete=True)
    c.bind('orders.anonymous.x', 'orders', '#')
    c.qos(1)
    c.consume('orders.billing', 'billing')
    c.publish('orders', 'an order', 'orders', content_type='application/json', headers={'contentType': 'application/json'}, delivery_mode=2)
    c.next()
    c.reject(1)
    s.until('orders.billing.dlq', 1)
    c.drain('orders.billing.dlq')
    c.get('orders.anonymous.x', no_ack=True)


@scenario
def flower_and_celery(s):
    "A worker's queues: its own for commands and events, which go with it; and what Flower reads"
    c = s.channel()
    c.exchange('celery')
    c.queue('celery')
    c.bind('celery', 'celery', 'celery')
    c.exchange('celery.pidbox', 'fanout', durable=False)
    c.queue('worker@host.celery.pidbox', durable=False, auto_delete=True, expires=10000, message_ttl=300000)
    c.bind('worker@host.celery.pidbox', 'celery.pidbox')
    c.exchange('reply.celery.pidbox', durable=False)
    c.exchange('celeryev', 'topic')
    c.queue('celeryev.1', durable=False, auto_delete=True, expires=60000, message_ttl=5000)
    c.bind('celeryev.1', 'celeryev', '#')
    c.qos(0)
    c.qos(4, everybody=True)
    c.consume('celery', 'None1')
    s.put('celery', 'task', exchange='celery', delivery_mode=2, priority=0, reply_to='r', correlation_id='i')
    c.next()
    known(s, 'queues/VHOST/celery', lambda queue: queue.get('messages_unacknowledged') == 1 and queue.get('consumers') == 1)
    _, queues = s.ask('GET', f'/api/queues/{s.vhost}')
    celery = next(queue for queue in queues if queue['name'] == 'celery')
    s.note(str([celery[key] for key in ('name', 'messages', 'messages_unacknowledged', 'messages_ready', 'consumers', 'state')]))
    s.note(str(sorted(queue['name'] for queue in queues)))
    c.ack(1)
    s.until('celery', 0)


@scenario
def spring_rabbit_junit(s):
    "Whether there is a broker: the queues of a test are made anew, and it is asked whether it is alive"
    c = s.channel()
    c.delete('test.queue')
    c.queue('test.queue')
    told(s, 'aliveness-test/VHOST')
    c.delete('test.queue')
