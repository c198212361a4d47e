"""Policies and limits: what they do to queues that are there, how they go together, whom they refuse."""
from stage import scenario, variants


def settled(s):
    """Policies of RabbitMQ hold a moment after they are answered."""
    s.sleep(0.6)


@scenario
def length_by_policy(s):
    c = s.channel()
    c.queue('q')
    s.put('q', 'a', 'b', 'c')
    s.policy('p', {'max-length': 1})
    settled(s)
    s.put('q', 'd')
    s.until('q', 1)
    c.drain('q')


@scenario
def smaller_of_argument_and_policy(s):
    c = s.channel()
    c.queue('q', max_length=2)
    s.policy('p', {'max-length': 5})
    settled(s)
    s.put('q', 'a', 'b', 'c')
    s.until('q', 2)
    s.policy('p', {'max-length': 1})
    settled(s)
    s.put('q', 'd')
    s.until('q', 1)


@scenario
def operator_over_user(s):
    c = s.channel()
    c.queue('q')
    s.policy('p', {'max-length': 5})
    s.policy('o', {'max-length': 2}, operator=True)
    settled(s)
    s.put('q', 'a', 'b', 'c')
    s.until('q', 2)


@scenario
def higher_priority_of_two(s):
    c = s.channel()
    c.queue('q')
    s.policy('low', {'max-length': 1}, priority=1)
    s.policy('high', {'max-length': 2}, priority=2)
    settled(s)
    s.put('q', 'a', 'b', 'c')
    s.until('q', 2)


@variants(queues='queues', classic='classic_queues', quorum='quorum_queues', streams='streams', exchanges='exchanges', all='all')
def applied_to(s, kind):
    c = s.channel()
    c.queue('q')
    c.quorum('r')
    s.policy('p', {'alternate-exchange': 'x'} if kind == 'exchanges' else {'max-length': 1}, apply_to=kind)
    settled(s)
    for name in 'qr':
        s.put(name, 'a', 'b', 'c')
        s.sleep(0.2)
        s.note(f'{name} holds {s.holds(name)}')


@variants(unknown={'max-size': 1}, negative={'max-length': -1}, text={'max-length': 'five'}, mixed={'max-length': 1, 'nonsense': 2},
          empty={}, ttl_text={'message-ttl': '5'}, overflow={'overflow': 'all'}, dlx_number={'dead-letter-exchange': 5},
          expires_zero={'expires': 0}, ha={'ha-mode': 'all'}, queue_mode={'queue-mode': 'lazy'}, delivery={'delivery-limit': 'x'},
          strategy={'dead-letter-strategy': 'both'}, locator={'queue-leader-locator': 'here'})
def refused(s, definition):
    s.policy('p', definition)


@variants(unknown={'dead-letter-exchange': 'x'}, known={'max-length': 5}, empty={})
def by_operators(s, definition):
    s.policy('o', definition, operator=True)


@variants(unbalanced='(', star='*', fine='^q')
def pattern(s, text):
    s.policy('p', {'max-length': 1}, text)


@variants(word='octopus', empty='', number=5)
def kind_of_thing(s, kind):
    s.policy('p', {'max-length': 1}, apply_to=kind)


@scenario
def dead_letters_by_policy(s):
    c = s.channel()
    c.queue('q')
    c.queue('dead')
    s.policy('p', {'dead-letter-exchange': '', 'dead-letter-routing-key': 'dead'}, '^q$')
    settled(s)
    s.put('q', 'm')
    c.get('q')
    c.reject(1)
    s.until('dead', 1)
    c.get('dead')


@scenario
def expiry_by_policy_is_for_what_comes(s):
    c = s.channel()
    c.queue('q')
    s.policy('p', {'message-ttl': 100})
    settled(s)
    s.put('q', 'm')
    s.until('q', 0)


@scenario
def gone_with_its_policy(s):
    c = s.channel()
    c.queue('q')
    s.policy('p', {'max-length': 1})
    settled(s)
    s.no_policy('p')
    settled(s)
    s.put('q', 'a', 'b')
    s.until('q', 2)


@scenario
def queues_of_a_vhost(s):
    s.http('PUT', 'vhost-limits/VHOST/max-queues', {'value': 1})
    s.sleep(0.2)
    c = s.channel()
    c.queue('q')
    c.queue('q')
    c.queue('r')


@scenario
def no_queues_in_a_vhost(s):
    s.http('PUT', 'vhost-limits/VHOST/max-queues', {'value': 0})
    s.sleep(0.2)
    s.channel().queue('q')


@scenario
def any_number_of_queues(s):
    s.http('PUT', 'vhost-limits/VHOST/max-queues', {'value': -1})
    s.sleep(0.2)
    s.channel().queue('q')


@scenario
def no_connections_to_a_vhost(s):
    s.http('PUT', 'vhost-limits/VHOST/max-connections', {'value': 0})
    s.sleep(0.2)
    s.connect()


@variants(unknown=('max-octopuses', {'value': 1}), text=('max-queues', {'value': 'many'}), nothing=('max-queues', {}))
def limit(s, case):
    name, body = case
    s.http('PUT', f'vhost-limits/VHOST/{name}', body)


@scenario
def connections_of_a_user(s):
    user = s.user()
    s.http('PUT', f'user-limits/{user}/max-connections', {'value': 1})
    s.sleep(0.2)
    s.connect(user=user, password='secret')
    s.connect(user=user, password='secret')


@scenario
def channels_of_a_user(s):
    user = s.user()
    s.http('PUT', f'user-limits/{user}/max-channels', {'value': 1})
    s.sleep(0.2)
    connection = s.connect(user=user, password='secret')
    connection.channel()
    connection.channel()


@scenario
def channels_of_a_connection(s):
    connection = s.connect(channel_max=2)
    connection.channel()
    connection.channel()
    connection.channel(3)


@variants(publish='a.b', other='b.a')
def topic_permission(s, key):
    user = s.user()
    s.ask('PUT', f'/api/topic-permissions/{s.vhost}/{user}', {'exchange': 'amq.topic', 'write': '^a\\.', 'read': '.*'})
    s.sleep(0.2)
    c = s.connect(user=user, password='secret').channel()
    c.confirm()
    c.publish(key, 'm', 'amq.topic')
    c.confirms()


@variants(bound='a.b', other='b.a')
def topic_permission_to_bind(s, key):
    user = s.user()
    s.ask('PUT', f'/api/topic-permissions/{s.vhost}/{user}', {'exchange': 'amq.topic', 'write': '.*', 'read': '^a\\.'})
    s.sleep(0.2)
    c = s.connect(user=user, password='secret').channel()
    c.queue('q')
    c.bind('q', 'amq.topic', key)
