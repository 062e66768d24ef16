package drive

import (
	"context"
	"errors"
)

// errTaken ends a deed whose process is not the one any more that drives the run.
var errTaken = errors.New("another process has taken the mesh over")

// holder is a Journal that tells when another process has taken the mesh over.
type holder interface{ Lost() <-chan struct{} }

// whileHeld ends the context as soon as another process has taken the mesh over: two
// that write to it would undo each other's work (S-46). Call the function when the
// deed is over.
func (l *loop) whileHeld(ctx context.Context) (context.Context, func()) {
	h, ok := l.p.Journal.(holder)
	if !ok {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-h.Lost():
			cancel(errTaken)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}
