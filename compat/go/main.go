// Runs every scenario with amqp091-go and prints one line for each: compat URI [SCENARIO ...]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

var scenarios = []struct {
	name string
	run  func(context.Context, *broker) error
}{
	{"hello-world", helloWorld},
	{"work-queues", workQueues},
	{"publish-subscribe", publishSubscribe},
	{"routing", routing},
	{"topics", topics},
	{"rpc", rpc},
	{"confirms-one-by-one", confirmsOneByOne},
	{"confirms-in-batches", confirmsInBatches},
	{"confirms-asynchronous", confirmsAsynchronous},
	{"connection-options", connectionOptions},
	{"tls", overTLS},
	{"get", get},
	{"acknowledgements", acknowledgements},
	{"prefetch", prefetch},
	{"returns", returns},
	{"transactions", transactions},
	{"ttl", ttl},
	{"dead-letters", deadLetters},
	{"priorities", priorities},
	{"delayed", delayed},
	{"big-message", bigMessage},
	{"header-types", headerTypes},
	{"alternate-exchange", alternateExchange},
	{"exchange-to-exchange", exchangeToExchange},
	{"headers-exchange", headersExchange},
	{"exclusive-queues", exclusiveQueues},
	{"auto-delete", autoDelete},
	{"consumer-cancelled", consumerCancelled},
	{"single-active-consumer", singleActive},
	{"quorum-queue", quorumQueue},
	{"stream", stream},
	{"many-channels", manyChannels},
	{"missing-exchange", missingExchange},
	{"permission-denied", permissionDenied},
	{"recovery", recovery},
	{"blocked", blocked},
}

const (
	scenarioTime = 15 * time.Second
	longTime     = 70 * time.Second // where the broker is restarted
	cleanUpTime  = 5 * time.Second
)

// callWithin gives up on a function that does not heed its context.
func callWithin(limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		defer func() {
			if reason := recover(); reason != nil {
				if failed, ok := reason.(failure); ok {
					result <- failed.error
				} else {
					result <- fmt.Errorf("panic: %v", reason)
				}
			}
		}()
		result <- f(ctx)
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(limit + 100*time.Millisecond):
		return fmt.Errorf("not finished after %v", limit)
	}
}

func run(uri, name string, scenario func(context.Context, *broker) error) error {
	b := newBroker(uri)
	limit := scenarioTime
	if name == "recovery" || name == "blocked" {
		limit = longTime
	}
	err := callWithin(limit, func(ctx context.Context) error { return scenario(ctx, b) })
	unclean := callWithin(cleanUpTime, b.cleanUp)
	if err == nil && unclean != nil {
		return fmt.Errorf("cleaning up: %w", unclean)
	}
	return err
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "usage: %s amqp://USER:PASSWORD@HOST:PORT/VHOST [SCENARIO ...]\n", os.Args[0])
		os.Exit(2)
	}
	only := os.Args[2:]
	chosen := slices.DeleteFunc(slices.Clone(scenarios), func(each struct {
		name string
		run  func(context.Context, *broker) error
	}) bool {
		return len(only) > 0 && !slices.Contains(only, each.name)
	})
	fmt.Print("scenarios")
	for _, scenario := range chosen {
		fmt.Print(" ", scenario.name)
	}
	fmt.Println()
	status := 0
	for _, scenario := range chosen {
		err := run(os.Args[1], scenario.name, scenario.run)
		var reason skipped
		switch {
		case err == nil:
			fmt.Printf("ok %s\n", scenario.name)
		case errors.As(err, &reason):
			fmt.Printf("skipped %s: %s\n", scenario.name, reason)
		default:
			status = 1
			fmt.Printf("FAILED %s: %s\n", scenario.name, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	os.Exit(status)
}
