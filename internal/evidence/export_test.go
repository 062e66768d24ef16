package evidence

import (
	"bytes"
	"strings"

	"github.com/serin-mesh/serin/internal/xds"
)

// ParseConnections is parseConnections.
func ParseConnections(b []byte) ([]xds.Connection, error) {
	return parseConnections(bytes.NewReader(b))
}

// ParseSample is parseSample.
func ParseSample(s string) (map[string]string, float64, error) { return parseSample(s) }

// ParseVersion is parseVersion.
func ParseVersion(s string) (string, error) { return parseVersion(strings.NewReader(s)) }
