package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

// skipped is why a scenario cannot be played here.
type skipped string

func (s skipped) Error() string { return string(s) }

// given is what the runner says about the broker (see compat/runner/brokers.py).
func given(variable string) (string, error) {
	if value := os.Getenv(variable); value != "" {
		return value, nil
	}
	return "", skipped(variable + " is not given")
}

// control has the runner do something to the broker, and waits until it has.
func control(action string) error {
	uri, err := given("COMPAT_CONTROL")
	if err != nil {
		return err
	}
	answer, err := http.Post(uri+"/"+action, "", nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		reason, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: %s", action, reason)
	}
	return nil
}
