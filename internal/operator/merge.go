package operator

import (
	"encoding/json"
	"fmt"
	"strings"
)

// merge puts over on top of base, key by key; anything but two maps is replaced.
// As in istioctl, a map that base does not have is not copied: a later change of
// base changes over too. Which of two settings wins depends on it.
func merge(base, over map[string]any) {
	for k, v := range over {
		top, isMap := v.(map[string]any)
		below, too := base[k].(map[string]any)
		if isMap && too {
			merge(below, top)
			continue
		}
		base[k] = v
	}
}

// clone is a copy as JSON makes it: numbers are floats afterwards, as everywhere
// in what istioctl hands to charts.
func clone(m map[string]any) (map[string]any, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("copying values: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("copying values: %w", err)
	}
	return out, nil
}

// at is what stands at a dotted path of maps.
func at(m map[string]any, path string) (any, bool) {
	var cur any = m
	for key := range strings.SplitSeq(path, ".") {
		in, ok := cur.(map[string]any)
		if !ok {
			return nil, false
		}
		if cur, ok = in[key]; !ok {
			return nil, false
		}
	}
	return cur, true
}

func mapAt(m map[string]any, path string) (map[string]any, bool) {
	v, _ := at(m, path)
	out, ok := v.(map[string]any)
	return out, ok
}

func stringAt(m map[string]any, path string) string {
	v, _ := at(m, path)
	s, _ := v.(string)
	return s
}

func boolAt(m map[string]any, path string) bool {
	v, _ := at(m, path)
	b, _ := v.(bool)
	return b
}
