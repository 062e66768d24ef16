//go:build tools

// Package prometheus pins the Prometheus that the lab's tests scrape with.
package prometheus

import _ "github.com/prometheus/prometheus/cmd/prometheus"
