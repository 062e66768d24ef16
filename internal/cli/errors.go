package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The exit codes. They are part of the contract: scripts branch on them.
const (
	exitOK         = 0
	exitError      = 1 // usage errors as well
	exitChanges    = 2 // plan --detailed-exitcode: there is something to do
	exitRefused    = 3 // a finding, a changed plan, somebody else's run
	exitHeld       = 4 // a person must decide
	exitRolledBack = 5
)

// exit is an error with an exit code of its own. One without a cause says
// nothing: what there is to say has been written already.
type exit struct {
	code  int
	cause error
}

func (e exit) Error() string {
	if e.cause == nil {
		return ""
	}
	return e.cause.Error()
}

func (e exit) Unwrap() error { return e.cause }

func refused(format string, args ...any) error {
	return exit{code: exitRefused, cause: fmt.Errorf(format, args...)}
}

// code is the exit code that an error asks for.
func code(err error) int {
	var e exit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	}
	return exitError
}

// inWords adds to an error of the API server, or of getting there, what a person
// needs to mend it: which server of which kubeconfig, or which verb on what.
func inWords(err error, t Target) error {
	var (
		status apierrors.APIStatus
		web    *url.Error
		dial   *net.OpError
	)
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err) && errors.As(err, &status):
		return fmt.Errorf("no permission: %w\n  remedy: grant %s to this user, or choose another with --context or --as", err, permission(status))
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the cluster does not know you (%s): %w\n  remedy: log in again, then try kubectl auth whoami", t, err)
	case errors.As(err, &web), errors.As(err, &dial), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("cannot reach the cluster (%s): %w\n  remedy: kubectl cluster-info must work; choose another cluster with --context or --kubeconfig", t, err)
	}
	return err
}

// permission names the verb and the resource of a refusal. The API server says
// the verb only in words: `User "u" cannot list resource "pods" in API group "" …`.
func permission(status apierrors.APIStatus) string {
	s := status.Status()
	verb := "the missing verb"
	if _, rest, ok := strings.Cut(s.Message, " cannot "); ok {
		verb, _, _ = strings.Cut(rest, " ")
	}
	what := "the resource"
	if s.Details != nil && s.Details.Kind != "" {
		what = s.Details.Kind
		if s.Details.Group != "" {
			what += "." + s.Details.Group
		}
	}
	return fmt.Sprintf("%q on %q", verb, what)
}
