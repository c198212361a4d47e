// Runs every scenario with amqp091-go and prints one line for each: compat URI
package main

import (
	"context"
	"fmt"
	"os"
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
}

const (
	scenarioTime = 10 * time.Second
	cleanUpTime  = 2 * time.Second
	programTime  = 26 * time.Second // the last scenario's cleanup comes on top
)

// callWithin gives up on a function that does not heed its context.
func callWithin(parent context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(parent, limit)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- f(ctx) }()
	select {
	case err := <-result:
		return err
	case <-time.After(limit + 100*time.Millisecond):
		return fmt.Errorf("not finished after %v", limit.Round(time.Millisecond))
	}
}

func run(program context.Context, uri string, scenario func(context.Context, *broker) error) error {
	if program.Err() != nil {
		return fmt.Errorf("not run: the program's time is over")
	}
	b := newBroker(uri)
	deadline, _ := program.Deadline()
	err := callWithin(program, min(scenarioTime, time.Until(deadline)), func(ctx context.Context) error {
		return scenario(ctx, b)
	})
	unclean := callWithin(context.Background(), cleanUpTime, b.cleanUp)
	if err == nil && unclean != nil {
		return fmt.Errorf("cleaning up: %w", unclean)
	}
	return err
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintf(os.Stderr, "usage: %s amqp://USER:PASSWORD@HOST:PORT/VHOST\n", os.Args[0])
		os.Exit(2)
	}
	program, cancel := context.WithTimeout(context.Background(), programTime)
	defer cancel()
	status := 0
	for _, scenario := range scenarios {
		if err := run(program, os.Args[1], scenario.run); err != nil {
			status = 1
			fmt.Printf("FAILED %s: %s\n", scenario.name, strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Printf("ok %s\n", scenario.name)
		}
	}
	os.Exit(status)
}
