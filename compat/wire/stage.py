"""What a scenario plays on: connections and channels that write down what is said, and HTTP.

A scenario has a vhost of its own, so that its names are plain. What it sends and what it reads becomes its transcript.
"""
import base64
import datetime
import http.client
import json
import re
import time
import urllib.parse
import uuid

from amqp import Gone, Peer, Silence

PATIENCE = 5            # seconds for what has to come
HEADER = b'AMQP\x00\x00\x09\x01'
SCENARIOS = {}


class Stop(Exception):
    """The scenario cannot go on; what it has so far is its transcript."""


def scenario(play):
    """Registers a function under the name FILE.FUNCTION."""
    SCENARIOS[f'{play.__module__.rsplit(".")[-1]}.{play.__name__}'] = play
    return play


def variants(**cases):
    """Registers one scenario for each case, which is its second parameter."""
    def register(play):
        for label, case in cases.items():
            def one(s, case=case):
                play(s, case)
            one.__module__, one.__name__ = play.__module__, f'{play.__name__}_{label}'
            scenario(one)
        return play
    return register


# --- showing ------------------------------------------------------------------------------------------

def show_field(field):
    letter, value = field
    if letter == 'F':
        return show_table(value)
    if letter == 'A':
        return '[' + ', '.join(show_field(v) for v in value) + ']'
    if letter == 'T' and abs(value - time.time()) < 3600:
        value = 'now'
    return f'{letter}:{value!r}' if letter not in 'tV' else {'t': str(value), 'V': 'void'}[letter]


def show_table(table):
    """Tables have no order, so they are shown by name; arrays have."""
    return '{' + ', '.join(f'{k}: {show_field(v)}' for k, v in sorted(table.items())) + '}'


def show(value):
    return show_table(value) if isinstance(value, dict) else repr(value)


def show_body(body):
    return repr(body.decode('utf-8', 'backslashreplace')) if len(body) <= 60 else f'{len(body)} octets'


def show_event(event):
    text = event.name + ''.join(f' {k}={show(v)}' for k, v in event.args.items())
    if event.props is not None:
        text += ' | ' + ''.join(f'{k}={show(v)} ' for k, v in event.props.items()) + '| ' + show_body(event.body)
    return text


def show_sent(args):
    return ''.join(f' {k}={v!r}' for k, v in args.items() if v or (k in ('queue', 'key', 'exchange') and v == ''))


# --- AMQP ---------------------------------------------------------------------------------------------

class Connection:
    def __init__(self, stage, label, vhost=None, user='guest', password='guest', properties=None, channel_max=2047):
        self.stage, self.label, self.over, self.channels = stage, label, False, []
        self.peer = Peer(stage.host, stage.amqp_port)
        self.peer.send(HEADER)
        self._expect('connection.start')
        capabilities = {'publisher_confirms': True, 'consumer_cancel_notify': True, 'basic.nack': True,
                        'connection.blocked': True, 'authentication_failure_close': True}
        properties = {'product': 'wire', 'capabilities': capabilities, **(properties or {})}
        self.peer.call(0, 'connection.start-ok', client_properties=properties, mechanism='PLAIN',
                       response=f'\0{user}\0{password}', locale='en_US')
        if self._expect('connection.tune'):
            self.peer.call(0, 'connection.tune-ok', channel_max=channel_max, frame_max=131072)
            self.peer.call(0, 'connection.open', vhost=vhost or stage.vhost)
            self._expect('connection.open-ok')

    def _expect(self, name):
        try:
            event = self.peer.next(0, PATIENCE)
        except (Gone, Silence) as e:
            self.ends(f'{name} does not come: {type(e).__name__}')
            return None
        if event.name != name:
            self.ends(show_event(event))
            return None
        return event

    def ends(self, why):
        self.stage.line(f'{self.label} < {why}')
        self.over = True
        self.peer.call(0, 'connection.close-ok')

    def channel(self, number=None):
        return Channel(self, number or len(self.channels) + 1)

    def next(self, patience=PATIENCE):
        """What comes on channel 0."""
        event = self.peer.next(0, patience)
        self.stage.line(f'{self.label} < {show_event(event)}')
        return event

    def close(self):
        self.peer.call(0, 'connection.close', code=200, text='bye')
        while self.peer.next(0, PATIENCE).name != 'connection.close-ok':
            pass
        self.drop()

    def drop(self):
        """Ends it without a word."""
        self.over = True
        self.peer.close()


class Channel:
    def __init__(self, connection, number):
        self.connection, self.stage, self.peer = connection, connection.stage, connection.peer
        self.number, self.over, self.open = number, False, set()        # open: publishes that are not confirmed
        self.published = 0
        self.label = f'{connection.label}.{number}'
        connection.channels.append(self)
        self.peer.call(number, 'channel.open')
        event = self._read(PATIENCE)
        if event.name != 'channel.open-ok':
            self._record(event)

    # reading

    def _read(self, patience):
        try:
            return self.peer.next(self.number, patience)
        except Gone:
            raise Stop(f'{self.label} the connection is gone') from None
        except Silence:
            raise Stop(f'{self.label} nothing comes') from None

    def _record(self, event, how='<'):
        self.stage.line(f'{self.label} {how} {show_event(event)}')
        if event.name == 'channel.close':
            self.over = True
            self.peer.call(self.number, 'channel.close-ok')
        elif event.name == 'connection.close':
            self.over = self.connection.over = True
            self.peer.call(0, 'connection.close-ok')
        return event

    def next(self, n=1, patience=PATIENCE):
        """The next event, or the last of n."""
        for _ in range(n):
            event = self._record(self._read(patience))
            if self.over:
                break
        return event

    def quiet(self, seconds=0.25):
        """What still comes until nothing has come for so long."""
        try:
            while not self.over:
                self._record(self.peer.next(self.number, seconds))
        except Silence:
            self.stage.line(f'{self.label} = quiet')
        except Gone:
            self.stage.line(f'{self.label} = the connection is gone')

    def left(self):
        """What has come and was not read."""
        while self.peer.came[self.number]:
            self._record(self.peer.came[self.number].popleft(), '< unread:')

    # methods

    def send(self, name, **args):
        if self.over:
            raise Stop(f'{self.label} is closed, no {name}')
        self.stage.line(f'{self.label} > {name}{show_sent(args)}')
        self.peer.call(self.number, name, **args)

    def call(self, name, **args):
        """Sends, and reads up to the answer or the end."""
        self.send(name, **args)
        while not args.get('no_wait'):
            event = self.next()
            if self.over or event.name.startswith(name + '-'):
                return event

    def queue(self, name='', args=None, durable=True, passive=False, exclusive=False, auto_delete=False,
              no_wait=False, **x):
        """Further keywords are x-arguments: message_ttl=5 is x-message-ttl."""
        return self.call('queue.declare', queue=name, durable=durable, passive=passive, exclusive=exclusive,
                         auto_delete=auto_delete, no_wait=no_wait, arguments={**(args or {}), **x_args(x)})

    def quorum(self, name, **more):
        return self.queue(name, queue_type='quorum', **more)

    def pair(self, **x):
        """A queue `q` whose dead letters come to the queue `dead`, through the default exchange."""
        self.queue('dead')
        return self.queue('q', dead_letter_exchange='', dead_letter_routing_key='dead', **x)

    def passive(self, name):
        return self.queue(name, passive=True)

    def exchange(self, name, kind='direct', args=None, durable=True, passive=False, auto_delete=False,
                 internal=False):
        return self.call('exchange.declare', exchange=name, type=kind, durable=durable, passive=passive,
                         auto_delete=auto_delete, internal=internal, arguments=args)

    def bind(self, queue, exchange, key='', args=None):
        return self.call('queue.bind', queue=queue, exchange=exchange, key=key, arguments=args)

    def unbind(self, queue, exchange, key='', args=None):
        return self.call('queue.unbind', queue=queue, exchange=exchange, key=key, arguments=args)

    def bind_exchange(self, destination, source, key='', args=None):
        return self.call('exchange.bind', destination=destination, source=source, key=key, arguments=args)

    def delete(self, queue, **flags):
        return self.call('queue.delete', queue=queue, **flags)

    def delete_exchange(self, exchange, **flags):
        return self.call('exchange.delete', exchange=exchange, **flags)

    def purge(self, queue):
        return self.call('queue.purge', queue=queue)

    def publish(self, key, body='', exchange='', mandatory=False, **props):
        """Without waiting for anything."""
        self.stage.line(f'{self.label} > publish {exchange!r} {key!r} {show_body(str(body).encode())}'
                        + ' mandatory' * mandatory + show_sent(props))
        args = {'exchange': exchange, 'key': key, 'mandatory': mandatory}
        self.peer.publish(self.number, args, props, str(body).encode())
        self.published += 1
        self.open.add(self.published)

    def confirm(self):
        self.published, self.open = 0, set()
        return self.call('confirm.select')

    def confirms(self):
        """Waits until everything published is confirmed, and says how; what else comes is shown in its place."""
        found = {'basic.ack': [], 'basic.nack': []}
        while self.open and not self.over:
            event = self._read(PATIENCE)
            if event.name not in found:
                self._record(event)
                continue
            done = {n for n in self.open if n == event.tag or (event['multiple'] and n <= event.tag)}
            found[event.name] += done
            self.open -= done
        self.stage.line(f"{self.label} < confirmed {sorted(found['basic.ack'])}, refused {sorted(found['basic.nack'])}")

    def put(self, queue, *bodies, exchange='', **props):
        """Publishes through a confirming channel of its own that nobody sees, one after another."""
        self.stage.put(queue, *bodies, exchange=exchange, **props)

    def consume(self, queue, tag='c', no_ack=False, exclusive=False, args=None, **x):
        return self.call('basic.consume', queue=queue, tag=tag, no_ack=no_ack, exclusive=exclusive,
                         arguments={**(args or {}), **x_args(x)})

    def cancel(self, tag='c'):
        return self.call('basic.cancel', tag=tag)

    def get(self, queue, no_ack=False):
        return self.call('basic.get', queue=queue, no_ack=no_ack)

    def drain(self, queue):
        """Everything in the queue, acknowledged."""
        while self.get(queue, no_ack=True).name == 'basic.get-ok':
            pass

    def ack(self, tag, multiple=False):
        self.send('basic.ack', tag=tag, multiple=multiple)

    def nack(self, tag, requeue=True, multiple=False):
        self.send('basic.nack', tag=tag, multiple=multiple, requeue=requeue)

    def reject(self, tag, requeue=False):
        self.send('basic.reject', tag=tag, requeue=requeue)

    def qos(self, count, everybody=False):
        return self.call('basic.qos', count=count, **{'global': everybody})

    def close(self):
        event = self.call('channel.close', code=200, text='bye')
        self.over = True
        return event


def x_args(keywords):
    return {'x-' + k.replace('_', '-'): v for k, v in keywords.items()}


# --- the stage ----------------------------------------------------------------------------------------

class Stage:
    """One scenario's view of one broker."""

    def __init__(self, host, amqp_port, http_port):
        self.host, self.amqp_port, self.http_port = host, amqp_port, http_port
        self.vhost = 'w-' + uuid.uuid4().hex[:8]        # texts are cut by length, so this has always the same
        self.lines, self.connections, self.users = [], [], []
        self.aliases = {self.vhost: 'VHOST'}
        self._first = self._hidden = None
        self.ask('PUT', f'/api/vhosts/{self.vhost}', {})
        self.ask('PUT', f'/api/permissions/{self.vhost}/guest', {'configure': '.*', 'write': '.*', 'read': '.*'})

    def end(self):
        for connection in self.connections:
            connection.peer.close()
        for user in self.users:
            self.ask('DELETE', f'/api/users/{user}')
        self.ask('DELETE', f'/api/vhosts/{self.vhost}')

    def line(self, text):
        for real, alias in self.aliases.items():
            text = text.replace(real, alias)
        text = re.sub(r'amq\.(gen|ctag)-[\w-]{10,}', r'amq.\1-ID', text)
        text = re.sub(r'(amq\.rabbitmq\.reply-to\.)[\w./+=-]+', r'\1ID', text)
        self.lines.append(re.sub(r'rabbit@[\w.-]+', 'NODE', text))

    def note(self, text):
        self.line(f'= {text}')

    def connect(self, **options):
        connection = Connection(self, f'{len(self.connections) + 1}', **options)
        self.connections.append(connection)
        return connection

    def channel(self):
        """A new channel of the first connection, or of a new first one when that is over."""
        if self._first is None or self._first.over:
            self._first = self.connect()
        return self._first.channel()

    # seen by nobody

    def _channel(self):
        if self._hidden is None or self._hidden.over or self._hidden.connection.over:
            quiet, self.lines = self.lines, []
            connection = Connection(self, 'hidden')
            self.connections.append(connection)
            self._hidden = connection.channel()
            self._hidden.confirm()
            self.lines = quiet
        return self._hidden

    def put(self, key, *bodies, exchange='', **props):
        channel, before = self._channel(), self.lines
        self.lines = []
        for body in bodies:
            channel.publish(key, body, exchange, **props)
            channel.confirms()
        came = [line.split(' < ')[1] for line in self.lines if ' < ' in line and 'refused []' not in line]
        self.lines = before
        self.line(f'put {exchange!r} {key!r} {list(bodies)}{show_sent(props)}' + ''.join(f' < {line}' for line in came))

    def holds(self, queue):
        channel, before = self._channel(), self.lines
        self.lines = []
        event = channel.passive(queue)
        self.lines = before
        return event['messages'] if event.name == 'queue.declare-ok' else None

    def until(self, queue, n, patience=PATIENCE):
        """Waits for the queue to hold n ready messages (None: for it to be gone), and goes no further if it does not."""
        end = time.monotonic() + patience
        while (found := self.holds(queue)) != n and time.monotonic() < end:
            time.sleep(0.02)
        self.note(f'{queue} holds {found}' if found is not None else f'{queue} is gone')
        if found != n:
            raise Stop(f'{queue} should hold {n}')

    def sleep(self, seconds):
        time.sleep(seconds)

    # HTTP

    def ask(self, method, path, body=None, user='guest', password='guest'):
        """An HTTP request that is not written down: its status and what came, decoded."""
        key = base64.b64encode(f'{user}:{password}'.encode()).decode()
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=15)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {'Authorization': f'Basic {key}', 'Content-Type': 'application/json'})
            reply = connection.getresponse()
            text = reply.read().decode()
        except (OSError, http.client.HTTPException) as e:
            raise Stop(f'{method} {path}: {e}') from None
        finally:
            connection.close()
        try:
            return reply.status, json.loads(text) if text else None
        except ValueError:
            return reply.status, text

    def http(self, method, path, body=None, *fields, **options):
        """A request below /api that is written down, with its status, its reason, and the fields asked for."""
        path = path.replace('VHOST', self.vhost)
        status, value = self.ask(method, '/api/' + path, body, **options)
        self.line(f'> {method} {path}' + ('' if body is None else ' ' + json.dumps(body, sort_keys=True)))
        reason = f" {value['reason']!r}" if isinstance(value, dict) and status >= 400 and 'reason' in value else ''
        shown = ''.join(f' {f}={json.dumps(value.get(f), sort_keys=True)}' for f in fields
                        if isinstance(value, dict) and status < 400)
        self.line(f'< {status}{reason}{shown}')
        return status, value

    def policy(self, name, definition, pattern='.*', apply_to='queues', priority=0, operator=False):
        kind = 'operator-policies' if operator else 'policies'
        return self.http('PUT', f'{kind}/VHOST/{quote(name)}', {
            'pattern': pattern, 'definition': definition, 'apply-to': apply_to, 'priority': priority})

    def no_policy(self, name, operator=False):
        return self.http('DELETE', f"{'operator-policies' if operator else 'policies'}/VHOST/{quote(name)}")

    def user(self, configure='.*', write='.*', read='.*', tags=''):
        """A user's name; its password is 'secret'."""
        name = 'u-' + uuid.uuid4().hex[:8]
        self.aliases[name] = f'USER{len(self.users) or ""}'
        self.users.append(name)
        self.ask('PUT', f'/api/users/{name}', {'password': 'secret', 'tags': tags})
        if configure is not None:
            self.ask('PUT', f'/api/permissions/{self.vhost}/{name}',
                     {'configure': configure, 'write': write, 'read': read})
        return name


def quote(text):
    return urllib.parse.quote(text, safe='')


def a_year_ago():
    return int((datetime.datetime.now() - datetime.timedelta(days=365)).timestamp())
