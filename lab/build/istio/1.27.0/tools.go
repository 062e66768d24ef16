//go:build tools

// Package tools pins the Istio 1.27.0 commands that the lab builds and runs.
package tools

import (
	_ "istio.io/istio/istioctl/cmd"
	_ "istio.io/istio/pilot/cmd/pilot-agent/app"
	_ "istio.io/istio/pilot/cmd/pilot-discovery/app"
)
