"""Super streams over HTTP, and what is published to them over AMQP."""
from stage import scenario, variants


def seen(s, name):
    status, value = s.ask('GET', f'/api/exchanges/{s.vhost}/{name}')
    s.note(f"exchange {status} " + ' '.join(f'{k}={value.get(k)}' for k in ('type', 'durable', 'auto_delete', 'internal', 'arguments')) if status == 200 else f'exchange {status}')
    _, value = s.ask('GET', f'/api/queues/{s.vhost}')
    s.note('queues ' + str(sorted((q['name'], str(sorted(q['arguments'].items())), q['durable'], q['auto_delete']) for q in value)))
    _, value = s.ask('GET', f'/api/bindings/{s.vhost}')
    s.note('bindings ' + str(sorted((b['source'], b['destination'], b['routing_key'], str(b['arguments'])) for b in value if b['source'])))


@variants(three={'partitions': 3}, keys={'binding-keys': 'emea,apac'}, spaces={'binding-keys': ' a , b '}, one={'partitions': 1}, none={}, both={'partitions': 2, 'binding-keys': 'a,b'},
          zero={'partitions': 0}, minus={'partitions': -1}, text={'partitions': 'three'}, digits={'partitions': '3'}, empty_keys={'binding-keys': ''},
          arguments={'partitions': 2, 'arguments': {'max-length-bytes': 1000, 'max-age': '1h', 'stream-max-segment-size-bytes': 5000,
                                                    'initial-cluster-size': 1, 'queue-leader-locator': 'client-local'}},
          arguments_with_x={'partitions': 1, 'arguments': {'x-max-age': '1h'}}, argument_unknown={'partitions': 1, 'arguments': {'other': 1}},
          argument_bad={'partitions': 1, 'arguments': {'max-age': '1 hour'}}, same_keys={'binding-keys': 'a,a'}, keys_list={'binding-keys': ['a', 'b']},
          real={'partitions': 1.5}, argument_digits={'partitions': 1, 'arguments': {'max-length-bytes': '1000'}})
def created(s, body):
    s.http('PUT', 'stream/super-streams/VHOST/orders', body)
    seen(s, 'orders')


@scenario
def twice(s):
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 3})
    seen(s, 'orders')


@scenario
def over_things_that_are_there(s):
    c = s.channel()
    c.queue('orders-1')
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    seen(s, 'orders')
    c.exchange('other', 'fanout')
    s.http('PUT', 'stream/super-streams/VHOST/other', {'partitions': 1})
    seen(s, 'other')


@scenario
def deleted(s):
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 1})
    s.http('DELETE', 'stream/super-streams/VHOST/orders')


@scenario
def elsewhere(s):
    s.http('PUT', 'stream/super-streams/no-such-vhost/orders', {'partitions': 2})
    s.http('GET', 'stream/super-streams/VHOST/orders')
    s.http('POST', 'stream/super-streams/VHOST/orders', {})


@variants(nobody='', monitoring='monitoring', management='management', policymaker='policymaker')
def by_users(s, tags):
    user = s.user(tags=tags)
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 1}, user=user, password='secret')


@scenario
def without_rights(s):
    user = s.user(configure='^other', tags='management')
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 1}, user=user, password='secret')
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 1})
    seen(s, 'orders')


@scenario
def publishing(s):
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    c = s.channel()
    c.confirm()
    for key in ('0', '1'):
        c.publish(key, 'to ' + key, exchange='orders', mandatory=True)
        c.confirms()
    for partition in ('orders-0', 'orders-1'):
        c.qos(5)
        c.consume(partition, partition, stream_offset='first')
        c.quiet()


@scenario
def publishing_with_a_key_of_nobody(s):
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    c = s.channel()
    c.confirm()
    c.publish('x', 'body', exchange='orders', mandatory=True)
    c.confirms()


@variants(none=0, one_less=2, enough=3)
def limited(s, most):
    s.http('PUT', 'vhost-limits/VHOST/max-queues', {'value': most})
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 3})
    seen(s, 'orders')


@scenario
def limited_over_things_that_are_there(s):
    c = s.channel()
    c.exchange('orders')
    c.queue('other-0')
    s.http('PUT', 'vhost-limits/VHOST/max-queues', {'value': 1})
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 1})
    s.http('PUT', 'stream/super-streams/VHOST/other', {'partitions': 1})
    s.http('PUT', 'stream/super-streams/VHOST/other', {'binding-keys': 'a,a'})


@variants(enough={'write': '^orders-', 'read': '^orders$'}, no_write={'write': '^$'}, no_read={'read': '^$'}, write_to_the_exchange={'write': '^orders$'},
          read_of_partitions={'read': '^orders-'}, write_to_one={'write': '^orders-0'}, configure_of_partitions={'configure': '^orders-'},
          configure_of_the_exchange={'configure': '^orders$'})
def with_rights(s, rights):
    user = s.user(tags='management', **rights)
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2}, user=user, password='secret')
    seen(s, 'orders')


@scenario
def policies_are_for_partitions(s):
    s.policy('age', {'max-age': '1h'}, '^orders', 'streams')
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    s.sleep(6)
    for partition in ('orders-0', 'orders-1'):
        s.http('GET', f'queues/VHOST/{partition}', None, 'policy', 'effective_policy_definition')


@scenario
def a_partition_is_deleted(s):
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    c = s.channel()
    c.delete('orders-0')
    seen(s, 'orders')
    c.confirm()
    c.publish('0', 'nobody', exchange='orders', mandatory=True)
    c.publish('1', 'somebody', exchange='orders', mandatory=True)
    c.confirms()


@scenario
def without_a_group_it_is_no_queue(s):
    s.http('PUT', 'stream/super-streams/VHOST/orders', {'partitions': 2})
    c = s.channel()
    c.qos(5)
    c.consume('orders', stream_offset='first')
