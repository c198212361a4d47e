package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const patience = 4 * time.Second // for one message

// broker is what the scenarios share: connections, and names of their own.
type broker struct {
	uri    string
	prefix string

	mu          sync.Mutex
	connections []*amqp.Connection
	queues      []string
	exchanges   []string
}

func newBroker(uri string) *broker {
	id := make([]byte, 6)
	rand.Read(id)
	return &broker{uri: uri, prefix: fmt.Sprintf("compat.go.%x", id)}
}

// channel opens a channel on a connection of its own, which cleanUp closes.
func (b *broker) channel() (*amqp.Channel, error) {
	connection, err := amqp.Dial(b.uri)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.connections = append(b.connections, connection)
	b.mu.Unlock()
	return connection.Channel()
}

// queue gives a queue name that no other run uses; cleanUp deletes the queue.
func (b *broker) queue(label string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := b.prefix + "." + label
	b.queues = append(b.queues, name)
	return name
}

// exchange does the same for an exchange.
func (b *broker) exchange(label string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := b.prefix + "." + label
	b.exchanges = append(b.exchanges, name)
	return name
}

func (b *broker) cleanUp(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, connection := range b.connections {
		if err := connection.Close(); err != nil && !errors.Is(err, amqp.ErrClosed) {
			return err
		}
	}
	connection, err := amqp.Dial(b.uri)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	for _, queue := range b.queues {
		if _, err := channel.QueueDelete(queue, false, false, false); err != nil {
			return err
		}
	}
	for _, exchange := range b.exchanges {
		if err := channel.ExchangeDelete(exchange, false, false); err != nil {
			return err
		}
	}
	return nil
}

func expect(what string, actual, wanted any) error {
	if !reflect.DeepEqual(actual, wanted) {
		return fmt.Errorf("%s: got %v, wanted %v", what, actual, wanted)
	}
	return nil
}

// next waits for one delivery.
func next(ctx context.Context, deliveries <-chan amqp.Delivery) (amqp.Delivery, error) {
	select {
	case delivery, open := <-deliveries:
		if !open {
			return delivery, errors.New("the consumer ended")
		}
		return delivery, nil
	case <-time.After(patience):
		return amqp.Delivery{}, fmt.Errorf("no message within %v", patience)
	case <-ctx.Done():
		return amqp.Delivery{}, fmt.Errorf("waiting for a message: %w", ctx.Err())
	}
}

// textsUntil gives the bodies that the queue holds before the one that says it is the last.
func textsUntil(ctx context.Context, last string, channel *amqp.Channel, queue string) ([]string, error) {
	deliveries, err := channel.ConsumeWithContext(ctx, queue, "", true, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	texts := []string{}
	for {
		delivery, err := next(ctx, deliveries)
		if err != nil {
			return nil, err
		}
		if string(delivery.Body) == last {
			return texts, nil
		}
		texts = append(texts, string(delivery.Body))
	}
}

// expectDepth checks how many messages wait in a durable queue.
func expectDepth(channel *amqp.Channel, queue string, wanted int) error {
	state, err := channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return err
	}
	return expect("queue depth", state.Messages, wanted)
}
