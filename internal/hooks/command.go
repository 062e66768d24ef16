package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// leave is how long a killed command's output is still waited for.
const leave = time.Second

// execute runs a command, without a shell, with the question on its standard input:
// it is yes with the exit code 0. Killed at the end of ctx, it goes with all its
// children. What it writes to its standard output is its answer; what it writes to
// its standard error is shown nowhere, since that is where secrets slip out.
func execute(ctx context.Context, args []string, question []byte) (bool, string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // it is the user's own, from their request
	cmd.Stdin, cmd.WaitDelay = bytes.NewReader(question), leave
	out := &head{}
	cmd.Stdout = out
	asGroup(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return false, "", fmt.Errorf("it was ended: %w", ctx.Err())
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return false, words(fmt.Sprintf("exit code %d", exit.ExitCode()), out.String()), nil
	case errors.As(err, &exit):
		return false, "", fmt.Errorf("it was ended by a signal: %w", exit)
	case err != nil:
		return false, "", fmt.Errorf("running it: %w", err)
	}
	return true, words("exit code 0", out.String()), nil
}

// head keeps the beginning of what is written.
type head struct{ bytes.Buffer }

// Write takes all and keeps what there is room for.
func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), max(said-h.Len(), 0))])
	return len(p), nil
}
