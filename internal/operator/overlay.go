package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// apply carries out the patches on the objects of the overlay's kind and name.
func (o overlay) apply(objects []unstructured.Unstructured) error {
	found := false
	for _, obj := range objects {
		if obj.GetKind() != o.Kind || obj.GetName() != o.Name {
			continue
		}
		found = true
		for i, p := range o.Patches {
			if err := p.apply(obj.Object); err != nil {
				return fmt.Errorf("patches[%d].path %s: %w", i, p.Path, err)
			}
		}
	}
	if !found {
		return fmt.Errorf("this release's chart renders no %s %s with these values, so that it would have no effect: take it out", o.Kind, o.Name)
	}
	return nil
}

// place is where a part of the path leads: a key of a map or an index of a list.
type place struct {
	inMap  map[string]any
	inList *[]any
	key    string
	index  int
	keep   func([]any) // puts a list that grew or shrank back into what holds it
}

func (p place) get() (any, bool) {
	if p.inMap != nil {
		v, ok := p.inMap[p.key]
		return v, ok
	}
	if p.index < 0 || p.index >= len(*p.inList) {
		return nil, false
	}
	return (*p.inList)[p.index], true
}

func (p place) put(v any) {
	switch {
	case p.inMap != nil:
		p.inMap[p.key] = v
	case p.index < 0 || p.index >= len(*p.inList):
		p.keep(append(slices.Clone(*p.inList), v))
	default:
		(*p.inList)[p.index] = v
	}
}

func (p place) drop() {
	switch {
	case p.inMap != nil:
		delete(p.inMap, p.key)
	case p.index >= 0 && p.index < len(*p.inList):
		p.keep(slices.Delete(slices.Clone(*p.inList), p.index, p.index+1))
	}
}

// apply sets, adds or removes what the path leads to. Maps on the way are made.
func (p patch) apply(object map[string]any) error {
	parts := split(p.Path)
	if len(parts) == 0 {
		return errors.New("it is empty")
	}
	at := place{inMap: object, key: parts[0]}
	for _, part := range parts[1:] {
		next, err := at.step(part)
		if err != nil {
			return err
		}
		at = next
	}
	if p.Value != nil {
		at.write(p.Value)
		return nil
	}
	if _, ok := at.get(); !ok && at.inMap == nil {
		return fmt.Errorf("there is no element %s to take out", at.key)
	}
	at.drop()
	return nil
}

// step goes on from what is at the place.
func (p place) step(part string) (place, error) {
	v, ok := p.get()
	if !ok || v == nil {
		if strings.HasPrefix(part, "[") {
			return place{}, fmt.Errorf("there is no list at %s", p.key)
		}
		v = map[string]any{}
		p.put(v)
	}
	switch v := v.(type) {
	case map[string]any:
		if strings.HasPrefix(part, "[") {
			return place{}, fmt.Errorf("%s is a map, and %s selects from a list", p.key, part)
		}
		return place{inMap: v, key: part}, nil
	case []any:
		i, err := element(v, part)
		if err != nil {
			return place{}, err
		}
		list := v
		return place{inList: &list, index: i, key: part, keep: func(l []any) { p.put(l) }}, nil
	}
	return place{}, fmt.Errorf("%s is neither a map nor a list", p.key)
}

// element is the index that "[3]", "[-1]" (one more at the end), "[name:x]" or
// "[:value]" selects.
func element(list []any, part string) (int, error) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(part, "["), "]")
	if !ok || !strings.HasPrefix(part, "[") {
		return 0, fmt.Errorf("%s does not select from a list: [key:value], [:value] or [index] does", part)
	}
	if i, err := strconv.Atoi(inner); err == nil && i >= -1 {
		if i == -1 || i >= len(list) {
			return len(list), nil
		}
		return i, nil
	}
	for i, e := range list {
		same, err := selects(inner, e)
		if err != nil {
			return 0, err
		}
		if same {
			return i, nil
		}
	}
	return 0, fmt.Errorf("element %s is not there", part)
}

func selects(inner string, e any) (bool, error) {
	if m, ok := e.(map[string]any); ok {
		kv := splitEscaped(inner, ':')
		if len(kv) != 2 || kv[0] == "" || kv[1] == "" {
			return false, fmt.Errorf("[%s] is not of the form [key:value]", inner)
		}
		return fmt.Sprint(m[kv[0]]) == kv[1], nil
	}
	re, err := regexp.Compile(strings.TrimPrefix(inner, ":"))
	if err != nil {
		return false, fmt.Errorf("[%s]: %w", inner, err)
	}
	return re.MatchString(fmt.Sprint(e)), nil
}

// write puts the value at the place. Text that is a map in YAML stands for that map.
func (p place) write(v any) {
	if text, ok := v.(string); ok {
		if m, ok := asText(text); ok {
			v = m
		}
	}
	p.put(v)
}

// asText reads text that is a map in YAML, and not one in JSON, which stays text.
func asText(text string) (map[string]any, bool) {
	sign := ": "
	if strings.Contains(text, "\n") {
		sign = ":"
	}
	if !strings.Contains(text, sign) {
		return nil, false
	}
	var m map[string]any
	if json.Unmarshal([]byte(text), &m) == nil {
		return nil, false
	}
	if yaml.Unmarshal([]byte(text), &m) != nil {
		return nil, false
	}
	return m, true
}
