// Package clock is the only reader of the wall clock. Everything else is handed a time.
package clock

import (
	"context"
	"time"
)

// Now returns the time.
func Now() time.Time { return time.Now() } //nolint:forbidigo // this is the place

// Wait returns after d, or with ctx's error when that ends first.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
