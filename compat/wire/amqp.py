"""AMQP 0-9-1 on a socket: frames, methods, tables and contents, to and from plain Python values.

Nothing is checked and nothing is answered by itself, so that a scenario can also say what is wrong.
"""
import collections
import dataclasses
import socket
import struct
import time

# One method a line: its ids, its name, its fields. A field's first letter is its type (b bit, o octet, h short,
# l long, q longlong, s short string, S long string, T table), the rest its name. A dot alone is a reserved field.
METHODS = """
10/10 connection.start oversion_major oversion_minor Tserver_properties Smechanisms Slocales
10/11 connection.start-ok Tclient_properties smechanism Sresponse slocale
10/30 connection.tune hchannel_max lframe_max hheartbeat
10/31 connection.tune-ok hchannel_max lframe_max hheartbeat
10/40 connection.open svhost s. b.
10/41 connection.open-ok s.
10/50 connection.close hcode stext hclass hmethod
10/51 connection.close-ok
10/60 connection.blocked sreason
10/61 connection.unblocked
20/10 channel.open s.
20/11 channel.open-ok S.
20/20 channel.flow bactive
20/21 channel.flow-ok bactive
20/40 channel.close hcode stext hclass hmethod
20/41 channel.close-ok
40/10 exchange.declare h. sexchange stype bpassive bdurable bauto_delete binternal bno_wait Targuments
40/11 exchange.declare-ok
40/20 exchange.delete h. sexchange bif_unused bno_wait
40/21 exchange.delete-ok
40/30 exchange.bind h. sdestination ssource skey bno_wait Targuments
40/31 exchange.bind-ok
40/40 exchange.unbind h. sdestination ssource skey bno_wait Targuments
40/51 exchange.unbind-ok
50/10 queue.declare h. squeue bpassive bdurable bexclusive bauto_delete bno_wait Targuments
50/11 queue.declare-ok squeue lmessages lconsumers
50/20 queue.bind h. squeue sexchange skey bno_wait Targuments
50/21 queue.bind-ok
50/30 queue.purge h. squeue bno_wait
50/31 queue.purge-ok lmessages
50/40 queue.delete h. squeue bif_unused bif_empty bno_wait
50/41 queue.delete-ok lmessages
50/50 queue.unbind h. squeue sexchange skey Targuments
50/51 queue.unbind-ok
60/10 basic.qos lsize hcount bglobal
60/11 basic.qos-ok
60/20 basic.consume h. squeue stag bno_local bno_ack bexclusive bno_wait Targuments
60/21 basic.consume-ok stag
60/30 basic.cancel stag bno_wait
60/31 basic.cancel-ok stag
60/40 basic.publish h. sexchange skey bmandatory bimmediate
60/50 basic.return hcode stext sexchange skey
60/60 basic.deliver sconsumer qtag bredelivered sexchange skey
60/70 basic.get h. squeue bno_ack
60/71 basic.get-ok qtag bredelivered sexchange skey lmessages
60/72 basic.get-empty s.
60/80 basic.ack qtag bmultiple
60/90 basic.reject qtag brequeue
60/110 basic.recover brequeue
60/111 basic.recover-ok
60/120 basic.nack qtag bmultiple brequeue
85/10 confirm.select bno_wait
85/11 confirm.select-ok
90/10 tx.select
90/11 tx.select-ok
90/20 tx.commit
90/21 tx.commit-ok
90/30 tx.rollback
90/31 tx.rollback-ok
"""
BY_NAME, BY_ID = {}, {}
for _line in METHODS.split('\n')[1:-1]:
    _ids, _name, *_fields = _line.split()
    _ids = tuple(int(i) for i in _ids.split('/'))
    BY_NAME[_name] = _ids, [(f[0], f[1:]) for f in _fields]
    BY_ID[_ids] = _name, BY_NAME[_name][1]

PROPERTIES = ('scontent_type scontent_encoding Theaders odelivery_mode opriority scorrelation_id sreply_to sexpiration '
              'smessage_id qtimestamp stype suser_id sapp_id scluster_id').split()
NUMBERS = {'o': '>B', 'h': '>H', 'l': '>I', 'q': '>Q'}                      # of methods and properties
FIELDS = {'b': '>b', 'B': '>B', 's': '>h', 'u': '>H', 'I': '>i', 'i': '>I', 'l': '>q', 'f': '>f', 'd': '>d',
          'T': '>Q'}                                                        # of tables
METHOD, HEADER, BODY, END = 1, 2, 3, b'\xce'


class Gone(Exception):
    """The connection has ended."""


class Silence(Exception):
    """Nothing came in time."""


@dataclasses.dataclass
class Event:
    """A method that came, with its content if it has one. Values in tables are (type, value)."""
    channel: int
    name: str
    args: dict
    props: dict = None
    body: bytes = b''

    def __getitem__(self, name):
        return self.args[name]

    @property
    def tag(self):
        return self.args['tag']


# --- writing ------------------------------------------------------------------------------------------

def raw(value):
    return value if isinstance(value, bytes) else str(value).encode()


def short_string(value):
    return bytes([len(raw(value))]) + raw(value)


def long_string(value):
    return struct.pack('>I', len(raw(value))) + raw(value)


def with_type(value):
    """The type a plain value is sent with. A tuple names it itself: ('s', 5) is a 16-bit 5."""
    if isinstance(value, tuple):
        return value
    for kind, letter in ((bool, 't'), (float, 'd'), (str, 'S'), (bytes, 'x'), (dict, 'F'), (list, 'A')):
        if isinstance(value, kind):
            return letter, value
    if value is None:
        return 'V', None
    return ('I' if -2**31 <= value < 2**31 else 'l'), value


def field(value):
    letter, value = with_type(value)
    data = letter.encode()
    if letter in FIELDS:
        return data + struct.pack(FIELDS[letter], value)
    if letter == 't':
        return data + bytes([value])
    if letter == 'D':
        return data + struct.pack('>Bi', *value)
    if letter in 'Sx':
        return data + long_string(value)
    if letter == 'A':
        return data + long_string(b''.join(field(v) for v in value))
    return data + (table(value) if letter == 'F' else b'')


def table(value):
    return long_string(b''.join(short_string(k) + field(v) for k, v in (value or {}).items()))


def plain(letter, value):
    if letter == 's':
        return short_string(value)
    if letter == 'S':
        return long_string(value)
    return table(value) if letter == 'T' else struct.pack(NUMBERS[letter], value)


def method(name, args):
    ids, fields = BY_NAME[name]
    unknown = set(args) - {f for _, f in fields}
    assert not unknown, f'{name} has no {unknown}'
    data, bits, used = bytearray(struct.pack('>HH', *ids)), 0, 0
    for letter, key in fields + [('', '')]:
        if letter == 'b':
            bits |= bool(args.get(key)) << used
            used += 1
            continue
        if used:
            data.append(bits)
            bits = used = 0
        if letter:
            data += plain(letter, args.get(key, 0 if letter in NUMBERS else '' if letter in 'sS' else None))
    return bytes(data)


def content_header(props, size):
    flags, data = 0, b''
    for i, (letter, *key) in enumerate(PROPERTIES):
        value = props.get(''.join(key))
        if value is not None:
            flags |= 1 << (15 - i)
            data += plain(letter, value)
    return struct.pack('>HHQH', 60, 0, size, flags) + data


def frame(kind, channel, payload):
    return struct.pack('>BHI', kind, channel, len(payload)) + payload + END


# --- reading ------------------------------------------------------------------------------------------

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, code):
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def text(self, code):
        return self.take(self.number(code)).decode('utf-8', 'backslashreplace')

    def table(self):
        inner, out = Reader(self.take(self.number('>I'))), {}
        while inner.at < len(inner.data):
            key = inner.text('>B')
            out[key] = inner.field()
        return out

    def field(self):
        letter = self.take(1).decode()
        if letter in FIELDS:
            return letter, self.number(FIELDS[letter])
        if letter == 't':
            return letter, bool(self.take(1)[0])
        if letter == 'D':
            return letter, struct.unpack('>Bi', self.take(5))
        if letter in 'Sx':
            return letter, self.text('>I')
        if letter == 'F':
            return letter, self.table()
        if letter == 'V':
            return letter, None
        assert letter == 'A', f'a field of type {letter!r}'
        inner, out = Reader(self.take(self.number('>I'))), []
        while inner.at < len(inner.data):
            out.append(inner.field())
        return letter, out

    def plain(self, letter):
        if letter in NUMBERS:
            return self.number(NUMBERS[letter])
        return self.table() if letter == 'T' else self.text('>B' if letter == 's' else '>I')

    def method(self):
        name, fields = BY_ID[self.number('>H'), self.number('>H')]
        out, bits, used = {}, 0, 8
        for letter, key in fields:
            if letter != 'b':
                out[key], used = self.plain(letter), 8
                continue
            if used == 8:
                bits, used = self.number('>B'), 0
            out[key] = bool(bits >> used & 1)
            used += 1
        out.pop('.', None)
        return name, out

    def properties(self):
        _, _, size, flags = (self.number(code) for code in ('>H', '>H', '>Q', '>H'))
        return size, {p[1:]: self.plain(p[0]) for i, p in enumerate(PROPERTIES) if flags >> (15 - i) & 1}


class Peer:
    """A connection: writes what it is told, and sorts what comes by channel."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.ended = b'', False
        self.came = collections.defaultdict(collections.deque)      # events by channel
        self.half = {}                                              # events whose content is not there yet

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass                                                    # reading will tell

    def call(self, channel, name, **args):
        self.send(frame(METHOD, channel, method(name, args)))

    def publish(self, channel, args, props, body):
        data = frame(METHOD, channel, method('basic.publish', args))
        data += frame(HEADER, channel, content_header(props, len(body)))
        for at in range(0, len(body), 100_000):
            data += frame(BODY, channel, body[at:at + 100_000])
        self.send(data)

    def next(self, channel, patience):
        """The channel's next event. The end of the connection is everybody's."""
        end = time.monotonic() + patience
        while True:
            if self.came[channel]:
                return self.came[channel].popleft()
            if self.came[0] and self.came[0][0].name == 'connection.close':
                return self.came[0].popleft()
            if self.ended:
                raise Gone
            self._read(end - time.monotonic())

    def _read(self, seconds):
        if seconds <= 0:
            raise Silence
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 18)
        except TimeoutError:
            raise Silence from None
        except OSError:
            data = b''
        self.ended = not data
        self.buffer += data
        while len(self.buffer) >= 7:
            kind, channel, size = struct.unpack('>BHI', self.buffer[:7])
            if len(self.buffer) < size + 8:
                break
            payload, self.buffer = self.buffer[7:7 + size], self.buffer[8 + size:]
            self._frame(kind, channel, Reader(payload))

    def _frame(self, kind, channel, reader):
        if kind == METHOD:
            event = Event(channel, *reader.method())
            if event.name in ('basic.deliver', 'basic.get-ok', 'basic.return'):
                self.half[channel] = [event, None]
            else:
                self.came[channel].append(event)
        elif channel in self.half:
            half = self.half[channel]
            if kind == HEADER:
                half[1], half[0].props = reader.properties()
            else:
                half[0].body += reader.data
            if len(half[0].body) == half[1]:
                self.came[channel].append(self.half.pop(channel)[0])

    def close(self):
        self.socket.close()
