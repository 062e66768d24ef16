//go:build linux

package node

import (
	"maps"
	"runtime"
	"slices"
)

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// arch is this machine's architecture as images name it.
func arch() string { return runtime.GOARCH }
