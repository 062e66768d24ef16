package operator

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// errEmpty says that a path leads through something that is there and empty.
// istioctl forgets the value then.
var errEmpty = errors.New("is there and empty: a value below it would be lost")

// set applies PATH=VALUE below spec, as istioctl's --set does.
func set(m map[string]any, flag string) error {
	p, v, ok := strings.Cut(flag, "=")
	if !ok || strings.Contains(v, "=") {
		return fmt.Errorf("--set %s: it is not of the form PATH=VALUE (istioctl takes no second \"=\" either; a file does)", flag)
	}
	if err := setText(m, "spec."+strings.TrimSpace(p), strings.TrimSpace(v)); err != nil {
		return fmt.Errorf("--set %s: %w", flag, err)
	}
	return nil
}

// setText sets a value that is written as text: a number or a truth if it looks like one.
func setText(m map[string]any, at, text string) error {
	var v any = text
	if !staysText(at) {
		v = parsed(text)
	}
	return setPath(m, split(at), v)
}

// staysText says which values are text whatever they look like.
func staysText(at string) bool {
	for _, p := range []string{
		"spec.values.compatibilityVersion", "spec.tag", "spec.values.global.tag", "spec.meshConfig.defaultConfig.proxyMetadata.",
		"spec.values.meshConfig.defaultConfig.proxyMetadata.", "spec.compatibilityVersion",
	} {
		if strings.HasPrefix(at, p) {
			return true
		}
	}
	return false
}

func parsed(text string) any {
	if v, err := strconv.Atoi(text); err == nil {
		return v
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return v
	}
	if v, err := strconv.ParseBool(text); err == nil {
		return v
	}
	return strings.ReplaceAll(text, "\\,", ",")
}

// split parts a path at its dots, but for escaped ones; "a[0]" and "a[name:x]" are two parts.
func split(at string) []string {
	at = strings.TrimSuffix(strings.TrimPrefix(path.Clean(at), "."), ".")
	var out []string
	for _, part := range splitEscaped(at, '.') {
		part = strings.ReplaceAll(part, "\\.", ".")
		switch n := strings.IndexRune(part, '['); {
		case part == "":
		case n > 0:
			out = append(out, part[:n], part[n:])
		default:
			out = append(out, part)
		}
	}
	return out
}

func splitEscaped(s string, sep rune) []string {
	if s == "" {
		return nil
	}
	var (
		out  []string
		prev rune
		from int
	)
	for i, c := range s {
		if c == sep && prev != '\\' {
			out = append(out, s[from:i])
			from = i + 1
		}
		prev = c
	}
	return append(out, s[from:])
}

func setPath(m map[string]any, parts []string, v any) error {
	if len(parts) == 0 {
		return errors.New("the path is empty")
	}
	key, rest := parts[0], parts[1:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "[") {
		return setElement(m, key, rest[0], rest[1:], v)
	}
	if len(rest) == 0 {
		m[key] = v
		return nil
	}
	if _, ok := m[key]; !ok {
		m[key] = map[string]any{}
	}
	below, err := asMap(m[key], key)
	if err != nil {
		return err
	}
	return setPath(below, rest, v)
}

func asMap(v any, name string) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return v, nil
	case nil:
		return nil, fmt.Errorf("%s %w", name, errEmpty)
	}
	return nil, fmt.Errorf("%s is no map", name)
}

// setElement sets an element of a list, or something in it; the next free index appends.
func setElement(m map[string]any, key, selector string, rest []string, v any) error {
	if _, ok := m[key]; !ok {
		m[key] = []any{}
	}
	list, ok := m[key].([]any)
	if !ok {
		return fmt.Errorf("%s is no list", key)
	}
	i, err := indexOf(list, selector)
	if err != nil {
		return fmt.Errorf("%s%s: %w", key, selector, err)
	}
	if i < 0 || i >= len(list) {
		if len(rest) > 0 {
			below := map[string]any{}
			if err := setPath(below, rest, v); err != nil {
				return err
			}
			v = below
		}
		m[key] = append(list, v)
		return nil
	}
	if len(rest) == 0 {
		return fmt.Errorf("%s%s: an element that is there cannot be replaced as a whole, only what is in it", key, selector)
	}
	below, err := asMap(list[i], key+selector)
	if err != nil {
		return err
	}
	return setPath(below, rest, v)
}

// indexOf is where "[1]" or "[name:x]" points.
func indexOf(list []any, selector string) (int, error) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(selector, "["), "]")
	if !ok {
		return 0, errors.New("the bracket is not closed")
	}
	k, v, pair := strings.Cut(inner, ":")
	if !pair {
		i, err := strconv.Atoi(inner)
		if err != nil {
			return 0, fmt.Errorf("%q is neither an index nor key:value", inner)
		}
		return i, nil
	}
	for i, e := range list {
		if m, ok := e.(map[string]any); ok && m[k] == v {
			return i, nil
		}
	}
	return 0, errors.New("there is no such element")
}
