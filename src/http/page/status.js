// What the node does, asked again every few seconds. Names are only ever put in as text.
'use strict';

const at = (id) => document.getElementById(id);
const EVERY = 5000;
const ROWS = 50;
let page = 1;
let timer;

const login = {
  get: () => sessionStorage.getItem('login'),
  set: (user, password) => {
    const octets = new TextEncoder().encode(`${user}:${password}`);
    sessionStorage.setItem('login', 'Basic ' + btoa(String.fromCharCode(...octets)));
  },
  forget: () => sessionStorage.removeItem('login'),
};

class Refused extends Error {}

async function ask(path) {
  const reply = await fetch('api/' + path, { headers: { Authorization: login.get() } });
  const body = await reply.json().catch(() => ({}));
  if (reply.status === 401) throw new Refused(body.reason || 'Who are you?');
  if (!reply.ok) throw new Error(body.reason || reply.statusText);
  return body;
}

function fill(table, rows) {
  table.replaceChildren(...rows.map((cells) => {
    const row = document.createElement('tr');
    for (const cell of cells) {
      const place = row.insertCell();
      place.textContent = cell ?? '';
      if (typeof cell === 'number') place.className = 'n';
    }
    return row;
  }));
}

function tell(totals) {
  at('totals').replaceChildren(...Object.entries(totals).map(([name, value]) => {
    const box = document.createElement('div');
    box.append(document.createElement('dt'), document.createElement('dd'));
    box.children[0].textContent = name;
    box.children[1].textContent = (value ?? 0).toLocaleString();
    return box;
  }));
}

function pages(path, filter) {
  const name = filter ? '&name=' + encodeURIComponent(filter) : '';
  return ask(`${path}?page=${page}&page_size=${ROWS}${name}`);
}

async function look() {
  clearTimeout(timer);
  try {
    const overview = await ask('overview?columns=cluster_name,rabbitmq_version,object_totals,queue_totals');
    const queues = await pages('queues', at('filter').value);
    const connections = await ask(`connections?page=1&page_size=${ROWS}`);
    at('about').textContent = `${overview.cluster_name} · follows RabbitMQ ${overview.rabbitmq_version}`;
    tell({ ...overview.object_totals, ...overview.queue_totals });
    fill(at('queues'), queues.items.map((q) =>
      [q.vhost, q.name, q.type, q.state, q.messages_ready ?? 0, q.messages_unacknowledged ?? 0, q.consumers ?? 0]));
    fill(at('connections'), connections.items.map((c) =>
      [c.user_provided_name || c.name, c.user, c.vhost, c.state, c.channels ?? 0]));
    at('page').textContent = `${queues.page} of ${Math.max(queues.page_count, 1)}, ${queues.filtered_count} queues`;
    at('before').disabled = page <= 1;
    at('after').disabled = page >= queues.page_count;
    show(true);
  } catch (trouble) {
    if (trouble instanceof Refused) {
      login.forget();
      show(false);
    } else if (page > 1) {
      page = 1;
    }
    at('trouble').textContent = trouble.message;
  }
  if (login.get()) timer = setTimeout(look, EVERY);
}

function show(isIn) {
  at('login').hidden = isIn;
  at('status').hidden = !isIn;
  at('trouble').textContent = '';
}

function turn(by) {
  page = Math.max(1, page + by);
  look();
}

at('login').addEventListener('submit', (event) => {
  event.preventDefault();
  login.set(event.target.user.value, event.target.password.value);
  event.target.password.value = '';
  look();
});
at('leave').addEventListener('click', () => {
  login.forget();
  clearTimeout(timer);
  show(false);
});
at('filter').addEventListener('input', () => turn(1 - page));
at('before').addEventListener('click', () => turn(-1));
at('after').addEventListener('click', () => turn(1));

if (login.get()) look();
else show(false);
