package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func text(body string) amqp.Publishing {
	return amqp.Publishing{ContentType: "text/plain", Body: []byte(body)}
}

// publishKeys publishes each routing key to the exchange, with the key itself as the body.
func publishKeys(ctx context.Context, channel *amqp.Channel, exchange string, keys ...string) error {
	for _, key := range keys {
		if err := channel.PublishWithContext(ctx, exchange, key, false, false, text(key)); err != nil {
			return err
		}
	}
	return nil
}

// subscribe binds a new queue, named by the server and gone with its connection, to an exchange.
func subscribe(channel *amqp.Channel, exchange string, keys ...string) (string, error) {
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		return "", err
	}
	for _, key := range keys {
		if err := channel.QueueBind(queue.Name, key, exchange, false, nil); err != nil {
			return "", err
		}
	}
	return queue.Name, nil
}

func helloWorld(ctx context.Context, b *broker) error {
	name := b.queue("hello")
	sender, err := b.channel()
	if err != nil {
		return err
	}
	if _, err := sender.QueueDeclare(name, true, false, false, false, nil); err != nil {
		return err
	}
	headers := amqp.Table{"lang": "de", "tries": int32(1)}
	message := text("Grüß Gott")
	message.Headers = headers
	if err := sender.PublishWithContext(ctx, "", name, false, false, message); err != nil {
		return err
	}

	receiver, err := b.channel()
	if err != nil {
		return err
	}
	if _, err := receiver.QueueDeclare(name, true, false, false, false, nil); err != nil {
		return err
	}
	deliveries, err := receiver.ConsumeWithContext(ctx, name, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	got, err := next(ctx, deliveries)
	if err != nil {
		return err
	}
	for _, check := range []error{
		expect("body", string(got.Body), "Grüß Gott"),
		expect("exchange", got.Exchange, ""),
		expect("routing key", got.RoutingKey, name),
		expect("redelivered", got.Redelivered, false),
		expect("content type", got.ContentType, "text/plain"),
		expect("headers", got.Headers, headers),
	} {
		if check != nil {
			return check
		}
	}
	return nil
}

// taskLog is what the workers of one queue have done.
type taskLog struct {
	mu       sync.Mutex
	done     []string
	byWorker map[string]int
	finished chan struct{}
}

func (l *taskLog) add(worker, task string, total int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, task)
	l.byWorker[worker]++
	if len(l.done) == total {
		close(l.finished)
	}
}

// startWorker works off tasks until its connection is closed; the first problem goes to problems.
func startWorker(ctx context.Context, b *broker, queue, worker string, perTask time.Duration,
	total int, log *taskLog, problems chan<- error) error {
	channel, err := b.channel()
	if err != nil {
		return err
	}
	if err := channel.Qos(1, 0, false); err != nil {
		return err
	}
	tasks, err := channel.ConsumeWithContext(ctx, queue, worker, false, false, false, false, nil)
	if err != nil {
		return err
	}
	go func() {
		for task := range tasks {
			time.Sleep(perTask)
			err := expect("delivery mode", task.DeliveryMode, uint8(amqp.Persistent))
			if err == nil {
				err = task.Ack(false)
			}
			if err != nil {
				problems <- err
				return
			}
			log.add(worker, string(task.Body), total)
		}
		problems <- fmt.Errorf("the %s worker gets no more tasks", worker)
	}()
	return nil
}

func workQueues(ctx context.Context, b *broker) error {
	queue := b.queue("tasks")
	tasks := []string{}
	for number := range 30 {
		tasks = append(tasks, fmt.Sprintf("task %02d", number))
	}
	channel, err := b.channel()
	if err != nil {
		return err
	}
	if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}

	log := &taskLog{byWorker: map[string]int{}, finished: make(chan struct{})}
	problems := make(chan error, 2)
	for worker, perTask := range map[string]time.Duration{"slow": 100 * time.Millisecond, "fast": 10 * time.Millisecond} {
		if err := startWorker(ctx, b, queue, worker, perTask, len(tasks), log, problems); err != nil {
			return err
		}
	}
	for _, task := range tasks {
		message := text(task)
		message.DeliveryMode = amqp.Persistent
		if err := channel.PublishWithContext(ctx, "", queue, false, false, message); err != nil {
			return err
		}
	}
	select {
	case <-log.finished:
	case err := <-problems:
		return err
	case <-time.After(patience):
		return fmt.Errorf("the tasks are not done after %v", patience)
	}

	log.mu.Lock()
	defer log.mu.Unlock()
	slices.Sort(log.done)
	if err := expect("tasks done", log.done, tasks); err != nil {
		return err
	}
	if slow, fast := log.byWorker["slow"], log.byWorker["fast"]; slow == 0 || slow >= fast {
		return fmt.Errorf("the slow worker got %d tasks, the fast one %d", slow, fast)
	}
	return expectDepth(channel, queue, 0)
}

func publishSubscribe(ctx context.Context, b *broker) error {
	exchange := b.exchange("news")
	type subscriber struct {
		channel *amqp.Channel
		queue   string
	}
	var subscribers []subscriber
	for range 2 {
		channel, err := b.channel()
		if err != nil {
			return err
		}
		if err := channel.ExchangeDeclare(exchange, amqp.ExchangeFanout, false, false, false, false, nil); err != nil {
			return err
		}
		queue, err := subscribe(channel, exchange, "")
		if err != nil {
			return err
		}
		subscribers = append(subscribers, subscriber{channel, queue})
	}
	if first := subscribers[0].queue; first == "" || first == subscribers[1].queue {
		return fmt.Errorf("queue names from the server: %q and %q", first, subscribers[1].queue)
	}

	publisher, err := b.channel()
	if err != nil {
		return err
	}
	if err := publisher.ExchangeDeclare(exchange, amqp.ExchangeFanout, false, false, false, false, nil); err != nil {
		return err
	}
	news := []string{"rain", "sun", "wind", "snow", "fog"}
	if err := publishKeys(ctx, publisher, exchange, append(news, "end")...); err != nil {
		return err
	}
	for number, s := range subscribers {
		texts, err := textsUntil(ctx, "end", s.channel, s.queue)
		if err != nil {
			return err
		}
		if err := expect(fmt.Sprintf("subscriber %d", number+1), texts, news); err != nil {
			return err
		}
	}
	return nil
}

func routing(ctx context.Context, b *broker) error {
	exchange := b.exchange("log")
	channel, err := b.channel()
	if err != nil {
		return err
	}
	if err := channel.ExchangeDeclare(exchange, amqp.ExchangeDirect, false, false, false, false, nil); err != nil {
		return err
	}
	pager, err := subscribe(channel, exchange, "critical", "end")
	if err != nil {
		return err
	}
	archive, err := subscribe(channel, exchange, "notice", "warning", "critical", "end")
	if err != nil {
		return err
	}

	err = publishKeys(ctx, channel, exchange,
		"notice", "critical", "debug", "warning", "critical.disk", "critical", "end")
	if err != nil {
		return err
	}
	paged, err := textsUntil(ctx, "end", channel, pager)
	if err != nil {
		return err
	}
	if err := expect("pager", paged, []string{"critical", "critical"}); err != nil {
		return err
	}
	archived, err := textsUntil(ctx, "end", channel, archive)
	if err != nil {
		return err
	}
	return expect("archive", archived, []string{"notice", "critical", "warning", "critical"})
}

func topics(ctx context.Context, b *broker) error {
	exchange := b.exchange("readings")
	readings := []string{
		"home.kitchen.temperature",
		"home.kitchen.humidity",
		"home",
		"office.lab.temperature",
		"office.lab.rack.temperature",
	}
	// The patterns that a queue is bound with, and which readings it gets: each of them once.
	interests := []struct {
		patterns []string
		wanted   []int
	}{
		{[]string{"home.#"}, []int{0, 1, 2}},
		{[]string{"home.*"}, []int{}},
		{[]string{"*.*.temperature"}, []int{0, 3}},
		{[]string{"#.temperature"}, []int{0, 3, 4}},
		{[]string{"home.#", "#.temperature"}, []int{0, 1, 2, 3, 4}},
		{[]string{"office.lab.temperature"}, []int{3}},
		{[]string{"#"}, []int{0, 1, 2, 3, 4}},
	}
	channel, err := b.channel()
	if err != nil {
		return err
	}
	if err := channel.ExchangeDeclare(exchange, amqp.ExchangeTopic, false, false, false, false, nil); err != nil {
		return err
	}
	queues := make([]string, len(interests))
	for index, interest := range interests {
		if queues[index], err = subscribe(channel, exchange, append(interest.patterns, "end")...); err != nil {
			return err
		}
	}

	if err := publishKeys(ctx, channel, exchange, append(readings, "end")...); err != nil {
		return err
	}
	for index, interest := range interests {
		wanted := []string{}
		for _, reading := range interest.wanted {
			wanted = append(wanted, readings[reading])
		}
		texts, err := textsUntil(ctx, "end", channel, queues[index])
		if err != nil {
			return err
		}
		if err := expect(strings.Join(interest.patterns, " and "), texts, wanted); err != nil {
			return err
		}
	}
	return nil
}

// serveSquares answers requests until its connection is closed.
func serveSquares(ctx context.Context, b *broker, queue string) error {
	channel, err := b.channel()
	if err != nil {
		return err
	}
	if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}
	if err := channel.Qos(1, 0, false); err != nil {
		return err
	}
	requests, err := channel.ConsumeWithContext(ctx, queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	go func() {
		for request := range requests {
			number, _ := strconv.Atoi(string(request.Body))
			reply := text(strconv.Itoa(number * number))
			reply.CorrelationId = request.CorrelationId
			if channel.PublishWithContext(ctx, "", request.ReplyTo, false, false, reply) != nil {
				return // the client gets no answer and says so
			}
			request.Ack(false)
		}
	}()
	return nil
}

// rpc asks for all the squares at once and finds each answer by its correlation id.
func rpc(ctx context.Context, b *broker) error {
	queue := b.queue("squares")
	if err := serveSquares(ctx, b, queue); err != nil {
		return err
	}
	channel, err := b.channel()
	if err != nil {
		return err
	}
	callback, err := channel.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		return err
	}
	replies, err := channel.ConsumeWithContext(ctx, callback.Name, "", true, true, false, false, nil)
	if err != nil {
		return err
	}

	calls := map[string]int{}
	for number := range 12 {
		request := text(strconv.Itoa(number))
		request.CorrelationId = fmt.Sprintf("%s.%d", b.prefix, number)
		request.ReplyTo = callback.Name
		calls[request.CorrelationId] = number
		if err := channel.PublishWithContext(ctx, "", queue, false, false, request); err != nil {
			return err
		}
	}
	for len(calls) > 0 {
		reply, err := next(ctx, replies)
		if err != nil {
			return err
		}
		number, known := calls[reply.CorrelationId]
		if !known {
			return fmt.Errorf("a reply with the unknown correlation id %q", reply.CorrelationId)
		}
		delete(calls, reply.CorrelationId)
		if err := expect(fmt.Sprintf("square of %d", number), string(reply.Body), strconv.Itoa(number*number)); err != nil {
			return err
		}
	}
	return nil
}
