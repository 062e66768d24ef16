package evidence

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseSample reads a line of the Prometheus text format from behind the opening
// brace: labels, closing brace, value, and perhaps a time, which is ignored.
func parseSample(s string) (map[string]string, float64, error) {
	labels := map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t,")
		if rest, ok := strings.CutPrefix(s, "}"); ok {
			value, err := parseValue(rest)
			return labels, value, err
		}
		name, rest, ok := strings.Cut(s, `="`)
		if !ok {
			return nil, 0, errors.New("want name=\"value\" or a closing brace")
		}
		value, rest, err := unquote(rest)
		if err != nil {
			return nil, 0, fmt.Errorf("reading label %s: %w", name, err)
		}
		labels[strings.TrimSpace(name)] = value
		s = rest
	}
}

func parseValue(s string) (float64, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 || len(fields) > 2 {
		return 0, errors.New("want a value after the labels")
	}
	v, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0, err
	}
	if !(v >= 0 && v < 1<<53) { // also NaN, which is neither
		return 0, fmt.Errorf("a counter cannot be %v", v)
	}
	return v, nil
}

// unquote reads up to the closing quote; backslash, quote and line feed are escaped.
func unquote(s string) (string, string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			i++
			if i == len(s) {
				return "", "", errors.New("the line ends in an escape")
			}
			if s[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("the closing quote is missing")
}
