package main

// What the scenarios are written with: each step ends the scenario by itself when it fails.

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// failure ends a scenario.
type failure struct{ error }

func check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func same(what string, actual, wanted any) { check(expect(what, actual, wanted)) }

// until waits until the condition holds.
func until(what string, condition func() bool) {
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			check(fmt.Errorf("%s: not within %v", what, patience))
		}
	}
}

// dial connects as the URI says, until cleanUp.
func (b *broker) dial(uri string, config amqp.Config) *amqp.Connection {
	connection := must(amqp.DialConfig(uri, config))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.connections = append(b.connections, connection)
	return connection
}

// open gives a channel on a connection of its own.
func (b *broker) open() (*amqp.Connection, *amqp.Channel) {
	connection := b.dial(b.uri, amqp.Config{})
	return connection, must(connection.Channel())
}

// confirming gives a channel in confirm mode.
func (b *broker) confirming() *amqp.Channel {
	_, channel := b.open()
	check(channel.Confirm(false))
	return channel
}

func durable(channel *amqp.Channel, name string, arguments amqp.Table) {
	must(channel.QueueDeclare(name, true, false, false, false, arguments))
}

func publish(channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	check(channel.PublishWithContext(context.Background(), exchange, key, false, false, message))
}

// confirmed publishes a message and waits until it is confirmed.
func confirmed(channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	confirmation := must(channel.PublishWithDeferredConfirm(exchange, key, false, false, message))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	same("confirmed", must(confirmation.WaitContext(ctx)), true)
}

func consume(channel *amqp.Channel, queue string, arguments amqp.Table) <-chan amqp.Delivery {
	return must(channel.Consume(queue, "", false, false, false, false, arguments))
}

func receive[T any](what string, from <-chan T) T {
	select {
	case value, open := <-from:
		if !open {
			check(fmt.Errorf("%s: the channel ended", what))
		}
		return value
	case <-time.After(patience):
		check(fmt.Errorf("%s: not within %v", what, patience))
	}
	panic("not reached")
}

// nothing checks that nothing comes for a moment.
func nothing(what string, from <-chan amqp.Delivery) {
	select {
	case <-from:
		check(fmt.Errorf("%s: a message came", what))
	case <-time.After(200 * time.Millisecond):
	}
}

// take gets one message, which may take a moment to come.
func take(channel *amqp.Channel, queue string) (got amqp.Delivery) {
	until("a message in "+queue, func() bool {
		message, there, err := channel.Get(queue, true)
		check(err)
		got = message
		return there
	})
	return got
}

func depth(channel *amqp.Channel, queue string) int {
	return must(channel.QueueDeclarePassive(queue, true, false, false, false, nil)).Messages
}

// refused checks with which code the broker closes a new channel for what is done on it, and gives its text.
func refused(connection *amqp.Connection, code int, forbidden func(*amqp.Channel) error) string {
	channel := must(connection.Channel())
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	_ = forbidden(channel)
	reason := receive("the refusal", closed)
	same("reply code", reason.Code, code)
	return reason.Reason
}
